"""The pages of a batch: ``report.html`` about all cases, ``log/times.html`` about the time they took.

``report.html`` depends on the cases, the recipe and the versions alone, as all but ``log/`` does; the times
are a page of their own beside the log, which ``report.html`` shows as a frame.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from ..core.errors import FileError, MedPrepError
from ..core.i18n import _
from ..files import text_file
from ..report import parts as parts
from ..report.page import PAGE
from ..report.style import BATCH_CSS, CSS
from . import fingerprint as batchfingerprint
from . import folder as batchfolder
from . import overview, records

TIMES = "log/times.html"
# More pictures than this are not put into the page itself but looked up beside it.
_EMBEDDED = 300
# Cases with numbers of their own in the table of outliers, and numbers of each.
_OUTLIERS, _FIGURES = 50, 4
_ORDER = {"failed": 0, "pending": 1, "fail": 2, "warn": 3, "pass": 4}


def is_batch(folder: Path) -> bool:
    """Whether a batch wrote this folder."""
    return (batchfolder.read_json(folder / "batch.json") or {}).get("schema") == "medprep-batch"


def make(folder: str | os.PathLike[str]) -> Path:
    """(Re-)make ``fingerprint.json`` and the pages from what is in a batch's folder; the page's path.

    Raises
    ------
    FileError
        when no batch wrote the folder, or it cannot be written to.
    """
    root = Path(folder).expanduser()
    record = batchfolder.read_json(root / "batch.json")
    if record is None or record.get("schema") != "medprep-batch":
        raise FileError(
            _("{folder} is no output folder of a batch.").format(folder=root.name),
            _("Expected one with a batch.json."),
            _("Run medprep batch first."),
        )
    try:
        _check_names(root, record)
        write(root, record)
    except MedPrepError:
        raise
    except OSError as error:
        raise batchfolder.cannot_write(root, error) from error
    except Exception as error:
        # The records may have come from anywhere: whatever they hold, it is they that are wrong.
        raise _unfit(root, type(error).__name__) from error
    return root / PAGE


def _check_names(root: Path, record: Mapping[str, Any]) -> None:
    """Raise unless every case is a folder of this batch: its pictures and records go into the page."""
    for name in record["cases"]:
        folder = root / "cases" / name
        files = [folder, *(folder / file for file in (overview.PICTURE, overview.FACTS, "qc.json"))]
        plain = "\\" not in name and Path(name).name == name and name not in (".", "..")
        if not plain or any(path.is_symlink() for path in files):
            raise _unfit(root, name[:40])


def _unfit(root: Path, what: str) -> FileError:
    return FileError(
        _("The records of {folder} do not fit together ({what}).").format(folder=root.name, what=what),
        _("Expected batch.json and the cases as MedPrep wrote them."),
        _("Run the batch again with --resume."),
    )


def write(root: Path, record: Mapping[str, Any]) -> None:
    """Write the fingerprint and the pages for the content of ``batch.json``. Raises OSError."""
    done = [name for name, case in record["cases"].items() if case["status"] == "done"]
    read = {name: batchfolder.read_json(root / "cases" / name / overview.FACTS) for name in done}
    facts = {name: found for name, found in read.items() if found}
    training = [name for name in facts if record["cases"][name]["split"] == "train"]
    fingerprint = batchfingerprint.make(record["recipe"], facts, training)
    batchfolder.write_json(root / batchfingerprint.FILE, fingerprint)
    text_file.write(root / PAGE, page(root, record, fingerprint))
    text_file.write(root / TIMES, times(root))


def page(root: Path, record: Mapping[str, Any], fingerprint: Mapping[str, Any]) -> str:
    """The HTML text of ``report.html``."""
    cases, outliers = record["cases"], fingerprint["outliers"]
    checks = {n: _checks(root, n) if c["status"] == "done" else [] for n, c in cases.items()}
    order = sorted(cases, key=lambda n: (_ORDER[_state(cases[n])] > 1, *_place(n, cases[n], outliers)))
    counts = ", ".join(f"{n} {_word(state)}" for state, n in sorted(record["counts"].items()))
    lead = _("{n} cases: {counts}.").format(n=len(cases), counts=counts)
    every = [check for found in checks.values() for check in found]
    failed = [{"verdict": "fail"} for case in cases.values() if case["status"] == "failed"]
    states = {check["verdict"] for check in [*every, *failed]}
    verdict = next((v for v in ("fail", "warn") if v in states), "pass")
    banner = parts.verdict({"verdict": verdict, "checks": [*every, *failed]}) if every or failed else ""
    notes = "".join(f"<p>{escape(note)}</p>" for note in record["notes"])
    sections = [
        ("notes", _("Notes"), notes),
        ("failures", _("Cases without a result"), _failures(order, cases)),
        ("outliers", _("Cases that stand out"), _outliers(order, outliers)),
        ("cases", _("Cases"), _grid(root, order, cases, outliers)),
        ("quality", _("Quality control"), _matrix(order, cases, checks)),
        ("fingerprint", _("Fingerprint"), _fingerprint(fingerprint)),
        ("times", _("Time of each case"), _frame()),
    ]
    versions = ", ".join(f"{package} {version}" for package, version in record["versions"].items())
    title = _("Batch with recipe {name}").format(name=record["recipe"])
    return _document(title, lead, banner, [s for s in sections if s[2]], versions)


def _document(
    title: str, lead: str, banner: str, sections: list[tuple[str, str, str]], versions: str = ""
) -> str:
    links = "".join(f'<a href="#{id}">{escape(name)}</a>' for id, name, _body in sections)
    bodies = "".join(
        f'<section id="{id}"><h2>{escape(name)}</h2>{body}</section>' for id, name, body in sections
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} - MedPrep</title><style>{CSS}{BATCH_CSS}</style></head>\n<body>"
        f'<header><div><div class="row"><div><h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p></div>'
        f"{banner}</div><nav>{links}</nav></div></header><main>{bodies}"
        f"<footer>{escape(versions)}</footer></main></body></html>\n"
    )


def _state(case: Mapping[str, Any]) -> str:
    """A case's verdict, or its status where it has none."""
    return case["verdict"] if case["status"] == "done" else case["status"]


