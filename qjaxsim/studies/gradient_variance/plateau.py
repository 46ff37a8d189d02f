"""Variance of a gradient over random initialisations at a fixed cost: what a barren plateau is defined by.

Of <Z> of single qubits (local) and Z on all qubits (global), at fixed inputs, for circuits of growing width and depth.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.circuits.observables import PauliSum, Z
from qjaxsim.models.hybrid import hybrid_circuit
from qjaxsim.running.simulate import expectation
from qjaxsim.studies.gradient_variance.settings import GradientSettings, Run
from qjaxsim.studies.shared.sweep import CellResult

# Depths of the random circuits: the published ones, and deep enough for a plateau on as many qubits.
DEPTHS = (2, 3, 4, 6, 12, 24)
# Half widths of the uniform distribution of the weights: as published, and all angles.
RANGES = {"[-1, 1)": 1.0, "[-pi, pi)": math.pi}
# Random initialisations at once; memory only.
_AT_ONCE = 20
# Entries whose variance is below this share of the mean are those that the observable does not depend on.
_ROUNDING = 1e-9
_GROUPS = 10


def plateau_cell(settings: GradientSettings, run: Run) -> CellResult:
    """Rows by depth, distribution and observable at one number of qubits."""
    rows: list[dict[str, Any]] = []
    for depth in DEPTHS:
        gradients = random_gradients(run.qubits, depth, run.pairing, settings.draws, settings.seeds[0], settings.dtype)
        for name, both in zip(RANGES, gradients, strict=True):
            for observable, own in (("local", both[:, :-1]), ("global", both[:, -1:])):
                rows.append(
                    {
                        "qubits": run.qubits,
                        "layers": depth,
                        "pairing": run.pairing,
                        "seed": settings.seeds[0],
                        "initial": name,
                        "observable": observable,
                        "draws": settings.draws,
                        **variances(own),
                    }
                )
    return CellResult(rows, {})


def random_gradients(n: int, depth: int, pairing: str, draws: int, seed: int, dtype: str) -> np.ndarray:
    """Gradients in the circuit weights at random weights: (ranges, draws, n + 1, 3 n depth), the last row of Z...Z.

    Inputs are one vector of angles uniform in [-1, 1), the same for all draws.
    """
    rng = np.random.default_rng([seed, n, depth])
    inputs = jnp.asarray(rng.uniform(-1, 1, n), dtype)
    unit = rng.uniform(-1, 1, (draws, depth, n, 3))
    all_qubits: PauliSum = Z(0)
    for qubit in range(1, n):
        all_qubits = all_qubits @ Z(qubit)
    run = expectation(hybrid_circuit(n, depth, pairing), [*(Z(qubit) for qubit in range(n)), all_qubits])
    jacobian = jax.jacrev(lambda weights: run({"inputs": inputs, "weights": weights}))

    @jax.jit
    def gradients(weights: jax.Array) -> jax.Array:
        return jax.lax.map(jacobian, weights, batch_size=_AT_ONCE)

    weights = np.concatenate([half * unit for half in RANGES.values()])
    found = np.asarray(gradients(jnp.asarray(weights, dtype)))
    return found.reshape(len(RANGES), draws, n + 1, -1)


def variances(gradients: np.ndarray) -> dict[str, float]:
    """Variance over draws, mean over observables and entries, of gradients (draws, observables, entries).

    Standard errors come from ten groups of draws.
    """
    values = gradients.reshape(len(gradients), -1).astype(float)
    each = values.var(axis=0, ddof=1)
    seen = each > _ROUNDING * max(each.mean(), np.finfo(float).tiny)
    groups = np.array([group.var(axis=0, ddof=1) for group in np.array_split(values, _GROUPS)])

    def error(chosen: np.ndarray) -> float:
        return float(groups[:, chosen].mean(axis=1).std(ddof=1) / math.sqrt(_GROUPS)) if chosen.any() else 0.0

    everything = np.ones_like(seen)
    return {
        "init_var": float(each.mean()),
        "init_var_error": error(everything),
        "init_var_seen": float(each[seen].mean()) if seen.any() else 0.0,
        "init_var_seen_error": error(seen),
        "seen": float(seen.mean()),
    }
