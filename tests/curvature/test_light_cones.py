"""The split through light cones: against the generic Hessian, pushes of every sample and dense matrices."""

import collections
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.circuits import reference
from qjaxsim.common import memory
from qjaxsim.curvature import CircuitOutputs, cone_sweep, plan_split, split_hessian
from qjaxsim.models.losses import cross_entropy
from tests.cases import mostly_slow

N = 5
X, W, V = qj.Parameter("x", (N,)), qj.Parameter("w", (N, 3)), qj.Parameter("v", (2,))


def encoding():
    """Products of data and an entangling gate: any state may come first."""
    made = qj.Circuit(N)
    for q in range(N):
        made.ry(X[q], q).rz(X[q] * X[(q + 1) % N], q)
    return made.cx(0, 3).rzz(X[1], 1, 2)


def chain():
    """A line of qubits, whose cones differ in width, rotations and observables; weights shared, scaled, added."""
    made = encoding()
    for q in range(N):
        made.h(q).rx(W[q, 0], q).ry(2 * W[q, 1] - 0.3, q)
    for q in range(0, N - 1, 2):
        made.cz(q, q + 1)
    for q in range(N):
        made.rz(W[q, 2] + 0.5 * V[0], q).p(V[1], q)
    return made.crz(V[0], 0, 1).cx(2, 3).s(3).sx(4).t(4)


def every_rotation():
    """All gates that are Pauli rotations, numbers as angles, a constant matrix, a phase without effect."""
    made = encoding().rxx(W[0, 0], 0, 1).ryy(W[0, 1], 1, 2).rzz(W[0, 2], 2, 0).rzx(W[1, 0], 1, 0)
    made.cp(W[1, 1], 0, 2).cu1(W[1, 2], 2, 1).u1(W[2, 0], 0).crx(W[2, 1], 1, 0).cry(W[2, 2], 2, 1)
    random = np.random.default_rng(0).normal(size=(2, 4, 4))
    matrix = np.linalg.qr(random[0] + 1j * random[1])[0]
    return made.unitary(matrix, (2, 0)).rx(0.4, 1).u(0.1, 0.2, 0.3, 2).global_phase(W[3, 0]).rx(W[3, 1], 2)


def layered():
    """Repeated layers with weights of their own and shared ones, forwards and backwards."""
    w, v = qj.Parameter("w", (3,)), qj.Parameter("v", (2,))
    layer = qj.Circuit(N).rx(w[0], 0).cx(0, 1).ry(w[1], 1).rz(v[0], 0).cx(3, 4).rx(w[2], 4).rx(v[1], 3)
    inner = qj.Circuit(N).repeat(layer, 5, shared=("v",))
    return encoding().repeat(layer, 5, shared=("v",)).compose(inner.inverse()).rx(W[0, 0], 0)


SUMS = (
    qj.Z(0) + 0.5 * qj.X(1),
    qj.Y(2) @ qj.X(1) - 0.3 * qj.Y(1) @ qj.Z(2) + 0.2 * qj.I(),
    qj.Z(4) - 0.7 * qj.Y(4),
    qj.Y(0) @ qj.X(1) + qj.Z(1),
)
CIRCUITS = {"chain": chain, "every rotation": every_rotation, "layered": layered}


@functools.cache
def model(name):
    """One object for all tests, so that it is compiled once."""
    return CircuitOutputs(CIRCUITS[name](), SUMS, ("x",), 3.0)


def problem(name, n_samples=7, dtype=np.float64):
    rng = np.random.default_rng(5)
    shapes = model(name).circuit.parameters
    params = {key: rng.normal(size=shape) for key, shape in shapes.items() if key != "x"}
    x = {"x": rng.normal(size=(n_samples, N))}
    return (*jax.tree.map(lambda a: jnp.asarray(a, dtype), (params, x)), jnp.arange(n_samples) % len(SUMS))


@pytest.fixture
def always(monkeypatch):
    """Whatever it costs."""
    monkeypatch.setattr(CircuitOutputs, "sees_little", lambda self, *_: self.cones is not None)


def check_against_generic(outputs, params, x, y, **options):
    split = split_hessian(outputs, cross_entropy, params, x, y, **options)
    loss = lambda p: cross_entropy(outputs(p, x), y).mean()  # noqa: E731
    slope, dense = jax.jit(lambda p: (jax.grad(loss)(p), qj.hessian(loss, p)))(params)
    flat = jnp.concatenate([leaf.reshape(-1) for leaf in jax.tree.leaves(slope)])
    np.testing.assert_allclose(split.hessian, dense, atol=1e-12)
    np.testing.assert_allclose(split.gradient, flat, atol=1e-12)
    return split


# The chain is compared with pushes of every sample below, and one sample with the mean of several.
@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("name", mostly_slow(["every rotation", "layered", "chain"]))
def test_equal_to_the_generic_hessian(name):
    outputs, (params, x, y) = model(name), problem(name)
    assert outputs.cones is not None
    check_against_generic(outputs, params, x, y)


