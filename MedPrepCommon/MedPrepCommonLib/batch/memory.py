"""How much memory a case will need, told from the headers of its images before any of them is read."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import SimpleITK as sitk

from .. import bounds
from ..core.errors import MedPrepError, ParameterError
from ..core.i18n import _
from ..core.recipe import Recipe
from ..files import checks

# A worker with every library loaded; measured: 200 MB.
BASE = 256 << 20
# Bytes per voxel of the finest grid that a recipe works on, and per input voxel besides; measured on the
# recipes that come with MedPrep. Documented in Docs/batch.md.
PER_VOXEL, PER_INPUT = 14, 8
# Besides, for a case with a scene: slicer-core and VTK, and their copy of every image.
SCENE_BASE, SCENE_PER_VOXEL = 256 << 20, 12
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def estimate(paths: Iterable[str | os.PathLike[str]], recipe: Recipe, scene: bool = False) -> int:
    """Bytes that a worker needs for a case with these images; :data:`BASE` where no header can be read."""
    base, per_voxel = BASE, PER_VOXEL
    if scene:
        base, per_voxel = base + SCENE_BASE, per_voxel + SCENE_PER_VOXEL
    grids = [grid for path in paths if (grid := _grid(Path(path))) is not None]
    if not grids:
        return base
    targets = [spacing for s in recipe.steps if isinstance(spacing := getattr(s.op, "spacing", None), tuple)]
    inputs = sum(math.prod(size) for size, _spacing in grids)
    finest = max(
        math.prod(max(1, math.ceil(n * old / new)) for n, old, new in zip(size, spacing, target, strict=True))
        for size, spacing in grids
        for target in [spacing, *(t for t in targets if len(t) == len(spacing))]
    )
    return base + per_voxel * finest + PER_INPUT * inputs


def _grid(path: Path) -> tuple[Sequence[int], Sequence[float]] | None:
    """Voxels and millimetres along i, j, k as the header says; None where it cannot be read."""
    try:
        if path.is_dir():
            return _dicom_grid(path)
        if checks.kind_of(path) == "dicom":
            return _dicom_file_grid(path, 1)
        reader = sitk.ImageFileReader()
        reader.SetFileName(os.fspath(path))
        reader.ReadImageInformation()
        size, spacing = [*reader.GetSize(), 1, 1, 1][:3], [*reader.GetSpacing(), 1.0, 1.0, 1.0][:3]
        size[2] *= reader.GetNumberOfComponents()
        return _usable(size, spacing)
    except Exception:
        # An estimate of one odd file must not stop a batch: its reader will say what is wrong with it.
        return None


def _usable(size: Sequence[int], spacing: Sequence[float]) -> tuple[Sequence[int], Sequence[float]] | None:
    """The grid, where its numbers are those of an image: else the target's size would mean nothing."""
    whole = min(size) >= 1 and bounds.VOXELS.holds(math.prod(size))
    return (size, spacing) if whole and all(bounds.SPACING.holds(mm) for mm in spacing) else None


def _dicom_grid(folder: Path) -> tuple[Sequence[int], Sequence[float]] | None:
    # The upper bound: as if every file were a slice of the wanted series.
    files = [p for p in folder.rglob("*") if p.is_file() and checks.is_dicom(checks.head(p))]
    return _dicom_file_grid(files[0], len(files)) if files else None


def _dicom_file_grid(path: Path, files: int) -> tuple[Sequence[int], Sequence[float]] | None:
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        frames = int(header.get("NumberOfFrames", 1) or 1)
        size = (int(header.Columns), int(header.Rows), frames * files)
        rows, columns = header.get("PixelSpacing") or header.get("ImagerPixelSpacing") or (1.0, 1.0)
        thick = float(header.get("SpacingBetweenSlices") or header.get("SliceThickness") or 1.0)
        return _usable(size, (float(columns), float(rows), max(thick, 0.1)))
    except (InvalidDicomError, AttributeError, ValueError, TypeError):
        return None


def too_large(estimate: int, limit: int) -> MedPrepError:
    """What to say about a case that needs more memory than may be used."""
    return MedPrepError(
        _("This case needs about {need} of memory; {limit} may be used.").format(
            need=words(estimate), limit=words(limit)
        ),
        _("Expected an image that fits."),
        _("Give more with --memory, resample to a coarser grid, or crop the image."),
    )


def parse_size(text: str) -> int:
    """Bytes of ``8GB``, ``500 MB`` or ``2g``; :class:`ParameterError` for anything else."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*", text.lower())
    size = int(float(found[1]) * _UNITS[found[2]]) if found else 0
    if size < 1:
        raise ParameterError(
            _("--memory is {text!r}.").format(text=text),
            _("Expected a size such as 8GB or 500MB."),
        )
    return size


def available() -> int:
    """Memory in bytes that this machine (or this job's share of it) can still give."""
    free = 0
    try:
        with open("/proc/meminfo") as file:
            free = int(re.search(r"MemAvailable:\s*(\d+)", file.read())[1]) * 1024
    except (OSError, TypeError):
        try:
            free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (ValueError, AttributeError, OSError):
            return 8 << 30
    return min([free, *_cgroup()])


def _cgroup() -> list[int]:
    """What a container or a cluster's job leaves of its limit."""
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            most = int(Path(limit).read_text())
            return [max(0, most - int(Path(used).read_text()))]
        except (OSError, ValueError):
            continue
    return []


def words(size: float) -> str:
    """``3.2 GB``."""
    return f"{size / (1 << 30):.1f} GB" if size >= 1 << 30 else f"{size / (1 << 20):.0f} MB"
