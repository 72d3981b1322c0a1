from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import softmax

from hemabridge.classifiers.classifier import Classifier, NetworkClassifier, align_classes
from hemabridge.classifiers.header import ClassifierHeader
from hemabridge.classifiers.network import new_network
from hemabridge.classifiers.preprocessing import Preprocessing
from hemabridge.errors import ModelError
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.models import open_model
from hemabridge.training.snapshots import write_snapshot
from hemabridge.training.tensorfile import read_header


class Fixed:
    """Says the same of every cell."""

    name = "fixed"

    def __init__(self, **shares: float) -> None:
        self.classes = tuple(shares)
        self.shares = np.array(list(shares.values()), np.float32)

    def probabilities(self, images: UInt8Images) -> np.ndarray:
        return np.repeat(self.shares[None], len(images), axis=0)


def a_classifier() -> NetworkClassifier:
    torch.manual_seed(0)
    network = new_network("test_efficientnet", 32, 3)
    torch.nn.init.normal_(network.head.weight)
    return NetworkClassifier(network, Preprocessing(size_px=32), ("a", "b", "c"), "it")


def some_images(count: int, size_px: int = 32) -> UInt8Images:
    return np.random.default_rng(0).integers(0, 256, (count, size_px, size_px, 3), dtype=np.uint8)


def test_probabilities_are_the_softmax_of_the_network() -> None:
    classifier, images = a_classifier(), some_images(5)
    before = images.copy()
    found = classifier.probabilities(images)
    network = classifier.network
    with torch.inference_mode():
        expected = torch.softmax(network.head(network.body(torch.from_numpy(Preprocessing(size_px=32)(images)))), 1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)
    assert np.ptp(found, axis=0).max() > 1e-3  # it looks at the images
    assert np.array_equal(images, before)
    assert isinstance(classifier, Classifier)


def test_features_are_what_the_head_judges() -> None:
    classifier, images = a_classifier(), some_images(70)  # more than one batch
    features = classifier.features(images)
    head = classifier.network.head
    assert features.shape == (70, head.in_features)
    logits = features @ head.weight.numpy().T + head.bias.numpy()
    np.testing.assert_allclose(softmax(logits, axis=1), classifier.probabilities(images), atol=1e-5)
    assert classifier.features(images[:0]).shape == (0, head.in_features)


def test_a_cell_is_judged_alike_alone_and_among_others() -> None:
    classifier, images = a_classifier(), some_images(70)  # more than one batch
    together = classifier.probabilities(images)
    np.testing.assert_allclose(classifier.probabilities(images[66:67])[0], together[66], atol=1e-6)
    assert np.array_equal(classifier.probabilities(images), together)
    assert classifier.probabilities(images[:0]).shape == (0, 3)


def test_a_snapshot_is_rebuilt_from_its_file_alone(tmp_path: Path) -> None:
    classifier = a_classifier()
    nets = {"body": classifier.network.body, "head": classifier.network.head}
    raw = {f"{name}/{key}": tensor for name, net in nets.items() for key, tensor in net.state_dict().items()}
    about = {
        "kind": "classifier",
        "config": {"architecture": "test_efficientnet", "weights": "file-that-is-gone.safetensors"},
        "preprocessing": {"size_px": 32},
        "classes": ["a", "b", "c"],
    }
    path = write_snapshot(tmp_path, 8, 1.0, raw, None, about).path
    rebuilt = open_model(path).classifier
    assert np.array_equal(rebuilt.probabilities(some_images(3)), classifier.probabilities(some_images(3)))
    assert (rebuilt.name, rebuilt.classes) == ("test_efficientnet", ("a", "b", "c"))


def test_the_snapshot_of_something_else_is_refused(tmp_path: Path) -> None:
    path = write_snapshot(tmp_path, 8, 1.0, {"net/w": torch.ones(1)}, None, {"kind": "translator"}).path
    with pytest.raises(ModelError, match="expected the snapshot of a classifier, got that of a translator"):
        ClassifierHeader.of(read_header(path), path)


def test_alignment_chooses_reorders_and_renormalizes() -> None:
    aligned = align_classes(Fixed(blast=0.5, neutrophil=0.1, lymphocyte=0.4), ["lymphocyte", "neutrophil"])
    assert aligned.classes == ("lymphocyte", "neutrophil")
    assert aligned.name == "fixed"
    np.testing.assert_allclose(aligned.probabilities(some_images(2)), [[0.8, 0.2]] * 2, atol=1e-6)


def test_alignment_of_equal_classes_changes_nothing() -> None:
    classifier = Fixed(a=0.3, b=0.7)
    assert align_classes(classifier, ("a", "b")) is classifier


def test_a_cell_given_wholly_to_another_class_gets_equal_shares() -> None:
    aligned = align_classes(Fixed(blast=1.0, neutrophil=0.0, lymphocyte=0.0), ["lymphocyte", "neutrophil"])
    assert aligned.probabilities(some_images(1)).tolist() == [[0.5, 0.5]]


def test_alignment_refuses_a_class_that_the_classifier_lacks() -> None:
    with pytest.raises(ModelError, match="fixed lacks monocyte; its classes are a, b"):
        align_classes(Fixed(a=0.5, b=0.5), ("a", "monocyte"))
