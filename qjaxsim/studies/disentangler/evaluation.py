"""What the study needs of a model whose layers it replaces, whatever the model is."""

from collections.abc import Mapping
from typing import Any, Protocol

import jax
import numpy as np

from qjaxsim.models.disentangler.transformer import Exchangeable, Params


class Evaluation(Protocol):
    """A trained model with weights exchanged.

    Attributes:
        params: of the model.
        n_params: how many numbers they are.
        healed: measures of `score` that are kept after healing, too.
    """

    params: Params
    n_params: int
    healed: tuple[str, str]

    @property
    def model(self) -> Exchangeable:
        """The model."""

    def score(self, weights: Mapping[str, Any]) -> dict[str, float]:
        """Measures on the test text.

        Args:
            weights: name of a linear map -> its new (out, in) matrix; none for the model as it was.
        """

    def loss(self, params: Params, x: jax.Array, y: jax.Array) -> jax.Array:
        """What healing lowers, of a minibatch of `examples`."""

    @property
    def examples(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets for healing, from the training text."""

    @property
    def moments(self) -> dict[str, np.ndarray]:
        """Mean of x x^T over the inputs of each linear map on the test text: name -> (in, in), double precision."""

    @property
    def inputs(self) -> dict[str, np.ndarray]:
        """What each linear map receives on the beginning of the test text: name -> (rows, in)."""
