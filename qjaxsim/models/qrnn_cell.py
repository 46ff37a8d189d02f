"""One step of the recurrent network on the workspace alone.

Between two steps the in/out lanes are |0>, and while they hold the input word the neurons of the workspace only read
them. So a step is a linear map of the workspace, one real matrix for each input word, followed by an output stage that
only reads the workspace: an amplitude for each output word and workspace state. States here are real, (2**W, ...) with
the workspace index first, most significant lane first, and samples last.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from qjaxsim.common.precision import HIGHEST
from qjaxsim.models.qrnn_neuron import activation, mix
from qjaxsim.models.qrnn_topology import Params, QrnnTopology

# Single-precision products stay single on GPUs that would use fewer bits.
# Lanes that are combined into one matrix at most.
_GROUP = 5


class Tables(NamedTuple):
    """What the parameters mean, worked out once for all samples and steps.

    Attributes:
        neurons: (S + 1, W, 2, 2**(W - 1), 2**I) c and s of each workspace neuron by the other workspace lanes and the
            input word.
        rotations: (S + 1, W, 2) cos and sin of half the rotation angles before each stage; angles 0 before the first.
        output: (2**I, 2**W) amplitude of each output word for each workspace state.
        output_norms: (I + 1, 2**W) squared norm over output words before the output stage and after each neuron of it.
    """

    neurons: jax.Array
    rotations: jax.Array
    output: jax.Array
    output_norms: jax.Array


def cell_tables(topology: QrnnTopology, params: Params) -> Tables:
    """The tables of named parameters. Cost: one product of `topology.monomials` with all neurons' numbers."""
    monomials = jnp.asarray(topology.monomials, params["input"].dtype)
    numbers = jnp.concatenate([params["input"][None], params["work"]])
    angles = topology.bias + jnp.einsum("xp,swp->swx", monomials, numbers, precision=HIGHEST)
    angles = angles.reshape(*numbers.shape[:2], -1, topology.n_words)
    half = jnp.concatenate([jnp.zeros_like(params["input"][None, :, 0]), params["rotations"] / 2])
    output, norms = _output_stage(topology, monomials, params["output"])
    return Tables(
        neurons=jnp.stack(activation(angles, topology.order), axis=2),
        rotations=jnp.stack([jnp.cos(half), jnp.sin(half)], axis=-1),
        output=output,
        output_norms=norms,
    )


