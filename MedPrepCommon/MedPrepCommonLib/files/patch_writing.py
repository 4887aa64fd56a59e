"""A folder of patches: a manifest that says where each lies, and their voxels as NPZ, NIfTI or Zarr.

``manifest.csv`` has a row for each patch and names its file. ``patches.json`` says which grid they were cut
from and what was done. NPZ archives hold ``image``, each label map under its name, and ``ijkToRAS``.
"""

from __future__ import annotations

import io
import itertools
import re
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ..core import provenance
from ..core.errors import FileError
from ..core.i18n import _
from ..core.job import Job
from ..core.patch_set import COLUMNS, PatchSet
from ..core.result import Table
from .nifti_writing import write_nifti
from .patch_folder import MANIFEST, RECORD

# The earliest time that a zip archive can name: equal content is then equal bytes.
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
# Characters of a label map's name in a file's: at 4 bytes each, with number and ending, within 255 bytes.
_LONGEST = 56


def write(patches: PatchSet, folder: Path, job: Job | None = None) -> None:
    """Write patches into the new folder `folder`, in the format that they ask for.

    Raises
    ------
    FileError
        when they are to be Zarr and the package zarr is not installed, or a file cannot be written.
    Cancelled
        when the job was cancelled; the caller removes what is there.
    """
    job = job or Job.quiet()
    keys = array_names(patches)
    folder.mkdir(parents=True)
    if patches.format == "zarr":
        files = _write_zarr(patches, keys, folder, job)
    else:
        files = []
        for number in range(len(patches)):
            job.report(number / len(patches))
            files.append(_write_one(patches, keys, number, folder))
    rows = tuple((row[0], file, *row[1:]) for row, file in zip(patches.records(), files, strict=True))
    table = Table(patches.title, (COLUMNS[0], "file", *COLUMNS[1:]), rows)
    (folder / MANIFEST).write_bytes(table.to_csv().encode("utf-8"))
    (folder / RECORD).write_bytes(provenance.text(_record(patches, keys)).encode("utf-8"))
    job.report(1.0)


def export(patches: PatchSet, folder: Path, job: Job | None = None) -> None:
    """Write patches into a folder of their own, which appears complete or not at all.

    Raises
    ------
    FileError
        as :func:`write`, and when `folder` exists already or cannot be made.
    """
    if folder.exists():
        raise FileError(
            _("{folder} exists already.").format(folder=folder),
            _("Expected a name that is still free."),
            _("Choose another folder."),
        )
    try:
        with tempfile.TemporaryDirectory(prefix=".medprep-", dir=folder.parent) as draft:
            write(patches, Path(draft) / "patches", job)
            (Path(draft) / "patches").rename(folder)
    except OSError as error:
        raise FileError(
            _("Patches cannot be written to {folder} ({reason}).").format(
                folder=folder, reason=error.strerror or error
            ),
            _("Expected space and the right to write in a folder that exists."),
            _("Choose another folder."),
        ) from error


def free_folder(parent: Path) -> Path:
    """``patches`` in `parent`, or the first of ``patches-2``, ... that is not there yet."""
    names = (f"patches-{n}" if n > 1 else "patches" for n in itertools.count(1))
    return next(path for name in names if not (path := parent / name).exists())


def array_names(patches: PatchSet) -> dict[str, str]:
    """The name in files of each label map: safe everywhere, different, and not that of the image.

    Of a long name the end is kept: in a scene the image's name stands before the label's own.
    """
    names: dict[str, str] = {}
    taken = {"image", "ijktoras"}
    for name in patches.labels:
        stem = re.sub(r"[^\w-]+", "_", name).strip("_")[-_LONGEST:].strip("_") or "labels"
        candidate, number = stem, 2
        while candidate.lower() in taken:
            candidate, number = f"{stem}-{number}", number + 1
        taken.add(candidate.lower())
        names[name] = candidate
    return names


def _record(patches: PatchSet, keys: dict[str, str]) -> dict[str, Any]:
    return {
        "schema": "medprep-patches",
        "version": 1,
        "title": patches.title,
        "format": patches.format,
        "count": len(patches),
        "size": list(patches.size[::-1]),
        "type": patches.array.dtype.name,
        "modality": patches.modality,
        "image": {
            "shape": list(patches.shape[::-1]),
            "ijkToRAS": np.asarray(patches.ijkToRAS).tolist(),
        },
        "labels": {
            keys[name]: {str(s.value): s.name for s in patches.segments.get(name, ())}
            for name in patches.labels
        },
        "provenance": list(patches.history),
    }


def _write_one(patches: PatchSet, keys: dict[str, str], number: int, folder: Path) -> str:
    stem = f"{number:06d}"
    if patches.format == "npz":
        arrays = {"image": patches.array[number]}
        arrays |= {key: patches.labels[name][number] for name, key in keys.items()}
        _write_npz(folder / f"{stem}.npz", {**arrays, "ijkToRAS": patches.matrix(number)})
        return f"{stem}.npz"
    write_nifti(patches.image(number), folder / f"{stem}.nii.gz")
    for name, key in keys.items():
        write_nifti(patches.label_map(name, number), folder / f"{stem}_{key}.nii.gz")
    return f"{stem}.nii.gz"


def _write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """As ``numpy.savez`` but without times; images as they are, fast to read, label maps deflated."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy", ZIP_EPOCH)
            info.create_system = 3
            info.compress_type = zipfile.ZIP_STORED if name == "image" else zipfile.ZIP_DEFLATED
            body = io.BytesIO()
            np.lib.format.write_array(body, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(info, body.getbuffer())


def _write_zarr(patches: PatchSet, keys: dict[str, str], folder: Path, job: Job) -> list[str]:
    """One Zarr array for the images and one for each label map, a chunk for each patch."""
    try:
        import zarr
    except ImportError as error:
        raise FileError(
            _("Patches cannot be written as Zarr: the package zarr is not installed."),
            _("Expected the format npz or nifti, or the package."),
            _("Choose the format npz, or install it with: pip install zarr"),
        ) from error
    arrays = {"image": patches.array, **{key: patches.labels[name] for name, key in keys.items()}}
    for n, (name, array) in enumerate(arrays.items()):
        job.report(n / len(arrays))
        store = zarr.open_array(
            str(folder / f"{name}.zarr"),
            mode="w",
            shape=array.shape,
            chunks=(1, *array.shape[1:]),
            dtype=array.dtype.str,
        )
        for number in range(len(array)):
            job.check()
            store[number] = array[number]
    return ["image.zarr"] * len(patches)
