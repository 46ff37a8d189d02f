"""The whole training of a hybrid model as one compiled program, all seeds side by side, with its gradient's statistics.

An epoch of the published setting is a hundred updates of a tenth of a millisecond each; what costs is starting
programs. So epochs and updates are scans on the device, and the seeds are one batch axis in front of everything.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from qjaxsim.models.hybrid import HybridModel, Params
from qjaxsim.models.losses import cross_entropy
from qjaxsim.running.array_types import to_jax
from qjaxsim.studies.gradient_variance.settings import Run
from qjaxsim.studies.shared.examples import Examples

# Images at once when losses and accuracies are evaluated; memory only.
EVALUATED_AT_ONCE = 1000
STATISTICS = ("grad_mean", "grad_var", "post_scale", "signal_scale", "batch_loss")


class Trained(NamedTuple):
    """What S seeds leave after E epochs of T updates each.

    Attributes:
        start: initial parameters, S in front.
        end: final parameters, S in front.
        steps: name of `STATISTICS` -> (S, E, T), one number an update, before it is made: mean and population variance
            of the gradient of the minibatch's mean loss over all circuit weights; root mean square of the post-layer's
            matrix; root mean square over images and qubits of the derivative of an image's loss in <Z>; mean loss.
        evaluated: "loss", "accuracy_train", "accuracy_test" -> (S, E), on all images after each epoch.
    """

    start: Params
    end: Params
    steps: dict[str, np.ndarray]
    evaluated: dict[str, np.ndarray]


def train_seeds(
    run: Run, model: HybridModel, data: Examples, seeds: tuple[int, ...], epochs: int, dtype: str
) -> Trained:
    """All seeds of one run trained by Adam.

    Args:
        run: what to train; its sizes are the model's.
        model: the model.
        data: images.
        seeds: each chooses initial parameters, the order of images and measurements; results of a seed do not depend
            on the others.
        epochs: E.
        dtype: of everything.

    Raises:
        FloatingPointError: if a loss or a gradient is not finite, naming the seed.
    """
    order = [minibatches(len(data.x_train), run, epochs, seed) for seed in seeds]
    index, weight = np.stack([each.images for each in order]), order[0].weight.astype(dtype)
    start = _stacked([model.init(jax.random.key(seed), dtype) for seed in seeds])
    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    program = _program(model, run.learning_rate, run.shots, run.frozen)
    images = (data.x_train.astype(dtype), data.y_train, data.x_test.astype(dtype), data.y_test)
    end, steps, evaluated = jax.device_get(program(start, keys, index, weight, *images))
    _require_finite({**steps, **evaluated}, seeds, run.learning_rate)
    return Trained(jax.device_get(start), end, steps, evaluated)


def _require_finite(recorded: dict[str, np.ndarray], seeds: tuple[int, ...], rate: float) -> None:
    """Raise a FloatingPointError for the first seed that diverged."""
    for name, values in recorded.items():
        for seed, own in zip(seeds, values.reshape(len(seeds), len(values[0]), -1), strict=True):
            if (bad := ~np.isfinite(own).all(axis=1)).any():
                raise FloatingPointError(
                    f"The {name} of seed {seed} is not finite in epoch {int(bad.argmax()) + 1} at learning rate "
                    f"{rate:g}; lower `learning_rate`."
                )


class Minibatches(NamedTuple):
    """The order of images: their numbers (E, T, B) int32, and each one's weight in its minibatch's mean, (T, B)."""

    images: np.ndarray
    weight: np.ndarray


def minibatches(n_images: int, run: Run, epochs: int, seed: int) -> Minibatches:
    """Shuffled minibatches: every image once an epoch, the last minibatch smaller where the batch does not divide them.

    With `run.updates`, so many full minibatches instead, cut from shuffles one after the other.
    """
    rng = np.random.default_rng([seed, 1])
    if run.updates is not None:
        needed = epochs * run.updates * run.batch
        shuffles = [rng.permutation(n_images) for _ in range(-(-needed // n_images))]
        index = np.concatenate(shuffles)[:needed].reshape(epochs, run.updates, run.batch)
        return Minibatches(index.astype(np.int32), np.full((run.updates, run.batch), 1 / run.batch))
    steps = -(-n_images // run.batch)
    index = np.zeros((epochs, steps * run.batch), np.int32)
    index[:, :n_images] = [rng.permutation(n_images) for _ in range(epochs)]
    there = (np.arange(steps * run.batch) < n_images).reshape(steps, run.batch)
    return Minibatches(index.reshape(epochs, steps, run.batch), there / there.sum(axis=1, keepdims=True))


def _stacked(trees: list[Params]) -> Params:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


# One object for equal arguments, so that what is compiled serves runs that differ in seeds only.
@functools.lru_cache(maxsize=16)
def _program(model: HybridModel, rate: float, shots: int | None, frozen: bool) -> Callable[..., Any]:
    """The training, from initial parameters, keys, order, weights and images to what `Trained` holds."""
    optimiser = optax.adam(rate)
    update = jax.vmap(_Updates(model, optimiser, shots, frozen).one, in_axes=(0, 0, 0, 0, None, 0))

    @jax.jit
    def program(start: Params, keys: Any, index: Any, weight: Any, *images: Any) -> Any:
        x_train, y_train, x_test, y_test = (to_jax(each) for each in images)
        index = jnp.moveaxis(to_jax(index), 0, 2)  # (E, T, S, B)

        def step(carried: Any, given: Any) -> Any:
            params, state, count = carried
            chosen, own_weight = given
            now = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, count)
            params, state, statistics = update(params, state, x_train[chosen], y_train[chosen], own_weight, now)
            return (params, state, count + 1), statistics

        def epoch(carried: Any, chosen: Any) -> Any:
            carried, statistics = jax.lax.scan(step, carried, (chosen, weight))
            found: dict[str, jax.Array] = {}
            for part, x, y in (("train", x_train, y_train), ("test", x_test, y_test)):
                loss, accuracy = jax.vmap(lambda p, x=x, y=y: _evaluate(model, p, x, y))(carried[0])
                found |= {f"loss_{part}": loss, f"accuracy_{part}": accuracy}
            return carried, (statistics, found)

        first = (start, jax.vmap(optimiser.init)(start), jnp.zeros((), jnp.int32))
        (end, _, _), (steps, found) = jax.lax.scan(epoch, first, index)
        steps = {name: jnp.moveaxis(values, 2, 0) for name, values in steps.items()}
        found["loss"] = found.pop("loss_train")
        return end, steps, {name: found[name].T for name in ("loss", "accuracy_train", "accuracy_test")}

    return program


class _Updates(NamedTuple):
    """How a seed's parameters are updated."""

    model: HybridModel
    optimiser: optax.GradientTransformation
    shots: int | None
    frozen: bool

    def one(
        self, params: Params, state: Any, x: Any, y: Any, weight: Any, key: Any
    ) -> tuple[Params, Any, dict[str, jax.Array]]:
        """Parameters and state of the optimiser after one update of one seed, and what is recorded of it."""
        nothing = jnp.zeros((len(weight), self.model.n_qubits), weight.dtype)
        value, (gradient, signal) = jax.value_and_grad(_loss, (0, 1))(
            params, nothing, self.model, self.shots, x, y, weight, key
        )
        if self.frozen:
            gradient["post"] = jax.tree.map(jnp.zeros_like, gradient["post"])
        # The derivative of the mean loss holds each image's weight; without it, it is that of the image's own loss.
        own = jnp.sqrt(
            jnp.sum(weight[:, None] * (signal / jnp.where(weight > 0, weight, 1)[:, None]) ** 2) / signal.shape[1]
        )
        statistics = {
            "grad_mean": gradient["weights"].mean(),
            "grad_var": gradient["weights"].var(),
            "post_scale": jnp.sqrt(jnp.mean(params["post"]["weight"] ** 2)),
            "signal_scale": own,
            "batch_loss": value,
        }
        with jax.numpy_dtype_promotion("standard"):  # optax mixes integer counters with floats
            changes, state = self.optimiser.update(gradient, state, params)
        return optax.apply_updates(params, changes), state, statistics


