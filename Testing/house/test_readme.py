"""README and Docs keep their word: snippets run, commands parse, links lead somewhere, names exist."""

from __future__ import annotations

import re
import shlex
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from pages import PAGES, README, REPOSITORY, Block, Page
from typer.testing import CliRunner

from MedPrepCommonLib.cli import app
from MedPrepCommonLib.cli.settings import parse_settings
from MedPrepCommonLib.core import engine, recipe
from MedPrepCommonLib.core.operation import create, find, known
from MedPrepCommonLib.core.volume import Volume
from MedPrepCommonLib.demo import chest, demonstration
from MedPrepCommonLib.files.reading import read_volume
from MedPrepCommonLib.outputs import writing
from MedPrepCommonLib.phantoms.chest import make_chest_phantom
from MedPrepCommonLib.version import __version__

COMMANDS = typer.main.get_command(app.app).commands
OF_RUN = {
    "demo",
    "operations",
    "recipes",
    "run",
    "batch",
    "cases",
    "split",
    "export",
    "report",
    "schema",
    "landmarks",
    "reassemble",
    "qc",
}
OF_ENVIRONMENT = {"python", "test", "lint", "bench", "fuzz", "setup"}


@pytest.fixture(scope="module")
def phantom():
    """The chest phantom on a coarse grid: what the snippets load is as small as it can be."""
    return make_chest_phantom((75, 128, 128), (4.0, 2.8, 2.8))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, phantom) -> Path:
    """A folder as it is after ``python3 run.py demo``: with the phantom as NIfTI file."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "medprep-demo" / "chest").mkdir(parents=True)
    image = Volume(phantom.hu, phantom.ijkToRAS, "chest phantom", "CT")
    writing.write_nifti(image, folder / "medprep-demo" / "chest" / "input.nii.gz")
    return folder


# Python


def snippets(pages: list[Page]) -> list:
    """The python blocks under one heading, which a reader types one after the other."""
    groups: dict[tuple[Page, str], list[Block]] = {}
    for page in pages:
        for block in page.blocks("python"):
            groups.setdefault((page, block.heading), []).append(block)
    return [
        pytest.param(page, blocks, id=f"{page.name}: {heading}") for (page, heading), blocks in groups.items()
    ]


# The one in architecture.md is a sketch of what a class looks like.
@pytest.mark.parametrize(("page", "blocks"), snippets([p for p in PAGES if p.path.stem != "architecture"]))
def test_python_snippets_run_as_written(
    page: Page, blocks: list[Block], slicerHost, phantom, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer

    from MedPrepCommonLib.modules import sample_data

    monkeypatch.setattr(sample_data, "make_chest_phantom", lambda: phantom)
    monkeypatch.chdir(desk)
    names = {"__name__": "__main__", "slicer": slicer}  # Slicer's console knows slicer
    for block in blocks:
        # The page's own line numbers in a traceback.
        source = compile("\n" * (block.line - 1) + block.text, str(page.path), "exec")
        exec(source, names)


def test_the_script_runs_in_a_fresh_interpreter(desk: Path) -> None:
    script = next(b for b in README.blocks("python") if b.heading == "With nodes")
    (desk / "prepare.py").write_text(script.text, encoding="utf-8")
    done = subprocess.run([sys.executable, "prepare.py"], cwd=desk, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (desk / "prepared.mrb").stat().st_size > 100_000


# Commands


def command_lines() -> list:
    return [
        pytest.param(line, id=f"{page.name}: {line}")
        for page in PAGES
        for block in page.blocks("bash")
        for line in block.text.splitlines()
        if line.strip()
    ]


@pytest.mark.parametrize("line", command_lines())
def test_command_lines_parse(line: str) -> None:
    words = shlex.split(line, comments=True)
    assert words[:2] == ["python3", "run.py"] or words[0] == "medprep", "neither run.py nor medprep"
    verb, *arguments = words[1:] if words[0] == "medprep" else words[2:]
    if verb in OF_ENVIRONMENT:
        scripts = [word for word in arguments if word.endswith(".py")]
        assert all(
            (REPOSITORY / name).is_file() or f"Save this as `{name}`" in README.text for name in scripts
        )
        return
    context = COMMANDS[verb].make_context(verb, list(arguments))  # raises for what the command does not know
    if verb == "run":
        check_run(context.params)
    elif verb in ("operations", "recipes", "schema"):
        done = CliRunner().invoke(app.app, [verb, *arguments])
        assert done.exit_code == 0 and done.stdout, done.output


def check_run(parameters: dict) -> None:
    """Inputs and settings fit the recipe; a file of the user's own stands for ct-lung."""
    name = parameters["recipe"]
    plan = recipe.load("ct-lung" if name.endswith(".json") else name)
    assert set(app._inputs(plan, parameters["inputs"])) == {i.name for i in plan.inputs}
    plan.with_settings(parse_settings(parameters["settings"] or []))


