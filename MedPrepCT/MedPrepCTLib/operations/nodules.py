"""Nodule candidates of a chest CT as a table, points and segments."""

from __future__ import annotations

import colorsys
from typing import Annotated, Literal

import numpy as np

from MedPrepCommonLib.core.errors import InputError, ParameterError
from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import Help, Preset, Span, Unit, Words, operation
from MedPrepCommonLib.core.result import Check, Points, Result, Table
from MedPrepCommonLib.core.volume import LabelVolume, Segment, Volume
from MedPrepCommonLib.geometry.orientation import orientation

from ..lungs.segmentation import AIRWAY, segment_lungs
from ..nodules.candidates import Candidate, find_candidates, label_map
from ..nodules.juxtapleural import LungField, lung_field
from ..quality.hounsfield import require_hu

COLUMNS = (
    "r",
    "a",
    "s",
    "diameter_mm",
    "score",
    "volume (mm³)",
    "mean (HU)",
    "max (HU)",
    "type",
    "pleural",
    "Lung-RADS size",
)
# Lung-RADS v2022, baseline screening: a solid nodule of 6 mm or more is category 3 or above.
LUNG_RADS_MM = 6.0
_ALTERED = ("SCT", "49755003", "Morphologically Altered Structure")
_NODULE = ("SCT", "27925004", "Nodule")
_TRACHEA = "44567001"


@operation(
    "ct.nodules",
    title=_("Nodules"),
    console="findNodules",
    modality="CT",
    outputs=("nodules", "candidates", "centres"),
    labels=("nodules",),
    records=("candidates", "centres"),
    cite=(
        "Li, Sone and Doi 2003, Med Phys 30(8):2040-2051 (blob filter), doi:10.1118/1.1581411",
        "Lindeberg 1998, IJCV 30(2):79-116 (scale selection), doi:10.1023/A:1008045108935",
        "Armato and Sensakovic 2004, Acad Radiol 11(9):1011-1021 (pleural nodules), "
        "doi:10.1016/j.acra.2004.06.005",
        "Bezdek 1981, Pattern Recognition with Fuzzy Objective Function Algorithms (fuzzy c-means)",
    ),
    units={"largest": "mm"},
)
class Nodules:
    """Find candidates for lung nodules, solid, part-solid and ground-glass, and rank them.

    For choosing patches to train on and for looking at, not for diagnosis: a candidate is not a finding,
    and a lung without candidates is not a clear one. The size flag of Lung-RADS gives context only. A
    scan without lung gives an empty label map and a failed check, so that a recipe goes on with its work.
    """

    method: Annotated[
        Literal["blobs", "threshold", "fuzzyCMeans"],
        Words(
            blobs=_("Blobs of any size"), threshold=_("Threshold, erosion"), fuzzyCMeans=_("Fuzzy c-means")
        ),
        Help(_("How places to look at are found; shape decides on all of them in the same way")),
    ] = "blobs"
    minimumScore: Annotated[
        float,
        Span(0, 1, 0.05, 2),
        Help(_("Candidates below this score are left out; lower it to miss less and look at more")),
    ] = 0.5
    minimumDiameter: Annotated[
        float, Span(2, 30, 0.5, 1), Unit("mm"), Help(_("Smaller candidates are left out"))
    ] = 3.0
    maximumDiameter: Annotated[
        float,
        Span(5, 80, 1, 1),
        Unit("mm"),
        Help(_("Larger candidates are left out; above 30 mm it is a mass")),
    ] = 40.0
    maximumNumber: Annotated[
        int, Span(1, 200, 1, 0), Help(_("At most so many candidates, those with the highest scores"))
    ] = 50
    closing: Annotated[
        float,
        Span(0, 20, 1, 1),
        Unit("mm"),
        Help(_("Radius up to which nodules at the pleura are closed into the lung")),
    ] = 10.0

    presets = {
        "usual": Preset(_("Usual: few false candidates"), "", minimumScore=0.5),
        "sensitive": Preset(_("Sensitive: for patches to train on"), "", minimumScore=0.2),
        "actionable": Preset(
            _("6 mm and more"), "Lung-RADS v2022, American College of Radiology", minimumDiameter=6
        ),
    }

    def __post_init__(self) -> None:
        if self.minimumDiameter >= self.maximumDiameter:
            raise ParameterError(
                _("The minimum diameter is {low:g} mm, the maximum {high:g} mm.").format(
                    low=self.minimumDiameter, high=self.maximumDiameter
                ),
                _("Expected a minimum below the maximum."),
                _("Lower the minimum diameter or raise the maximum."),
            )

    def __call__(self, image: Volume, lungs: LabelVolume | None, job: Job) -> Result:
        require_hu(image)
        if lungs is not None:
            lungs.require_grid_of(image, _("lung segmentation"))
        axes = orientation(image)
        hu, spacing = axes.view(image.array), axes.reorder(image.spacing_kji)
        field, missing = self._field(hu, spacing, lungs, axes, job.part(0.0, 0.3))
        found: list[Candidate] = []
        if field is not None:
            found = find_candidates(
                field,
                hu,
                method=self.method,
                minimum_score=self.minimumScore,
                diameters_mm=(self.minimumDiameter, self.maximumDiameter),
                most=self.maximumNumber,
                job=job.part(0.3, 0.95, _("Looking for nodules")),
            )
        job.report(0.95)
        labels = np.ascontiguousarray(axes.undo(label_map(found, hu.shape)))
        places = _places(image, axes, found)
        names = tuple(_("nodule {n}").format(n=n + 1) for n in range(len(found)))
        result = Result(
            labels={
                "nodules": LabelVolume(
                    labels,
                    image.ijkToRAS,
                    modality=image.modality,
                    segments=tuple(_segment(n + 1, name) for n, name in enumerate(names)),
                    history=image.history,
                )
            },
            tables={"candidates": _table(found, places)},
            points={"centres": Points(_("Nodule candidates"), places, names)},
            metrics={
                "candidates": len(found),
                "largest": max((c.diameter for c in found), default=0.0),
                "highestScore": found[0].score if found else 0.0,
                "method": self.method,
            },
            checks=missing or [_check(found)],
            notes=[_("Candidates are for training and for looking at, not for diagnosis.")],
        )
        job.report(1.0)
        return result

    def _field(self, hu, spacing, lungs, axes, job: Job) -> tuple[LungField | None, list[Check]]:
        """The lungs to search in; or None and the check that says why there are none."""
        if lungs is None:
            try:
                values = segment_lungs(
                    hu,
                    spacing,
                    closing_mm=max(self.closing, 2.0),
                    job=job.part(0.0, 0.7, _("Segmenting the lungs")),
                )
            except InputError as error:
                return None, [Check(_("Lungs"), "fail", error.wrong, error.expected, error.advice)]
            airway = [AIRWAY]
        else:
            values, airway = axes.view(lungs.array), _airway_values(lungs)
        field = lung_field(hu, values, airway, spacing, self.closing, job.part(0.7, 1.0))
        if field is None:
            return None, [
                Check(
                    _("Lungs"),
                    "fail",
                    _("The lung segmentation is empty."),
                    _("Expected the lungs of this scan."),
                    _("Segment the lungs first, or choose no segmentation."),
                )
            ]
        return field, []


