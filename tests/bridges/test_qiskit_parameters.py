"""Parameters of Qiskit circuits: expressions, order by name and index, values as Qiskit binds them, derivatives."""

import os

import jax
import jax.flatten_util
import numpy as np
import pytest

if "CI" not in os.environ:
    pytest.importorskip("qiskit", reason="needs the qiskit extra")
from qiskit import QuantumCircuit  # noqa: E402
from qiskit.circuit import Gate, Parameter, ParameterVector  # noqa: E402
from qiskit.circuit.library import efficient_su2, zz_feature_map  # noqa: E402
from qiskit.primitives.containers.bindings_array import BindingsArray  # noqa: E402
from qjaxsim_qiskit import crosscheck, from_qiskit  # noqa: E402
from qjaxsim_qiskit.meaning import angles  # noqa: E402

import qjaxsim as qj  # noqa: E402
from qjaxsim.circuits.expressions import as_expression
from tests.qiskit_cases import assert_imported_alike, matrix  # noqa: E402


def test_expressions():
    a, b, v = Parameter("a"), Parameter("b"), ParameterVector("v", 12)
    angles = [
        2 * a + 0.3, -a, a - b + 1, (a + b) / 4, a - a, 0 * b + 0.2, a * b, a**2, 1 / a, a**b, b.sin() * a,
        a.cos().exp(), (a / 2).arcsin(), (a / 2).arccos(), a.arctan(), a.tan(), a.log(), (a - 2).abs(), (b - 1).sign(),
        abs((1.7 * a).exp().exp()) / 9, abs(1.7 * a - b) ** b.cos(), 0.5 - 1 / a + 1 / a, a.conjugate() * b,
        v[10] * v[2], 2 * (v[11] - np.pi) * (v[0] - np.pi),
    ]  # fmt: skip
    circuit = QuantumCircuit(3, global_phase=a * v[3])
    for number, angle in enumerate(angles):
        circuit.rx(angle, number % 3)
        circuit.ry(0.1 * number, (number + 1) % 3)
        circuit.cx(number % 3, (number + 1) % 3)
    assert_imported_alike(circuit, 7)


def test_parameters_that_cancel_or_only_tell_a_duration_are_not_lost():
    a, b, t = Parameter("a"), Parameter("b"), Parameter("t")
    circuit = QuantumCircuit(3)
    circuit.rx(a - a, 0)
    circuit.delay(t, 1, unit="s")
    circuit.ry(b, 2)
    imported = from_qiskit(circuit)
    assert imported.circuit.parameters.keys() == {"a", "b", "t"}
    assert imported.params([0.1, 0.2, 0.3]) == {"a": 0.1, "b": 0.2, "t": 0.3}
    assert_imported_alike(circuit)


def test_values_put_into_the_source_leave_the_circuit_that_was_given_free():
    a = Parameter("a")
    given = QuantumCircuit(3)
    given.rx(a, 0)
    given.crz(2 * a, 0, 1)
    given.append(Gate("own", 1, [a]).to_mutable(), [2])
    given.data[2].operation.definition = QuantumCircuit(1)
    source = from_qiskit(given).source
    source.assign_parameters({a: 0.5}, inplace=True)
    assert source.num_parameters == 0 and set(given.parameters) == {a}
    assert [float(each) for each in source.data[1].operation.params] == [1.0]
    assert [each.operation.params for each in given.data] == [[a], [2 * a], [a]]


def test_bindings_of_the_primitives_are_taken():
    v, a = ParameterVector("v", 3), Parameter("a")
    circuit = QuantumCircuit(3)
    for qubit, angle in enumerate(v):
        circuit.ry(angle, qubit)
    circuit.rx(2 * a, 0)
    imported, numbers = from_qiskit(circuit), np.arange(24).reshape(2, 4, 3) / 10
    for keys in (tuple(v), tuple(one.name for one in v)):
        found = imported.params(BindingsArray({keys: numbers, "a": np.full((2, 4), 0.7)}))
        np.testing.assert_array_equal(found["v"], numbers)
        np.testing.assert_array_equal(found["a"], np.full((2, 4), 0.7))
    assert imported.own_params(BindingsArray({"a": 0.1, tuple(v): [1, 2, 3]}))["v"].tolist() == [1, 2, 3]


