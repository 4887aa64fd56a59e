"""Computed radiographs: physics, place in the patient, and the lung fields that they show."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from lungimages import chest_ct, chest_radiograph
from mriimages import stored

from MedPrepCommonLib.core.errors import GeometryError, InputError
from MedPrepCommonLib.core.volume import LabelVolume, Volume
from MedPrepCommonLib.phantoms.projection import WATER, project_radiograph

SPACING = (2.0, 4.0, 2.0)  # i, j, k


def block(hu: float = 0.0) -> Volume:
    """A box of one material, 5 of 10 columns wide, all the way through a CT of air of 20 slices, 8 rows."""
    array = np.full((20, 8, 10), -1000, np.int16)
    array[:, :, 3:8] = hu
    return Volume(array, np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1.0]), "block", "CT")


def test_beer_and_lambert() -> None:
    """Half the attenuation, half the grey level; none, black."""
    array = block().array.copy()
    array[:10] = np.where(array[:10] == 0, -500, array[:10])
    shown = project_radiograph(block().with_array(array)).image.array[0].astype(float)
    assert shown.shape == (20, 10)
    top, bottom = shown[0, 3:8], shown[-1, 3:8]  # rows run to the feet: slice 19 comes first
    assert np.all(top == 4095) and np.all(np.abs(bottom - 4095 / 2) <= 0.5)
    assert not shown[:, :3].any() and not shown[:, 8:].any()


def test_quantum_noise_is_that_of_counting() -> None:
    """Standard deviation of the line integral: 1 / sqrt(photons that arrive), within 5 percent."""
    array = np.zeros((80, 8, 90), np.int16)
    array[:, :, :45] = -1000
    water = Volume(array, np.diag([-1.0, -4.0, 1.0, 1.0]), modality="CT")
    clean, noisy = (project_radiograph(water, photons=n, seed=3).image.array[0] for n in (0.0, 5000.0))
    length = 32.0 * WATER
    high = (
        np.percentile(noisy[:, 45:].astype(float), 50) / length
    )  # grey levels per unit of the line integral
    spread = noisy[:, 45:].std() / high
    clipped = np.mean(noisy[:, 45:] == 4095)
    assert clean[:, 45:].min() == 4095 and clipped < 0.01
    assert spread == pytest.approx(1 / np.sqrt(5000 * np.exp(-length)), rel=0.05)
    assert np.array_equal(noisy, project_radiograph(water, photons=5000.0, seed=3).image.array[0])


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("flips", [(False, False, False), (True, False, True), (False, True, True)])
def test_the_way_a_ct_is_stored_does_not_matter(axes, flips) -> None:
    ct, lungs = chest_ct(metal=False)
    wanted = project_radiograph(ct, lungs)
    found = project_radiograph(stored(ct, axes, flips), stored(lungs, axes, flips))
    for a, b in ((wanted.image, found.image), (wanted.lungs, found.lungs)):
        assert np.array_equal(a.array, b.array)
        assert np.allclose(a.ijkToRAS, b.ijkToRAS)


def test_a_marker_is_where_it_is_in_the_patient() -> None:
    """The ray through a metal ball meets the picture at the ball's left-right and head-foot position."""
    array = np.full((21, 16, 24), -1000, np.int16)
    array[15, 4, 19] = 3000
    ct = Volume(
        array, np.array([[-1.5, 0, 0, 40], [0, -2, 0, -7], [0, 0, 3, 11], [0, 0, 0, 1.0]]), modality="CT"
    )
    for pixel in (None, 0.75):
        made = project_radiograph(ct, pixel=pixel).image
        assert made.spacing[:2] == pytest.approx((pixel or 1.5,) * 2)
        weights = made.array[0].astype(float)
        j, i = (float((weights * n).sum() / weights.sum()) for n in np.indices(weights.shape))
        found = (made.ijkToRAS @ [i, j, 0, 1])[:3]
        wanted = (ct.ijkToRAS @ [19, 4, 15, 1])[:3]
        assert found[[0, 2]] == pytest.approx(wanted[[0, 2]], abs=0.4 * 1.5)
        assert np.allclose(made.directions @ [1, 0, 0], [-1, 0, 0])  # columns to the patient's left
        assert np.allclose(made.directions @ [0, 1, 0], [0, 0, -1])  # rows to the feet


def test_lungs_are_shown_where_a_ray_passes_enough_of_them() -> None:
    labels = np.zeros((20, 8, 10), np.uint8)
    labels[:, :2, 3] = 1  # 8 mm
    labels[:, :3, 4] = 1  # 12 mm, before 16 mm of the other
    labels[:, 4:, 4] = 2
    labels[:, :3, 6] = 2
    labels[:, :, 7] = 3  # airway
    ct = block()
    lungs = LabelVolume(labels, ct.ijkToRAS)
    shown = project_radiograph(ct, lungs).lungs.array[0]
    assert shown[0].tolist() == [0, 0, 0, 0, 2, 0, 2, 0, 0, 0]
    assert project_radiograph(ct, lungs, depth=5.0).lungs.array[0][0].tolist() == [
        0,
        0,
        0,
        1,
        2,
        0,
        2,
        0,
        0,
        0,
    ]


def test_the_phantom_shows_two_dark_lungs_on_their_sides() -> None:
    made = chest_radiograph()
    right, left = made.lungs.array[0] == 1, made.lungs.array[0] == 2
    x = np.broadcast_to(np.arange(right.shape[1]), right.shape)
    assert x[right].mean() < right.shape[1] / 2 < x[left].mean()
    plane = made.image.array[0]
    body = plane > 600
    assert np.median(plane[right | left]) < 0.75 * np.median(plane[body & ~right & ~left])


def test_what_cannot_be_projected() -> None:
    ct, lungs = chest_ct(metal=False)
    with pytest.raises(InputError, match="stops a ray"):
        project_radiograph(ct.with_array(np.full(ct.shape, -1000, np.int16)))
    with pytest.raises(InputError, match="3 values per voxel"):
        project_radiograph(ct.with_array(np.repeat(ct.array[..., None], 3, axis=3)))
    with pytest.raises(GeometryError, match="another grid"):
        project_radiograph(ct, dataclasses.replace(lungs, array=lungs.array[1:]))
    skewed = ct.ijkToRAS.copy()
    skewed[1, 2] += 0.5
    with pytest.raises(GeometryError, match="sheared"):
        project_radiograph(dataclasses.replace(ct, ijkToRAS=skewed))
