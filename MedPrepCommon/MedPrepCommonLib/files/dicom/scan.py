"""Which DICOM series a folder holds, from the headers alone."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...core.errors import FileError
from ...core.i18n import _
from ...core.job import Job
from .. import checks
from . import words
from .groups import Member, stacks_of
from .header import frames_of, read_header, text_of

# Series that an error message lists.
_LISTED = 20


@dataclass(frozen=True)
class DicomSeries:
    """One stack of images that makes one volume.

    Parameters
    ----------
    number : place in the list of the folder's series, from 1.
    description : of the series, or what the scanner calls it otherwise.
    modality : "CT", "MR", ...
    slices : images in it (frames of a multi-frame file).
    uid : DICOM series instance UID; two stacks of one series share it.
    files : paths in no particular order; `headers` the pydicom data sets of the same files (without pixels).
    copies : files left out because another one holds the same image.
    repeats : its image numbers come twice, so that it may be two scans (see :mod:`.groups`).
    """

    number: int
    description: str
    modality: str
    slices: int
    uid: str
    files: tuple[Path, ...]
    headers: tuple[Any, ...]
    copies: int = 0
    repeats: bool = False

    @property
    def label(self) -> str:
        """What the volume is called: the words of the description that cannot be anybody's name."""
        return words.label(self.description, self.modality)

    @property
    def document(self) -> str:
        """What a picture of text is, such as "dose report"; "" for an image of a patient."""
        return words.document(self.headers[0])

    @property
    def short_id(self) -> str:
        """The last 8 characters of the UID: enough to tell series apart."""
        return self.uid[-8:].lstrip(".")

    def __str__(self) -> str:
        return _("{number}: {description} ({modality}, {slices} slices, ...{id})").format(
            number=self.number,
            description=self.description or _("no description"),
            modality=self.modality or "?",
            slices=self.slices,
            id=self.short_id,
        )


def scan_dicom(
    folder: str | os.PathLike[str], job: Job | None = None, damaged: list[Path] | None = None
) -> list[DicomSeries]:
    """The image series in a folder and its subfolders, in the order of their series numbers.

    Files are known by their content, not by their name. A series is one patient, study, frame of reference
    and series; its images form several entries when they differ in size or direction (a scout beside its
    stack), or when several were taken at each place (echoes, time points). See :mod:`.groups`.

    Parameters
    ----------
    damaged : takes the files that are damaged; without it the first one is an error.

    Raises
    ------
    FileError
        when the folder cannot be read, or a DICOM file in it is damaged.
    """
    folder = Path(folder)
    job = job or Job.quiet()
    paths = _files(folder)
    headers = []
    for n, path in enumerate(paths):
        if n % 16 == 0:
            job.report(n / len(paths), _("Reading DICOM headers"))
        try:
            header = read_header(path)
        except FileError:
            if damaged is None:
                raise
            damaged.append(path)
            continue
        if header is not None:
            headers.append((path, header))
    return series_of(headers)


def pick(series: Sequence[DicomSeries], wanted: int | str | None, folder: Path) -> DicomSeries:
    """The series that `wanted` names, or the only one.

    Raises
    ------
    FileError
        when there is none, or several and `wanted` does not name exactly one of them; it lists them.
    """
    if not series:
        raise FileError(
            _("{path} holds no DICOM images.").format(path=folder),
            _("Expected DICOM files with pixels, at any depth, with any names."),
            _("Choose another folder; name the file itself if the image is not DICOM."),
        )
    if wanted is None:
        # A dose report beside the only scan is no choice.
        found = [s for s in series if not s.document] or list(series)
    else:
        text = str(wanted).strip()
        found = [s for s in series if text == str(s.number)]
        found = found or [s for s in series if text == s.uid]
        found = found or [s for s in series if text.lower() == s.description.lower()]
        found = found or [s for s in series if len(text) >= 4 and s.uid.endswith(text.lstrip("."))]
    if len(found) == 1:
        return found[0]
    listing = "; ".join(str(s) for s in series[:_LISTED])
    if len(series) > _LISTED:
        listing += _("; and {n} more").format(n=len(series) - _LISTED)
    if wanted is None:
        wrong = _("{path} holds {n} series.").format(path=folder, n=len(series))
    else:
        wrong = _("{path} holds {n} series called {wanted!r}.").format(
            path=folder, n=len(found), wanted=wanted
        )
    raise FileError(
        wrong,
        _("Expected the number, UID or description of one of them: {list}.").format(list=listing),
        _("Name one with series=, on the command line with --series."),
    ).hiding(listing, wanted or "")


def series_of(members: Iterable[Member]) -> list[DicomSeries]:
    """The series that files and their headers make, numbered from 1."""
    series = []
    for number, stack in enumerate(stacks_of(members), start=1):
        paths, headers = zip(*stack.members, strict=True)
        first = headers[0]
        description = text_of(first, "SeriesDescription") or text_of(first, "ProtocolName")
        series.append(
            DicomSeries(
                number,
                f"{description} {stack.label}".strip(),
                text_of(first, "Modality"),
                sum(map(frames_of, headers)),
                text_of(first, "SeriesInstanceUID"),
                paths,
                headers,
                stack.copies,
                stack.repeats,
            )
        )
    # Equal descriptions cannot be told apart by the user; the number behind them can.
    met = Counter((s.description, s.uid) for s in series)
    return [
        replace(s, description=f"{s.description} [{s.number}]") if met[s.description, s.uid] > 1 else s
        for s in series
    ]


def _files(folder: Path) -> list[Path]:
    """Every regular file in a folder and those below it, linked ones too, each folder once."""
    found: list[Path] = []
    visited: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        try:
            state = os.stat(place)
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError as error:
            raise checks.unreadable(place, error) from error
        if (state.st_dev, state.st_ino) in visited and state.st_ino:
            continue
        visited.add((state.st_dev, state.st_ino))
        found += [Path(entry.path) for entry in entries if _is_wanted(entry)]
        waiting += reversed([Path(entry.path) for entry in entries if entry.is_dir()])
    return found


def _is_wanted(entry: os.DirEntry[str]) -> bool:
    # What is no regular file (a named pipe, a device) would never end.
    return entry.name.upper() != "DICOMDIR" and entry.is_file()
