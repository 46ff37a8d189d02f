"""The engine's states against the dense reference, Qiskit, closed forms and identities."""

import itertools
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.circuits import reference
from qjaxsim.circuits.gates import GATES
from tests.cases import layered, mostly_slow

TOLERANCE = {np.complex64: 2e-5, np.complex128: 1e-12}
OPTIONS = {
    "default": None,
    "collapse": qj.PlanOptions(collapse=True),
    "plain": qj.PlanOptions(collapse=False),
    "blocks of 1": qj.PlanOptions(max_block=1, collapse=True),
    "blocks of 2": qj.PlanOptions(max_block=2, unroll=2),
    "blocks of 3": qj.PlanOptions(max_block=3, collapse=False, unroll=3),
}


def check(circuit, params, options=None, tolerance=1e-12):
    """Compare with the reference for every element of the batch."""
    got = np.asarray(qj.statevector(circuit, options=options)(params))
    lead = {k: np.shape(v)[: np.ndim(v) - len(circuit.parameters[k])] for k, v in params.items()}
    shape = np.broadcast_shapes(*lead.values())
    assert got.shape == (*shape, 2**circuit.n_qubits)
    full = {k: np.broadcast_to(v, shape + circuit.parameters[k]) for k, v in params.items()}
    for index in np.ndindex(*shape):
        want = reference.statevector(circuit, {k: v[index].astype(float) for k, v in full.items()})
        np.testing.assert_allclose(got[index], want, atol=tolerance)
    return got


# --- every gate on every choice of qubits -----------------------------------------------------------------------------


def gate_chunks():
    """All (gate, target order) pairs on four qubits, shuffled into circuits of some forty gates."""
    pairs = [
        (name, targets)
        for name, spec in sorted(GATES.items())
        for targets in itertools.permutations(range(4), spec.n_qubits)
    ]
    rng = np.random.default_rng(7)
    order = rng.permutation(len(pairs))
    return [[pairs[i] for i in chunk] for chunk in np.array_split(order, 12)]


