"""Default temperatures of a problem, and the schedules that options ask for."""

from typing import Any

import numpy as np
from scipy import sparse

from qjaxsim_dimod.qubo import SPIN, Qubo

# Inverse temperatures, hot and cold, in units of 1 / (typical change of the energy).
HOT, COLD = 3.0, 90.0
# The quantile of variables that the hot end is for; the cold end is for that from below.
MUCH = 0.9


def default_range(qubo: Qubo) -> tuple[float, float]:
    """The first and last inverse temperature for a problem that is annealed without saying any.

    Hot for variables whose flips change the energy much, cold for those whose flips change it little. Both are
    quantiles, so that no single variable with a bias of another order has a say in the others' temperatures.

    Args:
        qubo: the problem.
    """
    scales = typical_changes(qubo)
    scales = scales[scales > 0] if scales.any() else np.ones(1)
    return HOT / float(np.quantile(scales, MUCH, method="lower")), COLD / float(
        np.quantile(scales, 1 - MUCH, method="higher")
    )


def typical_changes(qubo: Qubo) -> np.ndarray:
    """A typical change of the energy by each variable's flip, (n,); zero for those without any bias."""
    both = abs(sparse.csr_array(qubo.pairs + qubo.pairs.T))
    # What a field and couplings count over spins is what they come to over binary variables, signs being random.
    own, couplings = (2.0, np.sqrt(20.0)) if qubo.vartype == SPIN else (1.0, 1.0)
    largest = np.maximum(np.abs(qubo.linear), both.max(1).toarray() if both.nnz else 0.0)
    unit = np.where(largest > 0, largest, 1.0)
    # Squares in units of a row's largest number neither overflow nor vanish.
    both.data = (both.data / np.repeat(unit, np.diff(both.indptr))) ** 2
    return np.asarray(unit * np.sqrt((own * qubo.linear / unit) ** 2 + couplings**2 * both.sum(1)))


def schedule(beta_range: Any, beta_schedule: Any, sweeps: int, qubo: Qubo) -> np.ndarray:
    """Inverse temperatures (sweeps,), geometric over a range unless they are given.

    Args:
        beta_range: two positive numbers; None for the default.
        beta_schedule: inverse temperatures, one a sweep, instead.
        sweeps: how many.
        qubo: the problem.

    Raises:
        ValueError: for other values, naming the option.
    """
    if beta_schedule is not None:
        betas = np.asarray(beta_schedule)
        if betas.dtype.kind not in "biuf" or betas.ndim != 1 or not (np.isfinite(betas).all() and (betas >= 0).all()):
            raise ValueError("Option `beta_schedule` must be a list of finite numbers, none negative, one a sweep.")
        return betas.astype(float)
    ends = np.asarray(default_range(qubo) if beta_range is None else beta_range)
    if ends.dtype.kind not in "biuf" or ends.shape != (2,) or not (np.isfinite(ends).all() and (ends > 0).all()):
        raise ValueError(f"Option `beta_range` must be two positive numbers, hot and cold, but is {beta_range!r}.")
    return np.geomspace(ends[0], ends[1], sweeps) if sweeps else np.zeros(0)
