"""The report of a synthesis: one HTML file with a page for each pair of classes."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from hemabridge._version import __version__
from hemabridge.report import synthesis_story
from hemabridge.report.learning_curve import learning_curve_svg
from hemabridge.report.pictures import data_uri
from hemabridge.report.report import group_facts, report_environment
from hemabridge.report.synthesis_pictures import DirectionPictures, shapes_svg
from hemabridge.storage.files import atomic_write
from hemabridge.synthesis.learning_curve import in_words
from hemabridge.synthesis.results import Direction, SynthesisResults

STYLES = ("study.css", "synthesis.css")


def write_synthesis_report(
    results: SynthesisResults, pictures: Mapping[str, Mapping[Direction, DirectionPictures]], out: Path
) -> None:
    """Write the report of a synthesis as one self-contained HTML file.

    It needs no script, no font and no other file, and forbids the browser every connection. Names of classes may hold
    anything; they are shown as text.

    Args:
        results: what was found.
        pictures: of both directions of each pair, by the pair's name.
        out: the HTML file; replaced as a whole.
    """
    folder = files("hemabridge.report") / "templates"
    drawn = {
        (pair.name, found.direction): data_uri(shapes_svg(found), "image/svg+xml")
        for pair in results.pairs
        for found in pair.directions
        if found.shapes
    }
    html = (
        report_environment(synthesis_story)
        .get_template("synthesis.html.j2")
        .render(
            results=results,
            views=pictures,
            drawn=drawn,
            learning_curve=results.learning_curve,
            learning_curve_words=[] if results.learning_curve is None else in_words(results.learning_curve),
            drawn_learning_curve=None
            if results.learning_curve is None
            else data_uri(learning_curve_svg(results.learning_curve), "image/svg+xml"),
            figures={},
            fact_groups=group_facts(dict(results.facts)),
            style="\n".join((folder / name).read_text(encoding="utf-8") for name in STYLES),
            version=__version__,
        )
    )
    with atomic_write(out) as temporary:
        # Names may hold lone surrogates (undecodable file names); they are shown as "?".
        temporary.write_bytes(html.encode("utf-8", errors="replace"))
