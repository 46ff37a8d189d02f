"""What a report is about: a real scalar function of a pytree, given in one of three ways."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.common.checks import shown
from qjaxsim.curvature.circuit_outputs import CircuitOutputs
from qjaxsim.curvature.hvp import flatten_real, type_of
from qjaxsim.curvature.mean_loss import mean_loss
from qjaxsim.curvature.objective import Loss, Outputs, check_model
from qjaxsim.curvature.operators import LinearOperator, curvature_operators, hessian_operator
from qjaxsim.curvature.parts import PartSum
from qjaxsim.curvature.programs import Present, compiled_once
from qjaxsim.curvature.spreading import over_team
from qjaxsim.curvature.stages import StagedCircuit
from qjaxsim.running.array_types import to_jax
from qjaxsim.running.simulate import expectation

# Samples whose outputs are found twice, in two orders, at most.
_COMPARED = 8
# Models that tell their structure: a sample's outputs are its own.
_STRUCTURED = PartSum | StagedCircuit | CircuitOutputs


@dataclass(frozen=True, eq=False)
class Model:
    """The objective as a mean of `loss(outputs(params, x), y)`.

    Attributes:
        outputs: maps (params, x) to real outputs (B, K).
        loss: maps (outputs, y) to one loss a sample.
        x, y: N samples.
        n_samples: N.
        n_outputs: K.
    """

    outputs: Outputs
    loss: Loss
    x: Any
    y: Any
    n_samples: int
    n_outputs: int


@dataclass(frozen=True, eq=False)
class Problem:
    """A function of a pytree at a point.

    Attributes:
        params: the point.
        flat: the same as a vector (P,), in `ravel_pytree` order.
        unravel: from such a vector to the pytree.
        function: maps params to the real scalar.
        operators: products of its Hessian H; of a model those of H, G and R.
        model: its parts where it is a mean over samples, else None.
    """

    params: Any
    flat: jax.Array
    unravel: Callable[[jax.Array], Any]
    function: Callable[[Any], jax.Array]
    operators: Sequence[LinearOperator]
    model: Model | None = None


def problem_of(
    function: Any,
    params: Any,
    data: tuple[Any, Any] | None,
    loss: Loss | None,
    observables: Any,
    batch_size: int | None,
) -> Problem:
    """The problem in the words of `spectrum_report`, whose arguments these are, checked on shapes."""
    function = _of_circuit(function, data, observables)
    if not callable(function):
        raise TypeError(
            f"Argument `function` must be a function of params, or a qj.Circuit with `observables`, but is "
            f"{shown(function)}."
        )
    flat, unravel = flatten_real(params)
    params = unravel(flat)
    if data is None:
        if loss is not None:
            raise ValueError(
                "Argument `loss` needs `data`, a pair (x, y), but there is none; give it, or put the loss into "
                "`function`."
            )
        _require_scalar(function, params)
        function = Present(function, params)
        return Problem(params, flat, unravel, function, [hessian_operator(function, params)])
    model = _model(function, params, data, loss)
    of_data = (model.outputs, model.loss, model.x, model.y)
    spread = over_team((model.x, model.y))
    operators = curvature_operators(*of_data[:2], params, *spread, batch_size=batch_size)
    return Problem(params, flat, unravel, mean_loss(*of_data), operators, model)


def _model(outputs: Outputs, params: Any, data: Any, loss: Loss | None) -> Model:
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise ValueError(f"Argument `data` must be a pair (x, y) of inputs and targets, but is {shown(data)}.")
    if loss is None:
        raise ValueError(
            "Argument `loss` must be given with `data`: a function of (outputs, y) to one number a sample, such as "
            "`qjaxsim.models.losses.cross_entropy`."
        )
    x, y = data
    if y is None:
        raise ValueError("Argument `data` has no targets, y is None; give the pair (x, y), with labels or values in y.")
    shapes = check_model(outputs, loss, params, x, y)
    loss = Present(loss, jax.eval_shape(outputs, params, x), y)
    if not isinstance(outputs, _STRUCTURED):  # which read nothing else
        outputs = Present(outputs, params, x)
    return Model(outputs, loss, x, y, shapes.n_samples, shapes.n_outputs)


def _of_circuit(function: Any, data: Any, observables: Any) -> Any:
    """The function that a circuit stands for; anything else as it is."""
    if not isinstance(function, Circuit):
        if observables is not None:
            raise ValueError(
                f"Argument `observables` goes with a qj.Circuit as `function`, but that is {shown(function)}; leave "
                "it out."
            )
        return function
    if observables is None:
        raise ValueError("Argument `observables` must be given for a circuit, such as [qj.Z(0)], but is None.")
    if data is None:
        if isinstance(observables, Sequence) and len(observables) != 1:
            raise ValueError(
                f"Argument `observables` must be one for a circuit without `data`, the loss itself, but there are "
                f"{len(observables)}; add them up, or give `data` and `loss`."
            )
        return expectation(function, observables[0] if isinstance(observables, Sequence) else observables)
    x = data[0] if isinstance(data, tuple | list) and data else None
    if not isinstance(x, Mapping):
        raise ValueError(
            "Argument `data` must hold the circuit's inputs by name for a circuit, ({'x': array}, y), but x is "
            f"{shown(x)}."
        )
    listed = observables if isinstance(observables, Sequence) else [observables]
    return CircuitOutputs(function, listed, data=list(x))


def _require_scalar(function: Callable[[Any], Any], params: Any) -> None:
    """Refuse what is no real scalar, in our words and before any work."""
    found: list[tuple[Any, str]] = []

    def traced(at: Any) -> Any:
        value = function(at)
        # Its type and its text alone: a traced value that is held is a leak to `jax.checking_leaks`.
        found.append((type_of(value), shown(value)))
        return ()

    jax.eval_shape(traced, params)
    seen, text = found[-1]
    if seen is None or seen.shape != () or not jnp.issubdtype(seen.dtype, jnp.floating):
        what = text if seen is None else f"{seen.dtype}{list(seen.shape)}"
        complex_too = seen is not None and jnp.issubdtype(seen.dtype, jnp.complexfloating)
        way_out = "take its real part" if complex_too else "return one number, or give `data` and `loss`"
        raise TypeError(f"Argument `function` must return a real scalar, but it returned {what}; {way_out}.")


def checked_value(problem: Problem) -> float:
    """The function at the point, evaluated twice by programs traced anew.

    Raises:
        ValueError: if the values differ, or are not finite, or a model's outputs depend on other samples or on order.
    """
    if problem.model is not None and not isinstance(problem.model.outputs, _STRUCTURED):
        _require_own_outputs(problem.model, problem.params)
    values = [float(compiled_once(lambda at: problem.function(at), problem.params)) for _ in range(2)]
    if not np.isfinite(values[0]):
        raise ValueError(
            f"Argument `function` must be finite at the point, but is {values[0]} there; choose another point, or mend "
            "what it computes."
        )
    allowed = float(np.finfo(problem.flat.dtype).eps) ** 0.75 * max(abs(values[0]), 1e-30)
    if abs(values[0] - values[1]) > allowed:
        raise ValueError(
            f"Argument `function` must be deterministic, but two calls at the same point gave {values[0]!r} and "
            f"{values[1]!r}; fix its random numbers, or switch them off."
        )
    return values[0]


def _require_own_outputs(model: Model, params: Any) -> None:
    """Refuse outputs of a sample that depend on those beside it, by which a mean over chunks is none over samples.

    Also those that depend on its place among them, as by dropout with one key: chunks begin at other samples.
    """
    if model.n_samples < 2:
        return
    count = min(model.n_samples, _COMPARED)
    moved = np.roll(np.arange(count), 1)[:-1]
    first = jax.tree.map(lambda leaf: to_jax(leaf)[:count], model.x)
    fewer = jax.tree.map(lambda leaf: leaf[moved], first)
    among, alone = compiled_once(lambda at: (model.outputs(at, first)[moved], model.outputs(at, fewer)), params)
    # Far beyond rounding: products of other shapes may be summed in another order, or in lower precision.
    allowed = float(jnp.finfo(among.dtype).eps) ** 0.25 * float(jnp.abs(among).max())
    if not float(jnp.abs(among - alone).max()) > allowed:
        return
    raise ValueError(
        "Argument `function` must give each sample's outputs from that sample alone, but those of the first ones are "
        "others in another order, beside one sample less; normalise by stored averages, not by those of the batch, and "
        "switch dropout off, or give each sample a key of its own as part of x."
    )
