"""Noise by trajectories: pure states, each with one matrix of every channel drawn at random.

A channel is the sum over m of w_m M_m rho M_m+. A matrix M_m is drawn with a probability q_m that does not depend on
the state, and applied, and the value <psi|O|psi> multiplied by w_m / q_m. Then its mean over draws is tr(O rho); and so
are its derivatives of any order, also in strengths, as long as q is held fixed and is not zero where a weight changes.
States need not have norm 1. For mixtures of unitary matrices q is their probability and they do; for others
q_m = w_m tr(M_m+ M_m) / d, whose weights spread with every channel that is far from such a mixture.
"""

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.circuits.circuit import Circuit, require_circuit
from qjaxsim.circuits.expressions import Expression, Parameter
from qjaxsim.circuits.gates import complex_dtype
from qjaxsim.circuits.inspection import has_projection, is_static, used_parameters
from qjaxsim.circuits.observables import Observable, checked_observables, is_single
from qjaxsim.circuits.operations import Channel, Kraus
from qjaxsim.circuits.weighted import weighted
from qjaxsim.common.checks import positive_integer
from qjaxsim.common.memory import require_memory
from qjaxsim.common.precision import HIGHEST
from qjaxsim.planning.layers import written_out
from qjaxsim.planning.options import PlanOptions
from qjaxsim.running.batching import parse_params
from qjaxsim.running.compiled import Compiled
from qjaxsim.running.sampling import require_key
from qjaxsim.running.simulate import expectation
from qjaxsim.running.state_functions import Params, Run, check_draw, check_from_zero
from qjaxsim.running.strengths import check_strengths
from qjaxsim.running.weighting import joined_shapes

# A drawn matrix is a parameter of the program, entry by entry.
WIDEST_CHANNEL = 3
# Where strengths are parameters, the matrices of all channels that have next to no weight get this share of the draws,
# so that the derivative of their weight is met.
SHARE_OF_RARE = 0.05


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
    checked = list(checked_observables(observables, circuit.n_qubits))
    asked = weighted(checked)
    shapes = joined_shapes(circuit.parameters, asked)
    values = expectation(drawn, checked[0] if is_single(observables) else checked, options=options)
    count = positive_integer("count", count)
    given = frozenset(joined_shapes(drawn.parameters, asked).keys() & shapes.keys())
    of_draws = functools.partial(check_draw, shapes, circuit.n_qubits)
    check = check_from_zero(of_draws, "`trajectories`", "begin the circuit by `initialize`")
    return Compiled(_trajectories, values, channels, shapes, given, count, check=check, before=check_strengths(circuit))


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
    values: Run, channels: tuple[_Drawn, ...], shapes: Mapping[str, Any], given: frozenset[str], count: int
) -> Run:
    def trajectories(params: Params | None, key: jax.Array) -> jax.Array:
        require_key(key)
        batch = parse_params(params, shapes)
        lookup = functools.partial(_entry, batch.values, len(batch.shape))
        require_memory(
            count * math.prod(batch.shape) * np.dtype(batch.dtype).itemsize,
            f"Following {count} trajectories",
            "ask for fewer, with several keys in turn",
        )
        keys = jax.random.split(key, max(len(channels), 1))
        total = jnp.ones((count, *batch.shape), batch.dtype)
        matrices = {}
        for channel, own in zip(channels, keys, strict=False):
            branches = _branches(channel.operation, lookup, batch.dtype)
            least = SHARE_OF_RARE / len(channels) if used_parameters(channel.operation) else 0.0
            matrices[channel.name], weight = _choose(*branches, least, total.shape, own)
            total = total * weight
        out = values({name: batch.values[name] for name in given} | matrices)
        out = out if channels else jnp.broadcast_to(out, (count, *out.shape))
        return out * total.reshape(*total.shape, *(1,) * (out.ndim - total.ndim))

    return trajectories


def _entry(values: Mapping[str, jax.Array], rank: int, name: str, index: int) -> jax.Array:
    """An entry of a parameter, its batch axes kept."""
    value = values[name]
    return value.reshape(*value.shape[:rank], -1)[..., index]


def _branches(operation: Channel | Kraus, lookup: Lookup, dtype: Any) -> tuple[jax.Array, jax.Array]:
    """Weights (..., m) and matrices (..., m, d, d) of a channel."""
    if isinstance(operation, Kraus):
        matrices = jnp.asarray(operation.matrices, complex_dtype(dtype))
        return jnp.ones(len(matrices), dtype), matrices
    strengths = [_strength(angle, lookup, dtype) for angle in operation.angles]
    together = np.broadcast_shapes(*(strength.shape for strength in strengths))
    weights, matrices = operation.spec.branches(jnp, *(jnp.broadcast_to(strength, together) for strength in strengths))
    return jnp.moveaxis(weights, 0, -1), jnp.moveaxis(matrices, (0, 1, 2), (-3, -2, -1))


def _choose(
    weights: jax.Array, matrices: jax.Array, least: float, shape: tuple[int, ...], key: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Matrices drawn, (*shape, 2, d, d), and their weights over their probabilities, (*shape).

    Args:
        weights: (..., m).
        matrices: (..., m, d, d).
        least: a matrix is drawn with a probability of about this over m, or more.
        shape: of what is drawn.
        key: random key.
    """
    n_branches, size = matrices.shape[-3:-1]
    chances = jax.lax.stop_gradient(weights * (jnp.abs(matrices) ** 2).sum(axis=(-2, -1)) / size)
    chances = jnp.maximum(chances, least / n_branches)
    chances = chances / chances.sum(axis=-1, keepdims=True)
    # Where nothing may be drawn the probability must not make what is not taken infinite.
    safe = jnp.where(chances > 0, chances, 1)
    chosen = jax.random.categorical(key, jnp.where(chances > 0, jnp.log(safe), -jnp.inf), axis=-1, shape=shape)
    picked = jax.nn.one_hot(chosen, n_branches, dtype=weights.dtype)
    matrix = jnp.einsum("...m,...mab->...ab", picked.astype(matrices.dtype), matrices, precision=HIGHEST)
    factors = jnp.einsum("...m,...m->...", picked, weights / safe, precision=HIGHEST)
    return jnp.stack([matrix.real, matrix.imag], axis=-3), factors


def _strength(angle: Any, lookup: Lookup, dtype: Any) -> jax.Array:
    if isinstance(angle, Expression):
        return jnp.asarray(angle.evaluate(lookup, jnp), dtype)
    return jnp.asarray(np.float64(angle), dtype)
