"""Recipes, result folders, patches and scene archives from elsewhere, broken."""

from __future__ import annotations

import functools
import json
import os
import random
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fuzzing import mutations


def recipe_case(draw: random.Random, folder: Path) -> Callable[[], str]:
    """A recipe that comes with MedPrep, broken as JSON or as text."""
    from MedPrepCommonLib.core import recipe

    names = sorted(recipe.available())
    text = recipe.available()[draw.choice(names)].read_text(encoding="utf-8")
    path = folder / "a.json"
    if draw.random() < 0.8:
        changed: Any = json.loads(text)
        for _n in range(draw.choice((1, 1, 2))):
            changed = mutations.reshaped(changed, draw)
        path.write_text(json.dumps(changed))
    else:
        path.write_bytes(mutations.broken(text.encode(), draw, len(text)))

    def read() -> str:
        from MedPrepCommonLib.core import provenance

        provenance.text(recipe.load(path).to_json()).encode("utf-8")
        return "read"

    return read


@functools.cache
def _sound() -> Path:
    """A result folder and a folder of patches, made once."""
    from MedPrepCommonLib.core import engine, recipe, runner
    from MedPrepCommonLib.core.operation import create
    from MedPrepCommonLib.core.volume import Volume
    from MedPrepCommonLib.files import patch_writing
    from MedPrepCommonLib.outputs import writing

    root = Path(tempfile.mkdtemp(prefix="fuzz-sound-"))
    numbers = np.random.default_rng(0)
    image = Volume(numbers.integers(0, 900, (16, 16, 16)).astype(np.int16), np.eye(4))
    plan = {
        "schema": "medprep-recipe", "version": 1, "name": "x", "inputs": {"image": {}},
        "steps": [{"operation": "resample", "parameters": {"spacing": 2.0}, "inputs": {"image": "image"}}],
        "outputs": {"image": "resample.image"},
    }  # fmt: skip
    done = runner.run(recipe.parse(plan, "x"), {"image": image})
    writing.write(done, {"image": image}, root / "result", scene=False)
    cut = engine.run(create("patches", size=8, overlap=0), {"image": image})
    patch_writing.write(cut.patches["patches"], root / "patches")
    return root


def folder_case(draw: random.Random, folder: Path) -> Callable[[], str]:
    """A result or a folder of patches with one file broken."""
    kind = draw.choice(("result", "patches"))
    place = folder / kind
    shutil.copytree(_sound() / kind, place)
    # Whatever is written goes to a folder that is not compared.
    files = sorted(
        p for p in place.rglob("*") if p.suffix in (".json", ".csv", ".npz", ".png") and p.is_file()
    )
    path = draw.choice(files)
    if path.suffix == ".json" and draw.random() < 0.8:
        path.write_text(json.dumps(mutations.reshaped(json.loads(path.read_text()), draw)))
    elif path.suffix == ".csv" and draw.random() < 0.8:
        path.write_text(mutations.reworded(path.read_text(), draw).replace(" ", ","), errors="replace")
    elif draw.random() < 0.1:
        path.unlink()
        os.symlink("/etc/passwd", path)
    else:
        path.write_bytes(mutations.broken(path.read_bytes(), draw, 400))

    def read() -> str:
        from MedPrepCommonLib.files.patch_folder import PatchFolder
        from MedPrepCommonLib.files.reassembly import reassemble
        from MedPrepCommonLib.report import page

        if kind == "patches":
            reassemble(PatchFolder(place))
            return "read"
        return "wrong" if "root:x:0" in page.page(place) else "read"

    return read


def scene_case(draw: random.Random, folder: Path) -> Callable[[], str]:
    """A scene bundle with hostile names, broken bytes, or both."""
    path = folder / "a.mrb"
    names = (
        "scene/scene.mrml",
        "scene/Data/a.nrrd",
        "../x",
        "/tmp/fuzz-slip",
        "a/../../x",
        "..\\x",
        "link",
        "",
    )
    with zipfile.ZipFile(path, "w", draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as made:
        for name in draw.sample(names, draw.randrange(1, 4)):
            info = zipfile.ZipInfo(name or "x")
            info.external_attr = (0o120777 if name == "link" else 0o644) << 16
            made.writestr(info, draw.randbytes(draw.randrange(200)))
    if draw.random() < 0.6:
        data = path.read_bytes()
        path.write_bytes(mutations.broken(data, draw, len(data)))

    def read() -> str:
        from MedPrepCommonLib.files import archive

        with tempfile.TemporaryDirectory() as inner:
            target = Path(inner) / "in" / "b.mrb"
            target.parent.mkdir()
            archive.copy_safely(path, target)
            with zipfile.ZipFile(target) as copy:
                outside = [
                    n for n in copy.namelist() if n.startswith("/") or ".." in n.split("/") or "\\" in n
                ]
        return "wrong" if outside else "read"

    return read
