import socket
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.classifiers.network import load_start, new_network, preprocessing_of, pretrained_cfg
from hemabridge.classifiers.weights import read_weights, unwrapped
from hemabridge.errors import ModelError
from hemabridge.storage.files import sha256_of

ARCHITECTURE, SIZE_PX = "test_efficientnet", 32  # timm's smallest network, 0.1 million parameters


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Refuse every connection, and tell which were tried."""
    tried: list[object] = []

    def refuse(_socket: object, address: object) -> None:
        tried.append(address)
        raise OSError("no network in tests")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *where, **_: refuse(None, where))
    return tried


def timm_file(path: Path, num_classes: int, seed: int = 3, architecture: str = ARCHITECTURE) -> torch.nn.Module:
    torch.manual_seed(seed)
    model = timm.create_model(architecture, num_classes=num_classes)
    save_file(model.state_dict(), path)
    return model.eval()


def some_images() -> torch.Tensor:
    return torch.rand(4, 3, SIZE_PX, SIZE_PX, generator=torch.Generator().manual_seed(0))


def test_body_and_head_of_a_file_judge_as_timms_own_model(tmp_path: Path, no_network: list[object]) -> None:
    model = timm_file(tmp_path / "w.safetensors", num_classes=3)
    network = new_network(ARCHITECTURE, SIZE_PX, 3).eval()
    start = load_start(network, ARCHITECTURE, tmp_path / "w.safetensors")
    with torch.inference_mode():
        torch.testing.assert_close(network(some_images()), model(some_images()), atol=1e-5, rtol=1e-4)
    assert (start.sha256, start.origin) == (sha256_of(tmp_path / "w.safetensors"), None)
    assert no_network == []


def test_a_head_of_another_class_count_is_replaced(tmp_path: Path) -> None:
    model = timm_file(tmp_path / "w.safetensors", num_classes=1000)
    network = new_network(ARCHITECTURE, SIZE_PX, 4).eval()
    before = network.head.weight.clone()
    load_start(network, ARCHITECTURE, tmp_path / "w.safetensors")
    with torch.inference_mode():
        features = model.forward_head(model.forward_features(some_images()), pre_logits=True)
        torch.testing.assert_close(network.body(some_images()), features, atol=1e-5, rtol=1e-4)
    assert torch.equal(network.head.weight, before)


def test_a_head_may_be_absent(tmp_path: Path) -> None:
    torch.manual_seed(1)
    body = timm.create_model(ARCHITECTURE, num_classes=0)
    save_file(body.state_dict(), tmp_path / "w.safetensors")
    network = new_network(ARCHITECTURE, SIZE_PX, 4)
    load_start(network, ARCHITECTURE, tmp_path / "w.safetensors")
    found = network.body.state_dict()
    assert [key for key, tensor in body.state_dict().items() if not torch.equal(found[key], tensor)] == []


def wrapped_file(path: Path, wrapper: str, keys: slice = slice(None), classes: int = 3) -> torch.nn.Module:
    """timm's own file again, with `wrapper` in front of some of its keys."""
    model = timm_file(path, num_classes=classes)
    state = model.state_dict()
    chosen = set(list(state)[keys])
    save_file({f"{wrapper}{key}" if key in chosen else key: tensor for key, tensor in state.items()}, path)
    return model


@pytest.mark.parametrize("wrapper", ["module.", "model.", "module.model.", "_orig_mod.module."])
def test_what_a_wrapper_put_in_front_of_all_keys_is_taken_off(tmp_path: Path, wrapper: str) -> None:
    model = wrapped_file(tmp_path / "w.safetensors", wrapper)
    network = new_network(ARCHITECTURE, SIZE_PX, 3).eval()
    load_start(network, ARCHITECTURE, tmp_path / "w.safetensors")
    with torch.inference_mode():
        torch.testing.assert_close(network(some_images()), model(some_images()), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("wrapper", "keys"), [("module.", slice(1, None)), ("module.", slice(0, 2)), ("net.", slice(None))]
)
def test_what_is_in_front_of_some_keys_or_no_wrappers_is_not_guessed(tmp_path: Path, wrapper: str, keys: slice) -> None:
    wrapped_file(tmp_path / "w.safetensors", wrapper, keys)
    advice = r"keys begin with module\., as a wrapper" if wrapper == "module." else "check the architecture's name$"
    with pytest.raises(ModelError, match=advice):
        load_start(new_network(ARCHITECTURE, SIZE_PX, 3), ARCHITECTURE, tmp_path / "w.safetensors")


def test_a_wrapper_around_another_model_is_named(tmp_path: Path) -> None:
    state = timm.create_model("test_resnet", num_classes=2).state_dict()
    save_file({f"model.{key}": tensor for key, tensor in state.items()}, tmp_path / "w.safetensors")
    with pytest.raises(
        ModelError, match=rf"missing: conv_stem.*{len(state)} keys begin with model\..*check the architecture"
    ):
        load_start(new_network(ARCHITECTURE, SIZE_PX, 2), ARCHITECTURE, tmp_path / "w.safetensors")


