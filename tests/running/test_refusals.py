"""What users type: numbers of NumPy and JAX are taken, and misuse is told in one sentence of our own."""

import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import qjaxsim_qiskit
from jax import export
from jax.experimental import jet
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import qjaxsim as qj
from qjaxsim.circuits.hints import HINTS
from qjaxsim.curvature import (
    curvature_operators,
    gauss_newton_dual,
    grid_around,
    linear_operator,
    matrix_operator,
    power_iteration,
    random_plane,
    spectral_density,
    split_hessian,
    top_eigenpairs,
    trace_estimate,
)
from qjaxsim.models.attention import AttentionSettings
from qjaxsim.models.attention_vit import VisionTransformer
from qjaxsim.models.disentangler.config import DisentanglerConfig
from qjaxsim.models.hybrid import HybridModel
from qjaxsim.models.patches import PatchesModel
from qjaxsim.models.qrnn_topology import QrnnTopology
from qjaxsim.training import TrainConfig
from tests.cases import mostly_slow

x, w = qj.Parameter("x"), qj.Parameter("w", (2,))
VALUE = qj.expectation(qj.Circuit(2).ry(x, 0).rx(w[0], 1).cx(0, 1).ry(w[1], 0).swap(0, 1), [qj.Z(0), qj.X(1)])
DRAW = qj.sample(qj.Circuit(1).ry(x, 0), 3)
W = jnp.array([0.3, 0.7])
KEY = jax.random.key(0)
EYE = matrix_operator(jnp.eye(3))


@pytest.mark.parametrize("half", [0.5, np.float32(0.5), np.array(0.5), jnp.array(0.5), jnp.float32(0.5)])
def test_coefficients_may_be_arrays_of_one_number(half):
    assert half * qj.Z(0) == qj.Z(0) * half == qj.PauliSum({((0, "Z"),): 0.5})
    assert qj.Z(0) / half == 2 * qj.Z(0)
    assert half + qj.Z(0) == qj.Z(0) + half == qj.Z(0) + 0.5 * qj.I()
    assert half - qj.Z(0) == -(qj.Z(0) - half)


@pytest.mark.parametrize("one", mostly_slow([1, np.int64(1), np.uint8(1), np.array(1), jnp.array(1)], keep=[2, 4]))
def test_integers_may_be_arrays_of_one_integer(one):
    plain = qj.Circuit(2).rx(0.5, 1).cx(1, 0).project(1, 1).repeat(qj.Circuit(2).h(1), 2)
    given = qj.Circuit(one + 1).rx(0.5, one).cx(one, 0).project(one, one).repeat(qj.Circuit(2).h(one), one + 1)
    assert plain == given
    assert qj.Z(one) == qj.Z(1) and w[one] == w[1] and qj.Parameter("w", one + 1) == w
    assert qj.sample(plain, one)(None, jax.random.key(0)).shape == (1, 2)
    assert qj.PlanOptions(max_block=one).max_block == 1
    np.testing.assert_allclose(qj.hessian(lambda v: (v**2).sum(), W, one), 2 * np.eye(2))


def test_angles_may_be_arrays_of_one_number():
    assert qj.Circuit(1).rx(np.array(0.5), 0).ry(jnp.array(0.25) * x, 0) == qj.Circuit(1).rx(0.5, 0).ry(0.25 * x, 0)


class QNode:
    """Stands for PennyLane's, which is told by its name."""

    def __repr__(self) -> str:
        return "a node"


class Lines:
    """What shows itself in two lines, as matrices do."""

    def __repr__(self) -> str:
        return "one\n two"


class Module:
    """A layer with a function among its leaves, as modules of other libraries have."""


