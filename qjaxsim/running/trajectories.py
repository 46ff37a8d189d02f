"""Noise by trajectories: pure states, each with one Kraus matrix of every channel drawn at random.

A matrix K_m is drawn with a probability q_m that does not depend on the state, and K_m / sqrt(q_m) applied. Then the
mean of <psi|O|psi> over draws is tr(O rho), as the sum over m of q_m (K_m / sqrt(q_m)) rho (K_m / sqrt(q_m))+ is the
channel; and so are its derivatives of any order, also in strengths, as long as q is held fixed. States need not have
norm 1. For mixtures of unitary matrices q is their probability and they do; for others q_m = tr(K_m+ K_m) / d, whose
weights spread with every channel that is far from such a mixture.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.circuits.circuit import Circuit, require_circuit
from qjaxsim.circuits.expressions import Expression, Parameter
from qjaxsim.circuits.gates import complex_dtype
from qjaxsim.circuits.inspection import has_projection, is_static
from qjaxsim.circuits.observables import Observable
from qjaxsim.circuits.operations import Channel, Kraus
from qjaxsim.common.checks import positive_integer
from qjaxsim.common.precision import HIGHEST
from qjaxsim.planning.layers import written_out
from qjaxsim.planning.options import PlanOptions
from qjaxsim.running.batching import parse_params
from qjaxsim.running.compiled import Compiled
from qjaxsim.running.sampling import require_key
from qjaxsim.running.simulate import expectation
from qjaxsim.running.state_functions import Params, Run

# A drawn matrix is a parameter of the program, entry by entry.
WIDEST_CHANNEL = 3


def trajectories(
    circuit: Circuit,
    observables: Observable | Iterable[Observable],
    count: int,
    *,
    options: PlanOptions | None = None,
) -> Run:
    """A function giving the values of single trajectories, whose mean is the expectation value under noise.

    For registers whose density matrices do not fit: the cost is that of `count` states.

    Args:
        circuit: gates and channels of up to three qubits; a snapshot is taken.
        observables: as of `expectation`.
        count: how many trajectories.
        options: forced choices of the planner.

    Returns:
        `f(params, key) -> (count, ..., n_observables)` real, or (count, ...) for a single observable. The mean over
        the first axis is without bias, its standard error the spread over the root of `count`; derivatives of the mean
        are without bias, too, of any order, in angles and in strengths.

    Raises:
        ValueError: for projections, measurements and resets, and channels of more qubits.

    >>> import qjaxsim as qj
    >>> noisy = qj.Circuit(2).h(0).cx(0, 1).depolarizing(0.2, [0, 1])
    >>> values = trajectories(noisy, qj.Z(0) @ qj.Z(1), 2000)({}, jax.random.key(0))
    >>> values.shape, bool(abs(values.mean() - 0.8**2) < 0.05)
    ((2000,), True)
    """
    require_circuit("circuit", circuit)
    if has_projection(circuit.operations) or not is_static(circuit.operations):
        raise ValueError(
            "A circuit with projections, measurements or resets has no trajectories here; use `expectation`, which "
            "follows every outcome."
        )
    drawn, channels = _drawn(circuit)
    values = expectation(drawn, observables, options=options)
    count = positive_integer("count", count)
    strengths = frozenset(circuit.parameters.keys() - drawn.parameters.keys())
    return Compiled(_trajectories, values, channels, circuit.parameters, strengths, count)


Lookup = Callable[[str, int], jax.Array]


class _Drawn(NamedTuple):
    """A channel that is drawn from.

    Attributes:
        name: of the parameter that takes its place.
        operation: the channel.
    """

    name: str
    operation: Channel | Kraus


def _drawn(circuit: Circuit) -> tuple[Circuit, tuple[_Drawn, ...]]:
    """The circuit with a matrix that is a parameter in the place of each channel."""
    out, channels = Circuit(circuit.n_qubits), list[_Drawn]()
    for operation in written_out(circuit.operations):
        if not isinstance(operation, Channel | Kraus):
            out.extend([operation])
            continue
        width = len(operation.qubits)
        if width > WIDEST_CHANNEL:
            raise ValueError(
                f"Trajectories take channels of up to {WIDEST_CHANNEL} qubits, but one acts on {operation.qubits}."
            )
        channels.append(_Drawn(f"channel {len(channels)}", operation))
        out.unitary(Parameter(channels[-1].name, (2, 2**width, 2**width)), operation.qubits)
    return out, tuple(channels)


def _trajectories(
    values: Run, channels: tuple[_Drawn, ...], shapes: Mapping[str, Any], strengths: frozenset[str], count: int
) -> Run:
    def trajectories(params: Params | None, key: jax.Array) -> jax.Array:
        require_key(key)
        batch = parse_params({name: (params or {})[name] for name in shapes if name in (params or {})}, shapes)
        lookup = functools.partial(_entry, batch.values, len(batch.shape))
        keys = jax.random.split(key, max(len(channels), 1))
        matrices = {
            channel.name: _choose(channel.operation, lookup, batch.dtype, (count, *batch.shape), own)
            for channel, own in zip(channels, keys, strict=False)
        }
        given = {name: value for name, value in (params or {}).items() if name not in strengths}
        out = values({**given, **matrices})
        return out if channels else jnp.broadcast_to(out, (count, *out.shape))

    return trajectories


def _entry(values: Mapping[str, jax.Array], rank: int, name: str, index: int) -> jax.Array:
    """An entry of a parameter, its batch axes kept."""
    value = values[name]
    return value.reshape(*value.shape[:rank], -1)[..., index]


def _choose(
    operation: Channel | Kraus,
    lookup: Callable[[str, int], jax.Array],
    dtype: Any,
    shape: tuple[int, ...],
    key: jax.Array,
) -> jax.Array:
    """Matrices drawn, over the root of their probabilities, (*shape, 2, d, d)."""
    if isinstance(operation, Kraus):
        kraus = jnp.asarray(operation.matrices, complex_dtype(dtype))
    else:
        strengths = [_strength(angle, lookup, dtype) for angle in operation.angles]
        together = np.broadcast_shapes(*(strength.shape for strength in strengths))
        kraus = operation.spec.kraus(jnp, *(jnp.broadcast_to(strength, together) for strength in strengths))
    kraus = jnp.moveaxis(kraus, (0, 1, 2), (-3, -2, -1))
    size = kraus.shape[-1]
    chances = jax.lax.stop_gradient((jnp.abs(kraus) ** 2).sum(axis=(-2, -1)) / size)
    # A matrix that is zero is never drawn; its probability must not make what is not taken infinite.
    logits = jnp.where(chances > 0, jnp.log(jnp.where(chances > 0, chances, 1)), -jnp.inf)
    chosen = jax.random.categorical(key, logits, axis=-1, shape=shape)
    picked = jax.nn.one_hot(chosen, kraus.shape[-3], dtype=dtype)
    roots = jnp.broadcast_to(jnp.sqrt(jnp.where(chances > 0, chances, 1)), picked.shape)
    weights = (picked / roots).astype(kraus.dtype)
    matrix = jnp.einsum("...m,...mab->...ab", weights, kraus, precision=HIGHEST)
    return jnp.stack([matrix.real, matrix.imag], axis=-3)


def _strength(angle: Any, lookup: Lookup, dtype: Any) -> jax.Array:
    if isinstance(angle, Expression):
        return jnp.asarray(angle.evaluate(lookup, jnp), dtype)
    return jnp.asarray(np.float64(angle), dtype)
