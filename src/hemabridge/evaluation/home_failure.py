"""A classifier that fails on held-out cells of its own hospital, and likely causes; frozen data, without PyTorch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hemabridge.storage.results_file import STRICT

SLIGHT: Final = 0.20
"""Agreement beyond chance up to this is slight (Landis and Koch 1977, doi:10.2307/2529310): no better than guessing."""

AS_GOOD: Final = 0.05
"""Explanations whose balanced accuracy differs by at most this are reported together."""


def beyond_chance(rate: float, chance: float) -> float:
    """Return a rate on a scale from guessing (0) to no error (1); below 0 if worse than guessing."""
    return (rate - chance) / (1 - chance)


@dataclass(frozen=True)
class Explanation:
    """A changed description of the classifier that was tried, and its result.

    Attributes:
        setting: the change as a setting of the description, such as `channels = "bgr"`.
        meaning: the same in words.
        balanced_accuracy: balanced accuracy with this change, on the same cells, 0..1.
        explains: whether it is so much better that the original description is likely wrong.
    """

    __pydantic_config__ = STRICT

    setting: str
    meaning: str
    balanced_accuracy: float
    explains: bool


@dataclass(frozen=True)
class HomeFailure:
    """A classifier that predicts the cells of its own hospital no better than guessing, or much worse than it could.

    Attributes:
        classifier: its name.
        site: its hospital.
        n: number of cells.
        balanced_accuracy: balanced accuracy with its description, 0..1.
        chance: balanced accuracy of guessing, 0..1.
        explanations: the changes that were tried, the most plausible one first; empty for a classifier that hemabridge
            trained, whose input and classes are known.
        known_home: whether the cells are known to be of its own hospital.
    """

    __pydantic_config__ = STRICT

    classifier: str
    site: str
    n: int
    balanced_accuracy: float
    chance: float
    explanations: tuple[Explanation, ...] = ()
    known_home: bool = True

    @property
    def sentence(self) -> str:
        """The first sentence of the report."""
        no_better = beyond_chance(self.balanced_accuracy, self.chance) <= SLIGHT
        fails = "fails" if no_better else "does much worse than it could"
        where = "at its own hospital" if self.known_home else "on these images"
        rate, guess = (f"{100 * share:.1f}%" for share in (self.balanced_accuracy, self.chance))
        return (
            f"{self.classifier} {fails} {where}: balanced accuracy {rate} on {self.n} cells of {self.site}, where "
            f"guessing gives {guess}. {self._explained()}"
        )

    def _explained(self) -> str:
        found = [each for each in self.explanations if each.explains]
        if not found and not self.known_home:
            return "If they are from the hospital of its training, its description, its file or the labels are wrong."
        if not self.explanations:
            return "Do not trust its predictions: check the labels of its training cells, or train it longer."
        if not found:
            best = max(self.explanations, key=lambda each: each.balanced_accuracy)
            return (
                "No other order of its classes, channels or axes and no other range of values explains it: the best, "
                f"{best.setting}, gives {100 * best.balanced_accuracy:.1f}%. Check its file and the labels."
            )
        top = max(each.balanced_accuracy for each in found)
        told = [each for each in found if each.balanced_accuracy >= top - AS_GOOD]
        causes = " or ".join(each.meaning for each in told)
        gains = "; ".join(f"{each.setting} gives {100 * each.balanced_accuracy:.1f}%" for each in told)
        return f"The likely cause: {causes} ({gains})."

    @property
    def tried(self) -> str:
        """Each explanation with its balanced accuracy; empty if none was tried."""
        return "; ".join(f"{each.setting}: {100 * each.balanced_accuracy:.1f}%" for each in self.explanations)


def first_words(failures: Sequence[HomeFailure]) -> list[str]:
    """Return the first sentences of a report, one for each classifier that fails at its own hospital."""
    return [f"{each.sentence} Tried: {each.tried}." if each.tried else each.sentence for each in failures]
