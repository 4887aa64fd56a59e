"""What was done to an image, in a form that can be replayed, compared and cited.

A step never holds a patient's name, an identifier, a path or the time: the same work gives the same bytes.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable
from importlib import metadata
from typing import Any

import numpy as np

from ..version import __version__
from .operation import settings
from .parallel import Crew
from .patch_set import PatchSet
from .volume import Volume

# Packages whose version can change a result.
_PACKAGES = ("numpy", "scipy", "SimpleITK", "scikit-image", "opencv-python-headless")

_PIECE = 1 << 23  # bytes


@functools.lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Versions of MedPrep and of the packages that compute for it; absent ones are left out."""
    found = {"MedPrep": __version__}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def digest(volume: Volume) -> str:
    """SHA-256 of a volume's type, shape, geometry and values.

    The values enter as SHA-256 of groups of slices of about 8 MiB, so that threads can share the work.
    """
    return _digest(volume.array, volume.ijkToRAS)


def digest_of_patches(patches: PatchSet) -> str:
    """SHA-256 of patches: the type, shape, places and values of their voxels, and their label maps."""
    places = np.array([patches.matrix(number) for number in range(len(patches))])
    parts = {name: _digest(array, places) for name, array in sorted(patches.labels.items())}
    return digest_of({"image": _digest(patches.array, places), "labels": parts})


def _digest(array: np.ndarray, places: np.ndarray) -> str:
    little = array.dtype.newbyteorder("<")
    header = [little.str, list(array.shape)]
    # Adding 0.0 turns -0.0 into 0.0, which is the same place.
    place = (np.round(places, 9) + 0.0).astype("<f8").tobytes()
    thick = max(1, _PIECE * len(array) // max(array.nbytes, 1))
    found = [b""] * -(-len(array) // thick)

    def work(piece: int, worker: int) -> None:
        slices = np.ascontiguousarray(array[piece * thick : (piece + 1) * thick], little)
        found[piece] = hashlib.sha256(slices.view(np.uint8).data).digest()

    with Crew(None if len(found) > 1 else 1) as crew:
        crew.run(work, len(found))
    return f"sha256:{hashlib.sha256(b''.join([json.dumps(header).encode(), place, *found])).hexdigest()}"


def step(op: Any, inputs: dict[str, str]) -> dict[str, Any]:
    """The record of one operation: its id, parameters, inputs (digests or earlier steps) and references."""
    return {
        "operation": op.operation.id,
        "parameters": settings(op),
        "inputs": inputs,
        "versions": versions(),
        "cite": list(op.operation.cite),
    }


def merged(histories: Iterable[Iterable[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Several histories as one, each step once and after those that it came after.

    A step of which one history knows more results than another is one step that has them all.
    """
    found: list[dict[str, Any]] = []
    for history in histories:
        for step in history:
            done = {key: value for key, value in step.items() if key != "outputs"}
            for n, known in enumerate(found):
                if {key: value for key, value in known.items() if key != "outputs"} == done:
                    outputs = {**known.get("outputs", {}), **step.get("outputs", {})}
                    found[n] = {**done, **({"outputs": outputs} if outputs else {})}
                    break
            else:
                found.append(step)
    return found


def text(record: Any) -> str:
    """Canonical JSON: sorted keys, so that equal records are equal bytes."""
    return json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def digest_of(record: Any) -> str:
    """SHA-256 of a JSON value's canonical text."""
    return f"sha256:{hashlib.sha256(text(record).encode()).hexdigest()}"
