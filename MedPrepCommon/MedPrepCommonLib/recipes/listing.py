"""What the command line prints: operations, recipes, the summary of a run; as text and as records."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.definitions.relevance import vain_settings
from ..core.errors import RecipeError
from ..core.i18n import _
from ..core.operation import Operation
from ..core.parameters import Parameter
from ..core.recipe import Recipe, load
from ..core.recognition import EXPECTED
from ..outputs.writing import Written

_WIDTH = 100


def operation_record(operation: Operation) -> dict[str, Any]:
    """An operation as plain JSON values."""
    return {
        "id": operation.id,
        "title": operation.title,
        "summary": operation.summary,
        "modality": operation.modality,
        "console": operation.console,
        "inputs": [
            {
                "name": s.name,
                "kind": "labels" if s.labels else "image",
                "optional": s.optional,
                "many": s.many,
            }
            for s in operation.inputs
        ],
        "outputs": list(operation.outputs),
        "parameters": [_parameter_record(parameter) for parameter in operation.parameters],
        "presets": {
            name: {"title": preset.title, "source": preset.source, "values": dict(preset)}
            for name, preset in operation.presets.items()
        },
        "cite": list(operation.cite),
    }


def _parameter_record(parameter: Parameter) -> dict[str, Any]:
    record: dict[str, Any] = {
        "name": parameter.name,
        "label": parameter.label,
        "kind": parameter.kind,
        "default": list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default,
        "help": parameter.help,
    }
    if parameter.span is not None:
        record |= {"low": parameter.span.low, "high": parameter.span.high}
    if parameter.unit:
        record["unit"] = parameter.unit
    if parameter.choices:
        record["choices"] = list(parameter.choices)
    if parameter.kind == "vector":
        record["length"] = parameter.length
    if parameter.kind == "list":
        record |= {"item": parameter.item, "least": parameter.count.least, "most": parameter.count.most}
    if parameter.when is not None:
        record["when"] = parameter.when.words()
    return record


def operations_text(operations: Sequence[Operation]) -> str:
    """One line per operation."""
    return _columns((operation.id, operation.summary.partition("\n")[0]) for operation in operations)


def operation_text(operation: Operation) -> str:
    """Everything about one operation."""
    lines = [f"{operation.id} - {operation.title}", *_wrapped(operation.summary, "  "), ""]
    inputs = ", ".join(
        s.name + (_(" (any number)") if s.many else _(" (optional)") if s.optional else "")
        for s in operation.inputs
    )
    lines += [_("Inputs:  {inputs}").format(inputs=inputs)]
    lines += [_("Outputs: {outputs}").format(outputs=", ".join(operation.outputs))]
    if operation.parameters:
        lines += ["", _("Parameters")]
    for parameter in operation.parameters:
        lines.append(f"  {parameter.name} = {_shown(parameter.default)}{_limits(parameter)}")
        lines += _wrapped(parameter.help, "      ")
        if parameter.when is not None:
            lines += _wrapped(_("used with {condition}").format(condition=parameter.when.words()), "      ")
    if operation.presets:
        lines += ["", _("Presets")]
    for name, preset in operation.presets.items():
        values = ", ".join(f"{key} {_shown(value)}" for key, value in preset.items())
        source = f" [{preset.source}]" if preset.source else ""
        lines += _wrapped(f"{name}: {preset.title}: {values}{source}", "  ", "      ")
    if operation.cite:
        lines += [
            "",
            _("Cite"),
            *(line for cite in operation.cite for line in _wrapped(cite, "  ", "      ")),
        ]
    return "\n".join(lines)


def _limits(parameter: Parameter) -> str:
    unit = f" {parameter.unit}" if parameter.unit else ""
    if parameter.kind == "list":
        items = _("{least} to {most} of").format(least=parameter.count.least, most=parameter.count.most)
        return f"{unit}  ({items} {_item(parameter)})"
    if parameter.kind == "choice":
        return f"{unit}  ({' | '.join(parameter.choices)})"
    if parameter.kind == "bool":
        return "  (true | false)"
    if parameter.span is None:
        return unit
    each = _(", {n} numbers or one for all").format(n=parameter.length) if parameter.kind == "vector" else ""
    whole = _(", whole") if parameter.kind == "int" else ""
    low, high = f"{parameter.span.low:g}", f"{parameter.span.high:g}"
    return f"{unit}  ({_('{low} to {high}').format(low=low, high=high)}{whole}{each})"


def _item(parameter: Parameter) -> str:
    """What an item of a list may be."""
    if parameter.choices:
        return " | ".join(parameter.choices)
    if parameter.span is None:
        return " | ".join((*parameter.suggestions, "...")) if parameter.suggestions else _("text")
    whole = _(", whole") if parameter.item == "int" else ""
    low, high = f"{parameter.span.low:g}", f"{parameter.span.high:g}"
    return _("{low} to {high}").format(low=low, high=high) + whole


def recipe_records(found: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Name, title, modality and description of recipes; a broken file says what is wrong instead."""
    records = []
    for name, path in found.items():
        try:
            recipe = load(path)
        except RecipeError as error:
            records.append({"name": name, "error": str(error)})
            continue
        records.append(
            {
                "name": name,
                "title": recipe.title,
                "modality": recipe.modality,
                "description": recipe.description,
            }
        )
    return records


