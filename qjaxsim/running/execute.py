"""Running steps on states, forwards and backwards."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from qjaxsim.planning.leaves import DEVICE_BITS
from qjaxsim.planning.steps import (
    Collapsed,
    Dense,
    Diagonal,
    Enter,
    Exchange,
    Loop,
    Monomial,
    Packed,
    Prepare,
    Project,
    ProjectBit,
    Rotations,
    Singles,
    Start,
    Step,
    Transpose,
    Widen,
)
from qjaxsim.running import (
    kernels,
    taylor,  # noqa: F401  (taylor: Taylor series through the loops here)
)
from qjaxsim.running.devices import exchange
from qjaxsim.running.matrices import Environment, moderate
from qjaxsim.running.packed import apply_packed, undo_packed
from qjaxsim.running.prepare import Common, Each, Prepared, Setting, prepare_iteration, split_loop
from qjaxsim.running.rotations import apply_rotations, undo_rotations
from qjaxsim.running.singles import apply_singles, undo_singles
from qjaxsim.running.varying import vary_alike


def no_qubits(setting: Setting) -> jax.Array:
    """The state of no qubits, (2, 1, 1): the number one, from which states grow as qubits enter."""
    return jnp.zeros((2, 1, 1), setting.dtype).at[0].set(1)


Run = Callable[[Sequence[Step], jax.Array, Prepared, Environment, Setting], jax.Array]


def run_steps(
    steps: Sequence[Step], state: jax.Array, prepared: Prepared, env: Environment, setting: Setting
) -> jax.Array:
    """Apply steps to a (2, 2**n, columns) state."""
    for step, own in zip(steps, prepared, strict=True):
        state = apply(step, own, state, env, setting)
    return state


def apply(step: Step, own: Any, state: jax.Array, env: Environment, setting: Setting) -> jax.Array:
    """Apply one step to a state; `own` is what is prepared for it."""
    match step:
        case Dense():
            return kernels.apply_dense(_matrix(step, own, setting), state)
        case Transpose():
            return kernels.reorder(state, step.before, step.after)
        case Diagonal():
            return kernels.apply_phases(_tables(step, own), state)
        case Rotations():
            return apply_rotations(step, own, state)
        case Singles():
            return apply_singles(own, state)
        case Monomial():
            return kernels.apply_monomial(step.source, step.phase, state)
        case Start():
            constant = np.stack([step.state.real, step.state.imag])[..., None]
            return vary_alike(jnp.asarray(constant, setting.dtype), state)
        case Enter():
            return kernels.enter(len(step.qubits), state)
        case Prepare():
            return kernels.product_state(_state(step, own, setting), state)
        case Widen():
            return jnp.broadcast_to(state, (*state.shape[:2], setting.batch))
        case Loop():
            return _run_loop(step, own, state, env, setting)
        case Collapsed():
            return kernels.apply_dense(own, state)
        case Packed():
            return apply_packed(step, own, state)
        case Project():
            return _normalised(kernels.project(step.position, step.outcome, state), setting)
        case ProjectBit():
            kept = env[DEVICE_BITS][step.bit] == step.outcome
            return _normalised(jnp.where(kept, state, jnp.zeros_like(state)), setting)
        case Exchange():
            return exchange(step.bits, setting.axes, state)


def undo(step: Step, own: Any, state: jax.Array, setting: Setting) -> jax.Array:
    """The state before a step, from the state after it; steps are unitary, so this pulls cotangents back as well.

    Loops are undone iteration by iteration elsewhere; projections cannot be.
    """
    match step:
        case Dense():
            return kernels.apply_dense(kernels.dagger(_matrix(step, own, setting)), state)
        case Collapsed():
            return kernels.apply_dense(kernels.dagger(own), state)
        case Packed():
            return undo_packed(step, own, state)
        case Transpose():
            return kernels.reorder(state, step.after, step.before)
        case Diagonal():
            conjugates = [(positions, phases * _conjugate(phases)) for positions, phases in _tables(step, own)]
            return kernels.apply_phases(conjugates, state)
        case Rotations():
            return undo_rotations(step, own, state)
        case Singles():
            return undo_singles(own, state)
        case Monomial():
            phase = None if step.phase is None else step.phase.conj()[np.argsort(step.source)]
            return kernels.apply_monomial(np.argsort(step.source), phase, state)
        case Exchange():
            return exchange(step.bits, setting.axes, state)
        case Start():
            return state[:, :1]  # nothing before it depends on anything
        case Enter():
            return state[:, : state.shape[1] >> len(step.qubits)]
        case Prepare():
            return kernels.overlap_with(_state(step, own, setting), state)
        case Widen():
            return state[:, :, :1]
        case _:
            raise TypeError(f"Step {type(step).__name__} cannot be undone.")


def with_collapsed(
    steps: Sequence[Step], prepared: Prepared, env: Environment, setting: Setting, run: Run = run_steps
) -> Prepared:
    """What is prepared, with collapsed stretches multiplied up: `run` runs their steps on the identity."""
    return tuple(
        run(step.steps, identity(step.n_qubits, setting), own, env, setting) if isinstance(step, Collapsed) else own
        for step, own in zip(steps, prepared, strict=True)
    )


def identity(n_qubits: int, setting: Setting) -> jax.Array:
    """The identity as a state of 2**n columns, (2, 2**n, 2**n)."""
    eye = jnp.eye(2**n_qubits, dtype=setting.dtype)
    return jnp.stack([eye, jnp.zeros_like(eye)])


def _normalised(state: jax.Array, setting: Setting) -> jax.Array:
    """States divided by their norms."""
    state = moderate(state, setting.axes)
    squares = (state**2).reshape(-1, state.shape[2])
    total = kernels.sum_over_bits(squares, range(len(squares).bit_length() - 1))
    return state / jnp.sqrt(lax.psum(total, setting.axes) if setting.axes else total)[None, None]


def _conjugate(phases: jax.Array) -> jax.Array:
    return jnp.asarray([1, -1], phases.dtype).reshape((2,) + (1,) * (phases.ndim - 1))


def _tables(step: Diagonal, own: Sequence[jax.Array]) -> list[tuple[tuple[int, ...], jax.Array]]:
    positions = [table.positions for table in step.tables]
    return list(zip(positions, own, strict=True))


def _matrix(step: Dense, own: jax.Array | None, setting: Setting) -> jax.Array:
    """Real and imaginary part of a block's matrix, (2, d, d[, batch]); of |0> on entering qubits the columns."""
    if step.constant is not None:
        own = jnp.asarray(np.stack([step.constant.real, step.constant.imag]), setting.dtype)
    assert own is not None
    return own[:, :, : own.shape[2] >> step.entering]


