"""Read what a study found, and ask its table."""

# %% The folder that `hemabridge study RECIPE` wrote. Here a small one with made-up numbers takes its place.
import tempfile
from pathlib import Path

import polars as pl

import hemabridge as hb
from hemabridge.evaluation.results import Row

folder = Path(tempfile.mkdtemp(prefix="hemabridge-"))
CLASSES = ("lymphocyte", "neutrophil")


def made_up(images: str, right: tuple[int, int], classifier: str) -> Row:
    """Return a row of 40 cells of each class, of which so many were classified correctly."""
    recall = {name: count / 40 for name, count in zip(CLASSES, right, strict=True)}
    rate = sum(right) / 80
    return Row(
        site="theirs",
        part="test",
        classifier=classifier,
        images=images,
        snapshot=None,
        labels_used=0,
        n=80,
        accuracy=rate,
        balanced_accuracy=rate,
        recall=recall,
        interval=(max(0.0, rate - 0.1), min(1.0, rate + 0.1)),
        mode="none",
        seed=1,
    )


rows = (
    made_up("original", (20, 28), "ResNet"),
    made_up("macenko", (30, 33), "ResNet"),
    made_up("linear-ot", (34, 36), "ResNet"),
)
(folder / "results.json").write_text(hb.StudyResults("made up", CLASSES, rows).to_json(), encoding="utf-8")

# %% Frozen results, and their rows as a polars table.
results = hb.read_study(folder)
table = results.table()
print(f"{results.name}: {table.height} rows of {', '.join(results.classes)}")

# %% Which re-staining suits which classifier best?
best = (
    table.filter(pl.col("part") == "test")
    .sort("balanced_accuracy", descending=True)
    .group_by("classifier", maintain_order=True)
    .first()
    .select("classifier", "images", "balanced_accuracy", "low", "high")
)
print(best)

# %% How much does each re-staining gain against the original images?
original = pl.col("accuracy").filter(pl.col("images") == "original").first().over("classifier")
print(table.select("classifier", "images", (pl.col("accuracy") - original).round(3).alias("gain")))
