"""Expectation values as weighted sums of values of operators, with numbers and parameters as weights."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.expressions import Expression
from qjaxsim.circuits.weighted import Weighted
from qjaxsim.common.precision import HIGHEST
from qjaxsim.running.batching import INITIAL, Batch, parse_params, with_initial
from qjaxsim.running.compiled import Compiled
from qjaxsim.running.matrices import angle_stack
from qjaxsim.running.state_functions import Run, check_params
from qjaxsim.running.strengths import check_strengths

Shapes = Mapping[str, tuple[int, ...]]


def weighted_function(values: Run, circuit: Circuit, asked: Weighted, single: bool) -> Compiled:
    """A jitted function of the parameters of a circuit and of coefficients.

    Args:
        values: from the circuit's parameters, and an initial state, to the operators' values (..., B).
        circuit: what is run.
        asked: how observables are made of operators.
        single: whether the one entry of the last axis is given without it.

    Raises:
        ValueError: if a coefficient uses a parameter of the circuit with another shape.
    """
    shapes = joined_shapes(circuit.parameters, asked)
    parts = values, tuple(circuit.parameters), circuit.n_qubits, shapes, asked, single
    check = functools.partial(check_params, shapes, circuit.n_qubits)
    return Compiled(_weigh, *parts, check=check, before=check_strengths(circuit))


def joined_shapes(shapes: Shapes, asked: Weighted) -> dict[str, tuple[int, ...]]:
    """Name and shape of every parameter of a circuit and of coefficients.

    Raises:
        ValueError: if they use one with two shapes.
    """
    for name, shape in asked.parameters.items():
        if shapes.get(name, shape) != shape:
            raise ValueError(
                f"Parameter {name!r} is used with shape {shape} in a coefficient, but the circuit has it with shape "
                f"{shapes[name]}; give one of them another name."
            )
    return {**shapes, **asked.parameters}


def _weigh(values: Run, names: tuple[str, ...], n_qubits: int, shapes: Shapes, asked: Weighted, single: bool) -> Run:
    def expectation(params: Mapping[str, Any] | None = None, *, initial: Any = None) -> jax.Array:
        given = with_initial(params, initial, n_qubits)
        begun = {} if initial is None else {INITIAL: (2, 2**n_qubits)}
        batch = parse_params(given, {**shapes, **begun}, native=False)
        found = values({name: batch.values[name] for name in names}, initial=initial)
        return weigh(found, batch, asked, single)

    return expectation


def weigh(values: jax.Array, batch: Batch, asked: Weighted, single: bool) -> jax.Array:
    """Values of operators (..., B) as those of observables: (*batch, K), or (*batch) for a single one."""
    moving = [(k, b, c) for k, b, c in asked.entries if isinstance(c, Expression)]
    fixed = np.zeros((len(asked.operators), asked.n_observables))
    for observable, operator, coefficient in asked.entries:
        if not isinstance(coefficient, Expression):
            fixed[operator, observable] += coefficient
    dtype = values.dtype
    total = jnp.matmul(values, jnp.asarray(fixed, dtype), precision=HIGHEST)
    if moving:
        one_hot = np.eye(asked.n_observables)[[observable for observable, _, _ in moving]]
        weights = expression_values([coefficient for _, _, coefficient in moving], batch).astype(dtype)
        chosen = values[..., np.array([operator for _, operator, _ in moving])]
        padded = chosen.reshape((1,) * (weights.ndim - chosen.ndim) + chosen.shape)
        more = jnp.matmul(padded * weights, jnp.asarray(one_hot, dtype), precision=HIGHEST)
        total = total.reshape((1,) * (more.ndim - total.ndim) + total.shape) + more
    total = jnp.broadcast_to(total, (*batch.shape, asked.n_observables))
    return total[..., 0] if single else total


def expression_values(expressions: Sequence[Expression], batch: Batch) -> jax.Array:
    """The values of expressions, (*batch axes, length 1 where they lack one, expressions)."""
    names = {element.name for expression in expressions for element in expression.elements()}
    sizes = [batch.values[name].shape[: len(batch.shape)] for name in names]
    leading = np.broadcast_shapes(*sizes)
    env = {}
    for name in names:
        wide = jnp.broadcast_to(batch.values[name], (*leading, *batch.values[name].shape[len(leading) :]))
        env[name] = wide.reshape(-1, batch.core[name]).T
    return angle_stack(expressions, env, batch.dtype).T.reshape(*leading, len(expressions))
