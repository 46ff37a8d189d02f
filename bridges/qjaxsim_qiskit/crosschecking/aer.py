"""What Qiskit Aer says of a circuit: states, exact expectation values, counts, gradients by parameter shift.

Everything here is Qiskit's own work in Qiskit's order of bits, and shares nothing with this package's engine.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qjaxsim_qiskit.channels import has_channels
from qjaxsim_qiskit.crosschecking.aer_conditions import with_comparisons
from qjaxsim_qiskit.meaning.angles import require_angles
from qjaxsim_qiskit.meaning.definitions import for_density_matrices, inlined
from qjaxsim_qiskit.meaning.rotations import bound, one_parameter_a_rotation, slope

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.circuit import Parameter
    from qiskit.quantum_info import SparsePauliOp
    from qiskit.transpiler import Target

Values = Mapping["Parameter", float]
_WAY_OUT = "leave gradients out (`gradients=False`, on the command line --no-gradients)"


def states(circuit: "QuantumCircuit", values: Sequence[Values]) -> np.ndarray:
    """Final states, (len(values), 2**n) complex128 in Qiskit's order, global phase included.

    Args:
        circuit: without measurements.
        values: a number for every parameter, once for each state.
    """
    from qiskit_aer import AerSimulator

    bound = _bound_circuits(circuit, values)
    for each in bound:
        each.save_statevector()
    result = AerSimulator(method="statevector").run(bound).result()
    return np.stack([np.asarray(result.get_statevector(position)) for position in range(len(bound))])


def densities(circuit: "QuantumCircuit", values: Sequence[Values], noise: Any) -> np.ndarray:
    """Final density matrices under noise, (len(values), 2**n, 2**n) complex128 in Qiskit's order.

    Args:
        circuit: without measurements.
        values: a number for every parameter, once for each matrix.
        noise: a noise model of Aer's.
    """
    simulator = _noisy_simulator(noise)
    bound = _noisy_circuits(circuit, values)
    for each in bound:
        each.save_density_matrix()
    result = simulator.run(bound).result()
    return np.stack([np.asarray(result.data(position)["density_matrix"]) for position in range(len(bound))])


def _noisy_simulator(noise: Any) -> Any:
    from qiskit_aer import AerSimulator

    return AerSimulator(method="density_matrix", noise_model=noise)


def _is_exact(circuit: "QuantumCircuit", noise: Any) -> bool:
    """Whether a circuit meets no noise, neither its own nor a model's."""
    return noise is None and not has_channels(circuit)


def _noisy_circuits(circuit: "QuantumCircuit", values: Sequence[Values]) -> list["QuantumCircuit"]:
    """A circuit for each set of values, as Aer runs it under noise."""
    require_angles(circuit, values)
    return [for_density_matrices(circuit.assign_parameters(dict(each))) for each in values]


def expectations(
    circuit: "QuantumCircuit", values: Sequence[Values], operators: Sequence["SparsePauliOp"]
) -> np.ndarray:
    """Exact expectation values by Aer's EstimatorV2, (len(values), len(operators)) float64.

    Args:
        circuit: without measurements.
        values: a number for every parameter, once for each row.
        operators: observables as wide as the circuit.
    """
    from qiskit_aer.primitives import EstimatorV2

    run = EstimatorV2().run([(each, list(operators)) for each in _bound_circuits(circuit, values)])
    return np.stack([np.asarray(one.data.evs) for one in run.result()])


def counts(circuit: "QuantumCircuit", values: Sequence[Values], shots: int, seed: int, noise: Any = None) -> np.ndarray:
    """How often each outcome was drawn by Aer's SamplerV2, (len(values), 2**n) int64 in Qiskit's order.

    Args:
        circuit: without measurements; all qubits are measured.
        values: a number for every parameter, once for each row.
        shots: draws for each row.
        seed: of Aer's random numbers.
        noise: a noise model of Aer's, or None.
    """
    from qiskit.circuit import ClassicalRegister
    from qiskit_aer.primitives import SamplerV2

    # A register of its own: the circuit may have bits left from measurements, also in one called "meas".
    name = "all"
    while any(register.name == name for register in circuit.cregs):
        name += "_"
    everything = ClassicalRegister(circuit.num_qubits, name)
    exact = _is_exact(circuit, noise)
    measured = (_bound_circuits if exact else _noisy_circuits)(circuit, values)
    for each in measured:
        each.add_register(everything)
        each.measure(each.qubits, everything)
    options = {} if exact else {"backend_options": {"method": "density_matrix", "noise_model": noise}}
    run = SamplerV2(seed=seed, options=options).run([(each,) for each in measured], shots=shots)
    out = np.zeros((len(values), 2**circuit.num_qubits), np.int64)
    for row, one in zip(out, run.result(), strict=True):
        for outcome, count in one.data[name].get_int_counts().items():
            row[outcome] = count
    return out


