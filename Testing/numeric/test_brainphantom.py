"""The brain phantom: its truth must be true before anything is measured against it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from MedPrepCommonLib.phantoms.brain import LABELS, make_brain_phantom, smooth_field
from MedPrepCommonLib.phantoms.brain_anatomy import CSF, GREY, INTENSITY, WHITE

SMALL = {"shape": (64, 72, 60), "spacing_kji": (3.0, 3.0, 3.0)}


@pytest.fixture(scope="module")
def phantom():
    return make_brain_phantom(**SMALL)


def millilitres(mask, phantom) -> float:
    return float(mask.sum() * np.prod(phantom.spacing_kji) / 1000)


def test_same_arguments_same_person(phantom):
    again = make_brain_phantom(**SMALL)
    assert np.array_equal(again.labels, phantom.labels) and np.array_equal(again.field, phantom.field)
    assert list(phantom.images) == ["T1", "T2", "FLAIR"]
    for name, image in phantom.images.items():
        assert np.array_equal(again.images[name], image) and image.dtype == np.float32
    other = make_brain_phantom(**SMALL, seed=8)
    assert not np.array_equal(other.labels, phantom.labels)


def test_threads_change_nothing(phantom):
    alone = make_brain_phantom(**SMALL, workers=1)
    assert all(np.array_equal(alone.images[name], phantom.images[name]) for name in phantom.images)


def test_one_sequence_alone_is_the_same_person(phantom):
    alone = make_brain_phantom(**SMALL, sequences=("T1",))
    assert np.array_equal(alone.images["T1"], phantom.images["T1"])
    assert np.array_equal(alone.labels, phantom.labels)


def test_sizes_are_those_of_an_adult(phantom):
    assert 1200 < millilitres(phantom.brain, phantom) < 1900
    assert 450 < millilitres(phantom.labels == LABELS["grey matter"], phantom) < 800
    assert 450 < millilitres(phantom.labels == LABELS["white matter"], phantom) < 850
    places = np.argwhere(phantom.labels >= 2)
    k, j, i = (places.max(axis=0) - places.min(axis=0)) * 3.0
    assert 150 < j < 185 and 120 < i < 150 and 120 < k < 190


def test_the_brain_is_where_it_says(phantom):
    """The cerebrum is up, the face is in front (RAS y positive), and the middle is the middle."""
    k, j, i = (axis.mean() for axis in np.nonzero(phantom.labels >= 2))
    right, front, up = (phantom.ijkToRAS @ (i, j, k, 1))[:3]
    assert abs(right) < 3 and abs(front) < 12 and abs(up) < 15
    grid = np.indices(phantom.labels.shape)[::-1].reshape(3, -1)
    y = phantom.ijkToRAS[1, :3] @ grid + phantom.ijkToRAS[1, 3]
    head = phantom.clean["T1"].reshape(-1) > 100
    assert y[head].max() > 85 + 10  # the nose


@pytest.mark.parametrize("name", ["T1", "T2", "FLAIR"])
def test_tissues_have_their_signal(phantom, name):
    clean = phantom.clean[name]
    core = {label: ndimage.binary_erosion(phantom.labels == value) for label, value in LABELS.items()}
    for label, tissue in (("white matter", WHITE), ("CSF", CSF)):
        assert np.median(clean[core[label]]) == pytest.approx(INTENSITY[name][tissue], rel=0.06)
    grey = np.median(clean[phantom.labels == 2])
    assert min(INTENSITY[name]) < grey and grey == pytest.approx(INTENSITY[name][GREY], rel=0.2)


def test_contrasts_are_those_of_the_sequences(phantom):
    white, grey, fluid = (phantom.labels == value for value in (3, 2, 1))
    for name, order in (
        ("T1", (white, grey, fluid)),
        ("T2", (fluid, grey, white)),
        ("FLAIR", (grey, white, fluid)),
    ):
        bright, middle, dark = (np.median(phantom.clean[name][mask]) for mask in order)
        assert bright > 1.05 * middle and middle > 1.1 * dark


@pytest.mark.parametrize("amount", [0.2, 0.4, 0.8])
def test_the_field_is_what_was_asked_for(amount):
    made = make_brain_phantom(**SMALL, sequences=("T1",), bias=amount)
    inside = made.field[made.brain].astype(np.float64)
    assert np.ptp(inside) == pytest.approx(amount, rel=1e-3)
    assert inside.mean() == pytest.approx(1.0, abs=1e-4)
    assert made.field.min() > 0 and made.field.dtype == np.float32
    # Smooth: no step between neighbours, 3 mm apart, of more than a twentieth of the range.
    assert max(np.abs(np.diff(made.field, axis=axis)).max() for axis in range(3)) < amount / 20


def test_no_bias_is_none():
    made = make_brain_phantom(**SMALL, sequences=("T1",), bias=0, noise=0)
    assert np.all(made.field == 1.0)
    assert np.array_equal(made.images["T1"], made.clean["T1"])


def test_observed_is_clean_times_field(phantom):
    quiet = make_brain_phantom(**SMALL, sequences=("T1",), noise=0)
    assert np.array_equal(quiet.images["T1"], quiet.clean["T1"] * quiet.field)
    noise = (phantom.images["T1"] - quiet.images["T1"])[phantom.labels == 3]
    assert np.std(noise) == pytest.approx(0.02 * INTENSITY["T1"][WHITE], rel=0.03)


def test_skull_stripped_is_brain_alone(phantom):
    bare = make_brain_phantom(**SMALL, skull_stripped=True)
    same = (bare.labels >= 2) == (phantom.labels >= 2)
    assert same.mean() > 0.998  # voxels at the very edge go to whichever tissue is left
    for image in bare.images.values():
        far = ~ndimage.binary_dilation(bare.brain, np.ones((3, 3, 3), bool))
        assert np.all(image[far] == 0)
        assert (image[bare.brain] > 0).mean() > 0.999


def test_thick_slices_are_averages(phantom):
    thick = make_brain_phantom((32, 72, 60), (6.0, 3.0, 3.0), sequences=("T1",), noise=0, bias=0)
    thin = make_brain_phantom(**SMALL, sequences=("T1",), noise=0, bias=0)
    mean = thin.clean["T1"].reshape(32, 2, 72, 60).mean(axis=1)
    assert np.abs(thick.clean["T1"] - mean).mean() < 0.02 * mean.mean()
    for value in LABELS.values():
        ratio = millilitres(thick.labels == value, thick) / millilitres(thin.labels == value, thin)
        assert abs(ratio - 1) < 0.2


def test_a_grid_that_cannot_be_is_refused():
    for changes in (
        {"shape": (0, 10, 10)},
        {"spacing_kji": (1.0, 0.0, 1.0)},
        {"sequences": ("PD",)},
        {"sequences": ()},
    ):
        with pytest.raises(ValueError):
            make_brain_phantom(**{**SMALL, **changes})
    axes, mask = [np.zeros(2)] * 3, np.ones((2, 2, 2), bool)
    with pytest.raises(ValueError):
        smooth_field(axes, mask, 2.0, np.random.default_rng(0))


@pytest.mark.parametrize("shape", [(1, 36, 30), (18, 36, 1), (5, 4, 3)])
def test_slices_slabs_and_tiny_grids_work(shape):
    made = make_brain_phantom(shape, (6.0, 6.0, 6.0))
    for image in (*made.images.values(), made.field):
        assert image.shape == shape and np.isfinite(image).all()
