"""Recipes whose steps learn from the training cases: measure each, fit once, then run on all.

Only cases of the split ``train`` are measured, so nothing of the others leaks into what is learned.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..core import engine, provenance, runner
from ..core.errors import MedPrepError, ParameterError
from ..core.i18n import _
from ..core.job import Job
from ..core.operation import settings
from ..core.recipe import Recipe, Step
from ..core.volume import Volume


def unfitted(recipe: Recipe) -> Step | None:
    """The first step that has to learn from training cases before the recipe can run, if any.

    Such an operation has three further methods: ``needs_fit()``, ``measure(inputs ..., job)`` that returns
    what one case contributes as JSON, and ``fit(measured)`` that returns values of its parameters.
    """
    return next((s for s in recipe.steps if getattr(s.op, "needs_fit", None) and s.op.needs_fit()), None)


def digest(recipe: Recipe, step: str) -> str:
    """Digest of what leads to a step's measurement; what follows the step does not count."""
    before, op = _until(recipe, step)
    return provenance.digest_of([before.digest, op.operation.id, settings(op)])


def measure(
    recipe: Recipe, step: str, volumes: Mapping[str, Volume], job: Job, accept: Collection[str] = ()
) -> dict[str, Any]:
    """Run a recipe up to a step on one training case, and measure there; JSON.

    Raises
    ------
    MedPrepError
        as a run of the recipe would.
    """
    before, op = _until(recipe, step)
    done = runner.run(before, volumes, job.part(0.0, 0.8), accept)
    if done.refusal is not None:
        raise done.refusal
    found = done.result.volumes()
    arguments: dict[str, Any] = {}
    for slot in op.operation.inputs:
        given = tuple(volume for name, volume in found.items() if name.split("/")[0] == slot.name)
        arguments[slot.name] = given if slot.many else next(iter(given), None)
    return engine.measure(op, arguments, job.part(0.8, 1.0))


def fitted(
    recipe: Recipe, step: Step, measured: Sequence[Mapping[str, Any]]
) -> tuple[Recipe, dict[str, Any]]:
    """The recipe with a step's parameters learned from what was measured, and those parameters.

    Raises
    ------
    ParameterError
        when nothing was measured, or the values do not fit the operation.
    """
    if not measured:
        raise ParameterError(
            _("Step {id} learned nothing: no training case could be measured.").format(id=step.id),
            _("Expected at least one case of the split train that can be read."),
            _("Look at the failed cases."),
        )
    values = dict(step.op.fit(list(measured)))
    changed = recipe.with_settings({f"{step.id}.{name}": value for name, value in values.items()})
    op = next(s.op for s in changed.steps if s.id == step.id)
    if op.needs_fit():
        raise MedPrepError(_("Step {id} still asks for training data after its fit.").format(id=step.id))
    return changed, {name: settings(op)[name] for name in values}


def _until(recipe: Recipe, step: str) -> tuple[Recipe, Any]:
    """The steps before `step`, with its inputs as outputs ``slot/number``; and its operation."""
    n, last = next((n, s) for n, s in enumerate(recipe.steps) if s.id == step)
    outputs = {
        f"{slot}/{m}": reference for slot, given in last.inputs.items() for m, reference in enumerate(given)
    }
    return replace(recipe, steps=recipe.steps[:n], outputs=outputs), last.op
