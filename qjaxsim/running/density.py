"""From a density matrix to numbers: expectation values of Pauli sums, probabilities.

Density matrices of n qubits are states of 2 n, (2, 4**n, columns): real and imaginary part, row bits before column
bits. Results have the columns last. Wires behind these, of classical bits or of outcomes that were kept apart, become
columns: a result is their sum.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.circuits.sums import Operator, PauliSum
from qjaxsim.circuits.weighted import Weighted
from qjaxsim.common.precision import HIGHEST
from qjaxsim.planning.deferring import Lowered
from qjaxsim.planning.readout import Errors
from qjaxsim.running import kernels, measurement
from qjaxsim.running.operators import apply_operator, images_of, read_each

Readout = Callable[[jax.Array], jax.Array]


def read_qubits(readout: Readout, form: Lowered, state: jax.Array) -> jax.Array:
    """A readout of the circuit's own qubits, from the state of all wires, (m, columns)."""
    own = 2 ** (form.n_qubits * (1 + form.is_density))
    others = state.shape[1] // own
    if others == 1:
        return readout(state)
    values = readout(state.reshape(2, own, -1))
    return values.reshape(len(values), others, -1).sum(axis=1)


def normalised(form: Lowered, state: jax.Array) -> jax.Array:
    """Density matrices divided by their traces."""
    return state / diagonal(form, state).sum(axis=0)[None, None]


def diagonal(form: Lowered, state: jax.Array) -> jax.Array:
    """The diagonal of density matrices, with the classical bits behind, (2**(n + bits), columns)."""
    size = 2**form.n_qubits
    blocks = state[0].reshape(size * size, -1, state.shape[2])
    return blocks[:: size + 1].reshape(-1, state.shape[2])


def bit_probabilities(form: Lowered, bits: Sequence[int], state: jax.Array) -> jax.Array:
    """Probabilities of the classical bits' values, (2**len(bits), columns), first bit most significant."""
    wires, n = [form.bits[bit] for bit in bits], form.n_qubits
    if form.is_density:  # on whose diagonal columns' bits are those of rows
        own = [wire if wire < n else wire - n for wire in wires]
        found = none_below_zero(measurement.marginal(diagonal(form, state), own))
    else:
        found = measurement.marginal_probabilities(wires, state)
    return read_wrongly(found, bits, form.misread)


def entries(qubits: Sequence[int], state: jax.Array) -> jax.Array:
    """The entries of density matrices of some qubits, the others traced out, (4**len(qubits), columns)."""
    n_qubits = (state.shape[1].bit_length() - 1) // 2
    rest = [q for q in range(n_qubits) if q not in qubits]
    own, others = [*qubits, *(n_qubits + q for q in qubits)], [*rest, *(n_qubits + q for q in rest)]
    blocks = kernels.reorder(state, range(2 * n_qubits), own + others)
    blocks = blocks.reshape(2, 4 ** len(qubits), 2 ** len(rest), 2 ** len(rest), -1)
    return kernels.to_complex(jnp.trace(blocks, axis1=2, axis2=3))


def of_pure(qubits: Sequence[int], state: jax.Array) -> jax.Array:
    """The same of pure states |psi><psi|, given as (2, 2**n, columns)."""
    n_qubits, columns = state.shape[1].bit_length() - 1, state.shape[2]
    rest = [q for q in range(n_qubits) if q not in qubits]
    psi = kernels.reorder(state, range(n_qubits), [*qubits, *rest])
    re, im = jnp.unstack(psi.reshape(2, 2 ** len(qubits), 2 ** len(rest), columns))
    product = lambda left, right: jnp.einsum("abc,dbc->adc", left, right, precision=HIGHEST)  # noqa: E731
    crossed = product(im, re)
    found = jnp.stack([product(re, re) + product(im, im), crossed - crossed.swapaxes(0, 1)])
    return kernels.to_complex(found.reshape(2, -1, columns))


def expectation_values(observables: Sequence[PauliSum], state: jax.Array) -> jax.Array:
    """tr(O rho) of several Hermitian Pauli sums, (observables, columns) real.

    Cost: 2**n entries for each set of flipped qubits.
    """
    n_qubits = (state.shape[1].bit_length() - 1) // 2
    re, im = jnp.unstack(state.reshape(2, 2**n_qubits, 2**n_qubits, -1))
    index = np.arange(2**n_qubits, dtype=np.uint32)

    def overlap(flip: jax.Array, odd: jax.Array | bool) -> jax.Array:
        columns = jnp.asarray(index) ^ flip
        if isinstance(odd, bool):
            return (im if odd else re)[index, columns]
        return jnp.where(odd, im[index, columns], re[index, columns])

    return measurement.flipped_sums(observables, overlap, n_qubits, state)


def operator_values(operators: Sequence[Operator], state: jax.Array) -> jax.Array:
    """tr(O rho) of several operators, (operators, columns) real: what `operators.operator_values` is of pure states."""
    # An operator that acts on the rows gives O rho.
    return read_each(
        operators,
        lambda sums: expectation_values(sums, state),
        lambda operator: _trace(apply_operator(operator, state)),
    )


def moments(asked: Weighted, state: jax.Array) -> jax.Array:
    """tr(O rho) of observables with numbers as weights, and then tr(O O rho), (2 K, columns)."""
    first = images_of(asked, state)
    second = [images_of(asked, image)[k] for k, image in enumerate(first)]
    return jnp.stack([_trace(image) for image in (*first, *second)])


def _trace(state: jax.Array) -> jax.Array:
    n_qubits = (state.shape[1].bit_length() - 1) // 2
    return state[0, :: 2**n_qubits + 1].sum(axis=0)


def marginal_probabilities(qubits: Sequence[int], state: jax.Array) -> jax.Array:
    """Probabilities of the outcomes of some qubits, (2**len(qubits), columns), first qubit most significant."""
    n_qubits = (state.shape[1].bit_length() - 1) // 2
    return none_below_zero(measurement.marginal(state[0, :: 2**n_qubits + 1], qubits))


def none_below_zero(found: jax.Array, scale: jax.Array | float = 1.0) -> jax.Array:
    """Numbers that cannot be negative, zero where they are so by rounding; their roots would be NaN.

    Derivatives stay as they are: a probability may begin to grow where it is zero. What is far below zero, as
    impossible strengths make it, stays too.

    Args:
        found: the numbers.
        scale: of what they are made of, of a shape that broadcasts to theirs.
    """
    rounding = float(jnp.finfo(found.dtype).eps) ** 0.5 * scale
    return found + jax.lax.stop_gradient(jnp.where((found < 0) & (found >= -rounding), -found, 0))


def read_wrongly(probabilities: jax.Array, qubits: Sequence[int], errors: Errors) -> jax.Array:
    """Probabilities of what is read from those of the outcomes, (2**len(qubits), columns)."""
    shape = (2,) * len(qubits)
    for place, qubit in enumerate(qubits):
        if qubit in errors:
            tensor = probabilities.reshape(*shape, -1)
            matrix = jnp.asarray(errors[qubit], tensor.dtype)
            read = jnp.tensordot(matrix, tensor, (1, place), precision=HIGHEST)
            probabilities = jnp.moveaxis(read, 0, place).reshape(probabilities.shape)
    return probabilities
