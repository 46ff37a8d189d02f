"""From parameters to what steps need: matrices and phases, for loops those of all iterations.

Weights and data are prepared apart. Inside a loop the weights' matrices of all iterations are computed at once, before
the scan, so that the scan itself holds little more than matrix products.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from qjaxsim.planning.inspection import names_in
from qjaxsim.planning.leaves import DEVICE_BITS, Leaf
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
    Together,
    flat_steps,
)
from qjaxsim.running import matrices
from qjaxsim.running.matrices import Environment
from qjaxsim.running.packed import block_matrices

Prepared = tuple[Any, ...]
"""What steps need, one entry for each step in their order.

A matrix or phases; for a loop, what its body's weights give in every iteration; for a collapsed stretch, what its own
steps need, and once those are multiplied up its matrix. None for a step that needs nothing or makes it itself.
"""


class Each(NamedTuple):
    """What differs from iteration to iteration of a loop, with a leading axis `times`.

    Attributes:
        weights: what the body's weights give; None where each iteration makes that itself.
        values: parameters that an iteration needs beside.
    """

    weights: Prepared | None
    values: Environment


class Common(NamedTuple):
    """What all iterations of a loop share.

    Attributes:
        values: shared parameters.
        data: what the body's data give, if that is the same in each iteration, else None.
    """

    values: Environment
    data: Prepared | None


@dataclass(frozen=True)
class Setting:
    """What does not change while a plan runs.

    Attributes:
        dtype: real dtype of angles.
        data: names of the parameters that carry the batch.
        batch: size of the batch.
        unroll: iterations in one step of a scan.
        adjoint: whether reverse-mode derivatives run the circuit backwards.
        axes: of the mesh over which the state is cut; none where each device has all of it.
    """

    dtype: Any
    data: frozenset[str]
    batch: int
    unroll: int
    adjoint: bool = False
    axes: tuple[str, ...] = ()


def with_definitions(plan: Plan, env: Environment, setting: Setting) -> Environment:
    """Parameters with those that the planner made."""
    made = {name: matrices.angle_stack(angles, env, setting.dtype) for name, angles in plan.definitions.items()}
    return {**env, **made}


def prepare_all(plan: Plan, env: Environment, setting: Setting) -> Prepared:
    """Matrices and phases of all steps, weights and data."""
    return _merged(prepare(plan, env, setting, False), prepare(plan, env, setting, True))


def _merged(weights: Prepared, data: Prepared) -> Prepared:
    """What is prepared from weights and from data: no step has both."""
    return tuple(own if other is None else other for own, other in zip(weights, data, strict=True))


def prepare(plan: Plan, env: Environment, setting: Setting, data: bool) -> Prepared:
    """Matrices and phases of the steps that depend on data, or of those that do not."""
    leaf_matrices: dict[Leaf, jax.Array] = {}
    for members in plan.stacks.values():
        if members[0].data == data:
            stack = matrices.stack_matrices(members, env, setting.dtype)
            leaf_matrices.update(zip(members, jnp.unstack(stack, axis=2), strict=True))

    made: dict[Step, jax.Array] = {}
    for blocks in () if data else plan.together:
        made.update(_made_together(blocks, env, setting))

    def needed(step: Step) -> Any:
        match step:
            case Dense() if step in made:
                return made[step]
            case Loop() if not (data or _is_lazy(step, setting)):
                return _prepare_loop(step, env, setting)
            case Collapsed() if not data:
                return tuple(needed(inner) for inner in step.steps)
            case Dense() if step.data == data and step.constant is None:
                return matrices.dense_matrix(step, leaf_matrices, setting.dtype)
            case Singles() if data:
                return matrices.single_matrices(step, leaf_matrices, setting.batch)
            case Diagonal() if step.data == data:
                return matrices.diagonal_phases(step, env, setting.dtype)
            case Rotations() if step.data == data:
                return matrices.rotation_halves(step, env, setting.dtype)
            case Prepare() if step.data == data and step.constant is None:
                return matrices.amplitudes(step, env, setting.dtype)
            case Packed() if not data and step.products is not None:
                return block_matrices(step.products, env, setting.dtype)
        return None

    return tuple(needed(step) for step in plan.steps)


def _made_together(blocks: Together, env: Environment, setting: Setting) -> dict[Step, jax.Array]:
    """The matrices of blocks that are made at once, (2, d, d) each."""
    matrices = block_matrices(blocks.products, env, setting.dtype)
    return dict(zip(blocks.steps, jnp.unstack(matrices), strict=True))


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


def _prepare_loop(loop: Loop, env: Environment, setting: Setting) -> Prepared:
    """What the body's weights give in every iteration, leading axis `times`."""
    own, shared = _environments(loop, env)
    weights = {name: value for name, value in own.items() if name not in setting.data}

    def body(slices: Environment) -> Prepared:
        return prepare(loop.body, {**shared, **slices}, setting, False)

    if not weights:
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (loop.repeat.times, *x.shape)), body({}))
    return jax.vmap(body)(weights)


def _environments(loop: Loop, env: Environment) -> tuple[Environment, Environment]:
    """The layer's own parameters with a leading axis `times`, and the shared ones, as far as `env` holds them."""
    times = loop.repeat.times
    names = [name for name in loop.repeat.circuit.parameters if name in env]
    own = {k: env[k].reshape(times, -1, *env[k].shape[1:]) for k in names if k not in loop.repeat.shared}
    shared = [k for k in env if k in loop.repeat.shared or k == DEVICE_BITS]
    return own, {k: env[k] for k in shared}


def split_loop(loop: Loop, weights: Prepared | None, env: Environment, setting: Setting) -> tuple[Each, Common]:
    """What the iterations of a loop need, apart and together, from what its entry of `Prepared` holds."""
    own, shared = _environments(loop, env)
    if weights is None:
        return Each(None, own), Common(shared, None)
    steps = list(flat_steps(loop.body.steps))
    with_data = _names(step for step in steps if step.data)
    made_inside = _names(step for step in steps if _makes_its_own(step, setting))
    # Weights come along only where an angle, a run of gates or an inner loop mixes them with data, and where an inner
    # loop makes its own matrices.
    values = {name: value for name, value in own.items() if name in with_data | made_inside}
    # Data that all iterations share gives the same matrices in each: they are made once, outside.
    constant = prepare(loop.body, shared, setting, True) if with_data.isdisjoint(own) else None
    return Each(weights, values), Common(shared, constant)


def _names(steps: Iterable[Step]) -> set[str]:
    return set().union(*(names_in(step) for step in steps))


def prepare_iteration(loop: Loop, each: Each, common: Common, setting: Setting) -> tuple[Prepared, Environment]:
    """Matrices and parameters of one iteration, from its share of what differs and the common part."""
    env = {**common.values, **each.values}
    if each.weights is None:
        return prepare_all(loop.body, env, setting), env
    data = prepare(loop.body, env, setting, True) if common.data is None else common.data
    return _merged(each.weights, data), env
