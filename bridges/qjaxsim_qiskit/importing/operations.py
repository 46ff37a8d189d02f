"""Qiskit's operations one by one: taken over, taken apart, skipped or refused.

Operations are told by their class, never by their name: a gate called "x" may do anything, and controls may be open.
"""

import cmath
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.expressions import Expression
from qjaxsim.circuits.gates import GATES
from qjaxsim.circuits.inspection import written_bits
from qjaxsim.circuits.noise_places import RESET
from qjaxsim_qiskit.channels import channel_of
from qjaxsim_qiskit.meaning.angles import angle_of
from qjaxsim_qiskit.meaning.blocks import written_block
from qjaxsim_qiskit.meaning.conditions import branches
from qjaxsim_qiskit.meaning.constants import SECONDS
from qjaxsim_qiskit.meaning.definitions import definition_of, lowered, matrix_of
from qjaxsim_qiskit.meaning.delays import awaits_schedule
from qjaxsim_qiskit.meaning.layouts import has_no_effect
from qjaxsim_qiskit.meaning.preparations import prepared_state, sets_state
from qjaxsim_qiskit.ordering import matrix_qubits, reverse_matrix

if TYPE_CHECKING:
    from qiskit import QuantumCircuit


class Reader:
    """Appends Qiskit's operations to our circuit.

    Attributes:
        out: our circuit.
        symbols: Qiskit's parameters as ours.
        evolution: what a PauliEvolutionGate is, as in `from_qiskit`.
        bits: numbers of the classical bits.
        touched: our qubits that something acted on.
    """

    def __init__(self, out: Circuit, symbols: Mapping[Any, Expression], evolution: str, clbits: Sequence[Any]):
        from qiskit.circuit.library import get_standard_gate_name_mapping

        self.out, self.symbols, self.evolution = out, symbols, evolution
        self.bits = {bit: number for number, bit in enumerate(clbits)}
        self.touched: set[int] = set()
        mapping = get_standard_gate_name_mapping()
        self.names = {gate.base_class: name for name, gate in mapping.items() if name in GATES}

    def circuit(self, circuit: "QuantumCircuit", qubits: Sequence[int], places: Iterable[str]) -> None:
        """All operations of a circuit or definition whose qubit i is our `qubits[i]`, and its global phase."""
        from qiskit.circuit import ControlFlowOp, Measure

        for place, instruction in zip(places, circuit.data, strict=False):
            own = [qubits[circuit.find_bit(bit).index] for bit in instruction.qubits]
            if isinstance(instruction.operation, Measure):
                (bit,) = instruction.clbits
                self.touched |= set(own)
                self.out.measure(own[0], self.bits[bit])
            elif isinstance(instruction.operation, ControlFlowOp):
                self.touched |= set(own)
                self.branches(instruction, own, place)
            else:
                self.operation(instruction, own, place)
        phase = angle_of(circuit.global_phase, self.symbols, f"the global phase of circuit {circuit.name!r}")
        if isinstance(phase, Expression) or phase:
            self.out.global_phase(phase)

    def branches(self, instruction: Any, qubits: list[int], place: str) -> None:
        """A branch on classical bits: each of its blocks under its conditions."""
        own = [self.bits[bit] for bit in instruction.clbits]
        found = branches(instruction.operation)
        taken: set[tuple[int, ...]] = set()
        for number, branch in enumerate(found):
            bits = [self.bits[bit] for bit in branch.bits]
            block = self.block(branch.block, qubits, own, f"{place}.{number}")
            if len(found) > 1 or len(branch.values or ()) > 1:
                _require_untouched(bits, block, f"operation {place} ({instruction.name})")
            if branch.values is None and len(taken) == 1:  # the values differ at one of the bits
                self.out.if_bits(bits, taken.pop(), Circuit(self.out.n_qubits), block)
                return
            every = itertools.product((0, 1), repeat=len(bits)) if branch.values is None else branch.values
            for values in every:
                if values not in taken:
                    self.out.if_bits(bits, values, block)
                    taken.add(values)

    def block(self, block: "QuantumCircuit", qubits: Sequence[int], bits: Sequence[int], place: str) -> Circuit:
        """A block on these qubits and bits as a circuit of all our qubits, none of which is fresh."""
        plain, written = written_block(block, self.evolution, place)
        inner = Reader(Circuit(self.out.n_qubits), self.symbols, self.evolution, ())
        # A block's own bits stand for those of the instruction in turn, whatever they are called.
        inner.bits = dict(zip(plain.clbits, bits, strict=True))
        inner.touched = set(range(self.out.n_qubits))
        inner.circuit(plain, qubits, (f"{place}.{item.place}" for item in written.items))
        return inner.out

    def operation(self, instruction: Any, qubits: list[int], place: str) -> None:
        """One operation: refused, skipped, taken over, or taken apart."""
        from qiskit.circuit import Delay, Reset

        operation = instruction.operation
        where = f"operation {place} ({operation.name})"
        if isinstance(operation, Delay):
            self._delay(operation, qubits, where)
            return
        if has_no_effect(operation):
            return
        if self._is_first_reset(operation, qubits):
            self.out.append("id", qubits, label=RESET)  # noise may follow it all the same
            return
        if isinstance(operation, Reset):
            self.out.reset(qubits)
            return
        state = None if self.touched & set(qubits) else prepared_state(operation)
        if state is not None:
            self.touched |= set(qubits)
            self.out.initialize(state, matrix_qubits(qubits))
            return
        if sets_state(operation):
            raise ValueError(f"The circuit's {where} sets the state of qubits that are in use; set it first.")
        name = self.names.get(getattr(operation, "base_class", None)) or _many_controls(operation)
        # Subclasses of standard gates are these to Qiskit, whatever they define.
        if name is not None or (instruction.is_standard_gate() and instruction.name in GATES):
            self.touched |= set(qubits)
            self._standard(name or instruction.name, operation, qubits, where)
            return
        if (channel := channel_of(operation)) is not None:
            self.touched |= set(qubits)
            self.out.extend([channel.on(qubits)])
            return
        matrix = matrix_of(instruction, where)
        if matrix is not None and not qubits:  # as a power of a global phase
            self.out.global_phase(cmath.phase(complex(matrix.item())))
            return
        if matrix is not None:
            self.touched |= set(qubits)
            label = operation.label or operation.name
            # On the qubits in Qiskit's order, by which noise finds its own.
            self.out.unitary(reverse_matrix(matrix), qubits, label)
            return
        definition = definition_of(operation, where)
        inner = (f"{place}.{number}" for number in itertools.count())
        self.circuit(lowered(operation, where) if definition is None else definition, qubits, inner)

    def _delay(self, delay: Any, qubits: list[int], where: str) -> None:
        """A delay in seconds, or in units that only a device knows; one that a schedule is to find does nothing."""
        if awaits_schedule(delay):
            return
        time = angle_of(delay.duration, self.symbols, where)
        if delay.unit == "dt":
            self.out.delay_dt(time, qubits)
        else:
            self.out.delay(time if delay.unit == "s" else time * SECONDS[delay.unit], qubits)

    def _is_first_reset(self, operation: Any, qubits: Sequence[int]) -> bool:
        from qiskit.circuit import Reset

        return isinstance(operation, Reset) and not self.touched & set(qubits)

    def _standard(self, name: str, operation: Any, qubits: list[int], where: str) -> None:
        """Take over a gate of the standard table, its open controls between X gates."""
        angles = [angle_of(angle, self.symbols, where) for angle in operation.params]
        controls = qubits[: getattr(operation, "num_ctrl_qubits", 0)]
        # Bit i of the pattern belongs to control i.
        open_ones = [qubit for bit, qubit in enumerate(controls) if not operation.ctrl_state >> bit & 1]
        for qubit in open_ones:
            self.out.x(qubit)
        self.out.append(name, qubits, angles, operation.label or "")
        for qubit in open_ones:
            self.out.x(qubit)


def _require_untouched(bits: Sequence[int], block: Circuit, where: str) -> None:
    """Refuse a branch that changes what the next one asks."""
    if written := sorted(written_bits(block.operations) & set(bits)):
        raise ValueError(
            f"The circuit's {where} asks bits {written} more than once, and measures into them in a branch; measure "
            "into other bits."
        )


def _many_controls(operation: Any) -> str | None:
    """Our name of a phase with several controls."""
    from qiskit.circuit.library import MCPhaseGate

    several = isinstance(operation, MCPhaseGate) and operation.num_ctrl_qubits > 1
    return f"mcp{operation.num_ctrl_qubits}" if several else None
