"""The ``medprep`` command; its verbs are what ``medprep --help`` names.

Exit codes: 0 done (whatever quality control says, unless ``--strict``); 1 a defect of MedPrep, or ``qc``
found what fails; 2 wrong usage or bad input, with nothing written; 3 an input failed its checks (the checks
and the reason are written, no image), quality control failed and ``--strict`` was given, or cases of a batch
failed; 130 cancelled.
"""

# Heavy packages are imported inside the commands: --help must be there at once.
from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from ..core.errors import Cancelled, FileError, MedPrepError, ParameterError
from ..core.i18n import _
from ..version import __version__
from . import batch, qc, reassemble
from .settings import pair, parse_settings

if TYPE_CHECKING:
    from ..core.recipe import Recipe
    from ..core.volume import Volume

BAD_INPUT, QUALITY_FAILED, CANCELLED = 2, 3, 130

app = typer.Typer(
    name="medprep",
    help="Prepares CT, MRI and X-ray images for deep learning, and proves what it did.",
    epilog="Exit codes: 0 done, 2 wrong usage or bad input (nothing is written), 3 an input failed its "
    "checks (no image is made), quality control failed with --strict, or cases of a batch failed, "
    "130 cancelled.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
_Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace an earlier result in the output folder.")
]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
_Accept = Annotated[
    list[str] | None,
    typer.Option(
        help="Go on although an input fails this check: missing-slices, part, view, ..., any number of times."
    ),
]
_Strict = Annotated[bool, typer.Option("--strict", help="Exit with 3 when quality control fails.")]


def main() -> None:
    """Entry point of the ``medprep`` script."""
    for stream in (sys.stdout, sys.stderr):
        # A Windows console may not know every character of a series' name: show a mark, do not fail.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    app(prog_name="medprep")


def _guarded(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turns what a user can do something about into one message on stderr and an exit code."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> Any:
        try:
            _check_homes([*args, *options.values()])
            return command(*args, **options)
        except (Cancelled, KeyboardInterrupt):
            typer.echo(_("Cancelled; nothing was written."), err=True)
            raise typer.Exit(CANCELLED) from None
        except MedPrepError as error:
            _stop(error.wrong, error.expected, error.advice)
        except OSError as error:
            # The system's own words: a name too long, a disk that went away.
            reason = error.strerror or str(error)
            wrong = _("{file} cannot be used ({reason}).").format(file=error.filename or "", reason=reason)
            _stop(wrong.strip(), "", _("Choose another name or folder."))
        except MemoryError:
            _stop(
                _("There is not enough memory for this image."),
                "",
                _("Close other programs, or crop it first."),
            )

    return run


def _check_homes(values: list[Any]) -> None:
    """Raise for ~NAME/... where there is no such user: Python would raise a RuntimeError much later."""
    for value in values:
        if isinstance(value, list):
            _check_homes(value)
        elif isinstance(value, (str, Path)):
            for text in (str(value), str(value).partition("=")[2].lstrip("@")):
                home = text.split("/")[0]
                if home.startswith("~") and os.path.expanduser(home) == home:
                    raise FileError(
                        _("There is no user {name}.").format(name=home[1:] or "?"),
                        _("Expected a path."),
                        _("Write the folder out, or ./{name}.").format(name=home),
                    )


def _stop(wrong: str, expected: str = "", advice: str = "") -> NoReturn:
    lines = [line for line in (expected, advice) if line]
    typer.echo("\n  ".join([f"medprep: {wrong}", *lines]), err=True)
    raise typer.Exit(BAD_INPUT)


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"medprep {__version__}")
        raise typer.Exit


@app.command(short_help="What MedPrep can do to an image.")
@_guarded
def operations(
    id: Annotated[
        str, typer.Argument(help="An operation, for its parameters; all of them when left out.")
    ] = "",
    as_json: _Json = False,
) -> None:
    """List what MedPrep can do to an image, or one operation's parameters with ranges, units and presets."""
    from ..core.operation import find, known
    from ..recipes import listing

    found = [find(id)] if id else list(known().values())
    if as_json:
        records = [listing.operation_record(operation) for operation in found]
        typer.echo(json.dumps(records[0] if id else records, indent=1, ensure_ascii=False))
    else:
        typer.echo(listing.operation_text(found[0]) if id else listing.operations_text(found))


@app.command(short_help="Recipes that come with MedPrep.")
@_guarded
def recipes(
    name: Annotated[
        str, typer.Argument(help="A recipe or .json file, for its steps; all when left out.")
    ] = "",
    as_json: _Json = False,
) -> None:
    """List the recipes that come with MedPrep, or one recipe's inputs, steps and outputs."""
    from ..core.recipe import available, load
    from ..recipes import listing

    if not name:
        found = listing.recipe_records(available())
        typer.echo(
            json.dumps(found, indent=1, ensure_ascii=False) if as_json else listing.recipes_text(found)
        )
        return
    recipe = load(name)
    typer.echo(
        json.dumps(recipe.to_json(), indent=1, ensure_ascii=False) if as_json else listing.recipe_text(recipe)
    )


