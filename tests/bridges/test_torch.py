"""Circuits as PyTorch modules, against the engine, finite differences, EstimatorQNN and training in JAX."""

import copy
import functools
import io
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.models.hybrid import HybridModel
from qjaxsim.models.losses import cross_entropy
from tests.random_circuits import random_circuit

pytest.importorskip("torch", reason="needs the torch extra")
import torch  # noqa: E402
from qjaxsim_torch.calls import TorchCall, as_array  # noqa: E402
from torch.func import functional_call  # noqa: E402

from tests.cases import mostly_slow

OBSERVABLES = [qj.Z(0), 0.5 * qj.X(1) @ qj.Y(2) - qj.Z(1)]


@functools.cache
def circuit():
    """Three qubits, two parameters of data and two of weights, with a product of both in an angle."""
    x, s = qj.Parameter("x", (3,)), qj.Parameter("s")
    w, v = qj.Parameter("w", (2, 3)), qj.Parameter("v")
    out = qj.Circuit(3)
    for q in range(3):
        out.ry(x[q], q).rx(w[0, q], q)
    return out.cx(0, 1).rzz(x[0] * v + s, 1, 2).ry(w[1, 0], 2).cx(2, 0).rx(w[1, 1] * w[1, 2], 1)


@functools.cache
def made_once(dtype):
    torch.manual_seed(3)
    return qj.to_torch(circuit(), OBSERVABLES, inputs=["x", "s"], dtype=dtype)


def module(dtype=torch.float64):
    """A copy, which shares what is compiled."""
    return copy.deepcopy(made_once(dtype))


def drawn(*shape, dtype=torch.float64, requires_grad=False):
    values = np.random.default_rng(sum(shape) + len(shape)).normal(size=shape)
    return torch.tensor(values, dtype=dtype, requires_grad=requires_grad)


def weights(made):
    return {name: value.detach().numpy() for name, value in made.named_parameters()}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
@pytest.mark.parametrize("batch", mostly_slow([[2, 3], [4], []]))
def test_values_are_the_engines_with_any_batch_axes(dtype, tolerance, batch):
    made = module(dtype)
    x, s = drawn(*batch, 3, dtype=dtype), drawn(*batch, dtype=dtype)
    values = made(x, s)
    assert values.dtype == dtype and values.shape == (*batch, 2)
    run = qj.expectation(circuit(), OBSERVABLES)
    wanted = run({"x": x.numpy(), "s": s.numpy(), **weights(made)})
    np.testing.assert_allclose(values.detach().numpy(), wanted, rtol=0, atol=tolerance)


def test_batch_axes_broadcast_and_one_sum_has_no_axis_of_its_own():
    made = qj.to_torch(circuit(), OBSERVABLES[1], inputs=["x", "s"], dtype=torch.float64)
    x, s = drawn(2, 1, 3), drawn(3)
    values = made(x, s)
    assert values.shape == (2, 3)
    each = torch.stack([made(x[i, 0], s[j]) for i in range(2) for j in range(3)]).reshape(2, 3)
    torch.testing.assert_close(values, each)


def test_signs_that_pytorch_puts_off_are_there_in_values_and_derivatives():
    angle, slope = 0.5, -0.3
    put_off = [torch.tensor(complex(0, -number), dtype=torch.complex128).conj().imag for number in (angle, slope)]
    assert all(each.is_neg() for each in put_off)
    made = qj.to_torch(qj.Circuit(1).ry(qj.Parameter("x"), 0), qj.X(0), inputs="x")
    np.testing.assert_allclose(made(put_off[0]), np.sin(angle), rtol=0, atol=1e-14)
    x = put_off[0].detach().requires_grad_()
    (gradient,) = torch.autograd.grad(made(x), x, grad_outputs=put_off[1])
    np.testing.assert_allclose(gradient.resolve_neg(), slope * np.cos(angle), rtol=0, atol=1e-14)


def test_parameters_have_the_circuits_names_and_shapes_and_their_values():
    made = module()
    assert {name: tuple(value.shape) for name, value in made.named_parameters()} == {"w": (2, 3), "v": ()}
    assert all((value.abs() <= 1).all() for value in made.parameters())
    given = np.arange(6.0).reshape(2, 3)
    made = qj.to_torch(circuit(), OBSERVABLES, inputs=["x", "s"], init={"w": given, "v": torch.tensor(0.5)})
    assert made.w.dtype == torch.float32 and made.w.tolist() == given.tolist() and made.v.item() == 0.5
    made = qj.to_torch(circuit(), OBSERVABLES, inputs=["x", "s"], init=torch.nn.init.ones_)
    assert made.w.eq(1).all() and made.v == 1
    whole = qj.to_torch(circuit(), OBSERVABLES)
    assert [name for name, _ in whole.named_parameters()] == ["x", "w", "v", "s"] and whole().shape == (2,)
    assert "qubits=3, observables=2, inputs=('x', 's')" in repr(made)


