"""Quality control of radiographs, polarity, and one result whatever way a radiograph comes in."""

import json

import numpy as np
import pytest
from dicomfiles import dataset
from typer.testing import CliRunner
from xrayimages import bordered, chest, volume_of

from MedPrepCommonLib.core import engine, recipe, runner
from MedPrepCommonLib.core.errors import FileError
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.files.reading import read_volume


def check(image, **parameters):
    result = engine.run(create("xray.check", **parameters), {"image": image})
    return {line.name: line for line in result.checks}, result.metrics


def notes(image):
    return " ".join(engine.run(create("xray.check"), {"image": image}).notes)


def polarity(image, method="auto"):
    return engine.run(create("xray.polarity", method=method), {"image": image})


def radiograph_file(path, stored, **elements):
    """A DX file as a detector writes it: no position in the patient."""
    common = {
        "Modality": "DX",
        "BitsStored": 12,
        "ImagePositionPatient": None,
        "ImageOrientationPatient": None,
        "PixelSpacing": None,
        "ImagerPixelSpacing": [0.143, 0.143],
        "RescaleSlope": None,
        "RescaleIntercept": None,
        "SliceThickness": None,
    }
    dataset(stored, **{**common, **elements}).save_as(path, enforce_file_format=True)
    return path


# ---- check
def test_a_good_radiograph_passes():
    lines, metrics = check(volume_of(chest((512, 600), 12), info={"spacingKnown": True, "bitsStored": 12}))
    assert [line.name for line in lines.values() if line.verdict != "pass"] == []
    assert (
        metrics["bitsUsed"] == 12
        and metrics["spacingKnown"]
        and "whole image" in lines["Exposed field"].value
    )


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("Size", volume_of(chest((100, 120)))),
        ("Bit depth", volume_of(chest() // 8 * 8)),
        ("White pixels", volume_of(np.where(chest() > 140, 255, chest()).astype(np.uint8))),
        ("Black pixels", volume_of(np.where(chest() < 140, 0, chest()).astype(np.uint8))),
        ("Processing", volume_of(chest(), info={"presentationIntentType": "FOR PROCESSING"})),
        ("Compression", volume_of(chest(), info={"lossyCompression": True})),
        ("Orientation", volume_of(chest(), info={"patientOrientation": "R\\F"})),
    ],
)
def test_what_is_wrong_is_said_with_advice(name, image):
    lines, _metrics = check(image)
    # Sides that the file itself says to be exchanged are no matter of taste.
    assert lines[name].verdict == ("fail" if name == "Orientation" else "warn")
    assert lines[name].advice.endswith(".")


def test_an_unknown_pixel_size_is_a_note():
    line = check(volume_of(chest(), info={"spacingKnown": False}))[0]["Pixel size"]
    assert line.verdict == "pass" and "not known" in line.value


def test_an_empty_image_fails_the_check_and_is_no_error():
    lines, metrics = check(volume_of(np.full((300, 300), 5, np.uint16)))
    assert lines["Bit depth"].verdict == "fail" and metrics["verdict"] == "fail"


def test_border_and_its_place_are_reported():
    framed, box = bordered(chest(), 0)
    lines, metrics = check(volume_of(framed))
    assert (metrics["top"], metrics["bottom"], metrics["left"], metrics["right"]) == box
    assert f"rows {box[0]} to {box[1] - 1}" in lines["Exposed field"].value
    # Black shutters are no lost detail.
    assert lines["Black pixels"].verdict == "pass"


def test_depth_names_used_and_stored_bits():
    lines, _metrics = check(volume_of(chest(bits=10), info={"bitsStored": 12}))
    assert lines["Bit depth"].value.startswith("10 bits used of 12")


# ---- polarity
@pytest.fixture(scope="module")
def real(shared_data):
    """A radiograph whose polarity can be told without doubt."""
    from MedPrepXrayLib.lungs.polarity import estimate_polarity

    paths = [p for p in sorted((shared_data / "xr/chest-lungs").glob("*.png")) if "_lungs" not in p.name]
    found = [read_volume(path) for path in paths[:6]]
    return max(found, key=lambda v: estimate_polarity(v.array[0])[1])


