"""The contract that every normalizer of the catalog keeps."""

import json
import re
from collections.abc import Callable

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from hemabridge.data.simulate import HOSPITALS, TARGET
from hemabridge.errors import ImageError, InputError, ModelError
from hemabridge.imaging.color import delta_e_2000, rgb_to_lab
from hemabridge.imaging.standardizer import Standardizer, UInt8Images
from hemabridge.normalizers import NORMALIZERS, Normalizer, fit_on_cells, normalizer_from_json

SELF_BOUND = {"reinhard-image": 5.0}
"""Mean CIEDE2000 by which a site fitted on itself may change; elsewhere 1. Its images are made alike."""

pytestmark = pytest.mark.parametrize("name", list(NORMALIZERS))


@pytest.fixture(scope="module")
def fitted(source: UInt8Images, target: UInt8Images) -> dict[str, Normalizer]:
    return {name: fit_on_cells(name, source, target) for name in NORMALIZERS}


def mean_delta_e(a: UInt8Images, b: UInt8Images) -> float:
    return float(delta_e_2000(rgb_to_lab(a), rgb_to_lab(b)).mean())


def test_restains_into_the_same_shape_and_leaves_the_input_alone(
    name: str, fitted: dict[str, Normalizer], source: UInt8Images
) -> None:
    assert isinstance(fitted[name], Standardizer)
    images = source.copy()
    restained = fitted[name].standardize(images)
    assert restained.shape == source.shape
    assert restained.dtype == np.uint8
    assert not np.shares_memory(restained, images)
    np.testing.assert_array_equal(images, source)


def test_it_is_a_step_of_a_scikit_learn_pipeline(name: str, fitted: dict[str, Normalizer], source: UInt8Images) -> None:
    steps = make_pipeline(FunctionTransformer(fitted[name].transform), FunctionTransformer(np.copy))
    np.testing.assert_array_equal(steps.fit_transform(source), fitted[name].standardize(source))


def test_the_same_numbers_each_time_and_beside_any_other_image(
    name: str, fitted: dict[str, Normalizer], source: UInt8Images, target: UInt8Images
) -> None:
    together = fitted[name].standardize(source)
    again = fit_on_cells(name, source, target)
    np.testing.assert_array_equal(again.standardize(source[5:6])[0], together[5])
    np.testing.assert_array_equal(again.standardize(source[::-1])[::-1], together)


def test_a_site_fitted_on_itself_hardly_changes(name: str, target: UInt8Images) -> None:
    restained = fit_on_cells(name, target, target).standardize(target)
    assert mean_delta_e(restained, target) < SELF_BOUND.get(name, 1.0)


def test_nothing_to_re_stain_gives_nothing(name: str, fitted: dict[str, Normalizer], source: UInt8Images) -> None:
    assert fitted[name].standardize(source[:0]).shape == (0, *source.shape[1:])


@pytest.mark.filterwarnings("error")
def test_odd_images_stay_images(
    name: str, fitted: dict[str, Normalizer], odd_images: dict[str, UInt8Images], target: UInt8Images
) -> None:
    for what, images in odd_images.items():
        restained = fitted[name].standardize(images)
        assert restained.shape == images.shape, what
        # Noise that is not stain must not be blown up: the largest gain is 4.
        assert (restained.std(axis=(0, 1, 2)) <= 4 * images.std(axis=(0, 1, 2)).max() + 2).all(), what


@pytest.mark.parametrize(
    "sets", [("black", "noise"), pytest.param(("empty field", "one stain", "one pixel"), marks=pytest.mark.slow)]
)
@pytest.mark.filterwarnings("error")
def test_odd_sets_can_be_fitted_on_either_side(
    name: str, sets: tuple[str, ...], odd_images: dict[str, UInt8Images], source: UInt8Images
) -> None:
    for what in sets:
        images = odd_images[what]
        for own, wanted in ((images, source[:4]), (source[:4], images), (images, images)):
            normalizer = fit_on_cells(name, own, wanted)
            assert normalizer.standardize(own).shape == own.shape, what
            assert normalizer_from_json(normalizer.to_json()) == normalizer, what


