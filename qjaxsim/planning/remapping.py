"""Which qubits lie on devices, stage by stage, where the state is cut over the devices of a mesh. NumPy only, no JAX.

Of n qubits, n - d are *local*: index bits of the piece that each of the 2**d devices holds. The others are the device's
own number. A gate that is block diagonal in a qubit (phases, controls) needs it neither way: a device takes the block
of its number (`picking.py`). All other gates need their qubits local, so from time to time qubits change places: an
*exchange*, in which every device sends to every other. Those are what costs; between two of them as much is done as can
be, in any order that the gates allow.
"""

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.measurements import Projection
from qjaxsim.circuits.operations import Repeat
from qjaxsim.planning.layers import written_out
from qjaxsim.planning.leaves import Leaf
from qjaxsim.planning.normal_form import Item, Relabel, normal_form
from qjaxsim.planning.picking import localised
from qjaxsim.planning.schedule import Graph
from qjaxsim.planning.steps import Exchange, Places, ProjectBit

# So many gates ahead are looked at when qubits change places.
HORIZON = 5000

Scores = Callable[[Sequence[int]], np.ndarray]


@dataclass(frozen=True, eq=False)
class LocalLoop:
    """A repeated layer as each device runs it; qubits lie after it where they lay before.

    Attributes:
        items: of one iteration.
        repeat: how often, with which parameters.
    """

    items: tuple["LocalItem", ...]
    repeat: Repeat


LocalItem = Leaf | Exchange | Projection | ProjectBit | Relabel | LocalLoop


@dataclass(frozen=True)
class Remapped:
    """A circuit as each device runs it.

    Attributes:
        items: on the wires of its piece, in time order, with exchanges between them.
        places: where the qubits lie in the end.
    """

    items: tuple[LocalItem, ...]
    places: Places


def remapped(items: Iterable[Item], n_qubits: int, device_bits: int, data: Collection[str] = ()) -> Remapped:
    """Choose where qubits lie, so that few exchanges are needed.

    Args:
        items: of a circuit, in time order.
        n_qubits: its width.
        device_bits: how many qubits are numbers of devices.
        data: names of the parameters that carry the batch.

    Raises:
        ValueError: for a gate that needs more qubits than a device holds.
    """
    state = _State(n_qubits, device_bits, data)
    state.add(items)
    return Remapped(tuple(state.items), state.places)


