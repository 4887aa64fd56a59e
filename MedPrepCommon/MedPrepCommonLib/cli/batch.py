"""``medprep batch``, ``cases`` and ``split``: many cases, where they are, and who is trained on."""

# Heavy packages are imported inside the commands.
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..core.errors import Cancelled, FileError, ParameterError
from ..core.i18n import _
from .settings import pair, parse_settings

if TYPE_CHECKING:
    from ..batch.records import Summary

SOME_FAILED = 3
_SHOWN = 10


def batch(
    recipe: Annotated[str, typer.Argument(help="A recipe's name (see: medprep recipes) or .json file.")],
    cases: Annotated[Path, typer.Argument(help="CSV file with one case a row, or a folder of images.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results; made by this command.")],
    workers: Annotated[
        int | None,
        typer.Option("--workers", "-w", min=0, help="Processes; 0 works in this one. Default: by the cores."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of each worker. Default: the cores shared out.")
    ] = None,
    memory: Annotated[
        str,
        typer.Option(help="What all workers of a machine may use, as 8GB. Default: 80 % of what is free."),
    ] = "",
    scheduler: Annotated[
        str, typer.Option(help="tcp://HOST:PORT of a Dask scheduler, whose workers do the work.")
    ] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the batch in the folder.")] = False,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Begin no further case after the first that failed.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", help="OPERATION.PARAMETER=VALUE or STEP.PARAMETER=VALUE, as for run."),
    ] = None,
    columns: Annotated[
        list[str] | None, typer.Option("--column", help="INPUT=COLUMN of the CSV file, where names differ.")
    ] = None,
    patterns: Annotated[
        list[str] | None,
        typer.Option("--pattern", help="INPUT={case}/t1.nii.gz, which files of a folder are the cases."),
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(help="Go on with cases that fail this input check: missing-slices, part, view, ..."),
    ] = None,
    pseudonyms: Annotated[
        Path | None, typer.Option(help="File with a salt; cases are called by pseudonyms made with it.")
    ] = None,
    scene: Annotated[bool, typer.Option(help="Write scene.mrb and .seg.nrrd for each case.")] = False,
    report: Annotated[bool, typer.Option(help="Write report.html for each case.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Run a recipe on many cases, on several processes or a Dask cluster; --resume goes on after a stop.

    A case whose input fails its checks (slices missing, another part of the body, ...) fails, with the
    reason, unless --accept names the check.

    Exit codes: 0 all done, 2 wrong usage or the batch could not go on, 3 some cases failed, 130 cancelled.
    """
    from ..core import recipe as recipes

    plan = recipes.load(recipe).with_settings(parse_settings(settings or []))
    from ..batch import case_list
    from ..batch import memory as batchmemory
    from ..batch import running as batches
    from ..core import input_checks

    found = case_list.read(plan, cases, _pairs(columns, "--column"), patterns or [], pseudonyms, out)
    from .progress import watched

    how = batches.Plan(
        workers,
        threads,
        batchmemory.parse_size(memory) if memory else None,
        scheduler,
        resume,
        fail_fast,
        scene,
        report,
        input_checks.require_known(accept or ()),
    )
    try:
        with watched(plan.name, quiet) as job:
            done = batches.run(plan, found, out, how, job)
    except (Cancelled, KeyboardInterrupt):
        typer.echo(_("Cancelled; finished cases are safe. Go on with --resume."), err=True)
        raise typer.Exit(130) from None
    if not quiet:
        typer.echo(text(done, plan.name))
    if not done.complete:
        raise typer.Exit(SOME_FAILED)


def split(
    cases: Annotated[Path, typer.Argument(help="CSV file with one case a row.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="CSV file for the same cases with a column split.")
    ],
    fractions: Annotated[str, typer.Option(help="Shares of train, val and test.")] = "0.7,0.15,0.15",
    seed: Annotated[int, typer.Option(help="Another number gives other splits.")] = 0,
    patientwise: Annotated[
        bool, typer.Option(help="Keep all cases of a patient together (column patient).")
    ] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Split cases into train, val and test, a patient's cases always together."""
    from collections import Counter

    from ..cases import split as casessplit
    from ..cases.table import SPLIT, SPLITS, read_sheet, write_sheet

    sheet = read_sheet(cases)
    target = out.expanduser()
    if target.resolve().parent != cases.expanduser().resolve().parent:
        # Paths in the file are seen from its folder.
        raise ParameterError(
            _("{out} lies in another folder than {cases}.").format(out=out.name, cases=cases.name),
            _("Expected the same folder: paths in the file are seen from there."),
        )
    _require_new(target, overwrite)
    rows = casessplit.split(sheet, casessplit.parse_fractions(fractions), seed, patientwise)
    write_sheet(target, list(dict.fromkeys([*sheet.columns, SPLIT])), rows)
    if not quiet:
        for doubt in casessplit.doubts(sheet) if patientwise else []:
            typer.echo(doubt)
        counts = Counter(row[SPLIT] for row in rows)
        typer.echo(", ".join(f"{name}: {counts[name]}" for name in SPLITS))


def cases(
    folder: Annotated[Path, typer.Argument(help="Folder of a dataset.")],
    layout: Annotated[
        str, typer.Option(help="folder, luna16, brats, chexpert, nih, dicom, bids or nnunet.")
    ] = "folder",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="CSV file to write. Default: cases.csv in the folder.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Write the cases file of a dataset, and say what was found and left out."""
    from ..cases import layouts
    from ..cases.table import write_sheet
    from .progress import watched

    root = folder.expanduser().resolve()
    target = (out or root / "cases.csv").expanduser().resolve()
    _require_new(target, overwrite)
    with watched("cases", quiet) as job:
        found = layouts.read(root, layout, job)
    rows = [layouts.seen_from(row, root, target.parent) for row in found.rows]
    write_sheet(target, found.columns, rows)
    if not quiet:
        patients = {row.get("patient") or row["case"] for row in rows}
        typer.echo(
            _("{n} cases of {m} patients: {columns}").format(
                n=len(rows), m=len(patients), columns=", ".join(found.columns)
            )
        )
        for what, count in sorted(found.left.items()):
            typer.echo(_("left out: {n} x {what}").format(n=count, what=what))
        for note in found.notes:
            typer.echo(note)
        typer.echo(target)


def export(
    form: Annotated[str, typer.Argument(metavar="FORMAT", help="nnunet, monai or torchio.")],
    batch: Annotated[Path, typer.Argument(help="Output folder of a batch.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="New folder; Dataset123_Name for nnU-Net.")],
    images: Annotated[
        str, typer.Option(help="Outputs of the recipe that are the images, separated by commas.")
    ] = "image",
    labels: Annotated[str, typer.Option(help="Output of the recipe that is the label map.")] = "",
    names: Annotated[
        str, typer.Option(help="Names of its values, the lowest first, separated by commas.")
    ] = "",
    renumber: Annotated[
        bool, typer.Option("--renumber", help="nnU-Net: make the values 1, 2, 3, ... where they are not.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Write a batch's results as an nnU-Net v2 raw dataset, or as a list of files for MONAI or TorchIO."""
    from ..batch import export as batchexport
    from .progress import watched

    if form not in ("nnunet", "monai", "torchio"):
        raise ParameterError(
            _("There is no format {name!r}.").format(name=form), _("Expected nnunet, monai or torchio.")
        )
    chosen = [name.strip() for name in images.split(",") if name.strip()]
    words = [name.strip() for name in names.split(",") if name.strip()]
    with watched("export", quiet) as job:
        if form == "nnunet":
            found = batchexport.nnunet(batch, out, chosen, labels, words, job, renumber)
        else:
            found = batchexport.lists(batch, out, chosen, labels, form)
    if not quiet:
        typer.echo(", ".join(f"{split}: {count}" for split, count in found.counts.items()))
        typer.echo(found.folder)


def register(app: typer.Typer, guarded: Callable[..., Any]) -> None:
    """Add the commands to the ``medprep`` application."""
    app.command(short_help="Run a recipe on many cases.")(guarded(batch))
    app.command(short_help="Write the cases file of a dataset.")(guarded(cases))
    app.command(short_help="Write a batch as a dataset for training.")(guarded(export))
    app.command(short_help="Split cases into train, val and test.")(guarded(split))


def _require_new(target: Path, overwrite: bool) -> None:
    if target.exists() and not overwrite:
        raise FileError(
            _("{file} exists already.").format(file=target.name),
            _("Expected a new file."),
            _("Choose another name, or give --overwrite."),
        )


def text(done: Summary, name: str) -> str:
    """What a user reads at the end."""
    total = len(done.done) + len(done.failed) + len(done.pending)
    lines = [
        _("{name}: {done} of {total} cases done, {failed} failed.").format(
            name=name, done=len(done.done), total=total, failed=len(done.failed)
        )
    ]
    if done.kept:
        lines.append(_("{n} were as an earlier run left them.").format(n=done.kept))
    if done.pending:
        lines.append(_("{n} were not begun.").format(n=len(done.pending)))
    lines += [f"  {case}: {error['wrong']}" for case, error in list(done.failed.items())[:_SHOWN]]
    if len(done.failed) > _SHOWN:
        lines.append(_("  ... and {n} more, see batch.csv").format(n=len(done.failed) - _SHOWN))
    unsure = ", ".join(f"{done.verdicts[v]} {v}" for v in ("warn", "fail") if done.verdicts.get(v))
    if unsure:
        lines.append(_("Quality control: {verdicts} (see batch.csv).").format(verdicts=unsure))
    lines += done.notes
    lines.append(_("Results: {folder}").format(folder=done.folder))
    return "\n".join(lines)


def _pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    return dict(pair(text, option, f"{option} image=path") for text in texts or [])
