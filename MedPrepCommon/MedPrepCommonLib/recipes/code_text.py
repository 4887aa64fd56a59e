"""What is set in a panel as text to copy: a Python script, or a command line."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from ..core.errors import MedPrepError
from ..core.recipe import Recipe, load

Names = Mapping[str, "str | list[str] | None"]


def operation_script(module: str, op: Any, nodes: Names) -> str:
    """Python for Slicer's console that runs `op` on the nodes of these names (by input; a list where many).

    Only parameters that differ from the defaults are named.
    """
    spec = op.operation
    first, *others = spec.inputs
    arguments = [_node(nodes.get(first.name))]
    for slot in others:
        if nodes.get(slot.name):
            arguments.append(f"{slot.name}={_node(nodes[slot.name])}")
    values = {p.name: (getattr(op, p.name), p.default) for p in spec.parameters}
    arguments += [
        f"{name}={_plain(value)!r}" for name, (value, default) in values.items() if value != default
    ]
    call = _call(f"logic.{spec.console}", arguments)
    return _script(module, f"result = {call}")


def recipe_script(module: str, recipe: Recipe, file: str, nodes: Names) -> str:
    """Python for Slicer's console that runs a recipe: by name where it is an installed one, else its file."""
    arguments = [repr(_source(recipe, file))]
    arguments += [f"{name}={_node(node)}" for name, node in nodes.items() if node]
    return _script(module, f"nodes = {_call('logic.runRecipe', arguments)}")


def recipe_command(recipe: Recipe, file: str, folder: str = "results") -> str:
    """The command line that runs a recipe, with a placeholder for each image."""
    words = ["medprep", "run", shlex.quote(_source(recipe, file))]
    for wanted in recipe.inputs:
        words.append(
            f"--input {wanted.name}=PATH" if not wanted.optional else f"[--input {wanted.name}=PATH]"
        )
    return " ".join([*words, "--out", shlex.quote(folder)])


def _source(recipe: Recipe, file: str) -> str:
    """The name of an installed recipe that does the same, else the file's."""
    try:
        installed = load(recipe.name).digest == recipe.digest
    except MedPrepError:
        installed = False
    return recipe.name if installed else file or f"{recipe.name}.json"


def _script(module: str, call: str) -> str:
    return f"from {module} import {module}Logic\n\nlogic = {module}Logic()\n{call}\n"


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _node(name: str | list[str] | None) -> str:
    if isinstance(name, list):
        return f"[{', '.join(map(_node, name))}]"
    return f"slicer.util.getNode({json.dumps(name or 'NAME', ensure_ascii=False)})"


def _call(function: str, arguments: list[str]) -> str:
    line = f"{function}({', '.join(arguments)})"
    if len(line) <= 90:
        return line
    inner = "".join(f"    {argument},\n" for argument in arguments)
    return f"{function}(\n{inner})"
