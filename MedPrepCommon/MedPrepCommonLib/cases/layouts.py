"""Cases files of datasets that are laid out as everybody knows them: LUNA16, BraTS, CheXpert, NIH, BIDS, ...

Each reader returns the rows it found and says what it left out. Case names follow the dataset's own, except
those of DICOM trees, where they would say who it is.
"""

from __future__ import annotations

import csv
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..core import json_text
from ..core.errors import FileError, ParameterError
from ..core.i18n import _
from ..core.job import Job
from ..core.parameters import nearest
from ..files.reading import stem
from . import dicomtree
from .folder import IMAGES, OTHER_PICTURES
from .table import CASE, LABEL, PATIENT, SERIES, SPLIT

Row = dict[str, str]
#: Column with the path of a label map made by an expert.
SEGMENTATION = LABEL + "segmentation"
_SEQUENCES = {
    "t1": ("t1", "t1n", "t1w"),
    "t1c": ("t1c", "t1ce", "t1gd"),
    "t2": ("t2", "t2w"),
    "flair": ("flair", "t2f", "t2flair"),
    SEGMENTATION: ("seg",),
}


@dataclass
class Found:
    """Rows of a cases file, what was left out with how often, and notes on what the user must know."""

    rows: list[Row] = field(default_factory=list)
    left: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        """Columns of the rows, ``case`` first and labels last."""
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        inputs = [n for n in names if n not in (CASE, PATIENT, SPLIT) and not n.startswith(LABEL)]
        known = [n for n in (PATIENT, SPLIT) if n in names]
        return [CASE, *inputs, *known, *(n for n in names if n.startswith(LABEL))]


def read(folder: str | os.PathLike[str], layout: str, job: Job | None = None) -> Found:
    """The cases of a dataset; paths are relative to `folder`.

    Raises
    ------
    ParameterError
        for a layout that nobody knows.
    FileError
        when there is no such folder, or no case in it.
    """
    if layout not in LAYOUTS:
        raise ParameterError(
            _("There is no layout {name!r}.").format(name=layout),
            _("Expected one of {names}.").format(names=", ".join(LAYOUTS)),
            nearest(layout, LAYOUTS),
        )
    root = Path(folder).expanduser().resolve()
    if not root.is_dir():
        raise FileError(
            _("There is no folder {name}.").format(name=root.name), _("Expected the dataset's folder.")
        )
    found = LAYOUTS[layout](root, job or Job.quiet())
    if not found.rows:
        left = "; ".join(f"{n} x {what}" for what, n in found.left.items())
        raise FileError(
            _("There is no case of layout {layout} in {folder}.").format(layout=layout, folder=root.name),
            left,
            _("Check the folder, or choose another --layout: {names}.").format(names=", ".join(LAYOUTS)),
        )
    found.rows = [{name: text for name, text in row.items() if text} for row in found.rows]
    found.rows.sort(key=lambda row: row[CASE])
    return found


def seen_from(row: Row, root: Path, folder: Path) -> Row:
    """A row whose paths, relative to `root`, are relative to `folder`."""
    kept = {CASE, PATIENT, SPLIT}
    paths = {
        name: path
        for name, path in row.items()
        if path
        and (name == SEGMENTATION or not (name in kept or name.startswith(LABEL)))
        and not name.endswith(SERIES)
    }
    return row | {n: Path(os.path.relpath(root / path, folder)).as_posix() for n, path in paths.items()}


def _files(root: Path, *suffixes: str) -> Iterator[str]:
    """Relative paths of files that end so, sorted."""
    for place, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            if not name.startswith(".") and name.lower().endswith(suffixes):
                yield (Path(place) / name).relative_to(root).as_posix()


def _table(path: Path, delimiter: str = ",") -> list[Row]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            return list(csv.DictReader(stream, delimiter=delimiter))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileError(
            _("{file} cannot be read ({reason}).").format(file=path.name, reason=error)
        ) from error


