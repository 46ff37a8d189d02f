"""Settings of the study `overparametrisation`."""

from dataclasses import dataclass

from qjaxsim.studies.shared.setting import LARGEST_SEED, check_settings, choice, integer, number

OPEN, RING, UNITARY = "open", "ring", "unitary"
PROBLEMS = (OPEN, RING, UNITARY)
ADAM, FAST, NATURAL = "adam", "fast", "natural"
CONTROLS = (FAST, NATURAL)


@dataclass(frozen=True)
class OverparametrisationSettings:
    """Everything that decides the study's results; each field says what it is.

    Raises:
        ValueError: for values out of range, naming the argument.
    """

    problems: tuple[str, ...] = choice(
        PROBLEMS,
        PROBLEMS,
        help="open, ring: ground state of the transverse-field Ising model on a chain; unitary: a random unitary.",
    )
    qubits: tuple[int, ...] = integer((4, 6), 3, 12, needs={"problems": (OPEN, RING)}, help="Of the chains.")
    unitary_qubits: tuple[int, ...] = integer(
        (2,), 2, 4, needs={"problems": (UNITARY,)}, help="Of the random unitary; simulated are twice as many."
    )
    ratios: tuple[float, ...] = number(
        (0.5, 1.0, 1.5, 2.0),
        above=0,
        help="Angles over the expected rank, n^2/2 (open), n (ring), 4^n - 1 (unitary); whole layers, rounded up.",
    )
    starts: int = integer(20, 1, 100_000, help="Random initial angles, trained side by side.")
    seed: int = integer(0, 0, LARGEST_SEED, help="Chooses initial angles and the unitary.")
    steps: int = integer(3000, 1, help="Steps of Adam.")
    learning_rate: float = number(0.01, above=0, help="Of Adam.")
    threshold: float = number(1e-5, above=0, help="Cost above its minimum below which a training has succeeded.")
    controls: tuple[str, ...] = choice(
        (NATURAL,),
        CONTROLS,
        empty=True,
        needs={"problems": (OPEN,)},
        help="Other optimisers for open, not at the largest ratio: fast, Adam at ten times the rate; natural, natural "
        "gradient; or none.",
        words={"none": ()},
    )
    natural_steps: int = integer(
        150, 1, needs={"controls": (NATURAL,), "problems": (OPEN,)}, help="Steps of natural gradient."
    )
    draws: int = integer(3, 1, 1000, help="Random angles at which ranks are taken; the largest counts.")
    tolerance: float = number(1e-10, above=0, help="Eigenvalues above this share of the largest make the rank.")

    def __post_init__(self) -> None:
        check_settings(self)
        if self.tolerance >= 1e-3:
            raise ValueError(
                f"Argument `tolerance` must be below 0.001, since a thousand times it is tried, too, but is "
                f"{self.tolerance}."
            )
