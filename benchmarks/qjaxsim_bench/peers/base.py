"""What an adapter provides, and what all adapters to JAX simulators share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qjaxsim_bench.families import angle_sets
from qjaxsim_bench.tasks import Task, Term

OURS = "qjaxsim"

Run = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Work:
    """A computation that is ready to be timed.

    Attributes:
        run: does it once and waits for the result; returns what `result` makes an array of.
        compile: does what a first call needs in advance, or None.
        result: from what `run` returns to the array that is compared.
    """

    run: Callable[[], Any]
    result: Callable[[Any], np.ndarray] = np.asarray
    compile: Callable[[], None] | None = None


@dataclass(frozen=True)
class Peer:
    """A simulator.

    Attributes:
        name: as the command line takes it.
        packages: distributions it needs, the first one gives its version.
        settings: how it is run, in words.
        dtypes: precisions it has.
        largest: by kind of task, the largest number of qubits that is asked of it.
        prepare: from a task and a precision to the work.
        modules: what is imported before any time is taken.
        most_gates: gates of a circuit, beyond which compiling it takes minutes.
        lacks: names of gates that it is not given.
        variables: of its processes, where its documentation advises some.
    """

    name: str
    packages: tuple[str, ...]
    settings: str
    dtypes: tuple[str, ...]
    largest: dict[str, int]
    prepare: Callable[[Task, str], Work]
    modules: tuple[str, ...] = ()
    most_gates: int | None = None
    lacks: tuple[str, ...] = ("prepare",)
    variables: Mapping[str, str] = field(default_factory=dict)

    def precision(self, dtype: str) -> str | None:
        """Its precision beside ours: without single it runs in double, without double it does not run."""
        return dtype if dtype in self.dtypes else "double" if dtype == "single" else None

    def supports(self, task: Task, dtype: str) -> bool:
        """Whether it is run on this task."""
        if self.precision(dtype) is None or task.n_qubits > self.largest.get(task.kind, 0):
            return False
        if self.most_gates is not None and len(task.ops) > self.most_gates:
            return False
        return not any(name in self.lacks for name, _, _ in task.ops)


# A jitted program of more gates, each an operation of XLA's, compiles for minutes.
MOST_GATES = 600
# What the JAX simulators have no gate for.
NOT_IN_JAX = ("prepare", "mcz")

StateFunction = Callable[[Any], Any]


def jax_work(
    task: Task, dtype: str, state: Callable[[Task], StateFunction] | None, values: Callable[[Task], StateFunction]
) -> Work:
    """Tasks written with a JAX simulator's own functions.

    Args:
        task: what to compute.
        dtype: "single" or "double".
        state: from a task to a function of all angles, shape (places,), that gives the final state.
        values: the same for <Z> of every qubit, or for the task's observable if it has one.
    """
    import jax
    import jax.numpy as jnp

    real = jnp.float32 if dtype == "single" else jnp.float64
    theta = jnp.asarray(task.theta, real)

    def of_parameters(function: StateFunction) -> StateFunction:
        return lambda theta: function(task.angles_at(jnp, theta))

    if task.kind == "state":
        assert state is not None
        return compiled(of_parameters(state(task)), theta)
    if task.kind == "kernel":
        assert state is not None and task.features is not None
        one, features = state(task), task.features
        return compiled(jax.vmap(lambda x: one(features(jnp, x))), jnp.asarray(task.inputs, real))
    if task.kind == "metric":
        assert state is not None
        return compiled(jax.vmap(_metric(state(task))), jnp.asarray(angle_sets(task), real))
    outputs = of_parameters(values(task))
    if task.kind == "expectation":
        return compiled(outputs, theta)
    if task.kind == "gradient":
        return compiled(jax.grad(lambda t: outputs(t).sum()), theta)
    if task.kind == "energy-hessian":
        return compiled(jax.hessian(lambda t: outputs(t).sum()), theta)
    inputs, labels = jnp.asarray(task.inputs, real), jnp.asarray(task.labels)

    def batched(weights: Any) -> Any:
        return jax.vmap(lambda x: outputs(jnp.concatenate([x, weights])))(inputs)

    return compiled(batched, theta) if task.kind == "noisy" else hybrid_work(task, batched, theta, labels)


def _metric(state: StateFunction) -> StateFunction:
    """The real part of the geometric tensor, by derivatives of the state in forward mode."""
    import jax
    import jax.numpy as jnp

    def metric(theta: Any) -> Any:
        psi, slopes = state(theta), jax.jacfwd(state)(theta)
        along = slopes.conj().T @ psi
        return jnp.real(slopes.conj().T @ slopes - jnp.outer(along, along.conj()))

    return metric


def hybrid_work(task: Task, batched: Callable[[Any], Any], weights: Any, labels: Any) -> Work:
    """Tasks of the hybrid model, from a function of the weights that gives <Z> of every qubit for every sample."""
    import jax
    import jax.numpy as jnp

    def loss(weights: Any) -> Any:
        logits = batched(weights)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1))

    if task.kind == "hvp":
        direction = jnp.cos(jnp.arange(weights.size, dtype=weights.dtype))
        return compiled(lambda w: jax.jvp(jax.grad(loss), (w,), (direction,))[1], weights)
    if task.kind == "hessian":
        return compiled(_hessian_by_rows(loss), weights)
    if task.kind == "qnn":
        both = lambda w: (batched(w), jax.jacrev(batched)(w))  # noqa: E731
        return compiled(lambda w: jnp.concatenate([part.reshape(-1) for part in both(w)]), weights)

    def value_and_gradient(w: Any) -> Any:
        value, slope = jax.value_and_grad(loss)(w)
        return jnp.concatenate([value[None], slope])

    return compiled(value_and_gradient, weights)


# Directions that a Hessian pushes at once: `jax.hessian` would push all of them, each with a copy of every state.
ROWS = 8


def qrnn_update(task: Task, real: Any, probabilities: Callable[[Any, Any, Any], Any]) -> Work:
    """Loss and parameters after one update of the recurrent network, from a function that gives its distributions."""
    import jax
    import jax.numpy as jnp
    import optax
    from jax.flatten_util import ravel_pytree

    from qjaxsim.models.qrnn import published_loss
    from qjaxsim.models.qrnn_topology import QrnnTopology

    topology = QrnnTopology(**{name: task.extra[name] for name in ("width", "workspace", "stages", "degree", "order")})
    flat, unravel = ravel_pytree(topology.init(jax.random.key(0), real))
    x, y = jnp.asarray(task.inputs, jnp.int32), jnp.asarray(task.labels, jnp.int32)
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(0.01))

    def update(flat: Any) -> Any:
        loss = lambda p: published_loss(probabilities(unravel(p), x, y), y)  # noqa: E731
        value, slope = jax.value_and_grad(loss)(flat)
        # Adam's first step keeps only signs, so the gradient is compared too.
        with jax.numpy_dtype_promotion("standard"):  # optax mixes integer counters with floats
            changed = optax.apply_updates(flat, optimizer.update(slope, optimizer.init(flat))[0])
        return jnp.concatenate([value[None], slope, changed[:1]])

    return compiled(update, flat)


def _hessian_by_rows(loss: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The Hessian as Hessian-vector products with a few unit vectors at a time."""
    import jax
    import jax.numpy as jnp

    def hessian(weights: Any) -> Any:
        row = lambda v: jax.jvp(jax.grad(loss), (weights,), (v,))[1]  # noqa: E731
        return jax.lax.map(row, jnp.eye(weights.size, dtype=weights.dtype), batch_size=ROWS)

    return hessian


def compiled(function: Callable[[Any], Any], argument: Any) -> Work:
    """A JAX function, compiled ahead of its first call."""
    import jax

    jitted = jax.jit(function)
    made: list[Any] = []
    return Work(
        run=lambda: jax.block_until_ready(made[0](argument)),
        compile=lambda: made.append(jitted.lower(argument).compile()),
    )


def qubit_matrix(task: Task) -> list[tuple[Term, ...]]:
    """The observables of a task: its own sum, or Z of every qubit."""
    return [task.terms] if task.terms else [(("Z", (q,), 1.0),) for q in range(task.n_qubits)]


def angles_of(task: Task) -> np.ndarray:
    """A kernel's angles, (samples, places)."""
    assert task.features is not None
    return np.asarray(task.features(np, task.inputs))


def reversed_qubits(n_qubits: int) -> list[int]:
    """Where qubit q goes in a simulator whose qubit 0 is the least significant bit."""
    return [n_qubits - 1 - q for q in range(n_qubits)]
