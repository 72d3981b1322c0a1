"""What a run of `hemabridge adapt` learned from: its settings, and where the labeled images lie.

The file is for commands that train further, such as `hemabridge label`. Nothing that only predicts reads it, and no
bundle contains it, since it holds paths of this computer.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, TypeAdapter, model_validator

from hemabridge.data.cells import CellSet
from hemabridge.errors import InputError
from hemabridge.recipes.recipe import SiteRecipe
from hemabridge.recipes.sites import Site, read_settled
from hemabridge.storage.file_kind import FileKind, with_format
from hemabridge.storage.files import atomic_write
from hemabridge.workflows.adapt.config import AdaptConfig

LEARNED_FROM_FILE: Final = "learned-from.json"
FORMAT: Final = 1
"""Files of earlier versions have no number, and the same content."""
_AGAIN: Final = "run the same `hemabridge adapt OURS NEW --out RUN` again, which trains nothing twice"
_WHAT: Final = "the settings and labeled images of a run of `hemabridge adapt`"
_KIND: Final = FileKind(_WHAT, InputError, _AGAIN)


class LabeledImages(BaseModel):
    """A hospital's name, and the folder to which the paths of its cells are relative."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    site: str
    root: Path


class LearnedFrom(BaseModel):
    """The content of `learned-from.json`.

    Attributes:
        config: settings of the trainings.
        seed: random seed.
        own: one's own labeled cells.
        further: those of further hospitals.
        fitted_to: identifies the other hospital's cells to which the run was fitted (`identity_of`).
        format: version of the format.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: AdaptConfig
    seed: int
    own: LabeledImages
    further: tuple[LabeledImages, ...]
    fitted_to: str
    format: int = FORMAT

    @model_validator(mode="before")
    @classmethod
    def _of_this_format(cls, data: object) -> object:
        return with_format(data, FORMAT, _WHAT, _AGAIN)

    @classmethod
    def of(cls, config: AdaptConfig, seed: int, own: Site, further: Sequence[Site], source: CellSet) -> "LearnedFrom":
        """Describe the sites of a run."""
        return cls(
            config=config,
            seed=seed,
            own=_images_of(own),
            further=tuple(map(_images_of, further)),
            fitted_to=identity_of(source),
        )

    def write(self, run: Path) -> None:
        """Write the file into the run folder."""
        with atomic_write(run / LEARNED_FROM_FILE) as temporary:
            temporary.write_text(self.model_dump_json(indent=2), encoding="utf-8")

    @classmethod
    def of_folder(cls, run: Path) -> "LearnedFrom":
        """Read the file of a run folder.

        Raises:
            InputError: an earlier version made the run, which has no such file; or it is damaged.
        """
        path = run / LEARNED_FROM_FILE
        if not path.is_file():
            raise InputError(f"expected {LEARNED_FROM_FILE} in {run}, got none, as of an earlier version; {_AGAIN}")
        return cls.read(path)

    @classmethod
    def read(cls, path: Path) -> "LearnedFrom":
        """Read the file.

        Raises:
            InputError: it is damaged, or has another format.
        """
        return _KIND.read_as(path, TypeAdapter(cls))

    def sites(self, run: Path) -> tuple[Site, ...]:
        """Return the labeled sites with their parts and scale, one's own first.

        Raises:
            InputError: the images are not where they were.
            ManifestError: the run lacks the cells of a site.
        """
        return tuple(_site_in(run, each) for each in (self.own, *self.further))


def identity_of(cells: CellSet) -> str:
    """Return a hash of files, order and crop of cells."""
    return hashlib.sha256(json.dumps([cells.hashes, cells.crop_px]).encode()).hexdigest()


def _images_of(site: Site) -> LabeledImages:
    return LabeledImages(site=site.name, root=site.manifest.root.resolve())


def _site_in(run: Path, images: LabeledImages) -> Site:
    if not images.root.is_dir():
        raise InputError(
            f"expected the labeled images of {images.site} in {images.root}, from which the classifiers learned and "
            f"learn further, got no such folder; put them back, or adapt with their present folder: "
            "`hemabridge adapt OURS NEW --out RUN`"
        )
    return read_settled(SiteRecipe(site=images.site, folder=images.root), run)
