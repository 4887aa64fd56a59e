"""The house has wings, and imports only point to wings below (Docs/architecture.md says why).

Each library is a list of wings from the ground up: a wing may import the wings before it in its library, and
those of MedPrepCommonLib that stand on its own floor or lower. No file may import itself by way of others.

| kind | what | packages it may import |
|---|---|---|
| ground | images, operations, results, recipes | numpy, SimpleITK |
| pure | algorithms, files, checks: run without Slicer | numpy, scipy, SimpleITK, pydicom |
| scene | the only code that changes the MRML scene | these, slicer, vtk |
| face | what people and programs use | any |

A new file needs no entry: its folder says what it is.
"""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
KINDS = ("ground", "pure", "scene", "face")
# From the ground up; "" is what stands in no folder.
WINGS = {
    "MedPrepCommonLib": {
        "": "ground",
        "core": "ground",
        "numeric": "pure",
        "geometry": "pure",
        "files": "pure",
        "quality": "pure",
        "operations": "pure",
        "phantoms": "pure",
        "scene": "scene",
        "report": "face",
        "headless": "face",
        "outputs": "face",
        "cases": "face",
        "batch": "face",
        "recipes": "face",
        "panel": "face",
        "demo": "face",
        "modules": "face",
        "cli": "face",
    },
    "MedPrepCTLib": {
        "": "ground",
        "grid": "pure",
        "quality": "pure",
        "recognition": "pure",
        "metal": "pure",
        "lungs": "pure",
        "nodules": "pure",
        "operations": "pure",
    },
    "MedPrepMRILib": {
        "": "ground",
        "numeric": "pure",
        "recognition": "pure",
        "brain": "pure",
        "bias": "pure",
        "normalization": "pure",
        "fusion": "pure",
        "operations": "pure",
    },
    "MedPrepXrayLib": {
        "": "ground",
        "picture": "pure",
        "lungs": "pure",
        "view": "pure",
        "contrast": "pure",
        "operations": "pure",
        "panel": "face",
    },
}
SLICER = {"slicer", "vtk", "qt", "ctk", "vtkmodules", "SampleData"}
PACKAGES = {"ground": {"numpy", "SimpleITK"}, "pure": {"numpy", "scipy", "SimpleITK", "pydicom"}}
PACKAGES["scene"] = PACKAGES["pure"] | {"slicer", "vtk"}
# Not in Slicer, or slow to load: only inside the function that needs them; the command line is made of typer
INSIDE_FUNCTIONS = {"cv2", "skimage", "pydicom", "matplotlib", "typer", "rich", "packaging", "SampleData"}
INSIDE_FUNCTIONS |= {"dask", "distributed", "zarr"}
AT_FILE_SCOPE = {("cli", "typer")}
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
SCENE_HOSTS = ("scene", "headless")
FULLEST = 25
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


def wing_of(path: Path) -> tuple[str, str]:
    """(library, wing) of a repository file; a module file such as MedPrepCT.py is ("", "module")."""
    if path.parts[1] not in WINGS:
        return "", "module"
    return path.parts[1], path.parts[2] if len(path.parts) > 3 else ""


def kind_of(path: Path) -> str | None:
    """What a file may know, None for one in a folder that is no wing."""
    library, wing = wing_of(path)
    return WINGS[library].get(wing) if library else "face"


def may_import(path: Path, target: Path) -> bool:
    """Whether the wing of `target` stands below that of `path`, or is the same."""
    (library, wing), (other, goal) = wing_of(path), wing_of(target)
    if not library or not other:
        return not library
    if library == other:
        order = list(WINGS[library])
        return order.index(goal) <= order.index(wing)
    return KINDS.index(kind_of(target)) <= KINDS.index(kind_of(path))


@cache
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


