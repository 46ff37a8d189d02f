"""From a circuit's operations to leaves: small matrices on few qubits, the material that plans are made of.

On the way numbers become matrices, runs of one-qubit gates become one leaf, identities and neighbouring inverse pairs
vanish, and swaps become new names of the wires. NumPy only, no JAX.
"""

import functools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.expressions import Expression
from qjaxsim.circuits.gates import GATES, monomial
from qjaxsim.circuits.operations import Gate, Projection, Repeat, Unitary
from qjaxsim.planning.steps import Leaf

Factor = Gate | np.ndarray


@dataclass(frozen=True)
class Relabel:
    """New names of the wires: what follows calls the wire `wires[q]` by the name q. Nothing moves."""

    wires: tuple[int, ...]


Item = Leaf | Projection | Repeat | Relabel


def normal_form(circuit: Circuit, data: Collection[str]) -> list[Item]:
    """The operations as leaves, with runs of one-qubit gates fused and cut where data begins and ends."""
    builder = _Wires(data)
    start = tuple(range(circuit.n_qubits))
    wires = list(start)
    for operation in circuit.operations:
        if isinstance(operation, Gate) and operation.name == "swap":
            a, b = operation.qubits
            wires[a], wires[b] = wires[b], wires[a]
        elif isinstance(operation, Gate | Unitary):
            for factor, qubits in _factors(operation):
                builder.add(factor, tuple(wires[q] for q in qubits))
        elif isinstance(operation, Projection):
            wire = wires[operation.qubit]
            builder.barrier(Projection(wire, operation.outcome), [wire])
        else:
            if tuple(wires) != start:
                builder.barrier(Relabel(tuple(wires)))
                wires = list(start)
            builder.barrier(operation)
    if tuple(wires) != start:
        builder.barrier(Relabel(tuple(wires)))
    return builder.finish()


class _Wires:
    """The items while they grow.

    Each wire remembers its leaves, so that a leaf which undoes the one right before it takes both out, and the gates
    around them meet: a circuit followed by its inverse vanishes, from the middle outwards.
    """

    def __init__(self, data: Collection[str]):
        self.data = data
        self.items: list[Item | None] = []  # None: taken out again
        self.pending: dict[int, list[Factor]] = {}
        self.history: dict[int, list[int]] = {}

    def add(self, factor: Factor, wires: tuple[int, ...]) -> None:
        """One gate."""
        if len(wires) == 1:
            _append(self.pending.setdefault(wires[0], []), factor)
            return
        leaf = _leaf(wires, factor, self.data)
        if self._undoes_last(leaf):
            return
        self._flush(wires)
        self._put(leaf)

    def barrier(self, item: Item, wires: Sequence[int] | None = None) -> None:
        """Something that no gate on the given wires (None: on any) is moved across, and no pair taken out across."""
        self._flush(list(self.pending) if wires is None else wires)
        self.items.append(item)
        self.history = {}

    def finish(self) -> list[Item]:
        """All items in time order."""
        self._flush(list(self.pending))
        return [item for item in self.items if item is not None]

    def _flush(self, wires: Iterable[int]) -> None:
        for wire in sorted(wires):
            for leaf in _runs(wire, self.pending.pop(wire, []), self.data):
                self._put(leaf)

    def _put(self, leaf: Leaf) -> None:
        for wire in leaf.qubits:
            self.history.setdefault(wire, []).append(len(self.items))
        self.items.append(leaf)

    def _undoes_last(self, leaf: Leaf) -> bool:
        """Whether the leaf and the one right before it on all its wires vanish; then both do."""
        last = {self.history[wire][-1] if self.history.get(wire) else None for wire in leaf.qubits}
        place = last.pop() if len(last) == 1 else None
        if place is None or any(self.pending.get(wire) for wire in leaf.qubits):
            return False
        previous = self.items[place]
        if not isinstance(previous, Leaf) or not undo_each_other(previous, leaf):
            return False
        self.items[place] = None
        for wire in leaf.qubits:
            self.history[wire].pop()
            self._reopen(wire)
        return True

    def _reopen(self, wire: int) -> None:
        """Let the one-qubit gates at the end of a wire wait for more again."""
        factors: list[Factor] = []
        history = self.history[wire]
        while history and isinstance(leaf := self.items[history[-1]], Leaf) and leaf.qubits == (wire,):
            factors = [*leaf.factors, *factors]
            self.items[history.pop()] = None
        self.pending[wire] = factors


def uses(factor: Factor, data: Collection[str]) -> bool:
    """Whether a factor's angles contain a parameter named in `data`."""
    if isinstance(factor, np.ndarray) or not data:
        return False
    return any(
        element.name in data for angle in factor.angles if isinstance(angle, Expression) for element in angle.elements()
    )


def undo_each_other(first: Leaf, second: Leaf) -> bool:
    """Whether two leaves on the same qubits, one right after the other, are the identity."""
    if first.qubits != second.qubits or len(first.factors) != 1 or len(second.factors) != 1:
        return False
    return _inverse_pair(first.factors[0], second.factors[0])


