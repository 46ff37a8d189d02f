"""Qiskit's operators as terms of Pauli sums, without importing Qiskit: they are known by their names and methods."""

from typing import Any

_NAMES = ("SparsePauliOp", "Pauli", "SparseObservable")


def is_qiskit_operator(value: Any) -> bool:
    """Whether a value is one of Qiskit's operators that are made of Pauli letters."""
    kind = type(value)
    return kind.__module__.partition(".")[0] == "qiskit" and kind.__name__ in _NAMES


def terms_of(operator: Any) -> dict[tuple[tuple[int, str], ...], complex]:
    """Coefficient by term of one of Qiskit's operators; its qubit q is our qubit q.

    Raises:
        ValueError: for coefficients with parameters, or projectors (letters + - l r 0 1).
    """
    total: dict[tuple[tuple[int, str], ...], complex] = {}
    for letters, qubits, coefficient in _sparse_list(operator):
        if unknown := set(letters) - set("IXYZ"):
            raise ValueError(
                f"Operators of Qiskit's must be made of Pauli letters, but one has the projectors {sorted(unknown)}; "
                "`SparsePauliOp.from_sparse_observable` writes them as sums of I and Paulis."
            )
        try:
            value = complex(coefficient)
        except TypeError as error:
            raise ValueError(
                f"Operators of Qiskit's must have numbers as coefficients, but one is {coefficient}; bind its "
                "parameters."
            ) from error
        # The same product may occur twice; sums add, dictionaries would not.
        term = tuple(sorted((int(q), letter) for letter, q in zip(letters, qubits, strict=True) if letter != "I"))
        total[term] = total.get(term, 0) + value
    return total


def _sparse_list(operator: Any) -> Any:
    """Letters, qubits and coefficient of each term."""
    if hasattr(operator, "to_sparse_list"):
        return operator.to_sparse_list()
    label = operator.to_label()  # a Pauli's, with its phase in front and qubit 0 at the end
    letters = label.lstrip("-i")
    phase = {"": 1, "-": -1, "i": 1j, "-i": -1j}[label[: len(label) - len(letters)]]
    return [(letters[::-1], range(len(letters)), phase)]
