"""The commands that need PyTorch: demo, train, study, select, standardize, guard."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hemabridge.cli.app import app
from hemabridge.errors import InputError, MissingExtraError

if TYPE_CHECKING:  # PyTorch takes seconds to import, and `--help` must not wait for it
    from hemabridge.evaluation.results import StudyResults
    from hemabridge.selection.results import Selection
    from hemabridge.workflows.standardize import Standardized

RecipeFile = Annotated[Path, typer.Argument(help="Recipe (TOML); see the folder recipes/ for examples.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", help="Change one setting: section.key=value. May be repeated.")
]
Device = Annotated[
    Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="What to work on; auto takes the best there is.")
]


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything that the demo writes.")] = Path("runs/demo"),
) -> None:
    """Tell the whole story on two simulated hospitals: about ten minutes on two cores, ending with a report."""
    _needs_training()
    from hemabridge.cli.progress import shown_progress
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
    """Train a translator or a classifier; the same command goes on where it stopped."""
    _needs_training()
    from hemabridge.cli.progress import shown_progress
    from hemabridge.training.devices import start_fabric
    from hemabridge.workflows.recipe import StudyRecipe
    from hemabridge.workflows.recipe_file import read_recipe
    from hemabridge.workflows.train import train as run

    wanted = read_recipe(recipe, changes or ())
    if isinstance(wanted, StudyRecipe):
        raise InputError(
            f"expected a recipe of a translator or a classifier, got a study: run `hemabridge study {recipe}`"
        )
    folder = out or Path("runs") / wanted.name
    with shown_progress() as progress:
        snapshots = run(wanted, folder, fabric=start_fabric(device), progress=progress)
    print(f"{len(snapshots)} snapshots in {folder / 'snapshots'}; the last one is {snapshots[-1].name}.")


@app.command()
def study(
    recipe: RecipeFile,
    source: Annotated[Path | None, typer.Option(help="Manifest of the source site, instead of the recipe's.")] = None,
    target: Annotated[Path | None, typer.Option(help="Manifest of the target site, instead of the recipe's.")] = None,
    source_root: Annotated[Path | None, typer.Option(help="What the paths of --source are relative to.")] = None,
    target_root: Annotated[Path | None, typer.Option(help="What the paths of --target are relative to.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the study [default: runs/NAME of the recipe].")] = None,
    changes: Changes = None,
    device: Device = "auto",
) -> None:
    """Re-stain one hospital into another and show what that does to classifiers: Blocks 1 and 2 of the paper.

    Writes report.html, results.json and predictions.csv. Killed or stopped, the same command goes on.
    """
    _needs_training()
    from hemabridge.cli.progress import shown_progress
    from hemabridge.training.devices import start_fabric
    from hemabridge.workflows.recipe import StudyRecipe
    from hemabridge.workflows.recipe_file import expect_kind, read_recipe
    from hemabridge.workflows.sites import with_manifests
    from hemabridge.workflows.study import study as run

    wanted = expect_kind(read_recipe(recipe, changes or ()), StudyRecipe)
    wanted = with_manifests(wanted, source=source, target=target, source_root=source_root, target_root=target_root)
    folder = out or Path("runs") / wanted.name
    with shown_progress() as progress:
        results = run(wanted, folder, fabric=start_fabric(device), progress=progress)
    _print_study(results, folder)


@app.command()
def select(
    run: Annotated[Path, typer.Argument(help="Folder of a study, or of a translator's training.")],
    floor: Annotated[
        float | None, typer.Option(min=-1, max=1, help="Structure that a snapshot must keep [default: the rule's].")
    ] = None,
    cells: Annotated[int, typer.Option(min=10, help="At most so many cells of each site are measured.")] = 200,
    labels: Annotated[
        bool, typer.Option("--labels", help="Choose by the classifiers' errors on the source's labels, not by stain.")
    ] = False,
    readers: Annotated[
        Path | None, typer.Option(help="CSV snapshot,accepted: the share of cells that readers accepted.")
    ] = None,
) -> None:
    """Measure every snapshot of a translator and choose one: nearest stain, structure kept, and how sure that is.

    Writes selection.json and selection.png into RUN; `standardize` then takes the chosen snapshot. No scored cell and,
    without --labels, no label of the source is looked at.
    """
    _needs_training()
    from hemabridge.cli.progress import shown_progress
    from hemabridge.selection.rule import RuleConfig
    from hemabridge.workflows.select import PICTURE
    from hemabridge.workflows.select import select as work

    rule = RuleConfig() if floor is None else RuleConfig(floor=floor)
    with shown_progress() as progress:
        found = work(run, rule=rule, cells=cells, labels=labels, readers=readers, progress=progress)
    _print_selection(found)
    print(found.reasons)
    print(f"See {run / PICTURE}.")
    if found.chosen is None:
        raise typer.Exit(1)


@app.command()
def standardize(
    model: Annotated[
        Path,
        typer.Argument(
            help="A snapshot, or a run folder, of which the selected snapshot is taken, else the last one; or a "
            "normalizer's JSON file."
        ),
    ],
    source: Annotated[Path, typer.Argument(metavar="IN", help="Folder of images to re-stain; it is not changed.")],
    out: Annotated[Path, typer.Argument(help="Folder for the re-stained images: same names, same tree.")],
    snapshot: Annotated[str | None, typer.Option(help="Which snapshot of the run folder, by name.")] = None,
    crop_px: Annotated[
        int | None, typer.Option(min=8, help="Square around a cell in these images [default: as in training].")
    ] = None,
    site: Annotated[
        Path | None,
        typer.Option(help="Target-only models: re-stain by the look of this folder's images, and say how far it is."),
    ] = None,
    fallback: Annotated[
        str | None,
        typer.Option(
            metavar="NORMALIZER|none",
            help="JSON file of a normalizer for cells whose morphology the model would change; none only flags them "
            "[default: that of the model's guard].",
        ),
    ] = None,
) -> None:
    """Re-stain a folder: as many files out as in, or a row in standardized.csv that says why not.

    If the model has a guard (see `guard`), each cell gets its verdict, and refused ones are re-stained by the fallback.
    """
    _needs_training()
    from hemabridge.cli.progress import shown_progress
    from hemabridge.workflows.standardize import LOG
    from hemabridge.workflows.standardize import standardize as run
    from hemabridge.workflows.standardizers import look_distance, read_selection

    selection = None if snapshot is not None else read_selection(model)
    if selection is not None and selection.chosen is not None:
        print(f"Re-staining with {selection.chosen}, the selected snapshot: see {model / 'selection.json'}.")
    if site is not None:
        found = look_distance(model, site, snapshot=snapshot, crop_px=crop_px)
        print(
            f"{site}: {found.answer} to this model; its distance is {found.value:.2f}, of hospitals like those of "
            f"training 90 % are below {found.near:.2f} and 99 % below {found.far:.2f}"
        )
    safer: Path | Literal["none"] | None = None
    if fallback is not None:
        safer = "none" if fallback == "none" else Path(fallback)
    with shown_progress() as progress:
        done = run(model, source, out, snapshot=snapshot, crop_px=crop_px, site=site, fallback=safer, progress=progress)
    for row in done.rows:
        if row.status == "failed":
            print(f"failed: {row.path}: {row.reason}", file=sys.stderr)
    print(
        f"{len(done.rows)} files: {done.count('restained')} re-stained, {done.count('failed')} failed, "
        f"{done.count('skipped')} that are no images. See {out / LOG}."
    )
    if done.site is not None:
        print(f"{source}: {done.site.text}", file=sys.stdout if done.site.answer == "known" else sys.stderr)
    _print_verdicts(done, model)
    if done.count("failed"):
        raise typer.Exit(1)


@app.command()
def guard(
    model: Annotated[
        Path,
        typer.Argument(
            help="A snapshot, or a run folder, of which the last snapshot is taken; or a normalizer's JSON file."
        ),
    ],
    target: Annotated[Path, typer.Argument(help="Folder of target images, best such that training did not see.")],
    snapshot: Annotated[str | None, typer.Option(help="Which snapshot of the run folder, by name.")] = None,
    crop_px: Annotated[
        int | None, typer.Option(min=8, help="Square around a cell in these images [default: as in training].")
    ] = None,
    fallback: Annotated[
        str, typer.Option(help="Normalizer for refused cells, fitted on these images.")
    ] = "white-point",
) -> None:
    """Learn which changes of morphology a model must not make; `standardize` then judges every cell.

    The model re-stains target cells, which need none: what that does to them is what is allowed. Writes
    NAME.guard.json beside the model's file.
    """
    _needs_training()
    from hemabridge.cli.progress import shown_progress
    from hemabridge.workflows.guard import learn_guard

    with shown_progress() as progress:
        path, learned = learn_guard(
            model, target, snapshot=snapshot, crop_px=crop_px, fallback=fallback, progress=progress
        )
    for name, limit in learned.thresholds.limits.items():
        print(f"{name:22s} warn beyond {limit.warn:.3f}, refuse beyond {limit.refuse:.3f}")
    print(f"Learned from {learned.thresholds.cells} target cells; written to {path}.")


def _print_verdicts(done: "Standardized", model: Path) -> None:
    counts = {verdict: done.count_verdict(verdict) for verdict in ("pass", "warn", "refuse")}
    if sum(counts.values()) == 0:
        print(
            f"No guard: {model} has no thresholds, so morphology was not judged. "
            "Learn them: hemabridge guard MODEL TARGET"
        )
        return
    replaced = sum(row.restained_by == "fallback" for row in done.rows)
    print(
        f"Guard: {counts['pass']} passed, {counts['warn']} in doubt, {counts['refuse']} refused, of which {replaced} "
        "were re-stained by the fallback."
    )


def _needs_training() -> None:
    from importlib.util import find_spec

    if find_spec("torch") is None:
        raise MissingExtraError("this command needs PyTorch: pip install 'hemabridge[train]'")


def _print_study(results: "StudyResults", folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{results.name}: accuracy with 95% Wilson interval, balanced accuracy")
    for heading in ("classifier", "site", "images", "labels used", "accuracy", "balanced", "n"):
        table.add_column(heading)
    for row in results.rows:
        low, high = row.interval
        table.add_row(
            row.classifier,
            row.site,
            row.snapshot or row.images,
            str(row.labels_used),
            f"{row.accuracy:.3f} [{low:.3f}, {high:.3f}]",
            f"{row.balanced_accuracy:.3f}",
            str(row.n),
        )
    Console().print(table)
    print(f"The report is {folder / 'report.html'}; open it in a browser.")


def _print_selection(found: "Selection") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{found.run}: measured on {found.facts['cells of the source']} cells that are not scored")
    table.add_column("snapshot", no_wrap=True)
    for heading in ("stain", "structure", "KID", "told apart", "sureness", "class shift", "chosen in"):
        table.add_column(heading, justify="right")
    for row in (found.original, *found.snapshots):
        table.add_row(
            row.snapshot + (" *" if row.snapshot == found.chosen else ""),
            f"{row.stain:.2f}",
            f"{row.kept:.2f}" + ("" if row.fit else " too little"),
            f"{row.kid:.3f}",
            f"{row.told_apart:.2f}",
            "" if row.confidence is None else f"{row.confidence:.2f}",
            "" if row.prior_shift is None else f"{row.prior_shift:.2f}",
            "" if row is found.original else f"{row.won:.0%}",
        )
    Console().print(table)
    value, (low, high) = found.kid_floor
    print(f"KID of one half of the target's cells to the other: {value:.3f} [{low:.3f}, {high:.3f}].")
