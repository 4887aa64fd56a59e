"""A radiograph as every X-ray operation sees it: one plane of grey levels, and how to get back to its volume.

What arrives may be a one-slice volume along any axis, a colour picture, or floating point. The plane stands
upright (rows run down the patient, columns to the viewer's right) as far as the geometry tells, low is dark.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from MedPrepCommonLib.core.errors import GeometryError, InputError
from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.volume import LabelVolume, Segment, Volume

# Bit depths of detectors; an image uses the least that holds its largest value.
_DEPTHS = (8, 10, 12, 14, 15, 16)

# ITU-R BT.601, as OpenCV and Pillow weigh colours.
_LUMINANCE = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Radiograph:
    """A 2-D image and the volume that it came from.

    Parameters
    ----------
    plane : (j, i), integers or floating point (whole numbers stored as such are integers); read-only.
    volume : where it came from.
    axis : array axis of the volume along which there is one slice.
    flips : whether rows and columns were turned around to stand upright.
    bits : the least usual depth that holds all grey levels; 0 for floating point, negative values and
        more than 16 bits.
    notes : what was done to get one grey level per pixel.
    """

    plane: np.ndarray
    volume: Volume
    axis: int
    flips: tuple[bool, bool]
    bits: int
    notes: tuple[str, ...]

    @property
    def spacing(self) -> tuple[float, float]:
        """Millimetres between rows and between columns; 1 where the file does not say (`spacingKnown`)."""
        kji = self.volume.spacing_kji
        rows, columns = (kji[axis] for axis in range(3) if axis != self.axis)
        return rows, columns

    @property
    def spacing_known(self) -> bool:
        """Whether the pixel size comes from the file."""
        return bool(self.volume.info.get("spacingKnown", self.spacing != (1.0, 1.0)))

    @property
    def scale(self) -> tuple[float, float]:
        """What counts as black and as white: the whole bit depth, or the image's own extremes without one."""
        if self.bits:
            stored = int(self.volume.info.get("bitsStored", 0))
            return 0.0, float(2 ** max(self.bits, min(stored, 16)) - 1)
        return float(self.plane.min()), float(self.plane.max())

    def unit(self) -> np.ndarray:
        """The plane from 0 (black) to 1 (white), (j, i) float32; all 0 when every pixel is the same."""
        low, high = self.scale
        if low == high:
            return np.zeros(self.plane.shape, np.float32)
        grey = (self.plane.astype(np.float64) - low) / (high - low)
        return np.clip(grey, 0.0, 1.0).astype(np.float32)

    def back(self, plane: np.ndarray, **changes: Any) -> Volume:
        """`plane` (j, i), of this size, as a scalar volume at the same place; `changes` replace fields."""
        array = np.array(self._turned(plane), order="C")
        return replace(self.volume, array=np.expand_dims(array, self.axis), **{"name": "", **changes})

    def labels(self, plane: np.ndarray, segments: tuple[Segment, ...]) -> LabelVolume:
        """A label map (j, i) of whole numbers at the same place."""
        made = self.back(plane)
        info = {} if self.spacing_known else {"spacingKnown": False}
        return LabelVolume(made.array, made.ijkToRAS, "", "", info, segments=segments)

    def mask(self, labels: LabelVolume) -> np.ndarray:
        """The values (j, i) of a label map on the radiograph's grid.

        Raises
        ------
        GeometryError
            when it lies on another grid.
        """
        labels.require_grid_of(self.volume, _("mask"))
        return self._turned(np.squeeze(labels.array, axis=self.axis))

    def as_stored(self, plane: np.ndarray) -> np.ndarray:
        """Grey levels of the plane's scale in the image's own type; rounded for whole numbers."""
        dtype = self.volume.array.dtype.newbyteorder("=")
        return np.rint(plane).astype(dtype) if dtype.kind != "f" else plane.astype(dtype)

    def cut(self, volume: Volume, rows: slice, columns: slice) -> Volume:
        """The pixels of a box of the plane, of a volume on this grid, at their place; a label map stays
        one."""
        where: list[slice] = []
        for span, n, flip in zip((rows, columns), self.plane.shape, self.flips, strict=True):
            where.append(slice(n - span.stop, n - span.start) if flip else span)
        where.insert(self.axis, slice(0, 1))
        matrix = volume.ijkToRAS.copy()
        matrix[:3, 3] = volume.ijkToRAS[:3] @ [*(span.start for span in where[::-1]), 1.0]
        return replace(volume, array=np.ascontiguousarray(volume.array[tuple(where)]), ijkToRAS=matrix)

    def _turned(self, plane: np.ndarray) -> np.ndarray:
        return plane[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]


