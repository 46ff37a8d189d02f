"""Circuits in files: OpenQASM 2 and 3, QPY; what they keep, what they lose, what is no such file."""

import itertools
import os
import struct
import warnings

import numpy as np
import pytest

if "CI" not in os.environ:
    pytest.importorskip("qiskit", reason="needs the qiskit extra")
from qiskit import QuantumCircuit, qasm2, qpy  # noqa: E402
from qiskit.circuit import Duration, Parameter, ParameterVector  # noqa: E402
from qiskit.circuit.classical import expr  # noqa: E402
from qiskit.circuit.library import ModularAdderGate  # noqa: E402
from qiskit.quantum_info import Operator  # noqa: E402
from qjaxsim_qiskit import from_qasm, from_qpy, to_qasm, to_qpy  # noqa: E402
from qjaxsim_qiskit.programs.text import WORDS  # noqa: E402

import qjaxsim as qj  # noqa: E402
from qjaxsim.circuits import reference  # noqa: E402
from tests.qiskit_cases import circuit_of_everything, params_of, reversed_matrix  # noqa: E402


def test_qpy_keeps_everything(tmp_path):
    circuit = circuit_of_everything()
    path = to_qpy(circuit, tmp_path / "c.qpy")
    back = from_qpy(path)
    assert back.circuit.parameters == circuit.parameters
    params = params_of(circuit)
    np.testing.assert_allclose(reference.unitary(back.circuit, params), reference.unitary(circuit, params), atol=1e-12)
    with pytest.raises(ValueError, match="must be below the file's 1 circuits, but is 1"):
        from_qpy(path, 1)
    for content in (b"", b"no circuit at all", b"QISKIT\x0e" + bytes(40), path.read_bytes()[:-20]):
        broken = tmp_path / "broken.qpy"
        broken.write_bytes(content)
        with pytest.raises(ValueError, match="must name a QPY file, but .*broken.qpy' cannot be read: ") as caught:
            from_qpy(broken)
        assert "\x1b" not in str(caught.value) and "\n" not in str(caught.value)


def test_qpy_keeps_delays_in_seconds(tmp_path):
    branch = qj.Circuit(2).delay(3e-7, 1)
    circuit = qj.Circuit(2).delay(1e-7, 0).delay_dt(160, 1).measure(0, 0).if_bits(0, 1, branch).ry(qj.Parameter("a"), 1)
    assert from_qpy(to_qpy(circuit, tmp_path / "c.qpy")).circuit == circuit
    with pytest.raises(ValueError, match="does not keep that a delay is in seconds .*, but one is 2[*]t; give it a"):
        to_qpy(qj.Circuit(1).delay(2 * qj.Parameter("t"), 0), tmp_path / "c.qpy")


def test_units_of_delays_that_qiskit_writes_to_qpy(tmp_path):
    def read(duration, unit=None):
        circuit = QuantumCircuit(1)
        circuit.h(0)
        circuit.delay(duration, 0, *[] if unit is None else [unit])
        with (tmp_path / "d.qpy").open("wb") as file:
            qpy.dump(circuit, file)
        return from_qpy(tmp_path / "d.qpy").circuit.operations[1]

    assert read(expr.lift(Duration.ms(4))) == qj.Circuit(1).delay(4e-3, 0).operations[0]
    assert read(expr.lift(Duration.dt(25))) == read(25, "dt") == qj.Circuit(1).delay_dt(25, 0).operations[0]
    assert read(Parameter("t")).name == "delay_dt"
    with pytest.raises(ValueError, match=r"operation 1 \(delay\) has the duration 2.5 in a unit that its QPY file"):
        read(2.5, "us")


