"""The MRML scene of the headless host: real slicer-core logics, colours and a kept subject hierarchy.

In Slicer the application, its modules and their Qt plugins fill and watch the scene. Outside, this file does
the part that a script notices: node classes and default nodes are registered, colour nodes have their usual
IDs, ``.mrb`` files can be read, and each data node has its subject hierarchy item.
"""

from __future__ import annotations

import atexit
import colorsys
import contextlib
import tempfile
from collections.abc import Iterator
from typing import Any

# Module name as in ``slicer.modules`` (lower case there) and its logic class, in the order Slicer needs.
LOGIC_CLASSES = {
    "Colors": "vtkSlicerColorLogic",
    "Units": "vtkSlicerUnitsLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Models": "vtkSlicerModelsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
    "VolumeRendering": "vtkSlicerVolumeRenderingLogic",
    "SceneViews": "vtkSlicerSceneViewsModuleLogic",
}

# Subject hierarchy plugin that owns a node in Slicer; the first class that fits wins.
PLUGINS = (
    ("vtkMRMLLabelMapVolumeNode", "LabelMaps"),
    ("vtkMRMLDiffusionTensorVolumeNode", "DiffusionTensorVolumes"),
    ("vtkMRMLScalarVolumeNode", "Volumes"),
    ("vtkMRMLSegmentationNode", "Segmentations"),
    ("vtkMRMLMarkupsNode", "Markups"),
    ("vtkMRMLModelNode", "Models"),
    ("vtkMRMLTransformNode", "Transforms"),
    ("vtkMRMLTableNode", "Tables"),
    ("vtkMRMLTextNode", "Texts"),
    ("vtkMRMLPlotChartNode", "Plots"),
    ("vtkMRMLPlotSeriesNode", "Plots"),
)

# What a saved scene says about its writer. Slicer warns that a scene "may not load correctly" when this names
# another application (slicer-core calls itself "slicer-core 4.0.0 0") or a newer version than its own; we
# promise 5.10 and up.
SCENE_VERSION = "Slicer 5.10.0 31053"

# Nine evenly spaced colours of the maps that Slicer reads from files; slicer-core ships no files. Only the
# node's ID is saved with a scene, so a scene made here shows Slicer's own map when it is opened in Slicer.
COLOR_MAPS = {
    "Inferno": "000004 210c4a 57106e 8a226a bc3754 e45a31 f98e09 f9cb35 fcffa4",
    "Magma": "000004 1d1147 51127c 832681 b73779 e75263 fc8961 fec488 fcfdbf",
    "Plasma": "0d0887 4c02a1 7e03a8 aa2395 cc4778 e66c5c f89540 fdc527 f0f921",
    "Viridis": "440154 472d7b 3b528b 2c728e 21918c 28ae80 5ec962 addc30 fde725",
    "Cividis": "00224e 1a386f 434e6c 61656f 7d7c78 9b9476 bcae6c dec958 fee838",
}


class SceneHost:
    """A scene with what the application would keep alive around it.

    Attributes
    ----------
    scene : the ``vtkMRMLScene``.
    applicationLogic : ``vtkSlicerApplicationLogic``.
    logics : module logic by module name, as in :data:`LOGIC_CLASSES`.
    temporaryPath : folder that is deleted when the interpreter ends.
    """

    def __init__(self) -> None:
        import slicer

        folder = tempfile.TemporaryDirectory(prefix="MedPrep-")
        atexit.register(folder.cleanup)
        self.temporaryPath = folder.name
        self.scene = slicer.vtkMRMLScene()
        self.scene.SetVersion(SCENE_VERSION)
        self.applicationLogic = slicer.vtkSlicerApplicationLogic()
        self.logics: dict[str, Any] = {}
        with quietVtk():
            self._startLogics()
        self._enableBundles()
        self.scene.RegisterNodeClass(slicer.vtkMRMLCommandLineModuleNode())
        addColors(self.scene)
        self.keeper = SubjectHierarchyKeeper(self.scene)

    def _startLogics(self) -> None:
        import slicer

        app = self.applicationLogic
        for setFolder in (app.SetTemporaryPath, app.SetHomeDirectory):
            setFolder(self.temporaryPath)
        app.SetShareDirectory("share")
        app.SetMRMLScene(self.scene)
        for name, className in LOGIC_CLASSES.items():
            logic = getattr(slicer, className)()
            logic.SetMRMLApplicationLogic(app)
            if name == "Colors":
                app.SetColorLogic(logic)
            logic.SetMRMLScene(self.scene)
            app.SetModuleLogic(name, logic)
            self.logics[name] = logic

    def _enableBundles(self) -> None:
        """Reading a ``.mrb`` unpacks into the cache folder of the scene's data manager."""
        import slicer

        self._remote = slicer.vtkMRMLRemoteIOLogic()
        self._remote.GetCacheManager().SetRemoteCacheDirectory(self.temporaryPath)
        self._data = slicer.vtkDataIOManagerLogic()
        self._data.SetMRMLApplicationLogic(self.applicationLogic)
        self._data.SetAndObserveDataIOManager(self._remote.GetDataIOManager())
        self.applicationLogic.SetMRMLSceneDataIO(self.scene, self._remote, self._data)


