"""The recipe editor of a panel: choose, change, save and run a recipe without writing JSON.

What may be edited, and what is wrong, is known by :class:`MedPrepCommonLib.recipes.editing.Draft`; this class
shows it and passes on what the user does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..core import recipe
from ..core.errors import MedPrepError
from ..core.i18n import _
from ..core.operation import known
from ..recipes import code_text
from ..recipes.editing import Draft
from .fields import field, referenceField
from .inputs import InputTable
from .names import memberLabel, members


class RecipeEditor:
    """Shows a draft in the widgets called ``editor_...`` of a panel.

    Parameters
    ----------
    ui : the panel's widgets.
    module : name of the module whose Logic stands in copied scripts.
    changed : called after every change.
    failed : called with the :class:`MedPrepError` of something that could not be done.
    """

    def __init__(
        self, ui: Any, module: str, changed: Callable[[], None], failed: Callable[[MedPrepError], None]
    ) -> None:
        self.ui, self.module, self._changed, self._failed = ui, module, changed, failed
        self.draft = Draft.blank()
        #: Where the recipe was opened or saved, or "".
        self.file = ""
        self._saved = ""
        self._inputs = InputTable(ui.editor_inputs, self._say, self.onRemoveInput)
        self._showing = False
        self._fillChoices()
        self._connect()
        self.show()

    # ---- setting up

    def _fillChoices(self) -> None:
        ui = self.ui
        self.installed: list[str] = []
        ui.editor_source.addItem(_("Empty recipe"))
        for name in recipe.available():
            try:
                loaded = recipe.load(name)
            except MedPrepError:
                continue  # it needs a module that is not installed
            self.installed.append(name)
            ui.editor_source.addItem(loaded.title or name)
        self.operations = list(known().values())
        for spec in self.operations:
            ui.editor_operation.addItem(f"{spec.title} ({spec.id})")
        ui.editor_parameters.horizontalHeader().setStretchLastSection(True)
        ui.editor_outputs.horizontalHeader().setStretchLastSection(True)

    def _connect(self) -> None:
        ui = self.ui
        ui.editor_source.connect("activated(int)", self.onSource)
        ui.editor_operation.connect("activated(int)", lambda _index: self._sayOperation())
        ui.editor_steps.connect("currentRowChanged(int)", lambda _row: self.showStep())
        for name, act in (
            ("open", self.onOpen),
            ("save", self.onSave),
            ("add", self.onAdd),
            ("remove", self.onRemove),
            ("up", lambda: self.onMove(-1)),
            ("down", lambda: self.onMove(1)),
            ("addImage", lambda: self.onAddInput("image")),
            ("addLabels", lambda: self.onAddInput("labels")),
            ("copyPython", lambda: self._copy(self.script)),
            ("copyCommand", lambda: self._copy(self.command)),
        ):
            getattr(ui, f"editor_{name}").connect("clicked(bool)", lambda *_args, act=act: act())
        ui.editor_name.connect("textEdited(QString)", lambda text: self._setText("name", text))
        ui.editor_title.connect("textEdited(QString)", lambda text: self._setText("title", text))
        ui.editor_description.connect("textChanged()", self._onDescription)

    # ---- showing

    def show(self, select: int | None = None) -> None:
        """Show the draft as it is now."""
        ui, row = self.ui, self.ui.editor_steps.currentRow if select is None else select
        self._showing = True
        try:
            ui.editor_name.text = self.draft.record["name"]
            ui.editor_title.text = self.draft.record["title"]
            ui.editor_title.cursorPosition = 0
            ui.editor_description.plainText = self.draft.record["description"]
            ui.editor_steps.clear()
            for number, body in enumerate(self.draft.steps, 1):
                title = next((o.title for o in self.operations if o.id == body["operation"]), "?")
                own = body["operation"].rpartition(".")[2] == body["id"]
                ui.editor_steps.addItem(f"{number}. {title}" + ("" if own else f" ({body['id']})"))
            ui.editor_steps.setCurrentRow(min(max(row, 0), len(self.draft.steps) - 1))
        finally:
            self._showing = False
        self._inputs.show(self.draft.record["inputs"])
        self.showStep()

    def showStep(self) -> None:
        """Show the selected step's name, inputs, preset and parameters as fields."""
        if self._showing:
            return
        table, step = self.ui.editor_parameters, self.step
        table.setRowCount(0)
        self._presetField = None
        if step is not None:
            spec, body = self.draft.operation(step), self.draft.steps[step]
            self._row(table, _("Step name"), field("text", body["id"], self._onRename), spec.summary)
            for slot in spec.inputs:
                self._showSources(table, step, slot)
            if spec.presets:
                titles = [_("Custom"), *(p.title for p in spec.presets.values())]
                self._presetField = field("choice", self._presetIndex(step), self._onPreset, choices=titles)
                self._row(table, _("Preset"), self._presetField, _("Named values with a source"))
            for parameter in spec.parameters:
                self._showParameter(table, step, parameter)
            self.ui.editor_help.text = spec.summary.partition("\n\n")[0].replace("\n", " ")
        else:
            self.ui.editor_help.text = _("Add steps from the list of operations below.")
        table.resizeColumnToContents(0)
        self._showOutputs()
        self._say()

    def _showSources(self, table: Any, step: int, slot: Any) -> None:
        chosen, choices = self.draft.sources(step, slot.name), self.draft.choices(step, slot.name)
        # One line for each label map that is taken along, and an empty one to add another.
        lines = [*chosen, ""] if slot.many else [chosen[0] if chosen else ""]
        for place, reference in enumerate(lines):
            name = _("{input} from").format(input=slot.name) + (f" ({place + 1})" if slot.many else "")

            def wire(value: str, place: int = place) -> None:
                now = [*self.draft.sources(step, slot.name), ""]
                now[place if slot.many else 0] = value
                self.draft.wire(step, slot.name, now if slot.many else now[:1])
                self.show()

            none = slot.optional or slot.many or not reference
            widget = referenceField(reference, choices, none, wire)
            self._row(table, name, widget, _("Which image or label map goes in"))

    def _showParameter(self, table: Any, step: int, parameter: Any) -> None:
        names = members(parameter)
        now = self.draft.steps[step].get("parameters", {}).get(parameter.name, parameter.default)
        isVector = parameter.kind == "vector"
        values = now if isVector and isinstance(now, (list, tuple)) else (now,) * len(names)
        for place, (name, value) in enumerate(zip(names, values, strict=True)):

            def change(new: Any, place: int = place) -> None:
                current = self.draft.steps[step]["parameters"].get(parameter.name, parameter.default)
                if parameter.kind == "vector":
                    parts = list(current) if isinstance(current, (list, tuple)) else [current] * len(names)
                    parts[place] = new
                    new = parts
                self._try(lambda: self.draft.set_parameter(step, parameter.name, new))
                if self._presetField is not None:
                    self._presetField.setCurrentIndex(self._presetIndex(step))
                self._say()

            self._row(table, memberLabel(parameter, name), field(parameter, value, change), parameter.help)

    def _row(self, table: Any, name: str, widget: Any, help: str) -> None:
        import qt

        row = table.rowCount
        table.setRowCount(row + 1)
        item = qt.QTableWidgetItem(name)
        item.setToolTip(help)
        table.setItem(row, 0, item)
        widget.toolTip = help
        table.setCellWidget(row, 1, widget)

    def _showOutputs(self) -> None:
        """Every result with a box to keep it and the name that its file gets."""
        table = self.ui.editor_outputs
        table.setRowCount(0)
        for reference, name in self.draft.results().items():

            def keep(on: bool, reference: str = reference) -> None:
                self._try(lambda: (self.draft.keep if on else self.draft.drop)(reference))
                self._showOutputs()
                self._say()

            def call(text: str, reference: str = reference) -> None:
                self._try(lambda: self.draft.keep(reference, text))
                self._showOutputs()
                self._say()

            import qt

            row = table.rowCount
            table.setRowCount(row + 1)
            table.setCellWidget(row, 0, field("bool", bool(name), keep))
            table.setItem(row, 1, qt.QTableWidgetItem(reference.rstrip("?")))
            if name:
                table.setCellWidget(row, 2, field("text", name, call))
        for column in (0, 1):
            table.resizeColumnToContents(column)

    def _say(self) -> None:
        """Say what is wrong now, by the step's name as the list shows it."""
        steps = self.draft.steps
        text = re.sub(
            r"^.*?steps\[(\d+)\]\.?",
            lambda match: _("Step {id}: ").format(id=steps[int(match[1])]["id"]),
            self.draft.problem(),
        )
        self.problem = text
        for name in ("save", "copyPython", "copyCommand"):
            getattr(self.ui, f"editor_{name}").enabled = not text
        for name, on in (
            ("remove", self.step is not None),
            ("up", bool(self.step)),
            ("down", self.step is not None and self.step < len(steps) - 1),
        ):
            getattr(self.ui, f"editor_{name}").enabled = on
        self._changed()

    def _sayOperation(self) -> None:
        spec = self.operations[self.ui.editor_operation.currentIndex]
        self.ui.editor_operation.toolTip = spec.summary

    # ---- what the user does

    @property
    def step(self) -> int | None:
        """Place of the selected step."""
        row = self.ui.editor_steps.currentRow
        return row if 0 <= row < len(self.draft.steps) else None

    def load(self, source: Draft, file: str = "") -> None:
        """Edit another recipe."""
        self.draft, self.file, self._saved = source, file, source.digest if file else ""
        name = source.record["name"]
        known = self.installed.index(name) + 1 if name in self.installed and not file else 0
        self.ui.editor_source.setCurrentIndex(known)
        self.show(0)

    def onSource(self, index: int) -> None:
        """A recipe was chosen to start from; 0 is the empty one."""
        name = self.installed[index - 1] if index else ""
        self._try(lambda: self.load(Draft.of(recipe.load(name)) if name else Draft.blank()))

    def onOpen(self) -> None:
        """Open a recipe file."""
        path = self.askOpen()
        if path:
            self._try(lambda: self.load(Draft.of(recipe.load(path)), path))

    def onSave(self) -> None:
        """Save the recipe as a file."""
        path = self.askSave(self.file or f"{self.draft.record['name']}.json")
        if path:
            path = path if path.endswith(".json") else f"{path}.json"
            if self._try(lambda: self.draft.save(path)):
                self.file, self._saved = path, self.draft.digest

    def onAdd(self) -> None:
        """Add the chosen operation behind the selected step."""
        spec = self.operations[self.ui.editor_operation.currentIndex]
        at = len(self.draft.steps) if self.step is None else self.step + 1
        self.show(self.draft.add(spec.id, at))

    def onRemove(self) -> None:
        """Take the selected step out."""
        if self.step is not None:
            at = self.step
            self.draft.remove(at)
            self.show(at)

    def onMove(self, by: int) -> None:
        """Move the selected step up (-1) or down (1)."""
        if self.step is not None:
            self.show(self.draft.move(self.step, by))

    def onAddInput(self, kind: str) -> None:
        """One more input that the user supplies: an "image", or a segmentation ("labels")."""
        self.draft.add_input(kind)
        self.show()

    def onRemoveInput(self, name: str) -> None:
        """Take an input away."""
        self.draft.remove_input(name)
        self.show()

    def _onRename(self, text: str) -> None:
        step = self.step
        self._try(lambda: self.draft.rename(step, text))
        self.show()

    def _onPreset(self, title: str) -> None:
        presets = self.draft.operation(self.step).presets
        name = next((name for name, preset in presets.items() if preset.title == title), "")
        if name:
            self.draft.set_preset(self.step, name)
            self.showStep()

    def _presetIndex(self, step: int) -> int:
        name = self.draft.preset(step)
        return 1 + list(self.draft.operation(step).presets).index(name) if name else 0

    def _onDescription(self) -> None:
        # Qt tells of it also when a recipe is shown. One paragraph, for lists and reports.
        if not self._showing:
            self._setText("description", " ".join(self.ui.editor_description.plainText.split()))

    def _setText(self, key: str, text: str) -> None:
        self.draft.record[key] = text
        self._say()

    def _try(self, act: Callable[[], Any]) -> bool:
        try:
            act()
        except MedPrepError as error:
            self._failed(error)
            return False
        return True

    # ---- what comes of it

    def nodes(self, inputVolume: Any) -> dict[str, Any]:
        """The chosen nodes by the recipe's input names; those not chosen are left out."""
        first = next(iter(self.draft.record["inputs"]))
        chosen = {first: inputVolume, **self._inputs.nodes()}
        return {name: node for name, node in chosen.items() if node is not None}

    def script(self, inputVolume: Any) -> str:
        """Python that does the same."""
        names = {name: node.GetName() for name, node in self.nodes(inputVolume).items()}
        return code_text.recipe_script(self.module, self.draft.recipe(), self.file, names)

    def command(self, _inputVolume: Any) -> str:
        """The command line that does the same."""
        return code_text.recipe_command(self.draft.recipe(), self.file)

    def _copy(self, text: Callable[[Any], str]) -> None:
        import qt

        def copy() -> None:
            copied = text(self.ui.inputVolume.currentNode())
            qt.QApplication.clipboard().setText(copied)
            # The text names a file, and that does not hold what is shown.
            unsaved = ".json" in copied and self._saved != self.draft.digest
            hint = _("Copied. Save the recipe, or the text will not do the same.")
            self.ui.statusLabel.text = hint if unsaved else _("Copied.")

        self._try(copy)

    @staticmethod
    def askOpen() -> str:
        """The path of a file to open, or ""."""
        import qt

        return qt.QFileDialog.getOpenFileName(None, _("Open recipe"), "", _("Recipes (*.json)"))

    @staticmethod
    def askSave(path: str) -> str:
        """The path of a file to write, or ""."""
        import qt

        place = str(Path(path))
        return qt.QFileDialog.getSaveFileName(None, _("Save recipe"), place, _("Recipes (*.json)"))
