"""Training of recurrent networks: several seeds at once, a fresh batch for each update, a check every few updates."""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from qjaxsim.common.checkpoint import Checkpoint, digest
from qjaxsim.common.checks import require_not_negative, require_one_of
from qjaxsim.common.progress import Progress
from qjaxsim.running.array_types import to_jax
from qjaxsim.studies.qrnn.networks import Network, Params
from qjaxsim.studies.qrnn.settings import OPTIMIZERS
from qjaxsim.studies.qrnn.tasks import SequenceTask

CHECKPOINT = "training.npz"
HISTORY = ("validation_loss", "accuracy", "training_loss", "projection", "gradient_norm")
_REFUSAL = (
    "Argument `folder` must hold this training, but {path} was made with other {others}; delete it or use another "
    "folder."
)


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How a network is trained.

    Attributes:
        optimizer: "sgd", "rmsprop" (decay 0.99), "adam", or "lbfgs" (history 40, one direction an update, no search).
        batch_size: sequences of an update.
        updates: most updates; a multiple of `every`.
        threshold: a seed stops when its watched loss is below it; 0 never stops.
        every: updates between two checks.
        watched: "validation" or "training" loss, which the threshold is for.
        validation_size: sequences of a check.
        clip: largest norm of a gradient; longer ones are cut to it.

    Raises:
        ValueError: for values out of range.
    """

    optimizer: str = "adam"
    batch_size: int = 16
    updates: int = 1000
    threshold: float = 1e-3
    every: int = 10
    watched: str = "validation"
    validation_size: int = 64
    clip: float = 0.5

    def __post_init__(self) -> None:
        require_one_of("optimizer", self.optimizer, OPTIMIZERS)
        if self.watched not in ("validation", "training"):
            raise ValueError(f"Argument `watched` must be 'validation' or 'training', but is {self.watched!r}.")
        for name in ("batch_size", "updates", "every", "validation_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"Argument `{name}` must be at least 1, but is {getattr(self, name)}.")
        if self.updates % self.every:
            raise ValueError(f"Argument `updates` must be a multiple of {self.every}, but is {self.updates}.")
        require_not_negative("threshold", self.threshold)


@dataclasses.dataclass(frozen=True)
class Trained:
    """What training leaves, the seeds in front or last as said.

    Attributes:
        params: arrays with a leading axis of seeds; of each seed's check of lowest validation loss.
        updates: (R,) updates done when a seed stopped.
        reached: (R,) whether its watched loss came below the threshold.
        failed: (R,) whether it ended in a number that is not finite or a projection of probability 0.
        history: name -> (checks, R), a stopped seed's last values repeated; see `train`.
        seconds: of all updates and checks, with compilation in the first.
        seconds_per_update: of the later blocks, for all seeds together; NaN when there was one block.
    """

    params: Params
    updates: np.ndarray
    reached: np.ndarray
    failed: np.ndarray
    history: dict[str, np.ndarray]
    seconds: float
    seconds_per_update: float


def train(
    network: Network,
    task: SequenceTask,
    schedule: Schedule,
    seeds: Sequence[int],
    rates: Sequence[float],
    *,
    folder: Path | None = None,
    progress: Progress | None = None,
    dtype: Any = jnp.float32,
    strict: bool = True,
) -> Trained:
    """Networks trained side by side, one for each seed and learning rate.

    Args:
        network: what is trained.
        task: the sequences.
        schedule: how.
        seeds: (R,) choose initial parameters and batches.
        rates: (R,) learning rates.
        folder: where a checkpoint is kept and taken up again; None keeps none.
        progress: bars.
        dtype: float32 or float64.
        strict: raise when a seed fails; else it stops there, and is marked.

    Returns:
        See `Trained`. The history has, at each check: "validation_loss" and "accuracy" of a fresh batch as the task
        evaluates it (sampled words), "training_loss", "projection" (smallest probability of a word that was projected
        on) and "gradient_norm" (before clipping), the mean, smallest and mean of the updates since the last check.

    Raises:
        FloatingPointError: if a loss is not finite or a projection had probability 0, naming the seed.
    """
    block = _block_function(network.structure, task, schedule)
    keys = jax.vmap(jax.random.key)(jnp.asarray(seeds, jnp.uint32))
    state = _start_function(network, schedule, jnp.dtype(dtype))(keys)
    arrays = {name: to_jax(value) for name, value in task.arrays.items()}
    learning_rates = jnp.asarray(rates, dtype)
    now = _Standing.start(state, len(seeds), schedule.updates // schedule.every)
    saved = None
    if folder is not None:
        identity = _identity(network, task, schedule, seeds, rates, dtype)
        saved = Checkpoint(folder / CHECKPOINT, identity, refusal=_REFUSAL)
        if kept := saved.restore(vars(now)):
            now = _Standing(**kept)
    active = ~(now.reached | now.failed)
    with (progress or Progress()).counter("updates", schedule.updates) as moved:
        while now.done < schedule.updates and active.any():
            began, check = time.perf_counter(), now.done // schedule.every
            place = jnp.asarray(now.done, jnp.int32)
            now.state, checked = block(now.state, keys, place, learning_rates, arrays, to_jax(active))
            values = {name: np.asarray(checked[name], np.float64) for name in HISTORY}
            now.done += schedule.every
            now.spent[check] = time.perf_counter() - began
            if strict:
                require_going(values, active, seeds, now.done)
            now.failed |= active & fails(values)
            for name, rows in now.history.items():
                rows[check] = values[name] if check == 0 else np.where(active, values[name], rows[check - 1])
            now.updates[active] = now.done
            now.reached |= active & (values[f"{schedule.watched}_loss"] < schedule.threshold)
            active &= ~(now.reached | now.failed)
            moved(now.done, schedule.updates)
            if saved is not None:
                saved.save(vars(now))
    if saved is not None:
        saved.forget()
    checks = now.done // schedule.every
    later = now.spent[1:checks]
    return Trained(
        params=now.state[1][0],
        updates=now.updates,
        reached=now.reached,
        failed=now.failed,
        history={name: now.history[name][:checks] for name in HISTORY},
        seconds=float(now.spent.sum()),
        seconds_per_update=float(np.median(later)) / schedule.every if later.size else math.nan,
    )


@dataclasses.dataclass
class _Standing:
    """Where a training stands, as a checkpoint holds it.

    Attributes:
        state: networks and optimisers, as `_start_function` makes them.
        done: updates.
        history: as in `Trained`, with rows for checks to come.
        spent: seconds of each block of updates.
        updates: as in `Trained`, with `reached` and `failed`.
    """

    state: Any
    done: int
    history: dict[str, np.ndarray]
    spent: np.ndarray
    updates: np.ndarray
    reached: np.ndarray
    failed: np.ndarray

    @classmethod
    def start(cls, state: Any, seeds: int, checks: int) -> "_Standing":
        history = {name: np.zeros((checks, seeds)) for name in HISTORY}
        none = np.zeros(seeds, bool)
        return cls(state, 0, history, np.zeros(checks), np.zeros(seeds, np.int64), none, none.copy())


def _identity(
    network: Network, task: SequenceTask, schedule: Schedule, seeds: Sequence[int], rates: Sequence[float], dtype: Any
) -> dict[str, Any]:
    """What a training must share with one that goes on from it."""
    data = {"task": task.name, "width": task.width, "length": task.length, "data": digest(dict(task.arrays))}
    kind = {"network": type(network).__name__, "settings": network, "dtype": str(jnp.dtype(dtype))}
    return {**data, **kind, "schedule": schedule, "seeds": seeds, "learning rates": rates}


@functools.lru_cache(maxsize=8)
def transformation(schedule: Schedule) -> optax.GradientTransformation:
    """Clipping and the optimiser, up to minus the learning rate."""
    kinds: dict[str, Callable[[], optax.GradientTransformation]] = {
        "sgd": optax.identity,
        "rmsprop": lambda: optax.scale_by_rms(decay=0.99, eps=1e-8, eps_in_sqrt=False),
        "adam": optax.scale_by_adam,
        "lbfgs": lambda: optax.scale_by_lbfgs(memory_size=40),
    }
    return optax.chain(optax.clip_by_global_norm(schedule.clip), kinds[schedule.optimizer]())


@functools.lru_cache(maxsize=8)
def _start_function(network: Network, schedule: Schedule, dtype: Any) -> Callable[[jax.Array], Any]:
    """Parameters and the optimiser's state, then the best parameters and their validation loss, for keys of seeds."""

    def start(key: jax.Array) -> Any:
        params = network.init(jax.random.fold_in(key, 0), dtype)
        return (params, transformation(schedule).init(params)), (params, jnp.array(jnp.inf, dtype))

    return jax.jit(jax.vmap(start))


