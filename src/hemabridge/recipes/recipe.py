"""The recipe of a study, and of the sites and classifiers in it: the settings that one TOML file holds."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)

from hemabridge.classifiers.config import ClassifierConfig, ExternalConfig
from hemabridge.ensemble.config import EnsembleConfig
from hemabridge.normalizers.catalog import NormalizerNames
from hemabridge.storage.files import folder_name
from hemabridge.storage.settings_file import RecipePath, RunName, Seed, each_once
from hemabridge.translators.config import TranslatorConfig
from hemabridge.translators.presets import PresetNames


def _for_training_and_tests(parts: dict[str, float]) -> dict[str, float]:
    if not {"train", "test"} <= parts.keys():
        raise ValueError("expected at least the parts train and test")
    return parts


ClassNames = Annotated[tuple[str, ...], AfterValidator(each_once)]
Parts = Annotated[dict[str, float], AfterValidator(_for_training_and_tests)]
"""The share of a site's cells for each part of the split."""


StatedCropPx = Annotated[int, Field(ge=8)] | Literal["whole"]
"""Side of the square around a cell in pixels, at least 8, or `whole` (`hemabridge.imaging.scale.CropPx`)."""


class SiteRecipe(BaseModel):
    """The images of one hospital: a folder with a folder per class, or a manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    site: str = Field(min_length=1, max_length=80, description="the hospital's name")
    folder: RecipePath | None = Field(None, description="a folder with one folder of images per class")
    manifest: RecipePath | None = Field(None, description="a manifest, as `hemabridge index` writes it")
    root: RecipePath | None = Field(
        None, description="folder that the manifest's paths are relative to; that of the manifest if not given"
    )
    crop_px: StatedCropPx | None = Field(
        None,
        description="side of the square around a cell; 'whole' resizes whole images to a square, as the paper does; "
        "estimated if not given",
    )
    crop_um: Annotated[float, Field(ge=5, le=200)] | None = Field(
        None, description="the same side in micrometers, in place of crop_px; um_per_px says what that is in pixels"
    )
    um_per_px: Annotated[float, Field(gt=0, le=10)] | None = Field(
        None,
        description="micrometers per pixel of the images, with crop_um; from the files or their red cells if not given",
    )
    subclasses: bool = Field(
        False, description="use the finer classes in file names of PBC_dataset_normal_DIB; only with a folder"
    )

    @model_validator(mode="after")
    def _check_one_origin(self) -> Self:
        if (self.folder is None) == (self.manifest is None):
            raise ValueError("expected either folder or manifest")
        return self

    @model_validator(mode="after")
    def _check_one_crop(self) -> Self:
        if self.crop_px is not None and self.crop_um is not None:
            raise ValueError(f"expected crop_px or crop_um, got both ({self.crop_px} and {self.crop_um:g})")
        if self.um_per_px is not None and self.crop_um is None:
            raise ValueError("expected um_per_px together with crop_um; add crop_um, such as 17")
        return self

    def described_crop(self) -> dict[str, Any]:
        """Return what identifies the crop, as JSON; micrometers are omitted if none are given."""
        um = {} if self.crop_um is None else {"crop_um": self.crop_um, "um_per_px": self.um_per_px}
        return {"crop_px": self.crop_px} | um


class ClassifierRecipe(BaseModel):
    """A classifier of the study: fine-tuned on the target site, or an external one from a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=80, pattern=r"^[\w .,()+-]+$", description="its name in the tables")
    train: ClassifierConfig | None = None
    external: ExternalConfig | None = None

    @model_validator(mode="after")
    def _check_one_kind(self) -> Self:
        if (self.train is None) == (self.external is None):
            raise ValueError("expected either train or external")
        return self

    @property
    def size_px(self) -> int:
        """Side of the classifier's input in pixels."""
        if self.train is not None:
            return self.train.size_px
        assert self.external is not None  # checked above
        return self.external.preprocessing.size_px


