"""Progress of a long job: the duration of each stage, an estimate of the time left, and what is said when it stops."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.evaluation.rows import ORIGINAL
from hemabridge.models.study_folder import (
    AUDIT_STAGE,
    ENSEMBLE_STAGE,
    TRANSLATOR_STAGE,
    classifier_stage,
    compared_stage,
    guard_stage,
    restained_stage,
    source_fine_tuning_stage,
    stage_of_seed,
)
from hemabridge.progress import Progress
from hemabridge.translators.config import TranslatorConfig
from hemabridge.translators.presets import PRESETS
from hemabridge.workflows.study.inputs import StudyInputs

PRIOR: Final = 0.02
"""Share of the plan that counts as measured before anything is, so that a short stage does not change the estimate."""

# Seconds on two CPU cores, from the demo and recommended.toml; only their ratios matter once some stages are done.
CLASSIFIED_IMAGE: Final = 0.008
"""Seconds of training a classifier on one image of 64 x 64 px."""
TRANSLATED_IMAGE: Final = 0.1
"""Seconds of training a translator on one pair of images of 64 x 64 px."""
AUDITED_IMAGE: Final = 0.005
RESTAINING: Final = 3.0
GUARD: Final = 5.0


class Outlook:
    """Reports after each stage of a study, or of another long job, how long it took and how much time is left.

    Args:
        plan: expected seconds of each stage; only their ratios matter once some of them are done.
        progress: called with one sentence after each stage.
        parts: what the stages are called.
        whole: what all of them together are called.
    """

    def __init__(
        self, plan: Mapping[str, float], progress: Progress, *, parts: str = "stages", whole: str = "the whole study"
    ) -> None:
        self.plan, self.progress = dict(plan), progress
        self.parts, self.whole = parts, whole
        self.done: dict[str, float] = {}
        self._untimed: set[str] = set()
        self.now: str | None = None
        self._began = False

    def __call__(self, name: str, seconds: float | None) -> None:
        """Record that a stage begins (`seconds` None) or is done, now or in an earlier call."""
        if seconds is None:
            self.now = name
            if not self._began:
                self._began = True
                known = f"{len(self.plan)} {self.parts}, {self._known()} done"
                self.progress(f"{known}{self._left_in_words()}", 0, 0)
            return
        self.done[name] = seconds
        if self.now == name:
            self.now = None
            took = f"{name} took {in_words(seconds)}"
            done = f"{self._known()} of {len(self.plan)} {self.parts} done"
            self.progress(f"{took}; {done}{self._left_in_words()}", 0, 0)

    def pass_over(self, name: str) -> None:
        """Record that a stage was done, wholly or partly in an earlier call that did not keep its seconds.

        No estimate rests on it.
        """
        self._untimed.add(name)
        if self.now == name:
            self.now = None
            done = f"{self._known()} of {len(self.plan)} {self.parts} done"
            self.progress(f"{name}, which an earlier call began, is done; {done}{self._left_in_words()}", 0, 0)

    def left(self) -> float:
        """Return the estimated seconds of the stages that are left.

        The plan is scaled by the measured durations of finished stages, of the same kind before others. Those that are
        a small part of the plan say little: `PRIOR` of the plan counts as if it had been measured.
        """
        return sum(cost * self._pace(_kind(name)) for name, cost in self.plan.items() if not self._is_done(name))

    def _is_done(self, name: str) -> bool:
        return name in self.done or name in self._untimed

    def at_stop(self, out: Path) -> str:
        """Return the message for a study that is stopped."""
        where = "" if self.now is None else f" in the stage {self.now}"
        return (
            f"stopped{where}. {out} keeps {len(self.done)} finished stages and the last checkpoint of this one's "
            "training; the same command resumes from there"
        )

    def _known(self) -> int:
        return sum(map(self._is_done, self.plan))

    def _left_in_words(self) -> str:
        left = self.left()
        return f"; about {in_words(left)} left of {self.whole}" if left > 0 else ""

    def _pace(self, kind: str) -> float:
        timed = [name for name in self.plan if name in self.done]
        of_all = self._measured(timed, 1.0)
        return self._measured([name for name in timed if _kind(name) == kind], of_all)

    def _measured(self, names: Sequence[str], expected: float) -> float:
        """Return by which factor stages took longer than planned; `expected` if they are no part of the plan."""
        prior = PRIOR * sum(self.plan.values())
        cost = sum(self.plan[name] for name in names) + prior
        return (sum(self.done[name] for name in names) + prior * expected) / cost if cost > 0 else expected


def planned_seconds(inputs: StudyInputs) -> dict[str, float]:
    """Return the stages of a study in their order, with rough durations in seconds on two CPU cores."""
    recipe = inputs.recipe
    source, target = inputs.source.manifest.column("split"), inputs.target.manifest.column("split")
    n_source, n_target = source.count("train"), target.count("train")
    plan = {AUDIT_STAGE: AUDITED_IMAGE * (len(source) + len(target))} if recipe.audit else {}
    work = {w.name: w.train for w in recipe.classifiers if w.train is not None}
    plan_of_seed = {classifier_stage(name): training_seconds(config, n_target) for name, config in work.items()}
    cells = max(n_source, n_target)
    plan_of_seed[TRANSLATOR_STAGE] = _translation(recipe.translator, cells)
    plan_of_seed |= {compared_stage(name): _translation(PRESETS[name].config, cells) for name in recipe.translators}
    snapshots = [] if recipe.translator.snapshot_images else [f"epoch-{each:04d}" for each in recipe.tested_epochs]
    restained = (*recipe.normalizers, *recipe.translators, *snapshots)
    plan_of_seed |= {restained_stage(name): RESTAINING for name in restained}
    if recipe.source_fine_tuning is not None:
        for name, config in work.items():
            again = config.model_copy(update={"epochs": recipe.source_fine_tuning.epochs, "epoch_images": None})
            shown = (ORIGINAL, *snapshots)
            plan_of_seed |= {source_fine_tuning_stage(name, each): training_seconds(again, n_source) for each in shown}
    if recipe.ensemble is not None:
        plan_of_seed[ENSEMBLE_STAGE] = _ensemble(inputs, n_target)
    plan |= plan_of_seed
    if recipe.guard:
        plan |= {guard_stage(name): GUARD for name in restained}
    return plan | {stage_of_seed(seed, name): cost for seed in recipe.more_seeds for name, cost in plan_of_seed.items()}


def in_words(seconds: float) -> str:
    """Return a duration in a suitable unit: `41 s`, `12 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 120 * 60 else f"{seconds / 3600:.1f} h"


def training_seconds(config: ClassifierConfig, cells: int) -> float:
    """Return rough seconds of the training of a classifier on so many cells, on two CPU cores."""
    return CLASSIFIED_IMAGE * config.epochs * (config.epoch_images or cells) * (config.size_px / 64) ** 2


def _translation(config: TranslatorConfig, cells: int) -> float:
    epochs = config.constant_epochs + config.decay_epochs
    return TRANSLATED_IMAGE * epochs * (config.epoch_images or cells) * (config.crop_px / 64) ** 2


def _ensemble(inputs: StudyInputs, n_target: int) -> float:
    config = inputs.recipe.ensemble
    assert config is not None  # the caller's check
    members = sum(each.count * training_seconds(each.train, n_target) for each in config.members)
    return members + 20.0 * (1 + len(config.few_labels))


def _kind(name: str) -> str:
    parts = name.split("/")
    return parts[2] if parts[0] == "seeds" and len(parts) > 2 else parts[0]
