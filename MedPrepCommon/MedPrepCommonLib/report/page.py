"""``report.html``: one page that shows what a recipe did to an image, made from the files of a result folder.

The page needs nothing but itself: styles, charts and pictures are inside, so it can be mailed and archived.
It holds no path, no name and no identifier of a patient.
"""

from __future__ import annotations

import base64
import csv
import os
from html import escape
from pathlib import Path
from typing import Any

from .. import bounds
from ..core import json_text
from ..core.errors import FileError, MedPrepError
from ..core.i18n import _
from ..files import text_file
from . import parts as parts
from .style import CSS

PAGE = "report.html"
_PNG = b"\x89PNG\r\n\x1a\n"


def make(folder: str | os.PathLike[str]) -> Path:
    """(Re-)make ``report.html`` from what is in `folder` and return its path.

    Raises
    ------
    FileError
        when the folder is no MedPrep result, a file in it is missing or damaged, or it cannot be written.
    """
    folder = Path(folder)
    text_file.save(folder / PAGE, page(folder))
    return folder / PAGE


def page(folder: Path) -> str:
    """The HTML text of a result folder's report."""
    record, quality = _read_json(folder, "provenance.json"), _read_json(folder, "qc.json")
    evidence = _read_json(folder, "report.json")
    try:
        text = _page(folder, record, quality, evidence)
        text.encode("utf-8")
        return text
    except MedPrepError:
        raise
    except Exception as error:
        # The records may have come from anywhere: whatever they hold, it is they that are wrong.
        raise FileError(
            _("The records of this result do not fit together ({what}).").format(what=type(error).__name__),
            _("Expected provenance.json, qc.json and report.json as MedPrep wrote them."),
            _("Run the recipe again."),
        ) from error


def _page(folder: Path, record: Any, quality: Any, evidence: Any) -> str:
    recipe = record["recipe"]
    title = recipe["title"] or recipe["name"]
    tables = [(t["title"], *_read_csv(folder, t["file"])) for t in evidence["tables"]]
    sections = [
        ("quality", _("Quality control"), parts.checks(quality)),
        (
            "pictures",
            _("Pictures"),
            parts.pictures(evidence["pictures"], lambda file: _embedded(folder, file)),
        ),
        ("measurements", _("Measurements"), parts.tables(tables) + parts.metrics(quality["metrics"], record)),
        ("histograms", _("Histograms"), parts.figures(evidence["figures"])),
        ("images", _("Images"), parts.images(record, evidence["statistics"])),
        ("steps", _("Steps and parameters"), parts.steps(record)),
        ("citing", _("What to cite"), parts.citations(record)),
        ("repeat", _("Versions, and how to repeat this"), parts.repeat(record)),
    ]
    sections = [section for section in sections if section[2]]
    links = "".join(f'<a href="#{id}">{escape(name)}</a>' for id, name, _body in sections)
    bodies = "".join(
        f'<section id="{id}" aria-labelledby="{id}-title">'
        f'<h2 id="{id}-title">{escape(name)}</h2>{body}</section>'
        for id, name, body in sections
    )
    nav = f'<nav aria-label="{escape(_("Sections"))}">{links}</nav>'
    lead = f'<p class="lead">{escape(recipe["description"])}</p>' if recipe["description"] else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} - MedPrep</title><style>{CSS}</style></head>\n<body>"
        f'<header><div><div class="row"><div><h1>{escape(title)}</h1>{lead}</div>'
        f"{parts.verdict(quality)}</div>{nav}</div></header>"
        f"<main>{bodies}<footer>{escape(_footer())}</footer></main></body></html>\n"
    )


def _footer() -> str:
    return _(
        "Made by MedPrep for research. It is not a medical device; do not use it for diagnosis or treatment. "
        "Pictures follow radiological convention: the patient's right is on the left. "
        "This page holds no names, identifiers or file paths."
    )


def _read_json(folder: Path, name: str) -> Any:
    try:
        return json_text.read(folder / name)
    except OSError as error:
        raise FileError(
            _("There is no readable {name} in {folder}.").format(name=name, folder=folder),
            _("Expected a folder that MedPrep wrote."),
            _("Name the folder that was given as --out."),
        ) from error
    except ValueError as error:
        raise FileError(
            _("{name} in {folder} is damaged ({reason}).").format(name=name, folder=folder, reason=error),
            _("Expected JSON as MedPrep wrote it."),
            _("Run the recipe again."),
        ) from error


def _read_csv(folder: Path, name: str) -> tuple[list[str], list[list[str]]]:
    try:
        with open(own_file(folder, name, ".csv"), encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise _missing(folder, name) from error
    return (rows[0], rows[1:]) if rows else ([], [])


def _embedded(folder: Path, name: str) -> str:
    """A picture file as a data URI."""
    try:
        body = own_file(folder, name, ".png").read_bytes()
    except OSError as error:
        raise _missing(folder, name) from error
    if not body.startswith(_PNG):
        raise _missing(folder, name)
    return f"data:image/png;base64,{base64.b64encode(body).decode('ascii')}"


def own_file(folder: Path, name: str, ending: str) -> Path:
    """The file of this name in a folder that somebody may have sent: below it, of this kind, and no link out.

    Raises
    ------
    FileError
        for any other name; the page is made to be mailed, and must hold nothing that lies elsewhere.
    """
    path = folder / str(name)
    try:
        inside = path.resolve().is_relative_to(folder.resolve()) and path.is_file()
    except (OSError, ValueError, RuntimeError):
        inside = False
    plain = not Path(str(name)).is_absolute() and ".." not in Path(str(name)).parts
    if not (inside and plain and str(name).endswith(ending)) or path.stat().st_size > bounds.RECORD.high:
        raise _missing(folder, str(name))
    return path


def _missing(folder: Path, name: str) -> FileError:
    return FileError(
        _("There is no readable {name} in {folder}.").format(name=name, folder=folder),
        _("Expected every file that MedPrep wrote there."),
        _("Put the file back, or run the recipe again."),
    )
