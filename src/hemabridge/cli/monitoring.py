"""The command that watches a hospital over time: drift."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from hemabridge.cli.app import app
from hemabridge.cli.progress_bars import shown_progress


@app.command()
def drift(
    model: Annotated[
        Path,
        typer.Argument(help="A snapshot, or a run folder, of which the last one is taken; or a normalizer's JSON."),
    ],
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER...", help="Folders of images with dates in their names; or one folder of such folders."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for drift.csv and drift.png.")] = Path("drift"),
    crop_px: Annotated[
        int | None, typer.Option(min=8, help="Square around a cell in these images [default: as in training].")
    ] = None,
) -> None:
    """Draw a control chart: does the hospital still look as it did when the model was trained? Exits with 1 if not."""
    from hemabridge.cli.left_out import print_left_out_of
    from hemabridge.workflows.drift import CHART
    from hemabridge.workflows.drift import drift as run

    with shown_progress() as progress:
        found = run(model, folders, out, crop_px=crop_px, progress=progress)
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
        print(f"The site has drifted, first seen in {first.folder}. Do not trust the model there; see {out / CHART}.")
        raise typer.Exit(1)
    print(f"No drift over {len(found.points)} folders; see {out / CHART}.")
