"""Translation of user-facing strings.

The pure libraries never import Slicer. Inside Slicer a module file calls :func:`install` with
``slicer.i18n.translate`` before it imports the operations; elsewhere the English text is returned.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

_translate: Callable[[str, str], str] | None = None


def install(translate: Callable[[str, str], str] | None) -> None:
    """Use ``translate(context, text)`` for every later :func:`_`; ``None`` restores plain English."""
    global _translate
    _translate = translate


def _(text: str) -> str:
    """`text` in the user's language; the context is the calling file's name, as Slicer's tools expect."""
    if _translate is None:
        return text
    context = Path(sys._getframe(1).f_globals.get("__file__", "MedPrep")).stem
    return _translate(context, text)