def test_parameters_that_gates_ignore_are_parameters_as_in_qiskit():
    a, b = Parameter("a"), Parameter("b")
    gate = Gate("idle", 1, [a])
    gate.definition = QuantumCircuit(1)
    circuit = QuantumCircuit(3)
    circuit.append(gate, [2])
    circuit.rx(b, 0)
    imported = from_qiskit(circuit)
    assert imported.params([0.1, 0.2]) == {"a": 0.1, "b": 0.2}
    assert_imported_alike(circuit)
    values = imported.params([0.1, 0.2])
    slopes = qj.hessian(qj.expectation(imported.circuit, qj.Z(0)), values)
    np.testing.assert_allclose(slopes, [[0, 0], [0, -np.cos(0.2)]], rtol=0, atol=1e-12)
    assert crosscheck(circuit, {a: 0.1, "b": 0.2}).agrees
    assert crosscheck(circuit, {a: 0.1, "b": 0.2}, noise="fake_manila").agrees


def test_parameters_of_a_global_phase_stay_where_a_device_knows_none():
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(3, global_phase=b)
    circuit.rx(a, 0)
    circuit.cx([0, 1], [1, 2])
    assert crosscheck(circuit, {"a": 0.3, "b": 0.4}, noise="fake_manila").agrees
    ours = qj.Circuit(3).rx(qj.Parameter("a"), 0).cx(0, 1).cx(1, 2).global_phase(qj.Parameter("b"))
    assert crosscheck(ours, {"a": 0.3, "b": 0.4}, noise="fake_manila").agrees


def test_a_vector_cut_short_keeps_the_elements_in_use():
    v = ParameterVector("v", 5)
    circuit = QuantumCircuit(3)
    circuit.rx(v[4], 0)
    v.resize(2)
    imported = from_qiskit(circuit)
    np.testing.assert_array_equal(imported.params({v: [0, 1, 2, 3, 4]})["v"], [0, 0, 0, 0, 4])


def test_vectors_go_by_index_not_by_name_or_appearance():
    x = ParameterVector("x", 12)
    circuit = QuantumCircuit(3)
    for index in (10, 2, 11, 0, 9, 1):
        circuit.ry(x[index], index % 3)
        circuit.cx(index % 3, (index + 1) % 3)
    imported = from_qiskit(circuit)
    assert imported.circuit.parameters == {"x": (12,)}
    used = [0, 1, 2, 9, 10, 11]
    values = np.linspace(0.1, 2, 6)
    wanted = np.zeros(12)
    wanted[used] = values
    np.testing.assert_array_equal(imported.params(values)["x"], wanted)
    full = np.arange(12) / 7.0
    for key in (x, "x"):
        chosen = imported.params({key: full})["x"]
        np.testing.assert_array_equal(chosen[used], full[used])
    one_by_one = imported.params({"x[10]": 1.0, x[2]: 2.0, "x[11]": [3.0, 4.0], x[0]: 0, x[9]: 0, x[1]: 0})["x"]
    assert one_by_one.shape == (2, 12)
    np.testing.assert_array_equal(one_by_one[:, [10, 2, 11]], [[1, 2, 3], [1, 2, 4]])
    assert_imported_alike(circuit)
    shaped = from_qiskit(circuit, shapes={"x": (3, 4)})
    assert shaped.circuit.parameters == {"x": (3, 4)}
    np.testing.assert_allclose(
        matrix(shaped.circuit, shaped.params(values)), matrix(imported.circuit, imported.params(values)), atol=1e-14
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, 2.0], r"must have 3 numbers in its last axis \(for a, v\[0\], v\[1\]\), but has shape \(2,\)"),
        ({"a": 1.0, "nope": 2.0}, "names 'nope', but the circuit has a, v"),
        ({"a": 1.0, "v": [1.0]}, r"must give 'v' 2 numbers in the last axis, but has shape \(1,\)"),
        ({"v": [1.0, 2.0]}, "Argument `values` lacks a"),
        ([1.0, 2.0, np.nan], "Argument `values` must be finite, but holds NaN or infinity"),
        ({"a": np.inf, "v": [1.0, 2.0]}, "Argument `values` of 'a' must be finite"),
        (
            {"a": [1.0, 2.0, 3.0], "v": np.ones((2, 2))},
            r"must have batch axes that go together, but has {'a': \(3,\), 'v\[0\]': \(2,\)",
        ),
    ],
)
def test_wrong_values(values, message):
    a, v = Parameter("a"), ParameterVector("v", 2)
    circuit = QuantumCircuit(3)
    circuit.rx(a, 0)
    circuit.rx(v[0] * v[1], 2)
    with pytest.raises(ValueError, match=message):
        from_qiskit(circuit).params(values)
    with pytest.raises(TypeError, match="Argument `values` must be real, but is complex"):
        from_qiskit(circuit).params([1j, 0, 0])


