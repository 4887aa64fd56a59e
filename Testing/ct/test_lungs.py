"""Lungs and airway on the phantom whose truth is known: whole, touching, cut, diseased, stored in any way."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from MedPrepCommonLib.core.errors import Cancelled, InputError
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.phantoms.chest import DEFAULT_NODULES, make_chest_phantom
from MedPrepCTLib.lungs.segmentation import AIRWAY, LEFT_LUNG, RIGHT_LUNG, segment_lungs

SMALL = {"shape": (80, 128, 128), "spacing_kji": (3.75, 2.8, 2.8)}


def dice(a, b) -> float:
    return 2.0 * float((a & b).sum()) / max(float(a.sum() + b.sum()), 1.0)


def lungs_of(labels):
    return (labels == RIGHT_LUNG) | (labels == LEFT_LUNG)


def assert_lungs(labels, truth, least=0.985) -> None:
    for side in (RIGHT_LUNG, LEFT_LUNG):
        if (truth == side).any():
            assert dice(labels == side, truth == side) >= least, side
        else:
            assert not (labels == side).any(), side


def airway_leak(labels, truth) -> float:
    return float((lungs_of(labels) & (truth == AIRWAY)).sum() / (truth == AIRWAY).sum())


@pytest.fixture(scope="module")
def phantom():
    return make_chest_phantom(**SMALL)


@pytest.fixture(scope="module")
def demo():
    """The demo's own image."""
    return make_chest_phantom()


@pytest.fixture(scope="module")
def labels(phantom):
    return segment_lungs(phantom.hu, phantom.spacing_kji)


@pytest.mark.parametrize("touching", [False, True])
def test_demo_phantom(demo, touching):
    """The figures that the project promises, on the demo's own image."""
    phantom = make_chest_phantom(touching=True) if touching else demo
    labels = segment_lungs(phantom.hu, phantom.spacing_kji)
    assert_lungs(labels, phantom.labels, 0.985)
    assert airway_leak(labels, phantom.labels) <= 0.02
    assert dice(labels == AIRWAY, phantom.labels == AIRWAY) > 0.9
    nodules = phantom.nodule_labels > 0
    assert (lungs_of(labels) & nodules).sum() >= 0.95 * nodules.sum()
    assert (lungs_of(labels) & phantom.vessels).sum() >= 0.95 * phantom.vessels.sum()
    assert not (labels > 0)[phantom.bowel_gas | phantom.table].any()


@pytest.mark.parametrize("number", range(len(DEFAULT_NODULES)))
def test_nodules_are_kept(phantom, labels, number):
    nodule = phantom.nodule_labels == number + 1
    assert (labels[nodule] == phantom.nodules[number].side).mean() >= 0.95


def test_small_phantom(phantom, labels):
    assert labels.dtype == np.uint8 and labels.shape == phantom.hu.shape
    assert set(np.unique(labels)) == {0, RIGHT_LUNG, LEFT_LUNG, AIRWAY}
    assert_lungs(labels, phantom.labels)
    assert airway_leak(labels, phantom.labels) <= 0.02
    assert not (labels > 0)[phantom.bowel_gas | phantom.table].any()


def test_lungs_have_no_holes(labels):
    whole = labels > 0
    holes = ndimage.binary_fill_holes(whole) & ~whole
    assert holes.sum() < 0.001 * whole.sum()


def test_sheet_of_air_between_the_lungs(demo):
    """An aerated bridge 3 voxels thin across the mediastinum, over 5 cm of height."""
    phantom = demo
    hu = phantom.hu.copy()
    bridge = (slice(95, 120), slice(72, 75), slice(108, 150))
    part = hu[bridge]
    part[phantom.labels[bridge] == 0] = -840
    labels = segment_lungs(hu, phantom.spacing_kji)
    assert_lungs(labels, phantom.labels)


@pytest.mark.parametrize("spacing_k, slices", [(8.0, 38), (5.0, 60), (0.6, 60)])
def test_thick_and_thin_slices(spacing_k, slices):
    phantom = make_chest_phantom((slices, 128, 128), (spacing_k, 2.7, 2.7))
    assert_lungs(segment_lungs(phantom.hu, phantom.spacing_kji), phantom.labels)


@pytest.mark.parametrize("first, last", [(6, 20), (15, 32), (30, 45), (40, 60), (60, 80), (33, 34)])
def test_slabs(phantom, first, last):
    slab = np.s_[first:last]
    labels = segment_lungs(phantom.hu[slab], phantom.spacing_kji)
    assert_lungs(labels, phantom.labels[slab], 0.98)


@pytest.mark.parametrize(
    "crop",
    [np.s_[:, :, 26:], np.s_[:, :, 34:], np.s_[:, :, :100], np.s_[:, :, 30:98], np.s_[:, 40:92, 30:98]],
    ids=["right side", "right side deep", "left side", "both sides", "all around"],
)
def test_lungs_cut_by_the_lateral_border(phantom, crop):
    labels = segment_lungs(phantom.hu[crop], phantom.spacing_kji)
    assert_lungs(labels, phantom.labels[crop], 0.98)


