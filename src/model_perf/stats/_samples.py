"""Samples as tests of means take them: arrays, or the moments that were kept of them."""

from __future__ import annotations

from numpy.typing import ArrayLike

from model_perf._floats import as_floats
from model_perf.aggregates import LARGEST_OBSERVATION, Aggregates
from model_perf.errors import TooFewObservationsError


def as_aggregates(sample: Aggregates | ArrayLike, argument: str, *, at_least: int = 2) -> Aggregates:
    """The moments of *sample*, of so many observations at least."""
    if not isinstance(sample, Aggregates):
        sample = Aggregates.from_values(as_floats(sample, argument, largest=LARGEST_OBSERVATION))
    if sample.n < at_least:
        raise TooFewObservationsError(argument, f"has {sample.n} observations; {at_least} are needed")
    return sample
