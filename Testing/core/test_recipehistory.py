"""Recipes from the history of results: replayed, they give the same bytes."""

import json

import numpy as np
import pytest
from ctimages import body, labels_on
from hypothesis import given, settings
from hypothesis import strategies as st

from MedPrepCommonLib.core import engine, provenance, recipe, runner
from MedPrepCommonLib.core.errors import RecipeError
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.recipes import history


def ct(seed=0):
    return body((14, 40, 44), spacing=(4.0, 4.0, 6.0), seed=seed)


def do(id, image, **more):
    inputs = {k: more.pop(k) for k in list(more) if k in ("labels", "mask", "after", "t1", "t2")}
    first = {} if image is None else {"image": image}
    return engine.run(create(id, **more), {**first, **inputs})


def replayed(results, **inputs):
    """Run the exported recipe after a round trip through its file; by output name."""
    made = recipe.parse(json.loads(json.dumps(history.recipe_of(results).to_json())))
    return made, runner.run(made, inputs).result


def same(found, wanted):
    return provenance.digest(found) == provenance.digest(wanted)


def test_steps_one_after_another():
    image = ct()
    clipped = do("ct.clip", image, preset=None, low=-900).images["image"]
    fine = do("resample", clipped, spacing=3.0).images["image"]
    wanted = do("normalize", fine, low=-900).images["image"]
    made, found = replayed({"image": wanted}, image=image)
    assert [step.id for step in made.steps] == ["clip", "resample", "normalize"]
    assert made.steps[2].inputs == {"image": ("resample.image",)} and list(made.outputs) == ["image"]
    assert same(found.images["image"], wanted)


def test_labels_that_were_taken_along_and_branches():
    image = ct()
    lungs = do("ct.lungs", image).labels["lungs"]
    mine = labels_on(image, (image.array > 500).astype(np.uint8), "my bones")
    moved = do("resample", image, spacing=5.0, labels=(lungs, mine))
    coarse = list(moved.labels.values())
    z = do("normalize", moved.images["image"], mask=coarse[1], method="zscore").images["image"]
    made, found = replayed({"image": z, "lungs": coarse[0], "bones": coarse[1]}, image=image, labels=mine)
    assert len(made.steps) == 3 and {i.name: i.labels for i in made.inputs} == {
        "image": False,
        "labels": True,
    }
    assert same(found.images["image"], z) and same(found.labels["lungs"], coarse[0])
    assert same(found.labels["bones"], coarse[1])


def test_a_recipe_then_an_operation():
    image = ct()
    done = runner.run(recipe.load("ct-lung"), {"image": image}).result
    window = do("ct.window", done.images["image"], level=0.5, width=1.0).images["image"]
    made, found = replayed({"image": window, "lungs": done.labels["lungs"]}, image=image)
    assert same(found.images["image"], window) and same(found.labels["lungs"], done.labels["lungs"])
    # Only steps that lead there.
    assert "check" not in {step.id for step in made.steps}


def test_the_same_recipe_on_two_images():
    one, two = ct(0), ct(1)
    prepared = [runner.run(recipe.load("ct-bone"), {"image": v}).result.images["image"] for v in (one, two)]
    compared = history.recipe_of(dict(zip("ab", prepared, strict=True)))
    assert len(compared.inputs) == 2 and len(compared.steps) == 2 * len(
        {s.id.strip("2") for s in compared.steps}
    )
    inputs = {wanted.name: v for wanted, v in zip(compared.inputs, (one, two), strict=True)}
    found = runner.run(compared, inputs).result
    assert same(found.images["a"], prepared[0]) and same(found.images["b"], prepared[1])


def test_what_was_changed_by_hand_is_said():
    image = do("ct.clip", ct()).images["image"]
    edited = image.with_array(image.array + 1)
    with pytest.raises(RecipeError, match="changed by hand"):
        history.recipe_of({"image": edited})
    with pytest.raises(RecipeError, match="has no history"):
        history.recipe_of({"image": ct()})
    # Edited between two operations: what came of it begins with the edited image.
    after = do("normalize", edited).images["image"]
    made, found = replayed({"image": after}, image=ct(), image2=edited)
    assert same(found.images["image"], after)


def test_a_history_of_an_older_version_is_refused():
    image = do("ct.clip", ct()).images["image"]
    broken = [{k: v for k, v in step.items() if k != "inputs"} for step in image.history]
    with pytest.raises(RecipeError, match="does not say"):
        history.recipe_of({"image": image.with_array(image.array, history=tuple(broken))})


OPERATIONS = st.sampled_from([
    ("ct.clip", {"low": -950.0}), ("ct.clip", {"low": -1000.0, "high": 300.0}),
    ("resample", {"spacing": 5.0}),
    ("resample", {"spacing": (4.0, 6.0, 6.0), "method": "linear"}), ("normalize", {"low": -800.0}),
    ("normalize", {"method": "zscore"}),
])  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(st.lists(OPERATIONS, min_size=1, max_size=5))
def test_any_chain_is_replayed_to_identical_bytes(chain):
    image = body((8, 20, 22), spacing=(8.0, 8.0, 10.0))
    result = image
    for id, parameters in chain:
        result = do(id, result, **parameters).images["image"]
    _made, found = replayed({"image": result}, image=image)
    assert found.images["image"].array.tobytes() == result.array.tobytes()
    assert np.array_equal(found.images["image"].ijkToRAS, result.ijkToRAS)


def test_nodes_of_a_scene(slicerHost):
    import slicer

    from MedPrepCommonLib.scene import volumes
    from MedPrepCT import MedPrepCTLogic

    image = ct()
    node = volumes.nodeFromVolume(image, "CT")
    logic = MedPrepCTLogic()
    lungs = logic.segmentLungs(node).lungs
    clipped = logic.clip(node, preset="lungNodule")
    fine, fineLungs = logic.resample(clipped, spacing=3.1, labels=[lungs])
    final = logic.normalize(fine, preset="lungNodule")
    made = logic.recipeFromNode(final, fineLungs)
    operations = {step.op.operation.id for step in made.steps}
    assert operations == {"ct.lungs", "ct.clip", "resample", "normalize"} and len(made.steps) == 4
    again = logic.runRecipe(made, node)
    found, wanted = (slicer.util.arrayFromVolume(n) for n in (again.image, final))
    assert found.dtype == wanted.dtype and found.tobytes() == wanted.tobytes()
    from MedPrepCommonLib.scene.segments import labelsAsMade

    assert same(labelsAsMade(again.labels), labelsAsMade(fineLungs))
    # What a recipe made in a scene can be exported too.
    prepared = logic.runRecipe("ct-bone", node)
    assert logic.recipeFromNode(prepared.image if hasattr(prepared, "image") else prepared).steps
    with pytest.raises(RecipeError, match="has no history"):
        logic.recipeFromNode(node)
    slicer.util.arrayFromVolume(final)[0, 0, 0] += 1
    with pytest.raises(RecipeError, match="changed by hand"):
        logic.recipeFromNode(final)
