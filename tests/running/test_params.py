"""What the engine's functions accept as parameters and options, and what they say to the rest."""

from types import MappingProxyType, SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.curvature import matrix_operator, mean_loss, plan_split, split_hessian, top_eigenpairs
from qjaxsim.geometry import neural_tangent_kernel

x, w = qj.Parameter("x", (2,)), qj.Parameter("w", (3, 2))
CIRCUIT = qj.Circuit(3).rx(x[0], 0).ry(x[1], 1).cx(0, 1).u(w[0, 0], w[1, 1], w[2, 0], 2)
GOOD = {"x": np.zeros(2), "w": np.zeros((3, 2))}

BAD = [
    (None, ValueError, r"`params` lacks \['w', 'x'\]; the circuit's parameters are \{'x': \(2,\), 'w': \(3, 2\)\}"),
    ({"x": np.zeros(2)}, ValueError, r"Argument `params` lacks \['w'\]"),
    ({**GOOD, "y": 1.0}, ValueError, r"`params` holds unknown names \['y'\]; the circuit's parameters are"),
    ({**GOOD, "x": np.zeros(3)}, ValueError, r"Parameter 'x' must have shape \(\.\.\., 2\), but has shape \(3,\)"),
    ({**GOOD, "x": 0.5}, ValueError, r"Parameter 'x' must have shape \(\.\.\., 2\), but has shape \(\)"),
    ({**GOOD, "w": np.zeros((2, 3))}, ValueError, r"must have shape \(\.\.\., 3, 2\), but has shape \(2, 3\)"),
    ({**GOOD, "w": np.zeros(2)}, ValueError, r"must have shape \(\.\.\., 3, 2\), but has shape \(2,\)"),
    (
        {"x": np.zeros((4, 2)), "w": np.zeros((5, 3, 2))},
        ValueError,
        r"Batch axes must broadcast against each other, but are \{'x': \(4,\), 'w': \(5,\)\}",
    ),
    ({**GOOD, "x": np.zeros((0, 2))}, ValueError, r"Batch axes must not be empty, but are \{'x': \(0,\), 'w': \(\)\}"),
    ({**GOOD, "x": np.zeros(2, complex)}, TypeError, "Parameter 'x' must be real, but has dtype complex128"),
    (
        {**GOOD, "x": [True, False]},
        TypeError,
        "'x' must be real, but has dtype bool; pass 1.0 for True and 0.0 for False",
    ),
    ({**GOOD, "x": [[0.1, 0.2], [0.3]]}, TypeError, "Parameter 'x' must be an array of real numbers, but is a list"),
    (
        {**GOOD, "x": np.array([0.1, 0.2], object)},
        TypeError,
        "'x' .* but is a ndarray of dtype object that makes no arr",
    ),
    ({**GOOD, "x": "ab"}, TypeError, "'x'"),  # refused by jax.jit, which names the parameter
    ([0.1, 0.2], TypeError, r"`params` must be a dictionary with the keys \['x', 'w'\], but is list\."),
    (np.zeros(2), TypeError, r"`params` must be a dictionary"),
    (
        {x: np.zeros(2), w: np.zeros((3, 2))},
        ValueError,
        "`params` must have dictionaries whose keys can be sorted, such as names, but is {",
    ),
    (
        MappingProxyType(GOOD),
        TypeError,
        "must be a dictionary that JAX knows, but is mappingproxy; pass `dict`",
    ),
    (
        {**GOOD, "x": memoryview(np.zeros(2))},
        TypeError,
        "an array of JAX's or NumPy's, but holds a memoryview; pass",
    ),
]


@pytest.mark.parametrize(("params", "error", "message"), BAD)
def test_bad_parameters(params, error, message):
    for make in (qj.statevector, qj.probabilities, qj.unitary, lambda c: qj.expectation(c, qj.Z(0))):
        with pytest.raises(error, match=message):
            make(CIRCUIT)(params)
    with pytest.raises(error, match=message):
        qj.sample(CIRCUIT, 3)(params, jax.random.key(0))


