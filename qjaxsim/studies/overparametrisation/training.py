"""Training of the study `overparametrisation`: all starts side by side in one compiled program."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import optax

from qjaxsim.geometry import natural_gradient
from qjaxsim.running.array_types import to_jax
from qjaxsim.studies.overparametrisation.fisher import fisher
from qjaxsim.studies.overparametrisation.problems import Problem
from qjaxsim.studies.overparametrisation.settings import FAST, NATURAL
from qjaxsim.studies.shared.descent import Descent

# The control `fast`, and the rate and damping of natural gradient.
FASTER = 10
NATURAL_RATE, NATURAL_DAMPING = 0.2, 1e-3
_AT_ONCE = 100


class Trained(NamedTuple):
    """What S starts leave.

    Attributes:
        angles: (S, M), the last.
        costs: (S, steps + 1) above the minimum, before each step and after the last.
    """

    angles: np.ndarray
    costs: np.ndarray


def train(
    problem: Problem,
    layers: int,
    starts: np.ndarray,
    optimiser: str,
    rate: float,
    steps: int,
    advance: Callable[[int], None],
) -> Trained:
    """Train from all starts (S, M).

    Args:
        problem: what is trained.
        layers: of its circuit.
        starts: initial angles.
        optimiser: adam, or one of the controls.
        rate: of Adam.
        steps: in all.
        advance: called with the number of steps that were made.
    """
    descent = Descent(problem.cost(layers), _method(problem, layers, optimiser, rate))
    angles = to_jax(starts)
    state, costs = descent.begin(angles), []
    for done in range(0, steps, _AT_ONCE):
        count = min(_AT_ONCE, steps - done)
        angles, state, some = descent.run(angles, state, count)
        costs.append(np.asarray(some)[done > 0 :])
        advance(count)
    return Trained(np.asarray(angles), np.concatenate(costs).T)


def _method(problem: Problem, layers: int, name: str, rate: float) -> optax.GradientTransformation:
    if name == NATURAL:
        metric = fisher(problem, layers, loop=False)
        turned = natural_gradient(lambda angles, **_: metric(angles), damping=NATURAL_DAMPING)
        return optax.chain(turned, optax.sgd(NATURAL_RATE))
    return optax.adam(rate * (FASTER if name == FAST else 1))
