"""ZIP archives that somebody may have sent: copied name by name, so that nothing leaves its folder."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

from .. import bounds
from ..core.errors import FileError
from ..core.i18n import _
from . import checks


def copy_safely(source: Path, target: Path) -> None:
    """Write the archive `target` with the files of `source`, whose names and sizes are checked before.

    What unpacks the copy sees these names and no others: an archive can have two lists of names, or be of
    another kind as well.

    Raises
    ------
    FileError
        when a name is absolute, leads upwards or is a link, the sizes are absurd, or the archive is damaged.
    """
    checks.opened(source).close()
    try:
        with zipfile.ZipFile(source) as found, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as copy:
            members = found.infolist()
            for member in members:
                _check(source, member)
            if sum(m.file_size for m in members) > bounds.DEFLATE.high * source.stat().st_size:
                raise _strange(source, _("sizes beyond what it can hold"))
            for member in members:
                if member.is_dir():
                    continue
                plain = zipfile.ZipInfo(member.filename, member.date_time)
                with found.open(member) as reading, copy.open(plain, "w", force_zip64=True) as writing:
                    shutil.copyfileobj(reading, writing, 1 << 20)
    except OSError as error:
        raise checks.unreadable(source, error) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise checks.damaged(source) from error


def _check(source: Path, member: zipfile.ZipInfo) -> None:
    name = member.filename
    parts = PurePosixPath(name).parts
    plain = bool(parts) and ".." not in parts and "\\" not in name and "\0" not in name
    rooted = PurePosixPath(name).is_absolute() or bool(PureWindowsPath(name).drive)
    if not plain or rooted or stat.S_ISLNK(member.external_attr >> 16):
        raise _strange(source, _("a file outside of its folder"))


def _strange(source: Path, what: str) -> FileError:
    return FileError(
        _("{path} is no scene that can be trusted: it names {what}.").format(path=source, what=what),
        _("Expected files in one folder."),
        _("Ask for a scene that was saved with Slicer."),
    )
