import pytest
import torch

from hemabridge.networks.config import ResnetGeneratorConfig
from hemabridge.networks.layers import initialize_xavier
from hemabridge.networks.patch_projection import FeatureLayer, PatchProjection, draw_places, feature_layers, features
from hemabridge.networks.resnet_generator import ResnetGenerator

PAPER = ("pixels", "down-1", "down-2", "block-1", "block-5")


@pytest.fixture
def generator() -> ResnetGenerator:
    torch.manual_seed(0)
    return ResnetGenerator(ResnetGeneratorConfig(channels=4, blocks=5))


def test_the_layers_of_cut_have_the_channels_that_its_projection_was_published_with() -> None:
    """CUT's log: network F has 0.560 million weights, with 9 blocks and 64 filters."""
    with torch.device("meta"):
        layers = feature_layers(ResnetGenerator(ResnetGeneratorConfig()), PAPER)
        projection = PatchProjection(layers)
    assert [layer.channels for layer in layers] == [3, 128, 256, 256, 256]
    assert sum(p.numel() for p in projection.parameters()) == 560_384


def test_features_are_what_the_generator_computes_on_its_way(generator: ResnetGenerator) -> None:
    images = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    layers = feature_layers(generator, PAPER)
    met: dict[int, torch.Tensor] = {}
    for layer in layers:
        generator.layers[layer.place].register_forward_hook(
            lambda _module, _inputs, out, place=layer.place: met.update({place: out.detach().clone()})
        )
    generator(images)
    expected = [met[layer.place] for layer in layers]
    found = features(generator, layers, images)
    for one, other, layer in zip(found, expected, layers, strict=True):
        assert torch.equal(one, other)
        assert one.shape[1] == layer.channels
    assert torch.equal(found[0][:, :, 3:-3, 3:-3], images)


def test_layers_come_in_the_order_asked_for_and_unknown_ones_are_refused(generator: ResnetGenerator) -> None:
    block, pixels = feature_layers(generator, ("block-2", "pixels"))
    assert pixels == FeatureLayer(0, 3)
    images = torch.rand(1, 3, 8, 8)
    shapes = [tuple(f.shape) for f in features(generator, (block, pixels), images)]
    assert shapes == [(1, 16, 2, 2), (1, 3, 14, 14)]
    with pytest.raises(KeyError, match="block-6"):
        feature_layers(generator, ("block-6",))


def test_places_are_different_ones_of_the_whole_layer() -> None:
    torch.manual_seed(0)
    wide, narrow = draw_places([torch.zeros(2, 4, 20, 30), torch.zeros(2, 8, 3, 4)], 100)
    assert (len(wide), len(set(wide.tolist()))) == (100, 100)
    assert min(wide.tolist()) >= 0
    assert 500 < max(wide.tolist()) < 600
    assert sorted(narrow.tolist()) == list(range(12))


def test_projected_vectors_belong_to_their_places_and_have_length_one() -> None:
    torch.manual_seed(0)
    projection = PatchProjection((FeatureLayer(0, 3), FeatureLayer(4, 6)), width=5)
    maps = [torch.randn(2, 3, 4, 5), torch.randn(2, 6, 2, 2)]
    places = [torch.tensor([7, 0, 19]), torch.tensor([3])]
    first, second = projection(maps, places)
    assert (first.shape, second.shape) == ((2, 3, 5), (2, 1, 5))
    torch.testing.assert_close(first.norm(dim=2), torch.ones(2, 3))
    pixel = maps[0][1, :, 1, 2]  # place 7 of 4 rows of 5
    own = projection.heads[0](pixel)
    torch.testing.assert_close(first[1, 0], own / own.norm())


def test_a_blank_layer_gives_vectors_of_zero_and_no_gradient() -> None:
    torch.manual_seed(0)
    projection = PatchProjection((FeatureLayer(0, 3),), width=5)
    initialize_xavier(projection)
    (vectors,) = projection([torch.zeros(1, 3, 2, 2)], [torch.arange(4)])
    assert vectors.abs().max().item() == 0.0
    (vectors @ torch.ones(5)).sum().backward()
    assert [p.grad.abs().max().item() for p in projection.parameters() if p.grad is not None] == [0.0] * 4


def test_xavier_weights_have_glorots_spread_and_biases_are_zero() -> None:
    """Standard deviation gain * sqrt(2 / (fan in + fan out)): 0.02 * sqrt(2 / (64 + 192)) for a matrix of 64 x 192."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(64, 192), torch.nn.Conv2d(16, 48, 5))
    initialize_xavier(net)
    line, convolution = net
    assert line.weight.std().item() == pytest.approx(0.02 * (2 / 256) ** 0.5, rel=0.03)
    assert convolution.weight.std().item() == pytest.approx(0.02 * (2 / (25 * 64)) ** 0.5, rel=0.03)
    assert max(line.bias.abs().max().item(), convolution.bias.abs().max().item()) == 0.0
