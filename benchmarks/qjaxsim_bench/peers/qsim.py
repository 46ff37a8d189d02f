"""Google's qsim through qsimcirq: single precision, gates fused up to four qubits."""

import os
from typing import Any

import numpy as np

from qjaxsim_bench.peers.base import Peer, Work, angles_of
from qjaxsim_bench.tasks import Task, gates

FUSED = 4


def circuit(task: Task, theta: np.ndarray, qubits: list[Any]) -> Any:
    """The circuit as Cirq's, whose first qubit is the most significant too."""
    import cirq

    makers = {
        "rx": cirq.rx, "ry": cirq.ry, "rz": cirq.rz, "h": cirq.H, "x": cirq.X, "y": cirq.Y,
        "z": cirq.Z, "s": cirq.S, "sdg": cirq.S**-1, "t": cirq.T, "tdg": cirq.T**-1,
        "sx": cirq.X**0.5, "sxdg": cirq.X**-0.5, "cx": cirq.CNOT, "cz": cirq.CZ, "swap": cirq.SWAP, "ccx": cirq.CCX,
        "cswap": cirq.CSWAP, "p": lambda angle: cirq.ZPowGate(exponent=angle / np.pi),
        "cp": lambda angle: cirq.CZPowGate(exponent=angle / np.pi),
        "rzz": lambda angle: cirq.ZZPowGate(exponent=angle / np.pi, global_shift=-0.5), "unitary": cirq.MatrixGate,
    }  # fmt: skip
    made = []
    for name, places, angle in gates(task.ops, theta):
        on = [qubits[q] for q in places]
        if name == "mcz":
            made.append(cirq.Z(on[-1]).controlled_by(*on[:-1]))
        else:
            made.append((makers[name] if angle is None else makers[name](angle))(*on))
    # Qubits without a gate are part of the state.
    return cirq.Circuit(made)


def prepare(task: Task, dtype: str) -> Work:
    """The task on qsim; a translated circuit is kept, so that only a first call translates it."""
    import cirq
    import qsimcirq

    options = qsimcirq.QSimOptions(max_fused_gate_size=FUSED, cpu_threads=os.cpu_count() or 1)
    qubits = cirq.LineQubit.range(task.n_qubits)
    if task.kind == "kernel":
        circuits = [circuit(task, angles, qubits) for angles in angles_of(task)]
        simulator = qsimcirq.QSimSimulator(options, circuit_memoization_size=len(circuits))
        run = simulator.simulate_into_1d_array
        return Work(lambda: np.array([run(made, qubit_order=qubits)[1] for made in circuits]))
    simulator = qsimcirq.QSimSimulator(options, circuit_memoization_size=1)
    made = circuit(task, task.angle_values, qubits)
    if task.kind == "state":
        return Work(lambda: simulator.simulate_into_1d_array(made, qubit_order=qubits)[1])
    letters = {"X": cirq.X, "Y": cirq.Y, "Z": cirq.Z}
    observable = cirq.PauliSum()
    for word, places, value in task.terms:
        observable += value * cirq.PauliString({qubits[q]: letters[w] for w, q in zip(word, places, strict=True)})
    return Work(
        lambda: np.real(simulator.simulate_expectation_values(made, [observable], qubit_order=qubits)), np.asarray
    )


PEERS = {
    "qsimcirq": Peer(
        "qsimcirq",
        ("qsimcirq", "cirq-core"),
        f"QSimSimulator, fusion of up to {FUSED} qubits, a thread a core, translated circuits kept",
        ("single",),
        {"state": 24, "expectation": 16, "kernel": 8},
        prepare,
        ("cirq", "qsimcirq"),
    )
}
