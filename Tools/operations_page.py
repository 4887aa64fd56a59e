"""Writes Docs/operations.md from the registered operations: parameters, presets, outputs and references.

python3 run.py python Tools/operations_page.py          says whether the page is up to date
python3 run.py python Tools/operations_page.py --write  writes it

What an operation makes (tables with their columns, segments, figures) is read off a run on the chest phantom.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from MedPrepCommonLib.core import engine
from MedPrepCommonLib.core.errors import InputError
from MedPrepCommonLib.core.operation import Operation, create, known
from MedPrepCommonLib.core.parameters import Parameter, Preset
from MedPrepCommonLib.core.patch_set import COLUMNS
from MedPrepCommonLib.core.result import Result
from MedPrepCommonLib.core.volume import LabelVolume, Volume
from MedPrepCommonLib.phantoms.chest import make_chest_phantom

PAGE = Path(__file__).resolve().parent.parent / "Docs" / "operations.md"

HEAD = """# Operations

What MedPrep can do to an image. This page is made from the code by `Tools/operations_page.py`; a test fails
when it is out of date. `python3 run.py operations ct.lungs` prints the same about one operation.

A parameter has one name everywhere: in Python (`logic.window(node, level=-650)`), in a
[recipe](recipes.md) (`"parameters": {"level": -650}`) and on the command line (`--set ct.window.level=-650`).
The panel shows its label. Both ends of a range are allowed. Why the methods are as they are stands in
[method-notes.md](method-notes.md).
"""

_MOST_SEGMENTS = 8

# Id before the dot: heading, and the modules whose Logic has the method.
GROUPS = {
    "ct": ("CT", ("MedPrepCT",)),
    "mri": ("MRI", ("MedPrepMRI",)),
    "xray": ("X-ray", ("MedPrepXray",)),
    "": ("Any modality", ("MedPrepCommon", "MedPrepCT")),
}


def text() -> str:
    """The whole page."""
    lines = [HEAD]
    operations = list(known().values())
    homeless = {spec.id.rpartition(".")[0] for spec in operations} - set(GROUPS)
    if homeless:
        raise LookupError(f"no heading for operations of {', '.join(sorted(homeless))}")
    for prefix, (heading, modules) in GROUPS.items():
        group = [spec for spec in operations if spec.id.rpartition(".")[0] == prefix]
        if group:
            links = ", ".join(f"[{spec.title}](#{_anchor(_heading(spec))})" for spec in group)
            lines += [f"## {heading}\n", f"{links}\n"]
            for spec in group:
                lines += _operation(spec, modules)
    return "\n".join(lines).rstrip() + "\n"


def _operation(spec: Operation, modules: Iterable[str]) -> list[str]:
    offering = [module for module in modules if spec.id in _offered(module)]
    calls = " or ".join(f"`{module}Logic().{spec.console}(node, ...)`" for module in offering)
    lines = [f"### {_heading(spec)}\n", f"{spec.summary}\n", f"Python: {calls}\n"]
    lines += [*_inputs(spec), *_parameters(spec.parameters), *_presets(spec), *_outputs(spec)]
    if spec.cite:
        lines += ["**Cite**\n", *(f"- {cite}" for cite in spec.cite), ""]
    return lines


def _offered(module: str) -> tuple[str, ...]:
    """Ids in a module's list of operations, read off its file: importing it needs Slicer."""
    source = (PAGE.parent.parent / module / f"{module}.py").read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "OPERATIONS":
            return ast.literal_eval(node.value)
    raise LookupError(f"{module}.py has no list of OPERATIONS")


def _heading(spec: Operation) -> str:
    return f"{spec.title}: `{spec.id}`"


def _anchor(heading: str) -> str:
    """The fragment that GitHub gives a heading."""
    kept = "".join(c for c in heading.lower() if c.isalnum() or c in " -_")
    return kept.replace(" ", "-")


def _inputs(spec: Operation) -> list[str]:
    parts = []
    for slot in spec.inputs:
        kind = "label map or segmentation" if slot.labels else "volume"
        number = ", any number" if slot.many else ", optional" if slot.optional else ""
        parts.append(f"`{slot.name}` ({kind}{number})")
    return [f"Inputs: {', '.join(parts)}\n"]


def _parameters(parameters: Iterable[Parameter]) -> list[str]:
    rows = [
        (f"`{p.name}`", p.label, f"`{_shown(p.default)}`", _range(p), p.unit, _help(p)) for p in parameters
    ]
    if not rows:
        return ["No parameters.\n"]
    return _table(("Parameter", "In the panel", "Default", "Range", "Unit", "What it does"), rows)


def _help(parameter: Parameter) -> str:
    if parameter.when is None:
        return parameter.help
    return f"{parameter.help}. Used with {parameter.when.words()}"


