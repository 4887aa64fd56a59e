"""What a radiograph's file says beyond its pixels, as lines of quality control."""

from __future__ import annotations

from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.result import Check
from MedPrepCommonLib.core.volume import Volume

from .radiograph import Radiograph


def pixel_size(picture: Radiograph) -> Check:
    """Whether it is known how large a pixel is, and where."""
    info = picture.volume.info
    if not picture.spacing_known:
        return Check(
            _("Pixel size"),
            "warn",
            _("not known"),
            _("stated in the file"),
            _("Counts as 1 mm. Measure nothing in millimetres, or use the original DICOM file."),
        )
    value = " x ".join(f"{s:.4g}" for s in picture.spacing[::-1]) + " mm"
    if info.get("spacingSource") in ("ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        # DICOM PS3.3 10.7.1.3: not corrected for the beam's divergence.
        value += _(" at the detector; the patient is magnified")
    return Check(_("Pixel size"), "pass", value, _("stated in the file"))


def orientation(image: Volume) -> Check:
    """View, side and the directions of rows and columns, where the file tells."""
    info = image.info
    parts = []
    if info.get("viewPosition"):
        parts.append(_("view {view}").format(view=info["viewPosition"]))
    if info.get("laterality"):
        parts.append(_("side {side}").format(side=info["laterality"]))
    directions = str(info.get("patientOrientation", "")).split("\\")
    if len(directions) == 2 and all(directions):
        parts.append(
            _("columns run to {first}, rows to {second}").format(first=directions[0], second=directions[1])
        )
    mirrored = len(directions) == 2 and directions[0].startswith("R")
    turned = len(directions) == 2 and directions[1][:1] in ("H", "L", "R")
    advice = ""
    if mirrored:
        advice = _(
            "The patient's left is on the left of the image: sides would be exchanged. Mirror it first."
        )
    elif turned:
        advice = _("The image does not stand upright: turn it first.")
    return Check(
        _("Orientation"),
        "warn" if advice else "pass",
        ", ".join(parts) or _("not stated; taken as upright, the patient's right on the left"),
        "",
        advice,
    )


def processing(image: Volume) -> list[Check]:
    """Display windows, raw detector images and lossy compression, where the file tells."""
    info, checks = image.info, []
    if info.get("voiLut"):
        checks.append(
            Check(_("Display table"), "pass", _("VOI LUT in the file: recorded, not applied to the values"))
        )
    elif image.display is not None and info.get("photometricInterpretation"):
        level, width = image.display
        value = _("level {level:g}, width {width:g}: for showing, not applied to the values")
        checks.append(Check(_("Display window"), "pass", value.format(level=level, width=width)))
    if info.get("presentationIntentType") == "FOR PROCESSING":
        checks.append(
            Check(
                _("Processing"),
                "warn",
                _("raw detector image (FOR PROCESSING)"),
                _("for presentation"),
                _("Air may be bright and contrast low: use the image that is made for presentation."),
            )
        )
    if info.get("lossyCompression"):
        checks.append(
            Check(
                _("Compression"),
                "warn",
                _("lossy"),
                _("lossless"),
                _("Blocks and halos may be taught to a network: use the original."),
            )
        )
    return checks