def _folder(root: Path, job: Job) -> Found:
    """Any folder: every image file at any depth."""
    found = Found()
    for file in _files(root, *IMAGES):
        *folders, name = file.split("/")
        found.rows.append({CASE: "-".join([*folders, stem(name)]), "image": file})
    for file in _files(root, *OTHER_PICTURES):
        kind = _("picture of a kind that is not read ({suffix})")
        found.left[kind.format(suffix=Path(file).suffix.lower())] += 1
    return found


def _luna16(root: Path, job: Job) -> Found:
    """LUNA16: ``subset*/UID.mhd`` with ``.raw``; nodules per scan from ``annotations.csv``."""
    found, nodules = Found(), Counter[str]()
    for path in sorted(root.rglob("annotations.csv")):
        nodules.update(row.get("seriesuid", "") for row in _table(path))
    for file in _files(root, ".mhd"):
        place, name = Path(file).parent, stem(file)
        if "seg-lungs" in file.lower():
            found.left[_("lung mask of LUNA16")] += 1
        elif not (root / place / f"{name}.raw").exists() and not (root / place / f"{name}.zraw").exists():
            found.left[_("scan without its .raw file")] += 1
        else:
            labels = {LABEL + "nodules": str(nodules[name]), LABEL + "subset": place.name}
            found.rows.append({CASE: name, "image": file, **labels})
    return found


def _brats(root: Path, job: Job) -> Found:
    """BraTS of any year: one folder per case with t1, t1ce, t2, flair and seg (or t1n, t1c, t2w, t2f)."""
    found, cases = Found(), defaultdict[str, Row](dict)
    for file in _files(root, ".nii.gz", ".nii"):
        name = Path(file).parent.name
        ending = stem(file).removeprefix(name).lstrip("_-").lower()
        column = next((key for key, words in _SEQUENCES.items() if ending in words), "")
        if not stem(file).startswith(name) or not column:
            found.left[_("file that is no BraTS sequence")] += 1
            continue
        # BraTS 2023: the last number counts a patient's visits.
        visit = re.fullmatch(r"(BraTS-[A-Z]+-\d+)-\d+", name)
        cases[name] |= {column: file, PATIENT: visit[1] if visit else name}
    for name, row in cases.items():
        if {"t1", "t1c", "t2", "flair"} <= set(row):
            found.rows.append({CASE: name, **row})
        else:
            found.left[_("case that lacks a sequence")] += 1
    return found


def _chexpert(root: Path, job: Job) -> Found:
    """CheXpert: ``train.csv`` and ``valid.csv`` with paths and 14 findings."""
    found = Found()
    for file, split in (("train.csv", "train"), ("valid.csv", "val"), ("test.csv", "test")):
        for row in _table(root / file) if (root / file).is_file() else []:
            path = row.pop("Path", "")
            # Paths begin with the name of the folder as it was downloaded.
            place = next((p for p in (path, path.partition("/")[2]) if p and (root / p).is_file()), "")
            patient = re.search(r"patient\d+", path)
            if not place or not patient:
                found.left[_("row whose image is missing")] += 1
                continue
            parts = path.split("/")
            name = "-".join([*parts[parts.index(patient[0]) : -1], stem(path)])
            skipped = ("Sex", "Age")
            labels = {LABEL + _word(k): v for k, v in row.items() if k and v and k not in skipped}
            found.rows.append({CASE: name, "image": place, PATIENT: patient[0], SPLIT: split, **labels})
    return found


def _nih(root: Path, job: Job) -> Found:
    """NIH ChestX-ray14: ``Data_Entry_2017*.csv``, PNG files in ``images*``, the official test list."""
    found = Found()
    places = {Path(file).name: file for file in _files(root, ".png")}
    listed = {
        split: set(path.read_text().split())
        for split, name in (("train", "train_val_list.txt"), ("test", "test_list.txt"))
        if (path := root / name).is_file()
    }
    for table in sorted(root.glob("Data_Entry*.csv")):
        for row in _table(table):
            name = row.get("Image Index", "")
            if name not in places:
                found.left[_("row whose image is missing")] += 1
                continue
            split = next((split for split, names in listed.items() if name in names), "")
            if listed and not split:
                found.left[_("image that is in no list")] += 1
                continue
            new = {CASE: stem(name), "image": places[name], PATIENT: row.get("Patient ID", ""), SPLIT: split}
            found.rows.append({**new, LABEL + "findings": row.get("Finding Labels", "")})
    return found


