"""The panel that MedPrep's modules share in Slicer: selectors, one section per operation, recipes, results.

The sections of recipes and operations are made from the definitions (:mod:`.layout`, :mod:`.sections`);
input, results and what is special to one operation are .ui files. Names connect widgets to definitions:
``window_level`` (with the dynamic property SlicerParameterName ``window.level``), ``window_preset``,
``window_apply``, ``window_reason``.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from typing import Any

import slicer
import vtk
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from ..core import recipe
from ..core.errors import MedPrepError
from ..core.i18n import _
from ..core.operation import Operation, create, find
from ..core.result import Result
from ..core.task import BackgroundTask, Task
from .copying import addCopyButton
from .layout import NO_PICTURES, panelXml
from .names import inputMember, recipeMembers
from .parameter_node import missingInputs, operationFrom, setParameters
from .sections import OperationSections, loadPart, loadXml
from .summary import InputSummary, doneText
from .views import ResultViews, fillTable

# In Slicer's window a thread runs only while Python on the main thread lets it (see BackgroundTask.poll): at
# each tick the panel waits this long for the work. Between ticks Qt handles what the user does; 30 ms go
# unnoticed.
POLL_MS, LENT_SECONDS = 5, 0.03


class MedPrepWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Base of the modules' widgets. A module sets the class attributes; this class does the rest."""

    #: The module's Logic class.
    logicClass: type
    #: Operations that get a section, in this order, by id.
    operationIds: tuple[str, ...] = ()
    #: .ui file with what stands before the button of an operation's section besides its parameters, by id.
    extras: Mapping[str, str] = {}
    #: Whether images with several values per voxel, such as colours, can be chosen.
    takesColour = False
    #: What further inputs of recipes are called where the operations' own words do not fit, by member.
    inputWords: Mapping[str, str] = {}
    #: Recipes that the panel offers, by name.
    recipes: tuple[str, ...] = ()
    #: Operation whose verdict stands in the summary of the input, or "".
    checkId = ""
    #: Names of results that are shown in colours over the image.
    overlays: tuple[str, ...] = ()

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: Any = None
        self.running: BackgroundTask | None = None
        self._button: Any = None
        self._summary: Any = None
        self._parameterNode: Any = None
        self._observedInput: Any = None
        self._ranOn: Any = None
        self._guiTag: Any = None

    def setup(self) -> None:
        """Build the panel (called by Slicer once)."""
        import qt

        ScriptedLoadableModuleWidget.setup(self)
        self.operations = {spec.name: spec for spec in map(find, self.operationIds)}
        self._recipes = {name: recipe.load(name) for name in self.recipes}
        panel = qt.QWidget()
        layout = qt.QVBoxLayout(panel)
        parts = self._parts()
        for part in parts:
            layout.addWidget(part)
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        if self.takesColour:
            self.ui.inputVolume.showChildNodeTypes = True
            self.ui.inputVolume.hideChildNodeTypes = list(NO_PICTURES)
        for name in () if self.overlays else ("overlay", "overlayOpacity", "plots", "plots_label"):
            getattr(self.ui, name).visible = False
        self.sections = OperationSections(self.ui, self.operations.values())
        for id, file in self.extras.items():
            self.sections.add(find(id), self.resourcePath(file))
        for spec in self.operations.values():
            self._connect(spec)
        self.views = ResultViews(self.ui, self.overlays)
        self._summary = InputSummary(self.checkId, self._setSummary)
        known = {member for loaded in self._recipes.values() for member in recipeMembers(loaded).values()}
        self._selectors = known - {"inputVolume"}
        if self._hasRecipes():
            self.ui.recipe_apply.connect("clicked(bool)", lambda *_args: self.onRecipe())
        for part in parts:
            part.setMRMLScene(slicer.mrmlScene)
        self.logic = self.logicClass()
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.connect("timeout()", self.poll)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneChanged)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneChanged)
        self._showProgress(None)
        self.initializeParameterNode()

    def _connect(self, spec: Operation) -> None:
        button = getattr(self.ui, f"{spec.name}_apply")
        button.connect("clicked(bool)", lambda *_args: self.onApply(spec))
        addCopyButton(self, spec)
        if spec.presets:
            combo = getattr(self.ui, f"{spec.name}_preset")
            combo.connect("activated(int)", lambda index: self.onPreset(spec, index))

    def cleanup(self) -> None:
        """Stop what runs and release every observer (called by Slicer when the module goes away)."""
        self._stopAll()
        self._timer.stop()
        self.setParameterNode(None)
        self.removeObservers()

    def enter(self) -> None:
        """The user opened the module."""
        self.initializeParameterNode()

    def exit(self) -> None:
        """The user left the module; a run goes on."""
        self.setParameterNode(None)

    def onSceneStartClose(self, _caller: Any, _event: Any) -> None:
        self._stopAll()
        self.views.clear()
        self.setParameterNode(None)

    def onSceneChanged(self, _caller: Any, _event: Any) -> None:
        """The scene was closed or loaded; while it loads, the parameter node's references lead nowhere."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self) -> None:
        """Show the module's parameter node; choose the first volume when none is chosen."""
        self.setParameterNode(self.logic.getParameterNode())
        if self._parameterNode.inputVolume is None:
            self._parameterNode.inputVolume = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")

    def setParameterNode(self, parameterNode: Any) -> None:
        """Connect the widgets to a parameter node, or to none."""
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._guiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
            self._observeInput(None)
        self._parameterNode, self._guiTag = parameterNode, None
        if parameterNode is not None:
            self._guiTag = parameterNode.connectGui(self.ui)
            self.sections.sayChoices()
            self._nameRecipes()
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
            self.onParametersModified()

    def _observeInput(self, node: Any) -> None:
        """Notice when the input volume gets its image: a reader adds the node first and fills it later."""
        if node is self._observedInput:
            return
        events = (slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent, vtk.vtkCommand.ModifiedEvent)
        for event in events:
            if self._observedInput is not None:
                self.removeObserver(self._observedInput, event, self.onInputModified)
            if node is not None:
                self.addObserver(node, event, self.onInputModified)
        self._observedInput = node

    def onInputModified(self, *_args: Any) -> None:
        """The input volume got an image or another one, or was edited in place."""
        self.updateButtons()
        self._summarise()

    def onParametersModified(self, *_args: Any) -> None:
        """Bring presets, buttons and the input's summary up to date."""
        self._observeInput(self._parameterNode.inputVolume)
        self.sections.show(self._parameterNode)
        if self._hasRecipes():
            self._showRecipe()
        self.updateButtons()
        self._summarise()

    # ---- setting up from the definitions

    def _parts(self) -> list[Any]:
        """The panel's parts from top to bottom."""
        recipes, specs = self._recipes.values(), self.operations.values()
        made = panelXml(specs, recipes, self.extras, self.takesColour, self.inputWords)
        return [loadPart("Input.ui"), loadXml(made), loadPart("Results.ui")]

    def onPreset(self, spec: Operation, index: int) -> None:
        """The user chose a preset (index 0 is "Custom", which changes nothing)."""
        if index > 0:
            op = create(spec.id, list(spec.presets)[index - 1])
            setParameters(self._parameterNode, spec, {p.name: getattr(op, p.name) for p in spec.parameters})

    def _nameRecipes(self) -> None:
        """Titles in place of the names that connectGui has just filled in."""
        if self._hasRecipes():
            for index, loaded in enumerate(self._recipes.values()):
                self.ui.recipe.setItemText(index, loaded.title)

    def _hasRecipes(self) -> bool:
        return bool(self.recipes)

    def _showRecipe(self) -> None:
        """The chosen recipe's description, and selectors for the inputs that it takes besides the image."""
        chosen = self._recipe()
        self.ui.recipe_description.text = chosen.description
        used = set(recipeMembers(chosen).values())
        for member in self._selectors:
            for name in (member, f"{member}_label"):
                getattr(self.ui, name).visible = member in used

    def _recipeNodes(self) -> dict[str, Any]:
        """The chosen recipe's input nodes by its names for them; those not chosen are left out."""
        members = recipeMembers(self._recipe())
        nodes = {name: getattr(self._parameterNode, member) for name, member in members.items()}
        return {name: node for name, node in nodes.items() if node is not None}

    def _recipe(self) -> Any:
        return self._recipes[self._parameterNode.recipe]

    # ---- what can be done now, and why not

    def updateButtons(self) -> None:
        """Enable each Apply button, or say beside it why it is not."""
        for spec in self.operations.values():
            self._setButton(spec.name, _("Apply"), self._reasonAgainst(spec))
        if self._hasRecipes():
            self._setButton("recipe", _("Run recipe"), self._reasonAgainst(None))

    def _setButton(self, name: str, text: str, reason: str) -> None:
        button, label = getattr(self.ui, f"{name}_apply"), getattr(self.ui, f"{name}_reason")
        isRunning = self.running is not None and button is self._button
        button.enabled = isRunning or not reason
        button.text = _("Cancel") if isRunning else text
        label.text = "" if isRunning else reason
        label.visible = bool(label.text)

    def _reasonAgainst(self, spec: Operation | None) -> str:
        """Why the operation (None: the recipe) cannot run now, or the empty string."""
        if self._parameterNode is None:
            return _("Choose an input volume first.")
        if self.running is not None:
            return _("Wait until {title} is done, or cancel it.").format(title=self.running.task.title)
        if spec is None:
            return self._reasonAgainstRecipe()
        if self._parameterNode.inputVolume is None:
            return _("Choose an input volume first.")
        if self._parameterNode.inputVolume.GetImageData() is None:
            return _("The input volume holds no image.")
        for member in missingInputs(self._parameterNode, spec):
            label = getattr(self.ui, f"{member}_label").text.rstrip(":").lower()
            return _("Choose {what} first.").format(what=label)
        try:
            operationFrom(self._parameterNode, spec)
        except MedPrepError as error:
            return str(error)
        return ""

    def _reasonAgainstRecipe(self) -> str:
        nodes = self._recipeNodes()
        if self._parameterNode.inputVolume is None:
            return _("Choose an input volume first.")
        for wanted in self._recipe().inputs:
            if wanted.name not in nodes and not wanted.optional:
                return _("Choose {what} first.").format(what=wanted.description or wanted.name)
        if any(node.IsA("vtkMRMLVolumeNode") and node.GetImageData() is None for node in nodes.values()):
            return _("The input volume holds no image.")
        return ""

    # ---- running

    def onApply(self, spec: Operation) -> None:
        """Apply was clicked; while the operation runs the same button cancels it."""
        self._toggle(getattr(self.ui, f"{spec.name}_apply"), lambda: self._operationTask(spec))

    def onRecipe(self) -> None:
        """Run recipe was clicked; while it runs the same button cancels it."""
        self._toggle(self.ui.recipe_apply, lambda: self.logic.recipeTask(self._recipe(), self._recipeNodes()))

    def _operationTask(self, spec: Operation) -> Task:
        node = self._parameterNode
        inputs = {slot.name: getattr(node, inputMember(spec, slot)) for slot in spec.inputs[1:]}
        inputs[spec.inputs[0].name] = node.inputVolume
        outputs = [n for n in (node.outputVolume, node.outputSegmentation) if n is not None]
        return self.logic.task(operationFrom(node, spec), inputs, outputs or None)

    def _toggle(self, button: Any, makeTask: Callable[[], Task]) -> None:
        if self.running is not None:
            self.running.cancel()
            self.ui.statusLabel.text = _("Cancelling ...")
            return
        try:
            task = makeTask()
        except MedPrepError as error:
            self.showError(error)
            return
        self._button, self._ranOn = button, self._parameterNode.inputVolume
        self.running = BackgroundTask(task, self._progress, self._done, self._failed, self._stopped)
        self._showProgress(0.0)
        self.ui.statusLabel.text = task.title
        self.running.start()
        self.updateButtons()
        self._timer.start()

    def poll(self) -> None:
        """Timer: hand over progress and results of the threads."""
        waiting = [run for run in self._runs() if run is not None and run.poll(LENT_SECONDS)]
        if not waiting:
            self._timer.stop()

    def _runs(self) -> tuple[BackgroundTask | None, ...]:
        """Whatever may be under way in a thread."""
        return self.running, self._summary.running

    def _progress(self, fraction: float, message: str) -> None:
        self._showProgress(fraction)
        self.ui.statusLabel.text = message or self.running.task.title

    def _showProgress(self, fraction: float | None) -> None:
        self.ui.progressBar.visible = fraction is not None
        self.ui.progressBar.value = round(100 * (fraction or 0.0))

    def _ended(self, text: str) -> None:
        self.running, self._button = None, None
        self._showProgress(None)
        self.ui.statusLabel.text = text
        self.updateButtons()

    def _done(self, nodes: Any) -> None:
        run = self.running
        created = nodes if isinstance(nodes, tuple) else (nodes,)
        self._ended(doneText(run.task.title, run.outcome.checks))
        self.showResult(run.outcome, created)

    def _stopped(self) -> None:
        self._ended(_("Cancelled; nothing was changed."))

    def _failed(self, error: MedPrepError) -> None:
        self._ended(error.wrong)
        self.showError(error)

    def showError(self, error: MedPrepError) -> None:
        """Tell the user what is wrong; a run that is under way goes on."""
        if self.running is None:
            self.ui.statusLabel.text = error.wrong
        slicer.util.errorDisplay(str(error), windowTitle=_("MedPrep"))

    def _stopAll(self) -> None:
        for run in self._runs():
            if run is not None:
                run.cancel()
                run.wait(1.0)

    # ---- showing

    def _summarise(self) -> None:
        node = self._parameterNode.inputVolume if self._parameterNode is not None else None
        if self._summary.update(node):
            self._timer.start()

    def _setSummary(self, text: str) -> None:
        self.ui.inputSummary.text = text

    def showResult(self, result: Result, nodes: tuple[Any, ...]) -> None:
        """Show new nodes in the slice views and their figures in the results section."""
        names = ", ".join(f"<b>{html.escape(node.GetName())}</b>" for node in nodes)
        notes = "".join(f"<br>{html.escape(note)}" for note in result.notes)
        self.ui.resultsText.text = _("New in the scene: {names}").format(names=names) + notes
        rows = [(check.name, check.value, check.verdict, check.advice) for check in result.checks]
        for name, value in result.metrics.items():
            shown = f"{value:.6g}" if isinstance(value, float) else str(value)
            rows.append((name, f"{shown} {result.units.get(name, '')}".rstrip(), "", ""))
        fillTable(self.ui.resultsTable, rows)
        self.views.show(self._ranOn, nodes)
