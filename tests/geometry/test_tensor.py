"""The quantum geometric tensor and Fisher matrices, against dense states, Qiskit, closed forms and each other."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import qjaxsim as qj
from qjaxsim import geometry
from qjaxsim.circuits import reference
from qjaxsim.curvature import numerical_rank, top_eigenpairs
from qjaxsim.geometry import tangents
from tests.cases import layered, mostly_slow
from tests.noisy_circuits import random_noisy, random_values
from tests.random_circuits import random_circuit
from tests.running.test_rotations import n_equations

# Haug's example, txhaug/quantum-geometry: axes and angles of three layers on four qubits.
AXES = ("zyyy", "zyzx", "zyyx")
ANGLES = (
    1.48304, 2.17723, 1.9648, 0.0496955, 3.07004, 1.32555, 5.98107, 6.28259, 1.58124, 6.19941, 3.49189, 2.74643,
)  # fmt: skip


def haug():
    a, circuit = qj.Parameter("a", (12,)), qj.Circuit(4).ry(np.pi / 4, range(4))
    for layer, axes in enumerate(AXES):
        for q, axis in enumerate(axes):
            getattr(circuit, f"r{axis}")(a[4 * layer + q], q)
        circuit.cx(0, 1).cx(2, 3).cx(1, 2)
    return circuit


def differences(state, params, wrt, step=1e-5):
    """A state and its derivatives by central differences, sorted names, row by row."""
    columns = []
    for name in sorted(wrt):
        value = np.asarray(params[name], float)
        for index in np.ndindex(*value.shape):
            ends = []
            for sign in (1, -1):
                moved = value.copy()
                moved[index] += sign * step
                ends.append(state({**params, name: moved}))
            columns.append((ends[0] - ends[1]) / (2 * step))
    return state(params), np.stack(columns, axis=-1)


def dense_tensor(circuit, params, wrt):
    psi, slopes = differences(lambda p: reference.statevector(circuit, p), params, wrt)
    norm = np.vdot(psi, psi).real
    along = slopes.conj().T @ psi
    return slopes.conj().T @ slopes / norm - np.outer(along, along.conj()) / norm**2


def weights_of(circuit, seed, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return {name: jnp.asarray(rng.normal(size=shape), dtype) for name, shape in circuit.parameters.items()}


def test_published_example_of_haug():
    fisher, at = geometry.quantum_fisher(haug()), jnp.array(ANGLES)
    energy = qj.expectation(haug(), qj.Z(0) @ qj.Z(1))
    value, slope = jax.value_and_grad(lambda a: energy({"a": a}))(at)
    matrix = fisher({"a": at})
    natural = np.linalg.pinv(np.asarray(matrix) / 4, rcond=1e-12) @ np.asarray(slope)
    # The angles are printed with six digits.
    np.testing.assert_allclose(value, -0.290501, atol=5e-6)
    np.testing.assert_allclose(slope.mean(), 0.112244, atol=5e-6)
    np.testing.assert_allclose(natural.mean(), 0.3352, atol=5e-5)
    assert numerical_rank(np.linalg.eigvalsh(matrix), 1e-10) == 9


@pytest.mark.thorough
@pytest.mark.parametrize("seed", mostly_slow(range(40), keep=4))
def test_random_circuits_against_differences_of_dense_states(seed):
    circuit, _ = random_circuit(seed)
    rng = np.random.default_rng(seed)
    params = {name: rng.normal(size=shape) for name, shape in circuit.parameters.items()}
    wrt = list(params) if seed % 2 else sorted(params)[:1]
    found = np.asarray(geometry.quantum_geometric_tensor(circuit, wrt)(params))
    np.testing.assert_allclose(found, dense_tensor(circuit, params, wrt), atol=3e-8 * max(1, abs(found).max()))
    np.testing.assert_allclose(geometry.quantum_fisher(circuit, wrt)(params), 4 * found.real, atol=1e-12)
    np.testing.assert_allclose(found, found.conj().T, atol=1e-14 * max(1, abs(found).max()))


@pytest.mark.parametrize("seed", mostly_slow(range(12), keep=2))
def test_the_sweep_and_jax_find_the_same(seed, monkeypatch):
    circuit, _ = random_circuit(seed)
    params = weights_of(circuit, seed)
    swept = geometry.quantum_geometric_tensor(circuit)(params)
    monkeypatch.setattr(tangents, "can_sweep", lambda *_: False)
    np.testing.assert_allclose(geometry.quantum_geometric_tensor(circuit)(params), swept, atol=1e-12)


@pytest.mark.parametrize(("noise", "depths"), [(0, (20, 30)), (0.1, (4, 6))])
def test_fisher_matrices_of_deep_narrow_circuits_are_programs_of_one_layer(noise, depths):
    def length(depth):
        w, circuit = qj.Parameter("w", (depth, 3)), qj.Circuit(3)
        for layer in range(depth):
            for q in range(3):
                circuit.ry(w[layer, q], q)
            circuit.cx(0, 1).cx(1, 2)
            if noise:
                circuit.depolarizing(noise, range(3))
        return n_equations(jax.make_jaxpr(geometry.quantum_fisher(circuit))(weights_of(circuit, 0)).jaxpr)

    assert length(depths[0]) == length(depths[1])


def test_more_parameters_than_amplitudes_are_differentiated_backwards(monkeypatch):
    monkeypatch.setattr(tangents, "MOST_STEPS", 0)
    circuit = layered(3, 4, data=False)
    params = weights_of(circuit, 0)
    found = geometry.quantum_fisher(circuit)
    assert sum(value.size for value in params.values()) > 2 * 8
    matrix = found(params)
    monkeypatch.undo()
    np.testing.assert_allclose(matrix, geometry.quantum_fisher(circuit)(params), atol=1e-12)
    assert numerical_rank(np.linalg.eigvalsh(matrix), 1e-10) <= 2 * (8 - 1)


def test_the_hessian_of_the_infidelity_at_its_zero_is_half_of_it():
    circuit = haug()
    at = jnp.array(ANGLES)
    state = qj.statevector(circuit)
    there = state({"a": at})
    infidelity = lambda a: 1 - jnp.abs(jnp.vdot(there, state({"a": a}))) ** 2  # noqa: E731
    half = np.asarray(geometry.quantum_fisher(circuit)({"a": at})) / 2
    np.testing.assert_allclose(qj.hessian(infidelity, at), half, atol=1e-12)


def test_a_global_phase_makes_no_difference():
    a = qj.Parameter("a", (2,))
    shifted = qj.Circuit(3).h([0, 1, 2]).rz(a[0], 0).rzz(a[1], 0, 2).ry(a[0], 1)
    phased = qj.Circuit(3).h([0, 1, 2]).p(a[0], 0).rzz(a[1], 0, 2).ry(a[0], 1)
    at = {"a": jnp.array([0.7, -1.1])}
    found = [geometry.quantum_geometric_tensor(circuit)(at) for circuit in (shifted, phased)]
    np.testing.assert_allclose(found[0], found[1], atol=1e-14)


def test_what_turns_the_phase_alone_has_no_metric_in_single_precision():
    """By hand: diagonal gates on basis states. Their rows were a difference of equal numbers, above or below zero."""
    a = qj.Parameter("a", (5,))
    circuit = qj.Circuit(4).rz(a[0], 0).h(3).cx(3, 2).rz(a[1], 1).ry(a[2], 2).rzz(a[3], 0, 1).p(a[4], 0)
    angles = np.random.default_rng(0).normal(size=(20, 5)).astype("f4")
    for found in (geometry.quantum_fisher(circuit), geometry.quantum_geometric_tensor(circuit)):
        matrices = np.asarray(found({"a": angles}))
        diagonals = np.diagonal(matrices, axis1=1, axis2=2).real
        assert (diagonals >= 0).all()
        assert diagonals[:, [0, 1, 3, 4]].max() < 1e-9 < diagonals[:, 2].min()
        assert np.abs(matrices[:, [0, 1, 3, 4]]).max() < 1e-6


def test_qiskit_finds_the_same():
    from qiskit.primitives import StatevectorEstimator
    from qiskit_machine_learning.gradients import LinCombQGT
    from qjaxsim_qiskit import to_qiskit

    circuit = haug()
    exported = to_qiskit(circuit)
    order = [int(str(parameter).split("[")[1].rstrip("]")) for parameter in exported.parameters]
    result = LinCombQGT(StatevectorEstimator()).run([exported], [[ANGLES[place] for place in order]]).result()
    expected = np.empty((12, 12), complex)
    expected[np.ix_(order, order)] = result.qgts[0]
    found = np.asarray(geometry.quantum_geometric_tensor(circuit)({"a": jnp.array(ANGLES)}))
    np.testing.assert_allclose(found.real, expected.real, atol=1e-10)
    np.testing.assert_allclose(abs(found.imag), abs(expected.imag), atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_batch_is_one_by_one(dtype):
    circuit = layered(3, 2)
    rng = np.random.default_rng(0)
    (data,) = [name for name in circuit.parameters if name in ("x", "inputs")] or [sorted(circuit.parameters)[-1]]
    weights = [name for name in circuit.parameters if name != data]
    params = weights_of(circuit, 0, dtype)
    params[data] = jnp.asarray(rng.normal(size=(2, 3, *circuit.parameters[data])), dtype)
    tensor = geometry.quantum_geometric_tensor(circuit, weights)
    found = tensor(params)
    size = sum(params[name].size for name in weights)
    assert found.shape == (2, 3, size, size)
    assert found.dtype == np.result_type(dtype, np.complex64)
    for index in np.ndindex(2, 3):
        one = tensor({**params, data: params[data][index]})
        np.testing.assert_allclose(found[index], one, atol=1e-5 if dtype == np.float32 else 1e-13)
    mean = geometry.quantum_fisher_operator(circuit, params, weights).dense()
    np.testing.assert_allclose(mean, 4 * found.real.mean(axis=(0, 1)), atol=1e-4 if dtype == np.float32 else 1e-12)


def test_works_under_the_transformations_of_jax():
    fisher = geometry.quantum_fisher(haug())
    at = jnp.array(ANGLES)
    outer = jax.jit(jax.vmap(lambda a: fisher({"a": a})))(jnp.stack([at, at + 1]))
    np.testing.assert_allclose(outer[1], fisher({"a": at + 1}), atol=1e-12)
    slope = jax.grad(lambda a: jnp.trace(fisher({"a": a})))(at)
    step = 1e-6
    moved = [float(jnp.trace(fisher({"a": at.at[5].add(sign * step)}))) for sign in (1, -1)]
    np.testing.assert_allclose(slope[5], (moved[0] - moved[1]) / (2 * step), atol=1e-7)


def test_blocks_are_those_of_the_whole_and_zero_elsewhere():
    a, b = qj.Parameter("a", (2, 3)), qj.Parameter("b")
    circuit = qj.Circuit(3).ry(b, 0).cx(0, 1)
    for layer, q in itertools.product(range(2), range(3)):
        circuit.ry(a[layer, q], q)
        circuit.cx(q, (q + 1) % 3)
    at = weights_of(circuit, 1)
    whole = np.asarray(geometry.quantum_geometric_tensor(circuit)(at))
    kinds = {
        "diagonal": [[place] for place in range(7)],
        "leaves": [range(6), [6]],
        "rows": [range(3), range(3, 6), [6]],
    }
    shared = {"first": [0, 1, 6], "second": [1, 2], "third": [6]}  # groups that overlap
    for blocks, places in [*kinds.items(), (shared, list(shared.values()))]:
        expected = np.zeros_like(whole)
        for own in places:
            expected[np.ix_(own, own)] = whole[np.ix_(own, own)]
        found = geometry.quantum_geometric_tensor(circuit, blocks=blocks)(at)
        np.testing.assert_allclose(found, expected, atol=1e-14)
        np.testing.assert_allclose(geometry.quantum_fisher(circuit, blocks=blocks)(at), 4 * expected.real, atol=1e-13)


def test_what_a_circuit_does_not_use_has_zeros():
    a = qj.Parameter("a", (3,))
    circuit = qj.Circuit(3).h([0, 1, 2]).rz(a[1], 0).ry(2 * a[1] + 1, 2)
    found = np.asarray(geometry.quantum_geometric_tensor(circuit)({"a": jnp.array([1.0, 2.0, 3.0])}))
    expected = np.zeros((3, 3))
    # Generators Z / 2 on |+> and Y on the turned one: variances 1/4 and 1, no covariance.
    expected[1, 1] = 0.25 + 1
    np.testing.assert_allclose(found, expected, atol=1e-14)


def test_initial_states_and_projections_are_divided_by_their_norm():
    s, a = qj.Parameter("s", (8,)), qj.Parameter("a")
    circuit = qj.Circuit(3).initialize(s).rx(a, 0).cx(0, 2).project(2, 0)
    rng = np.random.default_rng(3)
    at = {"s": rng.normal(size=8), "a": np.array(0.4)}
    found = np.asarray(geometry.quantum_geometric_tensor(circuit)(at))
    expected = dense_tensor(circuit, at, ["a", "s"])
    np.testing.assert_allclose(found, expected, atol=1e-8)
    products = geometry.quantum_fisher_operator(circuit, at)
    np.testing.assert_allclose(products.dense(), 4 * expected.real, atol=1e-8)


def test_a_product_of_the_operator_needs_no_matrix():
    circuit, at = haug(), {"a": jnp.array(ANGLES)}
    operator = geometry.quantum_fisher_operator(circuit, at)
    matrix = np.asarray(geometry.quantum_fisher(circuit)(at))
    np.testing.assert_allclose(operator.dense(), matrix, atol=1e-12)
    pairs = top_eigenpairs(operator, 3, key=jax.random.key(0))
    np.testing.assert_allclose(pairs.values, np.linalg.eigvalsh(matrix)[::-1][:3], rtol=1e-6)


# --- mixed states ----------------------------------------------------------------------------------------------------


def logarithmic(rho, slopes):
    """F_ij = tr(rho (L_i L_j + L_j L_i)) / 2 with rho L + L rho = 2 d rho, solved as a Sylvester equation."""
    each = [scipy.linalg.solve_sylvester(rho, rho, 2 * slopes[..., v]) for v in range(slopes.shape[-1])]
    return np.array([[np.trace(rho @ (a @ b + b @ a)).real / 2 for b in each] for a in each])


@pytest.mark.parametrize("seed", mostly_slow(range(8), keep=1))
def test_mixed_states_against_logarithmic_derivatives(seed):
    circuit, rng = random_noisy(seed, n_qubits=3)
    circuit.depolarizing(0.1, [0, 1, 2])  # of full rank
    params = random_values(rng, circuit)
    rho, slopes = differences(lambda p: reference.density_matrix(circuit, p), params, params)
    found = np.asarray(geometry.quantum_fisher(circuit)(params))
    np.testing.assert_allclose(found, logarithmic(rho, slopes), atol=1e-6 * max(1, abs(found).max()))


def test_derivatives_hold_where_eigenvalues_meet():
    a = qj.Parameter("a", (2,))
    circuit = qj.Circuit(2).ry(a[0], 0).cx(0, 1).depolarizing(0.2, [0, 1]).crx(a[1], 0, 1)  # 0.09 twice for every a
    fisher = geometry.quantum_fisher(circuit)
    metric, at = lambda a: fisher({"a": a}), jnp.array([0.4, 0.6])

    def expected(a):
        return logarithmic(*differences(lambda p: reference.density_matrix(circuit, p), {"a": a}, ["a"], 1e-4))

    _, slopes = differences(lambda p: expected(p["a"]), {"a": at}, ["a"], 1e-3)
    np.testing.assert_allclose(jax.jacrev(metric)(at), slopes, atol=1e-5)
    first = jax.grad(lambda a: metric(a).sum())
    _, second = differences(lambda p: first(p["a"]), {"a": at}, ["a"], 1e-3)
    np.testing.assert_allclose(jax.jacfwd(first)(at), second, atol=1e-5)


def test_without_noise_a_density_matrix_has_the_metric_of_its_state():
    noisy = haug()
    noisy.depolarizing(0.0, 0)
    at = {"a": jnp.array(ANGLES)}
    expected = geometry.quantum_fisher(haug())(at)
    np.testing.assert_allclose(geometry.quantum_fisher(noisy)(at), expected, atol=1e-9)


def test_strengths_of_channels_are_parameters():
    a, p = qj.Parameter("a"), qj.Parameter("p")
    circuit = qj.Circuit(3).h(0).cx(0, 1).cx(1, 2).rz(a, 1).phase_flip(p, 2)  # a GHZ state's coherence
    found = geometry.quantum_fisher(circuit)({"a": jnp.full(2, 0.3), "p": jnp.array([0.25, 0.1])})
    expected = [np.diag([(1 - 2 * p) ** 2, 1 / (p * (1 - p))]) for p in (0.25, 0.1)]
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_cutoff_leaves_pairs_of_small_eigenvalues_out():
    p = qj.Parameter("p")
    circuit = qj.Circuit(1).bit_flip(p, 0)  # eigenvalues p and 1 - p
    at = {"p": jnp.asarray(0.01)}
    np.testing.assert_allclose(geometry.quantum_fisher(circuit)(at), [[1 / (0.01 * 0.99)]], rtol=1e-10)
    np.testing.assert_allclose(geometry.quantum_fisher(circuit, cutoff=0.03)(at), [[1 / 0.99]], rtol=1e-10)


def test_a_measured_circuit_is_a_mixed_state():
    a = qj.Parameter("a")
    circuit = qj.Circuit(1).ry(a, 0).measure(0, 0)  # probabilities cos**2 and sin**2 of a / 2: 1
    np.testing.assert_allclose(geometry.quantum_fisher(circuit)({"a": 0.7}), [[1.0]], atol=1e-10)


# --- refusals --------------------------------------------------------------------------------------------------------


def test_refusals():
    a = qj.Parameter("angles", (2,))
    circuit = qj.Circuit(2).ry(a[0], 0).ry(a[1], 1)
    noisy = circuit.copy().depolarizing(0.1, 0)
    measured = circuit.copy().measure(0, 0)
    with pytest.raises(ValueError, match=r"`wrt` must name .* but holds 'angle' \(did you mean 'angles'\?\)"):
        geometry.quantum_fisher(circuit, "angle")
    with pytest.raises(ValueError, match="`wrt` must name one parameter or more, none twice"):
        geometry.quantum_fisher(circuit, [])
    with pytest.raises(TypeError, match="`wrt` must be names of parameters, or None for all, but is 3"):
        geometry.quantum_fisher(circuit, 3)
    with pytest.raises(TypeError, match="but is {'angles': .*}; values of parameters go to the function that comes"):
        geometry.quantum_fisher(circuit, {"angles": [0.1, 0.2]})
    with pytest.raises(ValueError, match="`circuit` must have a parameter"):
        geometry.quantum_fisher(qj.Circuit(1).h(0))
    with pytest.raises(TypeError, match="`circuit` must be"):
        geometry.quantum_geometric_tensor("circuit")
    with pytest.raises(ValueError, match="A circuit with channels has no quantum geometric tensor"):
        geometry.quantum_geometric_tensor(noisy)
    with pytest.raises(ValueError, match="A circuit with measurements or resets on its way has no quantum geometric"):
        geometry.quantum_geometric_tensor(measured)
    with pytest.raises(ValueError, match="`circuit` must prepare a pure state"):
        geometry.quantum_fisher_operator(noisy, {"angles": np.zeros(2)})
    with pytest.raises(ValueError, match=r"without batch axes, but 'angles' has \(5,\)"):
        geometry.quantum_fisher_operator(circuit, {"angles": np.zeros((5, 2))})
    with pytest.raises(ValueError, match="`cutoff` must be a finite number from 0 on, or None, but is -1"):
        geometry.quantum_fisher(noisy, cutoff=-1)
    with pytest.raises(ValueError, match="lacks"):
        geometry.quantum_fisher(circuit)({})
    with pytest.raises(ValueError, match=r"`blocks` must be 'diagonal', 'leaves', .* 'row' \(did you mean 'rows'\?\)"):
        geometry.quantum_fisher(circuit, blocks="row")
    with pytest.raises(TypeError, match="`blocks` must be a name of a kind, .* but is 3"):
        geometry.quantum_fisher(circuit, blocks=3)
    with pytest.raises(TypeError, match="`options`"):
        geometry.quantum_fisher(circuit, options={"scan": True})


def test_states_that_do_not_fit_are_refused(monkeypatch):
    monkeypatch.setattr("qjaxsim.common.memory.available_bytes", lambda: 2**16)
    circuit = layered(10, 3, data=False)
    with pytest.raises(MemoryError, match=r"a state of 10 qubits in 90 parameters .* use `quantum_fisher_operator`"):
        geometry.quantum_fisher(circuit)(weights_of(circuit, 0))
