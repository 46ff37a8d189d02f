"""This engine."""

from collections.abc import Callable
from typing import Any

import numpy as np

from qjaxsim_bench.families import angle_sets
from qjaxsim_bench.peers import links
from qjaxsim_bench.peers.base import OURS, Peer, Work, compiled, hybrid_work, qrnn_update, qubit_matrix
from qjaxsim_bench.tasks import RATE, Angles, Task, classical_layers


def circuit(task: Task) -> Any:
    """The task's circuit; places below the number of inputs are the parameter "inputs", others "weights"."""
    import qjaxsim as qj

    n_inputs = 0 if task.inputs is None or task.features else task.n_qubits
    inputs = qj.Parameter("inputs", (max(n_inputs, 1),))
    weights = qj.Parameter("weights", (max(len(task.theta), 1),))
    angles: Any = weights if task.angles is None else _sums(task.angles, weights)
    out = qj.Circuit(task.n_qubits)
    for name, qubits, angle in task.ops:
        if isinstance(angle, np.ndarray):
            out.unitary(angle, qubits)
            continue
        if isinstance(angle, int):
            angle = inputs[angle] if angle < n_inputs else angles[angle - n_inputs]
        out.append(name, qubits, () if angle is None else (angle,))
    return out


def _sums(angles: Angles, weights: Any) -> list[Any]:
    """Angles as expressions."""
    out = [float(offset) for offset in angles.offsets]
    for row, column, factor in zip(angles.rows, angles.columns, angles.factors, strict=True):
        summand = weights[int(column)] if factor == 1 else float(factor) * weights[int(column)]
        out[row] = summand if isinstance(out[row], float) and out[row] == 0 else out[row] + summand
    return out


def observables(task: Task) -> list[Any]:
    """The task's observables as Pauli sums."""
    import qjaxsim as qj

    letters = {"X": qj.X, "Y": qj.Y, "Z": qj.Z}
    sums = []
    for terms in qubit_matrix(task):
        total = 0 * qj.I()
        parts = []
        for word, qubits, value in terms:
            product = qj.I() * value
            for letter, qubit in zip(word, qubits, strict=True):
                product = product @ letters[letter](qubit)
            parts.append(product)
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        sums.append(total)
    return sums


def prepare(task: Task, dtype: str) -> Work:
    """The task with this engine's functions."""
    import jax
    import jax.numpy as jnp

    import qjaxsim as qj

    real = jnp.float32 if dtype == "single" else jnp.float64
    whole = {"patches": _patches, "training": _training, "qrnn": _qrnn, "parameters": _parameters}
    if task.kind in ("remap", "allreduce"):
        return links.prepare(task, real)
    if task.kind in whole:
        return whole[task.kind](task, real)
    if task.kind == "pauli-sum":
        return Work(lambda: _term_by_term(task), coefficients(task))
    if task.kind == "crosscheck":
        return _crosscheck(task)
    if task.kind == "kernel":
        return kernel(qj.zz_feature_map(task.n_qubits, repetitions=task.extra["repetitions"]), task, dtype)
    theta = jnp.asarray(task.theta, real)
    made = _imported(task) if task.imported else circuit(task)
    if task.kind == "state":
        run = qj.statevector(made)
        if not made.parameters:
            # Called as by a user. Such a circuit follows JAX's default precision, which the worker sets.
            return Work(lambda: jax.block_until_ready(run()))
        return compiled(lambda t: run({"weights": t}), theta)
    if task.kind in ("energy-hessian", "eager-hessian"):
        energy = qj.expectation(made, observables(task)[0])
        if task.kind == "eager-hessian":
            return Work(lambda: jax.block_until_ready(qj.hessian(lambda w: energy({"weights": w}), theta)))
        return compiled(lambda t: qj.hessian(energy, {"weights": t}), theta)
    if task.kind == "metric":
        from qjaxsim.geometry import quantum_fisher

        fisher = quantum_fisher(made)
        return compiled(lambda sets: fisher({"weights": sets}) / 4, jnp.asarray(angle_sets(task), real))
    values = qj.expectation(made, observables(task))
    if task.kind == "expectation":
        return compiled(lambda t: values({"weights": t} if made.parameters else {}), theta)
    if task.kind == "gradient":
        return compiled(jax.grad(lambda t: values({"weights": t}).sum()), theta)
    inputs, labels = jnp.asarray(task.inputs, real), jnp.asarray(task.labels)
    if task.kind == "noisy":
        return compiled(lambda w: values({"inputs": inputs, "weights": w}), theta)
    if task.kind == "hessian":
        return _split_hessian(made, task, theta, inputs, labels)
    return hybrid_work(task, lambda w: values({"inputs": inputs, "weights": w}), theta, labels)


def _imported(task: Task) -> Any:
    """The task's circuit as Qiskit's, imported."""
    from qjaxsim_qiskit import from_qiskit

    from qjaxsim_bench.peers import aer

    return from_qiskit(aer.circuit(task, task.theta, range(task.n_qubits))).circuit


def kernel(circuit: Any, task: Task, dtype: str) -> Work:
    """States of all samples, from a circuit of the parameter "x"."""
    import jax.numpy as jnp

    import qjaxsim as qj

    run = qj.statevector(circuit)
    return compiled(
        lambda x: run({"x": x}), jnp.asarray(task.inputs, jnp.float32 if dtype == "single" else jnp.float64)
    )


