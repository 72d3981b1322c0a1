from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from hemabridge.classifiers.classifier import NetworkClassifier
from hemabridge.classifiers.network import ClassifierNetwork
from hemabridge.classifiers.preprocessing import Preprocessing
from hemabridge.data.cells import CellSet
from hemabridge.ensemble.config import LearnedLutConfig
from hemabridge.ensemble.fitted import FittedEnsemble
from hemabridge.ensemble.lut_learning import can_learn_lut, learn_lut, learn_lut_from
from hemabridge.ensemble.lut_objective import Shifts
from hemabridge.ensemble.members import Member
from hemabridge.errors import InputError, ModelError
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.normalizers.catalog import normalizer_from_json
from hemabridge.normalizers.color_table import NODES
from hemabridge.normalizers.table_normalizer import LearnedLut, as_table
from hemabridge.training.run_context import RunContext, start_fabric

SIZE = 16
CONFIG = LearnedLutConfig(images=2400, learning_rate=0.01, nearness=0.1, smoothness=0.1)


def reddish_or_bluish() -> NetworkClassifier:
    """A network that looks at mean color alone: class 0 is redder than blue."""
    head = nn.Linear(3, 2)
    with torch.no_grad():
        head.weight[:] = torch.tensor([[8.0, 0.0, -8.0], [-8.0, 0.0, 8.0]])
        head.bias[:] = 0
    body = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    plain = Preprocessing(size_px=SIZE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    return NetworkClassifier(ClassifierNetwork(body, head), plain, ("a", "b"), "mean color")


def cells(colors: NDArray[np.int64], labels: NDArray[np.int64], seed: int) -> CellSet:
    """Discs of one color each on white glass."""
    rng = np.random.default_rng(seed)
    images = np.full((len(colors), SIZE, SIZE, 3), 245, np.int64)
    images[:, 2:14, 2:14] = colors[:, None, None, :]
    noisy = np.clip(images + rng.integers(-4, 5, images.shape), 0, 255).astype(np.uint8)
    names = tuple(f"{seed}-{number}" for number in range(len(colors)))
    return CellSet(noisy, labels, ("a", "b"), names, names, SIZE)


def site(shades: tuple[tuple[int, int, int], tuple[int, int, int]], count: int, seed: int) -> CellSet:
    labels = np.arange(count) % 2
    return cells(np.array(shades)[labels], labels, seed)


def accuracy(classifier: NetworkClassifier, images: UInt8Images, labels: NDArray[np.int64]) -> float:
    return float(np.mean(classifier.probabilities(images).argmax(axis=1) == labels))


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> LearnedLut:
    return learn_one(tmp_path_factory.mktemp("learned"))


TARGET_SHADES = ((190, 120, 130), (130, 120, 190))
SWAPPED_SHADES = ((100, 140, 170), (170, 140, 100))
"""At the source class a is the bluer one: no method that matches colors alone can know."""


def context(folder: Path) -> RunContext:
    return RunContext(folder, start_fabric("cpu"), seed=0)


def learn_one(folder: Path) -> LearnedLut:
    source = site(SWAPPED_SHADES, 40, seed=1)
    prediction = np.eye(2, dtype=np.float32)[source.labels] * 0.8 + 0.1
    target = site(TARGET_SHADES, 40, seed=2).images
    return learn_lut_from(CONFIG, reddish_or_bluish(), source, prediction, target, context(folder))


def test_classifier_predicts_what_it_should_of_cells_that_were_not_seen(learned: LearnedLut) -> None:
    held_out, classifier = site(SWAPPED_SHADES, 40, seed=3), reddish_or_bluish()
    assert accuracy(classifier, held_out.images, held_out.labels) == 0.0
    assert accuracy(classifier, learned.standardize(held_out.images), held_out.labels) == 1.0


def test_classifier_itself_stays_as_it_is(tmp_path: Path) -> None:
    classifier, source = reddish_or_bluish(), site(SWAPPED_SHADES, 8, seed=1)
    before = {name: tensor.clone() for name, tensor in classifier.network.state_dict().items()}
    prediction = np.full((8, 2), 0.5, np.float32)
    short = CONFIG.model_copy(update={"images": 24})
    learn_lut_from(short, classifier, source, prediction, source.images, context(tmp_path))
    after = classifier.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_same_seed_gives_the_same_table(learned: LearnedLut, tmp_path: Path) -> None:
    assert learn_one(tmp_path) == learned


def test_table_is_read_back_from_its_file(learned: LearnedLut) -> None:
    assert normalizer_from_json(learned.to_json()) == learned
    with pytest.raises(ModelError, match="learned_for"):
        normalizer_from_json(learned.model_copy(update={"learned_for": "me"}).to_json())


def test_network_looks_colors_up_as_the_normalizer_does() -> None:
    rng = np.random.default_rng(0)
    nodes = rng.uniform(40, 215, (NODES**3, 3))
    start = nodes.reshape(NODES, NODES, NODES, 3).transpose(3, 2, 1, 0) / 255
    shifts = Shifts(torch.from_numpy(np.ascontiguousarray(start, np.float32)), 3)
    images = rng.integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)
    images[:, :2] = 255  # the field is white, so that the white point changes nothing
    table = LearnedLut(target_white=(255.0, 255.0, 255.0), table=as_table(nodes), learned_for="0" * 64)
    with torch.no_grad():
        found = shifts(torch.from_numpy(images.transpose(0, 3, 1, 2) / np.float32(255)))
    # One half by rounding; the rest is the fixed point in which the normalizer looks colors up.
    assert np.abs(found.numpy().transpose(0, 2, 3, 1) * 255 - table.standardize(images)).max() < 0.58


def test_only_a_network_that_sees_color_has_a_table(tmp_path: Path) -> None:
    shape = reddish_or_bluish()
    shape.preprocessing = shape.preprocessing.model_copy(update={"view": "shape"})
    source, half = site(SWAPPED_SHADES, 8, seed=1), np.full((8, 2), 0.5, np.float32)
    assert not can_learn_lut(shape)
    with pytest.raises(InputError, match="of the color view"):
        learn_lut_from(CONFIG, shape, source, half, source.images, context(tmp_path))
    with pytest.raises(InputError, match=r"a prediction \[8, 2\]"):
        learn_lut_from(CONFIG, reddish_or_bluish(), source, half[:7], source.images, context(tmp_path))


def test_table_follows_the_ensemble(tmp_path: Path) -> None:
    source, short = site(SWAPPED_SHADES, 8, seed=1), CONFIG.model_copy(update={"images": 24})
    classifier, table = reddish_or_bluish(), learn_one(tmp_path / "table")
    fitted = FittedEnsemble((Member(reddish_or_bluish()),), (), {"learned": table})
    found = learn_lut(short, classifier, fitted, source, source.images, context(tmp_path / "one"))
    prediction = fitted.predict(source.images)
    assert found == learn_lut_from(short, classifier, source, prediction, source.images, context(tmp_path / "other"))
    classifier.classes = ("b", "a")
    with pytest.raises(InputError, match="expected a classifier of a, b"):
        learn_lut(short, classifier, fitted, source, source.images, context(tmp_path))


def test_two_sets_of_images_alone_make_no_table() -> None:
    images = site(TARGET_SHADES, 4, seed=0).images
    with pytest.raises(InputError, match="learned_lut"):
        LearnedLut.fit(images, images)
