"""The decomposition of G by classes against sums over samples, planted models on paper, and knock-outs by NumPy."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import qjaxsim as qj
from qjaxsim.common import checkpoint
from qjaxsim.curvature import (
    PartSum,
    class_attribution,
    class_decomposition,
    count_outliers,
    curvature_operators,
    knocked_out,
    matrix_operator,
    split_hessian,
)
from qjaxsim.curvature.classes import PARTS
from qjaxsim.models.losses import cross_entropy
from tests.cases import layered, mostly_slow, network, network_problem

KEY = jax.random.key(5)
# Seventeen samples of four classes: one of them empty, one of a single sample.
UNBALANCED = np.array([0, 0, 2, 0, 0, 2, 2, 3, 0, 0, 2, 2, 2, 0, 0, 2, 0])


def problem(labels=UNBALANCED):
    params, x, _ = network_problem(n_samples=len(labels), n_classes=4)
    return params, x, labels


def summed(outputs, params, x, y):
    """G0 to G3 by loops over samples, classes and cotangents in NumPy."""
    flat, unravel = ravel_pytree(params)
    jacobian = np.asarray(jax.jacrev(lambda w: outputs(unravel(w), x))(flat))
    z = np.asarray(outputs(params, x))
    n, k = z.shape
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    own = [[np.sqrt(p[i, c]) * jacobian[i].T @ (np.eye(k)[c] - p[i]) for c in range(k)] for i in range(n)]
    parts = np.zeros((4, flat.size, flat.size))
    for label in set(y.tolist()):
        members = np.flatnonzero(y == label)
        means = [np.mean([own[i][c] for i in members], axis=0) for c in range(k)]
        others = [means[c] for c in range(k) if c != label]
        common = np.mean(others, axis=0)
        share = len(members) / n
        parts[0] += share * np.outer(means[label], means[label])
        parts[1] += share * (k - 1) * np.outer(common, common)
        parts[2] += share * sum(np.outer(mean - common, mean - common) for mean in others)
        parts[3] += sum(np.outer(own[i][c] - means[c], own[i][c] - means[c]) for i in members for c in range(k)) / n
    return parts


@pytest.mark.parametrize("batch_size", [None, 3])
@pytest.mark.parametrize(
    "labels", mostly_slow([UNBALANCED, np.arange(16) % 4, np.zeros(5, int), np.array([3])], keep=[0, 1])
)
def test_parts_are_sums_over_samples_and_add_up_to_g(labels, batch_size):
    params, x, y = problem(labels)
    found = class_decomposition(network, params, x, y, batch_size=batch_size)
    whole = split_hessian(network, cross_entropy, params, x, jnp.asarray(y)).gauss_newton
    parts, expected = found.matrices(whole), summed(network, params, x, y)
    for part, own in zip(parts, expected, strict=True):
        np.testing.assert_allclose(part, own, atol=1e-12 * np.abs(whole).max(), rtol=0)
    np.testing.assert_allclose(sum(expected), whole, atol=1e-12 * np.abs(whole).max(), rtol=0)
    for name, part in zip(PARTS, expected, strict=False):
        values, by_gram = np.linalg.eigvalsh(part)[::-1], found.eigenvalues(name)
        kept = min(len(values), len(by_gram))
        np.testing.assert_allclose(by_gram[:kept], values[:kept], atol=1e-12 * np.abs(whole).max())
    np.testing.assert_array_equal(found.shares, np.bincount(labels, minlength=4) / len(labels))
    z = np.asarray(jax.nn.softmax(network(params, x), axis=1))
    for label in set(labels.tolist()):
        np.testing.assert_allclose(found.probabilities[label], z[labels == label].mean(axis=0), rtol=1e-13)


def test_ranks():
    params, x, y = problem(np.arange(40) % 4)
    found = class_decomposition(network, params, x, y)
    ranks = {"g0": 4, "g1": 4, "g2": 4 * 2}
    for part, rank in ranks.items():
        values = found.eigenvalues(part)
        assert (values > 1e-12 * values[0]).sum() <= rank and len(found.directions(part)) == rank
    rows = found.directions("g1", "g2")
    assert rows.shape == (12, 36)
    np.testing.assert_allclose(rows @ rows.T, np.eye(12), atol=1e-12)
    for part in ("g1", "g2"):
        factor = found.factor(part)
        np.testing.assert_allclose(factor @ rows.T @ rows, factor, atol=1e-12)
    # Of two classes what is not in common is nothing.
    two = class_decomposition(network, *network_problem(n_classes=2))
    np.testing.assert_array_equal(two.eigenvalues("g2"), 0)
    assert two.directions("g2").shape == (0, 28)


def test_single_precision():
    params, x, y = problem()
    found = class_decomposition(network, *jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (params, x)), y)
    assert found.means.dtype == jnp.float32
    np.testing.assert_allclose(found.means, class_decomposition(network, *problem()).means, atol=1e-5)
    assert len(found.directions("g1")) == 3  # one class is empty


@pytest.mark.parametrize("margin", [2.0, 20.0])
def test_classes_that_are_all_but_certain_in_single_precision(margin):
    """A linear model on unit vectors: of the own class the vectors are what the others have, less themselves."""
    clusters, weights = jnp.eye(3, dtype="float32"), margin * jnp.eye(3, dtype="float32")
    found = class_decomposition(lambda w, x: x @ w, weights, clusters, np.arange(3))
    share = 1 / (math.exp(margin) + 2)
    # delta_cc = sqrt(p) (1 - p, -share, -share) along the row of the class, in three classes of a third of the samples
    want = (1 - 2 * share) * 6 * share**2 / 3
    np.testing.assert_allclose(found.eigenvalues("g0"), np.full(3, want), rtol=1e-5)


@pytest.mark.slow
def test_sums_over_circuits_go_part_by_part():
    """The same averages as of a model that hides what it is, and parts of the split's G."""
    values = qj.expectation(layered(3, 1), [4 * qj.Z(q) for q in range(3)])
    part = lambda u, x: values({"w": u[:9].reshape(1, 3, 3), "x": x + u[None, 9:]})  # noqa: E731
    # Two circuits with weights of their own and one bias for both.
    index = np.stack([np.r_[0:9, 18:21], np.r_[9:18, 18:21]])
    outputs = PartSum(part, index, lambda x: x.reshape(-1, 2, 3), scale=2.0)
    rng = np.random.default_rng(2)
    x, y, params = rng.normal(size=(14, 6)), rng.integers(0, 3, 14), jnp.asarray(rng.normal(size=21))
    found = class_decomposition(outputs, params, x, y, batch_size=2)
    plain = class_decomposition(lambda p, x: outputs(p, x), params, x, y)
    np.testing.assert_allclose(found.means, plain.means, atol=1e-12)
    whole = split_hessian(outputs, cross_entropy, params, x, jnp.asarray(y)).gauss_newton
    for part, own in zip(found.matrices(whole), summed(outputs, params, x, y), strict=True):
        np.testing.assert_allclose(part, own, atol=1e-12 * np.abs(whole).max())


