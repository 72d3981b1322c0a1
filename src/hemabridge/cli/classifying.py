"""The command that classifies a folder by one classifier."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from hemabridge.cli.app import app


@app.command()
def classify(
    model: Annotated[
        Path,
        typer.Argument(
            help="A classifier: a snapshot, or a run folder of `train`, of which the last snapshot is taken; or one of "
            "another program: a TOML file that describes it, or an ONNX or safetensors file with --class."
        ),
    ],
    folder: Annotated[Path, typer.Argument(help="Folder of images that show one cell each; it is not changed.")],
    out: Annotated[Path, typer.Argument(help="Folder for predictions.csv and predictions.json.")],
    snapshot: Annotated[str | None, typer.Option(help="Which snapshot of the run folder, by name.")] = None,
    crop_px: Annotated[
        int | None,
        typer.Option(
            min=8, help="Square around a cell in these images [default: as in training, else the largest square]."
        ),
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            metavar="NAME",
            help="Another program's classifier: a class, in the order of its outputs. Give each one.",
        ),
    ] = None,
    architecture: Annotated[
        str | None, typer.Option(metavar="TIMM", help="The timm model that another program's safetensors belong to.")
    ] = None,
) -> None:
    """Classify a folder of images by one classifier, without a study.

    predictions.csv has a row for each image: its class and the probability of each class, or the reason why there is
    none. Images unlike those that the model was trained on get no class.
    """
    from hemabridge.cli.progress_bars import shown_progress
    from hemabridge.evaluation.home_failure import first_words
    from hemabridge.models import open_model
    from hemabridge.workflows.classify import PREDICTIONS, WITHHELD
    from hemabridge.workflows.classify import classify as run

    opened = open_model(model, snapshot=snapshot, crop_px=crop_px, classes=classes, architecture=architecture)
    with shown_progress() as progress:
        done = run(opened, folder, out, progress=progress)
    for words in first_words([] if done.failure is None else [done.failure]):
        print(words)
    for row in done.rows:
        if row.predicted is None and row.reason != WITHHELD:
            print(f"failed: {row.path}: {row.reason}", file=sys.stderr)
    print(
        f"{len(done.rows)} images: {done.predicted} classified, {done.failed} failed, {done.withheld} withheld. "
        f"See {out / PREDICTIONS}."
    )
    if done.site is None:
        print("The model's file does not say which site it was trained on: whether it fits these images is not known.")
    else:
        print(f"{folder}: {done.site.text}", file=sys.stdout if done.site.answer == "in-distribution" else sys.stderr)
    if done.failed or done.withheld:
        raise typer.Exit(1)
