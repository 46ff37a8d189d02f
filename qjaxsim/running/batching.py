"""Batch axes: which parameters carry them, which the engine runs itself and which it leaves to `vmap`.

Axes that some parameters carry and others do not (a batch of data under common weights) are the engine's own: it does
the share of the work that lacks them once. Axes that every parameter carries (an ensemble of circuits) hold nothing in
common, so they are mapped over.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.circuits.qiskit_operators import refuse_turned_array
from qjaxsim.common.checks import require_unmasked
from qjaxsim.running.array_types import require_known_shape, require_unsharded, to_jax
from qjaxsim.running.varying import vary_alike

Shapes = Mapping[str, tuple[int, ...]]

INITIAL = "initial state"
"""The name of the parameter that holds a state given when a function is called."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Parameters with their batch axes sorted out.

    Attributes:
        dtype: real dtype of the parameters.
        shape: the broadcast batch shape.
        native: positions in `shape` of the axes that the engine runs itself.
        data: names of the parameters that carry native axes.
        values: parameters with all batch axes (length 1 where they lack one) in front.
        core: number of elements of each parameter without batch axes.
        runs_native: whether the function that `map` takes returns the native axes (as one, in front).
    """

    dtype: Any
    shape: tuple[int, ...]
    native: tuple[int, ...]
    data: frozenset[str]
    values: Mapping[str, jax.Array]
    core: Mapping[str, int]
    runs_native: bool

    @property
    def size(self) -> int:
        """Number of samples in the native axes."""
        return int(np.prod([self.shape[axis] for axis in self.native], dtype=int))

    @property
    def total(self) -> int:
        """Number of samples in all axes."""
        return int(np.prod(self.shape, dtype=int))

    def map(self, single: Callable[[Mapping[str, jax.Array]], jax.Array]) -> jax.Array:
        """Run a function of flat parameters over all axes.

        Args:
            single: takes weights (size,) and data (size, batch); returns (batch, ...) if `runs_native`, else (...).

        Returns:
            (*shape, ...).
        """
        outer = [axis for axis in range(len(self.shape)) if axis not in self.native]
        env = {name: self._arrange(name, value, outer) for name, value in self.values.items()}
        function = single
        for depth in reversed(range(len(outer))):
            # Names without this axis are passed through; earlier axes were already taken off by the outer maps.
            axes = {name: 0 if self.values[name].shape[outer[depth]] > 1 else None for name in env}
            function = jax.vmap(function, in_axes=(axes,), axis_size=self.shape[outer[depth]])
        out = function(env)
        sizes = tuple(self.shape[axis] for axis in outer)
        if self.runs_native:
            out = out.reshape(*sizes, *(self.shape[axis] for axis in self.native), *out.shape[len(sizes) + 1 :])
        source = np.argsort([*outer, *self.native]).tolist()
        return out.transpose([*source, *range(len(self.shape), out.ndim)])

    def _arrange(self, name: str, value: jax.Array, outer: list[int]) -> jax.Array:
        """Outer axes that the parameter has, then its elements flat, then for data the native axes as one."""
        rank = len(self.shape)
        kept = tuple(value.shape[axis] for axis in outer if value.shape[axis] > 1)
        flat = _reshaped(value, (*value.shape[:rank], self.core[name]))
        moved = flat.transpose([*outer, rank, *self.native]) if rank else flat
        if name not in self.data:
            return _reshaped(moved, (*kept, self.core[name]))
        full = tuple(self.shape[axis] for axis in self.native)
        return jnp.broadcast_to(moved, moved.shape[: len(outer) + 1] + full).reshape(*kept, self.core[name], self.size)


def _reshaped(value: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The array in a shape, without an operation where it has it: circuits may have thousands of parameters."""
    return value if value.shape == shape else value.reshape(shape)


def parse_params(params: Mapping[str, Any] | None, shapes: Shapes, native: bool = True) -> Batch:
    """Check parameters against a circuit's and sort out their batch axes.

    Args:
        params: arrays by name, shape (..., *shape of the parameter).
        shapes: the circuit's parameters.
        native: whether the engine runs batch axes itself; otherwise all are mapped over.

    Raises:
        ValueError: for missing or unknown names, shapes that do not end in the parameter's, or batch axes that do not
            broadcast or are empty.
        TypeError: for values that are not real numbers, or anything but a dictionary.
    """
    if params is not None and not isinstance(params, Mapping):
        raise TypeError(
            f"Argument `params` must be a dictionary with the keys {list(shapes)}, but is {type(params).__name__}."
        )
    if jax.tree_util.all_leaves([params]):
        raise TypeError(
            f"Argument `params` must be a dictionary that JAX knows, but is {type(params).__name__}; pass `dict` of it."
        )
    given = dict(params or {})
    _check_names(given, shapes)
    arrays = vary_alike({name: _as_real(name, given[name]) for name in shapes})
    dtype = _common_dtype(arrays.values())
    leading = {name: _batch_shape(name, array.shape, shapes[name]) for name, array in arrays.items()}
    shape = _broadcast(leading)
    padded = {name: (1,) * (len(shape) - len(axes)) + axes for name, axes in leading.items()}
    values = {name: _reshaped(a.astype(dtype), padded[name] + shapes[name]) for name, a in arrays.items()}
    chosen, data = _native_axes(shape, padded) if native else ((), frozenset[str]())
    core = {name: int(np.prod(shapes[name], dtype=int)) for name in shapes}
    return Batch(dtype, shape, chosen, data, values, core, native)


