"""One word for one thing: no old word of the project's glossary, and American spelling, in code and documents."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
PLACES: Final = (
    *("src", "tests", "docs", "recipes", "benchmarks", "examples", "docker"),
    *("README.md", "CONTRIBUTING.md", "Makefile", "mkdocs.yml", "pyproject.toml"),
)
SUFFIXES: Final = frozenset({".py", ".md", ".toml", ".json", ".j2", ".js", ".css", ".svg", ".yml", ".yaml", ""})
EXEMPT: Final = (
    "src/hemabridge/recipes/old_names.py",
    "tests/recipes/test_old_names.py",
    "tests/models/formats/",
    "tests/models/test_formats.py",
    "tests/test_words.py",
)
"""What holds old words on purpose: the new names of old keys, and files of old formats. CHANGELOG.md is no place."""

OLD_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        r"random_looks|in_source_looks|site_looks|source_looks": "stain_augmentation or target_to_source",
        r"by[-_]look": "by-subdomain",
        r"\blooks? of (?:the|a) (?:site|source|target)\b": "appearance descriptor or subdomain",
        r"agreeing answers?": "ensemble",
        r"discord": "max_agreement_gap",
        r"\baccord\b": "soft_agreement",
        r"\bsureness\b": "confidence",
        r"batch_norm_anew": "AdaBN",
        r"\bbelieved\b": "pseudo-labels",
        r"\bboth_sites\b": "semi-supervised fine-tuning",
        r"taught[ _-]table|\btaught\b": "learned color LUT, fine-tuned",
        r"mixing[ _]rounds": "prior_rounds",
        r"\bmix(?:es)?\b|class_mix": "class prior, prevalence",
        r"known site|unknown site|near site": "in-distribution, borderline, out-of-distribution",
        r"\bretakes?\b|\bretaken\b|\bretaking\b": "restyle",
        r"\bdissent": "consensus negative log-likelihood",
        r"synthetic_worth|worth_curve": "rare-class learning curve",
        r"\bstandings?\b": "leaderboard entry",
        r"\bwish(?:es)?\b": "spec",
        r"named\.csv": "predicted-classes.csv",
        r"as_agreed": "disagreement_margin",
        r"those who see shape": "shape members",
        r"\banew\b": "again; of batch norm statistics AdaBN",
        r"\b(?:are|is) worth\b|labels worth": "rare-class learning curve; labels saved",
        r"(?:'s|whose|random|several|another) looks?\b(?! like| alike)|\bin(?:to)? the look of\b|\blook of yours\b": (
            "colors, appearance descriptor or subdomain"
        ),
        r"\bjudge[sd]?\b": "discriminator, or shape members",
        r"\bteams?\b|\bheard\b": "ensemble",
        r"\bdoubt(?:s|ed)?\b": "confidence gap",
        r"as_near": "stain_margin",
        r"\bnam(?:es?|ed|ing) (?:[a-z]+ ){0,3}(?:correctly|wrongly)\b|\bnames? (?:the |a )?cells?\b": "classify",
        r"\bnamed rightly\b|\bnamed as the key\b|\bclassifiers? names?\b": "classify, predict",
    }
)
"""Regular expression of an old word, and what is said instead."""

BRITISH: Final[Mapping[str, str]] = MappingProxyType(
    {
        r"colour": "color",
        r"(?:normal|standard|organ|recogn|optim|minim|maxim|summar|visual|character|categor|initial|general|serial|random)"
        r"is(?:e[ds]?|ing|ation)": "-ize",
        r"\bgrey": "gray",
        r"behaviour": "behavior",
        r"neighbour": "neighbor",
        r"\bcentres?\b": "center",
        r"favour": "favor",
        r"(?:un)?labell(?:ed|ing)": "labeled",
        r"modell(?:ed|ing)": "modeled",
        r"analyse[ds]?\b": "analyze",
        r"judgement": "judgment",
        r"\bartefact": "artifact",
    }
)
"""Regular expression of a British spelling, and the American one."""

HOMONYMS: Final[Mapping[str, str]] = MappingProxyType(
    {
        r"artefacts\?\|artifacts": "what folders of others may be called",
        r'"unlabelled"|raabin/unlabelled': "a folder name that data sets on disk have",
        r"(?:self|alone)\.mix\b": "the layer of a network that mixes color tables",
        r"aria-labelledby": "an attribute of HTML",
        r"set_params\(colour=1\)|got colour": "a misspelled name, which is refused",
        r"\b(?:in|[Ii]f in|beyond all|no) doubt\b": "ordinary English; also the guard's verdict `warn`",
        r"(?:stretch|row|found|whole)\.judged|`judged`|judged: int|judged=": "cells that human readers judged",
        r"Judge by what you see|whoever judges a stain|arm that is judged": "of human readers",
    }
)
"""What is allowed although a pattern matches inside of it, and why."""


def files() -> Iterator[Path]:
    """Yield all texts whose words are held."""
    for place in PLACES:
        path = ROOT / place
        found = sorted(path.rglob("*")) if path.is_dir() else [path] if path.exists() else []
        yield from (
            file
            for file in found
            if file.is_file()
            and file.suffix in SUFFIXES
            and "__pycache__" not in file.parts
            and not file.relative_to(ROOT).as_posix().startswith(EXEMPT)
        )


def old_words(text: str) -> list[str]:
    """Return, for each old word or spelling in a text: its line, itself, and what is said instead."""
    allowed = [match.span() for homonym in HOMONYMS for match in re.finditer(homonym, text)]
    found, lower = [], text.lower()  # twice as fast as to ignore the case
    for pattern, instead in (*OLD_WORDS.items(), *BRITISH.items()):
        found += [
            f"line {lower.count(chr(10), 0, match.start()) + 1}: {match[0]!r}: say {instead}"
            for match in re.finditer(pattern, lower)
            if not any(start <= match.start() and match.end() <= end for start, end in allowed)
        ]
    return found


def test_no_old_word_is_left() -> None:
    texts = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in files()}
    assert len(texts) > 300
    assert [f"{name}, {word}" for name, text in texts.items() for word in old_words(text)] == []


@pytest.mark.parametrize(
    "planted",
    [
        "in_source_looks", "by-look", "Discord", "sureness", "believed", "both_sites", "taught table",
        "mixing_rounds", "class mix", "retake", "dissent", "standings", "wish", "named.csv", "as_agreed",
        "those who see shape", "anew", "labels worth", "whose look", "judges", "teams", "doubted", "as_near",
        "named correctly", "named rightly", "a classifier names",
        "Colour", "standardise", "normalisation", "grey", "neighbouring", "labelled", "analysed",
    ],
)  # fmt: skip
def test_a_planted_word_is_found(planted: str) -> None:
    assert old_words("A text in the field's words, about a domain-classifier AUC.\n") == []
    assert [found.partition(":")[0] for found in old_words(f"A text\nwith {planted} in it.\n")] == ["line 2"]


def test_every_homonym_still_stands_somewhere() -> None:
    texts = [path.read_text(encoding="utf-8") for path in files()]
    assert [homonym for homonym in HOMONYMS if not any(re.search(homonym, text) for text in texts)] == []
