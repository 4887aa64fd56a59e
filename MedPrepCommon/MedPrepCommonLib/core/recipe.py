"""Recipes: an ordered list of operations as JSON that can be read, shared, hashed and replayed.

A recipe names its inputs (one may say what it must show: ``"part": "chest"``), its steps and its outputs. A
step takes recipe inputs (``"image"``) or results of earlier steps (``"lungs.lungs"``). A reference with a
``?`` at its end is left out where that result does not exist, and a step that needs it is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from . import json_text, provenance
from .errors import InputError, MedPrepError, ParameterError, RecipeError
from .i18n import _
from .operation import PACKAGES, Operation, create, find, settings
from .parameters import nearest, shown
from .recognition import EXPECTED

SCHEMA, VERSION = "medprep-recipe", 1

_RECIPE_KEYS = ("schema", "version", "name", "title", "description", "modality", "inputs", "steps", "outputs")
_STEP_KEYS = ("id", "operation", "preset", "parameters", "inputs")
# Names of inputs, steps and outputs: they become words of the command line, references and file names.
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_INPUT_KEYS = ("kind", "description", "optional", *EXPECTED)


@dataclass(frozen=True)
class RecipeInput:
    """An image or label map that the user supplies; `expected` says what it must show (see EXPECTED)."""

    name: str
    labels: bool
    description: str
    optional: bool
    expected: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One operation of a recipe with where its inputs come from."""

    id: str
    op: Any
    inputs: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Recipe:
    """A checked recipe; every reference resolves and every parameter is in range."""

    name: str
    title: str
    description: str
    modality: str
    inputs: tuple[RecipeInput, ...]
    steps: tuple[Step, ...]
    outputs: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """The recipe as plain JSON with every parameter spelled out."""
        return {
            "schema": SCHEMA,
            "version": VERSION,
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "modality": self.modality,
            "inputs": {
                i.name: {
                    "kind": "labels" if i.labels else "image",
                    "description": i.description,
                    "optional": i.optional,
                    **i.expected,
                }
                for i in self.inputs
            },
            "steps": [
                {
                    "id": s.id,
                    "operation": s.op.operation.id,
                    "parameters": settings(s.op),
                    "inputs": {k: list(v) if len(v) != 1 else v[0] for k, v in s.inputs.items()},
                }
                for s in self.steps
            ],
            "outputs": dict(self.outputs),
        }

    @property
    def digest(self) -> str:
        """SHA-256 of what the recipe does; its texts do not count."""
        record = self.to_json()
        return provenance.digest_of({key: record[key] for key in ("version", "inputs", "steps", "outputs")})

    def check_inputs(self, given: Collection[str]) -> None:
        """Hold the names of what a user supplies against the inputs.

        Raises
        ------
        InputError
            when the recipe has no input of a name, or needs one that is not among them.
        """
        names = [wanted.name for wanted in self.inputs]
        for name in given:
            if name not in names:
                raise InputError(
                    _("Recipe {recipe} has no input {name!r}.").format(recipe=self.name, name=name),
                    _("Expected {names}.").format(names=", ".join(names)),
                )
        for wanted in self.inputs:
            if wanted.name not in given and not wanted.optional:
                raise InputError(
                    _("Recipe {recipe} got no {name}.").format(recipe=self.name, name=wanted.name),
                    _("Expected {what}.").format(what=wanted.description or _("an image")),
                    _("Give it, on the command line with --input {name}=PATH.").format(name=wanted.name),
                )

    def with_settings(self, changes: Mapping[str, Any]) -> Recipe:
        """A copy with parameters changed, addressed as ``operation.parameter`` or ``step.parameter``.

        ``ct.window.level`` changes every ct.window step; ``lungwindow.level`` the step with that id;
        ``ct.window.preset`` sets all values of a preset.

        Raises
        ------
        RecipeError, ParameterError
            when no step answers to the address, or the value does not fit.
        """
        steps = list(self.steps)
        changed: dict[int, dict[str, Any]] = {}
        for address, value in changes.items():
            owner, _dot, name = address.rpartition(".")
            hits = [n for n, step in enumerate(steps) if owner in (step.id, step.op.operation.id)]
            if not hits:
                owners = sorted({step.id for step in steps} | {step.op.operation.id for step in steps})
                raise RecipeError(
                    _("Recipe {name} has no step {owner!r} (setting {address}).").format(
                        name=self.name, owner=owner, address=address
                    ),
                    _("Expected one of {owners}.").format(owners=", ".join(owners)),
                    nearest(owner, owners),
                )
            for n in hits:
                changed.setdefault(n, {}).update(_setting(steps[n].op.operation, address, name, value))
        for n, values in changed.items():
            op = steps[n].op
            # All at once: two values that only fit each other may both be new.
            steps[n] = replace(steps[n], op=create(op.operation.id, **{**settings(op), **values}))
        return replace(self, steps=tuple(steps))


