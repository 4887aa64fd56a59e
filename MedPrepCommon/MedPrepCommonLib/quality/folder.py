"""Quality control of a folder: results of recipes, and plain image files beside their labels.

A result folder brings its own checks (``qc.json``) and digests (``provenance.json``); an image file is read
and held against the checklist of the operation ``qc``. Then the cases are held against each other.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ..core import engine, json_text, provenance
from ..core.errors import FileError, MedPrepError
from ..core.i18n import _
from ..core.job import Job
from ..core.operation import create
from ..core.result import Check, worst
from ..core.volume import LabelVolume, Volume
from ..files.reading import read_volume
from . import leakage
from .leakage import Member

SCHEMA, VERSION = "medprep-qc", 1
_ENDINGS = (".nii", ".nii.gz", ".nrrd", ".mha")
_RECORDS = ("qc.json", "provenance.json")
# Each lists the files of a result folder.
_LISTS = ("report.json", "done.json")
# Endings of file names and names of folders that hold labels, and nnU-Net's number of a channel.
_LABELS = re.compile(r"[-_.]?(labels?|masks?|seg|segmentations?|lungs?)$", re.IGNORECASE)
_LABEL_FOLDERS = re.compile(r"(labels?|masks?|segmentations?)(tr|ts|val)?", re.IGNORECASE)
_CHANNEL = re.compile(r"_\d{4}$")


@dataclass
class Case:
    """One case that was found and what is said of it."""

    name: str
    kind: str
    checks: list[Check] = field(default_factory=list)
    digests: tuple[str, ...] = ()
    split: str = ""
    patient: str = ""
    sure: bool = True

    @property
    def verdict(self) -> str:
        """The worst of its checks."""
        return worst(self.checks)


@dataclass
class FolderQuality:
    """Every case of a folder, and the checks across them."""

    name: str
    cases: list[Case]
    checks: list[Check]

    @property
    def verdict(self) -> str:
        """The worst of all checks."""
        return worst([*self.checks, *(check for case in self.cases for check in case.checks)])

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON; paths are seen from the folder."""
        return {
            "schema": SCHEMA,
            "version": VERSION,
            "verdict": self.verdict,
            "checks": [asdict(check) for check in self.checks],
            "cases": [
                {
                    "case": case.name,
                    "kind": case.kind,
                    "verdict": case.verdict,
                    "split": case.split,
                    "patient": case.patient,
                    "digests": list(case.digests),
                    "checks": [asdict(check) for check in case.checks],
                }
                for case in self.cases
            ],
            "versions": provenance.versions(),
        }


def control(
    folder: str | os.PathLike[str],
    cases: str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    job: Job | None = None,
) -> FolderQuality:
    """Check every case in `folder`.

    Parameters
    ----------
    cases : CSV file with the columns ``case`` (a result folder's or file's name or path) and ``split`` or
        ``patient`` or both; further columns may hold the images' paths instead of a name that fits.
    settings : parameters of the operation ``qc`` for image files, and ``preset``.

    Raises
    ------
    FileError
        when the folder or the CSV file cannot be used, or there is nothing to check.
    ParameterError
        for wrong settings.
    """
    job = job or Job.quiet()
    root = Path(folder).expanduser()
    settings = dict(settings or {})
    checklist = create("qc", settings.pop("preset", None), **settings)
    if not root.is_dir():
        raise FileError(
            _("{folder} is no folder.").format(folder=root),
            _("Expected a folder with results of 'medprep run', or with image files."),
            _("Check the path."),
        )
    sheet = None if cases is None else Path(cases).expanduser()
    rows = [] if sheet is None else _rows(sheet)
    results, files = _walk(root)
    groups = _grouped(root, files)
    if not results and not groups:
        raise FileError(
            _("There is nothing to check in {folder}.").format(folder=root),
            _("Expected results of 'medprep run', or {endings} files.").format(endings=", ".join(_ENDINGS)),
            _("Check the path."),
        )
    found: list[Case] = []
    total = len(results) + len(groups)
    for n, place in enumerate([*results, *groups]):
        part = job.part(n / total, (n + 1) / total, _("case {n} of {total}").format(n=n + 1, total=total))
        part.report(0.0)
        found.append(
            _result(root, place) if n < len(results) else _plain(root, place, groups[place], checklist, part)
        )
    across = [] if sheet is None else _assign(root, found, sheet.parent, rows)
    members = [Member(c.name, c.split, c.patient, c.sure, c.digests) for c in found]
    job.report(1.0)
    return FolderQuality(root.resolve().name, found, [*across, *leakage.checks(members)])


