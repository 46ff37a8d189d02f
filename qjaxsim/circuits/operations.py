"""What circuits are made of: gates, constant matrices, channels, projections, repeated layers.

A repeated layer holds a circuit again, so that this module and `qjaxsim.circuits.circuit` name each other: the first
in its types only.
"""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from qjaxsim.circuits.channels import ChannelSpec, channel_spec
from qjaxsim.circuits.expressions import Expression
from qjaxsim.circuits.gates import GATES, GateSpec, controlled_spec
from qjaxsim.circuits.measurements import Measure, Projection, ReadoutError, Reset

if TYPE_CHECKING:
    from qjaxsim.circuits.circuit import Circuit


def _comparable(angles: tuple[Any, ...]) -> tuple[Any, ...]:
    """Angles for a key: adding 0.0 makes -0.0 and 0.0, which are equal, look the same in a hash."""
    return tuple(a if isinstance(a, Expression) else a + 0.0 for a in angles)


def _inverse_label(label: str) -> str:
    """The label of an inverse matrix; none stays none."""
    return label[:-3] if label.endswith("_dg") else label and f"{label}_dg"


@functools.cache
def spec_of(name: str) -> GateSpec:
    """What the engine knows of a gate.

    Args:
        name: a key of `GATES`; "superoperator:NAME", the matrix of a channel on rows and columns of a density matrix;
            or "controlled2:NAME", any of these with so many controls in front.
    """
    kind, _, rest = name.partition(":")
    if not rest:
        return GATES[name]
    if kind == "superoperator":
        return channel_spec(rest).superoperator
    return controlled_spec(spec_of(rest), int(kind.removeprefix("controlled")), f"{kind}:")


@dataclass(frozen=True)
class Gate:
    """A standard gate on some qubits.

    Attributes:
        name: a key of `qjaxsim.circuits.gates.GATES`; in circuits that the planner makes also others, see `spec_of`.
        qubits: the qubits, most significant bit of the gate's matrix first.
        angles: floats or expressions.
        label: a name of its own, which noise models go by in place of the gate's; empty for none.
    """

    name: str
    qubits: tuple[int, ...]
    angles: tuple[Any, ...] = ()
    label: str = field(default="", compare=False)

    @property
    def spec(self) -> GateSpec:
        """What the engine knows of its kind."""
        return spec_of(self.name)

    @property
    def key(self) -> tuple:
        """The gate as plain, comparable data."""
        return ("gate", self.name, self.qubits, _comparable(self.angles))

    def on(self, qubits: Sequence[int]) -> "Gate":
        """The same gate with qubit q moved to `qubits[q]`."""
        return replace(self, qubits=tuple(qubits[q] for q in self.qubits))

    def inverse(self) -> "Gate | Unitary":
        """The inverse, by name where it has one and as a matrix otherwise.

        A label stays, so that noise that follows the gate follows its inverse; a matrix's gains or loses "_dg".
        """
        spec = self.spec
        if spec.inverse is None:
            return Unitary(spec.matrix(np).conj().T, self.qubits, _inverse_label(self.label or self.name))
        name, angles = spec.inverse(self.angles)
        return Gate(name, self.qubits, angles, _inverse_label(self.label) if spec.is_free else self.label)


@dataclass(frozen=True, eq=False)
class Unitary:
    """A constant unitary matrix on some qubits.

    Attributes:
        matrix: (2**k, 2**k) complex128, first qubit most significant.
        qubits: the k qubits.
        label: name in drawings.
    """

    matrix: np.ndarray
    qubits: tuple[int, ...]
    label: str = "unitary"

    @property
    def key(self) -> tuple:
        """The operation as plain, comparable data."""
        return ("unitary", self.qubits, self.label, hashlib.sha256((self.matrix + 0.0).tobytes()).hexdigest())

    def on(self, qubits: Sequence[int]) -> "Unitary":
        """The same matrix with qubit q moved to `qubits[q]`."""
        return Unitary(self.matrix, tuple(qubits[q] for q in self.qubits), self.label)

    def inverse(self) -> "Unitary":
        """The conjugate transpose."""
        return Unitary(self.matrix.conj().T.copy(), self.qubits, _inverse_label(self.label))


@dataclass(frozen=True)
class Channel:
    """A noise channel by name on some qubits.

    Attributes:
        name: a key of `qjaxsim.circuits.channels.CHANNELS`, or "pauli[XX,ZI]" for a mixture of Pauli strings.
        qubits: the qubits, in the order of its matrices.
        angles: its strengths, floats or expressions.
    """

    name: str
    qubits: tuple[int, ...]
    angles: tuple[Any, ...] = ()

    @property
    def spec(self) -> ChannelSpec:
        """What the engine knows of its kind."""
        return channel_spec(self.name)

    @property
    def key(self) -> tuple:
        """The channel as plain, comparable data."""
        return ("channel", self.name, self.qubits, _comparable(self.angles))

    def on(self, qubits: Sequence[int]) -> "Channel":
        """The same channel with qubit q moved to `qubits[q]`."""
        return Channel(self.name, tuple(qubits[q] for q in self.qubits), self.angles)

    def inverse(self) -> "Channel":
        """There is none."""
        raise ValueError(f"A channel has no inverse ({self.name!r} on qubits {self.qubits}).")


