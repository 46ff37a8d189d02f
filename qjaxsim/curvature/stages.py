"""Circuits cut into stages: rotations of single qubits that data take part in, and weights alone.

`stage_sweep.py` finds derivatives stage by stage; this file holds the structure that it works on.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.expressions import Expression
from qjaxsim.circuits.gates import GATES
from qjaxsim.circuits.inspection import is_unitary, used_parameters
from qjaxsim.circuits.observables import PauliSum
from qjaxsim.circuits.operations import Gate, Operation, Repeat
from qjaxsim.planning.options import PlanOptions
from qjaxsim.running.array_types import taken
from qjaxsim.running.simulate import expectation, statevector, unitary

Entry = tuple[int, int, float]
"""Number of a gate on its qubit, place of a parameter in its angle, the angle's derivative in it."""


@dataclass(frozen=True, eq=False)
class Wire:
    """Rotations and constant gates on one qubit, in time order.

    Attributes:
        qubit: where they act.
        gates: the gates.
        entries: the parameters in their angles, in the order of the gates.
    """

    qubit: int
    gates: tuple[Gate, ...]
    entries: tuple[Entry, ...]


@dataclass(frozen=True, eq=False)
class Stage:
    """A part of a circuit.

    Attributes:
        circuit: its operations.
        wires: rotations that data take part in, by qubit; None for a stage of weights.
        own: places of its parameters, one for each tangent: in a stage of weights each parameter once, else one for
            each entry, wire by wire.
        first: whether it acts on |0...0>.
    """

    circuit: Circuit
    wires: tuple[Wire, ...] | None
    own: np.ndarray
    first: bool

    @cached_property
    def matrix(self) -> Callable[..., jax.Array]:
        """From the circuit's parameters to its matrix, (d, d), or to its state (d,) where it is the first.

        Made once: JAX then knows its trace, which took most of the time that a product with H is traced.
        """
        return statevector(self.circuit) if self.first else unitary(self.circuit)


