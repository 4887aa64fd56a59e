"""The house has floors, and imports only point down (Docs/architecture.md says why).

| floor | what | may import |
|---|---|---|
| 4 faces | module files, logic, panel, headless host, command line, report | everything below |
| 3 scene | ``MedPrepCommonLib/scene*``, the only code that writes to the scene | 2, 1, slicer, vtk |
| 2 operations | algorithms of every ``MedPrep*Lib`` | 1, numpy, scipy, SimpleITK, pydicom |
| 1 ground | volume, errors, job, operation, result, recipe, provenance, parallel | numpy, SimpleITK |

A new file needs no entry: in a ``MedPrep*Lib`` it is an algorithm, floor 2. Only other floors are named in
FLOORS below, the first pattern that fits counts.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
FLOORS = {
    # 4: what people and programs use
    "MedPrep*/MedPrep*.py": 4,
    "MedPrepCommon/MedPrepCommonLib/modules/logic.py": 4,
    "MedPrepCommon/MedPrepCommonLib/modules/on_demand.py": 4,
    "MedPrep*/MedPrep*Lib/panel*.py": 4,
    "MedPrepCommon/MedPrepCommonLib/panel/parameter_node.py": 4,
    "MedPrepCommon/MedPrepCommonLib/modules/module_test.py": 4,
    "MedPrepCommon/MedPrepCommonLib/modules/sample_data.py": 4,
    "MedPrepCommon/MedPrepCommonLib/headless*": 4,
    "MedPrepCommon/MedPrepCommonLib/cli*.py": 4,
    "MedPrepCommon/MedPrepCommonLib/batch*.py": 4,
    "MedPrepCommon/MedPrepCommonLib/cases*.py": 4,
    "MedPrepCommon/MedPrepCommonLib/recipes/listing.py": 4,
    "MedPrepCommon/MedPrepCommonLib/demo*.py": 4,
    "MedPrepCommon/MedPrepCommonLib/output*.py": 4,
    "MedPrepCommon/MedPrepCommonLib/files/patch_folder.py": 4,
    "MedPrepCommon/MedPrepCommonLib/modules/patch_export.py": 4,
    "MedPrepCommon/MedPrepCommonLib/report*.py": 4,
    # 3: the scene
    "MedPrepCommon/MedPrepCommonLib/scene*.py": 3,
    # 1: what every part agrees on
    "MedPrepCommon/MedPrepCommonLib/__init__.py": 1,
    "MedPrepCommon/MedPrepCommonLib/version.py": 1,
    "MedPrepCommon/MedPrepCommonLib/core/i18n.py": 1,
    "MedPrepCommon/MedPrepCommonLib/core/errors.py": 1,
    "MedPrepCommon/MedPrepCommonLib/core/volume.py": 1,
    "MedPrepCommon/MedPrepCommonLib/core/job.py": 1,
    "MedPrepCommon/MedPrepCommonLib/core/parallel.py": 1,
    "MedPrepCommon/MedPrepCommonLib/core/task.py": 1,
    "MedPrepCommon/MedPrepCommonLib/core/parameters.py": 1,
    "MedPrepCommon/MedPrepCommonLib/core/operation.py": 1,
    "MedPrepCommon/MedPrepCommonLib/core/patch_set.py": 1,
    "MedPrepCommon/MedPrepCommonLib/core/result.py": 1,
    "MedPrepCommon/MedPrepCommonLib/core/engine.py": 1,
    "MedPrepCommon/MedPrepCommonLib/core/recipe.py": 1,
    "MedPrepCommon/MedPrepCommonLib/core/schema.py": 1,
    "MedPrepCommon/MedPrepCommonLib/core/runner.py": 1,
    "MedPrepCommon/MedPrepCommonLib/core/provenance.py": 1,
    # 2: algorithms
    "MedPrep*/MedPrep*Lib/*": 2,
}
SLICER = {"slicer", "vtk", "qt", "ctk", "vtkmodules", "SampleData"}
PACKAGES = {1: {"numpy", "SimpleITK"}, 2: {"numpy", "scipy", "SimpleITK", "pydicom"}}
# Not in Slicer, or slow to load: only inside the function that needs them; the command line is made of typer
INSIDE_FUNCTIONS = {"cv2", "skimage", "pydicom", "matplotlib", "typer", "rich", "packaging", "SampleData"}
INSIDE_FUNCTIONS |= {"dask", "distributed"}
AT_FILE_SCOPE = {
    (f"MedPrepCommon/MedPrepCommonLib/{name}.py", "typer")
    for name in ("cli", "clibatch", "cliqc", "clireassemble")
}
DIALOGS = {
    "errorDisplay",
    "warningDisplay",
    "infoDisplay",
    "messageBox",
    "delayDisplay",
    "tryWithErrorDisplay",
    "confirmOkCancelDisplay",
    "confirmYesNoDisplay",
    "confirmRetryCloseDisplay",
}
SCENE_CHANGES = {"AddNode", "AddNewNodeByClass", "CreateNodeByClass", "AddNodeOnce", "RemoveNode"}
SCENE_HOSTS = "MedPrepCommon/MedPrepCommonLib/headless*"
LONGEST = 400


@dataclass(frozen=True)
class Import:
    """One import statement: module imported (absolute name), line, and whether it runs with the file."""

    module: str
    line: int
    at_file_scope: bool


def python_files() -> list[Path]:
    """Files of the modules; what makes a model runs by hand, with packages of its own, and does not ship."""
    found = [path.relative_to(REPOSITORY) for path in sorted(REPOSITORY.glob("MedPrep*/**/*.py"))]
    return [path for path in found if "Training" not in path.parts]


def floor_of(path: Path) -> int | None:
    """The floor of a repository file."""
    for pattern, floor in FLOORS.items():
        # as in a shell, "*" stays within a folder, except at the very end of a pattern
        deep = pattern.endswith("*")
        if fnmatch(path.as_posix(), pattern) and (deep or pattern.count("/") == path.as_posix().count("/")):
            return floor
    return None


def imports(source: str, path: Path) -> list[Import]:
    """Every import in the source, wherever it stands, except those for type checkers only."""
    package = list(
        path.parts[1:-1]
    )  # MedPrepCT/MedPrepCTLib/lungs/segmentation.py is MedPrepCTLib.lungs.segmentation
    found: list[Import] = []

    def visit(node: ast.AST, scope: bool) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            return
        if isinstance(node, ast.Import):
            found.extend(Import(name.name, node.lineno, scope) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            # "from package import name" may import the file package/name.py
            found.extend(Import(f"{module}.{name.name}", node.lineno, scope) for name in node.names)
        inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            visit(child, scope and not inside)

    visit(ast.parse(source), True)
    return found


def own_file(module: str) -> Path | None:
    """The repository file that an absolute module name (or module.attribute) means, if any."""
    parts = module.split(".")
    if not parts[0].startswith("MedPrep"):
        return None
    folder = Path(parts[0].removesuffix("Lib"))
    for length in (len(parts), len(parts) - 1):
        base = folder.joinpath(*parts[:length])
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if length and (REPOSITORY / path).is_file():
                return path
    return None


def wrong_imports(source: str, path: Path) -> list[str]:
    """What a file imports against the table."""
    floor = floor_of(path)
    wrong = []
    for item in imports(source, path):
        where = f"{path.as_posix()}:{item.line}"
        top = item.module.split(".")[0]
        if top in sys.stdlib_module_names or top == "__future__":
            continue
        target = own_file(item.module)
        if target is not None:
            if floor_of(target) > floor:
                wrong.append(f"{where}: floor {floor} imports {target.as_posix()}, floor {floor_of(target)}")
            if target.parts[0] not in (path.parts[0], "MedPrepCommon"):
                wrong.append(f"{where}: imports {target.parts[0]}; modules share only MedPrepCommon")
            continue
        if top.startswith("MedPrep"):
            wrong.append(f"{where}: there is no {item.module}")
            continue
        on_demand = {"cv2", "skimage"} if floor == 2 else set()
        if floor <= 2 and top in SLICER:
            wrong.append(f"{where}: floor {floor} imports {top}; it must run without Slicer")
        elif floor <= 2 and top not in PACKAGES[floor] | on_demand:
            allowed = ", ".join(sorted(PACKAGES[floor]))
            wrong.append(f"{where}: floor {floor} imports {top}; it may import {allowed}")
        elif floor == 3 and top not in PACKAGES[2] | {"slicer", "vtk"}:
            wrong.append(f"{where}: floor 3 imports {top}")
        if top in INSIDE_FUNCTIONS and item.at_file_scope and (path.as_posix(), top) not in AT_FILE_SCOPE:
            wrong.append(f"{where}: imports {top} at file scope; do it in the function that needs it")
    return wrong


def wrong_manners(source: str, path: Path) -> list[str]:
    """Printing and dialogs below the faces; nodes added or removed outside the scene floor."""
    below_faces = floor_of(path) < 4
    scene = path.name.startswith("scene") or fnmatch(path.as_posix(), SCENE_HOSTS)
    wrong = []
    for node in ast.walk(ast.parse(source)):
        where = f"{path.as_posix()}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            if below_faces:
                wrong.append(f"{where}: prints; return it, or raise a MedPrepError")
        elif isinstance(node, ast.Attribute) and node.attr in DIALOGS and below_faces:
            wrong.append(f"{where}: shows a dialog ({node.attr}); only faces do")
        elif isinstance(node, ast.Attribute) and node.attr in SCENE_CHANGES and not scene:
            wrong.append(f"{where}: changes the scene ({node.attr}); only scene*.py does")
    return wrong


def collect(check) -> str:
    """Every line that `check` has to say about the repository's files."""
    files = {path: (REPOSITORY / path).read_text(encoding="utf-8") for path in python_files()}
    return "\n".join(line for path, source in files.items() for line in check(source, path))


