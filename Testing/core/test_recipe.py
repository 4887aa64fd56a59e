"""Recipes: reading, errors that name the place, settings, the schema, and running them."""

from __future__ import annotations

import copy
import gc
import json
import weakref
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import tinyops
from hypothesis import given
from hypothesis import strategies as st

from MedPrepCommonLib.core import provenance, runner
from MedPrepCommonLib.core.errors import Cancelled, InputError, MedPrepError, ParameterError, RecipeError
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import known
from MedPrepCommonLib.core.recipe import available, load, parse
from MedPrepCommonLib.core.schema import recipe_schema
from MedPrepCommonLib.core.volume import LabelVolume


@pytest.fixture(autouse=True, scope="module")
def _tiny_operations():
    with tinyops.registered():
        yield


def changed(path: str, value: object) -> dict:
    """The tiny recipe with the value at ``a.0.b`` replaced; the word DELETE removes it."""
    record = copy.deepcopy(tinyops.recipe())
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place = record
    for part in parents:
        place = place[part]
    if value == "DELETE":
        del place[last]
    else:
        place[last] = value
    return record


# Reading


def test_a_recipe_is_read_with_every_parameter() -> None:
    recipe = parse(tinyops.recipe())
    assert [step.id for step in recipe.steps] == ["scale", "find", "stack"]
    assert recipe.steps[0].op.offset == -100 and recipe.steps[0].op.factor == 2.0
    assert recipe.to_json()["steps"][0]["parameters"] == {"factor": 2.0, "offset": -100.0}
    again = parse(recipe.to_json())
    assert again.to_json() == recipe.to_json() and again.digest == recipe.digest


def test_a_preset_gives_the_values_that_are_not_spelled_out() -> None:
    record = changed("steps.0", {"operation": "t.scale", "preset": "half", "inputs": {"image": "image"}})
    assert parse(record).steps[0].op.factor == 0.5


WRONG = [
    ("schema", "other", "schema: it is 'other'"),
    ("version", 2, "version: it is 2.*newer MedPrep"),
    ("version", "DELETE", "version: it is missing"),
    ("title", 5, "title: it is 5"),
    ("colour", "red", "colour: it is unknown"),
    ("inputs", {}, "inputs: it is {}"),
    ("inputs", [], r"inputs: it is \[\]"),
    ("inputs", {"my image": {}}, r"inputs\.my image: 'my image' is no name"),
    ("outputs", {"a/b": "scale.image"}, r"outputs\.a/b: 'a/b' is no name"),
    ("inputs.image", 1, r"inputs\.image: it is 1"),
    ("inputs.image.kind", "mask", r"inputs\.image\.kind: it is 'mask'"),
    ("inputs.image.optional", "yes", r"inputs\.image\.optional: it is 'yes'"),
    ("inputs.image.size", 1, r"inputs\.image\.size: it is unknown"),
    ("steps", [], "steps: it is not a list"),
    ("steps", {}, "steps: it is not a list"),
    ("steps.1", "ct.window", r"steps\[1\]: it is 'ct.window'"),
    ("steps.1.operation", "DELETE", r"steps\[1\]\.operation: it is missing"),
    ("steps.1.operation", 7, r"steps\[1\]\.operation: it is 7"),
    ("steps.1.operation", "t.brigt", r"steps\[1\].*no operation 't.brigt'.*Did you mean 't.bright'"),
    ("steps.1.speed", 1, r"steps\[1\]\.speed: it is unknown"),
    ("steps.1.id", "scale", r"steps\[1\]\.id: 'scale' is used twice"),
    ("steps.1.id", "image", r"steps\[1\]\.id: 'image' is used twice"),
    ("steps.1.id", 3, r"steps\[1\]\.id: it is 3"),
    ("steps.1.id", "", r"steps\[1\]\.id"),
    ("steps.1.id", "a.b", r"steps\[1\]\.id"),
    ("steps.0.preset", "double", r"steps\[0\]\.preset.*no preset 'double'.*half"),
    ("steps.0.preset", 5, r"steps\[0\]\.preset: it is 5"),
    ("steps.0.preset", ["half"], r"steps\[0\]\.preset: it is \['half'\]"),
    ("steps.0.parameters", [], r"steps\[0\]\.parameters: it is \[\]"),
    ("steps.0.parameters.offset", "big", r"steps\[0\]\.parameters\.offset: .*'big'.*Expected a number"),
    ("steps.0.parameters.offset", 5001, r"steps\[0\]\.parameters\.offset: .*5001.*-5000 to 5000 HU"),
    ("steps.0.parameters.offset", float("nan"), r"steps\[0\]\.parameters\.offset"),
    ("steps.0.parameters.factr", 1, r"steps\[0\]\.parameters\.factr: .*Did you mean 'factor'"),
    ("steps.0.inputs", {}, r"steps\[0\]\.inputs\.image: it is missing"),
    ("steps.0.inputs", {"picture": "image"}, r"steps\[0\]\.inputs\.picture: .*no such input"),
    ("steps.0.inputs.image", 4, r"steps\[0\]\.inputs\.image: it is 4"),
    ("steps.0.inputs.image", [], r"steps\[0\]\.inputs\.image: it is missing"),
    ("steps.0.inputs.image", ["image", "image"], r"steps\[0\]\.inputs\.image: t.scale takes one"),
    (
        "steps.0.inputs.image",
        "find.bright",
        r"steps\[0\]\.inputs\.image: nothing before it makes 'find.bright'",
    ),
    ("steps.1.inputs", {"labels": []}, r"steps\[1\]\.inputs\.image: it is missing"),
    ("steps.1.inputs.image", "scale", r"steps\[1\]\.inputs\.image: nothing before it makes 'scale'"),
    ("outputs", {}, "outputs: it is {}"),
    ("outputs.scaled", "scale.mask", r"outputs\.scaled: nothing before it makes 'scale.mask'"),
    ("outputs.scaled", None, r"outputs\.scaled: it is None"),
]


