"""A button in each operation's section that copies the settings as Python for Slicer's console."""

from __future__ import annotations

from typing import Any

from ..core.errors import MedPrepError
from ..core.i18n import _
from ..core.operation import Operation
from ..recipes import code_text
from .names import inputMember
from .parameter_node import operationFrom


def addCopyButton(panel: Any, spec: Operation) -> None:
    """Put the button ``<operation>_copy`` at the end of the operation's section of a MedPrepWidget."""
    import qt

    def copy() -> None:
        try:
            text = operationScript(panel.moduleName, panel._parameterNode, spec)
            qt.QApplication.clipboard().setText(text)
        except MedPrepError as error:
            panel.showError(error)

    button = qt.QPushButton(_("Copy as Python"))
    button.flat = True
    button.toolTip = _("Copy a script for the Python console that does what Apply does")
    button.connect("clicked(bool)", lambda *_args: copy())
    getattr(panel.ui, f"{spec.name}_section").layout().addRow(button)
    setattr(panel.ui, f"{spec.name}_copy", button)


def operationScript(module: str, parameterNode: Any, spec: Operation) -> str:
    """The script for the nodes and parameters that a panel holds.

    Raises
    ------
    ParameterError
        when the parameters do not fit together.
    """
    nodes = {spec.inputs[0].name: parameterNode.inputVolume}
    nodes |= {slot.name: getattr(parameterNode, inputMember(spec, slot)) for slot in spec.inputs[1:]}
    many = {slot.name for slot in spec.inputs if slot.many}
    names = {
        slot: [chosen.GetName()] if slot in many else chosen.GetName()
        for slot, chosen in nodes.items()
        if chosen is not None
    }
    return code_text.operation_script(module, operationFrom(parameterNode, spec), names)
