"""Draw the cases on which the score of ct.nodules is trained and judged.

    python MedPrepCT/Training/draw_nodule_cases.py FOLDER [SCAN[=NODULES] ...]

Writes 48 phantoms to train on and 24 held out, every second round of them resampled to 1 mm, and of each
chest CT given four copies with nodules drawn in, as they are and at 1 mm, the last held out. NODULES is a
mask of real nodules in the scan: nothing is drawn there, and they are neither trained on nor counted. What
is already in FOLDER stays. The distributed networks saw lidc0314-2mm/ct.nii.gz (=nodule.nii.gz),
cip-ct64/ct.nrrd and lungdx-a0002-8mm-b40f/dicom (=tumour-boxes.nii.gz), in this order. About 10 s a phantom.

A case is NAME.npz with `hu` (k, j, i), `spacing` (mm, kji), `lungs` (labels of ct.lungs), `truth`, rows of
k, j, i (voxels), diameter (mm), solid (0 or 1), juxtapleural (0 or 1), and `known`, such rows of what is
neither trained on nor counted.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np

_CT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_CT), str(_CT.parent / "MedPrepCommon")]

from nodules_in_scans import draw_into  # noqa: E402

import MedPrepCTLib.operations  # noqa: E402, F401
from MedPrepCommonLib.core import engine  # noqa: E402
from MedPrepCommonLib.core.operation import create  # noqa: E402
from MedPrepCommonLib.core.volume import LabelVolume, Volume  # noqa: E402
from MedPrepCommonLib.files.reading import read_volume  # noqa: E402
from MedPrepCommonLib.geometry.orientation import orientation  # noqa: E402
from MedPrepCommonLib.phantoms.chest import ChestPhantom, Nodule, PlacedNodule, _place, make_chest_phantom  # noqa: E402
from MedPrepCommonLib.phantoms.chest_anatomy import ChestAnatomy  # noqa: E402
from MedPrepCTLib.lungs.segmentation import AIRWAY, segment_lungs  # noqa: E402
from MedPrepCTLib.operations.lungs import SEGMENTS  # noqa: E402

GRIDS = (
    ((120, 340, 340), (2.5, 1.0, 1.0)),
    ((150, 310, 310), (2.0, 1.1, 1.1)),
    ((200, 272, 272), (1.5, 1.25, 1.25)),
    ((120, 400, 400), (2.5, 0.85, 0.85)),
    ((240, 280, 280), (1.25, 1.2, 1.2)),
    ((120, 440, 440), (2.5, 0.75, 0.75)),
    ((300, 272, 272), (1.0, 1.25, 1.25)),
    ((150, 256, 256), (2.0, 1.4, 1.4)),
)
# Rounds through the grids, and the first seed.
ROUNDS = {"fit": (6, 7100), "held": (3, 8100)}
NODULES, NOISE_HU = 14, (12.0, 16.0, 22.0)
# In every second round some larger ground-glass nodules have a solid core.
PART_SOLID_SHARE, PART_SOLID_MM = 0.3, 4.0
COPIES, SCAN_SEED = 4, 300
# What shows less of itself is no nodule of its size: neither trained on nor counted.
DRAWN_SHARE = 0.5


def random_nodules(rng: np.random.Generator) -> list[Nodule]:
    """4 to 20 mm, evenly over the logarithm; a third on the pleura anywhere, a third ground glass."""
    anatomy, found, taken = ChestAnatomy(touching=False, arms=False), [], []

    def side_of(places: np.ndarray) -> np.ndarray:
        return anatomy.lung_side(places[:, 2], places[:, 1], places[:, 0])

    while len(found) < NODULES:
        side = int(rng.integers(1, 3))
        place = rng.uniform((-115, -80, 20), (110, 85, 120))
        place[2] *= -1 if side == 1 else 1
        radius = np.exp(rng.uniform(np.log(2.0), np.log(10.0)))
        pleural = rng.random() < 0.35
        if side_of(place[None])[0] != side:
            continue
        kind = "solid" if rng.random() < 0.65 else "ground-glass"
        nodule = Nodule(side, tuple(place), radius, kind, pleural)
        centre = np.array(_place(anatomy, nodule)[1])
        if not pleural:
            z, y, x = centre[:, None]
            if anatomy.pleural_depth(x, y, z)[0] > -radius - 2:
                continue
            if (side_of(centre + rng.normal(size=(80, 3)) * radius / 2) != side).any():
                continue
        if any(np.linalg.norm(centre - other) < radius + size + 8 for other, size in taken):
            continue
        found.append(nodule)
        taken.append((centre, radius))
    return found


def phantom(turn: int, grid: int, seed: int) -> dict[str, np.ndarray]:
    """One phantom with its nodules."""
    rng = np.random.default_rng(seed + 1000)
    nodules = random_nodules(rng)
    if turn % 2:
        nodules = [
            dataclasses.replace(n, kind="part-solid")
            if n.kind == "ground-glass" and n.radius_mm > PART_SOLID_MM and rng.random() < PART_SOLID_SHARE
            else n
            for n in nodules
        ]
    shape, spacing = GRIDS[grid]
    noise = NOISE_HU[(grid + turn) % len(NOISE_HU)]
    drawn = make_chest_phantom(shape, spacing, seed, nodules=nodules, noise_hu=noise)
    rows = [(*n.center_kji, 2 * n.radius_mm, n.kind == "solid", n.juxtapleural) for n in drawn.nodules]
    there = np.array([drawn_share(drawn, n) >= DRAWN_SHARE for n in drawn.nodules])
    rows = np.array(rows, float)
    case = with_lungs(drawn.hu, np.array(spacing), rows[there], rows[~there])
    return at_1_mm(case) if turn % 2 else case


def drawn_share(drawn: ChestPhantom, nodule: PlacedNodule) -> float:
    """Share of a nodule's ball that shows: not cut off with the lung's border, nor hidden in a vessel."""
    here = drawn.nodule_labels == nodule.label
    if nodule.kind != "solid":
        here &= ~drawn.vessels
    ball = 4 / 3 * np.pi * nodule.radius_mm**3
    return float(np.count_nonzero(here) * np.prod(drawn.spacing_kji) / ball)


def scan(image: str, mask: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HU and spacing (mm) of a scan, and its known nodules; (k, j, i) in anatomical order."""
    volume = read_volume(image)
    axes = orientation(volume)
    spacing = np.array(axes.reorder(volume.spacing_kji))
    known = np.zeros((0, 6))
    if mask:
        inside = np.argwhere(axes.view(read_volume(mask, labels=True).array))
        diameter = np.cbrt(6 * len(inside) * np.prod(spacing) / np.pi)
        known = np.array([[*inside.mean(axis=0), diameter, 1, 0]])
    return np.ascontiguousarray(axes.view(volume.array)), spacing, known


