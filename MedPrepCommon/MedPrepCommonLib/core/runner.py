"""Runs a recipe on volumes: the one path behind the panel, the console, the command line and a batch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from . import engine, input_checks, provenance
from .definitions.relevance import vain_settings
from .errors import InputChecksError
from .i18n import _
from .job import Job
from .patch_set import PatchSet
from .recipe import Recipe, Step
from .result import Result
from .volume import LabelVolume, Volume


@dataclass(frozen=True)
class RecipeRun:
    """The outputs of a recipe under the recipe's names, and the record of how they came about."""

    result: Result
    record: dict[str, Any]
    #: Why no step was run, when an input failed its checks and that was not accepted.
    refusal: InputChecksError | None = None


def run(
    recipe: Recipe, inputs: Mapping[str, Volume], job: Job | None = None, accept: Collection[str] = ()
) -> RecipeRun:
    """Run `recipe` on `inputs` (by the recipe's input names).

    First the inputs are judged (:mod:`input_checks`). Where one fails, no step is run: the result then holds
    the checks and the reason, and no image. `accept` names checks in spite of which it goes on.

    Tables, points, figures, patches, metrics, checks and notes of every step are part of the result, under
    the recipe's name where it names them as outputs; images and label maps only there. Intermediate images
    are released as soon as no later step needs them. A step whose image may be missing (its reference ends in
    ``?``) and is, is skipped, and what it would have made is missing too.

    Raises
    ------
    InputError
        when an input is missing, unknown or unusable.
    ParameterError
        when `accept` names a check that there is not.
    Cancelled
        when the job was cancelled.
    """
    job, accept = job or Job.quiet(), input_checks.require_known(accept)
    named = {reference.rstrip("?"): name for name, reference in recipe.outputs.items()}
    recipe.check_inputs(inputs)
    judged = judge(recipe, inputs, accept, job.part(0.0, 0.05, _("Input checks")))
    refusal = input_checks.refusal(judged)
    held = {name: input_checks.with_accepted(volume, accept) for name, volume in inputs.items()}
    digests = {name: provenance.digest(volume) for name, volume in held.items()}
    facts = {name: _facts(volume, digests[name]) for name, volume in held.items()}
    # Tells this run's steps from those of the same recipe on another image, where histories meet later.
    this = provenance.digest_of({"recipe": recipe.digest, "inputs": digests})
    total, steps = Result(checks=[line.check for line in judged], notes=vain_settings(recipe)), []
    if refusal is not None:
        total.notes.append(_("No step was run. {reason}").format(reason=refusal))
    for n, step in enumerate(() if refusal else recipe.steps):
        done = 0.05 + 0.95 * n / len(recipe.steps)
        part = job.part(done, done + 0.95 / len(recipe.steps), step.op.operation.title)
        part.report(0.0)
        absent = _absent(step, held)
        if absent:
            total.notes.append(_("Step {id} was skipped: {name} is missing.").format(id=step.id, name=absent))
            continue
        arguments, sources = _gather(step, held, digests)
        result = engine.run(step.op, arguments, part, sources, {"id": step.id, "run": this})
        steps.append({"id": step.id, **provenance.step(step.op, sources)})
        for name, volume in result.volumes().items():
            held[f"{step.id}.{name}"] = volume
        _collect(total, step, result, named)
        for name in list(held):
            if not _needed(recipe, name, n + 1):
                del held[name]
    for name, reference in recipe.outputs.items():
        found = held.get(reference.rstrip("?"))
        if isinstance(found, LabelVolume):
            total.labels[name] = replace(found, name=name)
        elif found is not None:
            total.images[name] = replace(found, name=name)
    digests = {name: provenance.digest(volume) for name, volume in total.volumes().items()}
    _note_digests(total, recipe, digests)
    record = {
        "recipe": recipe.to_json(),
        "recipeDigest": recipe.digest,
        "inputs": facts,
        "steps": steps,
        "outputs": {
            **{name: _facts(volume, digests[name]) for name, volume in total.volumes().items()},
            **{name: _patch_facts(patches) for name, patches in total.patches.items()},
        },
        "metrics": total.metrics,
        "notes": total.notes,
        "versions": provenance.versions(),
    }
    if accept:
        record["accepted"] = list(accept)
    if refusal is not None:
        record["stopped"] = list(refusal.ids)
    job.report(1.0)
    return RecipeRun(total, record, refusal)


