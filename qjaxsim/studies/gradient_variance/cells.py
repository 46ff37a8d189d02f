"""The cells of the study `gradient-variance`: the published sweeps, and controls that the publication lacks.

| control | varies | keeps |
|---|---|---|
| updates | batch size | updates: every run makes as many as the smallest batch in its epochs |
| scale | post-layer frozen as it starts, at the ends of the sweeps | all else |
| initialisations | qubits and depth of random circuits, without training (`plateau.py`) | observables |
| shots | measurements for each expectation value, in training | the centre |
| pairing, pre-layer, learning-rate | that one, at the ends and the centre of the sweeps | all else |

A control runs no cell again that the baseline holds.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from qjaxsim.common.choices import PAIRINGS, PRE_LAYERS
from qjaxsim.studies.gradient_variance.settings import GradientSettings, Run
from qjaxsim.studies.shared.sweep import Cell

BASELINE = "baseline"
INITIALISATIONS, HESSIAN = "initialisations", "hessian"
RATES = (0.1, 10.0)
"""Learning rates of the ablation over the baseline's."""


class Arm(NamedTuple):
    """One cell to run.

    Attributes:
        cell: its key and what it records.
        control: the control that it belongs to, or "baseline"; "hessian" for the spectra.
        run: what is trained; for "initialisations" its qubits alone count, for "hessian" the trained cell's.
    """

    cell: Cell
    control: str
    run: Run


def arms(settings: GradientSettings, n_images: int) -> list[Arm]:
    """All cells of a study, the baseline first; of equal ones the first alone.

    Args:
        settings: what to run.
        n_images: training images, which say how many updates an epoch has.
    """
    found: dict[Run, Arm] = {}
    for control in (BASELINE, *settings.controls):
        if control != INITIALISATIONS:
            for run in _VARIANTS[control](settings, n_images):
                if run not in found:
                    found[run] = _arm(settings, control, run)
    out = list(found.values())
    if INITIALISATIONS in settings.controls:
        for qubits in sorted(settings.qubits):
            run = centre(settings)._replace(qubits=qubits)
            cell = Cell(f"{INITIALISATIONS}-qubits{qubits}", {"control": INITIALISATIONS, "qubits": qubits})
            out.append(Arm(cell, INITIALISATIONS, run))
    if settings.hessian:
        run = centre(settings)
        cell = Cell(f"{HESSIAN}-{place(run)}", {"control": HESSIAN, **_sizes(run)})
        out.append(Arm(cell, HESSIAN, run))
    return out


def centre(settings: GradientSettings) -> Run:
    """The run that all sweeps share."""
    qubits, layers, batch = settings.centre
    return Run(qubits, layers, batch, settings.pre, settings.pairing, settings.learning_rate)


def place(run: Run) -> str:
    """Name of a run's sizes, and of its cell in the baseline."""
    return f"qubits{run.qubits}-layers{run.layers}-batch{run.batch}"


def _sizes(run: Run) -> dict[str, int]:
    return {"qubits": run.qubits, "layers": run.layers, "batch": run.batch}


def _arm(settings: GradientSettings, control: str, run: Run) -> Arm:
    if control == BASELINE:
        return Arm(Cell(place(run), _sizes(run)), control, run)
    usual = centre(settings)._asdict()
    differing = {n: v for n, v in run._asdict().items() if n not in _sizes(run) and v != usual[n]}
    marks = [name if value is True else f"{value}" for name, value in differing.items()]
    return Arm(
        Cell("-".join([control, *marks, place(run)]), {"control": control, **_sizes(run), **differing}), control, run
    )


# --- variants --------------------------------------------------------------------------------------------------------


def _baseline(settings: GradientSettings, n_images: int) -> Iterator[Run]:
    yield centre(settings)
    yield from (centre(settings)._replace(qubits=value) for value in settings.qubits)
    yield from (centre(settings)._replace(layers=value) for value in settings.layers)
    yield from (centre(settings)._replace(batch=value) for value in settings.batches)


def _ends(settings: GradientSettings) -> Iterator[Run]:
    """The centre, and the least and the most of each sweep."""
    yield centre(settings)
    for values, name in ((settings.qubits, "qubits"), (settings.layers, "layers"), (settings.batches, "batch")):
        for value in (min(values), max(values)):
            changed: Any = {name: value}
            yield centre(settings)._replace(**changed)


def _updates(settings: GradientSettings, n_images: int) -> Iterator[Run]:
    each = -(-n_images // min(settings.batches))
    yield from (centre(settings)._replace(batch=value, updates=each) for value in settings.batches)


def _scale(settings: GradientSettings, n_images: int) -> Iterator[Run]:
    yield from (run._replace(frozen=True) for run in _ends(settings))


def _shots(settings: GradientSettings, n_images: int) -> Iterator[Run]:
    yield from (centre(settings)._replace(shots=value) for value in settings.shots)


def _pairing(settings: GradientSettings, n_images: int) -> Iterator[Run]:
    others = [name for name in PAIRINGS if name != settings.pairing]
    yield from (run._replace(pairing=name) for name in others for run in _ends(settings))


def _pre_layer(settings: GradientSettings, n_images: int) -> Iterator[Run]:
    others = [name for name in PRE_LAYERS if name != settings.pre]
    yield from (run._replace(pre=name) for name in others for run in _ends(settings))


def _learning_rate(settings: GradientSettings, n_images: int) -> Iterator[Run]:
    rates = [float(f"{factor * settings.learning_rate:.6g}") for factor in RATES]
    yield from (run._replace(learning_rate=rate) for rate in rates for run in _ends(settings))


_VARIANTS: dict[str, Callable[[GradientSettings, int], Iterator[Run]]] = {
    BASELINE: _baseline,
    "updates": _updates,
    "scale": _scale,
    "shots": _shots,
    "pairing": _pairing,
    "pre-layer": _pre_layer,
    "learning-rate": _learning_rate,
}
