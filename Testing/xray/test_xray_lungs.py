"""Lung fields: network and mean chest on projected radiographs, sides, plausibility, what is no chest."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest
from lungimages import chest_radiograph, dice, moved
from scipy import ndimage

from MedPrepCommonLib.core import engine
from MedPrepCommonLib.core.errors import FileError, GeometryError, MissingPackageError
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.core.terminology import terminology_entry
from MedPrepCommonLib.core.volume import Volume
from MedPrepCommonLib.demo import xray
from MedPrepXrayLib.lungs import input, model
from MedPrepXrayLib.lungs import shape as lungshape
from MedPrepXrayLib.lungs.fields import find_lung_fields
from MedPrepXrayLib.lungs.polarity import DOUBTFUL, estimate_polarity

PICTURE = np.diag([-1.0, -1.0, 1.0, 1.0])
METHODS = ("model", "classical")


@pytest.fixture(scope="module")
def plane() -> np.ndarray:
    return chest_radiograph().image.array[0]


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return chest_radiograph().lungs.array[0]


def picture(plane: np.ndarray, **fields) -> Volume:
    """A plane as a picture file holds it: one slice, size of a pixel unknown."""
    return Volume(plane[np.newaxis], PICTURE, **{"info": {"spacingKnown": False}, **fields})


def lung_fields(image: Volume, **parameters):
    return engine.run(create("xray.lungFields", **parameters), {"image": image})


def verdicts(result) -> dict[str, str]:
    return {check.name: check.verdict for check in result.checks}


# ---- how near to the truth
@pytest.mark.parametrize(("method", "least"), [("model", 0.92), ("classical", 0.8)])
def test_both_lungs_of_the_phantom(plane, truth, method, least) -> None:
    found = find_lung_fields(plane, method=method).sides
    assert dice(found == 1, truth == 1) > least
    assert dice(found == 2, truth == 2) > least


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image,
        lambda image: (image >> 4).astype(np.uint8),
        lambda image: image.astype(np.uint16) * 16,
        lambda image: 4095 - image,
        lambda image: image.astype(np.float64) * -3.7e-5 + 2.0,
    ],
    ids=["12 bits", "8 bits", "16 bits", "inverted", "negative floats"],
)
def test_depth_and_polarity_cost_nothing(plane, truth, change) -> None:
    wanted = dice(find_lung_fields(plane).sides > 0, truth > 0)
    assert dice(find_lung_fields(change(plane)).sides > 0, truth > 0) > wanted - 0.01


@pytest.mark.parametrize(("angle", "scale"), [(10, 1), (-10, 1), (0, 0.7), (0, 1.3)])
def test_turned_and_scaled_lungs_are_found(plane, truth, angle, scale) -> None:
    wanted = dice(find_lung_fields(plane).sides > 0, truth > 0)
    found = find_lung_fields(moved(plane, angle, scale)).sides
    assert dice(found > 0, moved(truth, angle, scale, order=0) > 0) > wanted - 0.03


@pytest.mark.parametrize("shape", [(75, 150), (150, 75), (600, 450)])
def test_pixels_of_any_size_and_proportion(plane, truth, shape) -> None:
    """The same picture with fewer rows or columns, or with more of both, each as large as it is then."""
    zoom = [a / b for a, b in zip(shape, plane.shape, strict=True)]
    other = ndimage.zoom(plane.astype(float), zoom, order=1, grid_mode=True, mode="nearest")
    found = find_lung_fields(other, (1 / zoom[0], 1 / zoom[1])).sides
    assert found.shape == shape
    back = found[
        np.ix_(*(((np.arange(n) + 0.5) * z).astype(int) for n, z in zip(plane.shape, zoom, strict=True)))
    ]
    wanted = dice(find_lung_fields(plane).sides > 0, truth > 0)
    assert dice(back > 0, truth > 0) > wanted - 0.03


def test_polarity(plane) -> None:
    inverted, sure = estimate_polarity(plane)
    other, as_sure = estimate_polarity(4095 - plane)
    assert sure == pytest.approx(as_sure, abs=1e-3)
    assert inverted != other
    found, turned = find_lung_fields(plane), find_lung_fields(4095 - plane)
    assert not found.inverted and turned.inverted
    assert {"Polarity": "warn"}.items() <= verdicts(lung_fields(picture(4095 - plane))).items()
    for nothing in (np.zeros((64, 64)), np.ones((3, 900)), np.arange(5000).reshape(50, 100)):
        assert estimate_polarity(nothing)[1] < DOUBTFUL


# ---- segments, sides, table
@pytest.mark.parametrize("method", METHODS)
def test_segments_table_and_grid(plane, truth, method) -> None:
    image = chest_radiograph().image
    result = lung_fields(image, method=method)
    lungs = result.labels["lungs"]
    assert lungs.same_grid(image) and lungs.array.dtype == np.uint8
    assert [(s.value, s.name) for s in lungs.segments] == [(1, "right lung"), (2, "left lung")]
    assert "39607008^Lung~SCT^24028007^Right" in terminology_entry(lungs.segments[0])
    assert "39607008^Lung~SCT^7771000^Left" in terminology_entry(lungs.segments[1])
    assert dice(lungs.array[0] == 1, truth == 1) > 0.8  # rows to the feet, columns to the left, as projected
    table = result.tables["lungFields"]
    assert table.columns[1] == "area (cm2)"
    for row, value in zip(table.rows, (1, 2), strict=True):
        count = np.count_nonzero(lungs.array == value)
        assert row[1] == pytest.approx(count * 0.04) and row[2] == pytest.approx(100 * count / truth.size)
        assert 0.8 < row[3] <= 1
    areas = [row[1] for row in table.rows]
    assert result.metrics["symmetry"] == pytest.approx(min(areas) / max(areas))
    assert lung_fields(picture(plane), method=method).tables["lungFields"].columns[1] == "area (pixels)"


def test_sides_are_the_patients(plane, truth) -> None:
    """Mirrored in the file, or by its axes, or seen from behind: right stays right."""
    usual = lung_fields(picture(plane)).labels["lungs"].array[0]
    assert dice(usual == 1, truth == 1) > 0.9
    mirrored = np.ascontiguousarray(plane[:, ::-1])
    stated = lung_fields(picture(mirrored, info={"patientOrientation": "R\\F"})).labels["lungs"].array[0]
    assert dice(stated[:, ::-1] == 1, truth == 1) > 0.9
    unstated = lung_fields(picture(mirrored)).labels["lungs"].array[0]
    assert dice(unstated[:, ::-1] == 2, truth == 1) > 0.9
    by_axes = dataclasses.replace(picture(mirrored), ijkToRAS=np.diag([1.0, -1.0, 1.0, 1.0]))
    assert dice(lung_fields(by_axes).labels["lungs"].array[0][:, ::-1] == 1, truth == 1) > 0.9
    # A coronal picture may be stored upside down and mirrored: its place in the patient counts.
    image = chest_radiograph().image
    matrix = image.ijkToRAS.copy()
    matrix[:3, 3] = image.ijkToRAS[:3] @ [image.shape[2] - 1, image.shape[1] - 1, 0, 1]
    matrix[:3, :2] *= -1
    turned = dataclasses.replace(image, array=image.array[:, ::-1, ::-1], ijkToRAS=matrix)
    found = lung_fields(turned).labels["lungs"]
    assert np.array_equal(found.array[:, ::-1, ::-1], lung_fields(image).labels["lungs"].array)


def test_colours_and_several_slices(plane) -> None:
    grey = (plane >> 4).astype(np.uint8)
    wanted = lung_fields(picture(grey)).labels["lungs"].array
    colour = dataclasses.replace(picture(grey), array=np.repeat(grey[np.newaxis, ..., np.newaxis], 4, axis=3))
    result = lung_fields(colour)
    assert np.array_equal(result.labels["lungs"].array, wanted) and result.notes
    with pytest.raises(GeometryError, match="slices"):
        lung_fields(Volume(np.repeat(plane[np.newaxis], 3, axis=0), PICTURE))


# ---- a warning rather than a wrong mask
def not_a_chest() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    y, x = np.mgrid[-1:1:160j, -1:1:200j]
    return {
        "constant": np.full((120, 140), 7, np.uint8),
        "noise": rng.integers(0, 4096, (200, 160)).astype(np.uint16),
        "ramp": (1000 * (x + y + 2)).astype(np.int16),
        "head": (2000 * np.exp(-((x**2 + y**2) ** 4) * 4) + rng.normal(0, 20, x.shape)).astype(np.int16),
        "line pairs": (500 + 400 * np.sign(np.sin(60 * x))).astype(np.int16),
        "narrow strip": rng.integers(0, 255, (2, 500)).astype(np.uint8),
    }


@pytest.mark.parametrize("kind", not_a_chest())
@pytest.mark.parametrize("method", METHODS)
def test_what_is_no_chest_gives_no_lungs(kind, method) -> None:
    result = lung_fields(picture(not_a_chest()[kind]), method=method)
    assert not result.labels, kind
    failed = [check for check in result.checks if check.verdict == "fail"]
    assert len(failed) == 1 and failed[0].advice
    assert result.notes == [failed[0].value]
    # No size of a pixel, no areas that a batch could compare.
    assert not [name for name in result.metrics if name.endswith("Area")]


def test_half_a_chest_is_said_to_be_cut_off(plane) -> None:
    result = lung_fields(picture(plane[:, :100]))
    assert "warn" in verdicts(result).values() or "fail" in verdicts(result).values()


# ---- the parts
def test_the_network_sees_no_brightness_contrast_or_polarity(plane) -> None:
    def seen(image: np.ndarray) -> np.ndarray:
        return input.channels(*input.place(image, input.frame_of(image.shape)))

    wanted = seen(plane)
    assert wanted.shape == (2, 256, 256) and wanted.dtype == np.float32
    assert np.abs(seen(plane * 3.0 + 1e4) - wanted).max() < 0.01
    assert np.abs(seen(4095 - plane) + wanted).max() < 0.01
    assert not seen(np.full((40, 50), 9)).any()


def test_the_square_keeps_places() -> None:
    """A linear ramp comes back as it was, but for the outermost pixels; proportions follow the spacing."""
    ramp = np.add.outer(np.arange(90.0), 2 * np.arange(70.0))
    for spacing in ((1.0, 1.0), (0.5, 1.0), (3.0, 1.0)):
        frame = input.frame_of(ramp.shape, spacing)
        square, inside = input.place(ramp, frame)
        sides = [np.count_nonzero(inside.any(axis=axis)) for axis in (1, 0)]
        assert max(sides) == 256
        assert sides[0] / sides[1] == pytest.approx(90 * spacing[0] / (70 * spacing[1]), rel=0.03)
        back = input.restore(np.stack([square]), frame)[0]
        assert np.abs(back - ramp)[3:-3, 3:-3].max() < 0.1  # a twentieth of a pixel


def test_tidied_keeps_one_piece_without_holes() -> None:
    scores = np.zeros((3, 128, 128), np.float32)
    scores[0] = 8
    scores[1, 30:90, 20:50] = 16
    scores[1, 50:55, 30:35] = 0  # a hole
    scores[1, 30:36, 100:110] = 16  # an island
    scores[2, 30:90, 70:100] = 16
    found = lungshape.tidied(scores)
    wanted = np.zeros((128, 128), np.uint8)
    wanted[30:90, 20:50], wanted[30:90, 70:100] = 1, 2
    assert np.array_equal(found.labels, wanted)
    assert np.array_equal(lungshape.labels_of(found.scores, input.frame_of((128, 128))), wanted)
    assert found.pieces == (2, 1) and found.dropped[0] == pytest.approx(60 / (1800 - 25 + 60))
    assert min(found.confidence) > 0.9


def test_without_opencv(plane, monkeypatch) -> None:
    model.network.cache_clear()
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingPackageError, match="classical"):
        find_lung_fields(plane)
    assert find_lung_fields(plane, method="classical").sides.any()
    assert (
        create("xray.lungFields").packages() and not create("xray.lungFields", method="classical").packages()
    )


def test_without_the_network(monkeypatch, tmp_path) -> None:
    model.network.cache_clear()
    monkeypatch.setattr(model, "MODEL", tmp_path / "gone.onnx")
    with pytest.raises(FileError, match="missing"):
        model.network()
    model.network.cache_clear()


def test_the_network_is_small() -> None:
    assert 1e5 < model.MODEL.stat().st_size < 8e6


# ---- the demonstration
def test_the_demonstration_is_held_against_the_truth(truth) -> None:
    assert xray.compare(truth, truth) == xray.Truth(1.0, 1.0, 1.0, 1.0)
    exchanged = np.array([0, 2, 1])[truth]
    found = xray.compare(truth, exchanged)
    assert found.both == 1.0 and found.right == found.left == 0.0
    half = np.where(truth == 1, 1, 0)
    share = np.count_nonzero(truth == 1) / np.count_nonzero(truth)
    found = xray.compare(truth, half)
    assert (found.right, found.left) == (1.0, 0.0)
    assert found.area == pytest.approx(share) and found.both == pytest.approx(2 * share / (1 + share))


@pytest.mark.slow
def test_the_demonstration(tmp_path) -> None:
    """Half a minute: the whole phantom, the recipe, report, pictures and scene."""
    demo = xray.run(tmp_path / "xray", Job.quiet())
    assert min(demo.truth.right, demo.truth.left) > 0.93
    assert f"{demo.truth.both:.4f}" in demo.text()
    assert [c["name"] for c in demo.quality["checks"] if c["verdict"] != "pass"] in ([], ["Enhancement"])
    for name in ("report.html", "scene.mrb", "input.nii.gz", "truth.nii.gz"):
        assert (tmp_path / "xray" / name).is_file()
