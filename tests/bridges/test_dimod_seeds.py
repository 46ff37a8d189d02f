"""Seeds of samplers: none is a random one, and each problem of a batch has its own."""

import numpy as np
import pytest

dimod = pytest.importorskip("dimod")
from qjaxsim_dimod import sample_heads, solve_batch  # noqa: E402

from qjaxsim.annealing import HeadsProblem  # noqa: E402


def test_heads_without_a_seed_are_drawn_by_one_that_is_told():
    flat = HeadsProblem(np.zeros((1, 3, 8, 8)), np.zeros((1, 3, 8)), 0.0)  # all states are equally good

    def samples(seed):
        (found,) = sample_heads(flat, num_reads=8, num_sweeps=1, seed=seed)
        return found.record.sample, found.info["seed"]

    (first, one), (second, other) = samples(None), samples(None)
    assert one != other and not np.array_equal(first, second)
    np.testing.assert_array_equal(samples(one)[0], first)


def test_equal_problems_of_a_batch_have_seeds_of_their_own_on_the_mock_machine():
    pytest.importorskip("dwave.system")
    # No couplings of note: steepest descent stays where it began. Wider than what the mock solves exactly.
    flat = {(i, i + 1): 0.0 for i in range(23)}
    once, again = (solve_batch([flat] * 3, "mock", seed=7, num_reads=6) for _ in range(2))
    states = [found.record.sample.tolist() for found in once]
    assert states[0] != states[1] != states[2] != states[0]
    assert states == [found.record.sample.tolist() for found in again]
