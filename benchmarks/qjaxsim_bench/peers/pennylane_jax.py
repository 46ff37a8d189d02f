"""PennyLane's default.qubit with JAX, differentiated by backpropagation, jitted as a whole, mapped over samples."""

from typing import Any

from qjaxsim_bench.families import angle_sets
from qjaxsim_bench.peers.base import MOST_GATES, NOT_IN_JAX, Peer, Work, jax_work, qubit_matrix
from qjaxsim_bench.tasks import Task

GATES = {
    "rx": "RX", "ry": "RY", "rz": "RZ", "rzz": "IsingZZ", "p": "PhaseShift", "cp": "ControlledPhaseShift",
    "h": "Hadamard", "x": "PauliX", "y": "PauliY", "z": "PauliZ", "s": "S", "t": "T", "sx": "SX", "cx": "CNOT",
    "cz": "CZ", "swap": "SWAP", "ccx": "Toffoli", "cswap": "CSWAP", "unitary": "QubitUnitary",
}  # fmt: skip


def apply(task: Task, theta: Any) -> None:
    """The circuit inside a quantum function."""
    import pennylane as qml

    for name, qubits, angle in task.ops:
        value = theta[angle] if isinstance(angle, int) else angle
        arguments = () if value is None else (value,)
        if name == "mcz":
            qml.ctrl(qml.PauliZ(qubits[-1]), control=list(qubits[:-1]))
        elif name in ("sdg", "tdg", "sxdg"):
            qml.adjoint(getattr(qml, GATES[name.removesuffix("dg")])(qubits[0]))
        else:
            getattr(qml, GATES[name])(*arguments, wires=list(qubits))


def observables(task: Task) -> list[Any]:
    """The task's observables."""
    import pennylane as qml

    letters = {"X": qml.PauliX, "Y": qml.PauliY, "Z": qml.PauliZ}
    out = []
    for terms in qubit_matrix(task):
        words = [qml.prod(*(letters[w](q) for w, q in zip(word, qubits, strict=True))) for word, qubits, _ in terms]
        words = [
            letters[word](qubits[0]) if len(word) == 1 else w for w, (word, qubits, _) in zip(words, terms, strict=True)
        ]
        values = [value for _, _, value in terms]
        out.append(words[0] if values == [1.0] else qml.Hamiltonian(values, words))
    return out


def prepare(task: Task, dtype: str) -> Work:
    """The task as a QNode."""
    import jax.numpy as jnp
    import pennylane as qml

    complex_type = jnp.complex64 if dtype == "single" else jnp.complex128
    device = qml.device("default.qubit", wires=task.n_qubits)

    def state(task: Task) -> Any:
        @qml.qnode(device, interface="jax", diff_method="backprop")
        def node(theta: Any) -> Any:
            apply(task, theta)
            return qml.state()

        return lambda theta: node(theta).astype(complex_type)

    def values(task: Task) -> Any:
        chosen = observables(task)

        @qml.qnode(device, interface="jax", diff_method="backprop")
        def node(theta: Any) -> Any:
            apply(task, theta)
            return [qml.expval(o) for o in chosen]

        return lambda theta: jnp.stack(node(theta)).astype(theta.dtype)

    if task.kind == "metric":
        return _metric(task, device)
    return jax_work(task, dtype, state, values)


def _metric(task: Task, device: Any) -> Work:
    """Its algorithm for simulators, called as by a user."""
    import numpy as np
    import pennylane as qml
    from pennylane import numpy as pnp

    @qml.qnode(device)
    def node(theta: Any) -> Any:
        apply(task, theta)
        return qml.expval(qml.PauliZ(0))

    metric = qml.adjoint_metric_tensor(node)
    sets = [pnp.array(each, requires_grad=True) for each in angle_sets(task)]
    return Work(lambda: [metric(each) for each in sets], result=lambda found: np.stack(found))


PEERS = {
    "pennylane": Peer(
        "pennylane",
        ("pennylane", "jax"),
        "default.qubit, interface jax, backprop, jax.jit, jax.vmap over samples",
        ("single", "double"),
        {
            "state": 12,
            "gradient": 12,
            "energy-hessian": 12,
            "kernel": 8,
            "metric": 10,
            "hybrid": 8,
            "expectation": 12,
            "hvp": 4,
            "hessian": 8,
            "qnn": 4,
        },
        prepare,
        ("jax", "pennylane"),
        MOST_GATES,
        NOT_IN_JAX,
    )
}
