"""Measurements on the way, resets and conditions, as circuits without any. NumPy only, no JAX.

Two ways, both exact and with all outcomes followed at once. *Deferral*: a measurement copies the qubit's bit to a fresh
wire by a CX, a condition becomes a control on that wire, a reset swaps a fresh wire in: a pure state of n wires and one
more for each measurement and reset. *Density matrices* (`doubling`): two wires for each qubit and one for each
classical bit that is read, however often they are used. The one with fewer wires is taken; channels need the second.
Bits that qubits hold to the end need no wire in either (`bit_use`).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.inspection import has_projection, is_static, is_unitary
from qjaxsim.circuits.measurements import Measure, ReadoutError, Reset
from qjaxsim.circuits.operations import Conditional, Gate, Operation, Repeat, Unitary
from qjaxsim.planning.bit_use import BitUse, bit_use
from qjaxsim.planning.doubling import bit_wires, conditional, doubled, is_noisy
from qjaxsim.planning.layers import written_out
from qjaxsim.planning.readout import Errors


@dataclass(frozen=True, eq=False)
class Lowered:
    """A circuit as the planner takes it, and where what is asked for stands.

    Attributes:
        circuit: without measurements, resets, conditions, channels and readout errors.
        n_qubits: of the circuit that was given; they are the first wires.
        bits: the wires that hold the classical bits at the end, of those asked for.
        misread: by bit, what such a wire is read by where the bit may differ from it, (2, 2).
        is_density: whether the state is a density matrix: n wires of rows, n of columns, then classical bits.
        has_trajectories: whether `qj.trajectories` takes the circuit that was given, with its channels.
    """

    circuit: Circuit
    n_qubits: int
    bits: Mapping[int, int]
    misread: Errors
    is_density: bool
    has_trajectories: bool = False


def lowered(circuit: Circuit, asked: Collection[int] = ()) -> Lowered:
    """The circuit in the form that is run, for what is asked for at its end: classical bits, or none but qubits.

    >>> teleported = Circuit(3).h(1).cx(1, 2).cx(0, 1).h(0).measure([0, 1], [0, 1])
    >>> lowered(teleported.if_bits(1, 1, Circuit(3).x(2)).if_bits(0, 1, Circuit(3).z(2))).circuit.n_qubits
    5
    """
    n, use = circuit.n_qubits, bit_use(circuit.operations, asked)
    held = {bit: circuit.operations[place] for bit, place in use.held.items()}
    misread = {bit: op.matrix() for bit, op in held.items() if isinstance(op, Measure) and op.is_misread}
    ends = {bit: op.qubits[0] for bit, op in held.items()}
    if _is_density(circuit, use, asked):
        followed = is_static(circuit.operations) and not has_projection(circuit.operations)
        return Lowered(doubled(circuit, use), n, bit_wires(circuit, use) | ends, misread, True, followed)
    if is_static(circuit.operations):
        return Lowered(circuit, n, {}, {}, False)
    deferred = _Deferred(n, _fresh(circuit, use, asked))
    for place, operation in enumerate(circuit.operations):
        if place not in use.held.values():
            deferred.add(operation)
    return Lowered(deferred.out, n, deferred.finish(set(asked) - held.keys()) | ends, misread, False)


def needs_density(circuit: Circuit) -> bool:
    """Whether a circuit of whose end qubits are read, not bits, is run as a density matrix."""
    return _is_density(circuit, bit_use(circuit.operations), ())


def _is_density(circuit: Circuit, use: BitUse, asked: Collection[int]) -> bool:
    if is_noisy(circuit) or not _can_defer(circuit.operations, use):
        return True
    return _fresh(circuit, use, asked) > circuit.n_qubits + len(use.wires)


def _fresh(circuit: Circuit, use: BitUse, asked: Collection[int]) -> int:
    """How many wires deferral would add: for measurements, resets, and bits asked for that nothing is measured into."""
    measured = {operation.bit for operation in circuit.operations if isinstance(operation, Measure)}
    operations = sum(isinstance(operation, Measure | Reset) for operation in circuit.operations)
    return operations - len(use.held) + len(set(asked) - measured)


def _can_defer(operations: Sequence[Operation], use: BitUse) -> bool:
    """Whether conditions hold gates alone, and bits on wires are outcomes as they are."""
    without = {*use.unread, *use.held.values()}
    for place, op in enumerate(operations):
        if isinstance(op, Measure) and op.is_misread and place not in without:
            return False
        if isinstance(op, Conditional) and not is_unitary(op.circuit.operations):
            return False
    return True


class _Deferred:
    """The circuit without measurements while it grows."""

    def __init__(self, n_qubits: int, fresh: int):
        self.n_qubits, self.used = n_qubits, n_qubits
        self.out = Circuit(n_qubits + fresh)
        self.wires = list(range(n_qubits))  # by qubit
        self.bits: dict[int, int] = {}  # by classical bit that was measured

    def _fresh(self) -> int:
        self.used += 1
        return self.used - 1

    def add(self, operation: Operation) -> None:
        """One operation."""
        if isinstance(operation, Measure):
            wire = self._fresh()
            self.out.cx(self.wires[operation.qubit], wire)
            self.bits[operation.bit] = wire
        elif isinstance(operation, Reset):
            self.wires[operation.qubit] = self._fresh()
        elif isinstance(operation, Conditional):
            self._conditional(operation)
        elif isinstance(operation, Repeat):
            self.out.extend([operation.on(self.wires, self.out.n_qubits)])
        elif not isinstance(operation, ReadoutError):
            self.out.extend([operation.on(self.wires)])

    def _conditional(self, operation: Conditional) -> None:
        held = [(self.bits.get(bit), value) for bit, value in zip(operation.bits, operation.values, strict=True)]
        if any(wire is None and value for wire, value in held):
            return  # nothing was measured into that bit: it is 0
        known = [(wire, value) for wire, value in held if wire is not None]
        inner = [
            op.on(self.wires) for op in written_out(operation.circuit.operations) if isinstance(op, Gate | Unitary)
        ]
        self.out.extend(conditional(inner, [wire for wire, _ in known], [value for _, value in known]))

    def finish(self, asked: Collection[int]) -> dict[int, int]:
        """Bring each qubit to the wire of its number, and give the wires of bits, one to each that is asked for."""
        bits = self.bits | {bit: self._fresh() for bit in sorted(set(asked) - self.bits.keys())}
        place = {qubit: wire for qubit, wire in enumerate(self.wires) if wire != qubit}
        for qubit, wire in place.items():
            self.out.swap(qubit, wire)
        return bits
