"""White Stripe against phantoms whose white matter is known, and against intensity-normalization."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from ctimages import read
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mriimages import image_of, inner_white, mask_of, phantom, stored
from scipy import ndimage
from scipy.stats import gaussian_kde

from MedPrepCommonLib.core import engine
from MedPrepCommonLib.core.errors import GeometryError, InputError, ParameterError
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.core.volume import LabelVolume, Volume
from MedPrepMRILib.normalization.white_stripe import find_stripe

ALL = ("T1", "T2", "FLAIR")


def stripe_of(image: Volume, mask: LabelVolume | None = None, preset: str = "t1", **inputs):
    parameters = {key: inputs.pop(key) for key in ("sequence", "width", "scaling") if key in inputs}
    op = create("mri.whiteStripe", preset, **parameters)
    return engine.run(op, {"image": image, "mask": mask, **inputs})


def brain(bias: float = 0.0):
    """All three sequences of one head without bias."""
    return phantom(bias=bias, sequences=ALL)


# ---- against the truth
@pytest.mark.parametrize("sequence", ALL)
@pytest.mark.parametrize("with_mask", [True, False])
def test_the_stripe_is_true_white_matter(sequence, with_mask) -> None:
    made = phantom(bias=0.0, sequences=ALL, shape=(96, 108, 90), spacing_kji=(2.0, 2.0, 2.0))
    image = image_of(made, sequence)
    mask = mask_of(image, made.brain) if with_mask else None
    found = stripe_of(image, mask, sequence.lower())
    truth = float(np.median(image.array[inner_white(made)]))
    assert found.metrics["mean"] == pytest.approx(truth, rel=0.01)
    # Partial volume of CSF and grey matter has some of T2's white matter values.
    inside = (made.labels == 3)[found.labels["stripe"].mask()].mean()
    assert inside > {"T1": 0.97, "T2": 0.85, "FLAIR": 0.85}[sequence]
    values = found.images["image"].array[found.labels["stripe"].mask()]
    assert abs(values.mean()) < 1e-4 and values.std() == pytest.approx(1, abs=1e-4)
    assert all(check.verdict == "pass" for check in found.checks)


def test_it_is_the_same_white_matter_with_a_bias_field() -> None:
    made = brain(bias=0.2)
    image = image_of(made)
    found = stripe_of(image, mask_of(image, made.brain))
    assert found.metrics["mean"] == pytest.approx(np.median(image.array[inner_white(made)]), rel=0.03)


def test_fs_norm(shared_data) -> None:
    # wm.nii.gz beside it does not fit norm.nii.gz: registered rigidly, a quarter of it lies on grey matter
    # and below, and an affine fit scales one axis by 0.79. So norm's own white matter is taken: above the
    # middle of the means of grey and white matter (k-means: 62.5 and 95.9), without two voxels of surface.
    norm = read(shared_data / "mri/fs-norm-wm/norm.nii.gz")
    found = stripe_of(norm, mask_of(norm, norm.array > 0))
    white = ndimage.binary_erosion(norm.array >= 79.2, iterations=2)
    assert found.metrics["mean"] == pytest.approx(np.median(norm.array[white]), rel=0.01)


# Mean and standard deviation of the stripe by intensity-normalization 3.0.1 (pip, numpy 2.4, scipy 1.17):
# WhiteStripeNormalizer(modality=...).fit(image, mask), float64, mask brainmask-derived.nii.gz.
PEER = {
    "t1": (159.47181701660156, 3.9808080196380615),
    "t2": (101.39485168457031, 2.2430856227874756),
    "flair": (119.48506164550781, 1.7072137594223022),
}


@pytest.mark.parametrize("sequence", PEER)
def test_intensity_normalization_agrees(shared_data, sequence) -> None:
    folder = shared_data / "mri/stroke-multiseq"
    image = read(folder / f"{sequence}.nii.gz", modality="MR")
    brain_voxels = read(folder / "brainmask-derived.nii.gz").array > 0
    found = stripe_of(image, mask_of(image, brain_voxels), sequence)
    mean, deviation = PEER[sequence]
    peer = (image.array[brain_voxels].astype(np.float64) - mean) / deviation
    ours = found.images["image"].array[brain_voxels].astype(np.float64)
    assert np.corrcoef(ours, peer)[0, 1] > 0.9999
    slope, offset = np.polyfit(peer, ours, 1)
    assert slope == pytest.approx(1, abs=0.02)
    # The peer looks for the peak on a grid of 80 values only: 3 grey levels in this FLAIR.
    assert abs(offset) * deviation < 0.02 * mean


# ---- gain, offset, hot voxels, backgrounds
@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(
    gain=st.floats(-3, 3).map(lambda e: 10**e), offset=st.floats(-2000, 2000), sequence=st.sampled_from(ALL)
)
def test_gain_and_offset_do_not_matter(gain, offset, sequence) -> None:
    made = brain()
    image = image_of(made, sequence)
    mask = mask_of(image, made.brain)
    changed = image.with_array(image.array.astype(np.float64) * gain + offset * gain)
    one, two = (stripe_of(v, mask, sequence.lower()).images["image"].array for v in (image, changed))
    assert np.abs(one - two).max() < 1e-3


@pytest.mark.parametrize(("gain", "offset"), [(0.01, 0.0), (37.0, 0.0), (2.5, 400.0), (0.3, -150.0)])
def test_gain_and_offset_in_single_precision(gain, offset) -> None:
    made = brain()
    image = image_of(made)
    changed = image.with_array((image.array.astype(np.float64) * gain + offset).astype(np.float32))
    mask = mask_of(image, made.brain)
    one, two = (stripe_of(v, mask).images["image"].array for v in (image, changed))
    assert np.abs(one - two).max() < 1e-3


@pytest.mark.parametrize(
    ("sequence", "gain", "offset"), [("T1", 37.0, 0.0), ("T2", 0.3, -150.0), ("FLAIR", 0.01, 55.0)]
)
def test_gain_and_offset_without_a_mask(sequence, gain, offset) -> None:
    """The brain that is found is the same one, too."""
    image = image_of(brain(), sequence)
    changed = image.with_array((image.array.astype(np.float64) * gain + offset).astype(np.float32))
    one, two = (stripe_of(v, preset=sequence.lower()).images["image"].array for v in (image, changed))
    assert np.abs(one - two).max() < 1e-3


def test_gain_and_offset_of_a_real_head(shared_data) -> None:
    image = read(shared_data / "mri/adi-t1-t2/t1-mprage.nii.gz", modality="MR")
    image = image.with_array(image.array[::2, ::2, ::2], ijkToRAS=image.ijkToRAS @ np.diag([2, 2, 2, 1]))
    changed = image.with_array((image.array * 0.37 - 20).astype(np.float32))
    one, two = (stripe_of(v).images["image"].array for v in (image, changed))
    assert np.abs(one - two).max() < 1e-3


@pytest.mark.parametrize("sequence", ALL)
def test_hot_voxels(sequence) -> None:
    made = brain()
    image = image_of(made, sequence)
    mask = mask_of(image, made.brain)
    array = image.array.copy()
    places = np.random.default_rng(3).choice(array.size, 60, replace=False)
    array.ravel()[places] = 1e7
    clean, hot = (stripe_of(v, mask, sequence.lower()).metrics for v in (image, image.with_array(array)))
    assert hot["mean"] == pytest.approx(clean["mean"], rel=2e-3)
    assert hot["standardDeviation"] == pytest.approx(clean["standardDeviation"], rel=0.02)


@pytest.mark.parametrize("background", [0.0, -1000.0, 37.0, 5000.0])
def test_constant_background_of_a_stripped_brain(background) -> None:
    made = phantom(bias=0.0, skull_stripped=True)
    image = image_of(made)
    changed = image.with_array(np.where(made.brain, image.array, np.float32(background)))
    truth = np.median(image.array[inner_white(made)])
    found = stripe_of(changed, mask_of(image, made.brain))
    assert found.metrics["mean"] == pytest.approx(truth, rel=0.01)


def test_a_mask_that_is_too_large_holds_background() -> None:
    made = phantom(bias=0.0, skull_stripped=True)
    image = image_of(made)
    loose = mask_of(image, ndimage.binary_dilation(made.brain, iterations=6))
    truth = np.median(image.array[inner_white(made)])
    assert stripe_of(image, loose).metrics["mean"] == pytest.approx(truth, rel=0.03)


@pytest.mark.parametrize(
    ("dtype", "gain", "offset"),
    [(np.uint8, 0.1, 0), (np.int16, 1, -500), (np.uint16, 30, 0), (np.int32, 1000, 0), (np.float64, 1e-6, 0)],
)
def test_types(dtype, gain, offset) -> None:
    made = brain()
    image = image_of(made)
    values = image.array.astype(np.float64) * gain + offset
    changed = image.with_array((values if np.dtype(dtype).kind == "f" else np.rint(values)).astype(dtype))
    found = stripe_of(changed, mask_of(image, made.brain))
    truth = np.median(image.array[inner_white(made)])
    # 8 bits: a grey level is 1.1 % of white matter's intensity here.
    assert (found.metrics["mean"] - offset) / gain == pytest.approx(truth, rel=0.02)
    assert found.images["image"].array.dtype == np.float32
    assert found.labels["stripe"].array.dtype == np.uint8


# ---- sequences, width, scaling
def test_scaling_of_the_bounds() -> None:
    made = brain()
    image = image_of(made)
    mask = mask_of(image, made.brain)
    found = stripe_of(image, mask, scaling="[0, 1]")
    wanted = (image.array - found.metrics["low"]) / (found.metrics["high"] - found.metrics["low"])
    assert np.abs(found.images["image"].array - wanted).max() < 1e-3
    stripe = found.labels["stripe"].mask()
    assert found.images["image"].array[stripe].min() > 0 and found.images["image"].array[stripe].max() < 1


@pytest.mark.parametrize("width", [0.02, 0.05, 0.2])
def test_width_is_a_share_of_the_brain(width) -> None:
    made = brain()
    image = image_of(made, "FLAIR")
    found = stripe_of(image, mask_of(image, made.brain), "flair", width=width)
    assert found.metrics["share"] == pytest.approx(2 * width, rel=0.02)
    assert found.metrics["voxels"] == found.labels["stripe"].array.sum()


def test_several_sequences_share_one_stripe() -> None:
    made = brain()
    t1, t2, flair = (image_of(made, name) for name in ALL)
    mask = mask_of(t1, made.brain)
    alone = stripe_of(t1, mask)
    found = stripe_of(t1, mask, t2=t2, flair=flair)
    stripe = found.labels["stripe"].mask()
    assert stripe.sum() < 0.5 * alone.labels["stripe"].array.sum()
    assert not (stripe & ~alone.labels["stripe"].mask()).any()
    assert (made.labels == 3)[stripe].mean() > 0.99
    for name in ("image", "t2", "flair"):
        values = found.images[name].array[stripe]
        assert abs(values.mean()) < 1e-3 and values.std() == pytest.approx(1, abs=1e-3)
    assert [row[0] for row in found.tables["whiteStripe"].rows] == ["T1", "T2", "FLAIR"]
    assert set(found.figures) == {"histogram", "t2Histogram", "flairHistogram"}
    assert all(check.verdict == "pass" for check in found.checks)


def test_sequences_without_white_matter_in_common() -> None:
    made = brain()
    t1, t2 = image_of(made, "T1"), image_of(made, "T2")
    mask = mask_of(t1, made.brain)
    alone = stripe_of(t1, mask)
    other = t2.with_array(np.where(alone.labels["stripe"].mask(), np.float32(1500), t2.array))
    found = stripe_of(t1, mask, t2=other)
    assert found.checks[0].verdict == "fail" and "Register" in found.checks[0].advice
    assert np.array_equal(found.images["image"].array, alone.images["image"].array)
    assert np.array_equal(found.labels["stripe"].array, alone.labels["stripe"].array)


def test_sequences_on_other_grids_are_refused() -> None:
    made = brain()
    t1 = image_of(made)
    cropped = t1.with_array(t1.array[1:])
    for other in (cropped, dataclasses.replace(t1, ijkToRAS=t1.ijkToRAS @ np.diag([1.1, 1, 1, 1]))):
        with pytest.raises(GeometryError, match="another grid"):
            stripe_of(t1, flair=other)


def test_the_wrong_sequence_is_noticed() -> None:
    made = brain()
    image = image_of(made, "T2")
    found = stripe_of(image, mask_of(image, made.brain), "t1")
    assert found.metrics["mean"] > 1.1 * np.median(image.array[inner_white(made)])


# ---- shapes and masks
def test_orientation_does_not_matter() -> None:
    made = brain()
    image = image_of(made)
    mask = mask_of(image, made.brain)
    wanted = stripe_of(image, mask)
    for axes, flips in (((2, 0, 1), (True, False, True)), ((1, 2, 0), (False, True, False))):
        turned, inside = stored(image, axes, flips), stored(mask, axes, flips)
        found = stripe_of(turned, inside)
        assert found.metrics == wanted.metrics
        back = stored(wanted.images["image"], axes, flips)
        assert np.array_equal(found.images["image"].array, back.array)
        assert np.array_equal(found.images["image"].ijkToRAS, turned.ijkToRAS)


def test_orientations_of_a_real_brain(shared_data) -> None:
    metrics = []
    for name in ("RAS", "PIR", "SRP"):
        image = read(shared_data / f"odd/orientations/{name}.nii.gz")
        metrics.append(stripe_of(image).metrics["mean"])
    assert max(metrics) < 1.02 * min(metrics)


def test_one_slice_and_a_slab_of_thick_slices() -> None:
    made = brain()
    image = image_of(made)
    truth = np.median(image.array[inner_white(made)])
    k = slice(34, 35)
    one = Volume(image.array[k], image.ijkToRAS, modality="MR")
    found = stripe_of(one, mask_of(one, made.brain[k]))
    assert found.images["image"].shape == one.shape
    assert found.metrics["mean"] == pytest.approx(truth, rel=0.04)
    slab = phantom(bias=0.0, shape=(18, 72, 60), spacing_kji=(5.0, 3.0, 3.0))
    thick = image_of(slab)
    found = stripe_of(thick, mask_of(thick, slab.brain))
    assert found.metrics["mean"] == pytest.approx(truth, rel=0.02)


def test_empty_slices() -> None:
    made = brain()
    image = image_of(made)
    array = image.array.copy()
    array[30:34] = 0
    changed = image.with_array(array)
    found = stripe_of(changed, mask_of(image, made.brain))
    assert np.isfinite(found.images["image"].array).all()
    assert found.metrics["mean"] == pytest.approx(np.median(image.array[inner_white(made)]), rel=0.02)


def test_masks_that_do_not_fit() -> None:
    image = image_of(brain())
    with pytest.raises(InputError, match="mask is empty"):
        stripe_of(image, mask_of(image, np.zeros(image.shape)))
    other = image.with_array(image.array[:-1])
    with pytest.raises(GeometryError, match="another grid"):
        stripe_of(image, mask_of(other, np.ones(other.shape)))


def test_images_without_contrast() -> None:
    image = image_of(brain())
    flat = image.with_array(np.full(image.shape, 7, np.int16))
    everywhere = mask_of(image, np.ones(image.shape))
    with pytest.raises(InputError, match="Every voxel inside the mask is 7"):
        stripe_of(flat, everywhere)
    two = image.with_array((image.array > 500).astype(np.uint8))
    with pytest.raises(InputError, match="Every voxel of the white stripe is"):
        stripe_of(two, everywhere)
    tiny = np.zeros(image.shape, np.uint8)
    tiny[30, 30, 20:27] = 1
    with pytest.raises(InputError, match="has only . voxels"):
        stripe_of(image, mask_of(image, tiny))


def test_parameters() -> None:
    for wrong in ({"width": 0.0}, {"width": 0.3}, {"sequence": "DWI"}, {"scaling": "minmax"}):
        with pytest.raises(ParameterError):
            create("mri.whiteStripe", **wrong)
    assert [create("mri.whiteStripe", p).sequence for p in ("t1", "t2", "pd", "flair")] == [
        "T1", "T2", "PD", "FLAIR",
    ]  # fmt: skip


# ---- results
def test_results_explain_themselves() -> None:
    made = brain()
    image = image_of(made)
    found = stripe_of(image, mask_of(image, made.brain))
    (segment,) = found.labels["stripe"].segments
    assert (segment.name, segment.code[1]) == ("white stripe", "389080008")
    table = found.tables["whiteStripe"]
    row = dict(zip(table.columns, table.rows[0], strict=True))
    assert row["voxels"] == found.metrics["voxels"]
    assert row["share of the brain (%)"] == pytest.approx(100 * found.metrics["voxels"] / made.brain.sum())
    curves = {curve.name: curve for curve in found.figures["histogram"].curves}
    assert curves["peak"].x == (found.metrics["peak"],) * 2
    stripe = curves["white stripe"]
    assert (stripe.x[0], stripe.x[-1]) == (found.metrics["low"], found.metrics["high"])
    x, y = np.array(curves["brain"].x), np.array(curves["brain"].y)
    # A density: its area is the share of the brain that was looked at.
    assert ((y[1:] + y[:-1]) / 2 * np.diff(x)).sum() == pytest.approx(1.0, abs=0.05)
    assert x[y.argmax()] == pytest.approx(found.metrics["peak"], rel=0.01)


# ---- numerics
@given(
    values=st.lists(st.integers(-50, 50), min_size=30, max_size=400),
    width=st.floats(0.01, 0.25),
    sequence=st.sampled_from(("T1", "T2", "PD", "FLAIR")),
)
def test_bounds_are_numpy_quantiles(values, width, sequence) -> None:
    array = np.array(values, np.float64).reshape(1, 1, -1)
    if array.min() == array.max():
        return
    found = find_stripe(array, np.ones(array.shape, bool), sequence, width)
    quantile = (array < found.peak).mean()
    assert found.quantile == pytest.approx(quantile)
    wanted = np.quantile(array, [max(quantile - width, 0), min(quantile + width, 1)])
    assert (found.low, found.high) == pytest.approx(tuple(wanted), abs=1e-9)
    inside = array[found.contains(array)]
    assert inside.size == found.count
    if inside.size:
        assert (found.mean, found.deviation) == pytest.approx((inside.mean(), inside.std()), abs=1e-9)


def test_density_is_a_gaussian_kernel_estimate() -> None:
    made = brain()
    values = image_of(made, "FLAIR").array[made.brain].astype(np.float64)
    found = find_stripe(values.reshape(1, 1, -1), np.ones((1, 1, values.size), bool), "FLAIR")
    at = slice(200, 3800, 300)
    wanted = gaussian_kde(values)(found.levels[at])
    assert np.abs(found.density[at] - wanted).max() < 0.01 * wanted.max()


def test_threads_do_not_matter() -> None:
    made = brain()
    image = image_of(made)
    one, three = (find_stripe(image.array, made.brain, workers=n) for n in (1, 3))
    for name in ("peak", "low", "high", "mean", "deviation", "count", "quantile"):
        assert getattr(one, name) == getattr(three, name)
    assert np.array_equal(one.density, three.density)
