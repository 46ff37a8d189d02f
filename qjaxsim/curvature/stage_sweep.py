"""First and second derivatives of a circuit's outputs for every sample, stage by stage; `hessian.md` derives it.

A stage of weights is one matrix with one derivative matrix for each weight, made once and applied to all samples;
derivatives of rotations are small matrices on one qubit. Tangents of the state go forwards and one co-state backwards,
and every pair of weights meets once, as an inner product of a later derivative of the co-state with an earlier tangent.

Complex arrays are stacked real, see `stacked.py`.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.circuits.dense import pauli_matrix
from qjaxsim.circuits.expressions import Expression
from qjaxsim.circuits.gates import GATES, complex_dtype
from qjaxsim.common.precision import HIGHEST
from qjaxsim.curvature.hvp import unit_vector
from qjaxsim.curvature.stacked import adjoint_times, by_rows, inner, outer, pushed, times
from qjaxsim.curvature.stages import Stage, StagedCircuit, Wire
from qjaxsim.running.array_types import to_jax
from qjaxsim.running.measurement import apply_observables, expectation_values
from qjaxsim.running.simulate import apply_circuit

# --- stages of weights -----------------------------------------------------------------------------------------------


def _matrix(part: StagedCircuit, stage: Stage, u: jax.Array) -> jax.Array:
    """The matrix of a stage of weights, (d, 2, d); of the first one the column of |0...0> alone, (d, 2, 1)."""
    matrix = stage.matrix(part.params(u, None, stage.circuit.parameters))
    return by_rows(matrix[:, None] if stage.first else matrix).astype(u.dtype)


def matrices(part: StagedCircuit, u: jax.Array) -> list[jax.Array | None]:
    """By stage: its matrix (d, 2, c); None for a stage with data."""
    assert part.stages is not None
    return [None if stage.wires is not None else _matrix(part, stage, u) for stage in part.stages]


@functools.partial(jax.jit, static_argnums=0)
def values(part: StagedCircuit, fixed: Sequence[jax.Array | None], u: jax.Array, x: Any) -> jax.Array:
    """The outputs (B, K) from what `matrices` gives, u (U,) and inputs x of B samples."""
    assert part.stages is not None
    count = len(jax.tree.leaves(x)[0])
    state = _initial(part, count, u.dtype)
    for stage, matrix in zip(part.stages, fixed, strict=True):
        state = _StageRun(part, stage, matrix, u, x).forward(state)
    return expectation_values(part.observables, state).T


@functools.partial(jax.jit, static_argnums=0)
def with_derivatives(part: StagedCircuit, u: jax.Array) -> list[tuple[jax.Array, jax.Array] | None]:
    """By stage: its matrix (d, 2, c) and the derivatives in its weights (n, d, 2, c); None for a stage with data."""
    assert part.stages is not None

    def one(stage: Stage) -> tuple[jax.Array, jax.Array] | None:
        if stage.wires is not None:
            return None
        matrix = functools.partial(_matrix, part, stage)
        push = lambda i: jax.jvp(matrix, (u,), (unit_vector(i, u),))[1]  # noqa: E731
        return matrix(u), pushed(push, to_jax(stage.own), jax.eval_shape(matrix, u).shape, u.dtype)

    return [one(stage) for stage in part.stages]


def start(part: StagedCircuit, u: jax.Array) -> tuple[jax.Array, list[jax.Array | None]]:
    """What is carried from chunk to chunk, for no samples: R among tangents, and a matrix for each stage of weights."""
    found = jax.eval_shape(lambda u: with_derivatives(part, u), u)
    size = len(part.order)
    held = [None if pair is None else jnp.zeros(pair[0].shape, u.dtype) for pair in found]
    return jnp.zeros((size, size), u.dtype), held


@functools.partial(jax.jit, static_argnums=0)
def finish(part: StagedCircuit, u: jax.Array, carried: tuple[jax.Array, list[jax.Array | None]]) -> jax.Array:
    """R (U, U) from what was carried: second derivatives inside a stage of weights, which no sample enters any more."""
    assert part.stages is not None
    total, held = carried
    offset = 0
    for stage, fixed in zip(part.stages, held, strict=True):
        count = len(stage.own)
        if fixed is not None and count:
            linear = lambda u, stage=stage, fixed=fixed: jnp.sum(fixed * _matrix(part, stage, u))  # noqa: E731
            block = _hessian_rows(linear, u, stage.own)
            total = total.at[offset : offset + count, offset : offset + count].add(block)
        offset += count
    folded = jnp.zeros((u.size, u.size), u.dtype)
    return folded.at[np.ix_(part.order, part.order)].add(total)


def _hessian_rows(f: Callable[[jax.Array], jax.Array], u: jax.Array, own: np.ndarray) -> jax.Array:
    """Second derivatives of f in some of its arguments."""
    places = to_jax(own)
    row = lambda i: jax.jvp(jax.grad(f), (u,), (unit_vector(i, u),))[1][places]  # noqa: E731
    return pushed(row, places, (len(own),), u.dtype)


# --- one chunk of samples --------------------------------------------------------------------------------------------


@functools.partial(jax.jit, static_argnums=0, donate_argnums=5)
def add_samples(
    part: StagedCircuit,
    found: Sequence[tuple[jax.Array, jax.Array] | None],
    u: jax.Array,
    x: Any,
    slope: jax.Array,
    carried: tuple[jax.Array, list[jax.Array | None]],
) -> tuple[tuple[jax.Array, list[jax.Array | None]], jax.Array, jax.Array]:
    """What one chunk of samples brings.

    Args:
        part: the structure.
        found: what `with_derivatives` returns.
        u: flat parameters (U,).
        x: inputs of B samples.
        slope: (B, K), held constant.
        carried: what `start` or this function returned.

    Returns:
        What is carried on, the Jacobian of the outputs (U, B, K), and the gradient of sum(slope * z) (U,).
    """
    assert part.stages is not None
    total, held = carried
    runs = [_StageRun(part, stage, pair and pair[0], u, x) for stage, pair in zip(part.stages, found, strict=True)]
    states, costates = _there_and_back(part, runs, slope)
    tangents = jnp.zeros((0, *states[0].shape), u.dtype)
    held = list(held)
    for i, (run, before, after, costate) in enumerate(zip(runs, states[:-1], states[1:], costates, strict=True)):
        old = len(tangents)
        rows = slice(old, old + len(run.stage.own))
        moved = jax.vmap(run.forward)(tangents) if old else jnp.zeros((0, *after.shape), u.dtype)
        if (pair := found[i]) is None:
            new, cross, inside = _of_rotations(run, after, costate, moved)
            total = total.at[rows, rows].add(inside)
        else:
            new, cross = _of_weights(pair[1], before, costate, tangents)
            so_far = held[i]
            assert so_far is not None
            held[i] = so_far + outer(costate, before)
        total = total.at[rows, :old].add(cross).at[:old, rows].add(cross.T)
        tangents = jnp.concatenate([moved, new])
    weighted = jax.vmap(lambda t: apply_observables(part.observables, slope.T, t))(tangents)
    total = total + 2 * inner(tangents, weighted)
    jacobian = _jacobian(part, tangents, states[-1], u, slope.shape)
    gradient = jnp.einsum("pbk,bk->p", jacobian, slope, precision=HIGHEST)
    return (total, held), jacobian, gradient


def _there_and_back(
    part: StagedCircuit, runs: "Sequence[_StageRun]", slope: jax.Array
) -> tuple[list[jax.Array], list[jax.Array]]:
    """The states before the first stage and after each, and the co-states after each."""
    states = [_initial(part, len(slope), slope.dtype)]
    for run in runs:
        states.append(run.forward(states[-1]))
    costates = [2 * apply_observables(part.observables, slope.T, states[-1])]
    for run in reversed(runs[1:]):
        costates.insert(0, run.backward(costates[0]))
    return states, costates


def _of_rotations(
    run: "_StageRun", after: jax.Array, costate: jax.Array, moved: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A stage of rotations: its tangents, their second derivatives with the tangents before, and those inside it."""
    new, turned = run.turned(after), -run.turned(costate)
    cross, inside = inner(turned, moved), jnp.tril(inner(turned, new))
    return new, cross, inside + jnp.tril(inside, -1).T


