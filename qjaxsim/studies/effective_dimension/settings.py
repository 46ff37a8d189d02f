"""Settings of the study `effective-dimension`."""

import math
from dataclasses import dataclass

from qjaxsim.studies.shared.setting import LARGEST_SEED, check_settings, choice, integer, number

QUBITS, LAYERS = 4, 9
QNN, EASY, NETWORK, NARROW, FEATURES = "qnn", "easy", "network", "network-28", "features"
MODELS = (QNN, EASY, NETWORK, NARROW, FEATURES)
UNIT, PI = "unit", "pi"
# Interval -> what parameters are drawn from.
BOUNDS = {UNIT: (0.0, 1.0), PI: (-math.pi, math.pi)}


@dataclass(frozen=True)
class EffectiveDimensionSettings:
    """Everything that decides the study's results; each field says what it is.

    Raises:
        ValueError: for values out of range, naming the argument.
    """

    models: tuple[str, ...] = choice(
        MODELS,
        MODELS,
        help="qnn (ZZ feature map twice), easy (Z feature map once), network (classical), network-28 (the same with 28 "
        "parameters), features (logistic regression on random features); 40 parameters but for one.",
    )
    intervals: tuple[str, ...] = choice(
        (UNIT, PI), (UNIT, PI), help="That parameters are drawn from: unit (0 to 1, as published), pi (-pi to pi)."
    )
    samples: tuple[int, ...] = integer(
        (1000, 10_000, 100_000, 1_000_000), 100, help="Sizes n of a data set that the dimension is for."
    )
    thetas: int = integer(100, 2, help="Draws of the parameters.")
    inputs: int = integer(100, 1, help="Draws of the input, standard normal.")
    seeds: tuple[int, ...] = integer(
        (0, 1, 2), 0, LARGEST_SEED, help="Seeds of parameters and inputs; 0 was published."
    )
    frequency: float = number(
        2.0,
        above=0,
        needs={"models": (FEATURES,)},
        help="Standard deviation of the random features' frequencies; those of the feature map are 2, too.",
    )

    def __post_init__(self) -> None:
        check_settings(self)
