"""Runs the self tests of every MedPrep module inside Slicer, and ends Slicer with their verdict.

Slicer --testing --additional-module-paths MedPrepCommon MedPrepCT MedPrepMRI MedPrepXray
       --python-script Tools/slicer_self_tests.py
"""

import importlib
import sys
import traceback
import unittest

import slicer

MODULES = ("MedPrepCommon", "MedPrepCT", "MedPrepMRI", "MedPrepXray")


def main() -> int:
    wrong = 0
    for name in MODULES:
        slicer.util.selectModule(name)  # its panel must come up, too
        suite = unittest.defaultTestLoader.loadTestsFromTestCase(
            getattr(importlib.import_module(name), f"{name}Test")
        )
        result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
        wrong += not (result.wasSuccessful() and result.testsRun)
    return 1 if wrong else 0


try:
    status = main()
except Exception:
    traceback.print_exc()
    status = 1
slicer.util.exit(status)
