"""A small decoder-only transformer over characters whose linear layers can be replaced by any operator.

Pre-norm blocks of causal attention and a perceptron (GELU, four times as wide), learned positions, every linear map
with weight (out, in) and bias, as in torch. The six linear maps of each block are addressed by name, "block0.query" and
so on; an operator is anything with `apply(x)` that maps (..., in) to (..., out).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common.checks import hold_integers
from qjaxsim.models.disentangler.transformer import Exchangeable, Params, affine, attend, layer_norm, with_bias
from qjaxsim.models.losses import cross_entropy
from qjaxsim.running.array_types import to_jax

LINEAR = ("query", "key", "value", "output", "up", "down")
_WIDENING = 4
_EPSILON = 1e-5


class Operator(Protocol):
    """A linear map without its bias."""

    def apply(self, x: jax.Array) -> jax.Array:
        """Maps (..., in) to (..., out)."""
        ...


Operators = Mapping[str, Operator]
# Maps (name, params of the layer, inputs) to outputs.
_Linear = Callable[[str, Params, jax.Array], jax.Array]


@dataclass(frozen=True)
class CharTransformer(Exchangeable):
    """The model for one set of characters; pure functions of a params pytree.

    Attributes:
        n_characters: distinct characters.
        context: characters that it sees at most.
        width: size of a token, a multiple of the heads.
        n_blocks: blocks.
        n_heads: heads of attention.

    Raises:
        ValueError: naming the argument, for sizes that do not fit.
    """

    n_characters: int
    context: int = 64
    width: int = 64
    n_blocks: int = 2
    n_heads: int = 4

    def __post_init__(self) -> None:
        hold_integers(self, dict.fromkeys(("n_characters", "context", "width", "n_blocks", "n_heads"), 1))
        if self.width % self.n_heads:
            raise ValueError(f"Argument `n_heads` must divide `width`, {self.width}, but is {self.n_heads}.")

    @cached_property
    def linear_names(self) -> tuple[str, ...]:
        """Names of the linear maps that can be replaced: all but the embedding and the last map to characters."""
        return tuple(f"block{number}.{name}" for number in range(self.n_blocks) for name in LINEAR)

    def shape_of(self, name: str) -> tuple[int, int]:
        """(out, in) of one linear map.

        Raises:
            ValueError: for an unknown name.
        """
        self.require_linear(name)
        wide = _WIDENING * self.width
        return {"up": (wide, self.width), "down": (self.width, wide)}.get(
            name.partition(".")[2], (self.width, self.width)
        )

    def init(self, key: jax.Array, dtype: Any = None) -> Params:
        """Initial parameters.

        Args:
            key: random key.
            dtype: float32 or float64; None for JAX's default.
        """
        dtype = jnp.zeros(()).dtype if dtype is None else dtype
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        params: Params = {
            "characters": 0.02 * rng.normal(size=(self.n_characters, self.width)),
            "positions": 0.02 * rng.normal(size=(self.context, self.width)),
            "last_norm": _init_norm(self.width),
            "predict": _init_linear(rng, self.n_characters, self.width),
        }
        # Maps into the residual stream start smaller, so that its size does not grow with depth.
        residual = 1 / math.sqrt(2 * self.n_blocks)
        for number in range(self.n_blocks):
            block: Params = {"norm": _init_norm(self.width), "norm2": _init_norm(self.width)}
            for name in LINEAR:
                scale = residual if name in ("output", "down") else 1.0
                block[name] = _init_linear(rng, *self.shape_of(f"block{number}.{name}"), scale)
            params[f"block{number}"] = block
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params)

    def outputs(self, params: Params, tokens: Any, operators: Operators | None = None) -> jax.Array:
        """Logits of each next character, (batch, length, n_characters).

        Args:
            params: as `init` gives them.
            tokens: character codes, (batch, length), length at most `context`.
            operators: name of a linear map -> what replaces its weight; its bias stays.

        Raises:
            ValueError: for an unknown name or a text of another shape.
        """
        replaced = dict(operators or {})
        for name in replaced:
            self.require_linear(name, "operators")

        def linear(name: str, layer: Params, values: jax.Array) -> jax.Array:
            if name in replaced:
                return with_bias(replaced[name].apply(values), layer["bias"])
            return _affine(layer, values)

        return self._run(params, tokens, linear)

    def inputs_of(self, params: Params, tokens: Any) -> dict[str, jax.Array]:
        """What each replaceable linear map receives: name -> (batch * length, in). Arguments as in `outputs`."""
        seen: dict[str, jax.Array] = {}

        def linear(name: str, layer: Params, values: jax.Array) -> jax.Array:
            seen[name] = values.reshape(-1, values.shape[-1])
            return _affine(layer, values)

        self._run(params, tokens, linear)
        return seen

    def _path(self, name: str) -> tuple[str, ...]:
        block, _, linear = name.partition(".")
        return block, linear, "weight"

    def _run(self, params: Params, tokens: Any, linear: _Linear) -> jax.Array:
        tokens = to_jax(tokens)
        if tokens.ndim != 2 or not 1 <= tokens.shape[1] <= self.context:
            raise ValueError(
                f"Argument `tokens` must have shape (batch, 1..{self.context}), but has shape {tokens.shape}."
            )
        stream = params["characters"][tokens] + params["positions"][None, : tokens.shape[1]]
        past = jnp.tril(jnp.ones((tokens.shape[1],) * 2, bool))
        for number in range(self.n_blocks):
            name, block = f"block{number}", params[f"block{number}"]
            inner = _norm(block["norm"], stream)
            query, key, value = (linear(f"{name}.{part}", block[part], inner) for part in ("query", "key", "value"))
            mixed = attend(query, key, value, self.n_heads, past[None, None])
            stream = stream + linear(f"{name}.output", block["output"], mixed)
            wide = jax.nn.gelu(linear(f"{name}.up", block["up"], _norm(block["norm2"], stream)))
            stream = stream + linear(f"{name}.down", block["down"], wide)
        return _affine(params["predict"], _norm(params["last_norm"], stream))


def next_character_metrics(logits: jax.Array, targets: jax.Array) -> dict[str, jax.Array]:
    """Mean cross-entropy "loss" in nats a character (perplexity is its exponential) and "accuracy", the share of
    characters that are the likeliest.

    Args:
        logits: (batch, length, n_characters).
        targets: codes of the characters that come next, (batch, length).
    """  # noqa: D205
    loss = cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)).mean()
    hits = logits.argmax(-1).astype(targets.dtype) == targets
    return {"loss": loss, "accuracy": hits.astype(logits.dtype).mean()}


def generate(
    model: CharTransformer,
    params: Params,
    prompt: Any,
    length: int,
    key: jax.Array,
    *,
    temperature: float = 1.0,
    operators: Operators | None = None,
) -> np.ndarray:
    """The prompt and `length` characters drawn after it, one after the other, codes (prompt + length,).

    Args:
        model: the model.
        params: its parameters.
        prompt: codes, at least one.
        length: characters to draw.
        key: random key.
        temperature: divides the logits; 0 takes the likeliest.
        operators: as in `CharTransformer.outputs`.

    Raises:
        ValueError: for an empty prompt or a negative temperature.

    Cost: a forward pass over the whole context a character (no cache of keys and values).
    """
    codes = list(np.asarray(prompt, np.int32))
    if not codes:
        raise ValueError("Argument `prompt` must hold at least one character, but is empty.")
    if temperature < 0:
        raise ValueError(f"Argument `temperature` must not be negative, but is {temperature}.")

    @jax.jit
    def logits_at(window: jax.Array, place: jax.Array) -> jax.Array:
        return model.outputs(params, window[None], operators)[0, place]

    for step in range(length):
        seen = codes[-model.context :]
        # Padded behind, where causal attention does not look, so that one program serves every length.
        window = np.zeros(model.context, np.int32)
        window[: len(seen)] = seen
        logits = np.asarray(logits_at(jnp.asarray(window), jnp.asarray(len(seen) - 1)))
        if temperature > 0:
            logits = logits / temperature + np.asarray(
                jax.random.gumbel(jax.random.fold_in(key, step), logits.shape, logits.dtype)
            )
        codes.append(int(logits.argmax()))
    return np.array(codes, np.int32)


def _init_linear(rng: np.random.Generator, n_out: int, n_in: int, scale: float = 1.0) -> Params:
    return {"weight": scale / math.sqrt(n_in) * rng.normal(size=(n_out, n_in)), "bias": np.zeros(n_out)}


def _init_norm(width: int) -> Params:
    return {"gain": np.ones(width), "bias": np.zeros(width)}


def _affine(layer: Params, values: jax.Array) -> jax.Array:
    return affine(layer["weight"], layer["bias"], values)


def _norm(layer: Params, values: jax.Array) -> jax.Array:
    return layer_norm(layer["gain"], layer["bias"], values, _EPSILON)
