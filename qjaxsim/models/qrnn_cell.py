"""One step of the recurrent network on the workspace alone.

Between two steps the in/out lanes are |0>, and while they hold the input word the neurons of the workspace only read
them. So a step is a linear map of the workspace, one real matrix for each input word, followed by an output stage that
only reads the workspace: an amplitude for each output word and workspace state. States here are real, (2**W, ...) with
the workspace index first, most significant lane first, and samples last.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from qjaxsim.models.qrnn_neuron import activation, mix
from qjaxsim.models.qrnn_topology import Params, QrnnTopology

# Single-precision products stay single on GPUs that would use fewer bits.
_PRECISION = jax.lax.Precision.HIGHEST


class Tables(NamedTuple):
    """What the parameters mean, worked out once for all samples and steps.

    Attributes:
        neurons: (S + 1, W, 2, 2**(W - 1), 2**I) c and s of each workspace neuron by the other workspace lanes and the
            input word.
        rotations: (S, W, 2) cos and sin of half the rotation angles.
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
    angles = topology.bias + jnp.einsum("xp,swp->swx", monomials, numbers, precision=_PRECISION)
    angles = angles.reshape(*numbers.shape[:2], -1, topology.n_words)
    half = params["rotations"] / 2
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
    angles = topology.bias + jnp.einsum("xp,wp->wx", monomials, numbers, precision=_PRECISION)
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

    Factors cancel in every probability, so they are taken out as constants: nothing overflows, derivatives are exact.
    """
    size = 2**topology.workspace
    identity = jnp.eye(size, dtype=tables.output.dtype)
    state = jnp.broadcast_to(identity[:, None, :], (size, topology.n_words, size))
    for stage in range(topology.stages + 1):
        if stage:
            state = _rotate(topology, tables, stage - 1, state)
        for lane in range(topology.workspace):
            c, s = tables.neurons[stage, lane, 0], tables.neurons[stage, lane, 1]
            state = mix(state, lane, c[..., None], s[..., None])
        largest = jnp.abs(state).max(axis=(0, 2), keepdims=True)
        state = state / jax.lax.stop_gradient(largest)
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
    own = jnp.einsum("swcyk,kb->swcyb", tables.neurons, chosen, precision=_PRECISION)
    found = []
    for stage in range(topology.stages + 1):
        if stage:
            state = _rotate(topology, tables, stage - 1, state)
        for lane in range(topology.workspace):
            before = (state**2).sum(axis=0) if success else None
            state = mix(state, lane, own[stage, lane, 0], own[stage, lane, 1])
            if before is not None:
                after = (state**2).sum(axis=0)
                found.append(after / positive(before))
        state = state / scale_of(state)
    return state, jnp.stack(found) if success else None


def _rotate(topology: QrnnTopology, tables: Tables, stage: int, state: jax.Array) -> jax.Array:
    """The rotations in front of a work stage."""
    for lane in range(topology.workspace):
        c, s = (tables.rotations[stage, lane, i].reshape((1,) * state.ndim) for i in (0, 1))
        state = mix(state, lane, c, s)
    return state


def output_success(tables: Tables, state: jax.Array) -> jax.Array:
    """(I, B) probabilities of success of the output stage's neurons, for states (2**W, B)."""
    norms = jnp.einsum("iw,wb->ib", tables.output_norms, state**2, precision=_PRECISION)
    return norms[1:] / positive(norms[:-1])


def word_probabilities(tables: Tables, state: jax.Array) -> jax.Array:
    """(..., 2**I, B) probabilities of the output words for states (..., 2**W, B) of any norm but 0."""
    weights = jnp.einsum("kw,...wb->...kb", tables.output**2, state**2, precision=_PRECISION)
    return weights / positive(weights.sum(axis=-2, keepdims=True))


def scale_of(state: jax.Array) -> jax.Array:
    """(1, B) the largest absolute amplitude as a constant, or 1 for a state of zeros.

    A factor of the state cancels in every probability, so no derivative needs to go through it.
    """
    return jax.lax.stop_gradient(positive(jnp.abs(state).max(axis=0, keepdims=True)))


def positive(values: jax.Array) -> jax.Array:
    """The values, with 1 in place of 0: a divisor that leaves zeros zero."""
    return jnp.where(values > 0, values, jnp.ones_like(values))