def kind(leaf: Leaf) -> str:
    """The structure of a leaf: "diagonal", "monomial" (a permutation with phases) or "dense"."""
    if all(_is_diagonal(factor) for factor in leaf.factors):
        return "diagonal"
    (factor, *more) = leaf.factors
    return "monomial" if not more and isinstance(factor, np.ndarray) and _is_monomial(factor) else "dense"


def _factors(operation: Gate | Unitary) -> list[tuple[Factor, tuple[int, ...]]]:
    """A gate as constant matrices and gates that truly have free angles; identities vanish."""
    if isinstance(operation, Unitary):
        return [(operation.matrix, operation.qubits)]
    name, qubits, angles = operation.name, operation.qubits, operation.angles
    if name in ("id", "delay"):
        return []
    if name == "global_phase":
        # exp(i phi) = P(2 phi) RZ(-2 phi) on any one qubit; no step of its own is needed.
        halves = (Gate("rz", (0,), (-2 * angles[0],)), Gate("p", (0,), (2 * angles[0],)))
        return [factor for half in halves for factor in _factors(half)]
    if any(isinstance(angle, Expression) for angle in angles):
        return [(operation, qubits)]
    return [(GATES[name].matrix(np, *(np.float64(angle) for angle in angles)), qubits)]


def _append(run: list[Factor], factor: Factor) -> None:
    """Add a one-qubit factor to a run: constants multiplied, inverse pairs and identities dropped."""
    last = run[-1] if run else None
    if last is not None and not isinstance(last, np.ndarray) and _inverse_pair(last, factor):
        run.pop()
        return
    if isinstance(factor, np.ndarray):
        if isinstance(last, np.ndarray):
            factor = factor @ last
            run.pop()
        if _is_identity(factor):
            return
    run.append(factor)


def _inverse_pair(first: Factor, second: Factor) -> bool:
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        both = isinstance(first, np.ndarray) and isinstance(second, np.ndarray)
        return both and _is_identity(second @ first)  # type: ignore[operator]
    return first.qubits == second.qubits and first.inverse() == second


def _is_identity(matrix: np.ndarray) -> bool:
    return abs(matrix[0, 0] - 1) < 1e-15 and bool(np.abs(matrix - np.eye(len(matrix))).max() < 1e-15)


def _runs(wire: int, factors: list[Factor], data: Collection[str]) -> Iterable[Leaf]:
    """A run of one-qubit gates as up to three leaves: weights, all from the first to the last data gate, weights."""
    positions = [i for i, factor in enumerate(factors) if uses(factor, data)]
    first, last = (positions[0], positions[-1] + 1) if positions else (len(factors), len(factors))
    for part, is_data in ((factors[:first], False), (factors[first:last], True), (factors[last:], False)):
        if part:
            axes = {_axes(factor)[0] for factor in part}
            yield Leaf((wire,), tuple(part), is_data, (axes.pop() if len(axes) == 1 else None,))


def _leaf(qubits: tuple[int, ...], factor: Factor, data: Collection[str]) -> Leaf:
    """A leaf of one factor; constants get their qubits in ascending order, so that inverse pairs are found."""
    if isinstance(factor, np.ndarray) and list(qubits) != sorted(qubits):
        factor = _ascending(factor, qubits)
        qubits = tuple(sorted(qubits))
    return Leaf(qubits, (factor,), uses(factor, data), _axes(factor))


# Matrices of gates without angles are the same objects each time, so that what is found of them can be kept by id.
_STANDARD = {id(spec.constant): spec.constant for spec in GATES.values() if spec.constant is not None}
_TURNED: dict[tuple[int, tuple[int, ...]], np.ndarray] = {}


def _ascending(matrix: np.ndarray, qubits: Sequence[int]) -> np.ndarray:
    """A constant matrix with its qubits put in ascending order."""
    order = tuple(int(i) for i in np.argsort(qubits))
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


def _axes(factor: Factor) -> tuple[str | None, ...]:
    """By qubit: the Pauli letter that the factor commutes with there, if any.

    Two factors commute if on every qubit that they share both commute with the same letter: both are then block
    diagonal in the same basis of those qubits.
    """
    if isinstance(factor, Gate):
        return _axes_of_gate(factor.name)
    if id(factor) in _STANDARD:
        return _axes_of_standard(id(factor))
    return find_axes(factor) if len(factor) not in (4, 8) else _axes_of_entries(factor.tobytes(), len(factor))


@functools.cache
def _axes_of_gate(name: str) -> tuple[str | None, ...]:
    spec = GATES[name]
    angles = (np.float64(0.37 + 0.61 * i) for i in range(spec.n_angles))  # anything but special values
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


def _is_diagonal(factor: Factor) -> bool:
    if isinstance(factor, Gate):
        return GATES[factor.name].phases is not None
    return np.count_nonzero(factor) == len(factor) and bool(np.count_nonzero(factor.diagonal()) == len(factor))


def _is_monomial(matrix: np.ndarray) -> bool:
    return _standard_is_monomial(id(matrix)) if id(matrix) in _STANDARD else monomial(matrix) is not None


@functools.cache
def _standard_is_monomial(key: int) -> bool:
    return monomial(_STANDARD[key]) is not None
