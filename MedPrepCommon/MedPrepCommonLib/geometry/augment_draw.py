"""Draws what one variant of an augmented image is made by, from a seed, exactly repeatable.

Each aspect (rotation, lattice, noise, ...) has a random stream of its own: leaving one out, or asking for
more variants, changes no other. Axes are anatomical (superior, anterior, right), so it does not matter how
the image is stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..numeric.intensity_augment import Intensities, bias_shape
from .deformation import Deformation, control_points, rotation

# Places in the tree of seeds; the numbers must stay, or old seeds give other images.
_ROTATION, _SCALE, _SHIFT, _LATTICE, _FLIP, _BIAS, _GAMMA, _NOISE, _BLUR, _NOISE_FIELD = range(10)

# Voxels whose values tell images apart.
_KEY_VOXELS = 4096


@dataclass(frozen=True)
class Frame:
    """What drawing needs to know of an image: its grid along superior, anterior, right, and its intensities.

    Parameters
    ----------
    shape, spacing : along superior, anterior, right; mm.
    through : axis along which nothing moves (of one single voxel, or across thick slices), or None.
    lowest : smallest value. low, high : range of contrast. rician : kind of noise.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    through: int | None
    lowest: float
    low: float
    high: float
    rician: bool


@dataclass(frozen=True)
class Drawn:
    """What one variant is made by.

    Parameters
    ----------
    angles : degrees about superior, anterior, right, by the right-hand rule in RAS.
    scale : of the anatomy, above 1 larger. shift : mm towards superior, anterior, right.
    lattice : mm, (3, a, b, c), or None. flips : along superior, anterior, right.
    """

    angles: tuple[float, float, float]
    scale: float
    shift: tuple[float, float, float]
    lattice: np.ndarray | None
    distance: float
    flips: tuple[bool, bool, bool]
    intensities: Intensities
    blur: float

    @property
    def moves(self) -> bool:
        """Whether voxels have to be interpolated."""
        return any(self.angles) or self.scale != 1 or any(self.shift) or self.lattice is not None

    def deformation(self, frame: Frame) -> Deformation:
        """The map from output voxels to input places; flips come before it."""
        # The right-hand rule turns the other way on axes in the order superior, anterior, right.
        turn = rotation(tuple(-np.radians(angle) for angle in self.angles))
        size = np.full(3, self.scale)
        if frame.through is not None:
            size[frame.through] = 1.0
        matrix = turn.T / size[:, None]
        return Deformation(
            frame.shape, frame.spacing, matrix, -matrix @ np.array(self.shift), self.lattice, self.distance
        )


def key_of(array: np.ndarray) -> int:
    """A number that differs between images and not between types or ways of storing one image.

    Parameters
    ----------
    array : (superior, anterior, right).
    """
    steps = [max(1, round(n / _KEY_VOXELS ** (1 / 3))) for n in array.shape]
    some = np.array(array[tuple(slice(None, None, step) for step in steps)], "<f4", order="C")
    some += np.float32(0)  # -0.0 is 0.0
    digest = hashlib.sha256(repr(array.shape).encode() + some.tobytes()).digest()
    return int.from_bytes(digest[:8], "little")


def draw(op: Any, frame: Frame, key: int, variant: int) -> Drawn:
    """What variant number `variant` (from 0) of the image with this key is made by.

    Parameters
    ----------
    op : the operation, whose ranges and seed are used.
    """

    def seed(*branch: int) -> np.random.SeedSequence:
        return np.random.SeedSequence(op.seed, spawn_key=(key >> 32, key & 0xFFFFFFFF, variant, *branch))

    def stream(aspect: int) -> np.random.Generator:
        return np.random.default_rng(seed(aspect))

    free = [axis != frame.through for axis in range(3)]
    angles = stream(_ROTATION).uniform(-1, 1, 3) * op.rotation
    if frame.through is not None:
        angles *= [axis == frame.through for axis in range(3)]
    share = stream(_SHIFT).uniform(-1, 1, 3) * op.translation / 100
    fieldOfView = np.array(frame.shape) * frame.spacing
    return Drawn(
        angles=tuple(float(a) + 0.0 for a in angles),
        scale=1 + float(stream(_SCALE).uniform(-1, 1)) * op.scale / 100,
        shift=tuple(float(s) + 0.0 for s in share * fieldOfView * free),
        lattice=_lattice(op, frame, stream(_LATTICE)),
        distance=op.elasticSpacing,
        flips=_flips(op, frame, stream(_FLIP)),
        blur=(blur := float(stream(_BLUR).uniform(0, 1)) * op.blur),
        intensities=_intensities(op, frame, blur, stream, lambda k: seed(_NOISE_FIELD, k)),
    )


def _lattice(op: Any, frame: Frame, stream: np.random.Generator) -> np.ndarray | None:
    if op.elasticDisplacement == 0:
        return None
    counts = [
        1 if axis == frame.through else count
        for axis, count in enumerate(control_points(frame.shape, frame.spacing, op.elasticSpacing))
    ]
    lattice = stream.uniform(-op.elasticDisplacement, op.elasticDisplacement, (3, *counts))
    if frame.through is not None:
        lattice[frame.through] = 0.0
    return lattice


def _flips(op: Any, frame: Frame, stream: np.random.Generator) -> tuple[bool, bool, bool]:
    chances = stream.uniform(0, 1, 3) < 0.5
    allowed = {"none": (), "leftRight": (2,), "all": (0, 1, 2)}[op.flip]
    return tuple(bool(chances[axis]) and axis in allowed and frame.shape[axis] > 1 for axis in range(3))


def _intensities(
    op: Any,
    frame: Frame,
    blur: float,
    stream: Callable[[int], np.random.Generator],
    seed: Callable[[int], np.random.SeedSequence],
) -> Intensities:
    sigma = [0.0 if n == 1 else blur / step for n, step in zip(frame.shape, frame.spacing, strict=True)]
    if frame.through is not None:
        sigma[frame.through] = 0.0
    bias = stream(_BIAS).uniform(-1, 1, bias_shape(frame.shape)) * op.biasField if op.biasField else None
    # Exponents g and 1 / g are as likely.
    exponent = float(np.exp(stream(_GAMMA).uniform(-1, 1) * np.log1p(op.gamma)))
    noise = float(stream(_NOISE).uniform(0, 1)) * op.noise / 100 * (frame.high - frame.low)
    return Intensities(
        tuple(sigma), exponent, frame.low, frame.high, bias, min(0.0, frame.lowest), noise, frame.rician, seed
    )
