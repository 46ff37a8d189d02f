"""Samples that lie spread over the devices of a mesh: each device adds up its own, and one sum over devices ends it.

XLA by itself would have every device do all of the work, since chunks of samples cut across the devices' shares.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from qjaxsim.common.checks import is_traced, shown
from qjaxsim.common.hosts import team
from qjaxsim.common.precision import HIGHEST
from qjaxsim.running.array_types import to_jax

Tree = Any


class Spread(NamedTuple):
    """How samples are spread.

    Attributes:
        mesh: of the devices.
        axes: those of its axes that axis 0 of the samples is spread over.
        columns: those that the parameters are spread over.
    """

    mesh: Mesh
    axes: tuple[str, ...]
    columns: tuple[str, ...] = ()

    @property
    def devices(self) -> int:
        """Number of shares of the samples."""
        return int(np.prod([self.mesh.shape[axis] for axis in self.axes], dtype=int))

    @property
    def parts(self) -> int:
        """Number of shares of the parameters."""
        return int(np.prod([self.mesh.shape[axis] for axis in self.columns], dtype=int))

    def samples(self, tree: Tree) -> Tree:
        """Arrays with samples along axis 0, spread like these."""
        return jax.device_put(tree, NamedSharding(self.mesh, PartitionSpec(self.axes)))

    def everywhere(self, tree: Tree) -> Tree:
        """Arrays as a whole on every device."""
        return jax.device_put(tree, NamedSharding(self.mesh, PartitionSpec()))

    def shares(self, tree: Tree) -> Tree:
        """Samples (N, ...) by share, (devices, N / devices, ...)."""
        split = lambda leaf: leaf.reshape(self.devices, -1, *leaf.shape[1:])  # noqa: E731
        return jax.tree.map(split, self.samples(tree))

    def copies(self, tree: Tree) -> Tree:
        """The same arrays for each share, (devices, ...)."""
        return self.samples(jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (self.devices, *leaf.shape)), tree))

    def each(self, function: Callable[..., Tree]) -> Callable[..., Tree]:
        """A function of one share as one of all of them: of sums, inputs and targets by share, and common weights."""

        def own(*given: Tree) -> Tree:
            *parts, weights = given
            found = function(*jax.tree.map(lambda leaf: leaf[0], parts), weights)
            return jax.tree.map(lambda leaf: leaf[None], found)

        return self.mapped(own, (PartitionSpec(self.axes),) * 3 + (PartitionSpec(),), PartitionSpec(self.axes))

    def total(self, tree: Tree) -> Tree:
        """The sums over shares (devices, ...), on every device."""
        return self.everywhere(jax.tree.map(lambda leaf: leaf.sum(axis=0), tree))

    def mean(self, function: Callable[[Tree, Tree], Tree]) -> Callable[[Tree, Tree], Tree]:
        """The mean over devices of a function of what is common and of this device's samples."""

        def own(common: Tree, samples: Tree) -> Tree:
            return jax.lax.pmean(function(common, samples), self.axes)

        return self.mapped(own, (PartitionSpec(), PartitionSpec(self.axes)), PartitionSpec())

    def with_all(self, rows: jax.Array, others: jax.Array) -> jax.Array:
        """Inner products of this device's rows (n, P) with all devices' others, (m, P) on each: (n, devices m).

        For use inside what is mapped. The others go round from device to device, so that none holds all of them.
        """
        count = self.devices
        ring = [(device, (device + 1) % count) for device in range(count)]

        def meet(_: jax.Array, carried: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
            visiting, home, found = carried
            met = jnp.matmul(rows, visiting.T, precision=HIGHEST)
            found = jax.lax.dynamic_update_slice_in_dim(found, met, home * len(visiting), axis=1)
            # With its home: JAX counts devices in the order of the mesh here, and in that of the axes elsewhere.
            return *jax.lax.ppermute((visiting, home), self.axes, ring), found

        empty = jnp.zeros((len(rows), count * len(others)), rows.dtype)
        return jax.lax.fori_loop(0, count, meet, (others, jax.lax.axis_index(self.axes), empty))[-1]

    def over_samples(self, function: Callable[..., Tree]) -> Callable[..., Tree]:
        """A function of what is common and of this device's samples that gives rows of samples."""

        def mapped(common: Tree, *samples: Tree) -> Tree:
            own = PartitionSpec(self.axes)
            return self.mapped(function, (PartitionSpec(), *(own for _ in samples)), own)(common, *samples)

        return mapped

    def mapped(
        self, function: Callable[..., Tree], given: Any, out: Any, axes: frozenset[str] = frozenset()
    ) -> Callable[..., Tree]:
        """A function of what each device holds as one of whole arrays, with their `PartitionSpec`s.

        Over all axes of the mesh, or those named alone.
        """
        # Without JAX's check, derivatives inside are those of this device's share, whatever the user's functions do.
        return jax.shard_map(function, mesh=self.mesh, in_specs=given, out_specs=out, axis_names=axes, check_vma=False)


class Share(NamedTuple):
    """The parameters of a device: P, filled up to P' so that every device has as many.

    Attributes:
        spread: the mesh.
        size: P.
    """

    spread: Spread
    size: int

    @property
    def filled(self) -> int:
        """P', a multiple of the number of devices."""
        devices = self.spread.devices * self.spread.parts
        return -(-self.size // devices) * devices

    @property
    def n_own(self) -> int:
        """The parameters of one device."""
        return self.filled // self.spread.parts

    def first(self) -> jax.Array:
        """The number of this device's first parameter; like what follows for use inside `jax.shard_map`."""
        return jax.lax.axis_index(self.spread.columns) * self.n_own

    def own(self, array: jax.Array) -> jax.Array:
        """This device's part of an array with parameters along axis 0."""
        return jax.lax.dynamic_slice_in_dim(array, self.first(), self.n_own)

    def whole(self, part: jax.Array) -> jax.Array:
        """All devices' parts along axis 0."""
        return jax.lax.all_gather(part, self.spread.columns, axis=0, tiled=True)

    def block(self, rows: jax.Array) -> jax.Array:
        """This device's block of a symmetric matrix, from its rows (P' / parts, P') of what its samples add to it."""
        axes, every = self.spread.axes, (*self.spread.columns, *self.spread.axes)
        rows = jax.lax.psum_scatter(rows, axes, scatter_dimension=0, tiled=True)
        rows = (rows + jax.lax.all_to_all(rows, every, 1, 0, tiled=True).T) / 2
        return jax.lax.all_to_all(rows, axes, 1, 0, tiled=True)


def over_devices(tree: Tree, devices: int) -> Tree:
    """Samples along axis 0 spread evenly over some devices of this process; as they are for one."""
    if devices == 1:
        return tree
    mesh = jax.make_mesh((devices,), ("data",), (AxisType.Auto,), devices=jax.local_devices()[:devices])
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec("data")))


