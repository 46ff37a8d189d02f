"""A state's derivatives in all angles at once, and the second derivatives of its expectation values.

One sweep forwards carries the tangents of the variables met so far as columns of one array, one sweep backwards the
co-state; `curvature/hessian.md` derives it. Plans are layered (`planning/layers.py`), so that what an angle of a step
does to the state behind the step is a small operator, see `turns.py`.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.circuits.observables import PauliSum
from qjaxsim.common.precision import HIGHEST
from qjaxsim.planning.steps import Plan
from qjaxsim.running.execute import apply, no_qubits, undo
from qjaxsim.running.matrices import Environment
from qjaxsim.running.measurement import apply_observables, expectation_values
from qjaxsim.running.prepare import Setting, prepare_all
from qjaxsim.running.turns import Turn, inner, turns_of, variables_of


class Sweep:
    """One state of a layered plan with its numbers, and its derivatives in V variables.

    Args:
        plan: a layered plan with an angle that is no number.
        env: flat parameters by name, without a batch.
        dtype: real dtype of the results.
        held: names of the parameters that stay fixed.

    Attributes:
        variables: what derivatives are taken in, each with its place.
        states: before the first step, and behind every step, (2, d, 1) each.
    """

    def __init__(self, plan: Plan, env: Environment, dtype: Any, held: Collection[str] = ()):
        self.plan, self.setting = plan, Setting(dtype, frozenset(), 1, 1)
        self.variables = variables_of(plan, held)
        self.prepared = prepare_all(plan, env, self.setting)
        self.turns = turns_of(plan, env, dtype, held)
        self.states = [no_qubits(self.setting)]
        for step, own in zip(plan.steps, self.prepared, strict=True):
            self.states.append(apply(step, own, self.states[-1], {}, self.setting))

    def tangents(self, new: Callable[[int, Turn, jax.Array], jax.Array] | None = None) -> jax.Array:
        """The final state's derivatives in all variables, (2, 2**n, V).

        Args:
            new: called for each step with angles: from its number, its turn, and the tangents behind it in the
                variables met before to the derivatives of the state behind the step in the step's own variables.
        """
        new = new or (lambda i, turn, _: turn(self.states[i + 1])[:, :, 0])
        tangents = jnp.zeros((2, 1, 0), self.setting.dtype)
        for i, (step, own, turn) in enumerate(zip(self.plan.steps, self.prepared, self.turns, strict=True)):
            if tangents.shape[2]:
                tangents = apply(step, own, tangents, {}, self.setting)
            if turn is not None:
                tangents = _joined(tangents, new(i, turn, tangents), turn.places)
        return tangents

    def values(self, observables: Sequence[PauliSum]) -> jax.Array:
        """Expectation values (K,) of K observables."""
        return expectation_values(observables, self.states[-1])[:, 0]

    def derivatives(self, observables: Sequence[PauliSum], weights: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The gradients (K, V) of K expectation values, and the Hessian (V, V) of their sum with weights (K,).

        Cost: a run with V / 2 columns, for each step the products of its derivatives with two columns, and 3 V^2 2^n
        multiply-adds for inner products of tangents with each other and with the co-state. Memory: a few times V
        states.
        """
        one = jnp.ones((1, 1), self.setting.dtype)
        final, columns = self.states[-1], weights[:, None]
        mixed = _Mixed(self, self._costates(2 * apply_observables(observables, columns, final)))
        tangents = self.tangents(mixed.add)
        half = mixed.total() + inner(apply_observables(observables, columns, tangents), tangents)
        slopes = jnp.concatenate([apply_observables([each], one, 2 * final) for each in observables], axis=2)
        return inner(slopes, tangents), half + half.T

    def _costates(self, last: jax.Array) -> list[jax.Array]:
        """A co-state behind every step, from that behind the last one."""
        out = [last]
        for step, own in zip(reversed(self.plan.steps[1:]), reversed(self.prepared[1:]), strict=True):
            out.append(undo(step, own, out[-1], self.setting))
        return out[::-1]


def _joined(tangents: jax.Array, new: jax.Array, places: Sequence[int]) -> jax.Array:
    """The tangents with those of a step's angles added at the places of its variables."""
    met, start, stop = tangents.shape[2], places[0], places[-1] + 1
    if not met:
        return new
    if stop - start > len(places):  # between them lie others
        new = jnp.matmul(new, _one_hot([place - start for place in places], stop - start, new.dtype), precision=HIGHEST)
    if start < met:
        new = new + jnp.pad(tangents[:, :, start:stop], ((0, 0), (0, 0), (0, max(stop - met, 0))))
    return jnp.concatenate([tangents[:, :, :start], new, tangents[:, :, stop:]], axis=2)


def _one_hot(places: Sequence[int], width: int, dtype: Any) -> jax.Array:
    return jnp.asarray(np.eye(width)[list(places)], dtype)


class _Mixed:
    """Re <lambda| d_i d_j psi>, row by row as the sweep meets the later of the two variables.

    Rows are halves: with their transpose they are the whole.
    """

    def __init__(self, sweep: Sweep, costates: Sequence[jax.Array]):
        self.sweep, self.costates = sweep, costates
        self.width = len(sweep.variables)
        self.rows: list[jax.Array] = []
        self.places: list[int] = []

    def add(self, i: int, turn: Turn, tangents: jax.Array) -> jax.Array:
        """Note the rows of a step's variables; returns the derivatives of the state in them."""
        state, costate, met = self.sweep.states[i + 1], self.costates[i], tangents.shape[2]
        turned = turn(jnp.concatenate([state, costate], axis=2))
        new, pulled = turned[:, :, 0], -turned[:, :, 1]
        rows = inner(pulled, new) / 2 + turn.within(state, costate)
        if turn.places[0] == met:
            rows = jnp.pad(rows, ((0, 0), (met, self.width - turn.places[-1] - 1)))
        else:
            rows = jnp.matmul(rows, _one_hot(turn.places, self.width, rows.dtype), precision=HIGHEST)
        if met:
            rows = rows + jnp.pad(inner(pulled, tangents), ((0, 0), (0, self.width - met)))
        self.rows.append(rows)
        self.places.extend(turn.places)
        return new

    def total(self) -> jax.Array:
        """All rows at their places, (V, V)."""
        rows = jnp.concatenate(self.rows)
        if self.places == list(range(self.width)):
            return rows
        return jnp.matmul(_one_hot(self.places, self.width, rows.dtype).T, rows, precision=HIGHEST)
