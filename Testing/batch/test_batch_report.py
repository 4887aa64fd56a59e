"""What a batch says of all its cases: the page, the fingerprint, who stands out, the times beside the log."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import batchfiles
import numpy as np
import pytest
import SimpleITK as sitk
import tinyops
from batchfiles import tree
from typer.testing import CliRunner

from MedPrepCommonLib.batch import fingerprint, report, running
from MedPrepCommonLib.cases.table import Case
from MedPrepCommonLib.cli import app
from MedPrepCommonLib.core import recipe
from MedPrepCommonLib.core.errors import FileError
from MedPrepCommonLib.core.volume import Volume
from MedPrepCommonLib.outputs import writing

SPLITS = ("train", "val", "test", "train")


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    """Eight cases: c5 has nothing bright in it, c7 is an empty file."""
    folder = tmp_path_factory.mktemp("data")
    for n in range(7):
        writing.write_nifti(tinyops.image(n, bright=n != 5), folder / f"{n}.nii.gz")
    (folder / "7.nii.gz").write_bytes(b"")
    return {
        f"c{n}": Case(f"c{n}", {"image": str(folder / f"{n}.nii.gz")}, split=SPLITS[n % 4]) for n in range(8)
    }


@pytest.fixture(scope="module")
def finished(cases: dict[str, Case], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "out"
    run(cases, folder)
    return folder


def run(cases: dict[str, Case], folder: Path, resume: bool = False) -> None:
    with tinyops.registered():
        running.run(recipe.parse(tinyops.recipe()), cases, folder, running.Plan(workers=0, resume=resume))


class Page(HTMLParser):
    """Texts and sources of a page; an element that is not closed is an error."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text, self.open, self.sources = path.read_text(encoding="utf-8"), [], []
        self.feed(self.text)
        assert self.open == []

    def handle_starttag(self, tag, attrs) -> None:
        self.sources += [(tag, value) for name, value in attrs if name == "src"]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def section(self, id: str) -> str:
        return re.search(rf'<section id="{id}">(.*?)</section>', self.text, re.S)[1]


def test_the_page_shows_every_case_and_what_stands_out_first(finished: Path) -> None:
    page = Page(finished / "report.html")
    assert "8 cases: 7 done, 1 failed." in page.text
    assert "c7" in page.section("failures") and "0 bytes" in page.section("failures")
    shown = re.findall(r"<b>(c\d)</b>", page.section("cases"))
    assert shown == ["c5", "c0", "c1", "c2", "c3", "c4", "c6"]
    pictures = [source for tag, source in page.sources if tag == "img"]
    assert len(pictures) == 7 and all(s.startswith("data:image/png;base64,") for s in pictures)
    rows = re.findall(r'<th scope="row">(c\d)</th>(.*?)</tr>', page.section("quality"))
    marks = {name: re.findall(r'class="cell (\w+)"', row) for name, row in rows}
    assert marks == {**{f"c{n}": ["pass"] for n in (0, 1, 2, 3, 4, 6)}, "c5": ["warn"]}
    assert "Anything bright" in page.section("quality") and "0 voxels" in page.section("quality")
    assert "c5" in page.section("outliers") and "c4" not in page.section("outliers")
    assert ("iframe", "log/times.html") in page.sources


def test_the_fingerprint_is_what_the_files_hold(finished: Path) -> None:
    record = json.loads((finished / "fingerprint.json").read_text())
    assert record["all"]["cases"] == 7 and record["train"]["cases"] == 3
    for name in ("c0", "c5"):
        image = sitk.ReadImage(str(finished / "cases" / name / "scaled.nii.gz"))
        values, facts = sitk.GetArrayFromImage(image), record["cases"][name]["images"]["scaled"]
        assert facts["size"] == list(image.GetSize())
        assert np.allclose(facts["spacing"], image.GetSpacing(), atol=1e-5)
        if name == "c0":
            labels = sitk.GetArrayFromImage(sitk.ReadImage(str(finished / "cases/c0/lungs.nii.gz")))
            inside, kind = values[labels != 0], "labels"
            volume = (labels != 0).sum() * np.prod(image.GetSpacing()) / 1000
            found = record["cases"][name]["labels"]["lungs"]["volumes"]
            assert found == {"right lung & <more>": pytest.approx(volume, rel=1e-5)}
        else:
            inside, kind = values[values != values.flat[0]], "unlike the first voxel"
        (channel,) = facts["channels"]
        assert facts["foreground"] == kind
        for share, value in channel["quantiles"].items():
            assert value == pytest.approx(np.quantile(inside, float(share)))
        assert channel["mean"] == pytest.approx(inside.mean(dtype=np.float64))
        assert channel["std"] == pytest.approx(inside.std(dtype=np.float64))
    means = [record["cases"][f"c{n}"]["images"]["scaled"]["channels"][0]["mean"] for n in (0, 3, 4)]
    assert record["train"]["figures"]["scaled: mean"]["median"] == pytest.approx(np.median(means))
    assert list(record["outliers"]) == ["c5"]


def test_pages_and_fingerprint_are_the_same_bytes_whatever_happened_before(
    cases: dict[str, Case], finished: Path, tmp_path: Path
) -> None:
    some = dict(list(cases.items())[:3])
    run(some, tmp_path / "out")
    run(cases, tmp_path / "out", resume=True)
    assert tree(tmp_path / "out") == tree(finished)
    before = tree(finished)
    for name in ("report.html", "fingerprint.json"):
        (finished / name).unlink()
    done = CliRunner().invoke(app.app, ["report", str(finished)])
    assert done.exit_code == 0 and done.stdout.strip().endswith("report.html"), done.output
    assert tree(finished) == before


