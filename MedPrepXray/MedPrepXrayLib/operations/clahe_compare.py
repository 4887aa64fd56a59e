"""CLAHE from weak to strong, side by side: a picture to look at and a table of what each step does."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated

import numpy as np

from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import Help, Preset, Span, operation
from MedPrepCommonLib.core.result import Curve, Figure, Result, Table
from MedPrepCommonLib.core.volume import Volume

from ..contrast.equalizing import Region, equalize, field_of
from ..contrast.image_quality import measure
from ..contrast.judging import judge
from ..picture.radiograph import Radiograph, radiograph
from .clahe import ZUIDERVELD
from .evaluate import NOISE, SSIM, finite

# Longest side of one picture in the grid, and the black line between pictures, in pixels.
_SIDE, _GAP = 640, 6


@operation(
    "xray.claheCompare",
    title=_("Compare contrast settings"),
    console="compareClahe",
    modality="DX",
    outputs=("grid", "comparison", "tradeoff"),
    records=("comparison", "tradeoff"),
    cite=(ZUIDERVELD, SSIM, NOISE),
    vectors=True,
)
class CompareClahe:
    """Try CLAHE from weak to strong on a radiograph: all results in one picture, and a table of their
    measures.

    The picture starts with the original at the top left and goes on row by row. The table marks the setting
    with the best score.
    """

    weakest: Annotated[float, Span(1, 40, 0.5, 2), Help(_("Clip limit of the first step"))] = 1.0
    strongest: Annotated[float, Span(1, 40, 0.5, 2), Help(_("Clip limit of the last step"))] = 16.0
    steps: Annotated[int, Span(2, 11, 1, 0), Help(_("How many settings; each a constant factor apart"))] = 5
    tiles: Annotated[
        int, Span(1, 64, 1, 0), Help(_("Tiles along each side; contrast is local to a tile"))
    ] = 8
    region: Region = "field"

    presets = {
        "wide": Preset(_("From 1 to 16"), "", weakest=1, strongest=16, steps=5),
        "fine": Preset(_("Around the usual 2"), "", weakest=1, strongest=4, steps=8),
    }

    def __call__(self, image: Volume, job: Job) -> Result:
        picture = radiograph(image)
        field = field_of(picture, self.region)
        reference = picture.unit()
        limits = [float(f"{v:.3g}") for v in np.geomspace(self.weakest, self.strongest, self.steps)]
        pictures, rows = [_small(reference)], []
        for n, limit in enumerate(limits):
            job.report(n / len(limits), _("Clip limit {limit:.3g}").format(limit=limit))
            made = radiograph(equalize(picture, field, limit, self.tiles, "uint16", Job.quiet())).unit()
            measures = measure(reference[field.where], made[field.where])
            rows.append((limit, finite(measures), judge(measures)))
            pictures.append(_small(made))
        best = max(rows, key=lambda row: row[2].score)
        columns = math.ceil(math.sqrt(len(pictures)))
        grid = _grid(pictures, columns)
        return Result(
            images={"grid": _volume(picture, grid)},
            tables={"comparison": self._table(rows, best, columns)},
            figures={"tradeoff": _figure(rows)},
            metrics={"bestClipLimit": best[0], "bestScore": best[2].score},
            notes=list(picture.notes),
        )

    def _table(self, rows: list, best: tuple, columns: int) -> Table:
        names = tuple(rows[0][1])
        lines = []
        for n, (limit, values, judgement) in enumerate(rows, start=1):
            place = f"{n // columns + 1}.{n % columns + 1}"
            lines.append(
                (
                    place,
                    limit,
                    self.tiles,
                    *values.values(),
                    judgement.score,
                    judgement.verdict,
                    limit == best[0],
                )
            )
        return Table(
            _("Weak to strong"),
            ("place (row.column)", "clip limit", "tiles", *names, "score", "judgement", "best"),
            tuple(lines),
        )


def _small(grey: np.ndarray) -> np.ndarray:
    """8-bit picture of at most _SIDE pixels, by averaging whole pixels."""
    step = max(1, -(-max(grey.shape) // _SIDE))
    rows, columns = (max(1, n // step) for n in grey.shape)
    used = grey[: rows * step, : columns * step]
    if used.shape[0] < rows * step or used.shape[1] < columns * step:
        step, rows, columns, used = 1, *grey.shape, grey
    small = used.reshape(rows, step, columns, step).mean(axis=(1, 3))
    return np.rint(small * 255).astype(np.uint8)


def _grid(pictures: list[np.ndarray], columns: int) -> np.ndarray:
    height, width = pictures[0].shape
    rows = -(-len(pictures) // columns)
    grid = np.zeros((rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP), np.uint8)
    for n, picture in enumerate(pictures):
        top, left = n // columns * (height + _GAP), n % columns * (width + _GAP)
        grid[top : top + height, left : left + width] = picture
    return grid


def _volume(picture: Radiograph, grid: np.ndarray) -> Volume:
    """The grid as a picture: it lies nowhere in the patient."""
    return replace(
        picture.volume,
        array=grid[np.newaxis],
        ijkToRAS=np.diag([-1.0, -1.0, 1.0, 1.0]),
        name="",
        info={"spacingKnown": False},
        display=(127.5, 255.0),
    )


def _figure(rows: list) -> Figure:
    limits = tuple(limit for limit, _values, _judgement in rows)
    names = {"detailGain": _("detail"), "noiseGain": _("noise"), "contrastGain": _("contrast")}
    curves = [
        Curve(text, limits, tuple(values[name] for _l, values, _j in rows)) for name, text in names.items()
    ]
    curves.append(Curve(_("score"), limits, tuple(judgement.score for _l, _v, judgement in rows)))
    return Figure(_("What contrast costs"), _("clip limit"), _("enhanced / original; score"), tuple(curves))
