"""Array axes in anatomical order: views of a volume whose axes point where an algorithm expects them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from ..core.volume import Volume

_TOWARDS = {
    "R": (1, 0, 0),
    "L": (-1, 0, 0),
    "A": (0, 1, 0),
    "P": (0, -1, 0),
    "S": (0, 0, 1),
    "I": (0, 0, -1),
}


@dataclass(frozen=True)
class Orientation:
    """How stored array axes are permuted, then flipped, to point along given anatomical directions.

    Parameters
    ----------
    axes : stored axis that becomes axis 0, 1, 2.
    flips : whether that axis runs the other way.
    """

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    def view(self, array: np.ndarray) -> np.ndarray:
        """`array` (three axes, or three and components) in the wanted order; shares memory."""
        rest = tuple(range(3, array.ndim))
        return array.transpose(self.axes + rest)[tuple(slice(None, None, -1 if f else 1) for f in self.flips)]

    def undo(self, array: np.ndarray) -> np.ndarray:
        """`array` back in stored order; shares memory."""
        rest = tuple(range(3, array.ndim))
        turned = array[tuple(slice(None, None, -1 if f else 1) for f in self.flips)]
        return turned.transpose(tuple(np.argsort(self.axes)) + rest)

    def reorder(self, values: tuple[float, float, float]) -> tuple[float, float, float]:
        """One value per stored axis (such as the spacing) in the wanted order."""
        return tuple(values[axis] for axis in self.axes)


def orientation(volume: Volume, towards: str = "SPL") -> Orientation:
    """The permutation and flips after which axes 0, 1, 2 of the array run nearest to `towards`.

    Parameters
    ----------
    towards : three of R/L, A/P, S/I; "SPL" is the array order of a usual axial CT: slices go up, rows go
        to the back, columns go to the patient's left.
    """
    wanted = np.array([_TOWARDS[letter] for letter in towards], float)
    stored = volume.directions.T[::-1]  # rows: RAS direction of the array's axes k, j, i
    cosines = wanted @ stored.T
    best = max(
        itertools.permutations(range(3)), key=lambda axes: sum(abs(cosines[n, axes[n]]) for n in range(3))
    )
    return Orientation(best, tuple(bool(cosines[n, best[n]] < 0) for n in range(3)))
