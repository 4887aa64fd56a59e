"""The report: charts, a page that stands alone and says everything, and making it again."""

from __future__ import annotations

import base64
import json
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import tinyops
from hypothesis import given
from hypothesis import strategies as st

from MedPrepCommonLib.core import runner
from MedPrepCommonLib.core.errors import FileError
from MedPrepCommonLib.core.recipe import parse
from MedPrepCommonLib.core.result import Curve, Figure
from MedPrepCommonLib.outputs import writing
from MedPrepCommonLib.report import chart, drawing, parts
from MedPrepCommonLib.report import page as report


@pytest.fixture(autouse=True, scope="module")
def _tiny_operations():
    with tinyops.registered():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A finished run, written once for the whole file."""
    from MedPrepCommonLib import headless

    pytest.importorskip("slicer", reason="slicer-core is not installed")
    headless.start()
    headless.clear()
    done = runner.run(parse(tinyops.recipe()), {"image": tinyops.image()})
    return writing.write(done, {"image": tinyops.image()}, tmp_path_factory.mktemp("report") / "out").folder


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(folder, tmp_path / "out"))


# Charts


def curve_figure(*ys: list[float]) -> Figure:
    curves = tuple(Curve(f"curve <{n}>", tuple(range(len(y))), tuple(y)) for n, y in enumerate(ys))
    return Figure("Title & more", "x <mm>", "y", curves)


def test_a_chart_is_valid_xml_with_words_for_those_who_cannot_see_it() -> None:
    import xml.etree.ElementTree as ET

    text = chart.svg(curve_figure([1.0, 5.0, 2.0], [0.0, -3.0, 4.0]))
    ET.fromstring(f"<div>{text}</div>")
    spoken = re.search(r'aria-label="([^"]*)"', text).group(1)
    assert "Title &amp; more" in spoken and "peaks at 1" in spoken and "peaks at 2" in spoken
    assert text.count('class="line') == 2 and "curve &lt;0&gt;" in text


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=40), st.integers(1, 3))
def test_any_numbers_make_a_chart_inside_its_frame(values: list[float], curves: int) -> None:
    text = chart.svg(curve_figure(*[values] * curves))
    for path in re.findall(r'<path class="line c\d" d="M([^"]*)"', text):
        for point in path.split("L"):
            x, y = (float(v) for v in point.split())
            assert 61.9 <= x <= 506.1 and 13.9 <= y <= 214.1


def test_empty_and_infinite_data() -> None:
    assert "No data" in chart.svg(Figure("t", "x", "y", ()))
    assert "No data" in chart.svg(curve_figure([float("nan")]))
    assert "nan" not in chart.svg(curve_figure([1.0, float("nan"), float("inf"), 2.0]))


def test_a_high_peak_asks_for_a_logarithmic_scale_that_says_so() -> None:
    peaked = [1e6] + [10.0 + n for n in range(40)]
    assert "y, log scale" in chart.svg(curve_figure(peaked))
    assert "log scale" not in chart.svg(curve_figure([5.0 + n for n in range(40)]))


def test_long_curves_keep_their_peaks() -> None:
    values = [0.0] * 5000
    values[2345] = 7.0
    path = re.search(r'class="line c0" d="M([^"]*)"', chart.svg(curve_figure(values))).group(1)
    heights = [float(point.split()[1]) for point in path.split("L")]
    assert len(heights) <= 450 and min(heights) < 60


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.5"),
        (-1024.0, "−1024"),
        (1234567.0, "1.23457M"),
        (25000.0, "25k"),
        (2e9, "2G"),
        (1e-5, "1e−05"),
    ],
)
def test_ticks_are_short(value: float, text: str) -> None:
    assert chart._number(value) == text


# The page


class Page(HTMLParser):
    """Checks that tags nest, and collects what the tests ask for."""

    VOID = {"meta", "img", "br", "link"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.images: list[dict] = []
        self.headings: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag not in self.VOID and tag not in ("path", "line"):
            self.open.append(tag)
        if "id" in values:
            self.ids.append(values["id"])
        if tag == "img":
            self.images.append(values)
        self.links += [values[name] for name in ("href", "src") if name in values]
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes <{self.open[-1:]}>"
        self.open.pop()


def test_the_page_is_well_formed_and_needs_nothing_else(folder: Path) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in page.links)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert "url(" not in text and "<script" not in text and "http" not in text
    assert page.headings[0] == "h1" and page.headings.count("h1") == 1
    assert '<html lang="en">' in text and "prefers-color-scheme: dark" in text and "@media print" in text


def test_every_picture_has_words_and_its_size(folder: Path) -> None:
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert len(page.images) == 12  # before, two images, one label map; three planes each
    for image in page.images:
        assert re.search(r"(Axial|Coronal|Sagittal) slice; left edge [RA]", image["alt"])
        body = base64.b64decode(image["src"].partition(",")[2])
        assert tinyops.pixels(body).shape[:2] == (int(image["height"]), int(image["width"]))


def test_the_page_says_what_a_reader_asks(folder: Path) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    record = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    for words in (
        "Tiny recipe",
        "2 of 2 checks passed",
        "Anything bright",
        "Archimedes 250 BC",
        "Somebody 1999",
        "28 × 24 × 16",
        "1.5 × 1.5 × 2.5 mm",
        record["inputs"]["image"]["digest"],
        record["recipeDigest"],
        "MedPrep " + record["versions"]["MedPrep"],
        "−100 HU",
        "right lung &amp; &lt;more&gt;",
        "0 label maps came along",
        "not a medical device",
    ):
        assert words in text, words
    assert text.index(">factor</span>") < text.index(">offset</span>"), "as the operation lists them"
    assert '<span class="set">−100 HU</span>'.replace('"', "'") in text.replace('"', "'"), (
        "not the default: bold"
    )


def test_worst_checks_come_first_and_carry_a_sign_and_a_word() -> None:
    check = {"value": "v", "limit": "l", "advice": "<do>"}
    quality = {
        "verdict": "fail",
        "notes": [],
        "checks": [
            {**check, "name": n, "verdict": v} for n, v in (("a", "pass"), ("b", "warn"), ("c", "fail"))
        ],
    }
    text = parts.checks(quality)
    assert [m for m in re.findall(r"<td>([abc])</td>", text)] == ["c", "b", "a"]
    assert text.index("✕</span>Fail") < text.index("!</span>Warning") < text.index("✓</span>Pass")
    assert "&lt;do&gt;" in text
    assert parts.verdict_text(quality) == "3 checks: 1 failed, 1 with a warning, 1 passed."
    assert "Quality control failed" in parts.verdict(quality)
    assert parts.verdict_text({"checks": []}) == "The recipe has no checks."


def test_long_tables_are_cut_and_say_so() -> None:
    rows = [[str(n), "x"] for n in range(100)]
    checks, empty = ("Checks", ["check", "verdict"], [["a", "pass"]]), ("Empty", ["a"], [])
    text = parts.tables([("Many", ["n", "what"], rows), checks, empty])
    assert text.count("<tr>") == 26 and "25 of 100 rows" in text
    assert "Checks" not in text
    assert text.endswith('<h3>Empty</h3><p class="muted">none</p>')


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (True, "yes"),
        (3, "3"),
        (-12345678, "−12\u202f345\u202f678"),
        (0.123456, "0.12346"),
        (2.0, "2"),
        (-0.5, "−0.5"),
        (1e-9, "1e−09"),
        ("moderate", "moderate"),
    ],
)
def test_numbers_are_written_for_people(value: object, text: str) -> None:
    assert parts.number(value) == text


# Making it again


def test_the_report_is_made_again_from_the_folder_alone(copy: Path) -> None:
    before = (copy / "report.html").read_bytes()
    (copy / "report.html").unlink()
    for name in ("scaled.nii.gz", "scene.mrb", "lungs.seg.nrrd"):
        (copy / name).unlink()
    assert report.make(copy) == copy / "report.html"
    assert (copy / "report.html").read_bytes() == before


def test_what_is_in_the_folder_is_what_the_report_shows(copy: Path) -> None:
    quality = json.loads((copy / "qc.json").read_text(encoding="utf-8"))
    quality["checks"][0]["name"] = "Renamed check"
    (copy / "qc.json").write_text(json.dumps(quality), encoding="utf-8")
    (copy / "counts.csv").write_text("what,voxels\nedited,4711\n", encoding="utf-8")
    text = report.make(copy).read_text(encoding="utf-8")
    assert "Renamed check" in text and "4711" in text


@pytest.mark.parametrize(
    "name", ["provenance.json", "qc.json", "report.json", "counts.csv", "pictures/1a-image-axial.png"]
)
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    (copy / "report.html").write_text("old")
    with pytest.raises(FileError, match=re.escape(name)):
        report.make(copy)
    assert (copy / "report.html").read_text() == "old"
    assert not list(copy.glob(".*"))


@pytest.mark.parametrize(
    "body", ["{", "[]", "{}", '{"checks": 5, "verdict": "pass", "notes": [], "metrics": {}}']
)
def test_a_damaged_record_is_refused(copy: Path, body: str) -> None:
    (copy / "qc.json").write_text(body)
    with pytest.raises(FileError, match=r"damaged|do not fit"):
        report.make(copy)


def test_a_folder_that_is_no_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"no readable provenance\.json"):
        report.make(tmp_path)
    with pytest.raises(FileError, match=r"no readable provenance\.json"):
        report.make(tmp_path / "missing")


def test_compressed_pictures_are_really_compressed() -> None:
    png = drawing.png(np.zeros((512, 512, 3), np.float32))
    assert len(png) < 2000
    assert zlib.crc32(png[12:29]) == int.from_bytes(png[29:33], "big")