@dataclass(frozen=True, eq=False)
class StagedCircuit:
    """Expectation values of a circuit as the outputs of a part, with the structure that `split_hessian` makes use of.

    Callable: `part(u, x)` gives <O_k>, shape (B, K), for flat parameters u (U,) and inputs x of B samples.

    Attributes:
        circuit: any; without projections, and with data in rotations of single qubits alone, it has stages.
        observables: one for each output.
        index: by name of a circuit parameter, the places of its elements in u, in the parameter's shape. For a name
            that samples bring too, u is added to their values (a bias).
        inputs: from x to the values that samples bring, by name of a circuit parameter, each (B, *shape).
        data: the names that `inputs` gives.
        options: forced choices of the engine's planner for the outputs themselves.

    Raises:
        ValueError: if a parameter has neither data nor places, or places of another shape.

    >>> import jax.numpy as jnp, qjaxsim as qj
    >>> circuit = qj.Circuit(1).ry(qj.Parameter("x"), 0).ry(qj.Parameter("w"), 0)  # <Z> is cos(x + w)
    >>> part = StagedCircuit(circuit, (qj.Z(0),), {"w": np.array(0)}, lambda x: {"x": x}, frozenset({"x"}))
    >>> print(np.asarray(part(jnp.array([0.5]), jnp.array([0.0, 0.5]))).round(3))
    [[0.878]
     [0.54 ]]
    """

    circuit: Circuit
    observables: tuple[PauliSum, ...]
    index: Mapping[str, np.ndarray]
    inputs: Callable[[Any], Mapping[str, jax.Array]]
    data: frozenset[str]
    options: PlanOptions | None = None

    def __post_init__(self) -> None:
        for name, shape in self.circuit.parameters.items():
            found = np.shape(self.index[name]) if name in self.index else None
            if found is None and name not in self.data:
                raise ValueError(f"Argument `index` lacks the parameter {name!r}, which is not in `data` either.")
            if found not in (None, shape):
                raise ValueError(f"Argument `index` must give {name!r} places of its shape {shape}, but has {found}.")

    @cached_property
    def _values(self) -> Callable[..., jax.Array]:
        return expectation(self.circuit, self.observables, options=self.options)

    def __call__(self, u: jax.Array, x: Any) -> jax.Array:
        """The outputs, shape (B, K)."""
        return self._values(self.params(u, x, self.circuit.parameters))

    def params(self, u: jax.Array, x: Any, names: Iterable[str]) -> dict[str, jax.Array]:
        """The circuit's parameters of these names."""
        given = self.inputs(x) if self.data & set(names) else {}
        return {name: self._value(name, u, given) for name in names}

    def _value(self, name: str, u: jax.Array, given: Mapping[str, jax.Array]) -> jax.Array:
        if name not in self.index:
            return given[name]
        own = taken(u, self.index[name])
        return own if name not in given else given[name] + own[None]

    @cached_property
    def stages(self) -> tuple[Stage, ...] | None:
        """The circuit's stages in time order; None if data enter other gates than rotations of one qubit."""
        out: list[Stage] = []
        if not self.data or not is_unitary(self.circuit.operations):
            return None
        for operations, data in _stretches(self.circuit.operations, self.data):
            circuit = Circuit(self.circuit.n_qubits)
            circuit.extend(operations)
            wires = self._wires(operations) if data else None
            if data and wires is None:
                return None
            own = self._weights(operations) if wires is None else [place for w in wires for _, place, _ in w.entries]
            out.append(Stage(circuit, wires, np.array(own, int), not out))
        return tuple(out)

    @cached_property
    def order(self) -> np.ndarray:
        """The parameter that each tangent belongs to; one used in two stages appears twice."""
        assert self.stages is not None
        return np.concatenate([stage.own for stage in self.stages])

    @property
    def numbers_a_sample(self) -> int:
        """Numbers in the tangents of one sample's state; 0 where there are no stages."""
        return 0 if self.stages is None else 2 * 2**self.circuit.n_qubits * len(self.order)

    @property
    def numbers_held(self) -> int:
        """Numbers in the matrices of the stages of weights, their derivatives and R among tangents."""
        if self.stages is None:
            return 0
        size = 2**self.circuit.n_qubits
        weights = [stage for stage in self.stages if stage.wires is None]
        # By stage: its matrix, what is carried for it, and one derivative for each weight.
        matrices = sum(2 * size * (1 if stage.first else size) * (2 + len(stage.own)) for stage in weights)
        return matrices + len(self.order) ** 2

    def _weights(self, operations: Sequence[Operation]) -> list[int]:
        """Places of the parameters in use, ascending, each once."""
        found: set[int] = set()
        for operation in operations:
            for name, row in _elements(operation):
                found.add(int(self.index[name].reshape(-1)[row]))
        return sorted(found)

    def _wires(self, operations: Sequence[Operation]) -> tuple[Wire, ...] | None:
        """Gates by qubit, or None where one is no rotation of one qubit with an angle affine in the parameters."""
        by_qubit: dict[int, list[Gate]] = {}
        for operation in operations:
            if not isinstance(operation, Gate) or len(operation.qubits) != 1:
                return None
            by_qubit.setdefault(operation.qubits[0], []).append(operation)
        wires = []
        for qubit, gates in sorted(by_qubit.items()):
            entries: list[Entry] = []
            for number, gate in enumerate(gates):
                angles = [angle for angle in gate.angles if isinstance(angle, Expression)]
                affine = angles[0].affine() if angles else ({}, 0.0)
                if angles and (affine is None or GATES[gate.name].pauli is None):
                    return None
                assert affine is not None
                for (name, row), factor in affine[0].items():
                    if name in self.index:
                        entries.append((number, int(self.index[name].reshape(-1)[row]), factor))
            wires.append(Wire(qubit, tuple(gates), tuple(entries)))
        return tuple(wires)


def _elements(operation: Operation) -> Iterable[tuple[str, int]]:
    """Name and flat index of every parameter element that an operation uses."""
    if isinstance(operation, Repeat):
        for name, shape in used_parameters(operation):
            yield from ((name, row) for row in range(math.prod(shape)))
    elif isinstance(operation, Gate):
        for angle in operation.angles:
            if isinstance(angle, Expression):
                yield from ((element.name, element.flat_index) for element in angle.elements())


def _stretches(operations: Sequence[Operation], data: frozenset[str]) -> list[tuple[list[Operation], bool]]:
    """Stretches of one-qubit gates that hold data, and all that lies between them."""
    out: list[tuple[list[Operation], bool]] = []
    for _, group in itertools.groupby(operations, lambda op: isinstance(op, Gate) and len(op.qubits) == 1):
        members = list(group)
        marked = any(name in data for op in members for name, _ in _elements(op))
        if out and not marked and not out[-1][1]:
            out[-1][0].extend(members)
        else:
            out.append((members, marked))
    return out
