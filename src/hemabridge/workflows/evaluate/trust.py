"""Whether a prediction can be trusted: what site profile and guard say of the images from which it was made."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hemabridge.domain.site_profile import Answer
from hemabridge.evaluation.rows import ORIGINAL
from hemabridge.guard.morphology import compare
from hemabridge.guard.verdict import Verdicts, verdicts_of
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.models.guard_file import Guard
from hemabridge.models.restaining import TranslatorModel
from hemabridge.models.site_answer import SiteAnswer
from hemabridge.models.study_folder import GUARD, guard_stage
from hemabridge.workflows.classify.classify import WITHHELD
from hemabridge.workflows.evaluate.answers import Answers, name_of
from hemabridge.workflows.evaluate.finished_study import FinishedStudy
from hemabridge.workflows.study.translation import restained_at

_ORDER: Final[tuple[Answer, ...]] = ("in-distribution", "borderline", "out-of-distribution")


@dataclass(frozen=True, eq=False)
class Trust:
    """What is known of the images from which predictions were made.

    Attributes:
        site: whether the images are in-distribution for what predicted; None if the study has no site profile.
        withheld: why no image gets a class; empty if images get one.
        guard: verdicts on the re-stained cells; None if no guard checked them.
    """

    site: Answer | None = None
    withheld: str = ""
    guard: Verdicts | None = None

    @classmethod
    def of(cls, site: SiteAnswer | None, chosen: Answers, guard: Verdicts | None) -> "Trust":
        """Return it for the predictions `chosen`.

        Classifiers predict from original images of either of the study's sites; what re-stains is meant for its source.
        """
        if site is None:
            return cls(guard=guard)
        target = None if site.target is None else site.target.answer
        if chosen.images == ORIGINAL and target is not None:
            answer = min(site.answer, target, key=_ORDER.index)
            return cls(answer, WITHHELD if answer == "out-of-distribution" else "", guard)
        if site.answer != "out-of-distribution":
            return cls(site.answer, "", guard)
        return cls(site.answer, _LIKE_TARGET if target == "in-distribution" else WITHHELD, guard)

    def reason(self, place: int) -> str:
        """Return why a cell gets no class; empty if it gets one."""
        if not self.withheld and self.verdict(place) == "refuse":
            return f"not predicted: the guard refuses the re-stained cell ({self._measures(place)})"
        return self.withheld

    def verdict(self, place: int) -> str | None:
        """Return the guard's verdict on a cell; None if it was not checked."""
        return None if self.guard is None else self.guard.verdicts[place]

    def remark(self, place: int) -> str | None:
        """Return what to look at in a cell; None if nothing."""
        return f"the guard warns: {self._measures(place)}" if self.verdict(place) == "warn" else None

    def _measures(self, place: int) -> str:
        return "" if self.guard is None else " ".join(self.guard.reasons[place])


def guard_verdicts(
    finished: FinishedStudy, chosen: Answers, images_at: Callable[[int], UInt8Images]
) -> Verdicts | None:
    """Return the verdicts of the study's guard on the re-stained cells from which one classifier predicted.

    None for original images, for the ensemble, which pools several re-stainings, and for a study without a guard.

    Args:
        finished: the study.
        chosen: the predictions.
        images_at: returns the cells, cut from the original images, at a size in pixels, uint8[N, S, S, 3].

    Raises:
        ModelError: the guard is damaged.
    """
    used = (each for each in finished.restainings if (each.method, each.snapshot) == (chosen.images, chosen.snapshot))
    fitted = next(used, None)
    file = finished.folder / guard_stage(chosen.snapshot or chosen.images) / GUARD
    if fitted is None or not file.is_file():
        return None
    model, guard = finished.opened(fitted.path), Guard.read(file)
    px = model.crop().size_px if isinstance(model, TranslatorModel) else finished.recipe.size_px
    return verdicts_of(compare(images_at(px), restained_at(model, images_at, px)), guard.thresholds)


_LIKE_TARGET: Final = (
    "not predicted: these images look like the study's own target, and need no re-staining; ask for predictions from "
    f"the original images, such as --by '{name_of('NAME', ORIGINAL, 0)}'"
)
