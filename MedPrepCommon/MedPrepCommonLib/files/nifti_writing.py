"""Images and label maps as ``.nii.gz``, the same bytes for the same image."""

from __future__ import annotations

import os
from pathlib import Path

import SimpleITK as sitk

from ..core.errors import FileError
from ..core.i18n import _
from ..core.job import Job
from ..core.volume import LabelVolume, Volume
from . import gzipping

# Of 9: images take long at any level and gain 10 % from the highest; labels gain much and take no time.
_IMAGE_LEVEL, _LABEL_LEVEL = 1, 9


def write_nifti(volume: Volume, path: str | os.PathLike[str], job: Job | None = None) -> None:
    """Write ``.nii.gz``; several components become the fifth dimension (a NIfTI vector).

    NIfTI has no place for names of channels: they stand in the header's free text (``descrip``), in order.

    NIfTI keeps the geometry in 32-bit floats: positions are exact to some 1e-5 mm. The scene and the
    ``.seg.nrrd`` files keep them exactly.

    Raises
    ------
    GeometryError
        for a sheared grid.
    FileError
        when the file cannot be written.
    """
    path = Path(path)
    plain = path.with_name(path.name.removesuffix(".gz"))
    level = _LABEL_LEVEL if isinstance(volume, LabelVolume) else _IMAGE_LEVEL
    try:
        image = volume.to_sitk()
        if volume.info.get("channelNames"):
            # ITK's name for descrip, which holds 79 characters.
            text = _("channels: {names}").format(names=", ".join(volume.info["channelNames"]))
            image.SetMetaData("ITK_FileNotes", text[:79])
        sitk.WriteImage(image, str(plain))
        gzipping.compress_file(plain, path, level, job.check if job else None)
    except RuntimeError as error:
        raise FileError(
            _("{name} cannot be written as NIfTI.").format(name=path.name), "", str(error).splitlines()[-1]
        ) from error
    finally:
        plain.unlink(missing_ok=True)
