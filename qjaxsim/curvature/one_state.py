"""Hessians of functions of expectation values of one state, by its tangents in place of passes through the circuit.

A function is traced, and expectation values of the engine are found in its program. Around the present point each is
replaced by a polynomial of second order with the same derivatives, so that no circuit is left to be differentiated:
with values E(v) of variables v(w), slopes s = df/dE, gradients J and the Hessian R of sum_k s_k E_k,

    f(w, E(v0) + J dv) + dv^T R dv / 2,        dv = v(w) - v(w0),

has the Hessian of f at w0. `running/tangents.py` finds J and R in one sweep.
"""

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.inspection import has_free_matrix, is_unitary
from qjaxsim.common.memory import available_bytes
from qjaxsim.common.precision import HIGHEST
from qjaxsim.planning.layers import layered_plan
from qjaxsim.planning.options import PlanOptions
from qjaxsim.running.compiled import Compiled, compiled_as
from qjaxsim.running.matrices import Environment, angle_stack
from qjaxsim.running.state_functions import Observed, observed
from qjaxsim.running.tangents import Sweep
from qjaxsim.running.turns import variables_of
from qjaxsim.running.varying import vary_alike

# Circuits of more gates, repeats written out, or of more steps are left to products: every step is part of the program.
MOST_GATES, MOST_STEPS = 2000, 300
# Arrays of the size of all tangents that are held at once.
COPIES = 6
# What a value in a traced function depends on: nothing, the vector, expectation values that are replaced.
FIXED, MOVING, REPLACED = range(3)

Scalar = Callable[[jax.Array], jax.Array]


def without_circuits(f: Scalar, flat: jax.Array) -> Scalar | None:
    """A function with the Hessian of f at `flat` that runs no circuit, where f takes expectation values of one state.

    Args:
        f: from a flat vector to a scalar.
        flat: where.

    Returns:
        None if there is nothing of the kind in f, or expectation values enter the parameters of others.
    """
    program = jax.make_jaxpr(f)(flat)
    met: list[tuple[_Energy, Environment]] = []

    def meet(energy: _Energy, env: Environment) -> jax.Array:
        met.append((energy, env))
        return energy.values(env)

    try:
        _walk(program, flat, meet)
    except _ChainedError:
        return None
    if not met:
        return None
    values = [energy.values(env) for energy, env in met]
    slopes = jax.grad(lambda values: _walk(program, flat, _one_by_one(values)))(values)
    models = [_Model.around(*each, *numbers) for each, *numbers in zip(met, values, slopes, strict=True)]

    def replaced(at: jax.Array) -> jax.Array:
        terms: list[jax.Array] = []
        left = iter(models)

        def follow(_: _Energy, env: Environment) -> jax.Array:
            value, second = next(left)(env)
            terms.append(second)
            return value

        return sum(terms, _walk(program, at, follow))

    return replaced


def _one_by_one(values: Sequence[jax.Array]) -> "Meet":
    left = iter(values)
    return lambda energy, env: next(left)


