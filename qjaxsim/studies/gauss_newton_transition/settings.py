"""Settings of the study `gauss-newton-transition`."""

from dataclasses import dataclass

from qjaxsim.studies.shared.setting import LARGEST_SEED, check_settings, integer, number


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
