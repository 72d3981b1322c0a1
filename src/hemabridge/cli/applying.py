"""The commands that apply a finished model to images of a hospital: classify and drift."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hemabridge.cli.app import Address, EngineChoice, app
from hemabridge.cli.crops import CropUm, in_pixels
from hemabridge.cli.progress_bars import shown_progress

if TYPE_CHECKING:
    from hemabridge.workflows.classify.classify import Classified


@app.command()
def classify(
    model: Annotated[
        Path,
        typer.Argument(
            help="A classifier: a snapshot, or a run folder of `train` (its last snapshot is taken). A classifier of "
            "another program: a TOML file that describes it, or an ONNX or safetensors file with --class."
        ),
    ],
    folder: Annotated[Path, typer.Argument(help="Folder of images that show one cell each; it is not changed.")],
    out: Annotated[Path, typer.Argument(help="Folder for predictions.csv and predictions.json.")],
    snapshot: Annotated[str | None, typer.Option(help="Name of a snapshot of the run folder.")] = None,
    crop_px: Annotated[
        int | None,
        typer.Option(
            min=8, help="Square around a cell in these images [default: as in training, else the largest square]."
        ),
    ] = None,
    crop_um: CropUm = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            metavar="NAME",
            help="Classifier of another program: the class of an output. Give one for each, in their order.",
        ),
    ] = None,
    architecture: Annotated[
        str | None,
        typer.Option(
            metavar="TIMM", help="Safetensors of another program: the timm model to which the weights belong."
        ),
    ] = None,
    engine: EngineChoice = "local",
    address: Address = None,
) -> None:
    """Classify a folder of images by one classifier, without a study.

    predictions.csv has a row for each image: its class and the probability of each class, or the reason why there is
    none. If the images are out-of-distribution for the model, the classes are withheld.
    """
    from hemabridge.engines import opened_engine
    from hemabridge.models import open_model
    from hemabridge.workflows.classify.classify import classify as run

    crop_px = in_pixels(crop_px, crop_um, folder)
    opened = open_model(model, snapshot=snapshot, crop_px=crop_px, classes=classes, architecture=architecture)
    with opened_engine(engine, address) as where, shown_progress() as progress:
        done = run(opened, folder, out, engine=where, progress=progress)
    _print_classified(done, folder, out)
    if done.failed or done.withheld:
        raise typer.Exit(1)


def _print_classified(done: "Classified", folder: Path, out: Path) -> None:
    from hemabridge.cli.printing import print_site, print_unknown, print_unusable
    from hemabridge.evaluation.home_failure import first_words
    from hemabridge.workflows.classify.classify import PREDICTIONS, WITHHELD

    for words in first_words([] if done.failure is None else [done.failure]):
        print(words)
    failed = (row for row in done.rows if row.predicted is None and row.reason != WITHHELD)
    print_unusable([(row.path, row.reason) for row in failed], "failed")
    print(
        f"{len(done.rows)} images: {done.predicted} classified, {done.unknown} unknown, {done.failed} failed, "
        f"{done.withheld} withheld. See {out / PREDICTIONS}."
    )
    print_unknown(done.unknown, len(done.rows))
    if done.site is None:
        print("The model does not describe the site of its training: it is unknown whether it fits these images.")
    print_site(folder, done.site)


@app.command()
def drift(
    model: Annotated[
        Path,
        typer.Argument(help="A snapshot, a run folder (its last snapshot is taken), or a normalizer's JSON file."),
    ],
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER...",
            help="Folders of images with a date in their names, or one folder that holds such folders.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for drift.csv and drift.png.")] = Path("drift"),
    crop_px: Annotated[
        int | None, typer.Option(min=8, help="Square around a cell in these images [default: as in training].")
    ] = None,
    crop_um: CropUm = None,
) -> None:
    """Draw a control chart of a hospital's distance from the training data over time. Exits with 1 on an alarm."""
    from hemabridge.cli.printing import print_left_out_of
    from hemabridge.workflows.drift import CHART
    from hemabridge.workflows.drift import drift as run

    with shown_progress() as progress:
        found = run(model, folders, out, crop_px=in_pixels(crop_px, crop_um, folders[0]), progress=progress)
    print_left_out_of(*folders)
    if found.guess:
        print(f"dates: {found.guess}", file=sys.stderr)
    for point in found.points:
        alarm = f"  ALARM ({point.alarm})" if point.alarm else ""
        print(
            f"{point.date or point.folder}: {point.answer}, distance {point.distance:.2f} over {point.images} images, "
            f"average {point.ewma:.2f} of at most {point.limit:.2f}{alarm}"
        )
    if found.alarms:
        first = found.alarms[0]
        print(
            f"The site has drifted; first alarm: {first.folder}. Do not trust the model after that; see {out / CHART}."
        )
        raise typer.Exit(1)
    print(f"No drift over {len(found.points)} folders; see {out / CHART}.")
