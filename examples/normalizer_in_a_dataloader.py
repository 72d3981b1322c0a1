"""Use a normalizer as a transform in a PyTorch data set, re-stained in the worker processes of a DataLoader."""

# %% Images of two hospitals. Here they are simulated; read your own with `hb.read_image`.
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

import hemabridge as hb
from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.imaging.standardizer import UInt8Images

CLASSES = ["neutrophil", "lymphocyte", "monocyte"]


class Cells(Dataset[tuple[Tensor, int]]):
    """Labeled cells of one hospital, with a transform."""

    def __init__(self, images: UInt8Images, labels: list[int], transform: v2.Transform) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.images[index]), self.labels[index]


def main() -> None:
    """Fit a normalizer and load re-stained batches."""
    theirs, labels = simulate_cells(CLASSES, 8, HOSPITALS["yellow-field"], 1, 96)
    ours, _ = simulate_cells(CLASSES, 8, HOSPITALS["clinic-like"], 2, 96)

    # %% The normalizer takes uint8 images, so it stands before the scaling to float.
    normalizer = hb.fit_normalizer("linear-ot", theirs, ours)
    transform = v2.Compose([normalizer, v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])

    # %% Workers re-stain in parallel.
    loader = DataLoader(Cells(theirs, labels.tolist(), transform), batch_size=8, num_workers=2)
    for batch, classes in loader:
        print(f"{tuple(batch.shape)}, mean {batch.mean():.3f}, {[CLASSES[label] for label in classes]}")


# %% Where processes are spawned, workers import this file: what starts them must be guarded.
if __name__ == "__main__":
    main()
