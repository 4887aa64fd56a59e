"""Standard scale of MRI training images from files on disk, behind ``medprep landmarks``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ..core import engine
from ..core.errors import FileError, ParameterError
from ..core.i18n import _
from ..core.job import Job
from ..core.operation import create
from ..files import text_file
from ..files.reading import read_volume
from ..numeric.landmarks import Landmarks, standard_scale


def fit(images: Sequence[Path], masks: Sequence[Path], region: str, job: Job) -> Landmarks:
    """The mean landmarks of the training images, each measured in its mask or its region.

    Raises
    ------
    ParameterError
        when there are masks, but not one for each image.
    """
    if masks and len(masks) != len(images):
        raise ParameterError(
            _("There are {masks} masks for {images} images.").format(masks=len(masks), images=len(images)),
            _("Expected one for each image, in the same order, or none."),
            _("Give --mask once for each image."),
        )
    measure = create("mri.normalize", method="nyul", region=region)
    training = []
    for n, path in enumerate(images):
        part = job.part(n / len(images), (n + 1) / len(images), path.name)
        inputs = {"image": read_volume(path.expanduser(), job=part.part(0.0, 0.3))}
        if masks:
            inputs["mask"] = read_volume(masks[n].expanduser(), labels=True)
        found = engine.run(measure, inputs, part.part(0.3, 1.0))
        training.append(Landmarks.parse(found.metrics["landmarks"]))
    return standard_scale(training)


def check(path: Path, overwrite: bool) -> Path:
    """The file to write; :class:`FileError` when it is there already or its folder is not."""
    path = path.expanduser()
    if path.exists() and not overwrite:
        raise FileError(
            _("{file} exists already.").format(file=path.name),
            _("Expected a new file."),
            _("Choose another name, or give --overwrite."),
        )
    if path.is_dir() or not path.parent.is_dir():
        raise FileError(
            _("{file} cannot be written.").format(file=path.name),
            _("Expected a file in a folder that exists."),
            _("Make the folder first."),
        )
    return path


def save(found: Landmarks, path: Path) -> None:
    """Write landmarks as JSON; the file appears complete or not at all."""
    text_file.save(path, json.dumps(found.to_json(), indent=1) + "\n")
