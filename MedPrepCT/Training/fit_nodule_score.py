"""Fit the weights of MedPrepCTLib/nodulescore.py, and measure sensitivity against false candidates.

    python fit_nodule_score.py draw FOLDER     draw the phantoms (fit-*.npz and held-*.npz)
    python fit_nodule_score.py fit FOLDER      fit on all but held-*, print the curve of held-* and the tables

A case is an .npz with `hu` (k, j, i), `sp` (mm, kji), `lab` (labels of ct.lungs) and `truth`, rows of
k, j, i (voxels), diameter (mm), solid (0 or 1), juxtapleural (0 or 1). Real scans with nodules drawn into
them may lie in the same folder. Needs numpy and scipy only.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

_CT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_CT), str(_CT.parent / "MedPrepCommon")]

from MedPrepCommonLib.chestanatomy import ChestAnatomy  # noqa: E402
from MedPrepCommonLib.chestphantom import Nodule, _place, make_chest_phantom  # noqa: E402
from MedPrepCommonLib.job import Job  # noqa: E402
from MedPrepCTLib.blobs import find_blobs  # noqa: E402
from MedPrepCTLib.juxtapleural import lung_field  # noqa: E402
from MedPrepCTLib.lungs import AIRWAY, segment_lungs  # noqa: E402
from MedPrepCTLib.nodulescore import features  # noqa: E402
from MedPrepCTLib.noduleshape import Probe, feel_out  # noqa: E402

GRIDS = (
    ((120, 340, 340), (2.5, 1.0, 1.0)),
    ((150, 310, 310), (2.0, 1.1, 1.1)),
    ((200, 272, 272), (1.5, 1.25, 1.25)),
    ((120, 400, 400), (2.5, 0.85, 0.85)),
    ((240, 280, 280), (1.25, 1.2, 1.2)),
    ((120, 440, 440), (2.5, 0.75, 0.75)),
    ((300, 272, 272), (1.0, 1.25, 1.25)),
)
NODULES, NOISE_HU = 14, (12.0, 16.0, 22.0)
# Measures whose effect depends on one another.
PAIRED = ("pleural", "contrast", "size", "elongation", "beside", "glass_size", "border")
RIDGE, FARTHEST, WEIGHT_OF_A_NODULE = 20.0, 4.0, 4.0
FALSE_PER_SCAN = (1, 2, 4, 8)
# These phantoms are hard; on ordinary ones a limit this much higher leaves four false candidates or fewer.
STRICTER = 1.1


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


def draw(folder: Path) -> None:
    """The phantoms of the fit and those held out, with the lungs as ct.lungs finds them."""
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(2 * len(GRIDS)):
        kind, seed = ("fit", 7000 + n) if n % 2 == 0 else ("held", 8000 + n)
        shape, spacing = GRIDS[n // 2]
        nodules = random_nodules(np.random.default_rng(seed + 1000))
        drawn = make_chest_phantom(shape, spacing, seed, nodules=nodules, noise_hu=NOISE_HU[n % 3])
        truth = [(*p.center_kji, 2 * p.radius_mm, p.kind == "solid", p.juxtapleural) for p in drawn.nodules]
        lab = segment_lungs(drawn.hu, spacing)
        np.savez(
            folder / f"{kind}-{n:02d}.npz", hu=drawn.hu, sp=spacing, truth=np.array(truth, float), lab=lab
        )
        print(kind, n, flush=True)


def measured(path: Path) -> dict:
    """Features of every seed of a case, and which seeds are nodules: 1, no nodule: 0, neither: -1."""
    with np.load(path) as case:
        hu, spacing, truth, lab = case["hu"], case["sp"], case["truth"], case["lab"]
    field = lung_field(hu, (lab > 0) & (lab != AIRWAY), lab == AIRWAY, spacing, 8.0, Job.quiet())
    seeds = find_blobs(field, (3.0, 40.0))
    shapes = feel_out(Probe(field, Job.quiet()), seeds, 0.5)
    table = features(shapes, seeds, field.spacing_kji, field.lung_hu)
    centres, radii = (truth[:, :3] - field.start) * spacing, truth[:, 3] / 2
    away = np.linalg.norm(shapes.centre[:, None] - centres[None], axis=2) / radii
    away = np.column_stack([away, np.full(len(shapes), 1e9)])
    nearest = np.argmin(away, axis=1)
    share = shapes.diameter / (2 * np.append(radii, 1.0)[nearest])
    closest = away.min(axis=1)
    is_nodule = np.where((closest < 1) & (share > 0.5) & (share < 2), 1, np.where(closest < 1.6, -1, 0))
    weight = np.ones(len(shapes))
    for n in range(len(truth)):
        mine = (is_nodule == 1) & (nearest == n)
        weight[mine] = WEIGHT_OF_A_NODULE / max(1, mine.sum())
    least = max(2.1, 1.5 * float(np.cbrt(np.prod(spacing))))
    return {
        "name": path.stem,
        "names": list(table),
        "x": np.column_stack(list(table.values())),
        "y": is_nodule,
        "weight": weight,
        "away": away[:, :-1],
        "centre": shapes.centre,
        "diameter": shapes.diameter,
        "fits": (shapes.diameter > least) & (shapes.diameter < 56),
    }


def expanded(x: np.ndarray, mean: np.ndarray, deviation: np.ndarray, names: list[str]) -> np.ndarray:
    """1, the standardized features, and the products of the paired ones."""
    z = np.clip((x - mean) / deviation, -FARTHEST, FARTHEST)
    at = [names.index(name) for name in PAIRED]
    products = [z[:, a] * z[:, b] for n, a in enumerate(at) for b in at[n:]]
    return np.column_stack([np.ones(len(z)), z, *products])


def logistic(a: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weights of a ridge logistic regression, by Newton's method; the constant is not shrunk."""
    shrink = np.full(a.shape[1], RIDGE)
    shrink[0] = 0.0
    found = np.zeros(a.shape[1])
    for _ in range(40):
        p = 1 / (1 + np.exp(-np.clip(a @ found, -30, 30)))
        hessian = (a * (weight * p * (1 - p))[:, None]).T @ a + np.diag(shrink)
        step = np.linalg.solve(hessian, a.T @ (weight * (y - p)) - shrink * found)
        found += step
        if np.abs(step).max() < 1e-6:
            break
    return found


