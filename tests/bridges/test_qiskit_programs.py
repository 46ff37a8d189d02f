"""OpenQASM 3 programs whose constants, loops and subroutines are written out, against circuits by hand."""

import os

import numpy as np
import pytest

if "CI" not in os.environ:
    pytest.importorskip("qiskit", reason="needs the qiskit extra")
from qjaxsim_qiskit import from_qasm  # noqa: E402

import qjaxsim as qj  # noqa: E402
from qjaxsim.circuits import reference  # noqa: E402

ANGLES = [
    ("const float a = 3; qubit q; rz(a / 2) q;", [1.5]),
    ("const int k = 7; const float[64] a = k; const float b = a / 2; qubit q; rz(b) q; rz(k / 2) q;", [3.5, 3]),
    ("const angle a = -3; qubit q; rz(-a / 2) q; rz(1 - a) q;", [1.5, 4]),
    ("def f(qubit b, float t, int k) { rz(t / 2) b; rz(3 * (k / 2)) b; } qubit q; f(q, 3, 3.0);", [1.5, 3]),
    ("qubit q; for float t in {0.1, 3} { rz(t / 2) q; }", [0.05, 1.5]),
    ("qubit q; rz(float(3) / 2) q; rz(2 ** 3 * 0.1) q; rz(7 % 4 * 0.1) q;", [1.5, 0.8, 0.3]),
    ("qubit q; rz(sin(0.3) * sqrt(2)) q; rz(floor(3.7) / 2) q;", [np.sin(0.3) * np.sqrt(2), 1.5]),
    ("input float w; const float c = 2; qubit q; rz(c / 5 * w) q; rz(w * exp(0.5)) q;", [0.28, 0.7 * np.exp(0.5)]),
]


@pytest.mark.parametrize(("program", "angles"), ANGLES)
def test_constants_of_openqasm_3_are_of_their_type(program, angles):
    imported = from_qasm(f'OPENQASM 3.0; include "stdgates.inc"; {program}')
    circuit = qj.Circuit(1)
    for angle in angles:
        circuit.rz(angle, 0)
    params = {"w": 0.7} if imported.circuit.parameters else {}
    wanted = reference.unitary(circuit)
    np.testing.assert_allclose(reference.unitary(imported.circuit, params), wanted, atol=1e-12)


UNROLLED = """OPENQASM 3.0;
include "stdgates.inc";
const uint n = 2 * 3 - 1;
const float[64] step = pi / 8;
input float[64] theta;
qubit[n] q;
bit[n] c;
def layer(qubit[2] pair, qubit one, float[64] x) {
  ry(x / 2) pair[1];
  cx pair[0], one;
  for int k in [0:1] { rz(k * step) pair[k]; }
  h pair;
}
def all(qubit[n] qs) { layer(qs[1:2], qs[0], theta); layer(qs[{4, 2}], qs[3], 2 * step); }
for uint i in [0:n - 2] { cx q[i], q[i + 1]; }
for int i in [4:-2:0] { if (i == 2) { continue; } rx(i * step) q[i]; }
for int i in {3, 1} { x q[i]; if (i < 2) { break; } y q[i]; }
if (n > 4 && !(n == 7)) { s q[0]; } else { t q[0]; }
all(q);
gate own(n) a { rx(n) a; }
own(0.4) q[n - 1];
c[n - 1] = measure q[0];
"""


