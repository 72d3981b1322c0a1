import dataclasses
import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn.functional import l1_loss
from toy import cpu

from hemabridge.data.cells import CellSet
from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.errors import RunError, TrainingFaultError, TrainingFaultWarning
from hemabridge.networks.config import PixelNetworkConfig
from hemabridge.training.checkpoints import read_newest_checkpoint
from hemabridge.training.config import LoopConfig
from hemabridge.training.events import read_events
from hemabridge.training.objective import Batch, Terms
from hemabridge.training.snapshots import list_snapshots
from hemabridge.translators import train
from hemabridge.translators.attempts import RECORD
from hemabridge.translators.batches import UnpairedBatches, to_network
from hemabridge.translators.config import TranslatorConfig, WatchdogConfig
from hemabridge.translators.cyclegan import CycleGan, Translated
from hemabridge.translators.objective_config import CycleGanConfig
from hemabridge.translators.presets import PRESETS
from hemabridge.translators.watchdog import Watchdog, watchdog_for

MODEL = CycleGanConfig(
    generator=PixelNetworkConfig(width=8),
    adversarial_weight=0.0,
    transport_weight=2.0,
    cycle_weight=0.1,
    identity_weight=0.1,
)
CONFIG = TranslatorConfig(
    model=MODEL,
    load_px=16,
    crop_px=16,
    batch_size=4,
    learning_rate=5e-2,
    epoch_images=40,
    constant_epochs=4,
    decay_epochs=0,
    stepping="corrected",
    snapshot_every_epochs=1,
)


def watched(**changes: object) -> TranslatorConfig:
    return CONFIG.model_copy(update={"watchdog": WatchdogConfig(every_images=20, cells=4, **changes)})  # type: ignore[arg-type]