# --- planted models --------------------------------------------------------------------------------------------------

K = 5
COUNTS = np.array([4, 4, 5, 5, 6])


def clusters(scale=4.0):
    """Linear logits scale * e_c of samples e_c of class c: every eigenvalue of G is known."""
    y = np.repeat(np.arange(K), COUNTS)
    return lambda w, x: x @ w, scale * jnp.eye(K), jnp.eye(K)[y], y


def gauss_newton_of(outputs, params, x, y):
    return matrix_operator(split_hessian(outputs, cross_entropy, params, x, jnp.asarray(y)).gauss_newton)


def test_outliers_that_are_class_means_are_attributed():
    outputs, params, x, y = clusters()
    operator = gauss_newton_of(outputs, params, x, y)
    found = class_attribution(class_decomposition(outputs, params, x, y), operator, 2 * K + 5, key=KEY)
    # Of logits (s, 0, ..., 0): e is the probability of all other classes, evenly spread.
    e = (K - 1) / (np.exp(4.0) + K - 1)
    shares = np.sort(COUNTS / COUNTS.sum())[::-1]
    outliers = shares * e * (1 - e) * K / (K - 1)
    np.testing.assert_allclose(found.values[:K], outliers, rtol=1e-12)
    np.testing.assert_allclose(found.values[K], shares[0] * e / (K - 1), rtol=1e-12)
    np.testing.assert_allclose(found.class_values, outliers * (1 - e), rtol=1e-12)
    # Repeated eigenvalues: only sums over their spaces are determined.
    np.testing.assert_allclose(found.shares[:K].mean(), 1 - e, rtol=1e-12)
    np.testing.assert_allclose(found.inside[:K], 1, rtol=1e-12)
    assert found.overlap == pytest.approx(1, rel=1e-12)
    counted = count_outliers(np.linalg.eigvalsh(operator.matrix), K)
    assert counted.number == K == found.removed(counted.number)
    np.testing.assert_allclose(found.knocked_out[: K + 1], found.values[K : 2 * K + 1], rtol=1e-10)
    # What is left without the mini-bulk of differences is zero: one sample stands for each class.
    assert found.knocked_out_cross.max() < 1e-12 * found.values[0]


