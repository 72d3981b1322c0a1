"""Near duplicates: how many planted copies are found, and how many images of different cells are taken for one.

Copies are planted of real images: saved again as JPEG, mirrored, turned, brighter, resized, cropped, and shifted views
of one field. Each goes through `hemabridge.data.audit.duplicates.same_fields` together with all other images of its
laboratory. A false alarm is an image that is grouped with one that shows another cell, where the groups of the images
without planted copies count as known: they are printed, to be looked at, and left out (one image of each stays).

The threshold was chosen on `clinic-a` (every second image of Clinic) and BCCD. `clinic-b`, Tecom and Raabin-WBC were
not looked at for it.

    python benchmarks/near_duplicates.py --data ../shared/data --site clinic-b --images 1000 --planted 200
    python benchmarks/near_duplicates.py --data ../shared/data --time 10000
"""

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hemabridge.data.audit.duplicates import SameField, Sketch, same_fields, sketch
from hemabridge.imaging.files import read_image

Picture = NDArray[np.uint8]

FOLDERS = {
    "clinic-a": "clinic/*/*.jpg",
    "clinic-b": "clinic/*/*.jpg",
    "bccd": "bccd/fields/*.jpg",
    "tecom": "tecom/[!_]*/*.bmp",
    "raabin": "raabin/[!_]*/*.jpg",
}


