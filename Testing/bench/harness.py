"""Runs what a row compares in turn, A B A B, in one process, and measures time, memory and quality."""

from __future__ import annotations

import gc
import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .memory import peak_of
from .targets import SCRATCH, Target

OURS = "MedPrep"

# A call of this many seconds is long enough to average over noise: it is measured once, without warm-up.
LONG = 8.0

# A way that has been measured twice and has taken this many seconds sits out the further turns of its row.
ENOUGH = 5.0


@dataclass(frozen=True)
class Subject:
    """One way to do a row's work.

    Parameters
    ----------
    name : as printed, unique in its row.
    group : whose way it is: "MedPrep", "SimpleITK", "scipy", "skimage", "numpy", "MONAI", ...
    run : what is timed; inputs are in the library's own form before.
    array : makes of its result what quality is judged by, or None for nothing to judge; not timed.
    share : the part of the work that `run` does; times are divided by it and marked as extrapolated.
    equal_work : whether it does what the peers do; targets count only such ways.
    """

    name: str
    group: str
    run: Callable[[], Any]
    array: Callable[[Any], Any] = lambda result: result
    share: float = 1.0
    equal_work: bool = True


class Row:
    """One line of work that several libraries can do; subclasses say what it is.

    Attributes
    ----------
    name : how it is asked for on the command line.
    title : what is done, to what, in words.
    targets : figures to reach, printed as reached or not.
    voxels_of : "input" or "output": of which grid "per voxel" is meant.
    oracle : name of the subject whose result is the reference for :meth:`judge`, run first; or "".
    """

    name = ""
    title = ""
    targets: tuple[Target, ...] = ()
    voxels_of = "input"
    oracle = ""

    def ours(self, data: Any) -> list[Subject]:
        """MedPrep's ways on this data."""
        raise NotImplementedError

    def peers(self, data: Any, options: Options) -> list[Subject]:
        """Other libraries' ways on this data."""
        raise NotImplementedError

    def prepare(self, data: Any) -> Any:
        """The data as this row needs it: another part, or with extra structures."""
        return data

    def voxels(self, data: Any) -> int:
        """Voxels that "per voxel" refers to."""
        return data.hu.size

    def moved(self, data: Any) -> int:
        """Bytes that the work reads and writes at least once."""
        raise NotImplementedError

    def judge(self, data: Any, array: Any, oracle: Any) -> dict[str, float]:
        """Quality figures of a subject's result, by name."""
        return {}

    def known(self, data: Any) -> tuple[Any, Callable[[Any], dict[str, float]]] | None:
        """Small data whose answer is known in another way, and the figures of a result on it."""
        return None


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    repeats: int = 7
    seconds: float = 20.0  # for the repeats of one row
    slow: bool = False
    extra_peers: bool = False
    scaling: bool = True


@dataclass
class Timing:
    """Seconds of each call (wall, and of all threads together), extra bytes at the peak, quality figures."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak: int | None = None
    quality: dict[str, float] = field(default_factory=dict)


@dataclass
class Measured:
    """A row's figures: by subject, of the copy that moves as many bytes, and of the scaling."""

    row: Row
    subjects: list[Subject]
    timings: dict[str, Timing]
    limit: Timing
    voxels: int
    moved: int
    load: tuple[float, float] = (math.nan, math.nan)
    scaling: list[tuple[int, float]] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


def measure(row: Row, data: Any, options: Options, say: Callable[[str], None]) -> Measured:
    """Measure a row: quality and memory from a first call of each subject, times from calls in turn."""
    data = row.prepare(data)
    subjects = row.ours(data) + row.peers(data, options)
    limit = _copy_of(row.moved(data))
    result = Measured(row, subjects, {}, Timing(), row.voxels(data), row.moved(data))
    start = _load()
    _first_calls(row, data, result, say)
    _quality_on_known(row, data, options, result)
    _in_turn(result, limit, options)
    result.load = (start, _load())
    if options.scaling:
        result.scaling = scaling(row, data, options)
    return result


def _first_calls(row: Row, data: Any, result: Measured, say: Callable[[str], None]) -> None:
    oracle = None
    for subject in sorted(result.subjects, key=lambda s: s.name != row.oracle):
        say(f"{row.name}: {subject.name}")
        timing = Timing()
        begin, used = time.perf_counter(), time.process_time()
        try:
            value, timing.peak = peak_of(subject.run)
        except Exception as error:  # a peer's bug must not end the benchmark; ours must
            if subject.group == OURS:
                raise
            result.failures[subject.name] = f"{type(error).__name__}: {error}"[:200]
            continue
        elapsed, used = time.perf_counter() - begin, time.process_time() - used
        array = subject.array(value)
        if subject.name == row.oracle:
            oracle = array
        if array is not None:
            timing.quality = row.judge(data, array, oracle)
        del value, array
        if elapsed > LONG:
            timing.wall.append(elapsed / subject.share)
            timing.cpu.append(used / subject.share)
        elif timing.peak is not None:  # the first call also fills caches and starts threads
            timing.peak = peak_of(subject.run)[1]
        result.timings[subject.name] = timing


