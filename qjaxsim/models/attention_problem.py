"""The quadratic binary problems of quantum-annealing attention, and their token energies.

"v1" and "v2" are the two published versions (arXiv:2504.11083v1, April 2025; v2, October 2025), as the authors' public
code has them. Arrays are (batch B, heads H, tokens n, size d).
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from qjaxsim.annealing.problems import HeadsProblem
from qjaxsim.common.precision import HIGHEST

# Weights of the three terms, as published.
C_PAIR, C_LINEAR, C_PENALTY = 1.0, 0.16, 0.8
V1_PENALTY, V1_BITS = 2.0, 4
_SMALL = 1e-6


class Terms(NamedTuple):
    """What token energies are made of.

    Attributes:
        pair: J, (B, H, n, n).
        linear: h, (B, H, n).
    """

    pair: jax.Array
    linear: jax.Array


# --- version 2 -------------------------------------------------------------------------------------------------------


def terms_v2(q: jax.Array, k: jax.Array, v: jax.Array, e2v: jax.Array) -> Terms:
    """J = (Q K^T + K Q^T) / (2 sqrt d) without diagonal, h = mean over d of V * E2V.

    Args:
        q: queries (B, H, n, d).
        k: keys.
        v: values.
        e2v: the learned vector (d,) that all heads and tokens share.
    """
    scores = _products(q, k)
    pair = (scores + scores.swapaxes(2, 3)) / (2 * math.sqrt(q.shape[-1]))
    eye = jnp.eye(q.shape[2], dtype=bool)[None, None]
    return Terms(jnp.where(eye, jnp.zeros_like(pair), pair), (v * e2v[None, None, None]).mean(-1))


def problem_v2(
    terms: Terms, c_pair: float = C_PAIR, c_linear: float = C_LINEAR, c_penalty: float = C_PENALTY
) -> HeadsProblem:
    """The problem that v2 minimises, H n variables.

    x^T M x with M = -c_pair J within a head, -c_linear n h on the diagonal, and
    p = (c_penalty / 2) sqrt(2 / pi) n / (H - 1) between two heads at one token (nothing for H = 1). M is full, so a
    pair counts twice.
    """
    n_heads, n = terms.linear.shape[1:]
    between = c_penalty * math.sqrt(2 / math.pi) * n / (n_heads - 1) if n_heads > 1 else 0.0
    return HeadsProblem(-2 * c_pair * terms.pair, -c_linear * n * terms.linear, jnp.asarray(between, terms.pair.dtype))


def token_energies(terms: Terms, x: jax.Array) -> jax.Array:
    """H_ai = -(sum_j J_aij x_ai x_aj + h_ai x_ai), (..., H, n): v2's, without the factors of what was minimised.

    Args:
        terms: pair (B, H, n, n), linear (B, H, n).
        x: (B, R, H, n), or (B, H, n).
    """
    reads = x.ndim == 4
    fields = jnp.einsum("bhij,brhj->brhi" if reads else "bhij,bhj->bhi", terms.pair, x, precision=HIGHEST)
    linear = terms.linear[:, None] if reads else terms.linear
    return -(fields + linear) * x


# --- version 1 -------------------------------------------------------------------------------------------------------


def divergence(q: jax.Array, k: jax.Array) -> jax.Array:
    """Jensen-Shannon divergence, base 2, of softmax(q_i) and softmax(k_j): (B, H, n, n) in [0, 1], not symmetric."""
    p, r = jax.nn.softmax(q), jax.nn.softmax(k)
    mean = (p[:, :, :, None] + r[:, :, None]) / 2

    def relative(one: jax.Array) -> jax.Array:
        return (one * (jnp.log2(one + _SMALL**2) - jnp.log2(mean + _SMALL**2))).sum(-1)

    return (relative(p[:, :, :, None]) + relative(r[:, :, None])) / 2


def value_entropies(v: jax.Array) -> jax.Array:
    """Entropies e_aid of the features of each value vector, (B, H, n, d), base 2; v1's h is their sum over d.

    Vectors are divided by their sum, not passed through a softmax, and clipped to [1e-6, 1], as published.
    """
    normal = jnp.clip(v / (v.sum(-1, keepdims=True) + _SMALL), _SMALL, 1.0)
    return -normal * jnp.log2(normal)


def bit_weights(bits: int, dtype: Any) -> jax.Array:
    """2^b / (2^bits - 1) for b = 0, 1, ...: what a bit adds to a token's weight in [0, 1]."""
    return jnp.asarray([2**b / (2**bits - 1) for b in range(bits)], dtype)


