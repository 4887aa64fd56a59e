"""Results of a batch as training frameworks want them: nnU-Net v2 raw, MONAI data list, TorchIO subjects."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..cases.table import SPLITS
from ..core.errors import FileError, ParameterError
from ..core.i18n import _
from ..core.integers import smallest_integers
from ..core.job import Job
from ..core.volume import Volume
from ..files import nifti_header, text_file
from ..files.reading import read_volume
from ..outputs import folder as outputfolder
from ..outputs import writing
from . import folder as batchfolder

_ENDING = ".nii.gz"
_DATASET = re.compile(r"Dataset\d{3}_\w+")


@dataclass(frozen=True)
class Exported:
    """Where an export lies, and how many cases it has for training, validation and test."""

    folder: Path
    counts: dict[str, int]
    channels: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


def nnunet(
    batch: Path,
    out: Path,
    images: Sequence[str] = ("image",),
    labels: str = "",
    names: Sequence[str] = (),
    job: Job | None = None,
    renumber: bool = False,
) -> Exported:
    """Write an nnU-Net v2 raw dataset: ``imagesTr``, ``labelsTr``, ``imagesTs``, ``dataset.json``.

    Cases of the split ``test`` go to ``imagesTs``, all others to ``imagesTr``; where there are train and val,
    ``splits_final.json`` has them as the only fold (nnU-Net wants it in its folder of preprocessed data).

    Parameters
    ----------
    batch : output folder of a batch.
    out : new folder, called ``Dataset123_Name``.
    images : outputs of the recipe that become channels; one of several components gives several.
    labels : output of the recipe with the label map.
    names : of the label values, the lowest first; ``label_1`` and so on, by the values, when empty.
    renumber : whether values that are not 1, 2, 3, ... over all cases become so; else they are an error.

    Raises
    ------
    FileError, ParameterError
        when the batch lacks an output, cases have different channels, a label map lies on another grid
        than its image, the values of all label maps together are not 0, 1, 2, ..., or `out` cannot
        be used.
    """
    job = job or Job.quiet()
    out = out.expanduser().resolve()
    if not _DATASET.fullmatch(out.name):
        raise ParameterError(
            _("{name!r} is no name of an nnU-Net dataset.").format(name=out.name),
            _("Expected Dataset, three digits, an underscore and a name, such as Dataset101_Lungs."),
        )
    if not labels:
        raise ParameterError(_("nnU-Net needs label maps."), _("Expected --labels with an output's name."))
    cases = _done(batch)
    channels = _same_channels(batch, cases, images)
    splits: dict[str, list[str]] = {split: [] for split in (*SPLITS, "")}
    values: dict[str, set[int]] = {}
    with outputfolder.replacing(out) as draft:
        for folder in ("imagesTr", "labelsTr", "imagesTs"):
            (draft / folder).mkdir()
        for n, (name, split) in enumerate(cases.items()):
            job.report(n / len(cases), name)
            volumes = [_read(batch, name, image) for image in images]
            test = split == "test"
            _write_channels(batch, name, images, volumes, draft / ("imagesTs" if test else "imagesTr"))
            splits[split].append(name)
            if not test:
                values[name] = _label(batch, name, labels, volumes[0])
                shutil.copyfile(_file(batch, name, labels), draft / "labelsTr" / f"{name}{_ENDING}")
        present = sorted(set().union(*values.values()))
        in_order = list(range(1, len(present) + 1))
        if len(names) > len(present) and not renumber:
            # A class that nobody in this batch has is a class all the same.
            in_order = list(range(1, len(names) + 1))
            present = sorted({*in_order, *present})
        if present != in_order:
            if not renumber:
                raise _not_in_order(present)
            for name in values:
                _renumber(draft / "labelsTr" / f"{name}{_ENDING}", present)
        words = tuple(names) or tuple(f"label_{value}" for value in present)
        if len(words) != len(present):
            raise ParameterError(
                _("There are {n} names for {m} label values.").format(n=len(words), m=len(present)),
                _("Expected one for each of {values}.").format(values=", ".join(map(str, present))),
            )
        record = {
            "channel_names": {str(n): channel for n, channel in enumerate(channels)},
            "labels": {"background": 0, **{word: n for n, word in enumerate(words, 1)}},
            "numTraining": len(cases) - len(splits["test"]),
            "file_ending": _ENDING,
        }
        # nnU-Net takes the order of labels from the file: not sorted by name.
        text_file.write(draft / "dataset.json", json.dumps(record, indent=1) + "\n")
        if splits["train"] and splits["val"]:
            folds = [{"train": splits["train"], "val": splits["val"]}]
            text_file.write(draft / "splits_final.json", json.dumps(folds, indent=1) + "\n")
    counts = {split or "train": len(found) for split, found in splits.items() if found}
    return Exported(out, counts, channels, words)


def lists(
    batch: Path, out: Path, images: Sequence[str] = ("image",), labels: str = "", form: str = "monai"
) -> Exported:
    """Write the list of a batch's files: ``datalist.json`` for MONAI, or ``subjects.csv`` for TorchIO.

    Paths are seen from the list's folder. MONAI's keys are ``training``, ``validation`` and ``test``.

    Raises
    ------
    FileError
        when the batch lacks an output, or `out` exists.
    """
    out = out.expanduser().resolve()
    rows: list[dict[str, Any]] = []
    cases = _done(batch)
    _same_channels(batch, cases, images)
    with outputfolder.replacing(out) as draft:
        for name, split in cases.items():
            columns = {image: _file(batch, name, image) for image in images}
            columns |= {"label": _file(batch, name, labels)} if labels else {}
            for path in columns.values():
                # A file that a training would stumble over in its first hour is an error now.
                nifti_header.parse(path)
            paths = {key: Path(os.path.relpath(path, out)).as_posix() for key, path in columns.items()}
            rows.append({"case": name, "split": split or "train", **paths})
        if form == "monai":
            keys = {"train": "training", "val": "validation", "test": "test"}
            groups = {
                key: [{k: v for k, v in row.items() if k != "split"} for row in rows if row["split"] == split]
                for split, key in keys.items()
            }
            text_file.write(draft / "datalist.json", json.dumps(groups, indent=1) + "\n")
        else:
            text = io.StringIO()
            writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
            text_file.write(draft / "subjects.csv", text.getvalue())
    splits = [row["split"] for row in rows]
    return Exported(out, {split: splits.count(split) for split in SPLITS if split in splits})


def _done(batch: Path) -> dict[str, str]:
    """The split of each finished case by name."""
    record = batchfolder.read_json(batch.expanduser() / "batch.json")
    if record is None or record.get("schema") != "medprep-batch":
        raise FileError(
            _("{folder} is no output folder of a batch.").format(folder=batch.name),
            _("Expected one with a batch.json."),
            _("Run medprep batch first."),
        )
    found = {name: case["split"] for name, case in record["cases"].items() if case["status"] == "done"}
    if not found:
        raise FileError(_("No case of {folder} is done.").format(folder=batch.name))
    return found


def _file(batch: Path, case: str, output: str) -> Path:
    path = batch.expanduser().resolve() / "cases" / case / f"{output}{_ENDING}"
    if not path.is_file():
        there = sorted(p.name.removesuffix(_ENDING) for p in path.parent.glob(f"*{_ENDING}"))
        raise FileError(
            _("Case {case!r} has no output {output!r}.").format(case=case, output=output),
            _("Expected one of {names}.").format(names=", ".join(there) or "-"),
        )
    return path


def _read(batch: Path, case: str, output: str) -> Volume:
    return read_volume(_file(batch, case, output))


def _same_channels(batch: Path, cases: Mapping[str, str], images: Sequence[str]) -> tuple[str, ...]:
    """The channels of every case, by what was fused where the record says so.

    Raises
    ------
    FileError
        listing the cases of each kind when they differ: channel 1 must mean the same in all.
    """
    kinds: dict[tuple[str, ...], list[str]] = {}
    for case in cases:
        record = batchfolder.read_json(_file(batch, case, images[0]).parent / "provenance.json") or {}
        kinds.setdefault(_channels(record.get("outputs", {}), images), []).append(case)
    if len(kinds) > 1:
        lists = (f"{', '.join(names)}: {_some(found)}" for names, found in kinds.items())
        raise FileError(
            _("Cases have different channels ({list}).").format(list="; ".join(lists)),
            _("Expected the same in all: a network takes each channel for one kind of image."),
            _("Export cases of one kind, or set mri.fuse.channels in the recipe and run the batch again."),
        )
    return next(iter(kinds))


def _channels(outputs: Mapping[str, Mapping[str, Any]], images: Sequence[str]) -> tuple[str, ...]:
    found: list[str] = []
    for name in images:
        facts = outputs.get(name, {})
        count = facts["shape"][3] if len(facts.get("shape", ())) == 4 else 1
        numbered = [name] if count == 1 else [f"{name}_{n}" for n in range(count)]
        found += facts.get("channels") or numbered
    return tuple(found)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _write_channels(
    batch: Path, case: str, images: Sequence[str], volumes: Sequence[Volume], folder: Path
) -> None:
    number = 0
    for name, volume in zip(images, volumes, strict=True):
        volume.require_grid_of(volumes[0], name)
        for component in range(volume.components):
            target = folder / f"{case}_{number:04d}{_ENDING}"
            if volume.components == 1:
                shutil.copyfile(_file(batch, case, name), target)
            else:
                writing.write_nifti(volume.with_array(volume.array[..., component]), target)
            number += 1


def _label(batch: Path, case: str, output: str, image: Volume) -> set[int]:
    """The values above 0 of a case's label map, which must lie on the image's grid."""
    volume = read_volume(_file(batch, case, output), labels=True)
    volume.require_grid_of(image, _("label map of case {case}").format(case=case))
    return {int(value) for value in np.unique(volume.array) if value}


def _not_in_order(present: Sequence[int]) -> FileError:
    return FileError(
        _("The label maps have the values {values}.").format(values=_some([str(value) for value in present])),
        _("Expected 1, 2, 3, ... without a gap over all cases, as nnU-Net wants."),
        _("Give --renumber: the lowest becomes 1, the next 2; or name every class with --names."),
    )


def _renumber(path: Path, present: Sequence[int]) -> None:
    """Write a label map again with the first of `present` as 1, the next as 2, ..."""
    volume = read_volume(path, labels=True)
    array = np.searchsorted(present, volume.array) + 1
    array[volume.array == 0] = 0
    writing.write_nifti(Volume(smallest_integers(array), volume.ijkToRAS), path)
