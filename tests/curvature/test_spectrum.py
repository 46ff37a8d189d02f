"""Spectra of matrices whose eigenvalues are prescribed."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qjaxsim.curvature import (
    LinearOperator,
    dense_spectrum,
    linear_operator,
    matrix_operator,
    power_iteration,
    spectral_density,
    top_eigenpairs,
    trace_estimate,
)
from qjaxsim.curvature.balance import Balanced
from tests.cases import mostly_slow

# negative, repeated and zero values above a bulk
SPECTRUM = np.concatenate([[9.0, 9.0, 9.0, 5.0, -20.0, -1.0, -1.0, 0.0, 0.0], np.linspace(-0.5, 0.5, 191)])


@functools.cache
def random_basis(size):
    return np.linalg.qr(np.random.default_rng(0).normal(size=(size, size)))[0]


def prescribed(values, dtype=jnp.float64):
    """Symmetric matrix with these eigenvalues in a random basis."""
    basis = random_basis(len(values))
    matrix = (basis * np.asarray(values)) @ basis.T
    return jnp.asarray((matrix + matrix.T) / 2, dtype)


class TestDense:
    @pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
    def test_prescribed(self, dtype):
        found = dense_spectrum(prescribed(SPECTRUM, dtype))
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, np.sort(SPECTRUM), atol=100 * float(jnp.finfo(dtype).eps) * 20)

    def test_trace_and_frobenius_norm(self, key):
        root = np.asarray(jax.random.normal(key, (30, 30)))
        matrix = root + root.T
        before = matrix.copy()
        found = dense_spectrum(matrix)
        np.testing.assert_allclose(found.sum(), np.trace(matrix), rtol=1e-12)
        np.testing.assert_allclose((found**2).sum(), (matrix**2).sum(), rtol=1e-12)
        np.testing.assert_array_equal(matrix, before)

    def test_an_accelerator_solves_itself(self, monkeypatch):
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
        monkeypatch.setattr("scipy.linalg.eigvalsh", None)
        found = dense_spectrum(prescribed(SPECTRUM, jnp.float64))
        assert isinstance(found, np.ndarray) and found.dtype == np.float64
        np.testing.assert_allclose(found, np.sort(SPECTRUM), atol=1e-12)

    def test_errors(self, monkeypatch):
        with pytest.raises(ValueError, match=r"`matrix` must have shape \(P, P\), but it has shape \(2, 3\)"):
            dense_spectrum(np.ones((2, 3)))
        with pytest.raises(TypeError, match="`matrix` must be of a real float dtype, but it is complex128"):
            dense_spectrum(np.eye(2) * 1j)
        with pytest.raises(ValueError, match="must be finite, but 2 of its entries are not"):
            dense_spectrum(np.array([[np.nan, 0.0], [0.0, np.inf]]))
        with pytest.raises(ValueError, match=r"must be symmetric, but entries mirrored at the diagonal differ by 0.1"):
            dense_spectrum(np.array([[1.0, 0.1], [0.0, 1.0]]))
        with pytest.raises(TypeError, match=r"`matrix` must be known, but it is traced .* `jnp.linalg.eigvalsh`"):
            jax.jit(dense_spectrum)(jnp.eye(3))
        monkeypatch.setattr("qjaxsim.common.memory.available_bytes", lambda: 1000)
        with pytest.raises(MemoryError, match="spectrum of a 50 x 50 matrix needs .* use Lanczos"):
            dense_spectrum(np.eye(50))


@pytest.mark.parametrize("place", [(0, 1), (299, 3), (270, 299)])
def test_an_operator_of_a_matrix_that_is_not_symmetric_is_refused(place):
    """Lanczos would find eigenvalues of none. Of more rows than are compared at a time; also while JAX traces."""
    matrix = prescribed(np.arange(300.0), jnp.float64).at[place].add(0.5)
    message = "must be symmetric, but entries mirrored at the diagonal differ by 0.5"
    with pytest.raises(ValueError, match=message):
        matrix_operator(matrix)
    with pytest.raises(ValueError, match=message):
        jax.jit(lambda v: matrix_operator(matrix) @ v)(jnp.ones(300))
    even = (matrix + matrix.T) / 2
    np.testing.assert_allclose(jax.jit(lambda v: matrix_operator(even) @ v)(jnp.ones(300)), even.sum(axis=1), atol=1e-9)


class TestTopEigenpairs:
    @pytest.mark.parametrize(
        ("dtype", "which", "expected"),
        mostly_slow(
            [
                (jnp.float32, "largest", [9, 9, 9, 5]),
                (jnp.float64, "largest", [9, 9, 9, 5]),
                (jnp.float64, "magnitude", [-20, 9, 9, 9, 5]),
            ],
            keep=[0, 2],
        ),
    )
    def test_finds_every_copy(self, dtype, which, expected, key):
        matrix = prescribed(SPECTRUM, dtype)
        found = top_eigenpairs(matrix_operator(matrix), len(expected), key=key, which=which)
        tolerance = 50 * float(jnp.finfo(dtype).eps) * 20
        np.testing.assert_allclose(found.values, expected, atol=tolerance)
        np.testing.assert_allclose(found.vectors @ found.vectors.T, np.eye(len(expected)), atol=tolerance)
        assert found.values.dtype == found.vectors.dtype == dtype
        assert found.matvecs < len(SPECTRUM)  # cheaper than the matrix itself
        rest = matrix @ found.vectors.T - found.vectors.T * found.values[None, :]
        np.testing.assert_allclose(found.residuals, np.linalg.norm(rest, axis=0), atol=tolerance)

    def test_residual_bounds_the_error_of_a_run_too_short(self, key):
        values = np.linspace(0, 1, 200)
        matrix = prescribed(values)
        found = top_eigenpairs(matrix_operator(matrix), 2, key=key, steps=8)
        distance = np.abs(np.asarray(found.values)[:, None] - values[None, :]).min(axis=1)
        assert found.matvecs == 8 + 2
        assert found.residuals.min() > 1e-3
        assert (distance <= found.residuals + 1e-14).all()

    def test_space_doubles_until_the_gapless_edge_has_converged(self, key):
        values = np.linspace(-1, 1, 200)
        found = top_eigenpairs(linear_operator(lambda v: jnp.asarray(values) * v, 200), 3, key=key)
        np.testing.assert_allclose(found.values, values[::-1][:3], atol=1e-12)
        assert found.residuals.max() < 1e-7
        assert found.matvecs > 43

    def test_a_space_that_nearly_fills_the_dimension_gives_way_to_the_matrix(self, key):
        """Eigenvalues as dense at the edge as Chebyshev's points: steps short of all of them have not converged."""
        values = np.cos(np.pi * (np.arange(30) + 0.5) / 30)
        for k in (1, 2):
            found = top_eigenpairs(matrix_operator(prescribed(values)), k, key=key)
            np.testing.assert_allclose(found.values, values[:k], atol=1e-13)

    @pytest.mark.parametrize("settings", [{}, {"steps": 500}, {"steps": 30}], ids=str)
    def test_whole_space(self, settings, key):
        values = np.array([3.0, 3.0, 1.0, 0.0, -2.0] * 6)
        matrix = prescribed(values)
        found = top_eigenpairs(matrix_operator(matrix), 30, key=key, **settings)
        np.testing.assert_allclose(found.values, np.sort(values)[::-1], atol=1e-13)

    def test_exhausted_krylov_space(self, key):
        """Rank 2 in 200 dimensions: the space of one start ends after three steps, and zeros must follow."""
        matrix = prescribed([7.0, -3.0] + [0.0] * 198)
        found = top_eigenpairs(matrix_operator(matrix), 4, key=key)
        np.testing.assert_allclose(found.values, [7, 0, 0, 0], atol=1e-13)
        np.testing.assert_allclose(found.vectors @ found.vectors.T, np.eye(4), atol=1e-13)

    @pytest.mark.parametrize("multiple", [0.0, -2.0])
    def test_multiple_of_the_identity(self, multiple, key):
        found = top_eigenpairs(linear_operator(lambda v: multiple * v, 200), 3, key=key)
        np.testing.assert_allclose(found.values, [multiple] * 3, atol=1e-14)
        np.testing.assert_allclose(found.vectors @ found.vectors.T, np.eye(3), atol=1e-14)

    def test_pytree_and_hvp(self, key):
        diagonal = {"a": jnp.arange(60.0).reshape(6, 10), "b": jnp.full(5, 100.0)}
        found = top_eigenpairs(linear_operator(lambda v: jax.tree.map(jnp.multiply, diagonal, v), diagonal), 6, key=key)
        np.testing.assert_allclose(found.values, [100] * 5 + [59], atol=1e-11)
        assert found.vectors.shape == (6, 65)
        np.testing.assert_allclose(np.abs(found.vectors[5]), np.eye(65)[59], atol=1e-6)

    def test_without_x64(self, key):
        with jax.enable_x64(False):
            matrix = prescribed(SPECTRUM, jnp.float32)
            found = top_eigenpairs(matrix_operator(matrix), 4, key=jax.random.key(0))
            assert found.values.dtype == jnp.float32
            np.testing.assert_allclose(found.values, [9, 9, 9, 5], atol=1e-4)

    def test_errors(self, key, monkeypatch):
        for k in (0, 6):
            with pytest.raises(ValueError, match=f"Argument `k` must be an integer from 1 to 5, but is {k}"):
                top_eigenpairs(linear_operator(lambda v: v, 5), k, key=key)
        with pytest.raises(ValueError, match="Argument `steps` must be an integer of at least 3, but is 2"):
            top_eigenpairs(linear_operator(lambda v: v, 5), 3, key=key, steps=2)
        with pytest.raises(ValueError, match="`which` must be 'largest' or .* is 'smallest'; for the smallest take"):
            top_eigenpairs(linear_operator(lambda v: v, 5), 1, key=key, which="smallest")
        with pytest.raises(ValueError, match="`matvec` must give finite numbers, but it gave NaN"):
            top_eigenpairs(linear_operator(lambda v: v * jnp.nan, 100), 1, key=key)
        with pytest.raises(ValueError, match="`matvec` must give finite numbers, but it gave NaN"):
            top_eigenpairs(linear_operator(lambda v: v * jnp.inf, 10), 1, key=key)
        with pytest.raises(ValueError, match="`matvec` must map 5 numbers of dtype float64 to as many, .* returned 4"):
            top_eigenpairs(linear_operator(lambda v: v[1:], 5), 1, key=key)
        with pytest.raises(TypeError, match="`example` must hold real float arrays only, but a leaf has dtype int"):
            top_eigenpairs(linear_operator(lambda v: v, jnp.arange(5)), 1, key=key)
        with pytest.raises(ValueError, match="Argument `example` must be a positive integer, but is 0"):
            top_eigenpairs(linear_operator(lambda v: v, 0), 1, key=key)
        monkeypatch.setattr("qjaxsim.common.memory.available_bytes", lambda: 1000)
        with pytest.raises(MemoryError, match="Krylov basis of 64 vectors of 1000 numbers needs .* fewer steps"):
            top_eigenpairs(linear_operator(lambda v: v, 1000), 1, key=key)
        with pytest.raises(MemoryError, match="eigenpairs of a matrix of dimension 11 needs .* fewer steps"):
            top_eigenpairs(linear_operator(lambda v: v, 11), 1, key=key)

    @pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
    def test_one_pair_far_from_the_others_takes_eleven_steps(self, key, dtype):
        values = np.concatenate([[50.0, -20.0], np.linspace(0, 1, 98)])
        operator = linear_operator(lambda v: jnp.asarray(values, dtype) * v, jnp.zeros(100, dtype))
        for sign, exact in ((operator, 50.0), (-operator, 20.0)):
            found = top_eigenpairs(sign, 1, key=key, copies=False)
            assert found.matvecs == 12  # one shows the residual
            assert float(found.values[0]) == pytest.approx(exact, rel=1e-5)


