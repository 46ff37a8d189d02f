"""Qiskit's circuits as ours.

Operations are told by their class, never by their name: a gate called "x" may do anything, and controls may be open.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from qjaxsim.circuit import Circuit
from qjaxsim.expressions import Expression, Parameter, as_expression
from qjaxsim.gates import GATES
from qjaxsim.memory import require_memory
from qjaxsim_qiskit.angles import angle_of
from qjaxsim_qiskit.exporting import name_and_index, real_array, recorded_shapes, vector_lengths
from qjaxsim_qiskit.ordering import matrix_qubits

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

# Matrices of wider gates are not asked for, unless they are all there is; their definitions are smaller.
_MATRIX_QUBITS = 6
# No state of so many qubits fits anywhere, and its size is no number to print.
_WIDEST = 200


@dataclass(frozen=True)
class Measurement:
    """A final measurement that was left out of the circuit.

    Attributes:
        qubit: what was measured.
        clbit: number of the bit among all of the circuit's.
        register: name of the register that holds the bit; None for a loose bit.
        index: place in the register; None for a loose bit.
    """

    qubit: int
    clbit: int
    register: str | None
    index: int | None


@dataclass(frozen=True, eq=False)
class ImportedCircuit:
    """A Qiskit circuit in our form.

    Attributes:
        circuit: ours; qubit q is qubit q.
        measurements: final measurements, which the circuit itself leaves out.
        source: Qiskit's circuit without these.
    """

    circuit: Circuit
    measurements: tuple[Measurement, ...]
    source: "QuantumCircuit"

    def params(self, values: Any) -> dict[str, np.ndarray]:
        """Values as Qiskit binds them in the form that our functions take, float64.

        Args:
            values: a sequence in the order of `source.parameters`, the last axis of an array with batch axes; or a
                mapping of Parameters, ParameterVectors or names to numbers or arrays, batch axes in front.

        Returns:
            An array for each parameter of our circuit. Elements that no gate uses are 0.

        Raises:
            TypeError: for complex values.
            ValueError: for values too many or too few or not finite, unknown or missing parameters, or wrong shapes.
        """
        order = list(self.source.parameters)
        lengths = vector_lengths(self.source)
        given = _by_parameter(values, order, lengths) if isinstance(values, Mapping) else _by_position(values, order)
        batch = _common_batch(given)
        shapes = self.circuit.parameters
        out = {name: np.zeros((*batch, math.prod(shape))) for name, shape in shapes.items()}
        for parameter, value in given.items():
            name, index = name_and_index(parameter)
            if name in out:  # a gate may ignore its parameter
                out[name][..., index or 0] = value
        return {name: flat.reshape((*batch, *shapes[name])) for name, flat in out.items()}


def from_qiskit(circuit: "QuantumCircuit", *, shapes: Mapping[str, Sequence[int]] | None = None) -> ImportedCircuit:
    """A Qiskit circuit in our form, ready for states, gradients and Hessians.

    Gates are taken over by class, open controls included, gates with a matrix by matrix, all others through their
    definitions with their global phases. A ParameterVector becomes one array Parameter, a Parameter one of shape ().
    Barriers, delays and resets of untouched qubits are skipped, final measurements are left out and reported. Only a
    delay of a free parameter's length becomes our gate of that name, which does nothing, so that no parameter is lost.

    Args:
        circuit: Qiskit's.
        shapes: shapes for ParameterVectors by name; default as `to_qiskit` recorded them, else (length,).

    Raises:
        TypeError: for anything but a QuantumCircuit.
        ValueError: for what is no unitary circuit with real angles, naming the operation and its place: measurements in
            the middle, resets, control flow, classical variables, opaque gates, complex or infinite angles; for two
            parameters of one name; for shapes that do not fit.
        MemoryError: if no state of that width fits, naming the GiB.
        ImportError: for an angle that is not affine in its parameters where sympy is missing.

    Cost: microseconds a gate; about a second for the first gate that Qiskit's transpiler has to take apart.
    """
    from qiskit import QuantumCircuit

    if not isinstance(circuit, QuantumCircuit):
        raise TypeError(f"Argument `circuit` must be a qiskit.QuantumCircuit, but is {type(circuit).__name__}.")
    require_width(circuit.num_qubits)
    if names := [variable.name for variable in circuit.iter_vars()]:
        raise ValueError(f"Classical variables cannot be imported, but the circuit has {', '.join(sorted(names))}.")
    source, measurements, places = _without_final_measurements(circuit)
    parameters = _parameters(source, shapes or {})
    symbols = {parameter: _element(parameter, parameters) for parameter in source.parameters}
    reader = _Reader(Circuit(source.num_qubits), symbols)
    reader.circuit(source, range(source.num_qubits), "", places)
    return ImportedCircuit(reader.out, measurements, source)


def require_width(n_qubits: int) -> None:
    """Refuse a register whose state cannot be held, before anything is made of it.

    Raises:
        ValueError: for no qubit at all.
        MemoryError: naming the GiB.
    """
    if n_qubits < 1:
        raise ValueError("A circuit must have at least one qubit, but this one has none.")
    if n_qubits > _WIDEST:
        raise MemoryError(f"A state of {n_qubits} qubits has 2**{n_qubits} amplitudes; use fewer qubits.")
    require_memory(8 * 2**n_qubits, f"A state of {n_qubits} qubits in single precision", "use fewer qubits")


# --- parameters --------------------------------------------------------------------------------------------------


def _parameters(circuit: "QuantumCircuit", shapes: Mapping[str, Sequence[int]]) -> dict[str, Parameter]:
    """Our parameter for every vector and every single parameter, by name."""
    owners: dict[str, set[Any]] = {}
    for parameter in circuit.parameters:
        name, index = name_and_index(parameter)
        # The elements of one vector have consecutive identifiers, also where a reader of files made them one by one.
        owners.setdefault(name, set()).add(None if index is None else parameter.uuid.int - index)
    for name, kinds in owners.items():
        if len(kinds) > 1:
            raise ValueError(
                f"Parameters must have names of their own, but {name!r} names several in this circuit; rename one."
            )
    found = recorded_shapes(circuit)
    for name, shape in shapes.items():
        if name not in found or math.prod(shape) != math.prod(found[name]):
            have = {known: math.prod(size) for known, size in found.items()}
            raise ValueError(
                f"Argument `shapes` gives {name!r} the shape {tuple(shape)}, but the circuit's parameters and their "
                f"lengths are {have}."
            )
        found[name] = tuple(shape)
    return {name: Parameter(name, shape) for name, shape in found.items()}


def _element(parameter: Any, parameters: Mapping[str, Parameter]) -> Expression:
    name, index = name_and_index(parameter)
    own = parameters[name]
    if index is not None:
        own = own[tuple(int(i) for i in np.unravel_index(index, own.shape))]
    element = as_expression(own)
    assert isinstance(element, Expression)
    return element


def _listed(order: Sequence[Any]) -> str:
    return ", ".join(parameter.name for parameter in order)


def _by_position(values: Any, order: Sequence[Any]) -> dict[Any, np.ndarray]:
    array = real_array(values, "Argument `values`")
    if array.ndim == 0 or array.shape[-1] != len(order):
        raise ValueError(
            f"Argument `values` must have {len(order)} numbers in its last axis (for {_listed(order)}), "
            f"but has shape {array.shape}."
        )
    return dict(zip(order, np.moveaxis(array, -1, 0), strict=True))


def _by_parameter(
    values: Mapping[Any, Any], order: Sequence[Any], lengths: Mapping[str, int | None]
) -> dict[Any, np.ndarray]:
    out: dict[Any, np.ndarray] = {}
    for key, value in values.items():
        name = key if isinstance(key, str) else key.name
        array = real_array(value, f"Argument `values` of {name!r}")
        members = [p for p in order if p.name == name]
        if not members:
            members = [p for p in order if name_and_index(p)[0] == name]
            if not members:
                raise ValueError(f"Argument `values` names {name!r}, but the circuit has {_listed(order)}.")
            if array.ndim == 0 or array.shape[-1] != lengths[name]:
                raise ValueError(
                    f"Argument `values` must give {name!r} {lengths[name]} numbers in the last axis, but has shape "
                    f"{array.shape}."
                )
            out |= {p: array[..., p.index] for p in members}
        else:
            out[members[0]] = array
    if missing := [p for p in order if p not in out]:
        raise ValueError(f"Argument `values` lacks {_listed(missing)}.")
    return out


def _common_batch(values: Mapping[Any, np.ndarray]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*(value.shape for value in values.values()))
    except ValueError as error:
        shapes = {parameter.name: value.shape for parameter, value in values.items()}
        raise ValueError(f"Argument `values` must have batch axes that go together, but has {shapes}.") from error


# --- measurements ------------------------------------------------------------------------------------------------


def _without_final_measurements(
    circuit: "QuantumCircuit",
) -> tuple["QuantumCircuit", tuple[Measurement, ...], list[int]]:
    """The circuit without measurements that nothing follows on their qubit, these, and where its rest stood."""
    from qiskit.circuit import Measure

    later: set[int] = set()
    kept = []
    found: dict[int, Measurement] = {}
    for place, instruction in reversed(list(enumerate(circuit.data))):
        qubits = [circuit.find_bit(bit).index for bit in instruction.qubits]
        if isinstance(instruction.operation, Measure) and not later & set(qubits):
            (bit,) = instruction.clbits
            where = circuit.find_bit(bit)
            register, index = where.registers[0] if where.registers else (None, None)
            # Of two measurements into one bit the last one is what the bit holds.
            name = None if register is None else register.name
            found.setdefault(where.index, Measurement(qubits[0], where.index, name, index))
            continue
        if not _has_no_effect(instruction.operation):
            later |= set(qubits)
        kept.append((place, instruction))
    source = circuit.copy_empty_like()
    for _, instruction in reversed(kept):
        source.append(instruction)
    return source, tuple(found[bit] for bit in sorted(found)), [place for place, _ in reversed(kept)]


def _has_no_effect(operation: Any) -> bool:
    """Whether a state passes through unchanged: barriers and the like, delays."""
    from qiskit.circuit import Delay

    return bool(getattr(operation, "_directive", False)) or isinstance(operation, Delay)


# --- operations --------------------------------------------------------------------------------------------------


class _Reader:
    """Appends Qiskit's operations to our circuit."""

    def __init__(self, out: Circuit, symbols: Mapping[Any, Expression]):
        from qiskit.circuit.library import get_standard_gate_name_mapping

        self.out, self.symbols = out, symbols
        self.touched: set[int] = set()
        mapping = get_standard_gate_name_mapping()
        self.names = {gate.base_class: name for name, gate in mapping.items() if name in GATES}

    def circuit(
        self, circuit: "QuantumCircuit", qubits: Sequence[int], place: str, places: Sequence[int] | None = None
    ) -> None:
        """All operations of a circuit or definition whose qubit i is our `qubits[i]`, and its global phase."""
        for number, instruction in zip(places or itertools.count(), circuit.data, strict=False):
            where = f"operation {place}{number} ({instruction.operation.name})"
            own = [qubits[circuit.find_bit(bit).index] for bit in instruction.qubits]
            self.operation(instruction, own, where, f"{place}{number}.")
        phase = angle_of(circuit.global_phase, self.symbols, f"the global phase of circuit {circuit.name!r}")
        if isinstance(phase, Expression) or phase:
            self.out.global_phase(phase)

    def operation(self, instruction: Any, qubits: list[int], where: str, inner: str) -> None:
        """One operation: refused, skipped, taken over, or taken apart."""
        from qiskit.circuit import Delay
        from qiskit.circuit.library import UnitaryGate

        operation = instruction.operation
        if _has_no_effect(operation) or self._is_first_reset(operation, qubits):
            if isinstance(operation, Delay) and operation.is_parameterized():
                self.out.delay(angle_of(operation.params[0], self.symbols, where), qubits)
            return
        _refuse(operation, where)
        if getattr(operation, "base_class", None) in self.names:
            self.touched |= set(qubits)
            self._standard(operation, qubits, where)
            return
        given = isinstance(operation, UnitaryGate)
        matrix = instruction.matrix if given or len(qubits) <= _MATRIX_QUBITS else None
        if matrix is not None:
            self.touched |= set(qubits)
            label = operation.label or operation.name
            self.out.unitary(matrix, matrix_qubits(qubits), label)
            return
        definition = getattr(operation, "definition", None)
        self.circuit(_lowered(operation, where) if definition is None else definition, qubits, inner)

    def _is_first_reset(self, operation: Any, qubits: Sequence[int]) -> bool:
        from qiskit.circuit import Reset

        return isinstance(operation, Reset) and not self.touched & set(qubits)

    def _standard(self, operation: Any, qubits: list[int], where: str) -> None:
        """Take over a gate of the standard table, its open controls between X gates."""
        name = self.names[operation.base_class]
        angles = [angle_of(angle, self.symbols, where) for angle in operation.params]
        controls = qubits[: getattr(operation, "num_ctrl_qubits", 0)]
        # Bit i of the pattern belongs to control i.
        open_ones = [qubit for bit, qubit in enumerate(controls) if not operation.ctrl_state >> bit & 1]
        for qubit in open_ones:
            self.out.x(qubit)
        self.out.append(name, qubits, angles)
        for qubit in open_ones:
            self.out.x(qubit)


