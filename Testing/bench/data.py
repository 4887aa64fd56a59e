"""The images that the benchmark works on: a chest phantom, drawn once and kept in a cache folder."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from MedPrepCommonLib.core.volume import LabelVolume, Segment, Volume
from MedPrepCommonLib.phantoms import chest as chestphantom
from MedPrepCommonLib.phantoms import chest_anatomy, chest_scanner, chest_trees
from MedPrepCommonLib.phantoms.chest import make_chest_phantom

SHAPE, SPACING = (300, 512, 512), (1.25, 0.7, 0.7)
QUICK_SHAPE, QUICK_SPACING = (150, 256, 256), (2.5, 1.4, 1.4)

CODE = ("SCT", "85756007", "Tissue")


@dataclass(frozen=True)
class Chest:
    """A CT with its truth; arrays are (k, j, i).

    Parameters
    ----------
    hu : int16 Hounsfield units. labels : uint8, 1 right lung, 2 left lung, 3 airway. nodules : uint8.
    ijkToRAS : (4, 4). extra : further arrays that a row has added.
    """

    hu: np.ndarray
    labels: np.ndarray
    nodules: np.ndarray
    ijkToRAS: np.ndarray
    extra: dict = field(default_factory=dict)

    @property
    def volume(self) -> Volume:
        """The CT as operations take it."""
        return Volume(self.hu, self.ijkToRAS, "chest", "CT")

    @property
    def label_volume(self) -> LabelVolume:
        """The true lungs and airway."""
        names = ("right lung", "left lung", "airway")
        segments = tuple(Segment(n + 1, name, CODE, CODE) for n, name in enumerate(names))
        return LabelVolume(self.labels, self.ijkToRAS, "lungs", "CT", segments=segments)

    @cached_property
    def image(self) -> sitk.Image:
        """The CT as SimpleITK takes it."""
        return self.volume.to_sitk()

    @cached_property
    def label_image(self) -> sitk.Image:
        """The true lungs as SimpleITK takes them."""
        return self.label_volume.to_sitk()

    @property
    def spacing_kji(self) -> tuple[float, float, float]:
        """Millimetres."""
        return self.volume.spacing_kji

    def slab(self, share: float) -> Chest:
        """The middle `share` of the slices."""
        count = max(2, round(len(self.hu) * share))
        first = (len(self.hu) - count) // 2
        return self._slices(slice(first, first + count))

    def thinned(self, step: int) -> Chest:
        """Every `step`-th slice."""
        return self._slices(slice(0, None, step))

    def _slices(self, chosen: slice) -> Chest:
        matrix = self.ijkToRAS.copy()
        matrix[:3, 3] += matrix[:3, 2] * (chosen.start or 0)
        matrix[:3, 2] *= chosen.step or 1
        hu, labels, nodules = (np.ascontiguousarray(a[chosen]) for a in (self.hu, self.labels, self.nodules))
        return replace(self, hu=hu, labels=labels, nodules=nodules, ijkToRAS=matrix)


def chest(shape=SHAPE, spacing_kji=SPACING, cache: Path | None = None) -> Chest:
    """The chest phantom on this grid, from `cache` when it was drawn before by the same code."""
    folder = None if cache is None else cache / f"chest-{'x'.join(map(str, shape))}-{_version(spacing_kji)}"
    if folder is not None and (folder / "complete").exists():
        return Chest(*(np.load(folder / f"{name}.npy") for name in ("hu", "labels", "nodules", "ijkToRAS")))
    drawn = make_chest_phantom(shape, spacing_kji)
    made = Chest(drawn.hu, drawn.labels, drawn.nodule_labels, drawn.ijkToRAS)
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name in ("hu", "labels", "nodules", "ijkToRAS"):
                np.save(folder / f"{name}.npy", getattr(made, name))
            (folder / "complete").touch()
        except OSError:  # no place to keep it: it is drawn again next time
            pass
    return made


def _version(spacing_kji) -> str:
    """Changes when the phantom's code or spacing does."""
    digest = hashlib.sha256(repr(tuple(spacing_kji)).encode())
    for module in (chestphantom, chest_anatomy, chest_scanner, chest_trees):
        digest.update(Path(os.fspath(module.__file__)).read_bytes())
    return digest.hexdigest()[:12]
