"""PNG, JPEG, TIFF and BMP against Pillow and tifffile, upright; and what is none of a picture's business."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from MedPrepCommonLib.core.errors import FileError
from MedPrepCommonLib.files.reading import read_volume

Image = pytest.importorskip("PIL.Image", reason="Pillow is the second opinion here; scikit-image brings it")
tifffile = pytest.importorskip(
    "tifffile", reason="tifffile is the second opinion here; scikit-image brings it"
)
from PIL import ImageOps  # noqa: E402


def shapes(rows=48, columns=64, colours=0) -> np.ndarray:
    """No two corners are alike, so that a turn shows."""
    y, x = np.mgrid[:rows, :columns]
    grey = (40 + x + 2 * y // 3).astype(np.uint8)
    grey[:10, :20] = 255
    return np.stack([grey, grey // 2, 255 - grey], -1)[..., :colours] if colours else grey


def seen(path) -> np.ndarray:
    """As a viewer shows it."""
    with Image.open(path) as picture:
        return np.asarray(ImageOps.exif_transpose(picture))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "jfif", "png", "tif"])
@pytest.mark.parametrize("colours", [0, 3])
def test_pictures_come_upright(tmp_path, suffix, orientation, colours):
    path, exif = tmp_path / f"a.{suffix}", Image.Exif()
    exif[274] = orientation
    kind = {"jpg": "JPEG", "jfif": "JPEG", "png": "PNG", "tif": "TIFF"}[suffix]
    Image.fromarray(shapes(colours=colours)).save(
        path, kind, exif=exif, **({"quality": 95, "subsampling": 0} if "j" in suffix else {})
    )
    volume = read_volume(path)
    assert volume.name == "a"
    if kind == "TIFF":  # Pillow turns it on loading, and then again
        path = tmp_path / "same.png"
        Image.fromarray(shapes(colours=colours)).save(path, exif=exif)
    assert np.abs(volume.array[0].astype(int) - seen(path)).max() <= (2 if kind == "JPEG" else 0)
    assert volume.array.shape[1:3] == ((64, 48) if orientation > 4 else (48, 64))


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "uint32", "int8", "int16", "int32", "float16", "float32"]
)
@pytest.mark.parametrize("order", "<>")
def test_every_sample_of_a_tiff(tmp_path, dtype, compression, order):
    array = (np.arange(48 * 64).reshape(48, 64) % 120 - (40 if dtype[0] != "u" else 0)).astype(dtype)
    if dtype.startswith("float"):
        array /= 8
    tifffile.imwrite(tmp_path / "a.tif", array, compression=compression, byteorder=order)
    found = read_volume(tmp_path / "a.tif").array
    np.testing.assert_array_equal(found[0], array)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_white_is_zero_is_inverted_once(tmp_path, dtype, orientation):
    array = (np.arange(48 * 64).reshape(48, 64) % 251).astype(dtype)
    tifffile.imwrite(
        tmp_path / "a.tif", array, photometric="miniswhite", extratags=[(274, 3, 1, orientation, True)]
    )
    wanted = -1 - array if dtype == "int16" else np.iinfo(dtype).max - array
    wanted = np.rot90(wanted, -1) if orientation == 6 else wanted
    np.testing.assert_array_equal(read_volume(tmp_path / "a.tif").array[0], wanted)


def test_pages_are_counted(tmp_path):
    pages = np.zeros((3, 20, 30), np.uint8)
    tifffile.imwrite(tmp_path / "stack.tif", pages, photometric="minisblack")
    tifffile.imwrite(tmp_path / "imagej.tif", pages, imagej=True)
    for name in ("stack.tif", "imagej.tif"):
        with pytest.raises(FileError, match="holds 3 pages"):
            read_volume(tmp_path / name)


def test_a_thumbnail_behind_the_picture_is_no_page(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(shapes(), photometric="minisblack")
        writer.write(shapes()[::4, ::4], photometric="minisblack", subfiletype=1)
    np.testing.assert_array_equal(read_volume(tmp_path / "a.tif").array[0], shapes())


@pytest.mark.parametrize("tile", [None, (16, 32)])
@pytest.mark.parametrize("colours", [0, 3])
def test_strips_and_tiles(tmp_path, tile, colours):
    array = shapes(50, 70, colours)
    tifffile.imwrite(
        tmp_path / "a.tif", array, photometric="rgb" if colours else "minisblack", tile=tile,
        **({} if tile else {"rowsperstrip": 7}),
    )  # fmt: skip
    np.testing.assert_array_equal(read_volume(tmp_path / "a.tif").array[0], array)


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA", "I;16", "F"])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "packbits", "tiff_adobe_deflate", "jpeg"])
def test_kinds_of_tiff(tmp_path, mode, compression):
    if compression == "jpeg" and mode not in ("L", "RGB"):
        pytest.skip("JPEG holds neither")
    array = shapes() if mode in ("L", "I;16", "F") else shapes(colours=3)
    dtype = {"I;16": np.uint16, "F": np.float32}.get(mode, np.uint8)
    picture = Image.fromarray(array.astype(dtype) * (200 if mode == "I;16" else 1))
    picture = picture.convert(mode) if mode in ("P", "RGBA") else picture
    picture.save(tmp_path / "a.tif", compression=compression)
    found = read_volume(tmp_path / "a.tif").array[0]
    with Image.open(tmp_path / "a.tif") as again:
        wanted = np.asarray(again.convert("RGB") if mode == "P" else again)
    if compression == "jpeg":
        assert np.abs(found.astype(int) - wanted).mean() < 2
    else:
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(("dtype", "colours"), [("uint16", 0), ("uint16", 3), ("float32", 0)])
def test_tiles_that_would_lose_their_depth_are_refused(tmp_path, dtype, colours):
    array = shapes(64, 64, colours).astype(dtype) * 200
    tifffile.imwrite(tmp_path / "a.tif", array, tile=(16, 16), photometric="rgb" if colours else "minisblack")
    with pytest.raises(FileError):
        read_volume(tmp_path / "a.tif")


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "I;16"])
def test_kinds_of_png(tmp_path, mode):
    if mode == "I;16":
        picture = Image.fromarray(shapes().astype(np.uint16) * 200)
    elif mode in ("RGBA", "RGB"):
        picture = Image.fromarray(shapes(colours=3)).convert(mode)
    else:
        picture = Image.fromarray(shapes()).convert(mode)
    picture.save(tmp_path / "a.png")
    wanted = np.asarray(picture.convert("RGB") if mode == "P" else picture)
    wanted = wanted.astype(np.uint8) * 255 if mode == "1" else wanted
    found = read_volume(tmp_path / "a.png").array[0]
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA"])
def test_kinds_of_bmp(tmp_path, mode):
    picture = Image.fromarray(shapes(47, 61, 3) if mode != "L" else shapes(47, 61)).convert(mode)
    picture.save(tmp_path / "a.bmp")
    wanted = np.asarray(picture.convert("L" if mode == "L" else "RGB"))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.bmp").array[0], wanted)
    data = bytearray((tmp_path / "a.bmp").read_bytes())
    struct.pack_into("<i", data, 22, -47)
    (tmp_path / "down.bmp").write_bytes(data)
    np.testing.assert_array_equal(read_volume(tmp_path / "down.bmp").array[0], wanted[::-1])


@pytest.mark.parametrize("rows", [2**31 - 1, -(2**31), -47_000, 48, 46, 0])
def test_a_bmp_whose_size_is_not_its_own(tmp_path, rows):
    Image.fromarray(shapes(47, 61)).save(tmp_path / "a.bmp")
    data = bytearray((tmp_path / "a.bmp").read_bytes())
    struct.pack_into("<i", data, 22, rows)
    (tmp_path / "a.bmp").write_bytes(data)
    with pytest.raises(FileError):
        read_volume(tmp_path / "a.bmp")


@pytest.mark.parametrize(
    "kind", ["CMYK JPEG", "1-bit TIFF", "CMYK TIFF", "RLE BMP", "WebP", "grey TIFF with alpha"]
)
def test_other_kinds_are_refused_with_a_word(tmp_path, kind):
    path = tmp_path / "a"
    if kind == "CMYK JPEG":
        Image.fromarray(shapes(colours=3)).convert("CMYK").save(path, "JPEG")
    elif kind == "1-bit TIFF":
        Image.fromarray(shapes()).convert("1").save(path, "TIFF")
    elif kind == "CMYK TIFF":
        Image.fromarray(shapes(colours=3)).convert("CMYK").save(path, "TIFF")
    elif kind == "WebP":
        Image.fromarray(shapes(colours=3)).save(path, "WEBP")
    elif kind == "RLE BMP":
        Image.fromarray(shapes()).save(path, "BMP")
        data = bytearray(path.read_bytes())
        data[30] = 1
        path.write_bytes(data)
    else:
        Image.fromarray(shapes()).convert("LA").save(path, "TIFF")
    with pytest.raises(FileError, match="does not read|can read|transparency"):
        read_volume(path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_cut_picture_is_an_error(tmp_path, kind, share):
    Image.fromarray(shapes(colours=3)).save(tmp_path / "a", kind)
    data = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(FileError):
        read_volume(tmp_path / "a")


def test_a_png_of_a_billion_pixels(tmp_path):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 0, 0, 0, 0)
    packed = zlib.compress(bytes(10_000_000), 9) * 3
    for body, word in ((packed, "pixels"), (b"x", "pixels")):
        data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
        (tmp_path / "a.png").write_bytes(data)
        with pytest.raises(FileError, match=word):
            read_volume(tmp_path / "a.png")
    # Within the bound of a picture, but more than the bytes can hold.
    small = head[:0] + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(data.replace(chunk(b"IHDR", head), chunk(b"IHDR", small)))
    with pytest.raises(FileError, match="damaged"):
        read_volume(tmp_path / "a.png")


def test_cases_take_jfif_and_bmp_and_count_webp(tmp_path):
    from MedPrepCommonLib.cases import layouts

    for name, kind in (("a.jfif", "JPEG"), ("b.bmp", "BMP"), ("c.webp", "WEBP"), ("d.WEBP", "WEBP")):
        Image.fromarray(shapes(colours=3)).save(tmp_path / name, kind)
    found = layouts.read(tmp_path, "folder")
    assert [row["image"] for row in found.rows] == ["a.jfif", "b.bmp"]
    assert sum(found.left.values()) == 2 and ".webp" in next(iter(found.left))