def jpeg(image: Picture, quality: int) -> Picture:
    """Return the image as a JPEG shows it."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def resized(image: Picture, factor: float) -> Picture:
    """Return the image resized by a factor."""
    height, width = image.shape[:2]
    picture = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(picture.resize((round(width * factor), round(height * factor)), Image.Resampling.BICUBIC))


def cropped(image: Picture, share: float, rng: np.random.Generator) -> Picture:
    """Return a crop of that share of the sides at a random place."""
    height, width = (round(side * share) for side in image.shape[:2])
    top, left = (
        int(rng.integers(0, whole - part + 1)) for whole, part in zip(image.shape[:2], (height, width), strict=True)
    )
    return image[top : top + height, left : left + width]


def symmetric(image: Picture, rng: np.random.Generator) -> Picture:
    """Return the image in one of its eight symmetries, never as it is."""
    which = int(rng.integers(1, 8))
    turned = np.rot90(image, which % 4)
    return turned[:, ::-1] if which >= 4 else turned


PLANTED: dict[str, Callable[[Picture, np.random.Generator], Picture]] = {
    "JPEG, quality 60": lambda image, _: jpeg(image, 60),
    "mirrored or turned by 90 degrees": symmetric,
    "turned by any angle": lambda image, rng: np.asarray(
        Image.fromarray(image).rotate(float(rng.uniform(10, 350)), Image.Resampling.BICUBIC, fillcolor=(230, 225, 220))
    ),
    "resized by 0.8": lambda image, _: resized(image, 0.8),
    "resized by 1.25, mirrored or turned": lambda image, rng: symmetric(resized(image, 1.25), rng),
    "brightness 0.8 or 1.2": lambda image, rng: np.clip(image * rng.choice([0.8, 1.2]), 0, 255).astype(np.uint8),
    "crop of 90 % of the side": lambda image, rng: cropped(image, 0.9, rng),
    "crop of 80 %, mirrored or turned": lambda image, rng: symmetric(cropped(image, 0.8, rng), rng),
    "crop of 70 %": lambda image, rng: cropped(image, 0.7, rng),
    "crop of 70 %, turned, resized, JPEG": lambda image, rng: jpeg(
        resized(symmetric(cropped(image, 0.7, rng), rng), 1.25), 75
    ),
}
CORNERS = "two crops of 80 %, opposite corners"


def listed(data: Path, site: str, most: int, rng: np.random.Generator) -> list[Path]:
    """Return the images of a site, at most so many, drawn at random."""
    files = sorted(data.glob(FOLDERS[site]))
    if site.startswith("clinic"):
        files = files[0 if site.endswith("a") else 1 :: 2]
    return [files[i] for i in sorted(rng.permutation(len(files))[:most])]


def opposite(image: Picture) -> tuple[Picture, Picture]:
    """Return the crops of 80 % of the side at the upper left and the lower right."""
    height, width = (round(0.8 * side) for side in image.shape[:2])
    return image[:height, :width], image[-height:, -width:]


def measure(files: list[Path], planted: int, rng: np.random.Generator) -> None:
    """Print what is found among the images alone, and with planted copies."""
    images = [read_image(path) for path in files]
    started = time.process_time()
    sketches = [sketch(image) for image in images]
    sketched = time.process_time()
    known = same_fields(sketches)
    print(
        f"{len(files)} images: {sketched - started:.0f} s to sketch, {time.process_time() - sketched:.0f} s to compare"
    )
    print(f"groups among the images themselves: {len(known)}")
    for group in known:
        print(f"  {group.correlation:.3f}", *(str(Path(*files[i].parts[-2:])) for i in group.positions))
    repeated = {i for group in known for i in group.positions[1:]}
    kept = [i for i in range(len(files)) if i not in repeated]
    chosen = [kept[i] for i in rng.permutation(len(kept))[: min(planted, len(kept))]]
    base, copies, kinds = _plant(images, sketches, kept, chosen, rng)
    groups = same_fields([*base, *(one for one, _ in copies)])
    _print_recall(groups, [origin for _, origin in copies], kinds, len(base))


def _plant(
    images: list[Picture], sketches: list[Sketch], kept: list[int], chosen: list[int], rng: np.random.Generator
) -> tuple[list[Sketch], list[tuple[Sketch, int]], list[str]]:
    place = {row: number for number, row in enumerate(kept)}
    base = [sketches[row] for row in kept]
    copies, kinds = [], []
    names = [*PLANTED, CORNERS]
    for number, row in enumerate(chosen):
        kind = names[number % len(names)]
        if kind == CORNERS:
            first, second = opposite(images[row])
            base[place[row]] = sketch(np.ascontiguousarray(first))
        else:
            second = PLANTED[kind](images[row], rng)
        copies.append((sketch(np.ascontiguousarray(second)), place[row]))
        kinds.append(kind)
    return base, copies, kinds


def _print_recall(groups: list[SameField], origins: list[int], kinds: list[str], n_base: int) -> None:
    group_of = {position: number for number, group in enumerate(groups) for position in group.positions}
    truth = [*range(n_base), *origins]
    for kind in dict.fromkeys(kinds):
        rows = [number for number, name in enumerate(kinds) if name == kind]
        hits = sum(group_of.get(n_base + row, -1) == group_of.get(origins[row], -2) for row in rows)
        print(f"  {kind:40s} {hits:3d} of {len(rows):3d}")
    wrong = sum(len(group.positions) for group in groups if len({truth[i] for i in group.positions}) > 1)
    print(f"  images grouped with another cell: {wrong} of {len(truth)}; lowest likeness", end=" ")
    print(min((group.correlation for group in groups), default=None))


def time_many(data: Path, n: int) -> None:
    """Print the CPU time of sketching and comparing `n` images: real ones, then turned crops of them."""
    rng = np.random.default_rng(1)
    files = [path for site in ("clinic-a", "clinic-b", "raabin", "tecom") for path in listed(data, site, n, rng)]
    started = time.process_time()
    sketches = []
    for number in range(n):
        image = read_image(files[number % len(files)])
        sketches.append(
            sketch(image if number < len(files) else np.ascontiguousarray(cropped(symmetric(image, rng), 0.8, rng)))
        )
    sketched = time.process_time()
    groups = same_fields(sketches)
    print(
        f"{n} images: {sketched - started:.0f} s to read and sketch, {time.process_time() - sketched:.0f} s to compare"
    )
    print(f"{len(groups)} groups of {sum(len(group.positions) for group in groups)} images")


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--site", choices=FOLDERS, action="append", default=[])
    parser.add_argument("--images", type=int, default=1000, help="at most so many of each site")
    parser.add_argument("--planted", type=int, default=220, help="so many copies at each site")
    parser.add_argument("--time", type=int, help="measure the time of so many images")
    asked = parser.parse_args()
    for site in asked.site:
        rng = np.random.default_rng(0)
        print(f"{site}:", flush=True)
        measure(listed(asked.data, site, asked.images, rng), asked.planted, rng)
    if asked.time:
        time_many(asked.data, asked.time)


if __name__ == "__main__":
    main()
