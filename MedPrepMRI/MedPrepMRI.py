"""MedPrep MRI: prepares MRI volumes for deep learning; what Slicer looks for by name and nothing else."""

from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest

from MedPrepCommonLib.core.errors import ParameterError
from MedPrepCommonLib.core.parameters import nearest
from MedPrepCommonLib.modules import module_test, sample_data
from MedPrepCommonLib.modules.logic import MedPrepLogic
from MedPrepCommonLib.panel.panel import MedPrepWidget
from MedPrepCommonLib.panel.parameter_node import parameterNodeClass

OPERATIONS = (
    "mri.brainMask",
    "mri.n4",
    "mri.biasGaussian",
    "mri.biasHomomorphic",
    "mri.biasPolynomial",
    "mri.biasField",
    "mri.compareBias",
    "mri.whiteStripe",
    "mri.normalize",
    "mri.fuse",
    "resample",
)
RECIPES = ("mri-t1", "mri-t1-stripped", "mri-multisequence", "mri-multisequence-stripped", "brats")


class MedPrepMRI(ScriptedLoadableModule):
    """The module as Slicer lists it."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("MedPrep MRI")
        self.parent.categories = [_("MedPrep")]
        self.parent.dependencies = ["MedPrepCommon"]
        self.parent.contributors = ["MedPrep contributors"]
        self.parent.helpText = _(
            "Prepares MRI volumes for deep learning: corrects bias fields, normalizes intensities, "
            "and records what it did. Not for diagnosis."
        )
        self.parent.acknowledgementText = _("Methods and references are listed with each result.")
        sample_data.register(sample_data.BRAIN)


MedPrepMRIParameterNode = parameterNodeClass("MedPrepMRIParameterNode", OPERATIONS, RECIPES)


class MedPrepMRILogic(MedPrepLogic):
    """MRI operations on volume nodes, usable from the Python console and scripts without a GUI."""

    operationIds = OPERATIONS

    def correctBias(self, imageNode, method="N4", **options):
        """Correct the bias field by `method`: "N4", "Gaussian", "Homomorphic" or "Polynomial"."""
        methods = {
            "N4": self.correctBiasN4,
            "Gaussian": self.correctBiasGaussian,
            "Homomorphic": self.correctBiasHomomorphic,
            "Polynomial": self.correctBiasPolynomial,
        }
        if method not in methods:
            raise ParameterError(
                _("There is no bias correction {name!r}.").format(name=method),
                _("Expected one of {names}.").format(names=", ".join(methods)),
                nearest(str(method), methods),
            )
        return methods[method](imageNode, **options)

    def getParameterNode(self):
        """The panel's parameters, saved with the scene."""
        return MedPrepMRIParameterNode(super().getParameterNode())


class MedPrepMRIWidget(MedPrepWidget):
    """The panel."""

    logicClass = MedPrepMRILogic
    operationIds = OPERATIONS
    recipes = RECIPES
    overlays = ("biasField", "logField")
    inputWords = {"recipeMask": _("Brain mask")}


class MedPrepMRITest(ScriptedLoadableModuleTest, module_test.BrainScenarios):
    """The scenarios that also run outside Slicer, in the user's own Slicer."""

    logicClass = MedPrepMRILogic

    def setUp(self):
        module_test.emptyScene()
