"""Cross-checks: Aer's side against Qiskit's own classes, agreement, and that a wrong result is seen."""

import json

import jax
import numpy as np
import pytest
import qjaxsim_qiskit.crosschecking.crosscheck as module
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Gate, Parameter, ParameterVector
from qiskit.circuit.library import XXPlusYYGate
from qiskit.quantum_info import SparsePauliOp, Statevector
from qjaxsim_qiskit import crosscheck
from qjaxsim_qiskit.crosschecking import aer, comparing, models, qnn
from qjaxsim_qiskit.crosschecking.models import crosscheck_patches
from qjaxsim_qiskit.meaning.rotations import rotations_of
from scipy import stats

import qjaxsim as qj
from qjaxsim.command import main as cli
from qjaxsim.models.hybrid import HybridModel
from qjaxsim.models.patches import PatchesModel
from tests.cases import mostly_slow

OPERATORS = [SparsePauliOp("ZII"), SparsePauliOp("XYZ"), SparsePauliOp(["IIZ", "IXX"], [0.5, 2])]


@pytest.fixture(scope="module")
def theirs() -> QuantumCircuit:
    """Three qubits, controlled rotations and phases, products and functions of parameters."""
    a, b, v = Parameter("a"), Parameter("b"), ParameterVector("v", 3)
    circuit = QuantumCircuit(3, global_phase=0.3 * a)
    circuit.h(0)
    circuit.crx(a * b, 0, 1)
    circuit.u(v[0], 2 * v[1], v[2].sin(), 2)
    circuit.append(XXPlusYYGate(v[0], b), [1, 2])
    circuit.cp(a, 0, 2)
    circuit.ccx(0, 1, 2)
    circuit.rzz(b, 0, 1)
    return circuit


@pytest.fixture(scope="module")
def values(theirs) -> list[dict]:
    rng = np.random.default_rng(5)
    return [dict(zip(theirs.parameters, rng.normal(size=5), strict=True)) for _ in range(3)]


@pytest.fixture(scope="module")
def ours() -> qj.Circuit:
    """Four qubits: data, a repeated layer, an expression, a constant matrix, a global phase."""
    x, w, s = qj.Parameter("x", (4,)), qj.Parameter("w", (4, 2)), qj.Parameter("s")
    layer = qj.Circuit(4)
    for qubit in range(4):
        layer.ry(w[qubit, 0], qubit).rz(w[qubit, 1], qubit)
    layer.cx(0, 1).cx(1, 2).cx(2, 3)
    circuit = qj.Circuit(4).h(0)
    for qubit in range(4):
        circuit.rx(x[qubit] * s + 0.2, qubit)
    circuit.repeat(layer, 2).cry(s**2, 3, 0).unitary(np.diag([1, 1j, -1, 1]), (2, 0))
    return circuit.global_phase(0.7)


def batch_of(circuit: qj.Circuit, samples: int) -> dict:
    rng = np.random.default_rng(8)
    shapes = circuit.parameters
    return {name: rng.normal(size=(samples, *shape) if name == "x" else shape) for name, shape in shapes.items()}


def exact(circuit, one, operators):
    state = Statevector(circuit.assign_parameters(one))
    return np.array([state.expectation_value(operator).real for operator in operators])


# --- Aer's side --------------------------------------------------------------------------------------------------


def test_states_and_expectations_of_aer_are_qiskits_own(theirs, values):
    states = [Statevector(theirs.assign_parameters(one)).data for one in values]
    np.testing.assert_allclose(aer.states(theirs, values), states, atol=1e-13)
    wanted = [exact(theirs, one, OPERATORS) for one in values]
    np.testing.assert_allclose(aer.expectations(theirs, values, OPERATORS), wanted, atol=1e-13)


def test_counts_of_aer_follow_the_probabilities(theirs, values):
    drawn = aer.counts(theirs, values, 4000, 3)
    np.testing.assert_array_equal(drawn.sum(axis=1), 4000)
    for row, one in zip(drawn, values, strict=True):
        wanted = Statevector(theirs.assign_parameters(one)).probabilities()
        assert np.abs(row / 4000 - wanted).max() < 5 * np.sqrt(0.25 / 4000)