def recipes_text(records: Sequence[Mapping[str, Any]]) -> str:
    """One line per recipe."""
    if not records:
        return _("No recipes are installed.")
    return _columns((r["name"], r.get("title") or r.get("error", "")) for r in records)


def recipe_text(recipe: Recipe) -> str:
    """Inputs, steps with all parameters, and outputs of a recipe."""
    lines = [f"{recipe.name} - {recipe.title}", *_wrapped(recipe.description, "  "), "", _("Inputs")]
    for wanted in recipe.inputs:
        optional = _(" (optional)") if wanted.optional else ""
        shown = "; ".join(EXPECTED[key][value] for key, value in wanted.expected.items())
        lines.append(f"  {wanted.name}{optional}  {wanted.description}" + (f" [{shown}]" if shown else ""))
    lines += ["", _("Steps")]
    for n, step in enumerate(recipe.steps, 1):
        sources = ", ".join(f"{slot}: {' '.join(refs)}" for slot, refs in step.inputs.items())
        id = step.op.operation.id
        lines.append(
            f"  {n}. {id}"
            + (f" ({step.id})" if step.id != step.op.operation.name else "")
            + f"  <- {sources}"
        )
        for parameter in step.op.operation.parameters:
            unit = f" {parameter.unit}" if parameter.unit else ""
            lines.append(f"       {parameter.name} = {_shown(getattr(step.op, parameter.name))}{unit}")
    lines += ["", _("Outputs")]
    lines += [f"  {name}  <- {reference}" for name, reference in recipe.outputs.items()]
    for note in vain_settings(recipe):
        lines += ["", *_wrapped(_("note: {text}").format(text=note), "", "      ")]
    return "\n".join(lines)


def run_text(recipe: Recipe, quality: Mapping[str, Any], written: Written) -> str:
    """The summary after a run: verdicts, then where everything lies."""
    lines = [*checks_text(recipe.name, quality), ""]
    lines += [_("Results in {folder}").format(folder=written.folder)]
    results = [f for f in written.files if "/" not in f]
    folders = Counter(f.partition("/")[0] for f in written.files if "/" in f)
    del folders["pictures"]
    results += [_("{folder}/ ({n} files)").format(folder=f, n=n) for f, n in sorted(folders.items())]
    lines += _wrapped(", ".join(results), "  ", "  ")
    lines += [_("Report: {path}").format(path=written.report)]
    return "\n".join(lines)


def checks_text(title: str, quality: Mapping[str, Any]) -> list[str]:
    """The overall verdict, every check that did not pass with its advice, and the notes."""
    from ..report.parts import verdict_text

    lines = [f"{title}: {quality['verdict'].upper()} - {verdict_text(quality)}"]
    for check in quality["checks"]:
        if check["verdict"] != "pass":
            limit = _(" (limit {limit})").format(limit=check["limit"]) if check["limit"] else ""
            lines += _wrapped(f"{check['verdict']}: {check['name']}: {check['value']}{limit}", "  ", "      ")
            lines += _wrapped(check["advice"], "      ", "      ")
    for note in quality["notes"]:
        lines += _wrapped(_("note: {text}").format(text=note), "  ", "      ")
    return lines


def _shown(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(_shown(v) for v in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _columns(rows: Iterable[tuple[str, str]]) -> str:
    rows = list(rows)
    width = max(len(name) for name, _text in rows)
    lines = []
    for name, text in rows:
        lines += _wrapped(f"{name:<{width}}  {text}", "", " " * (width + 2))
    return "\n".join(lines)


def _wrapped(text: str, first: str, later: str | None = None) -> list[str]:
    """Lines of a paragraph; words (paths, file names) are never broken."""
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=first if later is None else later,
        break_long_words=False,
        break_on_hyphens=False,
    )
