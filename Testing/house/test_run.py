"""run.py: the environment is made, trusted only when whole, mended, and every failure says what to do.

Real virtual environments, real pip; the "registry" is a folder with one tiny wheel, so no network is needed.
"""

from __future__ import annotations

import ast
import glob
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "Tools"))
import environment  # noqa: E402
import install  # noqa: E402

_spec = importlib.util.spec_from_file_location("run", REPOSITORY / "run.py")
run_py = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(run_py)

pytestmark = pytest.mark.skipif(os.name == "nt", reason="these tests make links and send POSIX signals")

CLI = """import os, sys
import tinywheel
print(os.getcwd(), tinywheel.NAME, sys.argv[1:])
sys.exit(int(os.environ.get("EXIT", "0")))
"""


def make_wheel(folder: Path, version: str) -> None:
    """A complete wheel of the package ``tinywheel``."""
    folder.mkdir(exist_ok=True)
    info = f"tinywheel-{version}.dist-info"
    with zipfile.ZipFile(folder / f"tinywheel-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tinywheel.py", f"NAME = 'tinywheel {version}'\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tinywheel\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def make_project(folder: Path) -> Path:
    """A small project around the real run.py."""
    (folder / "Tools").mkdir(parents=True)
    for name in ("run.py", "Tools/environment.py", "Tools/install.py"):
        shutil.copy(REPOSITORY / name, folder / name)
    package = folder / "MedPrepCommon" / "MedPrepCommonLib"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "version.py").write_text('__version__ = "1.2.3"\n')
    (package / "cli.py").write_text(CLI)
    (folder / "requirements.txt").write_text("-c constraints.txt\ntinywheel\n")
    (folder / "constraints.txt").write_text("tinywheel==1.0\n")
    for version in ("1.0", "2.0"):
        make_wheel(folder / "wheels", version)
    return folder


def variables(project: Path, **changes: str) -> dict[str, str]:
    """Environment variables for run.py: no pip settings of this machine, the wheels as the only index."""
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "MEDPREP_", "PYTHON"))
    }
    return {**kept, "PIP_CONFIG_FILE": os.devnull, "MEDPREP_WHEELS": str(project / "wheels"), **changes}


