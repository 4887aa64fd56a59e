"""CLAHE on radiographs: OpenCV's result, more than 8 bits, no seams; rules; comparison; noise."""

import dataclasses

import numpy as np
import pytest
from xrayimages import bordered, chest, volume_of

from MedPrepCommonLib.core import engine
from MedPrepCommonLib.core.errors import InputError, MissingPackageError
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.files.reading import read_volume
from MedPrepXrayLib.operations.clahe_auto import RULES, choose
from MedPrepXrayLib.picture.radiograph import radiograph


def run(id, image, **parameters):
    return engine.run(create(id, **parameters), {"image": image})


def enhanced(image, **parameters):
    return run("xray.clahe", image, **parameters).images["image"].array[0]


def psnr(a, b, peak):
    error = np.mean((a.astype(np.float64) - b) ** 2)
    return np.inf if error == 0 else 10 * np.log10(peak**2 / error)


def opencv(plane, limit=2.0, tiles=8):
    cv2 = pytest.importorskip("cv2")
    return cv2.createCLAHE(limit, (tiles, tiles)).apply(np.ascontiguousarray(plane))


@pytest.mark.parametrize("limit", [1.0, 2.0, 4.0])
@pytest.mark.parametrize(("shape", "tiles"), [((192, 224), 8), ((191, 223), 12), ((150, 90), 5)])
def test_eight_bits_are_opencv(limit, shape, tiles):
    plane = chest(shape)
    found = enhanced(volume_of(plane), clipLimit=limit, tiles=tiles)
    assert found.dtype == np.uint8
    assert psnr(found, opencv(plane, limit, tiles), 255) >= 50


def test_real_eight_bit_radiographs_are_opencv(shared_data):
    paths = [p for p in sorted((shared_data / "xr/chest-lungs").glob("*.png")) if "_lungs" not in p.name]
    for path in paths[::8]:
        image = read_volume(path)
        assert psnr(enhanced(image), opencv(image.array[0]), 255) >= 50, path.name


def test_twelve_bits_stay_more_than_eight(shared_data):
    image = read_volume(shared_data / "xr/derived-dicom-12bit/19abe1f3_mono2.dcm")
    found, plane = enhanced(image), image.array[0]
    low, high = int(plane.min()), int(plane.max())
    as_8_bits = ((plane - low) * (255.0 / (high - low))).astype(np.uint8)
    assert psnr(found / 257.0, opencv(as_8_bits), 255) >= 40
    assert len(np.unique(found)) > 4000 and found.dtype == np.uint16


@pytest.mark.parametrize("bits", [10, 12, 14, 15, 16])
def test_the_clip_limit_means_the_same_at_any_depth(bits):
    shape = (512, 576)
    plane = chest(shape, bits) if bits != 15 else chest(shape, 14) * 2
    low, high = int(plane.min()), int(plane.max())
    as_8_bits = np.rint((plane - low) * (255.0 / (high - low))).astype(np.uint8)
    found = enhanced(volume_of(plane), outputType="float")
    assert psnr(255 * found, opencv(as_8_bits), 255) >= 40


@pytest.mark.parametrize("limit", [1.0, 2.0])
def test_a_ramp_stays_monotone(limit):
    """Tiles do not show; at a limit of 2 a ramp may fall by less than 8 bits can say, as in OpenCV."""
    ramp = np.broadcast_to(np.linspace(300, 3800, 640).round().astype(np.uint16), (512, 640))
    for plane in (ramp, ramp.T):
        found = enhanced(volume_of(plane), clipLimit=limit, outputType="float")
        line = found[256] if plane is ramp else found[:, 320]
        steps = np.diff(line)
        assert steps.min() >= (0 if limit == 1 else -0.25 / 255)
        assert steps.max() < (limit + 1) / 640 * 1.3
        assert np.abs(found - (line if plane is ramp else line[:, None])).max() < 1e-6


@pytest.mark.parametrize("value", [0, 255])
def test_outside_the_field_nothing_changes(value):
    plane = chest()
    framed, (up, down, left, right) = bordered(plane, value)
    found = enhanced(volume_of(framed))
    outside = np.ones(framed.shape, bool)
    outside[up:down, left:right] = False
    assert np.array_equal(found[outside], framed[outside])
    # Inside, the border has no say in tiles or histograms.
    assert np.array_equal(found[up:down, left:right], opencv(plane))
    everywhere = enhanced(volume_of(framed), region="image")
    assert np.array_equal(everywhere, opencv(framed))


