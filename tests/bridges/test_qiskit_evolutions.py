"""Evolutions, whose meaning Qiskit leaves open: by their synthesis or exact, at every width and for free times."""

import os

import numpy as np
import pytest

if "CI" not in os.environ:
    pytest.importorskip("qiskit", reason="needs the qiskit extra")
    pytest.importorskip("qiskit_aer", reason="needs the qiskit extra")
    pytest.importorskip("qiskit_ibm_runtime", reason="needs the ibm extra")
from qiskit import QuantumCircuit, qpy  # noqa: E402
from qiskit.circuit import (  # noqa: E402
    AnnotatedOperation,
    ControlModifier,
    InverseModifier,
    Parameter,
    PowerModifier,
)
from qiskit.circuit.library import HamiltonianGate, PauliEvolutionGate  # noqa: E402
from qiskit.quantum_info import Operator, SparsePauliOp, Statevector  # noqa: E402
from qiskit.synthesis import LieTrotter, MatrixExponential, QDrift, SuzukiTrotter  # noqa: E402
from qjaxsim_qiskit import crosscheck, from_qiskit  # noqa: E402
from qjaxsim_qiskit.crosschecking.noisy import noise_of  # noqa: E402
from qjaxsim_qiskit.ibm.work import exact_values, prepare  # noqa: E402
from qjaxsim_qiskit.ordering import reverse_state  # noqa: E402
from scipy.linalg import expm  # noqa: E402

import qjaxsim as qj  # noqa: E402
from qjaxsim.command import main as cli
from tests.cases import mostly_slow
from tests.qiskit_cases import state  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*CSC")  # Qiskit's own matrix exponential


def chain(n: int) -> SparsePauliOp:
    """XX on neighbours and Z on all: terms that do not commute."""
    terms = [("XX", [q, q + 1], 0.7) for q in range(n - 1)] + [("Z", [q], 0.4 + 0.1 * q) for q in range(n)]
    return SparsePauliOp.from_sparse_list(terms, n)


def evolution(n: int, time, synthesis=None) -> QuantumCircuit:
    out = QuantumCircuit(n)
    out.ry(0.3, 0)
    out.append(PauliEvolutionGate(chain(n), time, synthesis=synthesis), range(n))
    return out


def exact_state(n: int, time: float) -> np.ndarray:
    first = QuantumCircuit(n)
    first.ry(0.3, 0)
    return expm(-1j * time * chain(n).to_matrix()) @ Statevector(first).data


@pytest.mark.parametrize(
    ("n", "synthesis"),
    mostly_slow(
        [(2, None), (3, LieTrotter(2)), (3, MatrixExponential()), (7, SuzukiTrotter(2, 3)), (6, None), (7, None)],
        keep=4,
    ),
)
def test_evolutions_mean_their_synthesis_or_the_exponential_at_every_width(n, synthesis):
    t = Parameter("t")
    bound, free = evolution(n, 1.5, synthesis), evolution(n, t, synthesis)
    # Taken apart by Qiskit: what simulators and devices run.
    wanted = Statevector(bound.decompose(reps=4)).data
    for circuit, values in ((bound, ()), (free, (1.5,))):
        np.testing.assert_allclose(state(from_qiskit(circuit), values), wanted, atol=1e-10)
        imported = from_qiskit(circuit, evolution="exact")
        np.testing.assert_allclose(state(imported, values), exact_state(n, 1.5), atol=1e-10)
        assert imported.notes == ("1 evolution: exact",)
    if not isinstance(synthesis, MatrixExponential):
        assert np.abs(wanted - exact_state(n, 1.5)).max() > 1e-4  # the two differ


@pytest.mark.parametrize("meaning", ["synthesis", "exact"])
@pytest.mark.parametrize("time", mostly_slow([1.5, Parameter("t")], keep=[1]))
def test_both_sides_of_a_crosscheck_and_of_a_run_have_the_same_evolution(meaning, time, tmp_path, capsys):
    circuit = evolution(3, time)
    found = crosscheck(circuit, [1.5] if isinstance(time, Parameter) else None, evolution=meaning)
    assert found.agrees, found.rows()
    assert found.checks[0].detail.startswith("1 evolution: ")
    work = prepare(circuit, [1.5] if isinstance(time, Parameter) else None, chain(3), meaning)
    there = Statevector(work.circuit.assign_parameters({p: float(v[0]) for p, v in work.values.items()}))
    exact = exact_state(3, 1.5) if meaning == "exact" else Statevector(evolution(3, 1.5).decompose(reps=4)).data
    np.testing.assert_allclose(there.data, exact, atol=1e-10)
    np.testing.assert_allclose(
        exact_values(work, "expectation")[0], np.vdot(exact, chain(3).to_matrix() @ exact).real, atol=1e-10
    )
    with (tmp_path / "c.qpy").open("wb") as file:
        qpy.dump(circuit, file)
    assert cli.main(["crosscheck", str(tmp_path / "c.qpy"), "--evolution", meaning, "--no-gradients"]) == 0
    assert "- 1 evolution: " in capsys.readouterr().out


