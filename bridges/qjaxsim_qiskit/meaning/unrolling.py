"""Qiskit circuits with all that is decided before the run written out.

Boxes, loops over fixed values and branches on constants become what they do; evolutions become their product formulas,
or exact; sub-circuits with measurements show them; instructions that only tell a simulator what to save go.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from qjaxsim_qiskit.meaning.conditions import bits_asked
from qjaxsim_qiskit.meaning.constants import NotConstantError, constant
from qjaxsim_qiskit.meaning.controlled import plain_controls
from qjaxsim_qiskit.meaning.definitions import as_gate, definition_of, matrix_of
from qjaxsim_qiskit.meaning.delays import operation_of
from qjaxsim_qiskit.meaning.evolution import exact_evolution
from qjaxsim_qiskit.meaning.preparations import prepared_state, sets_state
from qjaxsim_qiskit.meaning.runtime import in_qiskits_terms

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

# Loops that write out more than this would take minutes and fill the memory.
MOST_OPERATIONS = 1_000_000
# Operations of a loop's body that may hold its end.
_MAY_END = ("break_loop", "if_else", "switch_case", "box")


@dataclass(frozen=True)
class Item:
    """An operation of the circuit.

    Attributes:
        operation: Qiskit's, or an instruction that holds it.
        qubits: it acts on, by number.
        clbits: it acts on, by number.
        place: in the circuit that was given, as "3" or "3.0" for the first operation of the fourth.
        asked: classical bits that a branch asks for, by number, which its blocks may not hold.
    """

    operation: Any
    qubits: tuple[int, ...]
    clbits: tuple[int, ...]
    place: str
    asked: tuple[int, ...] = ()

    @property
    def where(self) -> str:
        """The operation's place and name, for messages."""
        return f"operation {self.place} ({self.operation.name})"


@dataclass
class Unrolled:
    """All operations of a circuit in order, its global phase, and what was written out.

    Attributes:
        evolutions: how many of these.
        renamed: names of instructions of IBM's runtime in whose place Qiskit's own stand.
    """

    items: list[Item] = field(default_factory=list)
    phase: Any = 0.0
    evolutions: int = 0
    renamed: set[str] = field(default_factory=set)


def unrolled(circuit: "QuantumCircuit", evolution: str, place: str = "") -> Unrolled:
    """The circuit's operations, written out as far as nothing depends on a measurement; branches on bits stay.

    Args:
        circuit: Qiskit's.
        evolution: "synthesis" or "exact", what evolutions become.
        place: of the operation whose block it is, for messages.

    Raises:
        ValueError: for control flow that depends on classical bits, instructions that set a state, stored values,
            gates that cannot be taken apart, and loops that are too long, naming the operation and its place.
    """
    writer = _Unroller(evolution, circuit)
    try:
        writer.circuit(circuit, range(circuit.num_qubits), range(circuit.num_clbits), "", {})
    except (_BreakLoop, _NextTurn):
        raise ValueError(
            f"The circuit's operation {place} ends a loop, or a turn of it, depending on measured bits, which cannot "
            "be followed; write the turns out with conditions."
        ) from None
    return writer.out


class _BreakLoop(Exception):
    """A loop that is being written out ends."""


class _NextTurn(Exception):
    """The turn of a loop that is being written out ends."""


