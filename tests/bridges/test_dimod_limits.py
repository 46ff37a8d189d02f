"""Limits on the time of samplers that take theirs by the read."""

import numpy as np
import pytest

pytest.importorskip("dimod")

from dwave import samplers as classical  # noqa: E402
from qjaxsim_dimod import samplers, solve  # noqa: E402

PROBLEM = np.triu(np.random.default_rng(0).normal(size=(4, 4)))


@pytest.fixture
def shares(monkeypatch):
    """Milliseconds that reads of "tabu" are given."""
    given = []

    class Recorded(classical.TabuSampler):
        def sample(self, bqm, **options):
            given.append(options["timeout"])
            return super().sample(bqm, timeout=1)

    monkeypatch.setitem(samplers.SAMPLERS, "tabu", samplers.Choice(Recorded, "sample", "timeout"))
    return given


@pytest.mark.parametrize(
    ("options", "share"),
    [
        ({}, 290),
        ({"num_reads": 5}, 58),
        ({"num_reads": 290}, 1),
        ({"initial_states": np.zeros((5, 4), int)}, 58),
        ({"initial_states": np.zeros((5, 4), int), "num_reads": 2}, 145),
    ],
)
def test_tabu_shares_its_time_among_reads(shares, options, share):
    solve(PROBLEM, "tabu", time_limit=0.29, seed=1, **options)
    assert shares == [share]


def test_tabu_needs_a_millisecond_a_read(shares):
    with pytest.raises(ValueError, match=r"leave a millisecond to each read .* 0.3 seconds for 300, but is 0.05; give"):
        solve(PROBLEM, "tabu", time_limit=0.05, num_reads=300)
    assert not shares
