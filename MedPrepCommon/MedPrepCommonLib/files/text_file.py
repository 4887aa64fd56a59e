"""Text files that appear complete or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from ..core.errors import FileError
from ..core.i18n import _


def write(path: Path, text: str) -> None:
    """Write `text` as UTF-8, its line ends as they are; an existing file is replaced. Raises OSError."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        draft.write_bytes(text.encode("utf-8"))
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def save(path: Path, text: str) -> None:
    """As :func:`write`, for a file that the user named.

    Raises
    ------
    FileError
        when it cannot be written.
    """
    try:
        write(path, text)
    except OSError as error:
        raise FileError(
            _("{file} cannot be written ({reason}).").format(file=path.name, reason=error.strerror),
            _("Expected a folder that you may write to."),
            _("Choose another folder."),
        ) from error