@pytest.mark.parametrize(("path", "value", "words"), WRONG, ids=[f"{p}={v}" for p, v, _w in WRONG])
def test_a_wrong_recipe_names_the_place(path: str, value: object, words: str) -> None:
    with pytest.raises(RecipeError, match=words) as caught:
        parse(changed(path, value), "mine.json")
    assert caught.value.wrong.startswith("mine.json: ")


@pytest.mark.parametrize("record", [None, 1, "x", [], [{}]])
def test_other_json_is_no_recipe(record: object) -> None:
    with pytest.raises(RecipeError, match="mine.json: it is not a JSON object"):
        parse(record, "mine.json")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no recipe 'nothing'.*or a \.json file"):
        load("nothing")
    with pytest.raises(RecipeError, match=r"nothing\.json cannot be read \(No such file"):
        load(tmp_path / "nothing.json")
    for body, words in (
        (b"{", "is not JSON"),
        (b"\xff\xfe{}", "is not JSON"),
        (b"{}", "schema: it is missing"),
    ):
        (tmp_path / "bad.json").write_bytes(body)
        with pytest.raises(RecipeError, match=words) as caught:
            load(tmp_path / "bad.json")
        assert str(tmp_path) not in str(caught.value)
    (tmp_path / "good.json").write_text(json.dumps(tinyops.recipe()))
    assert load(str(tmp_path / "good.json")).name == "tiny"


@pytest.mark.parametrize("name", available())
def test_every_shipped_recipe_is_right(name: str) -> None:
    recipe = load(name)
    assert recipe.name == name and recipe.title and recipe.description
    assert all(i.description for i in recipe.inputs)


# Digest and settings


def test_a_digest_is_about_what_is_done() -> None:
    recipe = parse(tinyops.recipe())
    same = [
        parse(tinyops.recipe(title="Other", description="Other", name="other")),
        parse(changed("steps.0.parameters", {"offset": -100.0, "factor": 2})),
        parse(json.loads(json.dumps(tinyops.recipe(), sort_keys=True))),
    ]
    assert {r.digest for r in same} == {recipe.digest}
    other = [
        parse(changed("steps.0.parameters.offset", -101)),
        parse(changed("outputs.scaled", "DELETE")),
        parse(changed("steps.1.inputs.image", "image")),
        recipe.with_settings({"scale.factor": 3}),
    ]
    assert len({r.digest for r in (recipe, *other)}) == 5


def test_a_digest_never_changes_by_itself() -> None:
    # Written down: results of today must be recognised by later versions.
    assert parse(tinyops.recipe()).digest == DIGEST


DIGEST = "sha256:f6976c493850acbf0f5d0b691dccc5dde21125eb19ca263e4cfce77036d83aa6"


