"""The split H = G + R against jax.hessian, closed forms and the dual Gram matrix."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from qjaxsim.curvature import (
    gauss_newton_dual,
    gauss_newton_product,
    hessian_product,
    hvp,
    residual_product,
    split_hessian,
)
from qjaxsim.models import losses
from tests.cases import mostly_slow, network, network_problem

TOLERANCE = {jnp.float32: 1e-5, jnp.float64: 1e-13}
PRODUCTS = {"gauss_newton": gauss_newton_product, "residual": residual_product, "hessian": hessian_product}


def linear(params, x):
    return x @ params


def cross_entropy(z, y):
    return jax.nn.logsumexp(z, axis=1) - jnp.take_along_axis(z, y[:, None], axis=1)[:, 0]


def squared(z, y):
    return jnp.sum((z - y) ** 2, axis=1) / 2


@functools.cache
def reference(dtype):
    """jax.hessian of the problem's mean loss, compiled once."""
    params, x, y = network_problem(dtype)
    flat, unravel = ravel_pytree(params)
    return jax.jit(jax.hessian(lambda w: jnp.mean(cross_entropy(network(unravel(w), x), y))))(flat)


@pytest.mark.parametrize(
    ("dtype", "batch_size", "rows"),
    mostly_slow(
        [(jnp.float32, None, None), (jnp.float64, None, None), (jnp.float64, 4, 5), (jnp.float64, 100, 1)], keep=[0, 2]
    ),
)
def test_parts_sum_to_the_hessian(dtype, batch_size, rows):
    params, x, y = network_problem(dtype)
    split = split_hessian(network, cross_entropy, params, x, y, batch_size=batch_size, rows=rows)
    np.testing.assert_allclose(split.hessian, reference(dtype), atol=TOLERANCE[dtype], rtol=0)
    for part in split:
        assert part.dtype == dtype
        np.testing.assert_array_equal(part, part.T)


def test_ragged_chunks_change_neither_part():
    params, x, y = network_problem()
    whole = split_hessian(network, cross_entropy, params, x, y, batch_size=13)
    for batch_size in (1, 5):
        pieces = split_hessian(network, cross_entropy, params, x, y, batch_size=batch_size, rows=3 * batch_size)
        np.testing.assert_allclose(pieces.gauss_newton, whole.gauss_newton, atol=1e-14)
        np.testing.assert_allclose(pieces.residual, whole.residual, atol=1e-14)


@pytest.mark.parametrize("transform", [jax.vmap, lambda f: jax.jit(jax.vmap(f))], ids=["vmap", "jit of vmap"])
def test_mapped_over_parameters_or_data(transform):
    """Without a word about buffers: a warning would fail."""
    params, x, y = network_problem()
    several = lambda leaf: jnp.stack([leaf, 0.9 * leaf, 0.1 + leaf])  # noqa: E731
    of_params = lambda p: split_hessian(network, cross_entropy, p, x, y, batch_size=5)  # noqa: E731
    of_data = lambda x: split_hessian(network, cross_entropy, params, x, y, batch_size=5)  # noqa: E731
    for split, mapped in ((of_params, jax.tree.map(several, params)), (of_data, jax.tree.map(several, x))):
        found = transform(split)(mapped)
        for i in range(3):
            alone = split(jax.tree.map(lambda leaf, i=i: leaf[i], mapped))
            for ours, theirs in zip(found, alone, strict=True):
                np.testing.assert_allclose(ours[i], theirs, atol=1e-14)


def test_softmax_regression_on_paper():
    """Outputs linear in the weights: R = 0 and G = mean of x x^T (kron) (diag p - p p^T)."""
    keys = jax.random.split(jax.random.key(3), 2)
    weights, x = jax.random.normal(keys[0], (4, 3)), jax.random.normal(keys[1], (9, 4))
    y = jnp.arange(9) % 3
    p = np.asarray(jax.nn.softmax(x @ weights, axis=1))
    expected = np.mean(
        [np.kron(np.outer(a, a), np.diag(q) - np.outer(q, q)) for a, q in zip(x, p, strict=True)], axis=0
    )
    split = split_hessian(linear, cross_entropy, weights, x, y, batch_size=4)
    np.testing.assert_allclose(split.gauss_newton, expected, atol=1e-14)
    np.testing.assert_array_equal(split.residual, 0)


