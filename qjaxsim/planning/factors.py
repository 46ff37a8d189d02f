"""Factors: what one gate is to the planner, and what can be said of it alone. NumPy only, no JAX."""

import functools
from collections.abc import Collection, Sequence

import numpy as np

from qjaxsim.circuits.dense import monomial
from qjaxsim.circuits.expressions import Expression
from qjaxsim.circuits.gates import GATES, GateSpec
from qjaxsim.circuits.operations import Gate, Unitary, spec_of
from qjaxsim.planning.leaves import Angled, Factor, PauliRotation, Phases, Picked


def factors(operation: Gate | Unitary) -> list[tuple[Factor, tuple[int, ...]]]:
    """A gate as constant matrices and gates that truly have free angles; identities vanish."""
    if isinstance(operation, Unitary):
        return [(operation.matrix, operation.qubits)]
    name, qubits, angles = operation.name, operation.qubits, operation.angles
    if name in ("id", "delay", "delay_dt"):
        return []
    if name == "global_phase":
        # exp(i phi) = P(2 phi) RZ(-2 phi) on any one qubit; no step of its own is needed.
        halves = (Gate("rz", (0,), (-2 * angles[0],)), Gate("p", (0,), (2 * angles[0],)))
        return [factor for half in halves for factor in factors(half)]
    if any(isinstance(angle, Expression) for angle in angles):
        return [(operation, qubits)]
    if len(qubits) == 1 and all(angle * 2 / np.pi % 1 == 0 and abs(angle) < 10 for angle in angles):
        return [(_quarter_turns(name, *angles), qubits)]
    spec = operation.spec
    if spec.phases is not None and len(qubits) > WIDEST_MATRIX:
        return [(Phases(spec.phases, angles, np.zeros(len(spec.phases))), qubits)]
    return [(spec.matrix(np, *(np.float64(angle) for angle in angles)), qubits)]


# Constant diagonal gates of more qubits stay phases.
WIDEST_MATRIX = 3
# Phases of more qubits are not written down.
WIDEST_PHASES = 10


def pauli_rotation(factor: Factor) -> PauliRotation | None:
    """A factor as a rotation about a Pauli string, its letters in the order of its qubits, if it is one."""
    if isinstance(factor, Gate) and (label := factor.spec.pauli) is not None:
        return PauliRotation(label, factor.angles)
    return factor if isinstance(factor, PauliRotation) else None


def phases_of(factor: Angled | Picked) -> Phases:
    """A diagonal factor with angles as phases, in the order of its qubits."""
    if isinstance(factor, Phases):
        return factor
    assert not isinstance(factor, Picked)  # diagonal ones are phases in another form
    if isinstance(factor, Gate):
        table = factor.spec.phases
        assert table is not None
    else:
        table = functools.reduce(np.kron, [np.array([1.0, -1.0])] * len(factor.letters))[:, None] / -2
    return Phases(table, factor.angles, np.zeros(len(table)))


def uses(factor: Factor, data: Collection[str]) -> bool:
    """Whether a factor's angles contain a parameter named in `data`."""
    if isinstance(factor, np.ndarray) or not data:
        return False
    return any(
        element.name in data for angle in factor.angles if isinstance(angle, Expression) for element in angle.elements()
    )


def inverse_pair(first: Factor, second: Factor) -> bool:
    """Whether the second factor, right after the first on the same qubits in the same order, undoes it."""
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        both_standard = id(first) in _STANDARD and id(second) in _STANDARD
        return _standard_inverse(id(first), id(second)) if both_standard else is_identity(second @ first)
    if not (isinstance(first, Gate) and isinstance(second, Gate) and first.spec.is_unitary):
        return False
    return first.qubits == second.qubits and first.inverse() == second


def is_identity(matrix: np.ndarray) -> bool:
    """Whether a matrix is the identity, up to rounding."""
    return abs(matrix[0, 0] - 1) < 1e-15 and bool(np.abs(matrix - np.eye(len(matrix))).max() < 1e-15)


# Matrices of gates without angles are the same objects each time, so that what is found of them can be kept by id.
_STANDARD = {id(spec.constant): spec.constant for spec in GATES.values() if spec.constant is not None}
_TURNED: dict[tuple[int, tuple[int, ...]], np.ndarray] = {}


def is_standard(factor: Factor) -> bool:
    """Whether a factor is one of the few constant matrices that are known by id."""
    return id(factor) in _STANDARD


def standard(key: int) -> np.ndarray:
    """The constant matrix of an id."""
    return _STANDARD[key]


@functools.cache
def _quarter_turns(name: str, *angles: float) -> np.ndarray:
    """The matrix of a one-qubit gate with numbers that are multiples of pi / 2."""
    matrix: np.ndarray = spec_of(name).matrix(np, *(np.float64(angle) for angle in angles))
    _STANDARD[id(matrix)] = matrix
    return matrix


