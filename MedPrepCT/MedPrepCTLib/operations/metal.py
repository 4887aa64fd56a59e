"""Find metal: its voxels, its pieces, and how much it disturbs the image.

Metal is denser than anything in the body: cortical bone and calcifications stay below 2000 HU, enamel and
dense contrast below about 2500. Many scanners cannot store more than 3071 HU (12 bits), where the 3000 HU of
the literature finds only the core of an implant; hence 2500 HU by default.

Pieces smaller than 10 mm³ or 3 voxels are left out: a surgical clip of 5 mm shows as 20 mm³ or more, while
noise and the overshoot of sharp kernels at bone make single voxels. Cubic millimetres keep the rule the same
on thick and on thin slices.

The grade: none; slight below 1 ml with streaks in less than 1 % of the tissue around; severe with streaks in
5 %, or in 2 % around more than 30 ml; else moderate. See :mod:`..metal.streaks` for how streaks are measured.
"""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np

from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import Help, Preset, Span, Unit, operation
from MedPrepCommonLib.core.result import Check, Result, Table
from MedPrepCommonLib.core.volume import LabelVolume, Segment, Volume
from MedPrepCommonLib.geometry.orientation import orientation
from MedPrepCommonLib.numeric.components import Components

from ..metal.finding import COMPARED, Found, find_metal
from ..metal.streaks import Streaks, measure_streaks
from ..quality.hounsfield import require_hu

METAL = Segment(
    1,
    "metal",
    category=("SCT", "260787004", "Physical object"),
    code=("SCT", "19227008", "Foreign body"),
    color=(220 / 255, 245 / 255, 20 / 255),
)


@operation(
    "ct.metal",
    title=_("Metal"),
    console="detectMetal",
    modality="CT",
    outputs=("metal?", "components", "comparison"),
    labels=("metal",),
    records=("components", "comparison"),
    cite=(
        "Boas and Fleischmann 2012, Imaging in Medicine 4(2):229-240 (CT artifacts), doi:10.2217/iim.12.13",
        "Barrett and Keat 2004, RadioGraphics 24(6):1679-1691 (CT artifacts), doi:10.1148/rg.246045065",
    ),
    units={"volume": "mm³", "maximum": "HU", "valuesEndAt": "HU"},
)
class Metal:
    """Find metal in a CT and grade how much it disturbs the image."""

    threshold: Annotated[
        float,
        Span(1000, 30000, 100, 0, slider=True),
        Unit("HU"),
        Help(_("Denser than this is metal; bone and calcifications stay below 2000")),
    ] = 2500.0
    minimumVolume: Annotated[
        float, Span(0, 10000, 1, 1), Unit("mm³"), Help(_("Smaller pieces are left out as noise"))
    ] = 10.0
    minimumVoxels: Annotated[
        int, Span(1, 100000, 1, 0), Help(_("Pieces of fewer voxels are left out as noise"))
    ] = 3

    presets = {
        "default": Preset(
            _("2500 HU: finds metal on 12-bit scanners too"),
            "most scanners store at most 3071 HU",
            threshold=2500,
        ),
        "literature": Preset(
            _("3000 HU"), "Boas and Fleischmann 2012, Imaging in Medicine 4(2):229-240", threshold=3000
        ),
        "sensitive": Preset(_("2000 HU: finds fine wires; may take teeth"), "", threshold=2000),
    }

    def __call__(self, image: Volume, job: Job) -> Result:
        require_hu(image)
        at_least = max(self.minimumVoxels, math.ceil(self.minimumVolume / image.voxel_volume - 1e-9))
        thresholds = sorted({self.threshold, *COMPARED})
        everything = find_metal(image.array, thresholds, at_least, job.part(0.0, 0.7))
        found = everything.components[self.threshold]
        result = Result(
            tables={
                "components": _components_table(image, found),
                "comparison": _comparison_table(image, everything),
            },
            notes=_notes(everything.end, self.threshold),
        )
        streaks = Streaks(0.0, 0.0, 0.0, 0.0, 0, 0)
        if len(found):
            labels = found.mask().view(np.uint8)
            axes = orientation(image)
            streaks = measure_streaks(
                axes.view(image.array), axes.view(labels), axes.reorder(image.spacing_kji), job.part(0.7, 1.0)
            )
            if not streaks.compared:
                result.notes.append(
                    _(
                        "Metal lies in or near every slice; its streaks could not be compared with clean "
                        "slices."
                    )
                )
            result.labels["metal"] = LabelVolume(
                labels, image.ijkToRAS, modality=image.modality, segments=(METAL,), history=image.history
            )
        voxels = int(found.count.sum())
        volume = voxels * image.voxel_volume
        severity = grade(volume, streaks.extent)
        result.metrics = {
            "severity": severity,
            "components": len(found),
            "voxels": voxels,
            "volume": volume,
            "maximum": float(found.maximum.max(initial=0.0)),
            "streakExtent": streaks.extent,
            "darkStreaks": streaks.dark,
            "brightStreaks": streaks.bright,
        }
        if everything.end is not None:
            result.metrics["valuesEndAt"] = everything.end
        result.checks = [_check(severity, volume, streaks)]
        return result


