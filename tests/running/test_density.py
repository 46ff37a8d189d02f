"""Density matrices: against sums over Kraus matrices in NumPy, over batches, precisions and derivatives."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.circuits import reference
from qjaxsim.circuits.channels import CHANNELS
from qjaxsim.circuits.gates import GATES
from qjaxsim.geometry import quantum_fisher
from qjaxsim.planning.doubling import conjugate
from tests.cases import mostly_slow
from tests.noisy_circuits import random_noisy, random_values, strengths
from tests.random_circuits import CHOICES


def random_observable(rng, n_qubits, terms=20):
    labels = ["".join(rng.choice(list("IXYZ"), n_qubits)) for _ in range(terms)]
    return sum((qj.PauliSum.from_label(label, float(rng.normal())) for label in labels), 0 * qj.I())


def check(seed, n_qubits=None):
    circuit, rng = random_noisy(seed, n_qubits)
    params = random_values(rng, circuit)
    rho = reference.density_matrix(circuit, params)
    np.testing.assert_allclose(qj.density_matrix(circuit)(params), rho, atol=1e-12)
    observable = random_observable(rng, circuit.n_qubits)
    expected = np.trace(reference.pauli_sum_matrix(observable, circuit.n_qubits) @ rho).real
    assert abs(qj.expectation(circuit, observable)(params) - expected) < 1e-11
    np.testing.assert_allclose(qj.probabilities(circuit)(params), rho.diagonal().real, atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_noisy_circuits_equal_the_sum_over_kraus_matrices(seed):
    check(seed, 3)


PLANS = [{name: value for name, value in choice.items() if name != "gradient"} for choice in CHOICES]


@pytest.mark.parametrize("place", mostly_slow(range(len(PLANS)), keep=[2, 3]))
def test_choices_of_the_planner_change_nothing(place):
    circuit, rng = random_noisy(place, 3)
    params = random_values(rng, circuit, (2,))
    got = qj.density_matrix(circuit, options=qj.PlanOptions(**PLANS[place]))(params)
    one = {name: value if name == "p" else value[1] for name, value in params.items()}
    # Without a batch where strengths are all that is random.
    np.testing.assert_allclose(got[1] if got.ndim == 3 else got, reference.density_matrix(circuit, one), atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4, 204))
def test_many_noisy_circuits_equal_the_sum_over_kraus_matrices(seed):
    check(seed)


def test_a_batch_is_its_samples_one_by_one():
    circuit, rng = random_noisy(5, 3)
    params = random_values(rng, circuit, (2, 3))
    got = qj.density_matrix(circuit)(params)
    assert got.shape == (2, 3, 8, 8)
    for i, j in np.ndindex(2, 3):
        one = {name: value if name == "p" else value[i, j] for name, value in params.items()}
        np.testing.assert_allclose(got[i, j], reference.density_matrix(circuit, one), atol=1e-12)


def test_single_precision_and_mapped():
    circuit, rng = random_noisy(1, 3)
    params = {name: value.astype(np.float32) for name, value in random_values(rng, circuit, (2,)).items()}
    rho = jax.vmap(qj.density_matrix(circuit), ({"w": 0, "p": None},))(params)
    assert rho.dtype == np.complex64
    exact = reference.density_matrix(circuit, {"w": params["w"][1].astype(float), "p": params["p"].astype(float)})
    np.testing.assert_allclose(rho[1], exact, atol=3e-6)


def energy_circuit():
    """Every channel with a free strength or angle around it, on three qubits."""
    w, p = qj.Parameter("w", (6,)), qj.Parameter("p", (4,))
    circuit = qj.Circuit(3).ry(w[0], 0).rx(w[1], 1).ry(w[2], 2).cx(0, 1).depolarizing2(p[0], 0, 1)
    circuit.ry(w[3], 1).amplitude_damping(p[1], 1).cx(1, 2).phase_damping(p[2], 2).rx(w[4], 2).ry(w[5], 0)
    return circuit.pauli_error(p[3], 0.02, p[3] * 0.5, 0).bit_flip(0.1, [0, 1])


def test_derivatives_of_first_and_second_order_in_angles_and_strengths():
    circuit, rng = energy_circuit(), np.random.default_rng(0)
    observable = random_observable(rng, 3)
    energy = qj.expectation(circuit, observable)
    at = {"w": rng.normal(size=6), "p": rng.uniform(0.05, 0.2, 4)}
    matrix = reference.pauli_sum_matrix(observable, 3)
    along = {name: rng.normal(size=value.shape) * (0.1 if name == "p" else 1) for name, value in at.items()}
    line = lambda t: {name: value + t * along[name] for name, value in at.items()}  # noqa: E731
    exact = np.vectorize(lambda t: np.trace(matrix @ reference.density_matrix(circuit, line(t))).real)
    fitted = np.polynomial.Chebyshev.interpolate(exact, 12, domain=[-0.1, 0.1])
    reverse = sum(np.vdot(g, along[name]) for name, g in jax.grad(energy)(at).items())
    assert abs(reverse - fitted.deriv(1)(0.0)) < 1e-9
    hessian = qj.hessian(energy, at)
    flat = np.concatenate([along["p"], along["w"]])  # in the order of the dictionary's keys
    assert abs(flat @ hessian @ flat - fitted.deriv(2)(0.0)) < 1e-7
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-12)


def test_derivatives_are_finite_where_a_strength_is_zero():
    for name, spec in CHANNELS.items():
        p = qj.Parameter("p", (len(spec.strengths),))
        circuit = qj.Circuit(2).ry(0.4, 0).ry(0.9, 1).append(name, range(spec.n_qubits), list(p))
        at = np.zeros(p.shape) if name != "thermal_relaxation" else np.array([50.0, 70.0, 0.0, 0.0])
        gradient = jax.grad(qj.expectation(circuit, qj.Z(0) + qj.X(0)))({"p": at})["p"]
        assert np.isfinite(gradient).all(), name
        assert np.abs(gradient).max() > 1e-4, name


def test_without_channels_it_is_the_pure_state():
    circuit = qj.Circuit(3).h(0).cx(0, 1).t(1).cx(1, 2).ry(0.3, 2)
    psi = reference.statevector(circuit)
    np.testing.assert_allclose(qj.density_matrix(circuit)(), np.outer(psi, psi.conj()), atol=1e-12)


def test_a_channel_of_strength_zero_is_nothing():
    noisy = qj.Circuit(2).ry(0.4, 0).cx(0, 1)
    for name, spec in CHANNELS.items():
        zero = [0.0] * len(spec.strengths) if name != "thermal_relaxation" else [50.0, 70.0, 0.0, 0.0]
        noisy.append(name, range(spec.n_qubits), zero)
    psi = reference.statevector(qj.Circuit(2).ry(0.4, 0).cx(0, 1))
    np.testing.assert_allclose(qj.density_matrix(noisy)(), np.outer(psi, psi.conj()), atol=1e-14)


@pytest.mark.parametrize("name", [name for name in GATES if name not in ("global_phase", "delay", "delay_dt")])
def test_conjugates_of_gates(name):
    spec = GATES[name]
    angles = tuple(np.random.default_rng(0).normal(size=spec.n_angles))
    circuit = qj.Circuit(spec.n_qubits).append(name, range(spec.n_qubits), angles)
    other = qj.Circuit(spec.n_qubits).extend([conjugate(circuit.operations[0])])
    np.testing.assert_allclose(reference.unitary(other), reference.unitary(circuit).conj(), atol=1e-14)


def test_projections_are_normalised_by_the_trace():
    circuit = qj.Circuit(3).h(0).cx(0, 1).depolarizing(0.2, [0, 1]).project(0, 1).ry(0.3, 2)
    rho = reference.density_matrix(circuit)
    np.testing.assert_allclose(qj.density_matrix(circuit)(), rho, atol=1e-12)
    np.testing.assert_allclose(qj.probabilities(circuit, [1])(), [0.18, 0.82], atol=1e-12)
    z = reference.pauli_sum_matrix(qj.Z(1), 3)
    assert abs(qj.expectation(circuit, qj.Z(1))() - np.trace(z @ rho).real) < 1e-12


def test_many_projections_in_turn_leave_a_state():
    """Of probability 2**-150, which single precision does not hold; by hand, each layer in double precision."""
    layer = qj.Circuit(2).h(0).cx(0, 1).ry(qj.Parameter("t"), 1).project(0, 0).depolarizing(0.01, 1)
    rho = np.diag([1.0, 0])  # qubit 1: projecting the control after a Hadamard leaves it alone, but for noise
    turn = np.array([[np.cos(0.15), -np.sin(0.15)], [np.sin(0.15), np.cos(0.15)]])
    for _ in range(150):
        rho = 0.99 * turn @ rho @ turn.T + 0.01 * np.eye(2) / 2
    run = qj.expectation(qj.Circuit(2).repeat(layer, 150, shared="t"), [qj.Z(1), qj.X(1)])
    got = run({"t": np.float32(0.3)})
    np.testing.assert_allclose(got, [rho[0, 0] - rho[1, 1], 2 * rho[0, 1]], atol=1e-5)


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_readout_errors_act_on_what_is_read(noise):
    circuit = qj.Circuit(3).ry(0.7, 0).cx(0, 1).ry(1.1, 2).readout_error(0.1, 0.2, 0).readout_error(0.05, 0, [1, 2])
    circuit.depolarizing(noise, 0) if noise else None
    bare = qj.Circuit(3).extend(op for op in circuit.operations if op.key[0] != "readout_error")
    exact = reference.density_matrix(bare).diagonal().real
    a, b = np.array([[0.9, 0.2], [0.1, 0.8]]), np.array([[0.95, 0], [0.05, 1]])
    read = np.kron(np.kron(a, b), b) @ exact
    np.testing.assert_allclose(qj.probabilities(circuit)(), read, atol=1e-12)
    swapped = read.reshape(2, 2, 2).sum(1).T.reshape(-1)
    np.testing.assert_allclose(qj.probabilities(circuit, [2, 0])(), swapped, atol=1e-12)
    signs = np.array([(-1) ** bin(i >> 1).count("1") for i in range(8)])
    assert abs(qj.expectation(circuit, qj.Z(0) @ qj.Z(1))() - signs @ read) < 1e-12
    np.testing.assert_allclose(qj.density_matrix(circuit)(), reference.density_matrix(bare), atol=1e-12)


def test_samples_follow_the_probabilities():
    circuit = qj.Circuit(2).x(0).bit_flip(0.25, 0).readout_error(0, 0.5, 1)
    bits = qj.sample(circuit, 4000)({}, jax.random.key(0))
    bits = np.asarray(bits)
    assert abs(bits[:, 0].mean() - 0.75) < 5 * np.sqrt(0.75 * 0.25 / 4000)
    assert not bits[:, 1].any()


def test_many_sets_of_flipped_qubits_as_a_scan():
    circuit, rng = random_noisy(2, 4)
    params = random_values(rng, circuit)
    observables = [random_observable(rng, 4, 60), random_observable(rng, 4, 60)]
    rho = reference.density_matrix(circuit, params)
    expected = [np.trace(reference.pauli_sum_matrix(one, 4) @ rho).real for one in observables]
    np.testing.assert_allclose(qj.expectation(circuit, observables)(params), expected, atol=1e-11)


def test_inverse_pairs_are_not_taken_out_across_a_channel():
    circuit = qj.Circuit(2).h(0).cx(0, 1).depolarizing(0.1, 1).cx(0, 1).h(0)
    np.testing.assert_allclose(qj.density_matrix(circuit)(), reference.density_matrix(circuit), atol=1e-12)


def test_long_flat_circuits_become_loops():
    circuit, p = qj.Circuit(2), qj.Parameter("p", (400,))
    for i in range(400):
        circuit.ry(0.01 * i, 0).cx(0, 1).amplitude_damping(p[i], 1)
    params = {"p": np.linspace(0, 0.01, 400)}
    np.testing.assert_allclose(
        qj.density_matrix(circuit)(params), reference.density_matrix(circuit, params), atol=1e-11
    )


MESSAGES = {
    "statevector": (lambda c: qj.statevector(c), "no state vector; use `density_matrix`"),
    "unitary": (lambda c: qj.unitary(c), "no unitary; use `density_matrix`"),
    "adjoint": (
        lambda c: qj.expectation(c, qj.Z(0), options=qj.PlanOptions(gradient="adjoint"))(),
        "Option `gradient` must not be 'adjoint' for a density matrix",
    ),
    "inverse": (lambda c: c.inverse(), "A channel has no inverse ('depolarizing' on qubits (0,))"),
}


@pytest.mark.parametrize("case", MESSAGES)
def test_what_channels_forbid_is_said(case):
    function, message = MESSAGES[case]
    with pytest.raises(ValueError, match=re.escape(message)):
        function(qj.Circuit(2).h(0).depolarizing(0.1, 0))


P = qj.Parameter("p")
LAYER = qj.Circuit(1).ry(qj.Parameter("w"), 0).phase_damping(qj.Parameter("q", (2,))[1], 0)
LAYERS = qj.Circuit(1).repeat(LAYER, 3, shared=("w",))
DAMPED = qj.Circuit(1).h(0).amplitude_damping(2 * P, 0)
KEY = jax.random.key(0)
IMPOSSIBLE = {
    "expectation": (lambda: qj.expectation(DAMPED, qj.Z(0))({"p": 0.6}), "'amplitude_damping' on qubits (0,)"),
    "weighted": (lambda: qj.expectation(DAMPED, P * qj.Z(0))({"p": -1}), "gamma is -2, but must lie between 0 and 1"),
    "variance": (lambda: qj.variance(DAMPED, qj.Z(0))({"p": jnp.array(0.6)}), "gamma is 1.2"),
    "matrix": (lambda: qj.density_matrix(DAMPED)({"p": 0.6}), "gamma is 1.2"),
    "samples": (lambda: qj.sample(DAMPED, 3)({"p": 0.6}, KEY), "gamma is 1.2"),
    "trajectories": (lambda: qj.trajectories(DAMPED, qj.Z(0), 3)({"p": 0.6}, KEY), "gamma is 1.2"),
    "geometry": (lambda: quantum_fisher(DAMPED)({"p": 0.6}), "gamma is 1.2"),
    "no number": (lambda: qj.density_matrix(qj.Circuit(1).amplitude_damping(1 / P, 0))({"p": 0.0}), "gamma is inf"),
    "batch": (
        lambda: qj.probabilities(qj.Circuit(1).bit_flip(P, 0))({"p": np.array([0.1, -0.5, 2])}),
        "the probabilities of its Pauli strings would be 1.5, -0.5.",
    ),
    "layers": (lambda: qj.probabilities(LAYERS)({"w": 0.1, "q": np.array([[5, 0], [0, 1.0], [0, 3]])}), "lam is 3"),
    "condition": (
        lambda: qj.probabilities(qj.Circuit(1).measure(0, 0).if_bits(0, 1, DAMPED))({"p": 0.6}),
        "gamma is 1.2",
    ),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_impossible_strengths_are_refused_on_calling(case):
    function, message = IMPOSSIBLE[case]
    with pytest.raises(ValueError, match="^Argument `params` must give channel .*" + re.escape(message)):
        function()


def test_strengths_that_are_traced_rounded_or_not_a_number_are_run():
    value = qj.expectation(qj.Circuit(1).bit_flip(P, 0), qj.Z(0))
    assert np.isnan(value({"p": np.nan}))
    assert np.isnan(qj.expectation(qj.Circuit(1).bit_flip(P**0.5, 0), qj.Z(0))({"p": -0.5}))
    assert abs(value({"p": np.float32(-1e-7)}) - 1) < 1e-6
    np.testing.assert_allclose(jax.jit(jax.grad(lambda p: value({"p": p})))(1.5), -2, atol=1e-6)


def test_too_large_is_said_before_memory_is_taken():
    circuit = qj.Circuit(30).depolarizing(0.1, 0)
    with pytest.raises(MemoryError, match="Running 1 density matrix of 30 qubits .*or `trajectories` of pure states"):
        qj.expectation(circuit, qj.Z(0))()


@pytest.mark.parametrize("noisy", [False, True])
def test_a_way_out_is_one_that_takes_the_circuit(noisy):
    """Trajectories take no measurements. What is measured into one bit again and again does fit."""
    many, one = qj.Circuit(3).ry(0.4, 0), qj.Circuit(3).ry(0.4, 0)
    for turn in range(40):
        for circuit, bit in ((many, turn), (one, 0)):
            circuit.cx(0, 2).measure(2, bit).if_bits(bit, 1, qj.Circuit(3).x(2))
            circuit.extend(qj.Circuit(3).depolarizing(0.0, 1).operations if noisy else ())
    with pytest.raises(MemoryError, match="single precision, or measure into fewer bits, which may be used again"):
        qj.expectation(many, qj.Z(0))()
    np.testing.assert_allclose(qj.expectation(one, qj.Z(0))(), np.cos(0.4), rtol=1e-6)
    resets = qj.Circuit(20).x(0)
    for _ in range(25):
        resets.reset(range(20))
    with pytest.raises(MemoryError, match=r"density matrix of 20 qubits needs .* or single precision\."):
        qj.expectation(resets, qj.Z(0))()


def test_strengths_of_the_table_are_those_of_its_kraus_matrices():
    rng = np.random.default_rng(0)
    for name, spec in CHANNELS.items():
        values = [np.float64(x) for x in strengths(rng, name)]
        kraus = np.asarray(spec.kraus(np, *values))
        size = kraus.shape[-1] ** 2
        summed = np.einsum("mab,mcd->acbd", kraus, kraus.conj()).reshape(size, size)
        np.testing.assert_allclose(spec.superoperator.matrix(np, *values), summed, atol=1e-14, err_msg=name)
        traced = spec.superoperator.matrix(jnp, *map(jnp.asarray, values))
        np.testing.assert_allclose(traced, summed, atol=1e-14, err_msg=name)


def test_what_is_run_is_explained():
    circuit, _ = random_noisy(0, 3)
    text = str(qj.explain(circuit))
    assert text.startswith("a density matrix of 3 qubits on 6 wires, 1 column")
    assert "gradient by backprop (a density matrix cannot be run backwards)" in text
    with pytest.raises(ValueError, match="must not be 'adjoint' for a density matrix"):
        str(qj.explain(circuit, options=qj.PlanOptions(gradient="adjoint")))


def wide_operators(rng):
    """Operators on five of six qubits, and their dense matrices on all six, the sixth (qubit 2) idle."""
    import scipy.sparse

    qubits = [4, 0, 1, 5, 3]
    matrix = rng.normal(size=(32, 32)) + 1j * rng.normal(size=(32, 32))
    dense, diagonal = matrix + matrix.conj().T, rng.normal(size=32)
    psi = rng.normal(size=32) + 1j * rng.normal(size=32)
    psi /= np.linalg.norm(psi)
    sparse = scipy.sparse.coo_matrix(np.where(rng.random((32, 32)) < 0.1, dense, 0))
    sparse = (sparse + sparse.conj().T) / 2
    pairs = [
        (qj.Hermitian(dense, qubits), dense),
        (qj.Diagonal(diagonal, qubits), np.diag(diagonal)),
        (qj.Projector(psi, qubits), np.outer(psi, psi.conj())),
        (qj.SparseHermitian(sparse, qubits), sparse.toarray()),
    ]
    return [(operator, reference.embed(small, tuple(qubits), 6)) for operator, small in pairs]


@pytest.mark.parametrize("kind", ["channels", "measured", "long"])
def test_operators_on_many_qubits_and_variances(kind):
    rng = np.random.default_rng(0)
    circuit = qj.Circuit(6).h([0, 3]).cx(0, 4).ry(0.4, 1).cx(3, 5).cx(0, 2)
    if kind == "channels":
        circuit.depolarizing(0.1, [0, 1, 3]).amplitude_damping(0.2, 5)
    elif kind == "measured":  # a pure state with a fresh wire
        circuit.measure(0, 0).if_bits(0, 1, qj.Circuit(6).x(1))
    else:
        for _ in range(8):
            circuit.reset(2)
    rho = reference.density_matrix(circuit)
    pairs = wide_operators(rng)
    values = qj.expectation(circuit, [operator for operator, _ in pairs])()
    np.testing.assert_allclose(values, [np.trace(matrix @ rho).real for _, matrix in pairs], atol=1e-11)
    spread = qj.variance(circuit, [operator for operator, _ in pairs])()
    exact = [np.trace(m @ m @ rho).real - np.trace(m @ rho).real ** 2 for _, m in pairs]
    np.testing.assert_allclose(spread, exact, atol=1e-9)


def test_matrices_given_by_parameters_under_noise():
    rng = np.random.default_rng(1)
    unitary, _ = np.linalg.qr(rng.normal(size=(4, 4)) + 1j * rng.normal(size=(4, 4)))
    free = qj.Circuit(3).h(0).cx(0, 1).unitary(qj.Parameter("u", (2, 4, 4)), (2, 0)).bit_flip(0.1, 0)
    fixed = qj.Circuit(3).h(0).cx(0, 1).unitary(unitary, (2, 0)).bit_flip(0.1, 0)
    parts = np.stack([unitary.real, unitary.imag])
    np.testing.assert_allclose(qj.density_matrix(free)({"u": parts}), reference.density_matrix(fixed), atol=1e-12)


def test_many_controls_and_evolutions_under_noise():
    w = qj.Parameter("w", (2,))
    circuit = qj.Circuit(4).h(range(4)).mcp(w[0], [0, 1, 2], 3).depolarizing(0.1, 1).mcx([3, 1], 0)
    circuit.evolve(qj.X(0) @ qj.Y(2) + 0.5 * qj.Z(1), w[1], steps=2).phase_damping(0.2, 2)
    params = {"w": np.array([0.7, 0.4])}
    np.testing.assert_allclose(
        qj.density_matrix(circuit)(params), reference.density_matrix(circuit, params), atol=1e-12
    )


def test_trained_coefficients_under_noise():
    c = qj.Parameter("c", (2,))
    circuit = qj.Circuit(2).h(0).cx(0, 1).depolarizing(0.5, 0)
    energy = qj.expectation(circuit, c[0] * qj.Z(0) @ qj.Z(1) + c[1] * qj.X(0) @ qj.X(1))
    np.testing.assert_allclose(jax.grad(energy)({"c": np.ones(2)})["c"], [0.5, 0.5], atol=1e-6)


def test_what_readout_errors_forbid_is_said():
    rng = np.random.default_rng(0)
    circuit = qj.Circuit(6).h(0).readout_error(0.1, 0.1, 0)
    with pytest.raises(ValueError, match="A circuit with readout errors takes Pauli sums"):
        qj.expectation(circuit, wide_operators(rng)[0][0])
    with pytest.raises(ValueError, match="leave the circuit's readout errors out"):
        qj.variance(circuit, qj.Z(0))
