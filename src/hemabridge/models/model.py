"""The interface of an opened model. Its header is read when it is opened, and its weights on first use."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, Self, TypeAlias, overload

import numpy as np
from pydantic import BaseModel

from hemabridge.classifiers.protocol import Classifier
from hemabridge.domain.site_profile import SiteProfile, SiteProfiles
from hemabridge.errors import ModelError
from hemabridge.fields.cell_crop import CELL_CROP_UM
from hemabridge.guard.guarded import GuardedStandardizer
from hemabridge.imaging.any_image import AnyImage, check_each, restained_like
from hemabridge.imaging.found_scale import FoundScale
from hemabridge.imaging.scale import CropPx, CropSpec, side_at
from hemabridge.imaging.standardizer import Standardizer, UInt8Image, UInt8Images
from hemabridge.models.classified import Classification
from hemabridge.models.file import BundledFile, ModelFile
from hemabridge.models.guard_file import Guard, find_guard
from hemabridge.normalizers.glass import Glass
from hemabridge.normalizers.normalizer import Normalizer
from hemabridge.translators.header import Direction

Kind: TypeAlias = Literal["normalizer", "translator", "classifier", "bundle"]

Site: TypeAlias = Literal["source", "target"]


@dataclass(frozen=True, eq=False)
class Model(ABC):
    """A model that re-stains or classifies, from one file that is read once. `open_model` returns it.

    A method that this kind of model does not support raises ModelError. A model that re-stains can be used as a
    transform of torchvision: `v2.Compose([model, v2.ToImage(), ...])`.

    Attributes:
        file: the content of the file.
        header: the header of the file.
        crop_px: side, in pixels, of the square around a cell in new images, if it was given; None: the model's own.
        crop_um: the same in micrometers, for images that state their scale, as crops of `hemabridge find` do; None:
            `crop_px` was stated for them too.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> import hemabridge as hb
        >>> from hemabridge.data.simulate import HOSPITALS, simulate_cells
        >>> theirs, _ = simulate_cells(["neutrophil"], 4, HOSPITALS["yellow-field"], 1, 64)
        >>> ours, _ = simulate_cells(["neutrophil"], 4, HOSPITALS["clinic-like"], 2, 64)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "macenko.json"
        ...     _ = file.write_text(hb.fit_normalizer("macenko", theirs, ours).to_json())
        ...     model = hb.open_model(file)
        >>> model.kind, model(Image.fromarray(theirs[0])).size
        ('normalizer', (64, 64))
    """

    file: ModelFile
    header: BaseModel
    crop_px: int | None
    crop_um: float | None = field(default=CELL_CROP_UM, kw_only=True)

    @property
    @abstractmethod
    def kind(self) -> Kind:
        """The kind of model."""

    @property
    def path(self) -> Path:
        """Path of the file."""
        return self.file.path

    @property
    def sha256(self) -> str:
        """SHA-256 of the file, 64 lower-case hexadecimal digits."""
        return self.file.sha256

    @property
    def identity(self) -> str:
        """Identifies the model's results in a log: the hash, with crop and appearance if they were given."""
        return self.sha256 + (f" at {self.crop_px} px" if self.crop_px else "")

    @property
    def restaining(self) -> "Model":
        """The model that re-stains: of a bundle the one within it, else the model itself.

        Raises:
            ModelError: the bundle has none.
        """
        return self

    @property
    def classifying(self) -> "Model":
        """The model that classifies: of a bundle the one within it, else the model itself.

        Raises:
            ModelError: the bundle has none.
        """
        return self

    @property
    def profiles(self) -> SiteProfiles | None:
        """The profiles of the two sites of the fit; None if the file has none."""
        return None

    @property
    def at_home(self) -> tuple[SiteProfile, ...]:
        """The profiles of the sites for whose images the model is meant; none if the file has none."""
        return () if self.profiles is None else (self.profiles.source,)

    @property
    def source_glass(self) -> Glass | None:
        """The color of empty glass of the site that it re-stains; None if unknown."""
        return None if self.profiles is None else Glass.of_profile(self.profiles.source)

    @cached_property
    def guard(self) -> Guard | None:
        """The guard beside the file, or within the bundle; None if there is none.

        Raises:
            ModelError: the guard is damaged, or belongs to another model.
        """
        return self.file.guard if isinstance(self.file, BundledFile) else find_guard(self.path, self.sha256)

    def with_crop(self, crop_px: int) -> Self:
        """Return this model with a stated square around a cell in all images; a network that was loaded is kept."""
        other = replace(self, crop_px=crop_px, crop_um=None)
        if "classifier" in vars(self):
            vars(other)["classifier"] = self.classifier
        return other

    def crop(self, site: Site = "source", scale: FoundScale | None = None) -> CropSpec | None:
        """Return the crop of a cell in a site's images, at the size of the training; None without a scale.

        Args:
            site: the site.
            scale: what the file of an image states; None for images that state nothing.
        """
        return None

    def _side(self, own: CropPx | None, scale: FoundScale | None) -> CropPx | None:
        """Return the side of the square: as the image says, as it was given, or `own`."""
        return side_at(scale, self.crop_um, self.crop_px or own)

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The directions in which it re-stains; none for a classifier.

        Raises:
            ModelError: the file is damaged.
        """
        return ()

    def standardizer(self) -> Standardizer:
        """Return the standardizer for images of any size, without the guard.

        Raises:
            ModelError: the model does not re-stain, or the file is damaged.
        """
        raise self._cannot("re-stains")

    def cell_standardizer(self, direction: Direction = "to_target") -> Standardizer:
        """Return the standardizer for cells at the size of the training; see `crop`.

        Raises:
            ModelError: the model does not re-stain in this direction, or the file is damaged.
        """
        raise self._cannot("re-stains")

    def guarded(self, fallback: Normalizer | Literal["none"] | None = None) -> GuardedStandardizer | None:
        """Return `standardizer` with the guard; None if there is no guard.

        Args:
            fallback: a normalizer for refused cells; None: that of the guard; `none`: no fallback.

        Raises:
            ModelError: as `standardizer` and `guard`.
        """
        raise self._cannot("re-stains")

    def guard_identity(self, fallback: Normalizer | Literal["none"] | None = None) -> str:
        """Return the identity of guard and fallback, which a log adds to `identity`; empty without a guard."""
        return "" if self.guard is None else self.guard.identity(fallback)

    @overload
    def standardize(self, images: UInt8Images) -> UInt8Images: ...

    @overload
    def standardize(self, images: Iterable[UInt8Image]) -> UInt8Images | list[UInt8Image]: ...

    def standardize(self, images: UInt8Images | Iterable[UInt8Image]) -> UInt8Images | list[UInt8Image]:
        """Re-stain images as `hemabridge standardize` does, with the guard if there is one.

        Each image is re-stained separately, so that the result does not depend on other images.

        Args:
            images: RGB, 0..255, uint8[N, H, W, 3]; or an iterable of uint8[H, W, 3] of any sizes.

        Returns:
            An array uint8[N, H, W, 3] for an array, otherwise a list of uint8[H, W, 3].

        Raises:
            ImageError: an image has another type or shape, or cannot be re-stained.
            ModelError: as `standardizer` and `guard`.

        Example:
            >>> import tempfile
            >>> import hemabridge as hb
            >>> from hemabridge.data.simulate import HOSPITALS, simulate_cells
            >>> cells, _ = simulate_cells(["neutrophil"], 4, HOSPITALS["yellow-field"], 1, 64)
            >>> with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            ...     print(hb.fit_normalizer("white-point", cells, cells).to_json(), file=file, flush=True)
            ...     model = hb.open_model(file.name)
            >>> model.standardize(cells).shape, len(model.standardize([cells[0], cells[1, :40]]))
            ((4, 64, 64, 3), 2)
        """
        used = self._used
        found = check_each(images, "images to re-stain")
        restained = [used.standardize(image[None])[0] for image in found]
        if not isinstance(images, np.ndarray):
            return restained
        return np.stack(restained) if restained else images.copy()

    def __call__(self, image: AnyImage) -> AnyImage:
        """Re-stain one image as a transform of torchvision; the result has the type of the input.

        Args:
            image: RGB, 0..255: a PIL image, an array uint8[H, W, 3] or a tensor uint8[3, H, W]; or a stack of arrays
                uint8[N, H, W, 3] or of tensors uint8[N, 3, H, W].

        Raises:
            ImageError: the image has another type, mode or shape.
            ModelError: as `standardizer` and `guard`.
        """
        return restained_like(self.standardize, image)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities.

        Raises:
            ModelError: the model does not classify.
        """
        raise self._cannot("classifies")

    @property
    def classifier(self) -> Classifier:
        """The classifier itself, for cells that are cut already; see `crop`.

        Raises:
            ModelError: the model does not classify, or the file is damaged.
        """
        raise self._cannot("classifies")

    def classify(
        self, images: UInt8Images | Iterable[UInt8Image], scales: Sequence[FoundScale | None] | None = None
    ) -> Classification:
        """Classify images of single cells, as `hemabridge classify` does.

        Args:
            images: RGB, 0..255, one cell in the center, uint8[H, W, 3] each, of any sizes.
            scales: what the file of each image states of its scale (`hemabridge.imaging.found_scale`).

        Raises:
            ImageError: an image has another type or shape.
            ModelError: as `classifier`.

        Example:
            >>> import tempfile
            >>> import hemabridge as hb
            >>> from hemabridge.data.simulate import HOSPITALS, simulate_cells
            >>> from onnx import helper, save
            >>> cells, _ = simulate_cells(["neutrophil"], 3, HOSPITALS["clinic-like"], 1, 64)
            >>> image = helper.make_tensor_value_info("image", 1, ["n", 3, 96, 96])
            >>> scores = helper.make_tensor_value_info("scores", 1, ["n", 3])
            >>> node = helper.make_node("ReduceMean", ["image"], ["scores"], axes=[2, 3], keepdims=0)
            >>> graph = helper.make_graph([node], "mean", [image], [scores])
            >>> opset = helper.make_opsetid("", 17)
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     save(helper.make_model(graph, opset_imports=[opset], ir_version=8), f"{folder}/mean.onnx")
            ...     model = hb.open_model(f"{folder}/mean.onnx", classes=["red", "green", "blue"])
            ...     found = model.classify(cells)
            >>> found.classes, found.probabilities.shape
            (('red', 'green', 'blue'), (3, 3))
        """
        raise self._cannot("classifies")

    @cached_property
    def _used(self) -> Standardizer:
        return self.guarded() or self.standardizer()

    def _cannot(self, does: str) -> ModelError:
        return ModelError(f"expected a model that {does}, got a {self.kind}: {self.path}")
