"""Editing recipes: what is added is wired, what is removed leaves no hole, and what is wrong is said."""

import json

import numpy as np
import pytest
from ctimages import body
from hypothesis import given, settings
from hypothesis import strategies as st

from MedPrepCommonLib.core import recipe, runner
from MedPrepCommonLib.core.errors import FileError, ParameterError, RecipeError
from MedPrepCommonLib.core.operation import create, known
from MedPrepCommonLib.recipes import code_text
from MedPrepCommonLib.recipes.editing import Draft


def lung_draft():
    draft = Draft.blank()
    for id in ("ct.check", "ct.lungs", "ct.clip", "resample", "normalize"):
        draft.add(id)
    return draft


def test_steps_that_are_added_go_on_with_the_latest_image():
    draft = Draft.blank()
    assert "first step" in draft.problem()
    draft.add("ct.check")
    assert "result to keep" in draft.problem()
    draft = lung_draft()
    assert draft.problem() == ""
    made = draft.recipe()
    assert [s.inputs["image"] for s in made.steps] == [
        ("image",), ("image",), ("image",), ("clip.image",), ("resample.image",),
    ]  # fmt: skip
    assert made.outputs == {"lungs": "lungs.lungs", "image": "normalize.image"}
    draft.wire(3, "labels", ["lungs.lungs", "lungs.lungs", ""])
    with pytest.raises(ParameterError, match="no other result"):
        draft.keep("resample.lungs", "lungs")
    draft.keep("resample.lungs", "lungs", instead=True)
    assert draft.problem() == "" and draft.recipe().outputs["lungs"] == "resample.lungs"
    done = runner.run(draft.recipe(), {"image": body((10, 30, 30), (5, 5, 8))})
    assert set(done.result.volumes()) == {"image", "lungs"}


def test_choices_are_earlier_results_of_the_right_kind():
    draft = lung_draft()
    draft.add("ct.metal", at=2)
    assert draft.choices(4, "image")[:1] == ["clip.image"]
    assert draft.choices(4, "labels") == ["metal.metal?", "lungs.lungs"]
    assert draft.choices(0, "image") == ["image"]
    assert draft.add_input("labels") == "labels" and draft.add_input("image") == "image2"
    assert "labels" in draft.choices(5, "mask") and draft.choices(0, "image") == ["image", "image2"]
    draft.record["inputs"]["labels"]["optional"] = True
    assert "labels?" in draft.choices(5, "mask")
    draft.wire(4, "labels", ["metal.metal?"])
    assert "resample.metal?" in draft.choices(5, "mask") and "resample.metal?" in draft.results()


def test_a_removed_input_leaves_no_hole_where_a_step_can_do_without():
    draft = lung_draft()
    draft.add_input("labels")
    draft.wire(3, "labels", ["lungs.lungs", "labels"])
    draft.keep("resample.labels", "mine")
    assert draft.problem() == "" and set(draft.recipe().outputs) >= {"image", "mine"}
    draft.remove_input("labels")
    assert draft.problem() == "" and "mine" not in draft.recipe().outputs
    assert draft.recipe().steps[3].inputs["labels"] == ("lungs.lungs",)
    draft.add_input("image")
    draft.wire(1, "image", ["image2"])
    assert draft.problem() == ""
    draft.remove_input("image2")
    assert "steps[1].inputs.image: it is missing" in draft.problem()


def test_what_a_missing_step_would_make_may_be_missing():
    draft = Draft.of(recipe.load("mri-multisequence"))
    step = [s["id"] for s in draft.steps].index("fuse")
    assert draft.choices(step, "t2")[0] != "n4T2.image" and "n4T2.image?" in draft.choices(step, "t2")


def test_a_removed_step_leaves_no_hole():
    draft = lung_draft()
    draft.wire(3, "labels", ["lungs.lungs"])
    draft.remove(2)
    assert draft.problem() == "" and draft.recipe().steps[2].inputs["image"] == ("image",)
    draft.remove(1)
    assert draft.problem() == "" and "labels" not in draft.recipe().steps[1].inputs
    draft.remove(2)
    assert draft.problem() == "" and draft.recipe().outputs == {"image": "resample.image"}


def test_moved_steps_say_what_they_lack():
    draft = lung_draft()
    assert draft.move(4, -1) == 3
    assert "nothing before it makes 'resample.image'" in draft.problem()
    assert draft.move(3, 1) == 4 and draft.problem() == ""
    assert draft.move(0, -1) == 0 and draft.move(4, 5) == 4


def test_renaming_takes_references_along():
    draft = lung_draft()
    draft.rename(3, "iso")
    assert draft.problem() == "" and draft.recipe().steps[4].inputs["image"] == ("iso.image",)
    for wrong in ("image", "clip", "two words", ""):
        with pytest.raises(ParameterError):
            draft.rename(3, wrong)
    draft.rename(4, "last")
    assert draft.record["outputs"]["image"] == "last.image"


