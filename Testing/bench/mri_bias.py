"""Rows: N4 beside SimpleITK's and ANTs' filters at equal settings, and White Stripe."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import SimpleITK as sitk

from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.core.volume import LabelVolume, Volume
from MedPrepCommonLib.phantoms.brain import BrainPhantom, make_brain_phantom
from MedPrepMRILib.numeric import shrink

from .ct_pointwise import operation_subjects
from .data import Chest
from .harness import Options, Row, Subject
from .targets import quality, ratio

# A chest of this many voxels or more is the real benchmark, not a test of it.
WHOLE = 1_000_000
BIAS, SHRINK, CONVERGENCE = 0.4, 4, 0.001


@dataclass(frozen=True)
class Brain:
    """The brain phantom's T1; `hu` is what the harness calls the image."""

    made: BrainPhantom
    iterations: tuple[int, ...]

    @property
    def hu(self) -> np.ndarray:
        return self.made.images["T1"]

    @property
    def volume(self) -> Volume:
        """The T1 with its bias field."""
        return Volume(self.hu, self.made.ijkToRAS, "T1", "MR")

    @property
    def mask(self) -> LabelVolume:
        """The true brain."""
        return LabelVolume(self.made.brain.astype(np.uint8), self.made.ijkToRAS, "brain", "MR")

    def slab(self, share: float) -> Brain:
        """The middle `share` of the slices."""
        count = max(4, round(len(self.hu) * share))
        first = (len(self.hu) - count) // 2
        part = slice(first, first + count)
        matrix = self.made.ijkToRAS.copy()
        matrix[:3, 3] += matrix[:3, 2] * first
        return replace(
            self,
            made=replace(
                self.made,
                images={"T1": np.ascontiguousarray(self.hu[part])},
                field=np.ascontiguousarray(self.made.field[part]),
                labels=np.ascontiguousarray(self.made.labels[part]),
                ijkToRAS=matrix,
            ),
        )


def brain(data: Chest | Brain) -> Brain:
    """A phantom as fine as the chest: 1 mm for the benchmark, 4 mm for its tests."""
    if isinstance(data, Brain):
        return data
    fine = data.hu.size >= WHOLE
    step = 1.2 if fine else 4.0
    shape = tuple(round(size / step) for size in (192, 216, 180))
    made = make_brain_phantom(shape, (step,) * 3, sequences=("T1",), bias=BIAS)
    return Brain(made, (50, 50, 50, 50) if fine else (5, 5))


class N4(Row):
    name = "n4"
    title = "N4 of a T1 head with a field of 40 %, shrink factor 4, 50 iterations on 4 levels, brain mask"
    targets = (
        ratio("SimpleITK", 20),
        quality("r with ITK's field", at_least=0.999),
        quality("ratio to ITK's field, CV (%)", at_most=0.5),
    )
    oracle = "SimpleITK N4"

    def prepare(self, data: Chest) -> Brain:
        return brain(data)

    def moved(self, data: Brain) -> int:
        return data.hu.size * 12

    def ours(self, data: Chest | Brain) -> list[Subject]:
        data = brain(data)
        op = create(
            "mri.n4",
            shrinkFactor=SHRINK,
            iterations=", ".join(map(str, data.iterations)),
            convergence=CONVERGENCE,
        )
        return [
            replace(subject, array=lambda result: result.images["biasField"].array)
            for subject in operation_subjects(op, image=data.volume, mask=data.mask, weight=None)
        ]

    def peers(self, data: Brain, options: Options) -> list[Subject]:
        found = [Subject("SimpleITK N4", "SimpleITK", lambda: field_of_itk(data))]
        if options.extra_peers:
            found += _ants(data)
        return found

    def judge(self, data: Brain, array: Any, oracle: Any) -> dict[str, float]:
        inside = data.made.brain
        ours, theirs = (np.log(a[inside].astype(np.float64)) for a in (array, oracle))
        left = data.made.field[inside] / array[inside]
        return {
            "r with ITK's field": float(np.corrcoef(ours, theirs)[0, 1]),
            "ratio to ITK's field, CV (%)": _variation(np.exp(ours - theirs)),
            "known field that is left, CV (%)": _variation(left),
        }