def _quality_on_known(row: Row, data: Any, options: Options, result: Measured) -> None:
    known = row.known(data)
    if known is None:
        return
    small, judge = known
    for subject in row.ours(small) + row.peers(small, options):
        timing = result.timings.get(subject.name)
        if timing is None:
            continue
        array = subject.array(subject.run())
        if array is not None:
            timing.quality |= judge(array)


def _in_turn(result: Measured, limit: Callable[[], Any], options: Options) -> None:
    runs: list[tuple[Timing, Callable[[], Any], float]] = [(result.limit, limit, 1.0)]
    for subject in result.subjects:
        timing = result.timings.get(subject.name)
        if timing is not None and not timing.wall:
            runs.append((timing, subject.run, subject.share))
    limit()
    begin = time.perf_counter()
    gc.collect()
    gc.disable()
    try:
        for turn in range(options.repeats):
            for timing, run, share in runs:
                if turn >= 2 and sum(timing.wall) * share > ENOUGH:
                    continue
                wall, cpu = time.perf_counter(), time.process_time()
                value = run()
                timing.wall.append((time.perf_counter() - wall) / share)
                timing.cpu.append((time.process_time() - cpu) / share)
                del value
            if turn >= 1 and time.perf_counter() - begin > options.seconds:
                break
    finally:
        gc.enable()
    result.timings = {s.name: result.timings[s.name] for s in result.subjects if s.name in result.timings}


def _copy_of(size: int) -> Callable[[], Any]:
    """A copy that reads half of `size` bytes and writes as many, to memory that is already there."""
    source = np.ones(max(1, size // 2), np.uint8)
    target = np.zeros_like(source)
    return lambda: np.copyto(target, source)


def scaling(row: Row, data: Any, options: Options) -> list[tuple[int, float]]:
    """(voxels, shortest seconds) of MedPrep's first way on a quarter, half and all of the slices."""
    parts = [data.slab(share) for share in (0.25, 0.5, 1.0)]
    runs = [(part, row.ours(part)[0].run) for part in parts]
    best = [math.inf] * len(runs)
    begin = time.perf_counter()
    for turn in range(options.repeats):
        for n, (_part, run) in enumerate(runs):
            start = time.perf_counter()
            value = run()
            best[n] = min(best[n], time.perf_counter() - start)
            del value
        if turn >= 1 and time.perf_counter() - begin > options.seconds / 3:
            break
    return [(row.voxels(part), seconds) for (part, _run), seconds in zip(runs, best, strict=True)]


def exponent(points: Sequence[tuple[int, float]]) -> float:
    """Growth of time with size: the slope of log seconds over log voxels; 1 is linear."""
    x, y = np.log([p[0] for p in points]), np.log([p[1] for p in points])
    return float(np.polyfit(x, y, 1)[0])


def median_ms(timing: Timing) -> float:
    """Median milliseconds."""
    return 1e3 * statistics.median(timing.wall)


def min_ms(timing: Timing) -> float:
    """Shortest milliseconds."""
    return 1e3 * min(timing.wall)


def cpu_ms(timing: Timing) -> float:
    """Fewest milliseconds of processor time, of all threads together."""
    return 1e3 * min(timing.cpu)


def outcomes(measured: Measured) -> list[tuple[Target, float | None, bool | None]]:
    """(target, figure, reached) of each target; None where it was not measured."""
    return [(target, *_outcome(target, measured)) for target in measured.row.targets]


def _outcome(target: Target, measured: Measured) -> tuple[float | None, bool | None]:
    own = _of_group(measured, OURS)[0]
    others = _of_group(measured, target.group)
    if target.kind == "memory":
        value = None if own.peak is None else max(0, own.peak - SCRATCH) / measured.voxels
        return value, None if value is None else target.reached(value)
    if target.kind == "ratio":
        if not others:
            return None, None
        value = min(map(min_ms, others)) / min_ms(own)
        return value, target.reached(value)
    value = own.quality.get(target.figure)
    if value is None or (target.group and not others):
        return value, None
    return value, target.reached(value, max((t.quality[target.figure] for t in others), default=0.0))


def _of_group(measured: Measured, group: str) -> list[Timing]:
    return [
        measured.timings[s.name]
        for s in measured.subjects
        if s.group == group and s.equal_work and s.name in measured.timings
    ]


def _load() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else math.nan
