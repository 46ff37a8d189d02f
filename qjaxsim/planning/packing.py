"""Long stretches of gates as small blocks of one width, to be run as a loop over their matrices. NumPy only, no JAX.

A program of thousands of steps takes XLA minutes to compile, and one that makes hundreds of matrices with angles, each
from gates in an order of its own, as long. As a loop both are short whatever they hold: one pass makes all gates of one
name, one product all blocks, and every turn moves a block's qubits to the front and applies its matrix.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from qjaxsim.circuits.gates import applied
from qjaxsim.circuits.operations import Gate
from qjaxsim.planning import cost
from qjaxsim.planning.steps import Factors, Leaf, Packed

# Widths of blocks that are tried: matrices with angles are made anew in every run.
WIDTHS, WIDTHS_WITH_ANGLES = (2, 3, 4, 5), (2, 3)
# A block with angles is the product of at most so many matrices.
SLOTS = 8

Entry = np.ndarray | tuple[Gate, tuple[int, ...]]
"""A factor of a block: a constant matrix on all its qubits, or a gate and its places among them."""


@dataclass(frozen=True)
class Block:
    """Leaves that become one matrix.

    Attributes:
        qubits: those that the leaves touch.
        leaves: in time order.
    """

    qubits: tuple[int, ...]
    leaves: tuple[Leaf, ...]


@dataclass(frozen=True)
class Bundle:
    """Blocks that become one step.

    Attributes:
        blocks: in time order.
        width: qubits of each matrix, at least those of every block.
        fixed: whether nothing in them has angles.
        data: never.
    """

    blocks: tuple[Block, ...]
    width: int
    fixed: bool
    data: bool = False


def bundle(leaves: Sequence[Leaf], n_qubits: int, amplitudes: float) -> Bundle:
    """Leaves in blocks of the width that costs least.

    Args:
        leaves: in time order, none of them with data.
        n_qubits: width of the register.
        amplitudes: size of all states together.

    Returns:
        The blocks. Cost: linear in the number of leaves.
    """
    fixed = all(isinstance(factor, np.ndarray) for leaf in leaves for factor in leaf.factors)
    least = max(len(leaf.qubits) for leaf in leaves)
    widths = {min(max(width, least), n_qubits) for width in (WIDTHS if fixed else WIDTHS_WITH_ANGLES)}
    bundles = [Bundle(fused(leaves, width), width, fixed) for width in sorted(widths)]
    return min(bundles, key=lambda each: price(each, amplitudes))


def price(each: Bundle, amplitudes: float) -> float:
    """Estimated cost of running a bundle on a state of so many amplitudes in all."""
    slots = 0 if each.fixed else sum(len(leaf.factors) for block in each.blocks for leaf in block.leaves)
    return len(each.blocks) * cost.turn(each.width, amplitudes) + slots * cost.slot(each.width)


def fused(leaves: Iterable[Leaf], width: int) -> tuple[Block, ...]:
    """Leaves gathered in blocks of up to `width` qubits, in an order that keeps those on shared qubits.

    A leaf joins the youngest of the blocks that come last on its qubits: the others are older, so that it is behind
    them there as well.
    """
    blocks: list[tuple[set[int], list[Leaf]]] = []
    last: dict[int, int] = {}
    for leaf in leaves:
        place = max((last[q] for q in leaf.qubits if q in last), default=None)
        if place is None or len(blocks[place][0].union(leaf.qubits)) > width:
            place = len(blocks)
            blocks.append((set(), []))
        blocks[place][0].update(leaf.qubits)
        blocks[place][1].append(leaf)
        last.update(dict.fromkeys(leaf.qubits, place))
    return tuple(Block(tuple(sorted(qubits)), tuple(members)) for qubits, members in blocks)


def packed(found: Bundle, before: tuple[int, ...]) -> Packed:
    """The step of a bundle.

    Args:
        found: the blocks.
        before: the qubits that the index bits stand for at first.
    """
    order, orders, rows = before, [], []
    for block in found.blocks:
        order = _in_front(block.qubits, order, found.width)
        for entries in _cut(_entries(block, order[: found.width])):
            orders.append(order)
            rows.append(entries)
    constant = np.stack([entries[0] for entries in rows]) if found.fixed else None  # type: ignore[misc]
    factors = None if found.fixed else _factors(rows, 2**found.width)
    gates = sum(len(leaf.factors) for block in found.blocks for leaf in block.leaves)
    return Packed(before, np.array(orders), found.width, gates, constant, factors)


def _in_front(qubits: Sequence[int], order: tuple[int, ...], width: int) -> tuple[int, ...]:
    """The order with some qubits in front, filled up to the width with those that were in front before."""
    others = [q for q in order if q not in qubits]
    front = {*qubits, *others[: width - len(qubits)]}
    return (*(q for q in order if q in front), *(q for q in others if q not in front))


def _entries(block: Block, qubits: Sequence[int]) -> list[Entry]:
    """The factors of a block in time order, constants between gates with angles multiplied up."""
    place = {qubit: i for i, qubit in enumerate(qubits)}
    entries: list[Entry] = []
    identity, constant = np.eye(2 ** len(qubits), dtype=complex), None
    for leaf in block.leaves:
        places = tuple(place[q] for q in leaf.qubits)
        for factor in leaf.factors:
            if isinstance(factor, np.ndarray):
                constant = applied(
                    factor, places, np.eye(2 ** len(qubits), dtype=complex) if constant is None else constant
                )
                continue
            entries += [factor_pair for factor_pair in (constant,) if factor_pair is not None]
            entries.append((factor, places))
            constant = None
    return entries if constant is None else [*entries, constant]


def _cut(entries: Sequence[Entry]) -> list[Sequence[Entry]]:
    return [entries[i : i + SLOTS] for i in range(0, len(entries), SLOTS)]


def _factors(rows: Sequence[Sequence[Entry]], size: int) -> Factors:
    """Blocks as products of gates and constants, all gates of one name on the same places together."""
    length = 1 << (max(map(len, rows)) - 1).bit_length()
    constants = _Constants(size)
    slots = np.zeros((length, len(rows)), np.int32)  # the identity
    stacks: dict[tuple[str, tuple[int, ...]], tuple[list[Gate], list[int]]] = {}
    for column, entries in enumerate(rows):
        for slot, entry in enumerate(entries):
            if isinstance(entry, np.ndarray):
                slots[slot, column] = constants.number(entry)
                continue
            gate, places = entry
            gates, where = stacks.setdefault((gate.name, places), ([], []))
            gates.append(gate)
            where.append(slot * len(rows) + column)
            slots[slot, column] = 1  # nothing: the gate is added
    places_of = np.array(list(itertools.chain(*(where for _, where in stacks.values()))))
    members = tuple((places, tuple(gates)) for (_, places), (gates, _) in stacks.items())
    return Factors(members, np.stack(constants.matrices), slots, places_of)


class _Constants:
    """Different matrices, numbered; the first is the identity, the second zero."""

    def __init__(self, size: int):
        self.matrices = [np.eye(size, dtype=complex), np.zeros((size, size), complex)]
        self.numbers: dict[bytes, int] = {}

    def number(self, matrix: np.ndarray) -> int:
        """The number of a matrix."""
        number = self.numbers.setdefault(matrix.tobytes(), len(self.matrices))
        if number == len(self.matrices):
            self.matrices.append(matrix)
        return number
