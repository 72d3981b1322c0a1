"""The network that re-stains any site by the site's appearance descriptor, with the distance from its training."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.networks.color_generators import shift_colors
from hemabridge.sampling import evenly_spaced
from hemabridge.translators.appearance_descriptor import (
    COMPONENTS,
    DESCRIPTOR_SIZE,
    descriptors_of,
    distances_of,
    moments_of,
    monge_matrices,
    principal_axes,
)
from hemabridge.translators.batches import to_network
from hemabridge.translators.objective_config import TargetOnlyConfig

MEASURED_IMAGES = 400
NEAR, FAR = 0.9, 0.99
"""Shares of held-out hospitals that set the limits of in-distribution and of borderline sites."""


class SiteRestainer(nn.Module):
    """Linear transport by the site's mean and covariance, then a perceptron per pixel, tuned by the site's descriptor.

    It can map any color to any other, smoothly and differently for each site. It cannot move, blur or sharpen anything,
    or follow illumination that varies across the image. The tuning is that of FiLM (Perez et al. 2018,
    doi:10.1609/aaai.v32i1.11671).

    Buffers hold the target's descriptor, that of the site to re-stain if one is set, the distribution of the
    descriptors in training, and the distances within which 90% and 99% of the held-out hospitals lie.
    """

    target_descriptor: Tensor
    site_descriptor: Tensor
    settled: Tensor
    known_mean: Tensor
    known_axes: Tensor
    known_deviations: Tensor
    descriptor_scale: Tensor
    thresholds: Tensor

    def __init__(self, config: TargetOnlyConfig) -> None:
        super().__init__()
        widths = [6, *[config.width] * config.layers]
        self.hidden = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in pairwise(widths))
        self.last = nn.Conv2d(config.width, 3, 1)
        self.tuner = nn.Sequential(
            nn.Linear(DESCRIPTOR_SIZE, config.tuner_width),
            nn.SiLU(),
            nn.Linear(config.tuner_width, 2 * config.width * config.layers),
        )
        for layer in (self.last, self.tuner[-1]):
            for weight in layer.parameters():
                nn.init.zeros_(weight)
        for name in ("target_descriptor", "site_descriptor", "known_mean"):
            self.register_buffer(name, torch.zeros(DESCRIPTOR_SIZE))
        self.register_buffer("settled", torch.zeros(1))
        self.register_buffer("known_axes", torch.zeros(DESCRIPTOR_SIZE, COMPONENTS))
        self.register_buffer("known_deviations", torch.ones(COMPONENTS + 1))
        self.register_buffer("descriptor_scale", torch.ones(DESCRIPTOR_SIZE))
        self.register_buffer("thresholds", torch.zeros(2))

    def forward(self, images: Tensor) -> Tensor:
        """Re-stain float[B, 3, H, W] in [-1, 1] of any size, by the descriptor of the set site or of each image."""
        return self.recolor(images, self.summarize(images))

    def summarize(self, images: Tensor) -> Tensor:
        """Return the descriptors by which float[B, 3, H, W] are re-stained, float[B, DESCRIPTOR_SIZE]."""
        return self.site_descriptor.expand(len(images), -1) if bool(self.settled) else descriptors_of(images)

    def recolor(self, images: Tensor, descriptors: Tensor) -> Tensor:
        """Re-stain float[B, 3, H, W] of sites whose descriptors are float[B, DESCRIPTOR_SIZE]."""
        mean, covariance = moments_of(descriptors)
        target_mean, target_covariance = moments_of(self.target_descriptor.unsqueeze(0))
        matrix = monge_matrices(covariance, target_covariance[0])
        linear = torch.einsum("bij,bjhw->bihw", matrix, images - mean[:, :, None, None])
        linear = (linear + target_mean[:, :, None, None]).clamp(-1.0, 1.0)
        tuning = self.tuner((descriptors - self.known_mean) / self.descriptor_scale).unflatten(
            1, (len(self.hidden), 2, -1, 1, 1)
        )
        x = torch.cat([linear, images], dim=1)
        for place, layer in enumerate(self.hidden):
            x = silu(layer(x) * (1 + tuning[:, place, 0]) + tuning[:, place, 1])
        return shift_colors(linear, self.last(x))

    def settle(self, images: UInt8Images) -> None:
        """Set the site to re-stain, by its images uint8[N, H, W, 3], N at least 1."""
        self.site_descriptor.copy_(site_descriptor(images))
        self.settled.fill_(1.0)

    def learn_target(self, images: UInt8Images) -> None:
        """Store the descriptor of the target, measured on these images."""
        self.target_descriptor.copy_(site_descriptor(images))

    def learn_known(self, seen: Tensor, held_out: Tensor) -> None:
        """Store the distribution of the training hospitals' descriptors, float[N, D], and of held-out ones, [K, D]."""
        mean, axes, deviations = principal_axes(seen)
        self.known_mean.copy_(mean)
        self.known_axes.copy_(axes)
        self.known_deviations.copy_(deviations)
        self.descriptor_scale.copy_(seen.std(dim=0, correction=0) + 1e-3)
        shares = seen.new_tensor((NEAR, FAR))
        self.thresholds.copy_(self.distances(held_out).quantile(shares))

    def distances(self, descriptors: Tensor) -> Tensor:
        """Return the distances of float[N, DESCRIPTOR_SIZE] from the training hospitals, float[N]; typically 1."""
        return distances_of(descriptors, self.known_mean, self.known_axes, self.known_deviations)


@torch.no_grad()
def site_descriptor(images: UInt8Images) -> Tensor:
    """Measure up to `MEASURED_IMAGES` evenly spaced images of a site, uint8[N, H, W, 3]: float[DESCRIPTOR_SIZE]."""
    chosen = images[evenly_spaced(len(images), MEASURED_IMAGES)]
    parts = [descriptors_of(to_network(chosen[start : start + 32])) for start in range(0, len(chosen), 32)]
    return torch.cat(parts).mean(dim=0)
