"""From a state to the values of operators that are no Pauli sums, and what observables do to a state.

States have shape (2, 2**n, columns), as in `measurement.py`.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.circuits.operators import (
    DenseOperator,
    DiagonalOperator,
    ProjectorOperator,
    SparseOperator,
    WideOperator,
)
from qjaxsim.circuits.sums import Operator, PauliSum
from qjaxsim.circuits.weighted import Weighted
from qjaxsim.common.precision import HIGHEST
from qjaxsim.running import kernels
from qjaxsim.running.measurement import apply_observables, expectation_values, marginal_probabilities
from qjaxsim.running.varying import rest


def operator_values(operators: Sequence[Operator], state: jax.Array) -> jax.Array:
    """<psi|O|psi> of several operators.

    Args:
        operators: B Pauli sums with real coefficients or operators on many qubits.
        state: (2, 2**n, columns) real.

    Returns:
        (B, columns) real. Pauli sums are read together; a diagonal takes a pass over the probabilities of its qubits, a
        projector an overlap, a matrix its product with the state, a sparse one a gather of its entries.
    """
    return read_each(operators, lambda sums: expectation_values(sums, state), lambda operator: value(operator, state))


def read_each(
    operators: Sequence[Operator],
    of_sums: Callable[[list[PauliSum]], jax.Array],
    of_other: Callable[[WideOperator], jax.Array],
) -> jax.Array:
    """Values of operators in their order, (B, columns): Pauli sums are read together, others one by one."""
    sums = [operator for operator in operators if isinstance(operator, PauliSum)]
    together = iter(of_sums(sums) if sums else ())
    return jnp.stack([next(together) if isinstance(each, PauliSum) else of_other(each) for each in operators])


def variances(asked: Weighted, state: jax.Array) -> jax.Array:
    """<psi|O^2|psi> - <psi|O|psi>^2 of observables with numbers as weights, (K, columns).

    As the squared norm of (O - <O>) psi, so that nothing large cancels: near an eigenstate it is as small as it should
    be, and never negative.
    """
    images = images_of(asked, state)
    means = [total(state * image) for image in images]
    return jnp.stack([squares(image - mean[None, None] * state) for image, mean in zip(images, means, strict=True)])


def moments(asked: Weighted, state: jax.Array) -> jax.Array:
    """<psi|O|psi> of observables with numbers as weights, and then <psi|O^2|psi>, (2 K, columns)."""
    images = images_of(asked, state)
    return jnp.stack([*(total(state * image) for image in images), *map(squares, images)])


def images_of(
    asked: Weighted, state: jax.Array, apply: Callable[[Operator], jax.Array] | None = None
) -> list[jax.Array]:
    """Observables with numbers as weights applied to states, an array like the state for each; `apply` applies one."""
    images = [jnp.zeros_like(state)] * asked.n_observables
    for observable, operator, weight in asked.entries:
        one = asked.operators[operator]
        image = apply_operator(one, state) if apply is None else apply(one)
        images[observable] = images[observable] + jnp.asarray(weight, state.dtype) * image
    return images


def value(operator: WideOperator, state: jax.Array) -> jax.Array:
    """The expectation value in each column."""
    match operator:
        case DiagonalOperator():
            chances = marginal_probabilities(operator.qubits, state)
            return jnp.matmul(jnp.asarray(operator.values, state.dtype), chances, precision=HIGHEST)
        case ProjectorOperator():
            return squares(_overlap(operator, _in_front(operator.qubits, state)))
    front = _in_front(operator.qubits, state)
    return total(front * _applied(operator, front))


def apply_operator(operator: Operator, state: jax.Array) -> jax.Array:
    """A Pauli sum with real coefficients, or an operator on many qubits, applied to states; an array like the state."""
    if isinstance(operator, PauliSum):
        return apply_observables([operator], jnp.ones((1, 1), state.dtype), state)
    n_qubits = state.shape[1].bit_length() - 1
    out = _applied(operator, _in_front(operator.qubits, state))
    return kernels.reorder(out, _order(operator.qubits, n_qubits), range(n_qubits))


def _applied(operator: WideOperator, front: jax.Array) -> jax.Array:
    """The operator applied to states whose leading index bits are its qubits."""
    match operator:
        case DenseOperator():
            parts = np.stack([operator.matrix.real, operator.matrix.imag])
            return kernels.apply_dense(jnp.asarray(parts, front.dtype), front)
        case DiagonalOperator():
            blocks = front.reshape(2, len(operator.values), *rest(front))
            factors = jnp.asarray(operator.values.reshape(-1, *(1,) * (blocks.ndim - 2)), front.dtype)
            return (blocks * factors[None]).reshape(front.shape)
        case ProjectorOperator():
            ket = jnp.asarray(np.stack([operator.state.real, operator.state.imag])[:, :, None], front.dtype)
            return kernels.apply_dense(ket, _overlap(operator, front))
        case SparseOperator():
            return _apply_sparse(operator, front)


def _apply_sparse(operator: SparseOperator, front: jax.Array) -> jax.Array:
    re, im = jnp.unstack(front.reshape(2, 2 ** len(operator.qubits), *rest(front))[:, operator.columns])
    values = operator.values.reshape(-1, *(1,) * (re.ndim - 1))
    a, b = jnp.asarray(values.real, front.dtype), jnp.asarray(values.imag, front.dtype)
    products = jnp.stack([a * re - b * im, a * im + b * re], axis=1)
    size = 2 ** len(operator.qubits)
    rows = jax.ops.segment_sum(products, jnp.asarray(operator.rows), size, indices_are_sorted=True)
    return jnp.moveaxis(rows, 0, 1).reshape(front.shape)


def _overlap(operator: ProjectorOperator, front: jax.Array) -> jax.Array:
    """The state's part along the projector's, (2, 2**(n - k), columns)."""
    bra = np.stack([operator.state.real, -operator.state.imag])[:, None]
    return kernels.apply_dense(jnp.asarray(bra, front.dtype), front)


def _in_front(qubits: Sequence[int], state: jax.Array) -> jax.Array:
    n_qubits = state.shape[1].bit_length() - 1
    return kernels.reorder(state, range(n_qubits), _order(qubits, n_qubits))


def _order(qubits: Sequence[int], n_qubits: int) -> list[int]:
    return [*qubits, *(q for q in range(n_qubits) if q not in qubits)]


def squares(state: jax.Array) -> jax.Array:
    """The squared norm of each column."""
    return total(state**2)


def total(products: jax.Array) -> jax.Array:
    """Sums over real and imaginary part and all amplitudes, (columns,)."""
    flat = products[0] + products[1]
    return kernels.sum_over_bits(flat, range(len(flat).bit_length() - 1))
