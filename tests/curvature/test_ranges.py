"""Sums over ranges of samples: as many as there are files, whoever left them, they add up to the whole."""

import jax
import numpy as np
import pytest

from qjaxsim.common import checkpoint
from qjaxsim.curvature import gauss_newton, ranges
from qjaxsim.curvature.ranges import Range, by_ranges, cover, shares, split_by_ranges
from tests.cases import mostly_slow
from tests.curvature.test_accumulation import (
    CHUNK,
    COUNT,
    KINDS,
    every_chunk_is_saved_and_few_samples_collapse,
    interrupted,
    problem,
    stop_at,
    whole,
)

assert every_chunk_is_saved_and_few_samples_collapse  # a fixture for all tests here


@pytest.fixture
def place(tmp_path):
    return tmp_path / "sums.npz"


def assert_equal(found, kind="pushed"):
    for ours, theirs in zip(found, whole(kind), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-13)


def one_of_two(place, monkeypatch, kind="pushed", **options):
    """What the first of two processes leaves, which the second never joins."""
    with monkeypatch.context() as patch:
        patch.setattr(ranges, "_gathered", lambda value: [value, value])
        split_by_ranges(*problem(kind), batch_size=CHUNK, checkpoint=place, **options)


def samples_computed(monkeypatch):
    """Grows by the number of samples of each chunk that is computed from now on."""
    seen, chunk = [], gauss_newton.samples_from

    def counted(*arguments, **sizes):
        xs, ys, weights = chunk(*arguments, **sizes)
        seen.append(int(np.count_nonzero(weights)))
        return xs, ys, weights

    monkeypatch.setattr(gauss_newton, "samples_from", counted)
    return seen


@pytest.mark.parametrize("kind", mostly_slow(KINDS, keep=[0, 3]))
def test_what_another_process_left_is_added_and_the_rest_computed(place, monkeypatch, kind):
    one_of_two(place, monkeypatch, kind)
    assert [path.name for path in place.parent.iterdir()] == ["0-8_sums.npz"]
    assert by_ranges(place) and whole(kind)
    seen = samples_computed(monkeypatch)
    assert_equal(split_by_ranges(*problem(kind), batch_size=3, checkpoint=place), kind)
    assert seen == [3, 3, 3]
    assert_equal(split_by_ranges(*problem(kind), checkpoint=place), kind)
    assert not seen[3:]


def test_a_process_that_was_alone_and_one_of_two_leave_what_the_next_goes_on_with(place, monkeypatch):
    interrupted(place)
    with pytest.raises(KeyboardInterrupt):
        one_of_two(place, monkeypatch, progress=stop_at(15))
    # Of the twelve samples left, half were its own; what is told of the other is a guess.
    assert sorted(path.name for path in place.parent.iterdir()) == ["5-11_sums.npz", "sums.npz"]
    moves = []
    seen = samples_computed(monkeypatch)
    found = split_by_ranges(
        *problem("pushed"), batch_size=CHUNK, checkpoint=place, progress=lambda *done: moves.append(done)
    )
    assert_equal(found)
    assert sum(seen[-2:]) == 7 and moves == [(15, COUNT), (COUNT, COUNT)]


def test_damaged_ranges_are_put_aside_with_a_warning_and_computed_again(place, monkeypatch):
    one_of_two(place, monkeypatch)
    (path,) = place.parent.iterdir()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="0-8_sums.npz is damaged: .*; kept as 0-8_sums.npz.damaged1"):
        found = split_by_ranges(*problem("pushed"), batch_size=CHUNK, checkpoint=place)
    assert_equal(found)


def test_ranges_of_another_computation_are_refused(place, monkeypatch):
    one_of_two(place, monkeypatch)
    outputs, loss, params, x, y = problem("pushed")
    with pytest.raises(checkpoint.OtherComputationError, match="0-8_sums.npz was made with other params"):
        split_by_ranges(outputs, loss, jax.tree.map(lambda leaf: leaf + 1, params), x, y, checkpoint=place)


def test_processes_with_other_samples_are_refused(place, monkeypatch):
    monkeypatch.setattr(ranges, "_gathered", lambda value: [value, None])
    with pytest.raises(ValueError, match="All processes must take the Hessian of the same samples"):
        split_by_ranges(*problem("pushed"), checkpoint=place)


@pytest.mark.parametrize("seed", range(20))
def test_every_sample_is_taken_once(seed):
    rng = np.random.default_rng(seed)
    count, processes, devices = (int(rng.integers(1, most)) for most in (60, 6, 5))
    listed = []
    for _ in range(processes):
        ends = np.sort(rng.integers(0, count + 1, size=(rng.integers(4), 2)), axis=1)
        listed.append([Range(*map(int, one)) for one in ends])
    owners, gaps = cover(listed, count)
    assert all(one in listed[owner] for one, owner in owners.items())
    taken = shares(gaps, processes, devices)
    samples = [sample for one in [*owners, *sum(taken, [])] for sample in range(one.begin, one.end)]
    assert sorted(samples) == list(range(count))
    sizes = [sum(one.end - one.begin for one in own) for own in taken]
    assert max(sizes) - min(sizes) <= 1
    assert all((one.end - one.begin) % devices == 0 or one.end - one.begin < devices for own in taken for one in own)


def test_a_file_of_the_users_in_the_place_of_sums_stays_where_it_is(place):
    np.savez(place, measured=np.arange(3.0))
    with pytest.raises(checkpoint.NoCheckpointError, match=r"but .*sums\.npz is none; use another path"):
        split_by_ranges(*problem("pushed"), batch_size=CHUNK, checkpoint=place)
    assert [path.name for path in place.parent.iterdir()] == ["sums.npz"]
