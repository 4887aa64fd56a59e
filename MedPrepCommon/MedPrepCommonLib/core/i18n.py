"""Translation of user-facing strings: Slicer's translator inside Slicer, plain English elsewhere.

The pure libraries never import Slicer; they use ``slicer.i18n`` only when a module file has loaded it.
"""

from __future__ import annotations

import re
import string
import sys
from collections.abc import Callable

_PLACEHOLDER = re.compile(r"(?<!\{)\{([^{}]+)\}(?!\})")


class Text(str):
    """Words of ours. What is filled in with :meth:`format` stays apart from them (see :func:`told`)."""

    #: The words, and each text from elsewhere as a tuple of one.
    parts: tuple[str | tuple[str], ...] | None = None

    def format(self, *args: object, **fields: object) -> Text:
        filled = Text(str.format(self, *args, **fields))
        filled.parts = tuple(_parts(str(self), args, fields))
        return filled


def told(text: str, keep: Callable[[str], str]) -> str:
    """`text` with `keep` applied to everything in it that did not come out of our own words.

    Numbers that were filled in as numbers stay; paths, names and whatever a header says go through `keep`. A
    text that :func:`_` did not make is from elsewhere as a whole.
    """
    if not isinstance(text, Text):
        return keep(text) if text else ""
    if text.parts is None:
        return str(text)
    return "".join(part if isinstance(part, str) else keep(part[0]) for part in text.parts)


def _parts(template: str, args: tuple[object, ...], fields: dict[str, object]) -> list[str | tuple[str]]:
    formatter, found = string.Formatter(), list[str | tuple[str]]()
    for literal, name, spec, conversion in formatter.parse(template):
        found.append(literal)
        if name is None:
            continue
        value = formatter.get_field(name, args, fields)[0]
        if isinstance(value, Text) and not spec and not conversion:
            found += (str(value),) if value.parts is None else value.parts
            continue
        shown = formatter.format_field(formatter.convert_field(value, conversion), spec or "")
        found.append(shown if isinstance(value, (int, float)) else (shown,))
    return found


def _(text: str) -> str:
    """`text` in the user's language.

    The context is the one under which Slicer's tools extract the string (``slicer.i18n.getContext``): the
    calling file's name, behind that of its package. A translation whose placeholders differ is not used: it
    would end in an error when they are filled in.
    """
    i18n = sys.modules.get("slicer.i18n")
    if i18n is None:
        return Text(text)
    context = i18n.getContext(sys._getframe(1).f_globals.get("__file__", "MedPrep"))
    translated = i18n.translate(context, text)
    same = translated is text or set(_PLACEHOLDER.findall(translated)) == set(_PLACEHOLDER.findall(text))
    return Text(translated if same else text)
