"""Clipping against numpy in float64, and the shares that it reports."""

from __future__ import annotations

import numpy as np
import pytest
from ctimages import body, grids, real_scans, snapshot
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from MedPrepCommonLib.core import engine
from MedPrepCommonLib.core.errors import ParameterError
from MedPrepCommonLib.core.operation import create, find
from MedPrepCommonLib.core.volume import Volume

PRESETS = {
    "softTissue": (-200, 400),
    "wholeBody": (-1000, 1000),
    "bone": (-200, 3000),
    "lungNodule": (-1200, 600),
    "lung": (-1500, 600),
}


def clip(volume: Volume, **parameters):
    return engine.run(create("ct.clip", **parameters), {"image": volume})


@given(
    array=hnp.arrays(np.int32, (3, 4, 5), elements=st.integers(-4000, 4000)),
    dtype=st.sampled_from([np.int16, np.int32, np.int64, np.float32, np.float64]),
    bounds=st.tuples(st.integers(-4000, 4000), st.integers(-4000, 4000)).filter(lambda b: b[0] < b[1]),
    ijkToRAS=grids(),
)
def test_equals_numpy(array, dtype, bounds, ijkToRAS) -> None:
    volume = Volume(array.astype(dtype), ijkToRAS, modality="CT", name="scan")
    before = snapshot(volume)
    result = clip(volume, low=bounds[0], high=bounds[1])
    image, wanted = result.images["image"], np.clip(array.astype(np.float64), *bounds)
    assert image.array.dtype == dtype and np.array_equal(image.array, wanted)
    assert np.array_equal(image.ijkToRAS, ijkToRAS)
    below, above = (array < bounds[0]).mean(), (array > bounds[1]).mean()
    assert result.metrics["below"] + result.metrics["padding"] == pytest.approx(below)
    assert result.metrics["above"] == pytest.approx(above)
    assert snapshot(volume) == before


@given(
    array=hnp.arrays(np.float32, (2, 3, 4), elements=st.floats(-3000, 3000, width=32)),
    low=st.floats(-2000, 0),
    width=st.floats(1, 2000),
)
def test_fractional_bounds_on_floats(array, low, width) -> None:
    result = clip(Volume(array, np.eye(4), modality="CT"), low=low, high=low + width)
    wanted = np.clip(array.astype(np.float64), low, low + width).astype(np.float32)
    assert np.array_equal(result.images["image"].array, wanted)


def test_unsigned_images_keep_their_type() -> None:
    array = np.arange(0, 4000, 50, dtype=np.uint16).reshape(4, 4, 5)
    image = clip(Volume(array, np.eye(4)), low=-200, high=1000).images["image"]
    assert image.array.dtype == np.uint16 and np.array_equal(image.array, np.minimum(array, 1000))


@pytest.mark.parametrize(("name", "bounds"), PRESETS.items())
def test_presets(name, bounds) -> None:
    op = create("ct.clip", name)
    assert (op.low, op.high) == bounds
    assert find("ct.clip").presets[name].title and find("ct.clip").presets[name].source


def test_there_are_no_other_presets() -> None:
    assert set(find("ct.clip").presets) == set(PRESETS)


@pytest.mark.parametrize("padding", [-2000, -2048, -3024])
def test_padding_is_counted_apart_from_air(padding) -> None:
    volume = body(padding=padding)
    result = clip(volume, low=-1010, high=600)
    padded = (volume.array == padding).mean()
    assert 0.1 < padded < 0.5
    assert result.metrics["padding"] == pytest.approx(padded)
    assert result.metrics["below"] == pytest.approx((volume.array < -1010).mean() - padded)
    assert result.metrics["above"] == pytest.approx((volume.array > 600).mean())


def test_padding_that_is_not_clipped_does_not_count() -> None:
    assert clip(body(padding=-2000), low=-3000, high=600).metrics["padding"] == 0


def test_low_must_be_below_high() -> None:
    for high in (-300, -200):
        with pytest.raises(ParameterError, match="low below high"):
            create("ct.clip", low=-200, high=high)


def test_real_scans(shared_data) -> None:
    for name, volume in real_scans(shared_data).items():
        for preset, bounds in PRESETS.items():
            result = engine.run(create("ct.clip", preset), {"image": volume})
            image = result.images["image"].array
            assert image.dtype == volume.array.dtype, name
            assert np.array_equal(image, np.clip(volume.array.astype(np.float64), *bounds)), name
            changed = (image != volume.array).mean()
            parts = [result.metrics[key] for key in ("below", "above", "padding")]
            assert sum(parts) == pytest.approx(changed), name
