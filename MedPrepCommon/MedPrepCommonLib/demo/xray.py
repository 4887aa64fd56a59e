"""A radiograph projected from the chest phantom through xray-chest, beside the lungs that it truly shows."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import numpy as np

from ..core import recipe, runner
from ..core.i18n import _
from ..core.job import Job
from ..core.terminology import LUNGS
from ..core.volume import LabelVolume, Volume
from ..numeric.similarity import dice
from ..outputs import writing
from ..phantoms.chest import make_chest_phantom
from ..phantoms.projection import Radiograph, project_radiograph
from .demonstration import places_text

TITLE = _("Chest radiograph")
RECIPE = "xray-chest"
RIGHT, LEFT = 1, 2
# Of the phantom (k, j, i) and its voxels in mm: fine across the picture, coarser along the rays.
SHAPE, SPACING = (273, 170, 327), (1.1, 2.0, 1.1)
# Of the beam, per pixel. At 0.1 mGy a beam has some hundred times as many; the noise of so few covers the
# steps that the phantom's voxels leave in the picture.
PHOTONS = 12000.0
_SEGMENTS = tuple(replace(lung, name=_("true {name}").format(name=lung.name)) for lung in LUNGS)


@dataclass(frozen=True)
class Truth:
    """How near the lung fields come to those that the rays passed, as shares of 1.

    Parameters
    ----------
    right, left, both : Dice coefficients.
    area : found by true area of both lungs.
    """

    right: float
    left: float
    both: float
    area: float


@dataclass(frozen=True)
class Demo:
    """What the demonstration has to say."""

    quality: dict
    truth: Truth
    written: writing.Written

    def text(self) -> str:
        """What was found."""
        from ..recipes.listing import checks_text

        truth = self.truth
        return "\n".join(
            [
                *checks_text(RECIPE, self.quality),
                _("  (A phantom's soft tissue is all of one kind: more contrast shows its noise alone.)"),
                "",
                _("Compared with the lungs that the rays passed in the phantom:"),
                _("  Dice right lung   {value:.4f}").format(value=truth.right),
                _("  Dice left lung    {value:.4f}").format(value=truth.left),
                _("  Dice both         {value:.4f}").format(value=truth.both),
                _("  Area              {value:.1f} % of the true area").format(value=100 * truth.area),
                "",
                *places_text(self.written, ("input", "truth")),
            ]
        )


def run(folder: str | os.PathLike[str], job: Job) -> Demo:
    """Make the radiograph, run xray-chest on it, write everything to `folder` and compare with the truth."""
    plan = recipe.load(RECIPE)
    job.report(0.0, _("Drawing the chest phantom"))
    made = make_radiograph(job.part(0.0, 0.4))
    done = runner.run(plan, {"image": made.image}, job.part(0.4, 0.6))
    truth = compare(made.lungs.array, done.result.labels["lungs"].array)
    written = writing.write(
        done,
        {"image": made.image},
        folder,
        overwrite=True,
        job=job.part(0.6, 1.0),
        extra={"input": made.image, "truth": made.lungs},
    )
    return Demo(writing.quality(done.result), truth, written)


def make_radiograph(job: Job | None = None) -> Radiograph:
    """The chest phantom's radiograph and lung fields."""
    job = job or Job.quiet()
    phantom = make_chest_phantom(SHAPE, SPACING)
    return project_radiograph(
        Volume(phantom.hu, phantom.ijkToRAS, _("chest phantom"), "CT"),
        LabelVolume(phantom.labels, phantom.ijkToRAS, _("true lungs"), "CT", segments=_SEGMENTS),
        photons=PHOTONS,
        job=job.part(0.8, 1.0),
    )


def compare(expected: np.ndarray, found: np.ndarray) -> Truth:
    """Hold lung fields against the true ones, both labelled 1 right and 2 left."""
    both = dice(found > 0, expected > 0)
    area = float(np.count_nonzero(found) / np.count_nonzero(expected))
    return Truth(dice(found == RIGHT, expected == RIGHT), dice(found == LEFT, expected == LEFT), both, area)
