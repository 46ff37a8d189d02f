"""Random circuits of Qiskit, random operators and spoilt programs: right, or refused in one sentence."""

import contextlib
import io
import os
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

if "CI" not in os.environ:
    pytest.importorskip("qiskit", reason="needs the qiskit extra")
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister, qpy  # noqa: E402
from qiskit.circuit import (  # noqa: E402
    AnnotatedOperation,
    ControlModifier,
    Gate,
    InverseModifier,
    Parameter,
    ParameterVector,
    PowerModifier,
)
from qiskit.circuit import library as lib  # noqa: E402
from qiskit.circuit.random import random_circuit  # noqa: E402
from qiskit.quantum_info import SparsePauliOp, Statevector, random_clifford, random_unitary  # noqa: E402
from qjaxsim_qiskit import (  # noqa: E402
    assignment,
    from_qasm,
    from_qiskit,
    from_qpy,
    from_sparse_pauli_op,
    to_qasm,
    to_qiskit,
    to_qpy,
    to_sparse_pauli_op,
)
from qjaxsim_qiskit.ordering import reverse_state  # noqa: E402

from qjaxsim.circuits import reference  # noqa: E402
from qjaxsim.command import main as cli

seeds = st.integers(0, 2**32 - 1)
X, S = ParameterVector("x", 11), Parameter("s")
STANDARD = [g for n, g in lib.get_standard_gate_name_mapping().items() if n not in ("delay", "measure", "reset")]


