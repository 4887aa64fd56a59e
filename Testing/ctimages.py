"""CT images for tests: a small body whose every value is known, real scans, and random grids."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from MedPrepCommonLib.core.volume import LabelVolume, Segment, Volume

AIR, LUNG, FAT, MUSCLE, BONE = -1000, -850, -100, 50, 900

THING = Segment(1, "thing", ("SCT", "85756007", "Tissue"), ("SCT", "85756007", "Tissue"))


def matrix(spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0), directions=None) -> np.ndarray:
    """IJK to RAS; by default axes towards left, posterior, superior as in an axial CT."""
    result = np.eye(4)
    directions = np.diag([-1.0, -1.0, 1.0]) if directions is None else directions
    result[:3, :3] = np.asarray(directions) * spacing
    result[:3, 3] = origin
    return result


def body(
    shape=(24, 64, 72),
    spacing=(2.5, 2.5, 4.0),
    noise: float = 12.0,
    padding: int | None = None,
    dtype=np.int16,
    seed: int = 0,
    **fields,
) -> Volume:
    """A chest-like cylinder: skin fat, muscle, two lungs, a spine, air around, padding outside a circle.

    `spacing` along i, j, k in mm; axes towards left, posterior, superior.
    """
    rng = np.random.default_rng(seed)
    _, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    hu = np.full(shape, float(AIR))
    inside = (x / 0.85) ** 2 + (y / 0.7) ** 2
    hu[inside < 1] = FAT
    hu[inside < 0.8] = MUSCLE
    for side in (-1, 1):
        hu[((x - 0.42 * side) / 0.28) ** 2 + (y / 0.42) ** 2 < 1] = LUNG
    hu[(x / 0.1) ** 2 + ((y - 0.4) / 0.13) ** 2 < 1] = BONE
    hu += rng.normal(0, noise, shape)
    hu = np.round(hu) if np.dtype(dtype).kind in "iu" else hu
    hu = np.maximum(hu, -1024)
    if padding is not None:
        hu[x**2 + y**2 > 1] = padding
    return Volume(hu.astype(dtype), matrix(spacing, (120.0, 80.0, -300.0)), modality="CT", **fields)


def labels_on(volume: Volume, array: np.ndarray, name: str = "thing", segments=(THING,)) -> LabelVolume:
    """A label map on the grid of `volume`."""
    return LabelVolume(array, volume.ijkToRAS, name=name, modality=volume.modality, segments=segments)


def read(path: Path, **fields) -> Volume:
    """A real image through SimpleITK."""
    return Volume.from_sitk(sitk.ReadImage(str(path)), **fields)


def read_series(folder: Path) -> Volume:
    """A real DICOM series of one folder through SimpleITK (rescaled to HU), axial slices upwards."""
    reader = sitk.ImageSeriesReader()
    files = [p for p in folder.iterdir() if p.suffix == ".dcm"]
    reader.SetFileNames([str(p) for p in sorted(files, key=_slice_position)])
    return Volume.from_sitk(reader.Execute(), modality="CT")


def _slice_position(path: Path) -> float:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return reader.GetOrigin()[2]


def real_scans(folder: Path) -> dict[str, Volume]:
    """The real CTs in HU that are small enough to try everything on."""
    return {
        "cip": read(folder / "ct/cip-ct64/ct.nrrd"),
        "lidc": read(folder / "ct/lidc0314-2mm/ct.nii.gz"),
        "hip": read(folder / "ct-metal/ts-hip-implant/ct.nii.gz"),
        "slice": read(folder / "odd/single-slice/ct_1slice.nii.gz"),
    }


@st.composite
def orientations(draw) -> np.ndarray:
    """Direction columns: axis-aligned in any order and sign, or oblique; right- and left-handed."""
    if draw(st.booleans()):
        permutation = draw(st.permutations(range(3)))
        columns = np.eye(3)[:, permutation]
    else:
        # Rounded: with angles like 1e-170 ITK's decomposition of the directions fails.
        angles = np.round(draw(st.tuples(*[st.floats(-180, 180)] * 3)), 6)
        columns = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    return columns * draw(st.tuples(*[st.sampled_from((-1.0, 1.0))] * 3))


@st.composite
def grids(draw, smallest: float = 0.3, largest: float = 6.0) -> np.ndarray:
    """Random IJK-to-RAS matrices."""
    spacing = draw(st.tuples(*[st.floats(smallest, largest)] * 3))
    origin = draw(st.tuples(*[st.floats(-500, 500)] * 3))
    return matrix(spacing, origin, draw(orientations()))


def snapshot(volume: Volume) -> tuple:
    """All that must stay as it is in an input: bytes, type, geometry, facts."""
    return (
        volume.array.tobytes(),
        volume.array.dtype.str,
        volume.array.shape,
        volume.array.strides,
        volume.ijkToRAS.tobytes(),
        volume.name,
        volume.modality,
        repr(volume.info),
        volume.display,
        volume.history,
    )


def turned(volume: Volume, axes=(0, 1, 2), flips=(False, False, False)) -> Volume:
    """The same anatomy stored with its array axes in another order, some of them backwards."""
    array, columns = volume.array.transpose(axes), volume.ijkToRAS[:3, [2 - axes[2 - n] for n in range(3)]]
    result = volume.ijkToRAS.copy()
    result[:3, :3] = columns
    for n, flip in enumerate(flips):
        if flip:
            array = np.flip(array, n)
            result[:3, 3] += result[:3, 2 - n] * (array.shape[n] - 1)
            result[:3, 2 - n] *= -1
    return dataclasses.replace(volume, array=array, ijkToRAS=result)