def test_other_averages_do_not_take_them_out():
    """Labels in the averages that have the same shares in every cluster: the control."""
    outputs, params, x, y = clusters()
    operator = gauss_newton_of(outputs, params, x, y)
    x, other = np.repeat(x, K, axis=0), np.tile(np.arange(K), len(y))
    found = class_attribution(class_decomposition(outputs, params, x, other), operator, key=KEY)
    assert found.removed(K) <= 1 and found.shares[:K].mean() < 0.3


def test_outliers_that_are_not_class_means_are_not_attributed():
    """Features of either sign within each class: their averages over a class vanish, their curvature does not."""
    n_signs = 3
    signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * n_signs)).reshape(n_signs, -1).T
    y = np.repeat(np.arange(K), len(signs))
    x = {"class": jnp.eye(K)[y], "signs": jnp.asarray(np.tile(signs, (K, 1)))}
    features = jnp.asarray(np.random.default_rng(3).normal(size=(n_signs, K)) * 40)
    params = {"class": 4 * jnp.eye(K), "signs": jnp.zeros(n_signs)}

    def outputs(params, x):
        return x["class"] @ params["class"] + (x["signs"] * params["signs"][None]) @ features

    operator = gauss_newton_of(outputs, params, x, y)
    found = class_attribution(class_decomposition(outputs, params, x, y), operator, key=KEY)
    counted = count_outliers(np.linalg.eigvalsh(operator.matrix), K)
    assert counted.number == n_signs
    assert found.removed(n_signs) == found.removed(n_signs, cross=True) == 0
    np.testing.assert_allclose(found.shares[:n_signs], 0, atol=1e-12)
    np.testing.assert_allclose(found.knocked_out[:n_signs], found.values[:n_signs], rtol=1e-12)
    # The classes are there, below.
    np.testing.assert_allclose(found.inside[n_signs : n_signs + K], 1, rtol=1e-10)


# --- knock-out and attribution ---------------------------------------------------------------------------------------


