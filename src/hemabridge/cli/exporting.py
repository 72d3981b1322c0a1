"""The commands that give a model to another hospital: export and verify."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hemabridge.cli.app import app
from hemabridge.cli.progress_bars import shown_progress

if TYPE_CHECKING:
    from hemabridge.workflows.verify import Verified


@app.command()
def export(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="Run folder of `adapt`: its classifier and its re-stainer; or a normalizer's JSON file, a snapshot, a "
            "run folder, or the TOML file of a classifier of another program.",
        ),
    ],
    bundle: Annotated[Path, typer.Argument(help="File to write; the suffix .hemabridge is added if there is none.")],
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder of real images, on which bundle and model are compared. They are not put into the bundle "
            "[default: those that a run of `adapt` or `label` holds]."
        ),
    ] = None,
    snapshot: Annotated[str | None, typer.Option(help="Which snapshot of the run folder, by name.")] = None,
    crop_px: Annotated[
        int | None, typer.Option(min=8, help="Square around a cell in new images [default: as in training].")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name on the model card [default: that of the file].")] = None,
    sign: Annotated[
        Path | None,
        typer.Option(metavar="KEY", help="Private key that signs the bundle: Ed25519, PEM, without a password."),
    ] = None,
) -> None:
    """Write a model as one file that another hospital runs with hemabridge alone, without PyTorch.

    The file is written only if it does the same as the model on real images: at most one gray level and 0.001 of a
    probability. It holds the networks, the limits of the morphology guard, the appearance of the sites, a model card,
    and eight simulated cells with the expected results. It holds no image of a patient.
    """
    from hemabridge.deployment.signing import read_private_key
    from hemabridge.workflows.export.export import export as run

    key = None if sign is None else read_private_key(sign)
    with shown_progress() as progress:
        done = run(
            model,
            bundle,
            images=images,
            snapshot=snapshot,
            crop_px=crop_px,
            name=name,
            key=key,
            progress=progress,
        )
    found = done.agreement
    differences = [] if found.gray_levels is None else [f"{found.gray_levels} gray levels"]
    differences += [] if found.probability is None else [f"{found.probability:.1e} of a probability"]
    print(f"Compared with the model on {found.images} real images: differs by at most {' and '.join(differences)}.")
    print(
        f"{'Signed b' if done.is_signed else 'B'}undle of {done.size / 1e6:.1f} MB, SHA-256 {done.sha256}: {done.path}"
    )
    print(
        f"Whoever gets it checks it first: hemabridge verify {done.path.name}{' --key PUB' if done.is_signed else ''}"
    )


@app.command()
def verify(
    bundle: Annotated[Path, typer.Argument(help="A bundle that `export` wrote.")],
    key: Annotated[
        Path | None,
        typer.Option(metavar="PUB", help="Public key of the sender (Ed25519, PEM): the signature is checked first."),
    ] = None,
) -> None:
    """Check a bundle on arrival: its signature, each of its entries, and what it does to its test cells.

    Exits with 1 if a test cell gives another result than where the bundle was made, and with 2 if the file was damaged
    or changed.
    """
    from hemabridge.deployment.signing import read_public_key
    from hemabridge.workflows.verify import verify as run

    done = run(bundle, None if key is None else read_public_key(key))
    _print_verified(done, bundle)
    if not done.test_cells.is_same:
        raise typer.Exit(1)


def _print_verified(done: "Verified", bundle: Path) -> None:
    made, tested = done.manifest, done.test_cells
    parts = [
        name for name, part in (("re-stains", made.restainer), ("classifies", made.classifier)) if part is not None
    ]
    print(f"{made.name}: {' and '.join(parts)}; written by hemabridge {made.written_by}; SHA-256 {done.sha256}")
    if done.is_checked:
        print("Signature: made with the key, over the whole file.")
    elif done.is_signed:
        print("Signature: there is one, but it was not checked; give the sender's public key: --key PUB")
    else:
        print("Signature: none. The file is whole, but anyone may have made it.")
    print(f"Entries: all {len(made.entries)} as the manifest lists them.")
    differences = [] if tested.gray_levels is None else [f"{tested.gray_levels} gray levels"]
    differences += [] if tested.probability is None else [f"{tested.probability:.1e} of a probability"]
    guard = f", and other verdicts of the guard on {tested.other_verdicts}" if tested.other_verdicts else ""
    verdict = "as expected" if tested.is_same else "NOT AS EXPECTED: do not use it on this computer"
    print(f"Test cells: {tested.cells}, {verdict}; they differ by at most {' and '.join(differences)}{guard}: {bundle}")
