"""Translation of user-facing strings: Slicer's translator inside Slicer, plain English elsewhere.

The pure libraries never import Slicer; they use ``slicer.i18n`` only when a module file has loaded it.
"""

from __future__ import annotations

import re
import sys

_PLACEHOLDER = re.compile(r"(?<!\{)\{([^{}]+)\}(?!\})")


def _(text: str) -> str:
    """`text` in the user's language.

    The context is the one under which Slicer's tools extract the string (``slicer.i18n.getContext``): the
    calling file's name, behind that of its package. A translation whose placeholders differ is not used: it
    would end in an error when they are filled in.
    """
    i18n = sys.modules.get("slicer.i18n")
    if i18n is None:
        return text
    context = i18n.getContext(sys._getframe(1).f_globals.get("__file__", "MedPrep"))
    translated = i18n.translate(context, text)
    same = translated is text or set(_PLACEHOLDER.findall(translated)) == set(_PLACEHOLDER.findall(text))
    return translated if same else text
