"""Whether fewer measured images of a folder change the answer for a model's site, as a Markdown table.

    python benchmarks/measured_images.py            simulated hospitals: about a minute

Each hospital's profile is measured on half of its cells; folders are drawn from the other half of every hospital's
cells, `DRAWS` of each size. A row counts pairs of profile and folder by the answer, and those with the same answers as
folders of the largest size.
"""

import argparse
from collections import Counter

import numpy as np

from hemabridge.data.simulate import CLASSES, HOSPITALS, simulate_cells
from hemabridge.domain.site_profile import Descriptors, SiteProfile, descriptors_of

SIDE_PX = 64
SIZES = (40, 60, 100, 200)
DRAWS = 4


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hospitals", nargs="+", choices=list(HOSPITALS), default=list(HOSPITALS))
    chosen = parser.parse_args()
    profiles: dict[str, SiteProfile] = {}
    folders: dict[str, Descriptors] = {}
    for seed, name in enumerate(chosen.hospitals):
        cells, _ = simulate_cells(CLASSES, -(-2 * max(SIZES) // len(CLASSES)), HOSPITALS[name], seed, SIDE_PX)
        profile = SiteProfile.of(cells[::2], SIDE_PX)
        assert profile is not None
        profiles[name], folders[name] = profile, descriptors_of(cells[1::2])
    answers = {size: answers_at(size, profiles, folders) for size in SIZES}
    print("| measured images | in-distribution | borderline | out-of-distribution | the same as with the most |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    for size, found in answers.items():
        same = sum(one == other for one, other in zip(found, answers[max(SIZES)], strict=True))
        counts = Counter(found)
        held = " | ".join(str(counts[name]) for name in ("in-distribution", "borderline", "out-of-distribution"))
        print(f"| {size} | {held} | {same} of {len(found)} |")


def answers_at(size: int, profiles: dict[str, SiteProfile], folders: dict[str, Descriptors]) -> list[str]:
    """Return the answers of all profiles for all folders, `DRAWS` times."""
    rng = np.random.default_rng(0)
    draws = [(name, rng.permutation(len(rows))[:size]) for name, rows in folders.items() for _ in range(DRAWS)]
    return [profile.distance(folders[name][rows]).answer for profile in profiles.values() for name, rows in draws]


if __name__ == "__main__":
    main()
