"""JSON from files and people: whatever is wrong with it is a ValueError; nothing is read without bound."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

from .. import bounds
from .i18n import _


def parse(text: str) -> Any:
    """What the text says.

    Raises
    ------
    ValueError
        also when it is nested without end, or holds half a character, which no file can be written with.
    """
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise ValueError(_("it is nested too deeply")) from error
    if "\\ud" in text.lower():
        try:
            json.dumps(found, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as error:
            raise ValueError(_("it holds half a character (a lone surrogate)")) from error
    return found


def read(path: Path) -> Any:
    """What a regular file of UTF-8 says.

    Raises
    ------
    OSError, ValueError
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, _("no regular file"), os.fspath(path))
    if not bounds.RECORD.holds(found.st_size):
        raise ValueError(_("it is larger than {n} MB").format(n=int(bounds.RECORD.high) >> 20))
    return parse(path.read_text(encoding="utf-8"))