def _walk(root: Path) -> tuple[list[Path], list[Path]]:
    """Result folders, and image files outside of them; sorted, hidden ones left out."""
    results, files = [], []
    for place, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        if all(record in names for record in _RECORDS):
            results.append(Path(place))
            folders[:] = []
            continue
        files += [Path(place) / n for n in sorted(names) if n.lower().endswith(_ENDINGS) and n[0] != "."]
    return results, files


def _stem(path: Path) -> str:
    name = path.name[: -len(next(e for e in reversed(_ENDINGS) if path.name.lower().endswith(e)))]
    return name.removesuffix(".seg")


def _grouped(root: Path, files: list[Path]) -> dict[Path, list[Path]]:
    """Each image file with the label files that belong to it.

    Labels lie beside the image under its name with an ending (``p1.nii.gz``, ``p1_mask.nii.gz``), alone with
    it in a folder, or under the same name in a folder for labels (``imagesTr``, ``labelsTr``).
    """
    images, labels = [], []
    for path in files:
        in_label_folder = any(_LABEL_FOLDERS.fullmatch(p) for p in path.relative_to(root).parts[:-1])
        (labels if in_label_folder or _LABELS.search(_stem(path)) else images).append(path)
    if not images:
        return {path: [] for path in labels}
    groups: dict[Path, list[Path]] = {path: [] for path in images}
    for label in labels:
        name = _LABELS.sub("", _stem(label))
        names = {name, _stem(label)}
        for image in images:
            alone = image.parent == label.parent and (
                not name or sum(other.parent == image.parent for other in images) == 1
            )
            same_place = image.parent == label.parent or _twins(image.parent.name, label.parent.name)
            if alone or (same_place and ({_stem(image), _CHANNEL.sub("", _stem(image))} & names)):
                groups[image].append(label)
    return groups


def _twins(images: str, labels: str) -> bool:
    """Whether one folder holds the labels of the other: ``imagesTr`` and ``labelsTr``, and the like."""
    rest = re.sub(r"^images?", "", images, flags=re.IGNORECASE)
    return (
        rest.lower() == re.sub(r"^(labels?|masks?|segmentations?)", "", labels, flags=re.IGNORECASE).lower()
    )


def _named(root: Path, path: Path, kind: str) -> Case:
    relative = PurePosixPath(path.relative_to(root).as_posix())
    case = Case(relative.as_posix() if relative.parts else root.resolve().name, kind)
    case.split, rest = leakage.split_of(relative / "x" if kind == "result" else relative)
    if case.split:
        # The first folder inside the split is the patient's; a file alone has only its name.
        own_folder = kind == "result" or len(rest.parts) > 1
        case.patient = rest.parts[0] if own_folder else _CHANNEL.sub("", _stem(path))
        case.sure = own_folder and case.patient != "x"
    return case


