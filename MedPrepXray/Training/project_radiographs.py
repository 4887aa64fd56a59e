"""Compute radiographs with exact lung fields from CTs and the chest phantom, as extra pictures for training.

    python MedPrepXray/Training/project_radiographs.py --out FOLDER --chests CT --others CT

Each patient is turned a little in several ways, as people stand. Writes NAME.png, NAME_lungs.png, index.csv.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import cv2
import numpy as np
import SimpleITK as sitk

HERE = Path(__file__).resolve().parent
for folder in ("MedPrepCommon", "MedPrepCT"):
    sys.path.insert(0, str(HERE.parent.parent / folder))

from MedPrepCommonLib.core import engine  # noqa: E402
from MedPrepCommonLib.core.operation import create  # noqa: E402
from MedPrepCommonLib.core.volume import LabelVolume, Volume  # noqa: E402
from MedPrepCommonLib.files.reading import read_volume  # noqa: E402
from MedPrepCommonLib.phantoms.chest import make_chest_phantom  # noqa: E402
from MedPrepCommonLib.phantoms.projection import project_radiograph  # noqa: E402

_FINEST = 1.5  # mm: as fine as a lung field of 256 pixels needs


def patients(paths: list[Path]) -> list[tuple[str, Volume, LabelVolume]]:
    """The phantom, the phantom with arms but no metal, and each CT with the lungs that ct.lungs finds."""
    found = []
    for name, options in (("phantom", {}), ("phantom-arms", {"arms": True, "metal": False})):
        made = make_chest_phantom((120, 170, 190), (2.5, 2.0, 2.0), **options)
        found.append(
            (name, Volume(made.hu, made.ijkToRAS, modality="CT"), LabelVolume(made.labels, made.ijkToRAS))
        )
    for n, path in enumerate(paths):
        ct = read_volume(path)
        found.append((f"ct{n}", ct, engine.run(create("ct.lungs"), {"image": ct}).labels["lungs"]))
    return found


def turned(volume: Volume, angles: tuple[float, float, float], nearest: bool) -> Volume:
    """The volume turned about its middle by `angles` (degrees about left-right, front-back, head-foot)."""
    image = volume.to_sitk()
    middle = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
    turn = sitk.Euler3DTransform(middle, *np.radians(angles).tolist())
    spacing = [max(_FINEST, step) if axis < 2 else step for axis, step in enumerate(image.GetSpacing())]
    size = [round(n * a / b) for n, a, b in zip(image.GetSize(), image.GetSpacing(), spacing, strict=True)]
    how = sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear
    result = sitk.Resample(
        image, size, turn, how, image.GetOrigin(), spacing, image.GetDirection(), 0.0 if nearest else -1024.0
    )
    return (LabelVolume if nearest else Volume).from_sitk(result)


def without_lungs(others: list[Path]) -> list[tuple[str, Volume]]:
    """What must stay empty: CTs of other body parts from front and side, and a chest from the side."""
    made = make_chest_phantom((120, 170, 190), (2.5, 2.0, 2.0), arms=True)
    volumes = [("phantom-side", from_the_side(Volume(made.hu, made.ijkToRAS, modality="CT")))]
    for n, path in enumerate(others):
        ct = read_volume(path)
        volumes += [(f"other{n}", ct), (f"other{n}-side", from_the_side(ct))]
    return volumes


def from_the_side(ct: Volume) -> Volume:
    """The same voxels in a patient who has turned by 90 degrees."""
    quarter = np.eye(4)
    quarter[:2, :2] = [[0.0, -1.0], [1.0, 0.0]]
    return Volume(ct.array, quarter @ ct.ijkToRAS, modality="CT")


def pictures(name: str, ct: Volume, lungs: LabelVolume | None, poses: int, rng: np.random.Generator):
    """(picture name, grey levels, mask) in several poses."""
    for pose in range(poses):
        angles = tuple(rng.normal(0.0, (4.0, 3.0, 6.0)) if pose else np.zeros(3))
        made = project_radiograph(
            turned(ct, angles, nearest=False),
            None if lungs is None else turned(lungs, angles, nearest=True),
            pixel=_FINEST,
            photons=float(np.exp(rng.uniform(np.log(3e3), np.log(1e5)))),
            seed=pose,
        )
        grey = (made.image.array[0] >> 4).astype(np.uint8)
        mask = np.zeros(grey.shape, np.uint8)
        if made.lungs is not None:
            # Lungs may meet in a projection: two grey levels keep them apart.
            mask = np.array([0, 127, 255], np.uint8)[made.lungs.array[0]]
        yield f"{name}-{pose}", grey, mask


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--out", type=Path, required=True)
    ask.add_argument("--chests", type=Path, nargs="*", default=[], help="CTs with lungs")
    ask.add_argument("--others", type=Path, nargs="*", default=[], help="CTs without lungs, to be left empty")
    ask.add_argument("--poses", type=int, default=8, help="of each patient")
    ask.add_argument("--seed", type=int, default=7)
    args = ask.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(args.seed)
    wanted = patients(args.chests) + [(name, ct, None) for name, ct in without_lungs(args.others)]
    rows = []
    for patient, ct, lungs in wanted:
        for name, grey, mask in pictures(patient, ct, lungs, args.poses, rng):
            cv2.imwrite(str(args.out / f"{name}.png"), grey)
            cv2.imwrite(str(args.out / f"{name}_lungs.png"), mask)
            rows.append((name, patient))
            print(name, grey.shape, flush=True)
    with open(args.out / "index.csv", "w", newline="", encoding="utf-8") as text:
        csv.writer(text, lineterminator="\n").writerows([("image", "patient"), *rows])


if __name__ == "__main__":
    main()
