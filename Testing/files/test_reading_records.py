"""Recipes, reports, patches, batches, scenes from elsewhere: one message, nothing from outside a folder."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from MedPrepCommonLib.batch import report as batch_report
from MedPrepCommonLib.core import json_text, recipe
from MedPrepCommonLib.core.errors import FileError, MedPrepError, ParameterError, RecipeError
from MedPrepCommonLib.core.operation import create
from MedPrepCommonLib.core.volume import Volume
from MedPrepCommonLib.files import archive, patch_writing
from MedPrepCommonLib.files.patch_folder import PatchFolder
from MedPrepCommonLib.files.reassembly import reassemble
from MedPrepCommonLib.report import page

RECIPE = {
    "schema": "medprep-recipe",
    "version": 1,
    "name": "x",
    "inputs": {"image": {}},
    "steps": [{"operation": "resample", "parameters": {"spacing": 1.0}, "inputs": {"image": "image"}}],
    "outputs": {"image": "resample.image"},
}
TEXT = json.dumps(RECIPE)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        TEXT.replace("1.0", "9" * 400),
        TEXT.replace("1.0", "9" * 5000),
        TEXT.replace('"x"', '"x", "title": "\\ud800"'),
        TEXT.replace('"image": {}', '"image": {"description": "\\udfff"}'),
        TEXT.replace("1.0", "1e999"),
        TEXT.replace("1.0", "NaN"),
        TEXT.replace("1.0", "[[[]]]"),
        TEXT.replace('"resample.image"', "null"),
        TEXT.replace('{"image": "image"}', '{"image": [[]]}'),
        TEXT.replace('"resample"', "{}"),
        "\ufeff" + TEXT,
        "nul",
        "",
    ],
)
def test_recipes_that_are_none(tmp_path, text):
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    with pytest.raises(MedPrepError):
        recipe.load(tmp_path / "a.json")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_recipe_that_is_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(RecipeError, match="no regular file"):
        recipe.load(tmp_path / "a.json")


def test_json_is_whole_or_a_value_error():
    assert json_text.parse('{"a": "\\u00e4 \\ud83d\\ude00"}') == {"a": "\u00e4 \U0001f600"}
    for text in ("[" * 100_000, '"\\ud800"', '"\\udc00\\ud800"', "x"):
        with pytest.raises(ValueError):
            json_text.parse(text)


def test_long_values_are_cut_in_messages():
    with pytest.raises(ParameterError) as caught:
        create("resample", spacing="x" * 5000)
    assert len(str(caught.value)) < 400


# ---- reports


@pytest.fixture
def result(tmp_path):
    """A result folder as small as a report can be made of."""
    (tmp_path / "secret.csv").write_text("a,b\n1,2\n")
    (tmp_path / "secret.png").write_bytes(b"\x89PNG\r\n\x1a\nsecret")
    folder = tmp_path / "result"
    folder.mkdir()
    record = {"recipe": {"title": "t", "name": "n", "description": "", "steps": []}}
    record |= {"inputs": {}, "outputs": {}, "steps": [], "versions": {}, "recipeDigest": "x"}
    quality = {"verdict": "pass", "checks": [], "notes": [], "metrics": {}}
    evidence = {"tables": [], "pictures": [], "figures": [], "statistics": {"inputs": {}, "outputs": {}}}

    def write(**changes):
        for name, body in (("provenance", record), ("qc", quality), ("report", evidence)):
            (folder / f"{name}.json").write_text(json.dumps(body | changes.get(name, {})))
        return folder

    return write


def cell(file):
    return {"file": file, "size": [2, 2], "plane": "axial", "position": "", "scaleBar": 0, "alt": ""}


def row(file):
    return {"title": "", "note": "", "cells": [cell(file)], "legend": []}


def test_a_small_result_has_a_report(result):
    assert "<title>t" in page.page(result())


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../secret.png", "link.png", "qc.json", "", "a\0.png", "x" * 300]
)
def test_a_report_takes_pictures_from_its_folder_alone(result, name):
    folder = result(report={"pictures": [row(name)]})
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    with pytest.raises(FileError):
        page.page(folder)


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret.csv", "link.csv", "qc.json", None, 7])
def test_a_report_takes_tables_from_its_folder_alone(result, name):
    folder = result(report={"tables": [{"title": "t", "file": name}]})
    (folder / "link.csv").symlink_to(folder.parent / "secret.csv")
    with pytest.raises(FileError):
        page.page(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"qc": {"verdict": "great"}}, {"qc": {"checks": [{}]}}, {"qc": {"metrics": {"a.b": [1e999]}}},
        {"qc": {"notes": ["\ud800"]}}, {"report": {"figures": [{"title": "t"}]}},
        {"provenance": {"recipe": 7}},
        {"report": {"figures": [{"title": "t", "x_title": "", "y_title": "", "curves":
            [{"name": "c", "x": [1, 10**400], "y": [1, 2]}]}]}},
    ],
)  # fmt: skip
def test_records_that_do_not_fit(result, changes):
    folder = result(**changes)
    try:
        page.page(folder)
    except FileError as error:
        assert "record" in str(error) or "damaged" in str(error)
    else:
        assert "metrics" in changes.get("qc", {})


def test_a_page_holds_no_script_of_a_record(result):
    evil = '"><script>alert(1)</script>'
    facts = {"shape": [evil, 2, 2], "spacing": [evil, 1, 1], "type": evil, "modality": evil, "digest": evil}
    statistics = {"inputs": {"a": {"min": evil}}, "outputs": {}}
    folder = result(provenance={"inputs": {"a": facts}}, report={"statistics": statistics})
    assert "<script" not in page.page(folder)
    bad = row("x.png") | {"legend": [{"name": "", "color": "url(http://example.org)"}], "cells": []}
    assert "url(" not in page.page(result(report={"pictures": [bad]}))
    sized = row("x.png")
    sized["cells"][0]["size"] = [evil, 1]
    with pytest.raises(FileError):
        page.page(result(report={"pictures": [sized]}))


@pytest.mark.parametrize("name", ["../..", "/etc", "a/b", "..", "a\\b"])
def test_a_batch_report_takes_cases_from_its_folder_alone(tmp_path, name):
    record = {"schema": "medprep-batch", "recipe": "r", "versions": {}, "counts": {}, "notes": []}
    record["cases"] = {name: {"status": "done", "verdict": "pass", "split": ""}}
    (tmp_path / "batch.json").write_text(json.dumps(record))
    with pytest.raises(FileError):
        batch_report.make(tmp_path)
    assert not (tmp_path / "report.html").exists()


# ---- patches


@pytest.fixture
def patches(tmp_path):
    from MedPrepCommonLib.core import engine

    image = Volume(np.arange(16 * 8 * 8, dtype=np.int16).reshape(16, 8, 8), np.eye(4))
    found = engine.run(create("patches", size=8, overlap=0), {"image": image})
    patch_writing.write(found.patches["patches"], tmp_path / "patches")
    assert np.array_equal(reassemble(PatchFolder(tmp_path / "patches")).array, image.array)
    return tmp_path / "patches"


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("image", "shape"), [2000, 2000, 2000]), (("image", "shape"), [-1, 4, 4]),
        (("image", "shape"), [1e300, 4, 4]),
        (("image", "shape"), ["nan", 4, 4]), (("size",), [0, 4, 4]), (("size",), [4, 4]), (("size",), None),
        (("image", "ijkToRAS"), [[0] * 4] * 4), (("image", "ijkToRAS"), "x"), (("labels",), {"a": {"x": 1}}),
    ],
)  # fmt: skip
def test_records_of_patches_that_are_refused(patches, place, value):
    record = json.loads((patches / "patches.json").read_text())
    inner = record
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    (patches / "patches.json").write_text(json.dumps(record))
    with pytest.raises(MedPrepError):
        reassemble(PatchFolder(patches))


@pytest.mark.parametrize("column", ["i", "scale", "centre", "r (mm)"])
@pytest.mark.parametrize("value", ["nan", "inf", "1e300", "", "x"])
def test_manifests_that_are_refused(patches, column, value):
    lines = [line.split(",") for line in (patches / "manifest.csv").read_text().splitlines()]
    lines[1][lines[0].index(column)] = value
    (patches / "manifest.csv").write_text("\n".join(",".join(line) for line in lines))
    with pytest.raises(MedPrepError):
        reassemble(PatchFolder(patches))


@pytest.mark.parametrize("damage", ["cut", "flipped", "none", "bomb"])
def test_damaged_patches(patches, damage):
    file = sorted(patches.glob("*.npz"))[0]
    data = bytearray(file.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "flipped":
        data[60] ^= 0xFF
        data[len(data) // 2] ^= 0xFF
    elif damage == "none":
        data = b""
    file.write_bytes(data)
    if damage == "bomb":
        with (
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as found,
            found.open("image.npy", "w") as stream,
        ):
            np.lib.format.write_array_header_1_0(
                stream, {"descr": "<i2", "fortran_order": False, "shape": (4, 4, 4 << 20)}
            )
            for _n in range(128):
                stream.write(bytes(1 << 20))
    with pytest.raises(MedPrepError):
        reassemble(PatchFolder(patches))


# ---- archives


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/../../x", "..\\x", "C:/x", "link"])
def test_archives_that_would_write_elsewhere(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.mrb", "w") as made:
        made.writestr("scene/scene.mrml", "<MRML/>")
        info = zipfile.ZipInfo(name)
        if name == "link":
            info.external_attr = 0o120777 << 16
        made.writestr(info, "/etc/passwd")
    with pytest.raises(FileError, match="outside"):
        archive.copy_safely(tmp_path / "a.mrb", tmp_path / "b.mrb")


def test_a_plain_archive_is_copied_and_a_damaged_one_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.mrb", "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("scene/Data/", "")
        made.writestr("scene/scene.mrml", "<MRML/>" * 100)
    archive.copy_safely(tmp_path / "a.mrb", tmp_path / "b.mrb")
    with zipfile.ZipFile(tmp_path / "b.mrb") as copy:
        assert copy.read("scene/scene.mrml") == b"<MRML/>" * 100
    data = bytearray((tmp_path / "a.mrb").read_bytes())
    data[data.index(b"scene.mrml") + 12] ^= 0xFF
    (tmp_path / "c.mrb").write_bytes(data)
    for path in ("c.mrb", "nothing.mrb"):
        with pytest.raises(FileError):
            archive.copy_safely(tmp_path / path, tmp_path / "d.mrb")
    assert Path(tmp_path / "a.mrb").is_file()
