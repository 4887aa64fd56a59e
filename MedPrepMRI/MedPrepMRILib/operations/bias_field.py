"""The bias field behind a correction, made visible."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np

from MedPrepCommonLib.core.errors import InputError
from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import Help, Preset, Span, Unit, When, operation
from MedPrepCommonLib.core.result import Curve, Figure, Result
from MedPrepCommonLib.core.volume import LabelVolume, Volume
from MedPrepMRILib.bias.correction import Correction, divide, measure
from MedPrepMRILib.bias.lowpass import gaussian_field
from MedPrepMRILib.bias.result import (
    field_volume,
    histogram,
    metrics,
    require_signal,
    statistics_table,
    working_mask,
)

# A field outside this range is no coil's: voxels of next to no signal give such ratios.
_LEAST, _MOST = 0.01, 100.0


@operation(
    "mri.biasField",
    title=_("Show bias field"),
    console="visualizeBiasField",
    modality="MR",
    outputs=("biasField", "logField", "corrected?", "statistics", "histogram", "profile", "fieldProfile"),
    records=("statistics", "histogram", "profile", "fieldProfile"),
    cite=(
        "Vovk, Pernuš and Likar 2007, IEEE Trans Med Imaging 26(3):405-421 (review), "
        "doi:10.1109/TMI.2006.891486",
    ),
)
class BiasField:
    """Show the bias field of a correction: its field and log field, statistics, histograms and a profile.

    The field comes from the original and the corrected image (division, or difference of logarithms), or,
    with low-pass, from the original alone. The profile runs along a row through the middle of the mask.
    """

    method: Annotated[
        Literal["division", "logDifference", "lowPass"],
        Help(
            _(
                "division: original / corrected; logDifference: from logarithms, steady where there is next "
                "to no signal; lowPass: local mean of the original, needs no corrected image"
            )
        ),
    ] = "division"
    sigma: Annotated[
        float,
        Span(5, 200, 5, 1),
        Unit("mm"),
        When("method", "lowPass"),
        Help(_("lowPass: standard deviation of the Gaussian")),
    ] = 40.0

    presets = {
        "division": Preset(_("Division by the corrected image"), "", method="division"),
        "lowPass": Preset(_("From the original alone"), "", method="lowPass"),
    }

    def __call__(self, image: Volume, corrected: Volume | None, mask: LabelVolume | None, job: Job) -> Result:
        if self.method != "lowPass":
            if corrected is None:
                raise InputError(
                    _("mri.biasField got no corrected image."),
                    _("Expected one with the method {method}.").format(method=self.method),
                    _("Choose the corrected image, or the method lowPass."),
                )
            corrected.require_grid_of(image, _("corrected image"))
        inside = working_mask(image, mask, job.part(0.0, 0.3))
        require_signal(image.array, inside)
        if self.method == "lowPass":
            log_field = gaussian_field(image, inside, self.sigma, job.part(0.3, 0.5))
            found = divide(image.array, inside, log_field.reader(), job.part(0.5, 0.8))
        else:
            require_signal(corrected.array, inside)
            field = self._ratio(image.array, corrected.array, inside, job.part(0.3, 0.8))
            found = Correction(corrected.array, field, measure(image.array, corrected.array, field, inside))
        return _result(image, inside, found, self.method == "lowPass", job.part(0.8, 1.0))

    def _ratio(self, original: np.ndarray, corrected: np.ndarray, inside: np.ndarray, job: Job) -> np.ndarray:
        """Field (k, j, i) float32; 1 where there is no signal."""
        field = np.ones(original.shape, np.float32)
        # One percent of the mean signal on both sides of the ratio keeps noise from being read as field.
        floor = np.float32(0.0)
        if self.method == "logDifference":
            floor = np.float32(0.01 * np.mean(original[inside], dtype=np.float64))
        for k in range(len(field)):
            job.report(k / len(field))
            top, bottom = original[k].astype(np.float32), corrected[k].astype(np.float32)
            signal = (top > 0) & (bottom > 0)
            np.divide(top + floor, bottom + floor, out=field[k], where=signal)
        return np.clip(field, _LEAST, _MOST, out=field)


def _result(image: Volume, inside: np.ndarray, found: Correction, keep: bool, job: Job) -> Result:
    field = field_volume(image, found.field, found.measures)
    log = np.log(found.field)
    job.report(0.5)
    width = max(4 * float(np.std(log[inside], dtype=np.float64)), 0.02)
    result = Result(
        images={"biasField": field, "logField": field.with_array(log, display=(0.0, width))},
        tables={"statistics": statistics_table(found.measures, _("Bias field in the mask"))},
        figures={"histogram": histogram(image.array, found.image, inside), **_profiles(image, inside, found)},
        metrics=metrics(found.measures),
    )
    if keep:
        result.images["corrected"] = image.with_array(found.image, name="")
    return result


def _profiles(image: Volume, inside: np.ndarray, found: Correction) -> dict[str, Figure]:
    """Intensities, and the field, along the row through the middle of the mask."""
    where = [np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis))) for axis in (0, 1)]
    row = tuple(int((ends[0] + ends[-1]) // 2) for ends in where)
    place = tuple(float(x) for x in np.arange(image.shape[2]) * image.spacing[0])

    def curve(name: str, array: np.ndarray) -> Curve:
        return Curve(name, place, tuple(float(v) for v in array[row]))

    intensities = _("Intensities along row {j} of slice {k}").format(j=row[1], k=row[0])
    field = _("Bias field along row {j} of slice {k}").format(j=row[1], k=row[0])
    along = _("distance along the row (mm)")
    return {
        "profile": Figure(
            intensities,
            along,
            _("intensity"),
            (curve(_("before"), image.array), curve(_("after"), found.image)),
        ),
        "fieldProfile": Figure(field, along, _("field"), (curve(_("bias field"), found.field),)),
    }
