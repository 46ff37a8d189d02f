"""Settings of the study `noisy-fisher`."""

from dataclasses import dataclass

from qjaxsim.studies.shared.setting import LARGEST_SEED, check_settings, integer, number

# Of a depolarizing channel: above it X, Y and Z together would be more than certain.
_STRONGEST = 0.25


@dataclass(frozen=True)
class NoisyFisherSettings:
    """Everything that decides the study's results; each field says what it is.

    Raises:
        ValueError: for values out of range, naming the argument.
    """

    qubits: int = integer(4, 3, 6, help="Of the ring.")
    layers: tuple[int, ...] = integer((3, 4, 6, 8), 1, 100, help="Of the circuit, two angles each.")
    strengths: tuple[float, ...] = number(
        (1e-4, 1e-3, 1e-2),
        above=0,
        help="Probability of each of X, Y and Z after every gate on each of its qubits.",
    )
    seeds: tuple[int, ...] = integer((0, 1, 2), 0, LARGEST_SEED, help="Seeds of the angles.")
    steps: int = integer(1500, 1, help="Steps of Adam to the minimum without noise.")
    learning_rate: float = number(0.05, above=0, help="Of Adam.")
    tolerance: float = number(1e-9, above=0, help="Eigenvalues above this share of the largest make the rank.")

    def __post_init__(self) -> None:
        check_settings(self)
        if max(self.strengths) > _STRONGEST:
            raise ValueError(
                f"Argument `strengths` must hold probabilities up to {_STRONGEST}, but holds {max(self.strengths)}."
            )
        if self.tolerance >= 1e-3:
            raise ValueError(
                f"Argument `tolerance` must be below 0.001, since a thousand times it is tried, too, but is "
                f"{self.tolerance}."
            )
