"""What ships: every file is listed in CMake; the extension configures, installs, and works once installed."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

REPOSITORY = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("cmake_lists", REPOSITORY / "Tools" / "cmake_lists.py")
cmake_lists = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(cmake_lists)

MODULES = [folder.name for folder in cmake_lists.modules()]
TOP = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")


def run(*command: object, **options: object) -> subprocess.CompletedProcess:
    """Run a command; its output is in the failure message."""
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
        timeout=1200,
        **options,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-6000:]}"
    return done


# ---- the lists


@pytest.mark.parametrize("name", MODULES)
def test_every_file_is_listed_in_cmake(name):
    lines = cmake_lists.differences(REPOSITORY / name)
    assert not lines, "\n".join([*lines, "or: python3 run.py python Tools/cmake_lists.py --write"])


def test_an_unlisted_and_a_vanished_file_are_found(tmp_path):
    module = tmp_path / "MedPrepX"
    (module / "MedPrepXLib").mkdir(parents=True)
    for name in ("MedPrepX.py", "MedPrepXLib/__init__.py", "MedPrepXLib/new.py"):
        (module / name).touch()
    (module / "Resources").mkdir()
    (module / "Resources" / "recipe.json").touch()
    (module / "CMakeLists.txt").write_text(
        "set(MODULE_PYTHON_SCRIPTS\n  ${MODULE_NAME}.py\n  MedPrepXLib/__init__.py\n"
        "  MedPrepXLib/old.py\n  )\n"
        "set(MODULE_PYTHON_RESOURCES\n  )\n"
    )
    text = "\n".join(cmake_lists.differences(module))
    assert "add MedPrepXLib/new.py" in text
    assert "remove MedPrepXLib/old.py" in text
    assert "add Resources/recipe.json" in text
    cmake_lists.write(module)
    assert cmake_lists.differences(module) == []


@pytest.mark.parametrize("name", MODULES)
def test_module_is_built_and_tested(name):
    text = (REPOSITORY / name / "CMakeLists.txt").read_text(encoding="utf-8")
    assert f"add_subdirectory({name})" in TOP
    assert f"set(MODULE_NAME {name})" in text
    assert "WITH_GENERIC_TESTS" in text
    assert "slicer_add_python_unittest(SCRIPT ${MODULE_NAME}.py)" in text


def test_installation_test_knows_every_module():
    text = (REPOSITORY / "Testing" / "MedPrepInstallationTest.py").read_text(encoding="utf-8")
    assert re.findall(r'"(\w+)"', re.search(r"^MODULES = \((.*)\)", text, re.MULTILINE).group(1)) == sorted(
        MODULES, key=lambda name: name != "MedPrepCommon"
    )


# ---- what the catalog asks


def test_extension_description_follows_the_template():
    assert TOP.startswith("cmake_minimum_required(VERSION 3.28.0...3.28.0 FATAL_ERROR)\n")
    assert "project(MedPrep)" in TOP
    facts = dict(re.findall(r'^set\(EXTENSION_(\w+) "([^"\n]+)"\)$', TOP, re.MULTILINE))
    expected = {"HOMEPAGE", "CATEGORY", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS"}
    assert set(facts) == expected
    for url in [facts["ICONURL"], *facts["SCREENSHOTURLS"].split()]:
        assert re.search(r"\.(png|jpg|svg)$", url)
        shown = url.split("/main/", 1)[1]
        assert (REPOSITORY / shown).is_file(), f"{shown} is named in CMakeLists.txt and is not here"


def test_licence_is_apache_in_the_root():
    text = (REPOSITORY / "LICENSE.txt").read_text(encoding="utf-8")
    assert "Apache License" in text and "Version 2.0, January 2004" in text and len(text) > 10_000


def test_repository_is_small():
    """The catalog allows 100 MB; a stray image would be noticed long before."""
    if shutil.which("git") is None or not (REPOSITORY / ".git").exists():
        pytest.skip("this is not a git checkout, so it is not known which files belong to it")
    names = run("git", "ls-files", "-z", cwd=REPOSITORY).stdout.split("\0")
    size = sum((REPOSITORY / name).stat().st_size for name in names if (REPOSITORY / name).is_file())
    assert size < 30e6


# ---- requirements


def names_of(lines) -> set[str]:
    """Package names, normalised, of requirement lines."""
    found = (re.match(r"[A-Za-z0-9._-]+", line.strip()) for line in lines if not line.startswith(("#", "-")))
    return {re.sub(r"[-_.]+", "-", match.group()).lower() for match in found if match}


def test_requirements_name_what_the_project_declares():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        declared += extra
    assert names_of((REPOSITORY / "requirements.txt").read_text().splitlines()) == names_of(declared)


def test_environment_holds_exactly_the_pinned_versions():
    """Every requirement, and all that it needs, is pinned; and this environment has those versions."""
    from importlib import metadata

    from packaging.requirements import Requirement

    def wanted_here(name: str) -> dict:
        """Names and versions of the lines that hold for this Python and system."""
        lines = (REPOSITORY / name).read_text().splitlines()
        found = [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]
        found = [each for each in found if each.marker is None or each.marker.evaluate()]
        return {names_of([each.name]).pop(): each.specifier for each in found}

    pins = wanted_here("constraints.txt")
    todo, seen = set(wanted_here("requirements.txt")), set()
    while todo:
        name = todo.pop()
        seen.add(name)
        assert name in pins, f"{name} is not pinned in constraints.txt"
        assert metadata.version(name) in pins[name], f"{name} {metadata.version(name)} is not {pins[name]}"
        for need in map(Requirement, metadata.requires(name) or []):
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                todo |= names_of([need.name]) - seen
    assert len(seen) > len(pins) * 0.9, f"pinned and not needed: {sorted(set(pins) - seen)}"


def test_bench_installs_the_same_packages_as_it_measures_beside():
    """What the bench imports of ours is there; its pins are its own, for peers lag behind numpy."""
    bench = names_of((REPOSITORY / "requirements-bench.txt").read_text().splitlines())
    ours = {"numpy", "scipy", "simpleitk", "pydicom", "slicer-core", "scikit-image", "opencv-python-headless"}
    assert ours <= bench


@pytest.mark.slow
@pytest.mark.parametrize("name", ["requirements.txt", "requirements-bench.txt"])
def test_requirements_fit_together(name):
    """Asks the package index, installs nothing."""
    run(
        *(sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"),
        *("-r", REPOSITORY / name),
    )


def test_version_is_one(module_dirs):
    version = {}
    exec((REPOSITORY / "MedPrepCommon" / "MedPrepCommonLib" / "version.py").read_text(), version)
    import MedPrepCommonLib

    assert MedPrepCommonLib.__version__ == version["__version__"]
    shown = run(sys.executable, REPOSITORY / "run.py", "--version").stdout.strip()
    assert shown == f"medprep {version['__version__']}"
    for name, pattern in (
        ("CITATION.cff", r"^version: (\S+)$"),
        ("README.md", r"version = \{([^}]+)\}"),
        ("CHANGELOG.md", r"^## (\S+)"),
        ("Docs/batch.md", r"medprep:(\d[\d.]*\d)"),
    ):
        text = (REPOSITORY / name).read_text(encoding="utf-8")
        assert re.search(pattern, text, re.MULTILINE)[1] == version["__version__"], name


# ---- the installed tree


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """Build folder of the extension, made with the stand-in for Slicer."""
    cmake = cmake_program("cmake")
    build = tmp_path_factory.mktemp("build of MedPrep")  # a path with spaces must do
    run(
        cmake,
        *("-S", REPOSITORY, "-B", build, "-G", "Ninja"),
        f"-DSlicer_DIR={REPOSITORY / 'Testing' / 'cmake'}",
        f"-DMEDPREP_PYTHON={sys.executable}",
        f"-DCMAKE_MAKE_PROGRAM={ninja_program()}",
        # The template's project() asks for C and C++, which a scripted extension does not use:
        # any program passes for a compiler, so the test needs none.
        *(f"-DCMAKE_{language}_COMPILER={cmake}" for language in ("C", "CXX")),
        *(f"-DCMAKE_{language}_COMPILER_FORCED=ON" for language in ("C", "CXX")),
    )
    run(cmake, "--build", build)
    return build


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory) -> Path:
    """Prefix that the extension was installed to."""
    prefix = tmp_path_factory.mktemp("installed") / "Slicer with MedPrep"
    run(cmake_program("cmake"), "--install", built, "--prefix", prefix)
    return prefix


def test_wheel_holds_the_modules_and_its_command_works(tmp_path):
    """``pip install .``: the files of Slicer without its panels' Resources, and the command ``medprep``."""
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, REPOSITORY)
    (wheel,) = tmp_path.glob("medprep-*.whl")
    site = tmp_path / "site"
    run(*pip, "install", "--no-deps", "--no-index", "--target", site, wheel)
    found = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    expected = {name for name in module_files(cmake_lists.on_disk) if not name.startswith("Resources/")}
    assert expected <= found
    others = {name for name in found - expected if not name.endswith(".pyc")}
    assert all(name.startswith(("bin/", "Scripts/", "medprep-")) for name in others), others
    environment = {**os.environ, "PYTHONPATH": str(site)}
    (command,) = [path for path in site.glob("*/medprep*") if path.parent.name in ("bin", "Scripts")]
    assert "ct.window" in run(command, "operations", cwd=tmp_path, env=environment).stdout


