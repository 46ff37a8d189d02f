"""Gates by the bits of a device's number: the block of their matrix that these bits pick."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.planning.leaves import DEVICE_BITS, Leaf, Picked
from qjaxsim.planning.normal_form import normal_form
from qjaxsim.planning.picking import localised
from qjaxsim.planning.steps import Places
from qjaxsim.running.matrices import stack_matrices

THETA = qj.Parameter("theta", (3,))
ENV = {"theta": jnp.array([0.3, -1.1, 2.0])}
RNG = np.random.default_rng(3)


def unitary(size):
    return np.linalg.qr(RNG.normal(size=(size, size)) + 1j * RNG.normal(size=(size, size)))[0]


def block_diagonal(size):
    out = np.zeros((2 * size, 2 * size), complex)
    out[:size, :size], out[size:, size:] = unitary(size), unitary(size)
    return out


def of(name, qubits, *angles):
    return qj.Circuit(4).append(name, qubits, angles)


CIRCUITS = {
    "cx": of("cx", [0, 1]),
    "ccx": of("ccx", [2, 0, 1]),
    "cswap": of("cswap", [1, 2, 0]),
    "crx": of("crx", [3, 1], THETA[0]),
    "cu": of("cu", [1, 2], THETA[0], THETA[1], 0.2, THETA[2]),
    "cz": of("cz", [0, 2]),
    "cp": of("cp", [0, 2], THETA[1]),
    "rzz": of("rzz", [0, 3], 2 * THETA[1] + 0.1),
    "rzx": of("rzx", [0, 3], THETA[1]),
    "phases": qj.Circuit(4).unitary(np.diag(np.exp(1j * RNG.normal(size=8))), [0, 1, 3]),
    "phases of one": qj.Circuit(4).unitary(np.kron(np.eye(2), np.diag([1, 1j])), [0, 1]),
    "rz p": of("rz", [0], THETA[0]).p(THETA[1], 0),
    "blocks": qj.Circuit(4).unitary(block_diagonal(4), [2, 1, 0]),
    "strings": qj.Circuit(4).h(3).cx(0, 3).cx(1, 3).rz(THETA[2], 3).cx(1, 3).cx(0, 3).h(3),
}


def matrix_of(leaf, bits=()):
    """A leaf's matrix on its own qubits."""
    env = {**ENV, DEVICE_BITS: jnp.asarray(bits, float)}
    return np.asarray(stack_matrices([leaf], env, jnp.float64)[..., 0])


@pytest.mark.parametrize("name", CIRCUITS)
def test_the_block_of_every_value_of_the_bits(name):
    (leaf,) = [item for item in normal_form(CIRCUITS[name], ()) if isinstance(item, Leaf)]
    whole = matrix_of(leaf)
    k = len(leaf.qubits)
    free = [q for q, axis in zip(leaf.qubits, leaf.axes, strict=True) if axis == "Z"]
    tried = 0
    for count in range(1, len(free) + 1):
        for apart in itertools.permutations(free, count):
            places = Places(tuple(q for q in range(4) if q not in apart), apart)
            local = localised(leaf, places)
            wires = [q for q in leaf.qubits if q not in apart]
            assert local.qubits == (tuple(places.wires.index(q) for q in wires) or (0,))
            for values in itertools.product((0, 1), repeat=count):
                # The rows and columns of the whole matrix with these values of the bits.
                kept = [
                    row
                    for row in range(2**k)
                    if all(row >> (k - 1 - leaf.qubits.index(q)) & 1 == v for q, v in zip(apart, values, strict=True))
                ]
                block = whole[np.ix_(kept, kept)]
                want = block if wires else block[0, 0] * np.eye(2)
                np.testing.assert_allclose(matrix_of(local, values), want, atol=1e-14)
                tried += 1
    assert tried >= 2


def test_places_say_where_qubits_are_after_a_swap():
    assert Places((0, 2, 3), (1, 4)).swapped([2, 0], [0, 1]) == Places((4, 2, 1), (3, 0))


def test_factors_that_are_computed_as_one_stack_have_one_name():
    leaves = [item for pair in ((0, 1), (2, 3)) for item in normal_form(of("cx", pair), ())]
    names = {localised(leaf, Places((1, 3), (0, 2))).signature for leaf in leaves}
    assert len(names) == 1
    (one,) = localised(leaves[0], Places((1, 3), (0, 2))).factors
    assert isinstance(one, Picked) and one.positions == (0,)
