"""From a state to numbers: expectation values of Pauli sums, probabilities.

States have shape (2, 2**n, columns), real and imaginary part, index bits in the order of the qubits; results have the
columns last.
"""

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from qjaxsim.circuits.observables import PauliSum
from qjaxsim.common.precision import HIGHEST
from qjaxsim.planning.bases import choose_bases, flip_of
from qjaxsim.planning.steps import Plan
from qjaxsim.running.execute import run_steps
from qjaxsim.running.kernels import sum_over_bits
from qjaxsim.running.permutation import flip_rows
from qjaxsim.running.prepare import Setting, prepare_all
from qjaxsim.running.varying import vary_alike

# Up to this many groups are written out one by one; more run as a scan.
WRITTEN_OUT = 16
# Weights of terms in observables are a table of up to so many numbers, else a list.
LARGEST_TABLE = 2**20


@dataclass(frozen=True, eq=False)
class _FlipGroup:
    """All terms that flip the same qubits, so that one overlap of the state with its flipped self serves them.

    For a term with letters P, <P> = sum_i phase_i Re or Im (conj(psi_i) psi_(i xor flip)), where the phase is a sign
    given by the Z and Y letters and Y contributes factors of i: with an even number of Y the real part counts, with
    an odd number the imaginary part.
    """

    flip: tuple[int, ...]  # qubits with X or Y
    odd: bool  # whether the terms have an odd number of Y
    signs: tuple[frozenset[int], ...]  # by term: qubits with Z or Y
    entries: tuple[tuple[int, int, float], ...]  # observable, term, coefficient times the sign of the factors of i


def expectation_values(observables: Sequence[PauliSum], state: jax.Array) -> jax.Array:
    """<psi|O|psi> of several Hermitian Pauli sums.

    Args:
        observables: Pauli sums with real coefficients.
        state: (2, 2**n, columns) real.

    Returns:
        (observables, columns) real. All diagonal terms come from one pass over the probabilities, and every other set
        of flipped qubits takes one pass more; many sets run as a scan, whose program does not grow with their number.
        Terms with many sets in one common basis are rotated into it where that is cheaper.
    """
    n_qubits = state.shape[1].bit_length() - 1
    bases, rest = choose_bases(observables, n_qubits, state.shape[2])
    total = flipped_sums(rest, _overlap_of(state), n_qubits, state)
    for basis in bases:
        turned = rotated(basis.rotation, state)
        total = total + flipped_sums(basis.observables, _overlap_of(turned), n_qubits, turned)
    return total


def rotated(rotation: Plan, state: jax.Array) -> jax.Array:
    """States behind a plan without parameters."""
    setting = Setting(state.dtype, frozenset(), state.shape[2], 1)
    return run_steps(rotation.steps, state, prepare_all(rotation, {}, setting), {}, setting)


Overlap = Callable[[Any, Any], jax.Array]
"""From the mask of the flipped bits, and whether the number of Y is odd, to the real or imaginary part of the entries
rho[i, i xor flip] of the density matrix, (2**n, columns)."""


def flipped_sums(observables: Sequence[PauliSum], overlap: Overlap, n_qubits: int, like: jax.Array) -> jax.Array:
    """Expectation values with one pass for each set of flipped qubits.

    Args:
        observables: Pauli sums with real coefficients.
        overlap: reads what a set of flipped qubits needs.
        n_qubits: width of the register.
        like: an array of the states' dtype, columns last.
    """
    groups = _flip_groups(observables)
    if not groups:
        return jnp.zeros((len(observables), like.shape[-1]), like.dtype)
    if len(groups) > WRITTEN_OUT:
        groups = _evened(groups)
        most = max(len(group.signs) for group in groups)
        starts = list(range(0, most * len(groups), most))
        values = _scanned_terms(overlap, groups, most, n_qubits)
    else:
        starts = [0, *np.cumsum([len(group.signs) for group in groups]).tolist()]
        read = [(overlap(_mask(group.flip, n_qubits), group.odd), group.signs) for group in groups]
        values = jnp.concatenate([signed_sums(entries, signs, n_qubits) for entries, signs in read])
    entries = [(k, start + t, c) for start, group in zip(starts, groups, strict=False) for k, t, c in group.entries]
    return combined(entries, values, len(observables))


