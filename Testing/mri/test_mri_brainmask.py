"""The brain mask: whole and stripped heads, three sequences, any way of storing them, slabs and slices."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from ctimages import body, read
from mriimages import image_of, phantom, stored
from scipy import ndimage

from MedPrepCommonLib.core import engine
from MedPrepCommonLib.core.errors import InputError
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.core.terminology import terminology_entry
from MedPrepCommonLib.core.volume import Volume
from MedPrepMRILib.brain.head_cells import block_means, foreground, without_holes
from MedPrepMRILib.brain.mask import find_brain, find_tissue
from MedPrepMRILib.brain.surface import Places, filled, icosphere

SEQUENCES = ("T1", "T2", "FLAIR")
WHOLE = {"shape": (96, 108, 90), "spacing_kji": (2.0, 2.0, 2.0), "sequences": SEQUENCES}
# Coarser: where not the last percent of the border is asked for, but what stays the same.
COARSE = {"shape": (64, 72, 60), "spacing_kji": (3.0, 3.0, 3.0), "sequences": SEQUENCES}


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b)))


@lru_cache
def brain_of(bias: float = 0.4, sequence: str = "T1") -> np.ndarray:
    """The mask found in a whole head."""
    mask, stripped = find_brain(image_of(phantom(bias, **WHOLE), sequence))
    assert not stripped
    return mask


@lru_cache
def coarse_brain():
    """The operation's result on the coarse head."""
    return masked(image_of(phantom(0.4, **COARSE)))


def masked(image: Volume, **parameters):
    return engine.run(create("mri.brainMask", **parameters), {"image": image})


@pytest.mark.parametrize(("sequence", "bias"), [("T1", 0.8), ("T2", 0.4), ("FLAIR", 0.8)])
def test_the_brain_of_a_whole_head(sequence, bias) -> None:
    made, mask = phantom(bias, **WHOLE), brain_of(bias, sequence)
    # On T2 nothing parts CSF from the marrow of the skull but a dark rim of two millimetres.
    assert dice(mask, made.brain) > (0.9 if sequence == "T2" else 0.95)
    # Next to nothing of white and grey matter is lost.
    assert mask[made.labels >= 2].mean() > 0.94


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_the_brain_of_a_stripped_head(sequence) -> None:
    made = phantom(0.4, **{**COARSE, "skull_stripped": True})
    result = masked(image_of(made, sequence))
    # Half a voxel of 3 mm at the border is four percent.
    assert dice(result.labels["mask"].mask(), made.brain) > 0.95
    assert result.metrics["skullStripped"] and "skull-stripped" in result.notes[0]


@pytest.mark.parametrize(
    ("axes", "flips"),
    [((2, 1, 0), (False,) * 3), ((1, 2, 0), (True, False, True)), ((0, 1, 2), (True, True, False))],
)
def test_stored_orientation_does_not_matter(axes, flips) -> None:
    made = phantom(0.4, **COARSE)
    image = image_of(made)
    wanted = coarse_brain().labels["mask"].mask()
    turned = stored(image, axes, flips)
    found, _ = find_brain(turned)
    back = np.flip(found, [n for n in range(3) if flips[n]]).transpose(np.argsort(axes))
    assert dice(back, wanted) > 0.985


def test_upside_down_is_found_by_the_matrix() -> None:
    """The vertex is up in the patient, whichever way the slices run."""
    made = phantom(0.4, **COARSE)
    image = image_of(made)
    wrong = image.ijkToRAS.copy()
    wrong[2] *= -1
    turned = Volume(image.array[::-1], image.ijkToRAS @ _flip_k(len(image.array)), modality="MR")
    found, _ = find_brain(turned)
    assert dice(found[::-1], coarse_brain().labels["mask"].mask()) > 0.985
    # The same voxels with the neck up: it is taken for the head, which is wrong, but nothing breaks.
    assert find_brain(Volume(image.array, wrong, modality="MR"))[0].any()


def _flip_k(n: int) -> np.ndarray:
    flip = np.diag([1.0, 1.0, -1.0, 1.0])
    flip[2, 3] = n - 1
    return flip


def test_anisotropic_voxels() -> None:
    made = phantom(0.4, shape=(36, 108, 90), spacing_kji=(5.0, 2.0, 2.0))
    mask, _ = find_brain(image_of(made))
    assert dice(mask, made.brain) > 0.92


