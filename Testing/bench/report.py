"""The benchmark's figures as a table for people and as JSON for programs."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from MedPrepCommonLib.core.parallel import default_workers
from MedPrepCommonLib.version import __version__

from .harness import OURS, Measured, Subject, Timing, cpu_ms, exponent, median_ms, min_ms, outcomes
from .targets import Target

SCHEMA, VERSION = "medprep-bench", 1
PACKAGES = (
    "numpy",
    "scipy",
    "SimpleITK",
    "scikit-image",
    "opencv-python-headless",
    "torch",
    "monai",
    "torchio",
)

_WORDS = {True: "reached", False: "NOT reached", None: "not measured"}
_COLUMNS = ("", "calls", "median ms", "min ms", "ratio", "CPU ratio", "x limit", "B/voxel")


def row_text(measured: Measured) -> str:
    """One row's table; "ratio" says how many times MedPrep is faster than that way."""
    row = measured.row
    limit = min_ms(measured.limit)
    lines = [
        "",
        f"{row.name}: {row.title}",
        f"  {measured.voxels / 1e6:.2f} million {row.voxels_of} voxels; to move its "
        f"{measured.moved / 1e6:.0f} MB once takes {limit:.1f} ms (the limit)",
    ]
    table = [_COLUMNS]
    for subject in measured.subjects:
        timing = measured.timings.get(subject.name)
        if timing is not None:
            table.append(_line(subject, timing, measured))
    widths = [max(len(line[n]) for line in table) for n in range(len(_COLUMNS))]
    for line in table:
        first, *others = line
        lines.append(
            f"  {first:<{widths[0]}}  "
            + "  ".join(f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True))
        )
    for subject in measured.subjects:
        figures = measured.timings[subject.name].quality if subject.name in measured.timings else {}
        if figures:
            text = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
            lines.append(f"  quality of {subject.name}: {text}")
    for name, reason in measured.failures.items():
        lines.append(f"  {name} failed: {reason}")
    if measured.scaling:
        points = ", ".join(f"{1e9 * s / n:.2f} ns at {n / 1e6:.1f} M" for n, s in measured.scaling)
        lines.append(
            f"  time per voxel: {points}; grows as voxels to the power of {exponent(measured.scaling):.2f}"
        )
    for target, value, reached in outcomes(measured):
        lines.append(f"  target {target.text()}: {_figure(target, value)}{_WORDS[reached]}")
    return "\n".join(lines)


def _line(subject: Subject, timing: Timing, measured: Measured) -> tuple[str, ...]:
    own = measured.timings[measured.subjects[0].name]
    ours = subject.group == OURS
    return (
        subject.name + (" (extrapolated)" if subject.share < 1 else ""),
        str(len(timing.wall)),
        f"{median_ms(timing):.1f}",
        f"{min_ms(timing):.1f}",
        "" if ours else f"{min_ms(timing) / min_ms(own):.1f}",
        "" if ours else f"{cpu_ms(timing) / cpu_ms(own):.1f}",
        f"{min_ms(timing) / min_ms(measured.limit):.1f}",
        "-" if timing.peak is None or subject.share < 1 else f"{timing.peak / measured.voxels:.1f}",
    )


def _figure(target: Target, value: float | None) -> str:
    if value is None:
        return ""
    text = f"{value:.4f}" if target.figure.startswith("Dice") else f"{value:.4g}"
    return f"{text}, "


def summary_text(rows: Iterable[Measured]) -> str:
    """One line per row: how many times faster than each group of peers, and the targets that were missed."""
    lines = ["", "Times as fast as its peers (shortest calls), by row:"]
    rows = list(rows)
    width = max((len(measured.row.name) for measured in rows), default=0)
    for measured in rows:
        own = min_ms(measured.timings[measured.subjects[0].name])
        best: dict[str, float] = {}
        for subject in measured.subjects:
            if subject.group != OURS and subject.name in measured.timings:
                ratio = min_ms(measured.timings[subject.name]) / own
                best[subject.group] = min(best.get(subject.group, math.inf), ratio)
        ratios = ", ".join(f"{group} {ratio:.1f}" for group, ratio in best.items())
        missed = [target.text() for target, _value, reached in outcomes(measured) if reached is False]
        verdict = "not reached: " + "; ".join(missed) if missed else "all measured targets reached"
        verdict = verdict if measured.row.targets else "no target"
        lines.append(f"  {measured.row.name:<{width}}  {ratios}")
        lines.append(f"  {'':<{width}}  {verdict}")
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """What the figures were measured on, without names."""
    import SimpleITK as sitk

    versions = {"MedPrep": __version__, "Python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "system": platform.system(),
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "threads": default_workers(),
        "threadsSimpleITK": int(sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()),
        "versions": versions,
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def record(
    rows: Iterable[Measured], shape: tuple[int, ...], spacing_kji: tuple[float, ...]
) -> dict[str, Any]:
    """Everything as plain JSON values; see :data:`JSON_SCHEMA`."""
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "machine": machine(),
        "image": {"shape": list(shape), "spacingKJI": list(spacing_kji)},
        "rows": [_row_record(measured) for measured in rows],
    }