def test_shift_gradients_are_central_differences(theirs, values):
    chosen, step = list(theirs.parameters), 1e-5
    columns = []
    for parameter in chosen:
        up, down = ({**values[0], parameter: values[0][parameter] + sign * step} for sign in (1, -1))
        columns.append((exact(theirs, up, OPERATORS) - exact(theirs, down, OPERATORS)) / (2 * step))
    found = aer.shift_gradients(theirs, values[0], OPERATORS, chosen)
    np.testing.assert_allclose(found, np.stack(columns, axis=1), atol=1e-8)
    alone = aer.shift_gradients(theirs, values[0], OPERATORS, chosen[3:4])
    np.testing.assert_allclose(alone, found[:, 3:4], atol=1e-13)
    assert rotations_of(theirs)[chosen[3]] == 1  # 2 v[1] is one angle of one gate
    assert aer.shift_gradients(theirs, values[0], OPERATORS, []).shape == (3, 0)


# --- agreement ---------------------------------------------------------------------------------------------------


def test_our_circuit_agrees_in_every_respect(ours):
    found = crosscheck(ours, batch_of(ours, 3), shots=3000, seed=4)
    assert found.agrees, found.rows()
    assert [check.quantity for check in found.checks] == [
        "state", "amplitudes, with global phase", "probabilities", "expectation values",
        "counts of Aer, our probabilities", "our counts, probabilities of Aer", "gradients, JAX and parameter shift",
    ]  # fmt: skip
    assert found.samples == 3 and found.n_parameters == 4 + 16 + 1
    assert "21 of 21 parameters" in found.checks[-1].detail
    timed = found.checks[0]
    for first, repeated in ((timed.first_ours, timed.repeated_ours), (timed.first_theirs, timed.repeated_theirs)):
        assert first > 0
        assert (repeated is None) == (first >= comparing._REPEATED_BELOW) and repeated != 0
    json.dumps(found.to_json(), allow_nan=False)


def test_a_qiskit_circuit_agrees_and_its_measurements_are_left_out(theirs):
    measured = theirs.copy()
    measured.measure_all()
    found = crosscheck(measured, observables=[qj.Z(0) @ qj.X(2), 2.0 * qj.Y(1)])
    assert found.agrees, found.rows()
    assert "5 of 5 parameters" in found.checks[-1].detail


def test_a_gate_of_ones_own_under_a_standard_name_is_not_run_as_the_standard_one():
    a = Parameter("a")
    own = Gate("rzz", 2, [a])
    own.definition = QuantumCircuit(2)
    own.definition.p(a, [0, 1])
    own.definition.cp(-2 * a, 0, 1)  # diag(1, e, e, 1), which is not Qiskit's
    outer = QuantumCircuit(3, name="rx")
    outer.append(own, [2, 0])
    circuit = QuantumCircuit(3)
    circuit.h([0, 1, 2])
    circuit.append(own, [0, 1])
    circuit.append(outer.to_gate(), [1, 2, 0])
    circuit.ry(0.3, 1)
    found = crosscheck(circuit)
    assert found.agrees, found.rows()


def test_a_circuit_without_parameters_has_no_gradients():
    found = crosscheck(qj.Circuit(3).h(0).cx(0, 2).t(2), shots=500)
    assert found.agrees and len(found.checks) == 6 and found.n_parameters == 0


@pytest.mark.parametrize("names", mostly_slow([["meas"], ["all", "all_"], ["c0", "qjaxsim"]], keep=1))
def test_counts_are_those_of_all_qubits_whatever_a_circuit_measures_into(names):
    """Bits of measurements that were left out are still there: they hold nothing of the draws."""
    circuit = QuantumCircuit(QuantumRegister(2), *(ClassicalRegister(2, name) for name in names))
    circuit.h(0)
    circuit.rx(0.7, 1)
    circuit.measure([1, 0], [0, 1])
    found = crosscheck(circuit, shots=2000)
    assert found.agrees and len(found.checks) == 6, found.rows()
    chances = np.array([np.cos(0.35) ** 2, np.cos(0.35) ** 2, np.sin(0.35) ** 2, np.sin(0.35) ** 2]) / 2
    bare = circuit.copy_empty_like()
    bare.h(0)
    bare.rx(0.7, 1)
    counts = aer.counts(bare, [{}], 4000, 1)[0]
    assert counts.sum() == 4000 and (abs(counts - 4000 * chances) < 5 * np.sqrt(4000 * chances)).all()


def test_integers_of_numpy_and_operators_of_qiskit_are_taken():
    circuit = QuantumCircuit(1)
    circuit.ry(Parameter("a"), 0)
    found = crosscheck(circuit, [0.3], SparsePauliOp("X"), shots=np.int64(200), seed=np.int64(3), gradients=False)
    assert found.agrees and found.seed == 3 and type(found.seed) is int


