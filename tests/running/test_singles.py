"""Each column's own matrices on single qubits as a loop, against dense Kronecker products."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.circuits import reference
from qjaxsim.planning.plan import make_plan
from qjaxsim.planning.steps import Loop, Singles, flat_steps
from qjaxsim.running.singles import apply_singles, reverse_singles, undo_singles
from tests.cases import mostly_slow


def parts(array):
    return jnp.asarray(np.stack([array.real, array.imag]))


def unitaries(rng, qubits, columns):
    """Random ones, (qubits, columns, 2, 2)."""
    gaussian = rng.normal(size=(2, qubits, columns, 2, 2))
    return np.linalg.qr(gaussian[0] + 1j * gaussian[1])[0]


def stacked(matrices):
    """As the engine takes them, (qubits, 2, 2, 2, columns)."""
    moved = np.moveaxis(matrices, 1, 3)
    return jnp.asarray(np.stack([moved.real, moved.imag], axis=1))


def dense(matrices, state):
    """The same by Kronecker products, column by column; the qubits after those with matrices come first."""
    qubits, columns = matrices.shape[:2]
    rest = np.eye(len(state) >> qubits)
    out = np.stack([functools.reduce(np.kron, [*matrices[:, z], rest]) @ state[:, z] for z in range(columns)], axis=1)
    return out.reshape(2**qubits, -1, columns).swapaxes(0, 1).reshape(state.shape)


def random_state(rng, n_qubits, columns):
    return rng.normal(size=(2**n_qubits, columns)) + 1j * rng.normal(size=(2**n_qubits, columns))


@pytest.mark.parametrize(("n_qubits", "qubits", "columns"), [(3, 3, 4), (5, 2, 3), (4, 1, 1)])
def test_a_loop_is_a_kronecker_product_and_can_be_undone(n_qubits, qubits, columns):
    rng = np.random.default_rng(n_qubits)
    matrices, state = unitaries(rng, qubits, columns), random_state(rng, n_qubits, columns)
    out = apply_singles(stacked(matrices), parts(state))
    np.testing.assert_allclose(out, parts(dense(matrices, state)), atol=1e-13)
    np.testing.assert_allclose(undo_singles(stacked(matrices), out), parts(state), atol=1e-13)


def test_reverse_mode_is_that_of_dense_products_and_finds_the_state_before():
    rng = np.random.default_rng(5)
    matrices, state, ct = unitaries(rng, 3, 2), random_state(rng, 4, 2), random_state(rng, 4, 2)
    own = stacked(matrices)
    # <ct, U state> is linear in each matrix: its derivative in an entry is its value with that entry alone.
    wanted = np.zeros(own.shape)
    for place in np.ndindex(own.shape):
        qubit, part, row, column, z = place
        changed = matrices.copy()
        changed[qubit, z] = 0
        changed[qubit, z, row, column] = 1j if part else 1
        wanted[place] = np.vdot(ct[:, z], dense(changed, state)[:, z]).real
    before, d_state, d_own = reverse_singles(own, parts(dense(matrices, state)), parts(ct))
    np.testing.assert_allclose(d_own, wanted, atol=1e-12)
    np.testing.assert_allclose(before, parts(state), atol=1e-13)
    np.testing.assert_allclose(dense(matrices, np.asarray(d_state[0]) + 1j * np.asarray(d_state[1])), ct, atol=1e-13)
    pulled = jax.vjp(apply_singles, own, parts(state))[1](parts(ct))
    np.testing.assert_allclose(pulled[0], wanted, atol=1e-12)
    np.testing.assert_allclose(pulled[1], d_state, atol=1e-13)


def runs(n_qubits, layers, looped=False, wires=None):
    """Runs of data and weights on the `wires`, CX between all neighbours, some layers of it."""
    wires = range(n_qubits) if wires is None else wires
    x, w = qj.Parameter("x", (n_qubits, 2)), qj.Parameter("w", (n_qubits, 3) if looped else (layers, n_qubits, 3))
    out = qj.Circuit(n_qubits)
    for i in range(1 if looped else layers):
        layer, own = qj.Circuit(n_qubits), w if looped else w[i]
        for q in range(n_qubits):
            layer.ry(own[q, 0], q)
            if q in wires:
                layer.rx(x[q, 0], q).rz(own[q, 1], q).h(q).u3(x[q, 1], own[q, 2] * x[q, 0], 0.3, q)
        for q in range(n_qubits):
            layer.cx(q, (q + 1) % n_qubits)
        if looped:
            out.repeat(layer, layers, shared=["x"])
        else:
            out.compose(layer)
    return out


def values(n_qubits, layers, samples, dtype=np.float64):
    rng = np.random.default_rng(n_qubits)
    draw = lambda *shape: rng.normal(size=shape).astype(dtype)  # noqa: E731
    return {"x": draw(samples, n_qubits, 2), "w": draw(layers, n_qubits, 3)}


def singles_in(circuit, samples):
    steps = list(flat_steps(make_plan(circuit, {"x"}, samples).steps))
    inside = (inner for step in steps if isinstance(step, Loop) for inner in step.body.steps)
    return [step for step in (*steps, *inside) if isinstance(step, Singles)]


CIRCUITS = mostly_slow(
    [(3, None, np.float64), (4, (1, 3), np.float32), (5, None, np.float32), (4, (2,), np.float64)], 2
)


@pytest.mark.parametrize(("n_qubits", "wires", "dtype"), CIRCUITS)
def test_states_equal_the_reference(n_qubits, wires, dtype):
    circuit, samples = runs(n_qubits, 3, wires=wires), 2000
    assert singles_in(circuit, samples)
    given = values(n_qubits, 3, samples, dtype)
    got = qj.statevector(circuit)(given)
    for z in (0, 7, samples - 1):
        exact = reference.statevector(circuit, {"x": given["x"][z].astype(float), "w": given["w"].astype(float)})
        np.testing.assert_allclose(got[z], exact, atol=1e-12 if dtype == np.float64 else 1e-5)


@pytest.mark.parametrize("looped", mostly_slow([False, True]))
@pytest.mark.parametrize("gradient", ["adjoint", "backprop"])
@pytest.mark.thorough
def test_derivatives_are_sums_of_those_of_single_samples(gradient, looped):
    circuit, samples = runs(3, 2, looped), 500
    assert looped or singles_in(circuit, samples)
    given = values(3, 2, samples)
    batch = qj.expectation(circuit, qj.Z(0) @ qj.X(2), options=qj.PlanOptions(gradient=gradient))
    one = qj.expectation(circuit, qj.Z(0) @ qj.X(2))
    rng = np.random.default_rng(1)
    weight = jnp.asarray(rng.normal(size=samples))
    of_batch = lambda p: (weight * batch(p) ** 2).sum()  # noqa: E731
    of_one = lambda p: jax.vmap(lambda x, c: c * one({"x": x, "w": p["w"]}) ** 2)(p["x"], weight).sum()  # noqa: E731
    v = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape)), given)
    ways = {
        "value": lambda f: f(given),
        "gradient": lambda f: jax.grad(f)(given),
        "forward over reverse": lambda f: jax.jvp(jax.grad(f), (given,), (v,))[1],
        "forward over forward": lambda f: jax.jvp(lambda p: jax.jvp(f, (p,), (v,))[1], (given,), (v,))[1],
        "reverse over reverse": lambda f: jax.grad(lambda p: _dot(jax.grad(f)(p), v))(given),
    }
    for name, way in ways.items():
        got, wanted = (jax.jit(functools.partial(way, f))() for f in (of_batch, of_one))
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9, err_msg=name)


def _dot(a, b):
    return sum(jnp.vdot(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_vmap_over_weights_and_density_matrices_with_noise():
    circuit, samples = runs(3, 2), 1000
    given = values(3, 2, samples)
    energy = qj.expectation(circuit, qj.Z(1))
    several = jnp.stack([given["w"], 2 * given["w"]])
    both = jax.vmap(lambda w: energy({"x": given["x"], "w": w}))(several)
    np.testing.assert_allclose(both[1], energy({"x": given["x"], "w": several[1]}), atol=1e-12)
    noisy = runs(3, 2).depolarizing(0.1, 1)
    rho = qj.density_matrix(noisy)({"x": given["x"][:40], "w": given["w"]})
    exact = reference.density_matrix(noisy, {"x": given["x"][3], "w": given["w"]})
    np.testing.assert_allclose(rho[3], exact, atol=1e-12)


def test_explain_names_the_qubits_and_gates():
    lines = qj.explain(runs(3, 2), 1000, ["x"]).lines
    (line,) = [line for line in lines if line.kind == "singles"]
    assert sorted(line.qubits.split(",")) == ["0", "1", "2"]
    assert line.role == "data"
    assert "3 ry" in line.holds
