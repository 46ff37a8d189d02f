"""Values as Qiskit binds them, in the form that our functions take; traced values stay traced."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from qiskit.primitives.containers.bindings_array import BindingsArray

from qjaxsim_qiskit.exporting import name_and_index, real_array, vector_lengths

Shapes = Mapping[str, tuple[int, ...]]


class Binding:
    """What values may be given to: Qiskit's parameters in order, vectors, names.

    Args:
        order: Qiskit's parameters in its own order.
        shapes: of our circuit's parameters.
        argument: the name of the values, for messages.
    """

    def __init__(self, order: Sequence[Any], shapes: Shapes, argument: str):
        self.order, self.shapes, self.what = order, shapes, f"Argument `{argument}`"
        self.lengths = vector_lengths(order)

    def __call__(self, values: Any) -> dict[str, Any]:
        """An array for each of our parameters, float64 unless values are traced; as `ImportedCircuit.params`."""
        if isinstance(values, BindingsArray):
            values = values.data
        table, columns = self._by_parameter(values) if isinstance(values, Mapping) else self._by_position(values)
        batch, xp = table.shape[:-1], jnp if isinstance(table, jax.Array) else np
        places = {name: np.full(math.prod(shape), -1) for name, shape in self.shapes.items()}
        for parameter, column in columns.items():
            name, index = name_and_index(parameter)
            places[name][index or 0] = column
        out = {}
        for name, found in places.items():
            # Elements that no gate uses are 0.
            flat = xp.zeros((*batch, len(found)), table.dtype)
            if (found >= 0).any():
                chosen = xp.take(table, np.maximum(found, 0), axis=-1)
                flat = xp.where(np.broadcast_to(found >= 0, chosen.shape), chosen, flat)
            out[name] = flat.reshape((*batch, *self.shapes[name]))
        return out

    def _by_position(self, values: Any) -> tuple[Any, dict[Any, int]]:
        table = _array(values, self.what)
        if table.ndim == 0 or table.shape[-1] != len(self.order):
            raise ValueError(
                f"{self.what} must have {len(self.order)} numbers in its last axis (for {_listed(self.order)}), "
                f"but has shape {table.shape}."
            )
        return table, {parameter: column for column, parameter in enumerate(self.order)}

    def _by_parameter(self, values: Mapping[Any, Any]) -> tuple[Any, dict[Any, int]]:
        pieces: list[Any] = []
        columns: dict[Any, int] = {}
        batches: dict[str, tuple[int, ...]] = {}
        width = 0
        for key, value in values.items():
            for members, own, array in self._entries(key, value):
                pieces.append(array)
                columns |= {parameter: width + place for parameter, place in zip(members, own, strict=True)}
                batches |= dict.fromkeys((parameter.name for parameter in members), array.shape[:-1])
                width += array.shape[-1]
        if missing := [p for p in self.order if p not in columns]:
            raise ValueError(f"{self.what} lacks {_listed(missing)}.")
        return self._joined(pieces, batches), columns

    def _entries(self, key: Any, value: Any) -> Iterator[tuple[list[Any], list[int], Any]]:
        """Parameters, their places in the last axis, and the array with it: of one key, or of each in a tuple."""
        if isinstance(key, tuple):
            array = _array(value, f"{self.what} of {_name(key)}")
            if array.ndim == 0 or array.shape[-1] != len(key):
                raise ValueError(
                    f"{self.what} must give {_name(key)} {len(key)} numbers in the last axis, but has shape "
                    f"{array.shape}."
                )
            for place, one in enumerate(key):
                yield from self._entries(one, array[..., place])
            return
        name = key if isinstance(key, str) else getattr(key, "name", None)
        if name is None:
            raise TypeError(f"{self.what} must have Parameters, ParameterVectors or names as keys, but has {key!r}.")
        array = _array(value, f"{self.what} of {name!r}")
        if members := [p for p in self.order if p.name == name]:
            yield members, [0], array[..., None]
            return
        members = [p for p in self.order if name_and_index(p)[0] == name]
        if not members:
            raise ValueError(f"{self.what} names {name!r}, but the circuit has {_listed(self.order)}.")
        if array.ndim == 0 or array.shape[-1] != self.lengths[name]:
            raise ValueError(
                f"{self.what} must give {name!r} {self.lengths[name]} numbers in the last axis, but has shape "
                f"{array.shape}."
            )
        yield members, [p.index for p in members], array

    def _joined(self, pieces: Sequence[Any], batches: Shapes) -> Any:
        """All pieces beside each other in the last axis."""
        if not pieces:
            return np.zeros(0)
        try:
            batch = np.broadcast_shapes(*batches.values())
        except ValueError as error:
            raise ValueError(f"{self.what} must have batch axes that go together, but has {dict(batches)}.") from error
        traced = [piece for piece in pieces if isinstance(piece, jax.Array)]
        xp = jnp if traced else np
        dtype = np.result_type(*(piece.dtype for piece in traced)) if traced else np.float64
        return xp.concatenate([xp.broadcast_to(p.astype(dtype), (*batch, p.shape[-1])) for p in pieces], axis=-1)


def _array(value: Any, what: str) -> Any:
    """Values as float64, or traced ones as one array of their dtype.

    Raises:
        TypeError: for complex ones.
        ValueError: for NaN and infinity in values that are known.
    """
    if not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(value)):
        return real_array(value, what)
    array = _stacked(value)
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(f"{what} must be real, but is complex.")
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(jnp.zeros(()).dtype)


def _stacked(value: Any) -> jax.Array:
    """Nested sequences of traced and known numbers as an array."""
    if not isinstance(value, list | tuple):
        return jnp.asarray(value)
    parts = [_stacked(part) for part in value]
    dtypes = [part.dtype for part in parts if not part.weak_type]
    dtype = np.result_type(*dtypes) if dtypes else jnp.zeros(()).dtype
    return jnp.stack([part.astype(dtype) for part in parts])


def _name(key: Any) -> str:
    if isinstance(key, tuple):
        return ", ".join(map(_name, key))
    return key if isinstance(key, str) else str(getattr(key, "name", key))


def _listed(order: Sequence[Any]) -> str:
    return ", ".join(parameter.name for parameter in order) or "no parameter"