def test_residual_of_a_squared_loss_on_paper():
    """One output w^2 a sample: G = 4 w^2, R = 2 (w^2 - y), each the mean over samples."""
    x, y = jnp.ones((3, 1)), jnp.array([[1.0], [2.0], [6.0]])
    split = split_hessian(lambda w, x: x * w[None, :] ** 2, squared, jnp.array([2.0]), x, y, batch_size=2)
    np.testing.assert_allclose(split.gauss_newton, [[16.0]], rtol=1e-14)
    np.testing.assert_allclose(split.residual, [[2.0]], rtol=1e-14)


@pytest.mark.parametrize("part", PRODUCTS)
@pytest.mark.parametrize(
    ("dtype", "batch_size"), mostly_slow([(jnp.float32, 5), (jnp.float64, None), (jnp.float64, 5)], keep=[0, 2])
)
def test_products_are_those_of_the_matrices(part, dtype, batch_size):
    params, x, y = network_problem(dtype)
    v = jax.tree.map(lambda leaf: jnp.cos(3 * leaf), params)
    found = PRODUCTS[part](network, cross_entropy, params, x, y, v, batch_size=batch_size)
    matrix = getattr(split_hessian(network, cross_entropy, params, x, y), part)
    expected = matrix @ ravel_pytree(v)[0]
    assert jax.tree.structure(found) == jax.tree.structure(params)
    np.testing.assert_allclose(ravel_pytree(found)[0], expected, atol=TOLERANCE[dtype], rtol=0)


@pytest.mark.parametrize("part", PRODUCTS)
def test_products_under_jit(part):
    params, x, y = network_problem()
    v = jax.tree.map(jnp.ones_like, params)
    eager = PRODUCTS[part](network, cross_entropy, params, x, y, v)
    jitted = jax.jit(lambda p, d: PRODUCTS[part](network, cross_entropy, p, x, y, d, batch_size=4))(params, v)
    np.testing.assert_allclose(ravel_pytree(jitted)[0], ravel_pytree(eager)[0], atol=1e-14)


def test_gauss_newton_is_semi_definite_with_rank_at_most_n_times_k_minus_one():
    params, x, y = network_problem(n_samples=4)
    values = np.linalg.eigvalsh(split_hessian(network, cross_entropy, params, x, y).gauss_newton)
    assert values.size == 32
    assert values.min() > -1e-14
    assert np.count_nonzero(values > 1e-12) == 4 * (3 - 1)


@pytest.mark.parametrize("dtype", mostly_slow([jnp.float64, jnp.float32]))
def test_dual_has_the_nonzero_spectrum_of_gauss_newton(dtype):
    params, x, y = network_problem(dtype, n_samples=6)
    dual = gauss_newton_dual(network, cross_entropy, params, x, y)
    assert dual.shape == (18, 18)
    assert dual.dtype == dtype
    primal = split_hessian(network, cross_entropy, params, x, y).gauss_newton
    found, expected = (np.linalg.eigvalsh(matrix)[-12:] for matrix in (dual, primal))
    assert expected[0] > 1e-5
    np.testing.assert_allclose(found, expected, atol=TOLERANCE[dtype])


def test_the_dual_is_differentiated_where_the_curvature_of_the_loss_has_zeros():
    """That of softmax has one for each sample; by differences of the dual."""
    params, x, y = network_problem(jnp.float64, n_samples=2)
    flat, unravel = ravel_pytree(params)
    squares = lambda w: (gauss_newton_dual(network, cross_entropy, unravel(w), x, y) ** 2).sum()  # noqa: E731
    direction = jnp.linspace(-1, 1, flat.size)
    ends = [squares(flat + sign * 1e-5 * direction) for sign in (1, -1)]
    np.testing.assert_allclose(jax.grad(squares)(flat) @ direction, (ends[0] - ends[1]) / 2e-5, rtol=1e-6)


