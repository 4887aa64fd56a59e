"""When a parameter or an input of an operation matters: said once in its annotation, used by every face.

::

    mean: Annotated[float, ..., When("method", "zscore") & When("statistics", "given")] = 0.0
    elasticSpacing: Annotated[float, ..., When("elasticDisplacement", above=0)] = 40.0
    threshold: Annotated[float, ..., When("method", "threshold") & When("mask", given=False)] = -500.0

A panel hides what does not apply, the pages say it in words, and a recipe that sets it says so in a note.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..i18n import _


class Condition:
    """Conditions can be joined by ``&`` and ``|``."""

    def __and__(self, other: Condition) -> Condition:
        return _Joined((self, other), True)

    def __or__(self, other: Condition) -> Condition:
        return _Joined((self, other), False)

    def met(self, values: Mapping[str, Any]) -> bool:
        """Whether it holds.

        Parameters
        ----------
        values : parameters by name; inputs by name, True when given. What is not known counts as fulfilled.
        """
        raise NotImplementedError

    def words(self) -> str:
        """As a user reads it, with the names of parameters as in recipes."""
        raise NotImplementedError

    def names(self) -> tuple[str, ...]:
        """The parameters and inputs that it asks for."""
        raise NotImplementedError


class When(Condition):
    """That another parameter has one of some values, lies above one, is not empty, or that an input is given.

    Parameters
    ----------
    name : of the other parameter or input.
    values : any of which it may have.
    above : what a number must exceed.
    filled : for text and lists: whether there must be something in it.
    given : for inputs: whether it must be there.
    """

    def __init__(
        self,
        name: str,
        *values: Any,
        above: float | None = None,
        filled: bool | None = None,
        given: bool | None = None,
    ) -> None:
        if sum((bool(values), above is not None, filled is not None, given is not None)) != 1:
            raise TypeError(f"When({name!r}) needs values, above, filled or given, and only one of them")
        self.name, self.values, self.above, self.filled, self.given = name, values, above, filled, given

    def met(self, values: Mapping[str, Any]) -> bool:
        value = values.get(self.name)
        if value is None:
            return True
        if self.above is not None:
            return value > self.above
        if self.filled is not None:
            return bool(value) == self.filled
        return value == self.given if self.given is not None else value in self.values

    def words(self) -> str:
        if self.above is not None:
            return _("{name} above {value}").format(name=self.name, value=f"{self.above:g}")
        if self.filled is not None:
            text = _("{name} filled in") if self.filled else _("{name} empty")
            return text.format(name=self.name)
        if self.given is not None:
            return (_("{name} given") if self.given else _("no {name} given")).format(name=self.name)
        return _("{name} = {values}").format(name=self.name, values=_any(map(_shown, self.values)))

    def names(self) -> tuple[str, ...]:
        return (self.name,)


class _Joined(Condition):
    """All of several conditions, or any."""

    def __init__(self, parts: tuple[Condition, ...], every: bool) -> None:
        self.parts, self.every = parts, every

    def met(self, values: Mapping[str, Any]) -> bool:
        return (all if self.every else any)(part.met(values) for part in self.parts)

    def words(self) -> str:
        texts = [self._text(part) for part in self.parts]
        return _("{one} and {other}").format(one=texts[0], other=texts[1]) if self.every else _any(texts)

    def _text(self, part: Condition) -> str:
        """A part's words, in brackets where "and" stands beside "or"."""
        mixed = isinstance(part, _Joined) and part.every != self.every
        return f"({part.words()})" if mixed else part.words()

    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for part in self.parts for name in part.names()))


def vain_settings(recipe: Any) -> list[str]:
    """What is set in a :class:`~..recipe.Recipe` and has no effect, a line each: seldom what was meant."""
    found = []
    for step in recipe.steps:
        spec = step.op.operation
        values = {p.name: getattr(step.op, p.name) for p in spec.parameters}
        # Whether a result that may be missing is given, nobody knows before a run.
        wired = {slot.name: step.inputs.get(slot.name, ()) for slot in spec.inputs}
        given = {name: bool(r) for name, r in wired.items() if not any(one.endswith("?") for one in r)}
        for part in spec.idle({**values, **given}):
            if part.name in values and values[part.name] != part.default:
                found.append(
                    _("{step}.{name} has no effect here: it is used with {condition}.").format(
                        step=step.id, name=part.name, condition=part.when.words()
                    )
                )
    return found


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _any(texts: Any) -> str:
    *first, last = texts
    return _("{some} or {last}").format(some=", ".join(first), last=last) if first else last
