"""The one training loop: stratified minibatches, optax, metrics, checkpoints that survive any interruption.

>>> import jax.numpy as jnp, numpy as np
>>> x, y = np.linspace(-1, 1, 32), np.linspace(-3, 3, 32)
>>> def loss(params, x, y):
...     return jnp.mean((params["slope"] * x - y) ** 2)
>>> config = TrainConfig(epochs=40, batch_size=8, learning_rate=0.1)
>>> result = fit(loss, {"slope": np.zeros(())}, x, y, config)
>>> round(float(result.params_best["slope"]), 2)
3.0
"""

from qjaxsim.training.checkpoint import CheckpointError
from qjaxsim.training.config import TrainConfig, learning_rates
from qjaxsim.training.evaluation import Evaluation
from qjaxsim.training.loop import TrainResult, fit
from qjaxsim.training.sharpness import Sharpness, sharpness_along

__all__ = [
    "CheckpointError",
    "Evaluation",
    "Sharpness",
    "TrainConfig",
    "TrainResult",
    "fit",
    "learning_rates",
    "sharpness_along",
]
