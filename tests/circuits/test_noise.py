"""Channels as operations of circuits, noise models, and what is said of wrong ones."""

import copy
import json
import re

import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.circuits.channels import CHANNELS, channel_spec, kraus_matrices, superoperator
from qjaxsim.circuits.noise import NoiseModel
from qjaxsim.circuits.noise_files import read_noise
from tests.noisy_circuits import random_kraus


def test_channels_are_data_like_gates():
    p = qj.Parameter("p", (2,))
    circuit = qj.Circuit(3).h(0).bit_flip(p[0], [0, 2]).depolarizing2(0.5 * p[1], 0, 1).kraus([np.eye(2)], 1)
    assert circuit.parameters == {"p": (2,)}
    assert circuit.count_ops() == {"bit_flip": 2, "h": 1, "depolarizing2": 1, "kraus": 1}
    assert circuit == circuit.copy()
    assert circuit.structure_hash() != qj.Circuit(3).h(0).structure_hash()
    moved = qj.Circuit(4).compose(circuit, (3, 1, 0))
    assert moved == qj.Circuit(4).h(3).bit_flip(p[0], [3, 0]).depolarizing2(0.5 * p[1], 3, 1).kraus([np.eye(2)], 1)
    assert "DEPOLARIZING2:1(0.5*p[1])" in str(circuit)


def test_kraus_matrices_of_a_superoperator():
    rng = np.random.default_rng(0)
    for width in (1, 2):
        matrix = superoperator(random_kraus(rng, width))
        found = kraus_matrices(matrix)
        np.testing.assert_allclose(superoperator(found), matrix, atol=1e-13)
        np.testing.assert_allclose(np.einsum("mba,mbc->ac", found.conj(), found), np.eye(2**width), atol=1e-13)


def test_kraus_matrices_of_the_table_keep_the_trace():
    rng = np.random.default_rng(0)
    for name in [*CHANNELS, "pauli[XX,ZI]"]:
        spec = channel_spec(name)
        values = rng.uniform(0, 0.2, len(spec.strengths)) if name != "thermal_relaxation" else [50.0, 70.0, 3.0, 0.1]
        kraus = spec.kraus(np, *map(np.float64, values))
        total = np.einsum("mba,mbc->ac", kraus.conj(), kraus)
        np.testing.assert_allclose(total, np.eye(2**spec.n_qubits), atol=1e-14, err_msg=name)
    for name, at in {"reset_error": (0, 1), "generalized_amplitude_damping": (1, 1)}.items():
        kraus = channel_spec(name).kraus(np, *map(np.float64, at))
        raised = np.einsum("mab,mcb->mac", kraus, kraus).sum(axis=0)  # of the identity: |0> goes up, |1> stays
        np.testing.assert_allclose(raised, np.diag([0, 2]), atol=1e-14, err_msg=name)


def names(circuit):
    return [(op.key[1] if op.key[0] in ("gate", "channel") else op.key[0], op.qubits) for op in circuit.operations]


def test_rules_apply_in_their_order_where_they_match():
    one, two = qj.Circuit(1).bit_flip(0.1, 0), qj.Circuit(2).depolarizing2(0.1, 1, 0)
    model = (
        NoiseModel().after("cx", two, on=[(0, 1), (2, 1)]).after("cx", one, except_on=[(0, 1)]).after(None, one, on=2)
    )
    circuit = qj.Circuit(3).x(2).cx(0, 1).cx(2, 1).x(0)
    assert names(model.apply(circuit)) == [
        ("x", (2,)), ("bit_flip", (2,)),
        ("cx", (0, 1)), ("depolarizing2", (1, 0)),
        ("cx", (2, 1)), ("depolarizing2", (1, 2)), ("bit_flip", (2,)), ("bit_flip", (1,)),
        ("x", (0,)),
    ]  # fmt: skip


def test_a_copy_of_a_model_grows_by_itself():
    model = NoiseModel()
    copy.copy(model).after("h", qj.Circuit(1).bit_flip(0.1, 0)).relaxation(1.0, 1.0).readout_error(0.1, 0.1)
    circuit = qj.Circuit(1).h(0).delay(1.0, 0)
    assert model.apply(circuit) == circuit


def test_layers_stay_layers_and_share_the_strengths():
    w, p = qj.Parameter("w", (2,)), qj.Parameter("p")
    layer = qj.Circuit(2).ry(w[0], 0).ry(w[1], 1).cx(0, 1)
    noisy = NoiseModel().after("cx", qj.Circuit(1).bit_flip(p, 0)).apply(qj.Circuit(2).repeat(layer, 3))
    assert noisy.parameters == {"w": (3, 2), "p": ()}
    assert len(noisy) == 1


