"""Parameters that say when they matter, and lists: what the definitions say is what happens."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from ctimages import body, labels_on

from MedPrepCommonLib.core import engine, recipe, runner
from MedPrepCommonLib.core.definitions.relevance import vain_settings
from MedPrepCommonLib.core.errors import MedPrepError, ParameterError
from MedPrepCommonLib.core.operation import When, create, find, known, settings
from MedPrepCommonLib.core.schema import recipe_schema

OWN = [spec for spec in known().values() if spec.cls.__module__.startswith("MedPrep")]
LISTS = [(spec.id, p.name) for spec in OWN for p in spec.parameters if p.kind == "list"]
IDLE = [(spec.id, p.name) for spec in OWN for p in spec.parameters if p.when is not None]


@pytest.mark.parametrize(
    ("when", "words", "met", "not_met"),
    [
        (When("a", "x", "y", "z"), "a = x, y or z", {"a": "y"}, {"a": "w"}),
        (When("a", above=0), "a above 0", {"a": 0.1}, {"a": 0}),
        (When("a", False), "a = false", {"a": False}, {"a": True}),
        (When("a", filled=True), "a filled in", {"a": ("t1",)}, {"a": ()}),
        (When("mask", given=False), "no mask given", {"mask": False}, {"mask": True}),
        (When("a", "x") & When("b", "y"), "a = x and b = y", {"a": "x", "b": "y"}, {"a": "x", "b": "z"}),
        (
            When("a", "x") | (When("b", "y") & When("c", "z")),
            "a = x or (b = y and c = z)",
            {"a": "w", "b": "y", "c": "z"},
            {"a": "w", "b": "y", "c": "y"},
        ),
    ],
)
def test_conditions(when, words, met, not_met):
    assert when.words() == words
    assert when.met(met) and not when.met(not_met)
    assert when.met({})  # nobody knows


def test_a_condition_asks_one_thing():
    for wrong in ({}, {"above": 0, "given": True}):
        with pytest.raises(TypeError):
            When("a", **wrong)


def image_for(spec):
    volume = body((10, 32, 36), spacing=(6.0, 6.0, 9.0), padding=-1024, info={"sliceThickness": 2.0})
    modality = spec.modality or "CT"
    if modality == "CT":
        return volume
    from dataclasses import replace

    array = (volume.array.clip(-200, 900) + 200).astype(np.uint16)
    volume = replace(volume, array=array, modality=modality)
    return volume.with_array(np.ascontiguousarray(array[6:7])) if modality == "DX" else volume


def candidates(parameter):
    """Values of a parameter that another depends on, and one that differs from the default."""
    if parameter.kind == "bool":
        return [False, True]
    if parameter.kind == "choice":
        return list(parameter.choices)
    if parameter.kind == "list":
        return [(), tuple(parameter.choices[:2])]
    if parameter.kind == "text":
        return ["", "1=0 50=40 99=100"]
    low, default = parameter.span.low, parameter.default
    return [low, default, default + 10 * (parameter.span.step or 1)]


def other_than_default(spec, parameter):
    if parameter.kind == "bool":
        return not parameter.default
    if parameter.kind == "choice":
        return next(c for c in parameter.choices if c != parameter.default)
    if parameter.kind == "text":
        return "t1=2" if parameter.name == "weights" else "0=-900 50=10 99=200"
    if parameter.kind == "vector":
        return parameter.span.low + 1 if parameter.default[0] == parameter.span.low else parameter.span.low
    low, high, default = parameter.span.low, parameter.span.high, parameter.default
    near = default + (parameter.span.step or 1)
    return near if near <= high else max(low, default - 1)


def made(spec, values, inputs):
    result = engine.run(create(spec.id, **values), inputs)
    arrays = {name: volume.array.tobytes() for name, volume in result.volumes().items()}
    arrays |= {name: patches.array.tobytes() for name, patches in result.patches.items()}
    return arrays, result.metrics, [check.verdict for check in result.checks]


@pytest.mark.parametrize(("id", "name"), IDLE)
def test_what_is_said_to_have_no_effect_has_none(id, name):
    """Run with the default and with another value where the condition is not met: the same comes out."""
    spec = find(id)
    parameter = spec.parameter(name)
    volume = image_for(spec)
    mask = labels_on(volume, (np.indices(volume.shape).sum(axis=0) % 7 < 4).astype(np.uint8))
    asked = [n for n in parameter.when.names() if n in {p.name for p in spec.parameters}]
    about_inputs = set(parameter.when.names()) - set(asked)
    everything = {spec.inputs[0].name: volume}
    for slot in spec.inputs[1:]:
        what = mask if slot.labels else volume
        if slot.name != "weight":  # not every engine takes one
            everything[slot.name] = (what,) if slot.many else what
    for chosen in itertools.product(*(candidates(spec.parameter(n)) for n in asked)):
        for given in (False, True) if about_inputs else (True,):
            values = dict(zip(asked, chosen, strict=True))
            if parameter.when.met({**values, **dict.fromkeys(about_inputs, given)}):
                continue
            left_out = () if given else about_inputs
            inputs = {slot: what for slot, what in everything.items() if slot not in left_out}
            try:
                before = made(spec, values, inputs)
            except MedPrepError:
                continue  # parameters that do not fit together
            assert made(spec, {**values, name: other_than_default(spec, parameter)}, inputs) == before, values
            return
    pytest.fail("no setting was found in which it has no effect")


# ---- recipes


def recipe_of(parameters, operation="normalize", **inputs):
    return recipe.parse(
        {
            "schema": recipe.SCHEMA,
            "version": recipe.VERSION,
            "name": "one",
            "inputs": {"image": {}, "mask": {"kind": "labels", "optional": True}},
            "steps": [
                {"operation": operation, "parameters": parameters, "inputs": {"image": "image", **inputs}}
            ],
            "outputs": {"out": f"{operation.rpartition('.')[2]}.image"},
        }
    )


def test_a_recipe_says_what_has_no_effect():
    (note,) = vain_settings(recipe_of({"method": "zscore", "mean": 5}))
    assert note == (
        "normalize.mean has no effect here: it is used with method = zscore and statistics = given."
    )
    assert vain_settings(recipe_of({"method": "zscore", "statistics": "given", "mean": 5})) == []
    (note,) = vain_settings(recipe_of({"method": "minmax"}).with_settings({"normalize.mean": 5}))
    assert "normalize.mean" in note


def test_an_input_that_may_be_missing_makes_no_note():
    values = {"method": "threshold", "threshold": 30}
    assert vain_settings(recipe_of(values, "cropForeground")) == []
    assert vain_settings(recipe_of(values, "cropForeground", mask="mask?")) == []
    assert len(vain_settings(recipe_of(values, "cropForeground", mask="mask"))) == 2


def test_the_note_stands_in_the_result_and_stops_nothing():
    volume = image_for(find("normalize"))
    plan = recipe_of({"method": "minmax", "mean": 5})
    run = runner.run(plan, {"image": volume})
    assert run.result.notes == vain_settings(plan) and "out" in run.result.images


def test_installed_recipes_set_nothing_in_vain():
    assert {name: vain_settings(recipe.load(name)) for name in recipe.available()} == dict.fromkeys(
        recipe.available(), []
    )


# ---- lists


@pytest.mark.parametrize(("id", "name"), LISTS)
def test_a_list_and_its_text_are_the_same(id, name):
    """In Python, in a recipe and in its digest; the text is what recipes have always held."""
    spec = find(id)
    parameter = spec.parameter(name)
    items = parameter.choices[:3] or parameter.suggestions[:3] or (7, 5, 3)
    text = ", ".join(map(str, items))
    for form in (list(items), tuple(items), text, text.replace(", ", ",")):
        op = create(id, **{name: form})
        assert getattr(op, name) == tuple(items) and settings(op)[name] == text
    assert json.loads(json.dumps(settings(op)))[name] == text


def test_digests_of_lists_are_those_of_their_text():
    """As they were before recipes knew lists."""
    one, other = (recipe_of({"iterations": form}, "mri.n4") for form in ([50, 20], "50, 20"))
    assert one.digest == other.digest and one.to_json()["steps"][0]["parameters"]["iterations"] == "50, 20"


@pytest.mark.parametrize(
    ("id", "values", "expected"),
    [
        ("mri.n4", {"iterations": []}, "1 to 6 whole numbers from 1 to 1000"),
        ("mri.n4", {"iterations": [50] * 7}, "1 to 6"),
        ("mri.n4", {"iterations": [0]}, "1 to 1000"),
        ("mri.n4", {"iterations": [1.5]}, "whole"),
        ("mri.n4", {"iterations": {"a": 1}}, "1 to 6"),
        ("ct.multiWindow", {"windows": [50, 40]}, "text"),
        ("mri.fuse", {"channels": ["t1", "t1"]}, "each once"),
        ("mri.compareBias", {"methods": ["n4", "gausian"]}, "Did you mean"),
    ],
)
def test_wrong_lists(id, values, expected):
    with pytest.raises(ParameterError) as error:
        create(id, **values)
    assert expected in str(error.value)


def test_the_schema_knows_lists_and_conditions():
    steps = recipe_schema()["$defs"]["step"]["allOf"]
    n4 = next(s["then"] for s in steps if s["if"]["properties"]["operation"]["const"] == "mri.n4")
    body = n4["properties"]["parameters"]["properties"]
    array, one, text = body["iterations"]["anyOf"]
    assert array["items"] == {"type": "integer", "minimum": 1, "maximum": 1000} == one
    assert (array["minItems"], array["maxItems"], text) == (1, 6, {"type": "string"})
    assert "Used with splineDistance = 0." in body["meshResolution"]["description"]
