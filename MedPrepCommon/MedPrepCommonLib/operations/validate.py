"""What a preparation did to an image's values: the image before and after it, held side by side."""

from __future__ import annotations

from typing import Annotated, Literal

from ..core.errors import InputError
from ..core.i18n import _
from ..core.job import Job
from ..core.operation import Help, Label, Preset, Span, Unit, Words, operation
from ..core.result import Check, Curve, Figure, Result, Table, worst
from ..core.volume import LabelVolume, Volume
from ..geometry import regrid
from ..numeric.distribution import Distribution
from ..numeric.histograms import counted
from ..quality.agreement import Agreement, agreement, infinite_as

# Above what images of 16 bits can reach; stands for "equal".
_EQUAL_DB = 200.0


@operation(
    "validate",
    title=_("Validate"),
    console="validate",
    outputs=("values", "agreement", "histograms", "transfer"),
    records=("values", "agreement", "histograms", "transfer"),
    cite=(
        "Wang et al. 2004, IEEE Trans Image Processing 13(4):600-612 (SSIM), doi:10.1109/TIP.2003.819861",
        "Lin 1991, IEEE Trans Information Theory 37(1):145-151 (Jensen-Shannon), doi:10.1109/18.61115",
    ),
    units={"psnr": "dB"},
)
class Validate:
    """Compare an image before and after preparation: statistics, similarity, histograms, lost information.

    Everything is measured over the whole image and, where one is given, inside a mask on its grid. An image
    after preparation that lies on another grid (resampled, cropped) is first resampled onto the grid before
    it, and only what both cover is compared.
    """

    intensities: Annotated[
        Literal["fitted", "asTheyAre"],
        Words(fitted=_("Brought to one scale by a line"), asTheyAre=_("As they are")),
        Help(
            _(
                "fitted: a least-squares line takes the values after to the scale before, for similarity and "
                "histogram distances; asTheyAre: both have the same unit, as before and after denoising"
            )
        ),
    ] = "fitted"
    minimumSimilarity: Annotated[
        float, Span(0, 1, 0.05, 2), Help(_("Warn when the structural similarity (SSIM) is lower"))
    ] = 0.5
    maximumClipped: Annotated[
        float,
        Span(0, 100, 5, 1),
        Unit("%"),
        Help(
            _("Warn when preparation moved more than this share of the voxels to the lowest or highest value")
        ),
    ] = 60.0
    minimumLevels: Annotated[
        int, Span(2, 65536, 16, 0), Help(_("Warn when fewer different values are left than this"))
    ] = 100

    presets = {
        "normalized": Preset(_("Windowed or normalized"), "", intensities="fitted"),
        "denoised": Preset(
            _("Denoised, same unit"), "", intensities="asTheyAre", minimumSimilarity=0.7, maximumClipped=1
        ),
    }

    def __call__(
        self,
        image: Volume,
        after: Annotated[Volume, Label(_("Image after"))],
        mask: LabelVolume | None,
        job: Job,
    ) -> Result:
        inside = None if mask is None else mask.inside(image)
        same = after.same_grid(image)
        array, covered = (after.array, None) if same else regrid.onto(after, image, job.part(0.0, 0.2))
        coverage = 1.0 if covered is None else float(covered.mean())
        if covered is not None and covered.all():
            covered = None
        regions = {_("whole image"): covered}
        if inside is not None:
            regions[_("mask")] = inside if covered is None else inside & covered
        if any(region is not None and not region.any() for region in regions.values()):
            raise InputError(
                _("The two images have no place in common."),
                _("Expected the same patient's image before and after preparation."),
                _("Choose two images that belong together, or another mask."),
            )
        found = {}
        for n, (name, region) in enumerate(regions.items()):
            part = job.part(0.2 + 0.8 * n / len(regions), 0.2 + 0.8 * (n + 1) / len(regions))
            found[name] = agreement(image.array, array, region, self.intensities == "fitted", part)
        checks = [_grid(image, after, same, coverage), *self._checks(found)]
        notes = []
        if not same:
            notes.append(
                _("The image after lies on another grid; it was resampled linearly onto the one before.")
            )
        return Result(
            tables={"values": _values(found), "agreement": _agreements(found)},
            figures={"histograms": _histograms(found), "transfer": _transfer(found)},
            metrics={"verdict": worst(checks), "coverage": coverage, **_metrics(found)},
            checks=checks,
            notes=notes,
        )

    def _checks(self, found: dict[str, Agreement]) -> list[Check]:
        # The region that matters: the mask where there is one.
        region, seen = list(found.items())[-1]
        where = "" if len(found) == 1 else f" ({region})"
        checks = [_content(seen, where)]
        if checks[0].verdict != "fail":
            checks += [
                self._similarity(seen, where),
                _orientation(seen, where),
                self._clipped(seen, where),
                self._quantised(seen, where),
                _outliers(seen, where),
            ]
        return checks

    def _similarity(self, seen: Agreement, where: str) -> Check:
        ok = seen.ssim >= self.minimumSimilarity
        advice = _("Structure was changed, not only the scale: look at both images side by side.")
        return Check(
            _("Structural similarity") + where,
            "pass" if ok else "warn",
            f"{seen.ssim:.3f}",
            f">= {self.minimumSimilarity:g}",
            "" if ok else advice,
        )

    def _clipped(self, seen: Agreement, where: str) -> Check:
        lost = 100 * clipped_share(seen.before, seen.after)
        ok = lost <= self.maximumClipped
        advice = _("Much of the image now has one value: widen the window or the clipping range.")
        return Check(
            _("Clipped by preparation") + where,
            "pass" if ok else "warn",
            f"{lost:.2f} %",
            f"<= {self.maximumClipped:g} %",
            "" if ok else advice,
        )

    def _quantised(self, seen: Agreement, where: str) -> Check:
        before, after = seen.before.levels, seen.after.levels
        ok = after >= min(self.minimumLevels, before)
        value = _("{after} of {before} levels, {bits:.1f} of {all:.1f} bits").format(
            after=after, before=before, bits=seen.after.entropy, all=seen.before.entropy
        )
        advice = _("Grey levels were merged: keep floating point, or use the full range of the type.")
        return Check(
            _("Grey levels") + where,
            "pass" if ok else "warn",
            value,
            f">= {self.minimumLevels}",
            "" if ok else advice,
        )