@cache
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
    kind, wing = kind_of(path), wing_of(path)[1]
    wrong = []
    for item in imports(source, path):
        where = f"{path.as_posix()}:{item.line}"
        top = item.module.split(".")[0]
        if top in sys.stdlib_module_names or top == "__future__":
            continue
        target = own_file(item.module)
        if target is not None:
            if target.parts[0] not in (path.parts[0], "MedPrepCommon"):
                wrong.append(f"{where}: imports {target.parts[0]}; modules share only MedPrepCommon")
            elif not may_import(path, target):
                wrong.append(f"{where}: imports {target.as_posix()}, a wing that does not stand below")
            continue
        if top.startswith("MedPrep"):
            wrong.append(f"{where}: there is no {item.module}")
            continue
        on_demand = {"cv2", "skimage", "zarr"} if kind == "pure" else set()
        if kind in ("ground", "pure") and top in SLICER:
            wrong.append(f"{where}: {kind} code imports {top}; it must run without Slicer")
        elif kind != "face" and top not in PACKAGES[kind] | on_demand:
            allowed = ", ".join(sorted(PACKAGES[kind]))
            wrong.append(f"{where}: {kind} code imports {top}; it may import {allowed}")
        if top in INSIDE_FUNCTIONS and item.at_file_scope and (wing, top) not in AT_FILE_SCOPE:
            wrong.append(f"{where}: imports {top} at file scope; do it in the function that needs it")
    return wrong


def circles(sources: dict[Path, str]) -> list[list[str]]:
    """Files that import themselves by way of others (imports inside functions count), each circle once."""
    names = {path.as_posix(): path for path in sources}
    arrows = {
        name: {
            target.as_posix()
            for item in imports(sources[path], path)
            if (target := own_file(item.module)) is not None and target.as_posix() in names
        }
        - {name}
        for name, path in names.items()
    }
    found: list[list[str]] = []
    state: dict[str, str] = {}

    def visit(name: str, way: list[str]) -> None:
        state[name] = "open"
        for target in sorted(arrows[name]):
            if state.get(target) == "open":
                found.append([*way[way.index(target) :], target])
            elif target not in state:
                visit(target, [*way, target])
        state[name] = "done"

    for name in sorted(arrows):
        if name not in state:
            visit(name, [name])
    return found


def wrong_manners(source: str, path: Path) -> list[str]:
    """Printing and dialogs below the faces; nodes added or removed outside the scene's wing."""
    below_faces = kind_of(path) != "face"
    scene = wing_of(path)[1] in SCENE_HOSTS
    wrong = []
    for node in ast.walk(ast.parse(source)):
        where = f"{path.as_posix()}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            if below_faces:
                wrong.append(f"{where}: prints; return it, or raise a MedPrepError")
        elif isinstance(node, ast.Attribute) and node.attr in DIALOGS and below_faces:
            wrong.append(f"{where}: shows a dialog ({node.attr}); only faces do")
        elif isinstance(node, ast.Attribute) and node.attr in SCENE_CHANGES and not scene:
            wrong.append(f"{where}: changes the scene ({node.attr}); only the wing scene does")
    return wrong


def read_all() -> dict[Path, str]:
    return {path: (REPOSITORY / path).read_text(encoding="utf-8") for path in python_files()}


def collect(check) -> str:
    """Every line that `check` has to say about the repository's files."""
    return "\n".join(line for path, source in read_all().items() for line in check(source, path))


def test_every_file_stands_in_a_wing():
    homeless = [path.as_posix() for path in python_files() if kind_of(path) is None]
    assert not homeless, f"WINGS has no place for {homeless}"


def test_every_wing_is_there():
    """A renamed folder must not leave its entry behind."""
    folders = [REPOSITORY / lib.removesuffix("Lib") / lib / wing for lib in WINGS for wing in WINGS[lib]]
    gone = [folder for folder in folders if not (folder / "__init__.py").is_file()]
    assert not gone, f"WINGS names folders that are not there: {gone}"


