"""From the pieces of a state that is cut over devices to numbers. Every device runs these functions for its own piece.

What is asked for is read where it lies as far as it goes: a Z on a qubit that is a bit of the device's number is a sign
there. For the rest qubits change places first, and every device adds its share.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from qjaxsim.circuits.operators import DiagonalOperator, ProjectorOperator, WideOperator
from qjaxsim.circuits.sums import Operator, PauliSum
from qjaxsim.circuits.weighted import Weighted
from qjaxsim.common.precision import HIGHEST
from qjaxsim.planning.bases import flip_of
from qjaxsim.planning.readout import Errors
from qjaxsim.planning.remapping import exchanged, put_in_order
from qjaxsim.planning.steps import Exchange, Places
from qjaxsim.running import kernels, operators
from qjaxsim.running.density import read_wrongly
from qjaxsim.running.devices import Axes, exchange
from qjaxsim.running.measurement import apply_observables, combined, expectation_values, marginal_probabilities

# Probabilities of outcomes of more qubits are left on the devices.
MOST_WHOLE = 12


class Pieces(NamedTuple):
    """A state cut over devices, as one of them sees it.

    Attributes:
        state: its piece, (2, 2**(n - d), columns).
        places: where the qubits lie.
        bits: those of its number, (d,).
        axes: of the mesh.
    """

    state: jax.Array
    places: Places
    bits: jax.Array
    axes: Axes

    @property
    def n_qubits(self) -> int:
        """Of the whole state."""
        return len(self.places.wires) + len(self.places.bits)

    def total(self, values: jax.Array) -> jax.Array:
        """The sum over devices."""
        return lax.psum(values, self.axes)

    def with_apart(self, qubits: Sequence[int]) -> "Pieces":
        """The same state with these d qubits on devices, in any order."""
        moved, places = exchanged(self.places, sum(1 << q for q in qubits))
        return self._exchanged(moved, places) if moved.wires else self

    def with_local(self, qubits: Sequence[int]) -> "Pieces":
        """The same state with these qubits local."""
        stay = [q for q in self.places.bits if q not in qubits]
        free = [q for q in self.places.wires if q not in qubits]
        return self.with_apart([*stay, *free][: len(self.places.bits)])

    def ordered(self, bits: Sequence[int]) -> "Pieces":
        """The same state with these qubits as the bits of the device's number, in this order."""
        found = self
        for moved, places in put_in_order(self.places, tuple(bits)):
            found = found._exchanged(moved, places)
        return found

    def _exchanged(self, moved: Exchange, places: Places) -> "Pieces":
        """The same state after an exchange."""
        order = [*moved.wires, *(w for w in range(len(places.wires)) if w not in moved.wires)]
        front = kernels.reorder(self.state, range(len(order)), order)
        state = kernels.reorder(exchange(moved.bits, self.axes, front), order, range(len(order)))
        return self._replace(state=state, places=places)

    def ascending(self) -> "Pieces":
        """The same state with its local qubits in ascending order."""
        wires = tuple(sorted(self.places.wires))
        state = kernels.reorder(self.state, self.places.wires, wires)
        return self._replace(state=state, places=Places(wires, self.places.bits))


Read = Callable[[Pieces], jax.Array]


class Reading(NamedTuple):
    """What is read of a state that is cut over devices.

    Attributes:
        read: gives (m, columns) on each device.
        spread: whether that is a piece of the result, else all of it, the same everywhere.
    """

    read: Read
    spread: bool = False


def amplitudes(pieces: Pieces) -> jax.Array:
    """This device's share of the state vector, its number the first bits of the index."""
    natural = pieces.ordered(range(len(pieces.places.bits))).ascending()
    return kernels.to_complex(natural.state)


def outcome_reading(qubits: Sequence[int], errors: Errors) -> Reading | None:
    """Probabilities of what is read of some qubits, those of many left where they are, without readout errors then."""
    if len(qubits) <= MOST_WHOLE:
        return Reading(functools.partial(_probabilities, qubits, errors))
    return None if errors else Reading(functools.partial(_spread_probabilities, qubits), spread=True)


