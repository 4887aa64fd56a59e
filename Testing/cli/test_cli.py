"""The command line as a user meets it: words, exit codes, what is written, Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import SimpleITK as sitk
import tinyops
from typer.testing import CliRunner

from MedPrepCommonLib.cli import app
from MedPrepCommonLib.cli.progress import watched
from MedPrepCommonLib.core.errors import Cancelled
from MedPrepCommonLib.core.operation import known
from MedPrepCommonLib.core.recipe import available
from MedPrepCommonLib.core.volume import Volume
from MedPrepCommonLib.demo import chest as demochest
from MedPrepCommonLib.outputs import writing
from MedPrepCommonLib.phantoms.chest import make_chest_phantom


@pytest.fixture(autouse=True, scope="module")
def _tiny_operations():
    with tinyops.registered():
        yield


@pytest.fixture
def medprep(slicerHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs a command in a folder that holds an image and a recipe; returns exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    writing.write_nifti(tinyops.image(), tmp_path / "ct.nii.gz")
    (tmp_path / "tiny.json").write_text(json.dumps(tinyops.recipe()))

    def run(*arguments: str):
        return CliRunner().invoke(app.app, arguments, catch_exceptions=False)

    return run


def files(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


RUN = ("run", "tiny.json", "--input", "image=ct.nii.gz", "--out", "out")


# Asking


def test_help_is_quick_to_load_and_names_every_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "MedPrepCommonLib.cli", "--help"], capture_output=True, text=True, check=True
    )
    for command in (
        "operations",
        "recipes",
        "run",
        "batch",
        "cases",
        "split",
        "qc",
        "export",
        "demo",
        "report",
        "landmarks",
        "reassemble",
        "schema",
    ):
        assert re.search(rf"^  {command} ", done.stdout, re.MULTILINE)
    assert "Exit codes" in done.stdout
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, MedPrepCommonLib.cli; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    heavy = {"numpy", "scipy", "SimpleITK", "slicer", "vtk", "matplotlib", "cv2", "pydicom"}
    assert heavy.isdisjoint(loaded), "what --help needs is quick to load"


def test_the_version(medprep) -> None:
    from MedPrepCommonLib.version import __version__

    assert medprep("--version").stdout == f"medprep {__version__}\n"


def test_operations_are_listed(medprep) -> None:
    listed = medprep("operations").stdout
    assert all(re.search(rf"^{re.escape(id)} ", listed, re.MULTILINE) for id in known())
    records = json.loads(medprep("operations", "--json").stdout)
    assert [r["id"] for r in records] == list(known())


@pytest.mark.parametrize("id", known())
def test_an_operation_is_explained_in_full(medprep, id: str) -> None:
    spec = known()[id]
    text = " ".join(medprep("operations", id).stdout.split())
    record = json.loads(medprep("operations", id, "--json").stdout)
    assert record["title"] in text
    for parameter, shown in zip(spec.parameters, record["parameters"], strict=True):
        assert f"{parameter.name} = " in text and " ".join(parameter.help.split()) in text
        assert shown["default"] == (
            list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
        )
        if parameter.span is not None:
            assert f"{parameter.span.low:g} to {parameter.span.high:g}" in text
            assert (shown["low"], shown["high"]) == (parameter.span.low, parameter.span.high)
        assert all(choice in text for choice in parameter.choices)
    for name, preset in spec.presets.items():
        assert name in text and preset.title in text
        assert record["presets"][name]["values"] == json.loads(json.dumps(dict(preset)))
    assert all(" ".join(cite.split()) in text for cite in spec.cite)


def test_recipes_are_listed_and_explained(medprep) -> None:
    listed = medprep("recipes").stdout
    records = json.loads(medprep("recipes", "--json").stdout)
    assert [r["name"] for r in records] == list(available())
    assert all(r["name"] in listed and r["title"] in listed for r in records)
    text = medprep("recipes", "tiny.json").stdout
    for words in (
        "Tiny recipe",
        "1. t.scale  <- image: image",
        "offset = -100 HU",
        "2. t.bright (find)",
        "lungs  <- find.bright?",
    ):
        assert words in text
    assert (
        json.loads(medprep("recipes", "tiny.json", "--json").stdout)["steps"][0]["parameters"]["factor"]
        == 2.0
    )


def test_a_broken_recipe_does_not_hide_the_others(tmp_path: Path) -> None:
    from MedPrepCommonLib.recipes import listing

    broken = tmp_path / "broken.json"
    broken.write_text("{")
    found = listing.recipe_records({"broken": broken, **available()})
    assert "is not JSON" in found[0]["error"] and len(found) == len(available()) + 1
    assert "is not JSON" in listing.recipes_text(found)


def test_the_schema_is_printed(medprep) -> None:
    jsonschema.validate(tinyops.recipe(), json.loads(medprep("schema").stdout))


# Running


def test_a_run_writes_a_folder_and_says_where(medprep, tmp_path: Path) -> None:
    done = medprep(*RUN)
    assert done.exit_code == 0
    assert "tiny: PASS - 1 of 1 checks passed." in done.stdout
    report = Path(re.search(r"Report: (.*)", done.stdout).group(1))
    assert report == tmp_path / "out" / "report.html" and report.is_file()
    assert "scaled.nii.gz" in done.stdout and "scene.mrb" in done.stdout
    assert re.search(r"^\[ *\d+ %\] Reading image$", done.stderr, re.MULTILINE)
    assert files(tmp_path) == ["ct.nii.gz", "out", "tiny.json"]


def test_quiet_says_nothing(medprep) -> None:
    done = medprep(*RUN, "--quiet")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")


def test_the_commands_files_equal_those_of_the_library(medprep, tmp_path: Path) -> None:
    from MedPrepCommonLib.core import recipe, runner
    from MedPrepCommonLib.files.reading import read_volume

    medprep(*RUN, "--quiet", "--set", "scale.factor=3")
    inputs = {"image": read_volume(tmp_path / "ct.nii.gz")}
    changed = recipe.load("tiny.json").with_settings({"t.scale.factor": 3})
    written = writing.write(runner.run(changed, inputs), inputs, tmp_path / "library")
    for name in written.files:
        assert (tmp_path / "out" / name).read_bytes() == (written.folder / name).read_bytes(), name


def test_settings_are_json_or_text(medprep, tmp_path: Path) -> None:
    assert medprep(*RUN, "--set", "t.scale.factor=0.5", "--set", "find.threshold=-1e2").exit_code == 0
    steps = json.loads((tmp_path / "out" / "recipe.json").read_text())["steps"]
    assert steps[0]["parameters"]["factor"] == 0.5 and steps[1]["parameters"]["threshold"] == -100
    assert medprep(*RUN, "--overwrite", "--set", "scale.preset=half").exit_code == 0
    assert medprep(*RUN, "--overwrite", "-s", 'scale.preset="half"').exit_code == 0
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "scaled.nii.gz")))
    assert abs(found - (tinyops.image().array * 0.5 - 100)).max() == 0


def test_warnings_are_shown_with_advice_and_do_not_fail(medprep) -> None:
    done = medprep(*RUN, "--set", "find.threshold=3000")
    assert done.exit_code == 0
    assert "tiny: WARN - 1 checks: 1 with a warning." in done.stdout
    assert "warn: Anything bright: 0 voxels (limit > 0)" in done.stdout and "Look closer." in done.stdout


def test_strict_turns_a_failed_check_into_an_exit_code(medprep) -> None:
    failing = ("--overwrite", "--set", "find.threshold=4500")
    assert medprep(*RUN, "--strict").exit_code == 0
    done = medprep(*RUN, *failing)
    assert done.exit_code == 0 and "tiny: FAIL - 1 checks: 1 failed." in done.stdout
    strict = medprep(*RUN, *failing, "--strict")
    assert strict.exit_code == app.QUALITY_FAILED and strict.stdout == done.stdout
    assert medprep(*RUN, "--overwrite", "--strict", "--set", "find.threshold=3000").exit_code == 0, (
        "a warning"
    )


WRONG = [
    (("run", "nothing", "--input", "image=ct.nii.gz", "--out", "out"), "no recipe 'nothing'"),
    (("run", "missing.json", "--input", "image=ct.nii.gz", "--out", "out"), "missing.json cannot be read"),
    ((*RUN, "--input", "mask=ct.nii.gz"), "no input 'mask'"),
    ((*RUN, "--input", "image=ct.nii.gz"), "--input image is given twice"),
    (("run", "tiny.json", "--input", "ct.nii.gz", "--out", "out"), "Expected --input image=PATH"),
    (("run", "tiny.json", "--input", "image=", "--out", "out"), "Expected --input image=PATH"),
    (("run", "tiny.json", "--input", "image=gone.nii.gz", "--out", "out"), "gone.nii.gz"),
    (("run", "tiny.json", "--input", "image=tiny.json", "--out", "out"), "tiny.json"),
    ((*RUN, "--set", "scale.factor"), "Expected --set ct.window.level=-650"),
    ((*RUN, "--set", "scale.factor=big"), "scale.factor: t.scale.factor is 'big'"),
    ((*RUN, "--set", "scale.factor=11"), "Expected -10 to 10"),
    ((*RUN, "--set", "scael.factor=1"), "Did you mean 'scale'"),
    ((*RUN, "--set", "scale.factr=1"), "scale.factr: "),
    (("operations", "t.scael"), "Did you mean 't.scale'"),
    (("recipes", "nothing"), "no recipe 'nothing'"),
    (("report", "."), "no readable provenance.json"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG, ids=[" ".join(a[-2:]) for a, _w in WRONG])
def test_mistakes_are_one_message_and_write_nothing(
    medprep, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    before = files(tmp_path)
    done = medprep(*arguments)
    assert done.exit_code == app.BAD_INPUT
    assert "medprep: " in done.stderr and words in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == ""
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    "arguments",
    [("run",), ("run", "tiny.json", "--out", "out"), ("run", "tiny.json", "--input", "image=a"), ("fly",)],
)
def test_wrong_usage_is_told_apart_from_a_defect(medprep, arguments: tuple[str, ...]) -> None:
    done = medprep(*arguments)
    assert done.exit_code == 2 and "Usage:" in done.stderr


def test_an_existing_result_is_kept(medprep, tmp_path: Path) -> None:
    assert medprep(*RUN).exit_code == 0
    stamp = (tmp_path / "out" / "report.html").stat().st_mtime_ns
    done = medprep(*RUN)
    assert done.exit_code == 2 and "--overwrite" in done.stderr
    assert "Reading" not in done.stderr, "refused before any work"
    assert (tmp_path / "out" / "report.html").stat().st_mtime_ns == stamp
    assert medprep(*RUN, "--overwrite").exit_code == 0


def test_a_report_is_made_again(medprep, tmp_path: Path) -> None:
    medprep(*RUN)
    page = tmp_path / "out" / "report.html"
    before = page.read_bytes()
    page.write_text("")
    done = medprep("report", "out")
    assert done.exit_code == 0 and done.stdout == f"{page}\n"
    assert page.read_bytes() == before


def test_a_label_input_is_read_as_labels(medprep, tmp_path: Path) -> None:
    record = tinyops.recipe(
        inputs={"image": {}, "lungs": {"kind": "labels", "optional": True}},
        steps=[{"operation": "t.bright", "inputs": {"image": "image", "labels": "lungs?"}}],
        outputs={"found": "bright.bright", "carried": "bright.lungs?"},
    )
    (tmp_path / "labels.json").write_text(json.dumps(record))
    first = medprep("run", "labels.json", "-i", "image=ct.nii.gz", "-o", "first")
    assert first.exit_code == 0 and "carried" not in first.stdout
    second = medprep(
        "run", "labels.json", "-i", "image=ct.nii.gz", "-i", "lungs=first/found.seg.nrrd", "-o", "second"
    )
    assert second.exit_code == 0 and "carried.seg.nrrd" in second.stdout


def test_a_series_is_chosen_by_its_number(medprep, shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "ct" / "ts-j2k-dicom" / "dicom"
    done = medprep("run", "tiny.json", "--input", f"image={folder}", "--series", "image=1", "--out", "out")
    assert done.exit_code == 0, done.stderr
    facts = json.loads((tmp_path / "out" / "provenance.json").read_text())["inputs"]["image"]
    assert facts["shape"] == [20, 512, 512] and facts["modality"] == "CT"
    wrong = medprep("run", "tiny.json", "--input", f"image={folder}", "--series", "9", "--out", "other")
    assert wrong.exit_code == 2 and files(tmp_path) == ["ct.nii.gz", "out", "tiny.json"]


# Stopping


def start(tmp_path: Path, *arguments: str) -> subprocess.Popen:
    """A command in a process of its own that says what it does."""
    return subprocess.Popen(
        [sys.executable, "-m", "MedPrepCommonLib.cli", *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def small_chest(tmp_path_factory) -> Path:
    phantom = make_chest_phantom((75, 128, 128), (4.0, 2.8, 2.8))
    path = tmp_path_factory.mktemp("chest") / "chest.nii.gz"
    writing.write_nifti(Volume(phantom.hu, phantom.ijkToRAS, modality="CT"), path)
    return path


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one child process")
@pytest.mark.parametrize("when", ["Reading image", "Lungs", "Writing image", "Writing the scene"])
def test_control_c_leaves_nothing_behind(small_chest: Path, tmp_path: Path, when: str) -> None:
    process = start(tmp_path, "run", "ct-lung", "--input", f"image={small_chest}", "--out", "out")
    for line in process.stderr:
        if when in line:
            process.send_signal(signal.SIGINT)
            break
    _out, rest = process.communicate(timeout=120)
    assert process.returncode == app.CANCELLED, rest
    assert "Cancelled; nothing was written." in rest and "Traceback" not in rest
    assert files(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one child process")
def test_the_first_signal_asks_and_the_second_insists() -> None:
    handler = signal.getsignal(signal.SIGINT)
    with watched("x", quiet=True) as job:
        job.check()
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(Cancelled):
            job.check()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

        def write(self, _text: str) -> int:
            return 0

        def flush(self) -> None: ...

    with watched("demo", stream=Terminal()) as job:
        job.report(0.5, "halfway")
    assert capsys.readouterr().out == "", "results go to stdout, progress does not"


def test_memory_errors_are_explained(medprep, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from MedPrepCommonLib.core import runner

    def huge(*_args: object) -> None:
        raise MemoryError

    monkeypatch.setattr(runner, "run", huge)
    done = medprep(*RUN)
    assert done.exit_code == 2 and "not enough memory" in done.stderr
    assert "out" not in files(tmp_path)


# Demo


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    folder = tmp_path_factory.mktemp("demo")
    process = start(folder, "demo")
    out, err = process.communicate(timeout=300)
    return folder, subprocess.CompletedProcess([], process.returncode, out, err)


def test_the_demo_finds_the_phantoms_lungs(demo) -> None:
    folder, done = demo
    assert done.returncode == 0, done.stderr
    chest, radiograph = done.stdout.split("Chest radiograph\n")
    numbers = dict(
        re.findall(r"^  (Dice right lung|Dice left lung|Airway leak|Nodules kept) +([\d.]+)", chest, re.M)
    )
    assert float(numbers["Dice right lung"]) >= 0.985 and float(numbers["Dice left lung"]) >= 0.985
    assert float(numbers["Airway leak"]) <= 2.0
    assert float(numbers["Nodules kept"]) >= 95.0
    both = re.search(r"^  Dice both +([\d.]+)", radiograph, re.M)
    assert float(both[1]) >= 0.94
    assert "Size" not in radiograph.partition("Compared")[0], "fine enough to be enhanced"
    assert files(folder) == ["medprep-demo"]


def test_the_demo_says_where_everything_is(demo) -> None:
    folder, done = demo
    for word in ("Report", "Pictures", "Scene", "Input"):
        paths = [Path(path) for path in re.findall(rf"^{word} +(\S+)", done.stdout, re.M)]
        assert paths and all(path.is_absolute() and path.exists() for path in paths), word
    assert "358 x 358 x 300 voxels of 1 x 1 x 1 mm" in done.stdout
    assert {"image.nii.gz", "windowed.nii.gz", "lungs.seg.nrrd", "metal.seg.nrrd", "input.nii.gz"} <= set(
        files(folder / "medprep-demo" / "chest")
    )


def test_the_demo_replaces_itself_and_nothing_else(demo) -> None:
    folder, _done = demo
    result = folder / "medprep-demo" / "chest"
    from MedPrepCommonLib.outputs import folder as outputfolder

    outputfolder.check(result, overwrite=True)
    (result / "mine.txt").write_text("x")
    process = start(folder, "demo")
    _out, err = process.communicate(timeout=60)
    assert process.returncode == 2 and "mine.txt" in err
    (result / "mine.txt").unlink()


def test_the_demos_input_is_the_phantom(demo) -> None:
    phantom = make_chest_phantom()
    image = sitk.ReadImage(str(demo[0] / "medprep-demo" / "chest" / "input.nii.gz"))
    assert (sitk.GetArrayFromImage(image) == phantom.hu).all()


def test_the_demos_dice_is_counted_right() -> None:
    import numpy as np

    a = np.array([1, 1, 0, 0], bool)
    assert demochest.dice(a, a) == 1.0
    assert demochest.dice(a, ~a) == 0.0
    assert demochest.dice(a, np.array([1, 0, 0, 0], bool)) == pytest.approx(2 / 3)
    assert demochest.dice(a & False, a & False) == 1.0


def test_the_demo_finds_the_phantoms_field_and_motion(demo) -> None:
    folder, done = demo
    rows = re.findall(
        r"^  (T1|T2|FLAIR) +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+)", done.stdout, re.M
    )
    assert [row[0] for row in rows] == ["T1", "T2", "FLAIR"]
    for _name, *numbers in rows:
        r, before, after, white_before, white_after, best = map(float, numbers)
        assert r > 0.99 and after < 1.2 < 8 < before
        assert abs(white_after - best) < 0.3 and best + 3 < white_before
    (error,) = re.findall(r"^  Target error +([\d.]+) mm", done.stdout, re.M)
    assert float(error) < 0.5
    names = {"image.nii.gz", "correctedT2.nii.gz", "t1.nii.gz", "t2.nii.gz", "flair.nii.gz", "scene.mrb"}
    assert names <= set(files(folder / "medprep-demo" / "brain"))
