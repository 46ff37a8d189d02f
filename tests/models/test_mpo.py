"""MPOs against tensorly, dense linear algebra and counts from the papers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qjaxsim.models.disentangler.low_rank import svd_layer, svd_rank_at
from qjaxsim.models.disentangler.mpo import Geometry, balanced_geometry, bond_entropies, qubit_geometry, tt_svd
from tests.cases import mostly_slow


def random_matrix(d_out, d_in, dtype=np.float64, seed=3):
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((d_out, d_in))
    if np.issubdtype(dtype, np.complexfloating):
        matrix = matrix + 1j * rng.standard_normal((d_out, d_in))
    return matrix.astype(dtype)


def relative(matrix, other):
    return np.linalg.norm(np.asarray(other) - matrix) / np.linalg.norm(matrix)


def test_published_parameter_counts():
    # arXiv:2410.17397v2, table I: a (576, 192) matrix on 10 + 8 qubits.
    geometry = qubit_geometry(576, 192)
    assert geometry.shape == (1024, 256)
    assert geometry.out == (2,) * 10
    assert geometry.in_ == (2,) * 8 + (1, 1)
    assert [geometry.n_params(chi) for chi in (1, 2, 5, 10, 50, 256)] == [36, 132, 696, 2356, 36948, 401956]


@pytest.mark.parametrize("chi", [1, 7, 36])
def test_three_sites_of_compactifai(chi):
    geometry = balanced_geometry(216, 216, 3)  # arXiv:2401.14109, its figure
    assert geometry == Geometry((6, 6, 6), (6, 6, 6))
    assert geometry.n_params(chi) == 36 * chi**2 + 72 * chi


def test_stored_numbers_are_the_counts():
    geometry = qubit_geometry(24, 10)
    for chi in (1, 3, 100):
        mpo = tt_svd(random_matrix(24, 10), geometry, chi)
        assert mpo.n_params == sum(core.size for core in mpo.cores) == geometry.n_params(chi)
        assert mpo.bonds == geometry.bonds(chi)
    assert tt_svd(random_matrix(4, 4, np.complex128), qubit_geometry(4, 4), 2).n_params == 2 * 2 * 4 * 2


@pytest.mark.parametrize(
    ("geometry", "chi"),
    [
        (qubit_geometry(16, 16), 3),
        (qubit_geometry(32, 8), 5),
        (qubit_geometry(4, 32), 2),
        (balanced_geometry(30, 12, 3), 4),
        (Geometry((3, 1, 5), (2, 4, 1)), 2),
    ],
)
def test_equals_tensorly(geometry, chi):
    tensorly = pytest.importorskip("tensorly", reason="The extra `test` brings tensorly.")
    from tensorly.decomposition import tensor_train_matrix

    matrix = random_matrix(*geometry.shape)
    mpo = tt_svd(matrix, geometry, chi)
    factors = tensor_train_matrix(
        tensorly.tensor(matrix.reshape(geometry.out + geometry.in_)), rank=[1, *geometry.bonds(chi), 1]
    )
    theirs = tensorly.tt_matrix.tt_matrix_to_tensor(factors).reshape(geometry.shape)
    np.testing.assert_allclose(mpo.to_dense(), theirs, atol=1e-12)
    assert [core.shape for core in mpo.cores] == [factor.shape for factor in factors]


@pytest.mark.parametrize("dtype", mostly_slow([np.float32, np.float64, np.complex64, np.complex128], keep=[0, 3]))
@pytest.mark.parametrize("shape", [(24, 10), (5, 40), (1, 13), (9, 1), (1, 1)])
def test_bonds_above_full_rank_give_the_matrix(shape, dtype):
    matrix = random_matrix(*shape, dtype)
    geometry = qubit_geometry(*shape)
    mpo = tt_svd(matrix, geometry, 10_000)
    dense = np.asarray(mpo.to_dense())
    assert dense.dtype == dtype
    np.testing.assert_allclose(dense[: shape[0], : shape[1]], matrix, atol=100 * np.finfo(dtype).eps)
    assert np.abs(dense[shape[0] :]).sum() + np.abs(dense[:, shape[1] :]).sum() < 1e3 * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [np.float64, np.complex64])
@pytest.mark.parametrize("batch", [(), (3,), (2, 5)])
def test_apply_is_the_dense_product(batch, dtype):
    for geometry in (qubit_geometry(16, 4), balanced_geometry(6, 30, 2)):
        mpo = tt_svd(random_matrix(*geometry.shape, dtype), geometry, 3)
        x = np.random.default_rng(1).standard_normal((*batch, geometry.shape[1])).astype(dtype)
        y = jax.jit(lambda mpo, x: mpo.apply(x))(mpo, jnp.asarray(x))
        assert y.shape == (*batch, geometry.shape[0])
        np.testing.assert_allclose(y, x @ np.asarray(mpo.to_dense()).T, rtol=0, atol=500 * np.finfo(dtype).eps)


def test_error_is_that_of_the_discarded_values_at_two_sites():
    # With two sites TT-SVD is the SVD of the reshuffled matrix (Eckart and Young).
    matrix, geometry = random_matrix(12, 20), Geometry((3, 4), (5, 4))
    values = np.linalg.svd(matrix.reshape(3, 4, 5, 4).transpose(0, 2, 1, 3).reshape(15, 16), compute_uv=False)
    for chi in (1, 4, 11):
        missing = np.linalg.norm(matrix - np.asarray(tt_svd(matrix, geometry, chi).to_dense()))
        np.testing.assert_allclose(missing, np.linalg.norm(values[chi:]), rtol=1e-12)


def test_matrices_of_low_bond_are_exact():
    rng = np.random.default_rng(5)
    product = np.ones((1, 1))
    for _ in range(4):
        product = np.kron(product, rng.standard_normal((2, 2)))
    assert relative(product, tt_svd(product, qubit_geometry(16, 16), 1).to_dense()) < 1e-14
    both = product + np.eye(16)
    assert relative(both, tt_svd(both, qubit_geometry(16, 16), 2).to_dense()) < 1e-14
    assert relative(both, tt_svd(both, qubit_geometry(16, 16), 1).to_dense()) > 1e-2


def test_entropies_against_density_matrices():
    matrix, geometry = random_matrix(8, 4), qubit_geometry(8, 4)
    state = matrix.reshape(2, 2, 2, 2, 2).transpose(0, 3, 1, 4, 2).reshape(4, 4, 2) / np.linalg.norm(matrix)
    expected = []
    for reduced in (np.einsum("abc,dbc->ad", state, state), np.einsum("abc,abd->cd", state, state)):
        weights = np.linalg.eigvalsh(reduced)
        expected.append(-np.sum(weights * np.log(weights)))
    np.testing.assert_allclose(bond_entropies(matrix, geometry), expected, atol=1e-12)
    # A product has none; the identity on n sites is n maximally entangled... of product form too, a swap is not.
    np.testing.assert_allclose(bond_entropies(np.eye(8), qubit_geometry(8, 8)), 0, atol=1e-12)
    swap = np.eye(4)[[0, 2, 1, 3]]
    np.testing.assert_allclose(bond_entropies(swap, qubit_geometry(4, 4)), np.log(4), atol=1e-12)
    assert bond_entropies(np.ones((1, 1)), qubit_geometry(1, 1)).shape == (0,)


def test_zero_matrix_and_rank_deficient_matrix():
    assert np.abs(tt_svd(np.zeros((6, 6)), qubit_geometry(6, 6), 3).to_dense()).max() == 0
    matrix = np.outer(np.arange(6.0), np.ones(5))
    assert relative(np.pad(matrix, ((0, 2), (0, 3))), tt_svd(matrix, qubit_geometry(6, 5), 8).to_dense()) < 1e-14


def test_gradients_pass_through_the_pytree():
    mpo = tt_svd(random_matrix(8, 8), qubit_geometry(8, 8), 2)
    gradient = jax.jit(jax.grad(lambda mpo: jnp.sum(mpo.to_dense() ** 2)))(mpo)
    # Homogeneity of degree 2 in each core: <core, gradient> = 2 ||M||**2.
    for core, slope in zip(mpo.cores, gradient.cores, strict=True):
        np.testing.assert_allclose(jnp.sum(core * slope), 2 * jnp.sum(mpo.to_dense() ** 2), rtol=1e-12)


def test_low_rank_baseline():
    matrix = random_matrix(9, 6)
    values = np.linalg.svd(matrix, compute_uv=False)
    for rank in (0, 2, 6):
        layer = svd_layer(matrix, rank)
        assert layer.n_params == rank * (9 + 6)
        np.testing.assert_allclose(np.linalg.norm(matrix - layer.to_dense()), np.linalg.norm(values[rank:]), atol=1e-12)
    x = random_matrix(4, 6, seed=8)
    np.testing.assert_allclose(layer.apply(jnp.asarray(x)), x @ matrix.T, atol=1e-12)
    assert [svd_rank_at(9, 6, n) for n in (-3, 14, 15, 44, 45, 1000)] == [0, 0, 1, 2, 3, 6]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Geometry((2, 2), (2,)), "same sites.*lengths 2 and 1"),
        (lambda: Geometry((), ()), "at least one"),
        (lambda: Geometry((2, 0), (2, 2)), "positive leg sizes"),
        (lambda: qubit_geometry(0, 4), "must be positive"),
        (lambda: qubit_geometry(4, 4).bonds(0), "`chi` must be a positive integer, but is 0"),
        (lambda: balanced_geometry(6, 6, 0), "`n_sites` must be positive"),
        (lambda: balanced_geometry(8, 7, 2), "`d_in` must have at least 2 prime factors.*7 has 1"),
        (lambda: tt_svd(np.ones(4), qubit_geometry(2, 2), 1), r"must be a matrix.*\(4,\)"),
        (lambda: tt_svd(np.ones((0, 4)), qubit_geometry(2, 2), 1), r"must be a matrix.*\(0, 4\)"),
        (lambda: tt_svd(np.ones((5, 4)), qubit_geometry(4, 4), 1), r"must cover the matrix \(5, 4\)"),
        (lambda: tt_svd(np.array([[1.0, np.nan]]), qubit_geometry(1, 2), 1), "nan stands at row 0, column 1"),
        (lambda: tt_svd(np.array([["a"]]), qubit_geometry(1, 1), 1), "real or complex numbers"),
        (lambda: bond_entropies(np.zeros((2, 2)), qubit_geometry(2, 2)), "must not be zero"),
        (lambda: svd_layer(np.ones((2, 2)), -1), "`rank` must not be negative"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
