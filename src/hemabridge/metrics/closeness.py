"""Closeness of images of the same cells: in color (to a ground truth) and in structure (to the original).

All functions take two stacks uint8[N, H, W, 3] (RGB, 0..255) in the same order and return float64[N], one value per
image.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_gradient_magnitude
from skimage.metrics import structural_similarity

from hemabridge.imaging.color import delta_e_2000, rgb_to_lab
from hemabridge.imaging.standardizer import UInt8Images

ROUNDING_MSE = 1.0 / 12.0
"""Variance of rounding to integer gray values, the smallest mean squared error of 8-bit images."""

_SSIM_SIGMA_PX = 1.5
_SSIM_SMALLEST_PX = 11
_EDGE_SIGMA_PX = 1.0


def psnr_db(images: UInt8Images, reference: UInt8Images) -> NDArray[np.float64]:
    """Return the peak signal-to-noise ratio of each image, in decibels; higher is closer.

    10 log10(255^2 / MSE) over pixels and channels. The MSE is at least that of rounding (1/12), so that equal images
    get 58.9 dB instead of infinity, and a mean over cells is finite.

    Raises:
        ValueError: the stacks differ in shape or are not uint8[N, H, W, 3].
    """
    _check_stacks(images, reference)
    difference = images.astype(np.float64) - reference.astype(np.float64)
    mse = np.maximum(np.mean(difference**2, axis=(1, 2, 3)), ROUNDING_MSE)
    return np.asarray(10.0 * np.log10(255.0**2 / mse), dtype=np.float64)


def mean_delta_e_2000(images: UInt8Images, reference: UInt8Images) -> NDArray[np.float64]:
    """Return the mean CIEDE2000 color difference over the pixels of each image; 0 is equal, about 1 just visible.

    Raises:
        ValueError: the stacks differ in shape or are not uint8[N, H, W, 3].

    References:
        Sharma, Wu and Dalal (2005), The CIEDE2000 color-difference formula, doi:10.1002/col.20070.
    """
    _check_stacks(images, reference)
    values = [
        float(np.mean(delta_e_2000(rgb_to_lab(a), rgb_to_lab(b)))) for a, b in zip(images, reference, strict=True)
    ]
    return np.array(values, dtype=np.float64)


def luminance_ssim(images: UInt8Images, reference: UInt8Images) -> NDArray[np.float64]:
    """Return the structural similarity of the luminance (CIELAB L, range 100) of each image, -1..1; 1 is equal.

    Gaussian window of 1.5 px and population covariance, as in the paper.

    Raises:
        ValueError: the stacks differ in shape, are not uint8[N, H, W, 3], or are smaller than the window (11 px).

    References:
        Wang, Bovik, Sheikh and Simoncelli (2004), Image quality assessment, doi:10.1109/TIP.2003.819861.
    """
    _check_stacks(images, reference)
    if min(images.shape[1:3]) < _SSIM_SMALLEST_PX:
        raise ValueError(
            f"expected images of at least {_SSIM_SMALLEST_PX} px a side, got {images.shape[1]}x{images.shape[2]}"
        )
    values = [
        structural_similarity(  # type: ignore[no-untyped-call]
            _luminance(a),
            _luminance(b),
            data_range=100.0,
            gaussian_weights=True,
            sigma=_SSIM_SIGMA_PX,
            use_sample_covariance=False,
        )
        for a, b in zip(images, reference, strict=True)
    ]
    return np.array(values, dtype=np.float64)


def gradient_correlation(images: UInt8Images, reference: UInt8Images) -> NDArray[np.float64]:
    """Return the Pearson correlation of the edge strength of each image with its reference, -1..1.

    Edge strength is the gradient magnitude of the luminance (CIELAB L) at a scale of 1 px. A change of stain scales it,
    so the correlation stays high; a moved nucleus lowers it. Two images without edges give 1, an image with edges and
    one without give 0.

    Raises:
        ValueError: the stacks differ in shape or are not uint8[N, H, W, 3].
    """
    _check_stacks(images, reference)
    values = [_correlation(_edges(a), _edges(b)) for a, b in zip(images, reference, strict=True)]
    return np.array(values, dtype=np.float64)


def _luminance(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    return rgb_to_lab(image)[..., 0].astype(np.float64)


def _edges(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.asarray(gaussian_gradient_magnitude(_luminance(image), _EDGE_SIGMA_PX, mode="nearest"))


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    # Rounding in the color conversion gives gradients of about 1e-6 in a flat image, which are not edges.
    a_flat, b_flat = bool(a.std() < 1e-4), bool(b.std() < 1e-4)
    if a_flat or b_flat:
        return 1.0 if a_flat and b_flat else 0.0
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def _check_stacks(images: UInt8Images, reference: UInt8Images) -> None:
    for name, stack in (("images", images), ("reference", reference)):
        if stack.dtype != np.uint8 or stack.ndim != 4 or stack.shape[-1] != 3:
            raise ValueError(f"expected {name} as uint8[N, H, W, 3], got {stack.dtype}{list(stack.shape)}")
    if images.shape != reference.shape:
        raise ValueError(f"expected two stacks of one shape, got {images.shape} and {reference.shape}")
