"""Every operation has all its faces, and each says what the one definition says."""

import inspect
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from MedPrepCommonLib.core import recipe
from MedPrepCommonLib.core.operation import find, known

# Operation id without a modality prefix: the module that shows it.
MODULES = {"": "MedPrepCommon", "ct": "MedPrepCT", "mri": "MedPrepMRI", "xray": "MedPrepXray"}

COMMON = Path(__file__).resolve().parents[2] / "MedPrepCommon" / "Resources" / "UI"
# What a .ui file must not say about a widget that is bound to a parameter: the definition says it.
DEFINED_ELSEWHERE = {
    "minimum", "maximum", "value", "decimals", "singleStep", "suffix", "toolTip", "checked", "currentText",
}  # fmt: skip


@pytest.fixture(params=list(known()))
def spec(request):
    return find(request.param)


def modules_showing(spec):
    names = {MODULES[spec.id.rpartition(".")[0]]}
    shared = {"resample": {"MedPrepCT", "MedPrepMRI"}, "normalize": {"MedPrepCT"}}
    return names | shared.get(spec.id, set())


@pytest.fixture
def module(slicerHost):
    import importlib

    return importlib.import_module


def bound_widgets(module):
    """Widgets of a module's panel by parameter name, and every widget by name."""
    from MedPrepCommonLib.panel.layout import panelXml

    widget = getattr(module, f"{module.__name__}Widget")
    made = panelXml(
        map(find, widget.operationIds), map(recipe.load, widget.recipes), widget.extras, widget.takesColour
    )
    files = [Path(module.__file__).parent / "Resources" / file for file in widget.extras.values()]
    files += [file for folder in (COMMON, *(f.parent for f in files)) for file in folder.glob("*.ui")]
    parts = [ET.fromstring(made), *(ET.parse(file).getroot() for file in files)]
    widgets = [widget for part in parts for widget in part.iter("widget")]
    bound = {
        prop.findtext("string"): widget
        for widget in widgets
        for prop in widget.findall("property")
        if prop.get("name") == "SlicerParameterName"
    }
    return bound, {widget.get("name") for widget in widgets}


def test_file_is_named_after_the_id(spec):
    """``<library>/operations/<id with underscores>.py``: nobody has to look for an operation."""
    library, _, file = spec.cls.__module__.partition(".operations.")
    assert library == MODULES[spec.id.rpartition(".")[0]] + "Lib"
    assert file == re.sub("(?<!^)([A-Z])", r"_\1", spec.name).lower()


def test_panel(spec, module):
    from MedPrepCommonLib.panel.names import inputMember, members

    for name in modules_showing(spec):
        shown = module(name)
        assert spec.id in shown.OPERATIONS
        bound, names = bound_widgets(shown)
        wanted = [f"{spec.name}.{member}" for p in spec.parameters for member in members(p)]
        wanted += [inputMember(spec, slot) for slot in spec.inputs[1:]]
        assert [w for w in wanted if w not in bound] == []
        parts = ["section", "apply", "reason"] + (["preset"] if spec.presets else [])
        assert [p for p in parts if f"{spec.name}_{p}" not in names] == []


def test_layout_repeats_no_definition(module):
    for name in ("MedPrepCommon", "MedPrepCT", "MedPrepMRI", "MedPrepXray"):
        bound, _names = bound_widgets(module(name))
        said = {
            (parameter, prop.get("name"))
            for parameter, widget in bound.items()
            for prop in widget.findall("property")
            if prop.get("name") in DEFINED_ELSEWHERE
        }
        assert said == set()


def test_every_bound_widget_belongs_to_a_parameter(module):
    for name in ("MedPrepCommon", "MedPrepCT", "MedPrepMRI", "MedPrepXray"):
        shown = module(name)
        parameters = set(getattr(shown, f"{name}ParameterNode").__annotations__)
        for bound in bound_widgets(shown)[0]:
            assert bound.partition(".")[0] in parameters, bound


def test_console(spec, module):
    for name in modules_showing(spec):
        logic = getattr(module(name), f"{name}Logic")
        signature = inspect.signature(getattr(logic, spec.console))
        for parameter in spec.parameters:
            assert signature.parameters[parameter.name].default == parameter.default
        assert spec.summary in getattr(logic, spec.console).__doc__


def test_recipe_step(spec):
    needed = [spec.inputs[0], *(slot for slot in spec.inputs[1:] if not slot.optional)]
    inputs = {slot.name: "mask" if slot.labels else "image" for slot in needed}
    step = {"operation": spec.id, "inputs": inputs}
    record = {
        "schema": recipe.SCHEMA, "version": recipe.VERSION, "name": "one",
        "inputs": {"image": {}, "mask": {"kind": "labels"}}, "steps": [step],
        "outputs": {"out": f"{spec.name}.{spec.outputs[0]}"},
    }  # fmt: skip
    parsed = recipe.parse(record)
    assert parsed.steps[0].op == spec.cls()
    assert recipe.parse(parsed.to_json()).digest == parsed.digest


def test_provenance(spec):
    assert spec.cite and all(spec.cite)
    assert spec.title and spec.summary and all(p.help for p in spec.parameters)
