"""What an image shows, held against what its header says and against what a recipe is for."""

from __future__ import annotations

from collections.abc import Mapping

from .fact_checks import number, text, words
from .i18n import _
from .input_check import InputCheck, Judged, Wanted, family, registrar
from .recognition import PARTS, SEQUENCES, SURE, VIEWS, Recognition
from .volume import Volume

#: Checks by id.
CHECKS: dict[str, InputCheck] = {}
_check = registrar(CHECKS)

# Words of BodyPartExamined (DICOM PS3.16 Annex L) and the parts that they name.
_NAMED = {
    "head": ("HEAD", "BRAIN", "SKULL", "FACE", "ORBIT", "SINUS", "CEREB", "NEURO", "EAR", "JAW"),
    "neck": ("NECK", "CSPINE", "LARYNX", "THYROID"),
    "chest": ("CHEST", "THORAX", "LUNG", "HEART", "TSPINE", "BREAST", "RIB", "STERN", "MEDIAST"),
    "abdomen": ("ABD", "LIVER", "KIDNEY", "PANCREAS", "LSPINE", "COLON", "SPLEEN", "STOMACH"),
    "pelvis": ("PELVI", "HIP", "BLADDER", "PROSTATE", "UTERUS", "SACR"),
    "limb": (
        "KNEE", "FOOT", "FEET", "ANKLE", "HAND", "WRIST", "ELBOW", "ARM", "LEG", "EXTREM", "FEMUR", "TIBIA",
        "HUMERUS", "SHOULDER", "FINGER", "TOE", "CALF", "THIGH", "FOREARM", "CLAVICLE",
    ),
    "object": ("PHANTOM", "QA"),
}  # fmt: skip
_SEQUENCE_WORDS = ("T1", "T2", "PD", "FLAIR", "MPRAGE", "SPACE", "DWI", "ADC", "BOLD", "ASL", "SWI", "TOF")
_PULSES = ("acquisitionType", "scanningSequence", "sequenceVariant")
_LATERAL = ("LL", "RL", "LATERAL", "LAT", "LLD", "RLD", "L LAT", "R LAT", "LLAT", "RLAT")
_FRONTAL = ("PA", "AP", "AP SUPINE", "AP ERECT", "PORTABLE AP")
_WAYS = ("HFS", "HFP", "FFS", "FFP", "HFDR", "HFDL", "FFDR", "FFDL")


def parts_named(volume: Volume) -> tuple[str, ...]:
    """The parts of the body that the file names; () where it names none that we know."""
    named = text(volume, "bodyPart").upper().replace("_", " ").replace(" ", "")
    found = [part for part, marks in _NAMED.items() if any(mark in named for mark in marks)]
    # "FOREARM" and the like hold the words of nothing else; "HEARTABDOMEN" names two.
    if "EARM" in named or "HEART" in named:
        found = [part for part in found if part != "head" or "HEAD" in named]
    return tuple(found)


@_check("part", _("Part of the body"))
def _part(volume: Volume, wanted: Wanted, seen: Recognition | None) -> Judged | None:
    named = parts_named(volume)
    said = text(volume, "bodyPart")
    if side := text(volume, "laterality"):
        said = f"{said} {side}".strip()
    said = _("the file says {name}").format(name=said) if said else ""
    told = seen if seen is not None and seen.parts and seen.confidence >= SURE else None
    if not wanted.part:
        if told:
            return Judged("pass", "; ".join(w for w in (told.words(), said) if w))
        return Judged("pass", said) if said else None
    # A brain without its skull is what a head recipe cannot use, and the other way round: only content tells.
    fits = {wanted.part, "head" if wanted.part == "brain" else wanted.part}
    limit = PARTS[wanted.part]
    if told:
        value = f"{told.words()} ({told.evidence})" if told.evidence else told.words()
        if wanted.part in told.parts:
            return Judged("pass", value, limit)
        advice = _("This looks like {found}; the recipe is for {wanted}. Choose another image or recipe.")
        return Judged("fail", value, limit, advice.format(found=told.words(), wanted=limit))
    if named and not fits & set(named):
        advice = _("The recipe is for {wanted}. Choose another image or recipe.").format(wanted=limit)
        return Judged("fail", said, limit, advice)
    if named:
        return Judged("pass", said, limit)
    if seen is None:
        return None
    advice = _("Make sure that the image shows {wanted}.").format(wanted=limit)
    doubt = seen.words() or _("nothing that is known")
    return Judged("warn", _("cannot be told; perhaps {what}").format(what=doubt), limit, advice)


def view_named(volume: Volume) -> str:
    """ "frontal", "lateral", or "" where the file does not say."""
    said = text(volume, "viewPosition").upper()
    orientation = words(volume, "patientOrientation")
    if said in _LATERAL or said.startswith("LAT"):
        return "lateral"
    if said in _FRONTAL or said.startswith(("PA", "AP")):
        return "frontal"
    if not said and orientation and orientation[0][:1] in ("A", "P"):
        return "lateral"  # columns run from front to back
    return ""


@_check("view", _("View"))
def _view(volume: Volume, wanted: Wanted, seen: Recognition | None) -> Judged | None:
    if family(volume, wanted) != "XR":
        return None
    return _kind(
        wanted.kind, view_named(volume), text(volume, "viewPosition"), seen, VIEWS, _("a view from elsewhere")
    )


