"""The split Hessian where it is degenerate, and against rules that share no code with it.

Three ways lead to it: stage by stage (the patches model), one unitary of all weights (data first, many samples), and
pushes of every sample (anything else).
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import qjaxsim as qj
from qjaxsim.curvature import (
    CircuitOutputs,
    exact_zeros,
    gauss_newton,
    gauss_newton_dual,
    numerical_rank,
    split_hessian,
)
from qjaxsim.models.losses import cross_entropy
from qjaxsim.models.patches import PatchesModel
from tests.cases import mostly_slow

N, CLASSES, SAMPLES = 3, 3, 7
OBSERVABLES = (qj.Z(0) + 0.5 * qj.X(1), qj.Y(2) @ qj.X(0) - 0.3 * qj.Z(1), qj.Z(1) @ qj.Z(2))
# Largest error of an eigenvalue computed in single precision, in units of P * lambda_max.
SINGLE = float(np.finfo(np.float32).eps)
SATURATING = 1e3
WAYS = {"staged": "stages", "collapsed": "collapsed", "cones": "cones", "pushed": "pushed"}


@functools.cache
def patches(n_layers=1, n_classes=CLASSES, scale=10.0, image_size=3, aggregation="mean"):
    """Four circuits of 2 x 2 patches: with 3 x 3 pixels they share some, with 4 x 4 none. Cached to compile once."""
    return PatchesModel(4, n_layers, N, image_size, 2, n_classes, scale, aggregation)


@functools.cache
def hybrid(n_layers=2, n_classes=CLASSES, scale=4.0):
    """Data, then layers whose weights have one Pauli rotation each; a single weight for no layers."""
    x, w = qj.Parameter("x", (N,)), qj.Parameter("w", (N, 3))
    circuit = qj.Circuit(N)
    for q in range(N):
        circuit.ry(x[q], q).rz(x[q] * x[(q + 1) % N], q)
    layer = qj.Circuit(N)
    for q in range(N):
        layer.rx(w[q, 0], q).rzz(w[q, 1], q, (q + 1) % N).ry(w[q, 2], q).cx(q, (q + 1) % N)
    circuit = circuit.repeat(layer, n_layers) if n_layers else circuit.cx(0, 1).rx(qj.Parameter("w"), 1)
    return CircuitOutputs(circuit, OBSERVABLES[:n_classes], ("x",), scale)


def classical_between(params, x):
    """Classical layers before and after the circuit."""
    angles = jnp.tanh(x @ params["pre"])
    return hybrid(1, scale=1.0)({"w": params["w"]}, {"x": angles}) @ params["post"]


def patches_problem(model, n_samples=SAMPLES):
    """Numbers that single precision holds exactly, so that both precisions start from the same point."""
    rng = np.random.default_rng(4)
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), model.init(jax.random.key(0)))
    images = rng.uniform(0, 2, (n_samples, model.image_size, model.image_size))
    params, images = jax.tree.map(lambda a: jnp.asarray(np.float32(a), np.float64), (params, images))
    return params, images, jnp.arange(n_samples) % model.n_classes


def hybrid_problem(model, n_samples=SAMPLES):
    rng = np.random.default_rng(2)
    params = {"w": jnp.asarray(rng.normal(size=model.circuit.parameters["w"]))}
    return params, {"x": jnp.asarray(rng.normal(size=(n_samples, N)))}, jnp.arange(n_samples) % len(model.observables)


@pytest.fixture
def taken(monkeypatch):
    """Names of the ways that `split_hessian` has taken."""
    seen = []
    for way, structure in WAYS.items():
        known = gauss_newton.WAYS[structure]
        noted = lambda *args, way=way, known=known: seen.append(way) or known(*args)  # noqa: E731
        monkeypatch.setitem(gauss_newton.WAYS, structure, noted)
    return seen


@pytest.fixture
def problem_of(monkeypatch):
    """By way: outputs, parameters, inputs and labels; `split_hessian` then takes that way for few samples, too."""

    def made(way, **options):
        if way == "staged":
            model = patches(**options)
            return model.outputs, *patches_problem(model)
        monkeypatch.setattr(CircuitOutputs, "collapses", lambda self, *_: way == "collapsed")
        monkeypatch.setattr(CircuitOutputs, "sees_little", lambda self, *_: way == "cones" and self.cones is not None)
        model = hybrid(**options)
        return model, *hybrid_problem(model)

    return made


@functools.cache
def dense(outputs):
    """The generic Hessian of the mean loss, which knows nothing of circuits."""
    found = lambda params, x, y: qj.hessian(lambda p: cross_entropy(outputs(p, x), y).mean(), params)  # noqa: E731
    return jax.jit(found)


def assert_is_the_hessian(outputs, params, x, y):
    """Finite, symmetric and equal to the generic Hessian; returns the split."""
    return assert_equals(split_hessian(outputs, cross_entropy, params, x, y), dense(outputs)(params, x, y))


def assert_equals(split, expected):
    for part in split:
        assert np.isfinite(part).all()
        np.testing.assert_array_equal(part, part.T)
    expected = np.asarray(expected)
    np.testing.assert_allclose(split.hessian, expected, atol=1e-10 * max(1, np.abs(expected).max()), rtol=0)
    return split


# --- degenerate cases ------------------------------------------------------------------------------------------------


def filled(params, angle):
    return jax.tree.map(lambda leaf: jnp.full_like(leaf, angle), params)


def equal(x):
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[:1], leaf.shape), x)


def zeros(x):
    return jax.tree.map(jnp.zeros_like, x)


CASES = {
    "one class": lambda params, x, y: (params, x, jnp.zeros_like(y)),
    "equal inputs": lambda params, x, y: (params, equal(x), y),
    "zero inputs": lambda params, x, y: (params, zeros(x), y),
    "all alike": lambda params, x, y: (params, equal(x), jnp.ones_like(y)),
    "angles 0": lambda params, x, y: (filled(params, 0), x, y),
    "angles pi": lambda params, x, y: (filled(params, math.pi), x, y),
    "angles pi/2": lambda params, x, y: (filled(params, math.pi / 2), x, y),
    "all zero": lambda params, x, y: (filled(params, 0), zeros(x), jnp.zeros_like(y)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("way", WAYS)
def test_degenerate_cases(way, case, problem_of, taken):
    outputs, *given = problem_of(way)
    assert_is_the_hessian(outputs, *CASES[case](*given))
    assert set(taken) == {way}


@pytest.mark.parametrize("way", WAYS)
def test_one_sample(way, problem_of, taken):
    """The same as copies of it."""
    outputs, params, x, y = problem_of(way)
    one = split_hessian(outputs, cross_entropy, params, jax.tree.map(lambda leaf: leaf[:1], x), y[:1])
    assert_equals(one, dense(outputs)(params, equal(x), equal(y)))
    assert set(taken) == {way}


@pytest.fixture(
    params=[
        pytest.param(("staged", 1), marks=pytest.mark.slow, id="staged-1"),
        *(pytest.param((way, 0), id=f"{way}-0") for way in WAYS),
    ]
)
def smallest(request, problem_of):
    """Two classes and fewest layers, with the scale at which a softmax saturates."""
    way, n_layers = request.param
    return problem_of(way, n_layers=n_layers, n_classes=2, scale=SATURATING)


def test_two_classes_and_fewest_layers(smallest):
    outputs, params, x, y = smallest
    split = assert_is_the_hessian(outputs, params, x, y)
    assert float(jnp.abs(split.residual).max()) > 1
    assert_is_the_hessian(outputs, filled(params, 0), zeros(x), jnp.zeros_like(y))


def test_saturated_softmax(smallest):
    """Some samples are certain and right, others certain and wrong: no curvature A but its rounding, R alone."""
    outputs, params, x, y = smallest
    params, x = filled(params, 0.02), jax.tree.map(lambda leaf: 0.05 * leaf, x)
    p = np.asarray(jax.nn.softmax(jax.jit(outputs)(params, x), axis=1))
    assert (np.sort(p, axis=1) == [0, 1]).all()
    assert set(p[np.arange(SAMPLES), y]) == {0.0, 1.0}
    split = assert_is_the_hessian(outputs, params, x, y)
    assert float(jnp.abs(split.gauss_newton).max()) < np.finfo(np.float64).eps * SATURATING**2
    assert float(jnp.abs(split.residual).max()) > 1


def test_circuits_without_weights_are_refused():
    """There is nothing to differentiate; the outputs themselves are defined."""
    model = CircuitOutputs(qj.Circuit(1).ry(qj.Parameter("x"), 0), (qj.Z(0), qj.X(0)), ("x",))
    x, y = {"x": jnp.linspace(0, 1, 5)}, jnp.zeros(5, int)
    np.testing.assert_allclose(model({}, x)[:, 0], np.cos(x["x"]), atol=1e-15)
    for find in (split_hessian, gauss_newton_dual):
        with pytest.raises(ValueError, match="Argument `params` must hold at least one number, but it is empty"):
            find(model, cross_entropy, {}, x, y)


def test_no_layers_leave_the_encodings_and_their_rings():
    model = patches(n_layers=0, n_classes=2)
    assert model.n_weights == 2 * model.n_features
    assert model.circuit.n_parameters == 3 * model.n_features
    assert model.circuit.count_ops() == {"ry": 2 * 4, "rx": 4, "cz": 2 * N}
    assert model.circuit.parameters.keys() == {"first", "second", "encoding1", "encoding2"}


# --- parameter shifts ------------------------------------------------------------------------------------------------


def shifted(outputs, params, x, rows):
    """Outputs z, their first derivatives, and second ones of some rows, by shifts of every angle alone.

    An angle in one Pauli rotation of each circuit enters as a + b cos + c sin, whose derivative is half the difference
    of the values a quarter turn before and after.
    """
    flat, unravel = ravel_pytree(params)
    step = np.eye(flat.size) * math.pi / 2
    pairs = [(a * step[rows][:, None] + b * step[None]).reshape(-1, flat.size) for a in (1, -1) for b in (1, -1)]
    points = jnp.asarray(np.asarray(flat) + np.concatenate([step, -step, 0 * step[:1], *pairs]))
    values = np.asarray(jax.jit(lambda w: jax.lax.map(lambda u: outputs(unravel(u), x), w, batch_size=64))(points))
    up, down, z, *second = np.split(values, np.cumsum([flat.size, flat.size, 1] + [len(pairs[0])] * 3))
    first, second = (up - down) / 2, (second[0] - second[1] - second[2] + second[3]) / 4
    return z[0], first, second.reshape(len(rows), *first.shape)


def by_chain_rule(z, first, second, y, rows):
    """Rows of G and R of the mean cross-entropy, in NumPy."""
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    slopes = (p - np.eye(z.shape[1])[np.asarray(y)]) / len(z)
    curvature = (p[:, :, None] * np.eye(z.shape[1]) - p[:, :, None] * p[:, None, :]) / len(z)
    return np.einsum("rbk,bkl,pbl->rp", first[rows], curvature, first), np.einsum("bk,rpbk->rp", slopes, second)


@pytest.mark.parametrize(("way", "stride"), mostly_slow([("collapsed", 1), ("cones", 1), ("staged", 8)], keep=2))
def test_entries_equal_double_parameter_shifts(way, stride, problem_of, taken):
    outputs, params, x, y = problem_of(way)
    split = split_hessian(outputs, cross_entropy, params, x, y)
    rows = np.arange(4, len(split.hessian), stride)  # from the pixel that all four circuits share
    gauss, residual = by_chain_rule(*shifted(outputs, params, x, rows), y, rows)
    np.testing.assert_allclose(split.residual[rows], residual, atol=1e-10)
    np.testing.assert_allclose(split.hessian[rows], gauss + residual, atol=1e-10)
    assert np.abs(residual).max() > 0.1 and np.abs(gauss).max() > 0.1
    assert set(taken) == {way}


# --- identities ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_traces(way, problem_of):
    split = split_hessian(*(problem := problem_of(way))[:1], cross_entropy, *problem[1:])
    traces = [float(np.trace(part)) for part in split[:3]]
    sums = [float(np.linalg.eigvalsh(part).sum()) for part in split[:3]]
    np.testing.assert_allclose(sums, traces, rtol=1e-12, atol=1e-12 * abs(traces[1]))
    np.testing.assert_allclose(traces[1] + traces[2], traces[0], rtol=1e-12)


def between(model, matrix):
    """Largest entry between different circuits, each with the pixels of its patch."""
    index = model.outputs.index
    pairs = [(a, b) for a in range(len(index)) for b in range(len(index)) if a != b]
    return max(np.abs(np.asarray(matrix)[np.ix_(index[a], index[b])]).max() for a, b in pairs)


def test_circuits_that_share_nothing_meet_in_gauss_newton_alone():
    model = patches(image_size=4)
    split = split_hessian(model.outputs, cross_entropy, *patches_problem(model))
    assert between(model, split.residual) <= 1e-12
    assert between(model, split.hessian - split.gauss_newton) <= 1e-12
    assert between(model, split.hessian) > 1e-3


def test_shared_pixels_tie_circuits_together_in_the_residual():
    model = patches()
    split = split_hessian(model.outputs, cross_entropy, *patches_problem(model))
    assert between(model, split.residual) > 1e-3


@pytest.mark.slow
def test_the_dual_has_the_nonzero_spectrum_of_gauss_newton():
    model = patches()
    problem = patches_problem(model)
    dual = np.linalg.eigvalsh(gauss_newton_dual(model.outputs, cross_entropy, *problem))
    primal = np.linalg.eigvalsh(split_hessian(model.outputs, cross_entropy, *problem).gauss_newton)
    rank = SAMPLES * (CLASSES - 1)
    np.testing.assert_allclose(dual[-rank:], primal[-rank:], atol=1e-12 * primal[-1])
    assert dual[-rank] > 1e-9 * dual[-1]
    assert max(np.abs(dual[:-rank]).max(), np.abs(primal[:-rank]).max()) < 1e-12 * primal[-1]


@pytest.mark.slow
def test_sum_equals_mean_with_the_scale_times_circuits():
    mean, total = patches(scale=10.0), patches(scale=2.5, aggregation="sum")
    problem = patches_problem(mean)
    expected, found = (split_hessian(model.outputs, cross_entropy, *problem) for model in (mean, total))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


@pytest.mark.slow
def test_the_near_zero_bulk_in_single_precision_is_rounding():
    """At one and the same point no eigenvalue moves by more than P eps lambda_max: what lies below is no data."""
    model = patches(n_layers=1, n_classes=2)
    params, x, y = patches_problem(model)
    double = np.asarray(split_hessian(model.outputs, cross_entropy, params, x, y).hessian)
    params, x = jax.tree.map(lambda leaf: leaf.astype(np.float32), (params, x))
    single = split_hessian(model.outputs, cross_entropy, params, x, y).hessian
    assert single.dtype == np.float32
    exact, rounded = (np.linalg.eigvalsh(np.asarray(matrix, np.float64)) for matrix in (double, single))
    bound = len(exact) * SINGLE * np.abs(exact).max()
    assert np.abs(rounded - exact).max() <= bound
    zeros = len(exact) - numerical_rank(exact)
    assert zeros >= exact_zeros(double) == 4 * 4  # the last rotations of the two qubits that are not measured
    assert np.count_nonzero(np.abs(rounded) <= bound) >= zeros
    # In double precision these are smaller by the ratio of the two roundings.
    assert np.sort(np.abs(exact))[zeros - 1] < 1e-6 * np.sort(np.abs(rounded))[zeros - 1]


@pytest.mark.slow
def test_classical_layers_before_and_after_the_circuit(taken):
    rng = np.random.default_rng(6)
    shapes = {"pre": (2, N), "w": hybrid(1).circuit.parameters["w"], "post": (CLASSES, 4)}
    params = {name: jnp.asarray(rng.normal(size=shape)) for name, shape in shapes.items()}
    x, y = jnp.asarray(rng.normal(size=(SAMPLES, 2))), jnp.arange(SAMPLES) % 4
    split = assert_is_the_hessian(classical_between, params, x, y)
    assert set(taken) == {"pushed"}
    flat, unravel = ravel_pytree(params)
    model = lambda w: (z := classical_between(unravel(w), x), z)  # noqa: E731
    jacobian, z = jax.tree.map(np.asarray, jax.jit(jax.jacfwd(model, has_aux=True))(flat))
    first, rows = np.moveaxis(jacobian, 2, 0), np.arange(flat.size)
    none = np.zeros((flat.size, *first.shape))
    gauss, _ = by_chain_rule(z, first, none, y, rows)
    np.testing.assert_allclose(split.gauss_newton, gauss, atol=1e-12)
    post = slice(0, params["post"].size)  # first by name; outputs are linear in it
    np.testing.assert_array_equal(split.residual[post, post], 0)
    assert float(jnp.abs(split.residual[post, params["post"].size :]).max()) > 1e-3