@dataclass(frozen=True, eq=False)
class Kraus:
    """A constant channel: a state becomes the sum of K rho K+ over its matrices K.

    Attributes:
        matrices: (m, 2**k, 2**k) complex128, first qubit most significant; the sum of K+ K is the identity.
        qubits: the k qubits.
        label: name in drawings.
    """

    matrices: np.ndarray
    qubits: tuple[int, ...]
    label: str = "kraus"

    @property
    def key(self) -> tuple:
        """The operation as plain, comparable data."""
        return ("kraus", self.qubits, self.label, hashlib.sha256((self.matrices + 0.0).tobytes()).hexdigest())

    def on(self, qubits: Sequence[int]) -> "Kraus":
        """The same channel with qubit q moved to `qubits[q]`."""
        return Kraus(self.matrices, tuple(qubits[q] for q in self.qubits), self.label)

    def inverse(self) -> "Kraus":
        """There is none."""
        raise ValueError(f"A channel has no inverse ({self.label!r} on qubits {self.qubits}).")


@dataclass(frozen=True, eq=False)
class Preparation:
    """A state that some qubits begin in, before anything acts on them.

    Attributes:
        qubits: first most significant.
        state: (2**k,) complex128 of norm 1; or the name of a parameter with the real amplitudes, shape (2**k,), or with
            their real and imaginary parts, shape (2, 2**k). The engine divides by the norm.
        shape: of that parameter; () for a constant state.
        conjugated: whether the complex conjugate is meant.
    """

    qubits: tuple[int, ...]
    state: np.ndarray | str
    shape: tuple[int, ...] = ()
    conjugated: bool = False

    @property
    def key(self) -> tuple:
        """The operation as plain, comparable data."""
        given = self.state if isinstance(self.state, str) else hashlib.sha256((self.state + 0.0).tobytes()).hexdigest()
        return ("preparation", self.qubits, given, self.shape, self.conjugated)

    def on(self, qubits: Sequence[int]) -> "Preparation":
        """The same preparation with qubit q moved to `qubits[q]`."""
        return replace(self, qubits=tuple(qubits[q] for q in self.qubits))

    def inverse(self) -> "Preparation":
        """There is none."""
        raise ValueError(f"A preparation has no inverse (qubits {self.qubits}).")


@dataclass(frozen=True, eq=False)
class Conditional:
    """Operations that are run where classical bits have given values.

    Attributes:
        bits: the classical bits; those that nothing was measured into are 0.
        values: 0 or 1 for each.
        circuit: what is run, as wide as the circuit it stands in.
    """

    bits: tuple[int, ...]
    values: tuple[int, ...]
    circuit: "Circuit"

    @property
    def qubits(self) -> tuple[int, ...]:
        """The qubits that its operations touch."""
        return tuple(sorted({q for op in self.circuit.operations for q in op.qubits}))

    @property
    def key(self) -> tuple:
        """The operation as plain, comparable data."""
        return ("conditional", self.bits, self.values, self.circuit.key)

    def on(self, qubits: Sequence[int], n_qubits: int) -> "Conditional":
        """The same inside a circuit of `n_qubits`, qubit q moved to `qubits[q]`."""
        return Conditional(self.bits, self.values, self.circuit.on(qubits, n_qubits))

    def inverse(self) -> "Conditional":
        """There is none: the bits were measured before."""
        raise ValueError(f"A condition has no inverse (on bits {self.bits}).")


@dataclass(frozen=True, eq=False)
class Repeat:
    """A circuit run several times, each time with its own slice of the parameters.

    Attributes:
        circuit: the layer, as wide as the circuit it stands in.
        times: number of repetitions.
        shared: names of parameters that all repetitions share; the others gain a leading axis of length `times`.
        reverse: run the slices from last to first.
    """

    circuit: "Circuit"
    times: int
    shared: frozenset[str] = frozenset()
    reverse: bool = False

    @property
    def qubits(self) -> tuple[int, ...]:
        """The qubits that the layer touches."""
        return tuple(sorted({q for op in self.circuit.operations for q in op.qubits}))

    @property
    def key(self) -> tuple:
        """The operation as plain, comparable data."""
        return ("repeat", self.circuit.key, self.times, tuple(sorted(self.shared)), self.reverse)

    def on(self, qubits: Sequence[int], n_qubits: int) -> "Repeat":
        """The same repetition inside a circuit of `n_qubits`, qubit q moved to `qubits[q]`."""
        return Repeat(self.circuit.on(qubits, n_qubits), self.times, self.shared, self.reverse)

    def inverse(self) -> "Repeat":
        """The inverse layers in the opposite order."""
        return Repeat(self.circuit.inverse(), self.times, self.shared, not self.reverse)

    def outer_shape(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape that a parameter of the layer has in the surrounding circuit."""
        return shape if name in self.shared else (self.times, *shape)


Operation = (
    Gate | Channel | Unitary | Kraus | Preparation | Measure | Reset | Conditional | ReadoutError | Projection | Repeat
)
