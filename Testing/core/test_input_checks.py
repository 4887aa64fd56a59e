"""Facts reach the verdict: each has a check, each check an image that fails it and one that passes."""

import inspect
import re
import sys

import numpy as np
import pytest

from MedPrepCommonLib.core import content_checks, engine, fact_checks, input_checks, runner
from MedPrepCommonLib.core import recipe as recipes
from MedPrepCommonLib.core.errors import InputChecksError, InputError, ParameterError
from MedPrepCommonLib.core.facts import FACTS
from MedPrepCommonLib.core.input_check import Wanted
from MedPrepCommonLib.core.operation import create, known
from MedPrepCommonLib.core.recognition import Recognition
from MedPrepCommonLib.core.volume import LabelVolume, Volume


def image(modality="CT", shape=(4, 5, 6), spacing=(1.0, 1.0, 2.0), **info):
    array = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    return Volume(array, np.diag([*spacing, 1.0]), modality=modality, info=info)


def picture(**info):
    return image("DX", (1, 5, 6), **info)


HEAD = Recognition(parts=("head",), confidence=0.9, evidence="a closed skull")
CHEST = Recognition(parts=("chest", "abdomen"), confidence=0.9)
NOTHING = Recognition()
MRI = Wanted("MR", "head", "T1")
CT = Wanted("CT", "chest")
FRONTAL = Wanted("DX", "chest", "frontal")

