"""Rigid registration and resampling onto another grid, against displacements that are known."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
import SimpleITK as sitk
from ctimages import matrix, read
from hypothesis import given, settings
from hypothesis import strategies as st
from mriimages import image_of, phantom, stored
from scipy.spatial.transform import Rotation

from MedPrepCommonLib.core.errors import Cancelled, InputError
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.volume import Volume
from MedPrepMRILib.brain.head import coarse, head
from MedPrepMRILib.fusion.onto_grid import onto
from MedPrepMRILib.fusion.registration import register
from MedPrepMRILib.fusion.same_head import check, likeness

ALL = ("T1", "T2", "FLAIR")


def brain(**changes):
    return phantom(bias=0.2, sequences=ALL, **changes)


def points_of(image: Volume) -> np.ndarray:
    """RAS points (n, 3) all over the head."""
    small = coarse(image, 8.0)
    return np.argwhere(head(small))[:, ::-1] @ small.ijkToRAS[:3, :3].T + small.ijkToRAS[:3, 3]


def rigid(image: Volume, distance: float, angle: float, seed: int = 0) -> np.ndarray:
    """A motion about the head's middle: `distance` mm and `angle` degrees in random directions."""
    rng = np.random.default_rng(seed)
    axis, shift = rng.normal(size=(2, 3))
    motion, centre = np.eye(4), points_of(image).mean(axis=0)
    motion[:3, :3] = Rotation.from_rotvec(np.radians(angle) * axis / np.linalg.norm(axis)).as_matrix()
    motion[:3, 3] = centre + distance * shift / np.linalg.norm(shift) - motion[:3, :3] @ centre
    return motion


def moved(image: Volume, motion: np.ndarray) -> Volume:
    return dataclasses.replace(image, ijkToRAS=motion @ image.ijkToRAS)


def error(found: np.ndarray, truth: np.ndarray, points: np.ndarray) -> float:
    """Mean target registration error in mm."""
    apart = points @ (found - truth)[:3, :3].T + (found - truth)[:3, 3]
    return float(np.linalg.norm(apart, axis=1).mean())


# ---- registration
@pytest.mark.parametrize(("first", "second"), [("T1", "T2"), ("FLAIR", "T1")])
def test_a_known_motion_is_found_on_the_phantom(first, second) -> None:
    made = brain()
    fixed, other = image_of(made, first), image_of(made, second)
    motion = rigid(fixed, 10, 8, seed=1)
    found = register(fixed, moved(other, motion))
    assert error(found.matrix, motion, points_of(fixed)) < 0.3
    assert found.inconsistency < 0.3 and found.rotation == pytest.approx(8, abs=0.3)
    assert found.information[1] > 2 * found.information[0]
    turn = found.matrix[:3, :3]
    assert np.abs(turn.T @ turn - np.eye(3)).max() < 1e-7 and np.linalg.det(turn) == pytest.approx(1)
    assert found.matrix[3].tolist() == [0, 0, 0, 1]


def test_a_known_motion_is_found_between_real_t1_and_t2(shared_data) -> None:
    folder = shared_data / "mri/stroke-multiseq"
    fixed, other = read(folder / "t1.nii.gz"), read(folder / "t2.nii.gz")
    motion = rigid(fixed, 10, 8)
    found = register(fixed, moved(other, motion))
    assert error(found.matrix, motion, points_of(fixed)) <= 1.0
    assert found.inconsistency < 0.5


def test_heads_far_apart() -> None:
    made = brain()
    fixed = image_of(made)
    motion = rigid(fixed, 150, 20, seed=5)
    found = register(fixed, moved(image_of(made, "T2"), motion))
    assert error(found.matrix, motion, points_of(fixed)) < 0.5


def test_other_grids_and_orientations() -> None:
    fixed = image_of(brain())
    slab = image_of(phantom(bias=0.2, shape=(18, 90, 76), spacing_kji=(6.0, 2.4, 2.4), sequences=ALL), "T2")
    motion = rigid(fixed, 6, 5, seed=2)
    straight = register(fixed, moved(slab, motion))
    assert error(straight.matrix, motion, points_of(fixed)) < 0.6
    turned = stored(moved(slab, motion), (2, 0, 1), (True, False, True))
    found = register(stored(fixed, (1, 2, 0), (False, True, False)), turned)
    assert error(found.matrix, motion, points_of(fixed)) < 0.6


