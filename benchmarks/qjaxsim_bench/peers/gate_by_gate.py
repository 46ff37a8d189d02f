"""A plain JAX simulator of our own: each gate a tensordot on a (2, ..., 2) state, samples by vmap, as most are written.

Repeated layers run as a scan. It stands for what one gets without planning; nothing in it is shared with the engine.
"""

from typing import Any

import numpy as np

from qjaxsim_bench.peers import qrnn_gates
from qjaxsim_bench.peers.base import MOST_GATES, NOT_IN_JAX, Peer, Work, jax_work, qubit_matrix
from qjaxsim_bench.tasks import Task

_FIXED = {
    "h": np.array([[1, 1], [1, -1]]) / np.sqrt(2),
    "s": np.diag([1, 1j]),
    "sdg": np.diag([1, -1j]),
    "t": np.diag([1, np.exp(0.25j * np.pi)]),
    "tdg": np.diag([1, np.exp(-0.25j * np.pi)]),
    "sx": np.array([[1 + 1j, 1 - 1j], [1 - 1j, 1 + 1j]]) / 2,
    "sxdg": np.array([[1 - 1j, 1 + 1j], [1 + 1j, 1 - 1j]]) / 2,
    "x": np.array([[0, 1], [1, 0]]),
    "y": np.array([[0, -1j], [1j, 0]]),
    "z": np.diag([1, -1]),
    "cx": np.eye(4)[[0, 1, 3, 2]],
    "cz": np.diag([1, 1, 1, -1]),
    "swap": np.eye(4)[[0, 2, 1, 3]],
    "ccx": np.eye(8)[[0, 1, 2, 3, 4, 5, 7, 6]],
    "cswap": np.eye(8)[[0, 1, 2, 3, 4, 6, 5, 7]],
}


def matrix(name: str, angle: Any, complex_type: Any) -> Any:
    """A gate's matrix as a JAX array."""
    import jax.numpy as jnp

    if name in _FIXED:
        return jnp.asarray(_FIXED[name], complex_type)
    if name == "unitary":
        return jnp.asarray(angle, complex_type)
    if name in ("p", "cp"):
        phase = jnp.cos(angle) + 1j * jnp.sin(angle)
        return jnp.diag(jnp.asarray([1, phase] if name == "p" else [1, 1, 1, phase])).astype(complex_type)
    if name == "rzz":
        return jnp.diag(jnp.exp(jnp.asarray([-0.5j, 0.5j, 0.5j, -0.5j]) * angle)).astype(complex_type)
    pauli = jnp.asarray(_FIXED[name[1]], complex_type)
    half = jnp.asarray(angle / 2).astype(complex_type)
    return jnp.cos(half) * jnp.eye(2, dtype=complex_type) - 1j * jnp.sin(half) * pauli


def apply(state: Any, gate: Any, qubits: tuple[int, ...]) -> Any:
    """One gate on a (2, ..., 2) state."""
    import jax.numpy as jnp

    k = len(qubits)
    moved = jnp.tensordot(gate.reshape((2,) * (2 * k)), state, (tuple(range(k, 2 * k)), qubits))
    return jnp.moveaxis(moved, tuple(range(k)), qubits)


def _zero(n_qubits: int, complex_type: Any) -> Any:
    import jax.numpy as jnp

    return jnp.zeros((2,) * n_qubits, complex_type).at[(0,) * n_qubits].set(1)


def _state(task: Task, complex_type: Any) -> Any:
    def run(theta: Any) -> Any:
        state = _zero(task.n_qubits, complex_type)
        for name, qubits, angle in task.ops:
            value = theta[angle] if isinstance(angle, int) else angle
            state = apply(state, matrix(name, value, complex_type), qubits)
        return state

    return run


