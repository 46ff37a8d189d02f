"""Circuits as data: what the user wrote, in order, without any array of amplitudes."""

import difflib
import hashlib
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from qjaxsim.circuits.channels import CHANNELS, ChannelSpec
from qjaxsim.circuits.composite import CompositeGates
from qjaxsim.circuits.drawing import draw
from qjaxsim.circuits.expressions import Angle, Parameter, as_expression
from qjaxsim.circuits.gates import GATES, GateSpec
from qjaxsim.circuits.hints import HINTS
from qjaxsim.circuits.inspection import bits_of, constant_array, entries_of, is_static, used_parameters
from qjaxsim.circuits.measurements import Projection
from qjaxsim.circuits.methods import StateMethods, by_name, checked_channel, listed, require_fitting
from qjaxsim.circuits.operations import Channel, Conditional, Gate, Operation, Preparation, Repeat, Unitary
from qjaxsim.common.checks import as_integer, positive_integer, shown
from qjaxsim.common.words import counted

Qubits = int | Sequence[int]


class Circuit(StateMethods, CompositeGates):
    """A quantum circuit on `n_qubits` qubits that start in |0...0>.

    Gate methods have the names and the argument order of `qiskit.QuantumCircuit` (angles, then qubits) and return the
    circuit, so that calls chain. Where a qubit is expected, a sequence of qubits applies the gate to each. Qubit 0 is
    the most significant bit of a state index. Angles are radians: numbers or expressions of `Parameter` elements.

    Args:
        n_qubits: number of qubits, at least 1.

    Raises:
        ValueError: for a wrong width, qubits out of range or repeated, or a parameter used with two shapes.
        TypeError: for qubits or angles of a wrong type.

    >>> import qjaxsim as qj
    >>> theta = qj.Parameter("theta", (2,))
    >>> print(qj.Circuit(2).h(0).rx(theta[0], 0).cx(0, 1).rz(2 * theta[1], 1))
    q0: ─H─RX(theta[0])─●─────────────────
                        │
    q1: ────────────────X─RZ(2*theta[1])──
    """

    def __init__(self, n_qubits: int):
        self.n_qubits = positive_integer("n_qubits", n_qubits)
        self._operations: list[Operation] = []
        self._parameters: dict[str, tuple[int, ...]] = {}

    @property
    def operations(self) -> tuple[Operation, ...]:
        """The operations in time order.

        >>> [(gate.name, gate.qubits) for gate in Circuit(2).h(0).cx(0, 1).operations]
        [('h', (0,)), ('cx', (0, 1))]
        """
        return tuple(self._operations)

    @property
    def parameters(self) -> dict[str, tuple[int, ...]]:
        """Name and shape (without batch axes) of every parameter, in order of first use.

        >>> import qjaxsim as qj
        >>> theta, weights = qj.Parameter("theta"), qj.Parameter("weights", (2, 3))
        >>> qj.Circuit(1).rx(weights[1, 2], 0).rz(theta, 0).parameters
        {'weights': (2, 3), 'theta': ()}
        """
        return dict(self._parameters)

    @property
    def n_parameters(self) -> int:
        """How many numbers the parameters hold in all.

        >>> import qjaxsim as qj
        >>> qj.Circuit(1).rx(qj.Parameter("weights", (2, 3))[1, 2], 0).n_parameters
        6
        """
        return sum(math.prod(shape) for shape in self._parameters.values())

    def append(self, name: str, qubits: Qubits, angles: Sequence[Angle] = (), label: str = "") -> "Circuit":
        """Add a standard gate or a noise channel by name.

        Args:
            name: a key of `qjaxsim.circuits.gates.GATES`, such as "rx" or "ccx", or of
                `qjaxsim.circuits.channels.CHANNELS`, such as "depolarizing".
            qubits: one qubit or as many as it has, most significant first.
            angles: as many as it has; of a channel its strengths.
            label: of a gate, a name of its own, which noise models go by in place of the gate's.

        >>> Circuit(2).append("crx", (0, 1), (0.5,)) == Circuit(2).crx(0.5, 0, 1)
        True
        """
        spec = (GATES.get(name) or CHANNELS.get(name)) if isinstance(name, str) else None
        if spec is None:
            raise ValueError(
                f"Unknown gate {name!r}; known gates: {', '.join(sorted(GATES))}; channels: "
                f"{', '.join(sorted(CHANNELS))}."
            )
        chosen = self.check_qubits(qubits, name)
        require_fitting(spec, chosen, angles)
        if isinstance(spec, GateSpec):
            return self.extend([Gate(name, chosen, tuple(as_expression(angle) for angle in angles), label)])
        return self.extend([checked_channel(name, chosen, angles)])

    def unitary(self, matrix: Any, qubits: Qubits, label: str = "unitary") -> "Circuit":
        """Add a unitary matrix.

        Args:
            matrix: (2**k, 2**k), unitary to 1e-6; the first qubit is the most significant bit of its index. Or, for up
                to 3 qubits, a parameter of shape (2, 2**k, 2**k), real and imaginary part of a matrix that is given on
                calling: that it is unitary is not checked.
            qubits: the k qubits.
            label: name in drawings of a constant matrix, and the one that noise models go by.

        >>> import qjaxsim as qj
        >>> flip = [[0.0, 1.0], [1.0, 0.0]]
        >>> print(qj.probabilities(qj.Circuit(1).unitary(flip, 0))())
        [0. 1.]
        """
        chosen = self.check_qubits(qubits, label)
        if not chosen:
            raise ValueError("Argument `qubits` must name at least one qubit, but is empty; use `global_phase`.")
        size = 2 ** len(chosen)
        if isinstance(matrix, Parameter):
            entries = entries_of(matrix, size)
            return self.append(f"matrix{len(chosen)}", chosen, entries, label)
        array = constant_array("matrix", matrix)
        if array.shape != (size, size):
            raise ValueError(
                f"Argument `matrix` must have shape {(size, size)} for qubits {chosen}, but has {array.shape}."
            )
        error = np.abs(array @ array.conj().T - np.eye(size)).max()
        if not error < 1e-6:
            raise ValueError(f"Argument `matrix` must be unitary, but differs from it by {error:.2g}.")
        return self.extend([Unitary(array, chosen, label)])

    def project(self, qubit: Qubits, outcome: int) -> "Circuit":
        """Project one qubit, or each of several, on an outcome, 0 or 1, and normalise the state.

        The result is NaN where the outcome has probability zero. Not under a condition (`if_bits`).

        >>> import qjaxsim as qj
        >>> bell = qj.Circuit(2).h(0).cx(0, 1)
        >>> print(np.asarray(qj.probabilities(bell.project(0, 1))()).round(3))
        [0. 0. 0. 1.]
        """
        if as_integer(outcome) not in (0, 1):
            raise ValueError(f"Argument `outcome` must be 0 or 1, but is {outcome!r}.")
        return self.extend(Projection(each, int(outcome)) for each in self.check_qubits(qubit, "project"))

    def repeat(self, layer: "Circuit", times: int, *, shared: Iterable[str] = ()) -> "Circuit":
        """Add a layer several times, each with its own parameters; it runs as one `lax.scan`.

        Args:
            layer: a circuit of the same width.
            times: number of repetitions, at least 1.
            shared: names of the layer's parameters that all repetitions share (data re-uploading); every other
                parameter gains a leading axis of length `times`.

        >>> import qjaxsim as qj
        >>> x, w = qj.Parameter("x", (2,)), qj.Parameter("w", (2,))
        >>> layer = qj.Circuit(2).rx(x[0], 0).rx(x[1], 1).ry(w[0], 0).ry(w[1], 1).cx(0, 1)
        >>> qj.Circuit(2).repeat(layer, 5, shared=["x"]).parameters
        {'x': (2,), 'w': (5, 2)}
        """
        require_circuit("layer", layer)
        if any(isinstance(operation, Preparation) for operation in layer.operations):
            raise ValueError("Argument `layer` must not initialize qubits; do so before the layers.")
        if not is_static(layer.operations):
            raise ValueError(
                "Argument `layer` must not measure, reset or depend on measured bits; add its rounds one by one."
            )
        if layer.n_qubits != self.n_qubits:
            raise ValueError(
                f"Argument `layer` must have {self.n_qubits} qubits like the circuit, but has {layer.n_qubits}."
            )
        count = positive_integer("times", times)
        names = frozenset((shared,) if isinstance(shared, str) else shared)
        if unknown := names - layer.parameters.keys():
            raise ValueError(
                f"Argument `shared` names {sorted(unknown)}, but the layer has {sorted(layer.parameters)}."
            )
        return self.extend([Repeat(layer.copy(), count, names)])

    @property
    def n_bits(self) -> int:
        """How many classical bits it has: one more than the largest that it measures into or asks for.

        >>> Circuit(2).measure([0, 1], [0, 2]).n_bits
        3
        """
        return bits_of(self._operations)

    def compose(self, other: "Circuit", qubits: Qubits | None = None) -> "Circuit":
        """Add all operations of another circuit.

        Args:
            other: a circuit; parameters of the same name and shape become one parameter.
            qubits: where its qubits go; by default 0, 1, 2, ...

        >>> bell = Circuit(2).h(0).cx(0, 1)
        >>> Circuit(3).compose(bell, (2, 0)) == Circuit(3).h(2).cx(2, 0)
        True
        """
        require_circuit("other", other)
        chosen = self.check_qubits(range(other.n_qubits) if qubits is None else qubits, "compose")
        if len(chosen) != other.n_qubits:
            raise ValueError(f"Argument `qubits` must name {other.n_qubits} qubits, but names {len(chosen)}: {chosen}.")
        prepared = {chosen[q] for op in other.operations if isinstance(op, Preparation) for q in op.qubits}
        if late := prepared & {qubit for operation in self._operations for qubit in operation.qubits}:
            raise ValueError(f"Argument `other` initializes qubits {sorted(late)}, which are in use already.")
        return self.extend(other.on(chosen, self.n_qubits).operations)

    def inverse(self) -> "Circuit":
        """The inverse circuit, with the same parameters.

        >>> Circuit(2).h(0).s(1).cx(0, 1).inverse() == Circuit(2).cx(0, 1).sdg(1).h(0)
        True
        """
        return Circuit(self.n_qubits).extend(operation.inverse() for operation in reversed(self._operations))

    def copy(self) -> "Circuit":
        """An independent circuit with the same operations.

        >>> circuit = Circuit(1).h(0)
        >>> len(circuit.copy().x(0)), len(circuit)
        (2, 1)
        """
        every = range(self.n_qubits)
        return Circuit(self.n_qubits).extend(
            operation.on(every, self.n_qubits) if isinstance(operation, Repeat | Conditional) else operation
            for operation in self._operations
        )

    __copy__ = copy  # Python's own would share the list of operations

    def count_ops(self) -> dict[str, int]:
        """How often each gate is run, repetitions counted; most frequent first.

        >>> Circuit(3).repeat(Circuit(3).h(range(3)).cx(0, 1), 2).count_ops()
        {'h': 6, 'cx': 2}
        """
        counts: Counter[str] = Counter()
        for operation in self._operations:
            if isinstance(operation, Repeat):
                counts.update({k: operation.times * v for k, v in operation.circuit.count_ops().items()})
            elif isinstance(operation, Conditional):
                counts.update(operation.circuit.count_ops())
            else:
                counts[operation.key[1 if isinstance(operation, Gate | Channel) else 0]] += 1
        return dict(counts.most_common())

    def structure_hash(self) -> str:
        """A hexadecimal digest of the structure: equal for equal circuits, in any process.

        >>> Circuit(2).h(0).structure_hash() == Circuit(2).h(0).structure_hash()
        True
        >>> Circuit(2).h(0).structure_hash() == Circuit(2).h(1).structure_hash()
        False
        """
        return hashlib.sha256(repr(self.key).encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Circuit) and self.key == other.key

    __hash__ = None  # type: ignore[assignment]  # a circuit can grow; use structure_hash()

    def __len__(self) -> int:
        return len(self._operations)

    def __str__(self) -> str:
        return draw(self.operations, self.n_qubits)

    def __repr__(self) -> str:
        return (
            f"<Circuit: {counted(self.n_qubits, 'qubit')}, {counted(len(self), 'operation')}, "
            f"{counted(self.n_parameters, 'parameter')}>"
        )

    @property
    def key(self) -> tuple:
        """The circuit as plain, comparable data.

        >>> Circuit(2).h(0).key == Circuit(2).h(0).key
        True
        """
        shapes = tuple(sorted(self._parameters.items()))
        return (self.n_qubits, shapes, tuple(operation.key for operation in self._operations))

    def on(self, qubits: Sequence[int], n_qubits: int) -> "Circuit":
        """The same circuit on `n_qubits`, qubit q moved to `qubits[q]`; the qubits are not checked.

        >>> Circuit(2).cx(0, 1).on((2, 0), 3) == Circuit(3).cx(2, 0)
        True
        """
        return Circuit(n_qubits).extend(
            operation.on(qubits, n_qubits) if isinstance(operation, Repeat | Conditional) else operation.on(qubits)
            for operation in self._operations
        )

    def extend(self, operations: Iterable[Operation]) -> "Circuit":
        """Add operations of a circuit of this width; that their qubits are in range is not checked again.

        Raises:
            TypeError: for anything but operations.
            ValueError: if a parameter's shape conflicts; then none of them is added.

        >>> bell = Circuit(2).h(0).cx(0, 1)
        >>> Circuit(2).extend(bell.operations[1:]) == Circuit(2).cx(0, 1)
        True
        """
        operations = list(operations) if isinstance(operations, Iterable) else [operations]
        if strange := [one for one in operations if not isinstance(one, Operation)]:
            raise TypeError(
                f"Argument `operations` must hold operations, as `circuit.operations` does, but holds "
                f"{shown(strange[0])} ({type(strange[0]).__name__}); `compose` adds a circuit, Qiskit's as "
                "`qjaxsim_qiskit.from_qiskit(it).circuit`."
            )
        new: dict[str, tuple[int, ...]] = {}
        for name, shape in itertools.chain.from_iterable(map(used_parameters, operations)):
            known = self._parameters[name] if name in self._parameters else new.setdefault(name, shape)
            if known != shape:
                raise ValueError(
                    f"Parameter {name!r} is used with shape {shape}, but the circuit already has it with "
                    f"shape {known}; give one of them another name."
                )
        self._parameters.update(new)
        self._operations.extend(operations)
        return self

    def check_qubits(self, qubits: Any, what: str) -> tuple[int, ...]:
        """One qubit or several as a tuple of integers.

        Args:
            qubits: what a user gave.
            what: what acts on them, for the message.

        Raises:
            ValueError: if a qubit is out of range or named twice.
            TypeError: if one is not an integer.

        >>> Circuit(3).check_qubits(range(2), "measurement")
        (0, 1)
        """
        given = listed(qubits)
        chosen = tuple(as_integer(qubit) for qubit in given)
        for qubit, one in zip(chosen, given, strict=True):
            if qubit is None:
                raise TypeError(f"Qubits of {what!r} must be integers, but got {shown(one)} ({type(one).__name__}).")
            if not 0 <= qubit < self.n_qubits:
                raise ValueError(
                    f"Qubit {qubit} of {what!r} is out of range for {self.n_qubits} qubits (0 to {self.n_qubits - 1})."
                )
        if len(set(chosen)) != len(chosen):
            raise ValueError(f"Qubits of {what!r} must differ, but are {chosen}.")
        return tuple(qubit for qubit in chosen if qubit is not None)

    def __getattr__(self, name: str) -> Callable[..., "Circuit"]:
        hint = HINTS.get(name)
        if hint is None and not name.startswith("_"):
            near = difflib.get_close_matches(name, [known for known in dir(type(self)) if known[0] != "_"], 1)
            hint = f"the nearest name is `.{near[0]}`" if near else "`qjaxsim.circuits.gates.GATES` lists the gates"
        raise AttributeError(f"A Circuit has no method `.{name}`" + (f"; {hint}." if hint else "."))


# What others call a circuit, by class name, and how it becomes one of ours.
_CIRCUITS = {
    "QuantumCircuit": "; `qjaxsim_qiskit.from_qiskit(it).circuit` is one",
    "ImportedCircuit": "; its attribute `circuit` is one",
    "QNode": "; `qjaxsim.from_pennylane(it, ...).circuit` is one",
}


def require_circuit(name: str, value: Any) -> None:
    """Raise a TypeError for anything but a circuit."""
    if not isinstance(value, Circuit):
        kind = type(value).__name__
        raise TypeError(
            f"Argument `{name}` must be a Circuit, but is {shown(value)} ({kind}){_CIRCUITS.get(kind, '')}."
        )


_TABLES: tuple[Mapping[str, GateSpec | ChannelSpec], ...] = (GATES, CHANNELS)
for _name, _spec in itertools.chain.from_iterable(table.items() for table in _TABLES):
    setattr(Circuit, _name, by_name(_spec))
