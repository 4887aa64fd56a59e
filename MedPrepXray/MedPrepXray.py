"""MedPrep X-ray: prepares radiographs for deep learning; what Slicer looks for by name and nothing else."""

from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest

from MedPrepCommonLib.modules import module_test, sample_data
from MedPrepCommonLib.modules.logic import MedPrepLogic
from MedPrepCommonLib.panel.parameter_node import parameterNodeClass
from MedPrepXrayLib.panel.contrast import XrayWidget

OPERATIONS = (
    "xray.check",
    "xray.polarity",
    "xray.crop",
    "xray.clahe",
    "xray.claheAuto",
    "xray.claheCompare",
    "xray.evaluate",
    "xray.denoise",
    "xray.lungFields",
    "xray.lungNormalize",
)
RECIPES = ("xray-chest", "xray-chest-classical", "chexpert")


class MedPrepXray(ScriptedLoadableModule):
    """The module as Slicer lists it."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("MedPrep X-ray")
        self.parent.categories = [_("MedPrep")]
        self.parent.dependencies = ["MedPrepCommon"]
        self.parent.contributors = ["MedPrep contributors"]
        self.parent.helpText = _(
            "Prepares radiographs for deep learning: checks them, raises local contrast, finds the lung "
            "fields, and records what it did. Not for diagnosis."
        )
        self.parent.acknowledgementText = _("Methods and references are listed with each result.")
        sample_data.register(sample_data.RADIOGRAPH)


MedPrepXrayParameterNode = parameterNodeClass("MedPrepXrayParameterNode", OPERATIONS, RECIPES)


class MedPrepXrayLogic(MedPrepLogic):
    """X-ray operations on volume nodes, usable from the Python console and scripts without a GUI."""

    operationIds = OPERATIONS

    def getParameterNode(self):
        """The panel's parameters, saved with the scene."""
        return MedPrepXrayParameterNode(super().getParameterNode())


class MedPrepXrayWidget(XrayWidget):
    """The panel."""

    logicClass = MedPrepXrayLogic
    operationIds = OPERATIONS
    recipes = RECIPES
    checkId = "xray.check"


class MedPrepXrayTest(ScriptedLoadableModuleTest, module_test.RadiographScenarios):
    """The scenarios that also run outside Slicer, in the user's own Slicer."""

    logicClass = MedPrepXrayLogic

    def setUp(self):
        module_test.emptyScene()
