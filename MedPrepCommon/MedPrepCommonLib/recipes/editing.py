"""A recipe while it is being edited: it may be wrong for a while, and says what is wrong.

The record is the JSON that :func:`MedPrepCommonLib.core.recipe.parse` reads, with every parameter
spelled out. Editing keeps references in order: what a removed step made is taken from where that step took
it.
"""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..core import provenance, recipe
from ..core.errors import MedPrepError, ParameterError
from ..core.i18n import _
from ..core.operation import Operation, create, find, settings
from ..core.recipe import NAME, SCHEMA, VERSION, Recipe
from ..files import text_file


class Draft:
    """A recipe that is being edited."""

    def __init__(self, record: dict[str, Any]) -> None:
        self.record = record

    @classmethod
    def blank(cls) -> Draft:
        """A recipe with one input and no step yet."""
        return cls(
            {
                "schema": SCHEMA,
                "version": VERSION,
                "name": "my-recipe",
                "title": "",
                "description": "",
                "modality": "",
                "inputs": {"image": {"kind": "image", "description": "", "optional": False}},
                "steps": [],
                "outputs": {},
            }
        )

    @classmethod
    def of(cls, source: Recipe) -> Draft:
        """A copy of a recipe, to be changed."""
        return cls(copy.deepcopy(source.to_json()))

    # ---- what it is now

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The steps as in the file."""
        return self.record["steps"]

    def recipe(self) -> Recipe:
        """The recipe.

        Raises
        ------
        RecipeError
            while something is wrong; the message names the place.
        """
        return recipe.parse(self.record, self.record["name"] or _("recipe"))

    def problem(self) -> str:
        """What is wrong now, in the words of the recipe reader, or the empty string."""
        if not self.steps:
            return _("Add a first step.")
        if not self.record["outputs"]:
            return _("Choose at least one result to keep.")
        try:
            self.recipe()
        except MedPrepError as error:
            return str(error)
        return ""

    def operation(self, step: int) -> Operation:
        """The definition of a step's operation."""
        return find(self.steps[step]["operation"])

    def operator(self, step: int) -> Any:
        """A step's operation with its parameters.

        Raises
        ------
        ParameterError
            when the values do not fit together.
        """
        body = self.steps[step]
        return create(body["operation"], body.get("preset"), **body.get("parameters", {}))

    def preset(self, step: int) -> str:
        """The preset whose values a step has, or the empty string."""
        spec = self.operation(step)
        try:
            now = self.operator(step)
        except ParameterError:
            return ""
        return next((name for name in spec.presets if create(spec.id, name) == now), "")

    def references(self, before: int | None = None) -> dict[str, str]:
        """What a step at place `before` (default: after the last) can take, with its kind, latest first."""
        found: dict[str, str] = {}
        for number, body in enumerate(self.steps[:before]):
            spec = self.operation(number)
            made = recipe.results(recipe.Step(body["id"], _Typed(spec), _lists(body["inputs"])))
            found = {**{name: kind for name, kind in made.items() if kind != "record"}, **found}
        inputs = {name: body.get("kind", "image") for name, body in self.record["inputs"].items()}
        return {**found, **inputs}

    def choices(self, step: int, slot: str) -> list[str]:
        """The references that an input of a step can take; those that may be missing with ``?`` behind."""
        labels = next(s.labels for s in self.operation(step).inputs if s.name == slot)
        wanted = "labels" if labels else "image"
        maybe = self._may_be_missing(step)
        return [
            f"{name}?" if name in maybe else name
            for name, kind in self.references(step).items()
            if kind == wanted
        ]

    def sources(self, step: int, slot: str) -> list[str]:
        """The references that an input of a step takes now."""
        return list(_lists(self.steps[step]["inputs"]).get(slot, ()))

    # ---- changing it

    def add(self, operation: str, at: int | None = None) -> int:
        """Insert a step that takes the latest image; returns its place."""
        spec = find(operation)
        at = len(self.steps) if at is None else at
        body = {"id": self._free(spec.name), "operation": spec.id, "inputs": {}}
        body["parameters"] = settings(create(spec.id))
        self.steps.insert(at, body)
        for slot in spec.inputs:
            choices = self.choices(at, slot.name)
            if choices and (not slot.optional or slot is spec.inputs[0]):
                body["inputs"][slot.name] = choices[0]
        main = next((o for o in spec.outputs if spec.kind(o) != "record"), "")
        if main:
            # What is added last is wanted first: it takes over the output of the image that it goes on with.
            before = body["inputs"].get(spec.inputs[0].name, "")
            reference = f"{body['id']}.{main}"
            name = next((n for n, r in self.record["outputs"].items() if r == before), "")
            self.keep(reference, name, instead=True)
        return at

    def remove(self, step: int) -> None:
        """Take a step out; later steps take what it took, and label maps that it made are left out."""
        gone = self.steps.pop(step)
        instead = next(iter(_lists(gone["inputs"]).get(find(gone["operation"]).inputs[0].name, ())), "")
        prefix = f"{gone['id']}."
        spec = find(gone["operation"])
        images = {f"{prefix}{o.rstrip('?')}" for o in spec.outputs if spec.kind(o) == "image"}

        def moved(reference: str) -> str:
            if not reference.startswith(prefix):
                return reference
            return instead if reference.rstrip("?") in images else ""

        for body in self.steps:
            body["inputs"] = _plain(
                {k: [m for r in v if (m := moved(r))] for k, v in _lists(body["inputs"]).items()}
            )
        self.record["outputs"] = {name: moved(r) for name, r in self.record["outputs"].items()}
        self._drop_lost()

    def move(self, step: int, by: int) -> int:
        """Move a step by -1 or 1 places; returns its new place."""
        to = min(max(step + by, 0), len(self.steps) - 1)
        self.steps.insert(to, self.steps.pop(step))
        return to

    def rename(self, step: int, id: str) -> None:
        """Give a step another id; references follow.

        Raises
        ------
        ParameterError
            when it is no name, or taken.
        """
        old = self.steps[step]["id"]
        if id == old:
            return
        if not NAME.fullmatch(id) or id in self._taken():
            raise ParameterError(
                _("{id!r} cannot be a step's name.").format(id=id),
                _("Expected letters, digits, - and _, and a name that is not taken."),
            )
        self.steps[step]["id"] = id

        def renamed(reference: str) -> str:
            return f"{id}.{reference[len(old) + 1 :]}" if reference.startswith(f"{old}.") else reference

        for body in self.steps:
            body["inputs"] = _plain({k: map(renamed, v) for k, v in _lists(body["inputs"]).items()})
        self.record["outputs"] = {n: renamed(r) for n, r in self.record["outputs"].items()}

    def set_parameter(self, step: int, name: str, value: Any) -> None:
        """Change one parameter; whether it fits the others is said by :meth:`problem`.

        Raises
        ------
        ParameterError
            when the value by itself is out of range or of the wrong type.
        """
        spec = self.operation(step)
        value = spec.parameter(name).clean(value, spec.id)
        self._spell_out(step)
        self.steps[step]["parameters"][name] = spec.parameter(name).written(value)

    def set_preset(self, step: int, preset: str) -> None:
        """Give a step the values of a preset; the others get their defaults."""
        spec = self.operation(step)
        self.steps[step].pop("preset", None)
        self.steps[step]["parameters"] = settings(create(spec.id, preset))

    def wire(self, step: int, slot: str, references: Iterable[str]) -> None:
        """Say where an input of a step comes from; empty references are left out."""
        wired = _lists(self.steps[step]["inputs"])
        wired[slot] = tuple(dict.fromkeys(r for r in references if r))
        self.steps[step]["inputs"] = _plain(wired)

    def keep(self, reference: str, name: str = "", instead: bool = False) -> None:
        """Keep a result as an output under `name` (default: its own, made different from the others).

        Raises
        ------
        ParameterError
            when `name` is no name, or another result has it and shall not be replaced (`instead`).
        """
        others = {n: r for n, r in self.record["outputs"].items() if r.rstrip("?") != reference.rstrip("?")}
        if name and not NAME.fullmatch(name) or (name in others and not instead):
            raise ParameterError(
                _("{name!r} cannot be this result's name.").format(name=name),
                _("Expected letters, digits, - and _, and a name that no other result has."),
            )
        wanted = name or re.sub(r"[^\w-]", "_", reference.rstrip("?").rpartition(".")[2])
        if name:
            others.pop(name, None)
        number, free = 2, wanted
        while free in others:
            free, number = f"{wanted}{number}", number + 1
        self.record["outputs"] = {**others, free: reference}

    def drop(self, reference: str) -> None:
        """Do not keep a result."""
        gone = reference.rstrip("?")
        self.record["outputs"] = {n: r for n, r in self.record["outputs"].items() if r.rstrip("?") != gone}

    def results(self) -> dict[str, str]:
        """What can be kept, in the order of the steps, with the name of the output that it is, or ""."""
        names = {reference.rstrip("?"): name for name, reference in self.record["outputs"].items()}
        maybe = self._may_be_missing(len(self.steps))
        found = [name for name in self.references() if name not in self.record["inputs"]]
        order = {body["id"]: n for n, body in enumerate(self.steps)}
        found.sort(key=lambda name: order[name.rpartition(".")[0]])
        return {(f"{n}?" if n in maybe else n): names.get(n, "") for n in found}

    def add_input(self, kind: str) -> str:
        """One more "image" or label map ("labels") that the user supplies; the name that it gets."""
        name = self._free(kind)
        self.record["inputs"][name] = {"kind": kind, "description": "", "optional": False}
        return name

    def remove_input(self, name: str) -> None:
        """Take an input away. A step that took it does without, or is wrong until it takes something else."""
        del self.record["inputs"][name]
        for body in self.steps:
            wired = _lists(body["inputs"])
            body["inputs"] = _plain({s: [r for r in rs if r.rstrip("?") != name] for s, rs in wired.items()})
        self._drop_lost()

    # ---- files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the recipe as JSON, complete or not at all.

        Raises
        ------
        RecipeError
            while something is wrong.
        FileError
            when the file cannot be written.
        """
        text = json.dumps(self.recipe().to_json(), indent=2, ensure_ascii=False) + "\n"
        text_file.save(Path(path), text)

    @property
    def digest(self) -> str:
        """Of everything in it, texts included: tells whether there is something to save."""
        return provenance.digest_of(self.record)

    def _drop_lost(self) -> None:
        """Keep no result that no step makes any more."""
        made = set(self.references()) - set(self.record["inputs"])
        self.record["outputs"] = {n: r for n, r in self.record["outputs"].items() if r.rstrip("?") in made}

    def _taken(self) -> set[str]:
        return {body["id"] for body in self.steps} | set(self.record["inputs"])

    def _free(self, wanted: str) -> str:
        name, number = wanted, 2
        while name in self._taken():
            name, number = f"{wanted}{number}", number + 1
        return name

    def _spell_out(self, step: int) -> None:
        body = self.steps[step]
        preset = body.pop("preset", None)
        if preset:
            body["parameters"] = {**self.operation(step).presets[preset], **body.get("parameters", {})}
        body.setdefault("parameters", {})

    def _may_be_missing(self, step: int) -> set[str]:
        """References before `step` to what may not exist."""
        missing = {name for name, body in self.record["inputs"].items() if body.get("optional")}
        for number, body in enumerate(self.steps[:step]):
            spec, wired = self.operation(number), _lists(body["inputs"])
            needed = [
                r.rstrip("?") for slot in spec.inputs if not slot.optional for r in wired.get(slot.name, ())
            ]
            made = recipe.results(recipe.Step(body["id"], _Typed(spec), wired))
            skipped = any(reference in missing for reference in needed)
            own = {f"{body['id']}.{o.rstrip('?')}" for o in spec.outputs if o.endswith("?")}
            carried = {
                f"{body['id']}.{r.rstrip('?').rpartition('.')[2]}"
                for slot in spec.inputs
                if slot.many
                for r in wired.get(slot.name, ())
                if r.endswith("?")
            }
            missing |= set(made) if skipped else own | carried
        return missing


class _Typed:
    """Stands where :func:`recipe.results` looks for the operation: parameters may be wrong while editing."""

    def __init__(self, spec: Operation) -> None:
        self.operation = spec


def _lists(wired: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    return {k: tuple(v) if isinstance(v, list) else (v,) for k, v in wired.items()}


def _plain(wired: dict[str, Iterable[str]]) -> dict[str, Any]:
    """As in a file: one reference by itself, several as a list, none not at all."""
    found = {slot: list(references) for slot, references in wired.items()}
    return {slot: r if len(r) > 1 else r[0] for slot, r in found.items() if r}
