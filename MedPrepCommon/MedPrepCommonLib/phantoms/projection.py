"""Radiographs computed from a CT (digitally reconstructed radiographs), with the lung fields known exactly.

Rays run parallel from front to back. What is left of each is given by Beer and Lambert's law, and the picture
shows its logarithm, as a digital detector's picture does: air dark, bone bright.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..core.errors import InputError
from ..core.i18n import _
from ..core.job import Job
from ..core.volume import LabelVolume, Volume
from ..geometry.orientation import Orientation, orientation

# Attenuation of water at 60 keV, about the mean of a chest beam of 120 kV (NIST XCOM), per mm.
WATER = 0.0206
_BITS = 12


@dataclass(frozen=True)
class Radiograph:
    """A computed radiograph.

    Parameters
    ----------
    image : (1, rows, columns) uint16 of 12 bits, rows from head to feet, columns to the patient's left,
        square pixels; its plane lies in the middle of the CT.
    lungs : which pixels show the right (1) and the left lung (2), same grid; None without a label map.
    """

    image: Volume
    lungs: LabelVolume | None


def project_radiograph(
    ct: Volume,
    lungs: LabelVolume | None = None,
    *,
    pixel: float | None = None,
    depth: float = 10.0,
    photons: float = 0.0,
    seed: int = 0,
    job: Job | None = None,
) -> Radiograph:
    """Compute the frontal radiograph of a chest CT.

    Parameters
    ----------
    ct : Hounsfield units on an orthogonal grid, stored in any direction.
    lungs : label map on the same grid, 1 right lung, 2 left lung; other values are ignored.
    pixel : millimetres of the picture's square pixels; None takes the finer of the two spacings.
    depth : a pixel shows lung where its ray passes at least this many mm of it.
    photons : per pixel before the patient, for quantum noise; 0 adds none.
    seed : of the noise.

    Raises
    ------
    InputError
        when the CT has several components or nothing in it stops a ray.
    GeometryError
        for a sheared grid, or labels on another grid.
    """
    job = job or Job.quiet()
    ct.require_orthogonal()
    if lungs is not None:
        lungs.require_grid_of(ct, _("lungs"))
    if ct.components > 1:
        raise InputError(
            _("The CT has {n} values per voxel.").format(n=ct.components),
            _("Expected Hounsfield units: one value per voxel."),
            _("Choose the CT."),
        )
    axes = orientation(ct, "PIL")  # planes to the back, rows to the feet, columns to the left
    values = axes.view(ct.array)
    thickness, *spacing = axes.reorder(ct.spacing_kji)
    passed = np.zeros(values.shape[1:], np.float64)
    for n, plane in enumerate(values):
        job.report(0.8 * n / len(values), _("Projecting"))
        passed += np.maximum(1.0 + np.nan_to_num(plane.astype(np.float32)) / 1000.0, 0.0)
    passed *= WATER * thickness
    pixel = float(pixel or min(spacing))
    passed = _square(passed, spacing, pixel)
    if photons > 0:
        counted = np.random.default_rng(seed).poisson(photons * np.exp(-passed))
        passed = np.log(photons / np.maximum(counted, 1.0))
    high = float(np.percentile(passed, 99.9))
    if not high > 0:
        raise InputError(
            _("Nothing in the CT stops a ray."),
            _("Expected Hounsfield units of a patient."),
            _("Choose a CT."),
        )
    top = 2**_BITS - 1
    grey = np.rint(np.clip(passed / high, 0.0, 1.0) * top).astype(np.uint16)[np.newaxis]
    place = _place(ct, axes, grey.shape[1:], pixel)
    info = {"bitsStored": _BITS, "photometricInterpretation": "MONOCHROME2", "viewPosition": "AP"}
    image = Volume(grey, place, ct.name, "DX", info, ((top + 1) / 2, top + 1), ct.history)
    if lungs is None:
        return Radiograph(image, None)
    fields = _fields(axes.view(lungs.array), thickness, spacing, pixel, depth)
    job.report(1.0)
    return Radiograph(
        image,
        LabelVolume(
            fields[np.newaxis], place, lungs.name, "DX", segments=_sides(lungs), history=lungs.history
        ),
    )


def _sides(lungs: LabelVolume) -> tuple:
    return tuple(segment for segment in lungs.segments if segment.value in (1, 2))


def _fields(labels, thickness, spacing, pixel, depth) -> np.ndarray:
    """1 and 2 where a ray passes enough of the right or left lung; where both, the longer path."""
    lengths = []
    for value in (1, 2):
        counts = np.zeros(labels.shape[1:], np.float64)
        for plane in labels:
            counts += plane == value
        lengths.append(_square(counts * thickness, spacing, pixel))
    right, left = lengths
    shown = np.maximum(right, left) >= depth
    return np.where(shown, np.where(right >= left, 1, 2), 0).astype(np.uint8)


def _square(plane: np.ndarray, spacing, pixel: float) -> np.ndarray:
    """`plane` on square pixels, linear between; the middle stays where it is."""
    steps = [pixel / step for step in spacing]
    sizes = [max(1, round(count / step)) for count, step in zip(plane.shape, steps, strict=True)]
    if all(abs(step - 1) < 1e-9 for step in steps):
        return plane
    starts = [
        (count - 1) / 2 - (size - 1) / 2 * step
        for count, size, step in zip(plane.shape, sizes, steps, strict=True)
    ]
    # Coarser pixels see the mean of what they cover.
    soft = [0.5 * max(step * step - 1, 0.0) ** 0.5 for step in steps]
    smooth = ndimage.gaussian_filter(plane, soft) if any(soft) else plane
    return ndimage.affine_transform(smooth, steps, starts, tuple(sizes), order=1, mode="nearest")


def _place(ct: Volume, axes: Orientation, size: tuple[int, int], pixel: float) -> np.ndarray:
    """ijkToRAS of the picture: through the middle of the CT, columns, rows and planes along its own axes."""
    stored = ct.directions.T[::-1]
    turned = [stored[axis] * (-1 if flip else 1) for axis, flip in zip(axes.axes, axes.flips, strict=True)]
    middle = ct.ijkToRAS @ np.append((np.array(ct.shape[::-1]) - 1) / 2, 1.0)
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1], matrix[:3, 2] = turned[2] * pixel, turned[1] * pixel, turned[0]
    matrix[:3, 3] = middle[:3] - matrix[:3, :2] @ ((np.array(size[::-1]) - 1) / 2)
    return matrix