def test_gain_offset_and_hot_voxels_do_not_matter() -> None:
    made = brain()
    fixed, other = image_of(made), image_of(made, "T2")
    motion = rigid(fixed, 5, 4, seed=3)
    array = other.array * np.float32(0.02) - 50
    array.ravel()[np.random.default_rng(0).choice(array.size, 40, replace=False)] = 1e6
    found = register(fixed, moved(other.with_array(array), motion))
    assert error(found.matrix, motion, points_of(fixed)) < 0.3


def test_the_same_images_give_the_same_matrix() -> None:
    made = brain()
    fixed, other = image_of(made), moved(image_of(made, "T2"), rigid(image_of(made), 4, 3))
    one, two = register(fixed, other), register(fixed, other)
    assert one.matrix.tobytes() == two.matrix.tobytes() and one.iterations == two.iterations


def test_aligned_images_stay() -> None:
    made = brain()
    found = register(image_of(made), image_of(made, "FLAIR"))
    assert found.displacement < 0.2 and found.information[1] >= found.information[0] - 0.01


def test_what_cannot_be_registered() -> None:
    image = image_of(brain())
    one = image.with_array(image.array[30:31])
    for pair in ((image, one), (one, image)):
        with pytest.raises(InputError, match="one slice"):
            register(*pair)
    with pytest.raises(InputError, match="No head"):
        register(image, image.with_array(np.zeros(image.shape, np.int16)))


def test_cancel_stops_at_the_next_iteration_and_progress_rises() -> None:
    made = brain()
    fixed, other = image_of(made), moved(image_of(made, "T2"), rigid(image_of(made), 10, 8))
    seen: list[float] = []
    with pytest.raises(Cancelled):
        register(fixed, other, Job(lambda f, _m: seen.append(f), lambda: bool(seen) and seen[-1] > 0.42))
    assert seen == sorted(seen) and len(seen) > 10
    assert sum(fraction > 0.42 for fraction in seen) == 1, "nothing happens after the cancel"


# ---- onto another grid
def smooth(shape=(20, 24, 28), spacing=(2.0, 2.5, 3.0), seed: int = 0) -> Volume:
    """An image of low frequencies, which any good interpolation keeps."""
    k, j, i = np.meshgrid(
        *(np.arange(n) * s for n, s in zip(shape, spacing[::-1], strict=True)), indexing="ij"
    )
    array = 100 + 30 * np.sin(k / 9) * np.cos(j / 11) + 20 * np.sin(i / 13 + seed)
    return Volume(array.astype(np.float32), matrix(spacing, (10.0, -20.0, 5.0)))


@functools.lru_cache
def turned_target() -> Volume:
    directions = Rotation.from_euler("xyz", (12, -7, 20), degrees=True).as_matrix() @ np.diag([-1.0, 1, 1])
    return Volume(np.zeros((18, 22, 20), np.uint8), matrix((2.2, 2.2, 2.6), (-12.0, -50.0, 20.0), directions))


@pytest.mark.parametrize(("method", "itk"), [("cubic", sitk.sitkBSpline), ("linear", sitk.sitkLinear)])
def test_turned_grids_equal_itk(method, itk) -> None:
    image, target = smooth(), turned_target()
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec([0.1, 0.05, -0.08]).as_matrix()
    motion[:3, 3] = (3, -4, 2)
    values, covered = onto(image, target, motion, method)
    flip = np.diag([-1.0, -1, 1, 1])
    lps = flip @ motion @ flip
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(lps[:3, :3].ravel().tolist())
    transform.SetTranslation(lps[:3, 3].tolist())
    wanted = sitk.GetArrayFromImage(sitk.Resample(image.to_sitk(), target.to_sitk(), transform, itk, -1.0))
    assert covered.sum() > 1000
    inside = covered & (wanted > 0)
    # The target is coarser along one axis only by a little: the antialiasing there changes next to nothing.
    assert np.abs(values - wanted)[inside].max() < 0.3
    assert (values[~covered] == image.array.min()).all()


