"""How many images of folders are noticed as whole fields: `python benchmarks/notice_fields.py FOLDER ...`.

Prints for each folder how many of its images are noticed by themselves, how many with the rule for a whole folder, and
CPU milliseconds per image. Of a folder of crops nothing should be noticed, of a folder of fields everything.
"""

import argparse
import time
from pathlib import Path

from hemabridge.data.listing import list_images
from hemabridge.errors import ImageError
from hemabridge.fields.whole_field import FieldCheck, is_whole_field
from hemabridge.imaging.files import read_image
from hemabridge.sampling import evenly_spaced


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--most", type=int, default=10**9, help="number of images of a folder, evenly spaced")
    given = parser.parse_args()
    print("| folder | images | noticed by themselves | with the folder | ms |")
    print("| --- | --- | --- | --- | --- |")
    for folder in given.folders:
        listed = [folder / name for name in list_images(folder).images]
        paths = [listed[place] for place in evenly_spaced(len(listed), given.most)]
        check = FieldCheck.of(paths)
        single = together = 0
        spent = 0.0
        for path in paths:
            try:
                image = read_image(path)
            except ImageError:
                continue
            begun = time.process_time()
            alone = is_whole_field(image)
            spent += time.process_time() - begun
            single += alone
            together += alone or image.shape[:2] in check.sizes
        print(
            f"| {folder.name} | {len(paths)} | {single} | {together} | {1000 * spent / max(1, len(paths)):.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
