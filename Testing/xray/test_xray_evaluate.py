"""Measures of enhancement against scikit-image and values worked out by hand; rankings as a reader would."""

import math

import numpy as np
import pytest
from scipy import ndimage
from xrayimages import chest, volume_of

from MedPrepCommonLib.core import engine
from MedPrepCommonLib.core.errors import GeometryError, InputError
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.files.reading import read_volume
from MedPrepXrayLib.contrast import image_quality
from MedPrepXrayLib.contrast.judging import judge


def evaluate(original, enhanced, **parameters):
    inputs = {"image": volume_of(original), "enhanced": volume_of(enhanced)}
    return engine.run(create("xray.evaluate", **parameters), inputs)


def test_ssim_and_psnr_are_those_of_scikit_image():
    metrics = pytest.importorskip("skimage.metrics")
    rng = np.random.default_rng(0)
    a = ndimage.gaussian_filter(rng.random((64, 80)), 1).astype(np.float32)
    b = np.clip(a + rng.normal(0, 0.05, a.shape), 0, 1).astype(np.float32)
    found = image_quality.measure(a, b)
    wanted = metrics.structural_similarity(a.astype(float), b.astype(float), data_range=1.0)
    assert found.ssim == pytest.approx(wanted, abs=1e-6)
    wanted = metrics.peak_signal_noise_ratio(a.astype(float), b.astype(float), data_range=1.0)
    assert found.psnr == pytest.approx(wanted, abs=1e-4)


def test_entropy_is_that_of_scikit_image():
    measure = pytest.importorskip("skimage.measure")
    plane = chest()
    wanted = measure.shannon_entropy(plane)
    assert image_quality.entropy(plane.astype(np.float32) / 255) == pytest.approx(wanted, abs=1e-6)


def test_edges_are_those_of_scikit_image():
    filters = pytest.importorskip("skimage.filters")
    grey = chest().astype(np.float32) / 255
    sharper = np.clip(1.5 * grey - 0.2, 0, 1)

    def strength(image):
        return np.mean(np.hypot(filters.sobel_h(image), filters.sobel_v(image)))

    found = image_quality.edge_strength(sharper) / image_quality.edge_strength(grey)
    assert found == pytest.approx(strength(sharper) / strength(grey), rel=0.01)


def test_values_worked_out_by_hand():
    # Half 0.25, half 0.5; the enhanced one half 0, half 1.
    original = np.full((40, 40), 0.25, np.float32)
    original[:, 20:] = 0.5
    enhanced = (original > 0.3).astype(np.float32)
    found = image_quality.measure(original, enhanced)
    assert found.contrastGain == pytest.approx(0.5 / 0.125)
    assert found.rangeGain == pytest.approx(1 / 0.25)
    assert found.entropyGain == pytest.approx(1.0)  # one bit each
    assert found.edgeGain == pytest.approx(1 / 0.25, rel=1e-5)
    assert found.psnr == pytest.approx(-10 * math.log10((0.25**2 + 0.5**2) / 2))
    assert found.detailGain == pytest.approx(4, rel=1e-4)
    assert found.structure == pytest.approx(1, abs=1e-4)
    assert found.sharpnessGain == pytest.approx(1, rel=1e-4)
    assert found.clipped == 1.0


def test_noise_is_measured_and_its_growth():
    rng = np.random.default_rng(0)
    base = 0.5 + 0.2 * np.sin(np.linspace(0, 3, 300))[None, :] * np.ones((200, 1))
    grain = rng.normal(0, 0.01, base.shape)
    once, twice = ((base + k * grain).astype(np.float32) for k in (1, 2))
    everywhere = np.ones(base.shape, bool)
    assert image_quality.noise(once, everywhere) == pytest.approx(0.01, rel=0.03)
    assert image_quality.measure(once, twice).noiseGain == pytest.approx(2, rel=0.05)