def test_times_are_beside_the_log(finished: Path) -> None:
    page = Page(finished / "log" / "times.html")
    assert "8 cases took" in page.text
    names = re.findall(r'<th scope="row">(c\d)</th>', page.text)
    seconds = [float(s) for s in re.findall(r"<td>(\d+\.\d\d)</td>", page.text)]
    assert sorted(names) == [f"c{n}" for n in range(8)] and seconds == sorted(seconds, reverse=True)


def test_what_is_no_batch(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no output folder of a batch"):
        report.make(tmp_path)


def test_a_picture_of_the_overview_shows_labels_in_colour(finished: Path) -> None:
    coloured, plain = (
        tinyops.pixels((finished / f"cases/{c}/overview.png").read_bytes()) for c in ("c0", "c5")
    )
    assert max(coloured.shape[:2]) == 256
    assert (np.ptp(coloured[..., :3], axis=2) > 60).sum() > 100, "an outline"
    assert plain.ndim == 2 or np.ptp(plain[..., :3], axis=2).max() == 0


def test_an_mri_without_metadata_in_a_ct_recipe_is_a_warning_in_the_table(tmp_path: Path) -> None:
    """No step of the recipe needs Hounsfield units, and nothing in the files says what they are."""
    ct, mri = tinyops.image(), head()
    writing.write_nifti(ct, tmp_path / "ct.nii.gz")
    writing.write_nifti(mri, tmp_path / "mri.nii.gz")
    found = {n: Case(n, {"image": str(tmp_path / f"{n}.nii.gz")}) for n in ("ct", "mri")}
    plan = recipe.load(batchfiles.quick(tmp_path))
    assert running.run(plan, found, tmp_path / "out", running.Plan(workers=0)).verdicts == {
        "pass": 1,
        "warn": 1,
    }
    rows = {r["case"]: r for r in csv.DictReader((tmp_path / "out" / "batch.csv").read_text().splitlines())}
    assert (rows["ct"]["verdict"], rows["ct"]["checks"]) == ("pass", "")
    assert rows["mri"]["verdict"] == "warn" and "not Hounsfield units" in rows["mri"]["checks"]


def head() -> Volume:
    """The ball of the other cases with the values of an MRI: air near 0, tissue in the hundreds, 12 bits."""
    image = tinyops.image()
    values = np.abs(np.where(image.array > 0, 640 + image.array, 15 + (image.array + 900) // 4))
    return Volume(values.astype(np.int16), image.ijkToRAS, "head")


# Standing out


def figures(**columns: list[float]) -> dict:
    length = len(next(iter(columns.values())))
    return {f"c{n}": {name: (values[n], 0.0) for name, values in columns.items()} for n in range(length)}


def test_a_robust_score_finds_the_one_that_is_off_and_nobody_else() -> None:
    values = [*np.random.default_rng(0).normal(500, 20, 200).tolist(), 900.0]
    found = fingerprint.outliers(figures(volume=values))
    median = np.median(values)
    scale = 1.4826 * np.median(np.abs(np.array(values) - median))
    assert found["c200"][0]["z"] == pytest.approx((900 - median) / scale, abs=1e-3)
    assert len(found) <= 3, "3.5 deviations: one in 2000"


@pytest.mark.parametrize(
    ("values", "out"),
    [
        ([1.0] * 9 + [3.0], ["c9"]),  # most are alike
        ([1.0] * 9 + [1.00001], []),  # as good as alike
        ([1.0] * 10, []),
        ([0.0] * 10, []),
        ([1.0, 1.0, 9.0], []),  # too few to say what is usual
    ],
)
def test_cases_that_are_mostly_alike(values: list[float], out: list[str]) -> None:
    assert list(fingerprint.outliers(figures(spacing=values))) == out


def test_pictures_of_unknown_pixel_size_are_not_measured_in_millimetres() -> None:
    """No spacing and no millilitres, neither in the overview nor among what makes a case stand out."""
    from MedPrepCommonLib.batch import fingerprint, overview
    from MedPrepCommonLib.core.result import Result
    from MedPrepCommonLib.core.runner import RecipeRun
    from MedPrepCommonLib.core.terminology import LUNGS
    from MedPrepCommonLib.core.volume import LabelVolume, Volume

    def facts(size: int, **info) -> dict:
        array = np.arange(size * size, dtype=np.uint8).reshape(1, size, size)
        image = Volume(array, np.diag([-1.0, -1.0, 1.0, 1.0]), modality="DX", info=info)
        mask = LabelVolume((array > 9).astype(np.uint8), image.ijkToRAS, info=info, segments=LUNGS)
        run = RecipeRun(Result(images={"image": image}, labels={"lungs": mask}), {})
        return overview.facts(run, {"image": image})

    unknown = {f"c{n}": facts(20 + 40 * (n == 7), spacingKnown=False) for n in range(8)}
    made = fingerprint.make("r", unknown, unknown)
    assert (
        unknown["c0"]["inputs"]["image"]["spacing"] is None
        and unknown["c0"]["labels"]["lungs"]["volumes"] == {}
    )
    assert not [name for name in made["all"]["figures"] if "mm" in name or "ml" in name]
    assert {line["figure"] for line in made["outliers"]["c7"]} >= {"image: size i (voxels)"}
    known = fingerprint.make("r", {f"c{n}": facts(20) for n in range(8)}, ())
    assert {"image: spacing i (mm)", "lungs: right lung (ml)"} <= set(known["all"]["figures"])