def _comparison_table(image: Volume, everything: Found) -> Table:
    """What each threshold finds, from the same pass over the image."""
    rows = []
    for threshold, found in everything.components.items():
        used, voxels = everything.used[threshold], int(found.count.sum())
        remark = _("values end at {end:g} HU: voxels there are counted").format(end=used)
        rows.append(
            (
                threshold,
                used,
                len(found),
                voxels,
                voxels * image.voxel_volume,
                "" if used == threshold else remark,
            )
        )
    columns = ("threshold (HU)", "used (HU)", "components", "voxels", "volume (mm³)", "remark")
    return Table(_("Metal at other thresholds"), columns, tuple(rows))


def _notes(end: float | None, threshold: float) -> list[str]:
    if end is None:
        return []
    if end <= COMPARED[0]:
        return [_("The image's values end at {end:g} HU (clipped), so metal cannot be seen.").format(end=end)]
    if threshold >= end - 100:
        return [
            _(
                "The scanner's values end at {end:g} HU; at {threshold:g} HU only the core of metal shows. "
                "2500 HU or less finds more."
            ).format(end=end, threshold=threshold)
        ]
    return []


def grade(volume: float, extent: float) -> str:
    """Severity of metal of `volume` mm³ with streaks in `extent` (0..1) of the tissue around it."""
    if volume <= 0:
        return "none"
    if extent >= 0.05 or (extent >= 0.02 and volume > 30_000):
        return "severe"
    return "slight" if extent < 0.01 and volume < 1000 else "moderate"


def _check(severity: str, volume: float, streaks: Streaks) -> Check:
    verdict = {"none": "pass", "slight": "pass", "moderate": "warn", "severe": "fail"}[severity]
    advice = {
        "moderate": _("Look at the slices with metal before training on them."),
        "severe": _("Leave this scan out, or reduce the artefacts first."),
    }
    value = _("{severity}: {volume:.2f} ml, streaks in {extent:.1f} % of the tissue around").format(
        severity=severity, volume=volume / 1000, extent=100 * streaks.extent
    )
    return Check(
        _("Metal"), verdict, _("none") if severity == "none" else value, "", advice.get(severity, "")
    )


def _components_table(image: Volume, found: Components) -> Table:
    positions = found.centroid[:, ::-1] @ image.ijkToRAS[:3, :3].T + image.ijkToRAS[:3, 3]
    rows = tuple(
        (
            n + 1,
            int(found.count[n]),
            float(found.count[n] * image.voxel_volume),
            float(found.maximum[n]),
            *(float(x) for x in positions[n]),
        )
        for n in range(len(found))
    )
    columns = ("component", "voxels", "volume (mm³)", "maximum (HU)", "R (mm)", "A (mm)", "S (mm)")
    return Table(_("Metal components"), columns, rows)
