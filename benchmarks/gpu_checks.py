"""Checks and timings of this engine alone on an accelerator, in one call under ten minutes.

    python benchmarks/gpu_checks.py RESULT.json [--small] [--skip-timings] [--data-dir DIR] [--images N] [--epochs N]

Needs JAX with the accelerator's plugin and nothing else (no Qiskit, no peers). Results are compared with the NumPy
reference or with double precision before anything is timed; the JSON names the device. The last stages train the
published model, 4 circuits x 50 layers, and compute all its 10,308 eigenvalues on 60,000 images: of MNIST where
--data-dir has it (`qjaxsim data prepare mnist`), else random ones, which take as long. The JSON is written anew after
every stage; compiled programs of the slowest first calls lie as text in a folder of its name. `--small` takes sizes for
a test on a CPU.
"""

import argparse
import collections
import datetime
import json
import os
import re
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
import scipy.linalg  # noqa: E402
from jax.sharding import AxisType  # noqa: E402

import qjaxsim as qj  # noqa: E402
from qjaxsim import curvature, datasets  # noqa: E402
from qjaxsim.circuits import reference  # noqa: E402
from qjaxsim.models.losses import cross_entropy  # noqa: E402
from qjaxsim.models.patches import PatchesModel, scaled_images  # noqa: E402
from qjaxsim.running.explanation import LINKS  # noqa: E402
from qjaxsim.training import TrainConfig, fit  # noqa: E402


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


def share(small: bool) -> dict[str, Any]:
    """What one device does of a state that is cut over many, measured on one, and what links add by a model.

    With several devices, such a state too: against one device, then timed.
    """
    n, depth = (10, 4) if small else (30, 4)
    options = qj.PlanOptions(state_axes=())
    alone = measure(qj.expectation(layered(n, depth), qj.Z(0), options=options), point(n, depth, np.float32))
    out: dict[str, Any] = {f"value {n} qubits single": alone}
    for qubits, bits in ((33, 3), (36, 6), (40, 10)):
        plan = qj.explain(layered(qubits, 10), state_qubits=bits)
        work = alone["median"] * 10 / depth * 2.0 ** (qubits - bits - n)
        links = {f"{speed / 1e9:.0f} GB/s": work + plan.sent_bytes / speed for speed in LINKS}
        out[f"estimate, {qubits} qubits, 10 layers, {2**bits} devices"] = {
            "exchanges": plan.exchanges,
            "seconds": links,
        }
    count = 2 ** (jax.device_count().bit_length() - 1)
    if count > 1:
        mesh = jax.make_mesh((count,), ("state",), axis_types=(AxisType.Auto,), devices=jax.devices()[:count])
        wide = n + count.bit_length() - 1
        near = [jax.grad(qj.expectation(layered(12, 3), qj.X(0), options=o)) for o in (options, None)]
        p = point(12, 3, np.float64)
        with jax.set_mesh(mesh):
            out["error"] = float(jnp.abs(near[0](p)["w"] - near[1](p)["w"]).max())
            if not out["error"] < 1e-11:
                raise SystemExit(f"A state cut over {count} devices differs by {out['error']:.2g}, limit 1e-11.")
            value = qj.expectation(layered(wide, depth), qj.Z(0))
            out[f"value {wide} qubits on {count} devices"] = measure(value, point(wide, depth, np.float32))
    return out


