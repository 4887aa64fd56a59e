"""Whether the same image or the same patient is both trained on and tested on."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from ..core.i18n import _
from ..core.result import Check
from ..core.volume import Volume
from ..geometry.orientation import orientation

# Names of folders that say which part of a data set is in them (nnU-Net's imagesTr among them).
_SPLITS = {
    "train": re.compile(r"(images|labels)?[-_]?(train(ing)?|tr)([-_](set|data))?", re.IGNORECASE),
    "val": re.compile(r"(images|labels)?[-_]?(val(id(ation)?)?)([-_](set|data))?", re.IGNORECASE),
    "test": re.compile(r"(images|labels)?[-_]?(test(ing)?|ts|hold[-_]?out)([-_](set|data))?", re.IGNORECASE),
}
_SHOWN = 5


@dataclass(frozen=True)
class Member:
    """One case of a data set.

    Parameters
    ----------
    name : for messages.
    split : "train", "val", "test", another word of a cases file, or "" when unknown.
    patient : who it is, "" when unknown.
    sure : whether a cases file or a folder of its own says who it is; a file name alone may repeat by chance.
    digests : of its images; equal digests are the same image.
    """

    name: str
    split: str
    patient: str = ""
    sure: bool = True
    digests: tuple[str, ...] = ()


def split_of(path: PurePosixPath) -> tuple[str, PurePosixPath]:
    """The split that a folder in `path` names ("" when none does), and the path from that folder on."""
    for place, part in enumerate(path.parts[:-1]):
        for split, pattern in _SPLITS.items():
            if pattern.fullmatch(part):
                return split, PurePosixPath(*path.parts[place + 1 :])
    return "", path


def content(image: Volume) -> str:
    """SHA-256 of the values alone, superior, anterior, right: a copy that another program wrote has it too.

    Copies differ in type, order of axes, rounding of the position. Of an image without contrast it is "", as
    such images are alike without being copies.
    """
    view = orientation(image, "SAR").view(image.array)
    found = hashlib.sha256(repr(view.shape).encode())
    flat = True
    for values in view:
        # Adding 0.0 turns -0.0 into 0.0.
        values = np.array(values, "<f8", order="C") + 0.0
        flat = flat and bool((values == image.array.flat[0]).all())
        found.update(values.data)
    return "" if flat else f"values:{found.hexdigest()}"


def checks(members: Iterable[Member]) -> list[Check]:
    """The checks across cases: images and patients in two splits, and images that are there twice."""
    members = list(members)
    splits = sorted({m.split for m in members if m.split})
    by_digest: dict[str, list[Member]] = {}
    for member in members:
        for digest in dict.fromkeys(member.digests):
            by_digest.setdefault(digest, []).append(member)
    # An image has a digest of all there is and one of its values: what is in a group once is said once.
    groups = {frozenset(m.name for m in group): group for group in by_digest.values()}
    twice = [group for names, group in groups.items() if len(names) > 1]
    leaked = [group for group in twice if _crosses(group)]
    found = [_repeated([g for g in twice if not _crosses(g)])]
    if len(splits) < 2:
        text = _("{n} split").format(n=len(splits)) if splits else _("no split known")
        advice = _("Name folders train, val and test, or give --cases with the columns case, patient, split.")
        return [*found, Check(_("Leakage"), "pass", text, "", advice)]
    return [*found, _images(leaked), _patients(members)]


def _crosses(group: Iterable[Member]) -> bool:
    return len({m.split for m in group if m.split}) > 1


def _images(leaked: list[list[Member]]) -> Check:
    advice = _("The result on the test set would be too good: keep each image in one split.")
    return Check(
        _("Same image in two splits"),
        "fail" if leaked else "pass",
        _listed(leaked) or _("none"),
        _("none"),
        advice if leaked else "",
    )


def _repeated(twice: list[list[Member]]) -> Check:
    advice = _("Equal images count twice in training; leave one out if that is not meant.")
    return Check(
        _("Same image twice in one split"),
        "warn" if twice else "pass",
        _listed(twice) or _("none"),
        _("none"),
        advice if twice else "",
    )


def _patients(members: list[Member]) -> Check:
    by_patient: dict[str, list[Member]] = {}
    for member in members:
        if member.patient and member.split:
            by_patient.setdefault(member.patient, []).append(member)
    leaked = [group for group in by_patient.values() if _crosses(group)]
    sure = [group for group in leaked if all(m.sure for m in group)]
    name, limit = _("Same patient in two splits"), _("none")
    if sure:
        advice = _("Split by patient, not by image, so that a patient is known to one split only.")
        return Check(name, "fail", _listed(sure), limit, advice)
    if leaked:
        advice = _("Files have equal names in two splits: say with --cases whose they are.")
        return Check(name, "warn", _listed(leaked), limit, advice)
    if not by_patient:
        return Check(
            name, "warn", _("patients unknown"), limit, _("Say with --cases whose images these are.")
        )
    return Check(name, "pass", _("none of {n} patients").format(n=len(by_patient)), limit)


def _listed(groups: list[list[Member]]) -> str:
    texts = [" = ".join(sorted({m.name for m in group})) for group in groups]
    more = _(", {n} more").format(n=len(texts) - _SHOWN) if len(texts) > _SHOWN else ""
    return "; ".join(sorted(texts)[:_SHOWN]) + more
