"""Arrays of others as JAX's: their values and types, and no program for any shape."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qjaxsim.running.array_types import to_jax


@pytest.mark.parametrize("dtype", ["<f4", ">f8", ">i2", "<c16", ">c8", "bool", "u8"])
def test_numpys_arrays_take_no_program(compiled, dtype):
    array = np.arange(12).reshape(3, 4).astype(dtype)
    found = []
    assert compiled(lambda: found.append(to_jax(array)) or found) == 0
    assert found[0].dtype == array.dtype.newbyteorder("=") and not found[0].weak_type
    np.testing.assert_array_equal(found[0], np.arange(12).reshape(3, 4).astype(dtype))


def test_single_precision_is_that_of_jax():
    with jax.enable_x64(False):
        assert to_jax(np.ones(3)).dtype == np.float32 and to_jax(np.arange(3)).dtype == np.int32


def test_where_jax_traces_they_are_constants():
    jaxpr = jax.make_jaxpr(lambda x: x + to_jax(np.ones(3)))(jnp.ones(3))
    assert len(jaxpr.eqns) == 1 and len(jaxpr.consts) == 1
    same = jnp.ones(3)
    assert to_jax(same) is same


@pytest.mark.parametrize("value", [np.array(["a"]), np.array([None]), np.ones(2, np.longdouble), "ab", object()])
def test_what_makes_no_array_is_refused(value):
    with pytest.raises((TypeError, ValueError)):
        to_jax(value)
