"""Row: a whole chest CT prepared for a network, the recipe ct-lung beside the same steps by others."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk

from MedPrepCommonLib.core import recipe, runner
from MedPrepCommonLib.geometry.resampling import output_grid

from . import peers_sitk, peers_textbook
from .ct_lungs import DICE
from .ct_metal import THRESHOLD, minimum_voxels
from .ct_pointwise import HIGH as WINDOW_HIGH
from .ct_pointwise import LOW as WINDOW_LOW
from .data import Chest
from .harness import OURS, Options, Row, Subject
from .quality import dice
from .targets import quality, ratio

LOW, HIGH, SPACING = -1200, 600, (1.0, 1.0, 1.0)
EDGE = 5


class Pipeline(Row):
    name = "pipeline"
    title = (
        "recipe ct-lung on every second slice: check, lungs, metal, clip, cubic to 1 mm, window, normalize"
    )
    targets = (
        ratio("SimpleITK", 5),
        ratio("textbook", 15),
        quality("image off SimpleITK (HU)", at_most=1.001),
        quality(DICE + " to SimpleITK", at_least=0.95),
    )
    oracle = "SimpleITK chain"
    voxels_of = "output"

    def prepare(self, data: Chest) -> Chest:
        return data.thinned(2) if len(data.hu) > 8 else data

    def voxels(self, data: Chest) -> int:
        return int(np.prod(output_grid(data.hu.shape, data.spacing_kji, SPACING)[2]))

    def moved(self, data: Chest) -> int:
        # The image is read once; written are float image, window, lungs and metal on the new grid.
        return data.hu.size * 2 + self.voxels(data) * (4 + 1 + 1 + 1)

    def ours(self, data: Chest) -> list[Subject]:
        shipped = recipe.load("ct-lung")
        plain = shipped.with_settings({"iso.antialias": False})
        volume = data.volume
        return [
            Subject(OURS, OURS, lambda: runner.run(plain, {"image": volume}, accept=["part"]), _ours),
            Subject(
                "MedPrep as shipped",  # smoothed against aliasing, which the others leave out
                OURS,
                lambda: runner.run(shipped, {"image": volume}, accept=["part"]),
                lambda done: None,
                equal_work=False,
            ),
        ]

    def peers(self, data: Chest, options: Options) -> list[Subject]:
        starts, steps, shape = output_grid(data.hu.shape, data.spacing_kji, SPACING)
        hu, image, least = data.hu, data.image, minimum_voxels(data)
        return [
            Subject(
                "SimpleITK chain",
                "SimpleITK",
                lambda: sitk_chain(image, starts, steps, shape, least),
                _theirs,
            ),
            Subject("textbook chain", "textbook", lambda: textbook_chain(hu, shape, least)),
        ]

    def judge(self, data: Chest, array: Any, oracle: Any) -> dict[str, float]:
        inside = (slice(EDGE, -EDGE),) * 3
        if array["image"].shape != oracle["image"].shape:
            return {}
        off = np.abs(array["image"][inside] - oracle["image"][inside]).max()
        return {
            "image off SimpleITK (HU)": float(off) * (HIGH - LOW),
            DICE + " to SimpleITK": dice(_both(array["lungs"]), _both(oracle["lungs"])),
        }


def sitk_chain(image: sitk.Image, starts: Any, steps: Any, shape: Any, least: int) -> dict[str, Any]:
    """The recipe's steps with SimpleITK; the lungs come out as one mask, the airway not at all."""
    found = peers_sitk.check(image)
    lungs = peers_sitk.lungs(image)
    metal = peers_sitk.metal(image, THRESHOLD, least)
    metal_mask = sitk.BinaryThreshold(image, THRESHOLD + 1, 32767)
    clipped = peers_sitk.clip(image, LOW, HIGH)
    grid = (shape, starts, steps)
    fine = peers_sitk.resample(clipped, *grid, sitk.sitkBSpline)
    return {
        "check": found,
        "components": metal,
        "image": peers_sitk.window_float(fine, LOW, HIGH),
        "windowed": peers_sitk.window_uint8(fine, WINDOW_LOW, WINDOW_HIGH),
        "lungs": peers_sitk.resample(lungs, *grid, sitk.sitkNearestNeighbor),
        "metal": peers_sitk.resample(metal_mask, *grid, sitk.sitkNearestNeighbor),
    }


def textbook_chain(hu: np.ndarray, shape: Any, least: int) -> dict[str, Any]:
    """The recipe's steps as tutorials show them: numpy, scipy.ndimage.zoom, skimage slice by slice."""
    found = peers_textbook.check(hu)
    lungs = peers_textbook.lungs_slices(hu)
    metal = peers_textbook.metal_skimage(hu, THRESHOLD, least)
    fine = peers_textbook.zoom(peers_textbook.clip(hu, LOW, HIGH), shape, 3)
    return {
        "check": found,
        "components": metal,
        "image": peers_textbook.window_float(fine, LOW, HIGH),
        "windowed": peers_textbook.window_uint8(fine, WINDOW_LOW, WINDOW_HIGH),
        "lungs": peers_textbook.zoom(lungs.astype(np.uint8), shape, 0),
        "metal": peers_textbook.zoom((hu > THRESHOLD).astype(np.uint8), shape, 0),
    }


def _ours(done: runner.RecipeRun) -> dict[str, np.ndarray]:
    return {"image": done.result.images["image"].array, "lungs": done.result.labels["lungs"].array}


def _theirs(done: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: peers_sitk.array(done[name]) for name in ("image", "lungs")}


def _both(labels: np.ndarray) -> np.ndarray:
    return (labels == 1) | (labels == 2)


ROWS = (Pipeline(),)
