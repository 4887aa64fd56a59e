"""Fixed words for what DICOM texts say: free text may hold a name, a word of these lists cannot.

Descriptions, protocol names and the like are typed by people. Nothing of them is kept but words that name a
sequence, a body part or a kind of picture; codes are kept where they are DICOM's defined terms.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from .header import text_of

_PATTERNS = {
    # MR sequences and contrasts
    "T1": r"T1(?![0-9*])|\*?TFL3?D?|MP-?RAGE|FSPGR|BRAVO",
    "T2": r"T2(?![0-9*])(?! ?STAR)",
    "T2STAR": r"T2 ?(\*|STAR)",
    "PD": r"PD(W|FS)?(?![A-Z])|PROTON ?DENSITY",
    "FLAIR": r"(T2)?FLAIR|DARK ?FL(UID)?|TIRM",
    "STIR": r"STIR(?![A-Z])",
    "MPRAGE": r"MP-?RAGE",
    "SPACE": r"(SPACE|CUBE|VISTA)(?![A-Z])",
    "VIBE": r"(VIBE|LAVA|THRIVE)(?![A-Z])",
    "HASTE": r"HASTE|SSFSE|SSTSE",
    "DIXON": r"M?DIXON|IDEAL(?![A-Z])",
    "DWI": r"[ER]?DWI|DIFF(?![A-Z])|DIFFUSION|TRACEW?(?![A-Z])",
    "DTI": r"DTI|MDDW",
    "ADC": r"E?ADC(?![A-Z])",
    "SWI": r"SWI(?![A-Z])|SWAN(?![A-Z])|SUSCEPT",
    "TOF": r"TOF(?![A-Z])",
    "ANGIO": r"ANGIO(GRAPH[A-Z]*)?(?![A-Z])|MRA(?![A-Z])|CTA(?![A-Z])",
    "BOLD": r"BOLD(?![A-Z])|FMRI|RS-?FMRI|REST(ING)? ?STATE",
    "ASL": r"[3P]?C?ASL(?![A-Z])",
    "PERFUSION": r"PERF(USION)?(?![A-Z])|DSC(?![A-Z])|DCE(?![A-Z])",
    "FIELDMAP": r"FIELD ?MAP(PING)?|GRE ?FIELD|B0 ?MAP",
    "CONTRAST": r"(T1)?(\+ ?C(?![A-Z])|C\+|(GD|CE|GAD(O[A-Z]*)?)(?![A-Z])|POST ?(CONTRAST|GAD|GD|KM))",
    # planes
    "AXIAL": r"AX(IAL)?(?![A-Z])|TRA(NS|NSVERSE)?(?![A-Z])",
    "SAGITTAL": r"SAG(ITTAL)?(?![A-Z])",
    "CORONAL": r"COR(ONAL)?(?![A-Z])",
    # places
    "HEAD": r"HEAD(?![A-Z])|SKULL|CRANI|SCHAEDEL|SCHÄDEL|KOPF(?![A-Z])",
    "BRAIN": r"BRAIN(?![A-Z])|CEREBR",
    "NECK": r"NECK(?![A-Z])|HALS(?![A-Z])",
    "CHEST": r"CHEST(?![A-Z])|THORA[XC]|TORAX",
    "LUNG": r"LUNG(S|E)?(?![A-Z])|PULM",
    "HEART": r"HEART(?![A-Z])|CARD(IAC)?(?![A-Z])|CORONARY",
    "ABDOMEN": r"ABD(OMEN)?(?![A-Z])|LIVER(?![A-Z])",
    "PELVIS": r"PELV|BECKEN|PROSTAT|HIP(?![A-Z])",
    "SPINE": r"[CTL]?-?SPINE(?![A-Z])|WIRBEL",
    "BREAST": r"BREAST(?![A-Z])|MAMM",
    "LIMB": r"KNEE|ANKLE|FOOT(?![A-Z])|HAND(?![A-Z])|WRIST|ELBOW|SHOULDER|FEMUR|HUMERUS|TIBIA|FOREARM|FINGER",
    # kinds of pictures
    "LOCALIZER": r"(LOC(ALI[SZ]ER)?S?|SCOUTS?|TOPOGRAM|SCANO(GRAM)?|SURVIEW|SURVEY)(?![A-Z])",
    "MPR": r"MPR(?![A-Z])|REFORMAT",
    "MIP": r"MIP(?![A-Z])",
    "BONE": r"BONE(?![A-Z])|KNOCHEN",
    "SOFT": r"SOFT ?(TISSUE)?(?![A-Z])|WEICHTEIL",
    "PHANTOM": r"PHANTOM",
}
_WORDS = {word: re.compile(rf"(?<![A-Z0-9])(?:{pattern})") for word, pattern in _PATTERNS.items()}

# Pictures of text that scanners put beside the images.
_DOCUMENTS = {
    "dose report": r"DOSE ?(REPORT|INFO|SUMMARY|RECORD|SHEET)|(RADIATION|CT|X-?RAY) ?DOSE|EXPOSURE ?SUMMARY",
    "examination protocol": r"PATIENT ?PROTOCOL|EXAM(INATION)? ?(PROTOCOL|SUMMARY|CARD)|(CSA|STUDY) ?REPORT",
    "screen save": r"SCREEN ?-?(SAVE|SHOT|CAPTURE)",
}
_DOCUMENT = {word: re.compile(pattern) for word, pattern in _DOCUMENTS.items()}

_IMAGE_TYPE_WORDS = """
    ORIGINAL DERIVED MIXED PRIMARY SECONDARY AXIAL LOCALIZER OTHER VOLUME HELIX MPR MIP MINIP MOSAIC
    REFORMATTED AVERAGE PROJECTION RENDERED CURVED CPR VRT SSD M P R I MAGNITUDE PHASE REAL IMAGINARY M_SE
    M_FFE M_IR M_TFE P_SE P_FFE R_FFE I_FFE ND NORM DIS2D DIS3D DIS3D2 MFSPLIT ADD SUB DIV SUBTRACTION
    DIFFUSION ADC FA TRACE TRACEW EADC TENSOR TENSOR_B0 RCBF COLOR CBF CBV MTT TTP TMAX PERFUSION ASL FMRI
    VELOCITY ANGIO TOF SWI MNIP FIELD_MAP T1 T2 T2_STAR MAP WATER FAT IN_PHASE OUT_PHASE DIXON W F IN OPP
    OPP_PHASE VFRAME FILTERED PROCESSED UNSPECIFIED NONE RECON RESAMPLED REGISTERED MULTIPLANAR STATIC
    DYNAMIC GATED WHOLE BODY EMISSION TRANSMISSION PET_MIP SCREEN SAVE REPORT DOSE_INFO EPI SINGLE PLANE
    BIPLANE PROP CT_SOM5 SPI SPIR DET_AB DET_A DET_B UNI INV1 INV2 CSA MASK ENERGY MONO IODINE
