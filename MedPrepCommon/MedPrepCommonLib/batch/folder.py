"""The output folder of a batch: what lies where, what counts as done, and who may work in it.

``cases/NAME/`` holds a case's results and, written last, ``done.json``; the folder appears complete or not at
all. ``failures/NAME.json`` says why a case failed. Both name the digests of the inputs, the recipe and the
versions, so that a resumed batch can tell what is still true. Only ``log/`` knows times.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..core import json_text, provenance
from ..core.errors import FileError, MedPrepError
from ..core.i18n import _
from ..files import checks, metaimage_reading, nrrd_header, text_file
from ..outputs import folder as outputfolder

DONE, LOCK, STOP, EVENTS = outputfolder.SEAL, "log/lock", "log/stop", "log/events.jsonl"
_CHUNK = 1 << 22
COMPARED = ("recipeDigest", "inputs", "options", "accept", "versions")


class BatchFolder:
    """Paths and records in one output folder."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).expanduser().resolve()
        self.cases, self.failures = self.root / "cases", self.root / "failures"

    def case(self, name: str) -> Path:
        """Where a case's results lie."""
        return self.cases / name

    def failure(self, name: str) -> Path:
        """The record of why a case failed."""
        return self.failures / f"{name}.json"

    def measured(self, step: str, name: str) -> Path:
        """What a step measured in a training case."""
        return self.root / "fit" / step / f"{name}.json"

    def prepare(self, resume: bool) -> None:
        """Make the folder, or with `resume` take one that a batch began.

        Raises
        ------
        FileError
            when it is in use, holds something else, may not be written to, or exists and `resume` is False.
        """
        if self.root.exists() and not self.root.is_dir():
            raise FileError(_("{path} is a file.").format(path=self.root), "", _("Choose another --out."))
        begun = (self.root / LOCK).exists()
        filled = self.root.is_dir() and any(self.root.iterdir())
        if filled and not begun:
            raise FileError(
                _("The folder {path} holds files that no batch wrote.").format(path=self.root),
                _("Expected a name that is still free."),
                _("Choose another --out."),
            )
        if filled and not resume:
            raise FileError(
                _("The folder {path} exists already.").format(path=self.root),
                _("Expected a name that is still free."),
                _("Choose another --out, or add --resume to go on with the batch in it."),
            )
        try:
            for folder in (self.cases, self.failures, self.root / "log"):
                folder.mkdir(parents=True, exist_ok=True)
            (self.root / LOCK).touch()
            probe(self.cases)
        except OSError as error:
            raise cannot_write(self.root, error) from error

    def sweep(self, name: str = "") -> None:
        """Remove what a killed process left half-written: of one case, or of all."""
        drafts = f".{name}.*" if name else ".*"
        places = (self.cases, self.failures, *self.root.glob("fit/*"), *([] if name else [self.root]))
        for leftover in [found for place in places for found in place.glob(drafts)]:
            if leftover.name.endswith((".partial", ".old", ".part")):
                shutil.rmtree(leftover, ignore_errors=True) if leftover.is_dir() else leftover.unlink()

    @contextmanager
    def held(self) -> Iterator[None]:
        """The right to work in the folder; it ends with the process, however that ends.

        Raises
        ------
        FileError
            when another batch is at work in it.
        """
        with open(self.root / LOCK, "a") as file:
            try:
                _lock(file.fileno())
            except OSError as error:
                raise FileError(
                    _("Another batch is at work in {path}.").format(path=self.root),
                    _("Expected one at a time."),
                    _("Wait until it is done, or cancel it."),
                ) from error
            (self.root / STOP).unlink(missing_ok=True)
            self.sweep()
            yield

    def read_failure(self, name: str) -> dict[str, Any] | None:
        """Why a case failed earlier, or None."""
        return read_json(self.failure(name))

    def remember_failure(self, name: str, record: Mapping[str, Any]) -> None:
        """Note why a case failed; results of an earlier input or recipe go, they are no longer true.

        A folder to which somebody added files stays: those are not ours to remove.
        """
        write_json(self.failure(name), record)
        if not outputfolder.foreign(self.case(name)):
            self.drop(self.case(name))

    def forget_failure(self, name: str) -> None:
        """The case is done now."""
        self.failure(name).unlink(missing_ok=True)

    def drop(self, folder: Path) -> None:
        """Remove a case's results."""
        if folder.exists():
            # Renamed first: a folder that is half gone must not look like a result.
            aside = folder.with_name(f".{folder.name}.0.old")
            folder.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)


