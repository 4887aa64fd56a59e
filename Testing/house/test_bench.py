"""The benchmark on tiny images: what it measures, judges, prints and writes. No time is held to anything."""

from __future__ import annotations

import functools
import itertools
import json
import math
import sys
from dataclasses import replace

import jsonschema
import numpy as np
import pytest
from bench import command, data, harness, known, memory, quality, report, rows, targets
from bench.harness import OURS, Measured, Options, Row, Subject, Timing

ONCE = Options(repeats=1, seconds=0.5)


def silent(text: str) -> None:
    """Progress that nobody watches."""


@functools.cache
def chest(part: float = 0.25) -> data.Chest:
    """A coarse chest, a part of the real size, so that 1 mm voxels stay few."""
    drawn = data.chest((44, 60, 60), (7.0, 6.0, 6.0))
    matrix = drawn.ijkToRAS.copy()
    matrix[:3] *= part
    return replace(drawn, ijkToRAS=matrix)


@functools.cache
def measured(name: str) -> Measured:
    """A row measured on the tiny chest; lungs are only found where they are large enough to be some."""
    return harness.measure(rows.ROWS[name], chest(0.5 if name == "lungs" else 0.25), ONCE, silent)


@pytest.fixture
def tiny() -> data.Chest:
    return chest()


@pytest.fixture(params=list(rows.ROWS))
def row(request) -> Measured:
    """Every row, measured."""
    return measured(request.param)


# ---- every row


def test_a_row_measures_medprep_and_its_peers(row):
    groups = {subject.group for subject in row.subjects}
    assert OURS in groups and len(groups) >= 2
    assert row.failures == {} and set(row.timings) == {subject.name for subject in row.subjects}
    for timing in row.timings.values():
        assert timing.wall and min(timing.wall) > 0 and len(timing.cpu) == len(timing.wall)
    assert row.limit.wall and row.voxels > 0 and row.moved > 0
    sizes = [voxels for voxels, _seconds in row.scaling]
    assert sizes == sorted(sizes) and sizes[0] < sizes[2] == row.voxels


def test_a_rows_table_names_every_way_target_and_figure(row):
    text = report.row_text(row)
    for words in [row.row.name, row.row.title, "grows as voxels to the power of", *row.timings]:
        assert words in text
    for target in row.row.targets:
        assert f"target {target.text()}: " in text
    summary = report.summary_text([row])
    for group in {s.group for s in row.subjects} - {OURS}:
        assert f"{group} " in summary


def test_a_rows_record_fits_the_schema_and_survives_json(row, tiny, tmp_path):
    record = report.record([row], tiny.hu.shape, tiny.spacing_kji)
    report.write(tmp_path / "new" / "bench.json", record)
    read = json.loads((tmp_path / "new" / "bench.json").read_text())
    assert read == json.loads(json.dumps(record))
    jsonschema.validate(read, report.JSON_SCHEMA)
    ways = read["rows"][0]["ways"]
    assert ways[0]["name"] == OURS and ways[0]["ratio"] == 1
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["bench.json"]


@pytest.mark.parametrize(
    ("name", "figure", "low", "high"),
    [
        ("window-uint8", "largest error (grey levels)", 0, 0),
        ("window-float", "largest error", 0, 1e-6),
        ("clip", "largest error (HU)", 0, 0),
        ("min-max", "largest error", 0, 1e-6),
        ("metal", "components that differ", 0, 0),
        ("resample-linear", "off ITK (HU)", 0, 1),
        ("resample-cubic", "off ITK (HU)", 0, 1),
        ("resample-cubic", "PSNR (dB)", 69, 90),
        ("resample-linear", "PSNR (dB)", 50, 60),
        ("resample-nearest", "labels that differ (%)", 0, 6),  # ties, which whole ratios of spacings make
        ("lungs", "Dice both lungs", 0.9, 1),
        ("clahe", "grey levels", 257, 65536),
        ("clahe", "PSNR to OpenCV at 8 bits (dB)", 25, 120),  # tiles of 8 x 8 pixels have few for a histogram
        ("check", "maximum off (HU)", 0, 0),
        ("augment-elastic", "mean off scipy", 0, 0.1),
        ("augment-affine", "mean off scipy", 0, 0.1),
        ("ssim", "off scikit-image", 0, 1e-6),
        ("psnr", "off scikit-image", 0, 1e-5),
        ("pipeline", "image off SimpleITK (HU)", 0, 1.001),
    ],
)
def test_the_quality_of_medprep(name, figure, low, high):
    assert low <= measured(name).timings[OURS].quality[figure] <= high


def test_peers_are_judged_by_the_same_ruler():
    peer = measured("window-uint8").timings["SimpleITK"]
    assert peer.quality == {"largest error (grey levels)": 1}  # it truncates


