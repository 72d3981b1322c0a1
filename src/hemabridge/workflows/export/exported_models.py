"""What a bundle is made from: the models of a path, and the entries of the bundle that hold them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hemabridge.classifiers.config import ExternalConfig
from hemabridge.deployment.bundle import (
    CLASSIFIER_HEADER,
    CLASSIFIER_NETWORK,
    CLASSIFIER_WEIGHTS,
    RESTAINER_GUARD,
    RESTAINER_HEADER,
    RESTAINER_JSON,
    RESTAINER_NETWORK,
    RESTAINER_WEIGHTS,
    ClassifierPart,
    RestainerPart,
)
from hemabridge.errors import ModelError
from hemabridge.models import Model, open_model
from hemabridge.models.bundled import BundleModel
from hemabridge.models.classifying import ClassifierModel
from hemabridge.models.restaining import NormalizerModel, TranslatorModel, needs_torch
from hemabridge.workflows.adapt.adapted import EXAMPLES, Adapted, is_adapt_run
from hemabridge.workflows.adapt.apply import RESTAINED, opened_for


@dataclass(frozen=True)
class Models:
    """The models to export.

    Attributes:
        restainer: the one that re-stains; None if there is none.
        classifier: the one that classifies; None if there is none.
        adapted: what `hemabridge adapt` found; None for other models.
    """

    restainer: Model | None
    classifier: ClassifierModel | None
    adapted: Adapted | None = None

    @property
    def all(self) -> tuple[Model, ...]:
        """The one or two models."""
        return tuple(model for model in (self.restainer, self.classifier) if model is not None)


def models_of(run: Path, snapshot: str | None = None, crop_px: int | None = None) -> Models:
    """Open what is exported: the run folder of `hemabridge adapt`, or any path that `open_model` takes.

    Raises:
        ModelError: there is no model, it is damaged, or it is a bundle.
        InputError: a run is not finished.
    """
    if is_adapt_run(run):
        if snapshot is not None or crop_px is not None:
            raise ModelError(f"expected no snapshot and no crop for a run of `hemabridge adapt`, which has both: {run}")
        found = opened_for(run)
        assert isinstance(found.classifier, ClassifierModel)
        return Models(found.restainer, found.classifier, found.adapted)
    model = open_model(run, snapshot=snapshot, crop_px=crop_px)
    if isinstance(model, BundleModel):
        raise ModelError(f"expected a model to export, got a bundle, which is exported already: {run}")
    if isinstance(model, ClassifierModel):
        return Models(None, model)
    if isinstance(model, TranslatorModel) and model.header.is_target_only:
        raise ModelError(
            f"expected a model of one other hospital, got a target-only one, whose appearance descriptors ONNX cannot "
            f"compute: {model.path}; export a student of it (`hemabridge train RECIPE`, with a teacher in it), or "
            "another model"
        )
    return Models(model, None)


def default_images(run: Path) -> Path | None:
    """Return the folder of real images in a run of `hemabridge adapt` or `hemabridge label`; None if there is none."""
    folders = (run / "results" / RESTAINED, run / EXAMPLES)
    return next((folder for folder in folders if is_adapt_run(run) and folder.is_dir()), None)


def restainer_entries(model: Model | None) -> tuple[RestainerPart | None, dict[str, bytes]]:
    """Return what the manifest states of a model that re-stains, and its entries."""
    if model is None:
        return None, {}
    entries: dict[str, bytes] = {}
    if isinstance(model, NormalizerModel):
        entries[RESTAINER_JSON] = model.file.text.encode()
    elif isinstance(model, TranslatorModel):
        needs_torch()
        from hemabridge.workflows.export.networks import translator_network, translator_weights

        header = model.header.model_copy(update={"seen": ()}).as_json()
        entries |= {
            RESTAINER_HEADER: _json(header),
            RESTAINER_NETWORK: translator_network(model),
            RESTAINER_WEIGHTS: translator_weights(model, header),
        }
    if model.guard is not None:
        entries[RESTAINER_GUARD] = model.guard.model_dump_json(indent=1).encode()
    part = RestainerPart(
        kind="normalizer" if isinstance(model, NormalizerModel) else "translator",
        sha256=model.sha256,
        guarded=model.guard is not None,
        crop_px=model.crop_px,
    )
    return part, entries


def classifier_entries(model: ClassifierModel | None) -> tuple[ClassifierPart | None, dict[str, bytes]]:
    """Return what the manifest states of a model that classifies, and its entries.

    Hashes of the images that it was trained on are left out: they would tell who has one of these images.
    """
    if model is None:
        return None, {}
    if isinstance(model.header, ExternalConfig) and model.header.is_onnx:
        return _external(model, model.header, model.file.content)
    needs_torch()
    from hemabridge.workflows.export.networks import classifier_network, classifier_weights

    if isinstance(model.header, ExternalConfig):
        return _external(model, model.header, classifier_network(model))
    header = model.header.model_copy(update={"seen": ()}).as_json()
    entries = {
        CLASSIFIER_HEADER: _json(header),
        CLASSIFIER_NETWORK: classifier_network(model),
        CLASSIFIER_WEIGHTS: classifier_weights(model, header),
    }
    return ClassifierPart(kind="snapshot", sha256=model.sha256, crop_px=model.crop_px), entries


def _external(model: Model, config: ExternalConfig, network: bytes) -> tuple[ClassifierPart, dict[str, bytes]]:
    header = config.model_dump(mode="json", exclude={"file", "architecture"})
    part = ClassifierPart(kind="external", sha256=model.sha256, crop_px=model.crop_px)
    return part, {CLASSIFIER_HEADER: _json(header), CLASSIFIER_NETWORK: network}


def _json(table: Mapping[str, object]) -> bytes:
    return json.dumps(table, indent=1, ensure_ascii=False, allow_nan=False).encode()
