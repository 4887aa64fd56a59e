"""The image that every operation takes and returns: an array and where it lies in the patient."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import SimpleITK as sitk

from .. import bounds
from .errors import GeometryError, InputError
from .i18n import _

# LPS (ITK, DICOM) and RAS (Slicer) differ in the sign of the first two axes.
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

# Cosine between two grid axes above which a grid counts as sheared. Scanners write direction
# cosines with 6 digits, so an orthogonal grid can be off by some 1e-6; a gantry tilt of 0.1 degree is 1.7e-3.
SHEAR_TOLERANCE = 1e-4


def _checked_array(array: Any) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype == bool:
        array = array.view(np.uint8) if array.flags.c_contiguous else array.astype(np.uint8)
    elif array.dtype == np.float16:
        array = array.astype(np.float32)
    if array.dtype.kind not in "iuf":
        raise InputError(
            _("The image has {type} values.").format(type=array.dtype),
            _("Expected integer or floating-point values."),
            _("Convert it first, for example to its magnitude when it is complex."),
        )
    if array.ndim not in (3, 4):
        raise InputError(
            _("The image has {n} dimensions.").format(n=array.ndim),
            _("Expected (k, j, i), or (k, j, i, component)."),
            _("Choose one time point of a 4-D series; add a slice axis to a 2-D image."),
        )
    if array.size == 0:
        raise InputError(
            _("The image is empty (shape {shape}).").format(shape=array.shape),
            _("Expected at least one voxel along each axis."),
            _("Load the image again."),
        )
    if array.flags.writeable:
        array = array.view()
        array.flags.writeable = False
    return array


def _checked_matrix(matrix: Any, shape: tuple[int, ...], known: bool) -> np.ndarray:
    """`matrix` if it is a place for so many voxels (k, j, i); `known`: the file said how large they are."""
    matrix = np.array(matrix, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise GeometryError(
            _("The image has no usable position in the patient (its IJK-to-RAS matrix is not a finite 4x4)."),
            _("Expected finite spacing, origin and directions."),
            _("Load the image again, or set its geometry in the Volumes module."),
        )
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    if (
        not all(bounds.SPACING.holds(v) for v in lengths)
        or abs(np.linalg.det(matrix[:3, :3] / lengths)) < 1e-6
    ):
        raise GeometryError(
            _("The image's spacing is {spacing} mm.").format(spacing=_short(lengths)),
            _("Expected {span} along three different directions.").format(span=bounds.SPACING.span),
            _("Correct the spacing in the Volumes module, or export the image again."),
        )
    view = lengths * shape[2::-1]
    # A picture of unknown pixel size counts as 1 mm a pixel, however many it has.
    if known and not all(bounds.FIELD_OF_VIEW.holds(v) for v in view):
        raise GeometryError(
            _("The image is {size} mm large.").format(size=_short(view)),
            _("Expected {span} along each axis.").format(span=bounds.FIELD_OF_VIEW.span),
            _("Correct the spacing in the Volumes module, or export the image again: its unit may be wrong."),
        )
    if not all(bounds.POSITION.holds(v) for v in matrix[:3, 3]):
        raise GeometryError(
            _("The image's first voxel lies at {place} mm.").format(place=_short(matrix[:3, 3])),
            _("Expected {span}.").format(span=bounds.POSITION.span),
            _("Correct the origin in the Volumes module, or export the image again."),
        )
    matrix.flags.writeable = False
    return matrix


def _short(values: np.ndarray) -> str:
    return " x ".join(f"{float(v):.6g}" for v in values)


@dataclass(frozen=True, eq=False)
class Volume:
    """An image on a regular grid.

    Parameters
    ----------
    array : (k, j, i) or (k, j, i, component), integer or floating point; treated as read-only.
    ijkToRAS : (4, 4), maps voxel indices (i, j, k, 1) to patient RAS millimetres; voxel centres.
    name : what the user calls it.
    modality : DICOM modality ("CT", "MR", "CR", "DX", ...) or "" when unknown.
    info : plain facts that came with the image: ``sliceThickness`` (mm), ``rescaleSlope``,
        ``rescaleIntercept``, ``bitsStored``, ``channelNames``, ... Never a patient's name or a path.
    display : (level, width) for showing it, or None.
    history : provenance steps that led to it, oldest first.

    Raises
    ------
    InputError, GeometryError
        for an array or matrix that is not a volume.

    Examples
    --------
    >>> image = Volume(np.zeros((30, 512, 512), np.int16), np.diag([0.7, 0.7, 3.0, 1.0]), modality="CT")
    >>> image.shape, image.spacing
    ((30, 512, 512), (0.7, 0.7, 3.0))
    """

    array: np.ndarray
    ijkToRAS: np.ndarray
    name: str = ""
    modality: str = ""
    info: dict[str, Any] = field(default_factory=dict)
    display: tuple[float, float] | None = None
    history: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "array", _checked_array(self.array))
        object.__setattr__(self, "info", dict(self.info))
        known = self.info.get("spacingKnown") is not False
        object.__setattr__(self, "ijkToRAS", _checked_matrix(self.ijkToRAS, self.array.shape, known))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(k, j, i) without components."""
        return self.array.shape[:3]

    @property
    def components(self) -> int:
        """Values per voxel; 1 for a scalar image."""
        return 1 if self.array.ndim == 3 else self.array.shape[3]

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between voxel centres along i, j, k."""
        i, j, k = np.linalg.norm(self.ijkToRAS[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def spacing_kji(self) -> tuple[float, float, float]:
        """Millimetres along k, j, i: the order of the array's axes."""
        return self.spacing[::-1]

    @property
    def directions(self) -> np.ndarray:
        """(3, 3), columns are the unit vectors of i, j, k in RAS."""
        return self.ijkToRAS[:3, :3] / np.array(self.spacing)

    @property
    def voxel_volume(self) -> float:
        """Cubic millimetres per voxel (exact for sheared grids too)."""
        return float(abs(np.linalg.det(self.ijkToRAS[:3, :3])))

    @property
    def shear(self) -> float:
        """Largest |cosine| between two grid axes; 0 for an orthogonal grid."""
        cosines = self.directions.T @ self.directions - np.eye(3)
        return float(np.abs(cosines).max())

    @property
    def finite(self) -> bool:
        """Whether no voxel is NaN or infinite: one pass, no mask."""
        if self.array.dtype.kind != "f":
            return True
        # A NaN or Inf spoils the sum, and float32 values cannot overflow it.
        with np.errstate(invalid="ignore", over="ignore"):
            total = self.array.sum(dtype=np.float64)
        return bool(np.isfinite(total) or np.isfinite(self.array).all())

    def with_array(self, array: np.ndarray, **changes: Any) -> Volume:
        """The same place in the patient with other values; `changes` replace further fields."""
        return dataclasses.replace(self, array=array, **changes)

    def same_grid(self, other: Volume, tolerance: float = 1e-6) -> bool:
        """Whether both have the same shape and every voxel centre lies within about `tolerance` mm."""
        if self.shape != other.shape:
            return False
        reach = np.append(np.array(self.shape[::-1], float) - 1, 1.0)
        return bool((np.abs(self.ijkToRAS - other.ijkToRAS) @ reach).max() <= max(tolerance, 1e-6))

    def require_grid_of(self, image: Volume, what: str) -> None:
        """Raise :class:`GeometryError` unless this volume, called `what`, has the voxels of `image`."""
        if not self.same_grid(image):
            raise GeometryError(
                _("The {what} lies on another grid than the image.").format(what=what),
                _("Expected the image's {shape} voxels at the same place.").format(
                    shape=" x ".join(map(str, image.shape[::-1]))
                ),
                _("Resample the {what} to the image first.").format(what=what),
            )

    def require_orthogonal(self) -> None:
        """Raise :class:`GeometryError` when the grid is sheared (gantry tilt)."""
        if self.shear > SHEAR_TOLERANCE:
            angle = np.degrees(np.arcsin(min(self.shear, 1.0)))
            raise GeometryError(
                _("The image's grid is sheared by {angle:.2f} degrees (gantry tilt).").format(angle=angle),
                _("Expected slice, row and column axes at right angles."),
                _(
                    "Regularise it first: harden the transform that Slicer's DICOM reader offers for tilted "
                    "acquisitions, or resample the image to an orthogonal grid."
                ),
            )

    def to_sitk(self) -> sitk.Image:
        """A SimpleITK image of the same values and geometry (LPS); copies the array.

        Raises
        ------
        GeometryError
            for a sheared grid, which ITK cannot hold.
        """
        self.require_orthogonal()
        image = sitk.GetImageFromArray(self.array, isVector=self.array.ndim == 4)
        lps = LPS_TO_RAS @ self.ijkToRAS
        image.SetSpacing(self.spacing)
        image.SetOrigin(lps[:3, 3].tolist())
        image.SetDirection((lps[:3, :3] / np.array(self.spacing)).ravel().tolist())
        return image

    @classmethod
    def from_sitk(cls, image: sitk.Image, **fields: Any) -> Volume:
        """A volume of a 3-D SimpleITK image (or a 2-D one, as one slice); `fields` set name, modality, ...

        Raises
        ------
        InputError
            for a 4-D image or one with complex values.
        """
        array = sitk.GetArrayFromImage(image)
        dimension = image.GetDimension()
        if dimension == 2:
            array = array[np.newaxis]
        elif dimension != 3:
            raise InputError(
                _("The image has {n} dimensions (size {size}).").format(n=dimension, size=image.GetSize()),
                _("Expected a 3-D volume or a 2-D image."),
                _("Extract one time point or one component as a volume of its own."),
            )
        direction, spacing, origin = np.eye(3), np.ones(3), np.zeros(3)
        direction[:dimension, :dimension] = np.reshape(image.GetDirection(), (dimension, dimension))
        spacing[:dimension], origin[:dimension] = image.GetSpacing(), image.GetOrigin()
        lps = np.eye(4)
        lps[:3, :3], lps[:3, 3] = direction * spacing, origin
        return cls(array, LPS_TO_RAS @ lps, **fields)


