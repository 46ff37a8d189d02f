"""Long beginnings without angles: run when they are planned, so that programs stay short."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.circuits import reference
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
    short = random_constant(np.random.default_rng(3), LONG // 2)
    wide = qj.Circuit(beginning.MOST_QUBITS + 1)
    wide.extend(random_constant(np.random.default_rng(4), 2 * LONG).operations)
    assert not starts(short) and not starts(wide) and not starts(circuit, from_zero=False)
