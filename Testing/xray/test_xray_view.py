"""What a radiograph shows: frontal or lateral chest, limb, slice; and whether it lies as its header says."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import SimpleITK as sitk
from lungimages import chest_ct
from typer.testing import CliRunner

from MedPrepCommonLib.cli import app
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.recognition import SURE, recogniser
from MedPrepCommonLib.core.volume import Volume
from MedPrepCommonLib.files.reading import read_volume
from MedPrepCommonLib.phantoms.projection import project_radiograph
from MedPrepXrayLib.view import network
from MedPrepXrayLib.view.recognising import judged, recognise

PICTURE = np.diag([-1.0, -1.0, 1.0, 1.0])


def seen(plane: np.ndarray, **fields):
    image = Volume(np.ascontiguousarray(plane)[np.newaxis], PICTURE, modality="DX", **fields)
    return recognise(image, Job.quiet())


@pytest.fixture(scope="module")
def chests(shared_data) -> list[np.ndarray]:
    folder = shared_data / "xr" / "chest-lungs"
    paths = [path for path in sorted(folder.glob("*.png")) if "_lungs" not in path.name]
    return [read_volume(path).array[0] for path in paths[::8]]


@pytest.fixture(scope="module")
def lateral() -> np.ndarray:
    ct = chest_ct(metal=False)[0]
    turned = np.ascontiguousarray(np.rot90(ct.array, 1, (1, 2)))  # rays from side to side
    return project_radiograph(dataclasses.replace(ct, array=turned), pixel=2.0).image.array[0]


def test_it_is_asked_for_radiographs() -> None:
    assert recogniser("CR") is recogniser("DX") is recognise


def test_frontal_chests_as_they_lie(chests) -> None:
    for plane in chests:
        for turns, words in enumerate(("", "counter-clockwise", "upside down", ", clockwise")):
            found = seen(np.rot90(plane, turns))
            assert (found.kind, found.parts) == ("frontal", ("chest",)) and found.confidence > SURE
            assert words in found.placement and bool(words) == bool(found.placement)
            assert found.placement_confidence > SURE
        assert seen(plane.max() - plane).kind == "frontal"  # polarity is another matter


def test_left_and_right_by_the_heart_against_the_header(chests) -> None:
    """Not every heart tells; none tells wrong."""
    exchanged = [seen(plane[:, ::-1]).placement for plane in chests]
    assert any("exchanged" in words for words in exchanged)
    assert all(words == "" or "left and right are exchanged" in words for words in exchanged)
    stated = [seen(plane[:, ::-1], info={"patientOrientation": "R\\F"}).placement for plane in chests]
    assert not any(stated)
    wrong = [seen(plane, info={"patientOrientation": "R\\F"}).placement for plane in chests]
    assert [bool(words) for words in wrong] == [bool(words) for words in exchanged]


def test_what_is_no_frontal_chest(lateral, shared_data) -> None:
    found = seen(lateral)
    assert (found.kind, found.parts) == ("lateral", ("chest",)) and found.confidence > SURE
    ct = read_volume(shared_data / "ct" / "lidc0314-2mm" / "ct.nii.gz")
    coronal = np.clip((ct.array[::-1, 120] + 1350.0) / 1500 * 255, 0, 255).astype(np.uint8)
    found = seen(coronal)
    assert found.kind == "slice" and found.confidence > SURE and "no radiograph" in found.words()
    hip = read_volume(shared_data / "ct-metal" / "ts-hip-implant" / "ct.nii.gz")
    found = seen(project_radiograph(hip, pixel=3.0).image.array[0])
    assert found.kind == "other" and found.confidence >= SURE


def test_nothing_is_said_of_what_is_no_picture() -> None:
    for array in (np.zeros((1, 60, 60), np.uint8), np.arange(27000).reshape(30, 30, 30)):
        found = recognise(Volume(array, PICTURE, modality="DX"), Job.quiet())
        assert (found.kind, found.parts, found.placement) == ("", (), "")


def test_doubt_is_no_frontal_chest() -> None:
    shares = np.zeros(network.CLASSES)
    shares[0], shares[-1] = 0.95, 0.05
    assert judged(shares).kind == "frontal" and judged(shares).placement == ""
    shares[0], shares[-1] = 0.7, 0.3
    assert judged(shares).kind == "other" and judged(shares).confidence >= SURE
    assert "70 %" in judged(shares).evidence


def test_mirror_images_are_understood_as_such() -> None:
    """Either order of the image and its mirror image says the same, but for the side."""
    plane = np.random.default_rng(1).normal(size=(2, network.SIDE, network.SIDE)).astype(np.float32)
    one, other = (network.shares_of_both(np.ascontiguousarray(p)) for p in (plane, plane[:, :, ::-1]))
    assert one.sum() == pytest.approx(1) and np.allclose(one[8:], other[8:])
    for n, (turns, mirrored) in enumerate(network.PLACEMENTS):
        assert one[n] == pytest.approx(other[network.PLACEMENTS.index((-turns % 4, not mirrored))])


@pytest.mark.parametrize(("kind", "line", "says"), [
    ("lateral", "View", "This looks like a lateral view; the recipe is for a frontal view"),
    ("upside down", "Orientation", "The image contradicts its header"),
])  # fmt: skip
def test_the_classical_recipe_refuses_by_content(kind, line, says, lateral, chests, tmp_path) -> None:
    plane = lateral if kind == "lateral" else np.rot90(chests[0], 2)
    plane = np.rint(plane * (255 / plane.max())).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(np.ascontiguousarray(plane)), str(tmp_path / "x.png"))
    out = tmp_path / "out"
    arguments = [
        "run",
        "xray-chest-classical",
        "--input",
        f"image={tmp_path / 'x.png'}",
        "--out",
        str(out),
        "-q",
    ]
    done = CliRunner().invoke(app.app, arguments)
    assert done.exit_code == 3, done.output
    lines = {check["name"]: check for check in json.loads((out / "qc.json").read_text())["checks"]}
    assert lines[line]["verdict"] == "fail" and says in lines[line]["advice"]
    assert not list(out.glob("*.nii.gz"))