@dataclass(frozen=True)
class Segment:
    """What one value of a label map means.

    Parameters
    ----------
    value : the label value, 1 or more.
    name : as shown to the user, for example "right lung".
    category, code, modifier : (scheme, value, meaning) triples, SNOMED CT as in DICOM PS3.16 CID 7150-7166;
        `category` and `code` are required by Slicer's terminology, `modifier` ("Right", "Left") may be None.
    color : red, green, blue in [0, 1].
    """

    value: int
    name: str
    category: tuple[str, str, str]
    code: tuple[str, str, str]
    modifier: tuple[str, str, str] | None = None
    color: tuple[float, float, float] = (0.5, 0.7, 0.5)


@dataclass(frozen=True, eq=False)
class LabelVolume(Volume):
    """A label map: a scalar Volume of an integer type whose values `segments` explain; 0 is background.

    Examples
    --------
    >>> labels = LabelVolume(np.eye(3, dtype=np.uint8)[None], np.eye(4), name="lesions")
    >>> int(labels.mask(1).sum())
    3
    """

    segments: tuple[Segment, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.array.dtype.kind not in "iu" or self.array.ndim != 3:
            raise InputError(
                _("The label map has {type} values in {n} dimensions.").format(
                    type=self.array.dtype, n=self.array.ndim
                ),
                _("Expected whole numbers on a (k, j, i) grid."),
                _("Convert it to a label map, or choose a segmentation."),
            )

    def mask(self, value: int | None = None) -> np.ndarray:
        """Boolean (k, j, i): where the label is `value`, or any label at all."""
        return self.array != 0 if value is None else self.array == value

    def inside(self, image: Volume) -> np.ndarray:
        """Boolean (k, j, i): this mask on `image`.

        Raises
        ------
        GeometryError
            when it lies on another grid.
        InputError
            when it is empty.
        """
        self.require_grid_of(image, _("mask"))
        self.require_some()
        return self.mask()

    def require_some(self) -> None:
        """Raise :class:`InputError` unless the mask has voxels."""
        if not self.array.any():
            raise InputError(
                _("The mask is empty."),
                _("Expected at least one voxel inside."),
                _("Choose another mask, or none."),
            )


def label_values(array: np.ndarray) -> list[int]:
    """Sorted distinct values of a (k, j, i) integer array, 0 included when present."""
    if array.dtype == np.uint8 or (array.min() >= 0 and array.max() < 65536):
        counts = np.zeros(65536, dtype=bool)
        for plane in array:
            counts[plane] = True
        return [int(v) for v in np.flatnonzero(counts)]
    return [int(v) for v in np.unique(array)]
