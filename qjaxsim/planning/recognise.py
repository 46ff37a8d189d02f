"""Finding layers that repeat in a flat circuit, so that they run as a loop. NumPy only, no JAX."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.expressions import Expression, Parameter
from qjaxsim.circuits.operations import Gate, Operation, Repeat, Unitary

# Shorter stretches are written out: blocks across layers save more than a short program.
MIN_TIMES, MIN_GATES = 8, 600
# How many distances between equal gates are tried as the length of a layer.
PERIODS = 12


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


def with_loops(circuit: Circuit, data: frozenset[str], scan: bool | None = None) -> Recognised:
    """Replace the longest stretch of equal layers by a `Repeat`, and so on to its left and right.

    Layers are equal if they apply the same gates to the same qubits; angles that differ from layer to layer become
    elements of made parameters.

    Args:
        circuit: any circuit; its repeats stay as they are.
        data: names of the parameters that carry the batch.
        scan: True takes every stretch of two layers or more, False none, None those that are long.
    """
    least = (2, 2) if scan else (MIN_TIMES, MIN_GATES)
    operations = circuit.operations
    if scan is False or len(operations) < least[1]:
        return Recognised(circuit)
    keys = _keys(operations)
    builder = _Builder(circuit, data)
    _split(keys, 0, len(keys), least, builder)
    return (
        Recognised(builder.circuit, builder.definitions, frozenset(builder.data))
        if builder.made
        else Recognised(circuit)
    )


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


def _split(keys: np.ndarray, start: int, stop: int, least: tuple[int, int], builder: "_Builder") -> None:
    """Add operations start..stop to the builder, its longest repetition as a loop."""
    found = _longest(keys[start:stop], least)
    if found is None:
        builder.copy(start, stop)
        return
    offset, period, times = found
    _split(keys, start, start + offset, least, builder)
    builder.loop(start + offset, period, times)
    _split(keys, start + offset + period * times, stop, least, builder)


def _longest(keys: np.ndarray, least: tuple[int, int]) -> tuple[int, int, int] | None:
    """Offset, period and number of the layers that cover most gates, short layers first among equals."""
    best: tuple[int, int, int, int] | None = None
    for period in _periods(keys):
        equal = np.concatenate([[False], keys[:-period] == keys[period:], [False]])
        edges = np.flatnonzero(equal[1:] != equal[:-1])
        for begin, end in edges.reshape(-1, 2).tolist():
            times = (end - begin) // period + 1
            covered = times * period
            if times >= least[0] and covered >= least[1] and (best is None or covered > best[0]):
                best = (covered, begin, period, times)
    return None if best is None else best[1:]


def _periods(keys: np.ndarray) -> list[int]:
    """Distances between successive equal gates: the most frequent ones, ascending."""
    order = np.argsort(keys, kind="stable")
    same = keys[order][1:] == keys[order][:-1]
    distances, counts = np.unique(np.diff(order)[same], return_counts=True)
    return sorted(distances[np.argsort(-counts, kind="stable")][:PERIODS].tolist())


class _Builder:
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
        rows = [self.original[start + i * period : start + (i + 1) * period] for i in range(times)]
        slots: dict[str, list[tuple[Any, ...]]] = {"weights": [], "data": []}
        planned: list[tuple[Operation, list[Any]]] = []
        for column in zip(*rows, strict=True):
            angles = [op.angles for op in column if isinstance(op, Gate)]
            planned.append((column[0], [self._slot(values, slots) for values in zip(*angles, strict=True)]))
        names = {label: f"{label} of loop {self.made}" for label in slots}
        parameters = {label: Parameter(names[label], (len(slots[label]),)) for label in slots if slots[label]}
        layer = Circuit(self.circuit.n_qubits)
        for operation, chosen in planned:
            if isinstance(operation, Gate):
                values = tuple(parameters[c[0]][c[1]] if isinstance(c, tuple) else c for c in chosen)
                operation = Gate(operation.name, operation.qubits, values)
            layer.extend([operation])
        for label in parameters:
            self.definitions[names[label]] = tuple(slot[i] for i in range(times) for slot in slots[label])
        if "data" in parameters:
            self.data.add(names["data"])
        shared = {name for name in layer.parameters if name not in self.definitions}
        self.circuit.extend([Repeat(layer, times, frozenset(shared))])
        self.made += 1

    def _slot(self, values: tuple[Any, ...], slots: dict[str, list[tuple[Any, ...]]]) -> Any:
        """One angle of the layer: itself if all layers agree, else a place in a made parameter."""
        if all(value == values[0] for value in values):
            return values[0]
        uses_data = any(
            element.name in self.names for v in values if isinstance(v, Expression) for element in v.elements()
        )
        label = "data" if uses_data else "weights"
        slots[label].append(values)
        return (label, len(slots[label]) - 1)
