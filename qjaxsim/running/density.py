"""From a density matrix to numbers: expectation values of Pauli sums, probabilities.

Density matrices of n qubits are states of 2 n, (2, 4**n, columns): real and imaginary part, row bits before column
bits. Results have the columns last. What is read of the final matrix is divided by its trace where the circuit
projects.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.circuits.observables import PauliSum
from qjaxsim.common.precision import HIGHEST
from qjaxsim.planning.readout import Errors, with_readout
from qjaxsim.running import measurement


class Reading(NamedTuple):
    """How final density matrices are read.

    Attributes:
        normalise: whether to divide by the trace.
        errors: readout errors by qubit.
    """

    normalise: bool
    errors: Errors


def entries(reading: Reading, state: jax.Array) -> jax.Array:
    """All entries as complex numbers, (4**n, columns)."""
    return jax.lax.complex(*(_normalised(state) if reading.normalise else state))


def expectation_values(observables: Sequence[PauliSum], reading: Reading, state: jax.Array) -> jax.Array:
    """tr(O rho) of several Hermitian Pauli sums, (observables, columns) real.

    Cost: 2**n entries for each set of flipped qubits.
    """
    n_qubits = _n_qubits(state)
    sums = tuple(with_readout(observable, reading.errors) for observable in observables)
    rho = _normalised(state) if reading.normalise else state
    re, im = rho.reshape(2, 2**n_qubits, 2**n_qubits, -1)
    index = np.arange(2**n_qubits, dtype=np.uint32)

    def overlap(flip: jax.Array, odd: jax.Array | bool) -> jax.Array:
        columns = jnp.asarray(index) ^ flip
        if isinstance(odd, bool):
            return (im if odd else re)[index, columns]
        return jnp.where(odd, im[index, columns], re[index, columns])

    return measurement.flipped_sums(sums, overlap, n_qubits, rho)


def pure_probabilities(reading: Reading, state: jax.Array, qubits: Sequence[int]) -> jax.Array:
    """The same of pure states (2, 2**n, columns)."""
    return read_wrongly(measurement.marginal_probabilities(state, qubits), qubits, reading.errors)


def marginal_probabilities(reading: Reading, state: jax.Array, qubits: Sequence[int]) -> jax.Array:
    """Probabilities of what is read of some qubits, (2**len(qubits), columns), first qubit most significant."""
    diagonal = _diagonal(state)
    if reading.normalise:
        diagonal = diagonal / diagonal.sum(axis=0, keepdims=True)
    return read_wrongly(measurement.marginal(diagonal, qubits), qubits, reading.errors)


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


def of_pure(state: jax.Array) -> jax.Array:
    """The entries of |psi><psi|, (4**n, columns) complex, of states (2, 2**n, columns)."""
    psi = jax.lax.complex(*state)
    return (psi[:, None] * psi.conj()[None]).reshape(-1, psi.shape[1])


def _n_qubits(state: jax.Array) -> int:
    return (state.shape[1].bit_length() - 1) // 2


def _diagonal(state: jax.Array) -> jax.Array:
    size = 2 ** _n_qubits(state)
    return state[0, :: size + 1]


def _normalised(state: jax.Array) -> jax.Array:
    return state / _diagonal(state).sum(axis=0)[None, None]
