"""The chest phantom: its truth must be true before anything is measured against it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from MedPrepCommonLib.phantoms.chest import DEFAULT_NODULES, Nodule, make_chest_phantom

SMALL = {"shape": (80, 128, 128), "spacing_kji": (3.75, 2.8, 2.8)}


@pytest.fixture(scope="module")
def phantom():
    return make_chest_phantom(**SMALL)


def millilitres(mask, phantom) -> float:
    return float(mask.sum() * np.prod(phantom.spacing_kji) / 1000)


def test_same_arguments_same_patient(phantom):
    again = make_chest_phantom(**SMALL)
    for name in ("hu", "labels", "structures", "nodule_labels"):
        assert np.array_equal(getattr(phantom, name), getattr(again, name)), name
    assert again.nodules == phantom.nodules
    other = make_chest_phantom(**SMALL, seed=8)
    assert not np.array_equal(other.hu, phantom.hu)


def test_threads_change_nothing(phantom):
    assert np.array_equal(make_chest_phantom(**SMALL, workers=1).hu, phantom.hu)


def test_sizes_are_those_of_an_adult(phantom):
    assert 1700 < millilitres(phantom.labels == 1, phantom) < 3000
    assert 1500 < millilitres(phantom.labels == 2, phantom) < 2700
    assert 30 < millilitres(phantom.labels == 3, phantom) < 80


def test_the_right_lung_lies_to_the_patients_right(phantom):
    """RAS x of the right lung is positive, of the left negative; the table is behind, the apex is up."""
    centres = {}
    for name, mask in (
        ("right", phantom.labels == 1),
        ("left", phantom.labels == 2),
        ("table", phantom.table),
    ):
        k, j, i = (axis.mean() for axis in np.nonzero(mask))
        centres[name] = phantom.ijkToRAS @ (i, j, k, 1)
    assert centres["right"][0] > 30 and centres["left"][0] < -30
    assert centres["table"][1] < -100
    airway_top = phantom.labels[-1] == 3
    assert airway_top.any() and not (phantom.labels[-1] == 1).any()


def test_tissues_have_their_hounsfield_units(phantom):
    hu, labels = phantom.hu, phantom.labels
    core = ndimage.binary_erosion(labels == 1, iterations=3) & ~phantom.vessels & (phantom.nodule_labels == 0)
    assert -900 < np.median(hu[core]) < -800
    trachea = ndimage.binary_erosion(labels == 3, iterations=2)
    assert np.median(hu[trachea]) < -950
    assert np.median(hu[phantom.ribs]) > 120
    assert phantom.metal.sum() > 50 and hu[phantom.metal].min() > 2500 and hu.max() == 3071
    assert np.median(hu[ndimage.binary_erosion(phantom.bowel_gas)]) < -950
    corners = hu[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert np.all(corners == phantom.padding)


def test_lungs_are_whole_and_apart(phantom):
    cross = ndimage.generate_binary_structure(3, 1)
    for label in (1, 2):
        pieces, count = ndimage.label(phantom.labels == label, cross)
        assert count == 1 or np.sort(np.bincount(pieces.ravel())[1:])[:-1].sum() < 0.002 * (pieces > 0).sum()
    right = ndimage.binary_dilation(phantom.labels == 1, cross)
    assert not (right & (phantom.labels == 2)).any()


def test_touching_lungs_touch_over_an_aerated_contact():
    touching = make_chest_phantom(**SMALL, touching=True)
    aerated = (touching.hu < -500) & ((touching.labels == 1) | (touching.labels == 2))
    pieces, _ = ndimage.label(aerated)
    sizes = np.bincount(pieces.ravel())
    largest = pieces == sizes[1:].argmax() + 1
    assert (largest & (touching.labels == 1)).sum() > 1000
    assert (largest & (touching.labels == 2)).sum() > 1000


@pytest.mark.parametrize("number", range(len(DEFAULT_NODULES)))
def test_nodules_are_where_they_say(phantom, number):
    nodule = phantom.nodules[number]
    mask = phantom.nodule_labels == nodule.label
    volume = millilitres(mask, phantom) * 1000 / (4 / 3 * np.pi * nodule.radius_mm**3)
    low = 0.55 if nodule.juxtapleural or nodule.radius_mm < 4 else 0.8
    assert low < volume < 1.35
    centre = np.array([axis.mean() for axis in np.nonzero(mask)])
    off = (centre - nodule.center_kji) * phantom.spacing_kji
    assert np.linalg.norm(off) < (0.5 * nodule.radius_mm if nodule.juxtapleural else 1.8)
    assert set(np.unique(phantom.labels[mask])) == {nodule.side}
    wall = ndimage.binary_dilation(mask, iterations=2) & (phantom.labels == 0)
    assert wall.any() == nodule.juxtapleural


def test_ground_glass_is_aerated_and_solid_is_not():
    nodules = [Nodule(1, (20.0, -20.0, -80.0), 9.0), Nodule(2, (20.0, -20.0, 80.0), 9.0, "ground-glass")]
    phantom = make_chest_phantom(**SMALL, nodules=nodules, noise_hu=0)
    solid, glass = (ndimage.binary_erosion(phantom.nodule_labels == n) for n in (1, 2))
    assert np.median(phantom.hu[solid]) > -50
    assert -700 < np.median(phantom.hu[glass]) < -500


def test_other_spacings_show_the_same_patient(phantom):
    """Thick slices, and a finer grid: same volumes, same places."""
    thick = make_chest_phantom((38, 128, 128), (8.0, 2.8, 2.8))
    for label in (1, 2):
        ratio = millilitres(thick.labels == label, thick) / millilitres(phantom.labels == label, phantom)
        assert abs(ratio - 1) < 0.02
    # Slice 19 (z = 4 mm) of the thick scan beside the mean of the thin slices inside its thickness.
    z = (np.arange(80) - 39.5) * 3.75
    within = np.flatnonzero(np.abs(z - 4.0) < 4.0)
    difference = thick.hu[19].astype(float) - phantom.hu[within].mean(axis=0)
    body = phantom.hu[within].min(axis=0) > -950
    assert np.median(np.abs(difference[body])) < 25


def test_noise_is_what_was_asked_for():
    quiet = make_chest_phantom(**SMALL, noise_hu=0, metal=False)
    noisy = make_chest_phantom(**SMALL, noise_hu=30, metal=False)
    liver = np.s_[6:14, 50:70, 36:60]
    assert np.std(quiet.hu[liver]) < 12
    assert 26 < np.std(noisy.hu[liver].astype(float) - quiet.hu[liver]) < 34


def test_metal_and_arms_can_be_had_or_not():
    assert make_chest_phantom(**SMALL, metal=False).hu.max() < 1200
    bare, armed = (make_chest_phantom((20, 150, 150), (3.75, 2.8, 2.8), arms=arms) for arms in (False, True))
    assert (armed.hu > -300).sum() > 1.05 * (bare.hu > -300).sum()


def test_a_grid_that_cannot_be_is_refused():
    with pytest.raises(ValueError):
        make_chest_phantom((0, 10, 10))
    with pytest.raises(ValueError):
        make_chest_phantom((10, 10, 10), (1.0, 0.0, 1.0))


def test_tiny_grids_work():
    phantom = make_chest_phantom((1, 16, 16), (5.0, 20.0, 20.0))
    assert phantom.hu.shape == (1, 16, 16)
