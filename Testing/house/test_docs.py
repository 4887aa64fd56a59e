"""The pages of Docs say what the code does: operations, recipes and their errors, figures in the notes."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
from pages import REPOSITORY, Page
from scipy import ndimage
from skimage.metrics import structural_similarity

from MedPrepCommonLib.core import recipe, runner
from MedPrepCommonLib.core.errors import RecipeError
from MedPrepCommonLib.core.volume import Volume
from MedPrepCommonLib.geometry import resampling
from MedPrepCommonLib.phantoms.chest import make_chest_phantom
from MedPrepCTLib.metal.streaks import Streaks
from MedPrepCTLib.operations import metal, window

OPERATIONS, RECIPES, NOTES = (
    Page(REPOSITORY / "Docs" / f"{name}.md") for name in ("operations", "recipes", "method-notes")
)


def tool_of(name: str):
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "Tools" / f"{name}.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def test_what_translators_get_is_up_to_date() -> None:
    tool = tool_of("texts")
    for name, text in tool.files().items():
        advice = "python3 run.py python Tools/texts.py --write"
        assert (tool.FOLDER / name).read_text(encoding="utf-8") == text, advice


def test_the_page_of_operations_is_up_to_date() -> None:
    tool = tool_of("operations_page")
    assert OPERATIONS.text == tool.text(), "python3 run.py python Tools/operations_page.py --write"


@pytest.fixture
def example() -> dict:
    """The recipe that the page explains."""
    (block,) = RECIPES.blocks("json")
    return json.loads(block.text)


def test_the_example_recipe_runs(example: dict) -> None:
    plan = recipe.parse(example)
    phantom = make_chest_phantom((75, 128, 128), (4.0, 2.8, 2.8))
    done = runner.run(plan, {"image": Volume(phantom.hu, phantom.ijkToRAS, "phantom", "CT")})
    assert set(done.result.volumes()) == set(example["outputs"])
    image = done.result.images["image"]
    assert image.spacing == pytest.approx((1.5, 1.5, 1.5)) and image.array.min() == -1.0
    assert done.result.labels["lungs"].same_grid(image)


def test_a_missing_result_with_a_question_mark_is_left_out(example: dict) -> None:
    clean = make_chest_phantom((38, 64, 64), (8.0, 5.6, 5.6), metal=False)
    image = {"image": Volume(clean.hu, clean.ijkToRAS, "phantom", "CT")}
    assert "metal" not in runner.run(recipe.parse(example), image).result.volumes()


def test_the_tables_name_every_key() -> None:
    named = [row[0].replace("`", "").split(", ") for row in RECIPES.table("key")]
    assert {key for keys in named for key in keys} == set(recipe._RECIPE_KEYS)
    rest = Page(RECIPES.path).text.partition("A step has")[2]
    keys = [line.split("`")[1] for line in rest.splitlines() if line.startswith("| `")]
    assert set(keys[: len(recipe._STEP_KEYS)]) == set(recipe._STEP_KEYS)


# Where the mistake is, and what stands there instead; None takes it out.
MISTAKES = [
    (("steps", 1, "operation"), "ct.lung"),
    (("steps", 3, "preset"), "tissue"),
    (("steps", 4, "parameters", "spacing"), 0),
    (("steps", 4, "parameters"), {"spacings": 1.5}),
    (("steps", 4, "inputs", "image"), "clip.images"),
    (("outputs", "lungs"), "lungs.lung"),
    (("steps", 3, "inputs", "image"), "check.check"),
    (("outputs",), None),
    (("version",), 2),
]


def test_the_messages_are_those_of_the_program(example: dict, tmp_path: Path) -> None:
    rows = RECIPES.table("the mistake")
    file = tmp_path / "my-recipe.json"
    for (place, value), (_mistake, message) in zip(MISTAKES, rows, strict=False):
        broken = copy.deepcopy(example)
        *parents, last = place
        where = broken
        for key in parents:
            where = where[key]
        if value is None:
            del where[last]
        else:
            where[last] = value
        file.write_text(json.dumps(broken), encoding="utf-8")
        with pytest.raises(RecipeError) as caught:
            recipe.load(file)
        assert f"`{caught.value.wrong}`" == message
    file.write_text(json.dumps(example)[:-1] + ",}", encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        recipe.load(file)
    assert caught.value.wrong.startswith(rows[-1][1].split("`")[1])
    assert len(rows) == len(MISTAKES) + 1


# Figures of method-notes.md, measured again


@pytest.fixture(scope="module")
def chest():
    return make_chest_phantom((75, 128, 128), (4.0, 2.8, 2.8))


def said(sentence: str) -> list[float]:
    """The numbers that stand at each # of a sentence of the notes, however its lines are broken."""
    pattern = r"\s+".join(map(re.escape, sentence.split())).replace(r"\#", r"([-+]?[\d,]*\.?\d+)")
    match = re.search(pattern, NOTES.text)
    assert match, sentence
    return [float(number.replace(",", "")) for number in match.groups()]


