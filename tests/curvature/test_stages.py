"""The split of circuits stage by stage: against pushes of every sample, the generic Hessian and its refusals."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import qjaxsim as qj
from qjaxsim.common import memory
from qjaxsim.curvature import hessian_product, plan_split, split_hessian, split_plan, stages
from qjaxsim.curvature.chunks import AtOnce
from qjaxsim.curvature.parts import PartSum
from qjaxsim.curvature.stages import StagedCircuit
from qjaxsim.models.losses import cross_entropy
from qjaxsim.models.patches import PatchesModel
from tests.cases import mostly_slow

N, CLASSES = 3, 3
OBSERVABLES = (qj.Z(0) + 0.5 * qj.X(1), qj.Y(2) @ qj.X(0) - 0.3 * qj.Z(2), qj.Z(1) @ qj.Z(2) + qj.Y(0))


def encoding(circuit, x, w, offset):
    """Data between weights on every qubit, with constants, factors, and a weight used twice on a qubit."""
    for q in range(N):
        circuit.h(q).ry(w[q, 0], q).rx(2 * x[q] + w[q, 1], q).t(q).rz(0.5 * w[q, 0] + 0.2, q).ry(x[q] - offset, q)
    return circuit


def block(circuit, v):
    for q in range(N):
        circuit.cx(q, (q + 1) % N)
    layer = qj.Circuit(N)
    for q in range(N):
        layer.rx(v[q], q).crz(v[q], q, (q + 1) % N)
    return circuit.repeat(layer, 2).cz(0, 2)


def circuit(first_weights=True):
    x, w, v, a = qj.Parameter("x", (N,)), qj.Parameter("w", (N, 2)), qj.Parameter("v", (N,)), qj.Parameter("a", (2,))
    made = qj.Circuit(N)
    if first_weights:
        made.u(a[0], a[1], 0.3, 1).ryy(a[0] * a[1], 0, 2)
    encoding(made, x, w, 0.1)
    block(made, v)
    encoding(made, x, w, 0.7)  # the same weights again: pairs in two stages
    return made.cx(0, 1).rx(a[1], 1).cry(a[0] ** 2, 1, 2)


def staged(made, names):
    """A part whose flat parameters are those of the circuit one after the other, `x` with a bias."""
    places, start = {}, 0
    for name in names:
        shape = made.parameters[name]
        size = int(np.prod(shape))
        places[name] = np.arange(start, start + size).reshape(shape)
        start += size
    return StagedCircuit(made, OBSERVABLES, places, lambda x: {"x": x}, frozenset({"x"})), start


@functools.cache
def model_of(first_weights=True, parts=2):
    """One object for all tests, so that it is compiled once."""
    part, size = staged(circuit(first_weights), ("x", "w", "v", "a"))
    own = N + np.arange(parts * (size - N)).reshape(parts, -1)
    index = np.concatenate([np.tile(np.arange(N), (parts, 1)), own], axis=1)
    return PartSum(part, index, lambda x: x, 3.0), size


def problem(first_weights=True, dtype=np.float64, n_samples=7, parts=2):
    model, size = model_of(first_weights)
    rng = np.random.default_rng(5)
    params = jnp.asarray(rng.normal(size=N + parts * (size - N)), dtype)
    x = jnp.asarray(rng.normal(size=(n_samples, parts, N)), dtype)
    return model, params, x, jnp.arange(n_samples) % CLASSES


def test_the_stages_of_a_circuit():
    model, *_ = problem()
    kinds = [stage.wires is not None for stage in model.part.stages]
    assert kinds == [False, True, False, True, False]
    # Weights of a matrix count once, those in rotations once for each place: five on each qubit, the bias twice.
    assert [len(stage.own) for stage in model.part.stages] == [2, 15, 6, 15, 2]
    assert [stage.first for stage in model.part.stages] == [True, False, False, False, False]


# Below it is compared with pushes of every sample and with differences, whose programs are smaller.
@pytest.mark.slow
@pytest.mark.parametrize("first_weights", [True, False])
def test_equal_to_the_generic_hessian(first_weights):
    model, params, x, y = problem(first_weights)
    loss = lambda p: cross_entropy(model(p, x), y).mean()  # noqa: E731
    slope, dense = jax.jit(lambda p: (jax.grad(loss)(p), qj.hessian(loss, p)))(params)
    whole = split_hessian(model, cross_entropy, params, x, y)
    np.testing.assert_allclose(whole.hessian, dense, atol=1e-13)
    np.testing.assert_allclose(whole.gradient, slope, atol=1e-13)


@pytest.mark.slow
def test_the_same_whatever_the_chunks():
    model, params, x, y = problem()
    assert plan_split(model, cross_entropy, params, x, y).structure == "stages"
    whole = split_hessian(model, cross_entropy, params, x, y)
    pieces = split_hessian(model, cross_entropy, params, x, y, batch_size=3)
    for one, other in zip(pieces, whole, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-13)


@pytest.mark.thorough
def test_both_parts_equal_those_of_pushes_and_rows_are_differences():
    model, params, x, y = problem()
    split = split_hessian(model, cross_entropy, params, x, y)
    slow = split_hessian(lambda p, x: model(p, x), cross_entropy, params, x, y)
    np.testing.assert_allclose(split.gauss_newton, slow.gauss_newton, atol=1e-13)
    np.testing.assert_allclose(split.residual, slow.residual, atol=1e-13)
    slope = jax.jit(jax.grad(lambda p: cross_entropy(model(p, x), y).mean()))
    np.testing.assert_allclose(split.gradient, slope(params), atol=1e-13)
    for i in (0, 4, 11, 16, 25):
        ahead, behind = (slope(params.at[i].add(sign * 1e-5)) for sign in (1, -1))
        np.testing.assert_allclose(split.hessian[i], (ahead - behind) / 2e-5, atol=1e-8)


@pytest.mark.thorough
def test_single_precision():
    model, params, x, y = problem(dtype=np.float32)
    split = split_hessian(model, cross_entropy, params, x, y)
    double = split_hessian(*(model, cross_entropy, params.astype(np.float64), x.astype(np.float64), y))
    for ours, theirs in zip(split, double, strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, atol=3e-5)


@pytest.mark.parametrize("n_samples", mostly_slow([1, 3], keep=1))
def test_one_sample_one_class_and_symmetry_points_are_finite(n_samples):
    model, params, x, _ = problem(n_samples=n_samples)
    for point in (params, jnp.zeros_like(params), jnp.full_like(params, np.pi / 2)):
        split = split_hessian(model, cross_entropy, point, jnp.zeros_like(x), jnp.zeros(n_samples, int))
        assert all(np.isfinite(part).all() for part in split)


def other_gates(kind):
    x, v = qj.Parameter("x", (N,)), qj.Parameter("v", (N,))
    made = qj.Circuit(N).h(range(N))
    if kind == "two qubits":
        return made.rzz(x[0] + v[0], 0, 1).ry(x[1] + v[1], 1).rx(x[2] * v[2], 2)
    if kind == "no rotation":
        return made.p(x[0] + v[0], 0).ry(v[1] + x[1], 1).rx(v[2] + x[2], 2)
    if kind == "not affine":
        return made.rx(x[0] * v[0], 0).ry(x[1] + v[1], 1).rx(v[2] + x[2], 2)
    if kind == "nested projection":
        made.repeat(qj.Circuit(N).project(2, 0), 2)
    made.rx(x[0] + v[0], 0).ry(x[1] + v[1], 1).rx(v[2] + x[2], 2)
    return made.project(0, 0) if kind == "projection" else made


def assert_split_is_the_hessian(part, size):
    rng = np.random.default_rng(0)
    model = PartSum(part, np.arange(size)[None], lambda x: x[:, None], 2.0)
    params, x, y = jnp.asarray(rng.normal(size=size)), jnp.asarray(rng.normal(size=(5, N))), jnp.arange(5) % CLASSES
    split = split_hessian(model, cross_entropy, params, x, y)
    dense = jax.jit(lambda p: qj.hessian(lambda p: cross_entropy(model(p, x), y).mean(), p))(params)
    np.testing.assert_allclose(split.hessian, dense, atol=1e-13)


@pytest.mark.parametrize("kind", ["two qubits", "no rotation", "not affine", "projection", "nested projection"])
def test_what_has_no_stages(kind):
    part, _ = staged(other_gates(kind), ("v",))
    assert part.stages is None
    assert part.numbers_held == part.numbers_a_sample == 0


@pytest.mark.slow
def test_what_has_no_stages_is_pushed():
    part, size = staged(other_gates("two qubits"), ("v",))
    assert_split_is_the_hessian(part, size)


def test_places_that_do_not_fit_are_refused():
    made, given = other_gates("plain"), frozenset({"x"})
    with pytest.raises(ValueError, match="Argument `index` lacks the parameter 'v', which is not in `data` either"):
        StagedCircuit(made, OBSERVABLES, {}, lambda x: {"x": x}, given)
    with pytest.raises(ValueError, match=r"must give 'v' places of its shape \(3,\), but has \(2,\)"):
        StagedCircuit(made, OBSERVABLES, {"v": np.arange(2)}, lambda x: {"x": x}, given)


def test_a_stage_without_weights():
    made = other_gates("plain").cx(0, 1).cx(1, 2)
    part, size = staged(made, ("v",))
    assert [len(stage.own) for stage in part.stages] == [3, 0]
    assert_split_is_the_hessian(part, size)


def test_little_memory_takes_the_other_way(monkeypatch):
    model, params, x, y = problem()
    held = 8 * (5 * params.size**2 + 3 * model.part.numbers_held)
    monkeypatch.setattr(memory, "available_bytes", lambda: held)
    assert plan_split(model, cross_entropy, params, x, y).structure == "parts"


def test_chunks_hold_a_bounded_number_of_tangents(monkeypatch):
    model, params, x, y = problem()
    numbers = 2 * 8 * len(model.part.order)
    assert model.part.numbers_a_sample == numbers
    monkeypatch.setattr(split_plan, "at_once", lambda: AtOnce(samples=64, directions=8, numbers=6 * numbers))
    seen = []
    split_hessian(model, cross_entropy, params, x, y, progress=lambda done, total: seen.append(done))
    assert seen == [3, 6, 7]


def test_chunks_are_larger_on_an_accelerator(monkeypatch):
    model, params, x, y = problem(n_samples=300)
    few = plan_split(model, cross_entropy, params, x, y)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    many = plan_split(model, cross_entropy, params, x, y)
    assert (few.samples, few.rows, many.samples, many.rows) == (64, 8, 256, min(64, many.parameters))
    assert many.chunk_bytes == 4 * few.chunk_bytes and many.matrix_bytes > few.matrix_bytes


def test_the_program_of_a_chunk_does_not_grow_with_depth():
    """Stages of weights enter as matrices: their depth is in `with_derivatives` and `finish` alone."""
    from qjaxsim.curvature import stage_sweep
    from qjaxsim.models.patches import PatchesModel

    lengths = []
    for depth in (1, 3):
        model = PatchesModel(1, depth, n_qubits=3, image_size=3, patch_size=3, n_classes=3)
        params, _ = ravel_pytree(model.init(jax.random.key(0)))
        part, u = model.outputs.part, params[model.outputs.index[0]]
        found, carried = (
            jax.eval_shape(functools.partial(f, part), u) for f in (stage_sweep.with_derivatives, stage_sweep.start)
        )
        chunk = lambda f, u, x, s, c, p=part: stage_sweep.add_samples(p, f, u, x, s, c)  # noqa: E731
        made = jax.make_jaxpr(chunk)(found, u, jnp.zeros((4, 9)), jnp.zeros((4, 3)), carried)
        lengths.append(str(made).count(" = "))
    assert lengths[0] == lengths[1]


@pytest.mark.thorough
def test_models_of_one_and_of_four_patches_share_the_programs_of_their_parts(caplog, key):
    """What takes long to compile is compiled for the first model; both are right against differences."""
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 1, (5, 5, 5)), np.arange(5, dtype=np.int32) % 2
    of_parts = {"with_derivatives", "values", "add_samples", "finish"}
    for patches, expected in ((1, of_parts), (4, set())):
        model = PatchesModel(patches, 1, 2, image_size=5, patch_size=2, n_classes=2, scale=3.0)
        params = model.init(key)
        caplog.clear()
        with jax.log_compiles():
            found = split_hessian(model.outputs, cross_entropy, params, x, y, batch_size=2)
        names = re.findall(r"Finished XLA compilation of jit\((\w+)\)", caplog.text)
        assert sorted(name for name in names if name in of_parts) == sorted(expected), patches
        flat, unravel = ravel_pytree(params)
        loss = lambda w, f=model.outputs, of=unravel: cross_entropy(f(of(w), x), y).mean()  # noqa: E731
        slope = jax.jit(jax.grad(loss))
        rows = np.array([(slope(flat + step) - slope(flat - step)) / 2e-5 for step in 1e-5 * np.eye(flat.size)])
        np.testing.assert_allclose(found.hessian, rows, atol=1e-8)


@pytest.mark.slow
def test_parts_in_turn_give_the_same_values(key):
    model = PatchesModel(4, 1, 2, image_size=5, patch_size=2, n_classes=2)
    x = np.random.default_rng(0).uniform(0, 1, (3, 5, 5))
    params = model.init(key)
    np.testing.assert_allclose(model.outputs.in_turn(params, x), model.outputs(params, x), rtol=1e-13)


def test_a_product_that_is_met_again_plans_no_circuit_anew(monkeypatch):
    """Matrices of stages are functions made once: of 50 layers, tracing them anew took as long as the product."""
    made = []

    def counted(build, given):
        made.append(given)
        return build(given)

    for name in ("statevector", "unitary"):
        monkeypatch.setattr(stages, name, functools.partial(counted, getattr(stages, name)))
    _, params, x, y = problem()
    model, _ = model_of.__wrapped__()  # that nothing else has used
    v = jnp.ones_like(params)
    products = [hessian_product(model, cross_entropy, params, x, y, v) for _ in range(3)]
    assert len(made) == sum(stage.wires is None for stage in model.part.stages) == 3
    np.testing.assert_array_equal(products[1:], [products[0]] * 2)
