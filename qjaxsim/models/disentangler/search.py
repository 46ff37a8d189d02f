"""Restarts, the best iterate, and a checkpoint from which a killed run goes on as if it had not been."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from qjaxsim.common.checkpoint import Checkpoint, digest
from qjaxsim.models.disentangler.circuit import Gates, identity_gates, random_gates
from qjaxsim.models.disentangler.config import DisentanglerConfig, Layout
from qjaxsim.models.disentangler.gradient import GradientStepper
from qjaxsim.models.disentangler.sweep import distance, operand, sweep, truncated

REFUSAL = (
    "Argument `checkpoint` must hold this run, but {path} was made with another weight or other settings ({others}); "
    "use them again, or another file."
)
Progress = Callable[[int, int, float], None]


class Stepper(Protocol):
    """One way to improve the circuits. A state is any pytree of arrays."""

    def init(self, u: Gates, v: Gates) -> Any:
        """The state at a start."""

    def step(self, state: Any, weight: jax.Array, target: jax.Array) -> Any:
        """A state nearer to the target."""

    def gates(self, state: Any) -> tuple[Gates, Gates]:
        """U and V of a state."""


class Best(NamedTuple):
    """The best iterate so far.

    Attributes:
        gates: U and V.
        history: distances of its restart, in full; none before a restart has ended.
        restart: its restart.
        converged: whether that restart stopped by itself.
        seconds: time spent, earlier runs included.
    """

    gates: tuple[Gates, Gates]
    history: np.ndarray
    restart: int = 0
    converged: bool = False
    seconds: float = 0.0

    @property
    def error(self) -> float:
        """Its distance."""
        return float(min(self.history))


@dataclass
class _Standing:
    """Where a search stands, as a checkpoint holds it.

    Attributes:
        restart: which one it is in.
        state: the stepper's.
        gates: the best of this restart.
        history: its distances so far.
        best: the best of earlier restarts.
        seconds: time spent, earlier runs included.
    """

    restart: int
    state: Any
    gates: tuple[Gates, Gates]
    history: np.ndarray
    best: Best
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
    start = _start(layout, config, 0)
    now = _Standing(0, stepper.init(*start), start, np.empty(0), Best(start, np.empty(0)))
    saved = None
    if checkpoint is not None:
        saved = Checkpoint(checkpoint, {"weight": digest(weight), "config": config}, refusal=REFUSAL)
        if kept := saved.restore(vars(now), growing=("history", "best")):
            now = _Standing(**kept)
    earlier = now.seconds
    fixed = truncated(weight, layout.geometry, config.target_bond) if config.target == "fixed" else None

    while now.restart < config.restarts:
        if _advance(now, stepper, weight, fixed, layout, config):
            _close_restart(now, stepper, layout, config)
        now.seconds = earlier + time.perf_counter() - begin
        if progress:
            _report(now, config, progress)
        if saved:
            saved.save(vars(now), last=now.restart == config.restarts)
    return now.best._replace(seconds=now.seconds)


def _advance(
    now: _Standing,
    stepper: Stepper,
    weight: jax.Array,
    fixed: jax.Array | None,
    layout: Layout,
    config: DisentanglerConfig,
) -> bool:
    """Look at the state, then take a step from it unless the restart is over; whether it is."""
    u, v = stepper.gates(now.state)
    # Computed from the gates alone, here and after a resume: both must give the same bits.
    current = operand(layout.wall_u, layout.wall_v, u, v, weight)
    target = truncated(current, layout.geometry, config.chi) if fixed is None else fixed
    error = float(distance(current, target)[1])
    if not now.history.size or error < min(now.history):
        now.gates = (u, v)
    now.history = np.append(now.history, error)
    n_gates = layout.wall_u.n_gates + layout.wall_v.n_gates
    if n_gates == 0 or len(now.history) > config.sweeps or _settled(now.history, config):
        return True
    now.state = stepper.step(now.state, weight, target)
    return False


def _settled(history: np.ndarray, config: DisentanglerConfig) -> bool:
    """Whether there is nothing left to gain, or was not in the last sweeps."""
    if min(history) < 10 * np.finfo(config.dtype).eps:
        return True
    if len(history) <= config.steps_without_gain:
        return False
    before = min(history[: -config.steps_without_gain])
    return bool(before - min(history) < config.tolerance * before)


def _close_restart(now: _Standing, stepper: Stepper, layout: Layout, config: DisentanglerConfig) -> None:
    """Compare with earlier restarts and start the next."""
    if not now.best.history.size or min(now.history) < now.best.error:
        converged = len(now.history) <= config.sweeps or _settled(now.history, config)
        now.best = Best(now.gates, now.history, now.restart, converged)
    now.restart += 1
    now.history = np.empty(0)
    now.state = stepper.init(*_start(layout, config, now.restart))


def _report(now: _Standing, config: DisentanglerConfig, progress: Progress) -> None:
    done = now.restart * config.sweeps + max(len(now.history) - 1, 0)
    progress(done, config.restarts * config.sweeps, float(min((*now.history, *now.best.history))))


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
