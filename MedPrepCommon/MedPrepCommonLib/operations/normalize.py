"""Bring intensities to the range or distribution that a network was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np

from ..core.errors import InputError, ParameterError
from ..core.i18n import _
from ..core.job import Job
from ..core.operation import Help, Span, Unit, When, Words, operation
from ..core.result import Result
from ..core.volume import LabelVolume, Volume
from ..numeric import blocks, histogram_matching, voxel_statistics
from ..numeric.landmarks import Landmarks
from ..numeric.local_normalization import normalize_locally
from ..numeric.normalization_presets import PRESETS
from ..numeric.quantiles import quantiles

_ANY = Span(-1e6, 1e6, 10, 3)
_RANGES = {"[0, 1]": (0.0, 1.0), "[-1, 1]": (-1.0, 1.0)}
# Methods whose numbers can be those of training data.
_FITTED = ("zscore", "percentile", "robust", "histogram")


_GIVEN = When("statistics", "given")
_MEASURED = When("method", "zscore", "percentile", "robust", "histogram")


@operation(
    "normalize",
    title=_("Normalize"),
    console="normalize",
    outputs=("image",),
    cite=(
        "Isensee et al. 2021, Nature Methods 18:203-211 (nnU-Net), doi:10.1038/s41592-020-01008-z",
        "Gonzalez and Woods, Digital Image Processing, 3.3.2 (histogram matching)",
    ),
)
class Normalize:
    """Scale intensities to a range, to a mean and deviation, or to another image's distribution.

    Numbers are measured in the image (inside the mask, if any), given, or learned from the training cases of
    a batch. The whole image is scaled. Between two bounds and by two percentiles what lies beyond is limited.
    """

    method: Annotated[
        Literal["minmax", "zscore", "percentile", "robust", "histogram", "local"],
        Words(
            minmax=_("Between two bounds"),
            zscore=_("Mean 0, deviation 1 (z-score)"),
            percentile=_("Between two percentiles"),
            robust=_("Median 0, interquartile range 1"),
            histogram=_("Histogram of a reference"),
            local=_("Local mean 0, local deviation 1"),
        ),
        Help(
            _(
                "minmax: low..high becomes the chosen range; zscore: (value - mean) / standard deviation; "
                "percentile: two percentiles become the ends of the range; robust: (value - median) / "
                "interquartile range; histogram: the distribution of the reference; local: (value - mean) / "
                "deviation of the surroundings"
            )
        ),
    ] = "minmax"
    low: Annotated[
        float,
        _ANY,
        When("method", "minmax") | (When("method", "percentile") & _GIVEN),
        Help(
            _(
                "minmax, and percentile with given statistics: value that becomes the lower end; what lies "
                "below is limited"
            )
        ),
    ] = -1200.0
    high: Annotated[
        float,
        _ANY,
        When("method", "minmax") | (When("method", "percentile") & _GIVEN),
        Help(
            _(
                "minmax, and percentile with given statistics: value that becomes the upper end; what lies "
                "above is limited"
            )
        ),
    ] = 600.0
    range: Annotated[
        Literal["[0, 1]", "[-1, 1]"],
        When("method", "minmax", "percentile"),
        Help(_("minmax and percentile: range of the result")),
    ] = "[0, 1]"
    statistics: Annotated[
        Literal["image", "given", "training"],
        Words(
            image=_("Of this image"),
            given=_("Given, of the training data"),
            training=_("Learned from the training cases of a batch"),
        ),
        _MEASURED,
        Help(
            _(
                "zscore, percentile, robust, histogram: measure in this image (within the mask, if any) or "
                "the reference, use given numbers, or have a batch learn them from its training cases"
            )
        ),
    ] = "image"
    mean: Annotated[
        float,
        _ANY,
        When("method", "zscore") & _GIVEN,
        Help(_("zscore with given statistics: mean of the training data")),
    ] = 0.0
    standardDeviation: Annotated[
        float,
        Span(1e-6, 1e6, 1, 6),
        When("method", "zscore") & _GIVEN,
        Help(_("zscore with given statistics: standard deviation of the training data")),
    ] = 1.0
    lowPercentile: Annotated[
        float,
        Span(0, 50, 0.5, 2),
        Unit("%"),
        When("method", "percentile"),
        Help(_("percentile: share of the voxels below the lower end")),
    ] = 0.5
    highPercentile: Annotated[
        float,
        Span(50, 100, 0.5, 2),
        Unit("%"),
        When("method", "percentile"),
        Help(_("percentile: share of the voxels below the upper end")),
    ] = 99.5
    median: Annotated[
        float,
        _ANY,
        When("method", "robust") & _GIVEN,
        Help(_("robust with given statistics: median of the training data")),
    ] = 0.0
    interquartileRange: Annotated[
        float,
        Span(1e-6, 1e6, 1, 6),
        When("method", "robust") & _GIVEN,
        Help(_("robust with given statistics: 75th minus 25th percentile of the training data")),
    ] = 1.0
    quantiles: Annotated[
        str,
        When("method", "histogram") & _GIVEN,
        Help(
            _(
                "histogram with given statistics: percentiles of the training data, as in "
                "0=-1000 50=-860 100=1400"
            )
        ),
    ] = ""
    localSize: Annotated[
        float,
        Span(1, 500, 5, 1),
        Unit("mm"),
        When("method", "local"),
        Help(_("local: how wide the surroundings are")),
    ] = 40.0
    localWindow: Annotated[
        Literal["box", "gaussian"],
        Words(box=_("Box"), gaussian=_("Gaussian")),
        When("method", "local"),
        Help(_("local: whether all surroundings count alike, or near ones more")),
    ] = "box"

    presets = PRESETS

    def __post_init__(self) -> None:
        bounds = self.method == "minmax" or (self.method == "percentile" and self.statistics == "given")
        if bounds and not self.low < self.high:
            raise ParameterError(
                _("normalize goes from {low:g} to {high:g}.").format(low=self.low, high=self.high),
                _("Expected low below high."),
                _("Swap the two."),
            )
        if self.method == "percentile" and not self.lowPercentile < self.highPercentile:
            raise ParameterError(
                _("normalize goes from the {low:g}th to the {high:g}th percentile.").format(
                    low=self.lowPercentile, high=self.highPercentile
                ),
                _("Expected the lower below the upper one."),
                _("Swap the two."),
            )
        if self.quantiles.strip():
            # One way of writing them, whichever was given: a recipe's digest is about what is done.
            object.__setattr__(self, "quantiles", Landmarks.parse(self.quantiles).text)
        elif self.method == "histogram" and self.statistics == "given":
            raise ParameterError(
                _("normalize has no quantiles to match the histogram to."),
                _("Expected percentiles and values, as in 0=-1000 50=-860 100=1400."),
                _("Give quantiles, or match to a reference image with statistics image."),
            )

    # ---- statistics of training data
    def needs_fit(self) -> bool:
        """Whether the numbers have still to be learned from training cases."""
        return self.statistics == "training" and self.method in _FITTED

    def measure(
        self, image: Volume, mask: LabelVolume | None, reference: Volume | None, job: Job
    ) -> dict[str, Any]:
        """What one training case contributes, as JSON."""
        inside = None if mask is None else mask.inside(image)
        if self.method == "zscore":
            found = voxel_statistics.statistics(image.array, inside, job=job)
            return {"count": found.count, "mean": found.mean, "standardDeviation": found.standardDeviation}
        job.report(0.0)
        if self.method == "histogram":
            return {"values": list(histogram_matching.profile(image.array, inside))}
        shares = (0.25, 0.5, 0.75)
        if self.method == "percentile":
            shares = (self.lowPercentile / 100, self.highPercentile / 100)
        return {"values": quantiles(image.array, shares, inside).tolist()}

    def fit(self, measured: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Values of the parameters: mean and deviation of all voxels together, else means over the cases."""
        values: dict[str, Any]
        if self.method == "zscore":
            number = sum(one["count"] for one in measured)
            mean = sum(one["count"] * one["mean"] for one in measured) / number
            square = sum(
                one["count"] * (one["standardDeviation"] ** 2 + (one["mean"] - mean) ** 2) for one in measured
            )
            values = {"mean": mean, "standardDeviation": (square / number) ** 0.5}
        elif self.method == "histogram":
            profiles = [tuple(one["values"]) for one in measured]
            return {"quantiles": histogram_matching.mean_profile(profiles).text, "statistics": "given"}
        else:
            found = np.mean([one["values"] for one in measured], axis=0)
            if self.method == "percentile":
                values = {"low": found[0], "high": found[1]}
            else:
                values = {"median": found[1], "interquartileRange": found[2] - found[0]}
        # To 9 digits: a recipe with them is short, and sums in another order give the same.
        return {name: float(f"{value:.9g}") for name, value in values.items()} | {"statistics": "given"}

    # ---- one image
    def __call__(
        self,
        image: Volume,
        mask: Annotated[
            LabelVolume | None,
            When("method", "local") | (_MEASURED & When("statistics", "image", "training")),
        ],
        reference: Annotated[Volume | None, When("method", "histogram") & When("statistics", "image")],
        job: Job,
    ) -> Result:
        inside = None if mask is None else self._inside(image, mask)
        if self.needs_fit():
            raise ParameterError(
                _("normalize shall use numbers of training data, which have not been learned."),
                _("Expected a batch with cases of the split train, or given numbers."),
                _("Run the recipe as a batch, or set statistics to image or given."),
            )
        method = {
            "minmax": self._minmax,
            "zscore": self._zscore,
            "percentile": self._percentile,
            "robust": self._robust,
            "histogram": self._histogram,
            "local": self._local,
        }[self.method]
        return method(image, inside, reference, job)

    def _inside(self, image: Volume, mask: LabelVolume) -> np.ndarray | None:
        """Not zero inside; None where the method does not ask."""
        mask.require_grid_of(image, _("mask"))
        if self.method == "local":  # of all methods it needs the most memory: no copy
            mask.require_some()
            return mask.array
        return mask.inside(image) if self.statistics == "image" and self.method != "minmax" else None

    def _minmax(self, image: Volume, inside: Any, reference: Any, job: Job) -> Result:
        return self._between(image, self.low, self.high, job)

    def _percentile(
        self, image: Volume, inside: np.ndarray | None, reference: Volume | None, job: Job
    ) -> Result:
        low, high = self.low, self.high
        if self.statistics == "image":
            shares = self.lowPercentile / 100, self.highPercentile / 100
            low, high = (float(v) for v in quantiles(image.array, shares, inside))
            if not low < high:
                raise InputError(
                    _("{share:g} % of the voxels are {value:g}.").format(
                        share=self.highPercentile - self.lowPercentile, value=low
                    ),
                    _("Expected an image with contrast."),
                    _("Choose percentiles further apart, another image or another mask."),
                )
        job.report(0.5)
        return self._between(image, low, high, job.part(0.5, 1.0))

    def _between(self, image: Volume, lowest: float, highest: float, job: Job) -> Result:
        low, high = _RANGES[self.range]
        mapped = blocks.linear_map(image.array, lowest, highest, low, high, count=True, job=job)
        if _constant(mapped.array):
            raise InputError(
                _("Between {low:g} and {high:g} every voxel has the same value.").format(
                    low=lowest, high=highest
                ),
                _("Expected an image with contrast there."),
                _("Choose bounds inside the image's own range."),
            )
        size = image.array.size
        return Result(
            images={"image": image.with_array(mapped.array, name="", display=((low + high) / 2, high - low))},
            metrics={
                "low": lowest,
                "high": highest,
                "below": mapped.below / size,
                "above": mapped.above / size,
            },
        )

    def _zscore(self, image: Volume, inside: np.ndarray | None, reference: Any, job: Job) -> Result:
        mean, deviation = self.mean, self.standardDeviation
        if self.statistics == "image":
            found = voxel_statistics.statistics(image.array, inside, job=job.part(0.0, 0.5))
            mean, deviation = found.mean, found.standardDeviation
            _require_contrast(mean, deviation, _("a standard deviation above zero"))
        array = blocks.standardize(image.array, mean, deviation, dtype=np.float32, job=job.part(0.5, 1.0))
        return Result(
            images={"image": image.with_array(array, name="", display=(0.0, 6.0))},
            metrics={"mean": mean, "standardDeviation": deviation},
        )

    def _robust(self, image: Volume, inside: np.ndarray | None, reference: Any, job: Job) -> Result:
        median, width = self.median, self.interquartileRange
        if self.statistics == "image":
            low, median, high = (float(v) for v in quantiles(image.array, (0.25, 0.5, 0.75), inside))
            width = high - low
            _require_contrast(median, width, _("an interquartile range above zero"))
        job.report(0.5)
        array = blocks.standardize(image.array, median, width, dtype=np.float32, job=job.part(0.5, 1.0))
        return Result(
            images={"image": image.with_array(array, name="", display=(0.0, 4.0))},
            metrics={"median": median, "interquartileRange": width},
        )

    def _histogram(
        self, image: Volume, inside: np.ndarray | None, reference: Volume | None, job: Job
    ) -> Result:
        if self.statistics == "given":
            standard = Landmarks.parse(self.quantiles)
            wanted = np.array(standard.values), np.divide(standard.percentiles, 100)
        elif reference is None:
            raise InputError(
                _("normalize got no reference to match the histogram to."),
                _("Expected a reference image, or given quantiles."),
                _("Choose a reference, or set statistics to given and fill in quantiles."),
            )
        else:
            wanted = histogram_matching.curve_of(reference.array)
        job.report(0.3)
        own = histogram_matching.curve_of(image.array, inside)
        array = histogram_matching.match(image.array, own, wanted, job.part(0.4, 1.0))
        low, high = float(wanted[0][0]), float(wanted[0][-1])
        _require_contrast(low, high - low, _("a reference with more than one value"))
        return Result(
            images={"image": image.with_array(array, name="", display=((low + high) / 2, high - low))},
            metrics={"low": low, "high": high},
        )

    def _local(self, image: Volume, inside: np.ndarray | None, reference: Any, job: Job) -> Result:
        found = voxel_statistics.statistics(image.array, inside, job=job.part(0.0, 0.2))
        _require_contrast(found.mean, found.standardDeviation, _("a standard deviation above zero"))
        array = normalize_locally(
            image.array, inside, image.spacing_kji, self.localSize, self.localWindow,
            found.standardDeviation, job.part(0.2, 1.0),
        )  # fmt: skip
        return Result(images={"image": image.with_array(array, name="", display=(0.0, 6.0))})


def _require_contrast(value: float, width: float, expected: str) -> None:
    if not width > 1e-12 * max(abs(value), 1.0):
        raise InputError(
            _("Every voxel is {value:g}, or nearly every.").format(value=value),
            _("Expected an image with contrast ({what}).").format(what=expected),
            _("Choose another image or mask."),
        )


def _constant(array: np.ndarray) -> bool:
    """Whether every voxel has the same value; most images show that they have not in the first slices."""
    first = array.flat[0]
    return all((part == first).all() for part in array)
