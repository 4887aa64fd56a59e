"""Train the network of `mri.brainMask` on images of any contrast, drawn from label maps of whole heads.

No image of a patient is used: each step draws a head (one of 20 label maps, bent, turned, scaled), gives
every tissue an intensity (random, or like T1, T2, PD, FLAIR or b0), and adds what scanners add: thick
slices, blur, noise, bias, a short field of view, blanked background, tumours and resections. After Hoopes
et al., SynthStrip, NeuroImage 260:119474, 2022. Label maps:
SynthSeg's 20 training maps (Billot et al., Apache-2.0;
labels below 500 are brain and CSF, above 500 the rest of the head), as `*.nii.gz` in one folder.

    python train_brain_mask.py LABELS OUT [--minutes 60] [--seed 1]

Writes OUT/brainmask.npz (float16 weights, what the operation reads) and OUT/checkpoint.pt every five
minutes, and goes on from that checkpoint when it is there. One thread: 0.3 s of processor time an image.
Needs torch, nibabel, scipy: requirements.txt.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from synthetic_heads import Heads, draw
from torch import nn
from torch.nn import functional

# Channels at 6, 12, 24 and 48 mm; the image comes in blocks of 2 x 2 x 2 voxels of 3 mm.
CHANNELS = (16, 24, 48, 64)
_SLOPE = 0.1
_RATE = 2e-3
# Two images a step: alone, an image takes torch's slow convolutions.
_AT_ONCE = 2


class Block(nn.Module):
    """Convolutions, each normalised over the image."""

    def __init__(self, given: int, made: int, count: int) -> None:
        super().__init__()
        sizes = (given, *(made,) * count)
        self.parts = nn.ModuleList(
            nn.Conv3d(a, b, 3, padding=1) for a, b in zip(sizes, sizes[1:], strict=False)
        )
        self.norms = nn.ModuleList(nn.InstanceNorm3d(made, affine=True) for _n in range(count))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for part, norm in zip(self.parts, self.norms, strict=True):
            x = functional.leaky_relu(norm(part(x)), _SLOPE)
        return x


class Net(nn.Module):
    """A U-Net; its channels at 6 mm are unfolded to logits at 3 mm."""

    def __init__(self) -> None:
        super().__init__()
        c = CHANNELS
        self.down = nn.ModuleList(
            Block(a, b, min(2, n + 1)) for n, (a, b) in enumerate(zip((8, *c[:-1]), c, strict=True))
        )
        self.narrow = nn.ModuleList(nn.Conv3d(b, a // 2, 1) for a, b in zip(c, c[1:], strict=False))
        self.up = nn.ModuleList(Block(a + a // 2, a, min(2, n + 1)) for n, a in enumerate(c[:-1]))
        self.last = nn.Conv3d(c[0], 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, skipped = folded(x), []
        for n, block in enumerate(self.down):
            x = block(functional.max_pool3d(x, 2) if n else x)
            skipped.append(x)
        for n in reversed(range(len(self.up))):
            x = functional.interpolate(self.narrow[n](x), scale_factor=2, mode="nearest")
            x = self.up[n](torch.cat([x, skipped[n]], 1))
        return unfolded(self.last(x))


def folded(x: torch.Tensor) -> torch.Tensor:
    """(n, 1, 2i, 2j, 2k) as (n, 8, i, j, k)."""
    n, _c, i, j, k = x.shape
    x = x.reshape(n, i // 2, 2, j // 2, 2, k // 2, 2)
    return x.permute(0, 2, 4, 6, 1, 3, 5).reshape(n, 8, i // 2, j // 2, k // 2)


def unfolded(x: torch.Tensor) -> torch.Tensor:
    n, _c, i, j, k = x.shape
    x = x.reshape(n, 2, 2, 2, i, j, k).permute(0, 4, 1, 5, 2, 6, 3)
    return x.reshape(n, 1, 2 * i, 2 * j, 2 * k)


def loss_of(
    logits: torch.Tensor, distance: torch.Tensor, seen: torch.Tensor
) -> tuple[torch.Tensor, list[float]]:
    """Cross-entropy and overlap with the soft mask that the signed distance (mm, negative inside) gives."""
    target = (0.5 - distance / 3.0).clamp(0, 1)
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    # The border matters; what is far from it must only not be wrong.
    weight = (1.0 + 3.0 * (distance.abs() < 6)) * seen
    entropy = (entropy * weight).sum() / weight.sum()
    found = torch.sigmoid(logits) * seen
    target = target * seen
    axes = (1, 2, 3, 4)
    overlap = (2 * (found * target).sum(axes) + 100) / (found.sum(axes) + target.sum(axes) + 100)
    with torch.no_grad():
        hard, truth = (logits > 0) & (seen > 0), (target > 0.5)
        both = 2.0 * (hard & truth).sum(axes) / (hard.sum(axes) + truth.sum(axes)).clamp(min=1)
    return entropy + 0.5 * (1 - overlap.mean()), both.tolist()


def save(net: Net, path: Path) -> None:
    arrays = {name: value.detach().numpy().astype(np.float16) for name, value in net.state_dict().items()}
    np.savez_compressed(path, **arrays)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("labels", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--start", type=Path, help="a checkpoint whose weights to start from")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    heads = Heads(args.labels)
    net = Net().to(memory_format=torch.channels_last_3d)
    trainer = torch.optim.AdamW(net.parameters(), lr=_RATE, weight_decay=1e-4)
    step, spent = 0, 0.0
    args.out.mkdir(parents=True, exist_ok=True)
    kept = args.out / "checkpoint.pt"
    averaged = {name: value.clone() for name, value in net.state_dict().items()}
    if args.start:
        net.load_state_dict(torch.load(args.start, weights_only=False)["net"])
    if kept.is_file():
        state = torch.load(kept, weights_only=False)
        net.load_state_dict(state["net"])
        trainer.load_state_dict(state["trainer"])
        averaged, step, spent = state["averaged"], state["step"], state["spent"]
        rng = np.random.default_rng((args.seed, step))
    begun, saved, dices, losses = time.monotonic() - spent, time.monotonic(), [], []
    while (spent := time.monotonic() - begun) < 60 * args.minutes:
        done = spent / (60 * args.minutes)
        rate = float(_RATE * min(1.0, (step + 1) / 50) * (0.5 + 0.5 * np.cos(np.pi * done)))
        for group in trainer.param_groups:
            group["lr"] = rate
        drawn = [draw(heads, rng) for _n in range(_AT_ONCE)]
        image, distance, seen = (torch.cat([one[n] for one in drawn]) for n in range(3))
        logits = net(image.contiguous(memory_format=torch.channels_last_3d))
        loss, found = loss_of(logits, distance, seen)
        trainer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        trainer.step()
        step += 1
        keep = min(0.99, 1 - 1 / (1 + step / 10))
        for name, value in net.state_dict().items():
            averaged[name].mul_(keep).add_(value, alpha=1 - keep)
        losses.append(float(loss.detach()))
        dices += [dice for dice, one in zip(found, drawn, strict=True) if one[3] != "other"]
        if step % 100 == 0:
            print(
                f"{step} {spent / 60:.1f} min loss {np.mean(losses):.4f} dice {np.mean(dices):.4f} "
                f"worst {np.min(dices):.3f} rate {rate:.2e}",
                flush=True,
            )
            dices, losses = [], []
        if time.monotonic() - saved > 300:
            saved = time.monotonic()
            torch.save(
                {
                    "net": net.state_dict(),
                    "trainer": trainer.state_dict(),
                    "averaged": averaged,
                    "step": step,
                    "spent": spent,
                },
                kept,
            )
            final = Net()
            final.load_state_dict(averaged)
            save(final, args.out / "brainmask.npz")
    final = Net()
    final.load_state_dict(averaged)
    save(final, args.out / "brainmask.npz")
    print(f"{step} steps, done", flush=True)


if __name__ == "__main__":
    main()
