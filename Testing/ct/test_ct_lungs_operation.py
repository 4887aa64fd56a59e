"""ct.lungs as an operation: any stored orientation, segments and codes, volumes, checks."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from ctimages import body, read, snapshot
from scipy.spatial.transform import Rotation

from MedPrepCommonLib.core import engine
from MedPrepCommonLib.core.errors import InputError
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.core.terminology import terminology_entry
from MedPrepCommonLib.core.volume import Volume
from MedPrepCommonLib.geometry.orientation import orientation

# Slicer's terminology entries, from its general anatomy list.
ENTRIES = {
    1: "SCT^39607008^Lung~SCT^24028007^Right",
    2: "SCT^39607008^Lung~SCT^7771000^Left",
    3: "SCT^44567001^Trachea~^^",
}


def lungs(volume: Volume, preset: str | None = None, **parameters):
    return engine.run(create("ct.lungs", preset, **parameters), {"image": volume})


def chest() -> Volume:
    return body((30, 64, 72), spacing=(5.0, 5.0, 8.0))


def stored(volume: Volume, axes: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> Volume:
    """The same voxels in the same places, stored with axes permuted and reversed."""
    array, place = volume.array.transpose(axes), volume.ijkToRAS.copy()
    place[:3, :3] = volume.ijkToRAS[:3, [2 - axes[2 - n] for n in range(3)]]
    for n, flip in enumerate(flips):
        if flip:
            array, column = np.flip(array, n), 2 - n
            place[:3, 3] += place[:3, column] * (array.shape[n] - 1)
            place[:3, column] *= -1
    return dataclasses.replace(volume, array=array, ijkToRAS=place)


ALL_48 = list(itertools.product(itertools.permutations(range(3)), itertools.product((False, True), repeat=3)))


@pytest.mark.parametrize(("axes", "flips"), ALL_48)
def test_views_point_where_they_should(axes, flips) -> None:
    volume = body((5, 6, 7), spacing=(2.0, 3.0, 4.0))
    turned = stored(volume, axes, flips)
    assert np.linalg.det(turned.directions) == pytest.approx(1 if sum(flips) % 2 == _odd(axes) else -1)
    to_spl = orientation(turned)
    assert np.array_equal(to_spl.view(turned.array), volume.array)
    assert to_spl.reorder(turned.spacing_kji) == pytest.approx(volume.spacing_kji)
    assert np.array_equal(to_spl.undo(volume.array), turned.array)
    assert np.shares_memory(to_spl.view(turned.array), turned.array)
    rgb = np.repeat(turned.array[..., None], 3, axis=3)
    assert np.array_equal(to_spl.undo(to_spl.view(rgb)), rgb)
    assert np.array_equal(orientation(turned, "IAR").view(turned.array), volume.array[::-1, ::-1, ::-1])


def _odd(axes: tuple[int, int, int]) -> int:
    return int(round(1 - np.linalg.det(np.eye(3)[list(axes)]))) // 2


@pytest.mark.parametrize(("axes", "flips"), [ALL_48[n] for n in (0, 1, 6, 9, 14, 19, 22, 25, 29, 36, 40, 47)])
def test_stored_orientation_does_not_matter(axes, flips) -> None:
    volume = chest()
    wanted = lungs(volume)
    turned = stored(volume, axes, flips)
    before = snapshot(turned)
    found = lungs(turned)
    label = found.labels["lungs"]
    assert np.array_equal(label.ijkToRAS, turned.ijkToRAS)
    assert np.array_equal(orientation(turned).view(label.array), wanted.labels["lungs"].array)
    assert found.metrics == pytest.approx(wanted.metrics)
    assert {c.value for c in found.checks} == {c.value for c in wanted.checks}
    assert snapshot(turned) == before


def test_right_is_the_patients_right() -> None:
    label = lungs(chest()).labels["lungs"]
    for value, sign in ((1, 1), (2, -1)):
        _k, _j, i = np.nonzero(label.array == value)
        middle = (label.shape[2] - 1) / 2
        right_of_middle = (i.mean() - middle) * label.directions[0, 0]
        assert right_of_middle * sign > 5


def test_oblique_grid() -> None:
    volume = chest()
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", (8, -12, 15), degrees=True).as_matrix()
    oblique = dataclasses.replace(volume, ijkToRAS=turn @ volume.ijkToRAS)
    found = lungs(oblique)
    assert np.array_equal(found.labels["lungs"].array, lungs(volume).labels["lungs"].array)
    assert np.array_equal(found.labels["lungs"].ijkToRAS, oblique.ijkToRAS)


def test_the_known_lungs_are_found() -> None:
    volume = chest()
    truth = ((volume.array < -600) & (np.indices(volume.shape)[2] > 0)).copy()
    _, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in volume.shape), indexing="ij")
    truth &= (x / 0.85) ** 2 + (y / 0.7) ** 2 < 0.8
    label = lungs(volume).labels["lungs"].array
    both = (label == 1) | (label == 2)
    assert 2 * (both & truth).sum() / (both.sum() + truth.sum()) > 0.985
    assert set(np.unique(label)) == {0, 1, 2}


def test_table_and_metrics_equal_numpy() -> None:
    volume = chest()
    result = lungs(volume)
    label = result.labels["lungs"].array
    rows = {row[0]: row[1:] for row in result.tables["volumes"].rows}
    assert set(rows) == {"right lung", "left lung"}  # this body has no airway
    for value, name, key in ((1, "right lung", "rightLung"), (2, "left lung", "leftLung")):
        inside = volume.array[label == value].astype(np.float64)
        assert rows[name] == pytest.approx((inside.size * 0.2, inside.mean(), inside.std()))
        assert result.metrics[f"{key}Volume"] == pytest.approx(inside.size * 0.2)
        assert result.metrics[f"{key}Density"] == pytest.approx(inside.mean())
    assert result.metrics["airwayVolume"] == 0 and "airwayDensity" not in result.metrics


def test_segments_and_codes() -> None:
    label = lungs(chest()).labels["lungs"]
    assert [(s.value, s.name) for s in label.segments] == [(1, "right lung"), (2, "left lung"), (3, "airway")]
    for segment in label.segments:
        assert f"SCT^123037004^Anatomical Structure~{ENTRIES[segment.value]}" in terminology_entry(segment)
    assert len({s.color for s in label.segments}) == 3
    assert label.array.dtype == np.uint8 and label.modality == "CT"


def test_lungs_that_are_cut_off_are_said() -> None:
    ends = [c for c in lungs(chest()).checks if c.name == "Lungs complete"]
    assert (ends[0].verdict, ends[0].value) == ("warn", "cut off at the bottom, top")
    volume = chest()
    array = volume.array.copy()
    array[:4] = array[-4:] = 40
    whole = [c for c in lungs(volume.with_array(array)).checks if c.name == "Lungs complete"]
    assert (whole[0].verdict, whole[0].value) == ("pass", "inside the scan")


def test_small_lungs_are_warned_about() -> None:
    small = {c.name: c for c in lungs(body((30, 64, 72), spacing=(2.0, 2.0, 3.0))).checks}
    assert small["Right lung"].verdict == "warn" and "ml" in small["Right lung"].value


def test_no_lung_gives_a_failed_check() -> None:
    volume = chest()
    abdomen = volume.with_array(np.where((volume.array < -700) & _inside(volume), 40, volume.array))
    result = lungs(abdomen)
    assert not result.labels["lungs"].array.any()
    (check,) = result.checks
    assert check.verdict == "fail" and check.advice and result.notes == [check.value]
    assert result.tables["volumes"].rows == ()


def _inside(volume: Volume) -> np.ndarray:
    _, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in volume.shape), indexing="ij")
    return (x / 0.85) ** 2 + (y / 0.7) ** 2 < 0.8


def test_dense_lungs_need_the_other_preset() -> None:
    volume = chest()
    dense = volume.with_array(
        np.where((volume.array < -700) & _inside(volume), volume.array + 420, volume.array)
    )
    usual, raised = lungs(dense).metrics, lungs(dense, "dense").metrics
    assert raised["rightLungVolume"] > 2 * usual["rightLungVolume"]


@pytest.mark.parametrize("change", ["window", "raw", "clip"])
def test_images_that_are_no_hu(change) -> None:
    volume = chest()
    if change == "raw":
        with pytest.raises(InputError, match="raw stored values"):
            lungs(volume.with_array((volume.array + 1024).astype(np.uint16)))
    elif change == "window":
        picture = engine.run(create("ct.window"), {"image": volume}).images["image"]
        with pytest.raises(InputError, match="windowed"):
            lungs(picture)
    else:
        clipped = engine.run(create("ct.clip", "softTissue"), {"image": volume}).images["image"]
        assert lungs(clipped).checks[0].verdict == "fail"


def test_real_scan_against_its_reference(shared_data) -> None:
    volume = read(shared_data / "ct/cip-ct64/ct.nrrd")
    reference = read(shared_data / "ct/cip-ct64/lungmask.nrrd").array > 0
    label = lungs(volume).labels["lungs"].array
    both = (label == 1) | (label == 2)
    assert 2 * (both & reference).sum() / (both.sum() + reference.sum()) >= 0.98
