"""The commands on whole fields of a microscope: find, differential and check."""

import sys
from getpass import getuser
from pathlib import Path
from typing import Annotated

import typer

from hemabridge.cli.app import app
from hemabridge.cli.progress_bars import shown_progress
from hemabridge.cli.web_pages import page_of_this_computer


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
    print_unusable([(row.field, row.remark) for row in done.fields if row.remark], "remark")
    searched = [row for row in done.fields if row.status != "left out"]
    print(
        f"{len(searched)} fields: {done.count('searched')} searched, {done.count('empty')} empty, "
        f"{done.count('blurred')} blurred, {done.count('crowded')} crowded, {done.count('unknown scale')} of unknown "
        f"scale, {done.count('unreadable')} unreadable."
    )
    border, blurred, platelets = (
        sum(getattr(row, name) for row in searched) for name in ("border", "blurred", "platelets")
    )
    print(
        f"{done.cells} leukocytes ({border} cut by the border of a field, {blurred} blurred), {platelets} platelets. "
        f"See {out}."
    )
    if done.caution:
        print(done.caution, file=sys.stderr)
    if done.count("unreadable") or done.count("unknown scale"):
        raise typer.Exit(1)


@app.command()
def differential(
    model: Annotated[
        Path, typer.Argument(help="Run folder of `hemabridge adapt`, folder of a study, or file of a classifier.")
    ],
    fields: Annotated[Path, typer.Argument(help="Folder of images of whole fields of one patient; it is not changed.")],
    out: Annotated[Path, typer.Argument(help="Folder for tables, report and cells: new, or that of an earlier call.")],
    restain: Annotated[
        Path | None, typer.Option(help="Model that re-stains the cells before a classifier sees them.")
    ] = None,
    home: Annotated[
        Path | None,
        typer.Option(
            help="Labeled cells that the classifier was not trained on, a folder for each class, for its confusion "
            "[default: what the model states]."
        ),
    ] = None,
    um_per_px: Annotated[
        float | None,
        typer.Option(min=0.001, max=10, help="Micrometers per pixel of all fields [default: from their red cells]."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the intervals.")] = 0,
    language: Annotated[str, typer.Option(help="Language of the report: en or es.")] = "en",
) -> None:
    """Count the leukocytes of a patient's fields: find, re-stain, classify, and give percentages with 95 % intervals.

    The intervals hold counting error and the classifier's own confusion. OUT gets differential.csv, cells.csv and
    report.html. `hemabridge check OUT` serves a page on which an expert corrects the cells. Exits with 1 if the cells
    are out-of-distribution for the classifier: then do not trust the count.
    """
    from hemabridge.report.differential_story import first_words, sentences
    from hemabridge.workflows.differential.differential import differential as run
    from hemabridge.workflows.differential.written import REPORT

    with shown_progress() as progress:
        done = run(
            model,
            fields,
            out,
            restain=restain,
            home=home,
            um_per_px=um_per_px,
            seed=seed,
            language=language,
            progress=progress,
        )
    if done.distrusted:
        print(first_words(done))
    for one in done.shares():
        print(
            f"{one.name}: {one.counted} cells, {100 * one.share:.1f} % ({100 * one.low:.1f} to {100 * one.high:.1f} %; "
            f"counted {100 * one.raw:.1f} %)"
        )
    for sentence in sentences(done):
        print(f"- {sentence}")
    print(f"See {out / REPORT}.")
    if done.distrusted:
        raise typer.Exit(1)


@app.command()
def check(
    out: Annotated[Path, typer.Argument(help="Folder that `hemabridge differential` wrote.")],
    name: Annotated[
        str | None, typer.Option(help="Your name, which is kept with each answer [default: that of the user].")
    ] = None,
    language: Annotated[
        str, typer.Option(help="Language of page and report: en or es; it can be changed there.")
    ] = "en",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page; 0 takes a free one.")] = 8323,
) -> None:
    """Check a count on a page in a browser of this computer: see each cell, correct its class, and the count follows.

    Every answer is kept with name and time, also one that is taken back. At the end differential.csv, cells.csv and
    report.html are written again, and labels.csv for `hemabridge label`.
    """
    ready = page_of_this_computer("Check the cells", language)
    from hemabridge.report.differential_story import first_words
    from hemabridge.workflows.differential.check import check as run
    from hemabridge.workflows.differential.written import REPORT

    done = run(out, who=name or getuser(), language=language, port=port, ready=ready)
    if done.distrusted:
        print(first_words(done))
    for one in done.shares():
        print(f"{one.name}: {one.counted} cells ({one.checked} checked), {100 * one.share:.1f} %")
    print(f"See {out / REPORT}.")
