"""What one check of an input is: an id that the user may accept, a title, and a function that judges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from .recognition import FAMILY, Recognition
from .result import Verdict
from .volume import Volume


@dataclass(frozen=True)
class Wanted:
    """What an input is meant to be: modality, part of the body, and sequence (MRI) or view (radiograph)."""

    modality: str = ""
    part: str = ""
    kind: str = ""


class Judged(NamedTuple):
    """What one check says of an image; see :class:`Check`."""

    verdict: Verdict
    value: str
    limit: str = ""
    advice: str = ""


Judge = Callable[[Volume, Wanted, "Recognition | None"], "Judged | None"]


@dataclass(frozen=True)
class InputCheck:
    """One check of an input: its id as in ``--accept``, its name, and the function that judges.

    The function gets the volume, what it is meant to be, and what it was recognised as (None: not asked), and
    returns None where the check does not apply.
    """

    id: str
    title: str
    judge: Judge


def registrar(checks: dict[str, InputCheck]) -> Callable[[str, str], Callable[[Judge], Judge]]:
    """A decorator ``@check(id, title)`` that adds the function below it to `checks`."""

    def check(id: str, title: str) -> Callable[[Judge], Judge]:
        def register(function: Judge) -> Judge:
            checks[id] = InputCheck(id, title, function)
            return function

        return register

    return check


def family(volume: Volume, wanted: Wanted) -> str:
    """ "CT", "MR" or "XR": what the image is by its tag, else is meant to be; "" when nobody knows."""
    modality = volume.modality or wanted.modality
    return FAMILY.get(modality, modality)
