"""A mean loss over samples as a target of `qjaxsim spectrum`: 37 samples in chunks of 4, and 5 parameters."""

import jax
import jax.numpy as jnp
import numpy as np

X = np.sin(np.arange(37 * 4, dtype=float).reshape(37, 4))
Y = np.arange(37.0) % 2
START = jnp.linspace(0.1, 0.9, 5)


def outputs(w, x):
    return jnp.stack([jnp.sin(x @ w[:4]), jnp.cos(x[:, :2] @ w[3:])], 1)


def loss(z, y):
    return jnp.log1p(jnp.exp(z)).sum(1) - z[:, 0] * y


def mean(w):
    return loss(outputs(w, X), Y).mean()


def problem():
    return {"function": outputs, "params": START, "data": (X, Y), "loss": loss, "batch_size": 4}


def drawn():
    return problem() | {"init": lambda key: START + jax.random.normal(key, (5,), START.dtype)}


def even():
    return problem() | {"data": (X[:36], Y[:36])}
