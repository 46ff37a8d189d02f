"""Chunks: how much curvature does at once by default, which depends on where it computes, and where a chunk begins."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


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


class Window(NamedTuple):
    """One chunk of a sequence.

    Attributes:
        start: where it begins.
        index: (size,) its places in the sequence.
        fresh: (size,) bool, which of them no chunk before had.
    """

    start: Any
    index: Any
    fresh: Any


def window(begin: Any, size: int, count: int, numpy: Any = jnp) -> Window:
    """The chunk that brings what comes from `begin` on.

    The last chunk slides back to keep its length, so that one compiled program serves all and nothing is padded; what
    it repeats must not count twice.

    Args:
        begin: a multiple of `size` below `count`, which may be traced.
        size: length of every chunk, at most `count`.
        count: length of the sequence.
        numpy: `jax.numpy`, or `numpy` where the start has to be known.
    """
    start = numpy.minimum(begin, count - size)
    index = start + numpy.arange(size)
    return Window(start, index, index >= begin)


def evenly(size: int, count: int) -> np.ndarray:
    """`size` different places of `count`, spread evenly from the first to the last.

    >>> evenly(3, 17)
    array([ 0,  8, 16])
    """
    return np.linspace(0, count - 1, size).round().astype(int)


# Small enough that the tangents stay in cache (measured on an 8-qubit circuit of the patches model: 64 samples x 8
# directions take 0.4 of the time of 256 x 32).
_CPU = AtOnce(samples=64, directions=8, numbers=2**25)
# Large enough that a kernel lasts longer than its launch: every layer of a circuit is a few launches a chunk.
_ACCELERATOR = AtOnce(samples=256, directions=64, numbers=2**30)


def at_once() -> AtOnce:
    """The sizes for JAX's default device."""
    return _CPU if jax.default_backend() == "cpu" else _ACCELERATOR
