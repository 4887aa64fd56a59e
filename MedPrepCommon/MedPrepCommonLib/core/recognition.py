"""What an image shows, told from its content: part of the body, sequence or view, and which way up.

Each modality registers one function; the input checks ask it at the start of every recipe::

    @recognises("CT")
    def recognise(volume: Volume, job: Job) -> Recognition: ...
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .i18n import _
from .job import Job
from .volume import Volume

#: At this confidence and above, content decides against a recipe or a header; below, it is in doubt.
SURE = 0.5

#: Kind of image by DICOM modality, where tags of several mean one kind.
FAMILY = {"CR": "XR", "DX": "XR", "RG": "XR", "XR": "XR", "MR": "MR", "CT": "CT"}

#: Parts of the body that a recipe may be for. "brain" is a head without its skull (MRI).
PARTS: Mapping[str, str] = {
    "head": _("a head"),
    "brain": _("a brain without its skull"),
    "neck": _("a neck"),
    "chest": _("a chest"),
    "abdomen": _("an abdomen"),
    "pelvis": _("a pelvis"),
    "limb": _("a limb"),
    "object": _("no patient"),
    "other": _("another part of the body"),
}
#: Sequences of MRI and views of radiographs that a recipe may be for.
SEQUENCES: Mapping[str, str] = {
    "T1": _("T1-weighted"),
    "T1c": _("T1-weighted with contrast agent"),
    "T2": _("T2-weighted"),
    "FLAIR": _("FLAIR"),
    "PD": _("proton-density weighted"),
    "other": _("of another sequence"),
}
VIEWS: Mapping[str, str] = {
    "frontal": _("a frontal view"),
    "lateral": _("a lateral view"),
    "slice": _("a slice of a CT or an MRI, no radiograph"),
    "other": _("another view"),
}

#: What a recipe may say of an input, by key of its file: the input checks hold the image against it.
EXPECTED: Mapping[str, Mapping[str, str]] = {"part": PARTS, "sequence": SEQUENCES, "view": VIEWS}


@dataclass(frozen=True)
class Recognition:
    """What an image looks like.

    Parameters
    ----------
    kind : a key of SEQUENCES (MRI) or VIEWS (radiographs); "" where it cannot be told or means nothing (CT).
    parts : keys of PARTS that are to be seen, from head to foot; () where it cannot be told.
    confidence : in `kind` and `parts`, 0 to 1; from SURE on, an image that is not what a recipe is for fails.
    evidence : what tells, in words, with figures.
    placement : how the content lies against what the header says: "" (as stated, or it cannot be told), else
        in words: "upside down", "left and right are exchanged", ...
    placement_confidence : in `placement`, 0 to 1.
    """

    kind: str = ""
    parts: tuple[str, ...] = ()
    confidence: float = 0.0
    evidence: str = ""
    placement: str = ""
    placement_confidence: float = 0.0

    def words(self) -> str:
        """What it looks like, as a user reads it: "a chest and an abdomen"; "" where nothing can be told."""
        names = [PARTS[part] for part in self.parts]
        parts = "".join(names)
        if len(names) > 1:
            parts = _("{first} and {last}").format(first=", ".join(names[:-1]), last=names[-1])
        kind = SEQUENCES.get(self.kind) or VIEWS.get(self.kind) or ""
        return ", ".join(word for word in (parts, kind) if word)


Recogniser = Callable[[Volume, Job], Recognition]
_registry: dict[str, Recogniser] = {}


def recognises(modality: str) -> Callable[[Recogniser], Recogniser]:
    """Decorator that registers the function for images of `modality` ("CT", "MR", "XR")."""

    def register(function: Recogniser) -> Recogniser:
        _registry[modality] = function
        return function

    return register


def recogniser(modality: str) -> Recogniser | None:
    """The function for a DICOM modality, or None: then content is not asked."""
    return _registry.get(FAMILY.get(modality, modality))
