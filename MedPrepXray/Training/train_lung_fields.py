"""Train the lung-field network, judge it by patient-wise cross-validation, and write it as ONNX.

    python -m venv .venv-train && .venv-train/bin/pip install -r MedPrepXray/Training/requirements.txt
    .venv-train/bin/python MedPrepXray/Training/train_lung_fields.py --data DATA --out build-training

DATA holds index.csv with the columns image and patient, and NAME.png with NAME_lungs.png for each row. The
masks are taken as what they are in xr/chest-lungs: drawn on the image's central square, then stretched.
What is already in `--out` is not done again: delete a fold's .json to measure it anew, its .pt to train it
anew. Same data, seed, threads and torch: the same network.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent.parent / "MedPrepCommon")]

import torch  # noqa: E402
from lungpictures import UNKNOWN, Picture, changed, dice, read_folder, split  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from MedPrepXrayLib.lungs.fields import find_lung_fields  # noqa: E402

WIDTHS = (16, 32, 64, 96, 128)
CLASSES = 3


class Block(nn.Sequential):
    """Two 3x3 convolutions with batch normalisation (which the export folds away; `folded`: without)."""

    def __init__(self, before: int, after: int, folded: bool = False) -> None:
        layers: list[nn.Module] = []
        for width in (before, after):
            layers += [
                nn.Conv2d(width, after, 3, padding=1, bias=folded),
                _norm(after, folded),
                nn.ReLU(True),
            ]
        super().__init__(*layers)


def _norm(width: int, folded: bool) -> nn.Module:
    return nn.Identity() if folded else nn.BatchNorm2d(width)


class LungNet(nn.Module):
    """A compact U-Net: a strided first layer, four reductions, skip connections, scores at half size."""

    def __init__(self, folded: bool = False) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(2, WIDTHS[0], 4, stride=2, padding=1, bias=folded),
            _norm(WIDTHS[0], folded),
            nn.ReLU(True),
        )
        downwards = zip((WIDTHS[0], *WIDTHS[:-1]), WIDTHS, strict=True)
        self.down = nn.ModuleList(Block(a, b, folded) for a, b in downwards)
        pairs = list(zip(WIDTHS[:-1], WIDTHS[1:], strict=True))[::-1]
        self.up = nn.ModuleList(Block(a + b, a, folded) for a, b in pairs)
        self.drop = nn.Dropout2d(0.15)
        self.head = nn.Conv2d(WIDTHS[0], CLASSES, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        kept = []
        for n, block in enumerate(self.down):
            x = block(x if n == 0 else functional.max_pool2d(x, 2))
            kept.append(x)
        x = self.drop(kept.pop())
        for block in self.up:
            x = block(torch.cat((functional.interpolate(x, scale_factor=2.0, mode="nearest"), kept.pop()), 1))
        return self.head(x)


def loss_of(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy plus soft Dice of either lung over the batch, at the full resolution of the square."""
    scores = functional.interpolate(scores, scale_factor=2.0, mode="bilinear", align_corners=False)
    known = (labels != UNKNOWN).unsqueeze(1)
    truth = functional.one_hot(labels, CLASSES + 1).permute(0, 3, 1, 2)[:, :CLASSES].float()
    share = scores.softmax(1) * known
    both = (share * truth).sum((0, 2, 3))[1:]
    total = (share + truth).sum((0, 2, 3))[1:]
    entropy = functional.cross_entropy(scores, labels, ignore_index=UNKNOWN)
    return entropy + (1 - (2 * both + 1) / (total + 1)).mean()


