"""From leaves to groups: which gates become one step, and in which order. NumPy only, no JAX.

The leaves form a graph: an edge where two share a qubit and do not commute there. Steps are chosen one after the other
from what is ready. Leaves that depend on data and leaves that do not never share a step, and one kind is followed as
far as it goes before the other begins, so that stretches of weights are as long as the circuit allows.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from qjaxsim.planning import cost
from qjaxsim.planning.leaves import Leaf
from qjaxsim.planning.normal_form import is_rotation, kind, undo_each_other
from qjaxsim.planning.singles import is_single

# Up to this many qubits a permutation may span the whole register: 4096 rows.
FULL_REGISTER = 12
# How many ways to widen a block are tried at each turn.
CANDIDATES = 6
# How many rotations about Pauli strings one step takes.
LONGEST_LOOP = 256

Accept = Callable[[int], bool]


class Block(NamedTuple):
    """What may become a step.

    Attributes:
        worth: weight of its gates for its cost.
        kind: as in `Group`.
        members: its leaves, by number.
    """

    worth: float
    kind: str
    members: list[int]


@dataclass(frozen=True)
class Group:
    """Leaves that become one step.

    Attributes:
        kind: "dense", "monomial", "diagonal", "rotation" or "singles".
        qubits: those that the leaves touch, ascending.
        leaves: in time order.
        data: whether they depend on data.
    """

    kind: str
    qubits: tuple[int, ...]
    leaves: tuple[Leaf, ...]
    data: bool


@dataclass(frozen=True)
class Limits:
    """Sizes that a scheduler keeps to.

    Attributes:
        n_qubits: width of the register.
        block: most qubits in a dense block of weights.
        data_block: most qubits in a dense block that differs from sample to sample.
        columns: states that are run together.
        defer: leave diagonal gates that no other gate of a dense block waits for to later steps.
        singles: run data on single qubits as a loop where that is worth it.
    """

    n_qubits: int
    block: int
    data_block: int
    columns: int
    defer: bool = False
    singles: bool = False

    @property
    def amplitudes(self) -> float:
        """Size of all states together."""
        return float(self.columns) * 2**self.n_qubits


def schedule(leaves: Sequence[Leaf], limits: Limits) -> list[Group]:
    """Group leaves into steps.

    Args:
        leaves: in time order.
        limits: sizes.

    Returns:
        Groups in time order. Cost: linear in the number of leaves.
    """
    graph = Graph(leaves)
    chooser = _Chooser(graph, limits)
    groups = []
    data = False
    while graph.ready:
        if not any(graph.leaf(i).data == data for i in graph.ready):
            data = not data
        chosen_kind, members = chooser.next_step(data)
        graph.take(members)
        chosen = [graph.leaf(i) for i in members]
        qubits = tuple(sorted({q for leaf in chosen for q in leaf.qubits}))
        groups.append(Group(chosen_kind, qubits, tuple(chosen), data))
    return groups


class Graph:
    """Leaves with the edges between those that must keep their order.

    Between two runs of commuting leaves on one qubit stands a node without a leaf, so that the number of edges stays
    linear; leaves that undo each other are taken out on the way.
    """

    def __init__(self, leaves: Sequence[Leaf]):
        self.leaves: list[Leaf | None] = []  # None: a node that only keeps order
        self.masks: list[int] = []
        self.followers: list[list[int]] = []
        self.waiting: list[int] = []
        self._runs: dict[int, _Commuting] = {}
        for leaf in leaves:
            self._add(leaf)
        self.kinds = ["" if leaf is None else kind(leaf) for leaf in self.leaves]
        self.rotations = [leaf is not None and is_rotation(leaf) for leaf in self.leaves]
        self.singles = [leaf is not None and is_single(leaf) for leaf in self.leaves]
        self.weights = [0 if leaf is None else 1 if len(leaf.qubits) == 1 else 2 for leaf in self.leaves]
        self.ready: dict[int, None] = {}
        self._release(i for i, count in enumerate(self.waiting) if count == 0)

    def leaf(self, i: int) -> Leaf:
        """The leaf of a node that has one."""
        leaf = self.leaves[i]
        assert leaf is not None
        return leaf

    def take(self, members: Iterable[int]) -> None:
        """Mark leaves as done; what waited for them becomes ready."""
        for i in members:
            del self.ready[i]
            self._release(self._freed(i))

    def absorb(self, allowed: int, accept: Accept, most: int | None = None) -> tuple[list[int], list[int]]:
        """What can be done on some qubits alone.

        Args:
            allowed: bit mask of the qubits.
            accept: which leaves are wanted.
            most: how many at most; None for all.

        Returns:
            The leaves in an order that is possible, and acceptable leaves ready after them that need more qubits.
        """
        freed: dict[int, int] = {}
        inside: list[int] = []
        edge: list[int] = []
        queue = [i for i in self.ready if accept(i)]
        position = 0
        while position < len(queue) and (most is None or len(inside) < most):
            i = queue[position]
            position += 1
            if self.leaves[i] is not None:
                if self.masks[i] & ~allowed:
                    edge.append(i)
                    continue
                inside.append(i)
            for follower in self.followers[i]:
                left = freed.get(follower, self.waiting[follower]) - 1
                freed[follower] = left
                if left == 0 and (self.leaves[follower] is None or accept(follower)):
                    queue.append(follower)
        return inside, edge

    def leads_to(self, i: int, chosen: set[int]) -> bool:
        """Whether one of the chosen leaves waits for leaf i."""
        for follower in self.followers[i]:
            if follower in chosen or (self.leaves[follower] is None and self.leads_to(follower, chosen)):
                return True
        return False

    def _add(self, leaf: Leaf) -> None:
        runs = [self._runs.setdefault(q, _Commuting()) for q in leaf.qubits]
        twin = self._twin(leaf, runs)
        if twin is not None:
            self.leaves[twin] = None
            for run in runs:
                del run.twins[leaf.qubits]
            return
        node = self._node(leaf)
        for run, axis in zip(runs, leaf.axes, strict=True):
            if axis is None or axis != run.axis:
                if run.members:
                    run.before = self._node(None)
                    for member in run.members:
                        self._edge(member, run.before)
                run.axis, run.members, run.twins = axis, [], {}
            if run.before is not None:
                self._edge(run.before, node)
            run.members.append(node)
            run.twins[leaf.qubits] = node

    def _twin(self, leaf: Leaf, runs: "Sequence[_Commuting]") -> int | None:
        """A leaf right before this one, up to commuting ones, that it undoes."""
        found = {run.twins.get(leaf.qubits) for run in runs}
        twin = found.pop() if len(found) == 1 else None
        if twin is None or (previous := self.leaves[twin]) is None or not undo_each_other(previous, leaf):
            return None
        return twin

    def _node(self, leaf: Leaf | None) -> int:
        self.leaves.append(leaf)
        self.masks.append(0 if leaf is None else sum(1 << q for q in leaf.qubits))
        self.followers.append([])
        self.waiting.append(0)
        return len(self.leaves) - 1

    def _edge(self, before: int, after: int) -> None:
        self.followers[before].append(after)
        self.waiting[after] += 1

    def _freed(self, i: int) -> Iterator[int]:
        for follower in self.followers[i]:
            self.waiting[follower] -= 1
            if self.waiting[follower] == 0:
                yield follower

    def _release(self, nodes: Iterable[int]) -> None:
        queue = list(nodes)
        while queue:
            i = queue.pop()
            if self.leaves[i] is None:
                queue.extend(self._freed(i))
            else:
                self.ready[i] = None


class _Commuting:
    """On one qubit: the latest leaves that commute there, and the node that stands before them."""

    def __init__(self) -> None:
        self.axis: str | None = None
        self.members: list[int] = []
        self.before: int | None = None
        self.twins: dict[tuple[int, ...], int] = {}


class _Growing(NamedTuple):
    """A dense block while it takes in qubits.

    Attributes:
        mask: its qubits.
        block: what it holds.
        edge: leaves ready after it that need more qubits.
    """

    mask: int
    block: Block
    edge: list[int]


class _Chooser:
    """The next step: of the steps that can take in the oldest ready leaf, the one with most gates for its cost."""

    def __init__(self, graph: Graph, limits: Limits):
        self.graph, self.limits = graph, limits
        self.everything = (1 << limits.n_qubits) - 1
        # Narrow rotations alone are better off in dense blocks.
        self.has_rotations = "rotation" in graph.kinds

    def next_step(self, data: bool) -> tuple[str, list[int]]:
        """Kind and leaves of the next step."""
        graph = self.graph
        # Diagonal gates that are put off wait until nothing else is ready, so that one pass takes as many as possible;
        # not on wide registers, where they would need many tables with scattered qubits.
        late = "diagonal" if self.limits.defer and self.limits.n_qubits <= FULL_REGISTER else ""
        seed = min((i for i in graph.ready if graph.leaf(i).data == data), key=lambda i: (graph.kinds[i] == late, i))
        kinds = {"diagonal": ("diagonal", "monomial", "dense"), "monomial": ("monomial", "dense")}
        options = []
        for each in kinds.get(graph.kinds[seed], ("dense",)):
            if each == "dense":
                options.append(self._dense(seed, data))
            elif found := self._wide(each, data):
                options.append(found)
        if self.limits.singles and graph.singles[seed] and graph.kinds[seed] == "dense":
            options.append(self._singles())
        if self.has_rotations and graph.rotations[seed]:
            options.append(self._rotations(data, True))
            if graph.kinds[seed] == "rotation":
                options.append(self._rotations(data, False))
        best = max(options, key=lambda block: block.worth)
        return best.kind, best.members

    def _wide(self, name: str, data: bool) -> Block | None:
        """All ready leaves of one structure, wherever they are."""
        graph, limits = self.graph, self.limits
        if name == "monomial":
            if limits.n_qubits > FULL_REGISTER or data:
                return None
            members, _ = graph.absorb(self.everything, self._constant_monomial)
            price = cost.monomial(limits.amplitudes)
        else:
            members, _ = graph.absorb(
                self.everything,
                lambda i: graph.kinds[i] == "diagonal" and graph.leaf(i).data == data,
            )
            price = cost.diagonal(2, limits.amplitudes)
        return Block(self._weight(members) / price, name, members) if members else None

    def _rotations(self, data: bool, narrow: bool) -> Block:
        """Ready rotations about Pauli strings, narrow ones too or not, in an order that is possible."""
        graph = self.graph

        def accept(i: int) -> bool:
            wanted = graph.rotations[i] if narrow else graph.kinds[i] == "rotation"
            return wanted and graph.leaf(i).data == data

        members, _ = graph.absorb(self.everything, accept, LONGEST_LOOP)
        price = cost.rotations(len(members), self.limits.amplitudes)
        return Block(self._weight(members) / price, "rotation", members)

    def _singles(self) -> Block:
        """All ready gates of data on single qubits."""
        members, _ = self.graph.absorb(self.everything, lambda i: self.graph.singles[i])
        qubits = {qubit for i in members for qubit in self.graph.leaf(i).qubits}
        price = cost.singles(len(qubits), self.limits.amplitudes, self.limits.columns)
        return Block(self._weight(members) / price, "singles", members)

    def _constant_monomial(self, i: int) -> bool:
        leaf = self.graph.leaf(i)
        single = len(leaf.factors) == 1 and isinstance(leaf.factors[0], np.ndarray)
        return single and self.graph.kinds[i] in ("monomial", "diagonal")

    def _dense(self, seed: int, data: bool) -> Block:
        """A block around the oldest leaf, widened by what brings most gates for each qubit, cut where it pays best."""
        graph, limits = self.graph, self.limits
        mask = graph.masks[seed]
        limit = max(limits.data_block if data else limits.block, mask.bit_count())
        found, edge = graph.absorb(mask, self._accepts(data))
        now: _Growing | None = _Growing(mask, self._block(found, mask), edge)
        stages = []
        while now is not None:
            stages.append(now.block)
            now = self._grown(now, limit, data)
        return max(stages, key=lambda block: block.worth)

    def _accepts(self, data: bool) -> Accept:
        return lambda i: self.graph.leaf(i).data == data

    def _grown(self, now: "_Growing", limit: int, data: bool) -> "_Growing | None":
        """The block with a few qubits more, those that it touches first; None where no gate is gained."""
        for touching in (True, False):
            best, most = None, 0.0
            for mask in self._widened(now.mask, now.edge, limit, touching):
                found, edge = self.graph.absorb(mask, self._accepts(data))
                block = self._block(found, mask)
                gained = self._weight(block.members) - self._weight(now.block.members)
                if gained / (mask ^ now.mask).bit_count() > most:
                    best, most = _Growing(mask, block, edge), gained / (mask ^ now.mask).bit_count()
            if best is not None:
                return best
        return None

    def _block(self, members: list[int], mask: int) -> Block:
        """The leaves of a dense block and their weight for its cost."""
        if self.limits.defer:
            members = self._without_loose_ends(members)
        # Each rotation about a longer Pauli string is a layer of its own.
        layers = 2 + sum(self.graph.kinds[i] == "rotation" for i in members)
        price = cost.dense(mask.bit_count(), self.limits.amplitudes, layers)
        return Block(self._weight(members) / price, "dense", members)

    def _without_loose_ends(self, members: list[int]) -> list[int]:
        """Leave out diagonal gates on several qubits that nothing in the block waits for, unless nothing is left."""
        graph = self.graph
        kept: set[int] = set()
        for i in reversed(members):
            loose = graph.kinds[i] == "diagonal" and graph.weights[i] > 1 and not graph.leads_to(i, kept)
            if not loose:
                kept.add(i)
        return [i for i in members if i in kept] or members

    def _widened(self, mask: int, edge: list[int], limit: int, touching: bool) -> list[int]:
        """Sets of qubits that take in one leaf more, which shares qubits with the block or not."""
        graph = self.graph
        found: dict[int, None] = {}
        for i in sorted(edge):
            wider = mask | graph.masks[i]
            if bool(mask & graph.masks[i]) == touching and wider.bit_count() <= limit:
                found[wider] = None
                if len(found) == CANDIDATES:
                    break
        return list(found)

    def _weight(self, members: list[int]) -> int:
        return sum(self.graph.weights[i] for i in members)