def test_first_and_second_derivatives_pass_pytorchs_checks_in_weights_and_inputs():
    made = module()

    def values(x, s, w, v):
        return functional_call(made, {"w": w, "v": v}, (x, s))

    points = drawn(2, 3, requires_grad=True), drawn(2, requires_grad=True), made.w, made.v
    assert torch.autograd.gradcheck(values, points)
    assert torch.autograd.gradgradcheck(values, points)


def test_third_derivatives_are_those_of_a_cosine():
    x = torch.tensor([0.3, 1.1], dtype=torch.float64, requires_grad=True)
    values = qj.to_torch(qj.Circuit(1).ry(qj.Parameter("x"), 0), qj.Z(0), inputs="x")(x)
    for wanted in (-torch.sin(x), -torch.cos(x), torch.sin(x)):
        (values,) = torch.autograd.grad(values.sum(), x, create_graph=True)
        torch.testing.assert_close(values, wanted, rtol=0, atol=1e-14)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # what forward mode of PyTorch itself loads
def test_transformations_of_functions_and_forward_mode():
    made, x, s = module().requires_grad_(False), drawn(2, 3), drawn(2)

    def loss(w):
        return functional_call(made, {"w": w}, (x, s)).square().sum()

    run = qj.expectation(circuit(), OBSERVABLES)
    fixed = {"x": x.numpy(), "s": s.numpy(), "v": made.v.numpy()}
    w = made.w
    wanted = qj.hessian(lambda w: (run({**fixed, "w": w}) ** 2).sum(), w.numpy())
    for hessian in (torch.func.hessian(loss)(w), torch.func.jacrev(torch.func.jacrev(loss))(w)):
        np.testing.assert_allclose(hessian.reshape(6, 6), wanted, rtol=0, atol=1e-13)
    mapped = torch.func.vmap(made, in_dims=(0, 0))(x, s)
    torch.testing.assert_close(mapped, made(x, s))
    one_weight_each = torch.func.vmap(lambda w: functional_call(made, {"w": w}, (x[0], s[0])), 1)(
        torch.stack([w, -w], 1)
    )
    torch.testing.assert_close(one_weight_each[1], functional_call(made, {"w": -w}, (x[0], s[0])))


@pytest.mark.parametrize("seed", mostly_slow([2, 5, 8], keep=1))
def test_random_circuits_have_the_engines_gradients(seed):
    chosen, rng = random_circuit(seed)
    inputs = [name for name in ("x",) if name in chosen.parameters]
    params = {
        name: rng.normal(size=(2, *shape) if name in inputs else shape) for name, shape in chosen.parameters.items()
    }
    others = {name: value for name, value in params.items() if name not in inputs}
    made = qj.to_torch(chosen, OBSERVABLES[:1], inputs=inputs, init=others, dtype=torch.float64)
    tensors = [torch.tensor(params[name], requires_grad=True) for name in inputs]
    made(*tensors).sum().backward()
    run = qj.expectation(chosen, OBSERVABLES[:1])
    wanted = jax.grad(lambda given: run(given).sum())(params)
    found = {**dict(zip(inputs, tensors, strict=True)), **dict(made.named_parameters())}
    assert found.keys() == params.keys()
    for name, tensor in found.items():
        np.testing.assert_allclose(tensor.grad, wanted[name], rtol=0, atol=1e-12)


# --- the hybrid classifier of the gradient variance study ------------------------------------------------------------


def classifier(layer, dtype):
    torch.manual_seed(5)
    return torch.nn.Sequential(torch.nn.Linear(16, 3), layer, torch.nn.Linear(3, 4)).to(dtype)


def images():
    rng = np.random.default_rng(8)
    return rng.uniform(size=(4, 4, 4)), rng.integers(4, size=4)


