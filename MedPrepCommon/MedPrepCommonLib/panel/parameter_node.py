"""Parameter nodes made from the operations' definitions, so that no range or default is written twice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import slicer
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper, parameterPack

from ..core.operation import Operation, create, find
from ..core.parameters import Parameter
from ..core.recipe import load
from .names import inputMember, members, recipeMembers


def missingInputs(parameterNode: Any, spec: Operation) -> list[str]:
    """Names of the references to further inputs that the operation needs and that lead nowhere."""
    needed = [inputMember(spec, slot) for slot in spec.inputs[1:] if not slot.optional]
    return [member for member in needed if getattr(parameterNode, member) is None]


def parameterNodeClass(name: str, operationIds: Iterable[str], recipes: Iterable[str]) -> type:
    """The parameter node class of a module's panel.

    Parameters
    ----------
    name : of the class.
    operationIds : the operations that the panel offers.
    recipes : names of the recipes that it offers, if any; the first is the default.
    """
    recipes = list(recipes)
    annotations: dict[str, Any] = {
        "inputVolume": slicer.vtkMRMLScalarVolumeNode,
        "outputVolume": slicer.vtkMRMLScalarVolumeNode,
        "outputSegmentation": slicer.vtkMRMLSegmentationNode,
    }
    defaults: dict[str, Any] = {}
    if recipes:
        annotations["recipe"], defaults["recipe"] = Annotated[str, Choice(recipes)], recipes[0]
    for loaded in map(load, recipes):
        places = recipeMembers(loaded)
        for wanted in loaded.inputs:
            annotations.setdefault(places[wanted.name], _nodeClass(wanted.labels))
    for spec in map(find, operationIds):
        if spec.parameters:
            annotations[spec.name] = _pack(spec)
        for slot in spec.inputs[1:]:
            annotations[inputMember(spec, slot)] = _nodeClass(slot.labels)
    return parameterNodeWrapper(
        type(name, (), {"__annotations__": annotations, "__module__": __name__, **defaults})
    )


def operationFrom(parameterNode: Any, spec: Operation) -> Any:
    """The operation with the parameters that the node holds.

    Raises
    ------
    ParameterError
        when the values do not fit together.
    """
    return create(spec.id, **valuesFrom(parameterNode, spec))


def valuesFrom(parameterNode: Any, spec: Operation) -> dict[str, Any]:
    """The parameters of an operation that the node holds, whether they fit together or not."""
    values = {}
    for parameter in spec.parameters:
        pack = getattr(parameterNode, spec.name)
        parts = tuple(getattr(pack, member) for member in members(parameter))
        values[parameter.name] = parts if parameter.kind == "vector" else parts[0]
    return values


def setParameters(parameterNode: Any, spec: Operation, values: dict[str, Any]) -> None:
    """Write parameter values of one operation into the node, as one change."""
    with slicer.util.NodeModify(parameterNode.parameterNode):
        for name, value in values.items():
            parameter = spec.parameter(name)
            names = members(parameter)
            clean = parameter.clean(value, spec.id)
            parts = clean if parameter.kind == "vector" else (parameter.written(clean),)
            for member, part in zip(names, parts, strict=True):
                parameterNode.setValue(f"{spec.name}.{member}", part)


def _nodeClass(labels: bool) -> type:
    return slicer.vtkMRMLSegmentationNode if labels else slicer.vtkMRMLScalarVolumeNode


def _pack(spec: Operation) -> type:
    annotations, defaults = {}, {}
    for parameter in spec.parameters:
        start = parameter.default
        values = start if parameter.kind == "vector" else (parameter.written(start),)
        for member, value in zip(members(parameter), values, strict=True):
            annotations[member] = _annotation(parameter)
            defaults[member] = value
    return parameterPack(
        type(spec.cls.__name__, (), {"__annotations__": annotations, "__module__": __name__, **defaults})
    )


def _annotation(parameter: Parameter) -> Any:
    if parameter.kind == "choice":
        return Annotated[str, Choice(list(parameter.choices))]
    plain = {"bool": bool, "int": int, "float": float, "text": str, "list": str, "vector": float}[
        parameter.kind
    ]
    if parameter.span is None or parameter.kind == "list":
        return plain
    return Annotated[plain, WithinRange(plain(parameter.span.low), plain(parameter.span.high))]
