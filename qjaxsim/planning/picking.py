"""Gates as one of several devices runs them, each with a piece of the state. NumPy only, no JAX.

The qubits that are a device's own number have a value there, 0 or 1. A gate that is block diagonal in them is, on the
device, the block of these values. They enter as parameters that the device knows, `DEVICE_BITS`, so that all devices
run one program.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from operator import mul

import numpy as np

from qjaxsim.circuits.expressions import Element
from qjaxsim.planning.factors import pauli_rotation, phases_of
from qjaxsim.planning.leaves import DEVICE_BITS, Factor, Leaf, PauliRotation, Phases, Picked
from qjaxsim.planning.normal_form import is_rotation, kind
from qjaxsim.planning.steps import Places


def localised(leaf: Leaf, places: Places) -> Leaf:
    """A leaf that is block diagonal in its qubits on devices, on the wires of a device."""
    bits = [places.bits.index(q) if q in places.bits else None for q in leaf.qubits]
    wires = tuple(places.wires.index(q) for q in leaf.qubits if q in places.wires)
    if len(wires) == len(leaf.qubits):
        return replace(leaf, qubits=wires)
    values = _Values(bits, len(places.bits))
    axes = tuple(axis for axis, bit in zip(leaf.axes, bits, strict=True) if bit is None)
    if kind(leaf) == "diagonal":
        # Where no wire is left it is a phase of the whole piece, on any wire.
        factors = tuple(values.phases(factor) for factor in leaf.factors)
        return Leaf(wires or (0,), factors, leaf.data, axes or ("Z",))
    if is_rotation(leaf):
        return Leaf(wires, (values.rotation(leaf.factors[0]),), leaf.data, axes)
    return Leaf(wires, tuple(values.picked(factor) for factor in leaf.factors), leaf.data, axes)


class _Values:
    """What a device knows of a leaf's qubits.

    Args:
        bits: for each qubit the bit of the device's number, or None for a local one.
        count: how many bits the number has.
    """

    def __init__(self, bits: Sequence[int | None], count: int):
        self.bits = bits
        self.apart = [position for position, bit in enumerate(bits) if bit is not None]
        self.elements = [Element(name=DEVICE_BITS, shape=(count,), index=(bit,)) for bit in bits if bit is not None]

    def picked(self, factor: Factor) -> Picked:
        """The block of any factor."""
        assert not isinstance(factor, Picked)
        angles = () if isinstance(factor, np.ndarray) else factor.angles
        return Picked(factor, tuple(self.apart), (*angles, *self.elements))

    def rotation(self, factor: Factor) -> PauliRotation:
        """A rotation about a string with Z on the device's qubits: one about the rest, with a sign."""
        rotation = pauli_rotation(factor)
        assert rotation is not None
        letters = "".join(letter for letter, bit in zip(rotation.letters, self.bits, strict=True) if bit is None)
        signs = [1 - 2 * element for element in self.elements]
        return PauliRotation(letters, (reduce(mul, signs, rotation.angles[0]),))

    def phases(self, factor: Factor) -> Phases | np.ndarray:
        """Phases as a polynomial in the device's bits, the coefficients of which are phases of the wires."""
        if isinstance(factor, np.ndarray):
            factor = Phases(np.zeros((len(factor), 0)), (), np.angle(factor.diagonal()))
        whole = phases_of(factor)
        rows = np.concatenate([whole.offset[:, None], whole.table], axis=1)
        parts = np.moveaxis(rows.reshape(*(2,) * len(self.bits), -1), self.apart, range(len(self.apart)))
        for axis in range(len(self.apart)):
            zero, one = (np.take(parts, [value], axis=axis) for value in (0, 1))
            parts = np.concatenate([zero, one - zero], axis=axis)
        columns, angles = [], []
        powers = list(itertools.product((False, True), repeat=len(self.apart)))
        local = parts.reshape(len(powers), -1, rows.shape[1])
        for used, table in zip(powers[1:], local[1:], strict=True):
            product = reduce(mul, itertools.compress(self.elements, used))
            for column, angle in zip(table.T, (None, *whole.angles), strict=True):
                if column.any():
                    columns.append(column)
                    angles.append(product if angle is None else angle * product)
        table = np.concatenate([local[0, :, 1:], np.array(columns).reshape(-1, local.shape[1]).T], axis=1)
        offset = local[0, :, 0]
        if len(offset) == 1:  # no wire is left: the same on one
            table, offset = table.repeat(2, axis=0), offset.repeat(2)
        all_angles = (*whole.angles, *angles)
        return Phases(table, all_angles, offset) if all_angles else np.diag(np.exp(1j * offset))
