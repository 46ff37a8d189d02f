"""Measurements of this engine against depth: compile time, and memory of derivatives.

python -m qjaxsim_bench.depth METRIC LAYERS double qjaxsim - - SECONDS
"""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Metric:
    """A quantity that should not grow with depth.

    Attributes:
        title: what is measured.
        unit: of its values.
        layers: depths.
        bounds: first and last depth of the target.
        measure: from a number of layers to values by name.
    """

    title: str
    unit: str
    layers: tuple[int, ...]
    bounds: tuple[int, int]
    measure: Callable[[int], dict[str, float]]

    def sizes(self, quick: bool) -> list[str]:
        """The depths that are run; a quick run takes those of the target alone."""
        return [str(n) for n in self.layers if not quick or n in self.bounds]


# Flat means: at most this ratio between the last and the first depth.
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


METRICS = {
    "compile-depth": Metric(
        "compile time of gradient and Hessian-vector product, 10 qubits",
        "s",
        (4, 16, 50, 200),
        (4, 200),
        compile_seconds,
    ),
    "memory-depth": Metric(
        "temporary memory of gradient and Hessian-vector product, 10 qubits",
        "states",
        (16, 64, 256),
        (16, 256),
        memory_states,
    ),
}


def main() -> None:
    """Measure what the arguments name and print one line of JSON."""
    os.environ["JAX_ENABLE_X64"] = "1"
    metric, layers = sys.argv[1:3]
    print(json.dumps({"status": "ok", "values": METRICS[metric].measure(int(layers))}))


if __name__ == "__main__":
    main()
