"""Second derivatives of random functions of random pytrees against closed forms, and malformed calls drawn at random.

A random function is w Q w / 2 + sum_k c_k phi(a_k w) of the flat parameters w, whose Hessian NumPy knows.
"""

import typing

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from jax.flatten_util import ravel_pytree

import qjaxsim as qj
from qjaxsim.curvature import (
    curvature_operators,
    gauss_newton_dual,
    gauss_newton_product,
    hessian,
    hessian_product,
    hvp,
    linear_operator,
    matrix_operator,
    power_iteration,
    residual_product,
    spectral_density,
    split_hessian,
    top_eigenpairs,
    trace_estimate,
)

FEW = settings(max_examples=max(5, settings.default.max_examples // 2))


class Pair(typing.NamedTuple):
    """A container of the user's."""

    left: typing.Any
    right: typing.Any


SHAPES = st.sampled_from([(), (1,), (2,), (3,), (0,), (2, 2), (2, 0), (1, 3)])
TREES = st.recursive(
    st.one_of(SHAPES.map(np.zeros), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, min_size=1, max_size=3).map(tuple),
        st.dictionaries(st.sampled_from("abcxyz"), inner, max_size=3),
        st.builds(Pair, inner, inner),
    ),
    max_leaves=5,
)


def size_of(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def filled(tree, rng, dtypes=(np.float64,)):
    """The tree with random numbers in its leaves, of NumPy or of JAX."""
    made = iter(range(10**6))

    def leaf(zeros):
        values = np.asarray(rng.normal(size=zeros.shape), dtypes[next(made) % len(dtypes)])
        return jnp.asarray(values) if rng.random() < 0.5 else values

    return jax.tree.map(leaf, tree)


# Functions, their first and second derivatives.
PHI = {
    "sin": (np.sin, np.cos, lambda t: -np.sin(t)),
    "tanh": (np.tanh, lambda t: 1 - np.tanh(t) ** 2, lambda t: -2 * np.tanh(t) * (1 - np.tanh(t) ** 2)),
    "exp": (np.exp, np.exp, np.exp),
    "cube": (lambda t: t**3, lambda t: 3 * t**2, lambda t: 6 * t),
}
TRACED = {"sin": jnp.sin, "tanh": jnp.tanh, "exp": jnp.exp, "cube": lambda t: t**3}
STYLES = ["plain", "jit", "scan", "loop", "cond", "checkpoint", "vmap", "rules"]


class Ridges(typing.NamedTuple):
    """Data of a random function."""

    phi: str
    matrix: np.ndarray
    directions: np.ndarray
    factors: np.ndarray
    scale: float

    @classmethod
    def draw(cls, rng, size):
        q = rng.normal(size=(size, size))
        a = rng.normal(size=(3, size)) / np.sqrt(size)
        return cls(str(rng.choice(sorted(PHI))), q + q.T, a, rng.normal(size=3), float(rng.normal()))

    def hessian(self, w):
        curved = self.factors * PHI[self.phi][2](self.directions @ w)
        return self.scale * (self.matrix + self.directions.T @ (curved[:, None] * self.directions))

    def traced(self, style, dtype=np.float64):
        """A function of JAX made anew, written in one of several ways; the data are closed over."""
        matrix, directions, factors = (jnp.asarray(x, dtype) for x in self[1:4])
        phi, scale = TRACED[self.phi], self.scale
        terms = lambda w: factors * phi(directions @ w)  # noqa: E731
        if style == "rules":
            plain = phi
            phi = jax.custom_jvp(lambda t: plain(t))
            phi.defjvp(lambda at, along: (plain(at[0]), jax.vmap(jax.grad(plain))(at[0]) * along[0]))

        def total(w):
            if style == "scan":
                step = lambda sum_, given: (sum_ + given[1] * phi(given[0] @ w), None)  # noqa: E731
                return jax.lax.scan(step, jnp.zeros((), w.dtype), (directions, factors))[0]
            if style == "loop":
                return sum(factors[k] * phi(directions[k] @ w) for k in range(3))
            if style == "vmap":
                return jax.vmap(lambda a, c: c * phi(a @ w))(directions, factors).sum()
            if style == "cond":
                return jax.lax.cond(w[0] > 0, lambda w: terms(w).sum(), lambda w: jnp.flip(terms(w)).sum(), w)
            return terms(w).sum()

        def f(tree):
            w = jnp.concatenate([jnp.ravel(leaf).astype(dtype) for leaf in jax.tree.leaves(tree)])
            inner = {"jit": jax.jit, "checkpoint": jax.checkpoint}.get(style, lambda g: g)(total)
            return scale * (0.5 * (w @ matrix @ w) + inner(w))

        return f


@given(TREES, st.integers(0, 10**6), st.sampled_from(STYLES))
def test_matrices_and_products_are_those_of_numpy(tree, seed, style):
    rng, size = np.random.default_rng(seed), size_of(tree)
    params, v = filled(tree, rng), filled(tree, rng)
    if not size:
        for call in (lambda: hessian(lambda p: 0.0, params), lambda: hvp(lambda p: 0.0, params, v)):
            with pytest.raises(ValueError, match="at least one number"):
                call()
        return
    w = np.asarray(ravel_pytree(params)[0])
    for ridges in (Ridges.draw(rng, size) for _ in range(2)):  # functions made anew, other data
        want, f = ridges.hessian(w), ridges.traced(style)
        batch_size = None if seed % 2 else int(rng.integers(1, size + 2))
        found = hessian(f, params, batch_size)
        np.testing.assert_allclose(found, want, atol=1e-10, rtol=1e-10)
        np.testing.assert_array_equal(found, found.T)
        along = hvp(f, params, v)
        assert jax.tree.structure(along) == jax.tree.structure(params)
        np.testing.assert_allclose(ravel_pytree(along)[0], want @ ravel_pytree(v)[0], atol=1e-10, rtol=1e-10)
    if seed % 4 == 0:
        np.testing.assert_allclose(jax.jit(lambda p: hessian(f, p))(params), want, atol=1e-10, rtol=1e-10)
        operator = linear_operator(lambda v: hvp(f, params, v), params)
        np.testing.assert_allclose(operator.dense(), want, atol=1e-10, rtol=1e-10)


@FEW
@given(TREES.filter(lambda tree: len(jax.tree.leaves(tree)) > 1 and size_of(tree)), st.integers(0, 10**6))
def test_dtypes_may_differ_in_a_product_and_not_in_a_matrix(tree, seed):
    rng = np.random.default_rng(seed)
    params, v = (filled(tree, rng, (np.float32, np.float64)) for _ in range(2))
    ridges = Ridges.draw(rng, size_of(tree))
    f = ridges.traced("plain")
    leaves = [np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(params)]
    along = [np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(v)]
    want = ridges.hessian(np.concatenate(leaves)) @ np.concatenate(along)
    found = hvp(f, params, v)
    assert [leaf.dtype for leaf in jax.tree.leaves(found)] == [leaf.dtype for leaf in jax.tree.leaves(params)]
    got = np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(found)])
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    for call in (lambda: hessian(f, params), lambda: split_hessian(None, None, params, None, None)):
        with pytest.raises(TypeError, match="`params` must have one dtype, but it has float32, float64; cast it"):
            call()
    with pytest.raises(TypeError, match="meets one of dtype"):
        hvp(f, params, filled(tree, rng, (np.float64, np.float32)))


