"""Each column's own matrices on single qubits, as a loop: data encodings, which differ from sample to sample.

As products of matrices they would be slow: no matrix serves two columns. Here each is a few multiplications of whole
rows. Every turn of the loop works on the first index bit and moves it behind all others, so that the program is that of
one qubit, and nothing is transposed. States are those of `kernels`, matrices (qubits, 2, 2, 2, columns): of each qubit
real and imaginary part, row, column.
"""

import jax
import jax.numpy as jnp
from jax import lax

from qjaxsim.running.sweep import with_sweep
from qjaxsim.running.varying import vary_alike

Part = tuple[jax.Array, jax.Array]
"""Real and imaginary part."""


def apply_singles(matrices: jax.Array, state: jax.Array) -> jax.Array:
    """The state after all matrices. Reverse mode runs the loop backwards and keeps no state of its turns."""

    def forward(inputs: tuple[jax.Array, jax.Array]) -> jax.Array:
        def turn(state: jax.Array, matrix: jax.Array) -> tuple[jax.Array, None]:
            low, high = _halves(state, 1)
            return _joined(_rows(matrix, low, high), 2), None

        matrices, state = inputs
        return lax.scan(turn, state, matrices)[0]

    def pull(final: jax.Array, inputs: tuple[jax.Array, jax.Array], ct: jax.Array) -> tuple[jax.Array, jax.Array]:
        _, d_state, d_matrices = reverse_singles(inputs[0], final, ct)
        return d_matrices, d_state

    return with_sweep(forward, pull)(vary_alike((matrices, state)))


def undo_singles(matrices: jax.Array, state: jax.Array) -> jax.Array:
    """The state before all matrices, from the one after them."""
    return lax.scan(lambda state, matrix: (_turned_back(matrix, state), None), state, matrices, reverse=True)[0]


def reverse_singles(matrices: jax.Array, state: jax.Array, ct: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """From the state after all matrices and its cotangent to those before, with the cotangents of the matrices.

    No state is kept: each is found from the one after it.
    """

    def turn(carry: tuple[jax.Array, jax.Array], matrix: jax.Array) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        state, ct = carry
        # A matrix M takes b to a = M b. Its cotangent <ct, b> is <ct, a> M, as b = M+ a.
        d_matrix = _product(_overlaps(ct, state), matrix)
        return (_turned_back(matrix, state), _turned_back(matrix, ct)), d_matrix

    (state, ct), d_matrices = lax.scan(turn, (state, ct), matrices, reverse=True)
    return state, ct, d_matrices


def _turned_back(matrix: jax.Array, state: jax.Array) -> jax.Array:
    """A state before one turn: the adjoint on the last index bit, which is moved to the front."""
    re, im = jnp.unstack(jnp.swapaxes(matrix, 1, 2))
    low, high = _halves(state, 2)
    return _joined(_rows(jnp.stack([re, -im]), low, high), 1)


def _halves(state: jax.Array, axis: int) -> tuple[Part, Part]:
    """Amplitudes where the first (axis 1) or last (axis 2) index bit is 0 and where it is 1, (2**n / 2, columns)."""
    _, size, columns = state.shape
    bits = (2, 2, size // 2, columns) if axis == 1 else (2, size // 2, 2, columns)
    re, im = (jnp.unstack(part, axis=axis - 1) for part in jnp.unstack(state.reshape(bits)))
    return (re[0], im[0]), (re[1], im[1])


def _joined(halves: tuple[Part, Part], axis: int) -> jax.Array:
    """A state from its amplitudes where the first or last index bit is 0 and where it is 1."""
    (low_re, low_im), (high_re, high_im) = halves
    parts = [jnp.stack(pair, axis=axis - 1) for pair in ((low_re, high_re), (low_im, high_im))]
    return jnp.stack(parts).reshape(2, -1, low_re.shape[1])


def _rows(matrix: jax.Array, low: Part, high: Part) -> tuple[Part, Part]:
    """Both rows of a matrix times a pair of amplitudes."""
    (a, b), (c, d) = (jnp.unstack(row, axis=1) for row in jnp.unstack(matrix[:, :, :, None], axis=1))
    return _sum(a, low, b, high), _sum(c, low, d, high)


def _sum(a: jax.Array, x: Part, b: jax.Array, y: Part) -> Part:
    """A x + b y, complex."""
    (a_re, a_im), (b_re, b_im) = a, b
    return (
        a_re * x[0] - a_im * x[1] + b_re * y[0] - b_im * y[1],
        a_re * x[1] + a_im * x[0] + b_re * y[1] + b_im * y[0],
    )


def _overlaps(ct: jax.Array, state: jax.Array) -> jax.Array:
    """Sums of ct times the conjugate state over all other index bits, (2, 2, 2, columns)."""
    pairs = [(a, b) for a in _halves(ct, 2) for b in _halves(state, 2)]
    re = [a[0] * b[0] + a[1] * b[1] for a, b in pairs]
    im = [a[1] * b[0] - a[0] * b[1] for a, b in pairs]
    return jnp.stack(re + im).sum(axis=1).reshape(2, 2, 2, -1)


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    """Products of two complex matrices (2, 2, 2, columns)."""
    (a_re, a_im), (b_re, b_im) = jnp.unstack(a), jnp.unstack(b)

    def times(x: jax.Array, y: jax.Array) -> jax.Array:
        return x[:, :1] * y[:1] + x[:, 1:] * y[1:]

    return jnp.stack([times(a_re, b_re) - times(a_im, b_im), times(a_re, b_im) + times(a_im, b_re)])
