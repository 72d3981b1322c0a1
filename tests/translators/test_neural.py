from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hemabridge.errors import ModelError
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.models import open_model
from hemabridge.networks.config import ResnetGeneratorConfig
from hemabridge.networks.resnet_generator import ResnetGenerator
from hemabridge.training.snapshots import read_snapshot, weights_of, write_snapshot
from hemabridge.training.tensorfile import read_header, read_tensors, write_tensors
from hemabridge.translators.batches import from_network, to_network
from hemabridge.translators.header import TranslatorHeader
from hemabridge.translators.neural import NeuralStandardizer, directions_of


class Negative(nn.Module):
    """Turns every color into its opposite, and keeps the sizes that it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(tuple(x.shape))
        return -x


def noise(n: int, height: int, width: int) -> UInt8Images:
    return np.random.default_rng(n + height).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(12, 8), (11, 5), (1, 1)])
def test_the_generator_is_given_images_of_any_size(size: tuple[int, int]) -> None:
    generator = Negative()
    images = noise(2, *size)
    np.testing.assert_array_equal(NeuralStandardizer(generator).standardize(images), 255 - images)
    assert generator.seen == [(2, 3, *size)]


def test_images_go_through_in_batches() -> None:
    generator = Negative()
    images = noise(7, 8, 8)
    np.testing.assert_array_equal(NeuralStandardizer(generator, batch_size=3).standardize(images), 255 - images)
    assert [shape[0] for shape in generator.seen] == [3, 3, 1]


def test_no_images_give_no_images() -> None:
    generator = Negative()
    out = NeuralStandardizer(generator).standardize(noise(0, 8, 8))
    assert (out.shape, out.dtype, generator.seen) == ((0, 8, 8, 3), np.uint8, [])


def test_a_generator_is_put_to_use_not_to_training() -> None:
    generator = ResnetGenerator(ResnetGeneratorConfig(channels=2, blocks=1)).train()
    NeuralStandardizer(generator)
    assert not generator.training
    assert not any(p.requires_grad for p in generator.parameters())


@pytest.mark.parametrize("direction", ["to_target", "to_source"])
def test_a_snapshot_alone_gives_back_its_generator(small_snapshot: Path, direction: str) -> None:
    tensors, _ = read_snapshot(small_snapshot)
    generator = ResnetGenerator(ResnetGeneratorConfig(channels=4, blocks=1)).eval()
    prefix = f"{direction}/"
    generator.load_state_dict({k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)})
    images = noise(2, 16, 12)
    with torch.inference_mode():
        expected = from_network(generator(to_network(images)))
    restained = open_model(small_snapshot).cell_standardizer(direction).standardize(images)  # type: ignore[arg-type]
    np.testing.assert_array_equal(restained, expected)
    assert np.abs(restained.astype(int) - images).mean() > 5


def test_the_two_directions_differ(small_snapshot: Path) -> None:
    images = noise(1, 16, 16)
    there = open_model(small_snapshot).cell_standardizer("to_target").standardize(images)
    back = open_model(small_snapshot).cell_standardizer("to_source").standardize(images)
    assert not np.array_equal(there, back)


def test_a_direction_that_the_snapshot_has_not_is_refused(small_snapshot: Path, tmp_path: Path) -> None:
    raw, header = read_snapshot(small_snapshot)
    one_way = {name: tensor for name, tensor in raw.items() if not name.startswith("to_source/")}
    path = write_snapshot(tmp_path, 8, 1.0, one_way, None, header).path
    assert tuple(directions_of(read_snapshot(p)[0]) for p in (small_snapshot, path)) == (
        ("to_target", "to_source"),
        ("to_target",),
    )
    with pytest.raises(
        ModelError, match="expected a translator with the direction to_source, got one with only to_tar"
    ):
        open_model(path).cell_standardizer("to_source")
    assert open_model(path).cell_standardizer().standardize(noise(1, 16, 16)).shape == (1, 16, 16, 3)


def test_a_header_from_before_there_were_kinds_is_read(small_snapshot: Path, tmp_path: Path) -> None:
    tensors, header = read_tensors(small_snapshot)
    header["config"]["model"]["generator"] = {"channels": 4, "blocks": 1}
    header["config"]["model"]["discriminator"] = {"channels": 4, "layers": 1}
    del header["config"]["model"]["kind"]
    write_tensors(tmp_path / "old.safetensors", tensors, header)
    images = noise(1, 16, 16)
    old, new = (open_model(p).cell_standardizer() for p in (tmp_path / "old.safetensors", small_snapshot))
    np.testing.assert_array_equal(old.standardize(images), new.standardize(images))


def test_averaged_weights_are_taken_where_there_are_any(small_snapshot: Path, tmp_path: Path) -> None:
    raw, header = read_snapshot(small_snapshot)
    average = {name: tensor * 0.5 for name, tensor in raw.items() if name.startswith("to_")}
    both = write_snapshot(tmp_path / "both", 8, 1.0, raw, average, header).path
    alone = write_snapshot(tmp_path / "alone", 8, 1.0, average, None, header).path
    images = noise(1, 16, 16)
    with_both, with_average, with_raw = (
        open_model(path).cell_standardizer().standardize(images) for path in (both, alone, small_snapshot)
    )
    np.testing.assert_array_equal(with_both, with_average)
    assert not np.array_equal(with_both, with_raw)
    with pytest.raises(ModelError, match=r"expected the weights of a snapshot in there, got only \['optimizer'\]"):
        weights_of({"optimizer/step": torch.zeros(1)}, Path("there"))


def test_the_snapshot_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    write_tensors(path, {"raw/net/w": torch.zeros(1)}, {"kind": "classifier"})
    with pytest.raises(ModelError, match="expected the snapshot of a translator, got that of a classifier"):
        TranslatorHeader.of(read_header(path), path)
    (tmp_path / "pickle.pt").write_bytes(b"\x80\x04N.")
    with pytest.raises(ModelError, match="expected a whole safetensors file"):
        read_tensors(tmp_path / "pickle.pt")
    with pytest.raises(ModelError, match="does not exist"):
        read_tensors(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize(
    ("generator", "told"),
    [
        ({"channels": 4, "blocks": 10**9}, "blocks"),
        ({"channels": 10**6, "blocks": 1}, "channels"),
        ({"channels": 64, "blocks": 1}, "size mismatch"),
        ({"channels": 4, "blocks": 2}, "Missing key"),
        ({"kind": "oracle"}, "kind = one of"),
        ({"channels": 10**30, "blocks": 1}, "an integer of more than 64 bits"),
        ({"channels": 0}, "channels"),
    ],
)
def test_a_header_that_lies_about_the_network_takes_neither_memory_nor_time(
    small_snapshot: Path, tmp_path: Path, generator: dict[str, int], told: str
) -> None:
    tensors, header = read_tensors(small_snapshot)
    header["config"]["model"]["generator"] = generator
    write_tensors(tmp_path / "lie.safetensors", tensors, header)
    with pytest.raises(ModelError, match=rf"(?s)damaged one: .*lie\.safetensors.*{told}|{told}.*lie"):
        open_model(tmp_path / "lie.safetensors").cell_standardizer()


@pytest.mark.parametrize("spoil", [lambda t: t * float("nan"), lambda t: t.double(), lambda t: t[:1]])
def test_weights_that_cannot_re_stain_are_refused(
    small_snapshot: Path, tmp_path: Path, spoil: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    tensors, header = read_tensors(small_snapshot)
    name = next(name for name in tensors if "/to_target/" in name and tensors[name].ndim == 4)
    write_tensors(tmp_path / "spoilt.safetensors", {**tensors, name: spoil(tensors[name])}, header)
    with pytest.raises(ModelError, match=r"damaged one: .*spoilt\.safetensors"):
        open_model(tmp_path / "spoilt.safetensors").cell_standardizer()


@pytest.mark.parametrize("header", [{"kind": "translator"}, {"kind": "translator", "config": {"load_px": "x"}}])
def test_a_header_without_a_usable_configuration_is_refused(tmp_path: Path, header: dict[str, object]) -> None:
    write_tensors(tmp_path / "bare.safetensors", {"raw/to_target/w": torch.zeros(1)}, header)
    with pytest.raises(ModelError, match=r"damaged one: .*bare\.safetensors"):
        open_model(tmp_path / "bare.safetensors").cell_standardizer()
