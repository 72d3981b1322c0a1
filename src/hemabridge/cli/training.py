"""The commands that need PyTorch: demo, train, study, evaluate, select."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hemabridge.cli.app import app
from hemabridge.cli.crops import CropUm, in_pixels
from hemabridge.cli.printing import print_rows, print_selection
from hemabridge.errors import InputError, MissingExtraError

if TYPE_CHECKING:  # PyTorch takes seconds to import, and `--help` must not wait for it
    from hemabridge.evaluation.results import StudyResults

RecipeFile = Annotated[Path, typer.Argument(help="Recipe (TOML); see the folder recipes/ for examples.")]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Change one setting: section.key=value; in a list classifiers.0.KEY, classifiers.NAME.KEY or, for all, "
        "classifiers.*.KEY. May be repeated.",
    ),
]
Device = Annotated[
    Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="Device for training; auto takes the fastest one.")
]


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything that the demo writes.")] = Path("runs/demo"),
) -> None:
    """Run a complete small study on two simulated hospitals: about ten minutes on two cores, with a report."""
    needs_training()
    from hemabridge.cli.progress_bars import shown_progress
    from hemabridge.workflows.demo import demo as run

    with shown_progress() as progress:
        results = run(out, progress=progress)
    _print_study(results, out)


@app.command()
def train(
    recipe: RecipeFile,
    out: Annotated[Path | None, typer.Option(help="Run folder [default: runs/NAME of the recipe].")] = None,
    changes: Changes = None,
    device: Device = "auto",
) -> None:
    """Train a translator or a classifier. If the command was stopped, run it again: it continues."""
    needs_training()
    from hemabridge.recipes.recipe import StudyRecipe
    from hemabridge.recipes.recipe_file import read_recipe
    from hemabridge.recipes.synthesis import SynthesisRecipe

    wanted = read_recipe(recipe, changes or ())
    if isinstance(wanted, StudyRecipe | SynthesisRecipe):
        command = "study" if isinstance(wanted, StudyRecipe) else "synthesize"
        raise InputError(
            f"expected a recipe of a translator or a classifier, got a {wanted.kind}: "
            f"run `hemabridge {command} {recipe}`"
        )
    from hemabridge.cli.progress_bars import shown_progress  # takes seconds; the recipe is all right
    from hemabridge.training.run_context import start_fabric
    from hemabridge.workflows.train import train as run

    folder = out or Path("runs") / wanted.name
    with shown_progress() as progress:
        snapshots = run(wanted, folder, fabric=start_fabric(device), progress=progress)
    noun = "snapshot" if len(snapshots) == 1 else "snapshots"
    print(f"{len(snapshots)} {noun} in {folder / 'snapshots'}; the last one is {snapshots[-1].name}.")


@app.command()
def study(
    recipe: RecipeFile,
    source: Annotated[
        Path | None,
        typer.Option(help="Manifest of the source site, or the folder of its manifest.csv, instead of the recipe's."),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option(help="Manifest of the target site, or the folder of its manifest.csv, instead of the recipe's."),
    ] = None,
    source_root: Annotated[
        Path | None, typer.Option(help="Folder to which the paths of --source are relative.")
    ] = None,
    target_root: Annotated[
        Path | None, typer.Option(help="Folder to which the paths of --target are relative.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the study [default: runs/NAME of the recipe].")] = None,
    changes: Changes = None,
    device: Device = "auto",
) -> None:
    """Re-stain images of one hospital into the colors of another, and measure the effect on classifiers.

    Writes report.html, results.json and predictions.csv. If the command was stopped, run it again: it continues.
    """
    needs_training()
    from hemabridge.recipes.recipe import StudyRecipe
    from hemabridge.recipes.recipe_file import expect_kind, read_recipe
    from hemabridge.recipes.two_sites import check_sites, with_manifests
    from hemabridge.storage.run_folder import check_run_folder

    wanted = expect_kind(read_recipe(recipe, changes or ()), StudyRecipe)
    wanted = with_manifests(wanted, source=source, target=target, source_root=source_root, target_root=target_root)
    folder = out or Path("runs") / wanted.name
    check_run_folder(folder, wanted.kind)
    check_sites(wanted)
    from hemabridge.cli.progress_bars import shown_progress  # takes seconds; the inputs are checked before
    from hemabridge.training.run_context import start_fabric
    from hemabridge.workflows.study.study import study as run

    with shown_progress() as progress:
        results = run(wanted, folder, fabric=start_fabric(device), progress=progress)
    _print_study(results, folder)


@app.command()
def evaluate(
    study: Annotated[Path, typer.Argument(help="Folder of a finished study.")],
    source: Annotated[Path, typer.Argument(metavar="IMAGES", help="Folder of images, or a manifest with classes.")],
    out: Annotated[Path, typer.Argument(help="Folder for predicted-classes.csv and predictions.csv.")],
    root: Annotated[Path | None, typer.Option(help="Folder to which the manifest's paths are relative.")] = None,
    crop_px: Annotated[int | None, typer.Option(min=8, help="Square around a cell [default: as in the study].")] = None,
    crop_um: CropUm = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="ANSWERS",
            help="Predictions for predicted-classes.csv, such as 'ensemble' or 'ResNet18 on macenko' [default: the "
            "ensemble; without one, the first classifier on the selected or last tested snapshot].",
        ),
    ] = None,
    fit: Annotated[
        bool,
        typer.Option(
            "--fit",
            help="For another hospital: fit the study's ensemble to these images. Labels are not needed.",
        ),
    ] = False,
) -> None:
    """Classify new cells with a study's classifiers, original and re-stained; score the predictions if labels exist.

    Without --fit nothing is fitted or trained: use this for new images of the study's source. predicted-classes.csv
    has a row for each file: its class, or the reason why there is none. Classes are withheld if the images are
    out-of-distribution for what re-stains them, or if the guard refuses a re-stained cell. Where no class is known,
    only the answers of --by are worked out; those of one classifier ask it alone, those of the ensemble ask all its
    members.
    """
    needs_training()
    from hemabridge.cli.printing import print_left_out_of, print_site, print_unknown, print_unusable
    from hemabridge.cli.progress_bars import shown_progress
    from hemabridge.evaluation.home_failure import first_words
    from hemabridge.workflows.evaluate.evaluate import evaluate as run
    from hemabridge.workflows.evaluate.predicted_table import PREDICTED_CLASSES

    side = in_pixels(crop_px, crop_um, source, root)
    with shown_progress() as progress:
        done = run(study, source, out, root=root, crop_px=side, by=by, fit=fit, progress=progress)
    for words in first_words(done.home):
        print(words)
    print_unusable(done.failed.items(), "failed")
    print_left_out_of(source)
    if done.rows:
        print_rows(f"{source}: accuracy with 95% Wilson interval, balanced accuracy", done.rows)
        saw = "some of them, so that scores may be too high" if done.mode == "transductive" else "none of them"
        print(f"{done.rows[0].n} cells scored; the study was fitted on {saw} ({done.mode}).")
        if done.unscored:
            print(f"{done.unscored} more cells have a class that is not one of the study.")
    print(
        f"{done.predicted} files classified by {done.by}, {done.unknown} unknown, {len(done.failed)} failed, "
        f"{done.withheld} withheld. See {out / PREDICTED_CLASSES}."
    )
    print_unknown(done.unknown, done.predicted + done.unknown)
    if not fit:
        print_site(source, done.site)
    if done.failed or done.withheld:
        raise typer.Exit(1)


@app.command()
def select(
    run: Annotated[Path, typer.Argument(help="Folder of a study, or of a translator's training.")],
    most_refused: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Largest share of cells that the morphology guard refuses [default: that of the rule]."
        ),
    ] = None,
    least_kept: Annotated[
        float | None,
        typer.Option(min=-1, max=1, help="Least structure that a snapshot keeps [default: that of the rule]."),
    ] = None,
    most_tinted: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Largest share of cells with new blotches of color on empty glass [default: that of the rule].",
        ),
    ] = None,
    cells: Annotated[int, typer.Option(min=10, help="Largest number of cells of each site that are measured.")] = 200,
    labels: Annotated[
        bool, typer.Option("--labels", help="Choose by the classifiers' errors on labels of the source, not by stain.")
    ] = False,
    readers: Annotated[
        Path | None,
        typer.Option(help="CSV file with the columns snapshot and accepted: the share of cells that readers accepted."),
    ] = None,
) -> None:
    """Measure every snapshot of a translator, choose one that keeps morphology, and state how stable the choice is.

    The snapshot nearest to the target's stain is chosen; where a study has classifiers, their predictions decide.
    Writes selection.json and selection.png to RUN. `standardize` then takes the chosen snapshot, and the report of a
    study that is run again shows the choice. Cells that are scored are not used, nor labels of the source without
    --labels.
    """
    needs_training()
    from hemabridge.cli.progress_bars import shown_progress
    from hemabridge.models.selection_file import PICTURE
    from hemabridge.models.study_folder import StudyFolder
    from hemabridge.selection.rule import RuleConfig
    from hemabridge.workflows.selection.select import select as work

    floors = {"most_refused": most_refused, "least_kept": least_kept, "most_tinted": most_tinted}
    rule = RuleConfig.model_validate({name: value for name, value in floors.items() if value is not None})
    with shown_progress() as progress:
        found = work(run, rule=rule, cells=cells, labels=labels, readers=readers, progress=progress)
    print_selection(found)
    print(found.reasons)
    print(f"See {run / PICTURE}.")
    if StudyFolder(run).report.is_file():
        print(
            "To show the choice in report.html, run the same `hemabridge study RECIPE` again; nothing is trained again."
        )
    if found.chosen is None:
        raise typer.Exit(1)


def needs_training() -> None:
    """Check that PyTorch is installed.

    Raises:
        MissingExtraError: it is not; the message states what to install.
    """
    from importlib.util import find_spec

    if find_spec("torch") is None:
        raise MissingExtraError("this command needs PyTorch: pip install 'hemabridge[train]'")


def _print_study(results: "StudyResults", folder: Path) -> None:
    from hemabridge.evaluation.home_failure import first_words
    from hemabridge.models.study_folder import StudyFolder

    for words in first_words(results.home):
        print(words)
    print_rows(f"{results.name}: accuracy with 95% Wilson interval, balanced accuracy", results.rows)
    print(f"The report is {StudyFolder(folder).report}; open it in a browser.")
