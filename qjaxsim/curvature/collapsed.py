"""The split H = G + R of a circuit whose data come first: encoded states, then one unitary of all weights.

Outputs z_k = <chi|U^dagger O_k U|chi> depend on a sample through its encoded state chi alone, and on the weights
through U alone. The sum over samples in the residual part therefore collapses into one operator for each observable,
rho_k = sum_b s_bk |chi_b><chi_b|, whatever the number of samples, and derivatives of U serve all of them. `hessian.md`
derives it.

Complex arrays are stacked real, see `stacked.py`; operators on states are (2, d, d).
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from qjaxsim.circuit import Circuit
from qjaxsim.curvature.hvp import hessian, unit_vector
from qjaxsim.curvature.stacked import DIRECTIONS_AT_ONCE, HIGHEST, by_rows, inner, outer, pushed, times
from qjaxsim.measurement import apply_observables, expectation_values
from qjaxsim.observables import PauliSum, pauli_sums
from qjaxsim.operations import used_parameters
from qjaxsim.simulate import expectation, has_projection, statevector, unitary

# With fewer samples pushes are always quicker: most of their time is then that of starting programs.
LEAST_SAMPLES = 1024


@dataclass(frozen=True, eq=False)
class CircuitOutputs:
    """Expectation values of a circuit as a model's outputs, with the structure that `split_hessian` makes use of.

    Callable like any model's outputs: `outputs(params, x)` gives scale * <O_k>, shape (B, K).

    Attributes:
        circuit: its parameters are the weights and the data.
        observables: one for each output.
        data: names of the parameters that samples bring. The model's `x` is a dictionary of them, each (B, *shape), and
            `params` one of all others.
        scale: a constant factor.

    Raises:
        ValueError: for an observable that does not fit, no data, or a name in `data` that the circuit does not have.
    """

    circuit: Circuit
    observables: Sequence[PauliSum]
    data: Sequence[str]
    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "circuit", self.circuit.copy())
        object.__setattr__(self, "observables", pauli_sums(self.observables, self.circuit.n_qubits))
        if not self.data:
            raise ValueError("Argument `data` must name at least one parameter that samples bring, but is empty.")
        unknown = [name for name in self.data if name not in self.circuit.parameters]
        if unknown:
            raise ValueError(
                f"Argument `data` names {', '.join(unknown)}, but the circuit's parameters are "
                f"{', '.join(self.circuit.parameters)}."
            )

    @cached_property
    def _values(self) -> Callable[..., jax.Array]:
        return expectation(self.circuit, self.observables)

    def __call__(self, params: Mapping[str, Any], x: Mapping[str, Any]) -> jax.Array:
        """The outputs, shape (B, K)."""
        return self.scale * self._values({**params, **x})

    @cached_property
    def stages(self) -> tuple[Circuit, Circuit] | None:
        """The circuit as encoding and weights, or None if weights come before the last data or qubits are projected."""
        operations = self.circuit.operations
        names = [{name for name, _ in used_parameters(operation)} for operation in operations]
        data = set(self.data)
        end = max((i + 1 for i, used in enumerate(names) if used & data), default=0)
        if any(used - data for used in names[:end]) or has_projection(self.circuit):
            return None
        first, second = Circuit(self.circuit.n_qubits), Circuit(self.circuit.n_qubits)
        first._add(*operations[:end])
        second._add(*operations[end:])
        return first, second

    def collapses(self, n_samples: int, n_parameters: int) -> bool:
        """Whether derivatives of the unitary are cheaper than pushes of all samples.

        Measured on 8 qubits, 8 observables and 3 layers: the operators cost as much as pushing 800 to 1,000 samples,
        and after them a sample costs less than half.
        """
        enough = n_samples >= max(len(self.observables) * 2**self.circuit.n_qubits, LEAST_SAMPLES)
        return self.stages is not None and n_parameters > 0 and enough


def weight_unitary(model: CircuitOutputs, params: Any) -> jax.Array:
    """The unitary of all weights, (d, 2, d)."""
    assert model.stages is not None
    matrix = unitary(model.stages[1])(params)
    return by_rows(matrix)


@functools.partial(jax.jit, static_argnums=0)
def tangents(model: CircuitOutputs, params: Any) -> tuple[jax.Array, jax.Array]:
    """The unitary of all weights, (d, 2, d), and its derivatives in every weight, (P, d, 2, d)."""
    flat, unravel = ravel_pytree(params)
    matrix = lambda w: weight_unitary(model, unravel(w))  # noqa: E731
    push = lambda i: jax.jvp(matrix, (flat,), (unit_vector(i, flat),))[1]  # noqa: E731
    start = matrix(flat)
    return start, pushed(push, jnp.arange(flat.size), start.shape, start.dtype)


@functools.partial(jax.jit, static_argnums=0)
def add_samples(
    model: CircuitOutputs, found: tuple[jax.Array, jax.Array], x: Any, slope: jax.Array, operators: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What one chunk of samples brings.

    Args:
        model: the structure.
        found: what `tangents` returns.
        x: inputs of B samples.
        slope: (B, K), held constant.
        operators: (K, 2, d, d), the operators rho_k of the samples before.

    Returns:
        The operators with these samples, the Jacobian of the outputs (P, B, K), and the gradient (P,) of
        sum(slope * z).
    """
    chi = encoded(model, x, slope)
    final, moved = (times(left, chi) for left in found)
    values = lambda state: expectation_values(model.observables, jnp.swapaxes(state, 0, 1))  # noqa: E731
    column = lambda tangent: jax.jvp(values, (final,), (tangent,))[1]  # noqa: E731
    jacobian = model.scale * jnp.swapaxes(jax.vmap(column)(moved), 1, 2)
    gradient = jnp.einsum("pbk,bk->p", jacobian, slope, precision=HIGHEST)
    return operators + density_operators(model, chi, slope), jacobian, gradient


