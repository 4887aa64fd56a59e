"""Writes out for translators what the panel's words are made from: names of parameters and inputs, summaries.

python3 run.py python Tools/texts.py          says whether MedPrepCommonLib/core/definitions is up to date
python3 run.py python Tools/texts.py --write  writes it

Slicer's extraction sees literal strings in ``_()`` alone; these come from the definitions of operations.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from MedPrepCommonLib.core.operation import PACKAGES, Operation, known
from MedPrepCommonLib.core.parameters import words_of

FOLDER = (
    Path(__file__).resolve().parent.parent / "MedPrepCommon" / "MedPrepCommonLib" / "core" / "definitions"
)
_WIDTH = 96


def labels() -> dict[str, str]:
    """What the names of parameters and inputs are as words; inputs with words of their own need none."""
    names = {parameter.name for spec in operations() for parameter in spec.parameters}
    names |= {
        slot.name for spec in operations() for slot in spec.inputs[1:] if not slot.words and not slot.many
    }
    return {words: words for words in sorted({words_of(name) for name in names}, key=str.lower)}


def summaries() -> dict[str, str]:
    """The first paragraph of each operation's description, by id."""
    return {spec.id: " ".join(spec.summary.partition("\n\n")[0].split()) for spec in operations()}


def operations() -> list[Operation]:
    """MedPrep's own: others may be registered too."""
    return [spec for spec in known().values() if spec.cls.__module__.split(".")[0] in PACKAGES]


def files() -> dict[str, str]:
    """The text of each file by name."""
    return {
        "labels.py": _file("Names of parameters and inputs in words.", "LABELS", labels()),
        "summaries.py": _file("What each operation does, by id.", "SUMMARIES", summaries()),
    }


def _file(title: str, name: str, texts: Mapping[str, str]) -> str:
    lines = [
        f'"""{title} Made by Tools/texts.py; a test holds it against the operations."""',
        "",
        "from ..i18n import _",
        "",
        f"{name} = {{",
    ]
    for key, text in texts.items():
        quoted = [json.dumps(part, ensure_ascii=False) for part in _parts(text)]
        if len(quoted) == 1 and len(f"    {json.dumps(key)}: _({quoted[0]}),") <= 110:
            lines.append(f"    {json.dumps(key)}: _({quoted[0]}),")
        else:
            lines += [f"    {json.dumps(key)}: _(", *(f"        {part}" for part in quoted), "    ),"]
    return "\n".join([*lines, "}", ""])


def _parts(text: str) -> list[str]:
    """A long text in pieces that fit into a line each; as few as the formatter would make."""
    if len(json.dumps(text, ensure_ascii=False)) <= 102:
        return [text]
    lines = textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return [f"{line} " for line in lines[:-1]] + lines[-1:]


def main() -> int:
    out_of_date = False
    for name, text in files().items():
        path = FOLDER / name
        if "--write" in sys.argv[1:]:
            path.write_bytes(text.encode("utf-8"))
        out_of_date |= path.read_text(encoding="utf-8") != text
    if out_of_date:
        print("core/definitions is out of date: python3 run.py python Tools/texts.py --write")
        return 1
    print("core/definitions is up to date.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