"""
_IMAGE_TYPE = frozenset(_IMAGE_TYPE_WORDS.split())
# Words of a description that name a technique.
_COMMON_WORDS = """
    ROUTINE STD STANDARD THIN THICK WITH WITHOUT PRE POST NATIVE ISO MM SE TSE FSE GRE FFE EPI EP2D TFE 2D
    3D W WEIGHTED FS FAT SAT WATER ECHO ECHOES NUMBER NUMBERS ACQUISITION TIME TEMPORAL POSITION IDENTIFIER
    TRIGGER DIFFUSION BVALUE VALUE IMAGE TYPE INVERSION FLIP ANGLE FOLDER KERNEL CONVOLUTION THORAX SERIES
    RECON AC NAC PET WB LOW HIGH DOSE VOLUME HELIX HELICAL SPIRAL SCAN MAP PHASE MAGNITUDE M P
"""
_COMMON = frozenset(_COMMON_WORDS.split())
_MAPS = {
    "ADC": ("ADC", "EADC"),
    "FA": ("FA",),
    "TRACE": ("TRACE", "TRACEW"),
    "TENSOR": ("TENSOR", "TENSOR_B0"),
    "CBF": ("CBF", "RCBF"),
    "CBV": ("CBV",),
    "MTT": ("MTT",),
    "TTP": ("TTP", "TMAX"),
    "VELOCITY": ("VELOCITY",),
    "FIELDMAP": ("FIELD_MAP",),
    "PHASE": ("PHASE", "P", "P_SE", "P_FFE"),
    "REAL": ("REAL", "R", "R_FFE"),
    "IMAGINARY": ("IMAGINARY", "I", "I_FFE"),
    "SUBTRACTION": ("SUB", "SUBTRACTION"),
}
_BODY = {
    "HEAD": "HEAD SKULL",
    "BRAIN": "BRAIN",
    "NECK": "NECK CSPINE",
    "CHEST": "CHEST THORAX LUNG RIB RIBS STERNUM",
    "ABDOMEN": "ABDOMEN LIVER KIDNEY",
    "PELVIS": "PELVIS HIP PROSTATE",
    "SPINE": "SPINE TSPINE LSPINE SSPINE TLSPINE",
    "HEART": "HEART CARDIAC",
    "BREAST": "BREAST",
    "WHOLEBODY": "WHOLEBODY",
    "EXTREMITY": "EXTREMITY KNEE ANKLE FOOT HAND WRIST ELBOW SHOULDER LEG ARM FINGER FOREARM HUMERUS "
    "FEMUR TOE CLAVICLE SCAPULA",
}
_VIEWS = {
    "PA": r"PA|POSTERO-?\s?ANTERIOR.*",
    "AP": r"AP|ANTERO-?\s?POSTERIOR.*",
    "LL": r"LL|LEFT LATERAL",
    "RL": r"RL|RIGHT LATERAL",
    "LATERAL": r"LAT|LATERAL.*|LATERO-?.*|MEDIO-?LATERAL.*",
    "OBLIQUE": r"(RAO|LAO|RPO|LPO|LLO|RLO|OBL.*|.*OBLIQUE.*)",
    "DECUBITUS": r"(LLD|RLD|.*DECUBITUS.*)",
    "CC": r"CC|CRANIO-?\s?CAUDAL.*",
    "MLO": r"MLO",
}
_MAKERS = {
    "SIEMENS": "Siemens",
    "GE": "GE",
    "GEMS": "GE",
    "GENERAL": "GE",
    "PHILIPS": "Philips",
    "TOSHIBA": "Toshiba",
    "CANON": "Canon",
    "HITACHI": "Hitachi",
    "FUJI": "Fujifilm",
    "FUJIFILM": "Fujifilm",
    "UIH": "UIH",
    "AGFA": "Agfa",
    "CARESTREAM": "Carestream",
    "KODAK": "Carestream",
    "SAMSUNG": "Samsung",
    "SHIMADZU": "Shimadzu",
    "KONICA": "Konica Minolta",
    "BRUKER": "Bruker",
    "NEUSOFT": "Neusoft",
    "HOLOGIC": "Hologic",
    "MARCONI": "Philips",
    "PICKER": "Philips",
    "ELSCINT": "Elscint",
}
_KERNEL = re.compile(
    r"[A-Za-z]{0,3}\d{1,3}[a-z]{0,2}|[A-Z]{1,2}|(STANDARD|STD|STND|SOFT|BONE|BONEPLUS|LUNG|DETAIL|EDGE|CHST|ULTRA|SMOOTH|SHARP)[+-]?"
)
_DEFINED = {
    "rescaleType": r"HU|HU_MOD|US|OD|Z_EFF|ED|EDW|MGML|PCT|normalized",
    "photometricInterpretation": r"MONOCHROME[12]|RGB|PALETTE COLOR|YBR_[A-Z0-9_]+",
    "patientPosition": r"(HF|FF|LF|RF|AF|PF)[SPLRDA]{1,2}",
    "pixelIntensityRelationship": r"LIN|LOG|DISP",
    "presentationIntentType": r"FOR PRESENTATION|FOR PROCESSING",
    "scanningSequence": r"SE|IR|GR|EP|RM",
    "sequenceVariant": r"SK|MTC|SS|TRSS|SP|MP|OSP|NONE",
    "acquisitionType": r"[123]D",
    "laterality": r"[LRBU]",
    "patientOrientation": r"[LRAPHF]{1,3}",
}


def described_as(*texts: str) -> list[str]:
    """Fixed words that free texts hold, such as ["T1", "MPRAGE", "SAGITTAL"]; the rest is forgotten."""
    text = _spaced(" ".join(texts))
    return [word for word, pattern in _WORDS.items() if pattern.search(text)]


def document(header: Any) -> str:
    """What a picture of text is ("dose report", "screen save" ...), "" for an image of a patient."""
    kind = text_of(header, "ImageType").upper()
    words = [_spaced(kind), _spaced(text_of(header, "SeriesDescription"))]
    # A description alone proves nothing about an image that lies somewhere in a patient.
    placed = header.get("ImagePositionPatient") or "SECONDARY" not in kind
    if placed and not is_secondary_capture(header):
        words = words[:1]
    for word, pattern in _DOCUMENT.items():
        if any(pattern.search(text) for text in words):
            return word
    return ""


def is_secondary_capture(header: Any) -> bool:
    """Whether the SOP class or the conversion type says: a copy of a screen, a film or a document."""
    captured = text_of(header, "SOPClassUID").startswith("1.2.840.10008.5.1.4.1.1.7")
    return captured or text_of(header, "ConversionType") in (
        "DV",
        "DI",
        "DF",
        "WSD",
        "SD",
        "SI",
        "DRW",
        "SYN",
    )


def image_type(text: str) -> list[str]:
    """The defined words of ImageType in their order; others are left out."""
    words = re.split(r"[\\ ]+", text.upper())
    return [word for word in words if word in _IMAGE_TYPE]


def is_localizer(types: Collection[str], described: Collection[str]) -> bool:
    """Whether it is a scout: its type says so, or its description."""
    return "LOCALIZER" in types or "LOCALIZER" in described


def reformat(types: Collection[str], described: Collection[str]) -> str:
    """How an image was made from a volume; "" for slices as they were reconstructed."""
    for word, marks in (
        ("MIP", ("MIP", "PET_MIP")),
        ("MINIP", ("MINIP", "MNIP")),
        ("AVERAGE", ("AVERAGE",)),
        ("CURVED", ("CURVED", "CPR")),
        ("RENDERING", ("RENDERED", "VRT", "SSD")),
        ("MPR", ("MPR", "REFORMATTED", "MULTIPLANAR")),
    ):
        if any(mark in types for mark in marks):
            return word
    derived = "DERIVED" in types or "SECONDARY" in types
    return next((word for word in ("MIP", "MPR") if derived and word in described), "")


def parametric_map(types: Collection[str]) -> str:
    """What the values are when they are no plain signal; "" otherwise."""
    return next((word for word, marks in _MAPS.items() if any(mark in types for mark in marks)), "")


def body_part(text: str) -> str:
    """One of DICOM's words for a region; "" for a text that none of them fits."""
    words = set(re.findall(r"[A-Z]+", text.upper()))
    joined = "".join(re.findall(r"[A-Z]+", text.upper()))
    for part, names in _BODY.items():
        known = names.split()
        if joined in known or words & set(known):
            return next((n for n in known if n == joined), part)
    found = [word for word in described_as(text) if word in _BODY]
    return found[0] if found else ""


