"""The cases of a DICOM tree: one a series, and whose they are.

Patients are told by PatientID. Where it is missing, or is what an anonymiser wrote for everybody, the study
stands for the patient: all that is certain then is that a study's series are of one person. A patient is
never made up from a series.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..core.i18n import _
from ..core.job import Job
from ..files.dicom import scan
from ..files.dicom.header import read_header, text_of
from ..files.dicom.words import described_as, image_type, is_localizer
from .table import CASE, LABEL, PATIENT, SERIES

# An image of fewer slices in a tree of CT or MR is a scout.
_SCOUT = 3
#: What the column patient begins with where the study stands for the patient.
STUDY = "study-"
_PERSON = ("PatientID", "StudyInstanceUID", "PatientName", "PatientBirthDate", "PatientSex")
_NOBODY = re.compile(
    r"(anon\w*|de-?id\w*|unknown|none|null|n/?a|removed|redacted|patient|subject|test|x+|id|no ?id|hidden"
    r"|dummy|private|confidential|default|not ?set|empty)?[\W_0]*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Person:
    """Whose a series is, by its header."""

    patient: str
    study: str
    name: str
    birth: str
    sex: str


@dataclass
class Tree:
    """Rows of the cases, what was left out with how often, and what the user must know about the patients."""

    rows: list[dict[str, str]] = field(default_factory=list)
    left: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def read(root: Path, job: Job) -> Tree:
    """The cases of a tree; names are digests of the series, as their UIDs say who it is."""
    tree, damaged = Tree(), list[Path]()
    series = scan.scan_dicom(root, job, damaged)
    if damaged:
        tree.left[_("damaged DICOM file")] = len(damaged)
    wanted = []
    for one in series:
        if one.document:
            tree.left[_("picture of text ({what})").format(what=one.document)] += 1
        elif _is_scout(one):
            tree.left[_("scout or single slice")] += 1
        else:
            wanted.append(one)
    people = {one.number: _person(one) for one in wanted}
    patients = _patients(list(people.values()), tree.notes)
    places = _places(series, root)
    for one in wanted:
        parent = Path(os.path.commonpath([file.parent for file in one.files]))
        chosen = _chosen(one, [series[n] for n in sorted(places[parent])])
        where = parent.relative_to(root).as_posix()
        digest = hashlib.sha256(f"{one.uid} {people[one.number].study} {chosen} {where}".encode()).hexdigest()
        tree.rows.append(
            {
                CASE: f"{(re.sub(r'[^a-z]', '', one.modality.lower()) or 'x')}-{digest[:12]}",
                "image": where,
                "image" + SERIES: chosen,
                PATIENT: patients[people[one.number]],
                LABEL + "modality": one.modality,
                LABEL + "description": one.label,
                LABEL + "slices": str(one.slices),
            }
        )
    return tree


def stands_for_nobody(patient: str) -> bool:
    """Whether an identifier is what anonymisers write for everybody, such as "ANON" or "000"."""
    return _NOBODY.fullmatch(patient.strip()) is not None


def _is_scout(series: scan.DicomSeries) -> bool:
    header = series.headers[0]
    types = image_type(text_of(header, "ImageType"))
    few = series.modality in ("CT", "MR") and series.slices < _SCOUT
    return few or is_localizer(types, described_as(series.description))


def _person(series: scan.DicomSeries) -> _Person:
    header = read_header(series.files[0], _PERSON)
    return _Person(*(text_of(header, tag) for tag in _PERSON))


def _patients(people: Sequence[_Person], notes: list[str]) -> dict[_Person, str]:
    """What stands for the patient of each; notes say where that is not the PatientID."""
    by_study: dict[str, set[str]] = defaultdict(set)
    by_patient: dict[str, set[_Person]] = defaultdict(set)
    for person in people:
        if person.patient and person.study:
            by_study[person.study].add(person.patient)
        by_patient[person.patient].add(person)
    shared = {
        patient for patient, those in by_patient.items() if patient and _are_several(patient, list(those))
    }
    found: dict[_Person, str] = {}
    absent = replaced = nameless = 0
    for person in set(people):
        others = by_study.get(person.study, set())
        known = person.patient or (next(iter(others)) if len(others) == 1 else "")
        if known and known not in shared:
            found[person] = known
            continue
        # Without a study nothing at all says whose it is.
        found[person] = _study(person.study) if person.study else ""
        count = sum(other == person for other in people)
        absent += count * bool(not known and person.study)
        replaced += count * bool(known and person.study)
        nameless += count * (not person.study)
    studies = len({person.study for person in people if person.study})
    if absent:
        notes.append(
            _("{n} cases have no PatientID: their study stands for the patient.").format(n=absent) + _advice()
        )
    if replaced:
        notes.append(
            _(
                "{n} cases have a PatientID that several people share (another name, birth date or sex, or "
                "what an anonymiser writes for all): their study stands for the patient."
            ).format(n=replaced)
            + _advice()
        )
    if nameless:
        notes.append(
            _("{n} cases say neither patient nor study: fill in the column patient before a split.").format(
                n=nameless
            )
        )
    if studies > 2 and len(set(found.values())) == 1 and not absent + replaced + nameless:
        notes.append(_("All {n} studies have one PatientID: check that it is one patient.").format(n=studies))
    return found


def _advice() -> str:
    return " " + _(
        "Two studies of one person then count as two patients: correct the column patient if you can."
    )


def _are_several(patient: str, people: Sequence[_Person]) -> bool:
    """Whether one identifier belongs to more than one person, for all that the headers say."""
    if len({person.study for person in people}) < 2:
        return False
    told = [{value for value in values if value} for values in _told(people)]
    return any(len(values) > 1 for values in told) or stands_for_nobody(patient)


def _told(people: Iterable[_Person]) -> Iterable[tuple[str, ...]]:
    return zip(*((re.sub(r"\W+", " ", p.name).strip().upper(), p.birth, p.sex) for p in people), strict=True)


def _study(uid: str) -> str:
    return STUDY + hashlib.sha256(uid.encode()).hexdigest()[:12]


def _places(series: Sequence[scan.DicomSeries], root: Path) -> dict[Path, set[int]]:
    """Which series (by their place in the list) have files in a folder or below it."""
    places: dict[Path, set[int]] = defaultdict(set)
    for n, one in enumerate(series):
        for folder in {file.parent for file in one.files}:
            for place in (folder, *folder.parents):
                places[place].add(n)
                if place == root:
                    break
    return places


def _chosen(one: scan.DicomSeries, beside: Sequence[scan.DicomSeries]) -> str:
    """How `one` is named among the series of its folder: not at all, by its UID, or by its number there."""
    pictures = [s for s in beside if not s.document]
    if len(pictures) == 1:
        return ""
    if one.uid and sum(s.uid == one.uid for s in beside) == 1:
        return one.uid
    members = [member for s in beside for member in zip(s.files, s.headers, strict=True)]
    return next(str(s.number) for s in scan.series_of(members) if set(s.files) == set(one.files))