def test_an_empty_field_gets_the_targets_empty_field(name: str, fitted: dict[str, Normalizer]) -> None:
    own, wanted = (
        np.full((1, 24, 24, 3), HOSPITALS[hospital].camera.clear_field_rgb, np.uint8)
        for hospital in ("yellow-field", TARGET)
    )
    restained = fitted[name].standardize(own)
    assert np.ptp(restained.reshape(-1, 3), axis=0).max() == 0
    assert mean_delta_e(restained, wanted) < 0.25 * mean_delta_e(own, wanted)


def test_json_keeps_every_bit(name: str, fitted: dict[str, Normalizer], source: UInt8Images) -> None:
    text = fitted[name].to_json()
    for read in (normalizer_from_json(text), NORMALIZERS[name].kind.from_json(text)):
        assert read == fitted[name]
        assert read.to_json() == text
        np.testing.assert_array_equal(read.standardize(source), fitted[name].standardize(source))


def _without_last_number(content: object) -> object:
    """Drop the last number of the first list that is found."""
    if isinstance(content, list) and not isinstance(content[0], list):
        return content[:-1]
    if isinstance(content, list):
        return [_without_last_number(content[0]), *content[1:]]
    assert isinstance(content, dict)
    key = next(key for key, value in content.items() if isinstance(value, list | dict))
    return content | {key: _without_last_number(content[key])}


HOSTILE: dict[str, Callable[[str], str]] = {
    "no JSON": lambda text: text[:-1],
    "nothing": lambda text: "",
    "a list": lambda text: f"[{text}]",
    "unknown key": lambda text: json.dumps(json.loads(text) | {"__class__": "os.system"}),
    "other method": lambda text: json.dumps(json.loads(text) | {"method": "reinhard"}),
    "no method's name": lambda text: json.dumps(json.loads(text) | {"method": ["white-point"]}),
    "one number missing": lambda text: json.dumps(_without_last_number(json.loads(text))),
    "not finite": lambda text: text.replace("0", "NaN", 1),
    "too large": lambda text: re.sub(r"\d+\.\d+", "1e9", text, count=1),
    "too long": lambda text: text + " " * 1_000_000,
    "too deep": lambda text: '{"method":' * 100_000,
    "number as text": lambda text: text.replace(":[", ':["1",', 1),
}


@pytest.mark.parametrize("how", list(HOSTILE))
def test_hostile_json_is_refused(name: str, how: str, fitted: dict[str, Normalizer]) -> None:
    text = HOSTILE[how](fitted[name].to_json())
    with pytest.raises(ModelError, match="normalizer: expected"):
        normalizer_from_json(text)
    with pytest.raises(ModelError, match="normalizer: expected"):
        NORMALIZERS[name].kind.from_json(text)


def test_what_is_no_set_of_images_is_refused(
    name: str, fitted: dict[str, Normalizer], source: UInt8Images, target: UInt8Images
) -> None:
    for wrong in (source[0], source.astype(np.float32), source[..., :1], source[:, :0]):
        with pytest.raises(ImageError, match=r"images to re-stain: expected RGB uint8\[N, H, W, 3\]"):
            fitted[name].standardize(wrong)
        with pytest.raises(ImageError, match="source images: expected RGB"):
            fit_on_cells(name, wrong, target)
    with pytest.raises(ImageError, match="target images: expected at least one image"):
        fit_on_cells(name, source, target[:0])


def test_a_misspelled_name_is_answered_with_the_nearest(name: str, source: UInt8Images) -> None:
    with pytest.raises(InputError, match=f"did you mean '{name}'"):
        fit_on_cells(f"{name}s", source, source)
