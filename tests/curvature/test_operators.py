"""Operators of H, G and R: their products against the dense matrices, and that each is compiled once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.sparse import csr_array, linalg

import qjaxsim as qj
from qjaxsim.curvature import (
    curvature_operators,
    dense_spectrum,
    hessian_operator,
    linear_operator,
    matrix_operator,
    power_iteration,
    spectral_density,
    split_hessian,
    top_eigenpairs,
    trace_estimate,
)
from qjaxsim.curvature import operators as module
from qjaxsim.curvature.products import two_phases
from qjaxsim.models.losses import cross_entropy
from qjaxsim.models.patches import PatchesModel
from tests.cases import mostly_slow, network, network_problem

PARTS = ("hessian", "gauss_newton", "residual")


def plain_problem(dtype=jnp.float64):
    return network, *network_problem(dtype, n_samples=11)


MODEL = PatchesModel(4, 1, n_qubits=3, image_size=3, patch_size=2, n_classes=3, scale=5.0)


def patches_problem(dtype=jnp.float64):
    """Four circuits of three qubits that share a position bias: phases apart."""
    model = MODEL
    params = model.init(jax.random.key(1), dtype)
    params["bias"] = 0.1 * jax.random.normal(jax.random.key(2), (3, 3), dtype)
    x = jax.random.uniform(jax.random.key(3), (11, 3, 3), dtype)
    return model.outputs, params, x, jnp.arange(11) % 3


PROBLEMS = {"plain": plain_problem, "patches": patches_problem}


@pytest.fixture(scope="module", params=mostly_slow(PROBLEMS))
def problem(request):
    """Operators over samples in ragged chunks, and the matrices."""
    outputs, params, x, y = PROBLEMS[request.param]()
    operators = curvature_operators(outputs, cross_entropy, params, x, y, batch_size=4)
    return operators, split_hessian(outputs, cross_entropy, params, x, y)


# The patches model's products compile longest.
CASES = mostly_slow([(name, part) for name in PROBLEMS for part in PARTS], keep=3)


@pytest.mark.parametrize(("problem", "part"), CASES, indirect=["problem"])
def test_products_are_those_of_the_matrices(problem, part):
    operators, split = problem
    operator = getattr(operators, part)
    matrix = np.asarray(getattr(split, part))
    vectors = jax.random.normal(jax.random.key(9), (operator.size, 11))
    scale = np.abs(matrix).max()
    np.testing.assert_allclose(operator @ vectors, matrix @ vectors, atol=1e-11 * scale)
    np.testing.assert_allclose(-operator @ vectors, -matrix @ vectors, atol=1e-11 * scale)
    if part == "hessian":  # a vector alone is a program of its own
        np.testing.assert_allclose(operator @ vectors[:, 0], matrix @ vectors[:, 0], atol=1e-11 * scale)
    dense = operator.dense()
    np.testing.assert_allclose(dense, matrix, atol=1e-12 * scale)
    np.testing.assert_array_equal(dense, dense.T)


def test_all_samples_at_once_is_the_same():
    outputs, params, x, y = plain_problem()
    whole, pieces = (
        curvature_operators(outputs, cross_entropy, params, x, y, batch_size=size).residual.dense()
        for size in (None, 3)
    )
    np.testing.assert_allclose(whole, pieces, atol=1e-14)


def test_phases_give_the_outputs_of_the_model():
    outputs, params, x, _ = patches_problem()
    before, after = two_phases(outputs)
    np.testing.assert_allclose(after(before(params), params, x), outputs(params, x), atol=1e-13)
    assert jax.tree.leaves(before(params)) and not jax.tree.leaves(two_phases(network)[0](params))


def test_single_precision_stays_single():
    outputs, params, x, y = plain_problem(jnp.float32)
    double, wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), (params, x))
    exact = curvature_operators(outputs, cross_entropy, double, wide, y, batch_size=4).hessian
    low = curvature_operators(outputs, cross_entropy, params, x, y, batch_size=4).hessian
    v = jax.random.normal(jax.random.key(4), (low.size,), jnp.float32)
    assert (low @ v).dtype == jnp.float32
    reference = exact @ v.astype(jnp.float64)
    np.testing.assert_allclose(low @ v, reference, atol=2e-5 * float(jnp.abs(reference).max()))


def test_everything_runs_on_one_compiled_product():
    """Lanczos of two lengths, density and power iteration, at two points, compile one product of one vector."""
    _, params, x, y = plain_problem()
    outputs = lambda params, x: network(params, x)  # noqa: E731, a function that nothing else has compiled
    before = module.curvature_rows._cache_size()
    for factor in (1.0, 1.1):
        point = jax.tree.map(lambda leaf, by=factor: by * leaf, params)
        operator = curvature_operators(outputs, cross_entropy, point, x, y).hessian
        for steps in (5, 9):
            top_eigenpairs(operator, 2, key=jax.random.key(0), steps=steps)
        spectral_density(operator, key=jax.random.key(0), steps=4, probes=2)
        power_iteration(operator, key=jax.random.key(0), max_steps=3)
        trace_estimate(operator, key=jax.random.key(0), probes=5)
    # One program for single vectors and one for eight at once.
    assert module.curvature_rows._cache_size() - before == 2


def test_blocks_of_any_size_are_those_of_the_matrix_and_run_on_the_programs_of_the_whole():
    """Small blocks, such as biases, compile nothing of their own."""
    _, params, x, y = plain_problem()
    outputs = lambda params, x: network(params, x)  # noqa: E731, a function that nothing else has compiled
    before = module.curvature_rows._cache_size()
    operator = curvature_operators(outputs, cross_entropy, params, x, y).hessian
    flat, unravel = ravel_pytree(params)
    matrix = jax.hessian(lambda flat: cross_entropy(network(unravel(flat), x), y).mean())(flat)
    order = np.random.default_rng(0).permutation(operator.size)
    for size in (1, 3, 9):
        own = order[:size]
        block, wanted = operator.block(own), matrix[np.ix_(own, own)]
        np.testing.assert_allclose(block.dense(), wanted, atol=1e-12)
        np.testing.assert_allclose(block @ np.eye(size)[:, :1], wanted[:, :1], atol=1e-12)
    # One program for single vectors and one for eight at once.
    assert module.curvature_rows._cache_size() - before == 2


def test_matrix_free_spectrum_is_the_dense_one(problem):
    operator, split = problem[0].hessian, problem[1]
    values = np.linalg.eigvalsh(split.hessian)[::-1]
    found = top_eigenpairs(operator, 3, key=jax.random.key(0))
    np.testing.assert_allclose(found.values, values[:3], rtol=1e-8)
    lowest = top_eigenpairs(-operator, 1, key=jax.random.key(1))
    np.testing.assert_allclose(-lowest.values[0], values[-1], rtol=1e-6, atol=1e-9 * values[0])
    from_matrix = top_eigenpairs(matrix_operator(split.hessian), 3, key=jax.random.key(0))
    np.testing.assert_allclose(from_matrix.values, found.values, rtol=1e-8)


def test_products_count(problem):
    """A space grows instead of starting anew: exactly one product a step, and those of the residuals."""
    operator = problem[0].hessian
    calls = []
    watched = type(operator)(
        operator.size, operator.dtype, lambda rows: (calls.append(len(rows)), operator.rows(rows))[1]
    )
    found = top_eigenpairs(watched, 1, key=jax.random.key(0), steps=15)
    assert calls == [1] * 15 + [8] and found.matvecs == 16


def test_hvp_as_an_operator():
    f = lambda p: jnp.sum(jnp.sin(p["a"]) * p["b"][None, :])  # noqa: E731
    params = {"a": jnp.arange(6.0).reshape(2, 3), "b": jnp.array([1.0, -2.0, 0.5])}
    operator = linear_operator(lambda v: qj.hvp(f, params, v), params)
    np.testing.assert_allclose(operator.dense(), qj.hessian(f, params), atol=1e-14)


def test_scipys_solvers_take_operators():
    quadratic = np.random.default_rng(0).normal(size=(8, 8))
    quadratic = quadratic @ quadratic.T + np.eye(8)
    operator = hessian_operator(lambda w: w["a"] @ quadratic @ w["a"] / 2, {"a": jnp.ones(8)})
    values = np.linalg.eigvalsh(quadratic)
    np.testing.assert_allclose(linalg.eigsh(operator, 3)[0], values[-3:], rtol=1e-10)
    solved, status = linalg.cg(operator, np.ones(8), rtol=1e-12)
    assert status == 0
    np.testing.assert_allclose(solved, np.linalg.solve(quadratic, np.ones(8)), rtol=1e-8)


def test_errors():
    outputs, params, x, y = plain_problem()
    operator = curvature_operators(outputs, cross_entropy, params, x, y).hessian
    with pytest.raises(ValueError, match=r"`v` must have shape \(32,\) or \(32, m\), but it has \(31,\)"):
        operator @ jnp.ones(31)
    with pytest.raises(ValueError, match=r"`v` must have shape \(32,\) or \(32, m\), but it has \(31, 2\)"):
        operator @ jnp.ones((31, 2))
    with pytest.raises(ValueError, match=r"`v` must have shape \(32,\) or \(32, m\), but it has \(32, 0\)"):
        operator @ jnp.ones((32, 0))
    with pytest.raises(TypeError, match="`v` must have dtype float64, but it has float32"):
        operator @ jnp.ones(32, jnp.float32)
    key = jax.random.key(0)
    with jax.enable_x64(False):
        for call in (
            lambda: operator @ jnp.ones(32),
            operator.dense,
            lambda: top_eigenpairs(operator, 1, key=key),
            lambda: spectral_density(operator, key=key),
        ):
            with pytest.raises(TypeError, match="The operator has dtype float64, but JAX's double precision is off"):
                call()
    with pytest.raises(TypeError, match=r"`matrix` must be an array, but is a LinearOperator; give its `.dense\(\)`"):
        dense_spectrum(operator)
    with pytest.raises(TypeError, match=r"`matrix` must be an array, but is a csr_array; give its `.toarray\(\)`"):
        dense_spectrum(csr_array(np.eye(3)))
    with pytest.raises(ValueError, match="`batch_size` must be a positive integer, but is 0"):
        curvature_operators(outputs, cross_entropy, params, x, y, batch_size=0)
    with pytest.raises(ValueError, match="`x` and `y` must have one and the same number of samples"):
        curvature_operators(outputs, cross_entropy, params, x, y[:-1])
    with pytest.raises(TypeError, match="`params` must have one dtype"):
        curvature_operators(outputs, cross_entropy, params | {"head": params["head"].astype(jnp.float32)}, x, y)
    with pytest.raises(ValueError, match=r"`matrix` must have shape \(P, P\), but it has shape \(2, 3\)"):
        matrix_operator(jnp.ones((2, 3)))
    with pytest.raises(TypeError, match="`matrix` must be of a real float dtype, but it is int"):
        matrix_operator(jnp.eye(2, dtype=int))


def test_a_matrix_that_does_not_fit_is_refused(monkeypatch):
    operator = linear_operator(lambda v: v, 500)
    monkeypatch.setattr("qjaxsim.common.memory.available_bytes", lambda: 1000)
    with pytest.raises(MemoryError, match="The operator as a matrix of 500 parameters needs .* use Lanczos"):
        operator.dense()


def test_identity_of_the_flat_order():
    """Vectors are in `ravel_pytree` order: the Hessian of one leaf alone sits where that leaf does."""
    params = {"a": jnp.zeros(2), "b": jnp.zeros(3)}
    operator = linear_operator(lambda v: {"a": 0 * v["a"], "b": 2 * v["b"]}, params)
    flat, _ = ravel_pytree({"a": jnp.zeros(2), "b": 2 * jnp.ones(3)})
    np.testing.assert_array_equal(jnp.diag(operator.dense()), flat)


def test_the_operator_of_a_matrix_gives_it_without_products(monkeypatch):
    matrix = jnp.array([[2.0, 1.0, 0.0], [1.0, 0.0, 3.0], [0.0, 3.0, 1.0]])
    operator = matrix_operator(matrix)
    monkeypatch.setattr("qjaxsim.curvature.matrix.times_rows", None)
    np.testing.assert_array_equal(operator.dense(), matrix)
