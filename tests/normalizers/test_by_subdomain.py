import json
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from hemabridge.errors import InputError, ModelError
from hemabridge.normalizers.by_subdomain import MOST_SUBDOMAINS, BySubdomain, OfOneSubdomain
from hemabridge.normalizers.catalog import NORMALIZERS, fit_on_cells, normalizer_from_json
from hemabridge.normalizers.normalizer import MAX_JSON_CHARACTERS

WHITE, YELLOW, TARGET = (250, 250, 250), (250, 240, 140), (230, 215, 210)


def smears(color: tuple[int, int, int], count: int = 20, seed: int = 0) -> NDArray[np.uint8]:
    """Return cells of several darknesses on glass of one color, uint8[count, 24, 24, 3]."""
    rng = np.random.default_rng(seed)
    images = np.ones((count, 24, 24, 3)) * np.array(color)
    images[:, 7:17, 7:17] *= rng.uniform(0.2, 0.7, (count, 1, 1, 3))
    return np.clip(images + rng.normal(0, 2, images.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def joined() -> BySubdomain:
    """Two subdomains, each with a normalizer of its own."""
    target = smears(TARGET, seed=2)
    white, yellow = smears(WHITE), smears(YELLOW, seed=1)
    return BySubdomain.of(
        [(white, fit_on_cells("linear-ot", white, target)), (yellow, fit_on_cells("sliced-ot", yellow, target))],
        target,
    )


def test_each_image_is_restained_by_the_normalizer_of_its_look(joined: BySubdomain) -> None:
    np.testing.assert_allclose(joined.fields, [WHITE, YELLOW], atol=2)
    white, yellow = smears(WHITE, 3, seed=5), smears(YELLOW, 3, seed=6)
    restained = joined.standardize(np.concatenate([yellow, white]))
    np.testing.assert_array_equal(restained[:3], joined.normalizers[1].standardize(yellow))
    np.testing.assert_array_equal(restained[3:], joined.normalizers[0].standardize(white))
    assert (joined.normalizers[0].standardize(yellow) != restained[:3]).any()
    np.testing.assert_allclose(np.median(restained[:, :5], axis=(1, 2)), [TARGET] * 6, atol=6)
    assert joined.sites is not None


def test_a_look_that_it_never_saw_goes_to_the_nearest(joined: BySubdomain) -> None:
    ivory = smears((250, 248, 235), 2)
    np.testing.assert_array_equal(joined.standardize(ivory), joined.normalizers[0].standardize(ivory))
    blank = np.zeros((1, 1, 1, 3), np.uint8)
    assert joined.standardize(blank).shape == (1, 1, 1, 3)


def test_it_is_kept_as_json(joined: BySubdomain) -> None:
    images = np.concatenate([smears(WHITE, 2), smears(YELLOW, 2)])
    read = normalizer_from_json(joined.to_json())
    assert isinstance(read, BySubdomain)
    np.testing.assert_array_equal(read.standardize(images), joined.standardize(images))


def test_as_many_looks_as_there_may_be_can_be_read_again() -> None:
    target = smears(TARGET, 20)
    subdomains = [smears((250, 250 - 20 * place, 250), 6, seed=place) for place in range(MOST_SUBDOMAINS)]
    table = fit_on_cells("sliced-ot", subdomains[0], target)
    found = BySubdomain.of([(images, table) for images in subdomains], target)
    text = found.to_json()
    assert len(text) < MAX_JSON_CHARACTERS
    assert len(text) > MAX_JSON_CHARACTERS / 4
    assert normalizer_from_json(text) == found


@pytest.mark.parametrize("change", ["fewer", "nested", "unknown"])
def test_a_file_that_it_did_not_write_is_refused(change: str, joined: BySubdomain) -> None:
    said = json.loads(joined.to_json())
    if change == "fewer":
        said["fields"] = said["fields"][:1]
    elif change == "nested":
        said["normalizers"][0] = json.loads(joined.to_json())
    else:
        said["normalizers"][0]["method"] = "by-magic"
    with pytest.raises(ModelError, match="expected the numbers of BySubdomain"):
        normalizer_from_json(json.dumps(said))


def test_two_sets_of_images_do_not_make_one() -> None:
    with pytest.raises(InputError, match="chose for each subdomain"):
        BySubdomain.fit(smears(WHITE), smears(TARGET))


def test_every_normalizer_of_the_catalog_can_be_that_of_a_look() -> None:
    assert set(get_args(OfOneSubdomain)) == {entry.kind for entry in NORMALIZERS.values()}


def test_looks_hold_no_looks(joined: BySubdomain) -> None:
    with pytest.raises(InputError, match="one normalizer of the catalog for each subdomain"):
        BySubdomain.of([(smears(WHITE), joined)], smears(TARGET))
