"""What every test shares: module folders on ``sys.path``, real images, displayless Qt, hypothesis settings.

The suite runs against the source tree, or against an installed tree when ``MEDPREP_MODULE_DIRS`` names its
module folders (separated like ``PATH``); ``MEDPREP_TEST_SAMPLE`` is then the number of tests taken from each
file. ``test_packaging.py`` uses both to run the suite on what CMake installs.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

REPOSITORY = Path(__file__).resolve().parent.parent

# Qt needs no display for these tests; matplotlib must not look for one either.
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("MPLBACKEND", "Agg")


def module_folders() -> list[Path]:
    """What Slicer calls additional module paths: the installed ones when named, else the source folders."""
    named = os.environ.get("MEDPREP_MODULE_DIRS", "")
    if named:
        folders = [Path(entry).resolve() for entry in named.split(os.pathsep) if entry]
        missing = [str(folder) for folder in folders if not folder.is_dir()]
        if missing:
            raise pytest.UsageError("MEDPREP_MODULE_DIRS names what is no folder: " + ", ".join(missing))
        return folders
    return [folder for folder in sorted(REPOSITORY.glob("MedPrep*")) if folder.is_dir()]


for _folder in reversed([*module_folders(), REPOSITORY / "Testing"]):
    if str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))
# Child processes that a test starts must import the same tree.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [*map(str, module_folders()), *filter(None, [os.environ.get("PYTHONPATH", "")])]
)

# These look at the source tree itself, or measure it.
collect_ignore = (
    [
        "house/test_bench.py",
        "house/test_docs.py",
        "house/test_layers.py",
        "house/test_memory.py",
        "house/test_packaging.py",
        "house/test_readme.py",
        "house/test_run.py",
    ]
    if "MEDPREP_MODULE_DIRS" in os.environ
    else []
)

# No deadline: shared machines are noisy. CI draws the same examples every time, so a failure can be repeated.
settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "ci", deadline=None, derandomize=True, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("sample", settings.get_profile("ci"), max_examples=5)
SAMPLE = int(os.environ.get("MEDPREP_TEST_SAMPLE", "0"))
settings.load_profile("sample" if SAMPLE else "ci" if os.environ.get("CI") else "local")


@pytest.hookimpl(trylast=True)  # after the markers have been looked at
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the first tests of each file when only a sample is asked for."""
    if SAMPLE:
        taken = Counter()
        kept, left = [], []
        for item in items:
            taken[item.path] += 1
            (kept if taken[item.path] <= SAMPLE else left).append(item)
        config.hook.pytest_deselected(items=left)
        items[:] = kept


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that did not test the tree it was asked to test."""
    folders = module_folders()
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.startswith("MedPrep") and file and not any(Path(file).is_relative_to(f) for f in folders):
            print(f"\n{name} was imported from {file}, not from the tree under test", file=sys.stderr)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root folder of the source tree."""
    return REPOSITORY


@pytest.fixture(scope="session")
def module_dirs() -> list[Path]:
    """Module folders under test: of the source tree, or of the installed tree."""
    return module_folders()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real images beside the repository (its README says what they are); skips where absent."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real images are not here: no folder ../shared/data beside the repository")
    return folder


# Scene and widget fixtures live in their own file.
from fixtures_slicer import qtHost, slicerHost  # noqa: E402, F401