def test_of_several_circuits_one_is_named(tmp_path):
    one, two = QuantumCircuit(1), QuantumCircuit(2)
    with (tmp_path / "two.qpy").open("wb") as file:
        qpy.dump([one, two], file)
    assert [from_qpy(tmp_path / "two.qpy", k).circuit.n_qubits for k in (0, 1)] == [1, 2]
    with pytest.raises(ValueError, match="two.qpy' holds 2 circuits; say which"):
        from_qpy(tmp_path / "two.qpy")
    for wrong in (2, True, 1.0):
        with pytest.raises(ValueError, match=f"`index` must be below the file's 2 circuits, but is {wrong}"):
            from_qpy(tmp_path / "two.qpy", wrong)


def test_qpy_files_of_many_qubits(tmp_path):
    circuit = qj.Circuit(21).h(20).cx(20, 3)
    assert from_qpy(to_qpy(circuit, tmp_path / "c.qpy")).circuit == circuit


def test_qpy_files_that_could_do_harm(tmp_path):
    circuit = QuantumCircuit(3)
    circuit.rx(ParameterVector("v", 3)[1], 0)
    with (tmp_path / "plain.qpy").open("wb") as file:
        qpy.dump([QuantumCircuit(2), circuit], file, version=16)
    content = (tmp_path / "plain.qpy").read_bytes()
    second = struct.unpack_from("!2Q", content, 20)[1]
    for offset, kind in ((5, "qubits"), (9, "classical bits")):
        wide = bytearray(content)
        struct.pack_into("!I", wide, second + offset, 2**32 - 1)
        (tmp_path / "wide.qpy").write_bytes(wide)
        with pytest.raises(ValueError, match=f"at most 1000000 {kind}, but this one declares 4294967295"):
            from_qpy(tmp_path / "wide.qpy")
    old = bytearray(content)
    old[6], old[18:19] = 12, b"e"
    (tmp_path / "old.qpy").write_bytes(old)
    with pytest.raises(ValueError, match="are in symengine's form, which may run code; write it again by Qiskit 1.3"):
        from_qpy(tmp_path / "old.qpy")


@pytest.mark.parametrize("version", range(qpy.common.QPY_COMPATIBILITY_VERSION, qpy.common.QPY_VERSION + 1))
def test_older_qpy_files(version, tmp_path):
    v = ParameterVector("v", 3)
    circuit = QuantumCircuit(3)
    circuit.rx(v[0] * v[2], 0)
    circuit.ry(v[1], 2)
    with (tmp_path / "c.qpy").open("wb") as file:
        qpy.dump(circuit, file, version=version)
    imported = from_qpy(tmp_path / "c.qpy")
    v = qj.Parameter("v", (3,))
    by_hand = qj.Circuit(3).rx(v[0] * v[2], 0).ry(v[1], 2)
    params = {"v": np.array([0.3, 1.2, 0.8])}
    np.testing.assert_allclose(reference.unitary(imported.circuit, params), reference.unitary(by_hand, params))


def test_openqasm_3_keeps_phase_and_parameters():
    circuit = circuit_of_everything()
    params = params_of(circuit)
    back = from_qasm(to_qasm(circuit, params=params))
    np.testing.assert_allclose(reference.unitary(back.circuit), reference.unitary(circuit, params), atol=1e-12)
    x, t = qj.Parameter("x", (2, 6)), qj.Parameter("theta")
    free = qj.Circuit(3).rx(x[1, 4] + 2 * t, 0).cx(0, 2).p(x[0, 3], 2).rz(-t / 0.7, 1).global_phase(t - 0.2)
    text = to_qasm(free)
    assert "input float[64] x_10;" in text and "gphase(" in text
    own = {"x_10": 0.7, "x_3": 0.2, "theta": 0.4}
    wanted = reference.unitary(free, {"x": np.r_[0, 0, 0, 0.2, np.zeros(6), 0.7, 0].reshape(2, 6), "theta": 0.4})
    again = from_qasm(text)
    np.testing.assert_allclose(reference.unitary(again.circuit, again.params(own)), wanted, atol=1e-12)