def sequence_named(volume: Volume) -> str:
    """The sequence that the times of an MRI stand for, or "": TE, TR and TI as DICOM has them, in ms."""
    if (number(volume, "diffusionBValue") or 0) > 0 or "EP" in words(volume, "scanningSequence"):
        return "other"  # diffusion, perfusion or functional imaging
    echo, repetition = number(volume, "echoTime"), number(volume, "repetitionTime")
    inversion, flip = number(volume, "inversionTime") or 0, number(volume, "flipAngle") or 90
    if echo is None or repetition is None:
        return ""
    if inversion > 1400 and echo > 60:
        return "FLAIR"
    if echo < 30 and (repetition < 1000 or 500 <= inversion <= 1400):
        # Short TR with a small angle is T2* as often as T1 (FLASH): only clear cases are named.
        if repetition < 1000 and echo > 12 and flip < 40:
            return ""
        return "T1c" if volume.info.get("contrastAgent") else "T1"
    if echo > 60 and repetition > 1500:
        return "T2"
    return "PD" if echo < 40 and repetition > 1500 and not inversion else ""


def _pulses(volume: Volume) -> list[str]:
    """How it was taken: "3D", "GR", "SP", "TE 3 ms", ..."""
    kinds = [word for key in _PULSES for word in words(volume, key)]
    times = {"TE": "echoTime", "TR": "repetitionTime", "TI": "inversionTime"}
    found = [f"{name} {value:g} ms" for name, key in times.items() if (value := number(volume, key))]
    train = number(volume, "echoTrainLength") or 1
    return [*kinds, *found, *([_("{n:.0f} echoes").format(n=train)] if train > 1 else [])]


@_check("sequence", _("Sequence"))
def _sequence(volume: Volume, wanted: Wanted, seen: Recognition | None) -> Judged | None:
    if family(volume, wanted) != "MR":
        return None
    described = [word for word in words(volume, "describedAs") if word in _SEQUENCE_WORDS]
    named = sequence_named(volume)
    said = ", ".join(dict.fromkeys(w for w in (*described, *_pulses(volume), named) if w))
    return _kind(wanted.kind, named, said, seen, SEQUENCES, _("another sequence"))


def _kind(
    wanted: str, named: str, said: str, seen: Recognition | None, names: Mapping[str, str], other: str
) -> Judged | None:
    """Content where it is sure, else what the file says."""
    said = _("the file says {name}").format(name=said) if said else ""
    told = seen if seen is not None and seen.kind in names and seen.confidence >= SURE else None
    found = told.kind if told else named
    if names is VIEWS and named and wanted and named != wanted:
        found = named  # a file that says "lateral" of itself is believed, whatever the look of it
    if not found:
        if not wanted:
            return Judged("pass", said) if said else None
        if seen is None:
            return Judged("pass", said, names[wanted]) if said else None
        advice = _("Make sure that it is {wanted}.").format(wanted=names[wanted])
        return Judged("warn", "; ".join(w for w in (_("cannot be told"), said) if w), names[wanted], advice)
    value = names.get(found, other)
    if told and told.evidence and found == told.kind:
        value += f" ({told.evidence})"
    value = "; ".join(w for w in (value, said) if w)
    if not wanted or found == wanted:
        if told and named and named != found and not wanted:
            advice = _("Image and header disagree: look at the image.")
            return Judged("warn", value, "", advice)
        return Judged("pass", value, names.get(wanted, ""))
    advice = _("This looks like {found}; the recipe is for {wanted}. Choose another image or recipe.")
    return Judged(
        "fail", value, names[wanted], advice.format(found=names.get(found, other), wanted=names[wanted])
    )


@_check("placement", _("Orientation"))
def _placement(volume: Volume, wanted: Wanted, seen: Recognition | None) -> Judged | None:
    stated, position = words(volume, "patientOrientation"), text(volume, "patientPosition").upper()
    limit = _("as the header says")
    if seen is not None and seen.placement and seen.placement_confidence >= SURE:
        advice = _("The image contradicts its header: sides would be exchanged. Look at it before you go on.")
        return Judged("fail", seen.placement, limit, advice)
    if family(volume, wanted) == "XR" and len(stated) == 2 and all(stated):
        value = _("columns run to {first}, rows to {second}").format(first=stated[0], second=stated[1])
        if stated[0].startswith("R"):
            advice = _("The patient's left is on the left of the image: sides would be exchanged. Mirror it.")
            return Judged("fail", value, _("upright, the patient's right on the left"), advice)
        if stated[1][:1] in ("H", "L", "R"):
            advice = _("The image does not stand upright: turn it first.")
            return Judged("fail", value, _("upright"), advice)
        return Judged("pass", value)
    if seen is not None and seen.placement:
        advice = _("Look at the image: it may not lie as its header says.")
        return Judged("warn", _("perhaps {how}").format(how=seen.placement), limit, advice)
    if position and position not in _WAYS:
        advice = _("No way to lie that DICOM knows: look whether the sides are right.")
        return Judged("warn", position, ", ".join(_WAYS[:4]), advice)
    if seen is not None and seen.placement_confidence >= SURE:
        return Judged("pass", _("as the header says"), limit)
    return Judged("pass", position, limit) if position else None
