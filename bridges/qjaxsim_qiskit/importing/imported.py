"""Qiskit's circuits as ours."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.expressions import Expression, Parameter, as_expression
from qjaxsim.common.memory import require_memory
from qjaxsim.common.words import counted
from qjaxsim_qiskit.exporting import name_and_index, recorded_shapes
from qjaxsim_qiskit.importing.operations import Reader
from qjaxsim_qiskit.importing.values import Binding
from qjaxsim_qiskit.meaning.blocks import with_written_blocks
from qjaxsim_qiskit.meaning.delays import awaits_schedule
from qjaxsim_qiskit.meaning.evolution import check_evolution
from qjaxsim_qiskit.meaning.layouts import chosen_qubits, on_qubits, used_qubits
from qjaxsim_qiskit.meaning.unrolling import Item, Unrolled, unrolled

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

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

    >>> from qiskit import QuantumCircuit
    >>> circuit = QuantumCircuit(2, 1)
    >>> _ = circuit.measure(1, 0)
    >>> from_qiskit(circuit).measurements
    (Measurement(qubit=1, clbit=0, register='c', index=0),)
    """

    qubit: int
    clbit: int
    register: str | None
    index: int | None


@dataclass(frozen=True, eq=False, repr=False)
class ImportedCircuit:
    """A Qiskit circuit in our form.

    Attributes:
        circuit: ours; qubit q is qubit q, but for a transpiled circuit, see `qubits`.
        measurements: final measurements, which the circuit itself leaves out.
        source: Qiskit's circuit on our qubits, without these, and with loops, boxes and evolutions written out.
        order: the parameters of the circuit that was given, in Qiskit's order.
        qubits: which qubit of the circuit that was given each of ours is.
        notes: what was chosen on the way, for whoever shows results: evolutions, open delays, layout.

    >>> import qjaxsim as qj
    >>> from qjaxsim_qiskit import from_qasm
    >>> found = from_qasm('OPENQASM 3; include "stdgates.inc"; input float theta; qubit q; ry(theta) q;')
    >>> found
    <ImportedCircuit: <Circuit: 1 qubit, 1 operation, 1 parameter>, 0 measurements, values in the order [theta]>
    >>> round(float(qj.expectation(found.circuit, qj.Z(0))(found.params([0.5]))), 3)  # the cosine
    0.878
    """

    circuit: Circuit
    measurements: tuple[Measurement, ...]
    source: "QuantumCircuit"
    order: tuple[Any, ...]
    qubits: tuple[int, ...]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        order = ", ".join(parameter.name for parameter in self.order)
        measured = counted(len(self.measurements), "measurement")
        return f"<ImportedCircuit: {self.circuit!r}, {measured}, values in the order [{order}]>"

    def params(self, values: Any) -> dict[str, Any]:
        """Values as Qiskit binds them in the form that our functions take, float64.

        Traced values are taken as they are, so that `jax.grad`, `jit` and `vmap` go through.

        Args:
            values: a sequence in the order of `order`, the last axis of an array with batch axes; a mapping of
                Parameters, ParameterVectors or names, or tuples of them, to numbers or arrays, batch axes in front; or
                Qiskit's `BindingsArray` of such a mapping.

        Returns:
            An array for each parameter of our circuit. Elements that no gate uses are 0.

        Raises:
            TypeError: for complex values.
            ValueError: for values too many or too few or not finite, unknown or missing parameters, or wrong shapes.
        """
        return Binding(self.order, self.circuit.parameters, "values")(values)

    def own_params(self, params: Any) -> Any:
        """Argument `params` of our functions: such as it is, and values as Qiskit binds them in that form."""
        if params is None or (isinstance(params, Mapping) and params.keys() <= self.circuit.parameters.keys()):
            return params
        return Binding(self.order, self.circuit.parameters, "params")(params)