@pytest.mark.parametrize(("number", "chunk"), list(enumerate(gate_chunks())), ids=range(12))
def test_every_gate_on_every_order_of_targets(number, chunk):
    x, w = qj.Parameter("x", (len(chunk), 4)), qj.Parameter("w", (len(chunk), 4))
    circuit = qj.Circuit(4)
    for q in range(4):
        circuit.u(0.3 + 0.4 * q, 0.2 - 0.5 * q, 0.9 * q, q)
    for i, (name, targets) in enumerate(chunk):
        source = (x, w)[i % 2]
        circuit.append(name, targets, [source[i, j] for j in range(GATES[name].n_angles)])
    rng = np.random.default_rng(number)
    dtype, real = ((np.complex128, np.float64), (np.complex64, np.float32))[number % 2]
    batch = ((), (3,), (2,))[number % 3]
    params = {
        "x": rng.normal(size=(*batch, len(chunk), 4)).astype(real),
        "w": rng.normal(size=(len(chunk), 4)).astype(real),
    }
    params = {name: params[name] for name in circuit.parameters}
    options = list(OPTIONS.values())[number // 2 % 6]
    got = check(circuit, params, options, TOLERANCE[dtype])
    assert got.dtype == dtype
    np.testing.assert_allclose(np.linalg.norm(got, axis=-1), 1, atol=TOLERANCE[dtype])


def test_chunks_hold_every_pair():
    assert sum(map(len, gate_chunks())) == sum(
        len(list(itertools.permutations(range(4), spec.n_qubits))) for spec in GATES.values()
    )
    assert {name for chunk in gate_chunks() for name, _ in chunk} == set(GATES)


# --- random circuits --------------------------------------------------------------------------------------------------

SHAPES = {"x": (3,), "w": (4, 2), "s": ()}


def random_angle(rng, own):
    """An angle of shared parameters and of the layer's own one, `own`."""
    x, w, s, v = (
        qj.Parameter(name, shape)[tuple(int(rng.integers(n)) for n in shape)] if shape else qj.Parameter(name)
        for name, shape in {**SHAPES, own: (2,)}.items()
    )
    forms = (x, w, v, v, 0.5 - 2 * w, x * w, v * x, s * 1, (x - w).sin() + s**2, x / 3 + v, float(rng.normal()))
    return forms[rng.integers(len(forms))]


def random_circuit(rng, n_qubits, n_gates, names=None, depth=0):
    """All gates, constant unitaries, projections, loops in loops, run forward and reversed."""
    names = names or (f"v{i}" for i in itertools.count())
    own = next(names)
    circuit = qj.Circuit(n_qubits)
    gates = [name for name, spec in sorted(GATES.items()) if spec.n_qubits <= n_qubits]
    for _ in range(n_gates):
        kind = rng.random()
        if kind < 0.1 and depth < 2:
            layer = random_circuit(rng, n_qubits, 5, names, depth + 1)
            if rng.random() < 0.5 and "project" not in layer.count_ops():
                layer = qj.Circuit(n_qubits).repeat(layer, 2, shared=SHAPES.keys() & layer.parameters).inverse()
            circuit.repeat(layer, int(rng.integers(1, 4)), shared=SHAPES.keys() & layer.parameters)
        elif kind < 0.13:
            qubit = int(rng.integers(n_qubits))
            circuit.h(qubit).ry(0.7, qubit).project(qubit, int(rng.integers(2)))
        elif kind < 0.18:
            size = 2 ** int(rng.integers(1, min(n_qubits, 3) + 1))
            square = np.linalg.qr(rng.normal(size=(size, size)) + 1j * rng.normal(size=(size, size)))[0]
            circuit.unitary(square, rng.permutation(n_qubits)[: size.bit_length() - 1])
        else:
            spec = GATES[gates[rng.integers(len(gates))]]
            angles = [random_angle(rng, own) for _ in range(spec.n_angles)]
            circuit.append(spec.name, rng.permutation(n_qubits)[: spec.n_qubits], angles)
    return circuit


def random_params(rng, circuit, batches):
    """Normal numbers; parameters that `batches` does not name get no batch axes, or those of "v" for v0, v1, ..."""
    lead = {k: batches.get(k, batches.get("v", ()) if k.startswith("v") else ()) for k in circuit.parameters}
    return {k: rng.normal(size=lead[k] + shape) for k, shape in circuit.parameters.items()}


BATCHES = [
    {},
    {"x": (3,)},
    {"x": (2, 2), "s": (2,), "v": (2,)},
    {"w": (2, 1), "x": (3, 2, 4)},  # an ensemble against a batch
    {"x": (1, 3), "w": (2, 1), "s": (1, 1)},  # sizes of one
    {"x": (2,), "w": (2,), "s": (2,), "v": (2,)},  # all
    {"v": (5,)},
    {"x": (2, 1, 1), "w": (3, 1), "s": (2,), "v": (1, 2)},  # an outer product of three
    {"x": (4, 3, 1), "s": (2,)},  # two axes of data in front of the ensemble's
]


@pytest.mark.parametrize("seed", mostly_slow(range(18), keep=[4, 6, 7]))
def test_random_circuits(seed):
    rng = np.random.default_rng(seed)
    circuit = random_circuit(rng, 1 + seed % 5, 20)
    check(circuit, random_params(rng, circuit, BATCHES[seed % 9]), list(OPTIONS.values())[seed % 6])


@pytest.mark.parametrize("names", mostly_slow(["xws", "", "x", "w"]))
@pytest.mark.parametrize("options", ["collapse", "blocks of 2"])
def test_loops_with_own_and_shared_weights_and_data_mixed(names, options):
    x, w, s = qj.Parameter("x", (2,)), qj.Parameter("w", (3,)), qj.Parameter("s")
    inner = qj.Circuit(3).rx(x[0] * w[0], 0).cx(0, 2).ry(w[1], 1).u(x[1], w[2], s, 1)
    middle = qj.Circuit(3).rzz(s, 0, 2).repeat(inner, 3, shared=("s",)).cx(2, 1)
    circuit = qj.Circuit(3).h(0).repeat(middle, 2, shared=("x",)).ry(0.3, 1)
    circuit = qj.Circuit(3).compose(circuit).compose(circuit.inverse()).compose(circuit)
    assert circuit.parameters == {"s": (2,), "x": (3, 2), "w": (2, 3, 3)}
    rng = np.random.default_rng(4)
    batches = {name: (2,) for name in names}
    check(circuit, random_params(rng, circuit, batches), OPTIONS[options])


def test_long_runs_of_data_rotations_on_one_qubit():
    """More rotations than one expansion in cosines and sines holds, with weights and other gates between."""
    x, w = qj.Parameter("x", (7,)), qj.Parameter("w", (2,))
    circuit = qj.Circuit(3).h(1)
    for i in range(7):
        circuit.append(("rx", "ry", "rz")[i % 3], 1, [x[i] * (1 + i)]).t(1).ry(w[i % 2], 1)
        circuit.append(("rxx", "rzx", "ryy")[i % 3], (2, 0), [x[-i] - 1])
    circuit.u(x[0], w[0], x[1], 1).p(x[2], 1).rx(x[3], 1).r(w[0], x[1], 0).cx(0, 1)
    rng = np.random.default_rng(8)
    for batches in ({}, {"x": (3,)}, {"w": (3,)}):
        check(circuit, random_params(rng, circuit, batches))


def test_gates_of_one_stack_may_take_data_in_different_places():
    x, w = qj.Parameter("x", (3,)), qj.Parameter("w", (2,))
    circuit = qj.Circuit(3).u(w[0], x[0], 0.3, 0).u(x[1], w[1], x[2], 1).u(0.4, w[0], x[0] * w[1], 2).cx(0, 1)
    rng = np.random.default_rng(5)
    for batches in ({"x": (3,)}, {"w": (3,)}):
        check(circuit, random_params(rng, circuit, batches))


def test_projections_inside_loops_are_never_collapsed():
    x, w = qj.Parameter("x", (3,)), qj.Parameter("w")
    layer = qj.Circuit(3).ry(w, 0).cx(0, 1).h(2).project(2, 1)
    circuit = qj.Circuit(3).ry(x[0], 0).ry(x[1], 1).ry(x[2], 2).cx(2, 0).repeat(layer, 2).repeat(layer, 2)
    rng = np.random.default_rng(2)
    check(circuit, random_params(rng, circuit, {"x": (20,)}), OPTIONS["collapse"])


# --- wider than the planner's tables ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_qubits", "options"), mostly_slow([(7, "blocks of 2"), (13, "default"), (14, "blocks of 3")], keep=[1])
)
def test_wide_circuits_are_qiskits(n_qubits, options):
    info = pytest.importorskip("qiskit.quantum_info", reason="compares with Qiskit")
    from qiskit import QuantumCircuit
    from qiskit.circuit.library.standard_gates import get_standard_gate_name_mapping

    library = get_standard_gate_name_mapping()
    rng = np.random.default_rng(n_qubits)
    names = sorted(GATES.keys() - {"delay", "delay_dt", "global_phase"})
    w, values, ours, theirs = qj.Parameter("w", (400,)), [], qj.Circuit(n_qubits), QuantumCircuit(n_qubits)
    for _ in range(100):
        spec = GATES[names[rng.integers(len(names))]]
        targets = rng.permutation(n_qubits)[: spec.n_qubits].tolist()
        angles = rng.normal(size=spec.n_angles).tolist()
        ours.append(spec.name, targets, [w[len(values) + i] for i in range(spec.n_angles)])
        theirs.append(library[spec.name].base_class(*angles), targets)
        values += angles
    params = {"w": np.pad(values, (0, 400 - len(values)))}
    got = qj.statevector(ours, options=OPTIONS[options])(params)
    np.testing.assert_allclose(got, info.Statevector(theirs).reverse_qargs().data, atol=1e-12)