def test_equal_images_score_nothing():
    result = evaluate(chest(), chest())
    assert result.metrics["score"] == pytest.approx(0, abs=1e-9) and result.metrics["verdict"] == "unchanged"
    assert result.metrics["psnr"] == 99.0 and result.metrics["ssim"] == pytest.approx(1)
    assert all(result.metrics[n] == pytest.approx(1) for n in ("contrastGain", "edgeGain", "noiseGain"))


def test_depth_does_not_matter():
    shallow, deep = chest(bits=8), chest(bits=8).astype(np.uint16) * 257
    result = evaluate(shallow, deep)
    assert result.metrics["psnr"] > 90 and result.metrics["contrastGain"] == pytest.approx(1, abs=1e-4)


def worsened(plane):
    """The picture, spoiled in ways that a reader would not take for an improvement."""
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(0)
    top = np.iinfo(plane.dtype).max
    grey = plane.astype(np.float32)
    return {
        "blurred": np.rint(ndimage.gaussian_filter(grey, 2.5)).astype(plane.dtype),
        "noisier": np.clip(grey + rng.normal(0, 0.05 * top, plane.shape), 0, top).astype(plane.dtype),
        "over-enhanced": cv2.createCLAHE(40.0, (16, 16)).apply(plane),
        "flatter": (0.5 * grey + 0.25 * top).astype(plane.dtype),
    }


def ranked(plane):
    cv2 = pytest.importorskip("cv2")
    pictures = {"original": plane, "better": cv2.createCLAHE(2.0, (8, 8)).apply(plane), **worsened(plane)}
    return {name: evaluate(plane, picture).metrics for name, picture in pictures.items()}


def test_ranked_as_a_reader_would(shared_data):
    paths = [p for p in sorted((shared_data / "xr/chest-lungs").glob("*.png")) if "_lungs" not in p.name]
    for path in paths[2::13]:
        found = ranked(read_volume(path).array[0])
        scores = {name: metrics["score"] for name, metrics in found.items()}
        assert scores["better"] > scores["original"], path.name
        for name in ("blurred", "noisier", "over-enhanced", "flatter"):
            assert scores[name] < -0.1, (path.name, name)
            assert found[name]["verdict"] == name, (path.name, name)


def test_a_bad_enhancement_is_a_warning_with_advice():
    plane = chest()
    for name, picture in worsened(plane).items():
        (check,) = evaluate(plane, picture).checks
        assert check.verdict == "warn" and check.advice.endswith("."), name


def test_noise_is_not_taken_for_detail():
    """Edge strength alone would call a noisy picture the best of all."""
    plane = chest(noise=0.004)
    noisy = worsened(plane)["noisier"]
    metrics = evaluate(plane, noisy).metrics
    assert metrics["edgeGain"] > 1.5 and metrics["score"] < -0.5


def test_table_and_curves():
    result = evaluate(chest(), chest(seed=3))
    table = result.tables["evaluation"]
    assert table.columns == ("measure", "value", "meaning")
    values = {row[0]: row[1] for row in table.rows}
    assert {"contrastGain", "rangeGain", "entropyGain", "edgeGain", "psnr", "ssim", "noiseGain"} <= set(
        values
    )
    assert all(math.isfinite(value) for value in values.values())
    assert sum(result.figures["histogram"].curves[0].y) == chest().size


def test_other_grids_and_empty_images_are_refused():
    with pytest.raises(GeometryError, match="another grid"):
        evaluate(chest(), chest((100, 100)))
    with pytest.raises(InputError, match="Every pixel"):
        evaluate(np.full((50, 50), 9, np.uint8), chest((50, 50)))


def test_a_constant_result_is_flat_not_an_error():
    metrics = evaluate(chest(), np.full(chest().shape, 100, np.uint8)).metrics
    assert metrics["verdict"] == "flatter" and metrics["score"] < -1


def test_no_measure_is_infinite_for_judging():
    empty = image_quality.Measures(0, 0, 0, 0, math.inf, 0, 0, 0, 0, 0, 0)
    assert math.isfinite(judge(empty).score)
