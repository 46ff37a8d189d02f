"""Registered dataclasses: what JAX takes apart and puts together, and that no class passes for another."""

import dataclasses
import importlib
import itertools
import pkgutil
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim
from qjaxsim.common.pytrees import pytree_dataclass
from qjaxsim.models.disentangler.adapter import CayleyAdapter, TriangularAdapter
from qjaxsim.models.disentangler.layer import DisentanglerConfig, disentangle
from qjaxsim.models.disentangler.low_rank import LowRankLayer
from qjaxsim.studies.disentangler.healing import AdaptedLayer, DenseLayer


def twins():
    """Two classes with the same fields."""

    @pytree_dataclass(data=("weight",), meta=("block",))
    @dataclasses.dataclass(frozen=True)
    class Doubled:
        weight: jax.Array
        block: int

        def apply(self):
            return 2 * self.weight

    @pytree_dataclass(data=("weight",), meta=("block",))
    @dataclasses.dataclass(frozen=True)
    class Squared:
        weight: jax.Array
        block: int

        def apply(self):
            return self.weight**2

    return Doubled, Squared


def test_classes_with_the_same_fields_have_structures_of_their_own():
    doubled, squared = (cls(jnp.arange(3.0), 4) for cls in twins())
    structures = [jax.tree.structure(value) for value in (doubled, squared)]
    assert structures[0] != structures[1]
    assert structures[0] == jax.tree.structure(dataclasses.replace(doubled, weight=jnp.ones(5)))
    assert structures[0] != jax.tree.structure(dataclasses.replace(doubled, block=3))


def test_one_jitted_function_tells_many_classes_apart():
    # With equal structures the cache of programs would mix some of so many classes up, wherever their hashes fall.
    apply = jax.jit(lambda value: value.apply())
    x = jnp.arange(3.0)
    for first, second in (twins() for _ in range(20)):
        np.testing.assert_array_equal(apply(first(x, 1)), 2 * x)
        np.testing.assert_array_equal(apply(second(x, 1)), x**2)


def test_transformations_keep_class_and_static_fields():
    cls, _ = twins()
    value = cls(jnp.arange(3.0), 4)
    gradient = jax.grad(lambda v: jnp.sum(v.apply() ** 2))(value)
    assert type(gradient) is cls and gradient.block == 4
    np.testing.assert_allclose(gradient.weight, 8 * value.weight)
    stacked = jax.vmap(lambda v: v)(value)
    assert stacked.block == 4 and stacked.weight.shape == (3,)
    ((path, _),) = jax.tree_util.tree_leaves_with_path(value)
    assert jax.tree_util.keystr(path) == ".weight"


@pytest.mark.parametrize(
    "fields", [(("weight",), ()), (("weight",), ("block", "size")), (("weight", "block"), ("block",))]
)
def test_fields_must_be_named_once_each(fields):
    @dataclasses.dataclass(frozen=True)
    class Layer:
        weight: jax.Array
        block: int

    with pytest.raises(TypeError, match=r"Layer has the fields \['block', 'weight'\], but registers \["):
        pytree_dataclass(*fields)(Layer)


def test_all_registered_classes_have_different_structures():
    lower, weight = jnp.ones((1, 1)), jnp.ones((2, 2))
    layer = disentangle(np.eye(4), DisentanglerConfig(chi=1, layers=1, sweeps=0)).layer
    values = [
        CayleyAdapter(lower, 2), TriangularAdapter(lower, 2), LowRankLayer(weight, weight), layer, layer.mpo,
        DenseLayer(weight),
        AdaptedLayer(weight, CayleyAdapter(lower, 2)), AdaptedLayer(weight, TriangularAdapter(lower, 2)),
    ]  # fmt: skip
    sources = [path.read_text() for path in Path(qjaxsim.__file__).parent.rglob("*.py")]
    assert sum(len(re.findall(r"^@pytree_dataclass\(", text, re.MULTILINE)) for text in sources) == len(
        {type(value) for value in values}
    )
    for first, second in itertools.combinations(map(jax.tree.structure, values), 2):
        assert first != second


def test_no_class_is_registered_by_its_fields_alone():
    for root in ("qjaxsim", "qjaxsim_qiskit", "qjaxsim_dimod", "qjaxsim_data", "qjaxsim_bench"):
        package = importlib.import_module(root)
        for module in pkgutil.walk_packages(package.__path__, root + "."):
            source = Path(module.module_finder.path, module.name.rpartition(".")[2] + ".py")
            text = source.read_text() if source.exists() else ""
            assert not re.search(r"register_dataclass\(|register_dataclass,|register_static", text), module.name
