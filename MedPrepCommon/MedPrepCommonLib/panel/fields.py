"""Fields made from definitions: a spin box, a combo box, a check box or a line of text for one value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..core.i18n import _
from ..core.parameters import Parameter
from .list_field import ListField


def field(kind: Any, value: Any, changed: Callable[[Any], None], choices: Sequence[str] = ()) -> Any:
    """A widget that shows `value` and calls `changed` with a new one when the user changed it.

    Parameters
    ----------
    kind : a :class:`Parameter` (its range, unit and words are used), or "text", "bool" or "choice".
    value : of a plain "choice" the index.
    """
    if isinstance(kind, Parameter):
        return _parameterField(kind, value, changed)
    return (
        {"text": _line, "bool": _box}[kind](value, changed)
        if kind != "choice"
        else _combo(value, choices, choices, changed)
    )


def referenceField(chosen: str, choices: Sequence[str], none: bool, changed: Callable[[str], None]) -> Any:
    """A combo box of references; one that is chosen stays in the list even when it is wrong."""
    values = [*([""] if none else []), *choices]
    if chosen and chosen not in values:
        # A file may leave the ? out where it does not matter.
        plain = [v.rstrip("?") for v in values]
        if chosen.rstrip("?") in plain:
            values[plain.index(chosen.rstrip("?"))] = chosen
        else:
            values.append(chosen)
    return _combo(values.index(chosen), [v or _("none") for v in values], values, changed)


def _parameterField(parameter: Parameter, value: Any, changed: Callable[[Any], None]) -> Any:
    if parameter.kind == "bool":
        return _box(value, changed)
    if parameter.kind == "list":
        items = ListField(parameter, changed)
        items.show(parameter.items_of(value) if isinstance(value, str) else value)
        return items.widget
    if parameter.kind == "text":
        return _line(value, changed)
    if parameter.kind == "choice":
        words = [parameter.words.get(choice, choice) for choice in parameter.choices]
        return _combo(parameter.choices.index(value), words, parameter.choices, changed)
    return _number(parameter, value, changed)


def _number(parameter: Parameter, value: Any, changed: Callable[[Any], None]) -> Any:
    import qt

    whole = parameter.kind == "int"
    widget = qt.QSpinBox() if whole else qt.QDoubleSpinBox()
    span = parameter.span
    if span is not None:
        if not whole:
            widget.decimals = span.decimals
        widget.minimum, widget.maximum = (int(v) if whole else float(v) for v in (span.low, span.high))
        if span.step is not None:
            widget.singleStep = int(span.step) if whole else float(span.step)
    if parameter.unit:
        widget.suffix = f" {parameter.unit}"
    widget.value = value
    # Not at every key: "1" on the way to "12" may be out of range.
    widget.keyboardTracking = False
    widget.connect("valueChanged(int)" if whole else "valueChanged(double)", changed)
    return widget


def _line(value: str, changed: Callable[[str], None]) -> Any:
    import qt

    widget = qt.QLineEdit()
    widget.text = value

    def finished() -> None:
        # Qt says "finished" also when nothing was typed, and once more when the field goes away.
        if widget.modified:
            widget.modified = False
            changed(widget.text)

    widget.connect("editingFinished()", finished)
    return widget


def _box(value: bool, changed: Callable[[bool], None]) -> Any:
    import qt

    widget = qt.QCheckBox()
    widget.checked = value
    widget.connect("toggled(bool)", changed)
    return widget


def _combo(index: int, words: Sequence[str], values: Sequence[str], changed: Callable[[str], None]) -> Any:
    import qt

    widget = qt.QComboBox()
    for word in words:
        widget.addItem(word)
    widget.setCurrentIndex(index)
    widget.connect("activated(int)", lambda chosen: changed(values[chosen]))
    return widget
