"""What `solve` takes as a problem beyond models, and how it refuses what cannot be read."""

import itertools

import numpy as np
import pytest

dimod = pytest.importorskip("dimod")

from qjaxsim_dimod import solve  # noqa: E402


def test_fields_as_a_dict_beside_couplings_as_a_matrix():
    rng = np.random.default_rng(0)
    couplings, fields = np.triu(rng.normal(size=(4, 4)), 1), {2: 0.7, 0: -1.3}
    found = solve((fields, couplings), "exact")
    states = np.array(list(itertools.product((-1, 1), repeat=4)))
    energies = np.einsum("ri,ij,rj->r", states, couplings, states) + 0.7 * states[:, 2] - 1.3 * states[:, 0]
    np.testing.assert_allclose(np.sort(found.record.energy), np.sort(energies), atol=1e-12)
    for label in (4, "a"):
        with pytest.raises(
            ValueError, match=f"`h` must name spins 0 to 3 beside a matrix of 4, but names {label!r}; give"
        ):
            solve(({label: 1.0}, couplings), "exact")


def test_tensors_that_numpy_cannot_read_are_refused_in_a_sentence():
    class Tensor:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")

    with pytest.raises(ValueError, match=r"Argument `problem` must be an array that NumPy can read, .* tensor.detach"):
        solve(Tensor(), "exact")


def test_a_sampler_of_one_s_own_without_a_seed_is_said_to_have_none():
    with pytest.raises(
        ValueError, match="`seed` must be left out for sampler 'RandomSampler', which has no such option"
    ):
        solve({(0, 1): 1.0}, dimod.RandomSampler(), seed=1)
