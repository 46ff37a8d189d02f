"""The objective that curvature splits: the mean over N samples of `loss(outputs(params, x), y)`.

`outputs` returns K numbers a sample, shape (B, K), and `loss` returns one number a sample, shape (B,).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common.checks import is_traced, shown
from qjaxsim.common.precision import HIGHEST
from qjaxsim.curvature.hvp import as_arrays, type_of
from qjaxsim.running.array_types import check_tree, native, require_unwrapped
from qjaxsim.running.varying import varying_axes

Outputs = Callable[[Any, Any], jax.Array]
Loss = Callable[[jax.Array, Any], jax.Array]


_OF_CLASSES: list[Loss] = []
_OF_LABELS_OR_NUMBERS: list[Loss] = []


def of_classes(loss: Loss) -> Loss:
    """Mark a loss as one of logits and integer labels, which `check_model` then holds to the classes that there are."""
    _OF_CLASSES.append(loss)
    return loss


def of_labels_or_numbers(loss: Loss) -> Loss:
    """Mark a loss whose integer targets (N,) are labels and all others numbers; `check_model` looks at the labels."""
    _OF_LABELS_OR_NUMBERS.append(loss)
    return loss


class ModelShapes(NamedTuple):
    """Sizes and dtype of an objective, known without evaluating it.

    Attributes:
        n_samples: N.
        n_outputs: K.
        loss_dtype: dtype of the losses, or where there is no loss of the outputs.
        axes: inside `jax.shard_map`, the mesh axes that samples are spread over. The parameters have to be made to
            vary over them, for JAX would add up derivatives over devices where this device's own are meant.
    """

    n_samples: int
    n_outputs: int
    loss_dtype: Any
    axes: frozenset[Any] = frozenset()


def check_model(outputs: Outputs, loss: Loss, params: Any, x: Any, y: Any) -> ModelShapes:
    """Number of samples N, of outputs K and the loss's dtype, checked on shapes and known labels alone."""
    check_data(x, "x")
    check_data(y, "y")
    count = number_of_samples(x=x, y=y)
    z = _outputs_of(outputs, "outputs", params, x, count)
    values = _shape_of(loss, (z, y), "loss", f"one number a sample, shape ({count},)")
    if values.shape != (count,):
        raise ValueError(
            f"Argument `loss` must return one number a sample, shape ({count},), "
            f"but it returned shape {values.shape}; leave the mean to this function."
        )
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise ValueError(f"Argument `loss` must return real floats, but it returned {values.dtype}.")
    numbers = any(loss is each for each in _OF_LABELS_OR_NUMBERS)
    known = not is_traced(y) and getattr(y, "is_fully_addressable", True)
    if known and (any(loss is each for each in _OF_CLASSES) or (numbers and _are_labels(np.asarray(y)))):
        n_classes = max(z.shape[1], 2)  # of a single logit, two
        others = ", or cast numbers that are no classes, `y.astype(float)`" if numbers else ""
        require_classes(np.asarray(y), -1 if numbers and z.shape[1] == 1 else 0, n_classes, others)
    return ModelShapes(count, z.shape[1], values.dtype, varying_axes(x, y, z, values))


def check_outputs(outputs: Outputs, name: str, params: Any, **x: Any) -> ModelShapes:
    """The same of a model without loss and targets; its own name and that of its inputs are what the user knows."""
    ((argument, inputs),) = x.items()
    check_data(inputs, argument)
    z = _outputs_of(outputs, name, params, inputs, number_of_samples(**x))
    return ModelShapes(z.shape[0], z.shape[1], z.dtype, varying_axes(inputs, z))


def _outputs_of(outputs: Outputs, name: str, params: Any, x: Any, count: int) -> jax.ShapeDtypeStruct:
    z = _shape_of(outputs, (as_arrays(params), x), name, f"real numbers of shape ({count}, K)")
    if z.ndim != 2 or z.shape[0] != count or not jnp.issubdtype(z.dtype, jnp.floating):
        way_out = "; give one output a sample an axis, as by `[:, None]`" if z.shape == (count,) else ""
        raise ValueError(
            f"Argument `{name}` must return real numbers of shape ({count}, K), one row a sample, "
            f"but it returned {z.dtype}{list(z.shape)}{way_out}."
        )
    return z