def _output_stage(topology: QrnnTopology, monomials: jax.Array, numbers: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Amplitudes of the words and the norms on the way."""
    size, width = 2**topology.workspace, topology.width
    angles = topology.bias + jnp.einsum("xp,wp->wx", monomials, numbers, precision=HIGHEST)
    # Sources are the workspace, then the other in/out lanes: bring the latter to the front, where the words are.
    c, s = activation(angles.reshape(width, size, 2 ** (width - 1)).transpose(0, 2, 1), topology.order)
    state = jnp.zeros((topology.n_words, size), numbers.dtype).at[0].set(1)
    norms = [jnp.ones(size, numbers.dtype)]
    for lane in range(width):
        state = mix(state, lane, c[lane], s[lane])
        norms.append((state**2).sum(axis=0))
    return state, jnp.stack(norms)


def step_matrices(topology: QrnnTopology, tables: Tables) -> jax.Array:
    """(2**W, 2**I, 2**W): entry [row, word, column] of the workspace's map for each input word, up to a factor.

    The neurons of a group of lanes make a small matrix for each setting of the other lanes; those of all stages are
    made at once, then multiplied. Factors cancel in every probability, so they are taken out as constants: nothing
    overflows, derivatives are exact.
    """
    size, stages = 2**topology.workspace, topology.stages + 1
    identity = jnp.eye(size, dtype=tables.output.dtype)
    state = jnp.broadcast_to(identity[:, None, :], (size, topology.n_words, size))
    groups = _groups(topology.workspace)
    blocks = [_blocks(topology, tables, group) for group in groups]
    for stage in range(stages):
        if stage:
            state = _rotate(tables.rotations[stage], state)
        for (first, lanes), block in zip(groups, blocks, strict=True):
            parts = state.reshape(2**first, 2**lanes, -1, topology.n_words, size)
            state = jnp.einsum("rbakc,bcakn->brakn", block[:, stage], parts, precision=HIGHEST)
        state = state.reshape(size, topology.n_words, size)
        state = state / jax.lax.stop_gradient(jnp.abs(state).max(axis=(0, 2), keepdims=True))
    return state


def _groups(lanes: int) -> list[tuple[int, int]]:
    """First lane and number of lanes of each group, as equal as can be."""
    count = -(-lanes // _GROUP)
    edges = [lanes * i // count for i in range(count + 1)]
    return [(low, high - low) for low, high in zip(edges[:-1], edges[1:], strict=True)]


def _blocks(topology: QrnnTopology, tables: Tables, group: tuple[int, int]) -> jax.Array:
    """(2**g, S + 1, before, after, 2**I, 2**g): a group's matrices by the lanes before and after it and the word."""
    first, lanes = group
    size, before = 2**lanes, 2**first
    after = 2 ** (topology.workspace - first - lanes)
    tail = (topology.stages + 1, before, after, topology.n_words)
    identity = jnp.eye(size, dtype=tables.output.dtype).reshape(size, 1, 1, 1, 1, size)
    state = jnp.broadcast_to(identity, (size, *tail, size))
    for lane in range(lanes):
        own = tables.neurons[:, first + lane].reshape(tail[0], 2, before, size // 2, after, tail[3])
        own = own.transpose(1, 3, 0, 2, 4, 5)[..., None]
        state = mix(state, lane, own[0], own[1])
    return state


def step_states(
    topology: QrnnTopology, tables: Tables, state: jax.Array, chosen: jax.Array, *, success: bool
) -> tuple[jax.Array, jax.Array | None]:
    """The workspace after input and work stages, neuron by neuron.

    Args:
        topology: sizes.
        tables: see `cell_tables`.
        state: (2**W, B).
        chosen: (2**I, B), 1 at each sample's input word and 0 elsewhere.
        success: whether to give the probabilities of success too.

    Returns:
        State (2**W, B) up to a positive factor for each sample, and None or the (W (S + 1), B) probabilities.
    """
    own = jnp.einsum("swcyk,kb->swcyb", tables.neurons, chosen, precision=HIGHEST)

    def stage(state: jax.Array, xs: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array | None]:
        neurons, rotations = xs
        state = _rotate(rotations, state)
        found = []
        for lane in range(topology.workspace):
            after = mix(state, lane, neurons[lane, 0], neurons[lane, 1])
            if success:
                found.append((after**2).sum(axis=0) / positive((state**2).sum(axis=0)))
            state = after
        return state / scale_of(state), jnp.stack(found) if success else None

    state, found = jax.lax.scan(stage, state, (own, tables.rotations))
    return state, None if found is None else found.reshape(-1, state.shape[1])


def _rotate(rotations: jax.Array, state: jax.Array) -> jax.Array:
    """Rotations (W, 2), cos and sin of every lane, as one small matrix for each group of lanes."""
    turns = jnp.stack([rotations, jnp.stack([-rotations[:, 1], rotations[:, 0]], axis=1)], axis=2)
    parts = state
    for first, lanes in _groups(len(rotations)):
        matrix = functools.reduce(jnp.kron, list(turns[first : first + lanes]))
        parts = parts.reshape(2**first, 2**lanes, -1)
        parts = jnp.einsum("rc,bcn->brn", matrix, parts, precision=HIGHEST)
    return parts.reshape(state.shape)


def output_success(tables: Tables, state: jax.Array) -> jax.Array:
    """(I, B) probabilities of success of the output stage's neurons, for states (2**W, B)."""
    norms = jnp.einsum("iw,wb->ib", tables.output_norms, state**2, precision=HIGHEST)
    return norms[1:] / positive(norms[:-1])


def word_probabilities(tables: Tables, state: jax.Array) -> jax.Array:
    """(..., 2**I, B) probabilities of the output words for states (..., 2**W, B) of any norm but 0."""
    weights = jnp.einsum("kw,...wb->...kb", tables.output**2, state**2, precision=HIGHEST)
    return weights / positive(weights.sum(axis=-2, keepdims=True))


def scale_of(state: jax.Array) -> jax.Array:
    """(1, B) the largest absolute amplitude as a constant, or 1 for a state of zeros.

    A factor of the state cancels in every probability, so no derivative needs to go through it.
    """
    return jax.lax.stop_gradient(positive(jnp.abs(state).max(axis=0, keepdims=True)))


def positive(values: jax.Array) -> jax.Array:
    """The values, with 1 in place of 0: a divisor that leaves zeros zero."""
    return jnp.where(values > 0, values, jnp.ones_like(values))
