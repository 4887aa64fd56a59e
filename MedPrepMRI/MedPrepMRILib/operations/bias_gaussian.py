"""Correct a bias field by dividing by the local mean."""

from __future__ import annotations

from typing import Annotated

from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import Help, Preset, Span, Unit, operation
from MedPrepCommonLib.core.result import Result
from MedPrepCommonLib.core.volume import LabelVolume, Volume
from MedPrepMRILib.bias.correction import divide
from MedPrepMRILib.bias.lowpass import gaussian_field
from MedPrepMRILib.bias.result import OUTPUTS, RECORDS, bias_result, require_signal, working_mask


@operation(
    "mri.biasGaussian",
    title=_("Gaussian bias correction"),
    console="correctBiasGaussian",
    modality="MR",
    outputs=OUTPUTS,
    records=RECORDS,
    cite=(
        "Brinkmann, Manduca and Robb 1998, IEEE Trans Med Imaging 17(2):161-171 (unsharp masking), "
        "doi:10.1109/42.700729",
    ),
)
class BiasGaussian:
    """Divide by the local mean intensity under a wide Gaussian; keeps the input's mean in the mask.

    Fast, but broad differences between tissues count as bias too: N4 is better where it can be used.
    """

    sigma: Annotated[
        float,
        Span(5, 200, 5, 1),
        Unit("mm"),
        Help(_("Standard deviation of the Gaussian: larger corrects only broader variation")),
    ] = 40.0

    presets = {
        "brain": Preset(_("Brain, 40 mm"), "", sigma=40),
        "local": Preset(_("Strong local variation, 20 mm: takes anatomy along"), "", sigma=20),
    }

    def __call__(self, image: Volume, mask: LabelVolume | None, job: Job) -> Result:
        inside = working_mask(image, mask, job.part(0.0, 0.3))
        require_signal(image.array, inside)
        field = gaussian_field(image, inside, self.sigma, job.part(0.3, 0.6))
        return bias_result(image, inside, divide(image.array, inside, field.reader(), job.part(0.6, 1.0)))
