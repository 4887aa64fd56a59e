"""Quality control: every line of the checklist passes what is right and catches what is not."""

import dataclasses

import numpy as np
import pytest
from ctimages import AIR, body, labels_on
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from MedPrepCommonLib.core import engine
from MedPrepCommonLib.core.errors import GeometryError, ParameterError
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.core.volume import Volume
from MedPrepCommonLib.quality import edge_energy, lung_coverage


def chest(**fields):
    return body((24, 48, 56), spacing=(4.0, 4.0, 4.0), **fields)


def lungs_of(image):
    inside = (image.array < -500) & (ndimage.label(image.array < -900)[0] == 0)
    return labels_on(image, ndimage.binary_opening(inside).astype(np.uint8), "lungs")


def qc(image, original=None, lungs=None, labels=(), **parameters):
    inputs = {"image": image, "original": original, "lungs": lungs, "labels": tuple(labels)}
    return engine.run(create("qc", **parameters), inputs)


def verdict(result, start):
    (found,) = [check for check in result.checks if check.name.startswith(start)]
    assert (found.verdict == "pass") == (not found.advice) and found.value
    return found.verdict


@pytest.fixture(scope="module")
def prepared():
    image = chest()
    return image, engine.run(create("normalize"), {"image": image}).images["image"]


def test_a_good_case_passes_every_line(prepared):
    original, image = prepared
    found = qc(image, original, lungs_of(original), spacing=4.0, values="unit", maximumSliceThickness=5)
    assert {check.verdict for check in found.checks} == {"pass"} and found.metrics["verdict"] == "pass"
    names = {check.name for check in found.checks}
    assert {"NaN and infinity", "Slice thickness", "Spacing", "Value range", "Geometry of lungs"} <= names
    assert {"Lung coverage", "Edge energy lost", "Content of lungs"} <= names
    table = found.tables["checklist"]
    assert [row[0] for row in table.rows] == [check.name for check in found.checks]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_a_number_fails_and_the_rest_is_still_checked(prepared, value):
    array = prepared[1].array.copy()
    array[3, 4, 5] = value
    found = qc(prepared[1].with_array(array), lungs=lungs_of(prepared[0]))
    assert verdict(found, "NaN") == "fail" and verdict(found, "Geometry of lungs") == "pass"


def test_slice_thickness_is_that_of_the_scanner(prepared):
    assert verdict(qc(prepared[1]), "Slice thickness") == "warn"
    thin = dataclasses.replace(prepared[1], info={"sliceThickness": 1.25})
    assert verdict(qc(thin), "Slice thickness") == "pass"
    thick = dataclasses.replace(prepared[0], info={"sliceThickness": 8.0})
    fine = engine.run(create("resample", spacing=2.0), {"image": thick}).images["image"]
    assert verdict(qc(fine, values="any"), "Slice thickness") == "warn"
    assert verdict(qc(thin, thick), "Slice thickness") == "pass"
    flat = prepared[1].with_array(prepared[1].array[:1].copy())
    assert not [c for c in qc(flat).checks if c.name == "Slice thickness"]


def test_spacing():
    image = body((12, 24, 28), spacing=(2.0, 2.0, 5.0))
    assert verdict(qc(image, values="any"), "Spacing") == "warn"
    iso = engine.run(create("resample", spacing=2.0), {"image": image}).images["image"]
    assert verdict(qc(iso, values="any"), "Spacing") == "pass"
    assert verdict(qc(iso, values="any", spacing=2.0), "Spacing") == "pass"
    assert verdict(qc(iso, values="any", spacing=1.0), "Spacing") == "warn"


@settings(max_examples=30, deadline=None)
@given(st.floats(-2, 2), st.floats(0.05, 3))
def test_ranges(low, width):
    rng = np.random.default_rng(0)
    array = (low + width * rng.random((4, 6, 8))).astype(np.float32)
    array[0, 0, 0], array[0, 0, 1] = low, low + width
    image = Volume(array, np.eye(4))
    for values, wanted in (("unit", (0, 1)), ("symmetric", (-1, 1))):
        inside = low >= wanted[0] - 1e-3 and low + width <= wanted[1] + 1e-3
        near = min(abs(low - wanted[0]), abs(low + width - wanted[1])) < 5e-3
        if not near:
            assert (verdict(qc(image, values=values), "Value range") == "pass") == inside


