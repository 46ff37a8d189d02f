"""The explicit optimisation: every gate in turn is set to the polar factor of its environment.

Evenbly and Vidal 2009, doi:10.1103/PhysRevB.79.144108; for disentanglers arXiv:2410.17397v2, appendix A, and
arXiv:2509.06653.

One matrix is carried through the sweep. With U = G_{L-1} ... G_0 the overlap is

    <M, U^+ W V> = tr(S_0),    S_0 = U^+ W V M^+ = G_0^+ ... G_{L-1}^+ C,    C = W V M^+,

and, the trace being cyclic, it is also the trace of S_{l+1} = G_l S_l G'_l^+ once layer l has been replaced by G'_l. So
a layer costs one application from the left and one from the right, and the environments of its gates are partial
traces of S_l: with gate j replaced by g', tr S_l becomes tr(g'^+ g_j P_j), where P_j traces out all other qubits. The
polar factor of g_j P_j maximises it. Gates of a layer take turns: after each, its qubits are traced out of S_l with the
new gate in, which leaves a matrix smaller by 4**k.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common.precision import HIGHEST
from qjaxsim.models.disentangler.circuit import Brickwall, Gates, apply_circuit, apply_layer_to_rows
from qjaxsim.models.disentangler.mpo import Geometry, deinterleave, interleave

matmul = functools.partial(jnp.matmul, precision=HIGHEST)


def sweep_circuit(wall: Brickwall, gates: Gates, overlap: jax.Array) -> Gates:
    """New gates of one circuit after one sweep over its layers.

    Args:
        wall: layout.
        gates: the old gates.
        overlap: (2**n, 2**n), S_0 above: U^+ W V M^+ for the output side, V^+ W^+ U M for the input side.

    Returns:
        Gates whose overlap is at least as large, up to rounding.
    """
    even, odd = gates
    pairs = odd.shape[0]

    def pair(carried: jax.Array, layers: Gates) -> tuple[jax.Array, Gates]:
        new_even, carried = _sweep_layer(0, layers[0], carried)
        new_odd, carried = _sweep_layer(wall.offset(1), layers[1], carried)
        return carried, (new_even, new_odd)

    if pairs:
        overlap, (new_even, odd) = jax.lax.scan(pair, overlap, (even[:pairs], odd))
        even = jnp.concatenate([new_even, even[pairs:]])
    if even.shape[0] > pairs:
        last, _ = _sweep_layer(0, even[-1], overlap)
        even = jnp.concatenate([even[:-1], last[None]])
    return even, odd


def _sweep_layer(offset: int, gates: jax.Array, carried: jax.Array) -> tuple[jax.Array, jax.Array]:
    """New gates of a layer, and S_{l+1}."""
    n_gates, size, _ = gates.shape
    tail = carried.shape[0] // (2**offset * size**n_gates)
    rest = _trace_ends(carried, 2**offset, tail)
    new = []
    for gate in gates:
        environment = matmul(gate, _trace_ends(rest, 1, rest.shape[0] // size))
        new.append(polar_factor(environment))
        if len(new) < n_gates:
            change = matmul(jnp.conj(new[-1].T), gate)
            changed = matmul(change, rest.reshape(size, -1)).reshape(rest.shape)
            rest = _trace_ends(changed, size, 1)
    replaced = jnp.stack(new)
    right = apply_layer_to_rows(offset, jnp.conj(replaced), carried)
    return replaced, apply_layer_to_rows(offset, gates, right)


def _trace_ends(matrix: jax.Array, head: int, tail: int) -> jax.Array:
    """Partial trace over the leading factor `head` and the trailing factor `tail` of the space."""
    kept = matrix.shape[0] // (head * tail)
    if head * tail == 1:
        return matrix
    h, t = (index.reshape(-1) for index in np.indices((head, tail)))
    return matrix.reshape(head, kept, tail, head, kept, tail)[h, :, t, h, :, t].sum(axis=0)


def polar_factor(environment: jax.Array) -> jax.Array:
    """The g that maximises Re tr(g^+ E): a rotation (determinant 1) for real E, a unitary for complex E."""
    left, _, right = jnp.linalg.svd(environment)
    if not jnp.iscomplexobj(environment):
        flip = jnp.sign(jnp.linalg.det(left) * jnp.linalg.det(right))
        left = left.at[:, -1].multiply(flip)
    return matmul(left, right)


def truncate(matrix: jax.Array, geometry: Geometry, chi: int) -> jax.Array:
    """The matrix after TT-SVD at bond chi, as a matrix, by eigenvectors of Gram matrices.

    Only bonds that truncate are visited. A Gram matrix squares the condition: what is lost is at most about the square
    root of the rounding unit times the norm more than `tt_svd` loses, and the work is a tenth.
    """
    bonds = geometry.bonds(chi)
    rest = interleave(matrix, geometry).reshape(1, -1)
    bases = []
    legs = 1
    for k, bond in enumerate(bonds):
        legs *= geometry.legs[k]
        rest = rest.reshape(rest.shape[0] * geometry.legs[k], -1)
        if bond == min(rest.shape):
            continue
        basis, rest = _top(rest, bond)
        bases.append(basis)
    for basis in reversed(bases):
        rest = matmul(basis, rest.reshape(basis.shape[1], -1))
    return deinterleave(rest, geometry)


def _top(unfolded: jax.Array, bond: int) -> tuple[jax.Array, jax.Array]:
    """Orthonormal basis (rows, bond) of the leading left singular vectors, and the coordinates in it."""
    rows, columns = unfolded.shape
    if rows <= columns:
        _, vectors = jnp.linalg.eigh(matmul(unfolded, jnp.conj(unfolded.T)))
        basis = vectors[:, rows - bond :]
        return basis, matmul(jnp.conj(basis.T), unfolded)
    _, vectors = jnp.linalg.eigh(matmul(jnp.conj(unfolded.T), unfolded))
    kept = vectors[:, columns - bond :]
    scaled = matmul(unfolded, kept)
    # Singular values go with the coordinates, as later bonds weigh them.
    values = jnp.linalg.norm(scaled, axis=0)
    safe = jnp.where(values == 0, 1, values).astype(scaled.dtype)
    return scaled / safe[None], values.astype(scaled.dtype)[:, None] * jnp.conj(kept.T)


@functools.partial(jax.jit, static_argnames=("geometry", "chi"))
def truncated(matrix: jax.Array, geometry: Geometry, chi: int) -> jax.Array:
    """`truncate`, compiled."""
    return truncate(matrix, geometry, chi)


@functools.partial(jax.jit, static_argnames=("wall_u", "wall_v"))
def operand(wall_u: Brickwall, wall_v: Brickwall, u: Gates, v: Gates, weight: jax.Array) -> jax.Array:
    """U^+ W V."""
    return _from_left(wall_u, u, _from_right(wall_v, v, weight))


@functools.partial(jax.jit, static_argnames=("wall_u", "wall_v"))
def sweep(
    wall_u: Brickwall, wall_v: Brickwall, u: Gates, v: Gates, weight: jax.Array, target: jax.Array
) -> tuple[Gates, Gates]:
    """One sweep over U, then over V: new gates of both.

    Args:
        wall_u: layout of U.
        wall_v: layout of V.
        u: gates of U.
        v: gates of V.
        weight: (2**n_out, 2**n_in), W.
        target: M, like the weight.
    """
    half = _from_right(wall_v, v, weight)
    current = _from_left(wall_u, u, half)
    u = sweep_circuit(wall_u, u, matmul(current, jnp.conj(target.T)))
    current = _from_left(wall_u, u, half)
    v = sweep_circuit(wall_v, v, matmul(jnp.conj(current.T), target))
    return u, v


@jax.jit
def distance(matrix: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Merit A = Re <M, Z> / (||M|| ||Z||), and the relative distance of Z from the best multiple of M."""
    overlap = jnp.real(jnp.vdot(target, matrix, precision=HIGHEST))
    norm, target_norm = jnp.linalg.norm(matrix), jnp.linalg.norm(target)
    # A target of zero has no direction: its overlap is zero, and nothing of Z is reached.
    safe = jnp.where(target_norm == 0, 1, target_norm)
    nearest = (overlap / safe**2).astype(target.dtype) * target
    return overlap / (norm * safe), jnp.linalg.norm(matrix - nearest) / norm


def _from_left(wall: Brickwall, gates: Gates, matrix: jax.Array) -> jax.Array:
    """U^+ X."""
    return apply_circuit(wall, gates, matrix, inverse=True)


def _from_right(wall: Brickwall, gates: Gates, matrix: jax.Array) -> jax.Array:
    """X V, as (V^+ X^+)^+."""
    return jnp.conj(apply_circuit(wall, gates, jnp.conj(matrix.T), inverse=True).T)