def _range(parameter: Parameter) -> str:
    if parameter.kind == "list":
        count = f"{parameter.count.least} to {parameter.count.most}"
        names = ", ".join(f"`{name}`" for name in parameter.choices or parameter.suggestions)
        if parameter.span is not None:
            whole = " whole" if parameter.item == "int" else ""
            return f"{count}{whole} numbers from {parameter.span.low:g} to {parameter.span.high:g}"
        return f"{count} of {names}" + ("" if parameter.choices else ", or text")
    if parameter.kind == "choice":
        words = parameter.words
        return ", ".join(f"`{c}`" + (f" ({words[c]})" if c in words else "") for c in parameter.choices)
    if parameter.kind == "bool":
        return "`true`, `false`"
    if parameter.span is None:
        return "text"
    low, high = f"{parameter.span.low:.9g}", f"{parameter.span.high:.9g}"
    extra = {"int": ", whole", "vector": f", one number or {parameter.length}"}.get(parameter.kind, "")
    return f"{low} to {high}{extra}"


def _presets(spec: Operation) -> list[str]:
    def values(preset: Preset) -> str:
        return ", ".join(f"`{name}` {_shown(value)}" for name, value in preset.items())

    rows = [(f"`{n}`", p.title, values(p), p.source or "-") for n, p in spec.presets.items()]
    return _table(("Preset", "In the panel", "Values", "Source"), rows) if rows else []


def _outputs(spec: Operation) -> list[str]:
    lines = ["**Results**\n"]
    result = _example(spec)
    for name in spec.outputs:
        plain = name.rstrip("?")
        absent = "; absent when there is none" if name.endswith("?") else ""
        lines.append(f"- `{plain}`{_described(plain, result)}{absent}")
    lines += [f"- each of `{s.name}`, under its own name, on the new grid" for s in spec.inputs if s.many]
    if result is not None and result.metrics:
        lines.append(
            f"- metrics: {', '.join(f'`{name}`' + _unit(spec, name) for name in sorted(result.metrics))}"
        )
    if result is not None and result.checks:
        lines.append("- `checks`: quality control, a row per check (verdict, value, limit, advice)")
    return [*lines, ""]


def _unit(spec: Operation, metric: str) -> str:
    return f" ({spec.unit(metric)})" if spec.unit(metric) else ""


def _described(name: str, result: Result | None) -> str:
    if result is None:
        return ""
    if name in result.images:
        return f": image ({result.images[name].array.dtype} with the default settings)"
    if name in result.labels:
        named = [f"{s.value} {s.name}" for s in result.labels[name].segments]
        # How many candidates a scan has says nothing about the operation.
        segments = ", ".join(named if len(named) <= _MOST_SEGMENTS else [*named[:2], "..."])
        return f": segmentation ({segments})"
    if name in result.tables:
        table = result.tables[name]
        return f': table "{table.title}" ({", ".join(table.columns)})'
    if name in result.figures:
        return f': plot "{result.figures[name].title}"'
    if name in result.points:
        return ": points"
    if name in result.patches:
        return f": patches ({', '.join(COLUMNS)})"
    raise LookupError(f"the example run made no {name}")


def _example(spec: Operation) -> Result | None:
    """The operation with its defaults on the chest phantom; None where that is no fitting image."""
    if spec.modality not in ("", "CT"):
        return None
    inputs = {slot.name: () if slot.many else None for slot in spec.inputs if slot.optional}
    inputs |= {slot.name: _phantom() for slot in spec.inputs if not slot.optional and not slot.labels}
    try:
        return engine.run(create(spec.id), inputs)
    except InputError:
        # It needs one of the inputs that can be left out.
        everything = {slot.name: _lungs() if slot.labels else _phantom() for slot in spec.inputs}
        return engine.run(create(spec.id), everything)


@cache
def _phantom() -> Volume:
    phantom = make_chest_phantom((75, 128, 128), (4.0, 2.8, 2.8))
    return Volume(phantom.hu, phantom.ijkToRAS, "chest phantom", "CT")


def _lungs() -> LabelVolume:
    phantom = make_chest_phantom((75, 128, 128), (4.0, 2.8, 2.8))
    return LabelVolume(phantom.labels, phantom.ijkToRAS, "lungs")


def _shown(value: object) -> str:
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(_shown(v) for v in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [_row(head), _row(("---",) * len(head)), *map(_row, rows)]
    return [*lines, ""]


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def main() -> int:
    page = text()
    if "--write" in sys.argv[1:]:
        PAGE.write_bytes(page.encode("utf-8"))
    if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != page:
        print("Docs/operations.md is out of date: python3 run.py python Tools/operations_page.py --write")
        return 1
    print("Docs/operations.md is up to date.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
