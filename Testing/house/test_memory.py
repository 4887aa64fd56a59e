"""Memory at full size: what each operation for any modality takes besides its input. Slow: `-m slow`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bench.memory import peak_of
from bench.targets import SCRATCH
from ctimages import body, labels_on

from MedPrepCommonLib.core import engine
from MedPrepCommonLib.core.operation import create, find, known
from MedPrepCommonLib.core.volume import LabelVolume, Volume

# Bytes per voxel of the image, or of the result where that is larger, results included.
MOST = 12


def ways(id: str) -> list[tuple[str | None, dict]]:
    """(preset, parameters): every method of an operation, or else every preset."""
    spec = find(id)
    methods = [p.choices for p in spec.parameters if p.name == "method"]
    if methods:
        return [(None, {"method": method}) for method in methods[0]]
    return [(preset, {}) for preset in (None, *spec.presets)]


EVERY_WAY = [
    pytest.param(id, preset, given, id="-".join([id, *filter(None, (preset, *given.values()))]))
    for id in known()
    if not find(id).modality
    for preset, given in ways(id)
]


def full_size() -> tuple[Volume, LabelVolume]:
    """A CT of 512 x 512 x 300 voxels with noise, made of 64 alike, and labels."""
    part = body((75, 128, 128), spacing=(0.7, 0.7, 1.25), padding=None, noise=20)
    volume = part.with_array(np.tile(part.array, (4, 4, 4)))
    return volume, labels_on(volume, (volume.array > 0).astype(np.uint8))


def measure(id: str, preset: str | None, given: dict) -> float:
    """Extra bytes per voxel at the peak."""
    spec, op = find(id), create(id, preset, **given)
    volume, labels = full_size()
    inputs = {}
    for n, slot in enumerate(spec.inputs):
        own = labels if slot.labels else volume if n == 0 else volume.with_array(volume.array[::-1].copy())
        inputs[slot.name] = (own,) if slot.many else own
    result, peak = peak_of(lambda: engine.run(op, inputs))
    made = [
        volume.array.size,
        *(v.array.size for v in result.volumes().values()),
        *(p.array.size for p in result.patches.values()),
    ]
    return max(0, peak - SCRATCH) / max(made)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is told by Linux only")
@pytest.mark.parametrize(("id", "preset", "given"), EVERY_WAY)
def test_memory_stays_under_12_bytes_per_voxel(id, preset, given) -> None:
    order = json.dumps([id, preset, given])
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", "import sys, test_memory; test_memory.main(sys.argv[1])", order]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    print(f"{float(done.stdout):.1f} bytes per voxel")
    assert float(done.stdout) < MOST


def main(order: str) -> None:
    """Measure what a test asks for, in a process of its own, where no memory lies ready."""
    print(measure(*json.loads(order)))
