"""Settings of the study `attention`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qjaxsim.common.choices import GRADIENTS, KINDS
from qjaxsim.studies.shared.setting import (
    LARGEST_SEED,
    check_settings,
    choice,
    digits_else,
    integer,
    number,
    other,
    with_defaults,
)

if TYPE_CHECKING:
    from qjaxsim.models.attention import AttentionSettings
    from qjaxsim.training import TrainConfig

# Kinds that anneal, also for comparison, and those whose selections are compared with other solvers.
ANNEALED = ("qama-v2", "qama-v1", "greedy", "hard")
COMPARED = ("qama-v2", "greedy")


# Data sets other than digits have the published model, on fewer images. Numbers of images are multiples of the batches
# and of each other where they can be: each size is compiled apart.
@dataclass(frozen=True)
class AttentionStudySettings:
    """Everything that decides the study's results; each field says what it is. None stands for the data set's default.

    Raises:
        ValueError: for values out of range, naming the argument.
    """

    dataset: str = other(
        "digits",
        help="digits (8 x 8, built in), mnist, fashion_mnist or another prepared set, grey or coloured like CIFAR-10.",
    )
    attention: tuple[str, ...] = choice(
        KINDS,
        KINDS,
        help="Kinds of attention to train: all, or some of qama-v2, greedy, ones, random, threshold, qama-v1, "
        "boltzmann, hard, circuit, bottleneck, softmax, none.",
        words={"all": KINDS},
    )
    seeds: tuple[int, ...] = integer(
        (1,), 0, LARGEST_SEED, help="Seeds to sweep (weights, minibatches), the same for every kind."
    )
    images: int | None = integer(
        None, 2, help="Training images, a stratified choice.", defaults=digits_else(1400, 4096)
    )
    test_images: int | None = integer(None, 2, help="Test images.", defaults=digits_else(350, None))
    epochs: int | None = integer(None, 1, help="Passes over the images; published 50.", defaults=digits_else(30, 5))
    batch_size: int | None = integer(
        None, 1, help="Images of a minibatch; published 128.", defaults=digits_else(70, 128)
    )
    learning_rate: float | None = number(
        None, above=0, help="Adam's rate; published 0.001.", defaults=digits_else(3e-3, 1e-3)
    )
    patch_size: int | None = integer(None, 1, help="Side of a patch, pixels; published 4.", defaults=digits_else(2, 4))
    dim: int | None = integer(None, 4, help="Size of a token; published 64.", defaults=digits_else(32, 64))
    n_heads: int | None = integer(
        None, 1, flag="heads", help="Heads of attention; published 8.", defaults=digits_else(4, 8)
    )
    reads: int = integer(8, 1, needs={"attention": ANNEALED}, help="Chains a problem.")
    # The energies of "qama-v2" and "greedy" are compared with annealing, which has sweeps.
    sweeps: int = integer(20, 1, needs={"attention": ANNEALED}, help="Annealing sweeps a chain.")
    gradient: str = choice(
        "frozen",
        GRADIENTS,
        needs={"attention": COMPARED},
        help="Through the selection: frozen (published), straight-through or gibbs.",
    )
    bits: int | None = integer(
        None,
        2,
        32,
        needs={"attention": ANNEALED},
        help="Round problems to signed integers of so many bits; 8 is a coherent Ising machine's.",
    )
    energy_images: int = integer(32, 1, help="Test images whose energies are compared.")
    data_seed: int = integer(0, 0, LARGEST_SEED, help="Chooses the images when not all are used.")

    def __post_init__(self) -> None:
        check_settings(self)

    def resolved(self) -> "AttentionStudySettings":
        """The same settings with the data set's defaults filled in."""
        return with_defaults(self, "dataset")

    def train_config(self, seed: int, test_images: int) -> "TrainConfig":
        """Settings of one training; `self` must be resolved."""
        from qjaxsim.training import TrainConfig

        assert self.epochs is not None and self.batch_size is not None and self.learning_rate is not None
        return TrainConfig(epochs=self.epochs, batch_size=self.batch_size, learning_rate=self.learning_rate, seed=seed)

    def layer(self, kind: str) -> "AttentionSettings":
        """The layer of a kind; `self` must be resolved. The seed of its chains is the same in all cells."""
        from qjaxsim.models.attention import AttentionSettings

        assert self.n_heads is not None
        gradient = self.gradient if kind in ("qama-v2", "greedy") else "frozen"
        return AttentionSettings(
            kind=kind, n_heads=self.n_heads, reads=self.reads, sweeps=self.sweeps, gradient=gradient, bits=self.bits
        )
