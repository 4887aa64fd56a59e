"""Translation of user-facing strings: Slicer's translator inside Slicer, plain English elsewhere.

The pure libraries never import Slicer; they use ``slicer.i18n`` only when a module file has loaded it.
"""

from __future__ import annotations

import sys
from pathlib import Path


def _(text: str) -> str:
    """`text` in the user's language; the context is the calling file's name, as Slicer's tools expect."""
    translate = getattr(sys.modules.get("slicer.i18n"), "translate", None)
    if translate is None:
        return text
    context = Path(sys._getframe(1).f_globals.get("__file__", "MedPrep")).stem
    return translate(context, text)
