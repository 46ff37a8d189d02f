"""Our circuits as Qiskit's: array parameters become ParameterVectors, expressions stay expressions."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.expressions import Element, Expression
from qjaxsim.circuits.gates import GATES
from qjaxsim.circuits.inspection import kraus_of
from qjaxsim.circuits.measurements import Measure, ReadoutError, Reset
from qjaxsim.circuits.operations import Channel, Conditional, Gate, Kraus, Operation, Preparation, Repeat, Unitary
from qjaxsim_qiskit.ordering import matrix_qubits, reverse_matrix

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.circuit import Instruction

METADATA = "qjaxsim"
LAYERS = ("unroll", "subcircuit")

# What an expression asks of an array module, done by Qiskit's expressions.
_FUNCTIONS = ("abs", "sign", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "exp", "log")
_QISKIT_MATH: Any = SimpleNamespace(**{name: lambda x, name=name: _apply(name, x) for name in _FUNCTIONS})


def to_qiskit(circuit: Circuit, params: Mapping[str, Any] | None = None, *, layers: str = "unroll") -> "QuantumCircuit":
    """The circuit as a `qiskit.QuantumCircuit`; qubit q stays qubit q.

    A matrix that is unitary to single precision only becomes the nearest unitary one, since Qiskit takes no other.

    Args:
        circuit: ours, without projections.
        params: values by name that are put in, without batch axes; parameters that are not among them stay open.
        layers: how repeated layers are written: "unroll", or "subcircuit" for one gate a repetition, labelled "layer".

    Returns:
        A circuit with a ParameterVector of each parameter's name, its elements in row-major order, and a Parameter for
        one of shape (). The global phase is kept. Shapes stand in its metadata, from where `from_qiskit` takes them.

    Raises:
        ValueError: for a projection, which Qiskit has no unitary gate for, naming its place; for another `layers`; for
            names that the circuit does not have, other shapes, and values that are not finite; for a parameter that is
            named as an element of another.
        TypeError: for complex values.

    >>> import qjaxsim as qj
    >>> exported = to_qiskit(qj.Circuit(2).h(0).ry(2 * qj.Parameter("w", (3,))[1], 1))
    >>> [instruction.operation.name for instruction in exported.data], str(exported.parameters[0])
    (['h', 'ry'], 'w[1]')
    >>> to_qiskit(qj.Circuit(1).ry(2 * qj.Parameter("w"), 0), {"w": 0.5}).data[0].operation.params
    [1.0]
    """
    from qiskit import QuantumCircuit
    from qiskit.circuit import CircuitError, Parameter, ParameterVector

    if layers not in LAYERS:
        raise ValueError(f"Argument `layers` must be one of {', '.join(map(repr, LAYERS))}, but is {layers!r}.")
    values = _values(circuit, params or {})
    shapes = {name: shape for name, shape in circuit.parameters.items() if name not in values}
    symbols = {
        name: np.array(list(ParameterVector(name, math.prod(shape))), dtype=object).reshape(shape)
        if shape
        else np.array(Parameter(name), dtype=object)
        for name, shape in shapes.items()
    }
    bits = (circuit.n_bits,) if circuit.n_bits else ()
    out = QuantumCircuit(
        circuit.n_qubits, *bits, metadata={METADATA: {"shapes": {n: list(s) for n, s in shapes.items()}}}
    )
    try:
        _Writer(out, layers).circuit(circuit, {**symbols, **values}, "")
    except CircuitError as error:
        named = Counter(symbol.name for each in symbols.values() for symbol in each.reshape(-1))
        if not (twice := [name for name, count in named.items() if count > 1]):
            raise
        raise ValueError(
            "Parameters must have different names in Qiskit, where elements of an array have names too, but "
            f"{twice[0]!r} is such an element and a parameter; rename one."
        ) from error
    return out


def _values(circuit: Circuit, params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Values of some of the circuit's parameters, as arrays of Python's floats, which Qiskit's gates take."""
    shapes = circuit.parameters
    if strange := sorted(params.keys() - shapes.keys()):
        raise ValueError(f"Argument `params` must have keys among {sorted(shapes)}, but has {strange[0]!r}.")
    found = {name: real_array(value, f"Parameter {name!r}") for name, value in params.items()}
    for name, value in found.items():
        if value.shape != shapes[name]:
            raise ValueError(f"Parameter {name!r} must have shape {shapes[name]}, but has {value.shape}.")
    return {name: np.array(value.tolist(), dtype=object).reshape(value.shape) for name, value in found.items()}


