"""Make the mean chest of the classical lung-field method, and judge it by patient-wise cross-validation.

    python MedPrepXray/Training/make_lung_atlas.py --data DATA --out build-training

DATA is as for train_lung_fields.py. Needs OpenCV to read the pictures, but no torch.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import numpy as np
from scipy import ndimage

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent.parent / "MedPrepCommon")]

from lungpictures import UNKNOWN, Picture, dice, read_folder, split  # noqa: E402

from MedPrepXrayLib.lungs import classical, input  # noqa: E402
from MedPrepXrayLib.lungs.classical import MARGIN, Atlas  # noqa: E402
from MedPrepXrayLib.lungs.fields import find_lung_fields  # noqa: E402

_SIZE = 72


def mean_chest(pictures: list[Picture]) -> Atlas:
    """The mean of all pictures, each stretched so that the boxes of their lungs are one."""
    looks, lungs = [], []
    for picture in pictures:
        frame = input.frame_of(picture.whole.shape)
        channels = input.channels(*input.place(picture.whole, frame))
        masks = [input.place((picture.truth == side).astype(np.float32), frame)[0] for side in (1, 2)]
        rows, columns = np.nonzero(sum(masks) > 0.5)
        axes = []
        for places in (rows, columns):
            first, length = places.min(), np.ptp(places) + 1
            axes.append(first + ((np.arange(_SIZE) + 0.5) / _SIZE * (1 + 2 * MARGIN) - MARGIN) * length - 0.5)
        where = np.meshgrid(*axes, indexing="ij")
        looks.append([ndimage.map_coordinates(plane, where, order=1, mode="nearest") for plane in channels])
        lungs.append([ndimage.map_coordinates(mask, where, order=1, mode="nearest") for mask in masks])
    return Atlas(np.mean(looks, axis=0).astype(np.float32), np.mean(lungs, axis=0).astype(np.float32))


def measured(picture: Picture, chest: Atlas) -> float:
    """Dice of both lungs together, where the truth is known, through the very code that runs in MedPrep."""
    classical.atlas = lambda: chest
    found = find_lung_fields(picture.whole, method="classical").sides
    known = picture.truth != UNKNOWN
    return dice(found[known] > 0, picture.truth[known] > 0)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--data", type=Path, required=True)
    ask.add_argument("--out", type=Path, required=True)
    ask.add_argument("--folds", type=int, default=5)
    ask.add_argument("--seed", type=int, default=2024)
    args = ask.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    pictures = read_folder(args.data, central=True)
    where = split(pictures, args.folds, args.seed)
    rows = []
    for fold in range(args.folds):
        chest = mean_chest([p for p in pictures if where[p.patient] != fold])
        for picture in (p for p in pictures if where[p.patient] == fold):
            rows.append((fold, picture.name, picture.patient, measured(picture, chest)))
            print(*rows[-1], flush=True)
    with open(args.out / "folds_classical.csv", "w", newline="", encoding="utf-8") as text:
        csv.writer(text, lineterminator="\n").writerows([("fold", "image", "patient", "dice"), *rows])
    values = [row[-1] for row in rows]
    print(f"{len(values)} images: mean Dice {np.mean(values):.4f}, worst {min(values):.4f}")
    chest = mean_chest(pictures)
    np.savez_compressed(
        args.out / "lung_atlas.npz",
        looks=chest.looks.astype(np.float16),
        lungs=chest.lungs.astype(np.float16),
    )


if __name__ == "__main__":
    main()