def test_attribution_of_g_and_h_by_numpy():
    params, x, y = problem(np.arange(40) % 4)
    split = split_hessian(network, cross_entropy, params, x, jnp.asarray(y))
    operators = curvature_operators(network, cross_entropy, params, x, jnp.asarray(y))
    decomposition = class_decomposition(network, params, x, y)
    g1 = decomposition.matrices(split.gauss_newton).g1
    basis = np.linalg.qr(decomposition.class_means.T)[0]
    outside = np.eye(36) - basis @ basis.T
    apart = np.asarray(decomposition.means)[~np.eye(4, dtype=bool)]  # G1 and G2 are made of these
    outside_both = np.eye(36) - np.linalg.pinv(apart) @ apart
    for matrix, products in (
        (split.gauss_newton, operators.gauss_newton),
        (split.hessian, operators.hessian),
    ):
        values, vectors = np.linalg.eigh(matrix)
        values, vectors = values[::-1][:8], vectors.T[::-1][:8]
        for operator in (matrix_operator(matrix), products):
            found = class_attribution(decomposition, operator, key=KEY)
            np.testing.assert_allclose(found.values, values, rtol=1e-9)
            np.testing.assert_allclose(found.shares, np.diag(vectors @ g1 @ vectors.T) / values, atol=1e-8)
            np.testing.assert_allclose(found.inside, ((vectors @ basis) ** 2).sum(axis=1), atol=1e-8)
            assert found.overlap == pytest.approx(((vectors[:4] @ basis) ** 2).sum() / 4, abs=1e-8)
            left = np.linalg.eigvalsh(outside @ matrix @ outside)[::-1][:8]
            np.testing.assert_allclose(found.knocked_out, left, atol=1e-9 * values[0])
            left_both = np.linalg.eigvalsh(outside_both @ matrix @ outside_both)[::-1][:8]
            np.testing.assert_allclose(found.knocked_out_cross, left_both, atol=1e-9 * values[0])
            for m in (1, 3, 4):
                gap = np.sqrt(values[m - 1] * values[m])
                assert found.removed(m) == m - (left > gap).sum()
                assert found.removed(m, cross=True) == m - (left_both > gap).sum()
            assert found.removed(4) < found.removed(4, cross=True)
        known = class_attribution(decomposition, operator, key=KEY, pairs=found and _pairs(operator))
        np.testing.assert_allclose(known.shares, found.shares, atol=1e-8)


def _pairs(operator):
    from qjaxsim.curvature import top_eigenpairs

    return top_eigenpairs(operator, 8, key=KEY)


@pytest.mark.parametrize("scales", [(1.0, 1e-30), (1e200, 1.0), (1e-200, 1e-180)])
def test_what_is_knocked_out_does_not_depend_on_lengths(scales):
    diagonal = matrix_operator(jnp.diag(jnp.array([5.0, 2.0, 1.0])))
    directions = [[3 * scales[0], 0, 0], [0, 0, 0], [scales[1], scales[1], 0]]
    np.testing.assert_allclose(knocked_out(diagonal, directions) @ jnp.ones(3), [0, 0, 1], atol=1e-14)


@pytest.mark.parametrize("rank", [0, 2])
def test_knocked_out_is_the_projected_matrix(rank):
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(9, 9))
    matrix, directions = matrix + matrix.T, np.linalg.qr(rng.normal(size=(9, 2)))[0].T[:rank]
    outside = np.eye(9) - directions.T @ directions
    # Neither length nor angles of the rows matter, nor rows that depend on others.
    for rows in (directions, rng.normal(size=(3, rank)) @ directions):
        found = knocked_out(matrix_operator(matrix), rows).dense()
        np.testing.assert_allclose(found, outside @ matrix @ outside, atol=1e-12)


# --- unfinished work -------------------------------------------------------------------------------------------------


