"""Radiographs with known lungs for tests: projected from the chest phantom, moved and exposed in any way."""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from MedPrepCommonLib.core.volume import LabelVolume, Volume
from MedPrepCommonLib.phantoms.chest import make_chest_phantom
from MedPrepCommonLib.phantoms.projection import Radiograph, project_radiograph

# A pixel of which the real images' masks do not say what it shows.
UNKNOWN = 3


@lru_cache(maxsize=2)
def chest_ct(**changes) -> tuple[Volume, LabelVolume]:
    """A coarse phantom CT with its lungs; cached, so nothing may be changed."""
    made = make_chest_phantom(**{"shape": (75, 110, 120), "spacing_kji": (4.0, 3.0, 2.5), **changes})
    return (
        Volume(made.hu, made.ijkToRAS, "phantom", "CT"),
        LabelVolume(made.labels, made.ijkToRAS, "lungs", "CT"),
    )


@lru_cache(maxsize=1)
def chest_radiograph() -> Radiograph:
    """The phantom's radiograph, 2 mm pixels."""
    return project_radiograph(*chest_ct(metal=False), pixel=2.0, photons=20000)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Dice coefficient of two boolean arrays."""
    return float(2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b)))


def moved(plane: np.ndarray, angle: float = 0.0, scale: float = 1.0, order: int = 1) -> np.ndarray:
    """The image turned by `angle` degrees and scaled about its middle, in the same frame; black around it."""
    cos, sin = np.cos(np.radians(angle)) / scale, np.sin(np.radians(angle)) / scale
    matrix = np.array([[cos, -sin], [sin, cos]])
    middle = (np.array(plane.shape) - 1) / 2
    values = plane if order == 0 else plane.astype(np.float64)
    result = ndimage.affine_transform(values, matrix, middle - matrix @ middle, order=order)
    return result if order == 0 else np.rint(result).astype(plane.dtype)


def real_radiographs(folder: Path) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """(name, grey levels, labels) of xr/chest-lungs.

    Its masks were drawn on the central square of each image and then stretched to the whole image: a lung's
    border then lies up to a tenth of the image beside the lung. Here they are back where they were drawn.
    Labels are 0, 1 for lung, and ``UNKNOWN`` beyond an edge of the square that cuts a lung.
    """
    found = []
    with open(folder / "index.csv", newline="", encoding="utf-8") as text:
        for row in csv.DictReader(text):
            grey, mask = (
                sitk.GetArrayFromImage(sitk.ReadImage(str(folder / f"{row['image']}{end}.png")))
                for end in ("", "_lungs")
            )
            # One mask was drawn 40 columns beside the middle: it reaches out of the body there.
            found.append(
                (row["image"], grey, _unstretched(mask > 0, -40 if row["image"] == "a4318ac9" else 0))
            )
    return found


def _unstretched(stretched: np.ndarray, aside: int) -> np.ndarray:
    rows, columns = stretched.shape
    side = min(rows, columns)
    index = [((np.arange(side) + 0.5) * count / side).astype(int) for count in (rows, columns)]
    square = stretched[np.ix_(*index)]
    labels = np.zeros(stretched.shape, np.uint8)
    top, left = (rows - side) // 2, (columns - side) // 2 + aside
    labels[top : top + side, left : left + side] = square
    for cut, beyond in (
        (square[:, :3], np.s_[:, :left]),
        (square[:, -3:], np.s_[:, left + side :]),
        (square[:3], np.s_[:top]),
        (square[-3:], np.s_[top + side :]),
    ):
        if cut.any():
            labels[beyond] = UNKNOWN
    return labels