def problem_v1(terms: Terms, bits: int = V1_BITS, penalty: float = V1_PENALTY) -> HeadsProblem:
    """The problem that v1 minimises, H n bits variables, bit b of token i at place i * bits + b.

    -sum J_ij w_i w_j - sum h_i w_i with w_i = sum_b weight_b x_ib, and the bitwise penalty
    penalty * 2 / (H (H - 1)) for each pair of heads, token and bit (for H = 1 none, where the published formula divides
    by zero).
    """
    batch, n_heads, n = terms.linear.shape
    u = bit_weights(bits, terms.pair.dtype)
    both = terms.pair + terms.pair.swapaxes(2, 3)
    couplings = -both[:, :, :, None, :, None] * (u[:, None, None] * u[None, None, :])[None, None, None]
    couplings = couplings.reshape(batch, n_heads, n * bits, n * bits)
    own = jnp.diagonal(terms.pair, axis1=2, axis2=3)[..., None] * (u**2)[None, None, None]
    linear = -(own + terms.linear[..., None] * u[None, None, None]).reshape(batch, n_heads, n * bits)
    eye = jnp.eye(n * bits, dtype=bool)[None, None]
    between = 2 * penalty / (n_heads * (n_heads - 1)) if n_heads > 1 else 0.0
    return HeadsProblem(
        jnp.where(eye, jnp.zeros_like(couplings), couplings), linear, jnp.asarray(between, linear.dtype)
    )


def token_weights(x: jax.Array, bits: int) -> jax.Array:
    """Weights w in [0, 1], (B, H, n), of bits x (B, H, n * bits), integers as annealing gives them or floats."""
    x = x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(jnp.result_type(float))
    return x.reshape(*x.shape[:-1], -1, bits) @ bit_weights(bits, x.dtype)


# --- the softmax limit -----------------------------------------------------------------------------------------------


def one_hot_problem(scores: jax.Array, strength: float) -> tuple[HeadsProblem, float]:
    """-sum_i s_i z_i + strength (sum_i z_i - 1)^2 for rows of scores (B, n), and its constant.

    Sampled at inverse temperature beta, <z_i> tends to softmax(beta s)_i as the strength grows.
    """
    batch, n = scores.shape
    pairs = 2 * strength * (1 - jnp.eye(n, dtype=scores.dtype))
    couplings = jnp.broadcast_to(pairs[None, None], (batch, 1, n, n))
    return HeadsProblem(couplings, (-scores - strength)[:, None], jnp.zeros((), scores.dtype)), strength


def one_hot_expectations(scores: jax.Array, beta: float, strength: float) -> jax.Array:
    """Exact Gibbs expectations <z_i> of `one_hot_problem` along the last axis of the scores.

    States with four ones or more are left out. Scores count from their row's largest, s <= 0, and the left-out weight
    is at most C(n, 4) exp(-9 beta strength) of the whole, 6e-15 for 49 tokens and beta * strength = 5.
    """
    top = jax.lax.stop_gradient(scores.max(-1, keepdims=True))
    w = jnp.exp(beta * (scores - top))
    one, two, three = ((w**power).sum(-1, keepdims=True) for power in (1, 2, 3))
    pairs, triples = (one**2 - two) / 2, (one**3 - 3 * one * two + 2 * three) / 6
    few, many = math.exp(-beta * strength), math.exp(-4 * beta * strength)
    total = few + one + few * pairs + many * triples
    return w * (1 + few * (one - w) + many * (pairs - w * (one - w))) / total


def _products(q: jax.Array, k: jax.Array) -> jax.Array:
    return jnp.einsum("bhid,bhjd->bhij", q, k, precision=HIGHEST)
