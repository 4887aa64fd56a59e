"""Patches: where they lie, what they hold, how they are written, and that they make the image again."""

from __future__ import annotations

import csv
import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from ctimages import body, grids, labels_on, matrix, turned
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from MedPrepCommonLib.core import engine, recipe, runner
from MedPrepCommonLib.core.errors import Cancelled, FileError, GeometryError, InputError, ParameterError
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.core.patch_set import COLUMNS, PatchSet
from MedPrepCommonLib.core.volume import LabelVolume, Segment, Volume
from MedPrepCommonLib.files import patch_writing
from MedPrepCommonLib.files.patch_folder import PatchFolder

SHAPES = st.tuples(*[st.integers(2, 15)] * 3)
VALUES = hnp.arrays(np.int16, SHAPES, elements=st.integers(-1024, 3071))
SIZES = st.tuples(*[st.integers(1, 9)] * 3)
TURNS = st.tuples(st.permutations(range(3)), st.tuples(*[st.booleans()] * 3))
TISSUE = ("SCT", "85756007", "Tissue")


def run(volume: Volume, *labels: LabelVolume, mask=None, candidates=None, **parameters):
    inputs = {"image": volume, "labels": labels}
    inputs |= {n: v for n, v in (("mask", mask), ("candidates", candidates)) if v is not None}
    return engine.run(create("patches", **parameters), inputs)


def patches(volume: Volume, *labels: LabelVolume, **inputs) -> PatchSet:
    return run(volume, *labels, **inputs).patches["patches"]


def numbered(shape=(12, 14, 16), spacing=(1.0, 1.5, 2.0)) -> Volume:
    """Every voxel has a value of its own."""
    return Volume(np.arange(np.prod(shape), dtype=np.int32).reshape(shape), matrix(spacing, (3, -4, 5)))


def window(volume: Volume, patch, size) -> np.ndarray:
    """What a patch of scale 1 must hold, by its own record; padded with the smallest value."""
    k, j, i = (int(n) + 50 for n in patch.first[::-1])
    padded = np.pad(volume.array, 50, constant_values=volume.array.min())
    return padded[k : k + size[0], j : j + size[1], i : i + size[2]]


# ---- where they lie
@settings(max_examples=50)
@given(VALUES, grids(), SIZES, st.sampled_from([0, 25, 50, 75]))
def test_a_grid_covers_the_image(array, ijkToRAS, size, overlap) -> None:
    volume = Volume(array, ijkToRAS)
    found = patches(volume, size=size, overlap=overlap)
    assert found.size == size[::-1] and found.array.dtype == np.int16
    covered = np.zeros(array.shape, int)
    for number, patch in enumerate(found.patches):
        assert np.array_equal(found.array[number], window(volume, patch, size[::-1]))
        start = [int(n) for n in patch.first[::-1]]
        for s, n, whole in zip(start, size[::-1], array.shape, strict=True):
            assert (s >= 0 and s + n <= whole) or n > whole
        covered[tuple(slice(max(s, 0), s + n) for s, n in zip(start, size[::-1], strict=True))] += 1
        middle = np.array(patch.first) + (np.array(size) - 1) / 2
        assert np.abs((ijkToRAS @ [*middle, 1])[:3] - patch.position).max() < 1e-6
        assert (
            np.abs((found.matrix(number) @ [*(np.array(size) - 1) / 2, 1])[:3] - patch.position).max() < 1e-6
        )
    assert covered.min() >= 1
    for axis in range(3):
        starts = sorted({int(p.first[axis]) for p in found.patches})
        assert all(
            b - a <= max(1, size[axis] * (1 - overlap / 100))
            for a, b in zip(starts, starts[1:], strict=False)
        )


@settings(max_examples=50)
@given(
    VALUES,
    grids(),
    SIZES,
    TURNS,
    st.sampled_from(["grid", "random", "foreground", "candidates"]),
    st.integers(1, 2),
)
def test_stored_order_does_not_matter(array, ijkToRAS, size, turn, method, scales) -> None:
    volume = Volume(array, ijkToRAS)
    mask = labels_on(volume, (array >= np.median(array)).astype(np.uint8))
    chosen = {"method": method, "number": 7, "overlap": 30, "scales": scales, "border": "edge", "seed": 5}
    one = patches(volume, mask, mask=mask, candidates=mask, size=size, **chosen)
    axes, flips = turn
    other = turned(mask, *turn)
    order = [2 - axes[2 - n] for n in range(3)]
    two = patches(
        turned(volume, *turn), other, mask=other, candidates=other, size=[size[n] for n in order], **chosen
    )
    assert len(one) == len(two)
    for n in range(len(one)):
        for a, b in ((one.image(n), two.image(n)), (one.label_map("thing", n), two.label_map("thing", n))):
            expected = turned(a, *turn)
            # Coarser patches are rounded.
            assert np.abs(expected.array.astype(int) - b.array).max() <= (
                0 if one.patches[n].scale == 1 else 1
            )
            assert np.abs(expected.ijkToRAS - b.ijkToRAS).max() < 1e-6
        a, b = one.patches[n], two.patches[n]
        assert (a.scale, a.label, a.foreground) == (b.scale, b.label, pytest.approx(b.foreground))


