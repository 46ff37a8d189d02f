"""A published encoder of sentences (BERT and its kin) whose linear layers can be exchanged.

Post-norm blocks of attention over all tokens and a perceptron (exact GELU), learned positions; a sentence is the mean
of its tokens, or the first of them, scaled to length one. Parameters are called as in the published files, flat, every
linear map with weight (out, in) and bias, as in torch.

Sources: Devlin et al., arXiv:1810.04805; Reimers and Gurevych, arXiv:1908.10084.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common.checks import hold_integers, require_one_of
from qjaxsim.models.disentangler.transformer import Exchangeable, Params, affine, attend, layer_norm

LINEAR = (
    "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
    "intermediate.dense", "output.dense",
)  # fmt: skip
POOLINGS = ("mean", "first")
# Maps (name, inputs) to outputs.
_Linear = Callable[[str, jax.Array], jax.Array]


@dataclass(frozen=True)
class SentenceEncoder(Exchangeable):
    """Pure functions of a flat dict of parameters.

    Attributes:
        n_tokens: of the vocabulary.
        positions: tokens that a sentence has at most.
        width: size of a token, a multiple of the heads.
        wide: size inside the perceptron.
        n_blocks: blocks.
        n_heads: heads of attention.
        padding: token that fills up short sentences; it is not looked at.
        epsilon: added to variances.
        pooling: "mean" or "first" token of a sentence.

    Raises:
        ValueError: naming the argument, for sizes that do not fit.
    """

    n_tokens: int
    positions: int
    width: int
    wide: int
    n_blocks: int
    n_heads: int
    padding: int = 0
    epsilon: float = 1e-12
    pooling: str = "mean"

    def __post_init__(self) -> None:
        hold_integers(self, dict.fromkeys(("n_tokens", "positions", "width", "wide", "n_blocks", "n_heads"), 1))
        require_one_of("pooling", self.pooling, POOLINGS)
        if self.width % self.n_heads:
            raise ValueError(f"Argument `n_heads` must divide `width`, {self.width}, but is {self.n_heads}.")

    @cached_property
    def linear_names(self) -> tuple[str, ...]:
        """Names of the linear maps that can be replaced: those of the blocks."""
        return tuple(f"encoder.layer.{number}.{name}" for number in range(self.n_blocks) for name in LINEAR)

    def shape_of(self, name: str) -> tuple[int, int]:
        """(out, in) of one linear map.

        Raises:
            ValueError: for an unknown name.
        """
        self.require_linear(name)
        if name.endswith("intermediate.dense"):
            return self.wide, self.width
        return (self.width, self.width) if ".attention." in name else (self.width, self.wide)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of every parameter."""
        rows = {"word": self.n_tokens, "position": self.positions, "token_type": 2}
        found: dict[str, tuple[int, ...]] = {
            f"embeddings.{name}_embeddings.weight": (count, self.width) for name, count in rows.items()
        }
        norms = ["embeddings.LayerNorm"]
        for number in range(self.n_blocks):
            norms += [f"encoder.layer.{number}.{name}.LayerNorm" for name in ("attention.output", "output")]
        found |= {f"{name}.{part}": (self.width,) for name in norms for part in ("weight", "bias")}
        for name in self.linear_names:
            found |= {f"{name}.weight": self.shape_of(name), f"{name}.bias": self.shape_of(name)[:1]}
        return found

    def outputs(self, params: Params, tokens: jax.Array) -> jax.Array:
        """Vectors of length one, (batch, width).

        Args:
            params: name -> array, as `shapes` has them.
            tokens: (batch, length), filled up with `padding` behind; every sentence has one token at least.

        Raises:
            ValueError: for tokens of another shape.
        """
        return self._run(params, tokens, lambda name, values: _linear(params, name, values))

    def inputs_of(self, params: Params, tokens: np.ndarray) -> dict[str, jax.Array]:
        """What each linear map receives for the tokens that are no padding: name -> (tokens, in).

        Arguments as in `outputs`, but tokens must be known when this is compiled.
        """
        kept = np.flatnonzero(np.asarray(tokens) != self.padding)
        seen: dict[str, jax.Array] = {}

        def linear(name: str, values: jax.Array) -> jax.Array:
            seen[name] = values.reshape(-1, values.shape[-1])[kept]
            return _linear(params, name, values)

        self._run(params, jnp.asarray(tokens), linear)
        return seen

    def _path(self, name: str) -> tuple[str, ...]:
        return (f"{name}.weight",)

    def _run(self, params: Params, tokens: jax.Array, linear: _Linear) -> jax.Array:
        if tokens.ndim != 2 or not 1 <= tokens.shape[1] <= self.positions:
            raise ValueError(
                f"Argument `tokens` must have shape (batch, 1..{self.positions}), but has shape {tokens.shape}."
            )
        seen = tokens != self.padding
        stream = self._norm(params, "embeddings.LayerNorm", self._embedded(params, tokens))
        for number in range(self.n_blocks):
            name = f"encoder.layer.{number}"
            query, key, value = (linear(f"{name}.attention.self.{part}", stream) for part in ("query", "key", "value"))
            mixed = attend(query, key, value, self.n_heads, seen[:, None, None])
            mixed = linear(f"{name}.attention.output.dense", mixed)
            stream = self._norm(params, f"{name}.attention.output.LayerNorm", stream + mixed)
            inner = jax.nn.gelu(linear(f"{name}.intermediate.dense", stream), approximate=False)
            inner = linear(f"{name}.output.dense", inner)
            stream = self._norm(params, f"{name}.output.LayerNorm", stream + inner)
        return self._pooled(stream, seen)

    def _embedded(self, params: Params, tokens: jax.Array) -> jax.Array:
        """A sentence is all of the first type: there is no second one."""
        words, positions, types = (
            params[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type")
        )
        return words[tokens] + (positions[: tokens.shape[1]] + types[:1])[None]

    def _norm(self, params: Params, name: str, values: jax.Array) -> jax.Array:
        return layer_norm(params[f"{name}.weight"], params[f"{name}.bias"], values, self.epsilon)

    def _pooled(self, stream: jax.Array, seen: jax.Array) -> jax.Array:
        # The length is one in the end, so that a sum is as good as a mean.
        whole = stream[:, 0] if self.pooling == "first" else jnp.where(seen[..., None], stream, 0).sum(1)
        return whole / jnp.linalg.norm(whole, axis=-1, keepdims=True)


def _linear(params: Params, name: str, values: jax.Array) -> jax.Array:
    return affine(params[f"{name}.weight"], params[f"{name}.bias"], values)
