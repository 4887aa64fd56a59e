"""Row: training patches at random places of a CT."""

from __future__ import annotations

from typing import Any

import numpy as np

from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.core.patch_set import PatchSet

from . import peers_textbook
from .ct_pointwise import extra_peers
from .data import SHAPE, Chest
from .harness import OURS, Options, Row, Subject
from .targets import memory, quality, ratio

SIZE, NUMBER = 64, 200


def number(data: Chest) -> int:
    """Patches to cut: as many for each slice of the image, whatever its size."""
    return max(1, round(NUMBER * len(data.hu) / SHAPE[0]))


class Patches(Row):
    """Patches of 64 voxels cubed as one batch, each with its place; ours must hold what lies there."""

    name = "patches"
    title = "200 patches of 64 x 64 x 64 at random places of an int16 CT, as one batch"
    voxels_of = "output"
    targets = (
        ratio("MONAI", 1.8),
        ratio("TorchIO", 25),
        memory(2.6),
        quality("voxels that differ", at_most=0),
    )

    def voxels(self, data: Chest) -> int:
        return number(data) * SIZE**3

    def moved(self, data: Chest) -> int:
        return 2 * 2 * self.voxels(data)

    def ours(self, data: Chest) -> list[Subject]:
        volume, quiet = data.volume, Job.quiet()
        op = create("patches", method="random", size=SIZE, number=number(data))
        return [Subject(OURS, OURS, lambda: op(volume, (), None, None, quiet), _patches)]

    def peers(self, data: Chest, options: Options) -> list[Subject]:
        hu, count = data.hu, number(data)
        found = [
            Subject("numpy", "numpy", lambda: peers_textbook.patches(hu, SIZE, count), lambda batch: None)
        ]
        return found + [peer.patches(data, SIZE, count) for peer in extra_peers(options)]

    def judge(self, data: Chest, array: PatchSet, oracle: Any) -> dict[str, float]:
        differ = 0
        # A phantom with fewer slices is padded with air.
        padded = np.pad(data.hu, SIZE, constant_values=max(int(data.hu.min()), -1024))
        for patch, values in zip(array.patches, array.array, strict=True):
            k, j, i = (int(n) + SIZE for n in patch.first[::-1])
            differ += np.count_nonzero(values != padded[k : k + SIZE, j : j + SIZE, i : i + SIZE])
        return {"voxels that differ": float(differ)}


def _patches(result: Any) -> PatchSet:
    return result.patches["patches"]


ROWS = (Patches(),)