def test_wide_batches_with_data_and_loops_do_not_depend_on_the_plan():
    n = 13
    x, w = qj.Parameter("x", (n,)), qj.Parameter("w", (n,))
    layer = qj.Circuit(n)
    for q in range(n):
        layer.ry(w[q], q).rx(x[q], q)
    for q in range(n):
        layer.append(("cx", "cz", "cp", "rzz")[q % 4], (q, (q + 5) % n), [x[q] * w[q]] if q % 4 > 1 else [])
    circuit = qj.Circuit(n).repeat(layer, 2, shared=("x",))
    rng = np.random.default_rng(0)
    params = {"x": rng.normal(size=(2, n)), "w": rng.normal(size=(2, n))}
    first = qj.statevector(circuit)(params)
    written_out = qj.Circuit(n)
    for row in range(2):
        for q in range(n):
            written_out.ry(params["w"][row, q], q).rx(x[q], q)
        for q in range(n):
            angles = [x[q] * params["w"][row, q]] if q % 4 > 1 else []
            written_out.append(("cx", "cz", "cp", "rzz")[q % 4], (q, (q + 5) % n), angles)
    second = qj.statevector(written_out, options=qj.PlanOptions(max_block=2))({"x": params["x"]})
    np.testing.assert_allclose(first, second, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-12)