def dynamic_counts(
    circuit: "QuantumCircuit", values: Sequence[Values], shots: int, seed: int, noise: Any = None
) -> np.ndarray:
    """Counts of a circuit with measurements on its way: of its bits, then of its qubits at the end.

    Args:
        circuit: with measurements, resets and branches.
        values: a number for every parameter, once for each row.
        shots: draws for each row.
        seed: of Aer's random numbers.
        noise: a noise model of Aer's, or None.

    Returns:
        (len(values), 2**(bits + qubits)) int64, bit 0 most significant, the qubits last.

    Raises:
        ValueError: for conditions that Aer does not know, as shifts and single bits of registers.
    """
    from qiskit.circuit import ClassicalRegister
    from qiskit_aer import AerError, AerSimulator

    exact = _is_exact(circuit, noise)
    # Left to choose under noise, Aer 0.18 ends the process on some circuits.
    noisy = "density_matrix" if has_channels(circuit) else "statevector"
    simulator = AerSimulator(noise_model=noise, seed_simulator=seed, method="automatic" if exact else noisy)
    lower = _bound_circuits if exact else _noisy_circuits
    ends = ClassicalRegister(circuit.num_qubits, "all qubits")
    read = with_comparisons(circuit)
    read.add_register(ends)
    read.measure(read.qubits, ends)
    try:
        result = simulator.run(lower(read, values), shots=shots).result()
    except AerError as error:
        raise ValueError(
            f"Aer cannot run the circuit, so that there is nothing to compare with: {error.message.rstrip('.')}."
        ) from error
    n_bits = read.num_clbits
    out = np.zeros((len(values), 2**n_bits), np.int64)
    for row, number in zip(out, range(len(values)), strict=True):
        # By number of the bit: `get_counts` writes registers, and so no bit that is in none.
        for outcome, count in result.data(number)["counts"].items():
            row[int(f"{int(outcome, 16):0{n_bits}b}"[::-1], 2)] = count
    return out


def shift_gradients(
    circuit: "QuantumCircuit", values: Values, operators: Sequence["SparsePauliOp"], chosen: Sequence["Parameter"]
) -> np.ndarray:
    """Derivatives of expectation values by the parameter-shift rule, (len(operators), len(chosen)) float64.

    Qiskit's transpiler turns the circuit into rotations and gates without angles. Each rotation that a chosen parameter
    takes part in is run at +pi/2 and -pi/2 (Schuld et al. 2019, doi:10.1103/PhysRevA.99.032331, section IV), and the
    chain rule goes through its angle.

    Args:
        circuit: without measurements.
        values: a number for every parameter.
        operators: observables as wide as the circuit.
        chosen: parameters to differentiate in.

    Raises:
        ValueError: if Qiskit leaves an angle in a gate other than RX, RY, RZ.

    Cost: two circuits for every rotation that a chosen parameter takes part in, see `rotations.rotations_of`.
    """
    from qiskit_aer.primitives import EstimatorV2

    shifted, angles = one_parameter_a_rotation(circuit, values, set(chosen))
    if not angles:
        return np.zeros((len(operators), len(chosen)))
    base = np.array([bound(angle, values) for angle in angles.values()])
    # Positional values go by the circuit's own order of its parameters.
    order = [list(angles).index(parameter) for parameter in shifted.parameters]
    shifts = math.pi / 2 * np.eye(len(base))
    table = np.concatenate([base + shifts, base - shifts])[:, order]
    # Observables stand in an axis of their own: lists of equal length would be paired, not crossed.
    run = EstimatorV2().run([(shifted, [[operator] for operator in operators], table)])
    plus, minus = np.split(np.asarray(run.result()[0].data.evs), 2, axis=1)
    inner = np.array([[bound(slope(angle, p, _WAY_OUT), values) for p in chosen] for angle in angles.values()])
    return (plus - minus) / 2 @ inner


def _bound_circuits(circuit: "QuantumCircuit", values: Sequence[Values]) -> list["QuantumCircuit"]:
    """A circuit for each set of values, in gates that Aer knows.

    Values are put in here and not left to Aer, which loses those of controlled rotations (qiskit-aer issues 2323, 2391
    and 2403).
    """
    from qiskit import transpile

    lowered = transpile(inlined(circuit), target=_target(), optimization_level=0)
    require_angles(lowered, values)
    # Parameters that gates ignore are gone with their definitions written out.
    return [lowered.assign_parameters(dict(each), strict=False) for each in values]


@functools.cache
def _target() -> "Target":
    """What Aer runs, asked once: the simulator makes it anew for each of the hundred questions of a transpilation."""
    from qiskit_aer import AerSimulator

    return AerSimulator().target
