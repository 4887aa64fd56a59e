"""Writes all that a recipe made into one folder: images, labels, patches, tables, scene, records, report.

The same recipe on the same input with the same versions writes the same bytes: no times, no paths, no names
of patients, fixed gzip and zip headers.
"""

from __future__ import annotations

import math
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core import provenance
from ..core.i18n import _
from ..core.job import Job
from ..core.result import Result, worst
from ..core.runner import RecipeRun
from ..core.volume import LabelVolume, Volume
from ..files import patch_writing
from ..files.nifti_writing import write_nifti
from ..files.patch_writing import ZIP_EPOCH
from ..report import page as report
from ..report import pictures as reportpictures
from . import folder as outputfolder


@dataclass(frozen=True)
class Written:
    """Where a result lies now, and its files as relative paths."""

    folder: Path
    files: tuple[str, ...]

    @property
    def report(self) -> Path:
        """The report page."""
        return self.folder / report.PAGE


def write(
    run: RecipeRun,
    inputs: Mapping[str, Volume],
    folder: str | os.PathLike[str],
    overwrite: bool = False,
    job: Job | None = None,
    extra: Mapping[str, Volume] | None = None,
    scene: bool = True,
    page: bool = True,
    seal: Callable[[Path], None] | None = None,
) -> Written:
    """Write a run's outputs to `folder`; it appears complete or not at all.

    Parameters
    ----------
    run : the recipe's results and record.
    inputs : the volumes it ran on, by the recipe's input names (for the scene and the pictures).
    folder : must not exist, be empty, or (with `overwrite`) hold an earlier result and nothing else.
    extra : further volumes to write as NIfTI, by file name (the demo's input and truth).
    scene : whether to write ``scene.mrb`` and the ``.seg.nrrd`` files.
    page : whether to write ``report.html`` and its pictures.
    seal : called with the folder when everything else is in it, before it takes its place.

    Raises
    ------
    FileError
        when the folder cannot be made or replaced; an earlier result is then still there.
    Cancelled
        when the job was cancelled; nothing is left behind.
    """
    job = job or Job.quiet()
    with outputfolder.replacing(folder, overwrite) as draft:
        result = run.result
        names = file_names(result)
        volumes = {**result.volumes(), **(extra or {})}
        for n, (name, volume) in enumerate(volumes.items()):
            job.report(0.3 * n / len(volumes), _("Writing {name}").format(name=name))
            write_nifti(volume, draft / f"{names.get(name, name)}.nii.gz", job)
        for name, patches in result.patches.items():
            part = job.part(0.3, 0.4, _("Writing {name}").format(name=name))
            patch_writing.write(patches, draft / names[name], part)
        for name, table in result.tables.items():
            _write_text(draft / f"{names[name]}.csv", table.to_csv())
        if scene:
            _write_scene(run, inputs, draft, names, job.part(0.4, 0.75))
        _write_json(draft / "provenance.json", run.record)
        _write_json(draft / "recipe.json", run.record["recipe"])
        _write_json(draft / "qc.json", quality(result))
        if page:
            evidence = _evidence(run, inputs, draft, names, job.part(0.75, 1.0))
            evidence["files"] = _files(draft, outputfolder.MANIFEST, report.PAGE)
            _write_json(draft / outputfolder.MANIFEST, evidence)
            report.make(draft)
        if seal is not None:
            seal(draft)
        files = _files(draft)
        job.report(1.0, _("Done"))
    return Written(Path(folder).expanduser().resolve(), tuple(files))


def _files(folder: Path, *more: str) -> list[str]:
    return sorted({p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} | {*more})


def quality(result: Result) -> dict[str, Any]:
    """The content of ``qc.json``: overall verdict, every check, metrics and notes."""
    return {
        "verdict": worst(result.checks),
        "checks": [asdict(check) for check in result.checks],
        "metrics": result.metrics,
        "notes": result.notes,
    }


def file_names(result: Result) -> dict[str, str]:
    """A file name without ending per output name: safe on every system, different also without case."""
    names: dict[str, str] = {}
    for name in result.outputs():
        stem = re.sub(r"[^\w.+-]+", "_", name).strip("._") or "output"
        taken = {other.lower() for other in names.values()}
        reserved = {"con", "prn", "aux", "nul", "scene", "report", "provenance", "qc", "recipe", "input"}
        candidate, number = stem, 2
        while candidate.lower() in taken or candidate.lower() in reserved:
            candidate, number = f"{stem}-{number}", number + 1
        names[name] = candidate
    return names