def two_scales() -> dict:
    second = {"id": "again", "operation": "t.scale", "inputs": {"image": "scale.image"}}
    record = tinyops.recipe()
    return {**record, "steps": [*record["steps"], second]}


def test_settings_reach_one_step_or_all_of_an_operation() -> None:
    recipe = parse(two_scales())
    both = recipe.with_settings({"t.scale.factor": 3})
    assert [s.op.factor for s in both.steps if s.op.operation.id == "t.scale"] == [3.0, 3.0]
    one = recipe.with_settings({"again.factor": 3, "again.offset": 5})
    assert [s.op.factor for s in one.steps if s.op.operation.id == "t.scale"] == [2.0, 3.0]
    assert one.steps[0].op.offset == -100 and one.steps[-1].op.offset == 5
    assert recipe.steps[-1].op.factor == 2.0, "the recipe itself is unchanged"
    preset = recipe.with_settings({"again.preset": "half", "again.offset": 1})
    assert (preset.steps[-1].op.factor, preset.steps[-1].op.offset) == (0.5, 1.0)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        (
            {"t.scael.factor": 1},
            RecipeError,
            r"no step 't.scael' \(setting t.scael.factor\).*Did you mean 't.scale'",
        ),
        ({"factor": 1}, RecipeError, r"no step ''"),
        ({"again.factr": 1}, ParameterError, r"again\.factr: .*Did you mean 'factor'"),
        ({"again.factor": "x"}, ParameterError, r"again\.factor: .*'x'"),
        ({"again.factor": 11}, ParameterError, r"again\.factor: .*-10 to 10"),
        ({"again.preset": "x"}, ParameterError, r"again\.preset: .*half"),
    ],
)
def test_wrong_settings_name_their_address(settings: dict, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        parse(two_scales()).with_settings(settings)


# Schema


SCHEMA_CANNOT_KNOW = ("used twice", "nothing before it makes")


def test_the_schema_is_itself_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(recipe_schema())


@pytest.mark.parametrize("name", available())
def test_the_schema_takes_shipped_recipes_in_both_forms(name: str) -> None:
    schema = recipe_schema()
    jsonschema.validate(json.loads(available()[name].read_text(encoding="utf-8")), schema)
    jsonschema.validate(load(name).to_json(), schema)


# JSON Schema sees one value at a time, and JSON has no NaN.
ONE_AT_A_TIME = [w for w in WRONG if w[1] == w[1] and not any(text in w[2] for text in SCHEMA_CANNOT_KNOW)]


@pytest.mark.parametrize(
    ("path", "value"), [w[:2] for w in ONE_AT_A_TIME], ids=[f"{w[0]}={w[1]}" for w in ONE_AT_A_TIME]
)
def test_the_schema_refuses_what_the_reader_refuses(path: str, value: object) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(changed(path, value), recipe_schema())


JSON_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-10_000, 10_000),
    st.floats(-20, 20),
    st.text(max_size=3),
    st.sampled_from(["cubic", "linear", "uint8", "lung", "LINEAR", "custom"]),
    st.lists(st.one_of(st.floats(0, 60), st.integers(0, 60), st.none()), max_size=4),
)


@given(st.data())
def test_schema_and_reader_agree_on_every_parameter_of_every_operation(data: st.DataObject) -> None:
    id = data.draw(st.sampled_from(sorted(known())))
    spec = known()[id]
    if not spec.parameters:
        return
    parameter = data.draw(st.sampled_from(spec.parameters))
    kinds = [JSON_VALUES]
    if parameter.span is not None:
        low, high = parameter.span.low, parameter.span.high
        kinds += [st.sampled_from([low, high, low - 1, high + 1]), st.floats(low, high)]
    value = data.draw(st.one_of(kinds))
    # A step takes at least one input, also where each may be left out.
    slots = {slot.name: "image" for slot in spec.inputs if not slot.optional or slot is spec.inputs[0]}
    record = {
        "schema": "medprep-recipe",
        "version": 1,
        "name": "r",
        "inputs": {"image": {}},
        "steps": [{"operation": id, "parameters": {parameter.name: value}, "inputs": slots}],
        "outputs": {"out": "image"},
    }
    try:
        parameter.clean(value, id)
        expected = True
    except MedPrepError:
        expected = False
    validator = jsonschema.Draft202012Validator(recipe_schema())
    assert validator.is_valid(record) == expected
    if not expected:
        with pytest.raises(RecipeError):
            parse(record)