def encoded(model: CircuitOutputs, x: Any, slope: jax.Array) -> jax.Array:
    """The encoded states of B samples, (2, d, B), in the dtype of the slopes (B, K)."""
    assert model.stages is not None
    states = jnp.broadcast_to(statevector(model.stages[0])(x), (len(slope), 2**model.circuit.n_qubits))
    return jnp.stack([states.real.T, states.imag.T]).astype(slope.dtype)


def density_operators(model: CircuitOutputs, chi: jax.Array, slope: jax.Array) -> jax.Array:
    """The operators rho_k of B samples, (K, 2, d, d), from their encoded states and slopes (B, K)."""
    weighted = lambda weights: jnp.swapaxes(outer(chi * weights[None, None], chi), 0, 1)  # noqa: E731
    return jax.vmap(weighted, 1)(model.scale * slope)


@functools.partial(jax.jit, static_argnums=0)
def residual_part(
    model: CircuitOutputs, found: tuple[jax.Array, jax.Array], params: Any, operators: jax.Array
) -> jax.Array:
    """R, (P, P): second derivatives of sum_k tr(O_k U rho_k U^dagger) in the weights."""
    matrix, each = found
    size = len(each)

    def image(block: jax.Array) -> jax.Array:  # sum_k O_k block rho_k, (d, 2, d)
        total = jnp.zeros((2, len(matrix), len(matrix)), matrix.dtype)
        for observable, operator in zip(model.observables, operators, strict=True):
            turned = jnp.swapaxes(times(block, operator), 0, 1)
            total = total + apply_observables((observable,), jnp.ones((1, 1), block.dtype), turned)
        return jnp.swapaxes(total, 0, 1)

    images = jax.lax.map(image, each, batch_size=min(DIRECTIONS_AT_ONCE, size))
    fixed = image(matrix)
    linear = lambda p: jnp.sum(fixed * weight_unitary(model, p))  # noqa: E731
    return 2 * (inner(each, images) + hessian(linear, params, batch_size=min(DIRECTIONS_AT_ONCE, size)))


def no_operators(model: CircuitOutputs, dtype: Any) -> jax.Array:
    """The operators of no samples, (K, 2, d, d)."""
    size = 2**model.circuit.n_qubits
    return jnp.zeros((len(model.observables), 2, size, size), dtype)