class _Energy:
    """Expectation values of one state as a function of some of its parameters.

    Attributes:
        names: of all parameters, in the order of the program's inputs.
        steps: how many the circuit is run in.
        variables: what derivatives are taken in.
        values: from flat parameters by name to the values (K,).
        derivatives: from them and weights (K,) to gradients (K, V) and the Hessian (V, V) of the weighted sum.
    """

    def __init__(self, what: Observed, names: Sequence[str], held: frozenset[str], dtype: Any):
        self.names, self.dtype = names, dtype
        moving = sum(int(np.prod(shape)) for name, shape in what.circuit.parameters.items() if name not in held)
        plan = layered_plan(what.circuit, max(moving // 2, 1), what.options.max_block)
        self.steps, self.variables = len(plan.steps), tuple(variables_of(plan, held))
        self.values = jax.jit(lambda env: Sweep(plan, env, dtype, held).values(what.observables))
        self.derivatives = jax.jit(
            lambda env, weights: Sweep(plan, env, dtype, held).derivatives(what.observables, weights)
        )

    def point(self, env: Environment) -> jax.Array:
        """The values of the variables (V,)."""
        return angle_stack(self.variables, env, self.dtype)


class _Model(NamedTuple):
    """Expectation values around a point, to first order, and beside them the second order of their weighted sum."""

    energy: _Energy
    point: jax.Array
    values: jax.Array
    gradients: jax.Array
    hessian: jax.Array

    @classmethod
    def around(cls, energy: _Energy, env: Environment, values: jax.Array, slopes: jax.Array) -> "_Model":
        """The model at the present parameters, for a function with such slopes in the values."""
        return cls(energy, energy.point(env), values, *energy.derivatives(env, slopes))

    def __call__(self, env: Environment) -> tuple[jax.Array, jax.Array]:
        """The values (K,) to first order and the term of second order, a number."""
        away = self.energy.point(env) - self.point
        first = jnp.matmul(self.gradients, away, precision=HIGHEST)
        return self.values + first, jnp.dot(away, jnp.matmul(self.hessian, away, precision=HIGHEST)) / 2


# --- finding them ----------------------------------------------------------------------------------------------------

Meet = Callable[[_Energy, Environment], jax.Array]
"""What to put in place of expectation values (K,) of such parameters."""


class _ChainedError(Exception):
    """An expectation value depends on another one."""


def _walk(program: core.ClosedJaxpr, at: jax.Array, meet: Meet) -> jax.Array:
    """The value of a traced function of one vector, with `meet` in place of expectation values of one state."""
    (value,), _ = _run(program, [at], [MOVING], meet)
    return value


def _run(
    program: core.ClosedJaxpr, inputs: Sequence[Any], marks: Sequence[int], meet: Meet
) -> tuple[list[Any], list[int]]:
    """The outputs of a program, and what they depend on."""
    jaxpr = program.jaxpr
    known: dict[Any, tuple[Any, int]] = {
        var: (c, FIXED) for var, c in zip(jaxpr.constvars, program.consts, strict=True)
    }
    known.update(zip(jaxpr.invars, zip(inputs, marks, strict=True), strict=True))
    read = lambda atom: (atom.val, FIXED) if isinstance(atom, core.Literal) else known[atom]  # noqa: E731
    used = {atom for atoms in (jaxpr.outvars, *(e.invars for e in jaxpr.eqns)) for atom in atoms if _is_variable(atom)}
    for equation in jaxpr.eqns:
        given = [read(atom) for atom in equation.invars]
        values, depends = [value for value, _ in given], [mark for _, mark in given]
        out = _replaced(equation, values, depends, meet)
        wanted = [var for var in equation.outvars if var in used]
        if out is None:
            results = _evaluated(jaxpr, equation, values, wanted)
            known.update(
                (var, (value, max(depends, default=FIXED))) for var, value in zip(wanted, results, strict=True)
            )
        else:
            known.update(zip(equation.outvars, zip(*out, strict=True), strict=True))
    pairs = [read(atom) for atom in jaxpr.outvars]
    return [value for value, _ in pairs], [mark for _, mark in pairs]


def _is_variable(atom: Any) -> bool:
    return not isinstance(atom, core.Literal)


def _evaluated(whole: core.Jaxpr, equation: core.JaxprEqn, values: Sequence[Any], wanted: Sequence[Any]) -> list[Any]:
    """The wanted outputs of one operation of a program."""
    inputs: dict[Any, Any] = {a: value for a, value in zip(equation.invars, values, strict=True) if _is_variable(a)}
    program = core.Jaxpr((), list(inputs), wanted, [equation], equation.effects, whole.debug_info)
    return core.jaxpr_as_fun(core.ClosedJaxpr(program, ()))(*inputs.values())


def _replaced(
    equation: core.JaxprEqn, values: Sequence[Any], marks: Sequence[int], meet: Meet
) -> tuple[list[Any], list[int]] | None:
    """What to put in place of one operation, and what that depends on; None where it stays as it is."""
    worst = max(marks, default=FIXED)
    if equation.primitive.name != "jit" or worst == FIXED:
        return None
    energy = _energy(equation, marks)
    if energy is None:
        inner = equation.params["jaxpr"]
        return _run(inner, values, marks, meet) if _has_calls(inner.jaxpr) else None
    if worst == REPLACED:
        raise _ChainedError
    given = zip(energy.names, values, strict=True)
    env = vary_alike({name: jnp.asarray(value, energy.dtype).reshape(-1) for name, value in given})
    result: Any = equation.outvars[0].aval
    return [meet(energy, env).reshape(result.shape)], [REPLACED]


def _has_calls(jaxpr: core.Jaxpr) -> bool:
    """Whether expectation values may be inside, that of a function compiled by the user for example."""
    return any(
        equation.primitive.name == "jit"
        and (equation.params["name"] == NAME or _has_calls(equation.params["jaxpr"].jaxpr))
        for equation in jaxpr.eqns
    )


NAME = "expectation"
_energies: weakref.WeakKeyDictionary[Compiled, dict[Any, _Energy | None]] = weakref.WeakKeyDictionary()


def _energy(equation: core.JaxprEqn, marks: Sequence[int]) -> _Energy | None:
    """The expectation values of one state that a call of a compiled function is; None if it is none."""
    if equation.params["name"] != NAME:
        return None
    types = tuple(var.aval for var in equation.invars)
    function = compiled_as(equation.params["jaxpr"], NAME, types)
    if function is None or (what := observed(function)) is None:
        return None
    names = _names(function, types)
    if names is None:
        return None
    held = frozenset(name for name, mark in zip(names, marks, strict=True) if mark == FIXED)
    result: Any = equation.outvars[0].aval
    known = _energies.setdefault(function, {})
    key = types, names, held
    if key not in known:
        given = dict(zip(names, types, strict=True))
        energy = _Energy(what, names, held, result.dtype) if _is_possible(what, given, held, result.dtype) else None
        known[key] = energy if energy and energy.variables and energy.steps <= MOST_STEPS else None
    return known[key]


def _names(function: Compiled, types: tuple[Any, ...]) -> tuple[str, ...] | None:
    """The parameter that each input is, in the order of the caller's dictionary; None if some are made of several."""
    paths = [path[1:] for path, _ in jax.tree.leaves_with_path(function.traced(types))]
    if all(len(path) == 1 and isinstance(path[0], jax.tree_util.DictKey) for path in paths):
        return tuple(key.key for (key,) in paths)
    return None


def can_sweep(circuit: Circuit, options: PlanOptions) -> bool:
    """Whether a circuit is one of gates, few enough to be written out, and the user forces nothing else."""
    return (
        is_unitary(circuit.operations)
        and not has_free_matrix(circuit.operations)
        and options.gradient != "adjoint"
        and not options.scan
        and sum(circuit.count_ops().values()) <= MOST_GATES
    )


def _is_possible(what: Observed, types: Mapping[str, Any], held: frozenset[str], dtype: Any) -> bool:
    """Whether a call is of one state that can be carried along with all its tangents."""
    shapes = what.circuit.parameters
    if shapes != {name: kind.shape for name, kind in types.items()}:
        return False  # a batch
    if not can_sweep(what.circuit, what.options):
        return False
    moving = sum(int(np.prod(shape)) for name, shape in shapes.items() if name not in held)
    size = 2 * 2**what.circuit.n_qubits * np.dtype(dtype).itemsize
    return COPIES * moving * size <= available_bytes()
