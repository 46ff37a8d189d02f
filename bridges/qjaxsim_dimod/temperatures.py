"""Default temperatures of a problem, and the schedules that options ask for."""

from typing import Any

import numpy as np
from scipy import sparse

from qjaxsim_dimod.options import check_count
from qjaxsim_dimod.qubo import SPIN, Qubo

# Sweeps where nothing says how many.
SWEEPS = 200
# Inverse temperatures, hot and cold, in units of 1 / (typical change of the energy).
HOT, COLD = 3.0, 90.0
# Sorted, typical changes that are this many times apart belong to variables that do not share temperatures.
APART = 10.0
# From this spread of typical changes on, the last tenth of the sweeps goes on to where single biases decide.
WIDE, TAIL, DECIDED = 30.0, 0.1, 10.0
# Below this an inverse temperature could overflow.
_SMALLEST = 1e-290


def default_schedule(qubo: Qubo, sweeps: int) -> np.ndarray:
    """Inverse temperatures (sweeps,) for a problem that is annealed without saying any, in geometric progression.

    Hot for the variable whose flips change the energy most, cold for the one whose flips change it least, among those
    that are not apart from the bulk: one bias of another order has no say in the others' temperatures.

    Args:
        qubo: the problem.
        sweeps: how many.
    """
    changes = typical_changes(qubo)
    ordered = np.maximum(np.sort(changes[changes > 0]), _SMALLEST) if changes.any() else np.ones(1)
    middle = len(ordered) // 2
    cuts = np.flatnonzero(ordered[1:] / APART > ordered[:-1]) + 1
    low = ordered[max(cuts[cuts <= middle], default=0)]
    high = ordered[min(cuts[cuts > middle], default=len(ordered)) - 1]
    tail = int(TAIL * sweeps) if high > WIDE * low else 0
    betas = np.geomspace(HOT / high, COLD / low, sweeps - tail)
    end = DECIDED / _least_bias(qubo, changes >= low)
    return np.concatenate([betas, np.geomspace(COLD / low, max(end, COLD / low), tail + 1)[1:]])


def _least_bias(qubo: Qubo, members: np.ndarray) -> float:
    """The smallest bias other than zero of these variables and of their couplings."""
    pairs = qubo.pairs.tocoo()
    inside = members[pairs.coords[0]] & members[pairs.coords[1]]
    sizes = np.abs(np.concatenate([qubo.linear[members], pairs.data[inside]]))
    return max(float(sizes[sizes > 0].min(initial=np.inf)), _SMALLEST)


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


def sweeps_of(num_sweeps: Any, beta_range: Any, beta_schedule: Any) -> int:
    """How many sweeps there are by the three options.

    Raises:
        ValueError: for what is no number of sweeps, and for options that a schedule stands for.
    """
    count = SWEEPS if num_sweeps is None else check_count("num_sweeps", num_sweeps, 0)
    if beta_schedule is None:
        return count
    given = np.size(beta_schedule)
    for name, value in (("beta_range", beta_range), ("num_sweeps", None if num_sweeps == given else num_sweeps)):
        if value is not None:
            raise ValueError(
                f"Option `{name}` must be left out beside `beta_schedule`, which has one temperature a sweep, "
                f"{given} in all, but is {value!r}."
            )
    return given


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
    if beta_range is None:
        return default_schedule(qubo, sweeps)
    ends = np.asarray(beta_range)
    if ends.dtype.kind not in "biuf" or ends.shape != (2,) or not (np.isfinite(ends).all() and (ends > 0).all()):
        raise ValueError(f"Option `beta_range` must be two positive numbers, hot and cold, but is {beta_range!r}.")
    return np.geomspace(ends[0], ends[1], sweeps) if sweeps else np.zeros(0)