def test_random_places_lie_inside_and_repeat() -> None:
    volume = numbered()
    one, same, other = (patches(volume, method="random", size=8, number=30, seed=s) for s in (1, 1, 2))
    assert np.array_equal(one.array, same.array) and one.records() == same.records()
    assert not np.array_equal(one.array, other.array)
    for patch in one.patches:
        assert all(f >= 0 and f + 8 <= n for f, n in zip(patch.first, volume.shape[::-1], strict=True))
    starts = {p.first[0] for p in patches(volume, method="random", size=8, number=300).patches}
    assert starts == set(range(9)), "both ends are drawn too"


def test_places_on_the_foreground() -> None:
    volume = numbered()
    array = np.zeros(volume.shape, np.uint8)
    array[2, 3, 4], array[9, 10, 11] = 1, 2
    names = (Segment(1, "one", TISSUE, TISSUE), Segment(2, "two", TISSUE, TISSUE))
    mask = labels_on(volume, array, segments=names)
    found = patches(volume, method="foreground", mask=mask, size=3, number=20)
    assert {p.label: (p.segment, found.array[n, 1, 1, 1]) for n, p in enumerate(found.patches)} == {
        1: ("one", volume.array[2, 3, 4]),
        2: ("two", volume.array[9, 10, 11]),
    }
    assert all(p.foreground == pytest.approx(1 / 27) for p in found.patches)
    bright = volume.with_array(np.where(array == 2, 500, 3).astype(np.int16))
    alone = patches(bright, method="foreground", size=1, number=4)
    assert (alone.array == 500).all()


def test_a_patch_for_each_candidate() -> None:
    volume = numbered((20, 24, 28))
    array = np.zeros(volume.shape, np.int16)
    array[3:6, 3:6, 3:6] = 1
    array[10:13, 15:18, 20:23] = 1
    array[15, 20, 5] = 4
    segments = (Segment(4, "nodule 4", TISSUE, TISSUE),)
    candidates = labels_on(volume, array, segments=segments)
    result = run(volume, method="candidates", candidates=candidates, size=5)
    found = result.patches["patches"]
    assert [p.label for p in found.patches] == [1, 1, 4] and found.patches[2].segment == "nodule 4"
    middles = {int(found.array[n, 2, 2, 2]) for n in range(3)}
    assert middles == {int(volume.array[p]) for p in ((4, 4, 4), (11, 16, 21), (15, 20, 5))}
    assert [p.foreground for p in found.patches] == pytest.approx([27 / 125, 27 / 125, 1 / 125])
    assert result.points["patchCentres"].positions[0] == pytest.approx((volume.ijkToRAS @ [4, 4, 4, 1])[:3])
    # Candidates that were found on another grid, or on more of the patient.
    coarse = LabelVolume(array[::2, ::2, ::2], volume.ijkToRAS @ np.diag([2, 2, 2, 1.0]))
    assert len(patches(volume, method="candidates", candidates=coarse, size=5)) == 2
    cropped = Volume(volume.array[:8], volume.ijkToRAS)
    part = run(cropped, method="candidates", candidates=candidates, size=5)
    assert part.metrics["places"] == 1 and "2 candidates lie outside" in part.notes[0]


def test_no_candidates_is_no_error() -> None:
    volume = numbered()
    empty = labels_on(volume, np.zeros(volume.shape, np.uint8))
    result = run(volume, empty, method="candidates", candidates=empty, size=(3, 4, 5))
    found = result.patches["patches"]
    assert found.array.shape == (0, 5, 4, 3) and found.labels["thing"].shape == (0, 5, 4, 3)
    assert [c.verdict for c in result.checks] == ["warn"] and not result.points


