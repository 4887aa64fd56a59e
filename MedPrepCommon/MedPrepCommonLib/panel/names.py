"""What the widgets of a panel and the members of its parameter node are called.

Each operation becomes a pack named like it (``window.level``); a vector parameter becomes one number per axis
(``resample.spacingI``); each further input of an operation becomes a node reference (``resampleLabels``).
"""

from __future__ import annotations

from ..core.operation import InputSlot, Operation
from ..core.parameters import Parameter
from ..core.recipe import Recipe


def members(parameter: Parameter) -> tuple[str, ...]:
    """Names of the pack members that hold a parameter: itself, or one per axis of a vector."""
    if parameter.kind != "vector":
        return (parameter.name,)
    return tuple(parameter.name + axis for axis in parameter.axes[: parameter.length])


def memberLabel(parameter: Parameter, member: str) -> str:
    """The words before a member's field: those of the parameter, and the axis of a vector's number."""
    return f"{parameter.label} {member[-1]}" if parameter.kind == "vector" else parameter.label


def inputMember(spec: Operation, slot: InputSlot) -> str:
    """Name of the node reference for a further input, for example ``resampleLabels``."""
    return spec.name + slot.name[:1].upper() + slot.name[1:]


def recipeMembers(recipe: Recipe) -> dict[str, str]:
    """Names of the node references for a recipe's inputs, by input name.

    The first is the panel's input volume, as it is for operations; further ones are called like ``recipeT2``.
    """
    first, *others = (wanted.name for wanted in recipe.inputs)
    return {first: "inputVolume", **{name: "recipe" + name[:1].upper() + name[1:] for name in others}}