class Mean(typing.NamedTuple):
    """A random model of N samples, K outputs and P parameters, tanh(x A w) + x (w * w), and its dense derivatives."""

    a: np.ndarray
    x: np.ndarray
    y: np.ndarray
    kind: str

    @classmethod
    def draw(cls, rng, size):
        n, k = int(rng.integers(1, 6)), int(rng.integers(1, 4))
        x = rng.normal(size=(n, size))
        return cls(rng.normal(size=(k, size)), x, rng.normal(size=(n, k)), str(rng.choice(["squared", "softmax"])))

    def functions(self):
        """Outputs and loss made anew."""
        a, kind = jnp.asarray(self.a), self.kind

        def outputs(params, x):
            w = jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(params)])
            return jnp.tanh((x * w[None]) @ a.T) + (x @ (w * w))[:, None] * 0.3

        def loss(z, y):
            if kind == "squared":
                return ((z - y) ** 2).sum(axis=1)
            return jax.nn.logsumexp(z, axis=1) + 0.1 * (z * y).sum(axis=1)

        return outputs, loss

    def split(self, w):
        """G, R and gradient in NumPy."""
        size, total = len(w), len(self.x)
        g, r, gradient = np.zeros((size, size)), np.zeros((size, size)), np.zeros(size)
        for x, y in zip(self.x, self.y, strict=True):
            inner = np.tanh(self.a @ (x * w))
            z = inner + 0.3 * (x @ (w * w))
            jacobian = (1 - inner**2)[:, None] * self.a * x + 0.6 * x * w
            if self.kind == "squared":
                slope, curvature = 2 * (z - y), 2 * np.eye(len(z))
            else:
                p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
                slope, curvature = p + 0.1 * y, np.diag(p) - np.outer(p, p)
            g += jacobian.T @ curvature @ jacobian / total
            gradient += slope @ jacobian / total
            for k, row in enumerate(self.a * x):
                bent = -2 * inner[k] * (1 - inner[k] ** 2)
                r += slope[k] * (bent * np.outer(row, row) + 0.6 * np.diag(x)) / total
        return g, r, gradient


