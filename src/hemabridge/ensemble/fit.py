"""The fit of an ensemble to a source site without its labels: the only module that orders the steps."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from hemabridge.classifiers.protocol import Probabilities
from hemabridge.data.cells import CellSet
from hemabridge.ensemble.config import EnsembleConfig
from hemabridge.ensemble.fitted import TRANSLATOR, FittedEnsemble
from hemabridge.ensemble.members import Members, classifiers_of, train_kind
from hemabridge.ensemble.pooling import mean_prediction
from hemabridge.ensemble.ranking import Predicted, drop_unconfident, suitable_restainings, with_adabn
from hemabridge.ensemble.subdomain_fits import (
    LARGEST_FIT,
    RestainingFitter,
    Subdomain,
    agreement_by_subdomain,
    for_all_subdomains,
    restainings_by_subdomain,
)
from hemabridge.ensemble.target_to_source import target_to_source
from hemabridge.errors import InputError
from hemabridge.imaging.standardizer import Standardizer, UInt8Images
from hemabridge.normalizers.normalizer import CellScale
from hemabridge.training.run_context import RunContext

ADABN_FOLDER: Final = "adabn"
"""The folder of the shape members' snapshots with batch norm statistics of the source."""

OnRound = Callable[[int, FittedEnsemble], None]


def _ignore(_round: int, _fitted: FittedEnsemble) -> None:
    """Do nothing after a round."""


def fit_ensemble(
    members: Members,
    source: CellSet,
    target: CellSet,
    config: EnsembleConfig,
    context: RunContext,
    *,
    translator: Standardizer | None = None,
    on_round: OnRound = _ignore,
) -> FittedEnsemble:
    """Fit an ensemble to a source site, without its labels.

    1. Re-stainings are fitted to each subdomain of the source, and ranked by their soft agreement with the shape
       members (`hemabridge.ensemble.ranking`).
    2. Shape members of too low confidence are left out; without shape members, re-stainings of too low confidence.
    3. The shape members get batch norm statistics of the source (AdaBN) if that makes them agree more with the color
       members.
    4. If the class priors of the sites differ, a normalizer that matches distributions gives cells the colors of other
       classes. The re-stainings are therefore fitted again, `config.prior_rounds` times, to target images that are
       drawn with the class prior that the ensemble estimates for the source.
    5. Target-to-source members are trained, if `config.target_to_source` is given.
    6. All members are fine-tuned on the ensemble's own pseudo-labels, `config.self_training_rounds` times.

    Args:
        members: classifiers of the target, all of the same classes.
        source: cells to fit on; their labels are not read.
        target: labeled cells on which the members were trained.
        config: the steps and their settings. Its members are not trained here
            (`hemabridge.ensemble.members.train_members`), and its labels and color tables are not part of the fit.
        context: its folder gets the run folders of all trainings; the same call resumes them.
        translator: one more re-staining, if given.
        on_round: called with 0 before self-training, and with the number of each round after it.

    Raises:
        InputError: no color member, or members of different classes.
        Interrupted, NonFiniteLossError, RunError: see `hemabridge.training.loop.fit`.
    """
    _check(members)
    context.progress("fitting re-stainings", 0, 1)
    translators = {} if translator is None else {TRANSLATOR: translator}
    fitted = _fit_restainings(members, source.images, target, config, translators, context.seed)
    cut = CellScale(source_crop_px=source.crop_px, target_crop_px=target.crop_px, size_px=source.images.shape[1])
    fitted = replace(fitted, cells=cut)
    context.progress("fitting re-stainings", 1, 1)
    if fitted.adabn:
        fitted = _with_adabn_snapshots(fitted, context)
    if config.target_to_source is not None:
        fitted = _with_target_to_source_members(fitted, source, target, config, context)
    on_round(0, fitted)
    for number in range(1, config.self_training_rounds + 1):
        own = context.within(f"self-training-{number}", f"self-training {number}")
        fitted = fitted.fine_tuned(source, None, config, own)
        on_round(number, fitted)
    return fitted


def _check(members: Members) -> None:
    classifiers = (*classifiers_of(members.color), *classifiers_of(members.shape))
    classes = {classifier.classes for classifier in classifiers}
    if not members.color or len(classes) != 1:
        found = "; ".join(", ".join(names) for names in sorted(classes)) or "none"
        raise InputError(
            f"expected at least one color member, and all members of the same classes, got {len(members.color)} color "
            f"members and the classes {found}; align them first"
        )


def _fit_restainings(
    members: Members,
    images: UInt8Images,
    target: CellSet,
    config: EnsembleConfig,
    translators: dict[str, Standardizer],
    seed: int,
) -> FittedEnsemble:
    """Do steps 1 to 4, which train nothing."""
    rng = np.random.default_rng(seed)
    source = images[rng.permutation(len(images))[:LARGEST_FIT]]
    fitter = RestainingFitter(target, translators, rng)
    shape = mean_prediction(classifiers_of(members.shape), source) if members.shape else None
    subdomains = suitable_restainings(config, members, source, shape, fitter)
    fitted = FittedEnsemble(
        members.color,
        members.shape,
        for_all_subdomains(subdomains, target.images),
        soft_agreement=agreement_by_subdomain(subdomains),
        subdomains=restainings_by_subdomain(subdomains),
    )
    predicted = drop_unconfident(config, fitted, source, shape)
    if predicted.shape is not None and config.adabn_min_gain is not None:
        predicted = with_adabn(predicted, config.adabn_min_gain, source, rng)
    with_prior = _with_class_prior(config.prior_rounds, predicted, subdomains, fitter, source)
    return replace(with_prior, left_out=dict(fitter.left_out))


def _with_class_prior(
    rounds: int, predicted: Predicted, subdomains: Sequence[Subdomain], fitter: RestainingFitter, source: UInt8Images
) -> FittedEnsemble:
    """Fit the re-stainings again, `rounds` times, to target images drawn with the source's estimated class prior."""
    for _ in range(rounds):
        fitted, probabilities = predicted.fitted, predicted.pooled()
        subdomains = [
            replace(
                each,
                restainings=fitter.fit(
                    each.images,
                    each.restainings if each.soft_agreement else fitted.restainings,
                    _class_prior(probabilities[each.rows]),
                ),
            )
            for each in subdomains
        ]
        fitted = replace(fitted, restainings=for_all_subdomains(subdomains, fitter.target.images))
        color = tuple(fitted.predict_color(each.standardize(source)) for each in fitted.restainings.values())
        predicted = replace(predicted, fitted=fitted, color=color)
    return replace(predicted.fitted, class_prior=_class_prior(predicted.pooled()))


def _class_prior(probabilities: Probabilities) -> np.ndarray:
    return np.asarray(probabilities.mean(axis=0, dtype=np.float64))


def _with_adabn_snapshots(fitted: FittedEnsemble, context: RunContext) -> FittedEnsemble:
    folder = context.folder / ADABN_FOLDER
    members = tuple(
        member.rewritten(folder / f"{place}.safetensors") for place, member in enumerate(fitted.shape_members)
    )
    return replace(fitted, shape_members=members)


def _with_target_to_source_members(
    fitted: FittedEnsemble, source: CellSet, target: CellSet, config: EnsembleConfig, context: RunContext
) -> FittedEnsemble:
    spec = config.target_to_source
    assert spec is not None
    cells = target_to_source(spec, target, source.images, fitted.predict(source.images), context.seed)
    own = context.within("target-to-source", "target-to-source stain augmentation")
    return replace(fitted, target_to_source_members=train_kind(spec.train, spec.classifiers, cells, own))
