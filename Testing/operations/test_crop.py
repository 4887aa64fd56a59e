"""Cropping, padding and the way back: whole voxels, exactly in place, however the image is stored."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk
from ctimages import body, grids, labels_on, matrix, read, snapshot, turned
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from MedPrepCommonLib.core import engine
from MedPrepCommonLib.core.errors import GeometryError, InputError, ParameterError
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.core.volume import LabelVolume, Volume
from MedPrepCommonLib.geometry import cropping
from MedPrepCommonLib.geometry.cropping import Box
from MedPrepCommonLib.geometry.orientation import orientation

SHAPES = st.tuples(*[st.integers(2, 11)] * 3)
VALUES = hnp.arrays(np.int16, SHAPES, elements=st.integers(-1024, 3071))
LABELS = hnp.arrays(np.uint8, SHAPES, elements=st.integers(0, 3))
TURNS = st.tuples(st.permutations(range(3)), st.tuples(*[st.booleans()] * 3))
VECTORS = st.tuples(*[st.integers(1, 14)] * 3)
SIZES = st.tuples(*[st.integers(2, 14)] * 3)


def run(name: str, volume: Volume, *labels: LabelVolume, mask: LabelVolume | None = None, **parameters):
    inputs = {"image": volume, "labels": labels, **({} if mask is None else {"mask": mask})}
    return engine.run(create(name, **parameters), inputs)


def restore(label: LabelVolume, reference: Volume) -> LabelVolume:
    result = engine.run(create("restore"), {"image": reference, "labels": (label,)})
    return next(iter(result.labels.values()))


def at(volume: Volume, ras: np.ndarray, outside: float) -> np.ndarray:
    """Values at RAS positions (n, 3) that are voxel centres, `outside` beyond the image."""
    index = (np.c_[ras, np.ones(len(ras))] @ np.linalg.inv(volume.ijkToRAS).T)[:, 2::-1]
    whole = np.rint(index).astype(int)
    assert np.abs(index - whole).max() < 1e-6, "not on voxel centres"
    inside = ((whole >= 0) & (whole < volume.shape)).all(axis=1)
    found = np.full(len(ras), outside, float)
    found[inside] = volume.array[tuple(whole[inside].T)]
    return found


def places(volume: Volume) -> np.ndarray:
    """RAS of every voxel centre, in the array's order."""
    index = np.indices(volume.shape).reshape(3, -1)[::-1]
    return (volume.ijkToRAS @ np.vstack([index, np.ones(index.shape[1])]))[:3].T


def same(one: Volume, two: Volume) -> None:
    """Both are the same anatomy, in whatever order stored."""
    a, b = orientation(one, "SPL"), orientation(two, "SPL")
    assert np.array_equal(a.view(one.array), b.view(two.array))
    for volume in (one, two):
        assert volume.array.flags.c_contiguous
    low, low_2 = (places(v).min(axis=0) for v in (one, two))
    assert np.abs(low - low_2).max() < 1e-6


# ---- the cut
@given(
    VALUES, st.tuples(*[st.integers(-14, 14)] * 3), VECTORS, st.sampled_from(["constant", "edge", "reflect"])
)
def test_a_cut_is_what_numpy_pads(array, start, shape, pad) -> None:
    wide = 30
    keywords = {"constant_values": -7} if pad == "constant" else {}
    whole = np.pad(array, wide, mode=pad, **keywords)
    wanted = whole[tuple(slice(s + wide, s + wide + n) for s, n in zip(start, shape, strict=True))]
    assert np.array_equal(cropping.cut(array, Box(start, shape), pad, -7), wanted)


def test_one_voxel_goes_on_as_itself() -> None:
    for pad in ("edge", "reflect"):
        assert (cropping.cut(np.full((1, 1, 1), 5), Box((-3, 0, 2), (4, 2, 3)), pad) == 5).all()


@given(st.floats(-50, 50), st.integers(1, 60), st.booleans())
def test_the_nearest_box_is_symmetric(centre, size, up) -> None:
    start = cropping.nearest(centre - (size - 1) / 2, up)
    assert abs(start + (size - 1) / 2 - centre) <= 0.5 + 1e-5
    length = 37
    mirrored = cropping.nearest(length - 1 - centre - (size - 1) / 2, not up)
    assert length - mirrored - size == start