def test_zero_mean_in_the_image_or_in_the_labels(prepared):
    image = prepared[0]
    z = engine.run(create("normalize", "zscore"), {"image": image}).images["image"]
    assert verdict(qc(z, values="zscore"), "Mean and deviation") == "pass"
    assert verdict(qc(z), "Mean and deviation") == "pass"
    mask = labels_on(image, (image.array > -500).astype(np.uint8), "body")
    inside = engine.run(create("normalize", "zscore"), {"image": image, "mask": mask}).images["image"]
    assert verdict(qc(inside, values="zscore", labels=[mask]), "Mean and deviation") == "pass"
    assert verdict(qc(image, values="zscore"), "Mean and deviation") == "fail"
    assert verdict(qc(image), "Normalized values") == "fail"
    # A range that is hardly used was another image's.
    assert verdict(qc(z.with_array(z.array * 0.01)), "Normalized values") == "fail"


def test_clipped_range(prepared):
    clipped = engine.run(create("ct.clip"), {"image": prepared[0]}).images["image"]
    assert verdict(qc(clipped, values="clipped"), "Value range") == "pass"
    assert verdict(qc(prepared[0], values="clipped"), "Value range") == "fail"
    with pytest.raises(ParameterError, match="low below high"):
        create("qc", low=1, high=1)


def test_constant_image_fails():
    assert verdict(qc(Volume(np.zeros((4, 5, 6)), np.eye(4)), values="any"), "Contrast") == "fail"


def test_labels_on_another_grid_and_empty_labels(prepared):
    image = prepared[1]
    moved = image.ijkToRAS.copy()
    moved[0, 3] += 0.5
    good = labels_on(image, np.ones(image.shape, np.uint8), "good")
    shifted = dataclasses.replace(good, ijkToRAS=moved, name="shifted")
    smaller = dataclasses.replace(good, array=np.ones((3, 3, 3), np.uint8), name="smaller")
    empty = good.with_array(np.zeros(image.shape, np.uint8), name="empty")
    found = qc(image, labels=[good, shifted, smaller, empty])
    names = ("good", "shifted", "smaller", "empty")
    assert [verdict(found, f"Geometry of {n}") for n in names] == ["pass", "fail", "fail", "pass"]
    assert verdict(found, "Content of empty") == "warn"


def test_a_sheared_grid_fails(prepared):
    skewed = prepared[1].ijkToRAS.copy()
    skewed[1, 2] += 1.0
    assert verdict(qc(dataclasses.replace(prepared[1], ijkToRAS=skewed)), "Right angles") == "fail"


def test_channels_are_checked_one_by_one():
    good = np.random.default_rng(0).random((4, 8, 8)).astype(np.float32)
    image = Volume(np.stack([good, good * 7], axis=3), np.eye(4), info={"channelNames": ["T1", "T2"]})
    found = qc(image)
    assert verdict(found, "Normalized values (T1)") == "pass"
    assert verdict(found, "Normalized values (T2)") == "fail"


def test_a_line_of_voxels_is_refused():
    with pytest.raises(GeometryError, match="two voxels along two axes"):
        qc(Volume(np.zeros((1, 1, 9)), np.eye(4)))


# ---- lungs
def test_lung_coverage_is_the_share_of_the_lung(prepared):
    image = prepared[0]
    lungs = lungs_of(image)
    whole = lung_coverage.coverage(image, lungs)
    assert whole.share > 0.97
    right = lungs.array.copy()
    right[:, :, 28:] = 0
    assert lung_coverage.coverage(image, lungs.with_array(right)).share == pytest.approx(0.5, abs=0.03)
    assert lung_coverage.coverage(image, lungs.with_array(np.zeros_like(right))).share == 0
    assert verdict(qc(image, lungs=lungs.with_array(right), values="any"), "Lung coverage") == "fail"
    assert verdict(qc(image, lungs=lungs, values="any"), "Lung coverage") == "pass"


