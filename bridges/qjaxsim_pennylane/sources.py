"""Tapes and QNodes: their tape, their wires, and their operations as a function of the numbers that are parameters."""

import inspect
import itertools
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.ops.mid_measure import mid_measure

from qjaxsim.circuits.expressions import Parameter, as_expression
from qjaxsim.common.checks import shown
from qjaxsim_pennylane.trainable import angle_of, floats, rebound

# How far from the example a circuit is made: far enough to be no special case such as an angle of zero, for which
# decompositions leave gates out, and so near that the program's arithmetic is defined there, too.
_NEAR = 1e-3
# Places all over the range of angles, where what the program decides by values is decided otherwise.
_PLACES = 4


class _Names:
    """In place of PennyLane's `uuid` while QNodes are read: a count, in whose order names are sorted.

    PennyLane sorts while a QNode's function runs, so that names given afterwards would come too late. No name is given
    twice in a process, so that several threads may read, and others make tapes of their own in the meantime.
    """

    def __init__(self) -> None:
        self._count = itertools.count()
        self._lock = threading.Lock()
        self._readers = 0
        self._own: Any = None

    def uuid4(self) -> str:
        """The next name."""
        return f"{next(self._count):015d}"

    def __enter__(self) -> None:
        with self._lock:
            if not self._readers:
                self._own, mid_measure.uuid = mid_measure.uuid, self
            self._readers += 1

    def __exit__(self, *_: Any) -> None:
        with self._lock:
            self._readers -= 1
            if not self._readers:
                mid_measure.uuid = self._own


_names_in_order = _Names()


@dataclass(frozen=True, eq=False)
class Numbers:
    """A tape as a function of some numbers, all others fixed.

    Attributes:
        tape: PennyLane's, for an array of each parameter by name.
        values: by name of the parameter.
    """

    tape: Callable[[Mapping[str, Any]], Any]
    values: Mapping[str, np.ndarray]

    @property
    def flat(self) -> np.ndarray:
        """All values in a row."""
        return np.concatenate([np.zeros(0), *(value.ravel() for value in self.values.values())])

    @property
    def places(self) -> np.ndarray:
        """Rows of numbers near the example, and then of others to compare the tape of the first with."""
        rng = np.random.default_rng(0)
        here, there = (self.flat + sign * _NEAR * rng.uniform(1, 2, self.flat.shape) for sign in (1, -1))
        return np.array([here, there, -here, *rng.uniform(-np.pi, np.pi, (_PLACES, *here.shape))])

    @property
    def symbols(self) -> np.ndarray:
        """Our expression for each of them, (P,) objects."""
        out = []
        for name, value in self.values.items():
            parameter = Parameter(name, value.shape)
            out += [as_expression(parameter[index] if index else parameter) for index in np.ndindex(value.shape)]
        return np.array(out, dtype=object)

    def split(self, flat: Any) -> dict[str, Any]:
        """A row of numbers, traced or not, as the arrays by name."""
        return dict(zip(self.values, _pieces(flat, self.values.values()), strict=True))


def _pieces(row: Any, like: Iterable[np.ndarray]) -> list[Any]:
    """A row of numbers, traced or not, cut into arrays of the shapes of others."""
    out, start = [], 0
    for each in like:
        part = row[start : start + each.size]
        out.append(part.reshape(each.shape) if each.shape else part[0])
        start += each.size
    return out


