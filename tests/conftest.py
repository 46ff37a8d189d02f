"""Strict numerics for every test: double precision, no silent promotion of dtype or rank, a seeded key."""

import jax
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def key() -> jax.Array:
    """The same random key in every test."""
    return jax.random.key(20251)
