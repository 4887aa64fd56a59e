"""ITK's N4 filter, and the program of the child process in which it runs; needs numpy and SimpleITK only.

The program reads ``task.npz`` from the folder it is given and writes ``field.npy`` there (log field on the
full grid, float32). It says ``ready`` when it has all it needs, then each iteration on one line of standard
output. It ends when its standard input closes, so that nothing is left behind when the calling program dies.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any


def log_field(task: Mapping[str, Any], tell: Callable[[int, int, float], None]) -> Any:
    """The logarithm of ITK's field on the full grid, (k, j, i) float32.

    Parameters
    ----------
    task : the fields of :class:`n4itk.Task`.
    tell : called with level, iteration (both from 1) and convergence; what it raises ends the filter.
    """
    import numpy as np
    import SimpleITK as sitk

    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations([int(n) for n in task["iterations"]])
    corrector.SetConvergenceThreshold(float(task["convergence"]))
    corrector.SetNumberOfControlPoints([int(n) + 3 for n in task["mesh"][::-1]])
    corrector.SetWienerFilterNoise(float(task["noise"]))
    corrector.SetBiasFieldFullWidthAtHalfMaximum(float(task["fwhm"]))
    corrector.SetNumberOfHistogramBins(int(task["bins"]))

    def iteration() -> None:
        tell(
            corrector.GetCurrentLevel() + 1,
            corrector.GetElapsedIterations(),
            corrector.GetCurrentConvergenceMeasurement(),
        )

    corrector.AddCommand(sitk.sitkIterationEvent, iteration)
    mask = np.asarray(task["mask"], np.uint8)
    corrector.Execute(sitk.GetImageFromArray(task["image"]), sitk.GetImageFromArray(mask))
    whole = sitk.Image([int(n) for n in task["shape"][::-1]], sitk.sitkUInt8)
    return sitk.GetArrayFromImage(corrector.GetLogBiasFieldAsImage(whole)).astype(np.float32, copy=False)


def main(folder: str) -> None:
    """Run the task in `folder`."""
    import numpy as np
    import SimpleITK  # noqa: F401

    _say("ready")
    with np.load(os.path.join(folder, "task.npz")) as stored:
        task = dict(stored)
    field = log_field(task, lambda level, number, change: _say(f"iteration {level} {number} {change!r}"))
    np.save(os.path.join(folder, "field.npy"), field)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def end_with_the_caller() -> None:
    """Wait until the caller closes standard input or dies, then end at once."""
    # Not sys.stdin.read(): a thread inside it makes Python abort when the program ends.
    while os.read(0, 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=end_with_the_caller, daemon=True).start()
    main(sys.argv[1])
    sys.stdout.flush()
    os._exit(0)
