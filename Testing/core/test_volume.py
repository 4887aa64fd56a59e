"""Volume: geometry against SimpleITK, refusals, and that arrays stay as they are."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from MedPrepCommonLib.core.errors import GeometryError, InputError
from MedPrepCommonLib.core.volume import LPS_TO_RAS, LabelVolume, Segment, Volume

MILLIMETRES = st.floats(-500, 500, allow_nan=False)
SPACINGS = st.tuples(*[st.floats(0.05, 12.0)] * 3)
SHAPES = st.tuples(*[st.integers(1, 5)] * 3)
ANGLES = st.tuples(*[st.floats(-180, 180)] * 3)
SIGNS = st.tuples(*[st.sampled_from((-1.0, 1.0))] * 3)
TYPES = st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4", "i8", "f4", "f8"])


@st.composite
def grids(draw) -> Volume:
    """Random oblique grids, left-handed ones too, of every type that ITK and we share."""
    directions = Rotation.from_euler("xyz", draw(ANGLES), degrees=True).as_matrix() * draw(SIGNS)
    matrix = np.eye(4)
    matrix[:3, :3] = directions * draw(SPACINGS)
    matrix[:3, 3] = draw(st.tuples(MILLIMETRES, MILLIMETRES, MILLIMETRES))
    shape = draw(SHAPES)
    components = draw(st.sampled_from((0, 2, 3, 4)))
    size = shape + ((components,) if components else ())
    dtype = np.dtype(draw(TYPES))
    values = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).integers(0, 100, size)
    return Volume(values.astype(dtype), matrix, name="random")


@given(grids(), st.data())
def test_voxel_centres_are_where_itk_says(volume: Volume, data: st.DataObject) -> None:
    image = volume.to_sitk()
    index = [data.draw(st.integers(0, n - 1)) for n in volume.shape[::-1]]
    lps = np.array(image.TransformIndexToPhysicalPoint(index))
    ras = volume.ijkToRAS @ [*index, 1.0]
    assert np.abs(lps * (-1, -1, 1) - ras[:3]).max() < 1e-9
    k, j, i = index[::-1]
    found = image.GetPixel(index)
    assert np.array_equal(np.atleast_1d(found), np.atleast_1d(volume.array[k, j, i]))


@given(grids())
def test_there_and_back_through_simpleitk(volume: Volume) -> None:
    back = Volume.from_sitk(volume.to_sitk(), name="back")
    assert back.array.dtype == volume.array.dtype
    assert np.array_equal(back.array, volume.array)
    assert np.abs(back.ijkToRAS - volume.ijkToRAS).max() < 1e-9
    assert back.same_grid(volume, 1e-9)


@given(grids())
def test_spacing_direction_and_voxel_volume(volume: Volume) -> None:
    image = volume.to_sitk()
    assert np.allclose(volume.spacing, image.GetSpacing(), rtol=1e-12, atol=0)
    assert volume.spacing_kji == volume.spacing[::-1]
    assert np.isclose(volume.voxel_volume, np.prod(image.GetSpacing()), rtol=1e-9)
    itk = np.array(image.GetDirection()).reshape(3, 3)
    assert np.abs(LPS_TO_RAS[:3, :3] @ itk - volume.directions).max() < 1e-9
    assert volume.shear < 1e-9


def test_a_two_dimensional_image_becomes_one_slice() -> None:
    image = sitk.GetImageFromArray(np.arange(12, dtype=np.uint16).reshape(3, 4))
    image.SetSpacing((0.5, 0.25))
    image.SetOrigin((10, 20))
    volume = Volume.from_sitk(image)
    assert volume.shape == (1, 3, 4)
    assert volume.spacing == (0.5, 0.25, 1.0)
    assert np.array_equal(volume.ijkToRAS @ [1, 2, 0, 1], [-10.5, -20.5, 0, 1])


def test_four_dimensions_are_refused() -> None:
    with pytest.raises(InputError, match="4 dimensions"):
        Volume.from_sitk(sitk.Image([2, 2, 2, 3], sitk.sitkInt16))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((2, 2), np.int16), "2 dimensions"),
        (np.zeros((1, 2, 2, 2, 2), np.int16), "5 dimensions"),
        (np.zeros((2, 0, 2), np.int16), "empty"),
        (np.zeros((2, 2, 2), np.complex64), "complex64"),
        (np.array([[["a"]]]), "values"),
        (np.zeros((2, 2, 2), object), "object"),
    ],
)
def test_arrays_that_are_no_volume(array: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        Volume(array, np.eye(4))
    assert caught.value.expected and caught.value.advice


@pytest.mark.parametrize(
    "matrix",
    [
        np.eye(3),
        np.diag([1.0, np.nan, 1.0, 1.0]),
        np.diag([1.0, np.inf, 1.0, 1.0]),
        np.diag([1.0, 0.0, 1.0, 1.0]),
        np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
    ],
)
def test_positions_that_are_none(matrix: np.ndarray) -> None:
    with pytest.raises(GeometryError) as caught:
        Volume(np.zeros((2, 2, 2), np.int16), matrix)
    assert caught.value.expected and caught.value.advice


def test_shear_is_measured_and_refused() -> None:
    matrix = np.eye(4)
    matrix[1, 2] = np.tan(np.radians(10))  # a gantry tilted by ten degrees
    volume = Volume(np.zeros((3, 3, 3), np.int16), matrix)
    assert np.isclose(volume.shear, np.sin(np.radians(10)))
    assert np.isclose(volume.voxel_volume, 1.0)
    for attempt in (volume.require_orthogonal, volume.to_sitk):
        with pytest.raises(GeometryError, match=r"10\.00 degrees"):
            attempt()


def test_direction_cosines_with_six_digits_are_no_shear() -> None:
    directions = np.round(Rotation.from_euler("xyz", (17.3, -4.1, 33.3), degrees=True).as_matrix(), 6)
    matrix = np.eye(4)
    matrix[:3, :3] = directions
    volume = Volume(np.zeros((2, 2, 2), np.int16), matrix)
    assert volume.shear > 0
    volume.require_orthogonal()


def test_the_array_is_shared_and_cannot_be_written() -> None:
    array = np.zeros((2, 3, 4), np.int16)
    volume = Volume(array, np.eye(4))
    assert np.shares_memory(volume.array, array)
    with pytest.raises(ValueError, match="read-only"):
        volume.array[0, 0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        volume.ijkToRAS[0, 0] = 2
    assert array.flags.writeable, "the caller's own array stays writeable"
    with pytest.raises(dataclasses.FrozenInstanceError):
        volume.name = "other"


def test_bool_and_half_precision_become_types_that_every_reader_knows() -> None:
    assert Volume(np.ones((1, 1, 2), bool), np.eye(4)).array.dtype == np.uint8
    assert Volume(np.ones((2, 2, 2), bool)[:, ::2], np.eye(4)).array.tolist() == [[[1, 1]], [[1, 1]]]
    assert Volume(np.ones((1, 1, 2), np.float16), np.eye(4)).array.dtype == np.float32


def test_with_array_keeps_everything_else() -> None:
    volume = Volume(
        np.zeros((2, 2, 2)), np.diag([2, 2, 3, 1.0]), "a", "CT", {"padding": -2000}, (40, 400), ({},)
    )
    other = volume.with_array(np.ones((2, 2, 2)), name="b")
    assert (other.name, other.modality, other.info, other.display) == (
        "b",
        "CT",
        {"padding": -2000},
        (40, 400),
    )
    assert other.history == ({},)
    other.info["padding"] = 0
    assert volume.info == {"padding": -2000}, "facts are not shared between volumes"


def test_same_grid_looks_at_the_farthest_voxel() -> None:
    volume = Volume(np.zeros((1000, 2, 2), np.uint8), np.eye(4))
    matrix = np.eye(4)
    matrix[2, 2] = 1 + 1e-8  # a hundredth of a micrometre at the far end
    assert volume.same_grid(volume.with_array(volume.array, ijkToRAS=matrix), 1e-4)
    matrix[2, 2] = 1 + 1e-4
    assert not volume.same_grid(volume.with_array(volume.array, ijkToRAS=matrix), 1e-4)
    assert not volume.same_grid(volume.with_array(volume.array[1:]))


def test_label_maps_hold_whole_numbers_only() -> None:
    lung = Segment(1, "lung", ("SCT", "123037004", "Anatomical Structure"), ("SCT", "39607008", "Lung"))
    labels = LabelVolume(np.array([[[0, 1, 2]]], np.uint8), np.eye(4), segments=(lung,))
    assert labels.mask().tolist() == [[[False, True, True]]]
    assert labels.mask(2).tolist() == [[[False, False, True]]]
    assert isinstance(labels.with_array(labels.array), LabelVolume)
    for array in (np.zeros((1, 1, 2), np.float32), np.zeros((1, 1, 2, 2), np.uint8)):
        with pytest.raises(InputError, match="label map"):
            LabelVolume(array, np.eye(4))