def test_bowel_gas_and_outside_air_are_no_lung(prepared):
    image = prepared[0]
    lungs = lungs_of(image)
    array = image.array.copy()
    # A gas bubble between the lungs, as large as a stomach; of the body, not of the sides.
    array[4:20, 14:24, 25:31] = AIR
    assert lung_coverage.coverage(image.with_array(array), lungs).share > 0.9
    solid = image.with_array(np.where(image.array < -500, 40, image.array))
    assert lung_coverage.coverage(solid, lungs) is None
    found = qc(solid, lungs=lungs, values="any")
    assert "Lung coverage" not in {c.name for c in found.checks} and "Hounsfield" in found.notes[0]


def test_coverage_of_labels_on_another_grid_is_measured_on_the_original(prepared):
    original, _image = prepared
    lungs = lungs_of(original)
    resampled = engine.run(create("resample", spacing=3.0), {"image": original, "labels": (lungs,)})
    image = engine.run(create("normalize"), {"image": resampled.images["image"]}).images["image"]
    found = qc(image, original, resampled.labels["lungs"], values="unit")
    assert verdict(found, "Lung coverage") == "pass"


# ---- edges
@pytest.mark.parametrize("id", ["ct.clip", "ct.window", "normalize"])
def test_what_is_done_to_each_value_costs_no_edges(prepared, id):
    after = engine.run(create(id), {"image": prepared[0]}).images["image"]
    assert edge_energy.kept(after, prepared[0]) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("spacing", [2.0, 3.0, 6.0])
def test_resampling_costs_no_edges(prepared, spacing):
    after = engine.run(create("resample", spacing=spacing), {"image": prepared[0]}).images["image"]
    assert edge_energy.kept(after, prepared[0]) > 0.9


def test_smoothing_costs_edges_the_more_the_wider(prepared):
    original, image = prepared
    smooth = [
        image.with_array(ndimage.gaussian_filter(image.array, sigma)) for sigma in (0.01, 0.5, 1.0, 2.0)
    ]
    kept = [edge_energy.kept(s, original) for s in smooth]
    assert kept == sorted(kept, reverse=True) and kept[0] > 0.95 and kept[2] < 0.5 and kept[3] < 0.2
    found = [verdict(qc(s, original, values="any"), "Edge energy lost") for s in smooth]
    assert found[0] == "pass" and found[1] == "warn" and found[2:] == ["fail", "fail"]


def test_another_patient_has_no_edges_in_common(prepared):
    far = prepared[0].ijkToRAS.copy()
    far[0, 3] += 5000
    other = dataclasses.replace(prepared[0], ijkToRAS=far)
    assert verdict(qc(prepared[1], other), "Edge energy lost") == "warn"


@settings(max_examples=12, deadline=None)
@given(st.permutations([0, 1, 2]), st.tuples(*[st.booleans()] * 3))
def test_the_stored_orientation_does_not_matter(order, flips):
    image = body((16, 32, 36), spacing=(5.0, 5.0, 5.0))
    lungs = lungs_of(image)
    turn = np.zeros((4, 4))
    turn[3, 3] = 1
    shape = image.shape[::-1]
    for new, (old, flip) in enumerate(zip(order, flips, strict=True)):
        turn[old, new] = -1 if flip else 1
        turn[old, 3] = shape[old] - 1 if flip else 0

    def stored(volume):
        array = volume.array.transpose(2, 1, 0).transpose(order)
        array = array[tuple(slice(None, None, -1 if f else 1) for f in flips)]
        return dataclasses.replace(
            volume, array=np.ascontiguousarray(array.transpose(2, 1, 0)), ijkToRAS=volume.ijkToRAS @ turn
        )

    one, other = (
        qc(v, None, labels, values="any") for v, labels in ((image, lungs), (stored(image), stored(lungs)))
    )
    assert [c.verdict for c in one.checks] == [c.verdict for c in other.checks]