def test_every_file_stands_on_a_floor():
    homeless = [path.as_posix() for path in python_files() if floor_of(path) is None]
    assert not homeless, f"no pattern of FLOORS fits {homeless}"


def test_named_files_exist():
    """A renamed file must not leave its entry behind, or it silently moves to another floor."""
    names = [pattern for pattern in FLOORS if "*" not in pattern]
    gone = [name for name in names if not (REPOSITORY / name).is_file()]
    assert not gone, f"FLOORS names files that are not there: {gone}"


def test_imports_point_down():
    wrong = collect(wrong_imports)
    assert not wrong, wrong


def test_no_print_and_no_dialog_below_the_faces():
    wrong = collect(wrong_manners)
    assert not wrong, wrong


def test_files_are_short():
    long = {
        path.as_posix(): count
        for path in python_files()
        if (count := (REPOSITORY / path).read_text(encoding="utf-8").count("\n")) > LONGEST
    }
    assert not long, f"split by clinical idea, at most {LONGEST} lines each: {long}"


ALGORITHM = Path("MedPrepCT/MedPrepCTLib/example.py")
GROUND = Path("MedPrepCommon/MedPrepCommonLib/core/volume.py")
SCENE = Path("MedPrepCommon/MedPrepCommonLib/sceneexample.py")


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (ALGORITHM, "import slicer"),
        (ALGORITHM, "def f():\n    import vtk"),
        (ALGORITHM, "from vtkmodules.util import numpy_support"),
        (ALGORITHM, "import cv2"),
        (ALGORITHM, "if True:\n    from skimage import exposure"),
        (ALGORITHM, "def f():\n    import torch"),
        (ALGORITHM, "from MedPrepCommonLib import scenevolumes"),
        (ALGORITHM, "from MedPrepCommonLib.scene.volumes import nodeFromVolume"),
        (ALGORITHM, "from MedPrepCT import MedPrepCTLogic"),
        (ALGORITHM, "from MedPrepCommonLib.nowhere import x"),
        (GROUND, "import scipy"),
        (GROUND, "def f():\n    import cv2"),
        (GROUND, "from . import blocks"),
        (GROUND, "from .blocks import clip"),
        (GROUND, "from MedPrepCTLib import windowing"),
        (SCENE, "from .logic import MedPrepLogic"),
        (SCENE, "import qt"),
        (SCENE, "import matplotlib"),
    ],
)
def test_checker_sees_a_wrong_import(path, source):
    assert wrong_imports(source, path)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (ALGORITHM, "import numpy as np\nfrom scipy import ndimage\nimport SimpleITK as sitk"),
        (ALGORITHM, "def f():\n    import cv2\n    from skimage import measure"),
        (ALGORITHM, "from MedPrepCommonLib.core.volume import Volume\nfrom . import windowing"),
        (ALGORITHM, "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import slicer"),
        (SCENE, "import slicer\nimport vtk\nfrom .volume import Volume"),
        (GROUND, "from .errors import InputError\nfrom MedPrepCommonLib.core.i18n import _"),
    ],
)
def test_checker_accepts_a_right_import(path, source):
    assert wrong_imports(source, path) == []


def test_checker_sees_wrong_manners():
    assert wrong_manners("print('done')", ALGORITHM)
    assert wrong_manners("import slicer\nslicer.util.errorDisplay('no')", SCENE)
    assert wrong_manners("slicer.mrmlScene.RemoveNode(node)", Path("MedPrepCT/MedPrepCT.py"))
    assert not wrong_manners("slicer.mrmlScene.RemoveNode(node)", SCENE)
    assert not wrong_manners("print('done')", Path("MedPrepCommon/MedPrepCommonLib/cli.py"))
