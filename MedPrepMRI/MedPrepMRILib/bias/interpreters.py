"""Which Python can run a program in a process of its own."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

_ENDING = ".exe" if os.name == "nt" else ""


def candidates() -> list[str]:
    """Paths of Pythons to try, the likeliest first, each once; none is started here.

    Slicer sets ``sys.executable`` to the PythonSlicer that it finds on its PATH, and to nothing where there
    is none; other programs that embed Python name themselves there, and starting those would open a second
    window. So only programs that are called python count. PythonSlicer lies in ``bin`` below SLICER_HOME;
    the plain interpreter of a build lies in its prefix.
    """
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    home = os.environ.get("SLICER_HOME", "")
    paths = [
        sys.executable or "",
        shutil.which("PythonSlicer") or "",
        *(str(Path(folder) / f"PythonSlicer{_ENDING}") for folder in ([Path(home) / "bin"] if home else [])),
    ]
    for prefix in (sys.exec_prefix, sys.base_exec_prefix):
        folder = Path(prefix) if os.name == "nt" else Path(prefix) / "bin"
        paths += [str(folder / f"{name}{_ENDING}") for name in ("PythonSlicer", version, "python3", "python")]
    usable = [path for path in paths if _is_python(path)]
    return list(dict.fromkeys(usable))


def _is_python(path: str) -> bool:
    return Path(path).name.lower().startswith("python") and os.path.isfile(path) and os.access(path, os.X_OK)


def environment() -> dict[str, str]:
    """Variables for such a process: it finds the packages that this one finds, and writes no bytecode."""
    paths = os.pathsep.join(path for path in sys.path if path)
    return {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
