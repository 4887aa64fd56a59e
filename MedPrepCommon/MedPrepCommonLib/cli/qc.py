"""``medprep qc``: quality control of a folder of results or images, for a terminal or a pipeline."""

# Heavy packages are imported inside the command.
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..core.errors import FileError
from ..core.i18n import _
from .settings import parse_settings

if TYPE_CHECKING:
    from ..quality.folder import FolderQuality

QUALITY_FAILED = 1


def qc(
    folder: Annotated[Path, typer.Argument(help="Folder with results of 'medprep run', or with images.")],
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write everything as JSON, and a page (.html) beside it.")
    ] = None,
    cases: Annotated[
        Path | None,
        typer.Option(help="CSV file with the columns case, patient and split, to look for leakage."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", "-s", help="PARAMETER=VALUE of the operation qc for image files, or preset=NAME."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Check every case in a folder, and look for images and patients that are in two splits.

    Results of 'medprep run' bring their checks; image files (NIfTI, NRRD, MHA) are held against the
    checklist of the operation qc, together with their labels. Exit code 1 when a check fails, 0 otherwise.
    """
    from ..quality import folder as folderqc
    from .progress import watched

    chosen = {name.removeprefix("qc."): value for name, value in parse_settings(settings or []).items()}
    with watched("qc", quiet) as job:
        found = folderqc.control(folder, cases, chosen, job)
    if json_file is not None:
        save(found, json_file.expanduser())
    if not quiet:
        typer.echo(text(found))
    if found.verdict == "fail":
        raise typer.Exit(QUALITY_FAILED)


def register(app: typer.Typer, guarded: Callable[..., Any]) -> None:
    """Add the verb to the command line."""
    app.command(short_help="Check a folder of results or images.")(guarded(qc))


def save(found: FolderQuality, path: Path) -> None:
    """Write the JSON, and the page of the same name beside it.

    Raises
    ------
    FileError
        when they cannot be written; neither is there then.
    """
    from ..core import provenance
    from ..outputs.writing import plain
    from ..report import folder as reportfolder

    record = plain(found.to_json())
    texts = {path: provenance.text(record), path.with_suffix(".html"): reportfolder.page(found.name, record)}
    drafts = {target: target.with_name(f".{target.name}.partial") for target in texts}
    try:
        for target, draft in drafts.items():
            draft.write_bytes(texts[target].encode("utf-8"))
        for target, draft in drafts.items():
            draft.replace(target)
    except OSError as error:
        raise FileError(
            _("{name} cannot be written ({reason}).").format(name=path.name, reason=error.strerror),
            _("Expected a folder that you may write to."),
            _("Choose another --json."),
        ) from error
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)


def text(found: FolderQuality) -> str:
    """The summary: how many cases pass, the checks across them, then each case."""
    from ..core.result import worst
    from ..recipes.listing import checks_text

    record = found.to_json()
    verdicts = [case.verdict for case in found.cases]
    lines = [
        _("{n} cases: {verdict} - {passed} pass, {warned} warn, {failed} fail.").format(
            n=len(verdicts),
            verdict=found.verdict.upper(),
            passed=verdicts.count("pass"),
            warned=verdicts.count("warn"),
            failed=verdicts.count("fail"),
        )
    ]
    across = {"verdict": worst(found.checks), "checks": record["checks"], "notes": []}
    lines += checks_text(_("Across cases"), across)
    for case in record["cases"]:
        name = " ".join([case["case"], *(f"[{word}]" for word in (case["split"],) if word)])
        lines += checks_text(name, {**case, "notes": []})
    return "\n".join(lines)