def over_team(tree: Tree) -> Tree:
    """The same over as many of the devices of the command line as divide the samples."""
    return over_devices(tree, math.gcd(team.devices, len(jax.tree.leaves(tree)[0])))


def spread_of(*samples: Tree) -> Spread | None:
    """How samples are spread along axis 0; None if they are not, or where JAX traces them and only XLA will know."""
    for sharding in map(on_mesh, jax.tree.leaves(samples)):
        first = tuple(sharding.spec)[:1] if sharding is not None else ()
        if sharding is not None and first and first[0] is not None:
            return Spread(sharding.mesh, names_of(first[0]))
    return None


def spread_columns(columns: str | Sequence[str], params: Tree, *samples: Tree) -> Spread:
    """How samples are spread, and the parameters over further axes of the same mesh.

    Raises:
        TypeError: where JAX traces the samples or parameters.
        ValueError: if there is no mesh, or it has no such axes.
    """
    leaves = jax.tree.leaves((params, samples))
    if any(map(is_traced, leaves)):
        raise TypeError(
            "Argument `columns` needs parameters and samples that are known, but they are traced by JAX (in jit, grad, "
            "vmap or shard_map); call this function outside."
        )
    names = (columns,) if isinstance(columns, str) else tuple(columns) if isinstance(columns, tuple | list) else ()
    spread = spread_of(*samples)
    mesh = _mesh_of(leaves) if spread is None else spread.mesh
    if mesh is None:
        raise ValueError(
            f"Argument `columns` must name axes of a mesh, but is {shown(columns)} and there is none; spread the "
            "samples over one, or call this function inside `with jax.set_mesh(mesh)`."
        )
    axes = () if spread is None else spread.axes
    free = tuple(axis for axis in mesh.axis_names if axis not in axes)
    if not names or len(set(names)) < len(names) or not set(names) <= set(free):
        raise ValueError(
            f"Argument `columns` must name axes of the mesh that no samples are spread over, {free}, each once, but is "
            f"{shown(columns)}."
        )
    if any(kind != AxisType.Auto for kind in mesh.axis_types):
        raise ValueError(
            f"Argument `columns` must name axes of an automatic mesh, but its axes are of type {mesh.axis_types}; make "
            "it with `axis_types=(jax.sharding.AxisType.Auto,)` for each axis."
        )
    return Spread(mesh, axes, names)


def _mesh_of(leaves: Sequence[Any]) -> Mesh | None:
    """The mesh that an array lies on, or the one that is set; None if there is none."""
    shardings = [leaf.sharding for leaf in leaves if isinstance(leaf, jax.Array)]
    meshes = [sharding.mesh for sharding in shardings if isinstance(sharding, NamedSharding)]
    mesh = meshes[0] if meshes else jax.sharding.get_mesh()
    return mesh if isinstance(mesh, Mesh) and not mesh.empty else None


def on_mesh(leaf: Any) -> Any:
    """How an array lies in pieces on a mesh; None if it does not, or if nobody knows."""
    if not isinstance(leaf, jax.Array) or isinstance(leaf, jax.core.Tracer) or leaf.sharding.is_fully_replicated:
        return None
    return leaf.sharding if isinstance(leaf.sharding, NamedSharding) else None


def names_of(axis: Any) -> tuple[str, ...]:
    """The axes of a mesh that one entry of a `PartitionSpec` names."""
    return () if axis is None else axis if isinstance(axis, tuple) else (axis,)


def on_no_mesh() -> AbstractContextManager[Any]:
    """A context in which no mesh is set: arrays made under one do not go into what `jax.shard_map` runs."""
    return jax.set_mesh(Mesh(np.empty((), object), ()))


def off_mesh(params: Tree) -> Tree:
    """Parameters on JAX's default device: what `jax.shard_map` runs takes no array on its mesh from outside."""
    return jax.tree.map(lambda leaf: to_jax(np.asarray(leaf)), params)


def whole(params: Tree) -> Tree:
    """Parameters that lie in pieces on a mesh, put on each of its devices as a whole.

    Every program of a chunk of samples would otherwise put them together first, and on CPUs many such programs at once
    wait for each other for ever.
    """

    def put(leaf: Any) -> Any:
        sharding = on_mesh(leaf)
        return leaf if sharding is None else jax.device_put(leaf, NamedSharding(sharding.mesh, PartitionSpec()))

    return jax.tree.map(put, params)
