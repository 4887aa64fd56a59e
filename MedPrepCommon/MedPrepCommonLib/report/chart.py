"""Figures as inline SVG: no plotting package, sharp on paper, colours follow the page's theme."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

import numpy as np

from ..core.i18n import _
from ..core.result import Figure

_WIDTH, _HEIGHT = 520, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 506, 14, 214
# Horizontal detail that a screen can show; longer curves keep the highest value of each step.
_DETAIL = 450
# A histogram with an air peak this much above its typical bin is readable on a logarithmic scale only.
_LOG_RATIO = 100.0

_Line = tuple[str, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class _Axes:
    """Ranges and ticks of a chart; y values are already logarithms when `logarithmic`."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    x_ticks: list[float]
    y_ticks: list[float]
    logarithmic: bool

    def x(self, value: np.ndarray | float) -> np.ndarray | float:
        low, high = self.x_range
        return _LEFT + (value - low) / (high - low) * (_RIGHT - _LEFT)

    def y(self, value: np.ndarray | float) -> np.ndarray | float:
        low, high = self.y_range
        return _BOTTOM - (value - low) / (high - low) * (_BOTTOM - _TOP)


def svg(figure: Figure) -> str:
    """`figure` as an accessible ``<svg>`` element that scales with the page, with a legend if needed."""
    lines = _finite(figure)
    if not lines:
        return f'<p class="muted">{escape(_("No data."))}</p>'
    lines, axes = _scaled(lines)
    drawn = [_grid(axes)]
    for index, (_name, x, y) in enumerate(lines):
        px, py = _thin(axes.x(x), axes.y(y))
        path = "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(px, py, strict=True))
        drawn.append(
            f'<path class="area c{index % 6}" d="M{px[0]:.1f} {_BOTTOM}L{path}L{px[-1]:.1f} {_BOTTOM}Z"/>'
        )
        drawn.append(f'<path class="line c{index % 6}" d="M{path}"/>')
    drawn.append(_titles(figure, axes.logarithmic))
    spoken = escape(_spoken(figure))
    head = f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{spoken}">'
    return f"{head}{''.join(drawn)}</svg>{_legend(lines)}"


def _finite(figure: Figure) -> list[_Line]:
    """The curves without NaN and infinite points; empty ones are left out."""
    found = []
    for curve in figure.curves:
        x, y = np.array(curve.x, float), np.array(curve.y, float)
        good = np.isfinite(x) & np.isfinite(y)
        if good.any():
            found.append((curve.name, x[good], y[good]))
    return found


def _scaled(lines: list[_Line]) -> tuple[list[_Line], _Axes]:
    everything = np.concatenate([y for _name, _x, y in lines])
    logarithmic = _wants_logarithm(everything)
    if logarithmic:
        floor = float(everything[everything > 0].min())
        lines = [(name, x, np.log10(np.maximum(y, floor))) for name, x, y in lines]
    x_low, x_high = (float(f([f(x) for _name, x, _y in lines])) for f in (np.min, np.max))
    y_low, y_high = (float(f([f(y) for _name, _x, y in lines])) for f in (np.min, np.max))
    x_ticks, x_range = _ticks(x_low, x_high, 6, tight=True)
    if logarithmic:
        y_ticks = [float(n) for n in range(math.ceil(y_low - 1e-9), math.floor(y_high + 1e-9) + 1)]
        y_ticks, y_range = (
            y_ticks[:: max(1, -(-len(y_ticks) // 6))],
            (y_low, y_high + 0.05 * (y_high - y_low)),
        )
    else:
        y_ticks, y_range = _ticks(min(y_low, 0.0), max(y_high, 0.0), 5, tight=False)
    return lines, _Axes(x_range, y_range, x_ticks, y_ticks, logarithmic)


def _grid(axes: _Axes) -> str:
    parts = []
    for tick in axes.y_ticks:
        y = axes.y(tick)
        label = _number(10**tick if axes.logarithmic else tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    for tick in axes.x_ticks:
        x, label = axes.x(tick), _number(tick)
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{_BOTTOM}" y2="{_BOTTOM + 4}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{_BOTTOM + 17}" text-anchor="middle">{label}</text>')
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_RIGHT}" y1="{_BOTTOM}" y2="{_BOTTOM}"/>')
    return "".join(parts)


def _titles(figure: Figure, logarithmic: bool) -> str:
    x, y = (_LEFT + _RIGHT) / 2, (_TOP + _BOTTOM) / 2
    y_title = _("{title}, log scale").format(title=figure.y_title) if logarithmic else figure.y_title
    middle = 'class="title" text-anchor="middle"'
    return (
        f'<text {middle} x="{x}" y="{_HEIGHT - 8}">{escape(figure.x_title)}</text>'
        f'<text {middle} transform="translate(13 {y}) rotate(-90)">{escape(y_title)}</text>'
    )


def _legend(lines: list[_Line]) -> str:
    if len(lines) < 2:
        return ""
    chips = (
        f'<li><span class="chip c{n % 6}"></span>{escape(name)}</li>'
        for n, (name, _x, _y) in enumerate(lines)
    )
    return f'<ul class="legend">{"".join(chips)}</ul>'


def _spoken(figure: Figure) -> str:
    """What a screen reader says: the title, the axes, and where each curve peaks."""
    peaks = []
    for curve in figure.curves:
        if len(curve.y):
            top = int(np.nanargmax(np.array(curve.y, float))) if np.isfinite(curve.y).any() else 0
            peaks.append(_("{name} peaks at {x}").format(name=curve.name, x=_number(float(curve.x[top]))))
    return _("{title}: {y} over {x}. {peaks}.").format(
        title=figure.title, y=figure.y_title, x=figure.x_title, peaks="; ".join(peaks)
    )


def _wants_logarithm(values: np.ndarray) -> bool:
    positive = values[values > 0]
    return bool(
        positive.size > 20
        and (values >= 0).all()
        and positive.max() > _LOG_RATIO * float(np.median(positive))
    )


def _ticks(low: float, high: float, wanted: int, tight: bool) -> tuple[list[float], tuple[float, float]]:
    """Round tick values, and the ends of the axis: the data's own when `tight`, else the outer ticks."""
    if high <= low:
        low, high = low - 0.5, low + 0.5
    raw = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9) if tight else math.floor(low / step + 1e-9)
    last = math.floor(high / step + 1e-9) if tight else math.ceil(high / step - 1e-9)
    ticks = [n * step for n in range(first, last + 1)]
    return ticks, ((low, high) if tight else (ticks[0], ticks[-1]))


def _thin(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most `_DETAIL` points of a curve on the screen (y downwards): the highest of each stretch."""
    if len(x) <= _DETAIL:
        return x, y
    kept = [part[np.argmin(y[part])] for part in np.array_split(np.arange(len(x)), _DETAIL)]
    return x[kept], y[kept]


def _number(value: float) -> str:
    """Short text of a tick: 1200000 as 1.2M, 0.5 as 0.5, with a real minus sign."""
    size = abs(value)
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= limit:
            scale = 1e3 if unit == "k" else limit
            text = f"{value / scale:g}{unit}"
            break
    else:
        text = f"{value:.4g}"
    return text.replace("-", "−")
