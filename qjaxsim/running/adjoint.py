"""Derivatives of a run in constant memory; `adjoint.md` derives them.

Reverse mode needs the state before every step. Steps are unitary, so those states can be found again by running the
circuit backwards from the final one, instead of being kept (`sweep.py`).
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from qjaxsim.planning.inspection import is_invertible, names_in
from qjaxsim.planning.leaves import DEVICE_BITS
from qjaxsim.planning.options import PlanOptions
from qjaxsim.planning.steps import (
    Collapsed,
    Dense,
    Diagonal,
    Loop,
    Packed,
    Plan,
    Prepare,
    Rotations,
    Singles,
    Step,
    Widen,
)
from qjaxsim.running import execute
from qjaxsim.running.execute import identity, no_qubits, run_steps, undo, with_collapsed
from qjaxsim.running.matrices import Environment
from qjaxsim.running.packed import reverse_packed
from qjaxsim.running.prepare import Each, Prepared, Setting, prepare_all, split_loop, with_definitions
from qjaxsim.running.rotations import reverse_rotations
from qjaxsim.running.singles import reverse_singles
from qjaxsim.running.sweep import with_sweep
from qjaxsim.running.varying import vary_alike

# Backpropagation that would keep more than this many bytes of states gives way to the adjoint sweep.
ADJOINT_FROM_BYTES = 2**27

Tree = Any


def run_from_zero(plan: Plan, env: Environment, setting: Setting) -> jax.Array:
    """The final state, (2, 2**n, columns) real, from |0...0>; one column if no step depends on data, else the batch."""
    state = no_qubits(setting)
    if setting.axes:  # only the device with the number zero begins with anything
        state = state * (1 - env[DEVICE_BITS]).prod().astype(state.dtype)
    return run_on_states(plan, env, setting, state)


def run_on_identity(plan: Plan, env: Environment, setting: Setting) -> jax.Array:
    """The plan's unitary, (2, 2**n, 2**n) real, for a plan without data."""
    return run_on_states(plan, env, setting, identity(plan.n_qubits, setting))


def run_on_states(plan: Plan, env: Environment, setting: Setting, state: jax.Array) -> jax.Array:
    """The plan run on (2, 2**n, columns) states."""
    env = with_definitions(plan, env, setting)
    prepared = with_collapsed(plan.steps, prepare_all(plan, env, setting), env, setting, _run)
    return _run(plan.steps, state, prepared, env, setting)


def uses_adjoint(plan: Plan, columns: int, itemsize: int, options: PlanOptions, density: bool = False) -> bool:
    """Whether reverse mode runs the circuit backwards.

    Args:
        plan: the plan.
        columns: states that are run together.
        itemsize: bytes of a real number.
        options: `gradient` forces the choice.
        density: whether its states are density matrices.

    Raises:
        ValueError: if the adjoint sweep is asked for and the circuit has projections or free matrices, or its state is
            a density matrix.
    """
    possible = not density and all(is_invertible(step) for step in plan.steps)
    if options.gradient == "adjoint" and not possible:
        what = "density matrix" if density else "circuit with projections or free matrices"
        raise ValueError(
            f"Option `gradient` must not be 'adjoint' for a {what}, which cannot be run backwards; use 'backprop' or "
            "None."
        )
    if options.gradient is not None or not possible:
        return options.gradient == "adjoint"
    return kept_bytes(plan.steps, plan.n_qubits, columns, itemsize) > ADJOINT_FROM_BYTES


def kept_bytes(steps: Sequence[Step], n_qubits: int, columns: int, itemsize: int) -> int:
    """Bytes of the states that backpropagation keeps: one for every matrix or table of phases with angles."""
    state = 2 * itemsize * 2**n_qubits * columns
    total = 0
    for step in steps:
        if isinstance(step, Loop):
            total += step.repeat.times * kept_bytes(step.body.steps, n_qubits, columns, itemsize)
        elif isinstance(step, Collapsed):
            total += state + kept_bytes(step.steps, n_qubits, 2**n_qubits, itemsize)
        elif isinstance(step, Packed):
            total += state * len(step.orders) if step.products is not None else 0
        elif isinstance(step, Diagonal | Rotations | Singles):
            total += state
        elif isinstance(step, Dense | Prepare):
            total += state if step.constant is None else 0
    return total


