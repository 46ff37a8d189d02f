"""Minima of a cost without data: many starts side by side in one compiled program, and Newton's steps to the end."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from qjaxsim.curvature.hvp import hessian
from qjaxsim.running.array_types import to_jax

# Newton's steps are damped by this share of the largest curvature.
_DAMPING = 1e-4
# Rows of a Hessian at once; given, so that layers stay loops: circuits written out take long to compile.
_ROWS = 32


class Descent:
    """An optimiser that takes S starts along.

    >>> descent = Descent(lambda x: (x**2).sum(-1), optax.sgd(0.25))
    >>> at = jnp.ones((2, 3))
    >>> at, _, costs = descent.run(at, descent.begin(at), 2)
    >>> at[0].tolist(), costs[:, 0].tolist()
    ([0.25, 0.25, 0.25], [3.0, 0.75, 0.1875])
    """

    def __init__(self, cost: Callable[[jax.Array], jax.Array], method: optax.GradientTransformation):
        """An optimiser of a cost.

        Args:
            cost: maps points (..., M) to numbers (...).
            method: of optax, for one start; it is given value, gradient and cost as optimisers with line searches need.
        """
        self._cost, self._method = cost, optax.with_extra_args_support(method)
        self.begin: Callable[[jax.Array], Any] = jax.jit(jax.vmap(self._method.init))
        """The state of the optimiser at points (S, M)."""
        self.run: Callable[[jax.Array, Any, int], Any] = jax.jit(self._run, static_argnums=2)
        """Maps points, state and a number of steps T to points, state and costs (T + 1, S), both ends too."""

    def _run(self, points: jax.Array, state: Any, count: int) -> Any:
        (points, state), costs = jax.lax.scan(self._step, (points, state), None, length=count)
        return points, state, jnp.concatenate([costs, self._cost(points)[None]])

    def _step(self, carried: Any, _: None) -> Any:
        points, state = carried
        (_, costs), slopes = jax.value_and_grad(self._total, has_aux=True)(points)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes integer counters with floats
            changes, state = jax.vmap(self._update)(slopes, state, points, costs)
        return (optax.apply_updates(points, changes), state), costs

    def _total(self, points: jax.Array) -> tuple[jax.Array, jax.Array]:
        costs = self._cost(points)
        return costs.sum(), costs

    def _update(self, slope: Any, state: Any, point: Any, value: Any) -> Any:
        return self._method.update(slope, state, point, value=value, grad=slope, value_fn=self._cost)


def refined(cost: Callable[[jax.Array], jax.Array], point: Any, steps: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """A minimum near a point, and the Hessian there.

    Training ends some way off, where directions without curvature at the minimum have some. Steps are Newton's, damped,
    and downhill along negative curvature.

    Args:
        cost: maps a point (M,) to a number.
        point: near a minimum.
        steps: of Newton's.

    Returns:
        The minimum (M,), and the Hessian (M, M).

    >>> point, matrix = refined(lambda x: (x[0] - 1) ** 2, np.array([3.0, 5.0]))
    >>> point.round(6).tolist(), matrix.tolist()
    ([1.0, 5.0], [[2.0, 0.0], [0.0, 0.0]])
    """
    both, at = jax.jit(lambda at: (jax.grad(cost)(at), hessian(cost, at, _ROWS))), to_jax(point)
    for _ in range(steps):
        slope, matrix = map(np.asarray, both(at))
        values, vectors = np.linalg.eigh(matrix)
        damped = np.abs(values) + _DAMPING * np.abs(values).max()
        at = at - jnp.asarray(vectors @ (vectors.T @ slope / damped), at.dtype)
    return np.asarray(at), np.asarray(both(at)[1])
