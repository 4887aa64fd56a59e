"""What DICOM headers tell the verdict: fixed words, numbers, windows of the series, and nobody's name."""

from __future__ import annotations

import dicomfiles
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from test_dicom_groups import smooth

from MedPrepCommonLib.core.errors import FileError
from MedPrepCommonLib.core.facts import FACTS
from MedPrepCommonLib.files.dicom import words
from MedPrepCommonLib.files.dicom.scan import scan_dicom
from MedPrepCommonLib.files.reading import read_volume

RADIOGRAPH = {"Modality": "DX", "ImagePositionPatient": None, "ImageOrientationPatient": None}


def info_of(folder, **elements):
    path = dicomfiles.write(folder / "a.dcm", smooth(2, 0)[0], **elements)
    return read_volume(path).info


def code(meaning: str) -> list[Dataset]:
    item = Dataset()
    item.CodeMeaning, item.CodeValue, item.CodingSchemeDesignator = meaning, "1", "SCT"
    return [item]


@pytest.mark.filterwarnings("ignore:Invalid value")
@pytest.mark.parametrize(
    ("elements", "key", "value"),
    [
        ({"ImageType": ["DERIVED", "SECONDARY", "MPR"]}, "derived", True),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]}, "derived", None),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]}, "imageType", ["ORIGINAL", "PRIMARY", "AXIAL"]),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizer", True),
        ({"SeriesDescription": "Topogram 0.6 T20s"}, "localizer", True),
        ({"SeriesDescription": "Thorax"}, "localizer", None),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "secondaryCapture", True),
        ({"ConversionType": "WSD"}, "secondaryCapture", True),
        ({"ImageType": ["DERIVED", "SECONDARY", "MPR"]}, "reformat", "MPR"),
        ({"ImageType": ["DERIVED", "SECONDARY"], "SeriesDescription": "COR MIP"}, "reformat", "MIP"),
        ({"ImageType": ["ORIGINAL", "PRIMARY"], "SeriesDescription": "MPR"}, "reformat", None),
        ({"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]}, "parametricMap", "ADC"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}, "parametricMap", "PHASE"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"]}, "parametricMap", None),
        ({"BurnedInAnnotation": "YES"}, "burnedInAnnotation", True),
        ({"LossyImageCompression": "01", "LossyImageCompressionRatio": ["10", "2.5"]}, "lossyRatio", 25.0),
        ({"LossyImageCompression": "00", "LossyImageCompressionRatio": "1"}, "lossyCompression", None),
        ({"ContrastBolusAgent": "Ultravist 370"}, "contrastAgent", True),
        ({"ContrastBolusAgent": "NONE"}, "contrastAgent", False),
        ({}, "contrastAgent", None),
        ({"BodyPartExamined": "CHEST"}, "bodyPart", "CHEST"),
        ({"BodyPartExamined": "Chest_to_Pelvis"}, "bodyPart", "CHEST"),
        ({"BodyPartExamined": "Jane Doe"}, "bodyPart", None),
        ({"AnatomicRegionSequence": code("Entire thorax")}, "bodyPart", "CHEST"),
        ({"ViewPosition": "PA", **RADIOGRAPH}, "viewPosition", "PA"),
        ({"ViewPosition": "LATERAL", **RADIOGRAPH}, "viewPosition", "LATERAL"),
        ({"ViewCodeSequence": code("postero-anterior"), **RADIOGRAPH}, "viewPosition", "PA"),
        ({"ViewCodeSequence": code("left lateral"), **RADIOGRAPH}, "viewPosition", "LL"),
        ({"ImageLaterality": "L"}, "laterality", "L"),
        ({"ConvolutionKernel": ["Br38f", "3"]}, "convolutionKernel", "Br38f\\3"),
        ({"ConvolutionKernel": "BONEPLUS"}, "convolutionKernel", "BONEPLUS"),
        ({"Manufacturer": "GE MEDICAL SYSTEMS"}, "manufacturer", "GE"),
        ({"ScanningSequence": ["SE", "IR"]}, "scanningSequence", "SE\\IR"),
        ({"MRAcquisitionType": "3D"}, "acquisitionType", "3D"),
        ({"EchoTime": 2.5, "RepetitionTime": 2300, "InversionTime": 900}, "inversionTime", 900.0),
    ],
)
def test_facts(tmp_path, elements, key, value):
    assert info_of(tmp_path, **elements).get(key) == value


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("t1_mprage_sag_p2_iso", ["T1", "MPRAGE", "SAGITTAL"]),
        ("AX T2 FLAIR", ["T2", "FLAIR", "AXIAL"]),
        ("AX T2* GRE", ["T2STAR", "AXIAL"]),
        ("3D T1 +C", ["T1", "CONTRAST"]),
        ("Thorax  1.0  B70f Lunge", ["CHEST", "LUNG"]),
        ("ep2d_diff_mddw_20_p2_ADC", ["DWI", "DTI", "ADC"]),
        ("Head 5.0 H31s", ["HEAD"]),
        ("Doe Jane 1950-01-02", []),
        ("Headley, Gadamer, Angiolini", []),
    ],
)
def test_descriptions_become_words(text, found):
    assert words.described_as(text) == found


def test_every_fact_is_in_the_table(tmp_path):
    dicomfiles.write_series(
        tmp_path, smooth(5, 0), dicomfiles.stack(6)[[0, 1, 2, 4, 5]], InstanceNumber=[1, 2, 3, 5, 6]
    )
    assert set(read_volume(tmp_path).info) <= set(FACTS)