class WhiteStripe(Row):
    name = "white-stripe"
    title = "White Stripe of a T1 head with a brain mask"
    targets = (quality("white matter's median off (deviations)", at_most=1),)

    def prepare(self, data: Chest) -> Brain:
        return brain(data)

    def moved(self, data: Brain) -> int:
        return data.hu.size * 8

    def ours(self, data: Chest | Brain) -> list[Subject]:
        data = brain(data)
        op = create("mri.whiteStripe", "t1")
        return operation_subjects(op, image=data.volume, mask=data.mask, t2=None, flair=None)

    def peers(self, data: Brain, options: Options) -> list[Subject]:
        image, inside = data.hu, data.made.brain
        found = [Subject("textbook", "textbook", lambda: _textbook(image, inside))]
        return found + (_intensity_normalization(image, inside) if options.extra_peers else [])

    def judge(self, data: Brain, array: Any, oracle: Any) -> dict[str, float]:
        white = array[data.made.labels == 3]
        return {"white matter's median off (deviations)": abs(float(np.median(white)))}


def field_of_itk(data: Brain) -> np.ndarray:
    """SimpleITK in the usual way: shrink, correct, evaluate at full resolution; (k, j, i)."""
    whole = data.volume.to_sitk()
    samples = shrink.samples(data.volume, (SHRINK,) * 3)
    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations(list(data.iterations))
    corrector.SetConvergenceThreshold(CONVERGENCE)
    coarse = np.ascontiguousarray(data.hu[samples])
    inside = (data.made.brain[samples] & (coarse > 0)).astype(np.uint8)
    corrector.Execute(sitk.GetImageFromArray(coarse), sitk.GetImageFromArray(inside))
    field = sitk.GetArrayFromImage(
        corrector.GetLogBiasFieldAsImage(sitk.Image(whole.GetSize(), sitk.sitkUInt8))
    )
    return np.exp(field)


def _ants(data: Brain) -> list[Subject]:
    """ANTs, where antspyx is installed: nothing of MedPrep needs it."""
    try:
        import ants
    except ImportError:
        return []
    image = ants.from_numpy(np.ascontiguousarray(data.hu.T), spacing=data.volume.spacing)
    mask = ants.from_numpy(
        np.ascontiguousarray(data.made.brain.T.astype(np.float32)), spacing=data.volume.spacing
    )

    def run() -> np.ndarray:
        return ants.n4_bias_field_correction(
            image,
            mask=mask,
            shrink_factor=SHRINK,
            convergence={"iters": list(data.iterations), "tol": CONVERGENCE},
            return_bias_field=True,
        )

    return [Subject("ANTs N4", "ANTs", run, lambda field: field.numpy().T)]


def _intensity_normalization(image: np.ndarray, inside: np.ndarray) -> list[Subject]:
    """The package intensity-normalization (3.0.1), where it is installed: nothing of MedPrep needs it."""
    try:
        from intensity_normalization.adapters.images import NumpyImageAdapter
        from intensity_normalization.domain.models import Modality
        from intensity_normalization.normalizers.individual.whitestripe import WhiteStripeNormalizer
    except ImportError:
        return []
    whole, mask = (NumpyImageAdapter(a.astype(np.float64)) for a in (image, inside))

    def run() -> np.ndarray:
        normalizer = WhiteStripeNormalizer(modality=Modality.T1)
        normalizer.fit(whole, mask)
        return normalizer.transform(whole, mask).get_data()

    return [Subject("intensity-normalization", "intensity-normalization", run)]


def _textbook(image: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Kernel estimate of the histogram, its last peak, the quantiles around it (Shinohara et al. 2014)."""
    values = image[inside].astype(np.float64)
    counts, edges = np.histogram(values, 2000)
    width = values.std() * values.size**-0.2
    grid = (edges[:-1] + edges[1:]) / 2
    density = np.array([np.sum(counts * np.exp(-0.5 * ((grid - x) / width) ** 2)) for x in grid])
    peaks = np.flatnonzero((density[1:-1] > density[:-2]) & (density[1:-1] > density[2:])) + 1
    # The last peak of some size; the tail of the brightest voxels has none.
    peak = peaks[density[peaks] > 0.1 * density.max()][-1]
    share = (values < grid[peak]).mean()
    low, high = np.quantile(values, [max(share - 0.05, 0), min(share + 0.05, 1)])
    stripe = values[(values > low) & (values < high)]
    return ((image - stripe.mean()) / stripe.std()).astype(np.float32)


def _variation(values: np.ndarray) -> float:
    return float(100 * values.std() / values.mean())


ROWS = (N4(), WhiteStripe())