def judge(
    recipe: Recipe, inputs: Mapping[str, Volume], accept: Collection[str] = (), job: Job | None = None
) -> list[input_checks.Found]:
    """The input checks of every image that `recipe` is given.

    Raises
    ------
    InputError
        when an image is known to be of another modality than the recipe.
    """
    slots = {slot.name: slot for slot in recipe.inputs}
    for name, volume in inputs.items():
        if not slots[name].labels:
            engine.check_modality(volume, recipe.modality)
    wanted = {
        name: input_checks.Wanted(
            recipe.modality, said.get("part", ""), said.get("sequence") or said.get("view", "")
        )
        for name, said in ((name, slots[name].expected) for name in inputs)
    }
    return input_checks.judge_all(inputs, wanted, accept, job)


def _absent(step: Step, held: Mapping[str, Volume]) -> str:
    """The first reference that the step cannot do without, may be missing, and is; else the empty string."""
    for slot in step.op.operation.inputs:
        references = () if slot.optional else step.inputs.get(slot.name, ())
        for reference in references:
            if reference.endswith("?") and reference.rstrip("?") not in held:
                return reference.rstrip("?")
    return ""


def _gather(
    step: Step, held: Mapping[str, Volume], digests: Mapping[str, str]
) -> tuple[dict, dict[str, str]]:
    """A step's arguments, and where each comes from as provenance says it."""
    arguments: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for slot in step.op.operation.inputs:
        found = [
            (r.rstrip("?"), held[r.rstrip("?")])
            for r in step.inputs.get(slot.name, ())
            if r.rstrip("?") in held
        ]
        for index, (reference, _volume) in enumerate(found):
            sources[f"{slot.name}[{index}]" if slot.many else slot.name] = digests.get(
                reference, f"step:{reference}"
            )
        if slot.many:
            arguments[slot.name] = tuple(
                replace(volume, name=reference.rpartition(".")[2]) for reference, volume in found
            )
        elif found:
            arguments[slot.name] = found[0][1]
    return arguments, sources


def _collect(total: Result, step: Step, result: Result, named: Mapping[str, str]) -> None:
    for kind in ("tables", "points", "figures", "patches"):
        known = getattr(total, kind)
        for name, value in getattr(result, kind).items():
            reference = f"{step.id}.{name}"
            # Two steps of one operation make results of one name: the later one says which step it is from.
            free = name not in known and name not in named.values()
            known[named.get(reference, name if free else reference)] = value
    total.metrics.update({f"{step.id}.{name}": value for name, value in result.metrics.items()})
    # The inputs were judged at the start; a check among the steps says the same again.
    total.units.update({f"{step.id}.{name}": unit for name, unit in result.units.items()})
    total.checks += [check for check in result.checks if check.name not in input_checks.titles()]
    total.notes += [note for note in result.notes if note not in total.notes]


def _note_digests(total: Result, recipe: Recipe, digests: Mapping[str, str]) -> None:
    """Add to the history of each output what its last step made: the digests of the outputs."""
    made: dict[str, dict[str, str]] = {}
    for name, digest in digests.items():
        step, _dot, result = recipe.outputs[name].rstrip("?").rpartition(".")
        made.setdefault(step, {})[result] = digest

    def noted(name: str, history: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        step = recipe.outputs[name].rpartition(".")[0]
        return (*history[:-1], {**history[-1], "outputs": made[step]}) if step else history

    for name, volume in total.images.items():
        total.images[name] = replace(volume, history=noted(name, volume.history))
    for name, labels in total.labels.items():
        total.labels[name] = replace(labels, history=noted(name, labels.history))


def _needed(recipe: Recipe, name: str, after: int) -> bool:
    later = (r for step in recipe.steps[after:] for rs in step.inputs.values() for r in rs)
    return name in {r.rstrip("?") for r in (*later, *recipe.outputs.values())}


def _facts(volume: Volume, digest: str) -> dict[str, Any]:
    channels = volume.info.get("channelNames") or []
    return {
        **({"channels": list(channels)} if len(channels) == volume.components > 1 else {}),
        "digest": digest,
        "type": volume.array.dtype.name,
        "shape": list(volume.array.shape),
        "spacing": [round(s, 9) for s in volume.spacing],
        "modality": volume.modality,
    }


def _patch_facts(patches: PatchSet) -> dict[str, Any]:
    return {
        "digest": provenance.digest_of_patches(patches),
        "type": patches.array.dtype.name,
        "shape": list(patches.array.shape[1:]),
        "spacing": [round(float(s), 9) for s in np.linalg.norm(patches.ijkToRAS[:3, :3], axis=0)],
        "modality": patches.modality,
        "patches": len(patches),
    }