def _dicom(root: Path, job: Job) -> Found:
    """A DICOM tree: one case per series, scouts and dose reports left out (see :mod:`.dicomtree`)."""
    tree = dicomtree.read(root, job)
    return Found(tree.rows, tree.left, tree.notes)


def _bids(root: Path, job: Job) -> Found:
    """BIDS: ``sub-*/[ses-*/]anat``; T1w, T2w and FLAIR become t1, t2 and flair (t1c with contrast)."""
    found, cases = Found(), defaultdict[str, Row](dict)
    for file in _files(root, ".nii.gz", ".nii"):
        *folders, name = file.split("/")
        words = stem(name).split("_")
        subject = words[0]
        if folders[-1:] != ["anat"] or folders[0] != subject or "derivatives" in folders:
            found.left[_("image that is not in a subject's anat")] += 1
            continue
        column = {"t1w": "t1", "t2w": "t2", "flair": "flair"}.get(words[-1].lower(), "")
        entities = dict(word.split("-", 1) for word in words[1:-1] if "-" in word)
        if column == "t1" and entities.get("ce"):
            column = "t1c"
        case = "_".join([subject, *(f"ses-{s}" for s in [entities.get("ses")] if s)])
        if not column:
            found.left[_("anat image of another kind ({kind})").format(kind=words[-1])] += 1
        elif column in cases[case]:
            found.left[_("further run of an image")] += 1
        else:
            cases[case] |= {column: file, PATIENT: subject}
    found.rows = [{CASE: name, **row} for name, row in cases.items() if row]
    return found


def _nnunet(root: Path, job: Job) -> Found:
    """nnU-Net raw: ``dataset.json``, ``imagesTr/CASE_0000.nii.gz``, ``labelsTr/CASE.nii.gz``; ``Ts``."""
    try:
        record = json_text.read(root / "dataset.json")
        channels = record.get("channel_names") or record["modality"]
        ending = record.get("file_ending", ".nii.gz")
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise FileError(
            _("The dataset.json of {folder} cannot be read.").format(folder=root.name),
            _("Expected nnU-Net's description of the dataset, with channel_names."),
        ) from error
    names = {f"{int(n):04d}": _word(str(name)).lower() for n, name in channels.items()}
    if len(names) == 1:
        names = dict.fromkeys(names, "image")
    found = Found()
    for folder, labels, split in (("imagesTr", "labelsTr", ""), ("imagesTs", "labelsTs", "test")):
        cases = defaultdict[str, Row](dict)
        for file in _files(root, ending):
            place, _slash, name = file.rpartition("/")
            case, _underscore, channel = name.removesuffix(ending).rpartition("_")
            if place == folder and channel in names:
                cases[case][names[channel]] = file
        for case, row in cases.items():
            if len(row) < len(names):
                found.left[_("case that lacks a channel")] += 1
                continue
            label = f"{labels}/{case}{ending}"
            if (root / label).is_file():
                row[SEGMENTATION] = label
            elif not split:
                found.left[_("training case without labels")] += 1
                continue
            found.rows.append({CASE: case, **row, LABEL + "part": folder})
    return found


def _word(text: str) -> str:
    return re.sub(r"\W+", "_", text).strip("_") or "channel"


#: Readers by the name of the layout.
LAYOUTS: Mapping[str, Callable[[Path, Job], Found]] = {
    "folder": _folder,
    "luna16": _luna16,
    "brats": _brats,
    "chexpert": _chexpert,
    "nih": _nih,
    "dicom": _dicom,
    "bids": _bids,
    "nnunet": _nnunet,
}