def _word(state: str) -> str:
    known = {"done": _("done"), "failed": _("failed"), "pending": _("not begun")}
    return known.get(state) or parts.words(state)


def _place(name: str, case: Mapping[str, Any], outliers: Mapping[str, Any]) -> tuple[float, int, str]:
    """Failed ones first, then outliers by how far they are out, then by verdict."""
    furthest = abs(outliers[name][0]["z"]) if name in outliers else 0.0
    return -furthest, _ORDER[_state(case)], name


def _badge(state: str) -> str:
    kind = {"failed": "fail", "pending": "warn"}.get(state, state)
    return f'<span class="badge {kind}">{escape(_word(state))}</span>'


def _checks(root: Path, name: str) -> list[dict[str, Any]]:
    return (batchfolder.read_json(root / "cases" / name / "qc.json") or {}).get("checks", [])


def _failures(order: list[str], cases: Mapping[str, Any]) -> str:
    rows = []
    for name in order:
        case = cases[name]
        if case["status"] == "failed":
            words = " ".join(case["error"][key] for key in ("wrong", "expected", "advice"))
            rows.append((name, _badge("failed"), escape(words)))
        elif case["status"] == "pending":
            rows.append((name, _badge("pending"), ""))
    return _table((_("Case"), _("State"), _("Why")), rows) if rows else ""


def _outliers(order: list[str], outliers: Mapping[str, Any]) -> str:
    note = _(
        "Figures of the fingerprint more than {z:g} robust standard deviations (Iglewicz and Hoaglin 1993) "
        "from the median of all cases. Look at them; they are not wrong for that."
    ).format(z=batchfingerprint.OUTLIER)
    rows = []
    for name in [name for name in order if name in outliers][:_OUTLIERS]:
        lines = [
            _("{figure}: {value}, median {median} (z {z:+.1f})").format(
                figure=line["figure"],
                value=parts.number(line["value"]),
                median=parts.number(line["median"]),
                z=line["z"],
            )
            for line in outliers[name][:_FIGURES]
        ]
        if len(outliers[name]) > _FIGURES:
            lines.append(_("and {n} more").format(n=len(outliers[name]) - _FIGURES))
        rows.append((name, "<br>".join(map(escape, lines))))
    if not rows:
        return ""
    more = len(outliers) - len(rows)
    rest = f"<p class='muted'>{escape(_('{n} more in fingerprint.json').format(n=more))}</p>" if more else ""
    return f'<p class="muted">{escape(note)}</p>{_table((_("Case"), _("What")), rows)}{rest}'


def _grid(root: Path, order: list[str], cases: Mapping[str, Any], outliers: Mapping[str, Any]) -> str:
    """One picture of each case that has one."""
    cells, embedded = [], 0
    for name in order:
        file = f"cases/{name}/{overview.PICTURE}"
        if cases[name]["status"] != "done" or not (root / file).is_file():
            continue
        source = file
        if embedded < _EMBEDDED:
            body = base64.b64encode((root / file).read_bytes()).decode("ascii")
            source, embedded = f"data:image/png;base64,{body}", embedded + 1
        alt = _("One slice of {case}, labels outlined").format(case=name)
        out = f' <span class="tag">{escape(_("stands out"))}</span>' if name in outliers else ""
        split = f' <span class="muted">{escape(cases[name]["split"])}</span>' if cases[name]["split"] else ""
        cells.append(
            f'<figure><img loading="lazy" src="{source}" alt="{escape(alt)}"><figcaption>'
            f"{_badge(_state(cases[name]))} <b>{escape(name)}</b>{split}{out}</figcaption></figure>"
        )
    return f'<div class="thumbs">{"".join(cells)}</div>' if cells else ""