class _Unroller:
    def __init__(self, evolution: str, top: "QuantumCircuit"):
        from qiskit.circuit.library import MCPhaseGate, MCXGate, get_standard_gate_name_mapping

        self.standard = {gate.base_class for gate in get_standard_gate_name_mapping().values()} | {MCPhaseGate, MCXGate}
        self.evolution, self.clbits = evolution, {bit: number for number, bit in enumerate(top.clbits)}
        self.out = Unrolled()
        self.turns = 0
        # By identity, with the object itself: identities of objects that are gone come back.
        self.known: dict[int, tuple[Any, bool]] = {}

    def circuit(
        self,
        circuit: "QuantumCircuit",
        qubits: Sequence[int],
        clbits: Sequence[int],
        prefix: str,
        variables: Mapping[Any, int],
    ) -> None:
        """All operations of a circuit whose qubit i is `qubits[i]` and whose bit i is `clbits[i]`."""
        numbers = {bit: number for number, bit in enumerate(circuit.qubits)}
        own_bits = dict(zip(circuit.clbits, clbits, strict=True))
        self.out.phase = self.out.phase + circuit.global_phase
        for number, instruction in enumerate(circuit.data):
            own = tuple([qubits[numbers[bit]] for bit in instruction.qubits])
            if instruction.is_standard_gate():
                self.out.items.append(Item(instruction.operation, own, (), f"{prefix}{number}"))
            else:
                bits, place = tuple(own_bits[bit] for bit in instruction.clbits), f"{prefix}{number}"
                item = Item(operation_of(instruction, f"operation {place} (delay)"), own, bits, place)
                _require_own_width(item)
                self.operation(item, variables, own_bits)

    def operation(self, item: Item, variables: Mapping[Any, int], bits: Mapping[Any, int]) -> None:
        """One operation, kept or written out, of a circuit whose bits have these numbers."""
        from qiskit.circuit import AnnotatedOperation, BreakLoopOp, ContinueLoopOp, ControlFlowOp

        operation = item.operation
        if isinstance(operation, ControlFlowOp):
            self.control_flow(item, variables, bits)
        elif isinstance(operation, BreakLoopOp):
            raise _BreakLoop
        elif isinstance(operation, ContinueLoopOp):
            raise _NextTurn
        elif (plain := in_qiskits_terms(operation)) is not None:
            self.out.renamed.add(operation.name)
            self.circuit(plain, item.qubits, item.clbits, f"{item.place}.", variables)
        elif (evolved := self.evolved(operation, item.where)) is not None:
            self.circuit(evolved, item.qubits, item.clbits, f"{item.place}.", variables)
        elif _is_skipped(operation, item.where):
            return
        elif isinstance(operation, AnnotatedOperation):
            plain = plain_controls(operation) or self.annotated(operation, item.where)
            self.out.items.append(replace(item, operation=plain))
        elif self.is_written_out(operation, item.where):
            definition = definition_of(operation, item.where)
            assert definition is not None
            self.circuit(definition, item.qubits, item.clbits, f"{item.place}.", variables)
        else:
            self.out.items.append(item)

    def evolved(self, operation: Any, where: str) -> "QuantumCircuit | None":
        """The circuit of an evolution that is not simply a matrix."""
        from qiskit.circuit.library import HamiltonianGate, PauliEvolutionGate

        if isinstance(operation, PauliEvolutionGate):
            self.out.evolutions += 1
            if self.evolution == "exact":
                return exact_evolution(operation, where)
            return definition_of(operation, where)
        if isinstance(operation, HamiltonianGate) and operation.is_parameterized():
            return exact_evolution(operation, where)
        return None

    # --- definitions ---------------------------------------------------------------------------------------------

    def is_written_out(self, operation: Any, where: str) -> bool:
        """Whether the definition holds anything, at any depth, that must be seen here."""
        from qiskit.circuit import Barrier, ControlFlowOp, Delay, Measure
        from qiskit.circuit.library import UnitaryGate

        if isinstance(operation, UnitaryGate) or getattr(operation, "base_class", None) in self.standard:
            return False
        if prepared_state(operation) is not None:  # whose gates take seconds to find, and hold nothing of the kind
            return False
        if (known := self.known.get(id(operation))) is not None and known[0] is operation:
            return known[1]
        found = False
        if (definition := definition_of(operation, where)) is not None:
            found = any(
                isinstance(inner, ControlFlowOp | Delay | Measure)
                or (getattr(inner, "_directive", False) and not isinstance(inner, Barrier))
                or _evolves(inner)
                or in_qiskits_terms(inner) is not None
                or self.is_written_out(inner, where)
                for inner in (operation_of(each, where) for each in definition.data)
            )
        self.known[id(operation)] = (operation, found)
        return found

    def annotated(self, operation: Any, where: str) -> Any:
        """The operation with a base that means the same to everybody: a standard gate, a matrix, or its definition."""
        from qiskit import QuantumCircuit
        from qiskit.circuit import AnnotatedOperation
        from qiskit.circuit.library import UnitaryGate

        base = operation.base_op
        alone = QuantumCircuit(base.num_qubits)
        alone.append(base, range(base.num_qubits))
        (instruction,) = alone.data
        base = instruction.operation  # as a Pauli of an operator class, which Qiskit makes a gate
        if instruction.is_standard_gate() or isinstance(base, UnitaryGate):
            return operation
        if isinstance(base, AnnotatedOperation):
            return AnnotatedOperation(self.annotated(base, where), operation.modifiers)
        plain = QuantumCircuit(base.num_qubits, name=f"{base.name} as defined")
        if (definition := self.evolved(base, where)) is None:
            definition = definition_of(base, where)
        if definition is not None:
            inner = unrolled(definition, self.evolution)
            self.out.evolutions += inner.evolutions
            plain.global_phase = inner.phase
            for item in inner.items:
                plain.append(item.operation, item.qubits)
        elif (matrix := matrix_of(instruction, where)) is not None:
            plain.append(UnitaryGate(matrix), range(base.num_qubits))
        else:
            return operation
        return AnnotatedOperation(as_gate(plain, where), operation.modifiers)

    # --- control flow --------------------------------------------------------------------------------------------

    def control_flow(self, item: Item, variables: Mapping[Any, int], bits: Mapping[Any, int]) -> None:
        """What a box, a loop over fixed values or a branch on constants does.

        Raises:
            ValueError: if it depends on classical bits.
        """
        try:
            blocks = _blocks(item.operation, variables)
        except NotConstantError as error:
            if asked := self.bits_asked(item.operation, bits):
                self.out.items.append(replace(item, asked=asked))
                return
            raise ValueError(
                f"The circuit's {item.where} is control flow that depends on classical bits in a way that cannot be "
                "followed: a loop, a variable, or bits of a sub-circuit; write out the branch that is taken."
            ) from error
        loops = item.operation.name in ("for_loop", "while_loop")
        if item.operation.name == "for_loop":
            self.require_few(item)
        for block, own in blocks:
            if loops:
                self.count_turn(item.where)
            try:
                self.circuit(block, item.qubits, item.clbits, f"{item.place}.", {**variables, **own})
            except _BreakLoop:
                if not loops:
                    raise
                break
            except _NextTurn:
                if not loops:
                    raise

    def bits_asked(self, operation: Any, bits: Mapping[Any, int]) -> tuple[int, ...]:
        """The numbers of the bits that a branch asks for; none where it cannot be followed.

        The bits of a loop's or a box's body may be equal to others of the circuit itself, which its branches would ask.
        """
        asked = bits_asked(operation)
        known = all(bit in self.clbits and bits.get(bit) == self.clbits[bit] for bit in asked)
        return tuple(sorted(self.clbits[bit] for bit in asked)) if known else ()

    def require_few(self, item: Item) -> None:
        """Refuse a long loop at once, where nothing can end it before its last turn."""
        values, _, body = item.operation.params
        if not any(each.name in _MAY_END for each in body.data):
            self.require_room(len(values), item.where)

    def count_turn(self, where: str) -> None:
        self.turns += 1
        self.require_room(max(self.turns, len(self.out.items)), where)

    def require_room(self, operations: int, where: str) -> None:
        if operations > MOST_OPERATIONS:
            raise ValueError(f"The circuit's {where} is a loop that writes out more than {MOST_OPERATIONS} operations.")


