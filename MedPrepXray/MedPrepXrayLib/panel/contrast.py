"""What the X-ray panel adds to the common one: CLAHE previewed while a slider moves, lungs as outlines."""

from __future__ import annotations

from typing import Any

import slicer

from MedPrepCommonLib.core.errors import MedPrepError
from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.operation import find
from MedPrepCommonLib.core.result import Result
from MedPrepCommonLib.core.task import BackgroundTask, Task
from MedPrepCommonLib.panel.panel import MedPrepWidget
from MedPrepCommonLib.panel.parameter_node import operationFrom
from MedPrepCommonLib.panel.preview import Preview
from MedPrepCommonLib.scene import volumes

from ..contrast.judging import Judgement
from ..contrast.preview import ContrastPreview

# Measures follow when the slider rests for so long.
REST_MS = 300


class XrayWidget(MedPrepWidget):
    """The panel's base; the switches ``clahe_preview``, ``clahe_beside``, ``clahe_before`` are a .ui file."""

    extras = {"xray.clahe": "UI/ClahePreview.ui"}
    takesColour = True

    def setup(self) -> None:
        import qt

        self.preview, self._contrast, self._previewed = Preview(), None, None
        self._judging: BackgroundTask | None = None
        self._rest = qt.QTimer()
        self._rest.setSingleShot(True)
        self._rest.setInterval(REST_MS)
        self._rest.connect("timeout()", self.judgePreview)
        MedPrepWidget.setup(self)
        self.ui.clahe_preview.connect("toggled(bool)", lambda _on: self.updatePreview())
        self.ui.clahe_beside.connect("toggled(bool)", self._showBeside)
        self.ui.clahe_before.connect("toggled(bool)", self._showBefore)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartSaveEvent, self.onSceneStartSave)
        self.updatePreview()

    def cleanup(self) -> None:
        self.stopPreview()
        MedPrepWidget.cleanup(self)

    def exit(self) -> None:
        self.stopPreview()
        MedPrepWidget.exit(self)

    def onSceneStartClose(self, caller: Any, event: Any) -> None:
        self.stopPreview()
        MedPrepWidget.onSceneStartClose(self, caller, event)

    def onSceneStartSave(self, _caller: Any, _event: Any) -> None:
        """The views are part of the scene: without this they would be saved with the preview in them."""
        self.stopPreview()

    def onParametersModified(self, *args: Any) -> None:
        MedPrepWidget.onParametersModified(self, *args)
        self.updatePreview()

    def onInputModified(self, *args: Any) -> None:
        self._previewed = None
        MedPrepWidget.onInputModified(self, *args)
        self.updatePreview()

    def onApply(self, spec: Any) -> None:
        self.stopPreview()
        MedPrepWidget.onApply(self, spec)

    def onRecipe(self) -> None:
        self.stopPreview()
        MedPrepWidget.onRecipe(self)

    # ---- the preview

    def updatePreview(self) -> None:
        """Bring the preview to the section's parameters, start it, or take it away."""
        node = self._parameterNode.inputVolume if self._parameterNode is not None else None
        on = self.ui.clahe_preview.checked and node is not None and node.GetImageData() is not None
        for name in ("clahe_beside", "clahe_before"):
            getattr(self.ui, name).enabled = on
        if not on:
            self._endPreview()
            return
        try:
            if self._previewed is not node or self._contrast is None:
                self._contrast = ContrastPreview(volumes.volumeFromNode(node))
                self._previewed = node
            op = operationFrom(self._parameterNode, find("xray.clahe"))
            made = self._contrast.enhance(op.clipLimit, op.tiles, op.region)
        except MedPrepError as error:
            self._endPreview()
            self.ui.clahe_previewText.text = str(error)
            return
        isNew = self.preview.node is None
        self.preview.show(made, node)
        self._stopJudging()
        if isNew:
            self._showBeside(self.ui.clahe_beside.checked)
            self._showBefore(self.ui.clahe_before.checked)
        self._rest.start()

    def stopPreview(self) -> None:
        """Switch the preview off and take it away."""
        self.ui.clahe_preview.checked = False
        self._endPreview()

    def _endPreview(self) -> None:
        self._rest.stop()
        self._stopJudging()
        self.preview.clear()
        self._contrast = self._previewed = None
        self.ui.clahe_previewText.text = ""

    def judgePreview(self) -> None:
        """Measure in the background what the shown setting does; the slider stays live meanwhile."""
        if self._contrast is None or self.preview.node is None:
            return
        self._stopJudging()
        self._timer.start()
        if self._judging is not None and not self._judging.finished:
            self._rest.start()  # one thread at a time
            return
        contrast = self._contrast
        self._judging = BackgroundTask(
            Task(_("Measures"), lambda _job: contrast.judge(), lambda judged: judged),
            progress=lambda _fraction, _message: None,
            done=lambda judged: self._sayJudgement(*judged),
            failed=lambda error: setattr(self.ui.clahe_previewText, "text", str(error)),
            stopped=lambda: None,
        )
        self._judging.start()

    def _stopJudging(self) -> None:
        if self._judging is not None:
            self._judging.cancel()

    def _runs(self) -> tuple[BackgroundTask | None, ...]:
        return (*MedPrepWidget._runs(self), self._judging)

    def _sayJudgement(self, measures: dict[str, float], judgement: Judgement) -> None:
        text = _("Detail x {detail:.2f}, noise x {noise:.2f}, SSIM {ssim:.2f}: {verdict} (score {score:.2f})")
        self.ui.clahe_previewText.text = text.format(
            detail=measures["detailGain"],
            noise=measures["noiseGain"],
            ssim=measures["ssim"],
            verdict=judgement.verdict,
            score=judgement.score,
        )

    def _showBefore(self, before: bool) -> None:
        self.preview.showBefore(before)
        self.ui.clahe_before.text = _("Show after") if before else _("Show before")

    def _showBeside(self, beside: bool) -> None:
        self.preview.showBeside(beside)

    # ---- results

    def showResult(self, result: Result, nodes: tuple[Any, ...]) -> None:
        MedPrepWidget.showResult(self, result, nodes)
        for node in nodes:
            if node.IsA("vtkMRMLSegmentationNode") and node.GetDisplayNode() is not None:
                # Lungs filled with colour would hide what is to be seen in them.
                node.GetDisplayNode().SetVisibility2DFill(False)
                node.GetDisplayNode().SetVisibility2DOutline(True)
                node.GetDisplayNode().SetSliceIntersectionThickness(2)