def _loss(
    params: Params, bump: Any, model: HybridModel, shots: int | None, x: Any, y: Any, weight: Any, key: Any
) -> jax.Array:
    """Weighted mean of the cross-entropies with `bump`, at zero, added to <Z>: its derivative is that in <Z>."""
    values = model.expectations(params, x) if shots is None else model.sampled_expectations(params, x, shots, key)
    return jnp.sum(weight * cross_entropy(model.classify(params, values + bump), y))


def _evaluate(model: HybridModel, params: Params, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean loss and accuracy, exact, a thousand images at once."""
    size = min(EVALUATED_AT_ONCE, len(x))
    missing = -len(x) % size
    there = jnp.pad(jnp.ones(len(x), x.dtype), (0, missing))
    x, y = jnp.pad(x, ((0, missing), (0, 0), (0, 0))), jnp.pad(y, (0, missing))
    chunks = (x.reshape(-1, size, *x.shape[1:]), y.reshape(-1, size), there.reshape(-1, size))

    def sums(chunk: Any) -> tuple[jax.Array, jax.Array]:
        images, labels, weight = chunk
        logits = model.outputs(params, images)
        hits = (logits.argmax(axis=1).astype(labels.dtype) == labels).astype(weight.dtype)
        return jnp.sum(weight * cross_entropy(logits, labels)), jnp.sum(weight * hits)

    loss, hits = jax.lax.map(sums, chunks)
    count = there.sum()
    return loss.sum() / count, hits.sum() / count
