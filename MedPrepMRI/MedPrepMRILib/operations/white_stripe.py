"""White Stripe normalization of one sequence, or of several co-registered ones by their common stripe."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import numpy as np

from MedPrepCommonLib.core.errors import GeometryError, InputError
from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import Help, Label, Preset, Span, Words, operation
from MedPrepCommonLib.core.result import Check, Curve, Figure, Result, Table
from MedPrepCommonLib.core.volume import LabelVolume, Segment, Volume
from MedPrepCommonLib.numeric import blocks

from ..normalization.white_stripe import Stripe, find_stripe, moments
from ..normalization.within import within
from ..recognition.ct_values import ct_checks

SHINOHARA = "Shinohara et al. 2014, NeuroImage: Clinical 6:9-19, doi:10.1016/j.nicl.2014.08.008"
STRIPE = Segment(
    1,
    "white stripe",
    ("SCT", "123037004", "Anatomical Structure"),
    ("SCT", "389080008", "White Matter"),
    None,
    (250 / 255, 250 / 255, 210 / 255),
)

# Fewer voxels give no mean and deviation worth having.
_LEAST_VOXELS = 10
# Points of the histogram in the figure.
_POINTS = 512
_COLUMNS = (
    "sequence",
    "peak",
    "brain below the peak (%)",
    "lower bound",
    "upper bound",
    "mean of the stripe",
    "standard deviation of the stripe",
    "voxels",
    "share of the brain (%)",
)


class _Found(NamedTuple):
    name: str
    image: Volume
    sequence: str
    stripe: Stripe


class _Measured(NamedTuple):
    mean: float
    deviation: float
    low: float
    high: float
    voxels: int


@operation(
    "mri.whiteStripe",
    title=_("White Stripe"),
    console="whiteStripe",
    modality="MR",
    outputs=(
        "image",
        "t2?",
        "flair?",
        "stripe",
        "whiteStripe",
        "histogram",
        "t2Histogram?",
        "flairHistogram?",
    ),
    labels=("stripe",),
    records=("whiteStripe", "histogram", "t2Histogram", "flairHistogram"),
    cite=(SHINOHARA,),
)
class WhiteStripe:
    """Scale intensities by normal-appearing white matter, so that scans of one sequence can be compared.

    White matter is found as a peak of the brain's histogram; the stripe holds the voxels around it. Further
    sequences on the same grid narrow the stripe to the voxels that all of them take for white matter, and are
    scaled by it too. Without a mask the brain is found first.
    """

    sequence: Annotated[
        Literal["T1", "T2", "PD", "FLAIR"],
        Help(
            _(
                "What the image is: T1 takes the last peak of the histogram, T2 and PD the first of at least "
                "half the largest one's height, FLAIR the largest"
            )
        ),
    ] = "T1"
    width: Annotated[
        float,
        Span(0.01, 0.25, 0.01, 3),
        Help(_("Share of the brain's voxels on either side of the peak that belong to the stripe")),
    ] = 0.05
    scaling: Annotated[
        Literal["zscore", "[0, 1]"],
        Words(
            {"zscore": _("Mean 0, deviation 1 of the stripe"), "[0, 1]": _("Bounds of the stripe to 0 and 1")}
        ),
        Help(_("zscore: the stripe has mean 0 and standard deviation 1; [0, 1]: its bounds become 0 and 1")),
    ] = "zscore"

    presets = {
        "t1": Preset(_("T1, white matter is the last peak"), SHINOHARA, sequence="T1", width=0.05),
        "t2": Preset(_("T2, white matter is the darkest tissue"), SHINOHARA, sequence="T2", width=0.05),
        "pd": Preset(_("PD, white matter is the darkest tissue"), "", sequence="PD", width=0.05),
        "flair": Preset(_("FLAIR, white matter is the largest peak"), "", sequence="FLAIR", width=0.05),
    }

    def __call__(
        self,
        image: Volume,
        mask: LabelVolume | None,
        t2: Volume | None,
        flair: Annotated[Volume | None, Label(_("FLAIR"))],
        job: Job,
    ) -> Result:
        given = [("image", image, self.sequence), ("t2", t2, "T2"), ("flair", flair, "FLAIR")]
        given = [entry for entry in given if entry[1] is not None]
        for name, other, _sequence in given[1:]:
            if not other.same_grid(image):
                raise GeometryError(
                    _("{name} lies on another grid than the image.").format(name=name.upper()),
                    _("Expected co-registered sequences on one grid."),
                    _("Bring them onto one grid first (Fuse sequences does)."),
                )
        inside = within(image, mask, job.part(0.0, 0.4))
        found = []
        for n, (name, volume, sequence) in enumerate(given):
            part = job.part(0.4 + 0.3 * n / len(given), 0.4 + 0.3 * (n + 1) / len(given), name)
            stripe = find_stripe(volume.array, inside, sequence, self.width, job=part)
            found.append(_Found(name, volume, sequence, stripe))
        stripes, common = _stripes(found, inside)
        result = Result(labels={"stripe": _stripe_volume(image, stripes[0])})
        rows = []
        for n, (entry, stripe) in enumerate(zip(found, stripes, strict=True)):
            part = job.part(0.7 + 0.3 * n / len(found), 0.7 + 0.3 * (n + 1) / len(found), entry.name)
            measured = _measured(entry, stripe, common and len(found) > 1)
            result.images[entry.name] = self._scaled(entry, measured, part)
            rows.append(_row(entry, measured))
            result.figures["histogram" if entry.name == "image" else f"{entry.name}Histogram"] = _figure(
                entry
            )
            result.metrics |= _metrics(entry, measured)
        share = rows[0][-1] / 100
        result.metrics |= {"voxels": rows[0][-2], "share": share}
        result.tables["whiteStripe"] = Table(_("White stripe"), _COLUMNS, tuple(rows))
        for name, volume, _sequence in given:
            result.checks += ct_checks(volume, "" if volume is image else name)
        result.checks += [_check(share, self.width, len(found), common), *_peak_checks(found)]
        return result

    def _scaled(self, entry: _Found, measured: _Measured, job: Job) -> Volume:
        array = entry.image.array
        if self.scaling == "zscore":
            scaled = blocks.standardize(array, measured.mean, measured.deviation, job=job)
        else:
            scaled = blocks.linear_map(array, measured.low, measured.high, 0, 1, clip=False, job=job).array
        stripe = entry.stripe
        start, scale = (
            (measured.mean, measured.deviation)
            if self.scaling == "zscore"
            else (measured.low, measured.high - measured.low)
        )
        dark, bright = ((level - start) / scale for level in (stripe.levels[0], stripe.levels[-1]))
        return entry.image.with_array(scaled, name="", display=((dark + bright) / 2, bright - dark))


def _stripes(found: list[_Found], inside: np.ndarray) -> tuple[list[np.ndarray], bool]:
    """The voxels (k, j, i) bool that scale each sequence, and whether all share them.

    They are those in the stripes of all sequences; where next to nothing is, each sequence has its own.
    """
    own = [np.empty(inside.shape, bool) for _entry in found]
    for k in range(len(inside)):
        used = bool(inside[k].any())
        for entry, stripe in zip(found, own, strict=True):
            stripe[k] = entry.stripe.contains(entry.image.array[k]) if used else False
            stripe[k] &= inside[k]
    common = own[0] if len(own) == 1 else np.logical_and.reduce(own)
    if np.count_nonzero(common) >= _LEAST_VOXELS:
        return [common] * len(found), True
    smallest = min(entry.stripe.count for entry in found)
    if smallest < _LEAST_VOXELS:
        raise InputError(
            _("The white stripe has only {n} voxels.").format(n=smallest),
            _("Expected at least {n}.").format(n=_LEAST_VOXELS),
            _("Use a larger mask or a wider stripe."),
        )
    return own, False


def _measured(entry: _Found, voxels: np.ndarray, shared: bool) -> _Measured:
    """Mean and deviation of the voxels (k, j, i) bool, with the bounds of the sequence's own stripe."""
    stripe = entry.stripe
    count, mean, deviation = stripe.count, stripe.mean, stripe.deviation
    if shared:
        values = entry.image.array[voxels]
        count, (mean, deviation) = values.size, moments(values)
    if not deviation > 1e-12 * max(abs(mean), 1e-300):
        raise InputError(
            _("Every voxel of the white stripe is {value:g}.").format(value=mean),
            _("Expected white matter of more than one intensity."),
            _("Use a wider stripe; the image may have too few grey levels."),
        )
    return _Measured(mean, deviation, stripe.low, stripe.high, count)


