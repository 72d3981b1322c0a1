"""The model card of a bundle, and its bill of materials, both filled from the files of the run alone.

The card is Markdown with the block `model-index` of Hugging Face (https://huggingface.co/docs/hub/model-cards). The
bill of materials is CycloneDX 1.6 (ECMA-424) with a model card for each model.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final, Self
from uuid import NAMESPACE_URL, uuid5

from hemabridge._version import __version__
from hemabridge.classifiers.config import ExternalConfig
from hemabridge.deployment.bundle import Manifest
from hemabridge.metrics.statistics import Interval, wilson_interval
from hemabridge.models import Model
from hemabridge.models.restaining import NormalizerModel, TranslatorModel
from hemabridge.workflows.adapt.adapted import Adapted
from hemabridge.workflows.export.agreement import Agreement
from hemabridge.workflows.export.exported_models import Models

USE: Final = (
    "For research on images of single blood cells of the hospital to which it was fitted, checked by a person. It is "
    "not a medical device, and no diagnosis may rest on it alone."
)
LIMITS: Final = (
    "It is fitted to the stain and the camera of one hospital. Images whose appearance is out-of-distribution get no "
    "class.",
    "A cell of a class that it does not have gets one of its classes.",
    "Re-staining changes colors, and a network may change shapes. If the morphology guard refuses a re-stained image, "
    "the fallback re-stains it, or the image is marked.",
)


@dataclass(frozen=True)
class Measured:
    """One measured number.

    Attributes:
        kind: name of the metric, such as `balanced_accuracy`.
        on: what it was measured on.
        cells: number of cells.
        value: the number.
        interval: its 95% interval; None if there is none.
    """

    kind: str
    on: str
    cells: int
    value: float
    interval: Interval | None = None


@dataclass(frozen=True)
class Facts:
    """The facts of a bundle for its model card.

    Attributes:
        manifest: its manifest, without the test cells.
        classes: class names; empty without a classifier.
        architecture: name of each model's method or network.
        origin: lines on the models from which it was made.
        limits: lines on its limits.
        measured: measured numbers of the run.
        agreement: its agreement with the models in PyTorch.
    """

    manifest: Manifest
    classes: tuple[str, ...]
    architecture: dict[str, str]
    origin: tuple[str, ...]
    limits: tuple[str, ...]
    measured: tuple[Measured, ...]
    agreement: Agreement

    @classmethod
    def of(cls, models: Models, manifest: Manifest, agreement: Agreement) -> Self:
        """Collect the facts in the files of the models."""
        adapted = models.adapted
        limits: tuple[str, ...] = LIMITS
        if models.restainer is not None and models.restainer.guard is None:
            limits += ("There are no limits for the morphology guard: re-stained images are not checked.",)
        return cls(
            manifest=manifest,
            classes=() if models.classifier is None else models.classifier.classes,
            architecture={model.kind: _architecture(model) for model in models.all},
            origin=tuple(_origin(models)) if adapted is None else tuple(adapted.lines()),
            limits=limits,
            measured=() if adapted is None else _measured(adapted),
            agreement=agreement,
        )

    @property
    def is_classifier(self) -> bool:
        """Whether it classifies."""
        return bool(self.classes)


def model_card(facts: Facts) -> str:
    """Return the card, Markdown with a block of YAML at its head."""
    head: dict[str, Any] = {
        "library_name": "hemabridge",
        "pipeline_tag": "image-classification" if facts.is_classifier else "image-to-image",
        "tags": ["hematology", "blood-cells", "stain-normalization"],
    }
    if facts.measured:
        head["model-index"] = [{"name": facts.manifest.name, "results": [_result(each) for each in facts.measured]}]
    # Every JSON value is a YAML value.
    yaml = "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items())
    agreement = facts.agreement
    compared = [f"Compared with the model before the export on {agreement.images} images of single cells:"]
    if agreement.gray_levels is not None:
        compared.append(f"a pixel differs by at most {agreement.gray_levels} of 255,")
    if agreement.probability is not None:
        compared.append(f"a probability by at most {agreement.probability:.1e},")
    rows = [
        f"| {each.kind} | {each.on} | {each.cells} | {each.value:.3f} | {_words(each.interval)} |"
        for each in facts.measured
    ]
    table = (
        ["| metric | on | cells | value | 95% interval |", "| --- | --- | --- | --- | --- |", *rows]
        if rows
        else ["Nothing was measured in the run."]
    )
    parts = [
        f"---\n{yaml}\n---",
        f"# {facts.manifest.name}",
        f"A bundle of hemabridge {__version__}. Check it: `hemabridge verify BUNDLE`. Use it: "
        + (
            "`hemabridge run BUNDLE FOLDER OUT`."
            if len(facts.architecture) > 1
            else f"`hemabridge {'classify' if facts.is_classifier else 'standardize'} BUNDLE FOLDER OUT`."
        ),
        "## What is in it",
        "\n".join(f"- {kind}: {name}" for kind, name in facts.architecture.items())
        + (f"\n- classes: {', '.join(facts.classes)}" if facts.classes else ""),
        "## What it was made from",
        "\n".join(f"- {line}" for line in facts.origin),
        "## Measured",
        "\n".join(table),
        " ".join(compared).rstrip(",") + ".",
        "## Intended use",
        USE,
        "## Limits",
        "\n".join(f"- {line}" for line in facts.limits),
    ]
    return "\n\n".join(parts) + "\n"


def bill_of_materials(facts: Facts) -> str:
    """Return the bill of materials as JSON."""
    parts = {"restainer": facts.manifest.restainer, "classifier": facts.manifest.classifier}
    components = [_component(name, part.sha256, facts) for name, part in parts.items() if part is not None]
    identity = hashlib.sha256(json.dumps([facts.manifest.name, components]).encode()).hexdigest()
    told = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, identity)}",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "hemabridge", "version": __version__}]},
            "component": {"type": "data", "bom-ref": "bundle", "name": facts.manifest.name},
        },
        "components": components,
    }
    return json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False)


def _component(name: str, sha256: str, facts: Facts) -> dict[str, Any]:
    classifies = name == "classifier"
    kind = "classifier" if classifies else next(kind for kind in facts.architecture if kind != "classifier")
    outputs = [{"format": f"probability of {each}"} for each in facts.classes] if classifies else [{"format": "image"}]
    return {
        "type": "machine-learning-model",
        "bom-ref": name,
        "name": f"{facts.manifest.name} {name}",
        "hashes": [{"alg": "SHA-256", "content": sha256}],
        "modelCard": {
            "modelParameters": {
                "task": "image classification" if classifies else "stain normalization",
                "modelArchitecture": facts.architecture[kind],
                "inputs": [{"format": "image of one cell, RGB, 8 bits"}],
                "outputs": outputs,
            },
            "quantitativeAnalysis": {
                "performanceMetrics": [_metric(each) for each in facts.measured] if classifies else []
            },
            "considerations": {"useCases": [USE], "technicalLimitations": list(facts.limits)},
        },
    }


def _metric(each: Measured) -> dict[str, Any]:
    row: dict[str, Any] = {"type": each.kind, "value": f"{each.value:.4f}", "slice": f"{each.on}, {each.cells} cells"}
    if each.interval is not None:
        low, high = each.interval
        row["confidenceInterval"] = {"lowerBound": f"{low:.4f}", "upperBound": f"{high:.4f}"}
    return row


def _result(each: Measured) -> dict[str, Any]:
    """Return a result of the block `model-index`."""
    metric: dict[str, Any] = {"type": each.kind, "value": round(each.value, 4)}
    if each.interval is not None:
        metric["args"] = {"interval_95": [round(end, 4) for end in each.interval], "cells": each.cells}
    return {
        "task": {"type": "image-classification"},
        "dataset": {"type": "private", "name": each.on},
        "metrics": [metric],
    }


def _measured(adapted: Adapted) -> tuple[Measured, ...]:
    right = round(adapted.same_class * adapted.source_cells)
    return (
        Measured(
            "balanced_accuracy",
            f"held-out cells of {adapted.target}",
            adapted.home_scored,
            adapted.home_accuracy,
            adapted.home_interval,
        ),
        Measured(
            "agreement_with_ensemble",
            f"cells of {adapted.source}, without labels",
            adapted.source_cells,
            adapted.same_class,
            wilson_interval(right, adapted.source_cells),
        ),
    )


def _origin(models: Models) -> list[str]:
    lines = []
    for model in models.all:
        lines.append(f"{model.kind}, SHA-256 {model.sha256}")
        lines += [
            f"fitted on a site of which the appearance of {len(site.cells)} cells is kept" for site in model.at_home
        ]
    return lines


def _architecture(model: Model) -> str:
    if isinstance(model, NormalizerModel):
        return str(model.header.model_dump()["method"])
    if isinstance(model, TranslatorModel):
        return str(model.header.config.model.kind)
    header = model.header
    if isinstance(header, ExternalConfig):
        return header.architecture or "an ONNX network of another program"
    config = getattr(header, "config", None)
    return str(getattr(config, "architecture", "a network"))


def _words(interval: Interval | None) -> str:
    return "" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"
