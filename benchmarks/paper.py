"""The paper's three blocks at reduced size, on simulated hospitals: its own two recipes, its tables beside ours.

    python benchmarks/paper.py [--out runs/paper]      simulate, train, test; print each table of the paper beside ours
    python benchmarks/paper.py --cost 11.9             what the full size costs, at so many seconds for a CycleGAN step

`recipes/paper.toml` and `recipes/synthesis-paper.toml` are run as they are, but for the changes that are printed: small
images, few channels, short epochs, smaller residual networks, and random weights in the place of ImageNet's. Abnormal
and reactive lymphocytes and blasts come from the simulator, in the counts of the paper's Tables 1 to 3, divided. Block
1 has the paper's 200 epochs, of which 10, 15, 20, 25 and 200 are tested. A second call goes on where the first was
stopped. `python benchmarks/speed.py --paper` measures the seconds of a step.
"""

import argparse
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from hemabridge.cli import main as hemabridge
from hemabridge.data.manifest import make_manifest, write_manifest
from hemabridge.data.simulate import HOSPITALS, Cell, render
from hemabridge.imaging.files import write_image
from hemabridge.storage.files import sha256_of
from hemabridge.training.snapshots import last_snapshot, snapshot_files
from paper_tables import (
    BLOCK_3,
    CLINIC,
    HGTP,
    Counts,
    divided,
    print_block_1,
    print_block_3,
    print_cost,
    print_counts,
    print_figure_5,
    print_fine_tuning,
    print_table_4,
)

ROOT: Final = Path(__file__).resolve().parents[1]
SIMULATED: Final = {"normal_lymphocyte": "lymphocyte", "smzl": "abnormal_lymphocyte", "mcl": "abnormal_lymphocyte"}
"""Which simulated class stands for one that the simulator does not have; both lymphomas look the same there."""

EARLIER: Final = "clinic-resnet34"
"""The training of the network that stands for ResNet34_NoSIND."""

CLINIC_SEED, HGTP_SEED, EARLIER_SEED, BLOCK_3_SEED = 1, 2, 3, 4
"""No cell of one set is in another."""


@dataclass(frozen=True)
class Size:
    """How far everything is reduced.

    Attributes:
        image_px: side of images and of training crops; the paper's are 256.
        channels, blocks, layers: of generators and discriminators; the paper's are 64, 9 and 3.
        epoch_images, block_3_images: steps of an epoch; the paper's Block 1 has 3,000, its Block 3 800 to 1,040.
        block_1_epochs: epochs of Block 1, of which 10, 15, 20, 25 and the last are tested; the paper's are 200.
        block_3_epochs: epochs of Block 3; the paper's are 200.
        resnet_18, resnet_34: what stands for these networks.
        epochs: of the classifiers on the target.
        again: of the second fine-tuning.
        clinic, hgtp, block_3: what the counts of Tables 1, 2 and 3 are divided by.
        earlier: training cells of each class of the network that the hospital had before.
        learning_rate: of the classifiers; a range test costs more than these trainings.
    """

    image_px: int = 32
    channels: int = 4
    blocks: int = 1
    layers: int = 1
    epoch_images: int = 2
    block_3_images: int = 2
    block_1_epochs: int = 200
    block_3_epochs: int = 20
    resnet_18: str = "test_resnet"
    resnet_34: str = "test_byobnet"
    epochs: int = 12
    again: int = 4
    clinic: int = 20
    hgtp: int = 4
    block_3: int = 40
    earlier: int = 40
    learning_rate: float = 1e-3


REDUCED: Final = Size()
"""For a minute or two of one core: every step runs. The networks learn too little for their figures to mean much."""

SMALLEST: Final = replace(
    REDUCED,
    epoch_images=1,
    block_1_epochs=30,
    block_3_images=1,
    block_3_epochs=2,
    epochs=1,
    again=1,
    clinic=40,
    block_3=80,
    earlier=8,
)
"""For tests: the same tables, of fewer steps and images."""


