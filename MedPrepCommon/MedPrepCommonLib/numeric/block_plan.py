"""Arithmetic of a linear map on one block: the float64 definition, and faster float32 ways proven equal."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Plan:
    """Steps that take a block to its result in `work` precision; a step that is None is left out."""

    work: np.dtype
    clipBefore: tuple[np.generic, np.generic] | None = None
    shift: float | None = None
    factor: float | None = None
    divisor: float | None = None
    offset: float | None = None
    clipAfter: tuple[float, float] | None = None  # (the end that NaN goes to, the other end)
    addHalf: bool = False
    floor: bool = False

    def run(self, source: np.ndarray, target: np.ndarray, scratch: dict[str, np.ndarray]) -> None:
        """Map the block `source` into `target`; `scratch` comes from :meth:`scratch`."""
        shape, number = source.shape, self.work.type
        if self.clipBefore is not None:
            source = np.clip(source, *self.clipBefore, out=scratch["narrow"][: source.size].reshape(shape))
        value = target if target.dtype == self.work else scratch["work"][: source.size].reshape(shape)
        value[...] = source
        with np.errstate(
            over="ignore", invalid="ignore"
        ):  # infinite voxels, and steps as steep as float64 allows
            if self.shift is not None:
                value -= number(self.shift)
            if self.factor is not None:
                value *= number(self.factor)
            if self.divisor is not None:
                value /= number(self.divisor)
            if self.offset is not None:
                value += number(self.offset)
        if self.clipAfter is not None:
            start, stop = map(number, self.clipAfter)
            if target.dtype.kind == "f":
                np.clip(value, min(start, stop), max(start, stop), out=value)
            else:  # fmax and fmin take the number where the other is NaN
                nearer, farther = (np.fmax, np.fmin) if start <= stop else (np.fmin, np.fmax)
                farther(nearer(value, start, out=value), stop, out=value)
        if self.addHalf:
            value += number(0.5)
        if self.floor:
            np.floor(value, out=value)
        if value is not target:
            target[...] = value

    def scratch(self, source: np.dtype, target: np.dtype, size: int) -> dict[str, np.ndarray]:
        """Work arrays for one thread and blocks of up to `size` voxels."""
        arrays = {}
        if self.clipBefore is not None:
            arrays["narrow"] = np.empty(size, source)
        if target != self.work:
            arrays["work"] = np.empty(size, self.work)
        return arrays


@dataclass(frozen=True)
class ClipPlan:
    """Limit a block to two values of its own type."""

    bounds: tuple[np.generic, np.generic]

    def run(self, source: np.ndarray, target: np.ndarray, scratch: dict[str, np.ndarray]) -> None:
        """Write the limited block into `target`."""
        np.clip(source, *self.bounds, out=target)

    def scratch(self, source: np.dtype, target: np.dtype, size: int) -> dict[str, np.ndarray]:
        """Nothing is needed."""
        return {}


def _unless(value: float, neutral: float) -> float | None:
    return None if value == neutral else value


def reference_plan(
    target: np.dtype, low: float, span: float, start: float, extent: float, clip: bool
) -> Plan:
    """``start + (x - low) * extent / span`` in float64: the definition that every other plan must equal."""
    integer = target.kind != "f"
    limits = (start, start + extent) if clip else None
    if integer and not clip:
        info = np.iinfo(target)
        limits = (float(info.min), float(info.max))
    return Plan(
        np.dtype(np.float64),
        shift=_unless(low, 0.0),
        factor=_unless(extent, 1.0),
        divisor=_unless(span, 1.0),
        offset=_unless(start, 0.0),
        clipAfter=limits,
        addHalf=integer,
        floor=integer and limits is not None and min(limits) < 0,
    )


def fast_plans(
    source: np.dtype, reference: Plan, low: float, span: float, start: float, extent: float
) -> list[Plan]:
    """Float32 candidates for 8- and 16-bit images, cheapest first."""
    single, info = np.dtype(np.float32), np.iinfo(source)
    after = reference.clipAfter
    inside = max(math.ceil(low), info.min), min(math.floor(low + span), info.max)
    clips: list[tuple] = [(None, after)]
    if after is not None and inside[0] <= inside[1]:
        clips.insert(0, (tuple(map(source.type, inside)), None))  # half the bytes of clipping afterwards
    plans = []
    for before, after in clips:
        if reference.floor:
            continue
        if reference.addHalf:
            slope, level = extent / span, start - low * extent / span + 0.5
            raised = None if after is None else (after[0] + 0.5, after[1] + 0.5)
            # Enough that float32 cannot lose a tie, too little to lift what lies just under one.
            for nudge in (2e-3, 2e-4, 4e-5):
                plans.append(Plan(single, before, factor=slope, offset=level + nudge, clipAfter=raised))
        else:
            # (x - zero) / divisor is rounded once when both are exact in float32.
            divisor = span / extent
            zero = low - start * divisor
            plans.append(Plan(single, before, _unless(zero, 0.0), None, _unless(divisor, 1.0), None, after))
    return plans


def proven_plan(source: np.dtype, target: np.dtype, reference: Plan, candidates: list[Plan]) -> Plan:
    """The first candidate that equals the reference for every value of the source type, or the reference."""
    info = np.iinfo(source)
    values = np.arange(info.min, info.max + 1, dtype=np.int32).astype(source)
    wanted, got = np.empty(values.shape, target), np.empty(values.shape, target)
    reference.run(values, wanted, reference.scratch(source, target, values.size))
    for plan in candidates:
        with np.errstate(all="ignore"):
            plan.run(values, got, plan.scratch(source, target, values.size))
        if np.array_equal(wanted, got):
            return plan
    return reference
