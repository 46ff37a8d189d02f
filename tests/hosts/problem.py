"""A mean loss over samples as a target of `qjaxsim spectrum`: 37 samples in chunks of 4, and 5 parameters."""

import jax
import jax.numpy as jnp
import numpy as np

import qjaxsim as qj

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


def ring(seen=qj.Z(0) @ qj.Z(3) + 0.5 * qj.X(5)):  # noqa: B008
    """The energy of a circuit of six qubits, whose state several devices may hold."""
    w = qj.Parameter("w", (2, 6))
    circuit = qj.Circuit(6)
    for layer in range(2):
        for q in range(6):
            circuit.ry(w[layer, q], q)
        for q in range(6):
            circuit.cx(q, (q + 1) % 6)
    energy = qj.expectation(circuit, seen)
    return {"function": lambda w: energy({"w": w}), "params": jnp.linspace(0, 1, 12).reshape(2, 6)}


def flips():
    """A value that no device can read of a piece: X on all qubits."""
    return ring(qj.X(0) @ qj.X(1) @ qj.X(2) @ qj.X(3) @ qj.X(4) @ qj.X(5))
