"""Make more training images of one: moved, bent and re-scanned, image and labels together."""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, Literal

import numpy as np

from ..core.errors import ParameterError
from ..core.i18n import _
from ..core.integers import work_type
from ..core.job import Job
from ..core.operation import Help, Preset, Span, Unit, When, Words, operation
from ..core.result import Check, Result, Table
from ..core.volume import LabelVolume, Volume
from ..geometry.augment_draw import Drawn, Frame, draw, key_of
from ..geometry.cropping import distinct_names, require_same_grid
from ..geometry.deformation import INJECTIVE
from ..geometry.orientation import Orientation, orientation
from ..geometry.warping import warp
from ..numeric import intensity_augment, voxel_statistics

# Air, which is what lies beyond the field of view of a CT.
_AIR = -1000.0
# Voxels from which the range of contrast is taken, and its percentiles.
_SAMPLE, _RANGE = 1 << 20, (0.005, 0.995)

_SIDES = ("left", "right")
_MOVED = (
    When("rotation", above=0)
    | When("scale", above=0)
    | When("translation", above=0)
    | When("elasticDisplacement", above=0)
)


@operation(
    "augment",
    title=_("Augment"),
    console="augment",
    outputs=("image", "drawn"),
    records=("drawn",),
    cite=(
        "Rueckert et al. 1999, IEEE Trans Med Imaging 18(8):712-721 (B-spline lattices), "
        "doi:10.1109/42.796284",
        "Choi and Lee 2000, Graphical Models 62(6):411-427 (lattices that do not fold), "
        "doi:10.1006/gmod.2000.0531",
        "Gudbjartsson and Patz 1995, Magn Reson Med 34(6):910-914 (Rician noise), doi:10.1002/mrm.1910340618",
    ),
)
class Augment:
    """Make variants of an image and its label maps: turned, scaled, shifted, bent, with other intensities.

    Each range is a limit: what is applied is drawn within it, from the seed. Image and labels move together
    in one resampling (image linear, labels nearest voxel) and stay on the input's grid; a range of 0 switches
    its part off, and with all at 0 the result is the input. The elastic lattice cannot fold. A single slice
    is moved within its plane. Directions are anatomical, so it does not matter how the image is stored. The
    table says what was drawn.
    """

    variants: Annotated[int, Span(1, 16, 1), Help(_("How many images to make"))] = 1
    seed: Annotated[
        int, Span(0, 2**31 - 1, 1), Help(_("The same seed and image give the same result, byte for byte"))
    ] = 0
    perImage: Annotated[
        bool, Help(_("Draw differently for each image, from one seed; off draws the same for all"))
    ] = True
    rotation: Annotated[
        float, Span(0, 180, 1, 1), Unit("deg"), Help(_("Turn about each anatomical axis by up to this"))
    ] = 15.0
    scale: Annotated[float, Span(0, 50, 1, 1), Unit("%"), Help(_("Enlarge or shrink by up to this"))] = 10.0
    translation: Annotated[
        float, Span(0, 50, 1, 1), Unit("%"), Help(_("Shift by up to this share of the field of view"))
    ] = 5.0
    elasticDisplacement: Annotated[
        float,
        Span(0, 100, 0.5, 2),
        Unit("mm"),
        Help(_("Bend: control points move by up to this along each axis; at most 0.4 times their distance")),
    ] = 6.0
    elasticSpacing: Annotated[
        float,
        Span(2, 500, 5, 1),
        Unit("mm"),
        When("elasticDisplacement", above=0),
        Help(_("Bend: distance between control points")),
    ] = 40.0
    flip: Annotated[
        Literal["none", "leftRight", "all"],
        Words(none=_("Never"), leftRight=_("Left and right"), all=_("Along any axis")),
        Help(_("Mirror half of the variants; anatomy is not symmetric, so only where that does not matter")),
    ] = "none"
    inPlaneOnly: Annotated[
        bool,
        _MOVED | When("blur", above=0),
        Help(_("Move and blur within slices only, for slices much thicker than their pixels")),
    ] = False
    blur: Annotated[
        float,
        Span(0, 10, 0.1, 2),
        Unit("mm"),
        Help(_("Standard deviation of a Gaussian blur, up to this")),
    ] = 0.0
    gamma: Annotated[
        float,
        Span(0, 2, 0.05, 2),
        Help(_("Change of contrast: exponent between 1 / (1 + this) and 1 + this; not for Hounsfield units")),
    ] = 0.0
    biasField: Annotated[
        float,
        Span(0, 2, 0.05, 2),
        Help(_("Uneven coil sensitivity: logarithm of the field, up to this (0.3 is about 35 %)")),
    ] = 0.0
    noise: Annotated[
        float,
        Span(0, 50, 0.5, 2),
        Unit("%"),
        Help(_("Standard deviation of noise, up to this share of the range of contrast")),
    ] = 0.0
    noiseKind: Annotated[
        Literal["auto", "gaussian", "rician"],
        Words(auto=_("By modality"), gaussian=_("Gaussian"), rician=_("Rician (magnitude MRI)")),
        When("noise", above=0),
        Help(_("By modality: Rician for MRI without negative values, else Gaussian")),
    ] = "auto"
    outside: Annotated[
        Literal["auto", "edge", "value"],
        Words(auto=_("By modality"), edge=_("Continue the edge"), value=_("A given value")),
        _MOVED,
        Help(_("What comes in from beyond the image; by modality: its lowest value, in CT not below air")),
    ] = "auto"
    outsideValue: Annotated[
        float,
        Span(-1e6, 1e6, 10, 3),
        When("outside", "value") & _MOVED,
        Help(_("The given value, where that is chosen")),
    ] = 0.0

    presets = {
        "ct": Preset(
            _("CT: move, bend, a little blur and noise"),
            "Hounsfield units keep their meaning: no gamma, no bias field",
            rotation=15, scale=10, translation=5, elasticDisplacement=6, elasticSpacing=40,
            blur=0.6, noise=1.0, gamma=0, biasField=0,
        ),
        "mr": Preset(
            _("MRI: move, bend, bias field, gamma and Rician noise"),
            "Ranges as in Pérez-García et al. 2021, Comput Methods Programs Biomed 208:106236 (TorchIO)",
            rotation=15, scale=10, translation=5, elasticDisplacement=6, elasticSpacing=40,
            blur=0.5, gamma=0.3, biasField=0.3, noise=3.0, noiseKind="auto",
        ),
        "xray": Preset(
            _("X-ray: in the plane, gamma and noise"),
            "",
            rotation=10, scale=10, translation=5, elasticDisplacement=10, elasticSpacing=80,
            blur=0.3, gamma=0.2, biasField=0, noise=1.0, inPlaneOnly=True,
        ),
        "affine": Preset(
            _("Only turn, scale and shift"),
            "",
            rotation=15, scale=10, translation=5, elasticDisplacement=0,
            blur=0, gamma=0, biasField=0, noise=0,
        ),
    }  # fmt: skip

    def __post_init__(self) -> None:
        if self.elasticDisplacement * INJECTIVE > self.elasticSpacing:
            raise ParameterError(
                _("Control points {distance:g} mm apart shall move by up to {displacement:g} mm.").format(
                    distance=self.elasticSpacing, displacement=self.elasticDisplacement
                ),
                _("Expected at most {limit:g} mm: beyond, the image can fold.").format(
                    limit=self.elasticSpacing / INJECTIVE
                ),
                _("Lower elasticDisplacement or raise elasticSpacing."),
            )

    def __call__(self, image: Volume, labels: tuple[LabelVolume, ...], job: Job) -> Result:
        require_same_grid(image, labels)
        job.report(0.0)
        turned = orientation(image, "SAR")
        view = turned.view(image.array)
        frame = self._frame(image, view, turned)
        key = key_of(view) if self.perImage else 0
        outside = self._outside(image, frame)
        result, rows, smallest = Result(), [], math.inf
        for n in range(self.variants):
            drawn = draw(self, frame, key, n)
            part = job.part(n / self.variants, (n + 1) / self.variants)
            found = self._variant(image, labels, turned, drawn, frame, outside, part)
            number = "" if n == 0 else str(n + 1)
            result.images[f"image{number}"] = image.with_array(found[0][0], name="")
            for name, label, array in zip(distinct_names(labels), labels, found[0][1:], strict=True):
                result.labels[f"{name}{number}"] = dataclasses.replace(label, array=array)
            smallest = min(smallest, found[1])
            rows.append(_row(n + 1, drawn, *found[1:]))
            if any(drawn.flips) and any(_sided(label) for label in labels):
                result.notes.append(
                    _("Variant {n} is mirrored, and its labels keep their names: left is now right.").format(
                        n=n + 1
                    )
                )
        result.tables["drawn"] = Table(_("Drawn"), _COLUMNS, tuple(rows))
        result.metrics = {"seed": self.seed, "smallestJacobian": smallest}
        result.checks.append(
            Check(
                _("Folding"),
                "pass" if smallest > 0 else "fail",
                f"{smallest:.3g}",
                _("smallest Jacobian determinant above 0"),
                "" if smallest > 0 else _("Lower elasticDisplacement."),
            )
        )
        return result

    def _frame(self, image: Volume, view: np.ndarray, turned: Orientation) -> Frame:
        spacing = turned.reorder(image.spacing_kji)
        flat = [axis for axis, n in enumerate(view.shape) if n == 1]
        # The first of equals: across axial slices.
        through = flat[0] if flat else int(np.argmax(np.round(spacing, 6))) if self.inPlaneOnly else None
        lowest = voxel_statistics.extremes(image.array)[0]
        low = high = lowest
        if self.gamma or self.noise:  # only these need the range of contrast
            step = max(1, math.ceil((view.size / _SAMPLE) ** (1 / 3)))
            some = view[::step, ::step, ::step].astype(np.float64, order="C").ravel()
            low, high = (float(v) for v in np.quantile(some, _RANGE))
        rician = self.noiseKind == "rician" or (
            self.noiseKind == "auto" and image.modality == "MR" and lowest >= 0
        )
        return Frame(view.shape, spacing, through, lowest, low, high, rician)

    def _outside(self, image: Volume, frame: Frame) -> float | None:
        if self.outside == "auto":
            return max(frame.lowest, _AIR) if image.modality == "CT" else frame.lowest
        return self.outsideValue if self.outside == "value" else None

    def _variant(
        self,
        image: Volume,
        labels: tuple[LabelVolume, ...],
        turned: Orientation,
        drawn: Drawn,
        frame: Frame,
        outside: float | None,
        job: Job,
    ) -> tuple[list[np.ndarray], float, float]:
        """The arrays of image and labels, the smallest Jacobian determinant, the share from outside."""
        flip = tuple(slice(None, None, -1 if f else 1) for f in drawn.flips)
        sources = [turned.view(volume.array)[flip] for volume in (image, *labels)]
        kinds = [volume.array.dtype.newbyteorder("=") for volume in (image, *labels)]
        finals = [np.empty(image.shape, kind) for kind in kinds]
        targets = [turned.view(final) for final in finals]
        smallest, missed = 1.0, 0.0
        if not drawn.moves and not drawn.intensities.changes:
            for target, source in zip(targets, sources, strict=True):
                job.check()
                target[...] = source
            return finals, smallest, missed
        work = work_type(kinds[0])
        own = kinds[0] == work or not drawn.intensities.changes
        values = targets[0] if own else turned.view(np.empty(image.shape, work))
        if drawn.moves:
            deformation = drawn.deformation(frame)
            smallest = deformation.smallest_jacobian()
            missed = warp(
                sources[0], sources[1:], deformation, outside, [values, *targets[1:]], job.part(0.0, 0.6)
            )
        else:
            for target, source in zip([values, *targets[1:]], sources, strict=True):
                job.check()
                target[...] = source
        intensity_augment.apply(values, drawn.intensities, targets[0], job.part(0.6, 1.0))
        return finals, smallest, missed


