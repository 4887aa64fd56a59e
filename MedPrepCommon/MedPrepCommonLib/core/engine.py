"""Runs one operation the same way from every face: inputs checked, results named, provenance attached."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from . import input_checks, provenance
from .errors import GeometryError, InputError
from .i18n import _
from .job import Job
from .operation import Operation
from .recognition import FAMILY
from .result import Result
from .volume import LabelVolume, Volume

Inputs = Mapping[str, "Volume | tuple[LabelVolume, ...] | None"]


def run(
    op: Any,
    inputs: Inputs,
    job: Job | None = None,
    sources: Mapping[str, str] | None = None,
    mark: Mapping[str, str] | None = None,
) -> Result:
    """Run `op` on `inputs` (by input name) and return its result.

    Parameters
    ----------
    op : an operation object (see :func:`MedPrepCommonLib.core.operation.create`).
    inputs : a Volume or LabelVolume per input; a tuple of label maps where many are taken.
    job : whom to tell and whether to stop.
    sources : what provenance says about an input instead of its digest, for inputs that an earlier step made.
    mark : ``id`` and ``run`` of a recipe's step, for its record in the history. Without one, the record holds
        the digests of the results instead, so that a later operation's input can be told to be one of them.

    Raises
    ------
    InputError, GeometryError
        when an input cannot be used; nothing has been computed then.
    Cancelled
        when the job was cancelled.

    Examples
    --------
    >>> from MedPrepCommonLib import Volume, create
    >>> image = Volume(np.full((2, 3, 3), 3071, np.int16), np.eye(4), modality="CT")
    >>> int(run(create("ct.clip", low=-1000, high=400), {"image": image}).images["image"].array.max())
    400
    """
    job = job or Job.quiet()
    spec: Operation = op.operation
    arguments = _arguments(spec, inputs)
    result: Result = op(*arguments, job.part(0.0, 0.95))
    job.check()
    if mark is None:
        # A recipe has judged its inputs once, at its start.
        result.checks = input_checks.merged(_faults(spec, arguments), result.checks)
    result.units = {name: unit for name in result.metrics if (unit := spec.unit(name))}
    step = provenance.step(op, _origins(spec, arguments, sources or {}))
    step |= mark if mark is not None else {"outputs": output_digests(spec, result)}
    history = _merged(arguments, step)
    for name, volume in result.images.items():
        result.images[name] = dataclasses.replace(volume, history=history, name=volume.name or name)
    for name, labels in result.labels.items():
        result.labels[name] = dataclasses.replace(labels, history=history, name=labels.name or name)
    for name, patches in result.patches.items():
        result.patches[name] = dataclasses.replace(patches, history=history)
    job.report(1.0)
    return result


def measure(op: Any, inputs: Inputs, job: Job | None = None) -> dict[str, Any]:
    """What `op` measures in one training case, before it is fitted to all of them.

    Raises
    ------
    InputError, GeometryError, Cancelled
        as :func:`run`.
    """
    return op.measure(*_arguments(op.operation, inputs), job or Job.quiet())


def _arguments(spec: Operation, inputs: Inputs) -> list[Any]:
    unknown = set(inputs) - {slot.name for slot in spec.inputs}
    if unknown:
        raise InputError(
            _("{id} has no input called {names}.").format(id=spec.id, names=", ".join(sorted(unknown))),
            _("Expected {names}.").format(names=", ".join(slot.name for slot in spec.inputs)),
        )
    arguments: list[Any] = []
    for slot in spec.inputs:
        value = inputs.get(slot.name)
        volumes = () if value is None else value if isinstance(value, tuple) else (value,)
        if value is None and not (slot.many or slot.optional):
            raise InputError(
                _("{id} got no {name}.").format(id=spec.id, name=slot.name),
                _("Expected a volume."),
                _("Choose an input volume."),
            )
        for volume in volumes:
            _check_input(spec, slot.labels, volume)
        arguments.append(volumes if slot.many else value)
    return arguments


def _check_input(spec: Operation, labels: bool, volume: Any) -> None:
    if not isinstance(volume, LabelVolume if labels else Volume):
        raise InputError(
            _("{id} got {type}.").format(id=spec.id, type=type(volume).__name__),
            _("Expected a label map.") if labels else _("Expected an image."),
        )
    if not spec.any_grid:
        volume.require_orthogonal()
        if sorted(volume.shape)[1] < 2:
            raise GeometryError(
                _("The image is {shape} voxels.").format(shape=" x ".join(map(str, volume.shape[::-1]))),
                _("Expected at least two voxels along two axes."),
                _("Choose a volume or a slice."),
            )
    if volume.components > 1 and not spec.vectors:
        raise InputError(
            _("The image has {n} values per voxel (colour or vector).").format(n=volume.components),
            _("Expected one value per voxel."),
            _("Choose a scalar volume, or convert this one (Vector to Scalar Volume)."),
        )
    if not spec.any_values:
        check_finite(volume)
    if not labels:
        check_modality(volume, spec.modality)


def check_modality(volume: Volume, wanted: str) -> None:
    """Raise :class:`InputError` when an image is known to be of another modality than `wanted` ("": any)."""
    found, kind = (FAMILY.get(m, m) for m in (volume.modality, wanted))
    if found and kind and found != kind:
        raise InputError(
            _("The image's modality is {found}.").format(found=volume.modality),
            _("Expected {wanted}.").format(wanted=wanted),
            _("Choose a {wanted} volume, or use the MedPrep module made for {found}.").format(
                wanted=wanted, found=volume.modality
            ),
        )


def check_finite(volume: Volume) -> None:
    """Raise :class:`InputError` when a floating-point image holds NaN or infinity."""
    if not volume.finite:
        bad = int(volume.array.size - np.isfinite(volume.array).sum())
        raise InputError(
            _("{n} voxels are NaN or infinite.").format(n=bad),
            _("Expected finite values everywhere."),
            _("Replace them, for example by the padding value, before preparing the image."),
        )


def _faults(spec: Operation, arguments: list[Any]) -> list[input_checks.Found]:
    """What the facts of the inputs warn of or fail; an operation by itself says it and goes on."""
    given: dict[str, Volume] = {}
    for slot, value in zip(spec.inputs, arguments, strict=True):
        volumes = value if isinstance(value, tuple) else (value,)
        given |= {f"{slot.name}{n or ''}": v for n, v in enumerate(volumes) if v is not None}
    wanted = dict.fromkeys(given, input_checks.Wanted(spec.modality))
    found = input_checks.judge_all(given, wanted, content=False)
    return [line for line in found if line.check.verdict != "pass"]


def output_digests(spec: Operation, result: Result) -> dict[str, str]:
    """Digest by result. Label maps that were taken along go by their place: ``labels[0]``."""
    own = {output.rstrip("?") for output in spec.outputs}
    many = next((slot.name for slot in spec.inputs if slot.many), "")
    carried = [name for name in result.volumes() if name not in own]
    return {
        name if name in own else f"{many}[{carried.index(name)}]": provenance.digest(volume)
        for name, volume in result.volumes().items()
    }


def _merged(arguments: list[Any], step: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """The histories of all inputs, each step once, then `step`."""
    volumes = [v for value in arguments for v in (value if isinstance(value, tuple) else (value,))]
    return (*provenance.merged(volume.history for volume in volumes if volume is not None), step)


def _origins(spec: Operation, arguments: list[Any], sources: Mapping[str, str]) -> dict[str, str]:
    origins = {}
    for slot, value in zip(spec.inputs, arguments, strict=True):
        volumes = value if isinstance(value, tuple) else (value,)
        for index, volume in enumerate(v for v in volumes if v is not None):
            name = f"{slot.name}[{index}]" if slot.many else slot.name
            origins[name] = sources.get(name) or provenance.digest(volume)
    return origins
