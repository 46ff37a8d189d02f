"""Finding layers that repeat in a flat circuit, so that they run as a loop. NumPy only, no JAX."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.expressions import Expression, Parameter
from qjaxsim.circuits.inspection import used_parameters
from qjaxsim.circuits.operations import Gate, Operation, Repeat, Unitary


class Least(NamedTuple):
    """What makes a stretch a loop.

    Attributes:
        times: fewest layers.
        gates: fewest gates in all, where some have angles.
        fixed: fewest where none has: such gates become few matrices, or a state, before anything runs.
    """

    times: int
    gates: int
    fixed: int = 600


FORCED, LONG = Least(2, 2, 2), Least(8, 600)
# Of small states the length of the program decides what compiling and running it takes; of large ones passes over
# memory, which blocks across layers save. A layer on few qubits has few blocks, which the loop brings back into order.
SMALL, FEW_QUBITS = 2**14, 10
OF_FEW, OF_SMALL = Least(3, 32), Least(8, 200)
# How many distances between equal gates are tried as the length of a layer, and how often a gate may stand in one.
PERIODS, OFTEN = 12, 4


@dataclass(frozen=True)
class Recognised:
    """A circuit with loops in place of repeated stretches.

    Attributes:
        circuit: the circuit to plan.
        definitions: by name of each made parameter, its elements as angles of the original circuit.
        data: names of the made parameters that carry the batch.
    """

    circuit: Circuit
    definitions: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    data: frozenset[str] = frozenset()


def with_loops(circuit: Circuit, data: frozenset[str], columns: int, scan: bool | None = None) -> Recognised:
    """Replace the longest stretch of equal layers by a `Repeat`, and so on to its left and right.

    Layers are equal if they apply the same gates to the same qubits; angles that differ from layer to layer become
    elements of made parameters.

    Args:
        circuit: any circuit; its repeats stay as they are.
        data: names of the parameters that carry the batch.
        columns: states that are run together.
        scan: True takes every stretch of two layers or more, False none, None those that are long for their states.
    """
    least = FORCED if scan else _least(circuit.n_qubits, columns)
    operations = circuit.operations
    if scan is False or len(operations) < least.gates:
        return Recognised(circuit)
    keys, turning = _keys(operations), np.array([bool(used_parameters(operation)) for operation in operations])
    looped = _Looped(circuit, data)
    _split(keys, turning, 0, len(keys), least, looped)
    return (
        Recognised(looped.circuit, looped.definitions, frozenset(looped.data)) if looped.made else Recognised(circuit)
    )


def _least(n_qubits: int, columns: int) -> Least:
    """What is a loop of so many states together."""
    if columns * 2**n_qubits > SMALL:
        return LONG
    return OF_FEW if n_qubits <= FEW_QUBITS else OF_SMALL


def _keys(operations: Sequence[Operation]) -> np.ndarray:
    """A number for each operation, equal for equal gates on equal qubits whatever their angles."""
    numbers: dict[Any, int] = {}
    out = []
    for position, operation in enumerate(operations):
        key: Any = position  # never equal to another: projections and repeats are left alone
        if isinstance(operation, Gate):
            key = (operation.name, operation.qubits)
        elif isinstance(operation, Unitary):
            key = operation.key
        out.append(numbers.setdefault(key, len(numbers)))
    return np.array(out)


def _split(keys: np.ndarray, turning: np.ndarray, start: int, stop: int, least: Least, looped: "_Looped") -> None:
    """Add operations start..stop to the looped, its longest repetition as a loop."""
    found = _longest(keys[start:stop], turning[start:stop], least)
    if found is None:
        looped.copy(start, stop)
        return
    offset, period, times = found
    _split(keys, turning, start, start + offset, least, looped)
    looped.loop(start + offset, period, times)
    _split(keys, turning, start + offset + period * times, stop, least, looped)


def _longest(keys: np.ndarray, turning: np.ndarray, least: Least) -> tuple[int, int, int] | None:
    """Offset, period and number of the layers that cover most gates, short layers first among equals."""
    best: tuple[int, int, int, int] | None = None
    for period in _periods(keys):
        equal = np.concatenate([[False], keys[:-period] == keys[period:], [False]])
        edges = np.flatnonzero(equal[1:] != equal[:-1])
        for begin, end in edges.reshape(-1, 2).tolist():
            times = (end - begin) // period + 1
            covered = times * period
            fewest = least.gates if turning[begin : begin + covered].any() else least.fixed
            if times >= least.times and covered >= fewest and (best is None or covered > best[0]):
                best = (covered, begin, period, times)
    return None if best is None else best[1:]


def _periods(keys: np.ndarray) -> list[int]:
    """Distances from gates to the next equal ones, and to those after them: the most frequent ones, ascending."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    away = [(order[lag:] - order[:-lag])[ordered[lag:] == ordered[:-lag]] for lag in range(1, OFTEN + 1)]
    distances, counts = np.unique(np.concatenate(away), return_counts=True)
    return sorted(distances[np.argsort(-counts, kind="stable")][:PERIODS].tolist())


class _Looped:
    """The new circuit while it grows."""

    def __init__(self, circuit: Circuit, data: frozenset[str]):
        self.original = circuit.operations
        self.circuit = Circuit(circuit.n_qubits)
        self.names = data
        self.definitions: dict[str, tuple[Any, ...]] = {}
        self.data: set[str] = set()
        self.made = 0

    def copy(self, start: int, stop: int) -> None:
        """Take operations over as they are."""
        self.circuit.extend(self.original[start:stop])

    def loop(self, start: int, period: int, times: int) -> None:
        """Take over `times` layers of `period` operations as a loop."""
        columns = [self.original[start + i : start + times * period : period] for i in range(period)]
        slots = _Slots(self.names)
        angles = [slots.angles(column) for column in columns]
        made = slots.parameters(f"of loop {self.made}")
        layer = Circuit(self.circuit.n_qubits).extend(
            replace(first, angles=tuple(made[c[0]][c[1]] if isinstance(c, tuple) else c for c in chosen))
            if isinstance(first := column[0], Gate)
            else first
            for column, chosen in zip(columns, angles, strict=True)
        )
        for label, parameter in made.items():
            self.definitions[parameter.name] = tuple(values[i] for i in range(times) for values in slots.of[label])
        if "data" in made:
            self.data.add(made["data"].name)
        shared = frozenset(name for name in layer.parameters if name not in self.definitions)
        self.circuit.extend([Repeat(layer, times, shared)])
        self.made += 1


class _Slots:
    """Places in the parameters that a loop makes: for each, its angles in all layers."""

    def __init__(self, data: frozenset[str]):
        self.data = data
        self.of: dict[str, list[tuple[Any, ...]]] = {"weights": [], "data": []}

    def angles(self, column: Sequence[Operation]) -> list[Any]:
        """Angles of one gate of the layer, from the same gate in all layers."""
        each = [operation.angles for operation in column if isinstance(operation, Gate)]
        return [self._angle(values) for values in zip(*each, strict=True)]

    def _angle(self, values: tuple[Any, ...]) -> Any:
        """Itself if all layers agree, else a place: the made parameter's label and the number there."""
        if all(value == values[0] for value in values):
            return values[0]
        elements = (element for v in values if isinstance(v, Expression) for element in v.elements())
        label = "data" if any(element.name in self.data for element in elements) else "weights"
        self.of[label].append(values)
        return (label, len(self.of[label]) - 1)

    def parameters(self, what: str) -> dict[str, Parameter]:
        """The made parameters in use, by label."""
        return {label: Parameter(f"{label} {what}", (len(found),)) for label, found in self.of.items() if found}
