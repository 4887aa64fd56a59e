"""SimpleITK's way to do each piece of work, on images that are SimpleITK's own before and after."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk


def array(image: sitk.Image) -> np.ndarray:
    """The image's values, copied."""
    return sitk.GetArrayFromImage(image)


def window_uint8(image: sitk.Image, low: float, high: float) -> sitk.Image:
    """Window to 0..255; SimpleITK truncates here."""
    return sitk.Cast(sitk.IntensityWindowing(image, low, high, 0, 255), sitk.sitkUInt8)


def window_float(image: sitk.Image, low: float, high: float) -> sitk.Image:
    """Window to 0..1."""
    return sitk.IntensityWindowing(sitk.Cast(image, sitk.sitkFloat32), low, high, 0, 1)


def clip(image: sitk.Image, low: float, high: float) -> sitk.Image:
    """Limit to [low, high]."""
    return sitk.Clamp(image, sitk.sitkInt16, low, high)


def min_max(image: sitk.Image) -> sitk.Image:
    """The image's own range to 0..1."""
    return sitk.RescaleIntensity(sitk.Cast(image, sitk.sitkFloat32), 0, 1)


def metal(image: sitk.Image, threshold: int, minimum_voxels: int) -> list[tuple]:
    """(voxels, centroid, mean, maximum) of the 26-connected components above the threshold."""
    above = sitk.BinaryThreshold(image, threshold + 1, 32767)
    labels = sitk.RelabelComponent(sitk.ConnectedComponent(above, True), minimum_voxels)
    statistics = sitk.LabelIntensityStatisticsImageFilter()
    statistics.Execute(labels, image)
    return [
        (
            statistics.GetNumberOfPixels(n),
            statistics.GetCentroid(n),
            statistics.GetMean(n),
            statistics.GetMaximum(n),
        )
        for n in statistics.GetLabels()
    ]


def resample(
    image: sitk.Image,
    shape: Sequence[int],
    starts: Sequence[float],
    steps: Sequence[float],
    interpolator: int,
) -> sitk.Image:
    """Sample at input indices ``starts + n * steps``; shape, starts and steps along (k, j, i)."""
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize([int(n) for n in shape[::-1]])
    resampler.SetOutputOrigin(image.TransformContinuousIndexToPhysicalPoint([float(s) for s in starts[::-1]]))
    spacing = [d * s for d, s in zip(steps[::-1], image.GetSpacing(), strict=True)]
    resampler.SetOutputSpacing(spacing)
    resampler.SetOutputDirection(image.GetDirection())
    resampler.SetInterpolator(interpolator)
    return resampler.Execute(image)


def smooth(image: sitk.Image, sigma_kji: Sequence[float]) -> sitk.Image:
    """Recursive Gaussian along the axes whose sigma (mm) is above zero, then back to int16."""
    smoothed = sitk.Cast(image, sitk.sitkFloat32)
    for axis, sigma in enumerate(sigma_kji[::-1]):
        if sigma > 0:
            smoothed = sitk.RecursiveGaussian(smoothed, sigma, direction=axis)
    return sitk.Cast(sitk.Round(smoothed), sitk.sitkInt16)


def lungs(image: sitk.Image, threshold: float = -500, closing_mm: float = 6.0) -> sitk.Image:
    """The lungs as one mask at full resolution: threshold, components, closing, hole filling.

    Air that touches the sides of the image is not lung; of the rest the two largest components are.
    """
    air = sitk.BinaryThreshold(image, -32768, threshold)
    labels = sitk.ConnectedComponent(air)
    view = sitk.GetArrayViewFromImage(labels)
    sides = (view[:, 0], view[:, -1], view[:, :, 0], view[:, :, -1])
    outside = np.unique(np.concatenate([side.ravel() for side in sides]))
    labels = sitk.ChangeLabel(labels, {int(n): 0 for n in outside if n > 0})
    inside = sitk.BinaryThreshold(sitk.RelabelComponent(labels, 10000), 1, 2)
    radius = [int(round(closing_mm / step)) for step in image.GetSpacing()]
    return sitk.BinaryFillhole(sitk.BinaryMorphologicalClosing(inside, radius))


def check(image: sitk.Image) -> tuple[float, float, float, float]:
    """Minimum, maximum, mean, standard deviation."""
    statistics = sitk.StatisticsImageFilter()
    statistics.Execute(image)
    return (
        statistics.GetMinimum(),
        statistics.GetMaximum(),
        statistics.GetMean(),
        statistics.GetSigma(),
    )