# By id: what fails, what warns (None: it never does only that) and what passes, each with what was wanted and
# what was recognised.
CASES = {
    "missing-slices": (
        image(sliceSpacingDeviation=3.0, missingSlices=2, missingSlicePositions=[4.0, 6.0]),
        None,
        image(sliceSpacingDeviation=0.0, missingInstances=3),
    ),
    "uneven-slices": (
        image(sliceSpacingDeviation=0.9, sliceSpacingRange=[2.0, 3.0]),
        image(sliceSpacingDeviation=0.1),
        image(sliceSpacingDeviation=0.0),
    ),
    "duplicate-slices": (None, image(duplicateSlices=3), image(duplicateSlices=0)),
    "slice-gaps": (
        None,
        image(spacing=(1, 1, 10), sliceThickness=1.0),
        image(sliceThickness=2.0, spacingBetweenSlices=2.0),
    ),
    "gantry-tilt": (None, image(gantryTilt=12.0), image(gantryTilt=0.0)),
    "position": (
        None,
        image(positionConflict={"text": "sform was taken. qform lies 12 mm off."}),
        image(parentTransform="hardened"),
    ),
    "pixel-size": (image(spacingKnown=False), None, picture(spacingKnown=False)),
    "mosaic": (
        image("MR", (1, 24, 24), imageType=["ORIGINAL", "PRIMARY", "MOSAIC"]),
        None,
        image("MR", mosaic=36),
    ),
    "image-type": (
        image(localizer=True, imageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        image(derived=True, reformat="MPR", imageType=["DERIVED", "SECONDARY"]),
        image(imageType=["ORIGINAL", "PRIMARY", "AXIAL"]),
    ),
    "burned-in-text": (None, picture(burnedInAnnotation=True), None),
    "mirrored-picture": (None, picture(exifOrientation=2), picture(exifOrientation=6)),
    "lossy-compression": (
        None,
        image(lossyCompression=True, lossyRatio=10.0),
        picture(lossyCompression=True, lossyRatio=8.0),
    ),
    "rescale": (
        image(rescaleSlope=0.0, rescaleIntercept=0.0),
        None,
        image(rescaleSlope=1.0, rescaleIntercept=-1024.0, rescaleType="HU"),
    ),
    "for-processing": (
        None,
        picture(presentationIntentType="FOR PROCESSING", pixelIntensityRelationship="LIN"),
        picture(presentationIntentType="FOR PRESENTATION"),
    ),
    "scanner": (image("MR", kvp=120.0), None, image("MR", manufacturer="A", model="B", echoTime=3.0)),
    "part": ((image(), CT, HEAD), (image(), CT, NOTHING), (image(bodyPart="CHEST"), CT, CHEST)),
    "view": (
        (picture(viewPosition="LL"), FRONTAL, None),
        (picture(), FRONTAL, NOTHING),
        (picture(viewPosition="PA"), FRONTAL, None),
    ),
    "sequence": (
        (image("MR", echoTime=100.0, repetitionTime=9000.0, inversionTime=2500.0), MRI, None),
        (image("MR"), MRI, NOTHING),
        (image("MR", echoTime=3.0, repetitionTime=2300.0, inversionTime=900.0), MRI, None),
    ),
    "placement": (
        (image(), CT, Recognition(placement="upside down", placement_confidence=0.9)),
        (image(), CT, Recognition(placement="upside down", placement_confidence=0.3)),
        (image(patientPosition="HFS"), CT, None),
    ),
}


def said(id, case):
    volume, wanted, seen = case if isinstance(case, tuple) else (case, Wanted(case.modality), None)
    return input_checks.known()[id].judge(volume, wanted, seen)


@pytest.mark.parametrize("id", list(input_checks.known()))
def test_each_check_can_fail_and_can_pass(id):
    failing, warning, passing = CASES[id]
    assert failing is not None or warning is not None
    for case, verdict in ((failing, "fail"), (warning, "warn"), (passing, "pass")):
        if case is not None:
            found = said(id, case)
            assert found.verdict == verdict
            assert found.value and (verdict == "pass" or found.advice)
    # Of an image of which nothing is known, no check complains.
    assert (found := said(id, image())) is None or found.verdict == "pass"


def test_each_fact_is_judged():
    for fact in FACTS.values():
        assert fact.meaning
        if fact.check in input_checks.known():
            sources = [inspect.getsource(content_checks), inspect.getsource(fact_checks)]
        else:
            library = known()[fact.check].cls.__module__.partition(".")[0]
            found = [m for name, m in list(sys.modules.items()) if name.startswith(f"{library}.")]
            sources = [inspect.getsource(module) for module in found]
        assert any(f'"{fact.key}"' in source for source in sources), f"nobody reads {fact.key}"


def test_no_fact_comes_from_a_reader_without_a_row():
    from MedPrepCommonLib.files.dicom import facts

    keys = set(re.findall(r"``([a-zA-Z]+)``", facts.__doc__)) - {"info"}
    assert len(keys) > 40 and keys <= set(FACTS)


RECIPE = {
    "schema": "medprep-recipe",
    "version": 1,
    "name": "two",
    "modality": "CT",
    "inputs": {"image": {"part": "chest"}, "labels": {"kind": "labels", "optional": True}},
    "steps": [{"operation": "resample", "parameters": {"spacing": 2.0}, "inputs": {"image": "image"}}],
    "outputs": {"image": "resample.image"},
}


def test_a_recipe_stops_until_the_user_accepts():
    recipe = recipes.parse(RECIPE)
    gap = {"image": image(sliceSpacingDeviation=3.0, missingSlices=2, bodyPart="CHEST")}
    stopped = runner.run(recipe, gap)
    assert not stopped.result.images and stopped.record["stopped"] == ["missing-slices"]
    assert isinstance(stopped.refusal, InputChecksError) and stopped.refusal.ids == ("missing-slices",)
    assert "missing-slices" in stopped.result.notes[0]
    assert [c.name for c in stopped.result.checks if c.verdict == "fail"] == ["Missing slices"]
    done = runner.run(recipe, gap, accept=["missing-slices"])
    assert done.refusal is None and done.record["accepted"] == ["missing-slices"]
    verdicts = {c.name: c.verdict for c in done.result.checks}
    assert verdicts["Missing slices"] == "warn"
    # What was accepted travels with the image: nobody is asked twice.
    again = runner.run(recipe, {"image": done.result.images["image"]})
    assert again.refusal is None and "accepted" in again.result.checks[0].value
    with pytest.raises(ParameterError, match="missing-slices"):
        runner.run(recipe, gap, accept=["missing-slice"])


def test_a_recipe_of_common_steps_refuses_another_modality():
    with pytest.raises(InputError, match="modality is MR"):
        runner.run(recipes.parse(RECIPE), {"image": image("MR")})


def test_a_single_operation_says_it_and_goes_on():
    gap = image(sliceSpacingDeviation=3.0, missingSlices=2)
    result = engine.run(create("resample", spacing=2.0), {"image": gap})
    assert "image" in result.images
    assert [(c.name, c.verdict) for c in result.checks] == [("Missing slices", "fail")]
    whole = engine.run(create("resample", spacing=2.0), {"image": image(sliceSpacingDeviation=0.0)})
    assert whole.checks == []


def test_a_check_among_the_steps_does_not_say_it_twice():
    recipe = recipes.parse(
        {
            **RECIPE,
            "steps": [{"operation": "ct.check", "inputs": {"image": "image"}}],
            "outputs": {"table": "check.check"},
        }
    )
    volume = image(shape=(8, 24, 24), lossyCompression=True, bodyPart="CHEST")
    names = [c.name for c in runner.run(recipe, {"image": volume}).result.checks]
    assert len(names) == len(set(names)) and "Compression" in names
    # By itself it has the line too.
    alone = engine.run(create("ct.check"), {"image": volume}).tables["check"].rows
    assert "Compression" in [row[0] for row in alone]


def test_lines_say_whose_they_are_where_there_are_several():
    labels = LabelVolume(
        np.ones((4, 5, 6), np.uint8), np.eye(4), info={"positionConflict": {"text": "two places"}}
    )
    found = input_checks.judge_all({"image": image(gantryTilt=9.0), "labels": labels}, {})
    assert [line.check.name for line in found] == ["Gantry tilt", "Position in the file (labels)"]


@pytest.mark.parametrize(
    ("named", "part", "verdict"),
    [("ABDOMEN", "chest", "fail"), ("THORAX", "chest", "pass"), ("HEAD", "brain", "pass"),
     ("FOREARM", "head", "fail"), ("KNEE", "head", "fail"), ("CHEST_ABDOMEN", "abdomen", "pass")],
)  # fmt: skip
def test_the_body_part_that_a_file_names(named, part, verdict):
    assert said("part", (image(bodyPart=named), Wanted("CT", part), None)).verdict == verdict


@pytest.mark.parametrize(
    ("times", "sequence"),
    [
        ({"echoTime": 2.9, "repetitionTime": 2300, "inversionTime": 900, "flipAngle": 9}, "T1"),
        ({"echoTime": 9, "repetitionTime": 500, "contrastAgent": True}, "T1c"),
        ({"echoTime": 98, "repetitionTime": 5000}, "T2"),
        ({"echoTime": 120, "repetitionTime": 9000, "inversionTime": 2500}, "FLAIR"),
        ({"echoTime": 14, "repetitionTime": 3000}, "PD"),
        ({"echoTime": 25, "repetitionTime": 600, "flipAngle": 20}, ""),
        ({"echoTime": 90, "repetitionTime": 5000, "diffusionBValue": 1000.0}, "other"),
        ({}, ""),
    ],
)
def test_the_sequence_that_times_stand_for(times, sequence):
    from MedPrepCommonLib.core.content_checks import sequence_named

    assert sequence_named(image("MR", **times)) == sequence


def test_an_image_is_recognised_once_and_only_where_it_is_finite(monkeypatch):
    asked = []
    recognise = lambda volume, job: asked.append(volume) or Recognition()  # noqa: E731
    monkeypatch.setattr(input_checks, "recogniser", lambda modality: recognise)
    array = np.zeros((4, 8, 8), np.float32)
    image = Volume(array, np.eye(4), modality="CT")
    for _time in range(2):
        input_checks.judge(image, Wanted("CT"))
    assert asked == [image]
    spoilt = array.copy()
    spoilt[1, 2, 3] = np.nan
    broken = Volume(spoilt, np.eye(4), modality="CT")
    input_checks.judge(broken, Wanted("CT"))
    assert asked == [image] and image.finite and not broken.finite
    # a sum that overflows is no NaN
    assert Volume(np.full((2, 2, 2), 1e308), np.eye(4)).finite
