"""The report's evidence, taken while the images are at hand: slice pictures, histograms, statistics.

Pictures show the input, every image result and every label map (outlined on the input) along the same patient
planes. Everything is plain data and PNG bytes, so that a report can be made again without the images.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ..core.i18n import _
from ..core.job import Job
from ..core.result import Curve, Figure
from ..core.volume import LabelVolume, Volume
from . import drawing, slices

# What a CT is shown with when nothing says better: soft tissue, DICOM viewers' usual default.
_CT_WINDOW = (40.0, 400.0)
# Voxels that a histogram and percentiles are taken from.
_SAMPLE = 2_000_000
_BINS = 128
# Pixels along the longer side of a picture in an overview of many cases.
_THUMBNAIL = 256
# Share of the image from which on a label map is what the image is about (lungs, not clips).
_ORGAN = 0.01
# Hues that stay apart for most colour-blind readers too (orange, sky blue, green, yellow, magenta), and how
# far apart two labels' hues must be.
_HUES = (0.08, 0.56, 0.40, 0.16, 0.87)
_HUES_APART = 0.07


def rows(
    inputs: Mapping[str, Volume],
    images: Mapping[str, Volume],
    labels: Mapping[str, LabelVolume],
    steps: list[dict[str, Any]],
    job: Job,
) -> Iterator[tuple[dict[str, Any], list[bytes]]]:
    """Picture rows: what the report says about each (title, note, legend, cells) with one PNG per cell.

    Parameters
    ----------
    inputs : the recipe's inputs by name; the first image is the "before".
    images, labels : what the recipe made, by name.
    steps : the record's steps: the first window or clip among them is how the input is shown.
    """
    frame = next((v for v in inputs.values() if not isinstance(v, LabelVolume)), None)
    if frame is None:
        return
    turn = slices.straightening(frame)
    before, images, labels = (
        {name: _turned(volume, turn) for name, volume in group.items()} for group in (inputs, images, labels)
    )
    frame = _turned(frame, turn)
    point = _point(frame, labels)
    window = display_of(frame, steps)
    plan: list[tuple[str, str, Volume, tuple[float, float], LabelVolume | None]] = []
    for name, volume in before.items():
        if isinstance(volume, LabelVolume):
            plan.append((_("Before: {name} on the input").format(name=name), name, frame, window, volume))
        else:
            own = window if volume is frame else display_of(volume, steps)
            plan.append((_("Before: {name}, as it came").format(name=name), name, volume, own, None))
    for name, volume in images.items():
        plan.append((_("After: {name}").format(name=name), name, volume, display_of(volume, []), None))
    for name, volume in labels.items():
        plan.append(
            (_("Labels: {name}, outlined on the input").format(name=name), name, frame, window, volume)
        )
    for n, (title, name, volume, shown, overlay) in enumerate(plan):
        job.report(n / len(plan), _("Pictures"))
        own = slices.middle_of_labels(overlay) if overlay is not None else None
        if overlay is not None and own is None:
            continue
        yield _row(title, name, volume, shown, overlay, slices.cuts(frame, point if own is None else own))


def _row(
    title: str,
    name: str,
    volume: Volume,
    window: tuple[float, float],
    overlay: LabelVolume | None,
    cuts: tuple[slices.Cut, ...],
) -> tuple[dict[str, Any], list[bytes]]:
    low, high = _black_and_white(window)
    colors = outline_colors(overlay) if overlay is not None else {}
    cells, pictures = [], []
    for cut in cuts:
        rgb = _drawn(volume, cut, low, high)
        if overlay is not None:
            drawing.outline(rgb, slices.sample_nearest(overlay, cut), colors)
        drawing.annotate(rgb, cut)
        bar = drawing.scale_bar(cut)
        where = f"{'RAS'[cut.plane.across]} = {cut.position:.1f} mm"
        if cut.plane.name == "projection":
            where = _("as projected") if cut.measured else _("size not known")
        cells.append(
            {
                "name": name,
                "plane": cut.plane.name,
                "position": where,
                "scaleBar": bar,
                "size": [cut.size[1], cut.size[0]],
                "alt": _alt(title, cut),
            }
        )
        pictures.append(drawing.png(rgb))
    named = {s.value: s.name for s in overlay.segments} if overlay is not None else {}
    legend = [
        {"name": named.get(v, _("label {value}").format(value=v)), "color": _hex(c)}
        for v, c in colors.items()
    ]
    note = "" if volume.array.dtype == np.uint8 and volume.components > 1 else _shown(low, high, volume)
    return {"title": title, "note": note, "legend": legend, "cells": cells}, pictures


def thumbnail(
    inputs: Mapping[str, Volume],
    images: Mapping[str, Volume],
    labels: Mapping[str, LabelVolume],
    steps: list[dict[str, Any]],
) -> bytes:
    """PNG of one slice through the middle of the first image (else input), labels outlined; b"" without any.

    Parameters
    ----------
    inputs, images, labels, steps : as for :func:`rows`.
    """
    image = next(iter(images.values()), None)
    frame = image or next((v for v in inputs.values() if not isinstance(v, LabelVolume)), None)
    if frame is None:
        return b""
    low, high = _black_and_white(display_of(frame, [] if image else steps))
    turn = slices.straightening(frame)
    frame, labels = _turned(frame, turn), {name: _turned(volume, turn) for name, volume in labels.items()}
    found = slices.cuts(frame, _point(frame, labels), _THUMBNAIL)
    cut = found[len(found) // 2 if len({c.plane for c in found}) == 1 else 0]
    rgb = _drawn(frame, cut, low, high)
    for overlay in labels.values():
        drawing.outline(rgb, slices.sample_nearest(overlay, cut), outline_colors(overlay), 1)
    drawing.annotate(rgb, cut)
    return drawing.png(rgb)


def _drawn(volume: Volume, cut: slices.Cut, low: float, high: float) -> np.ndarray:
    """One slice of an image as RGB."""
    values = slices.sample(volume, cut)
    if _is_field(volume):
        return drawing.diverging(values, low, high)
    if _is_cleared(volume):
        nearest = slices.sample_nearest(volume, cut).reshape(*cut.size, -1)
        values[(nearest == 0).all(axis=2)] = np.nan
    return drawing.gray(values, low, high)


def _black_and_white(window: tuple[float, float]) -> tuple[float, float]:
    return window[0] - window[1] / 2, window[0] + window[1] / 2


def _alt(title: str, cut: slices.Cut) -> str:
    left, right, top, bottom = cut.plane.letters
    if cut.plane.name == "projection":
        return _("{title}. Projection, as the file shows it.").format(title=title)
    return _(
        "{title}. {plane} slice; left edge {left}, right edge {right}, top {top}, bottom {bottom}."
    ).format(title=title, plane=cut.plane.name.capitalize(), left=left, right=right, top=top, bottom=bottom)


def _is_field(volume: Volume) -> bool:
    """Whether its values lie on either side of a neutral one, as a bias field's do."""
    return volume.components == 1 and volume.info.get("colors") == "diverging"


