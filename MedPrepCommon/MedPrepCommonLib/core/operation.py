"""Operations: one frozen dataclass of parameters plus one pure function, registered under an id.

From this one definition come the panel, the console call, the recipe step, the batch job and the provenance::

    @operation("ct.window", title=_("Window"), console="window", modality="CT", outputs=("image",),
               cite=("DICOM PS3.3 C.11.2.1.2",))
    class Window:
        \"\"\"Map Hounsfield units through a display window.\"\"\"

        level: Annotated[float, Span(-2000, 4000), Unit("HU"), Help(_("Centre of the window"))] = 40.0
        presets = {"lung": Preset(_("Lung"), "source", level=-600, width=1500)}

        def __call__(self, image: Volume, job: Job) -> Result: ...

The call's arguments before ``job`` are the operation's inputs; their types say what they may be:
``Volume``, ``LabelVolume``, ``LabelVolume | None`` (optional) or ``tuple[LabelVolume, ...]`` (any number).
``Annotated[Volume, Label(_("Enhanced image"))]`` says what the panel calls one, where its name would not do.
"""

from __future__ import annotations

import fnmatch
import importlib
import inspect
import pkgutil
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from .definitions.relevance import Condition, When
from .definitions.summaries import SUMMARIES
from .errors import ParameterError
from .i18n import _
from .job import Job
from .parameters import (
    Count,
    Help,
    Label,
    Parameter,
    Preset,
    Span,
    Suggest,
    Unit,
    Words,
    label_of,
    nearest,
    parameters_of,
)
from .volume import LabelVolume, Volume

__all__ = [
    "Count",
    "Help",
    "Label",
    "Operation",
    "Preset",
    "Span",
    "Suggest",
    "Unit",
    "When",
    "Words",
    "create",
    "find",
    "import_files",
    "known",
    "operation",
    "settings",
]

# Keywords of every console method; an operation's parameter must not be called like one.
RESERVED = ("preset", "output", "job")

# Packages that register operations when their ``operations`` module is imported.
_T = TypeVar("_T")
if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:  # typing has it from Python 3.11 on; it only speaks to type checkers

    def dataclass_transform(**_facts: Any) -> Callable[[_T], _T]:
        return lambda function: function


PACKAGES = ("MedPrepCommonLib", "MedPrepCTLib", "MedPrepMRILib", "MedPrepXrayLib")


@dataclass(frozen=True)
class InputSlot:
    """One image or label map that an operation takes."""

    name: str
    labels: bool
    optional: bool = False
    many: bool = False
    own_grid: bool = False
    words: str = ""
    when: Condition | None = None

    @property
    def label(self) -> str:
        """The words before its field, in the user's language."""
        return self.words or (_("Labels to take along") if self.many else label_of(self.name))


