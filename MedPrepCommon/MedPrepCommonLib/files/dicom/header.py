"""Headers of DICOM files: read within bounds, and asked for numbers and texts without surprises.

Whatever is wrong with a file becomes one :class:`FileError` that names it, here and not later: elements are
converted while the file is read, and the bytes that the header asks for must be the bytes that are there.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from .. import checks

# Everything that grouping, geometry and `info` need. Who the patient is serves only to tell series apart.
_TAG_NAMES = """
    SpecificCharacterSet SOPClassUID SOPInstanceUID Modality PatientID StudyInstanceUID FrameOfReferenceUID
    SeriesInstanceUID SeriesNumber SeriesDescription ProtocolName ImageType AcquisitionNumber AcquisitionTime
    AcquisitionDateTime EchoNumbers TemporalPositionIdentifier TriggerTime NominalPercentageOfCardiacPhase
    DiffusionBValue DiffusionGradientOrientation InstanceNumber Rows Columns NumberOfFrames SamplesPerPixel
    PhotometricInterpretation BitsAllocated BitsStored HighBit PixelRepresentation PixelSpacing
    ImagerPixelSpacing NominalScannedPixelSpacing ImagePositionPatient ImageOrientationPatient SliceThickness
    SpacingBetweenSlices GantryDetectorTilt RescaleSlope RescaleIntercept RescaleType PixelPaddingValue
    WindowCenter WindowWidth ConvolutionKernel KVP ViewPosition ViewCodeSequence PatientPosition
    BodyPartExamined AnatomicRegionSequence PatientOrientation Manufacturer ManufacturerModelName
    MagneticFieldStrength EchoTime RepetitionTime InversionTime FlipAngle EchoTrainLength SequenceName
    PulseSequenceName ScanningSequence SequenceVariant AcquisitionMatrix MRAcquisitionType
    PixelIntensityRelationship PresentationIntentType LossyImageCompression LossyImageCompressionRatio
    ImageLaterality Laterality FrameLaterality VOILUTSequence ContrastBolusAgent
    ContrastBolusAgentSequence ConversionType BurnedInAnnotation
"""
TAGS = tuple(_TAG_NAMES.split())
# What the pixels' place and size need, asked for or not.
_ALWAYS_WORDS = """
    SOPClassUID Modality Rows Columns NumberOfFrames SamplesPerPixel BitsAllocated PhotometricInterpretation
"""
#: Private elements with the number of tiles of a mosaic (Siemens with its creator, UIH).
TILES = (0x00190010, 0x0019100A, 0x00651050)
_ALWAYS = (*_ALWAYS_WORDS.split(), *TILES)
# Objects with rows and columns that are not images of the patient.
_NO_IMAGES_WORDS = """
    SEG SR PR KO RTSTRUCT RTPLAN RTDOSE RWV REG DOC FID AU PLAN
