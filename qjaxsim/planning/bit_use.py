"""Which classical bits need a wire of their own: what is measured is read later, at the end, or not at all. NumPy only.

A measurement into a bit that nothing reads takes the qubit's coherences and leaves nothing else. One that is the last
thing that happens to its qubit needs not happen at all: at the end the qubit holds the bit.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.measurements import Measure, ReadoutError
from qjaxsim.circuits.operations import Conditional, Operation


@dataclass(frozen=True)
class BitUse:
    """What becomes of a circuit's measurements.

    Attributes:
        unread: places of measurements into bits that nothing reads.
        last: those of them behind which nothing happens to their qubit.
        held: by bit that is asked for the place of the measurement whose qubit holds it to the end.
        wires: the bits that need wires, ascending.
    """

    unread: frozenset[int]
    last: frozenset[int]
    held: Mapping[int, int]
    wires: tuple[int, ...]


def bit_use(operations: Sequence[Operation], asked: Collection[int] = ()) -> BitUse:
    """The use of bits by operations and by what is asked for at the end.

    >>> sent = Circuit(3).h(1).measure([0, 1, 2], [0, 1, 2]).if_bits(1, 1, Circuit(3).x(0))
    >>> bit_use(sent.operations, asked=[2])
    BitUse(unread=frozenset({1}), last=frozenset(), held={2: 3}, wires=(1,))
    """
    walk = _Backwards(set(asked))
    for place in reversed(range(len(operations))):
        walk.add(place, operations[place])
    never_measured = walk.read & set(asked)
    return BitUse(frozenset(walk.unread), frozenset(walk.last), walk.held, tuple(sorted(walk.used | never_measured)))


def without_last(circuit: Circuit, coherent: Collection[int] = (), asked: Collection[int] = ()) -> Circuit:
    """A circuit without measurements at its end that change nothing of what is read.

    Args:
        circuit: any.
        coherent: qubits of which more is read than how often they are 0 or 1.
        asked: classical bits that are read.

    >>> [op.key[0] for op in without_last(Circuit(2).h(0).measure([0, 1], [0, 1]), coherent=[1]).operations]
    ['gate', 'measure']
    """
    use = bit_use(circuit.operations, asked)
    gone = {place for place in use.last if circuit.operations[place].qubits[0] not in coherent}
    if not gone:
        return circuit
    return Circuit(circuit.n_qubits).extend(op for place, op in enumerate(circuit.operations) if place not in gone)


@dataclass
class _Backwards:
    """Operations from the last to the first.

    Attributes:
        read: bits whose value matters to what comes later.
        used: bits that have a wire in what comes later.
        touched: qubits that something happens to later.
        unread, last, held: as in `BitUse`.
    """

    read: set[int]
    used: set[int] = field(default_factory=set)
    touched: set[int] = field(default_factory=set)
    unread: set[int] = field(default_factory=set)
    last: set[int] = field(default_factory=set)
    held: dict[int, int] = field(default_factory=dict)

    def add(self, place: int, operation: Operation) -> None:
        if isinstance(operation, Measure):
            self._measured(place, operation)
        elif not isinstance(operation, ReadoutError):  # which is no part of the state
            self.touched.update(operation.qubits)
        if isinstance(operation, Conditional):
            bits = _all_bits(operation)
            self.read |= bits
            self.used |= bits

    def _measured(self, place: int, operation: Measure) -> None:
        touched = operation.qubit in self.touched
        if operation.bit not in self.read:
            self.unread.add(place)
            if not touched:  # nor does it touch: how often the qubit is 0 or 1 stays
                self.last.add(place)
            return
        self.read.remove(operation.bit)
        self.touched.add(operation.qubit)
        if touched or operation.bit in self.used:
            self.used.add(operation.bit)
        else:
            self.held[operation.bit] = place


def _all_bits(operation: Conditional) -> set[int]:
    """The bits that a condition, or anything inside it, reads or writes."""
    found = set(operation.bits)
    for inner in operation.circuit.operations:
        if isinstance(inner, Conditional):
            found |= _all_bits(inner)
        elif isinstance(inner, Measure):
            found.add(inner.bit)
    return found
