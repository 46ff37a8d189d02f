"""Running steps on states, forwards and backwards."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from qjaxsim.planning.steps import (
    Collapsed,
    Dense,
    Diagonal,
    Enter,
    Loop,
    Monomial,
    Project,
    Start,
    Step,
    Transpose,
    Widen,
)
from qjaxsim.running import (
    kernels,
    taylor,  # noqa: F401  (taylor: Taylor series through the loops here)
)
from qjaxsim.running.matrices import Environment
from qjaxsim.running.prepare import Prepared, Setting, prepare_iteration, split_loop
from qjaxsim.running.varying import vary_alike


def no_qubits(setting: Setting) -> jax.Array:
    """The state of no qubits, (2, 1, 1): the number one, from which states grow as qubits enter."""
    return jnp.zeros((2, 1, 1), setting.dtype).at[0].set(1)


def run_steps(
    steps: Sequence[Step], state: jax.Array, prepared: Prepared, env: Environment, setting: Setting
) -> jax.Array:
    """Apply steps to a (2, 2**n, columns) state."""
    for step in steps:
        state = apply(step, state, prepared, env, setting)
    return state


def apply(step: Step, state: jax.Array, prepared: Prepared, env: Environment, setting: Setting) -> jax.Array:
    """Apply one step to a state."""
    match step:
        case Dense():
            return kernels.apply_dense(_matrix(step, prepared, setting), state)
        case Transpose():
            return kernels.reorder(state, step.before, step.after)
        case Diagonal():
            return kernels.apply_phases(_tables(step, prepared), state)
        case Monomial():
            return kernels.apply_monomial(step.source, step.phase, state)
        case Start():
            constant = np.stack([step.state.real, step.state.imag])[..., None]
            return vary_alike(jnp.asarray(constant, setting.dtype), state)
        case Enter():
            return kernels.enter(len(step.qubits), state)
        case Widen():
            return jnp.broadcast_to(state, (*state.shape[:2], setting.batch))
        case Loop():
            return _run_loop(step, state, prepared, env, setting)
        case Collapsed():
            return kernels.apply_dense(prepared[id(step)], state)
        case Project():
            return kernels.project(step.position, step.outcome, state)


def undo(step: Step, state: jax.Array, prepared: Prepared, setting: Setting) -> jax.Array:
    """The state before a step, from the state after it; steps are unitary, so this pulls cotangents back as well.

    Loops are undone iteration by iteration elsewhere; projections cannot be.
    """
    match step:
        case Dense():
            return kernels.apply_dense(kernels.dagger(_matrix(step, prepared, setting)), state)
        case Collapsed():
            return kernels.apply_dense(kernels.dagger(prepared[id(step)]), state)
        case Transpose():
            return kernels.reorder(state, step.after, step.before)
        case Diagonal():
            conjugates = [(positions, phases * _conjugate(phases)) for positions, phases in _tables(step, prepared)]
            return kernels.apply_phases(conjugates, state)
        case Monomial():
            phase = None if step.phase is None else step.phase.conj()[np.argsort(step.source)]
            return kernels.apply_monomial(np.argsort(step.source), phase, state)
        case Start():
            return state[:, :1]  # nothing before it depends on anything
        case Enter():
            return state[:, : state.shape[1] >> len(step.qubits)]
        case Widen():
            return state[:, :, :1]
        case _:
            raise TypeError(f"Step {type(step).__name__} cannot be undone.")


def with_collapsed(steps: Sequence[Step], prepared: Prepared, env: Environment, setting: Setting) -> Prepared:
    """What is prepared, with the matrices of collapsed stretches added."""
    return prepared | {
        id(step): run_steps(step.steps, identity(step.n_qubits, setting), prepared, env, setting)
        for step in steps
        if isinstance(step, Collapsed)
    }


def identity(n_qubits: int, setting: Setting) -> jax.Array:
    """The identity as a state of 2**n columns, (2, 2**n, 2**n)."""
    eye = jnp.eye(2**n_qubits, dtype=setting.dtype)
    return jnp.stack([eye, jnp.zeros_like(eye)])


def _conjugate(phases: jax.Array) -> jax.Array:
    return jnp.asarray([1, -1], phases.dtype).reshape((2,) + (1,) * (phases.ndim - 1))


def _tables(step: Diagonal, prepared: Prepared) -> list[tuple[tuple[int, ...], jax.Array]]:
    positions = [table.positions for table in step.tables]
    return list(zip(positions, prepared[id(step)], strict=True))


def _matrix(step: Dense, prepared: Prepared, setting: Setting) -> jax.Array:
    """Real and imaginary part of a block's matrix, (2, d, d[, batch]); of |0> on entering qubits the columns."""
    parts = prepared.get(id(step))
    if step.constant is not None:
        parts = jnp.asarray(np.stack([step.constant.real, step.constant.imag]), setting.dtype)
    assert parts is not None
    return parts[:, :, : parts.shape[2] >> step.entering]


def _run_loop(loop: Loop, state: jax.Array, prepared: Prepared, env: Environment, setting: Setting) -> jax.Array:
    """A repeated layer as a scan over its parameters."""
    each, common = split_loop(loop, prepared[id(loop)], env, setting)

    def body(carry: jax.Array, now: tuple) -> tuple[jax.Array, None]:
        matrices, inner = iteration(loop, now, common, setting)
        return run_steps(loop.body.steps, carry, matrices, inner, setting), None

    state = vary_alike(state, each, common)
    out, _ = lax.scan(body, state, each, loop.repeat.times, loop.repeat.reverse, setting.unroll)
    return out


def iteration(loop: Loop, each: tuple, common: tuple, setting: Setting) -> tuple[Prepared, Environment]:
    """All that the body needs in one iteration, collapsed stretches included."""
    prepared, env = prepare_iteration(loop, each, common, setting)
    return with_collapsed(loop.body.steps, prepared, env, setting), env