def _setting(spec: Operation, address: str, name: str, value: Any) -> dict[str, Any]:
    """The parameter values that one changed setting stands for; errors name its address."""
    try:
        if name == "preset" and isinstance(value, str):
            return dict(spec.preset(value))
        return {name: spec.parameter(name).clean(value, spec.id)}
    except ParameterError as error:
        raise ParameterError(f"{address}: {error.wrong}", error.expected, error.advice) from error


def parse(record: Any, where: str = "recipe") -> Recipe:
    """A recipe from decoded JSON.

    Raises
    ------
    RecipeError
        naming the path inside the file (``steps[2].parameters.level``) of the first thing that is wrong.
    """
    if not isinstance(record, Mapping):
        _wrong(where, "", _("it is not a JSON object"))
    _keys(where, "", record, _RECIPE_KEYS, ("schema", "version", "name", "inputs", "steps", "outputs"))
    if record["schema"] != SCHEMA:
        _wrong(where, "schema", _("it is {value!r}").format(value=record["schema"]), repr(SCHEMA))
    if record["version"] != VERSION:
        _wrong(
            where,
            "version",
            _("it is {value!r}").format(value=record["version"]),
            _("{version}; a newer MedPrep may have written it").format(version=VERSION),
        )
    inputs = tuple(
        _input(where, name, body) for name, body in _mapping(where, "inputs", record["inputs"]).items()
    )
    if not isinstance(record["steps"], list) or not record["steps"]:
        _wrong(where, "steps", _("it is not a list of steps"))
    available = {i.name: "labels" if i.labels else "image" for i in inputs}
    steps: list[Step] = []
    for n, body in enumerate(record["steps"]):
        step = _step(where, f"steps[{n}]", body, available)
        if step.id in {s.id for s in steps} | {i.name for i in inputs}:
            _wrong(where, f"steps[{n}].id", _("{id!r} is used twice").format(id=step.id), _("another id"))
        steps.append(step)
        available |= results(step)
    outputs = _mapping(where, "outputs", record["outputs"])
    for name, reference in outputs.items():
        _name(where, f"outputs.{name}", name)
        _reference(where, f"outputs.{name}", reference, available)
    texts = {
        key: _text(where, key, record.get(key, "")) for key in ("name", "title", "description", "modality")
    }
    return Recipe(inputs=inputs, steps=tuple(steps), outputs=outputs, **texts)


def load(source: str | Path) -> Recipe:
    """A recipe by name (``ct-lung``) or from a JSON file.

    Raises
    ------
    RecipeError
        when there is no such recipe, or it is wrong; the message names the path inside the file.
    """
    path = Path(source)
    if path.suffix != ".json":
        found = available()
        if str(source) not in found:
            raise RecipeError(
                _("There is no recipe {name!r}.").format(name=str(source)),
                _("Expected one of {names}, or a .json file.").format(names=", ".join(found)),
                nearest(str(source), found),
            )
        path = found[str(source)]
    try:
        return parse(json_text.read(path), path.name)
    except OSError as error:
        raise RecipeError(
            _("The recipe {file} cannot be read ({reason}).").format(file=path.name, reason=error.strerror),
            _("Expected a readable .json file."),
            _("Check the path."),
        ) from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise RecipeError(
            _("{file} is not JSON: {reason}.").format(file=path.name, reason=error),
            _("Expected a MedPrep recipe."),
            _("Correct the file at that line."),
        ) from error


def available() -> dict[str, Path]:
    """The recipes that the installed modules bring, by name."""
    folders = []
    for package in PACKAGES:
        try:
            module = __import__(package)
        except ModuleNotFoundError:
            continue
        folders.append(Path(str(module.__file__)).parent / "recipes")
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.json"))}


def _wrong(where: str, path: str, wrong: str, expected: str = "") -> None:
    place = f"{where}: {path}" if path else where
    raise RecipeError(
        f"{place}: {wrong}.",
        _("Expected {what}.").format(what=expected) if expected else "",
        _("Correct the recipe there."),
    )


def _keys(
    where: str, path: str, body: Mapping[str, Any], known: tuple[str, ...], needed: tuple[str, ...]
) -> None:
    prefix = f"{path}." if path else ""
    for key in body:
        if key not in known:
            _wrong(
                where,
                prefix + str(key),
                _("it is unknown"),
                _("one of {known}").format(known=", ".join(known)),
            )
    for key in needed:
        if key not in body:
            _wrong(where, prefix + key, _("it is missing"))


