"""The trained lung-field network: scores of background and of lung on either side of a radiograph.

``Training/MODEL_CARD.md`` says what it was trained on, how well it did on patients it had not seen, and where
it must not be trusted. OpenCV runs it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from MedPrepCommonLib.core.errors import FileError
from MedPrepCommonLib.core.i18n import _

from ..picture.opencv import opencv

MODEL = Path(__file__).resolve().parents[1] / "models" / "lung_fields.onnx"

Forward = Callable[[np.ndarray], np.ndarray]


@lru_cache(maxsize=1)
def network() -> Forward:
    """The network as a function of (1, 2, 256, 256) float32 input to (1, 3, 128, 128) float32 scores.

    Raises
    ------
    MissingPackageError
        when OpenCV is not installed.
    FileError
        when the model file is missing.
    """
    cv2 = opencv(_('Install it, or choose the method "classical".'))
    try:
        # As bytes: OpenCV cannot open a path with letters beyond ASCII on Windows.
        stored = MODEL.read_bytes()
    except OSError as error:
        raise FileError(
            _("The lung-field network is missing."),
            _("Expected {name} in the folder models of the library.").format(name=MODEL.name),
            _("Install MedPrep again."),
        ) from error
    net = cv2.dnn.readNetFromONNX(np.frombuffer(stored, np.uint8))
    lock = threading.Lock()  # a network of OpenCV holds its input

    def forward(tensor: np.ndarray) -> np.ndarray:
        with lock:
            net.setInput(tensor)
            return np.array(net.forward())

    return forward


def side_scores(channels: np.ndarray, forward: Forward) -> np.ndarray:
    """(3, 128, 128) float32 log probabilities of background and of lung on the left and right of the square.

    The mean of what the network says about the image and about its mirror image: it was trained on both, and
    where it is in doubt, two opinions are better than one.

    Parameters
    ----------
    channels : from :func:`lunginput.channels`.
    forward : the network.
    """
    seen = _log_shares(forward(np.ascontiguousarray(channels[np.newaxis]))[0])
    mirrored = _log_shares(forward(np.ascontiguousarray(channels[np.newaxis, :, :, ::-1]))[0])
    return (seen + mirrored[[0, 2, 1], :, ::-1]) / 2


def _log_shares(scores: np.ndarray) -> np.ndarray:
    scores = scores - scores.max(axis=0)
    return scores - np.log(np.exp(scores).sum(axis=0))
