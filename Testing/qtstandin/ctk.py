"""``import ctk``: stand-ins for the CTK widgets that panels use.

Each has the properties and signals of the real class in CTK/Libs/Widgets that we rely on; looks and
animations are not imitated.
"""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtWidgets

from .pythonqt import pythonQtClass

_QWidget = pythonQtClass(QtWidgets.QWidget)
_QDoubleSpinBox = pythonQtClass(QtWidgets.QDoubleSpinBox)
Property, Signal = QtCore.Property, QtCore.Signal


class ctkCollapsibleButton(pythonQtClass(QtWidgets.QAbstractButton)):
    """``ctkCollapsibleButton``: a header that shows or hides what lies in it.

    A child that the panel shows or hides while the button is collapsed appears, or not, once it is opened.
    """

    contentsCollapsed = Signal(bool)
    SIGNALS = ("contentsCollapsed(bool)",)
    HEADER = 24

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._collapsed = self._forcing = False
        self.setCheckable(True)
        self.setChecked(True)
        self.setContentsMargins(0, self.HEADER, 0, 0)
        self.toggled.connect(lambda open_: self._collapse(not open_))

    def isCollapsed(self) -> bool:
        return self._collapsed

    def setCollapsed(self, collapsed: bool) -> None:
        self.setChecked(not collapsed)

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

    collapsed = Property(bool, isCollapsed, setCollapsed)
    flat = Property(bool, lambda self: False, lambda self, flat: None)

    def sizeHint(self) -> QtCore.QSize:
        inner = self.layout().sizeHint() if self.layout() and not self._collapsed else QtCore.QSize(120, 0)
        return QtCore.QSize(inner.width(), max(inner.height(), self.HEADER))

    def paintEvent(self, event: Any) -> None:
        from PySide6 import QtGui

        painter = QtGui.QPainter(self)
        bar = QtCore.QRect(0, 0, self.width, self.HEADER - 2)
        painter.fillRect(bar, self.palette.color(self.palette.ColorRole.Button))
        painter.drawText(
            bar.adjusted(6, 0, -6, 0),
            QtCore.Qt.AlignVCenter,
            ("\u25b8 " if self._collapsed else "\u25be ") + self.text,
        )


class ctkDoubleSpinBox(_QDoubleSpinBox):
    """``ctkDoubleSpinBox``: a spin box for a float."""


class ctkSliderWidget(_QWidget):
    """``ctkSliderWidget``: a slider and a spin box with one value."""

    valueChanged = Signal(float)
    SIGNALS = ("valueChanged(double)",)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Horizontal)
        self._spin = QtWidgets.QDoubleSpinBox()
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._slider)
        row.addWidget(self._spin)
        self._spin.setKeyboardTracking(False)
        self._slider.setRange(0, 10000)
        self._spin.valueChanged.connect(self._onSpin)
        self._slider.valueChanged.connect(self._onSlider)

    def _onSpin(self, value: float) -> None:
        width = self._spin.maximum() - self._spin.minimum()
        self._slider.blockSignals(True)
        self._slider.setValue(round(10000 * (value - self._spin.minimum()) / width) if width else 0)
        self._slider.blockSignals(False)
        self.valueChanged.emit(value)

    def _onSlider(self, place: int) -> None:
        low, high = self._spin.minimum(), self._spin.maximum()
        self._spin.setValue(low + (high - low) * place / 10000)

    def setValue(self, value: float) -> None:
        self._spin.setValue(value)

    def setRange(self, minimum: float, maximum: float) -> None:
        self._spin.setRange(minimum, maximum)

    def spinBox(self) -> Any:
        return self._spin

    value = Property(float, lambda self: self._spin.value(), setValue)
    minimum = Property(float, lambda self: self._spin.minimum(), lambda self, v: self._spin.setMinimum(v))
    maximum = Property(float, lambda self: self._spin.maximum(), lambda self, v: self._spin.setMaximum(v))
    decimals = Property(int, lambda self: self._spin.decimals(), lambda self, v: self._spin.setDecimals(v))
    singleStep = Property(
        float, lambda self: self._spin.singleStep(), lambda self, v: self._spin.setSingleStep(v)
    )
    pageStep = Property(float, lambda self: 10 * self._spin.singleStep(), lambda self, v: None)
    suffix = Property(str, lambda self: self._spin.suffix(), lambda self, v: self._spin.setSuffix(v))
    prefix = Property(str, lambda self: self._spin.prefix(), lambda self, v: self._spin.setPrefix(v))
    tracking = Property(
        bool, lambda self: self._slider.hasTracking(), lambda self, v: self._slider.setTracking(v)
    )


class ctkRangeWidget(_QWidget):
    """``ctkRangeWidget``: a lower and an upper value inside bounds."""

    valuesChanged = Signal(float, float)
    SIGNALS = ("valuesChanged(double,double)",)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._low, self._high = QtWidgets.QDoubleSpinBox(), QtWidgets.QDoubleSpinBox()
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for spin in (self._low, self._high):
            row.addWidget(spin)
            spin.valueChanged.connect(self._onChange)

    def _onChange(self) -> None:
        low, high = self._low.value(), self._high.value()
        if low > high:
            self.setValues(min(low, high), max(low, high))
        else:
            self.valuesChanged.emit(low, high)

    def _spins(self, setter: str, value: Any) -> None:
        for spin in (self._low, self._high):
            getattr(spin, setter)(value)

    def setRange(self, minimum: float, maximum: float) -> None:
        for spin in (self._low, self._high):
            spin.setRange(minimum, maximum)

    def setValues(self, low: float, high: float) -> None:
        before = (self._low.value(), self._high.value())
        for spin, value in ((self._low, low), (self._high, high)):
            spin.blockSignals(True)
            spin.setValue(value)
            spin.blockSignals(False)
        after = (self._low.value(), self._high.value())
        if after != before:
            self.valuesChanged.emit(*after)

    minimumValue = Property(float, lambda self: self._low.value(), lambda self, v: self._low.setValue(v))
    maximumValue = Property(float, lambda self: self._high.value(), lambda self, v: self._high.setValue(v))
    minimum = Property(float, lambda self: self._low.minimum(), lambda self, v: self._spins("setMinimum", v))
    maximum = Property(float, lambda self: self._low.maximum(), lambda self, v: self._spins("setMaximum", v))
    decimals = Property(int, lambda self: self._low.decimals(), lambda self, v: self._spins("setDecimals", v))
    singleStep = Property(
        float, lambda self: self._low.singleStep(), lambda self, v: self._spins("setSingleStep", v)
    )
    suffix = Property(str, lambda self: self._low.suffix(), lambda self, v: self._spins("setSuffix", v))


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