class Programs:
    """Random circuits from a seed."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)

    def angle(self):
        p, q = (self.pick([*X, S]) for _ in range(2))
        r = float(self.rng.uniform(-3, 3))
        return self.pick([r, r, p, p * r + 0.3, p - q, p * q / 2, p.sin() + q, (p * p + 1).log(), abs(p - 0.5), -p / 3])

    def pick(self, choices):
        return choices[int(self.rng.integers(len(choices)))]

    def seed(self) -> int:
        return int(self.rng.integers(2**31))

    def pattern(self, n: int) -> int:
        return int(self.rng.integers(2**n))

    def standard(self):
        gate = self.pick(STANDARD)
        return gate.base_class(*(self.angle() for _ in gate.params))

    def bound(self):
        gate = self.pick(STANDARD)
        return gate.base_class(*self.rng.uniform(-3, 3, len(gate.params)).tolist())

    def small(self):
        return self.pick([lib.RXGate, lib.RYGate, lib.RZGate, lib.PhaseGate])(self.angle())

    def library(self):
        r = self.rng
        return self.pick([
            lambda: lib.UnitaryGate(random_unitary(2 ** int(r.integers(1, 4)), seed=self.seed())),
            lambda: lib.PermutationGate(r.permutation(3).tolist()),
            lambda: lib.QFTGate(int(r.integers(2, 4))),
            lambda: lib.DiagonalGate(np.exp(1j * r.uniform(-3, 3, 8)).tolist()),
            lambda: lib.MCPhaseGate(self.angle(), 2, ctrl_state=self.pattern(2)),
            lambda: lib.C3XGate(ctrl_state=self.pattern(3)),
            lambda: lib.MCXGate(2, ctrl_state=self.pattern(2)),
            lambda: lib.PauliGate("".join(r.choice(list("IXYZ"), 3))),
            lambda: lib.UCRYGate(r.uniform(-3, 3, 4).tolist()),
            lambda: lib.MCMTGate(lib.ZGate(), 2, 1),
            lambda: lib.LinearFunction([[1, 1], [0, 1]]),
            lambda: random_clifford(2, seed=self.seed()),
            lambda: lib.StatePreparation(random_unitary(4, seed=self.seed()).data[0]),
            lambda: lib.HamiltonianGate(self.sum(2).to_matrix(), self.angle()),
            lambda: lib.GlobalPhaseGate(self.angle()),
            lambda: lib.RVGate(*r.uniform(-2, 2, 3).tolist()),
        ])()  # fmt: skip

    def sum(self, n: int) -> SparsePauliOp:
        labels = ["".join(self.rng.choice(list("IXYZ"), n)) for _ in range(int(self.rng.integers(1, 5)))]
        return SparsePauliOp(labels, self.rng.normal(size=len(labels)))

    def modified(self):
        # Qiskit does not know the parameters of such operations as its circuit's own.
        base = self.bound()
        while base.num_qubits not in (1, 2):
            base = self.bound()
        kinds = [
            InverseModifier(),
            PowerModifier(int(self.rng.integers(-2, 4))),
            ControlModifier(1, ctrl_state=self.pattern(1)),
        ]
        return AnnotatedOperation(base, [kinds[i] for i in self.rng.permutation(3)[: 1 + self.pattern(1)]])

    def controlled(self):
        if self.pattern(1):
            return lib.CXGate().control(1, ctrl_state=self.pattern(1), annotated=True)
        base = self.pick([lib.RXGate(self.angle()), lib.UGate(*(self.angle() for _ in range(3))), lib.SXGate()])
        return base.control(2, ctrl_state=self.pattern(2), annotated=False)

    def circuit(self, n: int, depth: int = 0) -> QuantumCircuit:
        out = QuantumCircuit(n, global_phase=float(self.rng.uniform(-3, 3)))
        for _ in range(int(self.rng.integers(2, 7))):
            kind = self.pick(
                ["standard", "standard", "library", "modified", "controlled", "nested", "repeat", "barrier"]
            )
            if kind == "barrier" and not depth:
                out.barrier()
            elif kind == "nested" and depth < 2:
                inner = self.circuit(int(self.rng.integers(1, n + 1)), depth + 1)
                renamed = {p: p / 2 + 0.1 for p in inner.parameters} if self.pattern(1) else None
                gate = inner.to_gate(renamed)
                # What is repeated is no gate to Qiskit, and cannot be part of one.
                self.place(out, gate if depth else gate.repeat(int(self.rng.integers(1, 4))))
            elif kind == "repeat" and not depth:
                self.place(out, self.small().repeat(int(self.rng.integers(1, 4))))
            elif kind in ("standard", "library", "modified", "controlled"):
                operation = getattr(self, kind)()
                if isinstance(operation, Gate) or not depth:  # gates hold gates alone
                    self.place(out, operation)
        if not depth and self.pattern(1):
            out.global_phase += self.angle()
        return out

    def place(self, out: QuantumCircuit, operation) -> None:
        if operation.num_qubits <= out.num_qubits:
            out.append(operation, self.rng.permutation(out.num_qubits)[: operation.num_qubits].tolist())


def assert_state(imported, params, wanted, phase: bool = True) -> None:
    found = reverse_state(reference.statevector(imported.circuit, params), imported.circuit.n_qubits)
    if phase:
        np.testing.assert_allclose(found, wanted, atol=1e-8)
    else:
        assert abs(np.vdot(found, wanted)) == pytest.approx(1, abs=1e-8)


@given(seed=seeds)
def test_random_programs(seed, tmp_path_factory):
    programs = Programs(seed)
    circuit = programs.circuit(int(programs.rng.integers(1, 5)))
    values = programs.rng.uniform(0.2, 1.3, circuit.num_parameters)
    wanted = Statevector(circuit.assign_parameters(values)).data
    imported = from_qiskit(circuit)
    params = imported.params(values)
    assert_state(imported, params, wanted)
    folder = tmp_path_factory.mktemp("files")
    back = to_qiskit(imported.circuit)
    again = from_qiskit(back)
    kept = {name: params[name] for name in again.circuit.parameters}
    assert_state(again, kept, wanted)
    np.testing.assert_allclose(Statevector(back.assign_parameters(assignment(back, kept))).data, wanted, atol=1e-8)
    assert_state(from_qpy(to_qpy(imported.circuit, folder / "c.qpy")), kept, wanted)
    assert_state(from_qasm(to_qasm(imported.circuit, params=kept)), {}, wanted)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="OpenQASM 2 loses")
        assert_state(from_qasm(to_qasm(imported.circuit, version=2, params=kept)), {}, wanted, phase=False)
    with (folder / "theirs.qpy").open("wb") as file:
        qpy.dump(circuit, file)
    theirs = from_qpy(folder / "theirs.qpy")
    assert_state(theirs, theirs.params(dict(zip((p.name for p in circuit.parameters), values, strict=True))), wanted)


@given(seed=seeds)
def test_random_circuits_of_qiskit_with_registers_and_measurements(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 6))
    plain = random_circuit(n, int(rng.integers(1, 6)), max_operands=4, seed=seed % 2**31)
    cut = int(rng.integers(1, n))
    circuit = QuantumCircuit(QuantumRegister(cut, "a"), QuantumRegister(n - cut, "b"), ClassicalRegister(n, "c"))
    circuit.compose(plain, range(n), inplace=True)
    order = rng.permutation(n).tolist()
    for bit, qubit in enumerate(order[: int(rng.integers(0, n + 1))]):
        circuit.barrier()
        circuit.measure(qubit, bit)
    imported = from_qiskit(circuit)
    assert_state(imported, {}, Statevector(plain).data)
    measured = circuit.count_ops().get("measure", 0)
    assert [(m.qubit, m.clbit) for m in imported.measurements] == list(zip(order, range(measured), strict=False))


@given(seed=seeds, n=st.integers(1, 4))
def test_random_sums(seed, n):
    programs = Programs(seed)
    operator = programs.sum(n) + programs.sum(n)
    ours = from_sparse_pauli_op(operator)
    np.testing.assert_allclose(to_sparse_pauli_op(ours, n).to_matrix(), operator.to_matrix(), atol=1e-12)


TEXTS = (
    'OPENQASM 2.0;\ninclude "qelib1.inc";\n// note\ngate g(a, b) x, y { u3(a/2, -b, pi*a) x; cx x, y; barrier x; }\n'
    "qreg q[3];\nqreg r[2];\ncreg c[3];\nh q;\ng(0.3, sin(0.2)^2) q[0], r[1];\nif (c == 1) x q[2];\nmeasure q -> c;\n",
    'OPENQASM 3.0;\ninclude "stdgates.inc";\nconst uint n = 3;\ninput float[64] t;\nqubit[n] q;\nbit[n] c;\n'
    "def f(qubit[2] p, float x) { rx(x / 2) p[0]; cx p[0], p[1]; }\nfor uint i in [0:n - 2] { f(q[i:i + 1], 2 * t); }\n"
    "ctrl @ inv @ p(t) q[0], q[2];\nif (n > 2) { h q[0]; } else { x q; }\nbox { gphase(t); }\nc = measure q;\n",
)
WORDS = "; { } [ ] ( ) 0 -1 1e999 q[9] i for def const gate é /* // OPENQASM include pi ** % qubit if break end"
INSERTED = [*WORDS.split(), "\x00", '"', "\r", "9" * 30, "\ufeff"]


@st.composite
def spoilt(draw) -> str:
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 4))):
        place, length = draw(st.integers(0, len(text))), draw(st.integers(0, 12))
        text = text[:place] + draw(st.sampled_from(["", *INSERTED])) + text[place + length :]
    return text


@given(text=spoilt())
def test_spoilt_programs_are_read_or_refused_in_one_sentence(text, tmp_path_factory):
    path = tmp_path_factory.mktemp("spoilt") / "c.qasm"
    path.write_bytes(text.encode())
    try:
        from_qasm(path)
    except (ValueError, MemoryError) as error:
        message = str(error)
        assert message and "\n" not in message and len(message) < 600
        shown = io.StringIO()
        with contextlib.redirect_stderr(shown):
            assert cli.main(["crosscheck", str(path)]) == 2
        assert shown.getvalue() == f"error: {message}\n"
