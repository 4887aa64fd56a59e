"""Windows against pydicom's VOI LUT, an implementation of the same DICOM paragraphs that is not ours."""

from __future__ import annotations

import numpy as np
import pytest
from ctimages import body, grids, real_scans, snapshot
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydicom.dataset import Dataset
from pydicom.pixels import apply_windowing

from MedPrepCommonLib.core import engine
from MedPrepCommonLib.core.errors import ParameterError
from MedPrepCommonLib.core.operation import create, find
from MedPrepCommonLib.core.volume import Volume
from MedPrepCTLib.operations.window import WINDOWS

PRESETS = {
    "lung": (-600, 1500),
    "mediastinum": (50, 350),
    "bone": (300, 2000),
    "brain": (40, 80),
    "abdomen": (50, 400),
    "lungHighResolution": (-650, 1500),
    "lungConservative": (-600, 1450),
}
TYPES = st.sampled_from([np.int16, np.int32, np.float32, np.float64])


def pydicom_window(array: np.ndarray, level: float, width: float, function: str) -> np.ndarray:
    """What pydicom makes of `array`, float64 in [0, 255]."""
    dataset = Dataset()
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsStored, dataset.PixelRepresentation = 8, 0
    dataset.WindowCenter, dataset.WindowWidth, dataset.VOILUTFunction = level, width, function
    return apply_windowing(array, dataset)


def window(volume: Volume, **parameters) -> Volume:
    return engine.run(create("ct.window", **parameters), {"image": volume}).images["image"]


@given(
    array=hnp.arrays(np.int16, (3, 4, 5), elements=st.integers(-2048, 3071)),
    dtype=TYPES,
    level=st.integers(-1000, 3000),
    width=st.integers(1, 4000),
    function=st.sampled_from(["LINEAR", "LINEAR_EXACT"]),
    ijkToRAS=grids(),
)
def test_equals_pydicom(array, dtype, level, width, function, ijkToRAS) -> None:
    volume = Volume(array.astype(dtype), ijkToRAS, modality="CT")
    before = snapshot(volume)
    wanted = pydicom_window(array, level, width, function)
    grey = window(volume, level=level, width=width, function=function)
    assert grey.array.dtype == np.uint8
    # Rounded half up; where float64 itself puts a tie on either side of one half, both are right.
    off = np.abs(grey.array - np.floor(wanted + 0.5))
    assert (off[np.abs(wanted % 1 - 0.5) > 1e-9] == 0).all() and off.max() <= 1
    unit = window(volume, level=level, width=width, function=function, outputType="float")
    assert unit.array.dtype == np.float32
    assert np.abs(unit.array - wanted / 255).max() <= 1e-6
    assert unit.array.min() >= 0 and unit.array.max() <= 1
    for result in (grey, unit):
        assert np.array_equal(result.ijkToRAS, ijkToRAS) and result.modality == "CT"
    assert snapshot(volume) == before


@given(
    array=hnp.arrays(np.float32, (2, 3, 4), elements=st.floats(-2048, 3071, width=32)),
    level=st.floats(-900, 900),
    width=st.floats(1.5, 3000),
)
def test_fractional_values_and_windows(array, level, width) -> None:
    wanted = pydicom_window(array.astype(np.float64), level, width, "LINEAR_EXACT")
    result = window(
        Volume(array, np.eye(4), modality="CT"),
        level=level,
        width=width,
        function="LINEAR_EXACT",
        outputType="float",
    )
    assert np.abs(result.array - wanted / 255).max() <= 1e-6


def test_rounds_and_never_truncates() -> None:
    # Width 511 LINEAR_EXACT is half a grey level per HU: every odd HU is a tie.
    hu = np.arange(-300, 300, dtype=np.int16).reshape(2, 10, 30)
    grey = window(Volume(hu, np.eye(4)), level=0, width=510, function="LINEAR_EXACT").array
    exact = np.clip((hu + 255) / 510, 0, 1) * 255
    assert np.array_equal(grey, np.floor(exact + 0.5))
    assert (grey != np.floor(exact)).sum() == 255  # truncation would be wrong here


def test_a_width_of_one_is_a_step() -> None:
    hu = np.arange(-4, 4, dtype=np.int16).reshape(2, 2, 2)
    grey = window(Volume(hu, np.eye(4)), level=0, width=1).array
    assert np.array_equal(grey, np.where(hu <= -0.5, 0, 255))


@pytest.mark.parametrize(("name", "values"), PRESETS.items())
def test_presets(name, values) -> None:
    op = create("ct.window", name)
    assert (op.level, op.width) == values
    assert find("ct.window").presets[name].title and find("ct.window").presets[name].source


def test_there_are_no_other_presets() -> None:
    assert set(WINDOWS) == set(PRESETS)


def test_display_fits_the_result() -> None:
    grey, unit = window(body()), window(body(), outputType="float")
    assert grey.display == (127.5, 255.0) and unit.display == (0.5, 1.0)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT"])
def test_real_scans(shared_data, function) -> None:
    for name, volume in real_scans(shared_data).items():
        for level, width in ((-600, 1500), (40, 80)):
            wanted = pydicom_window(volume.array, level, width, function)
            grey = window(volume, level=level, width=width, function=function).array
            ties = np.abs(wanted % 1 - 0.5) < 1e-9
            assert np.array_equal(grey[~ties], np.floor(wanted + 0.5)[~ties]), name
            assert np.array_equal(grey[ties], np.floor(wanted[ties] + 0.5 + 1e-9)), name


# ---- several windows
def test_channels_are_the_single_windows() -> None:
    volume = body()
    result = engine.run(create("ct.multiWindow", windows="lung, 50/350 , bone,-100/200"), {"image": volume})
    image = result.images["image"]
    assert image.array.shape == (*volume.shape, 4) and image.array.dtype == np.uint8
    assert image.info["channelNames"] == ["lung", "50/350", "bone", "-100/200"]
    for n, (level, width) in enumerate([(-600, 1500), (50, 350), (300, 2000), (-100, 200)]):
        assert np.array_equal(image.array[..., n], window(volume, level=level, width=width).array)
    assert np.array_equal(image.ijkToRAS, volume.ijkToRAS)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_one_to_four(count) -> None:
    volume = body((3, 12, 14))
    names = list(WINDOWS)[:count]
    op = create("ct.multiWindow", windows=",".join(names), outputType="float", function="LINEAR_EXACT")
    image = engine.run(op, {"image": volume}).images["image"]
    assert image.components == count and image.array.dtype == np.float32
    # One channel is a plain image, as Slicer stores it.
    assert image.array.ndim == (3 if count == 1 else 4)


@pytest.mark.parametrize(
    ("windows", "word"),
    [
        ("", "1 to 4"),
        ("lung,,bone", "1 to 4"),
        ("lung,bone,brain,abdomen,mediastinum", "1 to 4"),
        ("lnug", "'lung'"),
        ("40", "LEVEL/WIDTH"),
        ("40/80/3", "LEVEL/WIDTH"),
        ("a/b", "LEVEL/WIDTH"),
        ("40/0", "1 to 8000"),
        ("40/nan", "a number"),
        ("99999/80", "-2000 to 4000"),
    ],
)
def test_wrong_window_lists(windows, word) -> None:
    with pytest.raises(ParameterError) as error:
        create("ct.multiWindow", windows=windows)
    assert word in str(error.value)