def test_keys_of_a_network_that_has_a_part_called_model_stay(tmp_path: Path) -> None:
    """Where a key fits as it is, nothing is taken off, though the rest would fit too."""

    class Named(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = torch.nn.Linear(2, 1)

    net = Named()
    weights = {key: tensor + 1 for key, tensor in net.state_dict().items()}
    assert unwrapped(weights, net) == weights
    assert list(unwrapped({f"model.{key}": tensor for key, tensor in weights.items()}, net)) == list(weights)


def test_weights_of_another_model_are_refused_with_the_keys(tmp_path: Path) -> None:
    timm_file(tmp_path / "w.safetensors", 2, architecture="test_resnet")
    with pytest.raises(
        ModelError, match=rf"expected the weights of {ARCHITECTURE}.* missing: conv_stem\.weight.*unexp"
    ):
        load_start(new_network(ARCHITECTURE, SIZE_PX, 2), ARCHITECTURE, tmp_path / "w.safetensors")


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    state = timm.create_model(ARCHITECTURE, num_classes=2).state_dict()
    key = next(iter(state))
    save_file(state | {key: state[key][:1].clone()}, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=rf"1 of another shape: {key} \[1, .* instead of"):
        load_start(new_network(ARCHITECTURE, SIZE_PX, 2), ARCHITECTURE, tmp_path / "w.safetensors")


@pytest.mark.parametrize("old_format", [False, True])
def test_a_pickle_is_refused_and_not_opened(tmp_path: Path, old_format: bool) -> None:
    path = tmp_path / "w.safetensors"  # the content decides, not the name
    torch.save({"weight": torch.ones(1)}, path, _use_new_zipfile_serialization=not old_format)
    with pytest.raises(ModelError, match=r"got a pickle, which can run any code.*weights_only=True"):
        read_weights(path)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(100)}, tmp_path / "w.safetensors")
    whole = (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "w.safetensors").write_bytes(whole[:-40])
    with pytest.raises(ModelError, match="expected a whole safetensors file"):
        read_weights(tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match="does not exist"):
        read_weights(tmp_path / "other.safetensors")


def test_offline_nobody_is_asked_and_a_download_says_what_to_do(
    tmp_path: Path, no_network: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    network = new_network(ARCHITECTURE, SIZE_PX, 2)
    with pytest.raises(
        ModelError, match=r"timm/test_efficientnet.r160_in1k/model.safetensors.*give its path as weights"
    ):
        load_start(network, ARCHITECTURE, "download")
    assert no_network == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet81", r"expected the name of a timm model, got 'resnet81'; did you mean .*resnet18"),
        ("hf-hub:someone/something", "expected the name of a timm model"),
        (
            "resnet18.tv_in21k",
            r"expected the tag of weights that timm has for resnet18 \(.*tv_in1k.*\), got 'tv_in21k'",
        ),
    ],
)
def test_unknown_names_are_refused_with_near_ones(name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        pretrained_cfg(name)


def test_a_model_of_one_input_size_says_which() -> None:
    with pytest.raises(ModelError, match="expected size_px = 224, the only one of sequencer2d_s, got 32"):
        new_network("sequencer2d_s", 32, 2)
    with pytest.raises(ModelError, match=r"expected size_px = 160, .* of test_vit but for multiples .* 16 px, got 40"):
        new_network("test_vit", 40, 2)


def test_a_vision_transformer_takes_weights_of_another_input_size(tmp_path: Path) -> None:
    model = timm_file(tmp_path / "w.safetensors", num_classes=0, architecture="test_vit")
    network = new_network("test_vit", 64, 2)
    load_start(network, "test_vit", tmp_path / "w.safetensors")
    own, timms = network.body.state_dict(), model.state_dict()
    assert own["pos_embed"].shape[1] == 1 + 4 * 4
    assert all(torch.equal(own[key], timms[key]) for key in own if key != "pos_embed")
    kept = own["pos_embed"][0, 1:].mean(0) - timms["pos_embed"][0, 1:].mean(0)
    assert kept.abs().max() < 0.02  # the embeddings were interpolated, not drawn at random
    assert network.body(torch.zeros(1, 3, 64, 64)).shape == (1, network.head.in_features)


def test_preprocessing_is_timms_unless_it_is_stated() -> None:
    config = ClassifierConfig(architecture="test_resnet", size_px=48)
    assert preprocessing_of(config).mean == (0.5, 0.5, 0.5)
    assert preprocessing_of(config).size_px == 48
    stated = preprocessing_of(config.model_copy(update={"mean": (0.1, 0.2, 0.3)}))
    assert (stated.mean, stated.std) == ((0.1, 0.2, 0.3), (0.5, 0.5, 0.5))


def test_group_norm_takes_the_place_of_every_batch_norm() -> None:
    plain, grouped = new_network("resnet18", 32, 2), new_network("resnet18", 32, 2, "group")
    counts = [sum(isinstance(m, torch.nn.BatchNorm2d) for m in net.modules()) for net in (plain, grouped)]
    groups = [m for m in grouped.modules() if isinstance(m, torch.nn.GroupNorm)]
    assert counts == [20, 0]
    assert len(groups) == 20
    assert {m.num_groups for m in groups} == {32}


@pytest.mark.parametrize("architecture", [ARCHITECTURE, "test_vit"])
def test_a_model_whose_norm_cannot_be_chosen_is_refused(architecture: str) -> None:
    with pytest.raises(ModelError, match=f"such as resnet18, got {architecture}"):
        new_network(architecture, 160 if architecture == "test_vit" else SIZE_PX, 2, "group")
