"""Makes PySide6 classes look the way PythonQt shows them inside Slicer.

In PythonQt a Qt property is an attribute (``label.text = "x"``), never a method; signals are also connected
by signature (``button.connect("clicked(bool)", f)``); ``name`` is the object name; and an unknown attribute
cannot be set. The classes of :mod:`qt` and every stand-in of :mod:`ctk` and ``slicer.qMRML...`` are built on
these.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

from PySide6 import QtCore, QtWidgets

# Virtual functions that are also properties: Qt calls them, so they stay methods here.
_VIRTUAL = {"sizeHint", "minimumSizeHint"}
_MADE: dict[type, type] = {}


class MetaProperty:
    """A Qt property as attribute; on the class itself it is what PySide has there (``QTimer.singleShot``)."""

    def __init__(self, name: str, base: type) -> None:
        self.name, self.base = name, base

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return getattr(self.base, self.name) if instance is None else instance.property(self.name)

    def __set__(self, instance: Any, value: Any) -> None:
        if not instance.setProperty(self.name, value):
            raise AttributeError(f"Property {type(instance).__name__}.{self.name} does not accept {value!r}")


class PythonQtMeta(type(QtCore.QObject)):
    """``isinstance(x, qt.QWidget)`` asks for the Qt class: every made class derives from its own one only."""

    def __init__(cls, name: str, bases: tuple[type, ...], members: dict[str, Any], **options: Any) -> None:
        super().__init__(name, bases, members, **options)
        # PySide finds these two in the object's own class only.
        cls.connect, cls.disconnect = connect, disconnect

    def __instancecheck__(cls, instance: Any) -> bool:
        base = vars(cls).get("qtClass")
        return isinstance(instance, base) if base is not None else super().__instancecheck__(instance)


def pythonQtClass(base: type) -> type:
    """The PythonQt look of a PySide6 class; the same one every time."""
    if base not in _MADE:
        members: dict[str, Any] = {"qtClass": base, "__doc__": f"``{base.__name__}`` as PythonQt shows it."}
        meta = base.staticMetaObject
        for index in range(meta.propertyCount()):
            name = meta.property(index).name()
            virtualText = name == "text" and issubclass(base, QtWidgets.QProgressBar)
            if name not in _VIRTUAL and not virtualText:
                members[name] = MetaProperty(name, base)
        members |= {
            "name": MetaProperty("objectName", base),
            "className": className,
            "findChildren": findChildren,
            "__setattr__": strictSetAttribute,
        }
        _MADE[base] = PythonQtMeta(base.__name__, (base,), members)
    return _MADE[base]


def className(self: Any) -> str:
    """Name of the Qt class, as ``QObject::metaObject()->className()``."""
    return type(self).__name__


def findChildren(self: Any, kind: type, *args: Any) -> list[Any]:
    """All descendants of a Qt class."""
    return QtCore.QObject.findChildren(self, vars(kind).get("qtClass", kind), *args)


def strictSetAttribute(self: Any, name: str, value: Any) -> None:
    """Only properties can be set: a misspelled one is an error in PythonQt too."""
    if isinstance(value, QtCore.QObject) and QtCore.QObject.objectName(value) == name:
        return  # PySide's QUiLoader hangs children on the top widget by name; PythonQt does not
    slot = inspect.getattr_static(type(self), name, None)
    isProperty = isinstance(slot, (MetaProperty, QtCore.Property))
    if not isProperty and not name.startswith("_"):
        what = "does not exist" if slot is None else "is no property"
        raise AttributeError(f"Attribute '{name}' of {type(self).__name__} {what}, so it cannot be set")
    type(self).qtClass.__setattr__(self, name, value)


def connect(self: Any, signature: str, slot: Callable[..., Any]) -> bool:
    """Connect by signature. Arguments that the slot does not take are dropped.

    Raises
    ------
    ValueError
        when the class has no such signal (PythonQt prints a warning and nothing is ever called).
    """
    if not callable(slot):
        raise TypeError(f"{slot!r} cannot be called")
    signal, count = _signal(self, signature)

    def call(*args: Any) -> None:
        slot(*_accepted(slot, args))

    # PySide chooses clicked() or clicked(bool) by the number of named parameters.
    receive = (lambda: call(), lambda a: call(a), lambda a, b: call(a, b), lambda a, b, c: call(a, b, c))[
        count
    ]
    signal.connect(receive)
    self.__dict__.setdefault("_connections", []).append((signature, slot, receive))
    return True


def disconnect(self: Any, signature: str, slot: Callable[..., Any]) -> bool:
    """Undo :func:`connect`; False when there was no such connection."""
    for entry in self.__dict__.get("_connections", []):
        if entry[0] == signature and entry[1] == slot:
            _signal(self, signature)[0].disconnect(entry[2])
            self._connections.remove(entry)
            return True
    return False


def _signal(self: Any, signature: str) -> tuple[Any, int]:
    match = re.fullmatch(r"(\w+)\((.*)\)", signature)
    if match is None:
        raise ValueError(f"'{signature}' is no signal signature, such as 'clicked(bool)'")
    name, arguments = match.groups()
    known = signature in getattr(type(self), "SIGNALS", ())
    normal = bytes(QtCore.QMetaObject.normalizedSignature(signature)).decode()
    if not known and self.metaObject().indexOfSignal(normal) < 0:
        raise ValueError(f"{type(self).__name__} has no signal {signature}")
    return getattr(self, name), len([part for part in arguments.split(",") if part.strip()])


def _accepted(slot: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, ...]:
    try:
        parameters = inspect.signature(slot).parameters.values()
    except ValueError:  # built-in without a signature
        return args
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return args
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return args[: len(places)]