def test_constants_loops_and_subroutines_of_openqasm_3():
    imported = from_qasm(UNROLLED)
    theta, step = qj.Parameter("theta"), np.pi / 8
    by_hand = qj.Circuit(5).cx(0, 1).cx(1, 2).cx(2, 3).cx(3, 4).rx(4 * step, 4).x(3).y(3).x(1).s(0)
    by_hand.ry(theta / 2, 2).cx(1, 0).rz(step, 2).h([1, 2])
    by_hand.ry(step, 2).cx(4, 3).rz(step, 2).h([4, 2]).rx(0.4, 4)
    params = {"theta": 0.7}
    wanted = reference.unitary(by_hand, params)
    np.testing.assert_allclose(reference.unitary(imported.circuit, params), wanted, atol=1e-12)
    assert [(m.qubit, m.index) for m in imported.measurements] == [(0, 4)]


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        ("c[1] == 1", 1),
        ("0 == c[1]", 0),
        ("d == 1", 1),
        ("d != 1", 0),
        ("c[1] != 2 - 2", 1),
        ("false == d", 0),
        ("d", 1),
    ],
)
def test_single_bits_are_compared_with_numbers(condition, wanted):
    program = "qubit[2] q; bit[2] c; bit d; ry(0.7) q[0]; c[1] = measure q[0]; d = measure q[0];"
    found = from_qasm(f'OPENQASM 3.0; include "stdgates.inc"; {program} if ({condition}) {{ x q[1]; }}').circuit
    one = np.sin(0.35) ** 2
    expected = [1 - one, 0, 0, one] if wanted else [0, 1 - one, one, 0]
    np.testing.assert_allclose(qj.probabilities(found)(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("program", "places"),
    [
        ("h q[-2:-1];", [2, 3]),
        ("h q[2:-1:0]; x q[3:-2:1];", [2, 1, 0, 3, 1]),
        ("h q[1:-1]; x q[-1:-2:0];", [1, 2, 3, 3, 1]),
        ("const int n = 3; h q[n:-1:n - 1];", [3, 2]),
        ("let b = q[3:-1:1]; h b[0]; x b[-2:-1];", [3, 2, 1]),
        ("let b = q[0:1] ++ q[3]; h b[2];", [3]),
        ("let b = q[0] ++ q[2:3]; let d = b[1:-1]; h d; x b[-3:-2];", [2, 3, 0, 2]),
        ("def f(qubit[3] a) { h a[1:-1]; x a[:-3]; y a[-1:-2:0]; } f(q[1:]);", [2, 3, 1, 3, 1]),
        ("def f(qubit[4] a) { h a[1:-1]; } f(q);", [1, 2, 3]),
    ],
)
def test_places_counted_from_the_end_or_downwards(program, places):
    """The language's ranges have both ends; Qiskit's reader finds nothing in these."""
    found = from_qasm(f'OPENQASM 3.0; include "stdgates.inc"; qubit[4] q; {program}').circuit
    assert [qubit for gate in found.operations for qubit in gate.qubits] == places


def test_registers_downwards_meet_each_other_and_bits():
    program = "qubit[4] q; bit[4] c; x q[1]; cx q[1:-1:0], q[-2:-1]; c[3:-1:2] = measure q[2:3];"
    found = from_qasm(f'OPENQASM 3.0; include "stdgates.inc"; {program}')
    assert found.circuit == qj.Circuit(4).x(1).cx(1, 2).cx(0, 3)
    assert [(m.qubit, m.index) for m in found.measurements] == [(3, 2), (2, 3)]


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("for int i in [0:2] {\nx q[1];\nif (c[0]) { break; } }", "line 3: a loop, or a turn of it, ends depending on"),
        (
            "for int i in [0:2] {\nif (c[0]) { x q[1]; } else { continue; } }",
            "which cannot be followed; write the turn",
        ),
        ("qubit r; let b = q ++ r; h b;", r"`\+\+` joins registers and places of them; declare single ones as `qubit"),
        ("input float w; x q[0:-w:2];", "places of a register must be constants"),
    ],
)
def test_what_is_not_decided_before_the_run_is_named(program, message):
    """A loop that measured bits end is no shorter loop."""
    start = "qubit[4] q; bit[2] c; h q[0]; c[0] = measure q[0];"
    with pytest.raises(ValueError, match=message):
        from_qasm(f'OPENQASM 3.0; include "stdgates.inc"; {start} {program}')


def test_a_loop_of_a_measured_branch_may_end():
    program = "for int i in [0:2] { if (c) { for int j in [1:3] { x q[j]; if (j == 2) { break; } } } }"
    start = "qubit[4] q; bit c; ry(0.7) q[0]; c = measure q[0];"
    found = from_qasm(f'OPENQASM 3.0; include "stdgates.inc"; {start} {program}').circuit
    one = np.sin(0.35) ** 2
    expected = np.zeros(8)
    expected[[0, 6]] = 1 - one, one
    np.testing.assert_allclose(qj.probabilities(found, [1, 2, 3])(), expected, atol=1e-6)
