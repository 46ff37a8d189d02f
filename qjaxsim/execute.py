"""Running a plan: parameters to matrices, matrices to states.

Weights and data are prepared apart. Inside a loop the weights' matrices of all iterations are computed at once, before
the scan, so that the scan itself holds little more than matrix products.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from qjaxsim import kernels, matrices
from qjaxsim.matrices import Environment
from qjaxsim.steps import (
    Collapsed,
    Dense,
    Diagonal,
    Loop,
    Monomial,
    Plan,
    Project,
    Step,
    Transpose,
    Widen,
    flat_steps,
    names_in,
)

Prepared = dict[int, Any]
"""By id of a step: its matrix or phases; for a loop, what its body's weights give in every iteration."""


@dataclass(frozen=True)
class Setting:
    """What does not change while a plan runs.

    Attributes:
        dtype: real dtype of angles.
        data: names of the parameters that carry the batch.
        batch: size of the batch.
        unroll: iterations in one step of a scan.
    """

    dtype: Any
    data: frozenset[str]
    batch: int
    unroll: int


def run_from_zero(plan: Plan, env: Environment, setting: Setting) -> jax.Array:
    """The final state, (2, 2**n, columns) real, from |0...0>; one column if no step depends on data, else the batch."""
    env = with_definitions(plan, env, setting)
    prepared = prepare_all(plan, env, setting)
    state = _product_start(plan, prepared, setting)
    return _run(plan.steps[plan.start :], state, prepared, env, setting)


def run_on_identity(plan: Plan, env: Environment, setting: Setting) -> jax.Array:
    """The plan's unitary, (2, 2**n, 2**n) real, for a plan without data."""
    env = with_definitions(plan, env, setting)
    identity = kernels.identity(plan.n_qubits, setting.dtype)
    return _run(plan.steps, identity, prepare_all(plan, env, setting), env, setting)


def with_definitions(plan: Plan, env: Environment, setting: Setting) -> Environment:
    """Parameters with those that the planner made."""
    made = {name: matrices.angle_stack(angles, env, setting.dtype) for name, angles in plan.definitions.items()}
    return {**env, **made}


def prepare_all(plan: Plan, env: Environment, setting: Setting) -> Prepared:
    """Matrices and phases of all steps, weights and data."""
    return _prepare(plan, env, setting, False) | _prepare(plan, env, setting, True)


def _prepare(plan: Plan, env: Environment, setting: Setting, data: bool) -> Prepared:
    """Matrices and phases of the steps that depend on data, or of those that do not."""
    leaf_matrices: dict[int, jax.Array] = {}
    for members in plan.stacks.values():
        if members[0].data == data:
            stack = matrices.stack_matrices(members, env, setting.dtype)
            leaf_matrices.update({id(leaf): stack[:, :, i] for i, leaf in enumerate(members)})
    out: Prepared = {}
    for step in flat_steps(plan.steps):
        if isinstance(step, Loop) and not data:
            out[id(step)] = _prepare_loop(step, env, setting)
        elif isinstance(step, Dense) and step.data == data and step.constant is None:
            out[id(step)] = matrices.dense_matrix(step, leaf_matrices, setting.dtype)
        elif isinstance(step, Diagonal) and step.data == data:
            out[id(step)] = matrices.diagonal_phases(step, env, setting.dtype)
    return out


def _prepare_loop(loop: Loop, env: Environment, setting: Setting) -> list[Any]:
    """The weights' part of the body in every iteration, leading axis `times`, in the order of the body's steps."""
    own, shared = _loop_environments(loop, env)
    weights = {name: value for name, value in own.items() if name not in setting.data}

    def body(slices: Environment) -> list[Any]:
        prepared = _prepare(loop.body, {**shared, **slices}, setting, False)
        return [prepared.get(id(step)) for step in flat_steps(loop.body.steps)]

    if not weights:
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (loop.repeat.times, *x.shape)), body({}))
    return jax.vmap(body)(weights)


def _loop_environments(loop: Loop, env: Environment) -> tuple[Environment, Environment]:
    """The layer's own parameters with a leading axis `times`, and the shared ones, as far as `env` holds them."""
    times = loop.repeat.times
    names = [name for name in loop.repeat.circuit.parameters if name in env]
    own = {k: env[k].reshape(times, -1, *env[k].shape[1:]) for k in names if k not in loop.repeat.shared}
    return own, {k: env[k] for k in names if k in loop.repeat.shared}


