"""ct.check: padding, raw values, pictures and MRI recognised; grid facts judged; require_hu refuses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from ctimages import body, matrix, read, read_series, real_scans, snapshot
from hypothesis import given
from hypothesis import strategies as st

from MedPrepCommonLib.core import engine
from MedPrepCommonLib.core.errors import GeometryError, InputError
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.core.volume import Volume
from MedPrepCTLib.quality.hounsfield import find_padding, histogram, hu_notes, judge_volume, require_hu


def check(volume: Volume, **parameters):
    return engine.run(create("ct.check", **parameters), {"image": volume})


def line(result, name: str):
    found = [c for c in result.checks if c.name == name]
    assert len(found) == 1, [c.name for c in result.checks]
    return found[0]


def with_info(volume: Volume, **info) -> Volume:
    return dataclasses.replace(volume, info={**volume.info, **info})


# ---- histogram
@given(
    st.lists(st.floats(-6000, 40000, width=32), min_size=8, max_size=8),
    st.sampled_from([np.int16, np.int32, np.float32, np.float64]),
)
def test_histogram_counts_every_voxel(values, dtype) -> None:
    array = np.array(values).clip(-30000, 32000).astype(dtype).reshape(2, 2, 2)
    found = histogram(array)
    rounded = np.floor(array.astype(np.float64) + 0.5).clip(-32768, 32767).astype(int)
    assert found.total == 8 and (found.minimum, found.maximum) == (array.min(), array.max())
    for value in np.unique(rounded):
        assert found.count(value) == (rounded == value).sum()
    assert found.share(-100, 1000) == pytest.approx(((rounded >= -100) & (rounded <= 1000)).mean())


# ---- padding
@pytest.mark.parametrize("padding", [-1000, -1024, -2000, -2048, -3024, 0])
@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32])
def test_padding_is_found(padding, dtype) -> None:
    volume = body(padding=padding, dtype=dtype)
    assert find_padding(volume.array) == padding
    result = check(volume)
    assert result.metrics["padding"] == padding
    assert result.metrics["paddingShare"] == pytest.approx((np.floor(volume.array + 0.5) == padding).mean())
    assert str(padding) in line(result, "Padding").value
    assert result.metrics["values"] == "HU" and result.metrics["airPeak"] == pytest.approx(-1000, abs=6)


def test_air_is_not_padding() -> None:
    assert find_padding(body().array) is None
    # Air cut off at -1000 (an intercept of -1000) is the air, whatever its share.
    for noise in (3.0, 12.0, 30.0):
        cut = np.maximum(body(noise=noise).array, -1000)
        assert (cut == -1000).mean() > 0.2
        assert find_padding(cut) is None
    # Air without noise, as in phantoms and after denoising, is the air too.
    assert find_padding(body(noise=0).array) is None


def test_padding_on_one_side_only() -> None:
    array = body().array.copy()
    array[:, :, :9] = -2048
    assert find_padding(array) == -2048


def test_a_metal_plateau_is_not_padding() -> None:
    array = body().array.copy()
    array[8:16, 30:40, 30:40] = 3071
    assert find_padding(array) is None


# ---- what the values are
def test_a_good_scan_passes() -> None:
    volume = with_info(
        body(spacing=(2.0, 2.0, 2.0)), sliceThickness=2.0, rescaleSlope=1, rescaleIntercept=-1024
    )
    result = check(volume)
    assert result.metrics["verdict"] == "pass"
    assert {c.verdict for c in result.checks} == {"pass"}
    assert result.metrics["tissuePeak"] == pytest.approx(50, abs=6)
    assert result.metrics["boneShare"] == pytest.approx((volume.array > 300).mean(), rel=0.05)
    assert line(result, "Rescale").value == "slope 1, intercept -1024"


@pytest.mark.parametrize("offset", [1024, 1000])
@pytest.mark.parametrize("modality", ["CT", ""])
def test_raw_stored_values_are_recognised(offset, modality) -> None:
    hu = np.maximum(body(noise=8).array, -offset)
    for dtype in (np.int16, np.uint16):
        raw = Volume((hu + offset).astype(dtype), matrix((2, 2, 2)), modality=modality)
        result = check(raw)
        assert line(result, "Hounsfield units").verdict == "fail"
        assert result.metrics["values"] == "raw" and result.metrics["missingIntercept"] == -offset
        with pytest.raises(InputError) as error:
            require_hu(raw)
        assert f"add {-offset}" in error.value.advice


def test_raw_values_with_padding_below() -> None:
    # GE stores -2000 outside the field of view beside raw values.
    volume = body()
    raw = (volume.array + 1024).astype(np.int16)
    _, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in raw.shape), indexing="ij")
    raw[x**2 + y**2 > 1] = -2000
    judged = judge_volume(Volume(raw, np.eye(4)))
    assert (judged.kind, judged.offset) == ("raw", -1024)


def test_pictures_are_recognised() -> None:
    window = create("ct.window")
    for op in (window, create("ct.window", outputType="float")):
        picture = engine.run(op, {"image": body()}).images["image"]
        result = check(picture)
        assert result.metrics["values"] == "windowed"
        assert line(result, "Hounsfield units").verdict == "fail"
        with pytest.raises(InputError, match="windowed"):
            require_hu(picture)


def test_standardized_images_are_refused() -> None:
    scores = engine.run(create("normalize", "zscore"), {"image": body()}).images["image"]
    with pytest.raises(InputError, match="not Hounsfield units"):
        require_hu(scores)


def test_one_value_everywhere() -> None:
    flat = Volume(np.full((3, 4, 5), -1000, np.int16), np.eye(4))
    assert check(flat).metrics["values"] == "constant"
    with pytest.raises(InputError, match="Every voxel is -1000"):
        require_hu(flat)


def test_tissue_alone_counts_when_the_file_says_ct() -> None:
    # A crop inside the liver has neither air nor fat.
    rng = np.random.default_rng(0)
    crop = Volume(rng.normal(60, 12, (10, 20, 20)).astype(np.int16), matrix(), modality="CT")
    assert crop.array.min() > 0
    require_hu(crop)
    for modality, array in (("", crop.array), ("", crop.array * 9), ("CT", crop.array.astype(np.uint8))):
        with pytest.raises(InputError):
            require_hu(dataclasses.replace(crop, array=array, modality=modality))


@pytest.mark.parametrize(
    "path",
    [
        "mri/adi-t1-t2/t1-mprage.nii.gz",
        "mri/adi-t1-t2/t2-fse.nii.gz",
        "mri/stroke-multiseq/t1.nii.gz",
        "mri/stroke-multiseq/t2.nii.gz",
        "mri/fs-norm-wm/norm.nii.gz",
        "odd/orientations/RAS.nii.gz",
        "odd/oblique-nifti/CT_pitch.nii.gz",
    ],
)
def test_real_images_that_are_no_hu(shared_data, path) -> None:
    volume = read(shared_data / path)
    with pytest.raises(InputError) as error:
        require_hu(volume)
    assert error.value.expected and error.value.advice
    assert len(hu_notes(volume)) == 1
    assert check(volume).metrics["verdict"] == "fail"


def test_real_scans_are_hu(shared_data) -> None:
    for name, volume in real_scans(shared_data).items():
        require_hu(volume)
        assert hu_notes(volume) == [], name
        result = check(volume)
        assert line(result, "Hounsfield units").verdict == "pass", name
        assert "padding" not in result.metrics, name


def test_real_padding(shared_data) -> None:
    assert find_padding(read_series(shared_data / "ct/lungmask-2slices").array) == -2048
    abdomen = read_series(shared_data / "ct/ts-j2k-dicom/dicom")
    assert find_padding(abdomen.array) == -1024
    # Here -1024 is only where noise was cut off.
    thick = read_series(shared_data / "ct/lungdx-a0002-8mm-b40f/dicom")
    assert thick.array.min() == -1024 and find_padding(thick.array) is None
    assert line(check(thick), "Slice thickness").verdict == "warn"
    assert line(check(abdomen), "Slice thickness").verdict == "pass"


# ---- ends of the range
def test_clipped_images_are_noted() -> None:
    clipped = engine.run(create("ct.clip", "softTissue"), {"image": body(noise=25)}).images["image"]
    result = check(clipped)
    assert line(result, "Lower end").verdict == "warn" and "-200" in line(result, "Lower end").value
    assert line(result, "Upper end").verdict == "warn" and "400" in line(result, "Upper end").value
    assert line(result, "Air").verdict == "warn"


def test_a_saturated_scanner_is_noted() -> None:
    array = body().array.copy()
    array[8:16, 30:40, 30:40] = 3071
    found = line(check(Volume(array, matrix((2, 2, 2)))), "Upper end")
    assert found.verdict == "pass" and found.value == "800 voxels = 3071"


# ---- grid
@pytest.mark.parametrize(
    ("thickness", "verdict"), [(0.6, "pass"), (2.99, "pass"), (3.0, "warn"), (8.0, "warn")]
)
def test_slice_thickness_from_the_file(thickness, verdict) -> None:
    found = line(check(with_info(body(), sliceThickness=thickness)), "Slice thickness")
    assert found.verdict == verdict and "as the scanner states" in found.value
    assert bool(found.advice) == (verdict == "warn")


def test_slice_thickness_from_the_spacing() -> None:
    found = line(check(body(spacing=(0.7, 0.7, 2.5))), "Slice thickness")
    assert found.verdict == "pass" and found.value == "2.5 mm (distance between slices)"
    # The slices of a sagittal array are stacked along another axis.
    turned = Volume(body().array.transpose(2, 1, 0), matrix((5.0, 0.7, 0.7)), modality="CT")
    assert line(check(turned), "Slice thickness").value.startswith("5 mm")
    assert line(check(turned, maximumSliceThickness=5.5), "Slice thickness").verdict == "pass"
    for useless in (None, "", "thick", 0, -1):
        found = line(check(with_info(body(), sliceThickness=useless)), "Slice thickness")
        assert "distance between slices" in found.value


@pytest.mark.parametrize(
    ("deviation", "verdict"), [(0.0, "pass"), (0.009, "pass"), (0.2, "warn"), (2.5, "fail"), (5.0, "fail")]
)
def test_slice_distances(deviation, verdict) -> None:
    volume = with_info(body(spacing=(1, 1, 4.0)), sliceSpacingDeviation=deviation)
    assert line(check(volume), "Slice distances").verdict == verdict


def test_shear_is_reported_and_not_refused() -> None:
    skewed = matrix((1, 1, 2))
    skewed[1, 2] = 2 * np.tan(np.radians(12))
    result = check(Volume(body().array, skewed, modality="CT"))
    found = line(result, "Right angles")
    assert found.verdict == "fail" and "12.00" in found.value
    assert result.metrics["verdict"] == "fail"


def test_real_shear(shared_data) -> None:
    volume = read(shared_data / "odd/shear-nifti/shear.nii.gz")  # ITK has dropped the shear
    sheared = volume.ijkToRAS.copy()
    sheared[:3, 2] += 0.317 * volume.spacing[2] * volume.directions[:, 1]
    found = line(check(dataclasses.replace(volume, ijkToRAS=sheared)), "Right angles")
    assert found.verdict == "fail"


@pytest.mark.parametrize(("tilt", "verdict"), [(0.0, "pass"), (-15.0, "warn")])
def test_a_tilted_gantry_on_a_straight_grid(tilt, verdict) -> None:
    assert line(check(with_info(body(), gantryTilt=tilt)), "Gantry tilt").verdict == verdict


@pytest.mark.parametrize(
    ("spacing", "name"),
    [
        ((0.003, 0.003, 0.004), "Spacing"),
        ((70, 70, 100), "Spacing"),
        ((70, 70, 100), "Field of view"),
    ],
)
def test_impossible_spacing(spacing, name) -> None:
    assert line(check(body(spacing=spacing)), name).verdict == "warn"


@pytest.mark.parametrize("spacing", [(0.0007, 0.0007, 0.001), (700, 700, 1000)])
def test_spacing_beyond_all_bounds_is_no_image(spacing) -> None:
    """Micrometres or metres taken for millimetres (bounds.py)."""
    with pytest.raises(GeometryError, match="0.001 to"):
        body(spacing=spacing)


def test_spacing_that_may_be_missing() -> None:
    assert "without spacing" in line(check(body(spacing=(1, 1, 1))), "Spacing").advice
    known = with_info(body(spacing=(1, 1, 1)), sliceThickness=1.0)
    assert line(check(known), "Spacing").advice == ""


def test_facts_that_the_reader_found() -> None:
    unknown = line(check(with_info(body(), spacingKnown=False)), "Pixel size")
    assert unknown.verdict == "fail" and "not known" in unknown.value
    gap = line(check(with_info(body(), sliceSpacingDeviation=0.0, missingSlices=2)), "Missing slices")
    assert gap.verdict == "fail" and "2 never arrived" in gap.value
    assert line(check(with_info(body(), lossyCompression=True)), "Compression").verdict == "warn"
    padded = check(with_info(body(padding=-2048), padding=-2048.0))
    assert "as the file states" in line(padded, "Padding").value
    one = with_info(Volume(body().array[:1], matrix(), modality="CT"), gantryTilt=12.0)
    assert line(check(one), "Gantry tilt").verdict == "pass"


@pytest.mark.parametrize(("slope", "verdict"), [(1, "pass"), ("1.5", "pass"), (0, "fail"), ("x", "fail")])
def test_rescale(slope, verdict) -> None:
    assert line(check(with_info(body(), rescaleSlope=slope)), "Rescale").verdict == verdict


# ---- the result
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 9), (7, 1, 1)])
def test_nothing_to_check(shape) -> None:
    with pytest.raises(GeometryError, match="two voxels along two axes"):
        check(Volume(np.zeros(shape, np.int16), np.eye(4)))


def test_table_figure_and_input() -> None:
    volume = body(padding=-2048)
    before = snapshot(volume)
    result = check(volume)
    table, figure = result.tables["check"], result.figures["histogram"]
    assert table.columns == ("check", "verdict", "value", "limit", "advice")
    assert [row[0] for row in table.rows] == [c.name for c in result.checks]
    x, y = np.array(figure.curves[0].x), np.array(figure.curves[0].y)
    assert len(x) == len(y) <= 501 and (np.diff(x) > 0).all()
    assert (10**y - 1).sum() == pytest.approx(volume.array.size, rel=1e-4)
    assert abs(x[y.argmax()] - -2048) < 10 or abs(x[y.argmax()] - -1000) < 20
    assert snapshot(volume) == before


@pytest.mark.parametrize("shape", [(1, 40, 40), (40, 1, 40), (40, 40, 1), (2, 2, 2)])
def test_thin_images(shape) -> None:
    rng = np.random.default_rng(1)
    volume = Volume(rng.integers(-1000, 400, shape).astype(np.int16), np.eye(4))
    assert line(check(volume), "Hounsfield units").verdict == "pass"
