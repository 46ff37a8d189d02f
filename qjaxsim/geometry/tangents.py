"""Derivatives of a circuit's final state in its parameters: the tangents that every quantum metric is made of.

Two ways to the same numbers. One sweep forwards over a layered plan (`running/tangents.py`), where the circuit is made
of gates and short enough to be written out; else JAX's own derivatives of a run, forwards or, where there are more
parameters than amplitudes, backwards.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.expressions import Element
from qjaxsim.common.checks import shown
from qjaxsim.common.precision import HIGHEST
from qjaxsim.common.suggestions import did_you_mean
from qjaxsim.curvature.one_state import MOST_STEPS, can_sweep
from qjaxsim.planning.inspection import n_steps
from qjaxsim.planning.layers import layered_plan
from qjaxsim.planning.options import PlanOptions
from qjaxsim.planning.plan import make_plan
from qjaxsim.planning.steps import Plan
from qjaxsim.running.adjoint import run_from_zero
from qjaxsim.running.matrices import Environment, angle_stack
from qjaxsim.running.prepare import Setting
from qjaxsim.running.tangents import Sweep
from qjaxsim.running.turns import Variable, variables_of

# A sweep writes every step out. Where derivatives hold so few numbers that a loop over layers takes no longer, and is a
# program of so much fewer steps, it compiles several times faster.
MOST_LOOPED, LESS = 2**14, 5


class Derivatives(NamedTuple):
    """A state, or what else depends on parameters, with its derivatives in V' variables, and these in V parameters.

    Attributes:
        value: (2, d) of a state.
        slopes: derivatives, (2, d, V').
        variables: derivatives of the variables in the parameters: for each parameter the place of its own variable, V'
            where it has none (NumPy integers); or a matrix (V', V).
    """

    value: jax.Array
    slopes: jax.Array
    variables: np.ndarray | jax.Array

    def in_parameters(self) -> jax.Array:
        """The derivatives in the parameters, (2, d, V)."""
        return self._columns(self.slopes)

    def matrix(self, of_variables: jax.Array) -> jax.Array:
        """A quadratic form of derivatives, (V', V'), as one of parameters, (V, V): cheaper than to turn them first."""
        return self._columns(self._columns(of_variables).T).T

    def _columns(self, array: jax.Array) -> jax.Array:
        if not isinstance(self.variables, np.ndarray):
            return jnp.matmul(array, self.variables.astype(array.dtype), precision=HIGHEST)
        count = array.shape[-1]
        if np.array_equal(self.variables, np.arange(count)):
            return array
        padding = [(0, 0)] * (array.ndim - 1) + [(0, int(self.variables.max() == count))]
        return jnp.pad(array, padding)[..., self.variables]


Tangents = Callable[[Environment, Any], Derivatives]
"""Maps flat parameters by name and their dtype to the state with its derivatives."""


class Wrt:
    """The parameters that derivatives are taken in, V numbers in all, names sorted and each parameter row by row.

    Args:
        wrt: names, one of them, or None for all.
        shapes: of the circuit's parameters.

    Raises:
        ValueError: for unknown or repeated names, or none at all.
        TypeError: for what is no name.
    """

    def __init__(self, wrt: Any, shapes: Mapping[str, tuple[int, ...]]):
        self.names = _names(wrt, shapes)
        self.sizes = {name: int(np.prod(shapes[name], dtype=int)) for name in self.names}
        self.shapes = {name: shapes[name] for name in self.names}
        self.size = sum(self.sizes.values())
        self.begins = dict(zip(self.names, np.cumsum([0, *self.sizes.values()]).tolist(), strict=False))
        self.held = frozenset(shapes) - set(self.names)

    def join(self, env: Environment) -> jax.Array:
        """The numbers as one vector (V,)."""
        return jnp.concatenate([env[name].reshape(-1) for name in self.names])

    def split(self, flat: jax.Array, env: Environment) -> dict[str, jax.Array]:
        """All parameters, these from one vector."""
        parts = {name: flat[self.begins[name] : self.begins[name] + size] for name, size in self.sizes.items()}
        return {**env, **parts}


def _names(wrt: Any, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    if not shapes:
        raise ValueError("Argument `circuit` must have a parameter that derivatives are taken in, but has none.")
    if wrt is None:
        return sorted(shapes)
    given = [wrt] if isinstance(wrt, str) else list(wrt) if isinstance(wrt, Iterable) else [wrt]
    if isinstance(wrt, Mapping) or not all(isinstance(name, str) for name in given):
        hint = "; values of parameters go to the function that comes back" if isinstance(wrt, Mapping) else ""
        raise TypeError(f"Argument `wrt` must be names of parameters, or None for all, but is {shown(wrt)}{hint}.")
    for name in given:
        if name not in shapes:
            raise ValueError(
                f"Argument `wrt` must name parameters of the circuit, which are {sorted(shapes)}, but holds {name!r}"
                f"{did_you_mean(name, shapes)}."
            )
    if not given or len(set(given)) != len(given):
        raise ValueError(f"Argument `wrt` must name one parameter or more, none twice, but is {shown(wrt)}.")
    return sorted(given)


def tangents_of(circuit: Circuit, wrt: Wrt, options: PlanOptions) -> Tangents:
    """What gives a pure state with its derivatives, from parameters without a batch.

    Args:
        circuit: gates, projections and initial states; nothing that needs a density matrix or wires of its own.
        wrt: what derivatives are taken in.
        options: forced choices of the planner.
    """
    if can_sweep(circuit, options) and (plan := _sweepable(circuit, wrt, options)) is not None:
        return lambda env, dtype: _swept(plan, wrt, env, dtype)
    return lambda env, dtype: differentiated(run_of(circuit, for_derivatives(options)), wrt, env, dtype)


def _sweepable(circuit: Circuit, wrt: Wrt, options: PlanOptions) -> Plan | None:
    plan = layered_plan(circuit, max(wrt.size // 2, 1), options.max_block)
    if len(plan.steps) > MOST_STEPS or not variables_of(plan, wrt.held):
        return None
    small = wrt.size * 2**circuit.n_qubits <= MOST_LOOPED
    looped = small and LESS * n_steps(make_plan(circuit, (), 1, for_derivatives(options))) <= len(plan.steps)
    return None if looped else plan


def for_derivatives(options: PlanOptions) -> PlanOptions:
    """Small blocks and loops, unless the user says otherwise: derivatives are those of the matrices of blocks."""
    return replace(
        options,
        max_block=2 if options.max_block is None else options.max_block,
        collapse=bool(options.collapse),
        scan=options.scan is None or options.scan,
    )


def _swept(plan: Plan, wrt: Wrt, env: Environment, dtype: Any) -> Derivatives:
    sweep = Sweep(plan, env, dtype, wrt.held)
    state = sweep.states[-1][:, :, 0]
    return Derivatives(state, sweep.tangents(), _in_parameters(list(sweep.variables), wrt, env, dtype))


def _in_parameters(variables: list[Variable], wrt: Wrt, env: Environment, dtype: Any) -> np.ndarray | jax.Array:
    """Derivatives of a sweep's variables in the parameters, as `Derivatives` holds them."""
    elements = [variable for variable in variables if isinstance(variable, Element)]
    if len(elements) == len(variables):
        places = np.full(wrt.size, len(variables))
        for place, element in enumerate(elements):
            places[wrt.begins[element.name] + element.flat_index] = place
        return places
    return jax.jacfwd(lambda flat: angle_stack(variables, wrt.split(flat, env), dtype))(wrt.join(env))


def run_of(circuit: Circuit, options: PlanOptions) -> Callable[[Environment, Any], jax.Array]:
    """What runs a circuit, from flat parameters and their dtype to (2, d)."""
    plan = make_plan(circuit, (), 1, options)

    def run(env: Environment, dtype: Any) -> jax.Array:
        return run_from_zero(plan, env, Setting(dtype, frozenset(), 1, options.unroll, False))[:, :, 0]

    return run


def differentiated(run: Callable[[Environment, Any], jax.Array], wrt: Wrt, env: Environment, dtype: Any) -> Derivatives:
    """A run's result of any shape with its derivatives (..., V), by JAX."""
    flat = wrt.join(env)

    def function(flat: jax.Array) -> tuple[jax.Array, jax.Array]:
        value = run(wrt.split(flat, env), dtype)
        return value, value

    width = int(np.prod(jax.eval_shape(function, flat)[0].shape))
    jacobian = jax.jacfwd if wrt.size <= width else jax.jacrev
    tangents, value = jacobian(function, has_aux=True)(flat)
    return Derivatives(value, tangents, np.arange(wrt.size))
