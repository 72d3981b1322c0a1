"""Kinds of values that recipes of all kinds share. Nothing here needs PyTorch."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo


def _beside_the_recipe(path: Path, info: ValidationInfo) -> Path:
    folder: Path = (info.context or {}).get("folder", Path())
    return (folder / path).resolve()


RecipePath = Annotated[Path, AfterValidator(_beside_the_recipe)]
"""A path in a recipe is relative to the recipe's own folder."""
Seed = Annotated[int, Field(ge=0, lt=2**63)]
"""What both NumPy and PyTorch take for a seed."""
RunName = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
"""Letters, digits, hyphens and dots: it is a folder's name too."""
