"""The annealer against enumeration, a plain single-flip chain in NumPy, and the Boltzmann distribution."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qjaxsim import annealing
from qjaxsim.annealing import chains, streams
from qjaxsim.annealing.batch import anneal_batch
from qjaxsim.annealing.problems import COLD, HOT, HeadsProblem
from tests.cases import assignments, mostly_slow


def heads_problem(rng, batch, heads, n, penalty):
    c = rng.normal(size=(batch, heads, n, n))
    c = c + c.swapaxes(2, 3)
    c[..., np.arange(n), np.arange(n)] = 0
    return HeadsProblem(c, rng.normal(size=(batch, heads, n)), np.float64(penalty))


def full_matrix(problem, b):
    """Upper-triangular Q with E = x^T Q x over x in the order (head, token), written entry by entry."""
    _, heads, n, _ = problem.couplings.shape
    q = np.zeros((heads, n, heads, n))
    for a in range(heads):
        for i in range(n):
            q[a, i, a, i] = problem.linear[b, a, i]
            for j in range(i + 1, n):
                q[a, i, a, j] = problem.couplings[b, a, i, j]
            for other in range(a + 1, heads):
                q[a, i, other, i] = problem.penalty
    return q.reshape(heads * n, heads * n)


def test_energies_of_every_assignment():
    rng = np.random.default_rng(1)
    problem = heads_problem(rng, 2, 3, 4, 0.7)
    states = assignments(12)
    found = annealing.energies(problem, np.broadcast_to(states.reshape(1, -1, 3, 4), (2, len(states), 3, 4)))
    for b in range(2):
        expected = np.einsum("ri,ij,rj->r", states, full_matrix(problem, b), states)
        np.testing.assert_allclose(found[b], expected, atol=1e-12)


def test_dense_problem_counts_pairs_as_the_quadratic_form_does():
    rng = np.random.default_rng(2)
    matrix, linear = rng.normal(size=(6, 6)), rng.normal(size=6)
    states = assignments(6)
    found = annealing.energies(annealing.dense_problem(matrix, linear), states[None, :, None])
    np.testing.assert_allclose(found[0], np.einsum("ri,ij,rj->r", states, matrix, states) + states @ linear, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64])
def test_integers_are_as_good_as_floats(dtype, key):
    rng = np.random.default_rng(3)
    whole, linear = rng.integers(0, 128, (2, 5, 5)), rng.normal(size=(2, 5))
    states = assignments(5)
    dense = annealing.dense_problem(whole.astype(dtype), linear)
    expected = np.einsum("ri,bij,rj->br", states, whole, states) + linear @ states.T
    np.testing.assert_allclose(annealing.energies(dense, [states[:, None]] * 2), expected, rtol=1e-6)
    couplings = np.array([[[[0, 3], [3, 0]], [[0, 1], [1, 0]]]])
    fields, betas = rng.normal(size=(1, 2, 2)), [0.2, 0.6]
    ours = HeadsProblem(couplings.astype(dtype), fields, 0.7)
    theirs = HeadsProblem(couplings.astype(float), fields, 0.7)
    for one, other in zip(annealing.rounded(ours, 4), annealing.rounded(theirs, 4), strict=True):
        np.testing.assert_array_equal(one, other)
    for schedule in (None, betas):
        settings = {"reads": 50, "sweeps": 2, "betas": schedule, "descent": False}
        one, other = (annealing.anneal(each, key, **settings) for each in (ours, theirs))
        np.testing.assert_array_equal(one.states, other.states)
        np.testing.assert_array_equal(one.energies, other.energies)


def random_numbers(lane, draw):
    """The annealer's numbers, in Python integers."""
    z = (int(lane) + draw * 0x9E3779B9) % 2**32
    z = (z ^ (z >> 16)) * 0x85EBCA6B % 2**32
    z = (z ^ (z >> 13)) * 0xC2B2AE35 % 2**32
    return ((z ^ (z >> 16)) >> 8) * 2.0**-24


def plain_chain(problem, lanes, start, betas, n_padded):
    """One flip after the other, with fields from the full matrix; head a's token (i + a) mod n_padded comes i-th."""
    states = start.copy()
    batch, reads, heads, n = states.shape
    for b, r in itertools.product(range(batch), range(reads)):
        q = full_matrix(problem, b)
        x = states[b, r].reshape(-1).astype(float)
        for sweep, beta in enumerate(betas):
            for i, a in itertools.product(range(n_padded), range(heads)):
                token = (i + a) % n_padded
                if token >= n:
                    continue
                k = a * n + token
                rise = (1 - 2 * x[k]) * (q[k, k] + (q[k] + q[:, k]) @ x - 2 * q[k, k] * x[k])
                if random_numbers(lanes[b, a, r], sweep * n_padded + i) < np.exp(-beta * rise):
                    x[k] = 1 - x[k]
        states[b, r] = x.reshape(heads, n)
    return states