@functools.lru_cache(maxsize=8)  # so that cells that differ in rate or seeds share what is compiled
def _block_function(network: Network, task: SequenceTask, schedule: Schedule) -> Callable[..., Any]:
    """A compiled function of some updates and a check, for all seeds; stopped ones stay as they are."""
    optimizer = transformation(schedule)

    def update(carry: Any, number: jax.Array, key: jax.Array, rate: jax.Array, arrays: Any) -> Any:
        params, state = carry
        inputs, targets = task.draw(arrays, jax.random.fold_in(key, number), schedule.batch_size)
        loss = lambda p: network.training_loss(p, task, inputs, targets)  # noqa: E731
        (value, projection), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            norm = jnp.linalg.norm(ravel_pytree(gradient)[0])
            steps, state = optimizer.update(gradient, state, params)
        params = jax.tree.map(lambda p, u: p - rate.astype(p.dtype) * u.astype(p.dtype), params, steps)
        return (params, state), (value, projection, norm)

    def one(state: Any, key: jax.Array, done: jax.Array, rate: jax.Array, arrays: Any, active: jax.Array) -> Any:
        carry, (best, lowest) = state
        numbers = 2 * (done + jnp.arange(schedule.every, dtype=jnp.int32)) + 1
        after, (values, projections, norms) = jax.lax.scan(
            lambda c, number: update(c, number, key, rate, arrays), carry, numbers
        )
        fresh, choice = jax.random.split(jax.random.fold_in(key, 2 * (done + schedule.every)))
        draw = task.held_out or task.draw
        inputs, targets = draw(arrays, fresh, schedule.validation_size)
        predicted = network.predict(after[0], task, inputs, targets, choice)
        checked = {
            "validation_loss": predicted.loss(),
            "accuracy": predicted.accuracy(),
            "training_loss": values.mean(),
            "projection": projections.min(),
            "gradient_norm": norms.mean(),
        }
        better = active & (checked["validation_loss"] < lowest)
        chosen = jax.tree.map(lambda new, old: jnp.where(better, new, old), (after[0], checked["validation_loss"]),
                              (best, lowest))  # fmt: skip
        return (jax.tree.map(lambda new, old: jnp.where(active, new, old), after, carry), chosen), checked

    return jax.jit(jax.vmap(one, in_axes=(0, 0, None, 0, None, 0)))


def fails(values: dict[str, np.ndarray]) -> np.ndarray:
    """(R,) whether a seed cannot go on."""
    finite = np.logical_and.reduce([np.isfinite(numbers) for numbers in values.values()])
    return np.asarray(~finite | ~(values["projection"] > 0))


def require_going(values: dict[str, np.ndarray], active: np.ndarray, seeds: Sequence[int], done: int) -> None:
    """Raise a FloatingPointError for the first seed that cannot go on."""
    for name, numbers in values.items():
        if (bad := active & ~np.isfinite(numbers)).any():
            seed = seeds[int(np.flatnonzero(bad)[0])]
            raise FloatingPointError(
                f"The {name} of seed {seed} became {numbers[bad][0]} within {done} updates; lower the learning rate."
            )
    if (bad := active & ~(values["projection"] > 0)).any():
        raise FloatingPointError(
            f"A projection of seed {seeds[int(np.flatnonzero(bad)[0])]} had probability 0 within {done} updates; "
            f"choose another bias or initial spread."
        )