def test_exact_evolutions_of_commuting_terms_have_any_width():
    n, t = 12, Parameter("t")
    operator = SparsePauliOp.from_sparse_list([("ZZ", [q, q + 1], 0.3 + q) for q in range(n - 1)], n)
    circuit = QuantumCircuit(n)
    circuit.h(range(n))
    circuit.append(PauliEvolutionGate(operator, t), range(n))
    wanted = np.exp(-0.7j * operator.to_matrix(sparse=True).diagonal()) / 2 ** (n / 2)
    imported = from_qiskit(circuit, evolution="exact")
    found = qj.statevector(imported.circuit)(imported.params([0.7]))
    np.testing.assert_allclose(reverse_state(found, n), wanted, atol=1e-10)


def test_evolutions_inside_gates_under_modifiers_and_with_projectors():
    t = Parameter("t")
    inner = QuantumCircuit(2, global_phase=0.2)
    inner.append(PauliEvolutionGate(chain(2), t), [1, 0])
    base = PauliEvolutionGate(chain(2), 0.8)
    annotated = AnnotatedOperation(base, [ControlModifier(1, 0), PowerModifier(2), InverseModifier()])
    circuit = QuantumCircuit(4)
    circuit.h(range(4))
    circuit.append(inner.to_gate(), [3, 1])
    circuit.append(annotated, [2, 0, 3])
    circuit.append(base.control(1, ctrl_state=0), [1, 3, 0])
    formula = Operator(QuantumCircuit(2).compose(base.definition)).data
    power = np.linalg.inv(formula @ formula)
    by_hand = QuantumCircuit(4)
    by_hand.h(range(4))
    by_hand.compose(inner.assign_parameters([0.8]).decompose(reps=3), [3, 1], inplace=True)
    controlled = np.kron(power, np.diag([1, 0])) + np.kron(np.eye(4), np.diag([0, 1]))
    by_hand.unitary(controlled, [2, 0, 3])
    by_hand.compose(base.control(1, ctrl_state=0).definition, [1, 3, 0], inplace=True)
    np.testing.assert_allclose(state(from_qiskit(circuit), [0.8]), Statevector(by_hand).data, atol=1e-10)
    assert crosscheck(circuit, [0.8], gradients=False).agrees
    exact = from_qiskit(circuit, evolution="exact")
    np.testing.assert_allclose(state(exact, [0.8]), Statevector(circuit.assign_parameters([0.8])).data, atol=1e-10)


def test_hamiltonian_gates_with_a_free_time():
    t = Parameter("t")
    circuit = QuantumCircuit(3)
    circuit.h(1)
    circuit.append(HamiltonianGate(chain(3).to_matrix(), 2 * t + 0.1), [2, 0, 1])
    bound = QuantumCircuit(3)
    bound.h(1)
    bound.append(HamiltonianGate(chain(3).to_matrix(), 0.9), [2, 0, 1])
    for meaning in ("synthesis", "exact"):
        imported = from_qiskit(circuit, evolution=meaning)
        np.testing.assert_allclose(state(imported, [0.4]), Statevector(bound).data, atol=1e-10)
    assert crosscheck(circuit).agrees


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (lambda: evolution(2, 1.0), {"evolution": "Trotter"}, "must be one of 'synthesis', 'exact', but is 'Tr"),
        (lambda: evolution(11, 1.0), {"evolution": "exact"}, r"1 \(PauliEvolution\) evolves 11 qubits by terms"),
        (lambda: evolution(2, Parameter("t"), QDrift()), {}, r"cannot be taken apart: bind its parameters first \(t\)"),
    ],
)  # fmt: skip
def test_evolutions_that_are_refused(build, options, message):
    with pytest.raises(ValueError, match=message):
        from_qiskit(build(), **options)


