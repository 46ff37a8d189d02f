"""Settings of the study `gauss-newton-transition`."""

import math
from dataclasses import dataclass

from qjaxsim.studies.shared.setting import LARGEST_SEED, check_settings, integer, number

# Largest less least value of <O>, by qubits.
SPANS = {2: 10.0, 3: 14 + 2 * math.sqrt(3)}


@dataclass(frozen=True)
class TransitionSettings:
    """Everything that decides the study's results; each field says what it is.

    Raises:
        ValueError: for values out of range, naming the argument.
    """

    qubits: int = integer(2, 2, 3, help="Length of the open XXZ chain, anisotropy 2 and a field of 2.")
    targets: tuple[float, ...] = number(
        (2.0, 0.5, 0.2, 0.0, -0.2, -0.5, -1.0, -2.0),
        least=-100,
        help="Targets O0 of <O>, as distances from its least value.",
    )
    angles: tuple[int, ...] = integer(
        (64, 32, 4), 1, 1000, help="Rotations of the circuit: first the study's, then those of controls."
    )
    learning_rates: tuple[float, ...] = number(
        (0.002, 0.001), above=0, help="Of gradient descent: first the study's, then those of controls."
    )
    steps: int = integer(6000, 100, 1_000_000, help="Of gradient descent.")
    seeds: tuple[int, ...] = integer((0, 1, 2), 0, LARGEST_SEED, help="Seeds of circuits and first angles.")

    def __post_init__(self) -> None:
        check_settings(self)
        # Beyond the largest value a target has a transition of its own, and the error no longer goes to zero.
        if max(self.targets) > SPANS[self.qubits]:
            raise ValueError(
                f"Argument `targets` must hold distances up to {SPANS[self.qubits]:.4g}, where the largest value of "
                f"<O> of {self.qubits} qubits is, but holds {max(self.targets):g}."
            )
