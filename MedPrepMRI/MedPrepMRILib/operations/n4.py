"""N4 as an operation: by MedPrep's own solver, or by ITK's filter as the reference."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np

from MedPrepCommonLib.core.errors import InputError, ParameterError
from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import Count, Help, Preset, Span, Unit, When, operation
from MedPrepCommonLib.core.result import Result, Table
from MedPrepCommonLib.core.volume import LabelVolume, Volume
from MedPrepMRILib.bias import n4, n4itk
from MedPrepMRILib.bias.correction import divide
from MedPrepMRILib.bias.result import OUTPUTS, RECORDS, bias_result, require_signal, working_mask
from MedPrepMRILib.numeric import shrink

_MOST_LEVELS = 6


@operation(
    "mri.n4",
    title=_("N4 bias correction"),
    console="correctBiasN4",
    modality="MR",
    outputs=(*OUTPUTS, "iterations"),
    records=(*RECORDS, "iterations"),
    cite=(
        "Tustison et al. 2010, IEEE Trans Med Imaging 29(6):1310-1320 (N4ITK), doi:10.1109/TMI.2010.2046908",
    ),
)
class N4:
    """Correct the smooth brightness variation of MR coils with N4.

    The corrected image keeps the input's mean in the mask; field x corrected image is the input. Without a
    mask the whole brain of a skull-stripped image is used, else all voxels with signal. A weight image (0 to
    any number) says how far each voxel counts in the fit.
    """

    shrinkFactor: Annotated[
        int,
        Span(0, 16, 1, 0),
        Help(_("Use every n-th voxel along each axis; 0 chooses a grid of about 4 mm from the spacing")),
    ] = 0
    iterations: Annotated[
        tuple[int, ...],
        Span(1, 1000, 10, 0),
        Count(1, 6),
        Help(_("Most iterations per level; each level halves the width of the mesh")),
    ] = (50, 50, 50, 50)
    convergence: Annotated[
        float,
        Span(0, 0.1, 0.0001, 7),
        Help(_("A level ends when the field changes by less (coefficient of variation); 0 never ends early")),
    ] = 0.001
    meshResolution: Annotated[
        tuple[float, float, float],
        Span(1, 16, 1, 0),
        When("splineDistance", 0.0),
        Help(_("Pieces of the first level's B-spline mesh along i, j, k")),
    ] = (1, 1, 1)
    splineDistance: Annotated[
        float,
        Span(0, 1000, 10, 1),
        Unit("mm"),
        Help(_("Width of the first level's mesh, instead of the mesh resolution; 0 uses the latter")),
    ] = 0.0
    wienerNoise: Annotated[
        float, Span(1e-6, 10, 0.01, 4), Help(_("Noise of the histogram's deconvolution: larger is gentler"))
    ] = 0.01
    fieldWidth: Annotated[
        float,
        Span(0.01, 2, 0.01, 3),
        Help(_("Width (FWHM) of the bias field's histogram, in log units: larger takes bolder steps")),
    ] = 0.15
    histogramBins: Annotated[
        int, Span(16, 2000, 10, 0), Help(_("Bins of the histogram of log intensities"))
    ] = 200
    leastField: Annotated[
        float,
        Span(0, 5, 0.1, 2),
        Unit("%"),
        When("engine", "medprep"),
        Help(
            _(
                "When three levels find a flatter field than this, there is none, and finer levels are left "
                "out, for they would model anatomy; 0 goes on in any case"
            )
        ),
    ] = 0.3
    engine: Annotated[
        Literal["medprep", "itk"],
        Help(
            _(
                "medprep: fast; itk: ITK's own filter, tens of times slower, in a process of its own "
                "(where none can be started, a cancel waits for ITK's iteration)"
            )
        ),
    ] = "medprep"

    presets = {
        "default": Preset(
            _("Usual: 4 levels, 4 mm grid"),
            "Tustison et al. 2010, IEEE Trans Med Imaging 29(6):1310-1320; ITK's defaults",
            iterations=(50, 50, 50, 50),
            convergence=0.001,
        ),
        "ants": Preset(
            _("As ANTs' brain pipelines: mesh of 200 mm, no early end"),
            "antsAtroposN4.sh of ANTs: -s 4 -c [50x50x50x50,1e-7] -b [200]",
            shrinkFactor=4,
            iterations=(50, 50, 50, 50),
            convergence=1e-7,
            splineDistance=200,
        ),
        "gentle": Preset(
            _("Gentle: only the broadest variation, 3 levels"), "", iterations=(50, 50, 50), convergence=0.001
        ),
    }

    def __post_init__(self) -> None:
        if any(spans != int(spans) for spans in self.meshResolution):
            raise ParameterError(
                _("mri.n4.meshResolution is {value}.").format(value=self.meshResolution),
                _("Expected whole numbers."),
            )

    def __call__(self, image: Volume, mask: LabelVolume | None, weight: Volume | None, job: Job) -> Result:
        if weight is not None:
            _check_weight(image, weight)
        inside = working_mask(image, mask, job.part(0.0, 0.1))
        require_signal(image.array, inside)
        steps = shrink.factors(image, self.shrinkFactor)
        part, rest = job.part(0.1, 0.8), job.part(0.8, 0.95)
        notes = [_("Shrink factor {n} along i, j, k.").format(n=" x ".join(map(str, steps[::-1])))]
        if self.engine == "itk":
            with n4itk.estimate(self._itk_task(image, inside, weight, steps), part) as found:
                correction = divide(image.array, inside, found.log_slice, rest)
                record = found.iterations
                if not found.apart:
                    notes.append(_("No Python could be started for ITK's filter: it ran inside this one."))
        else:
            field = self.field(image, inside, weight, part)
            correction = divide(image.array, inside, field.log_field().reader(), rest)
            record = field.iterations
            if len(field.lattices) < len(self.iterations):
                notes.append(
                    _(
                        "No bias field: after three levels it varied by less than {least:g} %, so the finer "
                        "levels were left out."
                    ).format(least=self.leastField)
                )
        result = bias_result(image, inside, correction)
        result.tables["iterations"] = _iterations_table(record)
        result.metrics["iterations"] = len(record)
        result.notes = notes
        job.report(1.0)
        return result

    def _meshes(self, image: Volume) -> tuple[n4.Mesh, ...]:
        """Per axis k, j, i."""
        if not self.splineDistance:
            return tuple(n4.Mesh(int(spans)) for spans in self.meshResolution[::-1])
        return tuple(
            n4.Mesh.of_distance((n - 1) * s, self.splineDistance)
            for n, s in zip(image.shape, image.spacing_kji, strict=True)
        )

    def field(self, image: Volume, inside: np.ndarray, weight: Volume | None, job: Job) -> n4.N4Field:
        """The field by MedPrep's own solver; `inside` (k, j, i) is the mask, bool."""
        steps = shrink.factors(image, self.shrinkFactor)
        return n4.estimate(
            image.array,
            inside,
            shrink.samples(image, steps),
            iterations=self.iterations,
            convergence=self.convergence,
            meshes=self._meshes(image),
            noise=self.wienerNoise,
            fwhm=self.fieldWidth,
            bins=self.histogramBins,
            flat=self.leastField / 100,
            weight=None if weight is None else weight.array,
            job=job,
        )

    def _itk_task(self, image: Volume, inside: np.ndarray, weight: Volume | None, steps) -> n4itk.Task:
        if weight is not None:
            raise InputError(
                _("The engine itk got a weight image."),
                _("Expected none: SimpleITK's filter takes a mask only."),
                _("Use the engine medprep, or leave the weight image out."),
            )
        if self.splineDistance:
            raise ParameterError(
                _("mri.n4.splineDistance is {value:g} mm.").format(value=self.splineDistance),
                _("Expected 0 with the engine itk, which knows only the mesh resolution."),
                _("Set the mesh resolution instead, or use the engine medprep."),
            )
        samples = shrink.samples(image, steps)
        coarse = np.ascontiguousarray(image.array[samples], np.float32)
        mask = inside[samples] & (coarse > 0)
        n4.require_voxels(int(mask.sum()))
        return n4itk.Task(
            coarse,
            mask,
            image.shape,
            self.iterations,
            self.convergence,
            tuple(int(spans) for spans in self.meshResolution[::-1]),
            self.wienerNoise,
            self.fieldWidth,
            self.histogramBins,
        )


def _check_weight(image: Volume, weight: Volume) -> None:
    weight.require_grid_of(image, _("weight image"))
    if weight.array.min() < 0 or not weight.array.max() > 0:
        raise InputError(
            _("The weight image goes from {low:g} to {high:g}.").format(
                low=weight.array.min(), high=weight.array.max()
            ),
            _("Expected weights of 0 or more, not all 0."),
            _("Choose another weight image, or none."),
        )


def _iterations_table(record) -> Table:
    rows = tuple((step.level, step.iteration, step.convergence) for step in record)
    return Table(_("N4 iterations"), (_("level"), _("iteration"), _("convergence")), rows)
