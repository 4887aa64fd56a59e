"""What a batch says of itself: ``batch.json`` and ``batch.csv`` without times, ``log/events.jsonl`` with."""

from __future__ import annotations

import csv
import io
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..cases.table import Case
from ..core import provenance
from ..core.i18n import _
from ..core.recipe import Recipe
from ..files import text_file
from . import folder as batchfolder
from .folder import BatchFolder

COLUMNS = ("case", "split", "status", "verdict", "checks", "kind", "error", "expected", "advice")


@dataclass(frozen=True)
class Summary:
    """How a batch ended: cases by name that are done, failed, and were not begun."""

    folder: Path
    done: tuple[str, ...]
    failed: Mapping[str, Mapping[str, str]]
    pending: tuple[str, ...]
    kept: int
    verdicts: Mapping[str, int]
    notes: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every case is done."""
        return not self.failed and not self.pending


class Events:
    """The log of a batch: one JSON line per event, with its time; readable also after a kill."""

    def __init__(self, root: Path) -> None:
        self._path = root / batchfolder.EVENTS
        self._before = read_events(root)

    def add(self, event: str, case: str, **facts: Any) -> None:
        """Append a line."""
        line = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "event": event, "case": case, **facts}
        with open(self._path, "a", encoding="utf-8", newline="\n") as stream:
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")

    def interrupted(self) -> set[str]:
        """Cases that were in a worker's hands when an earlier batch died."""
        found: set[str] = set()
        for event in self._before:
            found.add(event["case"]) if event["event"] == "started" else found.discard(event["case"])
        return found


def read_events(root: Path) -> list[dict[str, Any]]:
    """The events of a batch folder; a line that was cut short is left out."""
    found = []
    try:
        lines = (root / batchfolder.EVENTS).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and {"event", "case"} <= set(event):
            found.append(event)
    return found


def write(
    folder: BatchFolder,
    recipe: Recipe,
    cases: Mapping[str, Case],
    outcomes: Mapping[str, Mapping[str, Any]],
    fits: Sequence[Mapping[str, Any]],
    options: Mapping[str, bool],
) -> Summary:
    """Write ``batch.json`` and ``batch.csv``; the same cases, recipe and versions give the same bytes.

    Raises
    ------
    OSError
        when they cannot be written.
    """
    records = {name: _record(cases[name], outcomes.get(name)) for name in sorted(cases)}
    notes = _notes(folder, records)
    counts = Counter(record["status"] for record in records.values())
    batchfolder.write_json(
        folder.root / "batch.json",
        {
            "schema": "medprep-batch",
            "version": 1,
            "recipe": recipe.name,
            "recipeDigest": recipe.digest,
            "versions": provenance.versions(),
            "options": dict(options),
            "fit": list(fits),
            "counts": counts,
            "cases": records,
            "notes": notes,
        },
    )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for name, record in records.items():
        error = record.get("error", {})
        words = [error.get(key, "") for key in ("kind", "wrong", "expected", "advice")]
        facts = [record["split"], record["status"], record.get("verdict", ""), _unmet(folder, name, record)]
        writer.writerow([name, *facts, *words])
    text_file.write(folder.root / "batch.csv", text.getvalue())
    return Summary(
        folder.root,
        tuple(name for name, record in records.items() if record["status"] == "done"),
        {name: record["error"] for name, record in records.items() if record["status"] == "failed"},
        tuple(name for name, record in records.items() if record["status"] == "pending"),
        sum(outcome["status"] in ("kept", "refused") for outcome in outcomes.values()),
        Counter(record["verdict"] for record in records.values() if record["status"] == "done"),
        tuple(notes),
    )


def _record(case: Case, outcome: Mapping[str, Any] | None) -> dict[str, Any]:
    if outcome is None:
        return {"status": "pending", "split": case.split}
    if outcome["status"] in ("done", "kept"):
        facts = {"status": "done", "verdict": outcome["verdict"]}
    else:
        facts = {"status": "failed", "error": outcome["error"]}
    return {**facts, "split": case.split, "inputs": outcome.get("inputs", {})}


def _unmet(folder: BatchFolder, name: str, record: Mapping[str, Any]) -> str:
    """The checks of quality control that a case did not pass, with what was found."""
    if record.get("verdict") not in ("warn", "fail"):
        return ""
    quality = batchfolder.read_json(folder.case(name) / "qc.json") or {"checks": []}
    return "; ".join(f"{c['name']}: {c['value']}" for c in quality["checks"] if c["verdict"] != "pass")


def _notes(folder: BatchFolder, records: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What somebody should know who trains on the results."""
    notes = []
    strangers = sorted(
        p.name for p in folder.cases.iterdir() if not p.name.startswith(".") and p.name not in records
    )
    if strangers:
        notes.append(
            _("{n} folders belong to none of these cases: {names}").format(
                n=len(strangers), names=_some(strangers)
            )
        )
    same: dict[str, list[str]] = {}
    for name, record in records.items():
        for digest in set(record.get("inputs", {}).values()) - {"missing"}:
            same.setdefault(digest, []).append(name)
    for names in same.values():
        splits = {records[name]["split"] for name in names}
        if len(names) > 1:
            text = _("The same image is in cases {names}.")
            if len(splits) > 1:
                text = _("The same image is in cases {names}, which are in different splits.")
            notes.append(text.format(names=_some(names)))
    return notes


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
