"""MedPrep Common: operations for any modality; what Slicer looks for by name and nothing else."""

from pathlib import Path

from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest

from MedPrepCommonLib.batch.process import runBatch
from MedPrepCommonLib.files.patch_writing import free_folder
from MedPrepCommonLib.modules import module_test
from MedPrepCommonLib.modules.logic import MedPrepLogic
from MedPrepCommonLib.modules.patch_export import exporting, exportPatches
from MedPrepCommonLib.panel.batch import BatchSection
from MedPrepCommonLib.panel.parameter_node import parameterNodeClass
from MedPrepCommonLib.panel.recipes import RecipesWidget

OPERATIONS = (
    "resample",
    "normalize",
    "cropPad",
    "cropForeground",
    "restore",
    "augment",
    "validate",
    "qc",
    "patches",
    "denoise",
)


class MedPrepCommon(ScriptedLoadableModule):
    """The module as Slicer lists it."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("MedPrep Common")
        self.parent.categories = [_("MedPrep")]
        self.parent.dependencies = []
        self.parent.contributors = ["MedPrep contributors"]
        self.parent.helpText = _(
            "Prepares volumes of any modality for deep learning: resamples, crops, normalizes, augments, "
            "cuts patches, controls quality, and runs recipes that you can edit. Not for diagnosis."
        )
        self.parent.acknowledgementText = _("Methods and references are listed with each result.")


MedPrepCommonParameterNode = parameterNodeClass("MedPrepCommonParameterNode", OPERATIONS, ())


class MedPrepCommonLogic(MedPrepLogic):
    """Operations for any modality on volume nodes, usable without a GUI."""

    operationIds = OPERATIONS
    exportPatches = exportPatches
    runBatch = staticmethod(runBatch)

    def getParameterNode(self):
        """The panel's parameters, saved with the scene."""
        return MedPrepCommonParameterNode(super().getParameterNode())


class MedPrepCommonWidget(RecipesWidget):
    """The panel."""

    logicClass = MedPrepCommonLogic
    operationIds = OPERATIONS
    extras = {"patches": "UI/PatchesFolder.ui"}

    def setup(self):
        """Build the panel (called by Slicer once)."""
        super().setup()
        self.batch = BatchSection(self.layout, self.resourcePath("UI/Batch.ui"), self.showError)

    def cleanup(self):
        """Stop what runs (called by Slicer when the module goes away)."""
        self.batch.cleanup()
        super().cleanup()

    def _operationTask(self, spec):
        task = super()._operationTask(spec)
        folder = self.ui.patches_folder.currentPath if spec.id == "patches" else ""
        return exporting(task, lambda: free_folder(Path(folder))) if folder else task


class MedPrepCommonTest(ScriptedLoadableModuleTest, module_test.AnyVolumeScenarios):
    """The scenarios that also run outside Slicer, in the user's own Slicer."""

    logicClass = MedPrepCommonLogic

    def setUp(self):
        module_test.emptyScene()
