"""The table of facts: every key that a reader may put into ``Volume.info``, what it means, and who judges it.

A reader that finds something new about an image adds a row here, and the check named in it: an input check
of ``fact_checks.py`` or ``content_checks.py`` (its id is what ``--accept`` takes), or an operation whose
checks read it. A test walks the table and fails where nobody does. Facts are plain (numbers, texts, lists of
them) and never tell who the patient is.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fact:
    """What one key of ``Volume.info`` says, in which unit, and which check or operation judges it."""

    key: str
    meaning: str
    check: str
    unit: str = ""


_ROWS = (
    # Where the slices lie.
    Fact("missingSlices", "slices that do not lie where one belongs", "missing-slices"),
    Fact("missingSlicePositions", "where those lie, from the first slice", "missing-slices", "mm"),
    Fact("missingInstances", "image numbers absent between the first and the last", "missing-slices"),
    Fact("interpolatedSlices", "planes made from their neighbours to fill gaps", "missing-slices"),
    Fact("sliceSpacingDeviation", "largest distance of a slice from its even place", "uneven-slices", "mm"),
    Fact("sliceSpacingRange", "smallest and largest distance of neighbours", "uneven-slices", "mm"),
    Fact("duplicateSlices", "files left out as copies", "duplicate-slices"),
    Fact("gantryTilt", "tilt of the gantry, from the slices' positions", "gantry-tilt", "degrees"),
    Fact("statedGantryTilt", "tilt in the header that contradicts the positions", "gantry-tilt", "degrees"),
    Fact("spacingBetweenSlices", "distance between slices as stated", "slice-gaps", "mm"),
    Fact("sliceThickness", "thickness of a slice as acquired", "slice-gaps", "mm"),
    Fact("positionConflict", "two places in one header, and which was taken; `text` in words", "position"),
    Fact("positionKnown", "false: nothing says where the patient's right is", "position"),
    Fact("parentTransform", "hardened: a transform of the scene moved the image", "position"),
    Fact("spacingKnown", "false: nothing says how large a pixel is, and 1 mm was taken", "pixel-size"),
    Fact("spacingSource", "the element that the pixel size comes from", "pixel-size"),
    Fact("mosaic", "tiles of one picture that became the slices", "mosaic"),
    # What kind of picture it is.
    Fact("imageType", "DICOM ImageType, its defined words in order", "image-type"),
    Fact("derived", "true: computed from other images", "image-type"),
    Fact("localizer", "true: a scout, topogram or survey", "image-type"),
    Fact("secondaryCapture", "true: a copy of a screen, film or document", "image-type"),
    Fact("reformat", "MPR, MIP, MINIP, AVERAGE, CURVED or RENDERING", "image-type"),
    Fact("parametricMap", "ADC, FA, CBF, ...: values are no plain signal", "image-type"),
    Fact("burnedInAnnotation", "true: text is part of the picture", "burned-in-text"),
    Fact("lossyCompression", "true: compressed with loss", "lossy-compression"),
    Fact("lossyRatio", "how many times smaller", "lossy-compression"),
    Fact("exifOrientation", "the EXIF orientation (1 to 8) that was applied", "mirrored-picture"),
    # What the values are.
    Fact("rescaleSlope", "applied on reading", "rescale"),
    Fact("rescaleIntercept", "applied on reading", "rescale"),
    Fact("rescaleType", "unit of the rescaled values", "rescale"),
    Fact("padding", "value of voxels outside the field of view, as rescaled", "ct.check"),
    Fact("bitsStored", "bits of a pixel that were used", "xray.check"),
    Fact("photometricInterpretation", "as stored; MONOCHROME1 was turned on reading", "xray.check"),
    Fact("voiLut", "true: the file brings a display table, which was not applied", "xray.check"),
    Fact("presentationIntentType", "FOR PROCESSING: the detector's raw image", "for-processing"),
    Fact("pixelIntensityRelationship", "LIN, LOG or DISP", "for-processing"),
    # What was looked at, and how.
    Fact("bodyPart", "DICOM BodyPartExamined", "part"),
    Fact("laterality", "R or L of a paired part", "part"),
    Fact("viewPosition", "PA, AP, LL, LATERAL, ...", "view"),
    Fact("patientOrientation", "where rows and columns run in the patient", "placement"),
    Fact("patientPosition", "HFS, FFP, ...: how the patient lay", "placement"),
    Fact("contrastAgent", "true: contrast was given; false: said to be none", "sequence"),
    Fact("describedAs", "words of description, protocol and sequence name", "sequence"),
    Fact("echoTime", "MRI", "sequence", "ms"),
    Fact("repetitionTime", "MRI", "sequence", "ms"),
    Fact("inversionTime", "MRI", "sequence", "ms"),
    Fact("flipAngle", "MRI", "sequence", "degrees"),
    Fact("echoTrainLength", "MRI", "sequence"),
    Fact("scanningSequence", "SE, IR, GR, EP, RM, joined by a backslash", "sequence"),
    Fact("sequenceVariant", "MRI, joined by a backslash", "sequence"),
    Fact("acquisitionType", "2D or 3D", "sequence"),
    Fact("diffusionBValue", "MRI", "sequence", "s/mm2"),
    Fact("magneticFieldStrength", "MRI", "scanner", "T"),
    Fact("kvp", "tube voltage of CT and radiographs", "scanner", "kV"),
    Fact("convolutionKernel", "reconstruction kernel of a CT", "scanner"),
    Fact("manufacturer", "of the scanner", "scanner"),
    Fact("model", "of the scanner", "scanner"),
)

#: Fact by key.
FACTS = {fact.key: fact for fact in _ROWS}

#: What MedPrep itself writes beside the facts: for names and colours of results, nothing to be judged.
NOTES = {
    "accepted": "ids of failed input checks in spite of which the user went on",
    "channelNames": "names of a vector image's channels, in order",
    "colors": "diverging: shown with two colours around the middle",
}