def view(text: str) -> str:
    """One of "PA", "AP", "LL", "RL", "LATERAL", "OBLIQUE", "DECUBITUS", "CC", "MLO", or ""."""
    text = text.strip().upper().replace("_", " ")
    return next((word for word, pattern in _VIEWS.items() if re.fullmatch(pattern, text)), "")


def maker(text: str) -> str:
    """The manufacturer by its best-known name, "" for others."""
    first = re.match(r"[A-Z]+", text.strip().upper())
    return _MAKERS.get(first[0], "") if first else ""


def kernel(text: str) -> str:
    """A reconstruction kernel, its values joined by a backslash; "" where one looks like no kernel."""
    parts = text.split("\\")
    return text if text and all(_KERNEL.fullmatch(part) for part in parts) else ""


def defined(key: str, text: str) -> str:
    """`text` when each of its values is a defined term of that fact, else ""."""
    parts = text.split("\\")
    return text if text and all(re.fullmatch(_DEFINED[key], part) for part in parts) else ""


def coded(sequence: Any) -> str:
    """The meaning of the first code of a sequence of codes, as text that is still free."""
    try:
        return text_of(sequence[0], "CodeMeaning")
    except (IndexError, TypeError, KeyError):
        return ""


def label(description: str, modality: str = "") -> str:
    """A description without unknown words and long numbers, such as "Thorax 8.0 B40f"; else the modality."""
    plain = re.sub(r"\[\d+\]", "", description)
    kept = [word for word in re.findall(r"[^\s_(),;:/\[\]]+", plain) if _is_plain(word)]
    return " ".join(kept) or (modality if re.fullmatch(r"[A-Z]{2,3}", modality) else "")


def _is_plain(word: str) -> bool:
    upper = word.upper()
    known = upper in _COMMON or any(pattern.fullmatch(upper) for pattern in _WORDS.values())
    # A number of more digits may be a date, or somebody's.
    return known or bool(
        re.fullmatch(r"\d{1,2}(\.\d{1,3})?(mm|MM)?|[A-Z][a-z]?\d{2}[a-z]{1,2}|FC\d{2}", word)
    )


def _spaced(text: str) -> str:
    return re.sub(r"[^A-Z0-9ÄÖÜ*+-]+", " ", text.upper())
