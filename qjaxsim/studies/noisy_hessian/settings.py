"""Settings of the study `noisy-hessian`."""

from dataclasses import dataclass

from qjaxsim.studies.shared.setting import (
    LARGEST_SEED,
    check_settings,
    integer,
    number,
    other,
    require_at_most,
    sharpness_option,
)

QUBITS = 4


@dataclass(frozen=True)
class NoisyHessianSettings:
    """Everything that decides the study's results; each field says what it is.

    Raises:
        ValueError: for values out of range, naming the argument.
    """

    dataset: str = other("digits", help="digits (built in), mnist, fashion_mnist or another prepared set.")
    classes: int = integer(4, 2, QUBITS, help="Classes, the first of the data set; each has the Z of a qubit.")
    layers: int = integer(2, 1, 50, help="Layers of RX, RY, RZ on four qubits and CNOTs, 12 weights each.")
    scale: float = number(4.0, above=0, help="Factor of expectation values before the softmax.")
    seeds: tuple[int, ...] = integer((0, 1, 2), 0, LARGEST_SEED, help="Seeds (weights, minibatches).")
    images: int = integer(200, 4, help="Training images, a stratified choice.")
    epochs: int = integer(30, 1, help="Passes over the images, without noise.")
    batch_size: int = integer(50, 1, help="Images of a minibatch.")
    learning_rate: float = number(0.05, above=0, help="Of Adam.")
    strengths: tuple[float, ...] = number(
        (1e-4, 1e-3, 1e-2, 1e-1), above=0, help="Depolarizing probabilities after every gate, on each of its qubits."
    )
    shots: tuple[int, ...] = integer(
        (100, 1000, 10_000, 100_000), 1, help="Shots of each shifted evaluation, for the error bars that are drawn."
    )
    shot_images: int = integer(
        20, 1, help="Images of the energy, and those from which the loss's errors are estimated."
    )
    sharpness: bool = sharpness_option()
    data_seed: int = integer(0, 0, LARGEST_SEED, help="Chooses the images.")

    def __post_init__(self) -> None:
        check_settings(self)
        if max(self.strengths) >= 1:
            raise ValueError(f"Argument `strengths` must hold probabilities below 1, but holds {max(self.strengths)}.")
        for name in ("batch_size", "shot_images"):
            require_at_most(name, getattr(self, name), self.images, "training images")
