"""Parameters of an operation: declared once as annotated dataclass fields, described and checked here."""

from __future__ import annotations

import dataclasses
import difflib
import math
import numbers
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .definitions.labels import LABELS
from .definitions.relevance import Condition
from .errors import ParameterError
from .i18n import _

Kind = Literal["bool", "int", "float", "choice", "text", "vector", "list"]
_KINDS: dict[Any, Kind] = {bool: "bool", int: "int", float: "float", str: "text"}


@dataclass(frozen=True)
class Span:
    """Lowest and highest allowed value, both included.

    Parameters
    ----------
    step : what one click of a spin box adds.
    decimals : behind the point, in the panel.
    slider : whether the panel has a slider for it: for values that are found by looking.
    """

    low: float
    high: float
    step: float | None = None
    decimals: int = 2
    slider: bool = False


@dataclass(frozen=True)
class Unit:
    """The unit that stands behind the number, for example HU or mm."""

    symbol: str


@dataclass(frozen=True)
class Label:
    """The words before the field of an input, where its name alone would not do."""

    text: str


@dataclass(frozen=True)
class Axes:
    """A letter for each number of a vector, behind its label: those of patient space are RAS, not IJK."""

    letters: str


@dataclass(frozen=True)
class Help:
    """The tooltip: what the value does and when to change it."""

    text: str


@dataclass(frozen=True)
class Count:
    """How many items a list may have; `once`: no item twice."""

    least: int
    most: int
    once: bool = False


@dataclass(frozen=True)
class Suggest:
    """Texts that an item of a list usually is; others may be typed."""

    names: tuple[str, ...]


class Words(dict):
    """What a user reads in place of each choice; recipes and scripts keep the choice itself."""


class Preset(dict):
    """Named parameter values with a title and the source they come from."""

    def __init__(self, title: str, source: str = "", **values: Any) -> None:
        super().__init__(values)
        self.title, self.source = title, source


@dataclass(frozen=True)
class Parameter:
    """One parameter as every face sees it."""

    name: str
    kind: Kind
    default: Any
    span: Span | None = None
    unit: str = ""
    help: str = ""
    choices: tuple[str, ...] = ()
    words: Mapping[str, str] = dataclasses.field(default_factory=dict)
    length: int = 1
    axes: str = "IJK"
    item: Kind = "text"
    count: Count = Count(0, 1)
    suggestions: tuple[str, ...] = ()
    when: Condition | None = None

    @property
    def label(self) -> str:
        """The name as words in the user's language: ``minimumVolume`` becomes "Minimum volume"."""
        return label_of(self.name)

    def clean(self, value: Any, owner: str) -> Any:
        """`value` as the parameter's own type.

        Raises
        ------
        ParameterError
            when the type is wrong or the value lies outside the span or the choices.
        """
        if self.kind == "vector":
            return self._clean_vector(value, owner)
        if self.kind == "list":
            return self._clean_list(value, owner)
        if self.kind == "bool":
            if not isinstance(value, (bool, *_numpy_bool())):
                self._refuse(value, owner, _("true or false"))
            return bool(value)
        if self.kind in ("text", "choice"):
            if not isinstance(value, str):
                self._refuse(value, owner, _("text"))
            if self.kind == "choice" and value not in self.choices:
                self._refuse(
                    value,
                    owner,
                    _("one of {choices}").format(choices=", ".join(self.choices)),
                    nearest(value, self.choices),
                )
            return value
        return self._clean_number(value, owner)

    def _clean_number(self, value: Any, owner: str) -> float | int:
        whole = self.kind == "int"
        expected = _("a whole number") if whole else _("a number")
        if isinstance(value, (bool, *_numpy_bool())) or not isinstance(value, numbers.Real):
            self._refuse(value, owner, expected)
        value = typing.cast(float, value)  # which is what typing calls any real number
        if not _finite(value) or (whole and int(value) != value):
            self._refuse(value, owner, expected)
        if self.span is not None and not self.span.low <= value <= self.span.high:
            low, high = (f"{bound:g}" for bound in (self.span.low, self.span.high))
            unit = f" {self.unit}" if self.unit else ""
            self._refuse(value, owner, _("{low} to {high}{unit}").format(low=low, high=high, unit=unit))
        return int(value) if whole else float(value)

    def _clean_vector(self, value: Any, owner: str) -> tuple[float, ...]:
        if isinstance(value, numbers.Real):
            value = (value,) * self.length
        if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
            self._refuse(value, owner, _("one number or {n}").format(n=self.length))
        values = tuple(value)
        if len(values) != self.length:
            self._refuse(values, owner, _("one number or {n}").format(n=self.length))
        element = dataclasses.replace(self, kind="float")
        return tuple(element.clean(v, owner) for v in values)

    def _clean_list(self, value: Any, owner: str) -> tuple[Any, ...]:
        values = self.items_of(value) if isinstance(value, str) else value
        if isinstance(values, numbers.Real):
            values = (values,)
        if values is None or isinstance(values, Mapping) or not isinstance(values, Iterable):
            self._refuse(value, owner, self._expected_list())
        values = tuple(values)
        wrong = not self.count.least <= len(values) <= self.count.most
        if wrong or (self.count.once and len(set(values)) < len(values)):
            self._refuse(value, owner, self._expected_list())
        element = dataclasses.replace(self, kind=self.item)
        return tuple(element.clean(v, owner) for v in values)

    def _expected_list(self) -> str:
        least, most = self.count.least, self.count.most
        if self.item == "choice":
            some = _("some of {choices}, each once") if self.count.once else _("some of {choices}")
            return some.format(choices=", ".join(self.choices))
        if self.span is not None:
            whole = _("{least} to {most} whole numbers from {low} to {high}")
            text = whole if self.item == "int" else _("{least} to {most} numbers from {low} to {high}")
            low, high = (f"{bound:g}" for bound in (self.span.low, self.span.high))
            return text.format(least=least, most=most, low=low, high=high)
        return _("{least} to {most} entries").format(least=least, most=most)

    def items_of(self, text: str) -> tuple[Any, ...] | None:
        """The items of a list that is written as text, as in ``50, 50, 50`` (or 50x50x50); None for no list.

        Whether they are allowed is another question.
        """
        if not text.strip():
            return ()
        if self.item in ("int", "float"):
            try:
                return tuple(_number(word) for word in text.lower().replace("x", ",").split(","))
            except ValueError:
                return None
        if self.item == "text":
            words = [word.strip() for word in text.split(",")]
            return tuple(words) if all(words) else None
        known = {choice.lower(): choice for choice in self.choices}
        return tuple(known.get(word.lower(), word) for word in text.replace(",", " ").split())

    def written(self, value: Any) -> Any:
        """A value as recipes and provenance hold it.

        Lists are text there, as they were before recipes knew lists: digests stay, and every MedPrep can read
        it. A recipe may hold a JSON list.
        """
        if self.kind == "list":
            return ", ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in value)
        return list(value) if isinstance(value, tuple) else value

    def _refuse(self, value: Any, owner: str, expected: str, advice: str = "") -> typing.NoReturn:
        raise ParameterError(
            _("{owner}.{name} is {value}.").format(owner=owner, name=self.name, value=shown(value)),
            _("Expected {expected}.").format(expected=expected),
            advice,
        )