def test_every_verb_is_known_to_run_py() -> None:
    sys.path.insert(0, str(REPOSITORY))
    try:
        import run
    finally:
        sys.path.remove(str(REPOSITORY))
    named = set(re.findall(r"^  ([a-z]+) ", run.HELP, re.MULTILINE))
    assert named == (OF_RUN | OF_ENVIRONMENT) - {"schema"}
    assert set(COMMANDS) == OF_RUN
    oldest, newest = (".".join(map(str, version)) for version in (run.OLDEST, run.NEWEST))
    assert f"Python {oldest} to {newest}" in README.text


def test_what_run_writes_is_what_the_table_says(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = next(words for words in map(shlex.split, bash_lines()) if words[2:4] == ["run", "ct-lung"])
    monkeypatch.chdir(desk)
    done = CliRunner().invoke(app.app, [*line[2:], "--quiet"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    named = {name for row in README.table("file") for name in re.findall(r"`([^`]+)`", row[0])}
    assert named == {path.name for path in (desk / "results").iterdir()}


def bash_lines() -> list[str]:
    return [line for block in README.blocks("bash") for line in block.text.splitlines()]


def test_exit_codes() -> None:
    rows = {int(code): text for code, text in README.table("exit code")}
    assert set(rows) == {0, 1, app.BAD_INPUT, app.QUALITY_FAILED, app.CANCELLED}
    assert "bad input" in rows[app.BAD_INPUT] and "--strict" in rows[app.QUALITY_FAILED]
    assert "Ctrl-C" in rows[app.CANCELLED]


# Links and pictures


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Page) -> None:
    for link in page.links():
        if "://" in link:
            continue
        path, _hash, anchor = link.partition("#")
        target = Page((page.path.parent / path).resolve()) if path else page
        assert target.path.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in target.anchors(), f"{page.name}: {link}"


def test_pictures_are_small_and_described() -> None:
    shown = {(page.path.parent / target).resolve() for page in PAGES for _text, target in page.pictures()}
    assert shown == set((REPOSITORY / "Screenshots").iterdir())
    for path in shown:
        body = path.read_bytes()
        assert body[:8] == b"\x89PNG\r\n\x1a\n", path.name
        assert len(body) < 300_000, f"{path.name}: {len(body)} bytes"
        assert min(struct.unpack(">II", body[16:24])) >= 200, path.name
    assert all(len(text) > 10 for page in PAGES for text, _target in page.pictures())


def test_the_extension_shows_pictures_that_exist() -> None:
    text = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
    settings = dict(re.findall(r'set\((EXTENSION_\w+) "([^"]*)"\)', text))
    homepage = settings["EXTENSION_HOMEPAGE"].partition("#")[0]
    raw = homepage.replace("https://github.com/", "https://raw.githubusercontent.com/") + "/main/"
    urls = [settings["EXTENSION_ICONURL"], *settings["EXTENSION_SCREENSHOTURLS"].split()]
    for url in urls:
        assert url.startswith(raw) and (REPOSITORY / url.removeprefix(raw)).is_file(), url
    assert f"url = {{{homepage}}}" in README.text


# Names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_operations_parameters_and_recipes_exist(page: Page) -> None:
    prefixes = {id.partition(".")[0] for id in known() if "." in id}
    # The mistakes that recipes.md shows are none.
    text = "\n".join(line for line in page.text.splitlines() if "my-recipe.json:" not in line)
    # The operation that architecture.md adds as an example is in no package.
    added = set(re.findall(r'@operation\(\n    "([^"]+)",\n    title=_\("Invert"\)', page.text))
    for id, parameter in re.findall(rf"\b((?:{'|'.join(prefixes)})\.[a-zA-Z0-9]+)(?:\.([a-zA-Z]+))?", text):
        if id in added:
            continue
        spec = find(id)
        if parameter and parameter != "preset":
            spec.parameter(parameter)
    files = {path.stem for path in REPOSITORY.glob("Testing/**/*.py")}
    for name in set(re.findall(r"`((?:ct|mri)-[a-z0-9-]+)`", text)) - files:
        recipe.load(name)


def test_readme_names_every_recipe_and_method(slicerHost) -> None:
    from MedPrepCT import OPERATIONS, MedPrepCTLogic

    sentence = re.search(r"The recipes are (.*?)\.", README.prose, re.DOTALL)[1]
    ours = {name for name in recipe.available() if recipe.load(name).modality == "CT"}
    assert ours <= set(re.findall(r"`([^`]+)`", sentence)) == set(recipe.available())
    sentence = re.search(r"The methods are (.*?)\.", README.prose, re.DOTALL)[1]
    assert set(re.findall(r"`([^`]+)`", sentence)) == {find(id).console for id in OPERATIONS} | {"runRecipe"}
    for page in PAGES:
        for method in re.findall(r"\blogic\.(?!py\b)([a-zA-Z]+)", page.text):
            assert callable(getattr(MedPrepCTLogic, method, None)), f"{page.name}: logic.{method}"


def test_readme_says_one_sentence_about_each_module(slicerHost) -> None:
    listed = re.findall(r"^- \*\*(.+?)\*\* (.+?)(?=^- |\Z)", README.section("Modules"), re.M | re.S)
    titles = {}
    for file in REPOSITORY.glob("MedPrep*/MedPrep*.py"):
        titles[re.search(r'parent\.title = _\("(.+?)"\)', file.read_text(encoding="utf-8"))[1]] = file
    assert {name for name, _text in listed} == set(titles)
    assert all(text.strip().count(".") == 1 for _name, text in listed)


def test_words_of_the_panel(slicerHost) -> None:
    from MedPrepCommonLib.modules import sample_data

    tutorial = README.section("Tutorial: a chest CT in the panel")
    window = find("ct.window")
    for words in (recipe.load("ct-lung").title, window.title, window.presets["mediastinum"].title):
        assert f"*{words}*" in tutorial
    assert f"**{sample_data.NAME}**" in tutorial and f"category *{sample_data.CATEGORY}*" in tutorial
    assert f"`{sample_data.NAME} {window.title}`" in tutorial
    assert f"*{find('ct.lungs').presets['dense'].title.partition(':')[0]}*" in README.text


def test_messages_in_troubleshooting_are_those_of_the_program() -> None:
    sources = "".join(
        path.read_text(encoding="utf-8")
        for path in (*REPOSITORY.glob("MedPrep*/MedPrep*Lib/**/*.py"), REPOSITORY / "run.py")
    )
    quoted = [
        text
        for row in README.table("what you see")
        for text in re.findall(r"`([^`]+)`", row[0])
        if " " in text
    ]
    assert len(quoted) >= 6
    for text in quoted:
        # Numbers, names and cut-off ends differ from case to case.
        for part in re.split(r"\.\.\.|\d[\w.]*", text):
            words = part.strip(" ,.")
            assert words in sources, f"nothing says {words!r}"


@pytest.mark.slow
def test_figures_under_limits(tmp_path: Path) -> None:
    limits = " ".join(README.section("Limits").split())
    truth = demonstration.run(tmp_path, names=["chest"]).found["chest"].truth
    (dice,) = re.findall(r"Dice is ([\d.]+) for each lung", limits)
    assert min(truth.right, truth.left) >= float(dice) - 0.0005
    assert truth.leak < 0.01 and "less than 1 % of the airway" in limits
    (kept,) = re.findall(r"and (\d+) % of the nodules", limits)
    assert 100 * truth.nodules >= int(kept) - 0.5


def test_dice_on_the_public_scan(shared_data: Path) -> None:
    folder = shared_data / "ct" / "cip-ct64"
    image = read_volume(folder / "ct.nrrd")
    expected = read_volume(folder / "lungmask.nrrd", labels=True).array > 0
    found = engine.run(create("ct.lungs"), {"image": image}).labels["lungs"].array
    dice = chest.dice(np.isin(found, (1, 2)), expected)
    (said,) = re.findall(r"4 mm voxels\) Dice is ([\d.]+)\.", " ".join(README.text.split()))
    assert dice == pytest.approx(float(said), abs=0.005)


def test_facts_of_the_project() -> None:
    assert f"version = {{{__version__}}}" in README.text
    for page in PAGES:
        assert not re.search(r"(?<![\w.])/(?:home|root|tmp|work|Users)/|[A-Z]:\\", page.text), page.name