def number_of_samples(**data: Any) -> int:
    """How many samples data by argument, such as inputs and targets, have along axis 0.

    Raises:
        ValueError: if they differ, or there are none.
    """
    counts = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(data)}
    if len(counts) != 1 or counts <= {(), (0,)}:
        names = " and ".join(f"`{name}`" for name in data)
        way_out = "; make lists of numbers arrays, as by `numpy.asarray`" if () in counts else ""
        raise ValueError(
            f"Argument{'s' * (len(data) > 1)} {names} must have one and the same number of samples, at least 1, along "
            f"axis 0, but {'their' if len(data) > 1 else 'its'} leaves begin with "
            f"{sorted(counts)}{way_out}."
        )
    ((count,),) = counts
    return count


def _are_labels(targets: np.ndarray) -> bool:
    return targets.dtype.kind in "iu" and targets.ndim == 1


def require_classes(labels: np.ndarray, least: int, n_classes: int, others: str = "") -> None:
    """Refuse labels below the least one, or that have no logit; `others` says what else they may be.

    Raises:
        ValueError: naming the first.
    """
    beyond = labels[(labels < least) | (labels >= n_classes)]
    if beyond.size:
        raise ValueError(
            f"Argument `y` must hold classes from 0 to {n_classes - 1}, one for each logit, but holds "
            f"{shown(int(beyond[0]))}; number the classes from 0, or give the model more outputs{others}."
        )


def check_data(tree: Any, name: str) -> None:
    """Raise a TypeError unless the leaves are arrays that JAX takes, as they are."""
    check_tree(f"Argument `{name}`", tree)
    for leaf in jax.tree.leaves(tree):
        if type_of(leaf) is None and native(leaf) is not leaf:
            raise TypeError(
                f"Argument `{name}` must be in this machine's order of bytes, but is {leaf.dtype}; pass "
                '`array.astype(array.dtype.newbyteorder("="))`.'
            )
        if type_of(leaf) is None:
            kind = f"has dtype {leaf.dtype}; cast it" if isinstance(leaf, np.ndarray) else f"is {shown(leaf)}"
            if not isinstance(leaf, np.ndarray) and hasattr(leaf, "__array__"):  # of PyTorch's or pandas', say
                kind += "; pass `numpy.asarray` of it"
            raise TypeError(f"Argument `{name}` must hold arrays of numbers that JAX has, but a leaf {kind}.")
        require_unwrapped(f"Argument `{name}`", leaf)


def _shape_of(function: Callable[..., Any], args: tuple[Any, ...], name: str, what: str) -> Any:
    """Shape and dtype of the array that a function returns."""

    def checked(*args: Any) -> Any:
        value = function(*args)
        if type_of(value) is None:
            raise ValueError(f"Argument `{name}` must return {what}, but it returned {shown(value)}.")
        return value

    try:
        # Of the function itself, since JAX keeps its trace.
        found = jax.eval_shape(function, *args)
    except (TypeError, ValueError):
        jax.eval_shape(checked, *args)
        raise
    return found if isinstance(found, jax.ShapeDtypeStruct) else jax.eval_shape(checked, *args)


def loss_derivatives(loss: Loss, z: jax.Array, y: Any, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    """First and second derivatives of the weighted losses in the outputs (B, K): (B, K) and (B, K, K)."""

    def slope(out: jax.Array, target: Any, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
        one = lambda out: weight * loss(out[None], jax.tree.map(lambda leaf: leaf[None], target))[0]  # noqa: E731
        gradient = jax.grad(one)(out)
        return gradient, gradient

    curvature, slopes = jax.vmap(jax.jacfwd(slope, has_aux=True))(z, y, weights)
    return slopes, curvature


def gauss_newton_block(jacobian: jax.Array, curvature: jax.Array, rows: jax.Array | None = None) -> jax.Array:
    """sum_b J_b^T A_b J_b, (P, P), for a Jacobian (B, K, P) and A (B, K, K), in the Jacobian's dtype.

    With `rows`, the Jacobian in some parameters (B, K, n), only their rows (n, P).
    """
    curved = jnp.einsum("bkl,blp->bkp", curvature, jacobian, precision=HIGHEST)
    left = jacobian if rows is None else rows
    return jnp.einsum("bkp,bkq->pq", left, curved, precision=HIGHEST).astype(jacobian.dtype)
