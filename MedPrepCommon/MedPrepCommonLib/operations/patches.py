"""Patches of an image and its labels for training, with the place of each in the patient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np

from ..core.errors import InputError
from ..core.i18n import _
from ..core.job import Job
from ..core.operation import Help, Preset, Span, Unit, When, Words, operation
from ..core.patch_set import Patch, PatchSet
from ..core.result import Check, Points, Result
from ..core.volume import LabelVolume, Volume
from ..geometry import cropping, patch_places
from ..geometry.label_grid import onto_grid
from ..geometry.patch_cutting import Cutter, first_voxel, middle_of, share_of
from ..geometry.patch_places import Place
from .crop_foreground import otsu
from .crop_pad import PAD_WORDS, require_whole

# Random places that are tried for each one that is asked for.
_TRIES = 50
# More markups than this are of no use in a view, and make it slow.
_MOST_POINTS = 500


@operation(
    "patches",
    title=_("Patches"),
    console="patches",
    outputs=("patches", "patchCentres?"),
    records=("patches", "patchCentres"),
    cite=(
        "Ronneberger et al. 2015, MICCAI (U-Net, overlapping tiles), doi:10.1007/978-3-319-24574-4_28",
        "Isensee et al. 2021, Nature Methods 18:203-211 (nnU-Net), doi:10.1038/s41592-020-01008-z",
    ),
    vectors=True,
    own_grid=("candidates",),
)
class Patches:
    """Cut patches of equal size out of an image and its label maps, and list where each lies.

    Along an axis of a single voxel a patch has one voxel too. The same seed gives the same patches, however
    the image is stored.
    """

    method: Annotated[
        Literal["grid", "random", "foreground", "candidates"],
        Words(
            grid=_("Grid over the whole image"),
            random=_("Random"),
            foreground=_("Centred on random foreground"),
            candidates=_("Centred on each candidate"),
        ),
        Help(
            _(
                "foreground: voxels of the mask, or without one what is above Otsu's threshold. candidates: "
                "each connected piece of the segmentation of candidates"
            )
        ),
    ] = "grid"
    size: Annotated[
        tuple[float, float, float],
        Span(1, 1024, 1, 0),
        Help(_("Voxels along i, j, k; one number for all three; 1 along k makes 2-D patches")),
    ] = (64.0, 64.0, 64.0)
    overlap: Annotated[
        float,
        Span(0, 95, 5, 0),
        Unit("%"),
        When("method", "grid"),
        Help(_("grid: how much neighbours share at least")),
    ] = 0.0
    number: Annotated[
        int,
        Span(1, 100000),
        When("method", "random", "foreground"),
        Help(_("random, foreground: how many places; each once for every scale")),
    ] = 100
    scales: Annotated[
        int,
        Span(1, 4),
        Help(
            _(
                "1: the image's own voxels. Each further one adds a patch with the same centre and as many "
                "voxels, of twice the field of view"
            )
        ),
    ] = 1
    minimumForeground: Annotated[
        float,
        Span(0, 100, 5, 1),
        Unit("%"),
        When("method", "grid", "random"),
        Help(_("grid, random: leave out patches with less of the mask")),
    ] = 0.0
    border: Annotated[
        Literal["auto", "minimum", "constant", "edge", "reflect", "shift", "drop"],
        Words({**PAD_WORDS, "shift": _("Move the patch inside"), "drop": _("Leave the patch out")}),
        Help(
            _(
                "What to do where a patch would reach beyond the image. auto: go on with the smallest value, "
                "for CT not below -1024 HU, and label 0"
            )
        ),
    ] = "auto"
    padValue: Annotated[
        float,
        Span(-1e6, 1e6, 1, 3),
        When("border", "constant"),
        Help(_("border constant: the value of voxels beyond the border")),
    ] = 0.0
    seed: Annotated[
        int,
        Span(0, 2**31 - 1),
        When("method", "random", "foreground"),
        Help(_("random, foreground: another number gives other places")),
    ] = 0
    format: Annotated[
        Literal["npz", "nifti", "zarr"],
        Words(npz=_("NPZ (NumPy)"), nifti=_("NIfTI"), zarr=_("Zarr")),
        Help(
            _("How a recipe or a batch writes them; each kind with a manifest as CSV. zarr needs the package")
        ),
    ] = "npz"

    presets = {
        "inference": Preset(
            _("Grid of 64 voxels, half overlapping"),
            "Isensee et al. 2021 (nnU-Net): tiles overlap by half",
            method="grid",
            size=64,
            overlap=50,
        ),
        "nodules": Preset(
            _("A cube of 32 voxels around each candidate"), "", method="candidates", size=32, border="auto"
        ),
        "multiScale": Preset(
            _("Candidates at three fields of view"), "", method="candidates", size=32, scales=3
        ),
        "training": Preset(
            _("100 cubes of 64 voxels on foreground"),
            "",
            method="foreground",
            size=64,
            number=100,
            border="shift",
        ),
        "slices": Preset(
            _("2-D, 128 x 128"), "", method="random", size=(128, 128, 1), number=100, border="auto"
        ),
    }

    def __post_init__(self) -> None:
        require_whole("patches.size", self.size)

    def __call__(
        self,
        image: Volume,
        labels: tuple[LabelVolume, ...],
        mask: LabelVolume | None,
        candidates: LabelVolume | None,
        job: Job,
    ) -> Result:
        cropping.require_same_grid(image, labels)
        if mask is not None:
            mask.require_grid_of(image, _("mask"))
        size = tuple(
            1 if whole == 1 else int(n) for whole, n in zip(image.shape, self.size[::-1], strict=True)
        )
        job.report(0.0, _("Finding places"))
        foreground = self._foreground(image, mask, candidates)
        places, notes = self._places(image, size, mask, candidates, foreground, job.part(0.0, 0.2))
        if self.minimumForeground and foreground is None and self.method in ("grid", "random"):
            notes.append(_("No patch is left out for too little foreground without a mask."))
        found = len(places)
        places = self._within(places, image)
        per_voxel = image.components * image.array.itemsize + sum(label.array.itemsize for label in labels)
        cropping.require_room((len(places) * self.scales, *size), per_voxel)
        scales = [2**n for n in range(self.scales)]
        cutter = Cutter(image, places, scales, self.border, self.padValue)
        array = cutter.cut(image.array, size, False, job.part(0.2, 0.8))
        names = cropping.distinct_names(labels)
        centres = _centres(image, places)
        carried = {
            name: cutter.cut(label.array, size, True, job.part(0.8, 0.95))
            for name, label in zip(names, labels, strict=True)
        }
        patches = PatchSet(
            _("Patches"),
            array,
            tuple(self._described(image, places, centres, scales, foreground, mask, candidates)),
            image.ijkToRAS,
            image.shape,
            carried,
            {name: label.segments for name, label in zip(names, labels, strict=True)},
            self.format,
            image.modality,
        )
        return Result(
            patches={"patches": patches},
            points=_points(centres),
            metrics={"places": len(places), "patches": len(patches), "dropped": found - len(places)},
            checks=[self._enough(len(places), found - len(places))],
            notes=notes,
        )

    def _foreground(
        self, image: Volume, mask: LabelVolume | None, candidates: LabelVolume | None
    ) -> np.ndarray | None:
        """Label values (k, j, i) of which a patch's share is told."""
        if mask is not None:
            return mask.array
        if candidates is not None:
            if candidates.same_grid(image):
                return candidates.array
            return onto_grid(candidates.array, candidates.ijkToRAS, image.ijkToRAS, image.shape)
        return None

    def _places(
        self,
        image: Volume,
        size: tuple[int, int, int],
        mask: LabelVolume | None,
        candidates: LabelVolume | None,
        foreground: np.ndarray | None,
        job: Job,
    ) -> tuple[list[Place], list[str]]:
        rng = np.random.default_rng(self.seed)
        if self.method == "candidates":
            if candidates is None:
                raise InputError(
                    _("There are no candidates to centre patches on."),
                    _("Expected a segmentation of candidates."),
                    _("Choose one, such as the nodules that were found, or another method."),
                )
            places, outside = patch_places.around_candidates(image, candidates, size)
            note = _("{n} candidates lie outside the image.").format(n=outside)
            return places, [note] if outside else []
        if self.method == "foreground":
            inside = mask.inside(image) if mask is not None else _above_otsu(image)
            values = mask.array if mask is not None else inside.view(np.uint8)
            return patch_places.in_foreground(image, values, size, self.number, rng), []
        if self.method == "grid":
            places = patch_places.grid(image, size, self.overlap / 100)
            return [p for p in places if self._enough_in(p, foreground, job)], []
        places = []
        for _try in range(_TRIES if self.minimumForeground and foreground is not None else 1):
            drawn = patch_places.at_random(image, size, self.number, rng)
            places += [p for p in drawn if self._enough_in(p, foreground, job)]
            if len(places) >= self.number:
                break
        return places[: self.number], []

    def _enough_in(self, place: Place, foreground: np.ndarray | None, job: Job) -> bool:
        job.check()
        if not self.minimumForeground or foreground is None:
            return True
        return share_of(foreground, place.box) * 100 >= self.minimumForeground

    def _within(self, places: list[Place], image: Volume) -> list[Place]:
        if self.border == "drop":
            return [place for place in places if place.box.inside(image.shape)]
        if self.border == "shift":
            up = cropping.rising(image)
            return [Place(cropping.moved_inside(p.box, image.shape, up), p.label) for p in places]
        return places

    def _described(
        self,
        image: Volume,
        places: Sequence[Place],
        centres: Sequence[tuple[float, float, float]],
        scales: Sequence[int],
        foreground: np.ndarray | None,
        mask: LabelVolume | None,
        candidates: LabelVolume | None,
    ) -> list[Patch]:
        shown = candidates if self.method == "candidates" else mask
        names = {s.value: s.name for s in shown.segments} if shown is not None else {}
        described = []
        for number, place in enumerate(places):
            share = 0.0 if foreground is None else share_of(foreground, place.box)
            label = place.label
            if not label and mask is not None:
                label = middle_of(mask.array, place.box, cropping.rising(image))
            for scale in scales:
                first = first_voxel(place.box, scale)
                described.append(
                    Patch(
                        number,
                        scale,
                        tuple(first[::-1]),
                        centres[number],
                        share,
                        label,
                        names.get(label, ""),
                    )
                )
        return described

    def _enough(self, places: int, dropped: int) -> Check:
        asked = self.number if self.method in ("random", "foreground") else 1
        missing = places < asked
        value = _("{n} places").format(n=places)
        if dropped:
            value += _(", {n} left out at the border").format(n=dropped)
        return Check(
            _("Places of patches"),
            "warn" if missing else "pass",
            value,
            f">= {asked}",
            _("Choose a smaller patch, less foreground, another border, or look at the mask.")
            if missing
            else "",
        )


def _above_otsu(image: Volume) -> np.ndarray:
    if image.components > 1:
        raise InputError(
            _("There is no mask, and the image has {n} values per voxel.").format(n=image.components),
            _("Expected a mask that says what is foreground."),
            _("Choose a mask, or another method."),
        )
    return image.array > otsu(image)


def _centres(image: Volume, places: Sequence[Place]) -> list[tuple[float, float, float]]:
    """RAS of the middle of each box."""
    index = np.array([place.box.centre[::-1] for place in places]).reshape(-1, 3)
    ras = index @ image.ijkToRAS[:3, :3].T + image.ijkToRAS[:3, 3]
    return [tuple(row) for row in ras.tolist()]


def _points(centres: Sequence[tuple[float, float, float]]) -> dict[str, Points]:
    if not 0 < len(centres) <= _MOST_POINTS:
        return {}
    names = tuple(map(str, range(len(centres))))
    # Their numbers would cover the image, and what the patches were cut around.
    return {"patchCentres": Points(_("Centres of patches"), tuple(centres), names, shown=False)}
