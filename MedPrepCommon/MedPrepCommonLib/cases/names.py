"""What a case is called in the output: its own name, or a salted pseudonym."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from pathlib import Path

from ..core.errors import FileError
from ..core.i18n import _
from .table import Case, check_names

_SHORTEST = 16


def public(cases: Sequence[Case], where: str, salt: str = "") -> dict[str, Case]:
    """The cases by the name that they have in the output.

    A pseudonym is the start of the HMAC-SHA256 of the case's name under the salt: the same file and salt give
    the same pseudonyms, and nobody finds the name without the salt.

    Raises
    ------
    FileError
        when there is no salt and a name cannot be that of a folder.
    """
    if not salt:
        check_names(cases, where)
        return {case.id: case for case in cases}
    found = {pseudonym(case.id, salt): case for case in cases}
    if len(found) < len(cases):
        raise FileError(_("Two cases have the same pseudonym."), "", _("Use another salt."))
    return found


def pseudonym(name: str, salt: str) -> str:
    """``p`` and 16 hexadecimal digits."""
    return "p" + hmac.new(salt.encode(), name.encode(), hashlib.sha256).hexdigest()[:16]


def read_salt(path: Path) -> str:
    """The salt in a text file; :class:`FileError` when it cannot be read or is too short to be secret."""
    try:
        salt = path.expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(
            _("The salt file {file} cannot be read.").format(file=path.name),
            _("Expected a text file that nobody else knows."),
            _('Make one with: python3 -c "import secrets; print(secrets.token_hex(32))" > {file}').format(
                file=path.name
            ),
        ) from error
    if len(salt) < _SHORTEST:
        raise FileError(
            _("The salt in {file} has {n} characters.").format(file=path.name, n=len(salt)),
            _("Expected at least {n}: a short one can be guessed.").format(n=_SHORTEST),
        )
    return salt