def test_noise_of_other_qubits():
    model = NoiseModel().after("x", qj.Circuit(1).bit_flip(0.1, 0), on=[4, 7]).readout_error(0.1, 0, 7)
    model.after("x", qj.Circuit(1).phase_flip(0.1, 0), except_on=[5])
    narrow = model.on((7, 5))
    assert names(narrow.apply(qj.Circuit(2).x(0).x(1))) == [
        ("x", (0,)), ("bit_flip", (0,)), ("phase_flip", (0,)), ("x", (1,)), ("readout_error", (0,)),
    ]  # fmt: skip


def test_matrices_are_known_by_their_labels():
    model = NoiseModel().after("mine", qj.Circuit(1).bit_flip(0.1, 0))
    assert names(model.apply(qj.Circuit(1).unitary(np.eye(2), 0, "mine").x(0))) == [
        ("unitary", (0,)), ("bit_flip", (0,)), ("x", (0,)),
    ]  # fmt: skip
    free = qj.Circuit(1).unitary(qj.Parameter("m", (2, 2, 2)), 0, "mine").unitary(qj.Parameter("m", (2, 2, 2)), 0)
    assert names(model.apply(free)) == [("matrix1", (0,)), ("bit_flip", (0,)), ("matrix1", (0,))]


def test_inverses_keep_the_labels_that_noise_goes_by():
    s, t, m = qj.Parameter("s"), qj.Parameter("t"), qj.Parameter("m", (2, 2, 2))
    layer = qj.Circuit(3).append("rzz", (1, 2), (t,), "mine").append("cx", (2, 0), label="mine")
    circuit = qj.Circuit(3).append("s", 0, label="mine").append("rx", 1, (s,), "mine").x(2).repeat(layer, 2)
    model = NoiseModel().after("mine", qj.Circuit(1).bit_flip(0.1, 0))
    back = qj.Circuit(3).compose(circuit.inverse(), (2, 0, 1)).copy()
    found, *rest = model.apply(back).operations
    flips = [[("bit_flip", (q,)) for q in pair] for pair in ((1, 2), (0, 1))]
    assert names(found.circuit) == [("cx", (1, 2)), *flips[0], ("rzz", (0, 1)), *flips[1]]
    assert [(op.name, op.qubits) for op in rest] == [
        ("x", (1,)), ("rx", (0,)), ("bit_flip", (0,)), ("sdg", (2,)), ("bit_flip", (2,)),
    ]  # fmt: skip
    # Of matrices, constant or free, the inverse is another one.
    for matrix in (qj.Circuit(1).unitary(np.diag([1, 1j]), 0, "mine"), qj.Circuit(1).unitary(m, 0, "mine")):
        once = NoiseModel().after("mine_dg", qj.Circuit(1).bit_flip(0.1, 0)).apply(matrix.inverse())
        twice = model.apply(matrix.inverse().inverse())
        assert [len(each) for each in (model.apply(matrix.inverse()), once, twice)] == [1, 2, 2]
    iswap = qj.Circuit(2).append("iswap", (0, 1), label="mine").inverse().operations[0]
    assert iswap.label == "mine_dg"


@pytest.mark.parametrize("qubits", [(0, 2), [0, 2], range(0, 3, 2), np.array([2, 0]), {0, 2}])
def test_qubits_that_relax_and_are_misread_come_in_any_collection(qubits):
    waiting = qj.Circuit(3).delay(1.0, [0, 1, 2])
    relaxed = NoiseModel().relaxation(1.0, 1.0, qubits).apply(waiting)
    assert [where for name, where in names(relaxed) if name == "thermal_relaxation"] == [(0,), (2,)]
    assert names(NoiseModel().readout_error(0.1, 0.2, qubits).apply(C(3))) == [("readout_error", (q,)) for q in (0, 2)]
    assert names(NoiseModel().readout_error(0.1, 0.2, except_at=qubits).apply(C(3))) == [("readout_error", (1,))]


@pytest.mark.parametrize(("t1", "t2", "kept"), [(np.inf, 3.0, np.exp(-0.5 / 3)), (np.inf, np.inf, 1.0)])
def test_times_of_relaxation_may_be_infinite_in_channels_as_in_delays(t1, t2, kept):
    state = np.array([0.6, 0.8j])
    wanted = np.outer(state, state.conj()) * [[1, kept], [kept, 1]]
    begun = qj.Circuit(1).initialize(state, 0)
    channel = begun.copy().thermal_relaxation(t1, t2, 0.5, 0.1, 0)
    delay = NoiseModel().relaxation(t1, t2, excited=0.1).apply(begun.copy().delay(0.5, 0))
    assert channel.operations[-1] == delay.operations[-1]
    np.testing.assert_allclose(qj.density_matrix(channel)(), wanted, rtol=0, atol=1e-6)