class SourceFineTuningRecipe(BaseModel):
    """The second fine-tuning, on the labeled training part of the source site."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(15, ge=1)
    rate_share: float = Field(
        0.3, gt=0, le=1, description="peak learning rate of its 1cycle schedule, as a share of the first fine-tuning's"
    )
    k_labels: Annotated[tuple[Annotated[int, Field(ge=2)], ...], AfterValidator(each_once)] = Field(
        (),
        description="smaller numbers of labels to test too, such as [8, 16, 32, 64]: on originals and on the last "
        "tested snapshot",
    )
    frozen_batch_norm: bool = Field(False, description="keep the target's batch norm statistics while fine-tuning")

    def described(self) -> dict[str, Any]:
        """Return what identifies a fine-tuning on all labels, as JSON; settings that are off are omitted."""
        return self.model_dump(exclude={"k_labels"} if self.frozen_batch_norm else {"k_labels", "frozen_batch_norm"})


class StudyRecipe(BaseModel):
    """The recipe of `hemabridge study`: Blocks 1 and 2 of the paper on two sites."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["study"]
    name: RunName
    seed: Seed = 0
    classes: ClassNames = Field(
        (), description="classes of the classifiers; if not given, all with enough cells at both sites"
    )
    mode: Literal["strict", "transductive"] = Field(
        "strict",
        description="strict: the translator is not trained on the scored source images; transductive: it is, without "
        "their labels",
    )
    target: SiteRecipe = Field(
        description="the hospital of the classifiers; `[[target]]` may be given several times: one's own hospital, "
        "then further labeled hospitals from which all classifiers learn too"
    )
    further_targets: tuple[SiteRecipe, ...] = Field(
        (), description="the entries of `[[target]]` after the first; a recipe does not state this key"
    )
    source: SiteRecipe
    truth: SiteRecipe | None = Field(
        None, description="the source's cells with the target's appearance, as ground truth; simulations only"
    )
    target_parts: Parts = {"train": 0.8, "validation": 0.1, "test": 0.1}
    source_parts: Parts = {"train": 0.5, "test": 0.5}
    translator: TranslatorConfig = TranslatorConfig()
    normalizers: NormalizerNames = Field(
        ("white-point", "reinhard-image", "histogram", "macenko"), description="re-stainings without a GAN, to compare"
    )
    translators: PresetNames = Field(
        (), description="presets of further translators to compare; the last snapshot of each is tested"
    )
    tested_epochs: tuple[int, ...] = Field((10, 15, 20, 25, 200), min_length=1, description="the snapshots to test")
    classifiers: tuple[ClassifierRecipe, ...] = Field(min_length=1)
    source_fine_tuning: SourceFineTuningRecipe | None = Field(
        SourceFineTuningRecipe(), description="the second fine-tuning; leave it out with source_fine_tuning=false"
    )

    adabn: bool = Field(
        False,
        description="test each classifier also with AdaBN: batch norm statistics from the source's unlabeled cells",
    )
    more_seeds: tuple[Seed, ...] = Field(
        (), description="repeat the study with these seeds on the same split, for mean and spread"
    )
    audit: bool = Field(True, description="whether to audit the images of both sites first")
    guard: bool = Field(True, description="whether to check the morphology of each re-stained test cell")
    ensemble: EnsembleConfig | None = Field(
        None, description="the pooled prediction of all classifiers and several re-stainings, as one more row"
    )

    @model_validator(mode="before")
    @classmethod
    def _read_targets(cls, value: Any) -> Any:
        if not isinstance(value, dict) or not isinstance(value.get("target"), list):
            return value
        if not value["target"] or "further_targets" in value:
            raise ValueError("expected [target], or [[target]] once or more and no key further_targets")
        first, *others = value["target"]
        return {**value, "target": first, "further_targets": others}

    @model_serializer(mode="wrap")
    def _write_targets(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = serialize(self)
        further = found.pop("further_targets")
        return {**found, "target": [found["target"], *further]} if further else found

    @field_validator("source_fine_tuning", mode="before")
    @classmethod
    def _read_fine_tuning(cls, value: Any) -> Any:
        return None if value is False else value

    @field_serializer("source_fine_tuning")
    def _write_fine_tuning(self, value: SourceFineTuningRecipe | None) -> dict[str, Any] | Literal[False]:
        return False if value is None else value.model_dump()  # TOML knows no None

    @model_validator(mode="after")
    def _check_tested_epochs(self) -> Self:
        tested, translator = self.tested_epochs, self.translator
        if len(set(tested)) != len(tested):
            raise ValueError(f"expected each of tested_epochs once, got {list(tested)}")
        last, every = translator.constant_epochs + translator.decay_epochs, translator.snapshot_every_epochs
        epochs = [*range(every, last, every), last]
        missing = [epoch for epoch in tested if epoch not in epochs]
        # Snapshots at given numbers of images may be at whole epochs; that depends on the number of cells.
        if missing and not translator.snapshot_images:
            raise ValueError(
                f"expected tested_epochs among the snapshots' epochs {epochs}, got {missing}; "
                "change tested_epochs, or snapshot_every_epochs of the translator"
            )
        return self

    @model_validator(mode="after")
    def _check_seeds(self) -> Self:
        seeds = (self.seed, *self.more_seeds)
        if len(set(seeds)) != len(seeds):
            raise ValueError(f"expected more_seeds that differ from each other and from seed, got {list(seeds)}")
        return self

    @property
    def trainings(self) -> tuple[ClassifierConfig, ...]:
        """Settings of all classifiers that the study trains, including those of its ensemble."""
        own = tuple(spec.train for spec in self.classifiers if spec.train is not None)
        return own if self.ensemble is None else (*own, *self.ensemble.trainings)

    @property
    def size_px(self) -> int:
        """Side of the cells that are re-stained, in pixels: the size at which the translator is trained."""
        return self.translator.crop_px

    def cells_px(self, classifier: ClassifierRecipe) -> int:
        """Return the side, in pixels, at which cells are cut from the original images for a classifier.

        It is the classifier's input size if that is larger than the translator's cells, so that no detail is lost.
        Otherwise it is the size of the translator's cells, which the classifier's preprocessing shrinks. Original cells
        are then resized in two steps, like the re-stained cells that they are compared with.
        """
        return max(self.size_px, classifier.size_px)

    @property
    def ensemble_px(self) -> int:
        """Side of the ensemble's cells in pixels: the largest input size of its members."""
        inputs = (*(each.size_px for each in self.classifiers), *(each.size_px for each in self.trainings))
        return max(self.size_px, *inputs)

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        classifiers = tuple(spec.name for spec in self.classifiers)
        sites = tuple(each.site for each in (self.source, self.target, *self.further_targets))
        for kind, names in (("sites", sites), ("classifiers", classifiers)):
            folders = [folder_name(name) for name in names]
            if len(set(folders)) < len(folders) or "" in folders:
                raise ValueError(
                    f"expected names of {kind} that differ in letters or digits (each gets a folder), got {list(names)}"
                )
        return self
