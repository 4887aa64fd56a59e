"""The panel base of a module that has the recipe editor."""

from __future__ import annotations

from typing import Any

from ..core.errors import MedPrepError
from ..core.i18n import _
from ..core.task import Task
from ..recipes.editing import Draft
from .editor import RecipeEditor
from .panel import MedPrepWidget
from .sections import loadPart


class RecipesWidget(MedPrepWidget):
    """A :class:`MedPrepWidget` with the section ``editor_section`` before those of the operations."""

    editor: RecipeEditor | None = None

    def _parts(self) -> list[Any]:
        first, *others = super()._parts()
        return [first, loadPart("Editor.ui"), *others]

    def setup(self) -> None:
        """Build the panel (called by Slicer once)."""
        super().setup()
        self.editor = RecipeEditor(self.ui, self.moduleName, self.updateButtons, self.showError)
        self.ui.editor_apply.connect("clicked(bool)", lambda *_args: self.onEditedRecipe())
        self.ui.editor_record.connect("clicked(bool)", lambda *_args: self.onRecord())
        self.updateButtons()

    def updateButtons(self) -> None:
        """Enable each button, or say beside it why it is not."""
        super().updateButtons()
        if self.editor is not None:
            self._setButton("editor", _("Run this recipe"), self._reasonAgainstEdited())
            node = None if self._parameterNode is None else self._parameterNode.inputVolume
            self.ui.editor_record.enabled = bool(node and node.GetAttribute("MedPrep.provenance"))

    def _reasonAgainstEdited(self) -> str:
        if self._parameterNode is None or self._parameterNode.inputVolume is None:
            return self.editor.problem or _("Choose an input volume first.")
        if self.running is not None:
            return _("Wait until {title} is done, or cancel it.").format(title=self.running.task.title)
        if self.editor.problem:
            return self.editor.problem
        nodes = self.editor.nodes(self._parameterNode.inputVolume)
        for wanted in self.editor.draft.recipe().inputs:
            if wanted.name not in nodes and not wanted.optional:
                return _("Choose {what} first.").format(what=wanted.description or wanted.name)
        return ""

    def onEditedRecipe(self) -> None:
        """Run this recipe was clicked; while it runs the same button cancels it."""
        self._toggle(self.ui.editor_apply, self._editedTask)

    def _editedTask(self) -> Task:
        nodes = self.editor.nodes(self._parameterNode.inputVolume)
        return self.logic.recipeTask(self.editor.draft.recipe(), nodes)

    def onRecord(self) -> None:
        """Edit the recipe that made the input volume."""
        try:
            recorded = self.logic.recipeFromNode(self._parameterNode.inputVolume)
        except MedPrepError as error:
            self.showError(error)
            return
        self.editor.load(Draft.of(recorded))

    def onSceneStartClose(self, caller: Any, event: Any) -> None:
        super().onSceneStartClose(caller, event)
        self.updateButtons()
