"""Expectation values of a circuit as a model's outputs, with the structure that their derivatives make use of."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.inspection import is_unitary, used_parameters
from qjaxsim.circuits.observables import PauliSum, pauli_sums
from qjaxsim.curvature.light_cones import Cones, Tables, find_cones
from qjaxsim.running.simulate import expectation, statevector

# With fewer samples pushes are quicker than the whole unitary: most of their time is then that of starting programs.
LEAST_SAMPLES = 1024
# A push costs as much as so many multiply-adds in matrix products for each gate, direction and amplitude (measured).
PUSH = 15


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
        inputs: from the model's x to that dictionary, where x is something else.

    Raises:
        ValueError: for an observable that does not fit, no data, or a name in `data` that the circuit does not have; on
            calling for params that hold a name in `data`.

    >>> import jax.numpy as jnp, qjaxsim as qj
    >>> x, w = qj.Parameter("x"), qj.Parameter("w")
    >>> outputs = CircuitOutputs(qj.Circuit(1).ry(x, 0).ry(w, 0), [qj.Z(0)], data=["x"])  # cos(x + w)
    >>> print(np.asarray(outputs({"w": jnp.array(0.5)}, {"x": jnp.array([0.0, 0.5])})).round(3))
    [[0.878]
     [0.54 ]]
    """

    circuit: Circuit
    observables: Sequence[PauliSum]
    data: Sequence[str]
    scale: float = 1.0
    inputs: Callable[[Any], Mapping[str, jax.Array]] | None = None

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

    def __call__(self, params: Mapping[str, Any], x: Any) -> jax.Array:
        """The outputs, shape (B, K)."""
        if twice := [name for name in self.data if name in params]:
            raise ValueError(
                f"Argument `params` must not hold what samples bring, but holds {', '.join(twice)}; leave it out."
            )
        return self.scale * self._values({**params, **self._given(x)})

    def _given(self, x: Any) -> Mapping[str, Any]:
        return x if self.inputs is None else self.inputs(x)

    @cached_property
    def stages(self) -> tuple[Circuit, Circuit] | None:
        """The circuit as encoding and weights, or None if weights come before the last data or qubits are projected."""
        operations = self.circuit.operations
        names = [{name for name, _ in used_parameters(operation)} for operation in operations]
        data = set(self.data)
        end = max((i + 1 for i, used in enumerate(names) if used & data), default=0)
        if any(used - data for used in names[:end]) or not is_unitary(self.circuit.operations):
            return None
        first, second = Circuit(self.circuit.n_qubits), Circuit(self.circuit.n_qubits)
        first.extend(operations[:end])
        second.extend(operations[end:])
        return first, second

    @cached_property
    def places(self) -> dict[str, np.ndarray]:
        """By name of a weight, where its elements stand in the flat parameters, in `ravel_pytree` order."""
        shapes, start, out = self.circuit.parameters, 0, {}
        for name in sorted(set(shapes) - set(self.data)):
            size = math.prod(shapes[name])
            out[name] = np.arange(start, start + size).reshape(shapes[name])
            start += size
        return out

    @property
    def n_weights(self) -> int:
        """P."""
        return sum(place.size for place in self.places.values())

    @cached_property
    def _encoding(self) -> Callable[..., jax.Array]:
        assert self.stages is not None
        return statevector(self.stages[0])

    def encoded(self, x: Any) -> jax.Array:
        """The samples' encoded states (B, d), or (d,) where all are the same."""
        return self._encoding(self._given(x))

    @cached_property
    def cones(self) -> Cones | None:
        """The light cones of the observables in the weights, if the circuit has these stages and cones can be found."""
        if self.stages is None or not self.n_weights:
            return None
        return find_cones(self.stages[1], self.places, self.observables, self.n_weights)

    @cached_property
    def tables(self) -> Tables:
        """The cones' tables."""
        assert self.cones is not None
        return self.cones.tables()

    def sees_little(self, n_samples: int) -> bool:
        """Whether derivatives by light cones are cheapest."""
        if self.cones is None:
            return False
        pushes = PUSH * self.cones.n_gates * self.n_weights * 2**self.circuit.n_qubits
        matrices = 4 * self.n_weights * 4**self.circuit.n_qubits
        return self.cones.cost(n_samples) < n_samples * min(pushes, matrices)

    def collapses(self, n_samples: int, n_parameters: int) -> bool:
        """Whether derivatives of the whole unitary are cheaper than pushes of all samples.

        Measured on 8 qubits, 8 observables and 3 layers: the operators cost as much as pushing 800 to 1,000 samples,
        and after them a sample costs less than half.
        """
        enough = n_samples >= max(len(self.observables) * 2**self.circuit.n_qubits, LEAST_SAMPLES)
        return self.stages is not None and n_parameters > 0 and enough