@pytest.mark.slow
def test_gradients_are_limited_to_some_rotations(ours):
    params = batch_of(ours, 1)
    detail = crosscheck(ours, params, max_rotations=5, seed=2).checks[-1].detail
    count, rotations = int(detail.split()[0]), int(detail.split()[4])
    assert 1 <= count < 21 and rotations <= 8  # the scalar alone takes part in more than five
    assert len(crosscheck(ours, params, gradients=False).checks) == 4


def test_a_patches_model_agrees_with_the_logits_put_together_from_aer():
    model = PatchesModel(4, 1, n_qubits=3, image_size=4, patch_size=2, n_classes=3)
    params = model.init(jax.random.key(1))
    params["bias"] = params["bias"] + 0.1
    x = np.random.default_rng(2).uniform(0, 1, (2, 4, 4))
    found = crosscheck_patches(model, params, x, max_rotations=20)
    assert found.agrees, found.rows()
    assert found.checks[-1].quantity == "logits of the whole model"
    assert len(found.checks) == 6 and found.samples == 4 * 2 and found.n_parameters == model.n_parameters


@pytest.mark.slow
@pytest.mark.parametrize("pre", mostly_slow(["linear", "conv"]))
def test_a_hybrid_model_agrees_with_the_logits_of_its_post_layer_on_aers_values(pre):
    model = HybridModel(3, 2, image_size=8, n_classes=4, pre=pre, pairing="ring")
    x = np.random.default_rng(2).uniform(0, 1, (3, 8, 8))
    found = models.crosscheck_hybrid(model, model.init(jax.random.key(1)), x)
    assert found.agrees, found.rows()
    assert found.samples == 3 and found.checks[-1].quantity == "logits of the whole model"
    assert "21 of 21 parameters" in found.checks[-2].detail


def test_a_hybrid_model_agrees_with_an_estimator_qnn():
    model = HybridModel(3, 1, image_size=4, n_classes=3)
    x = np.random.default_rng(4).uniform(0, 1, (2, 4, 4))
    params = model.init(jax.random.key(3))
    found = models.crosscheck_hybrid(model, params, x, qnn=True, gradients=False)
    assert found.agrees, found.rows()
    assert [check.quantity for check in found.checks[-3:]] == [
        "EstimatorQNN: values", "EstimatorQNN: gradients in inputs", "EstimatorQNN: gradients in weights",
    ]  # fmt: skip
    other = {**params, "weights": params["weights"] + 0.01}
    network = qnn.estimator_qnn(model)
    angles = np.asarray(model.encode(params, x))
    far = np.abs(network.forward(angles, np.asarray(other["weights"]).ravel()) - model.expectations(params, x)).max()
    assert far > 1e-4


def test_qiskit_machine_learning_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(qnn, "find_spec", lambda name: None)
    with pytest.raises(
        ImportError, match=r'EstimatorQNN needs the package qiskit-machine-learning; .*"\.\[bench\]" in a clone'
    ):
        qnn.estimator_qnn(HybridModel(3, 1))


@pytest.mark.thorough
def test_a_patches_model_that_reads_other_pixels_has_other_logits(monkeypatch):
    model = PatchesModel(4, 1, n_qubits=3, image_size=4, patch_size=2, n_classes=3)
    params, x = model.init(jax.random.key(1)), np.random.default_rng(2).uniform(0, 1, (2, 4, 4))
    expectations = models.expectations_on_aer
    monkeypatch.setattr(models, "expectations_on_aer", lambda *args: expectations(*args)[::-1])
    found = models.crosscheck_patches(model, params, x, gradients=False)
    assert [check.agrees for check in found.checks] == [True] * 4 + [False]


# --- a wrong result is seen --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "failing"),
    mostly_slow([
        (lambda circuit: circuit.global_phase(1e-6), {"amplitudes, with global phase"}),
        (lambda circuit: circuit.z(0), {"state", "amplitudes, with global phase", "expectation values",
                                        "gradients, JAX and parameter shift"}),
        (lambda circuit: circuit.rx(0.4, 1), None),
    ], keep=[1]),
)  # fmt: skip
def test_another_circuit_on_the_other_side_differs(ours, monkeypatch, change, failing):
    export = module.to_qiskit
    monkeypatch.setattr(module, "to_qiskit", lambda circuit: export(change(circuit.copy())))
    found = crosscheck(ours, batch_of(ours, 1), shots=4000)
    assert not found.agrees
    wrong = {check.quantity for check in found.checks if not check.agrees}
    assert wrong == failing if failing else len(wrong) == len(found.checks)


