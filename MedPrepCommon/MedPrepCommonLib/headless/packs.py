"""``parameterPack`` of the headless host: several parameters as one object, stored as ``pack.member``."""

from __future__ import annotations

import dataclasses
import logging
import typing
from typing import Any

from .stores import MAKERS, Store, storeFor
from .validators import NotNone, plainType, splitAnnotations, takeDefault


@dataclasses.dataclass
class PackMember:
    """One member of a pack."""

    basename: str
    store: Store
    default: Any
    unalteredType: Any


def splitName(name: str) -> tuple[str, str | None]:
    """``"x.y.z"`` to ``("x", "y.z")``; ``"x"`` to ``("x", None)``."""
    top, dot, rest = name.partition(".")
    return top, (rest if dot else None)


def isParameterPack(item: Any) -> bool:
    """Whether `item` is a pack or a pack class."""
    return getattr(item, "_is_parameterPack", False)


def nestedParameterNames(pack: Any) -> list[str]:
    """Dotted names of all members that are not packs themselves."""
    if not isParameterPack(pack):
        pack = plainType(pack)
    names = []
    for name, member in pack.allParameters.items():
        inner = plainType(member.unalteredType)
        if isParameterPack(inner):
            names += [f"{name}.{sub}" for sub in nestedParameterNames(inner)]
        else:
            names.append(name)
    return names


class _Pack:
    """What the decorator adds to a class."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        given = dict(zip(self.allParameters, args, strict=False))
        for name, value in kwargs.items():
            if name not in self.allParameters:
                raise TypeError(f"__init__() got an unexpected keyword argument '{name}'")
            if name in given:
                raise TypeError(f"__init__() got multiple values for argument '{name}'")
            given[name] = value
        for name, member in self.allParameters.items():
            setMember(self, name, given.get(name, member.default))

    def __eq__(self, other: object) -> bool:
        if packClass(type(self)) is not packClass(type(other)):
            return False
        return all(getMember(self, name) == getMember(other, name) for name in self.allParameters)

    __hash__ = None

    def __repr__(self) -> str:
        members = (f"{name}={getMember(self, name)!r}" for name in self.allParameters)
        return f"{packClass(type(self)).__name__}({', '.join(members)})"

    def getValue(self, name: str) -> Any:
        top, rest = splitName(name)
        _checkMember(self, top)
        value = getattr(self, top)
        return value if rest is None else value.getValue(rest)

    def setValue(self, name: str, value: Any) -> None:
        top, rest = splitName(name)
        _checkMember(self, top)
        if rest is None:
            setattr(self, top, value)
        else:
            getattr(self, top).setValue(rest, value)

    @classmethod
    def dataType(cls, name: str) -> Any:
        """The annotation of a member."""
        top, rest = splitName(name)
        _checkMember(cls, top)
        kind = cls.allParameters[top].unalteredType
        return kind if rest is None else plainType(kind).dataType(rest)


def _checkMember(pack: Any, name: str) -> None:
    if not hasattr(pack, name):
        raise ValueError(f"{pack} has no member '{name}'")


def packClass(cls: type) -> type:
    """The pack class as written; the class itself when it is not the observing kind out of a node."""
    return getattr(cls, "_packClass", cls)


def getMember(pack: Any, name: str) -> Any:
    return pack.__dict__[f"_member_{name}"]


def setMember(pack: Any, name: str, value: Any) -> None:
    pack.allParameters[name].store.validate(value)
    pack.__dict__[f"_member_{name}"] = value


def parameterPack(classtype: type | None = None) -> Any:
    """Class decorator: annotated members become checked members of an object that can be a parameter."""
    return parameterPack if classtype is None else _pack(classtype)


def _pack(classtype: type) -> type:
    hints = typing.get_type_hints(classtype, include_extras=True)
    if not hints:
        raise ValueError("Unable to find any members in parameterPack")
    added = ("getValue", "setValue", "dataType")
    for name in (*added, "allParameters", "_is_parameterPack"):
        if hasattr(classtype, name):
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterPack")
    members = {}
    for name, annotation in hints.items():
        store, rest = storeFor(*splitAnnotations(annotation))
        if hasattr(classtype, name):
            default = getattr(classtype, name)
        else:
            annotated, rest = takeDefault(rest)
            default = annotated.value if annotated is not None else store.default()
        if rest:
            logging.warning("Unused annotations: %s", rest)
        try:
            store.validate(default)
        except Exception as error:
            raise ValueError(f"The default '{default}' fails the validation checks: {error}") from error
        members[name] = PackMember(name, store, default, annotation)
        setattr(classtype, name, _property(name))
    classtype.allParameters = members
    classtype._is_parameterPack = True
    for name in added:
        setattr(classtype, name, vars(_Pack)[name])
    for name in ("__eq__", "__hash__", "__repr__"):
        if name not in vars(classtype) or vars(classtype)[name] is None:
            setattr(classtype, name, vars(_Pack)[name])
    ownInit = vars(classtype).get("__init__")
    classtype.__init__ = _Pack.__init__ if ownInit is None else _afterDefaults(ownInit)
    return classtype


def _afterDefaults(ownInit: Any) -> Any:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        _Pack.__init__(self)
        ownInit(self, *args, **kwargs)

    return __init__


def _property(name: str) -> property:
    def write(self: Any, value: Any) -> None:
        setMember(self, name, value)
        self.__dict__.get("_save", lambda: None)()

    return property(lambda self: getMember(self, name), write)


class PackStore(Store):
    """A pack: each member under ``name.member``; what is read writes itself back when a member is set."""

    def __init__(self, kind: type) -> None:
        super().__init__([NotNone(), _IsPack(kind)])
        self.kind = kind

    @property
    def members(self) -> dict[str, PackMember]:
        return self.kind.allParameters

    def default(self) -> Any:
        return self.kind()

    def cached(self) -> bool:
        return all(member.store.cached() for member in self.members.values())

    def isIn(self, node: Any, name: str) -> bool:
        first = next(iter(self.members.values()))
        return first.store.isIn(node, f"{name}.{first.basename}")

    def write(self, node: Any, name: str, value: Any) -> None:
        from slicer.util import NodeModify

        self.validate(value)
        with NodeModify(node):
            for member in self.members.values():
                member.store.write(node, f"{name}.{member.basename}", getMember(value, member.basename))

    def read(self, node: Any, name: str) -> Any:
        pack = object.__new__(_observing(self.kind))
        for member in self.members.values():
            pack.__dict__[f"_member_{member.basename}"] = member.store.read(node, f"{name}.{member.basename}")
        pack.__dict__["_save"] = lambda: self._saveBack(node, name, pack)
        return pack

    def _saveBack(self, node: Any, name: str, pack: Any) -> None:
        self.write(node, name, pack)
        # A nested list or pack that was put in becomes one that observes too.
        for member in self.members.values():
            pack.__dict__[f"_member_{member.basename}"] = member.store.read(node, f"{name}.{member.basename}")

    def remove(self, node: Any, name: str) -> None:
        for member in self.members.values():
            member.store.remove(node, f"{name}.{member.basename}")


class _IsPack(NotNone):
    """An object of the pack's class, or one out of a node."""

    def __init__(self, kind: type) -> None:
        self.kind = kind

    def validate(self, value: Any) -> None:
        if not isinstance(value, self.kind):
            raise ValueError(f"Value must be of type '{self.kind}', is type '{type(value)}'")