def programs(small: bool, folder: Path) -> dict[str, Any]:
    """Where the time of the slowest programs goes: tracing, lowering and compiling; instructions by kind; bytes moved.

    Each compiled program is written to a text file of its own, to be read. A 28-qubit state in single precision has
    2 GiB: twice that is one pass, by which `bytes_accessed` counts passes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    out: dict[str, Any] = {}
    for name, function, arguments in _slow_programs(small):
        start = time.perf_counter()
        traced = jax.jit(function).trace(*arguments)
        seconds = {"trace": time.perf_counter() - start}
        start = time.perf_counter()
        lowered = traced.lower()
        seconds["lower"] = time.perf_counter() - start
        start = time.perf_counter()
        compiled = lowered.compile()
        seconds["compile"] = time.perf_counter() - start
        text = compiled.as_text() or ""
        (folder / f"{name}.hlo.txt").write_text(text, encoding="utf-8")
        kinds = collections.Counter(re.findall(r"^\s*(?:ROOT )?%?\S+ = \S+ ([a-z-]+)\(", text, re.MULTILINE))
        analysis = compiled.cost_analysis() or {}
        out[name] = {
            "seconds": seconds,
            "instructions": dict(kinds.most_common(12)),
            "bytes_accessed": analysis.get("bytes accessed"),
        }
    return out


def _slow_programs(small: bool) -> list[tuple[str, Callable, tuple]]:
    layers, batch, wide = (2, 50, 10) if small else (50, 1000, 28)
    model = PatchesModel(4, layers)
    params = model.init(jax.random.key(0), jnp.float32)
    x = jax.random.uniform(jax.random.key(1), (batch, 14, 14), jnp.float32)
    y = jax.random.randint(jax.random.key(2), (batch,), 0, 10)
    step = jax.value_and_grad(lambda p: cross_entropy(model.outputs(p, x), y).mean())
    state = qj.statevector(layered(wide, 4))
    return [("patches_step", step, (params,)), ("wide_state", state, (point(wide, 4, np.float32),))]


class Spectrum:
    """The published model trained in single precision, and its whole spectrum in double, stage by stage.

    Every method is a stage: it returns what goes into the record. The target is 300 s for Hessian and eigenvalues on
    one H200.
    """

    def __init__(self, layers: int, images: int, epochs: int, data_dir: Path | None):
        self.x, self.y, self.source = training_images(images, data_dir)
        self.model, self.epochs = PatchesModel(4, layers), epochs

    def train(self) -> dict[str, Any]:
        """Settings of the paper but for the random numbers; parameters of the lowest training loss are kept."""
        config = TrainConfig(
            epochs=self.epochs,
            batch_size=min(1000, len(self.y)),
            learning_rate=1e-2,
            schedule="cosine_cycle",
            weight_decay=5e-5,
            seed=1001,
        )
        model = self.model
        loss = lambda p, x, y: cross_entropy(model.outputs(p, x), y).mean()  # noqa: E731
        start = time.perf_counter()
        single = model.init(jax.random.key(1001), np.float32)
        trained = fit(loss, single, self.x.astype(np.float32), self.y, config, progress=False)
        seconds = time.perf_counter() - start
        self.params = jax.tree.map(lambda leaf: leaf.astype(np.float64), trained.params_best)
        return {
            "images": self.source,
            "n_images": len(self.y),
            "epochs": self.epochs,
            "parameters": model.n_parameters,
            "train_loss": trained.history[trained.best_epoch]["train_loss"],
            "seconds": seconds,
            "seconds_of_epochs": [row["seconds"] for row in trained.history[1:]],
        }

    def hessian(self) -> dict[str, Any]:
        """H = G + R on all images, compilation included."""
        arguments = (self.model.outputs, cross_entropy, self.params, self.x, self.y)
        planned = curvature.plan_split(*arguments)
        moments = [time.perf_counter()]
        self.split = jax.block_until_ready(
            curvature.split_hessian(*arguments, progress=lambda done, total: moments.append(time.perf_counter()))
        )
        return {
            "seconds": time.perf_counter() - moments[0],
            "seconds_to_dispatch_first_chunk": moments[1] - moments[0],
            "samples_in_a_chunk": planned.samples,
            "planned_bytes": planned.total_bytes,
            "peak_bytes": (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use"),
            "gauss_newton_norm": float(jnp.linalg.norm(self.split.gauss_newton)),
            "residual_norm": float(jnp.linalg.norm(self.split.residual)),
            "trace": float(jnp.trace(self.split.hessian)),
        }

    def eigenvalues(self) -> dict[str, Any]:
        """As the study has them: on an accelerator by its own solver, which computes vectors too."""
        start = time.perf_counter()
        self.values = curvature.dense_spectrum(self.split.hessian)
        return {
            "seconds": time.perf_counter() - start,
            "lambda_max": float(self.values[-1]),
            "lambda_min": float(self.values[0]),
            "leading": [float(value) for value in self.values[::-1][:20]],
            "negative": int(np.sum(self.values < 0)),
            "sum": float(self.values.sum()),
        }

    def eigenvalues_lapack(self) -> dict[str, Any]:
        """By LAPACK on the host, which is what other solvers are checked against."""
        matrix = np.asarray(self.split.hessian)
        start = time.perf_counter()
        values = scipy.linalg.eigvalsh(matrix)
        seconds = time.perf_counter() - start
        error = np.abs(values - self.values).max() / np.abs(values).max()
        if not error < 1e-12:
            raise SystemExit(f"Eigenvalues of device and LAPACK differ by {error:.2g} of the largest, limit 1e-12.")
        return {"seconds": seconds, "difference": float(error)}

    def products(self) -> dict[str, Any]:
        """The matrix against products with it found without it."""
        arguments = (self.model.outputs, cross_entropy, self.params, self.x, self.y)
        operator = curvature.curvature_operators(*arguments).hessian
        v = jnp.asarray(np.random.default_rng(0).normal(size=operator.size))
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            product = jax.block_until_ready(operator.matvec(v))
            seconds.append(time.perf_counter() - start)
        error = float(jnp.linalg.norm(self.split.hessian @ v - product) / jnp.linalg.norm(product))
        if not error < 1e-10:
            raise SystemExit(f"The dense Hessian and its product differ by {error:.2g}, limit 1e-10.")
        return {"seconds_first": seconds[0], "seconds_again": seconds[1], "error": error}


def training_images(count: int, data_dir: Path | None) -> tuple[np.ndarray, np.ndarray, str]:
    """Images as angles (count, 14, 14) in double precision, labels, and where they are from."""
    if data_dir is None:
        rng = np.random.default_rng(0)
        return rng.uniform(0, np.pi / 4, (count, 14, 14)), rng.integers(0, 10, count), "random"
    data = datasets.load("mnist", "train", data_dir=data_dir)
    return scaled_images(data.images[:count], data.pixel_max, 8, pool=2), data.labels[:count], data.source


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", type=Path)
    parser.add_argument("--small", action="store_true", help="sizes for a test of this script on a CPU")
    parser.add_argument("--data-dir", type=Path, help="folder of prepared data sets, for MNIST in the last stages")
    parser.add_argument("--images", type=int, help="training images in the last stages [default: 60,000]")
    parser.add_argument("--epochs", type=int, help="epochs of training in the last stages [default: 50]")
    parser.add_argument("--skip-timings", action="store_true", help="only checks, training and spectrum")
    options = parser.parse_args()
    device = jax.devices()[0]
    record = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
        "device": f"{device.platform}: {device.device_kind}",
        "versions": {name: metadata.version(name) for name in ("jax", "jaxlib", "numpy", "optax")},
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "small": options.small,
    }
    layers, images, epochs = (1, 200, 2) if options.small else (50, 60_000, 50)
    spectrum = Spectrum(layers, options.images or images, options.epochs or epochs, options.data_dir)
    stages: dict[str, Callable[[], Any]] = {
        "errors": checks,
        "seconds": lambda: timings(options.small),
        "programs": lambda: programs(options.small, options.result.with_suffix("")),
        "share": lambda: share(options.small),
        "train": spectrum.train,
        "hessian": spectrum.hessian,
        "eigenvalues": spectrum.eigenvalues,
        "products": spectrum.products,
        "eigenvalues_lapack": spectrum.eigenvalues_lapack,
    }
    if options.skip_timings:
        del stages["seconds"], stages["programs"], stages["share"]
    for name, stage in stages.items():
        record[name] = stage()
        print(json.dumps({name: record[name]}, indent=2), flush=True)
        options.result.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
