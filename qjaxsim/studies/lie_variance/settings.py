"""Settings of the study `lie-variance`."""

from dataclasses import dataclass

from qjaxsim.studies.shared.setting import LARGEST_SEED, check_settings, choice, integer

CHAIN, FULL = "chain", "full"
CIRCUITS = (CHAIN, FULL)


@dataclass(frozen=True)
class LieVarianceSettings:
    """Everything that decides the study's results; each field says what it is.

    Raises:
        ValueError: for values out of range, naming the argument.
    """

    circuits: tuple[str, ...] = choice(
        CIRCUITS,
        CIRCUITS,
        help="chain (RX and RZZ on an open chain, an algebra of n (2n - 1) dimensions), full (RZ as well, 4^n - 1).",
    )
    qubits: tuple[int, ...] = integer((3, 4, 6, 8), 3, 12, help="Numbers of qubits.")
    depths: tuple[int, ...] = integer(
        (1, 2, 4, 8, 16, 32, 64, 128), 1, 10_000, help="Layers; the most are what is judged."
    )
    draws: int = integer(2000, 100, help="Draws of all angles, within +-pi.")
    seeds: tuple[int, ...] = integer((0, 1, 2), 0, LARGEST_SEED, help="Seeds of the draws.")

    def __post_init__(self) -> None:
        check_settings(self)
