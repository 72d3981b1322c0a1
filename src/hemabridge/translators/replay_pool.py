"""The pool of earlier fakes that the discriminators are shown (Shrivastava et al. 2017, doi:10.1109/CVPR.2017.241)."""

import torch
from torch import Tensor


class ReplayPool:
    """Keeps up to `size` images, float[3, H, W]; random choices come from torch's global generator.

    Until the pool is full each new image is stored and returned. Then, per image and with probability 1/2, a random
    stored image is returned and the new one takes its place; otherwise the new one is returned. Size 0 returns all.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.images: list[Tensor] = []

    def query(self, fakes: Tensor) -> Tensor:
        """Return float[B, 3, H, W] to discriminator, for the new float[B, 3, H, W] without gradient."""
        if self.size == 0:
            return fakes
        return torch.stack([self._exchange(fake) for fake in fakes.detach()])

    def _exchange(self, fake: Tensor) -> Tensor:
        if len(self.images) < self.size:
            self.images.append(fake.clone())
            return fake
        if torch.rand(()) < 0.5:
            return fake
        place = int(torch.randint(self.size, ()))
        old, self.images[place] = self.images[place], fake.clone()
        return old.to(fake.device)  # a restored pool is on the CPU

    def state_dict(self) -> dict[str, Tensor]:
        """Return the stored images as one tensor; nothing while there are none."""
        return {"images": torch.stack(self.images)} if self.images else {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self.images = list(state["images"].clone()) if state else []
