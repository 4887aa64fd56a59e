"""The pieces under the lungs: balls in millimetres, block means, flat volumes, interpolation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from MedPrepCommonLib.core.job import Job
from MedPrepCTLib.grid.coarse_grid import CoarseGrid
from MedPrepCTLib.grid.morphology import bounding_box, close, connected_to, dilate, erode, fill_holes
from MedPrepCTLib.grid.voxel_cells import FlatVolume, interpolate, neighbours

SPACINGS = [(1.0, 1.0, 1.0), (2.0, 2.8, 2.8), (8.0, 2.6, 2.6), (1.3, 0.9, 2.1)]


def blobs(seed: int, shape=(14, 17, 19), share: float = 0.1) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) < share


def near(mask, radius, spacing):
    """Oracle: cells whose exact distance to the mask is within the radius."""
    return ndimage.distance_transform_edt(~mask, sampling=spacing) <= radius + 1e-6


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("radius", [0.0, 1.0, 2.81, 5.0, 9.0])
def test_dilation_is_the_ball_of_the_distance_transform(spacing, radius):
    mask = blobs(1, share=0.01)
    assert np.array_equal(dilate(mask, radius, spacing), near(mask, radius, spacing))
    assert np.array_equal(erode(~mask, radius, spacing), ~near(mask, radius, spacing))


@pytest.mark.parametrize("radius", [2.0, 4.0])
def test_grey_dilation_is_the_largest_value_in_the_ball(radius):
    image = np.random.default_rng(2).integers(0, 256, (9, 10, 11)).astype(np.uint8)
    spacing = (2.0, 1.5, 1.0)
    grown = dilate(image, radius, spacing)
    for level in (40, 128, 250):
        assert np.array_equal(grown >= level, near(image >= level, radius, spacing))
    assert np.array_equal(erode(image, radius, spacing), 255 - dilate(255 - image, radius, spacing))


def test_closing_fills_what_the_ball_cannot_enter_and_keeps_borders():
    slab = np.zeros((20, 20, 20), bool)
    slab[:, :, :12] = True
    slab[8:11, 8:11, 8:12] = False
    closed = close(slab, 4.0, (1.0, 1.0, 1.0))
    # The ball dips into the mouth of the dent by a fraction of a cell, never deeper.
    assert closed[:, :, :11].all() and not closed[:, :, 12:].any()
    wide = slab.copy()
    wide[3:17, 3:17, 6:12] = False
    assert not close(wide, 3.0, (1.0, 1.0, 1.0))[10, 10, 11]


def test_holes_and_components():
    shell = np.zeros((9, 9, 9), bool)
    shell[1:8, 1:8, 1:8] = True
    shell[3:6, 3:6, 3:6] = False
    assert np.array_equal(fill_holes(shell), ndimage.binary_fill_holes(shell))
    tube = shell.copy()
    tube[:, 4, 4] = False
    assert not fill_holes(tube)[4, 4, 4] and fill_holes(tube, axis=0)[4, 4, 4]
    two = np.zeros((3, 3, 7), bool)
    two[1, 1, [0, 1, 5, 6]] = True
    seeds = np.zeros_like(two)
    seeds[1, 1, 6] = True
    assert connected_to(two, seeds).sum() == 2
    assert bounding_box(two) == (slice(1, 2), slice(1, 2), slice(0, 7))
    assert bounding_box(~two & two) is None


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 17), st.integers(1, 17)),
    factors=st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5)),
    kind=st.sampled_from([np.int16, np.uint16, np.int32, np.float32, np.uint8]),
    order=st.permutations(range(3)),
    turned=st.booleans(),
)
def test_block_means(shape, factors, kind, order, turned):
    """Against numpy, for shapes that the blocks do not divide, any number type and layout."""
    values = np.random.default_rng(3).integers(0, 250, shape) * (4 if kind != np.uint8 else 1)
    if kind in (np.int16, np.int32, np.float32):
        values -= 800
    volume = np.ascontiguousarray(values.astype(kind).transpose(order)).transpose(np.argsort(order))
    if turned:
        volume = np.ascontiguousarray(volume[::-1, :, ::-1])[::-1, :, ::-1]
    grid = CoarseGrid(shape, tuple(1.0 / f for f in factors), 1.0)
    assert grid.factors == factors
    means = grid.mean(volume, Job.quiet())
    assert means.shape == grid.shape
    fk, fj, fi = factors
    for k, j, i in np.ndindex(grid.shape):
        block = values[k * fk : (k + 1) * fk, j * fj : (j + 1) * fj, i * fi : (i + 1) * fi]
        assert abs(means[k, j, i] - block.mean()) <= 0.51


def test_block_means_ignore_how_far_metal_and_padding_go():
    volume = np.full((4, 4, 4), -800, np.int16)
    volume[0, 0, 0], volume[0, 0, 1] = 30000, -30000
    mean = CoarseGrid((4, 4, 4), (1, 1, 1), 4.0).mean(volume, Job.quiet())
    assert mean.shape == (1, 1, 1) and abs(int(mean[0, 0, 0]) + 777) <= 1


def test_factors_suit_the_spacing():
    assert CoarseGrid((10, 10, 10), (1.25, 0.7, 0.7), 2.8).factors == (2, 4, 4)
    assert CoarseGrid((10, 10, 10), (8.0, 0.65, 0.65), 2.8).factors == (1, 4, 4)
    assert CoarseGrid((10, 10, 10), (0.6, 4.2, 4.2), 2.8).factors == (5, 1, 1)


@given(order=st.permutations(range(3)), turns=st.tuples(st.booleans(), st.booleans(), st.booleans()))
def test_flat_volume_finds_every_voxel(order, turns):
    values = np.arange(5 * 6 * 7).reshape(5, 6, 7)
    stored = np.ascontiguousarray(values.transpose(order)).transpose(np.argsort(order))
    turn = tuple(slice(None, None, -1 if back else 1) for back in turns)
    volume = stored[turn]
    flat = FlatVolume(volume)
    assert np.array_equal(flat.volume, volume) and np.shares_memory(flat.flat, stored)
    cells = np.argwhere(np.ones((3, 3, 3), bool))
    index, inside = flat.voxels(cells, (2, 2, 3))
    assert index.shape == (12, 27)
    seen = np.zeros(values.size, int)
    np.add.at(seen, index[inside], 1)
    assert (seen == 1).all()
    copy = flat.zeros(values.dtype)
    copy.write(index, inside, flat.flat[index])
    assert np.array_equal(copy.volume, volume)


@pytest.mark.parametrize("factors", [(1, 1, 1), (2, 4, 4), (1, 3, 2)])
def test_interpolation_between_cells(factors):
    cells = np.random.default_rng(4).random((6, 7, 8)).astype(np.float32)
    inner = np.argwhere(np.ones((4, 5, 6), bool)) + 1
    found = interpolate(neighbours(cells, inner), factors)
    offsets = np.stack(
        np.meshgrid(*[(np.arange(f) + 0.5) / f - 0.5 for f in factors], indexing="ij"), axis=-1
    ).reshape(-1, 1, 3)
    expected = ndimage.map_coordinates(cells, np.moveaxis(inner[None] + offsets, -1, 0), order=1)
    assert np.allclose(found, expected, atol=1e-5)
