"""Image files of every format but DICOM, broken, and what other programs make of them."""

from __future__ import annotations

import gzip
import random
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from fuzzing import mutations

SUFFIXES = (
    "nii", "nii.gz", "n2.nii", "nrrd", "gz.nrrd", "seg.nrrd", "mha", "z.mha", "mhd", "nhdr", "png", "jpg",
    "tif", "lzw.tif", "f.tif", "bmp",
)  # fmt: skip
_TEXTS = ("nrrd", "gz.nrrd", "seg.nrrd", "mha", "z.mha", "mhd", "nhdr")
_PICTURES = ("png", "jpg", "tif", "lzw.tif", "f.tif", "bmp")


def case(draw: random.Random, folder: Path) -> Callable[[], str]:
    """A broken file, and the function that reads it and asks for a second opinion."""
    suffix = draw.choice(SUFFIXES)
    path = folder / f"a.{suffix}"
    _whole(draw, path, suffix)
    data = path.read_bytes()
    if suffix == "nii.gz" and draw.random() < 0.7:
        path.write_bytes(gzip.compress(mutations.broken(gzip.decompress(data), draw, 352)))
    elif suffix in _TEXTS and draw.random() < 0.8:
        path.write_bytes(_reworded(data, draw))
    elif draw.random() < 0.97:
        path.write_bytes(mutations.broken(data, draw, 560 if suffix.endswith("nii") else 150))

    def read() -> str:
        from MedPrepCommonLib.files.reading import read_volume

        volume = read_volume(path)
        again = read_volume(path)
        if not np.array_equal(volume.array, again.array, equal_nan=volume.array.dtype.kind == "f"):
            return "wrong"
        return _judged(path, suffix, volume)

    return read


def _reworded(data: bytes, draw: random.Random) -> bytes:
    """The text header changed, the data as they are."""
    end = data.find(b"\n\n") if data.startswith(b"NRRD") else data.find(b"ElementDataFile")
    if end > 0 and not data.startswith(b"NRRD"):
        end = data.find(b"\n", end)
    end = end if end > 0 else len(data)
    text = mutations.reworded(data[:end].decode("latin-1"), draw)
    return text.encode("utf-8", "surrogateescape" if "\udc80" in text else "replace") + data[end:]


def _whole(draw: random.Random, path: Path, suffix: str) -> None:
    """A small sound file."""
    numbers = np.random.default_rng(draw.randrange(1 << 30))
    dtype = draw.choice((np.uint8, np.int16, np.uint16, np.float32))
    if suffix in _PICTURES:
        colours = draw.random() < 0.3
        array = numbers.integers(0, 200, (40, 50, 3) if colours else (40, 50)).astype(np.uint8)
        if suffix in ("tif", "lzw.tif", "f.tif"):
            import tifffile

            array = array.astype(draw.choice((np.float16, np.float32))) if suffix == "f.tif" else array
            packing = "zlib" if suffix == "lzw.tif" else None
            photometric = "rgb" if colours else draw.choice(("minisblack", "minisblack", "miniswhite"))
            photometric = "minisblack" if suffix == "f.tif" and not colours else photometric
            tifffile.imwrite(path, array, compression=packing, photometric=photometric)
        else:
            sitk.WriteImage(sitk.GetImageFromArray(array, isVector=colours), str(path))
        return
    array = numbers.integers(0, 100, (5, 6, 7)).astype(dtype)
    if suffix == "n2.nii":
        import nibabel

        nibabel.save(nibabel.Nifti2Image(array.T, np.diag([0.7, 0.8, 2.5, 1])), path)
        return
    image = sitk.GetImageFromArray(array if suffix != "seg.nrrd" else (array % 3).astype(np.uint8))
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin((-10.0, 20.0, 30.0))
    if suffix == "seg.nrrd":
        for n in (0, 1):
            for key, value in (
                ("ID", f"s{n}"),
                ("LabelValue", n + 1),
                ("Layer", 0),
                ("Color", "0.5 0.7 0.5"),
            ):
                image.SetMetaData(f"Segment{n}_{key}", str(value))
    sitk.WriteImage(image, str(path), suffix in ("gz.nrrd", "z.mha", "seg.nrrd") or draw.random() < 0.2)


def _judged(path: Path, suffix: str, volume) -> str:
    warnings.simplefilter("ignore")
    try:
        if suffix.endswith(("nii", "nii.gz")):
            values, place = _by_nibabel(path)
        elif suffix in ("nrrd", "gz.nrrd", "nhdr"):
            values, place = _by_pynrrd(path), None
        elif suffix in ("tif", "lzw.tif", "f.tif"):
            values, place = _by_tifffile(path), None
        elif suffix in ("png", "bmp"):
            values, place = _by_pillow(path), None
        else:
            return "read"
    except Exception:
        return "read"  # nobody else can
    array = volume.array
    if values is None or np.prod(values.shape) != array.size:
        return "wrong" if values is not None else "read"
    with np.errstate(all="ignore"):
        same = np.allclose(array.reshape(values.shape).astype(float), values, rtol=1e-5, equal_nan=True)
    if place is not None:
        real = [n for n in range(3) if volume.shape[::-1][n] > 1]
        same = same and np.allclose(
            volume.ijkToRAS[:3, [*real, 3]], place[:3, [*real, 3]], rtol=1e-4, atol=1e-3
        )
    return "right" if same else "wrong"


def _by_nibabel(path: Path) -> tuple[np.ndarray, np.ndarray]:
    import nibabel

    image = nibabel.Nifti2Image if path.name.startswith("a.n2") else nibabel.Nifti1Image
    data = path.read_bytes()
    data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    loaded = image.from_bytes(data)
    values = np.asarray(loaded.dataobj)
    if values.dtype.names:
        values = np.stack([values[name] for name in values.dtype.names], -1)
    while values.ndim < 3:
        values = values[..., np.newaxis]
    unit = {1: 1000.0, 3: 0.001}.get(int(loaded.header["xyzt_units"]) & 7, 1.0)
    order = (2, 1, 0, *range(3, values.ndim))
    values = values.reshape([n for k, n in enumerate(values.shape) if k < 3 or n > 1])
    place = np.diag([unit] * 3 + [1.0]) @ loaded.affine
    if not np.isfinite(place).all() or abs(np.linalg.det(place[:3, :3])) < 1e-9:
        raise ValueError("an affine that nibabel does not look at")
    return values.transpose(order[: values.ndim]), place


def _by_pynrrd(path: Path) -> np.ndarray:
    import nrrd

    values, header = nrrd.read(str(path), index_order="C")
    return values if "vector" not in header.get("kinds", []) else None


def _by_tifffile(path: Path) -> np.ndarray | None:
    import tifffile

    with tifffile.TiffFile(path) as found:
        page = found.pages[0]
        if page.photometric not in (1, 2) or (274 in page.tags and page.tags[274].value != 1):
            return None
        return page.asarray()


def _by_pillow(path: Path) -> np.ndarray | None:
    from PIL import Image

    with Image.open(path) as found:
        return np.asarray(found) if found.mode in ("L", "RGB", "I;16") and not found.getexif() else None
