"""scikit-learn's contract, by scikit-learn's own checks as far as images allow."""

import inspect
import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted

import hemabridge as hb
from hemabridge.errors import ImageError, InputError
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.normalizers.estimator import PARAMETERS


class OfRows(hb.StainNormalizer):
    """Takes each row of numbers, as the checks bring them, for an image of one row of pixels."""

    def fit(self, X: Any, y: object = None) -> "OfRows":  # noqa: N803
        super().fit(self._images(X))
        return self

    def transform(self, X: Any) -> Any:  # noqa: N803
        return np.asarray(super().transform(self._images(X)))[:, 0, :, 0]

    def _images(self, rows: Any) -> UInt8Images:
        numbers = np.asarray(rows, np.float64)
        levels = np.clip(128 + 32 * numbers, 0, 255).astype(np.uint8)
        return np.repeat(levels[:, None, :, None], 3, axis=3)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.positive_only = False
        tags.no_validation = True  # no check of NaN, feature names or text: uint8 pixels have none
        return tags


EXPECTED = {
    "check_estimator_sparse_tag": "the check hands over sparse rows, and images are never sparse",
    "check_estimator_sparse_array": "the check hands over sparse rows, and images are never sparse",
    "check_estimator_sparse_matrix": "the check hands over sparse rows, and images are never sparse",
    "check_transformer_general": "it wants rows of another length refused; images of another size are re-stained",
    "check_transformers_unfitted": "it wants a ValueError; errors on purpose are those of hemabridge.errors",
}
"""Checks that must fail, and why."""

ROWS = OfRows(
    "white-point", target=np.full((2, 8, 8, 3), 200, np.uint8), source_crop_px="whole", target_crop_px="whole"
)


with warnings.catch_warnings(action="ignore", category=UserWarning):  # that it is no BaseEstimator, which is the point
    each_check = parametrize_with_checks([ROWS], expected_failed_checks=lambda _: EXPECTED)


@each_check
def test_the_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    check_contract = check
    check_contract(estimator)


def test_the_parameters_are_those_of_the_constructor() -> None:
    assert set(PARAMETERS) == set(inspect.signature(hb.StainNormalizer).parameters)
    with pytest.raises(InputError, match=r"expected parameters of method.*got colour"):
        hb.StainNormalizer().set_params(colour=1)


def test_a_clone_is_unfitted_and_has_the_same_parameters(theirs: UInt8Images, ours: UInt8Images) -> None:
    fitted = hb.StainNormalizer("reinhard-site", target=ours, target_crop_px=48).fit(theirs)
    copy = clone(fitted)
    check_is_fitted(fitted)
    assert not hasattr(copy, "normalizer_")
    assert (
        repr(copy)
        == repr(fitted)
        == ("StainNormalizer(method='reinhard-site', target=uint8[12, 48, 48, 3], target_crop_px=48)")
    )
    assert copy.fit(theirs).normalizer_ == fitted.normalizer_
    assert not get_tags(copy).input_tags.two_d_array


def test_it_fits_and_transforms_as_the_function_does(theirs: UInt8Images, ours: UInt8Images) -> None:
    estimator = hb.StainNormalizer("macenko", target=ours)
    restained = estimator.fit_transform(theirs)
    assert estimator.normalizer_ == hb.fit_normalizer("macenko", theirs, ours)
    np.testing.assert_array_equal(restained, estimator.normalizer_.standardize(theirs))
    listed = estimator.transform([theirs[0], theirs[1, :30]])
    assert [image.shape for image in listed] == [(48, 48, 3), (30, 48, 3)]
    np.testing.assert_array_equal(listed[0], restained[0])
    np.testing.assert_array_equal(estimator(theirs[0]), restained[0])


def test_what_is_missing_is_said(theirs: UInt8Images) -> None:
    with pytest.raises(InputError, match=r"expected images of the wanted colors, got none: StainNormalizer"):
        hb.StainNormalizer().fit(theirs)
    with pytest.raises(InputError, match=r"not; call fit\(images\) first"):
        hb.StainNormalizer().transform(theirs)
    with pytest.raises(ImageError, match="images to re-stain: expected RGB"):
        hb.StainNormalizer(target=theirs).fit(theirs).transform(theirs[0])


def test_a_search_over_methods_runs_in_a_pipeline(theirs: UInt8Images, ours: UInt8Images, labels: list[int]) -> None:
    flat = FunctionTransformer(lambda images: images.reshape(len(images), -1) / 255)
    pipeline = make_pipeline(hb.StainNormalizer(target=ours), flat, LogisticRegression())
    search = GridSearchCV(
        pipeline, {"stainnormalizer__method": ["white-point", "linear-ot"]}, cv=2, error_score="raise"
    )
    search.fit(theirs, labels)
    assert search.best_params_["stainnormalizer__method"] in ("white-point", "linear-ot")
    assert search.predict(theirs).shape == (12,)
