"""One case of a batch, from paths to a finished folder: what a worker does, here or on another machine.

An order and its outcome are small plain data; images are read and written here and never travel.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..core import provenance, runner
from ..core import recipe as recipes
from ..core.errors import Cancelled, FileError, MedPrepError
from ..core.i18n import _, told
from ..core.job import Job
from ..core.task import as_medprep_error
from ..core.volume import Volume
from ..files.reading import read_volume, stem
from ..outputs import writing
from . import fit, overview
from . import folder as batchfolder
from .folder import BatchFolder

# The folder, not the case, is at fault: the batch stops before every other case fails in the same way.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE}

#: What each library reads when it is loaded.
THREAD_VARIABLES = (
    "MEDPREP_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
)


def work(order: Mapping[str, Any], cancelled: Callable[[], bool] | None = None) -> dict[str, Any]:
    """Do what an order says and tell how it went; never raises for what is wrong with a case.

    Returns
    -------
    dict
        ``status``: "done", "kept" (it was done already), "failed", "refused" (it failed so before and would
        again), "cancelled", or "stop" when no case can be worked on here; ``error`` with its words,
        ``inputs`` with the digests, ``seconds``, ``peak`` (bytes), ``host`` and ``process``.
    """
    start = time.perf_counter()
    outcome: dict[str, Any] = {"case": order["case"], "host": socket.gethostname(), "process": os.getpid()}
    _reset_peak()
    try:
        limit_threads(order["threads"])
        outcome |= _work(order, cancelled)
    except Cancelled:
        outcome["status"] = "cancelled"
    except _Stop as stop:
        # For the one who started the batch; no record keeps it.
        error = stop.error
        words = {"wrong": error.wrong, "expected": error.expected, "advice": error.advice}
        outcome |= {"status": "stop", "error": {key: str(text) for key, text in words.items()}}
    outcome |= {"seconds": time.perf_counter() - start, "peak": peak_memory()}
    return outcome


class _Stop(Exception):
    def __init__(self, error: MedPrepError) -> None:
        self.error = error


def _work(order: Mapping[str, Any], cancelled: Callable[[], bool] | None) -> dict[str, Any]:
    folder = BatchFolder(order["folder"])
    _require_same_place(order, folder)
    recipe = recipes.parse(order["recipe"])
    wanted: dict[str, Any] = {
        "recipeDigest": fit.digest(recipe, order["measure"]) if order["measure"] else recipe.digest,
        "options": dict(order["options"]),
        "accept": list(order["accept"]),
        "versions": provenance.versions(),
        "inputs": {},
    }
    job = Job(cancelled=cancelled or _Stopper(folder.root / batchfolder.STOP))
    lasting = True
    try:
        for name, source in order["inputs"].items():
            job.check()
            wanted["inputs"][name] = batchfolder.input_digest(source["path"], source["series"])
        measured = folder.measured(order["measure"], order["case"]) if order["measure"] else None
        if measured is None:
            known = batchfolder.sealed(folder.case(order["case"]), wanted)
        else:
            known = batchfolder.read_json(measured)
            known = known if known and all(known.get(k) == v for k, v in wanted.items()) else None
        if known is not None:
            return {"status": "kept", "verdict": known.get("verdict", ""), **wanted}
        if batchfolder.same_failure(order["failure"], wanted):
            return {"status": "refused", "error": order["failure"]["error"], "lasting": True, **wanted}
        volumes = _read(order["inputs"], job)
        if measured is not None:
            found = fit.measure(recipe, order["measure"], volumes, job, order["accept"])
            _written(folder, lambda: batchfolder.write_json(measured, {**wanted, "measured": found}))
            return {"status": "done", **wanted}
        done = runner.run(recipe, volumes, job, order["accept"])
        if done.refusal is not None:
            raise done.refusal
        verdict = writing.quality(done.result)["verdict"]
        _write(order, folder, done, volumes, wanted, verdict, job)
        return {"status": "done", "verdict": verdict, **wanted}
    except (Cancelled, _Stop):
        raise
    except Exception as error:
        # What MedPrep refuses it will refuse again; anything else may be the machine's trouble.
        lasting = isinstance(error, MedPrepError)
        words = _words(as_medprep_error(error), order)
        return {"status": "failed", "error": words, "lasting": lasting, **wanted}


def _require_same_place(order: Mapping[str, Any], folder: BatchFolder) -> None:
    """A worker on another machine must see the same folder and have the same versions."""
    if not folder.cases.is_dir():
        raise _Stop(
            FileError(
                _("The worker on {host} does not see the output folder.").format(host=socket.gethostname()),
                _("Expected a folder that all workers share, under the same path."),
                _("Choose an --out on a shared file system."),
            )
        )
    if order["versions"] != provenance.versions():
        theirs = provenance.versions()
        differing = [k for k in {**order["versions"], **theirs} if order["versions"].get(k) != theirs.get(k)]
        raise _Stop(
            FileError(
                _("The worker on {host} has other versions of {packages}.").format(
                    host=socket.gethostname(), packages=", ".join(sorted(differing))
                ),
                _("Expected the same on all: else results depend on where a case ran."),
                _("Install the same MedPrep and packages for the workers."),
            )
        )


def _read(sources: Mapping[str, Any], job: Job) -> dict[str, Volume]:
    return {
        name: read_volume(source["path"], source["series"] or None, source["labels"], job)
        for name, source in sources.items()
    }


def _write(
    order: Mapping[str, Any],
    folder: BatchFolder,
    done: runner.RecipeRun,
    volumes: Mapping[str, Volume],
    wanted: Mapping[str, Any],
    verdict: str,
    job: Job,
) -> None:
    target = folder.case(order["case"])
    if (target / batchfolder.DONE).exists() and batchfolder.read_json(target / batchfolder.DONE) is None:
        folder.drop(target)  # what a power cut leaves: a list of files that cannot be read

    def seal(draft: Path) -> None:
        overview.write(draft, done, volumes)
        batchfolder.seal(draft, order["case"], wanted, verdict)

    def write() -> None:
        writing.write(
            done,
            volumes,
            target,
            overwrite=True,
            job=job,
            **order["options"],
            seal=seal,
        )

    _written(folder, write)


def _written(folder: BatchFolder, write: Callable[[], None]) -> None:
    """Call `write`; an error of the folder stops the batch, one of the case is the case's."""
    try:
        write()
    except (FileError, OSError) as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__cause__
        if cause is None or cause.errno not in _NO_ROOM:
            # ITK does not say why it could not write: try.
            try:
                batchfolder.probe(folder.cases)
            except OSError as trouble:
                cause = trouble
        if cause is not None and cause.errno in _NO_ROOM:
            raise _Stop(batchfolder.cannot_write(folder.root, cause)) from error
        raise


