"""One line in the panel on what the input volume is: its grid at once, its values when a check has run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..core import engine
from ..core.errors import MedPrepError
from ..core.i18n import _
from ..core.operation import create
from ..core.result import Check, Result, worst
from ..core.task import BackgroundTask, Task
from ..scene import volumes

# So many warnings fit into a line above the panel; the table of results has them all.
_SAID = 2


class InputSummary:
    """Keeps the line true; a check of the whole volume runs in the background.

    Parameters
    ----------
    checkId : the operation whose verdict stands in the line, or "" for none.
    show : called with the text.
    """

    def __init__(self, checkId: str, show: Callable[[str], None]) -> None:
        self.checkId, self.show = checkId, show
        #: The check under way, to be polled and stopped by the owner.
        self.running: BackgroundTask | None = None
        self._seen: tuple[str, int, int] | None = None

    def update(self, node: Any) -> bool:
        """Describe `node` unless it is as it was; True when a check was started."""
        if node is None or node.GetImageData() is None:
            self._seen = None
            self.show(_("No volume chosen."))
            return False
        scalars = node.GetImageData().GetPointData().GetScalars()
        seen = (node.GetID(), node.GetImageData().GetMTime(), scalars.GetMTime() if scalars else 0)
        if seen == self._seen:
            return False
        self._seen = seen
        size = " x ".join(str(n) for n in node.GetImageData().GetDimensions())
        spacing = " x ".join(f"{s:.3g}" for s in node.GetSpacing())
        line = _("{size} voxels of {spacing} mm").format(size=size, spacing=spacing)
        self.show(line)
        if not self.checkId:
            return False
        try:
            volume = volumes.volumeFromNode(node)
        except MedPrepError as error:
            self.show(f"{line}. {error}")
            return False
        self._start(line, volume)
        return True

    def _start(self, line: str, volume: Any) -> None:
        def check(job: Any) -> Result:
            return engine.run(create(self.checkId), {"image": volume}, job)

        unit = " HU" if self.checkId == "ct.check" else ""
        if self.running is not None:
            self.running.cancel()
        self.running = BackgroundTask(
            Task(line, check, lambda result: result),
            progress=lambda _fraction, _message: None,
            done=lambda result: self.show(_sentence(line, result, unit)),
            failed=lambda error: self.show(f"{line}. {error}"),
            stopped=lambda: None,
        )
        self.running.start()


def _sentence(line: str, result: Result, unit: str) -> str:
    worries = [c for c in result.checks if c.verdict != "pass"]
    words = {"pass": _("plausible"), "warn": _("look at it"), "fail": _("not usable as it is")}
    low, high = result.metrics.get("minimum"), result.metrics.get("maximum")
    parts = [line, f"{low:g} to {high:g}{unit}" if low is not None else "", words[worst(result.checks)]]
    text = ", ".join(part for part in parts if part) + "."
    return " ".join([text, *map(_worry, worries)])


def doneText(title: str, checks: Sequence[Check]) -> str:
    """That a run has ended, and what its checks warn of: the table of results may be out of sight."""
    worries = sorted((c for c in checks if c.verdict != "pass"), key=lambda c: c.verdict != "fail")
    parts = [_("{title}: done.").format(title=title), *map(_worry, worries[:_SAID])]
    if len(worries) > _SAID:
        parts.append(_("{count} more under Results.").format(count=len(worries) - _SAID))
    return " ".join(parts)


def _worry(check: Check) -> str:
    return f"{check.name}: {check.value.rstrip('.')}. {check.advice}".rstrip()
