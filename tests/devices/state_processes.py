"""A state cut over the devices of two processes, as one of them runs it: PORT, and its number."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType

import qjaxsim as qj

jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.config.update("jax_num_cpu_devices", 2)
port, process = sys.argv[1:]
jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=int(process))

n = 6
w = qj.Parameter("w", (2, n))
circuit = qj.Circuit(n)
for i in range(2):
    for q in range(n):
        circuit.ry(w[i, q], q).cx(q, (q + 1) % n)
angles = np.linspace(0, 1, 2 * n).reshape(2, n)
mesh = jax.make_mesh((2, 2), ("state_host", "state_card"), axis_types=(AxisType.Auto,) * 2)


def found(options):
    energy = qj.expectation(circuit, qj.Z(0) @ qj.X(3) + qj.Y(5), options=options)
    slope = jax.grad(lambda w: energy({"w": w}))
    push = jax.jit(lambda w: (energy({"w": w}), *jax.jvp(slope, (w,), (jnp.cos(w),))))
    return [np.asarray(part.addressable_data(0)) for part in push(angles)]


with jax.set_mesh(mesh):
    cut = found(None)
whole = found(qj.PlanOptions(state_axes=()))
apart = max(float(np.abs(a - b).max()) for a, b in zip(cut, whole, strict=True))
print(jax.device_count(), jax.local_device_count(), apart, flush=True)