def test_a_random_synthesis_is_drawn_once_for_both_sides():
    circuit = evolution(3, 0.7, QDrift(reps=2))
    assert crosscheck(circuit, gradients=False).agrees


def in_a_branch(append):
    """Half the time two qubits of three are acted on, after a measurement of the other."""
    circuit = QuantumCircuit(3, 1)
    circuit.h(0)
    circuit.measure(0, 0)
    block = QuantumCircuit(2)
    append(block)
    circuit.if_test((circuit.clbits[0], 1), block, [2, 1], [])
    return circuit


def evolved(block):
    block.append(PauliEvolutionGate(MIXED, T), [0, 1])


def boxed(block):
    with block.box():
        block.ry(T, 0)
    block.cx(0, 1)


T = Parameter("t")
MIXED = SparsePauliOp(["XZ", "ZI", "IX"], [1.5, 1.0, 0.8])  # one step of a product formula is far off


EXACT = expm(-1.2j * MIXED.to_matrix())[:, 0]


def one_step():
    state = np.eye(4)[0]
    for pauli, weight in MIXED.to_list():
        state = expm(-1.2j * weight * SparsePauliOp(pauli).to_matrix()) @ state
    return state


@pytest.mark.parametrize(
    ("append", "evolution", "want", "notes"),
    [
        (evolved, "exact", EXACT, ("1 evolution: exact",)),
        (evolved, "synthesis", one_step(), ("1 evolution: by the gates' own synthesis",)),
        (lambda block: block.append(HamiltonianGate(MIXED.to_matrix(), T), [0, 1]), "synthesis", EXACT, ()),
        (boxed, "synthesis", [np.cos(0.6), 0, 0, np.sin(0.6)], ()),
    ],
)
def test_branches_are_written_out_as_their_circuit_is(append, evolution, want, notes):
    found = from_qiskit(in_a_branch(append), evolution=evolution)
    (block,) = found.source.data[-1].operation.blocks
    assert not {"PauliEvolution", "hamiltonian", "box"} & set(block.count_ops())
    np.testing.assert_allclose(Statevector(block.assign_parameters([1.2])), want, atol=1e-12)
    assert found.notes == notes
    probabilities = np.asarray(qj.probabilities(found.circuit, [0, 2, 1])(found.params([1.2])))
    np.testing.assert_allclose(probabilities[:4], [0.5, 0, 0, 0], atol=1e-12)
    # The block's first qubit, our qubit 2, is the least significant bit in Qiskit.
    np.testing.assert_allclose(probabilities[4:], np.abs(np.take(want, [0, 2, 1, 3])) ** 2 / 2, atol=1e-12)


def test_an_exact_evolution_in_a_branch_runs_in_aer():
    assert crosscheck(in_a_branch(evolved), [1.2], evolution="exact", shots=2000).agrees


def test_an_exact_evolution_for_a_free_time_is_without_rotations_by_nothing():
    """Qiskit's sum of two of them is a number below 0 that has no hash, so that Aer's sampler fails."""
    circuit = QuantumCircuit(2)
    evolved(circuit)
    found = from_qiskit(circuit, evolution="exact")
    angles = [each.params[0] for each in found.source.data if each.name == "rz"]
    slopes = np.abs([float(angle.gradient(T)) for angle in angles])
    assert len(slopes) and slopes.min() > 1e-6
    np.testing.assert_allclose(Statevector(found.source.assign_parameters([1.2])), EXACT, atol=1e-12)


@pytest.mark.parametrize(("evolution", "want"), [("exact", EXACT), ("synthesis", one_step())])
def test_under_the_noise_of_a_backend_evolutions_are_what_is_asked_for(evolution, want):
    circuit = QuantumCircuit(2)
    evolved(circuit)
    placed = noise_of("fake_manila", circuit, 0, evolution).circuit.assign_parameters([1.2])
    # The transpiler chooses the order of the qubits.
    np.testing.assert_allclose(np.sort(np.abs(Statevector(placed))), np.sort(np.abs(want)), atol=1e-9)


def test_boxes_meet_the_noise_of_a_backend():
    circuit = QuantumCircuit(3)
    circuit.h(2)
    boxed(circuit)
    assert crosscheck(circuit, [1.2], noise="fake_manila").agrees
