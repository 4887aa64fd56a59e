"""``slicer.parameterNodeWrapper`` of the headless host: typed attributes stored in a parameter node.

The text that reaches the ``vtkMRMLScriptedModuleNode`` is the one Slicer writes, so a scene saved here
restores its parameters in Slicer and the other way round: ``str`` of a number, ``True``/``False``, an
enumeration by member name, a node as node reference, a list as ``name.len`` and ``name.0``, ``name.1``, ...,
a tuple as ``name.0``, ..., a union as ``name.<index of the type>``, a pack as ``pack.member``. Dictionaries,
``Any`` and ``QColor`` are not supported.
"""

from __future__ import annotations

import dataclasses
import logging
import types
import typing
import weakref
from collections.abc import Callable
from typing import Any

from . import validators
from .packs import FloatRange, isParameterPack, nestedParameterNames, parameterPack, splitName
from .stores import Store, storeFor
from .validators import Default, plainType, splitAnnotations, takeDefault

# Binds widgets to a wrapper: connect(wrapper, widgets by parameter name) -> tag, disconnect(wrapper, tag).
# Set where there is Qt (the tests' Qt host); Slicer has its own.
guiBinder: Any = None


@dataclasses.dataclass
class Decimals:
    """Annotation: decimals that a spin box or slider shows."""

    value: int


@dataclasses.dataclass
class SingleStep:
    """Annotation: what one click of a spin box or slider adds."""

    value: float


@dataclasses.dataclass
class ParameterInfo:
    """One member of a wrapper."""

    basename: str
    store: Store
    default: Default
    unalteredType: Any


class _Value:
    """One parameter in one node. What Slicer caches is cached: it is read again when the node changes."""

    def __init__(self, info: ParameterInfo, node: Any, prefix: str) -> None:
        import vtk

        self.info, self.node, self.name = info, node, f"{prefix}{info.basename}"
        if not info.store.isIn(node, self.name):
            info.store.write(node, self.name, info.default.value)
        self._tag = None
        if info.store.cached():
            self._value, self._writing = info.store.read(node, self.name), False
            # The node must not keep this object alive: it stops observing when it is collected.
            me = weakref.ref(self)
            self._tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: me() and me()._refresh())

    def __del__(self) -> None:
        if getattr(self, "_tag", None) is not None:
            self.node.RemoveObserver(self._tag)

    def _refresh(self) -> None:
        if not self._writing:
            self._value = self._readNode()

    def _readNode(self) -> Any:
        if not self.info.store.isIn(self.node, self.name):
            self.info.store.write(self.node, self.name, self.info.default.value)
        return self.info.store.read(self.node, self.name)

    def read(self) -> Any:
        return self._value if self._tag is not None else self._readNode()

    def write(self, value: Any) -> None:
        from slicer.util import NodeModify

        if self._tag is None:
            self.info.store.write(self.node, self.name, value)
            return
        self._writing = True
        try:
            # Observers of the node must already see the new value.
            with NodeModify(self.node):
                self.info.store.write(self.node, self.name, value)
                self._value = self._readNode()
        finally:
            self._writing = False


class _Wrapper:
    """What the decorator adds to a class."""

    def __init__(self, parameterNode: Any, prefix: str | None = None) -> None:
        self.parameterNode = parameterNode
        self._values = {
            name: _Value(info, parameterNode, prefix or "") for name, info in self.allParameters.items()
        }

    def default(self, name: str) -> Default:
        checkName(self, name)
        return self.allParameters[name].default

    def isCached(self, name: str) -> bool:
        checkName(self, name)
        return self.allParameters[name].store.cached()

    @classmethod
    def dataType(cls, name: str) -> Any:
        """The annotation of a parameter, also of a pack's member: ``dataType("window.level")``."""
        checkName(cls, name)
        top, rest = splitName(name)
        kind = cls.allParameters[top].unalteredType
        return kind if rest is None else plainType(kind).dataType(rest)

    def getValue(self, name: str) -> Any:
        checkName(self, name)
        top, rest = splitName(name)
        value = self._values[top].read()
        return value if rest is None else value.getValue(rest)

    def setValue(self, name: str, value: Any) -> None:
        checkName(self, name)
        top, rest = splitName(name)
        if rest is None:
            self._values[top].write(value)
        else:
            self._values[top].read().setValue(rest, value)

    def connectGui(self, gui: Any) -> int:
        return _binder().connectGui(self, gui)

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        return _binder().connect(self, mapping)

    def disconnectGui(self, tag: int) -> None:
        _binder().disconnect(self, tag)

    def StartModify(self) -> int:
        return self.parameterNode.StartModify()

    def EndModify(self, wasModified: int) -> int:
        return self.parameterNode.EndModify(wasModified)

    def AddObserver(self, event: Any, callback: Callable[..., Any], priority: float = 0.0) -> int:
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def Modified(self) -> None:
        self.parameterNode.Modified()


