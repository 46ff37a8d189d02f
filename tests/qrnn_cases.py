"""A recurrent network and parameters of it that several test files share."""

import jax.numpy as jnp
import numpy as np

from qjaxsim.models.qrnn_topology import QrnnTopology

SMALL = QrnnTopology(width=2, workspace=3, stages=2, degree=2)


def large_params(topology, key, dtype=jnp.float64):
    """Parameters far from the start, so that nothing is symmetric."""
    return topology.init(key, dtype, bias_spread=0.7, weight_spread=0.6, rotation_spread=0.9)


def random_words(topology, shape, seed=0):
    return np.random.default_rng(seed).integers(0, topology.n_words, shape)