def _blocks(operation: Any, variables: Mapping[Any, int]) -> "Iterator[tuple[QuantumCircuit, Mapping[Any, int]]]":
    """The circuits that control flow runs in turn, with the variables of the loop.

    Raises:
        NotConstantError: if that depends on classical bits.
    """
    from qiskit.circuit import BoxOp, ForLoopOp, IfElseOp, SwitchCaseOp, WhileLoopOp

    if isinstance(operation, BoxOp):
        return iter([(operation.body, {})])
    if isinstance(operation, ForLoopOp):
        return each_turn(*operation.params)
    if isinstance(operation, IfElseOp):
        chosen = operation.blocks[0 if constant(operation.condition, variables) else 1 :][:1]
        return iter([(block, {}) for block in chosen])
    if isinstance(operation, SwitchCaseOp):
        return _case(operation, constant(operation.target, variables))
    if isinstance(operation, WhileLoopOp):
        # Variables do not change in a loop that can be written out, so that it ends by a break alone.
        return itertools.repeat((operation.blocks[0], {})) if constant(operation.condition, variables) else iter(())
    raise NotConstantError


def each_turn(
    values: Any, variable: Any, body: "QuantumCircuit"
) -> "Iterator[tuple[QuantumCircuit, Mapping[Any, int]]]":
    """The body of a loop in each of its turns, with the value of its variable."""
    from qiskit.circuit import Parameter

    for value in values:
        if isinstance(variable, Parameter):
            # The body may not use it.
            yield (body.assign_parameters({variable: value}) if variable in body.parameters else body), {}
        else:
            yield body, {} if variable is None else {variable: value}


def _case(operation: Any, value: Any) -> "Iterator[tuple[QuantumCircuit, Mapping[Any, int]]]":
    from qiskit.circuit import CASE_DEFAULT

    for labels, block in operation.cases_specifier():
        if any(label is CASE_DEFAULT or int(label) == int(value) for label in labels):
            yield block, {}
            return


def _require_own_width(item: Item) -> None:
    if item.operation.num_qubits != len(item.qubits):  # as Qiskit reads some from files
        raise ValueError(
            f"The circuit's {item.where} must have as many qubits as it is made for, {item.operation.num_qubits}, but "
            f"has {len(item.qubits)}; write its definition to the file instead."
        )


def _evolves(operation: Any) -> bool:
    """Whether it is an evolution, or may be one under modifiers."""
    from qiskit.circuit import AnnotatedOperation
    from qiskit.circuit.library import HamiltonianGate, PauliEvolutionGate

    return isinstance(operation, PauliEvolutionGate | HamiltonianGate | AnnotatedOperation)


def _is_skipped(operation: Any, where: str) -> bool:
    """Whether a state passes through and nothing is left to tell: Aer's instructions to save something.

    Raises:
        ValueError: for other instructions to a simulator, which may change the state, and for stored values.
    """
    from qiskit.circuit import Barrier, Store

    if isinstance(operation, Store):
        raise ValueError(f"The circuit's {where} stores a classical value, which a unitary circuit does not have.")
    if not getattr(operation, "_directive", False) or isinstance(operation, Barrier):
        return False
    if sets_state(operation):
        return False
    if any(kind.__module__ == "qiskit_aer.library.save_instructions.save_data" for kind in type(operation).__mro__):
        return True
    if definition_of(operation, where) is not None:
        return False
    raise ValueError(
        f"The circuit's {where} is an instruction to a simulator that may set or change the state, which a unitary "
        "circuit does not do; prepare states by gates, as `initialize` and `prepare_state` do at the start."
    )
