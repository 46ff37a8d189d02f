"""What users type: numbers of NumPy and JAX are taken, and misuse is told in one sentence of our own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.experimental import jet
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import qjaxsim as qj
from qjaxsim.curvature import curvature_operators
from qjaxsim.models.hybrid import HybridModel
from qjaxsim.models.patches import PatchesModel

pytestmark = pytest.mark.usefixtures("quick_compiler")

x, w = qj.Parameter("x"), qj.Parameter("w", (2,))
VALUE = qj.expectation(qj.Circuit(2).ry(x, 0).rx(w[0], 1).cx(0, 1).ry(w[1], 0).swap(0, 1), [qj.Z(0), qj.X(1)])
DRAW = qj.sample(qj.Circuit(1).ry(x, 0), 3)
W = jnp.array([0.3, 0.7])


@pytest.mark.parametrize("half", [0.5, np.float32(0.5), np.array(0.5), jnp.array(0.5), jnp.float32(0.5)])
def test_coefficients_may_be_arrays_of_one_number(half):
    assert half * qj.Z(0) == qj.Z(0) * half == qj.PauliSum({((0, "Z"),): 0.5})
    assert qj.Z(0) / half == 2 * qj.Z(0)
    assert half + qj.Z(0) == qj.Z(0) + half == qj.Z(0) + 0.5 * qj.I()
    assert half - qj.Z(0) == -(qj.Z(0) - half)


@pytest.mark.parametrize("one", [1, np.int64(1), np.uint8(1), np.array(1), jnp.array(1)])
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


class Module:
    """A layer with a function among its leaves, as modules of other libraries have."""


jax.tree_util.register_pytree_node(Module, lambda m: ((W, jnp.tanh), None), lambda _, leaves: Module())
REFUSED = [
    (lambda: VALUE({"x": object(), "w": W}), TypeError, "Parameter 'x' must be an array of real numbers"),
    (lambda: VALUE({"x": "half", "w": W}), TypeError, "Parameter 'x' must be an array of real numbers"),
    (lambda: VALUE({"x": None, "w": W}), TypeError, "Parameter 'x' must be an array of real numbers"),
    (lambda: VALUE("half"), TypeError, "Argument `params` must be a dictionary"),
    (lambda: DRAW({"x": 0.5}, "key"), TypeError, "Argument `key` must be a random key"),
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
    (lambda: qj.Circuit(1).unitary("ab", 0), TypeError, "Argument `matrix` must be a square array of numbers"),
    (lambda: qj.Circuit(2).cnot(0, 1), AttributeError, "no method `.cnot`; use `.cx`"),
    (lambda: qj.Circuit(3).toffoli(0, 1, 2), AttributeError, "use `.ccx`"),
    (lambda: qj.Circuit(1).measure(0, 0), AttributeError, "`qjaxsim.sample`"),
    (lambda: qj.Circuit(1).initialize([1, 0]), AttributeError, "starts in |0...0>"),
    (lambda: qj.Circuit(1).barrier(), AttributeError, "leave it out"),
    (lambda: qj.Circuit(1).rxz(0.1, 0), AttributeError, "the nearest name is"),
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
]


@pytest.mark.parametrize(("call", "kind", "message"), REFUSED)
def test_misuse_is_told_in_one_sentence(call, kind, message):
    with pytest.raises(kind, match=message.replace("|0...0>", "").replace("`.", "`\\.")) as caught:
        call()
    assert "\n" not in str(caught.value) and "<lambda>" not in str(caught.value)


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


def test_a_symbolic_batch_is_refused():
    shapes = jax.ShapeDtypeStruct(export.symbolic_shape("b"), float), jax.ShapeDtypeStruct((2,), float)
    with pytest.raises(ValueError, match="Parameter 'x' must have a shape known when the function is traced"):
        export.export(jax.jit(lambda x, w: VALUE({"x": x, "w": w})))(*shapes)


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
