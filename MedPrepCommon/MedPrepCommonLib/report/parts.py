"""The sections of the report page as HTML, each from plain recorded data."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from ..core.errors import MedPrepError
from ..core.i18n import _
from ..core.operation import Operation, find, known
from ..core.result import Curve, Figure
from . import chart as reportchart

_STATISTICS = ("min", "max", "mean", "std", "median", "labelled voxels", "voxels")
# Longer tables are cut short on the page.
_ROWS = 25
MARKS = {"pass": "✓", "warn": "!", "fail": "✕"}


def _mark(verdict: str, style: str = "") -> str:
    """The sign of a verdict: colour alone must not carry it."""
    kind = f' class="{style}"' if style else ""
    return f'<span{kind} aria-hidden="true">{MARKS[verdict]}</span>'


def words(verdict: str) -> str:
    """A check's verdict as a word for people."""
    return {"pass": _("Pass"), "warn": _("Warning"), "fail": _("Fail")}.get(verdict, verdict)


def verdict_text(quality: Mapping[str, Any]) -> str:
    """One sentence about all checks."""
    checks = quality["checks"]
    counts = {v: sum(check["verdict"] == v for check in checks) for v in ("fail", "warn", "pass")}
    if not checks:
        return _("The recipe has no checks.")
    if counts["pass"] == len(checks):
        return _("{n} of {n} checks passed.").format(n=len(checks))
    texts = {"fail": _("{n} failed"), "warn": _("{n} with a warning"), "pass": _("{n} passed")}
    found = ", ".join(texts[v].format(n=n) for v, n in counts.items() if n)
    return _("{n} checks: {found}.").format(n=len(checks), found=found)


def verdict(quality: Mapping[str, Any]) -> str:
    """The banner beside the title."""
    kind = quality["verdict"]
    title = {
        "pass": _("Quality control passed"),
        "warn": _("Look at the warnings"),
        "fail": _("Quality control failed"),
    }[kind]
    return (
        f'<div class="verdict {kind}" role="status">{_mark(kind, "mark")}'
        f'<div><b>{escape(title)}</b><span class="text">{escape(verdict_text(quality))}</span></div></div>'
    )


def checks(quality: Mapping[str, Any]) -> str:
    """The table of checks, worst first, and the notes."""
    order = {"fail": 0, "warn": 1, "pass": 2}
    advised = any(check["advice"] for check in quality["checks"])
    rows = []
    for check in sorted(quality["checks"], key=lambda c: order[c["verdict"]]):
        kind = check["verdict"]
        badge = f'<span class="badge {kind}">{_mark(kind)}{escape(words(kind))}</span>'
        cells = [check["name"], check["value"], check["limit"], *([check["advice"]] if advised else [])]
        texts = "".join(f"<td>{escape(str(c))}</td>" for c in cells)
        rows.append(f'<tr><td class="mark">{badge}</td>{texts}</tr>')
    heads = [_("Verdict"), _("Check"), _("Found"), _("Limit"), *([_("What to do")] if advised else [])]
    table = (
        _table(heads, rows, style="checks")
        if rows
        else f'<p class="muted">{escape(_("The recipe has no checks."))}</p>'
    )
    return table + "".join(f'<p class="muted">{escape(note)}</p>' for note in quality["notes"])


def pictures(rows: Sequence[Mapping[str, Any]], embedded: Callable[[str], str]) -> str:
    """Rows of slices with their captions and legends."""
    found = []
    for row in rows:
        cells = []
        for cell in row["cells"]:
            bar = _(", bar {n} cm").format(n=f"{cell['scaleBar'] / 10:g}") if cell["scaleBar"] else ""
            width, height = (int(n) for n in cell["size"])
            image = f'src="{embedded(cell["file"])}" width="{width}" height="{height}"'
            caption = f"{_plane(cell['plane'])}, {cell['position']}{bar}"
            cells.append(
                f'<figure style="flex-grow:{width}"><img {image} alt="{escape(cell["alt"])}">'
                f"<figcaption>{escape(caption)}</figcaption></figure>"
            )
        legend = "".join(
            f'<li><span class="chip" style="background:{_colour(entry["color"])}"></span>'
            f"{escape(entry['name'])}</li>"
            for entry in row["legend"]
        )
        note = f"<small>{escape(row['note'])}</small>" if row["note"] else ""
        one = " one" if len(cells) == 1 else ""
        found.append(
            f'<div class="views"><h3>{escape(row["title"])}{note}</h3>'
            f'<div class="planes{one}">{"".join(cells)}</div>'
            + (f'<ul class="legend">{legend}</ul>' if legend else "")
            + "</div>"
        )
    return "".join(found)