@functools.cache
def split_of_chain(n_samples=7, batch_size=None):
    outputs, (params, x, y) = model("chain"), problem("chain", n_samples)
    return split_hessian(outputs, cross_entropy, params, x, y, batch_size=batch_size)


@pytest.mark.slow
@pytest.mark.usefixtures("always")
def test_one_sample():
    check_against_generic(model("chain"), *problem("chain", 1))


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize(("n_samples", "batch_size"), mostly_slow([(7, 3), (7, 1), (130, None), (130, 48)], keep=2))
def test_any_number_of_samples_is_their_mean(n_samples, batch_size):
    outputs, (params, x, y) = model("chain"), problem("chain", n_samples)
    one = lambda i: split_hessian(outputs, cross_entropy, params, {"x": x["x"][i : i + 1]}, y[i : i + 1])  # noqa: E731
    each = [one(i) for i in range(n_samples)]
    for ours, *theirs in zip(split_of_chain(n_samples, batch_size), *each, strict=True):
        np.testing.assert_allclose(ours, np.mean(theirs, axis=0), atol=1e-12)


@pytest.mark.slow
@pytest.mark.usefixtures("always")
def test_both_parts_equal_pushes_of_every_sample():
    outputs, (params, x, y) = model("chain"), problem("chain")
    done = []
    fast = split_hessian(outputs, cross_entropy, params, x, y, batch_size=4, progress=lambda *a: done.append(a))
    slow = split_hessian(lambda p, x: outputs(p, x), cross_entropy, params, x, y)
    for ours, theirs in zip(fast, slow, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
    for part in fast[:3]:
        np.testing.assert_array_equal(part, part.T)
    assert done == [(4, 7), (7, 7)]


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("weights", mostly_slow([np.float32, np.float64]))
@pytest.mark.parametrize("data", mostly_slow([np.float64, np.float32]))
def test_precision_is_that_of_the_weights(weights, data):
    outputs, (params, x, y) = model("chain"), problem("chain")
    params, x = jax.tree.map(lambda a: a.astype(weights), params), jax.tree.map(lambda a: a.astype(data), x)
    both = weights == data == np.float64
    for ours, theirs in zip(split_hessian(outputs, cross_entropy, params, x, y), split_of_chain(), strict=True):
        assert ours.dtype == weights
        np.testing.assert_allclose(ours, theirs, atol=1e-13 if both else 3e-5)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize(
    "observables",
    mostly_slow(
        [
            [qj.Z(0), qj.Z(2)],  # one of them sees no weights
            [qj.I(), qj.Z(0)],  # sees nothing
            [0 * qj.Z(1), qj.X(3)],
        ],
        keep=1,
    ),
)
def test_observables_that_see_next_to_nothing(observables):
    made = encoding().rx(W[0, 0], 0).cx(0, 1).ry(W[0, 1], 1)
    outputs = CircuitOutputs(made, observables, ("x",))
    params, x, y = {"w": jnp.linspace(-1, 1, 3 * N).reshape(N, 3)}, problem("chain")[1], jnp.arange(7) % 2
    split = check_against_generic(outputs, params, x, y)
    assert not split.hessian[3:].any()


def test_cones_of_a_line():
    """Backwards from each observable through t, sx, s, cx, crz and p to the rotations before cz."""
    cones = model("chain").cones
    assert [(cone.qubits, cone.members) for cone in cones.cones] == [
        ((0, 1), (0, 3)),
        ((0, 1, 2, 3), (1,)),
        ((4,), (2,)),
    ]
    # rx and ry, rz and p on each qubit, crz as two rotations.
    assert [cone.depth for cone in cones.cones] == [4 * 2 + 2, 4 * 4 + 2, 4]
    assert (cones.width, cones.depth, cones.members) == (4, 18, 2)


def test_gates_that_one_observable_of_a_cone_sees_alone_are_kept():
    """Both see qubits 0 and 1, one of them through the first gates, the other through the last."""
    made = encoding().rxx(W[0, 0], 0, 1).rx(W[0, 1], 0).ry(W[0, 2], 1)
    cones = CircuitOutputs(made, (qj.Z(0), qj.Z(1)), ("x",)).cones
    assert [(cone.qubits, cone.depth, cone.members) for cone in cones.cones] == [((0, 1), 3, (0, 1))]


def test_what_cones_make_of_observables():
    """Generators are anti-Hermitian, and U^dagger O U is that of dense matrices."""
    outputs = CircuitOutputs(every_rotation(), SUMS[:2], ("x",))
    rng = np.random.default_rng(1)
    theta = jnp.asarray(rng.normal(size=outputs.n_weights))
    generators, seen, _ = cone_sweep.generators_at(outputs.tables, theta)
    assert generators.shape[:2] == seen.shape[:1] + (outputs.cones.depth,)
    re, im = np.split(np.asarray(generators), 2, axis=3)
    np.testing.assert_allclose(re, -re.swapaxes(2, 3), atol=1e-14)
    np.testing.assert_allclose(im, im.swapaxes(2, 3), atol=1e-14)
    made = outputs.stages[1]
    u = reference.unitary(made, {"w": np.asarray(theta).reshape(N, 3)})
    dense = [u.conj().T @ reference.pauli_sum_matrix(o, N) @ u for o in SUMS[:2]]
    cone, slot = outputs.tables.cone, outputs.tables.slot
    for member, matrix in enumerate(dense):
        # The cone's qubits are the first three, so that its matrix stands in every fourth row and column.
        assert outputs.cones.cones[cone[member]].qubits == (0, 1, 2)
        own = matrix[::4, ::4]
        np.testing.assert_allclose(seen[cone[member], slot[member]], own.real + own.imag, atol=1e-13)


def test_sums_are_all_that_the_result_is_made_from():
    """No axis of samples among them, so that the work after the last sample does not depend on their number."""
    outputs, (_, x, y) = model("chain"), problem("chain", 48)
    tables, theta = outputs.tables, jnp.zeros(outputs.n_weights)
    found, start = jax.eval_shape(cone_sweep.begin, tables, theta)
    add = lambda linear, sums: cone_sweep.add_samples(  # noqa: E731
        outputs, cross_entropy, tables, linear, sums, x, y, jnp.ones(48)
    )
    assert jax.eval_shape(add, found.linear, start) == start
    program = str(jax.make_jaxpr(lambda f, s: cone_sweep.finish(tables, f, s))(found, start))
    assert "48" not in program


OTHERS = {
    "several angles": lambda made: made.u(W[0, 0], W[0, 1], W[0, 2], 1),
    "products": lambda made: made.rx(W[0, 0] * W[0, 1], 1),
    "powers": lambda made: made.repeat(qj.Circuit(N).rx(qj.Parameter("w", (N, 3))[0, 0] ** 2, 0), 2, shared=("w",)),
    "data among weights": lambda made: made.rx(W[0, 0], 0).ry(X[0], 0),
    "projection": lambda made: made.rx(W[0, 0], 0).project(1, 0),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_circuits_have_no_cones(name):
    outputs = CircuitOutputs(OTHERS[name](encoding()), SUMS, ("x",))
    assert outputs.cones is None
    assert not outputs.sees_little(10**6)


@pytest.mark.parametrize("name", mostly_slow(OTHERS))
def test_other_circuits_take_another_way(name):
    outputs = CircuitOutputs(OTHERS[name](encoding()), SUMS, ("x",))
    params = {"w": jnp.linspace(-1, 1, 3 * N).reshape(N, 3)}
    _, x, y = problem("chain")
    check_against_generic(outputs, params, x, y)


def test_no_weights_have_no_cones():
    assert CircuitOutputs(encoding(), SUMS, ("x",)).cones is None


@pytest.mark.slow
@pytest.mark.usefixtures("always")
def test_other_orders_of_parameters_take_another_way():
    made = encoding().rx(W[0, 0], 0).crz(V[0], 0, 1).ry(W[0, 1], 1)
    outputs, (params, x, y) = CircuitOutputs(made, SUMS[:2], ("x",)), problem("chain")
    assert outputs.cones is not None
    turned = collections.OrderedDict((name, params[name]) for name in ("w", "v"))
    check_against_generic(outputs, turned, x, y % 2)


def layers(n_layers):
    w, made = qj.Parameter("w", (n_layers, 8, 3)), qj.Circuit(8)
    for q in range(8):
        made.ry(qj.Parameter("x", (8,))[q], q)
    for i in range(n_layers):
        for q in range(8):
            made.rx(w[i, q, 0], q).ry(w[i, q, 1], q).rz(w[i, q, 2], q)
        for q in range(i % 2, 8, 2):
            made.cx(q, (q + 1) % 8)
    return CircuitOutputs(made, [qj.Z(q) for q in range(8)], ("x",))


def test_shallow_circuits_are_worth_it_and_deep_ones_are_not(monkeypatch):
    shallow, deep = layers(3), layers(6)
    assert [cone.members for cone in shallow.cones.cones] == [(0, 1), (2, 3), (4, 5), (6, 7)]
    assert (shallow.cones.width, shallow.cones.depth) == (6, 36)
    assert deep.cones.width == 8
    assert shallow.sees_little(64)
    assert not shallow.sees_little(4)
    assert not deep.sees_little(10**5)
    found = plan_split(shallow, cross_entropy, {"w": np.zeros((3, 8, 3))}, {"x": np.zeros((64, 8))}, np.zeros(64, int))
    assert found.structure == "cones"
    monkeypatch.setattr(memory, "available_bytes", lambda: found.matrix_bytes)
    found = plan_split(shallow, cross_entropy, {"w": np.zeros((3, 8, 3))}, {"x": np.zeros((64, 8))}, np.zeros(64, int))
    assert found.structure == "pushed"