def _of_weights(
    derivatives: jax.Array, before: jax.Array, costate: jax.Array, tangents: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """A stage of weights: its tangents, and their second derivatives with the tangents before."""
    new, cross = _states(times(derivatives, before)), jnp.zeros((len(derivatives), len(tangents)), before.dtype)
    if cross.size:
        cross = inner(adjoint_times(derivatives, costate), tangents)
    return new, cross


def _jacobian(
    part: StagedCircuit, tangents: jax.Array, final: jax.Array, u: jax.Array, shape: tuple[int, ...]
) -> jax.Array:
    """The Jacobian of the outputs (U, B, K), from the tangents of the final state."""
    one = jnp.ones((1, 1), u.dtype)
    turned = jnp.stack([apply_observables((observable,), one, final) for observable in part.observables])
    columns = 2 * jnp.einsum("mxdb,kxdb->mbk", tangents, turned, precision=HIGHEST)
    return jnp.zeros((u.size, *shape), u.dtype).at[part.order].add(columns)


def _initial(part: StagedCircuit, columns: int, dtype: Any) -> jax.Array:
    """The state before the first stage: the number one before a matrix of one column, |0...0> before data."""
    assert part.stages is not None
    size = 1 if part.stages[0].wires is None else 2**part.circuit.n_qubits
    return jnp.zeros((2, size, columns), dtype).at[0, 0].set(1)


class _StageRun:
    """A stage with its numbers, on one chunk of samples."""

    def __init__(self, part: StagedCircuit, stage: Stage, matrix: jax.Array | None, u: jax.Array, x: Any):
        self.stage, self.matrix = stage, matrix
        self.params = part.params(u, x, stage.circuit.parameters) if matrix is None else {}

    def forward(self, state: jax.Array) -> jax.Array:
        """The state after the stage."""
        if self.matrix is None:
            return apply_circuit(self.stage.circuit, self.params, state)
        return _states(times(self.matrix, state))

    def backward(self, costate: jax.Array) -> jax.Array:
        """The adjoint of the stage."""
        if self.matrix is None:
            return apply_circuit(self.stage.circuit.inverse(), self.params, costate)
        return adjoint_times(self.matrix[None], costate)[0]

    def turned(self, state: jax.Array) -> jax.Array:
        """Each entry's derivative of the rotations, as an operator on a state after them: (n, 2, d, B).

        With rotations m_1 ... m_G on a qubit, the derivative in the angle of m_g is H_g m_G ... m_1 for the
        anti-Hermitian H_g = -i/2 B P B^dagger, B = m_G ... m_(g+1); for g < h the second one is H_h H_g m_G ... m_1.
        """
        assert self.stage.wires is not None
        columns = state.shape[2]
        shapes = self.stage.circuit.parameters
        env = {
            name: value.reshape(columns, -1).T if value.ndim > len(shapes[name]) else value.reshape(-1)
            for name, value in self.params.items()
        }
        out = [
            _on_qubit(_generators(wire, env, columns, state.dtype), wire.qubit, state)
            for wire in self.stage.wires
            if wire.entries
        ]
        return jnp.concatenate(out) if out else jnp.zeros((0, *state.shape), state.dtype)


def _generators(wire: Wire, env: Mapping[str, jax.Array], columns: int, dtype: Any) -> jax.Array:
    """The operator H of every entry of a wire, (n, 2, 2, columns) complex."""
    complex_type = complex_dtype(dtype)
    after: jax.Array | None = None  # the product of the gates after this one; None for the identity
    found = {}
    for number in reversed(range(len(wire.gates))):
        gate = wire.gates[number]
        spec = GATES[gate.name]
        if any(entry[0] == number for entry in wire.entries):
            assert spec.pauli is not None
            generator = (-0.5j * pauli_matrix(spec.pauli)).astype(complex_type)
            if after is None:
                found[number] = jnp.broadcast_to(generator[:, :, None], (2, 2, columns))
            else:
                turned = jnp.einsum("abz,bc->acz", after, generator, precision=HIGHEST)
                found[number] = jnp.einsum("acz,dcz->adz", turned, after.conj(), precision=HIGHEST)
        angles = [_angle(angle, env, dtype) for angle in gate.angles]
        matrix = jnp.asarray(spec.matrix(jnp, *angles), complex_type)
        matrix = jnp.broadcast_to(matrix.reshape(2, 2, -1), (2, 2, columns))
        after = matrix if after is None else jnp.einsum("abz,bcz->acz", after, matrix, precision=HIGHEST)
    return jnp.stack([factor * found[number] for number, _, factor in wire.entries])


def _angle(angle: Any, env: Mapping[str, jax.Array], dtype: Any) -> jax.Array:
    """An angle's value, () or (columns,)."""
    if isinstance(angle, Expression):
        return to_jax(angle.evaluate(lambda name, i: env[name][i], jnp))
    return jnp.asarray(angle, dtype)


def _on_qubit(operators: jax.Array, qubit: int, state: jax.Array) -> jax.Array:
    """Operators (n, 2, 2, B) on one qubit of states (2, d, B), one after the other: (n, 2, d, B)."""
    columns = state.shape[2]
    re, im = (jnp.unstack(part, axis=3) for part in jnp.unstack(state.reshape(2, 1, 2**qubit, 1, 2, -1, columns)))
    h = operators[:, None, :, :, None, :]  # (n, 1, 2, 2, 1, B): row and column of the qubit at axes 2 and 3
    real, imag = jnp.unstack(h.real, axis=3), jnp.unstack(h.imag, axis=3)
    first, second = ((real[c] * re[c] - imag[c] * im[c], real[c] * im[c] + imag[c] * re[c]) for c in (0, 1))
    pair = [one + other for one, other in zip(first, second, strict=True)]
    return jnp.stack(pair, axis=1).reshape(len(operators), *state.shape)


def _states(product: jax.Array) -> jax.Array:
    """(..., d, 2, B) as states (..., 2, d, B)."""
    return jnp.swapaxes(product, -3, -2)
