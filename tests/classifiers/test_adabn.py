from collections.abc import Callable

import numpy as np
import pytest
import torch

from hemabridge.classifiers.adabn import adabn, with_statistics_of
from hemabridge.classifiers.classifier import NetworkClassifier
from hemabridge.classifiers.network import new_network
from hemabridge.classifiers.preprocessing import Preprocessing
from hemabridge.classifiers.protocol import AlignedClassifier, align_classes
from hemabridge.data.cells import CellSet
from hemabridge.errors import InputError


@pytest.fixture
def classifier() -> NetworkClassifier:
    torch.manual_seed(0)
    return NetworkClassifier(new_network("resnet10t", 32, 2), Preprocessing(size_px=32), ("dark", "bright"), "net")


def test_the_first_layers_statistics_are_those_of_its_input(
    classifier: NetworkClassifier, easy_cells: Callable[..., CellSet]
) -> None:
    images = easy_cells(40).images
    measured = with_statistics_of(classifier, images)
    network = classifier.network.body
    inputs = torch.from_numpy(classifier.preprocessing(images))
    seen = network.conv1[0](inputs) if isinstance(network.conv1, torch.nn.Sequential) else network.conv1(inputs)
    first = next(m for m in measured.network.body.modules() if isinstance(m, torch.nn.BatchNorm2d))
    torch.testing.assert_close(first.running_mean, seen.mean(dim=(0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(first.running_var, seen.var(dim=(0, 2, 3)), rtol=1e-4, atol=1e-5)


def test_the_original_is_left_alone_and_answers_stay_deterministic(
    classifier: NetworkClassifier, easy_cells: Callable[..., CellSet]
) -> None:
    images = easy_cells(130).images
    before = classifier.probabilities(images)
    measured = with_statistics_of(classifier, images)
    np.testing.assert_array_equal(classifier.probabilities(images), before)
    np.testing.assert_array_equal(measured.probabilities(images), measured.probabilities(images))
    assert not np.allclose(measured.probabilities(images), before)


def test_a_single_image_has_no_statistics(classifier: NetworkClassifier, easy_cells: Callable[..., CellSet]) -> None:
    with pytest.raises(InputError, match="expected two images"):
        with_statistics_of(classifier, easy_cells(1).images)


def test_any_classifier_with_batch_norm_can_be_adabn(
    classifier: NetworkClassifier, easy_cells: Callable[..., CellSet]
) -> None:
    images = easy_cells(40).images
    expected = with_statistics_of(classifier, images).probabilities(images)
    turned = adabn(align_classes(classifier, ("bright", "dark")), images)
    assert isinstance(turned, AlignedClassifier)
    assert turned.classes == ("bright", "dark")
    np.testing.assert_allclose(turned.probabilities(images), expected[:, ::-1], atol=1e-6)


def test_group_norm_has_nothing_to_measure(easy_cells: Callable[..., CellSet]) -> None:
    network = new_network("resnet18", 32, 2, "group")
    images = easy_cells(4).images
    classifier = NetworkClassifier(network, Preprocessing(size_px=32), ("dark", "bright"), "net")
    assert adabn(classifier, images) is None
    together = classifier.probabilities(images)
    alone = np.concatenate([classifier.probabilities(images[i : i + 1]) for i in range(4)])
    np.testing.assert_allclose(alone, together, atol=1e-5)
