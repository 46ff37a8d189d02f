"""One cell of the study `qrnn`: train, score with all controls, look at gradients or at the Hessian."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from qjaxsim.common.progress import Progress
from qjaxsim.models.qrnn import unroll
from qjaxsim.models.qrnn_topology import QrnnTopology
from qjaxsim.running.array_types import to_jax
from qjaxsim.studies.qrnn.cells import Run
from qjaxsim.studies.qrnn.digits import DigitWords
from qjaxsim.studies.qrnn.digits_scores import drawn_columns, test_columns
from qjaxsim.studies.qrnn.networks import Network, Params, QuantumNetwork
from qjaxsim.studies.qrnn.tasks import SequenceTask
from qjaxsim.studies.qrnn.training import Trained, train
from qjaxsim.studies.shared.sweep import CellResult

# Fresh sequences that a trained network is scored on, and training sequences of a Hessian.
SCORED, CURVATURE = 512, 32
# Experiments that go to the edge: a seed that diverges is a result there.
_MAY_FAIL = ("optimizers", "initial")
# No seed of training reaches this one.
_TEST_SEED = 2**31


def describe(run: Run) -> dict[str, Any]:
    """The columns that tell what a cell is."""
    network = run.network
    row: dict[str, Any] = {"experiment": run.experiment, "task": run.task, "length": run.length}
    if isinstance(network, QuantumNetwork):
        t = network.topology
        row |= {"network": "qrnn", "workspace": t.workspace, "stages": t.stages, "degree": t.degree}
        row |= {"order": t.order, "qubits": t.n_qubits}
        if run.experiment == "initial":
            names = ("spread_theta", "spread_phi", "spread_rotation")
            row |= {"bias": t.bias, **dict(zip(names, network.spreads, strict=True))}
    else:
        row |= {"network": network.kind}
    return row | {"parameters": network.n_parameters, "seeds": len(run.seeds)}


def training_cell(
    run: Run, task: SequenceTask, folder: Path, progress: Progress, digits: DigitWords | None
) -> CellResult:
    """Train all seeds; the row has medians over them."""
    trained = train(
        run.network, task, run.schedule, run.seeds, [run.learning_rate] * len(run.seeds), folder=folder,
        progress=progress, strict=run.experiment not in _MAY_FAIL,
    )  # fmt: skip
    row = describe(run) | _training_columns(run, trained)
    scores, arrays = _scores(run.network, task, trained.params)
    row |= scores
    if digits is not None and task.name == "mnist":
        row |= test_columns(run.network, task, trained.params, digits)
    elif digits is not None:
        drawn, images = drawn_columns(run.network, trained.params, digits)
        row, arrays = row | drawn, arrays | images
    if isinstance(run.network, QuantumNetwork):
        row |= _success_columns(run.network, task, trained.params)
    arrays |= {f"history_{name}": values for name, values in trained.history.items()}
    arrays |= {f"params_{name}": np.asarray(value) for name, value in trained.params.items()}
    arrays |= {"updates": trained.updates, "reached": trained.reached, "every": np.array(run.schedule.every)}
    return CellResult(row, arrays)


def _training_columns(run: Run, trained: Trained) -> dict[str, Any]:
    # A diverged seed counts as the worst.
    last = {name: np.where(trained.failed, np.inf, values[-1]) for name, values in trained.history.items()}
    last["accuracy"] = np.where(trained.failed, 0.0, trained.history["accuracy"][-1])
    with np.errstate(divide="ignore"):
        overhead = 1 / np.sqrt(trained.history["projection"])
    row: dict[str, Any] = {
        "optimizer": run.schedule.optimizer,
        "learning_rate": run.learning_rate,
        "batch_size": run.schedule.batch_size,
        "updates": float(np.median(trained.updates)),
        "updates_mean": float(trained.updates.mean()),
        "updates_mad": float(np.median(np.abs(trained.updates - np.median(trained.updates)))),
        "threshold": run.schedule.threshold,
        "reached": float(trained.reached.mean()),
        "diverged": float(trained.failed.mean()),
        "validation_loss": float(np.median(last["validation_loss"])),
        "validation_loss_best": float(last["validation_loss"].min()),
        "validation_accuracy": float(np.median(last["accuracy"])),
    }
    if isinstance(run.network, QuantumNetwork):
        row |= {
            "overhead_start": float(np.median(overhead[0])),
            "overhead_peak": float(np.median(overhead.max(axis=0))),
            "overhead_end": float(np.median(overhead[-1])),
        }
    return row | {"ms_per_update": 1e3 * trained.seconds_per_update / len(run.seeds), "seconds": trained.seconds}


Scored = dict[str, jax.Array]


@functools.lru_cache(maxsize=4)
def _scorer(network: Network, task: SequenceTask) -> Callable[..., Scored]:
    """Scores of all seeds on given sequences, words sampled where `forced` does not set them."""

    def scores(params: Params, key: jax.Array, inputs: jax.Array, targets: jax.Array, forced: jax.Array) -> Scored:
        found = network.predict(params, task, inputs, targets, key, forced=forced)
        # A network that predicts has no first word.
        fixed = forced[-found.projection.shape[1] :]
        kept = jnp.where(fixed[None, :], found.projection, jnp.ones_like(found.projection))
        return {
            "loss": found.loss(),
            "sampled": found.accuracy(),
            "argmax": found.argmax_accuracy(),
            "projection": kept.min(),
        }

    return jax.jit(jax.vmap(scores, in_axes=(0, None, None, None, None)))


def _scores(network: Network, task: SequenceTask, params: Params) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Fresh sequences: medians over seeds as columns, values of each seed as arrays."""
    fresh, choice = jax.random.split(jax.random.key(_TEST_SEED))
    arrays = {name: to_jax(value) for name, value in task.arrays.items()}
    inputs, targets = jax.jit(task.held_out or task.draw, static_argnums=2)(arrays, fresh, SCORED)
    score = functools.partial(_scorer(network.structure, task), params, choice)
    as_published = score(inputs, targets, task.forced)
    found = {
        "score_loss": as_published["loss"],
        "accuracy_sampled": as_published["sampled"],
        "accuracy_argmax": as_published["argmax"],
        "accuracy_blanked_inputs": score(jnp.zeros_like(inputs), targets, task.forced)["argmax"],
    }
    if isinstance(network, QuantumNetwork):
        found["accuracy_all_sampled"] = score(inputs, targets, np.zeros(task.length, bool))["sampled"]
        found["smallest_projection"] = as_published["projection"]
    seeds = {name: np.asarray(value, np.float64) for name, value in found.items()}
    row = {name: float(np.median(value)) for name, value in seeds.items()}
    return row, {f"seeds_{name}": value for name, value in seeds.items()}


