"""The checklist for a prepared image: everything that makes a training case unusable, before it is used."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

import numpy as np

from ..core.errors import GeometryError, ParameterError
from ..core.i18n import _
from ..core.job import Job
from ..core.operation import Help, Label, Preset, Span, Unit, When, Words, operation
from ..core.result import Check, Result, check_table, worst
from ..core.volume import LabelVolume, Volume
from ..geometry import label_grid
from ..quality import checks as checks

_VALUE = Span(-1e6, 1e6, 10, 3)


@operation(
    "qc",
    title=_("Quality control"),
    console="qualityControl",
    outputs=("checklist",),
    records=("checklist",),
    cite=(
        "Setio et al. 2017, Medical Image Analysis 42:1-13 (LUNA16: slice thickness), "
        "doi:10.1016/j.media.2017.06.015",
    ),
    vectors=True,
    any_grid=True,
    any_values=True,
)
class QualityControl:
    """Hold a prepared image against the checklist: grid, slices, values, labels, lungs, sharpness.

    With lung labels and an image in Hounsfield units (the original, or the image itself) it measures how much
    of the visible lung they cover; with the original, how much of its edges was lost. Label maps must lie on
    the image's grid. What makes a case unusable fails, what deserves a look warns.
    """

    maximumSliceThickness: Annotated[
        float, Span(0.1, 20, 0.5, 2), Unit("mm"), Help(_("Slices as acquired must be thinner than this"))
    ] = 3.0
    spacing: Annotated[
        float,
        Span(0, 20, 0.5, 3),
        Unit("mm"),
        Help(_("Isotropic spacing that is expected; 0 takes any isotropic spacing")),
    ] = 0.0
    values: Annotated[
        Literal["normalized", "unit", "symmetric", "zscore", "clipped", "any"],
        Words(
            normalized=_("Normalized in any way"),
            unit=_("0 to 1"),
            symmetric=_("-1 to 1"),
            zscore=_("Mean 0, deviation 1"),
            clipped=_("Within low and high"),
            any=_("Any"),
        ),
        Help(_("What the values must be; normalized takes 0 to 1, -1 to 1, or mean 0 and deviation 1")),
    ] = "normalized"
    low: Annotated[
        float, _VALUE, When("values", "clipped"), Help(_("clipped: no value may be lower"))
    ] = -1200.0
    high: Annotated[float, _VALUE, When("values", "clipped"), Help(_("clipped: no value may be higher"))] = (
        600.0
    )
    minimumLungCoverage: Annotated[
        float,
        Span(0, 100, 1, 1),
        Unit("%"),
        When("lungs", given=True),
        Help(_("Share of the visible lung that lung labels must cover")),
    ] = 95.0
    maximumEdgeLoss: Annotated[
        float,
        Span(1, 100, 5, 1),
        Unit("%"),
        When("original", given=True),
        Help(_("Warn when the edges lost more of their energy against the original; fail at twice that")),
    ] = 30.0

    presets = {
        "lungNodule": Preset(
            _("Lung nodules: 1 mm, 0 to 1"), "Setio et al. 2017 (LUNA16)", spacing=1.0, values="unit"
        ),
        "hounsfield": Preset(
            _("Clipped Hounsfield units, -1200 to 600"), "", values="clipped", low=-1200, high=600
        ),
        "zscore": Preset(_("Mean 0, deviation 1"), "", values="zscore", maximumSliceThickness=20),
    }

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ParameterError(
                _("qc expects values from {low:g} to {high:g}.").format(low=self.low, high=self.high),
                _("Expected low below high."),
                _("Swap the two."),
            )

    def __call__(
        self,
        image: Volume,
        original: Annotated[Volume | None, Label(_("Original image"))],
        lungs: LabelVolume | None,
        labels: tuple[LabelVolume, ...],
        job: Job,
    ) -> Result:
        if sorted(image.shape)[1] < 2:
            raise GeometryError(
                _("The image is {shape} voxels.").format(shape=" x ".join(map(str, image.shape[::-1]))),
                _("Expected at least two voxels along two axes."),
                _("Choose a volume or a slice."),
            )
        finite, usable = checks.finite(image)
        all_labels = labels if lungs is None else (*labels, lungs)
        found = [
            finite,
            checks.right_angles(image),
            *checks.slice_thickness(_with_thickness(image, original), self.maximumSliceThickness),
            checks.isotropic(image, self.spacing),
        ]
        job.report(0.1)
        for label in all_labels:
            found += [checks.same_geometry(image, label), checks.labels_not_empty(label)]
        if usable:
            found += self._values(image, all_labels)
        job.report(0.3)
        notes = []
        if lungs is not None:
            lines = self._lungs(image, original, lungs, usable, job.part(0.3, 0.5))
            if not lines:
                notes.append(_("Lung coverage is measured on Hounsfield units: give the original too."))
            found += lines
        if original is not None and usable and _comparable(image, original):
            found.append(checks.edges(image, original, self.maximumEdgeLoss, job.part(0.5, 1.0)))
        return Result(
            tables={"checklist": check_table(found)},
            metrics={"verdict": worst(found)} | {v: _count(found, v) for v in ("fail", "warn", "pass")},
            checks=found,
            notes=notes,
        )

    def _values(self, image: Volume, labels: tuple[LabelVolume, ...]) -> list[Check]:
        channels = [image.array] if image.components == 1 else list(np.moveaxis(image.array, 3, 0))
        names = image.info.get("channelNames") or range(1, len(channels) + 1)
        found = []
        for name, array in zip(names, channels, strict=False):
            low, high = float(array.min()), float(array.max())
            lines = checks.constant(low, high) or self._one(array, low, high, labels)
            if len(channels) > 1:
                lines = [Check(f"{c.name} ({name})", c.verdict, c.value, c.limit, c.advice) for c in lines]
            found += lines
        return found

    def _one(
        self, array: np.ndarray, low: float, high: float, labels: tuple[LabelVolume, ...]
    ) -> list[Check]:
        if self.values == "normalized":
            return [checks.is_normalized(low, high, checks.moments(array, labels))]
        if self.values == "zscore":
            return [checks.zero_mean(checks.moments(array, labels))]
        ranges = {"unit": (0.0, 1.0), "symmetric": (-1.0, 1.0), "clipped": (self.low, self.high)}
        if self.values in ranges:
            return [checks.in_range(low, high, ranges[self.values], _("Value range"))]
        return []

    def _lungs(
        self, image: Volume, original: Volume | None, lungs: LabelVolume, usable: bool, job: Job
    ) -> list[Check]:
        candidates = (image if usable else None, original)
        hounsfield = next((v for v in candidates if v is not None and _is_hounsfield(v)), None)
        if hounsfield is None:
            return []
        if not lungs.same_grid(hounsfield):
            moved = label_grid.onto_grid(lungs.array, lungs.ijkToRAS, hounsfield.ijkToRAS, hounsfield.shape)
            lungs = dataclasses.replace(lungs, array=moved, ijkToRAS=hounsfield.ijkToRAS)
        return [checks.lung_coverage(hounsfield, lungs, self.minimumLungCoverage, job)]


def _with_thickness(image: Volume, original: Volume | None) -> Volume:
    """The volume that says how thick the slices were when they were acquired."""
    return original if original is not None and "sliceThickness" not in image.info else image


def _is_hounsfield(volume: Volume) -> bool:
    """A scalar CT with air in it: what was scaled or windowed to another range has none."""
    if volume.components > 1 or volume.modality not in ("CT", "") or volume.shear > 1e-4:
        return False
    return bool((volume.array[:: max(1, len(volume.array) // 32)] < -800).any())


def _comparable(image: Volume, original: Volume) -> bool:
    plain = image.components == 1 == original.components
    return plain and max(image.shear, original.shear) <= 1e-4 and bool(np.isfinite(original.array).all())


def _count(found: list[Check], verdict: str) -> int:
    return sum(check.verdict == verdict for check in found)