# Running


def test_a_run_gives_the_named_outputs_and_everything_beside_them() -> None:
    done = runner.run(parse(tinyops.recipe()), {"image": tinyops.image()})
    result = done.result
    assert list(result.images) == ["scaled", "channels"] and list(result.labels) == ["lungs"]
    assert np.array_equal(result.images["scaled"].array, tinyops.image().array * np.float32(2) - 100)
    assert result.images["channels"].components == 3
    assert result.images["scaled"].name == "scaled"
    assert list(result.tables) == ["counts"] and list(result.figures) == ["curve"]
    assert result.metrics["find.count"] == int(result.labels["lungs"].array.sum())
    assert result.checks[-1].verdict == "pass"
    assert [step["operation"] for step in result.labels["lungs"].history] == ["t.scale", "t.bright"]


def test_the_record_says_what_happened_and_nothing_private() -> None:
    image = tinyops.image().with_array(tinyops.image().array, name="Doe^Jane", info={"path": "/home/jane"})
    recipe = parse(tinyops.recipe())
    record = runner.run(recipe, {"image": image}).record
    assert record["recipe"] == recipe.to_json() and record["recipeDigest"] == recipe.digest
    assert record["inputs"]["image"]["digest"] == provenance.digest(image)
    assert record["inputs"]["image"]["shape"] == [16, 24, 28]
    assert [s["inputs"] for s in record["steps"]] == [
        {"image": provenance.digest(image)},
        {"image": "step:scale.image"},
        {"image": "step:scale.image"},
    ]
    assert set(record["outputs"]) == {"scaled", "lungs", "channels"}
    text = provenance.text(record)
    assert "Jane" not in text and "/home" not in text


def test_the_same_run_gives_the_same_bytes() -> None:
    runs = [runner.run(parse(tinyops.recipe()), {"image": tinyops.image()}) for _ in range(2)]
    assert provenance.text(runs[0].record) == provenance.text(runs[1].record)
    for name, volume in runs[0].result.volumes().items():
        assert provenance.digest(volume) == provenance.digest(runs[1].result.volumes()[name])


@pytest.mark.parametrize(
    ("reference", "words"), [("find.counts", "is no image"), ("image", "is no label map")]
)
def test_a_table_is_no_image_and_an_image_no_label_map(reference, words) -> None:
    slot = "image" if "counts" in reference else "labels"
    steps = [
        {"id": "find", "operation": "t.bright", "inputs": {"image": "image"}},
        {"id": "next", "operation": "resample", "inputs": {"image": "image"} | {slot: reference}},
    ]
    with pytest.raises(RecipeError, match=words) as error:
        parse(tinyops.recipe(steps=steps, outputs={"out": "next.image"}))
    assert f"steps[1].inputs.{slot}" in error.value.wrong


def test_an_optional_result_that_does_not_exist_is_left_out() -> None:
    record = tinyops.recipe()
    record["steps"].append(
        {
            "id": "carry",
            "operation": "t.bright",
            "inputs": {"image": "scale.image", "labels": ["find.bright?"]},
        }
    )
    record["outputs"]["carried"] = "carry.bright?"
    done = runner.run(parse(record), {"image": tinyops.image(bright=False)})
    assert not done.result.labels and "lungs" not in done.record["outputs"]
    assert done.result.notes == ["0 label maps came along"]
    # the input passed its check; both steps warn that there is nothing bright
    assert [check.verdict for check in done.result.checks] == ["pass", "warn", "warn"]
    done = runner.run(parse(record), {"image": tinyops.image()})
    assert set(done.result.labels) == {"lungs", "carried"}
    assert done.record["steps"][3]["inputs"] == {"image": "step:scale.image", "labels[0]": "step:find.bright"}


def test_results_of_the_same_name_from_two_steps_are_both_kept() -> None:
    record = tinyops.recipe()
    again = {"id": "again", "operation": "t.bright", "parameters": {"threshold": 100}}
    record["steps"].append({**again, "inputs": {"image": "scale.image"}})
    result = runner.run(parse(record), {"image": tinyops.image()}).result
    assert list(result.tables) == ["counts", "again.counts"]
    assert list(result.figures) == ["curve", "again.curve"]
    assert set(result.metrics) == {"find.count", "again.count"}