# ---- crop or pad
@given(VALUES, grids(), SIZES)
def test_a_fixed_size_keeps_every_voxel_in_place(array, ijkToRAS, size) -> None:
    volume = Volume(array, ijkToRAS, modality="CT", info={"sliceThickness": 3})
    before = snapshot(volume)
    mask = labels_on(volume, (array > 1000).astype(np.uint8))
    result = run("cropPad", volume, mask, mode="size", size=size)
    image, label = result.images["image"], result.labels["thing"]
    assert image.shape[::-1] == size and label.same_grid(image)
    assert image.array.dtype == np.int16 and image.info == volume.info
    assert np.array_equal(image.array.ravel(), at(volume, places(image), array.min()))
    assert np.array_equal(label.array.ravel(), at(mask, places(label), 0))
    middle = [v.ijkToRAS @ [*((np.array(v.shape[::-1]) - 1) / 2), 1] for v in (volume, image)]
    away = np.linalg.inv(volume.directions) @ (middle[1] - middle[0])[:3] / volume.spacing
    assert np.abs(away).max() <= 0.5 + 1e-6
    assert snapshot(volume) == before
    again = run("cropPad", image, mode="size", size=size).images["image"]
    assert np.array_equal(again.array, image.array) and np.abs(again.ijkToRAS - image.ijkToRAS).max() < 1e-9


@given(VALUES, grids(), VECTORS)
def test_a_multiple_loses_nothing(array, ijkToRAS, multiple) -> None:
    volume = Volume(array, ijkToRAS)
    result = run("cropPad", volume, mode="multiple", multiple=multiple)
    image = result.images["image"]
    for n, old, m in zip(image.shape[::-1], volume.shape[::-1], multiple, strict=True):
        assert n % m == 0 and old <= n < old + m
    assert np.array_equal(at(image, places(volume), np.nan), array.ravel())
    assert [result.metrics[f"cropped{a}"] for a in "IJK"] == [0, 0, 0]
    assert [result.metrics[f"padded{a}"] for a in "IJK"] == [
        n - old for n, old in zip(image.shape[::-1], volume.shape[::-1], strict=True)
    ]


@given(VALUES, grids(), VECTORS, TURNS, st.sampled_from(["size", "multiple"]), st.data())
def test_stored_order_does_not_matter(array, ijkToRAS, size, turn, mode, data) -> None:
    volume = Volume(array, ijkToRAS)
    centre = data.draw(st.sampled_from(["image", "mask", "point"]))
    index = data.draw(st.tuples(*[st.integers(0, 20)] * 3))
    point = tuple(float(v) for v in (ijkToRAS @ [*(n / 2 for n in index), 1])[:3])
    mask = labels_on(volume, (array == array.max()).astype(np.uint8))
    settings_of = {"mode": mode, "centre": centre, "point": point, "pad": "reflect"}
    one = run("cropPad", volume, mask=mask, size=size, multiple=size, **settings_of).images["image"]
    axes, _flips = turn
    order = [2 - axes[2 - n] for n in range(3)]
    swapped = [size[n] for n in order]
    two = run(
        "cropPad",
        turned(volume, *turn),
        mask=turned(mask, *turn),
        size=swapped,
        multiple=swapped,
        **settings_of,
    ).images["image"]
    expected = turned(one, *turn)
    assert np.array_equal(two.array, expected.array)
    assert np.abs(two.ijkToRAS - expected.ijkToRAS).max() < 1e-6


def test_the_mask_or_the_point_comes_to_the_middle() -> None:
    volume = Volume(np.arange(20 * 20 * 20, dtype=np.int16).reshape(20, 20, 20), matrix((1, 2, 3), (5, 6, 7)))
    array = np.zeros(volume.shape, np.uint8)
    array[3:6, 10:13, 15:18] = 1
    found = run("cropPad", volume, mask=labels_on(volume, array), mode="size", size=5, centre="mask")
    assert found.images["image"].array[2, 2, 2] == volume.array[4, 11, 16]
    ras = volume.ijkToRAS @ [16, 11, 4, 1]
    point = run("cropPad", volume, mode="size", size=5, centre="point", point=ras[:3])
    assert np.array_equal(point.images["image"].array, found.images["image"].array)
    off = run("cropPad", volume, mode="multiple", multiple=1, centre="point", point=ras[:3])
    assert (
        off.images["image"].shape == (31, 23, 33)
        and off.images["image"].array[15, 11, 16] == volume.array[4, 11, 16]
    )