def from_qiskit(
    circuit: "QuantumCircuit",
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    evolution: str = "synthesis",
    qubits: str = "auto",
) -> ImportedCircuit:
    """A Qiskit circuit in our form, ready for states, gradients and Hessians.

    Gates are taken over by class, open controls included, Qiskit's own gates with an exact matrix by matrix, all others
    through their definitions with their global phases, which is what simulators and devices run; a matrix of their own
    counts where there is no definition. A ParameterVector becomes one array Parameter, a Parameter one of shape ().
    Barriers, instructions to save something and resets of untouched qubits are skipped, final measurements are left out
    and reported. States that qubits begin in (`initialize`, `prepare_state`, Aer's `set_statevector`, before
    anything else acts on them) are `Circuit.initialize`. Measurements whose qubit or bit is used afterwards, resets and
    branches on classical bits (`if_test`, `switch`) are `Circuit.measure`, `reset` and `if_bits`, bit k that of number
    k. Boxes, loops over fixed values and branches on constants are written out. Delays become gates of that name, which
    do nothing but to be followed by noise; one that a schedule is to find is skipped and noted.

    Args:
        circuit: Qiskit's. A transpiled one is brought back to the qubits that it was written for, in their order, by
            its layout; the qubits that its routing left idle are dropped.
        shapes: shapes for ParameterVectors by name; default as `to_qiskit` recorded them, else (length,).
        evolution: what a PauliEvolutionGate is: "synthesis", the product formula of the gate's own `synthesis` (with a
            Trotter error, as on simulators and devices), or "exact", the exponential (as in `Operator`).
        qubits: "all"; "used", without those that nothing acts on; or "auto", "used" for transpiled circuits only.

    Raises:
        TypeError: for anything but a QuantumCircuit.
        ValueError: for what cannot be followed, naming the operation and its place: loops that depend on measured bits,
            classical variables, instructions that set a state later on, opaque gates, complex or infinite angles; for
            two parameters of one name; for shapes that do not fit.
        MemoryError: if no state of that width fits, naming the GiB.
        ImportError: for an angle that is not affine in its parameters where sympy is missing.

    Cost: microseconds a gate; about a second for the first gate that Qiskit's transpiler has to take apart.

    >>> import qjaxsim as qj
    >>> from qiskit import QuantumCircuit
    >>> bell = QuantumCircuit(2)
    >>> _ = bell.h(0), bell.cx(0, 1)
    >>> from_qiskit(bell).circuit == qj.Circuit(2).h(0).cx(0, 1)
    True
    """
    require_theirs(circuit)
    check_evolution(evolution)
    if names := [variable.name for variable in circuit.iter_vars()]:
        raise ValueError(f"Classical variables cannot be imported, but the circuit has {', '.join(sorted(names))}.")
    found = unrolled(circuit, evolution)
    chosen = chosen_qubits(circuit, found.items, qubits)
    n_used = len(used_qubits((item.operation, item.qubits) for item in found.items))
    few = f', or qubits="used" for the {n_used} that anything acts on' if 0 < n_used < len(chosen) else ""
    require_width(len(chosen), f"use fewer qubits{few}")
    items, measured = without_final_measurements(found.items)
    source = on_qubits(circuit, items, chosen)
    source.global_phase = found.phase
    parameters = _parameters(circuit, shapes or {})
    symbols = {parameter: _element(parameter, parameters) for parameter in circuit.parameters}
    reader = Reader(Circuit(source.num_qubits), symbols, evolution, source.clbits)
    reader.circuit(source, range(source.num_qubits), (item.place for item in items))
    for parameter, symbol in symbols.items():  # those that gates ignore, so that ours has the parameters of Qiskit's
        if name_and_index(parameter)[0] not in reader.out.parameters:
            reader.out.global_phase(0.0 * symbol)
    measurements = tuple(_measurement(circuit, chosen.index(qubit), bit) for qubit, bit in measured)
    source, inside = with_written_blocks(source, evolution)
    notes = _notes(circuit, found, found.evolutions + inside, evolution, chosen)
    return ImportedCircuit(reader.out, measurements, source, tuple(circuit.parameters), tuple(chosen), notes)


def require_theirs(circuit: Any) -> None:
    """Refuse what is no circuit of Qiskit's.

    Raises:
        TypeError: with what makes one of it, if anything does.
    """
    from qiskit import QuantumCircuit

    if not isinstance(circuit, QuantumCircuit):
        way = "; `from_qasm` and `from_qpy` read files" if isinstance(circuit, str | os.PathLike) else ""
        way = "; its attribute `circuit` is ours, `source` Qiskit's" if isinstance(circuit, ImportedCircuit) else way
        raise TypeError(f"Argument `circuit` must be a qiskit.QuantumCircuit, but is {type(circuit).__name__}{way}.")


def _notes(
    circuit: "QuantumCircuit", found: Unrolled, evolutions: int, evolution: str, chosen: Sequence[int]
) -> tuple[str, ...]:
    notes = []
    if evolutions:
        what = "by the gates' own synthesis" if evolution == "synthesis" else "exact"
        notes.append(f"{evolutions} evolution{'s' * (evolutions > 1)}: {what}")
    if waits := sum(awaits_schedule(item.operation) for item in found.items):
        notes.append(f"{waits} delay{'s' * (waits > 1)} that a schedule is to find: left out")
    if found.renamed:
        notes.append(f"{', '.join(sorted(found.renamed))} of IBM's runtime: run as Qiskit's own instructions")
    if list(chosen) != list(range(circuit.num_qubits)):
        notes.append(f"of {circuit.num_qubits} qubits taken, in this order: {', '.join(map(str, chosen))}")
    return tuple(notes)


def require_width(n_qubits: int, way_out: str = "use fewer qubits") -> None:
    """Refuse a register whose state cannot be held, before anything is made of it.

    Args:
        n_qubits: its width.
        way_out: what to do instead, as an imperative.

    Raises:
        ValueError: for no qubit at all.
        MemoryError: naming the GiB.
    """
    if n_qubits < 1:
        raise ValueError("A circuit must have at least one qubit, but this one has none.")
    if n_qubits > _WIDEST:
        raise MemoryError(f"A state of {n_qubits} qubits has 2**{n_qubits} amplitudes; {way_out}.")
    require_memory(8 * 2**n_qubits, f"A state of {n_qubits} qubits in single precision", way_out)


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


# --- measurements ------------------------------------------------------------------------------------------------


def without_final_measurements(items: Sequence[Item]) -> tuple[list[Item], list[tuple[int, int]]]:
    """The operations without measurements that nothing follows on their qubit, and qubit and bit of these."""
    from qiskit.circuit import Measure

    later: set[int] = set()
    asked: set[int] = set()
    kept: list[Item] = []
    found: dict[int, int] = {}
    for item in reversed(items):
        if isinstance(item.operation, Measure) and not later & set(item.qubits) and item.clbits[0] not in asked:
            # Of two measurements into one bit the last one is what the bit holds.
            found.setdefault(item.clbits[0], item.qubits[0])
            continue
        later |= used_qubits([(item.operation, item.qubits)])
        asked |= {*item.clbits, *item.asked}
        kept.append(item)
    return kept[::-1], [(found[bit], bit) for bit in sorted(found)]


def _measurement(circuit: "QuantumCircuit", qubit: int, clbit: int) -> Measurement:
    where = circuit.find_bit(circuit.clbits[clbit])
    register, index = where.registers[0] if where.registers else (None, None)
    return Measurement(qubit, clbit, None if register is None else register.name, index)
