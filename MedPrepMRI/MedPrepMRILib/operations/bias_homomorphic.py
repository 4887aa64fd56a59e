"""Correct a bias field by filtering slow waves out of the logarithm."""

from __future__ import annotations

from typing import Annotated

from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import Help, Preset, Span, Unit, operation
from MedPrepCommonLib.core.result import Result
from MedPrepCommonLib.core.volume import LabelVolume, Volume
from MedPrepMRILib.bias.correction import divide
from MedPrepMRILib.bias.lowpass import homomorphic_field
from MedPrepMRILib.bias.result import OUTPUTS, RECORDS, bias_result, require_signal, working_mask


@operation(
    "mri.biasHomomorphic",
    title=_("Homomorphic bias correction"),
    console="correctBiasHomomorphic",
    modality="MR",
    outputs=OUTPUTS,
    records=RECORDS,
    cite=(
        "Guillemaud 1998, IEEE International Conference on Image Processing 2:872-875 (homomorphic filtering "
        "on a region of interest), doi:10.1109/ICIP.1998.723695",
    ),
)
class BiasHomomorphic:
    """Take slow waves out of the logarithm of the image; keeps the input's mean in the mask.

    Fast, but broad differences between tissues count as bias too: N4 is better where it can be used.
    """

    wavelength: Annotated[
        float,
        Span(20, 1000, 10, 0),
        Unit("mm"),
        Help(_("Waves of this length are halved, longer ones taken out: larger corrects only the broadest")),
    ] = 200.0
    order: Annotated[int, Span(1, 6, 1, 0), Help(_("Steepness of the Butterworth filter"))] = 2

    presets = {
        "brain": Preset(_("Brain, 200 mm"), "", wavelength=200),
        "local": Preset(_("Strong local variation, 100 mm: takes anatomy along"), "", wavelength=100),
    }

    def __call__(self, image: Volume, mask: LabelVolume | None, job: Job) -> Result:
        inside = working_mask(image, mask, job.part(0.0, 0.3))
        require_signal(image.array, inside)
        field = homomorphic_field(image, inside, self.wavelength, self.order, job.part(0.3, 0.6))
        return bias_result(image, inside, divide(image.array, inside, field.reader(), job.part(0.6, 1.0)))
