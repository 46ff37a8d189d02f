"""Many arrays as one: what `concatenate` gives and its derivatives, in programs that take it apart by few slices."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.running.joining import FEW, joined
from tests.cases import mostly_slow
from tests.running.test_packed import size


@pytest.mark.parametrize("count", [1, 2, FEW, FEW + 1, 49, 50])
@pytest.mark.parametrize("shape", [(1,), (2, 3)])
def test_joined_arrays_are_those_of_numpy(count, shape):
    arrays = list(np.random.default_rng(count).normal(size=(count, *shape)))
    np.testing.assert_array_equal(joined([jnp.asarray(a) for a in arrays]), np.concatenate(arrays))


def test_arrays_of_several_shapes_are_joined():
    arrays = [jnp.arange(1.0 + i % 3) for i in range(2 * FEW)]
    np.testing.assert_array_equal(joined(arrays), np.concatenate(arrays))


@pytest.mark.parametrize(
    "derivative",
    mostly_slow(
        [jax.grad, lambda f: jax.jit(jax.jacfwd(f)), lambda f: jax.grad(lambda v: jax.grad(f)(v)[3].sum())], keep=1
    ),
)
def test_derivatives_go_through(derivative):
    arrays = [jnp.asarray([0.1 * i]) for i in range(2 * FEW)]
    f = derivative(lambda arrays: (jnp.sin(joined(arrays)) * jnp.arange(2.0 * FEW)).sum() ** 2)
    g = derivative(lambda arrays: (jnp.sin(jnp.concatenate(arrays)) * jnp.arange(2.0 * FEW)).sum() ** 2)
    np.testing.assert_allclose(f(arrays), g(arrays), rtol=1e-12)
    mapped = [jnp.stack([a, a + 1]) for a in arrays]
    np.testing.assert_allclose(jax.vmap(f)(mapped)[0], jax.vmap(g)(mapped)[0], rtol=1e-12)


def test_derivatives_are_cut_by_few_different_slices():
    arrays = [jnp.asarray([0.1 * i]) for i in range(400)]
    text = jax.jit(jax.grad(lambda arrays: jnp.sin(joined(arrays)).sum())).lower(arrays).as_text()
    slices = re.findall(r"stablehlo\.slice %\S+ (\[.*?\]) : .*", text)
    assert len(slices) >= 400 and len(set(slices)) < 50


def named(count, vector=False):
    """Rotations by a scalar each, of one vector's elements if asked."""
    circuit, v = qj.Circuit(3), qj.Parameter("v", (count,))
    for i in range(count):
        (circuit.ry if i % 2 else circuit.rx)(v[i] if vector else qj.Parameter(f"p{i}"), i % 3)
        if i % 3 == 2:
            circuit.cx(0, 1).cx(1, 2)
    return circuit


def test_named_scalars_are_one_vector():
    count = 3 * FEW
    values = np.random.default_rng(0).normal(size=count)
    energies = [qj.expectation(named(count, vector), qj.Z(0) + qj.X(2)) for vector in (False, True)]
    params = {f"p{i}": value for i, value in enumerate(values)}, {"v": jnp.asarray(values)}
    np.testing.assert_allclose(energies[0](params[0]), energies[1](params[1]), atol=1e-13)
    ours, theirs = (jax.jit(jax.grad(f))(p) for f, p in zip(energies, params, strict=True))
    np.testing.assert_allclose([ours[f"p{i}"] for i in range(count)], theirs["v"], atol=1e-13)


def test_a_named_scalar_more_is_a_few_operations_more():
    sizes = []
    for count in (400, 600):
        energy = qj.expectation(named(count), qj.Z(0))
        params = {f"p{i}": jnp.asarray(0.1) for i in range(count)}
        sizes.append([size(energy, params), size(jax.grad(energy), params)])
    more = (np.array(sizes[1]) - sizes[0]) / 200
    assert (more < [2.5, 5]).all()