class TestSpectralDensity:
    @pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
    def test_integrates_to_one(self, dtype, key):
        matrix = prescribed(SPECTRUM, dtype)
        found = spectral_density(matrix_operator(matrix), key=key, steps=40, probes=3)
        np.testing.assert_allclose(np.trapezoid(found.density, found.grid), 1, atol=1e-8)
        np.testing.assert_allclose(found.weights.sum(), 1, rtol=1e-6)
        assert found.weights.min() >= 0
        assert found.grid[0] < -20 < 9 < found.grid[-1]
        np.testing.assert_allclose(found.sigma, 29 / 200, rtol=1e-4)

    def test_moments_of_a_diagonal_matrix_are_exact(self, key):
        """Sign vectors see a diagonal matrix's first moments without noise, and Gauss quadrature keeps 2 m - 1."""
        values = np.linspace(-1, 2, 50)
        found = spectral_density(linear_operator(lambda v: jnp.asarray(values) * v, 50), key=key, steps=4, probes=2)
        for power in range(8):
            np.testing.assert_allclose((found.weights * found.nodes**power).sum(), (values**power).mean(), rtol=1e-10)

    def test_converges_to_the_smoothed_exact_density(self, key):
        matrix = prescribed(SPECTRUM)
        sigma, grid = 0.5, np.linspace(-24, 13, 400)
        exact = np.exp(-0.5 * ((grid[:, None] - SPECTRUM[None, :]) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
        found = spectral_density(matrix_operator(matrix), key=key, steps=30, probes=100, grid=grid, sigma=sigma)
        error = np.trapezoid(np.abs(found.density - exact.mean(axis=1)), grid)
        assert error < 0.02
        assert found.sigma == sigma
        np.testing.assert_array_equal(found.grid, grid)

    def test_more_steps_than_dimensions_and_few_distinct_values(self, key):
        matrix = prescribed([4.0] * 5 + [-1.0] * 15)
        found = spectral_density(matrix_operator(matrix), key=key, steps=100, probes=60)
        assert len(found.nodes) == 2 * 60
        np.testing.assert_allclose(np.unique(found.nodes.round(9)), [-1, 4])
        assert abs(found.weights[found.nodes > 0].sum() - 0.25) < 0.05

    @pytest.mark.parametrize("value", [0.0, 3.0])
    def test_one_distinct_value(self, value, key):
        found = spectral_density(linear_operator(lambda v: value * v, 20), key=key, probes=2)
        np.testing.assert_allclose(found.nodes, value)
        np.testing.assert_allclose(found.grid[np.argmax(found.density)], value, atol=1e-2)
        np.testing.assert_allclose(found.sigma, (value or 1) / 200)
        np.testing.assert_allclose(np.trapezoid(found.density, found.grid), 1, atol=1e-8)

    def test_errors(self, key):
        for name in ("steps", "probes"):
            with pytest.raises(ValueError, match=f"Argument `{name}` must be a positive integer, but is 0"):
                spectral_density(linear_operator(lambda v: v, 5), key=key, **{name: 0})
        for sigma in (0.0, -1.0, float("nan")):
            with pytest.raises(ValueError, match="Argument `sigma` must be positive or None, but it is"):
                spectral_density(linear_operator(lambda v: v, 5), key=key, sigma=sigma)
        for grid in ([0.0, np.nan], [[0.0, 1.0]], 1.0):
            with pytest.raises(ValueError, match="Argument `grid` must be a vector of finite numbers or None, but is"):
                spectral_density(linear_operator(lambda v: v, 5), key=key, grid=grid)
        with pytest.raises(TypeError, match="Argument `grid` must be whole, but is a masked array; fill it"):
            spectral_density(linear_operator(lambda v: v, 5), key=key, grid=np.ma.array([0.0, 1.0], mask=[1, 0]))

    @pytest.mark.parametrize("sigma", mostly_slow([1e-1, 1e-3, 1e-6, 1e-9], keep=[1, 3]))
    def test_a_narrow_sigma_keeps_the_integral(self, sigma, key):
        """Where a grid over the whole range would miss the peaks, there are points around the nodes alone."""
        values = np.array([1000.0, *[0.5] * 99])
        found = spectral_density(linear_operator(lambda v: jnp.asarray(values) * v, 100), key=key, sigma=sigma)
        np.testing.assert_allclose(np.trapezoid(found.density, found.grid), 1, atol=1e-8)
        low = found.grid < 500
        np.testing.assert_allclose(np.trapezoid(found.density[low], found.grid[low]), 0.99, atol=1e-8)
        assert (np.diff(found.grid) > 0).all() and found.grid.size <= 100_000 and found.sigma == sigma

    @pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
    def test_a_spread_that_is_rounding_is_no_range(self, dtype, key):
        """Three times the identity in a turned basis, whose products round."""
        matrix = prescribed([3.0] * 50, dtype)
        found = spectral_density(matrix_operator(matrix), key=key, probes=4)
        np.testing.assert_allclose(found.sigma, 3 / 200, rtol=1e-4)
        np.testing.assert_allclose(np.trapezoid(found.density, found.grid), 1, atol=1e-6)

    @pytest.mark.parametrize(("sigma", "steps"), [(1e-6, 60), (1e-14, 5), (1e-300, 5)])
    def test_a_sigma_that_no_grid_shows_is_refused(self, sigma, steps, key, monkeypatch):
        """Too many nodes to surround each, or a sigma that two neighbouring numbers already exceed."""
        monkeypatch.setattr("qjaxsim.curvature.density.MOST_POINTS", 5_000)
        values = np.linspace(0, 1000, 400)
        operator = matrix_operator(prescribed(values))  # in whose basis every probe has nodes of its own
        settings = {"key": key, "sigma": sigma, "steps": steps, "probes": 1}
        with pytest.raises(
            ValueError, match=f"wide enough for a grid of 5,000 points .*, but is {sigma:.3g}; give a wider one, or"
        ):
            spectral_density(operator, **settings)
        found = spectral_density(operator, **settings, grid=[0.0, 500.0])
        assert found.density.shape == (2,)


@pytest.fixture(scope="module")
def at_scale_1(key):
    operator = TestScale().operator(1.0)
    return power_iteration(operator, key=key), trace_estimate(operator, key=key)


class TestScale:
    """Single precision, in whose range squares of the numbers are not, against the same matrix at scale 1."""

    VALUES = np.array([7.0, 5.0, 3.0, -4.0, *np.linspace(0.1, 1, 96)])

    def operator(self, scale):
        # In two factors, either of which may be tiny or huge: the image itself leaves the range as well.
        root, turned = jnp.float32(np.sqrt(scale)), prescribed(self.VALUES, jnp.float32)
        return linear_operator(lambda v: root * jnp.matmul(turned, root * v, precision="highest"), jnp.zeros(100, "f4"))

    @pytest.mark.parametrize("scale", mostly_slow([1e-36, 1e37, 1e-30, 1e-18, 1e-10, 1e10, 1e18, 1e30], keep=2))
    def test_every_result_scales(self, scale, key, at_scale_1):
        operator, (power_plain, trace_plain) = self.operator(scale), at_scale_1
        for settings in ({}, {"which": "magnitude", "steps": 40}, {"steps": 200}):
            found = top_eigenpairs(operator, 3, key=key, **settings)
            expected = [7, 5, -4] if settings.get("which") else [7, 5, 3]
            np.testing.assert_allclose(np.asarray(found.values, float) / scale, expected, rtol=2e-5)
            assert found.values.dtype == jnp.float32
            errors = np.abs(np.asarray(found.values, float) / scale - expected)
            residuals = np.asarray(found.residuals, float) / scale
            assert (residuals < 1e-3).all() and (errors <= residuals + 1e-5).all()
        power, trace = power_iteration(operator, key=key), trace_estimate(operator, key=key)
        assert power.steps == power_plain.steps
        np.testing.assert_allclose(power.value / scale, power_plain.value, rtol=1e-5)
        np.testing.assert_allclose(power.residual / scale, power_plain.residual, rtol=1e-2)
        np.testing.assert_allclose(trace.value / scale, trace_plain.value, rtol=1e-4)
        np.testing.assert_allclose(trace.standard_error / scale, trace_plain.standard_error, rtol=1e-4)
        density = spectral_density(operator, key=key, steps=20, probes=2)
        np.testing.assert_allclose(density.nodes.max() / scale, 7, rtol=1e-4)
        distances = np.abs(density.nodes[:, None] / scale - self.VALUES).min(axis=1)
        assert (distances <= density.residuals / scale + 1e-5).all() and density.residuals.max() < scale
        np.testing.assert_allclose(np.trapezoid(density.density, density.grid), 1, atol=1e-8)

    def test_an_eigenvalue_beyond_the_range_is_refused(self, key):
        """The product of ones with a vector is within the range of single precision, its largest eigenvalue is not."""
        ones = linear_operator(lambda v: jnp.float32(1e37) * jnp.ones(100, "f4") * v.sum(), jnp.zeros(100, "f4"))
        with pytest.raises(ValueError, match=r"eigenvalue of 1e\+39, beyond the range of float32; .* double precision"):
            top_eigenpairs(ones, 1, key=key)

    def test_moderate_images_are_left_alone(self, key):
        """No product more, and bit for bit the numbers of the operator."""
        operator, products = matrix_operator(prescribed(SPECTRUM)), []
        counted = LinearOperator(
            operator.size, operator.dtype, lambda rows: (products.append(1), operator.rows(rows))[1]
        )
        balance = Balanced(counted)
        vector = jax.random.normal(key, (operator.size,))
        np.testing.assert_array_equal(balance.operator.matvec(vector), operator.matvec(vector))
        np.testing.assert_array_equal(balance.operator.matvec(vector), operator.matvec(vector))
        assert (products, balance.scale, balance.extra) == ([1, 1], 1.0, 0)


class TestTrace:
    def test_within_its_standard_error(self, key):
        matrix = prescribed(SPECTRUM)
        found = trace_estimate(matrix_operator(matrix), key=key, probes=400)
        off_diagonal = SPECTRUM @ SPECTRUM - float((jnp.diag(matrix) ** 2).sum())
        expected_error = np.sqrt(2 * off_diagonal / 400)
        assert 0.8 < found.standard_error / expected_error < 1.25
        assert abs(found.value - SPECTRUM.sum()) < 4 * found.standard_error
        assert found.probes == 400

    def test_diagonal_matrix_without_error(self, key):
        found = trace_estimate(linear_operator(lambda v: jnp.arange(9.0) * v, 9), key=key, probes=2)
        assert (found.value, found.standard_error) == (36.0, 0.0)

    def test_errors(self, key):
        with pytest.raises(ValueError, match="`probes` must be an integer of at least 2, but is 1"):
            trace_estimate(linear_operator(lambda v: v, 5), key=key, probes=1)