"""
_NO_IMAGES = frozenset(_NO_IMAGES_WORDS.split())

_DEFLATED = "1.2.840.10008.1.2.1.99"
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_VIDEO = "1.2.840.10008.1.2.4.10"
_PIXELS = {0x7FE00010: "integer", 0x7FE00008: "float", 0x7FE00009: "double"}
_UNDEFINED = 0xFFFFFFFF
_ITEM = b"\xfe\xff\x00\xe0"
_NO_LENGTH = ("OB", "OD", "OF", "OL", "OV", "OW", "UN")  # VRs of an explicit data set with 4 bytes of length

#: Bytes of an inflated data set that hold its header.
_LONGEST_HEADER = 1 << 24
#: Voxels that one byte of a coded file may stand for, beyond the first 16 million: no image is that empty.
_DENSEST = 10_000
_SMALL = 1 << 24


@dataclass(frozen=True)
class Pixels:
    """Where a file keeps its pixels.

    Parameters
    ----------
    start, length : bytes of the values in the file (of a deflated file: in the inflated data set).
    coded : in fragments (JPEG, run length ...); `length` is that of all of them with their headers.
    kind : "integer", "float" or "double".
    syntax : transfer syntax UID; "" in a bare data set.
    little : whether the least byte comes first.
    words : whether bytes are paired to words of two (OW), which an order of bytes swaps.
    """

    start: int
    length: int
    coded: bool
    kind: str
    syntax: str
    little: bool
    words: bool


def read_header(path: Path, tags: Sequence[str | int] | None = TAGS) -> Any:
    """pydicom data set of an image file without its pixels; None when it is not a DICOM image.

    Parameters
    ----------
    tags : elements that are wanted; None for all.

    Returns
    -------
    pydicom.Dataset or None
        with an attribute ``pixels``: the :class:`Pixels` of the file.

    Raises
    ------
    FileError
        when it starts as DICOM but cannot be read on, or holds fewer or more pixels than its header says.
    """
    start = checks.head(path, 1024)
    if not checks.is_dicom(start):
        return None
    try:
        with warnings.catch_warnings(), open(path, "rb") as file:
            warnings.simplefilter("ignore")
            stream = _plain(file, start)
            header = _parsed(stream, start, tags)
            kind = _kind(header)
            if not number_of(header, "Rows") or not number_of(header, "Columns"):
                # The class of a header that is cut off says what it was going to be.
                sound = not kind.endswith("Image Storage")
            elif kind.endswith("Spectroscopy Storage") or text_of(header, "Modality") in _NO_IMAGES:
                sound = True
            else:
                header.pixels = _pixels(stream, header)
                return header
    except OSError as error:
        raise checks.unreadable(path, error) from error
    except Exception as error:  # pydicom raises many kinds for a broken header
        if start[128:132] != b"DICM":
            return None
        raise checks.damaged(path) from error
    if not sound:
        raise checks.damaged(path)
    return None


def inflate(path: Path, limit: int) -> bytes:
    """The first `limit` bytes of the data set in a deflated file."""
    with open(path, "rb") as file:
        return _inflated(file, file.read(1024), limit)


def frames_of(header: Any) -> int:
    """How many images a file holds; 1 when it does not say."""
    return max(1, int(number_of(header, "NumberOfFrames", 0) or 1))


def number_of(header: Any, tag: str, index: int | None = None) -> float | None:
    """A numeric element as float; None when it is absent, empty or no finite number."""
    try:
        value = header.get(tag)
        if index is not None and value is not None and not isinstance(value, (str, bytes)):
            value = value[index] if hasattr(value, "__len__") else value
        number = float(value)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return number if abs(number) < float("inf") else None


def numbers_of(header: Any, tag: str, count: int) -> tuple[float, ...] | None:
    """A multi-valued numeric element of exactly `count` finite numbers, or None."""
    try:
        values = tuple(float(v) for v in header.get(tag) or ())
    except (TypeError, ValueError, OverflowError):
        return None
    return values if len(values) == count and all(abs(v) < float("inf") for v in values) else None


def text_of(header: Any, tag: str) -> str:
    """An element as text, several values joined by a backslash; "" when absent."""
    try:
        value = header.get(tag)
    except (ValueError, TypeError):
        return ""
    if value is None:
        return ""
    values = [value] if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__") else list(value)
    return "\\".join(str(v).strip() for v in values)


def _plain(file: BinaryIO, start: bytes) -> BinaryIO:
    """The file itself, or what its deflated data set begins with."""
    return BytesIO(_inflated(file, start, _LONGEST_HEADER)) if _is_deflated(start) else file


def _is_deflated(start: bytes) -> bool:
    return start[128:132] == b"DICM" and _DEFLATED.encode() in start


def _inflated(file: BinaryIO, start: bytes, limit: int) -> bytes:
    # The data set follows the file's meta information, whose first element is the length of the rest.
    group, element, _vr, _two, length = struct.unpack_from("<HH2sHI", start, 132)
    if (group, element) != (2, 0):
        raise ValueError("no length of the meta information")
    file.seek(144 + length)
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(file.read(), limit)


def _parsed(stream: BinaryIO, start: bytes, tags: Sequence[str | int] | None) -> Any:
    """The data set with every element converted; `stream` is left standing before the pixels."""
    import pydicom
    from pydicom.filereader import read_dataset
    from pydicom.tag import Tag

    wanted: Any = None if tags is None else [Tag(tag) for tag in {*tags, *_ALWAYS}]
    if _is_deflated(start):
        header: Any = read_dataset(
            stream, False, True, stop_when=lambda tag, _vr, _length: tag in _PIXELS, specific_tags=wanted
        )
        end = 144 + struct.unpack_from("<I", start, 140)[0]
        header.file_meta = read_dataset(BytesIO(start[132:end]), False, True)
    else:
        header = pydicom.dcmread(stream, stop_before_pixels=True, force=True, specific_tags=wanted)
    for tag in list(header.keys()):
        try:
            header[tag]
        except (ValueError, TypeError):  # nonsense in one element: it counts as absent
            del header[tag]
    return header


def _kind(header: Any) -> str:
    """Name of the SOP class, "" where nothing tells."""
    from pydicom.uid import UID

    meta = getattr(header, "file_meta", None) or {}
    return UID(str(meta.get("MediaStorageSOPClassUID", "") or text_of(header, "SOPClassUID"))).name


def _pixels(stream: BinaryIO, header: Any) -> Pixels:
    """Where the pixels are; an exception when the header asks for others than are there."""
    syntax = str((getattr(header, "file_meta", None) or {}).get("TransferSyntaxUID", "") or "")
    little = syntax != _BIG_ENDIAN
    order = "<" if little else ">"
    element = stream.read(12)
    group, number = struct.unpack_from(order + "HH", element)
    kind = _PIXELS[group << 16 | number]
    if element[4:6].decode("latin-1") in _NO_LENGTH:
        length = struct.unpack_from(order + "I", element, 8)[0]
        start = stream.tell()
    else:  # implicit: the length follows the tag
        length = struct.unpack_from(order + "I", element, 4)[0]
        start = stream.tell() - 4
    rows, columns = int(header.Rows), int(header.Columns)
    samples = int(number_of(header, "SamplesPerPixel") or 1)
    bits = {"integer": int(number_of(header, "BitsAllocated") or 0), "float": 32, "double": 64}[kind]
    values = rows * columns * samples * frames_of(header)
    if min(rows, columns, samples, bits) < 1:
        raise ValueError("no pixels")
    if length == _UNDEFINED:
        stream.seek(start)
        total, length = _fragments(stream, 1 if syntax.startswith(_VIDEO) else frames_of(header))
        if values > max(_SMALL, _DENSEST * total):
            raise ValueError("more voxels than so few bytes can hold")
        return Pixels(start, length, True, kind, syntax, little, False)
    if "422" in text_of(header, "PhotometricInterpretation"):
        values = values * 2 // 3
    needed = -(-values * bits // 8)
    # Some writers pad; as much as a row more means that rows or columns are wrong.
    if not needed <= length <= needed + max(columns * samples * bits // 8, 2):
        raise ValueError("other pixels than the header says")
    if not _is_there(stream, header, start + needed, syntax):
        raise ValueError("cut short")
    even = min(length, needed + needed % 2)
    return Pixels(start, even, False, kind, syntax, little, element[4:6] == b"OW")


def _is_there(stream: BinaryIO, header: Any, end: int, syntax: str) -> bool:
    if syntax == _DEFLATED:
        return True  # seen when it is inflated
    return stream.seek(0, 2) >= end


def _fragments(stream: BinaryIO, frames: int) -> tuple[int, int]:
    """Bytes of all fragments, without and with their headers; each frame has one at least."""
    start, end = stream.tell(), _size(stream)
    total = count = 0
    while (head := stream.read(8))[:4] == _ITEM and len(head) == 8:
        length = struct.unpack("<I", head[4:])[0]
        if stream.seek(length, 1) > end:
            raise ValueError("cut short")
        total += length
        count += 1
    # The first item is the table of offsets.
    if head[:4] not in (b"\xfe\xff\xdd\xe0", b"") or count - 1 < frames:
        raise ValueError("fewer fragments than frames")
    return total, stream.tell() - len(head) - start


def _size(stream: BinaryIO) -> int:
    here = stream.tell()
    size = stream.seek(0, 2)
    stream.seek(here)
    return size
