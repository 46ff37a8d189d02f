"""What a backend's own noise model says that it will measure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import qjaxsim as qj
from qjaxsim.circuits.noise import NoiseModel
from qjaxsim.circuits.sums import PauliSum
from qjaxsim_qiskit.ibm.primitives import COUNTS
from qjaxsim_qiskit.ibm.work import Work, in_batch
from qjaxsim_qiskit.importing.imported import from_qiskit, without_final_measurements
from qjaxsim_qiskit.meaning.layouts import final_places, on_qubits, used_qubits
from qjaxsim_qiskit.meaning.unrolling import unrolled
from qjaxsim_qiskit.noise import from_aer_noise_model, from_backend

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

# Density matrices of more qubits take seconds and gibibytes.
WIDEST = 8


def predicted_values(
    work: Work, isa: "QuantumCircuit", backend: Any, kind: str, resilience_level: int | None
) -> np.ndarray | None:
    """Values like the exact ones under the noise that Aer reads from the backend's properties.

    Args:
        work: what is run.
        isa: transpiled to the backend.
        backend: IBM's, a fake one, or a simulator of Aer's, whose own noise model counts.
        kind: of the job.
        resilience_level: from 1 on the runtime takes readout errors out, so that the prediction has none.

    Returns:
        Expectation values (..., m) or probabilities (..., 2**n); None where the circuit takes more than `WIDEST`
        qubits, nothing is known of the backend's errors, or a simulator has noise that is none here.
    """
    items, _ = without_final_measurements(unrolled(isa, "synthesis").items)
    written = final_places(isa) or list(range(work.circuit.num_qubits))
    kept = sorted(used_qubits((item.operation, item.qubits) for item in items).union(written))
    if len(kept) > WIDEST or getattr(backend, "target", None) is None:
        return None
    noise = _noise_of(backend, kept)
    if noise is None:
        return None
    if not noise.rules and not noise.relaxations and not any(noise.readout(q) for q in range(len(kept))):
        return None
    placed = on_qubits(isa, items, kept)
    placed.global_phase = isa.global_phase
    imported = from_qiskit(placed)
    noisy = noise.apply(imported.circuit)
    if kind != COUNTS and (resilience_level or 0) > 0:
        noisy = qj.Circuit(noisy.n_qubits).extend(op for op in noisy.operations if op.key[0] != "readout_error")
    places = [kept.index(place) for place in written]
    known = {parameter: column for parameter, column in work.values.items() if parameter in placed.parameters}
    return in_batch(_function(work, noisy, places, kind)(imported.params(known) if known else {}), work.batch)


def _noise_of(backend: Any, kept: Sequence[int]) -> NoiseModel | None:
    """The noise that the backend has; None where there is none, or it cannot be computed here."""
    from qiskit_aer import AerSimulator

    if not isinstance(backend, AerSimulator):
        return from_backend(backend, kept)
    # A simulator made from a device may have been given another model than the device's, or none.
    model = backend.options.noise_model
    try:
        return None if model is None else from_aer_noise_model(model, kept)
    except ValueError:
        return None


def _function(work: Work, noisy: qj.Circuit, places: list[int], kind: str) -> Any:
    if kind == COUNTS:
        return qj.probabilities(noisy, places)
    return qj.expectation(noisy, [_moved(each, places) for each in work.observables])


def _moved(observable: PauliSum, places: list[int]) -> PauliSum:
    """The observable of qubit q on qubit places[q]."""
    return PauliSum({tuple((places[q], letter) for q, letter in term): c for term, c in observable.terms.items()})