def _refuse(operation: Any, where: str) -> None:
    """Raise for what is not unitary."""
    from qiskit.circuit import ControlFlowOp, Measure, Reset, Store

    reasons = {
        Measure: "measures a qubit that is used afterwards; only final measurements can be imported",
        Reset: "resets a qubit that is in use, which no unitary circuit does; use a fresh qubit",
        ControlFlowOp: "is control flow, which a unitary circuit does not have; write out the branch that is taken",
        Store: "stores a classical value, which a unitary circuit does not have",
    }
    for kind, reason in reasons.items():
        if isinstance(operation, kind):
            raise ValueError(f"The circuit's {where} {reason}.")


def _lowered(operation: Any, where: str) -> "QuantumCircuit":
    """A gate without definition in standard gates, by Qiskit's transpiler."""
    from qiskit import QuantumCircuit, transpile
    from qiskit.exceptions import QiskitError

    alone = QuantumCircuit(operation.num_qubits)
    if not operation.num_clbits:
        alone.append(operation, range(operation.num_qubits))
        try:
            lowered = transpile(alone, basis_gates=["u", "p", "rx", "ry", "rz", "cx"], optimization_level=0)
            if all(item.operation.name != operation.name for item in lowered.data):
                return lowered
        except QiskitError:
            pass
    raise ValueError(
        f"The circuit's {where} has neither a matrix nor a definition, so that nobody knows what it does; define it."
    )
