"""Running a plan: parameters to matrices, matrices to states.

Weights and data are prepared apart. Inside a loop the weights' matrices of all iterations are computed at once, before
the scan, so that the scan itself holds little more than matrix products.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from qjaxsim import kernels, matrices
from qjaxsim.gates import complex_dtype
from qjaxsim.matrices import Environment
from qjaxsim.operations import Projection
from qjaxsim.steps import Collapsed, Dense, Diagonal, Loop, Monomial, Plan, Step, depends_on_data, flat_steps, names_in

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
    prepared = prepare_all(plan, env, setting)
    state, order, done = _product_start(plan, prepared, setting)
    return _run(plan.steps[done:], state, order, prepared, env, setting)


def run_on_identity(plan: Plan, env: Environment, setting: Setting) -> jax.Array:
    """The plan's unitary, (2, 2**n, 2**n) real, for a plan without data."""
    identity = kernels.identity(plan.n_qubits, setting.dtype)
    return _run(plan.steps, identity, tuple(range(plan.n_qubits)), prepare_all(plan, env, setting), env, setting)


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
        elif isinstance(step, Dense) and step.data == data:
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


def _product_start(plan: Plan, prepared: Prepared, setting: Setting) -> tuple[jax.Array, tuple[int, ...], int]:
    """The state after the leading blocks that meet untouched qubits only: a product of first columns.

    Returns:
        State, order of its index bits, and how many steps it covers.
    """
    one = jnp.ones((1, 1), complex_dtype(setting.dtype))
    order: list[int] = []
    state, done = one, 0
    for step in plan.steps:
        if not isinstance(step, Dense) or set(step.qubits) & set(order):
            break
        column = prepared[id(step)][:, 0]
        state = _outer(state, column[:, None] if column.ndim == 1 else column)
        order.extend(step.qubits)
        done += 1
    idle = [q for q in range(plan.n_qubits) if q not in order]
    if idle:
        zero = jnp.zeros((2 ** len(idle), 1), one.dtype).at[0].set(1)
        state = _outer(state, zero)
    return kernels.from_complex(state), (*order, *idle), done


def _outer(a: jax.Array, b: jax.Array) -> jax.Array:
    """Kronecker product of two states, column by column."""
    product = a[:, None] * b[None]
    return product.reshape(-1, product.shape[2])


def _run(
    steps: Sequence[Step],
    state: jax.Array,
    order: tuple[int, ...],
    prepared: Prepared,
    env: Environment,
    setting: Setting,
) -> jax.Array:
    """Apply steps to a state whose index bits stand for the qubits in `order`; the result is in ascending order.

    The order is followed rather than restored after each block: a transpose is paid only where a block needs one.
    """
    ascending = tuple(range(len(order)))
    for step in steps:
        if isinstance(step, Dense | Diagonal | Monomial):
            state, order = kernels.bring_to_front(state, order, step.qubits)
            state = _apply(step, state, order[: len(step.qubits)], prepared)
            continue
        state, order = kernels.reorder(state, order, ascending), ascending
        if isinstance(step, Loop):
            state = _run_loop(step, state, prepared[id(step)], env, setting)
        elif isinstance(step, Collapsed):
            identity = kernels.identity(len(order), state.dtype)
            state = kernels.apply_stacked(_run(step.steps, identity, ascending, prepared, env, setting), state)
        else:
            state = _project(step, state)
    return kernels.reorder(state, order, ascending)


def _apply(step: Step, state: jax.Array, order: tuple[int, ...], prepared: Prepared) -> jax.Array:
    """Apply a step to the leading index bits, which stand for its qubits in `order`."""
    if isinstance(step, Monomial):
        return kernels.apply_monomial(step, order, state)
    if isinstance(step, Diagonal):
        phases = kernels.permute_phases(prepared[id(step)], step.qubits, order)
        return kernels.apply_phases(phases, state)
    assert isinstance(step, Dense)
    return kernels.apply_dense(kernels.permute_matrix(prepared[id(step)], step.qubits, order), state)


def _run_loop(loop: Loop, state: jax.Array, weights: list[Any], env: Environment, setting: Setting) -> jax.Array:
    """A repeated layer as a scan over its parameters."""
    own, shared = _loop_environments(loop, env)
    varying_steps = [step for step in flat_steps(loop.body.steps) if depends_on_data(step)]
    # Weights come along only where an angle, a run of gates or an inner loop mixes them with data.
    slices = {name: own[name] for step in varying_steps for name in names_in(step) if name in own}
    steps = list(flat_steps(loop.body.steps))
    ascending = tuple(range(loop.body.n_qubits))
    if loop.data and state.shape[2] == 1:
        state = jnp.broadcast_to(state, (*state.shape[:2], setting.batch))

    # Data that all iterations share gives the same matrices in each: they are made once, outside.
    constant = None if slices else _prepare(loop.body, shared, setting, True)

    def body(carry: jax.Array, iteration: tuple[list[Any], Environment]) -> tuple[jax.Array, None]:
        weights_now, values = iteration
        inner = {**shared, **values}
        varying = _prepare(loop.body, inner, setting, True) if constant is None else constant
        fixed = {id(step): matrix for step, matrix in zip(steps, weights_now, strict=True) if matrix is not None}
        return _run(loop.body.steps, carry, ascending, varying | fixed, inner, setting), None

    out, _ = lax.scan(body, state, (weights, slices), loop.repeat.times, loop.repeat.reverse, setting.unroll)
    return out


def _project(step: Projection, state: jax.Array) -> jax.Array:
    """Keep one outcome of one qubit and normalise every column."""
    n_qubits = state.shape[1].bit_length() - 1
    split = state.reshape(2, 2**step.qubit, 2, 2 ** (n_qubits - step.qubit - 1), state.shape[2])
    kept = split[:, :, step.outcome]
    kept = kept / jnp.sqrt(jnp.sum(kept**2, axis=(0, 1, 2), keepdims=True))
    zero = jnp.zeros_like(kept)
    pair = (kept, zero) if step.outcome == 0 else (zero, kept)
    return jnp.stack(pair, axis=2).reshape(state.shape)
