"""Fusion of two to six MRI sequences of one head on one grid."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np

from MedPrepCommonLib.core.errors import InputError, ParameterError
from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import Count, Help, Label, Preset, When, Words, operation
from MedPrepCommonLib.core.parameters import nearest
from MedPrepCommonLib.core.result import Result
from MedPrepCommonLib.core.volume import LabelVolume, Volume

from ..brain.mask import BRAIN
from ..fusion import combining, report
from ..fusion.parts import Aligned, aligned, reference_mask, scaled
from ..fusion.registration import register
from ..fusion.same_head import likeness
from ..recognition.ct_values import ct_checks

# Names of the inputs, in the order of the channels, and as channels are called.
SEQUENCES = {"t1": "T1", "t1c": "T1c", "t2": "T2", "flair": "FLAIR", "dwi": "DWI", "adc": "ADC"}


@operation(
    "mri.fuse",
    title=_("Fuse sequences"),
    console="fuse",
    modality="MR",
    outputs=("image", "mask", "sequences", "registration?", "components?"),
    labels=("mask",),
    records=("sequences", "registration", "components"),
    cite=(
        "Mattes et al. 2003, IEEE Trans Med Imaging 22(1):120-128 (registration), "
        "doi:10.1109/TMI.2003.809072",
        "Coupé et al. 2008, IEEE Trans Med Imaging 27(4):425-441 (noise), doi:10.1109/TMI.2007.906087",
    ),
    units={"*Displacement": "mm"},
)
class Fuse:
    """Bring two to six sequences of one head onto one grid and scale, and make one image of them.

    The sequences are checked to show the same head, registered if wanted (where that moves a sequence on the
    reference's own grid by half a voxel or more), resampled to the reference's grid, scaled to mean 0 and
    deviation 1 inside the mask (the reference's brain where none is given), and stacked as channels or
    combined. Up to four channels fit into one volume in Slicer; more become volumes each.
    """

    method: Annotated[
        Literal["stack", "weighted", "mean", "max", "pca"],
        Words(
            stack=_("Channels"),
            weighted=_("Weighted sum"),
            mean=_("Mean"),
            max=_("Maximum"),
            pca=_("First principal component"),
        ),
        Help(
            _(
                "stack: a channel per sequence; weighted, mean, max: one value of them all; "
                "pca: their first principal component"
            )
        ),
    ] = "stack"
    reference: Annotated[
        Literal["first", "t1", "t1c", "t2", "flair", "dwi", "adc"],
        Words(first=_("The first one given"), **SEQUENCES),
        Help(_("Sequence whose grid the result has, and that the others are registered to")),
    ] = "first"
    registration: Annotated[
        Literal["none", "rigid"],
        Words(none=_("None"), rigid=_("Rigid")),
        Help(
            _(
                "none: trust the scanner's coordinates, or an earlier registration; "
                "rigid: find how the head moved in between"
            )
        ),
    ] = "none"
    interpolation: Annotated[
        Literal["cubic", "linear"],
        Words(cubic=_("Cubic B-spline"), linear=_("Linear")),
        Help(_("How sequences on other grids are resampled; neither makes values beyond the image's own")),
    ] = "cubic"
    normalization: Annotated[
        Literal["zscore", "none"],
        Words(zscore=_("Mean 0, deviation 1 (z-score)"), none=_("None")),
        Help(_("zscore: mean 0, deviation 1 inside the mask per sequence; none: intensities as they are")),
    ] = "zscore"
    outside: Annotated[
        Literal["keep", "zero"],
        Words(keep=_("Keep the image"), zero=_("Set to 0")),
        Help(_("Outside the mask: keep the image, or set it to 0 as is usual after skull stripping")),
    ] = "keep"
    channels: Annotated[
        tuple[Literal["t1", "t1c", "t2", "flair", "dwi", "adc"], ...],
        Count(0, 6, once=True),
        Words(SEQUENCES),
        Help(_("Sequences that must be there, in the order of the channels; empty takes those given")),
    ] = ()
    missing: Annotated[
        Literal["error", "zero"],
        Words(error=_("Stop"), zero=_("A channel of zeros")),
        When("channels", filled=True),
        Help(_("A sequence of that list is missing: stop, or give it a channel of zeros (stack only)")),
    ] = "error"
    weights: Annotated[
        str,
        When("method", "weighted"),
        Help(_("weighted: factor per sequence, as in t1=1 flair=2; those not named have 1")),
    ] = ""

    presets = {
        "channels": Preset(_("Channels, images aligned already"), "", method="stack", registration="none"),
        "registered": Preset(
            _("Register, then channels"),
            "Baid et al. 2021, arXiv:2107.02314 (BraTS), without its atlas and skull stripping",
            method="stack",
            registration="rigid",
        ),
        "stripped": Preset(
            _("Channels of skull-stripped images, 0 outside the brain"),
            "",
            method="stack",
            outside="zero",
        ),
        "pca": Preset(_("First principal component"), "", method="pca"),
    }

    def __post_init__(self) -> None:
        if len(self.channels) == 1:
            raise ParameterError(
                _("mri.fuse.channels is {value}.").format(value=self.channels[0]),
                _("Expected two or more different sequences."),
                _("Leave it empty to take those given."),
            )
        self.factors()

    def factors(self) -> dict[str, float]:
        """Weights by sequence; those not named weigh 1."""
        found: dict[str, float] = {}
        for pair in self.weights.replace(",", " ").split():
            name, _equals, value = pair.partition("=")
            _known("weights", [name.lower()])
            try:
                found[name.lower()] = float(value)
            except ValueError:
                found[name.lower()] = float("nan")
            if not abs(found[name.lower()]) < 1e6:
                raise ParameterError(
                    _("mri.fuse.weights is {value!r}.").format(value=self.weights),
                    _("Expected NAME=NUMBER pairs, as in t1=1 flair=2."),
                    _("Write numbers with a point."),
                )
        return found

    def __call__(
        self,
        t1: Volume | None,
        t1c: Annotated[Volume | None, Label(_("T1 contrast"))],
        t2: Volume | None,
        flair: Annotated[Volume | None, Label(_("FLAIR"))],
        dwi: Annotated[Volume | None, Label(_("DWI"))],
        adc: Annotated[Volume | None, Label(_("ADC"))],
        mask: LabelVolume | None,
        job: Job,
    ) -> Result:
        volumes = dict(zip(SEQUENCES, (t1, t1c, t2, flair, dwi, adc), strict=True))
        given = {name: volume for name, volume in volumes.items() if volume is not None}
        order = self._order(given)
        reference = self._reference(given)
        fixed = given[reference]
        result = Result()
        sequences: dict[str, Aligned] = {}
        share = 0.6 / len(given)
        for n, (name, volume) in enumerate(given.items()):
            part = job.part(n * share, (n + 1) * share, SEQUENCES[name])
            result.checks += ct_checks(volume, SEQUENCES[name])
            found = None
            if name != reference and self.registration == "rigid":
                found = register(fixed, volume, part.part(0.0, 0.7))
            # Half a voxel on one grid is not worth the blur of another interpolation.
            applied = found is not None and not (
                volume.same_grid(fixed) and found.displacement < 0.5 * min(fixed.spacing)
            )
            matrix = found.matrix if applied else np.eye(4)
            part.report(0.7)
            like = None if name == reference else likeness(fixed, volume, matrix)
            sequences[name] = aligned(
                volume, fixed, matrix, self.interpolation, found, like, part.part(0.75, 1.0)
            )
        inside = reference_mask(fixed, mask, job.part(0.6, 0.7))
        for n, (name, sequence) in enumerate(sequences.items()):
            job.report(0.7 + 0.2 * n / len(sequences), SEQUENCES[name])
            scaled(sequence, fixed, inside, self.normalization == "zscore", self.outside == "zero", name)
        image, zero = self._combined(order, sequences, fixed, inside, result, job.part(0.9, 1.0))
        result.images["image"] = image
        result.labels["mask"] = LabelVolume(
            inside.astype(np.uint8),
            fixed.ijkToRAS,
            modality=fixed.modality,
            segments=(BRAIN,) if mask is None else mask.segments[:1] or (BRAIN,),
        )
        labels = {name: SEQUENCES[name] for name in sequences}
        report.describe(result, image, sequences, labels, reference, inside, zero)
        return result

    def _order(self, given: dict[str, Volume]) -> list[str]:
        """Names of the channels in order; those that are missing become zeros."""
        if len(given) < 2:
            raise InputError(
                _("mri.fuse got {n} sequences.").format(n=len(given)),
                _("Expected two to six of {names}.").format(names=", ".join(SEQUENCES)),
                _("Choose at least two."),
            )
        wanted = list(self.channels)
        if not wanted:
            return list(given)
        extra = [name for name in given if name not in wanted]
        if extra:
            raise InputError(
                _("{names} is not among the channels {channels}.").format(
                    names=", ".join(extra), channels=", ".join(wanted)
                ),
                _("Expected every sequence that is given to be one of them."),
                _("Add it to the channels, or leave it out."),
            )
        absent = [name for name in wanted if name not in given]
        if absent and self.missing == "error":
            raise InputError(
                _("{names} is missing.").format(names=", ".join(SEQUENCES[name] for name in absent)),
                _("Expected {channels}.").format(channels=", ".join(SEQUENCES[name] for name in wanted)),
                _("Choose it, shorten the list of channels, or let missing sequences be zero."),
            )
        return wanted

    def _reference(self, given: dict[str, Volume]) -> str:
        if self.reference == "first":
            return next(iter(given))
        if self.reference not in given:
            raise InputError(
                _("The reference {name} is not given.").format(name=SEQUENCES[self.reference]),
                _("Expected one of {names}.").format(names=", ".join(SEQUENCES[name] for name in given)),
                _("Choose another reference, or that sequence."),
            )
        return self.reference

    def _combined(
        self,
        order: list[str],
        sequences: dict[str, Aligned],
        fixed: Volume,
        inside: np.ndarray,
        result: Result,
        job: Job,
    ) -> tuple[Volume, float | None]:
        """The fused image, and what its voxels would be without signal (None for a stack)."""
        zero: float | None = None
        present = [name for name in order if name in sequences]
        arrays = [sequences[name].values for name in present]
        zeros = [sequences[name].zero for name in present]
        info = {key: value for key, value in fixed.info.items() if key != "channelNames"}
        if self.method == "stack":
            empty = np.broadcast_to(np.float32(0), fixed.shape)
            array = combining.stack(
                [sequences[name].values if name in sequences else empty for name in order], job
            )
            info["channelNames"] = [SEQUENCES[name] for name in order]
            absent = [SEQUENCES[name] for name in order if name not in sequences]
            if absent:
                result.notes.append(
                    _("Missing: {names}; its channel is zero.").format(names=", ".join(absent))
                )
        elif self.method == "max":
            array, zero = combining.maximum(arrays, job), max(zeros)
        else:
            weights = self._weights(present, arrays, inside, result)
            array = combining.weighted(arrays, weights, job)
            zero = float(np.dot(weights, zeros))
        low, high = (-3.0, 3.0) if self.normalization == "zscore" else report.range_of(array, inside)
        shown = ((low + high) / 2, high - low)
        return fixed.with_array(array, name="", info=info, display=shown), zero

    def _weights(
        self, present: list[str], arrays: list[np.ndarray], inside: np.ndarray, result: Result
    ) -> list[float]:
        if self.method == "mean":
            return [1.0 / len(present)] * len(present)
        if self.method == "weighted":
            factors = self.factors()
            return [factors.get(name, 1.0) for name in present]
        components = combining.principal_components(arrays, inside)
        report.describe_components(result, components, [SEQUENCES[name] for name in present])
        return [float(loading) for loading in components.loadings[0]]


def _known(parameter: str, names: list[str]) -> None:
    for name in names:
        if name not in SEQUENCES:
            raise ParameterError(
                _("mri.fuse.{parameter} names {name!r}.").format(parameter=parameter, name=name),
                _("Expected {names}.").format(names=", ".join(SEQUENCES)),
                nearest(name, SEQUENCES) or _("Correct the name."),
            )
