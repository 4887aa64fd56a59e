"""Find metal: its voxels, its pieces, and how much it disturbs the image.

Metal is denser than anything in the body: cortical bone and calcifications stay below 2000 HU, enamel and
dense contrast below about 2500. Many scanners cannot store more than 3071 HU (12 bits), where the 3000 HU of
the literature finds only the core of an implant; hence 2500 HU by default.

Pieces smaller than 10 mm³ or 3 voxels are left out: a surgical clip of 5 mm shows as 20 mm³ or more, while
noise and the overshoot of sharp kernels at bone make single voxels. Cubic millimetres keep the rule the same
on thick and on thin slices.

The grade: none; slight below 1 ml with streaks in less than 1 % of the tissue around; severe with streaks in
5 %, or in 2 % around more than 30 ml; else moderate. See :mod:`.streaks` for how streaks are measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.i18n import _
from MedPrepCommonLib.job import Job
from MedPrepCommonLib.operation import Help, Preset, Span, Unit, operation
from MedPrepCommonLib.orientation import orientation
from MedPrepCommonLib.result import Check, Result, Table
from MedPrepCommonLib.volume import LabelVolume, Segment, Volume

from .hounsfield import require_hu
from .streaks import Streaks, measure_streaks

COMPARED = (2000.0, 3000.0, 4000.0)

METAL = Segment(
    1,
    "metal",
    category=("SCT", "260787004", "Physical object"),
    code=("SCT", "19227008", "Foreign body"),
    color=(220 / 255, 245 / 255, 20 / 255),
)


@dataclass(frozen=True)
class Dense:
    """The voxels above the lowest threshold of interest, found in one pass over the image.

    Parameters
    ----------
    index : (n,) sorted flat indices.
    value : (n,) their HU.
    shape : (k, j, i) of the image.
    end : HU at which the scanner's values end (many voxels have exactly the maximum), or None.
    """

    index: np.ndarray
    value: np.ndarray
    shape: tuple[int, int, int]
    end: float | None

    def above(self, threshold: float) -> np.ndarray:
        """Which of the voxels are above `threshold`; those at the scanner's end when it lies lower."""
        if self.end is not None and threshold >= self.end:
            return self.value >= self.end
        return self.value > threshold


@dataclass(frozen=True)
class Pieces:
    """Connected pieces (26 neighbours) that are large enough, largest first.

    Parameters
    ----------
    index : flat indices of all their voxels.
    voxels, maximum : (n,) per piece.
    centroid : (n, 3) mean voxel index (i, j, k).
    """

    index: np.ndarray
    voxels: np.ndarray
    maximum: np.ndarray
    centroid: np.ndarray


def dense_voxels(hu: np.ndarray, threshold: float, job: Job | None = None) -> Dense:
    """Find the voxels above `threshold`, and whether the values end on a plateau."""
    job = job or Job.quiet()
    found = []
    plane = hu[0].size
    for k in range(len(hu)):
        job.report(k / len(hu), _("Dense voxels"))
        found.append(np.flatnonzero(hu[k] > threshold) + k * plane)
    index = np.concatenate(found)
    values = hu.reshape(-1)[index] if hu.flags.c_contiguous else hu[np.unravel_index(index, hu.shape)]
    return Dense(index, values, hu.shape, values_end(hu, values))


def values_end(hu: np.ndarray, dense: np.ndarray) -> float | None:
    """The maximum, when many voxels have exactly it and few come near: the scanner's end, or a clip."""
    values = dense if dense.size else hu
    top = values.max()
    near = values[values > top - 20]
    at_top = int(np.count_nonzero(near == top))
    if at_top < 8 or top <= 300:
        return None
    around = np.unique(np.floor(near[near < top]), return_counts=True)[1].max(initial=0)
    return float(top) if at_top > 4 * around else None


def pieces(dense: Dense, threshold: float, minimum_voxels: float) -> Pieces:
    """Connected pieces above `threshold` of at least `minimum_voxels`."""
    chosen = dense.above(threshold)
    index, value = dense.index[chosen], dense.value[chosen]
    k, j, i = np.unravel_index(index, dense.shape)
    if not index.size:
        return Pieces(index, np.zeros(0, int), np.zeros(0), np.zeros((0, 3)))
    low = [int(axis.min()) for axis in (k, j, i)]
    box = np.zeros([int(axis.max()) - first + 1 for axis, first in zip((k, j, i), low, strict=True)], bool)
    place = tuple(axis - first for axis, first in zip((k, j, i), low, strict=True))
    box[place] = True
    label = ndimage.label(box, np.ones((3, 3, 3)))[0][place] - 1
    voxels = np.bincount(label)
    maximum = np.full(voxels.size, -np.inf)
    np.maximum.at(maximum, label, value)
    centroid = np.stack([np.bincount(label, axis) / voxels for axis in (i, j, k)], axis=1)
    kept = voxels >= minimum_voxels
    order = np.flatnonzero(kept)[np.argsort(-voxels[kept], kind="stable")]
    return Pieces(index[kept[label]], voxels[order], maximum[order], centroid[order])


