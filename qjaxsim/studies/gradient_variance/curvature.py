"""Hessian spectra of a trained hybrid model at the start and the end of its training."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from qjaxsim.common.precision import HIGHEST
from qjaxsim.curvature import HessianSplit, dense_spectrum, spectrum_report, split_hessian
from qjaxsim.models.hybrid import HybridModel, Params
from qjaxsim.models.losses import cross_entropy
from qjaxsim.running.array_types import to_jax
from qjaxsim.studies.gradient_variance.cell import END, START, seed_parameters
from qjaxsim.studies.gradient_variance.settings import GradientSettings, Run
from qjaxsim.studies.shared.examples import Examples
from qjaxsim.studies.shared.sweep import CellResult

# Columns that a report brings.
_OF_REPORT = (
    "parameters", "lambda_max", "lambda_min", "trace", "gn_lambda_max", "residual_norm_ratio", "near_zero_fraction",
)  # fmt: skip


def hessian_cell(
    settings: GradientSettings, run: Run, data: Examples, trained: dict[str, np.ndarray], updates: int
) -> CellResult:
    """Rows by seed for epoch 0 and the last one; arrays "SEED/start", "SEED/end" and "SEED/start_circuit", ...

    Args:
        settings: the study's.
        run: what was trained.
        data: images; the first `hessian_images` in the order of `chosen_images` count.
        trained: arrays of the trained cell.
        updates: that it made.
    """
    model = run.model(data.side, data.n_classes)
    chosen = np.random.default_rng(settings.data_seed).permutation(len(data.x_train))[: settings.hessian_images]
    x, y = data.x_train[chosen].astype(np.float64), data.y_train[chosen]
    rows: list[dict[str, Any]] = []
    arrays: dict[str, np.ndarray] = {}
    for seed in settings.seeds:
        for moment, epoch in ((START, 0), (END, settings.epochs)):
            params = jax.tree.map(lambda leaf: jnp.asarray(leaf, np.float64), seed_parameters(trained, moment, seed))
            row, values = spectra(model, params, x, y)
            done = updates if epoch else 0
            rows.append({**run._asdict(), "seed": seed, "epoch": epoch, **row, "updates": done})
            arrays |= {f"{seed}/{moment}{name}": spectrum for name, spectrum in values.items()}
    return CellResult(rows, arrays)


def spectra(model: HybridModel, params: Params, x: np.ndarray, y: np.ndarray) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures of the Hessian of the mean loss in all parameters and in the circuit's, and eigenvalues ("", "_circuit").

    Pre- and post-layer have no structure that `split_hessian` knows, so the whole matrix takes its generic way; the
    circuit's block goes through `CircuitOutputs` as well, and the row says how far the two are apart.
    """
    places = circuit_places(params)
    report = spectrum_report(
        model.outputs,
        params,
        (x, y),
        loss=cross_entropy,
        method="dense",
        groups=None,
        planes=(),
        check_deterministic=False,  # ours
        progress=False,
    )
    assert report.hessian is not None
    inner = np.asarray(report.hessian.dense())[np.ix_(places, places)]
    block = circuit_split(model, params, x, y)
    own = dense_spectrum(block.hessian)
    row = {
        "hessian_images": len(x),
        **{name: report.numbers[name] for name in _OF_REPORT},
        "circuit_lambda_max": float(own[-1]),
        "circuit_lambda_min": float(own[0]),
        "circuit_trace": float(own.sum()),
        "block_difference": float(np.abs(inner - np.asarray(block.hessian)).max() / np.abs(inner).max()),
    }
    return row, {"": report.eigenvalues, "_circuit": own}


def circuit_split(model: HybridModel, params: Params, x: np.ndarray, y: np.ndarray) -> HessianSplit:
    """H = G + R of the mean loss in the circuit weights alone, by the circuit's structure.

    The post-layer travels with the targets, so one compiled program serves all its values.
    """
    images = jnp.asarray(x, params["weights"].dtype)
    post = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(x), *leaf.shape)), params["post"])
    targets = {"label": to_jax(y), "post": post}
    weights, inputs = {"weights": params["weights"]}, {"inputs": model.encode(params, images)}
    return split_hessian(model.circuit_outputs, _behind_circuit, weights, inputs, targets)


def _behind_circuit(values: jax.Array, targets: Any) -> jax.Array:
    """Each sample's loss from <Z>, (B, n) to (B,)."""
    post = targets["post"]
    logits = jnp.einsum("bkq,bq->bk", post["weight"], values, precision=HIGHEST) + post["bias"]
    return cross_entropy(logits, targets["label"])


def circuit_places(params: Params) -> np.ndarray:
    """Where the circuit weights stand among all parameters, in `ravel_pytree` order."""
    marked = {name: jax.tree.map(np.zeros_like, part) for name, part in params.items()}
    marked["weights"] = np.ones_like(params["weights"])
    return np.flatnonzero(ravel_pytree(marked)[0])
