"""The one step that holds an image against what is known of it, before anything is computed from it.

It runs at the start of every recipe, of every case of a batch, of single operations and of ``qc``. What the
reader found (``facts.py``) and what the image shows (``recognition.py``) become lines of quality control. A
recipe whose input fails one stops there, unless the user accepts it by the check's id
(``--accept missing-slices``); the line then warns, and results and records keep what was accepted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple
from weakref import WeakKeyDictionary

from . import content_checks, fact_checks
from .errors import InputChecksError, ParameterError
from .i18n import _
from .input_check import InputCheck, Wanted, family
from .job import Job
from .parameters import nearest
from .recognition import Recognition, recogniser
from .result import Check
from .volume import LabelVolume, Volume


class Found(NamedTuple):
    """A line of quality control with the id of the check that wrote it."""

    id: str
    check: Check


def known() -> dict[str, InputCheck]:
    """Every check of inputs by id, in the order in which a report shows them."""
    return {**fact_checks.CHECKS, **content_checks.CHECKS}


def titles() -> set[str]:
    """The names of all checks of inputs, as they stand in a table."""
    return {check.title for check in known().values()}


def require_known(ids: Iterable[str]) -> tuple[str, ...]:
    """`ids` once each.

    Raises
    ------
    ParameterError
        when one is not the id of a check.
    """
    ids = tuple(dict.fromkeys(ids))
    for id in ids:
        if id not in known():
            raise ParameterError(
                _("There is no check {id!r} that could be accepted.").format(id=id),
                _("Expected one of {ids}.").format(ids=", ".join(known())),
                nearest(id, known()),
            )
    return ids


def judge(
    volume: Volume,
    wanted: Wanted,
    accept: Collection[str] = (),
    job: Job | None = None,
    content: bool = True,
) -> list[Found]:
    """All checks of one image that apply; what was accepted, now or earlier, warns where it failed.

    Parameters
    ----------
    content : whether to look at the image as well as at its facts (about a second for a large CT).
    """
    seen = _seen(volume, family(volume, wanted), job or Job.quiet()) if content else None
    accepted = {*accept, *_earlier(volume)}
    found = []
    for check in known().values():
        judged = check.judge(volume, wanted, seen)
        if judged is None:
            continue
        line = Check(check.title, *judged)
        if line.verdict == "fail" and check.id in accepted:
            line = replace(line, verdict="warn", value=_("{value}; accepted").format(value=line.value))
        found.append(Found(check.id, line))
    return found


# What images were recognised as, while they are there: a recipe and its check step ask about the same one.
_known_images: WeakKeyDictionary[Volume, Recognition | None] = WeakKeyDictionary()


def _seen(volume: Volume, modality: str, job: Job) -> Recognition | None:
    recognise = recogniser(modality)
    if recognise is None or isinstance(volume, LabelVolume):
        return None
    if volume not in _known_images:
        # NaN and infinity: nothing is asked of such an image, the operations refuse it by name.
        _known_images[volume] = recognise(volume, job) if volume.finite else None
    return _known_images[volume]


def judge_all(
    inputs: Mapping[str, Volume],
    wanted: Mapping[str, Wanted],
    accept: Collection[str] = (),
    job: Job | None = None,
    content: bool = True,
) -> list[Found]:
    """:func:`judge` on every input; where there are several, each line says whose it is."""
    job = job or Job.quiet()
    images = [name for name, volume in inputs.items() if not isinstance(volume, LabelVolume)]
    found: list[Found] = []
    for n, (name, volume) in enumerate(inputs.items()):
        part = job.part(n / len(inputs), (n + 1) / len(inputs))
        lines = judge(volume, wanted.get(name, Wanted()), accept, part, content)
        if isinstance(volume, LabelVolume):
            # Nobody needs to hear that a label map has no fault.
            lines = [line for line in lines if line.check.verdict != "pass"]
        if len(images) > 1 or isinstance(volume, LabelVolume):
            lines = [
                line._replace(check=replace(line.check, name=f"{line.check.name} ({name})")) for line in lines
            ]
        found += lines
    return found


def failed(found: Iterable[Found]) -> tuple[str, ...]:
    """Ids of the checks that fail, once each."""
    return tuple(dict.fromkeys(line.id for line in found if line.check.verdict == "fail"))


def refusal(found: Iterable[Found]) -> InputChecksError | None:
    """Why nothing can be computed, with each check's advice and how to go on; None when nothing fails."""
    lines = [line for line in found if line.check.verdict == "fail"]
    if not lines:
        return None
    ids = failed(lines)
    causes = "; ".join(f"{line.check.name}: {line.check.value}" for line in lines)
    advice = " ".join(dict.fromkeys(line.check.advice for line in lines))
    return InputChecksError(
        _("The input failed its checks. {causes}.").format(causes=causes),
        "",
        _("{advice} To go on in spite of it, accept: {ids}.").format(advice=advice, ids=", ".join(ids)),
        ids,
    )


def merged(lines: Iterable[Found], checks: Iterable[Check]) -> list[Check]:
    """The lines of the inputs, then `checks` without those that say the same again."""
    first = [line.check for line in lines]
    return [*first, *(check for check in checks if check not in first)]


def with_accepted(volume: Volume, ids: Collection[str]) -> Volume:
    """The volume with a note of what its user accepted; results that keep its ``info`` keep the note."""
    noted = sorted({*_earlier(volume), *ids})
    return replace(volume, info={**volume.info, "accepted": noted}) if noted else volume


def _earlier(volume: Volume) -> tuple[str, ...]:
    noted = volume.info.get("accepted", ())
    return tuple(noted) if isinstance(noted, (list, tuple)) else ()
