"""Make the pictures that are no frontal chest radiograph, for train_view.py: computed from CTs and MRIs.

    python MedPrepXray/Training/view_pictures.py --out FOLDER --chests CT ... \
        --abdomens CT ... --others CT ... --slices CT MRI ...

Chests are projected from the side in many poses (kind "lateral"), abdomens and other parts of the body from
the front and from the side, and slices of volumes are shown in windows as programs do (kind "slice").
Writes NAME.png and index.csv with the columns image, kind and patient.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), *(str(HERE.parent.parent / name) for name in ("MedPrepCommon", "MedPrepCT"))]

from project_radiographs import from_the_side, turned  # noqa: E402

from MedPrepCommonLib.core.volume import Volume  # noqa: E402
from MedPrepCommonLib.files.reading import read_volume  # noqa: E402
from MedPrepCommonLib.phantoms.chest import make_chest_phantom  # noqa: E402
from MedPrepCommonLib.phantoms.projection import project_radiograph  # noqa: E402

_PIXEL = 2.0  # mm: the classifier sees 64 pixels
_SIDE = 320  # longest side of a slice that is written


def projections(ct: Volume, poses: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Radiographs of one patient who stands a little otherwise each time."""
    for pose in range(poses):
        angles = tuple(rng.normal(0.0, (7.0, 5.0, 9.0)) if pose else np.zeros(3))
        made = project_radiograph(
            turned(ct, angles, nearest=False),
            None,
            pixel=_PIXEL,
            photons=float(np.exp(rng.uniform(np.log(3e3), np.log(1e5)))),
            seed=pose,
        )
        yield (made.image.array[0] >> 4).astype(np.uint8)


def slices(volume: Volume, count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Axial, coronal and sagittal slices in the middle three quarters, with true proportions."""
    array, spacing = volume.array.astype(np.float32), volume.spacing_kji
    for n in range(count):
        axis = n % 3
        place = int(rng.uniform(0.13, 0.87) * array.shape[axis])
        plane = np.take(array, place, axis)
        rows, columns = (spacing[other] for other in range(3) if other != axis)
        plane = plane[::-1] if axis else plane  # heads up
        if volume.modality == "CT" or array.min() < -500:
            level, width = ((-600, 1500), (40, 400), (300, 1800))[rng.integers(3)]
            low, high = level - width / 2, level + width / 2
        else:
            low, high = np.percentile(plane, (1, 99.5))
        grey = np.clip((plane - low) / max(high - low, 1e-3), 0, 1) * 255
        extent = np.array([plane.shape[0] * rows, plane.shape[1] * columns])
        size = np.maximum(np.round(extent * _SIDE / extent.max()), 8).astype(int)
        yield cv2.resize(grey, tuple(size[::-1].tolist()), interpolation=cv2.INTER_AREA).astype(np.uint8)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--out", type=Path, required=True)
    for name in ("chests", "abdomens", "others", "slices"):
        ask.add_argument(f"--{name}", type=Path, nargs="*", default=[])
    ask.add_argument("--poses", type=int, default=24)
    ask.add_argument("--seed", type=int, default=11)
    args = ask.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rng, rows = np.random.default_rng(args.seed), []

    def keep(pictures: Iterator[np.ndarray], kind: str, patient: str) -> None:
        for n, grey in enumerate(pictures):
            name = f"{patient}-{kind}-{n}"
            cv2.imwrite(str(args.out / f"{name}.png"), grey)
            rows.append((name, kind, patient))
        print(patient, kind, len(rows), flush=True)

    for arms in (True, False):
        made = make_chest_phantom((120, 170, 190), (2.5, 2.0, 2.0), arms=arms, metal=False)
        phantom = Volume(made.hu, made.ijkToRAS, modality="CT")
        keep(projections(from_the_side(phantom), args.poses, rng), "lateral", f"phantom{int(arms)}")
    for n, path in enumerate(args.chests):
        keep(projections(from_the_side(read_volume(path)), args.poses, rng), "lateral", f"chest{n}")
    for kind, paths in (("abdomen", args.abdomens), ("other", args.others)):
        for n, path in enumerate(paths):
            ct = read_volume(path)
            keep(projections(ct, args.poses, rng), kind, f"{kind}{n}")
            keep(projections(from_the_side(ct), args.poses, rng), kind, f"{kind}{n}s")
    for n, path in enumerate(args.slices):
        keep(slices(read_volume(path), 2 * args.poses, rng), "slice", f"slice{n}")
    with open(args.out / "index.csv", "w", newline="", encoding="utf-8") as text:
        csv.writer(text, lineterminator="\n").writerows([("image", "kind", "patient"), *rows])


if __name__ == "__main__":
    main()
