"""How values of a parameter node are written as text: the part below the parameter wrapper.

A store reads and writes one type under a name in a ``vtkMRMLScriptedModuleNode``; the formats are Slicer's
(``slicer.parameterNodeWrapper.serializers``). Validators run on every write.
"""

from __future__ import annotations

import collections.abc
import enum
import inspect
import pathlib
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any

from .validators import IsInstance, IsNone, NotNone, Validator, splitAnnotations


class Store:
    """One type in a parameter node. This base keeps a value as the text of one parameter."""

    def __init__(
        self,
        checks: Sequence[Validator] = (),
        default: Any = None,
        toText: Callable[[Any], str] = str,
        fromText: Callable[[str], Any] = str,
    ) -> None:
        self.checks = list(checks)
        self._default, self._toText, self._fromText = default, toText, fromText

    def validate(self, value: Any) -> None:
        for check in self.checks:
            check.validate(value)

    def default(self) -> Any:
        return self._default

    def cached(self) -> bool:
        """Whether a value read once may be handed out again until the node changes."""
        return True

    def accepts(self, value: Any) -> bool:
        """Whether a union may store `value` here."""
        try:
            self.validate(value)
        except (TypeError, ValueError):
            return False
        return True

    def isIn(self, node: Any, name: str) -> bool:
        return bool(node.HasParameter(name))

    def write(self, node: Any, name: str, value: Any) -> None:
        self.validate(value)
        node.SetParameter(name, self._toText(value))

    def read(self, node: Any, name: str) -> Any:
        return self._fromText(node.GetParameter(name))

    def remove(self, node: Any, name: str) -> None:
        node.UnsetParameter(name)


class EnumStore(Store):
    """An enumeration, by member name."""

    def __init__(self, kind: type[enum.Enum]) -> None:
        super().__init__([IsInstance(kind)], next(iter(kind)), lambda member: member.name)
        self.kind = kind

    def read(self, node: Any, name: str) -> enum.Enum:
        key = node.GetParameter(name)
        try:
            return self.kind[key]
        except KeyError as error:
            raise ValueError(f"Found {key!r} in parameter node, which is no name in {self.kind!r}") from error


class NodeStore(Store):
    """A MRML node: a node reference, and an empty parameter of the same name that says it was set."""

    def __init__(self, kind: type) -> None:
        super().__init__([IsInstance(kind)])

    def write(self, node: Any, name: str, value: Any) -> None:
        self.validate(value)
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, value.GetID() if value is not None else None)

    def read(self, node: Any, name: str) -> Any:
        return node.GetNodeReference(name)

    def remove(self, node: Any, name: str) -> None:
        node.UnsetParameter(name)
        node.RemoveNodeReferenceIDs(name)


class TupleStore(Store):
    """A tuple of fixed length: ``name.0``, ``name.1``, ..."""

    def __init__(self, parts: list[Store]) -> None:
        super().__init__()
        self.parts = parts

    def accepts(self, value: Any) -> bool:
        return isinstance(value, tuple) and len(value) == len(self.parts)

    def default(self) -> tuple[Any, ...]:
        return tuple(part.default() for part in self.parts)

    def cached(self) -> bool:
        return all(part.cached() for part in self.parts)

    def isIn(self, node: Any, name: str) -> bool:
        return self.parts[0].isIn(node, f"{name}.0")

    def write(self, node: Any, name: str, value: Any) -> None:
        from slicer.util import NodeModify

        values = tuple(value)
        if len(values) != len(self.parts):
            raise ValueError(f"Expected {len(self.parts)} values, not {len(values)}")
        self.validate(values)
        with NodeModify(node):
            for index, (part, item) in enumerate(zip(self.parts, values, strict=True)):
                part.write(node, f"{name}.{index}", item)

    def read(self, node: Any, name: str) -> tuple[Any, ...]:
        return tuple(part.read(node, f"{name}.{index}") for index, part in enumerate(self.parts))

    def remove(self, node: Any, name: str) -> None:
        for index, part in enumerate(self.parts):
            part.remove(node, f"{name}.{index}")


class ListStore(Store):
    """A list: ``name.len`` and ``name.0``, ``name.1``, ...; what is read writes itself back when changed."""

    def __init__(self, element: Store) -> None:
        super().__init__()
        self.element = element

    def accepts(self, value: Any) -> bool:
        return isinstance(value, (list, ObservedList))

    def default(self) -> list[Any]:
        return []

    def cached(self) -> bool:
        return self.element.cached()

    def isIn(self, node: Any, name: str) -> bool:
        return bool(node.HasParameter(f"{name}.len"))

    def _length(self, node: Any, name: str) -> int:
        return int(node.GetParameter(f"{name}.len")) if self.isIn(node, name) else 0

    def write(self, node: Any, name: str, value: Any) -> None:
        from slicer.util import NodeModify

        values = list(value)
        # All or nothing: a refused element must leave the stored list as it was.
        self.validate(values)
        for item in values:
            self.element.validate(item)
        with NodeModify(node):
            before = self._length(node, name)
            for index, item in enumerate(values):
                self.element.write(node, f"{name}.{index}", item)
            node.SetParameter(f"{name}.len", str(len(values)))
            for index in range(len(values), before):
                self.element.remove(node, f"{name}.{index}")

    def read(self, node: Any, name: str) -> ObservedList:
        items = [self.element.read(node, f"{name}.{index}") for index in range(self._length(node, name))]
        return ObservedList(items, lambda values: self.write(node, name, values))

    def remove(self, node: Any, name: str) -> None:
        for index in range(self._length(node, name)):
            self.element.remove(node, f"{name}.{index}")
        node.UnsetParameter(f"{name}.len")