class _Stopper:
    """Whether the batch was cancelled: a file that workers on all machines see, looked for twice a second."""

    def __init__(self, path: Path) -> None:
        self._path, self._next, self._found = path, 0.0, False

    def __call__(self) -> bool:
        if not self._found and time.monotonic() >= self._next:
            self._next = time.monotonic() + 0.5
            self._found = self._path.exists()
        return self._found


def limit_threads(count: int) -> None:
    """Let every library use `count` threads (0: as it likes), also one that is loaded already."""
    if count < 1:
        return
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(count)
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(count)
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(count)


# Words of systems and of DICOM that say nothing about a person.
_MODALITIES = {"CT", "MR", "CR", "DX", "DR", "XR", "MG", "RF", "XA", "PT", "NM", "US", "OT"}
_SYSTEM = {os.strerror(code) for code in errno.errorcode} | _MODALITIES


def _words(error: MedPrepError, order: Mapping[str, Any]) -> dict[str, str]:
    """An error's fixed words; of what was filled in: numbers, the recipe's names, which input."""
    # What Python raised has a name of its own.
    known = _SYSTEM | _strings(order["recipe"]) | {type(error.__cause__).__name__}
    private = set(error.private) | set(order.get("secrets", ()))
    paths = {name: Path(source["path"]) for name, source in order["inputs"].items()}
    for name, source in order["inputs"].items():
        # An input's own parts are never kept, though a recipe may use the same word.
        private |= {source["series"], *paths[name].parts, stem(paths[name])}
    private -= _SYSTEM

    def keep(text: str) -> str:
        for name, path in paths.items():
            if text.strip("'") in (path.name, stem(path)) or Path(text).is_relative_to(path):
                return f"<{name}>"
        pieces = re.split(r"(, | x |; )", text)
        if not any(piece.strip() in private for piece in pieces):
            # Digits of a date or an identifier are longer.
            short = re.compile(r"[-+(\[]*\d{0,5}(\.\d{1,6})?( ?(mm|ml|HU|%|[KMGT]B|bytes))?[)\]]*")
            if all(piece in known or short.fullmatch(piece) for piece in pieces[::2]):
                return text
        return "<...>"

    texts = {"wrong": error.wrong, "expected": error.expected, "advice": error.advice}
    return {"kind": type(error).__name__, **{key: told(text, keep) for key, text in texts.items()}}


def _strings(record: Any) -> set[str]:
    """Every word of a recipe: names of inputs, steps, operations, parameters and their values."""
    if isinstance(record, Mapping):
        return set().union(*([{str(key)} | _strings(value) for key, value in record.items()] or [set()]))
    if isinstance(record, (list, tuple)):
        return set().union(*([_strings(value) for value in record] or [set()]))
    return {record} if isinstance(record, str) else set()


def _reset_peak() -> None:
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def peak_memory() -> int:
    """Most memory in bytes that this process held (on Linux: since the case began); 0 where nobody knows."""
    try:
        with open("/proc/self/status") as file:
            return int(re.search(r"VmHWM:\s*(\d+) kB", file.read())[1]) * 1024
    except (OSError, TypeError):
        pass
    try:
        import resource
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
