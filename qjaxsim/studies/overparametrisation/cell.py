"""Cells of the study `overparametrisation`: ranks of a problem, or its training with some angles and an optimiser."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qjaxsim.common.progress import Progress
from qjaxsim.geometry import lie_algebra
from qjaxsim.studies.overparametrisation.fisher import fisher, rank_and_gap, ranks
from qjaxsim.studies.overparametrisation.problems import PRODUCT, Problem
from qjaxsim.studies.overparametrisation.settings import (
    ADAM,
    NATURAL,
    OPEN,
    UNITARY,
    OverparametrisationSettings,
)
from qjaxsim.studies.overparametrisation.training import train
from qjaxsim.studies.shared.descent import refined
from qjaxsim.studies.shared.sweep import Cell, CellResult, read_arrays

RANKS, TRAINING = "ranks", "training"
# Ranks are looked for up to this many times the expected dimension of the algebra, at least.
_FAR = 1.25
# Eigenvalues of a Hessian at a minimum that rounding may leave, over the largest.
HESSIAN_TOLERANCE = 1e-6
# Steps at which the share of starts that have succeeded is kept, for the figure.
_SHOWN = 60
# A start stands still if its cost changes by less over the last tenth of the steps.
_STILL = 0.01


@dataclass(frozen=True)
class Run:
    """One cell.

    Attributes:
        problem: whose.
        layers: of the circuit, for ranks the most.
        optimiser: empty for ranks.
        last: whether no training of the problem has more angles, so that its minimum is looked at.
    """

    problem: Problem
    layers: int
    optimiser: str = ""
    last: bool = False

    @property
    def cell(self) -> Cell:
        """Its place in the sweep."""
        angles = self.problem.angles(self.layers)
        named = {"problem": self.problem.name, "qubits": self.problem.qubits, "angles": angles}
        if not self.optimiser:
            return Cell(f"{self.problem.key}-{RANKS}", {"part": RANKS, **named})
        more = f"-{self.optimiser}" if self.optimiser != ADAM else ""
        key = f"{self.problem.key}-m{angles}{more}"
        return Cell(key, {"part": TRAINING, **named, "optimiser": self.optimiser})


def runs(settings: OverparametrisationSettings) -> Iterator[Run]:
    """All cells: of each problem its ranks first, then training with more and more angles, then the controls.

    These are for the open chain, where Adam trains with more angles than the rank needs, and leave out the most angles.
    """
    for name in settings.problems:
        for qubits in settings.unitary_qubits if name == UNITARY else settings.qubits:
            problem = Problem(name, qubits, settings.seed if name == UNITARY else 0)
            counts = sorted({problem.layers(ratio * problem.rank) for ratio in settings.ratios})
            yield Run(problem, max(counts[-1], problem.layers(_FAR * problem.dimension)))
            for layers in counts:
                yield Run(problem, layers, ADAM, layers == counts[-1])
            for optimiser in settings.controls if name == OPEN else ():
                for layers in counts[:-1] or counts:
                    yield Run(problem, layers, optimiser)


def run_cell(settings: OverparametrisationSettings, run: Run, out: Path, progress: Progress) -> CellResult:
    """A row, and arrays.

    Of ranks "by_angles" (M,), "weakest" (M,) and "eigenvalues" (draws, M); for open chains "slip_by_angles" and for
    chains "elsewhere_by_angles" likewise. Of training "angles" (starts, M), "costs" (starts,), the last; "shown" (60,)
    steps and "shares" (60,) of starts below the threshold before them.
    """
    if not run.optimiser:
        return _ranks(settings, run.problem, run.layers)
    found, angles = read_arrays(out, Run(run.problem, run.layers).cell.key), run.problem.angles(run.layers)
    here = {"rank_here": int(found["by_angles"][angles - 1]), "weakest": float(found["weakest"][angles - 1])}
    return _training(settings, run, here, progress)


def _ranks(settings: OverparametrisationSettings, problem: Problem, layers: int) -> CellResult:
    angles = problem.starts(settings.draws, layers, 1, settings.seed)
    own = ranks(fisher(problem, layers)(angles), settings.tolerance)
    arrays = {"by_angles": own.by_angles, "weakest": own.weakest, "eigenvalues": own.eigenvalues}
    row: dict[str, Any] = {
        "part": RANKS,
        "problem": problem.name,
        "qubits": problem.qubits,
        "rank": own.largest,
        "angles_needed": int(np.argmax(own.by_angles == own.largest)) + 1,
        "angles_most": len(own.by_angles),
        "rank_strict": own.largest_at(1e-3 * settings.tolerance),
        "rank_loose": own.largest_at(1e3 * settings.tolerance),
        "gap": max(rank_and_gap(one, settings.tolerance)[1] for one in own.eigenvalues),
        "algebra": lie_algebra(problem.generators()).dimension,
    }
    if problem.name != UNITARY:
        elsewhere = ranks(fisher(problem, layers, start=PRODUCT)(angles), settings.tolerance)
        row["rank_elsewhere"], arrays["elsewhere_by_angles"] = elsewhere.largest, elsewhere.by_angles
    if problem.name == OPEN:
        slipped = ranks(fisher(problem, layers, slip=True)(angles), settings.tolerance)
        row["rank_slip"], arrays["slip_by_angles"] = slipped.largest, slipped.by_angles
    return CellResult(row, arrays)


def _training(settings: OverparametrisationSettings, run: Run, here: dict[str, Any], progress: Progress) -> CellResult:
    problem, layers = run.problem, run.layers
    steps = settings.natural_steps if run.optimiser == NATURAL else settings.steps
    starts = problem.starts(settings.starts, layers, 0, settings.seed)
    label = f"{problem.key}, {problem.angles(layers)} angles, {run.optimiser}"
    with progress.bar(label, steps, compiles=True) as advance:
        trained = train(problem, layers, starts, run.optimiser, settings.learning_rate, steps, advance)
    below = trained.costs < settings.threshold
    end, succeeded = trained.costs[:, -1], below[:, -1]
    shown = np.unique(np.geomspace(1, steps + 1, _SHOWN).astype(int)) - 1
    row: dict[str, Any] = {
        "part": TRAINING,
        "problem": problem.name,
        "qubits": problem.qubits,
        "optimiser": run.optimiser,
        "angles": problem.angles(layers),
        "layers": layers,
        **here,
        "starts": settings.starts,
        "steps": steps,
        "share": float(succeeded.mean()),
        "share_tenth": float(below[:, steps // 10].mean()),
        "stalled": _stalled(trained.costs[~succeeded]),
        "reached": _reached(below[succeeded]),
        "cost": float(np.median(end)),
    }
    if succeeded.any() and run.last:
        _, matrix = refined(problem.cost(layers), trained.angles[end.argmin()])
        row["hessian_rank"], row["hessian_gap"] = rank_and_gap(np.linalg.eigvalsh(matrix), HESSIAN_TOLERANCE)
    arrays = {"angles": trained.angles, "costs": end, "shown": shown, "shares": below[:, shown].mean(axis=0)}
    return CellResult(row, arrays)


def _stalled(costs: np.ndarray) -> float | None:
    """Share of the starts (S, steps + 1) whose cost stands still at the end."""
    if not len(costs):
        return None
    before = costs[:, -1 - max(costs.shape[1] // 10, 1)]
    return float((np.abs(costs[:, -1] - before) < _STILL * before).mean())


def _reached(below: np.ndarray) -> float | None:
    """Median first step from which on starts (S, steps + 1), below at the end, stay there."""
    if not len(below):
        return None
    length = below.shape[1]
    stays = np.where(below.all(axis=1), length, np.argmin(below[:, ::-1], axis=1))
    return float(np.median(length - stays))