@app.command(short_help="Run a recipe on images.")
@_guarded
def run(
    recipe: Annotated[str, typer.Argument(help="A recipe's name (see: medprep recipes) or .json file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results; made by this command.")],
    inputs: Annotated[
        list[str],
        typer.Option(
            "--input", "-i", help="NAME=PATH of an image file or DICOM folder; NAME is the recipe's."
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-s",
            help="OPERATION.PARAMETER=VALUE or STEP.PARAMETER=VALUE, any number of times (or =@FILE).",
        ),
    ] = None,
    series: Annotated[
        list[str] | None,
        typer.Option(help="Series (UID, number or description) of a DICOM folder, or NAME=SERIES."),
    ] = None,
    accept: _Accept = None,
    overwrite: _Overwrite = False,
    quiet: _Quiet = False,
    strict: _Strict = False,
) -> None:
    """Run a recipe on images and write results, scene, records and a report into a new folder.

    Where an input fails its checks (slices missing, another part of the body, ...), no image is made: the
    folder holds the checks and the reason, and the exit code is 3. --accept goes on.
    """
    from ..core import input_checks
    from ..core import recipe as recipes_module
    from ..outputs import folder as outputfolder

    accepted = input_checks.require_known(accept or ())
    wanted = recipes_module.load(recipe).with_settings(parse_settings(settings or []))
    paths = _inputs(wanted, inputs)
    outputfolder.check(out, overwrite)
    from ..core import runner
    from ..outputs import writing
    from ..recipes import listing
    from .progress import watched

    with watched(wanted.name, quiet) as job:
        volumes = _read(wanted, paths, _series(wanted, series or []), job.part(0.0, 0.1))
        done = runner.run(wanted, volumes, job.part(0.1, 0.7), accepted)
        written = writing.write(done, volumes, out, overwrite, job.part(0.7, 1.0))
    if not quiet:
        typer.echo(listing.run_text(wanted, writing.quality(done.result), written))
    if done.refusal is not None or (strict and writing.quality(done.result)["verdict"] == "fail"):
        raise typer.Exit(QUALITY_FAILED)


batch.register(app, _guarded)
qc.register(app, _guarded)


@app.command(short_help="Run recipes on built-in phantoms whose truth is known.")
@_guarded
def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the results; replaced on each run.")
    ] = Path("medprep-demo"),
    quiet: _Quiet = False,
) -> None:
    """Run recipes on built-in phantoms whose truth is known, and say how close the results are."""
    from ..demo import demonstration
    from .progress import watched

    with watched("demo", quiet) as job:
        found = demonstration.run(out, job)
    if not quiet:
        typer.echo(found.text())


@app.command(short_help="Make report.html of a result or a batch again.")
@_guarded
def report(
    folder: Annotated[Path, typer.Argument(help="A folder that 'medprep run' or 'medprep batch' wrote.")],
    quiet: _Quiet = False,
) -> None:
    """Make report.html again from what is in the folder of a result or of a batch."""
    from ..batch import report as batchreport
    from ..report import page as report_module

    place = folder.expanduser()
    path = (batchreport if batchreport.is_batch(place) else report_module).make(place)
    if not quiet:
        typer.echo(path.resolve())


@app.command(short_help="Fit the standard scale of MRI training images.")
@_guarded
def landmarks(
    images: Annotated[list[Path], typer.Argument(help="Training images of one MRI sequence.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="JSON file for the landmarks.")],
    masks: Annotated[
        list[Path] | None, typer.Option("--mask", help="Brain mask of an image; once for each, in order.")
    ] = None,
    region: Annotated[
        str, typer.Option(help="Where to measure without masks: brain, foreground or image.")
    ] = "brain",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    quiet: _Quiet = False,
) -> None:
    """Fit the intensity landmarks (Nyúl) of training images, for other images of the same sequence.

    Use them with: medprep run RECIPE --set mri.normalize.landmarks=@FILE
    """
    from . import landmarks as clilandmarks
    from .progress import watched

    path = clilandmarks.check(out, overwrite)
    with watched("landmarks", quiet) as job:
        found = clilandmarks.fit(images, masks or [], region, job)
        clilandmarks.save(found, path)
    if not quiet:
        typer.echo(found.text)


reassemble.register(app, _guarded)


@app.command(short_help="Print the JSON Schema of recipes.")
@_guarded
def schema() -> None:
    """Print the JSON Schema (draft 2020-12) of recipes, for editors and other programs."""
    from ..core.schema import recipe_schema

    typer.echo(json.dumps(recipe_schema(), indent=1, ensure_ascii=False))


def _inputs(recipe: Recipe, texts: list[str]) -> dict[str, str]:
    names = [wanted.name for wanted in recipe.inputs]
    found: dict[str, str] = {}
    for text in texts:
        name, path = pair(text, "--input", f"--input {names[0]}=PATH")
        if name in found:
            raise ParameterError(
                _("--input {name} is given twice.").format(name=name),
                _("Expected one image per input of recipe {recipe}.").format(recipe=recipe.name),
                _("Run the recipe once for each image."),
            )
        found[name] = path
    recipe.check_inputs(found)
    return found


def _series(recipe: Recipe, texts: list[str]) -> dict[str, str]:
    """The wanted series by input name; a text with no input's name before ``=`` is meant for every input."""
    names = [wanted.name for wanted in recipe.inputs]
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        found |= {name: value} if equals and name in names else dict.fromkeys(names, text)
    return found


def _read(recipe: Recipe, paths: dict[str, str], series: dict[str, str], job: Any) -> dict[str, Volume]:
    from ..files.reading import read_volume

    labels = {wanted.name for wanted in recipe.inputs if wanted.labels}
    found: dict[str, Volume] = {}
    for n, (name, path) in enumerate(paths.items()):
        part = job.part(n / len(paths), (n + 1) / len(paths))
        part.report(0.0, _("Reading {name}").format(name=name))
        found[name] = read_volume(Path(path).expanduser(), series.get(name), name in labels, part)
    return found


if __name__ == "__main__":
    main()