def test_an_inverted_picture_is_told_and_turned(real):
    inverted = real.with_array(255 - real.array)
    lines, metrics = check(inverted)
    assert lines["Polarity"].verdict == "warn" and metrics["looksInverted"]
    assert check(real)[0]["Polarity"].verdict == "pass"
    turned = polarity(inverted)
    assert np.array_equal(turned.images["image"].array, real.array) and turned.metrics["inverted"]
    kept = polarity(real)
    assert np.array_equal(kept.images["image"].array, real.array) and not kept.metrics["inverted"]


def test_a_tag_is_believed_and_a_disagreement_said(real):
    inverted = real.with_array(255 - real.array, info={"photometricInterpretation": "MONOCHROME1"})
    line = check(inverted)[0]["Polarity"]
    assert line.verdict == "warn" and "MONOCHROME1" in line.value and "disagree" in line.advice
    assert np.array_equal(polarity(inverted).images["image"].array, inverted.array)
    assert np.array_equal(polarity(inverted, "estimate").images["image"].array, real.array)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_inverting_twice_changes_nothing(dtype):
    plane = (chest() - (50 if dtype == np.int16 else 0)).astype(dtype)
    if dtype == np.float32:
        plane = plane / np.float32(255)
    image = volume_of(plane, display=(100.0, 50.0))
    once = polarity(image, "invert").images["image"]
    twice = polarity(once, "invert").images["image"]
    np.testing.assert_allclose(twice.array, image.array, atol=1e-6)
    assert once.array.dtype == dtype and not np.array_equal(once.array, image.array)
    assert twice.display == pytest.approx(image.display)


# ---- MONOCHROME1 is turned once, whoever reads it
@pytest.fixture
def pair(shared_data):
    folder = shared_data / "xr/derived-dicom-12bit"
    return folder / "19abe1f3_mono1.dcm", folder / "19abe1f3_mono2.dcm"


def test_readers_agree(pair):
    import pydicom
    import SimpleITK as sitk

    ours = [read_volume(path).array[0] for path in pair]
    assert np.array_equal(*ours)
    itk = [sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[0] for path in pair]
    assert np.array_equal(itk[0], ours[0]) and np.array_equal(itk[1], ours[0])
    # pydicom gives what is stored: MONOCHROME1 is the other way round there.
    stored = [pydicom.dcmread(path).pixel_array for path in pair]
    assert np.array_equal(stored[1], ours[0]) and np.array_equal(4095 - stored[0], ours[0])


def test_a_stored_array_from_pydicom_is_turned_by_the_operation(pair):
    import pydicom

    data = pydicom.dcmread(pair[0])
    image = volume_of(data.pixel_array, info={"bitsStored": int(data.BitsStored)})
    turned = polarity(image, "invert").images["image"].array
    assert np.array_equal(turned, read_volume(pair[1]).array)


def test_recipe_and_operations_agree(pair):
    prepared = recipe.load("xray-chest")
    found = [runner.run(prepared, {"image": read_volume(path)}).result for path in pair]
    for name, volume in found[0].volumes().items():
        assert np.array_equal(volume.array, found[1].volumes()[name].array), name
    assert found[0].tables["evaluation"] == found[1].tables["evaluation"]
    assert found[0].volumes()["lungs"].same_grid(read_volume(pair[0]))
    assert set(np.unique(found[0].labels["lungs"].array)) == {0, 1, 2}
    assert found[0].images["image"].shape == (1, 512, 512)


def test_console_agrees(slicerHost, pair):
    import slicer

    from MedPrepCommonLib.scene.volumes import nodeFromVolume
    from MedPrepXray import MedPrepXrayLogic

    logic = MedPrepXrayLogic()
    nodes = [nodeFromVolume(read_volume(path), path.stem) for path in pair]
    for method in (logic.clahe, logic.claheAuto, logic.denoise, logic.fixPolarity, logic.crop):
        made = [method(node) for node in nodes]
        first, second = (slicer.util.arrayFromVolume(getattr(m, "image", m)) for m in made)
        assert np.array_equal(first, second), method.__name__
    tables = [logic.check(node).check for node in nodes]
    values = [[t.GetCellText(row, 1) for row in range(t.GetNumberOfRows())] for t in tables]
    assert values[0] == values[1]


