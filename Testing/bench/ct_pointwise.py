"""Rows: window, clip and min-max of a CT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from MedPrepCommonLib.core import engine
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.numeric import blocks, voxel_statistics
from MedPrepCTLib.operations.window import window_bounds

from . import peers_sitk, peers_textbook
from .data import Chest
from .harness import OURS, Options, Row, Subject
from .quality import largest_difference_from_table, value_table
from .targets import memory, quality, ratio


def extra_peers(options: Options) -> tuple[Any, ...]:
    """The modules of MONAI's and TorchIO's ways, where they were asked for."""
    if not options.extra_peers:
        return ()
    from . import peers_monai, peers_torchio

    return peers_monai, peers_torchio


def image_of(result: Any) -> np.ndarray:
    """The image of an operation's result."""
    return result.images["image"].array


def operation_subjects(op: Any, **inputs: Any) -> list[Subject]:
    """An operation alone, and as every face runs it: with checked inputs and provenance (a digest)."""
    quiet = Job.quiet()
    return [
        Subject(OURS, OURS, lambda: op(*inputs.values(), quiet), image_of),
        Subject("MedPrep + record", OURS, lambda: engine.run(op, inputs), image_of, equal_work=False),
    ]


class PointRow(Row):
    """An operation that maps each voxel's value by a formula; the formula is the oracle."""

    figure = "largest error"
    output_bytes = 1

    def operation(self, data: Chest) -> Any:
        """The operation with its parameters."""
        raise NotImplementedError

    def formula(self, data: Chest) -> Callable[[np.ndarray], np.ndarray]:
        """What float64 values become."""
        raise NotImplementedError

    def ours(self, data: Chest) -> list[Subject]:
        return operation_subjects(self.operation(data), image=data.volume)

    def moved(self, data: Chest) -> int:
        return data.hu.size * (data.hu.itemsize + self.output_bytes)

    def judge(self, data: Chest, array: Any, oracle: Any) -> dict[str, float]:
        table = value_table(self.formula(data))
        found = np.asarray(array).reshape(data.hu.shape)
        return {self.figure: largest_difference_from_table(found, data.hu, table)}


LOW, HIGH = window_bounds(-600.0, 1500.0, "LINEAR")


class WindowUint8(PointRow):
    name = "window-uint8"
    title = "lung window of an int16 CT to uint8"
    figure = "largest error (grey levels)"
    targets = (
        ratio("SimpleITK", 3),
        ratio("numpy float64", 10),
        ratio("MONAI", 18),
        memory(1),
        quality("largest error (grey levels)", at_most=0),
    )

    def operation(self, data: Chest) -> Any:
        return create("ct.window", preset="lung", outputType="uint8")

    def formula(self, data: Chest) -> Callable[[np.ndarray], np.ndarray]:
        return lambda x: np.floor(np.clip((x - LOW) / (HIGH - LOW), 0, 1) * 255 + 0.5)

    def peers(self, data: Chest, options: Options) -> list[Subject]:
        hu, image = data.hu, data.image
        found = [
            Subject(
                "SimpleITK",
                "SimpleITK",
                lambda: peers_sitk.window_uint8(image, LOW, HIGH),
                peers_sitk.array,
            ),
            Subject("numpy float64", "numpy float64", lambda: peers_textbook.window_uint8(hu, LOW, HIGH)),
            Subject(
                "numpy float32", "numpy float32", lambda: peers_textbook.window_uint8_float32(hu, LOW, HIGH)
            ),
        ]
        return found + [peer.window_uint8(data, LOW, HIGH) for peer in extra_peers(options)]


class WindowFloat(PointRow):
    name = "window-float"
    title = "lung window of an int16 CT to float 0 to 1"
    output_bytes = 4
    targets = (ratio("SimpleITK", 3), ratio("MONAI", 9), quality("largest error", at_most=1e-6))

    def operation(self, data: Chest) -> Any:
        return create("ct.window", preset="lung", outputType="float")

    def formula(self, data: Chest) -> Callable[[np.ndarray], np.ndarray]:
        return lambda x: np.clip((x - LOW) / (HIGH - LOW), 0, 1)

    def peers(self, data: Chest, options: Options) -> list[Subject]:
        hu, image = data.hu, data.image
        found = [
            Subject(
                "SimpleITK",
                "SimpleITK",
                lambda: peers_sitk.window_float(image, LOW, HIGH),
                peers_sitk.array,
            ),
            Subject("numpy float64", "numpy float64", lambda: peers_textbook.window_float(hu, LOW, HIGH)),
            Subject("numpy float32", "numpy float32", lambda: peers_textbook.window_float32(hu, LOW, HIGH)),
        ]
        return found + [peer.window_float(data, LOW, HIGH) for peer in extra_peers(options)]


class Clip(PointRow):
    name = "clip"
    title = "clip an int16 CT to -1200 to 600 HU"
    figure = "largest error (HU)"
    output_bytes = 2
    low, high = -1200, 600
    targets = (ratio("SimpleITK", 3), quality("largest error (HU)", at_most=0))

    def operation(self, data: Chest) -> Any:
        return create("ct.clip", preset="lungNodule")

    def ours(self, data: Chest) -> list[Subject]:
        volume = data.volume
        values = Subject(OURS, OURS, lambda: blocks.clip(volume.array, self.low, self.high).array)
        # The operation counts what it clips below and above, and what of it is padding.
        counting, recorded = operation_subjects(self.operation(data), image=volume)
        return [values, replace(counting, name="MedPrep ct.clip", equal_work=False), recorded]

    def formula(self, data: Chest) -> Callable[[np.ndarray], np.ndarray]:
        return lambda x: np.clip(x, self.low, self.high)

    def peers(self, data: Chest, options: Options) -> list[Subject]:
        hu, image, low, high = data.hu, data.image, self.low, self.high
        found = [
            Subject("SimpleITK", "SimpleITK", lambda: peers_sitk.clip(image, low, high), peers_sitk.array),
            Subject("numpy indexing", "numpy indexing", lambda: peers_textbook.clip(hu, low, high)),
            Subject("numpy.clip", "numpy.clip", lambda: np.clip(hu, low, high)),
        ]
        return found + [peer.clip(data, low, high) for peer in extra_peers(options)]


class MinMax(PointRow):
    name = "min-max"
    title = "an int16 CT's own range to float 0 to 1"
    output_bytes = 4
    targets = (ratio("SimpleITK", 6), quality("largest error", at_most=1e-6))

    def ours(self, data: Chest) -> list[Subject]:
        volume = data.volume
        quiet = Job.quiet()

        def run() -> Any:
            low, high = voxel_statistics.extremes(volume.array)
            return create("normalize", method="minmax", low=low, high=high)(volume, None, None, quiet)

        return [Subject(OURS, OURS, run, image_of)]

    def formula(self, data: Chest) -> Callable[[np.ndarray], np.ndarray]:
        low, high = float(data.hu.min()), float(data.hu.max())
        return lambda x: (x - low) / (high - low)

    def moved(self, data: Chest) -> int:
        return data.hu.size * (2 + 2 + 4)  # the range must be known before the first voxel is mapped

    def peers(self, data: Chest, options: Options) -> list[Subject]:
        hu, image = data.hu, data.image
        found = [
            Subject("SimpleITK", "SimpleITK", lambda: peers_sitk.min_max(image), peers_sitk.array),
            Subject("numpy float64", "numpy float64", lambda: peers_textbook.min_max(hu)),
        ]
        return found + [peer.min_max(data) for peer in extra_peers(options)]


ROWS = (WindowUint8(), WindowFloat(), Clip(), MinMax())
