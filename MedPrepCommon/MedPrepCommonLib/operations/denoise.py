"""Take noise away and leave edges and small structures."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
import SimpleITK as sitk

from ..core.errors import Cancelled
from ..core.i18n import _
from ..core.integers import put_rounded
from ..core.job import Job
from ..core.operation import Help, Preset, Span, Words, operation
from ..core.result import Check, Result
from ..core.volume import Volume
from ..numeric import weighted_means
from ..numeric.noise import noise_left, noise_level
from ..numeric.small_detail import Detail, detail_kept
from ..numeric.voxel_statistics import extremes

# Reach of the search and of a patch, in voxels: in volumes, in single slices.
_VOLUME, _SLICE = (2, 1), (5, 2)
# What strength 1 means: of non-local means' falloff, the bilateral weight by value and the gradient at which
# diffusion slows down, in standard deviations of the noise.
_FALLOFF, _DIFFERENCE, _GRADIENT = 0.6, 2.0, 1.0
# Bilateral: standard deviation of the weight by place, in the finest voxels. Diffusion: steps.
_DISTANCE, _ITERATIONS = 1.2, 5
# Diffusion holds three float32 copies of what it works on: of a part at a time, of at least so many slices.
_PARTS, _SLAB = 3, 32
# Share of the small structures that may be lost without a warning; fewer structures than this say nothing.
_LOST, _FEW = 0.1, 5


@operation(
    "denoise",
    title=_("Denoise"),
    console="denoise",
    outputs=("image",),
    cite=(
        "Buades et al. 2005, CVPR 2:60-65 (non-local means), doi:10.1109/CVPR.2005.38",
        "Tomasi and Manduchi 1998, ICCV:839-846 (bilateral filter), doi:10.1109/ICCV.1998.710815",
        "Whitaker and Xue 2001, ICIP 3:142-145 (curvature anisotropic diffusion), "
        "doi:10.1109/ICIP.2001.958071",
    ),
)
class Denoise:
    """Take noise away and leave edges: by alike patches, by alike neighbours, or by diffusion along edges.

    How strongly follows the noise that is found in the image. The result says how much noise is left, and
    warns when small structures lose over half of their contrast.
    """

    method: Annotated[
        Literal["nonLocalMeans", "bilateral", "diffusion"],
        Words(
            nonLocalMeans=_("Non-local means"),
            bilateral=_("Bilateral filter"),
            diffusion=_("Curvature anisotropic diffusion"),
        ),
        Help(
            _(
                "nonLocalMeans averages places that look alike and keeps most; bilateral averages near "
                "voxels of like value; diffusion smooths along edges"
            )
        ),
    ] = "nonLocalMeans"
    strength: Annotated[
        float,
        Span(0.1, 5, 0.1, 2),
        Help(_("1 suits the noise that is there; more takes more away, and small structures with it")),
    ] = 1.0
    noise: Annotated[
        float,
        Span(0, 1e6, 1, 3),
        Help(_("Standard deviation of the noise in the image's unit; 0 has it estimated")),
    ] = 0.0

    presets = {
        "standard": Preset(_("Non-local means"), "Buades et al. 2005", method="nonLocalMeans", strength=1),
        "gentle": Preset(_("Non-local means, gentle"), "", method="nonLocalMeans", strength=0.5),
        "bilateral": Preset(
            _("Bilateral filter"), "Tomasi and Manduchi 1998", method="bilateral", strength=1
        ),
        "diffusion": Preset(
            _("Curvature diffusion"), "Whitaker and Xue 2001", method="diffusion", strength=1
        ),
    }

    def __call__(self, image: Volume, job: Job) -> Result:
        job.report(0.0)
        noise = self.noise or noise_level(image.array, image.spacing_kji)
        job.report(0.1)
        spread = float(np.ptp(image.array))
        # Below the last the squares that the filters weigh with are 0 in float32.
        if noise <= 1e-6 * spread or spread == 0 or noise < 1e-18:
            result = self._result(image, image.array, 0.0, Detail(0, 0))
            result.notes.append(_("No noise was found: the image is as it was."))
            return result
        middle = _far_off(image.array, noise)
        near = image
        if middle:
            near = image.with_array(np.subtract(image.array, middle, dtype=np.float64))
        filtered = {
            "nonLocalMeans": self._non_local_means,
            "bilateral": self._bilateral,
            "diffusion": self._diffusion,
        }[self.method](near, noise, job.part(0.1, 0.8))
        detail = detail_kept(near.array, filtered, noise, job.part(0.8, 1.0))
        result = self._result(near, filtered, noise, detail)
        if middle:
            array = np.empty(image.shape, image.array.dtype.newbyteorder("="))
            for k, values in enumerate(result.images["image"].array):
                put_rounded(values + middle, array[k])
            result.images["image"] = image.with_array(array, name="")
        return result

    def _non_local_means(self, image: Volume, noise: float, job: Job) -> np.ndarray:
        search, patch = _SLICE if 1 in image.shape else _VOLUME
        return weighted_means.non_local_means(
            np.ascontiguousarray(image.array), noise, _FALLOFF * self.strength, search, patch, job
        )

    def _bilateral(self, image: Volume, noise: float, job: Job) -> np.ndarray:
        finest = min(step for step, n in zip(image.spacing_kji, image.shape, strict=True) if n > 1)
        return weighted_means.bilateral(
            np.ascontiguousarray(image.array), image.spacing_kji, _DISTANCE * finest,
            _DIFFERENCE * self.strength * noise, job,
        )  # fmt: skip

    def _diffusion(self, image: Volume, noise: float, job: Job) -> np.ndarray:
        """ITK's filter, in parts with as many slices around them as it has steps: each step looks one on."""
        axes = [axis for axis, n in enumerate(image.shape) if n > 1]
        finest = min(image.spacing_kji[axis] for axis in axes)
        steps = [step / finest for step in image.spacing_kji]
        # Per axis, a central difference of white noise has half its variance.
        gradient = _GRADIENT * self.strength * noise * math.sqrt(sum(0.5 / steps[a] ** 2 for a in axes))
        depth = len(image.array)
        slab = max(_SLAB, -(-depth // _PARTS))
        result = np.empty(image.shape, np.float32)
        for start in range(0, depth, slab):
            stop = min(start + slab, depth)
            first, last = max(0, start - _ITERATIONS), min(depth, stop + _ITERATIONS)
            part = job.part(start / depth, stop / depth)
            diffused = _diffused(image.array[first:last], steps, gradient, part)
            result[start:stop] = diffused[start - first : stop - first]
        return result

    def _result(self, image: Volume, filtered: np.ndarray, noise: float, detail: Detail) -> Result:
        left = noise_left(image.array, filtered, image.spacing_kji, noise) if noise else 0.0
        array = np.empty(image.shape, image.array.dtype.newbyteorder("="))
        for k, values in enumerate(filtered):
            if noise:
                put_rounded(values, array[k])
            else:
                array[k] = values
        warn = detail.found >= _FEW and detail.share > _LOST
        check = Check(
            _("Small structures"),
            "warn" if warn else "pass",
            _("{lost} of {found} lost over half their contrast").format(lost=detail.lost, found=detail.found),
            _("at most {share:.0%}").format(share=_LOST),
            _("Lower the strength, or use non-local means.") if warn else "",
        )
        return Result(
            images={"image": image.with_array(array, name="")},
            metrics={
                "noiseBefore": noise,
                "noiseAfter": left,
                "smallStructures": detail.found,
                "smallStructuresLost": detail.lost,
            },
            checks=[check],
        )


def _far_off(array: np.ndarray, noise: float) -> float:
    """What to take from the values first: float32, in which the filters work, loses noise on large values."""
    low, high = extremes(array)
    steps = float(np.spacing(np.float32(max(abs(low), abs(high)))))
    return float((low + high) // 2) if steps > 0.01 * noise else 0.0


def _diffused(array: np.ndarray, steps: list[float], gradient: float, job: Job) -> np.ndarray:
    """The array after curvature diffusion that slows down at this gradient, per voxel of the finest axis."""
    # ITK's conductance is relative to the mean gradient of what it is given, so that has to be known.
    average = _mean_square_gradient(array, steps)
    if average == 0:
        return array
    axes = [axis for axis, n in enumerate(array.shape) if n > 1]
    source = sitk.GetImageFromArray(array.squeeze().astype(np.float32))
    source.SetSpacing([steps[axis] for axis in axes][::-1])
    diffusion = sitk.CurvatureAnisotropicDiffusionImageFilter()
    diffusion.SetTimeStep(1 / 2 ** (len(axes) + 1))
    diffusion.SetNumberOfIterations(_ITERATIONS)
    # The gradients of the noisy image hold.
    diffusion.SetConductanceScalingUpdateInterval(_ITERATIONS + 1)
    diffusion.SetConductanceParameter(gradient / math.sqrt(average))
    stopped: list[Cancelled] = []

    def step() -> None:
        # An exception may not pass through ITK: it is kept and raised after ITK has stopped.
        try:
            job.report(diffusion.GetProgress())
        except Cancelled as cancelled:
            stopped.append(cancelled)
            diffusion.Abort()

    diffusion.AddCommand(sitk.sitkProgressEvent, step)
    try:
        found = diffusion.Execute(source)
    except RuntimeError:
        if stopped:
            raise stopped[0] from None
        raise
    job.check()
    return sitk.GetArrayFromImage(found).reshape(array.shape)


def _mean_square_gradient(array: np.ndarray, steps: list[float]) -> float:
    """As ITK measures it: central differences of neighbours, the outermost values repeated."""
    total = 0.0
    last = len(array) - 1
    for k in range(len(array)):
        below, plane, above = (
            np.pad(array[n].astype(np.float64), 1, mode="edge") for n in (max(k - 1, 0), k, min(k + 1, last))
        )
        for step, difference in zip(
            steps, (above - below, plane[2:] - plane[:-2], plane[:, 2:] - plane[:, :-2]), strict=True
        ):
            inner = difference[1:-1] if len(difference) == len(plane) else difference
            inner = inner[:, 1:-1] if inner.shape[1] == plane.shape[1] else inner
            total += float(np.square(inner).sum()) / (4 * step * step)
    return total / array.size