@pytest.mark.parametrize(("heads", "n"), mostly_slow([(1, 9), (3, 14), (4, 2), (2, 7)], keep=2))
def test_simultaneous_flips_are_a_plain_chain_of_single_flips(heads, n, key):
    rng = np.random.default_rng(3)
    problem = heads_problem(rng, 2, heads, n, 0.8)
    start = rng.integers(0, 2, (2, 3, heads, n))
    betas = np.array([0.2, 0.7, 1.5, 4.0])
    found = annealing.anneal(problem, key, reads=3, betas=betas, descent=False, start=start).states
    lanes = np.asarray(streams.lanes_of(key, 2, heads, 3))
    assert len(np.unique(lanes)) == lanes.size
    expected = plain_chain(problem, lanes, start, betas, chains.block_size(n, heads)[1])
    assert (expected != start).any()
    np.testing.assert_array_equal(found, expected)


def test_structured_and_plain_chains_have_the_same_stationary_law(key):
    """At one temperature the structured chain, and the dense one on the same energy, both reach Boltzmann's law."""
    rng = np.random.default_rng(4)
    problem = heads_problem(rng, 1, 2, 3, 1.1)
    states, matrix, beta, reads = assignments(6), full_matrix(problem, 0), 0.6, 10_000
    weights = np.exp(-beta * np.einsum("ri,ij,rj->r", states, matrix, states))
    law = weights / weights.sum()
    for one, shape in ((problem, (2, 3)), (annealing.dense_problem(matrix), (1, 6))):
        drawn = annealing.anneal(one, key, reads=reads, betas=np.full(30, beta), descent=False).states
        assert drawn.shape == (1, reads, *shape)
        words = np.asarray(drawn).reshape(reads, 6) @ (2 ** np.arange(5, -1, -1))
        counts = np.bincount(words, minlength=64)
        chi_square = ((counts - reads * law) ** 2 / (reads * law)).sum()
        # 63 degrees of freedom: mean 63, standard deviation 11.2.
        assert chi_square < 63 + 5 * np.sqrt(126)


def test_finds_the_lowest_energy_of_16_variables(key):
    rng = np.random.default_rng(5)
    problem = heads_problem(rng, 6, 2, 8, 0.9)
    states = assignments(16)
    found = annealing.anneal(problem, key, reads=24, sweeps=60)
    state, energy = annealing.best(found)
    for b in range(6):
        lowest = np.einsum("ri,ij,rj->r", states, full_matrix(problem, b), states)
        np.testing.assert_allclose(energy[b], lowest.min(), atol=1e-10)
        np.testing.assert_array_equal(np.asarray(state[b]).reshape(-1), states[lowest.argmin()])


def test_descent_ends_where_no_flip_helps(key):
    rng = np.random.default_rng(6)
    problem = heads_problem(rng, 1, 3, 9, 0.4)
    found = annealing.anneal(problem, key, reads=8, sweeps=0)
    q = full_matrix(problem, 0)
    for state in np.asarray(found.states[0]).reshape(8, -1).astype(float):
        fields = np.diag(q) + (q + q.T) @ state - 2 * np.diag(q) * state
        assert ((1 - 2 * state) * fields >= -1e-9).all()


def test_betas_follow_the_scale_and_chunks_do_not_matter(key, monkeypatch):
    rng = np.random.default_rng(7)
    problem = heads_problem(rng, 4, 2, 9, 0.4)
    betas = annealing.geometric_betas(problem, 5)
    # The unit, variable by variable: couplings within the head, the linear term, and the other head's penalty.
    c, h = problem.couplings[2], problem.linear[2]
    squares = [(c[a, i] ** 2).sum() + h[a, i] ** 2 + 0.4**2 for a in range(2) for i in range(9)]
    np.testing.assert_allclose(betas[[0, -1], 2], np.array([HOT, COLD]) / np.sqrt(np.mean(squares)))
    larger = HeadsProblem(problem.couplings * 10, problem.linear * 10, problem.penalty * 10)
    np.testing.assert_allclose(annealing.geometric_betas(larger, 5), betas / 10)
    np.testing.assert_allclose(betas[1:] / betas[:-1], betas[1:2] / betas[:1] * np.ones((4, 1)))
    whole = annealing.anneal(problem, key, reads=5, sweeps=5)
    scaled = annealing.anneal(larger, key, reads=5, sweeps=5)
    np.testing.assert_array_equal(whole.states, scaled.states)
    monkeypatch.setattr(chains, "CPU_LANES", 20)
    np.testing.assert_array_equal(annealing.anneal(problem, key, reads=5, sweeps=5).states, whole.states)


