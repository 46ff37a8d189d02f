"""Pauli sums to and from Qiskit's operators."""

from typing import TYPE_CHECKING, Any

from qjaxsim.circuits.observables import PauliSum
from qjaxsim.circuits.qiskit_operators import is_qiskit_operator, terms_of

if TYPE_CHECKING:
    from qiskit.quantum_info import SparsePauliOp


def to_sparse_pauli_op(observable: PauliSum, n_qubits: int) -> "SparsePauliOp":
    """Qiskit's operator on `n_qubits`; qubit q stays qubit q.

    Args:
        observable: any Pauli sum; 0 becomes zero times the identity.
        n_qubits: width of the operator.

    Raises:
        ValueError: if the sum acts on a qubit beyond that.

    >>> import qjaxsim as qj
    >>> operator = to_sparse_pauli_op(0.5 * qj.X(0) @ qj.Z(2), n_qubits=3)
    >>> operator.paulis.to_labels(), operator.coeffs.real.tolist()  # Qiskit's labels end with qubit 0
    (['ZIX'], [0.5])
    """
    from qiskit.quantum_info import SparsePauliOp

    if observable.n_qubits > n_qubits:
        raise ValueError(
            f"Argument `observable` acts on qubit {observable.n_qubits - 1}, but argument `n_qubits` is {n_qubits}."
        )
    terms = [
        ("".join(letter for _, letter in term), [qubit for qubit, _ in term], coefficient)
        for term, coefficient in observable.terms.items()
    ]
    return SparsePauliOp.from_sparse_list(terms or [("", [], 0.0)], num_qubits=n_qubits)


def from_sparse_pauli_op(operator: Any) -> PauliSum:
    """The Pauli sum of a Qiskit operator: SparsePauliOp, Pauli, or SparseObservable without projectors.

    Raises:
        TypeError: for anything else.
        ValueError: for coefficients with parameters, or projectors (letters + - l r 0 1).

    >>> from qiskit.quantum_info import SparsePauliOp
    >>> print(from_sparse_pauli_op(SparsePauliOp(["ZIX"], [0.5])))  # Qiskit's labels end with qubit 0
    0.5 X0 Z2
    """
    if not is_qiskit_operator(operator):
        raise TypeError(
            f"Argument `operator` must be a SparsePauliOp, Pauli or SparseObservable, but is {type(operator).__name__}."
        )
    return PauliSum(terms_of(operator))