@pytest.mark.slow
@settings(max_examples=max(5, settings.default.max_examples // 4))
@given(TREES.filter(size_of), st.integers(0, 10**6))
def test_the_split_its_products_and_operators_are_those_of_numpy(tree, seed):
    rng, size = np.random.default_rng(seed), size_of(tree)
    params, v = filled(tree, rng), filled(tree, rng)
    model = Mean.draw(rng, size)
    outputs, loss = model.functions()
    w, flat = (np.asarray(ravel_pytree(tree)[0]) for tree in (params, v))
    g, r, gradient = model.split(w)
    batch_size = None if seed % 3 else int(rng.integers(1, len(model.x) + 2))
    rows = None if seed % 2 else int(rng.integers(1, size + 2))
    found = split_hessian(outputs, loss, params, model.x, model.y, batch_size=batch_size, rows=rows)
    for matrix, want in zip(found, (g + r, g, r, gradient), strict=True):
        np.testing.assert_allclose(matrix, want, atol=1e-9, rtol=1e-9)
    for product, want in ((hessian_product, g + r), (gauss_newton_product, g), (residual_product, r)):
        along = product(outputs, loss, params, model.x, model.y, v, batch_size=batch_size)
        np.testing.assert_allclose(ravel_pytree(along)[0], want @ flat, atol=1e-9, rtol=1e-9)
    if seed % 4 == 0:
        operators = curvature_operators(outputs, loss, params, model.x, model.y, batch_size=batch_size)
        for operator, want in zip(operators, (g + r, g, r), strict=True):
            np.testing.assert_allclose(operator.dense(), want, atol=1e-9, rtol=1e-9)
            np.testing.assert_allclose((-operator) @ flat, -want @ flat, atol=1e-9, rtol=1e-9)
    dual = np.linalg.eigvalsh(gauss_newton_dual(outputs, loss, params, model.x, model.y))[::-1]
    own = np.linalg.eigvalsh(g)[::-1]
    both = min(len(dual), size)
    np.testing.assert_allclose(dual[:both], own[:both], atol=1e-8)


@pytest.mark.slow
@FEW
@given(st.sampled_from([1, 2, 5, 40]), st.integers(0, 10**6))
def test_spectra_are_those_of_the_dense_matrix(size, seed):
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(size, size)))[0]
    # Repeated eigenvalues, zeros, and sizes at which single precision would overflow or vanish when squared.
    values = rng.choice([rng.normal(), 0.0, *rng.normal(size=size)], size=size)
    scale = 10.0 ** rng.choice([-30, -3, 0, 3, 30])
    matrix = scale * (basis * values) @ basis.T
    matrix = (matrix + matrix.T) / 2
    dtype, tolerance = (np.float64, 1e-9) if seed % 2 else (np.float32, 1e-4)
    operator = matrix_operator(matrix.astype(dtype))
    close = dict(atol=tolerance * scale * max(1e-3, np.abs(values).max()), rtol=tolerance)
    exact = np.linalg.eigvalsh(matrix)[::-1]
    k, key = int(rng.integers(1, min(size, 4) + 1)), jax.random.key(seed)
    top = top_eigenpairs(operator, k, key=key)
    np.testing.assert_allclose(top.values, exact[:k], **close)
    vectors = np.asarray(top.vectors, np.float64)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(k), atol=10 * tolerance)
    np.testing.assert_allclose(vectors @ matrix, np.asarray(top.values, np.float64)[:, None] * vectors, **close)
    widest = top_eigenpairs(operator, k, key=key, which="magnitude")
    np.testing.assert_allclose(np.abs(widest.values), np.sort(np.abs(exact))[::-1][:k], **close)
    signs = np.asarray(jax.random.rademacher(key, (size, 7), dtype), np.float64)
    quotients = (signs * (matrix @ signs)).sum(axis=0)
    estimate = trace_estimate(operator, key=key, probes=7)
    rounding = dict(atol=size * close["atol"])
    np.testing.assert_allclose(estimate.value, quotients.mean(), **rounding)
    np.testing.assert_allclose(estimate.standard_error, quotients.std(ddof=1) / np.sqrt(7), **rounding)
    density = spectral_density(operator, key=key, steps=size, probes=2)
    np.testing.assert_allclose(density.weights.sum(), 1, atol=1e-6)
    assert density.weights.min() >= 0
    near = np.abs(density.nodes[:, None] - exact[None]).min(axis=1)
    heavy = density.weights > 1e-3
    np.testing.assert_allclose(near[heavy], 0, atol=10 * close["atol"])
    probes = [np.asarray(jax.random.rademacher(one, (size,), dtype)) for one in jax.random.split(key, 2)]
    moment = np.mean([probe @ matrix @ probe / size for probe in probes])  # the first moment is exact
    np.testing.assert_allclose(density.weights @ density.nodes, moment, **rounding)
    if size > 1 and abs(exact).max() > 0:
        power = power_iteration(operator, key=key, max_steps=20)
        assert abs(power.value) <= np.abs(exact).max() * (1 + tolerance) + close["atol"]


