"""Tables, checks and metrics of a fusion."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.result import Check, Result, Table
from MedPrepCommonLib.core.volume import Volume

from . import same_head, signal_quality
from .combining import Components
from .parts import Aligned

# A sequence that covers less of the mask leaves a part of the head without data.
_COVERED = 0.95
# Mean distance (mm) between the maps found either way round: half a voxel of most scans, and too much.
_CONSISTENT, _INCONSISTENT = 1.0, 3.0

_SEQUENCE_COLUMNS = (
    "image",
    "mean in the mask",
    "standard deviation in the mask",
    "mask covered (%)",
    "noise",
    "SNR",
    "CNR",
    "overlap with the reference",
    "shared information",
)
_REGISTRATION_COLUMNS = (
    "sequence",
    "rotation (°)",
    "mean displacement (mm)",
    "mutual information before",
    "mutual information after",
    "inconsistency (mm)",
    "iterations",
    "applied",
    "reference to sequence (RAS, rows)",
)


def describe(
    result: Result,
    image: Volume,
    sequences: Mapping[str, Aligned],
    labels: Mapping[str, str],
    reference: str,
    inside: np.ndarray,
    zero: float | None,
) -> None:
    """Add the tables, checks and metrics of all sequences to `result`.

    Parameters
    ----------
    image : the fused one. zero : what its voxels would be without signal; None for a stack of channels.
    labels : what the sequences are called. inside : (k, j, i) bool, the mask.
    """
    rows = [_sequence_row(labels[name], sequence) for name, sequence in sequences.items()]
    if zero is None:
        rows += [_channel_row(labels[name], sequence) for name, sequence in sequences.items()]
    else:
        rows.append(_result_row(result, image.array, inside, zero))
    result.tables["sequences"] = Table(_("Signal and noise"), _SEQUENCE_COLUMNS, tuple(rows))
    result.notes.append(signal_quality.method())
    moved = {name: s for name, s in sequences.items() if s.alignment is not None}
    if moved:
        lines = tuple(_registration_row(labels[name], s) for name, s in moved.items())
        result.tables["registration"] = Table(_("Registration"), _REGISTRATION_COLUMNS, lines)
    for name, sequence in sequences.items():
        if name == reference:
            continue
        result.checks.append(same_head.check(labels[name], sequence.likeness))
        if sequence.alignment is not None:
            result.checks.append(_registration_check(labels[name], sequence))
        if sequence.coverage < _COVERED:
            result.checks.append(_coverage_check(labels[name], sequence.coverage))
    result.metrics |= {"reference": labels[reference], "voxels": int(np.count_nonzero(inside))}
    for name, sequence in sequences.items():
        result.metrics |= {f"{name}Snr": sequence.own.snr, f"{name}Cnr": sequence.own.cnr}
        if sequence.alignment is not None:
            result.metrics[f"{name}Displacement"] = sequence.alignment.displacement


def describe_components(result: Result, components: Components, names: list[str]) -> None:
    """Add the table of principal components."""
    rows = tuple(
        (n + 1, 100 * float(share), *map(float, loadings))
        for n, (share, loadings) in enumerate(zip(components.variances, components.loadings, strict=True))
    )
    columns = ("component", "share of the variance (%)", *names)
    result.tables["components"] = Table(_("Principal components"), columns, rows)
    result.metrics["variance"] = float(components.variances[0])


def range_of(array: np.ndarray, inside: np.ndarray) -> tuple[float, float]:
    """Where the values in the mask lie, for showing them."""
    low, high = np.quantile(array[inside], (0.01, 0.99))
    return float(low), float(max(high, low + 1e-6))


def _sequence_row(label: str, sequence: Aligned) -> tuple:
    like = sequence.likeness
    return (
        label,
        sequence.mean,
        sequence.deviation,
        100 * sequence.coverage,
        sequence.own.noise,
        sequence.own.snr,
        sequence.own.cnr,
        1.0 if like is None else like.overlap,
        "" if like is None or like.information is None else like.information,
    )


def _channel_row(label: str, sequence: Aligned) -> tuple:
    here = sequence.here
    mean = here.signal + sequence.zero
    return (_("result, {name}").format(name=label), mean, 1.0 if sequence.zero else sequence.deviation,
            100 * sequence.coverage, here.noise, here.snr, here.cnr, "", "")  # fmt: skip


def _result_row(result: Result, array: np.ndarray, inside: np.ndarray, zero: float) -> tuple:
    found = signal_quality.quality(array, inside, zero)
    result.metrics |= {"snr": found.snr, "cnr": found.cnr}
    values = array[inside].astype(np.float64)
    mean, deviation = float(values.mean()), float(values.std())
    return (_("result"), mean, deviation, 100.0, found.noise, found.snr, found.cnr, "", "")


def _registration_row(label: str, sequence: Aligned) -> tuple:
    found = sequence.alignment
    return (
        label,
        found.rotation,
        found.displacement,
        *found.information,
        found.inconsistency,
        ", ".join(map(str, found.iterations)),
        _("yes") if _applied(sequence) else _("no, less than half a voxel"),
        " ".join(f"{value:.6f}" for value in found.matrix[:3].ravel()),
    )


def _applied(sequence: Aligned) -> bool:
    return np.array_equal(sequence.alignment.matrix, sequence.matrix)


def _registration_check(label: str, sequence: Aligned) -> Check:
    found = sequence.alignment
    # What was not moved is as it came: no worse for being interpolated.
    better = not _applied(sequence) or found.information[1] >= found.information[0]
    verdict = "pass"
    if found.inconsistency > _CONSISTENT or not better:
        verdict = "warn"
    if found.inconsistency > _INCONSISTENT:
        verdict = "fail"
    return Check(
        _("Registration ({name})").format(name=label),
        verdict,
        _("moved by {moved:.1f} mm, {apart:.2f} mm between both directions").format(
            moved=found.displacement, apart=found.inconsistency
        ),
        f"<= {_CONSISTENT:g} mm",
        "" if verdict == "pass" else _("Look at the two over each other before training on them."),
    )


def _coverage_check(label: str, coverage: float) -> Check:
    return Check(
        _("Field of view ({name})").format(name=label),
        "warn",
        _("covers {share:.0f} % of the mask").format(share=100 * coverage),
        f">= {100 * _COVERED:.0f} %",
        _("The rest has no data of this sequence: crop the image, or choose another reference."),
    )
