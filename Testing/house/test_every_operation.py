"""What holds for every operation there is: bad input refused with words, input untouched, same bytes twice.

New operations are covered as soon as they are registered.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from ctimages import body, labels_on, matrix, read, snapshot, turned
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from MedPrepCommonLib.core import engine, recipe, runner
from MedPrepCommonLib.core.errors import Cancelled, GeometryError, InputError, MedPrepError
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import create, find, known
from MedPrepCommonLib.core.volume import Volume

OPERATIONS = list(known())
# A modality that an operation made for the key refuses.
ANOTHER = {"CT": "MR", "MR": "CT", "DX": "CT", "CR": "CT", "XR": "CT"}


@pytest.fixture(params=OPERATIONS)
def spec(request):
    return find(request.param)


def good_input(spec) -> Volume:
    """An image that the operation is made for."""
    modality = spec.modality or "CT"
    volume = body((16, 48, 56), spacing=(5.0, 5.0, 8.0), padding=-1024, info={"sliceThickness": 2.0})
    if modality != "CT":
        volume = dataclasses.replace(
            volume, array=(volume.array.clip(-200, 900) + 200).astype(np.uint16), modality=modality
        )
    if modality == "DX":  # a radiograph is one slice
        volume = volume.with_array(np.ascontiguousarray(volume.array[8:9]))
    return volume


def inputs_of(spec, volume: Volume) -> dict:
    """`volume` for the image, and a label map for every further input."""
    mask = (np.indices(volume.shape).sum(axis=0) % 5 < 2).astype(np.uint8)
    inputs = {spec.inputs[0].name: volume}
    for slot in spec.inputs[1:]:
        if slot.labels:
            label = labels_on(volume, mask)
            inputs[slot.name] = (label,) if slot.many else label
        else:
            inputs[slot.name] = volume
    return inputs


def run(spec, volume: Volume, **parameters):
    return engine.run(create(spec.id, **parameters), inputs_of(spec, volume))


# ---- bad input
def not_a_number(volume: Volume, value: float) -> Volume:
    array = volume.array.astype(np.float32)
    array[-1, 3, 4] = value
    return dataclasses.replace(volume, array=array)


def refused(error: MedPrepError) -> None:
    """The error says what was wrong, what was expected and what to do, in sentences."""
    for part in (error.wrong, error.expected, error.advice):
        assert part and not part[0].islower() and part.endswith(".")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(spec, value) -> None:
    if spec.any_values:
        found = run(spec, not_a_number(good_input(spec), value))
        assert any(check.verdict == "fail" for check in found.checks)
        return
    with pytest.raises(InputError, match="1 voxels are NaN or infinite") as error:
        run(spec, not_a_number(good_input(spec), value))
    refused(error.value)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 30), (1, 30, 1), (30, 1, 1)])
def test_a_voxel_or_a_line(spec, shape) -> None:
    line = dataclasses.replace(good_input(spec), array=np.full(shape, 40, np.int16))
    with pytest.raises(GeometryError, match="two voxels along two axes") as error:
        run(spec, line)
    refused(error.value)


def test_colour(spec) -> None:
    volume = good_input(spec)
    rgb = dataclasses.replace(volume, array=np.repeat(volume.array[..., None], 3, axis=3))
    if spec.vectors:
        # A radiograph has one grey level per pixel, whatever it was stored as.
        wanted = 1 if spec.modality == "DX" else 3
        assert all(image.components == wanted for image in run(spec, rgb).images.values())
        return
    with pytest.raises(InputError, match="3 values per voxel") as error:
        run(spec, rgb)
    refused(error.value)


def test_shear(spec) -> None:
    volume = good_input(spec)
    skewed = volume.ijkToRAS.copy()
    skewed[1, 2] += 0.2 * volume.spacing[2]
    sheared = dataclasses.replace(volume, ijkToRAS=skewed)
    if spec.any_grid:
        assert any(check.verdict == "fail" for check in run(spec, sheared).checks)
        return
    with pytest.raises(GeometryError, match="sheared") as error:
        run(spec, sheared)
    refused(error.value)


def test_another_modality(spec) -> None:
    if not spec.modality:
        pytest.skip("takes images of any modality")
    wrong = dataclasses.replace(good_input(spec), modality=ANOTHER[spec.modality])
    with pytest.raises(InputError, match="modality") as error:
        run(spec, wrong)
    refused(error.value)


@pytest.mark.parametrize(
    ("array", "geometry", "words"),
    [
        (np.zeros((0, 4, 4), np.int16), np.eye(4), "empty"),
        (np.zeros((3, 4, 5, 2, 6), np.int16), np.eye(4), "5 dimensions"),
        (np.zeros((4, 4), np.int16), np.eye(4), "2 dimensions"),
        (np.zeros((4, 4, 4), np.complex64), np.eye(4), "complex64"),
        (np.zeros((4, 4, 4), np.int16), np.diag([1, 1, 0, 1]), "spacing"),
        (np.zeros((4, 4, 4), np.int16), np.diag([1, np.nan, 1, 1]), "no usable position"),
    ],
)
def test_what_is_no_volume_reaches_no_operation(array, geometry, words) -> None:
    with pytest.raises(InputError, match=words) as error:
        Volume(array, geometry)
    refused(error.value)


def test_no_image(spec) -> None:
    for inputs in ({}, {spec.inputs[0].name: None}, {spec.inputs[0].name: "image"}):
        with pytest.raises(InputError):
            engine.run(create(spec.id), inputs)
    with pytest.raises(InputError, match="no input called"):
        engine.run(create(spec.id), {**inputs_of(spec, good_input(spec)), "picture": good_input(spec)})


def test_labels_are_no_substitute(spec) -> None:
    volume = good_input(spec)
    for slot in spec.inputs:
        if slot.labels:
            with pytest.raises(InputError, match="label map"):
                engine.run(
                    create(spec.id),
                    {**inputs_of(spec, volume), slot.name: (volume,) if slot.many else volume},
                )


def test_a_real_mri_is_refused_by_what_needs_hu(shared_data) -> None:
    brain = read(shared_data / "mri/adi-t1-t2/t2-fse.nii.gz")
    for modality in ("MR", ""):
        for id in ("ct.lungs", "ct.metal"):
            with pytest.raises(InputError) as error:
                engine.run(create(id), {"image": dataclasses.replace(brain, modality=modality)})
            refused(error.value)
        # Windowing an unknown image is the user's choice, but it is said.
    result = engine.run(create("ct.window"), {"image": brain})
    assert "not Hounsfield units" in result.notes[0]


# ---- good input
def test_runs_with_defaults_and_every_preset(spec) -> None:
    for preset in (None, *spec.presets):
        result = engine.run(create(spec.id, preset), inputs_of(spec, good_input(spec)))
        names = set(result.outputs())
        for output in spec.outputs:
            assert output.endswith("?") or output in names, (spec.id, preset, output)
        known_names = {output.rstrip("?") for output in spec.outputs} | {"thing"}
        assert names <= known_names
        for name in names:
            kind = "labels" if name in result.labels else "image" if name in result.images else "record"
            assert spec.kind(name) == kind, (spec.id, name, "say so in @operation: labels=, records=")
        for volume in result.volumes().values():
            assert np.isfinite(volume.array).all()
            # What a scene or a NIfTI file can hold.
            assert volume.array.dtype in (
                np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.float32, np.float64,
            ), volume.array.dtype  # fmt: skip
            # A scene takes four channels in one volume; an operation on more images gives a channel for each.
            assert volume.components <= max(4, sum(not slot.labels for slot in spec.inputs))
            assert volume.history[-1]["operation"] == spec.id
            assert volume.array.flags.c_contiguous


def test_the_input_stays_as_it_is(spec) -> None:
    for layout in (np.ascontiguousarray, np.asfortranarray):
        volume = good_input(spec)
        volume = dataclasses.replace(
            volume, array=layout(volume.array), name="patient scan", display=(1.0, 2.0)
        )
        inputs = inputs_of(spec, volume)
        everything = [
            v for value in inputs.values() for v in (value if isinstance(value, tuple) else (value,))
        ]
        before = [snapshot(v) for v in everything]
        engine.run(create(spec.id), inputs)
        assert [snapshot(v) for v in everything] == before


def test_a_result_shares_no_memory_with_the_input(spec) -> None:
    volume = good_input(spec)
    for found in run(spec, volume).volumes().values():
        assert not np.shares_memory(found.array, volume.array)


def test_memory_layout_does_not_matter(spec) -> None:
    volume = good_input(spec)
    turned = dataclasses.replace(volume, array=np.asfortranarray(volume.array))
    swapped = dataclasses.replace(volume, array=volume.array.astype(volume.array.dtype.newbyteorder(">")))
    wanted = run(spec, volume)
    for other in (turned, swapped):
        found = run(spec, other)
        for name, image in wanted.volumes().items():
            assert np.array_equal(found.volumes()[name].array, image.array), name
        assert found.metrics == pytest.approx(wanted.metrics)


@given(axes=st.permutations(range(3)), flips=st.tuples(*[st.booleans()] * 3))
@settings(
    max_examples=3,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
def test_the_order_in_which_it_is_stored_does_not_matter(spec, axes, flips) -> None:
    if spec.modality == "DX":
        pytest.skip("a radiograph's place in the patient says which way is up; see test_xray_radiograph.py")

    def turn(given):
        return tuple(map(turn, given)) if isinstance(given, tuple) else turned(given, axes, flips)

    inputs = inputs_of(spec, good_input(spec))
    one = engine.run(create(spec.id), inputs)
    two = engine.run(create(spec.id), {name: turn(given) for name, given in inputs.items()})
    assert list(one.volumes()) == list(two.volumes())
    for name, volume in one.volumes().items():
        if volume.components > 1:
            continue  # turned() knows grids of one component
        wanted, found = turned(volume, axes, flips), two.volumes()[name]
        assert found.shape == wanted.shape and np.allclose(found.ijkToRAS, wanted.ijkToRAS, atol=1e-6)
        if name in one.labels:
            assert np.array_equal(found.array, wanted.array), name
        else:  # sums in another order round otherwise
            off = np.abs(np.subtract(found.array, wanted.array, dtype=np.float64)).max()
            assert off <= max(1e-4 * np.ptp(wanted.array), wanted.array.dtype.kind in "iu"), name


@pytest.mark.parametrize("dtype", [np.int32, np.float32, np.float64])
def test_the_type_of_the_image_does_not_matter(spec, dtype) -> None:
    volume = good_input(spec)
    wanted, found = run(spec, volume), run(spec, volume.with_array(volume.array.astype(dtype)))
    assert list(found.outputs()) == list(wanted.outputs())
    for name, label in wanted.labels.items():
        assert np.array_equal(found.labels[name].array, label.array)
    # Whole numbers are rounded where fractions are kept; CLAHE cuts them into other histogram bins.
    relative = 0.1 if spec.id.endswith("clahe") else 1e-6
    for name, image in wanted.images.items():
        other = found.images[name].array.astype(np.float64)
        one = 1.0 if image.array.dtype.kind in "iu" else 0.0
        assert np.abs(other - image.array).max() <= max(one, relative * np.ptp(image.array)), name
    for key, value in wanted.metrics.items():
        assert found.metrics[key] == (value if isinstance(value, str) else pytest.approx(value)), key


def one_step(spec) -> recipe.Recipe:
    record = {
        "schema": recipe.SCHEMA,
        "version": recipe.VERSION,
        "name": "one",
        "inputs": {"image": {}, "labels": {"kind": "labels"}},
        "steps": [
            {
                "id": "step",
                "operation": spec.id,
                "inputs": {slot.name: "labels" if slot.labels else "image" for slot in spec.inputs},
            }
        ],
        "outputs": {
            output.rstrip("?"): f"step.{output}"
            for output in spec.outputs
            if output.rstrip("?") not in ("check", "histogram")
        }
        or {"out": f"step.{spec.outputs[0]}"},
    }
    return recipe.parse(record)


def test_a_recipe_gives_the_same_bytes_twice(spec) -> None:
    volume = good_input(spec)
    mask = inputs_of(spec, volume)
    labels = labels_on(
        volume, np.asarray(next((m[0] if isinstance(m, tuple) else m).array for m in mask.values())) > 0
    )
    first, second = (runner.run(one_step(spec), {"image": volume, "labels": labels}) for _ in range(2))
    assert first.record == second.record
    assert list(first.result.outputs()) == list(second.result.outputs())
    for name, image in first.result.volumes().items():
        assert image.array.tobytes() == second.result.volumes()[name].array.tobytes()
    (step,) = first.record["steps"]
    assert step["operation"] == spec.id and step["cite"] == list(spec.cite)
    assert set(step["parameters"]) == {p.name for p in spec.parameters}


def test_cancel_stops_every_operation(spec) -> None:
    asked: list[int] = []

    def second_time() -> bool:
        asked.append(1)
        return len(asked) > 1

    with pytest.raises(Cancelled):
        engine.run(create(spec.id), inputs_of(spec, good_input(spec)), Job(cancelled=second_time))


def test_progress_rises_to_one(spec) -> None:
    fractions: list[float] = []
    job = Job(lambda fraction, message: fractions.append(fraction))
    engine.run(create(spec.id), inputs_of(spec, good_input(spec)), job)
    assert fractions == sorted(fractions) and fractions[-1] == 1.0


# ---- what the definition must say
def test_definition(spec) -> None:
    assert spec.console.isidentifier() and spec.title and spec.summary
    assert spec.cite and all(spec.cite)
    assert spec.presets and all(p.title for p in spec.presets.values())
    assert all(p.help for p in spec.parameters)
    for parameter in spec.parameters:
        assert parameter.clean(parameter.default, spec.id) == parameter.default


def test_console_names_are_those_that_were_promised() -> None:
    names = {spec.console for spec in known().values()}
    promised = "check clip window multiWindow detectMetal segmentLungs resample normalize clahe"
    assert set(promised.split()) <= names


def test_a_flat_grid_of_two_axes_is_enough(spec) -> None:
    volume = good_input(spec)
    middle = len(volume.array) // 2
    one = Volume(volume.array[middle : middle + 1], matrix((2.0, 2.0, 4.0)), modality=volume.modality)
    result = run(spec, one)
    for found in result.volumes().values():
        assert found.shape[0] == 1
