"""Checks and timings of this engine alone on an accelerator, in one call under ten minutes.

    python benchmarks/gpu_checks.py RESULT.json [--small]

Needs JAX with the accelerator's plugin and nothing else (no Qiskit, no peers). Results are compared with the NumPy
reference or with double precision before anything is timed; the JSON names the device. `--small` takes sizes for a test
on a CPU.
"""

import argparse
import datetime
import json
import statistics
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

import qjaxsim as qj  # noqa: E402
from qjaxsim import reference  # noqa: E402
from qjaxsim.models.patches import PatchesModel, cross_entropy  # noqa: E402


def layered(n: int, depth: int, repeat: bool = False) -> qj.Circuit:
    """RX RY RZ on every qubit and a CNOT ring, `depth` times."""
    w = qj.Parameter("w", (n, 3) if repeat else (depth, n, 3))
    circuit = qj.Circuit(n)
    layer = qj.Circuit(n) if repeat else circuit
    for i in range(1 if repeat else depth):
        for q in range(n):
            angles = w[q] if repeat else w[i, q]
            layer.rx(angles[0], q).ry(angles[1], q).rz(angles[2], q)
        for q in range(n):
            layer.cx(q, (q + 1) % n)
    return circuit.repeat(layer, depth) if repeat else circuit


def point(n: int, depth: int, dtype: Any) -> dict[str, jax.Array]:
    return {"w": jnp.asarray(np.random.default_rng(0).uniform(-3, 3, (depth, n, 3)), dtype)}


def measure(function: Callable, *arguments: Any) -> dict[str, float]:
    """Seconds to compile, of the first call and the median of five more; bytes of scratch."""
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*arguments).compile()
    seconds = {"compile": time.perf_counter() - start}
    times = []
    for _ in range(6):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        times.append(time.perf_counter() - start)
    memory = compiled.memory_analysis()
    scratch = {"scratch_bytes": memory.temp_size_in_bytes} if memory is not None else {}
    return seconds | {"first": times[0], "median": statistics.median(times[1:])} | scratch


def checks() -> dict[str, float]:
    """Largest errors against the reference and between precisions; single precision must not be TF32."""
    circuit, params = layered(5, 3), point(5, 3, np.float64)
    exact = reference.statevector(circuit, {"w": np.asarray(params["w"])})
    single = {"w": params["w"].astype(np.float32)}
    run, values = qj.statevector(circuit), qj.expectation(layered(8, 20, repeat=True), qj.Z(0) @ qj.Z(1))
    wide = point(8, 20, np.float64)

    def error(a: Any, b: Any) -> float:
        return float(jnp.abs(jnp.asarray(a) - jnp.asarray(b)).max())

    def slope(params: Any, gradient: str) -> Any:
        options = qj.PlanOptions(gradient=gradient)
        f = qj.expectation(layered(8, 20, repeat=True), qj.Z(0) @ qj.Z(1), options=options)
        return jax.grad(f)(params)["w"]

    low = {"w": wide["w"].astype(np.float32)}
    found = {
        "state_double": error(run(params), exact),
        "state_single": error(run(single), exact),
        "value_single": error(values(low), values(wide)),
        "gradient_adjoint_double": error(slope(wide, "adjoint"), slope(wide, "backprop")),
        "gradient_adjoint_single": error(slope(low, "adjoint"), slope(wide, "backprop")),
    }
    for name, value in found.items():
        limit = 1e-11 if name.endswith("double") else 2e-5  # TF32 would leave errors of 1e-3
        if not value < limit:
            raise SystemExit(f"Check {name} failed: error {value:.2g}, limit {limit:g}.")
    return found


def timings(small: bool) -> dict[str, Any]:
    """States, gradients, the hybrid model, Hessian-vector products, a training step of the patches model."""
    out: dict[str, Any] = {}
    for n in (8, 10) if small else (20, 24, 28):
        out[f"state {n} qubits single"] = measure(qj.statevector(layered(n, 4)), point(n, 4, np.float32))
        if n < 28:
            values = qj.expectation(layered(n, 4), [qj.Z(q) for q in range(n)])
            gradient = jax.grad(lambda p, f=values: f(p).sum())
            out[f"gradient {n} qubits single"] = measure(gradient, point(n, 4, np.float32))
    n, depth = (6, 8) if small else (10, 256)
    deep = qj.expectation(layered(n, depth, repeat=True), qj.Z(0) @ qj.Z(1), options=qj.PlanOptions(gradient="adjoint"))
    p = point(n, depth, np.float64)
    out["hvp adjoint double"] = measure(lambda p: jax.jvp(jax.grad(deep), (p,), (p,))[1], p)
    layers, batch = (2, 50) if small else (50, 1000)
    model = PatchesModel(4, layers)
    params = model.init(jax.random.key(0), jnp.float32)
    x = jax.random.uniform(jax.random.key(1), (batch, 14, 14), jnp.float32)
    y = jax.random.randint(jax.random.key(2), (batch,), 0, 10)
    step = jax.value_and_grad(lambda p: cross_entropy(model.outputs(p, x), y).mean())
    out[f"patches step 4 x {layers}, batch {batch}, single"] = measure(step, params)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", type=Path)
    parser.add_argument("--small", action="store_true", help="sizes for a test of this script on a CPU")
    options = parser.parse_args()
    device = jax.devices()[0]
    record = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
        "device": f"{device.platform}: {device.device_kind}",
        "versions": {name: metadata.version(name) for name in ("qjaxsim", "jax", "jaxlib", "numpy")},
        "small": options.small,
        "errors": checks(),
        "seconds": timings(options.small),
    }
    options.result.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
