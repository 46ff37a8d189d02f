"""The models of the study `effective-dimension`: from parameters and inputs to the probabilities of two labels."""

import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.circuits.library import real_amplitudes, zz_feature_map
from qjaxsim.running.simulate import probabilities
from qjaxsim.studies.effective_dimension.settings import EASY, FEATURES, LAYERS, NARROW, NETWORK, QNN, QUBITS

# Neurons of the classical networks, which have no biases, and the slope of their activation below zero.
NEURONS, SLOPE = {NETWORK: (QUBITS, 4, 4, 2), NARROW: (QUBITS, 4, 2, 2)}, 0.01
_ANGLES = (LAYERS + 1) * QUBITS
# Labels of the basis states: how many of their bits are 1, modulo 2.
_PARITY = np.array([state.bit_count() % 2 for state in range(2**QUBITS)])


class Model(NamedTuple):
    """A model.

    Attributes:
        parameters: how many it has.
        probabilities: maps parameters and inputs (B, 4) to probabilities (B, 2).
        params: makes those parameters from as many numbers.
    """

    parameters: int
    probabilities: Callable[[Any, jax.Array], jax.Array]
    params: Callable[[jax.Array], Any]


@cache
def model_of(name: str, frequency: float) -> Model:
    """The model of that name; see `EffectiveDimensionSettings`."""
    if name in (QNN, EASY):
        encoding = zz_feature_map(QUBITS) if name == QNN else zz_feature_map(QUBITS, repetitions=1, entanglement=())
        return _quantum(encoding)
    if name == FEATURES:
        return Model(_ANGLES, _regression(random_features(frequency)), lambda flat: flat)
    shapes = list(zip(NEURONS[name][1:], NEURONS[name], strict=False))
    return Model(sum(map(math.prod, shapes)), _network, partial(_layers, shapes))


def _quantum(encoding: Any) -> Model:
    outcomes = probabilities(encoding.compose(real_amplitudes(QUBITS, LAYERS, entanglement="full")))

    def labels(params: Any, x: jax.Array) -> jax.Array:
        found = outcomes({**params, "x": x})
        return jnp.stack([found[..., label == _PARITY].sum(axis=-1) for label in (0, 1)], axis=-1)

    return Model(_ANGLES, labels, lambda flat: {"weights": flat.reshape(LAYERS + 1, QUBITS)})


def _layers(shapes: Sequence[tuple[int, int]], flat: jax.Array) -> list[jax.Array]:
    """Weights of a network, (out, in) of each layer in turn."""
    ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    return [part.reshape(shape) for part, shape in zip(jnp.split(flat, ends), shapes, strict=True)]


def _network(params: list[jax.Array], x: jax.Array) -> jax.Array:
    *hidden, last = params
    for weights in hidden:
        x = jax.nn.leaky_relu(x @ weights.T, SLOPE)
    return jax.nn.softmax(jnp.tanh(x @ last.T), axis=-1)


def random_features(frequency: float) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies (40, 4) and phases (40,) of random Fourier features, always the same ones."""
    rng = np.random.default_rng(0)
    return rng.normal(scale=frequency, size=(_ANGLES, QUBITS)), rng.uniform(0, 2 * np.pi, _ANGLES)


def _regression(features: tuple[np.ndarray, np.ndarray]) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Logistic regression on cos(frequency x + phase)."""
    frequencies, phases = features

    def labels(params: jax.Array, x: jax.Array) -> jax.Array:
        logit = jnp.cos(x @ frequencies.T + phases[None]) @ params
        return jax.nn.softmax(jnp.stack([logit, jnp.zeros_like(logit)], axis=-1), axis=-1)

    return labels
