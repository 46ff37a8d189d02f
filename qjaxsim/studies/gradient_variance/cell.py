"""One trained cell of the study `gradient-variance`: all seeds, a row for every seed and epoch."""

from typing import Any

import jax
import numpy as np

from qjaxsim.common.checks import integer_among
from qjaxsim.models.hybrid import Params
from qjaxsim.studies.gradient_variance.settings import GradientSettings, Run
from qjaxsim.studies.gradient_variance.training import Trained, train_seeds
from qjaxsim.studies.shared.examples import Examples
from qjaxsim.studies.shared.sweep import CellResult

START, END = "start", "end"


def train_cell(settings: GradientSettings, run: Run, data: Examples) -> CellResult:
    """Rows by seed and epoch, and the arrays that make them again.

    Arrays: "seeds" (S,); by name of `training.STATISTICS` one number an update, (S, E, T); parameters at
    "start/..." and "end/..." with the seeds in front, named by `parameter_arrays`.
    """
    trained = train_seeds(
        run, run.model(data.side, data.n_classes), data, settings.seeds, settings.epochs, settings.dtype
    )
    arrays = {"seeds": np.array(settings.seeds), **trained.steps}
    arrays |= parameter_arrays(START, trained.start) | parameter_arrays(END, trained.end)
    return CellResult(_rows(settings, run, trained), arrays)


def _rows(settings: GradientSettings, run: Run, trained: Trained) -> list[dict[str, Any]]:
    steps = {name: values.astype(float) for name, values in trained.steps.items()}
    means = {
        "grad_mean": steps["grad_mean"],
        "grad_var": steps["grad_var"],
        "grad_var_per_post": steps["grad_var"] / steps["post_scale"] ** 2,
        "grad_var_per_signal": steps["grad_var"] / steps["signal_scale"] ** 2,
        "post_scale": steps["post_scale"],
    }
    by_epoch = {name: values.mean(axis=2) for name, values in means.items()} | trained.evaluated
    _, epochs, updates = steps["grad_var"].shape
    fixed = {name: value for name, value in run._asdict().items() if name != "updates"}
    return [
        {
            **fixed,
            "seed": seed,
            "epoch": epoch + 1,
            "updates": (epoch + 1) * updates,
            **{name: float(values[s, epoch]) for name, values in by_epoch.items()},
        }
        for s, seed in enumerate(settings.seeds)
        for epoch in range(epochs)
    ]


def parameter_arrays(prefix: str, params: Params) -> dict[str, np.ndarray]:
    """Parameters as named arrays: "end/pre/weight", "end/weights", "end/post/bias", ..."""
    leaves, _ = jax.tree.flatten_with_path(params)
    return {"/".join([prefix, *(str(key.key) for key in path)]): np.asarray(leaf) for path, leaf in leaves}


def seed_parameters(arrays: dict[str, np.ndarray], prefix: str, seed: int) -> Params:
    """The parameters of one seed as `HybridModel` takes them, from the arrays of a trained cell.

    Args:
        arrays: as `qjaxsim.studies.shared.sweep.read_arrays` gives them.
        prefix: "start" or "end" of the training.
        seed: one of the cell's seeds.

    Raises:
        ValueError: if the cell has no such seed.
    """
    seeds = arrays["seeds"].tolist()
    place = seeds.index(integer_among("seed", seed, seeds))
    params: Params = {}
    for name, values in arrays.items():
        first, *path = name.split("/")
        if first == prefix and path:
            inner = params
            for part in path[:-1]:
                inner = inner.setdefault(part, {})
            inner[path[-1]] = values[place]
    return params
