"""The JAX annealer against looping dwave-samplers' simulated annealing, on problems of the published attention size.

    python benchmarks/annealing_speed.py RESULT.json [--batch 128] [--repeats 3]

Problems are those of quantum-annealing attention (8 heads x 49 tokens, 392 variables) on random queries, keys and
values. Every setting of either program runs in turn, round after round, so that both meet the same load; the JSON has
wall and processor seconds a problem and the mean of the best energies. The ratio is taken at equal quality: our
cheapest setting whose mean best energy is at most theirs, against each of theirs, default and tuned temperatures.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

from qjaxsim.annealing.batch import anneal_batch
from qjaxsim.annealing.problems import HeadsProblem

HEADS, TOKENS, DIM = 8, 49, 8
OURS = ((16, 40), (32, 20), (32, 30), (32, 40), (32, 60), (32, 100))
# Reads, sweeps, range of inverse temperatures: None is their default, the other is our default on these problems.
THEIRS = ((20, 200, None), (20, 200, (0.2, 6.0)), (20, 60, (0.2, 6.0)))


def published_problems(batch: int, seed: int = 0) -> HeadsProblem:
    """Random problems of attention v2 with the published coefficients, single precision."""
    rng = np.random.default_rng(seed)
    q, k, v = (rng.normal(size=(batch, HEADS, TOKENS, DIM)) for _ in range(3))
    scores = np.einsum("bhid,bhjd->bhij", q, k)
    scores = (scores + scores.swapaxes(2, 3)) / (2 * np.sqrt(DIM)) * (1 - np.eye(TOKENS))
    h = (v * rng.normal(size=DIM)).mean(-1)
    penalty = 0.8 * np.sqrt(2 / np.pi) * TOKENS / (HEADS - 1)
    return HeadsProblem((-2 * scores).astype(np.float32), (-0.16 * TOKENS * h).astype(np.float32), np.float32(penalty))


def ours(problem: HeadsProblem, reads: int, sweeps: int) -> Callable[[int], np.ndarray]:
    return lambda seed: anneal_batch(problem, seed, reads=reads, sweeps=sweeps)[1].min(1)


def theirs(problem: HeadsProblem, reads: int, sweeps: int, betas: Any) -> Callable[[int], np.ndarray]:
    from dwave.samplers import SimulatedAnnealingSampler
    from qjaxsim_dimod import Qubo

    # Building the models is not part of their time.
    models = [Qubo.from_heads(problem, i).to_bqm() for i in range(len(problem.linear))]
    sampler = SimulatedAnnealingSampler()

    def run(seed: int) -> np.ndarray:
        found = [
            sampler.sample(model, num_reads=reads, num_sweeps=sweeps, beta_range=betas, seed=seed + i)
            for i, model in enumerate(models)
        ]
        return np.array([each.record.energy.min() for each in found])

    return run


def compare(batch: int, repeats: int) -> dict[str, Any]:
    """Rows of both programs and the ratios at equal quality."""
    problem = published_problems(batch)
    runs = {f"jax {r}x{s}": ours(problem, r, s) for r, s in OURS}
    runs |= {f"dwave {r}x{s} betas {b or 'default'}": theirs(problem, r, s, b) for r, s, b in THEIRS}
    rows: dict[str, dict[str, Any]] = {name: {"wall": [], "cpu": [], "energy": []} for name in runs}
    for name, run in runs.items():
        if name.startswith("jax"):
            began = time.perf_counter()
            run(999)
            rows[name]["first_call"] = time.perf_counter() - began
    for repeat in range(repeats):
        for name, run in runs.items():
            wall, cpu = time.perf_counter(), time.process_time()
            energies = run(1000 * repeat)
            rows[name]["wall"].append((time.perf_counter() - wall) / batch)
            rows[name]["cpu"].append((time.process_time() - cpu) / batch)
            rows[name]["energy"].append(float(energies.mean()))
    table = {
        name: {
            "wall_ms_a_problem": 1e3 * statistics.median(row["wall"]),
            "wall_ms_range": [1e3 * min(row["wall"]), 1e3 * max(row["wall"])],
            "cpu_ms_a_problem": 1e3 * statistics.median(row["cpu"]),
            "mean_best_energy": statistics.mean(row["energy"]),
            "first_call_s": row.get("first_call"),
        }
        for name, row in rows.items()
    }
    ratios = {}
    for name, row in table.items():
        if name.startswith("jax"):
            continue
        equal = {
            own: table[own] for own in table
            if own.startswith("jax") and table[own]["mean_best_energy"] <= row["mean_best_energy"]
        }  # fmt: skip
        if equal:
            # By processor time, which other programs on the machine disturb least.
            cheapest = min(equal, key=lambda own: equal[own]["cpu_ms_a_problem"])
            ratios[name] = {
                "against": cheapest,
                "wall": row["wall_ms_a_problem"] / equal[cheapest]["wall_ms_a_problem"],
                "cpu": row["cpu_ms_a_problem"] / equal[cheapest]["cpu_ms_a_problem"],
            }
    return {"batch": batch, "repeats": repeats, "settings": table, "ratios_at_equal_energy": ratios}


def surroundings() -> dict[str, Any]:
    """What a result depends on beside the program."""
    return {
        "versions": {name: metadata.version(name) for name in ("jax", "jaxlib", "dwave-samplers", "dimod", "numpy")},
        "system": f"{platform.system()} {platform.machine()}",
        "device": jax.devices()[0].device_kind,
        "cores": os.cpu_count(),
        "load": list(os.getloadavg()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", type=Path)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    found = compare(arguments.batch, arguments.repeats)
    found |= surroundings()
    arguments.result.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for name, row in found["settings"].items():
        wall, cpu = row["wall_ms_a_problem"], row["cpu_ms_a_problem"]
        print(f"{name:<42} {wall:8.2f} ms  cpu {cpu:8.2f} ms  {row['mean_best_energy']:.3f}")
    for name, row in found["ratios_at_equal_energy"].items():
        print(f"{name}: {row['wall']:.1f} times as long as {row['against']} (cpu {row['cpu']:.1f})")


if __name__ == "__main__":
    main()
