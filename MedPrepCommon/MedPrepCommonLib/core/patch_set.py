"""Patches of one image: their voxels, labels and places, as training data or to be put together again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .volume import LabelVolume, Segment, Volume

# Columns of the manifest, in this order; :meth:`PatchSet.records` fills them.
COLUMNS = (
    "patch",
    "centre",
    "scale",
    "i",
    "j",
    "k",
    "r (mm)",
    "a (mm)",
    "s (mm)",
    "spacing i (mm)",
    "spacing j (mm)",
    "spacing k (mm)",
    "foreground",
    "label",
    "segment",
)


@dataclass(frozen=True)
class Patch:
    """Where one patch lies.

    Parameters
    ----------
    centre : number of the place; patches of several scales share it.
    scale : size of its voxels in voxels of the image, along axes of more than one; 1 is the image's own.
    first : index (i, j, k) of its first voxel's centre on the image's grid; whole numbers at scale 1.
    position : its centre in RAS millimetres.
    foreground : share of its voxels in the mask (or in the candidates), from 0 to 1; 0 without either.
    label : value of the candidate, or of the mask in its middle; 0 is background.
    segment : name that belongs to the value, or "".
    """

    centre: int
    scale: float
    first: tuple[float, float, float]
    position: tuple[float, float, float]
    foreground: float = 0.0
    label: int = 0
    segment: str = ""


@dataclass(frozen=True, eq=False)
class PatchSet:
    """Patches of equal size that were cut from one image.

    Parameters
    ----------
    title : as shown to the user.
    array : (n, k, j, i) or (n, k, j, i, component), read-only.
    patches : where each lies; n of them.
    ijkToRAS, shape : (4, 4) and (k, j, i) of the image that they were cut from.
    labels : (n, k, j, i) integers by name of the label map.
    segments : what the values of each label map mean.
    format : how they are written: "npz", "nifti" or "zarr".
    modality, history : as of a :class:`~MedPrepCommonLib.core.volume.Volume`.
    """

    title: str
    array: np.ndarray
    patches: tuple[Patch, ...]
    ijkToRAS: np.ndarray
    shape: tuple[int, int, int]
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    segments: Mapping[str, tuple[Segment, ...]] = field(default_factory=dict)
    format: str = "npz"
    modality: str = ""
    history: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        for array in (self.array, *self.labels.values()):
            if len(array) != len(self.patches) or array.shape[1:4] != self.array.shape[1:4]:
                raise ValueError(f"{array.shape} does not hold {len(self.patches)} equal patches")
            array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.patches)

    @property
    def size(self) -> tuple[int, int, int]:
        """Voxels of each patch along k, j, i."""
        return self.array.shape[1:4]

    def matrix(self, number: int) -> np.ndarray:
        """(4, 4), maps voxel indices (i, j, k, 1) of a patch to RAS millimetres."""
        patch = self.patches[number]
        matrix = np.array(self.ijkToRAS, np.float64)
        matrix[:3, 3] = self.ijkToRAS[:3] @ [*patch.first, 1.0]
        matrix[:3, :3] *= self._scales(patch)
        return matrix

    def _scales(self, patch: Patch) -> np.ndarray:
        """Along i, j, k; an axis of one voxel keeps the image's spacing."""
        return np.where(np.array(self.size[::-1]) > 1, patch.scale, 1.0)

    def values(self, number: int, name: str = "image") -> np.ndarray:
        """The voxels of one patch of the image, or of the label map called `name`."""
        return (self.array if name == "image" else self.labels[name])[number]

    def segments_of(self, name: str) -> tuple[Segment, ...] | None:
        """What the values of the label map called `name` mean; None for the image."""
        return None if name == "image" else tuple(self.segments.get(name, ()))

    def image(self, number: int) -> Volume:
        """One patch as an image in its place."""
        return Volume(self.array[number], self.matrix(number), modality=self.modality, history=self.history)

    def label_map(self, name: str, number: int) -> LabelVolume:
        """One patch of the label map called `name`, in its place."""
        return LabelVolume(
            self.labels[name][number],
            self.matrix(number),
            name,
            self.modality,
            history=self.history,
            segments=tuple(self.segments.get(name, ())),
        )

    def records(self) -> tuple[tuple[int | float | str, ...], ...]:
        """A row of :data:`COLUMNS` for each patch."""
        lengths = np.linalg.norm(np.asarray(self.ijkToRAS)[:3, :3], axis=0)
        rows = []
        for number, patch in enumerate(self.patches):
            spacing = (round(float(length), 9) for length in lengths * self._scales(patch))
            # Adding 0.0 turns -0.0 into 0.0.
            place = (round(float(value), 6) + 0.0 for value in patch.position)
            first = (int(v) if float(v).is_integer() else float(v) for v in patch.first)
            rows.append(
                (
                    number,
                    patch.centre,
                    patch.scale,
                    *first,
                    *place,
                    *spacing,
                    round(patch.foreground, 6),
                    patch.label,
                    patch.segment,
                )
            )
        return tuple(rows)
