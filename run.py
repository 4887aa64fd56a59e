#!/usr/bin/env python3
# -*- coding: utf-8 -*-
"""Runs MedPrep without Slicer: makes the environment on first use, then does what the verb says.

Needs the standard library alone. Old Pythons read this file too, to say what to install, so its syntax is
the one that Python 2.7 and all Python 3 share. ``python3 run.py`` prints the verbs; how the environment is
made and mended stands in Tools/environment.py.
"""

from __future__ import print_function

import os
import re
import sys

HERE = os.path.dirname(os.path.realpath(os.path.abspath(__file__)))
OLDEST, NEWEST = (3, 10), (3, 13)  # slicer-core has wheels for these
MODULES = ("MedPrepCommon", "MedPrepCT", "MedPrepMRI", "MedPrepXray")

HELP = """MedPrep {version}: prepares CT, MRI and X-ray images for deep learning.

  {python} run.py VERB [ARGUMENTS]      from any folder; add --help after a verb for its options

MedPrep
  demo                built-in phantoms through the recipes, beside their known truth, with reports
  operations          what MedPrep can do to an image, with parameters, units and presets
  recipes             recipes that come with MedPrep
  run RECIPE --input image=PATH --out FOLDER
                      runs a recipe on an image (NIfTI, NRRD, MHA, PNG, JPEG, DICOM file or folder)
  qc FOLDER           checks a folder of results or images; looks for leakage between train and test
  batch RECIPE CASES --out FOLDER
                      runs a recipe on many images (a folder or a CSV file), on all cores or a Dask cluster
  cases FOLDER --layout LAYOUT
                      lists the cases of a dataset (LUNA16, BraTS, DICOM, BIDS, nnU-Net, ...) in a CSV file
  export FORMAT BATCH --out FOLDER
                      writes a batch's results for nnU-Net, MONAI or TorchIO
  split CASES --out FILE
                      splits cases into train, val and test, each patient in one of them
  report FOLDER       writes the report of a finished run again
  landmarks IMAGES    fits the standard intensity scale of MRI training images (Nyul)
  reassemble FOLDER   puts patches together to one image

Working on MedPrep
  python [ARGS]       the environment's Python, with MedPrep importable
  test [PYTEST ARGS]  the tests; slow ones with: test -m slow
  lint [PATHS]        style, format and types
  bench [--peers]     speed beside SimpleITK, scipy and scikit-image; --peers adds MONAI and TorchIO
  fuzz [--inputs N --seed S --kind KIND]
                      broken and hostile inputs, each in a process of its own (Linux)
  setup [--again]     only makes the environment; --again makes it anew

The first run installs the packages of requirements.txt into .venv beside this file (bench --peers:
.venv-bench); later runs start at once. Without a network, set MEDPREP_WHEELS to a folder of wheels.
Deleting .venv is always safe: the next run makes it again.
"""


class Problem(Exception):
    """What a user can do something about; shown without a traceback."""


# ---- which Python


def version_problem(version, found=()):
    """Why this Python cannot make the environment, or an empty string; `found` names commands that can."""
    version = tuple(version[:2])
    if OLDEST <= version <= NEWEST:
        return ""
    text = "This is Python %d.%d, which is too %s for MedPrep.\nExpected: Python %d.%d to %d.%d.\n" % (
        version + ("old" if version < OLDEST else "new",) + OLDEST + NEWEST
    )
    if found:
        return text + "What to do: run this again with a Python that is here:\n    " + "\n    ".join(found)
    return text + (
        "What to do: install one of these, then run run.py with it, for example\n"
        "    Debian, Ubuntu:  sudo apt install python3 python3-venv\n"
        "    macOS:           brew install python@3.12\n"
        "    Windows:         winget install Python.Python.3.12    then    py -3.12 run.py"
    )


def other_pythons():
    """Commands that start a Python which MedPrep can use, each tried out, the newest first."""
    import subprocess

    found = []
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        commands = [["py", "-3.%d" % minor]] if os.name == "nt" else []
        for command in commands + [["python3.%d" % minor]]:
            try:
                process = subprocess.Popen(
                    command + ["-c", "import sys; print(sys.version_info[:2] == (3, %d))" % minor],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
                if process.communicate()[0].strip() == b"True":
                    found.append(" ".join(command + sys.argv))
            except OSError:
                pass
    return found


# ---- verbs


def medprep_version():
    with open(os.path.join(HERE, "MedPrepCommon", "MedPrepCommonLib", "version.py")) as file:
        return re.search(r'__version__ = "([^"]+)"', file.read()).group(1)


def absolute(argument):
    """A path argument as seen from the folder where the user is; tests run in the repository's folder."""
    path = argument.split("::")[0]
    if not argument.startswith("-") and os.path.exists(path):
        return os.path.abspath(path) + argument[len(path) :]
    return argument


def command_of(verb, arguments):
    """(arguments for the environment's Python, folder to run in or None for the user's own)."""
    if verb == "python":
        return arguments, None
    if verb == "test":
        return ["-m", "pytest"] + [absolute(argument) for argument in arguments], HERE
    if verb == "lint":
        return [os.path.join(HERE, "Tools", "lint.py")] + [absolute(argument) for argument in arguments], HERE
    if verb == "bench":
        return [os.path.join(HERE, "Testing", "bench")] + arguments, None
    if verb == "fuzz":
        return [os.path.join(HERE, "Testing", "fuzzing")] + arguments, None
    return ["-m", "MedPrepCommonLib.cli", verb] + arguments, None


def start(environment, arguments, folder):
    """Become (on Windows: run) the environment's Python; returns its exit status where it returns at all."""
    command = [environment.python] + arguments
    modules = [os.path.join(HERE, name) for name in MODULES]
    variables = environment.variables()
    variables["PYTHONPATH"] = os.pathsep.join(path for path in modules if os.path.isdir(path))
    if folder:
        os.chdir(folder)
    sys.stdout.flush()
    if os.name != "nt":
        os.execve(command[0], command, variables)
    import subprocess

    process = subprocess.Popen(command, env=variables)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the child got it too, and decides
            continue


def main(arguments):
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP.format(version=medprep_version(), python="py" if os.name == "nt" else "python3"))
        return 0
    verb, rest = arguments[0], arguments[1:]
    if verb in ("-V", "--version"):
        print("medprep " + medprep_version())
        return 0
    if version_problem(sys.version_info):
        raise Problem(version_problem(sys.version_info, other_pythons()))

    sys.path.insert(0, os.path.join(HERE, "Tools"))
    sys.dont_write_bytecode = True  # a read-only checkout stays as it is
    from environment import Environment, EnvironmentProblem

    if verb == "bench" and "--peers" in rest:
        environment = Environment(HERE, ".venv-bench", ("requirements-bench.txt",))
    else:
        environment = Environment(HERE, ".venv", ("requirements.txt", "constraints.txt"))
    try:
        if verb == "setup":
            if rest not in ([], ["--again"]):
                raise Problem("setup takes no argument but --again; it got: " + " ".join(rest))
            print(environment.ready(again=bool(rest)))
            return 0
        environment.ready()
    except EnvironmentProblem as problem:
        raise Problem(str(problem))
    return start(environment, *command_of(verb, rest))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Problem as problem:
        sys.stderr.write("run.py: %s\n" % problem)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("run.py: stopped.\n")
        sys.exit(130)
