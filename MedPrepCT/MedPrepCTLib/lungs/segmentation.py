"""Right lung, left lung and airway from Hounsfield units.

The coarse grid decides what is lung; the voxels decide where it ends. Steps: air inside the body, trachea
and bronchi, lungs among the remaining air, right from left, vessels and nodules closed in, and at last only
the cells on the surface looked at voxel by voxel.

The outline follows the classic threshold methods (Hu, Hoffman, Reinhardt, Automatic lung segmentation for
accurate quantitation of volumetric X-ray CT images, IEEE TMI 20(6), 2001); what is done coarse to fine is
ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from MedPrepCommonLib.core.errors import InputError
from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job

from ..grid.coarse_grid import CoarseGrid
from ..grid.morphology import dilate, erode
from ..grid.noise import calmed
from ..grid.voxel_cells import FlatVolume
from .airway import coarse_airway, find_trachea, fine_airway
from .body_air import air_inside, body_mask, body_scale
from .closing import close_lungs
from .field_of_view import Padding
from .findings import Findings, look_around
from .parts import find_lungs
from .sides import LEFT, RIGHT, UNKNOWN, Scene
from .spine import find_spine
from .surface import Surface

RIGHT_LUNG, LEFT_LUNG, AIRWAY, LUNG = RIGHT, LEFT, 3, UNKNOWN
_CELL_MM = 2.8


def segment_lungs(hu: np.ndarray, spacing_kji: Sequence[float], **options) -> np.ndarray:
    """The labels that :func:`examine_lungs` finds, uint8 (k, j, i); same arguments and errors."""
    return examine_lungs(hu, spacing_kji, **options)[0]


def examine_lungs(
    hu: np.ndarray,
    spacing_kji: Sequence[float],
    *,
    threshold: float = -500.0,
    closing_mm: float = 8.0,
    right_is_low_i: bool = True,
    job: Job | None = None,
) -> tuple[np.ndarray, Findings]:
    """Segment the lungs and the airway of a chest CT, and look at what lies around them.

    Parameters
    ----------
    hu : (k, j, i) Hounsfield units, never a windowed image; k grows to the head, j to the back. Any layout
        in memory.
    spacing_kji : mm. threshold : HU below which tissue counts as aerated.
    closing_mm : radius of the ball that closes vessels and nodules on the pleura into the lung; larger keeps
        larger nodules and takes more of the mediastinum along. Smaller in a child, in proportion to the
        body's width.
    right_is_low_i : i grows to the patient's left (else to the right).
    job : progress and cancel.

    Returns
    -------
    labels : uint8 (k, j, i); 1 right lung, 2 left lung, 3 airway, 4 a lung of which the side cannot be told,
        0 elsewhere. Vessels and nodules count as lung.
    findings : what tells whether they are right.

    Raises
    ------
    InputError : no lung was found. Cancelled : the job was cancelled.
    """
    job = job or Job.quiet()
    if not right_is_low_i:
        flipped, findings = examine_lungs(
            hu[:, :, ::-1], spacing_kji, threshold=threshold, closing_mm=closing_mm, job=job
        )
        return flipped[:, :, ::-1], findings
    spacing_kji = tuple(float(step) for step in spacing_kji)
    volume = FlatVolume(hu)
    grid, coarse, padding = _look(
        hu, volume, spacing_kji, _CELL_MM, job.part(0.0, 0.1, _("Reading the volume"))
    )
    job.check()
    body = body_mask(coarse, padding.cells, grid.spacing_kji)
    job.check()
    scale = body_scale(body, padding.cells, grid.spacing_kji)
    if scale < 1.0:
        # A child's bronchi and diaphragm are too thin for cells that suit an adult.
        grid, coarse, padding = _look(hu, volume, spacing_kji, _CELL_MM * scale, job.part(0.1, 0.15))
        body = body_mask(coarse, padding.cells, grid.spacing_kji)
    job.report(0.15, _("Finding air inside the body"))
    calm = calmed(coarse, padding.cells, grid.spacing_kji)
    spine = find_spine(calm, body, grid.spacing_kji, scale)
    inside = air_inside(
        coarse, calm, padding.cells, body, grid.spacing_kji, threshold, scale, spine.sure, job
    )
    job.check()
    job.report(0.3, _("Following the airway"))
    trachea = find_trachea(calm, inside, spine.column if spine.sure else None, grid.spacing_kji, scale)
    room = (coarse < threshold) & ~inside & ~padding.cells
    scene = Scene(calm, room, spine, trachea, scale, _air_hu(calm, room, trachea))
    with ThreadPoolExecutor(1) as aside:
        airway, wall = None, np.zeros_like(inside)
        if trachea is not None:
            job.check()
            cells = coarse_airway(calm, inside, trachea, grid.spacing_kji)
            lung_hu = float(np.median(calm[inside]))
            # Nothing below waits for the finest bronchi until the surface is drawn. Only this thread reports.
            silent = Job(None, lambda: bool(job.check()))
            airway = aside.submit(fine_airway, hu, spacing_kji, cells, trachea, grid, lung_hu, silent)
            # The wall and the mixed cells around the lumen belong to it, else they tie the lungs together.
            wall = dilate(cells, 1.01 * max(grid.spacing_kji[1:]), (1e6, *grid.spacing_kji[1:]))
        job.report(0.4, _("Telling right from left"))
        aerated, rejected, middle = find_lungs(inside & ~wall, scene, grid.spacing_kji, job.part(0.4, 0.6))
        if not aerated.any():
            raise InputError(
                _("No lung was found in this image."),
                _("In a chest CT in Hounsfield units lungs are large regions between -950 and -500 HU."),
                _("Check that the image is a chest CT that was not windowed, clipped or normalized."),
            )
        findings = look_around(aerated, rejected, inside, body, middle, scene, grid.spacing_kji)
        job.check()
        excluded = rejected | padding.cells | wall
        filled = close_lungs(
            aerated,
            coarse,
            calm,
            excluded,
            middle,
            grid.spacing_kji,
            threshold,
            closing_mm * scale,
            job.part(0.6, 0.8),
        )
        surface = Surface(grid, aerated, filled, rejected, airway and airway.result(), padding)
    labels = surface.draw(volume, threshold, job.part(0.8, 1.0, _("Drawing the surface")))
    return labels, findings


def _air_hu(calm: np.ndarray, room: np.ndarray, trachea: np.ndarray | None) -> float:
    """What air measures in this scan: in the room well away from the patient, else in the trachea."""
    for air in (erode(room, 3.0, (1e6, 1.0, 1.0)), trachea):
        if air is not None and np.count_nonzero(air) > 50:
            return float(np.clip(np.percentile(calm[air], 20), -1050.0, -990.0))
    return -1000.0


def _look(hu, volume: FlatVolume, spacing_kji, cell_mm: float, job: Job):
    """The volume on a coarse grid: the grid, the mean HU of its cells, the padding."""
    grid = CoarseGrid(hu.shape, spacing_kji, cell_mm)
    coarse = grid.mean(hu, job)
    return grid, coarse, Padding(volume, grid, coarse)
