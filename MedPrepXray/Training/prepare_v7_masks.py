"""Pair the children's radiographs of Kermany et al. with the lung masks that V7 Labs drew on them, for
training.

    python MedPrepXray/Training/prepare_v7_masks.py --images IMAGES --masks MASKS \
        --yardstick JSONS --out FOLDER

IMAGES holds chest_xray of doi:10.17632/rscbjbr9sj.2 (CC BY 4.0), MASKS the folder all-images-semantic-masks
of v7labs/covid-19-xray-dataset (CC BY 4.0), JSONS the unpacked covid-only.zip of the same: its images are
MedPrep's yardstick and none of them may get into the training. The masks have numbers for names, so an
image finds its mask by its size and, where several have that size, by the lungs that the present network
sees in it. Writes NAME.png, NAME_lungs.png (80 and 160 for the lungs on the image's left and right, 255
where nobody knows) and index.csv.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
from scipy import ndimage

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent.parent / "MedPrepCommon")]

from lungpictures import LEFT_GREY, RIGHT_GREY, UNKNOWN_GREY, dice  # noqa: E402

from MedPrepXrayLib.lungs import input as lunginput  # noqa: E402
from MedPrepXrayLib.lungs import model as lungmodel  # noqa: E402

_SIDE = 480  # longest side of what is written
_IGNORE, _LUNG = 127, 255  # grey levels of V7's masks
# The present network's Dice with an image's own mask: where the size leaves no choice, and where it does.
_ALONE, _AMONG, _AHEAD = 0.5, 0.85, 0.03
_SAME_SIZE = 12  # masks of one size are too many to choose from


def masks_by_size(folder: Path, yardstick: Path) -> dict[tuple[int, int], list[Path]]:
    """Masks by (rows, columns), without those of the yardstick."""
    left_out = {path.stem for path in yardstick.rglob("*.json")}
    found = defaultdict(list)
    for path in sorted(folder.glob("*.png")):
        if path.stem not in left_out:
            found[cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).shape].append(path)
    return found


def lungs_of(grey: np.ndarray) -> np.ndarray:
    """(rows, columns) bool: what the present network takes for lung."""
    frame = lunginput.frame_of(grey.shape)
    channels = lunginput.channels(*lunginput.place(grey, frame))
    scores = lungmodel.network()(np.ascontiguousarray(channels[None]))[0]
    powers = np.exp(scores - scores.max(axis=0))
    return lunginput.restore(1 - powers[:1] / powers.sum(axis=0), frame)[0] > 0.5


def own_mask(grey: np.ndarray, masks: list[Path], alone: bool) -> tuple[Path, np.ndarray] | None:
    """The mask that was drawn on this image, with its path; None when that is not clear."""
    lungs, found = lungs_of(grey), []
    for path in masks:
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        mask = cv2.resize(mask, grey.shape[::-1], interpolation=cv2.INTER_NEAREST)
        found.append((dice(lungs, mask == _LUNG), path, mask))
    found.sort(key=lambda each: -each[0])
    ahead = len(found) == 1 or found[0][0] - found[1][0] >= _AHEAD
    return found[0][1:] if ahead and found[0][0] >= (_ALONE if alone else _AMONG) else None


def two_lungs(mask: np.ndarray) -> np.ndarray | None:
    """Grey levels of both lungs and of what nobody knows; None unless there are two of comparable size."""
    parts, count = ndimage.label(mask == _LUNG)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    if count < 2 or np.sort(sizes)[-2] < 0.2 * sizes.max():
        return None
    two = 1 + np.argsort(sizes)[::-1][:2]
    if ndimage.center_of_mass(parts == two[0])[1] > ndimage.center_of_mass(parts == two[1])[1]:
        two = two[::-1]
    grey = np.zeros(mask.shape, np.uint8)
    grey[mask == _IGNORE] = UNKNOWN_GREY
    grey[parts == two[0]], grey[parts == two[1]] = LEFT_GREY, RIGHT_GREY
    return grey


def patient_of(path: Path) -> str:
    """personN of a child with pneumonia, the film's number of a healthy one."""
    return re.match(r"person\d+|(NORMAL2-)?IM-\d+", path.stem).group()


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("images", "masks", "yardstick", "out"):
        ask.add_argument(f"--{name}", type=Path, required=True)
    args = ask.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    masks = masks_by_size(args.masks, args.yardstick)
    images = defaultdict(list)
    for path in sorted(args.images.rglob("*.jpeg")):
        images[cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).shape].append(path)
    rows, used = [], set()
    for shape, paths in images.items():
        if not 0 < len(masks[shape]) <= _SAME_SIZE:
            continue
        for path in paths:
            grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            scale = _SIDE / max(shape)
            grey = cv2.resize(
                grey, tuple(round(n * scale) for n in shape[::-1]), interpolation=cv2.INTER_AREA
            )
            own = own_mask(grey, masks[shape], len(masks[shape]) == len(paths) == 1)
            lungs = None if own is None or own[0] in used else two_lungs(own[1])
            if lungs is None:
                continue
            used.add(own[0])
            cv2.imwrite(str(args.out / f"{path.stem}.png"), grey)
            cv2.imwrite(str(args.out / f"{path.stem}_lungs.png"), lungs)
            rows.append((path.stem, patient_of(path)))
    with open(args.out / "index.csv", "w", newline="", encoding="utf-8") as text:
        csv.writer(text, lineterminator="\n").writerows([("image", "patient"), *rows])
    print(f"{len(rows)} pairs")


if __name__ == "__main__":
    main()
