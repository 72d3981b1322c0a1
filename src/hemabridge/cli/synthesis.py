"""The command that makes synthetic cells and measures their quality: synthesize."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hemabridge.cli.app import app
from hemabridge.cli.printing import print_table
from hemabridge.cli.training import Changes, Device, RecipeFile, needs_training

if TYPE_CHECKING:  # PyTorch takes seconds to import, and `--help` must not wait for it
    from hemabridge.synthesis.pair_results import SynthesisResults


@app.command()
def synthesize(
    recipe: RecipeFile,
    out: Annotated[Path | None, typer.Option(help="Folder of the run [default: runs/NAME of the recipe].")] = None,
    changes: Changes = None,
    device: Device = "auto",
) -> None:
    """Translate cells from one class to another, in both directions, and measure the quality of the synthetic cells.

    Writes report.html, results.json, and the synthetic cells of held-out sources to PAIR/to_target and PAIR/to_source.
    If the command was stopped, run it again: it continues. Do not use synthetic cells for validation or test.
    """
    needs_training()
    from hemabridge.recipes.recipe_file import expect_kind, read_recipe
    from hemabridge.recipes.synthesis import SynthesisRecipe

    wanted = expect_kind(read_recipe(recipe, changes or ()), SynthesisRecipe)
    from hemabridge.cli.progress_bars import shown_progress  # takes seconds; the recipe is all right
    from hemabridge.training.run_context import start_fabric
    from hemabridge.workflows.synthesis.synthesize import REPORT
    from hemabridge.workflows.synthesis.synthesize import synthesize as run

    folder = out or Path("runs") / wanted.name
    with shown_progress() as progress:
        results = run(wanted, folder, fabric=start_fabric(device), progress=progress)
    _print_results(results)
    print(f"The report is {folder / REPORT}; open it in a browser.")


def _print_results(results: "SynthesisResults") -> None:
    print_table(
        f"{results.name}: synthetic cells of held-out sources, 95% intervals",
        ["direction, snapshot"],
        ["intended\nclass", "of real\ncells", "KID", "floor", "copies"],
        [
            (
                f"{found.source_class} -> {found.intended_class}, {found.snapshot}",
                f"{found.intended.value:.3f} [{found.intended.interval[0]:.2f}, {found.intended.interval[1]:.2f}]",
                f"{found.intended_real.value:.3f}",
                f"{found.kid.value:.3f}",
                f"{found.kid_floor.value:.3f}",
                f"{found.copies.synthetic.count} of {found.copies.synthetic.n}",
            )
            for pair in results.pairs
            for found in pair.directions
        ],
    )