def test_gradients_and_hessians_of_a_library_circuit_are_differences():
    imported = from_qiskit(zz_feature_map(3, reps=1).compose(efficient_su2(3, reps=1)))
    energy = qj.expectation(imported.circuit, qj.Z(0) @ qj.Y(1) + 0.5 * qj.X(2))
    values = np.random.default_rng(4).uniform(-1, 1, imported.source.num_parameters)
    hessian = np.asarray(qj.hessian(energy, imported.params(values)))
    assert len(hessian) == imported.circuit.n_parameters == 3 + 12
    names, step = list(imported.circuit.parameters), 1e-4
    flat = np.concatenate([imported.params(values)[name].reshape(-1) for name in sorted(names)])
    sizes = np.cumsum([imported.params(values)[name].size for name in sorted(names)])[:-1]

    def at(vector):
        parts = np.split(vector, sizes)
        return float(energy({name: part for name, part in zip(sorted(names), parts, strict=True)}))

    gradient = jax.flatten_util.ravel_pytree(jax.jit(jax.grad(energy))(imported.params(values)))[0]
    for i in (0, 2, 3, 8, 14):
        e = 1e-5 * np.eye(15)[i]
        assert gradient[i] == pytest.approx((at(flat + e) - at(flat - e)) / 2e-5, abs=1e-7)
    for i, j in ((0, 0), (0, 5), (2, 14), (7, 9)):
        e, f = step * np.eye(15)[i], step * np.eye(15)[j]
        second = (at(flat + e + f) - at(flat + e - f) - at(flat - e + f) + at(flat - e - f)) / (4 * step**2)
        assert hessian[i, j] == pytest.approx(second, abs=1e-5, rel=1e-6)


def test_sympy_is_named_where_it_is_missing():
    a = Parameter("a")

    def missing(*_):
        raise ImportError("no sympy")

    class Angle:
        parameters = {a}
        gradient = staticmethod(lambda p: a)
        sympify = missing

        def __str__(self):
            return "a*a"

    element = as_expression(qj.Parameter("a"))
    with pytest.raises(ImportError, match=r'angle a\*a of here is not affine .*"\.\[qiskit\]" in a clone'):
        angles.angle_of(Angle(), {a: element}, "here")
    affine = QuantumCircuit(3)
    affine.rx(a - a, 0)
    affine.ry(3 * a + 1, 1)
    assert len(from_qiskit(affine).circuit) == 2