def test_interrupted_and_resumed_is_the_same_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SAVES_APART", 0)
    params, x, y = problem()
    whole = class_decomposition(network, params, x, y, batch_size=3)
    path, seen = tmp_path / "sums.npz", []

    def stop(done, count):
        seen.append((done, count))
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        class_decomposition(network, params, x, y, batch_size=3, checkpoint=path, progress=stop)
    again = []
    progress = lambda *place: again.append(place)  # noqa: E731
    found = class_decomposition(network, params, x, y, batch_size=3, checkpoint=path, progress=progress)
    assert again[0] == seen[-1] and again[-1] == (17, 17)
    for name in ("means", "shares", "probabilities"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))
    # A finished file is the result.
    del again[:]
    class_decomposition(network, params, x, y, batch_size=3, checkpoint=path, progress=progress)
    assert again == [(17, 17)]
    frozen = lambda p, x: network(jax.lax.stop_gradient(p), x)  # noqa: E731
    for other, words in (
        ({"y": y[::-1]}, "y"),
        ({"outputs": lambda p, x: 2 * network(p, x)}, "outputs"),
        ({"outputs": frozen}, "outputs"),
    ):
        given = {"outputs": network, "params": params, "x": x, "y": y} | other
        with pytest.raises(checkpoint.OtherComputationError, match=f"other {words}"):
            class_decomposition(**given, batch_size=3, checkpoint=path)


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (UNBALANCED / 2, TypeError, "must hold integers, the class of each sample, but is float64.*astype"),
        (np.array(["a"] * 17), TypeError, "must hold integers"),
        (np.ma.array(UNBALANCED, mask=UNBALANCED > 1), TypeError, "`y` must be whole, but is a masked array; fill it"),
        (UNBALANCED > 1, TypeError, "must hold integers, the class of each sample, but is bool"),
        (np.eye(4, dtype=int)[UNBALANCED], ValueError, r"one class a sample, but has \(17, 4\); for one-hot rows"),
        (UNBALANCED + 1, ValueError, "must hold classes from 0 to 3, one for each logit, but holds 4; number"),
        (UNBALANCED - 1, ValueError, "but holds -1"),
        (UNBALANCED[:5], ValueError, "Arguments `x` and `y` must have one and the same number of samples"),
    ],
)
def test_classes_that_are_none(y, error, message):
    params, x, _ = problem()
    with pytest.raises(error, match=message):
        class_decomposition(network, params, x, y)


def test_what_else_does_not_fit():
    params, x, y = problem()
    with pytest.raises(ValueError, match="one logit a class, two at least, but returned 1; give class 0"):
        class_decomposition(lambda p, x: network(p, x)[:, :1], params, x, 0 * y)
    with pytest.raises(TypeError, match="Argument `y` must be known"):
        jax.jit(lambda y: class_decomposition(network, params, x, y).means)(jnp.asarray(y))
    with pytest.raises(ValueError, match="`batch_size` must be a positive integer"):
        class_decomposition(network, params, x, y, batch_size=0)
    found = class_decomposition(network, params, x, y)
    with pytest.raises(ValueError, match=r"`part` must be one of \['g0', 'g1', 'g2'\], but is 'g3'"):
        found.factor("g3")
    with pytest.raises(ValueError, match="must be of the 36 parameters of this decomposition, but is 3 x 3"):
        found.matrices(np.eye(3))
    operator = matrix_operator(jnp.eye(36))
    with pytest.raises(TypeError, match="must be a LinearOperator"):
        class_attribution(found, np.eye(36), key=KEY)
    with pytest.raises(ValueError, match="must be of the 36 parameters of the decomposition, but is of 3"):
        class_attribution(found, matrix_operator(jnp.eye(3)), key=KEY)
    with pytest.raises(ValueError, match="`k` must be an integer from 4 to 36, but is 3"):
        class_attribution(found, operator, 3, key=KEY)
    with pytest.raises(ValueError, match="`m` must be an integer from 1 to 7, but is 8"):
        class_attribution(found, operator, key=KEY).removed(8)
    with pytest.raises(
        ValueError, match=r"shape \(m, 36\), finite rows of the operator's length, but has shape \(1, 3\)"
    ):
        knocked_out(operator, np.eye(3)[:1])
    with pytest.raises(ValueError, match=r"has shape \(1, 36\) with 36 numbers not finite"):
        knocked_out(operator, np.full((1, 36), np.nan))