@pytest.mark.parametrize(
    "part",
    [np.s_[48:66], np.s_[:, 50:60], np.s_[:, :, 40:49], np.s_[58:59], np.s_[:, 55:56], np.s_[:, :, 42:43]],
)
def test_slabs_and_slices(part) -> None:
    made = phantom(0.4, **WHOLE)
    mask, stripped = find_brain(image_of(made).with_array(made.images["T1"][part]))
    assert not stripped
    assert dice(mask, made.brain[part]) > 0.87


def test_foreground_is_what_gives_signal() -> None:
    made = phantom(0.4, **WHOLE)
    image = image_of(made)
    found = foreground(image)
    assert found[made.labels >= 2].mean() > 0.99
    air = ndimage.binary_erosion(made.clean["T1"] == 0, iterations=2)
    assert found[air].mean() < 0.001
    label = masked(image, region="foreground").labels["mask"]
    assert np.array_equal(label.mask(), found) and label.segments[0].name == "foreground"
    # Without a given mask a bias corrector takes the same, or the brain of a stripped head.
    assert np.array_equal(find_tissue(image), found)
    bare = phantom(0.4, **{**COARSE, "skull_stripped": True})
    assert dice(find_tissue(image_of(bare)), bare.brain) > 0.95


def test_foreground_of_another_part_of_the_body() -> None:
    volume = body((16, 48, 56), spacing=(5.0, 5.0, 8.0))
    chest = Volume((volume.array.clip(-1000, 900) + 1000).astype(np.uint16), volume.ijkToRAS, modality="MR")
    found = foreground(chest)
    y, x = np.meshgrid(np.linspace(-1, 1, 48), np.linspace(-1, 1, 56), indexing="ij")
    muscle = ((x / 0.85) ** 2 + (y / 0.7) ** 2 < 0.8) & (chest.array[8] > 900)
    assert found[8][muscle].mean() > 0.98
    assert found[8][(x / 0.85) ** 2 + (y / 0.7) ** 2 > 1.1].mean() < 0.001


def test_the_label_says_what_it_is() -> None:
    made = phantom(0.4, **COARSE)
    image = image_of(made)
    result = coarse_brain()
    label = result.labels["mask"]
    assert label.array.dtype == np.uint8 and label.same_grid(image)
    assert "SCT^12738006^Brain" in terminology_entry(label.segments[0])
    volume = label.mask().sum() * image.voxel_volume / 1000
    assert result.metrics["volume"] == pytest.approx(volume)
    assert result.checks[0].verdict != "fail" and f"{volume:.0f} ml" == result.checks[0].value


def test_a_smaller_fraction_gives_a_larger_brain() -> None:
    made = phantom(0.4, **COARSE)
    larger = masked(image_of(made), fraction=0.3).metrics["volume"]
    assert larger > 1.03 * coarse_brain().metrics["volume"]


def test_an_odd_size_is_warned_about() -> None:
    made = phantom(0.4, **COARSE)
    shrunk = image_of(made)
    small = Volume(shrunk.array, shrunk.ijkToRAS @ np.diag([0.6, 0.6, 0.6, 1.0]), modality="MR")
    check = next(check for check in masked(small).checks if check.name == "Brain volume")
    assert check.verdict != "pass" and check.advice


@pytest.mark.parametrize("value", [0, -3, 100])
def test_an_image_without_contrast(value) -> None:
    flat = Volume(np.full((20, 30, 30), value, np.int16), np.diag([2.0, 2.0, 2.0, 1.0]), modality="MR")
    for region in ("brain", "foreground"):
        with pytest.raises(InputError, match="Every voxel"):
            masked(flat, region=region)


def test_the_same_mask_twice_and_cancel_is_asked_often() -> None:
    made = phantom(0.4, **COARSE)
    asked = []
    found, _ = find_brain(image_of(made), job=Job(cancelled=lambda: asked.append(1) and False))
    assert np.array_equal(found, coarse_brain().labels["mask"].mask())
    assert len(asked) > 60


# ---- real heads
@pytest.mark.parametrize(("name", "least"), [("t1", 0.995), ("t2", 0.95), ("flair", 0.97)])
def test_real_stripped_heads(name, least, shared_data) -> None:
    image = read(shared_data / f"mri/stroke-multiseq/{name}.nii.gz")
    reference = read(shared_data / "mri/stroke-multiseq/brainmask-derived.nii.gz").array > 0
    mask, stripped = find_brain(image)
    assert stripped and dice(mask, reference) > least


