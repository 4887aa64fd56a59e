"""MedPrep CT: prepares CT volumes for deep learning; what Slicer looks for by name and nothing else."""

from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest

from MedPrepCommonLib.modules import module_test, sample_data
from MedPrepCommonLib.modules.logic import MedPrepLogic
from MedPrepCommonLib.panel.panel import MedPrepWidget
from MedPrepCommonLib.panel.parameter_node import parameterNodeClass

OPERATIONS = (
    "ct.check",
    "ct.lungs",
    "ct.nodules",
    "ct.metal",
    "ct.clip",
    "ct.window",
    "ct.multiWindow",
    "ct.clahe",
    "resample",
    "normalize",
)
RECIPES = ("ct-lung", "luna16", "abdomen-ct", "ct-soft-tissue", "ct-bone", "ct-brain")


class MedPrepCT(ScriptedLoadableModule):
    """The module as Slicer lists it."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("MedPrep CT")
        self.parent.categories = [_("MedPrep")]
        self.parent.dependencies = ["MedPrepCommon"]
        self.parent.contributors = ["MedPrep contributors"]
        self.parent.helpText = _(
            "Prepares CT volumes for deep learning: checks Hounsfield units, segments lungs and metal, "
            "clips, windows, resamples and normalizes, and records what it did. Not for diagnosis."
        )
        self.parent.acknowledgementText = _("Methods and references are listed with each result.")
        sample_data.register()


MedPrepCTParameterNode = parameterNodeClass("MedPrepCTParameterNode", OPERATIONS, RECIPES)


class MedPrepCTLogic(MedPrepLogic):
    """CT operations on volume nodes, usable from the Python console and scripts without a GUI."""

    operationIds = OPERATIONS

    def getParameterNode(self):
        """The panel's parameters, saved with the scene."""
        return MedPrepCTParameterNode(super().getParameterNode())


class MedPrepCTWidget(MedPrepWidget):
    """The panel."""

    logicClass = MedPrepCTLogic
    operationIds = OPERATIONS
    recipes = RECIPES
    checkId = "ct.check"


class MedPrepCTTest(ScriptedLoadableModuleTest, module_test.ChestScenarios):
    """The scenarios that also run outside Slicer, in the user's own Slicer."""

    logicClass = MedPrepCTLogic

    def setUp(self):
        module_test.emptyScene()
