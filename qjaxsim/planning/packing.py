"""Many small matrices together: blocks as loops over stacks, and what they are made of. NumPy only, no JAX.

A program of thousands of steps takes XLA minutes to compile, and one that makes hundreds of matrices with angles, each
from gates in an order of its own, as long. Here both become short whatever they hold. Matrices with angles are made all
at once: one pass for the gates of one name, a product over each doubling of the factors for blocks of two or three
qubits, and for wider ones a loop that applies those to identities side by side. And a long stretch of blocks is one
loop: every turn moves a block's qubits to the front of the index and applies its matrix.
"""

import functools
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from qjaxsim.planning import cost
from qjaxsim.planning.leaves import Factor, Leaf
from qjaxsim.planning.steps import Packed, Products

# Widths of blocks that are tried.
WIDTHS = (2, 3, 4, 5)
# Wider blocks with angles are made from parts of so many qubits: matrices of more are slow to make factor by factor.
PART = 2
# A part is the product of at most so many factors, as a rule of fewer; a wider block has some `PARTS` parts at most.
SLOTS, FACTORS, PARTS = 8, 3, 8
# A loop's matrices hold at most so many numbers, where narrower blocks allow it.
MOST_NUMBERS = 2**22
# Leaves on more qubits are no part of such blocks.
WIDEST = 3

Order = tuple[int, ...]
Entry = np.ndarray | tuple[Factor, Order]
"""A factor of a part: a constant matrix on all its qubits, or one with angles and its places among them."""


@dataclass(frozen=True)
class Block:
    """Leaves that become one matrix.

    Attributes:
        qubits: those that the leaves touch.
        leaves: in time order.
    """

    qubits: Order
    leaves: tuple[Leaf, ...]


@dataclass(frozen=True)
class Bundle:
    """Blocks that become one step.

    Attributes:
        blocks: in time order.
        width: qubits of each matrix, at least those of every block.
        data: never.
    """

    blocks: tuple[Block, ...]
    width: int
    data: bool = False

    @property
    def fixed(self) -> bool:
        """Whether nothing has angles."""
        return all(is_fixed(leaf) for block in self.blocks for leaf in block.leaves)


def is_fixed(leaf: Leaf) -> bool:
    """Whether a leaf has no angles."""
    return all(isinstance(factor, np.ndarray) for factor in leaf.factors)


def bundle(leaves: Sequence[Leaf], n_qubits: int, amplitudes: float) -> Bundle:
    """Leaves in blocks of the width that costs least.

    Args:
        leaves: in time order, none of them with data or on more than `WIDEST` qubits.
        n_qubits: width of the register.
        amplitudes: size of all states together.

    Returns:
        The blocks. Cost: linear in the number of leaves.
    """
    least = max(len(leaf.qubits) for leaf in leaves)
    most = len(leaves) if all(map(is_fixed, leaves)) else SLOTS
    widths = sorted({min(max(width, least), n_qubits) for width in WIDTHS})
    # A block of several parts holds as many more factors.
    bundles = [Bundle(fused(leaves, width, most if width <= PART + 1 else PARTS * most), width) for width in widths]
    small = [each for each in bundles if len(each.blocks) * 4**each.width <= MOST_NUMBERS]
    return min(small or bundles[:1], key=lambda each: price(each, amplitudes))


def price(found: Bundle, amplitudes: float) -> float:
    """Estimated cost of running a bundle on a state of so many amplitudes in all."""
    turns = len(found.blocks) * cost.turn(found.width, amplitudes)
    if found.fixed:
        return turns
    return turns + sum(making(block.leaves, found.width) for block in found.blocks)


def making(leaves: Iterable[Leaf], width: int) -> float:
    """Estimated cost of one matrix among many that are made together."""
    factors = sum(len(leaf.factors) for leaf in leaves)
    if width <= PART + 1:
        return factors * cost.slot(width)
    return factors * (cost.slot(PART) + cost.turn(PART, 4**width) / FACTORS)


def fused(leaves: Iterable[Leaf], width: int, most: int) -> tuple[Block, ...]:
    """Leaves gathered in blocks, in an order that keeps those on shared qubits.

    A leaf joins the youngest of the blocks that come last on its qubits: the others are older, so that it is behind
    them there as well.

    Args:
        leaves: in time order.
        width: most qubits of a block.
        most: most factors of a block.
    """
    blocks: list[tuple[set[int], list[Leaf]]] = []
    factors: list[int] = []
    last: dict[int, int] = {}
    for leaf in itertools.chain.from_iterable(_pieces(leaf, most) for leaf in leaves):
        place = max((last[q] for q in leaf.qubits if q in last), default=-1)
        full = place < 0 or factors[place] + len(leaf.factors) > most
        if full or len(blocks[place][0].union(leaf.qubits)) > width:
            place = len(blocks)
            blocks.append((set(), []))
            factors.append(0)
        blocks[place][0].update(leaf.qubits)
        blocks[place][1].append(leaf)
        factors[place] += len(leaf.factors)
        last.update(dict.fromkeys(leaf.qubits, place))
    return tuple(Block(tuple(sorted(qubits)), tuple(members)) for qubits, members in blocks)


def _pieces(leaf: Leaf, most: int) -> Iterable[Leaf]:
    """A leaf in pieces of few factors."""
    if len(leaf.factors) <= most:
        return (leaf,)
    return (replace(leaf, factors=leaf.factors[i : i + most]) for i in range(0, len(leaf.factors), most))