def _text(where: str, path: str, value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        _wrong(where, path, _("it is {value}").format(value=shown(value)), _("text"))
    return value


def _one_of(where: str, path: str, value: Any, known: Collection[str]) -> str:
    if not isinstance(value, str) or value not in known:
        _wrong(where, path, _("it is {value!r}").format(value=value), " / ".join(known))
    return value


def _name(where: str, path: str, value: Any) -> str:
    if not NAME.fullmatch(_text(where, path, value)):
        _wrong(where, path, _("{value!r} is no name").format(value=value), _("letters, digits, - and _"))
    return value


def _mapping(where: str, path: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not value:
        _wrong(where, path, _("it is {value!r}").format(value=value), _("an object with at least one entry"))
    return value


def _input(where: str, name: str, body: Any) -> RecipeInput:
    path = f"inputs.{name}"
    _name(where, path, name)
    if not isinstance(body, Mapping):
        _wrong(where, path, _("it is {value!r}").format(value=body), _("an object"))
    _keys(where, path, body, _INPUT_KEYS, ())
    kind = _one_of(where, f"{path}.kind", body.get("kind", "image"), ("image", "labels"))
    if not isinstance(body.get("optional", False), bool):
        _wrong(where, f"{path}.optional", _("it is {value!r}").format(value=body["optional"]), "true / false")
    shown = [key for key in EXPECTED if key in body]
    return RecipeInput(
        name,
        kind == "labels",
        _text(where, f"{path}.description", body.get("description", "")),
        body.get("optional", False),
        {key: _one_of(where, f"{path}.{key}", body[key], EXPECTED[key]) for key in shown},
    )


def _step(where: str, path: str, body: Any, available: Mapping[str, str]) -> Step:
    if not isinstance(body, Mapping):
        _wrong(where, path, _("it is {value!r}").format(value=body), _("an object"))
    _keys(where, path, body, _STEP_KEYS, ("operation", "inputs"))
    name = _text(where, f"{path}.operation", body["operation"])
    parameters = body.get("parameters", {})
    if not isinstance(parameters, Mapping):
        _wrong(where, f"{path}.parameters", _("it is {value!r}").format(value=parameters), _("an object"))
    preset = body.get("preset")
    if preset is not None:
        _text(where, f"{path}.preset", preset)
    place = f"{path}.operation"
    try:
        spec = find(name)
        place = f"{path}.preset"
        if preset is not None:
            spec.preset(preset)
        for key, value in parameters.items():
            place = f"{path}.parameters.{key}"
            spec.parameter(key).clean(value, name)
        place = path
        op = create(name, preset, **parameters)
    except MedPrepError as error:
        raise RecipeError(f"{where}: {place}: {error.wrong}", error.expected, error.advice) from error
    slots = {slot.name: slot for slot in spec.inputs}
    inputs, given = {}, body["inputs"]
    if given != {} or all(slot.optional for slot in spec.inputs):
        _mapping(where, f"{path}.inputs", given)
    for key, value in given.items():
        place = f"{path}.inputs.{key}"
        if key not in slots:
            _wrong(where, place, _("{id} has no such input").format(id=name), ", ".join(slots))
        references = tuple(value) if isinstance(value, list) else (value,)
        if len(references) > 1 and not slots[key].many:
            _wrong(where, place, _("{id} takes one").format(id=name))
        for reference in references:
            _reference(where, place, reference, available, slots[key].labels)
        inputs[key] = references
    for slot in spec.inputs:
        if not inputs.get(slot.name) and not slot.optional:
            _wrong(where, f"{path}.inputs.{slot.name}", _("it is missing"))
    return Step(_name(where, f"{path}.id", body.get("id", spec.name)), op, inputs)


def _reference(
    where: str, path: str, reference: Any, available: Mapping[str, str], labels: bool | None = None
) -> None:
    kind = available.get(_text(where, path, reference).rstrip("?"))
    if kind is None:
        known = ", ".join(sorted(available))
        _wrong(where, path, _("nothing before it makes {reference!r}").format(reference=reference), known)
    if labels is not None and (kind == "record" or (labels and kind != "labels")):
        wrong = _("{reference!r} is no image") if kind == "record" else _("{reference!r} is no label map")
        fitting = [name for name, k in available.items() if k == "labels" or (k == "image" and not labels)]
        _wrong(where, path, wrong.format(reference=reference), ", ".join(sorted(fitting)))


def results(step: Step) -> dict[str, str]:
    """References to what a step makes, with their kind (see :meth:`Operation.kind`).

    Results have the operation's own names; label maps that it takes along keep theirs. An operation that
    makes several `variants` numbers its first result and the label maps from 2 on.
    """
    spec = step.op.operation
    carried = [
        reference.rstrip("?").rpartition(".")[2]
        for slot in spec.inputs
        if slot.many
        for reference in step.inputs.get(slot.name, ())
    ]
    found = {output.rstrip("?"): spec.kind(output) for output in (*spec.outputs, *carried)}
    for n in range(2, getattr(step.op, "variants", 1) + 1):
        found |= {f"{name}{n}": found[name] for name in (spec.outputs[0].rstrip("?"), *carried)}
    return {f"{step.id}.{name}": kind for name, kind in found.items()}
