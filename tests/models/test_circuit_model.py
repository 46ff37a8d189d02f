"""CircuitModel against the dense reference, dense Hessians and circuits imported from Qiskit."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp, Statevector
from qjaxsim_qiskit import from_qiskit

import qjaxsim as qj
from qjaxsim.circuits import reference
from qjaxsim.curvature import plan_split, split_hessian
from qjaxsim.models import CircuitModel
from qjaxsim.models.losses import cross_entropy, decided, metrics, squared_error, training_loss
from qjaxsim.training import TrainConfig, fit
from tests.cases import mostly_slow

OBSERVABLES = [qj.Z(0), qj.X(1) @ qj.Z(2), 0.5 * qj.Y(1) + qj.Z(2)]
CIRCUITS = {
    "first": qj.zz_feature_map(3, repetitions=1).compose(qj.efficient_su2(3, 1)),
    "in turn": qj.data_reuploading(qj.angle_encoding(3), qj.real_amplitudes(3, 1), 2),
    "in turn, entangling": qj.data_reuploading(qj.zz_feature_map(3, repetitions=1), qj.real_amplitudes(3, 0), 2),
}
X = np.random.default_rng(0).uniform(-1, 2, (5, 3))
LABELS = np.array([0, 2, 1, 1, 0], np.int32)


def model_of(name, **options):
    return CircuitModel(CIRCUITS[name], OBSERVABLES, scale=1.5, **options)


@pytest.mark.parametrize(
    "name, dtype", (*((name, np.float64) for name in CIRCUITS), ("first", np.float32), ("in turn", np.float32))
)
def test_outputs_are_the_references_expectation_values(name, dtype, key):
    model = model_of(name)
    params = model.init(key, dtype)
    outputs = model.outputs(params, X.astype(dtype))
    swapped = X.astype(np.dtype(dtype).newbyteorder("S"))
    np.testing.assert_array_equal(model.outputs(params, swapped), outputs)
    assert outputs.dtype == dtype and outputs.shape == (5, model.n_outputs)
    wanted = [
        [1.5 * reference.expectation(CIRCUITS[name], each, {**params, "x": row}) for each in OBSERVABLES] for row in X
    ]
    np.testing.assert_allclose(outputs, wanted, atol=1e-12 if dtype == np.float64 else 2e-5)


@pytest.mark.parametrize("name, trainable", mostly_slow([("first", True), ("in turn", False)]))
def test_the_split_hessian_of_the_outputs_is_the_slope_of_the_gradient(name, trainable, key):
    model = model_of(name, trainable_scale=trainable)
    params = model.init(key)
    found = split_hessian(model.outputs, cross_entropy, params, X, LABELS)
    flat, unravel = ravel_pytree(params)
    mean = training_loss(model)
    gradient = jax.jit(jax.grad(lambda w: mean(unravel(w), jnp.asarray(X), jnp.asarray(LABELS))))
    steps = 1e-5 * np.eye(flat.size)
    wanted = [(gradient(flat + step) - gradient(flat - step)) / 2e-5 for step in steps]
    np.testing.assert_allclose(found.hessian, wanted, atol=1e-8)


def test_the_split_takes_the_way_that_weights_between_the_data_allow(key):
    found = {}
    for name in ("in turn", "in turn, entangling"):
        model = model_of(name)
        found[name] = plan_split(model.outputs, squared_error, model.init(key), X, X).structure
    assert found == {"in turn": "stages", "in turn, entangling": "parts"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "circuit, structure",
    mostly_slow([(CIRCUITS["first"], "cones"), (qj.angle_encoding(3).compose(qj.real_amplitudes(3, 1)), "collapsed")]),
)
def test_light_cones_and_one_unitary_take_columns_as_features(circuit, structure, key):
    """Enough samples that the ways for data that come first are taken."""
    x = np.random.default_rng(1).uniform(-1, 2, (1100, 3))
    y = np.arange(1100, dtype=np.int32) % 3
    model = CircuitModel(circuit, OBSERVABLES)
    params = model.init(key)
    assert plan_split(model.outputs, cross_entropy, params, x, y).structure == structure
    found = split_hessian(model.outputs, cross_entropy, params, x, y)
    plain = split_hessian(lambda w, x: model.outputs(w, x), cross_entropy, params, x, y)
    np.testing.assert_allclose(found.hessian, plain.hessian, atol=1e-10)
    np.testing.assert_allclose(found.residual, plain.residual, atol=1e-10)


def test_equal_models_share_one_function_and_others_do_not(key):
    one, same, other = model_of("first"), model_of("first"), model_of("first", trainable_scale=True)
    assert one == same and hash(one) == hash(same) and one.outputs is same.outputs
    assert one != other and one != CircuitModel(CIRCUITS["first"], OBSERVABLES)
    assert training_loss(one) is training_loss(same) and training_loss(one, squared_error) is not training_loss(one)
    copied = pickle.loads(pickle.dumps(one))
    params = one.init(key)
    assert copied == one
    np.testing.assert_array_equal(copied.outputs(params, X), one.outputs(params, X))


def test_later_changes_of_the_circuit_do_not_reach_the_model():
    circuit = CIRCUITS["first"].copy()
    model = CircuitModel(circuit, OBSERVABLES)
    circuit.h(0)
    assert model == CircuitModel(CIRCUITS["first"], OBSERVABLES)


def test_the_loop_trains_it(key):
    model = CircuitModel(CIRCUITS["in turn"], [qj.Z(0)], scale=3.0)
    x = np.random.default_rng(2).uniform(0, np.pi, (60, 3))
    y = (x[:, 0] > x[:, 1]).astype(np.int32)
    config = TrainConfig(epochs=30, batch_size=20, learning_rate=0.1)
    found = fit(training_loss(model), model.init(key), x, y, config, metrics=metrics(model), progress=False)
    assert found.history[found.best_epoch]["train_accuracy"] > 0.9 > found.history[0]["train_accuracy"]


def test_a_circuit_of_qiskit_with_separate_parameters_takes_them_by_prefix_in_the_order_of_their_numbers(key):
    names = [f"x{i}" for i in range(11)]
    theirs = QuantumCircuit(3)
    for i, name in enumerate(names):
        theirs.ry(Parameter(name), i % 3)
        theirs.rx(Parameter(f"t{i}"), i % 3)
    theirs.cx(0, 1)
    theirs.cx(1, 2)
    imported = from_qiskit(theirs)
    model = CircuitModel(imported.circuit, [qj.Z(2) @ qj.X(0)], inputs="x")
    assert model.inputs == tuple(names) and model == CircuitModel(imported.circuit, [qj.Z(2) @ qj.X(0)], inputs=names)
    row, params = np.random.default_rng(3).uniform(-2, 2, (1, 11)), model.init(key)
    values = {**dict(zip(names, row[0], strict=True)), **{name: float(leaf) for name, leaf in params.items()}}
    state = Statevector(theirs.assign_parameters(values))
    wanted = state.expectation_value(SparsePauliOp("ZIX")).real  # Qiskit's qubit 0 is the last letter
    np.testing.assert_allclose(model.outputs(params, row), [[wanted]], atol=1e-12)


def test_array_inputs_take_their_columns_one_after_the_other(key):
    a, b, w = qj.Parameter("a", (2, 2)), qj.Parameter("b"), qj.Parameter("w")
    circuit = qj.Circuit(1).ry(a[0, 0] + 2 * a[0, 1] + 4 * a[1, 0] + 8 * a[1, 1] + 16 * b + w, 0)
    model = CircuitModel(circuit, [qj.Z(0)], inputs=["b", "a"])
    assert model.n_features == 5 and model.weights == {"w": ()}
    row = np.array([[0.1, 0.2, 0.3, 0.4, 0.5]])
    params = {"w": jnp.asarray(0.7)}
    angle = 16 * 0.1 + 0.2 + 2 * 0.3 + 4 * 0.4 + 8 * 0.5 + 0.7
    np.testing.assert_allclose(model.outputs(params, row), [[np.cos(angle)]], atol=1e-12)


def test_trainable_scales_begin_as_given_and_are_factors(key):
    model = model_of("in turn", trainable_scale=True)
    params = model.init(key)
    np.testing.assert_array_equal(params["scale"], [1.5] * 3)
    factors = jnp.array([1.0, -2.0, 3.0])
    plain = CircuitModel(CIRCUITS["in turn"], OBSERVABLES).outputs({"weights": params["weights"]}, X)
    np.testing.assert_allclose(model.outputs({**params, "scale": factors}, X), plain * factors[None], atol=1e-12)


def test_params_of_another_model_are_refused(key):
    """Data that alternate with weights: these stand in one flat vector, in which any others would take their places."""
    model, weights = model_of("in turn"), np.zeros((2, 2, 3))
    wrong = [
        {"weights": weights, "x": np.zeros(3)},  # what samples bring
        {"a": np.zeros(1), "weights": weights},
        {"weights": np.zeros((3, 2, 3))},  # of more uploads
        {"weights": np.zeros((2, 3, 2))},
        {"w": weights},
    ]
    for params in wrong:
        for use in (model.outputs, lambda params, x: split_hessian(model.outputs, cross_entropy, params, x, LABELS)):
            with pytest.raises(ValueError, match=r"`params` must hold arrays {'weights': \(2, 2, 3\)}, but holds {'"):
                use(params, X)
    scaled = model_of("in turn", trainable_scale=True)
    for given in ({}, {"scale": np.ones(2)}):
        with pytest.raises(
            ValueError, match=r"`params` must hold 'scale' of shape \(3,\), but holds arrays {'weights'"
        ):
            scaled.outputs({"weights": weights, **given}, X)


def test_single_logits_and_signs():
    z = jnp.array([[0.3], [-1.0]])
    both = jnp.concatenate([jnp.zeros_like(z), z], axis=1)
    labels = jnp.array([1, 0])
    np.testing.assert_allclose(cross_entropy(z, labels), cross_entropy(both, labels))
    np.testing.assert_allclose(squared_error(z, labels), [0.7**2, 0])
    np.testing.assert_allclose(squared_error(jnp.array([[0.5, -1.0, 0.0]]), jnp.array([2])), [1.5**2 + 0 + 1])
    assert decided(np.asarray(z)).tolist() == [1, 0] and decided(both).tolist() == [1, 0]
    with pytest.raises(TypeError, match="`labels` must hold integers, but it has dtype float64; cast it"):
        cross_entropy(z, labels.astype(float))


@pytest.mark.parametrize("outputs", [1, 2])
def test_negative_labels_are_no_classes(outputs):
    """Such as -1 and 1 for two classes, or -1 for a label that is missing."""
    signs = np.array([1, -1])
    assert np.isnan(cross_entropy(jnp.zeros((2, outputs)), jnp.asarray(signs))).tolist() == [False, True]
    with pytest.raises(ValueError, match="classes from 0 to 1, one for each logit, but holds -1; number"):
        split_hessian(lambda w, x: x @ w, cross_entropy, jnp.ones((1, outputs)), np.ones((2, 1)), signs)


def test_labels_wider_than_32_bits_are_none_of_the_classes():
    three = jnp.zeros((3, 3))
    for labels in (jnp.array([2**32, 0, 2 - 2**32]), jnp.array([2**32, 0, 2**63], "uint64")):
        assert np.isnan(cross_entropy(three, labels)).tolist() == [True, False, True]
        assert np.isnan(squared_error(three, labels)).tolist() == [True, False, True]
    for labels in (jnp.array([-(2**31), 1, 2**32 + 1]), jnp.array([2**32 - 1, 1, 2**31], "uint32")):
        assert np.isnan(squared_error(three[:, :1], labels)).tolist() == [True, False, True]


def test_squared_errors_of_labels_without_an_output_and_of_numbers():
    single, three = jnp.array([[0.5], [0.5], [0.5]]), jnp.array([[1.0, -1.0, -1.0]] * 3)
    np.testing.assert_allclose(squared_error(single, jnp.array([-1, 1, 7], "int8")), [1.5**2, 0.5**2, np.nan])
    np.testing.assert_allclose(squared_error(three, jnp.array([0, -3, 3])), [0, np.nan, np.nan])
    numbers = jnp.array([[1, 0, 3]] * 3)
    np.testing.assert_allclose(squared_error(three, numbers), [0 + 1 + 16] * 3)
    np.testing.assert_allclose(squared_error(single, jnp.array([[7], [0], [1]])), [6.5**2, 0.5**2, 0.5**2])
    with pytest.raises(TypeError, match="`targets` must hold numbers, or integers for labels, but has dtype bool"):
        squared_error(single, jnp.array([True, False, True]))
    counts = np.array([3, 0, 12])
    with pytest.raises(ValueError, match=r"classes from 0 to 1, .* but holds 3; .* or cast numbers .*, `y.astype"):
        split_hessian(lambda w, x: x @ w, squared_error, jnp.ones((1, 1)), np.ones((3, 1)), counts)
    of_numbers = split_hessian(lambda w, x: x @ w, squared_error, jnp.ones((1, 1)), np.ones((3, 1)), counts + 0.0)
    np.testing.assert_allclose(of_numbers.gradient, [2 * (1 - 5)])


@pytest.mark.parametrize(
    "arguments, error, message",
    (
        (("circuit", OBSERVABLES), TypeError, "`circuit` must be a Circuit, but is 'circuit'"),
        (
            (qj.real_amplitudes(3), OBSERVABLES),
            ValueError,
            r"`inputs` must name parameters .* enter, but is 'x'; the circuit's parameters are \['weights'\]",
        ),
        ((CIRCUITS["first"], OBSERVABLES, "weight"), ValueError, r"is 'weight'; .*did you mean 'weights'\?"),
        ((CIRCUITS["first"], OBSERVABLES, ["x", "X"]), ValueError, r"is \['x', 'X'\]; .*did you mean 'x'\?"),
        ((CIRCUITS["first"], OBSERVABLES, []), ValueError, r"`inputs` must name parameters .* but is \[\]"),
        ((CIRCUITS["first"], OBSERVABLES, ["x", "x"]), ValueError, "`inputs` must name each parameter once"),
        ((qj.angle_encoding(3), OBSERVABLES), ValueError, "parameters to train beside the inputs, but has 'x' alone"),
        ((CIRCUITS["first"], OBSERVABLES, "x", 0.0), ValueError, "`scale` must be a positive number, but is 0"),
        ((CIRCUITS["first"], [qj.Z(3)]), ValueError, "Observable 0 acts on qubit 3, but the circuit has 3 qubits"),
        (
            (qj.angle_encoding(1).rx(qj.Parameter("scale"), 0), [qj.Z(0)], "x", 1.0, True),
            ValueError,
            "no parameter 'scale' with `trainable_scale`",
        ),
    ),
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        CircuitModel(*arguments)


def test_data_of_another_width_are_refused(key):
    for name in CIRCUITS:
        model = model_of(name)
        with pytest.raises(ValueError, match=r"`x` must have shape \(batch, 3\), a column a feature, but has \(5, 2\)"):
            model.outputs(model.init(key), X[:, :2])