def test_a_sum_of_models_without_common_parameters_has_a_block_diagonal_residual():
    """The off-diagonal blocks of H are then exactly those of G."""
    keys = jax.random.split(jax.random.key(11), 3)
    params = [jax.random.normal(k, (4, 3)) for k in keys[:2]]
    x, y = jax.random.normal(keys[2], (8, 4)), jnp.arange(8) % 3

    def mean_of_two(pair, x):
        return (jnp.sin(x @ pair[0]) + jnp.sin(x @ pair[1])) / 2

    split = split_hessian(mean_of_two, cross_entropy, params, x, y, batch_size=3)
    np.testing.assert_array_equal(split.residual[:12, 12:], 0)
    np.testing.assert_array_equal(split.hessian[:12, 12:], split.gauss_newton[:12, 12:])
    assert float(jnp.abs(split.gauss_newton[:12, 12:]).max()) > 1e-3
    assert float(jnp.abs(split.residual[:12, :12]).max()) > 1e-3


def test_progress_counts_samples():
    params, x, y = network_problem()
    seen = []
    split_hessian(network, cross_entropy, params, x, y, batch_size=5, progress=lambda *done: seen.append(done))
    assert seen == [(5, 13), (10, 13), (13, 13)]


def test_one_program_serves_ragged_chunks_and_repeated_calls():
    params, x, y = network_problem()
    traces = []

    def counted(params, x):
        traces.append(x["image"].shape)
        return network(params, x)

    split_hessian(counted, cross_entropy, params, x, y, batch_size=5)
    first = len(traces)
    assert set(traces) == {(13, 5), (5, 5)}  # the shape check on all samples, then one chunk's shape
    split_hessian(counted, cross_entropy, jax.tree.map(jnp.sin, params), x, y, batch_size=5)
    assert len(traces) == first  # nothing was traced again


def test_numpy_data_and_without_x64():
    params, x, y = jax.tree.map(np.asarray, network_problem())
    exact = split_hessian(network, cross_entropy, params, x, y, batch_size=5)
    with jax.enable_x64(False):
        single = split_hessian(network, cross_entropy, params, x, y, batch_size=5)
        product = gauss_newton_product(network, cross_entropy, params, x, y, params, batch_size=5)
        assert single.hessian.dtype == ravel_pytree(product)[0].dtype == jnp.float32
        np.testing.assert_allclose(single.hessian, exact.hessian, atol=1e-5)
    flat = np.concatenate([params["head"].ravel(), params["hidden"].ravel()])
    np.testing.assert_allclose(
        np.concatenate([product["head"].ravel(), product["hidden"].ravel()]), exact.gauss_newton @ flat, atol=1e-4
    )


def call_split(outputs, loss, params, x, y):
    return split_hessian(outputs, loss, params, x, y)


def call_product(outputs, loss, params, x, y):
    return gauss_newton_product(outputs, loss, params, x, y, params)


