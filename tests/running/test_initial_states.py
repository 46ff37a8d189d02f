"""States that circuits begin in: constant, from parameters, given on calling; against dense matrices."""

import re

import jax
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.circuits import reference
from qjaxsim.geometry import quantum_fisher


def vector(rng, n_qubits):
    psi = rng.normal(size=2**n_qubits) + 1j * rng.normal(size=2**n_qubits)
    return psi / np.linalg.norm(psi)


def encoded(rng):
    """Two qubits with amplitudes x, one in a constant state, one in |0>, entangled by weights."""
    x, w = qj.Parameter("x", (4,)), qj.Parameter("w", (3,))
    circuit = qj.Circuit(4).h(3).initialize(vector(rng, 1), 2).initialize(x, (1, 0))
    return circuit.cx(0, 2).ry(w[0], 1).cx(2, 3).rx(w[1], 0).rzz(w[2], 0, 3)


@pytest.mark.parametrize("x_shape", [(4,), (5, 4), (2, 3, 4)])
def test_amplitudes_of_parameters_and_of_numbers(x_shape):
    rng = np.random.default_rng(0)
    circuit = encoded(rng)
    params = {"x": rng.normal(size=x_shape), "w": rng.normal(size=3)}
    got = qj.statevector(circuit)(params)
    for place in np.ndindex(x_shape[:-1]):
        one = {"x": params["x"][place], "w": params["w"]}
        np.testing.assert_allclose(got[place], reference.statevector(circuit, one), atol=1e-12)


def test_real_and_imaginary_parts():
    rng = np.random.default_rng(1)
    circuit = qj.Circuit(3).initialize(qj.Parameter("psi", (2, 8))).cx(0, 1).ry(0.3, 2)
    psi = 3 * vector(rng, 3)
    parts = np.stack([psi.real, psi.imag])
    expected = reference.unitary(qj.Circuit(3).cx(0, 1).ry(0.3, 2)) @ psi / 3
    np.testing.assert_allclose(qj.statevector(circuit)({"psi": parts}), expected, atol=1e-12)
    np.testing.assert_allclose(reference.statevector(circuit, {"psi": parts}), expected, atol=1e-12)


@pytest.mark.parametrize("gradient", ["adjoint", "backprop"])
def test_derivatives_in_amplitudes_and_angles(gradient):
    rng = np.random.default_rng(2)
    circuit, observable = encoded(rng), qj.Z(0) @ qj.X(1) + qj.Y(3)
    at = {"x": rng.normal(size=4), "w": rng.normal(size=3)}
    energy = qj.expectation(circuit, observable, options=qj.PlanOptions(gradient=gradient))
    along = {name: rng.normal(size=value.shape) for name, value in at.items()}
    line = lambda t: {name: value + t * along[name] for name, value in at.items()}  # noqa: E731
    exact = np.vectorize(lambda t: reference.expectation(circuit, observable, line(t)))
    fitted = np.polynomial.Chebyshev.interpolate(exact, 16, domain=[-0.1, 0.1])
    slope = sum(np.vdot(g, along[name]) for name, g in jax.grad(energy)(at).items())
    assert abs(slope - fitted.deriv(1)(0.0)) < 1e-9
    flat = np.concatenate([along["w"], along["x"]])
    assert abs(flat @ qj.hessian(energy, at) @ flat - fitted.deriv(2)(0.0)) < 1e-6


@pytest.mark.parametrize(("dtype", "scale"), [("float32", 1e-30), ("float32", 1e30), ("float64", 1e200)])
def test_amplitudes_of_any_size(dtype, scale):
    rng = np.random.default_rng(7)
    circuit = qj.Circuit(3).initialize(qj.Parameter("x", (8,)), (0, 1, 2)).ry(0.3, 1)
    x = rng.normal(size=8).astype(dtype)
    large = x * np.asarray(scale, dtype)
    energy = qj.expectation(circuit, qj.Z(1))
    expected = reference.expectation(circuit, qj.Z(1), {"x": x})
    near = {"rtol": 1e-5, "atol": 1e-6}
    np.testing.assert_allclose(energy({"x": large}), expected, **near)
    given = qj.expectation(qj.Circuit(3).ry(0.3, 1), qj.Z(1))({}, initial=large)
    np.testing.assert_allclose(given, expected, **near)
    # Only directions count, so that the derivative is that at a size of one, over the scale.
    slope = jax.grad(energy)({"x": large})["x"] * large.dtype.type(scale)
    np.testing.assert_allclose(slope, jax.grad(energy)({"x": x})["x"], **near)