def _parameters(task: Task, real: Any) -> Work:
    """The state, from numbers by the names of their parameters."""
    import jax
    import jax.numpy as jnp

    import qjaxsim as qj

    made = qj.Circuit(task.n_qubits)
    for name, qubits, angle in task.ops:
        made.append(name, qubits, () if angle is None else (qj.Parameter(f"w{angle}"),))
    run = qj.statevector(made)
    values = {f"w{i}": jnp.asarray(value, real) for i, value in enumerate(task.theta)}
    return Work(lambda: jax.block_until_ready(run(values)))


def _term_by_term(task: Task) -> Any:
    import qjaxsim as qj

    letters, total = {"X": qj.X, "Y": qj.Y, "Z": qj.Z}, 0 * qj.I()
    for word, qubits, value in task.terms:
        product = value * qj.I()
        for letter, qubit in zip(word, qubits, strict=True):
            product = product @ letters[letter](qubit)
        total = total + product
    len(total.terms)  # sums are collected when they are looked at
    return total


def coefficients(task: Task) -> Callable[[Any], np.ndarray]:
    """From a Pauli sum to its coefficients, in the task's order."""
    keys = [tuple(zip(qubits, word, strict=True)) for word, qubits, _ in task.terms]
    return lambda total: np.array([total.terms[key] for key in keys])


def _crosscheck(task: Task) -> Work:
    """Whether both agree."""
    from qjaxsim_qiskit import crosscheck

    made = circuit(task)
    return Work(lambda: np.array(float(crosscheck(made, {"weights": task.theta}).agrees)))


def _split_hessian(circuit: Any, task: Task, theta: Any, inputs: Any, labels: Any) -> Work:
    """The Hessian with its two parts; compiled in the first call."""
    import jax

    from qjaxsim.curvature import CircuitOutputs, split_hessian
    from qjaxsim.models.losses import cross_entropy

    model = CircuitOutputs(circuit, observables(task), ("inputs",))
    params, x = {"weights": theta}, {"inputs": inputs}
    return Work(lambda: jax.block_until_ready(split_hessian(model, cross_entropy, params, x, labels).hessian))


def _training(task: Task, real: Any) -> Work:
    """Loss and updated parameters, in alphabetical order of their names."""
    import jax
    import jax.numpy as jnp
    import optax
    from jax.flatten_util import ravel_pytree

    from qjaxsim.models.hybrid import HybridModel
    from qjaxsim.models.losses import cross_entropy

    model = HybridModel(task.n_qubits, task.extra["layers"])
    assert task.inputs is not None
    x, y = jnp.asarray(task.inputs.reshape(-1, 28, 28), real), jnp.asarray(task.labels)
    weights = task.theta.reshape(task.extra["layers"], task.n_qubits, 3)
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, real), {**classical_layers(task), "weights": weights})
    optimiser = optax.adam(RATE)
    flat, unravel = ravel_pytree((params, optimiser.init(params)))

    def update(given: Any) -> Any:
        params, state = unravel(given)
        value, slope = jax.value_and_grad(lambda p: cross_entropy(model.outputs(p, x), y).mean())(params)
        changes, _ = optimiser.update(slope, state, params)
        return jnp.concatenate([value[None], ravel_pytree(optax.apply_updates(params, changes))[0]])

    return compiled(update, flat)


def _patches(task: Task, real: Any) -> Work:
    import jax

    from qjaxsim.models.patches import PatchesModel

    model = PatchesModel(task.extra["circuits"], task.extra["layers"])
    return patches_work(task, model, lambda params, x: model.outputs(params, x), real, jax.random.key(0))


def _qrnn(task: Task, real: Any) -> Work:
    from qjaxsim.models.qrnn import unroll
    from qjaxsim.models.qrnn_topology import QrnnTopology

    topology = QrnnTopology(**{name: task.extra[name] for name in ("width", "workspace", "stages", "degree", "order")})
    return qrnn_update(task, real, lambda params, x, y: unroll(topology, params, x, y).probabilities)


def patches_work(task: Task, model: Any, outputs: Any, real: Any, key: Any) -> Work:
    """Value and gradient of the patches model's loss, from a function that gives its logits."""
    import jax
    import jax.numpy as jnp
    from jax.flatten_util import ravel_pytree

    from qjaxsim.models.losses import cross_entropy

    flat, unravel = ravel_pytree(model.init(key, real))
    x, y = jnp.asarray(task.inputs, real), jnp.asarray(task.labels)

    def value_and_gradient(flat: Any) -> Any:
        value, slope = jax.value_and_grad(lambda f: cross_entropy(outputs(unravel(f), x), y).mean())(flat)
        return jnp.concatenate([value[None], slope])

    return compiled(value_and_gradient, flat)


_ALL = (
    "state", "gradient", "expectation", "energy-hessian", "metric", "kernel", "noisy", "hybrid", "hvp", "hessian",
    "qnn", "training", "patches", "qrnn", "pauli-sum", "eager-hessian", "parameters", "crosscheck",
    "remap", "allreduce",
)  # fmt: skip
PEERS = {
    OURS: Peer(
        OURS,
        ("qjaxsim", "jax"),
        "defaults",
        ("single", "double"),
        dict.fromkeys(_ALL, 30),
        prepare,
        ("jax", "qjaxsim.curvature", "qjaxsim.models.hybrid", "qjaxsim.models.patches"),
        lacks=(),
    ),
}
