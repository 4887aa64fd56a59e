"""What was found in the last few images: the steps of a recipe ask for the same one several times."""

from __future__ import annotations

import weakref
from collections import deque
from typing import Generic, TypeVar

import numpy as np

from MedPrepCommonLib.core.volume import Volume

T = TypeVar("T")
# Images at once: those of a patient.
_COUNT = 4


class Recent(Generic[T]):
    """Results by the image's array (which never changes) and its place; they go when the array does."""

    def __init__(self) -> None:
        self._known: deque[tuple[weakref.ref[np.ndarray], np.ndarray, T]] = deque(maxlen=_COUNT)

    def of(self, volume: Volume) -> T | None:
        """What was found in this image, or None."""
        for array, place, found in tuple(self._known):
            if array() is volume.array and np.array_equal(place, volume.ijkToRAS):
                return found
        return None

    def keep(self, volume: Volume, found: T) -> T:
        """Remember, and give back, what was found."""
        for entry in tuple(self._known):
            if entry[0]() is None:
                self._known.remove(entry)
        self._known.append((weakref.ref(volume.array), volume.ijkToRAS, found))
        return found
