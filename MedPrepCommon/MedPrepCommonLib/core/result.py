"""What an operation returns: images, labels, patches, tables, points, figures as data, metrics, checks."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import Any, Literal

from .i18n import _
from .patch_set import PatchSet
from .volume import LabelVolume, Volume

Verdict = Literal["pass", "warn", "fail"]
Cell = str | int | float | bool


@dataclass(frozen=True)
class Table:
    """Rows under named columns; a column's unit stands in its name, as in ``volume (ml)``."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def to_csv(self) -> str:
        """RFC 4180 text with a header line."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.rows)
        return text.getvalue()


@dataclass(frozen=True)
class Curve:
    """One line of a figure: x and y of equal length."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Figure:
    """A plot as data, drawn as a plot node in Slicer and as a picture in the report."""

    title: str
    x_title: str
    y_title: str
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Points:
    """Named places in the patient, RAS millimetres, shape (n, 3).

    Those that would cover the image are not `shown` in a scene until the user wants to see them.
    """

    title: str
    positions: tuple[tuple[float, float, float], ...]
    labels: tuple[str, ...]
    shown: bool = True


@dataclass(frozen=True)
class Check:
    """One line of a quality-control table: a value held against a limit, with advice when it is not met."""

    name: str
    verdict: Verdict
    value: str
    limit: str = ""
    advice: str = ""


@dataclass
class Result:
    """Everything an operation or a recipe made; nothing is returned through side effects."""

    images: dict[str, Volume] = field(default_factory=dict)
    labels: dict[str, LabelVolume] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    points: dict[str, Points] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)
    patches: dict[str, PatchSet] = field(default_factory=dict)
    metrics: dict[str, Cell] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    #: Units of those metrics that have one, by name.
    units: dict[str, str] = field(default_factory=dict)

    def outputs(self) -> dict[str, Any]:
        """Every named thing that becomes a node or a file, main results first."""
        return {
            **self.images,
            **self.labels,
            **self.patches,
            **self.tables,
            **self.points,
            **self.figures,
        }

    def volumes(self) -> dict[str, Volume]:
        """Images and label maps by name."""
        return {**self.images, **self.labels}


def check_table(checks: list[Check]) -> Table:
    """The checks as a table, one row each."""
    rows = tuple((c.name, c.verdict, c.value, c.limit, c.advice) for c in checks)
    return Table(_("Quality control"), ("check", "verdict", "value", "limit", "advice"), rows)


def worst(checks: list[Check]) -> Verdict:
    """The verdict of a whole list: fail beats warn beats pass."""
    verdicts = {check.verdict for check in checks}
    return "fail" if "fail" in verdicts else "warn" if "warn" in verdicts else "pass"