def seal(draft: Path, name: str, wanted: Mapping[str, Any], verdict: str) -> None:
    """Write ``done.json`` into a case's draft: what it was made from, and the digest of each of its files."""
    files = {path.relative_to(draft).as_posix(): _facts(path) for path in draft.rglob("*") if path.is_file()}
    record = {"schema": "medprep-case", "version": 1, "case": name, **wanted, "verdict": verdict}
    write_json(draft / DONE, {**record, "files": files})


def sealed(folder: Path, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record of a case that is done with just these inputs, recipe and versions, every byte in place."""
    record = read_json(folder / DONE)
    if record is None or any(record.get(key) != wanted[key] for key in COMPARED):
        return None
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {DONE}
    files = record.get("files")
    if not isinstance(files, dict) or there != set(files):
        return None
    try:
        # Sizes first: they tell most damage without reading anything.
        intact = all((folder / name).stat().st_size == facts["bytes"] for name, facts in files.items())
        return record if intact and all(_facts(folder / n) == f for n, f in files.items()) else None
    except (OSError, KeyError, TypeError):
        return None


def same_failure(record: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> bool:
    """Whether a case failed with just these inputs, recipe and versions, and would fail again."""
    return bool(record and record.get("lasting") and all(record.get(k) == wanted[k] for k in COMPARED))


def input_digest(path: str | os.PathLike[str], series: str = "") -> str:
    """SHA-256 of just the files that :func:`read_volume` opens: an image with its data files, or a folder.

    Returns
    -------
    str : ``"missing"`` where there is nothing.

    Raises
    ------
    FileError
        when it cannot be read.
    """
    path = Path(path)
    digest = hashlib.sha256(series.encode())
    try:
        if path.name.upper() == "DICOMDIR" and path.is_file():
            path = path.parent  # as the reader does
        if path.is_dir():
            for file in sorted(p for p in path.rglob("*") if p.is_file()):
                digest.update(f"\0{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode())
                _feed(digest, file)
        else:
            for file in dict.fromkeys((path, *_data_files(path))):
                digest.update(f"\0{file.stat().st_size}\0".encode())
                _feed(digest, file)
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        raise checks.unreadable(path, error) from error
    return f"sha256:{digest.hexdigest()}"


def _data_files(path: Path) -> list[Path]:
    """Files that hold the voxels of a header; its content tells, as it tells the reader."""
    readers = {"metaimage": metaimage_reading.data_files, "nrrd": nrrd_header.data_files}
    try:
        find = readers.get(checks.kind_of(path))
        return find(path) if find else []
    except MedPrepError:
        return []  # the reader will say what is wrong with it


def _feed(digest: Any, path: Path) -> None:
    with open(path, "rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)


def _facts(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    _feed(digest, path)
    return {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}


def write_json(path: Path, record: Any) -> None:
    """Canonical JSON; the file appears complete or not at all. Raises OSError."""
    text_file.write(path, provenance.text(record))


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object from a file; None where there is none or it is damaged."""
    try:
        record = json_text.read(path)
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def probe(folder: Path) -> None:
    """Raise OSError unless a few megabytes can be written to `folder`."""
    draft = folder / f".probe.{os.getpid()}.part"
    try:
        with open(draft, "wb") as stream:
            stream.write(bytes(_CHUNK))
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


def cannot_write(folder: Path, error: OSError) -> FileError:
    """What to say when the output folder takes no more files."""
    return FileError(
        _("The batch cannot write to {path} ({reason}).").format(
            path=folder, reason=error.strerror or str(error)
        ),
        _("Expected enough space and the right to write there."),
        _("Free some space or correct the rights, then go on with --resume; finished cases are safe."),
    )


def _lock(descriptor: int) -> None:
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
