"""The oracle: every gate as a dense Kronecker product, in NumPy, one at a time. Slow, obvious, no JAX.

Independent of the plan and of the array kernels; it shares only the table of gates with the engine. For tests and for
users who want to see what a circuit means. Cost: O(gates * 8**n) time and O(4**n) memory; made for n <= 8.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.dense import PAULI, kron
from qjaxsim.circuits.expressions import Expression
from qjaxsim.circuits.measurements import Measure, Projection, ReadoutError, Reset
from qjaxsim.circuits.observables import PauliSum
from qjaxsim.circuits.operations import Channel, Conditional, Gate, Kraus, Preparation, Repeat, Unitary

Params = Mapping[str, np.ndarray]


def embed(matrix: np.ndarray, qubits: tuple[int, ...], n_qubits: int) -> np.ndarray:
    """The (2**n, 2**n) matrix that acts as `matrix` on `qubits` (first most significant) and as identity elsewhere."""
    rest = [q for q in range(n_qubits) if q not in qubits]
    full = np.kron(matrix, np.eye(2 ** len(rest)))
    # The axes of `full` stand for qubits + rest; put them in the order 0, 1, 2, ...
    order = np.argsort([*qubits, *rest])
    axes = [*order, *(n_qubits + order)]
    return full.reshape((2,) * (2 * n_qubits)).transpose(axes).reshape(2**n_qubits, 2**n_qubits)


def statevector(circuit: Circuit, params: Params | None = None) -> np.ndarray:
    """The final state, shape (2**n,) complex128, for one set of parameters without batch axes."""
    state = np.zeros(2**circuit.n_qubits, dtype=complex)
    state[0] = 1
    return _run(circuit, {name: np.asarray(value, dtype=float) for name, value in (params or {}).items()}, state)


def unitary(circuit: Circuit, params: Params | None = None) -> np.ndarray:
    """The circuit's matrix, shape (2**n, 2**n) complex128; with projections each column is a final state, of norm 1.

    >>> print(unitary(Circuit(1).h(0).project(0, 0)).real)
    [[1. 1.]
     [0. 0.]]
    """
    values = {name: np.asarray(value, dtype=float) for name, value in (params or {}).items()}
    return _run(circuit, values, np.eye(2**circuit.n_qubits, dtype=complex))


def pauli_sum_matrix(observable: PauliSum, n_qubits: int) -> np.ndarray:
    """The dense (2**n, 2**n) matrix of a Pauli sum."""
    total = np.zeros((2**n_qubits, 2**n_qubits), dtype=complex)
    for term, coefficient in observable.terms.items():
        letters = dict(term)
        total += coefficient * kron(*(PAULI[letters.get(q, "I")] for q in range(n_qubits)))
    return total


def expectation(circuit: Circuit, observable: PauliSum, params: Params | None = None) -> float:
    """<psi| observable |psi> of the final state."""
    psi = statevector(circuit, params)
    return float((psi.conj() @ pauli_sum_matrix(observable, circuit.n_qubits) @ psi).real)


def density_matrix(circuit: Circuit, params: Params | None = None) -> np.ndarray:
    """The final density matrix, (2**n, 2**n) complex128 of trace 1, channels as sums over their Kraus matrices.

    >>> print(density_matrix(Circuit(1).h(0).phase_flip(0.5, 0)).real.round(6))
    [[0.5 0. ]
     [0.  0.5]]
    """
    total = sum(outcomes(circuit, params).values(), np.zeros((2**circuit.n_qubits,) * 2, complex))
    return np.asarray(total / np.trace(total))


def outcomes(circuit: Circuit, params: Params | None = None) -> dict[tuple[int, ...], np.ndarray]:
    """By values of the classical bits the density matrix, its trace their probability (projections not made up for).

    >>> found = outcomes(Circuit(1).h(0).measure(0, 0))
    >>> [(bits, rho.real.diagonal().round(6).tolist()) for bits, rho in found.items()]
    [((0,), [0.5, 0.0]), ((1,), [0.0, 0.5])]
    """
    rho = np.zeros((2**circuit.n_qubits,) * 2, dtype=complex)
    rho[0, 0] = 1
    values = {name: np.asarray(value, dtype=float) for name, value in (params or {}).items()}
    return _run_branches(circuit, values, {(0,) * circuit.n_bits: rho})


_Branches = dict[tuple[int, ...], np.ndarray]


def _run_branches(circuit: Circuit, params: Params, branches: _Branches) -> _Branches:
    for operation in circuit.operations:
        if isinstance(operation, Repeat):
            for own in _iterations(operation, params):
                branches = _run_branches(operation.circuit, own, branches)
        elif isinstance(operation, Measure):
            branches = _measured(operation, circuit.n_qubits, branches)
        elif isinstance(operation, Conditional):
            asked = operation.values
            inside = {b: rho for b, rho in branches.items() if tuple(b[k] for k in operation.bits) == asked}
            outside = {b: rho for b, rho in branches.items() if b not in inside}
            branches = _merged(outside.items(), _run_branches(operation.circuit, params, inside).items())
        elif not isinstance(operation, ReadoutError):
            full = [embed(matrix, operation.qubits, circuit.n_qubits) for matrix in _kraus(operation, params)]
            branches = {b: sum(m @ rho @ m.conj().T for m in full) for b, rho in branches.items()}
    return branches


def _measured(operation: Measure, n_qubits: int, branches: _Branches) -> _Branches:
    found = []
    for bits, rho in branches.items():
        for outcome in (0, 1):
            kept = embed(np.diag([1.0 - outcome, outcome]), operation.qubits, n_qubits)
            for read, chance in enumerate(operation.matrix()[:, outcome]):
                changed = (*bits[: operation.bit], read, *bits[operation.bit + 1 :])
                found.append((changed, chance * kept @ rho @ kept))
    return _merged(found)


def _merged(*parts: Iterable[tuple[tuple[int, ...], np.ndarray]]) -> _Branches:
    out: _Branches = {}
    for bits, rho in itertools.chain(*parts):
        out[bits] = out[bits] + rho if bits in out else rho
    return out


def _kraus(operation: Any, params: Params) -> np.ndarray:
    if isinstance(operation, Reset):
        return np.array([[[1.0, 0], [0, 0]], [[0, 1], [0, 0]]])
    if isinstance(operation, Channel):
        return np.asarray(operation.spec.kraus(np, *_angles(operation, params)))
    return operation.matrices if isinstance(operation, Kraus) else _matrix(operation, params)[None]


def _iterations(repeat: Repeat, params: Params) -> Iterator[dict[str, np.ndarray]]:
    """The parameters of each iteration, in the order in which they run."""
    order = range(repeat.times)
    for i in reversed(order) if repeat.reverse else order:
        yield {k: params[k] if k in repeat.shared else params[k][i] for k in repeat.circuit.parameters}


def _run(circuit: Circuit, params: Params, state: np.ndarray) -> np.ndarray:
    """The circuit on a state, (2**n,), or on each column of states, (2**n, m)."""
    for operation in circuit.operations:
        if isinstance(operation, Repeat):
            for own in _iterations(operation, params):
                state = _run(operation.circuit, own, state)
        elif isinstance(operation, Channel | Kraus | Measure | Reset | Conditional):
            raise ValueError("A circuit with channels or measurements has no state vector; use `density_matrix`.")
        elif not isinstance(operation, ReadoutError):
            matrix = _matrix(operation, params)
            state = embed(matrix, operation.qubits, circuit.n_qubits) @ state
            if isinstance(operation, Projection):
                state = state / np.linalg.norm(state, axis=0)
    return state


def _matrix(operation: Gate | Unitary | Preparation | Projection, params: Params) -> np.ndarray:
    if isinstance(operation, Unitary):
        return operation.matrix
    if isinstance(operation, Preparation):
        psi = (
            operation.state if not isinstance(operation.state, str) else _amplitudes(params[operation.state], operation)
        )
        return np.outer(psi.conj() if operation.conjugated else psi, np.eye(len(psi))[0])
    if isinstance(operation, Projection):
        return np.diag([1.0 - operation.outcome, operation.outcome])
    return operation.spec.matrix(np, *_angles(operation, params))


def _amplitudes(values: np.ndarray, operation: Preparation) -> np.ndarray:
    psi = values if len(operation.shape) == 1 else values[0] + 1j * values[1]
    return psi / np.linalg.norm(psi)


def _angles(operation: Gate | Channel, params: Params) -> list[np.float64]:
    return [
        np.float64(
            angle.evaluate(lambda name, i: params[name].reshape(-1)[i], np) if isinstance(angle, Expression) else angle
        )
        for angle in operation.angles
    ]
