import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from hemabridge.metrics.detection import detect


def test_hand_worked_counts() -> None:
    # H = 18.5/21 = 0.880952, z = 1.179761; F = 4.5/21 = 0.214286, z = -0.791639
    found = detect(18, 20, 4, 20)
    assert float(found.d_prime) == pytest.approx(1.971400, abs=1e-5)
    assert float(found.criterion) == pytest.approx(-0.194061, abs=1e-5)


def test_never_and_always_give_a_finite_answer() -> None:
    # H = 10.5/11, F = 0.5/11: z = +-1.690622
    assert float(detect(10, 10, 0, 10).d_prime) == pytest.approx(2 * 1.690622, abs=1e-5)
    assert float(detect(0, 10, 10, 10).d_prime) == pytest.approx(-2 * 1.690622, abs=1e-5)
    assert tuple(map(float, detect(0, 0, 0, 0))) == (0.0, 0.0)


@pytest.mark.parametrize("leaning", [-0.8, 0.0, 0.7])
def test_an_observer_of_equal_variances_is_recovered_however_it_leans(leaning: float) -> None:
    rng = np.random.default_rng(5)
    signal, noise = rng.normal(0.6, 1, 40000), rng.normal(-0.6, 1, 40000)
    found = detect((signal > leaning).sum(), 40000, (noise > leaning).sum(), 40000)
    assert float(found.d_prime) == pytest.approx(1.2, abs=0.03)
    assert float(found.criterion) == pytest.approx(leaning, abs=0.02)
    # d' = sqrt(2) z(AUC): Macmillan and Creelman (2005), equation 3.7
    area = roc_auc_score(np.repeat([1, 0], 40000), np.concatenate([signal, noise]))
    assert float(found.d_prime) == pytest.approx(np.sqrt(2) * norm.ppf(area), abs=0.05)


def test_many_draws_are_judged_at_once() -> None:
    hits = np.array([[3.0, 9.0], [0.0, 5.0]])
    found = detect(hits, np.full((2, 2), 10.0), np.full((2, 2), 2.0), np.full((2, 2), 8.0))
    for place in np.ndindex(2, 2):
        assert found.d_prime[place] == float(detect(hits[place], 10, 2, 8).d_prime)


@pytest.mark.parametrize("counts", [(-1, 5, 0, 5), (6, 5, 0, 5), (0, 5, 6, 5)])
def test_impossible_counts_are_refused(counts: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected 0 <= hits"):
        detect(*counts)