@operation(
    "ct.metal",
    title=_("Metal"),
    console="detectMetal",
    modality="CT",
    outputs=("metal?", "components", "comparison"),
    cite=(
        "Boas and Fleischmann 2012, Imaging in Medicine 4(2):229-240 (CT artifacts), doi:10.2217/iim.12.13",
        "Barrett and Keat 2004, RadioGraphics 24(6):1679-1691 (CT artifacts), doi:10.1148/rg.246045065",
    ),
)
class Metal:
    """Find metal in a CT and grade how much it disturbs the image."""

    threshold: Annotated[
        float,
        Span(1000, 30000, 100, 0),
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
        lowest = min(self.threshold, *COMPARED)
        dense = dense_voxels(image.array, lowest, job.part(0.0, 0.6))
        at_least = max(self.minimumVoxels, self.minimumVolume / image.voxel_volume)
        found = pieces(dense, self.threshold, at_least)
        result = Result(
            tables={
                "components": _components_table(image, found),
                "comparison": self._comparison(image, dense, at_least),
            },
            notes=self._notes(dense, image),
        )
        streaks = Streaks(0.0, 0.0, 0.0, 0.0, 0, 0)
        if found.index.size:
            labels = np.zeros(image.shape, np.uint8)
            labels.reshape(-1)[found.index] = 1
            axes = orientation(image)
            streaks = measure_streaks(
                axes.view(image.array), axes.view(labels), axes.reorder(image.spacing_kji), job.part(0.6, 1.0)
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
        volume = float(found.voxels.sum() * image.voxel_volume)
        severity = grade(volume, streaks.extent)
        result.metrics = {
            "severity": severity,
            "components": int(found.voxels.size),
            "voxels": int(found.voxels.sum()),
            "volume": volume,
            "maximum": float(found.maximum.max()) if found.maximum.size else 0.0,
            "streakExtent": streaks.extent,
            "darkStreaks": streaks.dark,
            "brightStreaks": streaks.bright,
        }
        if dense.end is not None:
            result.metrics["valuesEndAt"] = dense.end
        result.checks = [_check(severity, volume, streaks)]
        return result

    def _comparison(self, image: Volume, dense: Dense, at_least: float) -> Table:
        """What each threshold finds, from the same pass over the image."""
        rows = []
        for threshold in sorted({self.threshold, *COMPARED}):
            found = pieces(dense, threshold, at_least)
            reached = dense.end is None or threshold < dense.end
            rows.append(
                (
                    threshold,
                    threshold if reached else dense.end,
                    int(found.voxels.size),
                    int(found.voxels.sum()),
                    float(found.voxels.sum() * image.voxel_volume),
                    ""
                    if reached
                    else _("values end at {end:g} HU: voxels there are counted").format(end=dense.end),
                )
            )
        columns = ("threshold (HU)", "used (HU)", "components", "voxels", "volume (mm³)", "remark")
        return Table(_("Metal at other thresholds"), columns, tuple(rows))

    def _notes(self, dense: Dense, image: Volume) -> list[str]:
        if dense.end is None:
            return []
        if dense.end < COMPARED[0]:
            return [
                _("The image's values end at {end:g} HU (clipped), so metal cannot be seen.").format(
                    end=dense.end
                )
            ]
        if self.threshold >= dense.end - 100:
            return [
                _(
                    "The scanner's values end at {end:g} HU; at {threshold:g} HU only the core of metal "
                    "shows. 2500 HU or less finds more."
                ).format(end=dense.end, threshold=self.threshold)
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


def _components_table(image: Volume, found: Pieces) -> Table:
    positions = found.centroid @ image.ijkToRAS[:3, :3].T + image.ijkToRAS[:3, 3]
    rows = tuple(
        (
            n + 1,
            int(found.voxels[n]),
            float(found.voxels[n] * image.voxel_volume),
            float(found.maximum[n]),
            *(float(x) for x in positions[n]),
        )
        for n in range(found.voxels.size)
    )
    columns = ("component", "voxels", "volume (mm³)", "maximum (HU)", "R (mm)", "A (mm)", "S (mm)")
    return Table(_("Metal components"), columns, rows)
