"""One cell of the study `spectrum`: to the point from its start, and the report there."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from qjaxsim import curvature
from qjaxsim.common import files
from qjaxsim.common.progress import Progress
from qjaxsim.curvature.spectra.groups import leaf_names
from qjaxsim.curvature.spectra.problem import checked_value
from qjaxsim.running.array_types import to_jax
from qjaxsim.studies.shared.sharpness import sharpness_arrays
from qjaxsim.studies.shared.sweep import CellResult
from qjaxsim.studies.spectrum.columns import COLUMNS
from qjaxsim.studies.spectrum.settings import SpectrumSettings
from qjaxsim.studies.spectrum.target import Target
from qjaxsim.training import TrainConfig, TrainResult, fit

# On the way to a point: a step of a small circuit takes less time than writing one.
_CHECKPOINTS = 20
REPORT, PARAMS, UNFINISHED = "report.npz", "params.npz", "unfinished"


def run_cell(settings: SpectrumSettings, target: Target, seed: int, folder: Path, progress: Progress) -> CellResult:
    """Row and arrays of a cell; in the folder are its report and its parameters, an array for each leaf by name.

    Args:
        settings: of the study.
        target: the problem.
        seed: of the start, minibatches and probes.
        folder: the cell's.
        progress: bars.
    """
    start = target.start(seed)
    training = _Training.of(settings, target, seed) if settings.point == "minimum" else None
    if training is not None and target.options is not None:
        # What the report would refuse of a function of the user's own, before training is lost to it.
        with _called_target(target):
            checked_value(target.problem(start))
    result = None if training is None else training.run(start, folder / "training", progress)
    params = start if result is None else result.params_best
    began = time.perf_counter()
    with _called_target(target):
        report = curvature.spectrum_report(
            target.function,
            params,
            target.data,
            **_report_options(settings, target, result),
            seed=seed,
            checkpoint=folder / UNFINISHED,
            progress=progress,
        )
    report.save(folder / REPORT)
    files.write_npz(folder / PARAMS, _named(params))
    row: dict[str, Any] = {
        "label": f"seed {seed}, {settings.point}",
        "seed": seed,
        "point": settings.point,
        **report.numbers,
        "seconds_hessian": time.perf_counter() - began,
    }
    arrays = dict(report.arrays)
    if result is not None:
        row |= {
            "epochs": settings.epochs,
            "best_epoch": result.best_epoch,
            "start_loss": result.history[0]["train_loss"],
            "seconds_train": sum(float(entry["seconds"] or 0.0) for entry in result.history),
        }
        arrays |= {
            "history_train_loss": np.array([entry["train_loss"] for entry in result.history]),
            "minimum": np.array(result.best_epoch),
        }
        if settings.sharpness and training is not None:
            arrays |= sharpness_arrays(training.loss, result, training.x, training.y, training.config, folder, progress)
    return CellResult({name: row[name] for name in COLUMNS if row.get(name) is not None}, arrays)


@contextmanager
def _called_target(target: Target) -> Iterator[None]:
    """Errors about the function in words of the command line, where it is what was given as TARGET."""
    try:
        yield
    except ValueError as error:
        raise ValueError(str(error).replace("Argument `function`", f"Argument TARGET, {target.name},")) from error


def _named(params: Any) -> dict[str, np.ndarray]:
    """Leaves by name, as --params takes those of a circuit."""
    return {name: np.asarray(leaf) for name, leaf in zip(leaf_names(params), jax.tree.leaves(params), strict=True)}


def _report_options(settings: SpectrumSettings, target: Target, result: TrainResult | None) -> dict[str, Any]:
    """Arguments of the report from the settings; what the problem itself says comes first."""
    return {
        "loss": target.loss,
        "classes": settings.classes,
        "method": settings.spectrum,
        "top": settings.top,
        "groups": None if settings.blocks == "none" else settings.blocks,
        "planes": settings.landscape,
        "plane_points": settings.landscape_points,
        "trajectory": None if result is None else result.trajectory,
        "title": f"Hessian spectrum of {target.name}",
        **(target.options or {}),
    }


class _Training(NamedTuple):
    """The way of the optimiser to a minimum: samples by their number, so that inputs and targets may be any pytrees."""

    loss: Callable[..., jax.Array]
    x: np.ndarray
    y: np.ndarray
    config: TrainConfig

    @classmethod
    def of(cls, settings: SpectrumSettings, target: Target, seed: int) -> "_Training":
        """Of one seed."""
        x, y = target.data if target.data is not None else (np.zeros((1, 1)), np.zeros(1))
        count = len(jax.tree.leaves(y)[0])
        held = jax.tree.map(to_jax, (x, y))
        loss = target.loss

        def mean(params: Any, index: jax.Array, _: jax.Array) -> jax.Array:
            if loss is None:
                return target.function(params)
            xs, ys = jax.tree.map(lambda leaf: leaf[index.astype(int)], held)
            return loss(target.function(params, xs), ys).mean()

        labels = np.asarray(y) if getattr(y, "ndim", 0) == 1 else np.zeros(count)
        config = TrainConfig(
            epochs=settings.epochs,
            batch_size=min(settings.batch_size, count),
            learning_rate=settings.learning_rate,
            schedule=settings.schedule,
            optimizer=settings.optimizer,
            seed=seed,
        )
        return cls(mean, np.arange(count), labels, config)

    def run(self, start: Any, folder: Path, progress: Progress) -> TrainResult:
        """Kept in the folder and taken up from there."""
        return fit(
            self.loss,
            start,
            self.x,
            self.y,
            self.config,
            folder=folder,
            resume=True,
            progress=progress,
            checkpoint_every=max(1, self.config.epochs // _CHECKPOINTS),
        )