def hits_and_others(case: dict, points: np.ndarray) -> tuple[list[float], np.ndarray]:
    """The best score inside each nodule, and the scores far from all; as the operation merges them."""
    alive, kept = case["fits"].copy(), []
    for n in np.argsort(-points):
        if alive[n]:
            kept.append(n)
            gap = np.linalg.norm(case["centre"] - case["centre"][n], axis=1)
            alive &= gap >= np.maximum(case["diameter"], case["diameter"][n]) / 2
    away = case["away"][kept]
    hits = [points[kept][column < 1].max(initial=-99.0) for column in away.T]
    return hits, points[kept][(away > 1.6).all(axis=1)]


def fit(folder: Path) -> None:
    """Fit on what is not held out; print the curve on what is, and the tables of the score."""
    cases = [measured(path) for path in sorted(folder.glob("*.npz"))]
    names = cases[0]["names"]
    own = [case for case in cases if not case["name"].startswith("held")]
    x, y, weight = (np.concatenate([case[key] for case in own]) for key in ("x", "y", "weight"))
    known = y >= 0
    x, y, weight = x[known], y[known], weight[known]
    mean, deviation = x.mean(axis=0), x.std(axis=0) + 1e-9
    found = logistic(expanded(x, mean, deviation, names), y, weight)
    held = [case for case in cases if case["name"].startswith("held")]
    pairs = [hits_and_others(case, expanded(case["x"], mean, deviation, names) @ found) for case in held]
    hits = np.concatenate([np.array(p[0]) for p in pairs])
    others = np.sort(np.concatenate([p[1] for p in pairs]))[::-1]
    limits = {count: others[count * len(held)] for count in FALSE_PER_SCAN}
    for count, limit in limits.items():
        print(f"{count} false candidates a scan: sensitivity {(hits > limit).mean():.3f} of {len(hits)}")
    print(f"_CONSTANT = {found[0] - limits[4] - STRICTER:.4f}")
    for n, name in enumerate(names):
        print(f'    "{name}": ({mean[n]:.4f}, {deviation[n]:.4f}, {found[1 + n]:.4f}),')
    products = [(a, b) for n, a in enumerate(PAIRED) for b in PAIRED[n:]]
    for n, (a, b) in enumerate(products):
        print(f'    ("{a}", "{b}"): {found[1 + len(names) + n]:.4f},')


if __name__ == "__main__":
    {"draw": draw, "fit": fit}[sys.argv[1]](Path(sys.argv[2]))