def with_lungs(
    hu: np.ndarray, spacing: np.ndarray, truth: np.ndarray, known: np.ndarray
) -> dict[str, np.ndarray]:
    """A case, with the labels of ct.lungs."""
    lungs = segment_lungs(hu, spacing)
    return {"hu": hu, "spacing": spacing, "lungs": lungs, "truth": truth, "known": known}


def at_1_mm(case: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The case resampled as recipe luna16 does before it looks for nodules."""
    old = np.diag([*case["spacing"][::-1], 1.0])
    image = Volume(case["hu"], old, modality="CT")
    lungs = LabelVolume(case["lungs"], old, modality="CT", segments=SEGMENTS)
    fine = engine.run(create("resample", "isotropic"), {"image": image, "labels": (lungs,)})
    new = fine.images["image"]

    def moved(rows: np.ndarray) -> np.ndarray:
        there = np.column_stack([rows[:, 2::-1], np.ones(len(rows))])
        there = (np.linalg.inv(new.ijkToRAS) @ old @ there.T)[2::-1].T
        return np.column_stack([there, rows[:, 3:]])

    return {
        "hu": new.array,
        "spacing": np.array(new.spacing_kji),
        "lungs": next(iter(fine.labels.values())).array,
        "truth": moved(case["truth"]),
        "known": moved(case["known"]),
    }


def save(path: Path, case: dict[str, np.ndarray]) -> None:
    """Write a case; whole or not at all."""
    unfinished = path.with_suffix(".part.npz")
    np.savez(unfinished, **case)
    unfinished.replace(path)
    print(path.stem, flush=True)


def draw(folder: Path, scans: list[str]) -> None:
    """All cases that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind, (rounds, first) in ROUNDS.items():
        for turn, grid in np.ndindex(rounds, len(GRIDS)):
            n = turn * len(GRIDS) + grid
            path = folder / f"{kind}-phantom-{n:02d}.npz"
            if not path.exists():
                save(path, phantom(turn, grid, first + n))
    for number, given in enumerate(scans):
        image, _, mask = given.partition("=")
        hu, spacing, known = scan(image, mask)
        lungs = segment_lungs(hu, spacing)
        smallest = max(4.0, 1.5 * spacing.max())
        for copy in range(COPIES):
            path = folder / f"{'held' if copy == COPIES - 1 else 'fit'}-scan-{number}{copy}.npz"
            fine = path.with_stem(path.stem + "-1mm")
            if path.exists() and fine.exists():
                continue
            rng = np.random.default_rng(SCAN_SEED + copy)
            inside = (lungs > 0) & (lungs != AIRWAY)
            drawn, truth = draw_into(hu, inside, spacing, rng, NODULES, (smallest, 20.0), known)
            case = with_lungs(drawn, spacing, truth, known)
            save(path, case)
            save(fine, at_1_mm(case))


if __name__ == "__main__":
    draw(Path(sys.argv[1]), sys.argv[2:])
