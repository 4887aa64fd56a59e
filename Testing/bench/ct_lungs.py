"""Row: the lungs of a chest CT."""

from __future__ import annotations

from typing import Any

import numpy as np

from MedPrepCommonLib.core.operation import create

from . import peers_sitk, peers_textbook
from .ct_pointwise import operation_subjects
from .data import Chest
from .harness import Options, Row, Subject
from .quality import dice
from .targets import beside, quality, ratio

RIGHT, LEFT, AIRWAY = 1, 2, 3
DICE = "Dice both lungs"


class Lungs(Row):
    name = "lungs"
    title = "lungs of a chest CT (MedPrep also separates right, left and airway, and measures them)"
    targets = (
        ratio("SimpleITK", 15),
        beside(DICE, "SimpleITK", -0.003),
        quality("Dice right", at_least=0.985),
        quality("Dice left", at_least=0.985),
        quality("airway taken (%)", at_most=2),
        quality("nodules kept (%)", at_least=95),
    )

    def moved(self, data: Chest) -> int:
        return data.hu.size * 3

    def ours(self, data: Chest) -> list[Subject]:
        alone, recorded = operation_subjects(create("ct.lungs"), image=data.volume)
        return [_labelled(alone), _labelled(recorded)]

    def peers(self, data: Chest, options: Options) -> list[Subject]:
        hu, image, spacing = data.hu, data.image, data.spacing_kji
        found = [Subject("SimpleITK", "SimpleITK", lambda: peers_sitk.lungs(image), peers_sitk.array)]
        if options.slow:
            found += [
                Subject("scipy", "scipy", lambda: peers_textbook.lungs_scipy(hu, spacing)),
                Subject("scikit-image slices", "scikit-image", lambda: peers_textbook.lungs_slices(hu)),
            ]
        return found

    def judge(self, data: Chest, array: Any, oracle: Any) -> dict[str, float]:
        return lung_figures(array, data.labels, data.nodules)


def _labelled(subject: Subject) -> Subject:
    return Subject(
        subject.name,
        subject.group,
        subject.run,
        lambda result: result.labels["lungs"].array,
        equal_work=subject.equal_work,
    )


def lung_figures(found: np.ndarray, truth: np.ndarray, nodules: np.ndarray) -> dict[str, float]:
    """How a label map (1 right, 2 left, 3 airway) or a mask of both lungs compares with the truth."""
    separated = int(found.max(initial=0)) > 1
    lungs = (found == RIGHT) | (found == LEFT) if separated else found != 0
    wanted = (truth == RIGHT) | (truth == LEFT)
    figures = {DICE: dice(lungs, wanted)}
    if separated:
        figures["Dice right"] = dice(found == RIGHT, truth == RIGHT)
        figures["Dice left"] = dice(found == LEFT, truth == LEFT)
    airway, inside = truth == AIRWAY, nodules > 0
    figures["airway taken (%)"] = 100 * float((lungs & airway).sum() / max(1, airway.sum()))
    figures["nodules kept (%)"] = 100 * float((lungs & inside).sum() / max(1, inside.sum()))
    return figures


ROWS = (Lungs(),)
