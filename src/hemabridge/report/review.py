"""The report of a review: one HTML file with what readers said, and the pictures that they disagreed on."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from hemabridge._version import __version__
from hemabridge.evaluation.reading import Reading
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.report import reading_story
from hemabridge.report.pictures import data_uri
from hemabridge.report.reading_figures import arms_svg, session_svg
from hemabridge.report.report import group_facts, report_environment
from hemabridge.storage.files import atomic_write

STYLES = ("study.css", "reading.css")


def write_review_report(reading: Reading, pictures: Mapping[str, Sequence[UInt8Image]], out: Path) -> None:
    """Write the report of a review as one self-contained HTML file.

    It needs no script, no font and no other file, and forbids the browser every connection. Names of readers, arms and
    classes may hold anything; they are shown as text.

    Args:
        reading: what was found.
        pictures: of the disputes that `reading_story.gallery` picks, by the screen's id, from left to right; those
            that are missing are named and not shown.
        out: the HTML file; replaced as a whole.
    """
    folder = files("hemabridge.report") / "templates"
    html = (
        report_environment(reading_story)
        .get_template("reading.html.j2")
        .render(
            reading=reading,
            pictures=pictures,
            figures={name: data_uri(svg, "image/svg+xml") for name, svg in _figures(reading).items()},
            fact_groups=group_facts(reading.facts),
            style="\n".join((folder / name).read_text(encoding="utf-8") for name in STYLES),
            version=__version__,
        )
    )
    with atomic_write(out) as temporary:
        # Names may hold lone surrogates (undecodable file names); they are shown as "?".
        temporary.write_bytes(html.encode("utf-8", errors="replace"))


def _figures(reading: Reading) -> dict[str, bytes]:
    """Draw the figures for which there are data."""
    drawn = {}
    measure = reading_story.main_measure(reading)
    if measure is not None:
        drawn["arms"] = arms_svg(reading, reading_story.of_all(reading, measure), f"share {measure}")
    if any(stretch.part for stretch in reading.stretches):
        drawn["session"] = session_svg(reading)
    return drawn
