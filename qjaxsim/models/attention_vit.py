"""A small vision transformer that takes any attention of `qjaxsim.models.attention`.

The published vision model's shape: square patches, sine and cosine positions, one block (attention and a perceptron,
each after a layer norm and added to its input), mean over tokens, a linear map to classes.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.annealing.problems import HeadsProblem
from qjaxsim.common.checks import hold_integers
from qjaxsim.common.precision import HIGHEST
from qjaxsim.models.attention import Attended, AttentionSettings, Params, attend, init_attention, layer_problem
from qjaxsim.running.array_types import to_jax


@dataclass(frozen=True)
class VisionTransformer:
    """The model for one image size; pure functions of a params pytree.

    Attributes:
        image_size: pixels along one side.
        channels: 1 or 3.
        patch_size: side of a patch; divides the image's.
        dim: size of a token, a multiple of 4 and of the heads; published 64.
        hidden: width of the perceptron; published 64.
        n_classes: classes.
        n_blocks: blocks; published 1.
        attention: the layer.

    Raises:
        ValueError: naming the argument, for sizes that do not fit.
    """

    image_size: int = 28
    channels: int = 1
    patch_size: int = 4
    dim: int = 64
    hidden: int = 64
    n_classes: int = 10
    n_blocks: int = 1
    attention: AttentionSettings = field(default_factory=AttentionSettings)

    def __post_init__(self) -> None:
        sizes = ("image_size", "channels", "patch_size", "dim", "hidden", "n_classes", "n_blocks")
        hold_integers(self, dict.fromkeys(sizes, 1))
        if self.image_size % self.patch_size:
            raise ValueError(
                f"Argument `patch_size` must divide the image's side {self.image_size}, but is {self.patch_size}."
            )
        if self.dim % 4:
            raise ValueError(f"Argument `dim` must be a multiple of 4 (positions), but is {self.dim}.")
        if self.dim % self.attention.n_heads:
            raise ValueError(f"Argument `n_heads` must divide `dim`, {self.dim}, but is {self.attention.n_heads}.")

    @property
    def n_tokens(self) -> int:
        """Patches of an image."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def n_variables(self) -> int:
        """Binary variables of one image's problem in v2: heads times tokens."""
        return self.attention.n_heads * self.n_tokens

    def init(self, key: jax.Array, dtype: Any = None) -> Params:
        """Initial parameters.

        What kinds of attention share (patches, perceptron, classes) starts equal for equal keys.

        Args:
            key: random key.
            dtype: float32 or float64; None for JAX's default.
        """
        dtype = jnp.zeros(()).dtype if dtype is None else dtype
        words = np.asarray(jax.random.key_data(key))
        rng = np.random.default_rng(words)
        params: Params = {
            "embed": _init_linear(rng, self.dim, self.channels * self.patch_size**2),
            "classify": _init_linear(rng, self.n_classes, self.dim),
            "last_norm": _init_norm(self.dim),
        }
        for number in range(self.n_blocks):
            params[f"block{number}"] = {
                "norm": _init_norm(self.dim),
                "norm2": _init_norm(self.dim),
                "up": _init_linear(rng, self.hidden, self.dim),
                "down": _init_linear(rng, self.dim, self.hidden),
                # Drawn apart, so that kinds which take more numbers do not shift the rest.
                "attention": init_attention(self.attention, self.dim, np.random.default_rng((*words, number))),
            }
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params)

    def outputs(self, params: Params, x: Any) -> jax.Array:
        """Logits (batch, n_classes).

        Args:
            params: as `init` gives them.
            x: images in [0, 1], (batch, image_size, image_size, channels).
        """
        tokens = self._embedded(params, x)
        for number in range(self.n_blocks):
            block = params[f"block{number}"]
            tokens = tokens + attend(self.attention, block["attention"], _norm(block["norm"], tokens)).output
            inner = jax.nn.gelu(_affine(block["up"], _norm(block["norm2"], tokens)))
            tokens = tokens + _affine(block["down"], inner)
        return _affine(params["classify"], _norm(params["last_norm"], tokens).mean(1))

    def first_attention(self, params: Params, x: Any) -> Attended:
        """What the first block's attention gives."""
        return attend(self.attention, params["block0"]["attention"], self.first_tokens(params, x))

    def first_problem(self, params: Params, x: Any) -> HeadsProblem:
        """The problems that the first block's attention solves, one an image.

        Raises:
            ValueError: for a kind of attention without them.
        """
        return layer_problem(self.attention, params["block0"]["attention"], self.first_tokens(params, x))

    def first_tokens(self, params: Params, x: Any) -> jax.Array:
        """What the first block's attention receives, (batch, n_tokens, dim)."""
        return _norm(params["block0"]["norm"], self._embedded(params, x))

    def _embedded(self, params: Params, x: Any) -> jax.Array:
        x = to_jax(x)
        side, p = self.image_size // self.patch_size, self.patch_size
        if x.shape[1:] != (self.image_size, self.image_size, self.channels):
            raise ValueError(
                f"Argument `x` must have shape (batch, {self.image_size}, {self.image_size}, {self.channels}), but has "
                f"shape {x.shape}."
            )
        patches = x.reshape(len(x), side, p, side, p, self.channels).transpose(0, 1, 3, 2, 4, 5)
        tokens = _affine(params["embed"], patches.reshape(len(x), side**2, -1))
        return tokens + jnp.asarray(positions(side, self.dim), tokens.dtype)[None]


def positions(side: int, dim: int) -> np.ndarray:
    """Sines and cosines of both coordinates at dim / 4 frequencies, (side^2, dim)."""
    rows, columns = (part.reshape(-1, 1) for part in np.meshgrid(np.arange(side), np.arange(side), indexing="ij"))
    rates = 10_000.0 ** -(np.arange(dim // 4) / max(dim // 4 - 1, 1))
    return np.concatenate([wave(part * rates) for part in (columns, rows) for wave in (np.sin, np.cos)], 1)


def _init_linear(rng: np.random.Generator, n_out: int, n_in: int) -> Params:
    bound = 1 / math.sqrt(n_in)
    return {"weight": rng.uniform(-bound, bound, (n_out, n_in)), "bias": rng.uniform(-bound, bound, n_out)}


def _init_norm(dim: int) -> Params:
    return {"gain": np.ones(dim), "bias": np.zeros(dim)}


def _affine(layer: Params, values: jax.Array) -> jax.Array:
    product = jnp.matmul(values, layer["weight"].T, precision=HIGHEST)
    return product + layer["bias"].reshape((1,) * (values.ndim - 1) + (-1,))


def _norm(layer: Params, values: jax.Array) -> jax.Array:
    centred = values - values.mean(-1, keepdims=True)
    scaled = centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return scaled * layer["gain"][None, None] + layer["bias"][None, None]