def test_masked_arrays_are_refused_before_and_after_such_a_shape_was_compiled():
    run = qj.statevector(CIRCUIT)
    masked = np.ma.masked_array(np.ones(2), mask=[0, 1])
    state = np.ma.masked_array(np.ones(8), mask=[0] * 7 + [1])
    for _ in range(2):
        with pytest.raises(TypeError, match="Parameter 'x' must be whole, but is a masked array; fill it"):
            run({**GOOD, "x": masked})
        with pytest.raises(TypeError, match="Argument `initial` must be whole, but is a masked array"):
            run(GOOD, initial=state)
        run({**GOOD, "x": masked.data}), run(GOOD, initial=state.data)


def test_random_keys_are_no_angles():
    with pytest.raises(TypeError, match="Parameter 'x' must be real, but has dtype key"):
        qj.statevector(CIRCUIT)({**GOOD, "x": jax.random.split(jax.random.key(0), 2)})


def test_a_circuit_without_parameters_takes_no_names():
    with pytest.raises(ValueError, match=r"unknown names \['x'\]; the circuit's parameters are \{\}"):
        qj.statevector(qj.Circuit(3))({"x": 1.0})


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: qj.expectation(CIRCUIT, []),
            ValueError,
            "`observables` must hold at least one PauliSum, but is empty",
        ),
        (lambda: qj.expectation(CIRCUIT, ["ZZ"]), TypeError, "Observable 0 must be a PauliSum, but is str; write"),
        (lambda: qj.expectation(CIRCUIT, [qj.Z(0), 1]), TypeError, "Observable 1 must be a PauliSum, but is int"),
        (lambda: qj.expectation(CIRCUIT, qj.Z(3)), ValueError, "Observable 0 acts on qubit 3, but the circuit has 3"),
        (
            lambda: qj.expectation(CIRCUIT, 1j * qj.Z(0)),
            ValueError,
            r"Observable 0 must have real .*, but has \(0\+1j\) Z0",
        ),
        (lambda: qj.probabilities(CIRCUIT, []), ValueError, "`qubits` must name at least one qubit, but is empty"),
        (
            lambda: qj.probabilities(CIRCUIT, [0, 0]),
            ValueError,
            r"Qubits of 'measurement' must differ, but are \(0, 0\)",
        ),
        (lambda: qj.probabilities(CIRCUIT, [3]), ValueError, "Qubit 3 of 'measurement' is out of range for 3 qubits"),
        (lambda: qj.sample(CIRCUIT, 0), ValueError, "Argument `shots` must be a positive integer, but is 0"),
        (lambda: qj.sample(CIRCUIT, 10.0), ValueError, "Argument `shots` must be a positive integer, but is 10.0"),
        (lambda: qj.sample(CIRCUIT, True), ValueError, "must be a positive integer, but is True"),
        (lambda: qj.sample(CIRCUIT, 5, [-1]), ValueError, "Qubit -1 of 'measurement' is out of range"),
        (
            lambda: qj.unitary(qj.Circuit(3).repeat(qj.Circuit(3).project(0, 1), 2)),
            ValueError,
            "A circuit with projections has no unitary; remove `project`",
        ),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_batch_axes_broadcast_like_numpys():
    cases = [((), ()), ((4,), ()), ((), (4,)), ((4,), (3, 1)), ((3, 1, 2), (4, 1)), ((1,), (1, 1)), ((2, 2), (2, 2))]
    for x_axes, w_axes in cases:
        params = {"x": np.zeros((*x_axes, 2)), "w": np.zeros((*w_axes, 3, 2))}
        shape = np.broadcast_shapes(x_axes, w_axes)
        assert jax.eval_shape(qj.statevector(CIRCUIT), params).shape == (*shape, 8)
        assert jax.eval_shape(qj.expectation(CIRCUIT, [qj.Z(0)] * 2), params).shape == (*shape, 2)
        assert jax.eval_shape(qj.expectation(CIRCUIT, qj.Z(0)), params).shape == shape
        assert jax.eval_shape(qj.probabilities(CIRCUIT, [2, 0]), params).shape == (*shape, 4)
        assert jax.eval_shape(qj.unitary(CIRCUIT), params).shape == (*shape, 8, 8)
        assert jax.eval_shape(qj.sample(CIRCUIT, 7, [1]), params, jax.random.key(0)).shape == (*shape, 7, 1)


def test_any_array_like_is_taken():
    run = jax.jit(qj.expectation(CIRCUIT, qj.Z(1)))
    want = run({"x": np.array([1.0, 2.0]), "w": np.ones((3, 2))})
    for value in ([1.0, 2.0], (1, 2), jnp.array([1.0, 2.0]), [np.float64(1), jnp.array(2.0)], np.array([1, 2])):
        np.testing.assert_allclose(run({"x": value, "w": np.ones((3, 2), np.int8)}), want, atol=1e-12)


