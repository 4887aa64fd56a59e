"""A CT without a modality tag among MR images: seen by its Hounsfield units, and said as a quality check."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ctimages import body, real_scans
from mriimages import image_of, mask_of, phantom

from MedPrepCommonLib.core import engine, recipe, runner
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.core.volume import Volume
from MedPrepCommonLib.files.reading import read_volume
from MedPrepMRILib.recognition.ct_values import ct_checks


def untagged(volume: Volume) -> Volume:
    """As from a NIfTI file."""
    return volume.with_array(volume.array, modality="")


@pytest.mark.parametrize("padding", [None, -1024, -3024])
def test_a_ct_is_seen(padding: int | None) -> None:
    (check,) = ct_checks(untagged(body((10, 40, 40), padding=padding)))
    assert check.verdict == "warn" and "Hounsfield" in check.value and "MedPrep CT" in check.advice
    assert ct_checks(untagged(body((10, 40, 40), padding=padding)), "T2")[0].name == "Values of T2"


def test_real_scans_are_told_apart(shared_data: Path) -> None:
    assert all(ct_checks(untagged(scan)) for scan in real_scans(shared_data).values())
    heads = sorted((shared_data / "mri").glob("*/*.nii.gz"))
    assert heads and not any(ct_checks(read_volume(path)) for path in heads)


@pytest.mark.parametrize("sequence", ["T1", "T2", "FLAIR"])
def test_an_mri_is_not_taken_for_a_ct(sequence: str) -> None:
    image = untagged(image_of(phantom(sequences=(sequence,)), sequence))
    assert not ct_checks(image)
    # Stored about a mean of 0, with most of it below: no air at -1000, no tissue at 0.
    assert not ct_checks(image.with_array((image.array.astype(np.float32) - 300) * 20))


def test_a_phase_image_is_no_ct() -> None:
    rng = np.random.default_rng(0)
    phase = rng.integers(-4096, 4096, (12, 40, 40)).astype(np.int16)
    assert not ct_checks(Volume(phase, np.eye(4)))
    phase[:, 10:30, 10:30] = rng.normal(0, 60, (12, 20, 20))
    assert not ct_checks(Volume(phase, np.eye(4)))


def test_what_is_known_to_be_mr_or_was_made_by_an_operation_is_not_judged() -> None:
    image = untagged(body((10, 40, 40)))
    assert ct_checks(image)
    assert not ct_checks(image.with_array(image.array, modality="MR"))
    assert not ct_checks(image.with_array(image.array, history=({"operation": "ct.clip"},)))


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        ("mri.n4", {"iterations": "1"}),
        ("mri.brainMask", {"region": "foreground"}),
        ("mri.normalize", {"region": "foreground"}),
    ],
)
def test_operations_that_recipes_begin_with_say_it(operation: str, parameters: dict) -> None:
    checks = engine.run(create(operation, **parameters), {"image": untagged(body((10, 40, 40)))}).checks
    assert [c.verdict for c in checks if c.name == "Values of the input"] == ["warn"]


def test_a_fusion_says_which_sequence_it_is() -> None:
    head = image_of(phantom())
    scan = body(head.shape, noise=20)
    ct = head.with_array(scan.array, modality="")
    found = engine.run(create("mri.fuse", registration="none"), {"t1": untagged(head), "t2": ct}).checks
    assert [c.name for c in found if c.name.startswith("Values of")] == ["Values of T2"]


def test_a_ct_in_an_mr_recipe_is_in_its_quality_control() -> None:
    image = untagged(body((16, 40, 40), spacing=(4.0, 4.0, 4.0), noise=20))
    plan = recipe.load("mri-t1").with_settings({"mri.n4.iterations": "1", "mri.whiteStripe.width": 0.25})
    mask = image.array > -300
    done = runner.run(plan, {"image": image, "mask": mask_of(image, mask)})
    assert [c.name for c in done.result.checks if c.verdict == "warn"].count("Values of the input") == 1
