"""Speed of pairs of ways to the same result, as a Markdown table: ONNX Runtime and PyTorch, our methods and others'.

    python benchmarks/speed_pairs.py
    pip install torchstain torch-staintools    for the rows that compare with them; they are left out without

Both ways of a pair work in one process, on one thread each, in turns, on the same simulated images. A figure is CPU
time of one image, and the ratio is the median over the turns: it hardly depends on what else the computer does. Fits
are not part of it. torchstain and torch-staintools (without its compiler and its cache) look for the dyes of each image
again, which is how they work; our methods have those of the site.
"""

import argparse
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from hemabridge.deployment.runtime import OnnxRestainer
    from hemabridge.imaging.standardizer import UInt8Images
    from hemabridge.translators.neural import NeuralStandardizer

TURNS = 3
IMAGES = 8
SIDE_PX = 256
OPSET = 20

Work = Callable[[], object]


class Pair(NamedTuple):
    """Two ways to re-stain the same images.

    Attributes:
        what: our way.
        against: the other way.
        least: how many times as long the other way must take; None: no bar.
        prepared: makes both.
        count: number of images that each call of both does.
        needs: a package without which the pair is left out; empty: none.
    """

    what: str
    against: str
    least: float | None
    prepared: Callable[[], tuple[Work, Work]]
    count: int = IMAGES
    needs: str = ""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="only pairs whose names contain this")
    wanted = parser.parse_args().only
    import torch

    torch.set_num_threads(1)
    print("| what | takes | against | takes | ratio | bar |\n| --- | ---: | --- | ---: | ---: | ---: |")
    missing = set()
    for pair in PAIRS:
        if wanted not in f"{pair.what} {pair.against}":
            continue
        if pair.needs and find_spec(pair.needs) is None:
            missing.add(pair.needs)
            continue
        print(as_row(pair, in_turns(pair)), flush=True)
    for name in sorted(missing):
        print(f"\nleft out without {name}: pip install {name.replace('_', '-')}")


def in_turns(pair: Pair) -> list[tuple[float, float]]:
    """Return CPU seconds of one image of both ways, for each turn after one to warm up."""
    ways = pair.prepared()
    found = []
    for _ in range(TURNS + 1):
        taken = []
        for way in ways:
            started = time.process_time()
            way()
            taken.append((time.process_time() - started) / pair.count)
        found.append((taken[0], taken[1]))
    return found[1:]


def as_row(pair: Pair, found: list[tuple[float, float]]) -> str:
    """Return one row of the table."""
    ours, theirs = (median(turn[place] for turn in found) for place in (0, 1))
    ratio = median(turn[1] / turn[0] for turn in found)
    bar = "" if pair.least is None else f">= {pair.least:g} x"
    return f"| {pair.what} | {1000 * ours:.1f} ms | {pair.against} | {1000 * theirs:.1f} ms | {ratio:.2f} x | {bar} |"


def networks(ours: str, theirs: str, ours_by: str = "onnx", theirs_by: str = "torch", count: int = 2) -> Any:
    """Return what makes both ways of two presets, each `onnx` or `torch`, or the name of a normalizer and `fit`."""

    def prepared() -> tuple[Work, Work]:
        images = simulated(SIDE_PX, count)
        return restaining(ours, ours_by, images), restaining(theirs, theirs_by, images)

    return prepared


def restaining(name: str, by: str, images: "UInt8Images") -> Work:
    """Return what re-stains images by a preset with random weights, or by a fitted normalizer."""
    if by == "fit":
        from hemabridge.normalizers.catalog import fit_on_cells

        fitted = fit_on_cells(name, simulated(96, 32), simulated(96, 32, "clinic-like"))
        return lambda: fitted.standardize(images)
    from hemabridge.translators.catalog import new_restainer
    from hemabridge.translators.neural import NeuralStandardizer
    from hemabridge.translators.presets import PRESETS

    eager = NeuralStandardizer(new_restainer(PRESETS[name].config.model))
    used = exported(eager, images.shape[1]) if by == "onnx" else eager
    return lambda: used.standardize(images)


def exported(eager: "NeuralStandardizer", side_px: int) -> "OnnxRestainer":
    """Return the same network in ONNX Runtime, on one thread and with all optimizations of its graph."""
    import logging
    import warnings

    import onnxruntime
    import torch

    from hemabridge.deployment.runtime import IMAGES as GIVEN
    from hemabridge.deployment.runtime import RESTAINED, OnnxRestainer

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    example = torch.zeros(1, 3, side_px, side_px)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            eager.generator.eval(),
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=(GIVEN,),
            output_names=(RESTAINED,),
            verbose=False,
        )
    assert program is not None
    content = program.model_proto.SerializeToString()
    found = OnnxRestainer(content, Path("network.onnx"))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    found.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return found