def test_parameters_and_presets():
    draft = lung_draft()
    assert draft.preset(2) == "lungNodule"
    draft.set_preset(2, "bone")
    assert draft.preset(2) == "bone" and draft.operator(2) == create("ct.clip", "bone")
    draft.set_parameter(2, "low", -500)
    assert draft.preset(2) == "" and draft.operator(2).high == create("ct.clip", "bone").high
    with pytest.raises(ParameterError, match="99999"):
        draft.set_parameter(2, "low", 99999)
    draft.set_parameter(2, "low", 3000.0)
    assert "Expected low below high" in draft.problem() and draft.preset(2) == ""
    draft.set_parameter(3, "spacing", (1, 1, 2.5))
    assert draft.operator(3).spacing == (1, 1, 2.5)
    json.dumps(draft.record)


def test_a_draft_of_a_recipe_is_a_copy():
    original = recipe.load("ct-lung")
    draft = Draft.of(original)
    assert draft.problem() == "" and draft.recipe().digest == original.digest
    draft.remove(0)
    assert recipe.load("ct-lung").digest == original.digest != draft.recipe().digest


def test_saved_and_read_again(tmp_path):
    draft = lung_draft()
    draft.save(tmp_path / "mine.json")
    assert recipe.load(tmp_path / "mine.json").digest == draft.recipe().digest
    assert [p.name for p in tmp_path.iterdir()] == ["mine.json"]
    with pytest.raises(FileError, match="cannot be written"):
        draft.save(tmp_path / "nowhere" / "mine.json")
    draft.steps[0]["operation"] = "ct.nothing"
    before = (tmp_path / "mine.json").read_bytes()
    with pytest.raises(RecipeError):
        draft.save(tmp_path / "mine.json")
    assert (tmp_path / "mine.json").read_bytes() == before


ACTIONS = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(sorted(known())), st.integers(0, 5)),
    st.tuples(st.just("remove"), st.integers(0, 5)),
    st.tuples(st.just("move"), st.integers(0, 5), st.sampled_from([-1, 1])),
    st.tuples(st.just("keep"), st.integers(0, 20)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ACTIONS, max_size=8))
def test_whatever_is_done_the_draft_is_right_or_says_why(actions):
    draft = Draft.blank()
    for action, *values in actions:
        if action == "add":
            draft.add(values[0], min(values[1], len(draft.steps)))
        elif draft.steps and action == "remove":
            draft.remove(values[0] % len(draft.steps))
        elif draft.steps and action == "move":
            draft.move(values[0] % len(draft.steps), values[1])
        elif action == "keep" and draft.results():
            draft.keep(list(draft.results())[values[0] % len(draft.results())])
        for step in range(len(draft.steps)):
            draft.preset(step)
            for slot in draft.operation(step).inputs:
                assert set(draft.choices(step, slot.name)) <= {
                    r + q for r in draft.references(step) for q in ("", "?")
                }
    problem = draft.problem()
    if not problem:
        assert recipe.parse(json.loads(json.dumps(draft.record))).digest == draft.recipe().digest
    else:
        assert problem[0].isupper() or "recipe" in problem


# ---- text to copy
def test_a_script_of_an_operation_runs(slicerHost):
    import slicer

    from MedPrepCommonLib.scene import volumes

    node = volumes.nodeFromVolume(body((8, 20, 20), (8, 8, 10)), "my CT")
    text = code_text.operation_script(
        "MedPrepCT", create("ct.window", "bone", width=900.0), {"image": "my CT"}
    )
    assert "width=900.0" in text and "outputType" not in text
    found = {"slicer": slicer}
    exec(compile(text, "copied", "exec"), found)
    wanted = found["logic"].window(node, preset="bone", width=900.0)
    assert np.array_equal(slicer.util.arrayFromVolume(found["result"]), slicer.util.arrayFromVolume(wanted))


def test_scripts_and_commands_of_recipes():
    installed = recipe.load("mri-multisequence")
    command = code_text.recipe_command(installed, "")
    assert command.startswith("medprep run mri-multisequence --input t1=PATH [--input t1c=PATH]")
    text = code_text.recipe_script("MedPrepMRI", installed, "", {"t1": 'A "b"', "t2": None})
    compile(text, "copied", "exec")
    assert '\'mri-multisequence\', t1=slicer.util.getNode("A \\"b\\"")' in text
    changed = lung_draft().recipe()
    assert code_text.recipe_command(changed, "/data/my recipes/a.json").startswith(
        "medprep run '/data/my recipes/a.json' --input image=PATH"
    )
    assert "my-recipe.json" in code_text.recipe_command(changed, "")
    many = code_text.operation_script(
        "MedPrepCT", create("resample", spacing=2.0, method="linear", antialias=False),
        {"image": "a long name of a volume", "labels": ["one segmentation", "another"]},
    )  # fmt: skip
    compile(many, "copied", "exec")
    assert 'labels=[slicer.util.getNode("one segmentation"), slicer.util.getNode("another")]' in many
