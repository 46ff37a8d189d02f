"""PennyLane's default.mixed with JAX, jitted as a whole, mapped over samples."""

from typing import Any

from qjaxsim_bench.peers.base import MOST_GATES, NOT_IN_JAX, Peer, Work, jax_work
from qjaxsim_bench.peers.pennylane_jax import GATES, observables
from qjaxsim_bench.tasks import Task


def prepare(task: Task, dtype: str) -> Work:
    """The task as a QNode of density matrices."""
    import jax.numpy as jnp
    import pennylane as qml

    device = qml.device("default.mixed", wires=task.n_qubits)

    def values(task: Task) -> Any:
        chosen = observables(task)

        @qml.qnode(device, interface="jax", diff_method="backprop")
        def node(theta: Any) -> Any:
            for name, qubits, angle in task.ops:
                if name == "depolarizing":
                    assert isinstance(angle, float)
                    qml.DepolarizingChannel(0.75 * angle, wires=qubits[0])  # its probability is that of X, Y and Z
                    continue
                arguments = (theta[angle],) if isinstance(angle, int) else ()
                getattr(qml, GATES[name])(*arguments, wires=list(qubits))
            return [qml.expval(o) for o in chosen]

        return lambda theta: jnp.stack(node(theta)).astype(theta.dtype)

    return jax_work(task, dtype, None, values)


PEERS = {
    "pennylane-mixed": Peer(
        "pennylane-mixed",
        ("pennylane", "jax"),
        "default.mixed, interface jax, jax.jit, jax.vmap over samples",
        ("single", "double"),
        {"noisy": 12},
        prepare,
        ("jax", "pennylane"),
        MOST_GATES,
        NOT_IN_JAX,
    )
}
