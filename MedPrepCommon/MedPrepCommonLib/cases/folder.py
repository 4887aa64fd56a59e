"""The cases of a batch from a folder of images: every file, or those that a pattern names."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..core.errors import FileError, ParameterError
from ..core.i18n import _
from ..core.recipe import Recipe
from ..files.reading import stem
from .table import Case

# What reading.read_volume knows by its suffix; DICOM files come as folders, through `medprep cases`.
_VOLUMES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
IMAGES = (*_VOLUMES, ".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".tif", ".tiff", ".bmp")
# Pictures that it does not read: a list of cases says how many were left out.
OTHER_PICTURES = (".webp", ".gif", ".jp2", ".heic", ".avif")


def from_folder(folder: str | os.PathLike[str], recipe: Recipe, patterns: Sequence[str]) -> list[Case]:
    """The cases of a folder, sorted by name.

    Parameters
    ----------
    patterns : ``INPUT={case}/{case}_t1.nii.gz`` for each input, or ``{case}.nii.gz`` for the only one;
        ``{case}`` stands for the case's name, ``*`` for anything but a slash, ``**`` for any folders. Without
        a pattern every image file at any depth is a case, named like its path.

    Raises
    ------
    ParameterError
        for a pattern without ``{case}`` or of no input, and when a recipe of several inputs got none.
    FileError
        when there is no such folder, no image fits, two fit one case, or a case lacks an input.
    """
    base = Path(folder).expanduser().resolve()
    if not base.is_dir():
        raise FileError(
            _("There is no folder {name}.").format(name=base.name),
            _("Expected a CSV file, or a folder with images."),
            _("Check the path."),
        )
    files = sorted(
        (Path(place) / name).relative_to(base).as_posix()
        for place, _folders, names in os.walk(base)
        for name in names
        if not name.startswith(".")
    )
    required = [wanted.name for wanted in recipe.inputs if not wanted.optional]
    if not patterns:
        if len(required) != 1:
            raise ParameterError(
                _("Recipe {recipe} takes {names}.").format(recipe=recipe.name, names=", ".join(required)),
                _("Expected a pattern for each, or a CSV file."),
                _("For example --pattern {name}={{case}}/{name}.nii.gz").format(name=required[0]),
            )
        images = [file for file in files if file.lower().endswith(IMAGES)]
        found = {required[0]: [(_name_of(file), file) for file in images]}
    else:
        named = [_pattern(text, recipe, required) for text in patterns]
        found = {name: _matches(files, expression) for name, expression in named}
    return _cases(base, found, required)


def _pattern(text: str, recipe: Recipe, required: Sequence[str]) -> tuple[str, re.Pattern[str]]:
    name, equals, pattern = text.partition("=")
    if not equals:
        name, pattern = (required[0] if len(required) == 1 else ""), text
    names = [wanted.name for wanted in recipe.inputs]
    if name not in names or "{case}" not in pattern:
        raise ParameterError(
            _("--pattern {text} cannot be understood.").format(text=text),
            _("Expected INPUT=PATTERN with {{case}} in it; INPUT is one of {names}.").format(
                names=", ".join(names)
            ),
            _("For example --pattern {name}={{case}}/{name}.nii.gz").format(name=names[0]),
        )
    expression, seen = "", False
    for part in re.split(r"(\{case\}|\*\*/|\*)", pattern):
        if part == "{case}":
            expression += "(?P=case)" if seen else "(?P<case>[^/]+)"
            seen = True
        else:
            expression += {"**/": "(?:.*/)?", "*": "[^/]*"}.get(part, re.escape(part))
    return name, re.compile(expression)


def _matches(files: Sequence[str], expression: re.Pattern[str]) -> list[tuple[str, str]]:
    return [(match["case"], file) for file in files if (match := expression.fullmatch(file))]


def _name_of(file: str) -> str:
    """``a/b.nii.gz`` is case ``a-b``."""
    *folders, name = file.split("/")
    return "-".join([*folders, stem(name)])


def _cases(base: Path, found: Mapping[str, list[tuple[str, str]]], required: Sequence[str]) -> list[Case]:
    inputs: dict[str, dict[str, str]] = {}
    for name, matches in found.items():
        for case, file in matches:
            known = inputs.setdefault(case, {})
            if name in known:
                raise FileError(
                    _("Two files are the {input} of case {case!r}: {one} and {two}.").format(
                        input=name, case=case, one=known[name], two=file
                    ),
                    _("Expected one."),
                    _("Give a narrower --pattern."),
                )
            known[name] = file
    if not inputs:
        raise FileError(
            _("No image in {folder} fits.").format(folder=base.name),
            _("Expected {suffixes}.").format(suffixes=", ".join(IMAGES)),
            _("Give a --pattern; for DICOM make a CSV file first with: medprep cases"),
        )
    for case, files in inputs.items():
        for name in required:
            if name not in files:
                raise FileError(
                    _("Case {case!r} has no {input}.").format(case=case, input=name),
                    _("Expected a file that fits its pattern."),
                    _("Add the file, or leave the case out with a CSV file."),
                )
    return [
        Case(case, {name: str(base / file) for name, file in files.items()}, patient=case)
        for case, files in sorted(inputs.items())
    ]
