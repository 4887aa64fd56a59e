"""What every bias corrector returns: corrected image, field, statistics and a histogram before and after."""

from __future__ import annotations

import numpy as np

from MedPrepCommonLib.core.errors import InputError
from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.result import Curve, Figure, Result, Table
from MedPrepCommonLib.core.volume import LabelVolume, Volume
from MedPrepMRILib.bias.correction import Correction, Measures
from MedPrepMRILib.brain.mask import find_tissue
from MedPrepMRILib.recognition.ct_values import ct_checks

OUTPUTS = ("image", "biasField", "statistics", "histogram")
RECORDS = ("statistics", "histogram")
# Points of a histogram's curve, and about as many voxels as make it smooth.
_BINS, _ENOUGH = 128, 100_000


def working_mask(image: Volume, mask: LabelVolume | None, job: Job) -> np.ndarray:
    """The user's mask, or else the tissue that the image shows; (k, j, i) bool.

    Raises
    ------
    GeometryError, InputError
        for a mask on another grid, an empty one, or an image without contrast.
    """
    return find_tissue(image, job) if mask is None else mask.inside(image)


def require_signal(array: np.ndarray, mask: np.ndarray) -> None:
    """Raise :class:`InputError` when no voxel of the mask is above zero: there is no logarithm to work on."""
    if not any((plane[inside] > 0).any() for plane, inside in zip(array, mask, strict=True)):
        raise InputError(
            _("No voxel of the mask is above zero."),
            _("Expected MR signal, which is positive."),
            _("Choose another image or mask; add an offset to an image that was shifted below zero."),
        )


def bias_result(image: Volume, mask: np.ndarray, found: Correction) -> Result:
    """The result that all correctors share."""
    return Result(
        images={
            "image": image.with_array(found.image, name=""),
            "biasField": field_volume(image, found.field, found.measures),
        },
        tables={"statistics": statistics_table(found.measures)},
        figures={"histogram": histogram(image.array, found.image, mask)},
        metrics=metrics(found.measures),
        checks=ct_checks(image),
    )


def field_volume(image: Volume, field: np.ndarray, measures: Measures) -> Volume:
    """The multiplicative field as an image around 1, to be shown in colours."""
    low, high = measures.field[:2]
    width = max(2 * max(high - 1, 1 - low), 0.02)
    return Volume(
        field,
        image.ijkToRAS,
        modality=image.modality,
        display=(1.0, width),
        history=image.history,
        info={"colors": "diverging"},
    )


def metrics(measures: Measures) -> dict[str, float]:
    """The statistics by their metric names; coefficients of variation and reduction as shares of 1."""
    low, high, mean, deviation = measures.field
    return {
        "cvBefore": measures.cv_before,
        "cvAfter": measures.cv_after,
        "cvReduction": measures.reduction,
        "correlation": measures.correlation,
        "fieldMinimum": low,
        "fieldMaximum": high,
        "fieldMean": mean,
        "fieldStandardDeviation": deviation,
    }


def statistics_table(measures: Measures, title: str | None = None) -> Table:
    """The statistics in the mask as rows of name and value."""
    low, high, mean, deviation = measures.field
    rows = (
        (_("voxels in the mask"), measures.voxels),
        (_("mean in the mask"), measures.mean),
        (_("standard deviation before"), measures.deviation_before),
        (_("standard deviation after"), measures.deviation_after),
        (_("coefficient of variation before (%)"), 100 * measures.cv_before),
        (_("coefficient of variation after (%)"), 100 * measures.cv_after),
        (_("reduction of the coefficient of variation (%)"), 100 * measures.reduction),
        (_("correlation before and after"), measures.correlation),
        (_("field minimum"), low),
        (_("field maximum"), high),
        (_("field mean"), mean),
        (_("field standard deviation"), deviation),
    )
    return Table(title or _("Bias correction in the mask"), (_("measure"), _("value")), rows)


def histogram(before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> Figure:
    """Shares of the mask's voxels by intensity, before and after, over the range of 99.8 % of them."""
    images = {_("before"): before, _("after"): after}
    step = max(1, round((np.count_nonzero(mask) / _ENOUGH) ** (1 / 3)))
    part = (slice(None, None, step),) * 3 if min(mask.shape) > 4 * step else (slice(None),) * 3
    inside = mask[part] if mask[part].any() else mask
    part = part if inside is not mask else (slice(None),) * 3
    values = {name: image[part][inside].astype(np.float32) for name, image in images.items()}
    ends = [np.percentile(v, [0.1, 99.9]) for v in values.values()]
    low, high = min(e[0] for e in ends), max(e[1] for e in ends)
    if not high > low:
        high = low + 1.0
    curves = []
    for name, value in values.items():
        counts, edges = np.histogram(value, _BINS, (low, high))
        middles = (edges[:-1] + edges[1:]) / 2
        curves.append(Curve(name, tuple(map(float, middles)), tuple(map(float, counts / value.size))))
    return Figure(_("Intensities in the mask"), _("intensity"), _("share of voxels"), tuple(curves))
