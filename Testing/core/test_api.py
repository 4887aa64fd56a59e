"""The public face: what it names is there, comes when it is used, and its examples are true."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
import subprocess
import sys
import warnings

import pytest

import MedPrepCommonLib


def test_every_public_name_is_there_and_has_a_docstring():
    assert set(MedPrepCommonLib.__all__) == {*MedPrepCommonLib._PLACES, "__version__"}
    for name in set(MedPrepCommonLib.__all__) - {"__version__"}:
        assert inspect.getdoc(getattr(MedPrepCommonLib, name)), name
    assert set(MedPrepCommonLib.__all__) <= set(dir(MedPrepCommonLib))
    with pytest.raises(AttributeError):
        MedPrepCommonLib.nothing  # noqa: B018


def test_type_checkers_are_told_the_same_places():
    source = inspect.getsource(MedPrepCommonLib)
    block = source.split("if TYPE_CHECKING:\n")[1].split("\n\n")[0]
    told = {}
    for module, names in re.findall(r"from \.([\w.]+) import (\([^)]*\)|[^\n]*)", block):
        for name in filter(None, (part.strip() for part in names.strip("()").split(","))):
            there, _as, here = name.partition(" as ")
            told[here or there] = module + (f":{there}" if here else "")
    assert told == MedPrepCommonLib._PLACES


def test_importing_it_loads_nothing_heavy():
    code = "import sys, MedPrepCommonLib; print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"numpy", "scipy", "SimpleITK", "pydicom", "slicer", "vtk"} & set(loaded.split())


def test_it_is_typed(module_dirs):
    assert any((folder / "MedPrepCommonLib" / "py.typed").is_file() for folder in module_dirs)


@pytest.mark.parametrize("name", sorted(MedPrepCommonLib._MOVED))
def test_old_names_work_with_a_warning(name):
    with pytest.warns(DeprecationWarning, match="0.3"):
        old = getattr(MedPrepCommonLib, name)
    assert old is importlib.import_module(f"MedPrepCommonLib.{MedPrepCommonLib._MOVED[name]}")


def test_old_imports_from_modules_work_with_a_warning():
    code = (
        "from MedPrepCommonLib.errors import MedPrepError\nfrom MedPrepCommonLib.reading import read_volume\n"
        "from MedPrepCommonLib.chestphantom import make_chest_phantom\n"
        "import MedPrepCommonLib as m\nassert (MedPrepError, read_volume) == (m.MedPrepError, m.read_volume)"
    )
    done = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("DeprecationWarning") == 3


@pytest.mark.parametrize("name", ["", *sorted(set(MedPrepCommonLib._PLACES.values()))])
def test_examples_in_docstrings_are_true(name):
    module = importlib.import_module(".".join(["MedPrepCommonLib", *filter(None, [name.partition(":")[0]])]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = doctest.testmod(module)
    assert found.failed == 0
    if not name or name in ("core.volume", "core.operation", "core.engine"):
        assert found.attempted, f"{module.__name__} has no example"
