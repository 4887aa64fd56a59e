"""Row: pieces of metal in a CT."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import ndimage

from MedPrepCommonLib.core import engine
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.numeric.components import sparse_components

from . import peers_sitk, peers_textbook
from .data import Chest
from .harness import OURS, Options, Row, Subject
from .targets import quality, ratio

THRESHOLD = 2500
SPECKS_PER_VOXEL = 4000 / (512 * 512 * 300)
LOOKED_AT = 3  # labels that the naive loop is measured with


def minimum_voxels(data: Chest) -> int:
    """What ct.metal takes for the smallest piece: 10 mm³, and 3 voxels."""
    return max(3, math.ceil(10 / data.volume.voxel_volume - 1e-9))


class Metal(Row):
    name = "metal"
    title = "components above 2500 HU with size, centroid, mean and maximum, 4000 noise specks among them"
    targets = (
        ratio("SimpleITK", 12),
        ratio("scikit-image", 12),
        ratio("naive loop", 1000),
        quality("components that differ", at_most=0),
    )
    oracle = "scipy"

    def prepare(self, data: Chest) -> Chest:
        """Single voxels of 2700 HU, as photon starvation makes them, in the middle of each slice."""
        hu = data.hu.copy()
        rng = np.random.default_rng(7)
        count = max(1, round(SPECKS_PER_VOXEL * hu.size))
        nk, nj, ni = hu.shape
        where = (
            rng.integers(0, nk, count),
            rng.integers(nj // 5, 4 * nj // 5, count),
            rng.integers(ni // 5, 4 * ni // 5, count),
        )
        hu[where] = 2700
        return replace(data, hu=hu)

    def moved(self, data: Chest) -> int:
        return data.hu.size * data.hu.itemsize

    def ours(self, data: Chest) -> list[Subject]:
        op, volume = create("ct.metal", threshold=float(THRESHOLD)), data.volume
        least = minimum_voxels(data)

        def run() -> list[tuple]:
            found = sparse_components(data.hu, THRESHOLD, minimum_voxels=least)
            return list(zip(found.count, found.centroid, found.mean, found.maximum, strict=True))

        return [
            Subject(OURS, OURS, run, _sizes),
            # also the mask, three more thresholds, streaks and their grade
            Subject(
                "MedPrep ct.metal",
                OURS,
                lambda: engine.run(op, {"image": volume}, sources={"image": "phantom"}),
                lambda result: [row[1] for row in result.tables["components"].rows],
                equal_work=False,
            ),
        ]

    def peers(self, data: Chest, options: Options) -> list[Subject]:
        hu, image, least = data.hu, data.image, minimum_voxels(data)
        labels, count = ndimage.label(hu > THRESHOLD, structure=peers_textbook.EVERY_NEIGHBOUR)
        numbers = np.unique(np.linspace(1, count, LOOKED_AT).astype(int))
        return [
            Subject("SimpleITK", "SimpleITK", lambda: peers_sitk.metal(image, THRESHOLD, least), _sizes),
            Subject("scipy", "scipy", lambda: peers_textbook.metal_scipy(hu, THRESHOLD, least), _sizes),
            Subject(
                "scikit-image",
                "scikit-image",
                lambda: peers_textbook.metal_skimage(hu, THRESHOLD, least),
                _sizes,
            ),
            Subject(
                "naive loop",
                "naive loop",
                lambda: peers_textbook.metal_loop(hu, labels, numbers, least),
                lambda result: None,  # of a few labels only: nothing to compare
                share=len(numbers) / count,
            ),
        ]

    def judge(self, data: Chest, array: Any, oracle: Any) -> dict[str, float]:
        return {"components that differ": float(_differing(array, oracle))}


def _sizes(found: list[tuple]) -> list[int]:
    return [int(component[0]) for component in found]


def _differing(found: list[int], wanted: list[int]) -> int:
    """How many sizes one list has that the other has not."""
    ours, theirs = (np.unique(sizes, return_counts=True) for sizes in (found, wanted))
    counts = dict(zip(*ours, strict=True))
    for size, n in zip(*theirs, strict=True):
        counts[size] = counts.get(size, 0) - n
    return int(sum(abs(n) for n in counts.values()))


ROWS = (Metal(),)
