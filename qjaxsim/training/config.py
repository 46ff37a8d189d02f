"""Settings of a training run, the learning rates they mean and the optimiser they name."""

import dataclasses
import hashlib
import re
from typing import Any

import jax
import numpy as np
import optax

from qjaxsim.common.checkpoint import numbers_of
from qjaxsim.common.checks import hold_integers, require_not_negative, require_one_of
from qjaxsim.common.choices import SCHEDULES

_OPTIMIZERS = ("adam", "sgd")
# Settings that optimisers of optax have themselves.
_OF_NAMED = ("learning_rate", "schedule", "cycle_epochs", "eps", "weight_decay")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a run besides loss, data and initial parameters.

    Attributes:
        epochs: passes over the data.
        batch_size: largest minibatch; sizes within an epoch differ by at most one.
        learning_rate: rate of the first epoch, lr0 below.
        schedule: rate of epoch e = 0, 1, ..., constant within an epoch: "constant" lr0; "cosine"
            lr0/2 (1 + cos(pi e / epochs)), one fall over the run; "cosine_cycle" lr0/2 (1 + cos(pi e / cycle_epochs)),
            which falls to zero in epoch `cycle_epochs`, rises again and so on (what torch's CosineAnnealingLR does past
            its T_max; arXiv:2504.19239 has T_max 5 and 50 epochs).
        cycle_epochs: half period of "cosine_cycle".
        optimizer: "adam" (beta 0.9 and 0.999), "sgd", or an optax GradientTransformation or MultiSteps whose update
            takes gradients, state and parameters. The latter bring rate, schedule and decay themselves, so those here
            must be left out.
        eps: Adam's denominator offset.
        weight_decay: added as weight_decay * params to the gradient before the optimiser sees it, as torch's Adam does
            (coupled L2; AdamW differs). Never part of a reported loss.
        seed: chooses the minibatches of every epoch.
        eval_batch_size: examples at once when metrics are computed; memory only.
        best: column of the history whose minimum chooses the best parameters, such as "test_loss"; no accuracy.

    Raises:
        ValueError: if a value is out of range.

    >>> from qjaxsim.training import learning_rates
    >>> print(learning_rates(TrainConfig(epochs=4, learning_rate=0.1, schedule="cosine")).round(3))
    [0.1   0.085 0.05  0.015]
    """

    epochs: int = 50
    batch_size: int = 64
    learning_rate: float = 1e-2
    schedule: str = "constant"
    cycle_epochs: int = 5
    optimizer: str | optax.GradientTransformation | optax.MultiSteps = "adam"
    eps: float = 1e-8
    weight_decay: float = 0.0
    seed: int = 0
    eval_batch_size: int = 1000
    best: str = "train_loss"

    def __post_init__(self) -> None:
        if isinstance(self.optimizer, optax.MultiSteps):  # optax's only optimiser that is none of its transformations
            object.__setattr__(self, "optimizer", self.optimizer.gradient_transformation())
        named = () if self.brings_its_rate else (("optimizer", _OPTIMIZERS),)
        for name, choices in (("schedule", SCHEDULES), *named):
            others = " or an optax optimiser, made with its rate" if name == "optimizer" else ""
            require_one_of(name, getattr(self, name), choices, others)
        hold_integers(self, {"epochs": 0, "batch_size": 1, "cycle_epochs": 1, "seed": 0, "eval_batch_size": 1})
        for name in ("learning_rate", "eps", "weight_decay"):
            require_not_negative(name, getattr(self, name))
        if self.brings_its_rate:
            idle = [name for name in _OF_NAMED if getattr(self, name) != getattr(TrainConfig, name)]
            if idle:
                raise ValueError(
                    f"Argument `{idle[0]}` must be left out with an optimiser of optax, which brings its own, but is "
                    f"{getattr(self, idle[0])!r}."
                )

    @property
    def brings_its_rate(self) -> bool:
        """Whether the optimiser is one of optax, whose updates are added as they are."""
        return isinstance(self.optimizer, optax.GradientTransformation)


def learning_rates(config: TrainConfig) -> np.ndarray:
    """Rate of every epoch, float64 of shape (epochs,).

    >>> learning_rates(TrainConfig(epochs=7, learning_rate=1.0, schedule="cosine_cycle", cycle_epochs=2))
    array([1. , 0.5, 0. , 0.5, 1. , 0.5, 0. ])
    """
    if config.schedule == "constant":
        return np.full(config.epochs, config.learning_rate)
    half_period = config.epochs if config.schedule == "cosine" else config.cycle_epochs
    # Angles are reduced first, so that zeros and maxima are exact however many cycles have passed.
    angle = np.pi * ((np.arange(config.epochs) % (2 * half_period)) / half_period)
    # Rounding removes the 6e-17 that cos(pi/2) leaves; it is far below any rate's own rounding.
    return config.learning_rate * np.round((1 + np.cos(angle)) / 2, 15)


def gradient_transformation(config: TrainConfig) -> optax.GradientTransformation:
    """The optimiser: of optax as it is, else up to the factor of minus the rate, which changes between epochs."""
    if not isinstance(config.optimizer, str):
        return config.optimizer
    scale = optax.scale_by_adam(eps=config.eps) if config.optimizer == "adam" else optax.identity()
    return optax.chain(optax.add_decayed_weights(config.weight_decay), scale)


def optimizer_identity(config: TrainConfig, params: Any) -> str:
    """The optimiser's name, or for one of optax a digest of what it does: its first state and its update as a program.

    Two transformations are functions that cannot be compared; their programs on the same parameters can. A schedule or
    a rate that differs shows, as does another version of optax or JAX that writes the program otherwise.

    Raises:
        ValueError: if the update takes more than gradients, state and parameters.
    """
    if isinstance(config.optimizer, str):
        return config.optimizer
    state = config.optimizer.init(params)
    try:
        with jax.numpy_dtype_promotion("standard"):
            program = jax.make_jaxpr(config.optimizer.update)(params, state, params)
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"Argument `optimizer` must be updated by gradients, state and parameters alone, but is not: {error}"
        ) from error
    digest = hashlib.sha256(re.sub(r"0x[0-9a-f]+", "", str(program)).encode())
    for leaf in (*program.consts, *jax.tree.leaves(state)):
        digest.update(np.asarray(numbers_of(leaf)).tobytes())
    return f"optax, sha256 {digest.hexdigest()[:16]}"
