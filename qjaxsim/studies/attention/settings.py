"""Settings of the study `attention`, with the defaults that go with a data set."""

from dataclasses import dataclass, replace
from typing import Any

from qjaxsim.models.attention import GRADIENTS, KINDS, AttentionSettings
from qjaxsim.studies.attention.measures import ANNEALED, COMPARED
from qjaxsim.studies.shared.setting import LARGEST_SEED, check_settings, choice, integer, number, other
from qjaxsim.training import TrainConfig

# What a data set brings where a setting is left open; others than digits have the published model, on fewer images.
# Numbers of images are multiples of the batches and of each other where they can be: each size is compiled apart.
_DIGITS = {
    "patch_size": 2, "dim": 32, "n_heads": 4, "epochs": 30, "batch_size": 70, "learning_rate": 3e-3, "images": 1400,
    "test_images": 350,
}  # fmt: skip
_PUBLISHED = {
    "patch_size": 4, "dim": 64, "n_heads": 8, "epochs": 5, "batch_size": 128, "learning_rate": 1e-3, "images": 4096
}  # fmt: skip


@dataclass(frozen=True)
class AttentionStudySettings:
    """Everything that decides the study's results. None stands for the data set's default.

    Attributes:
        dataset: "digits" (8 x 8 images, built in), "mnist", "fashion_mnist", or a prepared CIFAR-10 or part of it.
        attention: kinds of attention to train, names of `qjaxsim.models.attention.KINDS`.
        seeds: seeds to sweep; a seed chooses initial weights and minibatches, the same for every kind.
        images: training images (a stratified choice); 1,400 of digits, else 4,096.
        test_images: test images; 350 of digits, else all.
        epochs: 30 for digits, else 5 (published 50).
        batch_size: 70 for digits, else the published 128.
        learning_rate: of Adam; 0.003 for digits, else the published 0.001.
        patch_size: 2 for digits, else the published 4.
        dim: size of a token; 32 for digits, else the published 64.
        n_heads: 4 for digits, else the published 8.
        reads: chains a problem.
        sweeps: annealing sweeps a chain.
        gradient: of "qama-v2": "frozen", "straight-through" or "gibbs".
        bits: round problems to signed integers of so many bits, as coherent Ising machines take them.
        energy_images: test images whose energies are compared.
        data_seed: chooses the images when not all are used.

    Raises:
        ValueError: for values out of range, naming the argument.
    """

    dataset: str = other("digits")
    attention: tuple[str, ...] = choice(KINDS, KINDS)
    seeds: tuple[int, ...] = integer((1,), 0, LARGEST_SEED)
    images: int | None = integer(None, 2)
    test_images: int | None = integer(None, 2)
    epochs: int | None = integer(None, 1)
    batch_size: int | None = integer(None, 1)
    learning_rate: float | None = number(None, above=0)
    patch_size: int | None = integer(None, 1)
    dim: int | None = integer(None, 4)
    n_heads: int | None = integer(None, 1)
    reads: int = integer(8, 1, needs={"attention": ANNEALED})
    # The energies of "qama-v2" and "greedy" are compared with annealing, which has sweeps.
    sweeps: int = integer(20, 1, needs={"attention": ANNEALED})
    gradient: str = choice("frozen", GRADIENTS, needs={"attention": COMPARED})
    bits: int | None = integer(None, 2, 32, needs={"attention": ANNEALED})
    energy_images: int = integer(32, 1)
    data_seed: int = integer(0, 0, LARGEST_SEED)

    def __post_init__(self) -> None:
        check_settings(self)

    def resolved(self) -> "AttentionStudySettings":
        """The same settings with the data set's defaults filled in."""
        defaults: dict[str, Any] = _DIGITS if self.dataset == "digits" else _PUBLISHED
        return replace(self, **{name: value for name, value in defaults.items() if getattr(self, name) is None})

    def train_config(self, seed: int, test_images: int) -> TrainConfig:
        """Settings of one training; `self` must be resolved."""
        assert self.epochs is not None and self.batch_size is not None and self.learning_rate is not None
        return TrainConfig(epochs=self.epochs, batch_size=self.batch_size, learning_rate=self.learning_rate, seed=seed)

    def layer(self, kind: str) -> AttentionSettings:
        """The layer of a kind; `self` must be resolved. The seed of its chains is the same in all cells."""
        assert self.n_heads is not None
        gradient = self.gradient if kind in ("qama-v2", "greedy") else "frozen"
        return AttentionSettings(
            kind=kind, n_heads=self.n_heads, reads=self.reads, sweeps=self.sweeps, gradient=gradient, bits=self.bits
        )