def _evened(groups: Sequence[_FlipGroup]) -> list[_FlipGroup]:
    """Large groups cut into pieces of twice the mean size at most, so that filling up does no more than triple them."""
    limit = 2 * -(-sum(len(group.signs) for group in groups) // len(groups))
    return [piece for group in groups for piece in _pieces(group, limit)]


def _pieces(group: _FlipGroup, limit: int) -> Iterable[_FlipGroup]:
    members: dict[int, list[tuple[int, int, float]]] = {}
    for observable, term, weight in group.entries:
        members.setdefault(term // limit, []).append((observable, term % limit, weight))
    for number, entries in members.items():
        signs = group.signs[number * limit : (number + 1) * limit]
        yield _FlipGroup(group.flip, group.odd, signs, tuple(entries))


def combined(entries: Sequence[tuple[int, int, float]], values: jax.Array, n_observables: int) -> jax.Array:
    """Sums of values of terms (terms, columns) with weights, given as (observable, term, weight): (K, columns)."""
    observables, terms = (np.array([entry[i] for entry in entries]) for i in range(2))
    weights = np.array([entry[2] for entry in entries])
    if n_observables * len(values) <= LARGEST_TABLE:
        table = np.zeros((n_observables, len(values)))
        np.add.at(table, (observables, terms), weights)
        return jnp.matmul(jnp.asarray(table, values.dtype), values, precision=HIGHEST)
    parts = values[terms] * jnp.asarray(weights, values.dtype)[:, None]
    return jax.ops.segment_sum(parts, jnp.asarray(observables), n_observables)


def _flip_groups(observables: Sequence[PauliSum]) -> list[_FlipGroup]:
    found: dict[tuple[tuple[int, ...], bool], list[tuple[int, frozenset[int], float]]] = {}
    for position, observable in enumerate(observables):
        for term, coefficient in observable.terms.items():
            signs = frozenset(q for q, letter in term if letter in "YZ")
            n_y = sum(letter == "Y" for _, letter in term)
            # Y = i X Z; so <P> = i**n_y sum_i sign_i conj(psi_(i xor flip)) psi_i, of which the real part is taken.
            factor = (1.0, -1.0, -1.0, 1.0)[n_y % 4]
            found.setdefault(flip_of(term), []).append((position, signs, coefficient.real * factor))
    groups = []
    for (flip, odd), members in found.items():
        places: dict[frozenset[int], int] = {}
        entries = tuple((k, places.setdefault(signs, len(places)), weight) for k, signs, weight in members)
        groups.append(_FlipGroup(flip, odd, tuple(places), entries))
    return groups


def _overlap_of(state: jax.Array) -> Overlap:
    """Reads conj(psi_(i xor flip)) psi_i of pure states (2, 2**n, columns)."""
    re, im = jnp.unstack(state)

    def overlap(flip: Any, odd: Any) -> jax.Array:
        if isinstance(odd, bool) and flip == 0:
            return re * re + im * im
        flipped_re, flipped_im = jnp.unstack(flip_rows(state, jnp.uint32(flip)))
        if isinstance(odd, bool):
            return flipped_re * im - flipped_im * re if odd else flipped_re * re + flipped_im * im
        return jnp.where(odd, flipped_re * im - flipped_im * re, flipped_re * re + flipped_im * im)

    return overlap


def signed_sums(overlap: jax.Array, terms: Sequence[Set[int]], n_qubits: int) -> jax.Array:
    """Sums over the basis with a sign for every bit of each term that is 1: (2**n, columns) to (terms, columns).

    The sign of a term is a product over qubits, so tables of half the register are enough: one product with the signs
    of the low qubits, one with those of the high ones.
    """
    half = 0 if n_qubits <= 10 else n_qubits // 2
    high = _sign_table([{q for q in signs if q < half} for signs in terms], 0, half, overlap.dtype)
    low = _sign_table([{q for q in signs if q >= half} for signs in terms], half, n_qubits, overlap.dtype)
    blocks = overlap.reshape(2**half, 2 ** (n_qubits - half), -1)
    distinct_low, which = np.unique(low, axis=0, return_inverse=True)
    partial = jnp.einsum("tl,hlc->htc", jnp.asarray(distinct_low), blocks, precision=HIGHEST)[:, which.reshape(-1)]
    return jnp.einsum("th,htc->tc", jnp.asarray(high), partial, precision=HIGHEST)


def _scanned_terms(overlap: Overlap, groups: Sequence[_FlipGroup], most: int, n_qubits: int) -> jax.Array:
    """The same for many groups as a scan, so that the program does not grow with their number.

    Each group has place for `most` terms: (groups * most, columns). What a group needs is given by bit masks: which
    bits flip and which bits give each of its terms its signs.
    """
    half = n_qubits // 2
    high, low = np.arange(2**half) << (n_qubits - half), np.arange(2 ** (n_qubits - half))

    # Without keeping a state for each group in reverse mode: overlaps are cheap to find again.
    @jax.checkpoint
    def body(_: None, group: tuple[jax.Array, ...]) -> tuple[None, jax.Array]:
        flip, odd, signs = group
        entries = overlap(flip, odd)
        dtype = entries.dtype
        blocks = entries.reshape(2**half, 2 ** (n_qubits - half), -1)
        partial = jnp.einsum("tl,hlc->htc", _parity_signs(low, signs, dtype), blocks, precision=HIGHEST)
        return None, jnp.einsum("th,htc->tc", _parity_signs(high, signs, dtype), partial, precision=HIGHEST)

    return lax.scan(body, None, _stacked(groups, most, n_qubits))[1].reshape(len(groups) * most, -1)


def _stacked(groups: Sequence[_FlipGroup], most: int, n_qubits: int) -> tuple[jax.Array, ...]:
    """Flip masks, parities and sign masks of all groups, filled up to the same number of terms."""
    flips = [_mask(group.flip, n_qubits) for group in groups]
    signs = [[_mask(qubits, n_qubits) for qubits in group.signs] + [0] * (most - len(group.signs)) for group in groups]
    odd = np.array([group.odd for group in groups])
    return (
        jnp.asarray(np.array(flips, np.uint32)),
        jnp.asarray(odd),
        jnp.asarray(np.array(signs)),
    )


def _mask(qubits: Iterable[int], n_qubits: int) -> int:
    return sum(1 << (n_qubits - 1 - q) for q in qubits)


def _parity_signs(index: np.ndarray, masks: jax.Array, dtype: np.dtype) -> jax.Array:
    """(-1)**(number of common bits) of every mask with every index, (masks, indices)."""
    common = lax.population_count(masks[:, None] & jnp.asarray(index, masks.dtype)[None])
    return (1 - 2 * (common & 1)).astype(dtype)


def _sign_table(terms: Sequence[set[int]], start: int, stop: int, dtype: np.dtype) -> np.ndarray:
    """Product of (-1)**bit over a term's qubits, for every index of qubits start..stop-1: (terms, 2**width)."""
    width = stop - start
    index = np.arange(2**width)
    bits = [(index >> (width - 1 - position)) & 1 for position in range(width)]
    parity = [sum((bits[q - start] for q in term), np.zeros_like(index)) for term in terms]
    return (1 - 2 * (np.array(parity) % 2)).astype(dtype)


_Members = dict[tuple[tuple[int, ...], bool], list[tuple[int, set[int], float]]]
"""By what terms flip: the observable, the qubits that give signs, and the coefficient of each."""


def apply_observables(observables: Sequence[PauliSum], weights: jax.Array, state: jax.Array) -> jax.Array:
    """A weighted sum of Pauli sums with real coefficients applied to states, with weights of its own for each column.

    Args:
        observables: K Pauli sums.
        weights: (K, columns), or (K, 1) for the same in all columns.
        state: (2, 2**n, columns).

    Returns:
        An array like the state. Cost: one pass for each set of flipped qubits.
    """
    n_qubits = state.shape[1].bit_length() - 1
    groups: _Members = {}
    for position, observable in enumerate(observables):
        for term, coefficient in observable.terms.items():
            # P psi = (-i)**n_y sign psi(i xor flip), with a sign for every Y and Z that is 1 in i.
            n_y = sum(letter == "Y" for _, letter in term)
            value = coefficient.real * (1.0, 1.0, -1.0, -1.0)[n_y % 4]
            member = (position, {q for q, letter in term if letter in "YZ"}, value)
            groups.setdefault(flip_of(term), []).append(member)
    if len(groups) > WRITTEN_OUT:
        return _scanned_products(groups, weights, state)
    total = jnp.zeros_like(state)
    for (flip, odd), members in groups.items():
        signs = _sign_table([own for _, own, _ in members], 0, n_qubits, state.dtype)
        values = jnp.asarray([[value] for _, _, value in members], state.dtype)
        rows = weights[np.array([position for position, _, _ in members])] * values
        table = jnp.matmul(jnp.asarray(signs.T), rows, precision=HIGHEST)
        re, im = jnp.unstack(flip_rows(state, jnp.uint32(_mask(flip, n_qubits))) if flip else state)
        total = total + table[None] * jnp.stack((im, -re) if odd else (re, im))
    return total


def _scanned_products(groups: _Members, weights: jax.Array, state: jax.Array) -> jax.Array:
    """The same for many sets of flipped qubits as a scan, so that the program does not grow with their number."""
    n_qubits = state.shape[1].bit_length() - 1
    half = n_qubits // 2
    high, low = np.arange(2**half) << (n_qubits - half), np.arange(2 ** (n_qubits - half))
    most = max(map(len, groups.values()))
    filled = [[*members, *[(0, set[int](), 0.0)] * (most - len(members))] for members in groups.values()]
    each = (
        jnp.asarray(np.array([_mask(flip, n_qubits) for flip, _ in groups], np.uint32)),
        jnp.asarray(np.array([odd for _, odd in groups])),
        jnp.asarray(np.array([[_mask(own, n_qubits) for _, own, _ in members] for members in filled])),
        jnp.asarray(np.array([[position for position, _, _ in members] for members in filled])),
        jnp.asarray(np.array([[value for _, _, value in members] for members in filled]), state.dtype),
    )

    @jax.checkpoint
    def body(total: jax.Array, group: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
        flip, odd, signs, positions, values = group
        rows = weights[positions] * values[:, None]
        upper = _parity_signs(high, signs, state.dtype)[:, :, None] * rows[:, None]
        table = jnp.einsum("thc,tl->hlc", upper, _parity_signs(low, signs, state.dtype), precision=HIGHEST)
        re, im = jnp.unstack(flip_rows(state, flip))
        turned = jnp.where(odd, jnp.stack((im, -re)), jnp.stack((re, im)))
        return total + table.reshape(2**n_qubits, -1)[None] * turned, None

    return lax.scan(body, vary_alike(jnp.zeros_like(state), state), each)[0]


def marginal_probabilities(qubits: Sequence[int], state: jax.Array) -> jax.Array:
    """Probabilities of the outcomes of some qubits, shape (2**len(qubits), columns), first qubit most significant."""
    return marginal(state[0] ** 2 + state[1] ** 2, qubits)


def marginal(probabilities: jax.Array, qubits: Sequence[int]) -> jax.Array:
    """Probabilities of the outcomes of some qubits from those of all, (2**n, columns)."""
    n_qubits = probabilities.shape[0].bit_length() - 1
    kept = sum_over_bits(probabilities, [q for q in range(n_qubits) if q not in qubits])
    ascending = sorted(qubits)
    axes = [ascending.index(q) for q in qubits]
    return kept.transpose([*axes, len(axes)]).reshape(2 ** len(axes), -1)