def against_torchstain(ours: str, theirs: str, side_px: int) -> Callable[[], tuple[Work, Work]]:
    """Return what makes both ways: our normalizer, and the class of torchstain (PyTorch)."""

    def prepared() -> tuple[Work, Work]:
        import torch
        import torchstain

        images, target = simulated(side_px, IMAGES), simulated(side_px, 1, "clinic-like")
        tensors = [torch.from_numpy(image).permute(2, 0, 1).float() for image in images]
        normalizer = getattr(torchstain.normalizers, theirs)(backend="torch")
        normalizer.fit(torch.from_numpy(target[0]).permute(2, 0, 1).float())
        if theirs == "MacenkoNormalizer":
            return restaining(ours, "fit", images), lambda: [normalizer.normalize(one, stains=False) for one in tensors]
        return restaining(ours, "fit", images), lambda: [normalizer.normalize(one) for one in tensors]

    return prepared


def against_staintools(ours: str, theirs: str, side_px: int) -> Callable[[], tuple[Work, Work]]:
    """Return what makes both ways: our normalizer, and that of torch-staintools."""

    def prepared() -> tuple[Work, Work]:
        import torch
        from torch_staintools.constants import CONFIG
        from torch_staintools.normalizer import NormalizerBuilder

        CONFIG.ENABLE_COMPILE = False
        images, target = simulated(side_px, IMAGES), simulated(side_px, 1, "clinic-like")
        tensors = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        normalizer = NormalizerBuilder.build(theirs)
        normalizer.fit(torch.from_numpy(target).permute(0, 3, 1, 2).float() / 255)

        def work() -> None:
            with torch.inference_mode():
                for one in tensors:
                    normalizer(one[None])

        return restaining(ours, "fit", images), work

    return prepared


def torchstain_pair(ours: str, theirs: str, side_px: int) -> Pair:
    """Return a pair with torchstain."""
    made = against_torchstain(ours, theirs, side_px)
    return Pair(f"`{ours}`, {side_px} px", f"`{theirs}` of torchstain", 1, made, needs="torchstain")


def staintools_pair(ours: str, theirs: str, side_px: int) -> Pair:
    """Return a pair with torch-staintools."""
    made = against_staintools(ours, theirs, side_px)
    return Pair(f"`{ours}`, {side_px} px", f"`{theirs}` of torch-staintools", 1, made, needs="torch_staintools")


def simulated(side_px: int, count: int, hospital: str = "yellow-field") -> "UInt8Images":
    """Return `count` simulated cells, uint8[N, S, S, 3]."""
    from hemabridge.data.simulate import CLASSES, HOSPITALS, simulate_cells

    return simulate_cells(CLASSES, -(-count // len(CLASSES)), HOSPITALS[hospital], 0, side_px)[0][:count]


TORCHSTAIN = (("reinhard-image", "ReinhardNormalizer"), ("macenko", "MacenkoNormalizer"))
STAINTOOLS = (("reinhard-image", "reinhard"), ("macenko", "macenko"), ("vahadane", "vahadane"))
ONNX, EAGER = "ONNX Runtime", "PyTorch"
PAPER = "`paper-cyclegan`"
PAIRS = (
    Pair(f"{PAPER} in {ONNX}, 256 px", f"in {EAGER}", 1.3, networks("paper-cyclegan", "paper-cyclegan"), 2),
    Pair(f"`film` in {ONNX}, 256 px", f"in {EAGER}", None, networks("film", "film", count=8)),
    Pair(f"`film` in {ONNX}, 256 px", f"{PAPER} in {EAGER}", 50, networks("film", "paper-cyclegan"), 2),
    Pair("`bilateral`, 256 px", f"{PAPER} in {EAGER}", 50, networks("bilateral", "paper-cyclegan", "torch"), 2),
    Pair("`sliced-ot`, 256 px", f"{PAPER} in {EAGER}", 50, networks("sliced-ot", "paper-cyclegan", "fit"), 2),
    *(torchstain_pair(*ways, side) for side in (96, 256) for ways in TORCHSTAIN),
    *(staintools_pair(*ways, side) for side in (96, 256) for ways in STAINTOOLS),
)


if __name__ == "__main__":
    main()