@settings(max_examples=15)
@given(axes=st.permutations(range(3)), flips=st.tuples(*[st.booleans()] * 3))
def test_axes_in_any_order_are_copied_exactly(axes, flips) -> None:
    image = smooth()
    values, covered = onto(image, stored(image, tuple(axes), flips), np.eye(4))
    assert np.array_equal(values, stored(image, tuple(axes), flips).array) and covered.all()
    assert not np.shares_memory(values, image.array)


def test_parallel_grids_equal_the_turned_way() -> None:
    image = smooth()
    target = Volume(np.zeros((16, 30, 26), np.uint8), matrix((1.7, 2.1, 2.9), (9.0, -21.0, 7.0)))
    straight, covered = onto(image, target, np.eye(4))
    nearly = np.eye(4)
    nearly[:3, :3] = Rotation.from_rotvec([0, 0, 2e-4]).as_matrix()
    other, _covered = onto(image, target, nearly)
    inside = tuple(slice(2, -2) for _ in range(3))
    assert np.abs(straight - other)[inside].max() < 0.2 and covered[inside].all()


def test_what_the_image_does_not_reach() -> None:
    image = smooth()
    target = dataclasses.replace(
        image, ijkToRAS=image.ijkToRAS @ matrix(origin=(10, 0, 0), directions=np.eye(3))
    )
    values, covered = onto(image, target, np.eye(4))
    assert covered[..., :18].all() and not covered[..., 18:].any()
    assert np.array_equal(values[..., :18], image.array[..., 10:])
    assert (values[..., 18:] == image.array.min()).all()


def test_no_new_extremes_and_whole_numbers_in() -> None:
    array = (np.indices((16, 16, 16)).sum(axis=0) % 7 < 3).astype(np.int16) * 1000 - 200
    image = Volume(array, matrix())
    values, _covered = onto(image, turned_target(), np.eye(4))
    assert values.dtype == np.float32 and values.min() >= -200 and values.max() <= 800


def test_cancel_while_resampling() -> None:
    with pytest.raises(Cancelled):
        onto(smooth(), turned_target(), np.eye(4), job=Job(cancelled=lambda: True))


# ---- the head, and whether it is the same
@pytest.mark.parametrize("stripped", [False, True])
def test_the_head_holds_the_brain(stripped) -> None:
    made = brain(skull_stripped=stripped)
    for name in ALL:
        image = image_of(made, name)
        for gain, offset in ((1, 0), (0.01, 55), (30, -700)):
            found = head(image.with_array(image.array * np.float32(gain) + np.float32(offset)))
            assert found[made.brain].mean() > 0.98
            if stripped:
                assert found.sum() < 1.1 * made.brain.sum()
    assert not head(Volume(np.zeros((5, 6, 7), np.int16), np.eye(4))).any()


def test_sequences_of_one_head_pass_and_others_do_not(shared_data) -> None:
    stroke, adi = shared_data / "mri/stroke-multiseq", shared_data / "mri/adi-t1-t2"
    t1, t2, flair = (read(stroke / f"{name}.nii.gz") for name in ("t1", "t2", "flair"))
    whole1, whole2 = read(adi / "t1-mprage.nii.gz"), read(adi / "t2-fse.nii.gz")
    for pair in ((t1, t2), (t1, flair), (whole1, whole2), (whole2, whole1)):
        assert check("x", likeness(*pair, np.eye(4))).verdict == "pass"
    shift = np.eye(4)
    shift[:3, 3] = (5, 0, 5)
    for pair in ((t1, t2), (t1, flair), (whole1, whole2), (whole2, whole1)):
        assert check("x", likeness(*pair, shift)).verdict == "warn"
    other = check("x", likeness(whole1, t2, np.eye(4)))
    assert other.verdict == "fail" and "same" not in other.advice.lower()[:5] and other.advice


def test_images_that_do_not_meet_are_refused() -> None:
    image = image_of(brain())
    away = np.eye(4)
    away[:3, 3] = 500
    with pytest.raises(InputError, match="covers 0 %"):
        likeness(image, image, away)