def test_what_is_beyond_the_border() -> None:
    ct = body((4, 10, 10), padding=-3024)
    around = {"mode": "size", "size": 16}
    corner = {
        pad: run("cropPad", ct, pad=pad, padValue=12, **around).images["image"].array[0, 0, 0]
        for pad in ("auto", "minimum", "constant")
    }
    assert corner == {"auto": -1024, "minimum": -3024, "constant": 12}
    clipped = ct.with_array(np.clip(ct.array, -160, 240))
    assert run("cropPad", clipped, **around).images["image"].array[0, 0, 0] == -160
    scaled = ct.with_array(np.clip(ct.array, 0, 1).astype(np.float32))
    assert run("cropPad", scaled, **around).images["image"].array[0, 0, 0] == 0
    label = labels_on(ct, np.ones(ct.shape, np.uint8))
    assert run("cropPad", ct, label, **around).labels["thing"].array.sum() == label.array.sum()
    assert (run("cropPad", ct, label, pad="reflect", **around).labels["thing"].array == 1).all()


def test_it_says_what_labels_lose() -> None:
    volume = body((6, 20, 20), spacing=(1, 1, 1))
    array = np.zeros(volume.shape, np.uint8)
    array[:, 0:2] = 1
    whole = run("cropPad", volume, labels_on(volume, array))
    assert [check.verdict for check in whole.checks] == ["pass"]
    part = run("cropPad", volume, labels_on(volume, array), mode="size", size=(20, 18, 0))
    (check,) = part.checks
    assert check.verdict == "warn" and "50.0 %" in check.value and "0.12 ml" in check.value
    assert part.metrics["croppedJ"] == 2 and part.metrics["croppedK"] == 0


def test_impossible_requests() -> None:
    volume = body((4, 8, 8))
    grey = volume.with_array(np.clip(volume.array, 0, 255).astype(np.uint8))
    empty = labels_on(volume, np.zeros(volume.shape, np.uint8))
    with pytest.raises(ParameterError, match="padding value"):
        run("cropPad", grey, pad="constant", padValue=-1)
    with pytest.raises(InputError, match="no mask"):
        run("cropPad", volume, centre="mask")
    with pytest.raises(InputError, match="mask is empty"):
        run("cropPad", volume, mask=empty, centre="mask")
    with pytest.raises(ParameterError, match="whole"):
        create("cropPad", size=(1.5, 2, 3))
    with pytest.raises(ParameterError, match="GB"):
        run("cropPad", volume, mode="size", size=4096)
    with pytest.raises(GeometryError, match="another grid"):
        run("cropPad", volume, dataclasses.replace(empty, array=empty.array[1:]))


# ---- crop to foreground
def blob(shape=(14, 20, 24), spacing=(1.0, 1.5, 2.0), **fields) -> Volume:
    """Something bright in the dark, with one bright speck far away."""
    array = np.full(shape, 3, np.int16)
    array[4:9, 6:15, 8:20] = 900
    array[0, 0, 0] = 900
    return Volume(array, matrix(spacing, (7, -3, 11)), **fields)


def test_the_box_around_the_foreground() -> None:
    volume = blob()
    for method in ("automatic", "threshold"):
        found = run("cropForeground", volume, method=method, threshold=500, margin=0).images["image"]
        assert found.shape == (5, 9, 12) and (found.array == 900).all()
        assert np.abs(places(found)[0] - (volume.ijkToRAS @ [8, 6, 4, 1])[:3]).max() < 1e-9
    wide = run("cropForeground", volume, margin=4).images["image"]
    assert wide.shape == (5 + 2 + 2, 9 + 3 + 3, 12 + 4 + 4)
    assert run("cropForeground", volume, margin=500).images["image"].shape == volume.shape


def test_the_box_around_a_mask() -> None:
    volume = blob()
    array = np.zeros(volume.shape, np.uint8)
    array[2:4, 3:5, 1:2] = 1
    found = run("cropForeground", volume, mask=labels_on(volume, array), margin=0).images["image"]
    assert found.shape == (2, 2, 1)


