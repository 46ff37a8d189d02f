"""Rotations seen through the constant gates around them: CX P CX is phases, H RZ H a rotation about X.

A constant gate C that is undone later, with nothing but rotations and phases in between that meet it, is taken out, and
what stood in between is conjugated by it: C+ exp(-i a P / 2) C = exp(-i a P' / 2) with P' = C+ P C for a Clifford gate,
and phases stay phases for a permutation. Ladders open from the inside, pair after pair. NumPy only, no JAX.
"""

import functools
import heapq
import itertools
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from qjaxsim.circuits.dense import index_of_bits, monomial, pauli_matrix
from qjaxsim.circuits.gates import GATES
from qjaxsim.circuits.operations import Gate
from qjaxsim.planning.factors import (
    WIDEST_PHASES,
    ascending,
    axes_of,
    inverse_pair,
    is_diagonal,
    is_standard,
    pauli_rotation,
    phases_of,
    standard,
)
from qjaxsim.planning.leaves import Factor, PauliRotation, Phases

# Phases of more qubits are not written down; without angles they become a matrix.
WIDEST_CONSTANT = 3
# So many gates are looked at for the one that a gate undoes.
REACH = 100
# Rotations that have a name, by their Pauli strings.
_NAMES = {spec.pauli: name for name, spec in GATES.items() if spec.pauli is not None}

Wires = tuple[int, ...]


class _Item:
    """One gate: its factor, where it acts, and by wire the letter that it commutes with."""

    def __init__(self, factor: Factor, wires: Wires):
        self.factor, self.wires = factor, wires
        self.axes: dict[int, str | None] = dict(zip(wires, axes_of(factor), strict=True))

    def commutes(self, other: "_Item") -> bool:
        """Whether both are diagonal in one basis of every wire that they share."""
        for wire, letter in other.axes.items():
            if wire in self.axes and (letter is None or self.axes[wire] != letter):
                return False
        return True


class Gadgets:
    """Gates as they come, opened on the way.

    >>> gates, cx = Gadgets(), GATES["cx"].constant
    >>> for factor, wires in ((cx, (0, 1)), (Gate("rz", (1,), (0.5,)), (1,)), (cx, (0, 1))):
    ...     gates.add(factor, wires)
    >>> [(factor.name, wires) for factor, wires in gates.finish()]
    [('rzz', (0, 1))]
    """

    def __init__(self) -> None:
        self.items: list[_Item | None] = []  # None: taken out
        self.history: dict[int, list[int]] = {}  # by wire, the numbers of its items, ascending

    def add(self, factor: Factor, wires: Wires) -> None:
        """One gate. Cost: that of the gates on its wires back to the one that it undoes, `REACH` at most."""
        opens = is_standard(factor)
        if opens and wires != (order := tuple(sorted(wires))):
            factor, wires = ascending(factor, wires), order  # type: ignore[arg-type]
        item = _Item(factor, wires)
        if opens and self._opens(item):
            return
        for wire in wires:
            self.history.setdefault(wire, []).append(len(self.items))
        self.items.append(item)

    def finish(self) -> list[tuple[Factor, Wires]]:
        """The gates in time order."""
        return [_written(item) for item in self.items if item is not None]

    def _opens(self, last: _Item) -> bool:
        """Whether a gate undoes an earlier one; then that one is taken out and what is in between conjugated."""
        between: list[int] = []
        for number in self._before(last.wires):
            item = self._item(number)
            if item.wires == last.wires and is_standard(item.factor) and inverse_pair(item.factor, last.factor):
                return self._conjugate(number, between)
            if not item.commutes(last):
                if not _is_rotation(item.factor):
                    return False
                between.append(number)
        return False

    def _before(self, wires: Wires) -> Iterable[int]:
        """Numbers of the items on some wires, the latest first, `REACH` at most."""
        tails = [reversed(self.history.get(wire, ())) for wire in wires]
        if len(tails) == 1:
            return itertools.islice(tails[0], REACH)
        merged = heapq.merge(*tails, reverse=True)
        return itertools.islice((number for number, _ in itertools.groupby(merged)), REACH)

    def _conjugate(self, number: int, between: Sequence[int]) -> bool:
        gate = self._item(number)
        images: dict[int, _Item] = {}
        for inner in between:
            item = self._item(inner)
            image = _image(item, gate)
            # Of several rotations that become wider each costs more than the two gates; phases cost nothing.
            if image is None or not (len(between) == 1 or (_is_phases(item) and _is_phases(image))):
                return False
            images[inner] = image
        self._take_out(number)
        for inner, image in images.items():
            self._take_out(inner)
            self.items[inner] = image
            for wire in image.wires:
                insort(self.history.setdefault(wire, []), inner)
        return True

    def _item(self, number: int) -> _Item:
        item = self.items[number]
        assert item is not None
        return item

    def _take_out(self, number: int) -> None:
        for wire in self._item(number).wires:
            numbers = self.history[wire]
            del numbers[bisect_left(numbers, number)]  # near its end, where nothing much moves
        self.items[number] = None