def test_rounding_keeps_integers_and_moves_energies_little(key):
    rng = np.random.default_rng(8)
    problem = heads_problem(rng, 1, 2, 5, 0.6)
    coarse = annealing.rounded(problem, 8)
    # In the Ising form of the rounded problem every number is a multiple of one step, at most 127 of them.
    couplings = np.asarray(coarse.couplings[0]) / 4
    fields = np.asarray(coarse.linear[0]) / 2 + couplings.sum(2) + np.asarray(coarse.penalty) / 4
    numbers = np.concatenate([couplings.ravel(), fields.ravel(), np.asarray(coarse.penalty) / 4])
    exact = np.asarray(problem.couplings[0]) / 4
    own = np.asarray(problem.linear[0]) / 2 + exact.sum(2) + 0.6 / 4
    step = max(np.abs(exact).max(), np.abs(own).max(), 0.15) / 127
    np.testing.assert_allclose(numbers / step, np.round(numbers / step), atol=1e-9)
    assert np.abs(numbers / step).max() <= 127 + 1e-9
    np.testing.assert_allclose(couplings, exact, atol=step / 2 * 1.0001)
    np.testing.assert_allclose(fields, own, atol=step / 2 * 1.0001)
    # Already whole numbers stay as they are.
    twice = annealing.rounded(coarse, 8)
    np.testing.assert_allclose(twice.couplings, coarse.couplings, atol=1e-12)
    found = annealing.anneal(problem, key, reads=2, sweeps=3, bits=3)
    np.testing.assert_allclose(found.energies, annealing.energies(problem, found.states))


def test_penalties_of_several_problems(key):
    rng = np.random.default_rng(12)
    problem, penalties = heads_problem(rng, 3, 2, 3, 0.0), np.array([0.3, 2.0, 0.0])
    together = problem._replace(penalty=penalties)
    states = assignments(6)
    found = annealing.energies(together, np.broadcast_to(states.reshape(1, -1, 2, 3), (3, 64, 2, 3)))
    apart = [HeadsProblem(*(part[b : b + 1] for part in problem[:2]), penalties[b]) for b in range(3)]
    for b, one in enumerate(apart):
        np.testing.assert_allclose(found[b], np.einsum("ri,ij,rj->r", states, full_matrix(one, 0), states), atol=1e-12)
    annealed = annealing.anneal(together, key, reads=8, sweeps=8)
    np.testing.assert_allclose(annealed.energies.min(1), found.min(1), atol=1e-12)


def test_problems_of_a_batch_are_rounded_each_by_itself():
    rng = np.random.default_rng(15)
    problem = heads_problem(rng, 3, 2, 3, 0.7)
    problem = problem._replace(couplings=problem.couplings * np.array([1, 20, 0.1])[:, None, None, None])
    together = annealing.rounded(problem, 4)
    last = annealing.rounded(HeadsProblem(problem.couplings[2:], problem.linear[2:], problem.penalty), 4)
    for several, one in zip(together, last, strict=True):
        np.testing.assert_allclose(several[2], one[0], rtol=1e-12)