def test_too_little_foreground_is_left_out() -> None:
    volume = numbered((16, 16, 16))
    array = np.zeros(volume.shape, np.uint8)
    array[:, :, :8] = 1
    mask = labels_on(volume, array)
    assert [p.foreground for p in patches(volume, mask=mask, size=8, minimumForeground=60).patches] == [
        1.0
    ] * 4
    found = patches(volume, mask=mask, size=8, minimumForeground=60, method="random", number=25)
    assert len(found) == 25 and min(p.foreground for p in found.patches) >= 0.6
    ignored = run(volume, size=8, minimumForeground=60)
    assert ignored.metrics["patches"] == 8 and "without a mask" in ignored.notes[0]
    none = run(volume, mask=mask, size=16, minimumForeground=60, method="random", number=5)
    assert len(none.patches["patches"]) == 0 and none.checks[0].verdict == "warn"


def test_the_border() -> None:
    volume = numbered()
    array = np.zeros(volume.shape, np.uint8)
    array[0, 0, 0] = 1
    corner = labels_on(volume, array)
    ones = labels_on(volume, np.ones(volume.shape, np.uint8))
    at_corner = {"method": "candidates", "candidates": corner, "size": 5}
    constant = patches(volume, ones, border="constant", padValue=-7, **at_corner)
    assert constant.array[0, 2, 2, 2] == volume.array[0, 0, 0]
    assert (constant.array[0] == -7).sum() == 125 - 27 and constant.labels["thing"].sum() == 27
    reflected = patches(volume, ones, border="reflect", **at_corner)
    assert reflected.array[0, 0, 0, 0] == volume.array[2, 2, 2] and reflected.labels["thing"].all()
    assert patches(volume, border="edge", **at_corner).array[0, 0, 0, 0] == volume.array[0, 0, 0]
    shifted = patches(volume, border="shift", **at_corner)
    assert np.array_equal(shifted.array[0], volume.array[:5, :5, :5])
    dropped = run(volume, border="drop", **at_corner)
    assert dropped.metrics == {"places": 0, "patches": 0, "dropped": 1}
    assert "1 left out" in dropped.checks[0].value
    ct = body((6, 12, 12), padding=-3024)
    far = dataclasses.replace(
        corner, array=np.zeros(ct.shape, np.uint8) + (np.indices(ct.shape).sum(0) == 0), ijkToRAS=ct.ijkToRAS
    )
    assert patches(ct, method="candidates", candidates=far, size=5).array[0, 0, 0, 0] == -1024