@pytest.mark.parametrize("padding", [-1000, -1024, -2000, -2048, -3024])
def test_lungs_cut_by_a_round_field_of_view(padding):
    phantom = make_chest_phantom(**SMALL, padding=padding)
    y, x = np.ogrid[:128, :128]
    outside = (y - 62) ** 2 + (x - 63.5) ** 2 > 36**2
    hu, truth = phantom.hu.copy(), phantom.labels.copy()
    hu[:, outside], truth[:, outside] = padding, 0
    labels = segment_lungs(hu, phantom.spacing_kji)
    assert_lungs(labels, truth, 0.98)
    assert not labels[:, outside].any()


@pytest.mark.parametrize("padding", [-1000, -1024, -2048, -3024])
def test_any_padding(padding):
    phantom = make_chest_phantom(**SMALL, padding=padding)
    assert_lungs(segment_lungs(phantom.hu, phantom.spacing_kji), phantom.labels)


def test_lung_as_dark_as_the_padding():
    """A sharp kernel undershoots beside the chest wall, down to the -1024 that also pads the scan."""
    phantom = make_chest_phantom((60, 256, 256), (2.0, 1.4, 1.4), padding=-1024)
    hu = phantom.hu.copy()
    lung = lungs_of(phantom.labels)
    rim = lung & ~ndimage.binary_erosion(lung) & (hu < -500)
    hu[rim] = -1024
    labels = segment_lungs(hu, phantom.spacing_kji)
    assert_lungs(labels, phantom.labels)
    assert (labels[rim] > 0).mean() > 0.99


@pytest.mark.parametrize("shift", [-90, 200])
def test_emphysema_and_dense_lungs(phantom, shift):
    hu = phantom.hu.copy()
    aerated = lungs_of(phantom.labels) & (hu < -600)
    hu[aerated] = np.maximum(hu[aerated] + shift, -1024)
    assert_lungs(segment_lungs(hu, phantom.spacing_kji), phantom.labels, 0.97)


@pytest.mark.parametrize("gone", [RIGHT_LUNG, LEFT_LUNG])
def test_one_lung_missing(phantom, gone):
    hu, truth = phantom.hu.copy(), phantom.labels.copy()
    hu[truth == gone] = 40
    truth[truth == gone] = 0
    assert_lungs(segment_lungs(hu, phantom.spacing_kji), truth)


def test_pleural_effusion(phantom):
    hu, truth = phantom.hu.copy(), phantom.labels.copy()
    fluid = truth == RIGHT_LUNG
    fluid[:, :64] = False
    hu[fluid], truth[fluid] = 12, 0
    assert_lungs(segment_lungs(hu, phantom.spacing_kji), truth)


def test_bowel_gas_behind_a_thin_diaphragm(demo):
    """Stomach gas 1.5 mm below the left lung is one part with it on the coarse grid, and must be cut off."""
    phantom = demo
    sk, sj, si = phantom.spacing_kji
    nk, nj, ni = phantom.hu.shape
    z = ((np.arange(nk) - (nk - 1) / 2) * sk)[:, None, None]
    y = ((np.arange(nj) - (nj - 1) / 2) * sj)[None, :, None]
    x = ((np.arange(ni) - (ni - 1) / 2) * si)[None, None]
    far = np.zeros(phantom.hu.shape)
    left = np.s_[:75, 60:190, 125:230]
    far[left] = ndimage.distance_transform_edt(~lungs_of(phantom.labels)[left], sampling=phantom.spacing_kji)
    stomach = ((x - 64) / 34) ** 2 + ((y + 14) / 40) ** 2 + ((z + 85) / 40) ** 2 < 1
    under = np.maximum.accumulate(lungs_of(phantom.labels)[::-1], axis=0)[::-1]
    gas = stomach & under & (far > 1.5)
    hu = phantom.hu.copy()
    hu[gas] = -985
    labels = segment_lungs(hu, phantom.spacing_kji)
    assert (labels[gas] > 0).mean() < 0.01
    assert_lungs(labels, phantom.labels)


def test_a_tumour_at_the_hilum_is_lung_where_lung_surrounds_it(phantom, labels):
    """A 3 cm mass in the right lower lobe, grown upwards to the hilum; the liver's dome stays outside."""
    hu = phantom.hu.copy()
    k, j, i = np.ogrid[:80, :128, :128]
    mass = ((k - 32) * 3.75) ** 2 + ((j - 72) * 2.8) ** 2 + ((i - 44) * 2.8) ** 2 < 17**2
    neck = (k >= 32) & (k < 44) & (np.abs(j - 70) < 5) & (i > 40) & (i < 56)
    inside = lungs_of(phantom.labels)
    hu[(mass | neck) & inside] = 40
    found = segment_lungs(hu, phantom.spacing_kji)
    below = mass & (k < 32)
    assert (found[below] > 0).mean() > 0.95
    dome = ~inside & (labels == 0) & (k < 26)
    assert (found[dome] > 0).mean() < 0.005


