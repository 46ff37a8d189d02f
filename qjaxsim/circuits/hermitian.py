"""Observables from matrices, values of basis states, states and sparse entries."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from qjaxsim.circuits.expressions import Parameter
from qjaxsim.circuits.observables import Observable, checked_observable
from qjaxsim.circuits.operators import (
    DenseOperator,
    DiagonalOperator,
    ProjectorOperator,
    SparseOperator,
    WideOperator,
)
from qjaxsim.circuits.pauli_terms import Term
from qjaxsim.circuits.qiskit_operators import refuse_turned_array
from qjaxsim.circuits.sums import OperatorSum, PauliSum
from qjaxsim.common.checks import as_integer, is_traced, positive_integer, require_unmasked, shown

# Matrices of up to so many qubits become Pauli sums, whose 4**k terms cost about as much as a product with the matrix.
NARROW = 4
# What may lack to a Hermitian matrix or to a norm of 1, as of the unitary matrices of circuits.
TOLERANCE = 1e-6
_LETTERS = "IXYZ"

Qubits = int | Sequence[int]


def Hermitian(matrix: Any, qubits: Qubits) -> Observable:  # noqa: N802
    """A Hermitian matrix as an observable.

    Args:
        matrix: (2**k, 2**k) numbers, Hermitian to 1e-6 of the largest.
        qubits: the k qubits; the first is the most significant bit of the matrix's index.

    Returns:
        A Pauli sum for k up to 4. For more, a sum that `expectation` and `variance` take; its value costs a product of
        the matrix with the state.

    Raises:
        TypeError: for what makes no array, or is traced by JAX.
        ValueError: for another shape, NaN, a matrix that is not Hermitian, or qubits that repeat.

    >>> print(Hermitian([[1, 2], [2, -1]], 3))
    2 X3 + 1 Z3
    """
    chosen, array = _checked("matrix", matrix, qubits, 2, complex)
    scale = max(np.abs(array).max(), 1e-300)
    if not (error := np.abs(array - array.conj().T).max()) <= TOLERANCE * scale:
        raise ValueError(f"Argument `matrix` must be Hermitian, but differs from its adjoint by {error:.2g}.")
    return _narrowed(DenseOperator((array + array.conj().T) / 2, chosen))


def Diagonal(values: Any, qubits: Qubits) -> Observable:  # noqa: N802
    """The observable with a value for each basis state of some qubits.

    Args:
        values: (2**k,) real numbers.
        qubits: the k qubits; the first is the most significant bit of the index.

    Returns:
        A Pauli sum for k up to 4. For more, a sum that `expectation` and `variance` take; its value costs one pass over
        the probabilities.

    Raises:
        TypeError: for what makes no array, is not real, or is traced by JAX.
        ValueError: for another shape, NaN, or qubits that repeat.

    >>> print(Diagonal([0, 0, 0, 1], [0, 1]))  # counts 11
    0.25 - 0.25 Z1 - 0.25 Z0 + 0.25 Z0 Z1
    """
    chosen, array = _checked("values", values, qubits, 1, float)
    return _narrowed(DiagonalOperator(array, chosen))


def Projector(state: Any, qubits: Qubits) -> Observable:  # noqa: N802
    """The projector on a state of some qubits; its expectation value is the probability of that state.

    Args:
        state: bits, as a string "01" or a sequence of k integers, one for each qubit; or (2**k,) amplitudes of norm 1
            to 1e-6. Two integers for one qubit are amplitudes.
        qubits: the k qubits; the first is the most significant bit of an index of amplitudes.

    Returns:
        A Pauli sum for k up to 4. For more, a sum that `expectation` and `variance` take; its value costs one pass.

    Raises:
        TypeError: for what makes no array, or is traced by JAX.
        ValueError: for another shape, NaN, another norm, or qubits that repeat.

    >>> import qjaxsim as qj
    >>> bell = qj.Circuit(2).h(0).cx(0, 1)
    >>> round(float(qj.expectation(bell, qj.Projector("11", [0, 1]))()), 3)
    0.5
    """
    chosen = _qubits_of(qubits)
    bits = _as_bits(state)
    if bits is not None and len(bits) == len(chosen):
        values = np.zeros(2 ** len(chosen))
        values[int("".join(map(str, bits)), 2)] = 1
        return Diagonal(values, chosen)
    if isinstance(state, str):
        raise ValueError(f"Argument `state` must have a bit for each of {len(chosen)} qubits, but is {state!r}.")
    chosen, array = _checked("state", state, chosen, 1, complex)
    if not abs((norm := np.linalg.norm(array)) - 1) <= TOLERANCE:
        raise ValueError(f"Argument `state` must have norm 1, but has norm {norm:.6g}.")
    return _narrowed(ProjectorOperator(array / norm, chosen))


def SparseHermitian(matrix: Any, qubits: Qubits | None = None) -> Observable:  # noqa: N802
    """A Hermitian matrix with few entries as an observable.

    Args:
        matrix: a sparse matrix of SciPy's of shape (2**k, 2**k), or three arrays (rows, columns, values) of its
            entries; entries of one place add up. Hermitian to 1e-6 of the largest entry.
        qubits: the k qubits, the first the most significant bit of an index. None for qubits 0 to k - 1, which needs a
            matrix that has a shape.

    Returns:
        A Pauli sum for k up to 4. For more, a sum that `expectation` and `variance` take; its value costs a gather of
        all entries.

    Raises:
        TypeError: for anything else.
        ValueError: for another shape, indices out of range, NaN, a matrix that is not Hermitian, or qubits that repeat.

    >>> print(SparseHermitian(([0, 1], [1, 0], [3, 3]), [2]))
    3 X2
    """
    rows, columns, values, size = _entries(matrix)
    if size is None and qubits is None:
        raise ValueError("Argument `qubits` must be given with a matrix of entries alone, but is None.")
    chosen = tuple(range((size or 1).bit_length() - 1)) if qubits is None else _qubits_of(qubits)
    dimension = 2 ** len(chosen)
    if (size not in (None, dimension)) or not chosen:
        raise ValueError(
            f"Argument `matrix` must have shape {(dimension, dimension)} for qubits {chosen}, but has {(size, size)}."
        )
    if len(rows) and not (min(rows.min(), columns.min()) >= 0 and max(rows.max(), columns.max()) < dimension):
        raise ValueError(f"Argument `matrix` must have indices from 0 to {dimension - 1}, but has others.")
    _require_finite("matrix", values)
    return _narrowed(_sparse(rows, columns, values, chosen))


def _sparse(rows: np.ndarray, columns: np.ndarray, values: np.ndarray, qubits: tuple[int, ...]) -> SparseOperator:
    """Entries with each place once, by rows, made exactly Hermitian."""
    dimension = 2 ** len(qubits)
    # The mean with the adjoint: places that the adjoint alone has come with half their value, and show as an error.
    places = np.concatenate([rows * dimension + columns, columns * dimension + rows])
    found, which = np.unique(places, return_inverse=True)
    total, adjoint = np.zeros(len(found), complex), np.zeros(len(found), complex)
    np.add.at(total, which[: len(rows)], values)
    np.add.at(adjoint, which[len(rows) :], values.conj())
    error = np.abs(total - adjoint).max(initial=0)
    if not error <= TOLERANCE * np.abs(total).max(initial=1e-300):
        raise ValueError(f"Argument `matrix` must be Hermitian, but differs from its adjoint by {error:.2g}.")
    return SparseOperator(found // dimension, found % dimension, (total + adjoint) / 2, qubits)


def _entries(matrix: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, int | None]:
    """Rows, columns and values of a sparse matrix, and how many rows it has where it says so."""
    size = None
    if hasattr(matrix, "tocoo"):
        shape = matrix.shape
        if len(shape) != 2 or shape[0] != shape[1] or shape[0] & (shape[0] - 1) or not shape[0]:
            raise ValueError(f"Argument `matrix` must have shape (2**k, 2**k), but has {tuple(shape)}.")
        size, coo = int(shape[0]), matrix.tocoo()
        matrix = coo.row, coo.col, coo.data
    if not isinstance(matrix, Sequence) or len(matrix) != 3:
        raise TypeError(
            "Argument `matrix` must be a sparse matrix of SciPy's or three arrays (rows, columns, values), but is "
            f"{shown(matrix)} ({type(matrix).__name__})."
        )
    rows, columns = (_array("matrix", each, float) for each in matrix[:2])
    values = _array("matrix", matrix[2], complex)
    if not (rows.shape == columns.shape == values.shape and rows.ndim == 1):
        raise ValueError(
            "Argument `matrix` must have as many rows, columns and values, but their shapes are "
            f"{rows.shape}, {columns.shape} and {values.shape}."
        )
    if (rows % 1).any() or (columns % 1).any():
        raise ValueError("Argument `matrix` must have integers as rows and columns, but has others.")
    return rows.astype(np.int64), columns.astype(np.int64), values, size


def _narrowed(operator: WideOperator) -> Observable:
    """The operator as a Pauli sum if it is narrow, else as it is."""
    if len(operator.qubits) > NARROW:
        return OperatorSum([(1.0, operator)])
    coefficients = pauli_coefficients(operator.dense())
    # What rounding alone makes would cost passes over the state.
    coefficients[np.abs(coefficients) < 1e-15 * np.abs(coefficients).max()] = 0
    return PauliSum(dict(zip(_strings(operator.qubits), coefficients.tolist(), strict=True)))


def sparse_matrix(observable: Any, n_qubits: int) -> Any:
    """The matrix of a Pauli sum as SciPy's sparse one, such as for exact energies by `scipy.sparse.linalg.eigsh`.

    Args:
        observable: a Pauli sum with real coefficients, or one of Qiskit's operators that `expectation` takes.
        n_qubits: width n of the register.

    Returns:
        `scipy.sparse.csr_array` of shape (2**n, 2**n), float64 where all entries are real, else complex128; `toarray()`
        of it is dense. Qubit 0 is the most significant bit of an index. Cost: 2**n entries, for each set of flipped
        qubits.

    Raises:
        TypeError: for anything else.
        ValueError: for qubits out of range, coefficients that are not real, or a width that is not positive.

    >>> import qjaxsim as qj
    >>> print(sparse_matrix(2 * qj.Z(0) + qj.X(1), 2).toarray())
    [[ 2.  1.  0.  0.]
     [ 1.  2.  0.  0.]
     [ 0.  0. -2.  1.]
     [ 0.  0.  1. -2.]]
    """
    from scipy import sparse

    width = positive_integer("n_qubits", n_qubits)
    checked = checked_observable("observable", observable, width)
    if not isinstance(checked, PauliSum):
        raise TypeError(
            "Argument `observable` must be a Pauli sum with numbers as coefficients, but has operators on many qubits "
            "or parameters; add the matrices of its parts."
        )
    index = np.arange(2**width)
    by_flip: dict[int, np.ndarray] = {}
    for term, coefficient in checked.terms.items():
        bits = {letter: [1 << (width - 1 - q) for q, own in term if own == letter] for letter in "XYZ"}
        flip, signs = sum(bits["X"] + bits["Y"]), sum(bits["Y"] + bits["Z"])
        # P|j> = i**(number of Y) (-1)**|signs & j| |j ^ flip>.
        values = coefficient.real * 1j ** len(bits["Y"]) * (1 - 2 * (np.bitwise_count(index & signs).astype(int) % 2))
        by_flip[flip] = by_flip.get(flip, 0) + values
    values = np.concatenate([*by_flip.values(), np.zeros(0, complex)])
    rows = np.concatenate([*(index ^ flip for flip in by_flip), np.zeros(0, int)])
    entries = values if values.imag.any() else values.real
    places = (rows, np.tile(index, len(by_flip)))
    return sparse.coo_array((entries, places), shape=(2**width, 2**width)).tocsr()


def pauli_coefficients(matrix: Any) -> Any:
    """The coefficients of a Hermitian matrix in Pauli strings, Tr(P matrix) / 2**k.

    Made for matrices that are trained, too: JAX can trace and differentiate it, and `pauli_expansion` takes the result
    as the value of its parameter.

    Args:
        matrix: (..., 2**k, 2**k) array of NumPy's or JAX's; of one that is not Hermitian the Hermitian part counts.

    Returns:
        (..., 4**k) real, an array of the same kind. Strings are in the order of the digits I, X, Y, Z, the first
        (most significant) qubit's letter changing last: for two qubits II, IX, IY, IZ, XI, ... Cost: k 4**k.

    Raises:
        ValueError: for another shape.

    >>> print(pauli_coefficients(np.array([[1, 2], [2, -1]])))  # I, X, Y, Z
    [0. 2. 0. 1.]
    """
    require_unmasked("Argument `matrix`", matrix)
    refuse_turned_array("Argument `matrix`", matrix)
    xp = np if not hasattr(matrix, "__array_namespace__") else matrix.__array_namespace__()
    array = xp.asarray(matrix)
    size = array.shape[-1] if array.ndim > 1 else 0
    n_qubits = size.bit_length() - 1
    if array.shape[-2:] != (size, size) or size != 2 ** max(n_qubits, 0) or not n_qubits > 0:
        raise ValueError(f"Argument `matrix` must have shape (..., 2**k, 2**k), but has {array.shape}.")
    kind = np.result_type(array.dtype, np.complex64)
    batch = array.shape[:-2]
    # Tr(P M) / 2 on one qubit after the other; each leaves its letter as the last axis.
    rest = array.astype(kind).reshape(*batch, *(2,) * (2 * n_qubits))
    for k in range(n_qubits, 0, -1):
        pairs = xp.moveaxis(rest, (len(batch), len(batch) + k), (0, 1))
        (a, b), (c, d) = pairs[0], pairs[1]
        rest = xp.stack([a + d, b + c, 1j * (b - c), a - d], axis=-1) / 2
    return xp.real(rest).reshape(*batch, 4**n_qubits)


def pauli_expansion(coefficients: Parameter, qubits: Qubits) -> OperatorSum:
    """The sum of all Pauli strings on some qubits with an entry of a parameter each: a trainable Hermitian matrix.

    Args:
        coefficients: a parameter of shape (4**k,), in the order of `pauli_coefficients`.
        qubits: the k qubits, the first the most significant.

    Raises:
        TypeError: for anything but a parameter.
        ValueError: for another shape, or qubits that repeat.

    >>> import qjaxsim as qj
    >>> energy = qj.expectation(qj.Circuit(1).h(0), pauli_expansion(qj.Parameter("h", (4,)), 0))
    >>> matrix = np.array([[1.0, 2.0], [2.0, -1.0]])
    >>> round(float(energy({"h": pauli_coefficients(matrix)})), 3)
    2.0
    """
    chosen = _qubits_of(qubits)
    if not isinstance(coefficients, Parameter):
        raise TypeError(f"Argument `coefficients` must be a Parameter, but is {shown(coefficients)}.")
    if coefficients.shape != (4 ** len(chosen),) or coefficients.prefix:
        raise ValueError(
            f"Argument `coefficients` must have shape {(4 ** len(chosen),)} for qubits {chosen}, but has "
            f"{coefficients.shape}."
        )
    return OperatorSum(
        (coefficient, PauliSum({term: 1})) for coefficient, term in zip(coefficients, _strings(chosen), strict=True)
    )


def _strings(qubits: Sequence[int]) -> list[Term]:
    """All strings on some qubits, in the order of `pauli_coefficients`."""
    return [
        tuple((q, letter) for q, letter in zip(qubits, word, strict=True) if letter != "I")
        for word in itertools.product(_LETTERS, repeat=len(qubits))
    ]


# --- checks ----------------------------------------------------------------------------------------------------------


def _checked(
    name: str, value: Any, qubits: Qubits, ndim: int, kind: type[complex] | type[float]
) -> tuple[tuple[int, ...], np.ndarray]:
    """Qubits and an array that has 2**k entries along each axis."""
    chosen = _qubits_of(qubits)
    array = _array(name, value, kind)
    shape = (2 ** len(chosen),) * ndim
    if array.shape != shape:
        raise ValueError(f"Argument `{name}` must have shape {shape} for qubits {chosen}, but has {array.shape}.")
    _require_finite(name, array)
    return chosen, array


def _array(name: str, value: Any, kind: type[complex] | type[float]) -> np.ndarray:
    if is_traced(value):
        raise TypeError(
            f"Argument `{name}` must be known when the observable is made, but is traced by JAX (in jit, grad or "
            "vmap); use `pauli_expansion` with a parameter for what changes."
        )
    require_unmasked(f"Argument `{name}`", value)
    refuse_turned_array(f"Argument `{name}`", value, amplitudes=name == "state")
    try:
        array = np.asarray(value)
        if kind is float and array.dtype.kind == "c":
            raise TypeError(f"Argument `{name}` must be real, but is complex.")
        return array.astype(kind)
    except ValueError as error:
        raise TypeError(
            f"Argument `{name}` must be an array of numbers, but is {shown(value)} ({type(value).__name__})."
        ) from error


def _require_finite(name: str, array: np.ndarray) -> None:
    if not np.isfinite(array).all():
        raise ValueError(f"Argument `{name}` must hold finite numbers, but holds NaN or infinity.")


def _qubits_of(qubits: Any) -> tuple[int, ...]:
    given = (qubits,) if as_integer(qubits) is not None else qubits
    chosen = tuple(as_integer(each) for each in given) if isinstance(given, Sequence | range | np.ndarray) else (None,)
    if not chosen or any(each is None or each < 0 for each in chosen):
        raise ValueError(f"Argument `qubits` must hold integers from 0 on, but is {shown(qubits)}.")
    if len(set(chosen)) != len(chosen):
        raise ValueError(f"Argument `qubits` must name each qubit once, but is {chosen}.")
    return tuple(each for each in chosen if each is not None)


def _as_bits(state: Any) -> tuple[int, ...] | None:
    """Bits as integers, None for anything else."""
    if isinstance(state, str):
        return tuple(map(int, state)) if state and not set(state) - set("01") else None
    if not isinstance(state, Sequence | np.ndarray):
        return None
    bits = [as_integer(each) for each in state]
    return tuple(each for each in bits if each is not None) if set(bits) <= {0, 1} else None
