"""The JAX annealer against dwave-samplers' simulated annealing on Max-Cut graphs like Gset's, from seeded generators.

    python benchmarks/annealing_gset.py RESULT.json [--reads 16] [--sweeps 1000] [--repeats 3]

Graphs are of the kinds that Gset's own generator made: random ones with weights of one or of either sign, and toroidal
grids. Both programs run in turn on each, round after round; energies are minus cuts. Times are of `solve` as a user
calls it; the first call of ours, which compiles, is apart.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from annealing_speed import surroundings


def random_graph(n: int, m: int, signed: bool, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ends and weights of m different edges."""
    rng = np.random.default_rng(seed)
    codes = rng.choice(n * (n - 1) // 2, m, replace=False)
    rows, columns = (index[codes] for index in np.triu_indices(n, 1))
    return rows, columns, rng.choice([-1.0, 1.0], m) if signed else np.ones(m)


def torus(height: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ends and weights +-1 of a grid closed both ways."""
    places = np.arange(height * width).reshape(height, width)
    rows = np.concatenate([places.ravel()] * 2)
    columns = np.concatenate([np.roll(places, -1, axis).ravel() for axis in (0, 1)])
    return rows, columns, np.random.default_rng(seed).choice([-1.0, 1.0], len(rows))


GRAPHS = {
    "like G1: 800, 6 %": (800, lambda: random_graph(800, 19176, False, 1)),
    "like G6: 800, 6 %, signed": (800, lambda: random_graph(800, 19176, True, 6)),
    "like G11: torus 100 x 8": (800, lambda: torus(100, 8, 11)),
    "like G22: 2000, 1 %": (2000, lambda: random_graph(2000, 19990, False, 22)),
    "like G27: 2000, 1 %, signed": (2000, lambda: random_graph(2000, 19990, True, 27)),
    "like G32: torus 100 x 20": (2000, lambda: torus(100, 20, 32)),
    "like G55: 5000, .1 %": (5000, lambda: random_graph(5000, 12498, False, 55)),
    "like G81: torus 200 x 100": (20000, lambda: torus(200, 100, 81)),
}


def compare(reads: int, sweeps: int, repeats: int) -> dict[str, Any]:
    """For each graph, rows of both programs and the ratios of their times."""
    import dimod
    from qjaxsim_dimod import solve

    table: dict[str, Any] = {}
    for name, (n, make) in GRAPHS.items():
        rows, columns, weights = make()
        bqm = dimod.BQM.from_numpy_vectors(np.zeros(n), (rows, columns, weights / 2), -weights.sum() / 2, "SPIN")
        began = time.perf_counter()
        solve(bqm, "jax", num_reads=reads, num_sweeps=sweeps, seed=999)
        first = time.perf_counter() - began
        runs: dict[str, dict[str, list[float]]] = {
            sampler: {key: [] for key in ("wall", "cpu", "best", "mean")} for sampler in ("jax", "sa")
        }
        for repeat in range(repeats):
            for sampler, run in runs.items():
                wall, cpu = time.perf_counter(), time.process_time()
                found = solve(bqm, sampler, num_reads=reads, num_sweeps=sweeps, seed=repeat)
                run["wall"].append(time.perf_counter() - wall)
                run["cpu"].append(time.process_time() - cpu)
                run["best"].append(float(found.record.energy.min()))
                run["mean"].append(float(found.record.energy.mean()))
        medians = {sampler: {key: statistics.median(run[key]) for key in run} for sampler, run in runs.items()}
        table[name] = {
            "runs": runs,
            "first_call_s": first,
            "wall_ratio": medians["sa"]["wall"] / medians["jax"]["wall"],
            "cpu_ratio": medians["sa"]["cpu"] / medians["jax"]["cpu"],
        }
        print(f"{name:<28} best {medians['jax']['best']:9.0f} against {medians['sa']['best']:9.0f}, mean "
              f"{medians['jax']['mean']:10.1f} against {medians['sa']['mean']:10.1f}; dwave-samplers takes "
              f"{table[name]['cpu_ratio']:.2f} times our processor time; first call {first:.1f} s",
              flush=True)  # fmt: skip
    return {"reads": reads, "sweeps": sweeps, "repeats": repeats, "graphs": table}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", type=Path)
    parser.add_argument("--reads", type=int, default=16)
    parser.add_argument("--sweeps", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    found = compare(arguments.reads, arguments.sweeps, arguments.repeats) | surroundings()
    arguments.result.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
