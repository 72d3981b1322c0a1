"""The commands for re-staining: catalog, fit, standardize, guard."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hemabridge.cli.app import Address, EngineChoice, KeepIdentity, app
from hemabridge.cli.crops import CropUm, in_pixels

if TYPE_CHECKING:  # PyTorch takes seconds to import, and `--help` must not wait for it
    from hemabridge.models import Model
    from hemabridge.workflows.standardize.standardize import Standardized


@app.command()
def catalog() -> None:
    """List all normalizers and translators, each with one line on when to use it."""
    from hemabridge.cli.printing import print_table
    from hemabridge.workflows.catalog import catalog as run

    methods = run()
    for kind, title in (
        ("normalizer", "Normalizers, fitted in seconds: normalizers = [NAME, ...] of a study"),
        ("translator", 'Translators, trained: translator = { preset = "NAME" } of a study or a training'),
    ):
        print_table(title, ["name", "when to use it"], [], [(m.name, m.use) for m in methods if m.kind == kind])


@app.command()
def fit(
    method: Annotated[str, typer.Argument(help="Name of a normalizer; see `hemabridge catalog`.")],
    source: Annotated[Path, typer.Argument(help="Folder of images to re-stain, with or without classes.")],
    target: Annotated[Path, typer.Argument(help="Folder of images with the colors that the others should get.")],
    out: Annotated[Path, typer.Argument(help="JSON file to write, for `hemabridge standardize`.")],
    source_crop_px: Annotated[
        int | None, typer.Option(min=8, help="Square around a cell of SOURCE [default: estimated].")
    ] = None,
    source_crop_um: CropUm = None,
    target_crop_px: Annotated[
        int | None, typer.Option(min=8, help="Square around a cell of TARGET [default: estimated].")
    ] = None,
    target_crop_um: CropUm = None,
    each_subdomain: Annotated[
        bool,
        typer.Option(
            "--each-subdomain",
            help="If SOURCE has several subdomains, such as smears on white and on yellow glass, fit each one "
            "separately. They should show the same classes.",
        ),
    ] = False,
) -> None:
    """Fit a normalizer on two folders of images, in seconds, without labels and without PyTorch."""
    from hemabridge.cli.printing import print_left_out_of
    from hemabridge.cli.progress_bars import shown_progress
    from hemabridge.workflows.fit import fit as run

    with shown_progress() as progress:
        done = run(
            method,
            source,
            target,
            out,
            source_crop_px=in_pixels(source_crop_px, source_crop_um, source),
            target_crop_px=in_pixels(target_crop_px, target_crop_um, target),
            each_subdomain=each_subdomain,
            progress=progress,
        )
    print_left_out_of(source, target)
    if done.perhaps_swapped:
        print(
            f"hemabridge: warning: {source} has classes and {target} has none: are SOURCE and TARGET swapped? Usually "
            "TARGET is the labeled hospital, whose colors are wanted.",
            file=sys.stderr,
        )
    print(f"Fitted {method} from {source} to {target}; written to {out}.")
    print(f"It gives images like those of {source} the colors of {target}, and not the other way round.")
    if done.normalizer.note:
        print(f"Note: {done.normalizer.note}.")
    if len(done.subdomains) > 1:
        subdomains = ", ".join(f"{count} images on {color}" for color, count in done.subdomains.items())
        advice = "each fitted separately" if each_subdomain else "fitted as one; --each-subdomain fits each separately"
        print(f"{source} has {len(done.subdomains)} subdomains ({subdomains}): {advice}.")


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
    out: Annotated[
        Path, typer.Argument(help="Folder for the re-stained images, with the same file names and sub-folders.")
    ],
    snapshot: Annotated[str | None, typer.Option(help="Which snapshot of the run folder, by name.")] = None,
    crop_px: Annotated[
        int | None, typer.Option(min=8, help="Square around a cell in these images [default: as in training].")
    ] = None,
    crop_um: CropUm = None,
    site: Annotated[
        Path | None,
        typer.Option(
            help="Target-only models: re-stain by the appearance of this folder's images, and print their distance."
        ),
    ] = None,
    fallback: Annotated[
        str | None,
        typer.Option(
            metavar="NORMALIZER|none",
            help="JSON file of a normalizer for cells whose morphology the model would change; with none, such cells "
            "are only marked [default: the fallback of the model's guard].",
        ),
    ] = None,
    keep_identity: KeepIdentity = False,
    engine: EngineChoice = "local",
    address: Address = None,
) -> None:
    """Re-stain a folder of images. standardized.csv has a row for each file, with the reason if there is no result.

    If the model has a guard (see `guard`), each cell gets a verdict, and refused cells are re-stained by the fallback.
    """
    from hemabridge.cli.progress_bars import shown_progress
    from hemabridge.engines import opened_engine
    from hemabridge.models import open_model
    from hemabridge.workflows.standardize.standardize import standardize_with

    opened = open_model(model, snapshot=snapshot, crop_px=in_pixels(crop_px, crop_um, source), site=site)
    _say_before(opened, model, snapshot, site)
    safer: Path | Literal["none"] | None = None
    if fallback is not None:
        safer = "none" if fallback == "none" else Path(fallback)
    with opened_engine(engine, address) as where, shown_progress() as progress:
        done = standardize_with(
            opened, source, out, fallback=safer, keep_identity=keep_identity, engine=where, progress=progress
        )
    _print_restained(done, model, source, out)
    if done.count("failed"):
        raise typer.Exit(1)


def _print_restained(done: "Standardized", model: Path, source: Path, out: Path) -> None:
    from hemabridge.cli.printing import print_left_out, print_site, print_unusable
    from hemabridge.imaging.grayness import GRAY_REMARK
    from hemabridge.workflows.standardize.log import LOG

    print_unusable([(row.path, row.reason) for row in done.rows if row.status == "failed"], "failed")
    print_left_out(done.left_out)
    print(
        f"{len(done.rows)} files: {done.count('restained')} re-stained, {done.count('failed')} failed, "
        f"{done.count('skipped')} left out. See {out / LOG}."
    )
    gray = sum(GRAY_REMARK in row.remark for row in done.rows)
    if gray:
        print(
            f"warning: {gray} of {len(done.rows)} images are gray, or nearly so; the colors of their re-stained "
            f"pictures mean nothing (column remark of {out / LOG})",
            file=sys.stderr,
        )
    print_site(source, done.site)
    _print_verdicts(done, model)


@app.command()
def guard(
    model: Annotated[
        Path,
        typer.Argument(
            help="A snapshot, or a run folder, of which the selected snapshot is taken, else the last one; or a "
            "normalizer's JSON file."
        ),
    ],
    target: Annotated[
        Path, typer.Argument(help="Folder of target images; images that were not used in training are best.")
    ],
    snapshot: Annotated[str | None, typer.Option(help="Which snapshot of the run folder, by name.")] = None,
    crop_px: Annotated[
        int | None, typer.Option(min=8, help="Square around a cell in these images [default: as in training].")
    ] = None,
    crop_um: CropUm = None,
    fallback: Annotated[
        str, typer.Option(help="Normalizer for refused cells; it is fitted on these images.")
    ] = "white-point",
) -> None:
    """Learn the limits beyond which a change of morphology is refused; `standardize` then checks every cell.

    The model re-stains target cells, which need no re-staining. The changes that are measured on them define the
    limits. Writes NAME.guard.json beside the model's file.
    """
    from hemabridge.cli.printing import print_left_out_of
    from hemabridge.cli.progress_bars import shown_progress
    from hemabridge.workflows.guard import learn_guard

    side = in_pixels(crop_px, crop_um, target)
    with shown_progress() as progress:
        path, learned = learn_guard(
            model, target, snapshot=snapshot, crop_px=side, fallback=fallback, progress=progress
        )
    print_left_out_of(target)
    for name, limit in learned.thresholds.limits.items():
        print(f"{name:22s} warn beyond {limit.warn:.3f}, refuse beyond {limit.refuse:.3f}")
    print(f"Learned from {learned.thresholds.cells} target cells; written to {path}.")


def _say_before(model: "Model", given: Path, snapshot: str | None, site: Path | None) -> None:
    from hemabridge.models.open import read_selection
    from hemabridge.models.restaining import TranslatorModel
    from hemabridge.models.selection_file import FILE

    selection = None if snapshot is not None else read_selection(given)
    if selection is not None and selection.chosen is not None:
        print(f"Re-staining with {selection.chosen}, the selected snapshot: see {given / FILE}.")
    if site is not None and isinstance(model, TranslatorModel) and model.appearance is not None:
        found = model.distance(model.appearance)
        print(
            f"{site}: {found.answer} for this model; its distance is {found.value:.2f}. Of hospitals as in training, "
            f"90% are below {found.in_distribution_max:.2f} and 99% below {found.borderline_max:.2f}."
        )


def _print_verdicts(done: "Standardized", model: Path) -> None:
    counts = {verdict: done.count_verdict(verdict) for verdict in ("pass", "warn", "refuse")}
    if sum(counts.values()) == 0:
        print(
            f"No guard: {model} has no limits, so morphology was not checked. "
            "Learn the limits: hemabridge guard MODEL TARGET"
        )
        return
    replaced = sum(row.restained_by == "fallback" for row in done.rows)
    print(
        f"Guard: {counts['pass']} passed, {counts['warn']} in doubt, {counts['refuse']} refused, of which {replaced} "
        "were re-stained by the fallback."
    )