def assignment(circuit: "QuantumCircuit", params: Mapping[str, Any]) -> dict[Any, Any]:
    """Values by Qiskit parameter, for `assign_parameters` and for the primitives.

    Args:
        circuit: Qiskit's.
        params: arrays by name; shape (..., *shape), `...` being batch axes. A ParameterVector is one parameter, its
            elements in row-major order; elements that the circuit does not use are left out.

    Returns:
        A float for each parameter of the circuit, or an array of the batch axes.

    Raises:
        TypeError: for complex values.
        ValueError: for missing or unknown names, arrays that do not hold the elements, and values that are not finite.

    >>> import qjaxsim as qj
    >>> exported = to_qiskit(qj.Circuit(1).ry(qj.Parameter("w", (3,))[1], 0))
    >>> values = assignment(exported, {"w": [0.1, 0.2, 0.3]})
    >>> exported.assign_parameters(values).data[0].operation.params
    [0.2]
    """
    shapes = recorded_shapes(circuit)
    # A recorded parameter that no gate is left of, as one of a delay, may be given all the same.
    if not shapes.keys() <= params.keys() <= shapes.keys() | _recorded(circuit).keys():
        raise ValueError(f"Argument `params` must have the keys {sorted(shapes)}, but has {sorted(params)}.")
    flat = {name: _flattened(name, params[name], shape) for name, shape in shapes.items()}
    out = {}
    for parameter in circuit.parameters:
        name, index = name_and_index(parameter)
        value = flat[name][..., index or 0]
        out[parameter] = value if value.ndim else float(value)
    return out