@dataclass(frozen=True)
class Operation:
    """What every face needs to know about an operation."""

    id: str
    cls: type
    title: str
    summary: str
    console: str
    modality: str
    parameters: tuple[Parameter, ...]
    presets: Mapping[str, Preset]
    inputs: tuple[InputSlot, ...]
    outputs: tuple[str, ...]
    cite: tuple[str, ...]
    vectors: bool = False
    any_grid: bool = False
    any_values: bool = False
    labels: tuple[str, ...] = ()
    records: tuple[str, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict)

    def unit(self, metric: str) -> str:
        """The unit of a number among the results; "" for plain numbers and words."""
        return next((u for name, u in self.units.items() if fnmatch.fnmatchcase(metric, name)), "")

    def kind(self, output: str) -> str:
        """What a result is: ``image``, ``labels``, or ``record`` (a table, a figure or points)."""
        name = output.rstrip("?")
        if name in self.labels or name not in {known.rstrip("?") for known in self.outputs}:
            # What an operation takes along under its own name is a label map.
            return "labels"
        return "record" if name in self.records else "image"

    @property
    def help(self) -> str:
        """What it does, in a line or two in the user's language."""
        return SUMMARIES.get(self.id) or " ".join(self.summary.partition("\n\n")[0].split())

    @property
    def name(self) -> str:
        """The id without its modality: ``window`` of ``ct.window``."""
        return self.id.rpartition(".")[2]

    def parameter(self, name: str) -> Parameter:
        """The parameter called `name`; :class:`ParameterError` names what there is."""
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        names = [p.name for p in self.parameters]
        raise ParameterError(
            _("{id} has no parameter {name!r}.").format(id=self.id, name=name),
            _("Expected one of {names}.").format(names=", ".join(names) or "-"),
            nearest(name, names),
        )

    def idle(self, values: Mapping[str, Any]) -> list[Parameter | InputSlot]:
        """The parameters and inputs that have no effect beside the others.

        Parameters
        ----------
        values : parameters by name, and whether an input is given by its name, where that is known.
        """
        parts: list[Parameter | InputSlot] = [*self.parameters, *self.inputs]
        return [part for part in parts if part.when is not None and not part.when.met(values)]

    def preset(self, name: str) -> Preset:
        """The preset called `name`; :class:`ParameterError` names what there is."""
        if name not in self.presets:
            raise ParameterError(
                _("{id} has no preset {name!r}.").format(id=self.id, name=name),
                _("Expected one of {names}.").format(names=", ".join(self.presets) or "-"),
                nearest(name, self.presets),
            )
        return self.presets[name]


_registry: dict[str, Operation] = {}
_looked_for: set[str] = set()


@dataclass_transform(frozen_default=True)
def operation(
    id: str,
    *,
    title: str,
    console: str,
    outputs: tuple[str, ...],
    modality: str = "",
    cite: tuple[str, ...] = (),
    vectors: bool = False,
    any_grid: bool = False,
    any_values: bool = False,
    labels: tuple[str, ...] = (),
    records: tuple[str, ...] = (),
    own_grid: tuple[str, ...] = (),
    units: Mapping[str, str] | None = None,
) -> Callable[[type[_T]], type[_T]]:
    """Class decorator that makes a frozen dataclass of the class's annotated parameters and registers it.

    A ``__post_init__`` of the class runs after each parameter has been checked (for rules between them).

    Parameters
    ----------
    id : as in recipes, ``modality.name`` or ``name``.
    title : for buttons and headings.
    console : name of the method on the module's Logic.
    outputs : names of the results, main one first; a name that ends in ``?`` may be absent.
    modality : refuse images that are known to be of another one; "" takes any.
    cite : what a paper that uses it should cite.
    vectors : whether images with several components are taken.
    any_grid : whether sheared grids and single voxels are taken (for operations that report on them).
    any_values : whether NaN and infinity are taken (for operations that report on them).
    labels : those of `outputs`, without ``?``, that are label maps.
    own_grid : label inputs that may lie on another grid than the image, and are read as they were made.
    records : those that are tables, figures or points; the others are images.
    units : of metrics, by name; ``*Volume`` stands for several. The others are plain numbers or words.
    """

    def register(cls: Any) -> Any:
        between = cls.__dict__.get("__post_init__")

        def clean(self: Any) -> None:
            for parameter in self.operation.parameters:
                value = parameter.clean(getattr(self, parameter.name), id)
                object.__setattr__(self, parameter.name, value)
            if between is not None:
                between(self)

        cls.__post_init__ = clean
        cls = dataclass(frozen=True)(cls)
        spec = Operation(
            id,
            cls,
            title,
            inspect.getdoc(cls) or "",
            console,
            modality,
            parameters_of(cls),
            dict(getattr(cls, "presets", {})),
            tuple(replace(slot, own_grid=slot.name in own_grid) for slot in _inputs_of(cls)),
            outputs,
            cite,
            vectors,
            any_grid,
            any_values,
            labels,
            records,
            dict(units or {}),
        )
        clash = {p.name for p in spec.parameters} & {*RESERVED, *(slot.name for slot in spec.inputs)}
        if clash:
            raise TypeError(f"{id}: parameters may not be called {', '.join(sorted(clash))}")
        names = {p.name for p in spec.parameters} | {slot.name for slot in spec.inputs}
        parts: list[Parameter | InputSlot] = [*spec.parameters, *spec.inputs]
        for part in parts:
            if part.when is not None and not names.issuperset(part.when.names()):
                raise TypeError(
                    f"{id}.{part.name} asks for {', '.join(part.when.names())}: not all are there"
                )
        cls.operation = spec
        for name, preset in spec.presets.items():
            for key, value in preset.items():
                spec.parameter(key).clean(value, f"{id} preset {name}")
        _registry[id] = spec
        return cls

    return register