def _write_scene(
    run: RecipeRun, inputs: Mapping[str, Volume], draft: Path, names: Mapping[str, str], job: Job
) -> None:
    """``scene.mrb`` with inputs and results under one subject, and each label map as ``.seg.nrrd``."""
    from .. import headless

    job.report(0.0, _("Writing the scene"))
    headless.start()
    from ..scene import bundle as scenebundle
    from ..scene import files as scenefiles

    recipe = run.record["recipe"]
    bundle = draft / "scene.mrb"
    nodes = scenebundle.placeRun(run.result, inputs, recipe["name"])
    try:
        job.report(0.2)
        for name in run.result.labels:
            scenefiles.writeSegmentation(nodes[name], draft / f"{names[name]}.seg.nrrd")
        job.report(0.4)
        headless.saveScene(bundle)
    finally:
        headless.clear()
    repack(bundle)


def repack(path: Path) -> None:
    """Rewrite a scene bundle so that equal scenes are equal bytes: order, times and numbers are fixed."""
    draft = path.with_suffix(".zip")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as target:
        for name in sorted(source.namelist()):
            info = zipfile.ZipInfo(name, ZIP_EPOCH)
            info.create_system = 3
            body = source.read(name)
            if name.endswith(".mrml"):
                body = _renumbered(body)
            # NRRD data inside is compressed already.
            info.compress_type = zipfile.ZIP_STORED if name.endswith(".nrrd") else zipfile.ZIP_DEFLATED
            target.writestr(info, body)
    draft.replace(path)


def _renumbered(scene: bytes) -> bytes:
    """The scene file with its subject hierarchy items numbered by order: a process counts them on and on.

    The numbers mean something inside the file only; Slicer gives new ones when it loads it.
    """
    found = re.findall(rb'<SubjectHierarchyItem id="(\d+)"', scene)
    numbers = {old: str(n).encode() for n, old in enumerate(found, 1)} | {b"0": b"0"}
    item = re.compile(rb'(<SubjectHierarchyItem id=")(\d+)("[^<>]*? parent=")(\d+)(")')
    return item.sub(lambda m: m[1] + numbers[m[2]] + m[3] + numbers.get(m[4], m[4]) + m[5], scene)


def _evidence(
    run: RecipeRun, inputs: Mapping[str, Volume], draft: Path, names: Mapping[str, str], job: Job
) -> dict[str, Any]:
    """The content of ``report.json``: what the report shows and no other file holds; writes the pictures."""
    result = run.result
    # NIfTI does not say what modality it is; the recipe says what it takes.
    modality = run.record["recipe"]["modality"]
    inputs, images, labels = (
        {name: v if v.modality else replace(v, modality=modality) for name, v in group.items()}
        for group in (inputs, result.images, result.labels)
    )
    (draft / "pictures").mkdir()
    pictures = []
    for row, files in reportpictures.rows(inputs, images, labels, run.record["steps"], job):
        for n, (cell, png) in enumerate(zip(row["cells"], files, strict=True), 1):
            name = f"{len(pictures) + 1}{'abc'[n - 1]}-{_slug(cell.pop('name'))}-{cell['plane']}"
            cell["file"] = f"pictures/{name}.png"
            (draft / cell["file"]).write_bytes(png)
        pictures.append(row)
    figures = [reportpictures.histogram(name, volume) for name, volume in images.items()]
    if not result.figures:
        figures = [
            *(
                reportpictures.histogram(_("{name}, as it came").format(name=name), volume)
                for name, volume in inputs.items()
                if not isinstance(volume, LabelVolume)
            ),
            *figures,
        ]
    return {
        "schema": "medprep-report",
        "version": 1,
        "tables": [
            {"name": name, "title": table.title, "file": f"{names[name]}.csv"}
            for name, table in result.tables.items()
        ]
        + [
            {"name": name, "title": patches.title, "file": f"{names[name]}/{patch_writing.MANIFEST}"}
            for name, patches in result.patches.items()
        ],
        "points": [asdict(points) for points in result.points.values()],
        "figures": [asdict(figure) for figure in (*result.figures.values(), *figures)],
        "statistics": {
            role: {name: reportpictures.statistics(volume) for name, volume in group.items()}
            for role, group in (("inputs", inputs), ("outputs", {**images, **labels}))
        },
        "pictures": pictures,
    }


def _slug(name: str) -> str:
    return re.sub(r"[^\w-]+", "_", name) or "image"


def _write_text(path: Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8"))


def _write_json(path: Path, record: Any) -> None:
    _write_text(path, provenance.text(plain(record)))


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: numpy numbers as numbers, NaN and infinity as null, tuples as lists."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (str, bool, int)) or value is None:
        return value
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    raise TypeError(f"{type(value).__name__} is not JSON")
