"""A mask of the brain, or of everything that gives signal, for bias correction and intensity statistics."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np

from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import Help, Preset, Span, When, operation
from MedPrepCommonLib.core.result import Result
from MedPrepCommonLib.core.volume import LabelVolume, Volume
from MedPrepMRILib.brain.head_cells import foreground
from MedPrepMRILib.brain.mask import BRAIN, FOREGROUND, look
from MedPrepMRILib.brain.shape import cut_by_ends, shape_checks, shape_of
from MedPrepMRILib.recognition.ct_values import ct_checks


@operation(
    "mri.brainMask",
    title=_("Brain mask"),
    console="brainMask",
    modality="MR",
    outputs=("mask",),
    labels=("mask",),
    cite=(
        "Smith 2002, Human Brain Mapping 17(3):143-155 (surface), doi:10.1002/hbm.10062",
        "Hoopes et al. 2022, NeuroImage 260:119474 (training on synthetic contrasts), "
        "doi:10.1016/j.neuroimage.2022.119474",
    ),
    units={"volume": "ml", "turn": "°"},
)
class BrainMask:
    """Find the brain in MRI of any contrast, of whole or skull-stripped heads, or all that gives signal.

    A small network finds it, and a surface grows to its border. Made for bias correction and intensity
    statistics, where a millimetre at the brain's surface does not matter; not for measuring the brain.
    """

    region: Annotated[
        Literal["brain", "foreground"],
        Help(
            _("brain: brain with the CSF in it; foreground: all voxels with signal, in any part of the body")
        ),
    ] = "brain"
    fraction: Annotated[
        float,
        Span(0.1, 0.9, 0.05, 2),
        When("region", "brain"),
        Help(_("Share of the brain's signal that counts as its border: smaller gives a larger brain")),
    ] = 0.5

    presets = {
        "brain": Preset(_("Brain"), "Hoopes et al. 2022, NeuroImage 260:119474", region="brain"),
        "foreground": Preset(_("Everything with signal"), "", region="foreground"),
    }

    def __call__(self, image: Volume, job: Job) -> Result:
        notes, checks = [], ct_checks(image)
        metrics: dict[str, str | int | float | bool] = {}
        stripped = False
        if self.region == "foreground":
            mask, segment = foreground(image, job), FOREGROUND
        else:
            brain = look(image, self.fraction, job)
            mask, stripped, segment = brain.mask, brain.stripped, BRAIN
        volume = float(np.count_nonzero(mask) * image.voxel_volume / 1000)
        if self.region == "brain":
            shape = shape_of(brain.coarse, brain.spacing, volume, cut_by_ends(mask))
            checks += shape_checks(shape, brain.agreement)
            metrics = {"form": shape.form, "symmetry": shape.symmetry, "turn": shape.turn}
            metrics |= {"agreement": brain.agreement, "cut": shape.cut}
            if stripped:
                notes.append(_("The image is skull-stripped: its brain is all that is not background."))
        label = LabelVolume(
            mask.view(np.uint8),
            image.ijkToRAS,
            modality=image.modality,
            segments=(segment,),
            history=image.history,
        )
        metrics |= {"volume": volume, "share": float(mask.mean()), "skullStripped": bool(stripped)}
        return Result(labels={"mask": label}, metrics=metrics, checks=checks, notes=notes)
