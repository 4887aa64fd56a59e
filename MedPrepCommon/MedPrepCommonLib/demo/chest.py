"""A built-in chest phantom through ct-lung, and how near the result comes to the known truth."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from ..core import engine, recipe, runner
from ..core.errors import RecipeError
from ..core.i18n import _
from ..core.job import Job
from ..core.operation import create, settings
from ..core.recipe import Recipe
from ..core.result import Result
from ..core.runner import RecipeRun
from ..core.volume import LabelVolume, Volume
from ..numeric.similarity import dice
from ..outputs import writing
from ..phantoms.chest import ChestPhantom, make_chest_phantom

TITLE = _("Chest CT")
RECIPE = "ct-lung"
RIGHT, LEFT, AIRWAY = 1, 2, 3


@dataclass(frozen=True)
class Truth:
    """How near the lungs come to the phantom's, all as shares of 1.

    Parameters
    ----------
    right, left : Dice coefficient of each lung.
    leak : share of the true airway that was labelled lung.
    nodules : share of the voxels of true nodules that lie inside the lungs found; `count` nodules.
    shape, spacing : voxels and mm along i, j, k of the grid that they were compared on.
    """

    right: float
    left: float
    leak: float
    nodules: float
    count: int
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]


@dataclass(frozen=True)
class Demo:
    """What the demonstration has to say."""

    quality: dict
    truth: Truth
    written: writing.Written

    def text(self) -> str:
        """What was found."""
        from ..recipes.listing import checks_text
        from .demonstration import places_text

        truth = self.truth
        grid = (
            " x ".join(map(str, truth.shape)) + _(" voxels of ") + " x ".join(f"{s:g}" for s in truth.spacing)
        )
        lines = [
            *checks_text(RECIPE, self.quality),
            "",
            _(
                "Compared with the phantom's known lungs on the output grid ({grid} mm, nearest voxel):"
            ).format(grid=grid),
            _("  Dice right lung   {value:.4f}").format(value=truth.right),
            _("  Dice left lung    {value:.4f}").format(value=truth.left),
            _("  Airway leak       {value:.2f} % of the true airway was taken for lung").format(
                value=100 * truth.leak
            ),
            _("  Nodules kept      {value:.1f} % of the voxels of {n} nodules").format(
                value=100 * truth.nodules, n=truth.count
            ),
            "",
            *places_text(self.written, ("input",)),
        ]
        return "\n".join(lines)


def run(folder: str | os.PathLike[str], job: Job) -> Demo:
    """Make the phantom, run ct-lung on it, write everything to `folder` and compare with the truth."""
    plan = recipe.load(RECIPE)
    job.report(0.0, _("Drawing the chest phantom"))
    phantom = make_chest_phantom()
    image = Volume(phantom.hu, phantom.ijkToRAS, "chest phantom", "CT")
    done = runner.run(plan, {"image": image}, job.part(0.25, 0.5))
    truth = compare(plan, phantom, image, done)
    written = writing.write(
        done, {"image": image}, folder, overwrite=True, job=job.part(0.55, 1.0), extra={"input": image}
    )
    return Demo(writing.quality(done.result), truth, written)


def compare(plan: Recipe, phantom: ChestPhantom, image: Volume, done: RecipeRun) -> Truth:
    """Hold the recipe's lungs against the phantom's, brought to the output grid by the recipe's own rule."""
    lungs = done.result.labels["lungs"]
    truth = {
        "lungs": LabelVolume(phantom.labels, phantom.ijkToRAS, "lungs"),
        "nodules": LabelVolume(phantom.nodule_labels, phantom.ijkToRAS, "nodules"),
    }
    there = {name: volume.array for name, volume in _resampled(plan, image, truth).labels.items()}
    expected, found = there["lungs"], lungs.array
    inside = (found == RIGHT) | (found == LEFT)
    airway, nodules = expected == AIRWAY, there["nodules"] > 0
    return Truth(
        right=dice(found == RIGHT, expected == RIGHT),
        left=dice(found == LEFT, expected == LEFT),
        leak=float(np.count_nonzero(inside & airway) / np.count_nonzero(airway)),
        nodules=float(np.count_nonzero(inside & nodules) / np.count_nonzero(nodules)),
        count=len(phantom.nodules),
        shape=lungs.shape[::-1],
        spacing=lungs.spacing,
    )


def _resampled(plan: Recipe, image: Volume, truth: dict[str, LabelVolume]) -> Result:
    steps = [step.op for step in plan.steps if step.op.operation.id == "resample"]
    if not steps:
        raise RecipeError(_("{name} resamples nothing.").format(name=plan.name))
    # The image comes along only because the operation wants one: the cheapest method will do.
    op = create("resample", **{**settings(steps[0]), "method": "nearest"})
    return engine.run(op, {"image": image, "labels": tuple(truth.values())})
