"""Restarts, the best iterate, and a checkpoint from which a killed run goes on as if it had not been."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common import files
from qjaxsim.common.pytrees import numbered
from qjaxsim.models.disentangler.circuit import Gates, identity_gates, random_gates
from qjaxsim.models.disentangler.config import DisentanglerConfig, Layout
from qjaxsim.models.disentangler.gradient import GradientStepper
from qjaxsim.models.disentangler.sweep import distance, operand, sweep, truncated

# Seconds between two checkpoints within a restart.
CHECKPOINT_SECONDS = 10.0
Progress = Callable[[int, int, float], None]


class Stepper(Protocol):
    """One way to improve the circuits. A state is any pytree of arrays."""

    def init(self, u: Gates, v: Gates) -> Any:
        """The state at a start."""

    def step(self, state: Any, weight: jax.Array, target: jax.Array) -> Any:
        """A state nearer to the target."""

    def gates(self, state: Any) -> tuple[Gates, Gates]:
        """U and V of a state."""


@dataclass(frozen=True)
class Best:
    """The best iterate so far.

    Attributes:
        u: gates of U.
        v: gates of V.
        history: distances of its restart, in full.
        restart: its restart.
        converged: whether that restart stopped by itself.
        seconds: time spent, earlier runs included.
    """

    u: Gates
    v: Gates
    history: list[float]
    restart: int
    converged: bool
    seconds: float = 0.0

    @property
    def error(self) -> float:
        """Its distance."""
        return min(self.history)


@dataclass
class _Run:
    """Where a search stands: the restart, its state and history, the best of it and of earlier restarts."""

    restart: int
    state: Any
    history: list[float] = field(default_factory=list)
    gates: tuple[Gates, Gates] | None = None
    best: Best | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class _Explicit:
    """Sweeps of polar factors."""

    layout: Layout

    def init(self, u: Gates, v: Gates) -> tuple[Gates, Gates]:
        return u, v

    def step(self, state: tuple[Gates, Gates], weight: jax.Array, target: jax.Array) -> tuple[Gates, Gates]:
        return sweep(self.layout.wall_u, self.layout.wall_v, *state, weight, target)

    def gates(self, state: tuple[Gates, Gates]) -> tuple[Gates, Gates]:
        return state


def search(
    weight: jax.Array,
    layout: Layout,
    config: DisentanglerConfig,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> Best:
    """The best iterate of all restarts. Arguments and errors as `disentangle`; the weight is padded."""
    begin = time.perf_counter()
    stepper = _stepper(layout, config)
    run = _Run(0, stepper.init(*_start(layout, config, 0)))
    identity = _identity(weight, config) if checkpoint else ""
    if checkpoint and checkpoint.exists():
        run = _load(checkpoint, identity, run)
    earlier, saved = run.seconds, time.perf_counter()
    fixed = truncated(weight, layout.geometry, config.target_bond) if config.target == "fixed" else None

    while run.restart < config.restarts:
        ended = _advance(run, stepper, weight, fixed, layout, config)
        run.seconds = earlier + time.perf_counter() - begin
        if ended:
            _close_restart(run, stepper, layout, config)
        if progress:
            _report(run, config, progress)
        if checkpoint and (ended or time.perf_counter() - saved > CHECKPOINT_SECONDS):
            _save(checkpoint, identity, run)
            saved = time.perf_counter()
    assert run.best is not None
    return replace(run.best, seconds=run.seconds)


def _advance(
    run: _Run,
    stepper: Stepper,
    weight: jax.Array,
    fixed: jax.Array | None,
    layout: Layout,
    config: DisentanglerConfig,
) -> bool:
    """Look at the state, then take a step from it unless the restart is over; whether it is."""
    u, v = stepper.gates(run.state)
    # Computed from the gates alone, here and after a resume: both must give the same bits.
    current = operand(layout.wall_u, layout.wall_v, u, v, weight)
    target = truncated(current, layout.geometry, config.chi) if fixed is None else fixed
    error = float(distance(current, target)[1])
    if not run.history or error < min(run.history):
        run.gates = (u, v)
    run.history.append(error)
    n_gates = layout.wall_u.n_gates + layout.wall_v.n_gates
    if n_gates == 0 or len(run.history) > config.sweeps or _settled(run.history, config):
        return True
    run.state = stepper.step(run.state, weight, target)
    return False


def _settled(history: list[float], config: DisentanglerConfig) -> bool:
    """Whether there is nothing left to gain, or was not in the last sweeps."""
    if min(history) < 10 * np.finfo(config.dtype).eps:
        return True
    if len(history) <= config.steps_without_gain:
        return False
    before = min(history[: -config.steps_without_gain])
    return before - min(history) < config.tolerance * before


def _close_restart(run: _Run, stepper: Stepper, layout: Layout, config: DisentanglerConfig) -> None:
    """Compare with earlier restarts and start the next."""
    assert run.gates is not None
    if run.best is None or min(run.history) < run.best.error:
        converged = len(run.history) <= config.sweeps or _settled(run.history, config)
        run.best = Best(*run.gates, run.history, run.restart, converged)
    run.restart += 1
    run.history = []
    run.state = stepper.init(*_start(layout, config, run.restart))


def _report(run: _Run, config: DisentanglerConfig, progress: Progress) -> None:
    errors = run.history + (run.best.history if run.best else [])
    done = run.restart * config.sweeps + max(len(run.history) - 1, 0)
    progress(done, config.restarts * config.sweeps, min(errors))


def _start(layout: Layout, config: DisentanglerConfig, restart: int) -> tuple[Gates, Gates]:
    walls = (layout.wall_u, layout.wall_v)
    if restart == 0 and config.start == "identity":
        u, v = (identity_gates(wall, config.array_dtype) for wall in walls)
    else:
        rng = np.random.default_rng([config.seed, restart])
        u, v = (random_gates(wall, config.array_dtype, rng) for wall in walls)
    return u, v


def _stepper(layout: Layout, config: DisentanglerConfig) -> Stepper:
    return GradientStepper(layout, config) if config.method == "gradient" else _Explicit(layout)


def _identity(weight: jax.Array, config: DisentanglerConfig) -> str:
    """Tells this run from others: settings and weight."""
    digest = hashlib.sha256(np.ascontiguousarray(weight).tobytes()).hexdigest()
    return files.config_hash({"config": config, "weight": digest})


def _save(path: Path, identity: str, run: _Run) -> None:
    arrays = numbered("state", run.state) | numbered("gates", run.gates)
    facts: dict[str, Any] = {"identity": identity, "restart": run.restart, "seconds": run.seconds}
    arrays["history"] = np.array(run.history)
    if run.best:
        arrays |= numbered("best", (run.best.u, run.best.v))
        arrays["best_history"] = np.array(run.best.history)
        facts |= {"best_restart": run.best.restart, "converged": run.best.converged}
    arrays["facts"] = np.array(json.dumps(facts))
    files.write_npz(path, arrays)


def _load(path: Path, identity: str, like: _Run) -> _Run:
    """The run on disk; `like` has the forms of its state."""
    arrays = files.read_npz(path)
    try:
        facts = dict(json.loads(str(arrays["facts"])))
        if facts["identity"] == identity:
            return _run_from(arrays, facts, like)
    except (KeyError, TypeError, ValueError) as error:
        raise files.DamagedError(path, "entries are missing or of another kind") from error
    raise ValueError(
        f"Argument `checkpoint` must hold this run, but {path} was made with another weight or other settings; "
        f"use them again, or another file."
    )


def _run_from(arrays: dict[str, np.ndarray], facts: dict[str, Any], like: _Run) -> _Run:
    def leaves(kind: str) -> list[jax.Array]:
        names = [name for name in arrays if name.startswith(f"{kind}/")]
        return [jnp.asarray(arrays[f"{kind}/{i}"]) for i in range(len(names))]

    state = jax.tree.unflatten(jax.tree.structure(like.state), leaves("state"))
    best = None
    if "best_history" in arrays:
        u, v = _pair_of_gates(leaves("best"))
        best = Best(u, v, arrays["best_history"].tolist(), facts["best_restart"], facts["converged"])
    return _Run(
        facts["restart"], state, arrays["history"].tolist(), _pair_of_gates(leaves("gates")), best, facts["seconds"]
    )


def _pair_of_gates(leaves: list[jax.Array]) -> tuple[Gates, Gates]:
    even_u, odd_u, even_v, odd_v = leaves
    return (even_u, odd_u), (even_v, odd_v)