def _is_rotation(factor: Factor) -> bool:
    """Whether it can be conjugated: a rotation about a Pauli string, or phases."""
    if isinstance(factor, Gate):
        return factor.spec.pauli is not None or factor.spec.phases is not None
    if isinstance(factor, np.ndarray):
        return len(factor) <= 2**WIDEST_CONSTANT and is_diagonal(factor)
    return True


def _is_phases(item: _Item) -> bool:
    return set(item.axes.values()) <= {"Z"}


def _image(item: _Item, gate: _Item) -> _Item | None:
    """C+ (item) C for a gate C, or None where that is neither a rotation about a Pauli string nor phases."""
    assert isinstance(gate.factor, np.ndarray)
    rotation = pauli_rotation(item.factor)
    if rotation is not None:
        letters = dict(zip(item.wires, rotation.letters, strict=True))
        (angle,) = rotation.angles
        on_gate = "".join(letters.get(wire, "I") for wire in gate.wires)
        found = _pauli_image(id(gate.factor), on_gate)
        if found is not None:
            sign, image = found
            letters = {**letters, **dict(zip(gate.wires, image, strict=True))}
            return _rotation(
                {w: letter for w, letter in letters.items() if letter != "I"}, angle if sign > 0 else -angle
            )
    return _moved_phases(item, gate) if _is_phases(item) else None


def _rotation(letters: dict[int, str], angle: Any) -> _Item:
    wires = tuple(sorted(letters))
    label = "".join(letters[wire] for wire in wires)
    for name, where in ((label, wires), (label[::-1], wires[::-1])):
        if name in _NAMES:
            return _Item(Gate(_NAMES[name], where, (angle,)), where)
    return _Item(PauliRotation(label, (angle,)), wires)


@functools.cache
def _pauli_image(gate: int, label: str) -> tuple[int, str] | None:
    """Sign and letters of C+ P C for the constant matrix C of an id, or None if that is no Pauli string."""
    matrix = standard(gate)
    image = matrix.conj().T @ pauli_matrix(label) @ matrix
    for letters in itertools.product("IXYZ", repeat=len(label)):
        overlap = np.vdot(pauli_matrix("".join(letters)), image).real / len(matrix)
        if abs(abs(overlap) - 1) < 1e-12:
            return (1 if overlap > 0 else -1), "".join(letters)
    return None


def _moved_phases(item: _Item, gate: _Item) -> _Item | None:
    """Phases conjugated by a permutation."""
    source = _standard_source(id(gate.factor))
    wires = tuple(sorted({*item.wires, *gate.wires}))
    phases = _as_phases(item)
    if source is None or len(wires) > (WIDEST_PHASES if phases.angles else WIDEST_CONSTANT):
        return None
    k = len(wires)
    where = [wires.index(wire) for wire in gate.wires]
    # The gate sends basis state j to i with source[i] = j; the phase of j is then that of i.
    images = np.argsort(source)[index_of_bits(where, k)]
    moved = np.arange(2**k)
    for place, wire in enumerate(reversed(where)):
        shift = k - 1 - wire
        moved = moved & ~(1 << shift) | (images >> place & 1) << shift
    rows = index_of_bits([wires.index(wire) for wire in item.wires], k)[moved]
    return _narrowed(Phases(phases.table[rows], phases.angles, phases.offset[rows]), wires)


@functools.cache
def _standard_source(gate: int) -> np.ndarray | None:
    """For a constant matrix that permutes, possibly with phases: the source of every row."""
    found = monomial(standard(gate))
    return None if found is None else found[0]


def _as_phases(item: _Item) -> Phases:
    """A diagonal factor as phases, in the order of its wires."""
    if isinstance(item.factor, np.ndarray):
        return Phases(np.zeros((len(item.factor), 0)), (), np.angle(item.factor.diagonal()))
    return phases_of(item.factor)


def _narrowed(phases: Phases, wires: Wires) -> _Item:
    """Without the wires that the phases do not depend on."""
    both = np.concatenate([phases.table, phases.offset[:, None]], axis=1)
    kept = list(wires)
    for wire in wires:
        place, k = kept.index(wire), len(kept)
        split = both.reshape(2**place, 2, 2 ** (k - place - 1), -1)
        if k > 1 and (split[:, 0] == split[:, 1]).all():
            both = split[:, 0].reshape(-1, both.shape[1])
            kept.remove(wire)
    return _Item(Phases(both[:, :-1], phases.angles, both[:, -1]), tuple(kept))


def _written(item: _Item) -> tuple[Factor, Wires]:
    """The factor, phases without angles as a matrix."""
    factor = item.factor
    if isinstance(factor, Phases) and not factor.angles:
        factor = np.diag(np.exp(1j * factor.offset))
    return factor, item.wires