def start(project: Path, *arguments: str, cwd: Path | None = None, **changes: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, project / "run.py", *arguments],
        cwd=cwd or project.parent,
        env=variables(project, **changes),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that starts the tests in the background has Ctrl-C ignored, by all that they start too.
        preexec_fn=None if os.name == "nt" else lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def run(project: Path, *arguments: str, **options: object) -> tuple[int, str, str]:
    process = start(project, *arguments, **options)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A project whose environment is good when a test begins; its path has spaces."""
    project = make_project(tmp_path_factory.mktemp("with spaces") / "med prep")
    status, _, err = run(project, "setup")
    assert status == 0, err
    return project


def pinned(project: Path) -> str:
    """What the package says when the pinned version is installed."""
    return (project / "constraints.txt").read_text().strip().replace("==", " ")


@pytest.fixture
def fresh(tmp_path) -> Path:
    """A project without an environment."""
    return make_project(tmp_path / "fresh project")


# ---- Python versions


def test_syntax_is_that_of_python_2_too():
    """Old Pythons must reach the message instead of stopping at a SyntaxError."""
    tree = ast.parse((REPOSITORY / "run.py").read_text(encoding="utf-8"), feature_version=(3, 4))
    modern = (ast.JoinedStr, ast.NamedExpr, ast.AnnAssign, ast.Nonlocal, ast.YieldFrom, ast.Starred)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):  # f(*args) is old
            continue
        assert not isinstance(node, modern) or isinstance(node, ast.Starred), f"line {node.lineno}"
        if isinstance(node, ast.FunctionDef):
            assert node.returns is None and not node.args.kwonlyargs
            assert all(argument.annotation is None for argument in node.args.args)
        if isinstance(node, ast.Raise):
            assert node.cause is None, f"line {node.lineno}: raise ... from"
        if isinstance(node, ast.ClassDef):
            assert not node.keywords
    tops = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert {alias.name for node in tops for alias in node.names} == {"print_function", "os", "re", "sys"}


def old_pythons() -> list[str]:
    """Interpreters older than 3.10 on this machine."""
    found = [shutil.which(f"python{version}") for version in ("2.7", "3.6", "3.7", "3.8", "3.9")]
    found += glob.glob(os.path.expanduser("~/.pyenv/versions/[23].[0-9].*/bin/python"))
    works = []
    for path in filter(None, found):
        code = "import sys; sys.exit(sys.version_info >= (3, 10))"
        if subprocess.run([path, "-c", code], capture_output=True, check=False).returncode == 0:
            works.append(path)
    return works


def test_old_python_gets_a_message(fresh):
    pythons = old_pythons()
    if not pythons:
        pytest.skip("no Python older than 3.10 on this machine; its syntax is checked above")
    for python in pythons:
        process = subprocess.Popen(
            [python, str(fresh / "run.py"), "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, err = (part.decode() for part in process.communicate(timeout=60))
        assert process.returncode == 1 and out == ""
        assert "too old for MedPrep" in err and "Traceback" not in err
        assert not (fresh / ".venv").exists()


@pytest.mark.parametrize(
    ("version", "word"), [((2, 7, 18), "old"), ((3, 6, 15), "old"), ((3, 9, 18), "old"), ((3, 14, 0), "new")]
)
def test_wrong_python_is_explained(version, word):
    message = run_py.version_problem(version)
    assert f"Python {version[0]}.{version[1]}, which is too {word}" in message
    assert "Expected: Python 3.10 to 3.13" in message and "What to do" in message
    assert "python3.11 run.py demo" in run_py.version_problem(version, ["python3.11 run.py demo"])


@pytest.mark.parametrize("minor", [10, 11, 12, 13])
def test_right_python_is_accepted(minor):
    assert run_py.version_problem((3, minor, 1)) == ""


def test_other_pythons_are_tried_out():
    for command in run_py.other_pythons():
        python = command.split()[0]
        assert (
            subprocess.run([python, "-c", "import sys; sys.exit(sys.version_info < (3, 10))"]).returncode == 0
        )


# ---- verbs


def test_help_needs_no_environment(fresh):
    for arguments in ((), ("--help",), ("-h",)):
        status, out, err = run(fresh, *arguments)
        assert status == 0 and err == ""
        for verb in (
            "demo",
            "operations",
            "recipes",
            "run RECIPE",
            "report",
            "test",
            "lint",
            "bench",
            "python",
        ):
            assert verb in out
    assert run(fresh, "--version")[1].strip() == "medprep 1.2.3"
    assert not (fresh / ".venv").exists()


def test_medprep_verb_runs_where_the_user_is(project, tmp_path):
    status, out, err = run(project, "run", "ct-lung", "--out", "a b", cwd=tmp_path)
    assert (status, err) == (0, "")
    assert out == f"{tmp_path} {pinned(project)} ['run', 'ct-lung', '--out', 'a b']\n"


def test_exit_status_passes_through(project):
    assert run(project, "demo", EXIT="7")[0] == 7
    assert run(project, "python", "-c", "import sys; sys.exit(5)")[0] == 5


def test_python_verb_sees_our_modules_only(project, tmp_path):
    (tmp_path / "tinywheel.py").write_text("NAME = 'an intruder'\n")
    code = "import MedPrepCommonLib, tinywheel; print(tinywheel.NAME)"
    status, out, err = run(project, "python", "-c", code, PYTHONPATH=str(tmp_path))
    assert (status, out) == (0, f"{pinned(project)}\n"), err


def test_test_and_lint_run_in_the_repository(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test_a.py").touch()
    arguments, folder = run_py.command_of("test", ["-q", "test_a.py::test_b", "-k", "c"])
    assert arguments == ["-m", "pytest", "-q", f"{tmp_path}/test_a.py::test_b", "-k", "c"]
    assert folder == str(REPOSITORY)
    assert run_py.command_of("lint", []) == (
        [str(REPOSITORY / "Tools" / "lint.py")],
        str(REPOSITORY),
    )
    assert run_py.command_of("operations", ["--json"]) == (
        ["-m", "MedPrepCommonLib.cli", "operations", "--json"],
        None,
    )


def test_a_second_run_changes_nothing(project):
    stamp = project / ".venv" / "medprep-ready.txt"
    before = stamp.stat().st_mtime_ns
    status, out, err = run(project, "setup")
    assert (status, err) == (0, "")
    assert out.strip() == str(project / ".venv" / "bin" / "python")
    assert stamp.stat().st_mtime_ns == before


# ---- what is not trusted


def of(project: Path) -> environment.Environment:
    return environment.Environment(str(project), ".venv", ("requirements.txt", "constraints.txt"))


@pytest.fixture
def whole(tmp_path) -> environment.Environment:
    """An environment that is trusted, with a small program in place of its interpreter."""
    make_project(tmp_path / "project")
    result = of(tmp_path / "project")
    packages = Path(result.folder) / "lib" / "site-packages"
    packages.mkdir(parents=True)
    python = Path(result.python)
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\necho 3.11\necho "{packages}"\n')
    python.chmod(0o755)
    result._write_stamp(result._requirements_hash(), sys.executable)
    assert result.trouble() == ""
    return result


def test_missing_environment_is_made(fresh):
    assert of(fresh).trouble() == "first use"


@pytest.mark.parametrize("text", [None, "", "half a li", "folder=/elsewhere\n"])
def test_without_a_whole_stamp_it_is_not_trusted(whole, text):
    stamp = Path(whole.stamp)
    stamp.unlink()
    if text is not None:
        stamp.write_text(text)
    assert whole.trouble() in ("it was not finished", "it was moved or copied here")


@pytest.mark.parametrize("name", ["requirements.txt", "constraints.txt"])
def test_changed_requirements_are_installed(whole, name):
    file = Path(whole.home) / name
    original = file.read_bytes()
    file.write_bytes(original + b"# more\n")
    assert whole.trouble() == "the requirements changed"
    file.write_bytes(original.replace(b"\n", b"\r\n"))  # as git may check it out on Windows
    assert whole.trouble() == ""


def test_gone_interpreter_is_noticed(whole):
    Path(whole.python).unlink()
    assert whole.trouble() == "its Python is gone"
    Path(whole.python).symlink_to("/nowhere/python")
    assert whole.trouble() == "its Python is gone"


def test_gone_packages_are_noticed(whole):
    shutil.rmtree(Path(whole.folder) / "lib")
    assert whole.trouble() == "its packages are gone"


def test_moved_environment_is_noticed(whole):
    moved = Path(whole.home).with_name("moved")
    Path(whole.home).rename(moved)
    assert of(moved).trouble() == "it was moved or copied here"


@pytest.mark.parametrize(
    "script", ["#!/bin/sh\nexit 1\n", "#!/bin/sh\necho 3.12\necho elsewhere\n", "broken"]
)
def test_replaced_interpreter_is_noticed(whole, script):
    Path(whole.python).write_text(script)
    assert whole.trouble() == "its Python changed"


def test_patch_release_of_python_is_fine(whole):
    """The interpreter's file changed, but not its version and packages: nothing is installed again."""
    with open(whole.python, "a") as file:
        file.write("# patched\n")
    before = Path(whole.stamp).read_text()
    assert whole.trouble() == ""
    assert Path(whole.stamp).read_text() != before
    assert whole.trouble() == ""


