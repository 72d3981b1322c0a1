"""A target-only model on a site that it never saw: re-stain by that site's descriptor, and say how unusual it is."""

from pathlib import Path

import torch

from hemabridge.domain.site_profile import Distance
from hemabridge.errors import InputError, ModelError
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.translators.neural import NeuralStandardizer
from hemabridge.translators.target_only_net import SiteRestainer, site_descriptor


def standardizer_for(snapshot: Path, images: UInt8Images | None) -> NeuralStandardizer:
    """Return the re-stainer of a target-only snapshot for another site than its recipe's source.

    Args:
        snapshot: of a target-only model.
        images: some of the site's, uint8[N, H, W, 3], any mix of classes, the more the steadier; None to re-stain each
            image by its own descriptor.

    Raises:
        ModelError: the snapshot is of another model.
        InputError: there is no image.
    """
    standardizer = NeuralStandardizer.from_snapshot(snapshot)
    net = _net_of(standardizer, snapshot)
    if images is None:
        net.settled.zero_()
    else:
        _check(images)
        net.settle(images)
    return standardizer


@torch.no_grad()
def distance_of(snapshot: Path, images: UInt8Images) -> Distance:
    """Measure how far a site is from all that a target-only model has learned from.

    90 % of the random hospitals that were held out are within `near`, 99 % within `far`.

    The thresholds are those of sites of as many images as the model's `hospital_images`; fewer make a site descriptor
    farther than it is.

    Raises:
        ModelError: the snapshot is of another model.
        InputError: there is no image.
    """
    _check(images)
    net = _net_of(NeuralStandardizer.from_snapshot(snapshot), snapshot)
    near, far = net.thresholds.tolist()
    return Distance(float(net.distances(site_descriptor(images).unsqueeze(0))[0]), near, far)


def _net_of(standardizer: NeuralStandardizer, snapshot: Path) -> SiteRestainer:
    net = standardizer.generator
    if not isinstance(net, SiteRestainer):
        raise ModelError(f"expected the snapshot of a target-only translator, got that of another: {snapshot}")
    return net


def _check(images: UInt8Images) -> None:
    if images.ndim != 4 or len(images) == 0:
        raise InputError(f"expected images of the site, uint8[N, H, W, 3], got {list(images.shape)}")
