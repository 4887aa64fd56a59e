"""Patches of a volume node as files: for the console, and for the panel's section of patches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..core.i18n import _
from ..core.job import Job
from ..core.operation import create, find
from ..core.result import Result
from ..core.task import Task
from ..files import patch_writing


def exportPatches(
    logic: Any, node: Any, folder: str | Path, *, job: Job | None = None, **arguments: Any
) -> Any:
    """Cut patches as the method ``patches`` does, and write them with a manifest.

    Parameters
    ----------
    folder : a new one.
    arguments : as of ``patches``: preset, parameters, labels, mask, candidates.

    Returns
    -------
    the nodes that ``patches`` returns.

    Raises
    ------
    MedPrepError
        when the input cannot be used or the folder not be made; scene and disk are unchanged then.
    """
    slots = {slot.name for slot in find("patches").inputs[1:]}
    inputs = {"image": node, **{name: arguments.pop(name) for name in slots & set(arguments)}}
    task = logic.task(create("patches", arguments.pop("preset", None), **arguments), inputs)
    return exporting(task, lambda: Path(folder).expanduser()).run(job)


def exporting(task: Task, folder: Callable[[], Path]) -> Task:
    """`task`, whose patches are also written to what `folder` returns, before anything enters the scene."""

    def compute(job: Job) -> Result:
        result = task.compute(job.part(0.0, 0.7))
        target = folder()
        patch_writing.export(result.patches["patches"], target, job.part(0.7, 1.0, _("Writing patches")))
        result.notes.append(_("Written to {folder}.").format(folder=target))
        return result

    return Task(task.title, compute, task.write)