def test_broken_environment_is_mended_when_nobody_uses_it(project):
    code = "import time; print('in', flush=True); time.sleep(2); import tinywheel"
    user = start(project, "python", "-c", code)
    assert user.stdout.readline() == "in\n"
    python = project / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python")
    status, out, err = run(project, "demo")
    assert status == 0 and pinned(project) in out
    assert "Waiting for another MedPrep run" in err
    assert "its Python is gone" in err and "Ready after" in err
    _, errors = user.communicate(timeout=240)
    assert user.returncode == 0, errors


def test_changed_pin_is_installed(project):
    (project / "constraints.txt").write_text("tinywheel==2.0\n")
    status, out, err = run(project, "demo")
    assert status == 0 and "tinywheel 2.0" in out
    assert "the requirements changed" in err


def test_a_foreign_folder_is_set_aside_not_deleted(fresh, capsys):
    (fresh / ".venv").mkdir()
    (fresh / ".venv" / "precious.txt").write_text("mine")
    of(fresh)._clear()
    assert "was not made by run.py" in capsys.readouterr().err
    assert [path.read_text() for path in fresh.glob(".venv.aside-*/precious.txt")] == ["mine"]
    assert not (fresh / ".venv").exists()


def test_two_at_once_make_one_environment(fresh):
    both = [start(fresh, "demo") for _ in range(2)]
    results = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], results
    assert sum("Preparing" in err for _, err in results) == 1
    assert all(pinned(fresh) in out for out, _ in results)


# ---- what goes wrong, in words that help