def _inputs_of(cls: type) -> tuple[InputSlot, ...]:
    hints = typing.get_type_hints(cls.__call__, include_extras=True)
    slots = []
    for name in list(inspect.signature(cls.__call__).parameters)[1:]:
        hint, words, when = hints[name], "", None
        if typing.get_origin(hint) is typing.Annotated:
            hint, *notes = typing.get_args(hint)
            words = next((note.text for note in notes if isinstance(note, Label)), "")
            when = next((note for note in notes if isinstance(note, Condition)), None)
        if hint is Job:
            break
        options = (
            typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
        )
        many = typing.get_origin(hint) is tuple
        kinds = typing.get_args(hint)[:1] if many else [o for o in options if o is not type(None)]
        if len(kinds) != 1 or not issubclass(kinds[0], Volume):
            raise TypeError(f"{cls.__name__}: input {name} must be a Volume or a LabelVolume")
        optional = many or type(None) in options
        slots.append(InputSlot(name, issubclass(kinds[0], LabelVolume), optional, many, False, words, when))
    return tuple(slots)


def known() -> dict[str, Operation]:
    """Every operation of the installed MedPrep modules by id, sorted."""
    for package in PACKAGES:
        # Once each: a panel asks at every tick of a slider, and a failed import is slow.
        if package in _looked_for:
            continue
        try:
            importlib.import_module(f"{package}.operations")
        except ModuleNotFoundError as error:
            if error.name not in (package, f"{package}.operations"):
                raise
        _looked_for.add(package)
    return dict(sorted(_registry.items()))


def import_files(package: str, folders: Iterable[str]) -> None:
    """Import every file of a package, in the order of names: ``operations`` folders find what is in them."""
    for file in sorted(pkgutil.iter_modules(folders), key=lambda file: file.name):
        importlib.import_module(f"{package}.{file.name}")


def find(id: str) -> Operation:
    """The operation called `id`.

    Raises
    ------
    ParameterError
        when there is none; the message offers the nearest.
    """
    operations = known()
    if id not in operations:
        raise ParameterError(
            _("There is no operation {id!r}.").format(id=id),
            _("Expected one of {ids}.").format(ids=", ".join(operations)),
            nearest(id, operations),
        )
    return operations[id]


def create(id: str, preset: str | None = None, **parameters: Any) -> Any:
    """An operation ready to be called: its defaults, then a preset's values, then `parameters`.

    Raises
    ------
    ParameterError
        for an unknown operation, preset or parameter, a wrong type, or a value out of range.

    Examples
    --------
    >>> settings(create("ct.window", preset="mediastinum"))["width"]
    350.0
    """
    spec = find(id)
    values = dict(spec.preset(preset)) if preset else {}
    for name in parameters:
        spec.parameter(name)
    return spec.cls(**{**values, **parameters})


def settings(op: Any) -> dict[str, Any]:
    """The parameters of an operation object as plain JSON values."""
    return {p.name: p.written(getattr(op, p.name)) for p in op.operation.parameters}
