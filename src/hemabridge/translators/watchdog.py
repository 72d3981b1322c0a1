"""A watchdog for the training of a translator: early detection of the known ways in which such models fail."""

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import nn

from hemabridge.errors import TrainingFaultWarning
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.metrics.restaining_faults import (
    Measures,
    faults_in,
    hidden_information,
    least_change,
    measure_restaining,
)
from hemabridge.sampling import evenly_spaced
from hemabridge.training.events import Event
from hemabridge.training.stopping import Watch
from hemabridge.translators.batches import from_network, to_network
from hemabridge.translators.catalog import TranslatorObjective
from hemabridge.translators.config import WatchdogConfig

CHECKS: Final = 20
"""Default number of checks; they are at least `SOONEST` and at most `LATEST` images apart."""
SOONEST, LATEST = 100, 1000

SETTLED: Final = 0.25
"""Share of the run after which the faults idle and checkered count, since they are usual at the beginning."""
GROWN_OUT_OF: Final = frozenset({"idle", "checkered"})

SILENT_LOSS: Final = 0.005
SILENT_STEPS: Final = 10
"""If the logged loss of a discriminator stays below this for so many steps, it separates all fakes from real images,
and the generator gets no useful gradient."""

JPEG_QUALITY: Final = 90

MEANINGS: Final[Mapping[str, str]] = {
    "inverted": "bright and dark are exchanged",
    "constant": "the output hardly depends on the position in the image",
    "collapsed": "all outputs are alike, whatever the input",
    "idle": "images are left as they are, although the sites differ",
    "checkered": "a regular grid of 2 or 4 pixels lies over the images",
    "hidden information": "the reconstruction depends on invisible detail, which rounding and JPEG destroy",
    "silent discriminator": "a discriminator recognizes every fake, so that the generator learns nothing from it",
}


@dataclass(frozen=True, eq=False)
class Watchdog:
    """Re-stains the same cells at every check, and measures them; all its memory is in the events.

    Attributes:
        config: what to do when a fault persists.
        model: the translator that is trained.
        source: some cells of the source site, uint8[N, H, W, 3].
        least_change: lower bound of the mean color change (CIE76) of any map from source to target; 0 if the sites are
            alike.
        total_images: length of the run.
    """

    config: WatchdogConfig
    model: TranslatorObjective
    source: UInt8Images
    least_change: float
    total_images: int

    def watch(self) -> Watch | None:
        """Return the watch for the training loop; None if the training is not watched."""
        if self.config.on_fault == "ignore":
            return None
        usual = min(max(self.total_images // CHECKS, SOONEST), LATEST)
        return Watch(self.config.every_images or usual, self.check, self.verdict)

    def check(self, images: int, events: Sequence[Event]) -> dict[str, Any]:
        """Measure, and return the faults of this check and those that persist; warn when one begins to persist."""
        measures = self._measure()
        faults = [name for name in faults_in(measures) if name not in GROWN_OUT_OF or self._settled(images)]
        faults += ["silent discriminator"] * _silent(events)
        before = [event for event in events if event["kind"] == "watch"]
        checks = [set(event.get("faults", ())) for event in before[len(before) - self.config.patience + 1 :]]
        persisting = [
            name
            for name in faults
            if len(checks) == self.config.patience - 1 and all(name in earlier for earlier in checks)
        ]
        new = [name for name in persisting if not before or name not in before[-1].get("persisting", ())]
        if new and self.config.on_fault == "warn":
            warnings.warn(f"after {images} images of training: {_told(new)}", TrainingFaultWarning, stacklevel=2)
        rounded = {name: value if value is None else round(value, 4) for name, value in asdict(measures).items()}
        return {"measures": rounded, "faults": faults, "persisting": persisting}

    def verdict(self, events: Sequence[Event]) -> str | None:
        """Return the reason to stop: the faults that persist at the newest check, if the recipe demands a stop."""
        checks = [event for event in events if event["kind"] == "watch"]
        if self.config.on_fault != "stop" or not checks or not checks[-1].get("persisting"):
            return None
        return f"after {checks[-1]['images']} images of training: {_told(checks[-1]['persisting'])}"

    def _settled(self, images: int) -> bool:
        return images >= SETTLED * self.total_images

    def _measure(self) -> Measures:
        with evaluating(self.model.nets):
            device = next(self.model.nets["to_target"].parameters()).device
            shown = to_network(self.source).to(device)
            restained = self.model.nets["to_target"](shown)
            fakes, hidden = from_network(restained), None
            if "to_source" in self.model.averaged:
                back = self.model.nets["to_source"]
                cycled = from_network(back(restained))
                again = from_network(back(to_network(_saved(fakes)).to(device)))
                hidden = hidden_information(self.source, cycled, again, _saved(self.source))
        return measure_restaining(fakes, self.source, self.least_change, hidden)


def watchdog_for(
    config: WatchdogConfig,
    model: TranslatorObjective,
    source: UInt8Images,
    target: UInt8Images,
    crop_px: int,
    total_images: int,
) -> Watchdog:
    """Choose evenly spaced cells for the checks, and measure the distance between the sites.

    Args:
        config: settings of the watchdog.
        model: the translator.
        source: training cells, uint8[N, S, S, 3].
        target: training cells, uint8[M, S, S, 3].
        crop_px: side of the central square that is re-stained.
        total_images: length of the run.
    """
    places = evenly_spaced(len(source), config.cells, ends=True)
    margin = (source.shape[1] - crop_px) // 2
    cells = source[places, margin : margin + crop_px, margin : margin + crop_px]
    apart = 0.0 if config.on_fault == "ignore" else _apart(source, target)
    return Watchdog(config, model, cells, apart, total_images)


@contextmanager
def evaluating(nets: Mapping[str, nn.Module]) -> Iterator[None]:
    """Within the context, set networks to evaluation without gradients; their modes are restored afterwards."""
    before = {name: net.training for name, net in nets.items()}
    try:
        for net in nets.values():
            net.eval()
        with torch.no_grad():
            yield
    finally:
        for name, net in nets.items():
            net.train(before[name])


def _apart(source: UInt8Images, target: UInt8Images) -> float:
    """Return the least change between two sites, or 0 if halves of one site differ a third as much."""
    if min(len(source), len(target)) < 2:
        return least_change(source, target)
    within = max(least_change(site[::2], site[1::2]) for site in (source, target))
    between = least_change(source, target)
    return between if between > 3 * within else 0.0


def _saved(images: UInt8Images) -> UInt8Images:
    """Return uint8[N, H, W, 3] after JPEG compression."""
    back = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
        back.append(np.asarray(Image.open(file)))
    return np.stack(back)


def _silent(events: Sequence[Event]) -> bool:
    """Return whether a discriminator's logged loss was about 0 for `SILENT_STEPS` logged steps."""
    steps = [event.get("losses", {}) for event in events if event["kind"] == "step"][-SILENT_STEPS:]
    if len(steps) < SILENT_STEPS:
        return False
    discriminators = {name for name in steps[-1] if name.startswith("discriminator")}
    return any(all(losses.get(name, 1.0) < SILENT_LOSS for losses in steps) for name in discriminators)


def _told(faults: Sequence[str]) -> str:
    return "; ".join(f"{name} ({MEANINGS.get(name, name)})" for name in faults)