def test_values_and_gradients_are_those_of_estimator_qnn_and_torch_connector():
    connectors = pytest.importorskip("qiskit_machine_learning.connectors", reason="compares with TorchConnector")
    from qjaxsim_qiskit.crosschecking.qnn import estimator_qnn

    model = HybridModel(n_qubits=3, n_layers=2, image_size=4, n_classes=4)
    initial = np.random.default_rng(2).uniform(-1, 1, (2, 3, 3))
    theirs = classifier(connectors.TorchConnector(estimator_qnn(model), initial.ravel()), torch.float32)
    layer = qj.to_torch(model.circuit, model.observables, inputs="inputs", init={"weights": initial})
    ours = classifier(layer, torch.float32)
    x, labels = (torch.tensor(each) for each in images())
    found = []
    for network in (ours, theirs):
        pixels = x.reshape(4, 16).float().requires_grad_()
        logits = network(pixels)
        torch.nn.functional.cross_entropy(logits, labels).backward()
        gradients = [parameter.grad.ravel() for parameter in network.parameters()]
        found.append([logits.ravel(), pixels.grad.ravel(), *gradients])
    assert [len(each) for each in found[0]] == [16, 64, 48, 3, 18, 12, 4]
    for own, other in zip(*found, strict=True):
        torch.testing.assert_close(own, other, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_training_with_an_optimiser_goes_the_way_of_the_same_steps_in_jax():
    model = HybridModel(n_qubits=3, n_layers=2, image_size=4, n_classes=4)
    params = model.init(jax.random.key(1), jnp.float64)
    x, labels = images()
    initial = {"weights": np.array(params["weights"])}
    layer = qj.to_torch(model.circuit, model.observables, inputs="inputs", init=initial, dtype=torch.float64)
    network = classifier(layer, torch.float64)
    with torch.no_grad():
        for place, part in ((0, params["pre"]), (2, params["post"])):
            network[place].weight.copy_(torch.tensor(np.array(part["weight"])))
            network[place].bias.copy_(torch.tensor(np.array(part["bias"])))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    slope = jax.jit(jax.grad(lambda params: cross_entropy(model.outputs(params, x), labels).mean()))
    for _ in range(3):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(torch.tensor(x.reshape(4, 16))), torch.tensor(labels)).backward()
        optimizer.step()
        params = jax.tree.map(lambda value, change: value - 0.5 * change, params, slope(params))
    wanted = {
        "0.weight": params["pre"]["weight"], "0.bias": params["pre"]["bias"], "1.weights": params["weights"],
        "2.weight": params["post"]["weight"], "2.bias": params["post"]["bias"],
    }  # fmt: skip
    found = dict(network.named_parameters())
    assert found.keys() == wanted.keys()
    for name, value in found.items():
        np.testing.assert_allclose(value.detach().numpy(), wanted[name], rtol=0, atol=1e-12)


# --- how it lives in PyTorch -----------------------------------------------------------------------------------------


def test_state_is_saved_and_loaded_and_modules_are_copied_and_pickled():
    made, x, s = module(), drawn(2, 3), drawn(2)
    kept = io.BytesIO()
    torch.save(made.state_dict(), kept)
    kept.seek(0)
    other = module()
    with torch.no_grad():
        other.w.zero_()
    other.load_state_dict(torch.load(kept, weights_only=True))
    for same in (other, copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert torch.equal(same(x, s), made(x, s))
    twin = copy.deepcopy(made)
    with torch.no_grad():
        twin.w.zero_()
    assert made.w.abs().min() > 0


def test_without_gradients_no_graph_is_made():
    made, x, s = module(), drawn(3), drawn()
    assert made(x, s).requires_grad
    with torch.no_grad():
        assert not made(x, s).requires_grad
    with torch.inference_mode():
        assert made(x, s).is_inference()
    frozen = made.requires_grad_(False)
    assert not frozen(x, s).requires_grad and frozen(x.requires_grad_(), s).requires_grad


def test_modules_change_precision():
    made, x, s = module(), drawn(3), drawn()
    single = copy.deepcopy(made).float()(x.float(), s.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single, made(x, s).float())


def test_a_function_is_traced_once_for_shapes_and_derivatives_that_were_met():
    traces = []

    def function(x):
        traces.append(x.shape)
        return (jnp.sin(x),)

    call = TorchCall(function)
    for _ in range(3):
        x = drawn(3, requires_grad=True)
        (value,) = call(x)
        (slope,) = torch.autograd.grad(value.sum(), x, create_graph=True)
        slope.sum().backward()
        torch.testing.assert_close(x.grad, -torch.sin(x.detach()))
    assert len(traces) == 3  # the value, its slope, and that one's slope


def test_slopes_that_nobody_wants_are_not_computed():
    def function(x, y):
        return (x * y,)

    call, x, y = TorchCall(function), drawn(3), drawn(3, requires_grad=True)
    call(x, y)[0].sum().backward()
    assert list(call._derived) and [how for _, how in call._derived] == [(False, True)]
    assert torch.equal(y.grad, x) and x.grad is None


def test_tensors_are_read_in_place_and_results_are_the_callers():
    tensor = drawn(4, 4)
    assert as_array(tensor).unsafe_buffer_pointer() == tensor.data_ptr()
    for view in (tensor.T, tensor[1:, ::2], tensor[0].expand(3, 4)):
        np.testing.assert_array_equal(as_array(view), view.numpy())
    same, again = TorchCall(lambda x: (x, x))(tensor)
    same.zero_()
    assert tensor.abs().min() > 0 and torch.equal(again, tensor)


def test_workers_of_a_loader_are_spawned():
    made = module()
    rows = torch.utils.data.TensorDataset(drawn(4, 3), drawn(4))
    loader = torch.utils.data.DataLoader(rows, batch_size=2, num_workers=1, multiprocessing_context="spawn")
    found = torch.cat([made(x, s) for x, s in loader])
    torch.testing.assert_close(found, made(*rows.tensors))


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"inputs": "y"}, ValueError, r"Argument `inputs` must be one of \['x', 'w', 'v', 's'\] or several of them"),
        ({"inputs": 3}, TypeError, "Argument `inputs` must be a name or several, but is 3."),
        ({"inputs": ["x", "x"]}, ValueError, r"Argument `inputs` must name a parameter once, but is \('x', 'x'\)."),
        ({"init": {"W": 1.0}}, ValueError, r"`init` names 'W', but the module's parameters are \['x', 'w', 'v', 's'\]"),
        ({"init": {"w": [1.0]}}, ValueError, r"must give 'w' the shape \(2, 3\), but gives it \(1,\)"),
        (
            {"init": {"w": 1j * np.ones((2, 3))}},
            ValueError,
            "`init` must give 'w' finite real numbers, but gives",
        ),
        ({"init": {"v": np.ma.masked}}, TypeError, "Argument `init` for 'v' must be whole, but is a masked array"),
        ({"init": {"v": np.nan}}, ValueError, "`init` must give 'v' finite real numbers, but gives it nan"),
        ({"init": 0.5}, TypeError, "`init` must hold values by name or be a function of a tensor, but is 0.5"),
        ({"dtype": torch.float16}, ValueError, "`dtype` must be torch.float32 or torch.float64, but is torch.float16"),
        ({"observables": "Z"}, TypeError, "must be a PauliSum"),
        ({"observables": [qj.Z(3)]}, ValueError, "acts on qubit 3, but the circuit has 3 qubits"),
        ({"circuit": "bell"}, TypeError, "Argument `circuit` must be a Circuit, but is 'bell'"),
        (
            {"circuit": qj.Circuit(1).rx(qj.Parameter("a.b"), 0)},
            ValueError,
            "'a.b' of the circuit cannot have that name",
        ),
        ({"circuit": qj.Circuit(1).rx(qj.Parameter("half"), 0)}, ValueError, "give it another name, or name it in"),
    ],
)
def test_wrong_arguments_are_named(arguments, kind, message):
    given = {"circuit": circuit(), "observables": qj.Z(0), **arguments}
    with pytest.raises(kind, match=message):
        qj.to_torch(given.pop("circuit"), given.pop("observables"), **given)