def _probabilities(qubits: Sequence[int], errors: Errors, pieces: Pieces) -> jax.Array:
    """Probabilities of all that is read of some qubits, the same on all devices."""
    local, apart = _split(qubits, pieces)
    own = marginal_probabilities([pieces.places.wires.index(q) for q in local], pieces.state)
    # The axes of the result: bits of the device first, then wires.
    whole = jnp.zeros((2 ** len(apart), *own.shape), own.dtype).at[_number(apart, pieces)].set(own)
    whole = pieces.total(whole)
    found = [pieces.places.bits[bit] for bit in apart] + local
    axes = [found.index(q) for q in qubits]
    exact = whole.reshape(*(2,) * len(qubits), -1).transpose([*axes, len(axes)]).reshape(2 ** len(qubits), -1)
    return read_wrongly(exact, qubits, errors)


def _spread_probabilities(qubits: Sequence[int], pieces: Pieces) -> jax.Array:
    """This device's share of the probabilities of outcomes, its number the first bits of an outcome."""
    count = len(pieces.places.bits)
    cut = pieces.ordered(qubits[:count])
    return marginal_probabilities([cut.places.wires.index(q) for q in qubits[count:]], cut.state)


def _split(qubits: Sequence[int], pieces: Pieces) -> tuple[list[int], list[int]]:
    """Those of some qubits that are local, and the bits of the others."""
    local = [q for q in qubits if q in pieces.places.wires]
    return local, [pieces.places.bits.index(q) for q in qubits if q in pieces.places.bits]


def _number(apart: Sequence[int], pieces: Pieces) -> jax.Array:
    """The number that some bits of this device's make, the first most significant."""
    number = jnp.zeros((), jnp.int32)
    for bit in apart:
        number = 2 * number + pieces.bits[bit].astype(jnp.int32)
    return number


# --- observables -----------------------------------------------------------------------------------------------------


def operator_values(asked: Sequence[Operator], pieces: Pieces) -> jax.Array:
    """<psi|O|psi> of several operators, (B, columns), the same on all devices."""
    return operators.read_each(
        asked, lambda sums: _pauli_values(sums, pieces), lambda operator: _wide_value(operator, pieces)
    )


def _pauli_values(sums: Sequence[PauliSum], pieces: Pieces) -> jax.Array:
    total = jnp.zeros((len(sums), pieces.state.shape[2]), pieces.state.dtype)
    for apart, terms in _arrangements(sums, pieces.places):
        now = pieces.with_apart(apart)
        local, rows, signs = _signed(terms, now)
        values = expectation_values(local, now.state) * signs[:, None]
        total = total + combined([(row, i, 1.0) for i, row in enumerate(rows)], values, len(sums))
    return pieces.total(total)


Terms = list[tuple[int, tuple[tuple[int, str], ...], complex]]
"""Number of the sum, Pauli string and coefficient of terms."""


def _arrangements(sums: Sequence[PauliSum], places: Places) -> list[tuple[list[int], Terms]]:
    """Terms by where qubits must lie to read them: first those that are read as it is."""
    left: Terms = [(k, term, value) for k, each in enumerate(sums) for term, value in each.terms.items()]
    bits = list(places.bits)
    out: list[tuple[list[int], Terms]] = []
    while left:
        if inside := [entry for entry in left if not set(flip_of(entry[1])[0]) & set(bits)]:
            out.append((bits, inside))
        left = [entry for entry in left if set(flip_of(entry[1])[0]) & set(bits)]
        if left:
            bits = _least_flipped(left, [*places.bits, *places.wires], len(places.bits))
    return out


def _least_flipped(terms: Terms, qubits: Sequence[int], count: int) -> list[int]:
    """Qubits that the first term does not flip, and of those the ones that fewest terms flip."""
    flips = [set(flip_of(term)[0]) for _, term, _ in terms]
    free = [q for q in qubits if q not in flips[0]]
    if len(free) < count:
        raise ValueError(
            f"Option `state_axes` leaves {len(qubits) - count} qubits to each device, but a term of `observables` has "
            f"X or Y on {len(flips[0])}; use fewer devices."
        )
    return sorted(free, key=lambda q: sum(q in flip for flip in flips))[:count]


def _signed(terms: Terms, pieces: Pieces) -> tuple[list[PauliSum], list[int], jax.Array]:
    """Terms on a device's wires: those with the same Zs on devices, the sums they belong to, this device's signs."""
    found: dict[tuple[int, tuple[int, ...]], dict[Any, complex]] = {}
    for number, term, value in terms:
        apart = tuple(pieces.places.bits.index(q) for q, _ in term if q in pieces.places.bits)
        local = tuple(sorted((pieces.places.wires.index(q), p) for q, p in term if q in pieces.places.wires))
        found.setdefault((number, apart), {})[local] = value
    signs = [jnp.prod(1 - 2 * pieces.bits[np.array(apart, int)]) for _, apart in found]
    rows = [number for number, _ in found]
    return [PauliSum(members) for members in found.values()], rows, jnp.stack(signs).astype(pieces.state.dtype)


