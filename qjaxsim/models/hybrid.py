"""A hybrid classifier: classical pre-layer, angle encoding, entangling layers, <Z> of every qubit, linear post-layer.

The model of a published study of gradient variances (Moto and Yoshida, Meiji University) on images, with what that
text leaves open as options: how CNOTs pair qubits, and what the pre-layer is.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.expressions import Parameter
from qjaxsim.circuits.observables import PauliSum, Z
from qjaxsim.common.checks import hold_integers, positive_integer, require_one_of
from qjaxsim.common.choices import PAIRINGS, PRE_LAYERS
from qjaxsim.common.precision import HIGHEST
from qjaxsim.curvature.circuit_outputs import CircuitOutputs
from qjaxsim.models.patches import flat_images
from qjaxsim.planning.options import PlanOptions
from qjaxsim.running.simulate import expectation
from qjaxsim.running.varying import varying_axes

Params = dict[str, Any]
# Features between the two linear maps of the convolutional pre-layer, and its channels.
_HIDDEN = 64
_CHANNELS = (2, 16)
# Narrower images than this are convolved with padding, or nothing would be left of them.
_UNPADDED_FROM = 16


@dataclass(frozen=True)
class HybridModel:
    """The hybrid classifier for one image size; pure functions of a params pytree.

    Attributes:
        n_qubits: qubits, at least 2; as many numbers leave the pre-layer.
        n_layers: entangling layers R (RX, RY, RZ on every qubit, then CNOTs).
        image_size: pixels along one side of an image.
        n_classes: outputs K of the post-layer.
        pre: "linear" (all pixels to n numbers), "tanh" (pi/2 tanh of that, as in PennyLane's transfer learning
            tutorial) or "conv" (the net of Qiskit's MNIST tutorial without its dropout; see `_pre_conv`).
        pairing: CNOT pairs (control, target) of layer r = 0, 1, ...: "alternate" (0, 1), (2, 3), ... in even layers
            and (1, 2), (3, 4), ... in odd ones, which for an even width close the ring by (n - 1, 0); "both" in every
            layer, without that closing pair, as in PennyLane's tutorial; "chain" (0, 1), (1, 2), ...; "ring" a chain
            closed by (n - 1, 0).
        options: forced choices of the engine's planner.

    Raises:
        ValueError: naming the argument, for sizes out of range or unknown names.
    """

    n_qubits: int
    n_layers: int
    image_size: int = 28
    n_classes: int = 10
    pre: str = "linear"
    pairing: str = "alternate"
    options: PlanOptions | None = None

    def __post_init__(self) -> None:
        hold_integers(self, {"n_qubits": 2, "n_layers": 1, "image_size": 1, "n_classes": 2})
        for name, known in (("pre", PRE_LAYERS), ("pairing", PAIRINGS)):
            require_one_of(name, getattr(self, name), known)
        if self.pre == "conv" and self.image_size < 4:
            raise ValueError(
                f"Argument `image_size` must be at least 4 for the pre-layer 'conv', which halves images twice, "
                f"but is {self.image_size}."
            )

    @cached_property
    def circuit(self) -> Circuit:
        """The circuit: parameters "inputs" (n_qubits,) and "weights" (n_layers, n_qubits, 3), angles of RX, RY, RZ."""
        return hybrid_circuit(self.n_qubits, self.n_layers, self.pairing)

    @property
    def observables(self) -> list[PauliSum]:
        """Z of every qubit."""
        return [Z(qubit) for qubit in range(self.n_qubits)]

    @property
    def circuit_outputs(self) -> CircuitOutputs:
        """<Z> of every qubit with the structure that `split_hessian` makes use of, weights as the only parameters."""
        return _circuit_outputs(self.n_qubits, self.n_layers, self.pairing)

    def init(self, key: jax.Array, dtype: Any = None) -> Params:
        """Initial parameters: angles uniform in [-1, 1), classical layers uniform within 1 / sqrt(inputs of a unit).

        The defaults of torch and of Qiskit Machine Learning's TorchConnector.

        Args:
            key: random key.
            dtype: float32 or float64; None for JAX's default.

        Returns:
            {"pre": a dict of arrays, "weights": (n_layers, n_qubits, 3), "post": {"weight": (n_classes, n_qubits),
            "bias": (n_classes,)}}. "pre" is like "post" for the linear maps, and a dict of such dicts for "conv".
        """
        dtype = jnp.zeros(()).dtype if dtype is None else dtype
        # Drawn in double precision so that single and double start from the same point.
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        params = {
            "weights": rng.uniform(-1, 1, (self.n_layers, self.n_qubits, 3)),
            "pre": _init_pre(rng, self.pre, self.image_size, self.n_qubits),
            "post": _init_linear(rng, self.n_classes, self.n_qubits),
        }
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params)

    def encode(self, params: Params, x: Any) -> jax.Array:
        """Angles of the encoding (batch, n_qubits), radians, from images (batch, size, size) in [0, 1]."""
        images = flat_images(x, self.image_size).reshape(len(x), self.image_size, self.image_size)
        return _PRE[self.pre](params["pre"], images)

    def circuit_params(self, params: Params, x: Any) -> dict[str, jax.Array]:
        """What the circuit takes for some images: {"inputs": (batch, n_qubits), "weights": (R, n_qubits, 3)}."""
        return {"inputs": self.encode(params, x), "weights": params["weights"]}

    def classify(self, params: Params, values: jax.Array) -> jax.Array:
        """Logits (batch, n_classes) from expectation values (batch, n_qubits): the post-layer."""
        return _linear(params["post"], values)

    def expectations(self, params: Params, x: Any) -> jax.Array:
        """Exact <Z> of every qubit, (batch, n_qubits)."""
        run = _expectations(self.n_qubits, self.n_layers, self.pairing, self.options)
        return run(self.circuit_params(params, x))

    def outputs(self, params: Params, x: Any) -> jax.Array:
        """Exact logits.

        Args:
            params: as `init` gives them.
            x: (batch, image_size, image_size) grey values in [0, 1].

        Returns:
            (batch, n_classes) logits.
        """
        return self.classify(params, self.expectations(params, x))

    def sampled_expectations(self, params: Params, x: Any, shots: int, key: jax.Array) -> jax.Array:
        """Estimates of <Z> from measurements, (batch, n_qubits); gradients by shifts of measurements.

        Every expectation value is the mean of `shots` measurements of its own, as if the observables were measured in
        separate runs. Reverse mode applies the parameter-shift rule, d<Z>/d angle = (<Z>(+pi/2) - <Z>(-pi/2)) / 2, to
        all angles of all samples, again with `shots` measurements each. So values and products of a fixed cotangent
        with the Jacobian are unbiased. A loss that is not linear in the values makes its own cotangent from noisy
        values: its gradient has a bias of order 1 / shots, as on hardware.

        Args:
            params: as `init` gives them.
            x: as `outputs` takes them.
            shots: measurements, at least 1.
            key: random key; equal keys give equal measurements.

        Raises:
            ValueError: if shots is not a positive integer, or under `jax.shard_map` with `check_vma`.

        Cost: 2 (3 R n + n) circuits a sample for a gradient. Forward mode is not supported.
        """
        count = positive_integer("shots", shots)
        sampled = _sampled(self.n_qubits, self.n_layers, self.pairing, count, self.options)
        given = self.circuit_params(params, x)
        if varying_axes(given, key):
            raise ValueError(
                "Measurements cannot be drawn under `jax.shard_map` with its check of varying axes, which "
                "`jax.random.binomial` does not pass; map with `check_vma=False`."
            )
        return sampled(given["inputs"], given["weights"], key)

    def sampled_outputs(self, params: Params, x: Any, shots: int, key: jax.Array) -> jax.Array:
        """Logits (batch, n_classes) from `sampled_expectations`."""
        return self.classify(params, self.sampled_expectations(params, x, shots, key))


# --- the circuit -----------------------------------------------------------------------------------------------------


def hybrid_circuit(n_qubits: int, n_layers: int, pairing: str = "alternate") -> Circuit:
    """RY of every input, then layers of RX, RY, RZ on every qubit and CNOTs on the pairs of `cnot_pairs`."""
    x, w = Parameter("inputs", (n_qubits,)), Parameter("weights", (n_layers, n_qubits, 3))
    circuit = Circuit(n_qubits)
    for qubit in range(n_qubits):
        circuit.ry(x[qubit], qubit)
    for layer in range(n_layers):
        for qubit in range(n_qubits):
            angles = w[layer, qubit]
            circuit.rx(angles[0], qubit).ry(angles[1], qubit).rz(angles[2], qubit)
        for control, target in cnot_pairs(n_qubits, layer, pairing):
            circuit.cx(control, target)
    return circuit


def cnot_pairs(n_qubits: int, layer: int, pairing: str = "alternate") -> list[tuple[int, int]]:
    """Pairs (control, target) of one layer in time order; `HybridModel` says what the names of pairings mean.

    >>> cnot_pairs(4, 0), cnot_pairs(4, 1), cnot_pairs(5, 1)
    ([(0, 1), (2, 3)], [(1, 2), (3, 0)], [(1, 2), (3, 4)])
    """
    chain = [(qubit, qubit + 1) for qubit in range(n_qubits - 1)]
    if pairing == "both":
        return chain[0::2] + chain[1::2]
    if pairing == "alternate":
        closing = [(n_qubits - 1, 0)] if layer % 2 and n_qubits % 2 == 0 else []
        return chain[layer % 2 :: 2] + closing
    return chain + ([(n_qubits - 1, 0)] if pairing == "ring" else [])


@lru_cache
def _expectations(
    n_qubits: int, n_layers: int, pairing: str, options: PlanOptions | None
) -> Callable[[Any], jax.Array]:
    """One function object for all models that share it, so that what is compiled for it is shared too."""
    observables = [Z(qubit) for qubit in range(n_qubits)]
    return expectation(hybrid_circuit(n_qubits, n_layers, pairing), observables, options=options)


@lru_cache
def _circuit_outputs(n_qubits: int, n_layers: int, pairing: str) -> CircuitOutputs:
    observables = [Z(qubit) for qubit in range(n_qubits)]
    return CircuitOutputs(hybrid_circuit(n_qubits, n_layers, pairing), observables, ("inputs",))


@lru_cache
def _sampled(
    n_qubits: int, n_layers: int, pairing: str, shots: int, options: PlanOptions | None
) -> Callable[[jax.Array, jax.Array, jax.Array], jax.Array]:
    """Sampled <Z> (B, n) from inputs (B, n), weights (R, n, 3) and a key, with the shift rule as its derivative."""
    exact = _expectations(n_qubits, n_layers, pairing, options)

    def measured(inputs: jax.Array, weights: jax.Array, key: jax.Array) -> jax.Array:
        values = exact({"inputs": inputs, "weights": weights})
        ones = jnp.clip((1 - values) / 2, 0, 1)  # rounding may leave [0, 1]
        counts = jax.random.binomial(key, jnp.full_like(ones, shots), ones, dtype=ones.dtype)
        return 1 - 2 * counts / shots

    @jax.custom_vjp
    def values(inputs: jax.Array, weights: jax.Array, key: jax.Array) -> jax.Array:
        return measured(inputs, weights, key)

    def forward(inputs: jax.Array, weights: jax.Array, key: jax.Array) -> tuple[jax.Array, Any]:
        here, for_gradient = jax.random.split(key)
        return measured(inputs, weights, here), (inputs, weights, for_gradient)

    def backward(kept: Any, slope: jax.Array) -> tuple[jax.Array, jax.Array, None]:
        inputs, weights, key = kept
        size, width = weights.size, inputs.shape[-1]
        shifts = (math.pi / 2) * np.concatenate([np.eye(size + width), -np.eye(size + width)])
        of_weights = jnp.asarray(shifts[:, None, :size].reshape(-1, 1, *weights.shape), weights.dtype)
        of_inputs = jnp.asarray(shifts[:, None, size:], inputs.dtype)
        turned = measured(inputs[None] + of_inputs, weights[None, None] + of_weights, key)  # (2 (P + n), B, n)
        differences = (turned[: size + width] - turned[size + width :]) / 2
        each = jnp.einsum("pbq,bq->pb", differences, slope, precision=HIGHEST)
        return each[size:].T, each[:size].sum(axis=1).reshape(weights.shape), None

    values.defvjp(forward, backward)
    return values


# --- classical layers ------------------------------------------------------------------------------------------------


def _init_linear(rng: np.random.Generator, n_out: int, n_in: int) -> dict[str, np.ndarray]:
    bound = 1 / math.sqrt(n_in)
    return {"weight": rng.uniform(-bound, bound, (n_out, n_in)), "bias": rng.uniform(-bound, bound, n_out)}


def _linear(layer: dict[str, jax.Array], values: jax.Array) -> jax.Array:
    return jnp.matmul(values, layer["weight"].T, precision=HIGHEST) + layer["bias"][None]


def _pre_linear(pre: Params, x: jax.Array) -> jax.Array:
    return _linear(pre, x.reshape(len(x), -1))


def _pre_tanh(pre: Params, x: jax.Array) -> jax.Array:
    return (math.pi / 2) * jnp.tanh(_pre_linear(pre, x))


def _conv_shape(image_size: int) -> tuple[int, str, int]:
    """Kernel side, padding, and features left after two convolutions, each halved: 5 x 5 unpadded as in the tutorial.

    Images narrower than 16 pixels take 3 x 3 kernels with padding, since 5 x 5 would leave nothing.
    """
    if image_size >= _UNPADDED_FROM:
        return 5, "VALID", _CHANNELS[1] * (((image_size - 4) // 2 - 4) // 2) ** 2
    return 3, "SAME", _CHANNELS[1] * (image_size // 2 // 2) ** 2


def _convolved(kernel: dict[str, jax.Array], values: jax.Array, padding: str) -> jax.Array:
    """Convolution of (B, channels, height, width) as one product with all windows.

    Hessians differentiate along many kernels at once, for which XLA has grouped convolutions, slow on CPUs: of 4,818
    parameters they took 2.7 times as long as these products, and gradients 2 to 4 times.
    """
    weight = kernel["weight"]  # (channels out, channels in, side, side)
    side = weight.shape[-1]
    if padding == "SAME":
        values = jnp.pad(values, ((0, 0), (0, 0), (side // 2, side // 2), (side // 2, side // 2)))
    height, width = (size - side + 1 for size in values.shape[2:])
    windows = jnp.stack([values[:, :, i : i + height, j : j + width] for i in range(side) for j in range(side)], axis=2)
    flat = weight.reshape(*weight.shape[:2], side**2)
    return jnp.einsum("bckhw,ock->bohw", windows, flat, precision=HIGHEST) + kernel["bias"][None, :, None, None]


def _halved(values: jax.Array) -> jax.Array:
    """Largest values of 2 x 2 pixels; an odd last row or column is left out."""
    batch, channels, height, width = values.shape
    even = values[:, :, : height // 2 * 2, : width // 2 * 2]
    return even.reshape(batch, channels, height // 2, 2, width // 2, 2).max(axis=(3, 5))


def _pre_conv(pre: Params, x: jax.Array) -> jax.Array:
    """Convolution to 2 channels, ReLU, halving, convolution to 16, ReLU, halving, linear to 64, ReLU, linear to n."""
    _, padding, _ = _conv_shape(x.shape[-1])
    values = x[:, None]  # (B, channels, side, side)
    for name in ("conv1", "conv2"):
        values = _halved(jax.nn.relu(_convolved(pre[name], values, padding)))
    hidden = jax.nn.relu(_linear(pre["hidden"], values.reshape(len(x), -1)))
    return _linear(pre["last"], hidden)


def _init_pre(rng: np.random.Generator, pre: str, image_size: int, n_qubits: int) -> Params:
    if pre != "conv":
        return _init_linear(rng, n_qubits, image_size**2)
    side, _, features = _conv_shape(image_size)
    layers: Params = {}
    for name, n_in, n_out in (("conv1", 1, _CHANNELS[0]), ("conv2", *_CHANNELS)):
        flat = _init_linear(rng, n_out, n_in * side**2)
        layers[name] = {"weight": flat["weight"].reshape(n_out, n_in, side, side), "bias": flat["bias"]}
    layers["hidden"] = _init_linear(rng, _HIDDEN, features)
    layers["last"] = _init_linear(rng, n_qubits, _HIDDEN)
    return layers


_PRE: dict[str, Callable[[Params, jax.Array], jax.Array]] = {
    "linear": _pre_linear,
    "tanh": _pre_tanh,
    "conv": _pre_conv,
}