def test_command_line_agrees(pair, tmp_path):
    from MedPrepCommonLib.cli.app import app

    for n, path in enumerate(pair):
        arguments = ["run", "xray-chest", "--input", f"image={path}", "--out", str(tmp_path / str(n)), "-q"]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
    first, second = tmp_path / "0", tmp_path / "1"
    for name in ("image.nii.gz", "clahe.nii.gz", "lungs.nii.gz", "evaluation.csv"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    assert json.loads((first / "qc.json").read_text())["metrics"]["lungFields.symmetry"] > 0.5


def test_the_print_resolution_of_a_picture_is_no_pixel_size(slicerHost):
    from MedPrepCommonLib.scene.volumes import nodeFromVolume, volumeFromNode

    node = nodeFromVolume(volume_of(chest(), info={}))
    node.SetSpacing(0.26, 0.26, 1)
    assert check(volumeFromNode(node))[0]["Pixel size"].verdict == "pass"
    node.AddDefaultStorageNode()
    node.GetStorageNode().SetFileName("chest.PNG")
    assert "not known" in check(volumeFromNode(node))[0]["Pixel size"].value


# ---- reading
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 15, 16])
def test_dicom_at_every_depth(tmp_path, bits):
    stored = np.rint(chest(bits=16) / 65535 * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)
    common = {"BitsStored": bits, "ViewPosition": "PA", "PatientOrientation": ["L", "F"]}
    two = read_volume(radiograph_file(tmp_path / "two.dcm", stored, **common))
    turned = (2**bits - 1 - stored.astype(int)).astype(stored.dtype)
    one = read_volume(
        radiograph_file(tmp_path / "one.dcm", turned, PhotometricInterpretation="MONOCHROME1", **common)
    )
    assert np.array_equal(one.array, two.array) and np.array_equal(two.array[0], stored)
    lines, metrics = check(two)
    assert metrics["bitsUsed"] == bits
    assert "PA" in lines["View"].value and lines["View"].verdict == "pass"
    assert lines["Orientation"].verdict == "pass"
    assert "at the detector" in lines["Pixel size"].value


def test_display_tables_are_recorded_and_not_applied(tmp_path):
    import pydicom

    stored = chest(bits=12)
    table = pydicom.Dataset()
    table.add_new("LUTDescriptor", "US", [4, 0, 16])
    table.add_new("LUTData", "US", [0, 1, 2, 3])
    with_table = read_volume(
        radiograph_file(tmp_path / "a.dcm", stored, VOILUTSequence=pydicom.Sequence([table]))
    )
    assert np.array_equal(with_table.array[0], stored)
    assert "VOI LUT" in notes(with_table) and "not applied" in notes(with_table)
    window = read_volume(radiograph_file(tmp_path / "b.dcm", stored, WindowCenter=2000, WindowWidth=1000))
    assert np.array_equal(window.array[0], stored) and window.display == (2000, 1000)
    assert "level 2000, width 1000" in notes(window)


PICTURES = {
    "grey.png": ("L", 0), "grey.bmp": ("L", 0), "grey.tif": ("L", 0), "grey.jpg": ("L", 12),
    "rgb.png": ("RGB", 0), "rgb.bmp": ("RGB", 0), "rgb.tif": ("RGB", 0), "rgb.jpg": ("RGB", 12),
    "rgba.png": ("RGBA", 0), "rgba.tif": ("RGBA", 0),
}  # fmt: skip


@pytest.mark.parametrize("name", PICTURES)
def test_pictures(tmp_path, name):
    pillow = pytest.importorskip("PIL.Image")
    mode, tolerance = PICTURES[name]
    plane = chest()
    pillow.fromarray(plane).convert(mode).save(tmp_path / name, **({"quality": 95} if tolerance else {}))
    image = read_volume(tmp_path / name)
    assert image.info["spacingKnown"] is False
    result = polarity(image, "estimate").images["image"]
    assert np.abs(result.array[0].astype(int) - plane).max() <= tolerance


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_pictures(tmp_path, suffix):
    cv2 = pytest.importorskip("cv2")
    plane = chest(bits=16)
    assert cv2.imwrite(str(tmp_path / f"deep.{suffix}"), plane)
    assert np.array_equal(read_volume(tmp_path / f"deep.{suffix}").array[0], plane)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_grey_with_transparency_is_refused_not_misread(tmp_path, suffix):
    pillow = pytest.importorskip("PIL.Image")
    pillow.fromarray(np.dstack([chest(), 255 - chest()])).save(tmp_path / f"la.{suffix}")
    with pytest.raises(FileError, match="transparency"):
        read_volume(tmp_path / f"la.{suffix}")
