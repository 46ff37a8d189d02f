"""What a report reads: functions as they are at the call, paths whose points hold their arrays in another order.

And what it says of parameters without second derivatives.
"""

import pickle
from collections import OrderedDict

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qjaxsim.curvature import evaluate_plane, spectrum_report
from qjaxsim.curvature.landscape import Plane
from qjaxsim.curvature.programs import Present


def test_points_of_a_path_are_taken_by_the_names_of_their_arrays():
    """In an OrderedDict JAX keeps the order in which it was written."""

    def value(params):
        return 3 * (params["a"] ** 2).sum() + (params["b"] ** 3).sum() + params["a"][0] * params["b"][1]

    point = {"a": jnp.ones(2), "b": jnp.arange(1.0, 4.0)}
    rng = np.random.default_rng(0)
    path = [rng.normal(size=5) for _ in range(3)] + [np.r_[1, 1, 1, 2, 3.0]]
    turned = [OrderedDict([("b", jnp.asarray(flat[2:])), ("a", jnp.asarray(flat[:2]))]) for flat in path]
    report = spectrum_report(value, point, planes=("pca", "eigen"), plane_points=4, trajectory=turned, progress=False)
    centre = np.mean(path, axis=0)
    directions = np.linalg.svd(np.stack(path) - centre, full_matrices=False)[2][:2]
    found = report.arrays["trajectory"]
    expected = (np.stack(path) - centre) @ directions.T
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-12)
    signs = np.sign((found * expected).sum(axis=0))
    for j, b in enumerate(report.arrays["landscape_b"]):
        for i, a in enumerate(report.arrays["landscape_a"]):
            at = centre + signs @ (np.array([a, b])[:, None] * directions)
            wanted = 3 * (at[:2] ** 2).sum() + (at[2:] ** 3).sum() + at[0] * at[3]
            assert report.arrays["landscape"][j, i] == pytest.approx(wanted)
    assert report.arrays["minimum"] == 3
    np.testing.assert_allclose(report.arrays["eigen_trajectory"][3], 0, atol=1e-12)


DATA = {"matrix": np.diag([1.0, 2.0, 4.0]), "scale": 1.0}


def quadratic(w):
    return w @ jnp.asarray(DATA["matrix"]) @ w / 2


def linear(w, x):
    return DATA["scale"] * x @ jnp.asarray(DATA["matrix"]) @ w[:, None]


def squares(z, y):
    return DATA["scale"] * ((z - y) ** 2).sum(axis=1) / 2


@pytest.mark.parametrize("method", ["dense", "lanczos"])
def test_functions_are_taken_as_they_are_at_the_call(method, monkeypatch):
    """The same function after what it reads has changed: an array in place, and a number."""
    x, w = np.eye(3)[[0, 1, 2, 0]], jnp.ones(3)
    y = np.zeros((4, 1))
    for turn in range(3):
        matrix = DATA["matrix"] if turn < 2 else DATA["matrix"] * 1.0
        monkeypatch.setitem(DATA, "matrix", matrix)
        if turn == 1:
            matrix *= 3
        if turn == 2:
            monkeypatch.setitem(DATA, "scale", 2.0)
        options = {"method": method, "plane_points": 3, "progress": False}
        report = spectrum_report(quadratic, w, **options)
        np.testing.assert_allclose(report.lambda_max, np.diag(matrix).max())
        across, along = report.arrays["eigen_landscape_b"], report.arrays["eigen_landscape_a"]
        plane = np.stack([np.asarray(report.pairs.vectors[k]) for k in range(2)])
        corner = np.ones(3) + along[0] * plane[0] + across[0] * plane[1]
        assert report.arrays["eigen_landscape"][0, 0] == pytest.approx(corner @ matrix @ corner / 2)
        report = spectrum_report(linear, w, (x, y), loss=squares, **options)
        whole = DATA["scale"] ** 3 * (x @ matrix).T @ (x @ matrix) / 4
        np.testing.assert_allclose(report.lambda_max, np.linalg.eigvalsh(whole)[-1])
        np.testing.assert_allclose(report.numbers["gn_lambda_max"], np.linalg.eigvalsh(whole)[-1])
    np.fill_diagonal(DATA["matrix"], [1.0, 2.0, 4.0])


def test_a_present_function_is_known_by_what_it_reads():
    key, scale = jax.random.key(0), jnp.ones(2)

    def function(w):
        return (w * scale + jax.random.normal(key, (2,))).sum()

    first = Present(function, jnp.ones(2))
    assert first == Present(function, jnp.zeros(2)) and hash(first) == hash(function)
    assert first != Present(lambda w: function(w), jnp.ones(2)) and first != function
    plane = Plane(jnp.zeros(2), jnp.eye(2), lambda flat: flat)
    before = evaluate_plane(first, plane, [0.0], [0.0])
    key = jax.random.key(1)
    second = Present(function, jnp.ones(2))
    assert second != first and evaluate_plane(second, plane, [0.0], [0.0]) != before
    assert pickle.loads(pickle.dumps(Present(quadratic, jnp.ones(3)))) is quadratic


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameters_that_enter_linearly_are_not_said_to_be_unused(dtype, tmp_path):
    def function(params):
        return (params["curved"] ** 2).sum() + 0.3 * params["line"].sum() + 0 * params["unused"].sum()

    point = {name: jnp.ones(3, dtype) for name in ("curved", "line", "unused")}
    report = spectrum_report(function, point, planes=(), progress=False)
    assert [row["block_exact_zeros"] for row in report.blocks] == [0, 3, 3]
    page = report.to_html(tmp_path / "page.html").read_text()
    assert "The function does not depend on unused at all" in page


@pytest.mark.parametrize("method", ["dense", pytest.param("lanczos", marks=pytest.mark.thorough)])
def test_nothing_traced_is_held(method):
    """As those who look for leaks of their own ask JAX."""
    stiffness = jnp.array([3.0, 1.0, 2.0, 7.0])
    with jax.checking_leaks():
        report = spectrum_report(lambda w: (stiffness * w**2).sum() / 2, jnp.ones(4), method=method, progress=False)
    np.testing.assert_allclose(report.eigenvalues, jnp.sort(stiffness), rtol=1e-10)