def packed(found: Bundle, before: Order) -> Packed:
    """The step of a bundle.

    Args:
        found: the blocks.
        before: the qubits that the index bits stand for at first.
    """
    width = found.width
    orders = _orders([block.qubits for block in found.blocks], before, width)
    gates = sum(len(leaf.factors) for block in found.blocks for leaf in block.leaves)
    pairs = list(zip(found.blocks, orders, strict=True))
    if found.fixed:
        constant = np.stack([product(block.leaves, order[:width]) for block, order in pairs])
        return Packed(before, np.array(orders), width, gates, constant, None)
    blocks = [[_moved(leaf, order[:width]) for leaf in block.leaves] for block, order in pairs]
    return Packed(before, np.array(orders), width, gates, None, products(blocks, width))


def _orders(blocks: Iterable[Sequence[int]], order: Order, width: int) -> list[Order]:
    """For every block an order with its qubits in front, filled up with those that were in front before."""
    orders = []
    for qubits in blocks:
        others = [q for q in order if q not in qubits]
        front = {*qubits, *others[: width - len(qubits)]}
        order = (*(q for q in order if q in front), *(q for q in others if q not in front))
        orders.append(order)
    return orders


def _moved(leaf: Leaf, qubits: Sequence[int]) -> Leaf:
    """A leaf with its qubits counted by place."""
    return Leaf(tuple(qubits.index(q) for q in leaf.qubits), leaf.factors, leaf.data)


def product(leaves: Iterable[Leaf], qubits: Sequence[int]) -> np.ndarray:
    """The matrix of leaves without angles on some qubits, the first one the most significant."""
    total = np.eye(2 ** len(qubits), dtype=complex)
    for leaf in leaves:
        rows = _rows(tuple(qubits.index(q) for q in leaf.qubits), len(qubits))
        for factor in leaf.factors:
            assert isinstance(factor, np.ndarray)
            total[rows] = (factor @ total[rows].reshape(len(factor), -1)).reshape(*rows.shape, -1)
    return total


@functools.lru_cache(maxsize=4096)
def _rows(places: Order, width: int) -> np.ndarray:
    """The rows of a matrix by the bits at some places, (2**places, others)."""
    bits = np.arange(2**width).reshape((2,) * width)
    return np.moveaxis(bits, places, range(len(places))).reshape(2 ** len(places), -1)


# --- what matrices with angles are made of ---------------------------------------------------------------------------


def products(blocks: Sequence[Sequence[Leaf]], width: int) -> Products:
    """Matrices of one width.

    Args:
        blocks: for each its leaves in time order, qubits counted from 0 to `width` - 1.
        width: qubits of each matrix.
    """
    widest = max(len(leaf.qubits) for leaves in blocks for leaf in leaves)
    size = width if width <= PART + 1 else max(PART, widest)
    parts = [_parts(leaves, size, width) for leaves in blocks]
    length = max(map(len, parts))
    idle: tuple[Order, list[Entry]] = (tuple(range(width)), [])
    filled = [each + [idle] * (length - len(each)) for each in parts]
    rows = [filled[block][part][1] for part in range(length) for block in range(len(blocks))]
    orders = np.array([[each[part][0] for each in filled] for part in range(length)])
    return _with_slots(rows, size, width, orders)


def _parts(leaves: Sequence[Leaf], size: int, width: int) -> list[tuple[Order, list[Entry]]]:
    """Parts of a block in time order: the order of its qubits for each, and its factors."""
    found = fused(leaves, size, SLOTS)
    orders = _orders([part.qubits for part in found], tuple(range(width)), size)
    return [
        (order, _entries([_moved(leaf, order[:size]) for leaf in part.leaves], size))
        for part, order in zip(found, orders, strict=True)
    ]


def _entries(leaves: Iterable[Leaf], size: int) -> list[Entry]:
    """The factors of a part in time order, constants between gates with angles multiplied up."""
    entries: list[Entry] = []
    for fixed, members in itertools.groupby(_factors(leaves), lambda leaf: isinstance(leaf.factors[0], np.ndarray)):
        if fixed:
            entries.append(product(members, range(size)))
        else:
            entries += [(leaf.factors[0], leaf.qubits) for leaf in members]  # those with angles
    return entries


def _factors(leaves: Iterable[Leaf]) -> Iterable[Leaf]:
    for leaf in leaves:
        for factor in leaf.factors:
            yield Leaf(leaf.qubits, (factor,), leaf.data)


def _with_slots(rows: Sequence[Sequence[Entry]], size: int, width: int, orders: np.ndarray) -> Products:
    """Every factor at a slot, all gates of one name on the same places together."""
    length = 1 << (max(map(len, rows)) - 1).bit_length()
    constants = _Constants(2**size)
    slots = np.zeros((length, len(rows)), np.int32)  # the identity
    stacks: dict[tuple[str, int, Order], tuple[list[Factor], list[int]]] = {}
    for column, entries in enumerate(rows):
        for slot, entry in enumerate(entries):
            if isinstance(entry, np.ndarray):
                slots[slot, column] = constants.number(entry)
                continue
            gate, places = entry
            assert not isinstance(gate, np.ndarray)
            gates, where = stacks.setdefault((gate.name, len(gate.angles), places), ([], []))
            gates.append(gate)
            where.append(slot * len(rows) + column)
            slots[slot, column] = 1  # nothing: the gate is added
    members = tuple((places, tuple(gates)) for (*_, places), (gates, _) in stacks.items())
    where_all = np.array(list(itertools.chain(*(where for _, where in stacks.values()))))
    return Products(width, size, members, np.stack(constants.matrices), slots, where_all, orders)


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
