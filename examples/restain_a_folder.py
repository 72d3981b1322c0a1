"""Re-stain a folder of images into the colors of another hospital."""

# %% Two folders of images. Here they are simulated; take your own instead.
import tempfile
from pathlib import Path

from PIL import Image

import hemabridge as hb
from hemabridge.data.simulate import HOSPITALS, simulate_cells

work = Path(tempfile.mkdtemp(prefix="hemabridge-"))
theirs, ours, restained = work / "theirs", work / "ours", work / "restained"
for seed, (folder, hospital) in enumerate([(theirs, "yellow-field"), (ours, "clinic-like")]):
    folder.mkdir()
    cells, _ = simulate_cells(["neutrophil", "lymphocyte", "monocyte"], 8, HOSPITALS[hospital], seed, 96)
    for number, cell in enumerate(cells):
        Image.fromarray(cell).save(folder / f"cell-{number:02d}.png")

# %% Fit a normalizer on both. No label is needed.
normalizer = hb.fit_normalizer(
    "optical-density",
    source=map(hb.read_image, sorted(theirs.glob("*.png"))),
    target=map(hb.read_image, sorted(ours.glob("*.png"))),
)

# %% Keep the normalizer. `hemabridge standardize normalizer.json FOLDER OUT` uses the same file.
(work / "normalizer.json").write_text(normalizer.to_json(), encoding="utf-8")

# %% Open it, as any other model, and re-stain file by file, at any size.
model = hb.open_model(work / "normalizer.json")
restained.mkdir()
for path in sorted(theirs.glob("*.png")):
    Image.fromarray(model(hb.read_image(path))).save(restained / path.name)

# %% Compare the colors.
for name in (theirs, restained, ours):
    images = [hb.read_image(path) for path in sorted(name.glob("*.png"))]
    red, green, blue = (round(sum(image[..., band].mean() for image in images) / len(images)) for band in range(3))
    print(f"{name.name:>10}: {len(images)} images, mean color ({red}, {green}, {blue})")
