"""Learning rate and momentum as pure functions of the number of images seen."""

import math
from dataclasses import dataclass
from typing import Literal, Protocol


class Schedule(Protocol):
    """Learning rate and momentum of the step after `images` images; a rate of exactly 0 freezes the network."""

    def learning_rate(self, images: int) -> float:
        """Return the learning rate of the step that starts after `images` images."""
        ...

    def momentum(self, images: int) -> float | None:
        """Return Adam's beta1 for that step; None leaves the optimizer's own."""
        ...


@dataclass(frozen=True)
class Constant:
    """One rate throughout."""

    rate: float

    def learning_rate(self, images: int) -> float:
        """Return the rate."""
        return self.rate

    def momentum(self, images: int) -> float | None:
        """Leave the momentum."""
        return None


@dataclass(frozen=True)
class Exponential:
    """Exponential rise from `lowest` at 0 to `highest` at `total`: the ramp of a learning-rate range test."""

    lowest: float
    highest: float
    total: int

    def learning_rate(self, images: int) -> float:
        """Return the rate at `images`, which the range test counts in steps."""
        return float(self.lowest * (self.highest / self.lowest) ** (images / self.total))

    def momentum(self, images: int) -> float | None:
        """Leave the momentum."""
        return None


@dataclass(frozen=True)
class ConstantThenLinear:
    """CycleGAN's schedule: constant epochs, then linear decay, changed once an epoch.

    The factor of epoch k (from 1) is 1 - max(0, k' - constant_epochs) / (decay_epochs + 1). With `corrected` stepping
    k' = k: the decay begins after the constant epochs and the last epoch still learns. With `reference` stepping
    k' = k + 1, as in the reference implementation of 2020, which steps its scheduler at the start of an epoch: there,
    with 100 + 100 epochs, epoch 100 is at 0.990 and epoch 200 runs at exactly 0.
    """

    rate: float
    epoch_images: int
    constant_epochs: int
    decay_epochs: int
    stepping: Literal["reference", "corrected"] = "corrected"

    def learning_rate(self, images: int) -> float:
        """Return the rate of the epoch that image number `images` belongs to."""
        epoch = images // self.epoch_images + 1
        ahead = 1 if self.stepping == "reference" else 0
        past = max(0, epoch + ahead - self.constant_epochs)
        return self.rate * max(0.0, 1.0 - past / (self.decay_epochs + 1))

    def momentum(self, images: int) -> float | None:
        """Leave the momentum."""
        return None


@dataclass(frozen=True)
class OneCycle:
    """The 1cycle policy: cosine up to `peak`, cosine down to nearly nothing, momentum the other way round.

    Smith 2018 (arXiv:1803.09820) with the cosine shape and the values that fast.ai uses. `start_images` shifts the
    cycle: before it the rate is exactly 0, which keeps a pretrained body frozen while the new head learns.
    """

    peak: float
    total_images: int
    start_images: int = 0
    rise: float = 0.25
    start_division: float = 25.0
    end_division: float = 1e5
    momenta: tuple[float, float] = (0.95, 0.85)

    def _place(self, images: int) -> tuple[bool, float]:
        done = (images - self.start_images) / max(1, self.total_images - self.start_images)
        if done < self.rise:
            return True, done / self.rise
        return False, min(1.0, (done - self.rise) / (1.0 - self.rise))

    def learning_rate(self, images: int) -> float:
        """Return the rate after `images` of `total_images` images."""
        if images < self.start_images:
            return 0.0
        rising, place = self._place(images)
        if rising:
            return _cosine(self.peak / self.start_division, self.peak, place)
        return _cosine(self.peak, self.peak / self.end_division, place)

    def momentum(self, images: int) -> float | None:
        """Return beta1 after `images` of `total_images` images."""
        rising, place = self._place(max(images, self.start_images))
        high, low = self.momenta
        return _cosine(high, low, place) if rising else _cosine(low, high, place)


def _cosine(start: float, end: float, place: float) -> float:
    return end + (start - end) * (1.0 + math.cos(math.pi * place)) / 2.0