def test_children_have_finer_cells():
    """The same chest at 40 %: trachea 7 mm wide, main bronchi 5 mm."""
    phantom = make_chest_phantom((100, 160, 160), (3.0, 2.2, 2.2))
    spacing = tuple(0.4 * step for step in phantom.spacing_kji)
    labels = segment_lungs(phantom.hu, spacing)
    assert_lungs(labels, phantom.labels)
    assert airway_leak(labels, phantom.labels) <= 0.03


def test_arms_at_the_sides():
    phantom = make_chest_phantom((80, 128, 160), (3.75, 2.8, 2.8), arms=True)
    assert_lungs(segment_lungs(phantom.hu, phantom.spacing_kji), phantom.labels)


def test_noise():
    phantom = make_chest_phantom(**SMALL, noise_hu=70)
    assert_lungs(segment_lungs(phantom.hu, phantom.spacing_kji), phantom.labels)


def test_any_layout_in_memory_gives_the_same(phantom, labels):
    spacing, hu = phantom.spacing_kji, phantom.hu
    padded = np.full((160, 128, 128), 77, np.int16)
    padded[::2] = hu
    for name, view in {
        "turned": np.ascontiguousarray(hu[::-1, :, ::-1])[::-1, :, ::-1],
        "sagittal": np.ascontiguousarray(hu.transpose(2, 0, 1)).transpose(1, 2, 0),
        "Fortran": np.asfortranarray(hu),
        "with gaps": padded[::2],
        "big-endian": hu.astype(">i2"),
        "int32": hu.astype(np.int32),
        "float32": hu.astype(np.float32),
    }.items():
        assert np.array_equal(segment_lungs(view, spacing), labels), name


def test_mirrored_input(phantom, labels):
    mirrored = segment_lungs(phantom.hu[:, :, ::-1], phantom.spacing_kji, right_is_low_i=False)
    assert np.array_equal(mirrored[:, :, ::-1], labels)


def test_input_is_left_alone(phantom, labels):
    hu = phantom.hu.copy()
    hu.flags.writeable = False
    assert np.array_equal(segment_lungs(hu, phantom.spacing_kji), labels)
    assert np.array_equal(hu, phantom.hu)


def test_not_a_number_is_not_air(phantom, labels):
    hu = phantom.hu.astype(np.float32)
    hu[30:33, 60, 60] = np.nan
    found = segment_lungs(hu, phantom.spacing_kji)
    assert (found != labels).mean() < 1e-4


def test_a_larger_ball_keeps_more(phantom):
    small, large = (
        lungs_of(segment_lungs(phantom.hu, phantom.spacing_kji, closing_mm=r)) for r in (0.5, 14.0)
    )
    assert large.sum() > small.sum()
    nodule = phantom.nodule_labels == 4
    assert (large & nodule).sum() > (small & nodule).sum()


@pytest.mark.parametrize(
    "hu",
    [
        np.zeros((5, 5, 5), np.int16),
        np.full((1, 1, 1), -800, np.int16),
        np.full((40, 64, 64), -1000, np.int16),
        np.full((40, 64, 64), -800, np.int16),
        np.full((3, 4, 5), np.nan, np.float32),
        np.random.default_rng(0).integers(-1000, 1000, (40, 64, 64)).astype(np.int16),
        np.random.default_rng(0).integers(0, 256, (40, 64, 64)).astype(np.uint8),
    ],
    ids=["zeros", "one voxel", "room", "constant", "nan", "noise", "8 bit"],
)
def test_no_lung_is_an_error_that_says_so(hu):
    with pytest.raises(InputError) as error:
        segment_lungs(hu, (2.0, 2.0, 2.0))
    assert "lung" in str(error.value) and error.value.advice


def test_abdomen_without_lung_is_an_error(phantom):
    with pytest.raises(InputError):
        segment_lungs(phantom.hu[:7], phantom.spacing_kji)


def test_progress_rises_to_one(phantom):
    seen = []
    segment_lungs(
        phantom.hu, phantom.spacing_kji, job=Job(lambda fraction, message: seen.append((fraction, message)))
    )
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions) and fractions[-1] == pytest.approx(1.0)
    assert all(message for _, message in seen)


@pytest.mark.parametrize("after", [0, 3, 20, 40])
def test_cancel_at_any_time(phantom, after):
    calls = 0

    def cancelled() -> bool:
        nonlocal calls
        calls += 1
        return calls > after

    with pytest.raises(Cancelled):
        segment_lungs(phantom.hu, phantom.spacing_kji, job=Job(None, cancelled))