@pytest.mark.parametrize("name", ["window-uint8", "window-float", "clip", "min-max", "resample-linear"])
def test_monai_and_torchio_do_the_same_work(name, tiny):
    for module in ("monai", "torchio"):
        pytest.importorskip(module, reason=f"{module} is in the bench environment only")
    small = tiny.slab(0.25)
    options = replace(ONCE, extra_peers=True, scaling=False)
    found = harness.measure(rows.ROWS[name], small, options, silent)
    assert found.failures == {} and {"MONAI", "TorchIO"} <= set(found.timings)
    if not name.startswith("resample"):
        for peer in ("MONAI", "TorchIO"):
            assert max(found.timings[peer].quality.values()) <= 1


# ---- the harness


class Counting(Row):
    """Two ways that say when they are called."""

    name, title = "counting", "counts calls"
    oracle = "peer"

    def __init__(self) -> None:
        self.calls: list[str] = []

    def moved(self, data):
        return 1000

    def voxels(self, data):
        return 10

    def way(self, name: str, group: str, **changes) -> Subject:
        return Subject(name, group, lambda: self.calls.append(name) or name, **changes)

    def ours(self, data):
        return [self.way(OURS, OURS)]

    def peers(self, data, options):
        return [self.way("peer", "peer", share=0.25)]

    def judge(self, data, array, oracle):
        return {"oracle is peer": float(oracle == "peer")}


NO_SCALING = Options(repeats=3, scaling=False)


def test_ways_are_called_in_turn_and_the_oracle_first(monkeypatch):
    monkeypatch.setattr(memory, "_RESET", memory.Path("/nowhere/clear_refs"))
    row = Counting()
    found = harness.measure(row, None, NO_SCALING, silent)
    assert row.calls == ["peer", OURS] + [OURS, "peer"] * 3
    assert found.timings[OURS].quality == {"oracle is peer": 1.0}
    assert found.timings[OURS].peak is None and len(found.timings[OURS].wall) == 3


