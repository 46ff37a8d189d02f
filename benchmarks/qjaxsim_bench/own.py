"""A circuit of the user's as a problem: gates that every simulator is given, numbers for parameters, an observable.

The command writes it into the results folder, where the processes of all simulators read it.
"""

import functools
import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qjaxsim_bench.problem import Problem
from qjaxsim_bench.tasks import Angles, Op, Task, Term

if TYPE_CHECKING:
    from qjaxsim.circuits.circuit import Circuit
    from qjaxsim.circuits.sums import PauliSum

FILE = "circuit.json"
_WORK = {
    "own-state": ("state", "final state"),
    "own-expectation": ("expectation", "expectation value"),
    "own-gradient": ("gradient", "gradient of the expectation value"),
    "own-hessian": ("energy-hessian", "Hessian of the expectation value"),
}
"""Of each problem the kind of task, and what it is in words."""
GATES = (
    "h", "x", "y", "z", "s", "sdg", "t", "tdg", "sx", "sxdg", "p", "rx", "ry", "rz", "cx", "cz", "cp", "rzz", "swap",
    "ccx", "cswap", "unitary",
)  # fmt: skip
"""What a circuit is taken apart to. More than two qubits of a unitary stay together."""
WIDEST = 30


@dataclass(frozen=True)
class OwnCircuit:
    """A circuit, its observable, and numbers for its parameters.

    Attributes:
        name: of its file, without the ending.
        n_qubits: width.
        ops: gates; an angle that depends on parameters is a place in `angles`.
        theta: all parameters, one array after the other in alphabetical order.
        angles: from parameters to angles.
        terms: the observable without its constant.
        bends: whether some angle is no sum of parameters with factors; `angles` then has its tangent at `theta`.
    """

    name: str
    n_qubits: int
    ops: tuple[Op, ...]
    theta: np.ndarray
    angles: Angles
    terms: tuple[Term, ...]
    bends: bool

    def problems(self) -> tuple[str, ...]:
        """Names of the problems that it makes: no derivatives without parameters, second ones where angles are sums."""
        if not len(self.theta):
            return ("own-state", "own-expectation")
        return tuple(name for name in _WORK if not (self.bends and name == "own-hessian"))

    @property
    def text(self) -> str:
        """All of it as JSON."""
        return json.dumps(asdict(self), default=_plain)


def task(name: str, path: str) -> Task:
    """The task of a problem, from the circuit's file."""
    with Path(path).open(encoding="utf-8") as file:
        found = json.load(file)
    ops = tuple((gate, tuple(qubits), _array(angle)) for gate, qubits, angle in found["ops"])
    terms = tuple((word, tuple(qubits), value) for word, qubits, value in found["terms"])
    angles = _of_parts(**found["angles"])
    return Task(_WORK[name][0], found["n_qubits"], ops, _array(found["theta"]), terms, angles=angles)


def own_circuit(name: str, circuit: "Circuit", params: Mapping[str, np.ndarray], observable: "PauliSum") -> OwnCircuit:
    """A circuit for all simulators.

    Args:
        name: of its file, without the ending.
        circuit: gates alone.
        params: a number for every entry of its parameters.
        observable: of "own-expectation" and its derivatives; its constant is left out.

    Raises:
        ValueError: for a circuit that has more than gates, or too many qubits; an observable that is constant.
    """
    if circuit.n_qubits > WIDEST:
        raise ValueError(f"Argument `file` must hold at most {WIDEST} qubits, but {name} has {circuit.n_qubits}.")
    terms = tuple(
        ("".join(letter for _, letter in term), tuple(qubit for qubit, _ in term), float(np.real(value)))
        for term, value in observable.terms.items()
        if term
    )
    if not terms:
        raise ValueError("Argument `observable` must have a term beside its constant, but has none.")
    places: dict[Any, int] = {}
    ops = []
    for operation in _in_gates(circuit):
        angle = getattr(operation, "matrix", None)
        if angle is None and operation.angles:
            (angle,) = operation.angles
            angle = float(angle) if isinstance(angle, (int, float)) else places.setdefault(angle, len(places))
        ops.append((getattr(operation, "name", "unitary"), tuple(operation.qubits), angle))
    names = sorted(circuit.parameters)
    flat = [np.asarray(params[parameter], float).reshape(-1) for parameter in names]
    starts = dict(zip(names, itertools.accumulate(map(len, flat), initial=0), strict=False))
    theta = np.concatenate([np.zeros(0), *flat])
    angles = _angles(_sum_of(expression, starts, theta) for expression in places)
    bends = any(expression.affine() is None for expression in places)
    return OwnCircuit(name, circuit.n_qubits, tuple(ops), theta, angles, terms, bends)


