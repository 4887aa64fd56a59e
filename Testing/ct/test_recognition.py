"""What a CT shows and how it lies: told from the content, held against recipe and header."""

import dataclasses
import itertools

import numpy as np
import pytest
from scipy import ndimage

from MedPrepCommonLib.core import input_checks, recipe, runner
from MedPrepCommonLib.core.input_check import Wanted
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.volume import Volume
from MedPrepCommonLib.files.reading import read_volume
from MedPrepCommonLib.phantoms.chest import make_chest_phantom
from MedPrepCTLib.recognition.cells import Cells
from MedPrepCTLib.recognition.ct import recognise
from MedPrepCTLib.recognition.parts import find_parts

# k to the head, j to the back, i to the patient's left, 4 mm.
UP = np.diag([-4.0, -4.0, 4.0, 1.0])


def volume(hu):
    return Volume(np.asarray(hu, np.int16), UP, modality="CT")


def ball(shape, centre, radii):
    """Distance of each cell from a centre in units of the radii, all in mm (k, j, i)."""
    places = np.indices(shape) * 4.0
    return np.sqrt(sum(((p - c) / r) ** 2 for p, c, r in zip(places, centre, radii, strict=True)))


def head():
    """A skull with a brain, the air of a nose in front, a neck with a windpipe; 60 x 64 x 52 cells."""
    shape = (60, 64, 52)
    hu = np.full(shape, -1000)
    k, j, i = np.indices(shape) * 4.0
    hu[(np.hypot(j - 135, i - 104) < 56) & (k < 100)] = 50
    hu[(np.hypot(j - 155, i - 104) < 14) & (k < 100)] = 500
    hu[(np.hypot(j - 105, i - 104) < 9) & (k < 90)] = -950
    skull = ball(shape, (150, 128, 104), (85, 95, 78))
    hu[skull < 1] = 40
    hu[skull < 0.95] = 700
    hu[skull < 0.87] = 35
    hu[(np.abs(i - 104) < 14) & (np.abs(k - 105) < 20) & (np.abs(j - 60) < 18)] = -900
    return volume(hu)


def thigh():
    hu = np.full((40, 50, 50), -1000)
    _k, j, i = np.indices(hu.shape) * 4.0
    away = np.hypot(j - 100, i - 100)
    hu[away < 80], hu[away < 70], hu[away < 16], hu[away < 8] = -100, 50, 1200, 20
    return volume(hu)


def bottle():
    hu = np.full((40, 50, 50), -1000)
    _k, j, i = np.indices(hu.shape) * 4.0
    hu[np.hypot(j - 100, i - 100) < 80] = 3
    return volume(hu)


def chest():
    made = make_chest_phantom(shape=(46, 64, 64), spacing_kji=(8.0, 6.0, 6.0))
    return Volume(made.hu, made.ijkToRAS, modality="CT")


def flipped(image, axes):
    """The array's axes reversed and the header left as it was: what a wrong header does."""
    return image.with_array(np.ascontiguousarray(np.flip(image.array, axes)))


@pytest.mark.parametrize(
    ("make", "parts"),
    [(head, ("head", "neck")), (thigh, ("limb",)), (bottle, ("object",)), (chest, ("chest",))],
)
def test_parts_of_made_bodies(make, parts):
    found = recognise(make(), Job.quiet())
    assert found.parts == parts and found.confidence >= 0.5 and found.evidence
    assert found.placement == ""


def test_what_has_no_hounsfield_units_or_is_tiny_is_left_open():
    for image in (chest().with_array(chest().array.astype(np.float32) / 400), volume(np.zeros((4, 4, 4)))):
        found = recognise(image, Job.quiet())
        assert found.parts == () and found.confidence == 0


