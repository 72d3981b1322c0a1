from typing import get_args

import pytest
import torch
from pydantic import ValidationError

from hemabridge.translators.catalog import MODELS, new_objective, new_restainer
from hemabridge.translators.config import TranslatorConfig
from hemabridge.translators.objective_config import ModelConfig, method_name
from hemabridge.translators.presets import PRESETS


def test_each_kind_of_settings_has_its_model() -> None:
    settings = get_args(get_args(ModelConfig)[0])
    assert {config.model_fields["kind"].default for config in settings} == set(MODELS)


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_a_section_is_read_by_its_kind(kind: str) -> None:
    assert TranslatorConfig.model_validate({"model": {"kind": kind}}).model.kind == kind


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_when_to_use_a_preset_is_one_line(preset: str) -> None:
    assert 20 < len(PRESETS[preset].use) < 120


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_preset_survives_json_and_its_restainer_takes_the_weights_of_its_objective(preset: str) -> None:
    config = PRESETS[preset].config
    assert TranslatorConfig.model_validate(config.model_dump(mode="json")) == config
    with torch.device("meta"):
        objective, restainer = new_objective(config.model), new_restainer(config.model)
    assert set(objective.averaged) <= {"to_target", "to_source"} & objective.nets.keys()
    for name in objective.averaged:
        found = {key: tensor.shape for key, tensor in objective.nets[name].state_dict().items()}
        assert found == {key: tensor.shape for key, tensor in restainer.state_dict().items()}
        assert all(tensor.dtype == torch.float32 for tensor in restainer.state_dict().values())


def test_a_color_model_is_not_called_by_the_objective_that_trains_it() -> None:
    called = {name: method_name(preset.config.model) for name, preset in PRESETS.items()}
    colors = ("pixel", "film", "lut", "bilateral")
    assert {preset: name for preset, name in called.items() if preset in colors} == {name: name for name in colors}
    assert {name for preset, name in called.items() if "cyclegan" in preset} == {"cyclegan"}
    assert {called["paper-cut"], called["cut-cpu"]} == {"contrastive"}
    assert {name: called[name] for name in ("distillation", "target-only", "gray-then-color")} == {
        name: name for name in ("distillation", "target-only", "gray-then-color")
    }
    odd = TranslatorConfig.model_validate({"model": {"kind": "distillation", "generator": {"kind": "bilateral"}}})
    assert method_name(odd.model) == "distillation bilateral"


def test_a_section_without_kinds_is_a_cyclegan_of_a_resnet_and_patch_judges() -> None:
    config = TranslatorConfig.model_validate({"model": {"generator": {"channels": 8}, "discriminator": {"layers": 2}}})
    assert (config.model.kind, config.model.generator.kind, config.model.discriminator.kind) == (
        "cyclegan",
        "resnet",
        "patch",
    )


@pytest.mark.parametrize(
    ("model", "place", "told"),
    [
        ({"kind": "oracle"}, ("model",), "expected kind = one of"),
        ({"kind": ["cyclegan"]}, ("model",), r"got \['cyclegan'\]"),
        ({"generator": {"kind": "oracle"}}, ("model", "generator"), "expected kind = one of"),
        ({"generator": {"block": 3}}, ("model", "generator", "block"), "Extra inputs"),
        ({"discriminator": {"layers": 9}}, ("model", "discriminator", "layers"), "less than or equal"),
        (5, ("model",), "valid dictionary"),
        ({"generator": "resnet"}, ("model", "generator"), "valid dictionary"),
    ],
)
def test_a_fault_is_told_where_it_stands(model: object, place: tuple[str, ...], told: str) -> None:
    with pytest.raises(ValidationError, match=told) as caught:
        TranslatorConfig.model_validate({"model": model})
    assert caught.value.errors()[0]["loc"][: len(place)] == place


def test_a_stride_that_leaves_next_to_nothing_is_refused() -> None:
    with pytest.raises(
        ValidationError, match="expected a stride that leaves 8 px of the crop, got crop_px 64 and strid"
    ):
        TranslatorConfig(load_px=64, crop_px=64, stride=9)
