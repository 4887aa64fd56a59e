"""Docs/architecture.md, "To add an operation", followed in a copy: one file, one word, five faces."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from pages import Page

REPOSITORY = Path(__file__).resolve().parents[2]

# What each face is asked, in a Python of its own: the copy must not meet the modules that tests have loaded.
FACES = """
import json, sys
from pathlib import Path

import numpy as np
import qtstandin
import SimpleITK as sitk

qtstandin.install()
import slicer

copy, out = Path(sys.argv[1]), Path(sys.argv[2])
array = np.arange(-1000, 1000, dtype=np.int16).reshape(10, 10, 20)
node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "scan")
slicer.util.updateVolumeFromArray(node, array)

panel = qtstandin.Panel(copy / "MedPrepCT" / "MedPrepCT.py")
panel.enter()
ui = panel.ui
assert ui.invert_section.text == "Invert" and ui.invert_level_label.text == "Level:"
assert (ui.invert_level.minimum, ui.invert_level.maximum, ui.invert_level.suffix) == (-2000, 4000, " HU")
assert "Hounsfield" in ui.invert_help.text and "water" in ui.invert_level.toolTip
presets = [ui.invert_preset.itemText(n) for n in range(ui.invert_preset.count)]
assert presets == ["Custom", "Air and bone change places"]
ui.inputVolume.setCurrentNode(node)
ui.invert_level.value = 100
assert panel.widget._parameterNode.invert.level == 100
ui.invert_apply.click()
while panel.widget.running is not None:
    slicer.app.processEvents()
    panel.widget.poll()
made = [n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if n is not node]
assert (slicer.util.arrayFromVolume(made[0]) == 200.0 - array).all()

logic = panel.widget.logic
assert "invert" in dir(logic) and "level : -2000 to 4000 HU, default 0" in logic.invert.__doc__
assert (slicer.util.arrayFromVolume(logic.invert(node, preset="air")) == 1000.0 - array).all()

provenance = json.loads(made[0].GetAttribute("MedPrep.provenance"))
text = json.dumps(provenance)
assert "ct.invert" in text and "MONOCHROME1" in text

from MedPrepCommonLib.core import recipe, runner
from MedPrepCommonLib.core.volume import Volume

record = {
    "schema": "medprep-recipe", "version": 1, "name": "turned", "inputs": {"image": {}},
    "steps": [{"operation": "ct.invert", "parameters": {"level": 100}, "inputs": {"image": "image"}}],
    "outputs": {"image": "invert.image"},
}
plan = recipe.parse(record)
run = runner.run(plan, {"image": Volume(array, np.eye(4), "scan", "CT")})
assert (run.result.images["image"].array == 200.0 - array).all()
assert run.record["steps"][0]["parameters"] == {"level": 100.0}
(out / "turned.json").write_text(json.dumps(record))
sitk.WriteImage(sitk.GetImageFromArray(array), str(out / "scan.nrrd"))
panel.close()
"""


def test_the_recipe_of_the_page_gives_all_five_faces(tmp_path):
    """The panel, the console, a recipe, a batch and the provenance know an operation that the page adds."""
    page = Page(REPOSITORY / "Docs" / "architecture.md")
    (block,) = [block for block in page.blocks("python") if '"ct.invert"' in block.text]
    without = shutil.ignore_patterns("__pycache__", "Training")
    shutil.copytree(REPOSITORY / "MedPrepCT", tmp_path / "MedPrepCT", ignore=without)
    (tmp_path / "MedPrepCT" / "MedPrepCTLib" / "operations" / "invert.py").write_text(block.text)
    module = tmp_path / "MedPrepCT" / "MedPrepCT.py"
    module.write_text(module.read_text().replace('    "ct.clip",\n', '    "ct.clip",\n    "ct.invert",\n'))
    folders = [tmp_path / "MedPrepCT", REPOSITORY / "MedPrepCommon", REPOSITORY / "Testing"]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
        "QT_QPA_PLATFORM": "offscreen",
    }

    def python(*arguments: object) -> str:
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            env=environment, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    python("-c", FACES, tmp_path, tmp_path)
    shown = python("-m", "MedPrepCommonLib.cli", "operations", "ct.invert")
    assert "level = 0" in shown and "Air and bone change places" in shown
    (tmp_path / "cases.csv").write_text("case,image\none,scan.nrrd\n")
    python(
        *("-m", "MedPrepCommonLib.cli", "batch", tmp_path / "turned.json", tmp_path / "cases.csv"),
        *("--out", tmp_path / "prepared", "--workers", "0"),
    )
    assert list((tmp_path / "prepared").rglob("image.nrrd")) or list(
        (tmp_path / "prepared").rglob("image.nii.gz")
    )
