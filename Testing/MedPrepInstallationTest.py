"""Does what was installed work together? Runs inside Slicer and on the headless host, through CTest."""

import importlib
import unittest
from pathlib import Path

MODULES = ("MedPrepCommon", "MedPrepCT", "MedPrepMRI", "MedPrepXray")


class MedPrepInstallationTest(unittest.TestCase):
    def test_oneFolderHoldsAllModules(self):
        folders = {Path(importlib.import_module(name).__file__).parent for name in MODULES}
        folders |= {Path(importlib.import_module(name + "Lib").__file__).parent.parent for name in MODULES}
        self.assertEqual(len(folders), 1, f"modules come from several places: {folders}")

    def test_versionsAgree(self):
        versions = {importlib.import_module(name + "Lib").__version__ for name in MODULES}
        self.assertEqual(len(versions), 1, versions)

    def test_everyOperationThatAModuleNamesIsRegistered(self):
        from MedPrepCommonLib.core import operation

        for name in MODULES:
            missing = set(importlib.import_module(name).OPERATIONS) - set(operation.known())
            self.assertEqual(missing, set(), name)

    def test_everyRecipeThatAModuleNamesCanBeRead(self):
        from MedPrepCommonLib.core import recipe

        for name in MODULES:
            for title in getattr(importlib.import_module(name), "RECIPES", ()):
                self.assertTrue(recipe.load(title).steps, title)

    def test_everyModuleHasItsIconAndPanel(self):
        for name in MODULES:
            folder = Path(importlib.import_module(name).__file__).parent / "Resources"
            self.assertTrue((folder / "Icons" / f"{name}.png").is_file(), name)
            widget = getattr(importlib.import_module(name), f"{name}Widget")
            for file in widget.extras.values():
                self.assertTrue((folder / file).is_file(), file)
        shared = Path(importlib.import_module("MedPrepCommon").__file__).parent / "Resources" / "UI"
        for file in ("Input.ui", "Results.ui", "Editor.ui", "Batch.ui"):
            self.assertTrue((shared / file).is_file(), file)