def ascending(matrix: np.ndarray, qubits: Sequence[int]) -> np.ndarray:
    """A constant matrix with its qubits put in ascending order."""
    order = tuple(sorted(range(len(qubits)), key=qubits.__getitem__))
    if id(matrix) in _STANDARD:
        key = (id(matrix), order)
        if key not in _TURNED:
            _TURNED[key] = _turn(matrix, order)
            _STANDARD[id(_TURNED[key])] = _TURNED[key]
        return _TURNED[key]
    return _turn(matrix, order)


def _turn(matrix: np.ndarray, order: Sequence[int]) -> np.ndarray:
    k = len(order)
    axes = [*order, *(k + i for i in order)]
    return matrix.reshape((2,) * (2 * k)).transpose(axes).reshape(matrix.shape)


def axes_of(factor: Factor) -> tuple[str | None, ...]:
    """By qubit: the Pauli letter that the factor commutes with there, if any.

    Two factors commute if on every qubit that they share both commute with the same letter: both are then block
    diagonal in the same basis of those qubits.
    """
    if isinstance(factor, Gate):
        return _axes_of_gate(factor.spec)
    if isinstance(factor, PauliRotation):
        return tuple(factor.letters)
    if isinstance(factor, Phases):
        return ("Z",) * (len(factor.offset).bit_length() - 1)
    if isinstance(factor, Picked):
        return tuple(axis for i, axis in enumerate(axes_of(factor.factor)) if i not in factor.positions)
    if id(factor) in _STANDARD:
        return _axes_of_standard(id(factor))
    return find_axes(factor) if len(factor) not in (4, 8) else _axes_of_entries(factor.tobytes(), len(factor))


@functools.cache
def _axes_of_gate(spec: GateSpec) -> tuple[str | None, ...]:
    if spec.phases is not None:
        return ("Z",) * spec.n_qubits
    # Anything but special values; small ones are strengths of channels, too.
    angles = (np.float64(0.17 + 0.06 * i) for i in range(spec.n_angles))
    return find_axes(spec.matrix(np, *angles))


@functools.cache
def _axes_of_standard(key: int) -> tuple[str | None, ...]:
    return find_axes(_STANDARD[key])


@functools.lru_cache(maxsize=1024)
def _axes_of_entries(entries: bytes, size: int) -> tuple[str | None, ...]:
    return find_axes(np.frombuffer(entries, complex).reshape(size, size))


def find_axes(matrix: np.ndarray) -> tuple[str | None, ...]:
    """By qubit the Pauli letter with which a matrix commutes there, or None."""
    if len(matrix) == 2:
        (a, b), (c, d) = matrix.tolist()
        if abs(b) + abs(c) < 1e-14:
            return ("Z",)
        equal = abs(a - d) < 1e-14
        return ("X" if equal and abs(b - c) < 1e-14 else "Y" if equal and abs(b + c) < 1e-14 else None,)
    k = len(matrix).bit_length() - 1
    return tuple(next((letter for letter in "ZXY" if _commutes(matrix, letter, q, k)), None) for q in range(k))


def _commutes(matrix: np.ndarray, letter: str, qubit: int, k: int) -> bool:
    """Whether a matrix commutes with a letter on one of its k qubits, by the blocks of that qubit's bit."""
    half = 2**qubit, 2, 2 ** (k - qubit - 1)
    blocks = matrix.reshape(*half, *half)
    a, b, c, d = (blocks[:, i, :, :, j] for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)))
    pairs = {"Z": ((b, 0), (c, 0)), "X": ((a, d), (b, c)), "Y": ((a, d), (b, -c))}[letter]
    # For Z the difference is twice an off-diagonal block.
    return all(bool(np.abs(one - other).max() < (5e-15 if letter == "Z" else 1e-14)) for one, other in pairs)


def is_diagonal(factor: Factor) -> bool:
    """Whether a factor is diagonal in a form that phases are read from."""
    if isinstance(factor, Gate):
        return factor.spec.phases is not None
    if isinstance(factor, PauliRotation):
        return set(factor.letters) == {"Z"} and len(factor.letters) <= WIDEST_PHASES
    if isinstance(factor, Phases | Picked):
        return isinstance(factor, Phases)
    return _standard_is_diagonal(id(factor)) if id(factor) in _STANDARD else _has_phases_alone(factor)


@functools.cache
def _standard_is_diagonal(key: int) -> bool:
    return _has_phases_alone(_STANDARD[key])


def _has_phases_alone(matrix: np.ndarray) -> bool:
    return np.count_nonzero(matrix) == len(matrix) and bool((np.abs(np.abs(matrix.diagonal()) - 1) < 1e-12).all())


def is_monomial(matrix: np.ndarray) -> bool:
    """Whether a matrix is a permutation with phases."""
    return _standard_is_monomial(id(matrix)) if id(matrix) in _STANDARD else monomial(matrix) is not None


@functools.cache
def _standard_is_monomial(key: int) -> bool:
    return monomial(_STANDARD[key]) is not None


@functools.cache
def _standard_inverse(first: int, second: int) -> bool:
    return is_identity(_STANDARD[second] @ _STANDARD[first])
