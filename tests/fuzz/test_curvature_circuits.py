"""The ways that a circuit's structure opens to its second derivatives, on random circuits, against plain autodiff."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

import qjaxsim as qj
from qjaxsim.curvature import (
    CircuitOutputs,
    PartSum,
    StagedCircuit,
    circuit_outputs,
    curvature_operators,
    gauss_newton_product,
    hessian_product,
    plan_split,
    residual_product,
    split_hessian,
)

# Every example is a circuit that is compiled several times.
SOME = settings(max_examples=max(2, settings.default.max_examples // 10))
MOST_QUBITS = 2 if settings.default.max_examples < 100 else 3
ROTATIONS = ("rx", "ry", "rz", "p")
PAIRS = ("rxx", "rzz", "rzx", "crx", "crz", "cp")


def loss(z, y):
    return jax.nn.logsumexp(z, axis=1) + ((z - y) ** 2).sum(axis=1)


def random_observables(rng, n):
    """One to three sums of Pauli words."""
    words = lambda: [  # noqa: E731
        float(rng.normal()) * qj.PauliSum.from_label("".join(rng.choice(list("IXYZ"), n)))
        for _ in range(int(rng.integers(1, 3)))
    ]
    return tuple(sum(words(), start=qj.Z(int(rng.integers(n)))) for _ in range(int(rng.integers(1, 4))))


def add_weights(rng, circuit, w, n_gates, kinds=6):
    """Gates whose angles are elements of w, multiples, sums, numbers, sines and products; constants between."""
    n = circuit.n_qubits

    def angle():
        a, b = (w[int(rng.integers(w.shape[0]))] for _ in range(2))
        return [a, 0.5 * a - 0.3, a + b, float(rng.normal()), a.sin(), a * b][int(rng.integers(kinds))]

    for _ in range(n_gates):
        qubits = rng.permutation(n).tolist()
        kind = rng.random()
        if kind < 0.5 or n == 1:
            circuit.append(str(rng.choice(ROTATIONS[: kinds - 1])), qubits[:1], [angle()])
        elif kind < 0.75:
            circuit.append(str(rng.choice(PAIRS)), qubits[:2], [angle()])
        else:
            circuit.append(str(rng.choice(["cx", "cz", "swap"])), qubits[:2])
        if rng.random() < 0.3:
            circuit.append(str(rng.choice(["h", "s", "t", "sx"])), qubits[:1])
    return circuit


def expected(outputs, params, x, y):
    """Gradient, H and G of the mean loss by JAX alone, in the flat parameters."""
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    of = lambda w: outputs(unravel(w), x)  # noqa: E731
    mean = lambda w: loss(of(w), y).mean()  # noqa: E731

    @jax.jit  # in one program: compiling takes the time
    def derivatives(w):
        curvature = jax.hessian(lambda z: loss(z, y).sum())(of(w))
        return jax.jacfwd(of)(w), curvature, jax.grad(mean)(w), jax.hessian(mean)(w)

    jacobian, curvature, gradient, whole = map(np.asarray, derivatives(flat))
    curvature = np.stack([curvature[b, :, b] for b in range(len(y))])
    return gradient, whole, np.einsum("bkp,bkl,blq->pq", jacobian, curvature, jacobian) / len(y)


def check(outputs, params, x, y, rng):
    """Everything that takes such a model, whole and in chunks."""
    gradient, whole, gauss_newton = expected(lambda params, x: outputs(params, x), params, x, y)
    batch_size = None if rng.random() < 0.5 else int(rng.integers(1, len(y) + 1))
    found = split_hessian(outputs, loss, params, x, y, batch_size=batch_size)
    close = dict(atol=1e-9, rtol=1e-9)
    np.testing.assert_allclose(found.gradient, gradient, **close)
    np.testing.assert_allclose(found.hessian, whole, **close)
    np.testing.assert_allclose(found.gauss_newton, gauss_newton, **close)
    np.testing.assert_allclose(found.residual, whole - gauss_newton, **close)
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    if rng.random() < 0.5:
        return
    v = jnp.asarray(rng.normal(size=flat.shape))
    part = int(rng.integers(3))
    product = (hessian_product, gauss_newton_product, residual_product)[part]
    image = product(outputs, loss, params, x, y, unravel(v), batch_size=batch_size)
    want = (whole, gauss_newton, whole - gauss_newton)[part] @ v
    np.testing.assert_allclose(jax.flatten_util.ravel_pytree(image)[0], want, **close)
    operator = curvature_operators(outputs, loss, params, x, y)[part]
    np.testing.assert_allclose(operator @ v, want, **close)


@pytest.mark.slow
@SOME
@given(st.integers(0, 10**6), st.sampled_from(["as planned", "collapsed", "data among weights"]))
def test_circuits_whose_data_come_first_and_others(seed, kind):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, MOST_QUBITS + 1))
    x, w = qj.Parameter("x", (n,)), qj.Parameter("w", (3,))
    circuit = qj.Circuit(n)
    for q in range(n):
        circuit.h(q).ry(x[q], q).rz(x[q] * x[0], q)
    add_weights(rng, circuit, w, 6)
    if rng.random() < 0.4:
        layer = add_weights(rng, qj.Circuit(n), qj.Parameter("v", (2,)), 3)
        circuit.repeat(layer, 2)
    if kind == "data among weights":
        add_weights(rng, circuit.rx(x[0], 0), w, 2)
    n_samples = int(rng.integers(1, 6))
    names = circuit.parameters
    params = {name: jnp.asarray(rng.normal(size=names[name])) for name in names if name != "x"}
    if not params:
        return
    data = {"x": jnp.asarray(rng.normal(size=(n_samples, n)))}
    outputs = CircuitOutputs(circuit, random_observables(rng, n), ["x"], float(rng.normal()))
    y = jnp.asarray(rng.normal(size=(n_samples, len(outputs.observables))))
    with pytest.MonkeyPatch.context() as patch:
        if kind == "collapsed":
            patch.setattr(circuit_outputs, "LEAST_SAMPLES", 0)
            patch.setattr(CircuitOutputs, "sees_little", lambda self, n_samples: False)
            patch.setattr(CircuitOutputs, "collapses", lambda self, n_samples, size: self.stages is not None)
            assert plan_split(outputs, loss, params, data, y).structure == "collapsed"
        if kind == "data among weights":
            assert plan_split(outputs, loss, params, data, y).structure == "pushed"
        check(outputs, params, data, y, rng)


@pytest.mark.slow
@SOME
@given(st.integers(0, 10**6))
def test_sums_over_circuits_stage_by_stage(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, MOST_QUBITS + 1))
    x, w, b = qj.Parameter("x", (n,)), qj.Parameter("w", (3,)), qj.Parameter("b", (n,))
    circuit = qj.Circuit(n)
    kinds = 6 if rng.random() < 0.25 else 4  # beside data, stages take angles that are affine in the weights
    for _ in range(int(rng.integers(1, 3))):
        add_weights(rng, circuit, w, int(rng.integers(0, 4)), kinds)
        for q in range(n):
            circuit.append(str(rng.choice(("rx", "ry", "rz"))), [q], [x[q] + 0.7 * b[q]])
    add_weights(rng, circuit, w, 3, kinds)
    # In some, data have a bias of their own, and weights or biases are left out of the circuit.
    places, size = {}, 0
    for name in sorted(circuit.parameters, reverse=bool(seed % 2)):
        if name == "x" and rng.random() < 0.5:
            continue
        shape = circuit.parameters[name]
        places[name] = size + np.arange(int(np.prod(shape))).reshape(shape)
        size += int(np.prod(shape))
    part = StagedCircuit(circuit, random_observables(rng, n), places, lambda x: {"x": x}, frozenset({"x"}))
    parts = int(rng.integers(1, 3))
    shared = int(rng.integers(0, size + 1))  # the first so many serve all parts
    total = shared + parts * (size - shared)
    index = np.stack([np.r_[:shared, shared + p * (size - shared) + np.arange(size - shared)] for p in range(parts)])
    index = rng.permutation(total)[index]
    model = PartSum(part, index, lambda x: x, float(rng.normal()))
    n_samples = int(rng.integers(1, 5))
    params = jnp.asarray(rng.normal(size=total))
    data = jnp.asarray(rng.normal(size=(n_samples, parts, n)))
    y = jnp.asarray(rng.normal(size=(n_samples, len(part.observables))))
    assert kinds == 6 or plan_split(model, loss, params, data, y).structure == "stages"
    check(model, params, data, y, rng)
