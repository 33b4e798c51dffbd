"""Power for proportions: R's documented examples, a simulation, and the inverses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from model_perf.errors import InvalidInputError, TooFewObservationsError
from model_perf.stats import proportions_detectable_effect, proportions_power, proportions_sample_size


def test_published_examples() -> None:
    """The three examples of R's help page of power.prop.test: power .740, n = 76.7, p2 = .8026."""
    assert round(proportions_power(0.50, 0.75, 50, 50), 3) == 0.740
    assert round(proportions_sample_size(0.50, 0.75, power=0.90), 1) == 76.7
    assert round(0.5 + proportions_detectable_effect(0.5, 50, 50, power=0.90), 4) == 0.8026


@pytest.mark.parametrize(("p", "q", "n", "m"), [(0.30, 0.36, 800, 800), (0.05, 0.09, 900, 450), (0.9, 0.84, 300, 700)])
def test_against_simulation(p: float, q: float, n: int, m: int) -> None:
    """Of 20,000 pooled z tests as many find the difference as the power says, to 2%."""
    rng, runs = np.random.default_rng(12), 20_000
    x, y = rng.binomial(n, p, runs), rng.binomial(m, q, runs)
    pooled = (x + y) / (n + m)
    z = (y / m - x / n) / np.sqrt(pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m))
    assert proportions_power(p, q, n, m) == pytest.approx(np.mean(np.abs(z) >= 1.959963984540054), abs=0.02)


def test_no_difference_is_found_by_chance() -> None:
    """Equal proportions are told apart with probability alpha."""
    assert proportions_power(0.3, 0.3, 500, 900, alpha=0.02) == pytest.approx(0.02, rel=1e-9)


@pytest.mark.parametrize("ratio", [0.05, 1.0, 19.0])
@pytest.mark.parametrize(("p", "q"), [(0.001, 0.0012), (0.5, 0.51), (0.97, 0.9)])
def test_inverses(p: float, q: float, ratio: float) -> None:
    """Size, effect and power answer each other, for a fall by the proportions of failures."""
    n = proportions_sample_size(p, q, power=0.9, ratio=ratio)
    assert proportions_power(p, q, n, ratio * n) == pytest.approx(0.9, rel=1e-6)
    effect = proportions_detectable_effect(p if q > p else 1.0 - p, n, ratio * n, power=0.9)
    assert effect == pytest.approx(abs(q - p), rel=1e-6)


def test_exchanges() -> None:
    """The arms may be exchanged, and successes for failures."""
    power = proportions_power(0.2, 0.3, 150, 250)
    assert proportions_power(0.3, 0.2, 250, 150) == pytest.approx(power, rel=1e-12)
    assert proportions_power(0.8, 0.7, 150, 250) == pytest.approx(power, rel=1e-12)


def test_too_few_to_find_anything() -> None:
    """Where not even a rise to 1 is found, there is no answer."""
    with pytest.raises(TooFewObservationsError, match=r"n_a: 5 and 5 in b do not find a rise from 0\.9 to 1"):
        proportions_detectable_effect(0.9, 5, 5)


@pytest.mark.parametrize(
    "call",
    [
        lambda: proportions_power(0.0, 0.1, 10, 10),
        lambda: proportions_power(0.1, 0.2, 0, 10),
        lambda: proportions_power(0.1, float("nan"), 10, 10),
        lambda: proportions_sample_size(0.1, 0.1),
        lambda: proportions_sample_size(0.1, 0.2, power=0.01),
        lambda: proportions_detectable_effect(1.0, 10, 10),
    ],
)
def test_bad_input(call: Callable[[], float]) -> None:
    """What no number of observations answers is refused."""
    with pytest.raises(InvalidInputError):
        call()
