"""A state's derivatives in all angles at once, and the second derivatives of its expectation values.

One sweep forwards carries the tangents of the variables met so far as columns of one array, one sweep backwards the
co-states; `curvature/hessian.md` derives it. Plans are layered (`planning/layers.py`), so that what an angle of a step does
to the state behind the step is a small operator, see `turns.py`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.circuits.observables import PauliSum
from qjaxsim.common.precision import HIGHEST
from qjaxsim.planning.steps import Plan
from qjaxsim.running.execute import apply, no_qubits, undo
from qjaxsim.running.matrices import Environment
from qjaxsim.running.measurement import apply_observables
from qjaxsim.running.prepare import Setting, prepare_all
from qjaxsim.running.turns import Turn, inner, turns_of, variables_of


class Second(NamedTuple):
    """Expectation values of K observables with derivatives in V variables.

    Attributes:
        values: (K,).
        gradient: (K, V).
        hessian: (K, V, V).
    """

    values: jax.Array
    gradient: jax.Array
    hessian: jax.Array


def state_and_tangents(plan: Plan, env: Environment, dtype: Any) -> tuple[jax.Array, jax.Array]:
    """The final state (2, 2**n, 1) and its derivatives in the variables of the plan, (2, 2**n, V)."""
    sweep = _Sweep(plan, env, dtype)
    return sweep.states[-1], sweep.tangents()


def second_derivatives(plan: Plan, observables: Sequence[PauliSum], env: Environment, dtype: Any) -> Second:
    """Expectation values with their gradients and Hessians in the variables of a plan, V of them.

    Args:
        plan: a layered plan with an angle that is no number.
        observables: K Pauli sums.
        env: flat parameters by name, without a batch.
        dtype: real dtype of the results.

    Cost: a run with V / 2 columns, for each step the products of its derivatives with 1 + K columns, and 3 K V^2 2^n
    multiply-adds for inner products of tangents with each other and with the co-states. Memory: a few times V states.
    """
    sweep = _Sweep(plan, env, dtype)
    final = sweep.states[-1]
    costate = jnp.concatenate([_applied(observable, 2 * final) for observable in observables], axis=2)
    mixed = _Mixed(sweep, sweep.costates(costate))
    tangents = sweep.tangents(mixed.add)
    half = mixed.total() + jnp.stack([inner(_applied(observable, tangents), tangents) for observable in observables])
    return Second(inner(costate, final)[:, 0] / 2, inner(costate, tangents), half + jnp.swapaxes(half, 1, 2))


def _applied(observable: PauliSum, state: jax.Array) -> jax.Array:
    return apply_observables([observable], jnp.ones((1, 1), state.dtype), state)


class _Sweep:
    """A plan with its numbers: the states after every step, and the tangents that are carried through."""

    def __init__(self, plan: Plan, env: Environment, dtype: Any):
        self.plan, self.setting = plan, Setting(dtype, frozenset(), 1, 1)
        self.variables = variables_of(plan)
        self.prepared = prepare_all(plan, env, self.setting)
        self.turns = turns_of(plan, env, dtype)
        self.states = [no_qubits(self.setting)]
        for step, own in zip(plan.steps, self.prepared, strict=True):
            self.states.append(apply(step, own, self.states[-1], {}, self.setting))

    def costates(self, last: jax.Array) -> list[jax.Array]:
        """A co-state after every step, from that after the last one."""
        out = [last]
        for step, own in zip(reversed(self.plan.steps[1:]), reversed(self.prepared[1:]), strict=True):
            out.append(undo(step, own, out[-1], self.setting))
        return out[::-1]

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


def _joined(tangents: jax.Array, new: jax.Array, places: Sequence[int]) -> jax.Array:
    """The tangents with those of a step's angles added at the places of its variables."""
    met = tangents.shape[2]
    if not met:
        return new
    if places[0] == met:
        return jnp.concatenate([tangents, new], axis=2)
    width = max(met, places[-1] + 1)
    spread = jnp.matmul(new, _one_hot(places, width, new.dtype), precision=HIGHEST)
    return jnp.pad(tangents, ((0, 0), (0, 0), (0, width - met))) + spread


def _one_hot(places: Sequence[int], width: int, dtype: Any) -> jax.Array:
    return jnp.asarray(np.eye(width)[list(places)], dtype)


class _Mixed:
    """Re <lambda| d_i d_j psi>, row by row as the sweep meets the later of the two variables.

    Rows are halves: with their transpose they are the whole.
    """

    def __init__(self, sweep: _Sweep, costates: Sequence[jax.Array]):
        self.sweep, self.costates = sweep, costates
        self.width = len(sweep.variables)
        self.rows: list[jax.Array] = []
        self.places: list[int] = []

    def add(self, i: int, turn: Turn, tangents: jax.Array) -> jax.Array:
        """Note the rows of a step's variables; returns the derivatives of the state in them."""
        state, costate = self.sweep.states[i + 1], self.costates[i]
        turned = turn(jnp.concatenate([state, costate], axis=2))
        new, pulled = turned[:, :, 0], -turned[:, :, 1:]
        rows = _overlaps(pulled, new) / 2 + turn.within(state, costate)
        if turn.places[0] == tangents.shape[2]:
            rows = jnp.pad(rows, ((0, 0), (0, 0), (tangents.shape[2], self.width - turn.places[-1] - 1)))
        else:
            rows = jnp.matmul(rows, _one_hot(turn.places, self.width, rows.dtype), precision=HIGHEST)
        if tangents.shape[2]:
            cross = _overlaps(pulled, tangents)
            rows = rows + jnp.pad(cross, ((0, 0), (0, 0), (0, self.width - cross.shape[2])))
        self.rows.append(rows)
        self.places.extend(turn.places)
        return new

    def total(self) -> jax.Array:
        """All rows at their places, (K, V, V)."""
        rows = jnp.concatenate(self.rows, axis=1)
        if self.places == list(range(self.width)):
            return rows
        return jnp.einsum("rv,krw->kvw", _one_hot(self.places, self.width, rows.dtype), rows, precision=HIGHEST)


def _overlaps(a: jax.Array, b: jax.Array) -> jax.Array:
    """Real inner products (2, d, K, A) with (2, d, B): (K, A, B)."""
    return inner(a.reshape(*a.shape[:2], -1), b).reshape(*a.shape[2:], b.shape[2])
