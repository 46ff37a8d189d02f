"""The permutation primitives against NumPy's transpose and indexing, under every transformation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qjaxsim.running.permutation import flip_rows, of_bits, of_rows, permute
from tests.cases import mostly_slow

PLACES = (2, 0, 4, 3, 1)


def array(lead=2, rows=32, columns=3, dtype=np.float64):
    return jnp.asarray(np.random.default_rng(0).normal(size=(lead, rows, columns)), dtype)


def moved_bits(x):
    """The same with NumPy's own transpose."""
    lead, rows, columns = x.shape
    axes = [0, *(1 + place for place in PLACES), 1 + len(PLACES)]
    return jnp.transpose(x.reshape(lead, *(2,) * len(PLACES), columns), axes).reshape(lead, rows, columns)


def exchanged(x):
    return x[:, np.arange(x.shape[1]) ^ 0b10110]


def flipped(x):
    return flip_rows(x, jnp.uint32(0b10110))


CASES = {"bits": (lambda x: permute(of_bits(PLACES), x), moved_bits), "flip": (flipped, exchanged)}


@pytest.fixture(params=mostly_slow(CASES))
def pair(request):
    return CASES[request.param]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 32, 1), (2, 32, 5), (7, 32, 2), (1, 32, 20), (2, 32, 20), (7, 32, 20)])
def test_rows_go_where_numpy_puts_them(pair, shape, dtype):
    ours, theirs = pair
    x = array(*shape, dtype)
    assert ours(x).dtype == dtype
    np.testing.assert_array_equal(ours(x), theirs(x))
    np.testing.assert_array_equal(jax.jit(ours)(x), theirs(x))


@pytest.mark.parametrize("n_bits", [1, 2, 3, 7])
def test_any_order_of_bits_and_its_inverse(n_bits):
    places = np.random.default_rng(n_bits).permutation(n_bits).tolist()
    x = array(2, 2**n_bits, 3)
    made = of_bits(places)
    expected = np.moveaxis(np.asarray(x).reshape(2, *(2,) * n_bits, 3), [1 + p for p in places], range(1, 1 + n_bits))
    np.testing.assert_array_equal(permute(made, x), expected.reshape(x.shape))
    np.testing.assert_array_equal(permute(made.inverse, permute(made, x)), x)


def test_rows_in_any_order():
    source = np.random.default_rng(3).permutation(32)
    np.testing.assert_array_equal(permute(of_rows(source), array()), array()[:, source])
    np.testing.assert_array_equal(permute(of_rows(source).inverse, array()[:, source]), array())


def test_the_identity_adds_nothing_to_the_program():
    program = jax.make_jaxpr(lambda x: permute(of_bits(range(5)), x))(array())
    assert not program.eqns


def lowered(shape, platform="cpu"):
    """The program of a permutation, and how many gathers it has."""
    program = jax.jit(lambda x: permute(of_bits(PLACES), x)).trace(array(*shape)).lower(lowering_platforms=(platform,))
    text = program.as_text()
    return text, text.count('"stablehlo.gather"(')


def test_a_cpu_permutes_many_columns_in_two_halves():
    """So that XLA does not compute the gather in the shape of the product behind it, place by place."""
    text, gathers = lowered((5, 32, 20))
    assert gathers == 2 and "stablehlo.concatenate" in text
    for shape, platform in (((5, 32, 3), "cpu"), ((1, 32, 20), "cpu"), ((5, 32, 20), "cuda")):
        assert lowered(shape, platform)[1] == 1


def test_batches_of_any_size_are_exported():
    (batch,) = jax.export.symbolic_shape("b")
    move = jax.jit(lambda x: permute(of_bits(PLACES), x))
    exported = jax.export.export(move)(jax.ShapeDtypeStruct((batch, 32, 20), np.float64))
    np.testing.assert_array_equal(exported.call(array(6, columns=20)), moved_bits(array(6, columns=20)))


TRANSFORMATIONS = {
    "gradient": jax.grad,
    "Hessian": jax.hessian,
    "reverse over forward": lambda f: jax.jacrev(jax.jacfwd(f)),
    "forward over forward": lambda f: jax.jacfwd(jax.jacfwd(f)),
    "linearised": lambda f: lambda x: jax.linearize(f, x)[1](jnp.cos(x)),
    "compiled": lambda f: jax.jit(jax.grad(f)),
}


@pytest.mark.parametrize("name", list(TRANSFORMATIONS))
def test_derivatives_of_every_order_and_mode(pair, name):
    transform = TRANSFORMATIONS[name]
    weights = jnp.arange(32.0 * 6).reshape(2, 32, 3) / 50
    ours, theirs = (transform(lambda x, move=move: (jnp.sin(move(x) * x) * weights).sum()) for move in pair)
    np.testing.assert_allclose(ours(array()), theirs(array()), atol=1e-14)


def test_derivatives_of_many_columns(pair):
    """Compiled, as a CPU permutes them."""
    weights = jnp.cos(jnp.arange(2.0 * 32 * 20)).reshape(2, 32, 20)
    x, tangent = array(columns=20), jnp.sin(array(columns=20))
    ours, theirs = (jax.grad(lambda x, move=move: (jnp.sin(move(x) * x) * weights).sum()) for move in pair)
    pushed, expected = (jax.jit(lambda x, t, f=f: jax.jvp(f, (x,), (t,)))(x, tangent) for f in (ours, theirs))
    np.testing.assert_allclose(pushed, expected, atol=1e-13)


@pytest.mark.parametrize(("axis", "out"), [(0, 0), (1, 2), (3, 1)])
def test_mapped_over_any_axis(pair, axis, out):
    ours, theirs = pair
    x = jnp.stack([array() + i for i in range(4)], axis=axis)
    np.testing.assert_array_equal(jax.vmap(ours, axis, out)(x), jax.vmap(theirs, axis, out)(x))
    of_gradient = jax.vmap(jax.grad(lambda x: (ours(x) ** 3).sum()), axis)(x)
    np.testing.assert_allclose(of_gradient, jax.vmap(lambda x: 3 * x**2, axis)(x), rtol=1e-14)


def test_gradients_gather_and_never_scatter(pair):
    ours, _ = pair
    text = jax.jit(jax.grad(lambda x: (ours(x) ** 2 * jnp.cos(x)).sum())).lower(array()).as_text()
    assert "scatter" not in text