class ObservedList(collections.abc.MutableSequence):
    """List out of a parameter node; every change goes back into the node."""

    def __init__(self, items: list[Any], save: Callable[[list[Any]], None]) -> None:
        self._items, self._save = items, save

    def _change(self, items: list[Any]) -> None:
        self._save(items)
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: Any) -> Any:
        return self._items[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        items = list(self._items)
        items[index] = value
        self._change(items)

    def __delitem__(self, index: Any) -> None:
        items = list(self._items)
        del items[index]
        self._change(items)

    def insert(self, index: int, value: Any) -> None:
        items = list(self._items)
        items.insert(index, value)
        self._change(items)

    def __eq__(self, other: object) -> bool:
        return self._items == (other._items if isinstance(other, ObservedList) else other)

    __hash__ = None

    def __repr__(self) -> str:
        return f"ObservedList({self._items})"


class UnionStore(Store):
    """``A | B`` and ``A | None``: under ``name.<index of the type>``."""

    def __init__(self, parts: list[Store]) -> None:
        super().__init__()
        self.parts = parts

    def default(self) -> Any:
        optional = len(self.parts) == 2 and any(isinstance(check, IsNone) for check in self.parts[1].checks)
        return None if optional else self.parts[0].default()

    def cached(self) -> bool:
        return all(part.cached() for part in self.parts)

    def _place(self, node: Any, name: str) -> tuple[str, Store] | None:
        places = ((f"{name}.{index}", part) for index, part in enumerate(self.parts))
        return next(((place, part) for place, part in places if part.isIn(node, place)), None)

    def isIn(self, node: Any, name: str) -> bool:
        return self._place(node, name) is not None

    def write(self, node: Any, name: str, value: Any) -> None:
        from slicer.util import NodeModify

        self.validate(value)
        index = self._indexFor(value)
        with NodeModify(node):
            self.remove(node, name)
            self.parts[index].write(node, f"{name}.{index}", value)

    def _indexFor(self, value: Any) -> int:
        for index, part in enumerate(self.parts):
            # None belongs to the None branch, never to a node's, which would also take it.
            isNone = any(isinstance(check, IsNone) for check in part.checks)
            if (value is None) == isNone and part.accepts(value):
                return index
        raise TypeError(f"Unable to write value '{value}' of type '{type(value)}'")

    def read(self, node: Any, name: str) -> Any:
        found = self._place(node, name)
        if found is None:
            raise KeyError(f"Unable to find value for name: {name}")
        return found[1].read(node, found[0])

    def remove(self, node: Any, name: str) -> None:
        for index, part in enumerate(self.parts):
            part.remove(node, f"{name}.{index}")


# Further kinds of stores: each maker gives the store of a type, or None when the type is not its own.
MAKERS: list[Callable[[Any], Store | None]] = []


def storeFor(kind: Any, annotations: Sequence[Any] = ()) -> tuple[Store, list[Any]]:
    """The store of a type, and the annotations that are not validators."""
    store = _makeStore(kind)
    checks = [item for item in annotations if isinstance(item, Validator)]
    store.checks += checks
    return store, [item for item in annotations if item not in checks]


def _makeStore(kind: Any) -> Store:
    for make in MAKERS:
        if (store := make(kind)) is not None:
            return store
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in (int, float):
        return Store([NotNone(), IsInstance((int, float) if kind is float else int)], 0, str, kind)
    if kind is str:
        return Store([NotNone(), IsInstance(str)], "")
    if kind is bool:
        return Store(
            [NotNone(), IsInstance(bool)],
            False,
            lambda value: "True" if value else "False",
            lambda text: text == "True",
        )
    if kind is type(None):
        return Store([IsNone()], None, lambda value: "True", lambda text: None)
    if origin in (typing.Union, types.UnionType):
        return UnionStore([storeFor(*splitAnnotations(item))[0] for item in arguments])
    if origin is tuple and arguments:
        return TupleStore([storeFor(*splitAnnotations(item))[0] for item in arguments])
    if origin is list:
        return ListStore(storeFor(*splitAnnotations(arguments[0]))[0])
    if inspect.isclass(kind):
        import slicer

        if issubclass(kind, enum.Enum) and len(kind):
            return EnumStore(kind)
        if issubclass(kind, pathlib.PurePath):
            return Store([NotNone(), IsInstance(kind)], kind(), str, kind)
        if issubclass(kind, slicer.vtkMRMLNode):
            return NodeStore(kind)
    raise Exception(f"Unable to create serializer for type: {kind}")
