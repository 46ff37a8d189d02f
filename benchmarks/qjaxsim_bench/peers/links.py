"""How the rows on links are run: on a mesh of all devices."""

from typing import Any

import numpy as np

from qjaxsim_bench.peers.base import Work
from qjaxsim_bench.tasks import Task


def prepare(task: Task, dtype: Any) -> Work:
    """The exchange of all bits of the devices' numbers, or the sum over devices, on a mesh of all devices."""
    import jax
    import jax.numpy as jnp
    from jax.sharding import AxisType, NamedSharding
    from jax.sharding import PartitionSpec as P

    from qjaxsim.running.devices import exchange

    count = 2 ** (jax.device_count().bit_length() - 1)
    mesh = jax.make_mesh((count,), ("all",), axis_types=(AxisType.Auto,), devices=jax.devices()[:count])

    def remap(state: jax.Array) -> jax.Array:
        bits = range(count.bit_length() - 1)
        return exchange(bits, ("all",), state) if bits else state

    def sum_over(values: jax.Array) -> jax.Array:
        return jax.lax.psum(values, "all")

    is_remap = task.kind == "remap"
    shape = (2, count * 2**task.n_qubits, 1) if is_remap else (count * task.extra["parameters"],)
    spec, out = (P(None, "all"), P(None, "all")) if is_remap else (P("all"), P())
    with jax.set_mesh(mesh):
        given = jax.device_put(jnp.ones(shape, dtype), NamedSharding(mesh, spec))
        mapped = jax.shard_map(remap if is_remap else sum_over, in_specs=spec, out_specs=out)
        run = jax.jit(mapped).lower(given).compile()
    return Work(lambda: jax.block_until_ready(run(given)), lambda out: np.array([float(jnp.sum(out))]))
