"""A plan layer by layer: every dense step holds gates on different qubits. For derivatives of the state. NumPy only.

`plan.py` puts gates one after the other into one block, which is best for running a state. Where derivatives in all
angles are carried along, an angle should be near the surface: in a step whose gates with angles touch no qubit twice,
the derivative in one of them is a small matrix on its qubits, applied after the step.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.expressions import Element, Expression
from qjaxsim.circuits.operations import Gate, Operation, Repeat
from qjaxsim.planning import cost
from qjaxsim.planning.layout import Planned, lay_out
from qjaxsim.planning.leaves import Leaf, PauliRotation
from qjaxsim.planning.normal_form import normal_form
from qjaxsim.planning.schedule import FULL_REGISTER, Graph, Group
from qjaxsim.planning.steps import Plan

# Most qubits in a dense step: derivatives take a matrix of its size for each angle.
WIDEST = 6
# What a step costs whatever its size, and an entry of an angle's matrix, in operations (see `cost.py`).
STEP, ENTRY = 2e5, 40


def layered_plan(circuit: Circuit, columns: int, max_block: int | None = None) -> Plan:
    """Plan a circuit without projections from |0...0>, each gate with one angle at most.

    Args:
        circuit: what to run; its repeats are written out.
        columns: states that are carried along, on the average.
        max_block: most qubits in a dense step, unless one gate needs more; None chooses by cost.
    """
    n_qubits = circuit.n_qubits
    flat = Circuit(n_qubits).extend(_single_angles(written_out(circuit.operations)))
    items: list[Planned] = []
    for is_leaf, members in itertools.groupby(normal_form(flat, ()), lambda item: isinstance(item, Leaf)):
        if is_leaf:
            items.extend(_Layers(list(members), n_qubits, columns, max_block).groups())  # type: ignore[arg-type]
        else:
            items.extend(members)  # type: ignore[arg-type]
    return Plan(n_qubits, tuple(lay_out(items, (), n_qubits)))


class _Layers:
    """Leaves in layers: dense ones on different qubits, then what is diagonal or permutes, and so on."""

    def __init__(self, leaves: Sequence[Leaf], n_qubits: int, columns: int, max_block: int | None):
        self.graph, self.n_qubits = Graph(leaves), n_qubits
        self.amplitudes = float(columns) * 2**n_qubits
        self.limit = min(WIDEST if max_block is None else max_block, n_qubits)
        self.everything = (1 << n_qubits) - 1
        self.backwards = False

    def groups(self) -> list[Group]:
        """In time order."""
        out: list[Group] = []
        while self.graph.ready:
            out.extend(self._dense())
            while found := [
                *self._wide("diagonal", self._is_diagonal),
                *self._wide("monomial", self._is_monomial),
                *self._rotation(),
            ]:
                out.extend(found)
        return out

    def _wide(self, kind: str, accept: Callable[[int], bool]) -> list[Group]:
        members, _ = self.graph.absorb(self.everything, accept)
        return [self._taken(kind, members)] if members else []

    def _rotation(self) -> list[Group]:
        """The oldest ready rotation about a Pauli string that is no named gate, by itself."""
        strings = [i for i in self.graph.ready if self._is_string(i)]
        return [self._taken("rotation", [min(strings)])] if strings else []

    def _is_string(self, i: int) -> bool:
        return isinstance(self.graph.leaf(i).factors[0], PauliRotation) and not self._is_diagonal(i)

    def _is_diagonal(self, i: int) -> bool:
        return self.graph.kinds[i] == "diagonal"

    def _is_monomial(self, i: int) -> bool:
        factors = self.graph.leaf(i).factors
        fixed = len(factors) == 1 and isinstance(factors[0], np.ndarray)
        return self.n_qubits <= FULL_REGISTER and fixed and self.graph.kinds[i] != "dense"

    def _dense(self) -> list[Group]:
        """The other ready leaves, as far as they touch no qubit twice, in blocks."""
        free, layer = self.everything, []
        for i in sorted(self.graph.ready):
            elsewhere = self._is_diagonal(i) or self._is_monomial(i) or self._is_string(i)
            if not elsewhere and not self.graph.masks[i] & ~free:
                layer.append(i)
                free &= ~self.graph.masks[i]
        # There and back again: the qubits of the last block are in front already.
        layer.sort(key=lambda i: self.graph.leaf(i).qubits[0], reverse=self.backwards)
        self.backwards = not self.backwards
        return [self._taken("dense", members) for members in self._blocks(layer)]

    def _blocks(self, layer: Sequence[int]) -> list[list[int]]:
        blocks: list[list[int]] = []
        width, left = self._width(layer) if layer else 0, 0
        for i in layer:
            size = len(self.graph.leaf(i).qubits)
            if size > left:
                blocks.append([])
                left = width
            blocks[-1].append(i)
            left -= size
        return blocks

    def _width(self, layer: Sequence[int]) -> int:
        """The width of equal blocks for a layer with the least cost."""
        qubits = sum(len(self.graph.leaf(i).qubits) for i in layer)
        angles = sum(isinstance(factor, Gate) for i in layer for factor in self.graph.leaf(i).factors)

        def price(count: int) -> float:
            width = -(-qubits // count)
            run = count * (STEP + (8 * 2**width + cost.PASS + cost.TRANSPOSE) * self.amplitudes)
            return run + angles * (ENTRY * 4**width + 16 * 2**width * 2**self.n_qubits)

        return -(-qubits // min(range(-(-qubits // self.limit), qubits + 1), key=price))

    def _taken(self, kind: str, members: list[int]) -> Group:
        self.graph.take(members)
        leaves = tuple(self.graph.leaf(i) for i in members)
        return Group(kind, tuple(sorted({q for leaf in leaves for q in leaf.qubits})), leaves, False)


# --- operations ------------------------------------------------------------------------------------------------------


def written_out(operations: Iterable[Operation]) -> Iterable[Operation]:
    """The operations with the layers of repeats one after the other, and their own parameters as entries."""
    for operation in operations:
        if not isinstance(operation, Repeat):
            yield operation
            continue
        layer = list(written_out(operation.circuit.operations))
        times = range(operation.times)
        for i in reversed(times) if operation.reverse else times:
            yield from (_in_iteration(inner, operation, i) for inner in layer)


def _in_iteration(operation: Operation, repeat: Repeat, i: int) -> Operation:
    if not isinstance(operation, Gate):
        return operation
    return replace(operation, angles=tuple(_own(angle, repeat, i) for angle in operation.angles))


def _own(angle: Any, repeat: Repeat, i: int) -> Any:
    """An angle with the parameters of iteration i."""
    if not isinstance(angle, Expression):
        return angle
    if not isinstance(angle, Element):
        return replace(angle, args=tuple(_own(arg, repeat, i) for arg in angle.args))
    if angle.name in repeat.shared:
        return angle
    return replace(angle, shape=(repeat.times, *angle.shape), index=(i, *angle.index))


def _single_angles(operations: Iterable[Operation]) -> Iterable[Operation]:
    """The operations with gates of several angles as products of gates of one."""
    for operation in operations:
        if isinstance(operation, Gate) and operation.name in _PRODUCTS:
            for name, places, angle in _PRODUCTS[operation.name](*operation.angles):
                yield Gate(name, tuple(operation.qubits[place] for place in places), (angle,))
        else:
            yield operation


Factors = list[tuple[str, tuple[int, ...], Any]]


def _u(theta: Any, phi: Any, lam: Any) -> Factors:
    return [("p", (0,), lam), ("ry", (0,), theta), ("p", (0,), phi)]


def _cu(theta: Any, phi: Any, lam: Any, gamma: Any = 0.0) -> Factors:
    return [("cp", (0, 1), lam), ("cry", (0, 1), theta), ("cp", (0, 1), phi), ("p", (0,), gamma)]


def _exchange(sign: int) -> Callable[..., Factors]:
    """exp(-i theta (XX +- YY) / 4) between rotations about Z."""
    return lambda theta, beta: [
        ("rz", (0,), sign * beta),
        ("rxx", (0, 1), theta / 2),
        ("ryy", (0, 1), sign * theta / 2),
        ("rz", (0,), -sign * beta),
    ]


# Gates of several angles: names, places among the gate's qubits and angles of their factors in time order.
_PRODUCTS: dict[str, Callable[..., Factors]] = {
    "u": _u,
    "u3": _u,
    "u2": lambda phi, lam: _u(math.pi / 2, phi, lam),
    "cu3": _cu,
    "cu": _cu,
    "r": lambda theta, phi: [("rz", (0,), -phi), ("rx", (0,), theta), ("rz", (0,), phi)],
    "xx_plus_yy": _exchange(1),
    "xx_minus_yy": _exchange(-1),
}
