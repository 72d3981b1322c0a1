"""The net that re-stains any site into the target by the site's look, and knows how unusual that look is."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.networks.color_generator import shift_colours
from hemabridge.translators.appearance import (
    COMPONENTS,
    LOOK,
    distances_of,
    looks_of,
    moments_of,
    monge_matrices,
    principal_axes,
)
from hemabridge.translators.batches import to_network
from hemabridge.translators.target_only_config import TargetOnlyConfig

MEASURED_IMAGES = 400
NEAR, FAR = 0.9, 0.99
"""Shares of the held-out hospitals: within the first a site counts as known, within the second as near."""


class SiteRestainer(nn.Module):
    """Linear transport by the site's mean and covariance, then a perceptron per pixel, tuned by the site's look.

    It can map any colour to any other, smoothly, in another way for each site. It cannot move, blur or sharpen
    anything, nor follow light that varies across the image. The tuning is that of FiLM (Perez et al. 2018,
    doi:10.1609/aaai.v32i1.11671).

    Buffers keep the target's look, that of the site to re-stain if one is settled, and the looks of the hospitals seen
    in training: where they lie, and how far the nearest 90 % and 99 % of those held out are.
    """

    target_look: Tensor
    site_look: Tensor
    settled: Tensor
    known_mean: Tensor
    known_axes: Tensor
    known_deviations: Tensor
    look_scale: Tensor
    thresholds: Tensor

    def __init__(self, config: TargetOnlyConfig) -> None:
        super().__init__()
        widths = [6, *[config.width] * config.layers]
        self.hidden = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in pairwise(widths))
        self.last = nn.Conv2d(config.width, 3, 1)
        self.tuner = nn.Sequential(
            nn.Linear(LOOK, config.tuner_width),
            nn.SiLU(),
            nn.Linear(config.tuner_width, 2 * config.width * config.layers),
        )
        for layer in (self.last, self.tuner[-1]):
            for weight in layer.parameters():
                nn.init.zeros_(weight)
        for name in ("target_look", "site_look", "known_mean"):
            self.register_buffer(name, torch.zeros(LOOK))
        self.register_buffer("settled", torch.zeros(1))
        self.register_buffer("known_axes", torch.zeros(LOOK, COMPONENTS))
        self.register_buffer("known_deviations", torch.ones(COMPONENTS + 1))
        self.register_buffer("look_scale", torch.ones(LOOK))
        self.register_buffer("thresholds", torch.zeros(2))

    def forward(self, images: Tensor) -> Tensor:
        """Re-stain float[B, 3, H, W] in [-1, 1] of any size, by the settled site's look or each image's own."""
        looks = self.site_look.expand(len(images), -1) if bool(self.settled) else looks_of(images)
        return self.recolour(images, looks)

    def recolour(self, images: Tensor, looks: Tensor) -> Tensor:
        """Re-stain float[B, 3, H, W] of sites whose looks are float[B, LOOK]."""
        mean, covariance = moments_of(looks)
        target_mean, target_covariance = moments_of(self.target_look.unsqueeze(0))
        matrix = monge_matrices(covariance, target_covariance[0])
        linear = torch.einsum("bij,bjhw->bihw", matrix, images - mean[:, :, None, None])
        linear = (linear + target_mean[:, :, None, None]).clamp(-1.0, 1.0)
        tuning = self.tuner((looks - self.known_mean) / self.look_scale).unflatten(1, (len(self.hidden), 2, -1, 1, 1))
        x = torch.cat([linear, images], dim=1)
        for place, layer in enumerate(self.hidden):
            x = silu(layer(x) * (1 + tuning[:, place, 0]) + tuning[:, place, 1])
        return shift_colours(linear, self.last(x))

    def settle(self, images: UInt8Images) -> None:
        """Re-stain from now on by the look of the site that these images show, uint8[N, H, W, 3], N at least 1."""
        self.site_look.copy_(site_look(images))
        self.settled.fill_(1.0)

    def learn_target(self, images: UInt8Images) -> None:
        """Keep the look of the target, of which these are images."""
        self.target_look.copy_(site_look(images))

    def learn_known(self, seen: Tensor, held_out: Tensor) -> None:
        """Keep where the looks of hospitals lie, float[N, LOOK] and float[K, LOOK] of those not trained on."""
        mean, axes, deviations = principal_axes(seen)
        self.known_mean.copy_(mean)
        self.known_axes.copy_(axes)
        self.known_deviations.copy_(deviations)
        self.look_scale.copy_(seen.std(dim=0, correction=0) + 1e-3)
        shares = seen.new_tensor((NEAR, FAR))
        self.thresholds.copy_(self.distances(held_out).quantile(shares))

    def distances(self, looks: Tensor) -> Tensor:
        """Return how far looks float[N, LOOK] are from those seen in training, float[N]; about 1 is usual."""
        return distances_of(looks, self.known_mean, self.known_axes, self.known_deviations)


@torch.no_grad()
def site_look(images: UInt8Images) -> Tensor:
    """Measure up to `MEASURED_IMAGES` evenly spaced images of a site, uint8[N, H, W, 3]: float[LOOK]."""
    step = -(-len(images) // MEASURED_IMAGES)
    chosen = images[::step]
    parts = [looks_of(to_network(chosen[start : start + 32])) for start in range(0, len(chosen), 32)]
    return torch.cat(parts).mean(dim=0)
