"""Functions and models are pickled and copied, before a call and after one."""

import copy
import pickle

import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.curvature import CircuitOutputs, curvature_operators, linear_operator, matrix_operator, split_hessian
from qjaxsim.models.hybrid import HybridModel
from qjaxsim.models.patches import PatchesModel, cross_entropy

pytestmark = pytest.mark.usefixtures("quick_compiler")

x, w = qj.Parameter("x"), qj.Parameter("w", (2,))
CIRCUIT = qj.Circuit(2).ry(x, 0).rx(w[0], 0).cx(0, 1).rz(w[1] * x, 1).ry(w[1], 1)
VALUES = {"x": jnp.linspace(0, 1, 3), "w": jnp.array([0.3, 0.7])}
KEY = jax.random.key(3)
COPIES = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "cloudpickle": lambda value: pickle.loads(cloudpickle.dumps(value)),
    "deepcopy": copy.deepcopy,
}
FUNCTIONS = {
    "statevector": (qj.statevector(CIRCUIT), (VALUES,)),
    "expectation": (qj.expectation(CIRCUIT, [qj.Z(0), qj.X(1)]), (VALUES,)),
    "one expectation": (qj.expectation(CIRCUIT, qj.Z(1)), (VALUES,)),
    "probabilities": (qj.probabilities(CIRCUIT, [1]), (VALUES,)),
    "unitary": (qj.unitary(CIRCUIT), (VALUES,)),
    "sample": (qj.sample(CIRCUIT, 5), (VALUES, KEY)),
}


def equal(got, want):
    jax.tree.map(np.testing.assert_array_equal, got, want)


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_give_the_same_after_a_copy(name, way):
    function, arguments = FUNCTIONS[name]
    before = COPIES[way](function)
    want = function(*arguments)
    equal(before(*arguments), want)
    equal(COPIES[way](function)(*arguments), want)


@pytest.mark.parametrize("way", COPIES)
def test_circuits_and_observables_equal_their_copies(way):
    layered = qj.Circuit(2).repeat(CIRCUIT, 3, shared=["x"]).unitary(np.eye(2), 1)
    assert COPIES[way](layered) == layered and COPIES[way](x) == x
    assert COPIES[way](qj.Z(0) @ qj.Y(1)) == qj.Z(0) @ qj.Y(1)


MODELS = {
    "circuit outputs": (CircuitOutputs(CIRCUIT, [qj.Z(0), qj.X(1)], ("x",)), {"w": VALUES["w"]}, {"x": VALUES["x"]}),
    "patches": (PatchesModel(4, 1, 2, 2, 1, 2, 10.0, "mean"), None, jnp.ones((3, 2, 2)) / 2),
    "hybrid": (HybridModel(2, 1, image_size=4), None, jnp.ones((3, 4, 4)) / 2),
}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("name", MODELS)
def test_models_give_the_same_after_a_copy(name, way):
    model, params, inputs = MODELS[name]
    run = lambda model, params: (model if params else model.outputs)(params or model.init(KEY), inputs)  # noqa: E731
    before = COPIES[way](model)
    want = run(model, params)
    equal(run(before, params), want)
    equal(run(COPIES[way](model), params), want)


@pytest.mark.parametrize("way", COPIES)
def test_a_model_is_copied_after_its_hessian(way):
    model, params, inputs = MODELS["circuit outputs"]
    labels = jnp.array([0, 1, 0])
    want = split_hessian(model, cross_entropy, params, inputs, labels)
    equal(split_hessian(COPIES[way](model), cross_entropy, params, inputs, labels), want)


def double(v):
    return 2 * v


@pytest.mark.parametrize("way", COPIES)
def test_operators_give_the_same_after_a_copy(way):
    model, params, inputs = MODELS["circuit outputs"]
    operators = curvature_operators(model, cross_entropy, params, inputs, jnp.array([0, 1, 0]))
    for operator in (*operators, matrix_operator(jnp.eye(2)), linear_operator(double, 2), -matrix_operator(jnp.eye(2))):
        want = operator @ jnp.array([1.0, 2.0])
        equal(COPIES[way](operator) @ jnp.array([1.0, 2.0]), want)
