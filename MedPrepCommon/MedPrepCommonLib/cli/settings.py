"""``NAME=VALUE`` texts of the command line, and what they mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..core import json_text
from ..core.errors import FileError, ParameterError
from ..core.i18n import _


def pair(text: str, option: str, example: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals or not value:
        raise ParameterError(
            _("{option} {text} cannot be understood.").format(option=option, text=text),
            _("Expected {example}.").format(example=example),
        )
    return name.strip(), value.strip()


def parse_settings(texts: list[str]) -> dict[str, Any]:
    """``address=value`` pairs; values are JSON where they can be, else text; ``@FILE`` is a file's text."""
    found: dict[str, Any] = {}
    for text in texts:
        address, value = pair(text, "--set", "--set ct.window.level=-650")
        if value.startswith("@"):
            # The text becomes part of the recipe; where it came from does not.
            found[address] = _text_of(Path(value[1:]).expanduser())
            continue
        try:
            found[address] = json_text.parse(value)
        except ValueError:
            found[address] = value
    return found


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(
            _("The file {file} of a setting cannot be read.").format(file=path.name),
            _("Expected a text file."),
            _("Check the path behind the @."),
        ) from error
