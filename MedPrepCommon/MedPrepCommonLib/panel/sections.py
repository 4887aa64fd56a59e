"""The operations' sections of a panel: ranges, units, help, presets, and what is shown now."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import slicer

from ..core.errors import MedPrepError
from ..core.i18n import _
from ..core.operation import InputSlot, Operation, create
from ..core.parameters import Parameter
from .list_field import ListField
from .names import inputMember, members
from .parameter_node import operationFrom, valuesFrom

# The hand-made parts that all panels share.
_UI = Path(__file__).resolve().parents[2] / "Resources" / "UI"


def loadPart(file: str) -> Any:
    """A hand-made part of the panels."""
    return slicer.util.loadUI(str(_UI / file))


def loadXml(text: str) -> Any:
    """Widgets from the text of a .ui file, by Slicer's own loader."""
    with tempfile.TemporaryDirectory(prefix="MedPrep-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "sections.ui"
        path.write_text(text, encoding="utf-8")
        return slicer.util.loadUI(str(path))


class OperationSections:
    """Dresses the widgets of a panel from the operations' definitions, and keeps them up to date.

    Parameters
    ----------
    ui : the panel's widgets by name. specs : the operations that have a section.
    """

    def __init__(self, ui: Any, specs: Iterable[Operation]) -> None:
        self.ui, self.specs = ui, tuple(specs)
        self._idle: dict[str, set[str]] = {}
        self._lists: list[ListField] = []
        for spec in self.specs:
            self._dress(spec)

    def add(self, spec: Operation, file: str) -> None:
        """Put a .ui file's widgets into the room for them in an operation's section."""
        import qt

        room, extra = getattr(self.ui, f"{spec.name}_extra"), slicer.util.loadUI(file)
        layout = qt.QVBoxLayout(room)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(extra)
        vars(self.ui).update(vars(slicer.util.childWidgetVariables(extra)))

    def sayChoices(self) -> None:
        """Words for a user in place of the choices that connectGui has just filled in."""
        for spec in self.specs:
            for parameter in spec.parameters:
                if parameter.kind != "choice":
                    continue
                for index, choice in enumerate(parameter.choices):
                    combo = getattr(self.ui, f"{spec.name}_{parameter.name}")
                    combo.setItemText(index, parameter.words.get(choice, choice))

    def show(self, parameterNode: Any) -> None:
        """Bring each section to the parameters as they are now."""
        for spec in self.specs:
            self._showPreset(parameterNode, spec)
            self._showWhatApplies(parameterNode, spec)

    def _showWhatApplies(self, parameterNode: Any, spec: Operation) -> None:
        """Hide the fields of what has no effect beside the other parameters and inputs."""
        given = {s.name: getattr(parameterNode, inputMember(spec, s)) is not None for s in spec.inputs[1:]}
        idle = {part.name for part in spec.idle({**valuesFrom(parameterNode, spec), **given})}
        if self._idle.get(spec.id) == idle:
            return
        self._idle[spec.id] = idle
        for part in (*spec.parameters, *spec.inputs[1:]):
            if part.when is not None:
                for name in self._fields(spec, part):
                    getattr(self.ui, name).visible = part.name not in idle

    def _fields(self, spec: Operation, part: Parameter | InputSlot) -> list[str]:
        """Names of the widgets of a parameter or an input, with those of their labels."""
        if isinstance(part, InputSlot):
            names = [inputMember(spec, part)]
        else:
            names = [f"{spec.name}_{member}" for member in members(part)]
        fields = [f"{name}_items" for name in names] if getattr(part, "kind", "") == "list" else names
        return [*fields, *(f"{name}_label" for name in names)]

    def _dress(self, spec: Operation) -> None:
        """Put an operation's ranges, units, help and presets on its section."""
        for parameter in spec.parameters:
            for member in members(parameter):
                self._dressParameter(spec, parameter, member)
        getattr(self.ui, f"{spec.name}_apply").toolTip = spec.summary
        if spec.presets:
            combo = getattr(self.ui, f"{spec.name}_preset")
            combo.addItem(_("Custom"))
            for preset in spec.presets.values():
                combo.addItem(preset.title)
            combo.toolTip = "\n".join(f"{p.title}: {p.source}" for p in spec.presets.values() if p.source)

    def _dressParameter(self, spec: Operation, parameter: Parameter, member: str) -> None:
        widget = getattr(self.ui, f"{spec.name}_{member}")
        widget.toolTip = getattr(self.ui, f"{spec.name}_{member}_label").toolTip = parameter.help
        if parameter.kind == "list":
            self._addItems(parameter, widget, getattr(self.ui, f"{spec.name}_{member}_items"))
            return
        if parameter.unit:
            widget.suffix = f" {parameter.unit}"
        if parameter.span is not None:
            # The range first: ctkSliderWidget refuses a step that does not fit its range.
            widget.minimum, widget.maximum = parameter.span.low, parameter.span.high
            if parameter.kind != "int":
                widget.decimals = parameter.span.decimals
            if parameter.span.step is not None:
                widget.singleStep = parameter.span.step

    def _addItems(self, parameter: Parameter, text: Any, room: Any) -> None:
        """A field for each item of a list in place of the text of them all, which stays what is bound."""
        text.visible = False
        items = ListField(parameter, lambda values: text.setText(parameter.written(values)))
        text.connect("textChanged(QString)", lambda now: items.show(parameter.items_of(now)))
        items.show(parameter.default)
        room.layout().addWidget(items.widget)
        self._lists.append(items)

    def _showPreset(self, parameterNode: Any, spec: Operation) -> None:
        if not spec.presets:
            return
        try:
            op = operationFrom(parameterNode, spec)
            matches = [n for n, name in enumerate(spec.presets) if create(spec.id, name) == op]
        except MedPrepError:
            matches = []
        getattr(self.ui, f"{spec.name}_preset").setCurrentIndex(matches[0] + 1 if matches else 0)