def cmake_program(name: str) -> Path:
    """CMake of the environment: the one of a stable Linux is often older than the template asks for."""
    import cmake

    return next(Path(cmake.CMAKE_BIN_DIR).glob(f"{name}*"))


def ninja_program() -> Path:
    import ninja

    return next(Path(ninja.BIN_DIR).glob("ninja*"))


def module_files(lists) -> set[str]:
    """Paths in the folder that all modules share, from what the CMake files list or from the disk."""
    return {
        text.replace("${MODULE_NAME}", name)
        for name in MODULES
        for names in lists(REPOSITORY / name).values()
        for text in names
    }


def scripted_modules(prefix: Path) -> Path:
    return prefix / "lib" / "Slicer-5.13" / "qt-scripted-modules"


def test_installed_files_are_the_listed_files(installed):
    folder = scripted_modules(installed)
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == module_files(cmake_lists.listed)


def test_installed_description(installed):
    facts = json.loads((installed / "share" / "Slicer-5.13" / "MedPrep.json").read_text(encoding="utf-8"))
    assert facts["category"] and facts["depends"] == "NA"
    assert all(isinstance(value, str) and ";" not in value for value in facts.values())


def test_ctest_passes(built):
    """What Slicer registers: each module's generic test and unittest class, and the installation test."""
    listed = run(cmake_program("ctest"), "--test-dir", built, "-N").stdout
    for name in MODULES:
        assert f"py_{name}\n" in listed and f"py_nomainwindow_qSlicer{name}ModuleGenericTest" in listed
    assert "py_MedPrepInstallationTest" in listed
    run(
        cmake_program("ctest"),
        "--test-dir",
        built,
        "--output-on-failure",
        "--no-tests=error",
        "--parallel",
        "2",
        cwd=built,
    )