def _state(step: Prepare, own: jax.Array | None, setting: Setting) -> jax.Array:
    """Real and imaginary part of a prepared state, (2, 2**k[, batch])."""
    if step.constant is None:
        assert own is not None
        return own
    psi = step.constant.conj() if step.conjugated else step.constant
    return jnp.asarray(np.stack([psi.real, psi.imag]), setting.dtype)


def _run_loop(loop: Loop, own: Prepared | None, state: jax.Array, env: Environment, setting: Setting) -> jax.Array:
    """A repeated layer as a scan over its parameters."""
    each, common = split_loop(loop, own, env, setting)

    def body(carry: jax.Array, now: Each) -> tuple[jax.Array, None]:
        prepared, inner = iteration(loop, now, common, setting)
        return run_steps(loop.body.steps, carry, prepared, inner, setting), None

    state = vary_alike(state, each, common)
    out, _ = lax.scan(body, state, each, loop.repeat.times, loop.repeat.reverse, setting.unroll)
    return out


def iteration(loop: Loop, each: Each, common: Common, setting: Setting) -> tuple[Prepared, Environment]:
    """All that the body needs in one iteration, collapsed stretches included."""
    prepared, env = prepare_iteration(loop, each, common, setting)
    return with_collapsed(loop.body.steps, prepared, env, setting), env