def _row_record(measured: Measured) -> dict[str, Any]:
    own = measured.timings[measured.subjects[0].name]
    return {
        "name": measured.row.name,
        "title": measured.row.title,
        "voxels": measured.voxels,
        "bytesMoved": measured.moved,
        "limitMs": min_ms(measured.limit),
        "load": [_number(value) for value in measured.load],
        "ways": [
            {
                "name": subject.name,
                "group": subject.group,
                "equalWork": subject.equal_work,
                "extrapolated": subject.share < 1,
                "calls": len(timing.wall),
                "medianMs": median_ms(timing),
                "minMs": min_ms(timing),
                "cpuMs": cpu_ms(timing),
                "ratio": min_ms(timing) / min_ms(own),
                "limits": min_ms(timing) / min_ms(measured.limit),
                "extraBytesPerVoxel": None if timing.peak is None else timing.peak / measured.voxels,
                "quality": {name: _number(value) for name, value in timing.quality.items()},
            }
            for subject in measured.subjects
            if (timing := measured.timings.get(subject.name)) is not None
        ],
        "failures": measured.failures,
        "scaling": [{"voxels": n, "ms": 1e3 * seconds} for n, seconds in measured.scaling],
        "targets": [
            {"text": target.text(), "kind": target.kind, "value": _number(value), "reached": reached}
            for target, value, reached in outcomes(measured)
        ],
    }


def _number(value: float | None) -> float | None:
    """None for what JSON has no number for."""
    return None if value is None or not math.isfinite(value) else float(value)


def write(path: Path, content: dict[str, Any]) -> None:
    """Write the JSON file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


_TEXT, _POSITIVE = {"type": "string", "minLength": 1}, {"type": "number", "exclusiveMinimum": 0}
_FIGURE = {"type": ["number", "null"]}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


JSON_SCHEMA: dict[str, Any] = _object(
    {
        "schema": {"const": SCHEMA},
        "version": {"const": VERSION},
        "machine": _object(
            {
                "system": _TEXT,
                "processor": _TEXT,
                "cores": {"type": "integer"},
                "threads": {"type": "integer"},
                "threadsSimpleITK": {"type": "integer"},
                "versions": {"type": "object", "additionalProperties": _TEXT},
            }
        ),
        "image": _object(
            {
                "shape": {"type": "array", "items": {"type": "integer"}, "minItems": 3, "maxItems": 3},
                "spacingKJI": {"type": "array", "items": _POSITIVE, "minItems": 3, "maxItems": 3},
            }
        ),
        "rows": {
            "type": "array",
            "items": _object(
                {
                    "name": _TEXT,
                    "title": _TEXT,
                    "voxels": {"type": "integer", "minimum": 1},
                    "bytesMoved": {"type": "integer", "minimum": 1},
                    "limitMs": _POSITIVE,
                    "load": {"type": "array", "items": _FIGURE, "minItems": 2, "maxItems": 2},
                    "ways": {
                        "type": "array",
                        "minItems": 1,
                        "items": _object(
                            {
                                "name": _TEXT,
                                "group": _TEXT,
                                "equalWork": {"type": "boolean"},
                                "extrapolated": {"type": "boolean"},
                                "calls": {"type": "integer", "minimum": 1},
                                "medianMs": _POSITIVE,
                                "minMs": _POSITIVE,
                                "cpuMs": {"type": "number", "minimum": 0},
                                "ratio": _POSITIVE,
                                "limits": _POSITIVE,
                                "extraBytesPerVoxel": _FIGURE,
                                "quality": {"type": "object", "additionalProperties": _FIGURE},
                            }
                        ),
                    },
                    "failures": {"type": "object", "additionalProperties": _TEXT},
                    "scaling": {
                        "type": "array",
                        "items": _object({"voxels": {"type": "integer"}, "ms": _POSITIVE}),
                    },
                    "targets": {
                        "type": "array",
                        "items": _object(
                            {
                                "text": _TEXT,
                                "kind": {"enum": ["ratio", "memory", "quality"]},
                                "value": _FIGURE,
                                "reached": {"type": ["boolean", "null"]},
                            }
                        ),
                    },
                }
            ),
        },
    }
)