OURS = (TypeError, ValueError)
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 4),
    st.floats(width=32),
    st.text(max_size=2),
    st.sampled_from(
        [
            np.arange(3),
            np.array([1j, 2.0]),
            np.array(["a"]),
            np.array([None, 1], object),
            np.zeros((0,)),
            np.float16(1.0),
            {"a": np.zeros(2), 3: np.ones(2)},
            [],
            {},
            object(),
            np.sin,
            qj.Parameter("x"),
            1j,
            np.ones((2, 3)),
            jax.random.key(0),
            b"x",
            np.datetime64("2020-01-01"),
            (1.0, None, [2.0]),
            np.ma.masked_array([1.0, 2.0], [True, False]),
        ]
    ),
)


def refused_or_fine(call):
    try:
        call()
    except OURS as error:
        assert str(error).startswith("Argument") and "\n" not in str(error), repr(error)


@given(ODD, ODD)
def test_odd_arguments_are_taken_or_refused_in_a_sentence(value, other):
    square = lambda p: sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(p))  # noqa: E731
    outputs = lambda p, x: x * p["w"][None, :]  # noqa: E731
    loss = lambda z, y: jnp.sum(z * z, axis=1) * y  # noqa: E731
    params, x, y = {"w": jnp.ones(2)}, jnp.ones((3, 2)), jnp.ones(3)
    held, key = matrix_operator(np.diag([1.0, 2.0])), jax.random.key(0)
    calls = [
        lambda: hessian(square, value),
        lambda: hessian(square, params, value),
        lambda: hessian(lambda p: value, params),
        lambda: hvp(square, value, other),
        lambda: hvp(square, params, {"w": value}),
        lambda: hvp(square, params, value),
        lambda: hvp(lambda p: other, params, params),
        lambda: linear_operator(lambda v: v, value),
        lambda: linear_operator(lambda v: value, 2),
        lambda: matrix_operator(value),
        lambda: held @ value,
        lambda: held.matmat(value),
        lambda: top_eigenpairs(held, value, key=key),
        lambda: top_eigenpairs(held, 1, key=key, steps=value),
        lambda: top_eigenpairs(held, 1, key=key, which=value),
        lambda: spectral_density(held, key=key, steps=value),
        lambda: spectral_density(held, key=key, probes=value),
        lambda: spectral_density(held, key=key, sigma=value),
        lambda: trace_estimate(held, key=key, probes=value),
        lambda: power_iteration(held, key=key, max_steps=value),
        lambda: split_hessian(outputs, lambda z, y: z[:, 0], params, x, value),
        lambda: split_hessian(lambda p, x: jnp.ones((2, 1)), lambda z, y: z[:, 0], params, value, other),
        lambda: matrix_operator([[value, 0.0], [0.0, other]]),
        lambda: split_hessian(outputs, loss, params, x, y, batch_size=value),
        lambda: split_hessian(outputs, loss, params, x, y, rows=value),
        lambda: split_hessian(lambda p, x: value, loss, params, x, y),
        lambda: split_hessian(outputs, lambda z, y: value, params, x, y),
        lambda: hessian_product(outputs, loss, params, x, y, value),
        lambda: hessian_product(outputs, loss, params, x, y, params, batch_size=value),
        lambda: curvature_operators(outputs, loss, params, x, y, batch_size=value),
    ]
    for call in calls:
        refused_or_fine(call)