def with_initial(params: Any, initial: Any, n_qubits: int) -> Any:
    """Parameters with those of an initial state, real and imaginary parts; `params` may be anything.

    Raises:
        ValueError: for a state of another size.
        TypeError: for what makes no array of numbers.
    """
    if initial is None or not (params is None or isinstance(params, Mapping)):
        return params
    require_unmasked("Argument `initial`", initial)
    # JAX takes no such objects, of one qubit either.
    refuse_turned_array("Argument `initial`", initial, amplitudes=True, least=1)
    try:
        state = to_jax(initial)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"Argument `initial` must be an array of amplitudes, but is a {type(initial).__name__}."
        ) from error
    if not jnp.issubdtype(state.dtype, jnp.number):
        raise TypeError(f"Argument `initial` must hold numbers, but has dtype {state.dtype}.")
    if state.shape[-1:] != (2**n_qubits,):
        raise ValueError(
            f"Argument `initial` must have shape (..., {2**n_qubits}) for {n_qubits} qubits, but has {state.shape}."
        )
    real = jnp.real(state)
    imaginary = jnp.imag(state) if jnp.iscomplexobj(state) else jnp.zeros_like(real)
    return {**(params or {}), INITIAL: jnp.stack([real, imaginary], axis=-2)}


def _check_names(given: Mapping[str, Any], shapes: Shapes) -> None:
    if missing := sorted(shapes.keys() - given.keys()):
        raise ValueError(f"Argument `params` lacks {missing}; the circuit's parameters are {dict(shapes)}.")
    if unknown := sorted(given.keys() - shapes.keys()):
        raise ValueError(
            f"Argument `params` holds unknown names {unknown}; the circuit's parameters are {dict(shapes)}."
        )


def _default_dtype() -> Any:
    return jnp.zeros(()).dtype


def _as_real(name: str, value: Any) -> jax.Array:
    for leaf in jax.tree.leaves(value):
        require_unmasked(f"Parameter {name!r}", leaf)
        refuse_turned_array(f"Parameter {name!r}", leaf)
    own = jax.Array | np.ndarray | np.generic | int | float | complex  # NumPy makes arrays of more than JAX takes
    foreign = [leaf for leaf in jax.tree.leaves(value) if not isinstance(leaf, own)]
    array = None
    try:
        array = to_jax(value)
    except (TypeError, ValueError, RuntimeError) as error:  # the last by tensors of PyTorch's that have a gradient
        if not any(hasattr(leaf, "__array__") for leaf in foreign):
            kind = f" of dtype {value.dtype}" if isinstance(value, np.ndarray | np.generic) else ""
            raise TypeError(
                f"Parameter {name!r} must be an array of real numbers, but is a {type(value).__name__}{kind} that "
                "makes no array of JAX's; pass `numpy.asarray(value, float)`."
            ) from error
    if foreign or array is None:
        raise TypeError(
            f"Parameter {name!r} must be an array of JAX's or NumPy's, but holds a {type(foreign[0]).__name__}; pass "
            "`numpy.asarray` of it."
        )
    if not (jnp.issubdtype(array.dtype, jnp.floating) or jnp.issubdtype(array.dtype, jnp.integer)):
        way_out = "; pass 1.0 for True and 0.0 for False" if array.dtype == bool else ""
        raise TypeError(f"Parameter {name!r} must be real, but has dtype {array.dtype}{way_out}.")
    require_known_shape(f"Parameter {name!r}", array)
    require_unsharded(f"Parameter {name!r}", array)
    return array


def _common_dtype(arrays: Iterable[jax.Array]) -> Any:
    """The dtype that holds all float arrays; integers and Python numbers follow the others."""
    floats = [a.dtype for a in arrays if jnp.issubdtype(a.dtype, jnp.floating) and not a.weak_type]
    # Floats of 16 bits and less are too short for amplitudes.
    return np.result_type(*(d if d == jnp.float64 else np.float32 for d in floats)) if floats else _default_dtype()


def _batch_shape(name: str, shape: tuple[int, ...], core: tuple[int, ...]) -> tuple[int, ...]:
    split = len(shape) - len(core)
    if split < 0 or shape[split:] != core:
        raise ValueError(
            f"Parameter {name!r} must have shape (..., {', '.join(map(str, core))}), but has shape {shape}."
        )
    return shape[:split]


def _broadcast(leading: Shapes) -> tuple[int, ...]:
    try:
        shape = np.broadcast_shapes(*leading.values())
    except ValueError as error:
        raise ValueError(f"Batch axes must broadcast against each other, but are {dict(leading)}.") from error
    if 0 in shape:
        raise ValueError(f"Batch axes must not be empty, but are {dict(leading)}.")
    return shape


def _native_axes(shape: tuple[int, ...], padded: Shapes) -> tuple[tuple[int, ...], frozenset[str]]:
    """The axes for the engine, with the parameters that carry them.

    Of the axes that only some parameters carry, those with the same carriers as the longest one. If every axis is
    carried by all, nothing is shared in any case and the engine takes them all.
    """
    carriers = [frozenset(name for name, axes in padded.items() if axes[i] > 1) for i in range(len(shape))]
    wide = [i for i, size in enumerate(shape) if size > 1]
    if not wide:
        return tuple(range(len(shape))), frozenset()
    partial = [i for i in wide if len(carriers[i]) < len(padded)]
    if not partial:
        return tuple(range(len(shape))), frozenset(padded)
    names = carriers[max(partial, key=lambda i: shape[i])]
    return tuple(i for i in range(len(shape)) if i not in wide or carriers[i] == names), names