WIDE = [np.int64(3 * 10**9), np.array(-(3 * 10**9)), np.uint64(2**63), 3 * 10**9, 10**20]


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("value", WIDE, ids=str)
def test_integers_that_jax_does_not_hold_are_not_wrapped_round(value, double):
    t, pair = qj.Parameter("t"), qj.Parameter("pair", (2,))
    counted = qj.expectation(qj.Circuit(1), (t + pair[1]) * qj.Z(0))
    with jax.enable_x64(double):
        found = counted({"t": value, "pair": [0, 1]})
    exact = np.float64 if double else np.float32
    assert found.dtype == exact
    assert found == exact(value) + exact(1)


def test_numbers_may_have_another_machines_order_of_bytes():
    """As FITS, HDF5 and IDX files have them."""
    swapped = lambda value: np.asarray(value).astype(np.asarray(value).dtype.newbyteorder("S"))  # noqa: E731
    values = qj.expectation(CIRCUIT, [qj.Z(0), qj.Z(1)])
    angles, counts = np.array([0.4, 1.1]), np.array([1, 2])
    for given in (angles, counts, angles.astype("float32")):
        for run in (values, jax.jit(lambda v, given=given: values({"x": swapped(given), "w": v}))):
            params = {"x": swapped(given), "w": np.zeros((3, 2))}
            found = run(params) if run is values else run(params["w"])
            np.testing.assert_allclose(found, [np.cos(given[0]), np.cos(given[0]) * np.cos(given[1])], rtol=1e-6)
    state = np.random.default_rng(0).normal(size=8)
    found = qj.statevector(qj.Circuit(3))({}, initial=swapped(state))
    np.testing.assert_allclose(found, state / np.linalg.norm(state), rtol=1e-6)

    first = lambda v: values({"x": v, "w": np.zeros((3, 2))})[0]  # noqa: E731
    wanted = np.diag([-np.cos(0.4), 0])
    np.testing.assert_allclose(qj.hessian(first, swapped(angles)), wanted, atol=1e-12)
    np.testing.assert_allclose(qj.hvp(first, swapped(angles), swapped(np.ones(2))), wanted.sum(0), atol=1e-12)
    np.testing.assert_allclose(top_eigenpairs(matrix_operator(swapped(wanted)), 1, key=jax.random.key(0)).values, [0])
    x, zeros, w = state[:, None], np.zeros((8, 2)), np.array([0.5, 2.0])
    scaled = lambda w, x: x * w[None]  # noqa: E731
    half = lambda z, y: ((z - y) ** 2).sum(axis=1) / 2  # noqa: E731
    square = np.mean(state**2)
    np.testing.assert_allclose(split_hessian(scaled, half, swapped(w), x, zeros).hessian, square * np.eye(2))
    np.testing.assert_allclose(mean_loss(scaled, half, x, zeros)(swapped(w)), square * (w**2).sum() / 2)
    assert plan_split(scaled, half, swapped(w), x, zeros).structure == "pushed"
    with pytest.raises(TypeError, match="`params` must hold real float arrays only, but a leaf has dtype object; cast"):
        split_hessian(scaled, half, np.array([None, 1.0]), x, zeros)
    for refused in (
        lambda x: split_hessian(scaled, half, w, x, zeros),
        lambda x: mean_loss(scaled, half, x, zeros),
        lambda x: neural_tangent_kernel(scaled, w, x),
    ):
        with pytest.raises(TypeError, match="Argument `x1?` must be in this machine's order of bytes, but is [<>]f8;"):
            refused(swapped(x))
        with pytest.raises(TypeError, match="Argument `x1?` must hold .* that JAX has, but a leaf has dtype .*; cast"):
            refused(np.array([[None]] * 8))
        foreign = SimpleNamespace(__array__=None)  # as a tensor of PyTorch's or a table of pandas'
        with pytest.raises(TypeError, match="Argument `x1?` must hold .* that JAX has, .*; pass `numpy.asarray` of it"):
            refused(foreign)
        with pytest.raises(ValueError, match="Arguments? `x1?`.* along axis 0, but .*; make lists of numbers arrays"):
            refused([[0.1, 0.2]] * 8)
