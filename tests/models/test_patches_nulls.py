"""Parameters of the patches model without effect: predictions against derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qjaxsim.models.patches import PatchesModel, readout
from qjaxsim.models.patches_nulls import block_redundancy, null_parameters, null_weights, redundant_weights
from tests.cases import mostly_slow


def test_paper_note():
    """Eight null weights a circuit, and 290, 1090, 1890, 2690 redundant ones, at the published sizes."""
    for layers, redundant in ((50, 290), (100, 1090), (150, 1890), (200, 2690)):
        model = PatchesModel(4, layers)
        assert null_weights(model.circuit, readout(10, 8)) == 8
        assert null_parameters(model) == 32 and redundant_weights(model) == 4 * redundant


@pytest.mark.parametrize(
    ("n_qubits", "n_classes", "n_layers", "patches"),
    mostly_slow([(4, 2, 1, 4), (4, 3, 2, 1), (5, 4, 1, 4), (3, 3, 3, 1)]),
)
def test_null_parameters_are_the_zero_columns_of_the_jacobian(n_qubits, n_classes, n_layers, patches):
    model = PatchesModel(patches, n_layers, n_qubits, image_size=4, patch_size=2, n_classes=n_classes)
    params = model.init(jax.random.key(3))
    x = jax.random.uniform(jax.random.key(4), (5, 4, 4))
    jacobian = jax.jit(jax.jacrev(lambda p: model.outputs(p, x)))(params)
    size = [np.abs(np.asarray(leaf)).reshape(5 * n_classes, -1).max(axis=0) for leaf in jacobian.values()]
    zero = np.concatenate(size) < 1e-12 * max(part.max() for part in size)
    assert null_parameters(model) == zero.sum() > 0


def test_block_redundancy_is_the_rank_missing_from_the_state():
    model = PatchesModel(1, 10, 4, image_size=4, patch_size=4, n_classes=4)
    weights = model.init(jax.random.key(0))["weights"][0]
    found = block_redundancy(model, weights)
    assert redundant_weights(model) == 50 <= found < 60
    # Directions of the first block's weights that are null for the state are null for the outputs of every image.
    x = jax.random.uniform(jax.random.key(4), (30, 4, 4))

    def outputs(block):
        params = {"bias": jnp.zeros((4, 4)), "weights": jnp.concatenate([block, weights[80:]])[None]}
        return model.outputs(params, x)

    jacobian = np.asarray(jax.jit(jax.jacrev(outputs))(weights[:80])).reshape(-1, 80)
    assert np.linalg.matrix_rank(jacobian) <= 80 - found


def test_a_wide_enough_block_reaches_every_direction_but_the_phase():
    """Three qubits, deep: 2 (2^3 - 1) = 14 directions, no more and, at random weights, no fewer."""
    model = PatchesModel(1, 9, 3, image_size=4, patch_size=4, n_classes=4)
    weights = model.init(jax.random.key(2))["weights"][0]
    assert redundant_weights(model) == 54 - 14 == block_redundancy(model, weights)


def test_shallow_blocks_have_no_redundancy():
    model = PatchesModel(1, 1, 4, image_size=4, patch_size=4, n_classes=4)
    assert redundant_weights(model) == 0
