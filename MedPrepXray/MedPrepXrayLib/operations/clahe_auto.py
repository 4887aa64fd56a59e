"""Local contrast by CLAHE with parameters that follow from the image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import Preset, operation
from MedPrepCommonLib.core.result import Result, Table
from MedPrepCommonLib.core.volume import Volume

from ..contrast.equalizing import OutputType, Region, equalize, field_of, unequalized
from ..contrast.image_quality import measure
from ..contrast.judging import judge
from ..picture.collimation import Field
from ..picture.radiograph import Radiograph, radiograph
from .clahe import ZUIDERVELD

# On a scale of 0 to 255, whatever the image's depth: a range below the first is low; a mean below the second
# is dark, above the third bright.
LOW_RANGE, DARK, BRIGHT = 50.0, 80.0, 180.0

# What each further try leaves of the clip limit, down to the least; after that the image stays as it is.
_LESS, _LEAST = 0.7, 1.0

# Burned-in letters and dead pixels are fewer than this, and do not count for the range (percent at each end).
_TAIL = 0.1


class Choice(NamedTuple):
    """Which rule fired, the parameters that it asks for, and what it looked at (0 to 255)."""

    rule: str
    clipLimit: float
    tiles: int
    dynamicRange: float
    mean: float


# In the order in which they are tried.
RULES = {
    "low dynamic range": (3.0, 16),
    "dark": (2.5, 12),
    "bright": (2.0, 8),
    "normal": (2.0, 8),
}


def choose(picture: Radiograph, inside: np.ndarray) -> Choice:
    """The parameters for a radiograph, from the grey levels of its field.

    The levels are taken on the scale of the depth that they use; floating point on its own range.
    """
    if picture.bits:
        low, high = 0.0, float(2**picture.bits - 1)
    else:
        low, high = float(picture.plane.min()), float(picture.plane.max())
    scale = 255.0 / (high - low)
    first, last = np.percentile(inside, (_TAIL, 100 - _TAIL))
    span, mean = float(last - first) * scale, (float(inside.mean(dtype=np.float64)) - low) * scale
    if span < LOW_RANGE:
        rule = "low dynamic range"
    elif mean < DARK:
        rule = "dark"
    elif mean > BRIGHT:
        rule = "bright"
    else:
        rule = "normal"
    return Choice(rule, *RULES[rule], span, mean)


@operation(
    "xray.claheAuto",
    title=_("Automatic local contrast"),
    console="claheAuto",
    modality="DX",
    outputs=("image", "parameters"),
    records=("parameters",),
    cite=(ZUIDERVELD,),
    vectors=True,
)
class ClaheAuto:
    """Raise the local contrast of a radiograph by CLAHE with parameters chosen from its grey levels.

    A low dynamic range gets clip limit 3 and 16 x 16 tiles, a dark image 2.5 and 12 x 12, others 2 and 8 x
    8. Where that makes the image worse by its own score (see Evaluate enhancement), the clip limit goes down
    until it does not, or the image stays as it is. The result says which rule fired and what became of it.
    """

    region: Region = "field"
    outputType: OutputType = "auto"

    presets = {
        "field": Preset(_("Inside the exposed field"), "", region="field"),
        "image": Preset(_("Everywhere"), "", region="image"),
    }

    def __call__(self, image: Volume, job: Job) -> Result:
        picture = radiograph(image)
        field = field_of(picture, self.region)
        chosen = choose(picture, picture.plane[field.where])
        made, limit, score = self._not_worse(picture, field, chosen, job)
        note = _(
            "Rule: {rule} (range {range:.0f}, mean {mean:.0f} of 255): clip limit {clip:g}, {n} x {n} tiles."
        )
        words = {
            "low dynamic range": _("low dynamic range"),
            "dark": _("dark image"),
            "bright": _("bright image"),
            "normal": _("normal image"),
        }
        text = note.format(
            rule=words[chosen.rule],
            range=chosen.dynamicRange,
            mean=chosen.mean,
            clip=chosen.clipLimit,
            n=chosen.tiles,
        )
        return Result(
            images={"image": made},
            tables={"parameters": _table(chosen)},
            metrics={**chosen._asdict(), "clipLimit": limit, "score": score},
            notes=[*picture.notes, text, *_backed_off(chosen, limit)],
        )

    def _not_worse(
        self, picture: Radiograph, field: Field, chosen: Choice, job: Job
    ) -> tuple[Volume, float, float]:
        """The strongest result whose score is not negative, its clip limit (0: unchanged) and its score."""
        reference, limit = picture.unit()[field.where], chosen.clipLimit
        while True:
            made = equalize(picture, field, limit, chosen.tiles, self.outputType, Job.quiet())
            job.report(0.6)
            score = judge(measure(reference, radiograph(made).unit()[field.where])).score
            if score >= 0:
                return made, limit, score
            if limit <= _LEAST:
                return unequalized(picture, self.outputType), 0.0, 0.0
            limit = max(_LEAST, _LESS * limit)
            job.check()


def _backed_off(chosen: Choice, limit: float) -> list[str]:
    if limit == chosen.clipLimit:
        return []
    if limit:
        return [
            _("It would have cost more than it gave: the clip limit went down to {limit:.2f}.").format(
                limit=limit
            )
        ]
    return [_("Any local contrast would have cost more than it gave: the image stays as it is.")]


def _table(chosen: Choice) -> Table:
    """The rules with what they ask for; the one that fired is marked."""
    asked = {
        "low dynamic range": _("range below {limit:g} of 255").format(limit=LOW_RANGE),
        "dark": _("mean below {limit:g} of 255").format(limit=DARK),
        "bright": _("mean above {limit:g} of 255").format(limit=BRIGHT),
        "normal": _("everything else"),
    }
    measured = {"low dynamic range": chosen.dynamicRange}
    rows = tuple(
        (rule, asked[rule], measured.get(rule, chosen.mean), *RULES[rule], rule == chosen.rule)
        for rule in RULES
    )
    return Table(_("Rules"), ("rule", "when", "measured (of 255)", "clip limit", "tiles", "applied"), rows)
