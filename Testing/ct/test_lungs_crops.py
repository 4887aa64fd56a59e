"""Lungs in parts of scans and in noise: the same as in the whole clean scan, and on the right side."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.volume import Volume
from MedPrepCommonLib.phantoms.chest import make_chest_phantom
from MedPrepCTLib.grid.coarse_grid import CoarseGrid
from MedPrepCTLib.grid.voxel_cells import FlatVolume
from MedPrepCTLib.lungs.field_of_view import Padding
from MedPrepCTLib.lungs.segmentation import LEFT_LUNG, LUNG, RIGHT_LUNG, segment_lungs
from MedPrepCTLib.lungs.sides import beside_each_other
from MedPrepCTLib.operations.lungs import Lungs

LUNGS = (RIGHT_LUNG, LEFT_LUNG, LUNG)


def dice(a, b) -> float:
    return 2.0 * float((a & b).sum()) / max(float(a.sum() + b.sum()), 1.0)


def agree(found, truth) -> None:
    """Dice 0.97 and under 1 % on the wrong side."""
    lung, true = np.isin(found, LUNGS), np.isin(truth, LUNGS)
    assert dice(lung, true) >= 0.97
    named = np.isin(found, LUNGS[:2]) & np.isin(truth, LUNGS[:2])
    assert (named & (found != truth)).sum() < 0.01 * true.sum()


@pytest.fixture(scope="module")
def cip(shared_data):
    image = sitk.DICOMOrient(sitk.ReadImage(str(shared_data / "ct/cip-ct64/ct.nrrd")), "LPS")
    hu, spacing = sitk.GetArrayFromImage(image), image.GetSpacing()[::-1]
    return hu, spacing, segment_lungs(hu, spacing)


CROPS = {
    "right half": np.s_[:, :, :32],
    "left half": np.s_[:, :, 32:],
    "box of the right lung": np.s_[8:70, 12:52, 6:30],
    "front half": np.s_[:, :32],
    "back half": np.s_[:, 32:],
    "front quarter": np.s_[:, :32, :32],
    "back quarter": np.s_[:, 32:, 32:],
    "within both lungs": np.s_[:, 18:44, 14:50],
    "one slice": np.s_[40:41],
    "three slices": np.s_[20:23],
    "lower third": np.s_[:26],
    "upper third": np.s_[48:],
}


@pytest.mark.parametrize("crop", CROPS.values(), ids=CROPS.keys())
def test_parts_of_a_scan(cip, crop):
    hu, spacing, whole = cip
    agree(segment_lungs(hu[crop], spacing), whole[crop])


@pytest.mark.parametrize("noise", [40, 100])
def test_noise_on_large_voxels(cip, noise):
    """Voxels of 4 mm have no neighbours in their cell that would average the noise."""
    hu, spacing, clean = cip
    noisy = hu + np.random.default_rng(noise).normal(0, noise, hu.shape)
    found = segment_lungs(np.rint(noisy).astype(np.int16), spacing)
    assert dice(np.isin(found, LUNGS), np.isin(clean, LUNGS)) >= 0.98
    agree(found, clean)


def test_noise_on_voxels_of_8_mm_cuts_no_lung_into_bands():
    phantom = make_chest_phantom((38, 44, 44), (8.0, 8.0, 8.0))
    noisy = phantom.hu + np.random.default_rng(1).normal(0, 60, phantom.hu.shape)
    clean, found = (segment_lungs(np.rint(hu).astype(np.int16), (8.0,) * 3) for hu in (phantom.hu, noisy))
    for labels in (clean, found):
        area, true = (np.isin(x, LUNGS).sum(axis=(1, 2)) for x in (labels, phantom.labels))
        assert (np.abs(area - true) < 0.25 * true.max()).all()
    assert dice(np.isin(found, LUNGS), np.isin(clean, LUNGS)) >= 0.97


def test_a_lung_alone_that_shows_nothing_to_tell_its_side_by_is_a_lung():
    """A round piece of lung in tissue: no other lung, spine, heart, trachea or room."""
    rng = np.random.default_rng(3)
    k, j, i = np.ogrid[-20:20, -24:24, -24:24]
    ball = (k / 14) ** 2 + (j / 17) ** 2 + (i / 17) ** 2 < 1
    hu = np.where(ball, rng.normal(-850, 60, ball.shape), rng.normal(40, 15, ball.shape)).astype(np.int16)
    matrix = np.diag([-3.0, -3.0, 3.0, 1.0])
    result = Lungs()(Volume(hu, matrix, "piece", "CT"), Job.quiet())
    lungs = result.labels["lungs"]
    assert set(np.unique(lungs.array)) == {0, LUNG} and dice(lungs.array == LUNG, ball) >= 0.97
    assert [segment.name for segment in lungs.segments if segment.value == LUNG] == ["lung"]
    assert {check.name: check.verdict for check in result.checks}["Side of the lung"] == "warn"
    assert result.metrics["lungVolume"] == pytest.approx((lungs.array == LUNG).sum() * 0.027)


def test_any_padding_value_is_padding_and_noise_in_a_lung_is_not():
    rng = np.random.default_rng(0)
    inside = np.zeros((6, 60, 60), bool)
    inside[:, 8:52, 8:52] = True
    for value in (0, -1000, -1024, -2000, -3024, np.nan):
        hu = np.where(inside, rng.normal(-850, 100, inside.shape), value)
        hu = hu.astype(np.float32 if np.isnan(value) else np.int16)
        grid = CoarseGrid(hu.shape, (3.0, 3.0, 3.0), 2.8)
        padding = Padding(FlatVolume(hu), grid, grid.mean(hu, Job.quiet()))
        # A cell of lung that happens to have the padding's value right beside it may join it.
        assert (padding.cells != ~inside).mean() < 0.002, value


def test_lobes_are_not_two_lungs():
    left = np.zeros((20, 40, 40), bool)
    right, back = left.copy(), left.copy()
    left[4:16, 5:35, 24:38] = right[4:16, 5:35, 2:16] = True
    back[2:14, 30:39, 22:38] = True
    spacing = (5.0, 5.0, 5.0)
    assert beside_each_other(right, left, spacing, 1.0) == 1
    assert beside_each_other(left, right, spacing, 1.0) == -1
    assert beside_each_other(left, back, spacing, 1.0) == 0
