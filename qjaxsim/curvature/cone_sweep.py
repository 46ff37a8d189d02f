"""The split H = G + R of a circuit whose data come first, from what each observable sees; `hessian.md` derives it.

A sample enters through its density matrix on the qubits of each light cone, of which outputs and Jacobian are linear
functions; the samples' sum in the residual part is one such matrix for each observable, whatever their number.

All arithmetic is real, so that programs stay small and most of them is matrix products. Hermitian matrices are packed:
real plus imaginary part, (M, M) numbers whose inner product is that of the matrices, since the one part is symmetric
and the other antisymmetric. Columns of states are stacked, real above imaginary part, (2 M, columns).
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from qjaxsim.common.precision import HIGHEST
from qjaxsim.curvature.circuit_outputs import CircuitOutputs
from qjaxsim.curvature.hvp import symmetrised
from qjaxsim.curvature.light_cones import Tables
from qjaxsim.curvature.objective import Loss, gauss_newton_block, loss_derivatives
from qjaxsim.running.varying import vary_alike

_sum = functools.partial(jnp.einsum, precision=HIGHEST)


class Found(NamedTuple):
    """What derivatives need of the weights alone, for C cones of G rotations and k observables, M = 2**qubits.

    Attributes:
        generators: (C, G, M, 2 M), real part beside imaginary part of the anti-Hermitian K = dU^dagger U of each angle.
        linear: (C, M, M, k, 1 + G) packed, what gives an output and its derivatives from a packed density matrix.
    """

    generators: jax.Array
    linear: jax.Array


class Sums(NamedTuple):
    """What samples add up to.

    Attributes:
        operators: (C, k, M, M) packed, sum of slope times density matrix for each observable.
        gauss_newton: (P, P).
    """

    operators: jax.Array
    gauss_newton: jax.Array


def begin(tables: Tables, theta: jax.Array) -> tuple[Found, Sums]:
    """What depends on the weights alone, and the sums of no samples.

    Cost: C G (k + 2) complex products of M x M matrices.
    """
    generators, observables, sums = generators_at(tables, theta)
    # As U^dagger O U is differentiated: to [K, U^dagger O U].
    return Found(generators, _last(commutators(generators, observables))), sums


@jax.jit
def generators_at(tables: Tables, theta: jax.Array) -> tuple[jax.Array, jax.Array, Sums]:
    """The generator of every angle, (C, G, M, 2 M), and U^dagger O U of every observable, packed (C, k, M, M).

    With u the columns before a rotation about P, its generator is i/2 u^dagger P u.
    """
    dtype = theta.dtype
    constants, sign, observables = (jnp.asarray(t, dtype) for t in (tables.constants, tables.sign, tables.observables))
    angles = _sum("cgp,p->gc", tables.fold[:, 1:, 1:].astype(dtype), theta) + tables.offset.astype(dtype)
    cones, members, size, _ = observables.shape
    each = jnp.arange(cones)

    def step(u: jax.Array, now: Any) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        before, source, sign, cos, sin = now
        u = jnp.matmul(constants[each, before], u, precision=HIGHEST)
        turned = sign[:, :, None] * jnp.take_along_axis(u, source[:, :, None], 1, mode="promise_in_bounds")  # -i P u
        return cos[:, None, None] * u + sin[:, None, None] * turned, (u, turned)

    start = jnp.broadcast_to(jnp.eye(size, size // 2, dtype=dtype), (cones, size, size // 2))
    in_time = (tables.before, tables.source, sign, jnp.cos(angles / 2), jnp.sin(angles / 2))
    last, (u, turned) = jax.lax.scan(step, vary_alike(start, in_time), in_time)
    generators = _sum("gcri,gcrj->cgij", u, jnp.concatenate([turned, _over_i(turned)], axis=3) / -2)
    seen = jnp.matmul(observables, last[:, None], precision=HIGHEST)
    sums = Sums(jnp.zeros((cones, members, size // 2, size // 2), dtype), jnp.zeros((theta.size, theta.size), dtype))
    return generators, _sum("cri,ckrj->ckij", last, seen + _over_i(seen)), sums


@jax.jit
def _last(matrices: jax.Array) -> jax.Array:
    """Matrices (C, k, 1 + G, M, M) in the order (C, M, M, k, 1 + G), in which they are multiplied from the right."""
    return jnp.transpose(matrices, (0, 3, 4, 1, 2))


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=4)
def add_samples(
    model: CircuitOutputs, loss: Loss, tables: Tables, linear: jax.Array, sums: Sums, x: Any, y: Any, weights: jax.Array
) -> Sums:
    """The sums with one chunk of B samples, whose losses are weighted.

    Cost for each sample: C (1 + k + k G) M^2 multiply-adds, and C 2 d M for its density matrices.
    """
    dtype = linear.dtype
    states = jnp.broadcast_to(model.encoded(x), (len(weights), tables.rows.shape[1]))
    density = densities(tables, states, dtype)
    values = _sum("cbij,cijkg->cbkg", density, linear)
    by_cone = _sum("cbkg,cgp->cbkp", values, tables.fold.astype(dtype))
    every = model.scale * jnp.swapaxes(by_cone[tables.cone, :, tables.slot], 0, 1)
    # The loss sees the precision that weights and data have together, as in every other model.
    slope, curvature = loss_derivatives(loss, every[:, :, 0].astype(weights.dtype), y, weights)
    operators = weighted(tables, density, model.scale * slope)
    return Sums(
        sums.operators + operators,
        sums.gauss_newton + gauss_newton_block(every[:, :, 1:], curvature.astype(dtype)),
    )


def densities(tables: Tables, states: jax.Array, dtype: Any) -> jax.Array:
    """Packed density matrices of states (B, d) on the qubits of every cone, (C, B, M, M)."""
    cones, _, size, _ = tables.observables.shape
    parts = states[:, tables.rows].reshape(len(states), cones, size // 2, -1)
    re, im = parts.real.astype(dtype), parts.imag.astype(dtype)
    # Real part re re^T + im im^T, imaginary part im re^T - re im^T.
    left, right = jnp.concatenate([re, im], axis=3), jnp.concatenate([re - im, re + im], axis=3)
    return _sum("bcix,bcjx->cbij", left, right)


def weighted(tables: Tables, density: jax.Array, weights: jax.Array) -> jax.Array:
    """Operators (C, k, M, M) that density matrices add up to with weights (B, K)."""
    dtype = density.dtype
    by_cone = _sum("bo,cko->cbk", weights.astype(dtype), tables.select.astype(dtype))
    return _sum("cbk,cbij->ckij", by_cone, density)


def finish(tables: Tables, found: Found, sums: Sums) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """H, G and R, each (P, P) and symmetric, and the gradient (P,); no sample enters any more.

    Cost: C G k complex products of M x M matrices.
    """
    return _assembled(tables, found.linear, sums, commutators(found.generators, sums.operators))


@jax.jit
def _assembled(tables: Tables, linear: jax.Array, sums: Sums, turned: jax.Array) -> tuple[jax.Array, ...]:
    """The results from every operator rho and its [K, rho], packed (C, k, 1 + G, M, M).

    With Q the derivative of an observable, the first derivative is tr(Q rho). In two angles it is -tr(Q [K, rho]) with
    Q for the later and K for the earlier one.
    """
    fold = tables.fold.astype(linear.dtype)
    pairs = jnp.triu(_sum("ckgij,cijkh->cgh", turned, linear))
    every = _sum("cgp,cgh,chq->pq", fold, pairs + jnp.triu(pairs, 1).mT, fold)
    gauss_newton, residual = symmetrised(sums.gauss_newton), symmetrised(-every[1:, 1:])
    return gauss_newton + residual, gauss_newton, residual, every[0, 1:]


@jax.jit
def commutators(generators: jax.Array, matrices: jax.Array) -> jax.Array:
    """A and [K, A], packed (C, k, 1 + G, M, M), of Hermitian A packed as a (C, k, M, M), and generators K.

    [K, A] is K A and its adjoint. A has real part + imaginary part a and real part - imaginary part a^T, hence K A has
    the sum Re K a + Im K a^T and the difference Re K a^T - Im K a, and the packed result is sum + difference^T.
    """
    size = matrices.shape[-1]
    above = jnp.concatenate([matrices, matrices.mT], axis=3)
    right = jnp.concatenate([above, jnp.concatenate([matrices.mT, -matrices], axis=3)], axis=2)
    product = jnp.matmul(generators[:, None], right[:, :, None], precision=HIGHEST)
    return jnp.concatenate([matrices[:, :, None], product[..., :size] + product[..., size:].mT], axis=2)


def _over_i(columns: jax.Array) -> jax.Array:
    """Stacked columns (..., 2 M, n) divided by i."""
    re, im = jnp.split(columns, 2, axis=-2)
    return jnp.concatenate([im, -re], axis=-2)