def _values(state: Any, task: Task, complex_type: Any) -> Any:
    """Expectation values, one term after the other."""
    import jax.numpy as jnp

    out = []
    for terms in qubit_matrix(task):
        total: Any = 0.0
        for letters, qubits, weight in terms:
            flipped = state
            for letter, qubit in zip(letters, qubits, strict=True):
                flipped = apply(flipped, matrix(letter.lower(), None, complex_type), (qubit,))
            total = total + weight * jnp.vdot(state, flipped).real
        out.append(total)
    return jnp.stack(out)


def _circuit_state(circuit: Any, params: dict[str, Any], state: Any, complex_type: Any) -> Any:
    """A `qjaxsim.Circuit` gate by gate, its repeats as scans."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    for op in circuit.operations:
        if hasattr(op, "times"):
            own = {name: params[name] for name in op.circuit.parameters if name not in op.shared}
            common = {name: params[name] for name in op.circuit.parameters if name in op.shared}

            def body(carry: Any, now: Any, op: Any = op, common: Any = common) -> tuple[Any, None]:
                return _circuit_state(op.circuit, {**common, **now}, carry, complex_type), None

            # Kept for every gate, the states of the published depth would need 40 GiB.
            state, _ = lax.scan(jax.checkpoint(body), state, own, op.times)
            continue
        angles = [a.evaluate(lambda name, i: params[name].reshape(-1)[i], jnp) for a in op.angles]
        state = apply(state, matrix(op.name, angles[0] if angles else None, complex_type), op.qubits)
    return state


def _patches(task: Task, real: Any, complex_type: Any) -> Work:
    """The patches model with its circuits run gate by gate, mapped over circuits and samples."""
    import jax
    import jax.numpy as jnp

    from qjaxsim.models.patches import PatchesModel, circuit_params
    from qjaxsim_bench.peers.ours import patches_work

    model = PatchesModel(task.extra["circuits"], task.extra["layers"])
    half = -(-model.n_classes // 2)
    read = Task("", 8, (), np.zeros(0))

    def one(weights: Any, features: Any) -> Any:
        split = model.circuit.parameters["first"][0]
        named = circuit_params(weights, model.n_qubits, model.n_layers, model.n_features)
        params = {"first": features[:split], "second": features[split:], **named}
        state = _circuit_state(model.circuit, params, _zero(model.n_qubits, complex_type), complex_type)
        flips = [jnp.vdot(state, jnp.flip(state, q)).real for q in range(half)]
        return jnp.concatenate([jnp.stack(flips), _values(state, read, complex_type)[: model.n_classes - half]])

    def outputs(params: Any, x: Any) -> Any:
        bias = params["bias"].reshape(-1)[model.patch_pixels]
        features = model.patches(x) + bias[None]
        each = jax.vmap(jax.vmap(one, (None, 0)), (0, 1))(params["weights"], features)
        return model.scale / model.n_patches * each.sum(0)

    return patches_work(task, model, outputs, real, jax.random.key(0))


def prepare(task: Task, dtype: str) -> Work:
    """The task, gate by gate."""
    import jax.numpy as jnp

    real, complex_type = (jnp.float32, jnp.complex64) if dtype == "single" else (jnp.float64, jnp.complex128)
    if task.kind == "patches":
        return _patches(task, real, complex_type)
    if task.kind == "qrnn":
        return qrnn_gates.prepare(task, real)
    run = _state(task, complex_type)
    return jax_work(
        task, dtype, lambda t: lambda a: run(a).reshape(-1), lambda t: lambda a: _values(run(a), t, complex_type)
    )


PEERS = {
    "gate-by-gate": Peer(
        "gate-by-gate",
        ("jax",),
        "tensordot for each gate, vmap over samples, jit; repeats as scans",
        ("single", "double"),
        {
            "state": 12,
            "gradient": 12,
            "energy-hessian": 12,
            "metric": 10,
            "kernel": 8,
            "hybrid": 8,
            "hvp": 4,
            "hessian": 8,
            "qnn": 4,
            "patches": 8,
            "qrnn": 11,
        },
        prepare,
        ("jax",),
        MOST_GATES,
        NOT_IN_JAX,
    )
}