@given(st.integers(0, 40), VECTORS, TURNS)
def test_foreground_in_any_order_and_twice(margin, multiple, turn) -> None:
    volume = blob()
    parameters = {"method": "threshold", "threshold": 500, "margin": margin / 4}
    one = run("cropForeground", volume, multiple=multiple, **parameters).images["image"]
    assert all(n % m == 0 for n, m in zip(one.shape[::-1], multiple, strict=True))
    axes, _flips = turn
    swapped = [multiple[2 - axes[2 - n]] for n in range(3)]
    two = run("cropForeground", turned(volume, *turn), multiple=swapped, **parameters).images["image"]
    assert np.array_equal(two.array, turned(one, *turn).array)
    again = run("cropForeground", one, multiple=multiple, **parameters).images["image"]
    assert again.shape == one.shape and np.array_equal(again.array, one.array)


def test_padding_of_a_scanner_is_no_class_of_its_own() -> None:
    volume = body((6, 60, 60), padding=-3024)
    found = run("cropForeground", volume, margin=0).images["image"]
    inside = cropping.bounding_box(volume.array > -500)
    assert np.abs(np.subtract(found.shape, inside.shape)).max() <= 1


def test_nothing_there() -> None:
    dark = Volume(np.zeros((4, 8, 8), np.int16), np.eye(4))
    with pytest.raises(InputError, match="nothing above"):
        run("cropForeground", dark, method="threshold", threshold=5)
    with pytest.raises(InputError, match="Every voxel is 0"):
        run("cropForeground", dark)


def test_five_orientations_of_one_brain(shared_data) -> None:
    found = {}
    for name in ("RAS", "LPS", "PIR", "ASL", "SRP"):
        volume = read(shared_data / "odd/orientations" / f"{name}.nii.gz")
        found[name] = (
            run("cropForeground", volume, margin=3, multiple=8).images["image"],
            run("cropPad", volume, mode="size", size=37).images["image"],
        )
    for name, images in found.items():
        for one, two in zip(found["RAS"], images, strict=True):
            a, b = orientation(one, "SPL"), orientation(two, "SPL")
            assert np.array_equal(a.view(one.array), b.view(two.array)), name
            assert np.abs(places(one).min(axis=0) - places(two).min(axis=0)).max() < 1e-3


# ---- and back
@st.composite
def chains(draw):
    """Steps that move no voxel in the patient."""
    steps = []
    for _n in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["size", "multiple", "point", "foreground", "turn"]))
        steps.append((kind, draw(SIZES), draw(TURNS)))
    return steps


