"""The command `label`: two minutes of an expert."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hemabridge.cli.app import app
from hemabridge.cli.crops import CropUm, in_pixels
from hemabridge.cli.progress_bars import shown_progress
from hemabridge.cli.training import needs_training
from hemabridge.cli.web_pages import page_of_this_computer

if TYPE_CHECKING:
    from hemabridge.evaluation.label_results import LabelResults
    from hemabridge.workflows.label.label import Ask


@app.command()
def label(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Run of `hemabridge adapt`, or a finished study with an ensemble.")
    ],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Images of another hospital, or a manifest.")],
    out: Annotated[
        Path, typer.Option(help="Folder for the labels, the classes of all cells, the classifier and the report.")
    ],
    count: Annotated[int, typer.Option("-k", "--count", min=1, help="Number of cells to label.")] = 16,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Labels that exist already, with the columns path and class."),
    ] = None,
    page: Annotated[
        bool, typer.Option("--page/--no-page", help="Serve the page for labeling, or write cells-to-label.csv alone.")
    ] = True,
    language: Annotated[str, typer.Option(help="Language of the page: en or es; it can be changed there.")] = "en",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page; 0 takes a free one.")] = 8322,
    root: Annotated[Path | None, typer.Option(help="Folder to which a manifest's paths are relative.")] = None,
    crop_px: Annotated[
        int | None, typer.Option(min=8, help="Square around a cell in these images [default: estimated].")
    ] = None,
    crop_um: CropUm = None,
) -> None:
    """Choose the cells of another hospital that teach most, and learn from an expert's labels of them.

    If the folder is another one than that of `hemabridge adapt`, the classifiers are fitted to it first: some minutes.

    An expert labels the cells on a page in a browser of this computer; the same command goes on where it was left.
    Labels that exist already are given by --labels, such as cells-to-label.csv with its column class filled in. A cell
    of another class gets any other name, such as unknown: it is kept, and nothing learns from it. predicted-classes.csv
    has the class of every cell, report.html says what the labels changed, and what the next ones would add. Labels that
    would do harm are not used. A classifier for daily use is trained on the labels: `hemabridge run OUT/run FOLDER
    RESULTS` after `hemabridge adapt`, `hemabridge classify OUT/classifier.safetensors FOLDER RESULTS` after a study.
    """
    needs_training()
    from hemabridge.cli.printing import print_unusable
    from hemabridge.workflows.label.label import REPORT
    from hemabridge.workflows.label.label import label as work
    from hemabridge.workflows.label.label_files import PREDICTED_CLASSES, TO_LABEL

    ask = _page(language, port) if page and labels is None else None
    crop_px = in_pixels(crop_px, crop_um, folder, root)
    with shown_progress() as progress:
        done = work(run, folder, out, k=count, labels=labels, ask=ask, root=root, crop_px=crop_px, progress=progress)
    print_unusable(done.failed.items(), "failed")
    if done.results is not None:
        _print_results(done.results)
        print(f"The class of every cell of this folder: {out / PREDICTED_CLASSES}. Report: {out / REPORT}.")
        _print_next(done.daily)
    elif ask is None:
        print(f"{done.chosen} cells to label: {out / TO_LABEL}. Fill in the column class, and run the same command")
        print(f"with --labels {out / TO_LABEL}")
    else:
        print(f"{done.labeled} of {done.chosen} cells are labeled. The same command goes on.")


def _print_next(daily: Path | None) -> None:
    if daily is not None:
        command = "run" if daily.is_dir() else "classify"
        print(f"For the next folders: hemabridge {command} {daily} FOLDER RESULTS")


def _page(language: str, port: int) -> "Ask":
    """Return what serves the page, and says where it is.

    Raises:
        MissingExtraError: no web server is installed.
        InputError: there is no such language.
    """
    ready = page_of_this_computer("Label the cells", language, "; or give --no-page")
    from hemabridge.workflows.label.page import ask_on_page

    return partial(ask_on_page, language=language, port=port, ready=ready)


def _print_results(results: "LabelResults") -> None:
    from hemabridge.report.labeling_story import following, headline, sentences

    print(headline(results))
    for sentence in sentences(results):
        print(f"- {sentence}")
    print(f"- {following(results)}")