# --- identities and closed forms --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_collapsing_and_unrolling_change_nothing():
    circuit = layered(6, 5, ring=True)
    rng = np.random.default_rng(3)
    params = {"x": rng.normal(size=(80, 6)), "w": rng.normal(size=(5, 6, 3))}
    states = [qj.statevector(circuit, options=options)(params) for options in OPTIONS.values()]
    for state in states[1:]:
        np.testing.assert_allclose(state, states[0], atol=1e-12)
    with pytest.raises(AssertionError):  # and the batch is not all alike
        np.testing.assert_allclose(states[0][0], states[0][1], atol=1e-3)


@pytest.mark.slow
def test_a_circuit_and_its_inverse_are_the_identity():
    rng = np.random.default_rng(11)
    circuit = layered(4, 3, ring=True)
    while len(circuit) < 40:
        part = random_circuit(rng, 4, 8)
        if "project" not in part.count_ops() and not part.parameters.keys() & {"w", "x", *circuit.parameters}:
            circuit.compose(part)
    circuit.compose(circuit.inverse())
    state = qj.statevector(circuit)(random_params(rng, circuit, {"x": (3,)}))
    np.testing.assert_allclose(state, np.eye(16)[[0, 0, 0]], atol=1e-12)


def test_ghz_and_the_order_of_qubits():
    ghz = qj.Circuit(5).h(0).cx(0, 1).cx(1, 2).cx(2, 3).cx(3, 4)
    want = np.zeros(32)
    want[[0, 31]] = np.sqrt(0.5)
    np.testing.assert_allclose(qj.statevector(ghz)(), want, atol=1e-15)
    np.testing.assert_allclose(qj.statevector(qj.Circuit(3).x(2))(), np.eye(8)[1])
    np.testing.assert_allclose(qj.statevector(qj.Circuit(3).x([0, 1]))(), np.eye(8)[6])


def test_product_states_in_closed_form():
    x = qj.Parameter("x", (4,))
    circuit = qj.Circuit(4)
    for q in range(4):
        circuit.ry(x[q], q).rz(2 * x[q], q)
    values = np.random.default_rng(0).normal(size=(3, 4))
    qubit = np.stack([np.cos(values / 2) * np.exp(-1j * values), np.sin(values / 2) * np.exp(1j * values)], axis=-1)
    want = np.einsum("za,zb,zc,zd->zabcd", *qubit.transpose(1, 0, 2)).reshape(3, 16)
    np.testing.assert_allclose(qj.statevector(circuit)({"x": values}), want, atol=1e-14)


def test_circuits_without_parameters_need_no_argument():
    empty = qj.statevector(qj.Circuit(3))
    for state in (empty(), empty(None), empty({})):
        np.testing.assert_array_equal(state, np.eye(8)[0])
    only_identities = qj.Circuit(3).id([0, 1]).delay(5, 2).repeat(qj.Circuit(3), 2).repeat(qj.Circuit(3).id(0), 2)
    np.testing.assert_array_equal(qj.statevector(only_identities)(), np.eye(8)[0])
    np.testing.assert_allclose(qj.statevector(qj.Circuit(3).unitary(np.eye(8)[::-1], [2, 0, 1]))(), np.eye(8)[7])


def test_parameters_that_change_nothing_still_give_their_batch():
    x = qj.Parameter("x", (2,))
    state = qj.statevector(qj.Circuit(3).h(0).delay(x[1], 0))({"x": np.ones((5, 2))})
    np.testing.assert_allclose(state, np.tile(np.eye(8)[0] + np.eye(8)[4], (5, 1)) / np.sqrt(2), atol=1e-15)


def test_the_global_phase_is_kept():
    x = qj.Parameter("x")
    values = np.array([0.4, -1.1, 2.0])
    circuit = qj.Circuit(3).global_phase(x).global_phase(0.25).h(1)
    want = np.exp(1j * (values + 0.25))[:, None] * (np.eye(8)[0] + np.eye(8)[2]) / np.sqrt(2)
    np.testing.assert_allclose(qj.statevector(circuit)({"x": values}), want, atol=1e-14)
    layers = qj.Circuit(3).repeat(qj.Circuit(3).global_phase(x), 3).h(1)
    want = np.exp(1j * values.sum()) * (np.eye(8)[0] + np.eye(8)[2]) / np.sqrt(2)
    np.testing.assert_allclose(qj.statevector(layers)({"x": values}), want, atol=1e-14)


