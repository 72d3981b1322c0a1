from pathlib import Path

import pytest
from pydantic import ValidationError

from hemabridge.classifiers.config import FROM_SCRATCH, PRETRAINED, ClassifierConfig


def test_lengths_depend_on_whether_there_are_weights() -> None:
    scratch, pretrained = ClassifierConfig(), ClassifierConfig(weights="download")
    assert (scratch.epochs, scratch.frozen_epochs) == (FROM_SCRATCH["epochs"], 0)
    assert (pretrained.epochs, pretrained.frozen_epochs) == (PRETRAINED["epochs"], PRETRAINED["frozen_epochs"])
    assert pretrained.frozen_epochs > 0


def test_what_is_stated_stands() -> None:
    config = ClassifierConfig(weights=Path("w.safetensors"), epochs=7, frozen_epochs=0)
    assert (config.epochs, config.frozen_epochs) == (7, 0)


def test_one_epoch_freezes_nothing_unless_it_is_asked_to() -> None:
    assert ClassifierConfig(weights="download", epochs=1).frozen_epochs == 0
    with pytest.raises(ValidationError, match="expected frozen_epochs <= epochs, got 2 and 1"):
        ClassifierConfig(weights="download", epochs=1, frozen_epochs=2)


def test_a_dumped_config_is_complete_and_comes_back() -> None:
    config = ClassifierConfig(weights=Path("w.safetensors"))
    dumped = config.model_dump(mode="json")
    assert dumped["epochs"] == PRETRAINED["epochs"]
    assert ClassifierConfig.model_validate(dumped) == config


def test_weights_are_sought_beside_the_recipe(tmp_path: Path) -> None:
    data = {"weights": "../w.safetensors"}
    config = ClassifierConfig.model_validate(data, context={"folder": tmp_path / "recipes"})
    assert config.weights == (tmp_path / "w.safetensors").resolve()
    assert ClassifierConfig.model_validate(data).weights == Path("../w.safetensors").resolve()
    assert ClassifierConfig.model_validate({"weights": "download"}, context={"folder": tmp_path}).weights == "download"


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        ClassifierConfig.model_validate({"epoch": 3})


def test_a_training_is_described_as_before_while_newer_settings_change_nothing() -> None:
    plain = ClassifierConfig()
    assert set(plain.model_dump()) - set(plain.described()) == {"norm", "frozen_batch_norm"}
    changed = ClassifierConfig(norm="group", frozen_batch_norm=True)
    assert changed.described() == changed.model_dump(mode="json")
    assert ClassifierConfig.model_validate(plain.described()) == plain


def test_one_that_is_trained_as_ever_is_not_described_by_newer_settings() -> None:
    described = ClassifierConfig().described()
    assert not {"augment", "epoch_images"} & set(described)
    changed = ClassifierConfig(augment=False, epoch_images=40).described()
    assert (changed["augment"], changed["epoch_images"]) == (False, 40)
    assert ClassifierConfig.model_validate(changed) == ClassifierConfig(augment=False, epoch_images=40)
