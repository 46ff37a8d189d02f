"""PennyLane's lightning.qubit: states and expectations in C++, gradients by its adjoint method."""

from typing import Any

import numpy as np

from qjaxsim_bench.peers.base import Peer, Work
from qjaxsim_bench.peers.pennylane_jax import apply, observables
from qjaxsim_bench.tasks import Task


def prepare(task: Task, dtype: str) -> Work:
    """The task on lightning.qubit; the quantum script is made once where the device takes one."""
    import pennylane as qml
    from pennylane.devices import ExecutionConfig

    device = qml.device(
        "lightning.qubit", wires=task.n_qubits, c_dtype=np.complex64 if dtype == "single" else np.complex128
    )
    theta = np.asarray(task.theta)

    def script(measurements: list[Any]) -> Any:
        with qml.queuing.AnnotatedQueue() as queue:
            apply(task, theta)
            for measurement in measurements:
                measurement()
        made = qml.tape.QuantumScript.from_queue(queue)
        made.trainable_params = list(range(len(theta)))  # not the observable's coefficients
        return made

    if task.kind == "state":
        made = script([qml.state])
        return Work(lambda: device.execute(made), np.asarray)
    made = script([lambda o=o: qml.expval(o) for o in observables(task)])
    if task.kind == "expectation":
        return Work(lambda: np.atleast_1d(device.execute(made)))
    config = ExecutionConfig(gradient_method="adjoint", use_device_gradient=True)
    return Work(lambda: np.asarray(device.compute_derivatives(made, config)).reshape(-1))


PEERS = {
    "lightning": Peer(
        "lightning",
        ("pennylane_lightning", "pennylane"),
        "lightning.qubit, script made before the timing, adjoint gradients, its default threads",
        ("single", "double"),
        {"state": 24, "gradient": 22, "expectation": 16},
        prepare,
    )
}
