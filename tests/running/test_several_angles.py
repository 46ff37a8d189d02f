"""Curvature of circuits whose gates have several angles, numbers among them, at every position."""

import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.circuits import reference
from qjaxsim.circuits.gates import GATES
from qjaxsim.curvature import CircuitOutputs, split_hessian
from tests.cases import mostly_slow

X, W = qj.Parameter("x"), qj.Parameter("w", (2,))
SEVERAL = {name: spec for name, spec in GATES.items() if spec.n_angles > 1}
CASES = [(name, number) for name, spec in SEVERAL.items() for number in range(spec.n_angles + 1)]
# Of every second gate one case: a number first, second or third.
FEW = [CASES.index((name, number % 3)) for number, name in enumerate(list(SEVERAL)[::2])]


def squared(z, y):
    return ((z - y[:, None]) ** 2).sum(axis=1)


@pytest.mark.parametrize(("name", "number"), mostly_slow(CASES, keep=FEW))
def test_the_split_takes_numbers_among_the_angles(name, number):
    spec = SEVERAL[name]
    angles = [0.7 if position == number else W[position % 2] for position in range(spec.n_angles)]
    circuit = qj.Circuit(3).ry(X, 0).append(name, range(spec.n_qubits), angles).rx(W[0], 0).cx(0, 1).ry(W[1], 1)
    model = CircuitOutputs(circuit, [qj.X(0), qj.Z(1)], ("x",))
    w, x, y = np.array([0.3, 0.4]), np.array([0.1, 0.2, 0.3]), np.array([0.0, 1.0, 0.5])
    split = split_hessian(model, squared, {"w": jnp.asarray(w)}, {"x": jnp.asarray(x)}, jnp.asarray(y))

    def loss(w):
        total = 0.0
        for each, target in zip(x, y, strict=True):
            state = reference.statevector(circuit, {"x": each, "w": w})
            values = [np.vdot(state, matrix @ state).real for matrix in MATRICES]
            total += sum((value - target) ** 2 for value in values) / len(x)
        return total

    step, unit = 1e-4, np.eye(2)
    want = [
        [sum(s * t * loss(w + step * (s * a + t * b)) for s in (1, -1) for t in (1, -1)) / (4 * step**2) for b in unit]
        for a in unit
    ]
    np.testing.assert_allclose(split.hessian, want, atol=1e-6)


letters = {"I": np.eye(2), "X": np.array([[0, 1], [1, 0]]), "Z": np.diag([1, -1])}
MATRICES = [np.kron(np.kron(letters[a], letters[b]), letters["I"]) for a, b in ("XI", "IZ")]


def test_the_reported_circuit_has_the_hessian_of_central_differences():
    t = qj.Parameter("t")
    model = CircuitOutputs(qj.Circuit(1).ry(t, 0).u(0.7, W[0], W[1], 0), [qj.X(0)], ("t",))
    params, data = {"w": jnp.array([0.3, 0.4])}, {"t": jnp.array([0.1, 0.2, 0.3])}
    split = split_hessian(model, squared, params, data, jnp.zeros(3))
    np.testing.assert_allclose(split.hessian, [[-0.83050, -0.15738], [-0.15738, -0.13206]], atol=1e-5)
