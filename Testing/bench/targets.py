"""Figures to reach, and whether a measured row reached them."""

from __future__ import annotations

from dataclasses import dataclass

# What threads need for themselves, whatever the size of the image, does not count as memory per voxel.
SCRATCH = 8 << 20


@dataclass(frozen=True)
class Target:
    """A figure to reach; made by :func:`ratio`, :func:`memory`, :func:`quality` or :func:`beside`.

    Parameters
    ----------
    kind : "ratio" (times as fast as the fastest of `group`), "memory" (extra bytes per voxel), "quality".
    limit : what is to be reached; with `group` in a quality target it is added to that group's figure.
    """

    kind: str
    limit: float
    group: str = ""
    figure: str = ""
    at_least: bool = True

    def text(self) -> str:
        """In words."""
        sign = "at least" if self.at_least else "at most"
        if self.kind == "ratio":
            return f"at least {self.limit:g} times as fast as {self.group}"
        if self.kind == "memory":
            return f"at most {self.limit:g} extra bytes per voxel beside {SCRATCH >> 20} MiB"
        if self.group:
            return f"{self.figure} {sign} that of {self.group} {self.limit:+g}"
        return f"{self.figure} {sign} {self.limit:g}"

    def reached(self, value: float, other: float = 0.0) -> bool:
        """Whether `value` reaches it; `other` is the figure of `group` in a quality target."""
        limit = self.limit + other
        return value >= limit if self.at_least else value <= limit


def ratio(group: str, times: float) -> Target:
    """At least `times` as fast as the fastest way of `group`."""
    return Target("ratio", times, group)


def memory(most: float) -> Target:
    """At most `most` extra bytes per voxel."""
    return Target("memory", most, at_least=False)


def quality(figure: str, *, at_most: float | None = None, at_least: float | None = None) -> Target:
    """A quality figure within a bound."""
    if at_most is not None:
        return Target("quality", at_most, figure=figure, at_least=False)
    return Target("quality", float(at_least), figure=figure)


def beside(figure: str, group: str, change: float) -> Target:
    """A quality figure at least that of `group` plus `change`."""
    return Target("quality", change, group, figure)
