"""Splits of cases into train, val and test that keep all cases of a patient together."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

from ..core.errors import ParameterError
from ..core.i18n import _
from .dicomtree import STUDY, stands_for_nobody
from .table import CASE, PATIENT, SPLIT, SPLITS, Sheet


def parse_fractions(text: str) -> tuple[float, float, float]:
    """Shares of train, val and test, as in ``0.7,0.15,0.15``; they must add up to 1.

    Raises
    ------
    ParameterError
        for anything else.
    """
    try:
        shares = tuple(float(part) for part in text.split(","))
    except ValueError:
        shares = ()
    if len(shares) != 3 or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise ParameterError(
            _("--fractions is {text!r}.").format(text=text),
            _("Expected the shares of train, val and test, which add up to 1, such as 0.7,0.15,0.15."),
        )
    return shares


def split(
    sheet: Sheet, fractions: Sequence[float], seed: int, patientwise: bool = True
) -> list[dict[str, str]]:
    """The rows of a cases file with a split for each.

    Patients are put in an order that only their name and the seed decide, so that the same file, seed and
    fractions give the same splits on every machine. A patient goes where most cases are still missing.

    Parameters
    ----------
    fractions : of the cases, for train, val and test.
    patientwise : keep a patient's cases together (needs the column ``patient``).

    Raises
    ------
    ParameterError
        when `patientwise` and there is no column ``patient``, or one of its cells is empty.
    """
    if patientwise:
        _require_patients(sheet)
    groups: dict[str, list[Mapping[str, str]]] = {}
    for _line, row in sheet.rows:
        groups.setdefault(row[PATIENT if patientwise else CASE], []).append(row)
    ordered = sorted(groups, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    # Patients with most cases first: what is left to even out is small.
    ordered.sort(key=lambda name: -len(groups[name]))
    missing = {name: share * len(sheet.rows) for name, share in zip(SPLITS, fractions, strict=True)}
    chosen: dict[str, str] = {}
    for name in ordered:
        best = max(SPLITS, key=lambda s: missing[s])
        missing[best] -= len(groups[name])
        chosen |= {row[CASE]: best for row in groups[name]}
    return [{**row, SPLIT: chosen[row[CASE]]} for _line, row in sheet.rows]


def doubts(sheet: Sheet) -> list[str]:
    """What makes a split by patients doubtful: one name for many, or studies in place of patients."""
    patients = Counter(row.get(PATIENT, "") for _line, row in sheet.rows)
    notes = []
    most = max(patients.values())
    if len(sheet.rows) > 3 and most > len(sheet.rows) / 2:
        notes.append(
            _(
                "{n} of {all} cases are of one patient and stay in one split: check that an anonymiser did "
                "not give all the same name."
            ).format(n=most, all=len(sheet.rows))
        )
    nobody = sum(n for patient, n in patients.items() if n > 1 and stands_for_nobody(patient))
    if nobody:
        notes.append(
            _("{n} cases have a patient whose name stands for nobody (such as ANON).").format(n=nobody)
        )
    studies = sum(n for patient, n in patients.items() if patient.startswith(STUDY))
    if studies:
        notes.append(
            _(
                "In {n} cases the study stands for the patient: studies of one person may be in two splits."
            ).format(n=studies)
        )
    return notes


def _require_patients(sheet: Sheet) -> None:
    empty = [row[CASE] for _line, row in sheet.rows if not row.get(PATIENT)]
    if empty:
        raise ParameterError(
            _("{file} does not say whose case {case!r} is.").format(file=sheet.name, case=empty[0]),
            _("Expected a column patient with a value in every row."),
            _("Add it, or give --no-patientwise when every case is a patient of its own."),
        )
