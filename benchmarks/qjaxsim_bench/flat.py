"""What should stay flat in this engine: compile time and memory against depth, second order against images.

python -m qjaxsim_bench.flat METRIC SIZE double qjaxsim - - SECONDS
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Metric:
    """Quantities that should not grow with a size.

    Attributes:
        title: what is measured.
        unit: of its values.
        axis: what the size is.
        steps: sizes.
        bounds: first and last size of the target.
        quantities: names of the values that have a target.
        measure: from a size to values by name.
    """

    title: str
    unit: str
    axis: str
    steps: tuple[int, ...]
    bounds: tuple[int, int]
    quantities: tuple[str, ...]
    measure: Callable[[int], dict[str, float]]

    def sizes(self, quick: bool) -> list[str]:
        """The sizes that are run; a quick run takes those of the target alone."""
        return [str(n) for n in self.steps if not quick or n in self.bounds]


# Flat means: at most this ratio between the last and the first size.
FLAT = 1.2


def functions(n_layers: int, gradient: str | None) -> dict[str, Any]:
    """Gradient and Hessian-vector product of <ZZ> of 10 qubits, layers with a CNOT ring, and their arguments."""
    import jax
    import jax.numpy as jnp

    import qjaxsim as qj

    n = 10
    w, layer = qj.Parameter("w", (n, 3)), qj.Circuit(n)
    for q in range(n):
        layer.rx(w[q, 0], q).ry(w[q, 1], q).rz(w[q, 2], q)
    for q in range(n):
        layer.cx(q, (q + 1) % n)
    values = qj.expectation(
        qj.Circuit(n).repeat(layer, n_layers), qj.Z(0) @ qj.Z(1), options=qj.PlanOptions(gradient=gradient)
    )
    point = jnp.linspace(-1, 1, n_layers * n * 3).reshape(n_layers, n, 3)
    slope = jax.grad(lambda w: values({"w": w}))
    return {"gradient": lambda: jax.jit(slope).lower(point), "hvp": lambda: _hvp(slope, point)}


def _hvp(slope: Any, point: Any) -> Any:
    import jax

    return jax.jit(lambda w, v: jax.jvp(slope, (w,), (v,))[1]).lower(point, point)


def compile_seconds(n_layers: int) -> dict[str, float]:
    """Seconds to trace and compile, the best of three."""
    import jax

    out = {}
    for name in ("gradient", "hvp"):
        times = []
        for _ in range(3):
            jax.clear_caches()
            start = time.perf_counter()
            functions(n_layers, None)[name]().compile()
            times.append(time.perf_counter() - start)
        out[name] = min(times)
    return out


def memory_states(n_layers: int) -> dict[str, float]:
    """Temporary memory of the compiled derivatives in units of one state."""
    out = {}
    for label, gradient in (("", "adjoint"), (" by backpropagation", "backprop")):
        for name, lower in functions(n_layers, gradient).items():
            size = lower().compile().memory_analysis().temp_size_in_bytes
            out[name + label] = size / (16 * 2**10)
    return out


def residual_seconds(n_images: int) -> dict[str, float]:
    """Seconds for R of the hybrid model on so many images, the median of nine calls."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from qjaxsim.curvature import CircuitOutputs, cone_sweep
    from qjaxsim_bench import tasks
    from qjaxsim_bench.peers import ours

    task = tasks.hybrid("hessian", 8, 3, n_images)
    model = CircuitOutputs(ours.circuit(task), ours.observables(task), ("inputs",))
    slope = jnp.asarray(np.random.default_rng(0).normal(size=(n_images, 8))) / n_images
    states = model.encoded({"inputs": jnp.asarray(task.inputs)})
    tables = model.tables
    found, start = cone_sweep.begin(tables, jnp.asarray(task.theta))

    @jax.jit
    def summed(states: Any, slope: Any) -> Any:
        def add(total: Any, chunk: Any) -> Any:
            states, slope = chunk
            return total + cone_sweep.weighted(tables, cone_sweep.densities(tables, states, slope.dtype), slope), None

        chunks = (states.reshape(-1, 64, states.shape[1]), slope.reshape(-1, 64, slope.shape[1]))
        return jax.lax.scan(add, jnp.zeros_like(start.operators), chunks)[0]

    times = []
    for _ in range(10):
        begin = time.perf_counter()
        sums = start._replace(operators=summed(states, slope))
        jax.block_until_ready(cone_sweep.finish(tables, found, sums))
        times.append(time.perf_counter() - begin)
    return {"residual part": statistics.median(times[1:])}


METRICS = {
    "compile-depth": Metric(
        "compile time of gradient and Hessian-vector product, 10 qubits",
        "s",
        "layers",
        (4, 16, 50, 200),
        (4, 200),
        ("gradient", "hvp"),
        compile_seconds,
    ),
    "memory-depth": Metric(
        "temporary memory of gradient and Hessian-vector product, 10 qubits",
        "states",
        "layers",
        (16, 64, 256),
        (16, 256),
        ("gradient", "hvp"),
        memory_states,
    ),
    "residual-images": Metric(
        "residual part R of the exact Hessian, hybrid model of 8 qubits and 3 layers, all of R from encoded states on",
        "s",
        "images",
        (64, 512, 4096),
        (64, 4096),
        ("residual part",),
        residual_seconds,
    ),
}


def main() -> None:
    """Measure what the arguments name and print one line of JSON."""
    os.environ["JAX_ENABLE_X64"] = "1"
    metric, size = sys.argv[1:3]
    print(json.dumps({"status": "ok", "values": METRICS[metric].measure(int(size))}))


if __name__ == "__main__":
    main()