_COLUMNS = (
    "variant",
    "turn about superior (deg)", "turn about anterior (deg)", "turn about right (deg)",
    "scale",
    "shift to superior (mm)", "shift to anterior (mm)", "shift to right (mm)",
    "mirrored",
    "largest displacement (mm)", "smallest Jacobian",
    "blur (mm)", "gamma", "largest bias (log)", "noise", "noise kind",
    "from outside (%)",
)  # fmt: skip


def _row(variant: int, drawn: Drawn, smallest: float, missed: float) -> tuple[str | int | float, ...]:
    values = drawn.intensities
    mirrored = [
        name
        for name, flip in zip((_("superior"), _("anterior"), _("right")), drawn.flips, strict=True)
        if flip
    ]
    # Of the control points: no voxel moves further.
    displacement = 0.0 if drawn.lattice is None else float(np.sqrt(np.square(drawn.lattice).sum(0).max()))
    bias = 0.0 if values.bias is None else float(np.abs(values.bias).max())
    return (
        variant, *drawn.angles, drawn.scale, *drawn.shift, ", ".join(mirrored), displacement, smallest,
        drawn.blur, values.gamma, bias, values.noise, "Rician" if values.rician else "Gaussian", 100 * missed,
    )  # fmt: skip


def _sided(label: LabelVolume) -> bool:
    """Whether a segment's name tells sides apart."""
    words = " ".join(segment.name.lower() for segment in label.segments).split()
    return any(side in words for side in _SIDES)
