"""The report on a spectrum: known spectra, both ways of computing, blocks, planes, files, and pages."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.common import files
from qjaxsim.curvature import SpectrumReport, spectrum_report
from qjaxsim.curvature.spectra.page import said
from qjaxsim.models.losses import cross_entropy
from tests.cases import layered, mostly_slow, network, network_problem

RNG = np.random.default_rng(5)
SIZE = 12
VALUES = np.array([30.0, 20.0, *RNG.uniform(0.5, 1.0, SIZE - 4), 0.0, -2.0])
BASIS = np.linalg.qr(RNG.normal(size=(SIZE, SIZE)))[0]
MATRIX = BASIS @ np.diag(VALUES) @ BASIS.T
SLOPE = RNG.normal(size=SIZE)


def quadratic(params):
    """Half w^T A w + s^T w of known spectrum, its parameters in two leaves of 2 x 3 and 6."""
    w = jnp.concatenate([params["a"].ravel(), params["b"]])
    matrix, slope = jnp.asarray(MATRIX, w.dtype), jnp.asarray(SLOPE, w.dtype)
    return w @ matrix @ w / 2 + slope @ w


def origin(dtype=jnp.float64):
    return {"a": jnp.zeros((2, 3), dtype), "b": jnp.zeros(6, dtype)}


@pytest.fixture(scope="module")
def reports():
    options = {"planes": ("eigen", "random"), "plane_points": 5, "groups": "rows", "progress": False}
    return {way: spectrum_report(quadratic, origin(), method=way, **options) for way in ("dense", "lanczos")}


@pytest.mark.parametrize("way", ["dense", "lanczos"])
def test_known_spectrum(reports, way):
    report = reports[way]
    np.testing.assert_allclose(report.eigenvalues, np.sort(VALUES), atol=1e-10)
    assert report.lambda_max == pytest.approx(30) and report.lambda_min == pytest.approx(-2)
    assert report.outliers == 2 and report.numbers["gap_ratio"] == pytest.approx(20 / VALUES[2:].max())
    assert abs(report.trace - VALUES.sum()) <= 4 * (report.numbers["trace_error"] or 1e-12)
    assert report.numbers["spectrum"] == way and report.numbers["loss"] == 0
    np.testing.assert_allclose(report.arrays["gradient"], SLOPE, rtol=1e-12)
    within = BASIS[:, :2].T @ SLOPE
    assert report.numbers["gradient_in_top_k"] == pytest.approx(within @ within / (SLOPE @ SLOPE))
    np.testing.assert_allclose(np.abs(np.asarray(report.pairs.vectors[:2]) @ BASIS[:, :2]), np.eye(2), atol=1e-6)
    assert np.trapezoid(report.density.density, report.density.grid) == pytest.approx(1, abs=1e-6)
    assert report.numbers["gn_lambda_max"] is report.numbers["ratio_k"] is None


def test_outliers_among_half_of_all_eigenvalues_are_found_by_products_too():
    """Twelve of forty, by fewer than twice as many leading ones."""
    values = jnp.concatenate([jnp.linspace(11.0, 10.0, 12), jnp.linspace(0.1, 0.05, 28)])
    report = spectrum_report(
        lambda w: values @ w**2 / 2, jnp.ones(40), classes=4, method="lanczos", planes=(), progress=False
    )
    assert report.outliers == 12 and report.numbers["gap_ratio"] == pytest.approx(100)


@pytest.mark.parametrize("way", ["dense", "lanczos"])
def test_thresholds_are_of_the_largest_magnitude(way):
    """By products too, where -1e3 is not among the two leading eigenvalues."""
    values = jnp.array([1e-4, 1e-9, -1e-5, -1e-3, -1e3])
    report = spectrum_report(
        lambda w: values @ w**2 / 2, jnp.ones(5), method=way, top=2, planes=(), progress=False, groups=None
    )
    found = [report.numbers[name] for name in ("outliers_gap", "near_zero_fraction", "rounding")]
    assert found == [0, pytest.approx(4 / 5), pytest.approx(5 * np.finfo(float).eps * 1e3)]
    assert report.numbers["negative_eigenvalues"] == (1 if way == "dense" else None)


def test_dense_counts(reports):
    numbers = reports["dense"].numbers
    assert (numbers["negative_eigenvalues"], numbers["rank"], numbers["exact_zeros"]) == (1, SIZE - 1, 0)
    assert numbers["near_zero_fraction"] == pytest.approx(1 / SIZE)


@pytest.mark.parametrize("way", ["dense", "lanczos"])
@pytest.mark.parametrize(
    ("values", "share", "seen"),
    [
        (np.concatenate([np.zeros(300), np.geomspace(1e-3, 1, 300), -np.geomspace(1e-3, 0.1, 200)]), 3 / 8, False),
        (np.repeat([0.0, 1.0, 2.0, 5.0], [60, 30, 20, 10]), 1 / 2, True),
        (np.linspace(0.5, 1, 800), 0.0, True),
    ],
)
def test_a_share_of_zeros_is_given_where_products_can_tell(way, values, share, seen):
    """In a bulk around zero no Ritz value stands for the zeros in it; few values, and a bulk elsewhere, are told."""
    function = lambda w: jnp.asarray(values) @ w**2 / 2  # noqa: E731
    report = spectrum_report(function, jnp.ones(len(values)), method=way, planes=(), groups=None, progress=False)
    found, text = report.numbers["near_zero_fraction"], said(report, "spectrum")
    assert (found is None) == (way == "lanczos" and not seen)
    if found is not None:
        assert found == pytest.approx(share, abs=0.0 if way == "dense" or not share else 0.1)
    assert ("are near zero" in text) == (found is not None)


@pytest.mark.parametrize("way", ["dense", "lanczos"])
def test_blocks_are_those_of_the_matrix(reports, way):
    report = reports[way]
    assert [row["group"] for row in report.blocks] == ["a[0]", "a[1]", "b"]
    for row, own in zip(report.blocks, (range(3), range(3, 6), range(6, 12)), strict=True):
        block = MATRIX[np.ix_(own, own)]
        values = np.linalg.eigvalsh(block)
        assert row["parameters"] == len(own)
        assert row["block_lambda_max"] == pytest.approx(values[-1])
        assert row["block_lambda_min"] == pytest.approx(values[0])
        assert abs(row["block_trace"] - np.trace(block)) <= 4 * row.get("block_trace_error", 1e-12)
        assert row["gradient_share"] == pytest.approx((SLOPE[own] ** 2).sum() / (SLOPE**2).sum())
        assert row["leading_share"] == pytest.approx((BASIS[own, 0] ** 2).sum())
    np.testing.assert_allclose(report.shares.sum(axis=0), 1, rtol=1e-6)


def test_leaves_of_one_name_are_blocks_of_their_own():
    params = {"a": {"b": jnp.ones(2)}, "a/b": jnp.ones(3)}
    function = lambda p: (p["a"]["b"] ** 2).sum() + (2 * p["a/b"] ** 2).sum()  # noqa: E731
    blocks = spectrum_report(function, params, planes=(), progress=False).blocks
    assert [(row["parameters"], row["block_lambda_max"]) for row in blocks] == [(2, 2.0), (3, 4.0)]
    assert len({row["group"] for row in blocks}) == 2


def test_planes_show_the_function(reports):
    arrays = reports["dense"].arrays
    a, b = arrays["eigen_landscape_a"], arrays["eigen_landscape_b"]
    for j, i in ((0, 1), (3, 4)):
        w = a[i] * arrays["top_vectors"][0] + b[j] * arrays["top_vectors"][1]
        assert arrays["eigen_landscape"][j, i] == pytest.approx(w @ MATRIX @ w / 2 + SLOPE @ w)
    assert reports["dense"].planes == ["eigen", "random"]


@pytest.mark.parametrize(("size", "dtype"), [(1e30, np.float32), (-1e200, np.float64)])
def test_the_plane_of_a_large_function_shows_it(size, dtype):
    """It rises by a thousandth of itself along each eigenvector; a rise of 2 would be lost in its rounding."""
    report = spectrum_report(
        lambda w: size + abs(size) * (jnp.arange(1.0, 5.0, dtype=dtype) * w**2).sum(),
        jnp.zeros(4, dtype),
        planes="eigen",
        plane_points=5,
        groups=None,
        progress=False,
    )
    rise = (report.arrays["eigen_landscape"].astype(float) - size) / abs(size)
    np.testing.assert_allclose(rise[[0, 2, 2, 4], [2, 2, 4, 4]], [1e-3, 0, 1e-3, 2e-3], atol=1e-6)


def test_path_spans_its_plane():
    path = RNG.normal(size=(4, SIZE))
    frozen = np.arange(SIZE) < 3
    point = {"a": jnp.asarray(path[3, :6].reshape(2, 3)), "b": jnp.asarray(path[3, 6:])}
    options = {"frozen": frozen, "plane_points": 3, "groups": None, "progress": False}
    report = spectrum_report(quadratic, point, trajectory=path, **options)
    assert report.planes == ["pca", "eigen"] and report.blocks == []
    np.testing.assert_allclose(report.arrays["eigen_trajectory"][3], 0, atol=1e-12)
    leaves = ({"a": row[:6].reshape(2, 3), "b": row[6:]} for row in path)
    again = spectrum_report(quadratic, point, trajectory=leaves, planes="pca", **options)
    np.testing.assert_array_equal(report.arrays["landscape"], again.arrays["landscape"])
    assert "path, one dot an epoch" in _texts(report.plot("pca"))
    assert any(text.startswith("PC 1, ") for text in _texts(report.plot("pca")))  # of any function, not of angles


def _texts(figure):
    from matplotlib.text import Text

    return [found.get_text() for found in figure.findobj(Text)]


@pytest.mark.parametrize("steep", [4.0, 400.0])
def test_planes_reach_to_where_the_function_is_not_finite(tmp_path, steep):
    """Minus a logarithm ends at 0; the grid has points there and beyond. Directions are those of the parameters."""
    point = jnp.array([1 / np.sqrt(steep), 1.0])
    report = spectrum_report(lambda w: w[1] ** 2 - jnp.log(w[0]), point, plane_points=5, progress=False)
    a, b = (report.arrays[f"eigen_landscape_{axis}"] for axis in "ab")
    signs = np.sign(np.diag(report.pairs.vectors[:2]))
    first, second = float(point[0]) + signs[0] * a, 1 + signs[1] * b
    with np.errstate(divide="ignore", invalid="ignore"):
        values = second[:, None] ** 2 - np.log(first)[None]
    known = values[np.isfinite(values)]
    page = report.to_html(tmp_path / "page.html").read_text()
    assert f"is not finite at {values.size - known.size} of {values.size} points" in page and known.size < values.size
    assert f"it runs from {known.min():.4g} to {known.max():.4g}" in page


@pytest.mark.parametrize("size", [1.0, 1e200])
def test_planes_flat_up_to_rounding_are_drawn(size):
    report = spectrum_report(lambda w: size + 1e-15 * size * jnp.cos(w).sum(), jnp.ones(2), progress=False)
    assert np.ptp(report.arrays["eigen_landscape"]) <= 1e-14 * size
    report.plot("eigen").draw_without_rendering()


# --- models and circuits ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-25, 1e22])
def test_norms_and_shares_do_not_leave_single_precision(scale):
    x, y, w = np.float32([[1, 2, 3], [2, 1, 4]]), np.zeros(2), np.ones(3, np.float32)
    params = {"a": w[:2], "b": w[2:], "none": np.zeros((0, 2), np.float32)}
    outputs = lambda p, x: jnp.sin(x * jnp.concatenate([p["a"], p["b"]])[None])  # noqa: E731
    loss = lambda z, y: (z**2).sum(1) * z.dtype.type(scale)  # noqa: E731
    report = spectrum_report(outputs, params, (x, y), loss=loss, planes=(), progress=False)
    # Of x and w in each place sin(xw)**2: its derivatives are on paper, H and R are diagonal.
    x = np.asarray(x, float)
    gradient, hessian, residual = (
        each.mean(axis=0) for each in (x * np.sin(2 * x), 2 * x**2 * np.cos(2 * x), -2 * x**2 * np.sin(x) ** 2)
    )
    assert report.numbers["gradient_norm"] / scale == pytest.approx(np.linalg.norm(gradient), rel=1e-5)
    ratio = np.linalg.norm(residual) / np.linalg.norm(hessian)
    assert report.numbers["residual_norm_ratio"] == pytest.approx(ratio, rel=1e-4)
    assert report.numbers["gradient_in_top_k"] == pytest.approx(1, rel=1e-5)  # K is all three
    assert [row["group"] for row in report.blocks] == ["a", "b"]
    shares = gradient**2 / (gradient**2).sum()
    assert [row["gradient_share"] for row in report.blocks] == pytest.approx([shares[:2].sum(), shares[2]], rel=1e-5)


def test_the_residual_parts_norm_is_exact_on_leading_eigenvectors_and_has_an_error_beyond():
    params, x, y = network_problem(jnp.float64)
    options = {"loss": cross_entropy, "planes": (), "groups": None, "progress": False}
    dense, few, every = (
        spectrum_report(network, params, (x, y), method=way, top=top, **options).numbers
        for way, top in (("dense", 10), ("lanczos", 4), ("lanczos", 10**4))
    )
    exact = dense["residual_norm_ratio"]
    assert dense["residual_norm_error"] is None
    assert 0 < few["residual_norm_error"] < 0.2 * exact
    assert few["residual_norm_ratio"] == pytest.approx(exact, abs=5 * few["residual_norm_error"])
    assert every["residual_norm_ratio"] == pytest.approx(exact, rel=1e-8)
    assert every["residual_norm_error"] < 1e-8


@pytest.mark.parametrize("dtype", mostly_slow([jnp.float64, jnp.float32]))
def test_model_has_three_parts_that_add_up(dtype):
    params, x, y = network_problem(dtype)
    options = {"loss": cross_entropy, "planes": (), "progress": False}
    report = spectrum_report(network, params, (x, y), **options)
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    loss = lambda w: cross_entropy(network(unravel(w), x), y).mean()  # noqa: E731
    hessian = np.asarray(jax.jit(jax.hessian(loss))(flat), float)
    tolerance = 1e-10 if dtype == jnp.float64 else 1e-4
    np.testing.assert_allclose(report.eigenvalues, np.linalg.eigvalsh(hessian), atol=tolerance)
    assert report.numbers["samples"] == 13 and report.settings["classes"] == 3
    by_products = spectrum_report(network, params, (x, y), method="lanczos", top=flat.size, **options)
    for name in ("lambda_max", "lambda_min", "gn_lambda_max", "gradient_norm"):
        assert by_products.numbers[name] == pytest.approx(report.numbers[name], rel=30 * tolerance)
    for one, other in zip(report.blocks, by_products.blocks, strict=True):
        assert other["gn_block_lambda_max"] == pytest.approx(one["gn_block_lambda_max"], rel=30 * tolerance)


@pytest.mark.slow
def test_circuit_with_an_observable_is_its_own_loss():
    circuit = layered(3, 2, data=False)
    weights = {"w": jnp.asarray(RNG.normal(size=(2, 3, 3)))}
    energy = qj.Z(0) @ qj.Z(1) + 0.5 * qj.X(2)
    report = spectrum_report(circuit, weights, observables=energy, groups="rows", planes=(), progress=False)
    state = qj.statevector(circuit)
    step, flat = 1e-4, np.asarray(weights["w"]).ravel()

    def value(w):
        z, x = np.diag([1.0, -1.0]), np.array([[0.0, 1.0], [1.0, 0.0]])
        observable = np.kron(np.kron(z, z), np.eye(2)) + 0.5 * np.kron(np.eye(4), x)
        psi = np.asarray(state({"w": jnp.asarray(w.reshape(2, 3, 3))}))
        return (psi.conj() @ observable @ psi).real

    units = step * np.eye(flat.size)
    diagonal = [(value(flat + u) - 2 * value(flat) + value(flat - u)) / step**2 for u in units]
    assert report.trace == pytest.approx(sum(diagonal), abs=1e-5)
    assert report.numbers["loss"] == pytest.approx(value(flat))
    assert [row["group"] for row in report.blocks] == ["w[0]", "w[1]"]


@pytest.mark.slow
def test_circuit_with_data_is_a_model():
    circuit = layered(3, 1)
    weights = {"w": jnp.asarray(RNG.normal(size=(1, 3, 3)))}
    x, y = {"x": jnp.asarray(RNG.normal(size=(9, 3)))}, jnp.asarray(RNG.integers(0, 2, 9))
    observables = [qj.Z(0), qj.Z(1)]
    report = spectrum_report(
        circuit, weights, (x, y), loss=cross_entropy, observables=observables, planes=(), progress=False
    )
    values = qj.expectation(circuit, observables)
    function = lambda w: cross_entropy(values({"w": w.reshape(1, 3, 3), **x}), y).mean()  # noqa: E731
    hessian = jax.jit(jax.hessian(function))(weights["w"].ravel())
    np.testing.assert_allclose(report.eigenvalues, np.linalg.eigvalsh(hessian), atol=1e-10)
    # Rotations about Z at the end change no Z: parameters that nothing depends on.
    assert report.numbers["exact_zeros"] >= 3


# --- files, pages, resuming ------------------------------------------------------------------------------------------


def test_saved_and_loaded(reports, tmp_path):
    report = reports["lanczos"]
    again = SpectrumReport.load(report.save(tmp_path / "mine.npz"))
    assert again.numbers == dict(report.numbers) and list(again.blocks) == list(report.blocks)
    assert set(again.arrays) == set(report.arrays) and again.hessian is None
    np.testing.assert_array_equal(again.density.density, report.density.density)
    assert repr(again) == repr(report) and "lambda_max 30.00" in repr(report)
    files.write_npz(tmp_path / "other.npz", {"a": np.zeros(1)})
    with pytest.raises(files.DamagedError, match=r"no report of a spectrum\); give a file that"):
        SpectrumReport.load(tmp_path / "other.npz")
    text = str(files.read_npz(tmp_path / "mine.npz", "report")["report"])
    for broken, reason in ((text.replace('"form": 1', '"form": 2'), "form 2.; update qj"), ("{}", "give a file that")):
        files.write_npz(tmp_path / "broken.npz", {"report": np.array(broken)})
        with pytest.raises(files.DamagedError, match=reason):
            SpectrumReport.load(tmp_path / "broken.npz")


def test_numbers_that_are_not_finite_come_back(tmp_path):
    # A single eigenvalue has no gap to another.
    report = spectrum_report(lambda w: w**2, jnp.array(1.0), planes=(), progress=False)
    assert np.isnan(report.numbers["gap_ratio"])
    again = SpectrumReport.load(report.save(tmp_path / "mine.npz"))
    assert repr(again.numbers) == repr(dict(report.numbers)) and again.texts() == report.texts()
    pages = [one.to_html(tmp_path / f"{place}.html").read_text() for place, one in enumerate((report, again))]
    assert pages[0] == pages[1]
    # Files of earlier versions have null there.
    said = json.loads(str(files.read_npz(tmp_path / "mine.npz", "report")["report"]))
    earlier = json.dumps({name: value for name, value in said.items() if "not_finite" not in name})
    files.write_npz(tmp_path / "earlier.npz", {**report.arrays, "report": np.array(earlier)})
    assert SpectrumReport.load(tmp_path / "earlier.npz").numbers["gap_ratio"] is None


@pytest.mark.parametrize("way", mostly_slow(["dense", "lanczos"], keep=1))
def test_page_says_what_was_found(reports, way, tmp_path):
    report = reports[way]
    page = report.to_html(tmp_path / "page.html").read_text()
    assert page.count("data:image/") == 4
    assert "run from -2.000 to 30.00" in page and "2 stand out" in page
    assert re.search(r"The sharpest block is b \(|The sharpest block is a\[", page)
    assert ">a[1]</td>" in page and "http" not in page.split("<main>")[1]
    assert "<h4>Hessian spectrum</h4>" in report._repr_html_()
    with pytest.raises(ValueError, match=r"`what` must be .*'spectrum', 'blocks', 'eigen', 'random'.*'pca'"):
        report.plot("pca")


def test_frozen_groups_are_named(tmp_path):
    function = lambda p: quadratic({"a": jax.lax.stop_gradient(p["a"]), "b": p["b"]})  # noqa: E731
    report = spectrum_report(function, origin(), planes=(), progress=False)
    assert report.blocks[0]["block_exact_zeros"] == 6
    assert "does not depend on a at all" in report.to_html(tmp_path / "page.html").read_text()


def test_killed_matrix_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("qjaxsim.common.checkpoint.SAVES_APART", 0)
    monkeypatch.setattr("qjaxsim.curvature.spectra.measure.ROWS_AT_ONCE", 5)
    options = {"planes": (), "progress": False, "checkpoint": tmp_path, "check_deterministic": False}
    whole = spectrum_report(quadratic, origin(), **options)
    # A file with the first rows only, as a killed call leaves it.
    path = tmp_path / "hessian_so_far.npz"
    held = files.read_npz(path)
    assert held["rows"].shape == (SIZE, SIZE)
    files.write_npz(path, held | {"rows": held["rows"][:5]})
    again = spectrum_report(quadratic, origin(), **options)
    np.testing.assert_array_equal(again.eigenvalues, whole.eigenvalues)
    # What the file holds is not computed again.
    files.write_npz(path, held | {"rows": 2 * held["rows"]})
    assert spectrum_report(quadratic, origin(), **options).lambda_max == pytest.approx(60)
    with pytest.raises(ValueError, match="other params"):
        spectrum_report(quadratic, {"a": jnp.ones((2, 3)), "b": jnp.zeros(6)}, **options)
    with pytest.raises(ValueError, match="other function"):
        spectrum_report(lambda p: 2 * quadratic(p), origin(), **options)


def test_planes_of_another_function_begin_anew(tmp_path):
    options = {"planes": ("random",), "plane_points": 3, "progress": False, "checkpoint": tmp_path}
    params = {"w": jnp.array([1.0, 2.0])}
    for rise in (0.0, 5.0):  # of functions with one Hessian
        found = spectrum_report(lambda p, rise=rise: (p["w"] ** 2).sum() + rise, params, **options)
        assert found.arrays["random_landscape"][1, 1] == pytest.approx(5 + rise)


@pytest.mark.parametrize(
    "point", [{"a": np.zeros(6), "b": np.zeros((2, 3))}, {"a": np.zeros((2, 3)), "c": np.zeros(6)}]
)
def test_paths_of_other_parameters_are_refused(point):
    """As many numbers as there are, which would stand in other places."""
    message = r"with the arrays of params, {\"\['a'\]\": \(2, 3\), .*}, but point 0 holds {\"\['a'\]\": "
    with pytest.raises(ValueError, match=message):
        spectrum_report(quadratic, origin(), trajectory=[point] * 2, progress=False)
