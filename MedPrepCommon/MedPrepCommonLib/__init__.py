"""MedPrep for programs: images, operations and recipes, without Slicer and inside it.

What this module exports is the public face: it stays, or the change log announces one version before that it
goes. Everything else may move. Names are looked up when first used: importing the package costs nothing.

.. versionadded:: 0.2

Examples
--------
>>> import numpy as np
>>> from MedPrepCommonLib import Volume, create, run
>>> image = Volume(np.zeros((4, 8, 8), np.int16), np.diag([0.7, 0.7, 3.0, 1.0]), modality="CT")
>>> result = run(create("ct.clip", low=-1000, high=400), {"image": image})
>>> result.images["image"].spacing
(0.7, 0.7, 3.0)
"""

from __future__ import annotations

import importlib
import sys
import warnings
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .core.engine import run
    from .core.errors import (
        Cancelled,
        FileError,
        GeometryError,
        InputError,
        MedPrepError,
        ParameterError,
        RecipeError,
    )
    from .core.job import Job
    from .core.operation import create, known, operation
    from .core.parameters import Help, Preset, Span, Unit
    from .core.recipe import Recipe, available
    from .core.recipe import load as load_recipe
    from .core.result import Check, Curve, Figure, Points, Result, Table
    from .core.runner import RecipeRun
    from .core.runner import run as run_recipe
    from .core.volume import LabelVolume, Segment, Volume
    from .files.nifti_writing import write_nifti
    from .files.reading import read_volume
    from .outputs.writing import write as write_results

# Where a public name lives: module, and the name there where it is another.
_PLACES = {
    "Cancelled": "core.errors",
    "Check": "core.result",
    "Curve": "core.result",
    "Figure": "core.result",
    "FileError": "core.errors",
    "GeometryError": "core.errors",
    "Help": "core.parameters",
    "InputError": "core.errors",
    "Job": "core.job",
    "LabelVolume": "core.volume",
    "MedPrepError": "core.errors",
    "ParameterError": "core.errors",
    "Points": "core.result",
    "Preset": "core.parameters",
    "Recipe": "core.recipe",
    "RecipeError": "core.errors",
    "RecipeRun": "core.runner",
    "Result": "core.result",
    "Segment": "core.volume",
    "Span": "core.parameters",
    "Table": "core.result",
    "Unit": "core.parameters",
    "Volume": "core.volume",
    "available": "core.recipe",
    "create": "core.operation",
    "known": "core.operation",
    "load_recipe": "core.recipe:load",
    "operation": "core.operation",
    "read_volume": "files.reading",
    "run": "core.engine",
    "run_recipe": "core.runner:run",
    "write_nifti": "files.nifti_writing",
    "write_results": "outputs.writing:write",
}
# Modules that pages named, or programs of others use, under these names before 0.2; they go with 0.3.
_MOVED = {
    "chestphantom": "phantoms.chest",
    "errors": "core.errors",
    "projection": "phantoms.projection",
    "reading": "files.reading",
    "recipe": "core.recipe",
    "runner": "core.runner",
    "sampledata": "modules.sample_data",
    "volume": "core.volume",
}

__all__ = [
    "Cancelled",
    "Check",
    "Curve",
    "Figure",
    "FileError",
    "GeometryError",
    "Help",
    "InputError",
    "Job",
    "LabelVolume",
    "MedPrepError",
    "ParameterError",
    "Points",
    "Preset",
    "Recipe",
    "RecipeError",
    "RecipeRun",
    "Result",
    "Segment",
    "Span",
    "Table",
    "Unit",
    "Volume",
    "__version__",
    "available",
    "create",
    "known",
    "load_recipe",
    "operation",
    "read_volume",
    "run",
    "run_recipe",
    "write_nifti",
    "write_results",
]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        module, _colon, there = _PLACES[name].partition(":")
        value = getattr(importlib.import_module(f"{__name__}.{module}"), there or name)
        globals()[name] = value
        return value
    if name in _MOVED:
        return moved(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def moved(name: str, stacklevel: int = 3) -> Any:
    """The module that was once called ``MedPrepCommonLib.<name>``, with a warning that says where it is."""
    place = f"{__name__}.{_MOVED[name]}"
    warnings.warn(
        f"{__name__}.{name} is now {place}; the old name goes with MedPrep 0.3. "
        f"What programs need is in {__name__} itself (Docs/api.md).",
        DeprecationWarning,
        stacklevel=stacklevel,
    )
    return importlib.import_module(place)


class _MovedFinder:
    """Finds ``import MedPrepCommonLib.<old name>``: a module with the names of the one in its place."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        package, _dot, name = fullname.rpartition(".")
        return ModuleSpec(fullname, self) if package == __name__ and name in _MOVED else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        new = moved(module.__name__.rpartition(".")[2])
        vars(module).update({name: value for name, value in vars(new).items() if not name.startswith("__")})


sys.meta_path.append(_MovedFinder())  # type: ignore[arg-type]
