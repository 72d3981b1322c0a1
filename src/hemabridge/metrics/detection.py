"""Signal detection: can a reader tell two kinds of pictures apart, whatever they lean to say when in doubt?"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

Floats = NDArray[np.float64]


class Detection(NamedTuple):
    """Sensitivity and leaning, each float64[...].

    Attributes:
        d_prime: 0: not told apart; 1: right in about 69% of cases without leaning; below 0: mistaken for one another.
        criterion: above 0: says "signal" too seldom; below 0: too often.
    """

    d_prime: Floats
    criterion: Floats


def detect(hits: Floats, signals: Floats, false_alarms: Floats, noises: Floats) -> Detection:
    """Return d' and criterion of yes/no answers, with the log-linear correction.

    d' = z(H) - z(F) and c = -(z(H) + z(F)) / 2 (Macmillan and Creelman 2005, equations 1.5 and 2.1,
    doi:10.4324/9781410611147), where H = (hits + 0.5) / (signals + 1) and F likewise: Hautus (1995), Corrections for
    extreme proportions and their biasing effects on estimated values of d', doi:10.3758/BF03203619. It is applied to
    all counts, not only to 0 and n, so that d' is finite and its bias small.

    Args:
        hits: float64[...], signals that were called so, 0..signals.
        signals: float64[...], how many there were.
        false_alarms: float64[...], noises that were called signals, 0..noises.
        noises: float64[...], how many there were.

    Raises:
        ValueError: a count is negative, or there were more hits than signals or more false alarms than noises.
    """
    arrays = [np.asarray(a, dtype=np.float64) for a in (hits, signals, false_alarms, noises)]
    hits, signals, false_alarms, noises = arrays
    if min(np.min(a) for a in arrays) < 0 or np.any(hits > signals) or np.any(false_alarms > noises):
        raise ValueError("expected 0 <= hits <= signals and 0 <= false alarms <= noises")
    found = np.asarray(norm.ppf((hits + 0.5) / (signals + 1)))
    mistaken = np.asarray(norm.ppf((false_alarms + 0.5) / (noises + 1)))
    return Detection(found - mistaken, -(found + mistaken) / 2)