def test_angles_close_to_fractions_of_pi_are_not_rounded_to_them():
    angle, slope = np.pi / 4 * (1 + 3e-10), np.pi / 7 * (1 + 1e-10)
    t = qj.Parameter("theta")
    again = from_qasm(to_qasm(qj.Circuit(3).rx(angle, 1).ry(slope * t, 2)))
    assert [gate.angles for gate in again.circuit.operations] == [(angle,), (slope * t,)]


def test_several_parameters_may_stand_in_a_global_phase():
    a, b, v = qj.Parameter("a"), qj.Parameter("b"), qj.Parameter("v", (2,))
    circuit = qj.Circuit(3).global_phase(a - 2 * b + v[0] - v[1]).h(range(3)).rzz(a * b, 0, 2)
    again = from_qasm(to_qasm(circuit)).circuit
    values = {"a": 0.7, "b": -1.1, "v_0": 0.4, "v_1": 0.9}
    signs = np.array([1 - 2 * ((k >> 2) ^ (k & 1)) for k in range(8)])
    wanted = np.exp(1j * (0.7 + 2.2 + 0.4 - 0.9) + 0.5j * 0.7 * 1.1 * signs) / 8**0.5
    found = reference.statevector(again, {name: np.array(value) for name, value in values.items()})
    np.testing.assert_allclose(found, wanted, atol=1e-12)


@pytest.mark.parametrize("name", sorted(WORDS))
def test_words_of_openqasm_3_are_no_names_of_parameters(name):
    own = qj.Parameter(name)
    again = from_qasm(to_qasm(qj.Circuit(2).rx(own, 0).global_phase(own / 2)))
    assert again.circuit.parameters == {f"{name}_0": ()}
    assert len(again.circuit) == 2


def test_words_are_all_that_the_writer_would_rename():
    # The phase, which is written by hand, names parameters as the writer does; hence its private lists.
    from qiskit.qasm3 import exporter

    assert exporter._RESERVED_KEYWORDS | exporter._BUILTIN_CONSTANTS <= WORDS


