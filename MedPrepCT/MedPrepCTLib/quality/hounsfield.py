"""Hounsfield units: what the values of an image are, and which value pads it outside the field of view.

CT numbers have fixed points (air -1000, water 0), so a histogram tells HU from raw stored values (air near
0, water near 1000 or 1024), from 8-bit or windowed images and from MRI. Judging takes a sample of some
100,000 voxels, so it costs milliseconds on any scan; :func:`histogram` counts all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from MedPrepCommonLib.core.errors import InputError
from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.result import Check
from MedPrepCommonLib.core.volume import Volume

Kind = Literal["HU", "raw", "windowed", "other", "constant"]

# Padding values seen outside the round field of view of real scanners.
USUAL_PADDING = (-1000, -1024, -2000, -2048, -3024)

AIR = (-1100, -900)  # HU in which measured air lies
SOFT_TISSUE = (-150, 150)  # fat, water, muscle, blood
BONE = 300  # HU above which unenhanced tissue is bone

_LOWEST, _HIGHEST = -32768, 32767  # bins of the histogram, 1 HU each
_SAMPLE = 1 << 18
_SLAB = 1 << 18


@dataclass(frozen=True)
class Histogram:
    """Voxel counts per whole HU; values beyond the bins are counted at the ends.

    Parameters
    ----------
    counts : (n,) int64, ``counts[v - low]`` voxels round to v.
    low : HU of the first bin.
    minimum, maximum : exact extremes of the image, not rounded.
    """

    counts: np.ndarray
    low: int
    minimum: float
    maximum: float

    @property
    def total(self) -> int:
        """Voxels counted."""
        return int(self.counts.sum())

    def between(self, low: float, high: float) -> np.ndarray:
        """Counts of the whole HU from `low` to `high`, both included, as far as there are bins."""
        first, last = max(int(low) - self.low, 0), max(int(high) - self.low + 1, 0)
        return self.counts[first:last]

    def share(self, low: float, high: float) -> float:
        """Share of the voxels from `low` to `high`, both included."""
        return float(self.between(low, high).sum() / self.total)

    def count(self, value: int) -> int:
        """Voxels that round to `value`."""
        return int(self.between(value, value).sum())

    def without(self, value: int | None) -> Histogram:
        """The same without the voxels at `value`; unchanged for None."""
        if value is None or not self.count(value) or self.count(value) == self.total:
            return self
        counts = self.counts.copy()
        counts[value - self.low] = 0
        return Histogram(counts, self.low, self.minimum, self.maximum)

    def peak(self, low: float, high: float, width: int = 15) -> float | None:
        """HU of the highest point of the smoothed histogram in [low, high]; None when nothing is there."""
        inside = self.between(low, high).astype(np.float64)
        if not inside.sum():
            return None
        smooth = np.convolve(inside, np.hanning(width + 2)[1:-1], mode="same")
        return float(max(int(low), self.low) + int(np.argmax(smooth)))

    def percentile(self, percent: float) -> float:
        """HU below which `percent` of the voxels lie."""
        cumulated = np.cumsum(self.counts)
        return float(self.low + int(np.searchsorted(cumulated, percent / 100 * cumulated[-1])))


def histogram(array: np.ndarray, job: Job | None = None) -> Histogram:
    """Count the voxels per whole HU, rounded half up, a slab at a time.

    Parameters
    ----------
    array : integer or floating point, finite, any shape with a first axis to walk along.
    """
    job = job or Job.quiet()
    counts = np.zeros(_HIGHEST - _LOWEST + 1, np.int64)
    minimum, maximum = np.inf, -np.inf
    slab = max(1, _SLAB // max(array[0].size, 1))
    short = array.dtype.kind in "iu" and np.can_cast(array.dtype, np.int16)
    index = np.empty(slab * array[0].size, np.intp)
    for start in range(0, len(array), slab):
        job.report(start / len(array), _("Histogram"))
        part = array[start : start + slab]
        minimum, maximum = min(minimum, float(part.min())), max(maximum, float(part.max()))
        if part.dtype.kind == "f":
            part = np.floor(part.astype(np.float64) + 0.5)
        if not short:
            part = np.clip(part, _LOWEST, _HIGHEST)
        here = index[: part.size]
        np.subtract(part, _LOWEST, out=here.reshape(part.shape), dtype=np.intp, casting="unsafe")
        counts += np.bincount(here, minlength=counts.size)
    return Histogram(counts, _LOWEST, minimum, maximum)


def sample(array: np.ndarray) -> np.ndarray:
    """A view of at least some 100,000 voxels, every n-th along each axis."""
    step = max(1, int((array.size / _SAMPLE) ** (1 / array.ndim)))
    return array[(slice(None, None, step),) * array.ndim]


def find_padding(array: np.ndarray, found: Histogram | None = None) -> int | None:
    """The constant value outside the field of view, or None.

    A value pads the image when very many voxels have exactly it (a spike beside its neighbours), when they
    lie together (their neighbours have it too) and reach the image's border, and when it is not the air
    itself or the end of a clipped range: from -1100 HU up it counts only if other air shows as well.

    Parameters
    ----------
    array : (k, j, i) scalar image.
    found : its histogram (of all voxels or of a sample), computed from a sample when not given.
    """
    found = found or histogram(sample(array))
    corners = array[np.ix_(*((0, -1),) * 3)].ravel()
    candidates = [*USUAL_PADDING, int(np.floor(found.minimum + 0.5))]
    candidates += [int(v) for v in corners if v == np.floor(v) and v <= 0]
    spikes = {v: n for v in candidates if (n := _spike(found, v))}
    for value in sorted(spikes, key=spikes.get, reverse=True):
        if not _beside_air(found, value):
            continue
        if _lies_together_at_border(array, value):
            return value
    return None


def _spike(found: Histogram, value: int) -> int:
    """Voxels at exactly `value` when that is many and far more than at its neighbours, else 0."""
    count = found.count(value)
    around = np.concatenate([found.between(value - 8, value - 1), found.between(value + 1, value + 8)])
    return count if count > 0.002 * found.total and count > 4 * around.max(initial=0) else 0


def _beside_air(found: Histogram, value: int) -> bool:
    """Whether `value` is below any air, or other air shows, so that it is not the air itself."""
    if value < AIR[0]:
        return True
    air = int(found.between(AIR[0], AIR[1]).sum())
    if value <= AIR[1]:
        air -= found.count(value)
    return air > 0.05 * found.count(value)


def _lies_together_at_border(array: np.ndarray, value: int) -> bool:
    at_border = inside = together = 0
    # Slices along two axes show every border of the image; those of the last cost a cache miss per voxel.
    wide = [axis for axis in range(3) if min(np.delete(array.shape, axis)) >= 4]
    for axis in wide[:2]:
        slices = np.moveaxis(array, axis, 0)
        for k in np.unique(np.linspace(0, len(slices) - 1, 5).round().astype(int)):
            hit = slices[k] == value
            at_border += sum(int(np.count_nonzero(e)) for e in (hit[0], hit[-1], hit[:, 0], hit[:, -1]))
            core = hit[1:-1, 1:-1]
            inside += int(np.count_nonzero(core))
            together += int(
                np.count_nonzero(core & hit[:-2, 1:-1] & hit[2:, 1:-1] & hit[1:-1, :-2] & hit[1:-1, 2:])
            )
    return at_border > 0 and together >= 0.8 * inside


@dataclass(frozen=True)
class Judgement:
    """What an image's values are, and the sentences to say about it.

    Parameters
    ----------
    kind : "HU"; "raw" stored values that still need the rescale; "windowed" (8-bit or a display range);
        "other" (MRI or arbitrary units); "constant".
    wrong, advice : empty for HU.
    offset : for raw values, what to add to get HU.
    """

    kind: Kind
    wrong: str = ""
    advice: str = ""
    offset: int = 0

    def notes(self) -> list[str]:
        """A warning to show, empty for HU."""
        return [] if self.kind == "HU" else [f"{self.wrong} {self.advice}"]


def judge(found: Histogram, dtype: np.dtype, modality: str = "") -> Judgement:
    """Judge a histogram whose padding has been removed (:meth:`Histogram.without`)."""
    low, high = (int(v) for v in (found.percentile(0.05), found.percentile(99.95)))
    if found.minimum == found.maximum:
        return Judgement(
            "constant",
            _("Every voxel is {value:g}.").format(value=found.minimum),
            _("Load the image again, or choose another."),
        )
    # A CT cropped to an organ may lie within 0 .. 255 too, but would not start and end exactly there.
    full = found.minimum == 0 and found.maximum == 255
    unit = found.minimum >= 0 and found.maximum <= 1
    if dtype.itemsize == 1 or full or unit or (low >= 0 and high <= 255 and modality != "CT"):
        return Judgement(
            "windowed",
            _(
                "The values run from {low:g} to {high:g}: an 8-bit or windowed picture, not Hounsfield units."
            ).format(low=found.minimum, high=found.maximum),
            _("Choose the CT volume from which it was made."),
        )
    offset = _raw_offset(found)
    if offset:
        return Judgement(
            "raw",
            _(
                "Air lies near {air:.0f} and water near {water:.0f}: raw stored values, not Hounsfield units."
            ).format(air=found.peak(0, 150) or 0, water=-offset),
            _(
                "Apply the rescale slope and intercept (most likely add {offset}), or load the DICOM series, "
                "which does it."
            ).format(offset=offset),
            offset,
        )
    spread = found.maximum - found.minimum
    if spread < 50 or (found.share(_LOWEST, -30) < 1e-3 and modality != "CT"):
        return Judgement(
            "other",
            _("The values run from {low:g} to {high:g} without air or fat: not Hounsfield units.").format(
                low=found.minimum, high=found.maximum
            ),
            _("Choose a CT volume; for MRI use the MedPrep MRI module."),
        )
    return Judgement("HU")


def _raw_offset(found: Histogram) -> int:
    """-1024 or -1000 when the histogram is that of raw stored values, else 0."""
    if found.share(_LOWEST, -1) > 1e-3 or found.maximum < 1100:
        return 0
    # Soft tissue stands alone as a narrow peak at 1000 to 1100, between almost empty ranges; MRI never does.
    tissue = found.share(850, 1200)
    valley = found.share(450, 799) / 350
    beyond = found.share(1350, 1699) / 350
    if tissue < 0.02 or tissue / 351 < 4 * valley or tissue / 351 < 4 * beyond:
        return 0
    peak = found.peak(850, 1200)
    # The two usual offsets differ by 24 only, less than tissues do; air tells them apart where it shows.
    air = found.peak(0, 120)
    if air is not None and found.share(0, 120) > 0.02:
        return -1000 if air < 12 else -1024
    return -1024 if peak is None or peak > 1010 else -1000


def judge_volume(volume: Volume) -> Judgement:
    """Judge a scalar volume from a sample of its voxels."""
    return look(volume)[0]


def look(volume: Volume) -> tuple[Judgement, int | None]:
    """What the values are, and the padding value, from one sample of the voxels."""
    found = histogram(sample(volume.array))
    padding = find_padding(volume.array, found)
    return judge(found.without(padding), volume.array.dtype, volume.modality), padding


def require_hu(volume: Volume) -> None:
    """Refuse an image whose values are not Hounsfield units, whatever its modality tag says.

    Raises
    ------
    InputError
        for raw stored values, a windowed picture, an MRI, or one single value everywhere.
    """
    judgement = judge_volume(volume)
    if judgement.kind != "HU":
        raise InputError(
            judgement.wrong, _("Expected a CT in Hounsfield units (air -1000, water 0)."), judgement.advice
        )


def hu_notes(volume: Volume) -> list[str]:
    """A warning for operations that still make sense on other values; empty for HU."""
    return judge_volume(volume).notes()


def hu_checks(volume: Volume, judgement: Judgement | None = None) -> list[Check]:
    """A warning for the quality control of an image as it came whose values are not HU; else empty.

    Catches an MRI or a picture without a modality tag that is given to a recipe without ``ct.check``. What an
    operation made may have any values, and is not judged. `judgement` is that of the volume, where known.
    """
    if volume.history:
        return []
    judgement = judgement or judge_volume(volume)
    if judgement.kind == "HU":
        return []
    limit = _("Hounsfield units")
    return [Check(_("Values of the input"), "warn", judgement.wrong, limit, judgement.advice)]
