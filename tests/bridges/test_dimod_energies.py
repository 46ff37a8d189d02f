"""Problems from dimod, from matrices and of heads: energies on every assignment, also as an observable."""

import functools

import dimod
import jax
import numpy as np
import pytest
from qjaxsim_dimod import Qubo

import qjaxsim as qj
from qjaxsim import annealing
from tests.cases import assignments, mostly_slow


def matrix_of(form, n, rng):
    matrix = rng.normal(size=(n, n))
    return {"any": matrix, "symmetric": matrix + matrix.T, "triangular": np.triu(matrix)}[form]


@pytest.mark.parametrize("vartype", ["BINARY", "SPIN"])
@pytest.mark.parametrize(("form", "n"), mostly_slow([("any", 5), ("symmetric", 7), ("triangular", 12)]))
def test_energies_agree_on_every_assignment(vartype, form, n):
    rng = np.random.default_rng(n)
    matrix, linear, offset = matrix_of(form, n, rng), rng.normal(size=n), 0.75
    labels = [f"v{i}" for i in rng.permutation(n)]
    qubo = Qubo.from_matrix(matrix, linear=linear, offset=offset, labels=labels, vartype=vartype)
    states = assignments(n, vartype)
    expected = np.einsum("ri,ij,rj->r", states, matrix, states) + states @ linear + offset
    bqm, theirs = qubo.to_bqm(), dimod.BinaryQuadraticModel(matrix, vartype)
    for i in range(n):
        theirs.add_linear(i, linear[i])
    theirs.offset += offset
    assert list(bqm.variables) == labels
    bits, spins = (states + 1) // 2 if vartype == "SPIN" else states, states if vartype == "SPIN" else 2 * states - 1
    ours = annealing.dense_problem(qubo.to_binary().quadratic, qubo.to_binary().linear)
    for found in (
        qubo.energies(states),
        bqm.energies((states, labels)),
        theirs.energies((states, range(n))),
        Qubo.from_bqm(bqm).energies(states),
        qubo.to_ising().energies(spins),
        qubo.to_binary().energies(bits),
        qubo.to_ising().to_binary().energies(bits),
        np.asarray(annealing.energies(ours, bits[None, :, None])[0]) + qubo.to_binary().offset,
    ):
        np.testing.assert_allclose(found, expected, atol=1e-11)
    assert qubo.n_couplings == n * (n - 1) // 2


@pytest.mark.parametrize("vartype", ["BINARY", "SPIN"])
def test_energies_as_an_observable_and_qaoa_with_it(vartype):
    rng = np.random.default_rng(3)
    biases, pairs = dict(zip("dabc", rng.normal(size=4), strict=True)), {("a", "c"): 0.7, ("c", "d"): -1.3, "ab": 0.4}
    bqm = dimod.BinaryQuadraticModel(biases, pairs, 1.75, vartype)
    qubo, states = Qubo.from_bqm(bqm), assignments(4, vartype)
    energies, bits = bqm.energies((states, list(bqm.variables))), assignments(4)
    observable = qubo.to_pauli_sum()
    for bit, energy in zip(bits, energies, strict=True):
        basis = qj.Circuit(4).x([q for q in range(4) if bit[q]])
        np.testing.assert_allclose(qj.expectation(basis, observable)(), energy, atol=1e-12)

    gamma, beta = qj.Parameter("gamma", (2,)), qj.Parameter("beta", (2,))
    qaoa = qj.Circuit(4).h(range(4))
    for layer in range(2):
        qaoa.evolve(observable, gamma[layer])
        for q in range(4):
            qaoa.rx(2 * beta[layer], q)

    def by_hand(angles):
        state = np.full(16, 0.25, complex)
        for g, b in zip(*angles, strict=True):
            turn = np.array([[np.cos(b), -1j * np.sin(b)], [-1j * np.sin(b), np.cos(b)]])
            state = functools.reduce(np.kron, [turn] * 4) @ (np.exp(-1j * g * energies) * state)
        return energies @ abs(state) ** 2

    at = np.array([[0.3, 0.8], [0.5, -0.2]])
    params = {"gamma": at[0], "beta": at[1]}
    mean = qj.expectation(qaoa, observable)
    np.testing.assert_allclose(mean(params), by_hand(at), atol=1e-12)
    slopes = jax.grad(mean)(params)
    for name, row in (("gamma", 0), ("beta", 1)):
        for k in range(2):
            step = np.zeros((2, 2))
            step[row, k] = 1e-5
            np.testing.assert_allclose(slopes[name][k], (by_hand(at + step) - by_hand(at - step)) / 2e-5, atol=1e-8)


def test_from_bqm_keeps_order_and_offset_whatever_was_added_first():
    bqm = dimod.BinaryQuadraticModel({"b": 1.0, "a": -2.0}, {("c", "a"): 3.0}, 5.0, "SPIN")
    qubo = Qubo.from_bqm(bqm)
    assert qubo.labels == tuple(bqm.variables) and qubo.offset == 5.0 and qubo.vartype == "SPIN"
    states = assignments(3, "SPIN")
    np.testing.assert_allclose(qubo.energies(states), bqm.energies((states, list(bqm.variables))))


def test_from_heads_has_the_raw_form_s_energies():
    rng = np.random.default_rng(2)
    c = rng.normal(size=(2, 2, 3, 3))
    c = (c + c.swapaxes(2, 3)) * (1 - np.eye(3))
    problem = annealing.HeadsProblem(c, rng.normal(size=(2, 2, 3)), 0.9)
    qubo = Qubo.from_heads(problem, 1)
    states = assignments(6)
    for wrong in (np.triu(np.ones((2, 2, 3, 3)), 1), np.ones((2, 2, 3, 3))):
        with pytest.raises(ValueError, match="Couplings of a HeadsProblem must be matrices that are "):
            Qubo.from_heads(problem._replace(couplings=wrong))
    assert qubo.labels[:4] == ((0, 0), (0, 1), (0, 2), (1, 0))
    raw = annealing.energies(problem, np.broadcast_to(states.reshape(1, -1, 2, 3), (2, 64, 2, 3)))
    np.testing.assert_allclose(qubo.energies(states), raw[1], atol=1e-12)
