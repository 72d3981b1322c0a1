"""Normalizers as scikit-learn transformers. scikit-learn is not imported, and need not be installed."""

from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any, Self

import numpy as np

from hemabridge.errors import InputError
from hemabridge.imaging.any_image import AnyImage, check_each, restained_like
from hemabridge.imaging.scale import CropPx
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images
from hemabridge.normalizers.images import fit_normalizer
from hemabridge.normalizers.normalizer import Normalizer

PARAMETERS = ("method", "source_crop_px", "target", "target_crop_px")


class StainNormalizer:
    """A normalizer as a scikit-learn transformer: it is fitted on the images that it re-stains.

    Images of the wanted colors are a parameter, `target`, so that `fit(X)` and `transform(X)` take images of the same
    site. It works with `sklearn.base.clone`, `get_params`, `set_params`, pipelines and searches over `method`. Once
    fitted, it also re-stains a single image: `normalizer(image)`.

    Args:
        method: a name that `hemabridge catalog` lists.
        target: images of the site whose colors are wanted, each uint8[H, W, 3] RGB, 0..255.
        source_crop_px: side of the central square that shows a cell, in pixels of the images that it is fitted on;
            `whole` for the whole image; estimated from the nuclei if None.
        target_crop_px: the same for `target`.

    Attributes:
        normalizer_: the fitted `Normalizer`, after `fit`.

    Example:
        >>> import hemabridge as hb
        >>> from hemabridge.data.simulate import HOSPITALS, simulate_cells
        >>> source, _ = simulate_cells(["neutrophil", "lymphocyte"], 3, HOSPITALS["yellow-field"], 1, 64)
        >>> target, _ = simulate_cells(["neutrophil", "lymphocyte"], 3, HOSPITALS["clinic-like"], 2, 64)
        >>> normalizer = hb.StainNormalizer("macenko", target=target).fit(source)
        >>> normalizer.transform(source).shape
        (6, 64, 64, 3)
        >>> normalizer.set_params(method="linear-ot").get_params()["method"]
        'linear-ot'
    """

    def __init__(
        self,
        method: str = "optical-density",
        *,
        target: UInt8Images | Sequence[UInt8Image] | None = None,
        source_crop_px: CropPx | None = None,
        target_crop_px: CropPx | None = None,
    ) -> None:
        self.method = method
        self.target = target
        self.source_crop_px = source_crop_px
        self.target_crop_px = target_crop_px

    def fit(self, X: UInt8Images | Iterable[UInt8Image], y: object = None) -> Self:  # noqa: N803 - scikit-learn's name
        """Fit on images of the site to re-stain.

        Args:
            X: images, each uint8[H, W, 3] RGB, 0..255; sizes may differ.
            y: not used.

        Raises:
            InputError: `target` is not given, or there is no such method.
            ImageError: an image has another type or shape, there is none, or none shows a nucleus.
        """
        if self.target is None:
            raise InputError("expected images of the wanted colors, got none: StainNormalizer(method, target=images)")
        self.normalizer_: Normalizer = fit_normalizer(
            self.method,
            X,
            self.target,
            source_crop_px=self.source_crop_px,
            target_crop_px=self.target_crop_px,
        )
        return self

    def transform(self, X: UInt8Images | Iterable[UInt8Image]) -> UInt8Images | list[UInt8Image]:  # noqa: N803
        """Re-stain images, independently of each other.

        Args:
            X: images, each uint8[H, W, 3] RGB, 0..255; sizes may differ.

        Returns:
            An array uint8[N, H, W, 3] if `X` is one, otherwise a list of uint8[H, W, 3].

        Raises:
            ImageError: an image has another type or shape.
            InputError: `fit` was not called.
        """
        normalizer = self._fitted()
        if isinstance(X, np.ndarray) and X.ndim == 4:
            return normalizer.standardize(X)
        return [normalizer.restain(image) for image in check_each(X, "images to re-stain")]

    def fit_transform(
        self,
        X: UInt8Images | Sequence[UInt8Image],  # noqa: N803
        y: object = None,
    ) -> UInt8Images | list[UInt8Image]:
        """Fit on images and re-stain them; see `fit` and `transform` for arguments, result and errors."""
        return self.fit(X, y).transform(X)

    def __call__(self, image: AnyImage) -> AnyImage:
        """Re-stain one image: an array uint8[H, W, 3], a PIL image or a tensor uint8[3, H, W]. The type is kept.

        Raises:
            ImageError: it is of another type, mode or shape.
            InputError: `fit` was not called.
        """
        return restained_like(self._fitted().standardize, image)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name; `deep` has no effect, since no parameter is an estimator."""
        return {name: getattr(self, name) for name in PARAMETERS}

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name; a normalizer that is already fitted does not change.

        Raises:
            InputError: there is no such parameter.
        """
        unknown = sorted(params.keys() - set(PARAMETERS))
        if unknown:
            raise InputError(f"expected parameters of {', '.join(PARAMETERS)}; got {', '.join(unknown)}")
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        written = [f"{name}={_short(value)}" for name, value in self.get_params().items() if value is not None]
        return f"StainNormalizer({', '.join(written)})"

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "normalizer_")

    def __sklearn_tags__(self) -> Any:
        # Only scikit-learn calls this; the import by name keeps scikit-learn optional.
        tags = import_module("sklearn.utils")
        return tags.Tags(
            estimator_type=None,
            target_tags=tags.TargetTags(required=False),
            transformer_tags=tags.TransformerTags(preserves_dtype=["uint8"]),
            input_tags=tags.InputTags(two_d_array=False, positive_only=True),
        )

    def _fitted(self) -> Normalizer:
        if not hasattr(self, "normalizer_"):
            raise InputError("expected a fitted StainNormalizer, got one that is not; call fit(images) first")
        return self.normalizer_


def _short(value: Any) -> str:
    return f"{value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) else repr(value)[:60]
