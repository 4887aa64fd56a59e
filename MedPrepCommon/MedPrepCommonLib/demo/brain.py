"""A built-in brain in three sequences through mri-multisequence, beside the known bias field and motion."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..core import recipe, runner
from ..core.i18n import _
from ..core.job import Job
from ..core.runner import RecipeRun
from ..core.volume import Volume
from ..outputs import writing
from ..phantoms.brain import LABELS, BrainPhantom, make_brain_phantom

TITLE = _("Brain MRI")
RECIPE = "mri-multisequence"
# The recipe's inputs and what they become, and the phantom's names of them.
SEQUENCES = {"t1": ("T1", "correctedT1"), "t2": ("T2", "correctedT2"), "flair": ("FLAIR", "correctedFlair")}
# The head turned by 8 degrees about its long axis and moved by 10 mm before the T2 was taken.
MOVED, TURN, SHIFT = "t2", 8.0, (6.0, -5.0, 6.2)


@dataclass(frozen=True)
class Truth:
    """How near one corrected sequence comes to the phantom, measured in its brain.

    Parameters
    ----------
    correlation : of the field found with the known field.
    before, after : coefficient of variation of the known field, and of what is left of it (shares of 1).
    white : coefficient of variation of white matter (shares of 1) as it came, corrected, and as it would be
        without any field.
    """

    correlation: float
    before: float
    after: float
    white: tuple[float, float, float]


@dataclass(frozen=True)
class Demo:
    """What the demonstration has to say.

    Parameters
    ----------
    truth : by input name. target : mean distance (mm) in the brain from where the moved sequence belongs.
    """

    quality: dict
    truth: dict[str, Truth]
    target: float
    written: writing.Written

    def text(self) -> str:
        """What was found."""
        from ..recipes.listing import checks_text
        from .demonstration import places_text

        lines = [
            *checks_text(RECIPE, self.quality),
            "",
            _("Compared with the phantom's known bias field in the brain (coefficients of variation in %):"),
            _("          field r  field before   after    white matter before   after   without field"),
        ]
        for name, one in self.truth.items():
            label, (before, after, best) = SEQUENCES[name][0], (100 * share for share in one.white)
            lines.append(
                f"  {label:<6}{one.correlation:9.5f}{100 * one.before:14.2f}{100 * one.after:8.2f}"
                f"{before:23.2f}{after:8.2f}{best:16.2f}"
            )
        return "\n".join(
            [
                *lines,
                "",
                _("Compared with the known motion of the T2, {shift:.0f} mm and {turn:g} degrees:").format(
                    shift=float(np.linalg.norm(SHIFT)), turn=TURN
                ),
                _("  Target error      {value:.2f} mm, mean over the brain").format(value=self.target),
                "",
                *places_text(self.written, SEQUENCES),
            ]
        )


def run(folder: str | os.PathLike[str], job: Job) -> Demo:
    """Make the phantom, run mri-multisequence on it, write everything to `folder`, compare with the truth."""
    plan = recipe.load(RECIPE)
    job.report(0.0, _("Drawing the brain phantom"))
    phantom = make_brain_phantom(sequences=[name for name, _output in SEQUENCES.values()])
    images = scans(phantom)
    done = runner.run(plan, images, job.part(0.1, 0.6))
    truth = {name: compare(phantom, name, done) for name in SEQUENCES}
    target = target_error(phantom, done)
    written = writing.write(done, images, folder, overwrite=True, job=job.part(0.6, 1.0), extra=images)
    return Demo(writing.quality(done.result), truth, target, written)


def scans(phantom: BrainPhantom) -> dict[str, Volume]:
    """The recipe's inputs: every sequence as the phantom has it, the T2 of a head that had moved."""
    return {
        name: Volume(
            phantom.images[known],
            (motion() if name == MOVED else np.eye(4)) @ phantom.ijkToRAS,
            f"brain phantom {known}",
            "MR",
        )
        for name, (known, _output) in SEQUENCES.items()
    }


def motion() -> np.ndarray:
    """How the head moved before the T2: (4, 4), RAS to RAS."""
    matrix, angle = np.eye(4), np.deg2rad(TURN)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = SHIFT
    return matrix


def compare(phantom: BrainPhantom, name: str, done: RecipeRun) -> Truth:
    """Hold the field that was found in a sequence (image by corrected image) against the phantom's."""
    known, output = SEQUENCES[name]
    image, corrected = phantom.images[known], done.result.images[output].array
    brain = phantom.brain & (corrected > 0)
    found = image[brain].astype(np.float64) / corrected[brain]
    field = phantom.field[brain].astype(np.float64)
    white = phantom.labels == LABELS["white matter"]
    return Truth(
        correlation=float(np.corrcoef(found, field)[0, 1]),
        before=variation(field),
        after=variation(field / found),
        white=tuple(variation(values[white]) for values in (image, corrected, image / phantom.field)),
    )


def target_error(phantom: BrainPhantom, done: RecipeRun) -> float:
    """Mean distance (mm) over the brain between where the registration puts the T2 and where it was."""
    matrices = registrations(done)
    k, j, i = np.nonzero(phantom.brain[::4, ::4, ::4])
    points = phantom.ijkToRAS @ np.stack([4 * i, 4 * j, 4 * k, np.ones(len(i))])
    apart = (matrices[SEQUENCES[MOVED][0]] - motion()) @ points
    return float(np.linalg.norm(apart[:3], axis=0).mean())


def registrations(done: RecipeRun) -> Mapping[str, np.ndarray]:
    """The (4, 4) matrices, reference to sequence in RAS, that the recipe's table of registrations names."""
    table = done.result.tables["registration"]
    return {
        row[0]: np.vstack([np.array(row[-1].split(), float).reshape(3, 4), (0.0, 0.0, 0.0, 1.0)])
        for row in table.rows
    }


def variation(values: np.ndarray) -> float:
    """Coefficient of variation: standard deviation by mean."""
    return float(values.std(dtype=np.float64) / values.mean(dtype=np.float64))
