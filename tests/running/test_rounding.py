"""What cannot be negative is not, in spite of rounding, and its derivatives are what they were."""

import jax
import numpy as np

import qjaxsim as qj


def test_rounding_takes_no_probability_or_variance_below_zero():
    """At quarter turns outcomes and observables of noisy circuits are certain; roots and their slopes need them so."""
    a, p = qj.Parameter("a", (5,)), qj.Parameter("p")
    circuit = qj.Circuit(3).rx(a[0], 0).ry(a[1], 1).rz(a[2], 0).cx(0, 1).depolarizing(p, 0).amplitude_damping(p, 1)
    circuit.rx(a[3], 0).ry(a[4], 1).cx(0, 1).ry(-a[1], 1).measure(2, 0)
    turns = np.pi / 2 * np.random.default_rng(0).integers(-3, 4, (40, 5))
    observables = [qj.Z(0), qj.Z(1), qj.X(0) @ qj.X(1), 3 * qj.Z(2)]
    for name, found in {
        "qubits": qj.probabilities(circuit),
        "bits": qj.probabilities(circuit.copy().measure(range(2), range(1, 3)), bits=[0, 1, 2]),
        "variances": qj.variance(circuit, observables),
    }.items():
        for dtype in (np.float32, np.float64):
            assert (np.asarray(found({"a": turns.astype(dtype), "p": 0.0})) >= 0).all(), (name, dtype)


def test_probabilities_and_variances_grow_where_they_are_zero():
    """By hand: of |000> a flip of strength p gives 1 the probability p, and Z the variance 4 p (1 - p)."""
    p = qj.Parameter("p")
    circuit = qj.Circuit(3).bit_flip(p, 1)
    slope = jax.jacobian(lambda s: qj.probabilities(circuit, [1])({"p": s}))(0.0)
    np.testing.assert_allclose(slope, [-1, 1], atol=1e-12)
    first = jax.grad(lambda s: qj.variance(circuit, qj.Z(1))({"p": s}))
    np.testing.assert_allclose([first(0.0), jax.grad(first)(0.0)], [4, -8], atol=1e-12)
