"""Losses of classifiers."""

import jax
import jax.numpy as jnp


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Softmax cross-entropy of each sample: (batch, K) logits and (batch,) integer labels to (batch,) nats."""
    picked = jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
    return jax.scipy.special.logsumexp(logits, axis=1) - picked