def test_single_precision_and_refusals(key):
    rng = np.random.default_rng(9)
    problem = heads_problem(rng, 1, 2, 5, 0.6)
    single = HeadsProblem(*(jnp.asarray(part, jnp.float32) for part in problem))
    assert annealing.anneal(single, key, reads=2, sweeps=2).energies.dtype == jnp.float32
    with pytest.raises(ValueError, match="Argument `reads` must be a positive integer, but is 0"):
        annealing.anneal(problem, key, reads=0)
    with pytest.raises(ValueError, match=r"Argument `betas` must have shape \(sweeps,\) or \(sweeps, 1\)"):
        annealing.anneal(problem, key, betas=np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"Argument `start` must have shape \(1, 16, 2, 5\)"):
        annealing.anneal(problem, key, start=np.zeros((1, 1, 2, 5)))
    with pytest.raises(ValueError, match="Argument `start` must hold 0 and 1 only"):
        annealing.anneal(problem, key, reads=1, start=-np.ones((1, 1, 2, 5)))
    for matrix, linear, message in (
        (np.ones((2, 3)), None, r"`matrix` must have shape \(N, N\) or \(B, N, N\), but has shape \(2, 3\)"),
        (np.ones((2, 2)), np.ones(3), r"`linear` must have shape \(2,\), but has shape \(3,\)"),
        (np.ones((2, 2)) * 1j, None, "`matrix` must be real, but is complex"),
    ):
        with pytest.raises(ValueError, match=message):
            annealing.dense_problem(matrix, linear)
    old = annealing.anneal(single, jax.random.key_data(key), reads=2, sweeps=2)
    np.testing.assert_array_equal(old.states, annealing.anneal(single, key, reads=2, sweeps=2).states)
    with pytest.raises(TypeError, match="Argument `key` must be a random key, .* but is 0"):
        annealing.anneal(problem, 0)
    with pytest.raises(ValueError, match=r"`key` must be one random key, or 1, .* but is an array of keys of shape .3"):
        annealing.anneal(problem, jax.random.split(key, 3))
    for states in (np.ones(2), np.ones((1, 4, 5, 2)), np.ones((2, 4, 2, 5))):
        with pytest.raises(ValueError, match=r"Argument `states` must have shape \(1, R, 2, 5\), but has shape"):
            annealing.energies(problem, states)
    with pytest.raises(ValueError, match="Argument `bits` must be an integer from 2 to 53, but is 1"):
        annealing.rounded(problem, 1)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"couplings": np.triu(np.ones((1, 2, 5, 5)), 1)}, "matrices that are symmetric, but some are off by 1;"),
        ({"couplings": np.ones((1, 2, 5, 5))}, "matrices that are without diagonals, but some are off by 1;"),
        ({"couplings": np.ones((2, 5, 5))}, r"has shapes \(2, 5, 5\), \(1, 2, 5\) and \(\)"),
        ({"linear": np.ones((2, 5))}, r"has shapes \(1, 2, 5, 5\), \(2, 5\) and \(\)"),
        ({"penalty": np.ones(2)}, r"one number or \(B,\), but has shapes .* and \(2,\)"),
        ({"penalty": "1"}, "Argument `penalty` must be an array of numbers, but is '1'"),
        ({"linear": None}, "Argument `linear` must be an array of numbers, but is None"),
    ],
)
def test_couplings_that_are_no_symmetric_matrices_are_refused(part, message, key):
    problem = heads_problem(np.random.default_rng(11), 1, 2, 5, 0.6)._replace(**part)
    for use in (
        lambda: annealing.energies(problem, np.zeros((1, 1, 2, 5))),
        lambda: annealing.anneal(problem, key, reads=1, sweeps=1),
        lambda: annealing.rounded(problem),
    ):
        with pytest.raises(ValueError, match=message):
            use()


def test_a_problem_that_is_known_while_its_key_is_traced_is_annealed(key):
    problem = HeadsProblem(*map(jnp.asarray, heads_problem(np.random.default_rng(11), 1, 2, 5, 0.6)))
    traced = jax.jit(lambda key: annealing.anneal(problem, key, reads=2, sweeps=2).states)(key)
    np.testing.assert_array_equal(traced, annealing.anneal(problem, key, reads=2, sweeps=2).states)


def test_what_is_no_problem_is_refused(key):
    problem = heads_problem(np.random.default_rng(11), 1, 2, 5, 0.6)
    for use in (
        lambda given: annealing.energies(given, np.zeros((1, 1, 2, 5))),
        lambda given: annealing.anneal(given, key, reads=1, sweeps=1),
        lambda given: anneal_batch(given, 1),
    ):
        with pytest.raises(TypeError, match="Argument `problem` must be a HeadsProblem, but is {'couplings'"):
            use(problem._asdict())
    for wanted in ((0, 2, 5), (1, 0, 5), (1, 2, 0)):
        empty = HeadsProblem(np.zeros((*wanted, wanted[-1])), np.zeros(wanted))
        with pytest.raises(ValueError, match=rf"at least one problem, head and token, .* \({str(wanted)[1:-1]}\)"):
            anneal_batch(empty, 1)


def test_threads_do_not_change_the_states():
    problem = heads_problem(np.random.default_rng(10), 4, 2, 5, 0.6)
    alone, shared = (anneal_batch(problem, 3, reads=3, betas=[0.3, 1.0, 3.0], threads=count) for count in (1, 2))
    for one, other in zip(alone, shared, strict=True):
        np.testing.assert_array_equal(one, other)
    assert alone[0].shape == (4, 3, 2, 5)
    np.testing.assert_allclose(alone[1], annealing.energies(problem, alone[0]))