def _matrix(order: list[str], cases: Mapping[str, Any], checks: Mapping[str, list[dict[str, Any]]]) -> str:
    """Cases by checks; what was found stands behind each mark."""
    table: dict[str, dict[str, dict[str, Any]]] = {}
    columns: dict[str, None] = {}
    for name in order:
        for check in checks[name]:
            title, n = check["name"], 2
            while title in table.get(name, {}):  # two steps of one operation
                title, n = f"{check['name']} ({n})", n + 1
            table.setdefault(name, {})[title] = check
            columns[title] = None
    if not columns:
        return ""
    rows = []
    for name in [name for name in order if cases[name]["status"] == "done"]:
        cells = []
        for column in columns:
            check = table.get(name, {}).get(column)
            if check is None:
                cells.append("")
                continue
            found = " ".join(
                t for t in (check["value"], f"({check['limit']})" if check["limit"] else "") if t
            )
            kind, text = check["verdict"], f"{parts.words(check['verdict'])}: {found}"
            cells.append(
                f'<span class="cell {kind}" title="{escape(text)}" role="img" aria-label="{escape(text)}">'
                f"{parts.MARKS[kind]}</span>"
            )
        rows.append((name, _badge(_state(cases[name])), *cells))
    note = _("Point at a mark to read what was found and its limit; qc.json of the case says what to do.")
    table_html = _table((_("Case"), _("Verdict"), *columns), rows, "matrix")
    return f'<p class="muted">{escape(note)}</p>{table_html}'


def _fingerprint(fingerprint: Mapping[str, Any]) -> str:
    spread, train = fingerprint["all"]["figures"], fingerprint["train"]
    if not spread:
        return ""
    heads = [_("Figure"), _("Cases"), _("Smallest"), _("Median"), _("Largest")]
    if train["cases"]:
        heads.append(_("Median of {n} training cases").format(n=train["cases"]))
    rows = []
    for figure, line in spread.items():
        cells = [escape(parts.number(line[key])) for key in ("cases", "min", "median", "max")]
        if train["cases"]:
            cells.append(escape(parts.number(train["figures"].get(figure, {}).get("median"))))
        rows.append((figure, *cells))
    note = _(
        "Intensities are those of the foreground: what the recipe labelled on the image's grid, or else what "
        "differs from the image's first voxel. fingerprint.json has the figures of every case."
    )
    return f'<p class="muted">{escape(note)}</p>{_table(tuple(heads), rows, "data")}'


def _frame() -> str:
    text = _("Times lie beside the log, since everything else is the same for every run of a batch:")
    return (
        f'<p class="muted">{escape(text)} <a href="{TIMES}">{TIMES}</a></p>'
        f'<iframe src="{TIMES}" title="{escape(_("Time of each case"))}" loading="lazy"></iframe>'
    )


def times(root: Path) -> str:
    """The HTML text of ``log/times.html``: seconds and memory of each case's last run, the longest first."""
    last: dict[str, dict[str, Any]] = {}
    lost = 0
    for event in records.read_events(root):
        lost += event["event"] == "lost"
        if event["event"] in ("done", "failed") and isinstance(event.get("seconds"), (int, float)):
            last[event["case"]] = event
    longest = max((event["seconds"] for event in last.values()), default=0.0) or 1.0
    rows = []
    for name, event in sorted(last.items(), key=lambda item: (-item[1]["seconds"], item[0])):
        share = 100 * event["seconds"] / longest
        bar = f'<span class="bar" style="width:{share:.1f}%"></span>'
        peak = f"{event['peak'] / (1 << 20):.0f}" if event.get("peak") else "-"
        rows.append(
            (
                name,
                _badge("failed") if event["event"] == "failed" else "",
                f"{event['seconds']:.2f}",
                bar,
                peak,
            )
        )
    total = sum(event["seconds"] for event in last.values())
    lead = _("{n} cases took {total:.0f} s of work, {mean:.2f} s each; {lost} times a worker died.").format(
        n=len(last), total=total, mean=total / max(len(last), 1), lost=lost
    )
    heads = (_("Case"), "", _("Time (s)"), "", _("Memory (MB)"))
    return _document(
        _("Time of each case"), lead, "", [("times", _("Longest first"), _table(heads, rows, "times"))]
    )


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]], style: str = "") -> str:
    """A table of cells that are HTML, except the first of each row."""
    top = "".join(f'<th scope="col"><span>{escape(head)}</span></th>' for head in heads)
    lines = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    body = f"<thead><tr>{top}</tr></thead><tbody>{lines}</tbody>"
    return f'<div class="scroll"><table class="{style}">{body}</table></div>'
