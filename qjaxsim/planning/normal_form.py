"""From a circuit's operations to leaves: small matrices on few qubits, the material that plans are made of.

On the way numbers become matrices, runs of one-qubit gates become one leaf, identities and neighbouring inverse pairs
vanish, and swaps become new names of the wires. NumPy only, no JAX.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.measurements import Projection
from qjaxsim.circuits.operations import Channel, Gate, Kraus, Repeat, Unitary
from qjaxsim.planning.factors import (
    ascending,
    axes_of,
    factors,
    inverse_pair,
    is_diagonal,
    is_identity,
    is_monomial,
    pauli_rotation,
    uses,
)
from qjaxsim.planning.gadgets import Gadgets
from qjaxsim.planning.leaves import Factor, Leaf, PauliRotation


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
            for factor, qubits in factors(operation):
                builder.add(factor, tuple(wires[q] for q in qubits))
        elif isinstance(operation, Projection):
            wire = wires[operation.qubit]
            builder.barrier(Projection(wire, operation.outcome), [wire])
        elif isinstance(operation, Channel | Kraus):
            raise ValueError(
                f"A circuit with channels has no state vector, but {operation.key[1]!r} acts on qubits "
                f"{operation.qubits}; use `density_matrix`, `expectation`, `probabilities` or `sample`."
            )
        elif isinstance(operation, Repeat):
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
        self.gadgets = Gadgets()

    def add(self, factor: Factor, wires: tuple[int, ...]) -> None:
        """One gate."""
        self.gadgets.add(factor, wires)

    def _drain(self) -> None:
        """Take over the gates so far, opened."""
        for factor, wires in self.gadgets.finish():
            self._enter(factor, wires)
        self.gadgets = Gadgets()

    def _enter(self, factor: Factor, wires: tuple[int, ...]) -> None:
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
        self._drain()
        self._flush(list(self.pending) if wires is None else wires)
        self.items.append(item)
        self.history = {}

    def finish(self) -> list[Item]:
        """All items in time order."""
        self._drain()
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


def undo_each_other(first: Leaf, second: Leaf) -> bool:
    """Whether two leaves on the same qubits, one right after the other, are the identity."""
    if first.qubits != second.qubits or len(first.factors) != 1 or len(second.factors) != 1:
        return False
    return inverse_pair(first.factors[0], second.factors[0])


def is_rotation(leaf: Leaf) -> bool:
    """Whether a leaf is one rotation about a Pauli string."""
    return len(leaf.factors) == 1 and pauli_rotation(leaf.factors[0]) is not None


def kind(leaf: Leaf) -> str:
    """The structure of a leaf: "diagonal", "monomial" (a permutation with phases), "rotation" or "dense"."""
    if all(is_diagonal(factor) for factor in leaf.factors):
        return "diagonal"
    (factor, *more) = leaf.factors
    if isinstance(factor, PauliRotation) and len(leaf.qubits) > 2:
        return "rotation"
    return "monomial" if not more and isinstance(factor, np.ndarray) and is_monomial(factor) else "dense"


def _append(run: list[Factor], factor: Factor) -> None:
    """Add a one-qubit factor to a run: constants multiplied, inverse pairs and identities dropped."""
    last = run[-1] if run else None
    if last is not None and not isinstance(last, np.ndarray) and inverse_pair(last, factor):
        run.pop()
        return
    if isinstance(factor, np.ndarray):
        if isinstance(last, np.ndarray):
            factor = factor @ last
            run.pop()
        if is_identity(factor):
            return
    run.append(factor)


def _runs(wire: int, factors: list[Factor], data: Collection[str]) -> Iterable[Leaf]:
    """A run of one-qubit gates as up to three leaves: weights, all from the first to the last data gate, weights."""
    positions = [i for i, factor in enumerate(factors) if uses(factor, data)]
    first, last = (positions[0], positions[-1] + 1) if positions else (len(factors), len(factors))
    for part, is_data in ((factors[:first], False), (factors[first:last], True), (factors[last:], False)):
        if part:
            yield run_leaf(wire, part, is_data)


def run_leaf(wire: int, factors: Sequence[Factor], data: bool) -> Leaf:
    """A run of one-qubit gates as a leaf."""
    axes = {axes_of(factor)[0] for factor in factors}
    return Leaf((wire,), tuple(factors), data, (axes.pop() if len(axes) == 1 else None,))


def _leaf(qubits: tuple[int, ...], factor: Factor, data: Collection[str]) -> Leaf:
    """A leaf of one factor; constants get their qubits in ascending order, so that inverse pairs are found."""
    if isinstance(factor, np.ndarray) and list(qubits) != sorted(qubits):
        factor = ascending(factor, qubits)
        qubits = tuple(sorted(qubits))
    return Leaf(qubits, (factor,), uses(factor, data), axes_of(factor))
