"""The cases of a batch from a CSV file, checked line by line before anything runs.

One row is one case. Columns: ``case`` (its name), one per input of the recipe with the path of an image (seen
from the CSV file's folder), and if wanted ``patient``, ``split`` (train, val or test), ``INPUT.series``
(which series of a DICOM folder) and ``label.NAME`` (anything that is kept beside the case, such as a class).
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from ..core.errors import FileError, ParameterError
from ..core.i18n import _
from ..core.parameters import nearest
from ..core.recipe import Recipe
from ..files import text_file

CASE, PATIENT, SPLIT, LABEL, SERIES = "case", "patient", "split", "label.", ".series"
SPLITS = ("train", "val", "test")
# A case's name becomes a folder's name on every system.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(?<!\.)")
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True)
class Case:
    """One row: absolute paths by the recipe's input names, and whose they are.

    Parameters
    ----------
    id : as the cases file has it.
    inputs : absolute path of an image file or DICOM folder by input name.
    series : wanted series of a DICOM folder by input name.
    patient : whose images they are; the case's own id where the file does not say.
    split : "train", "val", "test" or "" where the file does not say.
    labels : whatever else is known of the case, by name.
    """

    id: str
    inputs: Mapping[str, str]
    series: Mapping[str, str] = field(default_factory=dict)
    patient: str = ""
    split: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sheet:
    """A cases file as text: its name, columns, and rows with the line that each begins on."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[int, Mapping[str, str]], ...]


