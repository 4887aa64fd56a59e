"""One family of errors: what was wrong, what was expected, what to do."""

from __future__ import annotations

from typing import TypeVar

_Error = TypeVar("_Error", bound="MedPrepError")


class MedPrepError(Exception):
    """Base of every error that a user may see.

    Parameters
    ----------
    wrong : what was found, with the value.
    expected : what would have been right.
    advice : what the user can do now.

    Attributes
    ----------
    private : parts of these texts that a record must not hold (paths, free text of a file).
    """

    private: tuple[str, ...] = ()

    def __init__(self, wrong: str, expected: str = "", advice: str = "") -> None:
        self.wrong, self.expected, self.advice = wrong, expected, advice
        super().__init__(" ".join(part for part in (wrong, expected, advice) if part))

    def hiding(self: _Error, *parts: object) -> _Error:
        """The same error, whose `parts` of the texts stay out of records."""
        self.private = (*self.private, *(text for text in map(str, parts) if text))
        return self


class InputError(MedPrepError):
    """An image, label map or table that an operation cannot work on."""


class GeometryError(InputError):
    """Spacing, direction or grid that is impossible, sheared, or does not match another image's."""


class InputChecksError(InputError):
    """An input that failed its checks, so that no step was run; `ids` are the checks to accept to go on."""

    def __init__(self, wrong: str, expected: str = "", advice: str = "", ids: tuple[str, ...] = ()) -> None:
        super().__init__(wrong, expected, advice)
        self.ids = ids


class ParameterError(MedPrepError):
    """A parameter that is unknown, of the wrong type or out of range."""


class RecipeError(MedPrepError):
    """A recipe file that cannot be used; the message names the path inside the file."""


class FileError(MedPrepError):
    """A file that cannot be read or written, or is not what it should be."""


class MissingPackageError(MedPrepError):
    """An optional package that is not installed."""


class Cancelled(MedPrepError):
    """The user pressed Cancel; nothing was written."""

    def __init__(self, wrong: str = "Cancelled.", expected: str = "", advice: str = "") -> None:
        super().__init__(wrong, expected, advice)
