from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from toy import cpu

from hemabridge.data.cells import CellSet
from hemabridge.errors import InputError, RunError
from hemabridge.models import open_model
from hemabridge.normalizers.white_point import WhitePoint
from hemabridge.training.snapshots import read_snapshot
from hemabridge.translators.config import TranslatorConfig
from hemabridge.translators.distillation import Distillation, PairedBatches
from hemabridge.translators.objective_config import CycleGanConfig, DistillationConfig
from hemabridge.translators.presets import PRESETS
from hemabridge.translators.student import Fidelity, compared, distill, read_fidelities

QUICK = PRESETS["distillation"].config.model_copy(
    update={"load_px": 16, "crop_px": 16, "epoch_images": 80, "constant_epochs": 4, "decay_epochs": 4}
)


class Swapped:
    """A teacher whose every image is known: red and blue change places, and all gets a fifth darker."""

    def standardize(self, images: np.ndarray) -> np.ndarray:
        return np.rint(images[..., ::-1] * 0.8).astype(np.uint8)


def cells(count: int = 20, size_px: int = 16) -> CellSet:
    rng = np.random.default_rng(0)
    return CellSet(
        images=rng.integers(0, 256, (count, size_px, size_px, 3), dtype=np.uint8),
        labels=np.zeros(count, np.int64),
        classes=("any",),
        ids=tuple(f"{number}.png" for number in range(count)),
        hashes=tuple(f"{number:064x}" for number in range(count)),
        crop_px=size_px,
    )


def test_the_student_learns_what_the_teacher_does(tmp_path: Path) -> None:
    snapshots = distill(QUICK, Swapped(), "teacher", cells(), tmp_path, cpu(), seed=0)
    fidelity = read_fidelities(tmp_path)[snapshots[-1].name]
    assert fidelity.cells == 2
    assert fidelity.delta_e_2000 < 0.4 * fidelity.change_delta_e_2000
    unseen = cells(24).images[20:]
    student = open_model(snapshots[-1].path).cell_standardizer().standardize(unseen).astype(float)
    wanted = Swapped().standardize(unseen).astype(float)
    assert np.abs(student - wanted).mean() < 0.4 * np.abs(unseen - wanted).mean()


def test_a_resumed_run_ends_at_the_same_weights_and_keeps_what_was_measured(tmp_path: Path) -> None:
    def stop(stage: str, done: int, _: int) -> None:
        if stage == "training" and done >= 72:
            raise KeyboardInterrupt

    config = QUICK.model_copy(update={"epoch_images": 16, "snapshot_every_epochs": 2})
    whole = distill(config, Swapped(), "teacher", cells(), tmp_path / "whole", cpu(), seed=0)
    with pytest.raises(KeyboardInterrupt):
        distill(config, Swapped(), "teacher", cells(), tmp_path / "cut", cpu(), seed=0, progress=stop)
    resumed = distill(config, Swapped(), "teacher", cells(), tmp_path / "cut", cpu(), seed=0)
    assert [snapshot.name for snapshot in resumed] == [snapshot.name for snapshot in whole]
    first, second = (read_snapshot(run[-1].path)[0] for run in (whole, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert read_fidelities(tmp_path / "whole") == read_fidelities(tmp_path / "cut")


def test_another_teacher_is_another_run(tmp_path: Path) -> None:
    short = QUICK.model_copy(update={"epoch_images": 8, "constant_epochs": 1, "decay_epochs": 1})
    distill(short, Swapped(), "teacher", cells(), tmp_path, cpu(), seed=0)
    with pytest.raises(RunError, match="teacher changed"):
        distill(short, Swapped(), "another", cells(), tmp_path, cpu(), seed=0)


def test_held_out_cells_are_never_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[PairedBatches] = []
    made = PairedBatches.__call__

    def watched(batches: PairedBatches, images: int) -> object:
        seen.append(batches)
        return made(batches, images)

    monkeypatch.setattr(PairedBatches, "__call__", watched)
    short = QUICK.model_copy(update={"epoch_images": 8, "constant_epochs": 1, "decay_epochs": 1})
    distill(short, Swapped(), "teacher", cells(), tmp_path, cpu(), seed=0)
    trained = {image.tobytes() for image in seen[0].source}
    assert len(trained) == 18
    assert sum(image.tobytes() not in trained for image in cells().images) == 2


def test_pairs_are_cut_and_mirrored_alike_and_each_comes_once_an_epoch() -> None:
    source = cells(6, 8).images
    batches = PairedBatches(source, 255 - source, 5, 2, seed=3)
    drawn = list(islice(batches(0), 3))
    for batch in drawn:
        torch.testing.assert_close(batch["source"], -batch["target"])
        assert batch["source"].shape == (2, 3, 5, 5)
    numbers = [batches._number(place) for place in range(12)]
    assert sorted(numbers[:6]) == sorted(numbers[6:]) == list(range(6))
    assert torch.equal(next(batches(4))["source"], drawn[2]["source"])


def test_the_loss_is_the_mean_absolute_difference_by_hand() -> None:
    model = Distillation(DistillationConfig(l1_weight=2.0))
    source, target = torch.full((1, 3, 2, 2), 0.25), torch.full((1, 3, 2, 2), -0.5)
    terms = model.student_losses(model.forward({"source": source, "target": target}))
    assert terms["l1_target"].item() == pytest.approx(2.0 * 0.75)  # a new student changes nothing


def test_fidelity_by_hand() -> None:
    black, gray = np.zeros((2, 4, 4, 3), np.uint8), np.full((2, 4, 4, 3), 51, np.uint8)
    found = compared(gray, black, black)
    assert found.psnr_db == pytest.approx(20 * np.log10(5))
    assert compared(gray, gray, black) == Fidelity(
        2, pytest.approx(58.92, abs=0.01), 0.0, pytest.approx(found.delta_e_2000)
    )


def test_a_normalizer_is_a_teacher_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    field = np.full((3, 16, 16, 3), (240, 225, 150), np.uint8)
    white = np.full((3, 16, 16, 3), (245, 240, 235), np.uint8)
    normalizer = WhitePoint.fit(field, white)
    source = np.clip(field + rng.integers(-30, 10, field.shape), 0, 255).astype(np.uint8)
    set_of = cells(12)
    tinted = CellSet(np.repeat(source, 4, axis=0), set_of.labels, ("any",), set_of.ids, set_of.hashes, 16)
    snapshots = distill(QUICK, normalizer, "teacher", tinted, tmp_path, cpu(), seed=0)
    fidelity = read_fidelities(tmp_path)[snapshots[-1].name]
    assert fidelity.delta_e_2000 < 0.3 * fidelity.change_delta_e_2000


@pytest.mark.parametrize(
    ("config", "set_of", "told"),
    [
        (QUICK, cells(1), "two or more cells of 16 px"),
        (QUICK, cells(4, 20), "got 4 of 20 px"),
        (TranslatorConfig(model=CycleGanConfig(), load_px=16, crop_px=16), cells(), "got 'cyclegan'"),
    ],
    ids=["one-cell", "size", "model"],
)
def test_what_cannot_be_distilled_is_refused(
    config: TranslatorConfig, set_of: CellSet, told: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=told):
        distill(config, Swapped(), "teacher", set_of, tmp_path, cpu(), seed=0)


def test_two_sites_without_pairs_are_refused() -> None:
    images = cells().images
    with pytest.raises(InputError, match='kind = "distillation" at the top'):
        Distillation(DistillationConfig()).measure_sites(images, images)
