"""What a trained attention does: how it selects, at which energies, where the time goes."""

import itertools
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim import annealing
from qjaxsim.annealing.problems import HeadsProblem
from qjaxsim.common.choices import SELECTING
from qjaxsim.models.attention import AttentionSettings, Params
from qjaxsim.models.attention_vit import VisionTransformer
from qjaxsim.running.array_types import to_jax
from qjaxsim.studies.attention.settings import ANNEALED

EXACT_VARIABLES = 16
_TABU_MS = 20
_LONG_READS, _LONG_SWEEPS = 32, 100
_TIMED = 3
# Kinds whose time is split, and those whose energies are compared.


def accuracy(model: VisionTransformer, params: Params, x: np.ndarray, y: np.ndarray, at_once: int = 500) -> float:
    """Fraction of images classified correctly."""
    classify = jax.jit(lambda params, x: model.outputs(params, x).argmax(1))
    hits = [
        np.asarray(classify(params, to_jax(x[start : start + at_once]))) == y[start : start + at_once]
        for start in range(0, len(x), at_once)
    ]
    return float(np.concatenate(hits).mean())


def largest_fall(accuracies: np.ndarray) -> float:
    """The largest fall from one epoch to the next of accuracies (E,) at their ends; 0 where there is none.

    >>> largest_fall(np.array([0.5, 0.75, 0.25, 0.5])), largest_fall(np.array([0.5]))
    (0.5, 0.0)
    """
    return float(np.max(accuracies[:-1] - accuracies[1:], initial=0.0))


