"""Pauli sums to and from Qiskit's operators."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from qjaxsim.circuits.observables import PauliSum, Term, pauli_sums

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
    from qiskit.quantum_info import Pauli, SparseObservable, SparsePauliOp

    if isinstance(operator, Pauli):
        operator = SparsePauliOp(operator)
    if not isinstance(operator, SparsePauliOp | SparseObservable):
        raise TypeError(
            f"Argument `operator` must be a SparsePauliOp, Pauli or SparseObservable, but is {type(operator).__name__}."
        )
    total: dict[Term, complex] = {}
    for letters, qubits, coefficient in operator.to_sparse_list():
        if unknown := set(letters) - set("IXYZ"):
            raise ValueError(
                f"Argument `operator` must be made of Pauli letters, but has the projectors {sorted(unknown)}; write "
                "them as sums of I and Paulis."
            )
        try:
            value = complex(coefficient)
        except TypeError as error:
            raise ValueError(
                f"Argument `operator` must have numbers as coefficients, but one is {coefficient}; bind its parameters."
            ) from error
        # The same product may occur twice; sums add, dictionaries would not.
        term = tuple(sorted((int(q), letter) for letter, q in zip(letters, qubits, strict=True) if letter != "I"))
        total[term] = total.get(term, 0) + value
    return PauliSum(total)


def own_sums(observables: Any, n_qubits: int) -> tuple[PauliSum, ...]:
    """Argument `observables` as our Pauli sums.

    Args:
        observables: Pauli sums or Qiskit's operators, one or several.
        n_qubits: width of the circuit, and of the operators.

    Raises:
        TypeError: for anything else.
        ValueError: for operators of another width, else as `from_sparse_pauli_op` and our functions of observables.
    """
    from qiskit.quantum_info import Pauli, SparseObservable, SparsePauliOp

    theirs = (Pauli, SparseObservable, SparsePauliOp)
    if isinstance(observables, PauliSum | SparsePauliOp | Pauli | SparseObservable):
        observables = [observables]
    given = list(observables) if isinstance(observables, Iterable) else pauli_sums(observables, n_qubits)
    for position, each in enumerate(given):
        if isinstance(each, theirs) and each.num_qubits != n_qubits:
            raise ValueError(
                f"Observable {position} must have the circuit's {n_qubits} qubits, but has {each.num_qubits}; give it "
                "on the qubits that the circuit was written for, before any layout."
            )
    return pauli_sums([from_sparse_pauli_op(each) if isinstance(each, theirs) else each for each in given], n_qubits)