def test_openqasm_2_is_read_by_the_strictest_reader_and_says_what_it_loses():
    circuit = circuit_of_everything()
    params = params_of(circuit)
    with pytest.warns(UserWarning, match="OpenQASM 2 loses the circuit's global phase"):
        text = to_qasm(circuit, version=2, params=params)
    ours = reference.unitary(circuit, params)
    assert Operator(qasm2.loads(text)).equiv(Operator(reversed_matrix(ours)))
    back = reference.unitary(from_qasm(text).circuit)
    overlap = np.trace(back.conj().T @ ours) / len(ours)
    assert abs(overlap) == pytest.approx(1, abs=1e-10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        to_qasm(qj.Circuit(3).h(0).cx(0, 1).rx(0.2, 2).rz(0.3, 1).sx(0).iswap(1, 2).global_phase(-np.pi / 4), version=2)


@pytest.mark.parametrize("version", [2, 3])
def test_programs_are_without_delays(version):
    wait = qj.Parameter("wait")
    circuit = qj.Circuit(2).x(0).delay(1e-6, 0).delay_dt(100, 1).delay(wait, 1)
    text = to_qasm(circuit, version=version, params={"wait": 1.0})
    assert "delay" not in text and "x q[0];" in text


def test_wrong_exports():
    x = qj.Parameter("x", (2,))
    free = qj.Circuit(3).rx(x[0], 0)
    with pytest.raises(ValueError, match="OpenQASM 2 has no parameters, but the circuit has x; give `params`"):
        to_qasm(free, version=2)
    with pytest.raises(ValueError, match="OpenQASM 2 cannot say what the circuit does: .*; use version 3"):
        to_qasm(qj.Circuit(2).measure(0, 0).if_bits(0, 1, qj.Circuit(2).x(1)), version=2)
    with pytest.raises(ValueError, match="Argument `version` must be 2 or 3, but is 1"):
        to_qasm(free, version=1)
    with pytest.raises(ValueError, match=r"'x(_0|\[0\])' and 'x(_0|\[0\])' both become 'x_0'; rename one"):
        to_qasm(free.copy().ry(qj.Parameter("x_0"), 1))
    with pytest.raises(
        ValueError, match="'my angle' must have a name of letters, digits and underscores for OpenQASM 3"
    ):
        to_qasm(qj.Circuit(3).ry(qj.Parameter("my angle"), 1))
    for version in (2, 3):
        with pytest.raises(ValueError, match="OpenQASM has no channels, but the circuit has some; use QPY"):
            to_qasm(qj.Circuit(1).bit_flip(0.1, 0), version=version)
    with pytest.raises(ValueError, match="Parameter 'x' must be finite"):
        to_qasm(free, params={"x": [np.nan, 0]})
    with pytest.raises(
        ValueError, match=r"without batch axes, but 'x' has some of shape \(3,\); write one file for each"
    ):
        to_qasm(free, params={"x": np.zeros((3, 2))})
    layer = qj.Circuit(3).cx(0, 1).ry(2 * x[1].sin(), 0)
    with pytest.raises(
        ValueError, match=r"understand \+, -, \* and / .* gate 'ry' has the angle 2\*sin\(x\[1\]\); give"
    ):
        to_qasm(qj.Circuit(3).repeat(layer, 2))
    assert "ry" in to_qasm(qj.Circuit(3).repeat(layer, 2), params={"x": np.ones((2, 2))})


USER_GATES = """OPENQASM 2.0;
include "qelib1.inc";
// a gate of its own under a standard name
gate rzz(theta) a,b { u1(theta) a; u1(theta) b; cu1(-2*theta) a,b; }
gate mine(alpha,beta) a,b,c { rx(alpha/2) c; barrier a,b; rzz(alpha*beta) a,b; ccx a,c,b; h a; }
qreg q[2];
qreg r[2];
creg c[2];
h q;
mine(0.3,sin(0.5)+1) q[1],r[0],q[0];
cx q[0],r[1];
iswap q[0],r[0];
ecr r[0],r[1];
sx q[1];
crx(pi/7) r[1],q[1];
ryy(-0.4) q[0],q[1];
measure q -> c;
"""


def test_openqasm_2_with_gates_of_its_own():
    imported = from_qasm(USER_GATES)
    assert [(m.qubit, m.register, m.index) for m in imported.measurements] == [(0, "c", 0), (1, "c", 1)]
    by_hand = qj.Circuit(4).h([0, 1])
    alpha, beta = 0.3, np.sin(0.5) + 1
    theta = alpha * beta
    # q[1], r[0], q[0] are the qubits 1, 2, 0; this rzz is diag(1, e, e, 1), not Qiskit's.
    by_hand.rx(alpha / 2, 0).p(theta, 1).p(theta, 2).cp(-2 * theta, 1, 2).ccx(1, 0, 2).h(1)
    by_hand.cx(0, 3).iswap(0, 2).ecr(2, 3).sx(1).crx(np.pi / 7, 3, 1).ryy(-0.4, 0, 1)
    ours, wanted = reference.unitary(imported.circuit), reference.unitary(by_hand)
    np.testing.assert_allclose(ours, wanted, atol=1e-12)


def test_openqasm_2_with_delays():
    inner, circuit = QuantumCircuit(1, name="own"), QuantumCircuit(2)
    inner.ry(0.4, 0)
    circuit.delay(87, 1)
    circuit.append(inner.to_gate(), [1])
    theirs, opaque = qasm2.dumps(circuit), "opaque delay(param0) q0;"
    assert opaque in theirs
    for declared, first in (
        (opaque, qj.Circuit(2).delay_dt(87, 1)),
        ("", qj.Circuit(2).delay_dt(87, 1)),
        ("gate delay(t) a { rx(t / 87) a; }", qj.Circuit(2).rx(1.0, 1)),
    ):
        found = from_qasm(theirs.replace(opaque, declared)).circuit
        assert ("delay_dt" in str(found.operations[0])) == ("delay_dt" in str(first.operations[0]))
        np.testing.assert_allclose(reference.unitary(found), reference.unitary(first.ry(0.4, 1)), atol=1e-9)


def test_openqasm_3_with_gates_of_its_own(tmp_path):
    path = tmp_path / "own.qasm"
    path.write_text(
        'OPENQASM 3.0;\ninclude "stdgates.inc";\ninput float[64] theta;\n'
        "gate mine(x) a, b { ry(x) a; ctrl @ p(x / 2) a, b; gphase(x); }\n"
        "qubit[3] q;\nh q[0];\nmine(theta) q[2], q[0];\nnegctrl @ x q[0], q[1];\ninv @ mine(2 * theta) q[1], q[2];\n"
    )
    imported = from_qasm(path)
    t = qj.Parameter("theta")
    by_hand = qj.Circuit(3).h(0).ry(t, 2).cp(t / 2, 2, 0).global_phase(t).x(0).cx(0, 1).x(0)
    by_hand.global_phase(-2 * t).cp(-t, 1, 2).ry(-2 * t, 1)
    for value in (0.4, -1.1):
        found = reference.unitary(imported.circuit, imported.params([value]))
        np.testing.assert_allclose(found, reference.unitary(by_hand, {"theta": value}), atol=1e-12)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("OPENQASM two;\nqreg q[2];", ValueError, "must begin with OPENQASM 2.0; or OPENQASM 3.0;"),
        ("no program;\n", ValueError, "cannot be read: line 1: "),
        ("OPENQASM 4.0;\nqubit q;", ValueError, "must begin with OPENQASM"),
        ('OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\nfoo q[0];\n', ValueError, "read: line 4: 'foo' is not"),
        ("OPENQASM 3.0;\nqubit[2] q;\nfoo q[0];\n", ValueError, "cannot be read: line 3: .*foo"),
        ("OPENQASM 3.0;\nqubit[2] q;\nrx(0.3 q[0];\n", ValueError, "read: line 3: it does not parse at 'q'"),
        ("OPENQASM 2.0;\nqreg q[20000000];\n", MemoryError, r"A state of 20000000 qubits has 2\*\*20000000 amplitudes"),
        ("OPENQASM 3.0;\nqubit[50] a;\nqubit [12] b; qubit c;\n", MemoryError, "A state of 63 qubits"),
        ("OPENQASM 2.0;\n/* qreg q[99]; */ qreg q[1]; // qreg r[9];\nqreg r[40];\n", MemoryError, "state of 41 qubits"),
        ("OPENQASM 3.0;\nqubit[0x1312D00] q;\n", MemoryError, "A state of 20000000 qubits"),
        ("OPENQASM 3.0;\nqubit[20_000_000] q;\n", MemoryError, "A state of 20000000 qubits"),
        ("OPENQASM 3.0;\nU(0, 0, 0) $19999999;\n", MemoryError, "A state of 20000000 qubits"),
        ("OPENQASM 3.0;\nqubit[n] q;\n", ValueError, "must be integers, but one is 'n'"),
        ("OPENQASM 3.0;\nqubit q;\nbit[20000000] c;\n", ValueError, "1000000 classical bits, but this one decl"),
        ("OPENQASM 2.0;\nqreg q[2];\ncreg c[20000000];\n", ValueError, "at most 1000000 classical bits"),
        ("OPENQASM 3.0;\nqubit[2] q;\nfor int i in [0:2] { U(0, 0, 0) q[i]; }\n", ValueError, "beyond its register"),
        ("OPENQASM 3.0;\nqubit[2] q;\nfor int i in [0:999999] { U(0, 0, 0) q[0]; }\n", ValueError, "line 3: its range"),
        ("OPENQASM 3.0;\nqubit q;\ndef f(qubit a) { f(a); }\nf(q);\n", ValueError, "line 3: 'f' calls itself too"),
        ("OPENQASM 3.0;\nqubit q;\ndef f(qubit a) { }\nf(q, q);\n", ValueError, "line 4: 'f' takes 1 arguments"),
        ("OPENQASM 3.0;\nqubit q;\nf(q);\nfor int i in {0} { }\n", ValueError, "line 3: 'f' is not defined"),
        ("OPENQASM 3.0;\nqubit q;\ndef f(qubit a) -> int { return 1; }\nf(q);\n", ValueError, "return something"),
        ("OPENQASM 3.0;\nqubit q;\nbit b;\nb = measure q;\nfor int i in [0:b] { }\n", ValueError, "must be constants"),
        ("OPENQASM 3.0;\ninput float a;\nqubit q;\nU(sin(a), 0, 0) q;\n", ValueError, "line 4: 'sin' is read"),
        ("OPENQASM 3.0;\nqubit q;\nU(log(-1), 0, 0) q;\n", ValueError, "line 3: 'log' is read of constants"),
        ("OPENQASM 3.0;\ninput float a;\nqubit q;\ndef f(int k) { }\nf(a);\n", ValueError, "line 5: argument 'k' has"),
        # Where loops are written out the reader's lines are not the program's.
        ("OPENQASM 3.0;\nqubit q;\nfor int i in [0:2] { U(0,0,0) q; }\nfoo q;\n", ValueError, "read: gate 'foo' is"),
        ('OPENQASM 2.0;\n/* two\nlines */ include "no.inc";\nqreg q[2];\n', ValueError, "line 3: unable to find"),
        ("OPENQASM 3.0;\nqubit q;\nbit b;\nwhile (b) { b = measure q; }\n", ValueError, r"\(while_loop\) is"),
        ("OPENQASM 2.0;\nopaque magic a,b;\nqreg q[2];\nmagic q[0],q[1];\n", ValueError, "neither a matrix nor a def"),
    ],
)  # fmt: skip
def test_programs_that_cannot_be_read(text, error, message, capfd):
    with pytest.raises(error, match=message) as caught:
        from_qasm(text)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_included_files_are_found_beside_the_program_and_define_their_gates(tmp_path):
    (tmp_path / "phases.inc").write_text("gate rzz(t) a,b { u1(t) a; u1(t) b; cu1(-2*t) a,b; }\n// a comment\n")
    (tmp_path / "own.inc").write_text('include "phases.inc";\ngate mine(t) a,b { rzz(t/2) b,a; ry(t) a; }\n')
    (tmp_path / "loop.inc").write_text('include "loop.inc";\n')
    program = 'OPENQASM 2.0;\ninclude "qelib1.inc";\ninclude "own.inc";\nqreg q[3];\nh q;\nmine(0.4) q[2],q[0];\n'
    (tmp_path / "main.qasm").write_text(program, encoding="utf-8-sig")
    by_hand = qj.Circuit(3).h([0, 1, 2]).p(0.2, 0).p(0.2, 2).cp(-0.4, 0, 2).ry(0.4, 2)
    for path in (tmp_path / "main.qasm", str(tmp_path / "main.qasm")):
        np.testing.assert_allclose(
            reference.unitary(from_qasm(path).circuit), reference.unitary(by_hand), rtol=0, atol=1e-12
        )
    (tmp_path / "main.qasm").write_text(program + "mine(0.4) q[2];\n")
    with pytest.raises(ValueError, match=r"^OpenQASM file '.*main.qasm' cannot be read: line 7: "):
        from_qasm(tmp_path / "main.qasm")
    (tmp_path / "main.qasm").write_text(program.replace("own", "loop"))
    with pytest.raises(ValueError, match="unable to find 'loop.inc'"):
        from_qasm(tmp_path / "main.qasm")


