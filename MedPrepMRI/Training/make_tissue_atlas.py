"""Make the map of the usual places of white matter, grey matter and CSF from the label maps of whole heads.

    python make_tissue_atlas.py LABELS OUT.npz

The brains are laid onto each other by their masks alone (as `brain/tissue.py` lays the map onto a
patient's), each also mirrored, in two rounds. Label maps: those of train_brain_mask.py. Needs numpy, scipy,
nibabel.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from scipy import ndimage

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "MedPrepCommon"), str(ROOT / "MedPrepMRI")]
from MedPrepMRILib.brain.tissue import Atlas, laid_on  # noqa: E402

SPACING, SHAPE = 3.0, (62, 76, 62)
_WHITE = (2, 41, 7, 46, 16, 28, 60, 77, 85)
_FLUID = (4, 5, 14, 15, 24, 25, 30, 43, 44, 57, 62, 72)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("labels", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    with np.load(args.labels / "heads.npz") as stored:
        values, heads = stored["values"], []
        for n in range(sum(name.startswith("labels") for name in stored.files)):
            mask = stored[f"distances{n}"][::2, ::2, ::2] < 0
            found = values[stored[f"labels{n}"][::2, ::2, ::2]]
            box = ndimage.find_objects(mask.astype(np.uint8))[0]
            heads.append((found[box], np.pad(mask[box], 0)))
    kinds = [
        np.stack([np.isin(f, _WHITE) & m, m & ~np.isin(f, _WHITE + _FLUID), np.isin(f, _FLUID) & m])
        for f, m in heads
    ]
    heads = [np.pad(k, [(0, 0)] + [(6, 6)] * 3) for k in kinds]
    heads += [h[:, ::-1] for h in heads]
    middle = (np.array(SHAPE) - 1) / 2
    grid = (
        np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1).reshape(-1, 3) - middle
    ) * SPACING
    usual = None
    for _round in range(3):
        total = np.zeros((3, *SHAPE), np.float32)
        for head in heads:
            mask = head.any(axis=0)
            if usual is None:
                matrix, shift = np.eye(3), -np.argwhere(mask).mean(axis=0) * 2.0
            else:
                matrix, shift, fit = laid_on(mask, 2.0, usual)
                print(f"{fit:.3f}", end=" ")
            index = ((grid - shift) @ np.linalg.inv(matrix).T / 2.0).T
            for n in range(3):
                soft = ndimage.gaussian_filter(head[n].astype(np.float32), 0.6)
                total[n] += ndimage.map_coordinates(soft, index, order=1).reshape(SHAPE)
        print()
        usual = Atlas(total / len(heads), SPACING)
    np.savez_compressed(args.out, shares=np.round(255 * usual.shares).astype(np.uint8), spacing=SPACING)


if __name__ == "__main__":
    main()
