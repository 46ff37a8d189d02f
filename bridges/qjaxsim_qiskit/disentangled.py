"""The circuits of a disentangled layer in Qiskit: counted after synthesis, and compared with what the layer applies."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from qiskit import QuantumCircuit, transpile
from qiskit.quantum_info import Operator

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.models.disentangler.circuit import Brickwall, Gates, apply_circuit
from qjaxsim.models.disentangler.layer import DisentangledLayer
from qjaxsim.models.disentangler.quantum import layer_circuits
from qjaxsim_qiskit.exporting import to_qiskit

# Exact synthesis of wider gates takes thousands of CNOTs and minutes.
MOST_GATE_QUBITS = 6
_BASIS = ("u", "cx")


@dataclass(frozen=True)
class QiskitFacts:
    """One circuit after export to Qiskit and synthesis into CNOTs and one-qubit gates, all qubits connected.

    Gates of two qubits are neighbours, so a line of qubits would do for them.

    Attributes:
        circuit: the synthesised qiskit.QuantumCircuit.
        n_qubits: its width.
        n_gates: gates of the brickwall.
        cnots: CNOT gates.
        depth: layers of gates of any kind.
        cnot_depth: layers of CNOT gates.
        deviation: largest difference between an entry of the exported circuit's unitary, as Qiskit finds it, and of
            the array that the layer applies.
        synthesis_deviation: the same after synthesis. Qiskit leaves out a CNOT where that costs a gate less than about
            1e-9 of fidelity, which is up to some 1e-5 of an entry: gates next to the identity show it.
    """

    circuit: QuantumCircuit
    n_qubits: int
    n_gates: int
    cnots: int
    depth: int
    cnot_depth: int
    deviation: float
    synthesis_deviation: float


def export_circuits(layer: DisentangledLayer) -> tuple[QiskitFacts, QiskitFacts]:
    """U and V in Qiskit, counted and checked.

    Raises:
        ValueError: as `layer_circuits`, and for gates of more than 6 qubits (`plan_disentangler` estimates those).
    """
    for wall in (layer.wall_u, layer.wall_v):
        if wall.gate_qubits > MOST_GATE_QUBITS:
            raise ValueError(
                f"Gates to synthesise must have at most {MOST_GATE_QUBITS} qubits, but have {wall.gate_qubits}; "
                f"`plan_disentangler` estimates their CNOTs."
            )
    circuits = layer_circuits(layer)
    return (
        _exported(circuits.u, layer.wall_u, layer.u),
        _exported(circuits.v, layer.wall_v, layer.v),
    )


def _exported(circuit: Circuit, wall: Brickwall, gates: Gates) -> QiskitFacts:
    exported = to_qiskit(circuit)
    synthesised = transpile(exported, basis_gates=list(_BASIS), optimization_level=1, seed_transpiler=0)
    ours = np.asarray(apply_circuit(wall, gates, jnp.eye(2**circuit.n_qubits, dtype=gates[0].dtype)))

    def deviation(theirs: QuantumCircuit) -> float:
        # Qiskit's qubit 0 is the least significant bit.
        return float(np.abs(Operator(theirs).reverse_qargs().data - ours).max())

    return QiskitFacts(
        circuit=synthesised,
        n_qubits=circuit.n_qubits,
        n_gates=wall.n_gates,
        cnots=synthesised.count_ops().get("cx", 0),
        depth=synthesised.depth(),
        cnot_depth=synthesised.depth(lambda instruction: instruction.operation.num_qubits == 2),
        deviation=deviation(exported),
        synthesis_deviation=deviation(synthesised),
    )
