"""Takes the pictures of Screenshots/: the panel in a real Slicer, a report in a browser, both of the phantom.

1. Slicer --no-splash --python-script Tools/screenshots.py --additional-module-paths MedPrepCommon MedPrepCT \
       MedPrepMRI MedPrepXray
2. python3 run.py demo
   chromium --headless --hide-scrollbars --window-size=1000,1100 --screenshot=Screenshots/report.png \
       medprep-demo/chest/report.html
3. python3 run.py python Tools/screenshots.py       makes the files small: at most 256 colours
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "Screenshots"
WINDOW = (1280, 800)
OPENED = ("lungs", "window", "resample")


def settle(seconds: float = 0.5) -> None:
    """Let the window draw itself and the timers run."""
    import slicer

    end = time.time() + seconds
    while time.time() < end:
        slicer.app.processEvents()
        time.sleep(0.01)


def save(widget, name: str) -> None:
    """A widget as a PNG file."""
    settle()
    path = FOLDER / f"{name}.png"
    if not widget.grab().save(str(path)):
        raise OSError(f"cannot write {path}")


def run(panel, button) -> None:
    """Press a button and wait until what it started has ended."""
    button.click()
    while panel.running is not None:
        settle(0.05)
    settle()


def load(sample: str):
    """Load a phantom as a user does; returns the main window."""
    import slicer
    from slicer.util import findChildren

    window = slicer.util.mainWindow()
    window.resize(*WINDOW)
    findChildren(window, name="DataProbeCollapsibleWidget")[0].collapsed = True
    slicer.util.selectModule("SampleData")
    settle()
    samples = slicer.modules.sampledata.widgetRepresentation()
    findChildren(samples, className="QToolButton", text=sample)[0].click()
    return window


def takeBrain() -> None:
    """In Slicer: correct the T1 with N4 and show its field in colours, the switches in sight."""
    import slicer

    window = load("MedPrepBrainPhantom")
    slicer.util.selectModule("MedPrepMRI")
    panel = slicer.modules.MedPrepMRIWidget
    settle(1)
    for name in ("input", "recipe"):
        getattr(panel.ui, f"{name}_section").collapsed = True
    run(panel, panel.ui.n4_apply)
    slicer.util.resetSliceViews()
    panel.ui.overlay.click()
    panel.views.showPlot(1)
    settle()
    area = panel.ui.results_section
    while area.className() != "QScrollArea":
        area = area.parent()
    area.ensureWidgetVisible(panel.ui.resultsTable)
    save(window, "MedPrepMRI")
    panel.views.showPlot(0)
    slicer.mrmlScene.Clear(0)


def take() -> None:
    """In Slicer: load the phantom as a user does, run ct-lung, show the lungs in 3D, open some sections."""
    import slicer

    window = load("MedPrepChestPhantom")
    slicer.util.selectModule("MedPrepCT")
    panel = slicer.modules.MedPrepCTWidget
    settle(3)

    run(panel, panel.ui.recipe_apply)
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    lungs = next(node for node in nodes if node.GetSegmentation().GetNumberOfSegments() == 3)
    lungs.CreateClosedSurfaceRepresentation()
    view = slicer.app.layoutManager().threeDWidget(0).threeDView()
    view.resetFocalPoint()
    view.zoomOut()
    view.zoomOut()
    slicer.util.resetSliceViews()
    save(window, "MedPrepCT")

    for name in OPENED:
        getattr(panel.ui, f"{name}_section").collapsed = False
    run(panel, panel.ui.lungs_apply)
    whole = slicer.modules.medprepct.widgetRepresentation()
    whole.resize(430, whole.sizeHint.height())
    save(whole, "panel")


def takeXray() -> None:
    """In Slicer: the phantom's radiograph beside the preview of its contrast."""
    import slicer

    from MedPrepCommonLib.modules import sample_data

    slicer.mrmlScene.Clear()
    node = sample_data.loadChestRadiograph()
    slicer.util.setSliceViewerLayers(background=node)
    slicer.util.selectModule("MedPrepXray")
    panel = slicer.modules.MedPrepXrayWidget
    settle(3)
    panel.ui.recipe_section.collapsed = True
    panel.ui.clahe_section.collapsed = False
    panel.ui.clahe_clipLimit.value = 3.0
    panel.ui.clahe_preview.checked = True
    panel.ui.clahe_beside.checked = True
    settle(2)
    save(slicer.util.mainWindow(), "MedPrepXray")


def takeEditor() -> None:
    """In Slicer: the recipe editor of MedPrep Common with a step of luna16 selected."""
    import slicer

    slicer.util.selectModule("MedPrepCommon")
    panel = slicer.modules.MedPrepCommonWidget
    settle(1)
    panel.editor.onSource(1 + panel.editor.installed.index("luna16"))
    panel.ui.editor_steps.setCurrentRow(3)
    whole = slicer.modules.medprepcommon.widgetRepresentation()
    whole.resize(430, whole.sizeHint.height())
    settle()
    save(panel.ui.editor_section, "recipes")


def reduce() -> None:
    """Outside Slicer: at most 256 colours, without dithering."""
    from PIL import Image

    for path in sorted(FOLDER.glob("*.png")):
        with Image.open(path) as picture:
            small = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        small.save(path, optimize=True)
        print(f"{path.name}: {small.width} x {small.height}, {path.stat().st_size // 1000} kB")


if "slicer" in sys.modules:
    takeBrain()
    take()
    takeXray()
    takeEditor()
    sys.modules["slicer"].util.exit()
elif __name__ == "__main__":
    reduce()