def _is_cleared(volume: Volume) -> bool:
    """Whether everything around the patient was set to 0, although 0 is no dark value (mean 0, deviation 1).

    Drawn as it is, the background would be as bright as grey matter.
    """
    array = volume.array
    if array.dtype.kind != "f" or is_hounsfield(volume):
        return False
    ends = tuple(slice(None, None, max(n - 1, 1)) for n in volume.shape)
    return not array[ends].any() and bool(some(volume).min() < 0)


def _shown(low: float, high: float, volume: Volume) -> str:
    if _is_field(volume):
        return _("blue {low}, grey {middle}, red {high}").format(
            low=f"{low:.3g}", middle=f"{(low + high) / 2:.3g}", high=f"{high:.3g}"
        )
    unit = " HU" if is_hounsfield(volume) else ""
    text = _("black {low}, white {high}").format(low=f"{low:g}{unit}", high=f"{high:g}{unit}")
    if _is_cleared(volume):
        text += _("; the 0 around it: black")
    if volume.components > 1:
        names = volume.info.get("channelNames") or range(1, volume.components + 1)
        colors = (_("red"), _("green"), _("blue"), _("not shown"))
        text += "; " + ", ".join(f"{c}: {n}" for c, n in zip(colors, names, strict=False))
    return text


def display_of(volume: Volume, steps: list[dict[str, Any]]) -> tuple[float, float]:
    """(level, width) to show an image with: the first window or clip, its own, CT's, or its range."""
    if volume.array.dtype == np.uint8:
        return 127.5, 255.0
    for step in steps:
        values = step["parameters"]
        if {"level", "width"} <= values.keys():
            return float(values["level"]), float(values["width"])
        if step["operation"].endswith("clip") and {"low", "high"} <= values.keys():
            low, high = float(values["low"]), float(values["high"])
            return (low + high) / 2, high - low
    if volume.display is not None:
        return volume.display
    if is_hounsfield(volume):
        return _CT_WINDOW
    low, high = (float(v) for v in np.percentile(some(volume), (0.5, 99.5)))
    if high <= low:
        low, high = low - 0.5, low + 0.5
    return (low + high) / 2, high - low


