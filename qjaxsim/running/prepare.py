"""From parameters to what steps need: matrices and phases, for loops those of all iterations.

Weights and data are prepared apart. Inside a loop the weights' matrices of all iterations are computed at once, before
the scan, so that the scan itself holds little more than matrix products.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from qjaxsim.planning.steps import Dense, Diagonal, Loop, Plan, Step, flat_steps, names_in
from qjaxsim.running import matrices
from qjaxsim.running.matrices import Environment

Prepared = dict[int, Any]
"""By id of a step: its matrix or phases; for a loop, what its body's weights give in every iteration, or None."""


@dataclass(frozen=True)
class Setting:
    """What does not change while a plan runs.

    Attributes:
        dtype: real dtype of angles.
        data: names of the parameters that carry the batch.
        batch: size of the batch.
        unroll: iterations in one step of a scan.
        adjoint: whether reverse-mode derivatives run the circuit backwards.
    """

    dtype: Any
    data: frozenset[str]
    batch: int
    unroll: int
    adjoint: bool = False


def with_definitions(plan: Plan, env: Environment, setting: Setting) -> Environment:
    """Parameters with those that the planner made."""
    made = {name: matrices.angle_stack(angles, env, setting.dtype) for name, angles in plan.definitions.items()}
    return {**env, **made}


def prepare_all(plan: Plan, env: Environment, setting: Setting) -> Prepared:
    """Matrices and phases of all steps, weights and data."""
    return prepare(plan, env, setting, False) | prepare(plan, env, setting, True)


def prepare(plan: Plan, env: Environment, setting: Setting, data: bool) -> Prepared:
    """Matrices and phases of the steps that depend on data, or of those that do not."""
    leaf_matrices: dict[int, jax.Array] = {}
    for members in plan.stacks.values():
        if members[0].data == data:
            stack = matrices.stack_matrices(members, env, setting.dtype)
            leaf_matrices.update({id(leaf): stack[:, :, i] for i, leaf in enumerate(members)})
    out: Prepared = {}
    for step in flat_steps(plan.steps):
        if isinstance(step, Loop) and not data:
            out[id(step)] = None if _is_lazy(step, setting) else _prepare_loop(step, env, setting)
        elif isinstance(step, Dense) and step.data == data and step.constant is None:
            out[id(step)] = matrices.dense_matrix(step, leaf_matrices, setting.dtype)
        elif isinstance(step, Diagonal) and step.data == data:
            out[id(step)] = matrices.diagonal_phases(step, env, setting.dtype)
    return out


def _is_lazy(loop: Loop, setting: Setting) -> bool:
    """Whether each iteration computes its own matrices: where those of all together outweigh the states.

    Only for derivatives in constant memory, which they would spoil.
    """
    sizes = [4 ** len(step.qubits) for step in flat_steps(loop.body.steps) if isinstance(step, Dense)]
    return setting.adjoint and loop.repeat.times * sum(sizes) > 2 * 2**loop.body.n_qubits * setting.batch


def _makes_its_own(step: Step, setting: Setting) -> bool:
    """Whether a step is a loop with matrices that an iteration computes, its own or those of a loop inside."""
    if not isinstance(step, Loop):
        return False
    return _is_lazy(step, setting) or any(_makes_its_own(inner, setting) for inner in flat_steps(step.body.steps))


def _prepare_loop(loop: Loop, env: Environment, setting: Setting) -> list[Any]:
    """The weights' part of the body in every iteration, leading axis `times`, in the order of the body's steps."""
    own, shared = _environments(loop, env)
    weights = {name: value for name, value in own.items() if name not in setting.data}

    def body(slices: Environment) -> list[Any]:
        prepared = prepare(loop.body, {**shared, **slices}, setting, False)
        return [prepared.get(id(step)) for step in flat_steps(loop.body.steps)]

    if not weights:
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (loop.repeat.times, *x.shape)), body({}))
    return jax.vmap(body)(weights)


def _environments(loop: Loop, env: Environment) -> tuple[Environment, Environment]:
    """The layer's own parameters with a leading axis `times`, and the shared ones, as far as `env` holds them."""
    times = loop.repeat.times
    names = [name for name in loop.repeat.circuit.parameters if name in env]
    own = {k: env[k].reshape(times, -1, *env[k].shape[1:]) for k in names if k not in loop.repeat.shared}
    return own, {k: env[k] for k in names if k in loop.repeat.shared}


def split_loop(loop: Loop, weights: list[Any] | None, env: Environment, setting: Setting) -> tuple[Any, Any]:
    """What differs from iteration to iteration (leading axis `times`), and what all iterations share."""
    own, shared = _environments(loop, env)
    if weights is None:
        return (None, own), (shared, None)
    # Weights come along only where an angle, a run of gates or an inner loop mixes them with data, and where an inner
    # loop makes its own matrices.
    steps = list(flat_steps(loop.body.steps))
    mixed = {name for step in steps if step.data for name in names_in(step) if name in own}
    inner = {name for step in steps if _makes_its_own(step, setting) for name in names_in(step) if name in own}
    # Data that all iterations share gives the same matrices in each: they are made once, outside.
    constant = None if mixed else prepare(loop.body, shared, setting, True)
    return (weights, {name: own[name] for name in own if name in mixed | inner}), (shared, constant)


def prepare_iteration(loop: Loop, each: Any, common: Any, setting: Setting) -> tuple[Prepared, Environment]:
    """Matrices and parameters of one iteration, from its share of `split_loop` and the common part."""
    (weights, values), (shared, constant) = each, common
    env = {**shared, **values}
    if weights is None:
        return prepare_all(loop.body, env, setting), env
    varying = prepare(loop.body, env, setting, True) if constant is None else constant
    # A loop inside that makes its own matrices has None for them, which has to be said.
    steps = flat_steps(loop.body.steps)
    pairs = [(step, own) for step, own in zip(steps, weights, strict=True) if own is not None or isinstance(step, Loop)]
    return varying | {id(step): own for step, own in pairs}, env
