"""A preview in Slicer's slice views: laid over the image, or beside it, and taken away without a trace."""

from __future__ import annotations

from typing import Any

import slicer
import vtk

from . import scenepreview
from .volume import Volume


class Preview:
    """Shows one volume over another; `clear` puts the views back as they were."""

    def __init__(self) -> None:
        self.node: Any = None
        self._views: list[tuple[Any, str | None, str | None, float]] = []
        self._layout: tuple[Any, int] | None = None
        self._turned: tuple[Any, Any] | None = None

    def show(self, volume: Volume, background: Any) -> None:
        """Show `volume` over the volume node `background`; a volume of the same size only changes values."""
        if self.node is not None and not slicer.mrmlScene.IsNodePresent(self.node):
            self.node = None
        if self.node is not None and _fits(self.node, volume):
            scenepreview.updatePreview(self.node, volume)
            return
        self.clear()
        self.node = scenepreview.addPreview(volume)
        isShown = False
        for view in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            kept = (
                view,
                view.GetBackgroundVolumeID(),
                view.GetForegroundVolumeID(),
                view.GetForegroundOpacity(),
            )
            self._views.append(kept)
            isShown |= kept[1] == background.GetID()
            view.SetBackgroundVolumeID(background.GetID())
            view.SetForegroundVolumeID(self.node.GetID())
            view.SetForegroundOpacity(1.0)
        if not isShown:
            slicer.util.setSliceViewerLayers(fit=True)

    def showBefore(self, before: bool) -> None:
        """Hide the preview for a look at the image, or show it again."""
        for view, *_kept in self._views:
            if self._layout is None or view.GetLayoutName() != "Red":
                view.SetForegroundOpacity(0.0 if before else 1.0)

    def showBeside(self, beside: bool) -> None:
        """Image on the left and preview on the right, or the preview over the image in every view."""
        layout = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
        if self.node is None or layout is None or beside == (self._layout is not None):
            return
        if not beside:
            self._endBeside()
            self.showBefore(False)
            return
        self._layout = (layout, layout.GetViewArrangement())
        layout.SetViewArrangement(layout.SlicerLayoutSideBySideView)
        red, yellow = (slicer.mrmlScene.GetNodeByID(f"vtkMRMLSliceNode{name}") for name in ("Red", "Yellow"))
        if red is not None and yellow is not None:
            before = vtk.vtkMatrix4x4()
            before.DeepCopy(yellow.GetSliceToRAS())
            self._turned = (yellow, before)
            yellow.GetSliceToRAS().DeepCopy(red.GetSliceToRAS())
            yellow.UpdateMatrices()
        for view, *_kept in self._views:
            if view.GetLayoutName() == "Red":
                view.SetForegroundOpacity(0.0)
        slicer.util.setSliceViewerLayers(fit=True)

    def _endBeside(self) -> None:
        if self._turned is not None:
            node, before = self._turned
            node.GetSliceToRAS().DeepCopy(before)
            node.UpdateMatrices()
        if self._layout is not None:
            layout, arrangement = self._layout
            layout.SetViewArrangement(arrangement)
        self._layout = self._turned = None

    def clear(self) -> None:
        """Take the preview away and show what was shown before; fine when there is none."""
        self._endBeside()
        for view, background, foreground, opacity in self._views:
            view.SetBackgroundVolumeID(background)
            view.SetForegroundVolumeID(foreground)
            view.SetForegroundOpacity(opacity)
        self._views = []
        node, self.node = self.node, None
        scenepreview.removePreview(node)


def _fits(node: Any, volume: Volume) -> bool:
    """Whether the node's image has the volume's size, place and type."""
    image = node.GetImageData()
    if image is None or image.GetDimensions() != volume.shape[::-1]:
        return False
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    same = all(matrix.GetElement(r, c) == volume.ijkToRAS[r, c] for r in range(4) for c in range(4))
    return same and slicer.util.arrayFromVolume(node).dtype == volume.array.dtype
