"""Results of a batch as training frameworks want them: nnU-Net v2 raw, MONAI data list, TorchIO subjects."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..cases.table import SPLITS
from ..core.errors import FileError, ParameterError
from ..core.i18n import _
from ..core.job import Job
from ..core.volume import Volume
from ..files import text_file
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
    names : of the label values from 1 on; ``label_1`` and so on when empty.

    Raises
    ------
    FileError, ParameterError
        when the batch lacks an output, a label map lies on another grid than its image or has values that
        are not 0, 1, 2, ... as nnU-Net wants, or `out` cannot be used.
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
    channels: tuple[str, ...] = ()
    largest, splits = 0, {split: [] for split in (*SPLITS, "")}
    with outputfolder.replacing(out) as draft:
        for folder in ("imagesTr", "labelsTr", "imagesTs"):
            (draft / folder).mkdir()
        for n, (name, split) in enumerate(cases.items()):
            job.report(n / len(cases), name)
            volumes = [_read(batch, name, image) for image in images]
            found = _channels(images, volumes)
            if channels and found != channels:
                raise FileError(
                    _("Case {case!r} has the channels {names}.").format(case=name, names=", ".join(found)),
                    _("Expected {names}, as in the others.").format(names=", ".join(channels)),
                )
            channels = found
            test = split == "test"
            _write_channels(batch, name, images, volumes, draft / ("imagesTs" if test else "imagesTr"))
            splits[split].append(name)
            if not test:
                largest = max(largest, _label(batch, name, labels, volumes[0]))
                shutil.copyfile(_file(batch, name, labels), draft / "labelsTr" / f"{name}{_ENDING}")
        words = tuple(names) or tuple(f"label_{value}" for value in range(1, largest + 1))
        if len(words) < largest:
            raise ParameterError(
                _("There are {n} names for {m} label values.").format(n=len(words), m=largest),
                _("Expected one for each value from 1 on."),
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
    with outputfolder.replacing(out) as draft:
        for name, split in _done(batch).items():
            columns = {image: _file(batch, name, image) for image in images}
            columns |= {"label": _file(batch, name, labels)} if labels else {}
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


def _channels(images: Sequence[str], volumes: Sequence[Volume]) -> tuple[str, ...]:
    return tuple(
        name if volume.components == 1 else f"{name}_{n}"
        for name, volume in zip(images, volumes, strict=True)
        for n in range(volume.components)
    )


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


def _label(batch: Path, case: str, output: str, image: Volume) -> int:
    """The largest value of a case's label map, which must lie on the image's grid."""
    volume = read_volume(_file(batch, case, output), labels=True)
    volume.require_grid_of(image, _("label map of case {case}").format(case=case))
    return int(np.max(volume.array))
