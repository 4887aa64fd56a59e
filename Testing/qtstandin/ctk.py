"""``import ctk``: stand-ins for the CTK widgets that panels use.

Each has the properties and signals of the real class in CTK/Libs/Widgets that we rely on; looks and
animations are not imitated.
"""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtWidgets

from .pythonqt import pythonQtClass

_QWidget = pythonQtClass(QtWidgets.QWidget)
Property, Signal = QtCore.Property, QtCore.Signal


class ctkCollapsibleButton(pythonQtClass(QtWidgets.QAbstractButton)):
    """``ctkCollapsibleButton``: a header that shows or hides what lies in it.

    A child that the panel shows or hides while the button is collapsed appears, or not, once it is opened.
    """

    contentsCollapsed = Signal(bool)
    SIGNALS = ("contentsCollapsed(bool)",)
    _HEADER = 24

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._collapsed = self._forcing = False
        self.setCheckable(True)
        self.setChecked(True)
        self.setContentsMargins(0, self._HEADER, 0, 0)
        self.toggled.connect(lambda open_: self._collapse(not open_))

    def _collapse(self, collapsed: bool) -> None:
        if collapsed != self._collapsed:
            self._collapsed = collapsed
            self._showChildren()
            self.updateGeometry()
            self.contentsCollapsed.emit(collapsed)

    def _showChildren(self) -> None:
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                self._showChild(child)

    def _showChild(self, child: Any) -> None:
        # Before the button itself is shown, hiding a child would look as if the panel had hidden it.
        if not self.testAttribute(QtCore.Qt.WA_WState_Created):
            return
        wanted = child.property("visibilityToParent") is not False
        self._forcing = True
        child.setVisible(wanted and not self._collapsed)
        if wanted:
            child.setAttribute(QtCore.Qt.WA_WState_ExplicitShowHide, False)
        self._forcing = False

    def childEvent(self, event: Any) -> None:
        child = event.child()
        if event.added() and isinstance(child, QtWidgets.QWidget):
            if child.testAttribute(QtCore.Qt.WA_WState_ExplicitShowHide) and child.isHidden():
                child.setProperty("visibilityToParent", False)
            child.installEventFilter(self)
            self._showChild(child)
        super().childEvent(event)

    def setVisible(self, show: bool) -> None:
        self._forcing = True
        super().setVisible(show)
        self._forcing = False
        self._showChildren()

    def eventFilter(self, child: Any, event: Any) -> bool:
        if not getattr(self, "_forcing", True):
            if event.type() == QtCore.QEvent.ShowToParent:
                child.setProperty("visibilityToParent", True)
                self._showChild(child)
            elif event.type() == QtCore.QEvent.HideToParent:
                child.setProperty("visibilityToParent", False)
        return False

    collapsed = Property(bool, lambda self: self._collapsed, lambda self, yes: self.setChecked(not yes))
    flat = Property(bool, lambda self: False, lambda self, flat: None)

    def sizeHint(self) -> QtCore.QSize:
        inner = self.layout().sizeHint() if self.layout() and not self._collapsed else QtCore.QSize(120, 0)
        return QtCore.QSize(inner.width(), max(inner.height(), self._HEADER))

    def paintEvent(self, event: Any) -> None:
        from PySide6 import QtGui

        painter = QtGui.QPainter(self)
        bar = QtCore.QRect(0, 0, self.width, self._HEADER - 2)
        painter.fillRect(bar, self.palette.color(self.palette.ColorRole.Button))
        painter.drawText(
            bar.adjusted(6, 0, -6, 0),
            QtCore.Qt.AlignVCenter,
            ("\u25b8 " if self._collapsed else "\u25be ") + self.text,
        )


class _Number(_QWidget):
    """A number shown in a spin box. The value is exact; only what is shown is rounded to the decimals."""

    valueChanged = Signal(float)
    SIGNALS = ("valueChanged(double)",)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._value, self._low, self._high = 0.0, 0.0, 99.99
        self._spin = QtWidgets.QDoubleSpinBox()
        self._spin.setKeyboardTracking(False)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._spin)
        self._spin.valueChanged.connect(self._edited)

    def _edited(self, value: float) -> None:
        self.setValue(value)

    def _showValue(self) -> None:
        self._spin.blockSignals(True)
        self._spin.setRange(self._low, self._high)
        self._spin.setValue(self._value)
        self._spin.blockSignals(False)

    def _setBounds(self, low: float, high: float) -> None:
        self._low, self._high = float(low), float(high)
        self._showValue()
        self.setValue(self._value)

    def setValue(self, value: float) -> None:
        value = min(max(float(value), self._low), self._high)
        if value != self._value:
            self._value = value
            self._showValue()
            self.valueChanged.emit(value)

    def setDecimals(self, decimals: int) -> None:
        self._spin.blockSignals(True)
        self._spin.setDecimals(decimals)
        self._spin.blockSignals(False)
        self._showValue()

    value = Property(float, lambda self: self._value, setValue)
    minimum = Property(float, lambda self: self._low, lambda self, v: self._setBounds(v, max(v, self._high)))
    maximum = Property(float, lambda self: self._high, lambda self, v: self._setBounds(min(v, self._low), v))
    decimals = Property(int, lambda self: self._spin.decimals(), setDecimals)
    singleStep = Property(
        float, lambda self: self._spin.singleStep(), lambda self, v: self._spin.setSingleStep(v)
    )
    suffix = Property(str, lambda self: self._spin.suffix(), lambda self, v: self._spin.setSuffix(v))
    prefix = Property(str, lambda self: self._spin.prefix(), lambda self, v: self._spin.setPrefix(v))


