"""Settings of the study `attention`, with the defaults that go with a data set."""

import math
from dataclasses import dataclass, replace
from typing import Any

from qjaxsim.models.attention import GRADIENTS, KINDS, AttentionSettings
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
_EVALUATED_AT_ONCE = 1024


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

    dataset: str = "digits"
    attention: tuple[str, ...] = KINDS
    seeds: tuple[int, ...] = (1,)
    images: int | None = None
    test_images: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    patch_size: int | None = None
    dim: int | None = None
    n_heads: int | None = None
    reads: int = 8
    sweeps: int = 20
    gradient: str = "frozen"
    bits: int | None = None
    energy_images: int = 32
    data_seed: int = 0

    def __post_init__(self) -> None:
        for name in ("attention", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise ValueError(
                    f"Argument `{name}` must hold at least one value and none twice, but is {list(values)}."
                )
        unknown = [kind for kind in self.attention if kind not in KINDS]
        if unknown:
            raise ValueError(f"Argument `attention` must hold names of {list(KINDS)}, but holds {unknown[0]!r}.")
        if self.gradient not in GRADIENTS:
            raise ValueError(f"Argument `gradient` must be one of {list(GRADIENTS)}, but is {self.gradient!r}.")
        if min(self.seeds) < 0:
            raise ValueError(f"Argument `seeds` must hold no negative number, but is {list(self.seeds)}.")
        least = {"images": 2, "test_images": 2, "epochs": 1, "batch_size": 1, "patch_size": 1, "dim": 4, "n_heads": 1,
                 "reads": 1, "sweeps": 1, "bits": 2, "energy_images": 1, "data_seed": 0}  # fmt: skip
        for name, smallest in least.items():
            value = getattr(self, name)
            if value is not None and value < smallest:
                raise ValueError(f"Argument `{name}` must be at least {smallest}, but is {value}.")
        if self.learning_rate is not None and not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"Argument `learning_rate` must be a positive number, but is {self.learning_rate}.")

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