def _result(root: Path, folder: Path) -> Case:
    case = _named(root, folder, "result")
    try:
        quality, record = (json_text.read(folder / name) for name in _RECORDS)
        case.checks = [Check(**check) for check in quality["checks"]]
        case.digests = tuple(facts["digest"] for facts in record["inputs"].values())
        missing = _missing(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        advice = _("Run the recipe again.")
        case.checks = [Check(_("Records"), "fail", _("unreadable ({what})").format(what=error), "", advice)]
        return case
    if missing:
        advice = _("The result is not complete: run the recipe again.")
        case.checks.append(Check(_("Files"), "fail", _("missing: {names}").format(names=missing), "", advice))
    return case


def _missing(folder: Path) -> str:
    # A batch writes the second; without --report it is the only one.
    manifest = next((folder / name for name in _LISTS if (folder / name).is_file()), None)
    names = json_text.read(manifest)["files"] if manifest else [_LISTS[0]]
    return ", ".join(name for name in names if not (folder / name).is_file())


def _plain(root: Path, path: Path, labels: list[Path], checklist: Any, job: Job) -> Case:
    case = _named(root, path, "image")
    try:
        image = read_volume(path, job=job.part(0.0, 0.3))
        case.digests = tuple(filter(None, (provenance.digest(image), leakage.content(image))))
        inputs: dict[str, Any] = {"image": image}
        taken: list[LabelVolume] = []
        for label in labels:
            volume = read_volume(label, labels=True)
            is_lung = "lungs" not in inputs and re.search("lung", label.name, re.IGNORECASE)
            if is_lung:
                inputs["lungs"] = volume
            else:
                taken.append(volume)
        inputs["labels"] = tuple(taken)
        if isinstance(image, LabelVolume):
            inputs["image"] = Volume(image.array, image.ijkToRAS, image.name, image.modality, image.info)
        case.checks = engine.run(checklist, inputs, job.part(0.3, 1.0)).checks
    except MedPrepError as error:
        case.checks = [Check(_("Reading"), "fail", error.wrong, error.expected, error.advice)]
    return case


def _assign(root: Path, found: list[Case], base: Path, rows: list[dict[str, str]]) -> list[Check]:
    """Splits and patients as the rows of a cases file in `base` say, and whether every case is in it."""
    known: dict[str, Mapping[str, str]] = {}
    for row in rows:
        for column, cell in row.items():
            if cell and column not in ("patient", "split"):
                known.setdefault(PurePosixPath(cell).as_posix(), row)
                known.setdefault(os.path.abspath(base / cell), row)
    used, unknown = set(), []
    for case in found:
        place = root / case.name
        plain = case.name if case.kind == "result" else re.sub(r"\.[^/]*$", "", case.name)
        keys = (case.name, plain, plain.rpartition("/")[2], place.name, os.path.abspath(place))
        row = next((known[key] for key in keys if key in known), None)
        if row is None:
            unknown.append(case.name)
            continue
        used.add(id(row))
        case.split = row.get("split") or case.split
        case.patient, case.sure = (row["patient"], True) if row.get("patient") else (case.patient, case.sure)
    lines = [(_("Cases that the file does not name"), unknown)]
    lines.append((_("Rows without a case"), [next(iter(r.values())) for r in rows if id(r) not in used]))
    advice = _("Compare the names in the file with those in the folder.")
    return [
        Check(
            name, "warn" if names else "pass", ", ".join(names[:5]) or _("none"), "", advice if names else ""
        )
        for name, names in lines
    ]


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = [{k: (v or "").strip() for k, v in row.items() if k} for row in reader]
            columns = reader.fieldnames or []
    except (OSError, ValueError, csv.Error) as error:
        raise FileError(
            _("The cases file {name} cannot be read.").format(name=path.name),
            _("Expected a CSV file with a line of column names."),
            _("Check the path, and save it as CSV in UTF-8."),
        ) from error
    if not rows or not {"split", "patient"} & set(columns):
        raise FileError(
            _("The cases file {name} has the columns {columns}.").format(
                name=path.name, columns=", ".join(columns) or "-"
            ),
            _("Expected rows, and the columns case, patient and split (or one of the last two)."),
            _("Add the columns."),
        )
    return rows