def parameterNodeWrapper(classtype: type | None = None) -> Any:
    """Class decorator: annotated members become typed properties over a parameter node."""
    return parameterNodeWrapper if classtype is None else _wrap(classtype)


def _wrap(classtype: type) -> type:
    reserved = [name for name in vars(_Wrapper) if not name.startswith("__")]
    for name in (*reserved, "allParameters", "_is_parameter_node_wrapper"):
        if hasattr(classtype, name):
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
    parameters = {}
    for name, annotation in typing.get_type_hints(classtype, include_extras=True).items():
        store, rest = _store(annotation, f"{classtype} member {name}")
        if hasattr(classtype, name):
            default = Default(getattr(classtype, name))
        else:
            default, rest = takeDefault(rest)
            default = default or Default(store.default())
        if rest:
            logging.warning("Unused annotations: %s", rest)
        parameters[name] = ParameterInfo(name, store, default, annotation)
        setattr(classtype, name, _property(name))
    classtype.allParameters = parameters
    classtype._is_parameter_node_wrapper = True
    for name in reserved:
        setattr(classtype, name, vars(_Wrapper)[name])
    classtype.__init__ = _Wrapper.__init__
    return classtype


def _store(annotation: Any, owner: str) -> tuple[Store, list[Any]]:
    kind, annotations = splitAnnotations(annotation)
    if isinstance(kind, types.UnionType):
        kind = typing.Union[typing.get_args(kind)]  # noqa: UP007 - "A | B" as value becomes Union[A, B]
    try:
        return storeFor(kind, annotations)
    except Exception as error:
        raise Exception(f"Unable to create serializer for {owner}") from error


def _property(name: str) -> property:
    return property(
        lambda self: self._values[name].read(), lambda self, value: self._values[name].write(value)
    )


def checkName(wrapper: Any, name: str) -> None:
    """Raise ValueError when `name` (possibly dotted) is no parameter of the wrapper."""
    top, rest = splitName(name)
    if top not in wrapper.allParameters:
        found = ", ".join(wrapper.allParameters)
        raise ValueError(f"Cannot find a param with the given name: {top}; found {found}")
    pack = plainType(wrapper.allParameters[top].unalteredType)
    while rest is not None:
        top, rest = splitName(rest)
        if not isParameterPack(pack) or top not in pack.allParameters:
            raise ValueError(f"{pack} has no member '{top}'")
        pack = plainType(pack.allParameters[top].unalteredType)


def isParameterNodeWrapper(classOrObject: Any) -> bool:
    """Whether the decorator was applied."""
    return getattr(classOrObject, "_is_parameter_node_wrapper", False)


def _binder() -> Any:
    if guiBinder is None:
        raise RuntimeError("There are no widgets outside Slicer: connectGui needs Qt.")
    return guiBinder


PUBLIC = {
    item.__name__: item
    for item in (
        parameterNodeWrapper,
        isParameterNodeWrapper,
        parameterPack,
        isParameterPack,
        nestedParameterNames,
        FloatRange,
        Decimals,
        SingleStep,
        Default,
        splitAnnotations,
    )
}
PUBLIC |= {
    name: getattr(validators, name)
    for name in (
        "Validator",
        "NotNone",
        "IsInstance",
        "WithinRange",
        "Minimum",
        "Maximum",
        "Choice",
        "Exclude",
        "RangeBounds",
    )
}
PUBLIC |= {"unannotatedType": plainType, "SlicerParameterNamePropertyName": "SlicerParameterName"}
