"""The program of the child process in which ITK's N4 filter runs; it needs numpy and SimpleITK only.

It reads ``task.npz`` from the folder it is given and writes ``field.npy`` there (log field on the full grid,
float32). Each iteration is told on one line of standard output. It ends when its standard input closes, so
that nothing is left behind when the calling program dies.
"""

from __future__ import annotations

import os
import sys
import threading


def main(folder: str) -> None:
    """Run the task in `folder`."""
    import numpy as np
    import SimpleITK as sitk

    with np.load(os.path.join(folder, "task.npz")) as stored:
        task = dict(stored)
    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations([int(n) for n in task["iterations"]])
    corrector.SetConvergenceThreshold(float(task["convergence"]))
    corrector.SetNumberOfControlPoints([int(n) + 3 for n in task["mesh"][::-1]])
    corrector.SetWienerFilterNoise(float(task["noise"]))
    corrector.SetBiasFieldFullWidthAtHalfMaximum(float(task["fwhm"]))
    corrector.SetNumberOfHistogramBins(int(task["bins"]))

    def tell() -> None:
        level, iteration = corrector.GetCurrentLevel() + 1, corrector.GetElapsedIterations()
        line = f"iteration {level} {iteration} {corrector.GetCurrentConvergenceMeasurement()!r}\n"
        sys.stdout.write(line)
        sys.stdout.flush()

    corrector.AddCommand(sitk.sitkIterationEvent, tell)
    corrector.Execute(sitk.GetImageFromArray(task["image"]), sitk.GetImageFromArray(task["mask"]))
    whole = sitk.Image([int(n) for n in task["shape"][::-1]], sitk.sitkUInt8)
    field = corrector.GetLogBiasFieldAsImage(whole)
    np.save(os.path.join(folder, "field.npy"), sitk.GetArrayViewFromImage(field).astype(np.float32))


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