def test_nobody_is_in_the_facts(tmp_path):
    """A name in every text that a header has, also where only terms belong."""
    name = "DOE JANE"
    texts = """SeriesDescription ProtocolName ImageType ConvolutionKernel ViewPosition BodyPartExamined
        Manufacturer ManufacturerModelName SequenceName ContrastBolusAgent RescaleType PatientPosition
        ScanningSequence SequenceVariant PresentationIntentType PixelIntensityRelationship Laterality
        ImageLaterality ConversionType PatientOrientation LossyImageCompressionRatio ImageComments"""
    path = dicomfiles.write(tmp_path / "a.dcm", smooth(2, 0)[0])
    data = pydicom.dcmread(path)
    for keyword in texts.split():
        data[keyword] = pydicom.DataElement(keyword, "LO", name)
    data.AnatomicRegionSequence = data.ViewCodeSequence = code(name)
    data.save_as(path)
    volume = read_volume(path)
    said = f"{volume.name} {volume.info} {volume.modality}".upper()
    assert "DOE" not in said and "JANE" not in said
    assert volume.name == "CT" and volume.info["contrastAgent"] is True


@pytest.mark.parametrize(
    ("description", "name"),
    [
        ("Thorax 8.0 B40f", "Thorax 8.0 B40f"),
        ("Lung 1.0 B70f Doe 12345678", "Lung 1.0 B70f"),
        ("Doe^Jane", "CT"),
        ("AX T1 POST", "AX T1 POST"),
    ],
)
def test_a_volume_is_called_by_known_words(tmp_path, description, name):
    path = dicomfiles.write(tmp_path / "a.dcm", smooth(2, 0)[0], SeriesDescription=description)
    assert read_volume(path).name == name


# ---- pictures of text


@pytest.mark.parametrize(
    ("elements", "what"),
    [
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "screen save"),
        ({"ImageType": ["ORIGINAL", "SECONDARY", "OTHER", "CSA REPORT"]}, "examination protocol"),
        ({"ImageType": ["DERIVED", "SECONDARY", "DOSE_INFO"]}, "dose report"),
        ({"SeriesDescription": "Dose Report", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "dose report"),
        ({"SeriesDescription": "Patient Protocol", "ConversionType": "WSD"}, "examination protocol"),
    ],
)
def test_pictures_of_text_are_refused_and_left_out(tmp_path, elements, what):
    lone = {"ImagePositionPatient": None, "ImageOrientationPatient": None, "SeriesInstanceUID": "1.9"}
    lone["SeriesNumber"] = 999
    path = dicomfiles.write(tmp_path / "report.dcm", smooth(2, 0)[0], **{**lone, **elements})
    with pytest.raises(FileError, match=f"picture of text: {what}"):
        read_volume(path)
    # Beside the only scan it is no choice.
    dicomfiles.write_series(tmp_path, smooth(4, 0), dicomfiles.stack(4))
    assert [bool(s.document) for s in scan_dicom(tmp_path)] == [False, True]
    assert read_volume(tmp_path).shape == (4, 16, 16)


def test_a_description_alone_makes_no_picture_of_text(tmp_path):
    dicomfiles.write_series(
        tmp_path, smooth(4, 0), dicomfiles.stack(4), SeriesDescription="Low dose report protocol"
    )
    assert read_volume(tmp_path).shape == (4, 16, 16)


# ---- windows


@pytest.mark.parametrize(
    ("levels", "widths", "window"),
    [
        ([40] * 7, [400] * 7, (40, 400)),
        ([9000, *[40] * 6], [10, *[400] * 6], (40, 400)),
        ([100, 102, 98, 101, 99, 100, 100], [200, 204, 196, 202, 198, 200, 200], (100, 200)),
        ([10, 20, 40, 80, 160, 320, 640], [20, 40, 80, 160, 320, 640, 1280], None),
    ],
)
def test_the_window_is_that_of_the_series(tmp_path, levels, widths, window):
    dicomfiles.write_series(
        tmp_path, smooth(7, 0), dicomfiles.stack(7), WindowCenter=levels, WindowWidth=widths
    )
    assert read_volume(tmp_path).display == window


def test_frames_bring_the_facts_of_their_groups(tmp_path):
    path = dicomfiles.write_enhanced(
        tmp_path / "e.dcm", smooth(5, 0), dicomfiles.stack(6)[[0, 1, 2, 4, 5]], (1, 0)
    )
    data = pydicom.dcmread(path)
    shared = data.SharedFunctionalGroupsSequence[0]
    for group, element, value in (
        ("MREchoSequence", "EffectiveEchoTime", 3.25),
        ("MRTimingAndRelatedParametersSequence", "RepetitionTime", 2300.0),
        ("CTImageFrameTypeSequence", "FrameType", ["DERIVED", "PRIMARY", "AXIAL", "NONE"]),
        ("CTReconstructionSequence", "ConvolutionKernel", "B31f"),
    ):
        item = Dataset()
        setattr(item, element, value)
        setattr(shared, group, [item])
    data.save_as(path)
    volume = read_volume(path)
    info = volume.info
    assert (info["echoTime"], info["repetitionTime"], info["convolutionKernel"]) == (3.25, 2300.0, "B31f")
    assert info["derived"] is True and info["missingSlices"] == 1 and info["interpolatedSlices"] == 1
    assert volume.shape == (6, 16, 16) and np.array_equal(volume.array[4], smooth(5, 0)[3])
