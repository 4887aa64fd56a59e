"""What is said of segmented lungs: each check on lungs that fail it and on lungs that pass it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from MedPrepCommonLib.phantoms.chest import make_chest_phantom
from MedPrepCTLib.lungs.checks import lung_checks
from MedPrepCTLib.lungs.findings import Findings
from MedPrepCTLib.lungs.segmentation import AIRWAY, LEFT_LUNG, LUNG, RIGHT_LUNG, examine_lungs

GOOD = Findings(lung_share=0.4, trachea=True)


@pytest.fixture(scope="module")
def phantom():
    return make_chest_phantom((80, 128, 128), (3.75, 2.8, 2.8))


def judged(labels, findings, spacing=(3.75, 2.8, 2.8)) -> dict[str, str]:
    volumes = {value: np.count_nonzero(labels == value) * np.prod(spacing) / 1000 for value in (1, 2, 3, 4)}
    return {check.name: check.verdict for check in lung_checks(labels, findings, volumes, spacing)}


def look(hu, phantom) -> tuple[np.ndarray, Findings, dict[str, str]]:
    labels, findings = examine_lungs(hu, phantom.spacing_kji)
    return labels, findings, judged(labels, findings)


def bad(verdicts: dict[str, str]) -> set[str]:
    return {name for name, verdict in verdicts.items() if verdict != "pass"}


def test_a_whole_chest_passes(phantom):
    labels, findings, verdicts = look(phantom.hu, phantom)
    assert not bad(verdicts) and findings.trachea and findings.other_gas > 50
    assert not bad(judged(phantom.labels, GOOD))


@pytest.mark.parametrize("part", [0.35, 1.0], ids=["partial", "total"])
def test_a_pneumothorax_is_said_and_is_no_lung(phantom, part):
    """Gas in front of the left lung; or all around a collapsed stump."""
    rng = np.random.default_rng(0)
    hu, lung = phantom.hu.copy(), phantom.labels == LEFT_LUNG
    k, j, i = np.ogrid[:80, :128, :128]
    rows = np.flatnonzero(lung.any(axis=(0, 2)))
    gas = lung & (j < rows[0] + part * len(rows))
    if part == 1.0:
        middle = [axis.mean() for axis in np.nonzero(lung)]
        middle[2] = np.flatnonzero(lung.any(axis=(0, 1)))[0] + 6
        stump = ((k - middle[0]) / 16) ** 2 + ((j - middle[1]) / 12) ** 2 + ((i - middle[2]) / 10) ** 2 < 1
        hu[lung & stump], gas = -150, lung & ~stump
    hu[gas] = rng.normal(-998, 16, gas.sum())
    labels, findings, verdicts = look(hu, phantom)
    assert "Gas beside the lungs" in bad(verdicts)
    assert findings.pleural_gas > 0.9 * gas.sum() * np.prod(phantom.spacing_kji) / 1000
    assert np.isin(labels[gas], (RIGHT_LUNG, LEFT_LUNG, LUNG)).mean() < 0.02


def test_emphysema_is_no_pneumothorax(phantom):
    hu = phantom.hu.copy()
    aerated = np.isin(phantom.labels, (RIGHT_LUNG, LEFT_LUNG)) & (hu < -600)
    hu[aerated] = np.maximum(hu[aerated] - 90, -1024)
    assert not bad(look(hu, phantom)[2])


def test_fluid_between_lung_and_ribs_is_said(phantom):
    hu, lung = phantom.hu.copy(), phantom.labels == RIGHT_LUNG
    rows = np.flatnonzero(lung.any(axis=(0, 2)))
    fluid = lung.copy()
    fluid[:, : rows[0] + int(0.6 * len(rows))] = False
    hu[fluid] = 15
    labels, findings, verdicts = look(hu, phantom)
    assert bad(verdicts) == {"Lung at the chest wall"}


@pytest.mark.parametrize("way", [np.s_[::-1], np.s_[:, ::-1], np.s_[:, ::-1, ::-1]])
def test_an_image_that_contradicts_its_header_fails(phantom, way):
    """Upside down; front and back exchanged; turned by 180 degrees."""
    verdicts = look(phantom.hu[way], phantom)[2]
    assert verdicts["Patient as the header says"] == "fail"


def test_a_side_that_cannot_be_told_is_said(phantom):
    labels = np.where(phantom.labels == LEFT_LUNG, LUNG, 0).astype(np.uint8)
    assert bad(judged(labels, replace(GOOD, unknown_side=True))) >= {"Side of the lung"}


def test_a_lost_slice_is_said(phantom):
    labels = phantom.labels.copy()
    labels[40:43][labels[40:43] == LEFT_LUNG] = 0
    assert bad(judged(labels, GOOD)) == {"Area from slice to slice"}


def test_a_missing_airway_is_said(phantom):
    labels = np.where(phantom.labels == AIRWAY, 0, phantom.labels).astype(np.uint8)
    assert bad(judged(labels, GOOD)) == {"Airway"}


def test_one_lung_is_said(phantom):
    labels = np.where(phantom.labels == LEFT_LUNG, 0, phantom.labels).astype(np.uint8)
    assert bad(judged(labels, GOOD)) == {"Left lung"}


def test_lungs_too_large_or_small_for_the_body_are_said(phantom):
    for share in (0.05, 0.9):
        assert bad(judged(phantom.labels, replace(GOOD, lung_share=share))) == {"Lungs in the body"}


def test_much_gas_at_the_height_of_the_lungs_is_said(phantom):
    findings = replace(GOOD, other_gas=400.0, high_gas=400.0)
    assert bad(judged(phantom.labels, findings)) == {"Gas beside the lungs"}
    assert not bad(judged(phantom.labels, replace(findings, high_gas=0.0)))