def clipped_share(before: Distribution, after: Distribution) -> float:
    """Share of the voxels that lie at an end of the range after and did not before."""
    return max(after.at_low - before.at_low, 0.0) + max(after.at_high - before.at_high, 0.0)


def _grid(image: Volume, after: Volume, same: bool, coverage: float) -> Check:
    sizes = [" x ".join(map(str, v.shape[::-1])) for v in (image, after)]
    value = _("same") if same else _("{a} before, {b} after").format(a=sizes[0], b=sizes[1])
    if coverage < 0.999:
        value += _(", {share:.1f} % covered").format(share=100 * coverage)
    return Check(_("Grid"), "pass" if coverage >= 0.5 else "warn", value, _("at least half in common"))


def _content(seen: Agreement, where: str) -> Check:
    """Whether the image after still shows what the one before shows."""
    name, limit = _("Same content") + where, _("> 50 % explained, best > 80 %")
    if seen.after.levels == 1 and seen.before.levels > 1:
        advice = _("Everything was clipped or masked away: check the range and the unit of the input.")
        return Check(name, "fail", _("constant after preparation"), limit, advice)
    share = max(seen.explained, seen.correlation**2)
    verdict = "pass" if share > 0.8 else "warn" if share > 0.5 else "fail"
    if seen.before.levels == 1:
        verdict = "warn"
    advice = _("The values after do not follow from those before: are these the same scan, and aligned?")
    return Check(name, verdict, f"{100 * share:.1f} %", limit, "" if verdict == "pass" else advice)


def _orientation(seen: Agreement, where: str) -> Check:
    ok = seen.correlation >= 0
    advice = _("Bright became dark: inverted once too often?")
    return Check(
        _("Correlation") + where,
        "pass" if ok else "warn",
        f"{seen.correlation:.3f}",
        ">= 0",
        "" if ok else advice,
    )


