"""What each part of `standardize` on a folder of JPEGs costs, as a multiple of decoding and encoding the same files.

    python benchmarks/folder_parts.py                    linear-ot and macenko, 1,000 files of 360 px
    python benchmarks/folder_parts.py --method sliced-ot --files 10000

CPU time of one thread. The files and the floor are those of `folder_speed.py`; the floor is measured before and after
each method, and the mean counts. A part that others contain is counted once, in the outermost one.
"""

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from folder_speed import FITTED, LEARNED_LUT, apart, run_apart, write_cells

METHODS = ("linear-ot", "macenko")
REST = "all else"
MISSING = object()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1000, help="number of JPEGs in the folder")
    parser.add_argument("--method", action="append", choices=(*FITTED, LEARNED_LUT), help="may be given several times")
    chosen = parser.parse_args()
    methods = tuple(chosen.method or METHODS)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        apart(write_cells, work / "in", chosen.files)
        found = [in_multiples(work, method) for method in methods]
    print("| part |" + "".join(f" `{method}` |" for method in methods))
    print("| --- |" + " ---: |" * len(methods))
    for part in (*found[0], "sum"):
        shares = [sum(own.values()) if part == "sum" else own[part] for own in found]
        print(f"| {part} |" + "".join(f" {share:.2f} |" for share in shares))


def in_multiples(work: Path, method: str) -> dict[str, float]:
    """Return the CPU time of each part, in multiples of the floor."""
    before = run_apart("floor", work)["cpu"]
    seconds = parts_of(work, method)
    floor = (before + run_apart("floor", work)["cpu"]) / 2
    return {part: own / floor for part, own in seconds.items()}


class Clock:
    """Adds up the CPU time of functions that it replaces, in classes and modules."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._is_inside = False
        self._replaced: list[tuple[Any, str, Any]] = []

    def replace(self, part: str, owner: Any, name: str) -> None:
        """Replace a function by one that is timed."""
        self._replaced.append((owner, name, vars(owner).get(name, MISSING)))
        setattr(owner, name, self._timed(part, getattr(owner, name)))

    def restore(self) -> None:
        """Put the functions back."""
        for owner, name, original in self._replaced:
            if original is MISSING:
                delattr(owner, name)
            else:
                setattr(owner, name, original)

    def _timed(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            if self._is_inside:
                return work(*arguments, **named)
            self._is_inside, start = True, time.process_time()
            try:
                return work(*arguments, **named)
            finally:
                self.seconds[part] += time.process_time() - start
                self._is_inside = False

        self.seconds[part] = 0
        return timed


class OneThread:
    """An engine of one thread, whatever the job asks for."""

    def in_order(
        self, work: Callable[..., Any], make: object, items: Sequence[Any], threads: int = 1, task_items: int = 1
    ) -> Iterator[Any]:
        """Yield `work` of each item, in their order."""
        from hemabridge.imaging.threads import in_order

        return in_order(work, items, 1)


def parts_of(work: Path, method: str) -> dict[str, float]:
    """Re-stain the folder in this process, and return the CPU seconds of each part."""
    from hemabridge.fields.whole_field import FieldCheck
    from hemabridge.imaging.scale import CropSpec
    from hemabridge.models import open_model, restaining
    from hemabridge.workflows.standardize import log, one_image, standardize

    model = open_model(work / f"{method}.json")
    kind, clock = type(model.restaining.header), Clock()  # type: ignore[attr-defined]
    clock.replace("read and decode", one_image, "read_file")
    clock.replace("encode", one_image, "encoded_like")
    clock.replace("cut the cell's square and shrink it to the size of the fit", CropSpec, "cut")
    clock.replace("measure its white point", kind, "measure")
    clock.replace("map the colors", kind, "_restained_by")
    clock.replace("is it gray?", restaining, "is_gray")
    clock.replace("write, and rename", one_image, "write_bytes")
    clock.replace("wait for the disk, and write the log", log.LogAppender, "_write")
    clock.replace("is it a whole field? (24 files)", FieldCheck, "of")
    clock.replace("is the hospital known? (60 files)", standardize, "write_answer")
    clock.replace("list the folder", standardize, "list_images")
    try:
        start = time.process_time()
        standardize.standardize_with(model, work / "in", work / f"out-{method}", engine=OneThread())
        taken = time.process_time() - start
    finally:
        clock.restore()
    return dict(clock.seconds) | {REST: taken - clock.seconds.total()}


if __name__ == "__main__":
    main()