def read_sheet(path: str | os.PathLike[str]) -> Sheet:
    """The rows of a cases file (UTF-8; comma or semicolon), empty lines left out.

    Raises
    ------
    FileError
        naming the line: unreadable, no column ``case``, a column twice, a row of another length, a case
        without a name or one that is there twice.
    """
    path = Path(path).expanduser()
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            first = stream.readline()
            stream.seek(0)
            delimiter = ";" if first.count(";") > first.count(",") else ","
            reader = csv.reader(stream, delimiter=delimiter, strict=True)
            lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except OSError as error:
        raise FileError(
            _("The cases file {file} cannot be read ({reason}).").format(
                file=path.name, reason=error.strerror
            ),
            _("Expected a CSV file, or a folder with images."),
            _("Check the path."),
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileError(
            _("{file} is not a CSV file ({reason}).").format(file=path.name, reason=error),
            _("Expected UTF-8 text, one row a case."),
            _("Save it again as CSV (UTF-8)."),
        ) from error
    lines = [(number, row) for number, row in lines if any(row)]
    if not lines:
        _wrong(path.name, 0, _("it is empty"), _("a header line and one row a case"))
    line, header = lines[0]
    for n, column in enumerate(header):
        if not column:
            _wrong(path.name, line, _("column {n} has no name").format(n=n + 1), _("a name for each column"))
        if column in header[:n]:
            _wrong(path.name, line, _("column {name!r} is there twice").format(name=column))
    if CASE not in header:
        _wrong(
            path.name,
            line,
            _("there is no column {name!r}").format(name=CASE),
            _("a name for each case in it"),
            nearest(CASE, header),
        )
    rows: list[tuple[int, Mapping[str, str]]] = []
    seen: dict[str, int] = {}
    for line, cells in lines[1:]:
        if len(cells) != len(header):
            _wrong(
                path.name,
                line,
                _("{n} values").format(n=len(cells)),
                _("{n}, one for each column").format(n=len(header)),
            )
        row = dict(zip(header, cells, strict=True))
        name = row[CASE]
        if not name:
            _wrong(path.name, line, _("the case has no name"))
        # Case folders must differ on systems that do not tell capitals apart too.
        if name.lower() in seen:
            _wrong(
                path.name,
                line,
                _("case {name!r} is there already, on line {first}").format(
                    name=name, first=seen[name.lower()]
                ),
                _("another name for each case"),
            )
        seen[name.lower()] = line
        rows.append((line, row))
    if not rows:
        _wrong(path.name, line, _("there are no cases"), _("one row a case"))
    return Sheet(path.name, tuple(header), tuple(rows))


def write_sheet(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> None:
    """Write a cases file; it appears complete or not at all.

    Raises
    ------
    FileError
        when it cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    text_file.save(path, text.getvalue())


def from_sheet(path: str | os.PathLike[str], recipe: Recipe, columns: Mapping[str, str]) -> list[Case]:
    """The cases of a CSV file for `recipe`, in the file's order.

    Parameters
    ----------
    columns : the column that holds a recipe input, where it is not called like the input.

    Raises
    ------
    FileError
        naming line and column: a column that is missing or that nobody knows, a case without an input, a
        split that is none, a patient in two splits.
    ParameterError
        when `columns` names an input that the recipe has not.
    """
    sheet = read_sheet(path)
    folder = Path(path).expanduser().resolve().parent
    held = _columns_of_inputs(sheet, recipe, columns)
    used = {CASE, PATIENT, SPLIT, *held.values(), *(column + SERIES for column in held.values())}
    absent = [i.name for i in recipe.inputs if i.name not in held]
    for column in unused(sheet, used):
        # A dataset has columns that this recipe does not take; but one that nearly is an input may be meant.
        meant = nearest(column, [name for name in (*absent, PATIENT, SPLIT) if name not in sheet.columns])
        if meant:
            _wrong(
                sheet.name,
                1,
                _("recipe {recipe} has no input {column!r}").format(recipe=recipe.name, column=column),
                _("the columns {names}").format(names=", ".join([CASE, *absent, PATIENT, SPLIT])),
                meant,
            )
    cases = [_case(sheet, line, row, recipe, held, folder) for line, row in sheet.rows]
    check_splits(cases, sheet.name)
    return cases


def unused(sheet: Sheet, used: Collection[str]) -> list[str]:
    """Columns that are neither used nor labels."""
    return [column for column in sheet.columns if column not in used and not column.startswith(LABEL)]


def _columns_of_inputs(sheet: Sheet, recipe: Recipe, columns: Mapping[str, str]) -> dict[str, str]:
    names = [wanted.name for wanted in recipe.inputs]
    for name in columns:
        if name not in names:
            raise ParameterError(
                _("Recipe {recipe} has no input {name!r}.").format(recipe=recipe.name, name=name),
                _("Expected {names}.").format(names=", ".join(names)),
            )
    held: dict[str, str] = {}
    for wanted in recipe.inputs:
        column = columns.get(wanted.name, wanted.name)
        if column in sheet.columns:
            held[wanted.name] = column
        elif not wanted.optional or wanted.name in columns:
            _wrong(
                sheet.name,
                1,
                _("there is no column {column!r}").format(column=column),
                _("the path of {what} in it").format(what=wanted.description or _("an image")),
                nearest(column, sheet.columns)
                or _("Give --column {name}=COLUMN when it is called otherwise.").format(name=wanted.name),
            )
    return held


def _case(
    sheet: Sheet, line: int, row: Mapping[str, str], recipe: Recipe, held: Mapping[str, str], folder: Path
) -> Case:
    inputs = {}
    for wanted in recipe.inputs:
        path = row.get(held.get(wanted.name, ""), "")
        if path:
            inputs[wanted.name] = os.path.normpath(folder / Path(path).expanduser())
        elif not wanted.optional:
            _wrong(
                sheet.name,
                line,
                _("case {case!r} has no {column}").format(case=row[CASE], column=held[wanted.name]),
                _("the path of an image"),
            )
    split = row.get(SPLIT, "")
    if split and split not in SPLITS:
        _wrong(
            sheet.name,
            line,
            _("split {split!r}").format(split=split),
            ", ".join(SPLITS),
            nearest(split, SPLITS),
        )
    return Case(
        row[CASE],
        inputs,
        {name: row[c + SERIES] for name, c in held.items() if row.get(c + SERIES)},
        row.get(PATIENT, "") or row[CASE],
        split,
        {c.removeprefix(LABEL): row[c] for c in sheet.columns if c.startswith(LABEL)},
    )


def check_splits(cases: Sequence[Case], where: str) -> None:
    """Raise :class:`FileError` when one patient's cases are in two splits, or only some cases have one."""
    found: dict[str, Case] = {}
    for case in cases:
        other = found.setdefault(case.patient, case)
        if other.split != case.split:
            # The case's name is in the user's own file; the patient's is not repeated.
            raise FileError(
                _(
                    "{file}: cases {one!r} and {two!r} are of one patient, but in the splits {a!r} and {b!r}."
                ).format(file=where, one=other.id, two=case.id, a=other.split or "-", b=case.split or "-"),
                _("Expected all cases of a patient in one split: else what was learned is tested on itself."),
                _("Make splits with: medprep split CASES --out FILE"),
            )
    unsplit = [case for case in cases if not case.split]
    if unsplit and len(unsplit) < len(cases):
        raise FileError(
            _("{file}: case {case!r} has no split, others have one.").format(file=where, case=unsplit[0].id),
            _("Expected a split for every case, or for none."),
            _("Make splits with: medprep split CASES --out FILE"),
        )


def check_names(cases: Sequence[Case], where: str) -> None:
    """Raise :class:`FileError` when a case's name cannot be a folder's."""
    for case in cases:
        if not _NAME.fullmatch(case.id) or _DEVICES.fullmatch(case.id):
            raise FileError(
                _("{file}: {name!r} cannot be the name of a folder.").format(file=where, name=case.id),
                _("Expected up to 100 letters, digits, dots, - and _; the first a letter or a digit."),
                _("Rename the case, or give --pseudonyms: they take the place of the names."),
            )


def _wrong(file: str, line: int, wrong: str, expected: str = "", advice: str = "") -> NoReturn:
    place = _("{file}, line {line}").format(file=file, line=line) if line else file
    raise FileError(
        f"{place}: {wrong}.",
        _("Expected {what}.").format(what=expected) if expected else "",
        advice or _("Correct the file there."),
    )
