"""From groups to steps: the order of the index bits, and each step's matrices and tables written for that order.

A dense block wants its qubits in front. The order is followed rather than restored: a transpose is paid only where a
block needs one, and it puts the qubits that are wanted next right behind. NumPy only, no JAX.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qjaxsim.circuits.dense import applied, index_of_bits, monomial
from qjaxsim.circuits.measurements import Projection
from qjaxsim.planning import cost
from qjaxsim.planning.factors import pauli_rotation, phases_of
from qjaxsim.planning.leaves import Leaf
from qjaxsim.planning.normal_form import Relabel, kind, run_leaf
from qjaxsim.planning.packing import Bundle, packed
from qjaxsim.planning.schedule import FULL_REGISTER, Group
from qjaxsim.planning.steps import (
    Collapsed,
    Dense,
    Diagonal,
    Enter,
    Exchange,
    Loop,
    Monomial,
    Project,
    ProjectBit,
    Rotations,
    Singles,
    Start,
    Step,
    Table,
    Transpose,
)

Order = tuple[int, ...]

# Tables of phases have at most 2**TABLE_QUBITS entries, unless one gate needs more.
TABLE_QUBITS = 12


@dataclass(frozen=True)
class Stretch:
    """Items that are collapsed into one matrix."""

    items: tuple["Planned", ...]


Planned = Group | Bundle | Loop | Projection | Relabel | Start | Stretch | Exchange | ProjectBit


def lay_out(items: Sequence[Planned], order: Order, n_qubits: int) -> list[Step]:
    """Turn what is planned into steps that end in ascending order, all qubits in.

    Args:
        items: in time order.
        order: the qubits that the index bits stand for at first; those that it lacks are in |0> and enter when needed,
            so that a state from |0...0> grows from nothing.
        n_qubits: width of the register.
    """
    layout = _Layout(order, n_qubits)
    layout.add(items)
    layout.enter(range(n_qubits))
    layout.reorder(tuple(range(n_qubits)))
    return layout.steps


class _Layout:
    """The steps while they are written, and the order of the index bits after them.

    Diagonals fit any order: they wait for the next transpose, because compilers are tempted to merge a pass over the
    state with a permutation that follows it, and then compute phases at scattered places.
    """

    def __init__(self, order: Order, n_qubits: int):
        self.order, self.n_qubits = order, n_qubits
        self.steps: list[Step] = []
        self.waiting: list[Group] = []

    def add(self, items: Sequence[Planned]) -> None:
        """Write the steps of items."""
        for i, item in enumerate(items):
            if isinstance(item, Start):
                self.steps.append(item)
                self.order = tuple(range(self.n_qubits))
            elif isinstance(item, Relabel):
                self._relabel(item)
            elif isinstance(item, Bundle):
                self._packed(item)
            elif isinstance(item, Group) and item.kind == "diagonal":
                self.enter(item.qubits)
                self.waiting.append(item)
            elif isinstance(item, Group) and item.kind == "dense":
                self._dense(item, items[i + 1 :])
            elif isinstance(item, Group) and item.kind == "singles":
                self._singles(item, items[i + 1 :])
            elif isinstance(item, Exchange):
                self._exchange(item)
            else:
                self.enter(item.qubits if isinstance(item, Group) else range(self.n_qubits))
                self.reorder(tuple(sorted(self.order)) if isinstance(item, Loop) else self.order)
                self.steps.append(self._collapsed(item) if isinstance(item, Stretch) else _step(item, self.order))

    def enter(self, needed: Iterable[int]) -> None:
        """Make qubits part of the state that are not yet."""
        if missing := self._missing(needed):
            self.steps.append(Enter(missing))
            self.order = (*missing, *self.order)

    def reorder(self, new: Order) -> None:
        """A new order, if it is one, and the diagonals that waited for it."""
        if self.order != new:
            self.steps.append(Transpose(self.order, new))
        self.steps += [Diagonal(_tables(group.leaves, new), group.data) for group in self.waiting]
        self.order, self.waiting = new, []

    def _missing(self, needed: Iterable[int]) -> Order:
        return tuple(q for q in needed if q not in self.order)

    def _relabel(self, item: Relabel) -> None:
        self.reorder(self.order)
        names = {wire: q for q, wire in enumerate(item.wires)}
        self.order = tuple(names[wire] for wire in self.order)

    def _packed(self, item: Bundle) -> None:
        self.enter(range(self.n_qubits))
        self.reorder(self.order)
        step = packed(item, self.order)
        self.steps.append(step)
        self.order = tuple(step.orders[-1].tolist())

    def _exchange(self, item: Exchange) -> None:
        self.enter(range(self.n_qubits))
        self.reorder((*item.wires, *(q for q in self.order if q not in item.wires)))
        self.steps.append(item)

    def _dense(self, item: Group, later: Sequence[Planned]) -> None:
        entering = self._missing(item.qubits)  # by the block itself
        self.reorder(_in_front(item.qubits, self.order, later))
        self.order = (*entering, *self.order)
        self.steps.append(_dense(item, self.order[: len(item.qubits)], len(entering)))

    def _singles(self, item: Group, later: Sequence[Planned]) -> None:
        runs: dict[int, list[Leaf]] = {}
        for leaf in item.leaves:
            runs.setdefault(leaf.qubits[0], []).append(leaf)
        leaves = {qubit: run_leaf(0, [f for leaf in run for f in leaf.factors], True) for qubit, run in runs.items()}
        # Those that are in |0> make a product state: they enter by few matrices, which are applied to nothing.
        missing, width = self._missing(sorted(leaves)), cost.data_block(self.n_qubits)
        for start in range(0, len(missing), width):
            block = missing[start : start + width]
            own = tuple(replace(leaves.pop(qubit), qubits=(qubit,)) for qubit in block)
            self._dense(Group("dense", block, own, True), ())
        if leaves:
            self.reorder(_in_front(tuple(leaves), self.order, later))
            front = self.order[: len(leaves)]
            self.steps.append(Singles(front, tuple(leaves[qubit] for qubit in front)))
            self.order = (*self.order[len(leaves) :], *front)

    def _collapsed(self, item: Stretch) -> Collapsed:
        inner = _Layout(self.order, self.n_qubits)
        inner.add(item.items)
        inner.reorder(inner.order)
        self.order = inner.order
        return Collapsed(tuple(inner.steps), len(self.order))


def _step(item: Planned, order: Order) -> Step:
    """One item that takes any order, or stands in it already, as a step."""
    if isinstance(item, Projection):
        return Project(order.index(item.qubit), item.outcome)
    if isinstance(item, Loop | ProjectBit):
        return item
    assert isinstance(item, Group)
    return _rotations(item, order) if item.kind == "rotation" else _monomial(item, order)


def _in_front(qubits: Order, order: Order, later: Sequence[Planned]) -> Order:
    """The order with some qubits in front."""
    wanted = set(qubits) & set(order)
    if set(order[: len(wanted)]) == wanted:
        return order
    front = [q for q in order if q in wanted]
    return (*front, *_rest([q for q in order if q not in wanted], later))


def _rest(rest: list[int], later: Sequence[Planned]) -> list[int]:
    """The other qubits: those of the next block first, everything else as it stood."""
    for item in later:
        if not isinstance(item, Group):
            break
        if item.kind == "dense":
            soon = [q for q in rest if q in item.qubits]
            return soon + [q for q in rest if q not in item.qubits]
    return rest


def _local(leaves: Sequence[Leaf], qubits: Order) -> list[Leaf]:
    """Leaves with their qubits counted by place."""
    place = {qubit: i for i, qubit in enumerate(qubits)}
    return [replace(leaf, qubits=tuple(place[q] for q in leaf.qubits)) for leaf in leaves]


def _dense(group: Group, qubits: Order, entering: int) -> Dense:
    leaves = _local(group.leaves, qubits)
    layers = _layers(leaves, len(qubits))
    fixed = all(isinstance(f, np.ndarray) for leaf in group.leaves for f in leaf.factors)
    constant = _constant(layers, len(qubits)) if fixed else None
    return Dense(qubits, layers, group.data, constant, entering, tuple(leaves))


def _monomial(group: Group, qubits: Order) -> Monomial:
    return replace(_fold(_local(group.leaves, qubits), len(qubits)), qubits=qubits)


def _layers(items: list[Leaf], k: int) -> tuple[tuple[Leaf, ...] | Monomial, ...]:
    """The leaves of a block as alternating Kronecker products and monomials."""
    layers: list[tuple[str, list[Leaf]]] = []
    last = [-1] * k
    for leaf in items:
        name = "monomial" if _is_constant_monomial(leaf) and len(leaf.qubits) > 1 else "kron"
        start = max(last[q] for q in leaf.qubits) + (name == "kron")
        index = next((i for i in range(max(start, 0), len(layers)) if layers[i][0] == name), len(layers))
        if index == len(layers):
            layers.append((name, []))
        layers[index][1].append(leaf)
        for qubit in leaf.qubits:
            last[qubit] = index
    return tuple(tuple(members) if name == "kron" else _fold(members, k) for name, members in layers)


def _is_constant_monomial(leaf: Leaf) -> bool:
    constant = len(leaf.factors) == 1 and isinstance(leaf.factors[0], np.ndarray)
    return constant and kind(leaf) in ("monomial", "diagonal")


def _constant(layers: Sequence[tuple[Leaf, ...] | Monomial], k: int) -> np.ndarray:
    """The matrix of a block without angles."""
    total = np.eye(2**k, dtype=complex)
    for layer in layers:
        if isinstance(layer, Monomial):
            total = total[layer.source] if layer.phase is None else layer.phase[:, None] * total[layer.source]
            continue
        for leaf in layer:
            total = applied(leaf.factors[0], leaf.qubits, total)  # type: ignore[arg-type]
    return total


def _fold(leaves: list[Leaf], k: int) -> Monomial:
    """The product of constant monomials on k qubits."""
    source, phase = np.arange(2**k), np.ones(2**k, dtype=complex)
    for leaf in leaves:
        split = monomial(leaf.factors[0])  # type: ignore[arg-type]  # by construction a constant matrix
        assert split is not None
        small_source, small_phase = split
        inside = index_of_bits(leaf.qubits, k)
        # Replace the bits on the leaf's qubits by those of their source.
        moved = np.arange(2**k)
        for position, qubit in enumerate(reversed(leaf.qubits)):
            shift = k - 1 - qubit
            moved = moved & ~(1 << shift) | ((small_source[inside] >> position & 1) << shift)
        source, phase = source[moved], small_phase[inside] * phase[moved]
    return Monomial(tuple(range(k)), source, None if (phase == 1).all() else phase)


def _rotations(group: Group, order: Order) -> Rotations:
    masks, angles, strings = [], [], []
    for leaf in group.leaves:
        rotation = pauli_rotation(leaf.factors[0])
        assert rotation is not None
        letters = list(zip(leaf.qubits, rotation.letters, strict=True))
        bits = [(1 << (len(order) - 1 - order.index(qubit)), letter) for qubit, letter in letters]
        masks.append([sum(bit for bit, letter in bits if letter in wanted) for wanted in ("XY", "YZ")])
        angles.append(rotation.angles[0])
        strings.append(" ".join(f"{letter}{qubit}" for qubit, letter in letters))
    flips, signs = np.array(masks, np.uint32).T
    return Rotations(flips, signs, tuple(angles), tuple(strings), group.data)


# --- phases ----------------------------------------------------------------------------------------------------------


def _tables(leaves: Sequence[Leaf], order: Order) -> tuple[Table, ...]:
    """Diagonal leaves gathered in few small tables.

    The places are cut into chunks of neighbours; leaves that touch the same two chunks share a table, those that touch
    more whatever table has room. On registers up to TABLE_QUBITS there is one table in all.
    """
    n_chunks = 1 if len(order) <= FULL_REGISTER else -(-2 * len(order) // TABLE_QUBITS)
    width = -(-len(order) // n_chunks)
    by_chunks: dict[tuple[int, ...], list[Leaf]] = {}
    scattered: list[Leaf] = []
    for leaf in _local(leaves, order):
        chunks = tuple(sorted({place // width for place in leaf.qubits}))
        (by_chunks.setdefault(chunks, []) if len(chunks) <= 2 else scattered).append(leaf)
    for chunks in [c for c in by_chunks if len(c) == 1]:
        wider = next((other for other in by_chunks if len(other) == 2 and chunks[0] in other), None)
        if wider is not None:
            by_chunks[wider].extend(by_chunks.pop(chunks))
    return tuple(_table(members) for members in (*by_chunks.values(), *_packed(scattered)))


def _packed(leaves: Iterable[Leaf]) -> list[list[Leaf]]:
    """Leaves put together as long as they touch no more than TABLE_QUBITS places."""
    packs: list[tuple[set[int], list[Leaf]]] = []
    for leaf in leaves:
        touched = set(leaf.qubits)
        pack = next((pack for pack in packs if len(pack[0] | touched) <= TABLE_QUBITS), None)
        if pack is None:
            packs.append(pack := (set(), []))
        pack[0].update(touched)
        pack[1].append(leaf)
    return [members for _, members in packs]


def _table(leaves: Sequence[Leaf]) -> Table:
    places = tuple(sorted({place for leaf in leaves for place in leaf.qubits}))
    offset = np.zeros(2 ** len(places))
    columns: list[np.ndarray] = [np.zeros((2 ** len(places), 0))]
    angles: list[Any] = []
    for leaf in _local(leaves, places):
        rows = index_of_bits(leaf.qubits, len(places))
        for factor in leaf.factors:
            if isinstance(factor, np.ndarray):
                offset += np.angle(factor.diagonal())[rows]
                continue
            phases = phases_of(factor)
            columns.append(phases.table[rows])
            angles.extend(phases.angles)
            offset += phases.offset[rows]
    return Table(places, np.concatenate(columns, axis=1), tuple(itertools.chain(angles)), offset)
