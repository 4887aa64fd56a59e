"""Bring the arbitrary intensities of MRI to a common scale: z-score, percentiles or histogram landmarks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np

from MedPrepCommonLib.core.errors import InputError, ParameterError
from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import Help, Preset, Span, Unit, When, Words, operation
from MedPrepCommonLib.core.result import Result, Table
from MedPrepCommonLib.core.volume import LabelVolume, Volume
from MedPrepCommonLib.numeric import blocks, landmarks, voxel_statistics
from MedPrepCommonLib.numeric.landmarks import Landmarks

from ..normalization.within import within
from ..recognition.ct_values import ct_checks

_RANGES = {"[0, 1]": (0.0, 1.0), "[-1, 1]": (-1.0, 1.0)}
_NYUL = "Nyúl, Udupa and Zhang 2000, IEEE Trans Med Imaging 19(2):143-150, doi:10.1109/42.836373"


def fit_nyul(
    volumes: Iterable[Volume],
    masks: Iterable[LabelVolume | None] | None = None,
    percentiles: Sequence[float] = landmarks.PERCENTILES,
    region: str = "brain",
    job: Job | None = None,
) -> Landmarks:
    """The standard scale of training images of one sequence, for ``mri.normalize`` with method nyul.

    Parameters
    ----------
    volumes : training images; read one after another, so a generator can load them.
    masks : for each image the mask to measure in; None has the region found.
    percentiles : of the landmarks.
    region : "brain", "foreground" or "image", where there is no mask.

    Returns
    -------
    Landmarks : put its ``text`` into the parameter `landmarks`, or save its ``to_json()``.
    """
    job = job or Job.quiet()
    training = []
    remaining = None if masks is None else iter(masks)
    for image in volumes:
        job.report(0.0, _("Training image {n}").format(n=len(training) + 1))
        mask = None if remaining is None else next(remaining)
        # Learning one image tells nothing of how many follow.
        inside = within(image, mask, job.part(0.0, 0.0), region)
        training.append(landmarks.measure(image.array, inside, percentiles))
    return landmarks.standard_scale(training)


@operation(
    "mri.normalize",
    title=_("Normalize MRI"),
    console="normalize",
    modality="MR",
    outputs=("image", "landmarks?"),
    records=("landmarks",),
    cite=(
        _NYUL,
        "Shah et al. 2011, Medical Image Analysis 15(2):267-282 (landmarks), doi:10.1016/j.media.2010.12.003",
    ),
)
class NormalizeMRI:
    """Scale MRI intensities by what is measured inside a mask, or inside the brain where there is none.

    zscore gives mean 0 and standard deviation 1 inside; percentile takes two percentiles to the ends of a
    range; nyul takes percentiles to those of training images. The whole image is scaled.
    """

    method: Annotated[
        Literal["zscore", "percentile", "nyul"],
        Words(
            zscore=_("Mean 0, deviation 1 (z-score)"),
            percentile=_("Between two percentiles"),
            nyul=_("Landmarks of training images (Nyúl)"),
        ),
        Help(
            _(
                "zscore: mean 0, deviation 1; percentile: two percentiles become the ends of a range; "
                "nyul: percentiles become those of training images"
            )
        ),
    ] = "zscore"
    region: Annotated[
        Literal["brain", "foreground", "image"],
        Words(brain=_("Brain"), foreground=_("Everything with signal"), image=_("Whole image")),
        When("mask", given=False),
        Help(_("Where to measure without a mask: the brain, everything that gives signal, or every voxel")),
    ] = "brain"
    lowPercentile: Annotated[
        float,
        Span(0, 50, 0.5, 2),
        Unit("%"),
        When("method", "percentile"),
        Help(_("percentile: share of the voxels below the lower end")),
    ] = 1.0
    highPercentile: Annotated[
        float,
        Span(50, 100, 0.5, 2),
        Unit("%"),
        When("method", "percentile"),
        Help(_("percentile: share of the voxels below the upper end")),
    ] = 99.0
    range: Annotated[
        Literal["[0, 1]", "[-1, 1]"], When("method", "percentile"), Help(_("percentile: range of the result"))
    ] = "[0, 1]"
    clip: Annotated[
        bool,
        When("method", "percentile"),
        Help(_("percentile: limit what lies beyond the percentiles to the range")),
    ] = True
    landmarks: Annotated[
        str,
        When("method", "nyul") & When("learn", False),
        Help(
            _(
                "nyul: percentiles of training images, as in 1=0 50=41.5 99=100; empty takes this image's "
                "1st and 99th percentile to 0 and 100"
            )
        ),
    ] = ""
    learn: Annotated[
        bool,
        When("method", "nyul"),
        Help(_("nyul: learn the landmarks from the training cases of a batch, for all its cases")),
    ] = False

    presets = {
        "zscore": Preset(_("Mean 0, deviation 1 in the brain"), "", method="zscore"),
        "unit": Preset(
            _("1st to 99th percentile to [0, 1]"),
            "",
            method="percentile",
            lowPercentile=1,
            highPercentile=99,
            range="[0, 1]",
            clip=True,
        ),
        "nyul": Preset(_("Landmarks of training images"), _NYUL, method="nyul"),
    }

    def __post_init__(self) -> None:
        if self.method == "percentile" and not self.lowPercentile < self.highPercentile:
            raise ParameterError(
                _("mri.normalize goes from the {low:g}th to the {high:g}th percentile.").format(
                    low=self.lowPercentile, high=self.highPercentile
                ),
                _("Expected the lower below the upper one."),
                _("Swap the two."),
            )
        if self.landmarks.strip():
            # One way of writing them, whichever was given: a recipe's digest is about what is done.
            object.__setattr__(self, "landmarks", Landmarks.parse(self.landmarks).text)

    # ---- landmarks of training data
    def needs_fit(self) -> bool:
        """Whether landmarks have still to be learned from training cases."""
        return self.method == "nyul" and self.learn

    def measure(self, image: Volume, mask: LabelVolume | None, job: Job) -> dict[str, Any]:
        """The landmarks of one training case, as JSON."""
        return landmarks.measure(image.array, within(image, mask, job, self.region)).to_json()

    def fit(self, measured: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The standard scale of the training cases, as :func:`fit_nyul` finds it."""
        training = [Landmarks(tuple(one["percentiles"]), tuple(one["values"])) for one in measured]
        return {"landmarks": landmarks.standard_scale(training).text, "learn": False}

    # ---- one image
    def __call__(self, image: Volume, mask: LabelVolume | None, job: Job) -> Result:
        if self.needs_fit():
            raise ParameterError(
                _("mri.normalize shall use landmarks of training data, which have not been learned."),
                _("Expected a batch with cases of the split train, or given landmarks."),
                _("Run the recipe as a batch, or fill in landmarks and switch learn off."),
            )
        inside = within(image, mask, job.part(0.0, 0.5), self.region)
        method = {"zscore": self._zscore, "percentile": self._percentile, "nyul": self._nyul}[self.method]
        result = method(image, inside, job.part(0.5, 1.0))
        result.checks += ct_checks(image)
        return result

    def _zscore(self, image: Volume, inside: np.ndarray, job: Job) -> Result:
        found = voxel_statistics.statistics(image.array, inside, job=job.part(0.0, 0.5))
        if not found.standardDeviation > 1e-12 * max(abs(found.mean), 1e-300):
            raise InputError(
                _("Every voxel inside the mask is {value:g}.").format(value=found.mean),
                _("Expected an image with contrast (a standard deviation above zero)."),
                _("Choose another image or mask."),
            )
        array = blocks.standardize(
            image.array, found.mean, found.standardDeviation, dtype=np.float32, job=job.part(0.5, 1.0)
        )
        return Result(
            images={"image": image.with_array(array, name="", display=(0.0, 6.0))},
            metrics={
                "mean": found.mean,
                "standardDeviation": found.standardDeviation,
                "voxels": found.count,
            },
        )

    def _percentile(self, image: Volume, inside: np.ndarray, job: Job) -> Result:
        low, high = landmarks.measure(image.array, inside, (self.lowPercentile, self.highPercentile)).values
        start, stop = _RANGES[self.range]
        job.report(0.3)
        mapped = blocks.linear_map(
            image.array, low, high, start, stop, clip=self.clip, count=True, job=job.part(0.3, 1.0)
        )
        size = image.array.size
        display = ((start + stop) / 2, stop - start)
        return Result(
            images={"image": image.with_array(mapped.array, name="", display=display)},
            metrics={
                "low": low,
                "high": high,
                "below": mapped.below / size,
                "above": mapped.above / size,
                "voxels": int(np.count_nonzero(inside)),
            },
        )

    def _nyul(self, image: Volume, inside: np.ndarray, job: Job) -> Result:
        standard = Landmarks.parse(self.landmarks) if self.landmarks.strip() else None
        percentiles = landmarks.PERCENTILES if standard is None else standard.percentiles
        own = landmarks.measure(image.array, inside, percentiles)
        job.report(0.3)
        scaled = own.scaled()
        standard = scaled if standard is None else standard
        array = landmarks.apply(image.array, own, standard, job.part(0.3, 1.0))
        low, high = standard.values[0], standard.values[-1]
        rows = tuple(zip(percentiles, own.values, scaled.values, standard.values, strict=True))
        columns = ("percentile (%)", "intensity", "intensity from 0 to 100", "standard scale")
        return Result(
            images={"image": image.with_array(array, name="", display=((low + high) / 2, high - low))},
            tables={"landmarks": Table(_("Landmarks"), columns, rows)},
            metrics={"landmarks": scaled.text, "voxels": int(np.count_nonzero(inside))},
        )
