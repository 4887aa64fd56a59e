"""``medprep reassemble``: patches put together to one image again."""

# Heavy packages are imported inside the command.
from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..core.errors import ParameterError
from ..core.i18n import _

if TYPE_CHECKING:
    from ..core.job import Job
    from ..core.volume import Volume


def reassemble(
    folder: Annotated[Path, typer.Argument(help="Folder of patches with its manifest.csv.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File for the image, .nii.gz.")],
    reference: Annotated[
        Path | None,
        typer.Option(help="Image whose grid the result shall have; left out: that of the cut image."),
    ] = None,
    array: Annotated[
        str,
        typer.Option(help="image, a label map, or an array that a network added to the NPZ files."),
    ] = "image",
    blend: Annotated[
        str, typer.Option(help="Weights where patches overlap: gaussian, linear or constant.")
    ] = "gaussian",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Put patches together to one image, overlaps blended; whole numbers that were added count as labels.

    With --reference the result comes back to that image's grid, as by the operation restore.
    """
    from .landmarks import check
    from .progress import watched

    path = check(out, overwrite)
    if not path.name.endswith(".nii.gz"):
        raise ParameterError(
            _("The file {file} is no .nii.gz.").format(file=path.name),
            _("Expected a name that ends in .nii.gz."),
            _("Choose another --out."),
        )
    with watched("reassemble", quiet) as job:
        found, covered = together(folder.expanduser(), reference, array, blend, job.part(0.0, 0.9))
        write(found, path, job.part(0.9, 1.0))
    if not quiet:
        size = " x ".join(str(n) for n in found.shape[::-1])
        typer.echo(
            _("{file}: {size} voxels, {share:.1f} % of the cut image covered by patches").format(
                file=path.name, size=size, share=100 * covered
            )
        )


def together(folder: Path, reference: Path | None, array: str, blend: str, job: Job) -> tuple[Volume, float]:
    """The image of a folder of patches, on the grid of `reference`, and the share that patches cover."""
    from ..core import engine
    from ..core.operation import create
    from ..core.volume import LabelVolume
    from ..files.patch_folder import PatchFolder
    from ..files.reading import read_volume
    from ..files.reassembly import cut_from, reassemble

    patches = PatchFolder(folder)
    target = None if reference is None else read_volume(reference.expanduser(), job=job.part(0.0, 0.1))
    same = target is not None and cut_from(patches, target)
    found = reassemble(patches, target if same else None, name=array, blend=blend, job=job.part(0.1, 0.8))
    covered = found.info["covered"]
    if target is not None and not same:
        given = {"labels": (found,)} if isinstance(found, LabelVolume) else {"prediction": found}
        op = create("restore", "mask" if isinstance(found, LabelVolume) else "probability")
        restored = engine.run(op, {"image": target, **given}, job.part(0.8, 1.0)).volumes()
        found = next(iter(restored.values()))
    return found, covered


def write(volume: Volume, path: Path, job: Job) -> None:
    """Write a .nii.gz file that appears complete or not at all."""
    from ..files.nifti_writing import write_nifti

    with tempfile.TemporaryDirectory(prefix=".medprep-", dir=path.parent) as folder:
        draft = Path(folder) / path.name
        write_nifti(volume, draft, job)
        os.replace(draft, path)


def register(app: typer.Typer, guarded: Callable[..., Any]) -> None:
    """Add the verb to the command line."""
    app.command(short_help="Put patches together to one image.")(guarded(reassemble))
