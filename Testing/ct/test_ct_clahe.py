"""ct.clahe: slices, planes and padding; the equalization itself against OpenCV and scikit-image."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from ctimages import body, matrix, read
from skimage import exposure

from MedPrepCommonLib.core import engine
from MedPrepCommonLib.core.errors import ParameterError
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.core.volume import Volume
from MedPrepCommonLib.geometry.orientation import orientation
from MedPrepCommonLib.numeric.clahe import clahe_stack


def clahe(volume: Volume, **parameters) -> Volume:
    return engine.run(create("ct.clahe", **parameters), {"image": volume}).images["image"]


def windowed(volume: Volume) -> Volume:
    return engine.run(create("ct.window", "lung"), {"image": volume}).images["image"]


def test_windowed_slices_equal_opencv(shared_data) -> None:
    volume = windowed(read(shared_data / "ct/lidc0314-2mm/ct.nii.gz"))
    result = clahe(volume).array
    judge = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8))
    for k in (10, 60, 110):
        wanted = judge.apply(volume.array[k])
        assert np.abs(result[k] / 257 - wanted).max() <= 1, k


def test_hu_keeps_more_than_8_bits(shared_data) -> None:
    scan = read(shared_data / "ct/lidc0314-2mm/ct.nii.gz")
    clipped = engine.run(create("ct.clip", "lungNodule"), {"image": scan}).images["image"]
    result = clahe(clipped)
    assert result.array.dtype == np.uint16 and len(np.unique(result.array[60])) > 1500
    assert result.array.max() > 60000
    # scikit-image counts its histogram differently; both pictures are alike.
    k = 60
    plain = (clipped.array[k] - clipped.array.min()) / np.ptp(clipped.array)
    wanted = exposure.equalize_adapthist(plain, kernel_size=32, clip_limit=2.0 / 256, nbins=256)
    assert np.corrcoef(result.array[k].ravel(), wanted.ravel())[0, 1] > 0.97


def test_float_result() -> None:
    volume = windowed(body())
    unit, whole = clahe(volume, outputType="float"), clahe(volume)
    assert unit.array.dtype == np.float32 and unit.array.min() >= 0 and unit.array.max() <= 1
    assert np.abs(unit.array - whole.array / 65535.0).max() < 2e-5
    assert (unit.display, whole.display) == ((0.5, 1.0), (32767.5, 65535.0))


def test_contrast_grows_with_the_limit() -> None:
    volume = windowed(body(noise=20))
    spread = [clahe(volume, clipLimit=limit).array[8].std() for limit in (1, 2, 4)]
    assert spread == sorted(spread)


def test_slices_are_axial_whatever_way_they_are_stored() -> None:
    volume = windowed(body())
    wanted = clahe(volume).array
    for axes in ((2, 1, 0), (1, 2, 0), (0, 2, 1)):
        place = volume.ijkToRAS.copy()
        place[:3, :3] = volume.ijkToRAS[:3, [2 - axes[2 - n] for n in range(3)]]
        turned = dataclasses.replace(volume, array=volume.array.transpose(axes), ijkToRAS=place)
        found = clahe(turned)
        assert np.array_equal(orientation(found).view(found.array), wanted)
        assert np.array_equal(found.ijkToRAS, place)
    # One axial slice by itself gives what it gives in the volume, as long as the range is the same.
    alone = dataclasses.replace(volume, array=volume.array[8:9])
    assert np.array_equal(clahe(alone).array[0], wanted[8])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_single_slice_in_any_plane(axis) -> None:
    picture = windowed(body((40, 48, 56)))
    thin = np.take(picture.array, [20], axis=axis)
    result = clahe(Volume(thin, matrix((2, 2, 2)), modality="CT")).array
    judge = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8))
    wanted = judge.apply(np.ascontiguousarray(thin.squeeze()))
    assert np.abs(result.squeeze() / 257 - wanted).max() <= 1


def test_padding_does_not_stretch_the_range() -> None:
    padded = body(padding=-3024)
    inside = padded.array != -3024
    values = padded.array[inside]
    within = clahe_stack(np.maximum(padded.array, values.min()), value_range=(values.min(), values.max()))
    found = clahe(padded).array
    assert np.array_equal(found, within)
    stretched = clahe_stack(padded.array)
    assert found[inside].std() > 1.2 * stretched[inside].std()


@pytest.mark.parametrize("wrong", [{"clipLimit": 0}, {"clipLimit": 41}, {"tiles": 0}, {"tiles": 2.5}])
def test_wrong_parameters(wrong) -> None:
    with pytest.raises(ParameterError):
        create("ct.clahe", **wrong)


@pytest.mark.parametrize("tiles", [1, 7, 64])
def test_tiles_need_not_fit(tiles) -> None:
    result = clahe(windowed(body((3, 50, 61))), tiles=tiles).array
    assert result.shape == (3, 50, 61) and result.max() > 0
