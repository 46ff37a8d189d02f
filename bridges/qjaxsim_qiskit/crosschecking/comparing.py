"""What comparisons of two simulators need: times of both, and a test of counts."""

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

# A right simulator is called wrong once in ten thousand tests of its counts.
P_VALUE = 1e-4
# Outcomes rarer than this are counted together, where chi-square's approximation would fail.
_LEAST_EXPECTED = 5
# A call slower than this is not repeated for a second time.
_REPEATED_BELOW = 10.0

Seconds = tuple[float, float | None]
"""Of a first call, and of a further one where there was one."""


def p_value(counts: np.ndarray, probabilities: np.ndarray) -> float:
    """Probability that right counts lie at least so far off, by Pearson's chi-square test.

    Args:
        counts: how often each outcome was drawn, (outcomes,).
        probabilities: of the outcomes; those expected fewer than five times are taken together.
    """
    from scipy.stats import chi2

    expected = probabilities / probabilities.sum() * counts.sum()
    common = expected >= _LEAST_EXPECTED
    observed = np.append(counts[common], counts[~common].sum())
    wanted = np.append(expected[common], expected[~common].sum())
    # What is never expected must never be drawn; rounding alone may leave a trace of probability there.
    if wanted[-1] < 1e-6:
        if observed[-1]:
            return 0.0
        observed, wanted = observed[:-1], wanted[:-1]
    if len(wanted) == 1:
        return 1.0
    return float(chi2.sf(((observed - wanted) ** 2 / wanted).sum(), len(wanted) - 1))


def timed(function: Callable[..., Any], *args: Any) -> tuple[Any, Seconds]:
    """A function's result, and the seconds of its first call and of a further one."""

    def once() -> tuple[Any, float]:
        began = time.perf_counter()
        value = jax.block_until_ready(function(*args))
        return value, time.perf_counter() - began

    value, first = once()
    return value, (first, once()[1] if first < _REPEATED_BELOW else None)


def paired_seconds(ours: Seconds | None, theirs: Seconds | None) -> dict[str, Any]:
    """Both sides' seconds as the fields of a `Check`; None for a side that was not timed."""
    first, repeated = ours or (None, None)
    first_theirs, repeated_theirs = theirs or (None, None)
    return {
        "first_ours": first,
        "repeated_ours": repeated,
        "first_theirs": first_theirs,
        "repeated_theirs": repeated_theirs,
    }
