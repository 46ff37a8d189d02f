"""The state cut over the devices of a mesh: what a device knows of itself, and how pieces change places.

Of n qubits the 2**d devices hold pieces (2, 2**(n - d), columns); the other d qubits are the bits of the device's
number along the mesh axes, the first axis most significant.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, PartitionSpec

from qjaxsim.planning.leaves import DEVICE_BITS
from qjaxsim.planning.options import PlanOptions
from qjaxsim.running.matrices import Environment
from qjaxsim.running.permutation import linear_primitive
from qjaxsim.running.varying import vary_alike

Axes = tuple[str, ...]


def state_axes_of(options: PlanOptions, can_be_cut: bool, n_qubits: int) -> Axes:
    """The mesh axes over which a state is cut: those of the options, else those named so, if that is possible."""
    if options.state_axes is not None:
        return options.state_axes
    mesh = jax.sharding.get_abstract_mesh()
    axes = tuple(
        axis
        for axis, kind in zip(mesh.axis_names, mesh.axis_types, strict=True)
        if axis.startswith("state") and kind == AxisType.Auto
    )
    return axes if can_be_cut and _size(axes) < 2**n_qubits else ()


def count_device_bits(axes: Axes, n_qubits: int) -> int:
    """How many qubits become bits of a device's number on the mesh that is set.

    Raises:
        ValueError: without a mesh, for axes that it lacks, whose type is not Auto or whose size is no power of two, and
            for more devices than amplitudes.
    """
    sizes = _sizes("state_axes", axes)
    if wrong := {axis: size for axis, size in sizes.items() if size & (size - 1)}:
        raise ValueError(f"Option `state_axes` needs mesh axes whose size is a power of two, but has {wrong}.")
    bits = _size(axes).bit_length() - 1
    if bits >= n_qubits:
        raise ValueError(
            f"Option `state_axes` cuts the state over {2**bits} devices, but {n_qubits} qubits have only "
            f"{2**n_qubits} amplitudes; use fewer devices or none."
        )
    return bits


def own_batch(axis: str | None, batch: int) -> int:
    """The samples of each device, of a batch that is cut over an axis of the mesh that is set.

    Raises:
        ValueError: as above, and for a batch that the axis does not divide.
    """
    size = _sizes("batch_axis", () if axis is None else (axis,)).get(axis, 1)
    if batch % size:
        raise ValueError(
            f"Option `batch_axis` needs a batch that {axis!r}, of size {size}, divides, but the batch is {batch}."
        )
    return batch // size


def _sizes(option: str, axes: Axes) -> dict[str | None, int]:
    """The sizes of mesh axes that an option names."""
    mesh = jax.sharding.get_abstract_mesh()
    if missing := [axis for axis in axes if axis not in mesh.axis_names]:
        has = f"the mesh has the axes {mesh.axis_names}" if mesh.axis_names else "no mesh is set"
        raise ValueError(
            f"Option `{option}` names {missing}, but {has}; call the function inside `with jax.set_mesh(mesh):`."
        )
    types = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
    if others := {axis: types[axis].name for axis in axes if types[axis] != AxisType.Auto}:
        raise ValueError(
            f"Option `{option}` needs mesh axes of type Auto, but has {others}; make the mesh with "
            "`axis_types=(jax.sharding.AxisType.Auto,)` for each axis, and call the function outside `jax.shard_map`."
        )
    return {axis: mesh.shape[axis] for axis in axes}


def on_devices(
    function: Callable[..., jax.Array],
    dtype: Any,
    axes: Axes,
    spread: bool,
    batch_axis: str | None,
    data: Collection[str],
) -> Callable[..., jax.Array]:
    """A function that every device runs for its piece of the state and its share of the batch.

    Args:
        function: of the environment with `DEVICE_BITS` in it, (m, columns) of its own piece, or the same everywhere.
        dtype: of the parameters.
        axes: of the mesh that is set, over which the state is cut.
        spread: whether the first axis of the result is cut over the same.
        batch_axis: over which the batch is cut, if it is.
        data: names of the parameters that carry it.
    """

    def run(env: Environment) -> jax.Array:
        return function(vary_alike({**env, DEVICE_BITS: own_bits(axes, dtype)}))

    def cut(env: Environment) -> jax.Array:
        given = {name: PartitionSpec(None, batch_axis) if name in data else PartitionSpec() for name in env}
        out = PartitionSpec(axes if spread else None, batch_axis)
        names = {*axes, *([] if batch_axis is None else [batch_axis])}
        return jax.shard_map(run, in_specs=(given,), out_specs=out, axis_names=names)(env)

    return cut


def own_bits(axes: Axes, dtype: Any) -> jax.Array:
    """The bits of this device's number, (d,), the most significant first."""
    if not axes:
        return jnp.zeros(0, dtype)
    count = _size(axes).bit_length() - 1
    number = jnp.asarray(lax.axis_index(axes), jnp.uint32)
    return (number[None] >> jnp.arange(count, dtype=jnp.uint32)[::-1] & 1).astype(dtype)


def _size(axes: Axes) -> int:
    mesh = jax.sharding.get_abstract_mesh()
    return int(np.prod([mesh.shape[axis] for axis in axes]))


def exchange(bits: Sequence[int], axes: Axes, state: jax.Array) -> jax.Array:
    """Swap the leading index bits of all pieces with bits of the devices' numbers, one by one; its own inverse."""
    shape = state.shape
    blocks = state.reshape(shape[0], 2 ** len(bits), -1, shape[2])
    return exchange_p.bind(blocks, axes=axes, groups=_groups(bits, _size(axes))).reshape(shape)


def _groups(bits: Sequence[int], devices: int) -> tuple[tuple[int, ...], ...]:
    """The devices whose numbers differ in these bits alone, in the order of the values of those bits."""
    count = devices.bit_length() - 1
    shifts = [count - 1 - bit for bit in bits]
    inside = [0]
    for shift in shifts:
        inside = [number | bit << shift for number in inside for bit in (0, 1)]
    mask = sum(1 << shift for shift in shifts)
    return tuple(tuple(first | one for one in inside) for first in range(devices) if not first & mask)


def _exchange(array: jax.Array, *, axes: Axes, groups: tuple[tuple[int, ...], ...]) -> jax.Array:
    chosen = None if len(groups) == 1 and groups[0] == tuple(range(len(groups[0]))) else groups
    return lax.all_to_all(array, axes, 1, 1, axis_index_groups=chosen, tiled=True)


# JAX has no `vmap` for an exchange within groups of devices; as a linear map of whole rows it needs no rule of its own.
exchange_p = linear_primitive("exchange", _exchange, static=["axes", "groups"])
