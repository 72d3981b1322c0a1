"""The commands on whole fields of a microscope: find."""

from pathlib import Path
from typing import Annotated

import typer

from hemabridge.cli.app import app
from hemabridge.cli.progress_bars import shown_progress


@app.command()
def find(
    fields: Annotated[Path, typer.Argument(help="Folder of images of whole fields; it is not changed.")],
    out: Annotated[
        Path, typer.Argument(help="Folder for crops, tables and overlays: new, or that of an earlier call.")
    ],
    site: Annotated[
        str | None, typer.Option(help="Name of the hospital in the manifest [default: the name of FIELDS].")
    ] = None,
    um_per_px: Annotated[
        float | None,
        typer.Option(min=0.001, max=10, help="Micrometers per pixel of all fields [default: from their red cells]."),
    ] = None,
    crop_um: Annotated[float, typer.Option(min=5, max=200, help="Side of the crops in micrometers.")] = 25.0,
) -> None:
    """Find the leukocytes of whole fields, and cut each out into an image of its own.

    OUT gets manifest.csv for the other commands, cells.csv (place, size and score of each cell), fields.csv (a row for
    each file, with the reason where a field is not fit for a count), and pictures with rings in _overlays. Exits with 1
    if a file cannot be read or the scale of a field is unknown.
    """
    from hemabridge.cli.printing import print_left_out, print_unusable
    from hemabridge.workflows.find.find import find as run

    with shown_progress() as progress:
        done = run(fields, out, site=site, um_per_px=um_per_px, crop_um=crop_um, progress=progress)
    print_left_out(done.left_out)
    for status in ("unreadable", "unknown scale", "empty", "blurred", "crowded"):
        print_unusable([(row.field, row.reason) for row in done.fields if row.status == status], status)
    searched = [row for row in done.fields if row.status != "left out"]
    print(
        f"{len(searched)} fields: {done.count('searched')} searched, {done.count('empty')} empty, "
        f"{done.count('blurred')} blurred, {done.count('crowded')} crowded, {done.count('unknown scale')} of unknown "
        f"scale, {done.count('unreadable')} unreadable."
    )
    border, platelets = sum(row.border for row in searched), sum(row.platelets for row in searched)
    print(f"{done.cells} leukocytes ({border} cut by the border of a field), {platelets} platelets. See {out}.")
    if done.count("unreadable") or done.count("unknown scale"):
        raise typer.Exit(1)