def test_hardware_qubits_and_bits_without_registers():
    imported = from_qasm('OPENQASM 3.0;\ninclude "stdgates.inc";\nbit c;\nh $0;\ncx $0, $2;\nc = measure $2;\n')
    assert imported.circuit == qj.Circuit(3).h(0).cx(0, 2)
    assert [(m.qubit, m.clbit, m.register, m.index) for m in imported.measurements] == [(2, 0, None, None)]


def test_missing_files(tmp_path):
    (tmp_path / "bytes.qasm").write_bytes(b"OPENQASM 2.0;\n\xff\xfe")
    with pytest.raises(ValueError, match="must be text in UTF-8, but file '.*bytes.qasm' is not; save it"):
        from_qasm(tmp_path / "bytes.qasm")
    with pytest.raises(FileNotFoundError, match="Argument `source` must name a file, but '.*none.qasm' is none.$"):
        from_qasm(tmp_path / "none.qasm")
    with pytest.raises(FileNotFoundError, match="`source` .*, but 'h q' is none; a program has a semicolon after"):
        from_qasm("h q")
    with pytest.raises(FileNotFoundError, match="Argument `path` must name a file, but '.*none.qpy' is none.$"):
        from_qpy(tmp_path / "none.qpy")
    for read, name in ((from_qasm, "source"), (from_qpy, "path")):
        with pytest.raises(IsADirectoryError, match=f"Argument `{name}` must name a file, but '.*' is a folder"):
            read(tmp_path)
    with (tmp_path / "two.qpy").open("wb") as file:
        qpy.dump([QuantumCircuit(1), QuantumCircuit(3)], file)
    assert from_qpy(tmp_path / "two.qpy", 1).circuit.n_qubits == 3


