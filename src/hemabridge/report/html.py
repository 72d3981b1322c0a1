"""The common parts of all HTML reports: templates, style sheets, embedded images, folded facts, writing."""

import re
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from hemabridge.evaluation.home_failure import first_words
from hemabridge.report import (
    morphology_section,
    story,
)
from hemabridge.report import sentences as findings
from hemabridge.report.layout import column_name
from hemabridge.report.pictures import data_uri, image_uri
from hemabridge.storage.files import atomic_write

_CODE: Final = re.compile("`([^`]*)`")

FEW_FACTS = 4
"""Facts with a common beginning ("seconds, ...") are folded together when there are more of them than this."""


def _png_uri(png: bytes) -> str:
    return data_uri(png, "image/png")


def svg_uri(svg: bytes) -> str:
    """Return an SVG as a `data:` URI."""
    return data_uri(svg, "image/svg+xml")


def with_code(sentence: str) -> str:
    """Return a sentence as HTML that is safe: what stands between backticks, such as a command, is code."""
    return _CODE.sub(r"<code>\1</code>", escape(sentence))


def group_facts(facts: dict[str, Any]) -> list[tuple[str, list[tuple[str, Any]]]]:
    """Group facts by the text before the first ", " where more than a few share it; the others stay in group ""."""
    beginnings = [key.partition(", ")[0] for key in facts if ", " in key]
    folded = {name for name in beginnings if beginnings.count(name) > FEW_FACTS}
    groups: dict[str, list[tuple[str, Any]]] = {"": []}
    for key, value in facts.items():
        name, _, rest = key.partition(", ")
        if name in folded and rest:
            groups.setdefault(name, []).append((rest, value))
        else:
            groups[""].append((key, value))
    return list(groups.items())


@cache
def report_environment(sentences: ModuleType) -> Environment:
    """Return the Jinja environment of all reports; names are shown as text.

    A template is compiled once in a process.

    Args:
        sentences: the module that is called `story` in the templates of one kind of report.
    """
    environment = Environment(
        loader=PackageLoader("hemabridge.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=story.percent,
        p_text=story.p_text,
        fact=story.fact_text,
        image_uri=image_uri,
        column_name=column_name,
        points=findings.points,
        png_uri=_png_uri,
        in_words=morphology_section.in_words,
        with_code=with_code,
    )
    environment.globals.update(
        story=sentences, findings=findings, morphology_section=morphology_section, first_words=first_words
    )
    return environment


def style_of(*names: str) -> str:
    """Return the text of style sheets, one after the other."""
    folder = files("hemabridge.report") / "templates"
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in names)


def write_html(out: Path, html: str) -> None:
    """Write a report as a whole; lone surrogates, as undecodable file names have them, become "?"."""
    with atomic_write(out) as temporary:
        temporary.write_bytes(html.encode("utf-8", errors="replace"))