# --- traced values -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def traced():
    """An energy of Qiskit-ordered vectors, and the parameters."""
    a, b, v = Parameter("a"), Parameter("b"), ParameterVector("v", 11)
    circuit = QuantumCircuit(3)
    for index in (10, 2, 0):
        circuit.ry(v[index] * b, index % 3)
        circuit.cx(index % 3, (index + 1) % 3)
    circuit.rx(a - 0.2, 1)
    imported = from_qiskit(circuit)
    energy = qj.expectation(imported.circuit, qj.Z(0) @ qj.X(1) + 0.5 * qj.Y(2))
    return imported, lambda values: energy(imported.params(values)), (a, b, v)


def differences(function, at):
    at = np.asarray(at, float)
    steps = 1e-5 * np.eye(at.size)
    return np.array([(float(function(at + s)) - float(function(at - s))) / 2e-5 for s in steps])


def test_gradients_go_through_values_in_qiskits_order(traced):
    imported, energy, _ = traced
    at = np.array([0.4, 1.3, -0.8, 0.6, 2.1])
    assert [p.name for p in imported.order] == ["a", "b", "v[0]", "v[2]", "v[10]"]
    wanted = differences(energy, at)
    assert np.abs(wanted).max() > 0.1
    np.testing.assert_allclose(jax.grad(energy)(at), wanted, atol=1e-8)
    np.testing.assert_allclose(jax.jit(jax.grad(energy))(at), wanted, atol=1e-8)
    batch = np.stack([at, at + 0.3])
    np.testing.assert_allclose(jax.vmap(energy)(batch), [energy(row) for row in batch], atol=1e-12)
    np.testing.assert_allclose(jax.jit(energy)(batch), energy(batch), atol=1e-12)
    hessian = jax.jit(jax.hessian(energy))(at)
    np.testing.assert_allclose(hessian[1], differences(lambda x: jax.grad(energy)(x)[1], at), atol=1e-7)


def test_gradients_go_through_mappings_and_sequences(traced):
    _, energy, (a, b, v) = traced
    vector = np.linspace(0.1, 1.2, 11)

    def named(x):
        return energy({"a": x[0], b: x[1], v: vector * x[1]})

    def listed(x):
        return energy([x[0], 0.3, x[1], 2.0, x[0] * x[1]])

    def single(x):
        return energy({(a, b): x, v[0]: x[0], "v[2]": 0.4, v[10]: x[1]})

    at = np.array([0.4, 1.3])
    for function in (named, listed, single):
        np.testing.assert_allclose(jax.jit(jax.grad(function))(at), differences(function, at), atol=1e-8)
    leaves = jax.grad(lambda values: energy(values))({"a": 0.4, "b": 1.3, "v": vector})
    assert np.flatnonzero(leaves["v"]).tolist() == [0, 2, 10]


def test_traced_values_keep_their_dtype_and_are_checked(traced):
    imported, _, _ = traced
    single = jax.eval_shape(imported.params, jax.ShapeDtypeStruct((2, 5), np.float32))
    assert {name: (each.shape, each.dtype.name) for name, each in single.items()} == {
        "a": ((2,), "float32"), "b": ((2,), "float32"), "v": ((2, 11), "float32")
    }  # fmt: skip
    with pytest.raises(ValueError, match="must have 5 numbers in its last axis"):
        jax.eval_shape(imported.params, jax.ShapeDtypeStruct((4,), np.float64))
    with pytest.raises(TypeError, match="must be real, but is complex"):
        jax.eval_shape(imported.params, jax.ShapeDtypeStruct((5,), np.complex128))
    with pytest.raises(TypeError, match="must have Parameters, ParameterVectors or names as keys, but has 3"):
        imported.params({3: 0.1})
    with pytest.raises(ValueError, match=r"must give a, b 2 numbers in the last axis, but has shape \(3,\)"):
        imported.params({("a", "b"): [1, 2, 3]})