def test_a_real_whole_head_in_two_sequences(shared_data) -> None:
    """T1 and T2 of one volunteer, on different grids: the brains lie in the same place."""
    t1 = read(shared_data / "mri/adi-t1-t2/t1-mprage.nii.gz")
    t2 = read(shared_data / "mri/adi-t1-t2/t2-fse.nii.gz")
    (brain1, _), (brain2, _) = find_brain(t1), find_brain(t2)
    for brain, volume in ((brain1, t1), (brain2, t2)):
        assert 1200 < brain.sum() * volume.voxel_volume / 1000 < 2000
    voxels = np.argwhere(brain2)[::97, ::-1]
    places = t2.ijkToRAS[:3, :3] @ voxels.T + t2.ijkToRAS[:3, 3:]
    back = np.linalg.inv(t1.ijkToRAS)
    k, j, i = np.rint(back[:3, :3] @ places + back[:3, 3:]).astype(int)[::-1]
    inside = (k >= 0) & (j >= 0) & (i >= 0) & (k < t1.shape[0]) & (j < t1.shape[1]) & (i < t1.shape[2])
    assert brain1[k[inside], j[inside], i[inside]].mean() > 0.9


@pytest.mark.parametrize("order", ["RAS", "PIR", "SRP"])
def test_real_orientations(order, shared_data) -> None:
    image = read(shared_data / f"odd/orientations/{order}.nii.gz")
    mask, stripped = find_brain(image)
    assert stripped and 2100 < mask.sum() * image.voxel_volume / 1000 < 2700


# ---- the parts
def test_the_sphere_is_one() -> None:
    for level, count in ((0, 12), (2, 162), (3, 642)):
        points, triangles = icosphere(level)
        assert len(points) == count and len(triangles) == 2 * count - 4
        assert np.linalg.norm(points, axis=1) == pytest.approx(np.ones(count))
        a, b, c = (points[triangles[:, n]] for n in range(3))
        assert (np.sum(np.cross(b - a, c - a) * a, axis=1) > 0).all()


def test_values_between_voxels_are_scipys() -> None:
    rng = np.random.default_rng(4)
    image = rng.normal(size=(7, 9, 11)).astype(np.float32)
    places = rng.uniform(-2, 13, (3, 4, 500))
    places[:, :, :40] = np.rint(places[:, :, :40])
    found = Places(places, image.shape).read(image)
    wanted = ndimage.map_coordinates(image, places, order=1, mode="nearest")
    assert np.abs(found - wanted).max() < 1e-5
    assert np.array_equal(Places(places, image.shape).first(2).read(image), found[:2])


@pytest.mark.parametrize("center", [(20, 22, 24), (2, 3, 24)])
def test_a_surface_is_filled(center) -> None:
    points, triangles = icosphere(4)
    spacing = np.array([2.0, 1.5, 1.0])
    inside = filled(np.array(center) * spacing + 18.0 * points, triangles, spacing, (40, 44, 48))
    index = np.indices(inside.shape).reshape(3, -1).T
    distance = np.linalg.norm((index - center) * spacing, axis=1).reshape(inside.shape)
    assert inside[distance < 17].all() and not inside[distance > 19.5].any()


@pytest.mark.parametrize("shape", [(40, 50), (12, 20, 22)])
def test_holes_are_those_of_scipy(shape) -> None:
    rng = np.random.default_rng(len(shape))
    cells = ndimage.gaussian_filter(rng.normal(size=shape), 1.2) > 0
    cells[(slice(3, 10),) * len(shape)] = True
    cells[(slice(5, 8),) * len(shape)] = False
    expected = ndimage.binary_fill_holes(cells)
    assert (expected != cells).any() and not expected.all()
    assert np.array_equal(without_holes(cells), expected)


def test_block_means() -> None:
    rng = np.random.default_rng(0)
    array = rng.integers(-100, 900, (7, 9, 11)).astype(np.int16)
    found = block_means(array, (2, 3, 4), Job.quiet())
    assert found.shape == (4, 3, 3)
    for index in np.ndindex(found.shape):
        block = array[tuple(slice(n * f, (n + 1) * f) for n, f in zip(index, (2, 3, 4), strict=True))]
        assert found[index] == pytest.approx(block.mean(), rel=1e-5)
