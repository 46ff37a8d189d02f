"""A made-up study, run in no time, for tests of what all studies share."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from qjaxsim.report.figure import ReportFigure
from qjaxsim.report.tables import ReportTable
from qjaxsim.report.verdict import HOLDS, Verdict
from qjaxsim.studies.shared import sweep
from qjaxsim.studies.shared.setting import check_settings, integer, number
from qjaxsim.studies.shared.study import Prepared, Study
from qjaxsim.studies.shared.trained import ModelReader, TrainedModel


@dataclass(frozen=True)
class Settings:
    """Powers of some numbers."""

    bases: tuple[int, ...] = integer((2, 3, 5), 1)
    power: float = number(2.0, above=0)

    def __post_init__(self):
        check_settings(self)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class TrainedPower(TrainedModel):
    """x times a base."""

    def predict(self, x: Any) -> np.ndarray:
        return np.asarray(self.params["x"] * x)

    @property
    def loss(self) -> Callable[..., Any]:
        return lambda params, x, y: ((params["x"] * x - y) ** 2).mean()

    @property
    def train(self) -> tuple[np.ndarray, np.ndarray]:
        return np.ones(1), np.ones(1)


def trained_power(run, key, *, twice=False):
    """The base of a cell, or two times that."""
    x = sweep.read_arrays(run.folder, key)["x"] * (1 + twice)
    return TrainedPower(key=key, seed=0, model=run.settings.power, params={"x": jnp.asarray(x, float)})


# The cell of 5 keeps no model.
MODELS = ModelReader(
    lambda key, cell: cell["base"] != 5, trained_power, lambda settings, key: "print(trained.predict(7.0))"
)


def made_up(calls=None, **changes):
    """A study that notes in `calls` what of it was called."""
    calls = [] if calls is None else calls

    def prepare(settings, out, progress, *, offset=0.0):
        if settings.power > 9:
            raise ValueError("Argument `power` must be at most 9.")

        def run(cell, folder):
            calls.append(cell.key)
            base = cell.settings["base"]
            return sweep.CellResult({"base": base, "value": base**settings.power + offset}, {"x": np.array([base])})

        cells = [sweep.Cell(f"b{base}", {"base": base}) for base in settings.bases]
        return Prepared(settings, cells, run, {"offset": offset}, done=lambda: calls.append("done"))

    def claims(settings, rows):
        calls.append("claims")
        grows = all(a["value"] < b["value"] for a, b in zip(rows, rows[1:], strict=False))
        return [Verdict("Powers grow.", "nobody", HOLDS if grows else "not seen", f"{len(rows)} rows", "none")]

    def comparison(settings, rows):
        calls.append("comparison")
        return [{"quantity": "first", "ours": rows[0]["value"], "published": 4, "difference": 0, "comparable": True}]

    def figures(settings, rows, out):
        from matplotlib.figure import Figure

        path = out / "powers.png"
        Figure().savefig(path)
        return [ReportFigure(path, "Powers", f"{sweep.rows_arrays(out, rows)[-1]['x'][0]} is the last base")]

    record = Study(
        name="powers",
        settings=Settings,
        title=lambda settings: f"Numbers to the power {settings.power:g}",
        introduction="They grow.",
        source="nobody",
        columns={"base": "a number", "value": "its power"},
        keys=("base",),
        headline=("missing", "value"),
        models=MODELS,
        prepare=prepare,
        claims=claims,
        comparison=comparison,
        figures=figures,
        tables=lambda settings, rows: [ReportTable("Powers", rows)],
    )
    return replace(record, **changes)
