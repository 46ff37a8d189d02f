"""A model with layers replaced and then trained in their places ("healing"), beside controls."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common.progress import Progress
from qjaxsim.common.pytrees import pytree_dataclass
from qjaxsim.models.disentangler.char_transformer import Operators
from qjaxsim.models.disentangler.circuit import Gates, apply_circuit
from qjaxsim.models.disentangler.gradient import cayley
from qjaxsim.models.disentangler.layer import DisentangledLayer
from qjaxsim.models.disentangler.sweep import matmul
from qjaxsim.studies.disentangler.evaluation import Evaluation
from qjaxsim.studies.disentangler.settings import DisentanglerStudySettings
from qjaxsim.training import TrainConfig, fit


@pytree_dataclass(data=("weight",))
@dataclass(frozen=True)
class DenseLayer:
    """The layer itself as an operator: the control of healing, since training goes on for the others, too.

    Attributes:
        weight: (out, in).
    """

    weight: jax.Array

    def apply(self, x: jax.Array) -> jax.Array:
        """(..., in) -> (..., out)."""
        return matmul(x, self.weight.T)

    def to_dense(self) -> jax.Array:
        """The matrix."""
        return self.weight


@pytree_dataclass(data=("weight", "adapter"))
@dataclass(frozen=True)
class AdaptedLayer:
    """The layer as it is, and behind it an adapter, which alone is trained.

    Attributes:
        weight: (out, in).
        adapter: maps (..., out) to (..., out).
    """

    weight: jax.Array
    adapter: Any

    def apply(self, x: jax.Array) -> jax.Array:
        """(..., in) -> (..., out)."""
        return self.adapter.apply(matmul(x, self.weight.T))

    def to_dense(self) -> jax.Array:
        """The (out, in) matrix of both."""
        return self.adapter.apply(self.weight.T).T


@dataclass(frozen=True)
class Healing:
    """How an operator is trained further.

    Attributes:
        start: pytree of floats to train.
        matrix: maps such a pytree to the (out, in) matrix that the operator is.
        rebuild: maps such a pytree to the operator.
    """

    start: Any
    matrix: Callable[[Any], jax.Array]
    rebuild: Callable[[Any], Any]


def healing_of(operator: Any, what: str) -> Healing:
    """What of an operator moves.

    Args:
        operator: any pytree with `apply` and `to_dense`.
        what: "bond": the MPO of a disentangled layer, the adapter of an adapted one, all numbers of any other;
            "circuits": the gates of a disentangled layer, too, each times the Cayley transform of a skew matrix that
            starts at zero, so that it stays orthogonal.
    """
    if isinstance(operator, AdaptedLayer):
        adapted = operator
        return Healing(
            adapted.adapter,
            lambda moved: replace(adapted, adapter=moved).to_dense(),
            lambda moved: replace(adapted, adapter=moved),
        )
    if not isinstance(operator, DisentangledLayer):
        return Healing(operator, lambda moved: moved.to_dense(), lambda moved: moved)
    if what == "bond":
        # The circuits stand still: as matrices they are two products instead of many gates to compile.
        rows, columns = operator.geometry.shape
        left = apply_circuit(operator.wall_u, operator.u, jnp.eye(rows, dtype=operator.u[0].dtype))[: operator.d_out]
        right = apply_circuit(operator.wall_v, operator.v, jnp.eye(columns, dtype=operator.v[0].dtype))[: operator.d_in]
        return Healing(
            operator.mpo,
            lambda moved: matmul(matmul(left, moved.to_dense()), right.T),
            lambda moved: replace(operator, mpo=moved),
        )

    def rebuild(moved: Any) -> DisentangledLayer:
        return replace(operator, mpo=moved["mpo"], u=_turned(operator.u, moved["u"]), v=_turned(operator.v, moved["v"]))

    start = {"mpo": operator.mpo, "u": _zeros(operator.u), "v": _zeros(operator.v)}
    return Healing(start, lambda moved: rebuild(moved).to_dense(), rebuild)


def heal(
    evaluation: Evaluation,
    operators: Operators,
    what: str,
    settings: DisentanglerStudySettings,
    seed: int,
    progress: Progress,
) -> dict[str, Any]:
    """Operators after training them in their places, the rest of the model held fast: name -> operator.

    The last parameters are taken, so the test text chooses nothing.

    Args:
        evaluation: the trained model.
        operators: name of a linear map -> what replaces it.
        what: as `healing_of` takes it.
        settings: how many minibatches of what size, and the rate.
        seed: chooses the examples and their order.
        progress: shows a bar.
    """
    model, params = evaluation.model, evaluation.params
    healed = {name: healing_of(operator, what) for name, operator in operators.items()}

    def loss(start: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        # As matrices: a minibatch has more rows than a layer has inputs, where that is the cheaper way.
        weights = {name: healed[name].matrix(part) for name, part in start.items()}
        return evaluation.loss(model.with_weights(params, weights), x, y)

    wanted = settings.heal_updates * settings.batch_size
    x, y = evaluation.examples
    epochs = math.ceil(wanted / len(x))
    chosen = np.random.default_rng(seed).permutation(len(x))[: math.ceil(wanted / epochs)]
    result = fit(
        loss,
        {name: one.start for name, one in healed.items()},
        x[chosen],
        y[chosen],
        TrainConfig(epochs, min(settings.batch_size, len(chosen)), settings.heal_learning_rate, seed=seed),
        progress=progress,
    )
    return {name: healed[name].rebuild(part) for name, part in result.params_final.items()}


def dense_weights(operators: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Name -> matrix of each operator."""
    return {name: operator.to_dense() for name, operator in operators.items()}


def _zeros(gates: Gates) -> Gates:
    return jnp.zeros_like(gates[0]), jnp.zeros_like(gates[1])


def _turned(gates: Gates, free: Gates) -> Gates:
    """Each gate times (I - A)^-1 (I + A), A the skew part of a free matrix."""
    return _turned_one(gates[0], free[0]), _turned_one(gates[1], free[1])


def _turned_one(gates: jax.Array, free: jax.Array) -> jax.Array:
    return matmul(gates, cayley((free.swapaxes(-1, -2) - free) / 2))
