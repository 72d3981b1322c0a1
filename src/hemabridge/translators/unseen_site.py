"""A target-only model on an unseen site: re-staining by the site's descriptor, and its distance from the training."""

from pathlib import Path

import torch

from hemabridge.domain.site_profile import Distance
from hemabridge.errors import InputError, ModelError
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.translators.neural import NeuralStandardizer
from hemabridge.translators.target_only_net import SiteRestainer, site_descriptor


def settle(standardizer: NeuralStandardizer, images: UInt8Images | None, path: Path) -> None:
    """Set a target-only model to re-stain another site than its recipe's source.

    Args:
        standardizer: of a target-only model; it is modified.
        images: images of the site, uint8[N, H, W, 3], of any classes; more images give a more stable descriptor. None
            to re-stain each image by its own descriptor.
        path: of the model's file, for errors.

    Raises:
        ModelError: it is not a target-only model.
        InputError: there is no image.
    """
    net = _net_of(standardizer, path)
    if images is None:
        net.settled.zero_()
    else:
        _check(images)
        net.settle(images)


@torch.no_grad()
def distance_of(standardizer: NeuralStandardizer, images: UInt8Images, path: Path) -> Distance:
    """Measure the distance of a site from the hospitals that a target-only model was trained on.

    90% of the held-out random hospitals are within `in_distribution_max`, 99% within `borderline_max`. The thresholds
    hold for sites with as many images as the model's `hospital_images`; fewer images increase the distance.

    Raises:
        ModelError: it is not a target-only model.
        InputError: there is no image.
    """
    _check(images)
    net = _net_of(standardizer, path)
    near, far = net.thresholds.tolist()
    return Distance(float(net.distances(site_descriptor(images).unsqueeze(0))[0]), near, far)


def _net_of(standardizer: NeuralStandardizer, path: Path) -> SiteRestainer:
    net = standardizer.generator
    if not isinstance(net, SiteRestainer):
        raise ModelError(f"expected the snapshot of a target-only translator, got that of another: {path}")
    return net


def _check(images: UInt8Images) -> None:
    if images.ndim != 4 or len(images) == 0:
        raise InputError(f"expected images of the site, uint8[N, H, W, 3], got {list(images.shape)}")