class _State:
    """The items while they are written, and where qubits lie after them."""

    def __init__(self, n_qubits: int, device_bits: int, data: Collection[str], start: Places | None = None):
        self.n_qubits, self.device_bits, self.data = n_qubits, device_bits, data
        self.items: list[LocalItem] = []
        self.chosen = start  # None: nobody has asked yet
        self.end = start  # where qubits had better lie in the end

    @property
    def places(self) -> Places:
        """Where the qubits lie; the first ones on devices if nothing decided it."""
        if self.chosen is None:
            self.chosen = placed(range(self.device_bits), self.n_qubits)
        return self.chosen

    def add(self, items: Iterable[Item]) -> None:
        """Write what a circuit is made of."""
        for is_leaf, members in itertools.groupby(items, lambda item: isinstance(item, Leaf)):
            if is_leaf:
                self._run(list(members))  # type: ignore[arg-type]
                continue
            for item in members:
                if isinstance(item, Relabel):
                    self._relabel(item.wires)
                elif isinstance(item, Repeat):
                    self._loop(item)
                else:
                    assert isinstance(item, Projection)
                    self._project(item)

    def _run(self, leaves: Sequence[Leaf]) -> None:
        """Write gates in a row, with the exchanges that they need."""
        ways = [self._turns(leaves, in_order) for in_order in (False, True)]
        for apart, members in min(ways, key=len):
            self._put_apart(apart)
            self.items += [localised(leaf, self.places) for leaf in members]

    def _turns(self, leaves: Sequence[Leaf], in_order: bool) -> list[tuple[int, list[Leaf]]]:
        """What lies on devices turn by turn, and the gates done then."""
        rest = _Rest(leaves, self.n_qubits - self.device_bits, in_order)
        now, end = (None if places is None else _mask(places.bits) for places in (self.chosen, self.end))
        turns = []
        while rest.look():
            now = rest.best(self.device_bits, self.n_qubits, now, end)
            turns.append((now, rest.take(now)))
        return turns

    def _put_apart(self, apart: int) -> None:
        """Write the exchange after which the qubits of a mask lie on devices."""
        if self.chosen is None:
            self.chosen = placed([q for q in range(self.n_qubits) if apart >> q & 1], self.n_qubits)
        elif apart != _mask(self.chosen.bits):
            exchange, self.chosen = exchanged(self.chosen, apart)
            self.items.append(exchange)

    def _loop(self, item: Repeat) -> None:
        """Write a repeated layer.

        Two iterations are one where their number is even: the second begins where the qubits lie after the first.
        """
        pair = 2 if item.times % 2 == 0 else 1
        layer = Circuit(self.n_qubits).extend(written_out([replace(item, times=pair)]))
        items = normal_form(layer, self.data)
        leaves = list(itertools.takewhile(lambda inner: isinstance(inner, Leaf), items))
        rest = _Rest(leaves, self.n_qubits - self.device_bits, False)  # type: ignore[arg-type]
        if rest.look():
            self._put_apart(rest.best(self.device_bits, self.n_qubits, None, None))
        inner = _State(self.n_qubits, self.device_bits, self.data, self.places)
        inner.add(items)
        inner._return()
        self.items.append(LocalLoop(tuple(inner.items), Repeat(layer, item.times // pair, item.shared, item.reverse)))

    def _return(self) -> None:
        """Write what brings the qubits back to where they lay at first."""
        assert self.end is not None
        for exchange, places in put_in_order(self.places, self.end.bits):
            self.items.append(exchange)
            self.chosen = places
        if self.places.wires != self.end.wires:
            self.items.append(Relabel(tuple(self.places.wires.index(q) for q in self.end.wires)))
            self.chosen = self.end

    def _relabel(self, wires: Sequence[int]) -> None:
        """New names of the qubits."""
        names = {wire: q for q, wire in enumerate(wires)}
        old = self.places
        self.chosen = Places(tuple(names[q] for q in old.wires), tuple(names[q] for q in old.bits))

    def _project(self, item: Projection) -> None:
        """Write a projection, which is possible wherever its qubit lies."""
        if item.qubit in self.places.wires:
            self.items.append(Projection(self.places.wires.index(item.qubit), item.outcome))
        else:
            self.items.append(ProjectBit(self.places.bits.index(item.qubit), item.outcome))


class _Rest:
    """What is left to do of gates in a row, and what each of it needs.

    Args:
        leaves: the gates.
        n_local: qubits that a device holds.
        in_order: what lies on devices is chosen for the next gates, else for the most gates that can be done by then.
            Both are short-sighted; the first is never worse than doing gates in the order they came in.
    """

    def __init__(self, leaves: Sequence[Leaf], n_local: int, in_order: bool):
        self.graph, self.n_local, self.in_order = Graph(leaves), n_local, in_order
        self.needs = [0 if leaf is None else _needs(leaf, n_local) for leaf in self.graph.leaves]
        self.waiting = list(self.graph.waiting)
        self.open = [i for i, count in enumerate(self.waiting) if count == 0]
        self.nodes: list[int] = []
        self.masks = self.asked = np.zeros(0, np.uint64)
        self.weights = np.zeros(0)

    def look(self) -> bool:
        """Read the next gates, each with all qubits that it or a gate before it needs; whether there are any."""
        waiting: dict[int, int] = {}
        masks = dict.fromkeys(self.open, 0)
        self.nodes = list(self.open)
        for i in self.nodes:  # grows while it is read
            masks[i] |= self.needs[i]
            for follower in self.graph.followers[i] if len(self.nodes) < HORIZON else ():
                left = waiting.get(follower, self.waiting[follower]) - 1
                waiting[follower] = left
                masks[follower] = masks.get(follower, 0) | masks[i]
                if left == 0:
                    self.nodes.append(follower)
        self.masks = np.array([masks[i] for i in self.nodes], np.uint64)
        order = sorted(self.nodes) if self.in_order else self.nodes
        self.weights = np.array([self.graph.leaves[i] is not None for i in order], float)
        own = np.array([self.needs[i] for i in order], np.uint64)
        self.asked = np.bitwise_or.accumulate(own) if self.in_order else self.masks
        return bool(self.nodes)

    def best(self, device_bits: int, n_qubits: int, now: int | None, end: int | None) -> int:
        """The qubits that are best on devices.

        Those where they are to lie in the end, if all can be done with them there; else those with which most gates can
        be done, of such sets one near now.
        """
        if end is not None and not (self.masks & np.uint64(end)).any() and len(self.nodes) < HORIZON:
            return end

        def scores(candidates: Sequence[int]) -> np.ndarray:
            sets = np.array(candidates, np.uint64)
            stays = [0.0 if now is None else (one & now).bit_count() for one in candidates]
            return self.weights @ (self.asked[:, None] & sets == 0) + np.array(stays) / 1024

        everything = range(n_qubits)
        grown = 0
        for _ in range(device_bits):
            candidates = [grown | 1 << q for q in everything if not grown >> q & 1]
            grown = candidates[int(scores(candidates).argmax())]
        starts = [grown, self._latest(device_bits, n_qubits)] + ([] if now is None else [now])
        found = [_climbed(start, n_qubits, scores) for start in starts]
        return max(found, key=lambda pair: pair[0])[1]

    def _latest(self, device_bits: int, n_qubits: int) -> int:
        """The qubits that are needed last."""
        first = {q: len(self.masks) for q in range(n_qubits)}
        for q in range(n_qubits):
            needed = np.flatnonzero(self.masks >> np.uint64(q) & np.uint64(1))
            first[q] = int(needed[0]) if len(needed) else first[q]
        return _mask(sorted(first, key=lambda q: first[q])[-device_bits:])

    def take(self, apart: int) -> list[Leaf]:
        """The gates that can be done with these qubits on devices; they are done then."""
        done = [i for i, mask in zip(self.nodes, self.masks.tolist(), strict=True) if not mask & apart]
        ended = set(done)
        self.open = [i for i in self.open if i not in ended]
        for i in done:
            for follower in self.graph.followers[i]:
                self.waiting[follower] -= 1
                if self.waiting[follower] == 0 and follower not in ended:
                    self.open.append(follower)
        return [leaf for i in done if (leaf := self.graph.leaves[i]) is not None]


def _climbed(start: int, n_qubits: int, scores: Scores) -> tuple[float, int]:
    """A set of qubits after changing one for another as long as that is better, with its score."""
    best, value = start, float(scores([start])[0])
    while True:
        inside = [q for q in range(n_qubits) if best >> q & 1]
        outside = [q for q in range(n_qubits) if not best >> q & 1]
        candidates = [best ^ (1 << a | 1 << b) for a in inside for b in outside]
        found = scores(candidates)
        if not candidates or found.max() <= value:
            return value, best
        best, value = candidates[int(found.argmax())], float(found.max())


def _needs(leaf: Leaf, n_local: int) -> int:
    """The qubits that must be local for a leaf: all but those in which it is block diagonal."""
    needed = [q for q, axis in zip(leaf.qubits, leaf.axes, strict=True) if axis != "Z"]
    if len(needed) > n_local:
        raise ValueError(
            f"Option `state_axes` leaves {n_local} qubit{'s' * (n_local > 1)} to each device, but a gate on the qubits "
            f"{list(leaf.qubits)} mixes {len(needed)}; use fewer devices."
        )
    return _mask(needed)


def _mask(qubits: Iterable[int]) -> int:
    return sum(1 << q for q in qubits)


def placed(apart: Iterable[int], n_qubits: int) -> Places:
    """Qubits on devices, in this order, and the others local in ascending order."""
    bits = tuple(apart)
    return Places(tuple(q for q in range(n_qubits) if q not in bits), bits)


def exchanged(places: Places, apart: int) -> tuple[Exchange, Places]:
    """The exchange after which the qubits of a mask lie on devices."""
    into = [q for q in places.wires if apart >> q & 1]
    out = [q for q in places.bits if not apart >> q & 1]
    wires, bits = [places.wires.index(q) for q in into], [places.bits.index(q) for q in out]
    return Exchange(tuple(wires), tuple(bits)), places.swapped(wires, bits)


def put_in_order(places: Places, bits: tuple[int, ...]) -> Iterator[tuple[Exchange, Places]]:
    """The exchanges after which these qubits are the bits of the device's number in this order, mostly one or two."""
    while places.bits != bits:
        wrong = [bit for bit, q in enumerate(bits) if places.bits[bit] != q]
        pairs = [(places.wires.index(bits[bit]), bit) for bit in wrong if bits[bit] in places.wires]
        # Qubits that belong on another bit of the number become local first.
        free = [wire for wire, q in enumerate(places.wires) if q not in bits]
        pairs += zip(free, [bit for bit in wrong if bits[bit] in places.bits], strict=False)
        wires, moved = tuple(wire for wire, _ in pairs), tuple(bit for _, bit in pairs)
        places = places.swapped(wires, moved)
        yield Exchange(wires, moved), places
