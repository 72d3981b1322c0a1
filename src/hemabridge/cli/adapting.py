"""The two commands of daily life: adapt and run."""

import sys
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hemabridge.cli.app import KeepIdentity, app
from hemabridge.cli.progress_bars import shown_progress
from hemabridge.cli.training import Device, needs_training

if TYPE_CHECKING:
    from hemabridge.workflows.adapt.apply import Run


Foundation = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Weights of a foundation model of blood cells, such as DinoBloom S, B or L (safetensors): one more "
        "classifier, of which the last layer alone is trained.",
    ),
]


@app.command()
def adapt(
    ours: Annotated[
        Path,
        typer.Argument(
            help="Your own labeled cells: a folder with a folder of images for each class, or a manifest. An image "
            "shows one cell."
        ),
    ],
    new: Annotated[Path, typer.Argument(help="Folder of images of the other hospital; no label is needed or read.")],
    out: Annotated[Path, typer.Option(help="Run folder, for everything that is made.")],
    weights: Annotated[
        str | None,
        typer.Option(
            help="Pretrained weights of timm's mobilenetv2_100: `download` from the Hugging Face hub, or a safetensors "
            "file [default: random, which costs much accuracy]."
        ),
    ] = None,
    also: Annotated[
        list[Path] | None,
        typer.Option(help="A further labeled hospital to learn from, such as a public collection. May be repeated."),
    ] = None,
    foundation: Foundation = None,
    seed: Annotated[int, typer.Option(help="Seed of the split and of the trainings.", min=0)] = 0,
    device: Device = "auto",
) -> None:
    """Adapt to another hospital: your labeled cells, its unlabeled images, and each gets a class.

    Takes ten minutes on two idle cores, longer on busy ones, and 100 MB. RUN/results/predictions.csv has a row for
    each image, with predicted_class and uncertainty; RUN/results/restained has the images. For its next images:
    `hemabridge run RUN FOLDER OUT`.
    """
    needs_training()
    from hemabridge.training.run_context import start_fabric
    from hemabridge.workflows.adapt.adapt import RESULTS
    from hemabridge.workflows.adapt.adapt import adapt as run_adapt
    from hemabridge.workflows.adapt.config import AdaptConfig, members

    further = None if foundation is None else foundation.resolve()
    config = AdaptConfig.of_members(members(_first_weights(weights), further))
    with shown_progress() as progress:
        adapted, done = run_adapt(
            ours,
            new,
            out,
            config=config,
            also=tuple(also or ()),
            seed=seed,
            fabric=start_fabric(device),
            progress=progress,
        )
    for line in adapted.lines():
        print(line)
    _print_run(done, out / RESULTS)
    print(f"For more images of {adapted.source}: hemabridge run {out} FOLDER OUT")


def _first_weights(weights: str | None) -> Literal["download"] | Path | None:
    """Return where training begins, from the option --weights."""
    from hemabridge.errors import InputError

    if weights is None:
        print("training begins from random weights, which costs much accuracy; see --weights", file=sys.stderr)
        return None
    if weights == "download":
        return "download"
    if not Path(weights).is_file():
        meant = "; did you mean --weights download?" if get_close_matches(weights.lower(), ["download"]) else ""
        what = "a folder" if Path(weights).is_dir() else "no such file"
        raise InputError(f"expected `download` or a safetensors file for --weights, got {weights}, {what}{meant}")
    return Path(weights).resolve()


@app.command()
def run(
    adapted: Annotated[
        Path, typer.Argument(metavar="RUN", help="Run folder of `hemabridge adapt`, or a bundle of `export`.")
    ],
    folder: Annotated[Path, typer.Argument(help="Folder of images of the other hospital; it is not changed.")],
    out: Annotated[Path, typer.Argument(help="Folder for predictions.csv and the re-stained images.")],
    keep_identity: KeepIdentity = False,
) -> None:
    """Re-stain and classify a folder of images of a hospital to which `adapt` has adapted.

    predictions.csv has a row for each image: its class, or the reason why there is none, and what the morphology guard
    says of the re-stained image. If the images are of neither hospital, the classes are withheld.
    """
    from hemabridge.workflows.adapt.apply import run as run_adapted

    with shown_progress() as progress:
        done = run_adapted(adapted, folder, out, keep_identity=keep_identity, progress=progress)
    for line in done.cautions:
        print(line, file=sys.stderr)
    _print_run(done, out)
    if done.classified.failed or done.classified.withheld:
        raise typer.Exit(1)


def _print_run(done: "Run", out: Path) -> None:
    from hemabridge.cli.printing import print_unknown, print_unusable
    from hemabridge.workflows.adapt.apply import PREDICTIONS, RESTAINED
    from hemabridge.workflows.classify.classify import WITHHELD

    classified, restained = done.classified, done.restained
    failed = (row for row in classified.rows if row.predicted is None and row.reason != WITHHELD)
    print_unusable([(row.path, row.reason) for row in failed], "failed")
    if classified.site is not None and (classified.site.answer != "in-distribution" or classified.site.of_few):
        print(classified.site.text, file=sys.stderr)
    print(
        f"{len(classified.rows)} images: {classified.predicted} classified, {classified.unknown} unknown, "
        f"{classified.failed} failed, {classified.withheld} withheld: {out / PREDICTIONS}"
    )
    print_unknown(classified.unknown, len(classified.rows))
    print(
        f"{restained.count('restained')} re-stained, of which the guard refuses {restained.count_verdict('refuse')} "
        f"and warns of {restained.count_verdict('warn')}: {out / RESTAINED}"
    )