def follow(steps, image: Volume, *labels: LabelVolume) -> tuple[Volume, ...]:
    for kind, numbers, turn in steps:
        if kind == "turn":
            image, *labels = (turned(volume, *turn) for volume in (image, *labels))
            continue
        if kind == "foreground":
            if image.array.max() < 0:
                continue
            result = run(
                "cropForeground", image, *labels, method="threshold", threshold=-1, margin=1, multiple=numbers
            )
        else:
            middle = places(image)[image.array.size // 3]
            result = run(
                "cropPad",
                image,
                *labels,
                mode="multiple" if kind == "multiple" else "size",
                size=numbers,
                multiple=numbers,
                centre="point" if kind == "point" else "image",
                point=middle,
            )
        image, labels = result.images["image"], result.labels.values()
    return image, *labels


@settings(max_examples=150)
@given(LABELS, grids(), chains())
def test_restore_is_bit_exact(array, ijkToRAS, steps) -> None:
    rng = np.random.default_rng(array.sum())
    image = Volume(rng.integers(-50, 100, array.shape).astype(np.int16), ijkToRAS)
    ones = labels_on(image, np.ones(array.shape, np.uint8), "all")
    prepared_image, prepared, kept = follow(steps, image, labels_on(image, array), ones)
    # What a network makes: any values at all on the prepared grid.
    made = dataclasses.replace(prepared, array=rng.integers(0, 200, prepared.shape).astype(np.uint8))
    back = restore(made, image)
    assert back.same_grid(image) and back.array.dtype == np.uint8
    assert np.array_equal(back.array.ravel(), at(made, places(image), 0))
    assert np.array_equal(restore(prepared, image).array, np.where(restore(kept, image).array, array, 0))
    probability = Volume(rng.random(prepared.shape), prepared.ijkToRAS)
    for method in ("nearest", "linear"):
        op = create("restore", method=method, outside=-1)
        found = engine.run(op, {"image": image, "prediction": probability}).images["image"]
        assert np.array_equal(found.array.ravel(), at(probability, places(image), -1))
    assert prepared_image.same_grid(prepared)


@given(LABELS, grids(), st.tuples(*[st.floats(0.4, 4)] * 3), TURNS)
def test_restore_after_resampling(array, ijkToRAS, factors, turn) -> None:
    """The nearest prepared voxel, nothing lost at the border, and the stored order does not matter."""
    image = Volume(np.zeros(array.shape, np.int16), ijkToRAS)
    spacing = [min(max(f * s, 0.05), 50) for f, s in zip(factors, image.spacing, strict=True)]
    prepared = run("resample", image, labels_on(image, array), spacing=spacing).labels["thing"]
    assume(sorted(prepared.shape)[1] > 1)
    full = dataclasses.replace(prepared, array=np.ones(prepared.shape, np.uint8))
    assert restore(full, image).array.all()
    back = restore(prepared, image)
    index = (np.linalg.inv(prepared.ijkToRAS) @ np.c_[places(image), np.ones(array.size)].T)[2::-1]
    limits = np.array(prepared.shape)[:, None] - 1
    clear = (np.abs(index % 1 - 0.5) > 1e-4).all(axis=0)
    nearest = np.clip(np.rint(index), 0, limits).astype(int)
    assert np.array_equal(back.array.ravel()[clear], prepared.array[tuple(nearest[:, clear])])
    other = restore(turned(prepared, *turn), image)
    assert np.array_equal(other.array, back.array)
    same(
        turned(back, *turn).with_array(np.ascontiguousarray(turned(back, *turn).array)),
        restore(prepared, turned(image, *turn)),
    )


def test_resampling_and_back_keeps_the_nodule(shared_data) -> None:
    folder = shared_data / "ct/lidc0314-2mm"
    image = read(folder / "ct.nii.gz", modality="CT")
    nodule = LabelVolume.from_sitk(
        sitk.ReadImage(str(folder / "nodule.nii.gz"), sitk.sitkUInt8), name="nodule"
    )
    finer = run("resample", image, nodule, spacing=1.0, method="linear")
    cropped = run("cropForeground", finer.images["image"], finer.labels["nodule"], multiple=16)
    back = restore(cropped.labels["nodule"], image)
    both = np.count_nonzero(back.array & nodule.array)
    assert 2 * both / (np.count_nonzero(back.array) + np.count_nonzero(nodule.array)) > 0.95


def test_a_probability_map_comes_back_smooth() -> None:
    image = Volume(np.zeros((20, 20, 20), np.float32), matrix((1, 1, 1)))
    coarse = run("resample", image, spacing=2.0).images["image"]
    ramp = coarse.with_array(places(coarse)[:, 0].reshape(coarse.shape).astype(np.float32))
    op = create("restore", "probability")
    back = engine.run(op, {"image": image, "prediction": ramp}).images["image"]
    wanted = places(image)[:, 0].reshape(image.shape)
    assert np.abs(back.array - wanted)[..., 1:-1].max() < 1e-5


def test_restore_through_another_orientation_of_space() -> None:
    """Grids whose axes are not parallel: the nearest voxel, as ITK finds it."""
    image = body((10, 24, 24), spacing=(2, 2, 2))
    angle = np.radians(20)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    label = LabelVolume(
        (np.random.default_rng(1).random((12, 30, 30)) > 0.5).astype(np.uint8),
        matrix((1.7, 1.9, 2.2), image.ijkToRAS[:3, 3] + [10, -20, 0], turn @ np.diag([-1, -1, 1])),
    )
    wanted = sitk.Resample(label.to_sitk(), image.to_sitk(), sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    found = restore(label, image).array
    assert (found != sitk.GetArrayFromImage(wanted)).mean() < 1e-3
    ramp = Volume(places(label)[:, 0].reshape(label.shape).astype(np.float32), label.ijkToRAS)
    op = create("restore", "probability", outside=-999)
    back = engine.run(op, {"image": image, "prediction": ramp}).images["image"].array
    right = places(image)[:, 0].reshape(image.shape)
    inside = np.abs(back - right) < 1e-3
    assert inside.sum() > 0.2 * back.size and (back[~inside] == -999).mean() > 0.5


def test_restore_asks_for_something() -> None:
    volume = body((4, 8, 8))
    with pytest.raises(InputError, match="nothing to restore"):
        engine.run(create("restore"), {"image": volume})
    far = labels_on(volume, np.ones(volume.shape, np.uint8))
    far = dataclasses.replace(far, ijkToRAS=matrix(volume.spacing, (9000, 0, 0)))
    (check,) = engine.run(create("restore"), {"image": volume, "labels": (far,)}).checks
    assert check.verdict == "warn" and "made from" in check.advice
