"""PennyLane's compiler Catalyst on lightning.qubit: whole programs compiled by MLIR and LLVM.

It pins a release of JAX that is not ours, so it is run in an environment of its own: `--environments catalyst=FOLDER`.
"""

from typing import Any

from qjaxsim_bench.peers.base import Peer, Work
from qjaxsim_bench.peers.pennylane_jax import apply, observables
from qjaxsim_bench.tasks import Task


def prepare(task: Task, dtype: str) -> Work:
    """The task as a compiled function of its angles."""
    import catalyst
    import jax
    import jax.numpy as jnp
    import pennylane as qml

    theta = jnp.asarray(task.theta)
    device = qml.device("lightning.qubit", wires=task.n_qubits)
    chosen = [] if task.kind == "state" else observables(task)

    @qml.qnode(device, diff_method="adjoint" if task.kind == "gradient" else None)
    def node(theta: Any) -> Any:
        apply(task, task.angles_at(jnp, theta))
        return qml.state() if task.kind == "state" else qml.expval(chosen[0])

    function = catalyst.grad(node, method="auto") if task.kind == "gradient" else node
    run = catalyst.qjit(function)
    return Work(lambda: jax.block_until_ready(run(theta)))


PEERS = {
    "catalyst": Peer(
        "catalyst",
        ("pennylane-catalyst", "pennylane", "jax"),
        "qjit of a QNode on lightning.qubit, adjoint gradients, compiled in the first call; an environment of its own",
        ("double",),
        {"state": 24, "gradient": 22, "expectation": 16},
        prepare,
        ("jax", "pennylane", "catalyst"),
        600,
    )
}
