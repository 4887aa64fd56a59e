"""Strings reach translators: under the context of Slicer's extraction rule, and in a form that it sees."""

from __future__ import annotations

import ast
import sys
import types
from pathlib import Path

import pytest

from MedPrepCommonLib.core import i18n


def context_of(path: Path) -> str:
    """Slicer's rule (Utilities/Scripts/update_translations.py): the file behind its package, if any."""
    package = f"{path.parent.name}." if (path.parent / "__init__.py").is_file() else ""
    return package + path.stem


def sources(folders: list[Path]) -> list[Path]:
    return [
        path for folder in folders for path in sorted(folder.rglob("*.py")) if "Training" not in path.parts
    ]


def translator(answer) -> types.ModuleType:
    """slicer.i18n as Slicer has it, with a dictionary for a translation file."""
    module = types.ModuleType("slicer.i18n")
    module.getContext = lambda file: context_of(Path(file))
    module.translate = answer
    return module


def test_context_is_that_of_the_extraction(module_dirs, monkeypatch):
    asked = []
    monkeypatch.setitem(
        sys.modules, "slicer.i18n", translator(lambda *words: asked.append(words) or words[1])
    )
    files = [path for path in sources(module_dirs) if "i18n import _" in path.read_text(encoding="utf-8")]
    assert len(files) > 150
    for path in files:
        exec("_('text')", {"_": i18n._, "__file__": str(path)})
    assert [context for context, _text in asked] == [context_of(path) for path in files]
    assert ("core.volume", "text") in asked


def test_every_string_can_be_extracted(module_dirs):
    """The extraction sees ``_("literal")`` alone: no f-string, no sum, no ``)`` behind a quotation mark."""
    wrong = []
    for path in sources(module_dirs):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_":
                literal = len(node.args) == 1 and isinstance(node.args[0], ast.Constant)
                if not literal or '")' in node.args[0].value:
                    wrong.append(f"{path.name}:{node.lineno}: {ast.unparse(node)}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("translated", "shown"),
    [("{n} Bilder", "{n} Bilder"), ("{anzahl} Bilder", "{n} images"), ("Bilder", "{n} images")],
)
def test_a_translation_with_other_placeholders_is_not_used(monkeypatch, translated, shown):
    monkeypatch.setitem(sys.modules, "slicer.i18n", translator(lambda context, text: translated))
    assert i18n._("{n} images") == shown


def test_english_without_slicer(monkeypatch):
    monkeypatch.delitem(sys.modules, "slicer.i18n", raising=False)
    assert i18n._("Window") == "Window"