def test_the_page_has_the_same_wings_and_its_index_leads_somewhere():
    page = (REPOSITORY / "Docs" / "architecture.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `(\w+)` \| (\w+) \| .*\|$", page, re.MULTILINE)
    assert told == [row for row in WINGS["MedPrepCommonLib"].items() if row[0]]
    for library in set(WINGS) - {"MedPrepCommonLib"}:
        row = re.search(rf"^\| `{library}` \| (.*) \|$", page, re.MULTILINE)[1]
        assert re.findall(r"`(\w+)`", row) == [wing for wing in WINGS[library] if wing]
    index = re.findall(r"^\| [^|]+\? \| `([^`]+)` \|$", page, re.MULTILINE)
    assert len(index) >= 20
    assert [path for path in index if not (REPOSITORY / path).is_file()] == []


def test_imports_point_down():
    wrong = collect(wrong_imports)
    assert not wrong, wrong


def test_no_circles():
    found = circles(read_all())
    assert not found, "\n".join(" -> ".join(circle) for circle in found)


def test_checker_sees_a_circle():
    common = Path("MedPrepCommon/MedPrepCommonLib/core")
    sources = {
        common / "job.py": "def f():\n    from . import errors",
        common / "errors.py": "from .i18n import _",
        common / "i18n.py": "from .job import Job",
    }
    assert len(circles(sources)) == 1
    sources[common / "i18n.py"] = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .job import Job"
    )
    assert circles(sources) == []


def test_no_print_and_no_dialog_below_the_faces():
    wrong = collect(wrong_manners)
    assert not wrong, wrong


def test_files_are_short():
    long = {
        path.as_posix(): count
        for path, source in read_all().items()
        if (count := source.count("\n")) > LONGEST
    }
    assert not long, f"split by clinical idea, at most {LONGEST} lines each: {long}"


def test_folders_can_be_looked_over():
    parts = ("MedPrep*", "Testing", "Tools", "Docs")
    files = [path for part in parts for path in REPOSITORY.glob(f"{part}/**/*.*")]
    here = [path.parent for path in files if path.is_file() and "__pycache__" not in path.parts]
    full = {
        str(folder.relative_to(REPOSITORY)): n for folder in set(here) if (n := here.count(folder)) > FULLEST
    }
    assert not full, f"more than {FULLEST} files in one folder: {full}"


ALGORITHM = Path("MedPrepCT/MedPrepCTLib/lungs/example.py")
GROUND = Path("MedPrepCommon/MedPrepCommonLib/core/volume.py")
SCENE = Path("MedPrepCommon/MedPrepCommonLib/scene/example.py")


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (ALGORITHM, "import slicer"),
        (ALGORITHM, "def f():\n    import vtk"),
        (ALGORITHM, "from vtkmodules.util import numpy_support"),
        (ALGORITHM, "import cv2"),
        (ALGORITHM, "if True:\n    from skimage import exposure"),
        (ALGORITHM, "def f():\n    import torch"),
        (ALGORITHM, "from MedPrepCommonLib.scene import volumes"),
        (ALGORITHM, "from MedPrepCommonLib.scene.volumes import nodeFromVolume"),
        (ALGORITHM, "from MedPrepCT import MedPrepCTLogic"),
        (ALGORITHM, "from MedPrepCommonLib.nowhere import x"),
        (GROUND, "import scipy"),
        (GROUND, "def f():\n    import cv2"),
        (GROUND, "from ..numeric import blocks"),
        (GROUND, "from ..numeric.blocks import clip"),
        (GROUND, "from MedPrepCTLib import windowing"),
        (SCENE, "from ..modules.logic import MedPrepLogic"),
        (ALGORITHM, "from ..nodules import score"),
        (ALGORITHM, "from MedPrepMRILib.brain import mask"),
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
        (ALGORITHM, "from MedPrepCommonLib.core.volume import Volume\nfrom . import segmentation"),
        (ALGORITHM, "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import slicer"),
        (SCENE, "import slicer\nimport vtk\nfrom ..core.volume import Volume"),
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
    assert not wrong_manners("print('done')", Path("MedPrepCommon/MedPrepCommonLib/cli/app.py"))