def train(
    pictures: list[Picture],
    extra: list[Picture],
    steps: int,
    seed: int,
    extra_share: float = 0.15,
    batch: int = 8,
    rate: float = 3e-3,
    half: bool = False,
) -> LungNet:
    """A network trained on `pictures`, with `extra_share` of each batch from the projected `extra`."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = LungNet().to(memory_format=torch.channels_last)
    average = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99), use_buffers=True
    )
    best = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=1e-2)
    plan = torch.optim.lr_scheduler.OneCycleLR(best, rate, total_steps=steps, pct_start=0.15)
    started, order, sum_loss = time.time(), [], 0.0
    for step in range(steps):
        chosen = []
        for _ in range(batch):
            if extra and rng.random() < extra_share:
                chosen.append(extra[rng.integers(len(extra))])
                continue
            order = order or list(rng.permutation(len(pictures)))
            chosen.append(pictures[order.pop()])
        views = [changed(picture, rng) for picture in chosen]
        images = torch.from_numpy(np.stack([v[0] for v in views])).contiguous(
            memory_format=torch.channels_last
        )
        labels = torch.from_numpy(np.stack([v[1] for v in views]))
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            scores = net(images)
        loss = loss_of(scores.float(), labels)
        best.zero_grad(set_to_none=True)
        loss.backward()
        best.step()
        plan.step()
        average.update_parameters(net)
        sum_loss += loss.item()
        if (step + 1) % 50 == 0:
            print(
                f"  step {step + 1}/{steps} loss {sum_loss / 50:.4f} {time.time() - started:.0f} s",
                flush=True,
            )
            sum_loss = 0.0
    return average.module.eval()


def measured(net: LungNet, pictures: list[Picture]) -> list[dict]:
    """Dice of each whole picture through the very code that runs in MedPrep, but for the engine."""

    def forward(tensor: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return net(torch.from_numpy(tensor)).numpy()

    rows = []
    for picture in pictures:
        known = picture.truth != UNKNOWN
        found = find_lung_fields(picture.whole, forward=forward).sides[known]
        truth = picture.truth[known]
        rows.append(
            {
                "image": picture.name,
                "patient": picture.patient,
                "dice": dice(found > 0, truth > 0),
                "diceImageLeft": dice(found == 1, truth == 1),
                "diceImageRight": dice(found == 2, truth == 2),
            }
        )
    return rows


def export(net: LungNet, path: Path) -> None:
    """Write the network for one square at a time."""
    torch.onnx.export(
        net.to(memory_format=torch.contiguous_format),
        (torch.zeros(1, 2, 256, 256),),
        str(path),
        input_names=["radiograph"],
        output_names=["scores"],
        opset_version=13,
        dynamo=False,
    )


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--data", type=Path, required=True)
    ask.add_argument("--out", type=Path, required=True)
    ask.add_argument(
        "--projected", type=Path, help="folder made by project_radiographs.py; left out without it"
    )
    ask.add_argument("--folds", type=int, default=5)
    ask.add_argument(
        "--only", type=int, nargs="*", help="folds to train, without a final model; none: only that"
    )
    ask.add_argument("--steps", type=int, default=2000, help="batches of 8 per fold")
    ask.add_argument("--final-steps", type=int, help="batches of the final model; as --steps unless given")
    ask.add_argument("--seed", type=int, default=2024)
    ask.add_argument(
        "--threads", type=int, default=1, help="of torch; more than one seldom pays on a shared machine"
    )
    ask.add_argument(
        "--bfloat16", action="store_true", help="convolve in bfloat16: twice as fast where the CPU has it"
    )
    args = ask.parse_args()
    torch.set_num_threads(args.threads)
    import cv2

    cv2.setNumThreads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    pictures = read_folder(args.data, central=True)
    extra = read_folder(args.projected) if args.projected else []
    where = split(pictures, args.folds, args.seed)
    for fold in range(args.folds) if args.only is None else args.only:
        record, weights = args.out / f"fold{fold}.json", args.out / f"fold{fold}.pt"
        if record.exists():
            continue
        print(f"fold {fold}", flush=True)
        held = [p for p in pictures if where[p.patient] == fold]
        if weights.exists():
            net = LungNet()
            net.load_state_dict(torch.load(weights))
            net.eval()
        else:
            rest = [p for p in pictures if where[p.patient] != fold]
            net = train(rest, extra, args.steps, args.seed + fold, half=args.bfloat16)
            torch.save(net.state_dict(), weights)
        rows = measured(net, held)
        for row in rows:
            print("  ", row["image"], row["dice"], flush=True)
        print("  mean", np.mean([row["dice"] for row in rows]), flush=True)
        record.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    if args.only:
        return
    if all((args.out / f"fold{fold}.json").exists() for fold in range(args.folds)):
        report(args)
    if not (args.out / "lung_fields.onnx").exists():
        print("final", flush=True)
        net = train(
            pictures, extra, args.final_steps or args.steps, args.seed + args.folds, half=args.bfloat16
        )
        torch.save(net.state_dict(), args.out / "final.pt")
        export(net, args.out / "lung_fields.onnx")


def report(args: argparse.Namespace) -> None:
    """All folds in one table."""
    rows = []
    for fold in range(args.folds):
        for row in json.loads((args.out / f"fold{fold}.json").read_text(encoding="utf-8")):
            rows.append({"fold": fold, **row})
    with open(args.out / "folds.csv", "w", newline="", encoding="utf-8") as text:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    values = [row["dice"] for row in rows]
    print(f"{len(values)} images: mean Dice {np.mean(values):.4f}, worst {min(values):.4f}", flush=True)


if __name__ == "__main__":
    main()
