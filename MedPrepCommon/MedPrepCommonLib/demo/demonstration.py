"""The demo: built-in phantoms whose truth is known, each through a recipe into a folder of its own.

A demonstration is a module ``demoNAME.py`` with TITLE and ``run(folder, job)``, whose result has a
``text()``. To add one, write it and name it in DEMOS.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.i18n import _
from ..core.job import Job
from ..outputs import folder as outputfolder
from ..outputs import writing

DEMOS = ("chest", "brain", "xray")


@dataclass(frozen=True)
class Demo:
    """What every demonstration found, by its name."""

    found: dict[str, Any]

    def text(self) -> str:
        """The summary that ends the demo."""
        parts = []
        for name, one in self.found.items():
            title = _module(name).TITLE
            parts += [title, "=" * len(title), one.text(), ""]
        return "\n".join(parts).rstrip()


def run(
    folder: str | os.PathLike[str] = "medprep-demo", job: Job | None = None, names: Iterable[str] = DEMOS
) -> Demo:
    """Run the demonstrations `names`, each into the folder of its name below `folder`.

    An earlier demo there is replaced; other files in a demonstration's folder are an error, before anything
    is done (see :mod:`outputfolder`).
    """
    job = job or Job.quiet()
    names = tuple(names)
    places = {name: outputfolder.check(Path(folder) / name, overwrite=True) for name in names}
    found = {}
    for n, name in enumerate(names):
        module = _module(name)
        part = job.part(n / len(names), (n + 1) / len(names), module.TITLE)
        found[name] = module.run(places[name], part)
    return Demo(found)


def places_text(written: writing.Written, inputs: Iterable[str]) -> list[str]:
    """Lines that say where a demonstration's results lie; `inputs` are names of files without ending."""
    folder = written.folder
    return [
        _("Report    {path}").format(path=written.report),
        _("Pictures  {path}").format(path=folder / "pictures"),
        _("Scene     {path}  (open it in 3D Slicer)").format(path=folder / "scene.mrb"),
        *(_("Input     {path}").format(path=folder / f"{name}.nii.gz") for name in inputs),
    ]


def _module(name: str) -> Any:
    return importlib.import_module(f".{name}", __package__)
