"""The cells of the study `hessian`: the baseline sweep, and controls that the paper lacks, each with cells of its own.

| control | varies | keeps |
|---|---|---|
| aggregation | mean or sum of the circuits' outputs | scale |
| scale | c proportional to the patches, the baseline's at most patches | mean |
| parameters | layers, so that all have the parameters of most patches | scale, mean |
| learning-rate | depth at a fixed rate; depth with rates that fall as the paper's; those rates at one depth | patches |
| loss | the point: where the path first meets the highest of the baseline's minimal training losses | training |
| initialisation | the point: where the path begins | training |
| classes | K, labels 0 to K - 1 | patches, layers |
| seeds | four more seeds | all else |
| nulls | depth at which first blocks have more weights than their states have dimensions | patches |

Numbers beside the baseline's are its own: a control runs no cell again that the baseline holds.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from qjaxsim.studies.hessian.configurations import MATCHED, MINIMUM, START
from qjaxsim.studies.hessian.settings import HessianSettings, paper_learning_rate
from qjaxsim.studies.shared.sweep import Cell

BASELINE = "baseline"
CLASSES = (2, 3, 5, 8, 10)
MORE_SEEDS = 4
# The paper's rates at 50, 100, 150, 200 layers over the first: what its depths and rates changed together.
_RATES = (1.0, 0.5, 0.25, 0.1)


class Arm(NamedTuple):
    """One cell to run.

    Attributes:
        cell: its key and what it records.
        settings: the study's settings with one value each of patches, layers and seeds.
        control: the control that it belongs to, or "baseline".
        point: "minimum", or "matched loss" or "start" for a point on the path of the baseline's training.
    """

    cell: Cell
    settings: HessianSettings
    control: str
    point: str

    @property
    def baseline_key(self) -> str:
        """Key of the cell with the same patches, layers and seed in the baseline."""
        return _name(self.settings)


def arms(settings: HessianSettings) -> list[Arm]:
    """All cells of a study, the baseline first; of equal ones the first alone.

    Args:
        settings: resolved.
    """
    found: dict[tuple[Any, ...], Arm] = {}
    for control in (BASELINE, *settings.controls):
        for changed, point in _VARIANTS[control](settings):
            identity = (replace(changed, controls=()), point)
            if identity not in found:
                found[identity] = _arm(settings, changed, control, point)
    return list(found.values())


def _arm(settings: HessianSettings, changed: HessianSettings, control: str, point: str) -> Arm:
    names = ("classes", "aggregation", "scale", "learning_rate")
    differing = {name: getattr(changed, name) for name in names if getattr(changed, name) != getattr(settings, name)}
    recorded: dict[str, Any] = {
        "patches": changed.patches[0], "layers": changed.layers[0], "seed": changed.seeds[0]
    }  # fmt: skip
    key = _name(changed)
    if control != BASELINE:
        recorded |= {"control": control, "point": point, **differing}
        marks = [f"{name[0]}{_mark(value)}" for name, value in differing.items()]
        key = "-".join([control, *marks, key])
    read = {MATCHED: settings.patches, START: changed.patches}.get(point, ())  # baselines with so many patches
    after = [_name(replace(changed, patches=(patches,))) for patches in read]
    return Arm(Cell(key, recorded, after), changed, control, point)


def _mark(value: Any) -> str:
    return str(len(value)) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else str(value)


def _name(settings: HessianSettings) -> str:
    return f"patches{settings.patches[0]}-layers{settings.layers[0]}-seed{settings.seeds[0]}"


# --- variants --------------------------------------------------------------------------------------------------------

_Variants = Iterator[tuple[HessianSettings, str]]


def _one(settings: HessianSettings, patches: int, layers: int, seed: int, **changes: Any) -> HessianSettings:
    return replace(settings, patches=(patches,), layers=(layers,), seeds=(seed,), **changes)


def _middle(settings: HessianSettings) -> int:
    """The patches of controls that vary something else: few cells, neither extreme."""
    return sorted(settings.patches)[len(settings.patches) // 2]


def _grid(settings: HessianSettings) -> Iterator[tuple[int, int, int]]:
    yield from ((p, n, seed) for p in settings.patches for n in settings.layers for seed in settings.seeds)


def _baseline(settings: HessianSettings) -> _Variants:
    yield from ((_one(settings, *place), MINIMUM) for place in _grid(settings))


def _aggregation(settings: HessianSettings) -> _Variants:
    other = "sum" if settings.aggregation == "mean" else "mean"
    yield from ((_one(settings, *place, aggregation=other), MINIMUM) for place in _grid(settings))


def _scale(settings: HessianSettings) -> _Variants:
    most = max(settings.patches)
    for patches, layers, seed in _grid(settings):
        yield _one(settings, patches, layers, seed, scale=settings.scale * patches / most), MINIMUM


def _parameters(settings: HessianSettings) -> _Variants:
    fixed, per_layer = _weights(settings, 0), _weights(settings, 1) - _weights(settings, 0)
    for layers in settings.layers:
        total = max(settings.patches) * _weights(settings, layers)
        for patches in settings.patches:
            depth = max(1, round((total / patches - fixed) / per_layer))
            yield from ((_one(settings, patches, depth, seed), MINIMUM) for seed in settings.seeds)


def _weights(settings: HessianSettings, layers: int) -> int:
    """Weights of one circuit."""
    assert settings.qubits is not None and settings.patch_size is not None
    return 6 * layers * settings.qubits + 2 * settings.patch_size**2


def _learning_rate(settings: HessianSettings) -> _Variants:
    patches, first = _middle(settings), settings.layers[0]
    rate = settings.learning_rate or paper_learning_rate(first)
    for seed in settings.seeds:
        for number, factor in enumerate(_RATES, start=1):
            # At the first depth and rate all three meet; the baseline's own name for its rate is kept there.
            own = settings.learning_rate if factor == 1.0 else rate * factor
            deep = settings.learning_rate if number == 1 else rate
            yield _one(settings, patches, number * first, seed, learning_rate=deep), MINIMUM
            yield _one(settings, patches, number * first, seed, learning_rate=own), MINIMUM
            yield _one(settings, patches, first, seed, learning_rate=own), MINIMUM


def _loss(settings: HessianSettings) -> _Variants:
    yield from ((_one(settings, *place), MATCHED) for place in _grid(settings))


def _initialisation(settings: HessianSettings) -> _Variants:
    yield from ((_one(settings, *place), START) for place in _grid(settings))


def _classes(settings: HessianSettings) -> _Variants:
    labels = settings.classes or tuple(range(10))
    for count in CLASSES:
        if count < len(labels):
            for seed in settings.seeds:
                kept = _one(settings, _middle(settings), settings.layers[0], seed, classes=labels[:count])
                yield kept, MINIMUM


def _seeds(settings: HessianSettings) -> _Variants:
    first = max(settings.seeds) + 1
    for patches in settings.patches:
        for layers in settings.layers:
            for seed in range(first, first + MORE_SEEDS):
                yield _one(settings, patches, layers, seed), MINIMUM


def _nulls(settings: HessianSettings) -> _Variants:
    """A first block with some three layers' weights more than its state has dimensions."""
    assert settings.qubits is not None
    depth = -(-(2 * 2**settings.qubits - 2) // (2 * settings.qubits)) + 3
    yield from ((_one(settings, _middle(settings), depth, seed), MINIMUM) for seed in settings.seeds)


_VARIANTS: dict[str, Callable[[HessianSettings], _Variants]] = {
    BASELINE: _baseline,
    "aggregation": _aggregation,
    "scale": _scale,
    "parameters": _parameters,
    "learning-rate": _learning_rate,
    "loss": _loss,
    "initialisation": _initialisation,
    "classes": _classes,
    "seeds": _seeds,
    "nulls": _nulls,
}