def _airway_values(lungs: LabelVolume) -> list[int]:
    """Label values of trachea and bronchi: what they hold is no lung."""
    return [
        segment.value
        for segment in lungs.segments
        if segment.code[1] == _TRACHEA or segment.name.lower() in ("airway", "trachea", "airways")
    ]


def _places(image: Volume, axes, found: list[Candidate]) -> tuple[tuple[float, float, float], ...]:
    """Centres in RAS, mm."""
    size = np.array(axes.view(image.array).shape)
    places = []
    for candidate in found:
        turned = np.where(axes.flips, size - 1 - np.array(candidate.centre), candidate.centre)
        stored = np.empty(3)
        stored[list(axes.axes)] = turned
        places.append(tuple(float(x) for x in (image.ijkToRAS @ (*stored[::-1], 1.0))[:3]))
    return tuple(places)


def _table(found: list[Candidate], places) -> Table:
    rows = tuple(
        (
            *place,
            c.diameter,
            c.score,
            c.volume,
            c.mean,
            c.maximum,
            c.kind,
            c.pleural,
            _("solid, 6 mm or more") if c.kind == "solid" and c.diameter >= LUNG_RADS_MM else "",
        )
        for c, place in zip(found, places, strict=True)
    )
    return Table(_("Nodule candidates (not for diagnosis)"), COLUMNS, rows)


def _segment(value: int, name: str) -> Segment:
    """Neighbouring ranks get colours that differ: the golden ratio never repeats a hue."""
    return Segment(
        value, name, _ALTERED, _NODULE, None, colorsys.hsv_to_rgb((value * 0.618034) % 1.0, 0.75, 0.95)
    )


def _check(found: list[Candidate]) -> Check:
    large = sum(c.kind == "solid" and c.diameter >= LUNG_RADS_MM for c in found)
    return Check(
        _("Nodule candidates"),
        "pass",
        _("{n}, of these {large} solid and 6 mm or more").format(n=len(found), large=large),
        "",
        "" if found else _("None above the score asked for; that does not mean that there is no nodule."),
    )
