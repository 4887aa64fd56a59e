"""A field for each item of a list parameter, with buttons for one item fewer and one more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..core.i18n import _
from ..core.parameters import Parameter

# Fields side by side: a number needs less room than a word.
_NUMBERS, _WORDS = 3, 2


class ListField:
    """Shows the items of a list and tells of changes.

    Parameters
    ----------
    parameter : of kind "list".
    changed : called with all items when the user changed one.

    Attributes
    ----------
    widget : to be put into a layout.
    items : a spin box or combo box for each item that there may be; those that are not used are hidden.
    """

    def __init__(self, parameter: Parameter, changed: Callable[[list[Any]], None]) -> None:
        import qt

        self.parameter, self._changed, self._showing = parameter, changed, False
        self._used = 0
        self.widget = qt.QWidget()
        grid = qt.QGridLayout(self.widget)
        grid.setContentsMargins(0, 0, 0, 0)
        columns = _NUMBERS if parameter.item in ("int", "float") else _WORDS
        self.items = [self._item() for _n in range(parameter.count.most)]
        for n, item in enumerate(self.items):
            item.toolTip = parameter.help
            grid.addWidget(item, n // columns, n % columns)
        self.fewer = self._button("-", _("One fewer"), self._remove)
        self.more = self._button("+", _("One more"), self._add)
        grid.addWidget(self.fewer, 0, columns)
        grid.addWidget(self.more, 0, columns + 1)

    def values(self) -> list[Any]:
        """The items as they are shown."""
        return [self._value(item) for item in self.items[: self._used]]

    def show(self, values: Sequence[Any] | None) -> None:
        """Show these items; None, for what is no list, changes nothing."""
        if values is None or list(values) == self.values():
            self._arrange()
            return
        self._showing = True
        try:
            for item, value in zip(self.items, values, strict=False):
                self._put(item, value)
        finally:
            self._showing = False
        self._used = min(len(values), len(self.items))
        self._arrange()

    def _arrange(self) -> None:
        for n, item in enumerate(self.items):
            item.visible = n < self._used
        self.fewer.enabled = self._used > self.parameter.count.least
        self.more.enabled = self._used < self.parameter.count.most

    def _edited(self, *_args: Any) -> None:
        if not self._showing:
            self._changed(self.values())

    def _remove(self) -> None:
        self._use(self._used - 1)

    def _add(self) -> None:
        """One more item: the next word that is not there yet, or the last number once more."""
        known = self.parameter.choices or self.parameter.suggestions
        free = [word for word in known if word not in self.values()]
        value = free[0] if free else self.values()[-1] if self._used else None
        if value is not None:
            self._showing = True
            self._put(self.items[self._used], value)
            self._showing = False
        self._use(self._used + 1)

    def _use(self, count: int) -> None:
        self._used = count
        self._arrange()
        self._changed(self.values())

    # ---- one item

    def _item(self) -> Any:
        import qt

        parameter = self.parameter
        if parameter.item in ("int", "float"):
            whole = parameter.item == "int"
            widget = qt.QSpinBox() if whole else qt.QDoubleSpinBox()
            number, span = (int if whole else float), parameter.span
            if not whole:
                widget.decimals = span.decimals
            widget.minimum, widget.maximum = number(span.low), number(span.high)
            if span.step is not None:
                widget.singleStep = number(span.step)
            if parameter.unit:
                widget.suffix = f" {parameter.unit}"
            # Not at every key: "5" on the way to "50" is another number.
            widget.keyboardTracking = False
            widget.connect("valueChanged(int)" if whole else "valueChanged(double)", self._edited)
            return widget
        widget = qt.QComboBox()
        for word in parameter.choices:
            widget.addItem(parameter.words.get(word, word))
        for word in parameter.suggestions:
            widget.addItem(word)
        widget.editable = not parameter.choices
        widget.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Fixed)
        widget.setSizeAdjustPolicy(qt.QComboBox.AdjustToMinimumContentsLengthWithIcon)
        widget.minimumContentsLength = 4
        widget.connect("activated(int)" if parameter.choices else "editTextChanged(QString)", self._edited)
        return widget

    def _value(self, item: Any) -> Any:
        if self.parameter.item in ("int", "float"):
            return item.value
        return self.parameter.choices[item.currentIndex] if self.parameter.choices else item.currentText

    def _put(self, item: Any, value: Any) -> None:
        if self.parameter.item in ("int", "float"):
            item.value = value
        elif not self.parameter.choices:
            item.setEditText(str(value))
        elif value in self.parameter.choices:
            item.setCurrentIndex(self.parameter.choices.index(value))

    def _button(self, text: str, help: str, act: Callable[[], None]) -> Any:
        import qt

        button = qt.QToolButton()
        button.text, button.toolTip = text, help
        button.connect("clicked(bool)", lambda *_args: act())
        return button
