"""A circuit of one's own as a model: features enter some of its parameters, the others are trained."""

import functools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.circuits.circuit import Circuit, require_circuit
from qjaxsim.circuits.observables import PauliSum, pauli_sums
from qjaxsim.common.checks import require_positive
from qjaxsim.common.suggestions import did_you_mean
from qjaxsim.curvature.circuit_outputs import CircuitOutputs
from qjaxsim.curvature.parts import PartSum
from qjaxsim.curvature.stages import StagedCircuit
from qjaxsim.running.array_types import to_jax

Params = dict[str, jax.Array]
Outputs = Callable[[Params, Any], jax.Array]

_SCALE = "scale"


@dataclass(frozen=True, eq=False)
class CircuitModel:
    """Expectation values of a circuit as a trainable model's outputs; pure functions of a params pytree.

    Two models that say the same are equal, and share what is compiled for them.

    Attributes:
        circuit: any, also one that came from Qiskit (`from_qiskit(...).circuit`).
        observables: one for each output.
        inputs: names of the parameters that features enter, in the order of the data's columns: one or several names,
            or what begins the names of numbered parameters ("x" for x0, x1, ..., x10, in this order).
        scale: factor of the expectation values, which lie between -1 and 1 for a Pauli product.
        trainable_scale: whether each output has a factor of its own that begins at `scale` and is trained; curvature
            then takes the way of models without structure.

    Raises:
        TypeError: for anything but a circuit and Pauli sums.
        ValueError: naming the argument, for inputs that the circuit lacks, nothing left to train, or a scale that is
            not positive.

    >>> import qjaxsim as qj
    >>> circuit = qj.angle_encoding(2).compose(qj.real_amplitudes(2, 1))
    >>> model = CircuitModel(circuit, [qj.Z(0), qj.Z(1)], inputs="x")
    >>> weights = {"weights": np.zeros((2, 2))}  # CNOT alone: cos x0, and cos x0 cos x1
    >>> print(np.asarray(model.outputs(weights, np.array([[0.0, np.pi], [np.pi, np.pi]]))).round(3))
    [[ 1. -1.]
     [-1.  1.]]
    """

    circuit: Circuit
    observables: Sequence[PauliSum]
    inputs: str | Sequence[str] = "x"
    scale: float = 1.0
    trainable_scale: bool = False

    def __post_init__(self) -> None:
        require_circuit("circuit", self.circuit)
        object.__setattr__(self, "circuit", self.circuit.copy())
        object.__setattr__(self, "observables", pauli_sums(self.observables, self.circuit.n_qubits))
        object.__setattr__(self, "inputs", input_names(self.circuit, self.inputs))
        require_positive("scale", self.scale)
        if not self.weights:
            raise ValueError(
                "Argument `circuit` must have parameters to train beside the inputs, but has "
                f"{', '.join(map(repr, self.inputs))} alone."
            )
        if self.trainable_scale and _SCALE in self.circuit.parameters:
            raise ValueError(
                f"Argument `circuit` must have no parameter {_SCALE!r} with `trainable_scale`, which is called so."
            )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CircuitModel) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @cached_property
    def _key(self) -> tuple:
        structure = self.circuit.structure_hash()
        return structure, self.observables, self.inputs, float(self.scale), bool(self.trainable_scale)

    @property
    def weights(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter of the circuit that is trained."""
        return {name: shape for name, shape in self.circuit.parameters.items() if name not in self.inputs}

    @property
    def n_features(self) -> int:
        """Columns of the data."""
        return sum(math.prod(self.circuit.parameters[name]) for name in self.inputs)

    @property
    def n_outputs(self) -> int:
        """K."""
        return len(self.observables)

    def init(self, key: jax.Array, dtype: Any = None) -> Params:
        """Initial parameters: angles uniform in [-1, 1), scales as given.

        Args:
            key: random key.
            dtype: float32 or float64; None for JAX's default.

        Returns:
            An array for each of `weights`, and "scale" (K,) with `trainable_scale`.

        >>> import qjaxsim as qj
        >>> circuit = qj.angle_encoding(3).compose(qj.efficient_su2(3, 2))
        >>> {name: leaf.shape for name, leaf in CircuitModel(circuit, [qj.Z(0)]).init(jax.random.key(0)).items()}
        {'weights': (3, 2, 3)}
        """
        dtype = jnp.zeros(()).dtype if dtype is None else dtype
        # Drawn in double precision so that single and double start from the same point.
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        drawn = {name: rng.uniform(-1, 1, self.weights[name]) for name in sorted(self.weights)}
        if self.trainable_scale:
            drawn[_SCALE] = np.full(self.n_outputs, self.scale)
        return {name: jnp.asarray(values, dtype) for name, values in drawn.items()}

    @property
    def outputs(self) -> Outputs:
        """The outputs, a function of (params, x), with the structure that `split_hessian` makes use of.

        Where data come first in the circuit that is the structure of `CircuitOutputs`, else that of `StagedCircuit`.

        Args:
            params: as `init` gives them.
            x: (batch, n_features) angles.

        Returns:
            (batch, n_outputs).

        Raises:
            ValueError: on calling, for params or x of other names or shapes.

        >>> import qjaxsim as qj
        >>> layers = qj.data_reuploading(qj.angle_encoding(2), qj.real_amplitudes(2, 1), 3)
        >>> type(CircuitModel(layers, [qj.Z(0)]).outputs).__name__
        'PartSum'
        """
        return _outputs(self)


def input_names(circuit: Circuit, inputs: str | Iterable[str]) -> tuple[str, ...]:
    """The parameters that features enter, in the order of the data's columns; see `CircuitModel`.

    Raises:
        ValueError: for names that the circuit lacks, none at all, or one twice.
    """
    known = circuit.parameters
    names = tuple(inputs) if not isinstance(inputs, str) else (inputs,) if inputs in known else _numbered(known, inputs)
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        wrong = unknown[0] if unknown else inputs
        raise ValueError(
            f"Argument `inputs` must name parameters of the circuit that features enter, but is {inputs!r}; the "
            f"circuit's parameters are {list(known)}{did_you_mean(wrong, known)}."
        )
    if len(set(names)) != len(names):
        raise ValueError(f"Argument `inputs` must name each parameter once, but is {inputs!r}.")
    return names


def _numbered(names: Iterable[str], prefix: str) -> tuple[str, ...]:
    """The names that are this prefix and a number, in the order of the numbers."""
    found = {name: re.fullmatch(re.escape(prefix) + r"[_\[]?(\d+)\]?", name) for name in names}
    numbers = {name: int(match[1]) for name, match in found.items() if match}
    return tuple(sorted(numbers, key=numbers.__getitem__))


# One object for equal models, so that what is compiled for one serves the others.
@functools.lru_cache(maxsize=64)
def _outputs(model: CircuitModel) -> Outputs:
    if model.trainable_scale:
        return functools.partial(_scaled, _structured(model, 1.0), model.n_outputs)
    return _structured(model, model.scale)


def _structured(model: CircuitModel, scale: float) -> Outputs:
    """The outputs with a constant scale, told as the structure that fits the circuit."""
    circuit, observables = model.circuit, pauli_sums(model.observables, model.circuit.n_qubits)
    shapes = tuple((name, circuit.parameters[name]) for name in model.inputs)
    columns = functools.partial(_columns, shapes)
    outputs = CircuitOutputs(circuit, observables, tuple(model.inputs), scale, columns)
    if outputs.stages is not None:
        return outputs
    part = StagedCircuit(circuit, observables, outputs.places, columns, frozenset(model.inputs))
    return PartSum(part, np.arange(outputs.n_weights)[None], _as_one_part, scale, model.weights)


def _scaled(outputs: Outputs, n_outputs: int, params: Params, x: Any) -> jax.Array:
    """Outputs times a trained factor each."""
    found = {name: np.shape(leaf) for name, leaf in params.items()}
    if found.get(_SCALE) != (n_outputs,):
        raise ValueError(f"Argument `params` must hold {_SCALE!r} of shape ({n_outputs},), but holds arrays {found}.")
    weights = {name: leaf for name, leaf in params.items() if name != _SCALE}
    return params[_SCALE][None] * outputs(weights, x)


def _columns(shapes: tuple[tuple[str, tuple[int, ...]], ...], x: Any) -> Mapping[str, jax.Array]:
    """The parameters that features (B, F) are, each (B, *shape)."""
    x = to_jax(x)
    sizes = [math.prod(shape) for _, shape in shapes]
    if x.ndim != 2 or x.shape[1] != sum(sizes):
        raise ValueError(f"Argument `x` must have shape (batch, {sum(sizes)}), a column a feature, but has {x.shape}.")
    parts = jnp.split(x, np.cumsum(sizes)[:-1].tolist(), axis=1)
    return {name: part.reshape(len(x), *shape) for (name, shape), part in zip(shapes, parts, strict=True)}


def _as_one_part(x: Any) -> jax.Array:
    return to_jax(x)[:, None]
