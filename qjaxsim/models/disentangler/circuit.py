"""Brickwall circuits as arrays of gates, applied to the rows of a matrix.

A circuit is G_{L-1} ... G_1 G_0, layers of disjoint gates on k neighbouring qubits (qubit 0 is the most significant).
Even layers start at qubit 0, odd ones at k // 2; incomplete gates at the ends are left out. If neither kind of layer
reaches the last qubit, odd layers are moved right until they do, so that from two layers on every qubit is touched.
Gates are stored as two arrays, one of even and one of odd layers: (layers, gates a layer, 2**k, 2**k).
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common.precision import HIGHEST

# Neighbouring gates are multiplied together up to so many qubits: fewer, larger matrix products. Measured at 10 qubits.
_BLOCK_QUBITS = 6
Gates = tuple[jax.Array, jax.Array]


@dataclass(frozen=True)
class Brickwall:
    """The layout of a circuit.

    Gates as wide as the register, or of one qubit, make further layers redundant: one is kept.

    Attributes:
        n_qubits: width of the register; 0 for a register of one state, which has no gates.
        gate_qubits: qubits of a gate, k; cut to the register.
        n_layers: layers, L.
    """

    n_qubits: int
    gate_qubits: int
    n_layers: int

    def __post_init__(self) -> None:
        width = min(self.gate_qubits, self.n_qubits)
        object.__setattr__(self, "gate_qubits", width)
        most = 0 if width == 0 else 1 if width in (1, self.n_qubits) else self.n_layers
        object.__setattr__(self, "n_layers", min(self.n_layers, most))

    def offset(self, parity: int) -> int:
        """First qubit of a gate in even (0) or odd (1) layers."""
        n, k = self.n_qubits, self.gate_qubits
        if parity == 0 or k == 0:
            return 0
        return k // 2 if n % k == 0 or (n - k // 2) % k == 0 else n % k

    def gates_in_layer(self, parity: int) -> int:
        """Gates of an even (0) or odd (1) layer."""
        return (self.n_qubits - self.offset(parity)) // self.gate_qubits if self.gate_qubits else 0

    def layers_of(self, parity: int) -> int:
        """How many even (0) or odd (1) layers there are."""
        return (self.n_layers + 1 - parity) // 2

    @property
    def n_gates(self) -> int:
        """Gates in all."""
        return sum(self.layers_of(parity) * self.gates_in_layer(parity) for parity in (0, 1))

    def n_angles(self, complex_gates: bool = False) -> int:
        """Real angles: 2**(k-1) (2**k - 1) an orthogonal gate, 4**k - 1 a unitary one (its phase does not count).

        >>> [Brickwall(10, 2, n).n_angles() + Brickwall(8, 2, n).n_angles() for n in (1, 2, 4, 8, 16, 35)]
        [54, 96, 192, 384, 768, 1686]
        """
        size = 2**self.gate_qubits
        return self.n_gates * (size**2 - 1 if complex_gates else size * (size - 1) // 2)

    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shapes of the two arrays of gates."""
        size = 2**self.gate_qubits
        even, odd = ((self.layers_of(parity), self.gates_in_layer(parity), size, size) for parity in (0, 1))
        return even, odd

    def placed(self) -> list[tuple[int, int, int, tuple[int, ...]]]:
        """Gates in the order they act: (parity, index of the layer among its kind, index in the layer, qubits)."""
        return [
            (layer % 2, layer // 2, j, tuple(range(start, start + self.gate_qubits)))
            for layer in range(self.n_layers)
            for j in range(self.gates_in_layer(layer % 2))
            for start in [self.offset(layer % 2) + j * self.gate_qubits]
        ]


def identity_gates(wall: Brickwall, dtype: np.dtype) -> Gates:
    """Gates that do nothing."""
    # Made by NumPy, here and below: JAX would compile programs for every shape.
    even, odd = (np.broadcast_to(np.eye(shape[-1], dtype=dtype), shape) for shape in wall.shapes())
    return jax.device_put(even), jax.device_put(odd)


def random_gates(wall: Brickwall, dtype: np.dtype, rng: np.random.Generator) -> Gates:
    """Gates uniform (Haar) over rotations, of determinant 1, or over unitaries for complex dtypes."""
    even, odd = (_haar(shape, dtype, rng) for shape in wall.shapes())
    return even, odd


def _haar(shape: tuple[int, ...], dtype: np.dtype, rng: np.random.Generator) -> jax.Array:
    normal = rng.standard_normal(shape)
    if np.issubdtype(dtype, np.complexfloating):
        normal = normal + 1j * rng.standard_normal(shape)
    if normal.size == 0:
        return jax.device_put(np.zeros(shape, dtype))
    basis, upper = np.linalg.qr(normal)
    diagonal = np.diagonal(upper, axis1=-2, axis2=-1)
    basis = basis * (diagonal / np.abs(diagonal))[..., None, :]
    if not np.iscomplexobj(basis):
        basis[..., 0] *= np.sign(np.linalg.det(basis))[..., None]
    return jax.device_put(basis.astype(dtype))


def apply_circuit(wall: Brickwall, gates: Gates, x: jax.Array, *, inverse: bool = False) -> jax.Array:
    """The circuit, or its inverse, times every column of x (2**n_qubits, columns)."""
    even, odd = (jnp.conj(g.swapaxes(-1, -2)) for g in gates) if inverse else gates

    def pair(x: jax.Array, layers: Gates) -> tuple[jax.Array, None]:
        for parity in (1, 0) if inverse else (0, 1):
            x = apply_layer(wall.offset(parity), layers[parity], x)
        return x, None

    pairs = odd.shape[0]
    unpaired = even.shape[0] > pairs
    if unpaired and inverse:
        x = apply_layer(0, even[-1], x)
    if pairs:
        x, _ = jax.lax.scan(pair, x, (even[:pairs], odd), reverse=inverse)
    if unpaired and not inverse:
        x = apply_layer(0, even[-1], x)
    return x


def apply_layer(offset: int, gates: jax.Array, x: jax.Array) -> jax.Array:
    """The layer times every column of x (2**n, columns)."""
    shape, before = x.shape, 1
    for block in _blocks(offset, gates, shape[0]):
        size = block.shape[0]
        # A batch of products: a contraction of the middle axis alone would transpose the array first.
        x = x.reshape(before, size, -1)
        x = jnp.matmul(jnp.broadcast_to(block, (before, size, size)), x, precision=HIGHEST)
        before *= size
    return x.reshape(shape)


def apply_layer_to_rows(offset: int, gates: jax.Array, x: jax.Array) -> jax.Array:
    """The layer times every row of x, rows becoming columns: (rows, 2**n) -> (2**n, rows).

    Blocks of qubits are taken from the end and put in front, so that nothing is transposed.
    """
    rows, size = x.shape
    for block in reversed(_blocks(offset, gates, size)):
        x = x.reshape(-1, block.shape[0])
        x = jax.lax.dot_general(block, x, (((1,), (1,)), ((), ())), precision=HIGHEST)
    return x.reshape(size, rows)


def _blocks(offset: int, gates: jax.Array, size: int) -> list[jax.Array]:
    """The layer as a Kronecker product of few matrices, from the first qubits to the last."""
    width = int(math.log2(gates.shape[-1]))
    tail = size.bit_length() - 1 - offset - width * gates.shape[0]
    factors = [jnp.eye(2**offset, dtype=gates.dtype)] * (offset > 0)
    factors += list(gates)
    factors += [jnp.eye(2**tail, dtype=gates.dtype)] * (tail > 0)
    blocks = factors[:1]
    for factor in factors[1:]:
        if blocks[-1].shape[0] * factor.shape[0] <= 2**_BLOCK_QUBITS:
            blocks[-1] = jnp.kron(blocks[-1], factor)
        else:
            blocks.append(factor)
    return blocks