def site(tint: tuple[int, int, int], name: str) -> CellSet:
    """Cells of one tint: dark discs of several sizes on a bright field."""
    rows, columns = np.indices((16, 16)) - 7.5
    discs = np.stack([np.hypot(rows, columns) < radius for radius in (2, 3, 4, 5, 6, 7)])
    images = np.where(discs[..., None], np.asarray(tint) // 3, tint).astype(np.uint8)
    names = tuple(f"{name}{number}" for number in range(len(images)))
    return CellSet(images, np.full(len(images), -1), (), names, names, 16)


SITES = site((240, 220, 120), "s"), site((225, 205, 245), "t")


class Inverter(CycleGan):
    """A translator that is forced to exchange bright and dark."""

    def generator_losses(self, images: Translated) -> Terms:
        return {"inverted": l1_loss(images.fake_target, -images.source) + l1_loss(images.fake_source, -images.target)}


@pytest.fixture
def inverted_with_seed_0(monkeypatch: pytest.MonkeyPatch) -> None:
    def new(config: CycleGanConfig) -> CycleGan:
        return Inverter(config) if torch.initial_seed() == 0 else CycleGan(config)

    monkeypatch.setattr(train, "new_objective", new)


def checks(folder: Path) -> list[dict[str, object]]:
    return read_events(folder / "events.jsonl", "watch")


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training with seed 1 that is watched and goes well."""
    folder = tmp_path_factory.mktemp("healthy")
    train.train_translator(watched(on_fault="stop"), *SITES, folder, cpu(), seed=1)
    return folder


def test_a_training_that_goes_well_is_left_alone_and_measured(healthy: Path) -> None:
    found = checks(healthy)
    assert [check["images"] for check in found] == list(range(20, 161, 20))
    assert not any(check["persisting"] for check in found)
    assert json.loads((healthy / RECORD).read_text()) == {"format": 1, "seed": 1, "finished": True, "stopped": []}


@pytest.mark.usefixtures("inverted_with_seed_0")
def test_inversion_is_told_early_and_training_goes_on_if_that_is_wished(tmp_path: Path) -> None:
    with pytest.warns(TrainingFaultWarning, match=r"after \d+ images of training: inverted \(bright") as told:
        train.train_translator(watched(), *SITES, tmp_path, cpu(), seed=0)
    assert len(told) == 1
    assert checks(tmp_path)[-1]["persisting"] == ["inverted"]
    assert read_events(tmp_path / "events.jsonl", "step")[-1]["images"] > 100


@pytest.mark.usefixtures("inverted_with_seed_0")
def test_it_stops_if_that_is_wished_and_the_same_call_says_the_same(tmp_path: Path) -> None:
    config = watched(on_fault="stop")
    with pytest.raises(TrainingFaultError, match=r"seed 0 was stopped after .* inverted") as first:
        train.train_translator(config, *SITES, tmp_path, cpu(), seed=0)
    seen = checks(tmp_path)
    assert len(seen) < 8
    with pytest.raises(TrainingFaultError) as second:
        train.train_translator(config, *SITES, tmp_path, cpu(), seed=0)
    assert str(first.value) == str(second.value)
    assert checks(tmp_path) == seen
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrainingFaultWarning)
        train.train_translator(watched(on_fault="warn"), *SITES, tmp_path, cpu(), seed=0)
    assert len(checks(tmp_path)) == 8


@pytest.mark.usefixtures("inverted_with_seed_0")
def test_another_seed_is_tried_and_the_folder_says_which_won_and_why(healthy: Path, tmp_path: Path) -> None:
    config = watched(on_fault="stop", restarts=2)
    snapshots = train.train_translator(config, *SITES, tmp_path, cpu(), seed=0)
    record = json.loads((tmp_path / RECORD).read_text())
    assert (record["seed"], record["finished"]) == (1, True)
    assert [(one["seed"], one["reason"].split(": ")[1].split(" ")[0]) for one in record["stopped"]] == [(0, "inverted")]
    assert checks(tmp_path / "stopped" / "seed-0")[-1]["persisting"] == ["inverted"]
    assert (tmp_path / "stopped" / "seed-0" / "snapshots").is_dir()
    assert not (tmp_path / "stopped" / "seed-0" / "state").exists()
    assert [s.name for s in snapshots] == [s.name for s in list_snapshots(healthy)]
    won, alone = (read_newest_checkpoint(folder / "state") for folder in (tmp_path, healthy))
    assert won is not None
    assert alone is not None
    assert all(torch.equal(tensor, alone[0][name]) for name, tensor in won[0].items())
    with pytest.raises(RunError, match="seed changed"):
        train.train_translator(config, *SITES, tmp_path, cpu(), seed=5)


@pytest.mark.usefixtures("inverted_with_seed_0")
def test_a_restart_that_was_killed_half_way_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = watched(on_fault="stop", restarts=1)

    def killed(_folder: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as cut:
        cut.setattr("hemabridge.translators.attempts.drop_checkpoints", killed)
        with pytest.raises(KeyboardInterrupt):
            train.train_translator(config, *SITES, tmp_path, cpu(), seed=0)
    assert json.loads((tmp_path / RECORD).read_text())["seed"] == 1
    train.train_translator(config, *SITES, tmp_path, cpu(), seed=0)
    assert json.loads((tmp_path / RECORD).read_text())["finished"] is True
    assert checks(tmp_path / "stopped" / "seed-0")[-1]["persisting"] == ["inverted"]


class CutError(Exception):
    pass


@dataclasses.dataclass(frozen=True, eq=False)
class CutBatches(UnpairedBatches):
    """Batches that end as a killed process does."""

    def __call__(self, images: int) -> Iterator[Batch]:
        for number, batch in enumerate(super().__call__(images)):
            if images + 4 * number == 68:
                raise CutError
            yield batch


def test_a_cut_run_sees_what_an_uncut_one_sees_and_watching_changes_nothing(
    healthy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = watched(on_fault="stop")
    train.train_translator(watched(on_fault="ignore"), *SITES, tmp_path / "unwatched", cpu(), seed=1)
    with monkeypatch.context() as cut:
        cut.setattr(train, "UnpairedBatches", CutBatches)
        cut.setattr(train, "LoopConfig", lambda **values: LoopConfig(**values, checkpoint_every_seconds=1e-9))
        with pytest.raises(CutError):
            train.train_translator(config, *SITES, tmp_path / "cut", cpu(), seed=1)
    train.train_translator(config, *SITES, tmp_path / "cut", cpu(), seed=1)
    assert checks(tmp_path / "cut") == checks(healthy)
    assert checks(tmp_path / "unwatched") == []
    folders = healthy, tmp_path / "cut", tmp_path / "unwatched"
    states = [read_newest_checkpoint(folder / "state") for folder in folders]
    whole, *others = (found[0] for found in states if found is not None)
    assert all(torch.equal(tensor, other[name]) for other in others for name, tensor in whole.items())


class Fixed(nn.Module):
    """Stands for a generator: a gain and a shift."""

    def __init__(self, gain: float, shift: float) -> None:
        super().__init__()
        self.gain, self.shift = nn.Parameter(torch.tensor(gain)), nn.Parameter(torch.tensor(shift))

    def forward(self, images: Tensor) -> Tensor:
        return self.gain * images + self.shift


def dog(to_target: nn.Module, to_source: nn.Module, **changes: object) -> Watchdog:
    model = CycleGan(MODEL)
    model.nets = {"to_target": to_target, "to_source": to_source}
    config = WatchdogConfig(cells=4, **changes)  # type: ignore[arg-type]
    return watchdog_for(config, model, SITES[0].images, SITES[1].images, 16, 1000)


def test_a_cycle_that_hides_the_image_in_what_nobody_sees_is_told() -> None:
    honest = dog(Fixed(0.8, 0.1), Fixed(1 / 0.8, -0.1 / 0.8)).check(20, [])
    assert honest["faults"] == []
    hiding = dog(Fixed(1e-3, 0.2), Fixed(1e3, -0.2e3)).check(20, [])
    assert hiding["faults"] == ["constant", "hidden information"]


def test_an_idle_beginning_is_no_fault_and_an_idle_run_is() -> None:
    idle = dog(Fixed(1.0, 0.0), Fixed(1.0, 0.0))
    assert idle.check(240, [])["faults"] == []
    assert idle.check(260, [])["faults"] == ["idle"]
    same = watchdog_for(WatchdogConfig(), idle.model, SITES[0].images, SITES[0].images, 16, 1000)
    assert same.check(260, [])["faults"] == []


def test_a_judge_that_knows_every_fake_is_told_after_ten_steps() -> None:
    watchdog = dog(Fixed(0.8, 0.1), Fixed(1 / 0.8, -0.1 / 0.8))
    steps = [
        {"kind": "step", "images": n, "losses": {"discriminator_source": 0.2, "discriminator_target": 0.001}}
        for n in range(10)
    ]
    assert watchdog.check(100, steps)["faults"] == ["silent discriminator"]
    assert watchdog.check(100, steps[1:])["faults"] == []
    assert watchdog.check(100, [*steps[1:], {**steps[0], "losses": {"discriminator_target": 0.3}}])["faults"] == []


def test_a_fault_counts_once_it_was_seen_so_often_in_a_row() -> None:
    watchdog = dog(Fixed(-1.0, 0.0), Fixed(-1.0, 0.0), on_fault="stop", patience=3)
    events: list[dict[str, object]] = []
    verdicts = []
    for images in (10, 20, 30):
        events.append({"kind": "watch", "images": images, **watchdog.check(images, events)})
        verdicts.append(watchdog.verdict(events))
    assert verdicts[:2] == [None, None]
    assert verdicts[2] == "after 30 images of training: inverted (bright and dark are exchanged)"
    assert [event["persisting"] for event in events] == [[], [], ["inverted"]]
    interrupted = [events[0], {**events[1], "faults": []}]
    assert watchdog.check(30, interrupted)["persisting"] == []


def test_looking_leaves_nets_and_random_numbers_as_they_are() -> None:
    nets = nn.Sequential(Fixed(0.9, 0.0), nn.Dropout(0.5)).train(), Fixed(1.0, 0.0).eval()
    watchdog = dog(*nets)
    state = torch.get_rng_state()
    first, second = watchdog.check(10, []), watchdog.check(10, [])
    assert first == second
    assert torch.equal(torch.get_rng_state(), state)
    assert (nets[0].training, nets[1].training) == (True, False)
    assert all(p.requires_grad for net in nets for p in net.parameters())


def test_restarts_need_a_watchdog_that_stops() -> None:
    with pytest.raises(ValidationError, match='expected on_fault = "stop" with restarts'):
        WatchdogConfig(restarts=1)


def test_the_cells_are_the_central_squares() -> None:
    found = watchdog_for(WatchdogConfig(cells=2), CycleGan(MODEL), SITES[0].images, SITES[1].images, 8, 100).source
    np.testing.assert_array_equal(found, SITES[0].images[[0, -1], 4:12, 4:12])
    assert to_network(found).shape == (2, 3, 8, 8)


@pytest.mark.slow
def test_a_healthy_cyclegan_raises_no_alarm(tmp_path: Path) -> None:
    def cells(hospital: str, seed: int) -> CellSet:
        images, labels = simulate_cells(("neutrophil", "lymphocyte"), 12, HOSPITALS[hospital], seed, 36)
        names = tuple(f"{hospital}{number}" for number in range(len(images)))
        return CellSet(images, labels, ("neutrophil", "lymphocyte"), names, names, 36)

    watchdog = WatchdogConfig(on_fault="stop", every_images=40)
    changes = {"load_px": 36, "crop_px": 32, "epoch_images": 40, "watchdog": watchdog}
    config = PRESETS["cyclegan-demo"].config.model_copy(update=changes)
    train.train_translator(config, cells("yellow-field", 1), cells("clinic-like", 2), tmp_path, cpu(), seed=0)
    found = checks(tmp_path)
    assert len(found) == 6
    assert [check["faults"] for check in found[1:]] == [[]] * 5