jax.tree_util.register_pytree_node(Module, lambda m: ((W, jnp.tanh), None), lambda _, leaves: Module())
MASKED = np.ma.masked_array(np.eye(2), mask=1 - np.eye(2))
REFUSED = [
    (lambda: VALUE({"x": object(), "w": W}), TypeError, "Parameter 'x' must be an array of real numbers"),
    (lambda: VALUE({"x": "half", "w": W}), TypeError, "Parameter 'x' must be an array of real numbers"),
    (lambda: VALUE({"x": None, "w": W}), TypeError, "Parameter 'x' must be an array of real numbers"),
    (lambda: VALUE("half"), TypeError, "Argument `params` must be a dictionary"),
    (lambda: DRAW({"x": 0.5}, "key"), TypeError, "Argument `key` must be a random key"),
    (
        lambda: DRAW({"x": 0.5}),
        TypeError,
        "Argument `key` must be a random key, as .* but is not given",
    ),
    (lambda: DRAW({"x": 0.5}, jax.random.split(KEY, 3)), ValueError, r"one random key, but is .* of shape \(3,\); map"),
    (lambda: DRAW({"x": 0.5}, jax.random.PRNGKey(0)[None]), ValueError, r"is an array of keys of shape \(1,\)"),
    (
        lambda: qj.sample(qj.Circuit(1), 10**12)({}, KEY),
        MemoryError,
        "Drawing 1000000000000 shots needs .*; ask for fewer",
    ),
    (lambda: qj.expectation(qj.Circuit(1), qj.Z(0), shots=10**12)({}, KEY), MemoryError, "Drawing 1000000000000 shots"),
    (
        lambda: qj.trajectories(qj.Circuit(1), qj.Z(0), 10**12)({}, KEY),
        MemoryError,
        "Following 1000000000000 trajectories needs .*; ask for fewer",
    ),
    (
        lambda: qj.trajectories(qj.Circuit(1), [qj.Z(0)], 10**20)({}, KEY),
        MemoryError,
        "Following 1(0{20}) trajectories needs .*; ask for fewer",
    ),
    (lambda: qj.trajectories(qj.Circuit(1), qj.Z(0), 5)({}, 0), TypeError, "random key, as .* makes them, but is 0"),
    (
        lambda: DRAW({"x": 0.5}, jax.random.key(0), 3),
        TypeError,
        r"^sample\(\) takes 2 positional arguments but 3",
    ),
    (lambda: VALUE({"x": 0.5, "w": W}, 3), TypeError, r"^expectation\(\) takes from 0 to 1 positional arguments but 2"),
    (lambda: qj.unitary(qj.Circuit(1))({}, 3), TypeError, r"^unitary\(\) takes from 0 to 1 positional arguments but 2"),
    (
        lambda: qj.expectation(qj.Circuit(1), Lines()),
        TypeError,
        "PauliSum or several, but is one two .Lines.",
    ),
    (lambda: qj.expectation(Lines(), qj.Z(0)), TypeError, "`circuit` must be a Circuit, but is one two .Lines."),
    (lambda: qj.statevector(QNode()), TypeError, r"a node \(QNode\); `qjaxsim.from_pennylane\(it, ...\).circuit` is"),
    (lambda: qj.Circuit(1).rx(Lines(), 0), TypeError, "or an expression of parameters, but is one two .Lines."),
    (lambda: jax.jit(lambda a: qj.expectation(qj.Circuit(1), a * qj.Z(0))())(0.5), TypeError, "is traced by JAX"),
    (lambda: jax.grad(lambda a: qj.expectation(qj.Circuit(1), qj.Z(0) * a)())(0.5), TypeError, "is traced by JAX"),
    (
        lambda: jax.jit(lambda a: qj.unitary(qj.Circuit(1).rx(a, 0))())(0.5),
        TypeError,
        "An angle must be a number known",
    ),
    (
        lambda: jax.jit(lambda a: qj.unitary(qj.Circuit(1).unitary(a, 0))())(np.eye(2)),
        TypeError,
        "Argument `matrix` must",
    ),
    (lambda: qj.Circuit(1).unitary("ab", 0), TypeError, "Argument `matrix` must be an array of numbers"),
    (lambda: qj.Circuit(1).initialize("ab"), TypeError, "Argument `state` must be an array of numbers"),
    (lambda: qj.Circuit(1).kraus("ab", 0), TypeError, "Argument `matrices` must be an array of numbers"),
    (lambda: qj.Circuit(1).unitary(MASKED, 0), TypeError, "`matrix` must be whole, but is a masked array; fill it"),
    (lambda: qj.Circuit(1).initialize(MASKED[0]), TypeError, "Argument `state` must be whole, but is a masked array"),
    (lambda: qj.Circuit(1).kraus(MASKED[None], 0), TypeError, "Argument `matrices` must be whole, but is a masked"),
    (lambda: qj.Hermitian(MASKED, 0), TypeError, "Argument `matrix` must be whole, but is a masked array"),
    (lambda: qj.Diagonal(MASKED[0], 0), TypeError, "Argument `values` must be whole, but is a masked array"),
    (lambda: qj.Projector(MASKED[0], 0), TypeError, "Argument `state` must be whole, but is a masked array"),
    (lambda: qj.SparseHermitian(([0], [0], MASKED[0, :1]), 0), TypeError, "Argument `matrix` must be whole"),
    (lambda: qj.pauli_coefficients(MASKED), TypeError, "Argument `matrix` must be whole, but is a masked array"),
    (lambda: qj.Circuit(1).rx(MASKED[0, 1], 0), TypeError, "An angle must be whole, but is a masked array"),
    (lambda: qj.Z(0) * MASKED[0, 1], TypeError, "A coefficient of a Pauli sum must be whole, but is a masked array"),
    (lambda: qj.Circuit(2).cnot(0, 1), AttributeError, "no method `.cnot`; use `.cx`"),
    (lambda: qj.Circuit(3).toffoli(0, 1, 2), AttributeError, "use `.ccx`"),
    (lambda: qj.Circuit(1).measure_all(), AttributeError, "`qjaxsim.sample`"),
    (lambda: qj.Circuit(1).prepare_state([1, 0]), AttributeError, "use `.initialize`"),
    (lambda: qj.Circuit(1).barrier(), AttributeError, "leave it out"),
    (lambda: qj.Circuit(1).rxz(0.1, 0), AttributeError, "the nearest name is"),
    (lambda: qj.Circuit(2).control(1), AttributeError, "no method `.control`; use `.mcx`, `.mcp`, .* or `.unitary`"),
    (lambda: qj.Circuit(2).expval(), AttributeError, "no method `.expval`; use `qjaxsim.expectation"),
    (lambda: qj.Circuit(2).adjoint(), AttributeError, "no method `.adjoint`; use `.inverse`"),
    (lambda: qj.Circuit(2).bind({}), AttributeError, "no method `.bind`; values are given on calling"),
    (lambda: qj.Circuit(2).repeat(3, 2), TypeError, "Argument `layer` must be a Circuit, but is 3"),
    (lambda: qj.Circuit(2).compose(None), TypeError, "Argument `other` must be a Circuit, but is None"),
    (lambda: qj.expectation(None, qj.Z(0)), TypeError, "Argument `circuit` must be a Circuit, but is None"),
    (lambda: qj.expectation(qj.Circuit(1), None), TypeError, "Argument `observables` must be a PauliSum"),
    (lambda: qj.statevector(3), TypeError, "Argument `circuit` must be a Circuit"),
    (lambda: qj.probabilities(None), TypeError, "Argument `circuit` must be a Circuit"),
    (lambda: qj.sample(None, 3), TypeError, "Argument `circuit` must be a Circuit"),
    (lambda: qj.unitary(None), TypeError, "Argument `circuit` must be a Circuit"),
    (lambda: qj.explain(None), TypeError, "Argument `circuit` must be a Circuit"),
    (lambda: qj.hessian(lambda m: 0.0, Module()), TypeError, "a leaf is a .*; pass the arrays alone"),
    (lambda: qj.hvp(lambda m: 0.0, Module(), Module()), TypeError, "a leaf is a .*; pass the arrays alone"),
    (lambda: VALUE(x=0.5), TypeError, "Parameters are given as one dictionary"),
    (lambda: qj.statevector(qj.Circuit(1), options={"scan": True}), TypeError, "Argument `options` must be a"),
    (lambda: qj.explain(qj.Circuit(1), options=3), TypeError, "Argument `options` must be a"),
    (lambda: qj.PauliSum({(): x}), TypeError, "must be numbers where it is made, but one is x; multiply by it"),
    (lambda: qj.Z(0) * w, ValueError, r"Parameter 'w' has shape \(.*\), but .* is one number; index it"),
    (lambda: np.ones(2) * qj.Z(0), TypeError, r"must be one number, but is an array of shape \(2,\)"),
    (lambda: qj.Z(0) - jnp.ones(2), TypeError, r"must be one number, but is an array of shape \(2,\)"),
    (lambda: qj.Z(0) / 0, ZeroDivisionError, "The divisor of a Pauli sum must not be zero"),
    (lambda: qj.PauliSum.from_label("Z", None), TypeError, "Coefficients of a Pauli sum must be numbers, but got None"),
    (lambda: jax.jit(lambda a: qj.PauliSum({(): a}).n_qubits)(0.5), TypeError, "is traced by JAX"),
    (lambda: top_eigenpairs(lambda v: v, 1, key=KEY), TypeError, "must be a LinearOperator, but is a function"),
    (lambda: spectral_density(np.eye(3), key=KEY), TypeError, "must be a LinearOperator, but is a ndarray"),
    (lambda: power_iteration(None, key=KEY), TypeError, "must be a LinearOperator, but is a NoneType"),
    (lambda: trace_estimate(jnp.tanh, key=KEY), TypeError, "must be a LinearOperator"),
    (lambda: top_eigenpairs(EYE, 1, key=0), TypeError, "Argument `key` must be a random key"),
    (lambda: random_plane(W, key=3.5), TypeError, "Argument `key` must be a random key"),
    (
        lambda: top_eigenpairs(EYE, True, key=KEY),
        ValueError,
        "`k` must be an integer from 1 to 3",
    ),
    (
        lambda: top_eigenpairs(EYE, 2.0, key=KEY),
        ValueError,
        "`k` must be an integer from 1 to 3",
    ),
    (
        lambda: trace_estimate(EYE, key=KEY, probes="5"),
        ValueError,
        "`probes` must be an integer",
    ),
    (lambda: HybridModel(2, 1.5), ValueError, "`n_layers` must be an integer of at least 1, but is 1.5"),
    (lambda: PatchesModel(4, "a"), ValueError, "`n_layers` must be an integer of at least 0, but is 'a'"),
]


