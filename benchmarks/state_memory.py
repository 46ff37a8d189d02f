"""Scratch memory of a device in the gradient of a state that is cut over devices, and its exchanges, by their number.

    XLA_FLAGS=--xla_force_host_platform_device_count=8 python benchmarks/state_memory.py --qubits 24 --out results.json

Compiles only, except with `--run`: forced devices of one CPU share its cores, so that times say nothing of real ones.
"""

import argparse
import json
import re
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType

import qjaxsim as qj


def ring(n_qubits: int, layers: int) -> qj.Circuit:
    """Layers of RY and RZ on every qubit and a ring of CX."""
    w = qj.Parameter("w", (layers, n_qubits, 2))
    circuit = qj.Circuit(n_qubits)
    for i in range(layers):
        for q in range(n_qubits):
            circuit.ry(w[i, q, 0], q).rz(w[i, q, 1], q)
        for q in range(n_qubits):
            circuit.cx(q, (q + 1) % n_qubits)
    return circuit


def row(n_qubits: int, layers: int, bits: int, run: bool) -> dict[str, Any]:
    """What the gradient by the adjoint sweep takes on 2**bits devices."""
    mesh = jax.make_mesh((2**bits,), ("state",), axis_types=(AxisType.Auto,), devices=jax.devices()[: 2**bits])
    circuit = ring(n_qubits, layers)
    options = qj.PlanOptions(gradient="adjoint", state_axes=("state",) if bits else ())
    energy = qj.expectation(circuit, qj.Z(0) @ qj.Z(n_qubits // 2), options=options)
    angles = jnp.linspace(0, 1, layers * n_qubits * 2).reshape(layers, n_qubits, 2)
    with jax.set_mesh(mesh):
        program = jax.jit(jax.value_and_grad(lambda w: energy({"w": w}))).lower(angles).compile()
        found: dict[str, Any] = {
            "qubits": n_qubits,
            "layers": layers,
            "devices": 2**bits,
            "exchanges": qj.explain(circuit, state_qubits=bits).exchanges,
            "all_to_alls": len(re.findall(r" all-to-all(?:-start)?\(", program.as_text())),
            "all_gathers": len(re.findall(r" all-gather(?:-start)?\(", program.as_text())),
            "scratch_mib": program.memory_analysis().temp_size_in_bytes / 2**20,
        }
        if run:
            jax.block_until_ready(program(angles))
            begin = time.perf_counter()
            value, slope = jax.block_until_ready(program(angles))
            seconds, total = time.perf_counter() - begin, float(jnp.abs(slope).sum())
            found |= {"seconds": seconds, "value": float(value), "sum of slopes": total}
    return found


def main() -> None:
    """Print and write a row for each number of devices."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--qubits", type=int, default=24)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--run", action="store_true", help="also run each once more than it takes to warm up")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    rows = []
    for bits in range(jax.device_count().bit_length()):
        rows.append(row(chosen.qubits, chosen.layers, bits, chosen.run))
        print(json.dumps(rows[-1]), flush=True)
    if chosen.out is not None:
        about = {"jax": jax.__version__, "device": jax.devices()[0].device_kind, "rows": rows}
        chosen.out.write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
