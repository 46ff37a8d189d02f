"""One cell of the study `effective-dimension`: the Fisher matrices of a model at all draws, and its dimensions."""

from functools import partial
from typing import Any

import jax
import numpy as np

from qjaxsim.curvature import numerical_rank
from qjaxsim.geometry import classical_fisher, effective_dimension
from qjaxsim.studies.effective_dimension.draws import Draws, draw
from qjaxsim.studies.effective_dimension.models import Model, model_of
from qjaxsim.studies.effective_dimension.settings import EffectiveDimensionSettings
from qjaxsim.studies.shared.sweep import CellResult

# Below this share of the largest eigenvalue the others are rounding.
_ROUNDING = 1e-9


def run_cell(settings: EffectiveDimensionSettings, model: str, interval: str, seed: int) -> CellResult:
    """Fisher matrices and what they say.

    Returns:
        A row for each size of a data set, and the array "eigenvalues" (T, P) of the Fisher matrices, ascending.
    """
    matrices = fishers(model_of(model, settings.frequency), draw(settings, model, interval, seed))
    values, traces = np.linalg.eigvalsh(matrices), np.trace(matrices, axis1=1, axis2=2)
    shared: dict[str, Any] = {
        "parameters": values.shape[1],
        "trace": float(traces.mean()),
        "rank": float(np.mean([numerical_rank(each, _ROUNDING) for each in values])),
        "spread": float(traces.std() / traces.mean()),
    }
    dimensions = effective_dimension(matrices, settings.samples)
    alike = effective_dimension(matrices / traces[:, None, None], settings.samples)
    rows = [
        {
            "model": model,
            "interval": interval,
            "seed": seed,
            "samples": n,
            **shared,
            "dimension": float(found),
            "share": float(found) / values.shape[1],
            "share_alike": float(control) / values.shape[1],
        }
        for n, found, control in zip(settings.samples, dimensions, alike, strict=True)
    ]
    return CellResult(rows, {"eigenvalues": values})


def fishers(model: Model, drawn: Draws) -> np.ndarray:
    """The Fisher matrices (T, P, P) of a model at all draws of its parameters, each a mean over all inputs."""
    return np.asarray(_fishers(model, drawn.thetas, drawn.x))


@partial(jax.jit, static_argnums=0)
def _fishers(model: Model, thetas: jax.Array, x: jax.Array) -> jax.Array:
    return jax.lax.map(lambda flat: classical_fisher(model.probabilities, model.params(flat), x), thetas)