def test_the_order_of_qubits_matters(ours, monkeypatch):
    monkeypatch.setattr(module, "reverse_state", lambda state, n_qubits: state)
    found = crosscheck(ours, batch_of(ours, 1), shots=4000, gradients=False)
    assert [check.agrees for check in found.checks] == [False, False, False, True, False, False]


def test_p_value_is_pearsons_and_knows_the_impossible():
    rng = np.random.default_rng(3)
    probabilities = rng.dirichlet(np.ones(8))
    counts = rng.multinomial(10_000, probabilities)
    assert module.p_value(counts, probabilities) == pytest.approx(
        stats.chisquare(counts, 10_000 * probabilities).pvalue, rel=1e-9
    )
    assert module.p_value(np.array([50, 50, 1]), np.array([0.5, 0.5, 0.0])) == 0.0
    assert module.p_value(np.array([101]), np.array([1.0])) == 1.0
    # Two rare outcomes are taken together: (98, 2) against (98, 2) is no deviation at all.
    assert module.p_value(np.array([98, 2, 0]), np.array([0.98, 0.01, 0.01])) == 1.0


# --- arguments and command line ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shots": 0}, "Argument `shots` must be a positive integer, but is 0"),
        ({"shots": 2.0}, r"Argument `shots` must be a positive integer, but is 2\.0"),
        ({"seed": "a"}, "Argument `seed` must be an integer from 0 to 4294967295, but is 'a'"),
        ({"max_rotations": -1}, "Argument `max_rotations` must be a positive integer, but is -1"),
        ({"tolerance": 0.0}, "Argument `tolerance` must be a positive number, but is 0.0"),
        ({"params": {"y": 1.0}}, r"Argument `params` must have the keys \['s', 'w', 'x'\], but has \['y'\]"),
        ({"params": {"x": np.zeros(3), "w": np.zeros((2, 4, 2)), "s": 0.0}},
         r"Parameter 'x' must have shape \(\.\.\., 4\), but has \(3,\)"),
    ],
)  # fmt: skip
def test_wrong_arguments(ours, options, message):
    with pytest.raises(ValueError, match=message):
        crosscheck(ours, **options)


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "bell.qasm"
    path.write_text(
        'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[3];\nh q[0];\ncx q[0],q[1];\nrz(0.3) q[2];\nt q[1];\n'
    )
    return path


def test_command_line(program, tmp_path, capsys):
    out = tmp_path / "check.json"
    assert cli.main(["crosscheck", str(program), "--shots", "200", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "bell.qasm: 3 qubits, 0 parameters" in text and text.rstrip().split("\n")[-2] == "agrees"
    written = json.loads(out.read_text())
    assert written["agrees"] is True and len(written["checks"]) == 6
    assert cli.main(["crosscheck", str(program), "--tolerance", "1e-300", "--observables", "Z0 Z1,X2"]) in (0, 1)


def test_command_line_says_what_differs(program, monkeypatch, capsys):
    monkeypatch.setattr(module, "reverse_state", lambda state, n_qubits: state)
    assert cli.main(["crosscheck", str(program)]) == 1
    assert "DIFFERS" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Give either FILE or --model"),
        (["bell.qasm", "--model", "patches"], "Give either FILE or --model"),
        (["bell.qasm", "--run", "runs"], "Option --run has an effect only with --model"),
        (["--model", "patches", "--params", "p.npz"], "Option --params has an effect only with FILE"),
        (["--model", "patches"], "Option --model needs --run"),
        (
            ["--model", "patches", "--run", "runs"],
            "--run must be a results folder of a study, but runs holds none",
        ),
        (["--model", "nope", "--run", "runs"], "must be one of patches, hybrid, but is 'nope'"),
        (
            ["--model", "patches", "--run", "runs", "--images", "0"],
            "Option --images must be a positive number, but is 0",
        ),
        (["--model", "patches", "--run", "runs", "--qnn"], "Option --qnn has an effect only with --model hybrid"),
        (["turn.qasm", "--random-params", "-1"], "--random-params must be an integer of at least 0, but is -1"),
        (["bell.qasm", "--noise", "none.json"], "--noise must name a JSON file, but none.json cannot be read"),
        (["bell.qasm", "--dtype", "half"], "Option --dtype must be float64 or float32, but is 'half'"),
    ],
)
def test_wrong_command_lines(words, message, capsys, program, monkeypatch):
    monkeypatch.chdir(program.parent)
    text = 'OPENQASM 3.0;\ninclude "stdgates.inc";\ninput float a;\nqubit q;\nry(a) q;\n'
    program.with_name("turn.qasm").write_text(text)
    assert cli.main(["crosscheck", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


# --- what Qiskit's users have in hand ----------------------------------------------------------------------------


def test_values_and_operators_of_qiskit_are_taken(theirs):
    vector = np.linspace(-1, 1, 5)
    found = crosscheck(theirs, vector, OPERATORS, gradients=False)
    assert found.agrees and found.samples == 1 and found.checks[3].detail == "3 observables"
    named = crosscheck(theirs, {**dict(zip(theirs.parameters, vector, strict=True))}, OPERATORS[1], gradients=False)
    assert named.agrees and named.checks[3].detail == "1 observable"
    assert crosscheck(theirs, np.stack([vector, 2 * vector]), [qj.Z(0), OPERATORS[0]], gradients=False).samples == 2


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"params": np.zeros(4)}, ValueError, r"`params` must have 5 numbers in its last axis \(for a, b, v\[0\]"),
        ({"params": {"nope": 1.0}}, ValueError, "`params` names 'nope', but the circuit has a, b, v"),
        ({"observables": SparsePauliOp("ZZ")}, ValueError, "Observable 0 must have the circuit's 3 qubits, but has 2"),
        ({"observables": [qj.Z(0), "ZZZ"]}, TypeError, "Observable 1 must be a PauliSum, but is str"),
    ],
)
def test_wrong_values_and_operators_of_qiskit(theirs, options, error, message):
    with pytest.raises(error, match=message):
        crosscheck(theirs, **options)