@pytest.mark.parametrize("axes", [c for n in (1, 2, 3) for c in itertools.combinations((0, 1, 2), n)])
def test_every_flipped_header_of_a_chest_fails(axes, shared_data):
    for image in (chest(), read_volume(shared_data / "ct/cip-ct64/ct.nrrd")):
        assert recognise(image, Job.quiet()).placement == ""
        found = recognise(flipped(image, axes), Job.quiet())
        assert ("upside down" in found.placement) == (0 in axes)
        assert ("front and back" in found.placement) == (1 in axes)
        assert ("left and right" in found.placement) == (2 in axes)
        assert found.placement_confidence >= 0.5


def test_a_chest_turned_on_its_side_fails():
    image = chest()
    turned = image.with_array(np.ascontiguousarray(np.rot90(image.array, 1, (1, 2))))
    assert "turned on its side" in recognise(turned, Job.quiet()).placement


@pytest.mark.parametrize(("axes", "words"), [((0,), "upside down"), ((1,), "front and back"), ((2,), "")])
def test_a_head_has_a_top_and_a_face_but_no_side(axes, words):
    found = recognise(flipped(head(), axes), Job.quiet()).placement
    assert words in found and bool(found) == bool(words)


def test_stored_order_does_not_matter():
    image = chest()
    stored = np.ascontiguousarray(image.array.transpose(2, 0, 1)[::-1])
    matrix = image.ijkToRAS.copy()
    # New axes i, j, k are the old j, k, i, the last one backwards.
    matrix[:3, :3] = np.stack([image.ijkToRAS[:3, 1], image.ijkToRAS[:3, 2], -image.ijkToRAS[:3, 0]], 1)
    matrix[:3, 3] = image.ijkToRAS[:3, 3] + image.ijkToRAS[:3, 0] * (image.shape[2] - 1)
    found = recognise(Volume(stored, matrix, modality="CT"), Job.quiet())
    assert found.parts == ("chest",) and found.placement == "" and found.placement_confidence >= 0.5


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("ct/lidc0314-2mm/ct.nii.gz", "chest"),
        ("ct/lungdx-a0002-8mm-b40f/dicom", "chest"),
        ("odd/single-slice/ct_1slice.nii.gz", "chest"),
        ("ct/lungmask-2slices", "chest"),
        ("ct/ts-j2k-dicom/dicom", "abdomen"),
        ("ct-metal/ts-hip-implant/ct.nii.gz", "abdomen"),
    ],
)
def test_real_scans_are_what_they_are_and_no_other_part(path, part, shared_data):
    image = read_volume(shared_data / path)
    image = dataclasses.replace(image, modality="CT", info={})
    found = recognise(image, Job.quiet())
    assert part in found.parts and found.placement == ""
    for wanted in ("chest", "head", "abdomen"):
        lines = {line.id: line.check for line in input_checks.judge(image, Wanted("CT", wanted))}
        assert lines["part"].verdict == ("pass" if wanted == part else "fail")


def test_slabs_of_a_chest_are_a_chest(shared_data):
    image = read_volume(shared_data / "ct/cip-ct64/ct.nrrd")
    for box in (np.s_[40:41], np.s_[30:50], np.s_[25:60, :, :32], np.s_[25:60, :32, 32:]):
        hu = image.array[box]
        spacing = image.spacing_kji
        assert find_parts(Cells.of(hu[:, ::1], spacing, Job.quiet())).names == ("chest",)


def test_noise_and_a_table_do_not_matter():
    image = chest()
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 60, image.shape), 0.5)
    assert recognise(image.with_array((image.array + noise).astype(np.int16)), Job.quiet()).parts == (
        "chest",
    )


def test_a_recipe_for_another_part_stops_and_says_why():
    done = runner.run(recipe.load("ct-brain"), {"image": chest()})
    assert done.refusal is not None and done.refusal.ids == ("part",) and not done.result.images
    line = next(check for check in done.result.checks if check.name == "Part of the body")
    assert "This looks like a chest; the recipe is for a head" in line.advice
