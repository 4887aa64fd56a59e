"""Scenarios that the modules' Test classes run, the same inside Slicer and outside it.

Each is a user's job from input node to result, on phantoms whose answer is known.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk

from ..core.errors import MedPrepError
from ..core.volume import LabelVolume, Volume
from ..numeric.similarity import dice
from ..phantoms.brain import make_brain_phantom
from ..phantoms.chest import make_chest_phantom
from ..phantoms.projection import project_radiograph
from ..scene.volumes import nodeFromVolume
from . import sample_data


def emptyScene() -> None:
    """Start a scenario with nothing in the scene."""
    slicer.mrmlScene.Clear()


def _segments(segmentation: Any, reference: Any) -> dict[str, np.ndarray]:
    """Boolean (k, j, i) array per segment name on the reference volume's grid."""
    arrays = {}
    ids = segmentation.GetSegmentation().GetSegmentIDs()
    for segmentId in ids:
        name = segmentation.GetSegmentation().GetSegment(segmentId).GetName()
        arrays[name] = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segmentId, reference) > 0
    return arrays


class AnyVolumeScenarios:
    """Jobs on an image of any modality; mixed into a ScriptedLoadableModuleTest."""

    logicClass: type

    def _oblique(self) -> Any:
        """A volume node on an oblique, left-handed grid with a linear ramp in patient space."""
        angle = np.radians(20.0)
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, -1.0]])
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = turn * [0.8, 1.1, 2.5], [10.0, -20.0, 30.0]
        k, j, i = np.indices((12, 30, 40))
        ramp = 3.0 * (matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 2] * k + matrix[0, 3])
        return nodeFromVolume(Volume(ramp.astype(np.float32), matrix), "ramp")

    def test_resampleKeepsThePlace(self) -> None:
        self.delayDisplay("Resampling an oblique volume keeps every point where it was")
        node = self._oblique()
        before = slicer.util.arrayFromVolume(node).copy()
        result = self.logicClass().resample(node, spacing=1.0, method="linear", antialias=False)
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), before)
        matrix = _ijkToRAS(result)
        array = slicer.util.arrayFromVolume(result)
        k, j, i = (n // 2 for n in array.shape)
        right = 3.0 * (matrix @ [i, j, k, 1.0])[0]
        np.testing.assert_allclose(array[k, j, i], right, atol=1e-2)
        np.testing.assert_allclose(result.GetSpacing(), (1.0, 1.0, 1.0), atol=1e-9)

    def test_whatWasDoneBecomesARecipe(self) -> None:
        self.delayDisplay("Operations by hand are exported as a recipe that gives the same bytes")
        node, logic = self._oblique(), self.logicClass()
        wanted = logic.resample(logic.resample(node, spacing=1.3, method="linear"), spacing=2.0)
        made = logic.recipeFromNode(wanted)
        self.assertEqual([step.op.operation.id for step in made.steps], ["resample", "resample"])
        again = logic.runRecipe(made, node)
        arrays = [slicer.util.arrayFromVolume(n) for n in (again, wanted)]
        self.assertEqual(arrays[0].tobytes(), arrays[1].tobytes())
        np.testing.assert_array_equal(_ijkToRAS(again), _ijkToRAS(wanted))

    def test_errorLeavesTheSceneAlone(self) -> None:
        self.delayDisplay("An impossible request says what is wrong and changes nothing")
        node = self._oblique()
        count = slicer.mrmlScene.GetNumberOfNodes()
        with self.assertRaises(MedPrepError) as caught:
            self.logicClass().normalize(node, method="minmax", low=5.0, high=5.0)
        self.assertTrue(caught.exception.wrong and caught.exception.advice)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), count)


class ChestScenarios(AnyVolumeScenarios):
    """Jobs on the built-in chest CT phantom."""

    def test_lungs(self) -> None:
        self.delayDisplay("Lungs of the chest phantom against the known truth")
        phantom = make_chest_phantom()
        ct = sample_data.phantomNode(phantom)
        lungs = self.logicClass().segmentLungs(ct).lungs
        found = _segments(lungs, ct)
        for value, name in ((1, "right lung"), (2, "left lung")):
            self.assertGreaterEqual(dice(found[name], phantom.labels == value), 0.985, name)

    def test_recipe(self) -> None:
        self.delayDisplay("The recipe ct-lung gives an image in [0, 1] on a 1 mm grid, with its labels")
        ct = sample_data.loadChestPhantom()
        before = slicer.util.arrayFromVolume(ct).copy()
        nodes = self.logicClass().runRecipe("ct-lung", ct)
        array = slicer.util.arrayFromVolume(nodes.image)
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(ct), before)
        np.testing.assert_allclose(nodes.image.GetSpacing(), (1.0, 1.0, 1.0), atol=1e-9)
        self.assertGreaterEqual(array.min(), 0.0)
        self.assertLessEqual(array.max(), 1.0)
        self.assertTrue(nodes.lungs.IsA("vtkMRMLSegmentationNode"))
        self.assertIn('"operation"', nodes.image.GetAttribute("MedPrep.provenance"))

    def test_windowPreset(self) -> None:
        self.delayDisplay("The lung window maps -1350 HU to 0 and 150 HU to 255")
        ct = sample_data.loadChestPhantom()
        windowed = self.logicClass().window(ct, preset="lung")
        hu, grey = slicer.util.arrayFromVolume(ct), slicer.util.arrayFromVolume(windowed)
        self.assertEqual(int(grey[hu <= -1350].max(initial=0)), 0)
        self.assertEqual(int(grey[hu >= 150].min(initial=255)), 255)


