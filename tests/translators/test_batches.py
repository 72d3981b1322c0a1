import numpy as np
import pytest
import torch

from hemabridge.translators.batches import to_network


@pytest.mark.parametrize("view", ["whole", "mirrored", "every other row"])
def test_images_that_may_not_be_written_are_taken_without_a_warning_and_left_alone(view: str) -> None:
    """Arrays of a memory map are read-only; PyTorch warns of tensors that share their memory."""
    images = np.random.default_rng(0).integers(0, 256, (2, 6, 4, 3), dtype=np.uint8)
    images.flags.writeable = False
    shown = {"whole": images, "mirrored": images[:, :, ::-1], "every other row": images[:, ::2]}[view]
    before = shown.copy()
    torch.set_warn_always(True)  # else it warns once a process
    try:
        tensor = to_network(shown)
    finally:
        torch.set_warn_always(False)
    expected = before.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1.0
    np.testing.assert_allclose(tensor.numpy(), expected, atol=1e-6)
    assert tensor.dtype == torch.float32
    tensor.zero_()
    np.testing.assert_array_equal(shown, before)
