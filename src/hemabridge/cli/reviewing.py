"""The commands of a blinded reading: review create, review serve, review unblind. They need no PyTorch."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from hemabridge.cli.app import app
from hemabridge.cli.progress_bars import shown_progress
from hemabridge.cli.web_pages import needs_web_server

review = typer.Typer(
    name="review",
    help="Blinded reading by experts, in a browser, without internet: create a review, serve its pages, unblind it.",
    no_args_is_help=True,
)
app.add_typer(review, name="review")


@review.command()
def create(
    plan: Annotated[
        Path, typer.Argument(metavar="STUDY.toml", help="The plan of the review (TOML); see docs/review.md.")
    ],
    out: Annotated[Path | None, typer.Option(help="Folder to make [default: runs/NAME of the plan].")] = None,
) -> None:
    """Draw a seeded, balanced sample of cells for a blinded reading, and make a secret link for each reader."""
    from hemabridge.recipes.review import read_plan
    from hemabridge.review.key import KEY
    from hemabridge.workflows.review.create import LINKS, review_create

    wanted = read_plan(plan)
    with shown_progress() as progress:
        made = review_create(wanted, out or Path("runs") / wanted.name, progress=progress)
    counted = made.screens - made.practice
    print(
        f"{made.screens} screens for each of {len(made.links)} readers: {made.practice} for practice, {counted} that "
        f"count, {made.repeats} of these for a second time. {made.pictures} pictures of {made.size_px} px."
    )
    print(f"At least {made.apart} screens are between two pictures of the same cell.")
    print(f"Readers' links: {made.out / LINKS}. Which picture is which: {made.out / KEY}; keep it from readers.")
    print(f"Next: hemabridge review serve {made.out}")


@review.command()
def serve(
    folder: Annotated[Path, typer.Argument(help="Folder of `review create`.")],
    host: Annotated[
        str, typer.Option(help="Address to listen on; for readers at other computers another one is needed.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8321,
) -> None:
    """Serve the readers' pages until Ctrl+C. Each answer is stored before the next picture is shown."""
    needs_web_server()
    from hemabridge.workflows.review.serve import LINKS, review_serve, risk_of

    risk = risk_of(host)
    if risk:
        print(f"hemabridge: warning: {risk}", file=sys.stderr)

    def ready(address: str) -> None:
        print(f"Listening on {address}. Readers' links: {folder / LINKS}. Ctrl+C stops; nothing is lost.", flush=True)

    review_serve(folder, host=host, port=port, ready=ready)


@review.command()
def unblind(
    folder: Annotated[Path, typer.Argument(help="Folder of `review create`, after all readers have finished.")],
    despite: Annotated[
        str | None,
        typer.Option(metavar="REASON", help="Unblind although a reader has not finished; the reason is recorded."),
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="The key, if it is in another place [default: FOLDER/key.json].")
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="ARM", help="The arm of the target's own photographs [default: target].")
    ] = None,
    photograph: Annotated[
        list[str] | None,
        typer.Option(metavar="ARM", help="Another arm of photographs, beside original; may be repeated."),
    ] = None,
) -> None:
    """Join the readers' answers with the key: agreement, scores of each arm, and a report with disputed pictures.

    Writes unblinded.json, review-report.html and tables/ to FOLDER. Exits with 2 while a reader's session is open.
    """
    from hemabridge.review.unblinded_tables import READER_SCORES
    from hemabridge.workflows.review.unblind import review_unblind

    done = review_unblind(folder, key=key, despite=despite, target=target, photographs=photograph or ())
    print(done.headline)
    for sentence in done.answer:
        print(f"- {sentence}")
    print(f"Report: {done.report}. Tables: {', '.join(str(path) for path in done.tables.values())}.")
    if READER_SCORES in done.tables:
        print(f"Next: hemabridge select RUN --readers {done.tables[READER_SCORES]}")
