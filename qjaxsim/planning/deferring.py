"""Measurements on the way, resets and conditions, as circuits without any. NumPy only, no JAX.

Two ways, both exact and with all outcomes followed at once. *Deferral*: a measurement copies the qubit's bit to a fresh
wire by a CX, a condition becomes a control on that wire, a reset swaps a fresh wire in: a pure state of n wires and one
more for each measurement and reset. *Density matrices* (`doubling`): two wires for each qubit and one for each
classical bit, however often they are used. The one with fewer wires is taken; channels need the second.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.inspection import has_projection, is_static, is_unitary
from qjaxsim.circuits.measurements import Measure, ReadoutError, Reset
from qjaxsim.circuits.operations import Conditional, Gate, Operation, Repeat, Unitary
from qjaxsim.planning.doubling import conditional, doubled, is_noisy
from qjaxsim.planning.layers import written_out


@dataclass(frozen=True, eq=False)
class Lowered:
    """A circuit as the planner takes it, and where what is asked for stands.

    Attributes:
        circuit: without measurements, resets, conditions, channels and readout errors.
        n_qubits: of the circuit that was given; they are the first wires.
        bits: the wires that hold the classical bits at the end.
        is_density: whether the state is a density matrix: n wires of rows, n of columns, then the classical bits.
        has_trajectories: whether `qj.trajectories` takes the circuit that was given, with its channels.
    """

    circuit: Circuit
    n_qubits: int
    bits: tuple[int, ...]
    is_density: bool
    has_trajectories: bool = False


def lowered(circuit: Circuit) -> Lowered:
    """The circuit in the form that is run.

    >>> teleported = Circuit(3).h(1).cx(1, 2).cx(0, 1).h(0).measure([0, 1], [0, 1])
    >>> lowered(teleported.if_bits(1, 1, Circuit(3).x(2)).if_bits(0, 1, Circuit(3).z(2))).circuit.n_qubits
    5
    """
    n, bits = circuit.n_qubits, circuit.n_bits
    if needs_density(circuit):
        followed = is_static(circuit.operations) and not has_projection(circuit.operations)
        return Lowered(doubled(circuit), n, tuple(range(2 * n, 2 * n + bits)), True, followed)
    if is_static(circuit.operations):
        return Lowered(circuit, n, (), False)
    deferred = _Deferred(n, bits, _fresh(circuit) + _never_measured(circuit))
    for operation in circuit.operations:
        deferred.add(operation)
    return deferred.finish()


def needs_density(circuit: Circuit) -> bool:
    """Whether a circuit is run as a density matrix."""
    if is_noisy(circuit) or not _can_defer(circuit.operations):
        return True
    return _fresh(circuit) > circuit.n_qubits + circuit.n_bits


def _fresh(circuit: Circuit) -> int:
    """How many wires deferral would add."""
    return sum(isinstance(operation, Measure | Reset) for operation in circuit.operations)


def _can_defer(operations: Sequence[Operation]) -> bool:
    """Whether conditions hold gates alone, and bits are outcomes as they are."""
    if any(op.is_misread for op in operations if isinstance(op, Measure)):
        return False
    return all(is_unitary(op.circuit.operations) for op in operations if isinstance(op, Conditional))


def _never_measured(circuit: Circuit) -> int:
    """How many classical bits nothing is measured into."""
    return circuit.n_bits - len({operation.bit for operation in circuit.operations if isinstance(operation, Measure)})


class _Deferred:
    """The circuit without measurements while it grows."""

    def __init__(self, n_qubits: int, n_bits: int, fresh: int):
        self.n_qubits, self.used = n_qubits, n_qubits
        self.out = Circuit(n_qubits + fresh)
        self.wires = list(range(n_qubits))  # by qubit
        self.bits: list[int | None] = [None] * n_bits  # by classical bit

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
        held = [(self.bits[bit], value) for bit, value in zip(operation.bits, operation.values, strict=True)]
        if any(wire is None and value for wire, value in held):
            return  # nothing was measured into that bit: it is 0
        known = [(wire, value) for wire, value in held if wire is not None]
        inner = [
            op.on(self.wires) for op in written_out(operation.circuit.operations) if isinstance(op, Gate | Unitary)
        ]
        self.out.extend(conditional(inner, [wire for wire, _ in known], [value for _, value in known]))

    def finish(self) -> Lowered:
        """The circuit with each qubit on the wire of its number, and a wire for every classical bit."""
        bits = [self._fresh() if wire is None else wire for wire in self.bits]
        place = {qubit: wire for qubit, wire in enumerate(self.wires) if wire != qubit}
        for qubit, wire in place.items():
            self.out.swap(qubit, wire)
        return Lowered(self.out, self.n_qubits, tuple(bits), False)
