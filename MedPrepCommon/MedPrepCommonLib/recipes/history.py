"""A recipe from the provenance of images: what was done to them by hand, in a form that does it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core import provenance
from ..core.errors import RecipeError
from ..core.i18n import _
from ..core.operation import Operation, find
from ..core.recipe import SCHEMA, VERSION, Recipe, parse
from ..core.volume import Volume

_STEP = "step:"


def recipe_of(results: Mapping[str, Volume], name: str = "recorded", title: str = "") -> Recipe:
    """The recipe that makes `results` (by the outputs' names) from the images that their history began with.

    Run on the same inputs with the same versions it gives the same bytes. What several results have in
    common becomes one step. Only steps that lead to the results are part of it.

    Raises
    ------
    RecipeError
        when an image has no history, or was changed since MedPrep made it.
    ParameterError
        when it was made by an operation that is not installed.
    """
    steps = _Steps()
    for record in provenance.merged(volume.history for volume in results.values()):
        steps.add(record)
    outputs = {key: steps.reference(volume) for key, volume in results.items()}
    return parse(
        {
            "schema": SCHEMA,
            "version": VERSION,
            "name": name,
            "title": title or _("Recorded steps"),
            "description": _("Made from the history of results."),
            "modality": next((v.modality for v in results.values() if v.modality), ""),
            "inputs": steps.inputs,
            "steps": steps.steps,
            "outputs": outputs,
        },
        name,
    )


class _Steps:
    """Steps of a recipe, found one after another in a history."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []
        self.inputs: dict[str, dict[str, Any]] = {}
        #: Name of the recipe's input by digest and whether it is taken as labels.
        self.external: dict[tuple[str, bool], str] = {}
        self._made: dict[str, str] = {}
        self._by_id: dict[tuple[str, str], tuple[str, Operation, Mapping[str, str]]] = {}

    def add(self, record: Mapping[str, Any]) -> None:
        """Append the step of one record."""
        try:
            spec = find(record["operation"])
            wired: dict[str, Any] = {}
            for slot in spec.inputs:
                names = [slot.name]
                if slot.many:
                    names = [f"{slot.name}[{n}]" for n in range(len(record["inputs"]))]
                found = [self._source(record, n, slot) for n in names if n in record["inputs"]]
                if found:
                    wired[slot.name] = found if slot.many else found[0]
            step = {
                "id": self._id(record.get("id") or spec.name),
                "operation": spec.id,
                "parameters": dict(record["parameters"]),
                "inputs": wired,
            }
        except (KeyError, TypeError, AttributeError) as error:
            raise _unreadable() from error
        self.steps.append(step)
        if "run" in record:
            self._by_id[record["run"], record["id"]] = step["id"], spec, record["inputs"]
        for name, digest in record.get("outputs", {}).items():
            self._made[digest] = self._result(step, spec, record["inputs"], name)

    def reference(self, volume: Volume) -> str:
        """What the recipe calls this result."""
        digest = provenance.digest(volume)
        if digest not in self._made:
            wrong = _("{name} has no history.") if not volume.history else _("{name} was changed by hand.")
            raise RecipeError(
                wrong.format(name=repr(volume.name)),
                _("Expected a result of MedPrep as it was made."),
                _("Choose a result of an operation or a recipe."),
            )
        return self._made[digest]

    def _id(self, wanted: str) -> str:
        taken = {step["id"] for step in self.steps} | {*self.inputs}
        name, number = wanted, 2
        while name in taken:
            name, number = f"{wanted}{number}", number + 1
        return name

    def _source(self, record: Mapping[str, Any], place: str, slot: Any) -> str:
        source = record["inputs"][place]
        if source.startswith(_STEP):
            step, _dot, result = source[len(_STEP) :].rpartition(".")
            if (record.get("run"), step) not in self._by_id:
                raise _unreadable()
            id, spec, inputs = self._by_id[record["run"], step]
            made = next(s for s in self.steps if s["id"] == id)
            return self._result(made, spec, inputs, result)
        if source in self._made:
            return self._made[source]
        key = (source, slot.labels)
        if key not in self.external:
            self.external[key] = self._id("image" if not slot.labels and not self.inputs else slot.name)
            self.inputs[self.external[key]] = {"kind": "labels" if slot.labels else "image"}
        return self.external[key]

    def _result(self, step: Mapping[str, Any], spec: Operation, inputs: Mapping[str, str], name: str) -> str:
        """The reference to a result; label maps that were taken along have the names of this recipe."""
        if name in {output.rstrip("?") for output in spec.outputs}:
            return f"{step['id']}.{name}"
        slot = next((slot.name for slot in spec.inputs if slot.many), "")
        now = [reference.rpartition(".")[2] for reference in step["inputs"].get(slot, ())]
        # By place where a single operation made it; else by the name that the label map had in its recipe.
        places = [f"{slot}[{n}]" for n in range(len(now))]
        then = [inputs[p].rpartition(".")[2] if inputs[p].startswith(_STEP) else "" for p in places]
        for names in (places, then, [name if n == "" else None for n in then]):
            if name in names:
                return f"{step['id']}.{now[names.index(name)]}"
        raise _unreadable()


def _unreadable() -> RecipeError:
    return RecipeError(
        _("The history does not say where every image came from."),
        _("Expected provenance as this version of MedPrep writes it."),
        _("Make the result again, or write the recipe by hand."),
    )