def radiograph(image: Volume) -> Radiograph:
    """The radiograph that a volume holds.

    Raises
    ------
    GeometryError
        when it has several slices, or is a single row of pixels.
    InputError
        when it has more than four values per pixel.
    """
    axis = _slice_axis(image)
    colours = np.squeeze(image.array, axis=axis)
    plane, notes = _grey(colours, image.components)
    flips = _upright(image, axis)
    plane = _whole_numbers(plane)[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
    plane.flags.writeable = False
    # What the volume says of its values no longer holds once colours have become one.
    volume = image if image.components == 1 else replace(image, display=None)
    return Radiograph(plane, volume, axis, flips, _bits(plane), notes)


def right_is_right(picture: Radiograph) -> tuple[bool, str]:
    """Whether the patient's right is on the right of the plane (it is not, as a rule), and who says so."""
    columns = [axis for axis in range(3) if axis != picture.axis][1]
    towards = picture.volume.directions[:, 2 - columns] * (-1 if picture.flips[1] else 1)
    stated = str(picture.volume.info.get("patientOrientation", ""))[:1]
    upright = abs(picture.volume.directions[2, 2 - (1 if picture.axis == 0 else 0)]) > 0.7
    if upright and abs(towards[0]) > 0.7:
        return bool(towards[0] > 0), _("by the image's position in the patient")
    if stated in ("L", "R"):
        return stated == "R", _("by the file (Patient Orientation)")
    if towards[0] > 0.7:
        return True, _("by the image's axes: columns run to the patient's right")
    return False, _("as usual: the patient's right on the left of the image")


def _slice_axis(image: Volume) -> int:
    flat = [axis for axis, n in enumerate(image.shape) if n == 1]
    if not flat:
        raise GeometryError(
            _("The image has {n} slices ({shape} voxels).").format(
                n=image.shape[0], shape=" x ".join(map(str, image.shape[::-1]))
            ),
            _("Expected a radiograph: one single slice."),
            _("Choose a radiograph, or take one slice out of the volume first."),
        )
    if len(flat) > 1:
        raise GeometryError(
            _("The image is {shape} voxels.").format(shape=" x ".join(map(str, image.shape[::-1]))),
            _("Expected at least two voxels along two axes."),
            _("Choose a whole radiograph."),
        )
    return flat[0]


def _upright(image: Volume, axis: int) -> tuple[bool, bool]:
    """Whether rows run up the patient, and columns to the patient's right, where the geometry is a patient's.

    A picture and a projection without a position lie on a table, so to say: their rows are no direction
    in the patient, and they are stored as they are looked at.
    """
    rows, columns = (image.directions[:, 2 - other] for other in range(3) if other != axis)
    coronal = abs(rows[2]) > 0.7 and abs(columns[0]) > 0.7
    sagittal = abs(rows[2]) > 0.7 and abs(columns[1]) > 0.7
    return (bool((coronal or sagittal) and rows[2] > 0), bool(coronal and columns[0] > 0))


def _grey(colours: np.ndarray, components: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """(j, i) of one grey level per pixel, and what was done for it."""
    if components == 1:
        return (colours if colours.ndim == 2 else colours[..., 0]).view(), ()
    if components > 4:
        raise InputError(
            _("The image has {n} values per pixel.").format(n=components),
            _("Expected grey levels or colours (up to 4 values)."),
            _("Choose a radiograph, or one channel of this image."),
        )
    notes = []
    if components in (2, 4):
        notes.append(_("The image's transparency was ignored."))
    if components == 2:
        return colours[..., 0].copy(), tuple(notes)
    red, green, blue = (colours[..., n] for n in range(3))
    if np.array_equal(red, green) and np.array_equal(red, blue):
        notes.append(_("The image's colour channels are equal; one was taken."))
        return red.copy(), tuple(notes)
    notes.append(_("Colours were converted to grey by their luminance (ITU-R BT.601)."))
    luminance = colours[..., :3].astype(np.float64) @ _LUMINANCE
    if colours.dtype.kind != "f":
        luminance = np.rint(luminance)
    return luminance.astype(colours.dtype), tuple(notes)


def _whole_numbers(plane: np.ndarray) -> np.ndarray:
    """Grey levels that some program has stored as floating point, as the integers that they are."""
    plane = plane.astype(plane.dtype.newbyteorder("="), copy=False)
    if plane.dtype.kind != "f" or plane.min() < 0 or not 1 < plane.max() < 2**16:
        return plane
    whole = plane.astype(np.uint16)
    return whole if np.array_equal(whole, plane) else plane


def _bits(plane: np.ndarray) -> int:
    """The least usual bit depth that holds every value; 0 for none."""
    if plane.dtype.kind == "f" or plane.size == 0:
        return 0
    if plane.dtype == np.uint8:
        return 8
    if plane.min() < 0 or plane.max() >= 2**16:
        return 0
    top = int(plane.max())
    return next(bits for bits in _DEPTHS if top < 2**bits)
