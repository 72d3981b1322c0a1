"""A normalizer among the transforms of torchvision: the type that comes in returns."""

from multiprocessing import Pipe
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

import hemabridge as hb
from hemabridge.errors import ImageError
from hemabridge.imaging.standardizer import UInt8Images


@pytest.fixture(scope="module")
def normalizer(theirs: UInt8Images, ours: UInt8Images) -> hb.Normalizer:
    return hb.fit_normalizer("linear-ot", theirs, ours)


def channels_first(images: UInt8Images) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, -1, -3)))


class Cells(Dataset[torch.Tensor]):
    def __init__(self, images: UInt8Images, transform: Any) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.transform(Image.fromarray(self.images[index]))


def test_an_array_an_image_and_a_tensor_return_as_they_came(normalizer: hb.Normalizer, theirs: UInt8Images) -> None:
    wanted = normalizer.standardize(theirs[:1])[0]
    assert (wanted != theirs[0]).any()
    np.testing.assert_array_equal(normalizer(theirs[0]), wanted)
    picture = normalizer(Image.fromarray(theirs[0]))
    assert picture.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(picture), wanted)
    for kind in (torch.Tensor, tv_tensors.Image):
        tensor = normalizer(channels_first(theirs[0]).as_subclass(kind))
        assert type(tensor) is kind
        assert torch.equal(tensor.as_subclass(torch.Tensor), channels_first(wanted))


def test_stacks_are_re_stained_image_by_image(normalizer: hb.Normalizer, theirs: UInt8Images) -> None:
    wanted = normalizer.standardize(theirs)
    np.testing.assert_array_equal(normalizer(theirs), wanted)
    np.testing.assert_array_equal(normalizer.transform(theirs), wanted)
    assert torch.equal(normalizer(channels_first(theirs)), channels_first(wanted))


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (Image.new("L", (4, 4)), r'got Pillow mode L; use image\.convert\("RGB"\)'),
        (np.zeros((4, 4), np.uint8), r"got uint8\[4, 4\]"),
        (np.zeros((4, 4, 3), np.float32), "re-stain before the values are scaled"),
        (np.zeros((3, 4, 4), np.uint8), r"got uint8\[3, 4, 4\]"),
        (torch.zeros(3, 4, 4), r"before v2\.ToDtype"),
        (torch.zeros(4, 4, 3, dtype=torch.uint8), r"got torch\.uint8\[4, 4, 3\]"),
        (torch.zeros(3, 0, 4, dtype=torch.uint8), r"got torch\.uint8\[3, 0, 4\]"),
        ("cell.png", r"got str; read files with hemabridge\.read_image"),
    ],
)
def test_other_images_are_refused(image: Any, told: str, normalizer: hb.Normalizer) -> None:
    with pytest.raises(ImageError, match=told):
        normalizer(image)


def test_workers_of_a_data_loader_re_stain_within_a_chain_of_transforms(
    normalizer: hb.Normalizer, theirs: UInt8Images
) -> None:
    chain = v2.Compose([normalizer, v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    batches = list(DataLoader(Cells(theirs, chain), batch_size=8, num_workers=2, multiprocessing_context="fork"))
    wanted = channels_first(normalizer.standardize(theirs)).to(torch.float32) / 255
    assert [len(batch) for batch in batches] == [8, 4]
    assert torch.allclose(torch.cat(batches), wanted, atol=1e-6, rtol=0)


def test_where_workers_are_spawned_it_travels_to_them(theirs: UInt8Images, ours: UInt8Images) -> None:
    some = ours[:2]
    for made in (
        hb.fit_normalizer("linear-ot", theirs, some),
        hb.StainNormalizer("linear-ot", target=some).fit(theirs),
    ):
        one_end, other_end = Pipe()
        one_end.send(made)
        np.testing.assert_array_equal(other_end.recv()(theirs[0]), made(theirs[0]))
