"""The HTML reports of a study, a review, a synthesis, of labels and of a count: one file each, which opens offline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hemabridge._version import __version__
from hemabridge.evaluation.differential_results import CountedCell, DifferentialResults
from hemabridge.evaluation.label_results import LabelResults
from hemabridge.evaluation.languages import class_in, stored_in
from hemabridge.evaluation.reading import Reading
from hemabridge.evaluation.results import StudyResults
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.report import (
    differential_story,
    labeling_story,
    morphology_section,
    reading_story,
    story,
    synthesis_story,
)
from hemabridge.report.curves import labels_svgs, refusals_svg, reliability_svgs, risk_svgs
from hemabridge.report.figures import accuracy_svg, loss_svg
from hemabridge.report.html import group_facts, report_environment, style_of, svg_uri, write_html
from hemabridge.report.layout import Layout, column_name, lay_out
from hemabridge.report.learning_curve import learning_curve_svg
from hemabridge.report.pictures import CellStrip, StudyPictures, data_uri
from hemabridge.report.reading_figures import arms_svg, session_svg
from hemabridge.report.synthesis_pictures import DirectionPictures, shapes_svg
from hemabridge.sampling import evenly_spaced
from hemabridge.synthesis.learning_curve import in_words
from hemabridge.synthesis.pair_results import Direction, SynthesisResults

HEADLINE_CLASSES = 4
"""Classes of which the beginning of a report shows a cell, at most."""


@dataclass(frozen=True)
class ChosenSnapshot:
    """The choice of `hemabridge select` for the run of a report.

    Attributes:
        reasons: sentences on the choice, or on why there is none to show.
        picture: the choice as PNG, if there is one.
    """

    reasons: str
    picture: bytes | None = None


def write_study_report(
    results: StudyResults, pictures: StudyPictures, out: Path, chosen: ChosenSnapshot | None = None
) -> None:
    """Write the report of a study as one self-contained HTML file.

    It needs no script, no font and no other file, and forbids the browser every connection. Names of sites, classes and
    classifiers may hold anything; they are shown as text.

    Args:
        results: what the study found.
        pictures: the cells to show.
        out: the HTML file; replaced as a whole.
        chosen: the snapshot that was chosen, if one was.

    Raises:
        InputError: the results hold no test of re-stained images, of more than one source site, or a row twice.
    """
    layout = lay_out(results)
    html = (
        report_environment(story)
        .get_template("study.html.j2")
        .render(
            layout=layout,
            results=results,
            pictures=pictures,
            chosen=chosen,
            hero=_one_per_class(pictures.cells),
            shown=_shown_names(layout, pictures),
            fact_groups=group_facts(results.facts),
            figures=_figures(layout, pictures),
            panels=_panels(layout),
            style=style_of("study.css"),
            version=__version__,
        )
    )
    write_html(out, html)


def _figures(layout: Layout, pictures: StudyPictures) -> dict[str, str]:
    """Draw the figures for which there are data."""
    drawn = {"accuracy": accuracy_svg(layout)}
    if pictures.losses:
        drawn["loss"] = loss_svg(pictures.losses)
    if len(morphology_section.tested_snapshots(layout)) > 1:
        drawn["refusals"] = refusals_svg(morphology_section.tested_snapshots(layout))
    return {name: svg_uri(svg) for name, svg in drawn.items()}


def _panels(layout: Layout) -> dict[str, dict[str, str]]:
    """Draw the figures that have a panel for each classifier, and for which there are data."""
    drawn = {}
    if layout.results.leaderboard:
        drawn = {"reliability": reliability_svgs(layout), "risk": risk_svgs(layout)}
    if len(layout.labels) > 1:
        drawn["labels"] = labels_svgs(layout)
    return {name: {title: svg_uri(svg) for title, svg in svgs.items()} for name, svgs in drawn.items()}


def _one_per_class(cells: tuple[CellStrip, ...]) -> list[CellStrip]:
    """Return a cell of each class; of many classes four, spread evenly over them."""
    found = list({cell.true_class: cell for cell in reversed(cells)}.values())[::-1]
    return [found[place] for place in evenly_spaced(len(found), HEADLINE_CLASSES)]


def _shown_names(layout: Layout, pictures: StudyPictures) -> dict[str, str]:
    """Return the name of each re-staining in the pictures, which is that in the tables."""
    named = {snapshot or images: column_name((images, snapshot)) for images, snapshot in layout.columns}
    keys = pictures.cells[0].restained if pictures.cells else ()
    return {key: named.get(key, key) for key in keys}


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
    html = (
        report_environment(reading_story)
        .get_template("reading.html.j2")
        .render(
            reading=reading,
            pictures=pictures,
            figures={name: data_uri(svg, "image/svg+xml") for name, svg in _review_figures(reading).items()},
            fact_groups=group_facts(reading.facts),
            style=style_of("study.css", "reading.css"),
            version=__version__,
        )
    )
    write_html(out, html)


def _review_figures(reading: Reading) -> dict[str, bytes]:
    """Draw the figures for which there are data."""
    drawn = {}
    measure = reading_story.main_measure(reading)
    if measure is not None:
        drawn["arms"] = arms_svg(reading, reading_story.of_all(reading, measure), f"share {measure}")
    if any(stretch.part for stretch in reading.stretches):
        drawn["session"] = session_svg(reading)
    return drawn


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
            style=style_of("study.css", "synthesis.css"),
            version=__version__,
        )
    )
    write_html(out, html)


def write_label_report(results: LabelResults, images: Mapping[str, UInt8Image], out: Path) -> None:
    """Write the report of `hemabridge label` as one self-contained HTML file, as the other reports are.

    Args:
        results: what was found.
        images: of the labeled cells and of those to label next, by path.
        out: the HTML file; replaced as a whole.
    """
    html = (
        report_environment(labeling_story)
        .get_template("labeling.html.j2")
        .render(results=results, images=images, style=style_of("study.css", "labeling.css"), version=__version__)
    )
    write_html(out, html)


def write_differential_report(
    results: DifferentialResults,
    shown: Mapping[str, Sequence[CountedCell]],
    images: Mapping[str, UInt8Image],
    out: Path,
    language: str = "en",
) -> None:
    """Write the report of `hemabridge differential` as one self-contained HTML file, as the other reports are.

    Args:
        results: the count.
        shown: cells of each class, in the order in which they are shown.
        images: of these cells, by path.
        out: the HTML file; replaced as a whole.
        language: of the report, `en` or `es`.
    """
    html = (
        report_environment(differential_story)
        .get_template("differential.html.j2")
        .render(
            results=results,
            shares=results.shares(),
            shown=shown,
            images=images,
            style=style_of("study.css", "labeling.css", "differential.css"),
            language=language,
            t=partial(differential_story.said, language),
            label=partial(class_in, language),
            stored=partial(stored_in, language),
            version=__version__,
        )
    )
    write_html(out, html)
