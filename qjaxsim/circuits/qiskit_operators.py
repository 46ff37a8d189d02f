"""Qiskit's operators as terms of Pauli sums, without importing Qiskit: they are known by their names and methods."""

from typing import Any

_NAMES = ("SparsePauliOp", "Pauli", "SparseObservable")
_DENSE = ("Operator", "ScalarOp", "Clifford", "DensityMatrix")


def is_qiskit_operator(value: Any) -> bool:
    """Whether a value is one of Qiskit's operators that are made of Pauli letters."""
    return _name_of(value) in _NAMES


def operators_in(value: Any) -> Any:
    """What one of Qiskit's containers holds: each operator of a list, the one of an array without axes; else itself."""
    name = _name_of(value)
    if name == "PauliList":
        return tuple(value[row] for row in range(len(value)))
    if name == "ObservablesArray" and value.ndim < 2:
        operators = value.sparse_observables_array()
        return tuple(operators) if value.ndim else operators.item()
    return value


def way_out(value: Any) -> str:
    """What makes Pauli sums of one of Qiskit's other values, as the end of a sentence; empty for all others."""
    name = _name_of(value)
    if name == "ObservablesArray":
        return "; `ravel()` gives it one axis"
    return "; `SparsePauliOp.from_operator` writes a matrix as a sum of Paulis" if name in _DENSE else ""


def refuse_turned_array(what: str, value: Any, *, amplitudes: bool = False, least: int = 2) -> None:
    """Refuse one of Qiskit's states, operators or gates, or a list of them, where an array is asked for.

    NumPy makes arrays of them, in Qiskit's order of bits.

    Args:
        what: begins the sentence, as "Argument `matrix`".
        value: whatever was given.
        amplitudes: whether the array is a state's.
        least: qubits from which on it is refused; of one qubit there is a single order.

    Raises:
        TypeError: with what makes the array in the order of this package.
    """
    for each in value if isinstance(value, list | tuple) else (value,):
        if not _makes_turned_array(each, least):
            continue
        name = type(each).__name__.removeprefix("_Singleton")
        if amplitudes and name == "DensityMatrix":
            raise TypeError(f"{what} must be an array of amplitudes, but is Qiskit's DensityMatrix, which has none.")
        way = "its `reverse_qargs().data`" if hasattr(each, "reverse_qargs") else "`Operator(it).reverse_qargs().data`"
        whole = ", or take it as an observable itself" if is_qiskit_operator(each) else ""
        raise TypeError(
            f"{what} must be an array whose first qubit is the most significant bit, but is Qiskit's {name}, where it "
            f"is the least; give {way}{whole}."
        )


def _makes_turned_array(value: Any, least: int) -> bool:
    if not hasattr(value, "__array__") or (getattr(value, "num_qubits", None) or 0) < least:
        return False
    kinds = type(value).__mro__  # also of one's own gates
    # Of a channel it is a superoperator, which has the shape of nothing here.
    channel = any(kind.__name__ == "QuantumChannel" for kind in kinds)
    return not channel and any((kind.__module__ or "").partition(".")[0] in ("qiskit", "qiskit_aer") for kind in kinds)


def _name_of(value: Any) -> str:
    """The name of one of Qiskit's classes; empty for all others."""
    kind = type(value)
    # Qiskit's gates without angles are of classes that have no module.
    return kind.__name__ if (kind.__module__ or "").partition(".")[0] == "qiskit" else ""


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