class ctkDoubleSpinBox(_Number):
    """``ctkDoubleSpinBox``: a spin box for a float; unlike ``QDoubleSpinBox`` it keeps more than it shows."""


class ctkSliderWidget(_Number):
    """``ctkSliderWidget``: a slider and a spin box with one value."""

    _STEPS = 10000

    def __init__(self, parent: Any = None) -> None:
        self._slider = QtWidgets.QSlider(QtCore.Qt.Horizontal)
        super().__init__(parent)
        self._slider.setRange(0, self._STEPS)
        self.layout().insertWidget(0, self._slider)
        self._slider.valueChanged.connect(self._slid)

    def _slid(self, place: int) -> None:
        self.setValue(self._low + (self._high - self._low) * place / self._STEPS)

    def _showValue(self) -> None:
        super()._showValue()
        width = self._high - self._low
        self._slider.blockSignals(True)
        self._slider.setValue(round(self._STEPS * (self._value - self._low) / width) if width else 0)
        self._slider.blockSignals(False)

    pageStep = Property(float, lambda self: 10 * self._spin.singleStep(), lambda self, v: None)
    tracking = Property(
        bool, lambda self: self._slider.hasTracking(), lambda self, v: self._slider.setTracking(v)
    )


class ctkRangeWidget(_QWidget):
    """``ctkRangeWidget``: a lower and an upper value inside bounds, both exact."""

    valuesChanged = Signal(float, float)
    SIGNALS = ("valuesChanged(double,double)",)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._values = (0.0, 99.0)
        self._spins = (ctkDoubleSpinBox(), ctkDoubleSpinBox())
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for spin, set_ in zip(self._spins, (self.setMinimumValue, self.setMaximumValue), strict=True):
            row.addWidget(spin)
            spin.valueChanged.connect(set_)

    def setRange(self, minimum: float, maximum: float) -> None:
        for spin in self._spins:
            spin.blockSignals(True)
            spin.minimum, spin.maximum = minimum, maximum
            spin.blockSignals(False)
        self.setValues(*self._values)

    def setValues(self, low: float, high: float) -> None:
        bottom, top = self._spins[0].minimum, self._spins[0].maximum
        values = tuple(min(max(float(value), bottom), top) for value in sorted((low, high)))
        for spin, value in zip(self._spins, values, strict=True):
            spin.blockSignals(True)
            spin.value = value
            spin.blockSignals(False)
        if values != self._values:
            self._values = values
            self.valuesChanged.emit(*values)

    def setMinimumValue(self, value: float) -> None:
        """Not above the upper value."""
        self.setValues(min(value, self._values[1]), self._values[1])

    def setMaximumValue(self, value: float) -> None:
        """Not below the lower value."""
        self.setValues(self._values[0], max(value, self._values[0]))

    def setDecimals(self, decimals: int) -> None:
        self._each("decimals", decimals)

    def _each(self, name: str, value: Any) -> None:
        for spin in self._spins:
            setattr(spin, name, value)

    minimumValue = Property(float, lambda self: self._values[0], setMinimumValue)
    maximumValue = Property(float, lambda self: self._values[1], setMaximumValue)
    minimum = Property(
        float,
        lambda self: self._spins[0].minimum,
        lambda self, v: self.setRange(v, max(v, self._spins[0].maximum)),
    )
    maximum = Property(
        float,
        lambda self: self._spins[0].maximum,
        lambda self, v: self.setRange(min(v, self._spins[0].minimum), v),
    )
    decimals = Property(int, lambda self: self._spins[0].decimals, setDecimals)
    singleStep = Property(
        float, lambda self: self._spins[0].singleStep, lambda self, v: self._each("singleStep", v)
    )
    suffix = Property(str, lambda self: self._spins[0].suffix, lambda self, v: self._each("suffix", v))


class ctkComboBox(pythonQtClass(QtWidgets.QComboBox)):
    """``ctkComboBox``: a combo box with a text for "nothing chosen"."""

    defaultText = Property(str, lambda self: self.placeholderText, lambda self, v: self.setPlaceholderText(v))


class ctkCheckBox(pythonQtClass(QtWidgets.QCheckBox)):
    """``ctkCheckBox``."""


class ctkPathLineEdit(_QWidget):
    """``ctkPathLineEdit``: a line edit for a file or folder."""

    currentPathChanged = Signal(str)
    SIGNALS = ("currentPathChanged(QString)",)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._edit = QtWidgets.QLineEdit()
        QtWidgets.QHBoxLayout(self).addWidget(self._edit)
        self._edit.textChanged.connect(self.currentPathChanged)

    def setCurrentPath(self, path: str) -> None:
        self._edit.setText(path)

    currentPath = Property(str, lambda self: self._edit.text(), setCurrentPath)
