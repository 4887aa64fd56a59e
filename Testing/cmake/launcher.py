"""Stands in for Slicer's launcher in CTest commands: takes its options, runs Python on the headless host."""

from __future__ import annotations

import argparse
import sys
import types
import unittest


def run_unit_test(path: str | list[str], testname: str) -> None:
    """As ``slicer.testing.runUnitTest``; finding no test is a failure too."""
    sys.path.extend([path] if isinstance(path, str) else path)
    suite = unittest.TestLoader().loadTestsFromName(testname)
    if suite.countTestCases() == 0:
        raise SystemExit(f"{testname} has no tests")
    if not unittest.TextTestRunner(verbosity=2).run(suite).wasSuccessful():
        raise SystemExit(1)


def main() -> None:
    parser = argparse.ArgumentParser()
    for option in ("--no-splash", "--ignore-slicerrc", "--no-main-window", "--disable-cli-modules"):
        parser.add_argument(option, action="store_true")
    parser.add_argument("--additional-module-path", action="append", default=[])
    parser.add_argument("--python-code", required=True)
    arguments = parser.parse_args()
    sys.path[:0] = arguments.additional_module_path

    from MedPrepCommonLib import headless

    headless.start()
    import slicer

    slicer.testing = sys.modules["slicer.testing"] = types.ModuleType("slicer.testing")
    slicer.testing.runUnitTest = run_unit_test
    exec(arguments.python_code, {"__name__": "__main__"})


if __name__ == "__main__":
    main()
