"""What each operation does, by id. Made by Tools/texts.py; a test holds it against the operations."""

from ..i18n import _

SUMMARIES = {
    "augment": _(
        "Make variants of an image and its label maps: turned, scaled, shifted, bent, with other intensities."
    ),
    "cropForeground": _(
        "Crop an image and its label maps to the box around the foreground or a mask, plus a margin."
    ),
    "cropPad": _(
        "Bring an image and its label maps to a fixed size, or to a multiple that a network can halve."
    ),
    "ct.check": _(
        "Check a CT: Hounsfield units, padding, slice thickness, spacing, slice distances and gantry tilt."
    ),
    "ct.clahe": _("Raise local contrast in each axial slice, on a windowed image or on Hounsfield units."),
    "ct.clip": _("Limit Hounsfield units to a range."),
    "ct.lungs": _("Segment the right lung, the left lung and the airway on Hounsfield units."),
    "ct.metal": _("Find metal in a CT and grade how much it disturbs the image."),
    "ct.multiWindow": _("Put up to four windows into the channels of one image, as input for a network."),
    "ct.nodules": _("Find candidates for lung nodules, solid, part-solid and ground-glass, and rank them."),
    "ct.window": _("Map a range of Hounsfield units to grey levels, as a display window does."),
    "denoise": _(
        "Take noise away and leave edges: by alike patches, by alike neighbours, or by diffusion along edges."
    ),
    "mri.biasField": _(
        "Show the bias field of a correction: its field and log field, statistics, histograms and a profile."
    ),
    "mri.biasGaussian": _(
        "Divide by the local mean intensity under a wide Gaussian; keeps the input's mean in the mask."
    ),
    "mri.biasHomomorphic": _(
        "Take slow waves out of the logarithm of the image; keeps the input's mean in the mask."
    ),
    "mri.biasPolynomial": _(
        "Correct a bias field that is a polynomial in space; keeps the input's mean in the mask."
    ),
    "mri.brainMask": _(
        "Find the brain in MRI of any contrast, of whole or skull-stripped heads, or all that gives signal."
    ),
    "mri.compareBias": _("Run several bias correctors on one image and list what each one did in the mask."),
    "mri.fuse": _(
        "Bring two to six sequences of one head onto one grid and scale, and make one image of them."
    ),
    "mri.n4": _("Correct the smooth brightness variation of MR coils with N4."),
    "mri.normalize": _(
        "Scale MRI intensities by what is measured inside a mask, or inside the brain where there is none."
    ),
    "mri.whiteStripe": _(
        "Scale intensities by normal-appearing white matter, so that scans of one sequence can be compared."
    ),
    "normalize": _(
        "Scale intensities to a range, to a mean and deviation, or to another image's distribution."
    ),
    "patches": _("Cut patches of equal size out of an image and its label maps, and list where each lies."),
    "qc": _("Hold a prepared image against the checklist: grid, slices, values, labels, lungs, sharpness."),
    "resample": _("Resample an image, and any number of label maps on its grid, to another voxel size."),
    "restore": _(
        "Put masks, or an image such as a probability map, back on the grid of the image they were made from."
    ),
    "validate": _(
        "Compare an image before and after preparation: statistics, similarity, histograms, lost information."
    ),
    "xray.check": _(
        "Check a radiograph: bit depth, polarity, saturation, exposed field, pixel size, orientation, "
        "processing."
    ),
    "xray.clahe": _("Raise the local contrast of a radiograph, at 8 to 16 bits."),
    "xray.claheAuto": _(
        "Raise the local contrast of a radiograph by CLAHE with parameters chosen from its grey levels."
    ),
    "xray.claheCompare": _(
        "Try CLAHE from weak to strong on a radiograph: all results in one picture, and a table of their "
        "measures."
    ),
    "xray.crop": _(
        "Cut off the collimator's shutters and drawn borders; every pixel that is left keeps its place "
        "and value."
    ),
    "xray.denoise": _(
        "Reduce the noise of a radiograph and keep its edges; the image keeps its type and depth."
    ),
    "xray.evaluate": _(
        "Say in numbers what an enhancement did to a radiograph, and whether it is better for it."
    ),
    "xray.lungFields": _(
        "Segment the lung fields of an upright frontal chest radiograph, the parts behind the heart included."
    ),
    "xray.lungNormalize": _("Scale a radiograph so that its lungs have mean 0 and standard deviation 1."),
    "xray.polarity": _("Make air dark and bone bright, where they are not."),
}
