"""Any volume as one upright plane of grey levels; the exposed field; cropping."""

import numpy as np
import pytest
from ctimages import labels_on
from xrayimages import PICTURE, bordered, chest, volume_of

from MedPrepCommonLib.core import engine
from MedPrepCommonLib.core.errors import GeometryError, InputError
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.core.volume import Volume
from MedPrepCommonLib.files.reading import read_volume
from MedPrepXrayLib.picture.collimation import find_field
from MedPrepXrayLib.picture.radiograph import radiograph

GREY = chest()


@pytest.mark.parametrize(
    ("top", "bits"), [(255, 8), (1000, 10), (4095, 12), (16383, 14), (20000, 15), (65535, 16)]
)
def test_bits_are_those_that_the_values_need(top, bits):
    plane = np.linspace(0, top, 48).reshape(6, 8).round().astype(np.uint16)
    assert radiograph(volume_of(plane)).bits == bits
    # Many programs store such levels as floating point.
    as_float = radiograph(volume_of(plane.astype(np.float32)))
    assert as_float.bits == bits and as_float.plane.dtype == np.uint16


def test_fractions_and_negative_values_have_no_depth():
    for plane in (GREY / np.float32(255), GREY.astype(np.int16) - 100):
        picture = radiograph(volume_of(plane))
        assert picture.bits == 0
        assert picture.unit().min() == 0 and picture.unit().max() == 1


def test_equal_channels_are_one():
    picture = radiograph(volume_of(np.repeat(GREY[..., None], 3, axis=2)))
    assert np.array_equal(picture.plane, GREY) and "equal" in picture.notes[0]


def test_colours_become_luminance_as_in_opencv():
    cv2 = pytest.importorskip("cv2")
    colours = np.random.default_rng(0).integers(0, 256, (*GREY.shape, 3), dtype=np.uint8)
    picture = radiograph(volume_of(colours))
    wanted = cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY)
    assert np.abs(picture.plane.astype(int) - wanted).max() <= 1
    assert "luminance" in picture.notes[0]


def test_transparency_is_ignored_with_a_note():
    alpha = np.random.default_rng(0).integers(0, 256, GREY.shape, dtype=np.uint8)
    for channels in ([GREY, GREY, GREY, alpha], [GREY, alpha]):
        picture = radiograph(volume_of(np.stack(channels, axis=-1)))
        assert np.array_equal(picture.plane, GREY) and "transparency" in picture.notes[0]


def test_five_channels_are_refused():
    with pytest.raises(InputError, match="5 values"):
        radiograph(volume_of(np.repeat(GREY[..., None], 5, axis=2)))


def test_a_volume_of_slices_is_refused():
    with pytest.raises(GeometryError, match="3 slices"):
        radiograph(Volume(np.repeat(GREY[None], 3, axis=0), PICTURE))


def coronal(up: bool, left: bool, axis: int) -> Volume:
    """The chest as one coronal slice; k or j runs up or down, i to the patient's left or right."""
    plane = GREY[:: -1 if up else 1, :: 1 if left else -1]
    matrix = np.eye(4)
    matrix[:3, 0] = (-1 if left else 1, 0, 0)
    rows = (0, 0, 1 if up else -1)
    matrix[:3, 1], matrix[:3, 2] = ((0, 1, 0), rows) if axis == 1 else (rows, (0, 1, 0))
    return Volume(np.expand_dims(plane, axis), np.block([[matrix[:3, :3], np.ones((3, 1))], [0, 0, 0, 1]]))


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
def test_it_stands_upright_and_goes_back(up, left, axis):
    volume = coronal(up, left, axis)
    picture = radiograph(volume)
    assert np.array_equal(picture.plane, GREY)
    back = picture.back(picture.plane)
    assert np.array_equal(back.array, volume.array) and np.array_equal(back.ijkToRAS, volume.ijkToRAS)
    # A corner of the patient stays where it is.
    part = picture.cut(volume, slice(10, 40), slice(5, 25))
    for array_index in np.argwhere(part.array >= 0)[::97]:
        ras = part.ijkToRAS @ [*array_index[::-1], 1]
        index = np.linalg.inv(volume.ijkToRAS) @ ras
        k, j, i = np.rint(index[2::-1]).astype(int)
        assert part.array[tuple(array_index)] == volume.array[k, j, i]


# ---- the exposed field
@pytest.mark.parametrize("bits", [8, 12])
@pytest.mark.parametrize("share", [0.0, 0.01, 1.0])
@pytest.mark.parametrize("noise", [0.0, 0.004])
def test_borders_are_found_to_the_pixel(bits, share, noise):
    top = 2**bits - 1
    framed, (up, down, left, right) = bordered(chest(bits=bits), share * top, noise * top)
    field = find_field(framed)
    assert np.abs(np.subtract(field, (up, down, left, right))).max() <= 1, field


def test_letters_on_the_border_do_not_hide_it():
    framed, box = bordered(GREY, 0)
    framed[4:12, 30:38] = 255
    assert find_field(framed) == box


@pytest.mark.parametrize("shape", [(20, 30), (60, 50), (300, 200)])
@pytest.mark.parametrize("along", [0, 1])
def test_a_ramp_has_no_border(shape, along):
    ramp = np.linspace(0, 4095, shape[along])
    plane = np.broadcast_to(ramp[:, None] if along == 0 else ramp, shape).astype(np.uint16)
    assert find_field(plane).covers(shape)


def test_nothing_but_one_value_is_all_field():
    assert find_field(np.full((40, 50), 7, np.uint8)).covers((40, 50))


def test_real_radiographs_without_borders_stay_whole(shared_data):
    paths = [p for p in sorted((shared_data / "xr/chest-lungs").glob("*.png")) if "_lungs" not in p.name]
    for path in paths[::5]:
        plane = read_volume(path).array[0]
        field = find_field(plane)
        assert field.shape[0] * field.shape[1] >= 0.97 * plane.size, path.name


def test_crop_keeps_places_and_takes_labels_along():
    framed, (up, down, left, right) = bordered(chest(bits=12), 0)
    image = volume_of(framed)
    mask = (framed > 2000).astype(np.uint8)[None]
    result = engine.run(create("xray.crop"), {"image": image, "labels": (labels_on(image, mask, "lungs"),)})
    cut, lungs = result.images["image"], result.labels["lungs"]
    assert np.array_equal(cut.array[0], framed[up:down, left:right])
    assert np.array_equal(lungs.array, mask[:, up:down, left:right]) and lungs.same_grid(cut)
    np.testing.assert_allclose(cut.ijkToRAS @ [0, 0, 0, 1], image.ijkToRAS @ [left, up, 0, 1])
    wide = engine.run(create("xray.crop", margin=5), {"image": image})
    assert wide.images["image"].shape == (1, down - up + 10, right - left + 10)


def test_crop_leaves_what_has_no_border():
    result = engine.run(create("xray.crop"), {"image": volume_of(GREY)})
    assert np.array_equal(result.images["image"].array[0], GREY) and "no border" in result.notes[-1]
