"""The commands of a folder that fills up: watch, and log verify."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from hemabridge.cli.app import KeepIdentity, app

log = typer.Typer(name="log", help="The audit log of a folder that hemabridge watch wrote.", no_args_is_help=True)
app.add_typer(log, name="log")


@app.command()
def watch(
    bundle: Annotated[Path, typer.Argument(help="A bundle that `export` wrote.")],
    source: Annotated[Path, typer.Argument(metavar="IN", help="Folder in which images arrive; it is only read.")],
    out: Annotated[Path, typer.Argument(help="Folder for the batches, the quarantine and the audit log.")],
    on_alarm: Annotated[
        Literal["hold", "flag"],
        typer.Option(
            help="A batch of an unknown hospital, with drift, or with too many refusals of the guard: `hold` keeps it "
            "back for a person, `flag` lets it pass and says so."
        ),
    ] = "hold",
    key: Annotated[
        Path | None, typer.Option(metavar="PUB", help="Public key of the bundle's sender; see `verify`.")
    ] = None,
    interval: Annotated[float, typer.Option(min=0.01, help="Seconds between two looks into the folder.")] = 2.0,
    settle: Annotated[
        float, typer.Option(min=0, help="Seconds without a change after which an image counts as complete.")
    ] = 5.0,
    retries: Annotated[
        int, typer.Option(min=0, max=100, help="How often reading an image, or writing a batch, is tried again.")
    ] = 3,
    once: Annotated[bool, typer.Option("--once", help="Do what is there, and stop.")] = False,
    keep_identity: KeepIdentity = False,
) -> None:
    """Re-stain and classify what arrives in a folder, batch by batch, until Ctrl-C or SIGTERM.

    An image with a result is not done again. Each batch appears whole in OUT/batches, or with an alarm in OUT/held.
    Images that cannot be used go to OUT/quarantine with the reason. OUT/audit.jsonl lists everything. Exits with 0 when
    it is stopped, with 1 after --once if something was held, flagged or put into quarantine, and with 2 on an error.
    """
    from hemabridge.deployment.signing import read_public_key
    from hemabridge.workflows.verify import open_verified
    from hemabridge.workflows.watch.watch import WatchConfig
    from hemabridge.workflows.watch.watch import watch as run

    model = open_verified(bundle, None if key is None else read_public_key(key))
    config = WatchConfig(on_alarm, interval, settle, retries, once, keep_identity)
    done = run(model, source, out, config, lambda line: print(line, flush=True))
    if once and (done.quarantined or done.batches["held"] or done.batches["flagged"]):
        raise typer.Exit(1)


@log.command()
def verify(
    out: Annotated[Path, typer.Argument(help="Output folder of `watch`.")],
    last: Annotated[
        str | None,
        typer.Option(metavar="HASH", help="A hash that this command printed earlier: its entry must still be there."),
    ] = None,
) -> None:
    """Check that no entry of the log was changed, removed or inserted, and that the re-stained images are those listed.

    Note the hash that it prints elsewhere: with --last, a log of which the end was cut off is recognized too.
    """
    from hemabridge.workflows.watch.audit_check import check_log

    done = check_log(out, last)
    print(f"{done.chain.entries} entries, each as it was written; hash of the last one: {done.chain.last}")
    if done.chain.torn:
        print(f"{done.chain.torn} bytes follow, of an entry that was not finished.")
    print(f"{done.compared} re-stained images as the log lists them, {done.missing} no longer there.")
