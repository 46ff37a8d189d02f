"""Planes through parameter space and the loss on them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from qjaxsim.curvature import Plane, eigen_plane, evaluate_plane, grid_around, pca_plane, random_plane


def identity(vector):
    return vector


def trajectory_of(n=12, size=7):
    """Points with most of their variance along two known directions."""
    rng = np.random.default_rng(5)
    basis, _ = np.linalg.qr(rng.normal(size=(size, size)))
    return rng.normal(size=(n, size)) * np.array([9.0, 4.0, *[0.1] * (size - 2)]) @ basis.T + 3.0


class TestPcaPlane:
    def test_against_the_singular_value_decomposition(self):
        points = trajectory_of()
        plane, projection, explained = pca_plane(points, identity)
        centred = points - points.mean(axis=0)
        _, singular, axes = np.linalg.svd(centred, full_matrices=False)
        np.testing.assert_allclose(plane.origin, points.mean(axis=0), atol=1e-13)
        np.testing.assert_allclose(np.abs(np.asarray(plane.directions) @ axes[:2].T), np.eye(2), atol=1e-12)
        np.testing.assert_allclose(explained, singular[:2] ** 2 / (singular**2).sum(), rtol=1e-12)
        np.testing.assert_allclose(projection, centred @ np.asarray(plane.directions).T, atol=1e-12)

    def test_a_planar_trajectory_lies_on_its_plane(self):
        rng = np.random.default_rng(1)
        points = rng.normal(size=(6, 2)) @ rng.normal(size=(2, 9)) + 1.0
        plane, projection, explained = pca_plane(points, identity)
        np.testing.assert_allclose(explained.sum(), 1, rtol=1e-12)
        for point, (a, b) in zip(points, projection, strict=True):
            np.testing.assert_allclose(plane.point(a, b), point, atol=1e-12)

    def test_frozen_parameters_stay_at_the_anchor(self):
        points = trajectory_of()
        frozen = np.array([True, False, False, True, False, False, False])
        plane, projection, _ = pca_plane(points, identity, frozen=frozen, anchor=points[4])
        free, expected, _ = pca_plane(points[:, ~frozen], identity)
        np.testing.assert_allclose(projection, expected, atol=1e-12)
        moved = np.asarray(plane.point(2.0, -3.0))
        np.testing.assert_array_equal(moved[frozen], points[4][frozen])
        np.testing.assert_allclose(moved[~frozen], free.point(2.0, -3.0), atol=1e-12)

    def test_dtype_follows_the_trajectory(self):
        plane = pca_plane(trajectory_of().astype(np.float32), identity).plane
        assert plane.origin.dtype == plane.directions.dtype == jnp.float32

    @pytest.mark.parametrize(("scale", "dtype"), [(1e-30, "f4"), (1e30, "f4"), (1e-250, "f8"), (1e250, "f8")])
    def test_scales_with_the_trajectory(self, scale, dtype):
        points = trajectory_of()
        plane, projection, explained = pca_plane((scale * points).astype(dtype), identity)
        expected = pca_plane(points, identity)
        np.testing.assert_allclose(explained, expected.explained, rtol=1e-6)
        np.testing.assert_allclose(projection / scale, expected.projection, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(np.asarray(plane.origin, float) / scale, expected.plane.origin, rtol=1e-6)

    def test_of_integers(self):
        points = np.array([[0, 0, 0], [1, 2, 2], [5, 1, 0], [3, 3, 1]])
        plane, projection, _ = pca_plane(points, identity)
        _, _, axes = np.linalg.svd(points - points.mean(axis=0))
        np.testing.assert_allclose(np.abs(np.asarray(plane.directions) @ axes[:2].T), np.eye(2), atol=1e-12)
        np.testing.assert_allclose(plane.origin, points.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(projection, (points - points.mean(axis=0)) @ plane.directions.T, atol=1e-12)

    def test_errors(self):
        points = trajectory_of()
        with pytest.raises(ValueError, match="`trajectory` must hold finite numbers, but 1 of its 84 are not"):
            pca_plane(np.where(points == points[3, 2], np.nan, points), identity)
        with pytest.raises(TypeError, match="`trajectory` must hold real numbers, but its dtype is complex128"):
            pca_plane(points + 1j, identity)
        with pytest.raises(ValueError, match=r"`trajectory` must have shape \(T, P\), both at least 2.*\(1, 7\)"):
            pca_plane(points[:1], identity)
        with pytest.raises(ValueError, match="`frozen` and `anchor` must be given together"):
            pca_plane(points, identity, frozen=np.zeros(7, bool))
        with pytest.raises(ValueError, match=r"boolean mask and a vector of shape \(7,\), but they are int64\[7\]"):
            pca_plane(points, identity, frozen=np.zeros(7, int), anchor=points[0])
        with pytest.raises(ValueError, match=r"have shape \(6,\)"):
            pca_plane(points, identity, frozen=np.zeros(7, bool), anchor=points[0, :6])
        with pytest.raises(ValueError, match="must leave at least 2 parameters free, but it leaves 1"):
            pca_plane(points, identity, frozen=np.arange(7) > 0, anchor=points[0])


class TestRandomPlane:
    def test_filters_keep_their_norms(self, key):
        rng = np.random.default_rng(2)
        params = {
            "weights": jnp.asarray(rng.normal(size=(3, 4, 2)) * np.array([1.0, 10.0, 0.0])[:, None, None]),
            "bias": jnp.asarray(rng.normal(size=5)),
            "scale": jnp.asarray(-2.0),
        }
        plane = random_plane(params, key)
        np.testing.assert_array_equal(plane.origin, ravel_pytree(params)[0])
        for flat in plane.directions:
            direction = plane.unravel(flat)
            for layer in range(3):
                lengths = [float(jnp.linalg.norm(tree["weights"][layer])) for tree in (direction, params)]
                np.testing.assert_allclose(*lengths, atol=1e-12)
            np.testing.assert_allclose(jnp.linalg.norm(direction["bias"]), jnp.linalg.norm(params["bias"]), rtol=1e-12)
            np.testing.assert_allclose(jnp.abs(direction["scale"]), 2, rtol=1e-12)

    @pytest.mark.parametrize(("scale", "dtype"), [(1e-30, "f4"), (1e30, "f4"), (1e-250, "f8"), (1e250, "f8")])
    def test_filters_of_any_size_and_leaves_without_numbers(self, key, scale, dtype):
        params = {"weights": np.full((2, 3), scale, dtype), "none": np.zeros((0, 2), dtype)}
        for flat in np.asarray(random_plane(params, key).directions, float):
            np.testing.assert_allclose(np.linalg.norm(flat.reshape(2, 3) / scale, axis=1), np.sqrt(3), rtol=1e-6)

    def test_key_decides(self, key):
        params = jnp.arange(12.0).reshape(3, 4)
        first, again, other = (random_plane(params, k).directions for k in (key, key, jax.random.key(0)))
        np.testing.assert_array_equal(first, again)
        assert float(jnp.abs(first - other).max()) > 0.1
        assert float(jnp.abs(first[0] - first[1]).max()) > 0.1

    def test_errors(self, key):
        with pytest.raises(TypeError, match="`params` must hold real float arrays only"):
            random_plane(jnp.arange(3), key)


class TestEvaluate:
    @pytest.mark.parametrize("batch_size", [None, 1, 4, 100])
    @pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
    def test_orientation_and_batches(self, batch_size, dtype):
        """loss = x + 100 y^2 at the point (a, b): columns follow a, rows follow b."""
        params = {"x": jnp.zeros((), dtype), "y": jnp.zeros(2, dtype)}
        plane = eigen_plane(params, np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
        a, b = np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 2.0, 3.0, 4.0])
        found = evaluate_plane(lambda p: p["x"] + 100 * p["y"][0] ** 2, plane, a, b, batch_size)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, a[None, :] + 100 * b[:, None] ** 2, rtol=1e-6)

    def test_eigen_plane_is_a_paraboloid(self, key):
        """Along two eigenvectors the loss of a quadratic is sum of lambda t^2 / 2."""
        root = np.asarray(jax.random.normal(key, (6, 6)))
        values, vectors = np.linalg.eigh(root + root.T)
        matrix = jnp.asarray(root + root.T)
        plane = eigen_plane(jnp.zeros(6), vectors.T[-2:])
        t = np.linspace(-1, 1, 4)
        found = evaluate_plane(lambda w: w @ matrix @ w / 2, plane, t, t)
        expected = (values[-2] * t[None, :] ** 2 + values[-1] * t[:, None] ** 2) / 2
        np.testing.assert_allclose(found, expected, atol=1e-12)

    def test_without_x64(self):
        with jax.enable_x64(False):
            plane = eigen_plane(jnp.zeros(2), np.eye(2))
            found = evaluate_plane(lambda w: w[0] - w[1], plane, np.array([1.0, 2.0]), np.array([5.0]))
            assert found.dtype == jnp.float32
            np.testing.assert_allclose(found, [[-4.0, -3.0]])

    def test_errors(self):
        plane = eigen_plane(jnp.zeros(2), np.eye(2))
        with pytest.raises(ValueError, match=r"Argument `b` must be a vector of at least one number.*\(0,\)"):
            evaluate_plane(jnp.sum, plane, [1.0], [])
        with pytest.raises(ValueError, match=r"Argument `a` must be a vector of at least one number.*\(\)"):
            evaluate_plane(jnp.sum, plane, 1.0, [1.0])
        for wrong, what in ((lambda w: w, r"float64\[2\]"), (lambda w: jax.lax.complex(w[0], w[1]), r"complex128\[\]")):
            with pytest.raises(TypeError, match=f"`loss` must return a real scalar, but it returned {what}"):
                evaluate_plane(wrong, plane, [1.0], [1.0])
        with pytest.raises(ValueError, match="Argument `batch_size` must be a positive integer, but is 0"):
            evaluate_plane(jnp.sum, plane, [1.0], [1.0], batch_size=0)
        with pytest.raises(
            ValueError, match=r"must have shapes \(P,\) and \(2, P\), but they have \(2,\) and \(3, 2\)"
        ):
            eigen_plane(jnp.zeros(2), np.ones((3, 2)))
        with pytest.raises(ValueError, match=r"must have shapes \(P,\) and \(2, P\)"):
            Plane(jnp.zeros((2, 2)), jnp.zeros((2, 4)), identity)
        with pytest.raises(TypeError, match="`vectors` must hold real numbers, as .*eigh.*, but is complex"):
            eigen_plane(jnp.zeros(2), np.eye(2) + 0j)
        masked = np.ma.array(np.eye(2), mask=np.eye(2))
        for name, call in (
            ("vectors", lambda: eigen_plane(jnp.zeros(2), masked)),
            ("b", lambda: evaluate_plane(jnp.sum, plane, [1.0], masked[0])),
            ("trajectory", lambda: pca_plane(masked, identity)),
            ("projection", lambda: grid_around(masked)),
        ):
            with pytest.raises(TypeError, match=f"Argument `{name}` must be whole, but is a masked array; fill it"):
                call()

    def test_a_trajectory_that_stands_still_has_a_plane_and_no_shares(self):
        found = pca_plane(np.full((3, 2), 0.5), identity)
        np.testing.assert_array_equal(found.projection, np.zeros((3, 2)))
        assert np.isnan(found.explained).all()


class TestGridAround:
    def test_covers_the_trajectory_with_its_margin(self):
        a, b = grid_around(np.array([[0.0, 10.0], [4.0, -2.0], [1.0, 1.0]]))
        assert a.size == b.size == 20
        assert (a[0], a[-1], b[0], b[-1]) == (-5.0, 9.0, -7.0, 15.0)
        np.testing.assert_allclose(np.diff(a), 14 / 19)
        c, _ = grid_around(np.array([[0.0, 0.0]]), margin=1.0, points=3)
        np.testing.assert_allclose(c, [-1, 0, 1])
        narrow = grid_around(np.array([[120, 0], [-120, 1]], np.int8), margin=100, points=3)
        np.testing.assert_array_equal(narrow, [[-220, 0, 220], [-100, 0.5, 101]])

    def test_errors(self):
        with pytest.raises(ValueError, match=r"`projection` must have shape \(T, 2\), but it has \(4, 3\)"):
            grid_around(np.zeros((4, 3)))
        with pytest.raises(ValueError, match="`projection` must hold finite numbers, but 1 of its 2 are not"):
            grid_around([[0.0, np.inf]])
        with pytest.raises(ValueError, match="`points` must be an integer of at least 2, but is 1"):
            grid_around(np.zeros((4, 2)), points=1)
