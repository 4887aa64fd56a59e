"""Radiographs with lung masks for training, and the ways in which a training picture is changed."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy import ndimage

from MedPrepCommonLib.numeric import similarity
from MedPrepXrayLib.lungs import input

# Pictures are kept a little finer than the network sees them, so that a turned one is still sharp.
_KEPT = 320
_ROWS, _COLUMNS = np.mgrid[0 : input.SIZE, 0 : input.SIZE].astype(np.float32)


# Masks of xr/chest-lungs that were not drawn on the middle: columns to the right. Seen by eye: put in the
# middle, the left lung reaches out of the body.
_ASIDE = {"a4318ac9": -40}
# A pixel of which nobody says what it shows.
UNKNOWN = 3
# Grey levels of masks that have all three.
LEFT_GREY, RIGHT_GREY, UNKNOWN_GREY = 80, 160, 255


@dataclass(frozen=True)
class Picture:
    """One radiograph: grey levels in [0, 1] and labels.

    Labels are 0, 1 (lung on the image's left), 2 (on its right) and ``UNKNOWN``. ``whole`` and ``truth`` are
    the image and labels in full size, for measuring; None for projected ones.
    """

    name: str
    patient: str
    grey: np.ndarray
    labels: np.ndarray
    whole: np.ndarray | None = None
    truth: np.ndarray | None = None


def read_folder(folder: Path, central: bool = False) -> list[Picture]:
    """The pictures that ``index.csv`` of `folder` lists: NAME.png, NAME_lungs.png and the patient.

    With `central`, the masks are those of the image's central square, stretched to the whole image; they are
    brought back to where they were drawn.
    """
    pictures = []
    with open(folder / "index.csv", newline="", encoding="utf-8") as text:
        for row in csv.DictReader(text):
            grey = cv2.imread(str(folder / f"{row['image']}.png"), cv2.IMREAD_GRAYSCALE)
            labels = sides(cv2.imread(str(folder / f"{row['image']}_lungs.png"), cv2.IMREAD_GRAYSCALE))
            labels = from_central_square(labels, _ASIDE.get(row["image"], 0)) if central else labels
            pictures.append(picture(row["image"], row["patient"], grey, labels, keep=central))
    return pictures


def from_central_square(stretched: np.ndarray, aside: int = 0) -> np.ndarray:
    """Labels of the central square that were stretched to the whole image, put back into the square.

    `aside` says by how many columns the square lay right of the middle. Beyond the square there is
    background; but beside a lung that the square cuts off, nobody knows.
    """
    rows, columns = stretched.shape
    side = min(rows, columns)
    square = cv2.resize(stretched, (side, side), interpolation=cv2.INTER_NEAREST)
    labels = np.zeros(stretched.shape, np.uint8)
    top, left = (rows - side) // 2, (columns - side) // 2 + aside
    labels[top : top + side, left : left + side] = square
    edge = 3  # pixels
    for cut, beyond in (
        (square[:, :edge], np.s_[:, :left]),
        (square[:, -edge:], np.s_[:, left + side :]),
        (square[:edge], np.s_[:top]),
        (square[-edge:], np.s_[top + side :]),
    ):
        if cut.any():
            labels[beyond] = UNKNOWN
    return labels


def picture(name: str, patient: str, grey: np.ndarray, labels: np.ndarray, keep: bool = False) -> Picture:
    """A picture from an image of any size and depth with its labels."""
    scale = _KEPT / max(grey.shape)
    size = tuple(max(1, round(count * scale)) for count in grey.shape[::-1])
    low, high = float(grey.min()), float(grey.max())
    small = cv2.resize(grey.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    small = (small - low) / max(high - low, 1e-6)
    small_labels = cv2.resize(labels.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    return Picture(
        name,
        patient,
        small,
        small_labels,
        grey if keep else None,
        labels.astype(np.uint8) if keep else None,
    )


def sides(mask: np.ndarray) -> np.ndarray:
    """1 and 2 for the lungs on the image's left and right.

    The mask has one value for each, the lower for the left, or one for both, which are then its two largest
    parts. An empty mask stays so. Masks of prepare_v7_masks.py may say where nobody knows, too.
    """
    values = np.unique(mask[mask > 0])
    labels = np.zeros(mask.shape, np.uint8)
    if LEFT_GREY in values and RIGHT_GREY in values:
        for label, value in ((1, LEFT_GREY), (2, RIGHT_GREY), (UNKNOWN, UNKNOWN_GREY)):
            labels[mask == value] = label
        return labels
    if len(values) == 2:
        for label, value in enumerate(values, start=1):
            labels[mask == value] = label
        return labels
    parts, _count = ndimage.label(mask)
    two = 1 + np.argsort(np.bincount(parts.ravel())[1:])[::-1][:2]
    middles = [ndimage.center_of_mass(parts == n)[1] for n in two]
    for label, n in enumerate(np.argsort(middles), start=1):
        labels[parts == two[n]] = label
    return labels


def changed(
    source: Picture, rng: np.random.Generator, mirrored: float = 0.25
) -> tuple[np.ndarray, np.ndarray]:
    """A random view of a picture: (2, SIZE, SIZE) network input and (SIZE, SIZE) labels.

    `mirrored` is the share of mirror images.
    """
    size = input.SIZE
    grey, labels = source.grey, source.labels
    if rng.random() < mirrored:
        # The network tells the sides of the image, not of the patient: mirrored, the sides change places.
        grey, labels = grey[:, ::-1], np.array([0, 2, 1, UNKNOWN], np.uint8)[labels[:, ::-1]]
    grey = opacified(grey, labels, rng) if rng.random() < 0.4 else grey
    grey = with_gas(grey, labels, rng) if rng.random() < 0.25 else grey
    shape = np.array(grey.shape, float)
    inside = _visible(rng)
    scale = size / shape.max() * np.exp(rng.uniform(np.log(0.65), np.log(1.35)))
    wide = scale * np.exp(rng.uniform(-0.1, 0.1))
    angle = np.radians(np.clip(rng.normal(0.0, 9.0), -24.0, 24.0))
    shear = rng.normal(0.0, 0.04)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[wide, shear * scale], [0.0, scale]])
    middle = np.array([size / 2, size / 2]) + rng.uniform(-0.12, 0.12, 2) * size
    offset = middle - matrix @ (shape[::-1] / 2)
    x, y = _COLUMNS, _ROWS
    if rng.random() < 0.5:
        bend = rng.normal(0.0, rng.uniform(0.0, 5.0), (2, 6, 6)).astype(np.float32)
        x, y = (
            grid + cv2.resize(plane, (size, size), interpolation=cv2.INTER_CUBIC)
            for grid, plane in zip((x, y), bend, strict=True)
        )
    back = np.linalg.inv(matrix)
    from_x = (back[0, 0] * (x - offset[0]) + back[0, 1] * (y - offset[1])).astype(np.float32)
    from_y = (back[1, 0] * (x - offset[0]) + back[1, 1] * (y - offset[1])).astype(np.float32)
    border = rng.choice([0.0, 0.0, 1.0, float(grey[::4, ::4].mean())])
    repeat = rng.random() < 0.2
    grey = cv2.remap(
        np.ascontiguousarray(grey),
        from_x,
        from_y,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE if repeat else cv2.BORDER_CONSTANT,
        borderValue=border,
    )
    labels = cv2.remap(np.ascontiguousarray(labels), from_x, from_y, cv2.INTER_NEAREST, borderValue=0)
    grey = exposed(grey, rng)
    grey, shown = collimated(grey, rng)
    labels = np.where(inside & shown, labels, 0)
    return input.channels(np.where(inside, grey, 0).astype(np.float32), inside), labels.astype(np.int64)


def _visible(rng: np.random.Generator) -> np.ndarray:
    """Which part of the square an image of random proportions covers."""
    size = input.SIZE
    inside = np.ones((size, size), bool)
    gap = round((1 - rng.uniform(0.72, 1.0)) * size / 2)
    if gap and rng.random() < 0.75:
        inside[:gap] = inside[size - gap :] = False
    elif gap:
        inside[:, :gap] = inside[:, size - gap :] = False
    return inside


def opacified(grey: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Clouds in the lungs, as of pneumonia or effusion: the hard cases, of which there are too few."""
    lungs = (labels == 1) | (labels == 2)
    if not lungs.any():
        return grey
    places = np.argwhere(lungs)
    cloud = np.zeros(grey.shape, np.float32)
    y, x = (np.arange(count, dtype=np.float32) for count in grey.shape)
    y = y[:, None]
    for _ in range(rng.integers(1, 5)):
        cy, cx = places[rng.integers(len(places))]
        ry, rx = rng.uniform(0.03, 0.16, 2) * max(grey.shape)
        cloud += (
            np.float32(rng.uniform(0.3, 1.0))
            * np.exp(-0.5 * ((y - cy) / ry) ** 2)
            * np.exp(-0.5 * ((x - cx) / rx) ** 2)
        )
    if rng.random() < 0.5:
        # Effusion or consolidation of the base, on either side or on both: everything below a line.
        for side in ((labels == 1,), (labels == 2,), (labels == 1, labels == 2))[rng.integers(3)]:
            if side.any():
                rows = np.flatnonzero(side.any(axis=1))
                line = rows[0] + rng.uniform(0.4, 0.95) * (rows[-1] - rows[0])
                cloud += side * np.clip((y - line) / (rng.uniform(0.02, 0.15) * max(grey.shape)), 0, 1)
    soft = cv2.blur(lungs.astype(np.float32), (9, 9))
    tissue = np.percentile(grey[~lungs][::7], rng.uniform(50, 90)) if (~lungs).any() else 1.0
    share = np.clip(cloud, 0, 0.9) * soft
    return (grey * (1 - share) + tissue * share).astype(np.float32)


def with_gas(grey: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gas in the stomach or the colon, close below the diaphragm: dark, but no lung."""
    side = labels == rng.integers(1, 3)
    if not side.any():
        return grey
    places = np.argwhere(side)
    height = np.ptp(places[:, 0]) + 1
    column = rng.choice(places[:, 1])
    lowest = places[places[:, 1] == column, 0].max()
    ry, rx = rng.uniform(0.06, 0.16, 2) * height
    middle = lowest + rng.uniform(0.02, 0.15) * height + ry
    y, x = (np.arange(count, dtype=np.float32) for count in grey.shape)
    bubble = ((y[:, None] - middle) / ry) ** 2 + ((x - column) / rx) ** 2 < 1
    bubble = cv2.blur((bubble & (labels == 0)).astype(np.float32), (5, 5)) * np.float32(rng.uniform(0.4, 0.9))
    return (grey * (1 - bubble) + np.percentile(grey[side], 20) * bubble).astype(np.float32)


def exposed(grey: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another exposure, processing, detector: contrast, polarity, blur, noise, tubes, letters."""
    low, high = np.percentile(grey[::3, ::3], (1, 99))
    grey = np.clip((grey - low) / max(high - low, 1e-3), -0.05, 1.05)
    if rng.random() < 0.7:
        grey = np.clip(grey, 0, 1) ** np.float32(np.exp(rng.uniform(-0.7, 0.7)))
    if rng.random() < 0.3:
        clahe = cv2.createCLAHE(rng.uniform(1, 5), (rng.integers(2, 9),) * 2)
        grey = clahe.apply((np.clip(grey, 0, 1) * 255).astype(np.uint8)).astype(np.float32) / 255
    if rng.random() < 0.3:
        field = cv2.resize(rng.normal(0, 0.15, (3, 3)).astype(np.float32), grey.shape[::-1])
        grey = grey + field
    if rng.random() < 0.2:
        grey = np.clip(grey, rng.uniform(0.0, 0.25), rng.uniform(0.75, 1.0))
    if rng.random() < 0.3:
        grey = cv2.GaussianBlur(grey, (0, 0), rng.uniform(0.5, 2.0))
    if rng.random() < 0.4:
        grey = grey + np.float32(rng.uniform(0.005, 0.06)) * rng.standard_normal(grey.shape, np.float32)
    grey = np.ascontiguousarray(grey, np.float32)
    for _ in range(rng.integers(1, 6) if rng.random() < 0.4 else 0):
        points = (rng.uniform(0, 1, (4, 2)) * np.array(grey.shape[::-1])).astype(np.float32)
        t = np.linspace(0, 1, 24)[:, None]
        curve = sum(
            c * t**n * (1 - t) ** (3 - n) * points[n] for n, c in enumerate((1, 3, 3, 1))
        )  # a cable as a cubic
        cv2.polylines(
            grey, [curve.astype(np.int32)], False, float(rng.uniform(0.4, 1.1)), int(rng.integers(1, 3))
        )
    if rng.random() < 0.3:
        x, y = (int(v) for v in rng.integers(0, 240, 2))
        cv2.rectangle(grey, (x, y), (x + int(rng.integers(4, 20)), y + int(rng.integers(4, 20))), 1.0, -1)
    for _ in range(rng.integers(1, 5) if rng.random() < 0.3 else 0):
        # Burned-in letters, and the discs of electrodes.
        x, y = (int(v) for v in rng.integers(0, 240, 2))
        shade = float(rng.choice([0.0, 0.9, 1.0]))
        if rng.random() < 0.5:
            letters = "".join(rng.choice(list("LRAPSUPINE0123456789:"), rng.integers(1, 9)))
            drawn = np.zeros(grey.shape, np.uint8)
            cv2.putText(drawn, letters, (x, y), cv2.FONT_HERSHEY_SIMPLEX, rng.uniform(0.3, 1.4), 255, 1)
            grey[drawn > 0] = shade
        else:
            cv2.circle(grey, (x, y), int(rng.integers(2, 6)), shade, -1)
    return 1 - grey if rng.random() < 0.15 else grey


def collimated(grey: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Sometimes with shutters at the edges, and where none lies over the picture."""
    shown = np.ones(grey.shape, bool)
    if rng.random() < 0.3:
        top, bottom, left, right = (int(v) for v in rng.integers(0, 28, 4))
        shown[:] = False
        shown[top : grey.shape[0] - bottom, left : grey.shape[1] - right] = True
        grey = np.where(shown, grey, np.float32(rng.choice([0.0, 0.02, 1.0])))
    return grey, shown


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Dice coefficient of two boolean arrays to 5 digits, as the tables hold it; 1 when both are empty."""
    return round(similarity.dice(a, b), 5)


def split(pictures: list[Picture], folds: int, seed: int) -> dict[str, int]:
    """Fold of each patient: patients in random order, each into the fold with the fewest pictures."""
    patients = sorted({picture.patient for picture in pictures})
    np.random.default_rng(seed).shuffle(patients)
    counts = {p: sum(q.patient == p for q in pictures) for p in patients}
    sizes, where = [0] * folds, {}
    for patient in sorted(patients, key=lambda p: -counts[p]):
        where[patient] = int(np.argmin(sizes))
        sizes[where[patient]] += counts[patient]
    return where
