"""Parameters of the recurrent network: their number, names, first values and files."""

import math
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from qjaxsim.models.qrnn import simulate
from qjaxsim.models.qrnn_topology import QrnnTopology, load_params, save_params
from tests.qrnn_cases import SMALL, large_params


@pytest.mark.parametrize(
    ("count", "sizes"),  # width, workspace, stages, degree
    [
        (1162, (3, 5, 2, 3)),  # memorisation
        (837, (3, 5, 1, 3)),  # DNA
        (1212, (2, 8, 2, 2)),  # MNIST {0,1}, Adam
        (1292, (2, 6, 2, 3)),  # MNIST {3,6}, L-BFGS
        (3134, (3, 7, 2, 3)),  # all digits, UMAP
        (264, (2, 4, 1, 3)),  # XOR
        (713, (4, 5, 2, 2)),  # UMAP, four coordinates
        (1118, (3, 7, 2, 2)),  # UMAP, three coordinates
        (3396, (2, 8, 2, 3)),  # t-SNE
    ],
)
def test_published_parameter_counts(count, sizes):
    topology = QrnnTopology(*sizes)
    assert topology.n_parameters == count
    assert sum(math.prod(shape) for shape in topology.shapes.values()) == count


def test_flat_and_named_parameters_are_the_same_network(key):
    params = large_params(SMALL, key)
    flat, _ = ravel_pytree(params)
    back = SMALL.named(flat)
    assert list(back) == list(params) and all((back[name] == params[name]).all() for name in params)


def test_initial_spreads(key):
    topology = QrnnTopology(3, 6, 3, 3)
    params = topology.init(key, jnp.float32)
    assert params["work"].dtype == jnp.float32
    assert 0.05 < np.std(params["work"][..., 0]) < 0.2 and 0.008 < np.std(params["work"][..., 1:]) < 0.012
    still = topology.init(key, bias_spread=0.0, weight_spread=0.0, rotation_spread=0.0)
    assert all((value == 0).all() for value in still.values())


def test_parameters_survive_a_file(tmp_path, key):
    params = large_params(SMALL, key)
    path = save_params(tmp_path / "weights.npz", SMALL, params)
    topology, loaded = load_params(path)
    assert topology == SMALL and all((loaded[name] == params[name]).all() for name in params)
    with pytest.raises(ValueError, match="must end in .npz or .safetensors"):
        save_params(tmp_path / "weights.pt", SMALL, params)
    with pytest.raises(ValueError, match="must end in .npz or .safetensors"):
        load_params(tmp_path / "weights.pt")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match="must hold a QRNN's topology"):
        load_params(tmp_path / "other.npz")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_safetensors_hold_names_sizes_and_precision(dtype, tmp_path, key):
    """Another reader of the format finds the same arrays, and the sizes as text."""
    package = pytest.importorskip("safetensors")
    params = {name: value.astype(dtype) for name, value in large_params(SMALL, key).items()}
    path = save_params(tmp_path / "weights.safetensors", SMALL, params)
    topology, loaded = load_params(path)
    assert topology == SMALL and set(loaded) == set(params)
    for name, value in params.items():
        assert loaded[name].dtype == dtype and (loaded[name] == value).all()
    with package.safe_open(path, "numpy") as stored:
        assert stored.metadata()["workspace"] == str(SMALL.workspace)
        assert {name: stored.get_tensor(name).shape for name in stored.keys()} == dict(SMALL.shapes)  # noqa: SIM118
    inputs = np.zeros((1, 3), np.int32)
    same = [simulate(SMALL, each, inputs, inputs).probabilities for each in (params, loaded)]
    assert (same[0] == same[1]).all()


def test_safetensors_of_something_else_are_refused(tmp_path):
    numpy_side = pytest.importorskip("safetensors.numpy")
    numpy_side.save_file({"a": np.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="must hold a QRNN's topology"):
        load_params(tmp_path / "other.safetensors")


def test_safetensors_without_the_package_is_a_clear_line(tmp_path, key, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ImportError, match=r'unlike .npz, need the package safetensors; .*"\.\[weights\]" in a clone'):
        save_params(tmp_path / "weights.safetensors", SMALL, large_params(SMALL, key))
    with pytest.raises(ImportError, match=r'"\.\[weights\]" in a clone of qjaxsim'):
        load_params(tmp_path / "weights.safetensors")
