"""Normalization against numpy in float64."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from ctimages import body, grids, labels_on, snapshot
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from MedPrepCommonLib.core import engine
from MedPrepCommonLib.core.errors import GeometryError, InputError, ParameterError
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.core.volume import Volume

VALUES = hnp.arrays(np.int32, (3, 4, 5), elements=st.integers(-4000, 4000))
TYPES = st.sampled_from([np.int16, np.int32, np.float32, np.float64])


def normalize(volume: Volume, mask=None, **parameters):
    return engine.run(create("normalize", **parameters), {"image": volume, "mask": mask})


@given(
    VALUES,
    TYPES,
    st.integers(-2000, 0),
    st.integers(1, 4000),
    st.sampled_from(["[0, 1]", "[-1, 1]"]),
    grids(),
)
def test_minmax_equals_numpy(array, dtype, low, width, span, ijkToRAS) -> None:
    volume = Volume(array.astype(dtype), ijkToRAS, modality="CT")
    before = snapshot(volume)
    high = low + width
    unit = (np.clip(array.astype(np.float64), low, high) - low) / width
    wanted = unit if span == "[0, 1]" else 2 * unit - 1
    assume(np.ptp(wanted) > 1e-3)
    result = normalize(volume, low=low, high=high, range=span)
    image = result.images["image"]
    assert image.array.dtype == np.float32 and np.abs(image.array - wanted).max() <= 1e-6
    assert np.array_equal(image.ijkToRAS, ijkToRAS)
    assert result.metrics["below"] == pytest.approx((array < low).mean())
    assert result.metrics["above"] == pytest.approx((array > high).mean())
    assert (result.metrics["low"], result.metrics["high"]) == (low, high)
    assert snapshot(volume) == before


@given(VALUES, TYPES)
def test_zscore_equals_numpy(array, dtype) -> None:
    exact = array.astype(np.float64)
    assume(exact.std() > 0.1)
    result = normalize(Volume(array.astype(dtype), np.eye(4)), method="zscore")
    wanted = (exact - exact.mean()) / exact.std()
    assert np.abs(result.images["image"].array - wanted).max() < 1e-5
    assert result.metrics["mean"] == pytest.approx(exact.mean(), abs=1e-9)
    assert result.metrics["standardDeviation"] == pytest.approx(exact.std(), rel=1e-9)


@given(VALUES, hnp.arrays(np.uint8, (3, 4, 5), elements=st.integers(0, 2)))
def test_zscore_within_a_mask(array, mask) -> None:
    inside = array[mask > 0].astype(np.float64)
    assume(inside.size and inside.std() > 0.1)
    volume = Volume(array.astype(np.int16), np.eye(4))
    result = normalize(volume, labels_on(volume, mask), method="zscore")
    wanted = (array - inside.mean()) / inside.std()
    # The whole image is scaled, by the mask's statistics.
    assert np.abs(result.images["image"].array - wanted).max() < 1e-5 * max(1, np.abs(wanted).max())


def test_zscore_with_training_statistics() -> None:
    volume = body()
    result = normalize(volume, method="zscore", statistics="given", mean=-200.5, standardDeviation=310.25)
    wanted = (volume.array.astype(np.float64) + 200.5) / 310.25
    assert np.abs(result.images["image"].array - wanted).max() < 1e-6
    assert result.metrics == {"mean": -200.5, "standardDeviation": 310.25}


def test_large_offsets_do_not_cost_precision() -> None:
    rng = np.random.default_rng(3)
    array = (1e6 + rng.normal(0, 1, (20, 20, 20))).astype(np.float64)
    image = normalize(Volume(array, np.eye(4)), method="zscore").images["image"].array
    assert abs(image.mean(dtype=np.float64)) < 1e-6 and image.std(dtype=np.float64) == pytest.approx(
        1, abs=1e-6
    )


@pytest.mark.parametrize(("name", "bounds"), [("lungNodule", (-1200, 600)), ("softTissue", (-200, 400))])
def test_presets(name, bounds) -> None:
    op = create("normalize", name)
    assert (op.low, op.high, op.method) == (*bounds, "minmax")


@pytest.mark.parametrize("method", ["minmax", "zscore"])
def test_one_value_everywhere_is_refused(method) -> None:
    with pytest.raises(InputError, match="very voxel"):
        normalize(Volume(np.full((3, 3, 3), 40, np.int16), np.eye(4)), method=method)


def test_nothing_between_the_bounds_is_refused() -> None:
    with pytest.raises(InputError, match="same value"):
        normalize(body(), low=4000, high=5000)


def test_masks_that_do_not_fit() -> None:
    volume = body((4, 8, 8))
    empty = labels_on(volume, np.zeros(volume.shape, np.uint8))
    with pytest.raises(InputError, match="empty"):
        normalize(volume, empty, method="zscore")
    shifted = dataclasses.replace(
        empty, ijkToRAS=empty.ijkToRAS + np.eye(4)[:, [3, 3, 3, 3]] * 0.5 * np.eye(4)[3]
    )
    cropped = dataclasses.replace(empty, array=empty.array[1:])
    for wrong in (shifted, cropped):
        if not wrong.same_grid(volume):
            with pytest.raises(GeometryError, match="another grid"):
                normalize(volume, wrong, method="zscore")
    with pytest.raises(InputError, match="label map"):
        normalize(volume, volume, method="zscore")


def test_bounds_the_wrong_way_round() -> None:
    with pytest.raises(ParameterError, match="low below high"):
        create("normalize", low=1, high=1)
    create("normalize", method="zscore", low=1, high=1)  # not used there


@pytest.mark.parametrize("deviation", [0, -1, float("inf")])
def test_impossible_deviation(deviation) -> None:
    with pytest.raises(ParameterError):
        create("normalize", method="zscore", statistics="given", standardDeviation=deviation)
