"""How much curvature does at once by default, which depends on where it computes."""

from typing import NamedTuple

import jax


class AtOnce(NamedTuple):
    """Default sizes of chunks.

    Attributes:
        samples: samples whose Jacobians are held together.
        directions: parameter directions pushed through samples or through matrices together.
        numbers: at most so many numbers of the Jacobian, or of tangents of states, in a chunk of samples.
    """

    samples: int
    directions: int
    numbers: int


# Small enough that the tangents stay in cache (measured on an 8-qubit circuit of the patches model: 64 samples x 8
# directions take 0.4 of the time of 256 x 32).
_CPU = AtOnce(samples=64, directions=8, numbers=2**25)
# Large enough that a kernel lasts longer than its launch: every layer of a circuit is a few launches a chunk.
_ACCELERATOR = AtOnce(samples=256, directions=64, numbers=2**30)


def at_once() -> AtOnce:
    """The sizes for JAX's default device."""
    return _CPU if jax.default_backend() == "cpu" else _ACCELERATOR
