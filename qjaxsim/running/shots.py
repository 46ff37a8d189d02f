"""Expectation values from a finite number of measurements, with parameter-shift rules as their derivatives."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.inspection import has_projection, is_unitary
from qjaxsim.circuits.weighted import Weighted
from qjaxsim.common.precision import HIGHEST
from qjaxsim.planning.measuring import Group, Measured, plan_measurements
from qjaxsim.planning.options import PlanOptions, plan_options
from qjaxsim.planning.shifts import ANGLES, Shifted, shift_rules
from qjaxsim.running.batching import parse_params
from qjaxsim.running.compiled import Compiled
from qjaxsim.running.measurement import combined, marginal_probabilities, rotated, signed_sums
from qjaxsim.running.sampling import draw_outcomes, require_key
from qjaxsim.running.state_functions import Run, check_draw, check_from_zero, state_function
from qjaxsim.running.weighting import expression_values, joined_shapes, weigh


def group_probabilities(groups: tuple[Group, ...], state: jax.Array) -> jax.Array:
    """Probabilities of the outcomes of every group one below the other, (sum of 2**k, columns)."""
    turned = (state if group.rotation is None else rotated(group.rotation, state) for group in groups)
    chances = [marginal_probabilities(group.qubits, each) for each, group in zip(turned, groups, strict=True)]
    return jnp.concatenate(chances) if chances else jnp.zeros((0, state.shape[2]), state.dtype)


def estimated(circuit: Circuit, asked: Weighted, shots: int, options: PlanOptions | None, single: bool) -> Run:
    """Expectation values from measurements, a function of params and a key."""
    if not is_unitary(circuit.operations) and not has_projection(circuit.operations):
        raise ValueError(
            "Argument `shots` needs a circuit of gates alone; with channels, measurements, initial states or readout "
            "errors draw outcomes by `sample`."
        )
    if plan_options(options).state_axes:
        raise ValueError(
            "Option `state_axes` is not for `expectation` with `shots`; draw outcomes by `sample`, or leave it out."
        )
    shapes = joined_shapes(circuit.parameters, asked)
    shifted, measured = shift_rules(circuit), plan_measurements(asked.operators, circuit.n_qubits)
    readout = functools.partial(group_probabilities, measured.groups)
    chances = state_function(shifted.circuit, options, readout, "probabilities")
    parts = chances, shifted, measured, asked, shapes, shots, single
    check = functools.partial(check_draw, shapes, circuit.n_qubits)
    way_out = "draw outcomes by `sample`, which takes it"
    return Compiled(estimates, *parts, check=check_from_zero(check, "`expectation` with `shots`", way_out))


def estimates(
    run: Run, shifted: Shifted, measured: Measured, asked: Weighted, shapes: Mapping[str, Any], shots: int, single: bool
) -> Run:
    """From parameters and a key to estimated expectation values (..., K), or (...) for a single one.

    Args:
        run: from {ANGLES: (..., A)} to `group_probabilities`.
        shifted: the circuit's angles and their rules.
        measured: how the operators are measured.
        asked: how observables are made of operators.
        shapes: of all parameters.
        shots: of each group.
        single: whether the one entry of the last axis is given without it.
    """
    estimator = _estimator(run, measured, shots)
    values = _with_shifts(estimator, shifted) if measured.groups else estimator

    def expectation(params: Mapping[str, Any] | None, key: jax.Array) -> jax.Array:
        require_key(key)
        batch = parse_params(params, shapes, native=False)
        angles = jnp.zeros((*batch.shape, 0), batch.dtype)
        if shifted.angles:
            angles = expression_values(shifted.angles, batch)
            angles = jnp.broadcast_to(angles, (*batch.shape, len(shifted.angles)))
        keys = jax.random.split(key, batch.total)
        found = jax.vmap(values)(angles.reshape(batch.total, -1), keys)
        return weigh(found.reshape(*batch.shape, -1), batch, asked, single)

    return expectation


def _estimator(run: Run, measured: Measured, shots: int) -> Run:
    """From angles (A,) and a key to estimates of the operators (B,)."""
    starts = np.cumsum([0, *(2 ** len(group.qubits) for group in measured.groups)])
    alike: dict[int, list[int]] = {}
    for i, group in enumerate(measured.groups):
        alike.setdefault(len(group.qubits), []).append(i)

    def estimator(angles: jax.Array, key: jax.Array) -> jax.Array:
        constants = jnp.asarray(measured.constants, angles.dtype)
        if not measured.groups:
            return constants
        chances = run({ANGLES: angles} if len(angles) else {}).astype(angles.dtype)
        keys = jax.random.split(key, len(measured.groups))
        shares: dict[int, jax.Array] = {}
        # Groups of as many qubits in one loop: drawing them one by one would be compiled for each.
        for k, members in alike.items():
            stacked = jnp.stack([chances[starts[i] : starts[i] + 2**k] for i in members])
            drawn = jax.lax.map(lambda own: _shares(own[0], own[1], shots), (stacked, keys[np.array(members)]))
            shares |= dict(zip(members, drawn, strict=True))
        parts = [_group_values(group, shares[i]) for i, group in enumerate(measured.groups)]
        return constants + combined(measured.entries, jnp.concatenate(parts)[:, None], len(constants))[:, 0]

    return estimator


def _shares(chances: jax.Array, key: jax.Array, shots: int) -> jax.Array:
    """How many of the shots had each outcome, (2**k,) of all."""
    bits = draw_outcomes(key, chances, shots)
    outcomes = jnp.matmul(bits, jnp.asarray(1 << np.arange(bits.shape[1])[::-1], bits.dtype))
    shares = jnp.bincount(outcomes, length=len(chances)).astype(chances.dtype) / shots
    return jnp.where(bits[0, 0] < 0, jnp.nan, shares)


def _group_values(group: Group, shares: jax.Array) -> jax.Array:
    """Means over the shots of each term of a group, or of a diagonal's values."""
    if group.values is not None:
        return jnp.dot(jnp.asarray(group.values, shares.dtype), shares, precision=HIGHEST)[None]
    return signed_sums(shares[:, None], group.signs, len(group.qubits))[:, 0]


def _with_shifts(estimator: Run, shifted: Shifted) -> Run:
    """The estimator with the shift rule, and fresh shots for each shifted run, as its derivative in the angles."""

    @jax.custom_jvp
    def values(angles: jax.Array, key: jax.Array) -> jax.Array:
        return estimator(angles, jax.random.split(key)[0])

    @values.defjvp
    def rule(primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, Any]) -> tuple[jax.Array, jax.Array]:
        (angles, key), (direction, _) = primals, tangents
        here = values(angles, key)
        if not len(shifted.shifts):
            return here, jnp.zeros_like(here)
        keys = jax.random.split(jax.random.split(key)[1], len(shifted.shifts))
        moved = jax.vmap(values)(angles[None] + jnp.asarray(shifted.shifts, angles.dtype), keys)
        slopes = jnp.matmul(jnp.asarray(shifted.weights, angles.dtype), moved, precision=HIGHEST)
        return here, jnp.matmul(direction, slopes, precision=HIGHEST)

    return values
