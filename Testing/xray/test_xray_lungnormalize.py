"""Normalizing a radiograph by its lungs: statistics, what is outside, the box, the square, places kept."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from lungimages import chest_radiograph

from MedPrepCommonLib.core import engine
from MedPrepCommonLib.core.errors import GeometryError, InputError, ParameterError
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.core.volume import LabelVolume, Volume

# Columns run to the left and a little up, rows down, an odd spacing: nothing may depend on plain axes.
PLACE = np.array(
    [[-0.5, 0.0, 0.0, 31.0], [0.0, 0.0, -1.0, 5.0], [0.0, -0.8, 0.0, -7.0], [0.0, 0.0, 0.0, 1.0]]
)


def pair(shape=(60, 80), dtype=np.uint16, place=PLACE) -> tuple[Volume, LabelVolume]:
    """Noise with two boxes as lungs, rows 12 to 41, columns 10 to 29 and 45 to 69."""
    plane = np.random.default_rng(4).integers(100, 4000, shape).astype(dtype)
    mask = np.zeros(shape, np.uint8)
    mask[12:42, 10:30], mask[14:40, 45:70] = 1, 2
    return (
        Volume(plane[np.newaxis], place, "radiograph", "DX", {"bitsStored": 12}),
        LabelVolume(mask[np.newaxis], place, "lungs", "DX"),
    )


def normalized(image: Volume, lungs: LabelVolume, **parameters):
    return engine.run(create("xray.lungNormalize", **parameters), {"image": image, "lungs": lungs})


def middle(volume: Volume) -> np.ndarray:
    """RAS of the middle of the box that the pixels fill."""
    return volume.ijkToRAS[:3] @ [*((n - 1) / 2 for n in volume.shape[::-1]), 1.0]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
def test_lungs_get_mean_0_and_deviation_1(dtype) -> None:
    image, lungs = pair()
    image = image.with_array((image.array // 20).astype(dtype))
    inside = lungs.array != 0
    values = image.array[inside].astype(np.float64)
    for outside in ("zero", "keep"):
        result = normalized(image, lungs, outside=outside)
        found = result.images["image"]
        assert found.array.dtype == np.float32 and found.same_grid(image)
        assert found.array[inside] == pytest.approx((values - values.mean()) / values.std(), abs=1e-5)
        assert result.metrics["mean"] == pytest.approx(values.mean())
        assert result.metrics["standardDeviation"] == pytest.approx(values.std())
        assert result.metrics["pixels"] == np.count_nonzero(inside)
        rest = found.array[~inside]
        if outside == "zero":
            assert not rest.any()
        else:
            others = image.array[~inside].astype(np.float64)
            assert rest == pytest.approx((others - values.mean()) / values.std(), abs=1e-5)
        assert np.array_equal(result.labels["lungs"].array, lungs.array)


def test_exposure_does_not_matter() -> None:
    image, lungs = pair(dtype=np.float64)
    brighter = image.with_array(image.array * 3.5 + 700)
    a, b = (normalized(i, lungs, outside="keep").images["image"].array for i in (image, brighter))
    assert np.abs(a - b).max() < 1e-5


@pytest.mark.parametrize("margin", [0, 10, 100])
def test_the_box_of_the_lungs(margin) -> None:
    image, lungs = pair()
    result = normalized(image, lungs, crop=True, margin=margin, outside="keep")
    whole = normalized(image, lungs, outside="keep").images["image"]
    extra = round(margin / 100 * 60)
    rows = slice(max(0, 12 - extra), min(60, 42 + extra))
    columns = slice(max(0, 10 - extra), min(80, 70 + extra))
    found, fields = result.images["image"], result.labels["lungs"]
    assert np.array_equal(found.array[0], whole.array[0][rows, columns])
    assert np.array_equal(fields.array[0], lungs.array[0][rows, columns]) and fields.same_grid(found)
    # The first pixel is where it was.
    assert np.allclose(found.ijkToRAS[:3, 3], image.ijkToRAS[:3] @ [columns.start, rows.start, 0, 1])
    sides = [result.metrics[name] for name in ("top", "bottom", "left", "right")]
    assert sides == [rows.start, rows.stop, columns.start, columns.stop]


@pytest.mark.parametrize("size", [32, 100, 512])
@pytest.mark.parametrize("crop", [False, True])
def test_a_square_keeps_proportions_and_place(size, crop) -> None:
    image, lungs = pair()
    result = normalized(image, lungs, size=size, crop=crop, margin=0)
    before = normalized(image, lungs, crop=crop, margin=0).images["image"]
    found, fields = result.images["image"], result.labels["lungs"]
    assert found.shape == (1, size, size) and fields.same_grid(found)
    rows, columns = (before.shape[1] * 0.8, before.shape[2] * 0.5)
    assert found.spacing == pytest.approx((max(rows, columns) / size,) * 2 + (1.0,))
    assert result.metrics["pixelSize"] == pytest.approx(max(rows, columns) / size)
    assert np.allclose(middle(found), middle(before)) and np.allclose(found.directions, image.directions)
    assert set(np.unique(fields.array)) == {0, 1, 2}
    # Each pixel of the label map is that of the image at the same place in the patient.
    j, i = (axis.ravel() for axis in np.indices((size, size)))
    ras = found.ijkToRAS @ np.stack([i, j, 0 * i, 0 * i + 1])
    back = (np.linalg.inv(image.ijkToRAS) @ ras)[:2]
    # Not those on the border between two pixels, for which either is right.
    sure = (np.abs(back % 1 - 0.5) > 0.02).all(axis=0)
    column, row = np.rint(back).astype(int)
    inside = (row >= 0) & (row < 60) & (column >= 0) & (column < 80)
    expected = np.where(inside, lungs.array[0][row.clip(0, 59), column.clip(0, 79)], 0)
    if not crop:
        assert np.array_equal(fields.array.ravel()[sure], expected[sure])
    assert not found.array[fields.array == 0].any()


def test_the_square_is_antialiased_and_in_place() -> None:
    """Stripes of single pixels become even grey; a smooth ramp keeps its values at every place."""
    shape = (120, 160)
    image, _ = pair(shape)
    lungs = LabelVolume(np.ones((1, *shape), np.uint8), PLACE, "lungs")
    stripes = np.broadcast_to(np.arange(160) % 2 * 100, shape).astype(np.uint8)
    found = normalized(image.with_array(stripes[np.newaxis]), lungs, size=32, outside="keep").images["image"]
    shown = found.array[0][found.array[0] != 0]
    assert shown.size > 500 and np.abs(shown).max() < 0.25
    ramp = np.add.outer(np.arange(120.0), 2 * np.arange(160.0))
    result = normalized(image.with_array(ramp[np.newaxis]), lungs, size=40, outside="keep")
    mean, deviation = result.metrics["mean"], result.metrics["standardDeviation"]
    small = result.images["image"]
    j, i = np.nonzero(result.labels["lungs"].array[0])
    back = np.linalg.inv(PLACE) @ small.ijkToRAS @ np.stack([i, j, 0 * i, 0 * i + 1])
    inner = (back[0] > 8) & (back[0] < 151) & (back[1] > 8) & (back[1] < 111)
    wanted = (back[1] + 2 * back[0] - mean) / deviation
    assert small.array[0][j, i][inner] == pytest.approx(wanted[inner], abs=1e-4)


def test_a_slice_along_any_axis() -> None:
    image, lungs = pair(place=np.diag([-1.0, -1.0, 1.0, 1.0]))
    wanted = normalized(image, lungs, crop=True, size=64)
    for axis in (1, 2):
        order = [1, 2]
        order.insert(axis, 0)
        other, fields = (
            dataclasses.replace(v, array=v.array.transpose(order), ijkToRAS=np.diag([-1.0, -1.0, 1.0, 1.0]))
            for v in (image, lungs)
        )
        found = normalized(other, fields, crop=True, size=64)
        assert found.images["image"].array.shape[axis] == 1
        assert np.allclose(
            np.squeeze(found.images["image"].array), wanted.images["image"].array[0], atol=1e-6
        )
        assert max(found.images["image"].spacing) == pytest.approx(max(wanted.images["image"].spacing))
        assert "pixelSize" not in found.metrics  # 1 mm may mean that nobody knows


def test_lung_fields_then_normalize() -> None:
    image = chest_radiograph().image
    lungs = engine.run(create("xray.lungFields"), {"image": image}).labels["lungs"]
    result = normalized(image, lungs, outside="zero", size=512)
    inside = result.labels["lungs"].array != 0
    assert 0.1 < inside.mean() < 0.6
    values = result.images["image"].array[inside]
    assert abs(values.mean()) < 0.05 and values.std() == pytest.approx(1, abs=0.1)
    assert result.labels["lungs"].segments == lungs.segments


def test_what_cannot_be_normalized() -> None:
    image, lungs = pair()
    with pytest.raises(InputError, match="empty"):
        normalized(image, lungs.with_array(np.zeros_like(lungs.array)))
    with pytest.raises(InputError, match="Every pixel of the lungs is 7"):
        normalized(image.with_array(np.full_like(image.array, 7)), lungs)
    with pytest.raises(GeometryError, match="another grid"):
        normalized(image, pair((61, 80))[1])
    with pytest.raises(ParameterError, match="size"):
        create("xray.lungNormalize", size=-1)
