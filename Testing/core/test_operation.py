"""Parameters, presets, the registry, the engine that runs one operation, and provenance."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from MedPrepCommonLib.core import engine, provenance
from MedPrepCommonLib.core import operation as registry
from MedPrepCommonLib.core.errors import Cancelled, GeometryError, InputError, ParameterError
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import (
    Help,
    Preset,
    Span,
    Unit,
    create,
    find,
    known,
    operation,
    settings,
)
from MedPrepCommonLib.core.parameters import parameters_of
from MedPrepCommonLib.core.result import Result
from MedPrepCommonLib.core.volume import LabelVolume, Volume


@pytest.fixture
def shift() -> Iterator[type]:
    """A registered operation with a parameter of every kind; gone after the test."""

    @operation(
        "t.shift", title="Shift", console="shift", modality="CT", outputs=("image",), cite=("Someone 2020",)
    )
    class Shift:
        """Add a number."""

        by: Annotated[float, Span(-10, 10), Unit("HU"), Help("Added to every voxel")] = 1.5
        times: Annotated[int, Span(1, 4), Help("How often")] = 1
        kind: Annotated[Literal["up", "down"], Help("Which way")] = "up"
        note: Annotated[str, Help("Any text")] = ""
        loud: Annotated[bool, Help("Whether")] = False
        spacing: Annotated[tuple[float, float, float], Span(0.1, 9), Unit("mm"), Help("Sizes")] = (
            1.0,
            1.0,
            1.0,
        )
        presets = {"far": Preset("Far", "Someone 2020", by=10, times=2)}

        def __post_init__(self) -> None:
            if self.loud and not self.note:
                raise ParameterError("t.shift.loud is true without a note.")

        def __call__(
            self, image: Volume, mask: LabelVolume | None, extra: tuple[LabelVolume, ...], job: Job
        ) -> Result:
            job.report(0.5, "shifting")
            shifted = image.array + np.float32(self.by * self.times)
            return Result(images={"image": image.with_array(shifted, name="")}, metrics={"extra": len(extra)})

    yield Shift
    registry._registry.pop("t.shift")


def ct(array: np.ndarray | None = None, **fields) -> Volume:
    array = np.zeros((3, 4, 5), np.float32) if array is None else array
    return Volume(array, np.diag([1, 1, 2, 1.0]), **{"modality": "CT", **fields})


def labels() -> LabelVolume:
    return LabelVolume(np.ones((3, 4, 5), np.uint8), np.diag([1, 1, 2, 1.0]))


# Parameters


def test_a_declaration_becomes_what_every_face_shows(shift: type) -> None:
    found = {p.name: p for p in find("t.shift").parameters}
    assert [(p.name, p.kind, p.default) for p in found.values()] == [
        ("by", "float", 1.5),
        ("times", "int", 1),
        ("kind", "choice", "up"),
        ("note", "text", ""),
        ("loud", "bool", False),
        ("spacing", "vector", (1.0, 1.0, 1.0)),
    ]
    assert (found["by"].unit, found["by"].help, found["by"].span.high) == ("HU", "Added to every voxel", 10)
    assert found["kind"].choices == ("up", "down")
    assert found["spacing"].length == 3
    assert find("t.shift").name == "shift"
    assert [(s.name, s.labels, s.optional, s.many) for s in find("t.shift").inputs] == [
        ("image", False, False, False),
        ("mask", True, True, False),
        ("extra", True, True, True),
    ]


@dataclass(frozen=True)
class _Declared:
    by: Annotated[float, Span(-10, 10), Unit("HU"), Help("...")] = 1.0


@given(st.floats(-10, 10))
def test_numbers_in_range_are_taken_as_they_are(value: float) -> None:
    parameter = parameters_of(_Declared)[0]
    assert parameter.clean(value, "x") == value
    assert parameter.clean(np.float64(value), "x") == value
    assert type(parameter.clean(np.float32(1), "x")) is float


@given(st.one_of(st.floats(10.001), st.floats(max_value=-10.001), st.just(math.nan), st.text(), st.none()))
def test_other_values_are_refused_with_the_range(value: object) -> None:
    with pytest.raises(ParameterError) as caught:
        parameters_of(_Declared)[0].clean(value, "t.shift")
    assert caught.value.wrong.startswith("t.shift.by is ")
    assert "number" in caught.value.expected or "-10 to 10 HU" in caught.value.expected


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"by": 11}, r"t\.shift\.by is 11\. Expected -10 to 10 HU"),
        ({"by": True}, "Expected a number"),
        ({"by": "1"}, "Expected a number"),
        ({"by": math.inf}, "Expected a number"),
        ({"times": 1.5}, "Expected a whole number"),
        ({"times": math.nan}, "Expected a whole number"),
        ({"times": 9}, "Expected 1 to 4"),
        ({"kind": "upp"}, r"Expected one of up, down\. Did you mean 'up'"),
        ({"kind": 1}, "Expected text"),
        ({"note": 1}, "Expected text"),
        ({"loud": 1}, "Expected true or false"),
        ({"spacing": (1, 2)}, "Expected one number or 3"),
        ({"spacing": "123"}, "Expected one number or 3"),
        ({"spacing": {"a": 1}}, "Expected one number or 3"),
        ({"spacing": (1, 2, 20)}, r"Expected 0\.1 to 9 mm"),
        ({"spacing": (1, 2, None)}, "Expected a number"),
        ({"bye": 1}, r"no parameter 'bye'.*Did you mean 'by'"),
        ({"loud": True}, "without a note"),
    ],
)
def test_wrong_parameters_say_what_is_right(shift: type, values: dict, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        create("t.shift", **values)


def test_right_parameters_take_their_own_type(shift: type) -> None:
    op = create("t.shift", by=np.int16(3), times=2.0, spacing=2, loud=np.True_, note="n")
    assert (op.by, op.times, op.spacing, op.loud) == (3.0, 2, (2.0, 2.0, 2.0), True)
    assert [type(v) for v in (op.by, op.times, op.loud)] == [float, int, bool]
    assert json.loads(json.dumps(settings(op))) == settings(op)


def test_presets_come_before_parameters(shift: type) -> None:
    op = create("t.shift", "far", times=3)
    assert (op.by, op.times) == (10.0, 3)
    with pytest.raises(ParameterError, match=r"no preset 'fra'.*Did you mean 'far'"):
        create("t.shift", "fra")


@pytest.mark.parametrize("preset", [{"by": 99}, {"nothing": 1}], ids=["out of range", "unknown parameter"])
def test_a_preset_that_cannot_work_is_found_when_it_is_declared(preset: dict) -> None:
    with pytest.raises(ParameterError):

        @operation("t.wrong", title="", console="wrong", outputs=())
        class Wrong:
            by: Annotated[float, Span(0, 1), Help("...")] = 0.5
            presets = {"bad": Preset("Bad", **preset)}

            def __call__(self, image: Volume, job: Job) -> Result: ...

    assert "t.wrong" not in known()


def test_declarations_without_default_help_or_range_are_refused() -> None:
    for hint, default in (
        (Annotated[float, Span(0, 1), Help("...")], None),
        (Annotated[float, Span(0, 1)], 0.5),
        (Annotated[float, Help("...")], 0.5),
    ):
        space = {"__annotations__": {"by": hint}, "__call__": lambda self, image, job: None}
        if default is not None:
            space["by"] = default
        with pytest.raises(TypeError, match="needs a"):
            operation("t.wrong", title="", console="wrong", outputs=())(type("Wrong", (), space))
    assert "t.wrong" not in known()


def test_an_unknown_operation_offers_the_nearest(shift: type) -> None:
    with pytest.raises(ParameterError, match=r"no operation 't\.shfit'.*Did you mean 't\.shift'"):
        find("t.shfit")


def test_every_registered_operation_declares_itself_fully() -> None:
    for id, spec in known().items():
        assert spec.id == id and spec.title and spec.summary and spec.outputs and spec.inputs, id
        assert spec.console.isidentifier(), id
        assert all(p.help for p in spec.parameters), id
        assert create(id) == spec.cls(), "defaults are valid"
        for name, preset in spec.presets.items():
            assert preset.title, f"{id} {name}"
            create(id, name)


def test_console_names_differ_within_a_module() -> None:
    names = [(spec.id.rpartition(".")[0], spec.console) for spec in known().values()]
    assert len(set(names)) == len(names)


def test_the_registry_needs_no_slicer() -> None:
    code = (
        "import sys; from MedPrepCommonLib.core.operation import known; known(); "
        "print([m for m in ('slicer', 'vtk', 'qt', 'ctk', 'cv2', 'skimage', 'typer', 'rich', 'matplotlib') "
        "if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


# Engine


def test_a_run_returns_named_results_with_history(shift: type) -> None:
    image = ct(history=({"operation": "earlier"},), name="case")
    result = engine.run(create("t.shift", by=2), {"image": image, "extra": (labels(), labels())})
    shifted = result.images["image"]
    assert (shifted.array == 2).all() and (image.array == 0).all()
    assert shifted.name == "image" and result.metrics == {"extra": 2}
    assert [step["operation"] for step in shifted.history] == ["earlier", "t.shift"]
    step = shifted.history[-1]
    assert step["parameters"]["by"] == 2.0 and step["cite"] == ["Someone 2020"]
    assert step["inputs"]["image"] == provenance.digest(image)
    assert set(step["inputs"]) == {"image", "extra[0]", "extra[1]"}
    assert {"MedPrep", "numpy", "SimpleITK"} <= step["versions"].keys()


def test_what_an_earlier_step_made_is_named_by_its_step(shift: type) -> None:
    result = engine.run(create("t.shift"), {"image": ct()}, sources={"image": "step:before.image"})
    assert result.images["image"].history[-1]["inputs"] == {"image": "step:before.image"}


def test_histories_of_several_inputs_are_merged_once(shift: type) -> None:
    common = {"operation": "common"}
    mask = labels().with_array(labels().array, history=(common, {"operation": "mask"}))
    result = engine.run(create("t.shift"), {"image": ct(history=(common,)), "mask": mask})
    history = [step["operation"] for step in result.images["image"].history]
    assert history == ["common", "mask", "t.shift"]


def sheared() -> Volume:
    matrix = np.eye(4)
    matrix[1, 2] = 0.2
    return ct().with_array(ct().array, ijkToRAS=matrix)


@pytest.mark.parametrize(
    ("inputs", "error", "words"),
    [
        ({}, InputError, "got no image"),
        ({"image": None}, InputError, "got no image"),
        ({"image": "x"}, InputError, "got str"),
        ({"picture": 1}, InputError, "no input called picture"),
        ({"image": ct(), "mask": ct()}, InputError, "Expected a label map"),
        ({"image": ct(), "extra": (ct(),)}, InputError, "Expected a label map"),
        ({"image": ct(np.zeros((1, 1, 1), np.float32))}, GeometryError, "1 x 1 x 1 voxels"),
        ({"image": ct(np.zeros((1, 5, 1), np.float32))}, GeometryError, "1 x 5 x 1 voxels"),
        ({"image": ct(np.zeros((3, 4, 5, 3), np.uint8))}, InputError, "3 values per voxel"),
        ({"image": ct(np.array([[[0, np.nan], [1, np.inf]]]))}, InputError, "2 voxels are NaN or infinite"),
        ({"image": ct(modality="MR")}, InputError, "modality is MR"),
        ({"image": sheared()}, GeometryError, "sheared"),
    ],
)
def test_unusable_inputs_are_refused_before_anything_runs(
    shift: type, inputs: dict, error: type, words: str
) -> None:
    asked = []
    with pytest.raises(error, match=words) as caught:
        engine.run(create("t.shift"), inputs, Job(lambda *progress: asked.append(progress)))
    assert caught.value.expected
    assert asked == [], "the operation was not started"


@pytest.mark.parametrize("modality", ["CT", ""])
def test_the_right_or_an_unknown_modality_is_taken(shift: type, modality: str) -> None:
    engine.run(create("t.shift"), {"image": ct(modality=modality)})


def test_large_finite_values_are_no_infinity(shift: type) -> None:
    huge = ct(np.full((2, 2, 2), np.finfo(np.float64).max))
    engine.check_finite(huge)  # their sum overflows, they do not


def test_a_cancel_leaves_no_result(shift: type) -> None:
    seen: list[float] = []
    job = Job(lambda fraction, _message: seen.append(fraction), lambda: len(seen) > 0)
    with pytest.raises(Cancelled):
        engine.run(create("t.shift"), {"image": ct()}, job)


def test_progress_of_a_part_fills_its_share() -> None:
    seen: list[tuple[float, str]] = []
    job = Job(lambda *progress: seen.append(progress))
    job.part(0.2, 0.6, "part").report(0.5)
    job.part(0.2, 0.6).part(0.5, 1.0).report(1.0, "inner")
    job.report(7)
    assert [round(fraction, 12) for fraction, _ in seen] == [0.4, 0.6, 1.0]
    assert [message for _, message in seen[:2]] == ["part", "inner"]


# Provenance


def test_a_digest_knows_values_type_shape_and_place_only() -> None:
    volume = ct(np.arange(60, dtype=np.float32).reshape(3, 4, 5))
    same = ct(volume.array.copy(order="F"), name="other", modality="MR", info={"a": 1}, display=(1, 2))
    assert provenance.digest(volume) == provenance.digest(same)
    moved = volume.ijkToRAS.copy()
    moved[0, 3] = -0.0
    assert provenance.digest(volume.with_array(volume.array, ijkToRAS=moved)) == provenance.digest(volume)
    moved[0, 3] = 1e-6
    changed = [
        volume.with_array(volume.array, ijkToRAS=moved),
        volume.with_array(volume.array.astype(np.float64)),
        volume.with_array(volume.array.reshape(4, 3, 5)),
        volume.with_array(np.where(volume.array == 59, 60, volume.array)),
    ]
    assert len({provenance.digest(v) for v in (volume, *changed)}) == 5


def test_a_digest_does_not_depend_on_the_byte_order_in_memory() -> None:
    array = np.arange(8, dtype="<i2").reshape(2, 2, 2)
    assert provenance.digest(ct(array)) == provenance.digest(ct(array.astype(">i2")))


def test_a_digest_of_many_pieces_does_not_depend_on_threads_or_memory_order(monkeypatch) -> None:
    monkeypatch.setattr(provenance, "_PIECE", 100)
    array = np.random.default_rng(0).integers(-1000, 1000, (7, 4, 5)).astype(np.int16)
    digests = set()
    for threads in ("1", "3"):
        monkeypatch.setenv("MEDPREP_THREADS", threads)
        digests |= {provenance.digest(ct(a)) for a in (array, np.asfortranarray(array), array[::-1][::-1])}
    assert len(digests) == 1
    last = array.copy()
    last[-1, -1, -1] += 1
    assert provenance.digest(ct(last)) not in digests


def test_canonical_text_is_the_same_for_equal_records() -> None:
    assert provenance.text({"b": [1, 2], "a": "é"}) == provenance.text({"a": "é", "b": [1, 2]})
    assert provenance.digest_of({"a": 1}) != provenance.digest_of({"a": 2})