def is_hounsfield(volume: Volume) -> bool:
    """Whether the values of a CT are still Hounsfield units: air is among them."""
    return volume.modality == "CT" and volume.components == 1 and float(volume.array.min()) < -200


def statistics(volume: Volume) -> dict[str, float | int]:
    """Smallest, largest, mean, standard deviation and median of an image; voxel counts of labels."""
    array = volume.array
    if isinstance(volume, LabelVolume):
        return {"labelled voxels": int(np.count_nonzero(array)), "voxels": int(array.size)}
    low, high = array.min().item(), array.max().item()
    mean = float(array.mean(dtype=np.float64))
    # Slab by slab: a float64 copy of the whole image would need eight bytes per voxel.
    squares = sum(float(np.square(slab - mean, dtype=np.float64).sum()) for slab in array)
    spread = (squares / array.size) ** 0.5
    return {"min": low, "max": high, "mean": mean, "std": spread, "median": float(np.median(some(volume)))}


def histogram(name: str, volume: Volume) -> Figure:
    """Shares of voxels over their values, from about two million voxels spread over the image."""
    values = some(volume)
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind in "iu":
        width = max(1.0, np.ceil((high - low + 1) / _BINS))
        edges = low - 0.5 + width * np.arange(int(np.ceil((high - low + 1) / width)) + 1)
    else:
        edges = np.linspace(low, high if high > low else low + 1.0, _BINS + 1)
    centres = tuple((edges[:-1] + edges[1:]) / 2)
    curves = []
    channels = [values] if volume.components == 1 else list(values.T)
    names = volume.info.get("channelNames") or range(1, len(channels) + 1)
    for channel, title in zip(channels, [name] if len(channels) == 1 else names, strict=False):
        shares = 100.0 * np.histogram(channel, edges)[0] / channel.size
        curves.append(Curve(str(title), centres, tuple(float(s) for s in shares)))
    unit = _("value (HU)") if is_hounsfield(volume) else _("value")
    return Figure(_("Histogram of {name}").format(name=name), unit, _("voxels (%)"), tuple(curves))


def some(volume: Volume) -> np.ndarray:
    """About `_SAMPLE` voxels at equal distances in memory order: (n,) or (n, component)."""
    array = volume.array
    flat = array.reshape(-1) if array.ndim == 3 else array.reshape(-1, array.shape[3])
    # An odd step that shares no factor with the row length would be ideal; odd is enough in practice.
    step = max(1, len(flat) // _SAMPLE) | 1
    return flat[::step]


def _point(frame: Volume, labels: Mapping[str, LabelVolume]) -> np.ndarray:
    """RAS point of the slices: the middle of the largest organ-sized label map, or else of the body."""
    largest, most = None, _ORGAN * frame.array.size / frame.components * frame.voxel_volume
    for volume in labels.values():
        size = float(np.count_nonzero(volume.array)) * volume.voxel_volume
        if size > most:
            largest, most = volume, size
    found = slices.middle_of_labels(largest) if largest is not None else None
    return slices.middle_of_image(frame) if found is None else found


def _turned(volume: Volume, turn: np.ndarray) -> Volume:
    return volume.with_array(volume.array, ijkToRAS=turn @ volume.ijkToRAS)


def outline_colors(overlay: LabelVolume) -> dict[int, tuple[float, float, float]]:
    """A strong colour per label value, its segment's own where that stands out.

    Anatomy colours are made for surfaces in 3-D: pale, and nearly the same for a pair of organs. A thin line
    on grey needs saturation, and neighbours need different hues.
    """
    segments = {s.value: s.color for s in overlay.segments}
    values = list(segments) or [int(v) for v in np.unique(overlay.array) if v]
    own = {value: colorsys.rgb_to_hsv(*segments.get(value, (0.5, 0.5, 0.5))) for value in values}
    hues: dict[int, float] = {}
    for value, (hue, saturation, _brightness) in own.items():
        if saturation >= 0.1 and _nearest_hue(hue, hues.values()) >= _HUES_APART:
            hues[value] = hue
    for value in values:
        if value not in hues:
            hues[value] = max(_HUES, key=lambda hue: _nearest_hue(hue, hues.values()))
    return {
        value: colorsys.hsv_to_rgb(hues[value], max(own[value][1], 0.7), max(own[value][2], 0.95))
        for value in values
    }


def _nearest_hue(hue: float, others: Iterable[float]) -> float:
    """Distance on the colour circle (0 to 0.5) to the nearest of the others."""
    return min((min(abs(hue - o), 1 - abs(hue - o)) for o in others), default=0.5)


def _hex(color: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{round(255 * min(max(c, 0.0), 1.0)):02x}" for c in color)
