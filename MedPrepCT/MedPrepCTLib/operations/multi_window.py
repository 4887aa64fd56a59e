"""Several display windows of one CT as the channels of one image."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from MedPrepCommonLib.core.errors import ParameterError
from MedPrepCommonLib.core.i18n import _
from MedPrepCommonLib.core.job import Job
from MedPrepCommonLib.core.operation import Count, Help, Preset, Suggest, operation
from MedPrepCommonLib.core.parameters import nearest
from MedPrepCommonLib.core.result import Result
from MedPrepCommonLib.core.volume import Volume

from ..quality.hounsfield import hu_checks, hu_notes
from .window import CLINICAL, DICOM, WINDOWS, Function, Output, Window, apply_window, display_of


@operation(
    "ct.multiWindow",
    title=_("Several windows"),
    console="multiWindow",
    modality="CT",
    outputs=("image",),
    cite=DICOM,
)
class MultiWindow:
    """Put up to four windows into the channels of one image, as input for a network."""

    windows: Annotated[
        tuple[str, ...],
        Count(1, 4),
        Suggest(tuple(WINDOWS)),
        Help(_("1 to 4 windows: preset names or LEVEL/WIDTH, as in lung, bone, 50/350")),
    ] = ("lung", "mediastinum", "bone")
    function: Function = "LINEAR"
    outputType: Output = "uint8"

    presets = {
        "chest": Preset(_("Lung, mediastinum, bone"), CLINICAL, windows=("lung", "mediastinum", "bone")),
        "head": Preset(_("Brain, subdural, bone"), CLINICAL, windows=("brain", "80/200", "bone")),
        "abdomen": Preset(_("Abdomen, bone"), CLINICAL, windows=("abdomen", "bone")),
    }

    def __post_init__(self) -> None:
        self.channels()

    def channels(self) -> list[tuple[str, float, float]]:
        """(name, level, width) of each window.

        Raises
        ------
        ParameterError
            for an unknown name or an impossible LEVEL/WIDTH.
        """
        return [_window(word) for word in self.windows]

    def __call__(self, image: Volume, job: Job) -> Result:
        channels = self.channels()
        result: np.ndarray | None = None
        for n, (name, level, width) in enumerate(channels):
            part = job.part(n / len(channels), (n + 1) / len(channels), name)
            array = apply_window(image.array, level, width, self.function, self.outputType, part)
            if len(channels) == 1:
                result = array
                break
            if result is None:
                result = np.empty((*image.shape, len(channels)), array.dtype)
            result[..., n] = array
        info = {**image.info, "channelNames": [name for name, _level, _width in channels]}
        volume = image.with_array(result, name="", info=info, display=display_of(self.outputType))
        return Result(images={"image": volume}, notes=hu_notes(image), checks=hu_checks(image))


def _window(word: str) -> tuple[str, float, float]:
    if word in WINDOWS:
        return word, float(WINDOWS[word]["level"]), float(WINDOWS[word]["width"])
    try:
        level, width = (float(part) for part in word.split("/"))
    except ValueError:
        raise ParameterError(
            _("ct.multiWindow.windows contains {word!r}.").format(word=word),
            _("Expected LEVEL/WIDTH or one of {names}.").format(names=", ".join(WINDOWS)),
            nearest(word, WINDOWS),
        ) from None
    create = Window(level=level, width=width)
    return word, create.level, create.width