def tape_of(source: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The tape itself, or that of a QNode for its arguments.

    Raises:
        TypeError: for anything but a tape or QNode, and for arguments of a tape.
        ValueError: if the QNode's transforms make several.
    """
    if isinstance(source, qml.QNode):
        return _constructed(source, args, kwargs)
    if not isinstance(source, qml.tape.QuantumScript):
        way = "; its attribute `qnode` is one" if isinstance(getattr(source, "qnode", None), qml.QNode) else ""
        raise TypeError(f"Argument `source` must be a tape or a QNode of PennyLane, but is {shown(source)}{way}.")
    if args or kwargs:
        raise TypeError(f"A tape takes no arguments, but got {shown((*args, *kwargs))}; they are for QNodes.")
    return source


def _constructed(qnode: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """A QNode's tape, with measurements named in their order.

    PennyLane names them at random and sorts those of a condition by name, so that the order of controls, and of the
    gates for each outcome, would change from tape to tape.
    """
    with _names_in_order:
        tapes, _ = qml.workflow.construct_batch(qnode)(*args, **kwargs)
    if len(tapes) > 1:
        raise ValueError(
            f"Argument `source` must make one tape, but its transforms make {len(tapes)}; leave out those that split "
            "it, or give one of the tapes."
        )
    return tapes[0]


def wires_of(source: Any, tape: Any, wire_order: Iterable[Any] | None) -> tuple[Any, ...]:
    """Labels of the wires in the order of our qubits.

    Raises:
        ValueError: if there are none, or `wire_order` lacks one or names one twice.
    """
    used = tape.wires.tolist()
    if wire_order is not None:
        order = tuple(wire_order)
        if missing := [wire for wire in used if wire not in order]:
            raise ValueError(f"Argument `wire_order` must name every wire, but {order} lacks {missing}.")
        if len(set(order)) < len(order):
            raise ValueError(f"Argument `wire_order` must name a wire once, but is {order}.")
        return order
    device = getattr(getattr(source, "device", None), "wires", None) or ()
    if any(not measurement.wires and measurement.mv is None for measurement in tape.measurements):
        used += [wire for wire in device if wire not in used]
    if not used:
        raise ValueError(
            "A circuit must have at least one qubit, but the tape has no wires; name them in `wire_order`."
        )
    if device:
        return tuple(wire for wire in device if wire in used)
    return tuple(range(len(used))) if set(used) == set(range(len(used))) else tuple(used)


def numbers_of(source: Any, tape: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], parameters: str) -> Numbers:
    """The tape as a function of the numbers that become parameters.

    Raises:
        ValueError: for "arguments" of a tape, and if no number is of the kind that is asked for.
    """
    if parameters == "constant":
        return Numbers(lambda values: tape, {})
    if parameters == "trainable":
        numbers = _of_tape(tape)
    elif isinstance(source, qml.QNode):
        numbers = _of_qnode(source, args, kwargs)
    else:
        raise ValueError('A tape has no arguments; use parameters="trainable" or "constant", or give the QNode.')
    if not numbers.flat.size:
        ways = {
            "trainable": "has no trainable angle; mark numbers as trainable (`tape.trainable_params`, "
            "`pennylane.numpy.array(..., requires_grad=True)` for a QNode)",
            "arguments": "has no argument that is a float or an array of floats; give it such (1.0 for 1), outside "
            "dictionaries",
        }
        raise ValueError(f'The circuit {ways[parameters]}, or use parameters="constant".')
    return numbers


def _of_tape(tape: Any) -> Numbers:
    """The trainable angles as one row."""
    places, parts = [], []
    for index in tape.trainable_params:
        info = tape.par_info[index]
        if info["op_idx"] >= len(tape.operations):
            continue
        if (value := angle_of(info["op"], info["p_idx"])) is not None:
            places.append((info["op_idx"], info["p_idx"]))
            parts.append(value)

    def bound(values: Mapping[str, Any]) -> Any:
        angles: dict[int, dict[int, Any]] = {}
        for (place, number), value in zip(places, _pieces(values["params"], parts), strict=True):
            angles.setdefault(place, {})[number] = value
        operations = list(tape.operations)
        for place, own in angles.items():
            operations[place] = rebound(operations[place], own)
        return tape.copy(operations=operations)

    return Numbers(bound, {"params": np.concatenate([np.zeros(0), *(part.ravel() for part in parts)])})


def _of_qnode(qnode: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Numbers:
    """The arguments that are floats, by name."""
    bound = inspect.signature(qnode.func).bind(*args, **kwargs)
    found = {name: floats(value) for name, value in bound.arguments.items()}

    def tape(values: Mapping[str, Any]) -> Any:
        bound.arguments.update(values)
        return _constructed(qnode, bound.args, bound.kwargs)

    return Numbers(tape, {name: value for name, value in found.items() if value is not None and value.size})