def swapped(model: VisionTransformer, params: Params, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Test accuracies of a trained v2 model under other ways to select."""
    found = {}
    for kind in ("greedy", "ones", "random", "threshold"):
        settings = replace(model.attention, kind=kind, gradient="frozen")
        found[f"swap_{kind}"] = accuracy(replace(model, attention=settings), params, x, y)
    return found


def selection(settings: AttentionSettings, weights: np.ndarray) -> dict[str, float]:
    """Statistics of selections or token weights (B, H, n)."""
    if settings.kind not in (*SELECTING, "qama-v1"):
        return {}
    chosen = weights > 0
    row = {
        "selected": float(weights.mean()),
        "heads_per_token": float(chosen.sum(1).mean()),
        "unseen_tokens": float((~chosen.any(1)).mean()),
    }
    if settings.kind == "qama-v1":
        row["fractional"] = float(((weights > 1e-6) & (weights < 1 - 1e-6)).mean())
    return row


# --- energies --------------------------------------------------------------------------------------------------------


def energies(settings: AttentionSettings, problem: HeadsProblem) -> dict[str, Any]:
    """Energies of the problems by several solvers, above the lowest that any of them found.

    Args:
        settings: of the layer: reads, sweeps.
        problem: the problems of some images.
    """
    key, other = jax.random.split(jax.random.key(settings.seed))
    n_batch, n_heads, n = problem.linear.shape

    def lowest(reads: int, sweeps: int, bits: int | None = None, key: jax.Array = key) -> np.ndarray:
        run = jax.jit(lambda p, k: annealing.anneal(p, k, reads=reads, sweeps=sweeps, bits=bits).energies.min(1))
        return np.asarray(run(problem, key), float)

    found = {
        "anneal": lowest(settings.reads, settings.sweeps, settings.bits),
        "greedy": lowest(settings.reads, 0),
        "round": lowest(settings.reads, settings.sweeps, 8),
    }
    known = lowest(_LONG_READS, _LONG_SWEEPS, key=other)
    if (tabu := _tabu(problem)) is not None:
        found["tabu"] = tabu
    for one in found.values():
        known = np.minimum(known, one)
    between = n_heads * (n_heads - 1) // 2 * n if float(problem.penalty) else 0
    return {
        "variables": n_heads * n,
        "couplings": n_heads * n * (n - 1) // 2 + between,
        "range_bits": range_bits(problem),
        **{f"gap_{name}": float((one - known).mean()) for name, one in found.items()},
        "energy_scale": float(np.abs(known).mean()),
        "exact_hits": exact_hits(settings, problem, key),
    }


def _tabu(problem: HeadsProblem) -> np.ndarray | None:
    """Lowest energies by Tabu search, None without dwave-samplers."""
    if find_spec("dimod") is None or find_spec("dwave") is None:
        return None
    from qjaxsim_dimod import Qubo, solve_batch

    qubos = [Qubo.from_heads(problem, i) for i in range(len(problem.linear))]
    return np.array([one.first.energy for one in solve_batch(qubos, "tabu", seed=0, num_reads=1, timeout=_TABU_MS)])


def exact_hits(settings: AttentionSettings, problem: HeadsProblem, key: jax.Array) -> float | None:
    """Fraction of problems where annealing, rounded as in training, ends at the minimum over all states."""
    n_heads, n = problem.linear.shape[1:]
    if n_heads * n > EXACT_VARIABLES:
        if n > EXACT_VARIABLES:
            return None
        # Heads of their own: without the penalty each is a problem that can be gone through.
        problem = HeadsProblem(problem.couplings[:, :1], problem.linear[:, :1], jnp.zeros_like(problem.penalty))
        n_heads = 1
    states = np.array(list(itertools.product((0, 1), repeat=n_heads * n)), np.int8).reshape(1, -1, n_heads, n)

    @jax.jit
    def both(problem: HeadsProblem) -> tuple[jax.Array, jax.Array]:
        def one(part: tuple[jax.Array, jax.Array]) -> jax.Array:
            inner = HeadsProblem(part[0][None], part[1][None], problem.penalty)
            return annealing.energies(inner, states).min()

        exact = jax.lax.map(one, (problem.couplings, problem.linear))
        drawn = annealing.anneal(problem, key, reads=settings.reads, sweeps=settings.sweeps, bits=settings.bits)
        return exact, drawn.energies.min(1)

    exact, ours = (np.asarray(part, float) for part in both(problem))
    return float((ours <= exact + 1e-4 * np.maximum(1.0, np.abs(exact))).mean())


def range_bits(problem: HeadsProblem) -> float:
    """Bits between the largest and the median of the Ising form's absolute numbers, zeros left out."""
    couplings, linear, penalty = (np.asarray(part, float) for part in problem)
    n_batch, n_heads, n = linear.shape
    fields = linear / 2 + couplings.sum(3) / 4 + penalty * (n_heads - 1) / 4
    within = couplings[:, :, *np.triu_indices(n, 1)] / 4
    between = np.full(n_batch * n * n_heads * (n_heads - 1) // 2, penalty / 4)
    numbers = np.abs(np.concatenate([part.ravel() for part in (fields, within, between)]))
    numbers = numbers[numbers > 0]
    return float(np.log2(numbers.max() / np.median(numbers))) if numbers.size else 0.0


# --- time ------------------------------------------------------------------------------------------------------------


def times(model: VisionTransformer, params: Params, x: np.ndarray) -> dict[str, float]:
    """Milliseconds an image of a forward pass: building the problems, sampling, the rest; the last for all kinds."""
    batch = to_jax(x)
    whole = _seconds(jax.jit(model.outputs), params, batch)
    if model.attention.kind not in ANNEALED:
        return {"ms_rest": 1e3 * whole / len(x)}
    build = jax.jit(model.first_problem)
    settings = model.attention
    sweeps = 0 if settings.kind == "greedy" else settings.sweeps
    run = jax.jit(
        lambda problem: annealing.anneal(
            problem, jax.random.key(settings.seed), reads=settings.reads, sweeps=sweeps, bits=settings.bits
        )
    )
    building = _seconds(build, params, batch)
    sampling = _seconds(run, build(params, batch))
    parts = {"ms_build": building, "ms_sample": sampling, "ms_rest": max(whole - building - sampling, 0.0)}
    return {name: 1e3 * seconds / len(x) for name, seconds in parts.items()}


def _seconds(run: Callable[..., Any], *arguments: Any) -> float:
    """Median over some calls, after one that compiles."""
    jax.block_until_ready(run(*arguments))
    found = []
    for _ in range(_TIMED):
        began = time.perf_counter()
        jax.block_until_ready(run(*arguments))
        found.append(time.perf_counter() - began)
    return float(np.median(found))
