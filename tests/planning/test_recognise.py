"""Which layers of flat circuits become loops, and that these give the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.planning.plan import make_plan
from qjaxsim.planning.steps import Loop, flat_steps
from tests.cases import mostly_slow, program, written_out


def loops(circuit, batch=1, data=(), **options):
    """Number of turns of each loop of a plan."""
    steps = flat_steps(make_plan(circuit, data, batch, qj.PlanOptions(**options)).steps)
    return [step.repeat.times for step in steps if isinstance(step, Loop)]


def flat(n_qubits, depth, data=False, noisy=False):
    """RY, RZ on every qubit and a ring of CNOTs, after data where they are asked for."""
    w, x, circuit = qj.Parameter("w", (depth, n_qubits, 2)), qj.Parameter("x", (n_qubits,)), qj.Circuit(n_qubits)
    for i in range(depth):
        for q in range(n_qubits):
            if data:
                circuit.rx(x[q], q)
            circuit.ry(w[i, q, 0], q).rz(w[i, q, 1], q)
        for q in range(n_qubits):
            circuit.cx(q, (q + 1) % n_qubits)
            if noisy:
                circuit.depolarizing(0.01, q)
    return circuit


@pytest.mark.parametrize(
    ("n_qubits", "depth", "found"),
    [
        (4, 2, []),  # two layers
        (3, 3, []),  # 27 gates
        (4, 3, [3]),
        (10, 3, [3]),
        (11, 3, []),
        (11, 7, []),  # 231 gates, but 7 layers
        (14, 8, [8]),
        (15, 8, []),
        (15, 14, [14]),
    ],
)
def test_layers_of_a_flat_circuit_become_a_loop_by_their_number_and_the_size_of_the_state(n_qubits, depth, found):
    assert loops(flat(n_qubits, depth)) == found
    assert loops(flat(n_qubits, depth), scan=False) == []
    assert loops(flat(n_qubits, depth), scan=True) == [depth]


def test_layers_in_turn_are_a_loop_of_pairs():
    assert loops(written_out(6, 60)) == [30]


def there_and_back(n_qubits, depth):
    """Layers in which every gate stands twice, the second time in the opposite order, as in symmetric Trotter steps."""
    w, circuit = qj.Parameter("w", (depth, n_qubits)), qj.Circuit(n_qubits)
    for i in range(depth):
        for order in (range(n_qubits), reversed(range(n_qubits))):
            for q in order:
                circuit.rx(w[i, q], q).cz(q, (q + 1) % n_qubits)
    return circuit


def test_layers_in_which_every_gate_stands_twice_are_a_loop():
    circuit = there_and_back(4, 5)
    assert loops(circuit) == [5]
    params = {"w": np.random.default_rng(0).normal(size=(5, 4))}
    plain = qj.statevector(circuit, options=qj.PlanOptions(scan=False))(params)
    np.testing.assert_allclose(qj.statevector(circuit)(params), plain, atol=1e-12)


def test_rounds_of_grovers_search_are_a_loop():
    n, rounds, marked = 5, 24, 0b10110
    zeros = [q for q in range(n) if not marked >> (n - 1 - q) & 1]
    circuit, phase = qj.Circuit(n), qj.Parameter("phase")
    for q in range(n):
        circuit.h(q)
    for _ in range(rounds):
        for flipped in (zeros, range(n)):
            for q in flipped:
                circuit.x(q)
            circuit.mcp(phase, range(n - 1), n - 1)
            for q in flipped:
                circuit.x(q)
            for q in range(n):
                circuit.h(q)
    assert loops(circuit) == [rounds]
    found = np.abs(qj.statevector(circuit)({"phase": np.pi})[marked]) ** 2
    assert found == pytest.approx(np.sin((2 * rounds + 1) * np.arcsin(2 ** (-n / 2))) ** 2, abs=1e-10)


@pytest.mark.parametrize(("n_qubits", "batch", "found"), [(4, 1024, [8]), (4, 1025, []), (8, 64, [8]), (10, 17, [])])
def test_of_samples_all_states_together_count(n_qubits, batch, found):
    assert loops(flat(n_qubits, 8, data=True), batch, {"x"}) == found
    assert loops(flat(n_qubits, 8), batch, {"x"}) == [8]  # samples that nothing depends on


@pytest.mark.parametrize(("batch", "found"), [(1024, [8]), (1025, [])])
def test_of_prepared_samples_all_states_together_count(batch, found):
    circuit = qj.Circuit(4).initialize(qj.Parameter("x", (16,))).compose(flat(4, 8))
    assert loops(circuit, batch, {"x"}) == found


def test_layers_without_angles_are_matrices_beforehand():
    circuit = qj.Circuit(6)
    for _ in range(20):
        circuit.h(range(6)).cx(0, 1).cx(2, 3).t(4)
    assert loops(circuit) == []
    assert loops(circuit, scan=True) == [20]
    assert loops(circuit.compose(flat(6, 3))) == [3]


def test_a_program_of_a_small_state_does_not_grow_with_its_layers():
    def length(depth, noisy):
        energy = qj.expectation(flat(3, depth, noisy=noisy), qj.Z(0) @ qj.X(2))
        gradient = jax.grad(lambda w: energy({"w": w}))
        return len(program(gradient, jnp.zeros((depth, 3, 2))))

    for noisy in (False, True):
        assert length(4, noisy) == length(40, noisy)


@pytest.mark.parametrize("batch", mostly_slow([True, False]))
def test_recognised_layers_give_the_same_results(batch):
    x, circuit = qj.Parameter("x", (3,)), written_out(3, 8)
    for _ in range(6):
        circuit.rx(x[0], 0).crz(x[1] * 0.5, 0, 2).ry(0.1, 1)
    circuit.compose(written_out(3, 8)).h(0)
    rng = np.random.default_rng(0)
    params = {"w": rng.normal(size=(8, 3, 3)), "x": rng.normal(size=(4, 3) if batch else (3,))}
    states, slopes = [], []
    for scan in (True, False):
        options = qj.PlanOptions(scan=scan)
        states.append(qj.statevector(circuit, options=options)(params))
        values = qj.expectation(circuit, qj.Z(0) @ qj.X(2), options=options)
        slopes.append(jax.jit(jax.grad(lambda p, f=values: f(p).sum()))(params))
    np.testing.assert_allclose(*states, atol=1e-13)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), *slopes)
    assert loops(circuit, 4 if batch else 1, {"x"} if batch else (), scan=True)
    assert loops(circuit, 4 if batch else 1, {"x"} if batch else ())
