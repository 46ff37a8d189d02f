"""What reports on a spectrum refuse, each in one sentence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.curvature import spectrum_report
from qjaxsim.models.losses import cross_entropy

XY = (jnp.ones((4, 2)), jnp.zeros(4, int))


def linear(w, x):
    return x @ w.reshape(2, 2)


@pytest.mark.parametrize(
    ("function", "options", "error", "message"),
    [
        (3, {}, TypeError, r"`function` must be a function of params, or a qj.Circuit with `observables`, but is 3"),
        (lambda w: w, {}, TypeError, r"`function` must return a real scalar, but it returned float64\[4\]; return one"),
        (lambda w: jax.lax.complex(w, w).sum(), {}, TypeError, r"returned complex128\[\]; take its real part"),
        (lambda w: "x", {}, TypeError, r"`function` must return a real scalar, but it returned 'x'"),
        (lambda w: jnp.log(-(w**2).sum()), {}, ValueError, r"`function` must be finite at the point, but is nan there"),
        *(
            (lambda w: (jnp.abs(w - 1) ** 1.5).sum(), {"method": method}, ValueError, "`function` must have finite sec")
            for method in ("dense", "lanczos")
        ),
        (
            lambda w, x: jnp.abs(linear(w - 1, x)) ** 1.5,
            {"data": XY, "loss": cross_entropy},
            ValueError,
            "`function` must have finite second derivatives at the point, .* range of float64 scale the function down",
        ),
        (lambda w: w.sum() * 0, {}, ValueError, r"does not depend on its parameters: gradient and Hessian are zero"),
        (
            lambda w: (w * np.random.default_rng().random()).sum(),
            {},
            ValueError,
            r"must be deterministic, but two calls .* gave",
        ),
        *(
            (
                lambda w, x: linear(w, x / (1 + x.std(0, keepdims=True))),
                {"data": (jnp.eye(samples, 2), XY[1][0].repeat(samples)), "loss": cross_entropy},
                ValueError,
                "must give each sample's outputs from that sample alone, .* normalise by stored averages",
            )
            for samples in (2, 3, 6)
        ),
        (
            lambda w, x: linear(w, jnp.where(jax.random.bernoulli(jax.random.key(1), 0.5, x.shape), x, 0.0)),
            {"data": (jnp.ones((6, 2)), XY[1][0].repeat(6)), "loss": cross_entropy},
            ValueError,
            "from that sample alone, .* in another order, .* switch dropout off, or give each sample a key of its own",
        ),
        (linear, {"data": XY}, ValueError, r"`loss` must be given with `data`"),
        (jnp.sum, {"loss": cross_entropy}, ValueError, r"`loss` needs `data`"),
        (linear, {"data": 3, "loss": cross_entropy}, ValueError, r"`data` must be a pair \(x, y\) .* but is 3"),
        (linear, {"data": (XY[0], XY[1][:3]), "loss": cross_entropy}, ValueError, "one and the same number of samples"),
        (linear, {"data": (XY[0], None), "loss": cross_entropy}, ValueError, "`data` has no targets, y is None"),
        (jnp.sum, {"observables": [qj.Z(0)]}, ValueError, r"`observables` goes with a qj.Circuit as `function`"),
        (qj.Circuit(2), {}, ValueError, r"`observables` must be given for a circuit"),
        (qj.Circuit(2), {"observables": [qj.Z(0), qj.Z(1)]}, ValueError, r"must be one for a circuit without `data`"),
        (qj.Circuit(2), {"observables": qj.Z(0), "data": XY}, ValueError, r"circuit's inputs by name"),
        (jnp.sum, {"method": "danse"}, ValueError, r"`method` must be .*dense.* but is 'danse'"),
        (jnp.sum, {"top": 0}, ValueError, "`top` must be"),
        (jnp.sum, {"classes": 1}, ValueError, "`classes` must be"),
        (jnp.sum, {"seed": -1}, ValueError, "`seed` must be"),
        (jnp.sum, {"planes": "pca"}, ValueError, r"`planes` has 'pca', .* but there is no `trajectory`"),
        (jnp.sum, {"planes": ("eigne",)}, ValueError, r"`planes` must be .*eigen.* but is 'eigne'"),
        (jnp.sum, {"plane_points": 1}, ValueError, "`plane_points` must be"),
        (
            jnp.sum,
            {"planes": ("eigen",), "plane_points": 10**7},
            MemoryError,
            "A plane of 10,000,000 x 10,000,000 points needs .* choose fewer `plane_points`",
        ),
        (jnp.sum, {"trajectory": np.zeros((3, 5))}, ValueError, r"`trajectory` must be .* \(T, 4\), but .*\(3, 5\)"),
        (jnp.sum, {"trajectory": np.full((3, 4), np.nan)}, ValueError, "`trajectory` must hold finite numbers"),
        (
            jnp.sum,
            {"trajectory": {"w": np.zeros((3, 4))}},
            ValueError,
            "`trajectory` must be a sequence of points with",
        ),
        (jnp.sum, {"check_deterministic": "no"}, ValueError, "`check_deterministic` must be True .* but is 'no'"),
        (jnp.sum, {"frozen": np.zeros(4)}, ValueError, r"`frozen` must be a boolean mask of shape \(4,\), but is"),
        (jnp.sum, {"groups": "leafs"}, ValueError, r"`groups` must be 'leaves', .*'leafs'.*did you mean 'leaves'"),
        (jnp.sum, {"groups": 3}, TypeError, r"`groups` must be a name of a kind, .* but is 3"),
        (jnp.sum, {"groups": {"all": [0, 4]}}, ValueError, r"`groups\['all'\]` must give places from 0 to 3"),
        (jnp.sum, {"groups": lambda name: None}, TypeError, r"mapped 'params' to None"),
    ],
)
def test_refusals(function, options, error, message):
    with pytest.raises(error, match=message):
        spectrum_report(function, jnp.ones(4), **{"progress": False, "planes": (), **options})


def test_parameters_that_are_no_floats():
    with pytest.raises(TypeError, match="real float arrays only, but a leaf has dtype int"):
        spectrum_report(lambda w: 1.0, {"w": jnp.arange(3)}, progress=False)


def test_traced_parameters():
    report = lambda w: spectrum_report(jnp.sum, w, progress=False).eigenvalues  # noqa: E731
    with pytest.raises(TypeError, match=r"`params` and `data` must be known, but they are traced .* outside"):
        jax.jit(report)(jnp.ones(4))


def test_one_parameter_has_no_plane():
    report = spectrum_report(lambda w: 3 * w**2, jnp.array(1.0), progress=False)
    assert report.lambda_max == pytest.approx(6) and report.planes == []
    with pytest.raises(ValueError, match="`planes` needs two parameters"):
        spectrum_report(lambda w: w**2, jnp.array(1.0), planes=("eigen",), progress=False)
