"""Value and gradient of the hybrid model: this engine against gate-by-gate tensordot under vmap, in one run.

The circuit: RY(x) on every qubit, then layers of RX RY RZ on every qubit with CNOT pairs that alternate, <Z> of every
qubit, softmax cross-entropy. Also the compile time of a repeated layer at growing depth. Results are compared before
anything is timed. Absolute times vary between machines; the ratios are the result.

    python benchmarks/hybrid_gradient.py [--batch 1024] [--json FILE]
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import qjaxsim as qj

N_QUBITS, N_LAYERS = 8, 3
_CX = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]).reshape(2, 2, 2, 2)


def pairs(layer: int) -> list[tuple[int, int]]:
    """CNOT pairs of a layer: even ones (0, 1), (2, 3), ...; odd ones (1, 2), ..., (n - 1, 0)."""
    return [(q, (q + 1) % N_QUBITS) for q in range(layer % 2, N_QUBITS, 2)]


def gate_by_gate(params: dict[str, jax.Array]) -> jax.Array:
    """<Z> of every qubit, each gate a tensordot on a (2, ..., 2) state, samples by vmap."""

    def matrix(a: jax.Array, b: jax.Array, c: jax.Array, d: jax.Array) -> jax.Array:
        return jnp.stack([jnp.stack([a, b]), jnp.stack([c, d])]).astype(jnp.complex64)

    def rx(t: jax.Array) -> jax.Array:
        return matrix(jnp.cos(t / 2), -1j * jnp.sin(t / 2), -1j * jnp.sin(t / 2), jnp.cos(t / 2))

    def ry(t: jax.Array) -> jax.Array:
        return matrix(jnp.cos(t / 2), -jnp.sin(t / 2), jnp.sin(t / 2), jnp.cos(t / 2))

    def rz(t: jax.Array) -> jax.Array:
        return matrix(jnp.exp(-0.5j * t), jnp.zeros_like(t), jnp.zeros_like(t), jnp.exp(0.5j * t))

    def one(state: jax.Array, gate: jax.Array, q: int) -> jax.Array:
        return jnp.moveaxis(jnp.tensordot(gate, state, ((1,), (q,))), 0, q)

    def single(x: jax.Array, weights: jax.Array) -> jax.Array:
        state = jnp.zeros((2,) * N_QUBITS, jnp.complex64).at[(0,) * N_QUBITS].set(1)
        for q in range(N_QUBITS):
            state = one(state, ry(x[q]), q)
        for layer in range(N_LAYERS):
            for q in range(N_QUBITS):
                for position, gate in enumerate((rx, ry, rz)):
                    state = one(state, gate(weights[layer, q, position]), q)
            for a, b in pairs(layer):
                moved = jnp.tensordot(jnp.asarray(_CX, jnp.complex64), state, ((2, 3), (a, b)))
                state = jnp.moveaxis(moved, (0, 1), (a, b))
        p = jnp.abs(state) ** 2
        marginals = [p.sum(tuple(r for r in range(N_QUBITS) if r != q)) for q in range(N_QUBITS)]
        return jnp.stack([m[0] - m[1] for m in marginals])

    return jax.vmap(single, in_axes=(0, None))(params["inputs"], params["weights"])


def engine() -> Callable[[dict[str, jax.Array]], jax.Array]:
    """The same by qjaxsim."""
    x, w = qj.Parameter("inputs", (N_QUBITS,)), qj.Parameter("weights", (N_LAYERS, N_QUBITS, 3))
    circuit = qj.Circuit(N_QUBITS)
    for q in range(N_QUBITS):
        circuit.ry(x[q], q)
    for layer in range(N_LAYERS):
        for q in range(N_QUBITS):
            circuit.rx(w[layer, q, 0], q).ry(w[layer, q, 1], q).rz(w[layer, q, 2], q)
        for a, b in pairs(layer):
            circuit.cx(a, b)
    return qj.expectation(circuit, [qj.Z(q) for q in range(N_QUBITS)])


def repeated(n_layers: int) -> Callable[[dict[str, jax.Array]], jax.Array]:
    """A model whose layer (rotations and a CNOT ring) is repeated."""
    x, w = qj.Parameter("inputs", (N_QUBITS,)), qj.Parameter("weights", (N_QUBITS, 3))
    layer = qj.Circuit(N_QUBITS)
    for q in range(N_QUBITS):
        layer.rx(w[q, 0], q).ry(w[q, 1], q).rz(w[q, 2], q)
    for q in range(N_QUBITS):
        layer.cx(q, (q + 1) % N_QUBITS)
    circuit = qj.Circuit(N_QUBITS)
    for q in range(N_QUBITS):
        circuit.ry(x[q], q)
    return qj.expectation(circuit.repeat(layer, n_layers), [qj.Z(q) for q in range(N_QUBITS)])


def value_and_gradient(outputs: Callable, labels: jax.Array) -> Callable:
    """Cross-entropy of the outputs as logits, with its gradient in all parameters."""

    def loss(params: dict[str, jax.Array]) -> jax.Array:
        logits = outputs(params)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1))

    return jax.value_and_grad(loss)


def measure(function: Callable, params: dict[str, jax.Array], repeats: int) -> dict[str, float]:
    """Seconds to compile, for the first call and the median of repeated calls."""
    jax.clear_caches()  # the comparison of results has compiled the same functions
    start = time.perf_counter()
    compiled = jax.jit(function).lower(params).compile()
    compile_seconds = time.perf_counter() - start
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(compiled(params))
        times.append(time.perf_counter() - start)
    return {
        "compile": compile_seconds,
        "first": times[0],
        "median": statistics.median(times[1:]),
        "min": min(times[1:]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    inputs = jnp.asarray(rng.uniform(-1, 1, (options.batch, N_QUBITS)), jnp.float32)
    labels = jnp.asarray(rng.integers(0, N_QUBITS, options.batch))

    def params(n_layers: int) -> dict[str, jax.Array]:
        return {"inputs": inputs, "weights": jnp.asarray(rng.uniform(-1, 1, (n_layers, N_QUBITS, 3)), jnp.float32)}

    point = params(N_LAYERS)
    ours, theirs = value_and_gradient(engine(), labels), value_and_gradient(gate_by_gate, labels)
    for a, b in zip(jax.tree.leaves(jax.jit(ours)(point)), jax.tree.leaves(jax.jit(theirs)(point)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    rows = {
        "qjaxsim": measure(ours, point, options.repeats),
        "gate by gate, tensordot, vmap": measure(theirs, point, options.repeats),
    }
    print(
        f"value and gradient, {N_QUBITS} qubits x {N_LAYERS} layers x batch {options.batch}, complex64; results agree"
    )
    for name, row in rows.items():
        print(f"  {name:30s} " + "  ".join(f"{key} {1e3 * value:9.2f} ms" for key, value in row.items()))
    ratio = rows["gate by gate, tensordot, vmap"]["median"] / rows["qjaxsim"]["median"]
    print(f"  ratio of medians: {ratio:.1f}")
    depths = {n: measure(value_and_gradient(repeated(n), labels), params(n), 3) for n in (4, 16, 64)}
    print(
        "compile seconds of a repeated layer: "
        + ", ".join(f"{n} layers {row['compile']:.2f}" for n, row in depths.items())
    )
    if options.json:
        record = {
            "what": "hybrid value and gradient",
            "qubits": N_QUBITS,
            "layers": N_LAYERS,
            "batch": options.batch,
            "dtype": "complex64",
            "device": jax.devices()[0].device_kind,
            "versions": {name: metadata.version(name) for name in ("qjaxsim", "jax", "jaxlib", "numpy")},
            "python": platform.python_version(),
            "seconds": rows,
            "ratio_of_medians": ratio,
            "repeated_layer_seconds": depths,
        }
        options.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