GHZ = "qreg q[3];\nh q[0];\ncx q[0],q[1];\ncx q[1],q[2];\n"


@pytest.mark.parametrize(
    "text",
    [
        'include "qelib1.inc";\n' + GHZ,
        '\ufeffOPENQASM 2.0;\ninclude "qelib1.inc";\n' + GHZ,
        '// by an editor\n/* of\nold */\nOPENQASM 2.0;\ninclude "qelib1.inc";\n' + GHZ,
        ('OPENQASM 2.0;\ninclude "qelib1.inc";\n' + GHZ).replace("\n", "\r\n"),
        ('// old\nOPENQASM 2.0;\ninclude "qelib1.inc";\n' + GHZ).replace("\n", "\r"),
        'OPENQASM 2.0;include "qelib1.inc";;;' + GHZ.replace("\n", " "),
        'OPENQASM 3;\ninclude "stdgates.inc";\n' + GHZ,
        'OPENQASM 3.1;\ninclude "stdgates.inc";\nqubit[3] q;\nh q[0];\nctrl @ x q[0], q[1];\ncx q[1], q[2];\n',
        'include "stdgates.inc";\nqubit[3] q;\nh q[0];\ncx q[0], q[1];\ncx q[1], q[2];\n',
        'include "stdgates.inc";\nqubit[3] q;\nbox { h q[0]; cx q[0], q[1]; }\ncx q[1], q[2];\n',
    ],
)
def test_dialects_that_qiskits_readers_take(text, tmp_path):
    wanted = qj.Circuit(3).h(0).cx(0, 1).cx(1, 2)
    (tmp_path / "c.qasm").write_bytes(text.encode())
    assert from_qasm(tmp_path / "c.qasm").circuit == wanted
    assert from_qasm(text).circuit == wanted


def test_gates_that_qiskit_writes_without_what_they_are_made_of_name_the_way(tmp_path):
    circuit, path = QuantumCircuit(4), tmp_path / "adder.qpy"
    circuit.append(ModularAdderGate(2), range(4))
    with path.open("wb") as file:
        qpy.dump(circuit, file)
    with pytest.raises(ValueError, match=r"cannot be read, by Qiskit neither: .* as `circuit.decompose\(\)`"):
        from_qpy(path)
    with path.open("wb") as file:
        qpy.dump(circuit.decompose(), file)
    adder = reference.unitary(from_qpy(path).circuit).real.reshape((2,) * 8)  # bits out, then in; the low one first
    for first, second in itertools.product(range(4), repeat=2):
        total = (first + second) % 4
        bits = [number >> place & 1 for number in (first, total, first, second) for place in (0, 1)]
        assert adder[tuple(bits)] == pytest.approx(1)
