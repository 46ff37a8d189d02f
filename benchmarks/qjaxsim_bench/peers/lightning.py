"""PennyLane's Lightning simulators: states and expectations in C++, gradients by their adjoint method."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from qjaxsim_bench.peers.base import Peer, Work, angles_of
from qjaxsim_bench.peers.pennylane_jax import apply, observables
from qjaxsim_bench.tasks import Task


def _work(name: str, task: Task, dtype: str) -> Work:
    """The task on a device; the quantum script is made once, since the device takes one."""
    import pennylane as qml
    from pennylane.devices import ExecutionConfig

    device = qml.device(name, wires=task.n_qubits, c_dtype=np.complex64 if dtype == "single" else np.complex128)
    given = [angle for _, _, angle in task.ops if angle is not None]
    places = [angle for angle in given if isinstance(angle, int)]

    def script(measurements: list[Any], theta: np.ndarray) -> Any:
        with qml.queuing.AnnotatedQueue() as queue:
            apply(task, theta)
            for measurement in measurements:
                measurement()
        made = qml.tape.QuantumScript.from_queue(queue)
        # Neither numbers in gates nor the observable's coefficients.
        made.trainable_params = [number for number, angle in enumerate(given) if isinstance(angle, int)]
        return made

    if task.kind == "state":
        made = script([qml.state], task.angle_values)
        return Work(lambda: device.execute(made), np.asarray)
    if task.kind == "kernel":
        scripts = [script([qml.state], angles) for angles in angles_of(task)]
        return Work(lambda: device.execute(scripts), np.asarray)
    made = script([lambda o=o: qml.expval(o) for o in observables(task)], task.angle_values)
    if task.kind == "expectation":
        return Work(lambda: np.atleast_1d(device.execute(made)))
    config = ExecutionConfig(gradient_method="adjoint", use_device_gradient=True)

    def gradient() -> np.ndarray:
        slopes = np.asarray(device.compute_derivatives(made, config)).reshape(-1)  # of every gate
        by_angles = np.bincount(places, slopes, len(task.angle_values))
        return by_angles if task.angles is None else task.angles.slopes(by_angles, len(task.theta))

    return Work(gradient)


def _peer(name: str, device: str, package: str, variables: Mapping[str, str]) -> Peer:
    return Peer(
        name,
        (package, "pennylane"),
        f"{device}, script made before the timing, adjoint gradients, its default threads",
        ("single", "double"),
        {"state": 24, "gradient": 22, "expectation": 16, "kernel": 8},
        lambda task, dtype: _work(device, task, dtype),
        ("pennylane", package),
        variables=variables,
    )


# What Kokkos itself asks for.
_OPENMP = {"OMP_PROC_BIND": "spread", "OMP_PLACES": "threads"}
PEERS = {
    "lightning": _peer("lightning", "lightning.qubit", "pennylane_lightning", {}),
    "lightning-kokkos": _peer("lightning-kokkos", "lightning.kokkos", "pennylane_lightning_kokkos", _OPENMP),
}