def main() -> None:
    """Run all blocks, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/paper"))
    parser.add_argument(
        "--cost", type=float, metavar="SECONDS", help="of one step; only print what the full size costs"
    )
    args = parser.parse_args()
    if args.cost is not None:
        print_cost(args.cost)
        return
    run_paper(args.out, REDUCED)


def run_paper(out: Path, size: Size) -> None:
    """Do Blocks 1 to 3 in `out`, and print every table."""
    print_counts(size.clinic, size.hgtp, size.block_3)
    simulate_sites(out, size)
    run("train", earlier_recipe(out, size), "--out", out / EARLIER)
    run_study(out, size)
    print_block_1(out / "study")
    print_table_4(out / "study")
    print_figure_5(out / "study")
    print_fine_tuning(out / "study")
    changes = synthesis_changes(out, size)
    run("synthesize", ROOT / "recipes" / "synthesis-paper.toml", "--out", out / "block-3", *changes)
    print_block_3(out / "block-3")


def run_study(out: Path, size: Size) -> None:
    """Do Blocks 1 and 2."""
    sites = ("--source", out / "hgtp", "--target", out / "clinic")
    run("study", ROOT / "recipes" / "paper.toml", *sites, "--out", out / "study", *study_changes(out / EARLIER, size))


def run(*arguments: str | Path) -> None:
    """Run a command of hemabridge in this process, and print it as one would type it.

    Raises:
        SystemExit: the command failed.
    """
    told = [str(argument) for argument in arguments]
    print(f"\n$ hemabridge {shlex.join(told)}", flush=True)
    before, sys.argv = sys.argv, ["hemabridge", *told]
    try:
        hemabridge()
    except SystemExit as ended:
        if ended.code:
            raise
    finally:
        sys.argv = before


def simulate_sites(out: Path, size: Size) -> None:
    """Simulate the cells of Tables 1, 2 and 3, and those of the earlier network, unless they are there."""
    simulate_site(out / "clinic", "clinic-like", divided(CLINIC, size.clinic), CLINIC_SEED, size.image_px)
    simulate_site(out / "hgtp", "yellow-field", divided(HGTP, size.hgtp), HGTP_SEED, size.image_px)
    earlier = {name: {"train": size.earlier, "test": max(4, size.earlier // 8)} for name in sorted(CLINIC)}
    simulate_site(out / "clinic-earlier", "clinic-like", earlier, EARLIER_SEED, size.image_px)
    simulate_site(out / "clinic-block-3", "clinic-like", divided(BLOCK_3, size.block_3), BLOCK_3_SEED, size.image_px)


def simulate_site(folder: Path, hospital: str, counts: Counts, seed: int, size_px: int) -> None:
    """Write `FOLDER/CLASS/CELL.png` and a manifest that is split as the paper's table says."""
    manifest = folder / "manifest.csv"
    if manifest.is_file():
        return
    columns: dict[str, list[str | int]] = {name: [] for name in ("path", "site", "class", "split", "sha256")}
    next_index: dict[str, int] = {}
    for class_name, parts in counts.items():
        kind = SIMULATED.get(class_name, class_name)
        for part, number in parts.items():
            for _ in range(number):
                cell = Cell(kind, seed, next_index.setdefault(kind, 0))
                next_index[kind] += 1
                path = folder / class_name / f"{cell.cell_id}.png"
                write_image(path, render(cell, HOSPITALS[hospital], size_px))
                values = (path.relative_to(folder).as_posix(), folder.name, class_name, part, sha256_of(path))
                for column, value in zip(columns.values(), values, strict=True):
                    column.append(value)
    write_manifest(make_manifest(columns, folder), manifest)


def earlier_recipe(out: Path, size: Size) -> Path:
    """Write the recipe of what stands for ResNet34_NoSIND: the hospital trained it before, on other cells."""
    path = out / f"{EARLIER}.toml"
    path.write_text(
        f'kind = "classifier"\nname = "{EARLIER}"\nsize_px = {size.image_px}\n'
        f'[site]\nsite = "clinic-earlier"\nmanifest = "clinic-earlier/manifest.csv"\ncrop_px = "whole"\n'
        f'[classifier]\narchitecture = "{size.resnet_34}"\nsize_px = {size.image_px}\nepochs = {size.epochs}\n'
        f"learning_rate = {size.learning_rate}\n",
        encoding="utf-8",
    )
    return path


def study_changes(earlier: Path, size: Size) -> list[str]:
    """Return what is changed of `recipes/paper.toml`."""
    snapshot = last_snapshot(snapshot_files(earlier)).resolve()
    return as_options(
        translator_changes(size, size.epoch_images, size.block_1_epochs)
        | {f"classifiers.*.train.{key}": value for key, value in classifier_changes(size).items()}
        | {f"classifiers.{name}.train.architecture": size.resnet_18 for name in ("ResNet18", "ResNet18 focal")}
        | {f"classifiers.{name}.train.architecture": size.resnet_34 for name in ("ResNet34", "ResNet34 focal")}
        | {
            "classifiers.ResNet34_NoSIND.external.file": snapshot,
            "classifiers.ResNet34_NoSIND.external.architecture": size.resnet_34,
            "classifiers.ResNet34_NoSIND.external.preprocessing.size_px": size.image_px,
            "source_fine_tuning.epochs": size.again,
            "tested_epochs": [10, 15, 20, 25, size.block_1_epochs],
        }
    )


def synthesis_changes(out: Path, size: Size) -> list[str]:
    """Return what is changed of `recipes/synthesis-paper.toml`."""
    manifest = (out / "clinic-block-3" / "manifest.csv").resolve()
    changes: dict[str, object] = {
        "site": f'{{ site = "clinic-block-3", manifest = "{manifest}", crop_px = "whole" }}',
        **translator_changes(size, size.block_3_images, size.block_3_epochs),
    }
    for section, architecture in (("scorer", size.resnet_34), ("second", size.resnet_18)):
        own = classifier_changes(size) | {"architecture": architecture}
        changes |= {f"{section}.{key}": value for key, value in own.items()}
    return as_options(changes)


def translator_changes(size: Size, epoch_images: int, epochs: int) -> dict[str, object]:
    """Return smaller networks and images, and shorter epochs, of which half have a constant learning rate."""
    return {
        "translator.load_px": size.image_px * 286 // 256,
        "translator.crop_px": size.image_px,
        "translator.epoch_images": epoch_images,
        "translator.constant_epochs": epochs // 2,
        "translator.decay_epochs": epochs // 2,
        "translator.model.generator.channels": size.channels,
        "translator.model.generator.blocks": size.blocks,
        "translator.model.discriminator.channels": size.channels,
        "translator.model.discriminator.layers": size.layers,
    }


def classifier_changes(size: Size) -> dict[str, object]:
    """Return smaller images, and random weights, with enough epochs for them."""
    return {
        "weights": "random",
        "size_px": size.image_px,
        "epochs": size.epochs,
        "learning_rate": size.learning_rate,
    }


def as_options(changes: Mapping[str, object]) -> list[str]:
    """Return `--set key=value` for each change."""
    return [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]


if __name__ == "__main__":
    main()
