"""Samples that lie spread over the devices of a mesh: each device adds up its own, and one sum over devices ends it.

XLA by itself would have every device do all of the work, since chunks of samples cut across the devices' shares.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from qjaxsim.common.hosts import team

Tree = Any


class Spread(NamedTuple):
    """How samples are spread.

    Attributes:
        mesh: of the devices.
        axes: those of its axes that axis 0 of the samples is spread over.
    """

    mesh: Mesh
    axes: tuple[str, ...]

    @property
    def devices(self) -> int:
        """Number of shares."""
        return int(np.prod([self.mesh.shape[axis] for axis in self.axes]))

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

        return self._mapped(own, (PartitionSpec(self.axes),) * 3 + (PartitionSpec(),), PartitionSpec(self.axes))

    def total(self, tree: Tree) -> Tree:
        """The sums over shares (devices, ...), on every device."""
        return self.everywhere(jax.tree.map(lambda leaf: leaf.sum(axis=0), tree))

    def mean(self, function: Callable[[Tree, Tree], Tree]) -> Callable[[Tree, Tree], Tree]:
        """The mean over devices of a function of what is common and of this device's samples."""

        def own(common: Tree, samples: Tree) -> Tree:
            return jax.lax.pmean(function(common, samples), self.axes)

        return self._mapped(own, (PartitionSpec(), PartitionSpec(self.axes)), PartitionSpec())

    def _mapped(self, function: Callable[..., Tree], given: Any, out: Any) -> Callable[..., Tree]:
        # Without JAX's check, derivatives inside are those of this device's share, whatever the user's functions do.
        return jax.shard_map(function, mesh=self.mesh, in_specs=given, out_specs=out, check_vma=False)


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
    for sharding in map(_on_mesh, jax.tree.leaves(samples)):
        first = tuple(sharding.spec)[:1] if sharding is not None else ()
        if sharding is not None and first and first[0] is not None:
            return Spread(sharding.mesh, first[0] if isinstance(first[0], tuple) else first)
    return None


def _on_mesh(leaf: Any) -> Any:
    """How an array lies in pieces on a mesh; None if it does not, or if nobody knows."""
    if not isinstance(leaf, jax.Array) or isinstance(leaf, jax.core.Tracer) or leaf.sharding.is_fully_replicated:
        return None
    return leaf.sharding if isinstance(leaf.sharding, NamedSharding) else None


def on_no_mesh(params: Tree) -> Tree:
    """Parameters on JAX's default device: what `jax.shard_map` runs takes no array on its mesh from outside."""
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), params)


def whole(params: Tree) -> Tree:
    """Parameters that lie in pieces on a mesh, put on each of its devices as a whole.

    Every program of a chunk of samples would otherwise put them together first, and on CPUs many such programs at once
    wait for each other for ever.
    """

    def put(leaf: Any) -> Any:
        sharding = _on_mesh(leaf)
        return leaf if sharding is None else jax.device_put(leaf, NamedSharding(sharding.mesh, PartitionSpec()))

    return jax.tree.map(put, params)
