"""Train the small network that tells frontal chests, upright, turned or mirrored, from everything else.

    .venv-train/bin/python MedPrepXray/Training/train_view.py \\
        --adults ../shared/data/xr/chest-lungs --children build-v7 --projected build-projected \\
        --pictures build-views --out build-view

The other folders are those of refine_lung_fields.py; `--pictures` is that of view_pictures.py. Of limbs
there are no radiographs with a free licence at hand: they are drawn. Every tenth child is left out and
measured at the end. Writes view.npz.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent.parent / "MedPrepCommon")]

import cv2  # noqa: E402
import torch  # noqa: E402
from lungpictures import Picture, changed, picture, read_folder  # noqa: E402
from refine_lung_fields import held_out  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from MedPrepXrayLib.view.network import CLASSES, OTHERS, PLACEMENTS, SIDE, shrunk  # noqa: E402

WIDTHS = (16, 32, 48, 64)
_HIDDEN = 64
# What a view is drawn from.
_SHARES = {"frontal": 0.5, "lateral": 0.16, "limb": 0.09, "abdomen": 0.07, "other": 0.09, "slice": 0.09}


class ViewNet(nn.Module):
    """Four convolutions, each followed by a reduction; what they see in each quarter decides."""

    def __init__(self) -> None:
        super().__init__()
        pairs = zip((2, *WIDTHS[:-1]), WIDTHS, strict=True)
        self.kernels = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairs)
        self.hidden = nn.Linear(4 * WIDTHS[-1], _HIDDEN)
        self.last = nn.Linear(_HIDDEN, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for kernel in self.kernels:
            x = functional.max_pool2d(functional.relu(kernel(x)), 2)
        x = functional.dropout(functional.avg_pool2d(x, 2).flatten(1), 0.2, self.training)
        return self.last(functional.relu(self.hidden(x)))

    def arrays(self) -> dict[str, np.ndarray]:
        """As MedPrepXrayLib.view.network wants them."""
        found = {}
        for n, kernel in enumerate(self.kernels):
            found |= {f"kernel{n}": kernel.weight, f"bias{n}": kernel.bias}
        for name in ("hidden", "last"):
            layer = getattr(self, name)
            found |= {name: layer.weight, f"{name}Bias": layer.bias}
        return {name: value.detach().numpy().astype(np.float16) for name, value in found.items()}


def without_labels(name: str, grey: np.ndarray) -> Picture:
    return picture(name, name, grey, np.zeros(grey.shape, np.uint8))


def others(folder: Path) -> dict[str, list[Picture]]:
    """The pictures of view_pictures.py by class."""
    found: dict[str, list[Picture]] = {name: [] for name in OTHERS}
    with open(folder / "index.csv", newline="", encoding="utf-8") as text:
        for row in csv.DictReader(text):
            made = without_labels(
                row["image"], cv2.imread(str(folder / f"{row['image']}.png"), cv2.IMREAD_GRAYSCALE)
            )
            found[row["kind"]].append(made)
    return found


def cut_beside(source: Picture, rng: np.random.Generator) -> Picture | None:
    """A part of a chest radiograph that shows next to no lung: a shoulder, an arm, a neck, an abdomen."""
    rows, columns = source.grey.shape
    for _ in range(12):
        height, width = (int(n * rng.uniform(0.25, 0.6)) for n in (rows, columns))
        top, left = rng.integers(rows - height), rng.integers(columns - width)
        where = np.s_[top : top + height, left : left + width]
        if np.mean(source.labels[where] > 0) < 0.1 and source.grey[where].std() > 0.05:
            return without_labels("cut", source.grey[where])
    return None


def drawn_limb(rng: np.random.Generator) -> Picture:
    """One to five shafts of soft tissue around bones with a dense rim, side by side or fanned out."""
    size = 200
    y, x = np.mgrid[:size, :size].astype(np.float32)
    tissue, bone = np.zeros((2, size, size), np.float32)
    count = int(rng.choice((1, 1, 2, 4, 5)))
    base, lean = rng.uniform(-0.3, 0.3) * size, rng.normal(0, 0.25)
    width = size * rng.uniform(0.16, 0.45) / np.sqrt(count)
    for n in range(count):
        angle = lean + (n - (count - 1) / 2) * rng.uniform(0.05, 0.3)
        across = (x - size / 2 - base * 0.3) * np.cos(angle) + (y - size) * np.sin(angle)
        across -= (n - (count - 1) / 2) * width * rng.uniform(0.9, 1.2)
        along = (size - y) * np.cos(angle) + (x - size / 2) * np.sin(angle)
        half = width / 2 * (1 + 0.25 * np.sin(along / size * rng.uniform(2, 7) + rng.uniform(0, 6)))
        end = size * rng.uniform(0.7, 1.3)
        shape = np.clip(1 - (across / half) ** 2, 0, 1) * (along < end)
        tissue = np.maximum(tissue, np.sqrt(shape))
        for offset in (-0.35, 0.35) if count < 3 and rng.random() < 0.4 else (0.0,):
            thick = half * rng.uniform(0.25, 0.5) * (1 + 0.5 * np.cos(along / size * rng.uniform(6, 20)) ** 6)
            where = np.abs(across - offset * half) / thick
            bone = np.maximum(bone, (0.5 + 0.5 * (where > 0.6)) * (where < 1) * (along < 0.95 * end))
    grey = 0.35 * tissue + rng.uniform(0.1, 0.6) * bone + 0.02 * rng.standard_normal((size, size))
    grey = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), rng.uniform(0.6, 2.0))
    cropped = grey[: int(size * rng.uniform(0.6, 1)), : int(size * rng.uniform(0.6, 1))]
    return without_labels("limb", np.rot90(cropped, rng.integers(4)).copy())


def plain(rng: np.random.Generator) -> Picture:
    """No patient at all: noise, a wedge, bars, a drawing."""
    size = 160
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    kind = rng.integers(4)
    if kind == 0:
        grey = cv2.resize(rng.random((rng.integers(2, 40),) * 2).astype(np.float32), (size, size))
    elif kind == 1:
        grey = x * rng.normal() + y * rng.normal()
    elif kind == 2:
        grey = np.sign(np.sin(x * rng.uniform(5, 60)) * np.sin(y * rng.uniform(5, 60)))
    else:
        grey = np.ones((size, size), np.float32)
        for _ in range(rng.integers(2, 9)):
            place = tuple(int(v) for v in rng.integers(0, size, 2))
            cv2.circle(grey, place, int(rng.integers(5, 60)), float(rng.random()), int(rng.integers(1, 9)))
    return without_labels("plain", grey.astype(np.float32))


def view(kind: str, frontal: list[list[Picture]], rest: dict[str, list[Picture]], rng: np.random.Generator):
    """((2, SIDE, SIDE), class) of one random view; None where that shows too little."""
    if kind == "frontal":
        group = frontal[rng.choice(len(frontal), p=(0.35, 0.57, 0.08))]
        seen, labels = changed(group[rng.integers(len(group))], rng, mirrored=0.0)
        if np.mean((labels == 1) | (labels == 2)) < 0.05:
            return None
        place = int(rng.integers(1, 8)) if rng.random() < 0.6 else 0
        turns, mirrored = PLACEMENTS[place]
        small = shrunk(seen)
        small = small[:, :, ::-1] if mirrored else small
        return np.rot90(small, turns, (1, 2)).copy(), place
    made = None
    if kind == "limb":
        made = drawn_limb(rng)
    elif kind == "other":
        chance = rng.random()
        source = frontal[rng.integers(2)]
        made = plain(rng) if chance < 0.25 else cut_beside(source[rng.integers(len(source))], rng)
        if chance > 0.7 and rest["other"]:
            made = rest["other"][rng.integers(len(rest["other"]))]
    else:
        made = rest[kind][rng.integers(len(rest[kind]))]
    if made is None:
        return None
    small = shrunk(changed(made, rng)[0])
    turns = rng.integers(4) if rng.random() < 0.3 else 0
    return np.rot90(small, turns, (1, 2)).copy(), len(PLACEMENTS) + OTHERS.index(kind)


def views(count: int, frontal, rest, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    images, classes = [], []
    while len(images) < count:
        made = view(rng.choice(list(_SHARES), p=list(_SHARES.values())), frontal, rest, rng)
        if made is not None and np.abs(made[0]).max() > 0:
            images.append(made[0])
            classes.append(made[1])
        if len(images) % 500 == 0 and made is not None:
            print(f"  {len(images)} views", flush=True)
    return torch.from_numpy(np.stack(images)), torch.tensor(classes)


def jittered(images: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Shifted by some pixels, brighter or darker, flatter or steeper."""
    shift = torch.randint(-4, 5, (2,), generator=rng).tolist()
    images = torch.roll(images, shift, (2, 3))
    gain = 1 + 0.3 * torch.randn(len(images), 2, 1, 1, generator=rng)
    return images * gain + 0.1 * torch.randn(images.shape, generator=rng)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("adults", "children", "projected", "pictures", "out"):
        ask.add_argument(f"--{name}", type=Path, required=True)
    ask.add_argument("--views", type=int, default=6000)
    ask.add_argument("--steps", type=int, default=4000)
    ask.add_argument("--seed", type=int, default=3)
    args = ask.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(args.seed)
    children = read_folder(args.children)
    projected = [each for each in read_folder(args.projected) if each.labels.any()]
    seen = [each for each in children if not held_out(each.patient)]
    frontal, rest = [read_folder(args.adults, central=True), seen, projected], others(args.pictures)
    images, classes = views(args.views, frontal, rest, rng)
    net, mixed = ViewNet().train(), torch.Generator().manual_seed(args.seed)
    average = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995)
    )
    best = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-2)
    plan = torch.optim.lr_scheduler.OneCycleLR(best, 2e-3, total_steps=args.steps, pct_start=0.1)
    started, total = time.time(), 0.0
    for step in range(args.steps):
        chosen = torch.randint(len(images), (32,), generator=mixed)
        scores = net(jittered(images[chosen], mixed))
        loss = functional.cross_entropy(scores, classes[chosen], label_smoothing=0.02)
        best.zero_grad(set_to_none=True)
        loss.backward()
        best.step()
        plan.step()
        average.update_parameters(net)
        total += loss.item()
        if (step + 1) % 500 == 0:
            print(f"  step {step + 1} loss {total / 500:.4f} {time.time() - started:.0f} s", flush=True)
            total = 0.0
            np.savez_compressed(args.out / "view.npz", **average.module.arrays())
    held = [each for each in children if held_out(each.patient)]
    images, classes = views(600, [held, held, held], rest, rng)
    with torch.no_grad():
        found = average.module.eval()(images).argmax(1)
    count = len(PLACEMENTS)
    chests = classes < count
    print("frontal or not:", ((found < count) == chests).float().mean().item())
    print(
        "placement of children not seen:",
        (found == classes)[chests].float().mean().item(),
        f"of {SIDE} pixels",
    )


if __name__ == "__main__":
    main()