def _finite(value: numbers.Real) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False


def words_of(name: str) -> str:
    """A name as English words: ``minimumVolume`` becomes "Minimum volume"."""
    words = "".join(f" {c.lower()}" if c.isupper() else c for c in name)
    return words[:1].upper() + words[1:]


def label_of(name: str) -> str:
    """A name as words in the user's language."""
    words = words_of(name)
    return LABELS.get(words, words)


def _number(word: str) -> int | float:
    try:
        return int(word)
    except ValueError:
        return float(word)


def _numpy_bool() -> tuple[type, ...]:
    import numpy as np

    return (np.bool_,)


def shown(value: Any) -> str:
    """A value as it stands in a message: cut where it is long, and such that it can be printed."""
    text = repr(value).encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= 80 else f"{text[:77]}..."


def nearest(word: str, known: Iterable[str]) -> str:
    """A "Did you mean ...?" sentence for a misspelt `word`, or the empty string."""
    match = difflib.get_close_matches(word, list(known), n=1)
    return _("Did you mean {word!r}?").format(word=match[0]) if match else ""


def parameters_of(cls: type) -> tuple[Parameter, ...]:
    """The parameters that an operation's dataclass declares.

    Raises
    ------
    TypeError
        (a programmer's error) for a field without a default, help text, or of a type no face can show.
    """
    hints = typing.get_type_hints(cls, include_extras=True)
    return tuple(_parameter(field, hints[field.name]) for field in dataclasses.fields(cls))


def _parameter(field: dataclasses.Field, hint: Any) -> Parameter:
    bare: Any = hint
    notes: list[Any] = []
    if typing.get_origin(hint) is typing.Annotated:
        bare, *notes = typing.get_args(hint)
    found: dict[type, Any] = {type(note): note for note in notes}
    if field.default is dataclasses.MISSING or Help not in found:
        raise TypeError(f"{field.name}: a parameter needs a default and a Help")
    span, unit = found.get(Span), found.get(Unit, Unit("")).symbol
    when = next((note for note in notes if isinstance(note, Condition)), None)
    common = {"name": field.name, "default": field.default, "unit": unit, "help": found[Help].text}
    common["when"] = when
    if typing.get_origin(bare) is Literal:
        choices = typing.get_args(bare)
        words = found.get(Words, {})
        if not set(words) <= set(choices):
            raise TypeError(f"{field.name}: words for what is no choice: {sorted(set(words) - set(choices))}")
        return Parameter(kind="choice", choices=choices, words=words, **common)
    if typing.get_origin(bare) is tuple and typing.get_args(bare)[-1] is Ellipsis:
        return _list(typing.get_args(bare)[0], found, common)
    if typing.get_origin(bare) is tuple:
        axes = found.get(Axes, Axes("IJK")).letters
        return Parameter(kind="vector", length=len(typing.get_args(bare)), span=span, axes=axes, **common)
    if bare in (float, int) and span is None:
        raise TypeError(f"{field.name}: a number needs a Span")
    return Parameter(kind=_KINDS[bare], span=span, **common)


def _list(item: Any, found: Mapping[type, Any], common: dict[str, Any]) -> Parameter:
    if Count not in found:
        raise TypeError(f"{common['name']}: a list needs a Count")
    choices = typing.get_args(item) if typing.get_origin(item) is Literal else ()
    kind: Kind = "choice" if choices else _KINDS[item]
    if kind in ("int", "float") and Span not in found:
        raise TypeError(f"{common['name']}: a number needs a Span")
    return Parameter(
        kind="list",
        item=kind,
        choices=choices,
        words=found.get(Words, {}),
        span=found.get(Span),
        count=found[Count],
        suggestions=found.get(Suggest, Suggest(())).names,
        **common,
    )
