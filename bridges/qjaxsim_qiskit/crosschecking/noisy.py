"""A circuit under noise here and on Aer: density matrices, expectation values, counts with readout errors."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import qjaxsim as qj
from qjaxsim.circuits.noise import NoiseModel
from qjaxsim.common.words import counted
from qjaxsim_qiskit.crosschecking import aer
from qjaxsim_qiskit.crosschecking.checks import Check
from qjaxsim_qiskit.crosschecking.comparing import P_VALUE, p_value, paired_seconds, timed
from qjaxsim_qiskit.exporting import to_qiskit
from qjaxsim_qiskit.ibm.primitives import to_isa
from qjaxsim_qiskit.importing.imported import require_theirs
from qjaxsim_qiskit.meaning.blocks import written_out
from qjaxsim_qiskit.meaning.layouts import on_qubits, used_qubits
from qjaxsim_qiskit.meaning.unrolling import unrolled
from qjaxsim_qiskit.noise import by_name, from_aer_noise_model, to_aer_noise_model
from qjaxsim_qiskit.ordering import reverse_state

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

# Aer leaves out Kraus matrices of weight 1e-10: on fake_manila its states are 3.5e-10 from Qiskit's own algebra.
TOLERANCE = 1e-9


class Noise(NamedTuple):
    """One noise on both sides.

    Attributes:
        own: ours.
        aer: Aer's.
        circuit: what it acts on, ours or Qiskit's.
    """

    own: NoiseModel
    aer: Any
    circuit: Any


def noise_of(given: Any, circuit: "qj.Circuit | QuantumCircuit", seed: int, evolution: str) -> Noise:
    """Noise on both sides, and the circuit that it acts on: for a backend it is transpiled first.

    Args:
        given: a `NoiseModel`, one of Aer's, a backend, or the name of a fake one.
        circuit: ours or Qiskit's.
        seed: of the transpiler.
        evolution: what a PauliEvolutionGate is, as for `from_qiskit`.

    Raises:
        TypeError: for anything else, as noise or as a circuit.
        ValueError: for models that cannot be brought over, unknown names, and circuits that a backend cannot run.
        RuntimeError: if Qiskit cannot transpile the circuit to a backend for another reason.
    """
    from qiskit.providers import BackendV2
    from qiskit_aer.noise import NoiseModel as AerNoiseModel

    if not isinstance(circuit, qj.Circuit):
        require_theirs(circuit)
    given = by_name(given)
    if isinstance(given, NoiseModel):
        return Noise(given, to_aer_noise_model(given, _width(circuit)), circuit)
    if isinstance(given, AerNoiseModel):
        return Noise(from_aer_noise_model(given), given, circuit)
    if not isinstance(given, BackendV2):
        raise TypeError(
            "Argument `noise` must be a qjaxsim.NoiseModel, a NoiseModel of qiskit_aer, a backend or the name of a "
            f"fake one, but is {type(given).__name__}."
        )
    placed, where = _on_device(circuit, given, seed, evolution)
    own = from_aer_noise_model(AerNoiseModel.from_backend(given), where)
    return Noise(own, to_aer_noise_model(own, len(where)), placed)


def _width(circuit: "qj.Circuit | QuantumCircuit") -> int:
    return circuit.n_qubits if isinstance(circuit, qj.Circuit) else circuit.num_qubits


def _on_device(
    circuit: "qj.Circuit | QuantumCircuit", backend: Any, seed: int, evolution: str
) -> tuple["QuantumCircuit", tuple[int, ...]]:
    """A circuit in a backend's gates on those of its qubits that it uses, and which these are.

    Raises:
        ValueError: for a circuit wider than the backend, or with conditions on one without them.
        RuntimeError: if Qiskit cannot transpile it for another reason.
    """
    given = to_qiskit(circuit) if isinstance(circuit, qj.Circuit) else written_out(circuit, evolution)
    laid_out = to_isa(given, backend, optimization_level=1, seed=seed, local=False)
    items = unrolled(laid_out, evolution).items
    where = tuple(sorted(used_qubits((item.operation, item.qubits) for item in items)))
    placed = on_qubits(laid_out, items, where)
    # Parameters that the transpiler took out stay, as those of a global phase, on which no density matrix depends.
    lost = [parameter for parameter in given.parameters if parameter not in laid_out.parameters]
    placed.global_phase = sum((0 * parameter for parameter in lost), laid_out.global_phase)
    placed.metadata = given.metadata
    return placed, where


def noisy_checks(pair: Any, noise: Noise, shots: int | None, seed: int, tolerance: float | None) -> list[Check]:
    """The comparisons of a circuit under noise; `pair` as in `crosschecking`."""
    n, bound = pair.circuit.n_qubits, TOLERANCE if tolerance is None else tolerance
    bound = max(bound, 2e-5) if pair.dtype == "float32" and tolerance is None else bound
    noisy = noise.own.apply(pair.circuit)
    rho, times = timed(qj.density_matrix(noisy), pair.params)
    theirs, aer_times = timed(aer.densities, pair.other, pair.values, noise.aer)
    ours = np.asarray(rho).reshape(-1, 2**n, 2**n)
    other = np.stack([reverse_state(reverse_state(one.T, n).T, n) for one in theirs])
    purity = np.einsum("zij,zji->z", ours, ours).real
    checks = [
        Check(
            "density matrix",
            "largest difference",
            float(np.abs(ours - other).max()),
            bound,
            **paired_seconds(times, aer_times),
            detail=f"purity {purity.min():.4g}" + (f" to {purity.max():.4g}" if len(purity) > 1 else ""),
        ),
        _expectations(pair, noisy, theirs, bound),
    ]
    if shots is not None:
        read, times = timed(qj.probabilities(noisy), pair.params)
        drawn, aer_times = timed(aer.counts, pair.other, pair.values, shots, seed, noise.aer)
        counts, exact = reverse_state(drawn, n), np.asarray(read).reshape(len(pair.values), -1)
        value = min(map(p_value, counts, exact))
        seconds = paired_seconds(times, aer_times)
        text = f"{shots} shots a sample, readout errors included"
        checks.append(
            Check("counts of Aer, our probabilities", "p-value", value, P_VALUE / len(counts), **seconds, detail=text)
        )
    return checks


def _expectations(pair: Any, noisy: qj.Circuit, theirs: np.ndarray, bound: float) -> Check:
    """Expectation values before readout, Aer's from its density matrices by Qiskit."""
    from qiskit.quantum_info import DensityMatrix

    bare = qj.Circuit(noisy.n_qubits).extend(op for op in noisy.operations if op.key[0] != "readout_error")
    ours, times = timed(qj.expectation(bare, pair.observables), pair.params)
    other = np.array([[DensityMatrix(rho).expectation_value(op).real for op in pair.operators] for rho in theirs])
    distance = float(np.abs(np.asarray(ours).reshape(other.shape) - other).max())
    return Check(
        "expectation values",
        "largest difference",
        distance,
        bound * pair.norm,
        **paired_seconds(times, None),
        detail=f"{counted(len(pair.observables), 'observable')}, before readout",
    )