def known_by(circuit: "QuantumCircuit", params: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays of those parameters that a circuit has: of a delay's ours may have more."""
    names = recorded_shapes(circuit)
    return {name: value for name, value in params.items() if name in names}


def name_and_index(parameter: Any) -> tuple[str, int | None]:
    """Name of the vector and index in it, or the parameter's own name and None."""
    vector = getattr(parameter, "vector", None)
    return (parameter.name, None) if vector is None else (vector.name, parameter.index)


def recorded_shapes(circuit: "QuantumCircuit") -> dict[str, tuple[int, ...]]:
    """Shape of every array parameter: as `to_qiskit` recorded it where that still fits, else that of the vector."""
    recorded = _recorded(circuit)
    shapes = {}
    for name, length in vector_lengths(circuit.parameters).items():
        plain = () if length is None else (length,)
        shape = recorded.get(name, plain)
        shapes[name] = shape if math.prod(shape) == math.prod(plain) else plain
    return shapes


def vector_lengths(parameters: Iterable[Any]) -> dict[str, int | None]:
    """Length of every vector by name, None for single parameters."""
    out: dict[str, int | None] = {}
    for parameter in parameters:
        name, index = name_and_index(parameter)
        # A vector may have been cut short after its elements were used.
        out[name] = None if index is None else max(len(parameter.vector), index + 1, out.get(name) or 0)
    return out


def real_array(value: Any, what: str) -> np.ndarray:
    """Values as float64.

    Raises:
        TypeError: for complex ones, and for what is no array of numbers.
        ValueError: for NaN and infinity.
    """
    if np.iscomplexobj(value):
        raise TypeError(f"{what} must be real, but is complex.")
    try:
        array = np.asarray(value, float)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{what} must be real numbers, but is a {type(value).__name__} that makes none.") from error
    if not np.isfinite(array).all():
        raise ValueError(f"{what} must be finite, but holds NaN or infinity.")
    return array


def _recorded(circuit: "QuantumCircuit") -> dict[str, tuple[int, ...]]:
    """Shapes as `to_qiskit` wrote them; a file's metadata may hold anything."""
    record = (circuit.metadata or {}).get(METADATA)
    shapes = record.get("shapes") if isinstance(record, dict) else None
    return {
        name: tuple(shape)
        for name, shape in (shapes.items() if isinstance(shapes, dict) else ())
        if isinstance(shape, list) and all(isinstance(size, int) and size > 0 for size in shape)
    }


def _flattened(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """(..., elements) float64."""
    array = real_array(value, f"Parameter {name!r}")
    leading = array.ndim - len(shape)
    if leading < 0 or array.shape[leading:] != shape:
        raise ValueError(f"Parameter {name!r} must have shape (..., {str(shape)[1:-1]}), but has {array.shape}.")
    return array.reshape(*array.shape[:leading], math.prod(shape))


class _Writer:
    """Appends our operations to a Qiskit circuit."""

    def __init__(self, out: "QuantumCircuit", layers: str):
        from qiskit.circuit.library import get_standard_gate_name_mapping

        self.out, self.layers, self.standard = out, layers, get_standard_gate_name_mapping()

    def circuit(self, circuit: Circuit, symbols: Mapping[str, np.ndarray], place: str) -> None:
        """All operations, with `symbols` for the elements of the parameters."""
        for number, operation in enumerate(circuit.operations):
            self.operation(operation, symbols, f"{place}{number}")

    def operation(self, operation: Operation, symbols: Mapping[str, np.ndarray], place: str) -> None:
        """One operation."""
        if isinstance(operation, Gate):
            self.gate(operation, symbols)
        elif isinstance(operation, Unitary):
            from qiskit.circuit.library import UnitaryGate

            gate = UnitaryGate(reverse_matrix(_unitary(operation.matrix)), label=operation.label)
            self.out.append(gate, operation.qubits)
        elif isinstance(operation, Repeat):
            order = range(operation.times)
            for turn in reversed(order) if operation.reverse else order:
                own = {n: s if n in operation.shared else s[turn] for n, s in symbols.items() if n in _names(operation)}
                # One entry of an object array is the object itself.
                self.layer(operation.circuit, {n: np.array(s, dtype=object) for n, s in own.items()}, f"{place}.")
        elif isinstance(operation, Channel | Kraus):
            self.channel(operation, place)
        elif isinstance(operation, Preparation):
            self.preparation(operation, place)
        elif isinstance(operation, Measure) and not operation.is_misread:
            self.out.measure(operation.qubit, operation.bit)
        elif isinstance(operation, Reset):
            self.out.reset(operation.qubit)
        elif isinstance(operation, Conditional):
            with ExitStack() as conditions:
                for bit, value in zip(operation.bits, operation.values, strict=True):
                    conditions.enter_context(self.out.if_test((self.out.clbits[bit], value)))
                self.circuit(operation.circuit, symbols, f"{place}.")
        elif isinstance(operation, ReadoutError | Measure):  # measurements that are read wrongly
            raise ValueError(
                f"Argument `circuit` must be free of readout errors to be exported, but operation {place} is one of "
                f"qubit {operation.qubit}; put it into Aer's noise model."
            )
        else:
            raise ValueError(
                f"Argument `circuit` must be free of projections to be exported, but operation {place} projects qubit "
                f"{operation.qubit} on {operation.outcome}."
            )

    def preparation(self, operation: Preparation, place: str) -> None:
        """A constant state as Qiskit's gate that prepares it."""
        from qiskit.circuit.library import StatePreparation

        if isinstance(operation.state, str):
            raise ValueError(
                f"Qiskit prepares states of numbers only, but operation {place} prepares that of parameter "
                f"{operation.state!r}; initialize with an array."
            )
        self.out.append(StatePreparation(operation.state), matrix_qubits(operation.qubits))

    def channel(self, operation: Channel | Kraus, place: str) -> None:
        """A channel as Qiskit's `Kraus` instruction, which Aer runs."""
        from qiskit.quantum_info import Kraus as QiskitKraus

        if isinstance(operation, Channel) and any(isinstance(angle, Expression) for angle in operation.angles):
            raise ValueError(
                f"Channels of Qiskit have no parameters, but operation {place} is {operation.name!r} with a free "
                "strength; give the channel a number."
            )
        matrices = kraus_of(operation)
        self.out.append(QiskitKraus(list(matrices)).to_instruction(), matrix_qubits(operation.qubits))

    def gate(self, gate: Gate, symbols: Mapping[str, np.ndarray]) -> None:
        """A standard gate."""
        angles = [
            _readable(angle).evaluate(lambda name, index: symbols[name].reshape(-1)[index], _QISKIT_MATH)
            if isinstance(angle, Expression)
            else angle
            for angle in gate.angles
        ]
        if gate.name == "global_phase":
            self.out.global_phase += angles[0]
        elif gate.name in ("delay", "delay_dt"):
            self.delay(gate, angles[0])
        else:
            made = self.made(gate.name, angles)
            if gate.label:
                made = made.to_mutable()
                made.label = gate.label
            self.out.append(made, gate.qubits)

    def delay(self, gate: Gate, time: Any) -> None:
        """A delay, in seconds or in units of a device, which are whole numbers."""
        if gate.name == "delay":
            self.out.delay(time, gate.qubits[0], unit="s")
        else:
            self.out.delay(round(time) if isinstance(time, float) else time, gate.qubits[0], unit="dt")

    def made(self, name: str, angles: Sequence[Any]) -> "Instruction":
        """Qiskit's gate with such angles."""
        if GATES[name].is_free:
            from qiskit.circuit.library import UnitaryGate

            if any(hasattr(angle, "parameters") for angle in angles):
                raise ValueError("A matrix that is a parameter is exported with its value alone; give it in `params`.")
            return UnitaryGate(reverse_matrix(_unitary(GATES[name].matrix(np, *map(np.float64, angles)))))
        if name not in self.standard:
            from qiskit.circuit.library import MCPhaseGate

            return MCPhaseGate(*angles, num_ctrl_qubits=GATES[name].n_qubits - 1)
        return self.standard[name].base_class(*angles)

    def layer(self, circuit: Circuit, symbols: Mapping[str, np.ndarray], place: str) -> None:
        """One repetition of a layer."""
        if self.layers == "unroll":
            self.circuit(circuit, symbols, place)
            return
        from qiskit import QuantumCircuit

        inner = QuantumCircuit(circuit.n_qubits, name="layer")
        _Writer(inner, self.layers).circuit(circuit, symbols, place)
        self.out.append(inner.to_gate(label="layer"), range(circuit.n_qubits))


def _names(repeat: Repeat) -> dict[str, tuple[int, ...]]:
    return repeat.circuit.parameters


def _readable(angle: Expression) -> Expression:
    """The angle with exponentials for powers of numbers, which Qiskit writes but does not translate back."""
    if isinstance(angle, Element):
        return angle
    args = tuple(_readable(each) if isinstance(each, Expression) else each for each in angle.args)
    base, *exponents = args
    if angle.op == "pow" and not isinstance(base, Expression) and base > 0:
        return (exponents[0] * math.log(base)).exp()
    return Expression(angle.op, args)


def _unitary(matrix: np.ndarray) -> np.ndarray:
    """The matrix itself, or the nearest unitary one if Qiskit would take it for none."""
    if np.allclose(matrix @ matrix.conj().T, np.eye(len(matrix)), rtol=0, atol=1e-9):
        return matrix
    left, _, right = np.linalg.svd(matrix)
    return left @ right


def _apply(name: str, value: Any) -> Any:
    """An elementary function of a Qiskit expression or of a number."""
    if hasattr(value, "parameters"):
        return getattr(value, name)()
    return float(getattr(np, name)(value))
