"""Gradient descent through the circuits (arXiv:2509.06653): gates are functions of skew matrices, stepped by Adam.

A gate is g_0 (I - A)(I + A)^-1 (Cayley) or g_0 exp(A), A = B - B^+ with B free and zero at the start g_0. The loss is
minus the overlap with the target. With an adaptive target M this is the gradient of ||Z - M||**2 with M held fixed,
which is also that of the error itself where M is the best cut of Z (TT-SVD comes close to it).
"""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from qjaxsim.models.disentangler.circuit import Gates
from qjaxsim.models.disentangler.config import DisentanglerConfig, Layout
from qjaxsim.models.disentangler.sweep import distance, matmul, operand

# Parts of B for every array of gates: (real,) or (real, imaginary), so that the optimiser sees real numbers only.
Skew = tuple[jax.Array, ...]


@dataclass(frozen=True)
class GradientStepper:
    """Steps of Adam. A state is (gates at the start, parts of B, state of the optimiser).

    Attributes:
        layout: static sizes.
        config: parametrisation and learning rate.
    """

    layout: Layout
    config: DisentanglerConfig

    def init(self, u: Gates, v: Gates) -> Any:
        """The state at a start."""
        parts = 2 if self.config.complex_gates else 1
        skew = jax.tree.map(lambda gate: (jnp.zeros(gate.shape, self.config.dtype),) * parts, (u, v))
        return (u, v), skew, _adam(self.config.learning_rate).init(skew)

    def step(self, state: Any, weight: jax.Array, target: jax.Array) -> Any:
        """The state after one step."""
        return _step(self, state, weight, target)

    def gates(self, state: Any) -> tuple[Gates, Gates]:
        """U and V."""
        return _gates(self.config.parametrisation, *state[:2])


@functools.partial(jax.jit, static_argnames=("stepper",))
def _step(stepper: GradientStepper, state: Any, weight: jax.Array, target: jax.Array) -> Any:
    start, skew, memory = state
    layout, config = stepper.layout, stepper.config

    def loss(skew: Any) -> jax.Array:
        u, v = _gates(config.parametrisation, start, skew)
        return -distance(operand(layout.wall_u, layout.wall_v, u, v, weight), target)[0]

    slopes = jax.grad(loss)(skew)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes integer counters with floats
        updates, memory = _adam(config.learning_rate).update(slopes, memory)
    return start, jax.tree.map(jnp.add, skew, updates), memory


@functools.partial(jax.jit, static_argnames=("parametrisation",))
def _gates(parametrisation: str, start: tuple[Gates, Gates], skew: Any) -> tuple[Gates, Gates]:
    return jax.tree.map(functools.partial(_moved, parametrisation), start, skew)


def _moved(parametrisation: str, start: jax.Array, parts: Skew) -> jax.Array:
    """The gates (layers, gates, K, K), moved from their start."""
    free = parts[0] if len(parts) == 1 else jax.lax.complex(*parts)
    skew = free - jnp.conj(free.swapaxes(-1, -2))
    return matmul(start, cayley(skew) if parametrisation == "cayley" else jax.scipy.linalg.expm(skew))


def cayley(skew: jax.Array) -> jax.Array:
    """(I - A)(I + A)^-1 for skew (or antihermitian) A (..., K, K): a rotation (a unitary) without eigenvalue -1."""
    if skew.size == 0:
        return skew
    identity = jnp.broadcast_to(jnp.eye(skew.shape[-1], dtype=skew.dtype), skew.shape)
    # The two factors commute.
    return jnp.linalg.solve(identity + skew, identity - skew)


def _adam(learning_rate: float) -> Any:
    return optax.adam(learning_rate)
