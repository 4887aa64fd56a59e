"""The cases of a batch from whatever the user named: a CSV file or a folder, with pseudonyms or without."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..cases import folder, names, table
from ..cases.table import Case
from ..core.errors import ParameterError
from ..core.i18n import _
from ..core.recipe import Recipe


def read(
    recipe: Recipe,
    source: Path,
    columns: Mapping[str, str],
    patterns: Sequence[str],
    pseudonyms: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] = "",
) -> dict[str, Case]:
    """The cases by the name that they have in the output, which must not lie in a folder of images.

    Raises
    ------
    FileError, ParameterError
        when the source, a column, a pattern or the salt cannot be used.
    """
    path = source.expanduser()
    salt = names.read_salt(Path(pseudonyms)) if pseudonyms else ""
    if path.is_dir():
        if columns:
            raise ParameterError(_("--column is for a CSV file."), _("Expected --pattern for a folder."))
        if out and Path(out).expanduser().resolve().is_relative_to(path.resolve()):
            raise ParameterError(
                _("The output folder {out} lies inside the folder of the images.").format(out=out),
                _("Expected results apart from the images: a resumed batch would take them for new cases."),
                _("Choose an --out beside {folder}.").format(folder=path.name),
            )
        return names.public(folder.from_folder(path, recipe, patterns), path.name, salt)
    if patterns:
        raise ParameterError(_("--pattern is for a folder."), _("Expected --column for a CSV file."))
    return names.public(table.from_sheet(path, recipe, columns), path.name, salt)