@functools.lru_cache(maxsize=4)
def _successes(topology: QrnnTopology) -> Callable[..., jax.Array]:
    def found(params: Params, inputs: jax.Array, targets: jax.Array) -> jax.Array:
        out = unroll(topology, params, inputs, targets, success=True)
        assert out.success is not None
        return out.success

    return jax.jit(found)


def _success_columns(network: QuantumNetwork, task: SequenceTask, params: Params) -> dict[str, Any]:
    """What postselection of the neurons themselves would cost, for the first seed on a few training sequences."""
    arrays = {name: to_jax(value) for name, value in task.arrays.items()}
    inputs, targets = task.draw(arrays, jax.random.key(_TEST_SEED), 8)
    one = {name: value[0] for name, value in params.items()}
    success = np.asarray(_successes(network.topology)(one, inputs[:, :-1], targets[:, 1:]), np.float64)
    return {
        "neuron_success_min": float(success.min()),
        "step_success_log10": float(np.log10(success).sum(axis=2).mean()),
    }


# --- gradients and curvature -------------------------------------------------------------------------------------


def gradient_cell(run: Run, task: SequenceTask) -> CellResult:
    """Norms of the gradient of the last word's loss at the start, and of its part from the sequence's first half."""
    keys = jax.vmap(jax.random.key)(jnp.asarray(run.seeds, jnp.uint32))
    network = run.network

    def one(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        params = network.init(jax.random.fold_in(key, 0), jnp.float32)
        inputs, targets = task.draw({}, jax.random.fold_in(key, 1), run.schedule.batch_size)
        early, late = jax.grad(network.last_loss, argnums=(0, 1))(params, params, inputs, targets)
        whole = jax.tree.map(jnp.add, early, late)
        return jnp.linalg.norm(ravel_pytree(whole)[0]), jnp.linalg.norm(ravel_pytree(early)[0])

    norms = [np.asarray(found, np.float64) for found in jax.jit(jax.vmap(one))(keys)]
    row = describe(run)
    for name, values in zip(("gradient_norm", "gradient_norm_early"), norms, strict=True):
        middle = np.median(values)
        row |= {name: float(middle), f"{name}_mad": float(np.median(np.abs(values - middle)))}
    return CellResult(row, {"gradient_norms": norms[0], "gradient_norms_early": norms[1]})


def hessian_cell(run: Run, task: SequenceTask, folder: Path, progress: Progress) -> CellResult:
    """Train, then take the dense Hessian of the training loss at the end, in the network's precision made double."""
    from qjaxsim.curvature.hvp import hessian
    from qjaxsim.curvature.spectrum import dense_spectrum

    if jax.dtypes.canonicalize_dtype(np.float64) != np.float64:
        raise ValueError("A Hessian's near-zero bulk needs JAX's x64 mode; set JAX_ENABLE_X64=1.")
    network = run.network
    result = training_cell(run, task, folder, progress, None)
    assert isinstance(result.row, dict)
    inputs, targets = task.draw({}, jax.random.key(_TEST_SEED), CURVATURE)
    template = jax.tree.map(lambda leaf: leaf[0], {n: result.arrays[f"params_{n}"] for n in _names(network)})

    def loss(params: Params) -> jax.Array:
        return network.training_loss(params, task, inputs, targets)[0]

    point = {name: jnp.asarray(value, jnp.float64) for name, value in template.items()}
    values = dense_spectrum(np.asarray(hessian(loss, point, batch_size=16)))
    size = max(abs(values[0]), abs(values[-1]))
    row = result.row | {
        "hessian_sequences": CURVATURE,
        "lambda_max": float(values[-1]),
        "lambda_min": float(values[0]),
        "trace": float(values.sum()),
        "above_1_percent": int((values > 0.01 * size).sum()),
        "near_zero_fraction": float((np.abs(values) < 1e-4 * size).mean()),
    }
    return CellResult(row, result.arrays | {"eigenvalues": values})


def _names(network: Network) -> list[str]:
    assert isinstance(network, QuantumNetwork)
    return list(network.topology.shapes)


# --- the neuron --------------------------------------------------------------------------------------------------


def neuron_cell(run: Run) -> CellResult:
    """Amplified and postselected neurons of order 1 on a random superposition of three sources."""
    import qjaxsim as qj
    from qjaxsim.models.qrnn_neuron import activation, amplified_neuron_circuit

    topology = QrnnTopology(1, 3, 1, 2, order=1)
    rng = np.random.default_rng(0)
    numbers, state = rng.normal(size=topology.n_numbers), rng.normal(size=(8, 2))
    state /= np.linalg.norm(state)
    c, s = (np.asarray(x) for x in activation(to_jax(topology.bias + topology.monomials @ numbers), 1))
    kept = np.stack([c * state[:, 0] - s * state[:, 1], s * state[:, 0] + c * state[:, 1]], axis=1)
    weights, success = (state**2).sum(axis=1), float((kept**2).sum())
    postselected = (kept**2).sum(axis=1) / success
    basis = np.linalg.qr(np.column_stack([state.reshape(-1), np.eye(16)[:, :15]]))[0]
    basis *= np.sign(basis[:, 0] @ state.reshape(-1))
    failures, shifts = [], []
    for levels in range(3):
        whole = qj.Circuit(5).unitary(basis, range(4))
        whole.compose(amplified_neuron_circuit(3, 2, 1, topology.bias, levels))
        final = np.asarray(qj.statevector(whole)({"numbers": to_jax(numbers)})).reshape(8, 2, 2)
        probabilities = np.abs(final[..., 0]) ** 2
        failures.append(max(0.0, 1 - float(probabilities.sum())))
        branch = probabilities.sum(axis=1) / probabilities.sum()
        shifts.append(float(np.abs(branch - weights).sum() / 2))
    row = {
        "experiment": run.experiment,
        "task": run.task,
        "success_postselected": success,
        "branch_shift_postselected": float(np.abs(postselected - weights).sum() / 2),
        **{f"failure_amplified_{k}": failures[k] for k in range(3)},
        **{f"branch_shift_amplified_{k}": shifts[k] for k in range(3)},
    }
    return CellResult(row, {"weights": weights, "postselected": postselected, "failures": np.array(failures)})
