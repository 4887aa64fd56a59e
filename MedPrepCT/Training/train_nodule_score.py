"""Train the networks of MedPrepCTLib/nodules/score.py, and measure sensitivity against false candidates.

    python -m venv .venv-train && .venv-train/bin/pip install torch==2.13.0 numpy scipy SimpleITK
    .venv-train/bin/python MedPrepCT/Training/train_nodule_score.py FOLDER [--save]

Trains on the fit-* of FOLDER (see draw_nodule_cases.py) and prints the curves of the held-*; with --save
writes MedPrepCTLib/models/nodule_score.npz. What was measured of a case is kept beside it: delete the
*.measured.npz after a change to what is measured. One thread; the same cases, torch and machine give the same
networks.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np

_CT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_CT), str(_CT.parent / "MedPrepCommon")]

import torch  # noqa: E402

from MedPrepCommonLib.core.job import Job  # noqa: E402
from MedPrepCTLib.lungs.segmentation import AIRWAY  # noqa: E402
from MedPrepCTLib.nodules.blobs import find_blobs  # noqa: E402
from MedPrepCTLib.nodules.candidates import of_a_size  # noqa: E402
from MedPrepCTLib.nodules.juxtapleural import lung_field  # noqa: E402
from MedPrepCTLib.nodules.score import FARTHEST, MODEL, Networks, features  # noqa: E402
from MedPrepCTLib.nodules.shape import Probe, feel_out  # noqa: E402

CLOSING_MM, DIAMETERS_MM = 10.0, (3.0, 40.0)
HIDDEN, NETWORKS, EPOCHS, BATCH = (32, 16), 4, 60, 512
RATE, DECAY, DROPOUT, JITTER = 8e-3, 1e-3, 0.1, 0.1
WEIGHT_OF_A_NODULE = 4.0
FALSE_PER_SCAN = (1, 2, 3, 4, 8)
# The default limit, in false candidates on these phantoms; ordinary ones show fewer.
DEFAULT_FALSE = 3


def measured(path: Path) -> dict[str, np.ndarray]:
    """Features of every seed of a case, and which seeds are nodules: 1, no nodule: 0, neither: -1."""
    kept = path.with_suffix(".measured.npz")
    if not kept.exists():
        np.savez(kept, **_measure(path))
    with np.load(kept) as stored:
        return {"name": path.stem, **stored}


def _measure(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as case:
        hu, spacing, lungs = case["hu"], case["spacing"], case["lungs"]
        truth, known = case["truth"], case["known"]
    field = lung_field(hu, lungs, (AIRWAY,), spacing, CLOSING_MM, Job.quiet())
    seeds = find_blobs(field, DIAMETERS_MM)
    shapes = feel_out(Probe(field, Job.quiet()), seeds, 0.5)
    table = features(shapes, seeds, field.spacing_kji, field.lung_hu)

    def radii_away(rows: np.ndarray) -> np.ndarray:
        """(seeds, nodules + 1) distances in radii of the nodule; the last column stands for none."""
        away = shapes.centre[:, None] - ((rows[:, :3] - field.start) * spacing)[None]
        far = np.full((len(shapes), 1), 1e9)
        return np.hstack([np.linalg.norm(away, axis=2) / (rows[:, 3] / 2), far])

    away, away_known = radii_away(truth), radii_away(known)
    nearest, closest = np.argmin(away, axis=1), away.min(axis=1)
    share = shapes.diameter / np.append(truth[:, 3], 1.0)[nearest]
    y = np.where((closest < 1) & (share > 0.5) & (share < 2), 1, np.where(closest < 1.6, -1, 0))
    y[(y == 0) & (away_known.min(axis=1) < 1.6)] = -1
    weight = np.ones(len(shapes))
    for n in range(len(truth)):
        mine = (y == 1) & (nearest == n)
        weight[mine] = WEIGHT_OF_A_NODULE / max(1, mine.sum())
    return {
        "names": np.array(list(table)),
        "x": np.column_stack(list(table.values())),
        "y": y,
        "weight": weight,
        "away": np.hstack([away[:, :-1], away_known[:, :-1]]),
        "sizes": truth[:, 3],
        "centre": shapes.centre,
        "diameter": shapes.diameter,
        "fits": of_a_size(shapes, field.spacing_kji, DIAMETERS_MM),
    }


def train(x: np.ndarray, y: np.ndarray, weight: np.ndarray, seed: int) -> list[np.ndarray]:
    """Weights and biases, layer by layer, of one network on standardized measures."""
    torch.manual_seed(seed)
    sizes = (x.shape[1], *HIDDEN)
    layers: list[torch.nn.Module] = []
    for before, after in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [torch.nn.Linear(before, after), torch.nn.Tanh(), torch.nn.Dropout(DROPOUT)]
    net = torch.nn.Sequential(*layers, torch.nn.Linear(sizes[-1], 1))
    inputs, truth, weights = (torch.tensor(a, dtype=torch.float32) for a in (x, y, weight))
    best = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
    steps = EPOCHS * -(-len(x) // BATCH)
    plan = torch.optim.lr_scheduler.OneCycleLR(best, RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(inputs)).split(BATCH):
            jitter = JITTER * torch.randn(len(chosen), x.shape[1])
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                net(inputs[chosen] + jitter)[:, 0], truth[chosen], weights[chosen]
            )
            best.zero_grad()
            loss.backward()
            best.step()
            plan.step()
    found = [p.detach().numpy() for p in net.parameters()]
    return [p.T if p.ndim == 2 else p for p in found]


def hits_and_others(case: dict[str, np.ndarray], points: np.ndarray) -> tuple[list[float], np.ndarray]:
    """The best output inside each nodule, and the outputs far from all; as the operation merges them."""
    alive, kept = case["fits"].copy(), []
    for n in np.argsort(-points):
        if alive[n]:
            kept.append(n)
            gap = np.linalg.norm(case["centre"] - case["centre"][n], axis=1)
            alive &= gap >= np.maximum(case["diameter"], case["diameter"][n]) / 2
    away = case["away"][kept]
    hits = [points[kept][column < 1].max(initial=-99.0) for column in away.T[: len(case["sizes"])]]
    return hits, points[kept][(away > 1.6).all(axis=1)]


def judge(title: str, cases: list[dict], model: Networks) -> dict[int, float]:
    """Print sensitivity at some numbers of false candidates a scan; the limits, by that number.

    The nodules' sizes are even over the logarithm: half are below 9 mm. Weighted by their size, they count as
    if even over millimetres.
    """
    pairs = [
        hits_and_others(case, model(dict(zip(case["names"].tolist(), case["x"].T, strict=True))))
        for case in cases
    ]
    hits = np.concatenate([np.array(p[0]) for p in pairs])
    others = np.sort(np.concatenate([p[1] for p in pairs]))[::-1]
    sizes = np.concatenate([case["sizes"] for case in cases])
    limits = {count: float(others[count * len(cases)]) for count in FALSE_PER_SCAN}
    print(f"{title}: {len(hits)} nodules in {len(cases)} scans, {(hits > -99).mean():.3f} looked at")
    for count, limit in limits.items():
        found = hits > limit
        print(
            f"  {count} false candidates a scan: sensitivity {found.mean():.3f}, "
            f"weighted by size {np.average(found, weights=sizes):.3f}, limit {limit:.3f}"
        )
    return limits


def main(folder: Path, save: bool) -> None:
    torch.set_num_threads(1)
    paths = [path for path in sorted(folder.glob("*.npz")) if path.stem.count(".") == 0]
    cases = [measured(path) for path in paths]
    own = [case for case in cases if case["name"].startswith("fit")]
    x, y, weight = (np.concatenate([case[key] for case in own]) for key in ("x", "y", "weight"))
    clear = y >= 0
    x, y, weight = x[clear], y[clear], weight[clear]
    mean, deviation = x.mean(axis=0), x.std(axis=0) + 1e-9
    z = np.clip((x - mean) / deviation, -FARTHEST, FARTHEST)
    print(f"training on {len(own)} scans, {len(x)} places, {y.sum()} of them nodules", flush=True)
    layers = [np.stack(p) for p in zip(*(train(z, y, weight, seed) for seed in range(NETWORKS)), strict=True)]
    names = tuple(cases[0]["names"].tolist())
    model = Networks(names, mean, deviation, tuple(layers[::2]), tuple(layers[1::2]), 0.0)
    limits = judge("held phantoms", [c for c in cases if c["name"].startswith("held-phantom")], model)
    scans = [c for c in cases if c["name"].startswith("held-scan")]
    if scans:
        judge("held scans", scans, model)
    if save:
        MODEL.parent.mkdir(parents=True, exist_ok=True)
        dataclasses.replace(model, limit=limits[DEFAULT_FALSE]).save(MODEL)


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--save" in sys.argv[2:])