def test_projection_keeps_one_branch_and_normalises():
    x = qj.Parameter("x")
    circuit = qj.Circuit(3).ry(x, 0).cx(0, 1).ry(0.4, 2).cx(2, 1)
    params = {"x": np.array([0.3, 1.2, -2.0])}
    free = np.asarray(qj.statevector(circuit)(params)).reshape(3, 2, 2, 2)
    for outcome in (0, 1):
        got = np.asarray(qj.statevector(circuit.copy().project(1, outcome))(params)).reshape(3, 2, 2, 2)
        kept = free[:, :, outcome]
        norm = np.sqrt((np.abs(kept) ** 2).sum(axis=(1, 2), keepdims=True))
        np.testing.assert_allclose(got[:, :, outcome], kept / norm, atol=1e-14)
        np.testing.assert_array_equal(got[:, :, 1 - outcome], 0)
    impossible = qj.statevector(qj.Circuit(3).h(1).project(0, 1))()
    assert np.isnan(impossible).any()


def test_the_function_keeps_a_snapshot_of_the_circuit():
    circuit = qj.Circuit(3).h(0)
    run = qj.statevector(circuit)
    circuit.x(1)
    np.testing.assert_allclose(run(), (np.eye(8)[0] + np.eye(8)[4]) / np.sqrt(2), atol=1e-15)


def test_single_and_double_precision_and_mixtures():
    x, w = qj.Parameter("x", (3,)), qj.Parameter("w", (3,))
    circuit = qj.Circuit(3)
    for q in range(3):
        circuit.ry(x[q], q).rx(x[q] * w[q] + 0.5, q).append("cp", (q, (q + 1) % 3), [w[q]])
    run = qj.statevector(circuit)
    values = {"x": np.array([1, 0, 2]), "w": np.array([0.3, -0.2, 0.5])}
    want = reference.statevector(circuit, values)
    cases = [
        (np.float32, np.float32, np.complex64),
        (np.float64, np.float32, np.complex128),
        (np.int32, np.float32, np.complex64),
        (np.uint8, np.float64, np.complex128),
        (jnp.bfloat16, np.float32, np.complex64),
    ]
    for x_type, w_type, dtype in cases:
        got = run({"x": jnp.asarray(values["x"], x_type), "w": jnp.asarray(values["w"], w_type)})
        assert got.dtype == dtype
        np.testing.assert_allclose(got, want, atol=TOLERANCE[dtype])
    scalar = qj.statevector(qj.Circuit(3).ry(qj.Parameter("s"), 1).rx(x[0], 0))
    assert scalar({"s": 0.5, "x": np.ones(3, np.float32)}).dtype == np.complex64  # plain numbers follow the arrays
    assert scalar({"s": 0.5, "x": [1.0, 2.0, 3.0]}).dtype == np.complex128
    np.testing.assert_allclose(run({"x": [1, 0, 2.0], "w": values["w"]}), want, atol=1e-12)


PLAIN_SCRIPT = """
import jax, numpy as np, qjaxsim as qj
from qjaxsim.circuits import reference
x, w = qj.Parameter("x", (3,)), qj.Parameter("w", (3,))
layer = qj.Circuit(3).rx(w[0], 0).u(x[1], w[1], 0.2, 1).ccx(0, 1, 2).cp(w[2], 2, 0).global_phase(w[0])
circuit = qj.Circuit(3).h([0, 1]).ry(x[0], 2).unitary(np.diag([1, 1j]), 0).repeat(layer, 2, shared="x").project(1, 0)
values = {"x": np.array([0.3, -0.7, 0.2]), "w": np.linspace(-1, 1, 6).reshape(2, 3)}
energy = qj.Z(0) @ qj.Y(1) + qj.X(2) - 0.5 * qj.I()
state, run = qj.statevector(circuit)(values), qj.expectation(circuit, energy)
assert state.dtype == np.complex64 and qj.statevector(qj.Circuit(3).h(0))().dtype == np.complex64
np.testing.assert_allclose(state, reference.statevector(circuit, values), atol=1e-5)
np.testing.assert_allclose(run(values), reference.expectation(circuit, energy, values), atol=1e-5)
many = {"x": np.tile(values["x"], (9, 1)), "w": values["w"]}
np.testing.assert_allclose(qj.statevector(circuit, options=qj.PlanOptions(collapse=True))(many)[4], state, atol=1e-5)
hessian = jax.hessian(run)({name: jax.numpy.asarray(value) for name, value in values.items()})
assert hessian["w"]["x"].shape == (2, 3, 3) and hessian["w"]["x"].dtype == np.float32
assert qj.sample(circuit, 10)(values, jax.random.key(0)).shape == (10, 3)
"""


def test_single_precision_under_jaxs_default_settings():
    command = [sys.executable, "-W", "error", "-c", PLAIN_SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
