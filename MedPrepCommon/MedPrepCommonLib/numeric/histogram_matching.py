"""Give an image the histogram of another, or of saved quantiles."""

from __future__ import annotations

import numpy as np

from ..core.job import Job
from ..core.parallel import Crew, block_indices, memory_views, real_array
from .landmarks import Landmarks
from .quantiles import counts, quantiles

# Percentiles that are saved: dense at the ends, where a small share of the voxels spans many values.
PERCENTILES = (
    0.0, 0.1, 0.2, 0.5, *(float(p) for p in range(1, 100)), 99.5, 99.8, 99.9, 100.0,
)  # fmt: skip


def profile(array: np.ndarray, mask: np.ndarray | None = None) -> tuple[float, ...]:
    """The values at :data:`PERCENTILES`, of the voxels in a mask."""
    found = quantiles(array, [percent / 100 for percent in PERCENTILES], mask)
    return tuple(float(f"{value:.9g}") for value in found)


def mean_profile(profiles: list[tuple[float, ...]]) -> Landmarks:
    """The mean of several images' profiles: the distribution between theirs."""
    mean = np.mean(profiles, axis=0)
    return Landmarks(PERCENTILES, tuple(float(f"{value:.9g}") for value in mean))


def curve_of(array: np.ndarray, mask: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The values that occur and the share of voxels at or below each."""
    values, found = counts(array, mask)
    return values, np.cumsum(found) / found.sum()


def match(
    array: np.ndarray,
    own: tuple[np.ndarray, np.ndarray],
    wanted: tuple[np.ndarray, np.ndarray],
    job: Job | None = None,
) -> np.ndarray:
    """Map each value to the one at which `wanted` has as large a share of voxels at or below; float32.

    Values between those that occur are mapped linearly between them; beyond them the ends hold.

    Parameters
    ----------
    array : any shape. own, wanted : rising values, and the share of voxels at or below each.
    """
    array = real_array(array)
    levels, shares = own
    # Values of one share (no voxel between them) are one step of the curve: the first reaches it.
    steps, first = np.unique(wanted[1], return_index=True)
    places = np.interp(shares, steps, wanted[0][first])
    result = np.empty_like(array, dtype=np.float32, order="K", subok=False)
    source, target = memory_views(array, result)
    pieces = block_indices(source.shape)

    def task(piece: int, worker: int) -> None:
        target[pieces[piece]] = np.interp(source[pieces[piece]], levels, places)

    with Crew() as crew:
        crew.run(task, len(pieces), job)
    return result