@pytest.mark.parametrize(
    ("inputs", "kind", "message"),
    [
        ((), ValueError, r"The module takes 2 inputs \('x', 's'\), but got 0."),
        ((drawn(3).to_sparse(), drawn()), TypeError, r"Input 'x' must be dense, but is torch.sparse_coo; give"),
        ((np.zeros(3), drawn()), TypeError, r"Input 'x' must be a tensor, but is array.* \(ndarray\)"),
        ((drawn(3).float(), drawn()), TypeError, r"must all be torch.float32 or all torch.float64, but are .*float32"),
        ((drawn(3).long(), drawn()), TypeError, r"'x': torch.int64.*convert with `.to\(dtype\)`"),
        ((drawn(4), drawn()), ValueError, r"Parameter 'x' must have shape \(..., 3\), but has shape \(4,\)"),
        ((drawn(2, 3), drawn(5)), ValueError, "Batch axes must broadcast"),
        ((drawn(3).to("meta"), drawn()), ValueError, r"on a device that JAX has \(cpu\), but one is on 'meta'"),
    ],
)
def test_wrong_inputs_are_named(inputs, kind, message):
    with pytest.raises(kind, match=message):
        module()(*inputs)


def test_double_precision_needs_it_in_jax():
    made, single = module(), module(torch.float32)
    with jax.enable_x64(False):
        with pytest.raises(
            ValueError, match="`dtype` is torch.float64, but JAX is in single precision; set JAX_ENABLE"
        ):
            qj.to_torch(circuit(), OBSERVABLES, dtype=torch.float64)
        with pytest.raises(ValueError, match="Inputs and parameters are torch.float64, but JAX is in single precision"):
            made(drawn(3), drawn())
        assert single(drawn(3).float(), drawn().float()).dtype == torch.float32


def test_functions_of_the_engine_take_no_tensors():
    value = qj.expectation(circuit(), OBSERVABLES)
    given = {"x": np.zeros(3), "s": 0.1, "w": np.zeros((2, 3))}
    for tensor in (torch.tensor(0.5), torch.tensor(0.5, requires_grad=True)):
        with pytest.raises(TypeError, match="Parameter 'v' must be an array of JAX's or NumPy's, but holds a Tensor"):
            value({**given, "v": tensor})