def _in_gates(circuit: "Circuit") -> list[Any]:
    """The circuit's operations, all of `GATES`; global phases are left out."""
    from qiskit.circuit.equivalence_library import SessionEquivalenceLibrary as library
    from qiskit.transpiler import PassManager
    from qiskit.transpiler.passes import BasisTranslator, HighLevelSynthesis, UnrollCustomDefinitions
    from qjaxsim_qiskit import from_qiskit, to_qiskit

    from qjaxsim.circuits.operations import Conditional

    # Qiskit's passes end on these in an error of their own.
    _require_gates(operation for operation in circuit.operations if isinstance(operation, Conditional))
    lowered = PassManager(
        [
            HighLevelSynthesis(equivalence_library=library, basis_gates=list(GATES)),
            UnrollCustomDefinitions(library, list(GATES)),
            BasisTranslator(library, list(GATES)),
        ]
    ).run(to_qiskit(circuit))
    found = [operation for operation in from_qiskit(lowered).circuit.operations if operation.qubits]
    _require_gates(found)
    return found


def _require_gates(operations: Iterable[Any]) -> None:
    if others := sorted({type(operation).__name__.lower() for operation in operations} - {"gate", "unitary"}):
        raise ValueError(
            f"Argument `file` must hold a circuit of gates alone, since not every simulator takes more, but it has "
            f"{', '.join(others)}."
        )


Sum = tuple[dict[int, float], float]


def _sum_of(expression: Any, starts: Mapping[str, int], theta: np.ndarray) -> Sum:
    """An angle as factors by parameter and an offset; one that is no such sum as its tangent at these values."""
    found = expression.affine()
    if found is not None:
        summands, offset = found
        return {starts[name] + index: float(factor) for (name, index), factor in summands.items()}, float(offset)
    import jax
    import jax.numpy as jnp

    used = sorted({starts[element.name] + element.flat_index for element in expression.elements()})

    def value(numbers: Any) -> Any:
        return expression.evaluate(lambda name, index: numbers[used.index(starts[name] + index)], jnp)

    with jax.enable_x64(True):
        angle, slopes = jax.value_and_grad(value)(jnp.asarray(theta[used]))
    factors = {place: float(slope) for place, slope in zip(used, slopes, strict=True)}
    return factors, float(angle) - float(np.asarray(slopes) @ theta[used])


def _angles(sums: Iterable[Sum]) -> Angles:
    rows: list[int] = []
    columns: list[int] = []
    factors: list[float] = []
    offsets: list[float] = []
    for row, (parts, offset) in enumerate(sums):
        offsets.append(offset)
        for column, factor in parts.items():
            rows.append(row)
            columns.append(column)
            factors.append(factor)
    return _of_parts(rows, columns, factors, offsets)


def _of_parts(rows: list[int], columns: list[int], factors: list[float], offsets: list[float]) -> Angles:
    return Angles(np.array(rows, int), np.array(columns, int), np.array(factors, float), np.array(offsets, float))


def _plain(array: np.ndarray) -> Any:
    return {"real": array.real.tolist(), "imag": array.imag.tolist()} if np.iscomplexobj(array) else array.tolist()


def _array(value: Any) -> Any:
    if isinstance(value, dict):
        return np.array(value["real"]) + 1j * np.array(value["imag"])
    return np.array(value) if isinstance(value, list) else value


OWN = {
    name: Problem(name, f"{title} of the given circuit", "circuit", functools.partial(task, name), (), ())
    for name, (_, title) in _WORK.items()
}
"""The problems of a user's circuit, by name; their size is its name, made from its file in the results folder."""
