"""Distributed patch circuits: one circuit per image patch, outputs averaged into logits (arXiv:2504.19239).

An image gets a trainable bias per pixel, is cut into square patches, and each patch drives a circuit with weights of
its own: trainable block, encoding of the first half of the pixels, block, encoding of the other half, block. Its
expectation values of X and Z on the first qubits are its outputs; their mean over the circuits (or sum), times a
constant scale, are the logits of a softmax cross-entropy.
"""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.expressions import Parameter
from qjaxsim.circuits.observables import PauliSum, X, Y, Z
from qjaxsim.common.checks import hold_integers, require_positive
from qjaxsim.curvature.parts import PartSum
from qjaxsim.curvature.stages import StagedCircuit
from qjaxsim.planning.options import PlanOptions
from qjaxsim.running.array_types import taken, to_jax

Params = dict[str, jax.Array]


@dataclass(frozen=True)
class PatchesModel:
    """The patches model for one image size; pure functions of a params pytree.

    Attributes:
        n_patches: number of patches, a square number whose corner grid fits the image.
        n_layers: layers in each of the three trainable blocks; 0 leaves the two encodings and their rings (the paper
            has 50 and more).
        n_qubits: qubits of each circuit.
        image_size: pixels along one side of the (pooled) image.
        patch_size: pixels along one side of a patch.
        n_classes: number of outputs; at most 3 * n_qubits.
        scale: the constant c that multiplies the aggregated outputs.
        aggregation: "mean" (the paper's) or "sum" over circuits.
        options: forced choices of the engine's planner.

    Raises:
        ValueError: naming the argument, for patches that do not fit or more classes than observables.
    """

    n_patches: int
    n_layers: int
    n_qubits: int = 8
    image_size: int = 14
    patch_size: int = 8
    n_classes: int = 10
    scale: float = 100.0
    aggregation: str = "mean"
    options: PlanOptions | None = None

    def __post_init__(self) -> None:
        hold_integers(self, {"n_patches": 1, "n_layers": 0, "image_size": 1, "patch_size": 1, "n_classes": 2})
        hold_integers(self, {"n_qubits": 2})  # a ring of CZ gates
        if self.aggregation not in ("mean", "sum"):
            raise ValueError(f"Argument `aggregation` must be 'mean' or 'sum', but is {self.aggregation!r}.")
        require_positive("scale", self.scale)
        readout(self.n_classes, self.n_qubits)
        patch_corners(self.n_patches, self.image_size, self.patch_size)

    @property
    def n_features(self) -> int:
        """Pixels of one patch."""
        return self.patch_size**2

    @property
    def n_weights(self) -> int:
        """Weights of one circuit: 6 * layers * qubits + 2 * features."""
        return 6 * self.n_layers * self.n_qubits + 2 * self.n_features

    @property
    def n_parameters(self) -> int:
        """All trainable numbers: every circuit's weights and the position bias."""
        return self.n_patches * self.n_weights + self.image_size**2

    @cached_property
    def circuit(self) -> Circuit:
        """One circuit; its parameters are "first" and "second" (features), "block1", "encoding1", "block2", ..."""
        return patch_circuit(self.n_qubits, self.n_layers, self.n_features)

    def init(self, key: jax.Array, dtype: Any = None) -> Params:
        """Initial parameters: weights uniform in [0, pi), position bias zero.

        Args:
            key: random key.
            dtype: float32 or float64; None for JAX's default.

        Returns:
            {"bias": (image_size, image_size), "weights": (n_patches, n_weights)}; a circuit's weights are laid out as
            block 1 (layer by layer: RX of all qubits, then RY), encoding 1 (two for each feature), block 2,
            encoding 2, block 3.
        """
        dtype = jnp.zeros(()).dtype if dtype is None else dtype
        # Drawn in double precision so that single and double start from the same point.
        weights = np.random.default_rng(np.asarray(jax.random.key_data(key))).uniform(
            0, math.pi, (self.n_patches, self.n_weights)
        )
        return {"bias": jnp.zeros((self.image_size,) * 2, dtype), "weights": jnp.asarray(weights, dtype)}

    @cached_property
    def outputs(self) -> PartSum:
        """The logits, a function of (params, x), with the structure that `split_hessian` makes use of.

        Args:
            params: as `init` gives them.
            x: (batch, image_size, image_size) angles, see `scaled_images`.

        Returns:
            (batch, n_classes) logits.
        """
        own = self.image_size**2 + np.arange(self.n_patches * self.n_weights).reshape(self.n_patches, -1)
        index = np.concatenate([self.patch_pixels, own], axis=1)
        scale = self.scale / self.n_patches if self.aggregation == "mean" else self.scale
        part = _patch_function(self.n_qubits, self.n_layers, self.n_features, self.n_classes, self.options)
        shapes = {"bias": (self.image_size,) * 2, "weights": (self.n_patches, self.n_weights)}
        return PartSum(part, index, self.patches, scale, shapes)

    @cached_property
    def patch_pixels(self) -> np.ndarray:
        """Flat pixel numbers of every patch, (n_patches, n_features): rows of patches outer, row-major inside."""
        corners = patch_corners(self.n_patches, self.image_size, self.patch_size)
        pixels = np.arange(self.image_size**2).reshape(self.image_size, self.image_size)
        size = self.patch_size
        return np.stack([pixels[r : r + size, c : c + size].reshape(-1) for r in corners for c in corners])

    def patches(self, x: Any) -> jax.Array:
        """Cut (batch, size, size) images into (batch, n_patches, n_features)."""
        return taken(flat_images(x, self.image_size), self.patch_pixels, 1)