@pytest.mark.parametrize("call", [call_split, call_product, gauss_newton_dual])
class TestBadArguments:
    def test_numbers_of_samples(self, call):
        params, x, y = network_problem()
        with pytest.raises(ValueError, match=r"same number of samples.*begin with \[\(12,\), \(13,\)\]"):
            call(network, cross_entropy, params, x, y[:12])
        with pytest.raises(ValueError, match="same number of samples, at least 1"):
            call(network, cross_entropy, params, {"image": x["image"][:0]}, y[:0])

    def test_labels_without_a_logit(self, call):
        params, x, y = network_problem()
        with pytest.raises(ValueError, match="`y` must hold classes from 0 to 2, .* but holds 3; number the classes"):
            call(network, losses.cross_entropy, params, x, y % 3 + 1)
        with pytest.raises(ValueError, match="`y` must hold classes from 0 to 1, .* but holds 2; number the classes"):
            call(lambda p, x: network(p, x)[:, :1], losses.cross_entropy, params, x, y % 2 + 1)

    def test_outputs(self, call):
        params, x, y = network_problem()
        with pytest.raises(ValueError, match=r"`outputs` must .* shape \(13, K\).*float64\[13\]; give one output"):
            call(lambda p, x: network(p, x)[:, 0], cross_entropy, params, x, y)
        with pytest.raises(ValueError, match=r"but it returned complex128\[13, 3\]"):
            call(lambda p, x: network(p, x).astype(complex), cross_entropy, params, x, y)

    def test_loss(self, call):
        params, x, y = network_problem()
        with pytest.raises(ValueError, match=r"`loss` must return one number a sample, shape \(13,\).*leave the mean"):
            call(network, lambda z, y: cross_entropy(z, y).mean(), params, x, y)

    def test_params(self, call):
        _, x, y = network_problem()
        with pytest.raises(TypeError, match="`params` must hold real float arrays only"):
            call(network, cross_entropy, {"hidden": jnp.ones((5, 4), int), "head": jnp.ones((4, 3))}, x, y)


def test_bad_settings():
    params, x, y = network_problem()
    with pytest.raises(ValueError, match="Argument `batch_size` must be a positive integer, but is 0"):
        split_hessian(network, cross_entropy, params, x, y, batch_size=0)
    with pytest.raises(ValueError, match="Argument `rows` must be a positive integer, but is 0"):
        split_hessian(network, cross_entropy, params, x, y, rows=0)
    with pytest.raises(ValueError, match="Argument `v` must have the structure of `params`"):
        residual_product(network, cross_entropy, params, x, y, jnp.ones(3))


def test_refused_before_allocation(monkeypatch):
    params, x, y = network_problem()
    monkeypatch.setattr("qjaxsim.common.memory.available_bytes", lambda: 1000)
    with pytest.raises(MemoryError, match=r"split Hessian of 32 parameters needs .* use Lanczos"):
        split_hessian(network, cross_entropy, params, x, y)
    with pytest.raises(MemoryError, match=r"dual of 39 outputs needs .* use fewer samples"):
        gauss_newton_dual(network, cross_entropy, params, x, y)


def test_factors_that_are_numbers_go_through_shard_map():
    """Types of mapped arrays are those of a mesh of many devices, also where it has one."""
    mesh = jax.make_mesh((1,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    shared, own = jax.sharding.PartitionSpec(), jax.sharding.PartitionSpec("d")
    outputs = lambda p, x: jnp.sin(x * p["w"][None]) * p["factor"]  # noqa: E731
    loss = lambda z, y: (z**2).sum(1) * y  # noqa: E731
    params, x, y = {"w": jnp.array([0.3, 0.7]), "factor": jnp.array(2.0)}, jnp.arange(6.0).reshape(3, 2), jnp.ones(3)
    whole = split_hessian(outputs, loss, params, x, y).hessian
    flat = jnp.array([1.0, 2.0, 3.0])
    vector = jax.flatten_util.ravel_pytree(params)[1](flat)

    def mapped(function, specs, *arguments):
        return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=own)(*arguments)

    found = mapped(lambda p, x, y: split_hessian(outputs, loss, p, x, y).hessian, (shared, own, own), params, x, y)
    np.testing.assert_allclose(found, whole, atol=1e-13)
    # Parameters of each device's own, and a direction that all share.
    every = jax.tree.map(lambda leaf: leaf[None], params)
    of_one = lambda p: jax.tree.map(lambda leaf: leaf[0], p)  # noqa: E731
    value = lambda p: loss(outputs(p, x), y).mean()  # noqa: E731
    image = mapped(lambda p: jax.tree.map(lambda leaf: leaf[None], hvp(value, of_one(p), vector)), (own,), every)
    np.testing.assert_allclose(jax.flatten_util.ravel_pytree(image)[0], whole @ flat, atol=1e-13)
