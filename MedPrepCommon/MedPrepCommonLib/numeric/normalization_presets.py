"""Named settings of the operation normalize, with their sources."""

from __future__ import annotations

from ..core.i18n import _
from ..core.operation import Preset

PRESETS = {
    "lungNodule": Preset(
        _("Lung nodule, -1200 to 600 HU to [0, 1]"),
        "Liao et al. 2019, on LUNA16 and DSB 2017 scans",
        method="minmax",
        low=-1200,
        high=600,
        range="[0, 1]",
    ),
    "softTissue": Preset(
        _("Soft tissue, -200 to 400 HU to [0, 1]"),
        "",
        method="minmax",
        low=-200,
        high=400,
        range="[0, 1]",
    ),
    "bone": Preset(
        _("Bone, -200 to 3000 HU to [0, 1]"), "", method="minmax", low=-200, high=3000, range="[0, 1]"
    ),
    "brain": Preset(_("Brain, 0 to 80 HU to [0, 1]"), "", method="minmax", low=0, high=80, range="[0, 1]"),
    "zscore": Preset(_("Zero mean, unit deviation of this image"), "", method="zscore", statistics="image"),
    "percentile": Preset(
        _("0.5th to 99.5th percentile to [0, 1]"),
        "nnU-Net's percentiles (Isensee et al. 2021)",
        method="percentile",
        statistics="image",
        lowPercentile=0.5,
        highPercentile=99.5,
        range="[0, 1]",
    ),
    "robust": Preset(
        _("Median 0, interquartile range 1 of this image"), "", method="robust", statistics="image"
    ),
    "reference": Preset(_("Histogram of the reference image"), "", method="histogram", statistics="image"),
    "local": Preset(
        _("Local mean 0, local deviation 1 within 40 mm"),
        "",
        method="local",
        localSize=40,
        localWindow="box",
    ),
}