MAKERS.append(lambda kind: PackStore(kind) if isParameterPack(kind) else None)


def _observing(kind: type) -> type:
    """Subclass whose objects belong to a node: no new attributes, changes of members are saved."""
    found = vars(kind).get("_observingClass")
    if found is None:

        def refuseNew(self: Any, key: str, value: Any) -> None:
            if not hasattr(type(self), key):
                raise AttributeError(f"'{kind.__name__}' has no attribute '{key}' and none can be added")
            object.__setattr__(self, key, value)

        found = type(f"Observed{kind.__name__}", (kind,), {"__setattr__": refuseNew, "_packClass": kind})
        kind._observingClass = found
    return found


@parameterPack
class FloatRange:
    """``slicer.parameterNodeWrapper.FloatRange``: two numbers, the first not above the second."""

    _minimum: float
    _maximum: float

    def __init__(self, minimum: float = 0, maximum: float = 0) -> None:
        self.setRange(minimum, maximum)

    def setRange(self, minimum: float, maximum: float) -> None:
        if not minimum <= maximum:
            raise ValueError(f"FloatRange must have minimum <= maximum: {minimum} <= {maximum}")
        self._minimum, self._maximum = minimum, maximum

    @property
    def minimum(self) -> float:
        return self._minimum

    @minimum.setter
    def minimum(self, value: float) -> None:
        self.setRange(value, self.maximum)

    @property
    def maximum(self) -> float:
        return self._maximum

    @maximum.setter
    def maximum(self, value: float) -> None:
        self.setRange(self.minimum, value)
