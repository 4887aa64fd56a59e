"""All bias correctors on one image, side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np

from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import Count, Help, Preset, operation
from MedPrepCommonLib.core.result import Figure, Result, Table
from MedPrepCommonLib.core.volume import LabelVolume, Volume
from MedPrepMRILib.bias import quality
from MedPrepMRILib.bias.correction import Correction, divide
from MedPrepMRILib.bias.lowpass import gaussian_field, homomorphic_field
from MedPrepMRILib.bias.polynomial import polynomial_field
from MedPrepMRILib.bias.result import histogram, require_signal, working_mask
from MedPrepMRILib.numeric.log_field import LogField
from MedPrepMRILib.operations.bias_gaussian import BiasGaussian
from MedPrepMRILib.operations.bias_homomorphic import BiasHomomorphic
from MedPrepMRILib.operations.bias_polynomial import BiasPolynomial
from MedPrepMRILib.operations.n4 import N4

# Each with the defaults of its own operation.
METHODS: dict[str, Callable[[Volume, np.ndarray, Job], LogField]] = {
    "n4": lambda image, mask, job: N4().field(image, mask, None, job).log_field(),
    "polynomial": lambda image, mask, job: polynomial_field(image, mask, BiasPolynomial().degree, job),
    "gaussian": lambda image, mask, job: gaussian_field(image, mask, BiasGaussian().sigma, job),
    "homomorphic": lambda image, mask, job: homomorphic_field(
        image, mask, BiasHomomorphic().wavelength, BiasHomomorphic().order, job
    ),
}


@operation(
    "mri.compareBias",
    title=_("Compare bias corrections"),
    console="compareBiasMethods",
    modality="MR",
    outputs=("comparison", "histogram", *(f"{name}?" for name in METHODS)),
    records=("comparison", "histogram"),
    cite=(
        "Vovk, Pernuš and Likar 2007, IEEE Trans Med Imaging 26(3):405-421 (review), "
        "doi:10.1109/TMI.2006.891486",
        "Wang et al. 2004, IEEE Trans Image Processing 13(4):600-612 (SSIM), doi:10.1109/TIP.2003.819861",
    ),
    units={"*PSNR": "dB"},
)
class CompareBias:
    """Run several bias correctors on one image and list what each one did in the mask.

    With a reference (the same image without bias) the table also says how near each one comes to it: mean
    squared error, peak signal-to-noise ratio and structural similarity, after scaling to the reference's
    mean. A smaller coefficient of variation alone does not mean a better correction: removing anatomy lowers
    it too.
    """

    methods: Annotated[
        tuple[Literal["n4", "polynomial", "gaussian", "homomorphic"], ...],
        Count(1, 4, once=True),
        Help(_("Which ones, in the order of the table")),
    ] = ("n4", "polynomial", "gaussian", "homomorphic")
    keepImages: Annotated[bool, Help(_("Return every method's corrected image, not only the table"))] = False

    presets = {
        "all": Preset(_("All four"), "", methods=("n4", "polynomial", "gaussian", "homomorphic")),
        "twoBest": Preset(_("N4 and polynomial"), "", methods=("n4", "polynomial")),
    }

    def __call__(self, image: Volume, reference: Volume | None, mask: LabelVolume | None, job: Job) -> Result:
        if reference is not None:
            reference.require_grid_of(image, _("reference image"))
        inside = working_mask(image, mask, job.part(0.0, 0.1))
        require_signal(image.array, inside)
        result, curves, rows = Result(), [], []
        if reference is not None:
            found = quality.compare(image.array, reference.array, inside, job.part(0.1, 0.15))
            rows.append((_("none"), None, found))
        names = self.methods
        for n, name in enumerate(names):
            part = job.part(0.15 + 0.85 * n / len(names), 0.15 + 0.85 * (n + 1) / len(names), name)
            correction = self._correct(name, image, inside, part)
            part.check()
            found = None
            if reference is not None:
                found = quality.compare(correction.image, reference.array, inside, part.part(0.7, 1.0))
                values = zip(("MSE", "PSNR", "SSIM"), found, strict=True)
                result.metrics |= {name + what: value for what, value in values}
            rows.append((name, correction.measures, found))
            result.metrics[f"{name}CVReduction"] = correction.measures.reduction
            before, after = histogram(image.array, correction.image, inside).curves
            curves = [*(curves or [before]), type(after)(name, after.x, after.y)]
            if self.keepImages:
                result.images[name] = image.with_array(correction.image, name="")
        result.tables["comparison"] = _table(rows)
        result.figures["histogram"] = Figure(
            _("Intensities in the mask"), _("intensity"), _("share of voxels"), tuple(curves)
        )
        return result

    def _correct(self, name: str, image: Volume, inside: np.ndarray, job: Job) -> Correction:
        field = METHODS[name](image, inside, job.part(0.0, 0.5))
        return divide(image.array, inside, field.reader(), job.part(0.5, 0.7))


def _table(rows) -> Table:
    columns = [
        _("method"),
        _("coefficient of variation before (%)"),
        _("coefficient of variation after (%)"),
        _("reduction (%)"),
        _("field minimum"),
        _("field maximum"),
        _("field standard deviation"),
    ]
    with_reference = any(found is not None for _name, _measures, found in rows)
    if with_reference:
        columns += [_("mean squared error"), _("PSNR (dB)"), _("SSIM")]
    before = next(m.cv_before for _name, m, _found in rows if m is not None)
    cells = []
    for name, m, found in rows:
        shares = (before, before, 0.0) if m is None else (m.cv_before, m.cv_after, m.reduction)
        field = (1.0, 1.0, 0.0) if m is None else (m.field[0], m.field[1], m.field[3])
        row = (name, *(100 * share for share in shares), *field)
        cells.append(row + (tuple(found) if with_reference else ()))
    return Table(_("Bias corrections compared"), tuple(columns), tuple(cells))