def _run(steps: Sequence[Step], state: jax.Array, prepared: Prepared, env: Environment, setting: Setting) -> jax.Array:
    """Apply steps, with the derivative that the setting asks for."""
    if not setting.adjoint:
        return run_steps(steps, state, prepared, env, setting)

    # Only what these steps use: batch axes of other parameters must not spread to the derivative.
    loops = [step for step in steps if isinstance(step, Loop)]
    used = set().union(*(names_in(loop) for loop in loops))
    env = {name: value for name, value in env.items() if name in used}

    def forward(inputs: Tree) -> jax.Array:
        state, prepared, env = inputs
        return run_steps(steps, state, prepared, env, setting)

    def pull(final: jax.Array, inputs: Tree, cotangent: jax.Array) -> Tree:
        _, prepared, env = inputs
        _, *cotangents = _reverse(steps, final, cotangent, prepared, env, setting)
        return tuple(cotangents)

    # Inside `jax.shard_map` the state varies like the rest, or sums over devices would end up between the steps.
    return with_sweep(forward, pull)(vary_alike((state, prepared, env)))


# --- backwards through steps -----------------------------------------------------------------------------------------


def _reverse(
    steps: Sequence[Step], state: jax.Array, ct: jax.Array, prepared: Prepared, env: Environment, setting: Setting
) -> tuple[jax.Array, jax.Array, Prepared, Environment]:
    """From the state after some steps and its cotangent to those before, with the cotangents of all that they use."""
    d_env = jax.tree.map(jnp.zeros_like, env)
    d_prepared = []
    for step, own in zip(reversed(steps), reversed(prepared), strict=True):
        if isinstance(step, Loop):
            state, ct, d_own, d_loop = _reverse_loop(step, own, state, ct, env, setting)
            d_env = jax.tree.map(jnp.add, d_env, d_loop)
        else:
            state, ct, d_own = _reverse_step(step, own, state, ct, setting)
        d_prepared.append(d_own)
    return state, ct, tuple(reversed(d_prepared)), d_env


def _reverse_step(
    step: Step, own: Tree, state: jax.Array, ct: jax.Array, setting: Setting
) -> tuple[jax.Array, jax.Array, Tree]:
    """The same for one step that is no loop, with the cotangent of its matrix or phases."""
    if isinstance(step, Rotations):
        return reverse_rotations(step, own, state, ct)
    if isinstance(step, Singles):
        return reverse_singles(own, state, ct)
    if isinstance(step, Packed) and own is not None:
        return reverse_packed(step, own, state, ct)
    before = undo(step, own, state, setting)
    d_own = None
    if own is not None:
        d_own = jax.vjp(lambda own: execute.apply(step, own, before, {}, setting), own)[1](ct)[0]
    ct = ct.sum(axis=2, keepdims=True) if isinstance(step, Widen) else undo(step, own, ct, setting)
    return before, ct, d_own


def _reverse_loop(
    loop: Loop, own: Prepared | None, state: jax.Array, ct: jax.Array, env: Environment, setting: Setting
) -> tuple[jax.Array, jax.Array, Tree, Environment]:
    """The same for all iterations of a loop, the last one first."""
    (each, common), pull_split = jax.vjp(lambda own, e: split_loop(loop, own, e, setting), own, env)

    def body(carry: tuple, now: Each) -> tuple[tuple, Tree]:
        state, ct, d_common = carry
        (prepared, inner), pull = jax.vjp(lambda n, c: execute.iteration(loop, n, c, setting), now, common)
        state, ct, d_prepared, d_inner = _reverse(loop.body.steps, state, ct, prepared, inner, setting)
        d_now, more = pull((d_prepared, d_inner))
        return (state, ct, jax.tree.map(jnp.add, d_common, more)), d_now

    start = (state, ct, jax.tree.map(jnp.zeros_like, common))
    backwards = not loop.repeat.reverse
    (state, ct, d_common), d_each = lax.scan(body, start, each, loop.repeat.times, backwards, setting.unroll)
    return state, ct, *pull_split((d_each, d_common))