def _outliers(seen: Agreement, where: str) -> Check:
    """Extreme values that were not as extreme before: they squeeze everything else into a small range."""
    before, after = _excess(seen.before), _excess(seen.after)
    ok = after <= max(3.0, 2.0 * before)
    value = _("{after:.1f} times the range of 98 %, {before:.1f} before").format(after=after, before=before)
    advice = _("Single voxels lie far outside: limit the values before scaling them.")
    return Check(_("Outliers") + where, "pass" if ok else "warn", value, _("<= 3"), "" if ok else advice)


def _excess(found: Distribution) -> float:
    low, high = found.quantile(0.01), found.quantile(0.99)
    return (found.high - found.low) / (high - low) if high > low else 1.0


def _values(found: dict[str, Agreement]) -> Table:
    rows = []
    for region, seen in found.items():
        for name, d in ((_("before"), seen.before), (_("after"), seen.after)):
            quantiles = [d.quantile(q) for q in (0.01, 0.5, 0.99)]
            shares = [100 * d.at_low, 100 * d.at_high]
            numbers = [d.low, *quantiles, d.high, d.mean, d.deviation, d.entropy]
            rows.append((region, name, d.total, *map(float, numbers), d.levels, *shares))
    return Table(
        _("Values before and after"),
        ("region", "image", "voxels", "minimum", "1 %", "median", "99 %", "maximum", "mean",
         "standard deviation", "entropy (bits)", "levels", "at minimum (%)", "at maximum (%)"),
        tuple(rows),
    )  # fmt: skip


_MEASURES = {
    "correlation": lambda a: a.correlation,
    "ssim": lambda a: a.ssim,
    "psnr": lambda a: infinite_as(a.psnr, _EQUAL_DB),
    "explained": lambda a: a.explained,
    "information": lambda a: a.information,
    "wasserstein": lambda a: a.wasserstein,
    "jensenShannon": lambda a: a.jensen_shannon,
    "slope": lambda a: a.slope,
    "intercept": lambda a: a.intercept,
    "clipped": lambda a: clipped_share(a.before, a.after),
}


def _titles() -> dict[str, str]:
    return {
        "correlation": _("Pearson correlation"),
        "ssim": _("structural similarity (SSIM)"),
        "psnr": _("peak signal-to-noise ratio (dB)"),
        "explained": _("share explained by the value before"),
        "information": _("information kept (of the entropy before)"),
        "wasserstein": _("Wasserstein distance (units before)"),
        "jensenShannon": _("Jensen-Shannon distance (0 to 1)"),
        "slope": _("slope, after to before"),
        "intercept": _("intercept, after to before"),
        "clipped": _("share clipped by preparation"),
    }


def _agreements(found: dict[str, Agreement]) -> Table:
    rows = tuple(
        (title, *(float(_MEASURES[name](seen)) for seen in found.values()))
        for name, title in _titles().items()
    )
    return Table(_("Agreement before and after"), ("measure", *found), rows)


def _metrics(found: dict[str, Agreement]) -> dict[str, float | int]:
    regions = ["", "InMask"]
    metrics: dict[str, float | int] = {}
    for suffix, seen in zip(regions, found.values(), strict=False):
        metrics |= {name + suffix: float(measure(seen)) for name, measure in _MEASURES.items()}
        metrics |= {f"levelsBefore{suffix}": seen.before.levels, f"levelsAfter{suffix}": seen.after.levels}
    return metrics


def _histograms(found: dict[str, Agreement]) -> Figure:
    seen = list(found.values())[-1]
    curves = []
    low, high = seen.before.quantile(0.001), seen.before.quantile(0.999)
    for name, d, slope, offset in (
        (_("before"), seen.before, 1.0, 0.0),
        (_("after"), seen.after, seen.slope, seen.intercept),
    ):
        counts, edges = counted(slope * d.centres + offset, 200, (low, high), d.counts)
        x, y = (edges[:-1] + edges[1:]) / 2, 100 * counts / d.total
        curves.append(Curve(name, tuple(map(float, x)), tuple(map(float, y.round(6)))))
    return Figure(
        _("Values before and after"), _("value before, or fitted to it"), _("voxels (%)"), tuple(curves)
    )


def _transfer(found: dict[str, Agreement]) -> Figure:
    curves = tuple(
        Curve(name, tuple(map(float, seen.transfer[0])), tuple(map(float, seen.transfer[1])))
        for name, seen in found.items()
    )
    return Figure(_("Where the values went"), _("value before"), _("mean value after"), curves)