def test_noise_on_encoded_states():
    rng = np.random.default_rng(3)
    circuit = encoded(rng).depolarizing(0.1, 1).amplitude_damping(0.2, 0)
    params = {"x": rng.normal(size=4), "w": rng.normal(size=3)}
    np.testing.assert_allclose(
        qj.density_matrix(circuit)(params), reference.density_matrix(circuit, params), atol=1e-12
    )


def layered():
    w = qj.Parameter("w", (2, 3))
    layer = qj.Circuit(3)
    angles = qj.Parameter("w", (3,))
    for q in range(3):
        layer.ry(angles[q], q)
    return qj.Circuit(3).repeat(layer.cx(0, 1).cx(1, 2), w.shape[0])


@pytest.mark.parametrize(("w_batch", "batch"), [((), ()), ((), (4,)), ((4,), ()), ((4,), (4,)), ((2, 1), (4,))])
def test_states_given_on_calling(w_batch, batch):
    rng = np.random.default_rng(4)
    circuit = layered()
    w, initial = rng.normal(size=(*w_batch, 2, 3)), rng.normal(size=(*batch, 8)) + 1j * rng.normal(size=(*batch, 8))
    got = qj.statevector(circuit)({"w": w}, initial=initial)
    shape = np.broadcast_shapes(w_batch, batch)
    w, initial = np.broadcast_to(w, (*shape, 2, 3)), np.broadcast_to(initial, (*shape, 8))
    for place in np.ndindex(shape):
        psi = initial[place] / np.linalg.norm(initial[place])
        np.testing.assert_allclose(got[place], reference.unitary(circuit, {"w": w[place]}) @ psi, atol=1e-12)


def test_every_function_takes_them():
    rng = np.random.default_rng(5)
    circuit, psi = layered(), vector(rng, 3)
    params = {"w": rng.normal(size=(2, 3))}
    after = reference.unitary(circuit, params) @ psi
    z = reference.pauli_sum_matrix(qj.Z(1), 3)
    np.testing.assert_allclose(qj.probabilities(circuit)(params, initial=psi), np.abs(after) ** 2, atol=1e-12)
    np.testing.assert_allclose(
        qj.expectation(circuit, qj.Z(1))(params, initial=psi), (after.conj() @ z @ after).real, atol=1e-12
    )
    np.testing.assert_allclose(
        qj.density_matrix(circuit)(params, initial=psi), np.outer(after, after.conj()), atol=1e-12
    )
    noisy = qj.density_matrix(circuit.copy().bit_flip(0.25, 2))(params, initial=psi)
    x = reference.pauli_sum_matrix(qj.X(2), 3)
    rho = np.outer(after, after.conj())
    np.testing.assert_allclose(noisy, 0.75 * rho + 0.25 * x @ rho @ x, atol=1e-12)
    bits = np.asarray(qj.sample(circuit, 2000)(params, jax.random.key(0), initial=psi))
    assert abs((1 - 2 * bits[:, 1].mean()) - (after.conj() @ z @ after).real) < 5 / np.sqrt(2000)


def test_weighted_observables_take_them():
    """Sums of operators, operators read once for several observables, and trained coefficients, in a batch."""
    rng = np.random.default_rng(7)
    circuit, a = layered(), qj.Parameter("a")
    psi = rng.normal(size=(4, 8)) + 1j * rng.normal(size=(4, 8))
    params = {"w": rng.normal(size=(2, 3)), "a": rng.normal(size=(5, 1))}
    after = psi @ reference.unitary(circuit, params).T / np.linalg.norm(psi, axis=1, keepdims=True)
    z, d = (np.kron(np.kron(np.ones(2), each), np.ones(2)) for each in ([1, -1], [0.5, 3.0]))
    of_z, of_d = (np.abs(after) ** 2 @ each for each in (z, d))
    diagonal = qj.Diagonal([0.5, 3.0], [1])
    observables = [0.5 * diagonal, diagonal + qj.Z(1), a * qj.Z(1), qj.Z(1), qj.Z(1)]
    got = qj.expectation(circuit, observables)(params, initial=psi)
    want = np.broadcast_arrays(0.5 * of_d, of_d + of_z, params["a"] * of_z, of_z, of_z)
    np.testing.assert_allclose(got, np.stack(want, axis=-1), atol=1e-12)