def _colour(text: str) -> str:
    """A colour as #rrggbb, and nothing else: the style of a page can load what it likes."""
    return text if re.fullmatch(r"#[0-9a-fA-F]{3,8}", text) else "none"


def _plane(name: str) -> str:
    names = {
        "axial": _("Axial"),
        "coronal": _("Coronal"),
        "sagittal": _("Sagittal"),
        "projection": _("Projection"),
    }
    return names.get(name, name)


def tables(found: Sequence[tuple[str, Sequence[str], Sequence[Sequence[str]]]]) -> str:
    """Result tables; columns of numbers are set flush right."""
    none = f'<p class="muted">{escape(_("none"))}</p>'
    return "".join(
        f"<h3>{escape(title)}</h3>{_data_table(heads, rows[:_ROWS]) if rows else none}{_more(rows)}"
        for title, heads, rows in found
        # The table of checks is there already, with marks.
        if heads and "verdict" not in heads
    )


def _more(rows: Sequence[Sequence[str]]) -> str:
    if len(rows) <= _ROWS:
        return ""
    text = _("{shown} of {n} rows; all of them are in the CSV file beside this page.")
    return f'<p class="muted">{escape(text.format(shown=_ROWS, n=len(rows)))}</p>'


def metrics(values: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """Single numbers with their units, step by step; `record` is the provenance."""
    installed = known()
    operations = {step["id"]: installed.get(step["operation"]) for step in record["steps"]}
    steps: dict[str, list[str]] = {}
    for address, value in values.items():
        step, _dot, name = address.rpartition(".")
        made_by = operations.get(step)
        unit = made_by.unit(name) if made_by is not None else ""
        shown = f"{number(value)} {unit}".rstrip()
        line = f"<div><dt>{escape(name)}</dt><dd>{escape(shown)}</dd></div>"
        steps.setdefault(step, []).append(line)
    groups = "".join(
        f'<div class="metrics"><b>{escape(step)}</b><dl>{"".join(lines)}</dl></div>'
        for step, lines in steps.items()
    )
    title = escape(_("All numbers, by step"))
    return f'<h3>{title}</h3><div class="groups">{groups}</div>' if groups else ""


def figures(found: Sequence[Mapping[str, Any]]) -> str:
    """Charts side by side."""
    charts = []
    for figure in found:
        curves = tuple(Curve(c["name"], tuple(c["x"]), tuple(c["y"])) for c in figure["curves"])
        chart = reportchart.svg(Figure(figure["title"], figure["x_title"], figure["y_title"], curves))
        charts.append(f"<div><h3>{escape(figure['title'])}</h3>{chart}</div>")
    return f'<div class="charts">{"".join(charts)}</div>' if charts else ""


def images(record: Mapping[str, Any], statistics: Mapping[str, Mapping[str, Any]]) -> str:
    """Facts of every input and output image: size, spacing, type, values, digest."""
    rows = []
    roles = {"inputs": _("input"), "outputs": _("output")}
    for role in roles:
        for name, facts in record[role].items():
            shape, spacing = facts["shape"], facts["spacing"]
            size = " × ".join(str(n) for n in shape[2::-1])
            steps = " × ".join(number(s) for s in spacing)
            channels = _(", {n} channels").format(n=shape[3]) if len(shape) > 3 else ""
            if "patches" in facts:
                channels += _(", {n} patches").format(n=facts["patches"])
            found = statistics[role].get(name, {})
            values = ", ".join(f"{key} {number(found[key])}" for key in _STATISTICS if key in found)
            rows.append(
                f"<tr><td>{escape(name)}<br><span class='muted'>{escape(roles[role])}</span></td>"
                f"<td class='size'>{escape(size)}{escape(channels)}<br>{escape(steps)} mm</td>"
                f"<td>{escape(facts['type'])}<br>{escape(facts['modality'])}</td><td>{escape(values)}</td>"
                f'<td class="digest mono">{escape(facts["digest"])}</td></tr>'
            )
    return _table(
        (_("Image"), _("Size, spacing"), _("Type"), _("Values"), _("SHA-256 of values and geometry")), rows
    )


def steps(record: Mapping[str, Any]) -> str:
    """Every step with its inputs and parameters; those that differ from the defaults stand out."""
    wired = {step["id"]: step["inputs"] for step in record["recipe"]["steps"]}
    items = []
    for step in record["steps"]:
        spec = _find(step["operation"])
        title = spec.title if spec else step["operation"]
        sources = "; ".join(
            f"{slot}: {', '.join(refs) if isinstance(refs, list) else refs}"
            for slot, refs in wired.get(step["id"], {}).items()
        )
        values = step["parameters"]
        # In the order of the definition, where it is known; JSON sorted them.
        names = [p.name for p in spec.parameters if p.name in values] if spec else []
        names += [name for name in values if name not in names]
        params = "".join(_parameter(spec, name, values[name]) for name in names)
        items.append(
            f'<li><b>{escape(title)}</b> <code class="muted">{escape(step["operation"])}'
            f"{escape(_id_note(step))}</code><br><span class='muted'>{escape(sources)}</span>"
            f'<ul class="params">{params}</ul></li>'
        )
    note = _("Values that differ from the operation's defaults are bold.")
    return f'<p class="muted">{escape(note)}</p><ol class="steps">{"".join(items)}</ol>'


def _id_note(step: Mapping[str, Any]) -> str:
    return "" if step["id"] == step["operation"].rpartition(".")[2] else f" ({step['id']})"


def _parameter(spec: Operation | None, name: str, value: Any) -> str:
    known = {p.name: p for p in spec.parameters} if spec else {}
    unit = f" {known[name].unit}" if name in known and known[name].unit else ""
    default = known[name].default if name in known else None
    default = list(default) if isinstance(default, tuple) else default
    kind = ' class="set"' if name in known and value != default else ""
    text = " × ".join(number(v) for v in value) if isinstance(value, list) else number(value)
    return f"<li><span class='muted'>{escape(name)}</span> <span{kind}>{escape(text + unit)}</span></li>"


def citations(record: Mapping[str, Any]) -> str:
    """References of all steps, each once, in the order of the steps."""
    found: dict[str, list[str]] = {}
    for step in record["steps"]:
        for reference in step["cite"]:
            users = found.setdefault(reference, [])
            if step["operation"] not in users:
                users.append(step["operation"])
    items = "".join(
        f'<li>{escape(reference)} <span class="muted">({escape(", ".join(users))})</span></li>'
        for reference, users in found.items()
    )
    return f"<ul>{items}</ul>" if items else ""


def repeat(record: Mapping[str, Any]) -> str:
    """Versions, the recipe's digest and a command line with placeholders."""
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    wanted = " ".join(f"--input {name}=PATH" for name in record["inputs"])
    command = f"medprep run recipe.json {wanted} --out FOLDER"
    hint = _(
        "recipe.json beside this page holds the recipe with every parameter; this command runs it again. "
        "The same recipe, input and versions give the same bytes."
    )
    return (
        f"<p>{escape(versions)}</p><p>{escape(_('Recipe'))} <b>{escape(record['recipe']['name'])}</b> "
        f'<span class="mono muted">{escape(record["recipeDigest"])}</span></p>'
        f"<p>{escape(hint)}</p><pre>{escape(command)}</pre>"
    )


def number(value: Any) -> str:
    """A value as people write it: five significant digits, a real minus sign, no trailing zeros."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 1e15:
            return number(int(value))
        return f"{value:.5g}".replace("-", "−")
    if isinstance(value, int):
        # Groups of three with narrow spaces, from five digits on.
        text = f"{value:,}".replace(",", "\u202f") if abs(value) >= 10_000 else str(value)
        return text.replace("-", "−")
    return str(value)


def _find(id: str) -> Operation | None:
    """The operation, or None where a report is made without the module that ran it."""
    try:
        return find(id)
    except MedPrepError:
        return None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _data_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    numeric = [
        bool(rows) and all(_is_number(row[n]) for row in rows if n < len(row) and row[n])
        for n in range(len(heads))
    ]
    kinds = [' class="n"' if right else "" for right in numeric]
    lines = []
    for row in rows:
        cells = (number(_value(c)) if right else c for c, right in zip(row, numeric, strict=False))
        lines.append(
            "<tr>" + "".join(f"<td{k}>{escape(c)}</td>" for k, c in zip(kinds, cells, strict=False)) + "</tr>"
        )
    return _table(heads, lines, kinds, "data")


def _value(text: str) -> Any:
    """A table cell that is a number, as one."""
    if not text:
        return ""
    return int(text) if text.lstrip("+-").isdigit() else float(text)


def _table(heads: Sequence[str], rows: Sequence[str], kinds: Sequence[str] = (), style: str = "") -> str:
    kinds = kinds or [""] * len(heads)
    top = "".join(f'<th scope="col"{k}>{escape(h)}</th>' for h, k in zip(heads, kinds, strict=True))
    body = f"<thead><tr>{top}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<div class="scroll"><table class="{style}">{body}</table></div>'
