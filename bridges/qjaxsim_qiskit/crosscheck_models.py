"""Cross-checks of the project's models: every circuit on Aer, and the outputs put together from Aer's values."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from qjaxsim.curvature.stages import StagedCircuit
from qjaxsim.models.patches import PatchesModel
from qjaxsim_qiskit.checks import Check, CrossCheck, joined
from qjaxsim_qiskit.crosschecking import TOLERANCES, crosscheck, expectations_on_aer


def crosscheck_patches(
    model: PatchesModel, params: dict[str, Any], x: np.ndarray, *, title: str = "patches", **options: Any
) -> CrossCheck:
    """Every circuit of a patches model on some images, and the model's logits from Aer's expectation values.

    Args:
        model: the model.
        params: as `model.init` gives them.
        x: (batch, image_size, image_size) angles, a sample each.
        title: of the whole.
        options: further arguments of `crosscheck`, for each circuit.
    """
    dtype = jax.dtypes.canonicalize_dtype(np.float64)
    params, x = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), (params, x))
    part, (flat, _), patches = model.outputs.part, ravel_pytree(params), model.patches(x)
    assert isinstance(part, StagedCircuit)
    checks, values = [], []
    for number, index in enumerate(model.outputs.index):
        own = part.params(flat[index], patches[:, number], part.circuit.parameters)
        checks.append(crosscheck(part.circuit, own, part.observables, title=f"circuit {number + 1}", **options))
        values.append(expectations_on_aer(part.circuit, own, part.observables))
    logits = model.outputs.scale * np.sum(values, axis=0)
    return joined(
        title,
        checks,
        [_outputs(model.outputs(params, x), logits, checks, options)],
    )


def _outputs(ours: Any, theirs: np.ndarray, checks: list[CrossCheck], options: dict[str, Any]) -> Check:
    """The model's outputs here and from Aer's values; bounds scale with the outputs' size."""
    tolerance = options.get("tolerance") or TOLERANCES[checks[0].dtype]
    size = max(1.0, float(np.abs(theirs).max()))
    difference = float(np.abs(np.asarray(ours) - theirs).max())
    return Check("logits of the whole model", "largest difference", difference, tolerance * size)
