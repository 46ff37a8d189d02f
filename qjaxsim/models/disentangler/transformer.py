"""What transformers here have in common: linear maps that can be exchanged by name, attention, normalisation."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common.precision import HIGHEST
from qjaxsim.common.suggestions import did_you_mean

Params = dict[str, Any]
# Names that a message gives.
_LISTED = 6


class Exchangeable(ABC):
    """A model whose weights of linear maps, (out, in) each, can be exchanged in its pytree of parameters."""

    @property
    @abstractmethod
    def linear_names(self) -> tuple[str, ...]:
        """Names of the linear maps that can be exchanged."""

    @abstractmethod
    def shape_of(self, name: str) -> tuple[int, int]:
        """(out, in) of one linear map.

        Raises:
            ValueError: for an unknown name.
        """

    @abstractmethod
    def _path(self, name: str) -> tuple[str, ...]:
        """Keys that lead to the weight of a known linear map, from outside inwards."""

    def require_linear(self, name: str, argument: str = "name") -> None:
        """Raise ValueError for a name that no linear map has; `argument` is what it was given as."""
        if name not in self.linear_names:
            known = self.linear_names
            more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
            raise ValueError(
                f"Argument `{argument}` must name linear maps of the model, {', '.join(known[:_LISTED])}{more}, but "
                f"has {name!r}{did_you_mean(name, known)}."
            )

    def weight(self, params: Params, name: str) -> jax.Array:
        """Weight (out, in) of one linear map.

        Raises:
            ValueError: for an unknown name.
        """
        self.require_linear(name)
        found: Any = params
        for key in self._path(name):
            found = found[key]
        return found

    def with_weights(self, params: Params, weights: Mapping[str, Any]) -> Params:
        """The parameters with some weights exchanged.

        Raises:
            ValueError: for an unknown name or a weight of another shape.
        """
        changed = params
        for name, weight in weights.items():
            old = self.weight(params, name)
            if np.shape(weight) != old.shape:
                raise ValueError(
                    f"Argument `weights` must hold a matrix of shape {old.shape} for {name!r}, but it has shape "
                    f"{np.shape(weight)}."
                )
            changed = _exchanged(changed, self._path(name), jnp.asarray(weight, old.dtype))
        return changed


def _exchanged(params: Params, path: tuple[str, ...], value: jax.Array) -> Params:
    first, *rest = path
    return {**params, first: _exchanged(params[first], tuple(rest), value) if rest else value}


def affine(weight: jax.Array, bias: jax.Array, values: jax.Array) -> jax.Array:
    """(..., in) -> (..., out) by a weight (out, in) and a bias (out,)."""
    return with_bias(jnp.matmul(values, weight.T, precision=HIGHEST), bias)


def with_bias(values: jax.Array, bias: jax.Array) -> jax.Array:
    """Values (..., out) and a bias (out,) to all of them."""
    return values + bias.reshape((1,) * (values.ndim - 1) + (-1,))


def layer_norm(gain: jax.Array, bias: jax.Array, values: jax.Array, epsilon: float) -> jax.Array:
    """Values (batch, length, width) with mean 0 and variance 1 over the last axis, then scaled and shifted."""
    centred = values - values.mean(-1, keepdims=True)
    scaled = centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + epsilon)
    return scaled * gain[None, None] + bias[None, None]


def attend(query: jax.Array, key: jax.Array, value: jax.Array, n_heads: int, seen: jax.Array) -> jax.Array:
    """Softmax attention, (batch, length, width).

    Args:
        query: (batch, length, width), as are the next two.
        key: what queries are compared with.
        value: what is averaged.
        n_heads: heads, a divisor of the width.
        seen: whether a query looks at a key, broadcast to (batch, heads, queries, keys).
    """
    batch, length, width = query.shape
    shape = (batch, length, n_heads, width // n_heads)
    q, k, v = (part.reshape(shape) for part in (query, key, value))
    scores = jnp.einsum("bihd,bjhd->bhij", q, k, precision=HIGHEST) / math.sqrt(shape[-1])
    weights = jax.nn.softmax(jnp.where(seen, scores, jnp.asarray(-jnp.inf, scores.dtype)), axis=-1)
    return jnp.einsum("bhij,bjhd->bihd", weights, v, precision=HIGHEST).reshape(batch, length, width)