def test_deep_shutters_keep_their_place_between_black_and_white():
    plane = chest(bits=12)
    framed, _box = bordered(plane, 4095)
    found = enhanced(volume_of(framed, info={"bitsStored": 12}))
    assert found[0, 0] == 65535


@pytest.mark.parametrize("kind", ["colour", "alpha", "float", "signed"])
def test_other_stored_forms(kind):
    plane = chest()
    stored = {
        "colour": np.repeat(plane[..., None], 3, axis=2),
        "alpha": np.dstack([plane, plane, plane, 255 - plane]),
        "float": plane.astype(np.float32) / 255,
        "signed": plane.astype(np.int16) - 1000,
    }[kind]
    result = run("xray.clahe", volume_of(stored))
    found = result.images["image"].array
    assert found.ndim == 3 and found.std() > plane.std() / 255 * (found.max() - found.min()) * 0.9
    assert bool(result.notes) == (kind in ("colour", "alpha"))


def test_one_value_is_refused_with_words():
    for value in (0, 100, 255):
        with pytest.raises(InputError, match="Every pixel is"):
            run("xray.clahe", volume_of(np.full((40, 50), value, np.uint8)))


# ---- parameters from the image
SCENES = {
    "low dynamic range": lambda g: 110 + (g.astype(float) - 110) * 0.15,
    "dark": lambda g: g * 0.4,
    "bright": lambda g: 255 - (255 - g.astype(float)) * 0.4,
    "normal": lambda g: g,
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_rules_fire_at_any_depth(rule, bits):
    grey = np.clip(SCENES[rule](chest()), 0, 255)
    # The depth shows in the largest value.
    plane = np.rint(grey * ((2**bits - 1) / 255)).astype(np.uint8 if bits == 8 else np.uint16)
    plane[0, 0] = 2**bits - 1
    result = run("xray.claheAuto", volume_of(plane))
    assert result.metrics["rule"] == rule
    limit, tiles = RULES[rule]
    # It backs off where the drawn chest has contrast enough.
    assert result.metrics["tiles"] == tiles and result.metrics["clipLimit"] <= limit
    assert result.metrics["score"] >= 0
    assert any(note.startswith("Rule:") for note in result.notes)
    applied = [row[0] for row in result.tables["parameters"].rows if row[-1]]
    assert applied == [rule]
    made = result.images["image"].array[0]
    if result.metrics["clipLimit"]:
        assert np.array_equal(
            made, enhanced(volume_of(plane), clipLimit=result.metrics["clipLimit"], tiles=tiles)
        )
    else:
        assert np.array_equal(
            made, np.rint(plane * (1 if bits == 8 else 65535 / (2**bits - 1))).astype(made.dtype)
        )


@pytest.mark.parametrize("bits", [8, 12])
def test_automatic_contrast_never_makes_worse_by_its_own_score(bits):
    """Grain on bars: contrast by rule gains noise alone; the evaluation agrees with the operation."""
    y, x = np.mgrid[:256, :256] / 256
    grain = np.random.default_rng(4).normal(0, 0.06, (256, 256))
    bars = 0.35 * np.sign(np.sin(60 * x)) * np.sign(np.sin(60 * y))
    plane = np.clip((0.5 + bars + grain) * (2**bits - 1), 0, 2**bits - 1).astype(
        np.uint16 if bits > 8 else np.uint8
    )
    image = volume_of(plane)
    by_rule = enhanced(image, clipLimit=2.0, tiles=8)
    evaluate = create("xray.evaluate")
    forced = engine.run(evaluate, {"image": image, "enhanced": volume_of(by_rule)})
    result = run("xray.claheAuto", image)
    judged = engine.run(evaluate, {"image": image, "enhanced": result.images["image"]})
    assert (
        forced.metrics["score"]
        < 0
        <= judged.metrics["score"]
        == pytest.approx(result.metrics["score"], abs=1e-6)
    )
    assert [check.verdict for check in judged.checks] == ["pass"]
    assert result.metrics["clipLimit"] < 2 and "cost more than it gave" in result.notes[-1]


def test_a_letter_does_not_change_the_rule():
    plane = np.clip(SCENES["low dynamic range"](chest()), 0, 255).astype(np.uint8)
    plane[2:6, 2:6] = 255
    assert choose(radiograph(volume_of(plane)), plane).rule == "low dynamic range"


# ---- weak to strong
def test_comparison_has_every_step_and_marks_the_best():
    plane = chest(bits=12)
    result = run("xray.claheCompare", volume_of(plane), weakest=1.0, strongest=16.0, steps=5)
    rows = [
        dict(zip(result.tables["comparison"].columns, row, strict=True))
        for row in result.tables["comparison"].rows
    ]
    assert [row["clip limit"] for row in rows] == [1, 2, 4, 8, 16]
    assert [row["noiseGain"] for row in rows] == sorted(row["noiseGain"] for row in rows)
    assert sum(row["best"] for row in rows) == 1
    assert max(rows, key=lambda row: row["score"])["best"]
    grid = result.images["grid"].array[0]
    height, width = plane.shape
    assert grid.shape == (2 * height + 6, 3 * width + 12)
    # Pictures stand where the table says: the first is the original.
    np.testing.assert_allclose(grid[:height, :width] / 255, plane / 4095, atol=1 / 255)
    strongest = enhanced(volume_of(plane), clipLimit=16.0) / 65535
    assert rows[-1]["place (row.column)"] == "2.3"
    np.testing.assert_allclose(grid[height + 6 :, 2 * width + 12 :] / 255, strongest, atol=1 / 255)


def test_large_images_are_shown_small():
    large = np.kron(chest(), np.ones((9, 9), np.uint8))
    grid = run("xray.claheCompare", volume_of(large), steps=2).images["grid"]
    assert max(grid.array.shape) <= 3 * 640


# ---- noise
@pytest.mark.parametrize("method", ["bilateral", "nonLocalMeans"])
@pytest.mark.parametrize("bits", [8, 12])
def test_denoising_brings_the_picture_nearer_to_the_truth(method, bits):
    if method == "nonLocalMeans":
        pytest.importorskip("cv2")
    top = 2**bits - 1
    clean, noisy = chest(bits=bits, noise=0.0), chest(bits=bits, noise=0.03)
    result = run("xray.denoise", volume_of(noisy), method=method)
    cleaned = result.images["image"].array[0]
    assert cleaned.dtype == noisy.dtype
    assert psnr(cleaned, clean, top) > psnr(noisy, clean, top) + 3
    assert result.metrics["noiseBefore"] == pytest.approx(0.03 * top, rel=0.35)
    assert result.metrics["noiseAfter"] < 0.6 * result.metrics["noiseBefore"]


def test_denoising_keeps_edges():
    plane = np.full((120, 160), 1000.0)
    plane[:, 80:] = 3000
    noisy = np.rint(plane + np.random.default_rng(0).normal(0, 40, plane.shape)).astype(np.uint16)
    cleaned = run("xray.denoise", volume_of(noisy)).images["image"].array[0].astype(float)
    assert cleaned[:, 79].mean() == pytest.approx(1000, abs=30)
    assert cleaned[:, 80].mean() == pytest.approx(3000, abs=30)


def test_denoising_in_strips_has_no_seams(monkeypatch):
    from MedPrepXrayLib.operations import denoise

    image = volume_of(chest((300, 120), bits=12))
    wanted = run("xray.denoise", image).images["image"].array
    monkeypatch.setattr(denoise, "_ROWS", 1000)
    assert np.array_equal(run("xray.denoise", image).images["image"].array, wanted)


def test_without_opencv_the_other_method_is_offered(monkeypatch):
    import importlib

    def absent(name, *args):
        raise ImportError(name)

    assert create("xray.denoise", method="nonLocalMeans").packages() and not create("xray.denoise").packages()
    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(MissingPackageError, match="OpenCV is not installed.*bilateral"):
        run("xray.denoise", volume_of(chest()), method="nonLocalMeans")
    assert run("xray.denoise", volume_of(chest())).images


def test_modality_of_other_machines_is_refused():
    for modality, fine in (("CR", True), ("DX", True), ("", True), ("CT", False), ("MR", False)):
        image = dataclasses.replace(volume_of(chest()), modality=modality)
        if fine:
            assert run("xray.clahe", image).images
        else:
            with pytest.raises(InputError, match="modality"):
                run("xray.clahe", image)
