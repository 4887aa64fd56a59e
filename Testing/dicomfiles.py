"""Writes small DICOM files for tests: what a scanner could have written, bent as a test needs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2.1"
PATIENT = {
    "PatientName": "Doe^Jane",
    "PatientID": "MRN-12345",
    "PatientBirthDate": "19500102",
    "StudyDate": "20200304",
}


def dataset(stored: np.ndarray, implicit: bool = False, **elements: Any) -> Dataset:
    """A CT image of `stored`, (j, i), (frame, j, i) or (j, i, 3); `elements` replace or (None) remove."""
    color = stored.ndim == 3 and stored.shape[-1] == 3 and "NumberOfFrames" not in elements
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = elements.get("SOPClassUID", CT_STORAGE)
    meta.MediaStorageSOPInstanceUID = elements.get("SOPInstanceUID") or generate_uid()
    data = Dataset()
    data.file_meta = meta
    defaults = {
        **PATIENT,
        "SOPClassUID": meta.MediaStorageSOPClassUID,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "StudyInstanceUID": "1.2.3.4",
        "SeriesInstanceUID": "1.2.3.4.5000001",
        "SeriesNumber": 2,
        "SeriesDescription": "Thorax",
        "Modality": "CT",
        "PixelRepresentation": 1 if stored.dtype.kind == "i" else 0,
        "SamplesPerPixel": 3 if color else 1,
        "PhotometricInterpretation": "RGB" if color else "MONOCHROME2",
        "Rows": stored.shape[0 if color else -2],
        "Columns": stored.shape[1 if color else -1],
        "BitsAllocated": stored.dtype.itemsize * 8,
        "BitsStored": stored.dtype.itemsize * 8,
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": [0, 0, 0],
        "PixelSpacing": [0.8, 0.7],
        "SliceThickness": 2,
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
    }
    if color:
        defaults["PlanarConfiguration"] = 0
        defaults["RescaleSlope"] = defaults["RescaleIntercept"] = None
    for name, value in {**defaults, **elements}.items():
        if value is not None:
            setattr(data, name, value)
    data.HighBit = data.BitsStored - 1
    data.PixelData = np.ascontiguousarray(stored).tobytes()
    data["PixelData"].VR = "OB" if stored.dtype.itemsize == 1 else "OW"
    return data


def write(
    path: Path, stored: np.ndarray, implicit: bool = False, preamble: bool = True, **elements: Any
) -> Path:
    """One DICOM file; without `preamble` it is the bare data set of old exports."""
    data = dataset(stored, implicit, **elements)
    path.parent.mkdir(parents=True, exist_ok=True)
    if preamble:
        data.save_as(path, enforce_file_format=True)
    else:
        del data.file_meta
        data.save_as(path, implicit_vr=implicit, little_endian=True, enforce_file_format=False)
    return path


def write_series(folder: Path, stored: np.ndarray, positions: np.ndarray, **elements: Any) -> list[Path]:
    """A file per slice of `stored` (k, j, i) at `positions` (k, 3) LPS; a list of k values gives one each."""
    paths = []
    for n, (plane, position) in enumerate(zip(stored, positions, strict=True)):
        own = {k: v[n] if isinstance(v, list) and len(v) == len(stored) else v for k, v in elements.items()}
        own = {"InstanceNumber": n + 1, "ImagePositionPatient": [float(f"{p:.6f}") for p in position], **own}
        paths.append(write(folder / f"IM{n:04d}", plane, **own))
    return paths


def write_enhanced(
    path: Path, stored: np.ndarray, positions: np.ndarray, rescales: list | tuple, **elements: Any
) -> Path:
    """An enhanced CT file of `stored` (frame, j, i); one (slope, intercept) for all, or one per frame."""

    def item(**values: Any) -> Dataset:
        result = Dataset()
        for name, value in values.items():
            setattr(result, name, value)
        return result

    def values(rescale: tuple[float, float]) -> list[Dataset]:
        return [item(RescaleSlope=rescale[0], RescaleIntercept=rescale[1], RescaleType="HU")]

    shared = item(
        PixelMeasuresSequence=[item(PixelSpacing=[0.8, 0.7], SliceThickness=2)],
        PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
    )
    frames = []
    for n in range(len(stored)):
        frame = Dataset()
        if positions is not None:
            frame.PlanePositionSequence = [item(ImagePositionPatient=[float(p) for p in positions[n]])]
        if isinstance(rescales, list):
            frame.PixelValueTransformationSequence = values(rescales[n])
        frames.append(frame)
    if not isinstance(rescales, list):
        shared.PixelValueTransformationSequence = values(rescales)
    absent = (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "SliceThickness",
        "RescaleSlope",
        "RescaleIntercept",
    )
    return write(
        path,
        stored,
        SOPClassUID=ENHANCED_CT_STORAGE,
        NumberOfFrames=len(stored),
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=frames,
        **{**dict.fromkeys(absent), **elements},
    )


def stack(
    n: int, step: tuple[float, float, float] = (0.0, 0.0, 2.0), start=(-10.0, -20.0, 100.0)
) -> np.ndarray:
    """(n, 3) positions from `start` in equal steps."""
    return np.array(start) + np.arange(n)[:, None] * np.array(step)
