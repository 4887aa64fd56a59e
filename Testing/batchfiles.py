"""Cases on disk for tests of batches, and batches in processes of their own, as a user starts them."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import tinyops

from MedPrepCommonLib.outputs import writing

TESTING = Path(__file__).resolve().parent


def recipe(folder: Path, name: str, *steps: Mapping, **changes) -> Path:
    """A recipe file of steps that each take the image of the one before."""
    chain, image = [], "image"
    for n, step in enumerate(steps):
        chain.append({"id": f"s{n}", "inputs": {"image": image}, **step})
        image = f"s{n}.image"
    record = {
        "schema": "medprep-recipe",
        "version": 1,
        "name": name,
        "modality": "CT",
        "inputs": {"image": {"description": "any CT"}},
        "steps": chain,
        "outputs": {"image": image},
        **changes,
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(record), encoding="utf-8")
    return path


def quick(folder: Path) -> Path:
    """A recipe of operations that MedPrep brings, over in an instant."""
    lung = {"preset": "lungNodule"}
    return recipe(folder, "quick", {"operation": "ct.clip", **lung}, {"operation": "normalize", **lung})


def slow(folder: Path, seconds: float = 0.05) -> Path:
    """As :func:`quick`, but each case takes a while; for processes that know tinyops."""
    return recipe(
        folder,
        "slow",
        {"operation": "ct.clip", "preset": "lungNodule"},
        {"operation": "t.slow", "parameters": {"seconds": seconds}},
        {"operation": "normalize", "preset": "lungNodule"},
        {"operation": "t.slow", "parameters": {"seconds": seconds}},
    )


def cases(folder: Path, count: int, broken: Mapping[int, str] | None = None) -> Path:
    """A cases file and `count` small images, two of each patient; some `broken` in the way that is named."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for n in range(count):
        name = f"case-{n:03d}"
        file = folder / f"{name}.nii.gz"
        writing.write_nifti(tinyops.image(n), file)
        rows.append(
            {"case": name, "image": _break(file, (broken or {}).get(n, "")), "patient": f"Doe^Jane {n // 2}"}
        )
    return sheet(folder / "cases.csv", rows)


def _break(file: Path, how: str) -> str:
    image = sitk.ReadImage(str(file))
    if how == "truncated":
        file.write_bytes(file.read_bytes()[:2000])
    elif how == "NaN":
        values = sitk.GetArrayFromImage(image).astype(np.float32)
        values[3, 4, 5] = np.nan
        changed = sitk.GetImageFromArray(values)
        changed.CopyInformation(image)
        sitk.WriteImage(changed, str(file))
    elif how == "modality":
        file = file.with_name(file.name.replace(".nii.gz", ".mha"))
        for key in image.GetMetaDataKeys():
            image.EraseMetaData(key)
        sitk.WriteImage(image, str(file))
        header = b"NDims = 3\n"
        file.write_bytes(file.read_bytes().replace(header, header + b"Modality = MET_MOD_MR\n", 1))
    elif how == "missing":
        file.unlink()
    elif how == "empty":
        file.write_bytes(b"")
    elif how == "poison":
        image[0, 0, 0] = 666
        sitk.WriteImage(image, str(file))
    return file.name


def sheet(path: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    """Write a cases file."""
    with open(path, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a batch by its relative path, except the log, which knows times."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "log" not in path.relative_to(folder).parts[:1]
    }


def events(folder: Path, *kinds: str) -> list[dict]:
    """Lines of a batch's log, all or those of some kinds."""
    path = folder / "log" / "events.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue  # cut by a kill
    return [e for e in found if not kinds or e["event"] in kinds]


def environment(folder: Path) -> dict[str, str]:
    """Variables with which every Python process knows the operations of tinyops."""
    (folder / "site").mkdir(exist_ok=True)
    text = "import tinyops\n_tiny = tinyops.registered()\n_tiny.__enter__()\n"
    (folder / "site" / "sitecustomize.py").write_text(text)
    path = os.pathsep.join([str(folder / "site"), str(TESTING), os.environ["PYTHONPATH"]])
    return {**os.environ, "PYTHONPATH": path}


def start(*arguments: object, env: Mapping[str, str] | None = None) -> subprocess.Popen:
    """``medprep`` with these arguments, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "MedPrepCommonLib.cli", *map(str, arguments)],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen, seconds: float = 300) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err


def medprep(*arguments: object, env: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Run ``medprep`` and wait for it."""
    return finish(start(*arguments, env=env))


@contextmanager
def dask_cluster(
    folder: Path, workers: int, env: Mapping[str, str]
) -> Iterator[tuple[str, list[subprocess.Popen]]]:
    """``dask scheduler`` and ``dask worker`` on loopback, as users start them: its address, the workers."""
    import time

    file = folder / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": env, "cwd": folder}
    scheduler = subprocess.Popen(
        [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        + ["--scheduler-file", str(file)],
        **quiet,
    )
    started = []
    try:
        end = time.monotonic() + 60
        while not file.exists():
            assert scheduler.poll() is None and time.monotonic() < end, "no scheduler"
            time.sleep(0.05)
        for _n in range(workers):
            command = [*dask, "worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-dashboard"]
            started.append(subprocess.Popen([*command, "--no-nanny", "--host", "127.0.0.1"], **quiet))
        yield json.loads(file.read_text())["address"], started
    finally:
        for process in [*started, scheduler]:
            process.kill()
            process.wait()
