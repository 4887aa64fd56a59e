"""Node names that read well, are unique in the scene, and can be saved."""

from __future__ import annotations

import re
from typing import Any

import slicer

# A node or segment name becomes a file name inside a saved scene; each of these breaks saving or loading it.
_UNSAFE = re.compile(r"[&/\\:\"%<>|*?'\x00-\x1f\x7f]+")


def safeName(name: str) -> str:
    """`name` without the characters that keep a scene from being saved or loaded again.

    >>> safeName('CT 50% "a/b"')
    'CT 50 a b'
    """
    return " ".join(_UNSAFE.sub(" ", name).split()).strip(". ") or "Volume"


def uniqueName(name: str, taken: Any = ()) -> str:
    """Safe `name`, with a number behind it when a node of the scene or an entry of `taken` has it already."""
    name = safeName(name)
    nodes = slicer.mrmlScene.GetNodes()
    used = {nodes.GetItemAsObject(n).GetName() for n in range(nodes.GetNumberOfItems())} | set(taken)
    candidate, number = name, 2
    while candidate in used:
        candidate, number = f"{name} {number}", number + 1
    return candidate
