"""Python packages that Slicer lacks and an operation needs: asked for when it is started, never earlier.

An operation that needs some has a method ``packages() -> dict[str, str]``: what pip should install, by the
name that is imported. It may depend on the operation's parameters.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from typing import Any

from ..core.errors import MissingPackageError
from ..core.i18n import _


def ensurePackages(operations: Iterable[Any]) -> None:
    """Offer to install what the operations need and is not there. Main thread only.

    Raises
    ------
    MissingPackageError
        when it is not there afterwards: the user said no, or there is no network.
    """
    wanted: dict[str, str] = {}
    for op in operations:
        wanted |= getattr(op, "packages", dict)()
    missing = {name: package for name, package in wanted.items() if not _isThere(name)}
    if not missing:
        return
    try:
        import slicer.packaging

        slicer.packaging.pip_ensure(list(missing.values()), requester="MedPrep")
    except Exception as error:  # pip ends in many ways, and Slicer before 5.12 has no packaging
        raise _absent(missing, str(error)) from error
    importlib.invalidate_caches()
    missing = {name: package for name, package in missing.items() if not _isThere(name)}
    if missing:
        raise _absent(missing, "")


def _isThere(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _absent(missing: dict[str, str], reason: str) -> MissingPackageError:
    return MissingPackageError(
        _("This needs the Python package {names}, which is not installed. {reason}")
        .format(names=", ".join(missing.values()), reason=reason)
        .strip(),
        _("Expected it in Slicer's Python."),
        _("Agree to its installation when Slicer asks (a network is needed), or choose another method."),
    )