def test_vectors_are_no_params_of_our_circuits(ours):
    with pytest.raises(
        TypeError, match=r"`params` must be a dictionary with the keys \['s', 'w', 'x'\], but is ndarray"
    ):
        crosscheck(ours, np.zeros(21))


def test_angles_without_a_derivative_and_delays(tmp_path, capsys):
    from qiskit import qpy

    t = Parameter("t")
    circuit = QuantumCircuit(2)
    circuit.ry(t.sign() * 0.7, 0)
    circuit.delay(Parameter("wait"), 1)
    circuit.cx(0, 1)
    assert crosscheck(circuit, gradients=False).agrees
    with (tmp_path / "c.qpy").open("wb") as file:
        qpy.dump(circuit, file)
    assert cli.main(["crosscheck", str(tmp_path / "c.qpy")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: The parameter-shift rule needs derivatives") and "--no-gradients" in error
    assert cli.main(["crosscheck", str(tmp_path / "c.qpy"), "--no-gradients"]) == 0


@pytest.mark.parametrize(
    ("angle_of", "values", "message"),
    [
        (lambda a, b: a.log(), [-0.3, 0.1], r"log\(a\) is none at a = -0.3\.$"),
        (lambda a, b: 1 / (a - b), [0.2, 0.2], r"1/\(a - b\) is none at [ab] = 0.2, [ab] = 0.2\.$"),
        (lambda a, b: a.exp() * b, [1000.0, 0.1], r".*exp\(a\).* is none at "),
        (lambda a, b: a.arcsin(), [2.0, 0.0], r"asin\(a\) is none at a = 2\.$"),
        (lambda a, b: a**0.5, [-1.0, 0.0], r"a\*\*0.5 is none at a = -1\.$"),
    ],
)
def test_values_at_which_an_angle_is_none(angle_of, values, message):
    a, b = Parameter("a"), Parameter("b")
    inner = QuantumCircuit(1)
    inner.rx(angle_of(a, b), 0)
    circuit = QuantumCircuit(3)
    circuit.h(0)
    circuit.append(inner.to_instruction(), [1])
    circuit.ry(b, 2)
    with pytest.raises(ValueError, match=f"^Angles must be finite real numbers, but {message}"):
        aer.states(circuit, [{a: 0.4, b: 0.3}, dict(zip((a, b), values, strict=True))])


def test_crosschecks_refuse_values_at_which_an_angle_is_none():
    circuit = QuantumCircuit(1)
    circuit.rx(Parameter("a").log(), 0)
    with pytest.raises(ValueError, match=r"^Angles must be finite real numbers, but log\(a\) is none at a = -0.3\.$"):
        crosscheck(circuit, params=[-0.3])