def flat_images(x: Any, image_size: int) -> jax.Array:
    """Images (batch, size, size) as (batch, size**2).

    Raises:
        ValueError: for images of another number of pixels.
        TypeError: for integers, as images have before they are scaled.
    """
    images = to_jax(x)
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(
            f"Argument `x` must hold scaled images, real float numbers, but has dtype {images.dtype}; scale them as "
            "for training, or give them to `predict` of the trained model, which does it."
        )
    if images.ndim < 2 or math.prod(images.shape[1:]) != image_size**2:
        raise ValueError(
            f"Argument `x` must have shape (batch, {image_size}, {image_size}) for this model's images, but has shape "
            f"{images.shape}; scale or pool the images to {image_size} x {image_size} first."
        )
    return images.reshape(len(images), -1)


def scaled_images(images: np.ndarray, pixel_max: float, n_qubits: int, pool: int = 1) -> np.ndarray:
    """Grey images as angles: pixel / pixel_max * 2 pi / n_qubits, then average pooling.

    Args:
        images: (N, H, W) or (N, H, W, 1).
        pixel_max: largest possible pixel value (255 for MNIST, 16 for digits).
        n_qubits: qubits of a circuit.
        pool: side of the pooling window; 2 takes 28 x 28 to 14 x 14.

    Returns:
        (N, H // pool, W // pool) float64 in radians.
    """
    grey = images[..., 0] if images.ndim == 4 else images
    n, height, width = grey.shape
    if height != width or height % pool:
        raise ValueError(
            f"Argument `images` must be square with a side divisible by pool={pool}, but is {height} x {width}."
        )
    blocks = grey.reshape(n, height // pool, pool, width // pool, pool).astype(float)
    return blocks.mean(axis=(2, 4)) / pixel_max * (2 * math.pi / n_qubits)


def patch_corners(n_patches: int, image_size: int, patch_size: int) -> tuple[int, ...]:
    """Top-left corners along one axis of the square grid of patches; one patch sits in the middle.

    Raises:
        ValueError: if the patches do not form an evenly spaced square grid inside the image.
    """
    side = math.isqrt(n_patches)
    free = image_size - patch_size
    possible = [m * m for m in range(1, free + 2) if free >= 0 and (m == 1 or free % (m - 1) == 0)]
    if side * side != n_patches or n_patches not in possible:
        fitting = ", ".join(map(str, possible)) if possible else "none"
        raise ValueError(
            f"Argument `patches` is {n_patches}, but {patch_size} x {patch_size} patches fit a "
            f"{image_size} x {image_size} image in evenly spaced square grids of: {fitting}."
        )
    if side == 1:
        return (free // 2,)
    return tuple(range(0, free + 1, free // (side - 1)))


def readout(n_classes: int, n_qubits: int) -> list[PauliSum]:
    """The observables: X on the first ceil(K/2) qubits, then Z on them, as in the paper.

    Where K / 2 exceeds the number of qubits, all X and Z are used and Y on the first qubits make up the rest.
    """
    if not 2 <= n_classes <= 3 * n_qubits:
        raise ValueError(
            f"Argument `n_classes` is {n_classes}, but {n_qubits} qubits have X, Y and Z readouts for 2 to "
            f"{3 * n_qubits} classes; choose fewer classes or more qubits."
        )
    half = min(-(-n_classes // 2), n_qubits)
    observables = [X(q) for q in range(half)] + [Z(q) for q in range(half)] + [Y(q) for q in range(n_qubits)]
    return observables[:n_classes]


@lru_cache
def _patch_function(
    n_qubits: int, n_layers: int, n_features: int, n_classes: int, options: PlanOptions | None
) -> StagedCircuit:
    """Outputs (batch, K) of one circuit from its own parameters (its patch's bias, its weights) and patches (batch, F).

    One function object for all models that share it, so that what is compiled for it is shared too.
    """
    split = _split(n_features, n_qubits)
    circuit = patch_circuit(n_qubits, n_layers, n_features)
    places = np.arange(n_features + 6 * n_layers * n_qubits + 2 * n_features)
    bias = {"first": places[:split], "second": places[split:n_features]}
    index = {**bias, **circuit_params(places[n_features:], n_qubits, n_layers, n_features)}
    index = {name: own for name, own in index.items() if name in circuit.parameters}

    data = frozenset(bias) & circuit.parameters.keys()
    observables = tuple(readout(n_classes, n_qubits))
    return StagedCircuit(circuit, observables, index, partial(_patch_inputs, split, data), data, options)


def _patch_inputs(split: int, names: frozenset[str], patch: jax.Array) -> dict[str, jax.Array]:
    """The features that the two encodings of a circuit take, of those that it has."""
    given = {"first": patch[:, :split], "second": patch[:, split:]}
    return {name: values for name, values in given.items() if name in names}


def _split(n_features: int, n_qubits: int) -> int:
    """How many features the first encoding takes: floor(f / 2) on each qubit of the f that a qubit takes in all."""
    return min(-(-n_features // n_qubits) // 2 * n_qubits, n_features)


def circuit_params(weights: Any, n_qubits: int, n_layers: int, n_features: int) -> dict[str, Any]:
    """The circuit's parameters by name from one circuit's flat weights (n_weights,), laid out as `init` says."""
    split = _split(n_features, n_qubits)
    block = (n_layers, 2, n_qubits)
    shapes = {
        "block1": block,
        "encoding1": (split, 2),
        "block2": block,
        "encoding2": (n_features - split, 2),
        "block3": (n_layers - 1, 2, n_qubits),
        "last": (2, n_qubits),
    }
    if n_layers == 0:
        shapes = {name: shape for name, shape in shapes.items() if name.startswith("encoding")}
    out, start = {}, 0
    for name, shape in shapes.items():
        stop = start + math.prod(shape)
        if stop > start:
            out[name] = weights[start:stop].reshape(shape)
        start = stop
    return out


def patch_circuit(n: int, n_layers: int, n_features: int) -> Circuit:
    """The circuit of one patch, section by section; the very last layer has no ring.

    Args:
        n: qubits.
        n_layers: layers of each trainable block; none at all for 0.
        n_features: pixels of the patch, encoded in two sections.
    """
    split, per_qubit = _split(n_features, n), -(-n_features // n)
    circuit = Circuit(n)
    _block(circuit, "block1", n_layers)
    if split:
        _encode(circuit, "first", "encoding1", split, per_qubit // 2)
        _ring(circuit)
    _block(circuit, "block2", n_layers)
    _encode(circuit, "second", "encoding2", n_features - split, per_qubit - per_qubit // 2)
    _ring(circuit)
    _block(circuit, "block3", n_layers - 1)
    return circuit.compose(trainable_layer(n, "last", ring=False)) if n_layers else circuit


def _block(circuit: Circuit, name: str, n_layers: int) -> None:
    if n_layers > 0:
        circuit.repeat(trainable_layer(circuit.n_qubits, name, ring=True), n_layers)


def trainable_layer(n: int, name: str, ring: bool) -> Circuit:
    """RX, then RY on every qubit, angles `name` of shape (2, n), then CZ on the ring if so asked."""
    angles = Parameter(name, (2, n))
    layer = Circuit(n)
    for qubit in range(n):
        layer.rx(angles[0, qubit], qubit)
    for qubit in range(n):
        layer.ry(angles[1, qubit], qubit)
    return _ring(layer) if ring else layer


def _ring(circuit: Circuit) -> Circuit:
    """CZ on (i, i + 1 mod n); on two qubits the ring meets the same pair twice, which is the identity."""
    n = circuit.n_qubits
    for qubit in range(n):
        circuit.cz(qubit, (qubit + 1) % n)
    return circuit


def _encode(circuit: Circuit, data: str, name: str, n_features: int, per_qubit: int) -> None:
    """Features on the qubits in turn, `per_qubit` each, every data rotation between two trainable ones.

    Data and weights rotate about different axes, which are exchanged from one feature of a qubit to the next.
    """
    x, phi = Parameter(data, (n_features,)), Parameter(name, (n_features, 2))
    for feature in range(n_features):
        qubit, j = divmod(feature, per_qubit)
        if j % 2 == 0:
            circuit.ry(phi[feature, 0], qubit).rx(x[feature], qubit).ry(phi[feature, 1], qubit)
        else:
            circuit.rx(phi[feature, 0], qubit).ry(x[feature], qubit).rx(phi[feature, 1], qubit)
