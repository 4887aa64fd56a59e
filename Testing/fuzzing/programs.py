"""Command lines and calls of operations with whatever arguments and images."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fuzzing import mutations

_VERBS = (
    "run",
    "batch",
    "cases",
    "split",
    "qc",
    "report",
    "landmarks",
    "reassemble",
    "export",
    "recipes",
    "operations",
)
_OPTIONS = (
    "--out", "--input", "--set", "--series", "--overwrite", "--quiet", "--strict", "--layout", "--fractions",
    "--seed",
    "--reference", "--array", "--blend", "--region", "--mask", "--json", "--workers", "--memory",
    "--pattern", "--column",
)  # fmt: skip


def command_case(draw: random.Random, folder: Path) -> Callable[[], str]:
    """A command line of words that fit and words that do not."""
    words = (
        "ct-lung", "mri-t1", "xr-chest", "image=a.nii", "image=~nosuchuser/a.nii", "~nosuchuser/x", "x" * 300,
        "a.csv",
        "a.nii", "a.json", ".", "..", "/dev/null", "a\udcff.nii", "-1", "0", "1e999", "nnunet",
        "resample.spacing=1",
        "ct.window.level=" + "[" * 100_000, "ct.window.level=@~nosuchuser/x", "resample", "nan", "",
    )  # fmt: skip
    (folder / "a.nii").write_bytes(draw.randbytes(400))
    (folder / "a.json").write_text("{}")
    (folder / "a.csv").write_text("case,image,patient\n1,a.nii,p\n")
    (folder / "out").mkdir()
    arguments = [draw.choice(_VERBS)]
    for _n in range(draw.randrange(1, 6)):
        arguments += [draw.choice(_OPTIONS)] if draw.random() < 0.4 else []
        arguments.append(draw.choice(words))
    if draw.random() < 0.7:
        arguments += ["--out", str(folder / "out" / "new") if draw.random() < 0.7 else draw.choice(words)]

    def read() -> str:
        import os

        os.chdir(folder / "out")
        from MedPrepCommonLib.cli.app import app

        try:
            app(args=arguments, prog_name="medprep")
        except SystemExit as end:
            return {0: "read", None: "read"}.get(end.code, "refused")
        return "read"

    return read


def operation_case(draw: random.Random, folder: Path) -> Callable[[], str]:
    """An operation with random parameters on a small image of any type, spacing and values."""
    from MedPrepCommonLib.core.operation import known

    spec = draw.choice([known()[name] for name in sorted(known())])
    seed = draw.randrange(1 << 30)
    dtype = draw.choice((np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint64, np.float32, np.float64))
    shape = tuple(draw.choice((1, 2, 3, 5, 16, 24)) for _axis in range(3))
    spacing = [draw.choice((1e-3, 0.1, 1.0, 1.0, 2.0, 5.0, 100.0)) for _axis in range(3)]
    content = draw.choice(("noise", "noise", "constant", "nan", "tiny", "large", "zero"))
    parameters = {p.name: _value(p, draw) for p in spec.parameters if draw.random() < 0.4}
    (folder / "case.txt").write_text(
        f"{spec.id} {parameters} {np.dtype(dtype)} {shape} {spacing} {content}", errors="replace"
    )

    def read() -> str:
        from MedPrepCommonLib.core import engine
        from MedPrepCommonLib.core.operation import create
        from MedPrepCommonLib.core.volume import LabelVolume, Segment, Volume

        numbers = np.random.default_rng(seed)
        matrix = np.diag([*spacing, 1.0])
        array = _content(numbers, shape, np.dtype(dtype), content)
        tissue = ("SCT", "85756007", "Tissue")
        labels = LabelVolume(
            (numbers.random(shape) > 0.5).astype(np.uint8),
            matrix,
            segments=(Segment(1, "a", tissue, tissue),),
        )
        given: dict[str, Any] = {}
        for slot in spec.inputs:
            value = labels if slot.labels else Volume(array, matrix, modality=spec.modality or "")
            given[slot.name] = (value,) if slot.many else value
        done = engine.run(create(spec.id, **parameters), given)
        for volume in done.volumes().values():
            same = content in ("nan", "large")
            if not same and volume.array.dtype.kind == "f" and not np.isfinite(volume.array).all():
                return "wrong"
        return "read"

    return read


def _content(
    numbers: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype, content: str
) -> np.ndarray:
    noise = numbers.random(shape)
    if dtype.kind == "f":
        scale = {"tiny": 1e-44 if dtype == np.float32 else 1e-310, "large": 1e30}.get(content, 1000.0)
        array = (noise * scale).astype(dtype)
        if content == "nan":
            array.reshape(-1)[::3] = np.nan
    else:
        limits = np.iinfo(dtype)
        array = (noise * min(1000, limits.max)).astype(dtype)
        if content == "large":
            array[...] = limits.max
    if content in ("constant", "zero"):
        array[...] = 7 if content == "constant" else 0
    return array


def _value(parameter: Any, draw: random.Random) -> Any:
    if draw.random() < 0.1:
        return mutations.reshaped(None, draw)
    if parameter.kind == "bool":
        return draw.random() < 0.5
    if parameter.kind == "choice":
        return draw.choice(parameter.choices)
    if parameter.kind == "text":
        return draw.choice((parameter.default, *mutations.WORDS))
    low, high = parameter.span.low, parameter.span.high
    one = draw.choice(
        (low, high, parameter.default if parameter.kind != "vector" else low, draw.uniform(low, high))
    )
    return int(one) if parameter.kind == "int" else one
