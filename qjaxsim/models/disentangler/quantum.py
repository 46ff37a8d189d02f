"""The circuits of a disentangled layer as circuits, and read with a finite number of shots."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.common.checks import integer_from
from qjaxsim.models.disentangler.circuit import Brickwall, Gates, apply_circuit
from qjaxsim.models.disentangler.layer import DisentangledLayer


class LayerCircuits(NamedTuple):
    """U and V; the layer runs V^+ (`v` reversed), then U."""

    u: Circuit
    v: Circuit


def layer_circuits(layer: DisentangledLayer) -> LayerCircuits:
    """U and V as circuits of unitary gates; qubit 0 is the most significant bit of a row or column.

    Gates are brought back to orthogonal (unitary) matrices in double precision, so that what single precision leaves
    does not cost a CNOT in synthesis.

    Raises:
        ValueError: if a side of the padded layer has no qubits, or is no power of two.
    """
    rows, columns = layer.geometry.shape
    return LayerCircuits(_circuit("U", layer.wall_u, layer.u, rows), _circuit("V", layer.wall_v, layer.v, columns))


def _circuit(name: str, wall: Brickwall, gates: Gates, size: int) -> Circuit:
    if size < 2 or size & (size - 1):
        raise ValueError(
            f"Argument `layer` must have 2, 4, 8 ... rows and columns with padding to have circuits, but the side of "
            f"{name} has {size}."
        )
    circuit = Circuit(size.bit_length() - 1)
    double = [np.asarray(array, np.complex128 if np.iscomplexobj(array) else np.float64) for array in gates]
    for parity, index, j, qubits in wall.placed():
        left, _, right = np.linalg.svd(double[parity][index, j])
        circuit.unitary(left @ right, qubits, label=f"{name.lower()}{2 * index + parity}.{j}")
    return circuit


def shot_forward(layer: DisentangledLayer, x: jax.Array, shots: int, key: jax.Array) -> jax.Array:
    """The layer as a hybrid machine would run it, with the noise of finitely many shots.

    Each row's direction is encoded in amplitudes (its norm is kept aside), V^+ runs, amplitudes are read out
    (`read_amplitudes`), M acts on them classically, the result is encoded again, U runs and is read out too. State
    preparation and gates are taken as perfect.

    Args:
        layer: with real gates.
        x: (..., d_in) real.
        shots: of each of the two circuits, for every row; at least 2. Relative errors fall as
            sqrt(padded side / shots).
        key: random key.

    Returns:
        (..., d_out), dtype of x; `layer.apply(x)` in the limit of many shots.

    Raises:
        ValueError: for complex gates, rows of another length, or fewer than 2 shots.
    """
    if jnp.iscomplexobj(layer.u[0]) or not layer.real:
        raise ValueError("Argument `layer` must have real gates for readout with signs, but they are complex.")
    count = integer_from(2, "shots", shots)  # magnitudes and signs
    return _shot_forward(layer, x, jnp.asarray(count, jnp.int32), key)


@jax.jit
def _shot_forward(layer: DisentangledLayer, x: jax.Array, shots: jax.Array, key: jax.Array) -> jax.Array:
    first, second = jax.random.split(key)
    dtype = layer.u[0].dtype
    given, batch = layer.rows_of(x)
    rows = jnp.pad(given.astype(dtype), ((0, 0), (0, layer.geometry.shape[1] - layer.d_in)))
    directions, norms = _normalised(rows)
    inner = read_amplitudes(apply_circuit(layer.wall_v, layer.v, directions.T, inverse=True).T, shots, first)
    directions, middle = _normalised(layer.mpo.apply(inner))
    outer = read_amplitudes(apply_circuit(layer.wall_u, layer.u, directions.T).T, shots, second)
    y = (outer * (norms * middle))[:, : layer.d_out]
    return y.reshape(*batch, layer.d_out).astype(given.dtype)


@jax.jit
def read_amplitudes(amplitudes: jax.Array, shots: jax.Array | int, key: jax.Array) -> jax.Array:
    """Estimates of real amplitudes, signs included, as tomography gives them.

    Half of the shots measure the state: magnitudes are roots of frequencies. The other half measure it beside these
    magnitudes as a reference state, under a control qubit between two Hadamard gates: the sign is + where outcome
    (0, i) is at least as frequent as (1, i). Kerenidis and Prakash 2018, arXiv:1808.09266, algorithm 4.1, with the
    majority in place of their threshold.

    Args:
        amplitudes: (rows, states) of norm 1; a row of zeros stays zero.
        shots: for each row.
        key: random key.

    Returns:
        (rows, states). The mean squared distance in magnitude is about states / (2 shots).
    """
    first, second = jax.random.split(key)
    shots = jnp.asarray(shots)
    half = shots // 2
    present = jnp.any(amplitudes != 0, axis=-1, keepdims=True)
    # Where nothing is encoded nothing is measured; any state will do to keep the sampler from dividing by zero.
    states = jnp.where(present, amplitudes, jnp.zeros_like(amplitudes).at[:, 0].set(1))
    magnitudes = jnp.sqrt(_frequencies(first, half, states**2))
    joint = jnp.concatenate([(states + magnitudes) ** 2, (states - magnitudes) ** 2], axis=-1)
    plus, minus = jnp.split(_frequencies(second, shots - half, joint / 4), 2, axis=-1)
    return jnp.where(present, jnp.where(plus >= minus, magnitudes, -magnitudes), 0)


def _frequencies(key: jax.Array, shots: jax.Array, probabilities: jax.Array) -> jax.Array:
    count = jnp.broadcast_to(shots.astype(probabilities.dtype), probabilities.shape[:-1])
    return jax.random.multinomial(key, count, probabilities, dtype=probabilities.dtype) / count[..., None]


def _normalised(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
    norms = jnp.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / jnp.where(norms == 0, 1, norms), norms
