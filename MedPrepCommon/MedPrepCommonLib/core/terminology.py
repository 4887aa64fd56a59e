"""Terminology of segments in Slicer's one-line form.

It is ``context~category~type~modifier~region context~region~region modifier``.
Each coded entry is ``scheme^value^meaning`` (DICOM PS3.16 context groups; SNOMED CT mostly).
"""

from __future__ import annotations

from collections.abc import Sequence

from .volume import Segment

Code = tuple[str, str, str]

CONTEXT = "Segmentation category and type - 3D Slicer General Anatomy list"
REGION_CONTEXT = "Anatomic codes - DICOM master list"
# What Slicer itself gives a segment that nobody described.
TISSUE: Code = ("SCT", "85756007", "Tissue")
STRUCTURE: Code = ("SCT", "123037004", "Anatomical Structure")
_LUNG: Code = ("SCT", "39607008", "Lung")

# The lungs in CT and in radiographs: codes and colours of Slicer's general anatomy terminology (DICOM PS3.16
# CID 7155, CID 244). It gives both one colour; the left one takes a lobe's, so that the border shows.
LUNGS = (
    Segment(
        1, "right lung", STRUCTURE, _LUNG, ("SCT", "24028007", "Right"), (197 / 255, 165 / 255, 145 / 255)
    ),
    Segment(2, "left lung", STRUCTURE, _LUNG, ("SCT", "7771000", "Left"), (172 / 255, 138 / 255, 115 / 255)),
)


def terminology_entry(segment: Segment) -> str:
    """Slicer's one-line form of a segment's category, type and modifier."""
    parts = [_text(code) for code in (segment.category, segment.code, segment.modifier)]
    return "~".join([CONTEXT, *parts, REGION_CONTEXT, _text(None), _text(None)])


def segment_from_entry(value: int, name: str, entry: str, color: Sequence[float]) -> Segment:
    """A segment from Slicer's one-line form; an empty or broken entry counts as unspecified tissue."""
    parts = entry.split("~")
    category = _code(parts[1]) if len(parts) > 1 else None
    code = _code(parts[2]) if len(parts) > 2 else None
    modifier = _code(parts[3]) if len(parts) > 3 else None
    red, green, blue = color[:3]
    return Segment(
        value, name, category or TISSUE, code or TISSUE, modifier, (float(red), float(green), float(blue))
    )


def _text(code: Code | None) -> str:
    # ~ and ^ separate the parts, so they cannot be part of one.
    return "^".join(str(part).replace("~", "-").replace("^", "-") for part in code or ("", "", ""))


def _code(text: str) -> Code | None:
    parts = text.split("^")
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 and any(parts) else None
