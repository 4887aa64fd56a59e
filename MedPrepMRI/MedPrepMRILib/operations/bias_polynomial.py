"""Correct a bias field that is a polynomial in space."""

from __future__ import annotations

from typing import Annotated

from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import Help, Preset, Span, operation
from MedPrepCommonLib.core.result import Result
from MedPrepCommonLib.core.volume import LabelVolume, Volume
from MedPrepMRILib.bias.correction import divide
from MedPrepMRILib.bias.polynomial import polynomial_field
from MedPrepMRILib.bias.result import OUTPUTS, RECORDS, bias_result, require_signal, working_mask


@operation(
    "mri.biasPolynomial",
    title=_("Polynomial bias correction"),
    console="correctBiasPolynomial",
    modality="MR",
    outputs=OUTPUTS,
    records=RECORDS,
    cite=(
        "Sled, Zijdenbos and Evans 1998, IEEE Trans Med Imaging 17(1):87-97 (N3), doi:10.1109/42.668698",
        "Vovk, Pernuš and Likar 2007, IEEE Trans Med Imaging 26(3):405-421 (review), "
        "doi:10.1109/TMI.2006.891486",
    ),
)
class BiasPolynomial:
    """Correct a bias field that is a polynomial in space; keeps the input's mean in the mask.

    A low degree cannot follow anatomy, nor a field that changes within a few centimetres.
    """

    degree: Annotated[
        int, Span(2, 4, 1, 0), Help(_("Degree of the polynomial: larger follows finer variation"))
    ] = 3

    presets = {
        "cubic": Preset(_("Degree 3"), "", degree=3),
        "stiff": Preset(_("Degree 2: only the broadest variation"), "", degree=2),
    }

    def __call__(self, image: Volume, mask: LabelVolume | None, job: Job) -> Result:
        inside = working_mask(image, mask, job.part(0.0, 0.3))
        require_signal(image.array, inside)
        field = polynomial_field(image, inside, self.degree, job.part(0.3, 0.7))
        return bias_result(image, inside, divide(image.array, inside, field.reader(), job.part(0.7, 1.0)))
