"""Lungs and airway on real scans: whole, thick, partial, without lungs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from MedPrepCTLib.lungs.segmentation import AIRWAY, LEFT_LUNG, RIGHT_LUNG, segment_lungs


def read(path: Path) -> tuple[np.ndarray, tuple[float, float, float]]:
    """A file or a folder of one DICOM series: (k, j, i) to superior, posterior, left, and its spacing."""
    if path.is_dir():
        slices = []
        for file in sorted(path.glob("*.dcm")) + sorted(path.glob(".*.dcm")):
            reader = sitk.ImageFileReader()
            reader.SetFileName(str(file))
            reader.ReadImageInformation()
            slices.append((reader.GetOrigin()[2], str(file)))
        image = sitk.ReadImage([file for _, file in sorted(set(slices))])
    else:
        image = sitk.ReadImage(str(path))
    image = sitk.DICOMOrient(image, "LPS")
    return sitk.GetArrayFromImage(image), image.GetSpacing()[::-1]


def dice(a, b) -> float:
    return 2.0 * float((a & b).sum()) / float(a.sum() + b.sum())


def lungs_of(labels):
    return (labels == RIGHT_LUNG) | (labels == LEFT_LUNG)


def millilitres(mask, spacing) -> float:
    return float(mask.sum() * np.prod(spacing) / 1000)


def test_against_a_reference_mask(shared_data):
    """The Chest Imaging Platform's own lung mask (64 x 64 x 79 voxels of 4 mm)."""
    hu, spacing = read(shared_data / "ct/cip-ct64/ct.nrrd")
    reference, _ = read(shared_data / "ct/cip-ct64/lungmask.nrrd")
    labels = segment_lungs(hu, spacing)
    assert dice(lungs_of(labels), reference > 0) >= 0.98
    share = (labels == RIGHT_LUNG).sum() / lungs_of(labels).sum()
    assert 0.48 < share < 0.58
    assert 15 < millilitres(labels == AIRWAY, spacing) < 80


def test_right_volume_loss(shared_data):
    """A whole thin-slice scan whose right lung is half the left; the marked nodule is kept."""
    hu, spacing = read(shared_data / "ct/lidc0314-2mm/ct.nii.gz")
    labels = segment_lungs(hu, spacing)
    assert 800 < millilitres(labels == RIGHT_LUNG, spacing) < 1050
    assert 1750 < millilitres(labels == LEFT_LUNG, spacing) < 2050
    assert 20 < millilitres(labels == AIRWAY, spacing) < 60
    nodule, _ = read(shared_data / "ct/lidc0314-2mm/nodule.nii.gz")
    assert lungs_of(labels)[nodule > 0].mean() >= 0.95
    derived, _ = read(shared_data / "ct/lidc0314-2mm/lungmask-derived.nii.gz")
    assert dice(labels > 0, derived > 0) > 0.97
    # The left main bronchus is airway, and each lung is one piece on its own side.
    for side in (RIGHT_LUNG, LEFT_LUNG):
        pieces, _ = ndimage.label(labels == side)
        sizes = np.bincount(pieces.ravel())[1:]
        assert sizes.max() > 0.99 * sizes.sum()


def test_thick_slices_with_a_tumour(shared_data):
    hu, spacing = read(shared_data / "ct/lungdx-a0002-8mm-b40f/dicom")
    assert spacing[0] == pytest.approx(8.0)
    labels = segment_lungs(hu, spacing)
    assert 950 < millilitres(labels == RIGHT_LUNG, spacing) < 1250
    assert 1400 < millilitres(labels == LEFT_LUNG, spacing) < 1700
    derived, _ = read(shared_data / "ct/lungdx-a0002-8mm-b40f/lungmask-derived.nii.gz")
    assert dice(labels > 0, derived > 0) > 0.97
    # Stomach and colon of the lowest slices hold gas in front; the lungs lie behind.
    rows = np.nonzero(labels[:3])[1]
    assert rows.min() > 0.45 * hu.shape[1]


def test_two_slices_with_padding(shared_data):
    hu, spacing = read(shared_data / "ct/lungmask-2slices")
    labels = segment_lungs(hu, spacing)
    assert (labels[hu == -2048] == 0).all()
    for side, least in ((RIGHT_LUNG, 20.0), (LEFT_LUNG, 10.0)):
        assert millilitres(labels == side, spacing) > least
    right, left = (np.nonzero(labels == side)[2].mean() for side in (RIGHT_LUNG, LEFT_LUNG))
    assert right < left