@pytest.mark.parametrize(("call", "kind", "message"), REFUSED)
def test_misuse_is_told_in_one_sentence(call, kind, message):
    with pytest.raises(kind, match=message.replace("|0...0>", "").replace("`.", "`\\.")) as caught:
        call()
    assert "\n" not in str(caught.value) and "<lambda>" not in str(caught.value) and "<locals>" not in str(caught.value)


@pytest.mark.parametrize("two", mostly_slow([np.int64(2), np.uint8(2), np.array(2), jnp.array(2)], keep=[3]))
def test_counts_and_sizes_may_be_arrays_of_one_integer(two):
    matrix = matrix_operator(jnp.diag(jnp.arange(1.0, 151.0)))
    for given in (two, int(two)):
        found = top_eigenpairs(matrix, given, key=KEY)
        np.testing.assert_allclose(found.values, [150, 149])
        assert top_eigenpairs(matrix, given, key=KEY, steps=given).matvecs == 2 + 2
        assert power_iteration(matrix, key=KEY, max_steps=given).steps == 2
        assert len(spectral_density(matrix, key=KEY, steps=given, probes=given).nodes) == 4
        assert trace_estimate(matrix, key=KEY, probes=given) == (11325, 0, 2)
        assert linear_operator(lambda v: v, given).size == 2
        assert [len(axis) for axis in grid_around(np.zeros((1, 2)), points=given)] == [2, 2]
    outputs = lambda p, x: x * p[None]  # noqa: E731
    loss = lambda z, y: (z**2).sum(1)  # noqa: E731
    rows = curvature_operators(outputs, loss, W, jnp.ones((3, 2)), jnp.ones(3), batch_size=two)
    np.testing.assert_allclose(rows.hessian.dense(), 2 * np.eye(2))