C = qj.Circuit  # noqa: E501
WRONG = {  # noqa: E501
    "probability": (lambda: C(1).bit_flip(1.5, 0), ValueError, "the probabilities of its Pauli strings would be -0.5, 1.5"),  # noqa: E501
    "damping": (lambda: C(1).amplitude_damping(-0.1, 0), ValueError, "gamma is -0.1, but must lie between 0 and 1"),  # noqa: E501
    "t2": (lambda: C(1).thermal_relaxation(10, 30, 1, 0, 0), ValueError, "t2 is 30, but at most twice t1, 20, is possible"),  # noqa: E501
    "time": (lambda: C(1).thermal_relaxation(0, 3, 1, 0, 0), ValueError, "t1, t2, time are 0, 3, 1, but must be positive"),  # noqa: E501
    "endless": (lambda: C(1).thermal_relaxation(1, 1, np.inf, 0, 0), ValueError, "A strength of channel 'thermal_relaxation' must be finite, but is inf"),  # noqa: E501
    "t2 alone": (lambda: C(1).thermal_relaxation(1, np.inf, 1, 0, 0), ValueError, "at most twice t1, 2, is possible"),  # noqa: E501
    "word": (lambda: C(1).bit_flip("p", 0), TypeError, "A strength of channel 'bit_flip' must be a real number or an expression"),  # noqa: E501
    "array": (lambda: C(1).bit_flip(qj.Parameter("p", (2,)), 0), ValueError, "but a strength of channel 'bit_flip' is one number"),  # noqa: E501
    "sum": (lambda: C(1).reset_error(0.6, 0.6, 0), ValueError, "to_zero and to_one sum to 1.2, but must not exceed 1"),  # noqa: E501
    "count": (lambda: C(2).depolarizing2(0.1, 0), TypeError, "Channel 'depolarizing2' takes 1 strengths (probability) and"),  # noqa: E501
    "width": (lambda: C(2).append("bit_flip", (0, 1), (0.1,)), ValueError, "Channel 'bit_flip' acts on 1 qubits, but got 2"),  # noqa: E501
    "name": (lambda: C(2).append("bitflip", 0, (0.1,)), ValueError, "Unknown gate 'bitflip'; known gates: c3sx, ccx"),  # noqa: E501
    "shape": (lambda: C(2).kraus(np.eye(2), 0), ValueError, "must have shape (m, 2, 2) for qubits (0,), but has (2, 2)"),  # noqa: E501
    "trace": (lambda: C(2).kraus([0.9 * np.eye(2)], 0), ValueError, "must keep the trace (the sum of K+ K the identity)"),  # noqa: E501
    "labels": (lambda: C(2).pauli_channel({"XQ": 0.1}, (0, 1)), ValueError, "strings of 2 letters I, X, Y, Z as keys"),  # noqa: E501
    "mapping": (lambda: C(2).pauli_channel([0.1], 0), TypeError, "must be a dictionary by Pauli string, but is [0.1]"),  # noqa: E501
    "readout": (lambda: C(1).readout_error(1.5, 0, 0), ValueError, "`one_for_zero` must be a probability from 0 to 1, but is 1.5"),  # noqa: E501
    "rule": (lambda: NoiseModel().after("cz", "x"), TypeError, "Argument `noise` must be a Circuit, but is 'x' (str)"),  # noqa: E501
    "gates": (lambda: NoiseModel().after("bit_flip", C(1)), ValueError, "must hold names of gates, but has 'bit_flip'"),  # noqa: E501
    "near": (lambda: NoiseModel().after("rxxx", C(1)), ValueError, "has the name 'rxxx', which is no gate's"),  # noqa: E501
    "other name": (lambda: NoiseModel().after("cnot", C(2)), ValueError, "has the name 'cnot', which is no gate's (did you mean 'cx'?)"),  # noqa: E501
    "no pair": (lambda: NoiseModel().after("cx", C(2), on=[0, 1]), ValueError, "acts on ('cx' on 2), but holds (0,); a tuple is one gate's"),  # noqa: E501
    "no single": (lambda: NoiseModel().after(["h", "reset"], C(1), except_on=(0, 1)), ValueError, "`except_on` must hold the qubits that a gate acts on ('h' on 1, 'reset' on 1), but holds (0, 1)"),  # noqa: E501
    "misread": (lambda: NoiseModel().readout_error(0.1, 0.1, "01"), TypeError, "Argument `qubits` must hold qubits, integers from 0 on, but holds '0'"),  # noqa: E501
    "places": (lambda: NoiseModel().after("x", C(1), on=["a"]), TypeError, "must hold qubits or tuples of qubits"),  # noqa: E501
    "one place": (lambda: NoiseModel().after("x", C(1), on=1.5), TypeError, "must be a qubit, a tuple of qubits or a list"),  # noqa: E501
    "wide": (lambda: NoiseModel().after("x", C(2)).apply(C(2).x(0)), ValueError, "acts on 2 qubits, but the gate on 1: (0,)"),  # noqa: E501
    "backwards": (lambda: C(1).kraus([np.eye(2)], 0).inverse(), ValueError, "A channel has no inverse ('kraus' on qubits (0,))"),  # noqa: E501
    "read back": (lambda: C(1).readout_error(0, 0, 0).inverse(), ValueError, "A readout error has no inverse (qubit 0)"),  # noqa: E501
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_in_one_sentence(case):
    function, kind, message = WRONG[case]
    with pytest.raises(kind, match=re.escape(message)) as caught:
        function()
    assert "\n" not in str(caught.value)


def test_models_in_files(tmp_path):
    file = tmp_path / "noise.json"
    file.write_text(
        json.dumps(
            {
                "after": [
                    {"gates": ["cx"], "channel": "depolarizing2", "strengths": [0.02], "on": [[0, 1], [2, 1]]},
                    {"gates": "h", "channel": "amplitude_damping", "strengths": [0.05], "except_on": [1]},
                ],
                "relaxation": [{"t1": 1e-4, "t2": 2e-4, "qubits": [2], "excited": 0.1, "dt": 1e-9}],
                "readout": [{"one_for_zero": 0.01, "zero_for_one": 0.03}],
            }
        )
    )
    circuit = qj.Circuit(3).h([0, 1]).cx(0, 1).cx(1, 2).delay_dt(5, 2).delay(1e-6, 0)
    assert names(read_noise(file).apply(circuit)) == [
        ("h", (0,)), ("amplitude_damping", (0,)), ("h", (1,)), ("cx", (0, 1)), ("depolarizing2", (0, 1)),
        ("cx", (1, 2)), ("delay_dt", (2,)), ("thermal_relaxation", (2,)), ("delay", (0,)),
        *(("readout_error", (q,)) for q in range(3)),
    ]  # fmt: skip


RULE = {"gates": "x", "channel": "bit_flip", "strengths": [0.1]}
WRONG_DATA = {
    "object": ([], "A noise model must be an object with the keys ['after', 'readout', 'relaxation'], but is []"),
    "Aer's": ({"errors": []}, "noise.json holds a noise model of Aer's; give that in Python, `qjaxsim_qiskit.cross"),
    "keys": ({"rules": []}, "A noise model has the keys ['rules'], but knows ['after', 'readout', 'relaxation']"),
    "list": ({"after": {}}, "Key 'after' of a noise model must be a list, but is {}"),
    "missing": ({"after": [{"gates": "x"}]}, "Entry 0 of 'after' lacks ['channel', 'strengths']"),
    "channel": ({"after": [RULE, {**RULE, "channel": "bitflip"}]}, "Argument `channel` must be one of"),
    "strength": ({"after": [{**RULE, "strengths": [2]}]}, "Channel 'bit_flip' cannot have such strengths"),
    "relaxation": ({"relaxation": [{"t1": 1.0}]}, "Entry 0 of 'relaxation' lacks ['t2']"),
    "times": ({"relaxation": [{"t1": 1.0, "t2": 3.0}]}, "t2 is 3, but at most twice t1, 2, is possible"),
    "readout": ({"readout": [{"one_for_zero": 0.1}]}, "Entry 0 of 'readout' lacks ['zero_for_one']"),
}


@pytest.mark.parametrize("case", WRONG_DATA)
def test_what_is_wrong_in_a_file_is_said(case, tmp_path):
    data, message = WRONG_DATA[case]
    file = tmp_path / "noise.json"
    file.write_text(json.dumps(data))
    with pytest.raises(ValueError, match=rf"^Argument `noise` must name a file .*{re.escape(message)}"):
        read_noise(file)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ValueError, match="^Argument `noise` must name .*missing.json cannot be read as one: No such"):
        read_noise(tmp_path / "missing.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ValueError, match="^Argument `noise` must name .*broken.json cannot be read as one: Expecting"):
        read_noise(tmp_path / "broken.json")
    rule = '{"gates": "x", "channel": "bit_flip", "strengths": [0.1]}'
    for name, text in (
        ("after", f'{{"after": [{rule}], "after": []}}'),
        ("strengths", f'{{"after": [{rule.replace("}", ", ")}"strengths": [0.2]}}]}}'),
    ):
        (tmp_path / "twice.json").write_text(text)
        with pytest.raises(ValueError, match=f"twice.json cannot be read as one: it has '{name}' twice"):
            read_noise(tmp_path / "twice.json")
