"""Numbers among the results have the unit that their operation declares: in the panel and the report."""

from __future__ import annotations

import pytest
from ctimages import body

from MedPrepCommonLib.core import engine, recipe, runner
from MedPrepCommonLib.core.operation import create, find, known
from MedPrepCommonLib.report import parts


def test_units_follow_the_declaration():
    spec = find("ct.metal")
    assert (spec.unit("volume"), spec.unit("severity")) == ("mm³", "")
    assert find("cropPad").unit("paddedK") == "voxels"
    result = engine.run(create("ct.metal"), {"image": body((12, 40, 44), padding=-1024)})
    assert result.units["volume"] == "mm³" and "voxels" not in result.units
    assert set(result.units) <= set(result.metrics)


def test_a_recipe_keeps_them_by_step():
    plan = recipe.parse(
        {
            "schema": recipe.SCHEMA,
            "version": recipe.VERSION,
            "name": "one",
            "inputs": {"image": {}},
            "steps": [{"id": "implants", "operation": "ct.metal", "inputs": {"image": "image"}}],
            "outputs": {"out": "image"},
        }
    )
    run = runner.run(plan, {"image": body((12, 40, 44), padding=-1024)})
    assert run.result.units["implants.volume"] == "mm³"
    html = parts.metrics(run.result.metrics, run.record)
    volume = parts.number(run.result.metrics["implants.volume"])
    assert f"<dt>volume</dt><dd>{volume} mm³</dd>" in html


@pytest.mark.parametrize("id", [id for id, spec in known().items() if spec.units])
def test_declared_units_are_short_words(id):
    assert all(unit and unit == unit.strip() and len(unit) < 8 for unit in find(id).units.values())