def suite_on(folder: Path, *arguments: str, **variables: str) -> str:
    """Run the tests against an installed tree; returns what pytest printed."""
    environment = {**os.environ, "MEDPREP_MODULE_DIRS": str(folder), **variables}
    environment.pop("PYTHONPATH", None)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return run(*command, cwd=REPOSITORY, env=environment).stdout


def test_a_sample_of_the_suite_passes_on_the_installed_tree(installed):
    """The first test of every file: all imports, and resources, are looked for where they were installed."""
    output = suite_on(scripted_modules(installed), "-x", MEDPREP_TEST_SAMPLE="1")
    assert int(re.search(r"(\d+) passed", output).group(1)) >= 10


@pytest.mark.slow
def test_the_whole_suite_passes_on_the_installed_tree(installed):
    suite_on(scripted_modules(installed))


def test_a_missing_file_fails_the_installed_suite(installed, tmp_path):
    """The run above really looks at the installed files: without one of them it fails."""
    folder = tmp_path / "broken"
    shutil.copytree(scripted_modules(installed), folder)
    (folder / "MedPrepCommonLib" / "core" / "errors.py").unlink()
    with pytest.raises(AssertionError, match=r"errors"):
        suite_on(folder, "-x", "Testing/core/test_volume.py", MEDPREP_TEST_SAMPLE="1")