def _product_start(plan: Plan, prepared: Prepared, setting: Setting) -> jax.Array:
    """The state after the leading blocks, which meet untouched qubits only: a product of first columns."""
    state = jnp.zeros((2, 1, 1), setting.dtype).at[0].set(1)
    n_done = 0
    for step in plan.steps[: plan.start]:
        assert isinstance(step, Dense)
        column = _matrix(step, prepared, setting)[:, :, 0]
        state = _outer(state, column[:, :, None] if column.ndim == 2 else column)
        n_done += len(step.qubits)
    if n_done < plan.n_qubits:
        rest = 2 ** (plan.n_qubits - n_done)
        zero = jnp.zeros((2, rest, 1), setting.dtype).at[0, 0].set(1)
        state = _outer(state, zero)
    return state


def _outer(a: jax.Array, b: jax.Array) -> jax.Array:
    """Kronecker product of two states, column by column."""
    (a_re, a_im), (b_re, b_im) = a[:, :, None], b[:, None]
    product = jnp.stack([a_re * b_re - a_im * b_im, a_re * b_im + a_im * b_re])
    return product.reshape(2, -1, product.shape[3])


def _run(steps: Sequence[Step], state: jax.Array, prepared: Prepared, env: Environment, setting: Setting) -> jax.Array:
    """Apply steps to a state."""
    for step in steps:
        state = _apply(step, state, prepared, env, setting)
    return state


def _apply(step: Step, state: jax.Array, prepared: Prepared, env: Environment, setting: Setting) -> jax.Array:
    """Apply one step to a state."""
    match step:
        case Dense():
            return kernels.apply_dense(_matrix(step, prepared, setting), state)
        case Transpose():
            return kernels.reorder(state, step.before, step.after)
        case Diagonal():
            tables = [table.positions for table in step.tables]
            return kernels.apply_phases(list(zip(tables, prepared[id(step)], strict=True)), state)
        case Monomial():
            return kernels.apply_monomial(step.source, step.phase, state)
        case Widen():
            return jnp.broadcast_to(state, (*state.shape[:2], setting.batch))
        case Loop():
            return _run_loop(step, state, prepared[id(step)], env, setting)
        case Collapsed():
            identity = kernels.identity(state.shape[1].bit_length() - 1, state.dtype)
            return kernels.apply_dense(_run(step.steps, identity, prepared, env, setting), state)
        case Project():
            return kernels.project(step.position, step.outcome, state)


def _matrix(step: Dense, prepared: Prepared, setting: Setting) -> jax.Array:
    """Real and imaginary part of a block's matrix, (2, d, d[, batch])."""
    if step.constant is None:
        return prepared[id(step)]
    return jnp.asarray(np.stack([step.constant.real, step.constant.imag]), setting.dtype)


def _run_loop(loop: Loop, state: jax.Array, weights: list[Any], env: Environment, setting: Setting) -> jax.Array:
    """A repeated layer as a scan over its parameters."""
    own, shared = _loop_environments(loop, env)
    varying_steps = [step for step in flat_steps(loop.body.steps) if step.data]
    # Weights come along only where an angle, a run of gates or an inner loop mixes them with data.
    slices = {name: own[name] for step in varying_steps for name in names_in(step) if name in own}
    steps = list(flat_steps(loop.body.steps))
    # Data that all iterations share gives the same matrices in each: they are made once, outside.
    constant = None if slices else _prepare(loop.body, shared, setting, True)

    def body(carry: jax.Array, iteration: tuple[list[Any], Environment]) -> tuple[jax.Array, None]:
        weights_now, values = iteration
        inner = {**shared, **values}
        varying = _prepare(loop.body, inner, setting, True) if constant is None else constant
        fixed = {id(step): matrix for step, matrix in zip(steps, weights_now, strict=True) if matrix is not None}
        return _run(loop.body.steps, carry, varying | fixed, inner, setting), None

    out, _ = lax.scan(body, state, (weights, slices), loop.repeat.times, loop.repeat.reverse, setting.unroll)
    return out
