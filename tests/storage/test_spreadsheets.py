import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hemabridge.storage.spreadsheets import as_cell, as_cells, from_cell, from_cells

DANGEROUS = ("=", "+", "-", "@", "\t", "\r")
"""What OWASP's page on CSV injection names."""


@pytest.mark.parametrize("begin", DANGEROUS, ids=["equals", "plus", "minus", "at", "tab", "return"])
def test_a_formula_becomes_text(begin: str) -> None:
    assert as_cell(f"{begin}SUM(A1)") == f"'{begin}SUM(A1)"


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_any_text_is_safe_and_comes_back(text: str) -> None:
    assert not as_cell(text).startswith(DANGEROUS)
    assert from_cell(as_cell(text)) == text


@given(st.lists(st.none() | st.text(alphabet="=+-@'\t\r\na", max_size=4), min_size=1, max_size=8))
def test_a_table_is_treated_as_its_cells(texts: list[str | None]) -> None:
    table = pl.DataFrame({"text": texts, "number": range(len(texts))}, schema={"text": pl.String, "number": pl.Int64})
    safe = as_cells(table)
    assert safe["text"].to_list() == [None if text is None else as_cell(text) for text in texts]
    assert from_cells(safe).equals(table)