def _wide_value(operator: WideOperator, pieces: Pieces) -> jax.Array:
    """The expectation value of an operator on many qubits."""
    if isinstance(operator, DiagonalOperator):
        local, apart = _split(operator.qubits, pieces)
        chances = marginal_probabilities([pieces.places.wires.index(q) for q in local], pieces.state)
        values = _rows_of(operator.values, operator.qubits, local, apart, pieces)
        return pieces.total(jnp.matmul(values.astype(chances.dtype), chances, precision=HIGHEST))
    n_local = len(pieces.places.wires)
    if isinstance(operator, ProjectorOperator) and n_local < len(operator.qubits) >= pieces.n_qubits - n_local:
        return _wide_overlap(operator, pieces)
    now = _holding(operator, pieces)
    return pieces.total(operators.value(_on_wires(operator, now), now.state))


def _rows_of(
    values: np.ndarray, qubits: Sequence[int], local: list[int], apart: list[int], pieces: Pieces
) -> jax.Array:
    """Of numbers by outcomes of qubits those of this device, by outcomes of its local ones."""
    order = [qubits.index(pieces.places.bits[bit]) for bit in apart] + [qubits.index(q) for q in local]
    table = values.reshape((2,) * len(qubits)).transpose(order).reshape(2 ** len(apart), -1)
    return jnp.asarray(table)[_number(apart, pieces)]


def _wide_overlap(operator: ProjectorOperator, pieces: Pieces) -> jax.Array:
    """The projector's value where it has more qubits than a device, and therefore some of every device's number."""
    others = [q for q in range(pieces.n_qubits) if q not in operator.qubits]
    now = pieces.with_local(others)
    local, apart = _split(operator.qubits, now)
    psi = _rows_of(operator.state, tuple(operator.qubits), local, apart, now).conj()
    order = [now.places.wires.index(q) for q in (*local, *others)]
    front = kernels.reorder(now.state, range(len(order)), order)
    bra = jnp.stack([psi.real, psi.imag])[:, None].astype(front.dtype)
    overlap = now.total(kernels.apply_dense(bra, front))
    return (overlap**2).sum(axis=(0, 1))


def _holding(operator: WideOperator, pieces: Pieces) -> Pieces:
    """The pieces with all qubits of an operator local."""
    n_local = len(pieces.places.wires)
    if len(operator.qubits) > n_local:
        raise ValueError(
            f"Option `state_axes` leaves {n_local} qubits to each device, but an operator in `observables` acts on "
            f"{len(operator.qubits)}; use fewer devices, or a diagonal, a projector or a Pauli sum."
        )
    return pieces.with_local(operator.qubits)


def _on_wires(operator: WideOperator, pieces: Pieces) -> WideOperator:
    return replace(operator, qubits=tuple(pieces.places.wires.index(q) for q in operator.qubits))


def variances(asked: Weighted, pieces: Pieces) -> jax.Array:
    """<psi|O^2|psi> - <psi|O|psi>^2 as the squared norm of (O - <O>) psi, (K, columns), the same on all devices."""
    images = operators.images_of(asked, pieces.state, lambda operator: _applied(operator, pieces))
    means = [pieces.total(operators.total(pieces.state * image)) for image in images]
    rests = [image - mean[None, None] * pieces.state for image, mean in zip(images, means, strict=True)]
    return pieces.total(jnp.stack([operators.squares(each) for each in rests]))


def _applied(operator: Operator, pieces: Pieces) -> jax.Array:
    """An operator applied to the state, where the pieces lie now."""
    if not isinstance(operator, PauliSum):
        now = _holding(operator, pieces)
        image = operators.apply_operator(_on_wires(operator, now), now.state)
        return _back(now._replace(state=image), pieces)
    total = jnp.zeros_like(pieces.state)
    for apart, terms in _arrangements([operator], pieces.places):
        now = pieces.with_apart(apart)
        local, _, signs = _signed(terms, now)
        image = apply_observables(local, signs[:, None], now.state)
        total = total + _back(now._replace(state=image), pieces)
    return total


def _back(moved: Pieces, before: Pieces) -> jax.Array:
    """The state of pieces with their qubits where they lay before."""
    there = moved.ordered(before.places.bits)
    return kernels.reorder(there.state, there.places.wires, before.places.wires)
