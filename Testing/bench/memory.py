"""Extra memory that a call needs at its peak, whoever allocates it: numpy, ITK, OpenCV or torch."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_of(call: Callable[[], Any]) -> tuple[Any, int | None]:
    """The call's result, and the bytes by which it raised the process's resident memory at its peak.

    Linux only: writing 5 to ``clear_refs`` sets the peak (VmHWM) back to what is resident now. Elsewhere the
    second value is None.
    """
    gc.collect()
    _give_back()
    try:
        _RESET.write_text("5")
        before = _resident("VmRSS")
    except OSError:
        return call(), None
    result = call()
    return result, max(0, _resident("VmHWM") - before)


def _give_back() -> None:
    """Return freed memory that glibc keeps; a call that took it up again would seem to need none."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _resident(field: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{_STATUS} has no {field}")
