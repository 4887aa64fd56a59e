"""A result folder appears complete or not at all, and replacing one never loses the old result."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..core import json_text
from ..core.errors import FileError
from ..core.i18n import _

# Lists of a result folder's own files (a batch writes the second); a folder without one is somebody else's.
MANIFEST, SEAL = "report.json", "done.json"
# Files that operating systems leave in every folder.
_STRAY = {".DS_Store", "Thumbs.db", "desktop.ini"}


def check(folder: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """The absolute path of `folder` if a result may be put there.

    Raises
    ------
    FileError
        when it exists and `overwrite` is False, holds files that MedPrep did not write, or cannot be written.
    """
    target = Path(folder).expanduser().resolve()
    if target.exists() and not target.is_dir():
        raise FileError(
            _("{path} is a file.").format(path=target),
            _("Expected a folder, or a name that is still free."),
            _("Choose another --out."),
        )
    entries = [e for e in os.listdir(target) if e not in _STRAY] if target.is_dir() else []
    if entries and not overwrite:
        raise FileError(
            _("The folder {path} exists already.").format(path=target),
            _("Expected a name that is still free."),
            _("Choose another --out, or add --overwrite to replace the result in it."),
        )
    if entries:
        strange = foreign(target)
        if strange:
            raise FileError(
                _("The folder {path} holds files that MedPrep did not write ({files}).").format(
                    path=target, files=", ".join(strange[:3]) + (", ..." if len(strange) > 3 else "")
                ),
                _("Expected an earlier result and nothing else."),
                _("Choose another --out, or move those files away."),
            )
    parent = next(p for p in target.parents if p.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise FileError(
            _("No folder can be made in {path}.").format(path=parent),
            _("Expected a folder that you may write to."),
            _("Choose another --out."),
        )
    return target


@contextmanager
def replacing(folder: str | os.PathLike[str], overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside `folder`; when the block ends well it takes its place, else it vanishes.

    Raises
    ------
    FileError
        as :func:`check`, and when the disk is full or the folder cannot be replaced; the old result stays.
    """
    target = check(folder, overwrite)
    made = _make_parents(target.parent)
    draft = target.parent / f".{target.name}.{secrets.token_hex(4)}.partial"
    try:
        draft.mkdir()
        yield draft
        # Asked again: somebody may have put something there meanwhile.
        check(target, overwrite)
        _swap(draft, target)
    except OSError as error:
        raise FileError(
            _("The result cannot be written to {path} ({reason}).").format(
                path=target, reason=error.strerror or error
            ),
            _("Expected enough space and the right to write there."),
            _("Free some space or choose another --out; nothing was changed."),
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        if not target.exists():
            for parent in made:
                _remove_if_empty(parent)


def _swap(draft: Path, target: Path) -> None:
    if not target.exists():
        draft.rename(target)
        return
    old = target.parent / f".{target.name}.{secrets.token_hex(4)}.old"
    try:
        target.rename(old)
        draft.rename(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def foreign(target: Path) -> list[str]:
    """Files under `target` that its own list does not name, as relative paths."""
    own: set[str] = set()
    for name in (MANIFEST, SEAL):
        try:
            own |= {name, *json_text.read(target / name)["files"]}
        except (OSError, ValueError, KeyError, TypeError):
            continue
    found = []
    for place, _folders, files in os.walk(target):
        for name in files:
            path = (Path(place) / name).relative_to(target).as_posix()
            if path not in own and name not in _STRAY:
                found.append(path)
    return sorted(found)


def _make_parents(folder: Path) -> list[Path]:
    """Make `folder` and return what had to be made, innermost first."""
    missing = [p for p in (folder, *folder.parents) if not p.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return