def test_a_part_of_the_work_is_extrapolated(monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(harness.time, "perf_counter", lambda: float(next(ticks)))
    monkeypatch.setattr(harness, "LONG", math.inf)
    found = harness.measure(Counting(), None, NO_SCALING, silent)
    assert set(found.timings[OURS].wall) == {1.0} and set(found.timings["peer"].wall) == {4.0}
    assert "peer (extrapolated)" in report.row_text(found)


def test_a_long_first_call_is_the_measurement(monkeypatch):
    monkeypatch.setattr(harness, "LONG", -1.0)
    row = Counting()
    found = harness.measure(row, None, NO_SCALING, silent)
    assert row.calls == ["peer", OURS]
    assert [len(t.wall) for t in found.timings.values()] == [1, 1]


def test_a_slow_way_sits_out_after_two_turns(monkeypatch):
    monkeypatch.setattr(harness, "ENOUGH", -1.0)
    found = harness.measure(Counting(), None, NO_SCALING, silent)
    assert [len(t.wall) for t in found.timings.values()] == [2, 2]


def test_a_peer_that_fails_is_reported_and_ours_is_not_forgiven():
    def fail():
        raise RuntimeError("no such option")

    row = Counting()
    row.peers = lambda data, options: [Subject("peer", "peer", fail)]
    found = harness.measure(row, None, NO_SCALING, silent)
    assert found.failures == {"peer": "RuntimeError: no such option"}
    assert "peer failed: RuntimeError: no such option" in report.row_text(found)
    row.ours = lambda data: [Subject(OURS, OURS, fail)]
    with pytest.raises(RuntimeError):
        harness.measure(row, None, NO_SCALING, silent)


def made(wanted: targets.Target, own: Timing, peer: Timing | None = None) -> Measured:
    row = Counting()
    row.targets = (wanted,)
    subjects = [Subject(OURS, OURS, print), Subject("peer", "peer", print)]
    timings = {OURS: own} | ({} if peer is None else {"peer": peer})
    return Measured(row, subjects, timings, Timing([1.0], [1.0]), voxels=1 << 20, moved=1)


@pytest.mark.parametrize(
    ("wanted", "own", "peer", "value", "reached"),
    [
        (targets.ratio("peer", 3), Timing([2.0, 1.0]), Timing([3.0, 9.0]), 3.0, True),
        (targets.ratio("peer", 3), Timing([1.0]), Timing([2.9]), 2.9, False),
        (targets.ratio("peer", 3), Timing([1.0]), None, None, None),
        (targets.memory(1), Timing([1.0], peak=9 << 20), None, 1.0, True),
        (targets.memory(1), Timing([1.0], peak=11 << 20), None, 3.0, False),
        (targets.memory(1), Timing([1.0], peak=None), None, None, None),
        (targets.quality("q", at_most=1), Timing([1.0], quality={"q": 1.0}), None, 1.0, True),
        (targets.quality("q", at_least=2), Timing([1.0], quality={"q": 1.0}), None, 1.0, False),
        (targets.quality("r", at_least=2), Timing([1.0], quality={"q": 1.0}), None, None, None),
        (
            targets.beside("q", "peer", -0.25),
            Timing([1.0], quality={"q": 1.0}),
            Timing([1.0], quality={"q": 1.25}),
            1.0,
            True,
        ),
        (
            targets.beside("q", "peer", -0.25),
            Timing([1.0], quality={"q": 1.0}),
            Timing([1.0], quality={"q": 1.5}),
            1.0,
            False,
        ),
    ],
)
def test_targets_are_reached_missed_or_not_measured(wanted, own, peer, value, reached):
    ((_target, found, verdict),) = harness.outcomes(made(wanted, own, peer))
    assert verdict is reached
    assert found is None if value is None else found == pytest.approx(value)


def test_growth_is_the_slope_of_the_logarithms():
    assert harness.exponent([(10, 1.0), (20, 2.0), (40, 4.0)]) == pytest.approx(1)
    assert harness.exponent([(10, 1.0), (20, 4.0), (40, 16.0)]) == pytest.approx(2)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can set the peak back")
def test_the_peak_of_a_call_counts_what_it_gave_back_already():
    size = 64 << 20

    def hold_and_release():
        np.ones(size, np.uint8)
        return np.ones(size // 4, np.uint8)

    result, peak = memory.peak_of(hold_and_release)
    assert result.size == size // 4
    assert 0.9 * size < peak < 1.6 * size
    assert memory.peak_of(lambda: None)[1] < size // 8


# ---- figures


def test_figures_against_their_definitions():
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 255, (2, 40, 5, 6)).astype(np.uint8)
    difference = one.astype(float) - other
    assert quality.largest_difference(one, other) == np.abs(difference).max()
    assert quality.mean_difference(one, other) == pytest.approx(np.abs(difference).mean())
    assert quality.psnr(one, other, 255) == pytest.approx(10 * math.log10(255**2 / (difference**2).mean()))
    assert quality.psnr(one, one, 255) == math.inf
    assert quality.dice(one > 100, other > 100) == pytest.approx(
        2 * ((one > 100) & (other > 100)).sum() / ((one > 100).sum() + (other > 100).sum())
    )
    assert quality.dice(one > 255, other > 255) == 1
    small = one[:, :, :3]
    assert (quality.largest_difference(one, small), quality.dice(one, small)) == (math.inf, 0)
    assert quality.psnr(one, small, 255) == -math.inf


def test_the_table_holds_the_formula_for_every_int16_value():
    table = quality.value_table(lambda x: 2 * x + 1)
    image = np.arange(-32768, 32768, dtype=np.int32).astype(np.int16).reshape(64, 32, 32)
    right = 2.0 * image + 1
    assert quality.largest_difference_from_table(right, image, table) == 0
    right[63, 31, 31] += 3
    assert quality.largest_difference_from_table(right, image, table) == 3


def test_the_known_chest_is_its_formula():
    chest = known.known_chest()
    same = known.truth((0, 0, 0), (1, 1, 1), known.SHAPE)
    assert np.abs(chest.hu - same).max() <= 0.5
    lung = known.values(np.array([26.0]), np.array([33.0]), np.array([45.0]))
    assert lung.item() == pytest.approx(-1000 + 1040 - 880, abs=1)  # well inside the body and a lung
    assert known.values(np.zeros(1), np.zeros(1), np.zeros(1)).item() == pytest.approx(-1000, abs=1e-3)


# ---- data and command


def test_parts_of_the_chest_stay_in_place(tiny):
    for part, first, step in ((tiny.slab(0.5), 11, 1), (tiny.thinned(2), 0, 2)):
        for k in (0, 5):
            there = part.ijkToRAS @ [3, 4, k, 1]
            np.testing.assert_allclose(there, tiny.ijkToRAS @ [3, 4, first + step * k, 1])
            np.testing.assert_array_equal(part.hu[k], tiny.hu[first + step * k])
        assert part.labels.shape == part.nodules.shape == part.hu.shape


def test_the_phantom_is_drawn_once(tmp_path, monkeypatch):
    shape, spacing = (4, 12, 12), (60.0, 30.0, 30.0)
    drawn = data.chest(shape, spacing, tmp_path)
    monkeypatch.setattr(data, "make_chest_phantom", None)
    again = data.chest(shape, spacing, tmp_path)
    for name in ("hu", "labels", "nodules", "ijkToRAS"):
        np.testing.assert_array_equal(getattr(again, name), getattr(drawn, name))
    with pytest.raises(TypeError):  # another phantom is not taken for this one
        data.chest(shape, (60.0, 30.0, 31.0), tmp_path)


def test_the_command_prints_a_table_and_writes_json(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "chest", lambda shape, spacing, cache: tiny)
    path = tmp_path / "figures.json"
    assert command.main(["check", "clip", "--quick", "--repeats", "1", "--json", str(path)]) == 0
    text = capsys.readouterr().out
    assert text.index("check: ") < text.index("clip: ") < text.index("Times as fast as its peers")
    assert str(path) in text
    assert [row["name"] for row in json.loads(path.read_text())["rows"]] == ["check", "clip"]


def test_the_command_lists_its_rows_and_refuses_others(capsys):
    assert command.main(["--list"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == list(rows.ROWS)
    assert command.main(["windw"]) == 2
    assert "no row called windw" in capsys.readouterr().err
    assert command.main(["clip", "--repeats", "0"]) == 2
