"""The one table of what MedPrep takes from a file: sizes, counts, spacing, fields of view.

A number beyond its bound is refused before anything is made of it, with words that name it. The page
``Docs/reliability.md`` shows the table; a test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bound:
    """Lowest and highest accepted value, both included; `why` is for the documentation."""

    what: str
    low: float
    high: float
    unit: str
    why: str

    def holds(self, value: float) -> bool:
        """Whether `value` is one that MedPrep takes, rounding apart; NaN never is."""
        return self.low - 1e-6 * abs(self.low) <= value <= self.high + 1e-6 * abs(self.high)

    @property
    def span(self) -> str:
        """For people: "0.001 to 1000 mm"."""
        return f"{self.low:g} to {self.high:g} {self.unit}".rstrip()


SPACING = Bound("Voxel spacing", 0.001, 1000, "mm", "from micro-CT to a coarse scout")
FIELD_OF_VIEW = Bound(
    "Field of view along an axis",
    0.001,
    10_000,
    "mm",
    "a body is 2 m; a radiograph of unknown pixel size 10 m",
)
POSITION = Bound("Coordinate of the first voxel", -1e6, 1e6, "mm", "float32 still tells 0.1 mm there")
AXIS = Bound("Voxels along an axis", 1, 65_536, "", "NIfTI-1 ends at 32,767")
COMPONENTS = Bound("Values per voxel", 1, 256, "", "colours, and channels fused to one image")
VOXELS = Bound("Values of an image", 1, 2**33, "", "a whole-body CT has 5e8")
PICTURE_SIDE = Bound("Rows or columns of a picture", 1, 65_535, "", "JPEG ends there")
PICTURE_BYTES = Bound("Bytes of a decoded picture", 1, 2**29, "", "a mammogram has 6e7")
PICTURE_PAGES = Bound("Pages of a TIFF", 1, 1, "", "a stack is a volume whose spacing nobody knows")
TEXT_HEADER = Bound("Bytes of a text header", 1, 2**22, "", "NRRD, MetaImage; 117 segments take 7e4")
DATA_FILES = Bound("Data files of one header", 1, 65_536, "", "one a slice")
SEGMENTS = Bound("Segments of a .seg.nrrd", 0, 4096, "", "TotalSegmentator has 117")
LABEL_VALUE = Bound("Label value of a segment", 1, 32_767, "", "label maps are uint8 or int16")
RECORD = Bound("Bytes of a recipe or record (JSON)", 0, 2**26, "", "a batch of 100,000 cases has 5e7")
# The most that deflate can make of a byte; a shorter file cannot hold what its header asks for.
DEFLATE = Bound("Bytes from one compressed byte", 0, 1032, "", "the format's own limit")

TABLE = (
    SPACING,
    FIELD_OF_VIEW,
    POSITION,
    AXIS,
    COMPONENTS,
    VOXELS,
    PICTURE_SIDE,
    PICTURE_BYTES,
    PICTURE_PAGES,
    TEXT_HEADER,
    DATA_FILES,
    SEGMENTS,
    LABEL_VALUE,
    RECORD,
    DEFLATE,
)


def table() -> str:
    """The table of ``Docs/reliability.md``, as Markdown."""
    rows = [f"| {b.what} | {_number(b.low)} | {_number(b.high)} | {b.unit} | {b.why} |" for b in TABLE]
    return "\n".join(["| what | at least | at most | unit | why |", "|---|---|---|---|---|", *rows])


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1 or value == 0 else f"{value:g}"
