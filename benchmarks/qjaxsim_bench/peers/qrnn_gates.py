"""The recurrent quantum network written gate by gate in plain JAX, as its author wrote it in PyTorch.

All lanes are in the state, input words are bit flips, every neuron and rotation is one operation on all amplitudes, the
state is normalised after each neuron, and words are projected on. Samples by vmap, steps as a scan, the cell unrolled,
all jitted; the neurons' angles are worked out once an update. Only the layout of parameters is shared with the engine.
"""

import itertools
import math
from typing import Any

import numpy as np

from qjaxsim_bench.peers.base import Work, qrnn_update
from qjaxsim_bench.tasks import Task


def prepare(task: Task, real: Any) -> Work:
    """One update, by this version."""
    return qrnn_update(task, real, lambda params, x, y: _probabilities(task.extra, params, x, y))


def _table(n_sources: int, degree: int) -> np.ndarray:
    """(2**n, numbers) of 0 and 1: whether all sources of a subset are 1."""
    columns = []
    bits = np.array(list(itertools.product((0, 1), repeat=n_sources)))
    for size in range(degree + 1):
        for subset in itertools.combinations(range(n_sources), size):
            columns.append(bits[:, list(subset)].prod(axis=1))
    return np.stack(columns, axis=1).astype(float)


def _probabilities(extra: dict[str, int], params: dict[str, Any], inputs: Any, targets: Any) -> Any:
    """(B, T, 2**I) distributions, projecting on the targets."""
    import jax
    import jax.numpy as jnp

    width, lanes = extra["width"], extra["width"] + extra["workspace"]
    cell, ports = list(range(width, lanes)), list(range(width))
    real = params["input"].dtype
    table = jnp.asarray(_table(lanes - 1, extra["degree"]), real)

    def factors(lane: int, numbers: Any) -> tuple[Any, Any]:
        """c and s on the lanes without the target, in their order."""
        half = (math.pi / 2 + table @ numbers).reshape((2,) * (lanes - 1)) / 2
        sources = [i for i in cell + ports if i != lane]
        order = [sources.index(i) for i in range(lanes) if i != lane]
        power = 2 ** extra["order"]
        return jnp.cos(half).transpose(order) ** power, jnp.sin(half).transpose(order) ** power

    def turn(state: Any, lane: int, c: Any, s: Any) -> Any:
        zero, one = jnp.take(state, 0, axis=lane), jnp.take(state, 1, axis=lane)
        return jnp.stack([c * zero - s * one, s * zero + c * one], axis=lane)

    stages = [[factors(lane, own) for lane, own in zip(cell, part, strict=True)]
              for part in (params["input"], *params["work"])]  # fmt: skip
    outputs = [factors(lane, own) for lane, own in zip(ports, params["output"], strict=True)]
    angles = params["rotations"] / 2

    def neurons(state: Any, on: list[int], tables: Any) -> Any:
        for lane, (c, s) in zip(on, tables, strict=True):
            state = turn(state, lane, c, s)
            state = state / jnp.linalg.norm(state.reshape(-1))
        return state

    def flip(state: Any, word: Any) -> Any:
        for lane in ports:
            bit = (word >> (width - 1 - lane)) & 1
            state = jnp.where(bit == 1, jnp.flip(state, lane), state)
        return state

    def step(state: Any, words: Any) -> Any:
        word, target = words
        state = neurons(flip(state, word), cell, stages[0])
        for stage, tables in enumerate(stages[1:]):
            for place, lane in enumerate(cell):
                state = turn(state, lane, jnp.cos(angles[stage, place]), jnp.sin(angles[stage, place]))
            state = neurons(state, cell, tables)
        rows = neurons(flip(state, word), ports, outputs).reshape(2**width, -1)
        kept = jnp.zeros_like(rows).at[0].set(rows[target])
        return (kept / jnp.linalg.norm(kept)).reshape(state.shape), (rows**2).sum(axis=1)

    def sequence(words: Any, wanted: Any) -> Any:
        start = jnp.zeros((2,) * lanes, real).at[(0,) * lanes].set(1)
        return jax.lax.scan(step, start, (words, wanted))[1]

    return jax.vmap(sequence)(inputs, targets)
