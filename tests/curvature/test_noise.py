"""Split Hessians of models whose circuits have noise, measurements, readout errors or initial states."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.curvature import split_hessian
from qjaxsim.models.circuit_model import CircuitModel
from qjaxsim.models.losses import cross_entropy
from tests.cases import mostly_slow


def circuit(kind):
    x, w = qj.Parameter("x", (2,)), qj.Parameter("w", (4,))
    out = qj.Circuit(3)
    if kind == "initialized":
        out.initialize([0.6, 0.8], 2)
    out.rx(x[0], 0).rx(x[1], 1).ry(w[0], 0).cx(0, 1).ry(w[1], 1).rz(w[2], 0).cx(1, 2).ry(w[3], 2)
    if kind == "channels":
        out.depolarizing(0.2, [0, 1, 2]).amplitude_damping(0.3, 0)
    elif kind == "measured":
        out.measure(0, 0).if_bits(0, 1, qj.Circuit(3).ry(0.5, 1))
    elif kind == "read wrongly":
        out.readout_error(0.1, 0.2, [0, 1])
    return out


@pytest.mark.parametrize("kind", mostly_slow(["channels", "measured", "read wrongly", "initialized"], keep=2))
def test_split_hessians_are_those_of_the_loss(kind):
    rng = np.random.default_rng(0)
    x, y, params = rng.normal(size=(6, 2)), jnp.array([0, 1, 0, 1, 1, 0]), {"w": rng.normal(size=4)}
    observables = [qj.Z(0), qj.Z(1)]
    values = qj.expectation(circuit(kind), observables)
    exact = jax.jit(jax.hessian(lambda w: cross_entropy(values({"x": x, "w": w}), y).mean()))(params["w"])
    split = split_hessian(CircuitModel(circuit(kind), observables).outputs, cross_entropy, params, jnp.asarray(x), y)
    np.testing.assert_allclose(split.hessian, exact, atol=1e-12)
