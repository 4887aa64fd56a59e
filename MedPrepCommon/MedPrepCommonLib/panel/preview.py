"""A preview in Slicer's slice views: laid over the image, or beside it, and taken away without a trace."""

from __future__ import annotations

from typing import Any

import slicer
import vtk

from ..core.volume import Volume
from ..scene import preview

# Views of Slicer's side by side layout: the image, and its preview.
_BESIDE = ("Red", "Yellow")
# By then a new layout has given its views their size, on a busy machine too.
_LAID_OUT_MS = 200


class Preview:
    """Shows one volume over another; `clear` puts the views back as they were."""

    def __init__(self) -> None:
        self.node: Any = None
        self._views: list[tuple[Any, str | None, str | None, float]] = []
        self._layout: tuple[Any, int] | None = None
        self._turned: list[tuple[Any, Any]] = []

    def show(self, volume: Volume, background: Any) -> None:
        """Show `volume` over the volume node `background`; a volume of the same size only changes values."""
        if self.node is not None and not slicer.mrmlScene.IsNodePresent(self.node):
            self.node = None
        if self.node is not None and _fits(self.node, volume):
            preview.updatePreview(self.node, volume)
            return
        self.clear()
        self.node = preview.addPreview(volume)
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
            if self._layout is None or view.GetLayoutName() != _BESIDE[0]:
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
        import qt

        self._layout = (layout, layout.GetViewArrangement())
        layout.SetViewArrangement(layout.SlicerLayoutSideBySideView)
        for name in _BESIDE:
            view = slicer.mrmlScene.GetNodeByID(f"vtkMRMLSliceNode{name}")
            if view is not None:
                before = vtk.vtkMatrix4x4()
                before.DeepCopy(view.GetSliceToRAS())
                self._turned.append((view, before))
                # The image may lie in any plane; near the right one, turning to it leaves it upright.
                view.SetOrientation(_planeOf(self.node))
                view.RotateToVolumePlane(self.node)
        for view, *_kept in self._views:
            if view.GetLayoutName() == _BESIDE[0]:
                view.SetForegroundOpacity(0.0)
        qt.QTimer.singleShot(_LAID_OUT_MS, lambda: slicer.util.setSliceViewerLayers(fit=True))

    def _endBeside(self) -> None:
        for view, before in self._turned:
            view.GetSliceToRAS().DeepCopy(before)
            view.UpdateMatrices()
        if self._layout is not None:
            layout, arrangement = self._layout
            layout.SetViewArrangement(arrangement)
        self._layout, self._turned = None, []

    def clear(self) -> None:
        """Take the preview away and show what was shown before; fine when there is none."""
        self._endBeside()
        for view, background, foreground, opacity in self._views:
            view.SetBackgroundVolumeID(background)
            view.SetForegroundVolumeID(foreground)
            view.SetForegroundOpacity(opacity)
        self._views = []
        node, self.node = self.node, None
        preview.removePreview(node)


def _planeOf(node: Any) -> str:
    """Name of the anatomical plane nearest to that of a volume of one slice."""
    size, matrix = node.GetImageData().GetDimensions(), vtk.vtkMatrix4x4()
    node.GetIJKToRASDirectionMatrix(matrix)
    thin = size.index(min(size))
    across = [abs(matrix.GetElement(row, thin)) for row in range(3)]
    return ("Sagittal", "Coronal", "Axial")[across.index(max(across))]


def _fits(node: Any, volume: Volume) -> bool:
    """Whether the node's image has the volume's size, place and type."""
    image = node.GetImageData()
    if image is None or image.GetDimensions() != volume.shape[::-1]:
        return False
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    same = all(matrix.GetElement(r, c) == volume.ijkToRAS[r, c] for r in range(4) for c in range(4))
    return same and slicer.util.arrayFromVolume(node).dtype == volume.array.dtype
