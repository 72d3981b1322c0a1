"""Fitting an ensemble to a source site without labels of it: the one place that puts the steps in their order."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hemabridge.classifiers.adabn import adabn
from hemabridge.classifiers.protocol import Probabilities
from hemabridge.data.cells import CellSet
from hemabridge.ensemble.config import EnsembleConfig
from hemabridge.ensemble.fitted import ORIGINAL, TRANSLATOR, FittedEnsemble, GroupPredictions
from hemabridge.ensemble.members import Members, classifiers_of
from hemabridge.ensemble.site_statistics import SiteStatistics
from hemabridge.errors import InputError
from hemabridge.imaging.standardizer import Standardizer, UInt8Images
from hemabridge.metrics.soft_agreement import soft_agreement
from hemabridge.normalizers.catalog import fit_on_cells
from hemabridge.normalizers.normalizer import CellScale, Normalizer
from hemabridge.progress import counted, uncounted
from hemabridge.sampling import evenly_spaced
from hemabridge.training.run_context import RunContext

LARGEST_FIT: Final = 300
"""Re-stainings are fitted on at most so many images of a site: more change nothing but the time."""

LARGEST_ADABN: Final = 400
"""Batch norm statistics are computed from draws among at most so many images of the source, spread evenly over it."""

TRUST: Final = 4
"""Power of the soft agreement in the weights of the target's and the source's batch norm statistics."""

DRAWS: Final = 64
"""Draws for each class, from which batch norm statistics of the source are computed."""


def fit_ensemble(
    members: Members,
    source: CellSet,
    target: CellSet,
    config: EnsembleConfig,
    context: RunContext,
    *,
    translator: Standardizer | None = None,
) -> FittedEnsemble:
    """Fit an ensemble to a source site, without its labels. No network is trained.

    1. Normalizers are fitted from the source to the target. One that makes implausible colors is left out.
    2. Each member gets batch norm statistics of the source beside those of the target (AdaBN), for each kind of image
       from which it predicts. They are computed on cells drawn so that the ensemble's predicted classes come equally
       often, `config.adabn_rounds` times. Statistics of all cells would be those of the commonest class.

    3. Predictions with the target's and with the source's statistics are averaged. The weight of each grows with the
       soft agreement between color and shape members under it (`agreement_weight`).

    No re-staining is ranked or left out by its predictions: which one is best differs from hospital to hospital.

    Args:
        members: classifiers of the target, all of the same classes.
        source: cells to fit on; their labels are not read.
        target: labeled cells on which the members were trained.
        config: the steps and their settings. Its members are not trained here
            (`hemabridge.ensemble.members.train_members`), and its labels and color tables are no part of the fit.
        context: seed of the draws, and progress; nothing is written.
        translator: used as one more re-staining if it is given.

    Raises:
        InputError: no color member, or members of different classes.
    """
    _check(members)
    rng = np.random.default_rng(context.seed)
    cut = CellScale(source_crop_px=source.crop_px, target_crop_px=target.crop_px, size_px=source.images.shape[1])
    restainings, left_out = _restainings(config, source.images, target, cut, rng, context)
    if translator is not None:
        restainings[TRANSLATOR] = translator
    fitted = FittedEnsemble(members.color, members.shape, restainings, cells=cut, left_out=left_out)
    shown = dict(fitted.inputs(source.images[evenly_spaced(len(source), LARGEST_ADABN)]))
    passes = fitted.passes * (1 + 2 * config.adabn_rounds)
    passed = counted(context.progress, "batch norm statistics of the source, passes", passes)
    target_statistics = fitted.predict_with(shown, None, mirrored=False, passed=passed)
    prediction = fitted.combined(target_statistics, None)
    for _ in range(config.adabn_rounds):
        statistics = site_statistics(fitted, shown, prediction, rng, passed)
        of_source = fitted.predict_with(shown, statistics, mirrored=False, passed=passed)
        statistics = replace(statistics, weight=agreement_weight(target_statistics, of_source))
        fitted = replace(fitted, site_statistics=statistics)
        prediction = fitted.combined(target_statistics, of_source)
    return replace(fitted, prevalence=np.asarray(prediction.mean(axis=0, dtype=np.float64)))


def site_statistics(
    fitted: FittedEnsemble,
    inputs: Mapping[str, UInt8Images],
    prediction: Probabilities,
    rng: np.random.Generator,
    passed: Callable[[], None] = uncounted,
) -> SiteStatistics:
    """Return the members with batch norm statistics of a site's images, from draws of `balanced_draw`.

    Args:
        fitted: the ensemble; statistics that it has are not used.
        inputs: images of the source and their re-stainings (`FittedEnsemble.inputs`).
        prediction: of their classes, float32[N, C].
        rng: of the draws.
        passed: called after each of `FittedEnsemble.passes`.
    """
    drawn = balanced_draw(prediction, rng)
    color = {}
    for name, images in inputs.items():
        color[name] = tuple(adabn(each, images[drawn]) or each for each in classifiers_of(fitted.color_members))
        passed()
    original = inputs[ORIGINAL][drawn]
    shape = tuple(adabn(each, original) or each for each in classifiers_of(fitted.shape_members))
    if shape:
        passed()
    return SiteStatistics(color, shape, weight=0.5)


def agreement_weight(target: GroupPredictions, source: GroupPredictions) -> float:
    """Return the weight of predictions with the source's statistics against those with the target's, 0..1.

    Color and shape members err on different cells, so their soft agreement (`hemabridge.metrics.soft_agreement`) grows
    with the accuracy of both (co-training, Blum & Mitchell 1998, doi:10.1145/279943.279962). The weights
    are proportional to its power `TRUST`: where one is clearly larger it decides, and else both count alike.

    Args:
        target: mean predictions of color and of shape members with the target's statistics, float32[N, C] each.
        source: the same with the source's statistics; both are None without shape members, and the weight is 0.5.
    """
    if target[1] is None or source[1] is None:
        return 0.5
    before, after = soft_agreement(target[1], target[0]) ** TRUST, soft_agreement(source[1], source[0]) ** TRUST
    return after / (before + after)


def balanced_draw(prediction: Probabilities, rng: np.random.Generator, each: int = DRAWS) -> NDArray[np.intp]:
    """Draw rows so that each predicted class comes equally often; return intp[C * each], class after class.

    The chance of a row in the draws for a class is proportional to its squared probability of that class: unlike a
    hard pseudo-label it leaves an uncertain cell a small chance in several classes.

    Args:
        prediction: float32[N, C], N at least 1.
        rng: of the draws.
        each: draws for each class.
    """
    chances = np.maximum(prediction.astype(np.float64), np.finfo(np.float32).tiny) ** 2
    chances /= chances.sum(axis=0)
    return np.concatenate([rng.choice(len(chances), each, p=own) for own in chances.T])


def _restainings(
    config: EnsembleConfig,
    source: UInt8Images,
    target: CellSet,
    cut: CellScale,
    rng: np.random.Generator,
    context: RunContext,
) -> tuple[dict[str, Standardizer], Mapping[str, str]]:
    """Return the re-stainings by name, and what is implausible about those that are left out.

    The target's images are drawn so that each class comes equally often.
    """
    some = source[rng.permutation(len(source))[:LARGEST_FIT]]
    classes = len(target.classes)
    drawn = target.images[target.drawn(np.full(classes, 1.0 / classes), LARGEST_FIT, rng)]
    passed = counted(context.progress, "fitting re-stainings", len(config.restainings))
    fitted = {}
    for name in config.restainings:
        fitted[name] = fit_on_cells(name, some, drawn, cut).of_cells()
        passed()
    left_out = {
        name: "; ".join(each.faults) for name, each in fitted.items() if isinstance(each, Normalizer) and each.faults
    }
    return {name: each for name, each in fitted.items() if name not in left_out}, left_out


def _check(members: Members) -> None:
    classifiers = (*classifiers_of(members.color), *classifiers_of(members.shape))
    classes = {classifier.classes for classifier in classifiers}
    if not members.color or len(classes) != 1:
        found = "; ".join(", ".join(names) for names in sorted(classes)) or "none"
        raise InputError(
            f"expected at least one color member, and all members of the same classes, got {len(members.color)} color "
            f"members and the classes {found}; align them first"
        )
