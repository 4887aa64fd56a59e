"""Label maps and segmentation files: small whole numbers that know their names, colours and codes."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from test_reading import image, sample

from MedPrepCommonLib.core.errors import FileError
from MedPrepCommonLib.core.volume import LabelVolume, Volume
from MedPrepCommonLib.files.reading import as_labels, read_volume


def test_labels_are_small_whole_numbers_with_segments(tmp_path):
    array = sample(dtype=np.float64) % 4
    sitk.WriteImage(image(array), str(tmp_path / "a.nii.gz"))
    labels = read_volume(tmp_path / "a.nii.gz", labels=True)
    assert isinstance(labels, LabelVolume) and labels.array.dtype == np.uint8
    assert np.array_equal(labels.array, array)
    assert [s.value for s in labels.segments] == [1, 2, 3]


@pytest.mark.parametrize(
    "array",
    [
        np.full((2, 2, 2), 0.5),
        np.full((2, 2, 2), -1),
        np.arange(2000).reshape(2, 10, 100),
        np.zeros((2, 2, 2, 3)),
        np.full((2, 2, 2), np.nan),
    ],
    ids=["fractions", "negative", "too many", "vector", "nan"],
)
def test_images_are_no_labels(array):
    with pytest.raises(FileError):
        as_labels(Volume(array, np.eye(4), "a"))


def write_segmentation(path, array, segments, **more):
    picture = image(array, **more)
    for n, segment in enumerate(segments):
        for key, value in segment.items():
            picture.SetMetaData(f"Segment{n}_{key}", value)
    sitk.WriteImage(picture, str(path), True)


RIGHT = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^123037004^Anatomical Structure"
    "~SCT^39607008^Lung~SCT^24028007^Right~Anatomic codes - DICOM master list~^^~^^"
)


def test_segmentation_files_keep_names_colours_and_codes(tmp_path):
    array = np.zeros((3, 4, 5), np.uint8)
    array[1], array[2] = 2, 5
    path = tmp_path / "lungs.seg.nrrd"
    write_segmentation(
        path,
        array,
        [
            {
                "ID": "a",
                "Name": "right lung",
                "Color": "0.1 0.2 0.3",
                "LabelValue": "2",
                "Layer": "0",
                "Tags": f"Segmentation.Status:inprogress|TerminologyEntry:{RIGHT}|",
            },
            {"ID": "b", "Name": "left lung", "Color": "1 0 0", "LabelValue": "5", "Layer": "0"},
        ],
    )
    labels = read_volume(path)
    assert labels.name == "lungs"
    assert np.array_equal(labels.array, array)
    first, second = labels.segments
    assert (first.value, first.name, first.color) == (2, "right lung", (0.1, 0.2, 0.3))
    assert first.category[2] == "Anatomical Structure" and first.code == ("SCT", "39607008", "Lung")
    assert first.modifier == ("SCT", "24028007", "Right")
    assert (second.value, second.name, second.modifier) == (5, "left lung", None)


def test_segmentation_layers_become_one_label_map(tmp_path):
    array = np.zeros((3, 4, 5, 2), np.uint8)
    array[0, ..., 0], array[1, ..., 1] = 1, 1
    write_segmentation(
        tmp_path / "a.seg.nrrd",
        array,
        [
            {"ID": "a", "Name": "A", "LabelValue": "1", "Layer": "0"},
            {"ID": "b", "Name": "B", "LabelValue": "1", "Layer": "1"},
        ],
        isVector=True,
    )
    labels = read_volume(tmp_path / "a.seg.nrrd")
    assert [(s.value, s.name) for s in labels.segments] == [(1, "A"), (2, "B")]
    assert (labels.array[0] == 1).all() and (labels.array[1] == 2).all() and (labels.array[2] == 0).all()


def test_overlapping_segments_are_refused(tmp_path):
    array = np.ones((3, 4, 5, 2), np.uint8)
    write_segmentation(
        tmp_path / "a.seg.nrrd",
        array,
        [
            {"ID": "a", "Name": "A", "LabelValue": "1", "Layer": "0"},
            {"ID": "b", "Name": "B", "LabelValue": "1", "Layer": "1"},
        ],
        isVector=True,
    )
    with pytest.raises(FileError, match="'A' and 'B' .* overlap"):
        read_volume(tmp_path / "a.seg.nrrd")