def _stripe_volume(image: Volume, label: np.ndarray) -> LabelVolume:
    return LabelVolume(
        label.view(np.uint8),
        image.ijkToRAS,
        modality=image.modality,
        segments=(STRIPE,),
        history=image.history,
    )


def _row(entry: _Found, measured: _Measured) -> tuple:
    stripe = entry.stripe
    return (
        entry.sequence,
        stripe.peak,
        100 * stripe.quantile,
        stripe.low,
        stripe.high,
        measured.mean,
        measured.deviation,
        measured.voxels,
        100 * measured.voxels / stripe.voxels,
    )


def _metrics(entry: _Found, measured: _Measured) -> dict[str, float]:
    prefix = "" if entry.name == "image" else entry.name
    values = {
        "peak": entry.stripe.peak,
        "low": entry.stripe.low,
        "high": entry.stripe.high,
        "mean": measured.mean,
        "standardDeviation": measured.deviation,
    }
    return {f"{prefix}{name[:1].upper()}{name[1:]}" if prefix else name: v for name, v in values.items()}


def _figure(entry: _Found) -> Figure:
    """The smoothed histogram up to where it was searched, the stripe in it, and the peak."""
    stripe = entry.stripe
    step = max(1, len(stripe.levels) // _POINTS)
    x, y = stripe.levels[::step], stripe.density[::step]
    part = (x >= stripe.low) & (x <= stripe.high)
    top = float(y.max())

    def curve(name: str, xs: np.ndarray, ys: np.ndarray) -> Curve:
        return Curve(name, tuple(float(v) for v in xs), tuple(float(v) for v in ys))

    ends = np.array([stripe.low, *x[part], stripe.high])
    heights = np.array([0.0, *y[part], 0.0])
    return Figure(
        _("Histogram of the brain ({sequence})").format(sequence=entry.sequence),
        _("intensity"),
        _("share of the brain per unit"),
        (
            curve(_("brain"), x, y),
            curve(_("white stripe"), ends, heights),
            curve(_("peak"), np.array([stripe.peak, stripe.peak]), np.array([0.0, top])),
        ),
    )


def _check(share: float, width: float, sequences: int, common: bool) -> Check:
    """A stripe of ±5 % holds 10 % of the brain; far less means few grey levels or sequences that disagree."""
    if not common:
        return Check(
            _("White stripe"),
            "fail",
            _("the sequences have no white matter in common"),
            _("the same voxels in all sequences"),
            _("Each was scaled by its own stripe. Register them first, or check which sequence is which."),
        )
    # Sequences that agree by chance alone share the product of their stripes.
    least = width if sequences == 1 else (2 * width) ** sequences
    ok = share >= least
    return Check(
        _("White stripe"),
        "pass" if ok else "warn",
        _("{share:.1f} % of the brain").format(share=100 * share),
        f">= {100 * least:.1f} %",
        "" if ok else _("Look at the stripe: few grey levels, or sequences that lie apart."),
    )


def _peak_checks(found: list[_Found]) -> list[Check]:
    """White matter is the brightest large tissue in T1 and darker than grey matter in the others."""
    checks = []
    for entry in found:
        bright = entry.sequence == "T1"
        quantile = entry.stripe.quantile
        ok = quantile > 0.4 if bright else quantile < 0.75
        checks.append(
            Check(
                _("White matter peak ({sequence})").format(sequence=entry.sequence),
                "pass" if ok else "warn",
                _("brighter than {share:.0f} % of the brain").format(share=100 * quantile),
                "> 40 %" if bright else "< 75 %",
                "" if ok else _("Look at the stripe: is this the sequence that was chosen?"),
            )
        )
    return checks
