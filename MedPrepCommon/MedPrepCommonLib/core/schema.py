"""The JSON Schema of recipes, generated from the registered operations, for editors and other programs.

The schema says everything that can be said about one step by itself: operations, inputs, presets, parameters
with their types, ranges and choices. That references resolve, that step ids differ and that parameters agree
with each other is checked by :func:`MedPrepCommonLib.core.recipe.parse` alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .i18n import _
from .operation import Operation, known
from .parameters import Parameter
from .recipe import NAME, SCHEMA, VERSION
from .recognition import EXPECTED

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NAME = {"pattern": f"^{NAME.pattern}$"}


def recipe_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) that a recipe for the installed modules must satisfy."""
    operations = known()
    return {
        "$schema": DIALECT,
        "title": "MedPrep recipe",
        "description": "Inputs, an ordered list of operations, and which results to keep.",
        "type": "object",
        "required": ["schema", "version", "name", "inputs", "steps", "outputs"],
        "additionalProperties": False,
        "properties": {
            "schema": {"const": SCHEMA},
            "version": {"const": VERSION},
            "name": {"type": "string"},
            "title": {"type": "string"},
            "description": {"type": "string"},
            "modality": {"type": "string", "description": "DICOM modality that the recipe is made for."},
            "inputs": {
                "type": "object",
                "minProperties": 1,
                "propertyNames": _NAME,
                "additionalProperties": {"$ref": "#/$defs/input"},
            },
            "steps": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/step"}},
            "outputs": {
                "type": "object",
                "description": "File and node name of each kept result, and the result it is.",
                "minProperties": 1,
                "propertyNames": _NAME,
                "additionalProperties": {"$ref": "#/$defs/reference"},
            },
        },
        "$defs": {
            "reference": {
                "type": "string",
                "description": "A recipe input (image) or a step's result (lungs.lungs); "
                "one that ends in ? is left out when it does not exist.",
                "pattern": r"^[^?]+\?*$",
            },
            "input": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "kind": {"enum": ["image", "labels"], "default": "image"},
                    "description": {"type": "string"},
                    "optional": {"type": "boolean", "default": False},
                    "part": {"enum": list(EXPECTED["part"]), "description": "What the image must show."},
                    "sequence": {"enum": list(EXPECTED["sequence"]), "description": "Of an MRI."},
                    "view": {"enum": list(EXPECTED["view"]), "description": "Of a radiograph."},
                },
            },
            "step": {
                "type": "object",
                "required": ["operation", "inputs"],
                "additionalProperties": False,
                "properties": {
                    "id": {
                        "type": "string",
                        **_NAME,
                        "description": "The operation's own name when left out.",
                    },
                    "operation": {"enum": list(operations)},
                    "preset": {"type": ["string", "null"]},
                    "parameters": {"type": "object"},
                    "inputs": {"type": "object", "minProperties": 1},
                },
                "allOf": [
                    {
                        "if": {"properties": {"operation": {"const": id}}, "required": ["operation"]},
                        "then": _step_of(operation),
                    }
                    for id, operation in operations.items()
                ],
            },
        },
    }


def _step_of(operation: Operation) -> dict[str, Any]:
    reference = {"$ref": "#/$defs/reference"}
    inputs = {}
    for slot in operation.inputs:
        # A list of one is as good as the one; only some inputs take more, and only optional ones take none.
        listed: dict[str, Any] = {"type": "array", "items": reference}
        if not slot.optional:
            listed["minItems"] = 1
        if not slot.many:
            listed["maxItems"] = 1
        inputs[slot.name] = {"anyOf": [reference, listed]}
    return {
        "title": operation.title,
        "description": operation.summary,
        "properties": {
            "preset": {"enum": [*operation.presets, None]},
            "parameters": {
                "additionalProperties": False,
                "properties": {p.name: parameter_schema(p) for p in operation.parameters},
            },
            "inputs": {
                "additionalProperties": False,
                "required": [slot.name for slot in operation.inputs if not slot.optional],
                "properties": inputs,
            },
        },
    }


def parameter_schema(parameter: Parameter) -> dict[str, Any]:
    """The JSON Schema of one parameter's value, with its default, unit and help."""
    texts: dict[str, Any] = {
        "description": f"{parameter.help} ({parameter.unit})" if parameter.unit else parameter.help,
        "default": list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default,
    }
    if parameter.when is not None:
        texts["description"] += " " + _("Used with {condition}.").format(condition=parameter.when.words())
    if parameter.kind == "list":
        item = parameter_schema(replace(parameter, kind=parameter.item, when=None))
        item = {key: value for key, value in item.items() if key not in ("description", "default")}
        count = {"minItems": parameter.count.least, "maxItems": parameter.count.most}
        count |= {"uniqueItems": True} if parameter.count.once else {}
        # As text it was written before recipes knew lists.
        return {"anyOf": [{"type": "array", "items": item, **count}, item, {"type": "string"}], **texts}
    if parameter.kind == "choice":
        return {"enum": list(parameter.choices), **texts}
    if parameter.kind in ("bool", "text"):
        return {"type": {"bool": "boolean", "text": "string"}[parameter.kind], **texts}
    number: dict[str, Any] = {"type": "integer" if parameter.kind == "int" else "number"}
    if parameter.span is not None:
        number |= {"minimum": parameter.span.low, "maximum": parameter.span.high}
    if parameter.kind != "vector":
        return {**number, **texts}
    length = parameter.length
    return {
        "anyOf": [number, {"type": "array", "items": number, "minItems": length, "maxItems": length}],
        **texts,
    }
