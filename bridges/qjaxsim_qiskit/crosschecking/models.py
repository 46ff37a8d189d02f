"""Cross-checks of the project's models: every circuit on Aer, and the outputs put together from Aer's values."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from qjaxsim.curvature.stages import StagedCircuit
from qjaxsim.models.hybrid import HybridModel
from qjaxsim.models.patches import PatchesModel
from qjaxsim_qiskit.crosschecking.checks import Check, CrossCheck
from qjaxsim_qiskit.crosschecking.crosscheck import TOLERANCES, crosscheck, expectations_on_aer
from qjaxsim_qiskit.crosschecking.qnn import qnn_checks


def crosscheck_patches(
    model: PatchesModel, params: dict[str, Any], x: np.ndarray, *, title: str = "patches", **options: Any
) -> CrossCheck:
    """All circuits of a patches model on some images, and the model's logits from Aer's expectation values.

    Args:
        model: the model.
        params: as `model.init` gives them.
        x: (batch, image_size, image_size) angles.
        title: of the whole.
        options: further arguments of `crosscheck`.

    Returns:
        The comparisons of one circuit, whose samples are the model's circuits on every image, and of the logits.
    """
    part = model.outputs.part
    assert isinstance(part, StagedCircuit)
    params, x = _in_double((params, x))
    flat, patches = ravel_pytree(params)[0], model.patches(x)

    def circuit_params(index: Any, patch: jax.Array) -> dict[str, jax.Array]:
        return part.params(flat[index], patch, part.circuit.parameters)

    # (circuits, images, ...) where data take part, else (circuits, ...), which gains an axis of one image.
    own = jax.vmap(circuit_params, in_axes=(0, 1))(jnp.asarray(model.outputs.index), patches)
    ranks = {name: len(shape) for name, shape in part.circuit.parameters.items()}
    own = {name: value if value.ndim == ranks[name] + 2 else value[:, None] for name, value in own.items()}
    found = crosscheck(part.circuit, own, part.observables, title=title, **options)
    values = expectations_on_aer(part.circuit, own, part.observables).reshape(model.n_patches, len(x), -1)
    theirs = model.outputs.scale * values.sum(axis=0)
    return _with_outputs(replace(found, n_parameters=model.n_parameters), model.outputs(params, x), theirs, options)


def crosscheck_hybrid(
    model: HybridModel,
    params: dict[str, Any],
    x: np.ndarray,
    *,
    qnn: bool = False,
    title: str = "hybrid",
    **options: Any,
) -> CrossCheck:
    """The circuit of a hybrid classifier on some images, and the model's logits from Aer's expectation values.

    Args:
        model: the model.
        params: as `model.init` gives them.
        x: (batch, image_size, image_size) grey values in [0, 1].
        qnn: whether to compare with Qiskit Machine Learning's EstimatorQNN too.
        title: of the whole.
        options: further arguments of `crosscheck`.
    """
    params, x = _in_double((params, x))
    own = model.circuit_params(params, x)
    found = crosscheck(model.circuit, own, model.observables, title=title, **options)
    theirs = model.classify(params, jnp.asarray(expectations_on_aer(model.circuit, own, model.observables), x.dtype))
    found = _with_outputs(found, model.outputs(params, x), np.asarray(theirs), options)
    more = qnn_checks(model, params, x, options.get("tolerance")) if qnn else []
    return replace(found, checks=(*found.checks, *more))


def _in_double(tree: Any) -> Any:
    """Arrays in the best precision that JAX is set to."""
    dtype = jax.dtypes.canonicalize_dtype(np.float64)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), tree)


def _with_outputs(found: CrossCheck, ours: Any, theirs: np.ndarray, options: dict[str, Any]) -> CrossCheck:
    """The cross-check with the model's outputs added; their bound grows with their size."""
    tolerance = options.get("tolerance") or TOLERANCES[found.dtype]
    size = max(1.0, float(np.abs(theirs).max()))
    difference = float(np.abs(np.asarray(ours) - theirs).max())
    check = Check("logits of the whole model", "largest difference", difference, tolerance * size)
    return replace(found, checks=(*found.checks, check))
