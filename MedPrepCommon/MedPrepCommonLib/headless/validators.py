"""What an annotation of a parameter may say: checks on a value, and its default."""

from __future__ import annotations

import typing
from collections.abc import Callable, Sequence
from typing import Annotated, Any


def splitAnnotations(annotatedType: Any) -> tuple[Any, list[Any]]:
    """``Annotated[float, a, b]`` to ``(float, [a, b])``; a plain type has no annotations."""
    kind, *annotations = typing.get_args(Annotated[annotatedType, None])
    return kind, annotations[:-1]


def plainType(annotatedType: Any) -> Any:
    """The type without its annotations."""
    return splitAnnotations(annotatedType)[0]


class Validator:
    """Base of the annotations that refuse a value on write."""

    def validate(self, value: Any) -> None:
        raise NotImplementedError


class NotNone(Validator):
    """None is refused."""

    def validate(self, value: Any) -> None:
        if value is None:
            raise ValueError("Value must not be None")


class IsNone(Validator):
    """Only None is allowed."""

    def validate(self, value: Any) -> None:
        if value is not None:
            raise ValueError("Value must be None")


class IsInstance(Validator):
    """Other types are refused; None passes."""

    def __init__(self, classtype: Any) -> None:
        self.classtype = classtype

    def validate(self, value: Any) -> None:
        if value is not None and not isinstance(value, self.classtype):
            raise TypeError(f"Value must be of type '{self.classtype}', is '{value}' of type '{type(value)}'")


class WithinRange(Validator):
    """`minimum` to `maximum`, both included."""

    def __init__(self, minimum: Any, maximum: Any) -> None:
        self.minimum, self.maximum = minimum, maximum

    def validate(self, value: Any) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within range [{self.minimum}, {self.maximum}], is {value}")


class Minimum(Validator):
    """At least `minimum`."""

    def __init__(self, minimum: Any) -> None:
        self.minimum = minimum

    def validate(self, value: Any) -> None:
        if value < self.minimum:
            raise ValueError(f"Value must be at least {self.minimum}, is {value}")


class Maximum(Validator):
    """At most `maximum`."""

    def __init__(self, maximum: Any) -> None:
        self.maximum = maximum

    def validate(self, value: Any) -> None:
        if value > self.maximum:
            raise ValueError(f"Value must be at most {self.maximum}, is {value}")


class Choice(Validator):
    """One of `choices`."""

    def __init__(self, choices: Sequence[Any]) -> None:
        self.choices = choices

    def validate(self, value: Any) -> None:
        if value not in self.choices:
            raise ValueError(f"Value is {value}, but must be one of the following: {self.choices}")


class Exclude(Validator):
    """None of `excludedValues`."""

    def __init__(self, excludedValues: Sequence[Any]) -> None:
        self.excludedValues = excludedValues

    def validate(self, value: Any) -> None:
        if value in self.excludedValues:
            raise ValueError(f"Value is {value}, which is excluded: {self.excludedValues}")


class RangeBounds(Validator):
    """Bounds of a ``FloatRange``."""

    def __init__(self, minimum: float, maximum: float) -> None:
        self.minimum, self.maximum = minimum, maximum

    def validate(self, value: Any) -> None:
        if not (self.minimum <= value.minimum and value.maximum <= self.maximum):
            raise ValueError(
                f"Range must be within [{self.minimum}, {self.maximum}], is "
                f"[{value.minimum}, {value.maximum}]"
            )


class Default:
    """Annotation: default value, or a generator that is called each time."""

    def __init__(self, value: Any = None, *, generator: Callable[[], Any] | None = None) -> None:
        self._value, self._generator = value, generator

    @property
    def value(self) -> Any:
        return self._generator() if self._generator else self._value


def takeDefault(annotations: list[Any]) -> tuple[Default | None, list[Any]]:
    """The only Default among the annotations, and the others."""
    defaults = [item for item in annotations if isinstance(item, Default)]
    if len(defaults) > 1:
        raise Exception("Multiple defaults found")
    return (defaults[0] if defaults else None), [item for item in annotations if item not in defaults]
