"""Keeps the file lists in the modules' CMakeLists.txt true: a file that is not listed there does not ship.

python3 run.py python Tools/cmake_lists.py          says what is missing or gone
python3 run.py python Tools/cmake_lists.py --write  puts the lists right
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
# What makes a model does not ship; the model does.
LEFT_OUT = ("Training",)
SCRIPTS, RESOURCES = "MODULE_PYTHON_SCRIPTS", "MODULE_PYTHON_RESOURCES"


def modules() -> list[Path]:
    """Module folders of the repository: those with Python files in them."""
    return [folder for folder in sorted(REPOSITORY.glob("MedPrep*/")) if any(folder.rglob("*.py"))]


def on_disk(module: Path) -> dict[str, list[str]]:
    """The module's files as CMake should list them."""
    lists: dict[str, list[str]] = {SCRIPTS: [], RESOURCES: []}
    for path in sorted(module.rglob("*")):
        name = path.relative_to(module)
        unwanted = any(part.startswith((".", "__pycache__")) for part in name.parts) or path.suffix == ".pyc"
        unwanted |= name.parts[0] in LEFT_OUT
        if path.is_file() and not unwanted and name.name != "CMakeLists.txt":
            text = name.as_posix()
            if text == f"{module.name}.py":
                text = "${MODULE_NAME}.py"
            lists[SCRIPTS if path.suffix == ".py" else RESOURCES].append(text)
    lists[SCRIPTS].sort(key=lambda text: ("/" in text, text.lower()))
    return lists


def listed(module: Path) -> dict[str, list[str]]:
    """The files that the module's CMakeLists.txt lists; empty lists when there is none."""
    file = module / "CMakeLists.txt"
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    found = {}
    for variable in (SCRIPTS, RESOURCES):
        body = re.search(rf"^set\({variable}\s*([^)]*)\)", text, re.MULTILINE)
        found[variable] = body.group(1).split() if body else []
    return found


def differences(module: Path) -> list[str]:
    """What to change in the module's CMakeLists.txt, one line each."""
    disk, lists = on_disk(module), listed(module)
    lines = []
    for variable in (SCRIPTS, RESOURCES):
        where = f"{module.name}/CMakeLists.txt, {variable}"
        lines += [f"{where}: add {name}" for name in disk[variable] if name not in lists[variable]]
        lines += [f"{where}: remove {name}" for name in lists[variable] if name not in disk[variable]]
        lines += [f"{where}: twice {n}" for n in set(lists[variable]) if lists[variable].count(n) > 1]
    return lines


def write(module: Path) -> None:
    """Put the lists of the module's CMakeLists.txt right."""
    file = module / "CMakeLists.txt"
    text = file.read_text(encoding="utf-8")
    for variable, names in on_disk(module).items():
        body = "".join(f"  {name}\n" for name in names)
        pattern = rf"^set\({variable}[^)]*\)"
        # a function, because "${...}" in a replacement string is not what it looks like
        text = re.sub(pattern, lambda _, v=variable, b=body: f"set({v}\n{b}  )", text, flags=re.MULTILINE)
    file.write_text(text, encoding="utf-8")


def main() -> int:
    if "--write" in sys.argv[1:]:
        for module in modules():
            write(module)
    lines = [line for module in modules() for line in differences(module)]
    print("\n".join(lines) or "The lists are right.")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