@contextlib.contextmanager
def quietVtk() -> Iterator[None]:
    """Silence VTK's log: the logics complain about Slicer's share folder, which slicer-core does not have."""
    import vtk

    before = vtk.vtkLogger.GetCurrentVerbosityCutoff()
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)
    try:
        yield
    finally:
        vtk.vtkLogger.SetStderrVerbosity(before)


def addColors(scene: Any) -> None:
    """Add the colour nodes that Slicer reads from files, under the same node IDs."""
    for name, anchors in COLOR_MAPS.items():
        stops = [tuple(int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)) for code in anchors.split()]
        colors = []
        for n in range(256):
            place = n / 255 * (len(stops) - 1)
            k = min(int(place), len(stops) - 2)
            low, high = stops[k], stops[k + 1]
            colors.append((*(a + (b - a) * (place - k) for a, b in zip(low, high, strict=True)), 1.0))
        _addColorNode(scene, name, colors)
    # Neighbouring labels get hues far apart (golden angle); label 0 is background.
    labels = [
        colorsys.hsv_to_rgb(n * 0.618034 % 1, 0.55 + 0.3 * (n % 2), 0.95 - 0.2 * (n % 3 == 0))
        for n in range(1, 256)
    ]
    _addColorNode(scene, "GenericColors", [(0.0, 0.0, 0.0, 0.0), *((*rgb, 1.0) for rgb in labels)])


def _addColorNode(scene: Any, name: str, colors: list[tuple[float, float, float, float]]) -> None:
    import slicer

    node = slicer.vtkMRMLColorTableNode()
    node.SetSingletonTag(slicer.vtkMRMLColorLogic.GetFileColorNodeSingletonTag(f"{name}.txt"))
    node.SetName(name)
    node.SetTypeToUser()
    node.SetNumberOfColors(len(colors))
    for index, color in enumerate(colors):
        node.SetColor(index, *color)
    node.SetNamesFromColors()
    node.SetSaveWithScene(False)
    scene.AddNode(node)


class SubjectHierarchyKeeper:
    """Gives each data node its subject hierarchy item, like Slicer's ``qSlicerSubjectHierarchyPluginLogic``.

    Slicer's virtual items for single segments are not made: nothing of ours reads them.
    """

    def __init__(self, scene: Any) -> None:
        import slicer
        import vtk

        self.scene = scene
        self._observed = None
        self._onOwnerWanted.__func__.CallDataType = vtk.VTK_LONG
        self._onNodeAdded.__func__.CallDataType = vtk.VTK_OBJECT
        self._onNodeAboutToBeRemoved.__func__.CallDataType = vtk.VTK_OBJECT
        for event, callback, priority in (
            (slicer.vtkMRMLScene.NodeAddedEvent, self._onNodeAdded, 0.0),
            (slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, self._onNodeAboutToBeRemoved, 0.0),
            (slicer.vtkMRMLScene.EndImportEvent, self._complete, 10.0),
            (slicer.vtkMRMLScene.EndBatchProcessEvent, self._complete, 10.0),
            (slicer.vtkMRMLScene.EndCloseEvent, self._complete, 0.0),
            (slicer.vtkMRMLScene.EndRestoreEvent, self._complete, 0.0),
        ):
            scene.AddObserver(event, callback, priority)
        self._complete()

    def _onNodeAdded(self, caller: Any, event: str, node: Any) -> None:
        if node.IsA("vtkMRMLSubjectHierarchyNode"):
            self._hierarchy()
        elif not self.scene.IsImporting():
            self._place(self._hierarchy(), node)

    def _onNodeAboutToBeRemoved(self, caller: Any, event: str, node: Any) -> None:
        if self.scene.IsClosing() or node.IsA("vtkMRMLSubjectHierarchyNode"):
            return
        hierarchy = self._hierarchy()
        item = hierarchy.GetItemByDataNode(node)
        if item:
            hierarchy.RemoveItem(item, False, False)

    def _complete(self, caller: Any = None, event: str = "") -> None:
        """After a load, a close or a batch of changes: exactly one hierarchy, with every data node in it."""
        if self.scene.IsBatchProcessing():  # loaded items are resolved after the batch, and would come twice
            return
        hierarchy = self._hierarchy()
        for index in range(self.scene.GetNumberOfNodes()):
            node = self.scene.GetNthNode(index)
            if not hierarchy.GetItemByDataNode(node):
                self._place(hierarchy, node)

    def _hierarchy(self) -> Any:
        import slicer

        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(self.scene)
        if hierarchy is not self._observed:  # closing the scene makes a new one
            self._observed = hierarchy
            hierarchy.AddObserver(
                hierarchy.SubjectHierarchyItemOwnerPluginSearchRequested, self._onOwnerWanted
            )
        return hierarchy

    def _onOwnerWanted(self, hierarchy: Any, event: str, item: int) -> None:
        """Folders belong to the Folder plugin, subjects and studies to the DICOM plugin."""
        if item == hierarchy.GetSceneItemID() or hierarchy.GetItemOwnerPluginName(item):
            return
        level = hierarchy.GetItemLevel(item)
        plugin = {"Patient": "DICOM", "Study": "DICOM", "Folder": "Folder"}.get(level)
        if plugin:
            hierarchy.SetItemOwnerPluginName(item, plugin)

    def _place(self, hierarchy: Any, node: Any) -> None:
        plugin = next((name for className, name in PLUGINS if node.IsA(className)), None)
        if plugin and not node.GetHideFromEditors():
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node, plugin)
