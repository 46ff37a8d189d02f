"""A circuit, its parameters and observables on both sides, as a primitive takes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import qjaxsim as qj
from qjaxsim.circuits.observables import PauliSum, pauli_sums
from qjaxsim.running.batching import parse_params
from qjaxsim_qiskit.channels import has_channels
from qjaxsim_qiskit.exporting import assignment, known_by, to_qiskit
from qjaxsim_qiskit.ibm.parts import Submission
from qjaxsim_qiskit.ibm.primitives import COUNTS
from qjaxsim_qiskit.importing.imported import from_qiskit
from qjaxsim_qiskit.meaning.angles import with_constants
from qjaxsim_qiskit.meaning.definitions import inlined
from qjaxsim_qiskit.observables import to_sparse_pauli_op

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

# Of the bits that all qubits are measured into.
REGISTER = "qjaxsim"


@dataclass(frozen=True, eq=False)
class Work:
    """A circuit on both sides.

    Attributes:
        ours: for the exact values.
        circuit: Qiskit's, without measurements.
        params: ours.
        batch: shape of their batch axes.
        values: of each of Qiskit's parameters, (samples,): batch axes joined in C order.
        observables: for expectation values.
        notes: what was chosen on the way.
    """

    ours: qj.Circuit
    circuit: "QuantumCircuit"
    params: Mapping[str, Any]
    batch: tuple[int, ...]
    values: Mapping[Any, np.ndarray]
    observables: tuple[PauliSum, ...]
    notes: tuple[str, ...] = ()

    @property
    def runs(self) -> list[dict[Any, float]]:
        """A number for each of Qiskit's parameters, once for each sample."""
        columns = {parameter: column.tolist() for parameter, column in self.values.items()}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    @property
    def measured(self) -> "QuantumCircuit":
        """Qiskit's circuit with all qubits measured at its end."""
        from qiskit import ClassicalRegister

        made = self.circuit.copy()
        # A name of its own: registers of measurements that were left out may still be there.
        register = ClassicalRegister(made.num_qubits, REGISTER)
        made.add_register(register)
        made.barrier()
        made.measure(made.qubits, register)
        return made


def prepare(given: "qj.Circuit | QuantumCircuit", params: Any, observables: Any, evolution: str = "synthesis") -> Work:
    """The work, checked; arguments and errors as of `ibm.run`."""
    notes: tuple[str, ...] = ()
    if isinstance(given, qj.Circuit):
        ours, circuit = given, to_qiskit(given)
    else:
        imported = from_qiskit(given, evolution=evolution)
        ours, circuit, notes = imported.circuit, inlined(imported.source), imported.notes
        params = imported.own_params(params)
    _refuse_free_delays(circuit)
    if observables is not None:
        _refuse_branches(circuit)
    circuit = with_constants(circuit)
    shapes = ours.parameters
    batch = parse_params(params, shapes).shape
    rows = {
        name: np.broadcast_to(np.asarray((params or {})[name], float), (*batch, *shape)).reshape(-1, *shape)
        for name, shape in shapes.items()
    }
    if wrong := [name for name, array in rows.items() if not np.isfinite(array).all()]:
        raise ValueError(f"Argument `params` must hold finite numbers, but {', '.join(wrong)} does not.")
    sums = () if observables is None else pauli_sums(observables, ours.n_qubits)
    for position, each in enumerate(sums):
        if not each.terms:
            raise ValueError(f"Observable {position} must have a term, but is 0.")
    return Work(ours, circuit, params or {}, batch, assignment(circuit, known_by(circuit, rows)), sums, notes)


def _refuse_free_delays(circuit: "QuantumCircuit") -> None:
    for number, instruction in enumerate(circuit.data):
        if instruction.name == "delay" and instruction.is_parameterized():
            raise ValueError(
                f"Delays must have durations to be run on a backend, but that of operation {number} is "
                f"{instruction.params[0]}; bind it in the circuit."
            )


def refuse_channels(circuit: "QuantumCircuit") -> None:
    """Refuse what a backend cannot run; of a channel Qiskit says that it cannot synthesize it.

    Raises:
        ValueError: for a circuit with channels.
    """
    if has_channels(circuit):
        raise ValueError(
            "Argument `circuit` must be free of channels to run on a backend, which brings its own noise, but has "
            "some; leave them out, and for a noise of your own take `AerSimulator(noise_model=...)` as the backend."
        )


def _refuse_branches(circuit: "QuantumCircuit") -> None:
    from qiskit.circuit import ControlFlowOp

    if any(isinstance(instruction.operation, ControlFlowOp) for instruction in circuit.data):
        raise ValueError(
            "Argument `observables` needs a circuit without branches on measured bits, which the runtime's Estimator "
            "does not take, but the circuit has some; ask for counts, without observables, or compute the values here "
            "(`qjaxsim.expectation`)."
        )


def exact_values(work: Work, kind: str) -> np.ndarray:
    """Expectation values, (..., m), or probabilities, (..., 2**n), float64."""
    function = qj.probabilities(work.ours) if kind == COUNTS else qj.expectation(work.ours, work.observables)
    return np.asarray(function(work.params), float)


def in_batch(values: Any, batch: tuple[int, ...]) -> np.ndarray:
    """Values (samples, m) as (*batch, m); one row, as of a circuit without parameters, is that of every sample."""
    rows = np.asarray(values, float)
    samples = int(np.prod(batch, dtype=int))
    return np.broadcast_to(rows, (samples, rows.shape[-1])).reshape(*batch, rows.shape[-1])


def pub(work: Work, submission: Submission, kind: str) -> tuple[Any, ...]:
    """Circuit, observables and parameters, so that every observable meets every set of parameters."""
    isa = submission.circuit
    # Positional values go by the circuit's own order.
    columns = [work.values[parameter] for parameter in isa.parameters]
    parameters = (np.stack(columns, axis=1),) if columns else ()
    if kind == COUNTS:
        return (isa, *parameters)
    operators = [to_sparse_pauli_op(each, work.circuit.num_qubits) for each in work.observables]
    if submission.places is not None:
        operators = [each.apply_layout(list(submission.places), isa.num_qubits) for each in operators]
    # An axis of their own: as many observables as sets of parameters would be paired, not crossed, without a word.
    return (isa, [[each] for each in operators], *parameters)