def test_bytes_are_counted_in_integers_of_python():
    """200 steps of 8 bits would be few bytes."""
    matrix = matrix_operator(jnp.diag(jnp.arange(1.0, 501.0)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert top_eigenpairs(matrix, np.uint8(130), key=KEY, steps=np.uint8(200)).values.shape == (130,)


def test_models_hold_integers_of_python():
    one, two = np.int64(1), np.int64(2)
    models = [
        HybridModel(two, one, image_size=np.int64(4), n_classes=two),
        PatchesModel(np.int64(4), one, two, np.int64(4), two, two),
        TrainConfig(epochs=two, batch_size=one),
        AttentionSettings(n_heads=two, bits=two),
        VisionTransformer(n_blocks=one),
        QrnnTopology(two, two, one, one),
        DisentanglerConfig(chi=two, layers=one),
    ]
    for model in models:
        assert not any(isinstance(value, np.integer) for value in vars(model).values()), model
    assert models[0] == HybridModel(2, 1, image_size=4, n_classes=2)
    assert models[0].sampled_expectations(models[0].init(KEY), jnp.zeros((1, 4, 4)), two, KEY).shape == (1, 2)


@pytest.mark.parametrize("model", [PatchesModel(4, 1, 2, 4, 2, 2), HybridModel(2, 1, image_size=4)])
def test_images_that_are_not_scaled_are_refused(model):
    for images in (np.full((1, 4, 4), 255, np.uint8), np.ones((1, 4, 4), bool)):
        with pytest.raises(TypeError, match="Argument `x` must hold scaled images.*has dtype (uint8|bool)"):
            model.outputs(model.init(KEY), images)


@pytest.mark.parametrize("side", [3, 28])
def test_images_of_another_size_are_refused(side):
    for model in (PatchesModel(4, 1, 2, 4, 2, 2), HybridModel(2, 1, image_size=4)):
        with pytest.raises(ValueError, match=r"Argument `x` must have shape \(batch, 4, 4\)"):
            model.outputs(model.init(jax.random.key(0)), jnp.zeros((5, side, side)))


def test_explicit_mesh_axes_are_refused():
    mesh = jax.make_mesh((1,), ("d",), axis_types=(AxisType.Explicit,))
    given = jax.device_put(jnp.ones(2), NamedSharding(mesh, PartitionSpec("d")))
    with pytest.raises(ValueError, match="Parameter 'x' must not be sharded over mesh axes of type Explicit"):
        VALUE({"x": given, "w": W})
    outputs = lambda p, x: p[None] * x[:, None]  # noqa: E731
    loss = lambda z, y: (z**2).sum(1)  # noqa: E731
    with pytest.raises(ValueError, match="Argument `params` must not be sharded over mesh axes of type Explicit"):
        qj.hessian(lambda v: (v**3).sum(), given)
    for split in (split_hessian, gauss_newton_dual):
        with pytest.raises(ValueError, match="Argument `x` must not be sharded over mesh axes of type Explicit"):
            split(outputs, loss, W, given, jnp.ones(2))
        with pytest.raises(ValueError, match="Argument `y` must not be sharded over mesh axes of type Explicit"):
            split(outputs, loss, W, jnp.ones(2), given)


def test_parameters_may_lie_on_an_explicit_mesh_unsharded():
    mesh = jax.make_mesh((1,), ("d",), axis_types=(AxisType.Explicit,))
    given = jax.device_put(W, NamedSharding(mesh, PartitionSpec()))
    value = lambda w: VALUE({"x": 0.3, "w": w}).sum()  # noqa: E731
    np.testing.assert_allclose(qj.hessian(value, given), qj.hessian(value, W), atol=1e-12)


def test_a_symbolic_batch_is_refused_without_vmap():
    (b,) = export.symbolic_shape("b")
    shapes = jax.ShapeDtypeStruct((b,), float), jax.ShapeDtypeStruct((2,), float)
    with pytest.raises(ValueError, match="Parameter 'x' must have a shape known when the function is traced"):
        export.export(jax.jit(lambda x, w: VALUE({"x": x, "w": w})))(*shapes)
    with pytest.raises(ValueError, match="Argument `params` must have a shape known when the function is traced"):
        export.export(jax.jit(lambda v: qj.hessian(lambda v: (v**2).sum(), v)))(shapes[0])


def test_a_symbolic_axis_of_vmap_is_exported():
    """Values and gradients of three qubits, whose rows are permuted."""
    circuit = qj.Circuit(3).ry(x, 0).swap(0, 2).cx(2, 1).rx(w[0], 1).ccx(1, 2, 0).ry(w[1], 2).cx(2, 0)
    run = qj.expectation(circuit, qj.Z(0) @ qj.X(2) + qj.Y(1))
    each = jax.vmap(jax.value_and_grad(lambda s: run({"x": s, "w": W})))
    (b,) = export.symbolic_shape("b")
    exported = export.export(jax.jit(each))(jax.ShapeDtypeStruct((b,), float))
    for batch in (1, 5):
        given = jnp.linspace(0.1, 2, batch)
        np.testing.assert_allclose(exported.call(given), each(given), atol=1e-12)


@pytest.mark.slow
def test_taylor_series_go_through_repeated_layers():
    layer = qj.Circuit(2).ry(x, 0).cx(0, 1).rx(w[0], 1).rz(w[1] * x, 0).swap(0, 1)
    run = qj.expectation(qj.Circuit(2).repeat(layer, 3, shared=["x"]), [qj.Z(0), qj.X(1)])
    own = jnp.linspace(0.2, 0.9, 6).reshape(3, 2)
    line = lambda s: run({"x": s, "w": s * own})  # noqa: E731
    value, terms = jet.jet(line, (0.3,), ((1.0, 0.0, 0.0),))
    for term in (value, *terms):
        np.testing.assert_allclose(term, line(0.3), rtol=1e-9, atol=1e-11)
        line = jax.jacfwd(line)


def test_taylor_series_are_those_of_nested_derivatives():
    line = lambda s: VALUE({"x": s, "w": s * W})  # noqa: E731
    at = 0.3
    value, terms = jet.jet(line, (at,), ((1.0, 0.0, 0.0),))
    for term in (value, *terms):
        np.testing.assert_allclose(term, line(at), rtol=1e-10, atol=1e-12)
        line = jax.jacfwd(line)


def test_operators_are_shown_in_one_line():
    data = jnp.ones((300, 2))
    found = curvature_operators(lambda p, x: x * p[None], lambda z, y: (z**2).sum(1), W, data, data)
    assert repr(found.hessian) == "<LinearOperator: 2 x 2, float64>" and len(repr(found)) < 200


def test_what_hints_name_is_there():
    circuit = qj.Circuit(3)
    for name, hint in HINTS.items():
        assert name not in dir(circuit), name
        assert all(method in dir(circuit) for method in re.findall(r"`\.(\w+)", hint)), hint
        assert all(hasattr(qj, public) for public in re.findall(r"`qjaxsim\.(\w+)", hint)), hint
        assert all(hasattr(qjaxsim_qiskit, public) for public in re.findall(r"`qjaxsim_qiskit\.(\w+)", hint)), hint
