"""Small operations whose results are known at a glance, for tests of what runs and writes any operation."""

from __future__ import annotations

import io
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Literal

import numpy as np

from MedPrepCommonLib.core import operation as registry
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import Help, Preset, Span, Unit, operation
from MedPrepCommonLib.core.result import Check, Curve, Figure, Points, Result, Table
from MedPrepCommonLib.core.volume import LabelVolume, Segment, Volume

ANATOMY = ("SCT", "123037004", "Anatomical Structure")
LUNG = ("SCT", "39607008", "Lung")
RIGHT = ("SCT", "24028007", "Right")


@contextmanager
def registered() -> Iterator[None]:
    """The operations ``t.scale``, ``t.bright``, ``t.stack``, ``t.slow``, ``t.poison`` and ``t.center`` are
    known inside, and gone afterwards."""
    before = dict(registry.known())

    @operation("t.scale", title="Scale", console="tScale", outputs=("image",), cite=("Archimedes 250 BC",))
    class Scale:
        """Multiply and add."""

        factor: Annotated[float, Span(-10, 10), Help("Multiplied with")] = 2.0
        offset: Annotated[float, Span(-5000, 5000), Unit("HU"), Help("Added")] = 0.0
        presets = {"half": Preset("Half", "", factor=0.5)}

        def __call__(self, image: Volume, job: Job) -> Result:
            job.report(0.5, "scaling")
            array = (image.array * self.factor + self.offset).astype(np.float32)
            return Result(images={"image": image.with_array(array, name="")})

    @operation(
        "t.bright",
        title="Bright",
        console="tBright",
        outputs=("bright?", "counts", "curve"),
        labels=("bright",),
        records=("counts", "curve"),
        cite=("Somebody 1999",),
    )
    class Bright:
        """Label what is bright, when anything is."""

        threshold: Annotated[float, Span(-5000, 5000), Unit("HU"), Help("Bright from here")] = 0.0

        def __call__(self, image: Volume, labels: tuple[LabelVolume, ...], job: Job) -> Result:
            bright = (image.array >= self.threshold).astype(np.uint8)
            count = int(bright.sum())
            found = Result(
                tables={
                    "counts": Table("Counts", ("what", "voxels", "share (%)"), (("bright", count, 12.5),))
                },
                points={"middle": Points("Middle", ((1.0, 2.0, 3.0),), ("m",))},
                figures={"curve": Figure("Curve", "x", "y", (Curve("c", (0.0, 1.0, 2.0), (1.0, 4.0, 2.0)),))},
                metrics={"count": count},
                checks=[
                    Check(
                        "Anything bright",
                        "pass" if count else "warn" if self.threshold < 4000 else "fail",
                        f"{count} voxels",
                        "> 0",
                        "Look closer.",
                    )
                ],
                notes=[f"{len(labels)} label maps came along"],
            )
            for label in labels:
                found.labels[label.name] = label
            if count:
                segments = (Segment(1, "right lung & <more>", ANATOMY, LUNG, RIGHT, (0.9, 0.3, 0.2)),)
                found.labels["bright"] = LabelVolume(bright, image.ijkToRAS, segments=segments)
            return found

    @operation("t.stack", title="Stack", console="tStack", outputs=("image",))
    class Stack:
        """Three channels of one image."""

        def __call__(self, image: Volume, job: Job) -> Result:
            array = np.stack([image.array, image.array + 1, image.array + 2], axis=3)
            info = {"channelNames": ["none", "one", "two"]}
            return Result(images={"image": image.with_array(array, info=info, name="")})

    @operation("t.slow", title="Slow", console="tSlow", outputs=("image",))
    class Slow:
        """Take a while, watching the job."""

        seconds: Annotated[float, Span(0, 60), Unit("s"), Help("How long")] = 0.1

        def __call__(self, image: Volume, job: Job) -> Result:
            end = time.monotonic() + self.seconds
            while (left := end - time.monotonic()) > 0:
                job.report(1 - left / max(self.seconds, left))
                time.sleep(min(left, 0.02))
            return Result(images={"image": image})

    @operation("t.poison", title="Poison", console="tPoison", outputs=("image",))
    class Poison:
        """End the whole process over an image whose first voxel has a certain value."""

        value: Annotated[float, Span(-1e6, 1e6), Help("That value")] = 666.0

        def __call__(self, image: Volume, job: Job) -> Result:
            if image.array.flat[0] == self.value:
                os.kill(os.getpid(), signal.SIGKILL)
            return Result(images={"image": image})

    @operation("t.center", title="Center", console="tCenter", outputs=("image",))
    class Center:
        """Subtract a mean that may be learned from training images."""

        statistics: Annotated[Literal["given", "training"], Help("Whose mean")] = "training"
        mean: Annotated[float, Span(-1e6, 1e6), Help("The mean")] = 0.0

        def needs_fit(self) -> bool:
            return self.statistics == "training"

        def measure(self, image: Volume, mask: LabelVolume | None, job: Job) -> dict:
            return {"sum": float(image.array.sum(dtype=np.float64)), "count": int(image.array.size)}

        def fit(self, measured: Sequence[dict]) -> dict:
            total = sum(m["sum"] for m in measured) / sum(m["count"] for m in measured)
            return {"mean": total, "statistics": "given"}

        def __call__(self, image: Volume, mask: LabelVolume | None, job: Job) -> Result:
            array = (image.array - self.mean).astype(np.float32)
            return Result(images={"image": image.with_array(array, name="")}, metrics={"mean": self.mean})

    try:
        yield
    finally:
        for id in set(registry._registry) - set(before):
            registry._registry.pop(id)


def recipe(**changes) -> dict:
    """A recipe of these operations as JSON: scale, find the bright part, stack."""
    return {
        "schema": "medprep-recipe",
        "version": 1,
        "name": "tiny",
        "title": "Tiny recipe",
        "description": "For tests.",
        "modality": "CT",
        "inputs": {"image": {"kind": "image", "description": "Any image"}},
        "steps": [
            {"operation": "t.scale", "parameters": {"offset": -100}, "inputs": {"image": "image"}},
            {"id": "find", "operation": "t.bright", "inputs": {"image": "scale.image"}},
            {"operation": "t.stack", "inputs": {"image": "scale.image"}},
        ],
        "outputs": {"scaled": "scale.image", "lungs": "find.bright?", "channels": "stack.image"},
        **changes,
    }


def image(seed: int = 0, bright: bool = True) -> Volume:
    """A small oblique left-handed CT: a bright ball in dark air."""
    matrix = np.array([[-1.5, 0.2, 0, 40], [0.2, 1.5, 0, -30], [0, 0, 2.5, 100], [0, 0, 0, 1.0]])
    matrix[:3, 0] *= 1.5 / np.linalg.norm(matrix[:3, 0])
    matrix[:3, 1] *= 1.5 / np.linalg.norm(matrix[:3, 1])
    k, j, i = np.mgrid[0:16, 0:24, 0:28]
    ball = (k - 8) ** 2 * 2.5 + (j - 12) ** 2 + (i - 10) ** 2 < 60
    noise = np.random.default_rng(seed).integers(-20, 20, ball.shape)
    array = (np.where(ball & bright, 300, -900) + noise).astype(np.int16)
    return Volume(array, matrix, "case", "CT", {"sliceThickness": 2.5})


def pixels(png: bytes) -> np.ndarray:
    """Decode one of our PNG files with another library."""
    from matplotlib.image import imread

    return np.rint(imread(io.BytesIO(png)) * 255).astype(np.uint8)