def test_figures_of_windows_and_lungs(chest) -> None:
    hu, lungs = chest.hu.astype(np.float64), chest.labels > 0
    assert said("**-1350 to 150 HU**") == []
    assert window.window_bounds(-600, 1500, "LINEAR_EXACT") == (-1350, 150)
    assert window.window_bounds(-600, 1500, "LINEAR") == (-1350, 149)

    grey = np.clip((hu + 1350) / 1500 * 255, 0, 255)
    cut, rounded = said("lung window: #; rounded: #)")
    assert np.mean(np.trunc(grey) - grey) == pytest.approx(cut, abs=0.01)
    assert np.mean(np.floor(grey + 0.5) - grey) == pytest.approx(rounded, abs=0.01)

    below, on_hu = said("measured: # voxels; on Hounsfield units #)")
    assert np.count_nonzero(grey.astype(np.uint8) < -500) == below
    assert np.count_nonzero(hu < -500) == pytest.approx(on_hu, rel=0.01)

    flat, shuffled, image = said("measured # and #, against # for")
    smooth = ndimage.gaussian_filter(hu, 1.0)
    before, after = hu[lungs], smooth[lungs]
    order = np.random.default_rng(0).permutation(before.size)
    span = np.ptp(after)
    assert structural_similarity(before, after, data_range=span) == pytest.approx(flat, abs=0.02)
    mixed = structural_similarity(before[order], after[order], data_range=span)
    assert mixed == pytest.approx(shuffled, abs=0.02)
    whole = structural_similarity(hu, smooth, data_range=2000, full=True)[1]
    assert whole[lungs].mean() == pytest.approx(image, abs=0.02)


def test_figures_of_normalizing(chest) -> None:
    hu, lungs = chest.hu.astype(np.float64), chest.labels > 0
    clean = make_chest_phantom((75, 128, 128), (4.0, 2.8, 2.8), metal=False, padding=-1024).hu
    first, second = said("water becomes # with padding -2000 and metal, and #")
    for array, water in ((chest.hu, first), (clean, second)):
        assert -float(array.min()) / float(np.ptp(array.astype(float))) == pytest.approx(water, abs=0.01)
    (outside,) = said("that is # (measured)")
    assert -hu[lungs].mean() / hu[lungs].std() == pytest.approx(outside, abs=0.1)
    figures = said("# ± # HU as it is, # ± # HU cropped")
    crop = hu[:, 20:-20, 20:-20]
    assert [hu.mean(), hu.std(), crop.mean(), crop.std()] == pytest.approx(figures, abs=5)

    values, greys = said("Of the # HU values in the lungs of one slice, #")
    middle, inside = chest.hu[40].clip(-1024, 3071).astype(float), lungs[40]
    eight = (255 * (middle - middle.min()) / np.ptp(middle)).astype(np.uint8)
    assert len(np.unique(middle[inside])) == pytest.approx(values, rel=0.05)
    assert len(np.unique(eight[inside])) == pytest.approx(greys, abs=2)


def test_figures_of_metal(chest) -> None:
    at_3000, at_2000 = said("measured: # of # voxels")
    assert np.count_nonzero(chest.hu > 3000) == pytest.approx(at_3000, rel=0.05)
    assert np.count_nonzero(chest.hu > 2000) == pytest.approx(at_2000, rel=0.05)
    grades = {row[0]: row[2] for row in NOTES.table("grade")}
    assert list(grades) == ["none", "slight", "moderate", "severe"]
    for volume, extent, expected in (
        (0, 0.5, "none"),
        (999, 0.009, "slight"),
        (1000, 0.009, "moderate"),
        (999, 0.01, "moderate"),
        (30_000, 0.02, "moderate"),
        (30_001, 0.02, "severe"),
        (10, 0.05, "severe"),
    ):
        assert metal.grade(volume, extent) == expected
        result = metal._check(expected, volume, Streaks(extent, 0, 0, 0, 1, 1))
        assert result.verdict == grades[expected]


def test_figures_of_resampling(chest) -> None:
    (spacing,) = said("150 slices of # mm")
    line = np.arange(30.0)[:, None] * 5 * np.ones((1, 2))
    zoomed = ndimage.zoom(line, (5, 1), order=1)[:, 0]
    assert len(zoomed) == 150 and zoomed[1] - zoomed[0] == pytest.approx(spacing, abs=0.001)
    (off,) = said("their ends lie # mm off")
    assert (149 - (zoomed[-1] - zoomed[0])) / 2 == pytest.approx(off, abs=0.01)

    # The chapter's B-spline branch: size in array order, spacing in the order in which it is given.
    shapes = said("(measured: # x # x # in place of # x # x #)")
    wrong_factors = said("wrong axes (# x # x #)")
    (outside,) = said("cases # % of the result lies outside")
    for given, expected in (((4.0, 2.8, 2.8), shapes[:3]), ((2.8, 2.8, 4.0), wrong_factors)):
        size = [round(n * s) for n, s in zip(chest.hu.shape, given, strict=True)]
        assert size[::-1] == expected
        fields = [n * s for n, s in zip(chest.hu.shape[::-1], given, strict=True)]
        covered = np.prod([min(n, field) / n for n, field in zip(size, fields, strict=True)])
        assert 100 * (1 - covered) == pytest.approx(outside, abs=1)
    assert resampling.output_grid(chest.hu.shape, (4.0, 2.8, 2.8), (1, 1, 1))[2] == tuple(shapes[3:])

    (sigma,) = said("# mm from 0.7 mm to 1 mm")
    assert resampling.antialias_sigma(0.7, 1.0) == pytest.approx(sigma, abs=0.005)
