"""The qubits of a simulated device that a circuit uses, as a smaller device.

Local mode simulates every qubit that a backend has. The noise of its models acts on a gate's own qubits alone, so that
idle ones change nothing and are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qjaxsim_qiskit.meaning.layouts import final_places, on_qubits, used_qubits
from qjaxsim_qiskit.meaning.unrolling import Item
from qjaxsim_qiskit.service import plain_errors

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.transpiler import Target


@dataclass(frozen=True, eq=False)
class Submission:
    """What a primitive is given.

    Attributes:
        circuit: in the backend's instruction set.
        backend: that runs it.
        places: the circuit's qubit for each of the qubits that were written, at the end; None if nothing was laid out.
    """

    circuit: "QuantumCircuit"
    backend: Any
    places: Sequence[int] | None


def whole(isa: "QuantumCircuit", backend: Any) -> Submission:
    """The circuit on all qubits of its backend."""
    return Submission(isa, backend, final_places(isa))


def n_used(circuit: "QuantumCircuit") -> int:
    """How many qubits something acts on."""
    return len(
        used_qubits((one.operation, [circuit.find_bit(bit).index for bit in one.qubits]) for one in circuit.data)
    )


def used_part(isa: "QuantumCircuit", backend: Any) -> Submission:
    """The circuit on those qubits of a simulated backend that it uses, and a simulator of these with their noise.

    Raises:
        ImportError: if Aer is missing, naming the extra.
    """
    with plain_errors("Running on a backend"):
        from qiskit_aer import AerSimulator

    if isinstance(backend, AerSimulator):
        return whole(isa, backend)
    items = [
        Item(
            each.operation,
            tuple(isa.find_bit(bit).index for bit in each.qubits),
            tuple(isa.find_bit(bit).index for bit in each.clbits),
            str(number),
        )
        for number, each in enumerate(isa.data)
    ]
    written = final_places(isa) or list(range(isa.num_qubits))
    kept = sorted(used_qubits((item.operation, item.qubits) for item in items).union(written))
    small = on_qubits(isa, items, kept)
    small.global_phase = isa.global_phase
    with plain_errors("Running on a backend"):
        part = _part_class()(backend, kept)
        return Submission(small, AerSimulator.from_backend(part), [kept.index(place) for place in written])


def _part_class() -> Any:
    """Made where it is used: Qiskit is imported late."""
    from qiskit.providers import BackendV2, Options

    class Part(BackendV2):
        """Some qubits of a device."""

        def __init__(self, whole: Any, kept: Sequence[int]):
            super().__init__(name=whole.name, description=whole.description, backend_version=whole.backend_version)
            self._target = _target_of(whole.target, kept)

        @property
        def target(self) -> "Target":
            return self._target

        @property
        def max_circuits(self) -> None:
            return None

        @classmethod
        def _default_options(cls) -> Any:
            return Options()

        def run(self, run_input: Any, **options: Any) -> Any:
            raise NotImplementedError

    return Part


def _target_of(target: "Target", kept: Sequence[int]) -> "Target":
    """The instructions on some qubits, with their errors and durations, under new numbers."""
    from qiskit.transpiler import Target

    new = {qubit: number for number, qubit in enumerate(kept)}
    qubits = target.qubit_properties
    out = Target(
        num_qubits=len(kept), dt=target.dt, qubit_properties=None if qubits is None else [qubits[old] for old in kept]
    )
    for name in target.operation_names:
        operation, places = target.operation_from_name(name), target[name]
        if isinstance(operation, type):
            out.add_instruction(operation, name=name)
        elif None in places:  # on any qubits
            out.add_instruction(operation, None, name=name)
        elif inside := {
            tuple(new[qubit] for qubit in where): properties
            for where, properties in places.items()
            if all(qubit in new for qubit in where)
        }:
            out.add_instruction(operation, inside, name=name)
    return out
