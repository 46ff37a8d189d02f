"""Evolutions exp(-i t H): by the gate's own synthesis, or exactly."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

EVOLUTIONS = ("synthesis", "exact")
# An exact evolution of this many qubits is a matrix of 16 MiB, and twice 1,024 gates where its time is free.
_EXACT_QUBITS = 10


def check_evolution(evolution: str) -> None:
    """Refuse another word.

    Raises:
        ValueError: naming the two.
    """
    if evolution not in EVOLUTIONS:
        raise ValueError(
            f"Argument `evolution` must be one of {', '.join(map(repr, EVOLUTIONS))}, but is {evolution!r}."
        )


def exact_evolution(gate: Any, where: str) -> "QuantumCircuit":
    """A circuit of exp(-i t H) for a PauliEvolutionGate or a HamiltonianGate, with its phase.

    Products of commuting terms are exact at any width. Others are written as V exp(-i t E) V^+, with the eigenvalues E
    and eigenvectors V of H; the diagonal as rotations, so that the time may be a free parameter.

    Args:
        gate: Qiskit's.
        where: the gate and its place, for messages.

    Raises:
        ValueError: for more qubits than a dense H is made for.
    """
    from qiskit.circuit.library import PauliEvolutionGate

    if not isinstance(gate, PauliEvolutionGate):
        return _by_eigenvectors(np.asarray(gate.params[0]), gate.params[1], gate.num_qubits)
    total = _pauli_sum(gate.operator)
    if _all_commute(total):
        from qiskit.synthesis import LieTrotter

        return LieTrotter().synthesize(PauliEvolutionGate(total, gate.time))
    if gate.num_qubits > _EXACT_QUBITS:
        raise ValueError(
            f"The circuit's {where} evolves {gate.num_qubits} qubits by terms that do not commute, which is exact for "
            f'{_EXACT_QUBITS} at most; take evolution="synthesis", the product formula of the gate.'
        )
    return _by_eigenvectors(total.to_matrix(), gate.time, gate.num_qubits)


def _pauli_sum(operators: Any) -> Any:
    """One SparsePauliOp of an operator or of a list of them."""
    from qiskit.quantum_info import SparseObservable, SparsePauliOp

    parts = operators if isinstance(operators, list) else [operators]
    plain = [SparsePauliOp.from_sparse_observable(o) if isinstance(o, SparseObservable) else o for o in parts]
    return SparsePauliOp.sum(plain).simplify()


def _all_commute(total: Any) -> bool:
    return all(bool(total.paulis.commutes(pauli).all()) for pauli in total.paulis)


def _by_eigenvectors(hamiltonian: np.ndarray, time: Any, n_qubits: int) -> "QuantumCircuit":
    from qiskit import QuantumCircuit
    from qiskit.circuit.library import UnitaryGate

    values, vectors = np.linalg.eigh(hamiltonian)
    out = QuantumCircuit(n_qubits)
    if not getattr(time, "parameters", ()):
        out.append(UnitaryGate((vectors * np.exp(-1j * float(time) * values)) @ vectors.conj().T), range(n_qubits))
        return out
    out.append(UnitaryGate(vectors.conj().T), range(n_qubits))
    _append_diagonal(out, values, time)
    out.append(UnitaryGate(vectors), range(n_qubits))
    return out


def _append_diagonal(out: "QuantumCircuit", values: np.ndarray, time: Any) -> None:
    """Append exp(-i time diag(values)): a rotation for every parity of qubits, gathered by CX gates in Gray's order."""
    # values[x] = sum over sets s of weights[s] (-1)^(bits that x and s share)
    weights, n_qubits = np.asarray(values, float), out.num_qubits
    for bit in range(n_qubits):
        split = weights.reshape(-1, 2, 2**bit)
        weights = np.stack([split[:, 0] + split[:, 1], split[:, 0] - split[:, 1]], axis=1).reshape(-1) / 2
    out.global_phase += -weights[0] * time
    # What rounding alone makes is no rotation; Qiskit folds multiples of nearly nothing to numbers that it cannot bind.
    weights[np.abs(weights) < 1e-14 * np.abs(weights).max()] = 0
    for target in range(n_qubits):
        for step in range(2**target):
            gray = step ^ step >> 1
            if weight := weights[gray | 1 << target]:
                out.rz(2 * weight * time, target)
            if target:
                following = (step + 1) % 2**target
                changed = gray ^ following ^ following >> 1
                out.cx(changed.bit_length() - 1, target)
