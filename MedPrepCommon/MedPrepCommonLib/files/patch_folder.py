"""A folder of patches read back, one at a time, to be put together again."""

from __future__ import annotations

import csv
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import bounds
from ..core import json_text
from ..core.errors import FileError, InputError, MedPrepError
from ..core.i18n import _
from ..core.patch_set import Patch
from ..core.volume import Segment, Volume
from . import checks

MANIFEST, RECORD = "manifest.csv", "patches.json"
_TISSUE = ("SCT", "85756007", "Tissue")


# An image of more voxels than the first is at most so many times as large as all its patches.
_SMALL_IMAGE, _LEAST_SHARE = 2**27, 10_000


class PatchFolder:
    """What :mod:`outputpatches` wrote; arrays may have been added to the NPZ files since.

    Raises
    ------
    FileError
        when the manifest or the record is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        record = self._record()
        try:
            self.shape = self._size(record["image"]["shape"])
            self.size = self._size(record["size"])
            self.ijkToRAS = np.array(record["image"]["ijkToRAS"], float)
            if np.prod(self.shape, dtype=float) > bounds.VOXELS.high or np.prod(self.size, dtype=float) > 1e9:
                raise ValueError
            # A place that is none is refused here, not after the patches have been put together.
            Volume(np.broadcast_to(np.uint8(0), self.shape), self.ijkToRAS)
            self.format, self.modality = str(record["format"]), str(record["modality"])
            self.history = tuple(record["provenance"])
            self._labels = {
                str(name): {int(value): str(text) for value, text in names.items()}
                for name, names in record["labels"].items()
            }
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, MedPrepError) as error:
            raise self._damaged(RECORD) from error
        self.files, self.patches = self._manifest()

    def values(self, number: int, name: str) -> np.ndarray:
        """One patch of the array called `name`: (k, j, i) or (k, j, i, component).

        Raises
        ------
        FileError, InputError
            when the file or the array is missing, or has another size.
        """
        path = self.folder / self.files[number]
        try:
            if self.format == "npz":
                array = self._of_npz(path, name)
            elif self.format == "zarr":
                array = self._of_zarr(number, name)
            else:
                array = self._of_nifti(path, name)
        except MedPrepError:
            raise
        except Exception as error:
            # A damaged archive raises what its reader stumbles over: BadZipFile, zlib.error, KeyError, ...
            raise self._damaged(path.name) from error
        if array.ndim not in (3, 4) or array.shape[:3] != self.size or array.dtype.kind not in "iuf":
            raise InputError(
                _("{name} in {file} has the shape {shape} ({type}).").format(
                    name=name, file=path.name, shape=array.shape, type=array.dtype
                ),
                _("Expected numbers of shape {size}, or that and a last axis of components.").format(
                    size=self.size
                ),
                _("Save what the network returns in the order (k, j, i, component)."),
            )
        return array

    def segments_of(self, name: str) -> tuple[Segment, ...] | None:
        """Names of a label map's values; whole numbers in an added array are labels too."""
        if name in self._labels:
            return tuple(Segment(value, text, _TISSUE, _TISSUE) for value, text in self._labels[name].items())
        if name != "image" and self.patches and self.values(0, name).dtype.kind in "iu":
            return ()
        return None

    @staticmethod
    def _size(kji: Any) -> tuple[int, int, int]:
        i, j, k = (int(n) for n in kji)
        if not all(bounds.AXIS.holds(n) for n in (i, j, k)):
            raise ValueError(kji)
        return k, j, i

    def _of_npz(self, path: Path, name: str) -> np.ndarray:
        checks.opened(path).close()
        self._check_members(path, name)
        with np.load(path, allow_pickle=False) as archive:
            if name not in archive:
                raise InputError(
                    _("{file} holds no array {name!r}.").format(file=path.name, name=name),
                    _("Expected one of {names}.").format(
                        names=", ".join(n for n in archive if n != "ijkToRAS")
                    ),
                    _("Choose one of them with --array."),
                )
            return archive[name]

    def _check_members(self, path: Path, name: str) -> None:
        """Raise where the array would be larger than a patch with its components can be."""
        most = math.prod(self.size) * 8 * int(bounds.COMPONENTS.high) + 4096
        with zipfile.ZipFile(path) as archive:
            if any(
                member.file_size > most for member in archive.infolist() if member.filename == f"{name}.npy"
            ):
                raise self._damaged(path.name)

    def _of_nifti(self, path: Path, name: str) -> np.ndarray:
        from .reading import read_volume

        stem = path.name.removesuffix(".nii.gz")
        return read_volume(path if name == "image" else path.with_name(f"{stem}_{name}.nii.gz")).array

    def _of_zarr(self, number: int, name: str) -> np.ndarray:
        try:
            import zarr
        except ImportError as error:
            raise FileError(
                _("These patches are Zarr, and the package zarr is not installed."),
                _("Expected the package."),
                _("Install it with: pip install zarr"),
            ) from error
        return np.asarray(zarr.open_array(str(self.folder / f"{Path(name).name}.zarr"), mode="r")[number])

    def _record(self) -> dict[str, Any]:
        try:
            record = json_text.read(self.folder / RECORD)
        except OSError as error:
            raise self._missing(RECORD) from error
        except ValueError as error:
            raise self._damaged(RECORD) from error
        if not isinstance(record, dict) or record.get("schema") != "medprep-patches":
            raise self._damaged(RECORD)
        return record

    def _manifest(self) -> tuple[list[str], tuple[Patch, ...]]:
        files, patches = [], []
        try:
            with open(self.folder / MANIFEST, encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    # A name, never a path: the manifest may have come from anywhere.
                    files.append(Path(row["file"]).name)
                    patches.append(_patch(row))
        except OSError as error:
            raise self._missing(MANIFEST) from error
        except (ArithmeticError, LookupError, TypeError, ValueError, csv.Error) as error:
            raise self._damaged(MANIFEST) from error
        # A record may ask for an image out of all proportion to what was cut from it.
        if math.prod(self.shape) > _SMALL_IMAGE + _LEAST_SHARE * len(patches) * math.prod(self.size):
            raise self._damaged(RECORD)
        return files, tuple(patches)

    def _missing(self, name: str) -> FileError:
        return FileError(
            _("There is no readable {name} in {folder}.").format(name=name, folder=self.folder),
            _("Expected a folder of patches that MedPrep wrote."),
            _("Name the folder that holds manifest.csv."),
        )

    def _damaged(self, name: str) -> FileError:
        return FileError(
            _("{name} in {folder} is missing or damaged.").format(name=name, folder=self.folder),
            _("Expected it as MedPrep wrote it."),
            _("Cut the patches again."),
        )


def _patch(row: Mapping[str, str]) -> Patch:
    """One line of the manifest; ValueError where a number is none or lies beyond any image."""
    numbers = [
        float(row[key]) for key in ("scale", "i", "j", "k", "r (mm)", "a (mm)", "s (mm)", "foreground")
    ]
    if not all(abs(number) <= bounds.POSITION.high for number in numbers) or numbers[0] <= 0:
        raise ValueError(numbers)
    scale, i, j, k, right, anterior, superior, foreground = numbers
    return Patch(
        int(row["centre"]), scale, (i, j, k), (right, anterior, superior), foreground, int(row["label"]),
        row["segment"] or "",
    )  # fmt: skip
