"""The report's pictures: slices where and how they should be, letters on the right sides, honest numbers."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import tinyops
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from MedPrepCommonLib.core import runner
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.recipe import parse
from MedPrepCommonLib.core.volume import LabelVolume, Segment, Volume
from MedPrepCommonLib.report import drawing, pictures, slices

SIDES = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}


@pytest.fixture(autouse=True, scope="module")
def _tiny_operations():
    with tinyops.registered():
        yield


def oriented(code: str, angle: float = 0.0, shape: tuple[int, int, int] = (24, 30, 44)) -> Volume:
    """A volume whose i, j, k axes run towards the three letters, turned by an angle, with a dot in each side.

    Values: 10 everywhere; near the patient's right 100, left 200, front 300, back 400, top 500, bottom 600.
    """
    turn = Rotation.from_euler("xyz", (angle, angle / 2, -angle), degrees=True).as_matrix()
    matrix = np.eye(4)
    spacing = (1.0, 1.5, 2.0)
    for axis, letter in enumerate(code):
        matrix[:3, axis] = turn @ np.array(SIDES[letter], float) * spacing[axis]
    size = np.array(shape[::-1], float)
    matrix[:3, 3] = -matrix[:3, :3] @ ((size - 1) / 2) + (7, -11, 13)
    kji = np.indices(shape).reshape(3, -1)
    ras = matrix[:3, :3] @ kji[::-1] + matrix[:3, 3:] - np.array([[7], [-11], [13]])
    values = np.full(ras.shape[1], 10.0)
    for n, letter in enumerate("RLAPSI"):
        side = np.array(SIDES[letter], float)
        along = side @ ras
        across = np.linalg.norm(ras - side[:, None] * along, axis=0)
        values[(along > 8) & (across < 4)] = 100.0 * (n + 1)
    return Volume(values.reshape(shape).astype(np.float32), matrix, modality="CT")


LETTER_VALUE = {letter: 100.0 * (n + 1) for n, letter in enumerate("RLAPSI")}


# Slices


@pytest.mark.parametrize("code", ["RAS", "LPS", "LAS", "PIR", "SRP", "ALI"])
@pytest.mark.parametrize("angle", [0.0, 12.0])
def test_every_orientation_shows_its_sides_at_the_letters(code: str, angle: float) -> None:
    volume = oriented(code, angle)
    for cut in slices.cuts(volume, np.array([7.0, -11.0, 13.0])):
        picture = slices.sample(volume, cut)
        rows, columns = picture.shape
        left, right, top, bottom = cut.plane.letters
        middle = np.array([7.0, -11.0, 13.0])
        for letter in (left, right, top, bottom):
            place = middle + 11 * np.array(SIDES[letter], float) - cut.corner
            row = round(float(place @ np.array(cut.plane.down) / cut.pixel))
            column = round(float(place @ np.array(cut.plane.right) / cut.pixel))
            assert abs(picture[row, column] - LETTER_VALUE[letter]) < 1, (cut.plane.name, letter)
            nearest = {left: column, right: columns - column, top: row, bottom: rows - row}
            assert min(nearest, key=nearest.get) == letter or angle, "the side is nearest to its own edge"


def test_radiological_convention() -> None:
    letters = {plane.name: plane.letters for plane in slices.PLANES}
    assert letters == {
        "axial": ("R", "L", "A", "P"),
        "coronal": ("R", "L", "S", "I"),
        "sagittal": ("A", "P", "S", "I"),
    }
    for plane in slices.PLANES:
        left, right, top, bottom = (np.array(SIDES[letter], float) for letter in plane.letters)
        assert np.array_equal(right, np.array(plane.right)) and np.array_equal(left, -right)
        assert np.array_equal(bottom, np.array(plane.down)) and np.array_equal(top, -bottom)
        assert abs(np.cross(plane.right, plane.down))[plane.across] == 1


@given(st.integers(0, 2**32 - 1))
def test_sampled_values_equal_itk_at_the_same_points(seed: int) -> None:
    rng = np.random.default_rng(seed)
    volume = oriented("LPS", float(rng.uniform(-40, 40)), (6, 7, 8))
    volume = volume.with_array(rng.normal(size=(6, 7, 8)).astype(np.float32))
    image = volume.to_sitk()
    for cut in slices.cuts(volume, volume.ijkToRAS[:3, :3] @ [3.3, 2.7, 2.4] + volume.ijkToRAS[:3, 3]):
        found = slices.sample(volume, cut)
        for _ in range(4):
            row, column = (int(rng.integers(0, n)) for n in cut.size)
            ras = cut.corner + cut.pixel * (
                row * np.array(cut.plane.down) + column * np.array(cut.plane.right)
            )
            lps = (ras * (-1, -1, 1)).tolist()
            index = image.TransformPhysicalPointToContinuousIndex(lps)
            inside = all(-0.499 < p < n - 0.501 for p, n in zip(index, image.GetSize(), strict=True))
            if inside:
                expected = image.EvaluateAtContinuousIndex(index, sitk.sitkLinear)
                assert abs(found[row, column] - expected) < 1e-4
            elif any(p < -0.501 or p > n - 0.499 for p, n in zip(index, image.GetSize(), strict=True)):
                assert np.isnan(found[row, column])


def test_the_aspect_ratio_is_the_patients() -> None:
    matrix = np.diag([0.5, 0.5, 8.0, 1.0])
    volume = Volume(np.zeros((10, 100, 200), np.int16), matrix)  # 100 x 50 x 80 mm
    sizes = {c.plane.name: c.size for c in slices.cuts(volume, np.array([50.0, 25.0, 40.0]))}
    assert sizes == {"axial": (256, 512), "coronal": (410, 512), "sagittal": (410, 256)}


def test_averages_instead_of_skipping_voxels() -> None:
    board = np.indices((1, 2048, 2048)).sum(axis=0) % 2 * 100  # single voxels of 0 and 100
    volume = Volume(board.astype(np.float32), np.eye(4))
    (cut,) = slices.cuts(volume, np.array([1024.0, 1024.0, 0.0]))
    picture = slices.sample(volume, cut)
    assert picture.std() < 1 and abs(picture.mean() - 50) < 1


def test_the_planes_go_through_the_labels() -> None:
    array = np.zeros((40, 50, 60), np.uint8)
    array[5:12, 10:20, 4:14] = 1
    array[20:36, 30:44, 40:56] = 2  # larger
    labels = LabelVolume(array, np.array([[-2, 0, 0, 9], [0, -2, 0, 8], [0, 0, 3, 7], [0, 0, 0, 1.0]]))
    point = slices.middle_of_labels(labels)
    for cut in slices.cuts(labels, point):
        values = np.unique(slices.sample_nearest(labels, cut))
        assert 2 in values
    assert slices.middle_of_labels(LabelVolume(np.zeros((3, 3, 3), np.uint8), np.eye(4))) is None


def test_one_labelled_voxel_in_a_large_scan_is_found() -> None:
    array = np.zeros((101, 103, 107), np.uint8)
    array[51, 77, 33] = 5
    labels = LabelVolume(array, np.eye(4))
    assert slices.middle_of_labels(labels).tolist() == [33, 77, 51]


def test_a_body_is_found_without_labels() -> None:
    image = tinyops.image()
    middle = image.ijkToRAS[:3] @ [10, 12, 8, 1]
    assert np.abs(slices.middle_of_image(image) - middle).max() < 3
    flat = Volume(np.zeros((4, 4, 4), np.int16), np.eye(4))
    assert np.isfinite(slices.middle_of_image(flat)).all()


@pytest.mark.parametrize("angle", [0.0, 20.0])
def test_a_single_slice_is_shown_whole_even_when_oblique(angle: float) -> None:
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", (angle, angle, 0), degrees=True).as_matrix() * (-1, -1, 1)
    picture = np.random.default_rng(0).integers(0, 255, (1, 60, 80)).astype(np.uint8)
    inputs = {"image": Volume(picture, turn, modality="CT")}
    ((row, (png,)),) = pictures.rows(inputs, {}, {}, [], Job.quiet())
    assert [cell["plane"] for cell in row["cells"]] == ["axial"]
    shown = tinyops.pixels(png).astype(float)
    assert shown.shape[1] / shown.shape[0] == pytest.approx(80 / 60, rel=0.01)
    inner = shown[100:300:16, 100:400:16]
    assert inner.std() > 20, "the slice is cut along itself, not across"


@pytest.mark.parametrize(("known", "bar"), [(True, 50.0), (False, 0.0)])
def test_a_radiograph_is_no_slice_and_has_no_bar_of_unknown_length(known: bool, bar: float) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (1, 300, 400)).astype(np.uint8)
    image = Volume(picture, np.diag([-1.0, -1.0, 1, 1]), modality="DX", info={"spacingKnown": known})
    ((row, (png,)),) = pictures.rows({"image": image}, {}, {}, [], Job.quiet())
    (cell,) = row["cells"]
    assert (cell["plane"], cell["scaleBar"]) == ("projection", bar)
    assert "axial" not in cell["alt"].lower() and "mm" not in cell["position"]
    # No letter at the left edge says which side of the patient it is: nothing is drawn over the image there.
    left = tinyops.pixels(png).astype(int)[180:210, :30].reshape(30, 30, -1)
    assert len(np.unique(left)) > 100 and not (left == 255).all(axis=2).sum() > 20


def test_a_slab_is_shown_at_three_places_of_its_own_plane() -> None:
    array = np.random.default_rng(0).integers(0, 100, (12, 90, 80)).astype(np.int16)
    slab = Volume(array, np.diag([-3.0, -3.0, 2.0, 1.0]))  # 24 mm thick, 270 x 240 mm wide
    cuts = slices.cuts(slab, np.array([-100.0, -100.0, 4.0]))
    assert [cut.plane.name for cut in cuts] == ["axial"] * 3
    assert [round(cut.position) for cut in cuts] == [19, 11, 4]
    assert all(np.isfinite(slices.sample(slab, cut)).all() for cut in cuts)
    two = slab.with_array(array[:2])
    assert [cut.position for cut in slices.cuts(two, np.array([0.0, 0.0, 2.0]))] == [2.0]


# Drawing


@given(st.integers(1, 40), st.integers(1, 40), st.booleans(), st.integers(0, 2**32 - 1))
def test_png_is_read_back_by_others(rows: int, columns: int, color: bool, seed: int) -> None:
    values = np.random.default_rng(seed).random((rows, columns, 3 if color else 1))
    rgb = np.broadcast_to(values, (rows, columns, 3)).astype(np.float32)
    found = tinyops.pixels(drawing.png(rgb))
    expected = np.rint(rgb * 255).astype(np.uint8)
    assert np.array_equal(
        found[..., :3] if found.ndim == 3 else found, expected if color else expected[..., 0]
    )
    assert drawing.png(rgb) == drawing.png(rgb.copy())


def test_grey_values_follow_the_window_and_outside_is_black() -> None:
    values = np.array([[-1000.0, -600.0, 400.0, np.nan]])
    assert drawing.gray(values, -1000, 200)[0, :, 0] == pytest.approx([0, 1 / 3, 1, 0])
    two = np.stack([values, values], axis=2)
    assert drawing.gray(two, -1000, 200)[0, 1] == pytest.approx([1 / 3, 1 / 3, 0])


def test_outlines_lie_on_the_border_in_their_colour() -> None:
    labels = np.zeros((40, 40), np.uint8)
    labels[10:30, 10:30] = 3
    rgb = np.full((40, 40, 3), 0.5, np.float32)
    drawing.outline(rgb, labels, {3: (1.0, 0.0, 0.0), 4: (0.0, 0.0, 1.0)})
    assert rgb[20, 10, 0] > 0.9 and rgb[20, 10, 1] < 0.2
    assert np.allclose(rgb[20, 20], [0.56, 0.44, 0.44], atol=0.01), "inside only a tint"
    assert np.allclose(rgb[2, 2], 0.5)


def test_letters_and_scale_bar_are_drawn() -> None:
    (cut, *_others) = slices.cuts(tinyops.image(), np.zeros(3))
    rgb = np.zeros((*cut.size, 3), np.float32)
    drawing.annotate(rgb, cut)
    lit = rgb[..., 0] > 0.9
    rows, columns = cut.size
    for name, region in {
        "left": lit[rows // 2 - 15 : rows // 2 + 15, :40],
        "right": lit[rows // 2 - 15 : rows // 2 + 15, -40:],
        "top": lit[:40, columns // 2 - 15 : columns // 2 + 15],
        "bottom": lit[-40:, columns // 2 - 15 : columns // 2 + 15],
    }.items():
        assert region.any(), name
    bar = lit[-12, columns // 2 + 20 :]
    assert bar.sum() * cut.pixel == pytest.approx(drawing.scale_bar(cut), abs=3 * cut.pixel)


def test_letters_differ() -> None:
    shapes = {}
    for letter, strokes in drawing._GLYPHS.items():
        rgb = np.zeros((40, 40, 3), np.float32)
        drawing._ink(rgb, [[(8 + 24 * x, 8 + 24 * y) for x, y in stroke] for stroke in strokes])
        shapes[letter] = rgb[..., 0] > 0.5
    for a in shapes:
        for b in shapes:
            assert a == b or (shapes[a] ^ shapes[b]).sum() > 40, (a, b)


def test_outline_colours_stand_out_and_apart() -> None:
    tissue = ("SCT", "85756007", "Tissue")
    tans = [(197, 165, 145), (172, 138, 115), (182, 228, 255), (128, 128, 128)]
    segments = tuple(
        Segment(n + 1, str(n), tissue, tissue, None, tuple(c / 255 for c in color))
        for n, color in enumerate(tans)
    )
    labels = LabelVolume(np.zeros((1, 2, 2), np.uint8), np.eye(4), segments=segments)
    import colorsys

    found = [colorsys.rgb_to_hsv(*c) for c in pictures.outline_colors(labels).values()]
    assert all(s >= 0.69 and v >= 0.94 for _h, s, v in found)
    hues = [h for h, _s, _v in found]
    apart = [min(abs(a - b), 1 - abs(a - b)) for n, a in enumerate(hues) for b in hues[:n]]
    assert min(apart) >= 0.07
    assert abs(hues[2] - colorsys.rgb_to_hsv(*segments[2].color)[0]) < 1e-6, (
        "a colour that stands out is kept"
    )


# What is shown


@pytest.mark.parametrize(
    ("volume", "steps", "expected"),
    [
        ({"array": np.zeros((2, 2, 2), np.uint8)}, [], (127.5, 255.0)),
        ({}, [{"operation": "ct.clip", "parameters": {"low": -1200.0, "high": 600.0}}], (-300, 1800)),
        ({}, [{"operation": "ct.window", "parameters": {"level": 40.0, "width": 80.0}}], (40, 80)),
        ({}, [{"operation": "normalize", "parameters": {"low": 0.0, "high": 1.0}}], (50, 350)),
        ({"display": None}, [], (40, 400)),
        ({"display": None, "modality": "MR"}, [], None),
    ],
)
def test_how_an_image_is_shown(volume: dict, steps: list, expected: tuple | None) -> None:
    base = Volume(
        np.linspace(-1000, 1000, 64, dtype=np.float32).reshape(4, 4, 4), np.eye(4), "", "CT", {}, (50, 350)
    )
    changes = {k: v for k, v in volume.items() if k != "array"}
    found = pictures.display_of(base.with_array(volume.get("array", base.array), **changes), steps)
    assert found == (expected or pytest.approx((0, 2000), abs=40))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_background_cleared_to_the_mean_is_black(channels: int) -> None:
    rng = np.random.default_rng(2)
    brain = np.zeros((16, 20, 24), bool)
    brain[4:12, 5:15, 6:18] = True
    values = np.where(brain[..., None], rng.normal(size=(*brain.shape, channels)), 0).astype(np.float32)
    values = values[..., 0] if channels == 1 else values
    image = Volume(values, np.diag((-1.0, -1, 1, 1)), "brain", "MR", {}, (0.0, 6.0))

    def corner_and_middle(volume: Volume) -> tuple[float, float]:
        ((row, (png, *_others)),) = pictures.rows({"image": volume}, {}, {}, [], Job.quiet())
        assert ("the 0 around it: black" in row["note"]) == pictures._is_cleared(volume)
        shown = tinyops.pixels(png)
        return shown[6, 6].max(), shown[shown.shape[0] // 2, shown.shape[1] // 2].max()

    outside, inside = corner_and_middle(image)
    assert outside == 0 and inside > 20
    thumbnail = tinyops.pixels(pictures.thumbnail({}, {"image": image}, {}, []))
    assert thumbnail[6, 6].max() == 0
    # Where 0 is a value like any other, it is shown as one.
    assert corner_and_middle(image.with_array(values + 1))[0] > 100
    if channels == 1:
        assert corner_and_middle(image.with_array(values * 300, modality="CT"))[0] > 100


def test_statistics_equal_numpys() -> None:
    array = np.random.default_rng(1).normal(5, 3, (20, 30, 40)).astype(np.float32)
    found = pictures.statistics(Volume(array, np.eye(4)))
    wide = array.astype(np.float64)
    expected = {
        "min": wide.min(),
        "max": wide.max(),
        "mean": wide.mean(),
        "std": wide.std(),
        "median": np.median(wide),
    }
    assert found == pytest.approx(expected)
    labels = LabelVolume((array > 5).astype(np.uint8), np.eye(4))
    assert pictures.statistics(labels) == {"labelled voxels": int((array > 5).sum()), "voxels": 24000}


def test_a_histogram_counts_every_voxel_of_a_small_image() -> None:
    array = np.random.default_rng(1).integers(-1000, 3000, (20, 30, 40)).astype(np.int16)
    (curve,) = pictures.histogram("x", Volume(array, np.eye(4))).curves
    assert sum(curve.y) == pytest.approx(100)
    width = curve.x[1] - curve.x[0]
    low = curve.x[5] - width / 2
    share = 100 * ((array > low) & (array < low + width)).mean()
    assert curve.y[5] == pytest.approx(share)
    constant = pictures.histogram("x", Volume(np.full((3, 3, 3), 7.0), np.eye(4)))
    assert sum(constant.curves[0].y) == pytest.approx(100)


def test_channels_are_named_and_coloured() -> None:
    done = runner.run(parse(tinyops.recipe()), {"image": tinyops.image()})
    shown = pictures.rows({"image": tinyops.image()}, done.result.images, {}, [], Job.quiet())
    rows = [row for row, _png in shown]
    (channels,) = [row for row in rows if "channels" in row["title"]]
    assert channels["note"].endswith("red: none, green: one, blue: two")
    figure = pictures.histogram("channels", done.result.images["channels"])
    assert [curve.name for curve in figure.curves] == ["none", "one", "two"]


def test_a_cancel_stops_the_pictures() -> None:
    from MedPrepCommonLib.core.errors import Cancelled

    job = Job(cancelled=lambda: True)
    with pytest.raises(Cancelled):
        list(pictures.rows({"image": tinyops.image()}, {}, {}, [], job))
