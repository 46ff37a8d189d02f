"""Functions and models are pickled and copied, before a call and after one."""

import copy
import multiprocessing
import pickle

import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.curvature import CircuitOutputs, curvature_operators, linear_operator, matrix_operator, split_hessian
from qjaxsim.datasets import Dataset
from qjaxsim.models.attention import AttentionSettings
from qjaxsim.models.attention_vit import VisionTransformer
from qjaxsim.models.disentangler.adapter import identity_adapter
from qjaxsim.models.disentangler.char_transformer import CharTransformer
from qjaxsim.models.disentangler.config import DisentanglerConfig
from qjaxsim.models.disentangler.layer import disentangle
from qjaxsim.models.hybrid import HybridModel
from qjaxsim.models.losses import cross_entropy
from qjaxsim.models.patches import PatchesModel
from qjaxsim.models.qrnn import simulate
from qjaxsim.models.qrnn_topology import QrnnTopology
from qjaxsim.training import TrainConfig
from tests.cases import mostly_slow

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


@pytest.mark.parametrize("way", mostly_slow(COPIES, keep=1))
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


SMALL = AttentionSettings(n_heads=2, reads=2, sweeps=2)
VISION = VisionTransformer(image_size=4, patch_size=2, dim=8, hidden=8, n_classes=2, attention=SMALL)
MODELS = {
    "circuit outputs": (CircuitOutputs(CIRCUIT, [qj.Z(0), qj.X(1)], ("x",)), {"w": VALUES["w"]}, {"x": VALUES["x"]}),
    "patches": (PatchesModel(4, 1, 2, 2, 1, 2, 10.0, "mean"), None, jnp.ones((3, 2, 2)) / 2),
    "hybrid": (HybridModel(2, 1, image_size=4), None, jnp.ones((3, 4, 4)) / 2),
}


@pytest.mark.parametrize("way", mostly_slow(COPIES, keep=1))
@pytest.mark.parametrize("name", MODELS)
def test_models_give_the_same_after_a_copy(name, way):
    model, params, inputs = MODELS[name]
    run = lambda model, params: (model if params else model.outputs)(params or model.init(KEY), inputs)  # noqa: E731
    before = COPIES[way](model)
    want = run(model, params)
    equal(run(before, params), want)
    equal(run(COPIES[way](model), params), want)


@pytest.mark.parametrize("way", mostly_slow(COPIES, keep=1))
def test_a_model_is_copied_after_its_hessian(way):
    model, params, inputs = MODELS["circuit outputs"]
    labels = jnp.array([0, 1, 0])
    want = split_hessian(model, cross_entropy, params, inputs, labels)
    equal(split_hessian(COPIES[way](model), cross_entropy, params, inputs, labels), want)


def double(v):
    return 2 * v


@pytest.mark.parametrize("way", mostly_slow(COPIES, keep=1))
def test_operators_give_the_same_after_a_copy(way):
    model, params, inputs = MODELS["circuit outputs"]
    operators = curvature_operators(model, cross_entropy, params, inputs, jnp.array([0, 1, 0]))
    for operator in (*operators, matrix_operator(jnp.eye(2)), linear_operator(double, 2), -matrix_operator(jnp.eye(2))):
        want = operator @ jnp.array([1.0, 2.0])
        equal(COPIES[way](operator) @ jnp.array([1.0, 2.0]), want)


@pytest.mark.parametrize("way", COPIES)
def test_recurrent_networks_give_the_same_after_a_copy(way):
    topology = QrnnTopology(1, 1, 1, 1)
    params, words = topology.init(KEY), np.array([[0, 1, 0]])
    want = simulate(topology, params, words, words)
    equal(simulate(COPIES[way](topology), params, words, words).probabilities, want.probabilities)


@pytest.mark.parametrize("way", COPIES)
def test_disentangled_layers_give_the_same_after_a_copy(way):
    found = disentangle(np.random.default_rng(0).normal(size=(4, 4)), DisentanglerConfig(chi=1, layers=1, sweeps=2))
    rows = jnp.arange(8.0, dtype=jnp.float32).reshape(2, 4)
    equal(COPIES[way](found).layer.apply(rows), found.layer.apply(rows))
    adapter = identity_adapter("cayley", 4, 2)
    equal(COPIES[way](adapter), adapter)


@pytest.mark.parametrize("way", COPIES)
def test_settings_and_data_equal_their_copies(way):
    settings = TrainConfig(epochs=2), qj.PlanOptions(max_block=2), DisentanglerConfig(chi=2)
    for value in (*settings, SMALL, VISION, CharTransformer(5, 4, 4, 1, 1), QrnnTopology(1, 1, 1, 1)):
        assert COPIES[way](value) == value
    images = Dataset(np.ones((2, 2, 2, 1), np.uint8), np.array([0, 1], np.int32), ("a", "b"), "made", "train", "here")
    equal(vars(COPIES[way](images)), vars(images))


def test_functions_and_models_go_to_a_new_process():
    """As `multiprocessing` starts one where threads are about: nothing but the pickle goes with it."""
    function, (values,) = FUNCTIONS["expectation"]
    model, _, images = MODELS["hybrid"]
    single = lambda tree: jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), tree)  # noqa: E731
    values, params, images = single(values), single(model.init(KEY)), single(images)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_allclose(pool.apply(function, (values,)), function(values), atol=1e-6)
        np.testing.assert_allclose(
            pool.apply(model.outputs, (params, images)), model.outputs(params, images), atol=1e-6
        )