def test_scales_share_their_centre() -> None:
    """A ramp in the patient stays the same ramp at every field of view."""
    shape = (40, 44, 48)
    volume = Volume(np.zeros(shape, np.float32), matrix((0.8, 1.1, 2.0), (3, 4, 5)))
    k, j, i = np.indices(shape)
    ramp = 2.0 * i + 3.0 * j - k
    labels = labels_on(volume, ((i // 8 + j // 8 + k // 8) % 3).astype(np.uint8))
    mask = labels_on(volume, ((k == 20) & (j == 22) & (i == 24)).astype(np.uint8))
    found = patches(
        volume.with_array(ramp.astype(np.float32)),
        labels,
        method="candidates",
        candidates=mask,
        size=(8, 6, 1),
        scales=3,
    )
    assert [p.scale for p in found.patches] == [1, 2, 4] and len({p.position for p in found.patches}) == 1
    assert [p.centre for p in found.patches] == [0, 0, 0]
    for n, patch in enumerate(found.patches):
        spacing = found.image(n).spacing
        assert spacing == pytest.approx((0.8 * patch.scale, 1.1 * patch.scale, 2.0)), (
            "one slice stays one slice"
        )
        to_index = np.linalg.inv(volume.ijkToRAS) @ found.matrix(n)
        index = np.indices(found.size).reshape(3, -1)[::-1]
        i, j, k = (to_index @ np.vstack([index, np.ones(index.shape[1])]))[:3]
        assert np.abs(found.array[n].ravel() - (2 * i + 3 * j - k)).max() < 1e-3
        near = np.abs(np.stack([i, j, k]) % 1 - 0.5).min(axis=0) > 0.01
        inside = [np.rint(v[near]).astype(int) for v in (k, j, i)]
        assert np.array_equal(found.labels["thing"][n].ravel()[near], labels.array[tuple(inside)])
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in found.records()]
    assert [r["scale"] for r in rows] == [1, 2, 4] and rows[1]["i"] == found.patches[1].first[0]


def test_flat_and_colour_images() -> None:
    flat = Volume(np.arange(400, dtype=np.int16).reshape(1, 20, 20), matrix((1, 1, 5)))
    assert patches(flat, size=8).size == (1, 8, 8)
    colour = Volume(np.arange(3 * 512, dtype=np.uint16).reshape(8, 8, 8, 3), np.eye(4))
    found = patches(colour, size=4)
    assert found.array.shape == (8, 4, 4, 4, 3) and found.image(0).components == 3
    with pytest.raises(InputError, match="Expected a mask"):
        run(colour, method="foreground", size=4)


def test_impossible_requests() -> None:
    volume = numbered()
    other = labels_on(numbered((5, 5, 5)), np.ones((5, 5, 5), np.uint8))
    with pytest.raises(InputError, match="no candidates"):
        run(volume, method="candidates")
    for wrong in ({"mask": other}, {}):
        with pytest.raises(GeometryError, match="another grid"):
            run(volume, *(() if wrong else (other,)), **wrong)
    with pytest.raises(ParameterError, match="whole"):
        create("patches", size=(2.5, 3, 3))
    with pytest.raises(ParameterError, match="GB"):
        run(volume, method="random", number=50, size=512)


# ---- how they are written
@pytest.fixture
def some() -> PatchSet:
    volume = body((12, 30, 30), name="PATIENT NAME")
    lungs = labels_on(volume, (volume.array < -700).astype(np.uint8), "lungs & more")
    return patches(volume, lungs, mask=lungs, size=(10, 12, 8), scales=2)


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "manifest.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_npz(some: PatchSet, tmp_path: Path) -> None:
    for name in ("one", "two"):
        patch_writing.write(some, tmp_path / name)
    found = rows(tmp_path / "one")
    assert len(found) == len(some) and found[3]["file"] == "000003.npz"
    with np.load(tmp_path / "one" / found[3]["file"]) as archive:
        assert set(archive) == {"image", "lungs_more", "ijkToRAS"}
        assert np.array_equal(archive["image"], some.array[3]) and archive["image"].dtype == np.int16
        assert np.array_equal(archive["lungs_more"], some.labels["lungs & more"][3])
        assert np.array_equal(archive["ijkToRAS"], some.matrix(3))
    for row, patch in zip(found, some.patches, strict=True):
        assert [float(row[a]) for a in "ijk"] == list(patch.first)
        assert [float(row[f"{a} (mm)"]) for a in "ras"] == pytest.approx(patch.position, abs=1e-5)
    names = sorted(p.name for p in (tmp_path / "one").iterdir())
    assert names == sorted(p.name for p in (tmp_path / "two").iterdir())
    assert all((tmp_path / "one" / n).read_bytes() == (tmp_path / "two" / n).read_bytes() for n in names)
    record = json.loads((tmp_path / "one" / "patches.json").read_text())
    assert record["size"] == [10, 12, 8] and record["image"]["shape"] == [30, 30, 12]
    assert record["provenance"][-1]["operation"] == "patches" and record["labels"] == {
        "lungs_more": {"1": "thing"}
    }
    assert not any(b"PATIENT" in (tmp_path / "one" / n).read_bytes() for n in names)


def test_nifti(some: PatchSet, tmp_path: Path) -> None:
    patch_writing.write(dataclasses.replace(some, format="nifti"), tmp_path / "out")
    for number in (0, 3):
        file = rows(tmp_path / "out")[number]["file"]
        found = Volume.from_sitk(sitk.ReadImage(str(tmp_path / "out" / file)))
        assert np.array_equal(found.array, some.array[number])
        assert np.abs(found.ijkToRAS - some.matrix(number)).max() < 1e-4
        label = sitk.ReadImage(str(tmp_path / "out" / file.replace(".nii.gz", "_lungs_more.nii.gz")))
        assert np.array_equal(sitk.GetArrayFromImage(label), some.labels["lungs & more"][number])


def test_zarr(some: PatchSet, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    patch_writing.write(dataclasses.replace(some, format="zarr"), tmp_path / "out")
    found = zarr.open_array(str(tmp_path / "out" / "image.zarr"), mode="r")
    assert np.array_equal(found[:], some.array) and found.chunks == (1, *some.size)
    assert {row["file"] for row in rows(tmp_path / "out")} == {"image.zarr"}


def test_zarr_without_the_package(some: PatchSet, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(FileError, match="not installed") as error:
        patch_writing.write(dataclasses.replace(some, format="zarr"), tmp_path / "out")
    assert "pip install zarr" in error.value.advice


def test_label_maps_never_take_the_name_of_the_image(some: PatchSet) -> None:
    array = some.labels["lungs & more"]
    odd = dataclasses.replace(some, labels={n: array for n in ("Image", "a b", "a/b", "///", "ijkToRAS")})
    names = patch_writing.array_names(odd)
    assert len({n.lower() for n in names.values()} | {"image", "ijktoras"}) == 7
    assert all(n.replace("_", "").replace("-", "").isalnum() for n in names.values())


@pytest.mark.parametrize("kind", ["npz", "nifti"])
def test_long_names_of_label_maps_are_cut_for_the_file_system(kind, some: PatchSet, tmp_path: Path) -> None:
    """A node's name has the names of the nodes before it in it."""
    array = some.labels["lungs & more"]
    names = ["肺" * 150 + " tumour", "Brain Crop or pad " * 20 + "tumour", "肺" * 151 + " tumour"]
    odd = dataclasses.replace(some, labels=dict.fromkeys(names, array), segments={}, format=kind)
    patch_writing.write(odd, tmp_path / "out")
    folder = PatchFolder(tmp_path / "out")
    keys = patch_writing.array_names(odd)
    assert len(set(keys.values())) == 3 and all("tumour" in key for key in keys.values())
    for key in keys.values():
        assert np.array_equal(folder.values(0, key), array[0])


def test_cancel_while_writing(some: PatchSet, tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        patch_writing.write(some, tmp_path / "out", Job(cancelled=lambda: True))


# ---- in a recipe and in the scene
def a_recipe(**outputs) -> recipe.Recipe:
    steps = [
        {"operation": "cropPad", "inputs": {"image": "image"}},
        {
            "id": "cut",
            "operation": "patches",
            "parameters": {"size": 16},
            "inputs": {"image": "cropPad.image"},
        },
        {
            "id": "again",
            "operation": "patches",
            "parameters": {"size": 32},
            "inputs": {"image": "cropPad.image"},
        },
    ]
    record = {"schema": recipe.SCHEMA, "version": recipe.VERSION, "name": "p", "inputs": {"image": {}}}
    return recipe.parse({**record, "steps": steps, "outputs": outputs})


def test_a_recipe_names_its_patches() -> None:
    volume = body((12, 30, 30))
    done = runner.run(a_recipe(image="cropPad.image"), {"image": volume})
    assert list(done.result.patches) == ["patches", "again.patches"]
    assert list(done.result.points) == ["patchCentres", "again.patchCentres"]
    named = runner.run(a_recipe(training="again.patches", patches="cut.patches"), {"image": volume})
    assert {n: p.size for n, p in named.result.patches.items()} == {
        "training": (32,) * 3,
        "patches": (16,) * 3,
    }
    steps = [step["operation"] for step in named.result.patches["training"].history]
    assert steps == ["cropPad", "patches"]
    facts = named.record["outputs"]["training"]
    assert facts["shape"] == [32, 32, 32] and facts["patches"] == len(named.result.patches["training"])
    swapped = runner.run(a_recipe(patches="again.patches"), {"image": volume})
    assert {n: p.size for n, p in swapped.result.patches.items()} == {
        "patches": (32,) * 3,
        "cut.patches": (16,) * 3,
    }


def test_a_run_writes_a_folder_of_patches(slicerHost, tmp_path: Path) -> None:
    from MedPrepCommonLib import headless
    from MedPrepCommonLib.outputs import writing as outputs

    volume = body((12, 30, 30))
    done = runner.run(a_recipe(training="again.patches", patches="cut.patches"), {"image": volume})
    written = outputs.write(done, {"image": volume}, tmp_path / "out")
    assert {"patches/manifest.csv", "patches/patches.json", "patches/000000.npz"} <= set(written.files)
    assert {"training/manifest.csv", "training/000000.npz"} <= set(written.files)
    assert len(rows(written.folder / "patches")) == len(done.result.patches["patches"])
    headless.loadScene(written.folder / "scene.mrb")
    import slicer

    table = slicer.util.getNode("image p patches")
    assert table.IsA("vtkMRMLTableNode") and table.GetNumberOfRows() == 8
    centres = slicer.util.getNode("image p patchCentres")
    assert centres.IsA("vtkMRMLMarkupsFiducialNode")
    assert sum(n.IsA("vtkMRMLVolumeNode") for n in slicer.util.getNodesByClass("vtkMRMLVolumeNode")) == 1
    headless.clear()
