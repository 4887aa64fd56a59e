"""Teach the lung-field network more patients, from the weights that it has; writes ONNX.

    .venv-train/bin/python MedPrepXray/Training/refine_lung_fields.py \\
        --start MedPrepXray/Resources/Models/lung_fields.onnx --adults ../shared/data/xr/chest-lungs \\
        --children build-v7 --projected build-projected --out build-refined

The weights that are distributed hold no batch normalisation any more; neither does this training. It runs
at one rate and keeps a moving average of the weights, so it may be stopped (and is kept) at any multiple of
50 batches. Every tenth child is left out; held_out.csv lists them.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
import zlib
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent.parent / "MedPrepCommon")]

import cv2  # noqa: E402
import onnx  # noqa: E402
import torch  # noqa: E402
from lungpictures import Picture, changed, read_folder  # noqa: E402
from onnx import numpy_helper  # noqa: E402
from train_lung_fields import LungNet, export, loss_of  # noqa: E402

# Of a batch: the children are many, the adults are what most users have.
_SHARES = {"adults": 0.35, "children": 0.55, "projected": 0.1}


def weights_of(path: Path) -> LungNet:
    """The network that an ONNX file of ours holds."""
    net, stored = LungNet(folded=True), {}
    graph = onnx.load(str(path)).graph
    arrays = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    modules = [name for name, module in net.named_modules() if isinstance(module, torch.nn.Conv2d)]
    for name, node in zip(modules, convolutions, strict=True):
        stored |= {
            f"{name}.{part}": torch.from_numpy(arrays[key].copy())
            for part, key in zip(("weight", "bias"), node.input[1:], strict=True)
        }
    net.load_state_dict(stored)
    return net


def held_out(patient: str) -> bool:
    """Every tenth patient, the same at each run."""
    return zlib.crc32(patient.encode()) % 10 == 0


def refine(
    net: LungNet, groups: dict[str, list[Picture]], steps: int, seed: int, rate: float, batch: int, kept: Path
) -> LungNet:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = net.train().to(memory_format=torch.channels_last)
    average = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99)
    )
    best = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=1e-3)
    warm = torch.optim.lr_scheduler.LambdaLR(best, lambda step: min(1.0, (step + 1) / 50))
    names = [name for name in _SHARES if groups.get(name)]
    shares = np.array([_SHARES[name] for name in names])
    started, total = time.time(), 0.0
    for step in range(steps):
        chosen = [groups[name] for name in rng.choice(names, batch, p=shares / shares.sum())]
        views = [changed(pictures[rng.integers(len(pictures))], rng) for pictures in chosen]
        images = torch.from_numpy(np.stack([view[0] for view in views]))
        labels = torch.from_numpy(np.stack([view[1] for view in views]))
        loss = loss_of(net(images.contiguous(memory_format=torch.channels_last)), labels)
        best.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        best.step()
        warm.step()
        average.update_parameters(net)
        total += loss.item()
        if (step + 1) % 50 == 0:
            print(
                f"  step {step + 1}/{steps} loss {total / 50:.4f} {time.time() - started:.0f} s", flush=True
            )
            total = 0.0
            torch.save(average.module.state_dict(), kept)
    return average.module.eval()


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("start", "adults", "children", "out"):
        ask.add_argument(f"--{name}", type=Path, required=True)
    ask.add_argument("--projected", type=Path, help="made by project_radiographs.py; left out without it")
    ask.add_argument("--steps", type=int, default=1500)
    ask.add_argument("--batch", type=int, default=6)
    ask.add_argument("--rate", type=float, default=5e-4)
    ask.add_argument("--seed", type=int, default=2025)
    args = ask.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    children = read_folder(args.children)
    groups = {
        "adults": read_folder(args.adults, central=True),
        "children": [each for each in children if not held_out(each.patient)],
        "projected": read_folder(args.projected) if args.projected else [],
    }
    print({name: len(pictures) for name, pictures in groups.items()}, flush=True)
    kept = args.out / "refined.pt"
    net = refine(weights_of(args.start), groups, args.steps, args.seed, args.rate, args.batch, kept)
    export(net, args.out / "lung_fields.onnx")
    with open(args.out / "held_out.csv", "w", newline="", encoding="utf-8") as text:
        rows = ((each.name, each.patient) for each in children if held_out(each.patient))
        csv.writer(text, lineterminator="\n").writerows([("image", "patient"), *rows])


if __name__ == "__main__":
    main()
