"""The brain's surface in a whole-head MRI: a sphere that grows until it meets the dark skull.

Smith, "Fast robust automated brain extraction", Human Brain Mapping 17(3):143-155, 2002. It works wherever
the brain is brighter than the skull around it: T1, T2, PD and FLAIR.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, sparse

from MedPrepCommonLib.core.job import Job
from MedPrepMRILib.brain.head_cells import without_holes

# Of Smith 2002: how far inwards (mm) the darkest and the brightest tissue are looked for, the radii of
# curvature (mm) between which smoothing sets in, and the weight of the image.
_DARK_REACH, _BRIGHT_REACH = 20.0, 10.0
_SHARPEST, _FLATTEST = 3.33, 10.0
_IMAGE_WEIGHT = 0.05
# How far beyond the image (mm) a surface may lie, and edges (cells) beyond which it is no brain's.
_OUTSIDE, _LONGEST_EDGE = 20.0, 30.0
# A coarse surface finds the brain, a fine one its shape.
_ROUNDS = ((3, 400), (4, 150))


@dataclass(frozen=True)
class Levels:
    """Robust intensities of an image: dark and bright end, what counts as signal, and the brain's median."""

    dark: float
    signal: float
    bright: float
    brain: float


def find_surface(
    image: np.ndarray,
    spacing_kji: tuple[float, float, float],
    center: np.ndarray,
    radius: float,
    levels: Levels,
    fraction: float = 0.5,
    job: Job | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Grow a surface from inside the brain to the skull.

    Parameters
    ----------
    image : (k, j, i) float32, on cells of 2 to 3 mm; beyond its edges it counts as dark.
    center : (k, j, i) mm from the first voxel's centre. radius : mm of a sphere as large as the signal.
    fraction : how bright, between 0 (dark) and 1 (brain), the border is; smaller gives a larger brain.

    Returns
    -------
    points (n, 3) in mm, (k, j, i) order, and triangles (m, 3) of their indices.
    """
    job = job or Job.quiet()
    padded = np.pad(image, 1, constant_values=levels.dark)
    look = _Sampler(padded, np.array(spacing_kji))
    ends = (np.array(image.shape) - 1) * np.array(spacing_kji)
    low, high = -_OUTSIDE, ends + _OUTSIDE
    points, total, done = None, sum(n for _level, n in _ROUNDS), 0
    for level, iterations in _ROUNDS:
        directions, triangles = icosphere(level)
        points = center + directions * radius / 2 if points is None else _subdivided(points, level)
        mesh = _Mesh(len(directions), triangles)
        for n in range(iterations):
            if n % 10 == 0:
                spacing = mesh.spacing(points)
                job.report((done + n) / total)
            # A surface that finds no brain would run away: there is nothing far outside of the image.
            points = np.clip(points + _step(points, spacing, mesh, look, levels, fraction), low, high)
        done += iterations
    return points, triangles


def _step(
    points: np.ndarray, spacing: float, mesh: _Mesh, look: _Sampler, levels: Levels, fraction: float
) -> np.ndarray:
    """How every point moves in one iteration, mm; `spacing` is the mean distance of neighbours."""
    normals = mesh.normals(points)
    to_mean = mesh.means @ points - points
    along = np.einsum("nc,nc->n", to_mean, normals)[:, None]
    # Flat parts are left alone, sharp folds are smoothed.
    curvature = 2.0 * np.abs(along) / spacing**2
    middle = (1 / _SHARPEST + 1 / _FLATTEST) / 2
    steepness = 6.0 / (1 / _SHARPEST - 1 / _FLATTEST)
    smoothing = (1.0 + np.tanh(steepness * (curvature - middle))) / 2
    darkest, brightest = look.inwards(points, normals)
    darkest = np.clip(darkest, levels.dark, levels.brain)
    brightest = np.clip(brightest, levels.signal, levels.brain)
    border = levels.dark + fraction * (brightest - levels.dark)
    push = 2.0 * (darkest - border) / (brightest - levels.dark)
    return (
        0.5 * (to_mean - along * normals)
        + smoothing * along * normals
        + _IMAGE_WEIGHT * spacing * push[:, None] * normals
    )


class _Sampler:
    """Darkest and brightest values on the way inwards from a surface, linear between voxels.

    With the nearest voxel, two images that differ by a rounding (another gain or offset) would end in
    surfaces that differ by a percent. Linear interpolation fills thin dark layers, the inner skull above all:
    the darkest values come from an image whose dark parts were made half a voxel wider.
    """

    def __init__(self, padded: np.ndarray, spacing: np.ndarray) -> None:
        self._bright = np.ascontiguousarray(padded)
        darker = ndimage.grey_erosion(padded, footprint=ndimage.generate_binary_structure(3, 1))
        self._dark = np.ascontiguousarray((padded + darker) / 2)
        self._spacing = spacing
        step = max(1.0, float(spacing.min()))
        self._depths = np.arange(step / 2, _DARK_REACH + 0.01, step)
        self._near = int(np.searchsorted(self._depths, _BRIGHT_REACH, "right"))

    def inwards(self, points: np.ndarray, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # One for the padding.
        start, step = points.T / self._spacing[:, None] + 1.0, normals.T / self._spacing[:, None]
        places = start[:, None] - self._depths[:, None] * step[:, None]
        places = Places(places, self._dark.shape)
        darkest = places.read(self._dark).min(axis=0)
        return darkest, places.first(self._near).read(self._bright).max(axis=0)


class Places:
    """Where values are read from an image, linear between voxels; beyond its edges the nearest counts.

    The same as ``scipy.ndimage.map_coordinates`` of order 1 in a third of its time, which is most of a brain
    mask's: what two images share is worked out once.

    Parameters
    ----------
    places : (3, depths, points) in voxels k, j, i. shape : (k, j, i) of the image, each 2 or more.
    """

    def __init__(self, places: np.ndarray, shape: tuple[int, int, int]) -> None:
        self._strides = (shape[1] * shape[2], shape[2], 1)
        self._first, self._shares = 0, []
        for place, n, stride in zip(places, shape, self._strides, strict=True):
            place = np.clip(place, 0, n - 1)
            voxel = np.minimum(place.astype(np.intp), n - 2)
            self._first = self._first + voxel * stride
            self._shares.append((place - voxel).astype(np.float32))

    def first(self, depths: int) -> Places:
        """Only the first `depths`."""
        part = object.__new__(Places)
        part._strides = self._strides
        part._first, part._shares = self._first[:depths], [share[:depths] for share in self._shares]
        return part

    def read(self, image: np.ndarray) -> np.ndarray:
        """The values (depths, points) of a contiguous float32 image."""
        return self._between(image.reshape(-1), 0, self._first)

    def _between(self, flat: np.ndarray, axis: int, index: np.ndarray) -> np.ndarray:
        """Values between the voxel at `index` and the next one along `axis`, and so along the axes after."""
        if axis == 3:
            return flat.take(index)
        low = self._between(flat, axis + 1, index)
        high = self._between(flat, axis + 1, index + self._strides[axis])
        high -= low
        high *= self._shares[axis]
        low += high
        return low


class _Mesh:
    """What stays the same while the points of a triangle mesh move."""

    def __init__(self, count: int, triangles: np.ndarray) -> None:
        self._triangles = triangles
        edges = self._edges = np.unique(_edges(triangles), axis=0)
        rows, columns = np.concatenate([edges, edges[:, ::-1]]).T
        adjacency = sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(count, count))
        self.means = sparse.diags_array(1.0 / adjacency.sum(axis=1)) @ adjacency
        faces = np.arange(len(triangles)).repeat(3)
        self._faces = sparse.csr_array(
            (np.ones(triangles.size), (triangles.reshape(-1), faces)), shape=(count, len(triangles))
        )

    def normals(self, points: np.ndarray) -> np.ndarray:
        """Outward unit normals (n, 3)."""
        a, b, c = (points[self._triangles[:, n]] for n in range(3))
        (x, y, z), (u, v, w) = (b - a).T, (c - a).T
        normals = self._faces @ np.stack([y * w - z * v, z * u - x * w, x * v - y * u], axis=1)
        lengths = np.sqrt(np.einsum("nc,nc->n", normals, normals))
        return normals / np.maximum(lengths, 1e-9)[:, None]

    def spacing(self, points: np.ndarray) -> float:
        """Mean distance of neighbours."""
        a, b = points[self._edges[:, 0]], points[self._edges[:, 1]]
        return float(np.mean(np.linalg.norm(a - b, axis=1)))


def icosphere(level: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit sphere of ``10 * 4**level + 2`` points and its triangles, which turn outwards."""
    golden = (1 + 5**0.5) / 2
    points = np.array(
        [(-1, golden, 0), (1, golden, 0), (-1, -golden, 0), (1, -golden, 0), (0, -1, golden), (0, 1, golden),
         (0, -1, -golden), (0, 1, -golden), (golden, 0, -1), (golden, 0, 1), (-golden, 0, -1),
         (-golden, 0, 1)]
    )  # fmt: skip
    triangles = np.array(
        [(0, 11, 5), (0, 5, 1), (0, 1, 7), (0, 7, 10), (0, 10, 11), (1, 5, 9), (5, 11, 4), (11, 10, 2),
         (10, 7, 6), (7, 1, 8), (3, 9, 4), (3, 4, 2), (3, 2, 6), (3, 6, 8), (3, 8, 9), (4, 9, 5), (2, 4, 11),
         (6, 2, 10), (8, 6, 7), (9, 8, 1)]
    )  # fmt: skip
    points = points / np.linalg.norm(points[0])
    for _ in range(level):
        points, triangles = _split(points, triangles)
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points, triangles


def _subdivided(points: np.ndarray, level: int) -> np.ndarray:
    """Points of the mesh of the level before and the middles of its edges, in icosphere's order."""
    return _split(points, icosphere(level - 1)[1])[0]


def _edges(triangles: np.ndarray) -> np.ndarray:
    """The three edges of every triangle, the smaller index first, those of one kind after another."""
    return np.sort(np.concatenate([triangles[:, [n, (n + 1) % 3]] for n in range(3)]), axis=1)


def _split(points: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every triangle cut in four; the old points come first."""
    unique, index = np.unique(_edges(triangles), axis=0, return_inverse=True)
    ab, bc, ca = index.reshape(3, -1) + len(points)
    a, b, c = triangles.T
    parts = [(a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca)]
    return (
        np.concatenate([points, points[unique].mean(axis=1)]),
        np.concatenate([np.stack(part, axis=1) for part in parts]),
    )


def filled(points: np.ndarray, triangles: np.ndarray, spacing_kji, shape) -> np.ndarray:
    """Cells (k, j, i) bool inside a closed surface given in mm from the first cell's centre.

    None where the surface is torn: its edges are longer than those of any brain's.
    """
    a, b, c = (points[triangles[:, n]] / np.array(spacing_kji) for n in range(3))
    longest = max(np.abs(b - a).max(), np.abs(c - a).max())
    if not longest <= _LONGEST_EDGE:
        return np.zeros(shape, bool)
    steps = int(np.ceil(longest / 0.6)) + 1
    u, v = np.meshgrid(np.linspace(0, 1, steps), np.linspace(0, 1, steps), indexing="ij")
    inside = u + v <= 1.0 + 1e-9
    u, v = u[inside][:, None, None], v[inside][:, None, None]
    # A margin keeps the outside connected where the brain touches the edge of the image.
    index = np.rint(a + u * (b - a) + v * (c - a)).astype(np.intp).reshape(-1, 3) + 2
    np.clip(index, 1, np.array(shape) + 2, out=index)
    cells = np.zeros([n + 4 for n in shape], bool)
    cells[tuple(index.T)] = True
    return without_holes(cells)[2:-2, 2:-2, 2:-2]
