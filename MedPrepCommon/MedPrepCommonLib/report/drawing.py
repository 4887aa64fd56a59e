"""Turns slices into pictures: grey values, label outlines, side letters, a scale bar, PNG bytes.

Letters and bar are drawn into the picture itself: a picture that is copied out of the report must still say
which side is right.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from .slices import Cut

_LETTER = 22.0
_MARGIN = 10.0
_WHITE = np.array([1.0, 1.0, 1.0], np.float32)

# Letters as strokes in a box one wide and one high, y downwards.


def _bow(top: float, bottom: float, left: float = 0.1, right: float = 0.85) -> list[tuple[float, float]]:
    """Half an ellipse to the right, from `left` at `top` back to `left` at `bottom`."""
    angles = np.linspace(-np.pi / 2, np.pi / 2, 9)
    straight = (left + right) / 2
    height = (bottom - top) / 2
    bow = [
        (straight + (right - straight) * np.cos(t), (top + bottom) / 2 + height * np.sin(t)) for t in angles
    ]
    return [(left, top), *bow, (left, bottom)]


_GLYPHS: dict[str, list[list[tuple[float, float]]]] = {
    "R": [[(0.1, 1.0), (0.1, 0.0)], _bow(0.0, 0.52), [(0.45, 0.52), (0.9, 1.0)]],
    "L": [[(0.15, 0.0), (0.15, 1.0), (0.85, 1.0)]],
    "A": [[(0.0, 1.0), (0.5, 0.0), (1.0, 1.0)], [(0.19, 0.65), (0.81, 0.65)]],
    "P": [[(0.1, 1.0), (0.1, 0.0)], _bow(0.0, 0.55)],
    "I": [[(0.5, 0.0), (0.5, 1.0)]],
    "S": [
        [
            (0.5 + 0.38 * x, y)
            for x, y in (
                (0.95, 0.2),
                (0.75, 0.07),
                (0.4, 0.0),
                (0.0, 0.0),
                (-0.45, 0.02),
                (-0.8, 0.1),
                (-0.95, 0.25),
                (-0.8, 0.39),
                (-0.4, 0.46),
                (0.0, 0.5),
                (0.45, 0.55),
                (0.85, 0.63),
                (1.0, 0.77),
                (0.85, 0.91),
                (0.45, 0.99),
                (0.0, 1.0),
                (-0.45, 0.99),
                (-0.8, 0.92),
                (-1.0, 0.78),
            )
        ]
    ],
}


def gray(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """(rows, columns) or (rows, columns, 1-4) values as RGB in [0, 1]; NaN (outside the image) is black.

    Two and more channels become red, green and blue.
    """
    scaled = np.clip((values - low) / max(high - low, 1e-12), 0.0, 1.0)
    scaled = np.nan_to_num(scaled, nan=0.0).astype(np.float32)
    if scaled.ndim == 2:
        return np.repeat(scaled[:, :, None], 3, axis=2)
    rgb = np.zeros((*scaled.shape[:2], 3), np.float32)
    rgb[:, :, : min(3, scaled.shape[2])] = scaled[:, :, :3]
    return rgb


def diverging(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """(rows, columns) values as RGB in [0, 1]: blue at `low`, grey midway, red at `high`; NaN is black."""
    ends = np.array([(0.23, 0.30, 0.75), (0.71, 0.02, 0.15)], np.float32)
    middle = np.float32(0.87)
    place = np.clip((values - low) / max(high - low, 1e-12), 0.0, 1.0)[:, :, None] * 2 - 1
    side = np.where(place < 0, ends[0], ends[1])
    return np.nan_to_num(middle + np.abs(place) * (side - middle), nan=0.0).astype(np.float32)


def outline(
    rgb: np.ndarray, labels: np.ndarray, colors: Mapping[int, tuple[float, float, float]], width: int = 2
) -> None:
    """Draw into `rgb` the border of every label in its colour, `width` pixels wide with a soft edge."""
    for value, color in colors.items():
        inside = labels == value
        if not inside.any():
            continue
        border = inside & ~ndimage.binary_erosion(inside, iterations=width, border_value=1)
        soft = ndimage.gaussian_filter(border.astype(np.float32), 0.6)
        weight = np.minimum(soft * 1.4, 1.0)[:, :, None]
        rgb += weight * (np.array(color, np.float32) - rgb)
        # A light tint keeps small or thin labels visible without hiding what is under them.
        rgb[inside & ~border] *= 0.88
        rgb[inside & ~border] += 0.12 * np.array(color, np.float32)


def annotate(rgb: np.ndarray, cut: Cut) -> None:
    """Draw the four side letters and a 5 cm (1 cm in a small picture) scale bar into `rgb`."""
    rows, columns = rgb.shape[:2]
    if _too_small(cut):
        return
    half = _LETTER / 2
    left, right, top, bottom = cut.plane.letters
    for letter, x, y in (
        (left, _MARGIN + half, rows / 2),
        (right, columns - _MARGIN - half, rows / 2),
        (top, columns / 2, _MARGIN + half),
        (bottom, columns / 2, rows - _MARGIN - half),
    ):
        if not letter:
            continue
        width = _LETTER * 0.72
        strokes = [[(x + (a - 0.5) * width, y + (b - 0.5) * _LETTER) for a, b in s] for s in _GLYPHS[letter]]
        _ink(rgb, strokes)
    length = scale_bar(cut)
    if length:
        end, y = columns - _MARGIN - 2, rows - _MARGIN - 2
        start = end - length / cut.pixel
        _ink(rgb, [[(start, y), (end, y)], [(start, y - 5), (start, y)], [(end, y - 5), (end, y)]])


def _too_small(cut: Cut) -> bool:
    """Whether letters would hide the picture."""
    return min(cut.size) < 3 * _LETTER


def scale_bar(cut: Cut) -> float:
    """Length of the scale bar in mm: 50 or 10, or 0 where neither fits or no length is known."""
    if _too_small(cut) or not cut.measured:
        return 0.0
    room = cut.size[1] / 2 - _LETTER - 2 * _MARGIN
    return next((length for length in (50.0, 10.0) if length / cut.pixel <= room), 0.0)


def _ink(rgb: np.ndarray, strokes: list[list[tuple[float, float]]], thickness: float = 2.6) -> None:
    """Draw polylines (x, y in pixels) in white on a dark halo, with smooth edges."""
    points = np.array([p for stroke in strokes for p in stroke])
    reach = thickness + 3
    x0, y0 = np.floor(points.min(axis=0) - reach).astype(int)
    x1, y1 = np.ceil(points.max(axis=0) + reach).astype(int) + 1
    x0, y0 = max(x0, 0), max(y0, 0)
    patch = rgb[y0:y1, x0:x1]
    y, x = np.mgrid[y0 : y0 + patch.shape[0], x0 : x0 + patch.shape[1]].astype(np.float32)
    distance = np.full(patch.shape[:2], np.inf, np.float32)
    for stroke in strokes:
        for (ax, ay), (bx, by) in zip(stroke[:-1], stroke[1:], strict=True):
            dx, dy = bx - ax, by - ay
            t = np.clip(((x - ax) * dx + (y - ay) * dy) / max(dx * dx + dy * dy, 1e-9), 0, 1)
            np.minimum(distance, np.hypot(x - ax - t * dx, y - ay - t * dy), out=distance)
    halo = np.clip(thickness / 2 + 2.2 - distance, 0, 1)[:, :, None] * 0.6
    white = np.clip(thickness / 2 + 0.5 - distance, 0, 1)[:, :, None]
    patch *= 1 - halo
    patch += white * (_WHITE - patch)


def png(rgb: np.ndarray) -> bytes:
    """A PNG of (rows, columns, 3) values in [0, 1]; stored as grey when it is. The same in, the same out."""
    pixels = np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)
    is_gray = bool((pixels[:, :, 0] == pixels[:, :, 1]).all() and (pixels[:, :, 1] == pixels[:, :, 2]).all())
    if is_gray:
        pixels = pixels[:, :, :1]
    rows, columns = pixels.shape[:2]
    lines = pixels.reshape(rows, -1).astype(np.int16)
    # PNG filter 2 ("up"): each line as its difference from the one above compresses far better.
    lines[1:] -= pixels.reshape(rows, -1)[:-1]
    raw = np.concatenate([np.full((rows, 1), 2, np.uint8), lines.astype(np.uint8)], axis=1).tobytes()
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0 if is_gray else 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(raw, 6)), (b"IEND", b""))
    )