def test_derivatives_in_the_given_state():
    rng = np.random.default_rng(6)
    circuit, psi, at = layered(), rng.normal(size=8), {"w": rng.normal(size=(2, 3))}
    energy = qj.expectation(circuit, qj.Z(0))
    matrix = reference.unitary(circuit, at)
    middle = (matrix.conj().T @ reference.pauli_sum_matrix(qj.Z(0), 3) @ matrix).real
    exact = psi @ middle @ psi / (psi @ psi)
    gradient = 2 * (middle @ psi - exact * psi) / (psi @ psi)
    np.testing.assert_allclose(jax.grad(lambda psi: energy(at, initial=psi))(psi), gradient, atol=1e-12)


C = qj.Circuit
WRONG = {
    "late": (lambda: C(2).h(0).initialize([1, 0], 0), "must name qubits that nothing has acted on, but [0] has [0] in use"),  # noqa: E501
    "norm": (lambda: C(1).initialize([1, 1], 0), "must be 2 amplitudes of norm 1 for qubits (0,), but has shape (2,) and norm 1.4"),  # noqa: E501
    "shape": (lambda: C(2).initialize([1, 0]), "must be 4 amplitudes of norm 1 for qubits (0, 1), but has shape (2,)"),  # noqa: E501
    "parameter": (lambda: C(2).initialize(qj.Parameter("x", (3,))), "must have shape (4,) or (2, 4) for qubits (0, 1)"),  # noqa: E501
    "layer": (lambda: C(1).repeat(C(1).initialize([1, 0]), 2), "Argument `layer` must not initialize qubits"),  # noqa: E501
    "compose": (lambda: C(1).h(0).compose(C(1).initialize([1, 0])), "`other` initializes qubits [0], which are in use"),  # noqa: E501
    "inverse": (lambda: C(1).initialize([1, 0]).inverse(), "A preparation has no inverse (qubits (0,))"),  # noqa: E501
    "unitary": (lambda: qj.unitary(C(1).initialize([1, 0]))(), "cannot be run on other states, and has no unitary"),  # noqa: E501
    "size": (lambda: qj.statevector(C(2).h(0))({}, initial=np.ones(2)), "`initial` must have shape (..., 4) for 2 qubits"),  # noqa: E501
    "twice": (lambda: qj.statevector(C(1).initialize([1, 0]))({}, initial=np.ones(2)), "`initial` is for circuits that begin in |0...0>, but this one has `initialize`"),  # noqa: E501
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(case):
    function, message = WRONG[case]
    with pytest.raises(ValueError, match=re.escape(message)):
        function()


TAKEN = qj.Parameter("a")
WITHOUT = {
    "shots": (
        qj.expectation(C(1).h(0), qj.Z(0), shots=5),
        "`expectation` with `shots`; draw outcomes by `sample`, which takes it",
    ),
    "trajectories": (qj.trajectories(C(1).h(0), qj.Z(0), 5), "`trajectories`; begin the circuit by `initialize`"),
    "unitary": (qj.unitary(C(1).h(0)), "`unitary`; use `statevector`, which takes it"),
    "geometry": (quantum_fisher(C(1).rx(TAKEN, 0)), "the geometry of a circuit; begin the circuit by `initialize`"),
}


@pytest.mark.parametrize("case", WITHOUT)
def test_what_takes_no_state_says_so(case):
    function, message = WITHOUT[case]
    with pytest.raises(TypeError, match=re.escape(f"Argument `initial` is not for {message}.")):
        function({}, initial=np.ones(2))


def test_what_makes_no_array_is_said():
    with pytest.raises(TypeError, match="Argument `initial` must be an array of amplitudes, but is a"):
        qj.statevector(C(1).h(0))({}, initial="plus")
    with pytest.raises(TypeError, match="Argument `initial` must hold numbers, but has dtype bool"):
        qj.statevector(C(1).h(0))({}, initial=np.array([True, False]))
