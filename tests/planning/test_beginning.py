"""Long beginnings without angles: run when they are planned, so that programs stay short."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.circuits import reference
from qjaxsim.circuits.inspection import kraus_of
from qjaxsim.circuits.operations import Channel, Gate, Unitary
from qjaxsim.circuits.reference import embed
from qjaxsim.planning import beginning
from qjaxsim.planning.plan import make_plan
from qjaxsim.planning.steps import Start
from tests.cases import mostly_slow

N, LONG = 5, beginning.LEAST_GATES


def random_constant(rng, n_gates, n=N):
    """Gates without angles, of every shape of matrix: dense, diagonal, permutations, on one to four qubits."""
    made = qj.Circuit(n)
    big = np.linalg.qr(rng.normal(size=(16, 16)) + 1j * rng.normal(size=(16, 16)))[0]
    for _ in range(n_gates):
        qubits = rng.permutation(n).tolist()
        name, k, angles = [
            ("h", 1, 0), ("t", 1, 0), ("rx", 1, 1), ("cx", 2, 0), ("cz", 2, 0), ("crx", 2, 1), ("rzz", 2, 1),
            ("swap", 2, 0), ("ccx", 3, 0), ("cp", 2, 1),
        ][int(rng.integers(10))]  # fmt: skip
        made.append(name, qubits[:k], rng.normal(size=angles).tolist())
    return made.unitary(big, rng.permutation(n)[:4].tolist())


def gate_by_gate(circuit):
    """The state by a product of small matrices with a tensor for each gate."""
    state = np.zeros((2,) * circuit.n_qubits, complex)
    state[(0,) * circuit.n_qubits] = 1
    for operation in circuit.operations:
        matrix = (
            operation.matrix
            if isinstance(operation, Unitary)
            else operation.spec.matrix(np, *map(np.float64, operation.angles))
        )
        k = len(operation.qubits)
        moved = np.tensordot(matrix.reshape((2,) * (2 * k)), state, (range(k, 2 * k), operation.qubits))
        state = np.moveaxis(moved, range(k), operation.qubits)
    return state.reshape(-1)


@pytest.fixture(scope="module")
def circuit():
    """A long beginning, then weights and data among constants."""
    rng = np.random.default_rng(1)
    made = random_constant(rng, 3 * LONG)
    w, x = qj.Parameter("w", (3,)), qj.Parameter("x")
    made.rx(w[0], 2).cx(2, 0).ry(w[1], 4).h(2).rzz(x, 1, 3).swap(0, 3).crx(w[2], 3, 1).h(4)
    return made


def starts(circuit, **kwargs):
    return [step for step in make_plan(circuit, **kwargs).steps if isinstance(step, Start)]


def test_a_long_constant_circuit_is_a_short_program():
    made = random_constant(np.random.default_rng(0), 3 * LONG)
    run = qj.statevector(made)
    assert len(run.trace({}).jaxpr.eqns) < 20
    np.testing.assert_allclose(run({}), reference.statevector(made, {}), atol=1e-12)


@pytest.mark.parametrize(
    ("gradient", "dtype"), mostly_slow([("backprop", np.float32), ("adjoint", np.float64)], keep=[1])
)
def test_values_and_derivatives_go_on_from_it(circuit, gradient, dtype):
    params = {"w": jnp.asarray([0.3, -1.1, 0.7], dtype), "x": jnp.asarray([0.2, 2.0], dtype)}
    run = qj.expectation(circuit, qj.Z(0) + qj.X(2) @ qj.Y(4), options=qj.PlanOptions(gradient=gradient))
    # The same circuit with its beginning written as one matrix, whose first column is its state.
    first, rest = qj.Circuit(N), qj.Circuit(N)
    first.extend(circuit.operations[:-8])
    state = reference.statevector(first, {})
    matrix, triangle = np.linalg.qr(np.column_stack([state, np.eye(2**N)[:, 1:]]))
    matrix[:, 0] *= triangle[0, 0]
    rest.unitary(matrix, range(N)).extend(circuit.operations[-8:])
    plain = qj.expectation(rest, qj.Z(0) + qj.X(2) @ qj.Y(4), options=qj.PlanOptions(gradient="backprop"))
    assert starts(circuit) and not starts(rest)
    tolerance = 1e-11 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(run(params), plain(params), atol=tolerance)
    total = lambda f: lambda w: f({**params, "w": w}).sum()  # noqa: E731
    both = lambda f: jax.jit(lambda w: (jax.grad(total(f))(w), jax.hessian(total(f))(w)))(params["w"])  # noqa: E731
    for ours, theirs, atol in zip(both(run), both(plain), (tolerance, 10 * tolerance), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=atol)


def test_what_comes_before_an_angle_is_taken_whatever_its_place_in_the_list():
    w = qj.Parameter("w")
    made = qj.Circuit(N).rx(w, 4)
    made.extend(random_constant(np.random.default_rng(2), 3 * LONG, 4).operations)
    made.cx(3, 4).h(4).project(0, 1)
    (start,) = starts(made)
    assert start.gates >= LONG
    params = {"w": 0.4}
    np.testing.assert_allclose(qj.statevector(made)(params), reference.statevector(made, params), atol=1e-12)
    assert "constant gates" in str(qj.explain(made))


def test_short_beginnings_wide_registers_and_other_states_are_planned_as_before(circuit):
    w = qj.Parameter("w", (N,))
    few = random_constant(np.random.default_rng(3), beginning.LEAST_ALONE // 2)
    short = random_constant(np.random.default_rng(3), LONG // 2)
    for qubit in range(N):
        short.rx(w[qubit], qubit)
    wide = qj.Circuit(beginning.MOST_QUBITS + 1)
    wide.extend(random_constant(np.random.default_rng(4), 2 * LONG).operations)
    assert not starts(few) and not starts(short) and not starts(wide) and not starts(circuit, from_zero=False)


@pytest.mark.parametrize("n", [7, 13])
def test_circuits_of_numbers_alone_are_run_when_they_are_planned(n):
    rng = np.random.default_rng(n)
    made = qj.Circuit(n).h(range(n))
    for _ in range(12):  # layers that would be a loop, with phases on many qubits, also in the planner's own form
        made.mcp(0.7, [4, 0, 2, 1], 3).cx(4, 6).mcx([6, 5, 0, 3], 1).h(range(4)).x([2, 5]).mcrz(0.3, [0, 1, 2, 3], 6)
        made.cx(0, 3).mcp(-0.4, [5, 3, 6, 0], 2).cx(0, 3)
    made.extend(random_constant(rng, 2 * beginning.LEAST_ALONE).operations)
    (step,) = starts(made)
    assert len(make_plan(made).steps) <= 2 and step.gates > beginning.LEAST_ALONE
    assert len(qj.statevector(made).trace({}).jaxpr.eqns) < 20
    wanted = gate_by_gate(made)
    np.testing.assert_allclose(qj.statevector(made)(), wanted, atol=1e-12)
    program = qj.statevector(made.copy().rz(0 * qj.Parameter("t"), 0))  # since one of its angles is free
    np.testing.assert_allclose(program({"t": 0.0}), wanted, atol=1e-11)
    loops = make_plan(made, options=qj.PlanOptions(scan=True))
    assert len(loops.steps) > 2  # as it was asked for


def test_long_noisy_circuits_with_resets_are_run_when_they_are_planned():
    made, rng = qj.Circuit(3), np.random.default_rng(9)
    for _ in range(60):
        a, b, c = rng.permutation(3).tolist()
        made.ry(rng.normal(), a).cx(a, b).reset_error(0.2, 0.1, c).depolarizing(0.05, b).reset(c).h(c)
    rho = np.zeros((8, 8), complex)
    rho[0, 0] = 1
    for operation in made.operations:
        if isinstance(operation, Gate):
            kraus = [operation.spec.matrix(np, *map(np.float64, operation.angles))]
        elif isinstance(operation, Channel):
            kraus = kraus_of(operation)
        else:  # a reset
            kraus = [np.array([[1, 0], [0, 0]]), np.array([[0, 1], [0, 0]])]
        rho = sum(m @ rho @ m.conj().T for m in (embed(np.asarray(k), operation.qubits, 3) for k in kraus))
    np.testing.assert_allclose(qj.density_matrix(made)(), rho, atol=1e-12)