def test_intermediate_images_are_released_when_no_step_needs_them(monkeypatch) -> None:
    alive: list[weakref.ref] = []
    seen: list[int] = []
    original = runner.engine.run

    def watch(op, arguments, job, sources, *more):
        gc.collect()
        seen.append(sum(ref() is not None for ref in alive))
        result = original(op, arguments, job, sources, *more)
        alive.extend(weakref.ref(v.array.base) for v in result.images.values())
        return result

    monkeypatch.setattr(runner.engine, "run", watch)
    record = tinyops.recipe(
        steps=[
            {"id": f"s{n}", "operation": "t.scale", "inputs": {"image": f"s{n - 1}.image" if n else "image"}}
            for n in range(5)
        ],
        outputs={"last": "s4.image"},
    )
    runner.run(parse(record), {"image": tinyops.image()})
    assert seen == [0, 1, 1, 1, 1], "only the image that the next step needs is held"


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, r"got no image\. Expected Any image\."),
        ({"image": tinyops.image(), "mask": tinyops.image()}, "no input 'mask'"),
    ],
)
def test_missing_and_unknown_inputs(inputs: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        runner.run(parse(tinyops.recipe()), inputs)


def test_a_label_map_can_be_an_input() -> None:
    record = tinyops.recipe(
        inputs={"image": {}, "lungs": {"kind": "labels", "optional": True}},
        steps=[{"operation": "t.bright", "inputs": {"image": "image", "labels": "lungs?"}}],
        outputs={"carried": "bright.lungs?"},
    )
    image = tinyops.image()
    lungs = LabelVolume((image.array > 0).astype(np.uint8), image.ijkToRAS)
    assert set(runner.run(parse(record), {"image": image, "lungs": lungs}).result.labels) == {"carried"}
    assert not runner.run(parse(record), {"image": image}).result.labels


def test_a_step_without_its_optional_image_is_skipped_and_so_is_what_needs_it() -> None:
    record = tinyops.recipe(
        inputs={"image": {}, "second": {"optional": True}},
        steps=[
            {"id": "one", "operation": "t.scale", "inputs": {"image": "image"}},
            {"id": "two", "operation": "t.scale", "inputs": {"image": "second?"}},
            {"id": "three", "operation": "t.bright", "inputs": {"image": "two.image?"}},
        ],
        outputs={"first": "one.image", "second": "two.image?", "bright": "three.bright?"},
    )
    image = tinyops.image()
    both = runner.run(parse(record), {"image": image, "second": image})
    assert set(both.result.volumes()) == {"first", "second", "bright"} and not both.record["notes"][1:]
    fractions: list[float] = []
    alone = runner.run(
        parse(record), {"image": image}, Job(lambda fraction, _message: fractions.append(fraction))
    )
    assert set(alone.result.volumes()) == {"first"} and not alone.result.tables
    assert [step["id"] for step in alone.record["steps"]] == ["one"]
    assert alone.record["notes"] == [
        "Step two was skipped: second is missing.",
        "Step three was skipped: two.image is missing.",
    ]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0


def test_a_step_that_needs_what_was_skipped_stops_the_recipe() -> None:
    record = tinyops.recipe(
        inputs={"image": {}, "second": {"optional": True}},
        steps=[
            {"id": "two", "operation": "t.scale", "inputs": {"image": "second?"}},
            {"id": "three", "operation": "t.bright", "inputs": {"image": "two.image"}},
        ],
        outputs={"out": "two.image"},
    )
    with pytest.raises(InputError, match=r"t\.bright got no image"):
        runner.run(parse(record), {"image": tinyops.image()})


def test_progress_rises_to_one_and_names_the_steps() -> None:
    seen: list[tuple[float, str]] = []
    runner.run(parse(tinyops.recipe()), {"image": tinyops.image()}, Job(lambda *p: seen.append(p)))
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert {"Scale", "scaling", "Bright", "Stack"} <= {message for _, message in seen}


def test_a_cancel_between_steps_stops_the_recipe() -> None:
    seen: list[str] = []
    job = Job(lambda _fraction, message: seen.append(message), lambda: "Bright" in seen)
    with pytest.raises(Cancelled):
        runner.run(parse(tinyops.recipe()), {"image": tinyops.image()}, job)
    assert "Stack" not in seen