class BrainScenarios:
    """Jobs on the built-in brain MRI phantom; mixed into a ScriptedLoadableModuleTest."""

    logicClass: type

    def test_biasFieldIsFound(self) -> None:
        self.delayDisplay("N4 evens out the white matter of a phantom with a known field")
        phantom = make_brain_phantom()
        node = nodeFromVolume(Volume(phantom.images["T1"], phantom.ijkToRAS, "T1", "MR"), "T1")
        before = slicer.util.arrayFromVolume(node).copy()
        nodes = self.logicClass().correctBiasN4(node)
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), before)
        white = phantom.labels == 3
        after = slicer.util.arrayFromVolume(nodes.image)[white]
        self.assertLess(after.std() / after.mean(), 0.6 * before[white].std() / before[white].mean())
        field = slicer.util.arrayFromVolume(nodes.biasField)[phantom.brain]
        self.assertGreater(np.corrcoef(np.log(field), np.log(phantom.field[phantom.brain]))[0, 1], 0.98)

    def test_whiteStripe(self) -> None:
        self.delayDisplay("White Stripe puts the white matter at zero")
        phantom = make_brain_phantom(bias=0.0)
        node = nodeFromVolume(Volume(phantom.images["T1"], phantom.ijkToRAS, "T1", "MR"), "T1")
        nodes = self.logicClass().whiteStripe(node)
        white = slicer.util.arrayFromVolume(nodes.image)[phantom.labels == 3]
        self.assertLess(abs(np.median(white)), 1.0)


class RadiographScenarios:
    """Jobs on a radiograph projected from the chest phantom; mixed into a ScriptedLoadableModuleTest."""

    logicClass: type

    def _radiograph(self) -> tuple[Any, np.ndarray]:
        """Its volume node, and the true lungs (k, j, i): 1 right, 2 left."""
        phantom = make_chest_phantom((75, 128, 128), (4.0, 2.8, 2.8))
        ct = Volume(phantom.hu, phantom.ijkToRAS, "phantom", "CT")
        lungs = LabelVolume(phantom.labels.astype(np.uint8), phantom.ijkToRAS)
        made = project_radiograph(ct, lungs)
        return nodeFromVolume(made.image, "radiograph"), made.lungs.array

    def test_contrast(self) -> None:
        self.delayDisplay("Contrast is raised, the input stays, and the numbers say so")
        node, _lungs = self._radiograph()
        before = slicer.util.arrayFromVolume(node).copy()
        logic = self.logicClass()
        enhanced = logic.clahe(node)
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), before)
        self.assertEqual(slicer.util.arrayFromVolume(enhanced).dtype, np.uint16)
        table = logic.evaluate(node, enhanced=enhanced).evaluation
        values = {
            table.GetCellText(n, 0): float(table.GetCellText(n, 1)) for n in range(table.GetNumberOfRows())
        }
        self.assertGreater(values["detailGain"], 1.0)

    def test_lungFields(self) -> None:
        self.delayDisplay("The lung fields of the phantom's radiograph against the known truth")
        node, truth = self._radiograph()
        found = _segments(self.logicClass().segmentLungFields(node, method="classical").lungs, node)
        for value, name in ((1, "right lung"), (2, "left lung")):
            self.assertGreaterEqual(dice(found[name], truth == value), 0.8, name)

    def test_recipe(self) -> None:
        self.delayDisplay("The recipe gives 512 x 512 pixels whose lungs have mean 0 and deviation 1")
        node, _truth = self._radiograph()
        nodes = self.logicClass().runRecipe("xray-chest-classical", node)
        image = slicer.util.arrayFromVolume(nodes.image)
        lungs = sum(_segments(nodes.imageLungs, nodes.image).values()) > 0
        self.assertEqual(sorted(image.shape), [1, 512, 512])
        self.assertLess(abs(image[lungs].mean()), 0.1)
        self.assertLess(abs(image[lungs].std() - 1), 0.15)
        self.assertEqual(set(_segments(nodes.lungs, node)), {"right lung", "left lung"})


def _ijkToRAS(node: Any) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)