@pytest.fixture
def pip(project, monkeypatch):
    """Runs the installation with other settings in the good environment; returns the message."""

    def attempt(**changes: str) -> str:
        for name in list(os.environ):
            monkeypatch.delenv(name)
        for name, value in variables(project, **changes).items():
            monkeypatch.setenv(name, value)
        other = of(project)
        other.requirements = [str(project / "other.txt")]
        Path(other.requirements[0]).write_text("nowhere-to-be-found==1.0\n")
        with pytest.raises(environment.EnvironmentProblem) as caught:
            install.install(other)
        assert "nowhere-to-be-found" in Path(other.log).read_text()
        return str(caught.value)

    return attempt


def test_unreachable_registry_is_explained(pip):
    message = pip(MEDPREP_WHEELS="", PIP_INDEX_URL="http://127.0.0.1:9/simple", PIP_RETRIES="1")
    assert message.startswith("The package registry cannot be reached.")
    for help_word in ("PIP_INDEX_URL", "HTTPS_PROXY", "MEDPREP_WHEELS", "-r requirements.txt -d wheels"):
        assert help_word in message


def test_incomplete_wheel_folder_is_explained(pip, tmp_path):
    message = pip(MEDPREP_WHEELS=str(tmp_path))
    assert message.startswith("A package is not offered for this computer")
    assert "nowhere-to-be-found" in message and "MEDPREP_WHEELS" in message


def test_missing_wheel_folder_is_explained(project, monkeypatch, tmp_path):
    monkeypatch.setenv("MEDPREP_WHEELS", str(tmp_path / "nowhere"))
    with pytest.raises(environment.EnvironmentProblem, match="MEDPREP_WHEELS names no folder: .*nowhere"):
        install.install(of(project))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no always-full device")
def test_full_disk_is_explained(fresh):
    (fresh / ".venv-install.log").symlink_to("/dev/full")
    status, _, err = run(fresh, "demo")
    assert status == 1 and "The disk is full." in err and "Traceback" not in err
    assert not (fresh / ".venv").exists(), "a half-made environment keeps the disk full"


def test_missing_requirements_file_is_explained(fresh):
    (fresh / "constraints.txt").unlink()
    status, _, err = run(fresh, "demo")
    assert status == 1 and "constraints.txt" in err and "complete copy" in err and "Traceback" not in err


def test_stopped_installation_is_begun_anew(fresh):
    """Ctrl-C in the middle of pip: the next run does not trust what is there."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, never answers
        port = silent.getsockname()[1]
        index = {"MEDPREP_WHEELS": "", "PIP_INDEX_URL": f"http://127.0.0.1:{port}/simple"}
        process = start(fresh, "demo", **index)
        connection, _ = silent.accept()  # pip is at work
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=240)
        connection.close()
    assert process.returncode == 130 and "stopped" in err
    assert of(fresh).trouble() == "it was not finished"
    status, out, err = run(fresh, "demo")
    assert status == 0 and pinned(fresh) in out and "it was not finished" in err


def test_missing_venv_module_is_explained(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "ensurepip" else find_spec(name, *rest),
    )
    with pytest.raises(
        environment.EnvironmentProblem, match=r"without its venv module[\s\S]*apt install python3"
    ):
        install.check_venv()


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        ("OSError: [Errno 28] No space left on device", "The disk is full"),
        (
            "The virtual environment was not created because ensurepip is not available.",
            "without its venv module",
        ),
        (
            "Retrying after NewConnectionError: getaddrinfo failed\nERROR: No matching distribution found",
            "registry",
        ),
        (
            "SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'))",
            "registry cannot be reached",
        ),
        ("ERROR: No matching distribution found for vtk==9.6.2", "not offered for this computer"),
        ("PermissionError: [Errno 13] Permission denied: '/x'", "no permission to write"),
        ("ERROR: something nobody has seen before", "Something went wrong while testing"),
    ],
)
def test_causes(words, meaning):
    message = install.explain(words, "testing", "/home/x")
    assert meaning in message and "What to do" in message
    assert words.splitlines()[-1] in message


def test_waiting_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "LOCK_PATIENCE", 0.3)
    holder = environment.Lock(str(tmp_path / "lock"))
    holder.share()
    start_time = time.monotonic()
    with pytest.raises(environment.EnvironmentProblem, match="busy"):
        environment.Lock(str(tmp_path / "lock")).alone()
    assert time.monotonic() - start_time >= 0.3