def test_one_slice(shared_data):
    hu, spacing = read(shared_data / "odd/single-slice/ct_1slice.nii.gz")
    labels = segment_lungs(hu, spacing)
    assert millilitres(labels == RIGHT_LUNG, spacing) > 18 and millilitres(labels == LEFT_LUNG, spacing) > 18


def test_field_of_view_cut_through_both_lungs(shared_data):
    """A 85 mm picture of a spine with a corner of lung on either side."""
    hu, spacing = read(shared_data / "odd/dicom-single-ct/CT_small.dcm")
    labels = segment_lungs(hu, spacing)
    left_half = labels[:, :, : labels.shape[2] // 2]
    right_half = labels[:, :, labels.shape[2] // 2 :]
    assert set(np.unique(left_half)) == {0, RIGHT_LUNG} and set(np.unique(right_half)) == {0, LEFT_LUNG}
    aerated = ndimage.binary_opening(hu < -600, np.ones((1, 3, 3)))
    assert (labels[aerated] > 0).mean() > 0.97


def test_lung_bases_above_a_belly_full_of_gas(shared_data):
    """An abdomen with 300 ml of colon gas: the lungs' bases in the top slices, and nothing else."""
    hu, spacing = read(shared_data / "ct-metal/ts-hip-implant/ct.nii.gz")
    labels = segment_lungs(hu, spacing)
    assert not labels[:95].any()
    assert 50 < millilitres(labels == RIGHT_LUNG, spacing) < 90
    assert 30 < millilitres(labels == LEFT_LUNG, spacing) < 60
    gas = ndimage.binary_erosion(hu < -940, iterations=2)
    assert millilitres(gas, spacing) > 50 and not labels[gas].any()


def test_a_sliver_of_lung_above_the_liver(shared_data):
    """20 slices of upper abdomen: the tip of the right lung behind the liver, no stomach."""
    hu, spacing = read(shared_data / "ct/ts-j2k-dicom/dicom")
    labels = segment_lungs(hu, spacing)
    k, j, i = np.nonzero(labels)
    assert set(np.unique(labels)) == {0, RIGHT_LUNG}
    assert millilitres(labels > 0, spacing) < 5
    assert k.min() > 10 and j.min() > 300 and i.max() < 256
    assert hu[labels > 0].mean() > -900


@pytest.mark.parametrize("name", ["odd/shear-nifti/shear.nii.gz", "odd/oblique-nifti/CT_pitch.nii.gz"])
def test_heads_have_no_lungs(shared_data, name):
    from MedPrepCommonLib.core.errors import InputError

    hu, spacing = read(shared_data / name)
    with pytest.raises(InputError):
        segment_lungs(hu, spacing)


@pytest.mark.parametrize("first, last", [(10, 30), (30, 60), (55, 79)])
def test_slabs_agree_with_the_whole(shared_data, first, last):
    hu, spacing = read(shared_data / "ct/cip-ct64/ct.nrrd")
    whole = segment_lungs(hu, spacing)[first:last]
    slab = segment_lungs(hu[first:last], spacing)
    for side in (RIGHT_LUNG, LEFT_LUNG):
        assert dice(slab == side, whole == side) > 0.97


@pytest.mark.parametrize(
    "crop", [np.s_[:, :, 8:], np.s_[:, :, :54], np.s_[:, 6:, 10:52]], ids=["right", "left", "both"]
)
def test_crops_agree_with_the_whole(shared_data, crop):
    hu, spacing = read(shared_data / "ct/cip-ct64/ct.nrrd")
    whole = segment_lungs(hu, spacing)[crop]
    part = segment_lungs(hu[crop], spacing)
    for side in (RIGHT_LUNG, LEFT_LUNG):
        assert dice(part == side, whole == side) > 0.97


def test_a_sliver_of_lung_at_the_border_is_no_trachea(shared_data):
    """The left lung cut off but for a strip: the trachea in the middle of the picture is still the airway."""
    hu, spacing = read(shared_data / "ct/cip-ct64/ct.nrrd")
    whole = segment_lungs(hu, spacing)[:, :, :40]
    part = segment_lungs(hu[:, :, :40], spacing)
    assert dice(part == AIRWAY, whole == AIRWAY) > 0.7
    for side in (RIGHT_LUNG, LEFT_LUNG):
        assert dice(part == side, whole == side) > 0.95
