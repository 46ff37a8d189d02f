"""Disentangling circuits: layouts and counts of the papers, the sweep against dense references, the bound."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qjaxsim.models.disentangler.circuit import Brickwall, apply_circuit, random_gates
from qjaxsim.models.disentangler.config import DisentanglerConfig, plan_disentangler
from qjaxsim.models.disentangler.layer import disentangle
from qjaxsim.models.disentangler.mpo import Geometry, bond_entropies, qubit_geometry, tt_svd
from qjaxsim.models.disentangler.sweep import operand, polar_factor, sweep, truncated
from tests.cases import mostly_slow

WALLS = [(4, 2, 3), (5, 2, 4), (5, 3, 2), (7, 4, 2), (5, 4, 3), (3, 3, 5), (3, 7, 2), (4, 1, 3), (1, 2, 2), (0, 2, 2)]


def gaussian(d_out, d_in, seed=0):
    return np.random.default_rng(seed).standard_normal((d_out, d_in))


def config(chi, **settings):
    return DisentanglerConfig(chi=chi, **({"dtype": "float64", "layers": 2} | settings))


def relative(matrix, other):
    return np.linalg.norm(np.asarray(other) - matrix) / np.linalg.norm(matrix)


def dense_circuit(wall, gates):
    """Gate by gate with Kronecker products."""
    matrix = np.eye(2**wall.n_qubits)
    for parity, layer, j, qubits in wall.placed():
        gate = np.asarray(gates[parity][layer, j])
        after = wall.n_qubits - qubits[-1] - 1
        matrix = np.kron(np.kron(np.eye(2 ** qubits[0]), gate), np.eye(2**after)) @ matrix
    return matrix


# --- layouts and counts


def test_published_angle_counts():
    def angles(k, layers):
        return sum(Brickwall(n, k, layers).n_angles() for n in (10, 8))

    assert [angles(2, layers) for layers in (1, 2, 4, 8, 16, 35)] == [54, 96, 192, 384, 768, 1686]
    assert [sum(Brickwall(n, 2, layers).n_gates for n in (10, 8)) for layers in (1, 2, 4, 8, 16, 35)] == [
        *(9, 16, 32, 64, 128, 281)
    ]
    assert angles(10, 1) == angles(12, 7) == 556416 == math.comb(1024, 2) + math.comb(256, 2)
    assert Brickwall(4, 2, 1).n_angles(complex_gates=True) == 2 * 15


@pytest.mark.parametrize("wall", mostly_slow(map(list, WALLS), keep=[1, 2, 6, 8, 9]))
def test_gates_are_disjoint_and_reach_every_qubit(wall):
    wall = Brickwall(*wall)
    touched, by_layer = set(), {}
    for parity, layer, _, qubits in wall.placed():
        by_layer.setdefault((layer, parity), []).extend(qubits)
        touched |= set(qubits)
    assert len(wall.placed()) == wall.n_gates
    assert len(by_layer) == wall.n_layers
    for qubits in by_layer.values():
        assert sorted(set(qubits)) == qubits
        assert not qubits or 0 <= qubits[0] <= qubits[-1] < wall.n_qubits
    if wall.n_layers != 1:
        assert touched == set(range(wall.n_qubits))


def test_wide_gates_and_gates_of_one_qubit_collapse_to_one_layer():
    assert Brickwall(3, 3, 5) == Brickwall(3, 7, 2) == Brickwall(3, 3, 1)
    assert Brickwall(4, 1, 3) == Brickwall(4, 1, 1)
    assert Brickwall(0, 2, 2).n_gates == 0


# --- circuits against Kronecker products


@pytest.mark.parametrize("wall", mostly_slow(map(list, WALLS), keep=[1, 2, 6, 8, 9]))
def test_circuits_against_kronecker_products(wall):
    wall, rng = Brickwall(*wall), np.random.default_rng(2)
    for dtype in (np.float64, np.complex128)[: 2 if wall.n_qubits == 5 else 1]:
        gates = random_gates(wall, np.dtype(dtype), rng)
        dense = dense_circuit(wall, gates)
        np.testing.assert_allclose(dense @ dense.conj().T, np.eye(len(dense)), atol=1e-13)
        x = jnp.asarray(rng.standard_normal((2**wall.n_qubits, 3)).astype(dtype))
        forth = apply_circuit(wall, gates, x)
        np.testing.assert_allclose(forth, dense @ np.asarray(x), atol=1e-13)
        np.testing.assert_allclose(apply_circuit(wall, gates, forth, inverse=True), x, atol=1e-13)


def test_random_gates_are_rotations():
    even, _ = random_gates(Brickwall(6, 2, 1), np.dtype(float), np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.det(even), 1, atol=1e-12)


# --- the sweep


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_polar_factor_maximises_the_overlap(dtype):
    rng = np.random.default_rng(4)
    for _ in range(6):  # both signs of the determinant occur
        environment = rng.standard_normal((4, 4)).astype(dtype)
        if dtype == np.complex128:
            environment += 1j * rng.standard_normal((4, 4))
        best = np.asarray(polar_factor(jnp.asarray(environment)))
        np.testing.assert_allclose(best @ best.conj().T, np.eye(4), atol=1e-13)
        if dtype == np.float64:
            assert np.linalg.det(best) > 0
        wall = Brickwall(2, 2, 1)
        others = [np.asarray(random_gates(wall, np.dtype(dtype), rng)[0][0, 0]) for _ in range(200)]
        nearby = [best @ (np.linalg.qr(np.eye(4) + 0.01 * rng.standard_normal((4, 4)))[0]) for _ in range(50)]
        nearby = [gate * np.sign(np.diag(best.conj().T @ gate).real) for gate in nearby]
        value = np.vdot(best, environment).real
        assert all(np.vdot(gate, environment).real <= value + 1e-9 for gate in others + nearby)


@pytest.mark.parametrize(
    ("n_out", "n_in", "k", "layers"), mostly_slow([(4, 3, 2, 3), (3, 3, 3, 1), (3, 5, 2, 4), (5, 4, 3, 2)], keep=2)
)
def test_sweep_against_gate_by_gate_reference(n_out, n_in, k, layers):
    """Each gate in turn from the full contraction: environment as the derivative of the overlap."""
    rng, dtype = np.random.default_rng(7), np.complex128 if n_out == 4 else np.float64
    walls = Brickwall(n_out, k, layers), Brickwall(n_in, k, layers)
    gates = tuple(random_gates(wall, np.dtype(dtype), rng) for wall in walls)
    weight, target = (rng.standard_normal((2**n_out, 2**n_in)).astype(dtype) for _ in range(2))
    swept = sweep(*walls, *gates, jnp.asarray(weight), jnp.asarray(target))

    mine = [[np.array(array) for array in pair] for pair in gates]
    for side, wall in enumerate(walls):
        for parity, layer, j, _ in wall.placed():
            size = 2**wall.gate_qubits
            environment = np.zeros((size, size), dtype)
            for a in range(size):
                for b in range(size):
                    mine[side][parity][layer, j] = 0
                    mine[side][parity][layer, j, a, b] = 1
                    u, v = (dense_circuit(w, g) for w, g in zip(walls, mine, strict=True))
                    environment[a, b] = np.vdot(u @ target @ v.conj().T, weight)
                    if side == 1:
                        environment[a, b] = environment[a, b].conj()
            mine[side][parity][layer, j] = polar_factor(jnp.asarray(environment))
    for ours, theirs in zip(jax.tree.leaves(swept), jax.tree.leaves(mine), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-10)


def test_operand_against_dense_circuits():
    walls, rng = (Brickwall(4, 2, 3), Brickwall(3, 2, 3)), np.random.default_rng(1)
    u, v = (random_gates(wall, np.dtype(complex), rng) for wall in walls)
    weight = gaussian(16, 8).astype(complex)
    expected = dense_circuit(walls[0], u).conj().T @ weight @ dense_circuit(walls[1], v)
    np.testing.assert_allclose(operand(*walls, u, v, jnp.asarray(weight)), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("geometry", "dtype"),
    mostly_slow(
        [
            (qubit_geometry(32, 8), np.complex128),
            (qubit_geometry(4, 32), np.float64),
            (Geometry((4, 8), (2, 4)), np.float64),
        ],
        keep=[0, 2],
    ),
)
def test_truncation_in_the_loop_is_tt_svd(geometry, dtype):
    matrix = gaussian(*geometry.shape).astype(dtype)
    if dtype is complex:
        matrix += 1j * gaussian(*geometry.shape, seed=1)
    for chi in (1, 5, 100):
        expected = tt_svd(matrix, geometry, chi).to_dense()
        np.testing.assert_allclose(truncated(jnp.asarray(matrix), geometry, chi), expected, atol=1e-11)


# --- what disentangle promises


@pytest.mark.parametrize("shape", [(16, 8), (12, 5)])
def test_empty_circuits_are_the_plain_mpo(shape):
    weight = gaussian(*shape)
    plain = tt_svd(weight, qubit_geometry(*shape), 3)
    for settings in ({"layers": 0}, {"layers": 3, "sweeps": 0}):
        result = disentangle(weight, config(3, **settings))
        np.testing.assert_allclose(result.layer.to_dense(), plain.to_dense()[: shape[0], : shape[1]], atol=1e-13)
        np.testing.assert_allclose(result.entropies_before, result.entropies_after, atol=1e-10)
    assert result.layer.n_circuit == plan_disentangler(*shape, config(3, layers=3)).n_circuit > 0


@pytest.mark.parametrize("target", ["adaptive", "fixed"])
@pytest.mark.parametrize(
    ("shape", "settings"), mostly_slow([((12, 7), {"gate_qubits": 3}), ((16, 16), {}), ((9, 16), {"layers": 3})])
)
def test_layer_bound_and_errors_agree(shape, settings, target):
    weight = gaussian(*shape)
    result = disentangle(weight, config(3, target=target, sweeps=6, **settings))
    assert result.merit <= result.bound + 1e-12
    # The error before cropping is that of the truncation of U^T W V; cropping can only lower it.
    layer = result.layer
    u, v = (dense_circuit(w, g) for w, g in ((layer.wall_u, layer.u), (layer.wall_v, layer.v)))
    padded = np.pad(weight, [(0, full - size) for full, size in zip(layer.geometry.shape, shape, strict=True)])
    rotated = u.T @ padded @ v
    np.testing.assert_allclose(np.linalg.norm(rotated), np.linalg.norm(weight), rtol=1e-12)
    cut = np.asarray(tt_svd(rotated, layer.geometry, 3).to_dense())
    rebuilt = u @ cut @ v.T
    np.testing.assert_allclose(result.error_padded, relative(rotated, cut), rtol=1e-9)
    np.testing.assert_allclose(result.error_padded, relative(padded, rebuilt), rtol=1e-9)
    np.testing.assert_allclose(result.error, relative(weight, rebuilt[: shape[0], : shape[1]]), rtol=1e-9)
    assert result.error <= result.error_padded + 1e-12
    np.testing.assert_allclose(layer.to_dense(), rebuilt[: shape[0], : shape[1]], atol=1e-11)
    np.testing.assert_allclose(result.entropies_after, bond_entropies(rotated, layer.geometry), atol=1e-8)
    np.testing.assert_allclose(min(result.history), np.sqrt(1 - result.merit**2), rtol=1e-6)
    assert result.history[-1] < result.history[0]
    if target == "fixed":  # each gate is set to its optimum: the overlap never falls
        assert np.diff(result.history).max() < 1e-12


@pytest.mark.parametrize("rows", [7, 8])
def test_apply_is_the_dense_layer_for_few_and_for_many_rows(rows):
    layer = disentangle(gaussian(12, 7), config(2, sweeps=3)).layer
    x = gaussian(rows, 7, seed=5)
    np.testing.assert_allclose(layer.apply(jnp.asarray(x)), x @ np.asarray(layer.to_dense()).T, atol=1e-12)
    assert layer.apply(jnp.asarray(x).reshape(rows, 1, 7)).shape == (rows, 1, 12)
    assert layer.apply(jnp.asarray(x[0])).shape == (12,)
    assert layer.apply(jnp.asarray(x, jnp.float32)).dtype == jnp.float32
    whole = np.rint(3 * x).astype(int)
    np.testing.assert_allclose(layer.apply(jnp.asarray(whole)), whole @ np.asarray(layer.to_dense()).T, atol=1e-12)
    with pytest.raises(ValueError, match=r"`x` must have shape \(\.\.\., 7\), but has shape \(7, 12\)"):
        layer.apply(jnp.ones((7, 12)))


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_merit_is_that_of_the_weight_at_any_scale(scale):
    weight, settings = gaussian(4, 4).astype(np.float32), {"sweeps": 2, "dtype": "float32"}
    found, plain = (disentangle(each, config(2, **settings)) for each in (weight * np.float32(scale), weight))
    np.testing.assert_allclose(found.merit, plain.merit, rtol=1e-5)
    np.testing.assert_allclose(found.merit, np.sqrt(1 - found.error_padded**2), rtol=1e-5)
