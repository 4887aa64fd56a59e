"""A mask of the brain, or of everything that gives signal, for bias correction and intensity statistics."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np

from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import Help, Preset, Span, When, operation
from MedPrepCommonLib.core.result import Check, Result
from MedPrepCommonLib.core.volume import LabelVolume, Volume
from MedPrepMRILib.brain.head_cells import foreground
from MedPrepMRILib.brain.mask import BRAIN, FOREGROUND, find_brain
from MedPrepMRILib.recognition.ct_values import ct_checks


@operation(
    "mri.brainMask",
    title=_("Brain mask"),
    console="brainMask",
    modality="MR",
    outputs=("mask",),
    labels=("mask",),
    cite=("Smith 2002, Human Brain Mapping 17(3):143-155 (brain extraction), doi:10.1002/hbm.10062",),
    units={"volume": "ml"},
)
class BrainMask:
    """Find the brain in T1, T2 or FLAIR images of whole or skull-stripped heads, or all that gives signal.

    Made for bias correction and intensity statistics, where a millimetre at the brain's surface does not
    matter; not for measuring the brain.
    """

    region: Annotated[
        Literal["brain", "foreground"],
        Help(
            _("brain: brain with its inner CSF; foreground: all voxels with signal, in any part of the body")
        ),
    ] = "brain"
    fraction: Annotated[
        float,
        Span(0.1, 0.9, 0.05, 2),
        When("region", "brain"),
        Help(_("Share of the brain's signal that counts as its border: smaller gives a larger brain")),
    ] = 0.5

    presets = {
        "brain": Preset(_("Brain"), "Smith 2002, Human Brain Mapping 17(3):143-155", region="brain"),
        "foreground": Preset(_("Everything with signal"), "", region="foreground"),
    }

    def __call__(self, image: Volume, job: Job) -> Result:
        notes, checks = [], ct_checks(image)
        if self.region == "foreground":
            mask, stripped = foreground(image, job), False
            segment = FOREGROUND
        else:
            mask, stripped = find_brain(image, self.fraction, job)
            segment = BRAIN
        volume = float(np.count_nonzero(mask) * image.voxel_volume / 1000)
        if self.region == "brain":
            checks.append(_check(volume, mask))
            if stripped:
                notes.append(_("The image is skull-stripped: its brain is all that is not background."))
        label = LabelVolume(
            mask.view(np.uint8),
            image.ijkToRAS,
            modality=image.modality,
            segments=(segment,),
            history=image.history,
        )
        metrics = {"volume": volume, "share": float(mask.mean()), "skullStripped": bool(stripped)}
        return Result(labels={"mask": label}, metrics=metrics, checks=checks, notes=notes)


def _check(volume: float, mask: np.ndarray) -> Check:
    """A brain with its CSF holds 0.9 to 2.0 litres in adults; less where a slab cuts it."""
    cut = any(mask.take(end, axis).mean() > 0.1 for axis in range(3) for end in (0, -1))
    ok = 700 < volume < 2200 or (cut and volume < 2200)
    return Check(
        _("Brain volume"),
        "pass" if ok else "warn",
        f"{volume:.0f} ml",
        _("700 to 2200 ml (a whole adult brain with CSF)"),
        "" if ok else _("Look at the mask; change the fraction, or give a mask of your own."),
    )
